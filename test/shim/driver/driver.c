/* SPDX-License-Identifier: AGPL-3.0-only */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"

/*
 * A daemon out of its mind: it plays what a script of bytes says, one call of
 * the plugin's C side after another, with packets of any size, numbers out of
 * range and pointers to nothing.  The Go side is stubs.c.  It is built with
 * sanitizers, and every packet lies in memory of exactly its size: whoever
 * looks behind its end is caught.
 */

struct script script;

uint8_t
script_byte(void)
{

	if (script.at >= script.len)
		return (0);
	return (script.bytes[script.at++]);
}

int32_t
script_int(void)
{
	uint32_t n = 0;
	int i;

	for (i = 0; i < 4; i++)
		n |= (uint32_t)script_byte() << (8 * i);
	return ((int32_t)n);
}

int
script_ended(void)
{

	return (script.at >= script.len);
}

/* A number as daemons have them, and as they do not. */
int32_t
script_odd(int32_t usual)
{
	static const int32_t odd[] = { 0, 1, -1, 2, 7, 8, 255, 256, 4096, 65535,
		65536, INT_MIN, INT_MAX };
	uint8_t n = script_byte();

	if (n < 128)
		return (usual);
	if (n < 128 + sizeof(odd) / sizeof(odd[0]))
		return (odd[n - 128]);
	return (n < 200 ? usual + n - 164 : script_int());
}

/* A string of its own, with a length of its own; NULL sometimes. */
char *
script_string(void)
{
	uint8_t i, len = script_byte();
	char * s;

	if (len >= 200)
		return (NULL);
	len %= 40;
	if ((s = malloc((size_t)len + 1)) == NULL)
		abort();
	for (i = 0; i < len; i++)
		s[i] = (char)(script_byte() | 1);
	s[len] = '\0';
	return (s);
}

/* Memory for as many bytes, if a daemon could have as many; else NULL. */
char *
script_block(int64_t len)
{
	char * p;

	if (len < 0 || len > (1 << 20) || script_byte() >= 250)
		return (NULL);
	if ((p = malloc(len == 0 ? 1 : (size_t)len)) == NULL)
		abort();
	memset(p, script_byte(), len == 0 ? 1 : (size_t)len);
	return (p);
}

/**
 * packet(usual):
 * Make a packet that says that it has about ${usual} bytes, and has as many:
 * four at least, which say so.
 */
void *
packet(size_t usual)
{
	int32_t says = script_odd((int32_t)usual);
	size_t i, have = says < 4 ? 4 : (size_t)says;
	uint8_t * p;

	if (have > 4096)
		have = 4096;
	if ((p = malloc(have)) == NULL)
		abort();
	for (i = 0; i < have; i++)
		p[i] = script_byte();
	memcpy(p, &says, have < 4 ? have : 4);
	return (p);
}

/* Set a member of a packet, if the packet has it. */
void
put(void * packet, size_t at, const void * value, size_t len)
{
	int32_t says;

	memcpy(&says, packet, 4);
	if (says >= 0 && at + len <= (size_t)says && at + len <= 4096)
		memcpy((char *)packet + at, value, len);
}

/* Read to the end of a string that the plugin has handed out. */
void
look(const char * s)
{
	static volatile size_t sum;

	if (s != NULL)
		sum += strlen(s);
}

/* The lowest descriptor that is free. */
static int
lowest(void)
{
	int fd = dup(0);

	close(fd);
	return (fd);
}

int
main(void)
{
	static uint8_t bytes[1 << 16];
	uint32_t len;
	int free_fd = lowest();

	while (fread(&len, sizeof(len), 1, stdin) == 1) {
		if (len > sizeof(bytes) || fread(bytes, 1, len, stdin) != len)
			return (2);
		script.bytes = bytes;
		script.len = len;
		script.at = 0;
		messages = 0;
		switch (script_byte() % 3) {
		case 0:
			play_bareos();
			break;
		case 1:
			play_bacula(9);
			break;
		default:
			play_bacula(15);
		}
		if (open_files != 0 || lowest() != free_fd) {
			fprintf(stderr, "%d files of the Go side are open, "
			    "descriptor %d is free, %d was\n", open_files,
			    lowest(), free_fd);
			return (3);
		}
		printf("%d\n", messages);
		fflush(stdout);
	}
	return (0);
}
