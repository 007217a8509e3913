/* SPDX-License-Identifier: AGPL-3.0-only */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "_cgo_export.h"
#include "job.h"

/* The unit of holes: a page, as file systems have them. */
#define BLOCK 4096

/*
 * The bytes of a file never cross into Go: Go opens and closes, the rest is done
 * here.  The daemons' signal handlers are installed without SA_RESTART, so every
 * call is repeated when a signal interrupts it.
 */

static void
fail(struct io * io, int error)
{

	io->status = -1;
	io->error = error;
}

static void
open_backup(struct job * j, struct io * io)
{
	int error = ENOENT;

	/*
	 * After a directory as the last file of a FileSet, Bareos 19 to 26 open
	 * the next ordinary file through the plugin: it gets that file.
	 */
	job_drop_foreign(j);
	if (io->name == NULL)
		return (fail(io, EINVAL));
	if (j->entry.name == NULL || strcmp(io->name, j->entry.name) != 0) {
		do {
			j->fd = open(io->name, O_RDONLY | O_CLOEXEC |
			    (io->flags & O_NOATIME));
		} while (j->fd < 0 && errno == EINTR);
		if (j->fd < 0)
			return (fail(io, errno));
		j->foreign = 1;
		io->fd = j->fd;
		return;
	}
	j->fd = goOpenFile(j->handle, &error);
	if (j->fd < 0)
		return (fail(io, error));
	j->pieces = j->entry.pieces;
	j->size = j->entry.st.st_size;
	j->pos = j->data_end = 0;
	j->tail_sent = 0;
	/* What the daemon reads itself, from 22, nobody else sees fail, or can slow. */
	if (!j->pieces && !j->entry.watched && !j->entry.paced)
		io->fd = j->fd;
}

static void
open_restore(struct job * j, struct io * io)
{

	/* Nodes and links have no content, and need no open file: -1. */
	if ((j->fd = goOpenRestored(j->handle)) < -1) {
		j->fd = -1;
		return (fail(io, EIO));
	}
	if (j->fd >= 0 && !j->sparse && !j->dense)
		io->fd = j->fd;
}

/*
 * Find the next piece of data at or behind j->pos.  Return 1, 0 at the end, or
 * -1 with errno set: what cannot be looked at must not be taken for a hole.
 */
static int
find_piece(struct job * j)
{
	off_t data, hole;

	if (j->pos < j->data_end)
		return (1);
	data = lseek(j->fd, j->pos, SEEK_DATA);
	if (data < 0 && errno == EINVAL) {
		/* The file system does not tell: all of it is data. */
		j->data_end = j->size;
		return (j->pos < j->data_end);
	}
	if (data < 0)
		return (errno == ENXIO ? 0 : -1);
	if ((hole = lseek(j->fd, data, SEEK_HOLE)) < 0)
		return (-1);
	j->pos = data;
	j->data_end = hole;
	return (j->pos < j->data_end);
}

/*
 * Read of a file with holes: one piece after another, each with its offset.  If
 * the file ends in a hole, its last byte is sent, so that whoever restores it
 * gets its size right.
 */
