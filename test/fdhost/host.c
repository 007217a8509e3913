/* SPDX-License-Identifier: AGPL-3.0-only */
#include <sys/mman.h>

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "checks.h"
#include "core.h"
#include "escape.h"
#include "host.h"
#include "watch.h"

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

/* dlopen, and the two entry points. */
static int
open_plugin(struct host * h, const char * plugin, int flags)
{
	char path[PATH_MAX];
	char * base;
	char * end;
	struct stat st;

	/* The daemons do not look through symbolic links. */
	if ((lstat(plugin, &st) == -1) || !S_ISREG(st.st_mode)) {
		fprintf(stderr, "fdhost: %s is not a regular file\n", plugin);
		return (-1);
	}
	snprintf(path, sizeof(path), "%s", plugin);
	base = basename(path);
	if ((end = strstr(base, "-fd.so")) == NULL) {
		fprintf(stderr, "fdhost: %s does not end in -fd.so\n", plugin);
		return (-1);
	}
	snprintf(h->name, sizeof(h->name), "%.*s", (int)(end - base), base);
	snprintf(path, sizeof(path), "%s%s",
	    (strchr(plugin, '/') == NULL) ? "./" : "", plugin);
	if ((h->handle = dlopen(path, flags)) == NULL) {
		fprintf(stderr, "fdhost: %s\n", dlerror());
		return (-1);
	}
	*(void **)&h->load = dlsym(h->handle, "loadPlugin");
	*(void **)&h->unload = dlsym(h->handle, "unloadPlugin");
	if ((h->load == NULL) || (h->unload == NULL)) {
		fprintf(stderr, "fdhost: %s: no loadPlugin or unloadPlugin\n",
		    plugin);
		return (-1);
	}
	return (0);
}

/* Pointers must stay good until unload: inside the object itself. */
static bool
in_plugin(const struct host * h, const void * p)
{
	Dl_info mine, its;

	if ((p == NULL) || (dladdr(*(void * const *)&h->load, &mine) == 0) ||
	    (dladdr(p, &its) == 0))
		return (false);
	return (mine.dli_fbase == its.dli_fbase);
}

static bool
licence_ok(const struct layout * L, const char * s)
{

	if (L->family == BAREOS)
		return ((strcasecmp(s, "AGPLv3") == 0) ||
		    (strcasecmp(s, "Bareos AGPLv3") == 0));
	return ((strcmp(s, "AGPLv3") == 0) ||
	    (strcmp(s, "Bacula AGPLv3") == 0));
}

static int
check_info(const struct host * h)
{
	const struct plugin_info * info = h->info;
	char * magic = mem_string(info->magic);
	char * licence = mem_string(info->license);
	int bad = 0;

	if ((magic == NULL) || (strcmp(magic, "*FDPluginData*") != 0)) {
		violate(0, "load-magic", "%s", escape(magic));
		bad = -1;
	}
	if (info->version != h->L->iface) {
		violate(0, "load-version", "%u instead of %u", info->version,
		    h->L->iface);
		bad = -1;
	}
	if ((licence == NULL) || !licence_ok(h->L, licence)) {
		violate(0, "load-licence", "%s", escape(licence));
		bad = -1;
	}
	if (info->size != h->L->info_size) {
		violate(0, "load-size", "%u instead of %u", info->size,
		    h->L->info_size);
		bad = -1;
	}
	free(magic);
	free(licence);
	return (bad);
}

static int
check_functions(const struct host * h)
{
	const struct plugin_funcs * f = h->f;
	const struct {
		const char * name;
		bool there;
	} need[] = {
		{ "newPlugin", f->newPlugin != NULL },
		{ "freePlugin", f->freePlugin != NULL },
		{ "handlePluginEvent", f->handlePluginEvent != NULL },
		{ "startBackupFile", f->startBackupFile != NULL },
		{ "endBackupFile", f->endBackupFile != NULL },
		{ "startRestoreFile", f->startRestoreFile != NULL },
		{ "endRestoreFile", f->endRestoreFile != NULL },
		{ "pluginIO", f->pluginIO != NULL },
		{ "createFile", f->createFile != NULL },
		{ "setFileAttributes", f->setFileAttributes != NULL }
	};
	int bad = 0;
	size_t i;

	for (i = 0; i < sizeof(need) / sizeof(need[0]); i++) {
		if (need[i].there)
			continue;
		violate(0, "load-null", "%s", need[i].name);
		bad = -1;
	}
	if ((f->size != h->L->funcs_size) || (f->version != h->L->iface)) {
		violate(0, "load-functions",
		    "size %u version %u instead of %u and %u", f->size,
		    f->version, h->L->funcs_size, h->L->iface);
		if (f->size < h->L->funcs_size)
			bad = -1;
	}
	if ((bad == 0) && (h->L->family == BAREOS) &&
	    (f->t.bareos.getAcl != NULL))
		violate(0, "load-getacl", "ACLs would not survive a restore");
	return (bad);
}

