/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef BACKUP_H_
#define BACKUP_H_

#include "item.h"
#include "job.h"

/**
 * save_file(j, it):
 * Save one entry as the core does, with its data and attributes.
 */
void save_file(struct job *, struct item *);

/**
 * backup_run(j):
 * Play a whole backup job, or an estimate.
 */
void backup_run(struct job *);

/**
 * previous_load(j):
 * Read the archives of the jobs before this one; keep the last.
 */
int previous_load(struct job *);

/**
 * accurate_finish(j):
 * Store what is deleted since the last job.
 */
void accurate_finish(struct job *);

#endif /* !BACKUP_H_ */
