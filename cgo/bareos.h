/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef VZ7CT_BAREOS_H
#define VZ7CT_BAREOS_H

#include <sys/stat.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The plugin interface of the Bareos File Daemon, version 10, releases 16.2 to
 * 26 (core/src/filed/fd_plugins.h of each; offsets measured with probes compiled
 * against them).  The packets grew under one version number, always before
 * pkt_end: these structures hold the members that all releases have, the newer
 * ones only where pkt_size says that they are there.  pkt_end is never written.
 */

#define BAREOS_INTERFACE	10

enum bareos_rc { RC_OK = 0, RC_STOP = 1, RC_ERROR = 2, RC_MORE = 3, RC_SEEN = 5 };

struct bareos_info {
	uint32_t size;
	uint32_t version;
	const char *magic;
	const char *license;
	const char *author;
	const char *date;
	const char *release;
	const char *description;
	const char *usage;
};

struct bareos_ctx {
	uint32_t instance;
	void *plugin;
	void *core_private;
	void *plugin_private;
};

struct bareos_event {
	uint32_t type;
};

struct bareos_core {
	uint32_t size;
	uint32_t version;
	int (*registerEvents)(struct bareos_ctx *, int, ...);
	int (*unregisterEvents)(struct bareos_ctx *, int, ...);
	int (*getInstanceCount)(struct bareos_ctx *, int *);
	int (*getValue)(struct bareos_ctx *, int, void *);
	int (*setValue)(struct bareos_ctx *, int, void *);
	int (*jobMessage)(struct bareos_ctx *, const char *, int, int, int64_t,
	    const char *, ...);
	int (*debugMessage)(struct bareos_ctx *, const char *, int, int,
	    const char *, ...);
	void *(*coreMalloc)(struct bareos_ctx *, const char *, int, size_t);
	void (*coreFree)(struct bareos_ctx *, const char *, int, void *);
	void *unused[8];	/* AddExclude .. NewPreInclude */
	int (*checkChanges)(struct bareos_ctx *, void *);
	int (*acceptFile)(struct bareos_ctx *, void *);
	void *more[2];		/* SetSeenBitmap, ClearSeenBitmap */
};

struct bareos_save {
	int32_t pkt_size;
	char *fname;
	char *link;
	struct stat statp;
	int32_t type;
	unsigned char flags[5];
	bool no_read;
	bool portable;
	bool accurate_found;
	char *cmd;
	int64_t save_time;
	uint32_t delta_seq;
	char *object_name;
	char *object;
	int32_t object_len;
	int32_t index;
	int32_t pkt_end;
};

struct bareos_restore {
	int32_t pkt_size;
	int32_t stream;
	int32_t data_stream;
	int32_t type;
	int32_t file_index;
	int32_t LinkFI;
	uint32_t uid;
	struct stat statp;
	const char *attrEx;
	const char *ofname;
	const char *olname;
	const char *where;
	const char *RegexWhere;
	int32_t replace;
	int32_t create_status;
	uint32_t delta_seq;
	/* 17-21: pkt_end; from 22: filedes, pkt_end; 26: two names between */
};

struct bareos_io {
	int32_t pkt_size;
	int32_t func;
	int32_t count;
	int32_t flags;
	int32_t mode;
	char *buf;
	const char *fname;
	int32_t status;
	int32_t io_errno;
	int32_t lerror;
	int32_t whence;
	int64_t offset;
	bool win32;
	int32_t filedes;	/* from 22, where pkt_size is 80; else pkt_end */
};
#define BAREOS_IO_WITH_FILEDES	80

struct bareos_xattr {
	int32_t pkt_size;
	const char *fname;
	uint32_t name_length;
	char *name;
	uint32_t value_length;
	char *value;
	int32_t pkt_end;
};

struct bareos_object {
	int32_t pkt_size;
	char *object_name;
	char *object;
	char *plugin_name;
	int32_t object_type;
	int32_t object_len;
	int32_t object_full_len;
	int32_t object_index;
	int32_t object_compression;
	int32_t stream;
	uint32_t JobId;
	int32_t pkt_end;
};

