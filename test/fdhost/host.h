/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef HOST_H_
#define HOST_H_

#include "job.h"

/**
 * host_load(h, a):
 * Load the plugin as the daemon does and check what it says about itself.
 * Return -1 if no job can be run with it.
 */
int host_load(struct host *, const struct args *);

/**
 * host_unload(h):
 * Unload the plugin as the daemon does when it ends.
 */
void host_unload(struct host *);

/**
 * host_refuse(a):
 * Offer the plugin an interface that it does not know, and check that it
 * refuses.
 */
int host_refuse(const struct args *);

/**
 * foreign_run(h, a):
 * Play jobs of other plugins.
 */
void foreign_run(struct host *, const struct args *);

#endif /* !HOST_H_ */
