/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What struct mm_struct has for MMU notifiers besides pointers. A header of its
 * own, since rseq_types.h puts it into memory that each mm has for each CPU.
 */
#ifndef _LINUX_MMU_NOTIFIER_TYPES_H
#define _LINUX_MMU_NOTIFIER_TYPES_H

#ifdef CONFIG_MMU_NOTIFIER

/*
 * enum mmu_count - as what an invalidation is counted at its start
 * @MMU_COUNT_UNSEEN: there never was a subscription
 * @MMU_COUNT_LISTED: there was one at most, to the whole address space
 * @MMU_COUNT_TRACKED: it will have a slot; this count means nothing
 */
enum mmu_count {
	MMU_COUNT_UNSEEN,
	MMU_COUNT_LISTED,
	MMU_COUNT_TRACKED,
	NR_MMU_COUNTS
};

/**
 * struct mmu_invalidation_count - invalidations that one CPU has seen of one mm
 * @begun: those that started there
 * @ended: those that ended there, wherever they started
 *
 * Only the sums over all CPUs mean anything, and only their difference: those
 * in flight that are counted by it. Changed by this_cpu_inc(), and allowed to wrap.
 */
struct mmu_invalidation_count {
	unsigned int begun;
	unsigned int ended;
};

/* By &enum mmu_count; mm_struct.notifier_count is the one in use. */
struct mmu_invalidation_counts {
	struct mmu_invalidation_count of[NR_MMU_COUNTS];
};

#else

struct mmu_invalidation_counts { };

#endif /* CONFIG_MMU_NOTIFIER */

#endif /* _LINUX_MMU_NOTIFIER_TYPES_H */
