// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Interval subscriptions: collision-retry between those who mirror a range of
 * an address space and those who change it.
 *
 * All of it rests on one lock for each address space, held for a short time and
 * never while a callback runs. Under it are the tree of subscriptions and the
 * invalidations in flight. mmu_interval_state.h has the rules.
 *
 * Reading. A reader waits for the overlapping invalidations that are in flight
 * when it begins, not for later ones, and ends under the driver's lock:
 *
 *	invalidation				reader
 *
 *						lock: none in flight that
 *						      overlaps, seq = sub's
 *						unlock
 *	lock: in flight, new sequence
 *	unlock
 *						read entries (old)
 *	callback, under the driver's lock:
 *	  sub's seq = new sequence
 *	  take from the device what it has
 *	change entries
 *						driver's lock: sub's seq differs,
 *						  begin again
 *
 * Had the reader taken the driver's lock before the callback did, it would have
 * programmed the device, and the callback would have undone it. Had it begun
 * after the invalidation was in flight, it would have waited.
 *
 * While a reader waits, later invalidations may start, and some may have called
 * the subscription already. Then the reader is given the sequence from when it
 * began to wait, which is stale: see mmu_seq_after_wait().
 *
 * Nothing waits for an unrelated invalidation, unless there are so many in flight
 * that some have no slot: see mmu_interval_state.h.
 *
 * Inserting takes effect at once. Invalidations in flight may not call a new
 * subscription, and need not: its readers wait for those that overlap. After the
 * first subscription of an address space there may be invalidations in flight
 * that have no slot. They overlap everything, for all that is known. The first
 * reader waits for them, see mmu_notifier.c, and inserting does not.
 *
 * Calling. An invalidation chooses some subscriptions under the lock and calls
 * them without it. A removal takes the subscription out of the tree at once. It
 * crosses it out where it was chosen, moves on those who would go on with it, and
 * waits only if it is being called:
 *
 *	invalidation				mmu_interval_notifier_remove()
 *
 *	lock: choose some, unlock
 *						lock: out of the tree,
 *						      cross out, wanted = true
 *	at = the next one			barrier
 *	barrier					look whether at is this one
 *	look whether it was crossed out		unlock
 *	callback				wait until it is not
 *	at = the next one			free it
 *	barrier
 *	wanted: wake
 *
 * So a callback can remove other subscriptions, and may wait for another task that
 * does: a removal waits for the callbacks of one subscription, not for the others
 * that were chosen with it. If there are two passes it also waits for the second
 * one, which comes after the first passes of all.
 *
 * Resizing moves a subscription in the tree while invalidations may be on their
 * way through it. Those that overlap where it was have started after the resize
 * began to wait. They begin with the tree again, as they might miss the
 * subscription otherwise, and with a new sequence: no callback sets one that a
 * reader may have met before. For others it is like a new one.
 */
#include <linux/export.h>
#include <linux/interval_tree_generic.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "mmu_interval_state.h"
#include "mmu_subscriptions.h"

#define MMU_NODE_START(node)	((node)->start)
#define MMU_NODE_LAST(node)	((node)->last)

/* As in lib/interval_tree.c, but inline: a walk comes past each subscription. */
INTERVAL_TREE_DEFINE(struct interval_tree_node, rb, unsigned long,
		     __subtree_last, MMU_NODE_START, MMU_NODE_LAST,
		     static __always_inline, mmu_tree)

void mmu_intervals_init(struct mmu_intervals *intervals)
{
	spin_lock_init(&intervals->lock);
	intervals->tree = RB_ROOT_CACHED;
	intervals->seq = MMU_FIRST_SEQ;
	init_waitqueue_head(&intervals->wq);
}

/* Invalidations that start once this has returned have a slot. */
static void mmu_intervals_fence(struct mmu_intervals *intervals)
{
	/* If another task has made the barrier, it serves here too. */
	if (smp_load_acquire(&intervals->fenced))
		return;
	mmu_notifier_fence();
	/* Pairs with the acquire: what is visible here is there. */
	smp_store_release(&intervals->fenced, true);
}

/**
 * mmu_intervals_track() - have all invalidations take a slot from now on
 * @intervals: the address space's
 * @mm: the address space
 *
 * Those in flight have none: see mmu_intervals_settle(). The subscriptions are
 * visible already. Another task may be at it, and not have finished.
 *
 * Context: Process context, interrupts enabled.
 */
