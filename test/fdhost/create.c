/* SPDX-License-Identifier: AGPL-3.0-only */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bfd.h"
#include "checks.h"
#include "escape.h"
#include "restore.h"

static const char *
say_error(void)
{

	return (strerror(errno));
}

/* Make the directories above ${path}. */
static int
make_parents(char * path)
{
	char * p = path;
	int rc;

	while ((p = strchr(p + 1, '/')) != NULL) {
		*p = '\0';
		rc = ((mkdir(path, 0755) == -1) && (errno != EEXIST)) ? -1 : 0;
		*p = '/';
		if (rc != 0)
			return (-1);
	}
	return (0);
}

static int
make_dir(struct job * j, struct back * b)
{
	struct stat st;

	if (make_parents(b->ofname) || ((mkdir(b->ofname, 0755) == -1) &&
	    ((stat(b->ofname, &st) == -1) || !S_ISDIR(st.st_mode)))) {
		daemon_message(j, MT_ERROR, "Could not make path %s: ERR=%s",
		    escape(b->ofname), say_error());
		return (CF_ERROR);
	}
	return (CF_CREATED);
}

/* A fifo or device; Bareos makes no devices, Bacula does. */
static int
make_special(struct job * j, struct back * b, bool exists)
{
	mode_t mode = b->e->st.st_mode;
	int rc = 0;

	if (S_ISFIFO(mode))
		rc = mkfifo(b->ofname, mode);
	else if (S_ISSOCK(mode))
		return (CF_CREATED);
	else if (j->L->family == BACULA)
		rc = mknod(b->ofname, mode, b->e->st.st_rdev);
	else if (!exists && (strcmp(b->e->name, b->ofname) == 0)) {
		daemon_message(j, MT_ERROR, "Device restore on root failed, "
		    "device %s missing.", escape(b->e->name));
		return (CF_ERROR);
	}
	if ((rc == -1) && (errno != EEXIST)) {
		daemon_message(j, MT_ERROR, "Cannot make node %s: ERR=%s",
		    escape(b->ofname), say_error());
		return (CF_ERROR);
	}
	return (CF_CREATED);
}

static int
make_file(struct job * j, struct back * b)
{
	mode_t mode = (j->L->family == BAREOS) ? 0 : 0600;

	if (bfd_open(j, b->ofname, O_WRONLY | O_CREAT | O_TRUNC, mode) < 0) {
		daemon_message(j, MT_ERROR, "Could not create %s: ERR=%s",
		    escape(b->ofname), strerror(j->bfd.err));
		return (CF_ERROR);
	}
	return (CF_EXTRACT);
}

static int
make_other(struct job * j, struct back * b, bool exists)
{
	const char * what;
	int rc;

	if (exists)
		unlink(b->ofname);
	if (make_parents(b->ofname))
		return (CF_ERROR);
	switch (b->e->type) {
	case FT_REG:
	case FT_REGE:
		return (make_file(j, b));
	case FT_SPEC:
		return (make_special(j, b, exists));
	case FT_LNKSAVED:
		what = "hard link";
		rc = link(b->olname, b->ofname);
		break;
	case FT_LNK:
		what = "symlink";
		rc = symlink(b->olname, b->ofname);
		break;
	default:
		return (CF_ERROR);
	}
	if (rc == -1) {
		daemon_message(j, MT_ERROR, "Could not %s %s -> %s: ERR=%s",
		    what, escape(b->ofname), escape(b->olname), say_error());
		return (CF_ERROR);
	}
	return (CF_CREATED);
}

/**
 * create_core(j, b):
 * Create the file as the core does when the plugin leaves it to it.  Return
 * CF_*.
 */
int
create_core(struct job * j, struct back * b)
{
	const struct stat * want = &b->e->st;
	struct stat st;
	bool exists, skip = false;

	exists = (lstat(b->ofname, &st) == 0);
	if (exists && (j->a->replace == 'w'))
		skip = (want->st_mtime <= st.st_mtime);
	else if (exists && (j->a->replace == 'o'))
		skip = (want->st_mtime >= st.st_mtime);
	else if (exists && (j->a->replace == 'n'))
		skip = true;
	if (skip) {
		daemon_message(j, MT_SKIPPED, "File skipped: %s",
		    escape(b->ofname));
		return (CF_SKIP);
	}
	if (b->e->type == FT_DIREND)
		return (make_dir(j, b));
	return (make_other(j, b, exists));
}

/* The packet of createFile and setFileAttributes. */
static void
restore_packet(struct job * j, struct pkt * p, struct back * b, bool create,
    char ** lent)
{
	const struct entry * e = b->e;
	bool zero = !create || ((j->L->family == BAREOS) &&
	    (j->L->release >= 22));
	bool regex = (j->a->renames.n > 0) || j->a->regexwhere;

	lent[0] = lend_string(j, b->ofname);
	lent[1] = lend_string(j, b->olname);
	lent[2] = lend_string(j, "");
	lent[3] = regex ? NULL : lend_string(j, j->where);
	lent[4] = (regex && (j->L->family == BACULA)) ?
	    lend_string(j, j->regexwhere) : NULL;
	pkt_new(p, &j->slots, j->L->restore, zero);
	pkt_seti(p, "stream", STREAM_UNIX_ATTRIBUTES);
	pkt_seti(p, "data_stream", e->stream);
	pkt_seti(p, "type", e->type);
	pkt_seti(p, "file_index", e->fi);
	pkt_seti(p, "LinkFI", e->linkfi);
	pkt_seti(p, "uid", getuid());
	pkt_setb(p, "statp", &e->st);
	pkt_setp(p, "ofname", lent[0]);
	pkt_setp(p, "olname", lent[1]);
	pkt_setp(p, "attrEx", lent[2]);
	pkt_setp(p, "where", lent[3]);
	pkt_setp(p, "RegexWhere", lent[4]);
	pkt_seti(p, "replace", j->a->replace);
	pkt_seti(p, "create_status", CF_ERROR);
	pkt_seti(p, "delta_seq", create ? e->delta : 0);
	if (pkt_has(p, "filedes"))
		pkt_seti(p, "filedes", -1);
	lent[5] = lent[6] = NULL;
	if (pkt_has(p, "original_file_name")) {
		lent[5] = lend_string(j, e->name);
		lent[6] = lend_string(j, (e->link == NULL) ? "" : e->link);
		pkt_setp(p, "original_file_name", lent[5]);
		pkt_setp(p, "original_link_name", lent[6]);
	}
	pkt_out(p);
}

