/* SPDX-License-Identifier: AGPL-3.0-only */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "escape.h"
#include "store.h"

/* Return the text behind " ${key}=" in ${line}, up to a blank. */
static char *
value(const char * line, const char * key)
{
	size_t klen = strlen(key);
	const char * p = line;
	char * s;

	while ((p = strchr(p, ' ')) != NULL) {
		p++;
		if ((strncmp(p, key, klen) != 0) || (p[klen] != '='))
			continue;
		p += klen + 1;
		if ((s = strndup(p, strcspn(p, " "))) == NULL)
			return (NULL);
		if (unescape(s) == -1) {
			free(s);
			return (NULL);
		}
		return (s);
	}
	return (NULL);
}

static int64_t
number(const char * line, const char * key, int base)
{
	char * s;
	int64_t n;

	if ((s = value(line, key)) == NULL)
		return (0);
	n = (int64_t)strtoull(s, NULL, base);
	free(s);
	return (n);
}

/* A table that grows by one member of ${size} bytes. */
static void *
more(void * table, size_t * n, size_t size)
{
	char * t;

	/* Double at every power of two. */
	if ((*n & (*n - 1)) == 0) {
		t = realloc(table, ((*n == 0) ? 1 : 2 * *n) * size);
		if (t == NULL)
			return (NULL);
		table = t;
	}
	memset((char *)table + *n * size, 0, size);
	(*n)++;
	return (table);
}

static int
read_stat(const char * line, struct stat * st)
{

	st->st_mode = (mode_t)number(line, "mode", 8);
	st->st_uid = (uid_t)number(line, "uid", 10);
	st->st_gid = (gid_t)number(line, "gid", 10);
	st->st_size = number(line, "size", 10);
	st->st_nlink = (nlink_t)number(line, "nlink", 10);
	st->st_dev = (dev_t)number(line, "dev", 10);
	st->st_ino = (ino_t)number(line, "ino", 10);
	st->st_rdev = (dev_t)number(line, "rdev", 10);
	st->st_blksize = number(line, "blksize", 10);
	st->st_blocks = number(line, "blocks", 10);
	st->st_atime = number(line, "atime", 10);
	st->st_mtime = number(line, "mtime", 10);
	st->st_ctime = number(line, "ctime", 10);
	return ((st->st_mode == 0) ? -1 : 0);
}

/* An "entry" or "object" line. */
static int
read_entry(struct store_reader * r, const char * line, char ** cmds,
    size_t ncmds)
{
	struct entry * e;
	size_t cmd = (size_t)number(line, "cmd", 10);

	if ((cmd == 0) || (cmd > ncmds))
		return (-1);
	e = more(r->entries, &r->n, sizeof(*e));
	if (e == NULL)
		return (-1);
	r->entries = e;
	e = &r->entries[r->n - 1];
	e->fi = (uint32_t)number(line, "fi", 10);
	e->type = (int)number(line, "type", 10);
	e->stream = (int)number(line, "stream", 10);
	e->linkfi = (int)number(line, "linkfi", 10);
	e->delta = (uint32_t)number(line, "delta", 10);
	e->index = (int)number(line, "index", 10);
	e->len = number(line, "len", 10);
	e->pos = number(line, "pos", 10);
	e->jobid = r->jobid;
	e->cmd = strdup(cmds[cmd - 1]);
	e->name = value(line, "name");
	e->link = value(line, "link");
	if (strncmp(line, "entry ", 6) == 0)
		return (read_stat(line, &e->st));
	return (0);
}

/* A "data", "attr" or "failed" line belongs to the entry before it. */
static int
read_part(struct store_reader * r, const char * line)
{
	struct entry * e;
	struct extent * x;
	struct attr * a;

	if (r->n == 0)
		return (-1);
	e = &r->entries[r->n - 1];
	if (e->fi != (uint32_t)number(line, "fi", 10))
		return (-1);
	if (strncmp(line, "data ", 5) == 0) {
		x = more(e->extents, &e->nextents, sizeof(*x));
		if (x == NULL)
			return (-1);
		e->extents = x;
		x = &e->extents[e->nextents - 1];
		x->off = number(line, "off", 10);
		x->len = (uint32_t)number(line, "len", 10);
		x->n = (uint32_t)number(line, "n", 10);
		x->pos = number(line, "pos", 10);
	} else if (strncmp(line, "attr ", 5) == 0) {
		a = more(e->attrs, &e->nattrs, sizeof(*a));
		if (a == NULL)
			return (-1);
		e->attrs = a;
		a = &e->attrs[e->nattrs - 1];
		a->func = (int)number(line, "func", 10);
		a->nlen = (uint32_t)number(line, "nlen", 10);
		a->vlen = (uint32_t)number(line, "vlen", 10);
		a->pos = number(line, "pos", 10);
	} else
		e->failed = true;
	return (0);
}

