// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The walk: from page table entries to recorded slots.
 *
 * Each entry is decoded into a leaf (what the CPU has), the policy decides on
 * the leaf and the request, and the slots are recorded or the walk stops. It
 * never faults, sleeps on a page or drops a lock: where access is missing it
 * leaves a span to be faulted in, unwinds, and can be continued from where it
 * stopped.
 *
 * Invariants:
 *   - slots before hmm_walk.next hold answers, slots from it on hold requests;
 *   - an entry that maps more than one page (PUD, PMD, hugetlb) is recorded
 *     whole or not at all, so that all slots under one order agree;
 *   - every page table level gives the same answer for the same kind of entry.
 *
 * Locking: mmap_lock is held. An entry is decoded under its page table lock,
 * which keeps the struct page of a device private entry from going away while
 * its owner is read. The answers are stable only as far as the caller's
 * notifier sequence says so.
 *
 *	what the entry is			answer
 *	present and accessible			VALID, WRITE as the entry, pfn
 *	shared zero page			VALID, pfn
 *	device private, own			VALID, WRITE as the entry, pfn
 *	none, swap, migration, protnone,	0
 *	  device private of another owner,
 *	  device exclusive, uffd-wp marker
 *	poisoned, guard or poison marker,	ERROR
 *	  special mapping, no VMA, VM_IO,
 *	  VM_PFNMAP, no VM_READ
 */
#include <linux/hmm.h>
#include <linux/huge_mm.h>
#include <linux/hugetlb.h>
#include <linux/leafops.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/pagewalk.h>
#include <linux/pgtable.h>

#include "policy.h"
#include "walk.h"

/*
 * What callbacks return to end the page walk. Positive, so that it cannot be
 * taken for an errno; hmm_walk.outcome says why.
 */
#define HMM_WALK_STOP	1

static unsigned long *hmm_slots_at(const struct hmm_walk *w, unsigned long addr)
{
	return w->range->hmm_pfns + ((addr - w->range->start) >> PAGE_SHIFT);
}

static unsigned long hmm_pages(unsigned long start, unsigned long end)
{
	return (end - start) >> PAGE_SHIFT;
}

/*
 * Ways on from a decision.
 */

static int hmm_walk_record(struct hmm_walk *w, unsigned long start,
			   unsigned long end, struct hmm_leaf leaf)
{
	hmm_slots_record(hmm_slots_at(w, start), hmm_pages(start, end), leaf);
	w->next = end;
	return 0;
}

static int hmm_walk_stop(struct hmm_walk *w, struct vm_area_struct *vma,
			 unsigned long start, unsigned long end,
			 enum hmm_verdict verdict)
{
	if (verdict == HMM_REFUSE) {
		w->outcome = HMM_NO_ACCESS;
		return HMM_WALK_STOP;
	}
	w->outcome = HMM_FAULT_NEEDED;
	w->span = (struct hmm_span){
		.vma = vma,
		.start = start,
		.end = end,
		.write = verdict == HMM_WRITE_FAULT,
	};
	return HMM_WALK_STOP;
}

/*
 * Pages [start, end) lie under one entry, which a single fault changes as a
 * whole.
 */
static int hmm_walk_whole(struct hmm_walk *w, struct vm_area_struct *vma,
			  unsigned long start, unsigned long end,
			  struct hmm_leaf leaf)
{
	enum hmm_verdict verdict;
	unsigned long at;

	verdict = hmm_decide_whole(&w->request, hmm_slots_at(w, start),
				   hmm_pages(start, end), leaf.answer, &at);
	if (verdict == HMM_RECORD)
		return hmm_walk_record(w, start, end, leaf);

	start += at << PAGE_SHIFT;
	return hmm_walk_stop(w, vma, start, start + PAGE_SIZE, verdict);
}

