/* SPDX-License-Identifier: AGPL-3.0-only */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"

/* Long options have no letters; their numbers start here. */
enum {
	O_LAYOUT = 256, O_PLUGIN, O_IFACE, O_FILESET, O_JOBOPTIONS, O_ORDER,
	O_LEVEL, O_SINCE, O_ACCURATE, O_PREVIOUS, O_FLAGS, O_STORE, O_LISTING,
	O_WHERE, O_REGEXWHERE, O_RENAME, O_SELECT, O_REPLACE, O_PREFIXLINKS,
	O_NOOBJECTS, O_PARTS, O_PARALLEL, O_CANCELAT, O_DIEEARLY, O_TERMAT,
	O_STORM, O_ENDTWICE, O_TIMEOUT, O_MAXTHREADS, O_SETTLE,
	O_WORKDIR, O_JOBID, O_JSON
};

static const struct option options[] = {
	{ "layout", required_argument, NULL, O_LAYOUT },
	{ "plugin", required_argument, NULL, O_PLUGIN },
	{ "iface", required_argument, NULL, O_IFACE },
	{ "fileset", required_argument, NULL, O_FILESET },
	{ "job-options", required_argument, NULL, O_JOBOPTIONS },
	{ "order", required_argument, NULL, O_ORDER },
	{ "level", required_argument, NULL, O_LEVEL },
	{ "since", required_argument, NULL, O_SINCE },
	{ "accurate", no_argument, NULL, O_ACCURATE },
	{ "previous", required_argument, NULL, O_PREVIOUS },
	{ "flags", required_argument, NULL, O_FLAGS },
	{ "store", required_argument, NULL, O_STORE },
	{ "listing", required_argument, NULL, O_LISTING },
	{ "where", required_argument, NULL, O_WHERE },
	{ "regexwhere", no_argument, NULL, O_REGEXWHERE },
	{ "rename", required_argument, NULL, O_RENAME },
	{ "select", required_argument, NULL, O_SELECT },
	{ "replace", required_argument, NULL, O_REPLACE },
	{ "prefix-links", no_argument, NULL, O_PREFIXLINKS },
	{ "no-objects", no_argument, NULL, O_NOOBJECTS },
	{ "parts", required_argument, NULL, O_PARTS },
	{ "parallel", required_argument, NULL, O_PARALLEL },
	{ "cancel-at", required_argument, NULL, O_CANCELAT },
	{ "die-early", optional_argument, NULL, O_DIEEARLY },
	{ "term-at", required_argument, NULL, O_TERMAT },
	{ "storm", optional_argument, NULL, O_STORM },
	{ "end-twice", no_argument, NULL, O_ENDTWICE },
	{ "timeout", required_argument, NULL, O_TIMEOUT },
	{ "max-threads", required_argument, NULL, O_MAXTHREADS },
	{ "settle", required_argument, NULL, O_SETTLE },
	{ "workdir", required_argument, NULL, O_WORKDIR },
	{ "jobid", required_argument, NULL, O_JOBID },
	{ "json", no_argument, NULL, O_JSON },
	{ NULL, 0, NULL, 0 }
};

static const struct {
	const char * name;
	int bit;
} flag_names[] = {
	{ "hardlinks", -1 }, { "compress", FO_COMPRESS },
	{ "sparse", FO_SPARSE }, { "acl", FO_ACL }, { "xattr", FO_XATTR },
	{ "encrypt", FO_ENCRYPT }, { "force-encrypt", FO_FORCE_ENCRYPT },
	{ "noatime", FO_NOATIME }, { "mtimeonly", FO_MTIMEONLY }
};

#define NFLAGS (sizeof(flag_names) / sizeof(flag_names[0]))

/**
 * args_usage(void):
 * Write a summary of the command line to standard error.
 */
