// SPDX-License-Identifier: AGPL-3.0-only

package prlctl

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/bareos-contrib/vz7ct/test/lab/container"
)

var idPattern = regexp.MustCompile(`^([0-9]+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$`)

// register makes a container known whose private area lies ready.
func (t *Tool) register(args []string) int {
	var path, uuid string
	preserve, force := false, false
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "--preserve-uuid":
			preserve = true
		case a == "--force":
			force = true
		case a == "--regenerate-src-uuid", a == "--ignore-ha-cluster":
		case a == "--uuid" && i+1 < len(args):
			i++
			uuid = strings.Trim(args[i], "{}")
		case strings.HasPrefix(a, "-"):
			return t.fail(badUse, "Unrecognized option: %s", a)
		default:
			path = a
		}
	}
	if path == "" {
		return t.fail(badUse, "Usage: prlctl register <PATH> [--preserve-uuid|--uuid <UUID>] [--force]")
	}
	path = filepath.Clean(path)
	if code := t.registrable(path); code != 0 {
		return code
	}
	conf, err := container.ReadConf(filepath.Join(path, "ve.conf"))
	if err != nil {
		return t.fail(refused, "Failed to register the CT: %v", err)
	}
	switch {
	case uuid != "":
	case preserve && conf.Get("UUID") != "":
		uuid = conf.Get("UUID")
	default:
		if uuid, err = newUUID(); err != nil {
			return t.fail(refused, "lab: %v", err)
		}
	}
	ctid := filepath.Base(path)
	if !idPattern.MatchString(ctid) {
		ctid = uuid
	}
	return t.enter(path, ctid, uuid, conf, force)
}

// registrable looks at what a private area must have.
func (t *Tool) registrable(path string) int {
	if _, err := os.Stat(path); err != nil {
		return t.fail(refused, "Failed to register the CT: Unable to access %s: No such file or directory", path)
	}
	layout, err := os.Readlink(filepath.Join(path, ".ve.layout"))
	if err != nil || layout != "5" {
		return t.fail(refused, "Failed to register the CT: Unable to determine the Container layout: %s/.ve.layout", path)
	}
	if _, err := os.Stat(filepath.Join(path, "ve.conf")); err != nil {
		return t.fail(refused, "Failed to register the CT: Unable to read %s/ve.conf", path)
	}
	return 0
}

// enter writes the settings and makes the links.
func (t *Tool) enter(path, ctid, uuid string, conf *container.Conf, force bool) int {
	all, err := container.All(t.lab)
	if err != nil {
		return t.fail(refused, "lab: %v", err)
	}
	name := conf.Get("NAME")
	if name == "" {
		name = ctid
	}
	taken := map[string]bool{}
	for _, c := range all {
		if c.Private() == path && !force {
			return t.fail(refused, "Failed to register the CT: Container is already registered with id %s", c.CTID)
		}
		if (strings.EqualFold(c.CTID, ctid) || strings.EqualFold(c.UUID, uuid)) && !force {
			return t.fail(refused, "Failed to register the CT: Container ID %s is used", ctid)
		}
		if !strings.EqualFold(c.CTID, ctid) {
			taken[c.Name] = true
		}
	}
	for base, n := name, 0; taken[name]; n++ {
		name = fmt.Sprintf("%s-(%d)", base, n) // gen_uniq_name in lib/name.c of libvzctl, vz7-u22
	}
	conf.Set("VE_PRIVATE", path)
	conf.Set("VEID", ctid)
	conf.Set("UUID", uuid)
	conf.Set("NAME", name)
	c := &container.Container{CTID: ctid, UUID: uuid, Name: name, Conf: conf}
	if err := errors.Join(conf.Store(filepath.Join(path, "ve.conf")), c.Register()); err != nil {
		return t.fail(refused, "Failed to register the CT: %v", err)
	}
	t.say("The CT has been successfully registered.")
	return 0
}

func newUUID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

// unregister takes no lock (ACTION_UNREGISTER in vzctl.c of vz7-u22).
func (t *Tool) unregister(c *container.Container, _ []string) int {
	if s := c.Status(); s == "running" || s == "mounted" {
		return t.fail(refused, "Failed to unregister the CT: it is %s.", s)
	}
	t.say("Unregister the CT...")
	if err := c.Unregister(); err != nil {
		return t.fail(refused, "Failed to unregister the CT: %v", err)
	}
	t.say("The CT has been successfully unregistered.")
	return 0
}

func (t *Tool) destroy(c *container.Container, _ []string) int {
	return t.locked(c, "destroying", func() int {
		if s := c.Status(); s == "running" || s == "mounted" {
			return t.fail(refused, "Failed to remove the CT: it is %s.", s)
		}
		t.say("Removing the CT...")
		if err := errors.Join(c.Unregister(), os.RemoveAll(c.Private())); err != nil {
			return t.fail(refused, "Failed to remove the CT: %v", err)
		}
		t.say("The CT has been successfully removed.")
		return 0
	})
}
