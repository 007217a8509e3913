/* SPDX-License-Identifier: AGPL-3.0-only */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "backup.h"
#include "bfd.h"
#include "checks.h"
#include "escape.h"
#include "xattr.h"

static bool
flag(uint64_t flags, int bit)
{

	return ((flags >> bit) & 1);
}

/* The second name of an inode becomes a link to the first: Bareos only. */
static void
make_hard_link(struct job * j, struct item * it, struct name ** linked)
{
	struct entry * e = &it->e;
	struct name * n;

	*linked = NULL;
	if ((j->L->family == BACULA) || flag(j->a->flags, FO_NO_HARDLINK) ||
	    (e->st.st_nlink < 2) || (it->data != NULL))
		return;
	switch (e->st.st_mode & S_IFMT) {
	case S_IFREG:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		break;
	default:
		return;
	}
	n = inodes_get(&j->names, e->st.st_dev, e->st.st_ino);
	if (n == NULL)
		return;
	if (n->fi == 0) {
		*linked = n;
		return;
	}
	it->no_read = true;
	if (strcmp(n->name, e->name) == 0)
		return;
	free(e->link);
	e->link = strdup(n->name);
	e->type = FT_LNKSAVED;
	e->linkfi = (int)n->fi;
}

/*
 * A buffer of nothing but zeros is left out with FO_SPARSE, but not the last.
 * From two buffers on, 23+ reads for several threads (SendPlainData), and
 * takes only a short one for the last.
 */
static bool
drop_zeros(const struct job * j, const struct item * it, size_t n,
    size_t rsize, int64_t addr)
{
	const char * buf = j->iobuf + GUARD;
	int64_t size = it->e.st.st_size;
	int64_t two = 2 * (int64_t)rsize;
	bool threads = (j->L->family == BAREOS) && (j->L->release >= 23) &&
	    (size >= two);

	if ((n != rsize) ||
	    (threads ? (two >= size) : (addr + (int64_t)n >= size)))
		return (false);
	return ((buf[0] == 0) && (memcmp(buf, buf + 1, n - 1) == 0));
}

/* Return false if the connection to the Storage Daemon broke. */
static bool
send_data(struct job * j, struct item * it, bool sparse, bool offsets)
{
	struct entry * e = &it->e;
	size_t rsize = j->L->bufsize - ((sparse || offsets) ? 8 : 0);
	int64_t addr = 0, end = 0, off;
	ssize_t n;

	while ((n = bfd_read(j, rsize)) > 0) {
		off = (offsets && !sparse) ? j->bfd.offset : addr;
		if (offsets && !sparse && (off < end))
			violate(j->number, "io-offset",
			    "%zd bytes at %lld of %s, after %lld", n,
			    (long long)off, escape(e->name), (long long)end);
		if (offsets && !sparse && (off + n > e->st.st_size))
			violate(j->number, "io-size",
			    "%s has %lld bytes, and data up to %lld",
			    escape(e->name), (long long)e->st.st_size,
			    (long long)(off + n));
		end = off + n;
		addr += n;
		if (!sparse || !drop_zeros(j, it, (size_t)n, rsize, off))
			store_data(j->out, e->fi, off, j->iobuf + GUARD,
			    (size_t)n);
		if (atomic_load(&j->canceled))
			return (false);
	}
	if (n < 0) {
		daemon_message(j, MT_ERROR, "Read error on file %s. ERR=%s",
		    escape(e->name), strerror(j->bfd.err));
		return (true);
	}
	if (!(offsets && !sparse) && (e->type == FT_REG) &&
	    (addr != e->st.st_size) && !job_ending(j))
		violate(j->number, "io-size", "%s has %lld bytes, %lld came",
		    escape(e->name), (long long)e->st.st_size,
		    (long long)addr);
	return (true);
}

