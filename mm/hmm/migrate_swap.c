// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Swap: a page that is swapped out has no folio, or one in the swap cache that
 * no page table maps, and cannot migrate. If the driver asks for it, such pages
 * are swapped in first, as by read faults.
 */
#include <linux/leafops.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>

#include "../internal.h"
#include "migrate.h"

static bool migrate_swap_is_entry(pte_t pte)
{
	return !pte_none(pte) && !pte_present(pte) &&
	       softleaf_is_swap(softleaf_from_pte(pte));
}

/* The first address from @addr on whose page is swapped out, or @end */
static unsigned long migrate_swap_next(pmd_t *pmd, unsigned long addr,
				       unsigned long end)
{
	pte_t *first = pte_offset_map(pmd, addr), *ptep;

	if (!first)
		return end;
	for (ptep = first; addr < end; ptep++, addr += PAGE_SIZE)
		if (migrate_swap_is_entry(ptep_get_lockless(ptep)))
			break;
	pte_unmap(first);
	return addr;
}

/* One fault for each page. Pages whose fault fails are skipped. */
static void migrate_swap_fault_in(struct vm_area_struct *vma, pmd_t *pmd,
				  unsigned long addr, unsigned long end)
{
	for (;; addr += PAGE_SIZE) {
		addr = migrate_swap_next(pmd, addr, end);
		if (addr == end || fatal_signal_pending(current))
			return;
		handle_mm_fault(vma, addr, FAULT_FLAG_REMOTE, NULL);
		cond_resched();
	}
}

/**
 * migrate_swap_in() - swap in the pages of the range
 * @migrate: the range
 *
 * Context: Process context, may sleep. mmap_lock is held.
 */
void migrate_swap_in(const struct migrate_vma *migrate)
{
	struct mm_struct *mm = migrate->vma->vm_mm;
	unsigned long addr, next;

	mmap_assert_locked(mm);
	if (!get_mm_counter_sum(mm, MM_SWAPENTS))
		return;
	for (addr = migrate->start; addr < migrate->end; addr = next) {
		pmd_t *pmd = mm_find_pmd(mm, addr);

		next = pmd_addr_end(addr, migrate->end);
		if (pmd)
			migrate_swap_fault_in(migrate->vma, pmd, addr, next);
	}
}
