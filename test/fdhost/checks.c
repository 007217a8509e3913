/* SPDX-License-Identifier: AGPL-3.0-only */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"

/* Beyond this many of one name, only count. */
#define MAX_SHOWN 20

static struct check {
	const char * name;
	const char * meaning;
	const char * source;
	unsigned int seen;
} checks[] = {
#define CHECK(name, meaning, source) { name, meaning, source, 0 },
#include "checks.def"
#undef CHECK
};

#define NCHECKS (sizeof(checks) / sizeof(checks[0]))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int total;

/**
 * violate(job, name, fmt, ...):
 * Report the violation ${name}, which must be in the list, for the job number
 * ${job} (0: none); after 20 of one name the rest is only counted.
 */
void
violate(int job, const char * name, const char * fmt, ...)
{
	struct check * c;
	va_list ap;
	size_t i;

	for (c = NULL, i = 0; i < NCHECKS; i++) {
		if (strcmp(checks[i].name, name) == 0)
			c = &checks[i];
	}
	if (c == NULL) {
		fprintf(stderr, "fdhost: no check called %s\n", name);
		abort();
	}

	pthread_mutex_lock(&lock);
	total++;
	if (c->seen++ < MAX_SHOWN) {
		printf("violation %s: ", name);
		if (job > 1)
			printf("job %d: ", job);
		va_start(ap, fmt);
		vprintf(fmt, ap);
		va_end(ap);
		printf("%s\n", (c->seen == MAX_SHOWN) ?
		    " (no more of these are shown)" : "");
		fflush(stdout);
	}
	pthread_mutex_unlock(&lock);
}

/**
 * violations(void):
 * Return how many violations were reported so far.
 */
unsigned int
violations(void)
{
	unsigned int n;

	pthread_mutex_lock(&lock);
	n = total;
	pthread_mutex_unlock(&lock);
	return (n);
}

/**
 * checks_print(f):
 * Write the list, one check per line and fields separated by tabs, to ${f}.
 */
void
checks_print(FILE * f)
{
	size_t i;

	for (i = 0; i < NCHECKS; i++)
		fprintf(f, "%s\t%s\t%s\n", checks[i].name, checks[i].meaning,
		    checks[i].source);
}

/**
 * say(job, fmt, ...):
 * Write one line about the job number ${job} to standard output.
 */
void
say(int job, const char * fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&lock);
	if (job > 1)
		printf("job %d: ", job);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	pthread_mutex_unlock(&lock);
}
