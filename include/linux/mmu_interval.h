/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interval subscriptions: a device mirrors a range of an address space and is
 * told of each change to it, with a collision-retry protocol between reading
 * the CPU's page table and being told.
 *
 *	again:
 *		seq = mmu_interval_read_begin(&sub);
 *		read the CPU's page table, for instance by hmm_range_fault()
 *		lock
 *		if (mmu_interval_read_retry(&sub, seq)) {
 *			unlock
 *			goto again;
 *		}
 *		program the device
 *		unlock
 *
 * The lock is the driver's; its invalidate callback takes it too, calls
 * mmu_interval_set_seq() and takes from the device what the range covers.
 */
#ifndef _LINUX_MMU_INTERVAL_H
#define _LINUX_MMU_INTERVAL_H

#include <linux/interval_tree.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/types.h>

struct mm_struct;
struct task_struct;
struct mmu_interval_notifier;
struct mmu_notifier_range;

/**
 * struct mmu_interval_notifier_finish - what a first pass leaves to the second
 * @link: among those of one invalidation
 * @notifier: the subscription, set by the core
 *
 * Made by &mmu_interval_notifier_ops.invalidate_start, best as a part of a
 * structure with what the second pass needs to know, and given back in
 * &mmu_interval_notifier_ops.invalidate_finish. Several invalidations can be
 * under way at once, each wants its own. Memory is to be had without reclaim
 * only (%GFP_NOWAIT); where there is none, do all the work in the first pass.
 */
struct mmu_interval_notifier_finish {
	struct llist_node link;
	struct mmu_interval_notifier *notifier;
};

/**
 * struct mmu_interval_notifier_ops - how a subscription is told of changes
 * @invalidate: The device must not use what it knows of the range once this
 *	returns. May sleep if mmu_notifier_range_blockable() says so; if it
 *	does not and sleeping cannot be avoided, return false, and true in all
 *	other cases.
 * @invalidate_start: Takes the place of @invalidate where the work can be begun
 *	for many subscriptions before it is waited for. What it leaves for the
 *	second pass it stores in *finish, which is %NULL beforehand; if it
 *	leaves nothing, it has to do all that @invalidate does.
 * @invalidate_finish: The second pass, after the first passes of all
 *	subscriptions.
 *
 * A callback may insert other subscriptions, and remove them if they have a
 * single pass. It may remove its own, and those with two passes, by
 * mmu_interval_notifier_remove_async() only.
 *
 * While a subscription is resized, an invalidation may call it and others of the
 * address space a second time, with another sequence.
 */
struct mmu_interval_notifier_ops {
	bool (*invalidate)(struct mmu_interval_notifier *interval_sub,
			   const struct mmu_notifier_range *range,
			   unsigned long cur_seq);
	bool (*invalidate_start)(struct mmu_interval_notifier *interval_sub,
				 const struct mmu_notifier_range *range,
				 unsigned long cur_seq,
				 struct mmu_interval_notifier_finish **finish);
	void (*invalidate_finish)(struct mmu_interval_notifier_finish *finish);
};

/* Frees a subscription that nothing can reach any more; must not sleep. */
typedef void (*mmu_interval_release_fn)(struct mmu_interval_notifier *sub);

/**
 * struct mmu_interval_state - what is under way with a subscription
 * @second_passes: how many are to come
 * @removed: it is out of the tree, or about to be
 */
struct mmu_interval_state {
	atomic_t second_passes;
	bool removed;
};

/**
 * struct mmu_interval_notifier - a subscription to a range
 * @interval_tree: the range; may be read as long as the subscription is inserted
 *	and nobody resizes it
 * @ops: how to tell it
 * @mm: the address space
 * @invalidate_seq: changed by callbacks that take something from the device
 *
 * All members are set by mmu_interval_notifier_insert(), those not described
 * here are private.
 */
struct mmu_interval_notifier {
	struct interval_tree_node interval_tree;
	const struct mmu_interval_notifier_ops *ops;
	struct mm_struct *mm;
	unsigned long invalidate_seq;
	/* private: see mm/mmu_interval.c */
	struct mmu_interval_state state;
	mmu_interval_release_fn release;
	/* private: see mmu_interval_note_stale() */
	unsigned long stale_seq;
	struct task_struct *stale_task;	/* never followed */
};

#ifdef CONFIG_MMU_NOTIFIER

unsigned long
mmu_interval_read_begin(struct mmu_interval_notifier *interval_sub);
int __must_check
mmu_interval_read_begin_killable(struct mmu_interval_notifier *interval_sub,
				 unsigned long *seq);
int __must_check
mmu_interval_read_begin_timeout(struct mmu_interval_notifier *interval_sub,
				unsigned long timeout, unsigned long *seq);
int mmu_interval_notifier_insert(struct mmu_interval_notifier *interval_sub,
				 struct mm_struct *mm, unsigned long start,
				 unsigned long length,
				 const struct mmu_interval_notifier_ops *ops);
int
mmu_interval_notifier_insert_locked(struct mmu_interval_notifier *interval_sub,
				    struct mm_struct *mm, unsigned long start,
				    unsigned long length,
				    const struct mmu_interval_notifier_ops *ops);
int __must_check
mmu_interval_notifier_resize(struct mmu_interval_notifier *interval_sub,
			     unsigned long start, unsigned long length);
void mmu_interval_notifier_remove(struct mmu_interval_notifier *interval_sub);
void
mmu_interval_notifier_remove_async(struct mmu_interval_notifier *interval_sub,
				   mmu_interval_release_fn release);
void mmu_interval_note_stale(struct mmu_interval_notifier *interval_sub,
			     unsigned long seq, const void *caller);

/**
 * mmu_interval_set_seq() - note an invalidation
 * @interval_sub: the subscription that is being told
 * @cur_seq: as given to the callback; always odd
 *
 * Must be called by each callback that makes readers begin again, which is each
 * that takes something from the device.
 *
 * Context: The lock under which mmu_interval_read_retry() is called is held.
 */
static inline void
mmu_interval_set_seq(struct mmu_interval_notifier *interval_sub,
		     unsigned long cur_seq)
{
	WRITE_ONCE(interval_sub->invalidate_seq, cur_seq);
}

/**
 * mmu_interval_read_retry() - has what was read become invalid?
 * @interval_sub: the subscription
 * @seq: from mmu_interval_read_begin()
 *
 * Context: The lock is held under which the callbacks call
 * mmu_interval_set_seq(). The answer holds as long as it is.
 *
 * Return: true if an invalidation collided: begin again.
 */
static inline bool
mmu_interval_read_retry(struct mmu_interval_notifier *interval_sub,
			unsigned long seq)
{
	/* Compared in memory. Resizing changes it without the lock. */
	return data_race(interval_sub->invalidate_seq) != seq;
}

/**
 * mmu_interval_check_retry() - is it clear by now that reading is in vain?
 * @interval_sub: the subscription
 * @seq: from mmu_interval_read_begin()
 *
 * Saves work that mmu_interval_read_retry() would turn out to be in vain; does
 * not take its place.
 *
 * Context: Any; no lock is needed.
 *
 * Return: true if an invalidation has collided. False means nothing.
 */
static inline bool
mmu_interval_check_retry(struct mmu_interval_notifier *interval_sub,
			 unsigned long seq)
{
	return READ_ONCE(interval_sub->invalidate_seq) != seq;
}

#endif /* CONFIG_MMU_NOTIFIER */

#endif /* _LINUX_MMU_INTERVAL_H */
