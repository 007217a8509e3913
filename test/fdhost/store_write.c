/* SPDX-License-Identifier: AGPL-3.0-only */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "escape.h"
#include "store.h"

struct store_writer {
	FILE * index;
	FILE * blob;
	int64_t pos;		/* End of the blob. */
	char ** cmds;
	size_t ncmds;
	uint32_t fi;		/* Records of data not written yet. */
	struct extent x;
};

static FILE *
create(int dirfd, const char * name)
{
	FILE * f;
	int fd;

	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
	    0666);
	if (fd == -1)
		return (NULL);
	if ((f = fdopen(fd, "w")) == NULL)
		close(fd);
	return (f);
}

/**
 * store_create(dir, layout, jobid, level):
 * Begin a new archive in ${dir}, which is made if it does not exist.
 */
struct store_writer *
store_create(const char * dir, const char * layout, uint32_t jobid, char level)
{
	struct store_writer * w;
	int dirfd;

	if ((w = calloc(1, sizeof(*w))) == NULL)
		goto err0;
	if (mkdir(dir, 0777) && (errno != EEXIST))
		goto err1;
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd == -1)
		goto err1;
	if ((w->index = create(dirfd, "index")) == NULL)
		goto err2;
	if ((w->blob = create(dirfd, "blob")) == NULL)
		goto err3;
	fprintf(w->index, "fdhost-store 1\njob layout=%s id=%" PRIu32
	    " level=%c\n", layout, jobid, level);
	close(dirfd);

	/* Success! */
	return (w);

err3:
	fclose(w->index);
err2:
	close(dirfd);
err1:
	free(w);
err0:
	/* Failure! */
	return (NULL);
}

/* Write the records of data that wait for more of their kind. */
static void
flush(struct store_writer * w)
{

	if (w->x.n != 0)
		fprintf(w->index, "data fi=%" PRIu32 " off=%" PRId64
		    " len=%" PRIu32 " n=%" PRIu32 " pos=%" PRId64 "\n",
		    w->fi, w->x.off, w->x.len, w->x.n, w->x.pos);
	w->x.n = 0;
}

static int64_t
blob(struct store_writer * w, const void * buf, size_t len)
{
	int64_t pos = w->pos;

	if ((len != 0) && (fwrite(buf, 1, len, w->blob) != len))
		return (-1);
	w->pos += (int64_t)len;
	return (pos);
}

/* Return the number of a Plugin = string, written once. */
static size_t
cmd_number(struct store_writer * w, const char * cmd)
{
	char ** cmds;
	size_t i;

	for (i = 0; i < w->ncmds; i++) {
		if (strcmp(w->cmds[i], cmd) == 0)
			return (i + 1);
	}
	cmds = realloc(w->cmds, (w->ncmds + 1) * sizeof(cmds[0]));
	if (cmds == NULL)
		return (0);
	w->cmds = cmds;
	if ((w->cmds[w->ncmds] = strdup(cmd)) == NULL)
		return (0);
	w->ncmds++;
	fprintf(w->index, "cmd n=%zu text=", w->ncmds);
	escape_put(w->index, cmd, strlen(cmd));
	putc('\n', w->index);
	return (w->ncmds);
}

static void
put_string(FILE * f, const char * key, const char * s)
{

	if ((s == NULL) || (*s == '\0'))
		return;
	fprintf(f, " %s=", key);
	escape_put(f, s, strlen(s));
}

/**
 * store_entry(w, e):
 * Add the entry ${e}, without its data and attributes.
 */
int
store_entry(struct store_writer * w, const struct entry * e)
{
	const struct stat * st = &e->st;
	size_t cmd;

	flush(w);
	cmd = cmd_number(w, (e->cmd == NULL) ? "" : e->cmd);
	fprintf(w->index, "entry fi=%" PRIu32 " type=%d cmd=%zu stream=%d "
	    "linkfi=%d delta=%" PRIu32 " mode=%o uid=%u gid=%u size=%" PRId64
	    " nlink=%" PRIu64 " dev=%" PRIu64 " ino=%" PRIu64 " rdev=%" PRIu64
	    " blksize=%ld blocks=%" PRId64 " atime=%" PRId64 " mtime=%" PRId64
	    " ctime=%" PRId64, e->fi, e->type, cmd, e->stream, e->linkfi,
	    e->delta, st->st_mode, st->st_uid, st->st_gid,
	    (int64_t)st->st_size, (uint64_t)st->st_nlink,
	    (uint64_t)st->st_dev, (uint64_t)st->st_ino,
	    (uint64_t)st->st_rdev, (long)st->st_blksize,
	    (int64_t)st->st_blocks, (int64_t)st->st_atime,
	    (int64_t)st->st_mtime, (int64_t)st->st_ctime);
	put_string(w->index, "name", e->name);
	put_string(w->index, "link", e->link);
	putc('\n', w->index);
	return (ferror(w->index) ? -1 : 0);
}

