/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef ABI_BAREOS_H_
#define ABI_BAREOS_H_

#include <stdbool.h>

#include "abi.h"

/*
 * Packets of Bareos 17 to 26, interface 10 (core/src/filed/fd_plugins.h of
 * Release/17.2.10, 21.1.11, 22.1.8, 23.1.7, 25.1.0 and master).  The number
 * in a name is the size of the packet: io_pkt grew in 22, restore_pkt in 22
 * and in 26, always in front of pkt_end.
 */

struct bareos_context {
	uint32_t instance;
	void * plugin;
	void * core_private;
	void * plugin_private;
};
SIZE(bareos_context, 32);
AT(bareos_context, plugin, 8);
AT(bareos_context, core_private, 16);
AT(bareos_context, plugin_private, 24);

struct bareos_save_240 {
	int32_t pkt_size;
	char * fname;
	char * link;
	struct stat statp;
	int32_t type;
	char flags[5];
	bool no_read;
	bool portable;
	bool accurate_found;
	char * cmd;
	int64_t save_time;
	uint32_t delta_seq;
	char * object_name;
	char * object;
	int32_t object_len;
	int32_t index;
	int32_t pkt_end;
};
SIZE(bareos_save_240, 240);
AT(bareos_save_240, fname, 8);
AT(bareos_save_240, link, 16);
AT(bareos_save_240, statp, 24);
AT(bareos_save_240, type, 168);
AT(bareos_save_240, flags, 172);
AT(bareos_save_240, no_read, 177);
AT(bareos_save_240, portable, 178);
AT(bareos_save_240, accurate_found, 179);
AT(bareos_save_240, cmd, 184);
AT(bareos_save_240, save_time, 192);
AT(bareos_save_240, delta_seq, 200);
AT(bareos_save_240, object_name, 208);
AT(bareos_save_240, object, 216);
AT(bareos_save_240, object_len, 224);
AT(bareos_save_240, index, 228);
AT(bareos_save_240, pkt_end, 232);

/* The part of restore_pkt that all layouts share, Bacula 9 included. */
#define RESTORE_HEAD							\
	int32_t pkt_size;						\
	int32_t stream;							\
	int32_t data_stream;						\
	int32_t type;							\
	int32_t file_index;						\
	int32_t LinkFI;							\
	uint32_t uid;							\
	struct stat statp;						\
	const char * attrEx;						\
	const char * ofname;						\
	const char * olname;						\
	const char * where;						\
	const char * RegexWhere;					\
	int32_t replace;						\
	int32_t create_status;						\
	uint32_t delta_seq

struct restore_232 {
	RESTORE_HEAD;
	int32_t pkt_end;
};
SIZE(restore_232, 232);
AT(restore_232, stream, 4);
AT(restore_232, data_stream, 8);
AT(restore_232, type, 12);
AT(restore_232, file_index, 16);
AT(restore_232, LinkFI, 20);
AT(restore_232, uid, 24);
AT(restore_232, statp, 32);
AT(restore_232, attrEx, 176);
AT(restore_232, ofname, 184);
AT(restore_232, olname, 192);
AT(restore_232, where, 200);
AT(restore_232, RegexWhere, 208);
AT(restore_232, replace, 216);
AT(restore_232, create_status, 220);
AT(restore_232, delta_seq, 224);
AT(restore_232, pkt_end, 228);

struct restore_240 {
	RESTORE_HEAD;
	int32_t filedes;
	int32_t pkt_end;
};
SIZE(restore_240, 240);
AT(restore_240, filedes, 228);
AT(restore_240, pkt_end, 232);

struct restore_256 {
	RESTORE_HEAD;
	int32_t filedes;
	const char * original_file_name;
	const char * original_link_name;
	int32_t pkt_end;
};
SIZE(restore_256, 256);
AT(restore_256, filedes, 228);
AT(restore_256, original_file_name, 232);
AT(restore_256, original_link_name, 240);
AT(restore_256, pkt_end, 248);

/* The part of io_pkt that all layouts share, Bacula included. */
#define IO_HEAD								\
	int32_t pkt_size;						\
	int32_t func;							\
	int32_t count;							\
	int32_t flags;							\
	uint32_t mode;							\
	char * buf;							\
	const char * fname;						\
	int32_t status;							\
	int32_t io_errno;						\
	int32_t lerror;							\
	int32_t whence;							\
	int64_t offset;							\
	bool win32

struct io_72 {
	IO_HEAD;
	int32_t pkt_end;
};
SIZE(io_72, 72);
AT(io_72, func, 4);
AT(io_72, count, 8);
AT(io_72, flags, 12);
AT(io_72, mode, 16);
AT(io_72, buf, 24);
AT(io_72, fname, 32);
AT(io_72, status, 40);
AT(io_72, io_errno, 44);
AT(io_72, lerror, 48);
AT(io_72, whence, 52);
AT(io_72, offset, 56);
AT(io_72, win32, 64);
AT(io_72, pkt_end, 68);

struct io_80 {
	IO_HEAD;
	int32_t filedes;
	int32_t pkt_end;
};
SIZE(io_80, 80);
AT(io_80, filedes, 68);
AT(io_80, pkt_end, 72);

struct bareos_acl_40 {
	int32_t pkt_size;
	const char * fname;
	uint32_t content_length;
	char * content;
	int32_t pkt_end;
};
SIZE(bareos_acl_40, 40);
AT(bareos_acl_40, content_length, 16);
AT(bareos_acl_40, content, 24);
AT(bareos_acl_40, pkt_end, 32);

struct bareos_xattr_56 {
	int32_t pkt_size;
	const char * fname;
	uint32_t name_length;
	char * name;
	uint32_t value_length;
	char * value;
	int32_t pkt_end;
};
SIZE(bareos_xattr_56, 56);
AT(bareos_xattr_56, fname, 8);
AT(bareos_xattr_56, name_length, 16);
AT(bareos_xattr_56, name, 24);
AT(bareos_xattr_56, value_length, 32);
AT(bareos_xattr_56, value, 40);
AT(bareos_xattr_56, pkt_end, 48);

/* Functions of the core, in order. */
struct bareos_core {
	uint32_t size;
	uint32_t version;
	int (* registerEvents)(void *, int, ...);
	int (* unregisterEvents)(void *, int, ...);
	int (* getInstanceCount)(void *, int *);
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
	int (* SetSeenBitmap)(void *, bool, char *);
	int (* ClearSeenBitmap)(void *, bool, char *);
};
SIZE(bareos_core, 176);
AT(bareos_core, getValue, 32);
AT(bareos_core, JobMessage, 48);
AT(bareos_core, DebugMessage, 56);
AT(bareos_core, coreMalloc, 64);
AT(bareos_core, coreFree, 72);
AT(bareos_core, AddExclude, 80);
AT(bareos_core, checkChanges, 144);
AT(bareos_core, AcceptFile, 152);
AT(bareos_core, SetSeenBitmap, 160);
AT(bareos_core, ClearSeenBitmap, 168);

#endif /* !ABI_BAREOS_H_ */
