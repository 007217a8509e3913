/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef BFD_H_
#define BFD_H_

#include <sys/types.h>

#include "job.h"

/*
 * The daemon's file: findlib/bfile.cc and MyPluginBopen() and its like.  Who
 * does the I/O, plugin or core, is decided as each release does.
 */

/**
 * bfd_init(j):
 * What binit() does at the start of a file of a backup.
 */
void bfd_init(struct job *);

/**
 * bfd_opened(j):
 * What IsBopen() says.
 */
bool bfd_opened(const struct job *);

/**
 * bfd_open(j, name, flags, mode):
 * Open the file.  Return less than 0 on failure.
 */
int bfd_open(struct job *, const char *, int, mode_t);

/**
 * bfd_read(j, count):
 * Read up to ${count} bytes into j->iobuf + GUARD.  Return how many, or -1.
 */
ssize_t bfd_read(struct job *, size_t);

/**
 * bfd_write(j, count):
 * Write ${count} bytes at j->iobuf + GUARD.  Return how many, or -1.
 */
ssize_t bfd_write(struct job *, size_t);

/**
 * bfd_seek(j, offset, whence):
 * Move, and return the new position, or less than 0.
 */
int64_t bfd_seek(struct job *, int64_t, int);

/**
 * bfd_close(j):
 * Close the file, if it is open.
 */
void bfd_close(struct job *);

/**
 * bfd_ended(j):
 * endRestoreFile was called: a restored file must be closed by now.
 */
void bfd_ended(struct job *);

#endif /* !BFD_H_ */
