/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup.h"
#include "checks.h"
#include "escape.h"

/* What one job says about its files replaces what earlier ones said. */
static int
merge(struct job * j, const struct store_reader * r)
{
	const struct entry * e;
	struct name * n;
	size_t i;

	for (i = 0; i < r->n; i++) {
		e = &r->entries[i];
		if ((e->name == NULL) || (e->st.st_mode == 0) || (e->fi == 0))
			continue;
		n = names_get(&j->seen, e->name, strlen(e->name));
		if (n == NULL)
			n = names_add(&j->seen, e->name, strlen(e->name));
		if (n == NULL)
			return (-1);
		n->st = e->st;
		n->type = e->type;
		n->fi = e->fi;
	}
	return (0);
}

/**
 * previous_load(j):
 * Read the archives of the jobs before this one; keep the last.
 */
int
previous_load(struct job * j)
{
	size_t i;

	for (i = 0; i < j->a->previous.n; i++) {
		store_free(j->previous);
		j->previous = store_open(j->a->previous.s[i]);
		if ((j->previous == NULL) || merge(j, j->previous)) {
			fprintf(stderr, "fdhost: cannot read %s\n",
			    j->a->previous.s[i]);
			return (-1);
		}
	}
	return (0);
}

/* Every plugin is asked whether a file that nobody saw is still there. */
static bool
kept(struct job * j, const char * name)
{
	char * lent;
	int rc;

	if ((j->h->f->checkFile == NULL) || j->disabled)
		return (false);
	lent = lend_string(j, name);
	call_enter(j, "checkFile");
	rc = j->h->f->checkFile(j->ctx.mem, lent);
	call_leave(j);
	return_string(j, lent, name, "checkFile");
	if ((rc == RC_SEEN) && j->foreign)
		violate(j->number, "checkfile", "%s", escape(name));
	return (rc == RC_SEEN);
}

/**
 * accurate_finish(j):
 * Store what is deleted since the last job.
 */
void
accurate_finish(struct job * j)
{
	struct entry e;
	struct name * n;
	size_t i;

	if (!j->a->accurate || (j->level == 'F'))
		return;
	for (i = 0; i < j->seen.size; i++) {
		n = j->seen.slots[i];
		if ((n == NULL) || n->seen || (n->type == FT_DELETED) ||
		    kept(j, n->name))
			continue;
		memset(&e, 0, sizeof(e));
		e.type = FT_DELETED;
		e.name = n->name;
		e.st.st_mode = n->st.st_mode;
		e.st.st_mtime = n->st.st_mtime;
		e.st.st_ctime = n->st.st_ctime;
		e.fi = ++j->files;
		say(j->number, "deleted %s", escape(n->name));
		if (j->out != NULL)
			store_entry(j->out, &e);
	}
}
