// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Unmap: collected folios are isolated from the LRU and unmapped everywhere
 * else. Folios with unexpected references after that cannot migrate, and are
 * restored.
 *
 * Folios are isolated because their flags will be moved. A folio may still be
 * in some CPU's LRU batch, which has a reference. The batches of this CPU are
 * drained first, those of other CPUs only if they may keep a folio from
 * migrating, after everything is unmapped.
 */
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/rmap.h>
#include <linux/swap.h>

#include "../internal.h"
#include "migrate.h"

#define for_each_entry(i, migrate)				\
	for ((i) = 0; (i) < (migrate)->npages;			\
	     (i) += migrate_entry_pages((migrate)->src[i]))

static bool is_taken(const struct migrate_vma *migrate, unsigned long i)
{
	return migrate_state_of(migrate->src[i]) == MIGRATE_TAKEN;
}

/*
 * Isolate all folios from the LRU. The references of collect keep them. Returns
 * how many were not on the LRU.
 */
static unsigned long isolate_all(struct migrate_vma *migrate)
{
	struct lru_run run = { .lruvec = NULL };
	unsigned long i, missed = 0;

	for_each_entry(i, migrate) {
		struct folio *folio;

		if (!is_taken(migrate, i) ||
		    migrate->src[i] & MIGRATE_PFN_OFF_LRU)
			continue;
		folio = migrate_folio_of(migrate->src[i]);
		if (folio_is_zone_device(folio))
			continue;
		if (folio_isolate_lru_run(folio, &run))
			migrate->src[i] |= MIGRATE_PFN_OFF_LRU;
		else
			missed++;
	}
	lru_run_end(&run);
	return missed;
}

/* Does the folio have mappings that collect has not replaced? */
static bool is_elsewhere(const struct migrate_vma *migrate, unsigned long i)
{
	return is_taken(migrate, i) &&
	       !(migrate->src[i] & MIGRATE_PFN_HERE) &&
	       folio_mapped(migrate_folio_of(migrate->src[i]));
}

/* Unmap folios everywhere else; collect has replaced the range's entries. */
static void unmap_all(struct migrate_vma *migrate)
{
	bool unmapped = false;
	unsigned long i;

	for_each_entry(i, migrate) {
		if (!is_elsewhere(migrate, i))
			continue;
		try_to_migrate(migrate_folio_of(migrate->src[i]),
			       TTU_BATCH_FLUSH);
		unmapped = true;
	}
	if (unmapped)
		try_to_unmap_flush();
}

/* There must be no unexpected reference. Stable, as the folio is locked. */
static bool is_free_to_move(struct folio *folio, unsigned long entry)
{
	if (!folio_is_zone_device(folio) && !(entry & MIGRATE_PFN_OFF_LRU))
		return false;
	return !folio_mapped(folio) &&
	       folio_ref_count(folio) == folio_expected_ref_count(folio) + 1;
}

/*
 * The mlock batches of any CPU may hold a reference to a folio that is mlocked,
 * or that was munlocked by collect, or by another process that got a copy. If
 * one CPU batches the mlock and another the munlock, the only trace is that the
 * mapping is mlocked.
 */
static bool may_be_in_batches(const struct migrate_vma *migrate,
			      struct folio *folio)
{
	if (folio_is_zone_device(folio))
		return false;
	return folio_test_mlocked(folio) ||
	       (migrate->vma && migrate->vma->vm_flags & VM_LOCKED);
}

/* Drain the batches of all CPUs if that may help, once. */
static bool gets_free_to_move(struct migrate_vma *migrate, unsigned long i,
			      bool *drained)
{
	struct folio *folio = migrate_folio_of(migrate->src[i]);

	if (is_free_to_move(folio, migrate->src[i]))
		return true;
	if (*drained || !may_be_in_batches(migrate, folio))
		return false;
	lru_add_drain_all();
	*drained = true;
	return is_free_to_move(folio, migrate->src[i]);
}

/* Does the caller accept the folio as a whole? */
static bool is_asked_for(const struct migrate_vma *migrate, unsigned long i)
{
	unsigned long addr = migrate->start + (i << PAGE_SHIFT);

	/* By page frame, folios always migrate as a whole. */
	if (!migrate->vma || migrate->flags & MIGRATE_VMA_SELECT_FOLIOS)
		return true;
	return migrate->flags & MIGRATE_VMA_SELECT_COMPOUND &&
	       IS_ALIGNED(addr, HPAGE_PMD_SIZE) &&
	       migrate_entry_pages(migrate->src[i]) == HPAGE_PMD_NR;
}

/* An unmapped folio is split without visiting other page tables. */
static bool settle(struct migrate_vma *migrate, unsigned long i, bool *drained)
{
	if (!gets_free_to_move(migrate, i, drained))
		return false;
	return !migrate_is_large(migrate->src[i]) || is_asked_for(migrate, i) ||
	       !migrate_split_moving(migrate, i, 0, MIGRATE_UNMAP);
}

/* Put a KEPT folio back, and map it again. */
static void restore(struct migrate_vma *migrate, unsigned long i)
{
	struct folio *folio = migrate_folio_of(migrate->src[i]);

	if (migrate->src[i] & MIGRATE_PFN_OFF_LRU)
		folio_add_lru(folio);
	migrate_map(migrate, folio, folio);
	migrate_set(migrate, i, MIGRATE_UNMAP, 0);
	migrate_let_go(migrate, folio);
}

/* Returns how many entries will be migrated. */
static unsigned long settle_all(struct migrate_vma *migrate, bool drained)
{
	unsigned long i, nr, moving = 0;

	for (i = 0; i < migrate->npages; i += nr) {
		if (is_taken(migrate, i) && !settle(migrate, i, &drained))
			migrate_keep(migrate, i, MIGRATE_UNMAP);
		nr = migrate_entry_pages(migrate->src[i]);
		if (migrate_state_of(migrate->src[i]) == MIGRATE_KEPT)
			restore(migrate, i);
		migrate->src[i] &= ~(MIGRATE_PFN_OFF_LRU | MIGRATE_PFN_HERE);
		moving += !!(migrate->src[i] & MIGRATE_PFN_MIGRATE);
	}
	return moving;
}

/* Can a folio be on the LRU, or in a batch on its way there? */
static bool may_meet_lru(const struct migrate_vma *migrate)
{
	return !migrate->vma || migrate->flags & MIGRATE_VMA_SELECT_SYSTEM;
}

/**
 * migrate_unmap() - make sure that nobody uses the pages that will be migrated
 * @migrate: the migration; its src as left by collect or by the caller
 *
 * Context: Process context, may sleep.
 *
 * Return: the number of entries that will be migrated; all others are 0.
 */
unsigned long migrate_unmap(struct migrate_vma *migrate)
{
	unsigned long missed = 0;

	if (may_meet_lru(migrate)) {
		lru_add_drain();
		missed = isolate_all(migrate);
	}
	unmap_all(migrate);
	/* Folios that were missed may be on the LRU by now; all must be. */
	if (missed)
		missed = isolate_all(migrate);
	if (missed) {
		lru_add_drain_all();
		isolate_all(migrate);
	}
	return settle_all(migrate, missed);
}
