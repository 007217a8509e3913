// SPDX-License-Identifier: AGPL-3.0-only

package compare

// Kind is a kind of difference that a restore leaves, and why.
type Kind struct {
	Name, Reason string
	is           func(Difference) bool
}

// Kinds are all that may differ after a restore of a whole container. What the product
// learns to carry loses its line here: a kind that does not occur fails `make fidelity`.
var Kinds = []Kind{
	{"nanoseconds", "the daemons' record of a file has whole seconds", only(Nanos)},
	{"inode flags", "no daemon asks a plugin for them", only(Flags)},
	{"project ids", "no daemon asks a plugin for them", only(Project)},
	{"sockets", "the daemons leave them out, and their program makes them anew", func(d Difference) bool { return d.What == Missing && d.Want == socket }},
	{"long paths", "a daemon's message holds the name with all that is sent of the file; a job names what is left out", func(d Difference) bool { return d.What == Missing && len(d.Path) > longest }},
}

// longest is how many bytes of a path are carried at most.
const longest = 64 << 10

func only(what string) func(Difference) bool {
	return func(d Difference) bool { return d.What == what }
}

// KindOf returns the name of the kind that covers a difference, "" if none does.
func KindOf(d Difference) string {
	for _, k := range Kinds {
		if k.is(d) {
			return k.Name
		}
	}
	return ""
}

// Documented reports whether a difference is of one of the Kinds.
func Documented(d Difference) bool { return KindOf(d) != "" }
