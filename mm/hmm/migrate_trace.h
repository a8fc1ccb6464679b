/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tracepoints whose arguments are computed only if they are enabled. The
 * functions with two underscores are in migrate_trace.c.
 */
#ifndef _MM_HMM_MIGRATE_TRACE_H
#define _MM_HMM_MIGRATE_TRACE_H

#include <linux/migrate.h>
#include <linux/tracepoint-defs.h>

#include "migrate_entry.h"

DECLARE_TRACEPOINT(migrate_install);
DECLARE_TRACEPOINT(migrate_finalize);
DECLARE_TRACEPOINT(migrate_refuse);

void __migrate_trace_install(const struct migrate_vma *migrate);
void __migrate_trace_finalize(const struct migrate_vma *migrate);
void __migrate_trace_refuse(const struct migrate_vma *migrate, unsigned long i,
			    enum migrate_stage stage, enum migrate_refusal why);

static inline void migrate_trace_install(const struct migrate_vma *migrate)
{
	if (tracepoint_enabled(migrate_install))
		__migrate_trace_install(migrate);
}

static inline void migrate_trace_finalize(const struct migrate_vma *migrate)
{
	if (tracepoint_enabled(migrate_finalize))
		__migrate_trace_finalize(migrate);
}

/* Entry @i, which still is what it was, is refused. */
static inline void migrate_trace_refuse(const struct migrate_vma *migrate,
					unsigned long i,
					enum migrate_stage stage,
					enum migrate_refusal why)
{
	if (tracepoint_enabled(migrate_refuse))
		__migrate_trace_refuse(migrate, i, stage, why);
}

#endif /* _MM_HMM_MIGRATE_TRACE_H */
