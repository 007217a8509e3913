/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef RESTORE_H_
#define RESTORE_H_

#include "job.h"

/* One entry on its way back. */
struct back {
	const struct store_reader * r;
	const struct entry * e;
	char ofname[NAME_SIZE];
	char olname[NAME_SIZE];
};

/**
 * restore_run(j):
 * Play a whole restore job.
 */
void restore_run(struct job *);

/**
 * restore_entry(j, b):
 * Restore the entry ${b} as the core does, from the name of the plugin to the
 * end.
 */
void restore_entry(struct job *, struct back *);

/**
 * where_init(j):
 * Prepare the rules that change names; say what is wrong with them.
 */
int where_init(struct job *);

/**
 * where_names(j, b):
 * Find the names that the entry ${b} gets.
 */
void where_names(struct job *, struct back *);

/**
 * where_free(j):
 * Forget the rules.
 */
void where_free(struct job *);

/**
 * create_plugin(j, b):
 * Ask the plugin to create the file.  Return CF_*.
 */
int create_plugin(struct job *, struct back *);

/**
 * create_core(j, b):
 * Create the file as the core does when the plugin leaves it to it.  Return
 * CF_*.
 */
int create_core(struct job *, struct back *);

/**
 * attrs_set(j, b):
 * Let the plugin, or the core on its behalf, set the attributes, and close
 * the file.
 */
void attrs_set(struct job *, struct back *);

#endif /* !RESTORE_H_ */
