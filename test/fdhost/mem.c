/* SPDX-License-Identifier: AGPL-3.0-only */
#include <sys/mman.h>
#include <sys/uio.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

#define EACH 262144		/* Bytes of a slot, whole pages. */
#define MAX_RINGS 256
#define MAX_STRING (1 << 20)

static _Atomic(uint8_t *) rings[MAX_RINGS];

/* Somebody used memory that is not there. */
static void
segv(int sig, siginfo_t * si, void * uc)
{
	static const char text[] = "violation stale-memory: memory was used "
	    "after the daemon had freed it\n";
	const uint8_t * at = si->si_addr;
	const uint8_t * base;
	ssize_t n;
	size_t i;

	(void)uc;
	for (i = 0; i < MAX_RINGS; i++) {
		base = atomic_load(&rings[i]);
		if ((base != NULL) && (at >= base) &&
		    (at < base + (size_t)NSLOTS * EACH)) {
			n = write(STDOUT_FILENO, text, sizeof(text) - 1);
			(void)n;
			_exit(1);
		}
	}

	/* Not ours: die of it. */
	signal(sig, SIG_DFL);
}

/**
 * mem_init(void):
 * Catch the use of slots that were given back; call once, before anything
 * else handles SIGSEGV.
 */
int
mem_init(void)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = segv;
	sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
	return (sigaction(SIGSEGV, &sa, NULL));
}

/**
 * slots_new(s):
 * Set up the ring ${s}.
 */
int
slots_new(struct slots * s)
{
	uint8_t * none;
	size_t i;

	memset(s, 0, sizeof(*s));
	s->base = mmap(NULL, (size_t)NSLOTS * EACH, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->base == MAP_FAILED)
		goto err0;
	for (i = 0; i < MAX_RINGS; i++) {
		none = NULL;
		if (atomic_compare_exchange_strong(&rings[i], &none, s->base))
			break;
	}

	/* Success! */
	return (0);

err0:
	/* Failure! */
	return (-1);
}

/**
 * slots_free(s):
 * Release the ring ${s}.
 */
void
slots_free(struct slots * s)
{
	size_t i;

	if (s->base == NULL)
		return;
	for (i = 0; i < MAX_RINGS; i++) {
		if (atomic_load(&rings[i]) == s->base)
			atomic_store(&rings[i], NULL);
	}
	munmap(s->base, (size_t)NSLOTS * EACH);
	s->base = NULL;
}

/**
 * slot_take(s, len):
 * Lend ${len} bytes, filled and surrounded with CANARY.  Never fails: the
 * process ends when there is no memory.
 */
void *
slot_take(struct slots * s, size_t len)
{
	uint8_t * p;
	unsigned int i;

	for (i = 0; i < NSLOTS; i++) {
		s->next = (s->next + 1) % NSLOTS;
		if (s->len[s->next] == 0)
			break;
	}
	if ((i == NSLOTS) || (len == 0) || (len > EACH - 2 * GUARD)) {
		fprintf(stderr, "fdhost: no room for %zu bytes\n", len);
		abort();
	}

	p = s->base + (size_t)s->next * EACH;
	if (mprotect(p, EACH, PROT_READ | PROT_WRITE)) {
		perror("fdhost: mprotect");
		abort();
	}
	memset(p, CANARY, len + 2 * GUARD);
	s->len[s->next] = len;
	return (p + GUARD);
}

/**
 * slot_whole(s, p):
 * Return true if the canaries around the slot ${p} are untouched.
 */
bool
slot_whole(struct slots * s, const void * p)
{
	const uint8_t * q = p;
	size_t len = s->len[(size_t)(q - s->base) / EACH];
	size_t i;

	for (i = 0; i < GUARD; i++) {
		if ((q[-1 - (ssize_t)i] != CANARY) || (q[len + i] != CANARY))
			return (false);
	}
	return (true);
}

/**
 * slot_give(s, p):
 * Take the slot ${p} back, and make it inaccessible.
 */
