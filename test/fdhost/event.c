/* SPDX-License-Identifier: AGPL-3.0-only */
#include <string.h>

#include "bfd.h"
#include "checks.h"
#include "job.h"

#define CALL(n) "handlePluginEvent(" #n ")"

/* Names of the calls, which other threads read while they last. */
static const char * const calls[] = {
	CALL(0), CALL(1), CALL(2), CALL(3), CALL(4), CALL(5), CALL(6), CALL(7),
	CALL(8), CALL(9), CALL(10), CALL(11), CALL(12), CALL(13), CALL(14),
	CALL(15), CALL(16), CALL(17), CALL(18), CALL(19), CALL(20), CALL(21),
	CALL(22), CALL(23), CALL(24), CALL(25), CALL(26), CALL(27), CALL(28)
};

/**
 * event_wanted(j, type):
 * Return true if the plugin gets events of this type in this job.
 */
bool
event_wanted(const struct job * j, uint32_t type)
{

	if (j->disabled)
		return (false);

	/* Bacula sends everything, registered or not. */
	if (j->L->family == BACULA)
		return (true);
	return ((j->events >> type) & 1);
}

/* Events that come although the job is canceled. */
static bool
always(const struct job * j, uint32_t type)
{

	if ((type == EV_END_BACKUP) || (type == EV_END_RESTORE) ||
	    (type == EV_END_VERIFY))
		return (true);
	return ((j->L->family == BACULA) && (j->L->release >= 15) &&
	    ((type == EV_START_VERIFY) || (type == EV_CANCEL)));
}

static void
check_answer(struct job * j, uint32_t type, int rc)
{

	if (rc == RC_TERM)
		violate(j->number, "event-return",
		    "bRC_Term for event %u unloads the plugin under all jobs",
		    type);
	else if (j->L->stop_stops && (type != EV_BACKUP_COMMAND) &&
	    (type != EV_ESTIMATE_COMMAND) && (type != EV_RESTORE_COMMAND) &&
	    ((rc == RC_STOP) || (rc == RC_ERROR) || (rc == RC_SKIP)))
		violate(j->number, "event-return",
		    "%d for event %u hides it from other plugins", rc, type);
}

/* The daemon ends a file that was not ended. */
static void
end_started(struct job * j)
{

	if (j->started) {
		call_enter(j, "endRestoreFile");
		j->h->f->endRestoreFile(j->ctx.mem);
		call_leave(j);
		bfd_ended(j);
	}
	j->started = false;
}

/**
 * event(j, type, value):
 * Send the event ${type} to the plugin, if the daemon would, and return what
 * the plugin answered, or RC_OK.
 */
int
event(struct job * j, uint32_t type, void * value)
{
	const char * name = calls[type];
	struct event_pkt * e;
	int rc;

	if (job_canceled(j) && !always(j, type))
		return (RC_OK);
	if (!event_wanted(j, type))
		return (RC_OK);
	if (type == EV_START_RESTORE)
		j->started = false;
	if (type == EV_END_RESTORE)
		end_started(j);

	e = slot_take(&j->slots, sizeof(*e));
	e->eventType = type;
	call_enter(j, name);
	rc = j->h->f->handlePluginEvent(j->ctx.mem, e, value);
	call_leave(j);
	if (e->eventType != type)
		violate(j->number, "pkt-input", "%s wrote the event", name);
	if (!slot_whole(&j->slots, e))
		violate(j->number, "pkt-guard", "%s wrote around the event",
		    name);
	slot_give(&j->slots, e);
	check_answer(j, type, rc);
	return (rc);
}

/**
 * event_string(j, type, s):
 * Send the event ${type} with a copy of the string ${s} as value.
 */
int
event_string(struct job * j, uint32_t type, const char * s)
{
	char * lent;
	int rc;

	lent = lend_string(j, s);
	rc = event(j, type, lent);
	return_string(j, lent, s, calls[type]);
	return (rc);
}

/**
 * plugin_match(j, cmd):
 * Return true if the daemon would send the command ${cmd} to the plugin.
 */
bool
plugin_match(const struct job * j, const char * cmd)
{
	size_t len, plen = strlen(j->h->name);

	if (strchr(cmd, ':') != NULL)
		len = strcspn(cmd, ":");
	else if (strchr(cmd, ' ') == NULL)
		len = strlen(cmd);
	else
		return (false);
	if (len == 0)
		return (false);

	/* These two are for everybody. */
	if ((strcmp(cmd, "job") == 0) || (strcmp(cmd, "*all*") == 0))
		return (true);
	if ((len == plen) && (strncmp(cmd, j->h->name, len) == 0))
		return (true);
	return (!j->L->exact_name && (len == plen - 1) &&
	    (strncmp(cmd, j->h->name, len) == 0));
}