void mmu_intervals_track(struct mmu_intervals *intervals, struct mm_struct *mm)
{
	scoped_guard(spinlock, &intervals->lock) {
		if (intervals->tracked)
			return;
		/* Stands for those in flight, until they have ended. */
		intervals->inflight.untracked++;
		mmu_notifier_count_as(mm, MMU_COUNT_TRACKED);
		WRITE_ONCE(intervals->tracked, true);
	}
	mmu_intervals_fence(intervals);
}

static struct mmu_intervals *
mmu_intervals_of(const struct mmu_interval_notifier *sub)
{
	return &sub->mm->notifier_subscriptions->intervals;
}

/* Invalidations */

/**
 * struct mmu_visit - an invalidation on its way through the tree
 * @link: among those of the address space
 * @range: the invalidation
 * @seq: its sequence
 * @calls: what it is about to call
 * @next: where it goes on then, kept so that it is in the tree
 * @restart: a subscription has moved: begin with the tree again
 * @finish: what first passes have left for the second pass
 *
 * It is on the stack of the invalidation, which drops it before it returns.
 */
struct mmu_visit {
	struct hlist_node link;
	struct mmu_notifier_range *range;
	unsigned long seq;
	struct mmu_calls calls;
	struct interval_tree_node *next;
	bool restart;
	struct llist_head finish;
};

static struct mmu_interval_notifier *
mmu_interval_of(struct interval_tree_node *node)
{
	return container_of(node, struct mmu_interval_notifier, interval_tree);
}

static struct interval_tree_node *
mmu_range_first(struct mmu_intervals *intervals,
		const struct mmu_notifier_range *range)
{
	return mmu_tree_iter_first(&intervals->tree, range->start,
					range->end - 1);
}

static __always_inline struct interval_tree_node *
mmu_range_next(struct interval_tree_node *node,
	       const struct mmu_notifier_range *range)
{
	return mmu_tree_iter_next(node, range->start, range->end - 1);
}

/* Is somebody calling @sub, or going to in a second pass? The lock is held. */
static bool mmu_interval_runs(struct mmu_intervals *intervals,
			      const struct mmu_interval_notifier *sub)
{
	struct mmu_visit *visit;

	hlist_for_each_entry(visit, &intervals->visits, link)
		if (mmu_calls_at(&visit->calls, sub))
			return true;
	/* A first pass counts the second one before it is over. */
	return atomic_read(&sub->state.second_passes);
}

/* Take from @removed what is not being called any more. The lock is held. */
static struct rb_node *mmu_intervals_released(struct mmu_intervals *intervals)
{
	struct rb_node **link = &intervals->removed;
	struct rb_node *node, *released = NULL;

	while ((node = *link)) {
		struct interval_tree_node *sub =
			container_of(node, struct interval_tree_node, rb);

		if (mmu_interval_runs(intervals, mmu_interval_of(sub))) {
			link = &node->rb_left;
			continue;
		}
		*link = node->rb_left;
		node->rb_left = released;
		released = node;
	}
	return released;
}

/* A callback has ended whose subscription may be waited for. No lock is held. */
static noinline void mmu_intervals_called(struct mmu_intervals *intervals)
{
	struct rb_node *released;

	/* For mmu_notifier_synchronize(): a module waits for its release function. */
	guard(srcu)(&mmu_notifier_calls);
	scoped_guard(spinlock, &intervals->lock)
		released = mmu_intervals_released(intervals);
	wake_up_all(&intervals->wq);
	while (released) {
		struct mmu_interval_notifier *sub =
			container_of(released, struct mmu_interval_notifier,
				     interval_tree.rb);
		struct mm_struct *mm = sub->mm;

		released = released->rb_left;
		sub->release(sub);
		mmdrop_sched(mm);
	}
}

static noinline bool mmu_visit_start_passes(struct mmu_visit *visit,
					    struct mmu_interval_notifier *sub)
{
	struct mmu_interval_notifier_finish *finish = NULL;

	if (!sub->ops->invalidate_start(sub, visit->range, visit->seq, &finish))
		return false;
	if (finish) {
		finish->notifier = sub;
		atomic_inc(&sub->state.second_passes);
		__llist_add(&finish->link, &visit->finish);
	}
	return true;
}

