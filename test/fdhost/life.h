/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef LIFE_H_
#define LIFE_H_

#include "job.h"

/* What every job has: its beginning, its setup, its end. */

/**
 * life_begin(j):
 * Make the plugin's instance and say that the job starts.  Return -1 if the
 * job cannot run.
 */
int life_begin(struct job *);

/**
 * life_setup(j, order):
 * Send what the Director says before the job proper, in the order of the
 * words in ${order}, unless the command line has another.
 */
void life_setup(struct job *, const char *);

/**
 * life_objects(j, stores, n):
 * Send the restore objects of the archives, and then that these are all.
 */
void life_objects(struct job *, struct store_reader **, size_t);

/**
 * life_end(j):
 * Say that the job ended, and free the plugin's instance.
 */
void life_end(struct job *);

#endif /* !LIFE_H_ */
