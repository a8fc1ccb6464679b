// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * End of device-exclusive access: exclusive entries are restored for CPU
 * accesses, UFFDIO_MOVE and fork().
 *
 * The folio is locked, see exclusive.c, after an invalidation. All consecutive
 * exclusive entries of the folio are restored together, so that the device is
 * interrupted once, and not for each page.
 *
 * No TLB flush is needed: CPUs do not cache entries that are not present.
 */
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/swapops.h>

#include "../internal.h"
#include "exclusive_pte.h"

#define CREATE_TRACE_POINTS
#include <trace/events/device_exclusive.h>

/**
 * struct exclusive_span - consecutive exclusive entries of one folio
 * @start: first address
 * @end: end of the span, exclusive
 */
struct exclusive_span {
	unsigned long start;
	unsigned long end;
};

/* Entries */

/*
 * Restore the exclusive entry at @ptep, of @page, and those after it that are
 * restored in the same way. Returns how many, of at most @max.
 */
static unsigned int exclusive_restore_run(struct vm_area_struct *vma,
					  unsigned long addr, pte_t *ptep,
					  struct page *page, unsigned int max)
{
	pte_t old = ptep_get(ptep);
	unsigned int nr = exclusive_pte_run(ptep, old, page, max);

	VM_WARN_ON_ONCE_PAGE(!PageLocked(page), page);
	set_ptes(vma->vm_mm, addr, ptep,
		 exclusive_pte_end(vma, page, old), nr);
	update_mmu_cache_range(NULL, vma, addr, ptep, nr);
	trace_device_exclusive_restore(vma->vm_mm, addr, addr + nr * PAGE_SIZE,
				       page_to_pfn(page));
	return nr;
}

/* Restore the exclusive entries of @folio between @addr and @end. */
static void exclusive_restore_ptes(struct vm_area_struct *vma,
				   const struct folio *folio, pte_t *ptep,
				   unsigned long addr, unsigned long end)
{
	unsigned int nr;

	for (; addr < end; ptep += nr, addr += nr * PAGE_SIZE) {
		struct page *page = exclusive_pte_page(ptep_get(ptep));

		nr = 1;
		if (page && page_folio(page) == folio)
			nr = exclusive_restore_run(vma, addr, ptep, page,
						   (end - addr) >> PAGE_SHIFT);
	}
}

/* Faults */

/*
 * Extend @span, which covers @page, by the exclusive entries of the folio
 * before and after it. All entries are visited in order, because it is cheaper
 * to compare an entry with the expected one than to decode it.
 */
static void exclusive_span_widen(struct exclusive_span *span,
				 const struct vm_area_struct *vma, pte_t *ptep,
				 struct page *page)
{
	const struct folio *folio = page_folio(page);
	unsigned long idx = folio_page_idx(folio, page);
	unsigned long addr = span->start, nr_before, nr_after;
	pte_t pte, expected;
	softleaf_t entry;
	bool alike;

	nr_before = min(idx, (addr - max(vma->vm_start, addr & PMD_MASK)) >>
			     PAGE_SHIFT);
	nr_after = min(folio_nr_pages(folio) - idx,
		       (pmd_addr_end(addr, vma->vm_end) - addr) >> PAGE_SHIFT);
	ptep -= nr_before;
	page -= nr_before;
	span->start = addr - nr_before * PAGE_SIZE;
	span->end = span->start;
	entry = make_device_exclusive_entry(page_to_pfn(page));
	expected = softleaf_to_pte(entry);
	for (; span->end < addr + nr_after * PAGE_SIZE;
	     span->end += PAGE_SIZE) {
		pte = ptep_get(ptep++);
		alike = pte_same(pte, expected) ||
			exclusive_pte_page(pte) == page;
		if (!alike && span->end > addr)
			break;
		if (alike)
			expected = pte;
		else
			span->start = span->end + PAGE_SIZE;
		expected = hmm_softleaf_next(expected);
		page++;
	}
}

/* What to restore for the fault. False if the entry has changed. */
static bool exclusive_span_find(const struct vm_fault *vmf,
				struct exclusive_span *span)
{
	bool found;
	pte_t *ptep;
	spinlock_t *ptl;	/* of the PTEs */

