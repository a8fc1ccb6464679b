// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Collect: page table entries that map what the caller has selected become
 * migration entries, and their folios are locked and referenced.
 *
 * Folios are only trylocked: the page table lock is held, and other folio locks
 * are. A folio that cannot be locked is skipped.
 *
 * Each page table is flushed once, after all of its entries are replaced and
 * before its lock is dropped: when somebody else finds a migration entry, no
 * CPU uses the old one any more.
 *
 * A folio that does not migrate as a whole is collected as a whole if unmap can
 * split it; otherwise it is split first, without the page table lock. The split
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
#include "migrate_mapped.h"
#include "migrate_policy.h"
#include "migrate_pte.h"
#include "softleaf.h"

#define CREATE_TRACE_POINTS
#include <trace/events/hmm.h>

/**
 * struct migrate_walk - one walk that collects
 * @migrate: the migration
 * @vma: its VMA
 * @stuck: the folio whose split has failed; only compared
 * @split: the folio to split before the walk goes on; locked and referenced
 * @unmapped: start of what must be flushed in this page table
 * @unmapped_end: its end, exclusive; 0 if there is nothing to flush
 * @mapped: small folios of the page table that were unmapped
 */
struct migrate_walk {
	struct migrate_vma *migrate;
	struct vm_area_struct *vma;
	const struct folio *stuck;
	struct folio *split;
	unsigned long unmapped;
	unsigned long unmapped_end;
	struct migrate_mapped mapped;
};

static void collect_set(struct migrate_walk *w, unsigned long addr,
			unsigned long entry)
{
	migrate_set(w->migrate, migrate_index(w->migrate, addr),
		    MIGRATE_COLLECT, entry);
	if (entry & MIGRATE_PFN_MIGRATE)
		w->migrate->cpages++;
}

/* What is collected */

static enum migrate_memory memory_of(const struct folio *folio)
{
	if (!folio_is_zone_device(folio))
		return MIGRATE_SYSTEM_MEMORY;
	if (folio_is_device_private(folio))
		return MIGRATE_PRIVATE_MEMORY;
	if (folio_is_device_coherent(folio))
		return MIGRATE_COHERENT_MEMORY;
	return MIGRATE_OTHER_MEMORY;
}

static bool is_selected(struct migrate_walk *w, struct folio *folio,
			struct page *page, unsigned long addr)
{
	const struct migrate_facts facts = {
		.memory = memory_of(folio),
		.owned = folio_is_zone_device(folio) &&
			 page_pgmap(page)->owner == w->migrate->pgmap_owner,
		.anon = folio_test_anon(folio) && !folio_test_ksm(folio),
		.lost = !folio->mapping || PageHWPoison(page),
	};
	enum migrate_refusal why = migrate_refuses(w->migrate->flags, &facts);

	if (why != MIGRATE_NOT_REFUSED)
		trace_hmm_migrate_refuse(addr, why);
	return why == MIGRATE_NOT_REFUSED;
}

static bool travels_whole(const struct migrate_walk *w)
{
	return w->migrate->flags & MIGRATE_VMA_SELECT_FOLIOS;
}

static bool is_huge(unsigned long start, unsigned long end)
{
	return thp_migration_supported() &&
	       IS_ALIGNED(start, HPAGE_PMD_SIZE) &&
	       end - start == HPAGE_PMD_SIZE;
}

static bool travels_huge(const struct migrate_walk *w)
{
	return w->migrate->flags & (MIGRATE_VMA_SELECT_COMPOUND |
				    MIGRATE_VMA_SELECT_FOLIOS);
}

static bool lock_folio(const struct migrate_walk *w, struct folio *folio)
{
	return migrate_is_lent(w->migrate, folio) || folio_trylock(folio);
}

static void unlock_folio(const struct migrate_walk *w, struct folio *folio)
{
	if (!migrate_is_lent(w->migrate, folio))
		folio_unlock(folio);
}

