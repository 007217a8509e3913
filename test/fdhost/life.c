/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "core.h"
#include "escape.h"
#include "life.h"
#include "trouble.h"

/**
 * life_begin(j):
 * Make the plugin's instance and say that the job starts.  Return -1 if the
 * job cannot run.
 */
int
life_begin(struct job * j)
{
	char text[256];
	int rc;

	pkt_new(&j->ctx, &j->slots, j->L->context, true);
	pkt_setp(&j->ctx, "core_private", j);
	if (j->L->family == BAREOS)
		pkt_setp(&j->ctx, "plugin", j->h);
	j->thread = pthread_self();
	if (core_attach(j) || trouble_start(j)) {
		say(j->number, "cannot start");
		return (-1);
	}

	call_enter(j, "newPlugin");
	rc = j->h->f->newPlugin(j->ctx.mem);
	call_leave(j);
	if (rc != RC_OK) {
		violate(j->number, "new-plugin", "newPlugin answered %d", rc);
		j->disabled = true;
	}
	snprintf(text, sizeof(text), "JobId=%u Job=%s", j->jobid, j->name);
	event_string(j, EV_JOB_START, text);
	return (0);
}

static void
send_level(struct job * j)
{

	if ((j->type != 'B') && (j->type != 'V'))
		return;
	if ((j->level == 'I') || (j->level == 'D'))
		event(j, EV_SINCE, (void *)(uintptr_t)j->a->since);
	event(j, EV_LEVEL, (void *)(uintptr_t)j->level);
}

/* A command has a name if there is a colon, or no blank. */
static bool
has_name(const char * cmd)
{

	if (strchr(cmd, ':') != NULL)
		return (*cmd != ':');
	return ((*cmd != '\0') && (strchr(cmd, ' ') == NULL));
}

static void
malformed(struct job * j, const char * cmd)
{

	if ((strchr(cmd, ':') == NULL) && (strchr(cmd, ' ') != NULL))
		daemon_message(j, MT_ERROR, "Malformed plugin command: %s",
		    escape(cmd));
}

static void
send_fileset(struct job * j)
{
	size_t i;

	if (j->type != 'B')
		return;
	for (i = 0; i < j->a->filesets.n; i++) {
		malformed(j, j->cmds[i]);
		if (plugin_match(j, j->cmds[i]))
			event_string(j, j->L->ev_plugin_command, j->cmds[i]);
	}
	event(j, j->L->ev_end_fileset, NULL);
}

/* FD Plugin Options; Bacula has none, and an estimate does not get them. */
static void
send_options(struct job * j)
{
	char * s;
	size_t i;

	if ((j->L->ev_options == 0) || j->estimate)
		return;
	for (i = 0; i < j->a->joboptions.n; i++) {
		/* sscanf("%s") ends at white space other than blanks. */
		s = strdup(j->a->joboptions.s[i]);
		s[strcspn(s, "\t\n\v\f\r")] = '\0';
		if (*s == '\0')
			daemon_message(j, MT_FATAL,
			    "Bad Plugin Options command: pluginoptions");
		else if (!j->L->options_by_name)
			event_string(j, j->L->ev_options, s);
		else {
			malformed(j, s);
			if (!has_name(s) || plugin_match(j, s))
				event_string(j, j->L->ev_options, s);
		}
		free(s);
	}
}

