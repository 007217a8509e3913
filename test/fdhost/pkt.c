/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "pkt.h"

static const struct field *
find(const struct pktdef * def, const char * name)
{
	size_t i;

	for (i = 0; i < def->nfields; i++) {
		if (strcmp(def->fields[i].name, name) == 0)
			return (&def->fields[i]);
	}
	return (NULL);
}

static const struct field *
must(const struct pkt * p, const char * name)
{
	const struct field * f;

	if ((f = find(p->def, name)) == NULL) {
		fprintf(stderr, "fdhost: no %s in %s\n", name, p->def->name);
		abort();
	}
	return (f);
}

/**
 * pkt_new(p, slots, def, zero):
 * Make ${p} a packet of the kind ${def} in ${slots}, with pkt_size and
 * pkt_end set and the other members zero if ${zero}, else garbage.
 */
void
pkt_new(struct pkt * p, struct slots * slots, const struct pktdef * def,
    bool zero)
{
	size_t i;

	p->def = def;
	p->slots = slots;
	p->mem = slot_take(slots, def->size);
	for (i = 0; zero && (i < def->nfields); i++)
		memset(p->mem + def->fields[i].off, 0, def->fields[i].len);
	if (pkt_has(p, "pkt_size")) {
		pkt_seti(p, "pkt_size", def->size);
		pkt_seti(p, "pkt_end", def->size);
	}
}

/**
 * pkt_has(p, name):
 * Return true if the packet has the member ${name} in this layout.
 */
bool
pkt_has(const struct pkt * p, const char * name)
{

	return (find(p->def, name) != NULL);
}

/**
 * pkt_seti(p, name, value):
 * Set the integer member ${name}, of any width.
 */
void
pkt_seti(struct pkt * p, const char * name, int64_t value)
{
	const struct field * f = must(p, name);

	/* x86-64 keeps the low bytes first. */
	memcpy(p->mem + f->off, &value, f->len);
}

/**
 * pkt_setp(p, name, value):
 * Set the pointer member ${name}.
 */
void
pkt_setp(struct pkt * p, const char * name, const void * value)
{

	memcpy(p->mem + must(p, name)->off, &value, sizeof(value));
}

/**
 * pkt_setb(p, name, src):
 * Set the member ${name} from as many bytes at ${src} as it has.
 */
void
pkt_setb(struct pkt * p, const char * name, const void * src)
{
	const struct field * f = must(p, name);

	memcpy(p->mem + f->off, src, f->len);
}

/**
 * pkt_geti(p, name):
 * Return the integer member ${name}.
 */
int64_t
pkt_geti(const struct pkt * p, const char * name)
{
	const struct field * f = must(p, name);
	const uint8_t * at = p->mem + f->off;
	int32_t i32;
	int64_t i64;

	switch (f->len) {
	case 1:
		return (*at);
	case 4:
		memcpy(&i32, at, 4);
		return (i32);
	default:
		memcpy(&i64, at, 8);
		return (i64);
	}
}

/**
 * pkt_getp(p, name):
 * Return the pointer member ${name}.
 */
void *
pkt_getp(const struct pkt * p, const char * name)
{
	void * value;

	memcpy(&value, p->mem + must(p, name)->off, sizeof(value));
	return (value);
}

/**
 * pkt_getb(p, name, dst):
 * Copy the member ${name} to ${dst}.
 */
void
pkt_getb(const struct pkt * p, const char * name, void * dst)
{
	const struct field * f = must(p, name);

	memcpy(dst, p->mem + f->off, f->len);
}

/**
 * pkt_out(p):
 * Remember the packet as it is: the plugin gets it now.
 */
void
pkt_out(struct pkt * p)
{

	memcpy(p->before, p->mem, p->def->size);
}

/* One member, or the padding, at ${off} was changed. */
static void
changed(const struct pkt * p, int job, const char * where, size_t off,
    const struct field * f)
{
	const char * name;

	if (f == NULL)
		name = "pkt-gap";
	else if (strcmp(f->name, "pkt_end") == 0)
		name = "pkt-end";
	else if (strcmp(f->name, "pkt_size") == 0)
		name = "pkt-size";
	else if (strcmp(p->def->name, "context") == 0)
		name = "context-touched";
	else
		name = "pkt-input";
	violate(job, name, "%s wrote %s of the %s, offset %zu of %d", where,
	    (f == NULL) ? "padding" : f->name, p->def->name, off, p->def->size);
}

/**
 * pkt_back(p, job, where):
 * Check for the job number ${job} what the call ${where} did to the packet
 * besides what it may.
 */
void
pkt_back(struct pkt * p, int job, const char * where)
{
	const struct field * owner[512] = { NULL };
	const struct field * last = NULL;
	const struct field * f;
	bool gap = false;
	size_t i, j;

	for (i = 0; i < p->def->nfields; i++) {
		f = &p->def->fields[i];
		for (j = 0; j < f->len; j++)
			owner[f->off + j] = f;
	}

	for (i = 0; i < p->def->size; i++) {
		if (p->mem[i] == p->before[i])
			continue;
		f = owner[i];
		if (((f != NULL) && (f->out || (f == last))) ||
		    ((f == NULL) && gap))
			continue;
		changed(p, job, where, i, f);
		if (f == NULL)
			gap = true;
		else
			last = f;
	}

	if (!slot_whole(p->slots, p->mem))
		violate(job, "pkt-guard", "%s wrote around the %s of %d bytes",
		    where, p->def->name, p->def->size);
}

/**
 * pkt_done(p):
 * Give the memory of the packet back.
 */
void
pkt_done(struct pkt * p)
{

	slot_give(p->slots, p->mem);
	p->mem = NULL;
}
