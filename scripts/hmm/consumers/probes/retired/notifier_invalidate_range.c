// SPDX-License-Identifier: GPL-2.0
// Linux 2.6.27 to 6.5
// error: has no member named 'invalidate_range'
#include <linux/mmu_notifier.h>

struct mmu_notifier_ops probe = {
	.invalidate_range = NULL,
};
