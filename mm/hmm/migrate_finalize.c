// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Finalize: migration entries are replaced by entries of the destination, or of
 * the source if it did not migrate, and tasks that wait for them continue.
 *
 * The sole mapping of most anonymous folios is in the range: their entries are
 * replaced in one pass over its page tables. The others need an rmap walk.
 */
#include <linux/leafops.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/folio_batch.h>
#include <linux/pgtable.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "../internal.h"
#include "migrate.h"
#include "migrate_mapped.h"
#include "migrate_pte.h"
#include "softleaf.h"

/* Has the page of @from been migrated to @to? */
static inline bool migrate_finalize_has_moved(unsigned long from,
					      unsigned long to)
{
	return to & MIGRATE_PFN_VALID &&
	       migrate_state_of(from) == MIGRATE_ENTRY_LOCKED;
}

/* The entry of the page that will be mapped */
static inline unsigned long
migrate_finalize_target(const struct migrate_vma *migrate, unsigned long i)
{
	unsigned long from = migrate->src[i], to = migrate->dst[i];

	return migrate_finalize_has_moved(from, to) ? to : from;
}

/* The pass over page tables */

/* Is it the migration entry that collect has set? It may have been zapped. */
static bool migrate_finalize_is_entry_of(softleaf_t entry, unsigned long pfn)
{
	return softleaf_is_migration(entry) && softleaf_to_pfn(entry) == pfn;
}

/* Account for mappings of @nr pages from @page on, which become exclusive. */
static __always_inline void
migrate_finalize_add_rmap(struct vm_area_struct *vma, struct folio *folio,
			  struct page *page, unsigned long addr,
			  unsigned int nr, struct migrate_mapped *mapped)
{
	folio_ref_add(folio, nr);
	if (nr > 1 || folio_test_large(folio))
		folio_add_anon_rmap_ptes(folio, page, nr, vma, addr,
					 RMAP_EXCLUSIVE);
	else
		migrate_mapped_add(mapped, folio,
				   __folio_add_small_anon_rmap(folio, vma, addr,
							       RMAP_EXCLUSIVE));
}

/*
 * Replace a run of migration entries, of pages from @pfn on, by PTEs of @page
 * and the pages after it, in @folio, which is anonymous. Entries of pages that
 * were not exclusive to their mapping are skipped: other page tables may map
 * those pages, too. Returns how many of at most @max PTEs were processed, and
 * clears @all if one was skipped.
 */
static __always_inline unsigned int
migrate_finalize_map_run(struct vm_area_struct *vma, unsigned long addr,
			 pte_t *ptep, unsigned long pfn, struct folio *folio,
			 struct page *page, unsigned int max,
			 struct migrate_mapped *mapped, bool *all)
{
	pte_t pte = ptep_get(ptep);
	struct pgtable_leaf leaf;
	unsigned int nr;

	if (!migrate_finalize_is_entry_of(softleaf_from_pte(pte), pfn)) {
		*all = false;
		return 1;
	}
	nr = hmm_softleaf_run(ptep, pte, max);
	leaf = pgtable_leaf_of_pte(pte);
	if (!leaf.exclusive) {
		*all = false;
		return nr;
	}
	migrate_finalize_add_rmap(vma, folio, page, addr, nr, mapped);
	/* No flush: CPUs do not cache entries that are not present. */
	pte = migrate_pte_end(vma, leaf, folio, page);
	migrate_pte_set_run(vma->vm_mm, addr, ptep, pte, nr);
	if (pte_present(pte))
		update_mmu_cache_range(NULL, vma, addr, ptep, nr);
	return nr;
}

/* The same for the @nr pages of a large folio that are in this page table */
static void migrate_finalize_map_large(struct vm_area_struct *vma,
				       unsigned long addr, pte_t *ptep,
				       unsigned long pfn, struct folio *folio,
				       unsigned long nr,
				       struct migrate_mapped *mapped, bool *all)
{
	unsigned long done = 0;

	while (done < nr)
		done += migrate_finalize_map_run(vma,
						 addr + (done << PAGE_SHIFT),
						 ptep + done, pfn + done, folio,
						 folio_page(folio, done),
						 nr - done, mapped, all);
}

