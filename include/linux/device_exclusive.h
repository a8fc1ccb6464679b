/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of a process that a device has for itself, as for atomic operations that
 * the CPU must not get in between of.
 */
#ifndef _LINUX_DEVICE_EXCLUSIVE_H
#define _LINUX_DEVICE_EXCLUSIVE_H

struct folio;
struct mm_struct;
struct page;

struct page *make_device_exclusive(struct mm_struct *mm, unsigned long addr,
				   void *owner, struct folio **foliop);
long device_exclusive_make_range(struct mm_struct *mm, unsigned long start,
				 unsigned long end, struct page **pages,
				 void *owner);
void device_exclusive_put_range(struct page **pages, unsigned long npages);

#endif /* _LINUX_DEVICE_EXCLUSIVE_H */
