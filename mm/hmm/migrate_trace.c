// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tracepoints of migration: their definitions, and arguments that take a
 * loop or a folio.
 */
#include <linux/migrate.h>
#include <linux/mm.h>

#include "migrate.h"

#define CREATE_TRACE_POINTS
#include <trace/events/migrate_device.h>

/* Does not look at folios, which may be freed after finalize. */
static unsigned long migrate_trace_count(const struct migrate_vma *migrate)
{
	unsigned long i, entries = 0;

	for (i = 0; i < migrate->npages; i++)
		entries += !!(migrate->src[i] & MIGRATE_PFN_MIGRATE);
	return entries;
}

void __migrate_trace_install(const struct migrate_vma *migrate)
{
	trace_migrate_install(migrate, migrate_trace_count(migrate));
}

void __migrate_trace_finalize(const struct migrate_vma *migrate)
{
	trace_migrate_finalize(migrate, migrate_trace_count(migrate));
}

void __migrate_trace_refuse(const struct migrate_vma *migrate, unsigned long i,
			    enum migrate_stage stage, enum migrate_refusal why)
{
	unsigned long addr = 0, entry = migrate->src[i];

	if (migrate->vma)
		addr = migrate->start + (i << PAGE_SHIFT);
	trace_migrate_refuse(addr, entry & MIGRATE_PFN_VALID ?
				   entry >> MIGRATE_PFN_SHIFT : 0,
			     migrate_entry_pages(entry), stage, why);
}
