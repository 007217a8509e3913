// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/restore"
)

// A restore of a full backup and an incremental one brings both in one stream, the older
// one first. later is what the second one has of a container whose files are all other
// things by now.
func later(uuid string) (names []string, all map[string]Restored) {
	st := func(mode uint32) unix.Stat_t { return unix.Stat_t{Mode: mode, Mtim: unix.Timespec{Sec: 5e8}} }
	all = map[string]Restored{}
	add := func(name string, r Restored) {
		r.Name = treeRoot + uuid + "/" + name
		names, all[name] = append(names, name), r
	}
	add("home", Restored{Stat: st(0o644)}) // was a directory with hard links in it
	add("etc/hostname/x", Restored{Stat: st(0o644)})
	add("etc/hostname/", Restored{Kind: Directory, Stat: st(0o755)}) // was a file
	add("etc/link/x", Restored{Stat: st(0o644)})
	add("etc/link/", Restored{Kind: Directory, Stat: st(0o755)}) // was a link
	add("etc/fifo", Restored{Kind: Symlink, Link: "/etc", Stat: st(0o777)})
	add("empty/x", Restored{Stat: st(0o644)}) // was a file, and its directory does not come
	add("var/cache", Restored{Kind: Special, Stat: st(unix.S_IFIFO)})
	return names, all
}

// above is what of later must be there in the end.
func above(t *testing.T, how, root string) {
	t.Helper()
	for name, want := range map[string]string{"home": "later home", "etc/hostname/x": "later etc/hostname/x", "etc/link/x": "later etc/link/x", "empty/x": "later empty/x"} {
		if b, err := os.ReadFile(filepath.Join(root, name)); string(b) != want {
			t.Errorf("%s: %s = %q, %v, want %q", how, name, b, err, want)
		}
	}
	for name, want := range map[string]os.FileMode{"etc/hostname": os.ModeDir, "etc/link": os.ModeDir, "etc/fifo": os.ModeSymlink, "var/cache": os.ModeNamedPipe} {
		st, err := os.Lstat(filepath.Join(root, name))
		if err != nil || st.Mode().Type() != want || want == os.ModeDir && st.ModTime().Unix() != 5e8 {
			t.Errorf("%s: %s is %v, %v, want %v", how, name, st, err, want)
		}
	}
}

func TestLaterBackupChangesWhatThingsAre(t *testing.T) {
	list, _ := backedUp(t, bareos)
	linkAsBareos(list)
	names, all := later(webID)
	for _, how := range []string{"ct", "dir"} {
		for _, replace := range []restore.Replace{restore.Always, restore.IfNewer, restore.Never} {
			n := emptyNode(t)
			j, log := n.job(t, bareos)
			j.AddOptions("vz7ct:restore_trust_config=yes")
			root := n.path("tree-root.hdd")
			if how == "dir" {
				j, log = toDir(t, n, n.path("out"))
				root = n.path("out/" + webID + "/root")
			}
			must(t, play(j, cmd, "", list))
			for _, name := range names {
				r := all[name]
				r.Replace = replace
				content := "later " + name
				if r.Kind != Regular {
					content = ""
				}
				must(t, one(j, r, content))
			}
			j.EndRestore(Good)
			said := log.all("fatal", "error", "warning")
			if os.Geteuid() != 0 {
				said = log.all("fatal", "error")
			}
			if said != "" || !strings.Contains(log.all("info"), "; 0 not restored exactly") && os.Geteuid() == 0 {
				t.Errorf("%s, replace %c: said %s", how, replace, log.all())
			}
			above(t, fmt.Sprintf("%s, replace %c", how, replace), root)
			if left := n.left(t); len(left) > 0 {
				t.Errorf("%s: left behind %q", how, left)
			}
		}
	}
}

// Where files of others may lie nothing goes but what this restore is known to have made;
// the message says what to do, and the rest is restored.
func TestLaterBackupWhereOthersAre(t *testing.T) {
	for how, goes := range map[string]bool{"running": false, "stopped": true, "dir": true, "dir with something": false} {
		var n *fakeNode
		var root string
		options := "vz7ct:restore=file"
		switch how {
		case "running":
			n, root = running(t)
		case "stopped":
			if os.Geteuid() != 0 {
				continue
			}
			n = atRest(t)
			root = n.path("tree-root")
		default:
			n = emptyNode(t)
			options = "vz7ct:restore=dir:restore_dir=" + n.path("out")
			root = n.path("out/" + webID + "/root")
			must(t, os.MkdirAll(n.path("out/"+webID), 0o700))
			if how != "dir" {
				put(t, root+"/d/there", "there")
			}
		}
		if how == "running" {
			put(t, root+"/d/there", "there")
		}
		j, log := n.job(t, bareos)
		j.AddOptions(options)
		must(t, j.StartRestore("vz7ct:name=web"))
		for _, name := range []string{"d/x", "d", "after"} {
			must(t, one(j, Restored{Name: treeRoot + webID + "/" + name}, name))
		}
		j.EndRestore(Good)
		want := "not restored exactly: " + treeRoot + webID + "/d: d: a directory that is not empty is in the way: move it away and restore this again"
		if how == "dir with something" {
			want = strings.Replace(want, "d: d:", "d: root/d:", 1)
		}
		if strings.Contains(log.all("warning"), want) == goes {
			t.Errorf("%s: said %s", how, log.all())
		}
		b, err := os.ReadFile(filepath.Join(root, "d"))
		if (string(b) == "d") != goes {
			t.Errorf("%s: d = %q, %v", how, b, err)
		}
		if b, err := os.ReadFile(filepath.Join(root, "d/there")); !goes && string(b) != "there" {
			t.Errorf("%s: what was there is %q, %v", how, b, err)
		}
		if b, err := os.ReadFile(filepath.Join(root, "after")); string(b) != "after" {
			t.Errorf("%s: after = %q, %v", how, b, err)
		}
	}
}