/* Return false if the rest of the file is left out. */
static bool
read_file(struct job * j, struct item * it, bool sparse, bool offsets)
{
	int flags = O_RDONLY;
	bool ok;

	if (flag(j->a->flags, FO_NOATIME))
		flags |= O_NOATIME;
	if (bfd_open(j, it->e.name, flags, 0) < 0) {
		daemon_message(j, MT_NOTSAVED, "Cannot open \"%s\": ERR=%s.",
		    escape(it->e.name), strerror(j->bfd.err));
		atomic_fetch_add(&j->errors, 1);
		store_failed(j->out, it->e.fi);
		return (false);
	}
	if (offsets && j->bfd.in_core)
		violate(j->number, "offsets-in-core", "%s",
		    escape(it->e.name));
	ok = send_data(j, it, sparse, offsets);
	bfd_close(j);
	return (ok);
}

/* Bacula asks the plugin which stream the name of the plugin goes to. */
static void
check_stream(struct job * j)
{
	int (* f)(void *, void *);
	struct pkt p;

	if (j->L->family == BAREOS)
		return;
	f = (j->L->release >= 15) ? j->h->f->t.bacula15.checkStream :
	    j->h->f->t.bacula9.checkStream;
	if (f == NULL)
		return;
	pkt_new(&p, &j->slots, &pkt_stream, true);
	pkt_seti(&p, "stream", STREAM_PLUGIN_NAME);
	pkt_out(&p);
	call_enter(j, "checkStream");
	f(j->ctx.mem, p.mem);
	call_leave(j);
	pkt_back(&p, j->number, "checkStream");
	pkt_done(&p);
}

/* What the daemon does not send to the Storage Daemon. */
static bool
skipped(struct job * j, const struct entry * e)
{

	switch (e->type) {
	case FT_NOCHG:
	case FT_DIRNOCHG:
		daemon_message(j, MT_SKIPPED, "Unchanged file skipped: %s",
		    escape(e->name));
		return (true);
	case FT_SPEC:
		if (!S_ISSOCK(e->st.st_mode))
			return (false);
		daemon_message(j, MT_SKIPPED, "Socket file skipped: %s",
		    escape(e->name));
		return (true);
	default:
		return (false);
	}
}

/**
 * save_file(j, it):
 * Save one entry as the core does, with its data and attributes.
 */
void
save_file(struct job * j, struct item * it)
{
	struct entry * e = &it->e;
	struct name * linked;
	struct name * n;
	bool sparse = flag(it->flags, FO_SPARSE);
	bool offsets = flag(it->flags, FO_OFFSETS);
	bool read;

	make_hard_link(j, it, &linked);
	j->examined++;
	if (atomic_load(&j->canceled) || skipped(j, e))
		return;
	bfd_init(j);
	check_stream(j);

	/* Encryption switches sparse off, but not offsets. */
	if (flag(j->a->flags, FO_ENCRYPT))
		sparse = false;
	e->stream = (sparse || offsets) ? STREAM_SPARSE_DATA :
	    STREAM_FILE_DATA;
	e->fi = ++j->files;
	if (it->data != NULL) {
		store_object(j->out, e, it->data);
		return;
	}
	store_entry(j->out, e);
	if (linked != NULL)
		linked->fi = e->fi;
	if ((n = names_get(&j->names, e->name, strlen(e->name))) != NULL)
		n->fi = e->fi;
	if (j->L->family == BACULA) {
		n = inodes_get(&j->names, e->st.st_dev, e->st.st_ino);
		if ((n != NULL) && (n->fi == 0))
			n->fi = e->fi;
	}

	/* Bacula reads a file with data whatever no_read says. */
	read = !it->no_read;
	if ((j->L->family == BACULA) && (e->type != FT_LNKSAVED) &&
	    S_ISREG(e->st.st_mode) && (e->st.st_size > 0))
		read = true;
	if (read && !read_file(j, it, sparse, offsets))
		return;
	xattr_save(j, e->fi, e->name);
	j->bytes += (uint64_t)e->st.st_size;
}
