// SPDX-License-Identifier: GPL-2.0
#include <linux/mmu_notifier.h>
#include "probe.h"

HAS_FIELD(struct mmu_interval_notifier_finish, notifier,
	  struct mmu_interval_notifier *);

struct probe_mirror {
	struct mmu_interval_notifier notifier;
	struct mmu_interval_notifier_finish finish;
	unsigned long seq;
};

static bool probe_start(struct mmu_interval_notifier *notifier,
			const struct mmu_notifier_range *range,
			unsigned long seq,
			struct mmu_interval_notifier_finish **finish)
{
	struct probe_mirror *mirror =
		container_of(notifier, struct probe_mirror, notifier);

	mmu_interval_set_seq(notifier, seq);
	mirror->finish.notifier = notifier;
	*finish = &mirror->finish;
	return true;
}

static void probe_finish(struct mmu_interval_notifier_finish *finish)
{
	container_of(finish, struct probe_mirror, finish)->seq = 0;
}

const struct mmu_interval_notifier_ops probe_ops = {
	.invalidate_start = probe_start,
	.invalidate_finish = probe_finish,
};
