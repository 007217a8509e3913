/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef WATCH_H_
#define WATCH_H_

#include <stdbool.h>

/* Descriptors and threads of this process. */

#define MAX_FDS 4096

/* Which descriptors are open, as bits. */
struct fdset {
	unsigned char open[MAX_FDS / 8];
};

/**
 * fds_now(s):
 * Fill ${s}.
 */
int fds_now(struct fdset *);

/**
 * fds_has(s, fd):
 * Return true if ${fd} is in ${s}.
 */
bool fds_has(const struct fdset *, int);

/**
 * fds_leaked(before, wait):
 * Return how many descriptors are open that were not in ${before}, after
 * waiting up to ${wait} ms for none, and say which.  What the run-time of the
 * plugin opens once, epoll and eventfd, does not count.
 */
int fds_leaked(const struct fdset *, int);

/**
 * fds_inherited(before):
 * Return a descriptor that is open, not in ${before}, and not close-on-exec,
 * or -1.
 */
int fds_inherited(const struct fdset *);

/**
 * threads_now(void):
 * Return the number of threads.
 */
int threads_now(void);

/**
 * host_fds(void):
 * Return the set of descriptors that are fdhost's own.
 */
struct fdset * host_fds(void);

#endif /* !WATCH_H_ */
