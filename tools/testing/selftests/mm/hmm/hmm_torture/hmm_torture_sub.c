// SPDX-License-Identifier: GPL-2.0
/*
 * A subscription under torture: its callbacks, and its life from insertion until
 * it is freed, some time after its removal.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "hmm_torture.h"

#define ALIVE	0x6d697272UL
#define GONE	0x676f6e65UL

/* How many of the dead are kept */
#define DEAD_KEPT	512

/**
 * struct torture_finish - what a first pass leaves to the second
 * @finish: the core's
 * @start: what is invalidated
 * @end: the last byte + 1
 * @may_sleep: in the second pass as well
 */
struct torture_finish {
	struct mmu_interval_notifier_finish finish;
	unsigned long start;
	unsigned long end;
	bool may_sleep;
};

static struct torture_sub *sub_of(struct mmu_interval_notifier *notifier)
{
	return container_of(notifier, struct torture_sub, notifier);
}

/*
 * Remove pages from the mirror. The caller holds the driver's lock, or has not
 * made @sub visible to others yet.
 */
void torture_drop(struct torture_sub *sub, unsigned int first,
		  unsigned int last)
{
	unsigned int page;

	for (page = first; page <= last; page++)
		sub->pfns[page] = 0;
}

static void drop_addresses(struct torture_sub *sub, unsigned long start,
			   unsigned long end)
{
	unsigned long arena = sub->torture->start;
	unsigned long behind = arena + HMM_TORTURE_PAGES * PAGE_SIZE;

	start = max(start, arena);
	end = min(end, behind);
	if (start < end)
		torture_drop(sub, (start - arena) >> PAGE_SHIFT,
			     (end - 1 - arena) >> PAGE_SHIFT);
}

/* Callbacks */

static void sometimes_sleep(struct torture *torture, bool may_sleep)
{
	if (may_sleep && !torture_dice(torture, 12))
		usleep_range(50, 100 + torture_dice(torture, 1000));
}

/* False if the subscription is gone. */
static bool begin_callback(struct torture_sub *sub,
			   const struct mmu_notifier_range *range)
{
	const struct interval_tree_node *span = &sub->notifier.interval_tree;
	bool overlaps;

	if (READ_ONCE(sub->magic) != ALIVE) {
		torture_fail("a callback of a subscription that is gone");
		return false;
	}
	atomic_inc(&sub->running);
	torture_count(HMM_TORTURE_CALLBACKS);
	if (range->event == MMU_NOTIFY_RELEASE)
		torture_count(HMM_TORTURE_EXITS);
	if (!mmu_notifier_range_blockable(range))
		torture_count(HMM_TORTURE_NONBLOCKING);

	overlaps = range->start <= READ_ONCE(span->last) &&
		   READ_ONCE(span->start) <= range->end - 1;
	/* Pairs with the barrier in resize(), before the range changes. */
	smp_rmb();
	if (!overlaps && !READ_ONCE(sub->moved))
		torture_fail("a callback of one that does not overlap");
	return true;
}

static void end_callback(struct torture_sub *sub)
{
	if (READ_ONCE(sub->magic) != ALIVE)
		torture_fail("a subscription went during its callback");
	atomic_dec(&sub->running);
}

/* @slot is empty, and held for writing. */
static void insert_from_callback(struct torture *torture,
				 struct torture_slot *slot)
{
	/* No new subscriptions while the address space exits. */
	if (READ_ONCE(torture->ending) || !mmget_not_zero(torture->mm))
		return;
	/* Not to reclaim, which may be what we are called for. */
	if (!torture_insert(torture, slot, GFP_NOWAIT))
		torture_count(HMM_TORTURE_CALLBACK_INSERTS);
	mmput_async(torture->mm);
}

/*
 * Only wait for a single-pass callback, and not for one that may be waiting for
 * this one: a callback only waits for those of higher slots.
 */
