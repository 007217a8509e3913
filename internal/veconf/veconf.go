// SPDX-License-Identifier: AGPL-3.0-only

// Package veconf makes the configuration of a restored container out of the one that
// was recorded with its backup. That one is not trusted: it has been on a volume, and
// the tools of the node run by it as root. What may pass is listed here; all else is
// left out, and named.
//
// It reads and writes no file, and does not judge what lies in the private area.
package veconf

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

// Target is the container that is made.
type Target struct {
	// UUID, CTID and Name are those it is registered by; Name may be empty.
	UUID, CTID, Name string
	// Private is its private area; Root is where the node would mount it.
	Private, Root string
	// WasCTID, WasPrivate and WasRoot are what it had when it was saved.
	WasCTID, WasPrivate, WasRoot string
	// Disks are those that were made.
	Disks []Disk
	// Copy: it has another UUID than the one that was saved, which may still live.
	// Its network cards get other hardware addresses.
	Copy bool
	// Addresses are taken over.
	Addresses bool
	// Trust keeps what reaches the node, and what is not known.
	Trust bool
	// Present is the configuration that the container has on the node, if it is rolled
	// back: what that has, the recorded one may have, too.
	Present string
	// MAC returns a new hardware address.
	MAC func() string
}

// Disk is one disk of it.
type Disk struct {
	// UUID is without braces. Mount is the mount point, "" for none. Image is the
	// path of the disk's directory in the private area.
	UUID, Mount, Image string
	// KiB is its size if it is another one than was recorded, else 0.
	KiB uint64
}

// maxConfig is how long a configuration may be: prlctl.ReadConfig takes as much.
const maxConfig = 1 << 20

// maxWarnings bounds the list of what was left out.
const maxWarnings = 100

// judge is a configuration at work.
type judge struct {
	Target
	out   []string
	at    map[string]int  // line of out by key
	named map[string]bool // disks that DISK names
	warn  []string
	extra int
	present
}

// Judge returns the configuration of the container that t describes, and what of the
// recorded one is not in it, a sentence each. A line that needs no change stays as it is.
func Judge(recorded string, t Target) (conf string, warnings []string, err error) {
	if len(recorded) > maxConfig {
		return "", nil, fmt.Errorf("ve.conf has %d bytes, %d are the limit", len(recorded), maxConfig)
	}
	j := &judge{Target: t, at: map[string]int{}, named: map[string]bool{}, present: parsePresent(t.Present)}
	for line := range strings.SplitSeq(strings.TrimSuffix(recorded, "\n"), "\n") {
		j.line(line)
	}
	for _, s := range []Setting{{"VE_PRIVATE", t.Private}, {"VEID", t.CTID}, {"UUID", t.UUID}} {
		j.add(s)
	}
	if t.Name != "" {
		j.add(Setting{"NAME", t.Name})
	}
	j.unnamed()
	if j.extra > 0 {
		j.warn = append(j.warn, fmt.Sprintf("%d further settings or parts of them are left out", j.extra))
	}
	return strings.TrimLeft(strings.Join(j.out, "\n"), "\n") + "\n", j.warn, nil
}

// warnf tells of something that is left out.
func (j *judge) warnf(format string, args ...any) {
	if len(j.warn) == maxWarnings {
		j.extra++
		return
	}
	j.warn = append(j.warn, fmt.Sprintf(format, args...))
}

