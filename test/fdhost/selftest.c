/* SPDX-License-Identifier: AGPL-3.0-only */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "selfrun.h"
#include "selftab.h"
#include "selftest.h"
#include "sha256.h"

/* A run of the good plugin, which must be clean. */
#define CLEAN(what, ...) do {						\
	int rc_ = self_run(NULL, "--layout", L, "--plugin", self_good,	\
	    __VA_ARGS__, NULL);						\
	if ((rc_ != 0) || (strstr(self_out, "violation ") != NULL))	\
		wrongs += self_wrong(L, what, rc_);			\
} while (0)

/* Compare a restored file with what the listing of the archive says. */
static int
same(const char * L, const char * dir, const char * name)
{
	struct sha256 s;
	char buf[65536], hex[80];
	ssize_t n;
	int fd;

	if ((fd = open(self_path("%s/tiny/%s", dir, name), O_RDONLY)) == -1)
		return (self_wrong(L, name, errno));
	sha256_init(&s);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		sha256_add(&s, buf, (size_t)n);
	close(fd);
	memcpy(hex, "sha256=", 7);
	sha256_hex(&s, hex + 7);
	if (strstr(self_out, hex) == NULL)
		return (self_wrong(L, name, 0));
	return (0);
}

static int
check_tree(const char * L, const char * store, const char * dir)
{
	struct stat a, b;
	char target[64];
	ssize_t n;
	int wrongs = 0;

	self_run(NULL, "list", "--store", store, NULL);
	wrongs += same(L, dir, "etc/hello.txt");
	wrongs += same(L, dir, "data/big.bin");
	wrongs += same(L, dir, "data/sparse.img");
	wrongs += same(L, dir, "data/odd \n%s%n\xff\\ name");
	if ((lstat(self_path("%s/tiny/data/link-a", dir), &a) == -1) ||
	    (lstat(self_path("%s/tiny/data/link-b", dir), &b) == -1) ||
	    (a.st_ino != b.st_ino) || (a.st_mtime != 1700000000))
		wrongs += self_wrong(L, "hard link", 0);
	n = readlink(self_path("%s/tiny/data/symlink", dir), target,
	    sizeof(target));
	if ((n != 16) || (memcmp(target, "../etc/hello.txt", 16) != 0))
		wrongs += self_wrong(L, "symlink", 0);
	return (wrongs);
}

