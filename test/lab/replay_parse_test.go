// SPDX-License-Identifier: AGPL-3.0-only

package lab_test

import (
	"fmt"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// step is one command of a transcript and what the real tool answered.
type step struct {
	heading  string
	line     int
	cmd      string
	out, err []string
	code     int
}

// readTranscript takes the commands out of a transcript. Lines between them that carry no mark were not commands' output.
func readTranscript(t *testing.T, name string) []step {
	t.Helper()
	b, err := os.ReadFile("testdata/ploop-transcripts/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var list []step
	var cur *step
	heading := ""
	for n, line := range strings.Split(string(b), "\n") {
		switch {
		case strings.HasPrefix(line, "### "):
			heading = line[4:]
		case strings.HasPrefix(line, "$ "):
			cur = &step{heading: heading, line: n + 1, cmd: line[2:]}
		case cur != nil && strings.HasPrefix(line, "stdout| "):
			cur.out = append(cur.out, line[8:])
		case cur != nil && strings.HasPrefix(line, "stderr| "):
			cur.err = append(cur.err, line[8:])
		case cur != nil && strings.HasPrefix(line, "exit "):
			if cur.code, err = strconv.Atoi(strings.Fields(line)[1]); err != nil {
				t.Fatalf("%s:%d: %v", name, n+1, err)
			}
			list = append(list, *cur)
			cur = nil
		}
	}
	if len(list) == 0 {
		t.Fatalf("%s has no commands", name)
	}
	return list
}

// dropped are lines that are compared on neither side, each kind with its reason.
var dropped = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`^DM (message|command): `), "talk with device mapper, which the lab does not have"},
	{regexp.MustCompile(`^Running: dmsetup reload `), "a table for device mapper with descriptor numbers in it"},
	{regexp.MustCompile(`^zero cluster=\d+ idx=\d+$`), "which clusters the writers of that day had touched"},
	{regexp.MustCompile(`^(Discarding device blocks|Creating filesystem with|Filesystem UUID|Superblock backups|Allocating group|` +
		`Writing inode|Creating journal|Writing superblocks|\t32768|Setting (maximal|error|interval)|tune2fs |mke2fs )`), "mkfs and tune2fs"},
	{regexp.MustCompile(`^(Warning: The kernel is still|The new table will be|run partprobe\(8\)|The operation has completed)`), "sgdisk"},
	{regexp.MustCompile(`^$`), "empty lines of mkfs"},
	{regexp.MustCompile(`^(COMMAND +PID|sleep +\d+)`), "lsof's table: a process number"},
	{regexp.MustCompile(`^ +Output information may be incomplete|^lsof: WARNING`), "lsof on file systems it cannot look into"},
}

func kept(lines []string) []string {
	var l []string
next:
	for _, s := range lines {
		for _, d := range dropped {
			if d.pattern.MatchString(s) {
				continue next
			}
		}
		l = append(l, s)
	}
	return l
}

// names pairs what the tool makes up with what it made up in the transcript: device numbers and UUIDs. A pair once found
// holds for the rest of the transcript, both ways.
type names struct{ toOld, toNew map[string]string }

func newNames() *names { return &names{map[string]string{}, map[string]string{}} }

var madeUp = regexp.MustCompile(`ploop\d+|\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}`)

// fixedNames are never made up.
var fixedNames = regexp.MustCompile(`^\{(5fbaabe3|00000000|11111111|22222222|33333333|deadbeef)-|^ploop1$`)

func (n *names) bind(old, made string) {
	n.toOld[made], n.toNew[old] = old, made
}

// learn pairs the names of two lines if both have as many.
func (n *names) learn(old, made string) {
	a, b := madeUp.FindAllString(old, -1), madeUp.FindAllString(made, -1)
	if len(a) != len(b) {
		return
	}
	for i := range a {
		if fixedNames.MatchString(a[i]) || fixedNames.MatchString(b[i]) || (a[i][0] == '{') != (b[i][0] == '{') {
			continue
		}
		if n.toNew[a[i]] == "" && n.toOld[b[i]] == "" {
			n.bind(a[i], b[i])
		}
	}
}

func replace(s string, m map[string]string) string {
	return madeUp.ReplaceAllStringFunc(s, func(w string) string {
		if r, ok := m[w]; ok {
			return r
		}
		return w
	})
}

// compare says how an answer differs from the transcript; "" if it does not.
func compare(s step, got result, n *names) string {
	if got.code != s.code {
		return fmt.Sprintf("exit status %d, want %d\n%s%s", got.code, s.code, got.out, got.err)
	}
	for _, stream := range []struct {
		name string
		want []string
		got  string
	}{{"stdout", s.out, got.out}, {"stderr", s.err, got.err}} {
		want, lines := kept(stream.want), kept(strings.Split(strings.TrimSuffix(stream.got, "\n"), "\n"))
		for i := range min(len(want), len(lines)) {
			n.learn(want[i], lines[i])
		}
		for i := range lines {
			lines[i] = replace(lines[i], n.toOld)
		}
		if strings.HasPrefix(s.cmd, "ploop list") {
			// Devices are listed in the order of their random numbers.
			sort.Strings(want)
			sort.Strings(lines)
		}
		if strings.Join(want, "\n") != strings.Join(lines, "\n") {
			return fmt.Sprintf("%s differs\n got:\n\t%s\n want:\n\t%s", stream.name, strings.Join(lines, "\n\t"), strings.Join(want, "\n\t"))
		}
	}
	return ""
}
