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
 * when it begins, for no later ones, and ends under the driver's lock:
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
 * It does not matter how far an unrelated invalidation is: nothing waits for it.
 *
 * Inserting takes effect at once. Invalidations in flight may not call a new
 * subscription, and need not: its readers wait for those that overlap. After the
 * first subscription of an address space there may be invalidations in flight
 * that have no slot. They overlap everything, for all that is known. The first
 * reader waits for them, see mmu_notifier.c, so that inserting is quick.
 *
 * Calling. An invalidation calls some subscriptions between two times of the
 * lock, a batch. Until they have been called, each of them stays in the tree, so
 * that the invalidation can go on from the last one:
 *
 *	invalidation				mmu_interval_notifier_remove()
 *
 *	lock: callbacks++ for each, unlock
 *	callback ...				lock: removed, unlock
 *	  :					wait
 *	lock: find the next ones
 *	      callbacks-- is 0 and removed:
 *	      out of the tree
 *	unlock, wake				lock: is out, unlock
 *						return, it may be freed
 *
 * A removal does not wait for the others in a batch: it takes the subscription
 * out of the batch if it is not being called yet, or not any more. So a callback
 * can remove other subscriptions, and may wait for another task that does.
 *
 * Resizing moves a subscription in the tree while invalidations may be on their
 * way through it. They have started after the resize began to wait. They begin
 * with the tree again, as they might miss the subscription otherwise, and with a
 * new sequence: no callback sets one that a reader may have met before.
 */
#include <linux/export.h>
#include <linux/interval_tree.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "mmu_interval_state.h"
#include "mmu_subscriptions.h"

void mmu_intervals_init(struct mmu_intervals *intervals)
{
	spin_lock_init(&intervals->lock);
	intervals->tree = RB_ROOT_CACHED;
	intervals->seq = MMU_FIRST_SEQ;
	init_waitqueue_head(&intervals->wq);
}

/**
 * mmu_intervals_track() - have all invalidations take a slot from now on
 * @intervals: the address space's
 * @mm: the address space
 *
 * Those in flight have none: see mmu_intervals_settle(). The subscriptions are
 * visible already.
 *
 * Context: Any but interrupts.
 */
void mmu_intervals_track(struct mmu_intervals *intervals, struct mm_struct *mm)
{
	if (READ_ONCE(intervals->tracked))
		return;

	guard(spinlock)(&intervals->lock);
	if (intervals->tracked)
		return;
	/* Stands for those in flight, until they have ended. */
	intervals->inflight.untracked++;
	mmu_notifier_count_as(mm, MMU_COUNT_TRACKED);
	WRITE_ONCE(intervals->tracked, true);
}

static struct mmu_intervals *
mmu_intervals_of(const struct mmu_interval_notifier *sub)
{
	return &sub->mm->notifier_subscriptions->intervals;
}

/* Invalidations */

/* Callbacks between two times of the lock */
#define MMU_BATCH	8

/**
 * struct mmu_visit - an invalidation on its way through the tree
 * @intervals: the tree's
 * @range: the invalidation
 * @seq: its sequence
 * @moves: &mmu_intervals.moves when the tree was last begun
 * @restart: a subscription has moved: begin with the tree again
 * @ended: a subscription has left the tree: see mmu_visit_after_calls()
 * @nr: how many are in @batch
 * @nr_called: how many are in @called
 * @second: those of @called that are left to the second pass, a bitmap
 * @batch: subscriptions that are called next, in order; their callbacks count as
 *	begun. Removals change a member to %NULL until it is claimed.
 * @called: those that were claimed, to be called; the first always is. All but
 *	the last one have returned; removals change these to %NULL.
 * @finish: what first passes have left for the second pass
 * @gone: subscriptions that are released once the lock is dropped, chained by
 *	rb_left of their nodes
 */