struct bareos_functions {
	uint32_t size;
	uint32_t version;
	int (*newPlugin)(struct bareos_ctx *);
	int (*freePlugin)(struct bareos_ctx *);
	int (*getPluginValue)(struct bareos_ctx *, int, void *);
	int (*setPluginValue)(struct bareos_ctx *, int, void *);
	int (*handlePluginEvent)(struct bareos_ctx *, struct bareos_event *, void *);
	int (*startBackupFile)(struct bareos_ctx *, struct bareos_save *);
	int (*endBackupFile)(struct bareos_ctx *);
	int (*startRestoreFile)(struct bareos_ctx *, const char *);
	int (*endRestoreFile)(struct bareos_ctx *);
	int (*pluginIO)(struct bareos_ctx *, struct bareos_io *);
	int (*createFile)(struct bareos_ctx *, struct bareos_restore *);
	int (*setFileAttributes)(struct bareos_ctx *, struct bareos_restore *);
	int (*checkFile)(struct bareos_ctx *, char *);
	int (*getAcl)(struct bareos_ctx *, void *);
	int (*setAcl)(struct bareos_ctx *, void *);
	int (*getXattr)(struct bareos_ctx *, struct bareos_xattr *);
	int (*setXattr)(struct bareos_ctx *, struct bareos_xattr *);
};

#define AT(type, member, offset) \
	_Static_assert(offsetof(struct type, member) == (offset), #type "." #member)
_Static_assert(sizeof(struct stat) == 144, "struct stat");
_Static_assert(sizeof(struct bareos_info) == 64, "bareos_info");
_Static_assert(sizeof(struct bareos_ctx) == 32, "bareos_ctx");
AT(bareos_ctx, plugin_private, 24);
_Static_assert(sizeof(struct bareos_core) == 176, "bareos_core");
AT(bareos_core, getValue, 32);
AT(bareos_core, jobMessage, 48);
AT(bareos_core, coreMalloc, 64);
AT(bareos_core, checkChanges, 144);
AT(bareos_core, acceptFile, 152);
_Static_assert(sizeof(struct bareos_save) == 240, "bareos_save");
AT(bareos_save, fname, 8);
AT(bareos_save, link, 16);
AT(bareos_save, statp, 24);
AT(bareos_save, type, 168);
AT(bareos_save, flags, 172);
AT(bareos_save, no_read, 177);
AT(bareos_save, cmd, 184);
AT(bareos_save, save_time, 192);
AT(bareos_save, delta_seq, 200);
AT(bareos_save, object_name, 208);
AT(bareos_save, object, 216);
AT(bareos_save, object_len, 224);
AT(bareos_save, index, 228);
AT(bareos_save, pkt_end, 232);
AT(bareos_restore, data_stream, 8);
AT(bareos_restore, type, 12);
AT(bareos_restore, statp, 32);
AT(bareos_restore, attrEx, 176);
AT(bareos_restore, ofname, 184);
AT(bareos_restore, olname, 192);
AT(bareos_restore, where, 200);
AT(bareos_restore, RegexWhere, 208);
AT(bareos_restore, replace, 216);
AT(bareos_restore, create_status, 220);
AT(bareos_restore, delta_seq, 224);
AT(bareos_io, buf, 24);
AT(bareos_io, fname, 32);
AT(bareos_io, status, 40);
AT(bareos_io, whence, 52);
AT(bareos_io, offset, 56);
AT(bareos_io, win32, 64);
AT(bareos_io, filedes, 68);
_Static_assert(sizeof(struct bareos_xattr) == 56, "bareos_xattr");
AT(bareos_xattr, name_length, 16);
AT(bareos_xattr, name, 24);
AT(bareos_xattr, value_length, 32);
AT(bareos_xattr, value, 40);
_Static_assert(sizeof(struct bareos_object) == 64, "bareos_object");
AT(bareos_object, object, 16);
AT(bareos_object, object_len, 36);
AT(bareos_object, JobId, 56);
_Static_assert(sizeof(struct bareos_functions) == 144, "bareos_functions");
AT(bareos_functions, pluginIO, 80);
AT(bareos_functions, setXattr, 136);

/* bareos.c */
int bareos_load(const struct bareos_core *, const struct bareos_info **,
    const struct bareos_functions **);

#endif
