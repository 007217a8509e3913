// SPDX-License-Identifier: AGPL-3.0-only

package main

// #include <stdlib.h>
// #include "job.h"
import "C"

import (
	"errors"
	"runtime/cgo"
	"syscall"
	"unsafe"

	"github.com/bareos-contrib/vz7ct/fdplugin"
)

// Memory: strings and buffers that come in belong to the daemon for the time of
// the call and are copied. What goes out is malloc'ed and belongs to struct job.

//export goOpen
func goOpen(job *C.struct_job) C.uintptr_t {
	s := &state{of: job}
	s.open()
	return C.uintptr_t(cgo.NewHandle(s))
}

//export goClose
func goClose(h C.uintptr_t) {
	if s, ok := lookup(h); ok {
		s.end()
		cgo.Handle(h).Delete()
	}
}

//export goCancel
func goCancel(h C.uintptr_t) {
	// On another thread than the job's, which may be anywhere: a message waits for it.
	s, ok := lookup(h)
	if !ok || s.job == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			s.fail(p)
		}
	}()
	hook()
	s.job.Cancel()
}

//export goOptions
func goOptions(h C.uintptr_t, s *C.char) {
	early(h, func(j *fdplugin.Job) { j.AddOptions(C.GoString(s)) })
}

//export goObject
func goObject(h C.uintptr_t, name *C.char, jobID C.uint32_t, data *C.char, n C.int) {
	early(h, func(j *fdplugin.Job) {
		j.AddObject(C.GoString(name), int(jobID), C.GoBytes(unsafe.Pointer(data), max(n, 0)))
	})
}

//export goStartBackup
func goStartBackup(h C.uintptr_t, cmd *C.char, level, estimate C.int) C.int {
	return command(h, -1, func(j *fdplugin.Job) C.int {
		if level != 0 {
			j.SetLevel(byte(level))
		}
		if estimate != 0 {
			return code(j.StartEstimate(C.GoString(cmd)))
		}
		return code(j.StartBackup(C.GoString(cmd)))
	})
}

//export goNext
func goNext(h C.uintptr_t, flags C.uint, out *C.struct_entry) C.int {
	return guard(h, -1, func(j *fdplugin.Job) C.int {
		e, err := j.NextFile(fdplugin.Flags{
			HardLinks: flags&C.FLAG_HARDLINKS != 0,
			Xattrs:    flags&C.FLAG_XATTRS != 0,
			Encrypted: flags&C.FLAG_ENCRYPTED != 0,
		})
		if err != nil {
			return -1
		}
		encodeEntry(e, out)
		return 0
	})
}

//export goDone
func goDone(h C.uintptr_t) C.int {
	return guard(h, 0, func(j *fdplugin.Job) C.int {
		if j.FileDone() {
			return 1
		}
		return 0
	})
}

//export goKeeps
func goKeeps(h C.uintptr_t, name *C.char) C.int {
	// After a panic nothing is known, so nothing is called deleted.
	return asked(h, 0, 1, func(j *fdplugin.Job) C.int {
		if j.Keeps(C.GoString(name)) {
			return 1
		}
		return 0
	})
}

//export goOpenFile
func goOpenFile(h C.uintptr_t, why *C.int) C.int {
	*why = C.int(syscall.EIO)
	return guard(h, -1, func(j *fdplugin.Job) C.int {
		fd, err := j.OpenFile()
		if err != nil {
			var n syscall.Errno
			if errors.As(err, &n) {
				*why = C.int(n)
			}
			return -1
		}
		return C.int(fd)
	})
}

//export goReadFailed
func goReadFailed(h C.uintptr_t, why C.int) {
	guard(h, none{}, func(j *fdplugin.Job) none { j.ReadFailed(syscall.Errno(why)); return none{} })
}

//export goTook
func goTook(h C.uintptr_t, n C.int64_t) {
	guard(h, none{}, func(j *fdplugin.Job) none { j.Took(int64(n)); return none{} })
}

//export goCloseFile
func goCloseFile(h C.uintptr_t) {
	closing(h, func(j *fdplugin.Job, _ bool) { j.CloseFile() })
}

//export goXattrs
func goXattrs(h C.uintptr_t, out **C.struct_xattr) C.int {
	*out = nil
	return guard(h, 0, func(j *fdplugin.Job) C.int { return encodeXattrs(j.Xattrs(), out) })
}

//export goStartRestore
func goStartRestore(h C.uintptr_t, cmd *C.char) C.int {
	return command(h, -1, func(j *fdplugin.Job) C.int { return code(j.StartRestore(C.GoString(cmd))) })
}

//export goCreate
func goCreate(h C.uintptr_t, r *C.struct_restored) C.int {
	return guard(h, -1, func(j *fdplugin.Job) C.int {
		answer, err := j.CreateFile(decodeRestored(r))
		if err != nil {
			return -1
		}
		return C.int(answer)
	})
}

//export goOpenRestored
func goOpenRestored(h C.uintptr_t) C.int {
	return guard(h, -2, func(j *fdplugin.Job) C.int { return C.int(j.OpenRestored()) })
}

// Linux takes no longer ones (XATTR_NAME_MAX, XATTR_SIZE_MAX).
const (
	maxXattrName  = 255
	maxXattrValue = 1 << 16
)

//export goSetXattr
func goSetXattr(h C.uintptr_t, name *C.char, nameLen C.uint32_t, value *C.char, valueLen C.uint32_t) {
	guard(h, none{}, func(j *fdplugin.Job) none {
		if nameLen > maxXattrName || valueLen > maxXattrValue || value == nil && valueLen > 0 {
			j.LoseXattr(int64(nameLen), int64(valueLen))
			return none{}
		}
		j.SetXattr(C.GoStringN(name, C.int(nameLen)), C.GoBytes(unsafe.Pointer(value), C.int(valueLen)))
		return none{}
	})
}

//export goEndFile
func goEndFile(h C.uintptr_t, broken C.int) C.int {
	if closing(h, func(j *fdplugin.Job, again bool) { j.EndFile(broken != 0 || again) }) {
		return 0
	}
	return -1
}

//export goEndBackup
func goEndBackup(h C.uintptr_t) {
	guard(h, none{}, func(j *fdplugin.Job) none { j.EndBackup(); return none{} })
}

//export goEndRestore
func goEndRestore(h C.uintptr_t, health C.int) {
	guard(h, none{}, func(j *fdplugin.Job) none { j.EndRestore(fdplugin.Health(health)); return none{} })
}