struct mmu_visit {
	struct mmu_intervals *intervals;
	struct mmu_notifier_range *range;
	unsigned long seq;
	unsigned long moves;
	bool restart;
	bool ended;
	unsigned int nr;
	unsigned int nr_called;
	unsigned int second;
	struct mmu_interval_notifier *batch[MMU_BATCH];
	struct mmu_interval_notifier *called[MMU_BATCH];
	struct llist_head finish;
	struct rb_node *gone;
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
	return interval_tree_iter_first(&intervals->tree, range->start,
					range->end - 1);
}

static struct interval_tree_node *
mmu_range_next(struct interval_tree_node *node,
	       const struct mmu_notifier_range *range)
{
	return interval_tree_iter_next(node, range->start, range->end - 1);
}

/* Begin callbacks of the subscriptions from @node on. The lock is held. */
static void mmu_visit_begin_calls(struct mmu_visit *visit,
				  struct interval_tree_node *node)
{
	/* Without a slot, removals do not find the batch. */
	unsigned int most = mmu_range_slot(visit->range) < MMU_SLOTS ?
			    MMU_BATCH : 1;

	visit->nr = 0;
	visit->nr_called = 0;
	visit->second = 0;
	for (; node; node = mmu_range_next(node, visit->range)) {
		struct mmu_interval_notifier *sub = mmu_interval_of(node);

		if (!mmu_callback_begin(&sub->state))
			continue;
		visit->batch[visit->nr++] = sub;
		if (visit->nr == most)
			break;
	}
}

static noinline void mmu_visit_take_out(struct mmu_visit *visit,
					struct mmu_interval_notifier *sub)
{
	interval_tree_remove(&sub->interval_tree, &visit->intervals->tree);
	/* A waiter may free it as soon as the lock is dropped. */
	RB_CLEAR_NODE(&sub->interval_tree.rb);
	if (sub->release) {
		sub->interval_tree.rb.rb_left = visit->gone;
		visit->gone = &sub->interval_tree.rb;
	}
	visit->ended = true;
}

/* A callback has ended, and its second pass. The lock is held. */
static inline void mmu_visit_end_call(struct mmu_visit *visit,
				      struct mmu_interval_notifier *sub)
{
	if (unlikely(mmu_callback_end(&sub->state)))
		mmu_visit_take_out(visit, sub);
}

/* What must be done after callbacks have ended, and without the lock */
static noinline void mmu_visit_after_calls(struct mmu_visit *visit)
{
	struct rb_node *node = visit->gone;

	visit->gone = NULL;
	visit->ended = false;
	wake_up_all(&visit->intervals->wq);
	while (node) {
		struct mmu_interval_notifier *sub =
			container_of(node, struct mmu_interval_notifier,
				     interval_tree.rb);
		struct mm_struct *mm = sub->mm;

		node = node->rb_left;
		sub->release(sub);
		mmdrop_sched(mm);
	}
}

static void mmu_visit_unlock(struct mmu_visit *visit)
{
	spin_unlock(&visit->intervals->lock);
	if (unlikely(visit->ended))
		mmu_visit_after_calls(visit);
}

/* The first of two passes, or the only one. False if it would have to sleep. */
static bool mmu_visit_call(struct mmu_visit *visit,
			   struct mmu_interval_notifier *sub)
{
	struct mmu_interval_notifier_finish *finish = NULL;

	visit->called[visit->nr_called] = sub;
	/* Those before have returned. Pairs with mmu_visit_forget(). */
	smp_store_release(&visit->nr_called, visit->nr_called + 1);
	if (!sub->ops->invalidate_start)
		return sub->ops->invalidate(sub, visit->range, visit->seq);

	if (!sub->ops->invalidate_start(sub, visit->range, visit->seq, &finish))
		return false;
	if (finish) {
		finish->notifier = sub;
		__llist_add(&finish->link, &visit->finish);
		WRITE_ONCE(visit->second,
			   visit->second | 1U << (visit->nr_called - 1));
	}
	return true;
}