/* Trylock the folio and take a reference, for the whole migration */
static bool take_folio(const struct migrate_walk *w, struct folio *folio)
{
	if (!lock_folio(w, folio))
		return false;
	if (!migrate_is_lent(w->migrate, folio))
		folio_get(folio);
	return true;
}

/* Each of @nr entries had a reference: keep one, and drop the others. */
static void inherit_references(const struct migrate_walk *w,
			       struct folio *folio, unsigned int nr)
{
	unsigned int keep = !migrate_is_lent(w->migrate, folio);

	if (nr > keep)
		folio_put_refs(folio, nr - keep);
}

/* Are @nr mappings all that it has? */
static bool is_only_here(const struct folio *folio, unsigned int nr)
{
	return folio_test_anon(folio) && !folio_test_ksm(folio) &&
	       folio_mapcount(folio) == nr;
}

static unsigned long entry_of(struct folio *folio, bool writable, bool here)
{
	unsigned long entry = migrate_pfn(folio_pfn(folio)) |
			      MIGRATE_PFN_MIGRATE;

	if (folio_test_large(folio))
		entry |= MIGRATE_PFN_COMPOUND;
	if (writable)
		entry |= MIGRATE_PFN_WRITE;
	if (here)
		entry |= MIGRATE_PFN_HERE;
	return entry;
}

/* Holes */

static void collect_hole(struct migrate_walk *w, unsigned long start,
			 unsigned long end)
{
	unsigned long next;

	/* Holes of files are filled by their file systems. */
	if (!vma_is_anonymous(w->vma))
		return;
	for (; start < end; start = next) {
		next = pmd_addr_end(start, end);
		if (travels_huge(w) && is_huge(start, next)) {
			collect_set(w, start,
				    MIGRATE_PFN_MIGRATE | MIGRATE_PFN_COMPOUND);
			continue;
		}
		for (; start < next; start += PAGE_SIZE)
			collect_set(w, start, MIGRATE_PFN_MIGRATE);
	}
}

/*
 * The shared zero page counts as a hole, unless userfaultfd has write-protected
 * it: a device may write to what fills a hole, and that write would not be
 * reported.
 */
static void collect_zeroes(struct migrate_walk *w, unsigned long start,
			   unsigned long end, bool marked)
{
	if (marked)
		trace_hmm_migrate_refuse(start, MIGRATE_NOT_MOVABLE);
	else if (w->migrate->flags & MIGRATE_VMA_SELECT_SYSTEM)
		collect_hole(w, start, end);
	else
		trace_hmm_migrate_refuse(start, MIGRATE_NOT_SELECTED);
}

/* Splitting */

/* Split the folio after the page table lock is dropped. */
static void split_later(struct migrate_walk *w, struct folio *folio)
{
	w->split = folio;
}

/*
 * The fault handler's folio is split so that its lock and reference stay with
 * the page of the fault.
 */
static void split_now(struct migrate_walk *w)
{
	struct folio *folio = w->split;
	int ret;

	w->split = NULL;
	if (migrate_is_lent(w->migrate, folio)) {
		ret = split_huge_page(w->migrate->fault_page);
	} else {
		ret = split_folio(folio);
		folio_unlock(folio);
		folio_put(folio);
	}
	if (ret)
		w->stuck = folio;
}

/* PTEs */

/*
 * Does userfaultfd want to see every access to the page? Those of a device
 * would not be reported.
 */
static bool is_guarded(const struct migrate_walk *w, bool uffd)
{
	return uffd && userfaultfd_rwp(w->vma) &&
	       w->migrate->flags & MIGRATE_VMA_SELECT_SYSTEM;
}