// A link of a container that runs leads where it leads for its processes, whoever made it;
// that the backup has a directory there is told, and what to do.
func TestLaterDirectoryOverALink(t *testing.T) {
	n, root := running(t)
	put(t, root+"/real/there", "there")
	j, log := n.job(t, bareos)
	must(t, j.StartRestore(fileCmd))
	tree := treeRoot + webID
	for _, r := range []Restored{{Kind: Symlink, Name: tree + "/d", Link: "real"}, {Name: tree + "/d/x"}, {Kind: Directory, Name: tree + "/d/", Stat: unix.Stat_t{Mode: 0o755}}} {
		must(t, one(j, r, ""))
	}
	j.EndRestore(Good)
	if want := tree + "/d/: is a link to a directory there, which is kept, and what comes below it goes where it leads: for a directory of its own remove the link and restore both again"; !strings.Contains(log.all("warning"), want) {
		t.Errorf("said %s", log.all())
	}
	if to, err := os.Readlink(root + "/d"); to != "real" || !exists(root+"/real/x") || !exists(root+"/real/there") {
		t.Errorf("d leads to %q, %v", to, err)
	}
}

// A folder that a restore has begun is its own until it ends; one that has something in it
// may be that of several.
func TestFolderOfOneRestore(t *testing.T) {
	n := emptyNode(t)
	into := func() (*Job, *jobLog, error) {
		j, log := toDir(t, n, n.path("out"))
		must(t, j.StartRestore(cmd))
		return j, log, one(j, Restored{Name: treeRoot + webID + "/f"}, "x")
	}
	first, log, err := into()
	must(t, err)
	second, log2, err := into()
	if err != ErrStop || !strings.Contains(log2.all("fatal"), "another restore has begun "+n.path("out/"+webID)+", and is at work in it: wait until it has ended, or choose another restore_dir") {
		t.Errorf("a second one = %v, %s", err, log2.all())
	}
	second.EndRestore(Failed)
	first.EndRestore(Good)
	third, log3, err := into()
	must(t, err)
	fourth, log4, err := into()
	must(t, err)
	third.EndRestore(Good)
	fourth.EndRestore(Good)
	if said := log.all("warning", "fatal") + log3.all("warning", "fatal") + log4.all("warning", "fatal"); said != "" {
		t.Errorf("said %s", said)
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind %q", left)
	}
}

// Nothing that the restore has made itself of a container goes: not its disks, nor the
// directories at which disks are mounted.
func TestLaterBackupLeavesDisks(t *testing.T) {
	list, _ := backedUp(t, bareos)
	n := emptyNode(t)
	j, log := n.job(t, bareos)
	must(t, play(j, cmd, "", list))
	must(t, one(j, Restored{Name: privateRoot + webID + "/root.hdd"}, "x"))
	if os.Geteuid() == 0 { // then data is a disk of its own
		must(t, one(j, Restored{Kind: Directory, Name: treeRoot + webID + "/data/", Stat: unix.Stat_t{Mode: 0o755}}, ""))
		j.restore.containers[webID].disks[1].tree.Keep = append(j.restore.containers[webID].disks[1].tree.Keep, "home/a")
		must(t, one(j, Restored{Name: treeRoot + webID + "/home"}, "x"))
		if !strings.Contains(log.all("warning"), "/home: home: a directory that is not empty is in the way") {
			t.Errorf("said %s", log.all())
		}
	}
	j.EndRestore(Good)
	if !strings.Contains(log.all("warning"), "/root.hdd: root.hdd: a directory that is not empty is in the way") || len(n.registered) != 1 ||
		!exists(filepath.Join(n.registered[0], "root.hdd/DiskDescriptor.xml")) {
		t.Errorf("registered %q, said %s", n.registered, log.all())
	}
}

// A further name whose first one was deleted since, and so is not in the restore, is told of.
func TestLaterBackupWithoutAFirstName(t *testing.T) {
	list, _ := backedUp(t, bareos)
	linkAsBareos(list)
	var without []saved
	first, further := "a", "b" // as the directory has them
	for _, s := range list {
		if s.Kind == HardLink && filepath.Base(s.Name) == "a" {
			first, further = "b", "a"
		}
	}
	for _, s := range list {
		if s.Name != treeRoot+webID+"/home/"+first {
			without = append(without, s)
		}
	}
	n := emptyNode(t)
	log := restoreCT(t, n, "", without)
	if !strings.Contains(log.all("warning"), treeRoot+webID+"/home/"+further+": create home/"+further+": it is a hard link to home/"+first+", which is not there: restore that one too, from the same job (it may have been deleted since)") ||
		!strings.Contains(log.all(), "; 1 not restored exactly") {
		t.Errorf("said %s", log.all())
	}
	if exists(n.path("tree-root.hdd/home/" + further)) {
		t.Error("the further name is there")
	}
}
