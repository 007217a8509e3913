// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/loopdev"
	"github.com/bareos-contrib/vz7ct/test/lab/mounts"
	"github.com/bareos-contrib/vz7ct/test/lab/node"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

// mountsOf lists where a device's partition, or the whole of it, is mounted in this namespace.
func mountsOf(d *server.Device) ([]string, error) {
	list, err := mounts.Of(0)
	if err != nil {
		return nil, err
	}
	var l []string
	for _, m := range list {
		if m.Major == loopdev.Major && d.Loop >= 0 && (int(m.Minor) == d.Part || int(m.Minor) == d.Loop) {
			l = append(l, m.Point)
		}
	}
	return l, nil
}

// switchFrozen lets writes go to a new top while the mounted file system, if there is one, is frozen. The driver does this
// in the kernel, where nobody can be killed half-way: here a guard of its own session thaws if we die.
func (t *Tool) switchFrozen(dev *server.Device, name string, f *os.File) error {
	points, err := mountsOf(dev)
	if err != nil {
		return err
	}
	start := time.Now()
	thaw := func() error { return nil }
	if len(points) > 0 {
		if thaw, err = freeze(points[0]); err != nil {
			return err
		}
	}
	t.pause("frozen")
	a, err := t.srv.Snapshot(dev.Name, name, f)
	if err == nil {
		t.rec.SwitchMS = a.MS
		t.pause("switched")
	}
	err = errors.Join(err, thaw())
	t.rec.FreezeMS = since(start)
	return err
}

// guardLimit is how long a file system may stay frozen, whatever happens.
const guardLimit = 15 * time.Second

// freeze freezes the file system at point and gives the function that thaws it.
func freeze(point string) (func() error, error) {
	dir, err := os.Open(point)
	if err != nil {
		return nil, err
	}
	defer dir.Close() //nolint:errcheck // only a handle
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	guard := exec.Command("/proc/self/exe", "_guard")
	guard.Args[0] = "lab"
	guard.Stdin, guard.ExtraFiles = r, []*os.File{dir}
	guard.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	guard.Dir = "/"
	err = guard.Start()
	_ = r.Close()
	if err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("thaw guard: %w", err)
	}
	// dir is closed below; the guard's copy and this one keep the mount.
	own, err := unix.FcntlInt(dir.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.IoctlSetInt(own, node.Fifreeze, 0)
	}
	held := os.NewFile(uintptr(own), point)
	if err != nil {
		_ = w.Close()
		return nil, errors.Join(fmt.Errorf("freeze %s: %w", point, err), guard.Wait())
	}
	return func() error {
		err := node.ThawFD(held)
		_, e := w.Write([]byte("done"))
		// The guard holds the mount, so it must be gone before anybody unmounts.
		return errors.Join(err, e, w.Close(), guard.Wait(), held.Close())
	}, nil
}

// Guard is the process that thaws descriptor 3 when standard input ends without a word, or after a while.
func Guard() error {
	dir := os.NewFile(3, "frozen")
	said := make(chan []byte, 1)
	go func() {
		b, err := io.ReadAll(os.Stdin)
		if err != nil {
			b = nil
		}
		said <- b
	}()
	select {
	case b := <-said:
		if string(b) == "done" {
			return nil
		}
	case <-time.After(guardLimit):
	}
	if err := node.ThawFD(dir); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: not frozen
		return err
	}
	return nil
}

func formatUUID(b [16]byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return "{" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:] + "}"
}