/* Returns the number of PTEs that the entry stands for. */
static unsigned long migrate_finalize_entry(struct migrate_vma *migrate,
					    pte_t *ptep, unsigned long addr,
					    unsigned long max,
					    struct migrate_mapped *mapped)
{
	unsigned long i = migrate_index(migrate, addr);
	unsigned long entry = migrate->src[i], nr = 1;
	unsigned long pfn = entry >> MIGRATE_PFN_SHIFT;
	struct folio *folio;
	bool all = true;

	if (!(entry & MIGRATE_PFN_VALID))
		return 1;
	/* A writable entry of a file page need not be its only one. */
	folio = migrate_folio_of(migrate_finalize_target(migrate, i));
	if (!folio_test_anon(folio))
		return 1;
	if (!migrate_is_large(entry)) {
		migrate_finalize_map_run(migrate->vma, addr, ptep, pfn, folio,
					 folio_page(folio, 0), 1, mapped, &all);
	} else {
		nr = min(migrate_entry_pages(entry), max);
		all = nr == migrate_entry_pages(entry);
		migrate_finalize_map_large(migrate->vma, addr, ptep, pfn, folio,
					   nr, mapped, &all);
	}
	if (all)
		migrate->src[i] = migrate_entry_mark(migrate->src[i],
						     MIGRATE_MARK_SOLE);
	return nr;
}

/* @ptl is held. */
static void migrate_finalize_pmd_locked(struct migrate_vma *migrate, pmd_t *pmd,
					spinlock_t *ptl, unsigned long addr)
{
	unsigned long i = migrate_index(migrate, addr);
	struct page_vma_mapped_walk pvmw = {
		.ptl = ptl,
		.vma = migrate->vma,
		.address = addr,
		.pmd = pmd,
	};
	struct folio *folio =
		migrate_folio_of(migrate_finalize_target(migrate, i));
	pmd_t value = pmdp_get(pmd);
	softleaf_t entry;

	lockdep_assert_held(ptl);
	if (!folio || !folio_test_anon(folio) || !pmd_is_migration_entry(value))
		return;
	entry = softleaf_from_pmd(value);
	if (softleaf_is_migration_read(entry) ||
	    softleaf_to_folio(entry) != migrate_folio_of(migrate->src[i]))
		return;
	remove_migration_pmd(&pvmw, folio);
	migrate->src[i] =
		migrate_entry_mark(migrate->src[i], MIGRATE_MARK_SOLE);
}

static bool migrate_finalize_pmd(struct migrate_vma *migrate, pmd_t *pmd,
				 unsigned long addr)
{
	spinlock_t *ptl = pmd_trans_huge_lock(pmd, migrate->vma);

	if (!ptl)
		return false;
	migrate_finalize_pmd_locked(migrate, pmd, ptl, addr);
	spin_unlock(ptl);
	return true;
}

/* The part of the range that is below one PMD */
static void migrate_finalize_pmd_range(struct migrate_vma *migrate, pmd_t *pmd,
				       unsigned long addr, unsigned long end)
{
	pte_t *first, *ptep;
	struct migrate_mapped mapped = { .nr = 0 };
	spinlock_t *ptl;	/* of the PTEs */
	unsigned long nr;

	if (migrate_finalize_pmd(migrate, pmd, addr))
		return;
	first = pte_offset_map_lock(migrate->vma->vm_mm, pmd, addr, &ptl);
	/* Zapped, with the page table */
	if (!first)
		return;
	lazy_mmu_mode_enable();
	for (ptep = first; addr < end; ptep += nr, addr += nr << PAGE_SHIFT)
		nr = migrate_finalize_entry(migrate, ptep, addr,
					    (end - addr) >> PAGE_SHIFT,
					    &mapped);
	migrate_mapped_end(&mapped);
	lazy_mmu_mode_disable();
	pte_unmap_unlock(first, ptl);
}

/* The first entry from @i on that has a source */
static unsigned long
migrate_finalize_next_source(const struct migrate_vma *migrate, unsigned long i)
{
	while (i < migrate->npages && !(migrate->src[i] & MIGRATE_PFN_VALID))
		i++;
	return i;
}