static int
restore_packet_done(struct job * j, struct pkt * p, struct back * b,
    char ** lent, const char * where)
{
	const struct entry * e = b->e;
	int status;

	pkt_back(p, j->number, where);
	status = (int)pkt_geti(p, "create_status");
	if (pkt_has(p, "filedes") && (pkt_geti(p, "filedes") != -1))
		violate(j->number, "create-filedes", "%s set %d for %s", where,
		    (int)pkt_geti(p, "filedes"), escape(e->name));
	pkt_done(p);
	return_string(j, lent[6], (e->link == NULL) ? "" : e->link, where);
	return_string(j, lent[5], e->name, where);
	return_string(j, lent[4], j->regexwhere, where);
	return_string(j, lent[3], j->where, where);
	return_string(j, lent[2], "", where);
	return_string(j, lent[1], b->olname, where);
	return_string(j, lent[0], b->ofname, where);
	return (status);
}

/**
 * create_plugin(j, b):
 * Ask the plugin to create the file.  Return CF_*.
 */
int
create_plugin(struct job * j, struct back * b)
{
	char * lent[7];
	struct pkt p;
	int rc, status;

	if (job_canceled(j))
		return (CF_ERROR);
	if (j->L->family == BAREOS)
		j->bfd.plugin = true;
	restore_packet(j, &p, b, true, lent);
	call_enter(j, "createFile");
	rc = j->h->f->createFile(j->ctx.mem, p.mem);
	call_leave(j);
	status = restore_packet_done(j, &p, b, lent, "createFile");
	if (rc != RC_OK) {
		if (!job_ending(j))
			violate(j->number, "create-return", "%d for %s", rc,
			    escape(b->e->name));
		daemon_message(j, MT_ERROR, "Plugin createFile call failed. "
		    "Stat=%d file=%s", rc, escape(b->ofname));
		return (CF_ERROR);
	}
	switch (status) {
	case CF_ERROR:
		daemon_message(j, MT_ERROR, "Plugin createFile call failed. "
		    "Returned CF_ERROR file=%s", escape(b->ofname));
		return (CF_ERROR);
	case CF_SKIP:
	case CF_CORE:
		return (status);
	case CF_CREATED:
	case CF_EXTRACT:
		break;
	default:
		violate(j->number, "create-status", "%d for %s", status,
		    escape(b->e->name));
		break;
	}
	j->bfd.plugin = true;
	if (status == CF_CREATED)
		return (status);
	if (bfd_open(j, b->ofname, O_WRONLY | O_CREAT | O_TRUNC,
	    S_IRUSR | S_IWUSR) < 0) {
		daemon_message(j, MT_ERROR, "Could not create %s: ERR=%s",
		    escape(b->ofname), strerror(j->bfd.err));
		return (CF_ERROR);
	}
	return (CF_EXTRACT);
}

/* Set what SetAttributes() sets: in Bareos next to nothing. */
static void
attrs_core(struct job * j, struct back * b)
{
	const struct stat * st = &b->e->st;
	struct timespec t[2] = { st->st_atim, st->st_mtim };
	int64_t size;

	if (bfd_opened(j)) {
		size = bfd_seek(j, 0, SEEK_END);
		if ((b->e->type == FT_REG) && (size > 0) &&
		    (st->st_size > 0) && (size != st->st_size))
			daemon_message(j, MT_ERROR, "File size of restored "
			    "file %s not correct. Original %lld, restored "
			    "%lld.", escape(b->ofname),
			    (long long)st->st_size, (long long)size);
	}
	if ((b->e->type != FT_SPEC) || !S_ISSOCK(st->st_mode)) {
		if ((b->e->type == FT_LNK) || (j->L->family == BACULA)) {
			if (lchown(b->ofname, st->st_uid, st->st_gid) == -1)
				daemon_message(j, MT_ERROR, "Unable to set "
				    "file owner %s: ERR=%s",
				    escape(b->ofname), say_error());
		}
		if (j->L->family == BACULA) {
			if (b->e->type != FT_LNK)
				chmod(b->ofname, st->st_mode & 07777);
			utimensat(AT_FDCWD, b->ofname, t, AT_SYMLINK_NOFOLLOW);
		}
	}
	bfd_close(j);
}

/**
 * attrs_set(j, b):
 * Let the plugin, or the core on its behalf, set the attributes, and close
 * the file.
 */
void
attrs_set(struct job * j, struct back * b)
{
	char * lent[7];
	struct pkt p;
	int status;

	restore_packet(j, &p, b, false, lent);
	call_enter(j, "setFileAttributes");
	j->h->f->setFileAttributes(j->ctx.mem, p.mem);
	call_leave(j);
	status = restore_packet_done(j, &p, b, lent, "setFileAttributes");
	if (status == CF_CORE)
		attrs_core(j, b);
	else if (bfd_opened(j))
		bfd_close(j);
}
