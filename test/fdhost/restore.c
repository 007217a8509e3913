/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "escape.h"
#include "life.h"
#include "restore.h"

/* What is restored: the newest version of each name, in the order stored. */
struct pick {
	const struct store_reader * r;
	const struct entry * e;
};

struct picks {
	struct pick * p;
	size_t n;
};

static bool
selected(const struct job * j, const struct entry * e)
{
	size_t i;

	if (j->a->selects.n == 0)
		return (true);
	for (i = 0; i < j->a->selects.n; i++) {
		if (strncmp(e->name, j->a->selects.s[i],
		    strlen(j->a->selects.s[i])) == 0)
			return (true);
	}
	return (false);
}

static int
choose(struct job * j, struct picks * l)
{
	struct names done = { 0 };
	const struct entry * e;
	size_t i, k, total = 0;

	for (i = 0; i < j->nstores; i++)
		total += j->stores[i]->n;
	if ((l->p = calloc(total + 1, sizeof(l->p[0]))) == NULL)
		return (-1);

	/* From the last entry of the newest job back to the first. */
	l->n = total;
	for (i = j->nstores; i-- > 0;) {
		for (k = j->stores[i]->n; k-- > 0;) {
			e = &j->stores[i]->entries[k];
			if ((e->name == NULL) || (e->fi == 0) ||
			    (e->st.st_mode == 0))
				continue;
			if (names_get(&done, e->name, strlen(e->name)) != NULL)
				continue;
			names_add(&done, e->name, strlen(e->name));
			if ((e->type == FT_DELETED) || !selected(j, e))
				continue;
			l->n--;
			l->p[l->n].r = j->stores[i];
			l->p[l->n].e = e;
		}
	}
	memmove(l->p, &l->p[l->n], (total - l->n) * sizeof(l->p[0]));
	l->n = total - l->n;
	names_free(&done);
	return (0);
}

/* Bacula 15 asks every plugin what it can do. */
static void
send_features(struct job * j)
{
	const char * features = NULL;
	char * copy;

	if (j->L->ev_features == 0)
		return;
	event(j, j->L->ev_features, &features);
	if (features == NULL)
		return;
	if ((copy = mem_string(features)) == NULL)
		violate(j->number, "strings-gone",
		    "the features cannot be read");
	else
		say(j->number, "features %s", escape(copy));
	free(copy);
}

static void
play(struct job * j, struct picks * l)
{
	static _Thread_local struct back b;
	unsigned int parts = (j->a->parts == 0) ? 1 : j->a->parts;
	size_t i, each = l->n / parts + 1;

	/* One "restore" command per Storage Daemon or bootstrap. */
	for (i = 0; (i < l->n) || (i == 0); i++) {
		if ((i % each == 0) && !job_canceled(j))
			event(j, EV_START_RESTORE, NULL);
		if ((i >= l->n) || job_canceled(j))
			break;
		if ((j->a->die_early >= 0) &&
		    (i >= (size_t)j->a->die_early))
			break;
		b.r = l->p[i].r;
		b.e = l->p[i].e;
		restore_entry(j, &b);
	}
}

/**
 * restore_run(j):
 * Play a whole restore job.
 */
void
restore_run(struct job * j)
{
	struct picks l = { NULL, 0 };

	if (where_init(j) || choose(j, &l)) {
		say(j->number, "cannot restore");
		daemon_message(j, MT_FATAL, "fdhost: nothing to restore");
		return;
	}
	if (life_begin(j) == 0) {
		/* Bareos sends the options before the objects. */
		life_setup(j, "options,objects");
		send_features(j);
		play(j, &l);
		if (j->a->die_early < 0) {
			event(j, EV_END_RESTORE, NULL);
			if (j->a->end_twice)
				event(j, EV_END_RESTORE, NULL);
		}
		life_end(j);
	}
	where_free(j);
	free(l.p);
}
