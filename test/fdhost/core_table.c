/* SPDX-License-Identifier: AGPL-3.0-only */
#include <string.h>

#include "abi_bacula.h"
#include "abi_bareos.h"
#include "checks.h"
#include "core.h"
#include "escape.h"

static const struct layout * layout;
static void * table;
static const void * original;
static size_t table_size;

static int
job_message(void * ctx, const char * file, int line, int type, int64_t mtime,
    const char * fmt, ...)
{
	va_list ap;
	int rc;

	(void)file;
	(void)line;
	(void)mtime;
	va_start(ap, fmt);
	rc = core_message(ctx, type, fmt, ap);
	va_end(ap);
	return (rc);
}

static int
debug_message(void * ctx, const char * file, int line, int level,
    const char * fmt, ...)
{
	va_list ap;
	int rc;

	(void)line;
	(void)level;
	if (file == NULL)
		violate(0, "core-argument", "DebugMessage without a file");
	va_start(ap, fmt);
	rc = core_debug(ctx, fmt, ap);
	va_end(ap);
	return (rc);
}

static void *
core_malloc(void * ctx, const char * file, int line, size_t size)
{
	struct job * j;

	(void)file;
	(void)line;
	if ((j = core_enter(ctx, "malloc", CORE_QUIET)) == NULL)
		return (NULL);
	return (heap_malloc(&j->heap, size));
}

static void
core_free(void * ctx, const char * file, int line, void * mem)
{
	struct job * j;

	(void)file;
	(void)line;
	if ((j = core_enter(ctx, "free", CORE_QUIET)) == NULL)
		return;
	if ((mem != NULL) && heap_free(&j->heap, mem))
		violate(j->number, "memory-foreign",
		    "free of memory that is not from the core's malloc");
}

static int
add_text(void * ctx, const char * text)
{

	if (core_enter(ctx, "Add...", CORE_ACTIVE) == NULL)
		return (RC_ERROR);
	return ((text == NULL) ? RC_ERROR : RC_OK);
}

static int
add_typed(void * ctx, const char * text, int type)
{

	(void)type;
	return (add_text(ctx, text));
}

static int
new_part(void * ctx)
{

	if (core_enter(ctx, "New...", CORE_ACTIVE) == NULL)
		return (RC_ERROR);
	return (RC_OK);
}

static int
accept_file(void * ctx, void * sp)
{

	if (core_enter(ctx, "AcceptFile", CORE_ACTIVE) == NULL)
		return (RC_ERROR);

	/* The FileSets played here have no wild cards. */
	return ((sp == NULL) ? RC_ERROR : RC_OK);
}

static int
instance_count(void * ctx, int * ret)
{

	if (core_enter(ctx, "getInstanceCount", CORE_QUIET) == NULL)
		return (RC_ERROR);
	*ret = core_instances();
	return (RC_OK);
}

/* Take one event of a list; return false if the list makes no sense. */
static bool
take_event(struct job * j, uint32_t type, bool on)
{

	if ((type == 0) || (type > EV_MAX_BAREOS)) {
		violate(j->number, "register-event",
		    "event %u is out of range 1..%d", type, EV_MAX_BAREOS);
		return (false);
	}
	if (on)
		j->events |= 1U << type;
	else
		j->events &= ~(1U << type);
	return (true);
}

static int
bareos_events(void * ctx, int nr, va_list ap, bool on)
{
	struct job * j;
	int i;

	if ((j = core_enter(ctx, "registerBareosEvents", CORE_QUIET)) == NULL)
		return (RC_ERROR);
	if ((nr < 1) || (nr > EV_MAX_BAREOS))
		violate(j->number, "register-event", "a list of %d events", nr);
	for (i = 0; (i < nr) && (i < EV_MAX_BAREOS); i++) {
		if (!take_event(j, va_arg(ap, uint32_t), on))
			break;
	}
	return (RC_OK);
}

static int
bareos_register(void * ctx, int nr, ...)
{
	va_list ap;
	int rc;

	va_start(ap, nr);
	rc = bareos_events(ctx, nr, ap, true);
	va_end(ap);
	return (rc);
}

