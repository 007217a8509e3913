/* SPDX-License-Identifier: AGPL-3.0-only */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tiny.h"

#ifndef FAULTS

/**
 * fault_event(t, type, value):
 * Do what a fault does in an event; return the answer, or -1.
 */
int
fault_event(struct tiny * t, uint32_t type, void * value)
{

	(void)t;
	(void)type;
	(void)value;
	return (-1);
}

/**
 * fault_end(void):
 * End what a fault began.
 */
void
fault_end(void)
{
}

#else

static void
usr2(int sig)
{

	(void)sig;
}

static atomic_bool talking;
static pthread_t talk;

/* A thread that talks to the core while the job is elsewhere. */
static void *
talker(void * cookie)
{

	while (atomic_load(&talking)) {
		if (host.bareos)
			host.core.bareos->DebugMessage(cookie, "tiny.c", 1, 1,
			    "%s", "x");
		else
			host.core.bacula->DebugMessage(cookie, "tiny.c", 1, 1,
			    "%s", "x");
	}
	return (NULL);
}

/**
 * fault_end(void):
 * End what a fault began.
 */
void
fault_end(void)
{

	if (atomic_exchange(&talking, false))
		pthread_join(talk, NULL);
}

static void *
sleeper(void * cookie)
{

	(void)cookie;
	sleep(20);
	return (NULL);
}

static void
start_threads(struct tiny * t)
{
	pthread_t thread;
	int i;

	if (fault("core-thread")) {
		atomic_store(&talking, true);
		if (pthread_create(&talk, NULL, talker, t->ctx) != 0)
			atomic_store(&talking, false);
	}
	for (i = 0; fault("threads") && (i < 20); i++) {
		if (pthread_create(&thread, NULL, sleeper, NULL) == 0)
			pthread_detach(thread);
	}
}

/* Faults that are only calls of the core. */
static void
bad_calls(struct tiny * t)
{
	static char other[32];
	char text[3000];
	void * ctx = t->ctx;

	if (fault("type"))
		tell(t, 11, "end of the daemon");
	if (fault("type-0"))
		tell(t, host.bareos ? 0 : 99, "unknown type");
	if (fault("null-text"))
		tell(t, 6, NULL);
	if (fault("long")) {
		memset(text, 'x', sizeof(text));
		text[sizeof(text) - 1] = '\0';
		tell(t, 6, text);
	}
	if (fault("context-dead")) {
		t->ctx = other;
		tell(t, 6, "who am I");
		t->ctx = ctx;
	}
	if (fault("get-null"))
		core_value(t, 1, 1, NULL);
	if (fault("set-value")) {
		if (host.bareos)
			host.core.bareos->setValue(ctx, 6, text);
		else
			host.core.bacula->setValue(ctx, 6, text);
	}
	if (fault("free-foreign"))
		core_release(t, other);
}

static void
bad_state(struct tiny * t, void * value)
{

	if (fault("sigusr2"))
		signal(SIGUSR2, usr2);
	if (fault("hang"))
		sleep(3600);
	if (fault("write-cmd"))
		*strchr(value, ':') = '\0';
	if (fault("stale") && (t->kept != NULL) && (t->kept[0] == 'x'))
		tell(t, 6, "a strange letter");
}

/* Jobs of others. */
static void
bad_foreign(struct tiny * t, uint32_t type, void * value)
{

	if ((type == 20) && fault("message-foreign"))
		tell(t, 6, value);
	if ((type != EV_JOB_START) || !fault("foreign"))
		return;
	if (host.bareos)
		host.core.bareos->AddExclude(t->ctx, "/x");
	else
		host.core.bacula->AddExclude(t->ctx, "/x");
}

/**
 * fault_event(t, type, value):
 * Do what a fault does in an event; return the answer, or -1.
 */
int
fault_event(struct tiny * t, uint32_t type, void * value)
{

	bad_foreign(t, type, value);
	switch (type) {
	case EV_JOB_START:
		if (fault("event-stop"))
			return (RC_STOP);
		if (fault("event-term"))
			return (RC_TERM);
		if (fault("stale"))
			t->kept = value;
		break;
	case EV_BACKUP_COMMAND:
	case EV_ESTIMATE_COMMAND:
		if (fault("command-silent"))
			return (RC_ERROR);
		bad_state(t, value);
		bad_calls(t);
		start_threads(t);
		break;
	case EV_CANCEL:
		if (fault("cancel-slow"))
			sleep(3);
		break;
	default:
		break;
	}
	return (-1);
}

#endif /* FAULTS */
