// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Collect: page table entries that map selected pages become migration entries,
 * and their folios are locked and referenced.
 *
 * Folios are only trylocked: the page table lock is held, and perhaps other
 * folio locks. A folio that cannot be locked is skipped.
 *
 * Each page table is flushed once, after all of its entries are replaced and
 * before its lock is dropped: once the lock is dropped and other tasks see the
 * migration entries, no CPU uses the old entries any more.
 *
 * A folio that does not migrate as a whole is collected as a whole if unmap can
 * split it. Otherwise it is split first, without the page table lock. The split
 * can fail, and is tried once.
 */
#include <linux/leafops.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/rmap.h>
#include <linux/swapops.h>
#include <asm/tlbflush.h>

#include "../internal.h"
#include "migrate.h"
#include "migrate_answer.h"
#include "migrate_mapped.h"
#include "migrate_policy.h"
#include "migrate_pte.h"
#include "softleaf.h"

#include <trace/events/migrate_device.h>

/**
 * struct migrate_walk - one walk that collects
 * @migrate: the migration
 * @vma: its VMA
 * @unsplit: the folio whose split has failed; compared, not dereferenced
 * @split: the folio to split before the walk continues; locked and referenced
 * @unmapped: start of what must be flushed in this page table
 * @unmapped_end: its end, exclusive; 0 if there is nothing to flush
 * @mapped: small folios of the page table that were unmapped
 * @answers: what to record, or %NULL: see migrate_answer.h
 * @stopped: the walk ended before a page that must be faulted in
 */
struct migrate_walk {
	struct migrate_vma *migrate;
	struct vm_area_struct *vma;
	const struct folio *unsplit;
	struct folio *split;
	unsigned long unmapped;
	unsigned long unmapped_end;
	struct migrate_mapped mapped;
	const struct migrate_answers *answers;
	bool stopped;
};

/* Does the walk also record what is mapped? */
static bool migrate_collect_answers(const struct migrate_walk *w)
{
	return IS_ENABLED(CONFIG_HMM_MIRROR) && w->answers;
}

static void migrate_collect_set(struct migrate_walk *w, unsigned long addr,
				unsigned long entry)
{
	migrate_set(w->migrate, migrate_index(w->migrate, addr),
		    MIGRATE_COLLECT, entry);
	if (entry & MIGRATE_PFN_MIGRATE)
		w->migrate->cpages++;
}

/* The @nr pages from @addr on are not migrated. */
static void migrate_collect_refuse(struct migrate_walk *w, unsigned long addr,
				   unsigned long nr, enum migrate_refusal why)
{
	unsigned long i = migrate_index(w->migrate, addr);

	trace_migrate_refuse(addr, 0, nr, MIGRATE_COLLECT, why);
	if (migrate_collect_answers(w))
		while (nr--)
			w->migrate->src[i++] = migrate_refused(why);
}

/* Is the page not to be collected, as it was not requested? */
static bool migrate_collect_is_refused(const struct migrate_walk *w,
				       unsigned long addr)
{
	return migrate_collect_answers(w) && w->answers->requests &&
	       w->migrate->src[migrate_index(w->migrate, addr)];
}

/* Selecting and locking folios */

static enum migrate_memory migrate_collect_memory(const struct folio *folio)
{
	if (!folio_is_zone_device(folio))
		return MIGRATE_SYSTEM_MEMORY;
	if (folio_is_device_private(folio))
		return MIGRATE_PRIVATE_MEMORY;
	if (folio_is_device_coherent(folio))
		return MIGRATE_COHERENT_MEMORY;
	return MIGRATE_OTHER_MEMORY;
}

static noinline bool migrate_collect_selects_other(struct migrate_walk *w,
						   struct folio *folio,
						   struct page *page,
						   unsigned long addr,
						   unsigned long nr)
{
	const struct migrate_facts facts = {
		.memory = migrate_collect_memory(folio),
		.owned = folio_is_zone_device(folio) &&
			 page_pgmap(page)->owner == w->migrate->pgmap_owner,
		.anon = folio_test_anon(folio) && !folio_test_ksm(folio),
		.lost = !folio->mapping || PageHWPoison(page),
	};
	enum migrate_refusal why = migrate_refuses(w->migrate->flags, &facts);

	if (why != MIGRATE_NOT_REFUSED)
		migrate_collect_refuse(w, addr, nr, why);
	return why == MIGRATE_NOT_REFUSED;
}

