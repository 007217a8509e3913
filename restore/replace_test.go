// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The replace option counts for the root as for any directory, and by the time that a
// directory had before the restore put something into it.
func TestReplaceAndTimesOfDirectories(t *testing.T) {
	const old, backup, newer = 1e9, 1e9 + 10, 1e9 + 20
	for _, tt := range []struct {
		replace  Replace
		there    int64
		replaced bool
	}{
		{Always, newer, true}, {Never, old, false},
		{IfNewer, old, true}, {IfNewer, backup, false}, {IfNewer, newer, false},
		{IfOlder, old, false}, {IfOlder, backup, false}, {IfOlder, newer, true},
	} {
		tr, root := tree(t)
		must(t, os.MkdirAll(filepath.Join(root, "d/e"), 0o700))
		must(t, os.Chmod(root, 0o700))
		for _, p := range []string{"d/e", "d", ""} {
			must(t, os.Chtimes(filepath.Join(root, p), time.Unix(tt.there, 0), time.Unix(tt.there, 0)))
		}
		for _, it := range []Item{file("d/e/x"), {Path: "d/e/y", First: "d/e/x"}, file("d/x"), dir("d/e"), file("d/z"), dir("d"), file("x"), dir("")} {
			it.Replace, it.Mtime = tt.replace, backup
			err := put(tr, it, "")
			if it.directory() && errors.Is(err, ErrSkipped) == tt.replaced || !it.directory() && err != nil {
				t.Errorf("%c, there %+d: %q = %v", tt.replace, tt.there-backup, it.Path, err)
			}
		}
		must(t, closed(tr))
		for _, p := range []string{"d/e", "d", ""} {
			if st := stat(t, filepath.Join(root, p)); (st.Mode&0o777 == 0o755) != tt.replaced || tt.replaced && st.Mtim.Sec != backup {
				t.Errorf("%c, there %+d: %q has mode %o and is of %d", tt.replace, tt.there-backup, p, st.Mode, st.Mtim.Sec)
			}
		}
	}
}
