/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver's flags in the slots of a DMA map, and how hmm_dma_map_range()
 * marks the entries that it is working on.
 *
 * Pure, as pfn.h is.
 *
 * A call that fails must undo what it did, and nothing that an earlier call
 * did. It cannot allocate a list of its entries, and cannot go by the answers
 * either: a walk of another fault may change them at any time. So it keeps its
 * list in the flags, as combinations that are never seen outside of a call:
 *
 *				DMA_MAPPED	P2PDMA	P2PDMA_BUS
 *	not mapped		-		-	-
 *	linked			-		-	x
 *	  by the host bridge	-		x	x
 *	bus address known	-		x	-
 *	mapped			x		-	-
 *	  by the host bridge	x		x	-
 *	  by bus address	x		-	x
 */
#ifndef _MM_HMM_DMA_FLAGS_H
#define _MM_HMM_DMA_FLAGS_H

#include "pfn.h"

#define HMM_DMA_LINKED		HMM_PFN_P2PDMA_BUS
#define HMM_DMA_LINKED_P2P	(HMM_PFN_P2PDMA_BUS | HMM_PFN_P2PDMA)
#define HMM_DMA_BUS_KNOWN	HMM_PFN_P2PDMA

/* Is there a page to map that is not mapped yet? */
static inline bool hmm_dma_is_unmapped(unsigned long slot)
{
	return (slot & (HMM_PFN_VALID | HMM_PFN_STICKY)) == HMM_PFN_VALID;
}

/* Is the entry one that the call in flight works on? */
static inline bool hmm_dma_is_pending(unsigned long slot)
{
	return (slot & HMM_PFN_STICKY) && !(slot & HMM_PFN_DMA_MAPPED);
}

/* The flags of a pending entry once the call has succeeded */
static inline unsigned long hmm_dma_flags_mapped(unsigned long pending)
{
	switch (pending & HMM_PFN_STICKY) {
	case HMM_DMA_LINKED:
		return HMM_PFN_DMA_MAPPED;
	case HMM_DMA_LINKED_P2P:
		return HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA;
	default:
		return HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA_BUS;
	}
}

/* Does the DMA layer know of the entry, pending or mapped? */
static inline bool hmm_dma_is_linked(unsigned long slot)
{
	if (slot & HMM_PFN_DMA_MAPPED)
		return !(slot & HMM_PFN_P2PDMA_BUS);
	return slot & HMM_PFN_P2PDMA_BUS;
}

/**
 * hmm_dma_flags_run() - find neighbouring entries in the same state
 * @slots: the first slot
 * @nr: how many there are
 *
 * Only the driver's flags are compared. They are stable, as the driver
 * serialises what it does with them; answers are not.
 *
 * Return: how many entries from the first one on have its flags.
 */
static inline size_t hmm_dma_flags_run(const unsigned long *slots, size_t nr)
{
	const unsigned long flags = READ_ONCE(*slots) & HMM_PFN_STICKY;
	size_t run = 1;

	while (run < nr && (READ_ONCE(slots[run]) & HMM_PFN_STICKY) == flags)
		run++;
	return run;
}

#endif /* _MM_HMM_DMA_FLAGS_H */
