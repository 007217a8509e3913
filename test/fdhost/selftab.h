/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef SELFTAB_H_
#define SELFTAB_H_

#include <stdbool.h>

/* Layouts, in the order of layout_get(). */
enum {
	B17 = 1, B21 = 2, B22 = 4, B23 = 8, B25 = 16, B26 = 32, BAC9 = 64,
	BAC15 = 128,
	BAREOS_ALL = B17 | B21 | B22 | B23 | B25 | B26,
	BACULA_ALL = BAC9 | BAC15,
	CORE = B22 | B23 | B25 | B26,
	NO_CORE = B17 | B21 | BACULA_ALL,
	ALL = BAREOS_ALL | BACULA_ALL
};

/* What is played to find a fault. */
enum play {
	PLAY_LOAD, PLAY_REFUSE, PLAY_BACKUP, PLAY_PREVIOUS, PLAY_ACCURATE,
	PLAY_ENCRYPT, PLAY_OFFSETS, PLAY_CANCEL, PLAY_RESTORE, PLAY_FOREIGN
};

struct fault_case {
	const char * fault;
	const char * violation;
	enum play play;
	unsigned int layouts;
	bool race;		/* Depends on the scheduler. */
};
extern const struct fault_case fault_cases[];

#endif /* !SELFTAB_H_ */
