/* SPDX-License-Identifier: AGPL-3.0-only */
#include <string.h>

#include "bacula.h"
#include "job.h"
#include "plugin.h"

/* Numbers that both versions share. */
enum { RC_OK = 0, RC_STOP = 1, RC_ERROR = 2, RC_MORE = 3, RC_SEEN = 5 };
enum {
	EVENT_END_BACKUP_JOB = 4, EVENT_END_RESTORE_JOB = 6,
	EVENT_BACKUP_COMMAND = 9, EVENT_ESTIMATE_COMMAND = 11, EVENT_LEVEL = 12,
	EVENT_CANCEL = 14, EVENT_RESTORE_OBJECT = 18
};
enum { VALUE_JOB_NAME = 6, VALUE_JOB_STATUS = 7, VALUE_SINCE = 8,
	VALUE_ACCURATE = 9, VALUE_PREVIOUS = 20, VALUE_FILE_INDEX = 23 };
enum { CF_SKIP = 1, CF_ERROR = 2, CF_EXTRACT = 3, CF_CREATED = 4 };
enum { ACL_BACKUP = 1, ACL_RESTORE = 2, XATTR_BACKUP = 3, XATTR_RESTORE = 4 };
#define FO_OFFSETS	(UINT64_C(1) << 30)

static const struct bacula_core * core;

/* Release 15 has one message type more before M_FATAL. */
static int
is15(void)
{

	return (core->version == BACULA15_INTERFACE);
}

static struct job *
job_of(struct bacula_ctx * ctx)
{

	return (ctx == NULL ? NULL : ctx->plugin_private);
}

static void
say(struct job * j, enum severity severity, const char * text)
{
	/* M_INFO 6, M_WARNING 5, M_ERROR 4, M_FATAL 3 in 9. */
	static const int numbers[] = { 0, 6, 5, 4, 3 };

	if (severity == SAY_DEBUG)
		core->debugMessage(j->ctx, PLUGIN_NAME, 0, 150, "%s\n", text);
	else
		core->jobMessage(j->ctx, PLUGIN_NAME, 0,
		    numbers[severity] + is15(), 0, "%s\n", text);
}

static const char *
job_name(struct job * j)
{
	const char * name = NULL;

	core->getValue(j->ctx, VALUE_JOB_NAME, &name);
	return (name);
}

static const char *
release(struct job * j)
{
	const char * text = NULL;

	core->getValue(j->ctx, is15() ? 18 : 17, &text);
	return (text);
}

static int
file_index(struct job * j)
{
	int index = 0;

	core->getValue(j->ctx, VALUE_FILE_INDEX, &index);
	return (index);
}

static enum health
health(struct job * j)
{
	int status = 0;

	core->getValue(j->ctx, VALUE_JOB_STATUS, &status);
	if (status == 'A' || status == 'f')
		return (HEALTH_FAILED);
	return (status == 'E' ? HEALTH_ERRORS : HEALTH_GOOD);
}

/* Fill the members that the two layouts have under the same names. */
#define FILL(sp, e) do {						\
	(sp)->type = type_of((e)->kind);					\
	(sp)->statp = (e)->st;						\
	(sp)->no_read = (e)->kind != KIND_REGULAR;			\
	if ((e)->kind == KIND_OBJECT) {					\
		(sp)->object_name = (e)->name;				\
		(sp)->object = (e)->data;				\
		(sp)->object_len = (e)->data_len;			\
		break;							\
	}								\
	(sp)->fname = (e)->name;					\
	(sp)->link = (e)->kind == KIND_DIRECTORY ? (e)->name : (e)->link; \
	(sp)->LinkFI = (e)->link_index;					\
	if ((e)->pieces)						\
		(sp)->flags |= FO_OFFSETS;				\
} while (0)

/*
 * A packet to ask the core about a file with.  It reads fname, link, statp and type,
 * and writes delta_seq and accurate_found (checkChanges and AcceptFile in
 * filed/fd_plugins.c, 9.6 and 15); there is room behind for what a release may add.
 */
