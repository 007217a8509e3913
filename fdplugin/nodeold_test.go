// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/bareos-contrib/vz7ct/prlctl"
)

// What a fake node does with a container that is there already.

// web is the container in the list, nil if there is none.
func (n *fakeNode) web() *prlctl.Container {
	for i := range n.list {
		if n.list[i].UUID == webID {
			return &n.list[i]
		}
	}
	return nil
}

func (n *fakeNode) Stop(ctx context.Context, _ string) error {
	return n.call(ctx, "stop", func() error { n.web().State = "stopped"; return nil })
}

func (n *fakeNode) Unregister(ctx context.Context, uuid string) error {
	return n.call(ctx, "unregister", func() error {
		if k := n.web(); k == nil || k.State == "running" {
			return fmt.Errorf("not registered, or running: %+v", k)
		}
		if n.owners {
			if err := os.Remove(filepath.Join(n.place.Private, ownerName)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		n.list = slices.DeleteFunc(n.list, func(k prlctl.Container) bool { return k.UUID == uuid })
		return nil
	})
}

func (n *fakeNode) Openers(ctx context.Context, descriptor string) ([]string, error) {
	var open []string
	err := n.call(ctx, "openers", func() error {
		for at, d := range n.mounts {
			if d == descriptor {
				open = append(open, "device of "+at)
			}
		}
		return nil
	})
	if n.users != nil {
		open = append(open, n.users()...)
	}
	return open, err
}
