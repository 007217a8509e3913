/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "escape.h"

static bool
plain(unsigned char c)
{

	return ((c > ' ') && (c < 0x7f) && (c != '\\'));
}

/**
 * escape(s):
 * Return ${s} escaped, cut at 1 kB, in a buffer of the thread that lives for
 * the next 7 calls; NULL gives "(null)".
 */
const char *
escape(const char * s)
{
	static _Thread_local char bufs[8][1024];
	static _Thread_local unsigned int next;
	char * buf = bufs[next++ % 8];
	size_t n = 0;

	if (s == NULL)
		return ("(null)");
	for (; (*s != '\0') && (n < 1024 - 5); s++) {
		if (plain((unsigned char)*s) || (*s == ' '))
			buf[n++] = *s;
		else
			n += (size_t)sprintf(&buf[n], "\\x%02x",
			    (unsigned char)*s);
	}
	buf[n] = '\0';
	return (buf);
}

/**
 * escape_put(f, s, len):
 * Write ${len} bytes at ${s}, escaped, to ${f}.
 */
void
escape_put(FILE * f, const char * s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (plain((unsigned char)s[i]))
			putc(s[i], f);
		else
			fprintf(f, "\\x%02x", (unsigned char)s[i]);
	}
}

/**
 * unescape(s):
 * Undo escaping in place and return the number of bytes, or -1.
 */
long
unescape(char * s)
{
	char hex[3] = { 0 };
	char * in = s;
	char * out = s;
	char * end;

	while (*in != '\0') {
		if (*in != '\\') {
			*out++ = *in++;
			continue;
		}
		if ((in[1] != 'x') || (in[2] == '\0') || (in[3] == '\0'))
			return (-1);
		memcpy(hex, &in[2], 2);
		*out++ = (char)strtoul(hex, &end, 16);
		if (*end != '\0')
			return (-1);
		in += 4;
	}
	*out = '\0';
	return ((long)(out - s));
}