/* The first of two passes, or the only one. False if it would have to sleep. */
static bool mmu_visit_first_pass(struct mmu_visit *visit,
				 struct mmu_interval_notifier *sub)
{
	if (likely(!sub->ops->invalidate_start))
		return sub->ops->invalidate(sub, visit->range, visit->seq);
	return mmu_visit_start_passes(visit, sub);
}

/* Call all that were chosen. False if one would have had to sleep, and must not. */
static bool mmu_visit_call(struct mmu_intervals *intervals,
			   struct mmu_visit *visit)
{
	struct mmu_calls *calls = &visit->calls;
	struct mmu_interval_notifier **pos = calls->subs;
	struct mmu_interval_notifier **end = pos + calls->nr;
	bool done = true;

	for (; pos < end; pos++) {
		struct mmu_interval_notifier *sub = READ_ONCE(*pos);

		mmu_calls_go_on(calls, sub);
		if (mmu_calls_wanted(calls)) {
			mmu_intervals_called(intervals);
			sub = READ_ONCE(*pos);
			if (!sub)
				continue;
		}
		if (unlikely(!mmu_visit_first_pass(visit, sub)) &&
		    !WARN_ON(mmu_notifier_range_blockable(visit->range))) {
			done = false;
			break;
		}
	}
	mmu_calls_go_on(calls, NULL);
	if (mmu_calls_wanted(calls))
		mmu_intervals_called(intervals);
	return done;
}

/* Choose what is called next. The lock is held. */
static void mmu_visit_choose(struct mmu_visit *visit)
{
	struct interval_tree_node *node = visit->next;
	/* A copy stays in registers. */
	const struct mmu_notifier_range range = *visit->range;
	struct mmu_calls *calls = &visit->calls;
	struct mmu_interval_notifier **pos = calls->subs;
	struct mmu_interval_notifier **end = pos + MMU_CALLS;

	do {
		*pos++ = mmu_interval_of(node);
		node = mmu_range_next(node, &range);
	} while (node && pos < end);
	calls->nr = pos - calls->subs;
	/* Nobody waits: nothing is being called. */
	calls->wanted = false;
	visit->next = node;
}

/* In the order of the first passes, so that the oldest is waited for first */
static noinline void mmu_visit_second_passes(struct mmu_intervals *intervals,
					     struct mmu_visit *visit)
{
	struct mmu_interval_notifier_finish *finish, *next;
	struct llist_node *first =
		llist_reverse_order(__llist_del_all(&visit->finish));

	llist_for_each_entry_safe(finish, next, first, link) {
		struct mmu_interval_notifier *sub = finish->notifier;
		bool removed;

		sub->ops->invalidate_finish(finish);
		scoped_guard(spinlock, &intervals->lock) {
			atomic_dec(&sub->state.second_passes);
			removed = sub->state.removed;
		}
		/* It may be gone. */
		if (removed)
			mmu_intervals_called(intervals);
	}
}

/* Begin with the tree again, as if this were another one. The lock is held. */
static noinline void mmu_visit_restart(struct mmu_intervals *intervals,
				       struct mmu_visit *visit)
{
	visit->restart = false;
	visit->seq = mmu_seq_next(&intervals->seq);
	visit->next = mmu_range_first(intervals, visit->range);
}

/*
 * Call all subscriptions from @node on that overlap. The lock is held, and is
 * dropped. Not inlined: most invalidations meet no subscription.
 */
static noinline int mmu_intervals_call(struct mmu_intervals *intervals,
				       struct mmu_notifier_range *range,
				       struct interval_tree_node *node)
{
	struct mmu_visit visit __uninitialized;
	bool done;

	visit.range = range;
	visit.seq = mmu_seq_next(&intervals->seq);
	visit.next = node;
	visit.restart = false;
	visit.calls.at = NULL;
	init_llist_head(&visit.finish);
	hlist_add_head(&visit.link, &intervals->visits);
	do {
		mmu_visit_choose(&visit);
		spin_unlock(&intervals->lock);
		done = mmu_visit_call(intervals, &visit);
		spin_lock(&intervals->lock);
		if (unlikely(visit.restart))
			mmu_visit_restart(intervals, &visit);
	} while (done && visit.next);
	hlist_del(&visit.link);
	spin_unlock(&intervals->lock);

	if (unlikely(!llist_empty(&visit.finish)))
		mmu_visit_second_passes(intervals, &visit);
	if (likely(done))
		return 0;
	mmu_intervals_end(intervals, range);
	return -EAGAIN;
}

/*
 * @sub leaves the tree: no invalidation may go on with it, or call it if it has
 * not begun to. The lock is held.
 */
