/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "escape.h"
#include "xattr.h"

#define MAX_STREAM (1024 * 1024)	/* MAX_XATTR_STREAM. */
#define MAX_BLOCKS 100000

/* One attribute of Bareos, in memory of the core's malloc. */
struct pair {
	char * name;
	char * value;
	uint32_t nlen;
	uint32_t vlen;
};

/* Check that the core can free ${p}, and that ${len} bytes are there. */
static bool
block_ok(struct job * j, const char * what, const void * p, uint32_t len,
    const char * name)
{
	ssize_t size = heap_size(&j->heap, p);

	if (size == -1) {
		violate(j->number, "memory-foreign",
		    "the %s of an attribute of %s is not from the core's "
		    "malloc", what, escape(name));
		return (false);
	}
	if (size < (ssize_t)len) {
		violate(j->number, "xattr-fields",
		    "the %s of an attribute of %s has %zd bytes, not %u", what,
		    escape(name), size, len);
		return (false);
	}
	return (true);
}

static bool
pair_ok(struct job * j, const struct pair * x, const char * name)
{

	if (!block_ok(j, "name", x->name, x->nlen, name))
		return (false);
	if (memchr(x->name, '\0', x->nlen) != NULL) {
		violate(j->number, "xattr-fields",
		    "the name of an attribute of %s has a NUL in %u bytes",
		    escape(name), x->nlen);
		return (false);
	}
	if (x->vlen == 0)
		return ((x->value == NULL) ||
		    block_ok(j, "value", x->value, 0, name));
	if (x->value == NULL) {
		violate(j->number, "xattr-fields",
		    "an attribute of %s has %u bytes at NULL", escape(name),
		    x->vlen);
		return (false);
	}
	return (block_ok(j, "value", x->value, x->vlen, name));
}

/* One call of getXattr; return what it answered. */
static int
get_pair(struct job * j, const char * name, struct pair * x)
{
	struct pkt p;
	char * lent;
	int rc;

	lent = lend_string(j, name);
	pkt_new(&p, &j->slots, &pkt_bareos_xattr, true);
	pkt_setp(&p, "fname", lent);
	pkt_out(&p);
	call_enter(j, "getXattr");
	rc = j->h->f->t.bareos.getXattr(j->ctx.mem, p.mem);
	call_leave(j);
	pkt_back(&p, j->number, "getXattr");
	x->name = pkt_getp(&p, "name");
	x->nlen = (uint32_t)pkt_geti(&p, "name_length");
	x->value = pkt_getp(&p, "value");
	x->vlen = (uint32_t)pkt_geti(&p, "value_length");
	pkt_done(&p);
	return_string(j, lent, name, "getXattr");
	return (rc);
}

static void
free_pairs(struct job * j, struct pair * list, size_t n)
{
	size_t i;

	/* What is not the core's own was reported before. */
	for (i = 0; i < n; i++) {
		heap_free(&j->heap, list[i].name);
		heap_free(&j->heap, list[i].value);
	}
	free(list);
}

/* Bareos: one attribute per call. */
static void
save_bareos(struct job * j, uint32_t fi, const char * name)
{
	struct pair * list = NULL;
	struct pair * more;
	struct pair x;
	size_t n = 0, total = 0, i;
	bool bad = false;
	int rc;

	do {
		rc = get_pair(j, name, &x);
		if ((rc != RC_OK) && (rc != RC_MORE)) {
			violate(j->number, "xattr-return",
			    "getXattr of %s answered %d", escape(name), rc);
			daemon_message(j, MT_ERROR,
			    "Error in attributes of %s", escape(name));
			bad = true;
			break;
		}
		if ((x.nlen == 0) || (x.name == NULL)) {
			if ((x.nlen != 0) || (x.name != NULL))
				violate(j->number, "xattr-fields",
				    "an attribute of %s has %u bytes of name",
				    escape(name), x.nlen);
			continue;
		}
		if (!pair_ok(j, &x, name)) {
			heap_free(&j->heap, x.name);
			heap_free(&j->heap, x.value);
			bad = true;
			break;
		}
		if ((n & (n - 1)) == 0) {
			more = realloc(list, (2 * n + 1) * sizeof(x));
			if (more == NULL)
				abort();
			list = more;
		}
		list[n++] = x;
		total += 12 + (size_t)x.nlen + x.vlen;
		if (total >= MAX_STREAM) {
			violate(j->number, "xattr-limit",
			    "%zu bytes for %s", total, escape(name));
			daemon_message(j, MT_ERROR, "Xattr stream on file "
			    "\"%s\" exceeds maximum size", escape(name));
			bad = true;
		}
		if (n > MAX_BLOCKS) {
			violate(j->number, "xattr-endless", "%s", escape(name));
			bad = true;
		}
	} while ((rc == RC_MORE) && !bad);

	for (i = 0; (i < n) && !bad; i++)
		store_attr(j->out, fi, 0, list[i].name, list[i].nlen,
		    list[i].value, list[i].vlen);
	free_pairs(j, list, n);
}

