// SPDX-License-Identifier: AGPL-3.0-only

package examples

import (
	"fmt"
	"strings"
)

// resource is a block of a configuration file: Job { ... }.
type resource struct {
	// kind is in lower case without blanks, as are all keys.
	kind  string
	pairs []pair
	subs  []*resource
}

type pair struct{ key, value string }

// get returns all values of a directive.
func (r *resource) get(key string) []string {
	var out []string
	for _, p := range r.pairs {
		if p.key == key {
			out = append(out, p.value)
		}
	}
	return out
}

// one returns the first value of a directive, "" if there is none.
func (r *resource) one(key string) string {
	if all := r.get(key); len(all) > 0 {
		return all[0]
	}
	return ""
}

// parse reads the language that the configuration files of Bareos and Bacula
// have in common, as far as the examples use it: no includes, no lists.
func parse(text string) ([]*resource, error) {
	top := &resource{}
	stack := []*resource{top}
	for n, line := range strings.Split(text, "\n") {
		word, quoted := "", false // what was read since the last key
		key := ""
		end := func() error {
			at := stack[len(stack)-1]
			word = strings.TrimSpace(word)
			switch {
			case key == "" && word == "":
			case key == "":
				return fmt.Errorf("line %d: %q is no directive", n+1, word)
			default:
				at.pairs = append(at.pairs, pair{key, word})
			}
			key, word, quoted = "", "", false
			return nil
		}
		for i := 0; i < len(line); i++ {
			switch c := line[i]; {
			case c == '#':
				i = len(line)
			case c == '"':
				// What is not quoted before a quoted string is blanks.
				word, quoted = strings.TrimSpace(word), true
				for i++; i < len(line) && line[i] != '"'; i++ {
					if line[i] == '\\' && i+1 < len(line) {
						i++
					}
					word += string(line[i])
				}
				if i == len(line) {
					return nil, fmt.Errorf("line %d: a quote does not end", n+1)
				}
			case c == '=' && key == "":
				key, word = plain(word), ""
			case c == '{' && key == "":
				r := &resource{kind: plain(word)}
				at := stack[len(stack)-1]
				at.subs, stack, word = append(at.subs, r), append(stack, r), ""
			case c == '}' || c == ';':
				if err := end(); err != nil {
					return nil, err
				}
				if c == '}' {
					if stack = stack[:len(stack)-1]; len(stack) == 0 {
						return nil, fmt.Errorf("line %d: a brace too many", n+1)
					}
				}
			case quoted && (c == ' ' || c == '\t'):
			default:
				word += string(c)
			}
		}
		if err := end(); err != nil {
			return nil, err
		}
	}
	if len(stack) != 1 {
		return nil, fmt.Errorf("resource %s does not end", stack[len(stack)-1].kind)
	}
	return top.subs, nil
}

// plain writes a keyword as the daemons compare it.
func plain(s string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "\t", "").Replace(s))
}
