/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The slots of hmm_range.hmm_pfns: how an answer is encoded, and the only
 * code that writes one.
 *
 * Pure: no page tables and no locks, so that the same file is built by the
 * kernel, by KUnit and by tools/testing/hmm.
 *
 * Vocabulary:
 *   slot	one word of hmm_range.hmm_pfns, a request before and an answer
 *		after
 *   answer	what a slot says once it is recorded: zero (nothing mapped, a
 *		fault may help), HMM_PFN_ERROR (no fault helps), or
 *		HMM_PFN_VALID with permissions, order and page frame number
 *   leaf	the answer for a run of neighbouring pages that one decision of
 *		the page table walk covers
 *
 * Invariants of an answer: WRITE implies VALID; ERROR excludes VALID; without
 * VALID the order and the page frame number are zero.
 */
#ifndef _MM_HMM_PFN_H
#define _MM_HMM_PFN_H

#include <linux/hmm.h>
#include <linux/unroll.h>

/* Flags that the driver keeps in a slot; answers leave them as they are. */
#define HMM_PFN_KEPT	(HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA | HMM_PFN_P2PDMA_BUS)

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

/* Nothing can be mapped here for a device. */
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

/* Give a slot its answer. */
static inline void hmm_slot_set(unsigned long *slot, unsigned long answer)
{
	*slot = (*slot & HMM_PFN_KEPT) | answer;
}

/* Give @nr neighbouring slots their part of @leaf. */
static inline void hmm_slots_record(unsigned long *slots, unsigned long nr,
				    struct hmm_leaf leaf)
{
	unsigned long i;

	if (!leaf.step) {
		unrolled_count(8)
		for (i = 0; i < nr; i++)
			hmm_slot_set(slots + i, leaf.answer);
		return;
	}
	/* Adding sets the same bits as |, in one instruction with the count. */
	unrolled_count(8)
	for (i = 0; i < nr; i++)
		slots[i] = (slots[i] & HMM_PFN_KEPT) + leaf.answer + i;
}

#endif /* _MM_HMM_PFN_H */
