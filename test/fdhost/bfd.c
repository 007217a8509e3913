/* SPDX-License-Identifier: AGPL-3.0-only */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bfd.h"
#include "checks.h"
#include "escape.h"
#include "io.h"
#include "trouble.h"
#include "watch.h"

#define POISON 0xa7		/* The network buffer before a read. */

/**
 * bfd_init(j):
 * What binit() does at the start of a file of a backup.
 */
void
bfd_init(struct job * j)
{

	/* Bareos 22+ leaves in_core as it is. */
	j->bfd.fid = -1;
	if ((j->L->family == BACULA) || (j->L->release <= 21))
		j->bfd.in_core = false;
	j->bfd.plugin = true;
}

/**
 * bfd_opened(j):
 * What IsBopen() says.
 */
bool
bfd_opened(const struct job * j)
{

	return (j->bfd.fid >= 0);
}

/* When a file was made: its number may be another one's soon after its end. */
static struct timespec
born(int fd)
{
	struct timespec ts = { 0, 0 };
	struct statx stx;

	if ((statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &stx) == 0) &&
	    (stx.stx_mask & STATX_BTIME)) {
		ts.tv_sec = stx.stx_btime.tv_sec;
		ts.tv_nsec = stx.stx_btime.tv_nsec;
	}
	return (ts);
}

/* The descriptor that the plugin gave to the core. */
static void
check_fd(struct job * j, const char * name, int flags)
{
	int fd = j->bfd.fid;
	struct stat st;
	int fl;

	if ((fd <= 2) || fds_has(host_fds(), fd) ||
	    (fd == store_fd(j->out, 0)) || (fd == store_fd(j->out, 1)))
		violate(j->number, "fd-foreign", "descriptor %d for %s", fd,
		    escape(name));
	if (((fl = fcntl(fd, F_GETFD)) == -1) || fstat(fd, &st)) {
		violate(j->number, "fd-invalid", "descriptor %d for %s: %s",
		    fd, escape(name), strerror(errno));
		return;
	}
	j->bfd.dev = st.st_dev;
	j->bfd.ino = st.st_ino;
	j->bfd.born = born(fd);
	if ((fl & FD_CLOEXEC) == 0)
		violate(j->number, "fd-cloexec", "descriptor %d for %s", fd,
		    escape(name));
	fl = fcntl(fd, F_GETFL) & O_ACCMODE;
	if ((fl != O_RDWR) && (fl != (flags & O_ACCMODE)))
		violate(j->number, "fd-invalid",
		    "descriptor %d for %s is open the wrong way", fd,
		    escape(name));
}

static int
plugin_open(struct job * j, const char * name, int flags, mode_t mode)
{
	struct io_answer a;
	struct pkt p;
	char * lent;
	int fd;

	lent = lend_string(j, name);
	io_prepare(j, &p, IO_OPEN, 0);
	pkt_setp(&p, "fname", lent);
	pkt_seti(&p, "flags", flags);
	pkt_seti(&p, "mode", mode);
	io_call(j, &p, &a);
	return_string(j, lent, name, "pluginIO(OPEN)");

	if ((a.rc == RC_ERROR) && (a.status >= 0))
		violate(j->number, "io-signal",
		    "bRC_Error with status %d for %s: taken as open up to 23",
		    a.status, escape(name));
	if ((j->opens++ < 8) &&
	    ((fd = fds_inherited(host_fds())) != -1))
		violate(j->number, "fd-cloexec", "descriptor %d, open for %s",
		    fd, escape(name));
	if (j->L->open_rc && (a.rc == RC_ERROR))
		return (-1);
	if (!j->L->core_io) {
		j->bfd.fid = a.status;
		return (a.status);
	}

	/* Nothing takes in_core back when this open does not want it. */
	j->bfd.fid = a.filedes;
	if (a.status == IO_IN_CORE)
		j->bfd.in_core = true;
	if (j->bfd.in_core) {
		if (a.filedes == -1) {
			violate(j->number, "io-in-core",
			    "no descriptor for %s", escape(name));
			return (-2);
		}
		check_fd(j, name, flags);
		return (a.filedes);
	}
	if (a.filedes != -1)
		violate(j->number, "io-filedes",
		    "descriptor %d for %s with status %d is lost", a.filedes,
		    escape(name), a.status);
	j->bfd.fid = 0;
	return (a.status);
}

/**
 * bfd_open(j, name, flags, mode):
 * Open the file.  Return less than 0 on failure.
 */
int
bfd_open(struct job * j, const char * name, int flags, mode_t mode)
{

	if (j->bfd.plugin)
		return (plugin_open(j, name, flags, mode));
	j->bfd.fid = open(name, flags | O_CLOEXEC, mode);
	j->bfd.err = errno;
	return (j->bfd.fid);
}

/* In the core, since 23, until the buffer is full. */
static ssize_t
core_read(struct job * j, char * buf, size_t count)
{
	size_t have = 0;
	ssize_t n;

	while (have < count) {
		n = read(j->bfd.fid, buf + have, count - have);
		j->bfd.err = errno;
		if (n < 0)
			return (n);
		have += (size_t)n;
		if ((n == 0) || !j->L->core_io_loop)
			break;
	}
	return ((ssize_t)have);
}

