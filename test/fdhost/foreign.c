/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "escape.h"
#include "host.h"
#include "life.h"
#include "trouble.h"
#include "watch.h"

/* Up to 23, all plugins get these; later, only what has no name. */
static const char * const options[] = {
	"python3:module_path=/usr/lib/bareos/plugins:module_name=other",
	"bpipe:file=/tmp/x:reader=cat:writer=cat", "other", "no name at all",
	"%s%s%n:x=%d"
};

static const char * const filesets[] = {
	"bpipe:file=/MYSQL/dump.sql:reader=mysqldump:writer=mysql",
	"python3:module_path=/usr/lib/bareos/plugins:module_name=other"
};

/* An object that has no plugin's name goes to all, one with a name does not. */
static void
object(struct job * j, const char * plugin)
{
	static const char data[] = "<xml/>";
	struct pkt p;
	char * name;
	char * cmd;
	void * bytes;

	if ((*plugin != '\0') && !plugin_match(j, plugin))
		return;
	name = lend_string(j, "job_metadata.xml");
	cmd = lend_string(j, plugin);
	bytes = lend_bytes(j, data, sizeof(data));
	pkt_new(&p, &j->slots, &pkt_object, true);
	pkt_setp(&p, "object_name", name);
	pkt_setp(&p, "object", bytes);
	pkt_setp(&p, "plugin_name", cmd);
	pkt_seti(&p, "object_type", FT_RESTORE_FIRST);
	pkt_seti(&p, "object_len", sizeof(data));
	pkt_seti(&p, "object_full_len", sizeof(data));
	pkt_seti(&p, "JobId", 17);
	pkt_out(&p);
	event(j, j->L->ev_object, p.mem);
	pkt_back(&p, j->number, "handlePluginEvent(RestoreObject)");
	pkt_done(&p);
	return_bytes(j, bytes, sizeof(data));
	return_string(j, cmd, plugin, "handlePluginEvent(RestoreObject)");
	return_string(j, name, "job_metadata.xml",
	    "handlePluginEvent(RestoreObject)");
}

/* Files of others that the accurate list has and nobody saw. */
static void
check_files(struct job * j)
{
	static const char * const names[] = { "/etc/passwd", "/home/user/" };
	char * lent;
	size_t i;

	for (i = 0; (i < 2) && (j->h->f->checkFile != NULL); i++) {
		lent = lend_string(j, names[i]);
		call_enter(j, "checkFile");
		if (j->h->f->checkFile(j->ctx.mem, lent) == RC_SEEN)
			violate(j->number, "checkfile", "%s", names[i]);
		call_leave(j);
		return_string(j, lent, names[i], "checkFile");
	}
}

/* A job of other plugins, from beginning to end. */
static void
live(struct job * j, bool cancel)
{

	if (life_begin(j))
		return;
	life_setup(j, (j->type == 'R') ? "options" : "level,fileset,options");
	if (cancel) {
		trouble_cancel(j);
		atomic_store(&j->status, 'A');
	}
	switch (j->type) {
	case 'B':
		event(j, EV_START_BACKUP, NULL);
		if (!cancel)
			check_files(j);
		event(j, EV_END_BACKUP, NULL);
		break;
	case 'R':
		object(j, "");
		object(j, "bpipe:file=/x");
		object(j, "*all*");
		event(j, j->L->ev_object, NULL);
		event(j, EV_START_RESTORE, NULL);
		event(j, EV_END_RESTORE, NULL);
		break;
	default:
		event(j, EV_START_VERIFY, NULL);
		event(j, EV_END_VERIFY, NULL);
		break;
	}
	life_end(j);
}

/**
 * foreign_run(h, a):
 * Play jobs of other plugins.
 */
void
foreign_run(struct host * h, const struct args * a)
{
	static const char types[] = "BRVB";
	struct args fa = *a;
	struct fdset before;
	struct job * j;
	size_t i;
	int threads;

	/* What the command line gives comes on top. */
	for (i = 0; i < sizeof(filesets) / sizeof(filesets[0]); i++)
		fa.filesets.s[i] = filesets[i];
	fa.filesets.n = i;
	for (i = 0; (i < sizeof(options) / sizeof(options[0])) &&
	    (fa.joboptions.n < MAX_LIST); i++)
		fa.joboptions.s[fa.joboptions.n++] = options[i];

	for (i = 0; types[i] != '\0'; i++) {
		if ((j = calloc(1, sizeof(*j))) == NULL)
			abort();
		fds_now(&before);
		threads = threads_now();
		if (job_init(j, h, &fa, 1, types[i]) == 0)
			live(j, i == 3);
		job_free(j);
		free(j);
		fds_leaked(&before, (int)a->settle);
		if (threads_now() > threads + (int)a->max_threads)
			violate(0, "thread-leak", "%d threads, %d before",
			    threads_now(), threads);
		say(0, "foreign job %c: done", types[i]);
	}
}
