/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef SHA256_H_
#define SHA256_H_

#include <stddef.h>
#include <stdint.h>

/* SHA-256 (FIPS 180-4). */

struct sha256 {
	uint32_t h[8];
	uint64_t len;
	uint8_t buf[64];
};

/**
 * sha256_init(s):
 * Begin.
 */
void sha256_init(struct sha256 *);

/**
 * sha256_add(s, data, len):
 * Add ${len} bytes.
 */
void sha256_add(struct sha256 *, const void *, size_t);

/**
 * sha256_hex(s, hex):
 * End, and write 64 digits and a NUL to ${hex}.
 */
void sha256_hex(struct sha256 *, char *);

#endif /* !SHA256_H_ */
