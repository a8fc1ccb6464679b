// SPDX-License-Identifier: GPL-2.0
// Linux 4.14 to 5.7: the driver chose where a slot keeps the pfn
// error: has no member named 'pfn_shift'
#include <linux/hmm.h>

struct hmm_range probe = {
	.pfn_shift = 4,
};