static void migrate_finalize_sole(struct migrate_vma *migrate)
{
	unsigned long i, addr, next;

	/* A migration by page frame has no range, and uses rmap. */
	if (!migrate->vma)
		return;
	i = migrate_finalize_next_source(migrate, 0);
	if (i == migrate->npages)
		return;
	vma_assert_stabilised(migrate->vma);
	do {
		pmd_t *pmd;

		addr = migrate->start + (i << PAGE_SHIFT);
		next = pmd_addr_end(addr, migrate->end);
		pmd = mm_find_pmd(migrate->vma->vm_mm, addr);
		if (pmd)
			migrate_finalize_pmd_range(migrate, pmd, addr, next);
		i = migrate_finalize_next_source(migrate,
						 migrate_index(migrate, next));
	} while (i < migrate->npages);
	if (migrate->vma->vm_flags & VM_LOCKED)
		mlock_drain_local();
}

/* Folios */

/*
 * Folios must be added to an LRU batch before they are mapped. Sources were
 * isolated, destinations have never been on the LRU. Install accepts only
 * destinations of device memory if the caller has said so.
 */
static void migrate_finalize_add_lru(const struct migrate_vma *migrate)
{
	bool to_device = migrate->flags & MIGRATE_VMA_TO_DEVICE;
	unsigned long i, nr;

	for (i = 0; i < migrate->npages; i += nr) {
		unsigned long entry = migrate->src[i];
		struct page *page;

		nr = migrate_entry_pages(entry);
		if (to_device &&
		    migrate_finalize_has_moved(entry, migrate->dst[i]))
			continue;
		page = migrate_pfn_to_page(migrate_finalize_target(migrate, i));
		if (page && !is_zone_device_page(page))
			folio_add_lru(page_folio(page));
	}
}

/*
 * Sources that are small folios of system memory and have migrated are freed in
 * batches. All others are put at once: large ones, so that no batch delays the
 * reuse of much memory, and those of device memory, one of which may be the
 * fault folio.
 */
static inline void
migrate_finalize_put_source(const struct migrate_vma *migrate,
			    struct folio *folio, bool moved,
			    struct folio_batch *batch)
{
	if (!moved || folio_test_large(folio) || folio_is_zone_device(folio)) {
		migrate_put_folio(migrate, folio);
		return;
	}
	folio_unlock(folio);
	if (!folio_batch_add(batch, folio))
		folios_put(batch);
}

/* The first entry from @i on that has a source or a destination */
static __always_inline unsigned long
migrate_finalize_next(const struct migrate_vma *migrate, unsigned long i)
{
	const unsigned long *src = migrate->src, *dst = migrate->dst;
	unsigned long npages = migrate->npages;

	while (i < npages && !((src[i] | dst[i]) & MIGRATE_PFN_VALID))
		i++;
	return i;
}

/* Map the source or the destination of entry @i, and put the source. */
static inline void migrate_finalize_source(struct migrate_vma *migrate,
					   unsigned long i,
					   struct folio_batch *batch)
{
	unsigned long entry = migrate->src[i];
	bool moved = migrate_finalize_has_moved(entry, migrate->dst[i]);
	struct folio *folio = migrate_folio_of(entry);

	if (!migrate_entry_has(entry, MIGRATE_MARK_SOLE))
		migrate_map(migrate, folio, moved ?
			    migrate_folio_of(migrate->dst[i]) : folio);
	migrate->src[i] = migrate_entry_unmark(entry, MIGRATE_MARK_SOLE);
	migrate_finalize_put_source(migrate, folio, moved, batch);
}

/**
 * migrate_finalize() - map sources or destinations, then unlock and put all
 * folios
 * @migrate: the migration, as left by migrate_install()
 *
 * Context: Process context, may sleep. With a VMA, its lock or mmap_lock is
 * held.
 */
void migrate_finalize(struct migrate_vma *migrate)
{
	struct folio_batch batch;
	unsigned long i;

	folio_batch_init(&batch);
	migrate_finalize_add_lru(migrate);
	migrate_finalize_sole(migrate);
	for (i = migrate_finalize_next(migrate, 0); i < migrate->npages;
	     i = migrate_finalize_next(migrate, i + 1)) {
		if (migrate->src[i] & MIGRATE_PFN_VALID)
			migrate_finalize_source(migrate, i, &batch);
		if (migrate->dst[i] & MIGRATE_PFN_VALID)
			migrate_put_folio(migrate,
					  migrate_folio_of(migrate->dst[i]));
	}
	folios_put(&batch);
	migrate_trace_finalize(migrate);
}
