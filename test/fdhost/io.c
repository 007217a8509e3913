/* SPDX-License-Identifier: AGPL-3.0-only */
#include <string.h>

#include "checks.h"
#include "io.h"

#define GARBAGE ((int32_t)0xc5c5c5c5)

static const char * const func_names[] = {
	"pluginIO", "pluginIO(OPEN)", "pluginIO(READ)", "pluginIO(WRITE)",
	"pluginIO(CLOSE)", "pluginIO(SEEK)"
};

/**
 * io_prepare(j, p, func, count):
 * Make ${p} the packet of one call as the release makes it: what it does not
 * set is garbage.
 */
void
io_prepare(struct job * j, struct pkt * p, int func, size_t count)
{
	bool bareos = (j->L->family == BAREOS);
	bool zero;

	/* Bareos zeroes the packet, but up to 21 not that of a seek. */
	zero = bareos && ((func != IO_SEEK) || (j->L->release >= 22));
	pkt_new(p, &j->slots, j->L->io, zero);
	pkt_seti(p, "func", func);
	pkt_seti(p, "win32", 0);
	pkt_seti(p, "lerror", 0);
	if (func != IO_SEEK) {
		pkt_seti(p, "count", (int64_t)count);
		pkt_setp(p, "buf", NULL);
		pkt_seti(p, "status", bareos ? 0 : -1);
	}
	if (!bareos && (func == IO_READ))
		pkt_seti(p, "offset", 0);
	if (pkt_has(p, "filedes")) {
		if (func == IO_OPEN)
			pkt_seti(p, "filedes", -1);
		else if ((func == IO_READ) || (func == IO_CLOSE))
			pkt_seti(p, "filedes", j->bfd.fid);
		else
			pkt_seti(p, "filedes", 0);
	}
}

/**
 * io_call(j, p, a):
 * Call pluginIO with the packet ${p}, see what it did to it, and be done with
 * it.
 */
void
io_call(struct job * j, struct pkt * p, struct io_answer * a)
{
	int func = (int)pkt_geti(p, "func");
	int32_t err = (int32_t)pkt_geti(p, "io_errno");
	bool has = pkt_has(p, "filedes");
	int32_t was = has ? (int32_t)pkt_geti(p, "filedes") : -1;
	const char * name = func_names[func];

	pkt_out(p);
	call_enter(j, name);
	a->rc = j->h->f->pluginIO(j->ctx.mem, p->mem);
	call_leave(j);
	pkt_back(p, j->number, name);
	a->status = (int32_t)pkt_geti(p, "status");
	a->io_errno = (int32_t)pkt_geti(p, "io_errno");
	a->offset = pkt_geti(p, "offset");
	a->filedes = has ? (int32_t)pkt_geti(p, "filedes") : -1;
	if ((func != IO_OPEN) && (a->filedes != was))
		violate(j->number, "io-filedes", "%s wrote filedes", name);
	if ((func != IO_SEEK) && (a->status < 0) && (a->io_errno == err))
		violate(j->number, "io-errno",
		    "%s failed with status %d and io_errno as it was (%s)",
		    name, a->status, (err == GARBAGE) ? "garbage" : "0");
	j->bfd.err = a->io_errno;
	pkt_done(p);
}
