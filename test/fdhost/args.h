/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef ARGS_H_
#define ARGS_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

/* What the command line asks for. */

#define MAX_LIST 32

struct list {
	const char * s[MAX_LIST];
	size_t n;
};

struct args {
	const struct layout * L;
	const char * command;
	const char * plugin;
	bool iface_set;
	uint32_t iface;			/* --iface: version, size of table. */
	uint32_t iface_size;

	struct list filesets;		/* Plugin = lines. */
	struct list joboptions;		/* FD Plugin Options. */
	const char * order;		/* Setup commands, in order. */
	char level;
	int64_t since;
	bool accurate;
	struct list previous;		/* Stores of the jobs before this. */
	uint64_t flags;			/* Bits of the FileSet's options. */
	struct list stores;
	const char * listing;

	const char * where;
	bool regexwhere;
	struct list renames;		/* OLD=NEW. */
	struct list selects;
	char replace;
	bool prefix_links;
	bool no_objects;
	unsigned int parts;

	unsigned int parallel;
	long cancel_at;			/* -1: never; so are the next two. */
	long die_early;
	long term_at;
	long storm;			/* Microseconds; 0: none. */
	bool end_twice;
	unsigned int timeout;		/* Seconds a call may take. */
	unsigned int max_threads;
	unsigned int settle;		/* Milliseconds to close things in. */
	const char * workdir;		/* bVarWorkingDir. */
	uint32_t jobid;			/* Of the first job. */
	bool json;
};

/**
 * args_parse(a, argc, argv):
 * Fill ${a} from the command line.  Say what is wrong, and return -1, if it
 * cannot be understood.
 */
int args_parse(struct args *, int, char **);

/**
 * args_usage(void):
 * Write a summary of the command line to standard error.
 */
void args_usage(void);

#endif /* !ARGS_H_ */
