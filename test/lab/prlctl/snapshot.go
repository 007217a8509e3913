// SPDX-License-Identifier: AGPL-3.0-only

package prlctl

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/test/lab/container"
)

// state is one element of Snapshots.xml: a snapshot, or the nameless root above all.
type state struct {
	XMLName     xml.Name `xml:"SavedStateItem"`
	GUID        string   `xml:"guid,attr"`
	Current     string   `xml:"current,attr,omitempty"`
	Name        string
	DateTime    string
	Creator     string
	ScreenShot  string
	Description string
	Items       []*state `xml:"SavedStateItem"`
}

type states struct {
	XMLName xml.Name `xml:"ParallelsSavedStates"`
	Root    *state   `xml:"SavedStateItem"`
}

func snapshotsFile(c *container.Container) string { return filepath.Join(c.Private(), "Snapshots.xml") }

func readStates(c *container.Container) (*states, error) {
	b, err := os.ReadFile(snapshotsFile(c))
	if errors.Is(err, os.ErrNotExist) {
		return &states{Root: &state{}}, nil
	}
	if err != nil {
		return nil, err
	}
	var s states
	if err := xml.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	if s.Root == nil {
		s.Root = &state{}
	}
	return &s, nil
}

func (s *states) store(c *container.Container) error {
	b, err := xml.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(snapshotsFile(c), append([]byte("<?xml version=\"1.0\"?>\n"), append(b, '\n')...), 0o644)
}

// walk visits every snapshot with its parent.
func (s *state) walk(fn func(parent, item *state)) {
	for _, i := range s.Items {
		fn(s, i)
		i.walk(fn)
	}
}

// current is the snapshot the container stands on, or the root.
func (s *states) current() *state {
	c := s.Root
	s.Root.walk(func(_, i *state) {
		if i.Current == "yes" {
			c = i
		}
	})
	return c
}

// option finds the value of -x or --name.
func option(args []string, names ...string) string {
	for i, a := range args {
		for _, n := range names {
			if a == n && i+1 < len(args) {
				return args[i+1]
			}
			if v, ok := strings.CutPrefix(a, n+"="); ok {
				return v
			}
		}
	}
	return ""
}

// snapshot snapshots all disks under one GUID, for the user to see.
func (t *Tool) snapshot(c *container.Container, args []string) int {
	return t.locked(c, "snapshoting", func() int {
		id, err := newUUID()
		if err != nil {
			return t.fail(refused, "lab: %v", err)
		}
		id = "{" + id + "}"
		t.say("Creating the snapshot...")
		var done []container.Disk
		for _, d := range c.Disks() {
			if !d.Enabled {
				continue
			}
			if t.ploop("snapshot", "-u", id, d.Descriptor()) != 0 {
				for _, u := range done {
					_ = t.ploop("snapshot-delete", "-u", id, u.Descriptor())
				}
				return t.fail(refused, "Failed to create the snapshot: PRL_ERR_VZCTL_OPERATION_FAILED")
			}
			done = append(done, d)
		}
		s, err := readStates(c)
		if err != nil {
			return t.fail(refused, "Failed to create the snapshot: %v", err)
		}
		at := s.current()
		at.Current = ""
		at.Items = append(at.Items, &state{
			GUID: id, Current: "yes", Name: option(args, "-n", "--name"), Description: option(args, "-d", "--description"),
			DateTime: time.Now().UTC().Format("2006-01-02 15:04:05"), Creator: "root",
		})
		conf := filepath.Join(c.Private(), "dump", id+".ve.conf")
		if err := errors.Join(s.store(c), os.WriteFile(conf, []byte(c.Conf.String()), 0o644)); err != nil {
			return t.fail(refused, "Failed to create the snapshot: %v", err)
		}
		t.say("The snapshot with id %s has been successfully created.", id)
		return 0
	})
}

func (t *Tool) snapshotList(c *container.Container, _ []string) int {
	s, err := readStates(c)
	if err != nil {
		return t.fail(refused, "Failed to list snapshots: %v", err)
	}
	t.say("%-39s %s", "PARENT_SNAPSHOT_ID", " SNAPSHOT_ID")
	s.Root.walk(func(parent, i *state) {
		mark := " "
		if i.Current == "yes" {
			mark = "*"
		}
		t.say("%s", fmt.Sprintf("%-39s %s%s", parent.GUID, mark, i.GUID))
	})
	return 0
}

func (t *Tool) snapshotDelete(c *container.Container, args []string) int {
	id := option(args, "-i", "--id")
	if id == "" {
		return t.fail(badUse, "Usage: prlctl snapshot-delete <CT_ID> -i <SNAPSHOT_ID>")
	}
	id = "{" + strings.Trim(id, "{}") + "}"
	return t.locked(c, "deleting snapshot", func() int {
		s, err := readStates(c)
		if err != nil {
			return t.fail(refused, "Failed to delete the snapshot: %v", err)
		}
		var parent, item *state
		s.Root.walk(func(p, i *state) {
			if strings.EqualFold(i.GUID, id) {
				parent, item = p, i
			}
		})
		if item == nil {
			return t.fail(refused, "Failed to delete the snapshot: Unable to find the snapshot %s", id)
		}
		t.say("Delete the snapshot...")
		for _, d := range c.Disks() {
			if code := t.ploop("snapshot-delete", "-u", id, d.Descriptor()); d.Enabled && code != 0 && code != 43 {
				return t.fail(refused, "Failed to delete the snapshot: PRL_ERR_VZCTL_OPERATION_FAILED")
			}
		}
		for k, i := range parent.Items {
			if i == item {
				parent.Items = append(parent.Items[:k:k], parent.Items[k+1:]...)
				break
			}
		}
		parent.Items = append(parent.Items, item.Items...)
		if item.Current == "yes" && parent != s.Root {
			parent.Current = "yes"
		}
		_ = os.Remove(filepath.Join(c.Private(), "dump", id+".ve.conf"))
		if err := s.store(c); err != nil {
			return t.fail(refused, "Failed to delete the snapshot: %v", err)
		}
		t.say("The snapshot has been successfully deleted.")
		return 0
	})
}
