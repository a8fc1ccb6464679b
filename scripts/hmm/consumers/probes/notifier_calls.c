// SPDX-License-Identifier: GPL-2.0
#include <linux/mmu_notifier.h>
#include "probe.h"

HAS_CALL(mmu_notifier_register, int (struct mmu_notifier *, struct mm_struct *));
HAS_CALL(__mmu_notifier_register,
	 int (struct mmu_notifier *, struct mm_struct *));
HAS_CALL(mmu_notifier_unregister,
	 void (struct mmu_notifier *, struct mm_struct *));
HAS_CALL(mmu_notifier_get,
	 struct mmu_notifier *(const struct mmu_notifier_ops *,
			       struct mm_struct *));
HAS_CALL(mmu_notifier_get_locked,
	 struct mmu_notifier *(const struct mmu_notifier_ops *,
			       struct mm_struct *));
HAS_CALL(mmu_notifier_put, void (struct mmu_notifier *));
HAS_CALL(mmu_notifier_synchronize, void (void));

HAS_FIELD(struct mmu_notifier, mm, struct mm_struct *);
HAS_FIELD(struct mmu_notifier, ops, const struct mmu_notifier_ops *);

HAS_FIELD(struct mmu_notifier_ops, release,
	  void (*)(struct mmu_notifier *, struct mm_struct *));
HAS_FIELD(struct mmu_notifier_ops, clear_flush_young,
	  bool (*)(struct mmu_notifier *, struct mm_struct *, unsigned long,
		   unsigned long));
HAS_FIELD(struct mmu_notifier_ops, clear_young,
	  bool (*)(struct mmu_notifier *, struct mm_struct *, unsigned long,
		   unsigned long));
HAS_FIELD(struct mmu_notifier_ops, test_young,
	  bool (*)(struct mmu_notifier *, struct mm_struct *, unsigned long));
HAS_FIELD(struct mmu_notifier_ops, invalidate_range_start,
	  int (*)(struct mmu_notifier *, const struct mmu_notifier_range *));
HAS_FIELD(struct mmu_notifier_ops, invalidate_range_end,
	  void (*)(struct mmu_notifier *, const struct mmu_notifier_range *));
HAS_FIELD(struct mmu_notifier_ops, arch_invalidate_secondary_tlbs,
	  void (*)(struct mmu_notifier *, struct mm_struct *, unsigned long,
		   unsigned long));
HAS_FIELD(struct mmu_notifier_ops, alloc_notifier,
	  struct mmu_notifier *(*)(struct mm_struct *));
HAS_FIELD(struct mmu_notifier_ops, free_notifier,
	  void (*)(struct mmu_notifier *));
