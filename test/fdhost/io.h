/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef IO_H_
#define IO_H_

#include "job.h"

/* One call of pluginIO. */

/* What it came back with. */
struct io_answer {
	int rc;
	int32_t status;
	int32_t io_errno;
	int64_t offset;
	int32_t filedes;
};

/**
 * io_prepare(j, p, func, count):
 * Make ${p} the packet of one call as the release makes it: what it does not
 * set is garbage.
 */
void io_prepare(struct job *, struct pkt *, int, size_t);

/**
 * io_call(j, p, a):
 * Call pluginIO with the packet ${p}, see what it did to it, and be done with
 * it.
 */
void io_call(struct job *, struct pkt *, struct io_answer *);

#endif /* !IO_H_ */
