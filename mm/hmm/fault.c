// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Faults on behalf of a device.
 *
 * The walk stops before pages that lack the access asked for, and returns them
 * as a span. They are faulted in here, after the walk has dropped all page
 * table locks and the hugetlb VMA lock. A fault may map a single page, a large
 * folio or a huge page; the next fault is for the first page that is still
 * missing.
 *
 * The kind of the entries does not matter: handle_mm_fault() handles holes,
 * swap, device memory, exclusive entries and copy-on-write, and waits for
 * migration. The walk that follows checks the result.
 */
#include <linux/hmm.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>

#include "access.h"
#include "fault.h"

#define CREATE_TRACE_POINTS
#include <trace/events/hmm.h>

/* Anonymous memory comes in single pages or in folios of four and more. */
#define HMM_SMALLEST_FOLIO	(4 * PAGE_SIZE)

/*
 * May the fault at @addr have mapped pages after it, too? Folios are aligned:
 * by address if anonymous, and by file offset otherwise, where they may have
 * two pages. A folio that begins before @addr would have been mapped by the
 * fault before this one, unless this is the first. Read faults on files map
 * pages around @addr.
 */
static bool hmm_fault_maps_more(const struct hmm_span *span, unsigned long addr)
{
	if (addr == span->start)
		return true;
	if (vma_is_anonymous(span->vma))
		return IS_ALIGNED(addr, HMM_SMALLEST_FOLIO);
	return !span->write || !(linear_page_index(span->vma, addr) & 1);
}

/* The first page from @addr on whose PTE does not allow the access, or @end */
static unsigned long hmm_fault_skip_ptes(pmd_t *pmdp, unsigned long addr,
					 unsigned long end, bool write)
{
	pte_t *start, *ptep;

	start = pte_offset_map(pmdp, addr);
	if (!start)
		return addr;
	for (ptep = start; addr < end; ptep++, addr += PAGE_SIZE) {
		pte_t pte = ptep_get_lockless(ptep);

		if (!pte_present(pte) || pte_protnone(pte) ||
		    (write && !pte_write(pte)))
			break;
	}
	pte_unmap(start);
	return addr;
}

/*
 * The next page of a span, not of a hugetlb VMA, that still needs a fault: from
 * @addr, which is after a page that was just faulted in, to the end of the
 * span. @pmdp is the PMD entry for @addr, or %NULL if it is not known; the lock
 * that keeps the VMA, and with it all tables above the PTEs, was not dropped
 * since it was found.
 *
 * This looks no further than one page table, which is as far as one fault maps,
 * except for huge PUDs. It is a hint, read without page table locks: the walk
 * that follows decides.
 */
static unsigned long hmm_fault_skip_mapped(const struct hmm_span *span,
					   unsigned long addr, pmd_t **pmdp)
{
	unsigned long next;
	pmd_t pmd;

	if (!*pmdp) {
		pud_t pud = __pud(0);

		*pmdp = hmm_walk_pmd_at(span->vma, addr, &pud);
		if (!*pmdp && pud_present(pud) && (!span->write || pud_write(pud)))
			return pud_addr_end(addr, span->end);
	}
	if (!*pmdp)
		return addr;

	pmd = pmdp_get_lockless(*pmdp);
	if (!pmd_present(pmd))
		return addr;
	next = pmd_addr_end(addr, span->end);
	if (!pmd_leaf(pmd))
		return hmm_fault_skip_ptes(*pmdp, addr, next, span->write);
	if (pmd_protnone(pmd) || (span->write && !pmd_write(pmd)))
		return addr;
	return next;
}

/*
 * The first page after @addr that the fault at @addr did not map. @pmdp is the
 * PMD entry for @addr, and becomes that of the returned address, or %NULL if it
 * is not known.
 */
