/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef PKT_H_
#define PKT_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "mem.h"

/*
 * A packet on its way to the plugin and back.  Members are set and read by
 * name; what nobody sets stays CANARY, as the daemon leaves garbage there.
 */

struct pkt {
	const struct pktdef * def;
	struct slots * slots;
	uint8_t * mem;		/* What the plugin gets. */
	uint8_t before[512];	/* As it was when it was handed over. */
};

/**
 * pkt_new(p, slots, def, zero):
 * Make ${p} a packet of the kind ${def} in ${slots}, with pkt_size and
 * pkt_end set and the other members zero if ${zero}, else garbage.
 */
void pkt_new(struct pkt *, struct slots *, const struct pktdef *, bool);

/**
 * pkt_has(p, name):
 * Return true if the packet has the member ${name} in this layout.
 */
bool pkt_has(const struct pkt *, const char *);

/**
 * pkt_seti(p, name, value):
 * Set the integer member ${name}, of any width.
 */
void pkt_seti(struct pkt *, const char *, int64_t);

/**
 * pkt_setp(p, name, value):
 * Set the pointer member ${name}.
 */
void pkt_setp(struct pkt *, const char *, const void *);

/**
 * pkt_setb(p, name, src):
 * Set the member ${name} from as many bytes at ${src} as it has.
 */
void pkt_setb(struct pkt *, const char *, const void *);

/**
 * pkt_geti(p, name):
 * Return the integer member ${name}.
 */
int64_t pkt_geti(const struct pkt *, const char *);

/**
 * pkt_getp(p, name):
 * Return the pointer member ${name}.
 */
void * pkt_getp(const struct pkt *, const char *);

/**
 * pkt_getb(p, name, dst):
 * Copy the member ${name} to ${dst}.
 */
void pkt_getb(const struct pkt *, const char *, void *);

/**
 * pkt_out(p):
 * Remember the packet as it is: the plugin gets it now.
 */
void pkt_out(struct pkt *);

/**
 * pkt_back(p, job, where):
 * Check for the job number ${job} what the call ${where} did to the packet
 * besides what it may.
 */
void pkt_back(struct pkt *, int, const char *);

/**
 * pkt_done(p):
 * Give the memory of the packet back.
 */
void pkt_done(struct pkt *);

#endif /* !PKT_H_ */
