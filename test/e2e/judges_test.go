// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"strings"

	"github.com/bareos-contrib/vz7ct/test/compare"
	"github.com/bareos-contrib/vz7ct/test/lab/nasty"
)

// original is where the container's disk is kept that was saved, wanted and restored
// are where both are mounted for others to look at.
const (
	original = "/vz/source/root.hdd/DiskDescriptor.xml"
	wanted   = "/run/fidelity-wanted"
	restored = "/run/fidelity-restored"
)

// others lets programs judge that no one here wrote: rsync and getfattr look at both
// trees. Then they have to see what is altered in a copy.
func (f *fidelity) others() {
	f.Helper()
	dd := descriptor(webUUID, "root.hdd")
	f.run("mkdir", wanted, restored)
	f.run("ploop", "mount", "-r", "-m", wanted, original)
	defer f.run("ploop", "umount", "-m", wanted)
	f.run("ploop", "mount", "-r", "-m", restored, dd)
	for _, l := range f.rsync(wanted+"/", restored+"/") {
		f.differences++
		f.Errorf("rsync: %s", l)
	}
	if a, b := f.getfattr(wanted), f.getfattr(restored); a != b || strings.Count(a, "# file: ") < 20 {
		f.differences++
		f.Errorf("getfattr sees other attributes: %s", firstDifference(a, b))
	}
	f.run("ploop", "umount", "-m", restored)

	f.run("prlctl", "mount", "web")
	defer f.run("prlctl", "umount", "web")
	here := "/vz/root/" + webUUID + "/tmp/altered"
	f.run("cp", "-a", "/vz/root/"+webUUID+"/srv/"+nasty.Name, here)
	f.run("sh", "-c", `cd "$1" && touch -r owned /run/time && printf B | dd conv=notrunc of=owned bs=1 count=1 status=none && touch -r /run/time owned &&
		touch -d '2001-01-01' times/after-2038 && chmod 0700 setgid && ln -sfn elsewhere links/relative && rm links/hard4 && cp -a links/a/hard1 links/hard4 &&
		setfattr -n user.comment -v altered attr/user && setfattr -x security.capability attr/capable`, "sh", here)
	seen := strings.Join(f.rsync(wanted+"/srv/"+nasty.Name+"/", here+"/"), "\n") + "\n"
	for _, name := range []string{"owned", "times/after-2038", "setgid", "links/relative", "links/hard4", "attr/user", "attr/capable"} {
		f.planted++
		if strings.Contains(seen, " "+name+"\n") || strings.Contains(seen, " "+name+" ") {
			f.reported++
		} else {
			f.Errorf("rsync does not see that %s was altered; it says:\n%s", name, seen)
		}
	}
	f.planted++
	if a, b := f.getfattr(wanted+"/srv/"+nasty.Name), f.getfattr(here); strings.Contains(a, "\nuser.comment=0x706c61696e") && !strings.Contains(b, "\nuser.comment=0x706c61696e") {
		f.reported++
	} else {
		f.Errorf("getfattr does not see an altered attribute: %s", firstDifference(a, b))
	}
}

// rsync returns what rsync would do to make the second tree as the first. It takes
// paths up to PATH_MAX only, and reads holes as zeros: of the files of 20 GiB it
// compares no checksum. Sockets are documented to be missing.
func (f *fidelity) rsync(from, to string) []string {
	f.Helper()
	far := []string{"/" + full + "/" + nasty.SparseFar, "/" + full + "/hole-at-end"}
	common := []string{"rsync", "-n", "-aHAX", "--numeric-ids", "--itemize-changes", "--out-format=%i %n%L", "--modify-window=-1"}
	all := append(append([]string{}, common...), "--checksum", "--delete", "--exclude=/lost+found", "--exclude=/.balloon-*",
		"--exclude=/"+full+"/"+nasty.DeepLong, "--exclude="+far[0], "--exclude="+far[1], from, to)
	out := f.run(all...)
	for _, p := range far {
		if strings.HasSuffix(from, wanted+"/") {
			out += f.run(append(append([]string{}, common...), strings.TrimSuffix(from, "/")+p, to+full+"/")...)
		}
	}
	var lines []string
	for line := range strings.SplitSeq(out, "\n") {
		switch {
		case line == "", strings.HasPrefix(line, "cS+++++++++ "), strings.HasPrefix(line, "hS+++++++++ "):
		case strings.HasPrefix(line, "hL ") && f.family() == compare.Bareos: // names of one symbolic link, documented too
		default:
			lines = append(lines, line)
		}
	}
	return lines
}

// getfattr prints all extended attributes below a directory, in the order of names.
func (f *fidelity) getfattr(dir string) string {
	f.Helper()
	return f.run("sh", "-c", `cd "$1" && find . -path "./$2" -prune -o ! -type s -print0 | LC_ALL=C sort -z |
		xargs -0 -r getfattr -h -d -m - -e hex --`, "sh", dir, full+"/"+nasty.DeepLong)
}

// firstDifference is the first line that two texts do not share.
func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for n := range min(len(x), len(y)) {
		if x[n] != y[n] {
			return x[n] + " and " + y[n]
		}
	}
	return "one ends before the other"
}
