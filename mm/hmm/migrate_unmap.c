// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Unmap: collected folios are isolated from the LRU and unmapped everywhere
 * else. Folios that still have unexpected references cannot migrate, and are
 * restored.
 *
 * Folios are isolated because their flags will be moved. A folio may still be
 * in an LRU batch of some CPU, which holds a reference. This CPU's batches are
 * drained first. Those of other CPUs are drained after all folios are unmapped,
 * and only if they may prevent a migration.
 */
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/rmap.h>
#include <linux/swap.h>

#include "../internal.h"
#include "migrate.h"

#include <trace/events/migrate_device.h>

#define for_each_migrate_entry(i, migrate)				\
	for ((i) = 0; (i) < (migrate)->npages;			\
	     (i) += migrate_entry_pages((migrate)->src[i]))

static bool migrate_unmap_is_locked(const struct migrate_vma *migrate,
				    unsigned long i)
{
	return migrate_state_of(migrate->src[i]) == MIGRATE_ENTRY_LOCKED;
}

/*
 * Isolate all folios from the LRU. Collect holds a reference to each. Returns
 * how many were not on the LRU, and sets @shared if any folio may have mappings
 * that collect did not replace.
 */
static unsigned long migrate_unmap_isolate(struct migrate_vma *migrate,
					   bool *shared)
{
	struct lru_run run = { .lruvec = NULL };
	unsigned long i, missed = 0;

	for_each_migrate_entry(i, migrate) {
		struct folio *folio;

		if (!migrate_unmap_is_locked(migrate, i) ||
		    migrate_entry_has(migrate->src[i], MIGRATE_MARK_ISOLATED)) {
			/* Interrupts are off, and there may be many. */
			if (IS_ALIGNED(i, SWAP_CLUSTER_MAX))
				lru_run_end(&run);
			continue;
		}
		if (!migrate_entry_has(migrate->src[i], MIGRATE_MARK_SOLE))
			*shared = true;
		folio = migrate_folio_of(migrate->src[i]);
		if (folio_is_zone_device(folio))
			continue;
		if (folio_isolate_lru_run(folio, &run))
			migrate->src[i] =
				migrate_entry_mark(migrate->src[i],
						   MIGRATE_MARK_ISOLATED);
		else
			missed++;
	}
	lru_run_end(&run);
	return missed;
}

/* Does the folio have mappings that collect did not replace? */
static bool migrate_unmap_is_mapped(const struct migrate_vma *migrate,
				    unsigned long i)
{
	return migrate_unmap_is_locked(migrate, i) &&
	       !migrate_entry_has(migrate->src[i], MIGRATE_MARK_SOLE) &&
	       folio_mapped(migrate_folio_of(migrate->src[i]));
}

/* Unmap folios everywhere else: collect has replaced the range's entries. */
static void migrate_unmap_mapped(struct migrate_vma *migrate)
{
	bool unmapped = false;
	unsigned long i;

	for_each_migrate_entry(i, migrate) {
		if (!migrate_unmap_is_mapped(migrate, i))
			continue;
		try_to_migrate(migrate_folio_of(migrate->src[i]),
			       TTU_BATCH_FLUSH);
		unmapped = true;
	}
	if (unmapped)
		try_to_unmap_flush();
}

/*
 * Is the folio unmapped and isolated, with no unexpected reference? While the
 * folio is locked, it is not mapped or put on the LRU again. References may
 * still change: lru_add_drain_all() drops those of batches, and lookups by page
 * frame or in the page cache may take new ones. Install checks them again.
 */
static bool migrate_unmap_is_unreferenced(struct folio *folio,
					  unsigned long entry)
{
	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (!folio_is_zone_device(folio) &&
	    !migrate_entry_has(entry, MIGRATE_MARK_ISOLATED))
		return false;
	return !folio_mapped(folio) &&
	       folio_ref_count(folio) == folio_expected_ref_count(folio) + 1;
}

/*
 * May an mlock batch of some CPU hold a reference? This is possible for a folio
 * that is mlocked, or that was munlocked by collect, or by another process that
 * got a copy. If one CPU batches the mlock and another the munlock, the only
 * trace is that the VMA is mlocked.
 */
static bool migrate_unmap_may_be_batched(const struct migrate_vma *migrate,
					 struct folio *folio)
{
	if (folio_is_zone_device(folio))
		return false;
	return folio_test_mlocked(folio) ||
	       (migrate->vma && migrate->vma->vm_flags & VM_LOCKED);
}

/* Drains the batches of all CPUs if that may help, once in a migration. */
static bool migrate_unmap_can_migrate(struct migrate_vma *migrate,
				      unsigned long i, bool *drained)
{
	struct folio *folio = migrate_folio_of(migrate->src[i]);

	if (migrate_unmap_is_unreferenced(folio, migrate->src[i]))
		return true;
	if (*drained || !migrate_unmap_may_be_batched(migrate, folio))
		return false;
	lru_add_drain_all();
	*drained = true;
	return migrate_unmap_is_unreferenced(folio, migrate->src[i]);
}

