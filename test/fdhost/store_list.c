/* SPDX-License-Identifier: AGPL-3.0-only */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "escape.h"
#include "sha256.h"
#include "store.h"

static const char *
type_name(int type)
{

	switch (type) {
	case FT_LNKSAVED:	return ("hardlink");
	case FT_REGE:		return ("empty");
	case FT_REG:		return ("file");
	case FT_LNK:		return ("symlink");
	case FT_DIREND:		return ("dir");
	case FT_SPEC:		return ("special");
	case FT_NOCHG:		return ("unchanged");
	case FT_DIRNOCHG:	return ("dir-unchanged");
	case FT_DELETED:	return ("deleted");
	case FT_RESTORE_FIRST:	return ("object");
	case FT_PLUGIN_CONFIG:	return ("config");
	default:		return ("other");
	}
}

static int64_t
data_bytes(const struct entry * e)
{
	int64_t n = 0;
	size_t i;

	for (i = 0; i < e->nextents; i++)
		n += (int64_t)e->extents[i].len * e->extents[i].n;
	return (n);
}

/* Hash ${len} zeros. */
static void
zeros(struct sha256 * s, int64_t len)
{
	static const char z[65536];
	size_t n;

	while (len > 0) {
		n = (len < (int64_t)sizeof(z)) ? (size_t)len : sizeof(z);
		sha256_add(s, z, n);
		len -= (int64_t)n;
	}
}

/* The content as a restore would make it: holes, and st_size at the end. */
static int
content(const struct store_reader * r, const struct entry * e, char * hex)
{
	struct sha256 s;
	const struct extent * x;
	int64_t at = 0;
	char * buf = NULL;
	size_t i, j;

	sha256_init(&s);
	for (i = 0; i < e->nextents; i++) {
		x = &e->extents[i];
		free(buf);
		if ((buf = malloc(x->len + 1)) == NULL)
			goto err0;
		zeros(&s, x->off - at);
		for (j = 0; j < x->n; j++) {
			if (store_get(r, x->pos + (int64_t)(j * x->len),
			    x->len, buf))
				goto err0;
			sha256_add(&s, buf, x->len);
		}
		at = x->off + (int64_t)x->len * x->n;
	}
	zeros(&s, e->st.st_size - at);
	sha256_hex(&s, hex);
	free(buf);

	/* Success! */
	return (0);

err0:
	/* Failure! */
	free(buf);
	return (-1);
}

/**
 * entry_line(e, f):
 * Write what the entry ${e} is, without an end of line, to ${f}.
 */
void
entry_line(const struct entry * e, FILE * f)
{

	fprintf(f, "%" PRIu32 " %s %06o %u:%u size=%" PRId64 " mtime=%" PRId64
	    " nlink=%" PRIu64 " inode=%" PRIx64 ":%" PRIu64, e->fi,
	    type_name(e->type), e->st.st_mode, e->st.st_uid, e->st.st_gid,
	    (int64_t)e->st.st_size, (int64_t)e->st.st_mtime,
	    (uint64_t)e->st.st_nlink, (uint64_t)e->st.st_dev,
	    (uint64_t)e->st.st_ino);
	if (S_ISCHR(e->st.st_mode) || S_ISBLK(e->st.st_mode))
		fprintf(f, " rdev=%" PRIx64, (uint64_t)e->st.st_rdev);
	if (e->linkfi != 0)
		fprintf(f, " linkfi=%d", e->linkfi);
	if (e->nextents != 0)
		fprintf(f, " data=%" PRId64, data_bytes(e));
	if (e->failed)
		fprintf(f, " failed");
}

/**
 * entry_names(e, f):
 * Write what the entry ${e} is called, and an end of line, to ${f}.
 */
void
entry_names(const struct entry * e, FILE * f)
{

	fprintf(f, " name=");
	escape_put(f, e->name, (e->name == NULL) ? 0 : strlen(e->name));
	if ((e->link != NULL) && (*e->link != '\0') &&
	    (e->type != FT_DIREND)) {
		fprintf(f, " link=");
		escape_put(f, e->link, strlen(e->link));
	}
	putc('\n', f);
}

/* Return name and value of the attribute ${a}, to be freed, or NULL. */
static char *
attr_bytes(const struct store_reader * r, const struct attr * a)
{
	size_t len = (size_t)a->nlen + a->vlen;
	char * buf;

	if ((buf = malloc(len + 1)) == NULL)
		return (NULL);
	if (store_get(r, a->pos, len, buf)) {
		free(buf);
		return (NULL);
	}
	return (buf);
}

static void
list_attrs(const struct store_reader * r, const struct entry * e, FILE * f)
{
	const struct attr * a;
	char * buf;
	size_t i;

	for (i = 0; i < e->nattrs; i++) {
		a = &e->attrs[i];
		if ((buf = attr_bytes(r, a)) == NULL)
			continue;
		if (a->func != 0)
			fprintf(f, " xacl%d:", a->func);
		else
			fprintf(f, " xattr:");
		escape_put(f, buf, a->nlen);
		putc('=', f);
		escape_put(f, buf + a->nlen, a->vlen);
		free(buf);
	}
}

