/* SPDX-License-Identifier: AGPL-3.0-only */
#include <string.h>

#include "checks.h"
#include "escape.h"
#include "item.h"

static void
check_type(struct job * j, const struct item * it)
{

	switch (it->e.type) {
	case FT_REGE:
	case FT_REG:
	case FT_LNK:
	case FT_DIREND:
	case FT_SPEC:
		return;
	case FT_NOCHG:
	case FT_DIRNOCHG:
		if (j->level != 'F')
			return;
		break;
	case FT_LNKSAVED:
		if (j->L->family == BACULA)
			return;
		violate(j->number, "linksaved", "%s", escape(it->e.name));
		return;
	}
	violate(j->number, "entry-type", "type %d of %s", it->e.type,
	    escape(it->e.name));
}

static void
check_name(struct job * j, const struct item * it)
{
	const struct entry * e = &it->e;
	size_t len = strlen(e->name);
	bool slash = (len > 0) && (e->name[len - 1] == '/');

	if (e->name[0] != '/')
		violate(j->number, "entry-name", "%s is not absolute",
		    escape(e->name));
	if ((e->type == FT_DIREND) || (e->type == FT_DIRNOCHG)) {
		if (!slash || (strcmp(e->name, e->link) != 0))
			violate(j->number, "entry-dir",
			    "fname is %s, link is %s", escape(e->name),
			    (it->link == NULL) ? "NULL" : escape(e->link));
	} else if (slash)
		violate(j->number, "entry-name",
		    "%s ends in a slash and is no directory", escape(e->name));
	if (((e->type == FT_LNK) || (e->type == FT_LNKSAVED)) &&
	    (e->link[0] == '\0'))
		violate(j->number, "entry-link", "%s has no target",
		    escape(e->name));
}

/* A name comes once, and a directory after all that is in it. */
static void
check_order(struct job * j, const struct item * it)
{
	const struct entry * e = &it->e;
	const char * p = e->name;
	struct name * n;
	size_t len;

	while ((p = strchr(p, '/')) != NULL) {
		len = (size_t)(++p - e->name);
		if (*p == '\0')
			break;
		n = names_get(&j->names, e->name, len);
		if ((n != NULL) && (n->type == FT_DIREND)) {
			violate(j->number, "dir-order", "%s came before %s",
			    escape(n->name), escape(e->name));
			break;
		}
	}

	if (names_get(&j->names, e->name, strlen(e->name)) != NULL) {
		violate(j->number, "name-twice", "%s", escape(e->name));
		return;
	}
	if ((n = names_add(&j->names, e->name, strlen(e->name))) != NULL) {
		n->type = e->type;
		n->st = e->st;
	}
}

static void
check_stat(struct job * j, const struct item * it)
{
	const struct entry * e = &it->e;
	const struct stat * st = &e->st;
	mode_t fmt = st->st_mode & S_IFMT;
	bool ok;

	switch (e->type) {
	case FT_REG:
	case FT_REGE:	ok = (fmt == S_IFREG); break;
	case FT_LNK:	ok = (fmt == S_IFLNK); break;
	case FT_DIREND:
	case FT_DIRNOCHG: ok = (fmt == S_IFDIR); break;
	case FT_SPEC:	ok = (fmt == S_IFCHR) || (fmt == S_IFBLK) ||
			    (fmt == S_IFIFO) || (fmt == S_IFSOCK); break;
	default:	ok = (fmt != S_IFDIR); break;
	}
	if (!ok)
		violate(j->number, "stat-mode", "mode %o, type %d of %s",
		    st->st_mode, e->type, escape(e->name));

	if ((st->st_ino == 0) || (st->st_nlink == 0) || (st->st_size < 0))
		violate(j->number, "stat-fields",
		    "st_ino=%llu st_nlink=%llu st_size=%lld of %s",
		    (unsigned long long)st->st_ino,
		    (unsigned long long)st->st_nlink, (long long)st->st_size,
		    escape(e->name));
	if ((e->type == FT_REGE) && (st->st_size != 0))
		violate(j->number, "stat-fields", "empty file %s of %lld bytes",
		    escape(e->name), (long long)st->st_size);
}