/* Everything that a daemon does with a plugin that is as it should be. */
static int
good_layout(const char * L)
{
	static char store[2 * PATH_MAX], two[2 * PATH_MAX];
	static char many[2 * PATH_MAX], dir[2 * PATH_MAX];
	static char list[2 * PATH_MAX], rename[2 * PATH_MAX];
	int wrongs = 0;

	strcpy(store, self_path("%s/%s", self_tmp, L));
	strcpy(two, self_path("%s/%s.two", self_tmp, L));
	strcpy(many, self_path("%s/%s.many", self_tmp, L));
	strcpy(dir, self_path("%s/%s.restored", self_tmp, L));
	strcpy(list, self_path("%s/%s.list", self_tmp, L));
	strcpy(rename, self_path("^/tiny=%s/tiny", dir));
	mkdir(many, 0777);
	CLEAN("load", "load");
	CLEAN("foreign", "foreign");
	CLEAN("backup", "backup", "--fileset", "good:x", "--store", store);
	CLEAN("restore", "restore", "--store", store, "--where", dir);
	wrongs += check_tree(L, store, dir);
	CLEAN("offsets", "backup", "--fileset", "good:offsets", "--store",
	    two);
	CLEAN("restore of offsets", "restore", "--store", two, "--where",
	    dir);
	wrongs += check_tree(L, two, dir);
	CLEAN("estimate", "estimate", "--fileset", "good:x", "--listing",
	    list);
	CLEAN("options", "backup", "--fileset", "good:x", "--store", two,
	    "--job-options", "good:y", "--job-options", "other:z",
	    "--order", "options,fileset,level", "--flags",
	    "hardlinks,xattr,encrypt,noatime");
	CLEAN("two lines", "backup", "--fileset", "good:x", "--fileset",
	    "good:second", "--store", two);
	CLEAN("incremental", "backup", "--fileset", "good:x", "--store", two,
	    "--level", "I", "--since", "1600000000", "--previous", store);
	CLEAN("accurate", "backup", "--fileset", "good:x", "--store", two,
	    "--level", "I", "--since", "1800000000", "--accurate",
	    "--previous", store);
	if (strstr(self_out, "entries=1 ") == NULL)
		wrongs += self_wrong(L, "more than the object", 0);
	CLEAN("restore of two", "restore", "--store", store, "--store", two,
	    "--where", dir, "--no-objects", "--parts", "3");
	CLEAN("rename", "restore", "--store", store, "--rename",
	    rename, "--select", "/tiny/etc/", "--replace", "n");
	CLEAN("cancel", "backup", "--fileset", "good:x", "--store", two,
	    "--cancel-at", "4");
	CLEAN("cancel of a restore", "restore", "--store", store, "--where",
	    dir, "--cancel-at", "4");
	CLEAN("early death", "backup", "--fileset", "good:x", "--store", two,
	    "--die-early=3");
	CLEAN("earlier death", "backup", "--fileset", "good:x", "--store",
	    two, "--die-early=0");
	CLEAN("two ends", "backup", "--fileset", "good:x", "--store", two,
	    "--end-twice");
	CLEAN("storm", "backup", "--fileset", "good:x", "--store", two,
	    "--storm=100");
	CLEAN("end of the daemon", "backup", "--fileset", "good:x",
	    "--store", two, "--term-at", "4");
	CLEAN("parallel", "backup", "--fileset", "good:{}", "--store", many,
	    "--parallel", "4", "--storm");
	return (wrongs);
}

/* Play what shows a fault. */
static int
play(const struct fault_case * f, const char * L, const char * store)
{
	char * two = self_path("%s/bad", self_tmp);

	switch (f->play) {
	case PLAY_LOAD:
		return (self_run(f->fault, "--layout", L, "--plugin", self_bad,
		    "load", NULL));
	case PLAY_REFUSE:
		return (self_run(f->fault, "--iface", "99,176", "--plugin",
		    self_bad, "refuse", NULL));
	case PLAY_BACKUP:
		return (self_run(f->fault, "--layout", L, "--plugin", self_bad,
		    "backup", "--fileset", "bad:x", "--store", two,
		    "--timeout", "2", "--max-threads", "10", "--settle", "100",
		    NULL));
	case PLAY_PREVIOUS:
		return (self_run(f->fault, "--layout", L, "--plugin", self_bad,
		    "backup", "--fileset", "bad:x", "--store", two,
		    "--previous", store, NULL));
	case PLAY_ACCURATE:
		return (self_run(f->fault, "--layout", L, "--plugin", self_bad,
		    "backup", "--fileset", "bad:x", "--store", two, "--level",
		    "I", "--accurate", "--previous", store, NULL));
	case PLAY_ENCRYPT:
		return (self_run(f->fault, "--layout", L, "--plugin", self_bad,
		    "backup", "--fileset", "bad:offsets", "--store", two,
		    "--flags", "encrypt", NULL));
	case PLAY_OFFSETS:
		return (self_run(f->fault, "--layout", L, "--plugin", self_bad,
		    "backup", "--fileset", "bad:offsets", "--store", two,
		    NULL));
	case PLAY_CANCEL:
		return (self_run(f->fault, "--layout", L, "--plugin", self_bad,
		    "backup", "--fileset", "bad:x", "--store", two,
		    "--cancel-at", "4", NULL));
	case PLAY_RESTORE:
		return (self_run(f->fault, "--layout", L, "--plugin", self_bad,
		    "restore", "--store", store, "--where", two, NULL));
	default:
		return (self_run(f->fault, "--layout", L, "--plugin", self_bad,
		    "foreign", NULL));
	}
}

