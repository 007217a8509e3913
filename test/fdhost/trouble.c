/* SPDX-License-Identifier: AGPL-3.0-only */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "trouble.h"

struct trouble {
	pthread_t canceler;
	pthread_t stormer;
	bool has_canceler;
	bool has_stormer;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool go;		/* Cancel now. */
	bool end;		/* Do not cancel any more. */
	bool term;		/* SIGTERM was sent. */
};

static struct host * ending;
static pthread_t main_thread;

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

static void
sleep_us(long us)
{
	struct timespec ts = { us / 1000000, (us % 1000000) * 1000 };

	while (nanosleep(&ts, &ts) && (errno == EINTR))
		;
}

/**
 * trouble_usr2(sig):
 * The daemon's handler of SIGUSR2, which does nothing.
 */
void
trouble_usr2(int sig)
{

	(void)sig;
}

/**
 * trouble_handler(void):
 * Install it, without SA_ONSTACK, as the daemon does for every job.
 */
void
trouble_handler(void)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = trouble_usr2;
	sigfillset(&sa.sa_mask);
	sigaction(SIGUSR2, &sa, NULL);
}

/**
 * trouble_cancel(j):
 * Send CancelCommand to the plugin, if the daemon would.
 */
void
trouble_cancel(struct job * j)
{
	struct event_pkt e = { EV_CANCEL };
	double took;

	if (!event_wanted(j, EV_CANCEL))
		return;

	/* Bareos sends a canceled job no event any more, 15 does. */
	if ((j->L->family == BAREOS) && job_canceled(j))
		return;
	if (atomic_exchange(&j->cancel_sent, true) && j->L->cancel_once)
		return;
	atomic_fetch_add(&j->in_cancel, 1);
	took = seconds();
	j->h->f->handlePluginEvent(j->ctx.mem, &e, NULL);
	took = seconds() - took;
	atomic_fetch_sub(&j->in_cancel, 1);
	if (took > 2.0)
		violate(j->number, "cancel-slow", "CancelCommand took %.1f s",
		    took);
}

/* The thread of the Director's connection that carries the cancel. */
static void *
canceler(void * cookie)
{
	struct job * j = cookie;
	struct trouble * t = j->trouble;
	bool go;

	pthread_mutex_lock(&t->lock);
	while (!t->go && !t->end)
		pthread_cond_wait(&t->wake, &t->lock);
	go = t->go;
	pthread_mutex_unlock(&t->lock);
	if (!go)
		return (NULL);

	/* Two consoles at once: nothing guards against that up to 22. */
	trouble_cancel(j);
	if (!j->L->cancel_once)
		trouble_cancel(j);
	say(j->number, "canceled after %u entries", j->entries);
	atomic_store(&j->status, 'A');
	atomic_store(&j->canceled, true);
	pthread_kill(j->thread, SIGUSR2);
	return (NULL);
}

/* SIGUSR2 all the time. */
static void *
stormer(void * cookie)
{
	struct job * j = cookie;

	while (!atomic_load(&j->over)) {
		pthread_kill(j->thread, SIGUSR2);
		sleep_us(j->a->storm);
	}
	return (NULL);
}

/**
 * trouble_start(j):
 * Begin to disturb the job ${j} as the command line says; called by the job
 * thread.
 */
int
trouble_start(struct job * j)
{
	struct trouble * t;

	trouble_handler();
	if ((t = calloc(1, sizeof(*t))) == NULL)
		goto err0;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wake, NULL);
	j->trouble = t;
	if (j->a->cancel_at >= 0) {
		if (pthread_create(&t->canceler, NULL, canceler, j))
			goto err0;
		t->has_canceler = true;
	}
	if (j->a->storm > 0) {
		if (pthread_create(&t->stormer, NULL, stormer, j))
			goto err0;
		t->has_stormer = true;
	}

	/* Success! */
	return (0);

err0:
	/* Failure! */
	return (-1);
}

/**
 * trouble_point(j):
 * The job thread is about to call the plugin: see what is due.
 */
void
trouble_point(struct job * j)
{
	struct trouble * t = j->trouble;
	int i;

	if (t == NULL)
		return;
	if (t->has_canceler && !t->go && j->own_command &&
	    ((long)j->entries >= j->a->cancel_at)) {
		pthread_mutex_lock(&t->lock);
		t->go = true;
		pthread_cond_signal(&t->wake);
		pthread_mutex_unlock(&t->lock);

		/* Meet the other thread inside the plugin. */
		for (i = 0; (i < 50) && (atomic_load(&j->in_cancel) == 0) &&
		    !atomic_load(&j->canceled); i++)
			sleep_us(100);
	}
	if ((j->a->term_at >= 0) && !t->term && j->own_command &&
	    ((long)j->entries >= j->a->term_at)) {
		t->term = true;
		pthread_kill(main_thread, SIGTERM);
	}
}

/**
 * trouble_settle(j):
 * Wait for a cancel that is under way; none begins any more.
 */
void
trouble_settle(struct job * j)
{
	struct trouble * t = j->trouble;

	if ((t == NULL) || !t->has_canceler)
		return;
	pthread_mutex_lock(&t->lock);
	if (!t->go)
		say(j->number, "note: --cancel-at was not reached");
	t->end = true;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->canceler, NULL);
	t->has_canceler = false;
}

/**
 * trouble_stop(j):
 * Stop to disturb the job ${j}.
 */
void
trouble_stop(struct job * j)
{
	struct trouble * t = j->trouble;

	if (t == NULL)
		return;
	trouble_settle(j);
	atomic_store(&j->over, true);
	if (t->has_stormer)
		pthread_join(t->stormer, NULL);
	if ((j->a->term_at >= 0) && !t->term)
		say(j->number, "note: --term-at was not reached");
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	free(t);
	j->trouble = NULL;
}

/* SIGTERM: both daemons unload their plugins right here, and exit. */
static void
terminate(int sig)
{
	double took = seconds();

	(void)sig;
	ending->unload();
	took = seconds() - took;
	if (took > 1.0)
		violate(0, "unload-slow", "unloadPlugin took %.1f s", took);
	dlclose(ending->handle);

	/* The job goes on until the process is gone. */
	sleep_us(200000);
	say(0, "terminated, violations=%u", violations());
	exit((violations() > 0) ? 1 : 0);
}

/**
 * trouble_main(h):
 * Let the calling thread, which waits for the jobs, be the one that ends the
 * daemon when SIGTERM comes.
 */
int
trouble_main(struct host * h)
{
	struct sigaction sa;

	ending = h;
	main_thread = pthread_self();
	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = terminate;
	sigfillset(&sa.sa_mask);
	return (sigaction(SIGTERM, &sa, NULL));
}