static unsigned long hmm_fault_next(const struct hmm_span *span,
				    unsigned long addr, pmd_t **pmdp)
{
	unsigned long next = addr + PAGE_SIZE;

	if (is_vm_hugetlb_page(span->vma)) {
		next = ALIGN(next, huge_page_size(hstate_vma(span->vma)));
		return min(next, span->end);
	}
	if (next == span->end)
		return next;

	if ((next ^ addr) & PMD_MASK)
		*pmdp = NULL;
	if (!hmm_fault_maps_more(span, addr))
		return next;
	addr = next;
	next = hmm_fault_skip_mapped(span, addr, pmdp);
	if ((next ^ addr) & PMD_MASK)
		*pmdp = NULL;
	return next;
}

static unsigned int hmm_fault_flags(const struct hmm_faulter *faulter,
				    const struct hmm_span *span,
				    unsigned long addr)
{
	unsigned int flags = FAULT_FLAG_REMOTE;

	if (span->write)
		flags |= FAULT_FLAG_WRITE;
	if (faulter->may_unlock)
		flags |= FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE;
	if (faulter->vma_locked)
		flags |= FAULT_FLAG_VMA_LOCK;
	if (addr == faulter->tried)
		flags |= FAULT_FLAG_TRIED;
	return flags;
}

/* What handle_mm_fault() has returned */
static enum hmm_outcome hmm_fault_outcome(struct hmm_faulter *faulter,
					  unsigned long addr, vm_fault_t ret)
{
	if (ret & (VM_FAULT_RETRY | VM_FAULT_COMPLETED)) {
		/* It must not drop the lock unless it is allowed to. */
		if (WARN_ON_ONCE(!faulter->may_unlock))
			return HMM_COLLIDED;
		faulter->unlocks++;
		/*
		 * Under the VMA lock, some handlers return VM_FAULT_RETRY
		 * before they have tried anything.
		 */
		faulter->tried = ret & VM_FAULT_RETRY && !faulter->vma_locked ?
				 addr : HMM_NOT_TRIED;
		return HMM_UNLOCKED;
	}
	if (ret & VM_FAULT_OOM)
		return HMM_NO_MEMORY;
	if (ret & VM_FAULT_ERROR)
		return HMM_NO_ACCESS;
	return HMM_FAULTED;
}

static enum hmm_outcome hmm_fault_one(struct hmm_faulter *faulter,
				      const struct hmm_span *span,
				      unsigned long addr)
{
	unsigned int flags = hmm_fault_flags(faulter, span, addr);
	vm_fault_t ret = handle_mm_fault(span->vma, addr, flags, NULL);
	enum hmm_outcome outcome = hmm_fault_outcome(faulter, addr, ret);

	faulter->faults++;
	trace_hmm_fault(addr, span->write, (__force unsigned int)ret, outcome);
	return outcome;
}

/**
 * hmm_fault_span() - fault in the pages at which a walk stopped
 * @faulter: how to fault
 * @span: the pages
 *
 * A collision with an invalidation does not end the loop: a fault that copies a
 * page, or migrates one from a device, causes such an invalidation itself, and
 * the caller would have to start again for each page.
 *
 * Context: Process context. mmap_lock is held, or the VMA's lock, and no page
 * table lock is.
 *
 * Return: HMM_FAULTED, with that lock never dropped; HMM_UNLOCKED, with it
 * dropped; or why it stopped, with the lock held.
 */
enum hmm_outcome hmm_fault_span(struct hmm_faulter *faulter,
				const struct hmm_span *span)
{
	unsigned long addr = span->start;
	pmd_t *pmdp = NULL;

	if (IS_ENABLED(CONFIG_LOCKDEP))
		vma_assert_stabilised(span->vma);

	if (span->write && !hmm_flags_allow_writing(span->vma->vm_flags))
		return HMM_READ_ONLY;

	while (addr < span->end) {
		enum hmm_outcome outcome;

		if (fatal_signal_pending(current))
			return HMM_KILLED;
		outcome = hmm_fault_one(faulter, span, addr);
		if (outcome != HMM_FAULTED)
			return outcome;
		addr = hmm_fault_next(span, addr, &pmdp);
		cond_resched();
	}
	return HMM_FAULTED;
}
