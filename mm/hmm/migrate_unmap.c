// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Unmap: folios that were collected leave the LRU and all other page tables.
 * What is still referenced after that cannot move and is put back.
 *
 * A folio is off the LRU so that nobody finds it there whose flags are about to
 * be moved. It may be on its way to the LRU, in some CPU's batch, which has a
 * reference. This CPU's batches are drained beforehand, those of the others
 * only if that is what keeps a folio from moving, and once all is unmapped.
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
 * Isolate all folios that are on the LRU. Each is kept by the reference that
 * collect took. Returns how many were not there.
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

/* Is it mapped, where not only our entries have mapped it? */
static bool is_elsewhere(const struct migrate_vma *migrate, unsigned long i)
{
	return is_taken(migrate, i) &&
	       !(migrate->src[i] & MIGRATE_PFN_HERE) &&
	       folio_mapped(migrate_folio_of(migrate->src[i]));
}

/* In all page tables but ours, whose entries are replaced already */
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

/* Nobody but us may have a reference. That is stable: the folio is locked. */
static bool is_free_to_move(struct folio *folio, unsigned long entry)
{
	if (!folio_is_zone_device(folio) && !(entry & MIGRATE_PFN_OFF_LRU))
		return false;
	return !folio_mapped(folio) &&
	       folio_ref_count(folio) == folio_expected_ref_count(folio) + 1;
}

/*
 * Batches refer to what was mlocked, and to what is not any more: since collect,
 * or since another process, in which it was, got a copy. They may be those of
 * another CPU. An mlock that a CPU has put off and another one undone leaves no
 * trace but in an mlocked mapping.
 */
static bool may_be_in_batches(const struct migrate_vma *migrate,
			      struct folio *folio)
{
	if (folio_is_zone_device(folio))
		return false;
	return folio_test_mlocked(folio) ||
	       (migrate->vma && migrate->vma->vm_flags & VM_LOCKED);
}

/* All batches are drained if need be, once. */
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

/* Has the caller asked for the folio to be handed out as a whole? */
static bool is_asked_for(const struct migrate_vma *migrate, unsigned long i)
{
	unsigned long addr = migrate->start + (i << PAGE_SHIFT);

	/* By page frame, all folios are. */
	if (!migrate->vma || migrate->flags & MIGRATE_VMA_SELECT_FOLIOS)
		return true;
	return migrate->flags & MIGRATE_VMA_SELECT_COMPOUND &&
	       IS_ALIGNED(addr, HPAGE_PMD_SIZE) &&
	       migrate_entry_pages(migrate->src[i]) == HPAGE_PMD_NR;
}

/* What is unmapped is split without a look at any page table but ours. */
static bool settle(struct migrate_vma *migrate, unsigned long i, bool *drained)
{
	if (!gets_free_to_move(migrate, i, drained))
		return false;
	return !migrate_is_large(migrate->src[i]) || is_asked_for(migrate, i) ||
	       !migrate_split_moving(migrate, i, 0, MIGRATE_UNMAP);
}

/* Put back what is KEPT. */
static void restore(struct migrate_vma *migrate, unsigned long i)
{
	struct folio *folio = migrate_folio_of(migrate->src[i]);

	if (migrate->src[i] & MIGRATE_PFN_OFF_LRU)
		folio_add_lru(folio);
	migrate_map(migrate, folio, folio);
	migrate_set(migrate, i, MIGRATE_UNMAP, 0);
	migrate_let_go(migrate, folio);
}

/* Returns how many entries are to be migrated. */
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

/* Can a folio be on the LRU, or on its way to or from there? */
static bool may_meet_lru(const struct migrate_vma *migrate)
{
	return !migrate->vma || migrate->flags & MIGRATE_VMA_SELECT_SYSTEM;
}

/**
 * migrate_unmap() - make sure that nobody uses what is to be moved
 * @migrate: the migration; its src as collect, or the caller, has left it
 *
 * Context: Process context, may sleep.
 *
 * Return: how many entries are to be migrated. All others are out.
 */
unsigned long migrate_unmap(struct migrate_vma *migrate)
{
	unsigned long missed = 0;

	if (may_meet_lru(migrate)) {
		lru_add_drain();
		missed = isolate_all(migrate);
	}
	unmap_all(migrate);
	/* What was on its way to the LRU may have got there; all of it must. */
	if (missed)
		missed = isolate_all(migrate);
	if (missed) {
		lru_add_drain_all();
		isolate_all(migrate);
	}
	return settle_all(migrate, missed);
}