/* The page at @addr that may be collected, or NULL. Collects a hole. */
static struct page *page_at(struct migrate_walk *w, pte_t pte,
			    unsigned long addr)
{
	struct page *page;
	softleaf_t entry;

	if (pte_none(pte)) {
		collect_hole(w, addr, addr + PAGE_SIZE);
		return NULL;
	}
	if (pte_present(pte)) {
		if (is_zero_pfn(pte_pfn(pte))) {
			collect_zeroes(w, addr, addr + PAGE_SIZE,
				       pte_uffd(pte));
			return NULL;
		}
		page = is_guarded(w, pte_uffd(pte)) ?
			NULL : vm_normal_page(w->vma, addr, pte);
	} else {
		entry = softleaf_from_pte(pte);
		page = softleaf_is_device_private(entry) ?
			softleaf_to_page(entry) : NULL;
	}
	if (!page)
		trace_hmm_migrate_refuse(addr, MIGRATE_NOT_MOVABLE);
	return page;
}

static unsigned long pfn_at(pte_t pte)
{
	if (pte_present(pte))
		return pte_pfn(pte);
	return softleaf_to_pfn(softleaf_from_pte(pte));
}

static bool is_private_pte(pte_t pte)
{
	return !pte_present(pte) &&
	       softleaf_is_device_private(softleaf_from_pte(pte));
}

/*
 * How many PTEs, of at most @max, map consecutive pages of @folio and otherwise
 * differ only in young and dirty? These are merged for the run.
 */
static unsigned int run_of(struct folio *folio, pte_t *ptep, pte_t pte,
			   unsigned int max)
{
	if (pte_present(pte))
		return folio_pte_batch_flags(folio, NULL, ptep, &pte, max,
					     FPB_RESPECT_WRITE |
					     FPB_RESPECT_SOFT_DIRTY);
	max = min_t(unsigned long, max,
		    folio_pfn(folio) + folio_nr_pages(folio) - pfn_at(pte));
	return hmm_softleaf_run(ptep, pte, max);
}

/* Is @pte of the page of @folio at @pfn, and present if the run is? */
static bool goes_on(struct folio *folio, pte_t pte, unsigned long pfn,
		    bool present)
{
	if (pfn == folio_pfn(folio) + folio_nr_pages(folio))
		return false;
	if (present ? !pte_present(pte) : !is_private_pte(pte))
		return false;
	return pfn_at(pte) == pfn;
}

/* How many PTEs, in runs of which the first has @nr, map such pages? */
static unsigned int runs_of(struct folio *folio, pte_t *ptep, pte_t pte,
			    unsigned int nr, unsigned int max)
{
	bool present = pte_present(pte);
	unsigned long pfn = pfn_at(pte);

	while (nr < max) {
		pte = ptep_get(ptep + nr);
		if (!goes_on(folio, pte, pfn + nr, present))
			break;
		nr += run_of(folio, ptep + nr, pte, max - nr);
	}
	return nr;
}

/* Without the soft-dirty bit, which pte_mkdirty() may set as well. */
static pte_t mark_dirty(pte_t pte)
{
	bool soft_dirty = pte_soft_dirty(pte);

	if (pte_dirty(pte))
		return pte;
	pte = pte_mkdirty(pte);
	return soft_dirty ? pte : pte_clear_soft_dirty(pte);
}

/* Clear a run. Returns its first PTE, young or dirty if any PTE was. */
static __always_inline pte_t clear_run(struct migrate_walk *w, pte_t *ptep,
				       unsigned long addr, unsigned int nr)
{
	pte_t first = ptep_get_and_clear(w->vma->vm_mm, addr, ptep);

	while (--nr) {
		pte_t pte;

		addr += PAGE_SIZE;
		pte = ptep_get_and_clear(w->vma->vm_mm, addr, ++ptep);
		if (pte_young(pte))
			first = pte_mkyoung(first);
		if (pte_dirty(pte))
			first = mark_dirty(first);
	}
	return first;
}

/*
 * How many pages, of at most @max, are as exclusive to the mapping as @page?
 * All pages of a writable run are.
 */
