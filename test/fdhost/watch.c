/* SPDX-License-Identifier: AGPL-3.0-only */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "checks.h"
#include "escape.h"
#include "watch.h"

static struct fdset own;

/**
 * host_fds(void):
 * Return the set of descriptors that are fdhost's own.
 */
struct fdset *
host_fds(void)
{

	return (&own);
}

static int
link_of(int fd, char * buf, size_t size)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if ((n = readlink(path, buf, size - 1)) == -1)
		return (-1);
	buf[n] = '\0';
	return (0);
}

static bool
poller(int fd)
{
	char target[256];

	if (link_of(fd, target, sizeof(target)))
		return (false);
	return ((strcmp(target, "anon_inode:[eventpoll]") == 0) ||
	    (strcmp(target, "anon_inode:[eventfd]") == 0));
}

/**
 * fds_now(s):
 * Fill ${s}.
 */
int
fds_now(struct fdset * s)
{
	struct dirent * e;
	DIR * d;
	int fd;

	memset(s, 0, sizeof(*s));
	if ((d = opendir("/proc/self/fd")) == NULL)
		return (-1);
	while ((e = readdir(d)) != NULL) {
		if ((e->d_name[0] < '0') || (e->d_name[0] > '9'))
			continue;
		fd = atoi(e->d_name);
		if ((fd == dirfd(d)) || (fd >= MAX_FDS))
			continue;
		s->open[fd / 8] |= (unsigned char)(1 << (fd % 8));
	}
	closedir(d);
	return (0);
}

/**
 * fds_has(s, fd):
 * Return true if ${fd} is in ${s}.
 */
bool
fds_has(const struct fdset * s, int fd)
{

	if ((fd < 0) || (fd >= MAX_FDS))
		return (false);
	return ((s->open[fd / 8] >> (fd % 8)) & 1);
}

static int
leaked(const struct fdset * before, bool show)
{
	struct fdset now;
	char target[256];
	int fd, n = 0;

	if (fds_now(&now))
		return (0);
	for (fd = 0; fd < MAX_FDS; fd++) {
		if (!fds_has(&now, fd) || fds_has(before, fd) || poller(fd))
			continue;
		n++;
		if (show && (link_of(fd, target, sizeof(target)) == 0))
			violate(0, "fd-leak", "descriptor %d is open: %s", fd,
			    escape(target));
	}
	return (n);
}

/**
 * fds_leaked(before, wait):
 * Return how many descriptors are open that were not in ${before}, after
 * waiting up to ${wait} ms for none, and say which.  What the run-time of the
 * plugin opens once, epoll and eventfd, does not count.
 */
int
fds_leaked(const struct fdset * before, int wait)
{
	static const struct timespec tick = { 0, 20000000 };

	for (; wait > 0; wait -= 20) {
		if (leaked(before, false) == 0)
			return (0);
		nanosleep(&tick, NULL);
	}
	return (leaked(before, true));
}

/**
 * fds_inherited(before):
 * Return a descriptor that is open, not in ${before}, and not close-on-exec,
 * or -1.
 */
int
fds_inherited(const struct fdset * before)
{
	struct fdset now;
	int fd, flags;

	if (fds_now(&now))
		return (-1);
	for (fd = 0; fd < MAX_FDS; fd++) {
		if (!fds_has(&now, fd) || fds_has(before, fd))
			continue;
		flags = fcntl(fd, F_GETFD);
		if ((flags != -1) && ((flags & FD_CLOEXEC) == 0))
			return (fd);
	}
	return (-1);
}

/**
 * threads_now(void):
 * Return the number of threads.
 */
int
threads_now(void)
{
	struct dirent * e;
	DIR * d;
	int n = 0;

	if ((d = opendir("/proc/self/task")) == NULL)
		return (0);
	while ((e = readdir(d)) != NULL)
		n += (e->d_name[0] != '.');
	closedir(d);
	return (n);
}
