// SPDX-License-Identifier: GPL-2.0
/*
 * Subscriptions to the whole address space under torture. Each has a mirror of
 * the arena: a page read while no overlapping invalidation was in flight must
 * stay in the page table until the subscription is notified.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "hmm_torture.h"

#define ALIVE	0x7473696cUL
#define GONE	0x676f6e65UL

#define ROUNDS	6	/* of reading and checking */

/**
 * struct torture_lister - a subscription to the whole address space
 * @magic: whether it may be called
 * @notifier: the subscription
 * @torture: its process
 * @lock: the driver's lock, of the pages
 * @inflight: invalidations whose start callback was called, but not yet the end
 * @pages: of the arena; @busy is the number of @inflight that overlap the page,
 *	@seq of those that ever did, and @pfn the mirror: 0 for none
 * @dead_link: in &torture.dead_listers
 */
struct torture_lister {
	unsigned long magic;
	struct mmu_notifier notifier;
	struct torture *torture;
	spinlock_t lock;	/* the driver's, of the pages */
	atomic_t inflight;
	struct torture_page {
		unsigned int busy;
		unsigned int seq;
		unsigned long pfn;
	} pages[HMM_TORTURE_PAGES];
	struct list_head dead_link;
};

static struct torture_lister *lister_of(struct mmu_notifier *notifier)
{
	return container_of(notifier, struct torture_lister, notifier);
}

/* Pages of the arena that are invalidated: from @first, below @end */
static void pages_of(const struct torture_lister *lister,
		     const struct mmu_notifier_range *range,
		     unsigned int *first, unsigned int *end)
{
	unsigned long arena = lister->torture->start;
	unsigned long arena_end = arena + HMM_TORTURE_PAGES * PAGE_SIZE;
	unsigned long from = clamp(range->start, arena, arena_end);
	unsigned long to = clamp(range->end, arena, arena_end);

	*first = (from - arena) >> PAGE_SHIFT;
	*end = (PAGE_ALIGN(to) - arena) >> PAGE_SHIFT;
}

/* Callbacks */

static int lister_start(struct mmu_notifier *notifier,
			const struct mmu_notifier_range *range)
{
	struct torture_lister *lister = lister_of(notifier);
	unsigned int page, end;

	if (READ_ONCE(lister->magic) != ALIVE) {
		torture_fail("a list callback of a subscription that is gone");
		return 0;
	}
	atomic_inc(&lister->inflight);
	pages_of(lister, range, &page, &end);
	spin_lock(&lister->lock);
	for (; page < end; page++) {
		lister->pages[page].busy++;
		lister->pages[page].seq++;
		lister->pages[page].pfn = 0;
	}
	spin_unlock(&lister->lock);
	return 0;
}

static void lister_end(struct mmu_notifier *notifier,
		       const struct mmu_notifier_range *range)
{
	struct torture_lister *lister = lister_of(notifier);
	unsigned int page, end;

	if (READ_ONCE(lister->magic) != ALIVE) {
		torture_fail("an end for a subscription that is gone");
		return;
	}
	if (atomic_dec_return(&lister->inflight) < 0)
		torture_fail("an end without a start");
	pages_of(lister, range, &page, &end);
	spin_lock(&lister->lock);
	for (; page < end; page++)
		if (!lister->pages[page].busy--)
			torture_fail("an end of pages without a start");
	spin_unlock(&lister->lock);
}

static const struct mmu_notifier_ops lister_ops = {
	.invalidate_range_start = lister_start,
	.invalidate_range_end = lister_end,
};

/* The mirror */

static void lister_read(struct torture_lister *lister)
{
	struct torture *torture = lister->torture;
	unsigned int number = torture_dice(torture, HMM_TORTURE_PAGES);
	struct torture_page *page = &lister->pages[number];
	unsigned long pfn;
	unsigned int seq;
	bool busy;

	spin_lock(&lister->lock);
	busy = page->busy;
	seq = page->seq;
	spin_unlock(&lister->lock);
	if (busy)
		return;
	pfn = torture_pfn_by_gup(torture->start + number * PAGE_SIZE);
	if (!pfn)
		return;
	guard(spinlock)(&lister->lock);
	if (page->busy || page->seq != seq)
		return;
	if (page->pfn && page->pfn != pfn)
		torture_fail("a list mirror was not notified of a change");
	page->pfn = pfn;
	torture_count(HMM_TORTURE_LIST_READS);
}

