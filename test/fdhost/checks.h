/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef CHECKS_H_
#define CHECKS_H_

#include <stdio.h>

/*
 * The list of what can be wrong, and the one way to say that it is.
 */

/**
 * violate(job, name, fmt, ...):
 * Report the violation ${name}, which must be in the list, for the job number
 * ${job} (0: none); after 20 of one name the rest is only counted.
 */
void violate(int, const char *, const char *, ...)
    __attribute__((format(printf, 3, 4)));

/**
 * violations(void):
 * Return how many violations were reported so far.
 */
unsigned int violations(void);

/**
 * checks_print(f):
 * Write the list, one check per line and fields separated by tabs, to ${f}.
 */
void checks_print(FILE *);

/**
 * say(job, fmt, ...):
 * Write one line about the job number ${job} to standard output.
 */
void say(int, const char *, ...) __attribute__((format(printf, 2, 3)));

#endif /* !CHECKS_H_ */
