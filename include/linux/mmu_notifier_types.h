/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Types of MMU notifiers that struct mm_struct needs. They are apart from
 * mmu_notifier.h because rseq_types.h embeds them in per-CPU memory of the mm.
 */
#ifndef _LINUX_MMU_NOTIFIER_TYPES_H
#define _LINUX_MMU_NOTIFIER_TYPES_H

#ifdef CONFIG_MMU_NOTIFIER

/*
 * enum mmu_count - the counter that an invalidation uses, chosen at its start
 * @MMU_COUNT_UNSEEN: the mm never had a subscription
 * @MMU_COUNT_LISTED: the mm had one subscription, to the whole address space
 * @MMU_COUNT_TRACKED: the invalidation gets a slot; this counter is not used
 */
enum mmu_count {
	MMU_COUNT_UNSEEN,
	MMU_COUNT_LISTED,
	MMU_COUNT_TRACKED,
	NR_MMU_COUNTS
};

/**
 * struct mmu_invalidation_count - invalidations of one mm on one CPU
 * @begun: number of invalidations that started on this CPU
 * @ended: number of invalidations that ended on this CPU
 *
 * Only the difference of their sums over all CPUs has a meaning: the number of
 * invalidations in flight. Changed by this_cpu_inc(); may wrap.
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
