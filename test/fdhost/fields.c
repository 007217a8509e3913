/* SPDX-License-Identifier: AGPL-3.0-only */
#include "abi_bacula.h"
#include "abi_bareos.h"
#include "layout.h"

/*
 * The members of every packet.  OUT marks what the core reads back: a change
 * anywhere else is either a fault or lost.
 */

#define IN(type, member) { #member, offsetof(struct type, member),	\
	sizeof(((struct type *)0)->member), false }
#define OUT(type, member) { #member, offsetof(struct type, member),	\
	sizeof(((struct type *)0)->member), true }
#define DEF(var, label, type) const struct pktdef var = { label,	\
	sizeof(struct type), sizeof(f_##type) / sizeof(f_##type[0]), f_##type }

static const struct field f_bareos_save_240[] = {
	IN(bareos_save_240, pkt_size), OUT(bareos_save_240, fname),
	OUT(bareos_save_240, link), OUT(bareos_save_240, statp),
	OUT(bareos_save_240, type), OUT(bareos_save_240, flags),
	OUT(bareos_save_240, no_read), OUT(bareos_save_240, portable),
	OUT(bareos_save_240, accurate_found), IN(bareos_save_240, cmd),
	OUT(bareos_save_240, save_time), OUT(bareos_save_240, delta_seq),
	OUT(bareos_save_240, object_name), OUT(bareos_save_240, object),
	OUT(bareos_save_240, object_len), OUT(bareos_save_240, index),
	IN(bareos_save_240, pkt_end)
};
DEF(pkt_bareos_save, "save_pkt", bareos_save_240);

static const struct field f_bacula_save_240[] = {
	IN(bacula_save_240, pkt_size), OUT(bacula_save_240, fname),
	OUT(bacula_save_240, link), OUT(bacula_save_240, statp),
	OUT(bacula_save_240, type), OUT(bacula_save_240, flags),
	OUT(bacula_save_240, no_read), OUT(bacula_save_240, portable),
	OUT(bacula_save_240, accurate_found), IN(bacula_save_240, cmd),
	OUT(bacula_save_240, delta_seq), OUT(bacula_save_240, object_name),
	OUT(bacula_save_240, object), OUT(bacula_save_240, object_len),
	OUT(bacula_save_240, index), OUT(bacula_save_240, LinkFI),
	IN(bacula_save_240, pkt_end)
};
DEF(pkt_bacula9_save, "save_pkt", bacula_save_240);

static const struct field f_bacula_save_344[] = {
	IN(bacula_save_344, pkt_size), OUT(bacula_save_344, fname),
	OUT(bacula_save_344, snap_fname), IN(bacula_save_344, plugin_mode),
	OUT(bacula_save_344, link), OUT(bacula_save_344, statp),
	OUT(bacula_save_344, type), OUT(bacula_save_344, flags),
	OUT(bacula_save_344, no_read), OUT(bacula_save_344, portable),
	OUT(bacula_save_344, accurate_found), IN(bacula_save_344, do_dedup),
	OUT(bacula_save_344, stat_update), IN(bacula_save_344, cmd),
	OUT(bacula_save_344, object_name), OUT(bacula_save_344, object),
	OUT(bacula_save_344, object_len), OUT(bacula_save_344, index),
	OUT(bacula_save_344, object_compression),
	OUT(bacula_save_344, plugin_obj), OUT(bacula_save_344, plug_meta),
	OUT(bacula_save_344, delta_seq), OUT(bacula_save_344, LinkFI),
	IN(bacula_save_344, pkt_end)
};
DEF(pkt_bacula15_save, "save_pkt", bacula_save_344);

#define RESTORE_FIELDS(t)						\
	IN(t, pkt_size), IN(t, stream), IN(t, data_stream),		\
	IN(t, type), IN(t, file_index), IN(t, LinkFI), IN(t, uid),	\
	IN(t, statp), IN(t, attrEx), IN(t, ofname), IN(t, olname),	\
	IN(t, where), IN(t, RegexWhere), IN(t, replace),		\
	OUT(t, create_status), IN(t, delta_seq), IN(t, pkt_end)

static const struct field f_restore_232[] = { RESTORE_FIELDS(restore_232) };
DEF(pkt_restore_232, "restore_pkt", restore_232);

static const struct field f_restore_240[] = {
	RESTORE_FIELDS(restore_240), OUT(restore_240, filedes)
};
DEF(pkt_restore_240, "restore_pkt", restore_240);

static const struct field f_restore_256[] = {
	RESTORE_FIELDS(restore_256), OUT(restore_256, filedes),
	IN(restore_256, original_file_name), IN(restore_256, original_link_name)
};
DEF(pkt_restore_256, "restore_pkt", restore_256);

static const struct field f_bacula_restore_232[] = {
	RESTORE_FIELDS(bacula_restore_232),
	IN(bacula_restore_232, plugin_mode)
};
DEF(pkt_bacula15_restore, "restore_pkt", bacula_restore_232);

#define IO_FIELDS(t)							\
	IN(t, pkt_size), IN(t, func), IN(t, count), IN(t, flags),	\
	IN(t, mode), IN(t, buf), IN(t, fname), OUT(t, status),		\
	OUT(t, io_errno), OUT(t, lerror), IN(t, whence),		\
	OUT(t, offset), OUT(t, win32), IN(t, pkt_end)

static const struct field f_io_72[] = { IO_FIELDS(io_72) };
DEF(pkt_io_72, "io_pkt", io_72);

static const struct field f_io_80[] = {
	IO_FIELDS(io_80), OUT(io_80, filedes)
};
DEF(pkt_io_80, "io_pkt", io_80);

static const struct field f_bareos_acl_40[] = {
	IN(bareos_acl_40, pkt_size), IN(bareos_acl_40, fname),
	OUT(bareos_acl_40, content_length), OUT(bareos_acl_40, content),
	IN(bareos_acl_40, pkt_end)
};
DEF(pkt_bareos_acl, "acl_pkt", bareos_acl_40);

static const struct field f_bareos_xattr_56[] = {
	IN(bareos_xattr_56, pkt_size), IN(bareos_xattr_56, fname),
	OUT(bareos_xattr_56, name_length), OUT(bareos_xattr_56, name),
	OUT(bareos_xattr_56, value_length), OUT(bareos_xattr_56, value),
	IN(bareos_xattr_56, pkt_end)
};
DEF(pkt_bareos_xattr, "xattr_pkt", bareos_xattr_56);

static const struct field f_bacula_xacl_32[] = {
	IN(bacula_xacl_32, pkt_size), IN(bacula_xacl_32, func),
	OUT(bacula_xacl_32, count), OUT(bacula_xacl_32, content),
	IN(bacula_xacl_32, pkt_end)
};
DEF(pkt_xacl, "xacl_pkt", bacula_xacl_32);

static const struct field f_bacula_stream_12[] = {
	IN(bacula_stream_12, pkt_size), OUT(bacula_stream_12, stream),
	IN(bacula_stream_12, pkt_end)
};
DEF(pkt_stream, "stream_pkt", bacula_stream_12);

static const struct field f_restore_object_pkt[] = {
	IN(restore_object_pkt, pkt_size), IN(restore_object_pkt, object_name),
	IN(restore_object_pkt, object), IN(restore_object_pkt, plugin_name),
	IN(restore_object_pkt, object_type), IN(restore_object_pkt, object_len),
	IN(restore_object_pkt, object_full_len),
	IN(restore_object_pkt, object_index),
	IN(restore_object_pkt, object_compression),
	IN(restore_object_pkt, stream), IN(restore_object_pkt, JobId),
	IN(restore_object_pkt, pkt_end)
};
DEF(pkt_object, "restore_object_pkt", restore_object_pkt);

static const struct field f_bareos_context[] = {
	IN(bareos_context, instance), IN(bareos_context, plugin),
	IN(bareos_context, core_private), OUT(bareos_context, plugin_private)
};
DEF(pkt_bareos_context, "context", bareos_context);

static const struct field f_bacula_context[] = {
	IN(bacula_context, core_private), OUT(bacula_context, plugin_private)
};
DEF(pkt_bacula_context, "context", bacula_context);
