// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"strings"
	"testing"
)

// A container may be called anything that its node takes, or nothing at all: it is
// saved and restored by its UUID and by its name, and no line of the job log is
// another one's.
func TestContainersOfOddNames(t *testing.T) {
	for _, name := range []string{
		"", "two\nlines", `"quoted" and 'quoted'`, "100% %s%n%!d(MISSING)", "K\xdcBLER", "\x1b[2K\rjob ended OK", "a:b=c", strings.Repeat("ä", 500), "日本",
		"\xff", "-", "{" + oldID + "}",
	} {
		n := webNode(t)
		n.list[1].Name = name
		command := "vz7ct:min_free=1:uuid=" + webID
		if name != "" {
			command += ":name='" + strings.ReplaceAll(name, ":", `\:`) + "'"
		}
		j, log := n.job(t, bareos)
		if err := j.StartBackup(command); err != nil {
			t.Errorf("%q: StartBackup = %v\n%s", name, err, log.all())
			continue
		}
		list, err := save(j)
		must(t, err)
		title := n.list[1].Title()
		if title == "" || !strings.Contains(log.all(), "container "+title+" saved: ") {
			t.Errorf("%q: said %s, want its title %q", name, log.all(), title)
		}
		backup := log
		empty := emptyNode(t)
		j, log = empty.job(t, bareos)
		if name != "" {
			j.AddOptions("vz7ct:name='" + strings.ReplaceAll(name, ":", `\:`) + "'")
		}
		if err := play(j, command, "", only(list, "ve.conf")); err != nil {
			t.Errorf("%q: restore = %v\n%s", name, err, log.all())
			continue
		}
		if m := j.restore.containers[webID].m; m.Name != name {
			t.Errorf("restored name = %q, want %q", m.Name, name)
		}
		j.EndRestore(Failed)
		if !strings.Contains(log.all(), "restoring container "+title+" ("+webID+")") {
			t.Errorf("%q: said %s", name, log.all())
		}
		for _, line := range append(backup.lines, log.lines...) {
			if strings.ContainsAny(line, "\n\r\x1b") {
				t.Errorf("%q: the line %q is not one", name, line)
			}
		}
	}
}

// only keeps the object, the manifest and the file of the private area named.
func only(list []saved, name string) (few []saved) {
	for _, s := range list {
		if s.Kind == Object || strings.HasSuffix(s.Name, manifestName) || s.Name == privateRoot+webID+"/"+name {
			few = append(few, s)
		}
	}
	return few
}
