/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef CORE_H_
#define CORE_H_

#include <stdarg.h>
#include <stdbool.h>

#include "job.h"

/* What the plugin can call: the daemon's side of the function tables. */

/* What kind of function a plugin calls. */
enum core_kind {
	CORE_QUIET,		/* Reads; harmless in any job. */
	CORE_MESSAGE,		/* Speaks. */
	CORE_ACTIVE		/* Changes the job. */
};

/**
 * core_table(L):
 * Return the function table of the layout ${L}, for the plugin to keep.
 */
void * core_table(const struct layout *);

/**
 * core_untouched(void):
 * Return true if the table handed out is as it was.
 */
bool core_untouched(void);

/**
 * core_workdir(dir):
 * Set the working directory that the daemon tells.
 */
void core_workdir(const char *);

/**
 * core_layout(void):
 * Return the layout whose table was handed out.
 */
const struct layout * core_layout(void);

/**
 * core_loading(on):
 * From now on no function may be called, because no job exists; or stop that.
 */
void core_loading(bool);

/**
 * core_attach(j):
 * The context of the job ${j} lives from now on.
 */
int core_attach(struct job *);

/**
 * core_detach(j):
 * The context of the job ${j} is dead from now on.
 */
void core_detach(struct job *);

/**
 * core_enter(ctx, function, kind):
 * Find the job of a context for a call of ${function} by the plugin, and
 * check that it may be called now.  Return NULL if there is no such job.
 */
struct job * core_enter(void *, const char *, enum core_kind);

/**
 * core_instances(void):
 * Return how many contexts live.
 */
int core_instances(void);

/**
 * core_message(ctx, type, fmt, ap):
 * Take a job message.
 */
int core_message(void *, int, const char *, va_list);

/**
 * core_debug(ctx, fmt, ap):
 * Take a debug message.
 */
int core_debug(void *, const char *, va_list);

/**
 * core_get(ctx, var, value):
 * Give the variable ${var}.
 */
int core_get(void *, int, void *);

/**
 * core_set(ctx, var, value):
 * Set the variable ${var}.
 */
int core_set(void *, int, const void *);

/**
 * core_check_changes(ctx, sp):
 * Say whether the file of a save packet changed.
 */
int core_check_changes(void *, void *);

/**
 * core_see(j, name):
 * Mark ${name} as seen in an accurate job.  Return -1 if there is no list.
 */
int core_see(struct job *, const char *);

#endif /* !CORE_H_ */
