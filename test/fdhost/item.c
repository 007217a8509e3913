/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "escape.h"
#include "item.h"

static bool
is_object(int type)
{

	return ((type == FT_RESTORE_FIRST) || (type == FT_PLUGIN_CONFIG) ||
	    (type == FT_PLUGIN_CONFIG_FILLED));
}

/* Copy a string of the plugin; NULL is an empty one. */
static char *
copy(struct job * j, const char * s, const char * what)
{
	char * c;

	if (s == NULL)
		return (strdup(""));
	if ((c = mem_string(s)) == NULL) {
		violate(j->number, "strings-gone", "%s at %p cannot be read",
		    what, (const void *)s);
		c = strdup("");
	}
	return (c);
}

static int
take_object(struct job * j, const struct pkt * p, struct item * it)
{

	it->object_name = pkt_getp(p, "object_name");
	it->object = pkt_getp(p, "object");
	it->e.len = pkt_geti(p, "object_len");
	it->e.index = (int)pkt_geti(p, "index");
	if (it->object_name == NULL) {
		violate(j->number, "object-fields", "no object_name");
		daemon_message(j, MT_FATAL,
		    "Command plugin: no object_name in startBackupFile packet");
		return (-1);
	}
	it->e.name = copy(j, it->object_name, "object_name");
	if (it->e.name[0] == '\0')
		violate(j->number, "object-fields", "an empty object_name");
	if ((it->e.len < 0) || ((it->e.len > 0) && (it->object == NULL))) {
		violate(j->number, "object-fields", "%lld bytes at %p",
		    (long long)it->e.len, it->object);
		it->e.len = 0;
	}
	if ((it->data = malloc((size_t)it->e.len + 1)) == NULL)
		abort();
	if (mem_read(it->data, it->object, (size_t)it->e.len)) {
		violate(j->number, "strings-gone",
		    "%lld bytes of the object %s cannot be read",
		    (long long)it->e.len, escape(it->e.name));
		it->e.len = 0;
	}
	return (0);
}

static uint64_t
flag_bits(const struct job * j, const struct pkt * p)
{
	unsigned char bits[5];
	uint64_t flags = 0;
	int i;

	if (j->L->family == BACULA)
		return ((uint64_t)pkt_geti(p, "flags"));
	pkt_getb(p, "flags", bits);
	for (i = 0; i < 5; i++)
		flags |= (uint64_t)bits[i] << (8 * i);
	return (flags);
}

/**
 * item_take(j, p, cmd, it):
 * Read the save packet ${p} into ${it}, and check what can be checked.
 * Return -1 if the daemon ends the job because of it.
 */
int
item_take(struct job * j, const struct pkt * p, const char * cmd,
    struct item * it)
{

	memset(it, 0, sizeof(*it));
	it->e.cmd = strdup(cmd);
	it->e.type = (int)pkt_geti(p, "type");
	it->fname = pkt_getp(p, "fname");
	it->link = pkt_getp(p, "link");
	pkt_getb(p, "statp", &it->e.st);
	it->no_read = pkt_geti(p, "no_read") != 0;
	it->flags = flag_bits(j, p);
	it->e.delta = (uint32_t)pkt_geti(p, "delta_seq");
	if (pkt_has(p, "LinkFI"))
		it->e.linkfi = (int)pkt_geti(p, "LinkFI");

	if (it->e.type == 0) {
		violate(j->number, "entry-type", "no type");
		daemon_message(j, MT_FATAL,
		    "Command plugin: no type in startBackupFile packet");
		return (-1);
	}
	if (is_object(it->e.type))
		return (take_object(j, p, it));
	if (it->fname == NULL) {
		violate(j->number, "entry-name", "no fname");
		daemon_message(j, MT_FATAL,
		    "Command plugin: no fname in startBackupFile packet");
		return (-1);
	}
	it->e.name = copy(j, it->fname, "fname");
	it->e.link = copy(j, it->link, "link");
	item_check(j, it);
	return (0);
}

/* Compare a string of the plugin with the copy made at the start. */
static void
late_string(struct job * j, const char * s, const char * was, const char * what)
{
	char * c;

	if (s == NULL)
		return;
	c = mem_string(s);
	if ((c == NULL) || (strcmp(c, was) != 0))
		violate(j->number, "strings-gone", "%s %s became %s", what,
		    escape(was), (c == NULL) ? "unreadable" : escape(c));
	free(c);
}

/**
 * item_late(j, it):
 * Check that what the plugin lent for the file is still there.
 */
void
item_late(struct job * j, const struct item * it)
{
	void * c;

	if (it->data == NULL) {
		late_string(j, it->fname, it->e.name, "fname");
		late_string(j, it->link, it->e.link, "link");
		return;
	}
	late_string(j, it->object_name, it->e.name, "object_name");
	if ((c = malloc((size_t)it->e.len + 1)) == NULL)
		abort();
	if (mem_read(c, it->object, (size_t)it->e.len) ||
	    (memcmp(c, it->data, (size_t)it->e.len) != 0))
		violate(j->number, "strings-gone", "the object %s changed",
		    escape(it->e.name));
	free(c);
}

/**
 * item_free(it):
 * Free the copies.
 */
void
item_free(struct item * it)
{

	free(it->e.name);
	free(it->e.link);
	free(it->e.cmd);
	free(it->data);
	memset(it, 0, sizeof(*it));
}
