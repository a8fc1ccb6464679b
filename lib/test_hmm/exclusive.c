// SPDX-License-Identifier: GPL-2.0
/*
 * Exclusive access of the device, as for atomic operations: the CPU's entries
 * are replaced, and an access by a CPU restores them.
 *
 * A range is made exclusive a step at a time. The more pages a step has, the
 * likelier it is that a CPU accesses one before all are in the table: each time
 * that happens, the next attempt has about half as many.
 */
#include <linux/device_exclusive.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "test_hmm.h"

#define ATTEMPTS	64

/* A fault point counts pages: after how many of @npages does it fire? */
static unsigned long dmirror_failpoint_pass(struct dmirror_call *call, unsigned int point,
					    unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages && !dmirror_fails(call->file, point); i++)
		;
	return i;
}

/* Store pages that are exclusive now in the table; their folios are locked. */
static int dmirror_exclusive_map(struct dmirror_call *call, unsigned long addr, unsigned long seq,
				 struct page **pages, unsigned long npages)
{
	struct dmirror *mirror = call->mirror;
	bool fails = dmirror_failpoint_pass(call, HMM_DMIRROR_FAIL_LOCK, npages) < npages;
	unsigned long i;
	int ret = 0;

	mutex_lock(&mirror->lock);
	if (mmu_interval_read_retry(&mirror->notifier, seq) || fails)
		ret = -EAGAIN;
	for (i = 0; i < npages && !ret; i++)
		ret = dmirror_table_set(mirror, (addr >> PAGE_SHIFT) + i, pages[i], DMIRROR_ATOMIC);
	mutex_unlock(&mirror->lock);

	if (ret == -EAGAIN)
		dmirror_count(mirror->device, DMIRROR_COLLISIONS, 1);
	return ret;
}

/* Memory for the table's entries */
static int dmirror_exclusive_reserve(struct dmirror_call *call, unsigned long addr,
				     unsigned long npages)
{
	struct xarray *table = &call->mirror->table;
	unsigned long i;
	int ret = 0;

	for (i = 0; i < npages && !ret; i++)
		ret = xa_reserve(table, (addr >> PAGE_SHIFT) + i, GFP_KERNEL);
	return ret;
}

/*
 * One attempt. Returns how many pages were made exclusive, at least one, or
 * -EAGAIN if an invalidation collided, or another errno.
 */
static long dmirror_exclusive_try(struct dmirror_call *call, unsigned long addr,
				  struct page **pages,
				  unsigned long npages)
{
	struct dmirror *mirror = call->mirror;
	struct mm_struct *mm = mirror->notifier.mm;
	unsigned long seq;
	long ret;
	int err;

	ret = dmirror_exclusive_reserve(call, addr, npages);
	if (ret)
		return ret;

	/*
	 * The folio locks keep CPU faults from restoring entries before the
	 * pages are in the table, but not an madvise() from zapping them: hence
	 * seq.
	 */
	seq = mmu_interval_read_begin(&mirror->notifier);
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	/* An invalidation may have collided while this waited. */
	if (mmu_interval_check_retry(&mirror->notifier, seq)) {
		mmap_read_unlock(mm);
		return -EAGAIN;
	}
	ret = device_exclusive_make_range(mm, addr, addr + npages * PAGE_SIZE, pages, mirror);
	if (ret > 0) {
		for (ret = 0; ret < npages && pages[ret]; ret++)
			;
		err = dmirror_exclusive_map(call, addr, seq, pages, ret);
		device_exclusive_put_range(pages, npages);
		ret = err ?: ret;
	}
	mmap_read_unlock(mm);
	return ret;
}

/*
 * Repeat until the first page stays exclusive, and perhaps some after it.
 * Faulting a page in counts as a change, so an attempt fails if pages are not
 * yet writable; the next one finds them exclusive and leaves them so.
 */
static long dmirror_exclusive_retry(struct dmirror_call *call, unsigned long addr,
				    struct page **pages,
				    unsigned long npages)
{
	unsigned int attempt;
	long ret;

	for (attempt = 0; attempt < ATTEMPTS; attempt++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		ret = dmirror_exclusive_try(call, addr, pages, npages);
		if (ret != -EAGAIN && ret != -EBUSY)
			return ret;
		if (attempt)
			npages = DIV_ROUND_UP(npages, 2);
	}
	return -EBUSY;
}

/**
 * dmirror_make_exclusive() - make a range exclusive to the device
 * @call: the command
 *
 * Return: 0 or an errno. After 0, each page was exclusive for a moment at least.
 */
int dmirror_make_exclusive(struct dmirror_call *call)
{
	unsigned long addr = call->start, end, npages, nr;
	struct page **pages;
	long ret = 0;

	pages = kmalloc_array(DMIRROR_STEP_PAGES, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	while (addr < call->end && ret >= 0) {
		end = dmirror_step_end(addr, call->end);
		npages = (end - addr) >> PAGE_SHIFT;
		nr = dmirror_failpoint_pass(call, HMM_DMIRROR_FAIL_TABLE, npages);
		ret = nr ? dmirror_exclusive_retry(call, addr, pages, nr) : 0;
		if (ret > 0)
			addr += ret << PAGE_SHIFT;
		if (ret >= 0 && nr < npages)
			ret = -ENOMEM;
	}
	kfree(pages);
	return ret < 0 ? ret : 0;
}

/**
 * dmirror_exclusive() - HMM_DMIRROR_EXCLUSIVE
 * @call: the command
 *
 * Return: 0 or an errno.
 */
int dmirror_exclusive(struct dmirror_call *call)
{
	return dmirror_make_exclusive(call) ?: dmirror_read_table(call);
}

/**
 * dmirror_check_exclusive() - HMM_DMIRROR_CHECK_EXCLUSIVE
 * @call: the command
 *
 * Return: -EPERM if a page of the range is exclusive to the device, or 0.
 */
int dmirror_check_exclusive(struct dmirror_call *call)
{
	unsigned long first = call->start >> PAGE_SHIFT;
	unsigned long last = (call->end - 1) >> PAGE_SHIFT;
	struct dmirror *mirror = call->mirror;
	unsigned long index;
	void *entry;
	int ret = 0;

	mutex_lock(&mirror->lock);
	xa_for_each_range(&mirror->table, index, entry, first, last) {
		if (xa_pointer_tag(entry) != DMIRROR_ATOMIC)
			continue;
		ret = -EPERM;
		break;
	}
	mutex_unlock(&mirror->lock);
	return ret;
}
