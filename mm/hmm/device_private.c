// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Device-private memory in page tables: entries, of PTEs and PMDs, that stand for
 * pages which the CPU cannot address.
 *
 * A CPU fault asks the driver to bring the page back. The folio is locked and
 * referenced meanwhile:
 *
 *	who faults				who migrates
 *
 *	page table lock
 *	entry is still there: page is in use
 *	trylock the folio: fails		has it locked
 *	on its wait queue, unlock		  :
 *	sleep					unlock the folio, wake
 *	fault again
 *
 * It does not go round and round: the folio's lock is waited for without a
 * reference to the folio, which would keep it from moving.
 */
#include <linux/leafops.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/swapops.h>

#include "../internal.h"

/* Drivers have to say that they can do without mmap_lock. */
static bool may_fault(const struct vm_fault *vmf)
{
	return !(vmf->flags & FAULT_FLAG_VMA_LOCK) ||
	       page_pgmap(vmf->page)->flags & PGMAP_FAULT_VMA_LOCK;
}

/* The page table lock is held, and dropped. vmf->page is what @entry stands for. */
static vm_fault_t bring_back(struct vm_fault *vmf, softleaf_t entry,
			     spinlock_t *ptl)
{
	struct page *page = vmf->page;
	vm_fault_t ret;

	if (!may_fault(vmf)) {
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
	ret = page_pgmap(page)->ops->migrate_to_ram(vmf);
	/* Of the folio that it is in by now */
	unlock_page(page);
	put_page(page);
	return ret;
}

/**
 * do_device_private() - a CPU fault on a PTE of device-private memory
 * @vmf: the fault; its orig_pte is such an entry
 *
 * Context: Process context, may sleep. mmap_lock is held, or the lock of the VMA,
 * which is dropped if the answer is VM_FAULT_RETRY.
 *
 * Return: 0 to try the access again, or what the driver has answered.
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
	/* The pointer stays, to tell drivers that this is about a PTE. */
	pte_unmap(vmf->pte);
	return bring_back(vmf, entry, vmf->ptl);
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
	return bring_back(vmf, entry, ptl);
}
#endif
