// SPDX-License-Identifier: GPL-2.0
/*
 * What the threads of the process do to the subscriptions, one small thing at a
 * time. An operation that finds nothing to do is not counted and no error.
 */
#include <linux/delay.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "hmm_torture.h"

/* A lockless walk fails if an entry changes under it: try it this often. */
#define LOOKS	100

static unsigned long address_of(const struct torture *torture,
				unsigned int page)
{
	return torture->start + page * PAGE_SIZE;
}

static struct torture_slot *any_slot(struct torture *torture)
{
	return &torture->slots[torture_dice(torture, TORTURE_SLOTS)];
}

/* Reading */

/* 0 for what is not there, or not to be written to. */
unsigned long torture_pfn_by_gup(unsigned long address)
{
	unsigned long pfn;
	struct page *page;

	if (get_user_pages_fast(address, 1, FOLL_WRITE, &page) != 1)
		return 0;
	pfn = page_to_pfn(page);
	put_page(page);
	return pfn;
}

/* As a driver would do it. The copy has no address space that could be walked. */
static unsigned long pfn_by_hmm(struct torture_sub *sub, unsigned long seq,
				unsigned long address)
{
	unsigned long pfn = 0;
	struct hmm_range range = {
		.notifier = &sub->notifier,
		.notifier_seq = seq,
		.start = address,
		.end = address + PAGE_SIZE,
		.hmm_pfns = &pfn,
		.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
	};
	int ret;

	mmap_read_lock(sub->torture->real);
	ret = hmm_range_fault(&range);
	mmap_read_unlock(sub->torture->real);
	if (ret)
		return 0;
	return page_to_pfn(hmm_pfn_to_page(pfn));
}

static unsigned long look_up(struct torture_sub *sub, unsigned long seq,
			     unsigned int page)
{
	unsigned long address = address_of(sub->torture, page);

	if (!TORTURE_COPY && torture_dice(sub->torture, 2))
		return pfn_by_hmm(sub, seq, address);
	return torture_pfn_by_gup(address);
}

static int begin_reading(struct torture_sub *sub, unsigned long *seq)
{
	switch (torture_dice(sub->torture, 4)) {
	case 0:
		return mmu_interval_read_begin_killable(&sub->notifier, seq);
	case 1:
		return mmu_interval_read_begin_timeout(&sub->notifier, HZ / 10,
						       seq);
	default:
		*seq = mmu_interval_read_begin(&sub->notifier);
		return 0;
	}
}

/* What was read goes to the mirror, if nothing has happened since. */
static void put_in_mirror(struct torture_sub *sub, unsigned long seq,
			  unsigned int page, unsigned long pfn)
{
	mutex_lock(&sub->lock);
	if (mmu_interval_read_retry(&sub->notifier, seq)) {
		torture_count(HMM_TORTURE_RETRIES);
	} else if (page >= sub->first && page <= sub->last) {
		if (sub->pfns[page] && sub->pfns[page] != pfn)
			torture_fail("a page has changed behind the mirror's back");
		sub->pfns[page] = pfn;
		torture_count(HMM_TORTURE_READS);
	}
	mutex_unlock(&sub->lock);
}

static void read_pages(struct torture_sub *sub)
{
	struct torture *torture = sub->torture;
	unsigned int first = READ_ONCE(sub->first);
	unsigned int last = READ_ONCE(sub->last);
	unsigned int tries;

	/* Being resized: nothing is left */
	if (first > last)
		return;
	for (tries = 0; tries < 4; tries++) {
		unsigned int page = first + torture_dice(torture,
							 last - first + 1);
		unsigned long seq, pfn;

		if (begin_reading(sub, &seq))
			return;
		pfn = look_up(sub, seq, page);
		if (!torture_dice(torture, 4))
			usleep_range(20, 50 + torture_dice(torture, 500));
		if (pfn)
			put_in_mirror(sub, seq, page, pfn);
	}
}

static int do_read(struct torture *torture)
{
	struct torture_slot *slot = any_slot(torture);

	down_read(&slot->sem);
	if (slot->sub)
		read_pages(slot->sub);
	up_read(&slot->sem);
	return 0;
}

/* Checking */

/*
 * Takes no lock: the driver's lock is held, for which callbacks wait with
 * mmap_lock held.
 */
unsigned long torture_pfn_now(unsigned long address)
{
	unsigned int look;

	for (look = 0; look < LOOKS; look++) {
		unsigned long pfn;
		struct page *page;

		if (get_user_pages_fast_only(address, 1, FOLL_WRITE,
					     &page) == 1) {
			pfn = page_to_pfn(page);
			put_page(page);
			return pfn;
		}
		cpu_relax();
	}
	return 0;
}

/*
 * An entry changes after all callbacks, and the callback takes the page from the
 * mirror. So while the lock is held all that is in the mirror is in the page
 * table, whatever is going on.
 */