/*
 * Pages [start, end) of a VMA have no page table entries at all. What a fault
 * in there maps is up to the handler: it may be a single page or a huge one
 * that also covers pages that were not asked for, so those next to a fault,
 * within the reach of a PMD, are recorded only once it has been made.
 */
static int hmm_walk_unmapped(struct hmm_walk *w, struct vm_area_struct *vma,
			     unsigned long start, unsigned long end)
{
	struct hmm_leaf absent = hmm_leaf_absent();
	unsigned long *slots = hmm_slots_at(w, start);
	unsigned long nr = hmm_pages(start, end), idle = 0, run;
	unsigned long fault, reach;
	enum hmm_verdict verdict;

	run = hmm_decide_run(&w->request, slots, nr, absent.answer, &verdict);
	if (verdict == HMM_RECORD) {
		if (run == nr)
			return hmm_walk_record(w, start, end, absent);
		idle = run;
		run = hmm_decide_run(&w->request, slots + idle, nr - idle,
				     absent.answer, &verdict);
	}

	fault = start + (idle << PAGE_SHIFT);
	reach = max(start, ALIGN_DOWN(fault, PMD_SIZE));
	hmm_walk_record(w, start, reach, absent);
	return hmm_walk_stop(w, vma, fault, fault + (run << PAGE_SHIFT),
			     verdict);
}

/*
 * Decoding. Each of these is told the entry and the address of the first page
 * of interest under it.
 */

static struct hmm_leaf hmm_decode_softleaf(const struct hmm_walk *w,
					   softleaf_t entry,
					   unsigned long offset,
					   unsigned int order)
{
	switch (softleaf_type(entry)) {
	case SOFTLEAF_DEVICE_PRIVATE_READ:
	case SOFTLEAF_DEVICE_PRIVATE_WRITE:
		if (page_pgmap(softleaf_to_page(entry))->owner !=
		    w->range->dev_private_owner)
			return hmm_leaf_absent();
		return hmm_leaf_mapped(softleaf_to_pfn(entry) + offset,
				       softleaf_is_device_private_write(entry),
				       order);
	case SOFTLEAF_HWPOISON:
		return hmm_leaf_error();
	case SOFTLEAF_MARKER:
		if (softleaf_is_poison_marker(entry) ||
		    softleaf_is_guard_marker(entry))
			return hmm_leaf_error();
		return hmm_leaf_absent();
	default:
		return hmm_leaf_absent();
	}
}

/*
 * Is there a struct page behind a present PTE? Where the architecture marks
 * special entries, all others have one, and only those few are looked up.
 */
static bool hmm_pte_has_page(struct vm_area_struct *vma, unsigned long addr,
			     pte_t pte)
{
	if (IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL) && !pte_special(pte))
		return true;
	return vm_normal_page(vma, addr, pte) || is_zero_pfn(pte_pfn(pte));
}