/* Entries change after the callbacks, which empty the mirror. */
static void lister_check(struct torture_lister *lister)
{
	unsigned int number;

	guard(spinlock)(&lister->lock);
	for (number = 0; number < HMM_TORTURE_PAGES; number++) {
		unsigned long pfn = lister->pages[number].pfn;
		unsigned long now;

		if (!pfn)
			continue;
		now = torture_pfn_now(lister->torture->start +
				      number * PAGE_SIZE);
		if (!now)
			torture_fail("a list mirror has a page that is gone");
		else if (now != pfn)
			torture_fail("a list mirror has another page than the CPU");
		torture_count(HMM_TORTURE_LIST_CHECKS);
	}
}

static void lister_mirror(struct torture_lister *lister)
{
	struct torture *torture = lister->torture;
	unsigned int round, reads;

	for (round = 0; round < ROUNDS; round++) {
		for (reads = 0; reads < 8; reads++)
			lister_read(lister);
		usleep_range(50, 100 + torture_dice(torture, 800));
		lister_check(lister);
	}
}

/* Life */

static int lister_register(struct torture_lister *lister)
{
	struct mm_struct *mm = lister->torture->mm;
	int ret;

	if (torture_dice(lister->torture, 4))
		return mmu_notifier_register(&lister->notifier, mm);
	ret = mmap_write_lock_killable(mm);
	if (ret)
		return ret;
	ret = __mmu_notifier_register(&lister->notifier, mm);
	mmap_write_unlock(mm);
	return ret;
}

/* Not freed, so that a late call of it is reported and does not crash. */
static void lister_bury(struct torture_lister *lister)
{
	struct torture *torture = lister->torture;

	WRITE_ONCE(lister->magic, GONE);
	spin_lock(&torture->dead_lock);
	list_add(&lister->dead_link, &torture->dead_listers);
	spin_unlock(&torture->dead_lock);
}

int torture_list(struct torture *torture)
{
	struct torture_lister *lister = kzalloc_obj(*lister);
	int ret;

	if (!lister)
		return -ENOMEM;
	lister->magic = ALIVE;
	lister->torture = torture;
	lister->notifier.ops = &lister_ops;
	spin_lock_init(&lister->lock);
	ret = lister_register(lister);
	if (!ret) {
		lister_mirror(lister);
		mmu_notifier_unregister(&lister->notifier, torture->mm);
		torture_count(HMM_TORTURE_LISTS);
	} else if (ret == -EINTR) {
		if (!fatal_signal_pending(current))
			torture_fail("register was interrupted by nothing");
		torture_count(HMM_TORTURE_LISTS_KILLED);
	}
	lister_bury(lister);
	return ret;
}

void torture_free_dead_listers(struct torture *torture)
{
	struct torture_lister *lister, *next;

	list_for_each_entry_safe(lister, next, &torture->dead_listers, dead_link)
		kfree(lister);
}

/* A crowd: so many invalidations in flight that the core has to count them. */

static int sleeper_start(struct mmu_notifier *sleeper,
			 const struct mmu_notifier_range *range)
{
	struct torture *torture = container_of(sleeper, struct torture,
					       sleeper);
	unsigned long arena_end = torture->start +
				  HMM_TORTURE_PAGES * PAGE_SIZE;

	if (mmu_notifier_range_blockable(range) &&
	    (range->start >= arena_end || range->end <= torture->start))
		usleep_range(10000, 20000);
	return 0;
}

static const struct mmu_notifier_ops sleeper_ops = {
	.invalidate_range_start = sleeper_start,
};

int torture_gather(struct torture *torture)
{
	if (!torture->crowd)
		return 0;
	torture->sleeper.ops = &sleeper_ops;
	return mmu_notifier_register(&torture->sleeper, torture->mm);
}

void torture_disperse(struct torture *torture)
{
	if (torture->crowd)
		mmu_notifier_unregister(&torture->sleeper, torture->mm);
}
