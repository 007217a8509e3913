/* SPDX-License-Identifier: AGPL-3.0-only */
#include <sys/xattr.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tiny.h"

/* The members that the packets have at different places. */
struct view {
	int type;
	const char * ofname;
	const char * olname;
	struct stat st;
	int32_t * create_status;
};

static void
look(void * packet, struct view * v)
{
	struct bacula_restore_232 * b = packet;
	struct restore_232 * r = packet;

	if (!host.bareos && (host.iface == 23)) {
		v->type = b->type;
		v->ofname = b->ofname;
		v->olname = b->olname;
		v->st = b->statp;
		v->create_status = &b->create_status;
	} else {
		v->type = r->type;
		v->ofname = r->ofname;
		v->olname = r->olname;
		v->st = r->statp;
		v->create_status = &r->create_status;
	}
}

/**
 * start_restore(ctx, cmd):
 * A file begins.
 */
int
start_restore(void * ctx, const char * cmd)
{
	struct tiny * t = tiny_of(ctx);

	(void)cmd;
	t->ofname[0] = '\0';
	t->vlen = 0;
	return (fault("restore-silent") ? RC_ERROR : RC_OK);
}

static void
parents(char * path)
{
	char * p = path;

	while ((p = strchr(p + 1, '/')) != NULL) {
		*p = '\0';
		mkdir(path, 0755);
		*p = '/';
	}
}

/* Make what has no data. */
static int
make(const struct view * v)
{

	switch (v->type) {
	case FT_DIREND:
		return (((mkdir(v->ofname, 0700) == -1) && (errno != EEXIST)) ?
		    -1 : 0);
	case FT_LNK:
		return (symlink(v->olname, v->ofname));
	case FT_LNKSAVED:
		return (link(v->olname, v->ofname));
	case FT_SPEC:
		return (mkfifo(v->ofname, 0600));
	default:
		return (0);
	}
}

/**
 * create_file(ctx, packet):
 * Create the file, or what it takes to open it.
 */
int
create_file(void * ctx, void * packet)
{
	struct tiny * t = tiny_of(ctx);
	struct view v;

	look(packet, &v);
	snprintf(t->ofname, sizeof(t->ofname), "%s", v.ofname);
	t->type = v.type;
	t->no_io = (v.type != FT_REG) && (v.type != FT_REGE);
	parents(t->ofname);
	if (v.type != FT_DIREND)
		unlink(t->ofname);
	if (make(&v) || fault("create-fail")) {
		tell(t, 4, strerror(errno));
		return (RC_OK);
	}

	/* Only what is extracted gets its attributes back. */
	*v.create_status = (v.type == FT_DIREND) ? CF_CREATED : CF_EXTRACT;
	if (fault("create-rc"))
		return (RC_ERROR);
	if (fault("create-status"))
		*v.create_status = 9;
	if (fault("create-core") && (v.type == FT_REG))
		*v.create_status = CF_CORE;
	if (fault("core-all"))
		*v.create_status = CF_CORE;
	if (fault("created-data") && (v.type == FT_REG))
		*v.create_status = CF_CREATED;
	if (fault("created-xattr") && (v.type == FT_LNK))
		*v.create_status = CF_CREATED;
	if (fault("create-filedes") && (*(int32_t *)packet >= 240))
		((struct restore_240 *)packet)->filedes = 5;
	if (fault("create-guard"))
		((char *)packet)[*(int32_t *)packet + 4] = 1;
	return (RC_OK);
}

/**
 * set_attributes(ctx, packet):
 * Remember the attributes; they are set when the file is done.
 */
int
set_attributes(void * ctx, void * packet)
{
	struct tiny * t = tiny_of(ctx);
	struct view v;

	look(packet, &v);
	t->st = v.st;
	return (RC_OK);
}

/**
 * end_restore(ctx):
 * Set mode, attributes and time, in this order.
 */
int
end_restore(void * ctx)
{
	struct tiny * t = tiny_of(ctx);
	struct timespec ts[2];

	if (t->ofname[0] == '\0')
		return (RC_OK);
	/* The daemon may have left out zeros at the end. */
	if ((t->type == FT_REG) && truncate(t->ofname, t->st.st_size))
		tell(t, 4, strerror(errno));
	if (t->type != FT_LNK)
		chmod(t->ofname, t->st.st_mode & 07777);
	if (t->vlen > 0)
		lsetxattr(t->ofname, "user.tiny", t->value, t->vlen, 0);
	ts[0] = t->st.st_atim;
	ts[1] = t->st.st_mtim;
	utimensat(AT_FDCWD, t->ofname, ts, AT_SYMLINK_NOFOLLOW);
	t->ofname[0] = '\0';
	return (RC_OK);
}
