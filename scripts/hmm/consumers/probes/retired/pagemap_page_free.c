// SPDX-License-Identifier: GPL-2.0
// Linux 5.3 to 6.18
// error: has no member named 'page_free'
#include <linux/memremap.h>

struct dev_pagemap_ops probe = {
	.page_free = NULL,
};