static int
xacl_call(struct job * j, struct pkt * p, int func, const char * content,
    int32_t count)
{
	int rc;

	pkt_new(p, &j->slots, &pkt_xacl, true);
	pkt_seti(p, "func", func);
	pkt_setp(p, "content", content);
	pkt_seti(p, "count", count);
	pkt_out(p);
	call_enter(j, "handleXACLdata");
	rc = j->h->f->t.bacula9.handleXACLdata(j->ctx.mem, p->mem);
	call_leave(j);
	pkt_back(p, j->number, "handleXACLdata");
	return (rc);
}

/* Bacula: blocks of bytes, until one is empty. */
static void
save_bacula(struct job * j, uint32_t fi, const char * name, int func)
{
	struct pkt p;
	int32_t count;
	char * copy;
	void * content;
	int i, rc;

	for (i = 0; i < MAX_BLOCKS; i++) {
		rc = xacl_call(j, &p, func, NULL, 0);
		count = (int32_t)pkt_geti(&p, "count");
		content = pkt_getp(&p, "content");
		pkt_done(&p);
		if (rc != RC_OK) {
			violate(j->number, "xattr-return",
			    "handleXACLdata(%d) of %s answered %d", func,
			    escape(name), rc);
			daemon_message(j, MT_ERROR, "Error in %s data for %s",
			    (func == XACL_ACL_BACKUP) ? "acl" : "xattr",
			    escape(name));
			return;
		}
		if (count <= 0)
			return;
		if ((copy = malloc((size_t)count)) == NULL)
			abort();
		if (mem_read(copy, content, (size_t)count))
			violate(j->number, "xattr-fields",
			    "%d bytes of handleXACLdata(%d) of %s cannot be "
			    "read", count, func, escape(name));
		else
			store_attr(j->out, fi, func, NULL, 0, copy,
			    (size_t)count);
		free(copy);
	}
	violate(j->number, "xattr-endless", "handleXACLdata(%d) of %s", func,
	    escape(name));
}

/**
 * xattr_save(j, fi, name):
 * Ask the plugin for the attributes of the entry ${fi}, called ${name}, and
 * store them.
 */
void
xattr_save(struct job * j, uint32_t fi, const char * name)
{

	if (j->L->family == BAREOS) {
		if ((j->a->flags & (1ULL << FO_XATTR)) &&
		    (j->h->f->t.bareos.getXattr != NULL))
			save_bareos(j, fi, name);
		return;
	}

	/* Whatever the FileSet says. */
	if (j->h->f->t.bacula9.handleXACLdata == NULL)
		return;
	save_bacula(j, fi, name, XACL_ACL_BACKUP);
	if (!atomic_load(&j->canceled))
		save_bacula(j, fi, name, XACL_XATTR_BACKUP);
}

/* Bareos gives name and value, the name with a NUL behind it. */
static int
restore_bareos(struct job * j, const struct attr * a, const char * data)
{
	struct pkt p;
	char * name;
	void * value = NULL;
	char * fname;
	int rc;

	if (j->h->f->t.bareos.setXattr == NULL)
		return (-1);
	name = slot_take(&j->slots, (size_t)a->nlen + 1);
	memcpy(name, data, a->nlen);
	name[a->nlen] = '\0';
	if (a->vlen > 0)
		value = lend_bytes(j, data + a->nlen, a->vlen);
	fname = lend_string(j, j->last_fname);
	pkt_new(&p, &j->slots, &pkt_bareos_xattr, true);
	pkt_setp(&p, "fname", fname);
	pkt_setp(&p, "name", name);
	pkt_seti(&p, "name_length", a->nlen);
	pkt_setp(&p, "value", value);
	pkt_seti(&p, "value_length", a->vlen);
	pkt_out(&p);
	call_enter(j, "setXattr");
	rc = j->h->f->t.bareos.setXattr(j->ctx.mem, p.mem);
	call_leave(j);
	pkt_back(&p, j->number, "setXattr");
	pkt_done(&p);
	slot_give(&j->slots, name);
	return_bytes(j, value, a->vlen);
	return_string(j, fname, j->last_fname, "setXattr");
	return ((rc == RC_OK) ? 0 : -1);
}

static int
restore_bacula(struct job * j, const struct attr * a, const char * data)
{
	struct pkt p;
	void * lent;
	int rc;

	if ((j->h->f->t.bacula9.handleXACLdata == NULL) || (a->vlen == 0))
		return (0);
	lent = lend_bytes(j, data, a->vlen);
	rc = xacl_call(j, &p, a->func + 1, lent, (int32_t)a->vlen);
	pkt_done(&p);
	return_bytes(j, lent, a->vlen);
	return ((rc == RC_OK) ? 0 : -1);
}

/**
 * xattr_restore(j, r, e, a):
 * Give the plugin the attribute ${a} of the entry ${e}.  Return -1 if it
 * failed.
 */
int
xattr_restore(struct job * j, const struct store_reader * r,
    const struct entry * e, const struct attr * a)
{
	char * data;
	int rc;

	if ((data = malloc((size_t)a->nlen + a->vlen + 1)) == NULL)
		abort();
	if (store_get(r, a->pos, (size_t)a->nlen + a->vlen, data))
		rc = -1;
	else if (j->L->family == BAREOS)
		rc = restore_bareos(j, a, data);
	else
		rc = restore_bacula(j, a, data);
	if (rc != 0)
		daemon_message(j, MT_ERROR, "Error in attributes for %s",
		    escape(e->name));
	free(data);
	return (rc);
}
