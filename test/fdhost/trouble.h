/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef TROUBLE_H_
#define TROUBLE_H_

#include "job.h"

/* What comes from other threads and from signals. */

/**
 * trouble_usr2(sig):
 * The daemon's handler of SIGUSR2, which does nothing.
 */
void trouble_usr2(int);

/**
 * trouble_handler(void):
 * Install it, without SA_ONSTACK, as the daemon does for every job.
 */
void trouble_handler(void);

/**
 * trouble_start(j):
 * Begin to disturb the job ${j} as the command line says; called by the job
 * thread.
 */
int trouble_start(struct job *);

/**
 * trouble_point(j):
 * The job thread is about to call the plugin: see what is due.
 */
void trouble_point(struct job *);

/**
 * trouble_cancel(j):
 * Send CancelCommand to the plugin, if the daemon would.
 */
void trouble_cancel(struct job *);

/**
 * trouble_settle(j):
 * Wait for a cancel that is under way; none begins any more.
 */
void trouble_settle(struct job *);

/**
 * trouble_stop(j):
 * Stop to disturb the job ${j}.
 */
void trouble_stop(struct job *);

/**
 * trouble_main(h):
 * Let the calling thread, which waits for the jobs, be the one that ends the
 * daemon when SIGTERM comes.
 */
int trouble_main(struct host *);

#endif /* !TROUBLE_H_ */