static void
check_data(struct job * j, const struct item * it)
{
	const struct entry * e = &it->e;

	switch (e->type) {
	case FT_LNK:
	case FT_DIREND:
	case FT_SPEC:
	case FT_LNKSAVED:
		if (!it->no_read)
			violate(j->number, "no-read", "type %d, %s", e->type,
			    escape(e->name));
		break;
	case FT_REG:
		if (it->no_read && (e->st.st_size > 0))
			violate(j->number, "data-missing", "%s of %lld bytes",
			    escape(e->name), (long long)e->st.st_size);
		break;
	default:
		break;
	}
	if ((it->flags & (1ULL << FO_OFFSETS)) &&
	    (j->a->flags & (1ULL << FO_ENCRYPT)))
		violate(j->number, "offsets-encrypt", "%s", escape(e->name));
}

/* Two names of one inode must be one file. */
static void
check_inode(struct job * j, const struct item * it)
{
	const struct entry * e = &it->e;
	struct name * n;

	if ((e->st.st_ino == 0) || S_ISDIR(e->st.st_mode))
		return;
	n = inodes_get(&j->names, e->st.st_dev, e->st.st_ino);
	if (n == NULL) {
		n = inodes_add(&j->names, e->st.st_dev, e->st.st_ino, e->name);
		if (n != NULL)
			n->st = e->st;
		return;
	}
	if ((e->st.st_nlink < 2) || (n->st.st_nlink < 2) ||
	    ((e->st.st_mode & S_IFMT) != (n->st.st_mode & S_IFMT)) ||
	    (e->st.st_size != n->st.st_size) ||
	    (e->st.st_rdev != n->st.st_rdev))
		violate(j->number, "inode-clash", "%s and %s",
		    escape(n->name), escape(e->name));
	else if ((j->L->family == BACULA) && (e->type != FT_LNKSAVED) &&
	    (e->type != FT_LNK) && (n->fi != 0))
		violate(j->number, "hardlink-lost", "%s and %s",
		    escape(n->name), escape(e->name));
}

/* Bacula: the plugin says which entry holds the data. */
static void
check_link(struct job * j, const struct item * it)
{
	const struct entry * e = &it->e;
	struct name * n;

	if ((e->type != FT_LNKSAVED) || (j->L->family != BACULA))
		return;
	n = names_get(&j->names, e->link, strlen(e->link));
	if ((n == NULL) || (n->fi == 0) || (n->type == FT_LNKSAVED))
		violate(j->number, "link-fi",
		    "%s is a hard link to %s, which was not saved",
		    escape(e->name), escape(e->link));
	else if ((uint32_t)e->linkfi != n->fi)
		violate(j->number, "link-fi",
		    "%s has LinkFI %d, %s has FileIndex %u", escape(e->name),
		    e->linkfi, escape(e->link), n->fi);
	else if ((n->st.st_dev != e->st.st_dev) ||
	    (n->st.st_ino != e->st.st_ino))
		violate(j->number, "link-fi", "%s and %s are two files",
		    escape(e->name), escape(e->link));
}

/* What did not change since the last job has the same inode still. */
static void
check_previous(struct job * j, const struct item * it)
{
	const struct stat * st = &it->e.st;
	struct name * n;

	n = names_get(&j->seen, it->e.name, strlen(it->e.name));
	if ((n == NULL) || (n->type == FT_DELETED))
		return;
	if ((n->st.st_mode == st->st_mode) && (n->st.st_size == st->st_size) &&
	    (n->st.st_mtime == st->st_mtime) &&
	    (n->st.st_ctime == st->st_ctime) &&
	    ((n->st.st_dev != st->st_dev) || (n->st.st_ino != st->st_ino)))
		violate(j->number, "inode-unstable",
		    "%s was %llx:%llu and is %llx:%llu", escape(it->e.name),
		    (unsigned long long)n->st.st_dev,
		    (unsigned long long)n->st.st_ino,
		    (unsigned long long)st->st_dev,
		    (unsigned long long)st->st_ino);
}

/**
 * item_check(j, it):
 * Check the entry by itself and against those before it.
 */
void
item_check(struct job * j, struct item * it)
{

	check_type(j, it);
	check_name(j, it);
	check_order(j, it);
	check_stat(j, it);
	check_data(j, it);
	check_inode(j, it);
	check_link(j, it);
	check_previous(j, it);
}
