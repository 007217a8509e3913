/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "core.h"
#include "escape.h"
#include "job.h"
#include "trouble.h"

static long
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (ts.tv_sec);
}

/**
 * job_canceled(j):
 * Return true if the daemon would stop the job: canceled, or fatal.
 */
bool
job_canceled(const struct job * j)
{
	int status = atomic_load(&j->status);

	return ((status == 'A') || (status == 'E') || (status == 'f'));
}

/**
 * job_ending(j):
 * Return true if the plugin may know that the job will not go on: it may be
 * told before the daemon acts on it.
 */
bool
job_ending(const struct job * j)
{

	return (job_canceled(j) || atomic_load(&j->cancel_sent));
}

/**
 * call_enter(j, name):
 * The job thread is about to call the function ${name} of the plugin.
 */
void
call_enter(struct job * j, const char * name)
{

	trouble_point(j);
	pthread_sigmask(SIG_BLOCK, NULL, &j->mask);
	pkt_out(&j->ctx);
	atomic_store(&j->call_start, now());
	atomic_store(&j->call, name);
}

static void
check_signals(struct job * j, const char * name)
{
	struct sigaction sa;
	sigset_t mask;
	int i;

	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	for (i = 1; i < NSIG; i++) {
		if (sigismember(&mask, i) != sigismember(&j->mask, i)) {
			violate(j->number, "sigmask",
			    "%s changed the mask of signal %d", name, i);
			break;
		}
	}
	pthread_sigmask(SIG_SETMASK, &j->mask, NULL);

	if ((sigaction(SIGUSR2, NULL, &sa) == 0) &&
	    (sa.sa_handler != trouble_usr2)) {
		violate(j->number, "sigusr2", "%s replaced the handler", name);
		trouble_handler();
	}
}

/**
 * call_leave(j):
 * The job thread is back from the plugin; check what every call must keep.
 */
void
call_leave(struct job * j)
{
	const char * name = atomic_load(&j->call);
	long took = now() - atomic_load(&j->call_start);

	atomic_store(&j->call, NULL);
	check_signals(j, name);
	pkt_back(&j->ctx, j->number, name);
	if (!core_untouched())
		violate(j->number, "core-touched", "by %s", name);
	if (atomic_load(&j->canceled) && (took > 30))
		violate(j->number, "cancel-slow", "%s took %ld s", name, took);
}

/**
 * lend_string(j, s):
 * Lend the plugin a copy of the string ${s}; NULL stays NULL.
 */
char *
lend_string(struct job * j, const char * s)
{
	size_t len;
	char * p;

	if (s == NULL)
		return (NULL);
	len = strlen(s) + 1;
	p = slot_take(&j->slots, len);
	memcpy(p, s, len);
	return (p);
}

/**
 * return_string(j, lent, s, where):
 * Take back what lend_string gave for ${s}, and check that the call ${where}
 * left it alone.
 */
void
return_string(struct job * j, char * lent, const char * s, const char * where)
{

	if (lent == NULL)
		return;
	if (memcmp(lent, s, strlen(s) + 1) != 0)
		violate(j->number, "pkt-input", "%s wrote into the string %s",
		    where, escape(s));
	if (!slot_whole(&j->slots, lent))
		violate(j->number, "pkt-guard", "%s wrote around the string %s",
		    where, escape(s));
	slot_give(&j->slots, lent);
}

/* More than this is not lent from a slot. */
#define MAX_LENT 200000

/**
 * lend_bytes(j, src, len):
 * Lend the plugin a copy of ${len} bytes.
 */
void *
lend_bytes(struct job * j, const void * src, size_t len)
{
	void * p;

	if (len <= MAX_LENT)
		p = slot_take(&j->slots, (len == 0) ? 1 : len);
	else if ((p = malloc(len)) == NULL)
		abort();
	memcpy(p, src, len);
	return (p);
}

/**
 * return_bytes(j, lent, len):
 * Take back what lend_bytes gave.
 */
void
return_bytes(struct job * j, void * lent, size_t len)
{

	if ((lent == NULL) || (len <= MAX_LENT)) {
		slot_give(&j->slots, lent);
		return;
	}
	memset(lent, GONE, len);
	free(lent);
}
