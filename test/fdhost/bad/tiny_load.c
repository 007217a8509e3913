/* SPDX-License-Identifier: AGPL-3.0-only */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tiny.h"

struct daemon host;

#ifdef FAULTS
/**
 * fault(name):
 * Return true if this is the thing to do wrong.
 */
bool
fault(const char * name)
{
	const char * s = getenv("FDHOST_BAD");

	return ((s != NULL) && (strcmp(s, name) == 0));
}
#endif

/**
 * tiny_of(ctx):
 * Return the job of a context.
 */
struct tiny *
tiny_of(void * ctx)
{

	if (host.bareos)
		return (((struct bareos_context *)ctx)->plugin_private);
	return (((struct bacula_context *)ctx)->plugin_private);
}

/* The text as it is, except where that is the fault. */
static void
message(void * ctx, int type, const char * fmt, const char * text)
{

	/* Bacula 15 numbers all from FATAL on one higher. */
	if (!host.bareos && (host.iface == 23) && (type >= 3))
		type++;
	if (host.bareos)
		host.core.bareos->JobMessage(ctx, "tiny.c", 1, type, 0, fmt,
		    text);
	else
		host.core.bacula->JobMessage(ctx, "tiny.c", 1, type, 0, fmt,
		    text);
}

/**
 * tell(t, type, text):
 * Send a job message, ${type} as Bareos numbers it.
 */
void
tell(struct tiny * t, int type, const char * text)
{

	message(t->ctx, type, fault("format") ? text : "%s\n", text);
}

/**
 * core_alloc(t, size):
 * Get memory that the core will free.
 */
void *
core_alloc(struct tiny * t, size_t size)
{

	if (host.bareos)
		return (host.core.bareos->coreMalloc(t->ctx, "tiny.c", 1,
		    size));
	return (host.core.bacula->coreMalloc(t->ctx, "tiny.c", 1, size));
}

/**
 * core_release(t, p):
 * Give memory back to the core.
 */
void
core_release(struct tiny * t, void * p)
{

	if (host.bareos)
		host.core.bareos->coreFree(t->ctx, "tiny.c", 1, p);
	else
		host.core.bacula->coreFree(t->ctx, "tiny.c", 1, p);
}

/**
 * core_changed(t, sp):
 * Ask the core whether the file of a save packet changed.
 */
int
core_changed(struct tiny * t, void * sp)
{

	if (host.bareos)
		return (host.core.bareos->checkChanges(t->ctx, sp));
	return (host.core.bacula->checkChanges(t->ctx, sp));
}

/**
 * core_value(t, bareos, bacula, value):
 * Get the variable that has these numbers.
 */
void
core_value(struct tiny * t, int bareos, int bacula, void * value)
{

	if (host.bareos)
		host.core.bareos->getValue(t->ctx, bareos, value);
	else
		host.core.bacula->getValue(t->ctx, bacula, value);
}

static void
register_events(void * ctx)
{

	if (!host.bareos) {
		if (fault("register-99"))
			host.core.bacula->registerEvents(ctx, 99, 0);
		return;
	}
	if (fault("register-99"))
		host.core.bareos->registerEvents(ctx, 1, 99);
	if (fault("unregistered"))
		return;
	host.core.bareos->registerEvents(ctx, 10, 1, 4, 6, 9, 10, 11, 14, 15,
	    17, 20);
}

static int
new_plugin(void * ctx)
{
	struct tiny * t;

	if ((t = calloc(1, sizeof(*t))) == NULL)
		return (RC_ERROR);
	t->ctx = ctx;
	t->fd = -1;
	if (host.bareos)
		((struct bareos_context *)ctx)->plugin_private = t;
	else
		((struct bacula_context *)ctx)->plugin_private = t;
	register_events(ctx);
	if (fault("message-new"))
		tell(t, 6, "I am here");
	if (fault("context"))
		memset(ctx, 0x11, 8);
	return (fault("new-plugin") ? RC_ERROR : RC_OK);
}