static noinline void mmu_intervals_cross_out(struct mmu_intervals *intervals,
					     struct mmu_interval_notifier *sub)
{
	struct interval_tree_node *node = &sub->interval_tree;
	struct mmu_visit *visit;

	hlist_for_each_entry(visit, &intervals->visits, link) {
		if (visit->next == node)
			visit->next = mmu_range_next(node, visit->range);
		mmu_calls_cross_out(&visit->calls, sub);
	}
	/* For mmu_interval_runs(): see mmu_calls_go_on(). */
	smp_mb();
}

/* @sub is about to move: what overlaps where it is must not miss it. */
static void mmu_intervals_restart(struct mmu_intervals *intervals,
				  const struct mmu_interval_notifier *sub)
{
	const struct interval_tree_node *node = &sub->interval_tree;
	struct mmu_visit *visit;

	hlist_for_each_entry(visit, &intervals->visits, link)
		if (visit->range->start <= node->last &&
		    node->start < visit->range->end)
			visit->restart = true;
}

/**
 * mmu_intervals_start() - an invalidation starts
 * @intervals: the address space's
 * @range: the invalidation
 *
 * Context: Process context; may sleep if mmu_notifier_range_blockable().
 *
 * Return: 0, or -EAGAIN if it must not sleep and would have to: then it has not
 * begun.
 */
int mmu_intervals_start(struct mmu_intervals *intervals,
			struct mmu_notifier_range *range)
{
	struct interval_tree_node *node;

	spin_lock(&intervals->lock);
	mmu_range_start(range, mmu_inflight_start(&intervals->inflight,
						  range->start,
						  range->end - 1));
	node = mmu_range_first(intervals, range);
	if (unlikely(node))
		return mmu_intervals_call(intervals, range, node);
	spin_unlock(&intervals->lock);
	return 0;
}

/**
 * mmu_intervals_end() - an invalidation ends
 * @intervals: the address space's
 * @range: the invalidation
 *
 * Context: Process context; need not be able to sleep.
 */
void mmu_intervals_end(struct mmu_intervals *intervals,
		       struct mmu_notifier_range *range)
{
	bool wake;

	spin_lock(&intervals->lock);
	mmu_inflight_end(&intervals->inflight, mmu_range_end(range));
	/*
	 * A waiter is on the queue before it looks at the invalidations in
	 * flight, under the lock: either it is seen here, or it does not find
	 * this one.
	 */
	wake = waitqueue_active(&intervals->wq);
	if (unlikely(wake))
		mmu_notifier_admit(intervals);
	spin_unlock(&intervals->lock);
	if (unlikely(wake))
		wake_up_all(&intervals->wq);
}

/**
 * mmu_intervals_release() - the address space ends
 * @intervals: its
 * @mm: the address space
 *
 * Tells all subscriptions. Their owners remove them.
 *
 * Context: Process context, may sleep.
 */
void mmu_intervals_release(struct mmu_intervals *intervals,
			   struct mm_struct *mm)
{
	struct mmu_notifier_range range;

	if (!READ_ONCE(intervals->tracked))
		return;
	mmu_notifier_range_init(&range, MMU_NOTIFY_RELEASE,
				MMU_NOTIFIER_RANGE_BLOCKABLE, mm, 0, ULONG_MAX);
	mmu_intervals_start(intervals, &range);
	mmu_intervals_end(intervals, &range);
}

/* Waiting */

/**
 * mmu_intervals_wait_until() - wait for invalidations or callbacks
 * @intervals: the address space's
 * @over: tells whether the wait is over; asked whenever one ends
 * @arg: for @over
 * @left: %NULL to wait for as long as it takes. Otherwise the wait is killable
 *	and ends after that many jiffies, from which those are taken that have
 *	passed.
 *
 * Context: Process context, may sleep.
 *
 * Return: 0, -EINTR if the calling task is being killed, or -ETIMEDOUT.
 */
int mmu_intervals_wait_until(struct mmu_intervals *intervals,
			     bool (*over)(struct mmu_intervals *, void *),
			     void *arg, long *left)
{
	long ret;

	if (!left) {
		wait_event(intervals->wq, over(intervals, arg));
		return 0;
	}
	ret = wait_event_killable_timeout(intervals->wq, over(intervals, arg),
					  *left);
	if (ret <= 0)
		return ret ? -EINTR : -ETIMEDOUT;
	*left = ret;
	return 0;
}

