/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much anonymous memory is mapped, by node and by memory cgroup: one change
 * for all the small folios that a page table is about.
 */
#ifndef _MM_HMM_MIGRATE_MAPPED_H
#define _MM_HMM_MIGRATE_MAPPED_H

#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/vmstat.h>

#include "../internal.h"

/**
 * struct migrate_mapped - small folios that were mapped, or unmapped
 * @folio: the last one, which is locked for longer than this is in use
 * @nr: how many more are mapped, of which the statistics do not know yet
 */
struct migrate_mapped {
	struct folio *folio;
	int nr;
};

/* For as long as RCU is held, which it is under the lock of a page table */
static inline bool migrate_same_statistics(struct folio *a, struct folio *b)
{
	return folio_pgdat(a) == folio_pgdat(b) &&
	       folio_memcg(a) == folio_memcg(b);
}

/* Tell the statistics. */
static inline void migrate_mapped_end(struct migrate_mapped *mapped)
{
	if (mapped->nr)
		lruvec_stat_mod_folio(mapped->folio, NR_ANON_MAPPED,
				      mapped->nr);
	mapped->nr = 0;
}

static inline void migrate_mapped_add(struct migrate_mapped *mapped,
				      struct folio *folio, int nr)
{
	if (mapped->nr && !migrate_same_statistics(mapped->folio, folio))
		migrate_mapped_end(mapped);
	mapped->folio = folio;
	mapped->nr += nr;
}

#endif /* _MM_HMM_MIGRATE_MAPPED_H */
