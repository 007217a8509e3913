/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef XATTR_H_
#define XATTR_H_

#include "job.h"

/* Extended attributes and ACLs, which only the plugin knows. */

/**
 * xattr_save(j, fi, name):
 * Ask the plugin for the attributes of the entry ${fi}, called ${name}, and
 * store them.
 */
void xattr_save(struct job *, uint32_t, const char *);

/**
 * xattr_restore(j, r, e, a):
 * Give the plugin the attribute ${a} of the entry ${e}.  Return -1 if it
 * failed.
 */
int xattr_restore(struct job *, const struct store_reader *,
    const struct entry *, const struct attr *);

#endif /* !XATTR_H_ */
