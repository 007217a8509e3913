// SPDX-License-Identifier: AGPL-3.0-only

// Package watch shows a folder as a file system of its own and asks before each change in it: so a test can stop a program
// before or after the change number N, whichever thread of it makes that change. It does not know what the files are.
package watch

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Gate is asked for each change: op is create, write, sync, truncate, remove, rename or sync-dir, path is relative to the
// folder. It calls do, which makes the change, or does not, and gives the number that the program sees.
type Gate func(op, path string, do func() syscall.Errno) syscall.Errno

// node is a file or folder.
type node struct {
	*fs.LoopbackNode
	gate Gate
}

var (
	_ fs.NodeWrapChilder    = (*node)(nil)
	_ fs.NodeCreater        = (*node)(nil)
	_ fs.NodeOpener         = (*node)(nil)
	_ fs.NodeUnlinker       = (*node)(nil)
	_ fs.NodeRenamer        = (*node)(nil)
	_ fs.NodeOpendirHandler = (*node)(nil)
)

// WrapChild makes all nodes ours.
func (n *node) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{ops.(*fs.LoopbackNode), n.gate}
}

func (n *node) path(name string) string { return filepath.Join(n.Path(nil), name) }

// Create makes a file.
func (n *node) Create(c context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (in *fs.Inode, f fs.FileHandle, opened uint32, errno syscall.Errno) {
	errno = n.gate("create", n.path(name), func() syscall.Errno {
		in, f, opened, errno = n.LoopbackNode.Create(c, name, flags, mode, out)
		return errno
	})
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return in, n.file(f), opened, 0
}

// Open opens a file.
func (n *node) Open(c context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, opened, errno := n.LoopbackNode.Open(c, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return n.file(f), opened, 0
}

// Unlink removes a file.
func (n *node) Unlink(c context.Context, name string) syscall.Errno {
	return n.gate("remove", n.path(name), func() syscall.Errno { return n.LoopbackNode.Unlink(c, name) })
}

// Rename renames a file.
func (n *node) Rename(c context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	return n.gate("rename", n.path(name), func() syscall.Errno { return n.LoopbackNode.Rename(c, name, to, newName, flags) })
}

func (n *node) file(f fs.FileHandle) fs.FileHandle { return &file{f.(*fs.LoopbackFile), n} }

// file is an open file. The kernel must not write past us to the file below.
type file struct {
	*fs.LoopbackFile
	node *node
}

// PassthroughFd says no.
func (f *file) PassthroughFd() (int, bool) { return -1, false }

// Write writes.
func (f *file) Write(c context.Context, p []byte, off int64) (n uint32, errno syscall.Errno) {
	errno = f.node.gate("write", f.node.path(""), func() syscall.Errno {
		n, errno = f.LoopbackFile.Write(c, p, off)
		return errno
	})
	if errno != 0 {
		n = 0
	}
	return n, errno
}

// Writev is not asked for by a kernel: requests come in one piece.
func (f *file) Writev(c context.Context, p [][]byte, off int64) (uint32, syscall.Errno) {
	var all []byte
	for _, b := range p {
		all = append(all, b...)
	}
	return f.Write(c, all, off)
}

// Fsync syncs.
func (f *file) Fsync(c context.Context, flags uint32) syscall.Errno {
	return f.node.gate("sync", f.node.path(""), func() syscall.Errno { return f.LoopbackFile.Fsync(c, flags) })
}

// Setattr changes attributes; only the size is worth a question.
func (f *file) Setattr(c context.Context, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	set := func() syscall.Errno { return f.LoopbackFile.Setattr(c, in, out) }
	if _, ok := in.GetSize(); !ok {
		return set()
	}
	return f.node.gate("truncate", f.node.path(""), set)
}

// folder is an open folder.
type folder struct {
	fs.FileReaddirenter
	fs.FileSeekdirer
	fs.FileReleasedirer
	fs.FileFsyncdirer
	node *node
}

// OpendirHandle opens a folder.
func (n *node) OpendirHandle(c context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, opened, errno := n.LoopbackNode.OpendirHandle(c, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &folder{h.(fs.FileReaddirenter), h.(fs.FileSeekdirer), h.(fs.FileReleasedirer), h.(fs.FileFsyncdirer), n}, opened, 0
}

// Fsyncdir syncs a folder.
func (d *folder) Fsyncdir(c context.Context, flags uint32) syscall.Errno {
	return d.node.gate("sync-dir", d.node.path(""), func() syscall.Errno { return d.FileFsyncdirer.Fsyncdir(c, flags) })
}

// Serve shows the folder from at the mount point to, which may be the same, until ctx ends. ready is called when it is
// there.
func Serve(ctx context.Context, from, to string, gate Gate, ready func()) error {
	root, err := fs.NewLoopbackRoot(from)
	if err != nil {
		return fmt.Errorf("watch %s: %w", from, err)
	}
	opts := &fs.Options{MountOptions: fuse.MountOptions{
		FsName: "vz7ct-lab-watch", Name: "vz7ct", DirectMountStrict: true, AllowOther: true, DisableXAttrs: true,
	}}
	srv, err := fuse.NewServer(fs.NewNodeFS(&node{root.(*fs.LoopbackNode), gate}, opts), to, &opts.MountOptions)
	if err != nil {
		return fmt.Errorf("mount %s: %w", to, err)
	}
	go srv.Serve()
	ready()
	<-ctx.Done()
	return nil
}