void
args_usage(void)
{

	fprintf(stderr,
"usage: fdhost [options] --layout LAYOUT --plugin NAME-fd.so COMMAND\n"
"  LAYOUT: bareos17 bareos21 bareos22 bareos23 bareos25 bareos26 bacula9\n"
"          bacula15\n"
"  backup   --fileset STRING... --store DIR [--job-options STRING]...\n"
"           [--level F|I|D] [--since TIME] [--accurate] [--previous DIR]...\n"
"           [--flags hardlinks,xattr,acl,sparse,compress,encrypt,\n"
"                    force-encrypt,noatime,mtimeonly]\n"
"  estimate --fileset STRING... [--listing FILE] [--level ...]\n"
"  restore  --store DIR... [--where DIR | --regexwhere] [--rename OLD=NEW]...\n"
"           [--select PREFIX]... [--replace a|w|o|n] [--prefix-links]\n"
"           [--no-objects] [--parts N] [--job-options STRING]...\n"
"  foreign  [--job-options STRING]...\n"
"  load     load, check, unload\n"
"  refuse   --iface VERSION,SIZE (without --layout)\n"
"  list     --store DIR [--json] (alone)\n"
"  checks   the list of violations (alone)\n"
"  selftest [--plugin DIR] (alone)\n"
"  trouble: --parallel N --cancel-at N --die-early[=N] --term-at N\n"
"           --storm[=US] --end-twice --order level,fileset,options,objects\n"
"           --timeout SECONDS --max-threads N --settle MILLISECONDS\n"
"  daemon:  --workdir DIR --jobid N\n");
}

static int
add(struct list * l, const char * s)
{

	if (l->n == MAX_LIST) {
		fprintf(stderr, "fdhost: too many: %s\n", s);
		return (-1);
	}
	l->s[l->n++] = s;
	return (0);
}

static int
number(const char * s, long * n)
{
	char * end;

	errno = 0;
	*n = strtol(s, &end, 0);
	if ((*s == '\0') || (*end != '\0') || (errno != 0) || (*n < 0)) {
		fprintf(stderr, "fdhost: not a number: %s\n", s);
		return (-1);
	}
	return (0);
}

static int
parse_flags(const char * s, uint64_t * flags)
{
	size_t i, len;

	*flags = 1ULL << FO_NO_HARDLINK;
	while (*s != '\0') {
		len = strcspn(s, ",");
		for (i = 0; i < NFLAGS; i++) {
			if ((strncmp(s, flag_names[i].name, len) == 0) &&
			    (flag_names[i].name[len] == '\0'))
				break;
		}
		if (i == NFLAGS) {
			fprintf(stderr, "fdhost: unknown flag: %s\n", s);
			return (-1);
		}
		if (flag_names[i].bit == -1)
			*flags &= ~(1ULL << FO_NO_HARDLINK);
		else
			*flags |= 1ULL << flag_names[i].bit;
		s += len + (s[len] == ',');
	}
	return (0);
}

/* One of the letters in ${set}. */
static int
letter(const char * s, const char * set, char * c)
{

	if ((strlen(s) != 1) || (strchr(set, *s) == NULL)) {
		fprintf(stderr, "fdhost: not one of %s: %s\n", set, s);
		return (-1);
	}
	*c = *s;
	return (0);
}

static int
parse_iface(struct args * a, const char * s)
{

	if (sscanf(s, "%u,%u", &a->iface, &a->iface_size) != 2) {
		fprintf(stderr, "fdhost: --iface VERSION,SIZE\n");
		return (-1);
	}
	a->iface_set = true;
	return (0);
}

static int
parse_count(int c, struct args * a, const char * s)
{
	long n;

	if (number(s, &n))
		return (-1);
	switch (c) {
	case O_SINCE:		a->since = n; break;
	case O_PARTS:		a->parts = (unsigned int)n; break;
	case O_PARALLEL:	a->parallel = (unsigned int)n; break;
	case O_CANCELAT:	a->cancel_at = n; break;
	case O_DIEEARLY:	a->die_early = n; break;
	case O_TERMAT:		a->term_at = n; break;
	case O_STORM:		a->storm = n; break;
	case O_TIMEOUT:		a->timeout = (unsigned int)n; break;
	case O_JOBID:		a->jobid = (uint32_t)n; break;
	case O_SETTLE:		a->settle = (unsigned int)n; break;
	default:		a->max_threads = (unsigned int)n; break;
	}
	return (0);
}

