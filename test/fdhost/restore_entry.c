/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdlib.h>
#include <string.h>

#include "bfd.h"
#include "checks.h"
#include "escape.h"
#include "restore.h"
#include "xattr.h"

static bool
bacula15(const struct job * j)
{

	return ((j->L->family == BACULA) && (j->L->release >= 15));
}

/* RestoreCommand and startRestoreFile; return false if they failed. */
static bool
start(struct job * j, const struct entry * e)
{
	char * lent;
	int rc;

	j->own_command = true;
	rc = event_string(j, EV_RESTORE_COMMAND, e->cmd);
	if (rc == RC_OK) {
		lent = lend_string(j, e->cmd);
		call_enter(j, "startRestoreFile");
		rc = j->h->f->startRestoreFile(j->ctx.mem, lent);
		call_leave(j);
		return_string(j, lent, e->cmd, "startRestoreFile");
	}
	if (rc == RC_OK) {
		j->started = true;
		return (true);
	}
	if (job_ending(j))
		return (false);

	/* Bareos ends the job; Bacula would write the file itself. */
	violate(j->number, "restore-silent", "%d for %s", rc, escape(e->name));
	daemon_message(j, MT_FATAL, (j->L->family == BAREOS) ?
	    "Unbalanced call to createFile=0 0" :
	    "fdhost: the core would restore this file without the plugin");
	return (false);
}

/* Find the plugin; return false if there is nothing to restore with. */
static bool
find_plugin(struct job * j, const struct entry * e)
{

	if (!plugin_match(j, e->cmd) || j->disabled) {
		daemon_message(j, MT_WARNING, "Plugin=%s not found.",
		    escape(e->cmd));
		return (false);
	}
	if (event_wanted(j, EV_RESTORE_COMMAND))
		return (true);
	violate(j->number, "not-found", "%s", escape(e->cmd));
	daemon_message(j, MT_FATAL, "Plugin=%s not found.", escape(e->cmd));
	return (false);
}

/* One record of data; return false if the rest is left out. */
static bool
write_record(struct job * j, struct back * b, int64_t off, int64_t pos,
    uint32_t len, int64_t * addr)
{

	if (len > j->L->bufsize) {
		daemon_message(j, MT_FATAL, "fdhost: record of %u bytes", len);
		return (false);
	}
	if (store_get(b->r, pos, len, j->iobuf + GUARD)) {
		daemon_message(j, MT_FATAL, "fdhost: cannot read the archive");
		return (false);
	}
	if ((b->e->stream == STREAM_SPARSE_DATA) && (*addr != off)) {
		*addr = off;
		if (bfd_seek(j, off, SEEK_SET) < 0) {
			daemon_message(j, MT_ERROR, "Seek to %lld error on %s: "
			    "ERR=%s", (long long)off, escape(b->ofname),
			    strerror(j->bfd.err));
			return (false);
		}
	}
	if (bfd_write(j, len) != (ssize_t)len) {
		daemon_message(j, MT_ERROR, "Write error on %s: %s",
		    escape(b->ofname), strerror(j->bfd.err));
		return (false);
	}
	*addr += len;
	return (true);
}

static void
write_data(struct job * j, struct back * b)
{
	const struct extent * x;
	int64_t addr = 0;
	size_t i;
	uint32_t k;

	for (i = 0; (i < b->e->nextents) && j->extract; i++) {
		x = &b->e->extents[i];
		for (k = 0; (k < x->n) && !job_canceled(j); k++) {
			if (!write_record(j, b, x->off + (int64_t)k * x->len,
			    x->pos + (int64_t)k * x->len, x->len, &addr)) {
				j->extract = false;
				bfd_close(j);
				break;
			}
		}
	}
}

/* Whether the core gives attributes back after what createFile said. */
static bool
wants_attrs(const struct job * j)
{

	if (j->L->xacl_needs_plugin && !j->bfd.plugin)
		return (false);
	return (j->extract || (j->last_type == FT_DIREND) ||
	    (bacula15(j) && (j->last_type == FT_LNK)));
}

static void
give_attrs(struct job * j, struct back * b)
{
	size_t i;
	int rc;

	for (i = 0; i < b->e->nattrs; i++) {
		rc = xattr_restore(j, b->r, b->e, &b->e->attrs[i]);

		/* Bareos has all of them in one stream, and gives up. */
		if ((rc != 0) && (j->L->family == BAREOS))
			return;
	}
}

/* ClosePreviousStream(). */
static void
close_previous(struct job * j, struct back * b, bool delayed)
{

	if (j->extract) {
		attrs_set(j, b);
		j->extract = false;
		if (delayed)
			give_attrs(j, b);
		return;
	}
	if (bfd_opened(j)) {
		daemon_message(j, MT_ERROR,
		    "Logic error: output file should not be open");
		bfd_close(j);
	} else if (delayed && bacula15(j))
		give_attrs(j, b);
}

/* What the answer of createFile means for what was stored. */
static void
check_dropped(struct job * j, struct back * b, int status)
{

	if ((status != CF_CREATED) && (status != CF_EXTRACT))
		return;
	if (!j->extract && (b->e->nextents > 0))
		violate(j->number, "data-dropped", "%s", escape(b->e->name));
	if (!wants_attrs(j) && (b->e->nattrs > 0) &&
	    (b->e->type != FT_LNKSAVED))
		violate(j->number, "xattr-dropped", "%s", escape(b->e->name));
}

/* The attributes of the file: create it, as far as that goes. */
static int
create(struct job * j, struct back * b)
{
	int status;

	j->extract = false;
	status = create_plugin(j, b);
	if (status == CF_CORE)
		status = create_core(j, b);
	strcpy(j->last_fname, b->ofname);
	j->last_type = b->e->type;
	j->examined++;
	if ((status == CF_EXTRACT) || (status == CF_CREATED))
		j->extract = (status == CF_EXTRACT);
	if (status != CF_ERROR)
		j->files++;
	return (status);
}

/**
 * restore_entry(j, b):
 * Restore the entry ${b} as the core does, from the name of the plugin to the
 * end.
 */
void
restore_entry(struct job * j, struct back * b)
{
	bool delayed = false;
	int status;

	if (!find_plugin(j, b->e) || !start(j, b->e))
		return;
	j->entries++;
	where_names(j, b);
	status = create(j, b);
	check_dropped(j, b, status);
	if (status == CF_CREATED)
		attrs_set(j, b);
	if (j->extract)
		write_data(j, b);

	/* A directory gets them at once, all else when it is closed. */
	if (wants_attrs(j) && !job_canceled(j)) {
		if (j->last_type == FT_DIREND)
			give_attrs(j, b);
		else
			delayed = true;
	}
	close_previous(j, b, delayed);
	j->bytes += (uint64_t)b->e->st.st_size;
	if (job_canceled(j) || !j->started)
		return;
	call_enter(j, "endRestoreFile");
	j->h->f->endRestoreFile(j->ctx.mem);
	call_leave(j);
	bfd_ended(j);
	j->started = false;
}
