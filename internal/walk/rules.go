// SPDX-License-Identifier: AGPL-3.0-only

package walk

// Rules choose what of a tree is handed out. They are asked by the walk, on its thread, in
// the order in which it comes to things.
type Rules struct {
	// Skip, if set, is asked about every entry but the root, by its path and what stat
	// tells, before anything else is read of it. Where stat fails, Stat is zero. What is
	// skipped is not handed out and not entered, and no error of it is told.
	Skip func(*Entry) bool
	// Want, if set, is asked about every entry but the root when it is known what it is,
	// about a directory when it was opened, before anything is read of it. What is not
	// wanted is not handed out and not entered.
	Want func(*Entry) bool
}

func (r *Rules) skips(e *Entry) bool { return r.Skip != nil && r.Skip(e) }

func (r *Rules) wants(e *Entry) bool { return r.Want == nil || r.Want(e) }

// Obey sets the rules, before the first Next.
func (r *Rules) Obey(rules Rules) { *r = rules }