/**
 * host_load(h, a):
 * Load the plugin as the daemon does and check what it says about itself.
 * Return -1 if no job can be run with it.
 */
int
host_load(struct host * h, const struct args * a)
{
	static struct api_def def;
	void * info = NULL;
	void * funcs = NULL;
	int rc;

	memset(h, 0, sizeof(*h));
	h->L = a->L;
	fds_now(host_fds());
	if (open_plugin(h, a->plugin, (a->L->family == BAREOS) ?
	    RTLD_LAZY | RTLD_GLOBAL : RTLD_NOW))
		return (-1);
	def.size = sizeof(def);
	def.version = h->L->iface;
	core_workdir(a->workdir);
	core_loading(true);
	rc = h->load(&def, core_table(h->L), &info, &funcs);
	core_loading(false);
	if (!core_untouched() || (def.size != sizeof(def)) ||
	    (def.version != h->L->iface))
		violate(0, "core-touched", "by loadPlugin");
	if (rc != RC_OK) {
		violate(0, "load-return", "%d for version %u, table %u", rc,
		    h->L->iface, h->L->core_size);
		return (-1);
	}
	h->info = info;
	h->f = funcs;
	if (!in_plugin(h, info) || !in_plugin(h, funcs)) {
		violate(0, "load-pointer", "information %p, functions %p",
		    info, funcs);
		return (-1);
	}
	if (check_info(h) || check_functions(h))
		return (-1);
	return (0);
}

/**
 * host_unload(h):
 * Unload the plugin as the daemon does when it ends.
 */
void
host_unload(struct host * h)
{
	double took = seconds();

	if ((h->handle == NULL) || (h->unload == NULL))
		return;
	core_loading(true);
	h->unload();
	core_loading(false);
	took = seconds() - took;
	if (took > 1.0)
		violate(0, "unload-slow", "unloadPlugin took %.1f s", took);
	dlclose(h->handle);
	h->handle = NULL;
}

/* Every function of an interface that nobody knows. */
static int
trap(void)
{

	violate(0, "load-call", "a function of an unknown interface");
	return (RC_ERROR);
}

/**
 * host_refuse(a):
 * Offer the plugin an interface that it does not know, and check that it
 * refuses.
 */
int
host_refuse(const struct args * a)
{
	struct host h;
	struct api_def def = { sizeof(def), a->iface };
	int (* f)(void) = trap;
	unsigned char * map;
	unsigned char * table;
	void * info = NULL;
	void * funcs = NULL;
	uint32_t i;
	int rc;

	memset(&h, 0, sizeof(h));
	if ((a->iface_size < 8) || (a->iface_size > 4096) ||
	    open_plugin(&h, a->plugin, RTLD_NOW))
		return (-1);

	/* The table ends where the page ends. */
	map = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if ((map == MAP_FAILED) || mprotect(map + 4096, 4096, PROT_NONE))
		return (-1);
	table = map + 4096 - a->iface_size;
	memcpy(table, &a->iface_size, 4);
	memcpy(table + 4, &a->iface, 4);
	for (i = 8; i + sizeof(f) <= a->iface_size; i += sizeof(f))
		memcpy(table + i, &f, sizeof(f));
	rc = h.load(&def, table, &info, &funcs);
	say(0, "interface %u/%u: loadPlugin answered %d", a->iface,
	    a->iface_size, rc);
	if (rc == RC_OK)
		violate(0, "load-refuse", "version %u, table of %u bytes",
		    a->iface, a->iface_size);
	host_unload(&h);
	munmap(map, 8192);
	return (0);
}