/* Has the caller asked for large folios such as this one? */
static bool migrate_unmap_accepts_large(const struct migrate_vma *migrate,
					unsigned long i)
{
	unsigned long addr = migrate->start + (i << PAGE_SHIFT);

	/* By page frame, folios always migrate as a whole. */
	if (!migrate->vma || migrate->flags & MIGRATE_VMA_SELECT_FOLIOS)
		return true;
	return migrate->flags & MIGRATE_VMA_SELECT_COMPOUND &&
	       IS_ALIGNED(addr, HPAGE_PMD_SIZE) &&
	       migrate_entry_pages(migrate->src[i]) == HPAGE_PMD_NR;
}

/*
 * False if the folio must be restored. Splits it if it does not migrate as a
 * whole.
 */
static bool migrate_unmap_prepare(struct migrate_vma *migrate, unsigned long i,
				  bool *drained)
{
	if (!migrate_unmap_can_migrate(migrate, i, drained)) {
		migrate_trace_refuse(migrate, i, MIGRATE_UNMAP, MIGRATE_PINNED);
		return false;
	}
	if (!migrate_is_large(migrate->src[i]) ||
	    migrate_unmap_accepts_large(migrate, i) ||
	    !migrate_split_folio(migrate, i, 0, MIGRATE_UNMAP))
		return true;
	migrate_trace_refuse(migrate, i, MIGRATE_UNMAP, MIGRATE_UNSPLIT);
	return false;
}

/* Put the folio of a RESTORED entry back on the LRU, and map it again. */
static void migrate_unmap_restore(struct migrate_vma *migrate, unsigned long i)
{
	unsigned long end = i + migrate_entry_pages(migrate->src[i]);
	struct folio *folio = migrate_folio_of(migrate->src[i]);

	if (migrate_entry_has(migrate->src[i], MIGRATE_MARK_ISOLATED))
		folio_add_lru(folio);
	migrate_map(migrate, folio, folio);
	migrate_set(migrate, i, MIGRATE_UNMAP,
		    migrate_unmoved(migrate, MIGRATE_PINNED));
	if (migrate->flags & MIGRATE_VMA_ANSWERS)
		while (++i < end)
			migrate->src[i] = migrate_refused(MIGRATE_PINNED);
	migrate_put_folio(migrate, folio);
}

/* Returns how many entries will be migrated. */
static unsigned long migrate_unmap_finish(struct migrate_vma *migrate,
					  bool drained)
{
	unsigned long i, nr, moving = 0;

	for (i = 0; i < migrate->npages; i += nr) {
		if (migrate_unmap_is_locked(migrate, i) &&
		    !migrate_unmap_prepare(migrate, i, &drained))
			migrate_cancel(migrate, i, MIGRATE_UNMAP);
		nr = migrate_entry_pages(migrate->src[i]);
		if (migrate_state_of(migrate->src[i]) == MIGRATE_ENTRY_RESTORED)
			migrate_unmap_restore(migrate, i);
		migrate->src[i] = migrate_entry_unmark(migrate->src[i],
						       MIGRATE_MARK_ISOLATED |
						       MIGRATE_MARK_SOLE);
		moving += !!(migrate->src[i] & MIGRATE_PFN_MIGRATE);
	}
	trace_migrate_unmap(migrate, moving);
	return moving;
}

/* Can a folio be on the LRU, or in a batch of folios to be added to it? */
static bool migrate_unmap_may_be_on_lru(const struct migrate_vma *migrate)
{
	return !migrate->vma || migrate->flags & MIGRATE_VMA_SELECT_SYSTEM;
}

/**
 * migrate_unmap() - unmap the pages that will be migrated
 * @migrate: the migration; its src from collect, or from the caller
 *
 * After this, no CPU and no other task uses the pages.
 *
 * Context: Process context, may sleep.
 *
 * Return: the number of entries that will be migrated, holes included; all
 * others are 0, or the reason with MIGRATE_VMA_ANSWERS.
 */
unsigned long migrate_unmap(struct migrate_vma *migrate)
{
	bool on_lru = migrate_unmap_may_be_on_lru(migrate);
	unsigned long missed = 0;
	bool shared = !on_lru;

	if (on_lru) {
		lru_add_drain();
		missed = migrate_unmap_isolate(migrate, &shared);
	}
	if (shared)
		migrate_unmap_mapped(migrate);
	/*
	 * Folios that were not on the LRU may be by now. All must be isolated.
	 */
	if (missed)
		missed = migrate_unmap_isolate(migrate, &shared);
	if (missed) {
		lru_add_drain_all();
		migrate_unmap_isolate(migrate, &shared);
	}
	return migrate_unmap_finish(migrate, missed);
}
