/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef DRIVER_H_
#define DRIVER_H_

#include <stddef.h>
#include <stdint.h>

/* What is to be played, and how far it was. */
struct script {
	const uint8_t *bytes;
	size_t len, at;
};
extern struct script script;

/* Messages of the plugin to the job log; files that the Go side has open. */
extern int messages, open_files;

uint8_t script_byte(void);
int32_t script_int(void);
int32_t script_odd(int32_t);
int script_ended(void);
char *script_string(void);
char *script_block(int64_t);
void *packet(size_t);
void put(void *, size_t, const void *, size_t);
void look(const char *);

#define PUT(p, type, member, value) \
	put((p), offsetof(type, member), &(value), sizeof((value)))

void play_bareos(void);
void play_bacula(int);

#endif /* !DRIVER_H_ */
