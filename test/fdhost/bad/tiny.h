/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef TINY_H_
#define TINY_H_

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "../abi_bacula.h"
#include "../abi_bareos.h"

/*
 * A plugin that saves a few made-up files and restores them for real.  Built
 * without FAULTS it is what a plugin should be; built with FAULTS it does one
 * thing wrong, the one that FDHOST_BAD names.
 */

#ifdef FAULTS
/**
 * fault(name):
 * Return true if this is the thing to do wrong.
 */
bool fault(const char *);
#else
#define fault(name) false
#endif

/* The daemon that loaded the plugin. */
struct daemon {
	bool bareos;
	uint32_t iface;
	union {
		struct bareos_core * bareos;
		struct bacula_core * bacula;
		void * any;
	} core;
};
extern struct daemon host;

/* One made-up file. */
struct file {
	const char * name;
	const char * link;
	int type;
	uint32_t mode;
	int nlink;
	int ino;
	int64_t size;
	bool xattr;
};
extern const struct file files[];
extern const int nfiles;

/* One job. */
struct tiny {
	void * ctx;
	int next;		/* Next file to save, nfiles: none. */
	int current;
	int fi[32];		/* FileIndex of what was saved. */
	char * name;		/* What the daemon reads until the end. */
	char * link;
	int fd;
	bool no_io;		/* Open, but nothing behind it. */
	bool in_core;
	bool canceled;
	bool offsets;		/* Send only what is not a hole. */
	bool second;		/* Another root, for a second line. */
	int xattrs;		/* How many were given. */
	char * kept;		/* Fault: an option string. */

	/* Restore. */
	char ofname[8192];
	struct stat st;
	int type;
	char value[256];
	uint32_t vlen;
};

/**
 * tiny_of(ctx):
 * Return the job of a context.
 */
struct tiny * tiny_of(void *);

/**
 * tell(t, type, text):
 * Send a job message, ${type} as Bareos numbers it.
 */
void tell(struct tiny *, int, const char *);

/**
 * core_alloc(t, size):
 * Get memory that the core will free.
 */
void * core_alloc(struct tiny *, size_t);

/**
 * core_release(t, p):
 * Give memory back to the core.
 */
void core_release(struct tiny *, void *);

/**
 * core_changed(t, sp):
 * Ask the core whether the file of a save packet changed.
 */
int core_changed(struct tiny *, void *);

/**
 * core_value(t, bareos, bacula, value):
 * Get the variable that has these numbers.
 */
void core_value(struct tiny *, int, int, void *);

/**
 * content_fd(f):
 * Return a descriptor with the content of the file ${f}.
 */
int content_fd(const struct file *);

/**
 * next_file(t, i):
 * Return the first file from ${i} on that is to be saved.
 */
int next_file(struct tiny *, int);

/**
 * fault_event(t, type, value):
 * Do what a fault does in an event; return the answer, or -1.
 */
int fault_event(struct tiny *, uint32_t, void *);

/**
 * fault_end(void):
 * End what a fault began.
 */
void fault_end(void);

/* Entry points; packets are read through offsets that all layouts share. */
int start_backup(void *, void *);
int end_backup(void *);
int start_restore(void *, const char *);
int end_restore(void *);
int plugin_io(void *, void *);
int create_file(void *, void *);
int set_attributes(void *, void *);
int get_xattr(void *, void *);
int set_xattr(void *, void *);
int xacl_data(void *, void *);

#endif /* !TINY_H_ */
