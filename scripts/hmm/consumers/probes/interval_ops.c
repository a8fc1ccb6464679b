// SPDX-License-Identifier: GPL-2.0
#include <linux/mmu_notifier.h>
#include "probe.h"

HAS_FIELD(struct mmu_interval_notifier, mm, struct mm_struct *);
HAS_FIELD(struct mmu_interval_notifier, ops,
	  const struct mmu_interval_notifier_ops *);
HAS_FIELD(struct mmu_interval_notifier, interval_tree,
	  struct interval_tree_node);
HAS_FIELD(struct mmu_interval_notifier, invalidate_seq, unsigned long);

struct probe_mirror {
	struct mmu_interval_notifier notifier;
	unsigned long first, last;
};

static bool probe_invalidate(struct mmu_interval_notifier *notifier,
			     const struct mmu_notifier_range *range,
			     unsigned long seq)
{
	struct probe_mirror *mirror =
		container_of(notifier, struct probe_mirror, notifier);

	if (!mmu_notifier_range_blockable(range))
		return false;
	mmu_interval_set_seq(notifier, seq);
	mirror->first = notifier->interval_tree.start;
	mirror->last = notifier->interval_tree.last;
	return true;
}

const struct mmu_interval_notifier_ops probe_ops = {
	.invalidate = probe_invalidate,
};
