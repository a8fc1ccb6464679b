// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Finalize: migration entries become entries of the new page, or of the old one
 * where it stays, and whoever waits for them goes on.
 *
 * Folios that were mapped in the range only, which is most, have their entries
 * replaced in one walk of its page tables. For the others rmap finds them.
 */
#include <linux/leafops.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/folio_batch.h>
#include <linux/pagewalk.h>
#include <linux/pgtable.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "../internal.h"
#include "migrate.h"
#include "migrate_pte.h"

/* Whose pages are mapped in the end */
static struct folio *target_of(const struct migrate_vma *migrate,
			       unsigned long i)
{
	struct folio *to = migrate_folio_of(migrate->dst[i]);

	if (to && migrate_state_of(migrate->src[i]) == MIGRATE_TAKEN)
		return to;
	return migrate_folio_of(migrate->src[i]);
}

static bool is_here(unsigned long entry)
{
	return entry & MIGRATE_PFN_HERE;
}

/* In one walk */

/* Is it the migration entry that collect has left? It may have been zapped. */
static bool is_ours(pte_t pte, unsigned long pfn)
{
	softleaf_t entry;

	if (pte_none(pte) || pte_present(pte))
		return false;
	entry = softleaf_from_pte(pte);
	return softleaf_is_migration(entry) && softleaf_to_pfn(entry) == pfn;
}

static rmap_t rmap_flags_of(pte_t moving)
{
	return softleaf_is_migration_read(softleaf_from_pte(moving)) ?
		RMAP_NONE : RMAP_EXCLUSIVE;
}

static void map_pte(struct vm_area_struct *vma, unsigned long addr, pte_t *ptep,
		    pte_t moving, struct page *page)
{
	set_pte_at(vma->vm_mm, addr, ptep, migrate_pte_end(vma, moving, page));
	/* No flush: there was nothing to be cached. */
	update_mmu_cache(vma, addr, ptep);
}

/* How many PTEs from @ptep on are ours, and alike as rmap sees it? */
static unsigned int alike(pte_t *ptep, unsigned long pfn, unsigned int max)
{
	rmap_t flags = rmap_flags_of(ptep_get(ptep));
	unsigned int nr;

	for (nr = 1; nr < max; nr++) {
		pte_t pte = ptep_get(ptep + nr);

		if (!is_ours(pte, pfn + nr) || rmap_flags_of(pte) != flags)
			break;
	}
	return nr;
}

/* @nr PTEs of pages from @pfn on, to map @page and those behind it */
static void map_ptes(struct vm_area_struct *vma, unsigned long addr,
		     pte_t *ptep, unsigned long pfn, struct page *page,
		     unsigned int nr)
{
	struct folio *folio = page_folio(page);
	unsigned int run;

	for (; nr; nr -= run) {
		unsigned int i;

		run = 1;
		if (is_ours(ptep_get(ptep), pfn)) {
			run = alike(ptep, pfn, nr);
			folio_ref_add(folio, run);
			folio_add_anon_rmap_ptes(folio, page, run, vma, addr,
						 rmap_flags_of(ptep_get(ptep)));
			for (i = 0; i < run; i++)
				map_pte(vma, addr + i * PAGE_SIZE, ptep + i,
					ptep_get(ptep + i), page + i);
		}
		addr += run * PAGE_SIZE;
		ptep += run;
		pfn += run;
		page += run;
	}
}

/* Returns the number of PTEs that the entry is about. */
static unsigned long finalize_ptes(struct migrate_vma *migrate, pte_t *ptep,
				   unsigned long addr, unsigned long max)
{
	unsigned long i = migrate_index(migrate, addr);
	unsigned long entry = migrate->src[i], nr;

	if (!is_here(entry))
		return 1;
	nr = min(migrate_entry_pages(entry), max);
	map_ptes(migrate->vma, addr, ptep, entry >> MIGRATE_PFN_SHIFT,
		 folio_page(target_of(migrate, i), 0), nr);
	return nr;
}