void
slot_give(struct slots * s, void * p)
{
	uint8_t * q = p;
	size_t i;

	if (p == NULL)
		return;
	i = (size_t)(q - s->base) / EACH;
	memset(s->base + i * EACH, GONE, s->len[i] + 2 * GUARD);
	s->len[i] = 0;
	mprotect(s->base + i * EACH, EACH, PROT_NONE);
}

/* In front of every block; 32 bytes, so that free(3) does not know it. */
struct block {
	struct block * next;
	size_t size;
	uint64_t pad[2];
};

static struct block **
heap_find(struct heap * h, const void * p)
{
	struct block ** b;

	for (b = &h->blocks; *b != NULL; b = &(*b)->next) {
		if ((const void *)(*b + 1) == p)
			return (b);
	}
	return (NULL);
}

/**
 * heap_malloc(h, size):
 * Allocate ${size} bytes that only heap_free can free, or return NULL.
 */
void *
heap_malloc(struct heap * h, size_t size)
{
	struct block * b;

	if ((b = malloc(sizeof(struct block) + size)) == NULL)
		return (NULL);
	memset(b + 1, CANARY, size);
	b->size = size;
	pthread_mutex_lock(&h->lock);
	b->next = h->blocks;
	h->blocks = b;
	pthread_mutex_unlock(&h->lock);
	return (b + 1);
}

/**
 * heap_free(h, p):
 * Free ${p}.  Return -1 if it is not a block of ${h}.
 */
int
heap_free(struct heap * h, void * p)
{
	struct block ** at;
	struct block * b = NULL;

	pthread_mutex_lock(&h->lock);
	if ((at = heap_find(h, p)) != NULL) {
		b = *at;
		*at = b->next;
	}
	pthread_mutex_unlock(&h->lock);
	free(b);
	return ((at == NULL) ? -1 : 0);
}

/**
 * heap_size(h, p):
 * Return the size of the block ${p}, or -1 if it is not a block of ${h}.
 */
ssize_t
heap_size(struct heap * h, const void * p)
{
	struct block ** at;
	ssize_t size;

	pthread_mutex_lock(&h->lock);
	at = heap_find(h, p);
	size = (at == NULL) ? -1 : (ssize_t)(*at)->size;
	pthread_mutex_unlock(&h->lock);
	return (size);
}

/**
 * heap_clear(h):
 * Free all blocks and return how many there were.
 */
unsigned int
heap_clear(struct heap * h)
{
	struct block * b;
	unsigned int n = 0;

	pthread_mutex_lock(&h->lock);
	while ((b = h->blocks) != NULL) {
		h->blocks = b->next;
		free(b);
		n++;
	}
	pthread_mutex_unlock(&h->lock);
	return (n);
}

/**
 * mem_read(dst, src, len):
 * Copy ${len} bytes of memory that may not be there.  Return -1 if it is not.
 */
int
mem_read(void * dst, const void * src, size_t len)
{
	struct iovec to = { dst, len };
	struct iovec from = { (void *)(uintptr_t)src, len };
	ssize_t n;

	if (len == 0)
		return (0);
	n = process_vm_readv(getpid(), &to, 1, &from, 1, 0);
	if ((n == -1) && ((errno == ENOSYS) || (errno == EPERM))) {
		/* Not allowed here: look, and hope. */
		memcpy(dst, src, len);
		return (0);
	}
	return ((n == (ssize_t)len) ? 0 : -1);
}

/**
 * mem_string(src):
 * Return a copy, to be freed, of a string that may not be there, or NULL.
 */
char *
mem_string(const char * src)
{
	char * s = NULL;
	char * more;
	size_t len = 0;
	size_t n;

	if (src == NULL)
		return (NULL);
	while (len < MAX_STRING) {
		/* Never read across the end of a page. */
		n = 4096 - ((uintptr_t)src + len) % 4096;
		if (n > 256)
			n = 256;
		if ((more = realloc(s, len + n + 1)) == NULL)
			break;
		s = more;
		if (mem_read(s + len, src + len, n))
			break;
		if (memchr(s + len, '\0', n) != NULL)
			return (s);
		len += n;
	}
	free(s);
	return (NULL);
}
