// SPDX-License-Identifier: AGPL-3.0-only

package veconf

import (
	"regexp"
	"strconv"
	"strings"
)

// rootDisk is the UUID of the root disk (libvzctl: the null UUID).
const rootDisk = "00000000-0000-0000-0000-000000000000"

// field is one key=value of a list with commas.
type field struct{ key, value string }

func fields(entry string) []field {
	var all []field
	for f := range strings.SplitSeq(entry, ",") {
		k, v, _ := strings.Cut(f, "=")
		all = append(all, field{k, v})
	}
	return all
}

func joined(all []field) string {
	var parts []string
	for _, f := range all {
		switch {
		case f.key == "" && f.value == "":
			parts = append(parts, "") // a comma at the end
		default:
			parts = append(parts, f.key+"="+f.value)
		}
	}
	return strings.Join(parts, ",")
}

var (
	token = regexp.MustCompile(`^[A-Za-z0-9_.-]*$`)
	// mountPoint: what a list can hold. Package fdplugin has seen to it that it is
	// clean and absolute.
	mountPoint = regexp.MustCompile("^/[^,;=\"\\\\`$\\x00-\\x1f\\x7f]*$")
	imageDir   = regexp.MustCompile(`^[A-Za-z0-9_.+@{}-]+(/[A-Za-z0-9_.+@{}-]+)*$`)
	// mountOptions are those of ext4 that name no device of the node, and no key.
	mountOptions = regexp.MustCompile(`^(|defaults|a?sync|dirsync|r[ow]|(no|rel|strict|lazy)?atime|(no)?diratime|no(suid|exec|dev)|(no)?discard|(no)?barrier|barrier=[01]|commit=[0-9]{1,4}|data=(ordered|writeback|journal)|(no)?user_xattr|(no)?acl|(usr|grp|prj)?quota|noquota|usrjquota=aquota\.user|grpjquota=aquota\.group|jqfmt=[a-z0-9]{1,8}|(no)?delalloc|errors=remount-ro)$`)
)

// CanBeImage reports whether DISK can name a directory of the private area.
func CanBeImage(dir string) bool { return imageDir.MatchString(dir) && !strings.Contains(dir, "..") }

// disks judges the DISK setting: it names the disks that were made, where they were
// made, and no others. An image elsewhere, a device or a storage URL is the node's, or
// another container's.
func (j *judge) disks(s Setting) (Setting, bool) {
	var kept []string
	j.named = map[string]bool{} // of two settings the last one counts
	for entry := range strings.SplitSeq(s.Value, ";") {
		if strings.Trim(entry, " \t") == "" {
			continue
		}
		if e, ok := j.disk(entry); ok {
			kept = append(kept, e)
		}
	}
	s.Value = strings.Join(kept, ";")
	return s, true
}

func (j *judge) disk(entry string) (string, bool) {
	all := fields(strings.Trim(entry, " \t"))
	trust := j.Trust || j.present.hasPart("DISK", entry, ";")
	id, external := "", false
	for _, f := range all {
		switch f.key {
		case "uuid":
			id = strings.ToLower(strings.Trim(f.value, "{}"))
		case "device", "storage_url":
			external = external || f.value != ""
		}
	}
	var made *Disk
	for n := range j.Disks {
		if j.Disks[n].UUID == id {
			made = &j.Disks[n]
		}
	}
	switch {
	case made != nil:
	case external && trust:
		return strings.Trim(entry, " \t"), true
	case external:
		j.warnf("DISK: %s is left out: it is a device of this node, or storage elsewhere, and not of the backup", shorten(entry))
		return "", false
	default:
		j.warnf("DISK: %s is left out: this disk is not in the backup", shorten(entry))
		return "", false
	}
	if j.named[made.UUID] {
		j.warnf("DISK: %s is left out: disk {%s} is named twice", shorten(entry), made.UUID)
		return "", false
	}
	j.named[made.UUID] = true
	var now []field
	image := false
	for _, f := range all {
		switch f.key {
		case "image":
			if image {
				continue
			}
			image, f.value = true, made.Image
		case "mnt":
			f.value = j.mount(made)
		case "size":
			if made.KiB > 0 {
				f.value = strconv.FormatUint(made.KiB, 10)
			}
			if _, err := strconv.ParseUint(strings.TrimSuffix(f.value, "K"), 10, 64); err != nil {
				continue
			}
		case "mnt_opts":
			f.value = j.mountOptions(f.value, trust)
		case "uuid":
			f.value = "{" + made.UUID + "}"
		case "device", "storage_url":
			j.warnf("DISK: %s is left out of disk {%s}, which is an image of the backup now", shorten(f.key+"="+f.value), made.UUID)
			continue
		default:
			if (f.key != "" || f.value != "") && !trust && (f.key != "enabled" && f.key != "autocompact" || !token.MatchString(f.value)) {
				j.warnf("DISK: %s is left out of disk {%s}: what it does on this node is not known", shorten(f.key+"="+f.value), made.UUID)
				continue
			}
		}
		now = append(now, f)
	}
	if !image {
		now = append(now, field{"image", made.Image})
	}
	return joined(now), true
}

// mountOptions are written with commas, which divide fields, so there is one; libvzctl
// hands it to the kernel that mounts the disk.
func (j *judge) mountOptions(v string, trust bool) string {
	if trust || mountOptions.MatchString(v) {
		return v
	}
	j.warnf("DISK: mnt_opts=%s is left out: no such option is known to be harmless", shorten(v))
	return ""
}

// mount returns the mount point of a disk, "" if DISK cannot name it.
func (j *judge) mount(d *Disk) string {
	if d.Mount != "" && !mountPoint.MatchString(d.Mount) {
		j.warnf("DISK: disk {%s} is not mounted: %s cannot be a mount point in ve.conf", d.UUID, shorten(d.Mount))
		return ""
	}
	return d.Mount
}

// unnamed adds the disks that were made and that DISK does not name. The root disk is
// there without being named, where it usually is.
func (j *judge) unnamed() {
	var all []string
	if n, there := j.at["DISK"]; there {
		s, _ := Parse(j.out[n])
		if s.Value != "" {
			all = append(all, s.Value)
		}
	}
	before := len(all)
	for n := range j.Disks {
		d := &j.Disks[n]
		if j.named[d.UUID] || d.UUID == rootDisk && d.Image == "root.hdd" {
			continue
		}
		entry := "uuid={" + d.UUID + "},enabled=yes"
		if d.KiB > 0 {
			entry += ",size=" + strconv.FormatUint(d.KiB, 10)
		}
		all = append(all, entry+",mnt="+j.mount(d)+",image="+d.Image)
		j.warnf("DISK: disk {%s} is added: ve.conf did not name it", d.UUID)
	}
	if len(all) > before {
		s := Setting{"DISK", strings.Join(all, ";")}
		j.add(s)
		j.out[j.at[s.Key]] = s.String()
	}
}
