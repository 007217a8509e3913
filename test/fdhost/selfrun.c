/* SPDX-License-Identifier: AGPL-3.0-only */
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "selfrun.h"

#define MAX_ARGS 64

char self_good[PATH_MAX];
char self_bad[PATH_MAX];
char self_tmp[PATH_MAX];
char self_out[1 << 20];

static char self[PATH_MAX];

/**
 * self_path(fmt, ...):
 * Return a path, which lives for the next 7 calls.
 */
char *
self_path(const char * fmt, ...)
{
	static char bufs[8][2 * PATH_MAX];
	static unsigned int next;
	char * buf = bufs[next++ % 8];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(bufs[0]), fmt, ap);
	va_end(ap);
	return (buf);
}

static int
remove_one(const char * name, const struct stat * st, int type, struct FTW * f)
{

	(void)st;
	(void)type;
	(void)f;
	return (remove(name));
}

/* Read all that the child says. */
static void
collect(int fd)
{
	size_t have = 0;
	ssize_t n;

	for (;;) {
		n = read(fd, self_out + have, sizeof(self_out) - 1 - have);
		if ((n == -1) && (errno == EINTR))
			continue;
		if (n <= 0)
			break;
		have += (size_t)n;
		if (have == sizeof(self_out) - 1)
			have = 0;
	}
	self_out[have] = '\0';
}

/* FDHOST_WRAP="valgrind -q ..." is put in front of every run. */
static int
wrap(char ** argv)
{
	static char text[1024];
	const char * w = getenv("FDHOST_WRAP");
	char * p;
	int n = 0;

	if (w == NULL)
		return (0);
	snprintf(text, sizeof(text), "%s", w);
	for (p = strtok(text, " "); (p != NULL) && (n < 16);
	    p = strtok(NULL, " "))
		argv[n++] = p;
	return (n);
}

/**
 * self_run(fault, ...):
 * Run fdhost with the arguments, up to NULL, and the fault ${fault}.  Return
 * its exit status, or 128 and the signal that ended it.
 */
int
self_run(const char * fault, ...)
{
	char * argv[MAX_ARGS];
	va_list ap;
	pid_t pid;
	int n, pipefd[2], status;

	n = wrap(argv);
	argv[n++] = self;
	va_start(ap, fault);
	while ((n < MAX_ARGS - 1) &&
	    ((argv[n] = va_arg(ap, char *)) != NULL))
		n++;
	va_end(ap);
	argv[n] = NULL;
	if (pipe(pipefd) == -1)
		return (-1);
	if ((pid = fork()) == -1)
		return (-1);
	if (pid == 0) {
		dup2(pipefd[1], 1);
		dup2(pipefd[1], 2);
		close(pipefd[0]);
		close(pipefd[1]);
		if (fault != NULL)
			setenv("FDHOST_BAD", fault, 1);
		else
			unsetenv("FDHOST_BAD");
		execvp(argv[0], argv);
		_exit(127);
	}
	close(pipefd[1]);
	collect(pipefd[0]);
	close(pipefd[0]);
	while ((waitpid(pid, &status, 0) == -1) && (errno == EINTR))
		;
	if (WIFSIGNALED(status))
		return (128 + WTERMSIG(status));
	return (WEXITSTATUS(status));
}

/**
 * self_wrong(layout, what, status):
 * Say what the last run said that should have said something else.  Return 1.
 */
int
self_wrong(const char * layout, const char * what, int status)
{

	printf("fdhost selftest: %s: %s: exit status %d\n%s", layout, what,
	    status, self_out);
	return (1);
}

/**
 * self_begin(dir):
 * Find fdhost, and the plugins in ${dir} or beside it, and make a directory.
 */
int
self_begin(const char * dir)
{
	const char * t = getenv("TMPDIR");
	ssize_t n;

	if ((n = readlink("/proc/self/exe", self, sizeof(self) - 1)) == -1)
		return (-1);
	self[n] = '\0';
	if (dir == NULL)
		dir = dirname(self_path("%s", self));
	if (strlen(dir) > PATH_MAX - 32)
		return (-1);
	strcpy(self_good, self_path("%s/good-fd.so", dir));
	strcpy(self_bad, self_path("%s/bad-fd.so", dir));
	if (t == NULL)
		t = "/tmp";
	if (strlen(t) > PATH_MAX - 32)
		return (-1);
	strcpy(self_tmp, self_path("%s/fdhost.XXXXXX", t));
	return ((mkdtemp(self_tmp) == NULL) ? -1 : 0);
}

/**
 * self_end(void):
 * Remove the directory.
 */
void
self_end(void)
{

	nftw(self_tmp, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
