/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The walk: from page table entries to recorded slots, up to the first page
 * that needs a fault.
 */
#ifndef _MM_HMM_WALK_H
#define _MM_HMM_WALK_H

#include <linux/hmm.h>
#include <linux/math.h>
#include <linux/mm_types.h>

#include "dma_slots.h"
#include "pfn.h"
#include "policy.h"
#include "request.h"

/**
 * enum hmm_outcome - how a step of hmm_range_fault() ended
 * @HMM_DONE: every slot of the range is recorded
 * @HMM_FAULT_NEEDED: the walk stopped at &hmm_walk.span
 * @HMM_MOVABLE: the walk stopped at a page that may move to the device
 * @HMM_FAULTED: the span was faulted in; continue the walk
 * @HMM_UNLOCKED: the fault handler dropped mmap_lock, or the VMA lock
 * @HMM_COLLIDED: an invalidation made the recorded slots invalid
 * @HMM_NO_ACCESS: a requested page cannot be accessed
 * @HMM_READ_ONLY: write access is requested, and the VMA does not allow it
 * @HMM_NO_MEMORY: a fault failed for lack of memory
 * @HMM_KILLED: a fatal signal is pending
 */
enum hmm_outcome {
	HMM_DONE,
	HMM_FAULT_NEEDED,
	HMM_MOVABLE,
	HMM_FAULTED,
	HMM_UNLOCKED,
	HMM_COLLIDED,
	HMM_NO_ACCESS,
	HMM_READ_ONLY,
	HMM_NO_MEMORY,
	HMM_KILLED,
};

/**
 * struct hmm_span - neighbouring pages of one VMA that need the same fault
 * @vma: the VMA; stays valid while mmap_lock or its own lock is held
 * @start: first address
 * @end: end of the pages, exclusive
 * @write: whether they must become writable
 */
struct hmm_span {
	struct vm_area_struct *vma;
	unsigned long start;
	unsigned long end;
	bool write;
};

/**
 * struct hmm_walk - one pass over a range, which can stop and continue
 * @range: the caller's range
 * @request: which requests of it count
 * @vma: the VMA that holds the rest of the range, if its lock is held instead
 *	of mmap_lock; otherwise %NULL
 * @sparse: record large leaves in their first slot only
 * @orders: report the order of folios that PTEs map
 * @shared: the driver changes flags in the slots concurrently
 * @moving: stop before pages that may move to the device
 * @next: first address whose slot is not recorded yet; all slots before it
 *	hold answers, all from it on still hold requests
 * @span: after HMM_FAULT_NEEDED, what must be faulted in
 * @outcome: why the walk stopped, while it unwinds
 *
 * On the stack of the calling task. mmap_lock or the VMA lock keeps @span.vma
 * valid.
 */
struct hmm_walk {
	struct hmm_range *range;
	struct hmm_request request;
	struct vm_area_struct *vma;
	bool sparse;
	bool orders;
	bool shared;
	bool moving;
	unsigned long next;
	struct hmm_span span;
	enum hmm_outcome outcome;
};

static inline unsigned long *hmm_walk_slots(const struct hmm_walk *w,
					    unsigned long addr)
{
	return w->range->hmm_pfns + ((addr - w->range->start) >> PAGE_SHIFT);
}

static inline unsigned long hmm_pages(unsigned long start, unsigned long end)
{
	return (end - start) >> PAGE_SHIFT;
}

/* @range need not be page aligned. */
static inline unsigned long hmm_range_nr_slots(const struct hmm_range *range)
{
	return DIV_ROUND_UP(range->end - range->start, PAGE_SIZE);
}

/* The answer for pages [start, end); the caller advances &hmm_walk.next. */
static inline void hmm_walk_record(const struct hmm_walk *w,
				   unsigned long start, unsigned long end,
				   struct hmm_leaf leaf)
{
	unsigned long nr = hmm_pages(start, end);

	if (w->sparse && hmm_leaf_is_large(leaf))
		nr = 1;
	if (unlikely(w->shared))
		hmm_slots_record_shared(hmm_walk_slots(w, start), nr, leaf);
	else
		hmm_slots_record(hmm_walk_slots(w, start), nr, leaf);
}

/* Pages that follow each other in physical memory, in @nr slots */
static inline void hmm_walk_record_step(const struct hmm_walk *w,
					unsigned long *slots, unsigned long nr,
					unsigned long answer)
{
	struct hmm_leaf leaf = { .answer = answer, .step = 1 };

	if (unlikely(w->shared))
		hmm_slots_record_shared(slots, nr, leaf);
	else
		hmm_slots_record_step(slots, nr, answer, 1);
}

/* The answer for one page */
static inline void hmm_walk_record_one(const struct hmm_walk *w,
				       unsigned long *slot, unsigned long answer)
{
	if (unlikely(w->shared))
		hmm_slot_set_shared(slot, answer);
	else
		hmm_slot_set(slot, answer);
}

/**
 * hmm_walk_init() - begin a walk at the start of its range
 * @w: the walk
 * @range: the range, checked by the caller
 */
static inline void hmm_walk_init(struct hmm_walk *w, struct hmm_range *range)
{
	w->range = range;
	w->request = hmm_request_of(range);
	w->vma = NULL;
	w->shared = hmm_dma_has_slots(range->hmm_pfns);
	/* Another walk might replace the one slot by the answer for its page. */
	w->sparse = (range->default_flags & HMM_RANGE_SPARSE) && !w->shared;
	w->orders = range->default_flags & (HMM_RANGE_SPARSE |
					    HMM_RANGE_PTE_ORDERS);
	w->moving = false;
	w->next = range->start;
	/* The other members are set before they are read. */
}

int hmm_outcome_errno(enum hmm_outcome outcome);
int hmm_range_pack_requests(const struct hmm_range *range,
			    unsigned char **packed);
int hmm_walk_stop(struct hmm_walk *w, struct vm_area_struct *vma,
		  unsigned long start, unsigned long end,
		  enum hmm_verdict verdict);
int hmm_walk_stop_movable(struct hmm_walk *w, unsigned long addr,
			  struct page *page);
int hmm_walk_ptes(struct hmm_walk *w, struct vm_area_struct *vma, pte_t *ptep,
		  unsigned long start, unsigned long end);
enum hmm_outcome hmm_walk_continue(struct hmm_walk *w);
pmd_t *hmm_walk_pmd_at(const struct vm_area_struct *vma, unsigned long addr,
		       pud_t *leaf);

#endif /* _MM_HMM_WALK_H */
