/* SPDX-License-Identifier: AGPL-3.0-only */
#define _GNU_SOURCE
#include <sys/mman.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "_cgo_export.h"
#include "driver.h"

/*
 * The Go side of a job, as far as the C side sees it: it answers what the script
 * says, and looks at all that it is handed.
 */

int open_files;

static int fd = -1;
static int handles;

static void
close_fd(void)
{

	if (fd >= 0) {
		close(fd);
		open_files--;
	}
	fd = -1;
}

static int
open_fd(void)
{

	close_fd();
	if ((fd = memfd_create("driver", MFD_CLOEXEC)) < 0)
		abort();
	open_files++;
	if (ftruncate(fd, script_byte() * 1000) != 0)
		abort();
	return (fd);
}

/* All of a piece of memory must be there. */
static void
all(const char * p, size_t len)
{
	static volatile unsigned char sum;
	size_t i;

	for (i = 0; p != NULL && i < len; i++)
		sum ^= (unsigned char)p[i];
}

uintptr_t
goOpen(struct job * j)
{

	look(j->daemon->job_name(j));
	look(j->daemon->release(j));
	(void)j->daemon->file_index(j);
	handles++;
	return (script_byte() == 255 ? 0 : 1);
}

void
goClose(uintptr_t h)
{

	(void)h;
	close_fd();
}

void
goCancel(uintptr_t h)
{

	(void)h;
}

void
goOptions(uintptr_t h, char * s)
{

	(void)h;
	look(s);
}

void
goObject(uintptr_t h, char * name, uint32_t id, char * data, int n)
{

	(void)h;
	(void)id;
	look(name);
	all(data, n > 0 ? (size_t)n : 0);
}

int
goStartBackup(uintptr_t h, char * cmd, int level, int estimate)
{

	(void)h;
	(void)level;
	(void)estimate;
	look(cmd);
	return (script_byte() >= 200 ? -1 : 0);
}

int
goNext(uintptr_t h, unsigned int flags, struct entry * out)
{

	(void)h;
	(void)flags;
	memset(out, 0, sizeof(*out));
	if (script_byte() >= 200)
		return (-1);
	out->kind = (enum kind)(script_byte() % 7);
	if ((out->name = script_string()) == NULL)
		out->name = strdup("/x");
	out->link = script_string();
	if (out->kind == KIND_OBJECT) {
		out->data_len = script_byte();
		out->data = malloc((size_t)out->data_len + 1);
	}
	out->pieces = script_byte() & 1;
	out->watched = script_byte() & 1;
	out->st.st_size = script_odd(1000);
	out->st.st_mode = (mode_t)script_int();
	return (0);
}

int
goDone(uintptr_t h)
{

	(void)h;
	close_fd();
	return (script_byte() & 1);
}

int
goKeeps(uintptr_t h, char * name)
{

	(void)h;
	look(name);
	return (script_byte() & 1);
}

int
goOpenFile(uintptr_t h, int * why)
{

	if (h == 0 || script_byte() >= 200) {
		*why = script_byte();
		return (-1);
	}
	return (open_fd());
}

void
goReadFailed(uintptr_t h, int why)
{

	if (h == 0 || why <= 0)
		abort();
}

void
goTook(uintptr_t h, int64_t n)
{

	if (h == 0 || n <= 0)
		abort();
}

void
goCloseFile(uintptr_t h)
{

	(void)h;
	close_fd();
}

int
goXattrs(uintptr_t h, struct xattr ** out)
{
	struct xattr * list;
	int i, n = script_byte() % 5;

	(void)h;
	*out = NULL;
	if (n == 0 || (list = calloc((size_t)n, sizeof(*list))) == NULL)
		return (0);
	for (i = 0; i < n; i++) {
		if ((list[i].name = script_string()) == NULL)
			list[i].name = strdup("user.x");
		list[i].name_len = (uint32_t)strlen(list[i].name);
		list[i].value_len = script_byte();
		list[i].value = malloc((size_t)list[i].value_len + 1);
		memset(list[i].value, 1, list[i].value_len);
	}
	*out = list;
	return (n);
}

int
goStartRestore(uintptr_t h, char * cmd)
{

	(void)h;
	look(cmd);
	return (script_byte() >= 200 ? -1 : 0);
}

int
goCreate(uintptr_t h, struct restored * r)
{

	(void)h;
	look(r->name);
	look(r->where);
	look(r->link);
	close_fd();
	return (script_byte() % 4 - 1);
}

int
goOpenRestored(uintptr_t h)
{

	if (h == 0)
		return (-2);
	if (script_byte() < 200)
		return (open_fd());
	return (script_byte() & 1 ? -1 : -2);
}

void
goSetXattr(uintptr_t h, char * name, uint32_t name_len, char * value,
    uint32_t value_len)
{

	(void)h;
	/* As export.go. */
	if (name_len > 255 || value_len > (1 << 16))
		return;
	all(name, name_len);
	all(value, value_len);
}

int
goEndFile(uintptr_t h, int broken)
{

	(void)h;
	(void)broken;
	close_fd();
	return (script_byte() >= 200 ? -1 : 0);
}

void
goEndBackup(uintptr_t h)
{

	(void)h;
	close_fd();
}

void
goEndRestore(uintptr_t h, int health)
{

	(void)h;
	(void)health;
	close_fd();
}
