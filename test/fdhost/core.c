/* SPDX-License-Identifier: AGPL-3.0-only */
#include "checks.h"
#include "core.h"

#define MAX_LIVE 256

static struct job * live[MAX_LIVE];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool loading;

/**
 * core_loading(on):
 * From now on no function may be called, because no job exists; or stop that.
 */
void
core_loading(bool on)
{

	atomic_store(&loading, on);
}

/**
 * core_attach(j):
 * The context of the job ${j} lives from now on.
 */
int
core_attach(struct job * j)
{
	size_t i;

	pthread_mutex_lock(&lock);
	for (i = 0; (i < MAX_LIVE) && (live[i] != NULL); i++)
		;
	if (i < MAX_LIVE)
		live[i] = j;
	pthread_mutex_unlock(&lock);
	return ((i < MAX_LIVE) ? 0 : -1);
}

/**
 * core_detach(j):
 * The context of the job ${j} is dead from now on.
 */
void
core_detach(struct job * j)
{
	size_t i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < MAX_LIVE; i++) {
		if (live[i] == j)
			live[i] = NULL;
	}
	pthread_mutex_unlock(&lock);
}

/**
 * core_enter(ctx, function, kind):
 * Find the job of a context for a call of ${function} by the plugin, and
 * check that it may be called now.  Return NULL if there is no such job.
 */
struct job *
core_enter(void * ctx, const char * function, enum core_kind kind)
{
	struct job * j = NULL;
	const char * call;
	size_t i;

	if (atomic_load(&loading)) {
		if ((kind == CORE_ACTIVE) || (ctx != NULL))
			violate(0, "load-call", "%s was called", function);
		return (NULL);
	}
	pthread_mutex_lock(&lock);
	for (i = 0; i < MAX_LIVE; i++) {
		if ((live[i] != NULL) && ((void *)live[i]->ctx.mem == ctx))
			j = live[i];
	}
	pthread_mutex_unlock(&lock);
	if (j == NULL) {
		/* Some functions work without a context. */
		if ((ctx != NULL) || (kind == CORE_ACTIVE))
			violate(0, "context-dead",
			    "%s was called with a context that does not live",
			    function);
		return (NULL);
	}

	call = atomic_load(&j->call);
	if ((call == NULL) && (atomic_load(&j->in_cancel) == 0))
		violate(j->number, "core-thread",
		    "%s was called while the job is not in the plugin",
		    function);
	if (j->foreign && (kind == CORE_ACTIVE))
		violate(j->number, "foreign-active",
		    "%s was called in %s of a job that is not the plugin's",
		    function, (call == NULL) ? "the background" : call);
	return (j);
}

/**
 * core_instances(void):
 * Return how many contexts live.
 */
int
core_instances(void)
{
	size_t i;
	int n = 0;

	pthread_mutex_lock(&lock);
	for (i = 0; i < MAX_LIVE; i++)
		n += (live[i] != NULL);
	pthread_mutex_unlock(&lock);
	return (n);
}
