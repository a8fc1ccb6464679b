/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device-exclusive access to pages of a process, as for atomic operations that
 * must not race with CPU accesses.
 */
#ifndef _LINUX_DEVICE_EXCLUSIVE_H
#define _LINUX_DEVICE_EXCLUSIVE_H

struct folio;
struct mm_struct;
struct mmu_interval_notifier;
struct mutex;
struct page;

struct page *make_device_exclusive(struct mm_struct *mm, unsigned long addr,
				   void *owner, struct folio **foliop);
long device_exclusive_make_range(struct mm_struct *mm, unsigned long start,
				 unsigned long end, struct page **pages,
				 void *owner);
void device_exclusive_put_range(struct page **pages, unsigned long npages);

/**
 * struct device_exclusive_commit - make a range exclusive and program the device
 * @notifier: subscription whose interval holds the range
 * @start: first address
 * @end: end of the range, exclusive
 * @owner: in &mmu_notifier_range.owner of the %MMU_NOTIFY_EXCLUSIVE event of
 *	this, which the notifier's callback must ignore
 * @timeout: in jiffies, for all attempts together, such as
 *	%HMM_RANGE_DEFAULT_JIFFIES; %MAX_SCHEDULE_TIMEOUT for no limit
 * @mutex: the lock that the notifier's invalidate callback takes
 * @program: called under @mutex for @npages pages from @addr on, which are
 *	exclusive until an invalidation removes them, and at least until this
 *	returns. Called for each page once, unless the range has to be tried
 *	again after -EAGAIN, which this may return.
 *
 * Usually embedded in a structure with what the callback needs.
 */
struct device_exclusive_commit {
	struct mmu_interval_notifier *notifier;
	unsigned long start;
	unsigned long end;
	void *owner;
	unsigned long timeout;
	struct mutex *mutex;	/* the driver's */
	int (*program)(struct device_exclusive_commit *commit,
		       unsigned long addr, struct page **pages,
		       unsigned long npages);
};

int device_exclusive_commit(struct device_exclusive_commit *commit);

#endif /* _LINUX_DEVICE_EXCLUSIVE_H */
