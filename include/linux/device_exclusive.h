/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device-exclusive access to pages of a process, as for atomic operations that
 * must not race with CPU accesses.
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
