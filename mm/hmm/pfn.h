/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The slots of hmm_range.hmm_pfns: how an answer is encoded, and the only
 * code that writes one.
 *
 * Pure: no page tables and no locks, so that the same file is built by the
 * kernel, by KUnit and by tools/testing/hmm.
 *
 * Vocabulary:
 *   slot	one word of hmm_range.hmm_pfns: a request, and after the walk an
 *		answer
 *   answer	the value of a recorded slot: zero (nothing is mapped, a fault
 *		may map something), HMM_PFN_ERROR (no fault can), or
 *		HMM_PFN_VALID with permissions, order and page frame number
 *   sticky	flags of a slot that belong to the driver
 *   leaf	the answer for a run of neighbouring pages that one decision of
 *		the page table walk covers
 *
 * Invariants of an answer: WRITE implies VALID; ERROR excludes VALID; without
 * VALID the order and the page frame number are zero.
 */
#ifndef _MM_HMM_PFN_H
#define _MM_HMM_PFN_H

#include <linux/atomic.h>
#include <linux/hmm.h>
#include <linux/unroll.h>

/* Flags of the driver in a slot; answers do not change them. */
#define HMM_PFN_STICKY	(HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA | \
			 HMM_PFN_P2PDMA_BUS)

/**
 * struct hmm_leaf - the answer for a run of pages
 * @answer: for the first page of the run
 * @step: what to add from one page to the next: 1 where the pages follow each
 *	other in physical memory, 0 where no page frame number is reported
 */
struct hmm_leaf {
	unsigned long answer;
	unsigned long step;
};

/* Nothing is mapped; a fault may map something. */
static inline struct hmm_leaf hmm_leaf_absent(void)
{
	return (struct hmm_leaf){ .answer = 0, .step = 0 };
}

/* Nothing can be mapped for a device. */
static inline struct hmm_leaf hmm_leaf_error(void)
{
	return (struct hmm_leaf){ .answer = HMM_PFN_ERROR, .step = 0 };
}

/*
 * Pages @pfn, @pfn + 1, … are mapped by an entry (or entries) of 2^@order
 * pages each.
 */
static inline struct hmm_leaf hmm_leaf_mapped(unsigned long pfn, bool writable,
					      unsigned int order)
{
	unsigned long answer = HMM_PFN_VALID | pfn;

	answer |= (unsigned long)order << HMM_PFN_ORDER_SHIFT;
	if (writable)
		answer |= HMM_PFN_WRITE;
	return (struct hmm_leaf){ .answer = answer, .step = 1 };
}

static inline bool hmm_leaf_is_large(struct hmm_leaf leaf)
{
	return hmm_pfn_to_map_order(leaf.answer);
}

/*
 * Set the answer of a slot. An answer has no sticky flags, so that it can be
 * added instead of or'ed: the compiler merges this with the step to the next
 * page into one instruction.
 */
static inline void hmm_slot_set(unsigned long *slot, unsigned long answer)
{
	*slot = (*slot & HMM_PFN_STICKY) + answer;
}

/*
 * The same for a slot whose sticky flags change concurrently. The slots of a
 * struct hmm_dma_map are written by a walk, which holds no lock of the driver,
 * and also record what is mapped for DMA, which the driver changes under its
 * own lock. A plain store would lose such a change:
 *
 *	hmm_range_fault()		another fault, or an invalidation
 *
 *	read slot: not mapped
 *					lock
 *					hmm_dma_map_pfn(): set DMA_MAPPED
 *					unlock
 *	write slot: not mapped
 *	...
 *	lock
 *	read_retry(): false
 *	hmm_dma_map_pfn(): links the
 *	IOVA a second time
 *
 * or, with hmm_dma_unmap_pfn() on the right, uses an IOVA that is not mapped.
 * Each side changes only its own bits, in one atomic operation.
 */
static inline void hmm_slot_set_shared(unsigned long *slot,
				       unsigned long answer)
{
	unsigned long old = READ_ONCE(*slot);

	while (!try_cmpxchg(slot, &old, (old & HMM_PFN_STICKY) + answer))
		;
}

/* The driver's side, and that of requests: clear some flags, then set others. */
static inline void hmm_slot_change(unsigned long *slot, unsigned long clear,
				   unsigned long set)
{
	unsigned long old = READ_ONCE(*slot);

	while (!try_cmpxchg(slot, &old, (old & ~clear) | set))
		;
}

/* Slots that are shared, or have sticky flags: few, so this is not inline. */
static noinline void hmm_slots_record_shared(unsigned long *slots,
					     unsigned long nr,
					     struct hmm_leaf leaf)
{
	for (; nr; nr--, slots++, leaf.answer += leaf.step)
		hmm_slot_set_shared(slots, leaf.answer);
}

#define HMM_SLOTS_AT_ONCE	16UL

static __always_inline void hmm_slots_record_some(unsigned long *slots,
						  unsigned long answer,
						  const unsigned long step)
{
	unsigned long i, any = 0;

	if (!step) {
		unrolled_full
		for (i = 0; i < HMM_SLOTS_AT_ONCE; i++)
			hmm_slot_set(slots + i, answer + i * step);
		return;
	}

	unrolled_full
	for (i = 0; i < HMM_SLOTS_AT_ONCE; i++)
		any |= slots[i];
	if (any & HMM_PFN_STICKY) {
		struct hmm_leaf leaf = { .answer = answer, .step = step };

		return hmm_slots_record_shared(slots, HMM_SLOTS_AT_ONCE, leaf);
	}

	unrolled_full
	for (i = 0; i < HMM_SLOTS_AT_ONCE; i++)
		slots[i] = answer + i * step;
}

/*
 * Most slots are recorded for large folios and huge pages: without a branch for
 * each, and with a constant @step. The remainder comes first, so that nothing
 * is computed after the loop.
 */
static __always_inline void hmm_slots_record_step(unsigned long *slots,
						  unsigned long nr,
						  unsigned long answer,
						  const unsigned long step)
{
	for (; nr % HMM_SLOTS_AT_ONCE; nr--, slots++, answer += step)
		hmm_slot_set(slots, answer);

	for (; nr; nr -= HMM_SLOTS_AT_ONCE) {
		hmm_slots_record_some(slots, answer, step);
		answer += HMM_SLOTS_AT_ONCE * step;
		slots += HMM_SLOTS_AT_ONCE;
	}
}

/* Record four pages that need not follow each other. */
static __always_inline void hmm_slots_record_four(unsigned long *slots,
						  unsigned long answer,
						  const unsigned long *pfns)
{
	unsigned long any = slots[0] | slots[1] | slots[2] | slots[3];
	unsigned long i;

	if (unlikely(any & HMM_PFN_STICKY)) {
		/* Unrolled, as otherwise @pfns could not be in registers. */
		unrolled_full
		for (i = 0; i < 4; i++)
			hmm_slot_set_shared(slots + i, answer | pfns[i]);
		return;
	}
	unrolled_full
	for (i = 0; i < 4; i++)
		slots[i] = answer | pfns[i];
}

/* Record @leaf in @nr neighbouring slots. */
static inline void hmm_slots_record(unsigned long *slots, unsigned long nr,
				    struct hmm_leaf leaf)
{
	if (leaf.step)
		hmm_slots_record_step(slots, nr, leaf.answer, 1);
	else
		hmm_slots_record_step(slots, nr, leaf.answer, 0);
}

#endif /* _MM_HMM_PFN_H */
