/* SPDX-License-Identifier: AGPL-3.0-only */
#include <sys/mman.h>

#include <string.h>
#include <unistd.h>

#include "tiny.h"

#define KB 1024

/* Directories come after what is in them; the first is an object. */
const struct file files[] = {
	{ "tiny.conf", NULL, FT_RESTORE_FIRST, 0, 0, 0, 12, false },
	{ "/tiny/etc/hello.txt", NULL, FT_REG, 0100644, 1, 11, 13, false },
	{ "/tiny/etc/empty", NULL, FT_REGE, 0100600, 1, 12, 0, false },
	{ "/tiny/etc/", NULL, FT_DIREND, 0040755, 2, 13, 4096, true },
	{ "/tiny/data/big.bin", NULL, FT_REG, 0100640, 1, 14, 700 * KB + 1,
	    true },
	{ "/tiny/data/sparse.img", NULL, FT_REG, 0100644, 1, 15,
	    1024 * KB + 5, false },
	{ "/tiny/data/link-a", NULL, FT_REG, 0104755, 2, 16, 100, false },
	{ "/tiny/data/link-b", "/tiny/data/link-a", FT_LNKSAVED, 0104755, 2,
	    16, 100, false },
	{ "/tiny/data/symlink", "../etc/hello.txt", FT_LNK, 0120777, 1, 17,
	    16, true },
	{ "/tiny/data/pipe", NULL, FT_SPEC, 0010644, 1, 18, 0, false },
	{ "/tiny/data/odd \n%s%n\xff\\ name", NULL, FT_REG, 0100644, 1, 19, 7,
	    false },
	{ "/tiny/data/", NULL, FT_DIREND, 0040700, 2, 20, 4096, false },
	{ "/tiny/", NULL, FT_DIREND, 0040755, 4, 21, 4096, false }
};

const int nfiles = sizeof(files) / sizeof(files[0]);

static void
fill(char * buf, size_t len, uint64_t off)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = (char)('a' + (off + i) * 7 % 26);
}

/**
 * content_fd(f):
 * Return a descriptor with the content of the file ${f}.
 */
int
content_fd(const struct file * f)
{
	static const int64_t blocks[] = { 0, 300 * KB, 1024 * KB };
	char buf[4096];
	int64_t off, n;
	size_t i;
	int fd;

	fd = memfd_create("tiny", fault("fd-cloexec") ? 0 : MFD_CLOEXEC);
	if ((fd == -1) || ftruncate(fd, f->size))
		return (fd);

	/* Some files are mostly hole. */
	if (strstr(f->name, "sparse") != NULL) {
		for (i = 0; i < 3; i++) {
			n = (f->size - blocks[i] < 4096) ?
			    f->size - blocks[i] : 4096;
			fill(buf, (size_t)n, (uint64_t)blocks[i]);
			if (pwrite(fd, buf, (size_t)n, blocks[i]) != n)
				break;
		}
		return (fd);
	}
	for (off = 0; off < f->size; off += n) {
		n = (f->size - off < 4096) ? f->size - off : 4096;
		fill(buf, (size_t)n, (uint64_t)off);
		if (pwrite(fd, buf, (size_t)n, off) != n)
			break;
	}
	return (fd);
}
