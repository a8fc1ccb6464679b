// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that the device takes for itself, as for atomic operations: the CPU's
 * entries are set aside, and a CPU access gets its page back at once.
 *
 * make_device_exclusive() works page by page; a range at a time belongs into
 * exclusive_page()'s place when the core can do it.
 */
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>

#include "test_hmm.h"

#define ATTEMPTS	64

/* Enter a page that the core has set aside for us; its folio is locked. */
static int exclusive_map(struct thmm_call *call, unsigned long addr, unsigned long seq,
			 struct page *page)
{
	struct thmm_mirror *mirror = call->mirror;
	bool fails = thmm_fails(call->file, HMM_DMIRROR_FAIL_LOCK);
	int ret;

	mutex_lock(&mirror->lock);
	if (mmu_interval_read_retry(&mirror->notifier, seq) || fails)
		ret = -EAGAIN;
	else
		ret = thmm_table_set(mirror, addr >> PAGE_SHIFT, page, THMM_ATOMIC);
	mutex_unlock(&mirror->lock);

	if (ret == -EAGAIN)
		thmm_count(mirror->device, THMM_COLLISIONS, 1);
	return ret;
}

/* One attempt: -EAGAIN when the page was touched by someone else meanwhile */
static int exclusive_page(struct thmm_call *call, unsigned long addr)
{
	struct thmm_mirror *mirror = call->mirror;
	struct mm_struct *mm = mirror->notifier.mm;
	struct folio *folio;
	struct page *page;
	unsigned long seq;
	int ret;

	ret = thmm_fails(call->file, HMM_DMIRROR_FAIL_TABLE) ? -ENOMEM :
	      xa_reserve(&mirror->table, addr >> PAGE_SHIFT, GFP_KERNEL);
	if (ret)
		return ret;

	/*
	 * The folio lock keeps CPU faults from taking the page back before it
	 * is in the table, but not an madvise() from zapping it: hence seq.
	 */
	seq = mmu_interval_read_begin(&mirror->notifier);
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	page = make_device_exclusive(mm, addr, mirror, &folio);
	if (IS_ERR(page)) {
		ret = PTR_ERR(page);
	} else {
		ret = exclusive_map(call, addr, seq, page);
		folio_unlock(folio);
		folio_put(folio);
	}
	mmap_read_unlock(mm);
	return ret;
}

/*
 * Repeat until the page stays. What make_device_exclusive() had to fault in
 * counts as a change, so an attempt on a page that is not plainly writable
 * fails; faulting it in for ourselves makes it so, and takes back a page that
 * the failed attempt set aside.
 */
static int exclusive_page_retry(struct thmm_call *call, unsigned long addr)
{
	unsigned int attempt;
	int ret;

	for (attempt = 0; attempt < ATTEMPTS; attempt++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		ret = exclusive_page(call, addr);
		if (ret != -EAGAIN)
			return ret;
		ret = thmm_mirror_fault(call, addr, addr + PAGE_SIZE, true, false);
		if (ret)
			return ret;
	}
	return -EBUSY;
}

/**
 * thmm_exclusive() - HMM_DMIRROR_EXCLUSIVE
 * @call: the command
 *
 * Return: 0 or an errno.
 */
int thmm_exclusive(struct thmm_call *call)
{
	unsigned long addr;
	int ret;

	for (addr = call->start; addr < call->end; addr += PAGE_SIZE) {
		ret = exclusive_page_retry(call, addr);
		if (ret)
			return ret;
	}
	return thmm_read_table(call);
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
