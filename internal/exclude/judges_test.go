// SPDX-License-Identifier: AGPL-3.0-only

package exclude

import (
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// judge is a program that no one here wrote. It says which of the paths below
// root, all of which exist, are left out; those of directories end with a slash.
// In scratch it may write.
type judge func(root, scratch, pattern string, paths []string) (map[string]bool, error)

// rsync copies root and looks what has arrived.
func rsync(root, scratch, pattern string, paths []string) (map[string]bool, error) {
	to := filepath.Join(scratch, "to")
	if out, err := exec.Command("rsync", "-r", "--exclude="+pattern, root+"/", to).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("rsync: %w: %s", err, out)
	}
	left := map[string]bool{}
	for _, p := range paths {
		_, err := os.Lstat(filepath.Join(to, p))
		left[p] = err != nil
	}
	return left, nil
}

// git makes a judge that is asked by the names, without an index and without
// anybody's settings.
func git(t *testing.T) judge {
	t.Helper()
	repository := t.TempDir()
	run := func(dir, in string, args ...string) (string, error) {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(in)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=0",
			"GIT_DIR="+repository, "GIT_WORK_TREE="+dir, "LC_ALL=C")
		out, err := cmd.Output()
		if err != nil && (cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1) { // 1: nothing is ignored
			return "", fmt.Errorf("git %s: %w: %s", args, err, out)
		}
		return string(out), nil
	}
	if _, err := run(repository, "", "init", "-q", "--template="); err != nil {
		t.Fatal(err)
	}
	return func(root, scratch, pattern string, paths []string) (map[string]bool, error) {
		file := filepath.Join(scratch, "patterns")
		if err := os.WriteFile(file, []byte(pattern), 0o644); err != nil {
			return nil, err
		}
		var in strings.Builder
		for _, p := range paths {
			in.WriteString("./" + strings.TrimSuffix(p, "/") + "\x00")
		}
		out, err := run(root, in.String(), "-c", "core.excludesFile="+file, "check-ignore", "--no-index", "-z", "--stdin")
		if err != nil {
			return nil, err
		}
		left := map[string]bool{}
		for _, p := range paths {
			left[p] = strings.Contains("\x00"+out, "\x00./"+strings.TrimSuffix(p, "/")+"\x00")
		}
		return left, nil
	}
}

// need skips the test where a program is missing, but not where all must run.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("VZ7CT_ROOT_TESTS") != "" {
			t.Fatalf("%s is the judge: %v", program, err)
		}
		t.Skipf("needs %s, the judge: %v", program, err)
	}
}

// plant makes files, and directories where a path ends with a slash.
func plant(t *testing.T, paths []string) (root string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "root")
	for _, p := range paths {
		at := filepath.Join(root, p)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		if strings.HasSuffix(p, "/") {
			err = os.MkdirAll(at, 0o755)
		} else {
			err = os.WriteFile(at, nil, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// verdict is empty if a row agrees with the judge, or has a reason not to.
func verdict(r row, says string) string {
	switch {
	case r.differs == "" && r.want != says:
		return "the judge says " + says + ", and no reason is given"
	case r.differs != "" && r.want == says:
		return "is said to differ, and the judge says the same"
	}
	return ""
}

// judgeRows asks the judge about the rows of a kind. Each row is held against
// its answer with the wrong one too, and with a false mark: both must be reported.
func judgeRows(t *testing.T, kind string, j judge) {
	var rows []row
	for _, r := range golden(t) {
		if r.kind == kind && r.want != "error" {
			rows = append(rows, r)
		}
	}
	says := make([]string, len(rows))
	atOnce(len(rows), func(i int) {
		r := rows[i]
		path := r.path
		if r.dir {
			path += "/"
		}
		left, err := j(plant(t, []string{path}), t.TempDir(), r.pattern, []string{path})
		if err != nil {
			t.Errorf("%v: %v", r, err)
		}
		says[i] = yesNo(left[path])
	})
	controls := 0
	for i, r := range rows {
		if v := verdict(r, says[i]); v != "" {
			t.Errorf("%v = %s: %s", r, r.want, v)
		}
		marked := r
		if marked.differs = ""; r.differs == "" {
			marked.differs = "a false mark"
		}
		if verdict(other(r), says[i]) != "" && verdict(marked, says[i]) != "" {
			controls++
		}
	}
	t.Logf("%s: rows=%d controls=%d/%d", kind, len(rows), controls, len(rows))
	if controls != len(rows) || controls == 0 {
		t.Errorf("%d wrong rows of %d reported", controls, len(rows))
	}
}

// atOnce calls f for 0 to n-1, some at the same time: rsync waits more than it works.
func atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	free := make(chan struct{}, 8)
	for i := range n {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			f(i)
		})
	}
	wg.Wait()
}

