/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef VZ7CT_BACULA_H
#define VZ7CT_BACULA_H

#include <sys/stat.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The plugin interface of the Bacula File Daemon: version 14 of release 9.x and
 * version 23 of release 15 (bacula/src/filed/fd_plugins.h of 9.6.3 and 15.0.3;
 * offsets measured with probes compiled against them).  The versions between
 * are refused: their layouts were not proved.
 */

#define BACULA9_INTERFACE	14
#define BACULA9_CORE_SIZE	144
#define BACULA15_INTERFACE	23
#define BACULA15_CORE_SIZE	168

struct bacula_info {
	uint32_t size;
	uint32_t version;
	const char *magic;
	const char *license;
	const char *author;
	const char *date;
	const char *release;
	const char *description;
};

struct bacula_ctx {
	void *core_private;
	void *plugin_private;
};

struct bacula_event {
	uint32_t type;
};

/* The part that both versions have. */
struct bacula_core {
	uint32_t size;
	uint32_t version;
	int (*registerEvents)(struct bacula_ctx *, ...);
	int (*getValue)(struct bacula_ctx *, int, void *);
	int (*setValue)(struct bacula_ctx *, int, void *);
	int (*jobMessage)(struct bacula_ctx *, const char *, int, int, int64_t,
	    const char *, ...);
	int (*debugMessage)(struct bacula_ctx *, const char *, int, int,
	    const char *, ...);
	void *unused[10];	/* malloc, free, AddExclude .. NewPreInclude */
	int (*checkChanges)(struct bacula_ctx *, void *);
	int (*acceptFile)(struct bacula_ctx *, void *);
};

struct bacula9_save {
	int32_t pkt_size;
	char *fname;
	char *link;
	struct stat statp;
	int32_t type;
	uint64_t flags;
	bool no_read;
	bool portable;
	bool accurate_found;
	char *cmd;
	uint32_t delta_seq;
	char *object_name;
	char *object;
	int32_t object_len;
	int32_t index;
	int32_t LinkFI;
	int32_t pkt_end;
};

struct bacula15_save {
	int32_t pkt_size;
	char *fname;
	char *snap_fname;
	int32_t plugin_mode;
	char *link;
	struct stat statp;
	int32_t type;
	uint64_t flags;
	bool no_read;
	bool portable;
	bool accurate_found;
	bool do_dedup;
	bool stat_update;
	char *cmd;
	char *object_name;
	char *object;
	int32_t object_len;
	int32_t index;
	int32_t object_compression;
	char plugin_obj[72];
	void *plug_meta;
	uint32_t delta_seq;
	int32_t LinkFI;
	int32_t pkt_end;
};

/* From statp on both versions agree; before it, 15 has plugin_mode at 4. */
struct bacula_restore {
	int32_t pkt_size;
	int32_t head[6];
	struct stat statp;
	const char *attrEx;
	const char *ofname;
	const char *olname;
	const char *where;
	const char *RegexWhere;
	int32_t replace;
	int32_t create_status;
	uint32_t delta_seq;
	int32_t pkt_end;
};

struct bacula_io {
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
	int32_t pkt_end;
};

struct bacula_xacl {
	int32_t pkt_size;
	int32_t func;
	int32_t count;
	char *content;
	int32_t pkt_end;
};

