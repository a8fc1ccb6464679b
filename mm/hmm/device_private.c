// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Device-private memory in page tables: PTE and PMD entries of pages that the
 * CPU cannot address.
 *
 * A CPU fault calls the driver to migrate the page back, with the folio locked
 * and referenced:
 *
 *	fault					migration
 *
 *	page table lock
 *	entry is still there: page is in use
 *	trylock the folio: fails		holds the folio lock
 *	add to its wait queue, unlock		  :
 *	sleep					unlock the folio, wake
 *	fault again
 *
 * This is no livelock: the fault waits for the folio lock without a reference
 * to the folio, which would keep it from migrating.
 *
 * Entries have no bit for read-only pages that are exclusive to their mapping:
 * a page whose entry is not writable may be shared. They have the soft-dirty
 * and uffd bits of swap entries, which write protection keeps. UFFDIO_MOVE sets
 * both anew, for the destination.
 */
#include <linux/ktime.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pgtable_leafops.h>
#include <linux/rmap.h>

#include "../internal.h"

#include <trace/events/migrate_device.h>

/* Faults */

/* Drivers must declare that they do not need mmap_lock. */
static bool device_private_may_fault(const struct vm_fault *vmf)
{
	return !(vmf->flags & FAULT_FLAG_VMA_LOCK) ||
	       page_pgmap(vmf->page)->flags & PGMAP_FAULT_VMA_LOCK;
}

/* What the driver may free or change is read before. */
static noinline vm_fault_t device_private_traced_call(struct vm_fault *vmf)
{
	unsigned int order = folio_order(page_folio(vmf->page));
	unsigned long pfn = page_to_pfn(vmf->page);
	struct mm_struct *mm = vmf->vma->vm_mm;
	unsigned long addr = vmf->address;
	u64 begin = ktime_get_ns();
	vm_fault_t ret;

	ret = page_pgmap(vmf->page)->ops->migrate_to_ram(vmf);
	trace_device_private_fault(mm, addr, pfn, order,
				   (__force unsigned int)ret,
				   ktime_get_ns() - begin);
	return ret;
}

static vm_fault_t device_private_call(struct vm_fault *vmf)
{
	if (trace_device_private_fault_enabled())
		return device_private_traced_call(vmf);
	return page_pgmap(vmf->page)->ops->migrate_to_ram(vmf);
}

/*
 * Have the driver migrate vmf->page, the page of @entry, to system memory.
 * @ptl, the page table lock, is held, and dropped.
 */
static vm_fault_t device_private_migrate(struct vm_fault *vmf, softleaf_t entry,
					 spinlock_t *ptl)
{
	struct page *page = vmf->page;
	vm_fault_t ret;

	lockdep_assert_held(ptl);
	if (!device_private_may_fault(vmf)) {
		spin_unlock(ptl);
		vma_end_read(vmf->vma);
		return VM_FAULT_RETRY;
	}
	if (!trylock_page(page)) {
		softleaf_entry_wait_on_locked(entry, ptl);
		return 0;
	}
	get_page(page);
	spin_unlock(ptl);
	ret = device_private_call(vmf);
	/* The page may be in another folio by now, after a split. */
	unlock_page(page);
	put_page(page);
	return ret;
}

/**
 * do_device_private() - a CPU fault on a PTE of device-private memory
 * @vmf: the fault; its orig_pte is such an entry
 *
 * Context: Process context, may sleep. mmap_lock is held, or the lock of the
 * VMA, which is dropped if this returns VM_FAULT_RETRY.
 *
 * Return: 0 to retry the access, or the driver's return value.
 */
