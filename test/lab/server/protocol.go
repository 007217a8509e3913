// SPDX-License-Identifier: AGPL-3.0-only

// Package server shows chains of ploop images as disk files in a FUSE mount, one file a device, and takes orders over a
// unix socket: it is what the ploop driver is on a real node. It never mounts, unmounts, freezes or looks at anything
// that lies on its own disks: that would wait for itself. Image files reach it as open descriptors.
package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/image"
)

// Names below the folder of a lab.
const (
	socketName = "server.sock"
	MountName  = "fuse"
)

// Level is one image of a device, base first.
type Level struct {
	Path string `json:"path"`
	Raw  bool   `json:"raw,omitempty"`
	Dev  uint64 `json:"dev"` // of the file: paths may be renamed or reached by links
	Ino  uint64 `json:"ino"`
}

// Device is what the server knows of one device.
type Device struct {
	Name      string  `json:"name"` // ploopN
	Cookie    string  `json:"cookie,omitempty"`
	ReadOnly  bool    `json:"readonly,omitempty"`
	Blocksize uint32  `json:"blocksize"`
	Sectors   uint64  `json:"sectors"`
	Version   int     `json:"version"`
	Levels    []Level `json:"levels"`
	Merging   bool    `json:"merging,omitempty"`

	// Set by whoever made the block devices.
	Loop int `json:"loop"` // number of the loop device of the whole disk, -1 = none
	Part int `json:"part"` // of its partition
}

// request is one order. Files travel beside it.
type request struct {
	Op      string `json:"op"`
	Device  Device `json:"device"`
	Level   int    `json:"level"` // merge: the level that goes down
	Up      bool   `json:"up"`    // merge: the level below the top comes up
	PaceMS  int    `json:"pace_ms"`
	Cluster int64  `json:"cluster"`
	Offset  int64  `json:"offset"` // spoil: a part of the disk, in bytes
	Length  int64  `json:"length"`
	DelayUS int64  `json:"delay_us"` // slow: how long a random read waits, in microseconds
}

// Answer is what an order brought.
type Answer struct {
	Error   string      `json:"error,omitempty"`
	Errno   int         `json:"errno,omitempty"`
	Devices []Device    `json:"devices,omitempty"`
	Merge   image.Stats `json:"merge"`
	MS      float64     `json:"ms"`     // how long the order took inside the server
	Clean   bool        `json:"clean"`  // remove: the top was closed cleanly
	Served  Served      `json:"served"` // slow: what was read since the last such order
}

// Err turns a refusal back into an error.
func (a *Answer) Err() error {
	if a.Error == "" {
		return nil
	}
	if a.Errno != 0 {
		return fmt.Errorf("%s: %w", a.Error, unix.Errno(a.Errno))
	}
	return errors.New(a.Error)
}

// dial connects to the socket in dir. A socket's name is short; the folder's need not be.
func dial(dir string) (*net.UnixConn, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close() //nolint:errcheck // only read
	path := filepath.Join("/proc/self/fd", strconv.Itoa(int(d.Fd())), socketName)
	return net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
}

func listen(dir string) (*net.UnixListener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close() //nolint:errcheck // only read
	path := filepath.Join("/proc/self/fd", strconv.Itoa(int(d.Fd())), socketName)
	_ = os.Remove(path)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err == nil {
		l.SetUnlinkOnClose(false)
	}
	return l, err
}

// maxMessage bounds one packet. A chain has at most 127 files with names of some 200 bytes.
const maxMessage = 256 << 10

// send writes v as one packet with files beside it.
func send(c *net.UnixConn, v any, files []*os.File) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_, _, err = c.WriteMsgUnix(b, oob, nil)
	return err
}

// receive reads one packet into v and the files beside it.
func receive(c *net.UnixConn, v any) ([]*os.File, error) {
	b := make([]byte, maxMessage)
	oob := make([]byte, unix.CmsgSpace(4*128))
	n, o, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	msgs, err := unix.ParseSocketControlMessage(oob[:o])
	if err != nil {
		return nil, err
	}
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "image"))
		}
	}
	return files, json.Unmarshal(b[:n], v)
}
