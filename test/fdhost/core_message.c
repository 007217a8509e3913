/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "core.h"
#include "escape.h"

/* Longest text that Bacula does not cut, newline included. */
#define MAX_TEXT 1999

static const char * const type_names[] = {
	"NONE", "ABORT", "DEBUG", "FATAL", "ERROR", "WARNING", "INFO", "SAVED",
	"NOTSAVED", "SKIPPED", "MOUNT", "ERROR_TERM", "TERM", "RESTORED",
	"SECURITY", "ALERT", "VOLMGMT", "AUDIT", "CONFIG_ERROR"
};

/* The only formats that carry any text unharmed. */
static bool
format_ok(const char * fmt)
{

	return ((fmt != NULL) && ((strcmp(fmt, "%s") == 0) ||
	    (strcmp(fmt, "%s\n") == 0)));
}

/**
 * job_effect(j, type):
 * Let a message of ${type} change the state of the job.
 */
void
job_effect(struct job * j, enum mtype type)
{
	int running = 'R';

	switch (type) {
	case MT_FATAL:
		atomic_compare_exchange_strong(&j->status, &running, 'f');
		atomic_fetch_add(&j->errors, 1);
		break;
	case MT_ERROR:
		atomic_fetch_add(&j->errors, 1);
		break;
	case MT_WARNING:
		atomic_fetch_add(&j->warnings, 1);
		break;
	default:
		break;
	}
}

/**
 * daemon_message(j, type, fmt, ...):
 * Say something in the daemon's own name, with the effects of ${type}.
 */
void
daemon_message(struct job * j, enum mtype type, const char * fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say(j->number, "daemon %s: %s", type_names[type], text);
	job_effect(j, type);
	if (type == MT_FATAL)
		j->fatal_daemon = true;
}

/* A type that no plugin may use: it is unknown, or the daemon dies of it. */
static bool
type_ok(enum mtype type)
{

	switch (type) {
	case MT_NONE:
	case MT_ABORT:
	case MT_ERROR_TERM:
	case MT_TERM:
	case MT_CONFIG_ERROR:
		return (false);
	default:
		return (true);
	}
}

/**
 * core_message(ctx, type, fmt, ap):
 * Take a job message.
 */
int
core_message(void * ctx, int type, const char * fmt, va_list ap)
{
	const char * call;
	struct job * j;
	enum mtype m;
	char * text;
	size_t len;

	if ((j = core_enter(ctx, "JobMessage", CORE_MESSAGE)) == NULL)
		return (RC_ERROR);
	if ((call = atomic_load(&j->call)) == NULL)
		call = "no call";

	if (!format_ok(fmt)) {
		violate(j->number, "message-format", "in %s: the format is %s",
		    call, escape(fmt));
		return (RC_OK);
	}
	if ((text = mem_string(va_arg(ap, const char *))) == NULL) {
		violate(j->number, "message-null", "in %s", call);
		return (RC_OK);
	}

	len = strlen(text) + strlen(fmt) - 2;
	if (len > MAX_TEXT)
		violate(j->number, "message-long", "in %s: %zu bytes: %.60s",
		    call, len, escape(text));
	m = layout_mtype(j->L, type);
	if (!type_ok(m))
		violate(j->number, "message-type", "in %s: type %d (%s): %s",
		    call, type, type_names[m], escape(text));
	if (!j->own_command)
		violate(j->number, "message-early", "in %s: %s", call,
		    escape(text));

	len = strlen(text);
	if ((len > 0) && (text[len - 1] == '\n'))
		text[len - 1] = '\0';
	say(j->number, "message %s (%s): %s", type_names[m], call,
	    escape(text));
	if (m == MT_FATAL)
		j->fatal_plugin = true;
	job_effect(j, m);
	free(text);
	return (RC_OK);
}

/**
 * core_debug(ctx, fmt, ap):
 * Take a debug message.
 */
int
core_debug(void * ctx, const char * fmt, va_list ap)
{
	struct job * j;
	char * text;

	j = core_enter(ctx, "DebugMessage", CORE_QUIET);
	if (!format_ok(fmt)) {
		violate((j == NULL) ? 0 : j->number, "message-format",
		    "the format of a debug message is %s", escape(fmt));
		return (RC_OK);
	}
	if ((text = mem_string(va_arg(ap, const char *))) == NULL)
		violate((j == NULL) ? 0 : j->number, "message-null",
		    "a debug message");
	free(text);
	return (RC_OK);
}