static __always_inline bool migrate_collect_selects(struct migrate_walk *w,
						    struct folio *folio,
						    struct page *page,
						    unsigned long addr,
						    unsigned long nr)
{
	/* What is migrated most: nothing can refuse it. */
	if (w->migrate->flags & MIGRATE_VMA_SELECT_SYSTEM &&
	    folio_test_anon(folio) && !folio_test_ksm(folio) &&
	    !folio_is_zone_device(folio) && !PageHWPoison(page))
		return true;
	return migrate_collect_selects_other(w, folio, page, addr, nr);
}

/* Do large folios of any order migrate as a whole? */
static bool migrate_collect_any_order(const struct migrate_walk *w)
{
	return w->migrate->flags & MIGRATE_VMA_SELECT_FOLIOS;
}

static bool migrate_collect_is_huge(unsigned long start, unsigned long end)
{
	return thp_migration_supported() &&
	       IS_ALIGNED(start, HPAGE_PMD_SIZE) &&
	       end - start == HPAGE_PMD_SIZE;
}

/* Do folios of the size of a PMD migrate as a whole? */
static bool migrate_collect_huge(const struct migrate_walk *w)
{
	return w->migrate->flags & (MIGRATE_VMA_SELECT_COMPOUND |
				    MIGRATE_VMA_SELECT_FOLIOS);
}

static bool migrate_collect_trylock(const struct migrate_walk *w,
				    struct folio *folio)
{
	return migrate_is_fault_folio(w->migrate, folio) ||
	       folio_trylock(folio);
}

static void migrate_collect_unlock(const struct migrate_walk *w,
				   struct folio *folio)
{
	if (!migrate_is_fault_folio(w->migrate, folio))
		folio_unlock(folio);
}

/* Trylock the folio and take a reference, for the whole migration */
static bool migrate_collect_trylock_get(const struct migrate_walk *w,
					struct folio *folio)
{
	if (!migrate_collect_trylock(w, folio))
		return false;
	if (!migrate_is_fault_folio(w->migrate, folio))
		folio_get(folio);
	return true;
}

/* @nr replaced entries held a reference each: keep one, and drop the others. */
static void migrate_collect_put_refs(const struct migrate_walk *w,
				     struct folio *folio, unsigned int nr)
{
	unsigned int keep = !migrate_is_fault_folio(w->migrate, folio);

	if (nr > keep)
		folio_put_refs(folio, nr - keep);
}

/* Does the anonymous folio have @nr mappings, and no others? */
static bool migrate_collect_is_sole(const struct folio *folio, unsigned int nr)
{
	return folio_test_anon(folio) && !folio_test_ksm(folio) &&
	       folio_mapcount(folio) == nr;
}

static unsigned long migrate_collect_entry(struct folio *folio, bool writable,
					   bool sole)
{
	unsigned long entry = migrate_pfn(folio_pfn(folio)) |
			      MIGRATE_PFN_MIGRATE;

	if (folio_test_large(folio))
		entry |= MIGRATE_PFN_COMPOUND;
	if (writable)
		entry |= MIGRATE_PFN_WRITE;
	return sole ? migrate_entry_mark(entry, MIGRATE_MARK_SOLE) : entry;
}

/* Holes */

/* May a hole of the size of a PMD be filled by one folio? */
static bool migrate_collect_fills_huge(const struct migrate_walk *w)
{
	/* Some of its pages may not be requested. */
	if (migrate_collect_answers(w) && w->answers->requests)
		return false;
	return migrate_collect_huge(w) && migrate_may_fill_huge(w->vma);
}

static void migrate_collect_hole(struct migrate_walk *w, unsigned long start,
				 unsigned long end)
{
	unsigned long next;

	/* File systems fill the holes of files. */
	if (migrate_collect_answers(w) && !w->answers->fill) {
		for (; start < end; start += PAGE_SIZE)
			if (!migrate_collect_is_refused(w, start))
				migrate_collect_refuse(w, start, 1,
						       MIGRATE_NO_DESTINATION);
		return;
	}
	if (!vma_is_anonymous(w->vma))
		return;
	for (; start < end; start = next) {
		next = pmd_addr_end(start, end);
		if (migrate_collect_fills_huge(w) &&
		    migrate_collect_is_huge(start, next)) {
			migrate_collect_set(w, start, MIGRATE_PFN_MIGRATE |
						      MIGRATE_PFN_COMPOUND);
			continue;
		}
		for (; start < next; start += PAGE_SIZE)
			if (!migrate_collect_is_refused(w, start))
				migrate_collect_set(w, start,
						    MIGRATE_PFN_MIGRATE);
	}
}