static int
bareos_unregister(void * ctx, int nr, ...)
{
	va_list ap;
	int rc;

	va_start(ap, nr);
	rc = bareos_events(ctx, nr, ap, false);
	va_end(ap);
	return (rc);
}

static int
bacula_register(void * ctx, ...)
{
	struct job * j;
	va_list ap;
	uint32_t type;
	int i;

	if ((j = core_enter(ctx, "registerBaculaEvents", CORE_QUIET)) == NULL)
		return (RC_ERROR);
	va_start(ap, ctx);
	for (i = 0; i < 64; i++) {
		if ((type = va_arg(ap, uint32_t)) == 0)
			break;
		if (!take_event(j, type, true))
			break;
	}
	va_end(ap);
	if (i == 64)
		violate(j->number, "register-event", "a list without an end");
	return (RC_OK);
}

static int
seen_bitmap(void * ctx, bool all, char * fname)
{
	struct job * j;
	size_t i;

	if ((j = core_enter(ctx, "SetSeenBitmap", CORE_ACTIVE)) == NULL)
		return (RC_ERROR);
	if (all == (fname != NULL)) {
		violate(j->number, "core-argument",
		    "SetSeenBitmap with all=%d and fname %s", all,
		    escape(fname));
		return (RC_ERROR);
	}
	for (i = 0; all && (i < j->seen.size); i++) {
		if (j->seen.slots[i] != NULL)
			j->seen.slots[i]->seen = true;
	}
	if (!all && core_see(j, fname))
		return (RC_ERROR);
	return (RC_OK);
}

static int
clear_bitmap(void * ctx, bool all, char * fname)
{
	struct job * j;
	struct name * e;
	size_t i;

	if ((j = core_enter(ctx, "ClearSeenBitmap", CORE_ACTIVE)) == NULL)
		return (RC_ERROR);
	for (i = 0; i < j->seen.size; i++) {
		e = j->seen.slots[i];
		if ((e != NULL) && (all || ((fname != NULL) &&
		    (strcmp(e->name, fname) == 0))))
			e->seen = false;
	}
	return (RC_OK);
}

/* Bacula 15: no list is kept that these could ask or fill. */
static int
bacula15_other(void * ctx, void * arg)
{

	if (core_enter(ctx, "getAccurateAttribs", CORE_ACTIVE) == NULL)
		return (RC_ERROR);
	return ((arg == NULL) ? RC_ERROR : RC_OK);
}

static const struct bareos_core bareos = {
	sizeof(bareos), 10, bareos_register, bareos_unregister, instance_count,
	core_get, core_set, job_message, debug_message, core_malloc, core_free,
	add_text, add_text, add_text, add_typed, add_typed, new_part, new_part,
	new_part, core_check_changes, accept_file, seen_bitmap, clear_bitmap
};

static const struct bacula_core bacula = {
	0, 0, bacula_register, core_get, core_set, job_message, debug_message,
	core_malloc, core_free, add_text, add_text, add_text, add_typed,
	add_typed, new_part, new_part, new_part, core_check_changes,
	accept_file, bacula15_other, add_text, bacula15_other
};

/**
 * core_table(L):
 * Return the function table of the layout ${L}, for the plugin to keep.
 */
void *
core_table(const struct layout * L)
{
	static union {
		struct bareos_core bareos;
		struct bacula_core bacula;
	} given, kept;

	if (L->family == BAREOS) {
		kept.bareos = bareos;
	} else {
		kept.bacula = bacula;
		kept.bacula.size = L->core_size;
		kept.bacula.version = L->iface;
	}
	given = kept;
	layout = L;
	table = &given;
	original = &kept;
	table_size = L->core_size;
	return (table);
}

/**
 * core_untouched(void):
 * Return true if the table handed out is as it was.
 */
bool
core_untouched(void)
{

	return ((table == NULL) || (memcmp(table, original, table_size) == 0));
}

/**
 * core_layout(void):
 * Return the layout whose table was handed out.
 */
const struct layout *
core_layout(void)
{

	return (layout);
}
