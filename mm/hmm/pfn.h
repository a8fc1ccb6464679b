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

/*
 * Give a slot its answer. An answer has none of the kept flags, so adding it is
 * setting its bits, and can be one instruction with counting it up.
 */
static inline void hmm_slot_set(unsigned long *slot, unsigned long answer)
{
	*slot = (*slot & HMM_PFN_KEPT) + answer;
}

#define HMM_SLOTS_AT_ONCE	16UL

/* Not inlined: that few slots have flags to keep must cost the others nothing. */
static noinline void hmm_slots_keep(unsigned long *slots, unsigned long answer,
				    unsigned long step)
{
	unsigned long i;

	for (i = 0; i < HMM_SLOTS_AT_ONCE; i++)
		hmm_slot_set(slots + i, answer + i * step);
}

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
	if (any & HMM_PFN_KEPT)
		return hmm_slots_keep(slots, answer, step);

	unrolled_full
	for (i = 0; i < HMM_SLOTS_AT_ONCE; i++)
		slots[i] = answer + i * step;
}

/*
 * Most slots are recorded for large folios and huge pages: do it without a
 * branch for each, and with a @step that the compiler knows. The odd ones come
 * first because that leaves the compiler nothing to compute after the loop.
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

/* Give @nr neighbouring slots their part of @leaf. */
static inline void hmm_slots_record(unsigned long *slots, unsigned long nr,
				    struct hmm_leaf leaf)
{
	if (leaf.step)
		hmm_slots_record_step(slots, nr, leaf.answer, 1);
	else
		hmm_slots_record_step(slots, nr, leaf.answer, 0);
}

#endif /* _MM_HMM_PFN_H */