static void migrate_collect_zero_hole(struct migrate_walk *w,
				      unsigned long start, unsigned long end)
{
	if (migrate_collect_answers(w))
		w->migrate->flags |= MIGRATE_VMA_ZEROES;
	migrate_collect_hole(w, start, end);
}

/*
 * The shared zero page counts as a hole, unless userfaultfd has marked it: a
 * device may write to the page that fills a hole, and userfaultfd would not see
 * the write.
 */
static void migrate_collect_zeroes(struct migrate_walk *w, unsigned long start,
				   unsigned long end, bool marked)
{
	if (marked)
		migrate_collect_refuse(w, start, (end - start) >> PAGE_SHIFT, MIGRATE_NOT_MOVABLE);
	else if (w->migrate->flags & MIGRATE_VMA_SELECT_SYSTEM)
		migrate_collect_zero_hole(w, start, end);
	else
		migrate_collect_refuse(w, start, (end - start) >> PAGE_SHIFT, MIGRATE_NOT_SELECTED);
}

/* Splitting */

/*
 * Split the folio, which is locked; the page table lock is not held. The fault
 * folio is split at the page of the fault, so that the fault handler's lock and
 * reference stay with that page.
 */
static void migrate_collect_split(struct migrate_walk *w)
{
	struct folio *folio = w->split;
	int ret;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	w->split = NULL;
	if (migrate_is_fault_folio(w->migrate, folio)) {
		ret = split_huge_page(w->migrate->fault_page);
	} else {
		ret = split_folio(folio);
		folio_unlock(folio);
		folio_put(folio);
	}
	if (ret)
		w->unsplit = folio;
}

/* PTEs */

/*
 * Must userfaultfd see every access to the page? It would not see those of a
 * device.
 */
static bool migrate_collect_is_guarded(const struct migrate_walk *w, bool uffd)
{
	return uffd && userfaultfd_rwp(w->vma) &&
	       w->migrate->flags & MIGRATE_VMA_SELECT_SYSTEM;
}

/* The page at @addr that may be collected, or NULL. A hole is collected. */
static struct page *migrate_collect_page(struct migrate_walk *w, pte_t pte,
					 unsigned long addr)
{
	struct page *page;
	softleaf_t entry;

	if (pte_none(pte)) {
		migrate_collect_hole(w, addr, addr + PAGE_SIZE);
		return NULL;
	}
	if (pte_present(pte)) {
		if (is_zero_pfn(pte_pfn(pte))) {
			migrate_collect_zeroes(w, addr, addr + PAGE_SIZE,
					       pte_uffd(pte));
			return NULL;
		}
		page = migrate_collect_is_guarded(w, pte_uffd(pte)) ?
			NULL : vm_normal_page(w->vma, addr, pte);
	} else {
		entry = softleaf_from_pte(pte);
		page = softleaf_is_device_private(entry) ?
			softleaf_to_page(entry) : NULL;
	}
	if (!page)
		migrate_collect_refuse(w, addr, 1, MIGRATE_NOT_MOVABLE);
	return page;
}

static unsigned long migrate_collect_pfn(pte_t pte)
{
	if (pte_present(pte))
		return pte_pfn(pte);
	return softleaf_to_pfn(softleaf_from_pte(pte));
}

static bool migrate_collect_is_private(pte_t pte)
{
	return !pte_present(pte) &&
	       softleaf_is_device_private(softleaf_from_pte(pte));
}

/*
 * How many PTEs, of at most @max, map consecutive pages of @folio and otherwise
 * differ only in the young and dirty bits? A run has the union of these bits.
 */
