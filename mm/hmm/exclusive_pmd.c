// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Device-exclusive PMDs: how they are made, restored, and split where PTEs are
 * needed.
 *
 * The rules are those of PTEs, see exclusive.c. A split needs no invalidation:
 * the device still has exclusive access to all of the pages.
 *
 * Reverse mapping finds exclusive PMDs whole. Aging and idle tracking ignore
 * them, migration replaces them, reclaim splits them first. fork() and
 * UFFDIO_MOVE restore them first.
 */
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/pgalloc.h>
#include <linux/pgtable_leafops.h>
#include <linux/rmap.h>

#include "../internal.h"
#include "exclusive_pmd.h"
#include "exclusive_pte.h"
#include "softleaf.h"

#include <trace/events/device_exclusive.h>

/* Entries */

/* The PMD that maps the huge page again, in place of the exclusive PMD @old */
static pmd_t exclusive_pmd_end(struct vm_area_struct *vma, pmd_t old)
{
	struct folio *folio = exclusive_pmd_folio(old);
	struct pgtable_leaf leaf = pgtable_leaf_of_pmd(old);
	bool exclusive = PageAnonExclusive(folio_page(folio, 0));

	leaf = pgtable_leaf_end_exclusive(leaf, exclusive,
					  folio_test_dirty(folio),
					  pgtable_leaf_rules(vma));
	return pgtable_leaf_to_pmd(leaf, vma);
}

/**
 * exclusive_pmd_ready() - can a huge page be made exclusive without a fault?
 * @vma: its VMA
 * @addr: the address
 * @pmd: the entry; the page table lock is held
 *
 * Return: true if @pmd is writable, or exclusive and would be restored
 * writable.
 */
bool exclusive_pmd_ready(struct vm_area_struct *vma, unsigned long addr,
			 pmd_t pmd)
{
	if (pmd_present(pmd))
		return pmd_write(pmd);
	return pmd_is_device_exclusive_entry(pmd) &&
	       pmd_write(exclusive_pmd_end(vma, pmd));
}

/**
 * exclusive_pmd_begin() - make an entry exclusive
 * @vma: its VMA
 * @addr: address of the huge page
 * @pmdp: the entry, which maps it writable
 *
 * The entry is never empty in between, since zapping skips empty entries.
 * Flushes the TLB.
 *
 * Context: The page table lock and the folio's are held.
 */
void exclusive_pmd_begin(struct vm_area_struct *vma, unsigned long addr,
			 pmd_t *pmdp)
{
	struct pgtable_leaf leaf;

	lockdep_assert_held(pmd_lockptr(vma->vm_mm, pmdp));
	VM_WARN_ON_ONCE(!folio_test_locked(pmd_folio(pmdp_get(pmdp))));
	flush_cache_range(vma, addr, addr + HPAGE_PMD_SIZE);
	leaf = pgtable_leaf_of_pmd(pmdp_invalidate(vma, addr, pmdp));
	leaf = pgtable_leaf_begin_exclusive(leaf);
	set_pmd_at(vma->vm_mm, addr, pmdp, pgtable_leaf_to_pmd(leaf, vma));
}

/* Restoring */

/* The folio is locked. Its entry may have been zapped, or split. */
static void exclusive_pmd_restore(struct vm_area_struct *vma, pmd_t *pmdp,
				  unsigned long addr, struct folio *folio)
{
	struct mmu_notifier_range range;
	spinlock_t *ptl;	/* of the PMD */
	pmd_t pmd;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, vma->vm_mm, addr,
				addr + HPAGE_PMD_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	ptl = pmd_lock(vma->vm_mm, pmdp);
	pmd = pmdp_get(pmdp);
	if (pmd_is_device_exclusive_entry(pmd) &&
	    exclusive_pmd_folio(pmd) == folio) {
		set_pmd_at(vma->vm_mm, addr, pmdp,
			   exclusive_pmd_end(vma, pmd));
		update_mmu_cache_pmd(vma, addr, pmdp);
		trace_device_exclusive_restore(vma->vm_mm, addr,
					       addr + HPAGE_PMD_SIZE,
					       folio_pfn(folio));
	}
	spin_unlock(ptl);
	mmu_notifier_invalidate_range_end(&range);
}

/**
 * do_huge_pmd_device_exclusive() - handle a CPU fault on an exclusive PMD
 * @vmf: the fault; its orig_pmd is exclusive
 *
 * Context: As do_device_exclusive().
 *
 * Return: as do_device_exclusive().
 */
