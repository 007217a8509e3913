/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bareos.h"
#include "driver.h"

int messages;

static struct bareos_ctx ctx;
static const struct bareos_functions * f;

static int
registerEvents(struct bareos_ctx * c, int n, ...)
{

	(void)c;
	(void)n;
	return (RC_OK);
}

static int
getValue(struct bareos_ctx * c, int var, void * value)
{
	static const char * text = "text";

	(void)c;
	/* What is not known is left alone: 7 is a number, the others are text. */
	if (script_byte() >= 200)
		return (RC_OK);
	if (var == 7)
		*(int *)value = script_byte();
	else
		*(const char **)value = text;
	return (RC_OK);
}

static int
jobMessage(struct bareos_ctx * c, const char * file, int line, int type,
    int64_t mtime, const char * fmt, ...)
{
	char text[2000];
	va_list ap;

	(void)c;
	(void)line;
	(void)mtime;
	look(file);
	/* 1, 11 and 18 end the daemon. */
	if (type < 3 || type > 6)
		abort();
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	messages++;
	return (RC_OK);
}

static int
debugMessage(struct bareos_ctx * c, const char * file, int line, int level,
    const char * fmt, ...)
{

	(void)c;
	(void)file;
	(void)line;
	(void)level;
	(void)fmt;
	return (RC_OK);
}

static void *
coreMalloc(struct bareos_ctx * c, const char * file, int line, size_t size)
{

	(void)c;
	(void)file;
	(void)line;
	return (script_byte() == 255 ? NULL : malloc(size));
}

static const struct bareos_core core = {
	.size = sizeof(core), .version = BAREOS_INTERFACE,
	.registerEvents = registerEvents, .getValue = getValue,
	.jobMessage = jobMessage, .debugMessage = debugMessage,
	.coreMalloc = coreMalloc
};

static void
play_object(void)
{
	struct bareos_event event = { 15 };
	char * name = script_string();
	int32_t len = script_odd(100);
	char * data = script_block(len);
	void * p = packet(sizeof(struct bareos_object));

	if (data == NULL)
		len = script_byte() & 1 ? 0 : -1;
	PUT(p, struct bareos_object, object_name, name);
	PUT(p, struct bareos_object, object, data);
	PUT(p, struct bareos_object, object_len, len);
	f->handlePluginEvent(&ctx, &event, p);
	free(p);
	free(name);
	free(data);
}

static void
play_event(void)
{
	struct bareos_event event = { script_byte() };
	char * value = script_string();

	if (event.type != 15)
		f->handlePluginEvent(&ctx, script_byte() == 255 ? NULL : &event,
		    value);
	free(value);
}

static void
play_save(void)
{
	struct bareos_save * sp = packet(sizeof(struct bareos_save));
	int32_t end = 0;

	if (sp->pkt_size >= (int32_t)sizeof(*sp))
		end = sp->pkt_end;
	if (f->startBackupFile(&ctx, sp) == RC_OK) {
		if (sp->pkt_end != end)
			abort();
		if (sp->type == 25)
			look(sp->object_name);
		else
			look(sp->fname);
	}
	free(sp);
}

static void
play_io(void)
{
	void * p = packet(sizeof(struct bareos_io) + 8 * (script_byte() & 1));
	int32_t func = script_odd(1 + script_byte() % 5);
	int32_t count = script_odd(100);
	char * buf = script_block(count);
	char * name = script_string();

	PUT(p, struct bareos_io, func, func);
	PUT(p, struct bareos_io, count, count);
	PUT(p, struct bareos_io, buf, buf);
	PUT(p, struct bareos_io, fname, name);
	f->pluginIO(&ctx, p);
	free(p);
	free(buf);
	free(name);
}

static void
play_create(void)
{
	void * p = packet(sizeof(struct bareos_restore) + 8 * (script_byte() & 1));
	char * name = script_string();
	char * link = script_string();
	char * where = script_string();

	PUT(p, struct bareos_restore, ofname, name);
	PUT(p, struct bareos_restore, olname, link);
	PUT(p, struct bareos_restore, where, where);
	f->createFile(&ctx, p);
	f->setFileAttributes(&ctx, p);
	free(p);
	free(name);
	free(link);
	free(where);
}

static void
play_getxattr(void)
{
	struct bareos_xattr * p = packet(sizeof(struct bareos_xattr));
	int rc = f->getXattr(&ctx, p);

	if (rc == RC_OK || rc == RC_MORE) {
		free(p->name);
		free(p->value);
	}
	free(p);
}

static void
play_setxattr(void)
{
	void * p = packet(sizeof(struct bareos_xattr));
	uint32_t nlen = (uint32_t)script_odd(10);
	uint32_t vlen = (uint32_t)script_odd(10);
	char * name = script_block(nlen);
	char * value = script_block(vlen);

	PUT(p, struct bareos_xattr, name_length, nlen);
	PUT(p, struct bareos_xattr, value_length, vlen);
	PUT(p, struct bareos_xattr, name, name);
	PUT(p, struct bareos_xattr, value, value);
	f->setXattr(&ctx, p);
	free(p);
	free(name);
	free(value);
}

/**
 * play_bareos(void):
 * Play the script as a job of Bareos.
 */
void
play_bareos(void)
{
	const struct bareos_info * info;
	char * cmd;

	bareos_load(&core, &info, &f);
	memset(&ctx, 0, sizeof(ctx));
	if (f->newPlugin(&ctx) != RC_OK)
		return;
	while (!script_ended()) {
		switch (script_byte() % 10) {
		case 0: play_event(); break;
		case 1: play_object(); break;
		case 2: play_save(); break;
		case 3: f->endBackupFile(&ctx); break;
		case 4:
			cmd = script_string();
			f->startRestoreFile(&ctx, cmd);
			free(cmd);
			break;
		case 5: f->endRestoreFile(&ctx); break;
		case 6: play_io(); break;
		case 7: play_create(); break;
		case 8: play_getxattr(); break;
		default: play_setxattr(); break;
		}
	}
	f->freePlugin(&ctx);
	f->freePlugin(&ctx);
}