static unsigned int migrate_collect_run(struct folio *folio, pte_t *ptep,
					pte_t pte, unsigned int max)
{
	if (pte_present(pte))
		return folio_pte_batch_flags(folio, NULL, ptep, &pte, max,
					     FPB_RESPECT_WRITE |
					     FPB_RESPECT_SOFT_DIRTY);
	max = min_t(unsigned long, max,
		    folio_pfn(folio) + folio_nr_pages(folio) -
		    migrate_collect_pfn(pte));
	return hmm_softleaf_run(ptep, pte, max);
}

/*
 * Does @pte continue the run: map page @pfn, which must be in @folio, and be
 * present, or device-private, like the PTEs before it? A page that userfaultfd
 * guards is not for the device, whatever surrounds it.
 */
static bool migrate_collect_continues(const struct migrate_walk *w,
				      struct folio *folio, pte_t pte,
				      unsigned long pfn, bool present)
{
	if (pfn == folio_pfn(folio) + folio_nr_pages(folio))
		return false;
	if (present ? !pte_present(pte) : !migrate_collect_is_private(pte))
		return false;
	if (present && migrate_collect_is_guarded(w, pte_uffd(pte)))
		return false;
	return migrate_collect_pfn(pte) == pfn;
}

/* How many PTEs map consecutive pages of @folio? The first run has @nr. */
static unsigned int migrate_collect_runs(const struct migrate_walk *w,
					 struct folio *folio, pte_t *ptep,
					 pte_t pte, unsigned int nr,
					 unsigned int max)
{
	bool present = pte_present(pte);
	unsigned long pfn = migrate_collect_pfn(pte);

	while (nr < max) {
		pte = ptep_get(ptep + nr);
		if (!migrate_collect_continues(w, folio, pte, pfn + nr,
					       present))
			break;
		nr += migrate_collect_run(folio, ptep + nr, pte, max - nr);
	}
	return nr;
}

/* pte_mkdirty() may set the soft-dirty bit as well: leave that unchanged. */
static pte_t migrate_collect_mkdirty(pte_t pte)
{
	bool soft_dirty = pte_soft_dirty(pte);

	if (pte_dirty(pte))
		return pte;
	pte = pte_mkdirty(pte);
	return soft_dirty ? pte : pte_clear_soft_dirty(pte);
}

/* Clear a run. Returns its first PTE, young or dirty if any PTE was. */
static __always_inline pte_t migrate_collect_clear_run(struct migrate_walk *w,
						       pte_t *ptep,
						       unsigned long addr,
						       unsigned int nr)
{
	pte_t first = ptep_get_and_clear(w->vma->vm_mm, addr, ptep);

	while (--nr) {
		pte_t pte;

		addr += PAGE_SIZE;
		pte = ptep_get_and_clear(w->vma->vm_mm, addr, ++ptep);
		if (pte_young(pte))
			first = pte_mkyoung(first);
		if (pte_dirty(pte))
			first = migrate_collect_mkdirty(first);
	}
	return first;
}

/*
 * How many pages from @page on, of at most @max, have PageAnonExclusive() as
 * @exclusive says? All pages of a writable run are exclusive.
 */
static __always_inline unsigned int
migrate_collect_exclusive_run(struct page *page, bool writable, bool exclusive,
			      unsigned int max)
{
	unsigned int nr;

	if (writable)
		return max;
	for (nr = 1; nr < max; nr++)
		if (PageAnonExclusive(page + nr) != exclusive)
			break;
	return nr;
}

/*
 * Clear PageAnonExclusive() of a run of pages, unless the folio may be pinned.
 *
 * GUP-fast			migrate_collect_share_run()
 *
 * read the PTE			clear the PTEs
 * pin the folio		smp_mb()
 * smp_mb()			is the folio pinned?
 * read the PTE again		clear PageAnonExclusive()
 *
 * Either this sees the pin, or GUP-fast sees the cleared PTE. That holds for
 * all PTEs that were cleared before the barrier, so one check of the folio is
 * enough.
 */
static __always_inline bool migrate_collect_share_run(struct folio *folio,
						      struct page *page,
						      unsigned int nr)
{
	unsigned int i;

	if (folio_try_share_anon_rmap_pte(folio, page))
		return false;
	for (i = 1; i < nr; i++)
		ClearPageAnonExclusive(page + i);
	return true;
}

/*
 * Flush before @nr PTEs are restored: young and dirty bits may differ from
 * before. An architecture that caches several PTEs in one TLB entry requires
 * that no CPU has a stale one.
 */
