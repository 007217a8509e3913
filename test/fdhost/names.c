/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdlib.h>
#include <string.h>

#include "names.h"

/* FNV-1a. */
static uint64_t
hash(const void * p, size_t len, uint64_t h)
{
	const uint8_t * b = p;
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ b[i]) * 0x100000001b3ULL;
	return (h);
}

#define SEED 0xcbf29ce484222325ULL

static uint64_t
hash_inode(uint64_t dev, uint64_t ino)
{

	return (hash(&ino, sizeof(ino), hash(&dev, sizeof(dev), ~SEED)));
}

static uint64_t
hash_entry(const struct name * e)
{

	if (e->ino != 0)
		return (hash_inode(e->dev, e->ino));
	return (hash(e->name, strlen(e->name), SEED));
}

/* Keep the table at most half full. */
static int
grow(struct names * n)
{
	struct name ** slots;
	size_t size, i, at;

	if (2 * (n->n + 1) <= n->size)
		return (0);
	size = (n->size == 0) ? 1024 : 2 * n->size;
	if ((slots = calloc(size, sizeof(slots[0]))) == NULL)
		return (-1);
	for (i = 0; i < n->size; i++) {
		if (n->slots[i] == NULL)
			continue;
		at = hash_entry(n->slots[i]) & (size - 1);
		while (slots[at] != NULL)
			at = (at + 1) & (size - 1);
		slots[at] = n->slots[i];
	}
	free(n->slots);
	n->slots = slots;
	n->size = size;
	return (0);
}

static struct name *
add(struct names * n, uint64_t dev, uint64_t ino, const char * name,
    size_t len)
{
	struct name * e;
	size_t at;

	if (grow(n))
		goto err0;
	if ((e = calloc(1, sizeof(*e))) == NULL)
		goto err0;
	if ((e->name = strndup(name, len)) == NULL)
		goto err1;
	e->dev = dev;
	e->ino = ino;
	at = hash_entry(e) & (n->size - 1);
	while (n->slots[at] != NULL)
		at = (at + 1) & (n->size - 1);
	n->slots[at] = e;
	n->n++;

	/* Success! */
	return (e);

err1:
	free(e);
err0:
	/* Failure! */
	return (NULL);
}

/**
 * names_get(n, name, len):
 * Return what is known about the first ${len} bytes of ${name}, or NULL.
 */
struct name *
names_get(const struct names * n, const char * name, size_t len)
{
	struct name * e;
	size_t at;

	if (n->size == 0)
		return (NULL);
	at = hash(name, len, SEED) & (n->size - 1);
	for (; (e = n->slots[at]) != NULL; at = (at + 1) & (n->size - 1)) {
		if ((e->ino == 0) && (strncmp(e->name, name, len) == 0) &&
		    (e->name[len] == '\0'))
			return (e);
	}
	return (NULL);
}

/**
 * names_add(n, name, len):
 * Return a new entry for the first ${len} bytes of ${name}, or NULL.
 */
struct name *
names_add(struct names * n, const char * name, size_t len)
{

	return (add(n, 0, 0, name, len));
}

/**
 * inodes_get(n, dev, ino):
 * Return what is known about an inode, or NULL.
 */
struct name *
inodes_get(const struct names * n, uint64_t dev, uint64_t ino)
{
	struct name * e;
	size_t at;

	if (n->size == 0)
		return (NULL);
	at = hash_inode(dev, ino) & (n->size - 1);
	for (; (e = n->slots[at]) != NULL; at = (at + 1) & (n->size - 1)) {
		if ((e->ino == ino) && (e->dev == dev) && (ino != 0))
			return (e);
	}
	return (NULL);
}

/**
 * inodes_add(n, dev, ino, name):
 * Return a new entry for an inode whose first name is ${name}, or NULL.
 */
struct name *
inodes_add(struct names * n, uint64_t dev, uint64_t ino, const char * name)
{

	return (add(n, dev, ino, name, strlen(name)));
}

/**
 * names_free(n):
 * Empty the set.
 */
void
names_free(struct names * n)
{
	size_t i;

	for (i = 0; i < n->size; i++) {
		if (n->slots[i] != NULL) {
			free(n->slots[i]->name);
			free(n->slots[i]);
		}
	}
	free(n->slots);
	memset(n, 0, sizeof(*n));
}
