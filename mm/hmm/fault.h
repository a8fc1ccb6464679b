/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Faults on behalf of a device, with no page table lock held.
 */
#ifndef _MM_HMM_FAULT_H
#define _MM_HMM_FAULT_H

#include "walk.h"

/**
 * struct hmm_faulter - how the faults of one call are made
 * @may_unlock: the fault handler may drop the lock
 * @vma_locked: the lock is that of the VMA, not mmap_lock
 * @faults: number of faults so far, for the tracepoints
 * @unlocks: how many of them dropped the lock
 * @tried: the address of the last fault for which the handler dropped the lock
 *	and requested a retry, or %HMM_NOT_TRIED
 */
struct hmm_faulter {
	bool may_unlock;
	bool vma_locked;
	unsigned int faults;
	unsigned int unlocks;
	unsigned long tried;
};

/* Not page aligned, so no fault has this address. */
#define HMM_NOT_TRIED	1UL

enum hmm_outcome hmm_fault_span(struct hmm_faulter *faulter,
				const struct hmm_span *span);

#endif /* _MM_HMM_FAULT_H */
