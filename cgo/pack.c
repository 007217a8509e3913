/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdlib.h>
#include <string.h>

#include "job.h"

/*
 * Bacula carries a file's extended attributes as one piece of data that only
 * the plugin understands: the mark below, then for each attribute the lengths
 * of name and value (4 bytes each, little endian), the name, the value.
 */
static const char mark[8] = { 'v', 'z', '7', 'c', 't', 'x', 'a', '1' };

static void
put32(char * p, uint32_t n)
{
	int i;

	for (i = 0; i < 4; i++)
		p[i] = (char)(n >> (8 * i));
}

static uint32_t
get32(const char * p)
{
	uint32_t n = 0;
	int i;

	for (i = 0; i < 4; i++)
		n |= (uint32_t)(unsigned char)p[i] << (8 * i);
	return (n);
}

/* Add one attribute to the packed ones. */
static int
append(struct job * j, const struct xattr * x)
{
	size_t more = 8 + (size_t)x->name_len + x->value_len;
	size_t head = j->blob == NULL ? sizeof(mark) : 0;
	char * p;

	if ((p = realloc(j->blob, j->blob_len + head + more)) == NULL)
		return (-1);
	j->blob = p;
	if (head > 0) {
		memcpy(p, mark, sizeof(mark));
		j->blob_len = sizeof(mark);
	}
	p += j->blob_len;
	put32(p, x->name_len);
	put32(p + 4, x->value_len);
	memcpy(p + 8, x->name, x->name_len);
	if (x->value_len > 0)
		memcpy(p + 8 + x->name_len, x->value, x->value_len);
	j->blob_len += more;
	return (0);
}

/**
 * job_pack_xattrs(j, data, len):
 * Point ${data} to the packed attributes of the file at hand, or to nothing
 * with ${len} 0 if there are none or they were handed over before.  They belong
 * to the job and live until the next file.  Return -1 if there is no memory.
 */
int
job_pack_xattrs(struct job * j, char ** data, int32_t * len)
{
	struct xattr x;
	int more, bad = 0;

	*data = NULL;
	*len = 0;
	if (j->blob_sent)
		return (0);
	j->blob_sent = 1;
	do {
		more = job_xattr(j, &x);
		if (x.name != NULL && !bad)
			bad = append(j, &x);
		free(x.name);
		free(x.value);
	} while (more);
	if (bad)
		return (-1);
	*data = j->blob;
	*len = (int32_t)j->blob_len;
	return (0);
}

/**
 * job_unpack_xattrs(j, data, len):
 * Set the attributes that were packed into ${data} on the restored file at
 * hand.  Return -1 if ${data} is none of ours.
 */
int
job_unpack_xattrs(struct job * j, const char * data, int32_t len)
{
	uint32_t name, value;
	int64_t left = len;

	if (data == NULL || left < (int64_t)sizeof(mark) ||
	    memcmp(data, mark, sizeof(mark)) != 0)
		return (-1);
	data += sizeof(mark);
	left -= (int64_t)sizeof(mark);
	while (left > 0) {
		if (left < 8)
			return (-1);
		name = get32(data);
		value = get32(data + 4);
		if ((int64_t)name + value > left - 8 || name == 0)
			return (-1);
		job_set_xattr(j, data + 8, name, data + 8 + name, value);
		data += 8 + (int64_t)name + value;
		left -= 8 + (int64_t)name + value;
	}
	return (0);
}
