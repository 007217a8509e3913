/* SPDX-License-Identifier: AGPL-3.0-only */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup.h"
#include "checks.h"
#include "host.h"
#include "restore.h"
#include "selftest.h"
#include "trouble.h"
#include "watch.h"

/* How the program ends. */
enum {
	EXIT_OK = 0, EXIT_VIOLATION = 1, EXIT_USAGE = 2, EXIT_FATAL = 3,
	EXIT_ERRORS = 4
};

/* The thread of one job: a connection of the Director. */
static void *
job_thread(void * cookie)
{
	struct job * j = cookie;

	if (j->type == 'B')
		backup_run(j);
	else
		restore_run(j);
	return (NULL);
}

static long
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (ts.tv_sec);
}

/* Wait for the thread of ${j}; the process ends if the plugin hangs. */
static void
wait_job(struct job * j, pthread_t thread)
{
	struct timespec ts;
	const char * call;

	for (;;) {
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec++;
		if (pthread_timedjoin_np(thread, NULL, &ts) == 0)
			return;
		call = atomic_load(&j->call);
		if ((call != NULL) && (now() - atomic_load(&j->call_start) >
		    (long)j->a->timeout)) {
			violate(j->number, "call-hang", "%s", call);
			_exit(EXIT_VIOLATION);
		}
	}
}

/* Return how the job ended, as the exit status says it. */
static int
summary(struct job * j)
{
	int status = atomic_load(&j->status);
	unsigned int errors = atomic_load(&j->errors);

	say(0, "job %d: status=%c files=%" PRIu32 " entries=%" PRIu32
	    " bytes=%" PRIu64 " errors=%u warnings=%u%s", j->number, status,
	    j->files, j->entries, j->bytes, errors, atomic_load(&j->warnings),
	    (j->a->cancel_at >= 0) ? (atomic_load(&j->canceled) ?
	    " canceled" : " not-canceled") : "");
	if (j->fatal_plugin)
		return (EXIT_FATAL);
	if (j->fatal_daemon && (violations() == 0))
		violate(j->number, "daemon-error",
		    "the daemon ended the job by itself");
	if ((j->type == 'R') && (errors > 0) && !atomic_load(&j->canceled))
		return (EXIT_ERRORS);
	if ((j->a->cancel_at >= 0) && !atomic_load(&j->canceled))
		return (EXIT_USAGE);
	return (EXIT_OK);
}

/* Run --parallel jobs of one type. */
static int
run_jobs(struct host * h, const struct args * a, char type)
{
	struct fdset before;
	struct job ** jobs;
	pthread_t * threads;
	unsigned int i;
	int rc = EXIT_OK, one, nthreads;

	if ((h->L->family == BACULA) && (h->L->release == 9) &&
	    (type == 'R') && (a->parallel > 1)) {
		fprintf(stderr, "fdhost: Bacula 9 cannot run two restores "
		    "with one plugin at a time\n");
		return (EXIT_USAGE);
	}
	jobs = calloc(a->parallel, sizeof(jobs[0]));
	threads = calloc(a->parallel, sizeof(threads[0]));
	if ((jobs == NULL) || (threads == NULL))
		return (EXIT_USAGE);
	for (i = 0; i < a->parallel; i++) {
		jobs[i] = calloc(1, sizeof(*jobs[i]));
		if ((jobs[i] == NULL) ||
		    job_init(jobs[i], h, a, (int)i + 1, type))
			return (EXIT_USAGE);
	}
	fds_now(&before);
	nthreads = threads_now();
	for (i = 0; i < a->parallel; i++) {
		if (pthread_create(&threads[i], NULL, job_thread, jobs[i]))
			return (EXIT_USAGE);
	}
	for (i = 0; i < a->parallel; i++)
		wait_job(jobs[i], threads[i]);
	fds_leaked(&before, (int)a->settle);
	if (threads_now() > nthreads + (int)a->max_threads)
		violate(0, "thread-leak", "%d threads, %d before",
		    threads_now(), nthreads);
	for (i = 0; i < a->parallel; i++) {
		one = summary(jobs[i]);
		if (one > rc)
			rc = one;
		job_free(jobs[i]);
		free(jobs[i]);
	}
	free(jobs);
	free(threads);
	return (rc);
}

/* A command that needs the plugin. */
static int
with_plugin(const struct args * a)
{
	struct host h;
	int rc = EXIT_OK;

	memset(&h, 0, sizeof(h));
	if (trouble_main(&h) || host_load(&h, a)) {
		host_unload(&h);
		if (violations() == 0)
			return (EXIT_USAGE);
		say(0, "result violations=%u", violations());
		return (EXIT_VIOLATION);
	}
	if ((strcmp(a->command, "backup") == 0) ||
	    (strcmp(a->command, "estimate") == 0))
		rc = run_jobs(&h, a, 'B');
	else if (strcmp(a->command, "restore") == 0)
		rc = run_jobs(&h, a, 'R');
	else if (strcmp(a->command, "foreign") == 0)
		foreign_run(&h, a);
	else if (strcmp(a->command, "load") != 0) {
		args_usage();
		rc = EXIT_USAGE;
	}
	host_unload(&h);
	say(0, "result violations=%u", violations());
	return ((violations() > 0) ? EXIT_VIOLATION : rc);
}

static int
list(const struct args * a)
{
	struct store_reader * r;
	int rc;

	if ((r = store_open(a->stores.s[0])) == NULL) {
		fprintf(stderr, "fdhost: cannot read %s\n", a->stores.s[0]);
		return (EXIT_USAGE);
	}
	rc = store_list(r, a->json, stdout);
	store_free(r);
	return ((rc == 0) ? EXIT_OK : EXIT_USAGE);
}

int
main(int argc, char ** argv)
{
	struct args a;

	if (args_parse(&a, argc, argv)) {
		args_usage();
		return (EXIT_USAGE);
	}
	if (strcmp(a.command, "list") == 0)
		return (list(&a));
	if (strcmp(a.command, "checks") == 0) {
		checks_print(stdout);
		return (EXIT_OK);
	}
	if (strcmp(a.command, "selftest") == 0)
		return (selftest(&a));
	if (mem_init()) {
		perror("sigaction");
		return (EXIT_USAGE);
	}
	if (strcmp(a.command, "refuse") == 0) {
		if (host_refuse(&a))
			return (EXIT_USAGE);
		say(0, "result violations=%u", violations());
		return ((violations() > 0) ? EXIT_VIOLATION : EXIT_OK);
	}
	return (with_plugin(&a));
}