static int
parse_one(int c, struct args * a, const char * s)
{

	switch (c) {
	case O_LAYOUT:
		if ((a->L = layout_find(s)) == NULL)
			fprintf(stderr, "fdhost: unknown layout: %s\n", s);
		return ((a->L == NULL) ? -1 : 0);
	case O_PLUGIN:		a->plugin = s; return (0);
	case O_IFACE:		return (parse_iface(a, s));
	case O_FILESET:		return (add(&a->filesets, s));
	case O_JOBOPTIONS:	return (add(&a->joboptions, s));
	case O_ORDER:		a->order = s; return (0);
	case O_LEVEL:		return (letter(s, "FID", &a->level));
	case O_ACCURATE:	a->accurate = true; return (0);
	case O_PREVIOUS:	return (add(&a->previous, s));
	case O_FLAGS:		return (parse_flags(s, &a->flags));
	case O_STORE:		return (add(&a->stores, s));
	case O_LISTING:		a->listing = s; return (0);
	case O_WORKDIR:		a->workdir = s; return (0);
	case O_WHERE:		a->where = s; return (0);
	case O_REGEXWHERE:	a->regexwhere = true; return (0);
	case O_RENAME:		return (add(&a->renames, s));
	case O_SELECT:		return (add(&a->selects, s));
	case O_REPLACE:		return (letter(s, "awon", &a->replace));
	case O_PREFIXLINKS:	a->prefix_links = true; return (0);
	case O_NOOBJECTS:	a->no_objects = true; return (0);
	case O_ENDTWICE:	a->end_twice = true; return (0);
	case O_JSON:		a->json = true; return (0);
	case '?':		return (-1);
	default:
		/* Numbers; some may be left out. */
		if (s == NULL)
			s = (c == O_STORM) ? "1000" : "1";
		return (parse_count(c, a, s));
	}
}

/* What a command needs. */
static int
complete(const struct args * a)
{
	const char * c = a->command;
	bool job = true;

	if ((strcmp(c, "list") == 0) || (strcmp(c, "checks") == 0) ||
	    (strcmp(c, "selftest") == 0) || (strcmp(c, "refuse") == 0))
		job = false;
	if ((strcmp(c, "refuse") == 0) &&
	    (!a->iface_set || (a->plugin == NULL))) {
		fprintf(stderr, "fdhost: refuse needs --iface and --plugin\n");
		return (-1);
	}
	if (job && ((a->L == NULL) || (a->plugin == NULL))) {
		fprintf(stderr, "fdhost: --layout and --plugin are needed\n");
		return (-1);
	}
	if (((strcmp(c, "backup") == 0) || (strcmp(c, "restore") == 0) ||
	    (strcmp(c, "list") == 0)) && (a->stores.n == 0)) {
		fprintf(stderr, "fdhost: --store is needed\n");
		return (-1);
	}
	if (((strcmp(c, "backup") == 0) || (strcmp(c, "estimate") == 0)) &&
	    (a->filesets.n == 0)) {
		fprintf(stderr, "fdhost: --fileset is needed\n");
		return (-1);
	}
	return (0);
}

/**
 * args_parse(a, argc, argv):
 * Fill ${a} from the command line.  Say what is wrong, and return -1, if it
 * cannot be understood.
 */
int
args_parse(struct args * a, int argc, char ** argv)
{
	int c;

	memset(a, 0, sizeof(*a));
	a->level = 'F';
	a->replace = 'a';
	a->parallel = 1;
	a->cancel_at = a->die_early = a->term_at = -1;
	a->timeout = 120;
	a->max_threads = 64;
	a->settle = 2000;
	a->jobid = 1;
	a->workdir = "/var/lib/fdhost";
	a->flags = (1ULL << FO_XATTR) | (1ULL << FO_ACL);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (parse_one(c, a, optarg))
			return (-1);
	}
	if ((optind == argc) && a->iface_set)
		a->command = "refuse";
	else if (optind + 1 == argc)
		a->command = argv[optind];
	else {
		fprintf(stderr, "fdhost: one command is needed\n");
		return (-1);
	}
	if (a->parallel == 0)
		a->parallel = 1;
	return (complete(a));
}
