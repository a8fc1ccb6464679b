// SPDX-License-Identifier: GPL-2.0
// Linux 5.14 to 6.14
// error: implicit declaration of function 'make_device_exclusive_range'
#include <linux/rmap.h>

static int __used probe(struct mm_struct *mm, struct page **pages)
{
	return make_device_exclusive_range(mm, 0, PAGE_SIZE, pages, NULL);
}
