// SPDX-License-Identifier: AGPL-3.0-only

package exclude

import (
	"fmt"
	"strings"

	"github.com/gobwas/glob"
)

// Name is one component of a blocker's path: a plain name or a pattern over the
// names of one directory. As in the reference plugin, which used Python's glob,
// * and ? do not match a leading dot.
type Name struct {
	text string
	glob *glob.Pattern // nil for a plain name
}

// Path splits a blocker's path into its components. A ".." is an error: nothing
// may be looked for above the container's root.
func Path(pattern string) ([]Name, error) {
	rel := clean(pattern)
	if rel == "" {
		return nil, fmt.Errorf("pattern %q names no file", pattern)
	}
	var names []Name
	for part := range strings.SplitSeq(rel, "/") {
		if part == ".." {
			return nil, fmt.Errorf("pattern %q leaves the container", pattern)
		}
		n := Name{text: part}
		if strings.ContainsAny(part, special) {
			g, err := glob.Compile(quote(part), '/')
			if err != nil {
				return nil, fmt.Errorf("pattern %q: %w", pattern, err)
			}
			n.glob = g
		}
		names = append(names, n)
	}
	return names, nil
}

// Plain returns the name itself if it is no pattern.
func (n Name) Plain() (name string, ok bool) { return n.text, n.glob == nil }

// Match reports whether the component covers name.
func (n Name) Match(name string) bool {
	if n.glob == nil {
		return n.text == name
	}
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(n.text, ".") {
		return false
	}
	return n.glob.Match(lift(name))
}
