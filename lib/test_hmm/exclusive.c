// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that the device takes for itself, as for atomic operations: the CPU's
 * entries are set aside, and a CPU access gets its page back at once.
 *
 * A range is taken a step at a time. The more pages a step has, the likelier it
 * is that a CPU takes one back before they are in the table: each time that
 * happens the next attempt is about half as many.
 */
#include <linux/device_exclusive.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "test_hmm.h"

#define ATTEMPTS	64

/* How many pages from the first on does the device have? */
static unsigned long had(struct page **pages, unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages && pages[i]; i++)
		;
	return i;
}

/* A fault point counts pages: how many does it let pass of so many? */
static unsigned long pass(struct thmm_call *call, unsigned int point, unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages && !thmm_fails(call->file, point); i++)
		;
	return i;
}

/* Enter pages that the core has set aside for us; their folios are locked. */
static int exclusive_map(struct thmm_call *call, unsigned long addr, unsigned long seq,
			 struct page **pages, unsigned long npages)
{
	struct thmm_mirror *mirror = call->mirror;
	bool fails = pass(call, HMM_DMIRROR_FAIL_LOCK, npages) < npages;
	unsigned long i;
	int ret = 0;

	mutex_lock(&mirror->lock);
	if (mmu_interval_read_retry(&mirror->notifier, seq) || fails)
		ret = -EAGAIN;
	for (i = 0; i < npages && !ret; i++)
		ret = thmm_table_set(mirror, (addr >> PAGE_SHIFT) + i, pages[i], THMM_ATOMIC);
	mutex_unlock(&mirror->lock);

	if (ret == -EAGAIN)
		thmm_count(mirror->device, THMM_COLLISIONS, 1);
	return ret;
}

/* Memory for the table's entries */
static int exclusive_reserve(struct thmm_call *call, unsigned long addr, unsigned long npages)
{
	struct xarray *table = &call->mirror->table;
	unsigned long i;
	int ret = 0;

	for (i = 0; i < npages && !ret; i++)
		ret = xa_reserve(table, (addr >> PAGE_SHIFT) + i, GFP_KERNEL);
	return ret;
}

/*
 * One attempt: how many pages it was good for, at least one, or -EAGAIN when
 * one of them was touched by someone else meanwhile.
 */
static long exclusive_try(struct thmm_call *call, unsigned long addr, struct page **pages,
			  unsigned long npages)
{
	struct thmm_mirror *mirror = call->mirror;
	struct mm_struct *mm = mirror->notifier.mm;
	unsigned long seq;
	long ret;
	int err;

	ret = exclusive_reserve(call, addr, npages);
	if (ret)
		return ret;

	/*
	 * The folio locks keep CPU faults from taking pages back before they
	 * are in the table, but not an madvise() from zapping them: hence seq.
	 */
	seq = mmu_interval_read_begin(&mirror->notifier);
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	/*
	 * It may be in vain by now: others were in flight, or had the lock
	 * before.
	 */
	if (mmu_interval_check_retry(&mirror->notifier, seq)) {
		mmap_read_unlock(mm);
		return -EAGAIN;
	}
	ret = device_exclusive_make_range(mm, addr, addr + npages * PAGE_SIZE, pages, mirror);
	if (ret > 0) {
		ret = had(pages, npages);
		err = exclusive_map(call, addr, seq, pages, ret);
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
static long exclusive_retry(struct thmm_call *call, unsigned long addr, struct page **pages,
			    unsigned long npages)
{
	unsigned int attempt;
	long ret;

	for (attempt = 0; attempt < ATTEMPTS; attempt++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		ret = exclusive_try(call, addr, pages, npages);
		if (ret != -EAGAIN && ret != -EBUSY)
			return ret;
		if (attempt)
			npages = DIV_ROUND_UP(npages, 2);
	}
	return -EBUSY;
}

/**
 * thmm_take_exclusive() - have a range for the device alone
 * @call: the command
 *
 * Return: 0 or an errno; each page was the device's for a moment at least.
 */
int thmm_take_exclusive(struct thmm_call *call)
{
	unsigned long addr = call->start, end, npages, nr;
	struct page **pages;
	long ret = 0;

	pages = kmalloc_array(THMM_STEP_PAGES, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	while (addr < call->end && ret >= 0) {
		end = thmm_step_end(addr, call->end);
		npages = (end - addr) >> PAGE_SHIFT;
		nr = pass(call, HMM_DMIRROR_FAIL_TABLE, npages);
		ret = nr ? exclusive_retry(call, addr, pages, nr) : 0;
		if (ret > 0)
			addr += ret << PAGE_SHIFT;
		if (ret >= 0 && nr < npages)
			ret = -ENOMEM;
	}
	kfree(pages);
	return ret < 0 ? ret : 0;
}

/**
 * thmm_exclusive() - HMM_DMIRROR_EXCLUSIVE
 * @call: the command
 *
 * Return: 0 or an errno.
 */
int thmm_exclusive(struct thmm_call *call)
{
	return thmm_take_exclusive(call) ?: thmm_read_table(call);
}

/**
 * thmm_check_exclusive() - HMM_DMIRROR_CHECK_EXCLUSIVE
 * @call: the command
 *
 * Return: -EPERM when the device has a page of the range for itself, or 0.
 */
int thmm_check_exclusive(struct thmm_call *call)
{
	unsigned long first = call->start >> PAGE_SHIFT;
	unsigned long last = (call->end - 1) >> PAGE_SHIFT;
	struct thmm_mirror *mirror = call->mirror;
	unsigned long index;
	void *entry;
	int ret = 0;

	mutex_lock(&mirror->lock);
	xa_for_each_range(&mirror->table, index, entry, first, last) {
		if (xa_pointer_tag(entry) != THMM_ATOMIC)
			continue;
		ret = -EPERM;
		break;
	}
	mutex_unlock(&mirror->lock);
	return ret;
}
