/* SPDX-License-Identifier: AGPL-3.0-only */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "core.h"
#include "escape.h"

static const char fd_name[] = "fdhost-fd";
static const char * work_dir = "";
static const char exe_path[] = "/usr/sbin/fdhost";
static const char conf_dir[] = "/etc/fdhost";

/**
 * core_workdir(dir):
 * Set the working directory that the daemon tells.
 */
void
core_workdir(const char * dir)
{

	work_dir = dir;
}

/* Variables of the daemon, which need no context; return NULL for others. */
static const char *
daemon_value(const struct layout * L, enum var v)
{

	switch (v) {
	case V_FDNAME:		return (fd_name);
	case V_WORKDIR:		return (work_dir);
	case V_EXEPATH:		return (exe_path);
	case V_VERSION:		return (L->version);
	case V_USEDCONFIG:
	case V_PLUGINDIR:	return (conf_dir);
	case V_DISTNAME:
		return ((L->family == BACULA) ? "debian" : NULL);
	default:		return (NULL);
	}
}

/* Numbers of the job; return false for other variables. */
static bool
job_number(const struct job * j, enum var v, int * n)
{

	switch (v) {
	case V_JOBID:		*n = (int)j->jobid; break;
	case V_LEVEL:		*n = j->level; break;
	case V_TYPE:		*n = j->type; break;
	case V_JOBSTATUS:	*n = atomic_load(&j->status); break;
	case V_SINCE:		*n = (int)j->a->since; break;
	case V_ACCURATE:	*n = (j->a->accurate && (j->level != 'F') &&
				    (j->type == 'B')); break;
	case V_PREFIXLINKS:	*n = j->a->prefix_links; break;
	case V_INTERACTIVE:
	case V_DEDUP:		*n = 0; break;
	case V_FILEINDEX:	*n = (int)j->files; break;
	case V_REPLACE:		*n = j->a->replace; break;
	case V_ISCANCELED:	*n = job_canceled(j); break;
	case V_ESTIMATE:	*n = j->estimate; break;
	default:		return (false);
	}
	return (true);
}

/* Texts of the job, NULL if not set; return false for other variables. */
static bool
job_text(const struct job * j, enum var v, const char ** s)
{

	switch (v) {
	case V_CLIENT:
		*s = fd_name;
		break;
	case V_JOBNAME:
		*s = j->name;
		break;
	case V_PREVJOB:
		*s = j->previous_name;
		break;
	case V_WHERE:
		*s = ((j->type != 'R') || (j->a->renames.n != 0) ||
		    j->a->regexwhere) ? NULL : j->where;
		break;
	case V_REGEXWHERE:
		*s = (j->regexwhere[0] == '\0') ? NULL : j->regexwhere;
		break;
	default:
		return (false);
	}
	return (true);
}

/**
 * core_get(ctx, var, value):
 * Give the variable ${var}.
 */
int
core_get(void * ctx, int var, void * value)
{
	const struct layout * loaded = core_layout();
	struct job * j;
	const char * s;
	uint64_t accopts = 0;
	enum var v;
	int n;

	j = core_enter(ctx, "getValue", CORE_QUIET);
	if (value == NULL) {
		violate((j == NULL) ? 0 : j->number, "core-argument",
		    "getValue(%d) without a place for it", var);
		return (RC_ERROR);
	}
	v = layout_var(loaded, var);

	/* Bacula gives these too without a context, but answers Error. */
	if ((s = daemon_value(loaded, v)) != NULL) {
		memcpy(value, &s, sizeof(s));
		if ((j == NULL) && (loaded->family == BACULA))
			return (RC_ERROR);
		return (RC_OK);
	}
	if ((j == NULL) && (v == V_CHECKCHANGES)) {
		violate(0, "core-argument", "getValue(%d) without a context "
		    "crashes the daemon", var);
		return (RC_ERROR);
	}
	if (j == NULL)
		return (RC_ERROR);

	if (job_number(j, v, &n))
		memcpy(value, &n, sizeof(n));
	else if (job_text(j, v, &s))
		memcpy(value, &s, sizeof(s));
	else if (v == V_CHECKCHANGES)
		*(bool *)value = true;
	else if (v == V_ACCOPTS)
		memcpy(value, &accopts, sizeof(accopts));
	else if ((v == V_VSS) || (v == V_DISTNAME))
		return (RC_ERROR);

	/* An unknown variable is OK, and leaves the value alone. */
	return (RC_OK);
}

/**
 * core_set(ctx, var, value):
 * Set the variable ${var}.
 */
int
core_set(void * ctx, int var, const void * value)
{
	struct job * j;

	if ((j = core_enter(ctx, "setValue", CORE_ACTIVE)) == NULL)
		return (RC_ERROR);
	if (value == NULL)
		return (RC_ERROR);
	switch (layout_var(j->L, var)) {
	case V_FILESEEN:
		return (core_see(j, value) ? RC_ERROR : RC_OK);
	case V_CHECKCHANGES:
	case V_INTERACTIVE:
		return (RC_OK);
	default:
		/* Bareos makes an error message of the job from this. */
		violate(j->number, "core-argument",
		    "setValue is not implemented for %d", var);
		return (RC_OK);
	}
}
