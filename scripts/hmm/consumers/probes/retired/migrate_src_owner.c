// SPDX-License-Identifier: GPL-2.0
// Linux 5.7 and 5.8
// error: has no member named 'src_owner'
#include <linux/migrate.h>

struct migrate_vma probe = {
	.src_owner = NULL,
};