/* One fault, in all layouts that it concerns. */
static int
bad_case(const struct fault_case * f)
{
	const struct layout * L;
	char text[128];
	int wrongs = 0, status, tries;
	size_t i;

	snprintf(text, sizeof(text), "violation %s: ", f->violation);
	for (i = 0; (L = layout_get(i)) != NULL; i++) {
		if ((f->layouts & (1U << i)) == 0)
			continue;

		/* What two threads do is seen now or later. */
		for (tries = f->race ? 20 : 1; tries > 0; tries--) {
			status = play(f, L->name,
			    self_path("%s/%s.bad", self_tmp, L->name));
			if (strstr(self_out, text) != NULL)
				break;
		}
		if ((status != 1) || (strstr(self_out, text) == NULL))
			wrongs += self_wrong(L->name, f->fault, status);
	}
	return (wrongs != 0);
}

/*
 * What is no violation, but no success either: the plugin ends the job with a
 * message of its own, or leaves files to the core.
 */
static int
outcomes(void)
{
	static const struct {
		struct fault_case f;
		int status;
	} cases[] = {
		{ { "fatal", "", PLAY_BACKUP, ALL, false }, 3 },
		{ { "create-core", "", PLAY_RESTORE, ALL, false }, 0 },
		{ { "create-fail", "", PLAY_RESTORE, ALL, false }, 4 }
	};
	const struct layout * L;
	int wrongs = 0, status;
	size_t i, k;

	for (k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		for (i = 0; (L = layout_get(i)) != NULL; i++) {
			if ((cases[k].f.layouts & (1U << i)) == 0)
				continue;
			status = play(&cases[k].f, L->name,
			    self_path("%s/%s.bad", self_tmp, L->name));
			if ((status != cases[k].status) ||
			    (strstr(self_out, "violation ") != NULL))
				wrongs += self_wrong(L->name,
				    cases[k].f.fault, status);
		}
	}
	return (wrongs);
}

/* Interfaces that no plugin knows. */
static int
refusals(void)
{
	static const char * const ifaces[] = {
		"9,144", "21,144", "22,168", "7,144", "99,176"
	};
	int wrongs = 0, status;
	size_t i;

	for (i = 0; i < sizeof(ifaces) / sizeof(ifaces[0]); i++) {
		status = self_run(NULL, "--iface", ifaces[i], "--plugin", self_good,
		    NULL);
		if (status != 0)
			wrongs += self_wrong(ifaces[i], "refuse", status);
	}
	return (wrongs);
}

/**
 * selftest(a):
 * Play the good plugin in all layouts, which must be clean, and each fault of
 * the bad one, which must be found.  Return 0 if all is as expected.
 */
int
selftest(const struct args * a)
{
	const struct layout * L;
	const struct fault_case * f;
	int layouts = 0, clean = 0, faults = 0, found = 0, wrongs;
	size_t i;

	if (self_begin(a->plugin)) {
		fprintf(stderr, "fdhost selftest: cannot begin\n");
		return (2);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	wrongs = refusals();
	for (i = 0; (L = layout_get(i)) != NULL; i++) {
		layouts++;
		if (good_layout(L->name) == 0)
			clean++;

		/* Without a fault, the bad plugin is as good. */
		if (self_run(NULL, "--layout", L->name, "--plugin", self_bad,
		    "backup", "--fileset", "bad:x", "--store",
		    self_path("%s/%s.bad", self_tmp, L->name), NULL) != 0)
			wrongs += self_wrong(L->name, "no fault", 0);
	}
	wrongs += outcomes();
	for (f = fault_cases; f->fault != NULL; f++) {
		faults++;
		if (bad_case(f) == 0)
			found++;
	}
	self_end();
	printf("fdhost selftest: layouts=%d faults=%d/%d\n", clean, found,
	    faults);
	return (((clean == layouts) && (found == faults) && (wrongs == 0)) ?
	    0 : 1);
}
