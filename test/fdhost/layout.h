/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef LAYOUT_H_
#define LAYOUT_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi.h"

/*
 * A layout is one daemon release: the shape of its packets, its numbers, and
 * its rules where releases differ.  Everything else asks the layout.
 */

enum family { BAREOS, BACULA };

/* One member of a packet. */
struct field {
	const char * name;
	uint16_t off;
	uint16_t len;
	bool out;		/* The plugin may write it. */
};

/* One kind of packet of one release. */
struct pktdef {
	const char * name;
	uint16_t size;
	uint16_t nfields;
	const struct field * fields;
};

extern const struct pktdef pkt_bareos_save, pkt_bareos_acl, pkt_bareos_xattr;
extern const struct pktdef pkt_restore_232, pkt_restore_240, pkt_restore_256;
extern const struct pktdef pkt_io_72, pkt_io_80, pkt_object;
extern const struct pktdef pkt_bacula9_save, pkt_bacula15_save;
extern const struct pktdef pkt_bacula15_restore, pkt_xacl, pkt_stream;
extern const struct pktdef pkt_bareos_context, pkt_bacula_context;

/* Variables that a plugin can ask for. */
enum var {
	V_NONE, V_JOBID, V_FDNAME, V_LEVEL, V_TYPE, V_CLIENT, V_JOBNAME,
	V_JOBSTATUS, V_SINCE, V_ACCURATE, V_FILESEEN, V_VSS, V_WORKDIR,
	V_WHERE, V_REGEXWHERE, V_EXEPATH, V_VERSION, V_DISTNAME, V_PREVJOB,
	V_PREFIXLINKS, V_CHECKCHANGES, V_USEDCONFIG, V_PLUGINDIR, V_ACCOPTS,
	V_INTERACTIVE, V_FILEINDEX, V_REPLACE, V_DEDUP, V_ISCANCELED, V_ESTIMATE
};

struct layout {
	const char * name;
	const char * version;		/* What bVarVersion says. */
	enum family family;
	int release;
	uint32_t iface;			/* Interface version. */
	uint32_t core_size;		/* Bytes of the core's table. */
	uint32_t funcs_size;		/* Bytes of the plugin's table. */
	uint32_t info_size;
	uint32_t bufsize;		/* Network buffer. */

	const struct pktdef * save;
	const struct pktdef * restore;
	const struct pktdef * io;
	const struct pktdef * context;

	/* Events that differ; 0: there is none. */
	uint8_t ev_object;
	uint8_t ev_end_fileset;
	uint8_t ev_plugin_command;
	uint8_t ev_options;
	uint8_t ev_features;

	/* Variables: enum var by number. */
	const uint8_t * vars;
	uint8_t nvars;

	/* Rules. */
	bool exact_name;	/* Plugin name must match to the last byte. */
	bool options_by_name;	/* NewPluginOptions only to its plugin. */
	bool start_told_apart;	/* Stop, Skip, Error differ at a start. */
	bool open_rc;		/* bRC_Error of an IO_OPEN counts. */
	bool core_io;		/* do_io_in_core exists. */
	bool core_io_loop;	/* In core, short reads are continued. */
	bool cancel_once;	/* A second cancel is not delivered. */
	bool stop_stops;	/* Stop of an event hides it from others. */
	bool xacl_needs_plugin;	/* xacl only while bfd is the plugin's. */
};

/**
 * layout_find(name):
 * Return the layout called ${name}, or NULL.
 */
const struct layout * layout_find(const char *);

/**
 * layout_get(i):
 * Return the layout number ${i}, or NULL when there are no more.
 */
const struct layout * layout_get(size_t);

/**
 * layout_mtype(L, type):
 * Return what the message type ${type} means in the layout ${L}, or MT_NONE.
 */
enum mtype layout_mtype(const struct layout *, int);

/**
 * layout_var(L, number):
 * Return what the variable ${number} means in the layout ${L}, or V_NONE.
 */
enum var layout_var(const struct layout *, int);

#endif /* !LAYOUT_H_ */
