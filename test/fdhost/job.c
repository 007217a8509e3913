/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup.h"
#include "checks.h"
#include "job.h"

/* The Plugin = line, with {} replaced by the number of the job. */
static char *
numbered(const char * s, int number)
{
	const char * at;
	char * out;
	size_t size = strlen(s) + 16;

	if ((out = malloc(size)) == NULL)
		return (NULL);
	if ((at = strstr(s, "{}")) == NULL)
		snprintf(out, size, "%s", s);
	else
		snprintf(out, size, "%.*s%d%s", (int)(at - s), s, number,
		    at + 2);
	return (out);
}

/* With --parallel, each job has an archive of its own. */
static int
open_store(struct job * j)
{
	const struct args * a = j->a;
	char dir[4096];

	if ((j->type != 'B') || j->estimate || j->foreign)
		return (0);
	if (a->parallel > 1)
		snprintf(dir, sizeof(dir), "%s/job%d", a->stores.s[0],
		    j->number);
	else
		snprintf(dir, sizeof(dir), "%s", a->stores.s[0]);
	j->out = store_create(dir, j->L->name, j->jobid, j->level);
	if (j->out == NULL)
		fprintf(stderr, "fdhost: cannot create %s\n", dir);
	return ((j->out == NULL) ? -1 : 0);
}

/* What is restored, the oldest archive first. */
static int
open_stores(struct job * j)
{
	const struct args * a = j->a;
	char dir[4096];

	if ((j->type != 'R') || j->foreign)
		return (0);
	for (j->nstores = 0; j->nstores < a->stores.n; j->nstores++) {
		if (a->parallel > 1)
			snprintf(dir, sizeof(dir), "%s/job%d",
			    a->stores.s[j->nstores], j->number);
		else
			snprintf(dir, sizeof(dir), "%s",
			    a->stores.s[j->nstores]);
		if ((j->stores[j->nstores] = store_open(dir)) == NULL) {
			fprintf(stderr, "fdhost: cannot read %s\n", dir);
			return (-1);
		}
	}
	return (0);
}

/* The unique name that a Director gives the job ${id}. */
static void
unique_name(char * name, size_t len, uint32_t id)
{

	snprintf(name, len, "fdhost.2026-01-01_00.00.00_%02u", id);
}

/**
 * job_init(j, h, a, number, type):
 * Prepare the job number ${number} of type ${type}.
 */
int
job_init(struct job * j, struct host * h, const struct args * a, int number,
    char type)
{
	size_t i, len;

	j->h = h;
	j->L = h->L;
	j->a = a;
	j->number = number;
	j->type = type;
	j->level = (type == 'R') ? ' ' : a->level;
	j->estimate = (strcmp(a->command, "estimate") == 0);
	j->foreign = (strcmp(a->command, "foreign") == 0);
	j->bfd.fid = -1;
	atomic_store(&j->status, 'R');
	pthread_mutex_init(&j->heap.lock, NULL);
	if (slots_new(&j->slots))
		goto err0;
	if ((j->iobuf = malloc(j->L->bufsize + 2 * GUARD)) == NULL)
		goto err0;
	for (i = 0; i < a->filesets.n; i++) {
		if ((j->cmds[i] = numbered(a->filesets.s[i], number)) == NULL)
			goto err0;
	}
	if ((a->where != NULL) && (strcmp(a->where, "/") != 0)) {
		snprintf(j->where, sizeof(j->where), "%s", a->where);
		len = strlen(j->where);
		if ((len > 1) && (j->where[len - 1] == '/'))
			j->where[len - 1] = '\0';
	}
	if ((type == 'B') && previous_load(j))
		goto err0;

	/* An estimate has no JobId; a job comes after the previous one. */
	j->jobid = j->estimate ? 0 : a->jobid + (uint32_t)number - 1;
	if (!j->estimate && (j->previous != NULL))
		j->jobid += j->previous->jobid;
	unique_name(j->name, sizeof(j->name),
	    j->estimate ? a->jobid + (uint32_t)number - 1 : j->jobid);
	if (j->previous != NULL)
		unique_name(j->previous_name, sizeof(j->previous_name),
		    j->previous->jobid);
	if (open_store(j) || open_stores(j))
		goto err0;
	if (j->estimate && (a->listing != NULL)) {
		if ((j->listing = fopen(a->listing, "we")) == NULL) {
			perror(a->listing);
			goto err0;
		}
	}

	/* Success! */
	return (0);

err0:
	/* Failure! */
	return (-1);
}

/**
 * job_free(j):
 * Release what the job ${j} holds.
 */
void
job_free(struct job * j)
{
	size_t i;

	if (store_close(j->out, (char)atomic_load(&j->status)))
		fprintf(stderr, "fdhost: cannot write the archive\n");
	if (j->listing != NULL)
		fclose(j->listing);
	for (i = 0; i < MAX_LIST; i++)
		free(j->cmds[i]);
	free(j->iobuf);
	names_free(&j->names);
	names_free(&j->seen);
	store_free(j->previous);
	for (i = 0; i < MAX_LIST; i++)
		store_free(j->stores[i]);
	slots_free(&j->slots);
	pthread_mutex_destroy(&j->heap.lock);
}
