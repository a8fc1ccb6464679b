// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * device_exclusive_commit(): make a range exclusive and program the device,
 * within one deadline.
 *
 * The folio locks keep CPU faults from restoring entries before the device is
 * programmed, but not an madvise() from zapping them: hence the sequence.
 * Faulting a page in counts as a change too, so the first attempt on pages that
 * are not yet writable fails; the next one finds them exclusive and leaves them
 * so.
 *
 * A range is made exclusive in steps. The more pages a step has, the likelier is
 * an invalidation of one of them: each time that happens, the next attempt has
 * about half as many.
 */
#include <linux/device_exclusive.h>
#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "deadline.h"

#define EXCLUSIVE_STEP_PAGES	PTRS_PER_PTE

/* How many pages were made exclusive: those before the first gap */
static unsigned long exclusive_commit_count(struct page **pages,
					    unsigned long npages)
{
	unsigned long nr = 0;

	while (nr < npages && pages[nr])
		nr++;
	return nr;
}

/* The pages' folios are locked. */
static int exclusive_commit_program(struct device_exclusive_commit *commit,
				    unsigned long addr, unsigned long seq,
				    struct page **pages, unsigned long npages)
{
	int ret = mutex_lock_killable(commit->mutex);

	if (ret)
		return ret;
	if (mmu_interval_read_retry(commit->notifier, seq))
		ret = -EAGAIN;
	else
		ret = commit->program(commit, addr, pages, npages);
	mutex_unlock(commit->mutex);
	return ret;
}

/* mmap_lock is held. Returns the number of pages, or an errno. */
static long exclusive_commit_locked(struct device_exclusive_commit *commit,
				    unsigned long addr, unsigned long seq,
				    struct page **pages, unsigned long npages)
{
	unsigned long nr;
	long ret;
	int err;

	/* An invalidation may have collided while this waited for the lock. */
	if (mmu_interval_check_retry(commit->notifier, seq))
		return -EAGAIN;
	ret = device_exclusive_make_range(commit->notifier->mm, addr,
					  addr + npages * PAGE_SIZE, pages,
					  commit->owner);
	if (ret == -EBUSY || !ret)
		return -EAGAIN;
	if (ret < 0)
		return ret;
	nr = exclusive_commit_count(pages, npages);
	err = exclusive_commit_program(commit, addr, seq, pages, nr);
	device_exclusive_put_range(pages, npages);
	return err ?: nr;
}

static long exclusive_commit_try(struct device_exclusive_commit *commit,
				 unsigned long addr, unsigned long deadline,
				 struct page **pages, unsigned long npages)
{
	unsigned long left = hmm_deadline_left(commit->timeout, deadline);
	struct mm_struct *mm = commit->notifier->mm;
	unsigned long seq;
	long ret;

	ret = mmu_interval_read_begin_timeout(commit->notifier, left, &seq);
	if (ret)
		return ret == -ETIMEDOUT ? -EBUSY : ret;
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	ret = exclusive_commit_locked(commit, addr, seq, pages, npages);
	mmap_read_unlock(mm);
	return ret;
}

/* Repeat until the first page is programmed, and perhaps some after it. */
static long exclusive_commit_step(struct device_exclusive_commit *commit,
				  unsigned long addr, unsigned long deadline,
				  struct page **pages, unsigned long npages)
{
	bool again = false;
	long ret;

	for (;;) {
		ret = exclusive_commit_try(commit, addr, deadline, pages,
					   npages);
		if (ret != -EAGAIN)
			return ret;
		if (fatal_signal_pending(current))
			return -EINTR;
		if (!hmm_deadline_left(commit->timeout, deadline))
			return -EBUSY;
		cond_resched();
		if (again)
			npages = DIV_ROUND_UP(npages, 2);
		again = true;
	}
}

/**
 * device_exclusive_commit() - make a range exclusive and program the device
 * @commit: the range, the lock and the callback
 *
 * device_exclusive_make_range(), the driver's lock, mmu_interval_read_retry()
 * and &device_exclusive_commit.program, for one part of the range after the
 * other, again until no invalidation collides. A CPU access may end the
 * exclusive access to the first parts before the last ones are programmed.
 *
 * &device_exclusive_commit.timeout limits how long this waits for invalidations
 * and tries again after them. Waiting for mmap_lock, for the driver's lock and
 * for folio locks is killable, but has no limit; nor have page faults.
 *
 * Context: Process context, may sleep. The caller holds neither mmap_lock nor
 * &device_exclusive_commit.mutex, and keeps the mm alive.
 *
 * Return: 0 if all pages have been exclusive and programmed; the error of
 * @program; -EBUSY if the deadline has passed, -EINTR after a fatal signal,
 * -ENOMEM, -EINVAL for an empty or unaligned range, or an error of
 * device_exclusive_make_range().
 */
int device_exclusive_commit(struct device_exclusive_commit *commit)
{
	unsigned long deadline = jiffies + commit->timeout;
	unsigned long addr = commit->start, npages;
	struct page **pages;
	long ret = 0;

	if (addr >= commit->end || !PAGE_ALIGNED(addr | commit->end))
		return -EINVAL;
	pages = kmalloc_array(EXCLUSIVE_STEP_PAGES, sizeof(*pages),
			      GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	while (addr < commit->end && ret >= 0) {
		npages = (pmd_addr_end(addr, commit->end) - addr) >> PAGE_SHIFT;
		ret = exclusive_commit_step(commit, addr, deadline, pages,
					    npages);
		if (ret > 0)
			addr += ret << PAGE_SHIFT;
	}
	kfree(pages);
	return min(ret, 0L);
}
EXPORT_SYMBOL_GPL(device_exclusive_commit);
