// SPDX-License-Identifier: GPL-2.0
#include <linux/mmu_notifier.h>
#include "probe.h"

HAS_CALL(mmu_interval_notifier_insert,
	 int (struct mmu_interval_notifier *, struct mm_struct *,
	      unsigned long, unsigned long,
	      const struct mmu_interval_notifier_ops *));
HAS_CALL(mmu_interval_notifier_insert_locked,
	 int (struct mmu_interval_notifier *, struct mm_struct *,
	      unsigned long, unsigned long,
	      const struct mmu_interval_notifier_ops *));
HAS_CALL(mmu_interval_notifier_remove, void (struct mmu_interval_notifier *));
HAS_CALL(mmu_interval_read_begin,
	 unsigned long (struct mmu_interval_notifier *));
HAS_CALL(mmu_interval_read_retry,
	 bool (struct mmu_interval_notifier *, unsigned long));
HAS_CALL(mmu_interval_check_retry,
	 bool (struct mmu_interval_notifier *, unsigned long));
HAS_CALL(mmu_interval_set_seq,
	 void (struct mmu_interval_notifier *, unsigned long));