static void migrate_collect_flush_run(struct migrate_walk *w,
				      unsigned long addr, unsigned int nr)
{
	if (nr)
		flush_tlb_range(w->vma, addr, addr + nr * PAGE_SIZE);
}

/*
 * Replace a run of at most @nr PTEs that begins with @pte, @writable or not, by
 * migration entries. Returns how many, or 0 if the folio may be pinned. The TLB
 * is not flushed yet: GUP-fast reads PTEs, and not the TLB.
 */
static __always_inline unsigned int
migrate_collect_replace_run(struct migrate_walk *w, struct folio *folio,
			    struct page *page, pte_t *ptep, pte_t pte,
			    bool writable, unsigned long addr, unsigned int nr)
{
	bool exclusive = folio_test_anon(folio) && PageAnonExclusive(page);
	bool present = pte_present(pte);
	struct mm_struct *mm = w->vma->vm_mm;
	struct pgtable_leaf leaf;

	nr = migrate_collect_exclusive_run(page, writable, exclusive, nr);
	if (present) {
		flush_cache_range(w->vma, addr, addr + nr * PAGE_SIZE);
		pte = migrate_collect_clear_run(w, ptep, addr, nr);
	} else {
		clear_nonpresent_ptes(mm, addr, ptep, nr);
	}
	if (exclusive && !migrate_collect_share_run(folio, page, nr)) {
		migrate_collect_flush_run(w, addr, present ? nr : 0);
		migrate_pte_set_run(mm, addr, ptep, pte, nr);
		return 0;
	}
	leaf = pgtable_leaf_of_pte(pte);
	leaf.exclusive = exclusive;
	leaf = pgtable_leaf_begin_migration(leaf);
	if (leaf.dirty)
		hmm_folio_mark_dirty(folio);
	migrate_pte_set_run(mm, addr, ptep, pgtable_leaf_to_pte(leaf, w->vma),
			    nr);
	return nr;
}

/* CPUs may have cached the @nr entries from @addr on. */
static void migrate_collect_flush_later(struct migrate_walk *w,
					unsigned long addr, unsigned int nr)
{
	if (!w->unmapped_end)
		w->unmapped = addr;
	w->unmapped_end = addr + nr * PAGE_SIZE;
}

/* @nr PTEs of the folio, from its first page on, were replaced. */
static __always_inline void migrate_collect_remove_rmap(struct migrate_walk *w,
							struct folio *folio,
							unsigned int nr)
{
	if (folio_test_large(folio) || !folio_test_anon(folio))
		folio_remove_rmap_ptes(folio, folio_page(folio, 0), nr, w->vma);
	else
		migrate_mapped_add(&w->mapped, folio,
				   __folio_remove_small_rmap(folio, w->vma));
}

/*
 * A later page of the folio is pinned: restore the PTEs of its first @nr pages.
 * The mapcount and the references have not changed, so that no other task has
 * seen the folio partially mapped.
 */
static void migrate_collect_restore(struct migrate_walk *w, struct folio *folio,
				    pte_t *ptep, unsigned long addr,
				    unsigned int nr)
{
	unsigned int done, run, i;

	/* The entries are read again. */
	lazy_mmu_mode_pause();
	migrate_collect_flush_run(w, addr, nr);
	for (done = 0; done < nr; done += run) {
		struct page *page = folio_page(folio, done);
		pte_t moving = ptep_get(ptep + done);
		struct pgtable_leaf leaf = pgtable_leaf_of_pte(moving);

		run = hmm_softleaf_run(ptep + done, moving, nr - done);
		for (i = 0; i < run && leaf.exclusive; i++)
			SetPageAnonExclusive(page + i);
		migrate_pte_set_run(w->vma->vm_mm, addr + done * PAGE_SIZE,
				    ptep + done,
				    migrate_pte_end(w->vma, leaf, folio, page),
				    run);
	}
	lazy_mmu_mode_resume();
}

/*
 * @nr PTEs from @ptep on map the whole of @folio. The first @run of them are a
 * run that begins with @pte. Replace all of them, or none.
 */
