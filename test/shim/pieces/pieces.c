/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "_cgo_export.h"
#include "job.h"

/*
 * pieces FD SIZE CUT [plain|watched|paced|paced-pieces]: read the file that is open as descriptor FD
 * as one with holes, or not, and of SIZE bytes, cut it to CUT bytes after the first
 * piece unless that is negative, and print offset and length of each piece, then
 * "end" or "error".  Print first if the daemon is to read it itself, and last of
 * which error, or how many bytes from the disk, Go was told.
 */

static int fd, told;
static long long took;

int
goOpenFile(uintptr_t h, int * why)
{

	(void)h;
	(void)why;
	return (fd);
}

void
goCloseFile(uintptr_t h)
{

	(void)h;
}

void
goReadFailed(uintptr_t h, int why)
{

	(void)h;
	told = why;
}

void
goTook(uintptr_t h, int64_t n)
{

	(void)h;
	took += n;
}

int
goOpenRestored(uintptr_t h)
{

	(void)h;
	return (-1);
}

int
main(int argc, char ** argv)
{
	static char buf[65536];
	static struct job j;
	static char name[] = "f";
	struct io io = { .name = name, .func = IO_OPEN };
	long long size, cut;

	if (argc < 4 || argc > 5 || sscanf(argv[1], "%d", &fd) != 1 ||
	    sscanf(argv[2], "%lld", &size) != 1 ||
	    sscanf(argv[3], "%lld", &cut) != 1)
		return (2);
	j.entry.name = name;
	j.entry.pieces = argc == 4 || strcmp(argv[4], "paced-pieces") == 0;
	j.entry.paced = argc == 5 && strncmp(argv[4], "paced", 5) == 0;
	j.entry.watched = argc == 5 && strcmp(argv[4], "watched") == 0;
	j.entry.st.st_size = size;
	job_io(&j, &io);
	if (io.fd >= 0)
		puts("handed");
	io.func = IO_READ;
	io.buf = buf;
	io.count = sizeof(buf);
	for (job_io(&j, &io); io.status > 0; job_io(&j, &io)) {
		printf("%lld+%d\n", (long long)io.offset, (int)io.status);
		if (cut >= 0 && ftruncate(fd, (off_t)cut) != 0)
			return (3);
		cut = -1;
	}
	puts(io.status == 0 ? "end" : "error");
	if (told)
		printf("told %d\n", told);
	if (took)
		printf("took %lld\n", took);
	return (0);
}
