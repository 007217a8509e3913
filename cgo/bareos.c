/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdlib.h>
#include <string.h>

#include "bareos.h"
#include "job.h"
#include "plugin.h"

/* Numbers of the interface, the same in releases 17 to 26. */
enum {
	EVENT_END_BACKUP_JOB = 4, EVENT_END_RESTORE_JOB = 6,
	EVENT_BACKUP_COMMAND = 9, EVENT_RESTORE_COMMAND = 10,
	EVENT_ESTIMATE_COMMAND = 11, EVENT_LEVEL = 12, EVENT_CANCEL = 14,
	EVENT_RESTORE_OBJECT = 15, EVENT_NEW_OPTIONS = 20
};
enum {
	VALUE_JOB_NAME = 6, VALUE_JOB_STATUS = 7, VALUE_SINCE = 8,
	VALUE_ACCURATE = 9, VALUE_RELEASE = 16, VALUE_PREVIOUS = 18
};
enum { CF_SKIP = 1, CF_ERROR = 2, CF_EXTRACT = 3, CF_CREATED = 4 };
enum { FO_NO_HARDLINK = 15, FO_ENCRYPT = 21, FO_SPARSE = 5, FO_XATTR = 27,
	FO_OFFSETS = 30, FO_FORCE_ENCRYPT = 32 };
#define IO_IN_CORE	1

static const struct bareos_core * core;

static struct job *
job_of(struct bareos_ctx * ctx)
{

	return (ctx == NULL ? NULL : ctx->plugin_private);
}

static int
flag(const unsigned char * flags, int bit)
{

	return ((flags[bit / 8] >> (bit % 8)) & 1);
}

static void
say(struct job * j, enum severity severity, const char * text)
{
	/* M_INFO 6, M_WARNING 5, M_ERROR 4, M_FATAL 3; 1, 11 and 18 end the daemon. */
	static const int types[] = { 0, 6, 5, 4, 3 };

	if (severity == SAY_DEBUG)
		core->debugMessage(j->ctx, PLUGIN_NAME, 0, 150, "%s\n", text);
	else
		core->jobMessage(j->ctx, PLUGIN_NAME, 0, types[severity], 0,
		    "%s\n", text);
}

static const char *
text(struct job * j, int var)
{
	const char * s = NULL;

	core->getValue(j->ctx, var, &s);
	return (s);
}

static const char *
job_name(struct job * j)
{

	return (text(j, VALUE_JOB_NAME));
}

static const char *
release(struct job * j)
{

	return (text(j, VALUE_RELEASE));
}

static int
file_index(struct job * j)
{

	(void)j;
	return (0);	/* the core makes hard links itself */
}

static int
number(struct job * j, int var)
{
	int n = 0;

	core->getValue(j->ctx, var, &n);
	return (n);
}

static enum health
health(struct job * j)
{
	int status = number(j, VALUE_JOB_STATUS);

	if (status == 'A' || status == 'f')
		return (HEALTH_FAILED);
	return (status == 'E' ? HEALTH_ERRORS : HEALTH_GOOD);
}

/*
 * A packet to ask the core about a file with.  It reads fname, link, statp, type and
 * save_time, and writes delta_seq and accurate_found (checkChanges and AcceptFile in
 * filed/fd_plugins.cc, 17 to 26); there is room behind for what a release may add.
 */
union question {
	struct bareos_save sp;
	char room[sizeof(struct bareos_save) + 256];
};

static void
ask(union question * q, const struct entry * e)
{

	memset(q, 0, sizeof(*q));
	q->sp.pkt_size = sizeof(q->sp);
	q->sp.pkt_end = sizeof(q->sp);
	q->sp.fname = e->name;
	q->sp.link = e->link;
	q->sp.type = type_of(e->kind);
	q->sp.statp = e->st;
}

static int
accept_file(struct job * j, const struct entry * e)
{
	union question q;

	ask(&q, e);
	return (core->acceptFile(j->ctx, &q) == RC_OK);
}

static int
changed(struct job * j, const struct entry * e)
{
	union question q;
	int rc;

	ask(&q, e);
	rc = core->checkChanges(j->ctx, &q);
	return (rc == RC_OK ? 1 : rc == RC_SEEN ? 0 : -1);
}

static int
accurate(struct job * j)
{

	return (number(j, VALUE_ACCURATE) != 0);
}

static const char *
previous(struct job * j)
{

	return (text(j, VALUE_PREVIOUS));
}

static int
since(struct job * j)
{

	return (number(j, VALUE_SINCE));
}

static const struct daemon daemon_calls = {
	FAMILY_BAREOS, say, job_name, release, file_index, health, accept_file,
	changed, accurate, previous, since
};

static int
newPlugin(struct bareos_ctx * ctx)
{

	if ((ctx->plugin_private = job_new(&daemon_calls, ctx)) == NULL)
		return (RC_ERROR);
	/* An event that is not registered is not delivered. */
	core->registerEvents(ctx, 9, EVENT_END_BACKUP_JOB, EVENT_END_RESTORE_JOB,
	    EVENT_BACKUP_COMMAND, EVENT_RESTORE_COMMAND, EVENT_ESTIMATE_COMMAND,
	    EVENT_LEVEL, EVENT_CANCEL, EVENT_RESTORE_OBJECT, EVENT_NEW_OPTIONS);
	return (RC_OK);
}