/**
 * store_object(w, e, data):
 * Add the restore object ${e} with e->len bytes of ${data}.
 */
int
store_object(struct store_writer * w, const struct entry * e,
    const void * data)
{
	int64_t pos;
	size_t cmd;

	flush(w);
	cmd = cmd_number(w, (e->cmd == NULL) ? "" : e->cmd);
	if ((pos = blob(w, data, (size_t)e->len)) == -1)
		return (-1);
	fprintf(w->index, "object fi=%" PRIu32 " type=%d cmd=%zu index=%d "
	    "len=%" PRId64 " pos=%" PRId64, e->fi, e->type, cmd, e->index,
	    e->len, pos);
	put_string(w->index, "name", e->name);
	putc('\n', w->index);
	return (ferror(w->index) ? -1 : 0);
}

/**
 * store_data(w, fi, off, buf, len):
 * Add a record of data of the entry ${fi} at the offset ${off}.
 */
int
store_data(struct store_writer * w, uint32_t fi, int64_t off,
    const void * buf, size_t len)
{
	struct extent * x = &w->x;
	int64_t pos;

	if ((pos = blob(w, buf, len)) == -1)
		return (-1);
	if ((x->n != 0) && (w->fi == fi) && (x->len == len) &&
	    (off == x->off + (int64_t)x->len * x->n) &&
	    (pos == x->pos + (int64_t)x->len * x->n)) {
		x->n++;
		return (0);
	}
	flush(w);
	w->fi = fi;
	x->off = off;
	x->pos = pos;
	x->len = (uint32_t)len;
	x->n = 1;
	return (0);
}

/**
 * store_attr(w, fi, func, name, nlen, value, vlen):
 * Add an attribute of the entry ${fi}.
 */
int
store_attr(struct store_writer * w, uint32_t fi, int func, const void * name,
    size_t nlen, const void * value, size_t vlen)
{
	int64_t pos;

	flush(w);
	if (((pos = blob(w, name, nlen)) == -1) ||
	    (blob(w, value, vlen) == -1))
		return (-1);
	fprintf(w->index, "attr fi=%" PRIu32 " func=%d nlen=%zu vlen=%zu "
	    "pos=%" PRId64 "\n", fi, func, nlen, vlen, pos);
	return (ferror(w->index) ? -1 : 0);
}

/**
 * store_failed(w, fi):
 * Note that the data of the entry ${fi} could not be opened.
 */
int
store_failed(struct store_writer * w, uint32_t fi)
{

	flush(w);
	fprintf(w->index, "failed fi=%" PRIu32 "\n", fi);
	return (ferror(w->index) ? -1 : 0);
}

static int
finish(FILE * f)
{
	int bad = ferror(f);

	return ((fclose(f) || bad) ? -1 : 0);
}

/**
 * store_close(w, status):
 * End the archive with the job status ${status}.
 */
int
store_close(struct store_writer * w, char status)
{
	int rc = 0;
	size_t i;

	if (w == NULL)
		return (0);
	flush(w);
	fprintf(w->index, "end status=%c\n", status);
	if (finish(w->index))
		rc = -1;
	if (finish(w->blob))
		rc = -1;
	for (i = 0; i < w->ncmds; i++)
		free(w->cmds[i]);
	free(w->cmds);
	free(w);
	return (rc);
}

/**
 * store_fd(w, i):
 * Return the descriptors of the archive, for ${i} from 0, then -1.
 */
int
store_fd(const struct store_writer * w, int i)
{

	if ((w == NULL) || (i > 1))
		return (-1);
	return (fileno((i == 0) ? w->index : w->blob));
}
