/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The slots of DMA maps, which drivers change while a walk records answers in
 * them; see hmm_slot_set_shared().
 */
#ifndef _MM_HMM_DMA_SLOTS_H
#define _MM_HMM_DMA_SLOTS_H

#include <linux/maple_tree.h>

/* Keyed by the address of a slot; written by hmm_dma_map_alloc() and _free() */
extern struct maple_tree hmm_dma_slots;

/**
 * hmm_dma_has_slots() - do slots belong to a DMA map?
 * @slots: the first slot; an array belongs to a map as a whole or not at all
 *
 * Context: Any that may take the RCU read lock. The caller keeps the slots.
 *
 * Return: true if they do.
 */
static inline bool hmm_dma_has_slots(const unsigned long *slots)
{
	return !mtree_empty(&hmm_dma_slots) &&
	       mtree_load(&hmm_dma_slots, (unsigned long)slots);
}

#endif /* _MM_HMM_DMA_SLOTS_H */