// line judges one line.
func (j *judge) line(line string) {
	trimmed := strings.Trim(line, " \t")
	if trimmed == "" {
		j.out = append(j.out, "")
		return
	}
	if trimmed[0] == '#' && printable(line) && len(line) <= maxLine && !strings.Contains(line, `\`) {
		j.out = append(j.out, line)
		return
	}
	s, ok := Parse(line)
	if !ok {
		j.warnf("the line %s is left out: it is no plain KEY=\"value\"", shorten(line))
		return
	}
	if now, keep := j.setting(s); keep {
		// Without a comment behind it, in whose quotes libvzctl might see the value's end.
		j.put(s.Key, now.String())
	}
}

// put adds a line, in place of an earlier one for the same key: the last one counts
// for shells and for libvzctl.
func (j *judge) put(key, line string) {
	if n, twice := j.at[key]; twice {
		if j.out[n] != line {
			j.warnf("%s is set more than once: the last one counts", key)
		}
		j.out[n] = line
		return
	}
	j.at[key] = len(j.out)
	j.out = append(j.out, line)
}

// add sets what is not set yet.
func (j *judge) add(s Setting) {
	if _, there := j.at[s.Key]; !there {
		j.put(s.Key, s.String())
	}
}

// setting judges one setting.
func (j *judge) setting(s Setting) (Setting, bool) {
	k := known[s.Key]
	if k != ours && strings.Contains(s.Value, "$") {
		j.warnf("%s is left out: it has a variable of the shell", quote(s))
		return s, false
	}
	switch k {
	case ours:
		return j.own(s)
	case disks:
		return j.disks(s)
	case cards:
		return j.cards(s)
	case addresses:
		if !j.Addresses {
			if s.Value != "" {
				j.warnf("%s is left out: restore_addresses=yes takes it over", quote(s))
			}
			return s, false
		}
		return s, j.Trust || j.present.has(s) || j.matches(s, plainAddresses.MatchString(s.Value))
	}
	has := j.present.has(s)
	if kib := j.rootSize(); s.Key == "DISKSPACE" && kib > 0 {
		s.Value = fmt.Sprintf("%d:%[1]d", kib)
	}
	if j.Trust || has {
		return s, true
	}
	switch k {
	case features:
		return j.features(s)
	case words:
		return s, true
	case figure:
		return s, j.matches(s, plainFigure.MatchString(s.Value) && !strings.Contains(s.Value, ".."))
	case reaches:
		return j.reaching(s)
	default:
		j.warnf("%s is left out: what it does on this node is not known", quote(s))
		return s, false
	}
}

// rootSize is what disk_size has asked for.
func (j *judge) rootSize() uint64 {
	for _, d := range j.Disks {
		if d.UUID == rootDisk {
			return d.KiB
		}
	}
	return 0
}

func (j *judge) matches(s Setting, ok bool) bool {
	if !ok {
		j.warnf("%s is left out: no such value is known to be harmless", quote(s))
	}
	return ok
}

// own judges the settings that the restore decides. Where the recorded value says the
// same with the container's id in it, it stays as it is written.
func (j *judge) own(s Setting) (Setting, bool) {
	// Not cleaned: what is behind ".." depends on the links before it.
	now := strings.TrimSuffix(expand(s.Value, j.CTID), "/")
	was := filepath.Clean(expand(s.Value, j.WasCTID))
	switch s.Key {
	case "VEID":
		s.Value = j.CTID
	case "UUID":
		s.Value = j.UUID
	case "NAME":
		s.Value = j.Name
		return s, j.Name != ""
	case "VE_PRIVATE":
		if now != j.Private {
			s.Value = j.Private
		}
	case "VE_ROOT":
		switch {
		case now == j.Root:
		case was == j.WasRoot && filepath.Base(was) == j.WasCTID:
			s.Value = j.Root // it was in the usual place of another node, or of its own id
		case (j.Trust || j.present.has(s)) && !j.Copy && filepath.IsAbs(now):
		default:
			j.warnf("%s is left out: the container is mounted at %s", quote(s), text.Name(j.Root))
			s.Value = j.Root
		}
	}
	return s, true
}

func expand(path, ctid string) string {
	return strings.NewReplacer("${VEID}", ctid, "$VEID", ctid).Replace(path)
}

// features keeps those that are switched off: the others load modules of the node, set
// its clock or serve files from its kernel (lib/vzfeatures.c).
func (j *judge) features(s Setting) (Setting, bool) {
	var kept []string
	for _, f := range strings.Fields(s.Value) {
		if name, off := strings.CutSuffix(f, ":off"); off && plainFigure.MatchString(name) || j.present.hasPart(s.Key, f, " ") {
			kept = append(kept, f)
		} else {
			j.warnf("FEATURES: %s is left out: it reaches the kernel of this node", shorten(f))
		}
	}
	if len(kept) == len(strings.Fields(s.Value)) {
		return s, true
	}
	s.Value = strings.Join(kept, " ")
	return s, true
}

// quote writes a setting for a message.
func quote(s Setting) string { return shorten(s.String()) }

// shorten bounds other people's words.
func shorten(s string) string {
	const most = 200
	if len(s) > most {
		return text.Name(s[:most]) + "..."
	}
	return text.Name(s)
}
