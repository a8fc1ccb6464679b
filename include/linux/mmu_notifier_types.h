/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What struct mm_struct has for MMU notifiers besides a pointer. A header of its
 * own, since rseq_types.h puts it into memory that each mm has for each CPU.
 */
#ifndef _LINUX_MMU_NOTIFIER_TYPES_H
#define _LINUX_MMU_NOTIFIER_TYPES_H

#ifdef CONFIG_MMU_NOTIFIER

/**
 * enum mmu_count - why an invalidation is only counted, not tracked
 * @MMU_COUNT_UNSEEN: it saw no subscription
 * @MMU_COUNT_LISTED: it saw one subscription, to the whole address space
 */
enum mmu_count {
	MMU_COUNT_UNSEEN,
	MMU_COUNT_LISTED,
	NR_MMU_COUNTS
};

/**
 * struct mmu_invalidation_counts - invalidations that one CPU has seen of one mm
 * @begun: those that started there
 * @ended: those that ended there, wherever they started
 *
 * Only the sums over all CPUs mean anything, and only their difference: the
 * invalidations in flight. Changed by this_cpu_inc(), and allowed to wrap.
 */
struct mmu_invalidation_counts {
	unsigned int begun[NR_MMU_COUNTS];
	unsigned int ended[NR_MMU_COUNTS];
};

#else

struct mmu_invalidation_counts { };

#endif /* CONFIG_MMU_NOTIFIER */

#endif /* _LINUX_MMU_NOTIFIER_TYPES_H */