func TestGoldenRsync(t *testing.T) {
	need(t, "rsync")
	judgeRows(t, "exclude", rsync)
}

func TestGoldenGit(t *testing.T) {
	need(t, "git")
	judgeRows(t, "ignore", git(t))
}

// judgeRandom compares patterns of a few words on a tree of names of the same
// characters. What golden.txt says to differ does not come up: slashes side by
// side in rsync, ** behind a character in git.
func judgeRandom(t *testing.T, kind string, j judge, differs *regexp.Regexp, words []string) {
	var paths []string
	for _, a := range []string{"a", "ab", ".a"} {
		paths = append(paths, a+"f", a+"/")
		for _, b := range []string{"a", "b", "ab"} {
			paths = append(paths, a+"/"+b+"f", a+"/"+b+"/", a+"/"+b+"/b/", a+"/"+b+"/b/a", a+"/"+b+"/b/ab/")
		}
	}
	root := plant(t, paths)
	random := rand.New(rand.NewSource(1))
	patterns := make([]string, 60)
	for i := range patterns {
		for n := 1 + random.Intn(7); n > 0; n-- {
			next := patterns[i] + words[random.Intn(len(words))]
			if !differs.MatchString(next) {
				patterns[i] = next
			}
		}
	}
	var mu sync.Mutex
	rows, yes, controls := 0, 0, 0
	atOnce(len(patterns), func(i int) {
		left, err := j(root, t.TempDir(), patterns[i], paths)
		if err != nil {
			t.Errorf("%q: %v", patterns[i], err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, p := range paths {
			r := row{kind: kind, pattern: patterns[i], path: strings.TrimSuffix(p, "/"), dir: strings.HasSuffix(p, "/")}
			if r.want, err = answer(r); err != nil || r.want == "error" {
				continue // "/" and "."
			}
			rows++
			says := yesNo(left[p])
			if says == "yes" {
				yes++
			}
			if v := verdict(r, says); v != "" {
				t.Errorf("%s %q %q = %s: %s", kind, r.pattern, p, r.want, v)
			}
			if verdict(other(r), says) != "" {
				controls++
			}
		}
	})
	t.Logf("%s: random rows=%d yes=%d controls=%d/%d", kind, rows, yes, controls, rows)
	if controls != rows || yes < rows/20 || yes > rows*19/20 {
		t.Errorf("%d rows, %d left out, wrong ones reported of %d", rows, yes, controls)
	}
}

func TestRandomRsync(t *testing.T) {
	need(t, "rsync")
	words := strings.Fields("a b f a b / / * * ** ? [a] [!a] [^a-b] .a ***")
	judgeRandom(t, "exclude", rsync, regexp.MustCompile(`//`), words)
}

func TestRandomGit(t *testing.T) {
	need(t, "git")
	words := append(strings.Fields(`a b f a b / / * * ** **/ /** ? [a] [!a] [^a-b] .a \a`), "\n!", "\n", " ")
	judgeRandom(t, "ignore", git(t), regexp.MustCompile(`[.a-f\]]\*\*`), words)
}