static int
freePlugin(struct bareos_ctx * ctx)
{

	job_free(job_of(ctx));
	ctx->plugin_private = NULL;
	return (RC_OK);
}

static int
pluginValue(struct bareos_ctx * ctx, int var, void * value)
{

	(void)ctx;
	(void)var;
	(void)value;
	return (RC_ERROR);
}

static int
handlePluginEvent(struct bareos_ctx * ctx, struct bareos_event * event, void * value)
{
	struct job * j = job_of(ctx);
	const struct bareos_object * o;
	int rc = 0;

	if (j == NULL || event == NULL)
		return (RC_ERROR);
	switch (event->type) {
	case EVENT_NEW_OPTIONS:
		if (value != NULL)
			job_options(j, value);
		break;
	case EVENT_LEVEL:
		/* Of any job: it must not wake up the Go side. */
		j->level = (int)(intptr_t)value;
		break;
	case EVENT_RESTORE_OBJECT:
		/* Of any job: what does not fit is left out without a word. */
		if ((o = value) != NULL &&
		    o->pkt_size >= (int32_t)sizeof(struct bareos_object) &&
		    o->object_name != NULL && o->object != NULL)
			job_object(j, o->object_name, o->JobId, o->object,
			    o->object_len);
		break;
	case EVENT_BACKUP_COMMAND:
	case EVENT_ESTIMATE_COMMAND:
		rc = job_start_backup(j, value,
		    event->type == EVENT_ESTIMATE_COMMAND);
		break;
	case EVENT_END_BACKUP_JOB:
		job_end_backup(j);
		break;
	case EVENT_END_RESTORE_JOB:
		job_end_restore(j);
		break;
	case EVENT_CANCEL:
		job_cancel(j);
		break;
	default:
		/* RESTORE_COMMAND is registered to be found; the command comes
		 * again with startRestoreFile. */
		break;
	}
	return (rc == 0 ? RC_OK : RC_ERROR);
}

static int
startBackupFile(struct bareos_ctx * ctx, struct bareos_save * sp)
{
	struct job * j = job_of(ctx);
	struct entry * e;
	unsigned flags = 0;

	if (j == NULL || sp == NULL)
		return (RC_ERROR);
	if (!job_fits(j, "a file to be saved", sp->pkt_size, sizeof(*sp)))
		return (RC_STOP);
	if (!flag(sp->flags, FO_NO_HARDLINK))
		flags |= FLAG_HARDLINKS;
	if (flag(sp->flags, FO_XATTR))
		flags |= FLAG_XATTRS;
	if (flag(sp->flags, FO_ENCRYPT) || flag(sp->flags, FO_FORCE_ENCRYPT))
		flags |= FLAG_ENCRYPTED;
	/*
	 * Up to release 22 any answer but OK ends the list of files, silently:
	 * a failure has sent its own message, and Stop means the end everywhere.
	 */
	if (job_next(j, flags) < 0)
		return (RC_STOP);
	e = &j->entry;
	sp->type = type_of(e->kind);
	sp->statp = e->st;
	sp->no_read = e->kind != KIND_REGULAR;
	if (e->kind == KIND_OBJECT) {
		sp->object_name = e->name;
		sp->object = e->data;
		sp->object_len = e->data_len;
		return (RC_OK);
	}
	sp->fname = e->name;
	/* A directory is sent under `link', which is its name again. */
	sp->link = e->kind == KIND_DIRECTORY ? e->name : e->link;
	if (e->pieces) {
		sp->flags[FO_OFFSETS / 8] |= (unsigned char)(1 << FO_OFFSETS % 8);
		sp->flags[FO_SPARSE / 8] &= (unsigned char)~(1 << FO_SPARSE % 8);
	}
	return (RC_OK);
}

static int
endBackupFile(struct bareos_ctx * ctx)
{
	struct job * j = job_of(ctx);

	return (j != NULL && job_done(j) ? RC_MORE : RC_OK);
}

/* A file of the catalogue was not met: is it to be recorded as deleted? */
static int
checkFile(struct bareos_ctx * ctx, char * name)
{
	struct job * j = job_of(ctx);

	return (j != NULL && name != NULL && job_keeps(j, name) ? RC_SEEN : RC_OK);
}

static int
startRestoreFile(struct bareos_ctx * ctx, const char * cmd)
{
	struct job * j = job_of(ctx);

	if (j == NULL || job_start_restore(j, cmd) < 0)
		return (RC_ERROR);
	return (RC_OK);
}

static int
endRestoreFile(struct bareos_ctx * ctx)
{
	struct job * j = job_of(ctx);

	return (j != NULL && job_end_file(j) < 0 ? RC_ERROR : RC_OK);
}

