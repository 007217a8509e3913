// SPDX-License-Identifier: AGPL-3.0-only

package main

// #include <stdlib.h>
// #include "job.h"
import "C"

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/walk"
	"github.com/bareos-contrib/vz7ct/restore"
)

// encodeEntry fills the C side's entry. Its strings become the job's.
func encodeEntry(e *fdplugin.Entry, out *C.struct_entry) {
	*out = C.struct_entry{
		name:       C.CString(e.Name),
		kind:       C.enum_kind(e.Kind),
		link_index: C.int(e.LinkIndex),
		st:         *(*C.struct_stat)(unsafe.Pointer(&e.Stat)),
	}
	if e.Link != "" {
		out.link = C.CString(e.Link)
	}
	if e.Kind == fdplugin.Object {
		out.data = (*C.char)(C.CBytes(e.Data))
		out.data_len = C.int(len(e.Data))
	}
	if e.Holes == fdplugin.Pieces {
		out.pieces = 1
	}
	if e.Watched {
		out.watched = 1
	}
	if e.Paced {
		out.paced = 1
	}
}

// Both are the kernel's struct stat.
var (
	_ [unsafe.Sizeof(unix.Stat_t{}) - unsafe.Sizeof(C.struct_stat{})]byte
	_ [unsafe.Sizeof(C.struct_stat{}) - unsafe.Sizeof(unix.Stat_t{})]byte
)

// encodeXattrs fills a malloc'ed array; it and all in it become the job's.
func encodeXattrs(list []walk.Xattr, out **C.struct_xattr) C.int {
	if len(list) == 0 {
		return 0
	}
	array := (*C.struct_xattr)(C.calloc(C.size_t(len(list)), C.sizeof_struct_xattr))
	for i, x := range list {
		unsafe.Slice(array, len(list))[i] = C.struct_xattr{
			name: C.CString(x.Name), name_len: C.uint32_t(len(x.Name)),
			value: (*C.char)(C.CBytes(x.Value)), value_len: C.uint32_t(len(x.Value)),
		}
	}
	*out = array
	return C.int(len(list))
}

// decodeRestored copies what the daemon says of a file to be restored.
func decodeRestored(r *C.struct_restored) *fdplugin.Restored {
	f := &fdplugin.Restored{
		Kind:    fdplugin.Kind(r.kind),
		Name:    C.GoString(r.name),
		Where:   C.GoString(r.where),
		Renamed: r.where == nil,
		Link:    C.GoString(r.link),
		Replace: restore.Replace(r.replace),
	}
	f.Stat = *(*unix.Stat_t)(unsafe.Pointer(&r.st))
	return f
}