struct bacula_object {
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

/* The functions that both versions have in the same places, then those of 9
 * (one more) and 15 (six more), all of which may be missing. */
struct bacula_functions {
	uint32_t size;
	uint32_t version;
	int (*newPlugin)(struct bacula_ctx *);
	int (*freePlugin)(struct bacula_ctx *);
	int (*getPluginValue)(struct bacula_ctx *, int, void *);
	int (*setPluginValue)(struct bacula_ctx *, int, void *);
	int (*handlePluginEvent)(struct bacula_ctx *, struct bacula_event *, void *);
	int (*startBackupFile)(struct bacula_ctx *, void *);
	int (*endBackupFile)(struct bacula_ctx *);
	int (*startRestoreFile)(struct bacula_ctx *, const char *);
	int (*endRestoreFile)(struct bacula_ctx *);
	int (*pluginIO)(struct bacula_ctx *, struct bacula_io *);
	int (*createFile)(struct bacula_ctx *, struct bacula_restore *);
	int (*setFileAttributes)(struct bacula_ctx *, struct bacula_restore *);
	int (*checkFile)(struct bacula_ctx *, char *);
	int (*handleXACLdata)(struct bacula_ctx *, struct bacula_xacl *);
	void *more[6];
};
#define BACULA9_FUNCTIONS_SIZE	128
#define BACULA15_FUNCTIONS_SIZE	168

#define AT(type, member, offset) \
	_Static_assert(offsetof(struct type, member) == (offset), #type "." #member)
_Static_assert(sizeof(struct bacula_info) == 56, "bacula_info");
_Static_assert(sizeof(struct bacula_ctx) == 16, "bacula_ctx");
AT(bacula_core, getValue, 16);
AT(bacula_core, jobMessage, 32);
AT(bacula_core, checkChanges, 128);
AT(bacula_core, acceptFile, 136);
_Static_assert(sizeof(struct bacula_core) == BACULA9_CORE_SIZE, "bacula_core");
_Static_assert(sizeof(struct bacula9_save) == 240, "bacula9_save");
AT(bacula9_save, fname, 8);
AT(bacula9_save, link, 16);
AT(bacula9_save, statp, 24);
AT(bacula9_save, type, 168);
AT(bacula9_save, flags, 176);
AT(bacula9_save, no_read, 184);
AT(bacula9_save, cmd, 192);
AT(bacula9_save, delta_seq, 200);
AT(bacula9_save, object_name, 208);
AT(bacula9_save, object_len, 224);
AT(bacula9_save, index, 228);
AT(bacula9_save, LinkFI, 232);
AT(bacula9_save, pkt_end, 236);
_Static_assert(sizeof(struct bacula15_save) == 344, "bacula15_save");
AT(bacula15_save, fname, 8);
AT(bacula15_save, plugin_mode, 24);
AT(bacula15_save, link, 32);
AT(bacula15_save, statp, 40);
AT(bacula15_save, type, 184);
AT(bacula15_save, flags, 192);
AT(bacula15_save, no_read, 200);
AT(bacula15_save, cmd, 208);
AT(bacula15_save, object_name, 216);
AT(bacula15_save, object, 224);
AT(bacula15_save, object_len, 232);
AT(bacula15_save, index, 236);
AT(bacula15_save, object_compression, 240);
AT(bacula15_save, plugin_obj, 244);
AT(bacula15_save, plug_meta, 320);
AT(bacula15_save, delta_seq, 328);
AT(bacula15_save, LinkFI, 332);
AT(bacula15_save, pkt_end, 336);
_Static_assert(sizeof(struct bacula_restore) == 232, "bacula_restore");
AT(bacula_restore, statp, 32);
AT(bacula_restore, ofname, 184);
AT(bacula_restore, where, 200);
AT(bacula_restore, replace, 216);
AT(bacula_restore, create_status, 220);
AT(bacula_restore, pkt_end, 228);
_Static_assert(sizeof(struct bacula_io) == 72, "bacula_io");
AT(bacula_io, buf, 24);
AT(bacula_io, fname, 32);
AT(bacula_io, status, 40);
AT(bacula_io, offset, 56);
AT(bacula_io, pkt_end, 68);
_Static_assert(sizeof(struct bacula_xacl) == 32, "bacula_xacl");
AT(bacula_xacl, content, 16);
_Static_assert(sizeof(struct bacula_object) == 64, "bacula_object");
_Static_assert(sizeof(struct bacula_functions) == BACULA15_FUNCTIONS_SIZE,
    "bacula_functions");
AT(bacula_functions, handleXACLdata, 112);

/* bacula.c */
int bacula_load(const struct bacula_core *, const struct bacula_info **,
    const struct bacula_functions **);

#endif