static struct hmm_leaf hmm_decode_pte(const struct hmm_walk *w,
				      struct vm_area_struct *vma,
				      unsigned long addr, pte_t pte)
{
	if (pte_none(pte))
		return hmm_leaf_absent();
	if (!pte_present(pte))
		return hmm_decode_softleaf(w, softleaf_from_pte(pte), 0, 0);
	if (pte_protnone(pte))
		return hmm_leaf_absent();
	if (!hmm_pte_has_page(vma, addr, pte))
		return hmm_leaf_error();
	return hmm_leaf_mapped(pte_pfn(pte), pte_write(pte), 0);
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
static struct hmm_leaf hmm_decode_pmd(const struct hmm_walk *w,
				      struct vm_area_struct *vma,
				      unsigned long addr, pmd_t pmd)
{
	unsigned long offset = hmm_pages(addr & PMD_MASK, addr);
	unsigned int order = PMD_SHIFT - PAGE_SHIFT;

	if (!pmd_present(pmd))
		return hmm_decode_softleaf(w, softleaf_from_pmd(pmd), offset,
					   order);
	if (pmd_protnone(pmd))
		return hmm_leaf_absent();
	if (!vm_normal_page_pmd(vma, addr, pmd) && !is_huge_zero_pmd(pmd))
		return hmm_leaf_error();
	return hmm_leaf_mapped(pmd_pfn(pmd) + offset, pmd_write(pmd), order);
}
#else
static struct hmm_leaf hmm_decode_pmd(const struct hmm_walk *w,
				      struct vm_area_struct *vma,
				      unsigned long addr, pmd_t pmd)
{
	return hmm_leaf_error();
}
#endif

/*
 * The callbacks of the page walk.
 */

static int hmm_walk_hole(unsigned long start, unsigned long end, int depth,
			 struct mm_walk *walk)
{
	struct vm_area_struct *vma = walk->vma;
	struct hmm_walk *w = walk->private;

	if (!vma)
		return hmm_walk_whole(w, NULL, start, end, hmm_leaf_error());
	/* One huge page at a time, though it has no entry yet. */
	if (is_vm_hugetlb_page(vma))
		return hmm_walk_whole(w, vma, start, end, hmm_leaf_absent());
	return hmm_walk_unmapped(w, vma, start, end);
}

static int hmm_walk_ptes(struct hmm_walk *w, struct vm_area_struct *vma,
			 pte_t *ptep, unsigned long start, unsigned long end)
{
	unsigned long *slot = hmm_slots_at(w, start);
	unsigned long addr, fault;
	enum hmm_verdict verdict;
	struct hmm_leaf leaf;

	/* Record up to the first page that needs a fault … */
	for (addr = start; addr < end; addr += PAGE_SIZE, ptep++, slot++) {
		leaf = hmm_decode_pte(w, vma, addr, ptep_get(ptep));
		verdict = hmm_decide(&w->request, *slot, leaf.answer);
		if (verdict != HMM_RECORD)
			break;
		hmm_slots_record(slot, 1, leaf);
	}
	w->next = addr;
	if (addr == end)
		return 0;

	/* … and take into the span those behind it that need the same. */
	fault = addr;
	for (addr += PAGE_SIZE; addr < end; addr += PAGE_SIZE) {
		leaf = hmm_decode_pte(w, vma, addr, ptep_get(++ptep));
		if (hmm_decide(&w->request, *++slot, leaf.answer) != verdict)
			break;
	}
	return hmm_walk_stop(w, vma, fault, addr, verdict);
}

static int hmm_walk_pmd(pmd_t *pmdp, unsigned long start, unsigned long end,
			struct mm_walk *walk)
{
	struct vm_area_struct *vma = walk->vma;
	struct hmm_walk *w = walk->private;
	spinlock_t *ptl = pmd_trans_huge_lock(pmdp, vma);
	struct hmm_leaf leaf;
	pte_t *ptep;
	int ret;

	if (ptl) {
		leaf = hmm_decode_pmd(w, vma, start, pmdp_get(pmdp));
		ret = hmm_walk_whole(w, vma, start, end, leaf);
		spin_unlock(ptl);
		return ret;
	}

	ptep = pte_offset_map_lock(walk->mm, pmdp, start, &ptl);
	if (ptep) {
		ret = hmm_walk_ptes(w, vma, ptep, start, end);
		pte_unmap_unlock(ptep, ptl);
		return ret;
	}

	/* Nothing there by now, or something else: look again. */
	if (pmd_none(pmdp_get_lockless(pmdp)))
		return hmm_walk_unmapped(w, vma, start, end);
	walk->action = ACTION_AGAIN;
	return 0;
}

#if defined(CONFIG_TRANSPARENT_HUGEPAGE) && \
	defined(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD)
static struct hmm_leaf hmm_decode_pud(struct vm_area_struct *vma,
				      unsigned long addr, pud_t pud)
{
	unsigned long offset = hmm_pages(addr & PUD_MASK, addr);

	if (!vm_normal_page_pud(vma, addr, pud))
		return hmm_leaf_error();
	return hmm_leaf_mapped(pud_pfn(pud) + offset, pud_write(pud),
			       PUD_SHIFT - PAGE_SHIFT);
}

static int hmm_walk_pud(pud_t *pudp, unsigned long start, unsigned long end,
			struct mm_walk *walk)
{
	struct vm_area_struct *vma = walk->vma;
	struct hmm_walk *w = walk->private;
	spinlock_t *ptl = pud_trans_huge_lock(pudp, vma);
	struct hmm_leaf leaf;
	int ret;

	if (!ptl)
		return 0;

	leaf = hmm_decode_pud(vma, start, pudp_get(pudp));
	ret = hmm_walk_whole(w, vma, start, end, leaf);
	spin_unlock(ptl);
	/* There is no table below, and the mapping must not be split for one. */
	walk->action = ACTION_CONTINUE;
	return ret;
}
#else
#define hmm_walk_pud	NULL
#endif

#ifdef CONFIG_HUGETLB_PAGE
static struct hmm_leaf hmm_decode_hugetlb(const struct hmm_walk *w,
					  struct hstate *h, unsigned long addr,
					  pte_t pte)
{
	unsigned long offset = hmm_pages(addr & huge_page_mask(h), addr);
	unsigned int order = huge_page_order(h);

	if (!pte_present(pte))
		return hmm_decode_softleaf(w, softleaf_from_pte(pte), offset,
					   order);
	if (pte_protnone(pte))
		return hmm_leaf_absent();
	return hmm_leaf_mapped(pte_pfn(pte) + offset, huge_pte_write(pte),
			       order);
}

static int hmm_walk_hugetlb(pte_t *ptep, unsigned long hmask,
			    unsigned long start, unsigned long end,
			    struct mm_walk *walk)
{
	struct vm_area_struct *vma = walk->vma;
	struct hstate *h = hstate_vma(vma);
	struct hmm_walk *w = walk->private;
	spinlock_t *ptl = huge_pte_lock(h, walk->mm, ptep);
	struct hmm_leaf leaf;
	int ret;

	leaf = hmm_decode_hugetlb(w, h, start,
				  huge_ptep_get(walk->mm, start & hmask, ptep));
	ret = hmm_walk_whole(w, vma, start, end, leaf);
	spin_unlock(ptl);
	return ret;
}
#else
#define hmm_walk_hugetlb	NULL
#endif

/*
 * Answer for VMAs that a device cannot mirror without looking at their page
 * tables. Write access is never considered where read access is missing: no
 * architecture that has HMM maps memory write-only.
 */
static int hmm_walk_test(unsigned long start, unsigned long end,
			 struct mm_walk *walk)
{
	struct vm_area_struct *vma = walk->vma;
	struct hmm_walk *w = walk->private;

	if ((vma->vm_flags & VM_READ) &&
	    !(vma->vm_flags & (VM_IO | VM_PFNMAP)))
		return 0;

	/* Here 1 means that the VMA is done with, and only an errno stops. */
	if (hmm_walk_whole(w, vma, start, end, hmm_leaf_error()))
		return -EFAULT;
	return 1;
}

static const struct mm_walk_ops hmm_walk_ops = {
	.pud_entry	= hmm_walk_pud,
	.pmd_entry	= hmm_walk_pmd,
	.pte_hole	= hmm_walk_hole,
	.hugetlb_entry	= hmm_walk_hugetlb,
	.test_walk	= hmm_walk_test,
	.walk_lock	= PGWALK_RDLOCK,
};

/**
 * hmm_walk_init() - begin a walk at the start of its range
 * @w: the walk
 * @range: the range, checked by the caller
 */
void hmm_walk_init(struct hmm_walk *w, struct hmm_range *range)
{
	*w = (struct hmm_walk){
		.range = range,
		.request = hmm_request_of(range),
		.next = range->start,
	};
}

/**
 * hmm_walk_on() - record slots from where the walk stands
 * @w: the walk
 *
 * Context: Process context. mmap_lock of the notifier's mm is held.
 *
 * Return: HMM_DONE, HMM_FAULT_NEEDED with &hmm_walk.span set, or HMM_NO_ACCESS.
 */
enum hmm_outcome hmm_walk_on(struct hmm_walk *w)
{
	struct hmm_range *range = w->range;

	w->outcome = HMM_DONE;
	/* Its value adds nothing: whoever stops the walk sets the outcome. */
	walk_page_range(range->notifier->mm, w->next, range->end, &hmm_walk_ops,
			w);
	return w->outcome;
}

/*
 * The rest is for hmm_fault_span(): a look at what a fault has just mapped. It
 * is a hint, taken without locks; the walk that follows is what counts.
 */

static bool hmm_pte_serves(pte_t pte, bool write)
{
	return pte_present(pte) && !pte_protnone(pte) &&
	       (!write || pte_write(pte));
}

static unsigned long hmm_skip_ptes(pmd_t *pmdp, unsigned long addr,
				   unsigned long end, bool write)
{
	pte_t *start, *ptep;

	start = pte_offset_map(pmdp, addr);
	if (!start)
		return addr;
	for (ptep = start; addr < end; ptep++, addr += PAGE_SIZE)
		if (!hmm_pte_serves(ptep_get_lockless(ptep), write))
			break;
	pte_unmap(start);
	return addr;
}

/*
 * The PMD entry for @addr, or %NULL if there is no table of them; in that case
 * @next is moved behind @addr as far as a huge PUD serves the span.
 */
static pmd_t *hmm_pmd_at(const struct hmm_span *span, unsigned long addr,
			 unsigned long *next)
{
	pgd_t *pgdp = pgd_offset(span->vma->vm_mm, addr);
	p4d_t *p4dp;
	pud_t *pudp, pud;

	if (pgd_none(pgdp_get(pgdp)))
		return NULL;
	p4dp = p4d_offset(pgdp, addr);
	if (p4d_none(p4dp_get(p4dp)))
		return NULL;

	pudp = pud_offset(p4dp, addr);
	pud = pudp_get(pudp);
	if (!pud_present(pud))
		return NULL;
	if (!pud_leaf(pud))
		return pmd_offset(pudp, addr);
	if (!span->write || pud_write(pud))
		*next = pud_addr_end(addr, span->end);
	return NULL;
}

/**
 * hmm_span_skip_mapped() - the next page of a span that still wants a fault
 * @span: the span, not of a hugetlb VMA
 * @addr: an address in it, behind one that was just faulted
 * @pmdp: the PMD entry for the address before @addr, or %NULL; kept from call
 *	to call by the caller
 *
 * Looks no further than one page table, which is as far as one fault maps, but
 * for huge PUDs.
 *
 * Context: mmap_lock has been held since @pmdp was %NULL; it keeps every page
 * table above the PTEs.
 *
 * Return: an address from @addr to the span's end.
 */
unsigned long hmm_span_skip_mapped(const struct hmm_span *span,
				   unsigned long addr, pmd_t **pmdp)
{
	unsigned long next = addr;
	pmd_t pmd;

	if (!*pmdp || IS_ALIGNED(addr, PMD_SIZE))
		*pmdp = hmm_pmd_at(span, addr, &next);
	if (!*pmdp)
		return next;

	pmd = pmdp_get_lockless(*pmdp);
	if (!pmd_present(pmd))
		return addr;
	next = pmd_addr_end(addr, span->end);
	if (!pmd_leaf(pmd))
		return hmm_skip_ptes(*pmdp, addr, next, span->write);
	if (pmd_protnone(pmd) || (span->write && !pmd_write(pmd)))
		return addr;
	return next;
}
