/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef ESCAPE_H_
#define ESCAPE_H_

#include <stddef.h>
#include <stdio.h>

/* Bytes made printable: space, backslash, control and non-ASCII as \xNN. */

/**
 * escape(s):
 * Return ${s} escaped, cut at 1 kB, in a buffer of the thread that lives for
 * the next 7 calls; NULL gives "(null)".
 */
const char * escape(const char *);

/**
 * escape_put(f, s, len):
 * Write ${len} bytes at ${s}, escaped, to ${f}.
 */
void escape_put(FILE *, const char *, size_t);

/**
 * unescape(s):
 * Undo escaping in place and return the number of bytes, or -1.
 */
long unescape(char *);

#endif /* !ESCAPE_H_ */