static bool mmu_intervals_none_counted(struct mmu_intervals *intervals,
				       void *mm)
{
	return mmu_notifier_none_counted(mm, MMU_COUNT_UNSEEN) &&
	       mmu_notifier_none_counted(mm, MMU_COUNT_LISTED);
}

/**
 * mmu_intervals_settle() - wait for invalidations that have no slot because they
 *	started before slots were used
 * @intervals: the address space's
 * @mm: the address space
 * @left: as for mmu_intervals_wait_until()
 *
 * Context: Process context, may sleep.
 *
 * Return: as mmu_intervals_wait_until().
 */
int mmu_intervals_settle(struct mmu_intervals *intervals, struct mm_struct *mm,
			 long *left)
{
	int ret;

	if (READ_ONCE(intervals->settled))
		return 0;
	mmu_intervals_fence(intervals);
	ret = mmu_intervals_wait_until(intervals, mmu_intervals_none_counted,
				       mm, left);
	if (ret)
		return ret;

	guard(spinlock)(&intervals->lock);
	if (!intervals->settled) {
		intervals->inflight.untracked--;
		WRITE_ONCE(intervals->settled, true);
	}
	return 0;
}

/* For mmu_intervals_wait_until(): have all ended that @wait is for? */
bool mmu_intervals_wait_over(struct mmu_intervals *intervals, void *wait)
{
	guard(spinlock)(&intervals->lock);
	return mmu_inflight_wait_over(wait, &intervals->inflight);
}

/* Readers */

/* The usual case: nothing at all is in flight. False if there may be something. */
static __always_inline bool
mmu_interval_begin_at_once(struct mmu_interval_notifier *sub,
			   unsigned long *seq)
{
	struct mmu_intervals *intervals = mmu_intervals_of(sub);

	guard(spinlock)(&intervals->lock);
	*seq = READ_ONCE(sub->invalidate_seq);
	return mmu_inflight_none(&intervals->inflight);
}

/* @left as for mmu_intervals_wait_until() */
static noinline int mmu_interval_begin(struct mmu_interval_notifier *sub,
				       unsigned long *seq, long *left)
{
	struct mmu_intervals *intervals = mmu_intervals_of(sub);
	const struct interval_tree_node *node = &sub->interval_tree;
	struct mmu_inflight_wait wait;
	int ret;

	ret = mmu_intervals_settle(intervals, sub->mm, left);
	if (ret)
		return ret;

	spin_lock(&intervals->lock);
	*seq = READ_ONCE(sub->invalidate_seq);
	mmu_inflight_wait_enter(&wait, &intervals->inflight, node->start,
				node->last);
	spin_unlock(&intervals->lock);

	ret = mmu_intervals_wait_until(intervals, mmu_intervals_wait_over,
				       &wait, left);
	if (ret)
		return ret;
	guard(spinlock)(&intervals->lock);
	*seq = mmu_seq_after_wait(&intervals->inflight, node->start, node->last,
				  READ_ONCE(sub->invalidate_seq), *seq);
	return 0;
}

static noinline unsigned long
mmu_interval_begin_patiently(struct mmu_interval_notifier *sub)
{
	unsigned long seq;

	mmu_interval_begin(sub, &seq, NULL);
	return seq;
}

/**
 * mmu_interval_read_begin() - begin to read what a subscription covers
 * @interval_sub: the subscription
 *
 * Waits for the invalidations that overlap the subscription and are in flight
 * now, and for as long as it takes; mmu_interval_read_begin_timeout() and
 * mmu_interval_read_begin_killable() do not. Whether others overlap is not known
 * if they started before the first subscription of the address space, or with
 * more than BITS_PER_LONG in flight.
 *
 * Context: Process context, may sleep. Nothing is held that callbacks take.
 *
 * Return: the sequence number for mmu_interval_read_retry(). It may be stale
 * already, if other invalidations came while this waited.
 */
unsigned long
mmu_interval_read_begin(struct mmu_interval_notifier *interval_sub)
{
	unsigned long seq;

	mmu_notifier_might_wait();
	if (likely(mmu_interval_begin_at_once(interval_sub, &seq)))
		return seq;
	return mmu_interval_begin_patiently(interval_sub);
}
EXPORT_SYMBOL_GPL(mmu_interval_read_begin);

