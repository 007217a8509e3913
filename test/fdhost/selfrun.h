/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef SELFRUN_H_
#define SELFRUN_H_

/* Running fdhost from within its own test. */

extern char self_good[];	/* The good plugin. */
extern char self_bad[];		/* The bad one. */
extern char self_tmp[];		/* A directory for everything. */
extern char self_out[];		/* What the last run said. */

/**
 * self_begin(dir):
 * Find fdhost, and the plugins in ${dir} or beside it, and make a directory.
 */
int self_begin(const char *);

/**
 * self_end(void):
 * Remove the directory.
 */
void self_end(void);

/**
 * self_path(fmt, ...):
 * Return a path, which lives for the next 7 calls.
 */
char * self_path(const char *, ...) __attribute__((format(printf, 1, 2)));

/**
 * self_run(fault, ...):
 * Run fdhost with the arguments, up to NULL, and the fault ${fault}.  Return
 * its exit status, or 128 and the signal that ended it.
 */
int self_run(const char *, ...) __attribute__((sentinel));

/**
 * self_wrong(layout, what, status):
 * Say what the last run said that should have said something else.  Return 1.
 */
int self_wrong(const char *, const char *, int);

#endif /* !SELFRUN_H_ */
