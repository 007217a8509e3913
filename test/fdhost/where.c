/* SPDX-License-Identifier: AGPL-3.0-only */
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "checks.h"
#include "escape.h"
#include "restore.h"

/* One rule of --rename: what matches OLD first becomes NEW. */
struct rule {
	regex_t re;
	const char * new;
};

static _Thread_local struct rule rules[MAX_LIST];
static _Thread_local size_t nrules;

/**
 * where_init(j):
 * Prepare the rules that change names; say what is wrong with them.
 */
int
where_init(struct job * j)
{
	const char * text;
	const char * eq;
	size_t i, len;
	char * old;
	int rc;

	for (nrules = 0, i = 0; i < j->a->renames.n; i++) {
		text = j->a->renames.s[i];
		if ((eq = strchr(text, '=')) == NULL) {
			fprintf(stderr, "fdhost: --rename %s: no =\n", text);
			return (-1);
		}
		old = strndup(text, (size_t)(eq - text));
		rc = regcomp(&rules[i].re, old, REG_EXTENDED);
		len = strlen(j->regexwhere);
		snprintf(j->regexwhere + len, sizeof(j->regexwhere) - len,
		    "%s!%s!%s!", (i == 0) ? "" : ",", old, eq + 1);
		free(old);
		if (rc != 0) {
			fprintf(stderr, "fdhost: --rename %s\n", text);
			return (-1);
		}
		rules[i].new = eq + 1;
		nrules++;
	}
	return (0);
}

/**
 * where_free(j):
 * Forget the rules.
 */
void
where_free(struct job * j)
{
	size_t i;

	(void)j;
	for (i = 0; i < nrules; i++)
		regfree(&rules[i].re);
	nrules = 0;
}

static void
apply(const char * name, char * out, size_t size)
{
	static _Thread_local char in[NAME_SIZE];
	regmatch_t m;
	size_t i;

	snprintf(out, size, "%s", name);
	for (i = 0; i < nrules; i++) {
		snprintf(in, sizeof(in), "%s", out);
		if (regexec(&rules[i].re, in, 1, &m, 0) != 0)
			continue;
		snprintf(out, size, "%.*s%s%s", (int)m.rm_so, in,
		    rules[i].new, in + m.rm_eo);
	}
}

/* A name below the prefix. */
static void
below(const char * where, const char * name, char * out, size_t size)
{
	size_t len = strlen(where);
	bool slash = (where[len - 1] == '/') || (name[0] == '/');

	snprintf(out, size, "%s%s%s", where, slash ? "" : "/", name);
}

static void
find_names(struct job * j, struct back * b)
{
	const struct entry * e = b->e;
	const char * link = (e->link == NULL) ? "" : e->link;
	bool links = (e->type == FT_LNKSAVED) || (e->type == FT_LNK);
	bool prefix = (e->type == FT_LNKSAVED) || j->a->prefix_links;

	b->olname[0] = '\0';
	if ((nrules > 0) || j->a->regexwhere) {
		apply(e->name, b->ofname, sizeof(b->ofname));
		if (links && prefix)
			apply(link, b->olname, sizeof(b->olname));
		else if (links)
			snprintf(b->olname, sizeof(b->olname), "%s", link);
		return;
	}
	if (j->where[0] == '\0') {
		/* A directory was sent without its link. */
		snprintf(b->ofname, sizeof(b->ofname), "%s", e->name);
		if (links)
			snprintf(b->olname, sizeof(b->olname), "%s", link);
		return;
	}
	below(j->where, e->name, b->ofname, sizeof(b->ofname));
	if (links && prefix && (link[0] == '/'))
		below(j->where, link, b->olname, sizeof(b->olname));
	else if (links)
		snprintf(b->olname, sizeof(b->olname), "%s", link);
}

/**
 * where_names(j, b):
 * Find the names that the entry ${b} gets.
 */
void
where_names(struct job * j, struct back * b)
{

	find_names(j, b);
	if ((strlen(b->ofname) == sizeof(b->ofname) - 1) ||
	    (strlen(b->olname) == sizeof(b->olname) - 1))
		violate(j->number, "name-cut", "%s", escape(b->e->name));
}
