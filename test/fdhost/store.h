/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef STORE_H_
#define STORE_H_

#include <sys/stat.h>
#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * The archive of one backup: a directory with "index", one text line per
 * record, and "blob", the bytes that the lines refer to.  It keeps what a
 * Storage Daemon and a catalogue would keep, record by record.
 */

/* Records of data: n of them, len bytes each, one after the other. */
struct extent {
	int64_t off;		/* In the file. */
	int64_t pos;		/* In the blob. */
	uint32_t len;
	uint32_t n;
};

/* One extended attribute, or one block of handleXACLdata. */
struct attr {
	int func;		/* 0: name and value, else what func was. */
	uint32_t nlen;
	uint32_t vlen;
	int64_t pos;
};

struct entry {
	uint32_t fi;		/* FileIndex; 0: not sent (skipped). */
	int type;
	int stream;		/* Of the data. */
	int linkfi;
	uint32_t delta;
	struct stat st;
	char * name;
	char * link;
	char * cmd;		/* The Plugin = string. */
	int index;		/* Of a restore object. */
	int64_t pos;		/* Of its data. */
	int64_t len;
	uint32_t jobid;
	bool failed;		/* Could not be opened. */
	struct extent * extents;
	size_t nextents;
	struct attr * attrs;
	size_t nattrs;
};

struct store_writer;

struct store_reader {
	struct entry * entries;
	size_t n;
	int blob;
	uint32_t jobid;
	char layout[32];
	char level;
};

/**
 * store_create(dir, layout, jobid, level):
 * Begin a new archive in ${dir}, which is made if it does not exist.
 */
struct store_writer * store_create(const char *, const char *, uint32_t, char);

/**
 * store_entry(w, e):
 * Add the entry ${e}, without its data and attributes.
 */
int store_entry(struct store_writer *, const struct entry *);

/**
 * store_object(w, e, data):
 * Add the restore object ${e} with e->len bytes of ${data}.
 */
int store_object(struct store_writer *, const struct entry *, const void *);

/**
 * store_data(w, fi, off, buf, len):
 * Add a record of data of the entry ${fi} at the offset ${off}.
 */
int store_data(struct store_writer *, uint32_t, int64_t, const void *, size_t);

/**
 * store_attr(w, fi, func, name, nlen, value, vlen):
 * Add an attribute of the entry ${fi}.
 */
int store_attr(struct store_writer *, uint32_t, int, const void *, size_t,
    const void *, size_t);

/**
 * store_failed(w, fi):
 * Note that the data of the entry ${fi} could not be opened.
 */
int store_failed(struct store_writer *, uint32_t);

/**
 * store_close(w, status):
 * End the archive with the job status ${status}.
 */
int store_close(struct store_writer *, char);

/**
 * store_fd(w, i):
 * Return the descriptors of the archive, for ${i} from 0, then -1.
 */
int store_fd(const struct store_writer *, int);

/**
 * store_open(dir):
 * Read the archive in ${dir}.
 */
struct store_reader * store_open(const char *);

/**
 * store_get(r, pos, len, buf):
 * Read ${len} bytes of the blob.
 */
int store_get(const struct store_reader *, int64_t, size_t, void *);

/**
 * store_free(r):
 * Close the archive.
 */
void store_free(struct store_reader *);

/**
 * store_list(r, json, f):
 * Write one line per entry to ${f}.
 */
int store_list(const struct store_reader *, bool, FILE *);

/**
 * entry_line(e, f):
 * Write what the entry ${e} is, without an end of line, to ${f}.
 */
void entry_line(const struct entry *, FILE *);

/**
 * entry_names(e, f):
 * Write what the entry ${e} is called, and an end of line, to ${f}.
 */
void entry_names(const struct entry *, FILE *);

#endif /* !STORE_H_ */