	ptep = pte_offset_map_lock(vmf->vma->vm_mm, vmf->pmd, vmf->address,
				   &ptl);
	if (!ptep)
		return false;
	found = pte_same(ptep_get(ptep), vmf->orig_pte);
	if (found)
		exclusive_span_widen(span, vmf->vma, ptep, vmf->page);
	pte_unmap_unlock(ptep, ptl);
	return found;
}

/* Restore the page of the fault, unless its entry has changed. */
static void exclusive_restore_one(const struct vm_fault *vmf, pte_t *ptep)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long addr = vmf->address & PAGE_MASK;

	if (!pte_same(ptep_get(ptep), vmf->orig_pte))
		return;
	set_pte_at(vma->vm_mm, addr, ptep,
		   exclusive_pte_end(vma, vmf->page, vmf->orig_pte));
	update_mmu_cache_range(NULL, vma, addr, ptep, 1);
	trace_device_exclusive_restore(vma->vm_mm, addr, addr + PAGE_SIZE,
				       page_to_pfn(vmf->page));
}

/*
 * While the folio is locked, no other task makes its entries exclusive or
 * restores them. Entries that were zapped are skipped.
 */
static void exclusive_restore_span(const struct vm_fault *vmf,
				   const struct exclusive_span *span)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mmu_notifier_range range;
	pte_t *ptep;
	spinlock_t *ptl;	/* of the PTEs */

	VM_WARN_ON_ONCE_PAGE(!PageLocked(vmf->page), vmf->page);
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, vma->vm_mm,
				span->start, span->end);
	mmu_notifier_invalidate_range_start(&range);
	ptep = pte_offset_map_lock(vma->vm_mm, vmf->pmd, span->start, &ptl);
	if (ptep) {
		if (span->end - span->start == PAGE_SIZE)
			exclusive_restore_one(vmf, ptep);
		else
			exclusive_restore_ptes(vma, page_folio(vmf->page), ptep,
					       span->start, span->end);
		pte_unmap_unlock(ptep, ptl);
	}
	mmu_notifier_invalidate_range_end(&range);
}

/* For a single page, exclusive_restore_one() checks the entry once more. */
static void exclusive_restore_fault(const struct vm_fault *vmf,
				    const struct folio *folio)
{
	unsigned long addr = vmf->address & PAGE_MASK;
	struct exclusive_span span = { addr, addr + PAGE_SIZE };

	/* The folio may have been split before it was locked. */
	if (page_folio(vmf->page) != folio)
		return;
	if (!folio_test_large(folio) || exclusive_span_find(vmf, &span))
		exclusive_restore_span(vmf, &span);
}

/**
 * do_device_exclusive() - handle a CPU fault on an exclusive PTE
 * @vmf: the fault; its orig_pte is exclusive, and its page is the entry's
 *
 * Context: Process context, may sleep. mmap_lock or the lock of the VMA is
 * held, and is dropped if this returns VM_FAULT_RETRY.
 *
 * Return: 0 to retry the access, or VM_FAULT_RETRY.
 */
vm_fault_t do_device_exclusive(struct vm_fault *vmf)
{
	struct folio *folio = page_folio(vmf->page);
	vm_fault_t ret;

	/* The entry may be zapped at any time; if the page is free, it was. */
	if (!folio_try_get(folio))
		return 0;
	ret = folio_lock_or_retry(folio, vmf);
	if (!ret) {
		exclusive_restore_fault(vmf, folio);
		folio_unlock(folio);
	}
	folio_put(folio);
	return ret;
}

/* UFFDIO_MOVE */

/**
 * present_device_exclusive_pte() - restore an exclusive PTE that will be moved
 * @vma: its VMA; @addr is being invalidated
 * @addr: the address
 * @ptep: the PTE
 * @ptl: the page table lock, not held
 * @old: the exclusive entry that was read there; its folio is small and
 *	locked
 *
 * As the folio is locked, no device can make the page exclusive before it
 * moves.
 *
 * Context: Under RCU, which keeps the page table.
 *
 * Return: the PTE that is there now, or an empty one if it has changed.
 */