vm_fault_t do_device_private(struct vm_fault *vmf)
{
	softleaf_t entry = softleaf_from_pte(vmf->orig_pte);

	vmf->page = softleaf_to_page(entry);
	vmf->pte = pte_offset_map_lock(vmf->vma->vm_mm, vmf->pmd, vmf->address,
				       &vmf->ptl);
	if (!vmf->pte)
		return 0;
	if (!pte_same(ptep_get(vmf->pte), vmf->orig_pte)) {
		pte_unmap_unlock(vmf->pte, vmf->ptl);
		return 0;
	}
	/*
	 * vmf->pte is not cleared: it shows drivers that the fault is on a PTE.
	 */
	pte_unmap(vmf->pte);
	return device_private_migrate(vmf, entry, vmf->ptl);
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
/**
 * do_huge_pmd_device_private() - a CPU fault on a PMD of device-private memory
 * @vmf: the fault; its orig_pmd is such an entry
 *
 * Context: As do_device_private().
 *
 * Return: as do_device_private().
 */
vm_fault_t do_huge_pmd_device_private(struct vm_fault *vmf)
{
	softleaf_t entry = softleaf_from_pmd(vmf->orig_pmd);
	spinlock_t *ptl = pmd_lock(vmf->vma->vm_mm, vmf->pmd);

	if (!pmd_same(*vmf->pmd, vmf->orig_pmd)) {
		spin_unlock(ptl);
		return 0;
	}
	vmf->page = softleaf_to_page(entry);
	vmf->pte = NULL;
	return device_private_migrate(vmf, entry, ptl);
}
#endif

/* Protection */

/**
 * protect_device_private_pte() - remove write access
 * @pte: of device-private memory
 *
 * Context: Any.
 *
 * Return: the PTE to set in its place.
 */
pte_t protect_device_private_pte(pte_t pte)
{
	struct pgtable_leaf leaf = pgtable_leaf_of_pte(pte);

	return pgtable_leaf_to_pte(pgtable_leaf_wrprotect(leaf), NULL);
}

/**
 * copy_device_private_pte() - share a parent's page with its child
 * @dst_vma: of the child
 * @src_vma: of the parent
 * @addr: the address
 * @src_pte: the parent's PTE, which loses write access if the mapping is
 *	private
 * @rss: the child's counters
 *
 * Device-private pages cannot be pinned, so that sharing them cannot fail.
 *
 * Context: fork(), under both page table locks.
 *
 * Return: the child's PTE.
 */
pte_t copy_device_private_pte(struct vm_area_struct *dst_vma,
			      struct vm_area_struct *src_vma,
			      unsigned long addr, pte_t *src_pte, int *rss)
{
	pte_t old = ptep_get(src_pte), pte = old;
	struct page *page = softleaf_to_page(softleaf_from_pte(pte));
	struct folio *folio = page_folio(page);

	folio_get(folio);
	rss[mm_counter(folio)]++;
	folio_try_dup_anon_rmap_pte(folio, page, dst_vma, src_vma);
	if (vma_is_cow_mapping(dst_vma))
		pte = protect_device_private_pte(pte);
	if (!pte_same(pte, old))
		set_pte_at(src_vma->vm_mm, addr, src_pte, pte);
	return pte;
}

/* UFFDIO_MOVE */

/* Move the folio's sole mapping to @addr. Returns the new entry. */
static struct pgtable_leaf device_private_rehome(struct vm_area_struct *vma,
						 unsigned long addr,
						 struct folio *folio)
{
	const struct pgtable_leaf leaf = {
		.pfn = folio_pfn(folio),
		.kind = PGTABLE_LEAF_PRIVATE,
	};

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	folio_move_anon_rmap(folio, vma);
	folio->index = linear_anon_page_index(vma, addr);
	return pgtable_leaf_rehome(leaf, userfaultfd_rwp(vma));
}

/**
 * rehome_device_private_pte() - move a page to another address
 * @vma: the destination, which may be written to
 * @addr: the address there
 * @folio: small, locked, and exclusive to its sole mapping, which was removed
 *
 * Context: UFFDIO_MOVE, under both page table locks.
 *
 * Return: the PTE to set there, soft-dirty as after mremap().
 */
pte_t rehome_device_private_pte(struct vm_area_struct *vma, unsigned long addr,
				struct folio *folio)
{
	return pgtable_leaf_to_pte(device_private_rehome(vma, addr, folio),
				   vma);
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
/**
 * rehome_device_private_pmd() - move a huge page to another address
 * @vma: the destination, which may be written to
 * @addr: the address there
 * @folio: locked, and exclusive to its sole mapping, which was removed
 *
 * Context: As rehome_device_private_pte().
 *
 * Return: the PMD to set there.
 */
pmd_t rehome_device_private_pmd(struct vm_area_struct *vma, unsigned long addr,
				struct folio *folio)
{
	return pgtable_leaf_to_pmd(device_private_rehome(vma, addr, folio),
				   vma);
}

/**
 * protect_device_private_pmd() - remove write access
 * @pmd: of device-private memory
 *
 * Context: Any.
 *
 * Return: the PMD to set in its place.
 */
pmd_t protect_device_private_pmd(pmd_t pmd)
{
	struct pgtable_leaf leaf = pgtable_leaf_of_pmd(pmd);

	return pgtable_leaf_to_pmd(pgtable_leaf_wrprotect(leaf), NULL);
}

/**
 * copy_device_private_pmd() - share a parent's huge page with its child
 * @dst_vma: of the child
 * @src_vma: of the parent
 * @addr: the address
 * @src_pmd: the parent's PMD, which loses write access
 *
 * Context: fork(), under both page table locks.
 *
 * Return: the child's PMD.
 */
pmd_t copy_device_private_pmd(struct vm_area_struct *dst_vma,
			      struct vm_area_struct *src_vma,
			      unsigned long addr, pmd_t *src_pmd)
{
	pmd_t pmd = protect_device_private_pmd(*src_pmd);
	struct folio *folio = softleaf_to_folio(softleaf_from_pmd(pmd));

	folio_get(folio);
	folio_try_dup_anon_rmap_pmd(folio, &folio->page, dst_vma, src_vma);
	if (!pmd_same(pmd, *src_pmd))
		set_pmd_at(src_vma->vm_mm, addr, src_pmd, pmd);
	return pmd;
}
#endif
