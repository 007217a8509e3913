// SPDX-License-Identifier: AGPL-3.0-only

package medium

import (
	"context"
	"fmt"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Name is that of the disk's file in the mount.
const Name = "disk"

// node is the one file.
type node struct {
	fs.Inode
	disk *Disk
}

var (
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
)

// Open lets the file be read and written past the page cache: the disk's own cache is the only one.
func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES, 0
}

// Getattr tells the size.
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size, out.Blksize = 0o600, uint64(n.disk.Size()), sector
	out.Blocks = out.Size / 512
	return 0
}

// Setattr takes everything and changes nothing: a disk has neither times nor owners.
func (n *node) Setattr(c context.Context, f fs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return n.Getattr(c, f, out)
}

// Read reads from the disk.
func (n *node) Read(_ context.Context, _ fs.FileHandle, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	p = p[:max(0, min(int64(len(p)), n.disk.Size()-off))]
	if err := n.disk.ReadAt(p, off); err != nil {
		return nil, fs.ToErrno(err)
	}
	return fuse.ReadResultData(p), 0
}

// Write writes to the disk.
func (n *node) Write(_ context.Context, _ fs.FileHandle, p []byte, off int64) (uint32, syscall.Errno) {
	if err := n.disk.WriteAt(p, off); err != nil {
		return 0, fs.ToErrno(err)
	}
	return uint32(len(p)), 0
}

// Fsync is what a flush becomes.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return fs.ToErrno(n.disk.Sync())
}

// Serve shows a disk as dir/disk until ctx ends. ready is called when it is there.
func Serve(ctx context.Context, d *Disk, dir string, ready func()) error {
	root := &fs.Inode{}
	opts := &fs.Options{MountOptions: fuse.MountOptions{
		FsName: "vz7ct-lab", Name: "vz7ct", DirectMountStrict: true, AllowOther: true,
		MaxWrite: 1 << 20, MaxBackground: 64, DisableSplice: true, DisableXAttrs: true, DisableReadDirPlus: true,
	}}
	opts.OnAdd = func(ctx context.Context) {
		child := root.NewPersistentInode(ctx, &node{disk: d}, fs.StableAttr{Mode: syscall.S_IFREG})
		root.AddChild(Name, child, false)
	}
	srv, err := fuse.NewServer(fs.NewNodeFS(root, opts), dir, &opts.MountOptions)
	if err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	go srv.Serve()
	ready()
	<-ctx.Done()
	return nil
}
