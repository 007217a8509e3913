/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "core.h"

/* What an accurate job compares: mtime, ctime, size. */
static bool
differs(const struct stat * a, const struct stat * b)
{

	return ((a->st_mtime != b->st_mtime) || (a->st_ctime != b->st_ctime) ||
	    (a->st_size != b->st_size));
}

/* Look the file up in the list of the previous job. */
static bool
accurate_changed(struct job * j, const char * name, const struct stat * st,
    bool * found)
{
	struct name * e;

	e = names_get(&j->seen, name, strlen(name));
	if ((e == NULL) || (e->type == FT_DELETED))
		return (true);
	*found = true;
	e->seen = true;
	return (differs(&e->st, st));
}

/*
 * With Strip Path an accurate job cuts both names in place, and puts them back (strip
 * here: the first byte).  It asks for a second name whatever the file is.
 */
static void
strip(struct job * j, const struct pkt * p)
{
	static const char * const names[] = { "fname", "link" };
	char * name, first;
	size_t i;

	if ((pkt_geti(p, "type") == FT_LNK) ||
	    (pkt_getp(p, "link") == pkt_getp(p, "fname")))
		return;
	for (i = 0; i < 2; i++) {
		if ((name = pkt_getp(p, names[i])) == NULL) {
			violate(j->number, "core-argument",
			    "checkChanges without %s, which Strip Path cuts",
			    names[i]);
			return;
		}
		first = name[0];
		name[0] = '\0';
		name[0] = first;
	}
}

/**
 * core_check_changes(ctx, sp):
 * Say whether the file of a save packet changed.
 */
int
core_check_changes(void * ctx, void * sp)
{
	struct job * j;
	struct pkt p;
	struct stat st;
	char * name;
	bool found = false, changed = true;
	int64_t since;

	if ((j = core_enter(ctx, "checkChanges", CORE_ACTIVE)) == NULL)
		return (RC_ERROR);
	if (sp == NULL)
		return (RC_ERROR);

	/* The packet is the plugin's now; only look at it. */
	p.def = j->L->save;
	p.mem = sp;
	if (pkt_getp(&p, "fname") == NULL) {
		daemon_message(j, MT_FATAL,
		    "Command plugin: no fname in checkChanges packet");
		violate(j->number, "core-argument",
		    "checkChanges without fname");
		return (RC_ERROR);
	}
	pkt_getb(&p, "statp", &st);
	since = j->a->since;
	if (pkt_has(&p, "save_time") && (pkt_geti(&p, "save_time") != 0))
		since = pkt_geti(&p, "save_time");

	if (j->a->accurate && (j->level != 'F')) {
		strip(j, &p);
		/* A directory is looked up by link, which ends in '/'. */
		name = mem_string(pkt_getp(&p,
		    S_ISDIR(st.st_mode) ? "link" : "fname"));
		if (name != NULL)
			changed = accurate_changed(j, name, &st, &found);
		else
			violate(j->number, "core-argument",
			    "checkChanges without link for a directory");
		free(name);
	} else if (j->level != 'F')
		changed = (st.st_mtime >= since) ||
		    (((j->a->flags & (1ULL << FO_MTIMEONLY)) == 0) &&
		    (st.st_ctime >= since));

	pkt_seti(&p, "delta_seq", 0);
	pkt_seti(&p, "accurate_found", found);
	return (changed ? RC_OK : RC_SEEN);
}

/**
 * core_see(j, name):
 * Mark ${name} as seen in an accurate job.  Return -1 if there is no list.
 */
int
core_see(struct job * j, const char * name)
{
	struct name * e;

	if (!j->a->accurate || (j->level == 'F'))
		return (-1);
	if ((e = names_get(&j->seen, name, strlen(name))) != NULL)
		e->seen = true;
	return (0);
}
