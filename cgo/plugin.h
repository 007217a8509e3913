/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef VZ7CT_PLUGIN_H
#define VZ7CT_PLUGIN_H

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

#endif
