// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A tenant may make a tree as deep as names go. Its directories come after what is in them:
// each is reached from one beside it, few stay open, and the list of their times does not
// hold their whole paths.
func TestDeepTreeIsLeftAgain(t *testing.T) {
	tr, _ := tree(t)
	const depth = 1100
	whole := strings.Repeat("d/", depth)
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(entries)
	}
	before := open()
	must(t, put(tr, file(whole+"x"), "x"))
	if n := open() - before; n > 2*keep+depth/between+1 {
		t.Errorf("%d directories are open", n)
	}
	for n := depth; n > 0; n-- {
		it := dir(strings.TrimSuffix(whole[:2*n], "/"))
		it.Mtime = int64(n)
		must(t, put(tr, it, ""))
		if n%200 == 0 {
			must(t, put(tr, file(fmt.Sprintf("%sbeside", whole[:2*n])), ""))
		}
	}
	must(t, tr.dirs.w.Flush())
	st, err := tr.dirs.file.Stat()
	must(t, err)
	if st.Size() > depth*int64(fixedSize+20) {
		t.Errorf("the list of %d directories has %d bytes", depth, st.Size())
	}
	must(t, tr.giveLate(func(path string, err error, _ bool) { t.Errorf("%s: %v", path, err) }))
	for n := depth; n > 0; n -= 7 {
		at, err := tr.directory(strings.TrimSuffix(whole[:2*n], "/"), false)
		must(t, err)
		var is unix.Stat_t
		must(t, unix.Fstat(int(at.Fd()), &is))
		if is.Mtim.Sec != int64(n) {
			t.Fatalf("directory %d has the time %d", n, is.Mtim.Sec)
		}
	}
	tr.Abandon()
}
