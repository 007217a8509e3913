/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef NAMES_H_
#define NAMES_H_

#include <sys/stat.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set of names, and of inodes, that knows what was said about each. */

struct name {
	char * name;		/* NULL: an inode. */
	uint64_t dev;
	uint64_t ino;
	struct stat st;
	uint32_t fi;		/* FileIndex. */
	int type;
	bool seen;
	bool closed;		/* A directory, or inside one, that is done. */
};

struct names {
	struct name ** slots;
	size_t size;
	size_t n;
};

/**
 * names_get(n, name, len):
 * Return what is known about the first ${len} bytes of ${name}, or NULL.
 */
struct name * names_get(const struct names *, const char *, size_t);

/**
 * names_add(n, name, len):
 * Return a new entry for the first ${len} bytes of ${name}, or NULL.
 */
struct name * names_add(struct names *, const char *, size_t);

/**
 * inodes_get(n, dev, ino):
 * Return what is known about an inode, or NULL.
 */
struct name * inodes_get(const struct names *, uint64_t, uint64_t);

/**
 * inodes_add(n, dev, ino, name):
 * Return a new entry for an inode whose first name is ${name}, or NULL.
 */
struct name * inodes_add(struct names *, uint64_t, uint64_t, const char *);

/**
 * names_free(n):
 * Empty the set.
 */
void names_free(struct names *);

#endif /* !NAMES_H_ */
