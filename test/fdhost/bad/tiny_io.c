/* SPDX-License-Identifier: AGPL-3.0-only */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tiny.h"

/* True if the daemon has filedes in the packet. */
static bool
has_filedes(const struct io_80 * io)
{

	return (io->pkt_size >= 80);
}

static int
open_fd(struct tiny * t, const struct io_80 * io)
{

	if ((io->flags & (O_WRONLY | O_RDWR)) == 0)
		return (content_fd(&files[t->current]));
	return (t->no_io ? -1 : open(io->fname, O_WRONLY | O_CREAT | O_TRUNC |
	    O_NOFOLLOW | O_CLOEXEC, 0600));
}

/* Faults of an open; return true if it is over. */
static bool
bad_open(struct tiny * t, struct io_80 * io, int * rc)
{

	*rc = RC_OK;
	if (fault("open-rc")) {
		*rc = RC_ERROR;
		return (true);
	}
	if (fault("errno")) {
		io->status = -1;
		*rc = RC_ERROR;
		return (true);
	}
	if (fault("filedes-72") && !has_filedes(io))
		io->filedes = t->fd;
	if (fault("gap"))
		((char *)io)[66] = 1;
	if (fault("input"))
		io->mode = 0123;
	if (fault("sigmask")) {
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, SIGUSR2);
		pthread_sigmask(SIG_BLOCK, &set, NULL);
	}
	if (!has_filedes(io))
		return (false);
	if (fault("core-no-fd")) {
		io->status = IO_IN_CORE;
		return (true);
	}
	if (fault("filedes-lost")) {
		io->filedes = t->fd;
		io->status = 0;
		return (true);
	}
	if (fault("fd-foreign"))
		io->filedes = 1;
	else if (fault("fd-invalid"))
		io->filedes = 900;
	else
		return (false);
	io->status = IO_IN_CORE;
	return (true);
}

static int
do_open(struct tiny * t, struct io_80 * io)
{
	bool writing = (io->flags & (O_WRONLY | O_RDWR)) != 0;
	int rc;

	t->fd = open_fd(t, io);
	if ((t->fd == -1) && !t->no_io) {
		io->status = -1;
		io->io_errno = errno;
		return (RC_ERROR);
	}
	t->in_core = false;
	io->status = 0;
	if (bad_open(t, io, &rc))
		return (rc);

	/* The core does it, except where it needs our offsets. */
	if (has_filedes(io) && !t->no_io && (writing || !t->offsets ||
	    fault("offsets-core"))) {
		io->filedes = t->fd;
		io->status = IO_IN_CORE;
		t->in_core = true;
	}
	return (RC_OK);
}

/* The next block of data, and where it is. */
static void
do_read(struct tiny * t, struct io_80 * io)
{
	bool sparse = t->offsets &&
	    (strstr(files[t->current].name, "sparse") != NULL);
	int64_t at, hole;
	size_t count = (size_t)io->count;
	ssize_t n;

	at = lseek(t->fd, 0, SEEK_CUR);
	if (sparse) {
		if ((at = lseek(t->fd, at, SEEK_DATA)) == -1) {
			io->status = 0;
			return;
		}
		hole = lseek(t->fd, at, SEEK_HOLE);
		if ((int64_t)count > hole - at)
			count = (size_t)(hole - at);
		lseek(t->fd, at, SEEK_SET);
	}
	if (fault("short-data") && (at > 0))
		count = 0;
	n = (count == 0) ? 0 : read(t->fd, io->buf, count);
	io->status = (int32_t)n;
	io->io_errno = (n < 0) ? errno : 0;
	io->offset = fault("offset-back") ? 4096 - at / 1024 : at;
	if (fault("read-more"))
		io->status = io->count + 1;
	if (fault("touch") && (n >= 0) && (n < io->count))
		io->buf[n] = 1;
}

static void
do_write(struct tiny * t, struct io_80 * io)
{
	const char * p = io->buf;
	size_t left = (size_t)io->count;
	ssize_t n;

	while (left > 0) {
		if ((n = write(t->fd, p, left)) < 0) {
			if (errno == EINTR)
				continue;
			io->status = -1;
			io->io_errno = errno;
			return;
		}
		p += n;
		left -= (size_t)n;
	}
	io->status = io->count - (fault("short-write") ? 1 : 0);
}

/**
 * plugin_io(ctx, packet):
 * Open, read, write, seek, close.
 */
