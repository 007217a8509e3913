/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bacula.h"
#include "driver.h"

static struct bacula_ctx ctx;
static const struct bacula_functions * f;
static int release;

static int
getValue(struct bacula_ctx * c, int var, void * value)
{
	static const char * text = "text";

	(void)c;
	if (script_byte() >= 200)
		return (2);
	if (var == 7 || var == 23)
		*(int *)value = script_byte();
	else
		*(const char **)value = text;
	return (0);
}

static int
jobMessage(struct bacula_ctx * c, const char * file, int line, int type,
    int64_t mtime, const char * fmt, ...)
{
	char text[2000];
	va_list ap;

	(void)c;
	(void)line;
	(void)mtime;
	look(file);
	type -= release == 15;
	if (type < 3 || type > 6)
		abort();
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	messages++;
	return (0);
}

static int
debugMessage(struct bacula_ctx * c, const char * file, int line, int level,
    const char * fmt, ...)
{

	(void)c;
	(void)file;
	(void)line;
	(void)level;
	(void)fmt;
	return (0);
}

static struct bacula_core core = {
	.getValue = getValue, .jobMessage = jobMessage,
	.debugMessage = debugMessage
};

static void
play_event(void)
{
	struct bacula_event event = { script_byte() };
	char * value = script_string();

	if (event.type != 18)
		f->handlePluginEvent(&ctx, script_byte() == 255 ? NULL : &event,
		    value);
	free(value);
}

static void
play_object(void)
{
	struct bacula_event event = { 18 };
	char * name = script_string();
	int32_t len = script_odd(100);
	char * data = script_block(len);
	void * p = packet(sizeof(struct bacula_object));

	if (data == NULL)
		len = script_byte() & 1 ? 0 : -1;
	PUT(p, struct bacula_object, object_name, name);
	PUT(p, struct bacula_object, object, data);
	PUT(p, struct bacula_object, object_len, len);
	f->handlePluginEvent(&ctx, &event, p);
	free(p);
	free(name);
	free(data);
}

static void
play_save(void)
{
	size_t size = release == 15 ? sizeof(struct bacula15_save) :
	    sizeof(struct bacula9_save);
	void * p = packet(size);
	struct bacula9_save * sp9 = p;
	struct bacula15_save * sp15 = p;
	int32_t says, end = 0;

	memcpy(&says, p, 4);
	if (says >= (int32_t)size)
		end = release == 15 ? sp15->pkt_end : sp9->pkt_end;
	if (f->startBackupFile(&ctx, p) == 0) {
		if ((release == 15 ? sp15->pkt_end : sp9->pkt_end) != end)
			abort();
		if (release == 15)
			look(sp15->type == 25 ? sp15->object_name : sp15->fname);
		else
			look(sp9->type == 25 ? sp9->object_name : sp9->fname);
	}
	free(p);
}

static void
play_io(void)
{
	void * p = packet(sizeof(struct bacula_io));
	int32_t func = script_odd(1 + script_byte() % 5);
	int32_t count = script_odd(100);
	char * buf = script_block(count);
	char * name = script_string();

	PUT(p, struct bacula_io, func, func);
	PUT(p, struct bacula_io, count, count);
	PUT(p, struct bacula_io, buf, buf);
	PUT(p, struct bacula_io, fname, name);
	f->pluginIO(&ctx, p);
	free(p);
	free(buf);
	free(name);
}

static void
play_create(void)
{
	void * p = packet(sizeof(struct bacula_restore));
	char * name = script_string();
	char * link = script_string();
	char * where = script_string();

	PUT(p, struct bacula_restore, ofname, name);
	PUT(p, struct bacula_restore, olname, link);
	PUT(p, struct bacula_restore, where, where);
	f->createFile(&ctx, p);
	f->setFileAttributes(&ctx, p);
	free(p);
	free(name);
	free(link);
	free(where);
}

/* Attributes, also such as begin as the plugin's own do. */
static void
play_xacl(void)
{
	static const char mark[8] = "vz7ctxa1";
	void * p = packet(sizeof(struct bacula_xacl));
	int32_t func = script_odd(1 + script_byte() % 4);
	int32_t i, count = script_odd(8 + script_byte());
	char * content = script_block(count);

	if (content == NULL)
		count = 0;
	for (i = 0; i < count && content != NULL; i++)
		content[i] = i < 8 && script_byte() < 250 ? mark[i] :
		    (char)script_byte();
	PUT(p, struct bacula_xacl, func, func);
	PUT(p, struct bacula_xacl, count, count);
	PUT(p, struct bacula_xacl, content, content);
	f->handleXACLdata(&ctx, p);
	free(p);
	free(content);
}

/**
 * play_bacula(which):
 * Play the script as a job of Bacula ${which}.
 */
void
play_bacula(int which)
{
	const struct bacula_info * info;
	char * cmd;

	release = which;
	core.size = which == 15 ? BACULA15_CORE_SIZE : BACULA9_CORE_SIZE;
	core.version = which == 15 ? BACULA15_INTERFACE : BACULA9_INTERFACE;
	bacula_load(&core, &info, &f);
	memset(&ctx, 0, sizeof(ctx));
	if (f->newPlugin(&ctx) != 0)
		return;
	while (!script_ended()) {
		switch (script_byte() % 9) {
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
		default: play_xacl(); break;
		}
	}
	f->freePlugin(&ctx);
	f->freePlugin(&ctx);
}
