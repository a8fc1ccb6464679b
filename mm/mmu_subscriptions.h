/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The subscriptions of an address space: shared by the two files that make up
 * the MMU notifiers, and by no others.
 */
#ifndef _MM_MMU_SUBSCRIPTIONS_H
#define _MM_MMU_SUBSCRIPTIONS_H

#include <linux/bitfield.h>
#include <linux/build_bug.h>
#include <linux/mmu_notifier.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/wait.h>

#include "mmu_interval_state.h"

/* In place of a slot: the invalidation is counted. */
#define MMU_SLOT_COUNTED	(MMU_SLOT_ODD + 1)

/**
 * struct mmu_intervals - the interval subscriptions of an address space
 * @lock: protects what follows, as far as nothing else is said,
 *	&mmu_interval_state.removed, changes to &mmu_notifier_subscriptions.list,
 *	and &mmu_notifier.users
 * @tree: the subscriptions
 * @inflight: invalidations in flight, since @tracked is set
 * @seq: the latest sequence
 * @wq: waiters for the end of an invalidation or of a callback
 * @tracked: invalidations must have a slot. Never unset; read without the lock.
 * @fenced: all CPUs have passed a barrier since @tracked was set: invalidations
 *	that start from now on have a slot. Without the lock.
 * @settled: and those without one that started before have ended. Never unset;
 *	read without the lock.
 * @visits: the invalidations that are calling subscriptions
 * @removed: subscriptions that are removed and still being called, and that are
 *	released then; chained by rb_left of their nodes
 * @pending: subscriptions that are put on the list when nothing is in flight
 */
struct mmu_intervals {
	spinlock_t lock;	/* of most that follows, and of the list */
	struct rb_root_cached tree;
	struct mmu_inflight inflight;
	unsigned long seq;
	struct wait_queue_head wq;
	bool tracked;
	bool fenced;
	bool settled;
	struct hlist_head visits;
	struct rb_node *removed;
	struct hlist_head pending;
};

/**
 * struct mmu_notifier_subscriptions - all subscriptions of an address space
 * @list: those to the whole of it; read under SRCU
 * @intervals: those to ranges of it
 *
 * Allocated for the first subscription, freed with the mm_struct.
 */
struct mmu_notifier_subscriptions {
	struct hlist_head list;
	struct mmu_intervals intervals;
};

static inline unsigned int mmu_range_slot(const struct mmu_notifier_range *range)
{
	return FIELD_GET(MMU_NOTIFIER_RANGE_SLOT, range->flags);
}

/* It is in flight from now on, and subscriptions know of it. */
static inline void mmu_range_start(struct mmu_notifier_range *range,
				   unsigned int slot)
{
	BUILD_BUG_ON(FIELD_MAX(MMU_NOTIFIER_RANGE_SLOT) < MMU_SLOT_COUNTED);
	range->flags = (range->flags & ~MMU_NOTIFIER_RANGE_SLOT) |
		       MMU_NOTIFIER_RANGE_SEEN |
		       FIELD_PREP(MMU_NOTIFIER_RANGE_SLOT, slot);
}

/* It is not in flight any more. Returns its slot. */
static inline unsigned int mmu_range_end(struct mmu_notifier_range *range)
{
	range->flags &= ~MMU_NOTIFIER_RANGE_SEEN;
	return mmu_range_slot(range);
}

/* For lockdep: to wait for an invalidation is as bad as to make one. */
static inline void mmu_notifier_might_wait(void)
{
	might_sleep();
	lock_map_acquire(&__mmu_notifier_invalidate_range_start_map);
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
}

/* Under it run all callbacks of the list, and release functions that had to wait. */
extern struct srcu_struct mmu_notifier_calls;

struct mmu_notifier_subscriptions *
mmu_subscriptions_track(struct mm_struct *mm);

/**
 * mmu_subscriptions_tracked() - the subscriptions of an address space, allocated
 *	if need be, with invalidations tracked from now on
 * @mm: the address space
 *
 * Context: Process context, may sleep. No lock is needed.
 *
 * Return: the subscriptions, or %NULL if there is no memory for them.
 */
static inline struct mmu_notifier_subscriptions *
mmu_subscriptions_tracked(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subscriptions =
		READ_ONCE(mm->notifier_subscriptions);

	if (subscriptions && READ_ONCE(subscriptions->intervals.tracked))
		return subscriptions;
	return mmu_subscriptions_track(mm);
}

void mmu_notifier_count_as(struct mm_struct *mm, enum mmu_count which);
void mmu_notifier_fence(void);
void mmu_notifier_admit(struct mmu_intervals *intervals);
bool mmu_notifier_none_counted(struct mm_struct *mm, enum mmu_count which);

void mmu_intervals_init(struct mmu_intervals *intervals);
void mmu_intervals_track(struct mmu_intervals *intervals, struct mm_struct *mm);
int mmu_intervals_start(struct mmu_intervals *intervals,
			struct mmu_notifier_range *range);
void mmu_intervals_end(struct mmu_intervals *intervals,
		       struct mmu_notifier_range *range);
int mmu_intervals_settle(struct mmu_intervals *intervals, struct mm_struct *mm,
			 long *left);
int mmu_intervals_wait_until(struct mmu_intervals *intervals,
			     bool (*over)(struct mmu_intervals *, void *),
			     void *arg, long *left);
bool mmu_intervals_wait_over(struct mmu_intervals *intervals, void *wait);
void mmu_intervals_release(struct mmu_intervals *intervals,
			   struct mm_struct *mm);

#endif /* _MM_MMU_SUBSCRIPTIONS_H */
