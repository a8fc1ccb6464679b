// SPDX-License-Identifier: GPL-2.0
// Linux 6.1 to 6.18
// error: too few arguments to function 'zone_device_page_init'
#include <linux/memremap.h>

static void __used probe(struct page *page)
{
	zone_device_page_init(page);
}