vm_fault_t do_huge_pmd_device_exclusive(struct vm_fault *vmf)
{
	struct folio *folio = exclusive_pmd_folio(vmf->orig_pmd);
	vm_fault_t ret;

	if (!folio_try_get(folio))
		return 0;
	ret = folio_lock_or_retry(folio, vmf);
	if (!ret) {
		exclusive_pmd_restore(vmf->vma, vmf->pmd,
				      vmf->address & HPAGE_PMD_MASK, folio);
		folio_unlock(folio);
	}
	folio_put(folio);
	return ret;
}

/* The folio of an exclusive PMD, with a reference, or NULL */
static struct folio *exclusive_pmd_get_folio(struct mm_struct *mm, pmd_t *pmdp)
{
	spinlock_t *ptl = pmd_lock(mm, pmdp);
	struct folio *folio = NULL;
	pmd_t pmd = pmdp_get(pmdp);

	if (pmd_is_device_exclusive_entry(pmd)) {
		folio = exclusive_pmd_folio(pmd);
		folio_get(folio);
	}
	spin_unlock(ptl);
	return folio;
}

/**
 * present_device_exclusive_pmd() - restore an exclusive PMD
 * @vma: its VMA
 * @pmdp: the entry
 * @addr: address of the huge page
 *
 * Does not drop mmap_lock.
 *
 * Context: Process context, may sleep. mmap_lock is held, or the lock of the
 * VMA.
 *
 * Return: 0, also if the entry is not exclusive, or -EINTR after a fatal
 * signal.
 */
int present_device_exclusive_pmd(struct vm_area_struct *vma, pmd_t *pmdp,
				 unsigned long addr)
{
	struct folio *folio = exclusive_pmd_get_folio(vma->vm_mm, pmdp);
	int ret;

	if (!folio)
		return 0;
	ret = folio_lock_killable(folio);
	if (!ret) {
		exclusive_pmd_restore(vma, pmdp, addr, folio);
		folio_unlock(folio);
	}
	folio_put(folio);
	return ret;
}

/* Splitting */

/* Fill a page table, which no other task sees yet, with the parts of @old. */
static void exclusive_pmd_fill_table(struct vm_area_struct *vma,
				     pgtable_t table, unsigned long addr,
				     pmd_t old)
{
	pte_t pte = pgtable_leaf_to_pte(pgtable_leaf_of_pmd(old), vma);
	struct mm_struct *mm = vma->vm_mm;
	pte_t *first, *ptep;
	pmd_t pmd;
	int i;

	pmd_populate(mm, &pmd, table);
	first = pte_offset_map(&pmd, addr);
	for (i = 0, ptep = first; i < HPAGE_PMD_NR; i++, ptep++) {
		set_pte_at(mm, addr + i * PAGE_SIZE, ptep, pte);
		pte = hmm_softleaf_next(pte);
	}
	pte_unmap(first);
}

/**
 * split_device_exclusive_pmd() - an exclusive PMD becomes exclusive PTEs
 * @vma: its VMA
 * @pmdp: the entry
 * @addr: address of the huge page
 *
 * The folio stays whole.
 *
 * Context: The page table lock is held.
 */
void split_device_exclusive_pmd(struct vm_area_struct *vma, pmd_t *pmdp,
				unsigned long addr)
{
	pmd_t old = pmdp_get(pmdp);
	struct folio *folio = exclusive_pmd_folio(old);
	struct page *page = folio_page(folio, 0);
	bool exclusive = PageAnonExclusive(page);
	pgtable_t table;

	lockdep_assert_held(pmd_lockptr(vma->vm_mm, pmdp));
	/* Add the new mappings before the old one is removed. */
	folio_ref_add(folio, HPAGE_PMD_NR - 1);
	folio_add_anon_rmap_ptes(folio, page, HPAGE_PMD_NR, vma, addr,
				 exclusive ? RMAP_EXCLUSIVE : RMAP_NONE);
	folio_remove_rmap_pmd(folio, page, vma);

	table = pgtable_trans_huge_withdraw(vma->vm_mm, pmdp);
	exclusive_pmd_fill_table(vma, table, addr, old);
	/* A lockless walker that sees the table also sees its entries. */
	smp_wmb();
	pmd_populate(vma->vm_mm, pmdp, table);
}
