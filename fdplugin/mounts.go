// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/mount"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// rootOf opens the root directory as the container's init sees it, with its
// further disks and whatever else it has mounted. It returns no file if the node
// has no usable record of the init's pid: the root that it has is then another one
// than the node sees.
func rootOf(place prlctl.Place) (root *os.File, pid int) {
	pid, err := place.Init()
	if err != nil {
		return nil, 0
	}
	node, err := os.OpenFile(place.Root, placeFlags, 0)
	if err != nil {
		return nil, 0
	}
	defer node.Close()
	own, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", pid), placeFlags, 0)
	if err != nil {
		return nil, 0
	}
	// Of a root that its tenant serves nothing must be asked: it could never answer.
	mountinfo := fmt.Sprintf("/proc/%d/mountinfo", pid)
	if mount.Gate(node, mountinfo)(own) != nil || !sameFile(node, own) {
		own.Close() // the pid is another process' by now
		return nil, 0
	}
	return own, pid
}

// nameOtherMounts tells of the file systems that a running container sees and
// that are no disks of it: a snapshot does not have them.
func (b *backup) nameOtherMounts() {
	root, pid := rootOf(b.place)
	if root == nil {
		return
	}
	root.Close()
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return
	}
	defer f.Close()
	// A tenant may have any number of mounts.
	info, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return
	}
	disks := map[string]bool{"/": true}
	if conf, err := b.place.Config.Disks(b.place.Private); err == nil {
		for _, d := range conf {
			disks[filepath.Clean("/"+d.Mount)] = true
		}
	}
	if others := otherMounts(string(info), disks); len(others) > 0 {
		b.left.mounts = others
	}
}

// kernelsOwn are file systems that hold no files of anybody.
var kernelsOwn = map[string]bool{
	"proc": true, "sysfs": true, "cgroup": true, "cgroup2": true, "devpts": true, "devtmpfs": true, "mqueue": true,
	"debugfs": true, "tracefs": true, "securityfs": true, "fusectl": true, "binfmt_misc": true, "hugetlbfs": true,
	"pstore": true, "configfs": true, "bpf": true, "autofs": true, "rpc_pipefs": true, "nfsd": true, "selinuxfs": true,
}

// otherMounts reads a mountinfo (proc(5)) and returns what is mounted at none of
// the places given, twenty at most.
func otherMounts(info string, known map[string]bool) []string {
	var out []string
	more := 0
	for line := range strings.SplitSeq(info, "\n") {
		head, tail, ok := strings.Cut(line, " - ")
		f, t := strings.Fields(head), strings.Fields(tail)
		if !ok || len(f) < 5 || len(t) < 2 {
			continue
		}
		at := unescape(f[4])
		if known[at] || kernelsOwn[t[0]] || strings.HasPrefix(at, "/proc/") || strings.HasPrefix(at, "/sys/") || strings.HasPrefix(at, "/dev/") {
			continue
		}
		if len(out) == 20 {
			more++
			continue
		}
		what := t[0]
		if src := unescape(t[1]); src != t[0] && src != "none" {
			what += " from " + short(src)
		}
		out = append(out, fmt.Sprintf("%s (%s)", short(at), what))
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return out
}

// short is a name for a list of many: its beginning, if it is long.
func short(name string) string {
	if len(name) > 200 {
		return text.Name(name[:200]) + "..."
	}
	return text.Name(name)
}

// mountedBelow returns what a mountinfo names at dir or below it, "" if nothing is
// mounted there.
func mountedBelow(info, dir string) string {
	for line := range strings.SplitSeq(info, "\n") {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		if at := unescape(f[4]); at == dir || strings.HasPrefix(at, dir+"/") {
			return at
		}
	}
	return ""
}

// unescape undoes the kernel's \040 for bytes that would end a field.
func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