static void remove_from_callback(struct torture_sub *sub,
				 struct torture_sub *victim, bool may_sleep)
{
	if (may_sleep && !victim->two_pass && sub->slot < victim->slot &&
	    torture_dice(sub->torture, 2)) {
		torture_remove(victim);
		torture_count(HMM_TORTURE_CALLBACK_REMOVES);
	} else {
		torture_remove_async(victim);
		torture_count(HMM_TORTURE_FROM_CALLBACKS);
	}
}

/*
 * Remove this one or another, or insert one. A slot that is in use is left
 * alone: its reader may be waiting for the invalidation that we are in.
 */
static void sometimes_meddle(struct torture_sub *sub, bool may_sleep)
{
	struct torture *torture = sub->torture;
	struct torture_slot *slot = sub->slot;
	struct torture_sub *victim;

	if (torture->quiet || torture_dice(torture, 32))
		return;
	if (torture_dice(torture, 2))
		slot = &torture->slots[torture_dice(torture, TORTURE_SLOTS)];
	if (!down_write_trylock(&slot->sem))
		return;
	victim = slot->sub;
	slot->sub = NULL;
	if (!victim)
		insert_from_callback(torture, slot);
	up_write(&slot->sem);
	if (victim)
		remove_from_callback(sub, victim, may_sleep);
}

/*
 * What every invalidation needs: readers begin again, and pages leave the
 * mirror, unless a second pass will see to them. False if that means to sleep
 * and it is not allowed.
 */
static bool take_away(struct torture_sub *sub,
		      const struct mmu_notifier_range *range,
		      unsigned long seq, bool later)
{
	bool may_sleep = mmu_notifier_range_blockable(range);

	sometimes_sleep(sub->torture, may_sleep);
	if (may_sleep) {
		mutex_lock(&sub->lock);
	} else if (!torture_dice(sub->torture, 8) ||
		   !mutex_trylock(&sub->lock)) {
		torture_count(HMM_TORTURE_REFUSALS);
		return false;
	}
	mmu_interval_set_seq(&sub->notifier, seq);
	if (!later)
		drop_addresses(sub, range->start, range->end);
	mutex_unlock(&sub->lock);

	/* Entries change after the last callback; others may read before. */
	sometimes_sleep(sub->torture, may_sleep);
	sometimes_meddle(sub, may_sleep);
	return true;
}

static bool torture_invalidate(struct mmu_interval_notifier *notifier,
			       const struct mmu_notifier_range *range,
			       unsigned long seq)
{
	struct torture_sub *sub = sub_of(notifier);
	bool done;

	if (!begin_callback(sub, range))
		return true;
	done = take_away(sub, range, seq, false);
	end_callback(sub);
	return done;
}

static bool torture_invalidate_start(struct mmu_interval_notifier *notifier,
				     const struct mmu_notifier_range *range,
				     unsigned long seq,
				     struct mmu_interval_notifier_finish **left)
{
	struct torture_sub *sub = sub_of(notifier);
	struct torture_finish *finish;
	bool done;

	if (!begin_callback(sub, range))
		return true;
	finish = kmalloc_obj(*finish, GFP_NOWAIT);
	done = take_away(sub, range, seq,
			 finish && mmu_notifier_range_blockable(range));
	if (!done || !finish) {
		kfree(finish);
		end_callback(sub);
		return done;
	}
	finish->start = range->start;
	finish->end = range->end;
	finish->may_sleep = mmu_notifier_range_blockable(range);
	*left = &finish->finish;
	return true;
}

static void
torture_invalidate_finish(struct mmu_interval_notifier_finish *left)
{
	struct torture_finish *finish =
		container_of(left, struct torture_finish, finish);
	struct torture_sub *sub = sub_of(left->notifier);

	torture_count(HMM_TORTURE_SECOND_PASSES);
	sometimes_sleep(sub->torture, finish->may_sleep);
	/* Where it must not sleep, the first pass has done it. */
	if (finish->may_sleep) {
		mutex_lock(&sub->lock);
		drop_addresses(sub, finish->start, finish->end);
		mutex_unlock(&sub->lock);
	}
	end_callback(sub);
	kfree(finish);
}

