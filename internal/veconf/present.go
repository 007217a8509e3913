// SPDX-License-Identifier: AGPL-3.0-only

package veconf

import (
	"slices"
	"strings"
)

// present is what a container has on the node by now that is rolled back: its settings
// by key. The node has given it that, so a recorded configuration gives it nothing new by
// it, be it devices or a setting that nobody here knows.
type present map[string]string

func parsePresent(conf string) present {
	p := present{}
	for line := range strings.SplitSeq(conf, "\n") {
		if s, ok := Parse(line); ok {
			p[s.Key] = s.Value // the last one counts
		}
	}
	return p
}

// has reports whether the container has the whole setting.
func (p present) has(s Setting) bool {
	v, there := p[s.Key]
	return there && v == s.Value
}

// hasPart reports whether a list of the container has a part, such as one disk.
func (p present) hasPart(key, part, between string) bool {
	for one := range strings.SplitSeq(p[key], between) {
		if t := strings.Trim(one, " \t"); t != "" && t == strings.Trim(part, " \t") {
			return true
		}
	}
	return false
}

// lists are settings with blanks between their parts, each of which is a thing of its
// own: of two devices, one may be the container's already.
var lists = []string{"DEVICES", "DEVNODES", "NETDEV", "PCI", "CAPABILITY"}

// reaching judges a setting that gives the container something of the node.
func (j *judge) reaching(s Setting) (Setting, bool) {
	var kept, left []string
	for part := range strings.FieldsSeq(s.Value) {
		if slices.Contains(lists, s.Key) && j.present.hasPart(s.Key, part, " ") {
			kept = append(kept, part)
		} else {
			left = append(left, part)
		}
	}
	if len(left) == 0 {
		return s, true
	}
	out := s
	if len(kept) > 0 {
		out.Value = strings.Join(left, " ")
	}
	what := gives[s.Key]
	if what == "" {
		what = "what is this node's"
	}
	j.warnf("%s is left out: it would give the container %s", quote(out), what)
	s.Value = strings.Join(kept, " ")
	return s, len(kept) > 0
}
