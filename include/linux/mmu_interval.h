/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interval subscriptions: a device mirrors a range of an address space, and its
 * driver is notified of each change to it. A collision-retry protocol keeps
 * reading the CPU's page table and these invalidations apart.
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
 * The lock is the driver's. Its invalidate callback takes the same lock, calls
 * mmu_interval_set_seq(), and makes the device stop using the range.
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
 * struct mmu_interval_notifier_finish - the second pass of an invalidation
 * @link: in the list of one invalidation
 * @notifier: the subscription, set by the core
 *
 * Allocated by &mmu_interval_notifier_ops.invalidate_start, usually embedded in
 * a structure with what the second pass needs, and freed by
 * &mmu_interval_notifier_ops.invalidate_finish. Invalidations run concurrently,
 * and each needs its own. Allocate with %GFP_NOWAIT, without reclaim; if that
 * fails, do all the work in the first pass.
 */
struct mmu_interval_notifier_finish {
	struct llist_node link;
	struct mmu_interval_notifier *notifier;
};

/**
 * struct mmu_interval_notifier_ops - the callbacks of a subscription
 * @invalidate: The device must not use its copy of the range after this
 *	returns. May sleep if mmu_notifier_range_blockable() is true. Otherwise,
 *	return false if sleeping cannot be avoided; return true in all other
 *	cases.
 * @invalidate_start: Optional first pass, called instead of @invalidate. It
 *	starts the work, so that the work for all subscriptions runs in
 *	parallel. It stores what the second pass needs in *finish, which is
 *	%NULL before. If it leaves *finish %NULL, it must do all that
 *	@invalidate does.
 * @invalidate_finish: The second pass, after the first passes of all
 *	subscriptions. Waits for the work, and frees what the first pass stored.
 *
 * A callback may insert other subscriptions, and remove those that have a
 * single pass. It must use mmu_interval_notifier_remove_async() to remove its
 * own subscription, and those with two passes.
 *
 * While a subscription is resized, an invalidation may call it, and others of
 * the address space, twice, with different sequences.
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

/* Frees a subscription that is not reachable any more; must not sleep. */
typedef void (*mmu_interval_release_fn)(struct mmu_interval_notifier *sub);

/*
 * Lets the device use [@start, @end) of a subscription and no more: under the
 * lock of mmu_interval_read_retry(), makes it stop using the rest, and stores
 * both as the bounds of what may be programmed. Nothing if they are equal.
 */
typedef void (*mmu_interval_confine_fn)(struct mmu_interval_notifier *sub,
					unsigned long start, unsigned long end);

/**
 * struct mmu_interval_state - what keeps a subscription from being freed
 * @second_passes: number of second passes that are still to run
 * @removed: the subscription was, or will be, removed from the tree
 */
struct mmu_interval_state {
	atomic_t second_passes;
	bool removed;
};

/**
 * struct mmu_interval_notifier - a subscription to a range
 * @interval_tree: the range; may be read while the subscription is inserted and
 *	not being resized
 * @ops: the callbacks
 * @mm: the address space
 * @invalidate_seq: set by callbacks through mmu_interval_set_seq()
 *
 * mmu_interval_notifier_insert() sets all members. Those that are not described
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
int __must_check
mmu_interval_notifier_confine(struct mmu_interval_notifier *interval_sub,
			      unsigned long start, unsigned long length,
			      mmu_interval_confine_fn confine);
void mmu_interval_notifier_remove(struct mmu_interval_notifier *interval_sub);
void
mmu_interval_notifier_remove_async(struct mmu_interval_notifier *interval_sub,
				   mmu_interval_release_fn release);
void mmu_interval_note_stale(struct mmu_interval_notifier *interval_sub,
			     unsigned long seq, const void *caller);
unsigned long mmu_interval_latest(struct mmu_interval_notifier *sub);
int mmu_interval_read_within(struct mmu_interval_notifier *sub,
			     const struct mmu_notifier_range *range,
			     unsigned long since, unsigned long *seq);

/**
 * mmu_interval_set_seq() - make concurrent readers retry
 * @interval_sub: the subscription that the callback is for
 * @cur_seq: the argument of the callback; always odd
 *
 * Every callback that makes the device stop using something must call this.
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
 * mmu_interval_read_retry() - check that what was read is still valid
 * @interval_sub: the subscription
 * @seq: from mmu_interval_read_begin()
 *
 * Context: The lock under which the callbacks call mmu_interval_set_seq() is
 * held. The result is valid until it is dropped.
 *
 * Return: true if an invalidation collided, and the caller must start again.
 */
static inline bool
mmu_interval_read_retry(struct mmu_interval_notifier *interval_sub,
			unsigned long seq)
{
	/* Resizing changes it without the lock. */
	return data_race(interval_sub->invalidate_seq) != seq;
}

/**
 * mmu_interval_check_retry() - check early whether a read is outdated
 * @interval_sub: the subscription
 * @seq: from mmu_interval_read_begin()
 *
 * Saves the rest of the work if mmu_interval_read_retry() would fail anyway.
 * Does not replace it.
 *
 * Context: Any; no lock is needed.
 *
 * Return: true if an invalidation has collided. False guarantees nothing.
 */
static inline bool
mmu_interval_check_retry(struct mmu_interval_notifier *interval_sub,
			 unsigned long seq)
{
	return READ_ONCE(interval_sub->invalidate_seq) != seq;
}

#endif /* CONFIG_MMU_NOTIFIER */

#endif /* _LINUX_MMU_INTERVAL_H */