static int
read_line(struct store_reader * r, char * line, char *** cmds, size_t * ncmds)
{
	char * s;

	if (strncmp(line, "job ", 4) == 0) {
		r->jobid = (uint32_t)number(line, "id", 10);
		if ((s = value(line, "layout")) != NULL)
			snprintf(r->layout, sizeof(r->layout), "%s", s);
		free(s);
		if ((s = value(line, "level")) != NULL)
			r->level = *s;
		free(s);
		return (0);
	}
	if (strncmp(line, "cmd ", 4) == 0) {
		*cmds = more(*cmds, ncmds, sizeof(**cmds));
		if (*cmds == NULL)
			return (-1);
		(*cmds)[*ncmds - 1] = value(line, "text");
		return (((*cmds)[*ncmds - 1] == NULL) ? -1 : 0);
	}
	if ((strncmp(line, "entry ", 6) == 0) ||
	    (strncmp(line, "object ", 7) == 0))
		return (read_entry(r, line, *cmds, *ncmds));
	if (strncmp(line, "end ", 4) == 0)
		return (0);
	return (read_part(r, line));
}

/**
 * store_open(dir):
 * Read the archive in ${dir}.
 */
struct store_reader *
store_open(const char * dir)
{
	struct store_reader * r;
	char path[4096];
	char * line = NULL;
	char ** cmds = NULL;
	size_t ncmds = 0, size = 0, i;
	FILE * f;
	ssize_t n;
	int bad = 0;

	if ((r = calloc(1, sizeof(*r))) == NULL)
		goto err0;
	snprintf(path, sizeof(path), "%s/blob", dir);
	if ((r->blob = open(path, O_RDONLY | O_CLOEXEC)) == -1)
		goto err1;
	snprintf(path, sizeof(path), "%s/index", dir);
	if ((f = fopen(path, "re")) == NULL)
		goto err2;

	n = getline(&line, &size, f);
	if ((n <= 0) || (strcmp(line, "fdhost-store 1\n") != 0))
		bad = -1;
	while ((bad == 0) && ((n = getline(&line, &size, f)) > 0)) {
		line[strcspn(line, "\n")] = '\0';
		bad = read_line(r, line, &cmds, &ncmds);
	}
	if (bad)
		fprintf(stderr, "fdhost: %s: cannot read: %.60s\n", path, line);
	for (i = 0; i < ncmds; i++)
		free(cmds[i]);
	free(cmds);
	free(line);
	fclose(f);
	if (bad) {
		store_free(r);
		goto err0;
	}

	/* Success! */
	return (r);

err2:
	close(r->blob);
err1:
	free(r);
err0:
	/* Failure! */
	return (NULL);
}

/**
 * store_get(r, pos, len, buf):
 * Read ${len} bytes of the blob.
 */
int
store_get(const struct store_reader * r, int64_t pos, size_t len, void * buf)
{
	char * p = buf;
	ssize_t n;

	while (len > 0) {
		n = pread(r->blob, p, len, pos);
		if (n <= 0)
			return (-1);
		p += n;
		pos += n;
		len -= (size_t)n;
	}
	return (0);
}

/**
 * store_free(r):
 * Close the archive.
 */
void
store_free(struct store_reader * r)
{
	size_t i;

	if (r == NULL)
		return;
	for (i = 0; i < r->n; i++) {
		free(r->entries[i].name);
		free(r->entries[i].link);
		free(r->entries[i].cmd);
		free(r->entries[i].extents);
		free(r->entries[i].attrs);
	}
	free(r->entries);
	close(r->blob);
	free(r);
}
