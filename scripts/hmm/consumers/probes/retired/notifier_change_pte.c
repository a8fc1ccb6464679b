// SPDX-License-Identifier: GPL-2.0
// Linux 2.6.32 to 6.9
// error: has no member named 'change_pte'
#include <linux/mmu_notifier.h>

struct mmu_notifier_ops probe = {
	.change_pte = NULL,
};