static __always_inline void
migrate_collect_replace(struct migrate_walk *w, struct folio *folio,
			pte_t *ptep, pte_t pte, unsigned long addr,
			unsigned int nr, unsigned int run)
{
	bool writable = migrate_pte_writable(pte), all_writable = writable;
	bool sole = migrate_collect_is_sole(folio, nr);
	bool present = pte_present(pte);
	unsigned int done = 0, replaced;

	if (!migrate_collect_trylock(w, folio)) {
		migrate_collect_refuse(w, addr, nr, MIGRATE_LOCKED);
		return;
	}
	do {
		if (done) {
			pte = ptep_get(ptep + done);
			run = migrate_collect_run(folio, ptep + done, pte,
						  nr - done);
			writable = migrate_pte_writable(pte);
			all_writable &= writable;
		}
		replaced = migrate_collect_replace_run(w, folio,
						       folio_page(folio, done),
						       ptep + done, pte,
						       writable,
						       addr + done * PAGE_SIZE,
						       run);
		done += replaced;
	} while (replaced && done < nr);
	if (done < nr) {
		migrate_collect_restore(w, folio, ptep, addr, done);
		migrate_collect_unlock(w, folio);
		migrate_collect_refuse(w, addr, nr, MIGRATE_PINNED);
		return;
	}

	/*
	 * Point of no return: all PTEs are migration entries. From here on,
	 * only unmap or finalize map the folio again.
	 */
	if (present)
		migrate_collect_flush_later(w, addr, nr);
	migrate_collect_set(w, addr,
			    migrate_collect_entry(folio, all_writable, sole));
	migrate_collect_remove_rmap(w, folio, nr);
	migrate_collect_put_refs(w, folio, nr);
}

static void migrate_collect_large(struct migrate_walk *w, struct folio *folio,
				  pte_t *ptep, pte_t pte, unsigned long addr,
				  unsigned int nr, unsigned int run)
{
	migrate_collect_replace(w, folio, ptep, pte, addr, nr, run);
}

/* With constant counts, the compiler drops the handling of runs. */
static void migrate_collect_small(struct migrate_walk *w, struct folio *folio,
				  pte_t *ptep, pte_t pte, unsigned long addr)
{
	migrate_collect_replace(w, folio, ptep, pte, addr, 1, 1);
}

/* Returns the number of PTEs processed, or 0 if a folio must be split first. */
static unsigned int migrate_collect_pte(struct migrate_walk *w, pte_t *ptep,
					unsigned long addr, unsigned int max)
{
	pte_t pte = ptep_get(ptep);
	struct page *page = migrate_collect_page(w, pte, addr);
	unsigned int nr, run;
	struct folio *folio;

	if (!page || migrate_collect_is_refused(w, addr))
		return 1;
	folio = page_folio(page);
	if (!migrate_collect_selects(w, folio, page, addr, 1))
		return 1;
	if (!folio_test_large(folio)) {
		migrate_collect_small(w, folio, ptep, pte, addr);
		return 1;
	}
	run = migrate_collect_run(folio, ptep, pte, max);
	nr = migrate_collect_runs(w, folio, ptep, pte, run, max);
	if (nr == folio_nr_pages(folio) && folio_test_anon(folio) &&
	    !folio_contain_hwpoisoned_page(folio) &&
	    (migrate_collect_any_order(w) ||
	     migrate_collect_is_sole(folio, nr))) {
		migrate_collect_large(w, folio, ptep, pte, addr, nr, run);
		return nr;
	}
	if (folio != w->unsplit && migrate_collect_trylock_get(w, folio)) {
		w->split = folio;
		return 0;
	}
	migrate_collect_refuse(w, addr, nr, folio == w->unsplit ?
			       MIGRATE_UNSPLIT : MIGRATE_LOCKED);
	return nr;
}

/*
 * Returns @end, or the address of a folio that must be split first, or @addr if
 * the page table is gone and the PMD must be read again, or if the walk stops.
 */
