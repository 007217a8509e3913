// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import "golang.org/x/sys/unix"

// The daemons record whole seconds (EncodeStat in Bareos' lib/attribs.cc, encode_stat in
// Bacula's findlib/attribs.c). They carry st_blksize beside them, as a number of 64 bits,
// and use it for nothing: on backup only CheckFileChanges compares it, with the file of
// that name on the node, of which there is none; on restore nothing does, nor do Accurate,
// Verify and the catalogue's queries (Bareos 17.2 to 26, Bacula 9.6 and 15, read in the
// source; Bacula 9.6.7's functions were also run). Two of Bareos' own plugins keep figures
// of theirs in it. So the nanoseconds of the mtime travel there.
//
// A block size is a power of two. nanosecondMark plus nanoseconds is none, below 2^31, and
// three digits longer in the catalogue. Nanoseconds of 0, as files of packages have
// them, leave the block size as it is.
const nanosecondMark = 1 << 30

// carryNanoseconds puts the fraction of the mtime where the daemon carries it.
func carryNanoseconds(st *unix.Stat_t) {
	switch ns := st.Mtim.Nsec; {
	case ns > 0 && ns < 1e9:
		st.Blksize = nanosecondMark + ns
	case nanoseconds(st) != 0:
		st.Blksize = 4096 // a file system that says so
	}
}

// nanoseconds returns the fraction of the mtime of what comes back, 0 if there is none, as
// in every backup of another plugin or release.
func nanoseconds(st *unix.Stat_t) int64 {
	if ns := st.Blksize - nanosecondMark; ns > 0 && ns < 1e9 {
		return ns
	}
	return 0
}
