/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdlib.h>
#include <string.h>

#include "backup.h"
#include "checks.h"
#include "core.h"
#include "escape.h"
#include "life.h"

/* What startBackupFile answered besides OK. */
static void
start_refused(struct job * j, int rc, uint32_t before)
{

	/*
	 * Stop ends the list in every release, and so is harmless when there
	 * is nothing to save at all.  A job that is over needs no reason.
	 */
	if (job_ending(j) && ((rc == RC_STOP) || (rc == RC_ERROR)))
		return;
	if ((rc == RC_STOP) && (j->entries == before))
		return;
	violate(j->number, "start-return",
	    "startBackupFile answered %d after %u entries", rc,
	    j->entries - before);
	if (j->L->start_told_apart && (rc == RC_ERROR))
		daemon_message(j, MT_FATAL,
		    "Command plugin: startBackupFile failed.");
	else if (j->L->start_told_apart && (rc != RC_STOP) && (rc != RC_SKIP))
		daemon_message(j, MT_ERROR, "Command plugin: unhandled "
		    "returncode from startBackupFile.");
}

/* Make the packet of one file, and send it. */
static int
start_file(struct job * j, const char * cmd, struct item * it, bool * fatal)
{
	struct pkt p;
	char * lent;
	int rc;

	pkt_new(&p, &j->slots, j->L->save, true);
	lent = lend_string(j, cmd);
	pkt_setp(&p, "cmd", lent);
	pkt_seti(&p, "portable", 1);

	/*
	 * Bareos gives the options of the FileSet.  FO_ENCRYPT is not one: the
	 * core sets it only after this call (backup.cc SetupEncryptionDigests).
	 */
	if (j->L->family == BAREOS)
		pkt_seti(&p, "flags",
		    (int64_t)(j->a->flags & ~(1ULL << FO_ENCRYPT)));
	pkt_out(&p);
	call_enter(j, "startBackupFile");
	rc = j->h->f->startBackupFile(j->ctx.mem, p.mem);
	call_leave(j);
	pkt_back(&p, j->number, "startBackupFile");
	if (rc == RC_OK) {
		j->entries++;
		*fatal = item_take(j, &p, cmd, it) != 0;
	}
	pkt_done(&p);
	return_string(j, lent, cmd, "startBackupFile");
	return (rc);
}

static int
end_file(struct job * j, struct item * it)
{
	int rc;

	item_late(j, it);
	call_enter(j, "endBackupFile");
	rc = j->h->f->endBackupFile(j->ctx.mem);
	call_leave(j);
	if ((rc != RC_MORE) && (rc != RC_OK) && !job_ending(j))
		violate(j->number, "end-return", "%d after %s", rc,
		    escape(it->e.name));
	if (((rc == RC_MORE) || (rc == RC_OK)) && (it->data == NULL))
		core_see(j, it->e.name);
	return (rc);
}

/* The estimate counts, and lists. */
static void
estimate_file(struct job * j, const struct item * it)
{
	struct name * n;

	if (it->data != NULL)
		return;
	j->files++;
	if ((it->e.type != FT_LNKSAVED) && S_ISREG(it->e.st.st_mode))
		j->bytes += (uint64_t)it->e.st.st_size;
	n = names_get(&j->names, it->e.name, strlen(it->e.name));
	if (n != NULL)
		n->fi = j->files;
	if (j->listing != NULL) {
		entry_line(&it->e, j->listing);
		entry_names(&it->e, j->listing);
	}
}

/* Send the plugin's own command; return false if there is nothing to do. */
static bool
send_command(struct job * j, const char * cmd)
{
	uint32_t type = j->estimate ? EV_ESTIMATE_COMMAND : EV_BACKUP_COMMAND;
	int rc;

	if (!plugin_match(j, cmd) ||
	    !((j->L->family == BACULA) || ((j->events >> type) & 1))) {
		violate(j->number, "not-found", "%s", escape(cmd));
		daemon_message(j, MT_FATAL, "Command plugin \"%s\" not found.",
		    escape(cmd));
		return (false);
	}
	if (j->disabled)
		return (false);
	j->own_command = true;
	rc = event_string(j, type, cmd);
	if (rc != RC_OK) {
		if (!job_ending(j))
			violate(j->number, "command-silent",
			    "event %u answered %d", type, rc);
		return (false);
	}
	return (true);
}

/* One Plugin = line: PluginSave(), PluginEstimate(). */
static void
plugin_save(struct job * j, const char * cmd)
{
	struct item it = { .no_read = false };
	uint32_t before = j->entries;
	bool fatal = false;
	int rc, skips = 0;

	if (job_canceled(j) || !send_command(j, cmd))
		return;
	while (!job_canceled(j)) {
		rc = start_file(j, cmd, &it, &fatal);
		if (rc != RC_OK) {
			start_refused(j, rc, before);
			if (j->L->start_told_apart && (rc == RC_SKIP) &&
			    !j->estimate && (++skips < 1000))
				continue;
			break;
		}
		if (!fatal && j->estimate)
			estimate_file(j, &it);
		else if (!fatal)
			save_file(j, &it);
		if (fatal) {
			item_free(&it);
			break;
		}
		rc = end_file(j, &it);
		item_free(&it);
		if (rc != RC_MORE)
			break;
		if ((j->a->die_early >= 0) &&
		    (j->entries >= (uint32_t)j->a->die_early))
			break;
	}
}

/**
 * backup_run(j):
 * Play a whole backup job, or an estimate.
 */
void
backup_run(struct job * j)
{
	bool dies;
	size_t i;

	if (life_begin(j))
		return;
	life_setup(j, "level,fileset,options,objects");
	dies = (j->a->die_early >= 0);
	if (!j->estimate && !(dies && (j->a->die_early == 0)))
		event(j, EV_START_BACKUP, NULL);
	for (i = 0; i < j->a->filesets.n; i++) {
		if (!(dies && (j->entries >= (uint32_t)j->a->die_early)))
			plugin_save(j, j->cmds[i]);
	}
	if (!j->estimate && !job_canceled(j) && !dies)
		accurate_finish(j);
	if (!j->estimate && !dies) {
		event(j, EV_END_BACKUP, NULL);
		if (j->a->end_twice)
			event(j, EV_END_BACKUP, NULL);
	}
	life_end(j);
}
