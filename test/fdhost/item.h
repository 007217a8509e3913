/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef ITEM_H_
#define ITEM_H_

#include "job.h"

/* What startBackupFile said about one file, and whether it makes sense. */
struct item {
	struct entry e;		/* Copies. */
	const char * fname;	/* The plugin's own strings. */
	const char * link;
	const char * object_name;
	const void * object;
	void * data;		/* Copy of the object. */
	bool no_read;
	uint64_t flags;
};

/**
 * item_take(j, p, cmd, it):
 * Read the save packet ${p} into ${it}, and check what can be checked.
 * Return -1 if the daemon ends the job because of it.
 */
int item_take(struct job *, const struct pkt *, const char *, struct item *);

/**
 * item_late(j, it):
 * Check that what the plugin lent for the file is still there.
 */
void item_late(struct job *, const struct item *);

/**
 * item_free(it):
 * Free the copies.
 */
void item_free(struct item *);

/**
 * item_check(j, it):
 * Check the entry by itself and against those before it.
 */
void item_check(struct job *, struct item *);

#endif /* !ITEM_H_ */
