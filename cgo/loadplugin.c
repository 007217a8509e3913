/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdint.h>
#include <stdio.h>

#include "bacula.h"
#undef AT
#include "bareos.h"

/*
 * Entry points that the daemons look up.  Both stay plain C: loadPlugin runs
 * before the daemon has threads, unloadPlugin inside a signal handler at
 * SIGTERM, while jobs still run.  What they leave then is in the journal.
 */

struct api {
	uint32_t size;
	uint32_t version;
};

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

	if (api == NULL || core == NULL || info == NULL || functions == NULL)
		return (-1);
	if (api->version == BAREOS_INTERFACE &&
	    core->size == sizeof(struct bareos_core))
		return (bareos_load((const struct bareos_core *)(const void *)core,
		    (const struct bareos_info **)info,
		    (const struct bareos_functions **)functions));
	if ((api->version == BACULA9_INTERFACE &&
	    core->size == BACULA9_CORE_SIZE) ||
	    (api->version == BACULA15_INTERFACE &&
	    core->size == BACULA15_CORE_SIZE))
		return (bacula_load((const struct bacula_core *)(const void *)core,
		    (const struct bacula_info **)info,
		    (const struct bacula_functions **)functions));
	fprintf(stderr, "vz7ct-fd: not loaded: this daemon's plugin interface is "
	    "version %u with %u bytes of functions; known are Bareos 17 to 26 "
	    "(version %d), Bacula 9 (%d) and Bacula 15 (%d)\n", api->version,
	    core->size, BAREOS_INTERFACE, BACULA9_INTERFACE, BACULA15_INTERFACE);
	return (-1);
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
