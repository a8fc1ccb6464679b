// SPDX-License-Identifier: GPL-2.0
#include <linux/mmu_notifier.h>
#include "probe.h"

HAS_FIELD(struct mmu_notifier_range, mm, struct mm_struct *);
HAS_FIELD(struct mmu_notifier_range, start, unsigned long);
HAS_FIELD(struct mmu_notifier_range, end, unsigned long);
HAS_FIELD(struct mmu_notifier_range, flags, unsigned int);
HAS_FIELD(struct mmu_notifier_range, event, enum mmu_notifier_event);
HAS_FIELD(struct mmu_notifier_range, owner, void *);

HAS_VALUE(MMU_NOTIFY_UNMAP, 0);
HAS_VALUE(MMU_NOTIFY_CLEAR, 1);
HAS_VALUE(MMU_NOTIFY_PROTECTION_VMA, 2);
HAS_VALUE(MMU_NOTIFY_PROTECTION_PAGE, 3);
HAS_VALUE(MMU_NOTIFY_SOFT_DIRTY, 4);
HAS_VALUE(MMU_NOTIFY_RELEASE, 5);
HAS_VALUE(MMU_NOTIFY_MIGRATE, 6);
HAS_VALUE(MMU_NOTIFY_EXCLUSIVE, 7);
HAS_VALUE(MMU_NOTIFIER_RANGE_BLOCKABLE, 1);

HAS_CALL(mmu_notifier_range_blockable,
	 bool (const struct mmu_notifier_range *));
HAS_CALL(mmu_notifier_range_init,
	 void (struct mmu_notifier_range *, enum mmu_notifier_event,
	       unsigned int, struct mm_struct *, unsigned long,
	       unsigned long));
HAS_CALL(mmu_notifier_range_init_owner,
	 void (struct mmu_notifier_range *, enum mmu_notifier_event,
	       unsigned int, struct mm_struct *, unsigned long, unsigned long,
	       void *));
HAS_CALL(mmu_notifier_invalidate_range_start,
	 void (struct mmu_notifier_range *));
HAS_CALL(mmu_notifier_invalidate_range_end,
	 void (struct mmu_notifier_range *));
