/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef VZ7CT_JOB_H
#define VZ7CT_JOB_H

#include <sys/stat.h>
#include <sys/types.h>

#include <stdint.h>

/*
 * What the daemons' dialects have in common.  A dialect (bareos.c, bacula.c)
 * translates its packets into these structures and calls the functions below;
 * nothing here knows a daemon's layout, and Go knows nothing but this file.
 */

struct job;
struct entry;

/* How bad a message is; each dialect has numbers of its own. */
enum severity { SAY_DEBUG, SAY_INFO, SAY_WARNING, SAY_ERROR, SAY_FATAL };

/* What a file is; the values are Go's (fdplugin.Kind). */
enum kind {
	KIND_REGULAR, KIND_EMPTY, KIND_DIRECTORY, KIND_SYMLINK, KIND_SPECIAL,
	KIND_HARDLINK, KIND_OBJECT
};

/* What is to be done with a restored file's content (fdplugin.Answer). */
enum answer { ANSWER_SKIP, ANSWER_CREATED, ANSWER_EXTRACT };

/* How a job is: cancelled or fatal, with errors counted, good (fdplugin.Health). */
enum health { HEALTH_FAILED, HEALTH_ERRORS, HEALTH_GOOD };

/* FileSet options that are told to Go with each file. */
#define FLAG_HARDLINKS	1u
#define FLAG_XATTRS	2u
#define FLAG_ENCRYPTED	4u

/* The two families of daemons differ in who finds hard links. */
enum family { FAMILY_BAREOS, FAMILY_BACULA };

/*
 * What a job needs of its daemon.  All functions are called on the job's own
 * thread.  Strings belong to the daemon and live as long as the job.
 */
struct daemon {
	enum family family;
	void (*say)(struct job *, enum severity, const char *);
	const char *(*job_name)(struct job *);
	const char *(*release)(struct job *);
	int (*file_index)(struct job *);
	/* How the job is so far, in the daemon's opinion. */
	enum health (*health)(struct job *);
	/* Do the FileSet's Options let the file pass?  1 or 0. */
	int (*accept)(struct job *, const struct entry *);
	/* Has the file changed since the job that the level goes by?  1, 0, or -1. */
	int (*changed)(struct job *, const struct entry *);
	/* Does the daemon compare with the catalogue? */
	int (*accurate)(struct job *);
	/* The name of the job that the level goes by; NULL or "" if there is none. */
	const char *(*previous)(struct job *);
	/* The time that the level goes by, by this node's clock; 0 if there is none. */
	int (*since)(struct job *);
};

/*
 * One file of a backup.  name, link and data are malloc'ed by Go and belong to
 * the job: they live until the next file, which is later than any daemon reads them.
 */
struct entry {
	char *name;
	char *link;
	char *data;		/* content of an object */
	int data_len;
	enum kind kind;
	int link_index;
	int pieces;		/* the content is sent in pieces, holes left out */
	int watched;		/* Go is to know what of the content cannot be read */
	int paced;		/* Go is to know how much of it was read */
	struct stat st;
};

/* One file of a restore.  Everything belongs to the daemon, for the call only. */
struct restored {
	const char *name;
	const char *where;	/* NULL: the names were chosen by RegexWhere */
	const char *link;
	enum kind kind;
	int sparse;
	int replace;
	struct stat st;
};

/* One extended attribute, malloc'ed by Go. */
struct xattr {
	char *name;
	char *value;
	uint32_t name_len;
	uint32_t value_len;
};

/* One job of the daemon, from newPlugin to freePlugin. */
struct job {
	const struct daemon *daemon;
	void *ctx;		/* the daemon's context of the job */
	uintptr_t handle;	/* Go's, 0 until something may be ours */
	int level;		/* the letter, 0 if it was not told */
	int restoring;
	struct entry entry;
	struct entry asked;	/* what the daemon was asked about last: it keeps the pointers */
	char *asked_text;	/* into this, which has room for so many bytes */
	size_t asked_room;
	struct xattr *xattrs;	/* of the file at hand, not yet handed over */
	int nxattrs, xattr_at, xattrs_read;
	char *blob;		/* attributes packed for Bacula */
	size_t blob_len;
	int blob_sent;

	/* The open file. */
	int fd;			/* -1: none */
	int foreign;		/* fd is ours to close, for a file that is not the job's */
	int pieces, sparse;
	int dense;		/* restoring: the stream has the holes as zeros */
	int broken;		/* a write has failed */
	int64_t size;		/* of the file as recorded */
	int64_t pos, data_end;	/* where we are, where the piece of data ends */
	int tail_sent;
	int misfit;		/* a packet of a wrong size was told of */
};

/*
 * One I/O call of the daemon, without the layout.  Offsets and sizes in bytes.
 */
enum io_func { IO_OPEN = 1, IO_READ, IO_WRITE, IO_CLOSE, IO_SEEK };
struct io {
	enum io_func func;
	int32_t count;
	int flags;
	char *buf;
	const char *name;
	int whence;
	int64_t offset;		/* in and out */
	int32_t status;		/* out */
	int32_t error;		/* out: errno */
	int fd;			/* out: the daemon may do the I/O itself; -1 */
};

/* job.c */
struct job *job_new(const struct daemon *, void *);
void job_free(struct job *);
void job_options(struct job *, const char *);
void job_object(struct job *, const char *, uint32_t, const char *, int);
int job_start_backup(struct job *, const char *, int);
int job_next(struct job *, unsigned);
int job_done(struct job *);
int job_ask_room(struct job *, size_t);
int job_ask(struct job *, int);
int job_keeps(struct job *, const char *);
int job_xattr(struct job *, struct xattr *);
int job_start_restore(struct job *, const char *);
int job_create(struct job *, const struct restored *, enum answer *);
void job_set_xattr(struct job *, const char *, uint32_t, const char *, uint32_t);
int job_end_file(struct job *);
void job_end_backup(struct job *);
void job_end_restore(struct job *);
void job_cancel(struct job *);

/* pack.c */
int job_pack_xattrs(struct job *, char **, int32_t *);
int job_unpack_xattrs(struct job *, const char *, int32_t);

/* io.c */
void job_io(struct job *, struct io *);
void job_drop_foreign(struct job *);

/* A message to the job log; also for Go. */
void job_say(struct job *, int, const char *);
int job_fits(struct job *, const char *, int32_t, size_t);

#endif
