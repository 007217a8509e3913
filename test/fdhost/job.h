/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef JOB_H_
#define JOB_H_

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "abi.h"
#include "args.h"
#include "layout.h"
#include "mem.h"
#include "names.h"
#include "pkt.h"
#include "store.h"

/* Bytes of the longest name, with what a job may put before it: the daemons have
 * no limit of their own but that of a message. */
#define NAME_SIZE (256 << 10)

/* The plugin as the daemon loaded it. */
struct host {
	const struct layout * L;
	void * handle;
	char name[64];			/* Text before "-fd.so". */
	int (* load)(void *, void *, void **, void **);
	int (* unload)(void);
	struct plugin_funcs * f;
	struct plugin_info * info;
};

/* The daemon's handle of the file it saves or restores. */
struct bfd {
	int fid;			/* -1: not open. */
	bool plugin;			/* cmd_plugin: I/O is the plugin's. */
	bool in_core;			/* do_io_in_core. */
	bool kept;			/* Restored, to be closed by its end. */
	int kept_fid;
	int64_t offset;			/* Of the last IO_READ. */
	int err;			/* errno of the last operation. */
	dev_t dev;			/* What fid was, if in_core. */
	ino_t ino;
	struct timespec born;		/* When; 0 if that is not known. */
};

/* One job in one File Daemon: what the daemon keeps in its JCR. */
struct job {
	struct host * h;
	const struct layout * L;
	const struct args * a;
	int number;			/* Which of --parallel, from 1. */
	uint32_t jobid;
	char type;			/* 'B', 'R', 'V'. */
	char level;			/* 'F', 'I', 'D', ' '. */
	bool estimate;
	bool foreign;			/* A job of other plugins. */
	char name[128];
	char previous_name[128];	/* "": there is none. */
	char * cmds[MAX_LIST];		/* Plugin = lines. */
	char where[4096];
	char regexwhere[4096];

	/* The plugin's instance. */
	struct slots slots;
	struct heap heap;
	struct pkt ctx;
	bool disabled;
	uint32_t events;		/* Bits of registered events. */
	bool own_command;		/* The plugin got its command. */
	bool fatal_plugin;		/* The plugin sent M_FATAL. */
	bool fatal_daemon;
	atomic_bool cancel_sent;

	/* Where the job thread is; read by other threads. */
	pthread_t thread;
	_Atomic(const char *) call;	/* NULL: not in the plugin. */
	atomic_long call_start;		/* Seconds, monotonic. */
	atomic_int in_cancel;		/* Calls of CancelCommand. */
	atomic_bool canceled;
	atomic_bool over;		/* No more signals to the thread. */
	atomic_int status;		/* 'R', 'f', 'A', 'E', 'T'. */
	atomic_uint errors;
	atomic_uint warnings;
	sigset_t mask;			/* Before the call. */

	/* Backup. */
	uint32_t files;			/* JobFiles, the last FileIndex. */
	uint32_t examined;
	uint64_t bytes;
	uint32_t entries;		/* What the plugin gave, or took back. */
	struct names names;		/* What came so far. */
	struct names seen;		/* What earlier jobs saved. */
	struct store_reader * previous;
	struct store_writer * out;
	FILE * listing;
	char * iobuf;
	struct bfd bfd;
	unsigned int opens;

	struct trouble * trouble;

	/* Restore. */
	struct store_reader * stores[MAX_LIST];
	size_t nstores;
	bool started;			/* restoreFileStarted. */
	bool extract;
	char last_fname[NAME_SIZE];
	int last_type;
};

/**
 * job_init(j, h, a, number, type):
 * Prepare the job number ${number} of type ${type}.
 */
int job_init(struct job *, struct host *, const struct args *, int, char);

/**
 * job_free(j):
 * Release what the job ${j} holds.
 */
void job_free(struct job *);

/**
 * job_canceled(j):
 * Return true if the daemon would stop the job: canceled, or fatal.
 */
bool job_canceled(const struct job *);

/**
 * job_ending(j):
 * Return true if the plugin may know that the job will not go on: it may be
 * told before the daemon acts on it.
 */
bool job_ending(const struct job *);

/**
 * daemon_message(j, type, fmt, ...):
 * Say something in the daemon's own name, with the effects of ${type}.
 */
void daemon_message(struct job *, enum mtype, const char *, ...)
    __attribute__((format(printf, 3, 4)));

/**
 * job_effect(j, type):
 * Let a message of ${type} change the state of the job.
 */
void job_effect(struct job *, enum mtype);

/**
 * call_enter(j, name):
 * The job thread is about to call the function ${name} of the plugin.
 */
void call_enter(struct job *, const char *);

/**
 * call_leave(j):
 * The job thread is back from the plugin; check what every call must keep.
 */
void call_leave(struct job *);

/**
 * lend_string(j, s):
 * Lend the plugin a copy of the string ${s}; NULL stays NULL.
 */
char * lend_string(struct job *, const char *);

/**
 * return_string(j, lent, s, where):
 * Take back what lend_string gave for ${s}, and check that the call ${where}
 * left it alone.
 */
void return_string(struct job *, char *, const char *, const char *);

/**
 * lend_bytes(j, src, len):
 * Lend the plugin a copy of ${len} bytes.
 */
void * lend_bytes(struct job *, const void *, size_t);

/**
 * return_bytes(j, lent, len):
 * Take back what lend_bytes gave.
 */
void return_bytes(struct job *, void *, size_t);

/**
 * event(j, type, value):
 * Send the event ${type} to the plugin, if the daemon would, and return what
 * the plugin answered, or RC_OK.
 */
int event(struct job *, uint32_t, void *);

/**
 * event_string(j, type, s):
 * Send the event ${type} with a copy of the string ${s} as value.
 */
int event_string(struct job *, uint32_t, const char *);

/**
 * event_wanted(j, type):
 * Return true if the plugin gets events of this type in this job.
 */
bool event_wanted(const struct job *, uint32_t);

/**
 * plugin_match(j, cmd):
 * Return true if the daemon would send the command ${cmd} to the plugin.
 */
bool plugin_match(const struct job *, const char *);

#endif /* !JOB_H_ */
