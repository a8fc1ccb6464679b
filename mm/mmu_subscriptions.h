/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an address space knows of its subscribers: shared by the two files that
 * make up the MMU notifiers, and by nobody else.
 */
#ifndef _MM_MMU_SUBSCRIPTIONS_H
#define _MM_MMU_SUBSCRIPTIONS_H

#include <linux/mmu_notifier.h>
#include <linux/rbtree.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

/**
 * struct mmu_intervals - the interval subscriptions of an address space
 * @lock: of all that follows, and of the subscriptions' private members
 * @tree: the subscriptions
 * @flights: the invalidations in flight, which are few: one for each task that
 *	is in the middle of one
 * @flown: how many have ever been in @flights
 * @seq: of the last invalidation that met a subscription
 * @wq: for whoever waits for an invalidation, or a callback, to end
 * @used: there is, or was, a subscription: invalidations go to @flights.
 *	Never unset; read without the lock.
 * @settled: all invalidations in flight are in @flights: those that began
 *	before @used was set have ended
 * @rcu: to find that out
 * @mm: whose they are; set with @used
 */
struct mmu_intervals {
	spinlock_t lock;	/* of all that follows */
	struct rb_root_cached tree;
	struct list_head flights;
	unsigned long flown;
	unsigned long seq;
	struct wait_queue_head wq;
	bool used;
	bool settled;
	struct rcu_head rcu;
	struct mm_struct *mm;
};

/**
 * struct mmu_notifier_subscriptions - all subscriptions of an address space
 * @lock: of changes to @list and of &mmu_notifier.users
 * @list: those to the whole of it; read under SRCU
 * @registered: how many have ever been on @list
 * @intervals: those to ranges of it
 *
 * Made with the first subscription, freed with the mm_struct.
 */
struct mmu_notifier_subscriptions {
	spinlock_t lock;	/* of the list */
	struct hlist_head list;
	unsigned long registered;
	struct mmu_intervals intervals;
};

struct mmu_notifier_subscriptions *
mmu_subscriptions_of(struct mm_struct *mm);

void mmu_intervals_init(struct mmu_intervals *intervals);
int mmu_intervals_start(struct mmu_intervals *intervals,
			struct mmu_notifier_range *range);
void mmu_intervals_end(struct mmu_intervals *intervals,
		       struct mmu_notifier_range *range);
void mmu_intervals_wait_for_flights(struct mmu_intervals *intervals);
void mmu_intervals_release(struct mmu_intervals *intervals,
			   struct mm_struct *mm);

#endif /* _MM_MMU_SUBSCRIPTIONS_H */