pte_t present_device_exclusive_pte(struct vm_area_struct *vma,
				   unsigned long addr, pte_t *ptep,
				   spinlock_t *ptl, pte_t old)
{
	pte_t pte = __pte(0);
	struct page *page;

	spin_lock(ptl);
	if (pte_same(ptep_get(ptep), old)) {
		page = exclusive_pte_page(old);
		exclusive_restore_run(vma, addr, ptep, page, 1);
		pte = ptep_get(ptep);
	}
	spin_unlock(ptl);
	return pte;
}

/* mlock() */

/**
 * device_exclusive_run() - count exclusive PTEs of consecutive pages of a folio
 * @ptep: the first PTE, which is exclusive
 * @max: how many PTEs there are to look at
 *
 * Context: Under the page table lock.
 *
 * Return: the number of PTEs, at least 1.
 */
unsigned int device_exclusive_run(pte_t *ptep, unsigned int max)
{
	pte_t pte = ptep_get(ptep);

	return exclusive_pte_run(ptep, pte, exclusive_pte_page(pte), max);
}

/* fork() */

/**
 * copy_device_exclusive() - restore an exclusive PTE that fork() will copy
 * @vma: the VMA of the parent, which is being invalidated
 * @addr: the address
 * @ptep: the exclusive entry
 *
 * Also restores the exclusive entries after it that are restored in the same
 * way.
 *
 * Context: fork(), under the page table lock.
 *
 * Return: 0, or -EBUSY if the folio is locked. In that case, the caller must
 * drop the page table lock and call wait_device_exclusive().
 */
int copy_device_exclusive(struct vm_area_struct *vma, unsigned long addr,
			  pte_t *ptep)
{
	struct page *page = exclusive_pte_page(ptep_get(ptep));
	unsigned long end = pmd_addr_end(addr, vma->vm_end);
	struct folio *folio = page_folio(page);

	if (!folio_trylock(folio))
		return -EBUSY;
	exclusive_restore_run(vma, addr, ptep, page,
			      (end - addr) >> PAGE_SHIFT);
	folio_unlock(folio);
	return 0;
}

/* The folio of an exclusive entry at @addr, with a reference, or NULL */
static struct folio *exclusive_get_folio(struct vm_area_struct *vma, pmd_t *pmd,
					 unsigned long addr)
{
	struct folio *folio = NULL;
	struct page *page;
	pte_t *ptep;
	spinlock_t *ptl;	/* of the PTEs */

	ptep = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	if (!ptep)
		return NULL;
	page = exclusive_pte_page(ptep_get(ptep));
	if (page) {
		folio = page_folio(page);
		folio_get(folio);
	}
	pte_unmap_unlock(ptep, ptl);
	return folio;
}

/**
 * wait_device_exclusive() - wait for a folio, and restore its exclusive PTE
 * @vma: the VMA of the parent
 * @pmd: the PMD, which points to a page table
 * @addr: address of the page
 *
 * Restores the PTE while it holds the folio lock. fork() holds mmap_lock for
 * writing, so that the PTE cannot become exclusive again: one wait is enough.
 *
 * The holder of the folio lock does not wait for fork(): a driver has to wait
 * for invalidations of the range, but does so before it locks folios.
 *
 * Context: fork(), under mmap_lock only. May sleep.
 *
 * Return: 0, or -EINTR after a fatal signal.
 */
int wait_device_exclusive(struct vm_area_struct *vma, pmd_t *pmd,
			  unsigned long addr)
{
	struct folio *folio = exclusive_get_folio(vma, pmd, addr);
	unsigned long end = pmd_addr_end(addr, vma->vm_end);
	pte_t *ptep;
	spinlock_t *ptl;	/* of the PTEs */
	int ret;

	mmap_assert_write_locked(vma->vm_mm);
	if (!folio)
		return 0;
	ret = folio_lock_killable(folio);
	if (!ret) {
		ptep = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
		if (ptep) {
			exclusive_restore_ptes(vma, folio, ptep, addr, end);
			pte_unmap_unlock(ptep, ptl);
		}
		folio_unlock(folio);
	}
	folio_put(folio);
	return ret;
}
