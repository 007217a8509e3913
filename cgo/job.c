/* SPDX-License-Identifier: AGPL-3.0-only */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"
#include "job.h"

/*
 * Every call into Go goes through here.  SIGUSR2 is blocked for its time: the
 * daemons send it to the job's thread at a cancel, with a handler that was
 * installed without SA_ONSTACK, and must not run it on a goroutine's stack
 * (os/signal, "Go programs that use cgo or SWIG").
 */
static void
shield(sigset_t * old)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, old);
}

static void
unshield(const sigset_t * old)
{

	pthread_sigmask(SIG_SETMASK, old, NULL);
}

/* The Go side is made when the first thing comes that concerns it. */
static uintptr_t
handle(struct job * j)
{

	if (j->handle == 0)
		j->handle = goOpen(j);
	return (j->handle);
}

/* Free what the last file has left. */
static void
forget_entry(struct job * j)
{
	int i;

	free(j->entry.name);
	free(j->entry.link);
	free(j->entry.data);
	memset(&j->entry, 0, sizeof(j->entry));
	for (i = j->xattr_at; i < j->nxattrs; i++) {
		free(j->xattrs[i].name);
		free(j->xattrs[i].value);
	}
	free(j->xattrs);
	j->xattrs = NULL;
	j->nxattrs = j->xattr_at = j->xattrs_read = 0;
	free(j->blob);
	j->blob = NULL;
	j->blob_len = 0;
	j->blob_sent = 0;
}

/**
 * job_new(daemon, ctx):
 * Make the state of a job.  Nothing is said and nothing is done: this runs in
 * every job of the node.  Return NULL if there is no memory.
 */
struct job *
job_new(const struct daemon * daemon, void * ctx)
{
	struct job * j;

	if ((j = calloc(1, sizeof(struct job))) == NULL)
		return (NULL);
	j->daemon = daemon;
	j->ctx = ctx;
	j->fd = -1;
	return (j);
}

/**
 * job_free(j):
 * End the job ${j}: what it has done to the node is taken back.
 */
void
job_free(struct job * j)
{
	sigset_t old;

	if (j == NULL)
		return;
	if (j->handle != 0) {
		shield(&old);
		goClose(j->handle);
		unshield(&old);
	}
	job_drop_foreign(j);
	forget_entry(j);
	free(j->asked_text);
	free(j);
}

/**
 * job_options(j, s):
 * Take the option string ${s}, whoever it is for.
 */
void
job_options(struct job * j, const char * s)
{
	sigset_t old;

	shield(&old);
	goOptions(handle(j), (char *)(uintptr_t)s);
	unshield(&old);
}

/**
 * job_object(j, name, id, data, len):
 * Take the restore object ${name} that job number ${id} has made.
 */
void
job_object(struct job * j, const char * name, uint32_t id, const char * data,
    int len)
{
	sigset_t old;

	shield(&old);
	goObject(handle(j), (char *)(uintptr_t)name, id,
	    (char *)(uintptr_t)data, len);
	unshield(&old);
}

/**
 * job_start_backup(j, cmd, estimate):
 * Begin the backup or estimate that the FileSet's command ${cmd} asks for.
 * Return 0, or -1 after a message if it cannot be made.
 */
int
job_start_backup(struct job * j, const char * cmd, int estimate)
{
	sigset_t old;
	int rc;

	j->restoring = 0;
	shield(&old);
	rc = goStartBackup(handle(j), (char *)(uintptr_t)cmd, j->level, estimate);
	unshield(&old);
	return (rc);
}

/**
 * job_next(j, flags):
 * Fill ${j}->entry with the file to be saved now.  ${flags} are the FileSet's.
 * Return 0, or -1 if there is none or the job has failed, after a message.
 */
int
job_next(struct job * j, unsigned flags)
{
	sigset_t old;
	int rc;

	forget_entry(j);
	if (j->handle == 0)
		return (-1);
	shield(&old);
	rc = goNext(j->handle, flags, &j->entry);
	unshield(&old);
	return (rc);
}

/**
 * job_done(j):
 * The daemon is done with the file at hand.  Return 1 if there is another one.
 */
int
job_done(struct job * j)
{
	sigset_t old;
	int more;

	if (j->handle == 0)
		return (0);
	shield(&old);
	more = goDone(j->handle);
	unshield(&old);
	return (more);
}

/**
 * job_ask_room(j, n):
 * Make room for ${n} bytes in ${j}->asked_text, whose content is lost.  Return 0, or -1
 * if there is no memory.
 */
int
job_ask_room(struct job * j, size_t n)
{
	char *p;

	if ((p = malloc(n)) == NULL)
		return (-1);
	free(j->asked_text);
	j->asked_text = p;
	j->asked_room = n;
	return (0);
}

/**
 * job_ask(j, changed):
 * Ask the daemon whether the file ${j}->asked has changed, or else whether its FileSet
 * lets it pass.  The daemons keep pointers to its strings, which are in ${j}->asked_text,
 * until they are asked again or told of a file.  Return 1 or 0, or -1 if the daemon does
 * not know.  This is called by Go, on the job's thread.
 */
int
job_ask(struct job * j, int changed)
{

	return (changed ? j->daemon->changed(j, &j->asked) :
	    j->daemon->accept(j, &j->asked));
}

/**
 * job_keeps(j, name):
 * Return 1 if the file ${name} of the catalogue, which was not met, is not to be
 * recorded as deleted.
 */