/**
 * mmu_interval_read_begin_timeout() - mmu_interval_read_begin() within a time
 * @interval_sub: the subscription
 * @timeout: jiffies to wait at most
 * @seq: receives the sequence number for mmu_interval_read_retry()
 *
 * Context: As mmu_interval_read_begin().
 *
 * Return: 0, -ETIMEDOUT if those that mmu_interval_read_begin() waits for had not
 * ended by then, or -EINTR if the calling task is being killed.
 */
int mmu_interval_read_begin_timeout(struct mmu_interval_notifier *interval_sub,
				    unsigned long timeout, unsigned long *seq)
{
	long left = min_t(unsigned long, timeout, MAX_SCHEDULE_TIMEOUT);

	mmu_notifier_might_wait();
	if (mmu_interval_begin_at_once(interval_sub, seq))
		return 0;
	return mmu_interval_begin(interval_sub, seq, &left);
}
EXPORT_SYMBOL_GPL(mmu_interval_read_begin_timeout);

/**
 * mmu_interval_read_begin_killable() - mmu_interval_read_begin() that a fatal
 *	signal ends
 * @interval_sub: the subscription
 * @seq: receives the sequence number for mmu_interval_read_retry()
 *
 * Context: As mmu_interval_read_begin().
 *
 * Return: 0, or -EINTR if the calling task is being killed.
 */
int mmu_interval_read_begin_killable(struct mmu_interval_notifier *interval_sub,
				     unsigned long *seq)
{
	return mmu_interval_read_begin_timeout(interval_sub,
					       MAX_SCHEDULE_TIMEOUT, seq);
}
EXPORT_SYMBOL_GPL(mmu_interval_read_begin_killable);

/* In place of a task: this subscription's driver has been reported. */
#define REPORTED	((struct task_struct *)1)

/**
 * mmu_interval_note_stale() - a task came with a stale sequence
 * @interval_sub: the subscription
 * @seq: the sequence
 * @caller: whence it came
 *
 * It may not have known. If it comes with the same one once more, it does not
 * begin anew as it should, and its loop may have no end: this is reported, once
 * for each subscription.
 *
 * Context: Any. What is kept may be overwritten by others at any time; then
 * there is no report.
 */
void mmu_interval_note_stale(struct mmu_interval_notifier *interval_sub,
			     unsigned long seq, const void *caller)
{
	struct task_struct *task = READ_ONCE(interval_sub->stale_task);

	if (task == REPORTED)
		return;
	if (task != current || READ_ONCE(interval_sub->stale_seq) != seq) {
		WRITE_ONCE(interval_sub->stale_seq, seq);
		WRITE_ONCE(interval_sub->stale_task, current);
		return;
	}
	WRITE_ONCE(interval_sub->stale_task, REPORTED);
	pr_warn("hmm: %pS came back with a stale sequence number instead of a new one from mmu_interval_read_begin()\n",
		caller);
}

/* Subscribing */

static int mmu_interval_last(unsigned long start, unsigned long length,
			     unsigned long *last)
{
	if (!length || check_add_overflow(start, length - 1, last))
		return -EOVERFLOW;
	return 0;
}

/**
 * mmu_interval_notifier_insert() - subscribe to a range of an address space
 * @interval_sub: the subscription; the caller's until it has been removed
 * @mm: the address space
 * @start: first address
 * @length: how many bytes; the range need not be mapped
 * @ops: the callbacks
 *
 * The callbacks may be called before this returns. The mm_struct stays until the
 * subscription is removed.
 *
 * Context: Process context, may sleep, and waits for no invalidation. mmap_lock
 * may be held or not. In a callback of another subscription of this address
 * space, too. The caller keeps the address space alive (mmget()); for a callback,
 * which may be told of its end, that means mmget_not_zero().
 *
 * Return: 0, -EOVERFLOW for a range that is empty or goes beyond the last
 * address, -EINVAL for an address space that is at its end, or -ENOMEM. After an
 * error @interval_sub is as it was.
 */