static int
pluginIO(struct bareos_ctx * ctx, struct bareos_io * p)
{
	struct job * j = job_of(ctx);
	struct io io;

	if (j == NULL || p == NULL ||
	    !job_fits(j, "a read or write", p->pkt_size, sizeof(*p)))
		return (RC_ERROR);
	memset(&io, 0, sizeof(io));
	io.func = (enum io_func)p->func;
	io.count = p->count;
	io.flags = p->flags;
	io.buf = p->buf;
	io.name = p->fname;
	io.whence = p->whence;
	io.offset = p->offset;
	job_io(j, &io);
	p->status = io.status;
	p->io_errno = io.error;
	p->lerror = 0;
	p->win32 = false;
	if (io.func == IO_READ || io.func == IO_SEEK)
		p->offset = io.offset;
	/* From 22 the daemon reads and writes an open file itself. */
	if (io.func == IO_OPEN && io.fd >= 0 &&
	    p->pkt_size >= BAREOS_IO_WITH_FILEDES) {
		p->filedes = io.fd;
		p->status = IO_IN_CORE;
	}
	return (io.status < 0 ? RC_ERROR : RC_OK);
}

static int
createFile(struct bareos_ctx * ctx, struct bareos_restore * rp)
{
	/* By enum answer. */
	static const int status[] = { CF_SKIP, CF_CREATED, CF_EXTRACT };
	struct job * j = job_of(ctx);
	struct restored r;
	enum answer answer;

	if (j == NULL || rp == NULL ||
	    !job_fits(j, "a file to be restored", rp->pkt_size, sizeof(*rp)))
		return (RC_ERROR);
	memset(&r, 0, sizeof(r));
	r.name = rp->ofname;
	r.link = rp->olname;
	r.where = rp->where;	/* NULL with RegexWhere */
	r.kind = kind_of(rp->type);
	r.replace = rp->replace;
	r.sparse = sparse_stream(rp->data_stream);
	r.st = rp->statp;
	if (job_create(j, &r, &answer) < 0) {
		rp->create_status = CF_ERROR;
		return (RC_ERROR);
	}
	rp->create_status = status[answer];
	return (RC_OK);
}

static int
setFileAttributes(struct bareos_ctx * ctx, struct bareos_restore * rp)
{

	/* They are set when the file is done: attributes come later. */
	(void)ctx;
	(void)rp;
	return (RC_OK);
}

static int
getXattr(struct bareos_ctx * ctx, struct bareos_xattr * p)
{
	struct job * j = job_of(ctx);
	struct xattr x;
	int more;

	if (j == NULL || p == NULL ||
	    !job_fits(j, "an extended attribute", p->pkt_size, sizeof(*p)))
		return (RC_ERROR);
	more = job_xattr(j, &x);
	p->name = NULL;
	p->name_length = 0;
	p->value = NULL;
	p->value_length = 0;
	if (x.name == NULL)
		return (RC_OK);
	/* The core frees both with its own free. */
	p->name = core->coreMalloc(ctx, PLUGIN_NAME, 0, x.name_len + 1);
	p->value = core->coreMalloc(ctx, PLUGIN_NAME, 0, x.value_len + 1);
	if (p->name != NULL && p->value != NULL) {
		memcpy(p->name, x.name, x.name_len);
		p->name[x.name_len] = '\0';
		p->name_length = x.name_len;
		if (x.value_len > 0)
			memcpy(p->value, x.value, x.value_len);
		p->value[x.value_len] = '\0';
		p->value_length = x.value_len;
	}
	free(x.name);
	free(x.value);
	return (more ? RC_MORE : RC_OK);
}

static int
setXattr(struct bareos_ctx * ctx, struct bareos_xattr * p)
{
	struct job * j = job_of(ctx);

	if (j == NULL || p == NULL ||
	    !job_fits(j, "an extended attribute", p->pkt_size, sizeof(*p)))
		return (RC_ERROR);
	if (p->name != NULL)
		job_set_xattr(j, p->name, p->name_length, p->value, p->value_length);
	return (RC_OK);
}

static const struct bareos_info info = {
	sizeof(struct bareos_info), BAREOS_INTERFACE, PLUGIN_MAGIC, PLUGIN_LICENSE,
	PLUGIN_AUTHOR, PLUGIN_DATE, PLUGIN_VERSION, PLUGIN_DESCRIPTION, PLUGIN_USAGE
};

/* ACLs travel as extended attributes: no ACL functions (releases 17 to 21 drop
 * the stream, and the attributes of the file with it). */
static const struct bareos_functions functions = {
	sizeof(struct bareos_functions), BAREOS_INTERFACE, newPlugin, freePlugin,
	pluginValue, pluginValue, handlePluginEvent, startBackupFile, endBackupFile,
	startRestoreFile, endRestoreFile, pluginIO, createFile, setFileAttributes,
	checkFile, NULL, NULL, getXattr, setXattr
};

/**
 * bareos_load(calls, pinfo, pfunctions):
 * Answer a Bareos daemon whose functions are ${calls}.
 */
int
bareos_load(const struct bareos_core * calls, const struct bareos_info ** pinfo,
    const struct bareos_functions ** pfunctions)
{

	core = calls;
	*pinfo = &info;
	*pfunctions = &functions;
	return (0);
}