static const struct mmu_interval_notifier_ops one_pass_ops = {
	.invalidate = torture_invalidate,
};

static const struct mmu_interval_notifier_ops two_pass_ops = {
	.invalidate_start = torture_invalidate_start,
	.invalidate_finish = torture_invalidate_finish,
};

/* Life */

/*
 * The subscription is gone. Its notifier stays intact, so that a late call is
 * reported by the callback and does not crash. Frees the oldest that was kept so.
 */
static void retire(struct torture_sub *sub)
{
	struct torture *torture = sub->torture;
	struct torture_sub *oldest = NULL;

	WRITE_ONCE(sub->magic, GONE);
	spin_lock(&torture->dead_lock);
	list_add_tail(&sub->dead_link, &torture->dead);
	if (++torture->nr_dead > DEAD_KEPT) {
		oldest = list_first_entry(&torture->dead, struct torture_sub,
					  dead_link);
		list_del(&oldest->dead_link);
		torture->nr_dead--;
	}
	/* Under the lock, which the waiter acquires before it frees all. */
	if (atomic_dec_and_test(&torture->subs))
		wake_up(&torture->idle);
	spin_unlock(&torture->dead_lock);
	kfree(oldest);
}

static void torture_released(struct mmu_interval_notifier *notifier)
{
	struct torture_sub *sub = sub_of(notifier);

	if (atomic_inc_return(&sub->released) != 1 ||
	    READ_ONCE(sub->magic) != ALIVE) {
		torture_fail("a subscription was released twice");
		return;
	}
	if (atomic_read(&sub->running))
		torture_fail("released while a callback runs");
	torture_count(HMM_TORTURE_RELEASES);
	retire(sub);
}

void torture_remove(struct torture_sub *sub)
{
	mmu_interval_notifier_remove(&sub->notifier);
	if (atomic_read(&sub->running))
		torture_fail("remove has returned while a callback runs");
	if (atomic_read(&sub->released))
		torture_fail("release was called for one that was waited for");
	retire(sub);
}

void torture_remove_async(struct torture_sub *sub)
{
	mmu_interval_notifier_remove_async(&sub->notifier, torture_released);
}

/* Insert one into an empty slot, which is held for writing. */
int torture_insert(struct torture *torture, struct torture_slot *slot,
		   gfp_t gfp)
{
	struct torture_sub *sub = kzalloc_obj(*sub, gfp);
	int ret;

	if (!sub)
		return -ENOMEM;
	sub->magic = ALIVE;
	sub->torture = torture;
	sub->slot = slot;
	sub->two_pass = !torture_dice(torture, 3);
	mutex_init(&sub->resizing);
	mutex_init(&sub->lock);
	sub->first = torture_dice(torture, HMM_TORTURE_PAGES);
	sub->last = sub->first +
		    torture_dice(torture, HMM_TORTURE_PAGES - sub->first);

	/* Callbacks may come before this returns. */
	atomic_inc(&torture->subs);
	ret = mmu_interval_notifier_insert(&sub->notifier, torture->mm,
					   torture->start +
					   sub->first * PAGE_SIZE,
					   (sub->last - sub->first + 1) *
					   PAGE_SIZE,
					   sub->two_pass ? &two_pass_ops :
							   &one_pass_ops);
	if (ret) {
		atomic_dec(&torture->subs);
		kfree(sub);
		return ret;
	}
	slot->sub = sub;
	return 0;
}

void torture_free_dead(struct torture *torture)
{
	struct torture_sub *sub, *next;

	list_for_each_entry_safe(sub, next, &torture->dead, dead_link)
		kfree(sub);
}