int mmu_interval_notifier_insert(struct mmu_interval_notifier *interval_sub,
				 struct mm_struct *mm, unsigned long start,
				 unsigned long length,
				 const struct mmu_interval_notifier_ops *ops)
{
	struct mmu_notifier_subscriptions *subscriptions;
	struct mmu_intervals *intervals;
	unsigned long last;
	int ret;

	WARN_ON_ONCE(ops->invalidate_start && !ops->invalidate_finish);
	if (WARN_ON(atomic_read(&mm->mm_users) <= 0))
		return -EINVAL;
	ret = mmu_interval_last(start, length, &last);
	if (ret)
		return ret;
	subscriptions = mmu_subscriptions_tracked(mm);
	if (!subscriptions)
		return -ENOMEM;

	/* Nothing fails from here on, and nothing was set before. */
	mmgrab(mm);
	interval_sub->mm = mm;
	interval_sub->ops = ops;
	interval_sub->interval_tree.start = start;
	interval_sub->interval_tree.last = last;
	interval_sub->state = (struct mmu_interval_state){};
	interval_sub->stale_task = NULL;

	intervals = &subscriptions->intervals;
	guard(spinlock)(&intervals->lock);
	/*
	 * One of its own: a reader from before it was removed and inserted
	 * again must not find the sequence that it left with. It looks without
	 * this lock.
	 */
	WRITE_ONCE(interval_sub->invalidate_seq, mmu_seq_next(&intervals->seq));
	mmu_tree_insert(&interval_sub->interval_tree, &intervals->tree);
	return 0;
}
EXPORT_SYMBOL_GPL(mmu_interval_notifier_insert);

/**
 * mmu_interval_notifier_insert_locked() - the same with mmap_lock held
 * @interval_sub: the subscription; the caller's until it has been removed
 * @mm: the address space
 * @start: first address
 * @length: how many bytes
 * @ops: the callbacks
 *
 * Context: Process context, may sleep. The caller holds mmap_lock for writing.
 *
 * Return: as mmu_interval_notifier_insert().
 */
int
mmu_interval_notifier_insert_locked(struct mmu_interval_notifier *interval_sub,
				    struct mm_struct *mm, unsigned long start,
				    unsigned long length,
				    const struct mmu_interval_notifier_ops *ops)
{
	mmap_assert_write_locked(mm);
	return mmu_interval_notifier_insert(interval_sub, mm, start, length, ops);
}
EXPORT_SYMBOL_GPL(mmu_interval_notifier_insert_locked);

/**
 * struct mmu_interval_resize - a resize that waits
 * @sub: the subscription
 * @wait: for these invalidations
 * @start: its new first address
 * @last: its new last address
 */
struct mmu_interval_resize {
	struct mmu_interval_notifier *sub;
	struct mmu_inflight_wait wait;
	unsigned long start;
	unsigned long last;
};

static bool mmu_interval_resized(struct mmu_intervals *intervals, void *arg)
{
	struct mmu_interval_resize *resize = arg;
	struct mmu_interval_notifier *sub = resize->sub;
	struct interval_tree_node *node = &sub->interval_tree;

	guard(spinlock)(&intervals->lock);
	if (WARN_ON(sub->state.removed))
		return true;
	if (!mmu_inflight_wait_over(&resize->wait, &intervals->inflight))
		return false;
	mmu_intervals_restart(intervals, sub);
	mmu_tree_remove(node, &intervals->tree);
	/* hmm_range_fault() reads them without the lock. */
	WRITE_ONCE(node->start, resize->start);
	WRITE_ONCE(node->last, resize->last);
	mmu_tree_insert(node, &intervals->tree);
	WRITE_ONCE(sub->invalidate_seq, mmu_seq_next(&intervals->seq));
	return true;
}

/**
 * mmu_interval_notifier_resize() - move a subscription to another range
 * @interval_sub: the subscription
 * @start: first address
 * @length: how many bytes
 *
 * Waits for the invalidations that overlap the old range and are in flight now.
 * Later ones may call the subscription while it is resized, for what overlaps the
 * old range or the new one, and may call it twice. All readers must begin again.
 *
 * What the device has outside of the new range is no longer looked after. So
 * before it shrinks or moves a subscription, a driver takes this away and from
 * then on admits nothing outside of the new range, both under the lock of
 * mmu_interval_read_retry(). Its callbacks go by bounds of the driver's own under
 * that lock: those of the subscription may change while they run.
 *
 * Context: Process context, may sleep. Nothing is held that callbacks take; not
 * from a callback of this subscription. Not while another task resizes it or
 * removes it.
 *
 * Return: 0, -EOVERFLOW as mmu_interval_notifier_insert(), or -EINTR if the
 * calling task is being killed; then nothing has changed.
 */