static void check_mirror(struct torture_sub *sub)
{
	unsigned int page;

	mutex_lock(&sub->lock);
	for (page = 0; page < HMM_TORTURE_PAGES; page++) {
		unsigned long pfn;

		if (!sub->pfns[page])
			continue;
		pfn = torture_pfn_now(address_of(sub->torture, page));
		if (!pfn)
			torture_fail("a mirror has a page that is gone");
		else if (pfn != sub->pfns[page])
			torture_fail("a mirror has another page than the CPU");
		torture_count(HMM_TORTURE_CHECKS);
	}
	mutex_unlock(&sub->lock);
}

static int do_check(struct torture *torture)
{
	struct torture_slot *slot = any_slot(torture);

	down_read(&slot->sem);
	if (slot->sub)
		check_mirror(slot->sub);
	up_read(&slot->sem);
	return 0;
}

/* Coming, going and moving */

static int do_insert(struct torture *torture)
{
	struct torture_slot *slot = any_slot(torture);
	int ret = 0;

	down_write(&slot->sem);
	if (!slot->sub) {
		ret = torture_insert(torture, slot, GFP_KERNEL);
		if (!ret)
			torture_count(HMM_TORTURE_INSERTS);
	}
	up_write(&slot->sem);
	return ret;
}

/* As the first reader: nothing else has waited for what is in flight. */
static int do_insert_read(struct torture *torture)
{
	struct torture_slot *slot = any_slot(torture);
	int ret = 0;

	down_write(&slot->sem);
	if (!slot->sub)
		ret = torture_insert(torture, slot, GFP_KERNEL);
	if (slot->sub) {
		read_pages(slot->sub);
		read_pages(slot->sub);
	}
	up_write(&slot->sem);
	return ret;
}

static int do_remove(struct torture *torture, bool wait)
{
	struct torture_slot *slot = any_slot(torture);
	struct torture_sub *sub;

	down_write(&slot->sem);
	sub = slot->sub;
	slot->sub = NULL;
	up_write(&slot->sem);
	if (!sub)
		return 0;
	if (wait) {
		torture_remove(sub);
		torture_count(HMM_TORTURE_REMOVES);
	} else {
		torture_remove_async(sub);
		torture_count(HMM_TORTURE_ASYNCS);
	}
	return 0;
}

/* Mirror only these pages from now on; none if @first is greater than @last. */
static void set_pages(struct torture_sub *sub, unsigned int first,
		      unsigned int last)
{
	unsigned int page;

	mutex_lock(&sub->lock);
	WRITE_ONCE(sub->first, first);
	WRITE_ONCE(sub->last, last);
	for (page = 0; page < HMM_TORTURE_PAGES; page++)
		if (page < first || page > last)
			torture_drop(sub, page, page);
	mutex_unlock(&sub->lock);
}

static void resize(struct torture_sub *sub)
{
	struct torture *torture = sub->torture;
	unsigned int first = torture_dice(torture, HMM_TORTURE_PAGES);
	unsigned int last = first + torture_dice(torture,
						 HMM_TORTURE_PAGES - first);
	unsigned int old_first = sub->first;
	unsigned int old_last = sub->last;

	WRITE_ONCE(sub->moved, true);
	/* Pairs with the barrier in begin_callback(). */
	smp_wmb();
	/*
	 * During the resize, callbacks are only certain for pages of both
	 * ranges.
	 */
	set_pages(sub, max(first, old_first), min(last, old_last));
	if (mmu_interval_notifier_resize(&sub->notifier,
					 address_of(torture, first),
					 (last - first + 1) * PAGE_SIZE)) {
		set_pages(sub, old_first, old_last);
		return;
	}
	set_pages(sub, first, last);
	torture_count(HMM_TORTURE_RESIZES);
}

static int do_resize(struct torture *torture)
{
	struct torture_slot *slot = any_slot(torture);

	down_read(&slot->sem);
	if (slot->sub && mutex_trylock(&slot->sub->resizing)) {
		resize(slot->sub);
		mutex_unlock(&slot->sub->resizing);
	}
	up_read(&slot->sem);
	return 0;
}

int torture_do(struct torture *torture, enum hmm_torture_op op)
{
	switch (op) {
	case HMM_TORTURE_READ:
		return do_read(torture);
	case HMM_TORTURE_CHECK:
		return do_check(torture);
	case HMM_TORTURE_INSERT:
		return do_insert(torture);
	case HMM_TORTURE_INSERT_READ:
		return do_insert_read(torture);
	case HMM_TORTURE_REMOVE:
		return do_remove(torture, true);
	case HMM_TORTURE_REMOVE_ASYNC:
		return do_remove(torture, false);
	case HMM_TORTURE_RESIZE:
		return do_resize(torture);
	case HMM_TORTURE_LIST:
		return torture_list(torture);
	case HMM_TORTURE_NOOP:
		return torture_noop(torture);
	case HMM_TORTURE_LONG:
		return torture_long(torture);
	case HMM_TORTURE_UNBALANCED:
		return torture_unbalanced(torture);
	default:
		return -EINVAL;
	}
}
