// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// Names in the catalogue are those of the reference plugin, whatever the real
// paths are: a container's files below /mnt/bareos/<uuid>/, its private area
// below /vz/private/<uuid>/. What this plugin adds of its own is in the folder
// .vz7ct of the private area.
const (
	treeRoot    = "/mnt/bareos/"
	privateRoot = "/vz/private/"
	liveRoot    = "/vz/root/"
	ownFolder   = ".vz7ct"

	// A catalogue without objects gives a restore of several jobs the newest manifest, after
	// the files of the first one. Full jobs have a second one, which stays theirs.
	manifestName     = ownFolder + "/manifest.json"
	fullManifestName = ownFolder + "/manifest-full.json"
	scriptFolder     = ownFolder + "/etc-vz-conf"
	quotaFolder      = ownFolder + "/quota"
)

// area says which part of a container a name is in.
type area int

const (
	inTree area = iota
	inPrivate
	inLive
)

// place is a name of the catalogue taken apart.
type place struct {
	area area
	uuid string
	// path is relative to the area's root, without slashes at its ends.
	path string
}

// locate takes a full name apart. It reports false for a name of no container.
func locate(name string) (place, bool) {
	for root, a := range map[string]area{treeRoot: inTree, privateRoot: inPrivate, liveRoot: inLive} {
		rest, ok := strings.CutPrefix(name, root)
		if !ok {
			continue
		}
		id, path, _ := strings.Cut(rest, "/")
		uuid, ok := prlctl.ParseUUID(id)
		// Braces and blanks, which options may have, are no part of such a name.
		if !ok || len(id) != len(uuid) {
			return place{}, false
		}
		path, ok = plain(path)
		return place{a, uuid, path}, ok
	}
	return place{}, false
}

// plain takes superfluous slashes out of a path, as a substitution by regexwhere
// may have left them. A path with "." or ".." leads elsewhere than it says.
func plain(path string) (string, bool) {
	var parts []string
	for p := range strings.SplitSeq(path, "/") {
		if p == "." || p == ".." {
			return "", false
		}
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "/"), true
}

// stripWhere takes off the directory that the daemon has put before the name.
// The daemon gives no directory if the operator chose names by RegexWhere.
func stripWhere(name, where string) (string, error) {
	where = strings.TrimRight(where, "/")
	if where == "" {
		return name, nil
	}
	rest, ok := strings.CutPrefix(name, where)
	if !ok || !strings.HasPrefix(rest, "/") {
		return "", fmt.Errorf("name %s does not begin with where=%s", text.Name(name), text.Name(where))
	}
	return rest, nil
}

// savedName returns where a name of the stream was in the container that was saved,
// whatever directory where has put before it. how is the restore, for messages.
func savedName(how, name, where string) (place, error) {
	bare, err := stripWhere(name, where)
	if err != nil {
		return place{}, err
	}
	p, ok := locate(bare)
	if !ok || p.area == inLive {
		return place{}, fmt.Errorf("%s: %s is no name of a container's backup: accepted are %s<uuid> and %s<uuid> and what is below them",
			how, text.Name(bare), treeRoot, privateRoot)
	}
	return p, nil
}

// containerName returns where a name of the stream belongs when a whole
// container is restored.
func containerName(name, where string) (place, error) {
	p, err := savedName("restore=ct", name, where)
	if err != nil {
		return place{}, fmt.Errorf("%w; for single files use restore=file", err)
	}
	return p, nil
}

// fileName returns where in a running container a name of the stream belongs.
// A directory given by where is one inside the container; one given by restore_dir
// takes its place.
//
//	where=""   /mnt/bareos/<uuid of the backup>/etc/x   -> etc/x
//	where=/r   /r/mnt/bareos/<uuid of the backup>/etc/x -> r/etc/x
//	regexwhere /vz/root/<uuid of the target>/r/etc/x    -> r/etc/x
//	regexwhere /mnt/bareos/<uuid of the backup>/r/etc/x -> r/etc/x
func fileName(name, where, dir string) (place, error) {
	bare, err := stripWhere(name, where)
	if err != nil {
		return place{}, err
	}
	p, ok := locate(bare)
	if !ok || p.area == inPrivate {
		return place{}, fmt.Errorf("restore=file: %s is no name inside a container: accepted are %s<uuid>/... and %s<uuid>/..., after where and regexwhere; nothing is written on the node",
			text.Name(bare), treeRoot, liveRoot)
	}
	if dir == "" {
		dir = where
	}
	if prefix := strings.Trim(dir, "/"); prefix != "" {
		if p.path, ok = plain(prefix + "/" + p.path); !ok {
			return place{}, fmt.Errorf("restore=file: where=%s has a component \"..\" or \".\"", text.Name(where))
		}
	}
	return p, nil
}
