/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NR_ANON_MAPPED of node and memory cgroup: one update for all small folios of
 * a page table.
 */
#ifndef _MM_HMM_MIGRATE_MAPPED_H
#define _MM_HMM_MIGRATE_MAPPED_H

#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/vmstat.h>

#include "../internal.h"

/**
 * struct migrate_mapped - small folios whose mapping or unmapping is not
 * counted yet
 * @folio: the last one, which stays locked until the statistics are updated
 * @nr: what to add to the statistics
 */
struct migrate_mapped {
	struct folio *folio;
	int nr;
};

/*
 * Do they count in the same statistics? folio_memcg() needs the RCU read lock,
 * which pte_offset_map_lock() has taken.
 */
static inline bool migrate_mapped_together(struct folio *a, struct folio *b)
{
	return folio_pgdat(a) == folio_pgdat(b) &&
	       folio_memcg(a) == folio_memcg(b);
}

/* Update the statistics. */
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
	if (mapped->nr && !migrate_mapped_together(mapped->folio, folio))
		migrate_mapped_end(mapped);
	mapped->folio = folio;
	mapped->nr += nr;
}

#endif /* _MM_HMM_MIGRATE_MAPPED_H */