static unsigned long migrate_collect_ptes(struct migrate_walk *w, pmd_t *pmd,
					  unsigned long addr, unsigned long end)
{
	spinlock_t *ptl;	/* of the PTEs */
	pte_t *first, *ptep;
	unsigned int nr;

	first = pte_offset_map_lock(w->vma->vm_mm, pmd, addr, &ptl);
	if (!first)
		return addr;
	if (migrate_collect_answers(w) &&
	    migrate_answer_ptes(w->answers, w->migrate, first, addr, end) < end) {
		w->stopped = true;
		pte_unmap_unlock(first, ptl);
		return addr;
	}
	w->unmapped_end = 0;
	lazy_mmu_mode_enable();
	for (ptep = first; addr < end;) {
		nr = migrate_collect_pte(w, ptep, addr,
					 (end - addr) >> PAGE_SHIFT);
		if (!nr)
			break;
		ptep += nr;
		addr += nr * PAGE_SIZE;
	}
	migrate_mapped_end(&w->mapped);
	lazy_mmu_mode_disable();
	if (w->unmapped_end)
		flush_tlb_range(w->vma, w->unmapped, w->unmapped_end);
	pte_unmap_unlock(first, ptl);
	return addr;
}

/* PMDs */

/* The folio of @pmd, present or device-private, if it is selected, or NULL */
static struct folio *migrate_collect_pmd_folio(struct migrate_walk *w,
					       pmd_t pmd, unsigned long addr,
					       unsigned long nr,
					       bool *writable)
{
	bool present = pmd_present(pmd);
	struct folio *folio;
	softleaf_t entry;

	if (present ? migrate_collect_is_guarded(w, pmd_uffd(pmd)) :
		      !pmd_is_device_private_entry(pmd)) {
		migrate_collect_refuse(w, addr, nr, MIGRATE_NOT_MOVABLE);
		return NULL;
	}
	if (present) {
		folio = pmd_folio(pmd);
		*writable = pmd_write(pmd);
	} else {
		entry = softleaf_from_pmd(pmd);
		folio = softleaf_to_folio(entry);
		*writable = softleaf_is_device_private_write(entry);
	}
	if (!migrate_collect_selects(w, folio, &folio->page, addr, nr))
		return NULL;
	return folio;
}

/* The folio is locked. Replace its PMD by a migration entry, or unlock it. */
static void migrate_collect_replace_pmd(struct migrate_walk *w,
					struct folio *folio, pmd_t *pmd,
					spinlock_t *ptl, unsigned long addr,
					bool writable)
{
	struct page_vma_mapped_walk pvmw = {
		.ptl = ptl,
		.address = addr,
		.pmd = pmd,
		.vma = w->vma,
	};
	bool sole = migrate_collect_is_sole(folio, 1);

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (set_pmd_migration_entry(&pvmw, folio_page(folio, 0))) {
		migrate_put_folio(w->migrate, folio);
		migrate_collect_refuse(w, addr, HPAGE_PMD_NR, MIGRATE_PINNED);
		return;
	}
	/* Point of no return, as for PTEs */
	migrate_collect_set(w, addr,
			    migrate_collect_entry(folio, writable, sole));
}

/* @ptl is held. */
static void migrate_collect_pmd_locked(struct migrate_walk *w, pmd_t *pmd,
				       spinlock_t *ptl, unsigned long addr,
				       unsigned long end)
{
	bool writable, whole = migrate_collect_is_huge(addr, end);
	unsigned long nr = (end - addr) >> PAGE_SHIFT;
	struct folio *folio;

	lockdep_assert_held(ptl);
	folio = migrate_collect_pmd_folio(w, pmdp_get(pmd), addr, nr,
					  &writable);
	if (!folio)
		return;
	if (!migrate_collect_huge(w))
		whole &= migrate_collect_is_sole(folio, 1);
	whole &= !folio_contain_hwpoisoned_page(folio);
	if (!whole && folio == w->unsplit) {
		migrate_collect_refuse(w, addr, nr, MIGRATE_UNSPLIT);
		return;
	}
	if (!migrate_collect_trylock_get(w, folio)) {
		migrate_collect_refuse(w, addr, nr, MIGRATE_LOCKED);
		return;
	}
	if (whole)
		migrate_collect_replace_pmd(w, folio, pmd, ptl, addr, writable);
	else
		w->split = folio;
}

/* Record the pages without a page table. False if the walk stops. */
static bool migrate_collect_answer_pmd(struct migrate_walk *w, pmd_t pmd,
				       unsigned long addr, unsigned long end)
{
	if (migrate_collect_answers(w) &&
	    migrate_answer_pmd(w->answers, w->migrate, pmd, addr, end) < end)
		w->stopped = true;
	return !w->stopped;
}

/*
 * Returns @end, or @addr if there is a page table or a folio to split, or if the
 * walk stops.
 */