static ssize_t
plugin_read(struct job * j, char * buf, size_t count)
{
	struct io_answer a;
	struct pkt p;
	size_t i, n;

	memset(j->iobuf, POISON, j->L->bufsize + 2 * GUARD);
	io_prepare(j, &p, IO_READ, count);
	pkt_setp(&p, "buf", buf);
	io_call(j, &p, &a);
	j->bfd.offset = a.offset;
	if (a.status > (int32_t)count) {
		violate(j->number, "io-status", "READ of %zu gave %d", count,
		    a.status);
		return (-1);
	}

	n = (a.status < 0) ? 0 : (size_t)a.status;
	for (i = GUARD + n; i < j->L->bufsize + 2 * GUARD; i++) {
		if ((unsigned char)j->iobuf[i] != POISON)
			break;
	}
	if ((i < j->L->bufsize + 2 * GUARD) && (a.status >= 0))
		violate(j->number, "io-touch",
		    "READ gave %d bytes and wrote byte %zu of %zu", a.status,
		    i - GUARD, count);
	return (a.status);
}

/**
 * bfd_read(j, count):
 * Read up to ${count} bytes into j->iobuf + GUARD.  Return how many, or -1.
 */
ssize_t
bfd_read(struct job * j, size_t count)
{
	char * buf = j->iobuf + GUARD;
	ssize_t n;
	int i;

	/* Since 26, an interrupted read is tried up to five times again. */
	for (i = 0; i < 6; i++) {
		if (j->bfd.plugin && !j->bfd.in_core)
			n = plugin_read(j, buf, count);
		else
			n = core_read(j, buf, count);
		if ((n >= 0) || (j->bfd.err != EINTR) ||
		    (j->L->family != BAREOS) || (j->L->release < 26))
			break;
	}
	return (n);
}

static ssize_t
core_write(struct job * j, const char * buf, size_t count)
{
	size_t done = 0;
	ssize_t n;

	while (done < count) {
		n = write(j->bfd.fid, buf + done, count - done);
		j->bfd.err = errno;
		if (n < 0)
			return (n);
		done += (size_t)n;
		if ((n == 0) || !j->L->core_io_loop)
			break;
	}
	return ((ssize_t)done);
}

/**
 * bfd_write(j, count):
 * Write ${count} bytes at j->iobuf + GUARD.  Return how many, or -1.
 */
ssize_t
bfd_write(struct job * j, size_t count)
{
	struct io_answer a;
	struct pkt p;

	if (!j->bfd.plugin || j->bfd.in_core)
		return (core_write(j, j->iobuf + GUARD, count));
	io_prepare(j, &p, IO_WRITE, count);
	pkt_setp(&p, "buf", j->iobuf + GUARD);
	io_call(j, &p, &a);
	if (a.status > (int32_t)count)
		violate(j->number, "io-status", "WRITE of %zu gave %d", count,
		    a.status);
	else if ((a.status >= 0) && (a.status < (int32_t)count))
		violate(j->number, "io-status",
		    "WRITE of %zu gave %d: a short write ends the file", count,
		    a.status);
	return (a.status);
}

/**
 * bfd_seek(j, offset, whence):
 * Move, and return the new position, or less than 0.
 */
int64_t
bfd_seek(struct job * j, int64_t offset, int whence)
{
	struct io_answer a;
	struct pkt p;

	/* Even when the core does the I/O, the plugin is asked to seek. */
	if (!j->bfd.plugin)
		return (lseek(j->bfd.fid, offset, whence));
	io_prepare(j, &p, IO_SEEK, 0);
	pkt_seti(&p, "offset", offset);
	pkt_seti(&p, "whence", whence);
	io_call(j, &p, &a);
	if ((a.offset < 0) || ((whence == SEEK_SET) && (a.offset != offset)))
		violate(j->number, "io-seek", "SEEK to %lld gave %lld",
		    (long long)offset, (long long)a.offset);
	return (a.offset);
}

/* Is the descriptor that the core had still that file? */
static void
check_closed(struct job * j, int fd, const char * when)
{
	struct timespec ts = born(fd);
	struct stat st;

	if ((fstat(fd, &st) == 0) && (st.st_dev == j->bfd.dev) &&
	    (st.st_ino == j->bfd.ino) && (ts.tv_sec == j->bfd.born.tv_sec) &&
	    (ts.tv_nsec == j->bfd.born.tv_nsec))
		violate(j->number, "fd-open", "descriptor %d is open after %s",
		    fd, when);
}

/**
 * bfd_ended(j):
 * endRestoreFile was called: only now must the file be closed.  The core does
 * nothing with it between IO_CLOSE and this call, in which a plugin may set its
 * attributes through the descriptor.
 */
void
bfd_ended(struct job * j)
{

	if (!j->bfd.kept)
		return;
	check_closed(j, j->bfd.kept_fid, "endRestoreFile");
	j->bfd.kept = false;
}

/**
 * bfd_close(j):
 * Close the file, if it is open.
 */
void
bfd_close(struct job * j)
{
	struct io_answer a;
	struct pkt p;

	if (j->bfd.fid == -1)
		return;
	if (j->bfd.plugin) {
		/* Bacula 15 tells a cancel that came from the network. */
		if ((j->L->family == BACULA) && (j->L->release >= 15) &&
		    job_canceled(j))
			trouble_cancel(j);
		io_prepare(j, &p, IO_CLOSE, 0);
		io_call(j, &p, &a);
		j->bfd.kept = j->bfd.in_core && (j->type == 'R');
		j->bfd.kept_fid = j->bfd.fid;
		if (j->bfd.in_core && !j->bfd.kept)
			check_closed(j, j->bfd.fid, "IO_CLOSE");
	} else
		close(j->bfd.fid);
	j->bfd.fid = -1;
	j->bfd.plugin = false;
	j->bfd.in_core = false;
}