int mmu_interval_notifier_resize(struct mmu_interval_notifier *interval_sub,
				 unsigned long start, unsigned long length)
{
	struct mmu_intervals *intervals = mmu_intervals_of(interval_sub);
	struct mmu_interval_resize resize = {
		.sub = interval_sub,
		.start = start,
	};
	long left = MAX_SCHEDULE_TIMEOUT;
	int ret;

	ret = mmu_interval_last(start, length, &resize.last);
	if (ret)
		return ret;
	mmu_notifier_might_wait();

	spin_lock(&intervals->lock);
	mmu_inflight_wait_enter(&resize.wait, &intervals->inflight,
				interval_sub->interval_tree.start,
				interval_sub->interval_tree.last);
	spin_unlock(&intervals->lock);
	return mmu_intervals_wait_until(intervals, mmu_interval_resized,
					&resize, &left);
}
EXPORT_SYMBOL_GPL(mmu_interval_notifier_resize);

/* Take it out of the tree. False if somebody is calling it still. */
static __always_inline bool
mmu_intervals_remove(struct mmu_intervals *intervals,
		     struct mmu_interval_notifier *sub,
		     mmu_interval_release_fn release)
{
	struct rb_node *node = &sub->interval_tree.rb;

	guard(spinlock)(&intervals->lock);
	sub->state.removed = true;
	if (unlikely(!hlist_empty(&intervals->visits)))
		mmu_intervals_cross_out(intervals, sub);
	mmu_tree_remove(&sub->interval_tree, &intervals->tree);
	if (likely(!mmu_interval_runs(intervals, sub)))
		return true;
	if (release) {
		sub->release = release;
		node->rb_left = intervals->removed;
		intervals->removed = node;
	}
	return false;
}

static bool mmu_interval_is_idle(struct mmu_intervals *intervals,
				 const struct mmu_interval_notifier *sub)
{
	guard(spinlock)(&intervals->lock);
	return !mmu_interval_runs(intervals, sub);
}

static noinline void
mmu_interval_wait_idle(struct mmu_intervals *intervals,
		       const struct mmu_interval_notifier *sub)
{
	wait_event(intervals->wq, mmu_interval_is_idle(intervals, sub));
}

/**
 * mmu_interval_notifier_remove() - end a subscription
 * @interval_sub: the subscription
 *
 * Waits for callbacks of this subscription that are running, and if it has two
 * passes for second passes that are to come. When it returns no callback is
 * running, and none will.
 *
 * Context: Process context, may sleep. Nothing is held that its callbacks take,
 * or with two passes that any callback of the address space takes.
 * From callbacks of other subscriptions it may be called if this one's have a
 * single pass and do not wait for the caller's subscription in turn. From its own
 * it may not: mmu_interval_notifier_remove_async() may be, from all of them.
 */
void mmu_interval_notifier_remove(struct mmu_interval_notifier *interval_sub)
{
	struct mmu_intervals *intervals = mmu_intervals_of(interval_sub);
	struct mm_struct *mm = interval_sub->mm;

	might_sleep();
	/* A bug of the caller, which KCSAN need not report as well. */
	if (WARN_ON(data_race(interval_sub->state.removed)))
		return;
	if (unlikely(!mmu_intervals_remove(intervals, interval_sub, NULL)))
		mmu_interval_wait_idle(intervals, interval_sub);
	mmdrop(mm);
}
EXPORT_SYMBOL_GPL(mmu_interval_notifier_remove);

/**
 * mmu_interval_notifier_remove_async() - end a subscription without waiting
 * @interval_sub: the subscription
 * @release: called once nothing can reach the subscription any more, to free it;
 *	must not sleep
 *
 * @release is called before this returns if no callback is running, or else when
 * the last one has ended. The exit of its module calls mmu_notifier_synchronize()
 * once all have been called.
 *
 * Context: Process context; need not be able to sleep. Callbacks of the
 * subscription, too.
 */
void
mmu_interval_notifier_remove_async(struct mmu_interval_notifier *interval_sub,
				   mmu_interval_release_fn release)
{
	struct mmu_intervals *intervals = mmu_intervals_of(interval_sub);
	struct mm_struct *mm = interval_sub->mm;

	/* A bug of the caller, which KCSAN need not report as well. */
	if (WARN_ON(data_race(interval_sub->state.removed)))
		return;
	if (!mmu_intervals_remove(intervals, interval_sub, release))
		return;
	release(interval_sub);
	mmdrop_sched(mm);
}
EXPORT_SYMBOL_GPL(mmu_interval_notifier_remove_async);