/* Write ${len} bytes with escapes that survive JSON. */
static void
json_bytes(FILE * f, const char * s, size_t len)
{
	const unsigned char * p = (const unsigned char *)s;
	size_t i;

	putc('"', f);
	for (i = 0; i < len; i++) {
		if ((p[i] <= ' ') || (p[i] >= 0x7f) || (p[i] == '\\'))
			fprintf(f, "\\\\x%02x", p[i]);
		else if (p[i] == '"')
			fprintf(f, "\\\"");
		else
			putc(p[i], f);
	}
	putc('"', f);
}

static void
json_string(FILE * f, const char * key, const char * s)
{

	if (s == NULL)
		return;
	fprintf(f, ",\"%s\":", key);
	json_bytes(f, s, strlen(s));
}

/* Where the data is: offset and length, adjoining records as one. */
static void
json_extents(const struct entry * e, FILE * f)
{
	const struct extent * x;
	int64_t off = 0, end = -1, len;
	const char * sep = "";
	size_t i;

	fprintf(f, ",\"extents\":[");
	for (i = 0; i < e->nextents; i++) {
		x = &e->extents[i];
		len = (int64_t)x->len * x->n;
		if (x->off != end) {
			if (end != -1) {
				fprintf(f, "%s[%" PRId64 ",%" PRId64 "]", sep,
				    off, end - off);
				sep = ",";
			}
			off = x->off;
		}
		end = x->off + len;
	}
	if (end != -1)
		fprintf(f, "%s[%" PRId64 ",%" PRId64 "]", sep, off, end - off);
	putc(']', f);
}

static void
json_attrs(const struct store_reader * r, const struct entry * e, FILE * f)
{
	const struct attr * a;
	char * buf;
	size_t i, j;

	fprintf(f, ",\"attrs\":[");
	for (i = 0; i < e->nattrs; i++) {
		a = &e->attrs[i];
		if ((buf = attr_bytes(r, a)) == NULL)
			continue;
		fprintf(f, "%s{\"func\":%d,\"name\":", (i == 0) ? "" : ",",
		    a->func);
		json_bytes(f, buf, a->nlen);
		fprintf(f, ",\"hex\":\"");
		for (j = 0; j < a->vlen; j++)
			fprintf(f, "%02x", (unsigned char)buf[a->nlen + j]);
		fprintf(f, "\"}");
		free(buf);
	}
	putc(']', f);
}

static void
list_json(const struct store_reader * r, const struct entry * e,
    const char * hex, FILE * f)
{
	const struct stat * st = &e->st;

	fprintf(f, "{\"fi\":%" PRIu32 ",\"type\":\"%s\",\"ft\":%d,"
	    "\"mode\":%u,\"uid\":%u,\"gid\":%u,\"size\":%" PRId64
	    ",\"mtime\":%" PRId64 ",\"ctime\":%" PRId64 ",\"nlink\":%" PRIu64
	    ",\"dev\":%" PRIu64 ",\"ino\":%" PRIu64 ",\"rdev\":%" PRIu64
	    ",\"linkfi\":%d,\"index\":%d,\"len\":%" PRId64
	    ",\"data\":%" PRId64 ",\"stream\":%d,\"failed\":%s", e->fi,
	    type_name(e->type), e->type,
	    st->st_mode, st->st_uid, st->st_gid, (int64_t)st->st_size,
	    (int64_t)st->st_mtime, (int64_t)st->st_ctime,
	    (uint64_t)st->st_nlink, (uint64_t)st->st_dev,
	    (uint64_t)st->st_ino, (uint64_t)st->st_rdev, e->linkfi, e->index,
	    e->len, data_bytes(e), e->stream,
	    e->failed ? "true" : "false");
	if (*hex != '\0')
		fprintf(f, ",\"sha256\":\"%s\"", hex);
	json_string(f, "name", e->name);
	json_string(f, "link", e->link);
	json_string(f, "cmd", e->cmd);
	json_extents(e, f);
	json_attrs(r, e, f);
	fprintf(f, "}\n");
}

/**
 * store_list(r, json, f):
 * Write one line per entry to ${f}.
 */
int
store_list(const struct store_reader * r, bool json, FILE * f)
{
	const struct entry * e;
	char hex[65];
	size_t i;

	for (i = 0; i < r->n; i++) {
		e = &r->entries[i];
		hex[0] = '\0';
		if ((e->type == FT_REG) || (e->type == FT_REGE)) {
			if (content(r, e, hex))
				return (-1);
		}
		if (json) {
			list_json(r, e, hex, f);
			continue;
		}
		entry_line(e, f);
		if (*hex != '\0')
			fprintf(f, " sha256=%s", hex);
		if ((e->type == FT_RESTORE_FIRST) ||
		    (e->type == FT_PLUGIN_CONFIG))
			fprintf(f, " index=%d len=%" PRId64, e->index, e->len);
		list_attrs(r, e, f);
		entry_names(e, f);
	}
	return (ferror(f) ? -1 : 0);
}
