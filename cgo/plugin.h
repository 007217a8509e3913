/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef VZ7CT_PLUGIN_H
#define VZ7CT_PLUGIN_H

#include "job.h"

/* What the plugin says of itself; both daemons refuse other licences. */
#define PLUGIN_NAME		"vz7ct-fd"
#define PLUGIN_MAGIC		"*FDPluginData*"
#define PLUGIN_LICENSE		"AGPLv3"
#define PLUGIN_AUTHOR		"the vz7ct project"
#define PLUGIN_DESCRIPTION	"Virtuozzo 7 / OpenVZ 7 containers"
#define PLUGIN_USAGE \
	"vz7ct:name=NAME:uuid=UUID:blocker=PATTERN:lockfile=PATH:" \
	"excluded_backup_paths='PATH','PATH':restore=ct|file:disk_size=GIB:start=yes|no"
#ifndef PLUGIN_VERSION
#define PLUGIN_VERSION		"unversioned"
#endif
#ifndef PLUGIN_DATE
#define PLUGIN_DATE		"undated"
#endif

/* Is a data stream of the File Daemon one of pieces with offsets?  SPARSE_DATA,
 * SPARSE_GZIP_DATA, SPARSE_COMPRESSED_DATA (streams.h of both families). */
static inline int
sparse_stream(int stream)
{

	return (stream == 6 || stream == 7 || stream == 30);
}

/* Types of files, the same in both families (findlib/find.h, Bareos from 19 include/filetypes.h). */
enum {
	FT_LNKSAVED = 1, FT_REGE = 2, FT_REG = 3, FT_LNK = 4, FT_DIREND = 5,
	FT_SPEC = 6, FT_RAW = 16, FT_FIFO = 17, FT_RESTORE_FIRST = 25
};

/* The type of a file of the kind ${kind} when it is saved. */
static inline int
type_of(enum kind kind)
{
	static const int types[] = { FT_REG, FT_REGE, FT_DIREND, FT_LNK,
		FT_SPEC, FT_LNKSAVED, FT_RESTORE_FIRST };

	return (types[kind]);
}

/* The kind of a file of the type ${type} when it is restored. */
static inline enum kind
kind_of(int type)
{

	switch (type) {
	case FT_LNKSAVED:
		return (KIND_HARDLINK);
	case FT_LNK:
		return (KIND_SYMLINK);
	case FT_DIREND:
		return (KIND_DIRECTORY);
	case FT_SPEC:
	case FT_RAW:
	case FT_FIFO:
		return (KIND_SPECIAL);
	default:
		return (KIND_REGULAR);
	}
}

#endif
