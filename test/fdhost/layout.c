/* SPDX-License-Identifier: AGPL-3.0-only */
#include <string.h>

#include "layout.h"

static const uint8_t vars_bareos[] = {
	[1] = V_JOBID, [2] = V_FDNAME, [3] = V_LEVEL, [4] = V_TYPE,
	[5] = V_CLIENT, [6] = V_JOBNAME, [7] = V_JOBSTATUS, [8] = V_SINCE,
	[9] = V_ACCURATE, [10] = V_FILESEEN, [11] = V_VSS, [12] = V_WORKDIR,
	[13] = V_WHERE, [14] = V_REGEXWHERE, [15] = V_EXEPATH,
	[16] = V_VERSION, [17] = V_DISTNAME, [18] = V_PREVJOB,
	[19] = V_PREFIXLINKS, [20] = V_CHECKCHANGES, [21] = V_USEDCONFIG,
	[22] = V_PLUGINDIR, [23] = V_ACCOPTS
};

static const uint8_t vars_bacula9[] = {
	[1] = V_JOBID, [2] = V_FDNAME, [3] = V_LEVEL, [4] = V_TYPE,
	[5] = V_CLIENT, [6] = V_JOBNAME, [7] = V_JOBSTATUS, [8] = V_SINCE,
	[9] = V_ACCURATE, [10] = V_FILESEEN, [11] = V_VSS, [12] = V_VSS,
	[13] = V_WORKDIR, [14] = V_WHERE, [15] = V_REGEXWHERE,
	[16] = V_EXEPATH, [17] = V_VERSION, [18] = V_DISTNAME,
	[20] = V_PREVJOB, [21] = V_PREFIXLINKS, [22] = V_INTERACTIVE,
	[23] = V_FILEINDEX, [24] = V_REPLACE
};

static const uint8_t vars_bacula15[] = {
	[1] = V_JOBID, [2] = V_FDNAME, [3] = V_LEVEL, [4] = V_TYPE,
	[5] = V_CLIENT, [6] = V_JOBNAME, [7] = V_JOBSTATUS, [8] = V_SINCE,
	[9] = V_ACCURATE, [10] = V_FILESEEN, [11] = V_VSS, [12] = V_VSS,
	[13] = V_WORKDIR, [14] = V_PLUGINDIR, [15] = V_WHERE,
	[16] = V_REGEXWHERE, [17] = V_EXEPATH, [18] = V_VERSION,
	[19] = V_DISTNAME, [20] = V_PREVJOB, [21] = V_PREFIXLINKS,
	[22] = V_INTERACTIVE, [23] = V_FILEINDEX, [24] = V_REPLACE,
	[25] = V_DEDUP, [26] = V_DEDUP, [27] = V_ISCANCELED,
	[28] = V_USEDCONFIG, [29] = V_ESTIMATE
};

/* What all Bareos releases have in common; ${n} is the last variable. */
#define BAREOS_COMMON(n)						\
	.family = BAREOS, .iface = 10, .core_size = 176,		\
	.funcs_size = 144, .info_size = 64,				\
	.save = &pkt_bareos_save, .context = &pkt_bareos_context,	\
	.ev_object = 15, .ev_end_fileset = 16, .ev_plugin_command = 17,	\
	.ev_options = 20, .vars = vars_bareos, .nvars = (n) + 1

#define BACULA_COMMON							\
	.family = BACULA, .info_size = 56,				\
	.context = &pkt_bacula_context,					\
	.bufsize = 65536, .io = &pkt_io_72, .ev_object = 18,		\
	.ev_end_fileset = 19, .ev_plugin_command = 20, .exact_name = true