int
job_keeps(struct job * j, const char * name)
{
	sigset_t old;
	int keeps;

	if (j->handle == 0)
		return (0);
	shield(&old);
	keeps = goKeeps(j->handle, (char *)(uintptr_t)name);
	unshield(&old);
	return (keeps);
}

/**
 * job_xattr(j, x):
 * Hand over the next extended attribute of the file at hand; the caller frees
 * its name and value.  Return 1 if there are more, 0 if it was the last one or
 * if there is none (x->name is NULL then).
 */
int
job_xattr(struct job * j, struct xattr * x)
{
	sigset_t old;

	memset(x, 0, sizeof(*x));
	if (!j->xattrs_read) {
		j->xattrs_read = 1;
		if (j->handle == 0)
			return (0);
		shield(&old);
		j->nxattrs = goXattrs(j->handle, &j->xattrs);
		unshield(&old);
	}
	if (j->xattr_at >= j->nxattrs)
		return (0);
	*x = j->xattrs[j->xattr_at++];
	return (j->xattr_at < j->nxattrs);
}

/**
 * job_start_restore(j, cmd):
 * A file comes that was saved under the command ${cmd}.  Return 0, or -1 after
 * a message if the restore cannot be made.
 */
int
job_start_restore(struct job * j, const char * cmd)
{
	sigset_t old;
	int rc;

	j->restoring = 1;
	shield(&old);
	rc = goStartRestore(handle(j), (char *)(uintptr_t)cmd);
	unshield(&old);
	return (rc);
}

/**
 * job_create(j, r, answer):
 * Make the file ${r} and say in ${answer} what is to be done with its content.
 * Return 0, or -1 after a message if the job cannot go on.
 */
int
job_create(struct job * j, const struct restored * r, enum answer * answer)
{
	sigset_t old;
	int rc;

	*answer = ANSWER_SKIP;
	if (j->handle == 0)
		return (-1);
	j->fd = -1;
	j->broken = 0;
	j->sparse = r->sparse;
	/* A figure from a volume may be any: no product of it. */
	j->dense = !r->sparse && S_ISREG(r->st.st_mode) &&
	    r->st.st_blocks < r->st.st_size / 512 + (r->st.st_size % 512 > 0);
	j->pos = 0;
	j->size = r->st.st_size;
	shield(&old);
	rc = goCreate(j->handle, (struct restored *)(uintptr_t)r);
	unshield(&old);
	if (rc < 0)
		return (-1);
	*answer = (enum answer)rc;
	return (0);
}

/**
 * job_set_xattr(j, name, name_len, value, value_len):
 * Take an extended attribute of the restored file at hand.
 */
void
job_set_xattr(struct job * j, const char * name, uint32_t name_len,
    const char * value, uint32_t value_len)
{
	sigset_t old;

	if (j->handle == 0)
		return;
	shield(&old);
	goSetXattr(j->handle, (char *)(uintptr_t)name, name_len,
	    (char *)(uintptr_t)value, value_len);
	unshield(&old);
}

/**
 * job_end_file(j):
 * The daemon is done with the restored file at hand.  Return 0, or -1 after a
 * message if the job cannot go on.
 */
int
job_end_file(struct job * j)
{
	sigset_t old;
	int rc;

	j->fd = -1;
	if (j->handle == 0)
		return (0);
	shield(&old);
	rc = goEndFile(j->handle, j->broken);
	unshield(&old);
	j->broken = 0;
	return (rc);
}

/**
 * job_end_backup(j):
 * The backup is over, well or not.
 */
void
job_end_backup(struct job * j)
{
	sigset_t old;

	if (j->handle == 0)
		return;
	shield(&old);
	goEndBackup(j->handle);
	unshield(&old);
}

/**
 * job_end_restore(j):
 * The restore is over, well or not.
 */
void
job_end_restore(struct job * j)
{
	sigset_t old;

	if (j->handle == 0)
		return;
	shield(&old);
	goEndRestore(j->handle, j->daemon->health(j));
	unshield(&old);
}

/**
 * job_cancel(j):
 * End the job at its next step.  This comes on a thread that is not the job's,
 * while the job's may be anywhere.
 */
void
job_cancel(struct job * j)
{
	sigset_t old;

	if (j->handle == 0)
		return;
	shield(&old);
	goCancel(j->handle);
	unshield(&old);
}

/**
 * job_fits(j, what, have, need):
 * Return 1 if a packet that says that it has ${have} bytes has the ${need} that
 * are looked at; else 0, after a message, once in a job.  The daemons fill in
 * the size of every packet; one that is smaller than in every known release has
 * its members elsewhere.
 */
int
job_fits(struct job * j, const char * what, int32_t have, size_t need)
{
	char text[256];

	if (have >= 0 && (size_t)have >= need)
		return (1);
	if (j->misfit)
		return (0);
	j->misfit = 1;
	snprintf(text, sizeof(text), "vz7ct: this daemon hands over %s in a "
	    "packet of %d bytes, %zu are known: its release does not fit the "
	    "plugin, nothing is done", what, have, need);
	job_say(j, SAY_FATAL, text);
	return (0);
}

/**
 * job_say(j, severity, text):
 * Write ${text} to the job log.
 */
void
job_say(struct job * j, int severity, const char * text)
{

	j->daemon->say(j, (enum severity)severity, text);
}