/* Call the batch. False if one would have had to sleep, and must not. */
static bool mmu_visit_call_batch(struct mmu_visit *visit)
{
	struct mmu_interval_notifier *sub = visit->batch[0];
	unsigned int i = 0;

	visit->batch[0] = NULL;
	do {
		if (sub && !mmu_visit_call(visit, sub) &&
		    !WARN_ON(mmu_notifier_range_blockable(visit->range)))
			return false;
		/* Claim the next one, unless a removal was faster. */
		sub = ++i < visit->nr ? xchg(&visit->batch[i], NULL) : NULL;
	} while (i < visit->nr);
	return true;
}

/* Where to go on after the batch, which is in the tree still. The lock is held. */
static struct interval_tree_node *mmu_visit_next(struct mmu_visit *visit)
{
	struct mmu_interval_notifier *last =
		visit->called[visit->nr_called - 1];

	return mmu_range_next(&last->interval_tree, visit->range);
}

/* Must the invalidation begin with the tree again? The lock is held. */
static bool mmu_visit_must_restart(struct mmu_visit *visit)
{
	struct mmu_intervals *intervals = visit->intervals;
	bool restart = visit->restart;

	/* Without a slot it is not found, and restarts for any resize. */
	if (unlikely(mmu_range_slot(visit->range) >= MMU_SLOTS))
		restart = visit->moves != intervals->moves;
	if (likely(!restart))
		return false;
	visit->restart = false;
	visit->moves = intervals->moves;
	visit->seq = mmu_seq_next(&intervals->seq);
	return true;
}

/* The callbacks of the batch have ended, or will not be called. */
static void mmu_visit_end_batch(struct mmu_visit *visit, bool done)
{
	unsigned int i;

	for (i = 0; i < visit->nr_called; i++)
		if (visit->called[i] && !(visit->second & (1U << i)))
			mmu_visit_end_call(visit, visit->called[i]);
	if (likely(done))
		return;
	for (i = 0; i < visit->nr; i++)
		if (visit->batch[i])
			mmu_visit_end_call(visit, visit->batch[i]);
}

/*
 * Call all subscriptions from @node on. The lock is held, but not while they
 * run. False if one would have had to sleep, and must not.
 */
static bool mmu_visit_first_passes(struct mmu_visit *visit,
				   struct interval_tree_node *node)
{
	bool done = true;

	while (node && done) {
		mmu_visit_begin_calls(visit, node);
		if (!visit->nr)
			break;
		mmu_visit_unlock(visit);
		done = mmu_visit_call_batch(visit);
		spin_lock(&visit->intervals->lock);
		node = mmu_visit_next(visit);
		mmu_visit_end_batch(visit, done);
		/* Only now: the first one may just have left the tree. */
		if (mmu_visit_must_restart(visit))
			node = mmu_range_first(visit->intervals, visit->range);
	}
	return done;
}

/* In the order of the first passes, so that the oldest is waited for first */
static void mmu_visit_second_passes(struct mmu_visit *visit)
{
	struct mmu_interval_notifier_finish *finish, *next;
	struct llist_node *first =
		llist_reverse_order(__llist_del_all(&visit->finish));

	llist_for_each_entry_safe(finish, next, first, link) {
		struct mmu_interval_notifier *sub = finish->notifier;

		sub->ops->invalidate_finish(finish);
		spin_lock(&visit->intervals->lock);
		mmu_visit_end_call(visit, sub);
		mmu_visit_unlock(visit);
	}
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
	unsigned int slot = mmu_range_slot(range);
	bool done;

	visit.intervals = intervals;
	visit.range = range;
	visit.seq = mmu_seq_next(&intervals->seq);
	visit.moves = intervals->moves;
	visit.restart = false;
	visit.ended = false;
	init_llist_head(&visit.finish);
	visit.gone = NULL;

	if (slot < MMU_SLOTS)
		intervals->visits[slot] = &visit;
	done = mmu_visit_first_passes(&visit, node);
	if (slot < MMU_SLOTS)
		intervals->visits[slot] = NULL;
	mmu_visit_unlock(&visit);
	mmu_visit_second_passes(&visit);
	if (done)
		return 0;
	mmu_intervals_end(intervals, range);
	return -EAGAIN;
}