static const struct layout layouts[] = {
	{ BAREOS_COMMON(19), .name = "bareos17", .release = 17,
	    .version = "17.2.10", .bufsize = 65536,
	    .restore = &pkt_restore_232, .io = &pkt_io_72,
	    .exact_name = true, .stop_stops = true },
	{ BAREOS_COMMON(19), .name = "bareos21", .release = 21,
	    .version = "21.1.11 (10 September 2024)", .bufsize = 65536,
	    .restore = &pkt_restore_232, .io = &pkt_io_72,
	    .stop_stops = true },
	{ BAREOS_COMMON(20), .name = "bareos22", .release = 22,
	    .version = "22.1.8 (17 December 2025)", .bufsize = 65536,
	    .restore = &pkt_restore_240, .io = &pkt_io_80,
	    .core_io = true, .stop_stops = true },
	{ BAREOS_COMMON(21), .name = "bareos23", .release = 23,
	    .version = "23.1.7 (01 April 2026)", .bufsize = 262144,
	    .restore = &pkt_restore_240, .io = &pkt_io_80,
	    .start_told_apart = true, .core_io = true, .core_io_loop = true,
	    .cancel_once = true, .stop_stops = true },
	{ BAREOS_COMMON(22), .name = "bareos25", .release = 25,
	    .version = "25.1.0 (03 August 2026)", .bufsize = 262144,
	    .restore = &pkt_restore_240, .io = &pkt_io_80,
	    .options_by_name = true, .start_told_apart = true, .open_rc = true,
	    .core_io = true, .core_io_loop = true, .cancel_once = true },
	{ BAREOS_COMMON(23), .name = "bareos26", .release = 26,
	    .version = "26.0.0~pre (21 August 2026)", .bufsize = 262144,
	    .restore = &pkt_restore_256, .io = &pkt_io_80,
	    .options_by_name = true, .start_told_apart = true, .open_rc = true,
	    .core_io = true, .core_io_loop = true, .cancel_once = true },
	{ BACULA_COMMON, .name = "bacula9", .release = 9,
	    .version = "9.6.7 (10 December 2020)", .iface = 14,
	    .core_size = 144, .funcs_size = 128, .save = &pkt_bacula9_save,
	    .restore = &pkt_restore_232, .vars = vars_bacula9,
	    .nvars = sizeof(vars_bacula9) },
	{ BACULA_COMMON, .name = "bacula15", .release = 15,
	    .version = "15.0.3 (25 March 2025)", .iface = 23,
	    .core_size = 168, .funcs_size = 168, .save = &pkt_bacula15_save,
	    .restore = &pkt_bacula15_restore, .ev_features = 26,
	    .vars = vars_bacula15, .nvars = sizeof(vars_bacula15),
	    .cancel_once = true, .xacl_needs_plugin = true }
};

#define NLAYOUTS (sizeof(layouts) / sizeof(layouts[0]))

/**
 * layout_find(name):
 * Return the layout called ${name}, or NULL.
 */
const struct layout *
layout_find(const char * name)
{
	size_t i;

	for (i = 0; i < NLAYOUTS; i++) {
		if (strcmp(layouts[i].name, name) == 0)
			return (&layouts[i]);
	}
	return (NULL);
}

/**
 * layout_get(i):
 * Return the layout number ${i}, or NULL when there are no more.
 */
const struct layout *
layout_get(size_t i)
{

	return ((i < NLAYOUTS) ? &layouts[i] : NULL);
}

/**
 * layout_mtype(L, type):
 * Return what the message type ${type} means in the layout ${L}, or MT_NONE.
 */
enum mtype
layout_mtype(const struct layout * L, int type)
{
	int last;

	/* Bareos knows CONFIG_ERROR since 22, Bacula ends at VOLMGMT. */
	if (L->family == BACULA)
		last = MT_VOLMGMT;
	else
		last = (L->release >= 22) ? MT_CONFIG_ERROR : MT_AUDIT;

	/* Bacula 15 does not use 3, FATAL and what follows are one higher. */
	if ((L->family == BACULA) && (L->release >= 15) && (type >= 3))
		type = (type == 3) ? 0 : type - 1;

	if ((type < MT_ABORT) || (type > last))
		return (MT_NONE);
	return ((enum mtype)type);
}

/**
 * layout_var(L, number):
 * Return what the variable ${number} means in the layout ${L}, or V_NONE.
 */
enum var
layout_var(const struct layout * L, int number)
{

	if ((number < 0) || (number >= L->nvars))
		return (V_NONE);
	return ((enum var)L->vars[number]);
}
