/* SPDX-License-Identifier: AGPL-3.0-only */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "_cgo_export.h"
#include "bacula.h"
#undef AT
#include "bareos.h"

/*
 * Entry points that the daemons look up.  Neither calls Go: loadPlugin runs
 * before the daemon has threads, unloadPlugin inside a signal handler at
 * SIGTERM, while jobs still run.  What they leave then is in the journal.
 */

struct api {
	uint32_t size;
	uint32_t version;
};

/* A second is enough for the daemon to come back from loadPlugin. */
static void *
sweep(void * unused)
{
	struct timespec pause = { 1, 0 };

	(void)unused;
	nanosleep(&pause, NULL);
	goSweep();
	return (NULL);
}

/*
 * Start the thread that takes back what dead jobs have left.  It gets none of
 * the daemon's signals.  If there can be no thread, the next job does the same.
 */
static void
start_sweep(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;

	if (pthread_attr_init(&attr) != 0)
		return;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	(void)pthread_create(&thread, &attr, sweep, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
}

/**
 * loadPlugin(api, core, info, functions):
 * Decide by the interface version in ${api} and the size of ${core} which
 * daemon this is, and answer it.  Return 0, or -1 with a line on stderr, which
 * is the daemon's log, for an interface whose layout is not known.
 */
__attribute__((visibility("default"))) int
loadPlugin(const struct api * api, const struct api * core, const void ** info,
    const void ** functions)
{
	int rc;

	if (api == NULL || core == NULL || info == NULL || functions == NULL)
		return (-1);
	if (api->version == BAREOS_INTERFACE &&
	    core->size == sizeof(struct bareos_core)) {
		rc = bareos_load((const struct bareos_core *)(const void *)core,
		    (const struct bareos_info **)info,
		    (const struct bareos_functions **)functions);
		goto loaded;
	}
	if ((api->version == BACULA9_INTERFACE &&
	    core->size == BACULA9_CORE_SIZE) ||
	    (api->version == BACULA15_INTERFACE &&
	    core->size == BACULA15_CORE_SIZE)) {
		rc = bacula_load((const struct bacula_core *)(const void *)core,
		    (const struct bacula_info **)info,
		    (const struct bacula_functions **)functions);
		goto loaded;
	}
	fprintf(stderr, "vz7ct-fd: not loaded: this daemon's plugin interface is "
	    "version %u with %u bytes of functions; known are Bareos 17 to 26 "
	    "(version %d), Bacula 9 (%d) and Bacula 15 (%d)\n", api->version,
	    core->size, BAREOS_INTERFACE, BACULA9_INTERFACE, BACULA15_INTERFACE);
	return (-1);

loaded:
	if (rc == 0)
		start_sweep();
	return (rc);
}

/**
 * unloadPlugin():
 * Do nothing: see above.  The shared object stays in memory (Go links with
 * -z nodelete).
 */
__attribute__((visibility("default"))) int
unloadPlugin(void)
{

	return (0);
}
