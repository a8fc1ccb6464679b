// SPDX-License-Identifier: GPL-2.0
// Linux 5.1 to 6.2
// error: too many arguments to function 'mmu_notifier_range_init'
#include <linux/mmu_notifier.h>

static void __used probe(struct mmu_notifier_range *range, struct vm_area_struct *vma)
{
	mmu_notifier_range_init(range, MMU_NOTIFY_CLEAR, 0, vma, vma->vm_mm, 0, 1);
}