static unsigned long migrate_collect_pmd(struct migrate_walk *w, pmd_t *pmd,
					 unsigned long addr, unsigned long end)
{
	spinlock_t *ptl = pmd_lock(w->vma->vm_mm, pmd);
	pmd_t value = pmdp_get(pmd);

	if (pmd_present(value) && !pmd_trans_huge(value)) {
		spin_unlock(ptl);
		return addr;
	}
	if (!migrate_collect_answer_pmd(w, value, addr, end)) {
		spin_unlock(ptl);
		return addr;
	}
	if (pmd_none(value)) {
		spin_unlock(ptl);
		migrate_collect_hole(w, addr, end);
		return end;
	}
	if (is_huge_zero_pmd(value))
		migrate_collect_zeroes(w, addr, end, pmd_uffd(value));
	else if (!migrate_collect_is_refused(w, addr))
		migrate_collect_pmd_locked(w, pmd, ptl, addr, end);
	spin_unlock(ptl);
	return w->split ? addr : end;
}

/*
 * The part of the range that is below one PMD. Returns @end, or the address
 * where the walk stops.
 */
static unsigned long migrate_collect_pmd_range(struct migrate_walk *w,
					       pmd_t *pmd, unsigned long addr,
					       unsigned long end)
{
	while (addr < end && !w->stopped) {
		pmd_t value = pmdp_get_lockless(pmd);

		if (pmd_present(value) && !pmd_trans_huge(value))
			addr = migrate_collect_ptes(w, pmd, addr, end);
		else
			addr = migrate_collect_pmd(w, pmd, addr, end);
		if (w->split)
			migrate_collect_split(w);
	}
	return addr;
}

/*
 * Returns @end, or the address where the walk stops. walk_page_range() costs too
 * much for short ranges, such as that of a fault.
 */
static unsigned long migrate_collect_range(struct migrate_walk *w,
					   unsigned long addr,
					   unsigned long end)
{
	unsigned long next;

	vma_assert_stabilised(w->vma);
	for (; addr < end; addr = next) {
		pmd_t *pmd = mm_find_pmd(w->vma->vm_mm, addr);

		next = pmd_addr_end(addr, end);
		if (pmd)
			next = migrate_collect_pmd_range(w, pmd, addr, next);
		else if (migrate_collect_answer_pmd(w, __pmd(0), addr, next))
			migrate_collect_hole(w, addr, next);
		if (w->stopped)
			return pmd ? next : addr;
	}
	return end;
}

/**
 * migrate_collect() - begin the migration of a range
 * @migrate: the range, with all entries of src and dst 0
 *
 * Context: Process context, may sleep. mmap_lock is held, or the VMA's lock.
 */
void migrate_collect(struct migrate_vma *migrate)
{
	struct migrate_walk w = { .migrate = migrate, .vma = migrate->vma };
	struct mmu_notifier_range range;

	/* Drivers recognise their own migrations by the owner. */
	mmu_notifier_range_init_owner(&range, MMU_NOTIFY_MIGRATE, 0,
				      migrate->vma->vm_mm, migrate->start,
				      migrate->end, migrate->pgmap_owner);
	mmu_notifier_invalidate_range_start(&range);
	migrate_collect_range(&w, migrate->start, migrate->end);
	mmu_notifier_invalidate_range_end(&range);
	trace_migrate_collect(migrate, migrate->cpages);
}

#ifdef CONFIG_HMM_MIRROR
/**
 * migrate_collect_answering() - begin the migration of a range, and record it
 * @migrate: the range, with all entries of src 0
 * @answers: what to record
 *
 * Stops before a page table with a page that must be faulted in.
 *
 * Context: Process context, may sleep. mmap_lock is held, or the VMA's lock. The
 * caller has started an invalidation of the range.
 *
 * Return: the address where this has stopped, or the end of the range.
 */
unsigned long migrate_collect_answering(struct migrate_vma *migrate,
					const struct migrate_answers *answers)
{
	struct migrate_walk w = {
		.migrate = migrate,
		.vma = migrate->vma,
		.answers = answers,
	};
	unsigned long end;

	end = migrate_collect_range(&w, migrate->start, migrate->end);
	trace_migrate_collect(migrate, migrate->cpages);
	return end;
}
#endif
