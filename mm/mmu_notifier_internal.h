/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The subscriptions of an address space, for mmu_notifier.c and mmu_interval.c
 * only.
 */
#ifndef _MM_MMU_NOTIFIER_INTERNAL_H
#define _MM_MMU_NOTIFIER_INTERNAL_H

#include <linux/bitfield.h>
#include <linux/build_bug.h>
#include <linux/mmu_notifier.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/wait.h>

#include "mmu_interval_state.h"

/* Instead of a slot: the invalidation is counted. */
#define MMU_SLOT_COUNTED	(MMU_SLOT_ODD + 1)

/**
 * struct mmu_intervals - the interval subscriptions of an address space
 * @lock: protects the members that follow unless they say otherwise,
 *	&mmu_interval_state.removed, changes to
 *	&mmu_notifier_subscriptions.list, and &mmu_notifier.users
 * @tree: the subscriptions
 * @inflight: the invalidations in flight, valid after @tracked is set
 * @seq: the latest sequence
 * @wq: waiters for the end of an invalidation or of a callback
 * @tracked: invalidations take a slot. Never cleared; read without the lock.
 * @fenced: all CPUs have executed a barrier after @tracked was set, so that all
 *	later invalidations have a slot. Accessed without the lock.
 * @settled: all invalidations that started without a slot have ended. Never
 *	cleared; read without the lock.
 * @visits: the invalidations that are calling subscriptions
 * @removed: subscriptions that were removed during a callback, and are released
 *	after it; linked by rb_left of their nodes
 * @pending: subscriptions that are added to the list when nothing is in flight
 */
struct mmu_intervals {
	spinlock_t lock;	/* of most members, and of the list */
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
 * @list: subscriptions to the whole address space; read under SRCU
 * @intervals: subscriptions to ranges
 *
 * Allocated for the first subscription, freed with the mm_struct.
 */
struct mmu_notifier_subscriptions {
	struct hlist_head list;
	struct mmu_intervals intervals;
};

static inline unsigned int
mmu_notifier_range_slot(const struct mmu_notifier_range *range)
{
	return FIELD_GET(MMU_NOTIFIER_RANGE_SLOT, range->flags);
}

/* The invalidation is in flight from now on, with subscriptions. */
static inline void mmu_notifier_range_set_slot(struct mmu_notifier_range *range,
					       unsigned int slot)
{
	BUILD_BUG_ON(FIELD_MAX(MMU_NOTIFIER_RANGE_SLOT) < MMU_SLOT_COUNTED);
	range->flags = (range->flags & ~MMU_NOTIFIER_RANGE_SLOT) |
		       MMU_NOTIFIER_RANGE_SEEN |
		       FIELD_PREP(MMU_NOTIFIER_RANGE_SLOT, slot);
}

/* The invalidation is not in flight any more. Returns its slot. */
static inline unsigned int
mmu_notifier_range_put_slot(struct mmu_notifier_range *range)
{
	range->flags &= ~MMU_NOTIFIER_RANGE_SEEN;
	return mmu_notifier_range_slot(range);
}

/* For lockdep, waiting for an invalidation is the same as starting one. */
static inline void mmu_notifier_might_wait(void)
{
	might_sleep();
	lock_map_acquire(&__mmu_notifier_invalidate_range_start_map);
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
}

/* Protects callbacks of the list, and release functions that were deferred. */
extern struct srcu_struct mmu_notifier_calls;

struct mmu_notifier_subscriptions *__mmu_notifier_track(struct mm_struct *mm);

/**
 * mmu_notifier_track() - start to track the invalidations of an mm
 * @mm: the address space
 *
 * Allocates the subscriptions of @mm if it has none.
 *
 * Context: Process context, may sleep. No lock is needed.
 *
 * Return: the subscriptions, or %NULL without memory.
 */
static inline struct mmu_notifier_subscriptions *
mmu_notifier_track(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subscriptions =
		READ_ONCE(mm->notifier_subscriptions);

	if (subscriptions && READ_ONCE(subscriptions->intervals.tracked))
		return subscriptions;
	return __mmu_notifier_track(mm);
}

void mmu_notifier_count_as(struct mm_struct *mm, enum mmu_count which);
void mmu_notifier_fence(void);
void mmu_notifier_add_pending(struct mmu_intervals *intervals);
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

#endif /* _MM_MMU_NOTIFIER_INTERNAL_H */