/* One restore object of an earlier job. */
static void
send_object(struct job * j, const struct store_reader * r,
    const struct entry * e)
{
	struct pkt p;
	char * name;
	char * cmd;
	void * object;
	void * data;

	if (e->cmd[0] != '\0') {
		malformed(j, e->cmd);
		if (!plugin_match(j, e->cmd))
			return;
	}
	if ((data = malloc((size_t)e->len + 1)) == NULL)
		abort();
	if (store_get(r, e->pos, (size_t)e->len, data)) {
		say(j->number, "cannot read the object %s", escape(e->name));
		free(data);
		return;
	}
	name = lend_string(j, e->name);
	cmd = lend_string(j, e->cmd);
	object = lend_bytes(j, data, (size_t)e->len);
	pkt_new(&p, &j->slots, &pkt_object, true);
	pkt_setp(&p, "object_name", name);
	pkt_setp(&p, "object", object);
	pkt_setp(&p, "plugin_name", cmd);
	pkt_seti(&p, "object_type", e->type);
	pkt_seti(&p, "object_len", e->len);
	pkt_seti(&p, "object_full_len", e->len);
	pkt_seti(&p, "object_index", e->index);
	pkt_seti(&p, "object_compression", e->len > 1000);
	pkt_seti(&p, "JobId", e->jobid);
	pkt_out(&p);
	event(j, j->L->ev_object, p.mem);
	pkt_back(&p, j->number, "handlePluginEvent(RestoreObject)");
	pkt_done(&p);
	return_bytes(j, object, (size_t)e->len);
	return_string(j, cmd, e->cmd, "handlePluginEvent(RestoreObject)");
	return_string(j, name, e->name, "handlePluginEvent(RestoreObject)");
	free(data);
}

/* Objects of one type and index, the newest job first. */
static int
send_indexed(struct job * j, struct store_reader ** r, size_t n, int type,
    int index)
{
	const struct entry * e;
	size_t i, k;
	int sent = 0;

	for (i = n; i-- > 0;) {
		for (k = 0; k < r[i]->n; k++) {
			e = &r[i]->entries[k];
			if ((e->type != type) || (e->index != index))
				continue;
			send_object(j, r[i], e);
			sent++;
		}
	}
	return (sent);
}

/**
 * life_objects(j, stores, n):
 * Send the restore objects of the archives, and then that these are all.
 */
void
life_objects(struct job * j, struct store_reader ** r, size_t n)
{
	static const int types[] = { FT_RESTORE_FIRST, FT_PLUGIN_CONFIG };
	const struct entry * e;
	int index, last = 0, sent = 0;
	size_t i, k;

	for (i = 0; i < n; i++) {
		for (k = 0; k < r[i]->n; k++) {
			e = &r[i]->entries[k];
			if ((e->st.st_mode == 0) && (e->index > last))
				last = e->index;
		}
	}

	/*
	 * The catalogue is asked by type, in the order of the index; jobs come
	 * in any order, so the newest is first here.
	 */
	for (i = 0; i < 2; i++) {
		for (index = 0; index <= last; index++)
			sent += send_indexed(j, r, n, types[i], index);
	}
	if (sent > 0)
		event(j, j->L->ev_object, NULL);
}

/* Before a backup that builds on another, Bareos sends its objects. */
static void
send_objects(struct job * j)
{

	if ((j->type == 'R') && !j->a->no_objects)
		life_objects(j, j->stores, j->nstores);
	if ((j->L->family == BAREOS) && (j->type == 'B') && !j->estimate &&
	    (j->level != 'F') && (j->previous != NULL))
		life_objects(j, &j->previous, 1);
}

/**
 * life_setup(j, order):
 * Send what the Director says before the job proper, in the order of the
 * words in ${order}, unless the command line has another.
 */
void
life_setup(struct job * j, const char * order)
{
	const char * p;
	size_t len;

	for (p = (j->a->order != NULL) ? j->a->order : order; *p != '\0';) {
		len = strcspn(p, ",");
		if (strncmp(p, "level", len) == 0)
			send_level(j);
		else if (strncmp(p, "fileset", len) == 0)
			send_fileset(j);
		else if (strncmp(p, "options", len) == 0)
			send_options(j);
		else if (strncmp(p, "objects", len) == 0)
			send_objects(j);
		p += len + (p[len] == ',');
	}
}

/**
 * life_end(j):
 * Say that the job ended, and free the plugin's instance.
 */
void
life_end(struct job * j)
{
	unsigned int n;

	if (j->a->die_early < 0)
		event(j, EV_JOB_END, NULL);
	trouble_settle(j);
	call_enter(j, "freePlugin");
	j->h->f->freePlugin(j->ctx.mem);
	call_leave(j);
	trouble_stop(j);
	core_detach(j);
	if ((n = heap_clear(&j->heap)) > 0)
		violate(j->number, "memory-leak",
		    "%u blocks of the core's malloc", n);
	pkt_done(&j->ctx);
	if (!job_canceled(j))
		atomic_store(&j->status, 'T');
}
