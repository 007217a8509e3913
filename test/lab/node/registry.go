// SPDX-License-Identifier: AGPL-3.0-only

package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// Registry is where every lab of the machine is known, so that the killed ones are found.
const Registry = "/var/tmp/vz7ct-lab"

type entry struct {
	Dir string `json:"dir"`
}

// locked runs fn while no other lab goes up or down.
func locked(fn func() error) error {
	if err := os.MkdirAll(Registry, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(Registry, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only a lock
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", Registry, err)
	}
	return fn()
}

func (l Lab) registered() string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(l.Dir))
	return filepath.Join(Registry, fmt.Sprintf("%016x.json", h.Sum64()))
}

// All lists the labs that went up and not down.
func All() ([]Lab, error) {
	files, err := filepath.Glob(filepath.Join(Registry, "*.json"))
	if err != nil {
		return nil, err
	}
	var l []Lab
	for _, f := range files {
		if strings.HasPrefix(filepath.Base(f), madeName) {
			continue
		}
		b, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		var e entry
		if err == nil {
			err = json.Unmarshal(b, &e)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		l = append(l, Lab(e))
	}
	return l, nil
}

// claim marks the lab as being worked on, so that Clean does not take one for killed that is on its way up.
func (l Lab) claim() (func(), error) {
	f, err := os.OpenFile(l.Below(claimName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s is on its way up: %w", l.Dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

const claimName = "up.lock"

const madeName = "made-mountpoints"

// makeMountPoints makes the folders the machine lacks, and remembers them.
func makeMountPoints() error {
	list := made()
	for _, s := range scratch {
		for _, p := range parents(s.place) {
			err := os.Mkdir(p, 0o755)
			switch {
			case err == nil:
				list = append(list, p)
				if err := save(filepath.Join(Registry, madeName), list); err != nil {
					return err
				}
			case !errors.Is(err, os.ErrExist):
				return err
			}
		}
	}
	return nil
}

// parents lists a path and what is above it, topmost first.
func parents(p string) []string {
	var l []string
	for ; p != "/"; p = filepath.Dir(p) {
		l = append([]string{p}, l...)
	}
	return l
}

func made() []string {
	var list []string
	_ = load(filepath.Join(Registry, madeName), &list) // none yet
	return list
}

// dropMountPoints removes the folders labs made, if no lab is left and nobody put anything in.
func dropMountPoints() error {
	labs, err := All()
	if err != nil || len(labs) > 0 {
		return err
	}
	list := made()
	sort.Slice(list, func(i, j int) bool { return len(list[i]) > len(list[j]) })
	for _, p := range list {
		_ = unix.Rmdir(p) // not empty: somebody uses it now
	}
	err = os.Remove(filepath.Join(Registry, madeName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
