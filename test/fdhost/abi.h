/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef ABI_H_
#define ABI_H_

#include <sys/stat.h>

#include <stddef.h>
#include <stdint.h>

/*
 * What Bareos and Bacula have in common at the plugin interface.  The values
 * were typed from bareos core/src/filed/fd_plugins.h, include/filetypes.h,
 * include/fileopts.h and bacula src/filed/fd_plugins.h, filetypes.h,
 * fileopts.h; they are the same in all releases modelled.  x86-64 only.
 */

/* Check an offset or a size of a packet when the file is compiled. */
#define AT(type, member, offset)					\
	_Static_assert(offsetof(struct type, member) == (offset),	\
	    #type "." #member)
#define SIZE(type, size)						\
	_Static_assert(sizeof(struct type) == (size), #type)

_Static_assert(sizeof(struct stat) == 144, "struct stat");

/* What a call of the plugin, or of the core, answers. */
enum {
	RC_OK = 0, RC_STOP = 1, RC_ERROR = 2, RC_MORE = 3, RC_TERM = 4,
	RC_SEEN = 5, RC_CORE = 6, RC_SKIP = 7, RC_CANCEL = 8
};

/* File types. */
enum {
	FT_LNKSAVED = 1, FT_REGE = 2, FT_REG = 3, FT_LNK = 4, FT_DIREND = 5,
	FT_SPEC = 6, FT_NOACCESS = 7, FT_NOFOLLOW = 8, FT_NOSTAT = 9,
	FT_NOCHG = 10, FT_DIRNOCHG = 11, FT_RAW = 16, FT_FIFO = 17,
	FT_DELETED = 23, FT_RESTORE_FIRST = 25, FT_PLUGIN_CONFIG = 27,
	FT_PLUGIN_CONFIG_FILLED = 28
};

/* What createFile() decided. */
enum {
	CF_SKIP = 1, CF_ERROR = 2, CF_EXTRACT = 3, CF_CREATED = 4, CF_CORE = 5
};

/* Functions of pluginIO(). */
enum { IO_OPEN = 1, IO_READ = 2, IO_WRITE = 3, IO_CLOSE = 4, IO_SEEK = 5 };

/* io.status of an IO_OPEN that asks the core to do the I/O (Bareos 22+). */
#define IO_IN_CORE 1

/* Functions of Bacula's handleXACLdata(). */
enum { XACL_ACL_BACKUP = 1, XACL_ACL_RESTORE = 2, XACL_XATTR_BACKUP = 3,
	XACL_XATTR_RESTORE = 4 };

/* Option bits of a FileSet that matter here. */
enum {
	FO_PORTABLE_DATA = 0, FO_COMPRESS = 2, FO_SPARSE = 5, FO_PORTABLE = 10,
	FO_MTIMEONLY = 11, FO_ACL = 14, FO_NO_HARDLINK = 15, FO_ENCRYPT = 21,
	FO_NOATIME = 22, FO_XATTR = 27, FO_DELTA = 28, FO_OFFSETS = 30,
	FO_FORCE_ENCRYPT = 32
};

/* Streams that matter here. */
enum { STREAM_UNIX_ATTRIBUTES = 1, STREAM_FILE_DATA = 2, STREAM_SPARSE_DATA = 6,
	STREAM_PLUGIN_NAME = 26 };

/* Events with the same number in both families. */
enum {
	EV_JOB_START = 1, EV_JOB_END = 2, EV_START_BACKUP = 3,
	EV_END_BACKUP = 4, EV_START_RESTORE = 5, EV_END_RESTORE = 6,
	EV_START_VERIFY = 7, EV_END_VERIFY = 8, EV_BACKUP_COMMAND = 9,
	EV_RESTORE_COMMAND = 10, EV_ESTIMATE_COMMAND = 11, EV_LEVEL = 12,
	EV_SINCE = 13, EV_CANCEL = 14
};

/* Largest event that Bareos has room for: FD_NR_EVENTS. */
#define EV_MAX_BAREOS 31

/* Message types as this program names them; layout.h maps them. */
enum mtype {
	MT_NONE, MT_ABORT, MT_DEBUG, MT_FATAL, MT_ERROR, MT_WARNING, MT_INFO,
	MT_SAVED, MT_NOTSAVED, MT_SKIPPED, MT_MOUNT, MT_ERROR_TERM, MT_TERM,
	MT_RESTORED, MT_SECURITY, MT_ALERT, MT_VOLMGMT, MT_AUDIT, MT_CONFIG_ERROR
};

struct restore_object_pkt {
	int32_t pkt_size;
	char * object_name;
	char * object;
	char * plugin_name;
	int32_t object_type;
	int32_t object_len;
	int32_t object_full_len;
	int32_t object_index;
	int32_t object_compression;
	int32_t stream;
	uint32_t JobId;
	int32_t pkt_end;
};
SIZE(restore_object_pkt, 64);
AT(restore_object_pkt, object_name, 8);
AT(restore_object_pkt, object, 16);
AT(restore_object_pkt, plugin_name, 24);
AT(restore_object_pkt, object_type, 32);
AT(restore_object_pkt, object_len, 36);
AT(restore_object_pkt, object_full_len, 40);
AT(restore_object_pkt, object_index, 44);
AT(restore_object_pkt, object_compression, 48);
AT(restore_object_pkt, stream, 52);
AT(restore_object_pkt, JobId, 56);
AT(restore_object_pkt, pkt_end, 60);

struct api_def {
	uint32_t size;
	uint32_t version;
};
SIZE(api_def, 8);

struct event_pkt {
	uint32_t eventType;
};
SIZE(event_pkt, 4);

/* Functions of the plugin: 13 that both families share, then the tails. */
struct plugin_funcs {
	uint32_t size;
	uint32_t version;
	int (* newPlugin)(void *);
	int (* freePlugin)(void *);
	int (* getPluginValue)(void *, int, void *);
	int (* setPluginValue)(void *, int, void *);
	int (* handlePluginEvent)(void *, struct event_pkt *, void *);
	int (* startBackupFile)(void *, void *);
	int (* endBackupFile)(void *);
	int (* startRestoreFile)(void *, const char *);
	int (* endRestoreFile)(void *);
	int (* pluginIO)(void *, void *);
	int (* createFile)(void *, void *);
	int (* setFileAttributes)(void *, void *);
	int (* checkFile)(void *, char *);
	union {
		struct {
			int (* getAcl)(void *, void *);
			int (* setAcl)(void *, void *);
			int (* getXattr)(void *, void *);
			int (* setXattr)(void *, void *);
		} bareos;			/* 144 bytes in all. */
		struct {
			int (* handleXACLdata)(void *, void *);
			int (* checkStream)(void *, void *);
		} bacula9;			/* 128. */
		struct {
			int (* handleXACLdata)(void *, void *);
			int (* restoreFileList)(void *, void *);
			int (* checkStream)(void *, void *);
			int (* queryParameter)(void *, void *);
			int (* metadataRestore)(void *, void *);
			int (* startVerifyFile)(void *, void *);
			int (* endVerifyFile)(void *);
		} bacula15;			/* 168. */
	} t;
};
SIZE(plugin_funcs, 168);
AT(plugin_funcs, newPlugin, 8);
AT(plugin_funcs, handlePluginEvent, 40);
AT(plugin_funcs, startBackupFile, 48);
AT(plugin_funcs, startRestoreFile, 64);
AT(plugin_funcs, pluginIO, 80);
AT(plugin_funcs, createFile, 88);
AT(plugin_funcs, setFileAttributes, 96);
AT(plugin_funcs, checkFile, 104);
AT(plugin_funcs, t, 112);
AT(plugin_funcs, t.bareos.getXattr, 128);
AT(plugin_funcs, t.bareos.setXattr, 136);
AT(plugin_funcs, t.bacula9.checkStream, 120);
AT(plugin_funcs, t.bacula15.checkStream, 128);
AT(plugin_funcs, t.bacula15.endVerifyFile, 160);

/* Description of the plugin; Bacula has no usage (56 bytes instead of 64). */
struct plugin_info {
	uint32_t size;
	uint32_t version;
	const char * magic;
	const char * license;
	const char * author;
	const char * date;
	const char * plugin_version;
	const char * description;
	const char * usage;
};
SIZE(plugin_info, 64);
AT(plugin_info, magic, 8);
AT(plugin_info, license, 16);
AT(plugin_info, usage, 56);

#endif /* !ABI_H_ */