static bool finalize_pmd(struct migrate_vma *migrate, pmd_t *pmd,
			 unsigned long addr)
{
	unsigned long i = migrate_index(migrate, addr);
	struct page_vma_mapped_walk pvmw = {
		.vma = migrate->vma,
		.address = addr,
		.pmd = pmd,
	};
	spinlock_t *ptl = pmd_trans_huge_lock(pmd, migrate->vma);

	if (!ptl)
		return false;
	pvmw.ptl = ptl;
	if (is_here(migrate->src[i]) && pmd_is_migration_entry(*pmd) &&
	    softleaf_to_folio(softleaf_from_pmd(*pmd)) ==
	    migrate_folio_of(migrate->src[i]))
		remove_migration_pmd(&pvmw, target_of(migrate, i));
	spin_unlock(ptl);
	return true;
}

static int finalize_entry(pmd_t *pmd, unsigned long addr, unsigned long end,
			  struct mm_walk *walk)
{
	struct migrate_vma *migrate = walk->private;
	pte_t *first, *ptep;
	spinlock_t *ptl;	/* of the PTEs */
	unsigned long nr;

	if (finalize_pmd(migrate, pmd, addr))
		return 0;
	first = pte_offset_map_lock(walk->mm, pmd, addr, &ptl);
	/* All has been zapped, and perhaps something else is there now. */
	if (!first)
		return 0;
	lazy_mmu_mode_enable();
	for (ptep = first; addr < end; ptep += nr, addr += nr << PAGE_SHIFT)
		nr = finalize_ptes(migrate, ptep, addr,
				   (end - addr) >> PAGE_SHIFT);
	lazy_mmu_mode_disable();
	pte_unmap_unlock(first, ptl);
	return 0;
}

static const struct mm_walk_ops finalize_ops = {
	.pmd_entry = finalize_entry,
	.walk_lock = PGWALK_RDLOCK,
};

static const struct mm_walk_ops finalize_vma_locked_ops = {
	.pmd_entry = finalize_entry,
	.walk_lock = PGWALK_VMA_RDLOCK_VERIFY,
};

static void finalize_here(struct migrate_vma *migrate)
{
	unsigned long i;

	for (i = 0; i < migrate->npages; i++)
		if (is_here(migrate->src[i]))
			break;
	if (i == migrate->npages)
		return;
	walk_page_range_vma(migrate->vma, migrate->start + (i << PAGE_SHIFT),
			    migrate->end,
			    migrate_ops(migrate, &finalize_ops,
					&finalize_vma_locked_ops), migrate);
	if (migrate->vma->vm_flags & VM_LOCKED)
		mlock_drain_local();
}

/* Folios */

/* What becomes mapped must be on its way to the LRU. */
static void to_lru(const struct migrate_vma *migrate, unsigned long i)
{
	struct folio *target = target_of(migrate, i);

	if (target == migrate_folio_of(migrate->src[i]) &&
	    !(migrate->src[i] & MIGRATE_PFN_OFF_LRU))
		return;
	if (!folio_is_zone_device(target))
		folio_add_lru(target);
}

static void put_later(struct folio_batch *batch, struct folio *folio)
{
	folio_unlock(folio);
	if (!folio_batch_add(batch, folio))
		folios_put(batch);
}

/*
 * Large folios go at once: there are few of them, and what waits in a batch is
 * missed by whoever is short of memory.
 */
static void let_go(struct migrate_vma *migrate, struct folio_batch *batch,
		   struct folio *folio)
{
	if (!folio || migrate_is_lent(migrate, folio))
		return;
	if (folio_test_large(folio)) {
		folio_unlock(folio);
		folio_put(folio);
	} else {
		put_later(batch, folio);
	}
}

/**
 * migrate_finalize() - map what is to be mapped, and let all folios go
 * @migrate: the migration, as migrate_install() has left it
 *
 * Context: Process context, may sleep. With a VMA, its lock or mmap_lock is
 * held.
 */
void migrate_finalize(struct migrate_vma *migrate)
{
	struct folio_batch batch;
	unsigned long i;

	folio_batch_init(&batch);
	for (i = 0; i < migrate->npages; i++)
		if (migrate->src[i] & MIGRATE_PFN_VALID)
			to_lru(migrate, i);
	finalize_here(migrate);
	for (i = 0; i < migrate->npages; i++) {
		unsigned long entry = migrate->src[i];

		if (entry & MIGRATE_PFN_VALID) {
			if (!is_here(entry))
				remove_migration_ptes(migrate_folio_of(entry),
						      target_of(migrate, i), 0);
			let_go(migrate, &batch, migrate_folio_of(entry));
		}
		let_go(migrate, &batch, migrate_folio_of(migrate->dst[i]));
	}
	folios_put(&batch);
}
