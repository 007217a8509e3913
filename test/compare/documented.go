// SPDX-License-Identifier: AGPL-3.0-only

package compare

// Kind is a kind of difference that a restore leaves, and why.
type Kind struct {
	Name, Reason string
	// Family are the daemons that it is about, "" for all.
	Family string
	// Has reports whether an entry has what the kind is about, is whether it was lost.
	Has func(*Entry) bool
	is  func(Difference) bool
}

// Bareos is the family of some kinds.
const Bareos = "Bareos"

// Kinds are all that may differ after a restore of a whole container. What the product
// learns to carry loses its line here: a kind that does not occur, although there are
// entries that have what it is about, fails `make fidelity`.
var Kinds = []Kind{
	{"sockets", "the daemons leave them out; a program makes its own anew", "", is("socket"), lost(func(d Difference) bool { return d.Type == "socket" })},
	{"long paths", "a daemon's message holds the name with all that is sent of the file; the job names what it leaves out", "", deep, lost(func(d Difference) bool { return len(d.Path) > longest })},
	{"hard links of symbolic links", "Bareos does not look for them: each name becomes a link of its own", Bareos, func(e *Entry) bool { return is("link")(e) && e.Group != "" }, func(d Difference) bool { return d.What == HardLink && d.Type == "link" }},
}

// longest is how many bytes of a path are carried at most.
const longest = 64 << 10

func deep(e *Entry) bool { return len(e.Path) > longest }

func is(what string) func(*Entry) bool {
	return func(e *Entry) bool { return kind(e.Mode) == what }
}

func lost(what func(Difference) bool) func(Difference) bool {
	return func(d Difference) bool { return d.What == Missing && what(d) }
}

// KindOf returns the kind that covers a difference, nil if none does.
func KindOf(d Difference) *Kind {
	for i, k := range Kinds {
		if k.is(d) {
			return &Kinds[i]
		}
	}
	return nil
}

// Documented reports whether a difference is of one of the Kinds.
func Documented(d Difference) bool { return KindOf(d) != nil }