/*
 * @sub is being removed: take it out of a batch where it is not being called, not
 * yet or not any more, and where no second pass is left. The lock is held.
 */
static void mmu_visit_forget(struct mmu_visit *visit,
			     struct mmu_interval_notifier *sub)
{
	unsigned int nr_called, second, i;

	/* Pairs with mmu_visit_call(): all but the last of them have returned. */
	nr_called = smp_load_acquire(&visit->nr_called);
	second = READ_ONCE(visit->second);

	for (i = 1; i < visit->nr; i++)
		if (cmpxchg(&visit->batch[i], sub, NULL) == sub)
			mmu_callback_end(&sub->state);
	for (i = 0; i + 1 < nr_called; i++) {
		if (visit->called[i] != sub || second & (1U << i))
			continue;
		visit->called[i] = NULL;
		mmu_callback_end(&sub->state);
	}
}

static void mmu_intervals_forget(struct mmu_intervals *intervals,
				 struct mmu_interval_notifier *sub)
{
	unsigned long used = intervals->inflight.used;

	for (; used; used &= used - 1) {
		struct mmu_visit *visit = intervals->visits[__ffs(used)];

		if (visit)
			mmu_visit_forget(visit, sub);
	}
}

/* @sub is about to move: invalidations on their way must not miss it. */
static void mmu_intervals_restart(struct mmu_intervals *intervals,
				  const struct mmu_interval_notifier *sub)
{
	unsigned long used = intervals->inflight.used;
	const struct interval_tree_node *node = &sub->interval_tree;

	for (; used; used &= used - 1) {
		unsigned int nr = __ffs(used);
		const struct mmu_inflight_slot *slot =
			&intervals->inflight.slots[nr];

		if (intervals->visits[nr] && slot->first <= node->last &&
		    node->start <= slot->last)
			intervals->visits[nr]->restart = true;
	}
	intervals->moves++;
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
	mmu_range_set_slot(range, mmu_inflight_start(&intervals->inflight,
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
 * Context: Any but interrupts.
 */
void mmu_intervals_end(struct mmu_intervals *intervals,
		       struct mmu_notifier_range *range)
{
	bool wake;

	spin_lock(&intervals->lock);
	mmu_inflight_end(&intervals->inflight, mmu_range_slot(range));
	/*
	 * A waiter is on the queue before it looks at the invalidations in
	 * flight, under the lock: either it is seen here, or it does not find
	 * this one.
	 */
	wake = waitqueue_active(&intervals->wq);
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
	/* If another task has made the barrier, it serves here too. */
	if (!smp_load_acquire(&intervals->fenced)) {
		mmu_notifier_fence();
		/* Pairs with the acquire: what is visible here is there. */
		smp_store_release(&intervals->fenced, true);
	}
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

/* The usual case: nothing at all is in flight */
static __always_inline bool
mmu_interval_begin_at_once(struct mmu_interval_notifier *sub,
			   unsigned long *seq)
{
	struct mmu_intervals *intervals = mmu_intervals_of(sub);
	bool begins;

	spin_lock(&intervals->lock);
	begins = mmu_inflight_none(&intervals->inflight);
	*seq = READ_ONCE(sub->invalidate_seq);
	spin_unlock(&intervals->lock);
	return begins;
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

/**
 * mmu_interval_read_begin() - begin to read what a subscription covers
 * @interval_sub: the subscription
 *
 * Waits for the invalidations that overlap the subscription and are in flight
 * now, for no others, and for as long as it takes;
 * mmu_interval_read_begin_timeout() and mmu_interval_read_begin_killable() do
 * not. The first reader of an address space may also wait for those that started
 * before its first subscription.
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
	if (!mmu_interval_begin_at_once(interval_sub, &seq))
		mmu_interval_begin(interval_sub, &seq, NULL);
	return seq;
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
 * Return: 0, -ETIMEDOUT if an overlapping invalidation was in flight all the
 * time, or -EINTR if the calling task is being killed.
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
	interval_sub->release = NULL;
	interval_sub->stale_task = NULL;

	intervals = &subscriptions->intervals;
	guard(spinlock)(&intervals->lock);
	/*
	 * One of its own: a reader from before it was removed and inserted
	 * again must not find the sequence that it left with. It looks without
	 * this lock.
	 */
	WRITE_ONCE(interval_sub->invalidate_seq, mmu_seq_next(&intervals->seq));
	interval_tree_insert(&interval_sub->interval_tree, &intervals->tree);
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
	if (!mmu_inflight_wait_over(&resize->wait, &intervals->inflight))
		return false;
	mmu_intervals_restart(intervals, sub);
	interval_tree_remove(node, &intervals->tree);
	/* hmm_range_fault() reads them without the lock. */
	WRITE_ONCE(node->start, resize->start);
	WRITE_ONCE(node->last, resize->last);
	interval_tree_insert(node, &intervals->tree);
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
 * from a callback of this subscription. Not while another task resizes it.
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

/* True if it is out of the tree now, false if the last callback takes it out. */
static bool mmu_intervals_remove(struct mmu_intervals *intervals,
				 struct mmu_interval_notifier *sub,
				 mmu_interval_release_fn release)
{
	guard(spinlock)(&intervals->lock);
	if (WARN_ON(sub->state.removed))
		return false;
	sub->release = release;
	if (unlikely(sub->state.callbacks))
		mmu_intervals_forget(intervals, sub);
	if (!mmu_state_remove(&sub->state))
		return false;
	interval_tree_remove(&sub->interval_tree, &intervals->tree);
	return true;
}

static bool mmu_interval_is_out(struct mmu_intervals *intervals,
				const struct mmu_interval_notifier *sub)
{
	guard(spinlock)(&intervals->lock);
	return RB_EMPTY_NODE(&sub->interval_tree.rb);
}

/**
 * mmu_interval_notifier_remove() - end a subscription
 * @interval_sub: the subscription
 *
 * Waits for callbacks of this subscription that are running, and for nothing
 * else. When it returns no callback is running, and none will.
 *
 * Context: Process context, may sleep. Nothing is held that its callbacks take.
 * From callbacks of other subscriptions it may be called if this one's have a
 * single pass and do not wait for the caller's subscription in turn. From its own
 * it may not: mmu_interval_notifier_remove_async() may be, from all of them.
 */
void mmu_interval_notifier_remove(struct mmu_interval_notifier *interval_sub)
{
	struct mmu_intervals *intervals = mmu_intervals_of(interval_sub);
	struct mm_struct *mm = interval_sub->mm;

	might_sleep();
	if (!mmu_intervals_remove(intervals, interval_sub, NULL))
		wait_event(intervals->wq,
			   mmu_interval_is_out(intervals, interval_sub));
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
 * the last one has ended.
 *
 * Context: Any but interrupts, callbacks of the subscription included.
 */
void
mmu_interval_notifier_remove_async(struct mmu_interval_notifier *interval_sub,
				   mmu_interval_release_fn release)
{
	struct mmu_intervals *intervals = mmu_intervals_of(interval_sub);
	struct mm_struct *mm = interval_sub->mm;

	if (!mmu_intervals_remove(intervals, interval_sub, release))
		return;
	release(interval_sub);
	mmdrop_sched(mm);
}
EXPORT_SYMBOL_GPL(mmu_interval_notifier_remove_async);