union question {
	struct bacula9_save sp9;
	struct bacula15_save sp15;
	char room[sizeof(struct bacula15_save) + 256];
};

static void
ask(union question * q, const struct entry * e)
{

	memset(q, 0, sizeof(*q));
	if (is15()) {
		q->sp15.pkt_size = q->sp15.pkt_end = sizeof(q->sp15);
		FILL(&q->sp15, e);
		q->sp15.link = e->link;
	} else {
		q->sp9.pkt_size = q->sp9.pkt_end = sizeof(q->sp9);
		FILL(&q->sp9, e);
		q->sp9.link = e->link;
	}
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

	ask(&q, e);
	switch (core->checkChanges(j->ctx, &q)) {
	case RC_OK:
		return (1);
	case RC_SEEN:
		return (0);
	default:
		return (-1);
	}
}

static int
accurate(struct job * j)
{
	int yes = 0;

	core->getValue(j->ctx, VALUE_ACCURATE, &yes);
	return (yes != 0);
}

static const char *
previous(struct job * j)
{
	const char * name = NULL;

	core->getValue(j->ctx, VALUE_PREVIOUS, &name);
	return (name);
}

static int
since(struct job * j)
{
	int when = 0;

	core->getValue(j->ctx, VALUE_SINCE, &when);
	return (when);
}

static const struct daemon daemon_calls = {
	FAMILY_BACULA, say, job_name, release, file_index, health, accept_file,
	changed, accurate, previous, since
};

static int
newPlugin(struct bacula_ctx * ctx)
{

	if ((ctx->plugin_private = job_new(&daemon_calls, ctx)) == NULL)
		return (RC_ERROR);
	return (RC_OK);
}

static int
freePlugin(struct bacula_ctx * ctx)
{

	job_free(job_of(ctx));
	ctx->plugin_private = NULL;
	return (RC_OK);
}

static int
pluginValue(struct bacula_ctx * ctx, int var, void * value)
{

	(void)ctx;
	(void)var;
	(void)value;
	return (RC_ERROR);
}

static int
handlePluginEvent(struct bacula_ctx * ctx, struct bacula_event * event, void * value)
{
	struct job * j = job_of(ctx);
	const struct bacula_object * o;
	int rc = 0;

	/* Every event comes here, registered or not. */
	if (j == NULL || event == NULL)
		return (RC_OK);
	switch (event->type) {
	case EVENT_LEVEL:
		/* Of any job: it must not wake up the Go side. */
		j->level = (int)(intptr_t)value;
		break;
	case EVENT_RESTORE_OBJECT:
		/* Of any job: what does not fit is left out without a word. */
		if ((o = value) != NULL &&
		    o->pkt_size >= (int32_t)sizeof(struct bacula_object) &&
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
		break;
	}
	return (rc == 0 ? RC_OK : RC_ERROR);
}

static int
startBackupFile(struct bacula_ctx * ctx, void * packet)
{
	struct job * j = job_of(ctx);
	struct bacula15_save * sp15 = packet;
	struct bacula9_save * sp9 = packet;

	if (j == NULL || packet == NULL)
		return (RC_ERROR);
	/* The size comes first in both layouts. */
	if (!job_fits(j, "a file to be saved", sp9->pkt_size,
	    is15() ? sizeof(*sp15) : sizeof(*sp9)))
		return (RC_STOP);
	/* Any answer but OK ends the list of files without a message. */
	if (job_next(j, FLAG_HARDLINKS | FLAG_XATTRS) < 0)
		return (RC_STOP);
	if (is15())
		FILL(sp15, &j->entry);
	else
		FILL(sp9, &j->entry);
	return (RC_OK);
}

static int
endBackupFile(struct bacula_ctx * ctx)
{
	struct job * j = job_of(ctx);

	return (j != NULL && job_done(j) ? RC_MORE : RC_OK);
}

/* A file of the catalogue was not met: is it to be recorded as deleted? */
static int
checkFile(struct bacula_ctx * ctx, char * name)
{
	struct job * j = job_of(ctx);

	return (j != NULL && name != NULL && job_keeps(j, name) ? RC_SEEN : RC_OK);
}

static int
startRestoreFile(struct bacula_ctx * ctx, const char * cmd)
{
	struct job * j = job_of(ctx);

	if (j == NULL || job_start_restore(j, cmd) < 0)
		return (RC_ERROR);
	return (RC_OK);
}

static int
endRestoreFile(struct bacula_ctx * ctx)
{
	struct job * j = job_of(ctx);

	return (j != NULL && job_end_file(j) < 0 ? RC_ERROR : RC_OK);
}

static int
pluginIO(struct bacula_ctx * ctx, struct bacula_io * p)
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
	return (io.status < 0 ? RC_ERROR : RC_OK);
}