int
plugin_io(void * ctx, void * packet)
{
	struct tiny * t = tiny_of(ctx);
	struct io_80 * io = packet;

	switch (io->func) {
	case IO_OPEN:
		return (do_open(t, io));
	case IO_READ:
		do_read(t, io);
		break;
	case IO_WRITE:
		do_write(t, io);
		break;
	case IO_SEEK:
		if (t->no_io)
			break;
		io->offset = fault("seek") ? -1 :
		    lseek(t->fd, io->offset, io->whence);
		if (io->offset < 0)
			io->io_errno = EINVAL;
		break;
	default:
		if ((t->fd != -1) && !fault("fd-open"))
			close(t->fd);
		t->fd = fault("fd-leak") ? dup(2) : -1;
		io->status = 0;
		if (fault("dangling"))
			t->name[1] = 'X';
		break;
	}
	return (RC_OK);
}

static const char xname[] = "user.tiny";
static const char xvalue[] = "attribute of a tiny file";

/* Faults of getXattr; return true if it is over. */
static bool
bad_xattr(struct tiny * t, struct bareos_xattr_56 * x, int * rc)
{

	*rc = RC_OK;
	if (fault("xattr-error")) {
		*rc = RC_ERROR;
		return (true);
	}
	if (fault("xattr-malloc")) {
		x->name = strdup(xname);
		x->name_length = (uint32_t)strlen(xname);
		return (true);
	}
	if (fault("xattr-length"))
		x->name_length = 500;
	if (fault("xattr-big")) {
		x->value = core_alloc(t, 600000);
		memset(x->value, 1, 600000);
		x->value_length = 600000;
		*rc = RC_MORE;
		return (true);
	}
	if (fault("xattr-endless")) {
		core_release(t, x->name);
		core_release(t, x->value);
		x->name = core_alloc(t, 1);
		x->name[0] = 'x';
		x->name_length = 1;
		x->value = NULL;
		x->value_length = 0;
		*rc = RC_MORE;
		return (true);
	}
	if (fault("leak") && (core_alloc(t, 10) == NULL))
		*rc = RC_ERROR;
	return (false);
}

/**
 * get_xattr(ctx, packet):
 * Bareos: give the attribute, if there is one.
 */
int
get_xattr(void * ctx, void * packet)
{
	struct tiny * t = tiny_of(ctx);
	struct bareos_xattr_56 * x = packet;
	int rc;

	if (!files[t->current].xattr)
		return (RC_OK);
	x->name_length = (uint32_t)strlen(xname);
	x->value_length = sizeof(xvalue);
	x->name = core_alloc(t, x->name_length);
	x->value = core_alloc(t, x->value_length);
	memcpy(x->name, xname, x->name_length);
	memcpy(x->value, xvalue, x->value_length);
	if (bad_xattr(t, x, &rc))
		return (rc);
	return (RC_OK);
}

/**
 * set_xattr(ctx, packet):
 * Bareos: keep the attribute for the end of the file.
 */
int
set_xattr(void * ctx, void * packet)
{
	struct tiny * t = tiny_of(ctx);
	const struct bareos_xattr_56 * x = packet;

	if (x->value_length > sizeof(t->value))
		return (RC_ERROR);
	t->vlen = x->value_length;
	if (x->value != NULL)
		memcpy(t->value, x->value, x->value_length);
	return (RC_OK);
}

/**
 * xacl_data(ctx, packet):
 * Bacula: give and take the attribute as a block of bytes.
 */
int
xacl_data(void * ctx, void * packet)
{
	static char block[] = "attribute of a tiny file";
	struct tiny * t = tiny_of(ctx);
	struct bacula_xacl_32 * x = packet;

	switch (x->func) {
	case XACL_XATTR_BACKUP:
		if (fault("xattr-error"))
			return (RC_ERROR);
		x->count = 0;
		if ((!files[t->current].xattr || (t->xattrs++ > 0)) &&
		    !fault("xattr-endless"))
			break;
		x->content = fault("xattr-length") ? (char *)16 : block;
		x->count = sizeof(block);
		if (fault("leak") && (core_alloc(t, 10) == NULL))
			return (RC_ERROR);
		break;
	case XACL_XATTR_RESTORE:
		if ((size_t)x->count > sizeof(t->value))
			return (RC_ERROR);
		t->vlen = (uint32_t)x->count;
		memcpy(t->value, x->content, t->vlen);
		break;
	default:
		x->count = 0;
		break;
	}
	return (RC_OK);
}