static int
free_plugin(void * ctx)
{
	struct tiny * t = tiny_of(ctx);

	fault_end();
	if (t == NULL)
		return (RC_OK);
	if ((t->fd != -1) && !fault("fd-leak"))
		close(t->fd);
	free(t->name);
	free(t->link);
	free(t);
	return (RC_OK);
}

static int
value(void * ctx, int var, void * v)
{

	(void)ctx;
	(void)var;
	(void)v;
	return (RC_OK);
}

static int
check_file(void * ctx, char * name)
{

	(void)ctx;
	(void)name;
	return (fault("checkfile") ? RC_SEEN : RC_OK);
}

static int
plugin_event(void * ctx, struct event_pkt * e, void * v)
{
	struct tiny * t = tiny_of(ctx);
	int rc;

	if ((rc = fault_event(t, e->eventType, v)) != -1)
		return (rc);
	switch (e->eventType) {
	case EV_BACKUP_COMMAND:
	case EV_ESTIMATE_COMMAND:
		tell(t, 6, "tiny: begins, 100%s sure %n of it");
		t->offsets = strstr(v, "offsets") != NULL;
		t->second = strstr(v, "second") != NULL;
		t->next = next_file(t, 0);
		break;
	case EV_CANCEL:
		t->canceled = true;
		break;
	default:
		break;
	}
	return (RC_OK);
}

static struct plugin_info info = {
	64, 10, "*FDPluginData*", "AGPLv3", "fdhost", "2026", "1",
	"A plugin to test fdhost with", "none"
};

static struct plugin_funcs funcs = {
	144, 10, new_plugin, free_plugin, value, value, plugin_event,
	start_backup, end_backup, start_restore, end_restore, plugin_io,
	create_file, set_attributes, check_file, { { NULL, NULL, NULL, NULL } }
};

/* Make the tables fit the daemon. */
static void
fill(void)
{

	info.version = funcs.version = host.iface;
	memset(&funcs.t, 0, sizeof(funcs.t));
	if (host.bareos) {
		info.size = 64;
		funcs.size = 144;
		funcs.t.bareos.getXattr = get_xattr;
		funcs.t.bareos.setXattr = set_xattr;
		if (fault("getacl"))
			funcs.t.bareos.getAcl = get_xattr;
	} else {
		info.size = 56;
		funcs.size = (host.iface == 14) ? 128 : 168;
		funcs.t.bacula9.handleXACLdata = xacl_data;
	}
	if (fault("licence"))
		info.license = "GPLv2";
	if (fault("magic"))
		info.magic = "*SDPluginData*";
	if (fault("version"))
		info.version = 5;
	if (fault("info-size"))
		info.size = host.bareos ? 56 : 64;
	if (fault("functions"))
		funcs.version = 99;
	if (fault("null"))
		funcs.pluginIO = NULL;
}

/**
 * loadPlugin(def, core, pinfo, pfuncs):
 * The daemon loads the plugin.
 */
int
loadPlugin(void * def, void * core, void ** pinfo, void ** pfuncs)
{
	struct api_def * d = def;
	int (* first)(void *);
	bool known;

	host.iface = d->version;
	host.bareos = (d->version == 10);
	host.core.any = core;
	known = (d->version == 10) || (d->version == 14) || (d->version == 23);
	if (!known && fault("refuse-call")) {
		memcpy(&first, (char *)core + 8, sizeof(first));
		first(NULL);
	}
	if ((!known && !fault("accept-any")) || fault("refuse-known"))
		return (RC_ERROR);
	if (fault("load-call")) {
		if (host.bareos)
			host.core.bareos->AddExclude(NULL, "/x");
		else
			host.core.bacula->AddExclude(NULL, "/x");
	}
	if (fault("core-table"))
		((uint32_t *)core)[0]++;
	fill();
	*pinfo = &info;
	*pfuncs = &funcs;
	if (fault("heap-info")) {
		*pinfo = malloc(sizeof(info));
		memcpy(*pinfo, &info, sizeof(info));
	}
	return (RC_OK);
}

/**
 * unloadPlugin(void):
 * The daemon ends.
 */
int
unloadPlugin(void)
{

	if (fault("unload-slow"))
		sleep(2);
	return (RC_OK);
}
