// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Huge pages that a device has for itself as a whole, in entries of PMDs: how
 * they come to be, how they are mapped again, and what becomes of them where
 * something needs PTEs.
 *
 * The rules are those of PTEs, see exclusive.c. To split an entry ends nothing:
 * the device goes on to have all of the pages, and nobody has to be told.
 *
 * Reverse mapping finds them as they are, and whoever only wants to know of
 * accesses leaves them so; migration replaces them, and reclaim splits them first.
 * fork() maps the page again before it looks, as does who moves pages for
 * userfaultfd.
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

/* Entries */

/* What maps a huge page where @taken has stood for it */
static pmd_t exclusive_pmd_end(struct vm_area_struct *vma, pmd_t taken)
{
	struct folio *folio = exclusive_pmd_folio(taken);
	struct pgtable_leaf leaf = pgtable_leaf_of_pmd(taken);

	leaf = pgtable_leaf_end_exclusive(leaf,
					  PageAnonExclusive(folio_page(folio, 0)),
					  folio_test_dirty(folio),
					  pgtable_leaf_rules(vma));
	return pgtable_leaf_to_pmd(leaf, vma);
}

/**
 * exclusive_pmd_ready() - can a huge page be had as it is?
 * @vma: where
 * @addr: the address
 * @pmd: the entry; the page table lock is held
 *
 * Return: whether it maps the page writable, or would if it was not exclusive.
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
 * @vma: where
 * @addr: the address, that of the huge page
 * @pmdp: the entry, which maps it writable
 *
 * It is never empty meanwhile: who zaps passes over what is empty. That no CPU
 * has it cached any more is done when this returns.
 *
 * Context: The page table lock and the folio's are held.
 */
void exclusive_pmd_begin(struct vm_area_struct *vma, unsigned long addr,
			 pmd_t *pmdp)
{
	struct pgtable_leaf leaf;

	flush_cache_range(vma, addr, addr + HPAGE_PMD_SIZE);
	leaf = pgtable_leaf_of_pmd(pmdp_invalidate(vma, addr, pmdp));
	leaf = pgtable_leaf_begin_exclusive(leaf);
	set_pmd_at(vma->vm_mm, addr, pmdp, pgtable_leaf_to_pmd(leaf, vma));
}

/* Mapping again */

/* The folio is locked. Its entry may have been zapped, or split. */
static void restore_pmd(struct vm_area_struct *vma, pmd_t *pmdp,
			unsigned long addr, const struct folio *folio)
{
	struct mmu_notifier_range range;
	spinlock_t *ptl;	/* of the PMD */
	pmd_t pmd;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, vma->vm_mm, addr,
				addr + HPAGE_PMD_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	ptl = pmd_lock(vma->vm_mm, pmdp);
	pmd = *pmdp;
	if (pmd_is_device_exclusive_entry(pmd) &&
	    exclusive_pmd_folio(pmd) == folio) {
		set_pmd_at(vma->vm_mm, addr, pmdp,
			   exclusive_pmd_end(vma, pmd));
		update_mmu_cache_pmd(vma, addr, pmdp);
	}
	spin_unlock(ptl);
	mmu_notifier_invalidate_range_end(&range);
}

/**
 * do_huge_pmd_device_exclusive() - a CPU fault on a PMD of a page that a device has
 * @vmf: the fault; its orig_pmd is such an entry
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
		restore_pmd(vmf->vma, vmf->pmd, vmf->address & HPAGE_PMD_MASK,
			    folio);
		folio_unlock(folio);
	}
	folio_put(folio);
	return ret;
}

/* The folio that is exclusive as a whole, with a reference, or NULL */
static struct folio *get_exclusive_folio(struct mm_struct *mm, pmd_t *pmdp)
{
	spinlock_t *ptl = pmd_lock(mm, pmdp);
	struct folio *folio = NULL;

	if (pmd_is_device_exclusive_entry(*pmdp)) {
		folio = exclusive_pmd_folio(*pmdp);
		folio_get(folio);
	}
	spin_unlock(ptl);
	return folio;
}

/**
 * present_device_exclusive_pmd() - map a huge page for who cannot do without
 * @vma: where
 * @pmdp: its entry
 * @addr: the address, that of the huge page
 *
 * If mmap_lock is held for writing it stays so.
 *
 * Context: Process context, may sleep. mmap_lock is held, or the lock of the VMA.
 *
 * Return: 0, also if there is none, or -EINTR if a fatal signal has come.
 */
int present_device_exclusive_pmd(struct vm_area_struct *vma, pmd_t *pmdp,
				 unsigned long addr)
{
	struct folio *folio = get_exclusive_folio(vma->vm_mm, pmdp);
	int ret;

	if (!folio)
		return 0;
	ret = folio_lock_killable(folio);
	if (!ret) {
		restore_pmd(vma, pmdp, addr, folio);
		folio_unlock(folio);
	}
	folio_put(folio);
	return ret;
}

/* Splitting */

/* Fill a page table that nobody knows yet with what @taken is, in parts. */
static void fill_table(struct vm_area_struct *vma, pgtable_t table,
		       unsigned long addr, pmd_t taken)
{
	pte_t pte = pgtable_leaf_to_pte(pgtable_leaf_of_pmd(taken), vma);
	struct mm_struct *mm = vma->vm_mm;
	pte_t *first, *ptep;
	pmd_t pmd;
	int i;

	pmd_populate(mm, &pmd, table);
	first = pte_offset_map(&pmd, addr);
	for (i = 0, ptep = first; i < HPAGE_PMD_NR; i++, ptep++) {
		set_pte_at(mm, addr + i * PAGE_SIZE, ptep, pte);
		pte = migrate_softleaf_next(pte);
	}
	pte_unmap(first);
}

/**
 * split_device_exclusive_pmd() - an exclusive PMD becomes exclusive PTEs
 * @vma: where
 * @pmdp: the entry
 * @addr: the address, that of the huge page
 *
 * Its folio stays whole.
 *
 * Context: The page table lock is held.
 */
void split_device_exclusive_pmd(struct vm_area_struct *vma, pmd_t *pmdp,
				unsigned long addr)
{
	pmd_t taken = *pmdp;
	struct folio *folio = exclusive_pmd_folio(taken);
	struct page *page = folio_page(folio, 0);
	bool exclusive = PageAnonExclusive(page);
	pgtable_t table;

	/* As many mappings as there will be, before the one there is goes */
	folio_ref_add(folio, HPAGE_PMD_NR - 1);
	folio_add_anon_rmap_ptes(folio, page, HPAGE_PMD_NR, vma, addr,
				 exclusive ? RMAP_EXCLUSIVE : RMAP_NONE);
	folio_remove_rmap_pmd(folio, page, vma);

	table = pgtable_trans_huge_withdraw(vma->vm_mm, pmdp);
	fill_table(vma, table, addr, taken);
	/* Who walks without locks, and sees the table, sees what is in it. */
	smp_wmb();
	pmd_populate(vma->vm_mm, pmdp, table);
}