static void
read_piece(struct job * j, struct io * io)
{
	ssize_t n;
	off_t end;
	int64_t want = io->count;
	int found;

	if ((found = find_piece(j)) < 0)
		return (fail(io, errno));
	if (!found) {
		io->status = 0;
		if (j->tail_sent || j->pos >= j->size || io->count < 1)
			return;
		/*
		 * What was cut meanwhile ends here, and is seen to be shorter
		 * when it is restored: it is no hole.
		 */
		if ((end = lseek(j->fd, 0, SEEK_END)) < 0)
			return (fail(io, errno));
		if (end < j->size)
			return;
		j->tail_sent = 1;
		io->buf[0] = 0;
		io->offset = j->size - 1;
		io->status = 1;
		return;
	}
	if (want > j->data_end - j->pos)
		want = j->data_end - j->pos;
	do {
		n = pread(j->fd, io->buf, (size_t)want, j->pos);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return (fail(io, errno));
	io->offset = j->pos;
	io->status = (int32_t)n;
	j->pos += n;
	/* The last piece reached the end: there is no hole to mark. */
	if (n == 0 || j->pos >= j->size)
		j->tail_sent = 1;
}

static void
read_plain(struct job * j, struct io * io)
{
	ssize_t n;

	do {
		n = read(j->fd, io->buf, (size_t)io->count);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return (fail(io, errno));
	io->status = (int32_t)n;
}

/*
 * How many of the ${n} bytes before the descriptor's position are on the disk: the
 * rest are holes.  Return -1 if the position is lost.
 */
static int64_t
on_disk(int fd, int64_t n)
{
	off_t at, data, end, hole;
	int64_t sum = 0;

	if ((end = lseek(fd, 0, SEEK_CUR)) < 0)
		return (n);
	for (at = end - n; at < end; at = hole) {
		if ((data = lseek(fd, at, SEEK_DATA)) < 0 && errno != ENXIO) {
			/* The file system does not tell: all of it is data. */
			sum += end - at;
			break;
		}
		if (data < 0 || data >= end)
			break;
		if ((hole = lseek(fd, data, SEEK_HOLE)) < 0 || hole > end)
			hole = end;
		sum += hole - data;
	}
	return (lseek(fd, end, SEEK_SET) == end ? sum : -1);
}

static void
read_file(struct job * j, struct io * io)
{
	sigset_t old, set;
	int64_t read;

	if (j->pieces && !j->foreign)
		read_piece(j, io);
	else
		read_plain(j, io);
	if (j->foreign || j->restoring)
		return;
	read = io->status;
	if (j->entry.paced && read > 0) {
		if (j->pieces && j->tail_sent && j->pos < j->size)
			read = 0; /* the mark of a hole at the end */
		else if (!j->pieces && j->entry.st.st_blocks < (j->size + 511) / 512 &&
		    (read = on_disk(j->fd, read)) < 0)
			fail(io, EIO);
	}
	if (read >= 0 && (!j->entry.paced || read == 0))
		return;
	/* As in job_io. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	if (read < 0)
		goReadFailed(j->handle, io->error);
	else
		goTook(j->handle, read);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/*
 * The length of what begins at ${buf} and is all data or all hole, no longer than
 * ${n}: a hole has whole blocks of zeros, the last one perhaps shorter.
 */
static size_t
run_of(int64_t pos, const char * buf, size_t n, int * hole)
{
	size_t len, block;
	int zero;

	for (len = 0; len < n; len += block) {
		block = BLOCK - (size_t)((pos + (int64_t)len) % BLOCK);
		if (block > n - len)
			block = n - len;
		zero = buf[len] == 0 &&
		    memcmp(buf + len, buf + len + 1, block - 1) == 0;
		if (len == 0)
			*hole = zero;
		else if (zero != *hole)
			break;
	}
	return (len);
}

/*
 * A file that had holes, from a daemon that could not carry them (one that
 * encrypts, say): they are made anew, or the file may not fit.
 */
static void
write_dense(struct job * j, struct io * io)
{
	int32_t done = 0;
	ssize_t n;
	int hole;

	while (done < io->count) {
		n = (ssize_t)run_of(j->pos, io->buf + done,
		    (size_t)(io->count - done), &hole);
		if (!hole) {
			do {
				n = pwrite(j->fd, io->buf + done, (size_t)n,
				    j->pos);
			} while (n < 0 && errno == EINTR);
			if (n < 0) {
				j->broken = 1;
				return (fail(io, errno));
			}
		}
		j->pos += n;
		done += (int32_t)n;
	}
	io->status = done;
}

static void
write_all(struct job * j, struct io * io)
{
	int32_t done = 0;
	ssize_t n;
	off_t at;

	if (j->fd < 0) {
		/* Content for a node: there is none to be had. */
		io->status = io->count;
		return;
	}
	if (j->dense)
		return (write_dense(j, io));
	if (j->sparse && io->count == 1 && io->buf[0] == 0) {
		/* The mark of a hole at the end: it is not written. */
		at = lseek(j->fd, 0, SEEK_CUR);
		if (at + 1 == j->size && ftruncate(j->fd, j->size) == 0) {
			io->status = 1;
			return;
		}
	}
	while (done < io->count) {
		n = write(j->fd, io->buf + done, (size_t)(io->count - done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			j->broken = 1;
			return (fail(io, errno));
		}
		done += (int32_t)n;
	}
	io->status = done;
}

static void
seek(struct job * j, struct io * io)
{
	off_t at;

	if (j->fd < 0) {
		io->offset = 0;
		return;
	}
	if ((at = lseek(j->fd, io->offset, io->whence)) < 0) {
		fail(io, errno);
		io->offset = -1;
		return;
	}
	io->offset = at;
}

static void
close_file(struct job * j)
{

	if (j->foreign)
		job_drop_foreign(j);
	else if (j->restoring && j->dense && j->fd >= 0) {
		/* The file may end in a hole. */
		if (!j->broken && ftruncate(j->fd, j->pos) != 0)
			j->broken = 1;
	} else if (!j->restoring && j->fd >= 0)
		goCloseFile(j->handle);
	/* A restored file stays open until its attributes are set. */
	j->fd = -1;
}

/**
 * job_drop_foreign(j):
 * Close the file at hand if it is not the job's own.
 */
void
job_drop_foreign(struct job * j)
{

	if (j->foreign && j->fd >= 0) {
		close(j->fd);
		j->fd = -1;
	}
	j->foreign = 0;
}

/**
 * job_io(j, io):
 * Do one I/O call of the daemon.
 */
void
job_io(struct job * j, struct io * io)
{
	sigset_t old, set;

	io->status = 0;
	io->error = 0;
	io->fd = -1;
	switch (io->func) {
	case IO_OPEN:
	case IO_CLOSE:
		/* These go through Go: see job.c. */
		sigemptyset(&set);
		sigaddset(&set, SIGUSR2);
		pthread_sigmask(SIG_BLOCK, &set, &old);
		if (io->func == IO_CLOSE)
			close_file(j);
		else if (j->restoring)
			open_restore(j, io);
		else
			open_backup(j, io);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		break;
	case IO_READ:
		if (io->count < 0 || (io->buf == NULL && io->count > 0))
			fail(io, EINVAL);
		else if (j->fd < 0)
			fail(io, EBADF);
		else
			read_file(j, io);
		break;
	case IO_WRITE:
		if (io->count < 0 || (io->buf == NULL && io->count > 0))
			fail(io, EINVAL);
		else
			write_all(j, io);
		break;
	case IO_SEEK:
		seek(j, io);
		break;
	default:
		fail(io, EINVAL);
	}
}