static __always_inline unsigned int exclusive_run(struct page *page,
						  bool writable, bool exclusive,
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
 * Clear the exclusive marks of a run of pages, unless the folio may be pinned.
 *
 * GUP-fast			share_run()
 *
 * read the PTE			clear the PTEs
 * pin the folio		smp_mb()
 * smp_mb()			is the folio pinned?
 * read the PTE again		clear the marks
 *
 * Either the pin is seen here, or GUP-fast sees the cleared PTE. That holds for
 * all PTEs that were cleared before, so that one check of the folio is enough.
 */
static __always_inline bool share_run(struct folio *folio, struct page *page,
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
 * @nr PTEs will be set again, to what they were or nearly so. An architecture
 * that joins PTEs requires that no CPU has cached them.
 */
static void flush_before(struct migrate_walk *w, unsigned long addr,
			 unsigned int nr)
{
	if (nr)
		flush_tlb_range(w->vma, addr, addr + nr * PAGE_SIZE);
}

/*
 * Replace a run of at most @nr PTEs that begins with @pte, @writable or not, by
 * migration entries. Returns how many, or 0 if the folio may be pinned. The TLB
 * is not flushed yet: GUP-fast reads PTEs, and not the TLB.
 */
static __always_inline unsigned int take_run(struct migrate_walk *w,
					     struct folio *folio,
					     struct page *page, pte_t *ptep,
					     pte_t pte, bool writable,
					     unsigned long addr,
					     unsigned int nr)
{
	bool exclusive = folio_test_anon(folio) && PageAnonExclusive(page);
	bool present = pte_present(pte);
	struct mm_struct *mm = w->vma->vm_mm;
	struct pgtable_leaf leaf;

	nr = exclusive_run(page, writable, exclusive, nr);
	if (present) {
		flush_cache_range(w->vma, addr, addr + nr * PAGE_SIZE);
		pte = clear_run(w, ptep, addr, nr);
	} else {
		clear_nonpresent_ptes(mm, addr, ptep, nr);
	}
	if (exclusive && !share_run(folio, page, nr)) {
		flush_before(w, addr, present ? nr : 0);
		migrate_pte_set_run(mm, addr, ptep, pte, nr);
		return 0;
	}
	leaf = pgtable_leaf_of_pte(pte);
	leaf.exclusive = exclusive;
	leaf = pgtable_leaf_begin_migration(leaf);
	if (leaf.dirty)
		hmm_folio_mark_dirty(folio);
	migrate_pte_set_run(mm, addr, ptep, pgtable_leaf_to_pte(leaf, w->vma), nr);
	return nr;
}

/* CPUs may have cached the entries from @addr on. */
static void flush_later(struct migrate_walk *w, unsigned long addr,
			unsigned int nr)
{
	if (!w->unmapped_end)
		w->unmapped = addr;
	w->unmapped_end = addr + nr * PAGE_SIZE;
}

/* @nr PTEs of the folio, from its first page on, were replaced. */
static __always_inline void remove_rmap(struct migrate_walk *w,
					struct folio *folio, unsigned int nr)
{
	if (folio_test_large(folio) || !folio_test_anon(folio))
		folio_remove_rmap_ptes(folio, folio_page(folio, 0), nr, w->vma);
	else
		migrate_mapped_add(&w->mapped, folio,
				   __folio_remove_small_rmap(folio, w->vma));
}

/*
 * A later page of the folio is pinned: restore the PTEs of its first @nr pages.
 * The mapcount and the references are unchanged, so that nobody has seen the
 * folio partially mapped.
 */
static void give_back(struct migrate_walk *w, struct folio *folio, pte_t *ptep,
		      unsigned long addr, unsigned int nr)
{
	unsigned int done, run, i;

	/* The entries are read again. */
	lazy_mmu_mode_pause();
	flush_before(w, addr, nr);
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
static __always_inline void take_all(struct migrate_walk *w,
				     struct folio *folio, pte_t *ptep,
				     pte_t pte, unsigned long addr,
				     unsigned int nr, unsigned int run)
{
	bool writable = migrate_pte_writable(pte), all_writable = writable;
	bool here = is_only_here(folio, nr), present = pte_present(pte);
	unsigned int done = 0, taken;

	if (!lock_folio(w, folio)) {
		trace_hmm_migrate_refuse(addr, MIGRATE_LOCKED);
		return;
	}
	do {
		if (done) {
			pte = ptep_get(ptep + done);
			run = run_of(folio, ptep + done, pte, nr - done);
			writable = migrate_pte_writable(pte);
			all_writable &= writable;
		}
		taken = take_run(w, folio, folio_page(folio, done), ptep + done,
				 pte, writable, addr + done * PAGE_SIZE, run);
		done += taken;
	} while (taken && done < nr);
	if (done < nr) {
		give_back(w, folio, ptep, addr, done);
		unlock_folio(w, folio);
		trace_hmm_migrate_refuse(addr, MIGRATE_PINNED);
		return;
	}
	if (present)
		flush_later(w, addr, nr);
	collect_set(w, addr, entry_of(folio, all_writable, here));
	remove_rmap(w, folio, nr);
	inherit_references(w, folio, nr);
}

static void take_large(struct migrate_walk *w, struct folio *folio, pte_t *ptep,
		       pte_t pte, unsigned long addr, unsigned int nr,
		       unsigned int run)
{
	take_all(w, folio, ptep, pte, addr, nr, run);
}

/* With constant counts, the compiler drops the handling of runs. */
static void take_small(struct migrate_walk *w, struct folio *folio, pte_t *ptep,
		       pte_t pte, unsigned long addr)
{
	take_all(w, folio, ptep, pte, addr, 1, 1);
}

/* Returns the number of PTEs dealt with, 0 if a folio has to be split first. */
static unsigned int collect_pte(struct migrate_walk *w, pte_t *ptep,
				unsigned long addr, unsigned int max)
{
	pte_t pte = ptep_get(ptep);
	struct page *page = page_at(w, pte, addr);
	unsigned int nr, run;
	struct folio *folio;

	if (!page)
		return 1;
	folio = page_folio(page);
	if (!is_selected(w, folio, page, addr))
		return 1;
	if (!folio_test_large(folio)) {
		take_small(w, folio, ptep, pte, addr);
		return 1;
	}
	run = run_of(folio, ptep, pte, max);
	nr = runs_of(folio, ptep, pte, run, max);
	if (nr == folio_nr_pages(folio) && folio_test_anon(folio) &&
	    !folio_contain_hwpoisoned_page(folio) &&
	    (travels_whole(w) || is_only_here(folio, nr))) {
		take_large(w, folio, ptep, pte, addr, nr, run);
		return nr;
	}
	if (folio != w->stuck && take_folio(w, folio)) {
		split_later(w, folio);
		return 0;
	}
	trace_hmm_migrate_refuse(addr, folio == w->stuck ? MIGRATE_UNSPLIT :
							   MIGRATE_LOCKED);
	return nr;
}

/* Returns @end, or the address of a folio that must be split first. */
static unsigned long collect_ptes(struct migrate_walk *w, pmd_t *pmd,
				  unsigned long addr, unsigned long end)
{
	spinlock_t *ptl;	/* of the PTEs */
	pte_t *first, *ptep;

	first = pte_offset_map_lock(w->vma->vm_mm, pmd, addr, &ptl);
	if (!first)
		return addr;
	w->unmapped_end = 0;
	lazy_mmu_mode_enable();
	for (ptep = first; addr < end;) {
		unsigned int nr = collect_pte(w, ptep, addr,
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
static struct folio *selected_folio(struct migrate_walk *w, pmd_t pmd,
				    unsigned long addr, bool *writable)
{
	bool present = pmd_present(pmd);
	struct folio *folio;
	softleaf_t entry;

	if (present ? is_guarded(w, pmd_uffd(pmd)) :
		      !pmd_is_device_private_entry(pmd)) {
		trace_hmm_migrate_refuse(addr, MIGRATE_NOT_MOVABLE);
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
	return is_selected(w, folio, &folio->page, addr) ? folio : NULL;
}

/* The folio is locked. Replace its PMD by a migration entry, or unlock it. */
static void take_pmd(struct migrate_walk *w, struct folio *folio, pmd_t *pmd,
		     spinlock_t *ptl, unsigned long addr, bool writable)
{
	struct page_vma_mapped_walk pvmw = {
		.ptl = ptl,
		.address = addr,
		.pmd = pmd,
		.vma = w->vma,
	};
	bool here = is_only_here(folio, 1);

	if (set_pmd_migration_entry(&pvmw, folio_page(folio, 0))) {
		migrate_let_go(w->migrate, folio);
		trace_hmm_migrate_refuse(addr, MIGRATE_PINNED);
		return;
	}
	collect_set(w, addr, entry_of(folio, writable, here));
}

/* The lock is held. */
static void collect_pmd_locked(struct migrate_walk *w, pmd_t *pmd,
			       spinlock_t *ptl, unsigned long addr,
			       unsigned long end)
{
	bool writable, whole = is_huge(addr, end);
	struct folio *folio;

	folio = selected_folio(w, *pmd, addr, &writable);
	if (!folio)
		return;
	if (!travels_huge(w))
		whole &= is_only_here(folio, 1);
	whole &= !folio_contain_hwpoisoned_page(folio);
	if (!whole && folio == w->stuck) {
		trace_hmm_migrate_refuse(addr, MIGRATE_UNSPLIT);
		return;
	}
	if (!take_folio(w, folio)) {
		trace_hmm_migrate_refuse(addr, MIGRATE_LOCKED);
		return;
	}
	if (whole)
		take_pmd(w, folio, pmd, ptl, addr, writable);
	else
		split_later(w, folio);
}

/* Returns @end, or @addr if there is a page table or a folio to split. */
static unsigned long collect_pmd(struct migrate_walk *w, pmd_t *pmd,
				 unsigned long addr, unsigned long end)
{
	spinlock_t *ptl = pmd_lock(w->vma->vm_mm, pmd);

	if (pmd_none(*pmd)) {
		spin_unlock(ptl);
		collect_hole(w, addr, end);
		return end;
	}
	if (pmd_present(*pmd) && !pmd_trans_huge(*pmd)) {
		spin_unlock(ptl);
		return addr;
	}
	if (is_huge_zero_pmd(*pmd))
		collect_zeroes(w, addr, end, pmd_uffd(*pmd));
	else
		collect_pmd_locked(w, pmd, ptl, addr, end);
	spin_unlock(ptl);
	return w->split ? addr : end;
}

/* The part of the range that is below one PMD */
static void collect_entry(struct migrate_walk *w, pmd_t *pmd,
			  unsigned long addr, unsigned long end)
{
	while (addr < end) {
		pmd_t value = pmdp_get_lockless(pmd);

		if (pmd_present(value) && !pmd_trans_huge(value))
			addr = collect_ptes(w, pmd, addr, end);
		else
			addr = collect_pmd(w, pmd, addr, end);
		if (w->split)
			split_now(w);
	}
}

/* A page walk costs too much for short ranges, such as that of a fault. */
static void collect_all(struct migrate_walk *w, unsigned long addr,
			unsigned long end)
{
	unsigned long next;

	vma_assert_stabilised(w->vma);
	for (; addr < end; addr = next) {
		pmd_t *pmd = mm_find_pmd(w->vma->vm_mm, addr);

		next = pmd_addr_end(addr, end);
		if (pmd)
			collect_entry(w, pmd, addr, next);
		else
			collect_hole(w, addr, next);
	}
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

	/* Drivers tell their own migrations by the owner. */
	mmu_notifier_range_init_owner(&range, MMU_NOTIFY_MIGRATE, 0,
				      migrate->vma->vm_mm, migrate->start,
				      migrate->end, migrate->pgmap_owner);
	mmu_notifier_invalidate_range_start(&range);
	collect_all(&w, migrate->start, migrate->end);
	mmu_notifier_invalidate_range_end(&range);
}
