/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PAGEMAP_SCAN for machines whose headers are older
 */
#ifndef _HMM_PAGEMAP_H
#define _HMM_PAGEMAP_H

#include <linux/const.h>
#include <linux/fs.h>
#include <linux/types.h>

#ifndef PAGEMAP_SCAN
#define PAGEMAP_SCAN		_IOWR('f', 16, struct pm_scan_arg)
#define PM_SCAN_WP_MATCHING	_BITULL(0)
#define PM_SCAN_CHECK_WPASYNC	_BITULL(1)
#define PAGE_IS_WRITTEN		_BITULL(1)
#define PAGE_IS_SOFT_DIRTY	_BITULL(7)

struct page_region {
	__u64 start;
	__u64 end;
	__u64 categories;
};

struct pm_scan_arg {
	__u64 size;
	__u64 flags;
	__u64 start;
	__u64 end;
	__u64 walk_end;
	__u64 vec;
	__u64 vec_len;
	__u64 max_pages;
	__u64 category_inverted;
	__u64 category_mask;
	__u64 category_anyof_mask;
	__u64 return_mask;
};
#endif

#endif /* _HMM_PAGEMAP_H */
