/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef MEM_H_
#define MEM_H_

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Memory at the border to the plugin: what fdhost lends (slots), what the
 * plugin takes from the core's malloc (heap), and how to look at memory of
 * the plugin that may not be there any more (mem_read, mem_string).
 */

#define GUARD 64		/* Bytes of canary before and behind. */
#define CANARY 0xc5		/* Lent memory that nobody set. */
#define GONE 0xdb		/* Memory that was given back. */
#define NSLOTS 24

/*
 * A ring of pages.  A slot that was given back is made inaccessible and used
 * again only after all others: whoever kept a pointer into it is caught.
 */
struct slots {
	uint8_t * base;
	size_t len[NSLOTS];	/* 0: free. */
	unsigned int next;
};

/**
 * mem_init(void):
 * Catch the use of slots that were given back; call once, before anything
 * else handles SIGSEGV.
 */
int mem_init(void);

/**
 * slots_new(s):
 * Set up the ring ${s}.
 */
int slots_new(struct slots *);

/**
 * slots_free(s):
 * Release the ring ${s}.
 */
void slots_free(struct slots *);

/**
 * slot_take(s, len):
 * Lend ${len} bytes, filled and surrounded with CANARY.  Never fails: the
 * process ends when there is no memory.
 */
void * slot_take(struct slots *, size_t);

/**
 * slot_whole(s, p):
 * Return true if the canaries around the slot ${p} are untouched.
 */
bool slot_whole(struct slots *, const void *);

/**
 * slot_give(s, p):
 * Take the slot ${p} back, and make it inaccessible.
 */
void slot_give(struct slots *, void *);

/* Blocks of the core's malloc that were not freed yet, newest first. */
struct heap {
	pthread_mutex_t lock;
	struct block * blocks;
};

/**
 * heap_malloc(h, size):
 * Allocate ${size} bytes that only heap_free can free, or return NULL.
 */
void * heap_malloc(struct heap *, size_t);

/**
 * heap_free(h, p):
 * Free ${p}.  Return -1 if it is not a block of ${h}.
 */
int heap_free(struct heap *, void *);

/**
 * heap_size(h, p):
 * Return the size of the block ${p}, or -1 if it is not a block of ${h}.
 */
ssize_t heap_size(struct heap *, const void *);

/**
 * heap_clear(h):
 * Free all blocks and return how many there were.
 */
unsigned int heap_clear(struct heap *);

/**
 * mem_read(dst, src, len):
 * Copy ${len} bytes of memory that may not be there.  Return -1 if it is not.
 */
int mem_read(void *, const void *, size_t);

/**
 * mem_string(src):
 * Return a copy, to be freed, of a string that may not be there, or NULL.
 */
char * mem_string(const char *);

#endif /* !MEM_H_ */
