/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef ABI_BACULA_H_
#define ABI_BACULA_H_

#include <stdbool.h>

#include "abi.h"
#include "abi_bareos.h"

/*
 * Packets of Bacula 9.x (interface 14) and 15.0 (interface 23), from
 * src/filed/fd_plugins.h of 9.6.3 and 15.0.3.  io_pkt is io_72 in both, and
 * restore_pkt of 9.x is restore_232.
 */

struct bacula_context {
	void * core_private;
	void * plugin_private;
};
SIZE(bacula_context, 16);
AT(bacula_context, plugin_private, 8);

struct bacula_save_240 {
	int32_t pkt_size;
	char * fname;
	char * link;
	struct stat statp;
	int32_t type;
	uint64_t flags;
	bool no_read;
	bool portable;
	bool accurate_found;
	char * cmd;
	uint32_t delta_seq;
	char * object_name;
	char * object;
	int32_t object_len;
	int32_t index;
	int32_t LinkFI;
	int32_t pkt_end;
};
SIZE(bacula_save_240, 240);
AT(bacula_save_240, fname, 8);
AT(bacula_save_240, link, 16);
AT(bacula_save_240, statp, 24);
AT(bacula_save_240, type, 168);
AT(bacula_save_240, flags, 176);
AT(bacula_save_240, no_read, 184);
AT(bacula_save_240, portable, 185);
AT(bacula_save_240, accurate_found, 186);
AT(bacula_save_240, cmd, 192);
AT(bacula_save_240, delta_seq, 200);
AT(bacula_save_240, object_name, 208);
AT(bacula_save_240, object, 216);
AT(bacula_save_240, object_len, 224);
AT(bacula_save_240, index, 228);
AT(bacula_save_240, LinkFI, 232);
AT(bacula_save_240, pkt_end, 236);

struct bacula_save_344 {
	int32_t pkt_size;
	char * fname;
	char * snap_fname;
	int32_t plugin_mode;
	char * link;
	struct stat statp;
	int32_t type;
	uint64_t flags;
	bool no_read;
	bool portable;
	bool accurate_found;
	bool do_dedup;
	bool stat_update;
	char * cmd;
	char * object_name;		/* The restore_object, 32 bytes. */
	char * object;
	int32_t object_len;
	int32_t index;
	int32_t object_compression;
	uint64_t plugin_obj[9];
	const void * plug_meta;
	uint32_t delta_seq;
	int32_t LinkFI;
	int32_t pkt_end;
};
SIZE(bacula_save_344, 344);
AT(bacula_save_344, fname, 8);
AT(bacula_save_344, snap_fname, 16);
AT(bacula_save_344, plugin_mode, 24);
AT(bacula_save_344, link, 32);
AT(bacula_save_344, statp, 40);
AT(bacula_save_344, type, 184);
AT(bacula_save_344, flags, 192);
AT(bacula_save_344, no_read, 200);
AT(bacula_save_344, portable, 201);
AT(bacula_save_344, accurate_found, 202);
AT(bacula_save_344, do_dedup, 203);
AT(bacula_save_344, stat_update, 204);
AT(bacula_save_344, cmd, 208);
AT(bacula_save_344, object_name, 216);
AT(bacula_save_344, object, 224);
AT(bacula_save_344, object_len, 232);
AT(bacula_save_344, index, 236);
AT(bacula_save_344, object_compression, 240);
AT(bacula_save_344, plugin_obj, 248);
AT(bacula_save_344, plug_meta, 320);
AT(bacula_save_344, delta_seq, 328);
AT(bacula_save_344, LinkFI, 332);
AT(bacula_save_344, pkt_end, 336);

struct bacula_restore_232 {
	int32_t pkt_size;
	int32_t plugin_mode;
	int32_t stream;
	int32_t data_stream;
	int32_t type;
	int32_t file_index;
	int32_t LinkFI;
	uint32_t uid;
	struct stat statp;
	const char * attrEx;
	const char * ofname;
	const char * olname;
	const char * where;
	const char * RegexWhere;
	int32_t replace;
	int32_t create_status;
	uint32_t delta_seq;
	int32_t pkt_end;
};
SIZE(bacula_restore_232, 232);
AT(bacula_restore_232, plugin_mode, 4);
AT(bacula_restore_232, stream, 8);
AT(bacula_restore_232, data_stream, 12);
AT(bacula_restore_232, type, 16);
AT(bacula_restore_232, file_index, 20);
AT(bacula_restore_232, LinkFI, 24);
AT(bacula_restore_232, uid, 28);
AT(bacula_restore_232, statp, 32);
AT(bacula_restore_232, attrEx, 176);
AT(bacula_restore_232, ofname, 184);
AT(bacula_restore_232, olname, 192);
AT(bacula_restore_232, where, 200);
AT(bacula_restore_232, RegexWhere, 208);
AT(bacula_restore_232, replace, 216);
AT(bacula_restore_232, create_status, 220);
AT(bacula_restore_232, delta_seq, 224);
AT(bacula_restore_232, pkt_end, 228);

struct bacula_xacl_32 {
	int32_t pkt_size;
	int32_t func;
	int32_t count;
	char * content;
	int32_t pkt_end;
};
SIZE(bacula_xacl_32, 32);
AT(bacula_xacl_32, func, 4);
AT(bacula_xacl_32, count, 8);
AT(bacula_xacl_32, content, 16);
AT(bacula_xacl_32, pkt_end, 24);

struct bacula_stream_12 {
	int32_t pkt_size;
	int32_t stream;
	int32_t pkt_end;
};
SIZE(bacula_stream_12, 12);
AT(bacula_stream_12, stream, 4);
AT(bacula_stream_12, pkt_end, 8);

/* Functions of the core, in order; 15.0 adds the last three. */
struct bacula_core {
	uint32_t size;
	uint32_t version;
	int (* registerEvents)(void *, ...);
	int (* getValue)(void *, int, void *);
	int (* setValue)(void *, int, const void *);
	int (* JobMessage)(void *, const char *, int, int, int64_t,
	    const char *, ...);
	int (* DebugMessage)(void *, const char *, int, int, const char *, ...);
	void * (* coreMalloc)(void *, const char *, int, size_t);
	void (* coreFree)(void *, const char *, int, void *);
	int (* AddExclude)(void *, const char *);
	int (* AddInclude)(void *, const char *);
	int (* AddOptions)(void *, const char *);
	int (* AddRegex)(void *, const char *, int);
	int (* AddWild)(void *, const char *, int);
	int (* NewOptions)(void *);
	int (* NewInclude)(void *);
	int (* NewPreInclude)(void *);
	int (* checkChanges)(void *, void *);
	int (* AcceptFile)(void *, void *);
	int (* getAccurateAttribs)(void *, void *);	/* From here: 15.0. */
	int (* AddPlugin)(void *, const char *);
	int (* AddFileEvent)(void *, void *);
};
SIZE(bacula_core, 168);
AT(bacula_core, getValue, 16);
AT(bacula_core, JobMessage, 32);
AT(bacula_core, coreMalloc, 48);
AT(bacula_core, checkChanges, 128);
AT(bacula_core, AcceptFile, 136);
AT(bacula_core, getAccurateAttribs, 144);

#endif /* !ABI_BACULA_H_ */
