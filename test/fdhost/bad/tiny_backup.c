/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tiny.h"

static const char object[] = "tiny object\n";

static void
fill_stat(struct stat * st, const struct file * f, bool second)
{

	memset(st, 0, sizeof(*st));
	st->st_dev = second ? 78 : 77;
	st->st_ino = (ino_t)f->ino;
	st->st_mode = f->mode;
	st->st_nlink = (nlink_t)f->nlink;
	st->st_size = f->size;
	st->st_blksize = 4096;
	st->st_mtime = st->st_ctime = st->st_atime = 1700000000;
	if (fault("mode") && (f->ino == 13))
		st->st_mode = 0100644;
	if (fault("ino0") && (f->ino == 12))
		st->st_ino = 0;
	if (fault("inode-clash") && (f->ino == 19))
		st->st_ino = 14;
	if (fault("inode-unstable"))
		st->st_ino += 1000;
}

static void
set_flag(void * packet, int bit)
{

	if (host.bareos)
		((struct bareos_save_240 *)packet)->flags[bit / 8] |=
		    (char)(1 << (bit % 8));
	else if (host.iface == 14)
		((struct bacula_save_240 *)packet)->flags |= 1ULL << bit;
	else
		((struct bacula_save_344 *)packet)->flags |= 1ULL << bit;
}

/* What the three packets have under the same names. */
#define FILL(sp, f, t, want) do {					\
	fill_stat(&(sp)->statp, f, (t)->second);				\
	(sp)->fname = (t)->name;					\
	(sp)->link = (t)->link;						\
	(sp)->type = (want);						\
	(sp)->no_read = ((want) != FT_REG) && ((want) != FT_REGE);	\
	if ((want) == FT_RESTORE_FIRST) {				\
		(sp)->fname = NULL;					\
		(sp)->object_name = fault("object") ? NULL : (t)->name;	\
		(sp)->object = (char *)(uintptr_t)object;		\
		(sp)->object_len = (int)sizeof(object) - 1;		\
		(sp)->index = 1;					\
	}								\
	if (fault("read-dir") && ((want) == FT_DIREND))			\
		(sp)->no_read = false;					\
	if (fault("no-data") && ((f)->ino == 11))			\
		(sp)->no_read = true;					\
	if (fault("pkt-end"))						\
		(sp)->pkt_end = 0;					\
	if (fault("pkt-size"))						\
		(sp)->pkt_size = 999;					\
} while (0)

/* The type, which in Bareos is never that of a hard link. */
static int
type_of(struct tiny * t, const struct file * f)
{

	(void)t;
	if (fault("no-type") && (f->ino == 12))
		return (0);
	if (fault("fifo-type") && (f->type == FT_SPEC))
		return (FT_FIFO);
	if (f->type != FT_LNKSAVED)
		return (f->type);
	if (host.bareos)
		return (fault("linksaved") ? FT_LNKSAVED : FT_REG);
	return (fault("hardlink-lost") ? FT_REG : FT_LNKSAVED);
}

static void
fill_packet(struct tiny * t, void * packet, const struct file * f)
{
	struct bacula_save_240 * b9 = packet;
	struct bacula_save_344 * b15 = packet;
	struct bareos_save_240 * sp = packet;
	int type = type_of(t, f);
	int fi = t->fi[6] + (fault("link-fi") ? 1 : 0);

	if (host.bareos) {
		FILL(sp, f, t, type);
	} else if (host.iface == 14) {
		FILL(b9, f, t, type);
		b9->LinkFI = (type == FT_LNKSAVED) ? fi : 0;
	} else {
		FILL(b15, f, t, type);
		b15->LinkFI = (type == FT_LNKSAVED) ? fi : 0;
	}

	/* Nothing tells whether the daemon encrypts, which OFFSETS prevents. */
	if (strstr(f->name, "sparse") != NULL)
		set_flag(packet, t->offsets ? FO_OFFSETS : FO_SPARSE);
	if (fault("guard"))
		((char *)packet)[(host.iface == 23) ? 344 : 240] = 1;
}

static char *
named(struct tiny * t, const char * s, int ino)
{
	char * name;

	if (fault("relative") && (ino == 12))
		return (strdup(s + 1));
	if (fault("twice") && (ino == 12))
		return (strdup("/tiny/etc/hello.txt"));
	if (asprintf(&name, "%s%s", (t->second && (*s == '/')) ? "/two" : "",
	    s) == -1)
		return (NULL);
	return (name);
}

static void
set_names(struct tiny * t, const struct file * f)
{
	size_t len;

	free(t->name);
	free(t->link);
	t->link = NULL;
	t->name = named(t, f->name, f->ino);
	if (f->type == FT_DIREND)
		t->link = named(t, f->name, 0);
	else if ((f->link != NULL) &&
	    ((f->type != FT_LNKSAVED) || !host.bareos))
		t->link = named(t, f->link, 0);
	if (fault("dir-noslash") && (f->type == FT_DIREND)) {
		len = strlen(t->name);
		t->name[len - 1] = '\0';
	}
	if (fault("link-null") && (f->type == FT_LNK)) {
		free(t->link);
		t->link = NULL;
	}
}

/**
 * next_file(t, i):
 * Return the first file from ${i} on that is to be saved.
 */
int
next_file(struct tiny * t, int i)
{
	union {
		struct bareos_save_240 a;
		struct bacula_save_240 b;
		struct bacula_save_344 c;
	} u;
	int level = 'F';

	core_value(t, 3, 3, &level);
	for (; (level != 'F') && (i < nfiles); i++) {
		if (files[i].type == FT_RESTORE_FIRST)
			break;
		memset(&u, 0, sizeof(u));
		set_names(t, &files[i]);
		if (t->link == NULL && !fault("asked-link"))
			t->link = strdup("");
		fill_packet(t, &u, &files[i]);
		if (core_changed(t, &u) == RC_OK)
			break;
	}
	return (i);
}

/* Faults that answer before there is a file. */
static int
refuse(struct tiny * t)
{

	if (t->current < 3)
		return (-1);
	if (fault("skip"))
		return (RC_SKIP);
	if (fault("more"))
		return (RC_MORE);
	if (fault("stop-early"))
		return (RC_STOP);
	if (fault("error"))
		return (RC_ERROR);
	if (fault("fatal")) {
		tell(t, 3, "cannot go on");
		return (RC_ERROR);
	}
	return (-1);
}

/**
 * start_backup(ctx, packet):
 * Give the next file.
 */
int
start_backup(void * ctx, void * packet)
{
	struct tiny * t = tiny_of(ctx);
	int rc;

	if (t->canceled || (t->next >= nfiles))
		return (RC_STOP);
	t->current = t->next;
	if ((rc = refuse(t)) != -1)
		return (rc);

	/* The directory first is a fault, and so is twice. */
	if (fault("dir-first"))
		t->current = (t->next == 1) ? 3 : (t->next == 3) ? 1 : t->next;
	set_names(t, &files[t->current]);
	fill_packet(t, packet, &files[t->current]);
	t->xattrs = 0;
	return (RC_OK);
}

/**
 * end_backup(ctx):
 * Say whether another file comes.
 */
int
end_backup(void * ctx)
{
	struct tiny * t = tiny_of(ctx);

	core_value(t, 0, 23, &t->fi[t->current]);
	t->next = next_file(t, t->next + 1);
	if (fault("end-return"))
		return (RC_SKIP);
	return ((t->next < nfiles) ? RC_MORE : RC_OK);
}