static int
createFile(struct bacula_ctx * ctx, struct bacula_restore * rp)
{
	/* By enum answer. */
	static const int status[] = { CF_SKIP, CF_CREATED, CF_EXTRACT };
	const int32_t * head;
	struct job * j = job_of(ctx);
	struct restored r;
	enum answer answer;

	if (j == NULL || rp == NULL ||
	    !job_fits(j, "a file to be restored", rp->pkt_size, sizeof(*rp)))
		return (RC_ERROR);
	/* stream, data_stream, type ...; 15 has plugin_mode before them. */
	head = rp->head + is15();
	memset(&r, 0, sizeof(r));
	r.name = rp->ofname;
	r.link = rp->olname;
	r.where = rp->where;
	r.kind = kind_of(head[2]);
	r.replace = rp->replace;
	r.sparse = sparse_stream(head[1]);
	r.st = rp->statp;
	if (job_create(j, &r, &answer) < 0) {
		rp->create_status = CF_ERROR;
		return (RC_ERROR);
	}
	rp->create_status = status[answer];
	return (RC_OK);
}

static int
setFileAttributes(struct bacula_ctx * ctx, struct bacula_restore * rp)
{

	/* They are set when the file is done: attributes come later. */
	(void)ctx;
	(void)rp;
	return (RC_OK);
}

static int
handleXACLdata(struct bacula_ctx * ctx, struct bacula_xacl * x)
{
	struct job * j = job_of(ctx);

	if (j == NULL || x == NULL ||
	    !job_fits(j, "extended attributes", x->pkt_size, sizeof(*x)))
		return (RC_ERROR);
	switch (x->func) {
	case ACL_BACKUP:
		/* ACLs travel as extended attributes. */
		x->count = 0;
		return (RC_OK);
	case XATTR_BACKUP:
		return (job_pack_xattrs(j, &x->content, &x->count) < 0 ?
		    RC_ERROR : RC_OK);
	case XATTR_RESTORE:
		return (job_unpack_xattrs(j, x->content, x->count) < 0 ?
		    RC_ERROR : RC_OK);
	case ACL_RESTORE:
	default:
		return (RC_OK);
	}
}

static struct bacula_info info = {
	sizeof(struct bacula_info), 0, PLUGIN_MAGIC, PLUGIN_LICENSE, PLUGIN_AUTHOR,
	PLUGIN_DATE, PLUGIN_VERSION, PLUGIN_DESCRIPTION
};

static struct bacula_functions functions = {
	0, 0, newPlugin, freePlugin, pluginValue, pluginValue, handlePluginEvent,
	startBackupFile, endBackupFile, startRestoreFile, endRestoreFile, pluginIO,
	createFile, setFileAttributes, checkFile, handleXACLdata, { NULL }
};

/**
 * bacula_load(calls, pinfo, pfunctions):
 * Answer a Bacula daemon, whose functions are ${calls}, in its own version.
 */
int
bacula_load(const struct bacula_core * calls, const struct bacula_info ** pinfo,
    const struct bacula_functions ** pfunctions)
{

	core = calls;
	info.version = calls->version;
	functions.version = calls->version;
	functions.size = is15() ? BACULA15_FUNCTIONS_SIZE : BACULA9_FUNCTIONS_SIZE;
	*pinfo = &info;
	*pfunctions = &functions;
	return (0);
}
