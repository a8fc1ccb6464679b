// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Interval subscriptions: the collision-retry protocol between readers, which
 * mirror a range of an address space, and invalidations, which change it.
 *
 * Each address space has one lock, which is held briefly and never while a
 * callback runs. It protects the tree of subscriptions and the invalidations in
 * flight. mmu_interval_state.h has the rules.
 *
 * Reading. A reader waits for the overlapping invalidations that are in flight
 * when it begins, but not for later ones. It checks for these under the
 * driver's lock:
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
 *	  make the device stop using the range
 *	change entries
 *						driver's lock:
 *						  sub's seq differs: retry
 *
 * If the reader takes the driver's lock before the callback does, it programs
 * the device, and the callback undoes that. If the reader begins when the
 * invalidation is in flight already, it waits.
 *
 * While a reader waits, later invalidations may start, and some of them may
 * call the subscription. The reader then returns the sequence from before it
 * waited, which is stale: see mmu_seq_after_wait().
 *
 * Nothing waits for an unrelated invalidation, unless there are so many in
 * flight that some have no slot: see mmu_interval_state.h.
 *
 * Inserting takes effect at once. Invalidations in flight may miss the new
 * subscription, which does no harm: its readers wait for those that overlap.
 * When the first subscription of an address space is inserted, there may be
 * invalidations in flight without a slot, which must be assumed to overlap.
 * Inserting does not wait for them, but the first reader does, see
 * mmu_notifier.c.
 *
 * Calling. An invalidation picks some subscriptions under the lock and calls
 * them without it. A removal takes the subscription out of the tree, clears the
 * pointers to it in invalidations that have picked it, advances invalidations
 * that would continue from it, and waits only if a callback of it is running:
 *
 *	invalidation				mmu_interval_notifier_remove()
 *
 *	lock: pick some, unlock
 *						lock: out of the tree,
 *						      clear it, wanted = true
 *	at = the next one			barrier
 *	barrier					read at: is it this one?
 *	was it cleared?				unlock
 *	callback				if so, wait until it is not
 *	at = the next one			free it
 *	barrier
 *	wanted: wake
 *
 * So a callback can remove other subscriptions, or wait for another task that
 * does: a removal waits for the callbacks of one subscription, not for the
 * others that were picked with it. With two passes, it also waits for the
 * second pass, which comes after the first passes of all subscriptions.
 *
 * Resizing moves a subscription in the tree, while invalidations may be walking
 * the tree. Those that overlap its old range started after the resize began to
 * wait. They might miss the subscription, so they walk the tree again, with a
 * new sequence, since callbacks must not set one that a reader may have seen.
 * To all others, the subscription is like a new one.
 */
#define pr_fmt(fmt)	"mmu_interval: " fmt

#include <linux/export.h>
#include <linux/interval_tree_generic.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include <trace/events/mmu_notifier.h>

#include "mmu_interval_state.h"
#include "mmu_notifier_internal.h"

#define MMU_NODE_START(node)	((node)->start)
#define MMU_NODE_LAST(node)	((node)->last)

/* As lib/interval_tree.c, but inline: walks visit each subscription. */
INTERVAL_TREE_DEFINE(struct interval_tree_node, rb, unsigned long,
		     __subtree_last, MMU_NODE_START, MMU_NODE_LAST,
		     static __always_inline, mmu_interval_tree)

void mmu_intervals_init(struct mmu_intervals *intervals)
{
	spin_lock_init(&intervals->lock);
	intervals->tree = RB_ROOT_CACHED;
	intervals->seq = MMU_FIRST_SEQ;
	init_waitqueue_head(&intervals->wq);
}

/* All invalidations that start after this returns have a slot. */
static void mmu_intervals_fence(struct mmu_intervals *intervals)
{
	/* A barrier that another task has executed is sufficient. */
	if (smp_load_acquire(&intervals->fenced))
		return;
	mmu_notifier_fence();
	/* Pairs with the acquire above. */
	smp_store_release(&intervals->fenced, true);
}

/**
 * mmu_intervals_track() - make all later invalidations take a slot
 * @intervals: of the address space
 * @mm: the address space
 *
 * Invalidations in flight have no slot: see mmu_intervals_settle(). The
 * subscriptions are already visible. Tasks may do this concurrently.
 *
 * Context: Process context, interrupts enabled.
 */
void mmu_intervals_track(struct mmu_intervals *intervals, struct mm_struct *mm)
{
	scoped_guard(spinlock, &intervals->lock) {
		if (intervals->tracked)
			return;
		/* Stands for all invalidations in flight, until they end. */
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
 * struct mmu_interval_visit - an invalidation that walks the tree
 * @link: in the list of the address space
 * @range: the invalidation
 * @seq: its sequence
 * @calls: the subscriptions that it calls next
 * @next: the node after those; removals keep it in the tree
 * @restart: a subscription was resized: walk the tree again
 * @finish: the second passes that are still to run
 *
 * On the stack of the invalidation, which removes it from the list before it
 * returns.
 */
struct mmu_interval_visit {
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
mmu_interval_first(struct mmu_intervals *intervals,
		   const struct mmu_notifier_range *range)
{
	return mmu_interval_tree_iter_first(&intervals->tree, range->start,
					    range->end - 1);
}

static __always_inline struct interval_tree_node *
mmu_interval_next(struct interval_tree_node *node,
		  const struct mmu_notifier_range *range)
{
	return mmu_interval_tree_iter_next(node, range->start, range->end - 1);
}

/*
 * Is a callback of @sub running, or its second pass pending? The lock is held.
 */
static bool mmu_interval_runs(struct mmu_intervals *intervals,
			      const struct mmu_interval_notifier *sub)
{
	struct mmu_interval_visit *visit;

	lockdep_assert_held(&intervals->lock);

	hlist_for_each_entry(visit, &intervals->visits, link)
		if (mmu_calls_at(&visit->calls, sub))
			return true;
	/* A first pass counts its second pass before it ends. */
	return atomic_read(&sub->state.second_passes);
}

/* Unlink the removed subscriptions that are idle. The lock is held. */
static struct rb_node *mmu_intervals_pop_idle(struct mmu_intervals *intervals)
{
	struct rb_node **link = &intervals->removed;
	struct rb_node *node, *released = NULL;

	lockdep_assert_held(&intervals->lock);

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

/*
 * After a callback whose subscription a removal may wait for. No lock is held.
 */
static noinline void mmu_intervals_called_back(struct mmu_intervals *intervals)
{
	struct rb_node *released;

	/* mmu_notifier_synchronize() waits for release functions of modules. */
	guard(srcu)(&mmu_notifier_calls);
	scoped_guard(spinlock, &intervals->lock)
		released = mmu_intervals_pop_idle(intervals);
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

static noinline bool
mmu_interval_start_passes(struct mmu_interval_visit *visit,
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

/* @sub may be resized during its callback. */
static noinline bool
mmu_interval_traced_pass(struct mmu_interval_visit *visit,
			 struct mmu_interval_notifier *sub)
{
	const struct mmu_interval_notifier_ops *ops = sub->ops;
	unsigned long start = READ_ONCE(sub->interval_tree.start);
	unsigned long last = READ_ONCE(sub->interval_tree.last);
	const void *function = ops->invalidate;
	u64 begin = ktime_get_ns();
	bool done;

	if (ops->invalidate_start) {
		function = ops->invalidate_start;
		done = mmu_interval_start_passes(visit, sub);
	} else {
		done = ops->invalidate(sub, visit->range, visit->seq);
	}
	trace_mmu_invalidate_call(visit->range, start, last, function,
				  visit->seq, !done, ktime_get_ns() - begin);
	return done;
}

/* Call the first or only pass. Returns false if it would have to sleep. */
static bool mmu_interval_first_pass(struct mmu_interval_visit *visit,
				    struct mmu_interval_notifier *sub)
{
	if (trace_mmu_invalidate_call_enabled())
		return mmu_interval_traced_pass(visit, sub);
	if (likely(!sub->ops->invalidate_start))
		return sub->ops->invalidate(sub, visit->range, visit->seq);
	return mmu_interval_start_passes(visit, sub);
}

/* Call the picked subscriptions. False if a callback would have to sleep. */
static bool mmu_interval_call_picked(struct mmu_intervals *intervals,
				     struct mmu_interval_visit *visit)
{
	struct mmu_calls *calls = &visit->calls;
	struct mmu_interval_notifier **pos = calls->subs;
	struct mmu_interval_notifier **end = pos + calls->nr;
	bool done = true;

	for (; pos < end; pos++) {
		struct mmu_interval_notifier *sub = READ_ONCE(*pos);

		mmu_calls_advance(calls, sub);
		if (mmu_calls_wanted(calls)) {
			mmu_intervals_called_back(intervals);
			sub = READ_ONCE(*pos);
			if (!sub)
				continue;
		}
		if (unlikely(!mmu_interval_first_pass(visit, sub)) &&
		    !WARN_ON(mmu_notifier_range_blockable(visit->range))) {
			done = false;
			break;
		}
	}
	mmu_calls_advance(calls, NULL);
	if (mmu_calls_wanted(calls))
		mmu_intervals_called_back(intervals);
	return done;
}

/* Pick the subscriptions to call next. The lock is held. */
static void mmu_interval_pick(struct mmu_interval_visit *visit)
{
	struct interval_tree_node *node = visit->next;
	/* The compiler holds a local copy in registers. */
	const struct mmu_notifier_range range = *visit->range;
	struct mmu_calls *calls = &visit->calls;
	struct mmu_interval_notifier **pos = calls->subs;
	struct mmu_interval_notifier **end = pos + MMU_CALLS;

	do {
		*pos++ = mmu_interval_of(node);
		node = mmu_interval_next(node, &range);
	} while (node && pos < end);
	calls->nr = pos - calls->subs;
	/* No callback is running, so no removal waits. */
	calls->wanted = false;
	visit->next = node;
}

/* The subscription stays until its second pass is counted. */
static void mmu_interval_finish(struct mmu_interval_visit *visit,
				struct mmu_interval_notifier *sub,
				struct mmu_interval_notifier_finish *finish)
{
	const struct mmu_interval_notifier_ops *ops = sub->ops;
	u64 begin;

	if (!trace_mmu_invalidate_call_enabled()) {
		ops->invalidate_finish(finish);
		return;
	}
	begin = ktime_get_ns();
	ops->invalidate_finish(finish);
	trace_mmu_invalidate_call(visit->range,
				  READ_ONCE(sub->interval_tree.start),
				  READ_ONCE(sub->interval_tree.last),
				  ops->invalidate_finish, visit->seq, false,
				  ktime_get_ns() - begin);
}

/*
 * Run second passes in the order of the first passes, to wait for the oldest
 * work first.
 */
static noinline void
mmu_interval_second_passes(struct mmu_intervals *intervals,
			   struct mmu_interval_visit *visit)
{
	struct mmu_interval_notifier_finish *finish, *next;
	struct llist_node *first =
		llist_reverse_order(__llist_del_all(&visit->finish));

	llist_for_each_entry_safe(finish, next, first, link) {
		struct mmu_interval_notifier *sub = finish->notifier;
		bool removed;

		mmu_interval_finish(visit, sub, finish);
		scoped_guard(spinlock, &intervals->lock) {
			atomic_dec(&sub->state.second_passes);
			removed = sub->state.removed;
		}
		/* @sub may be freed by now. */
		if (removed)
			mmu_intervals_called_back(intervals);
	}
}

/* Walk the tree again, as another invalidation would. The lock is held. */
static noinline void
mmu_interval_restart_visit(struct mmu_intervals *intervals,
			   struct mmu_interval_visit *visit)
{
	lockdep_assert_held(&intervals->lock);

	visit->restart = false;
	visit->seq = mmu_seq_next(&intervals->seq);
	visit->next = mmu_interval_first(intervals, visit->range);
}

/*
 * Call all overlapping subscriptions from @node on. Called with the lock held;
 * drops it. Not inline: most invalidations overlap no subscription.
 */
static noinline int mmu_intervals_call(struct mmu_intervals *intervals,
				       struct mmu_notifier_range *range,
				       struct interval_tree_node *node)
{
	struct mmu_interval_visit visit __uninitialized;
	bool done;

	lockdep_assert_held(&intervals->lock);

	visit.range = range;
	visit.seq = mmu_seq_next(&intervals->seq);
	visit.next = node;
	visit.restart = false;
	visit.calls.at = NULL;
	init_llist_head(&visit.finish);
	hlist_add_head(&visit.link, &intervals->visits);
	do {
		mmu_interval_pick(&visit);
		spin_unlock(&intervals->lock);
		done = mmu_interval_call_picked(intervals, &visit);
		spin_lock(&intervals->lock);
		if (unlikely(visit.restart))
			mmu_interval_restart_visit(intervals, &visit);
	} while (done && visit.next);
	hlist_del(&visit.link);
	spin_unlock(&intervals->lock);

	if (unlikely(!llist_empty(&visit.finish)))
		mmu_interval_second_passes(intervals, &visit);
	if (likely(done))
		return 0;
	mmu_intervals_end(intervals, range);
	return -EAGAIN;
}

/*
 * @sub leaves the tree: no invalidation may continue from it or start to call
 * it. The lock is held.
 */
static noinline void mmu_intervals_detach(struct mmu_intervals *intervals,
					  struct mmu_interval_notifier *sub)
{
	struct interval_tree_node *node = &sub->interval_tree;
	struct mmu_interval_visit *visit;

	lockdep_assert_held(&intervals->lock);

	hlist_for_each_entry(visit, &intervals->visits, link) {
		if (visit->next == node)
			visit->next = mmu_interval_next(node, visit->range);
		mmu_calls_clear(&visit->calls, sub);
	}
	/* For mmu_interval_runs(): see mmu_calls_advance(). */
	smp_mb();
}

/*
 * @sub will be resized: invalidations of its old range must not miss it. The
 * lock is held.
 */
static void mmu_intervals_restart(struct mmu_intervals *intervals,
				  const struct mmu_interval_notifier *sub)
{
	const struct interval_tree_node *node = &sub->interval_tree;
	struct mmu_interval_visit *visit;

	lockdep_assert_held(&intervals->lock);

	hlist_for_each_entry(visit, &intervals->visits, link)
		if (visit->range->start <= node->last &&
		    node->start < visit->range->end)
			visit->restart = true;
}

/**
 * mmu_intervals_start() - start an invalidation
 * @intervals: of the address space
 * @range: the invalidation
 *
 * Context: Process context; may sleep if mmu_notifier_range_blockable().
 *
 * Return: 0, or -EAGAIN if a callback would have to sleep and must not. In that
 * case the invalidation is not in flight.
 */
int mmu_intervals_start(struct mmu_intervals *intervals,
			struct mmu_notifier_range *range)
{
	struct interval_tree_node *node;
	unsigned int slot;

	trace_mmu_invalidate_start(range);
	spin_lock(&intervals->lock);
	slot = mmu_inflight_start(&intervals->inflight, range->start,
				  range->end - 1);
	mmu_notifier_range_set_slot(range, slot);
	node = mmu_interval_first(intervals, range);
	if (unlikely(node))
		return mmu_intervals_call(intervals, range, node);
	spin_unlock(&intervals->lock);
	return 0;
}

/**
 * mmu_intervals_end() - end an invalidation
 * @intervals: of the address space
 * @range: the invalidation
 *
 * Context: Process context. Does not sleep.
 */
void mmu_intervals_end(struct mmu_intervals *intervals,
		       struct mmu_notifier_range *range)
{
	bool wake;

	trace_mmu_invalidate_end(range);
	spin_lock(&intervals->lock);
	mmu_inflight_end(&intervals->inflight,
			 mmu_notifier_range_put_slot(range));
	/*
	 * A waiter is on the queue before it checks the invalidations in flight
	 * under the lock: either it is seen here, or it does not see this one.
	 */
	wake = waitqueue_active(&intervals->wq);
	if (unlikely(wake))
		mmu_notifier_add_pending(intervals);
	spin_unlock(&intervals->lock);
	if (unlikely(wake))
		wake_up_all(&intervals->wq);
}

/**
 * mmu_intervals_release() - notify all subscriptions that the address space is
 * torn down
 * @intervals: of the address space
 * @mm: the address space
 *
 * The drivers remove their subscriptions later.
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
 * @intervals: of the address space
 * @over: whether the wait is over; called whenever something has ended
 * @arg: for @over
 * @left: %NULL to wait without limit; otherwise the wait is killable and has
 *	this timeout in jiffies, which is updated to the time left
 *
 * Context: Process context, may sleep.
 *
 * Return: 0, -EINTR after a fatal signal, or -ETIMEDOUT.
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
 * mmu_intervals_settle() - wait for invalidations that started without a slot
 * @intervals: of the address space
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

/* For mmu_intervals_wait_until(): is @wait over? */
bool mmu_intervals_wait_over(struct mmu_intervals *intervals, void *wait)
{
	guard(spinlock)(&intervals->lock);
	return mmu_inflight_wait_over(wait, &intervals->inflight);
}

/* Readers */

/* The usual case: nothing is in flight. False if something may be. */
static __always_inline bool
mmu_interval_begin_fast(struct mmu_interval_notifier *sub,
			unsigned long *seq)
{
	struct mmu_intervals *intervals = mmu_intervals_of(sub);

	guard(spinlock)(&intervals->lock);
	*seq = READ_ONCE(sub->invalidate_seq);
	return mmu_inflight_none(&intervals->inflight);
}

/* Wait, if necessary. @left as for mmu_intervals_wait_until() */
static noinline int mmu_interval_begin_slow(struct mmu_interval_notifier *sub,
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

/* Trace what @sub will wait for. False if it will not wait. */
static bool mmu_interval_trace_wait(const struct mmu_interval_notifier *sub)
{
	struct mmu_intervals *intervals = mmu_intervals_of(sub);
	const struct interval_tree_node *node = &sub->interval_tree;
	const struct mmu_inflight *inflight = &intervals->inflight;
	const struct mmu_inflight_slot *oldest = NULL;
	unsigned long slots, left;

	guard(spinlock)(&intervals->lock);
	slots = mmu_inflight_overlaps(inflight, node->start, node->last);
	for (left = slots; left; left &= left - 1) {
		const struct mmu_inflight_slot *slot;

		slot = &inflight->slots[__ffs(left)];
		if (!oldest || (long)(slot->number - oldest->number) < 0)
			oldest = slot;
	}
	if (!oldest && !inflight->untracked)
		return false;
	trace_mmu_interval_wait_begin(sub, hweight_long(slots),
				      inflight->untracked,
				      oldest ? oldest->first : 0,
				      oldest ? oldest->last + 1 : 0);
	return true;
}

static noinline int
mmu_interval_begin_traced(struct mmu_interval_notifier *sub, unsigned long *seq,
			  long *left)
{
	bool waits = mmu_interval_trace_wait(sub);
	u64 begin = ktime_get_ns();
	int ret = mmu_interval_begin_slow(sub, seq, left);

	if (waits)
		trace_mmu_interval_wait_end(sub, ret, ktime_get_ns() - begin);
	return ret;
}

static bool mmu_interval_wait_is_traced(void)
{
	return trace_mmu_interval_wait_begin_enabled() ||
	       trace_mmu_interval_wait_end_enabled();
}

static __always_inline int
mmu_interval_begin_wait(struct mmu_interval_notifier *sub, unsigned long *seq,
			long *left)
{
	if (mmu_interval_wait_is_traced())
		return mmu_interval_begin_traced(sub, seq, left);
	return mmu_interval_begin_slow(sub, seq, left);
}

/* Without a limit. Not inline, so that the fast path has no stack frame. */
static noinline unsigned long
mmu_interval_begin_untimed(struct mmu_interval_notifier *sub)
{
	unsigned long seq;

	mmu_interval_begin_wait(sub, &seq, NULL);
	return seq;
}

/**
 * mmu_interval_read_begin() - begin to read the range of a subscription
 * @interval_sub: the subscription
 *
 * Waits for the invalidations that are in flight now and overlap the
 * subscription, without limit; see mmu_interval_read_begin_timeout() and
 * mmu_interval_read_begin_killable() for limits. Also waits for invalidations
 * whose range is not known: those that started before the first subscription of
 * the address space, and those beyond BITS_PER_LONG in flight.
 *
 * Context: Process context, may sleep. The caller holds no lock that callbacks
 * take.
 *
 * Return: the sequence number for mmu_interval_read_retry(). It may already be
 * stale if other invalidations started while this waited.
 */
unsigned long
mmu_interval_read_begin(struct mmu_interval_notifier *interval_sub)
{
	unsigned long seq;

	mmu_notifier_might_wait();
	if (likely(mmu_interval_begin_fast(interval_sub, &seq)))
		return seq;
	return mmu_interval_begin_untimed(interval_sub);
}
EXPORT_SYMBOL_GPL(mmu_interval_read_begin);

/**
 * mmu_interval_read_begin_timeout() - mmu_interval_read_begin() with a timeout
 * @interval_sub: the subscription
 * @timeout: in jiffies
 * @seq: receives the sequence number for mmu_interval_read_retry()
 *
 * Context: As mmu_interval_read_begin().
 *
 * Return: 0, -ETIMEDOUT if an invalidation that mmu_interval_read_begin() waits
 * for is still in flight, or -EINTR after a fatal signal.
 */
int mmu_interval_read_begin_timeout(struct mmu_interval_notifier *interval_sub,
				    unsigned long timeout, unsigned long *seq)
{
	long left = min_t(unsigned long, timeout, MAX_SCHEDULE_TIMEOUT);

	mmu_notifier_might_wait();
	if (mmu_interval_begin_fast(interval_sub, seq))
		return 0;
	return mmu_interval_begin_wait(interval_sub, seq, &left);
}
EXPORT_SYMBOL_GPL(mmu_interval_read_begin_timeout);

/**
 * mmu_interval_read_begin_killable() - killable mmu_interval_read_begin()
 * @interval_sub: the subscription
 * @seq: receives the sequence number for mmu_interval_read_retry()
 *
 * Context: As mmu_interval_read_begin().
 *
 * Return: 0, or -EINTR after a fatal signal.
 */
int mmu_interval_read_begin_killable(struct mmu_interval_notifier *interval_sub,
				     unsigned long *seq)
{
	return mmu_interval_read_begin_timeout(interval_sub,
					       MAX_SCHEDULE_TIMEOUT, seq);
}
EXPORT_SYMBOL_GPL(mmu_interval_read_begin_killable);

/**
 * mmu_interval_latest() - the latest sequence of the address space
 * @sub: a subscription
 *
 * Context: Any that may take spinlocks.
 *
 * Return: the sequence that the latest invalidation got which has called any
 * subscription, for mmu_interval_read_within().
 */
unsigned long mmu_interval_latest(struct mmu_interval_notifier *sub)
{
	struct mmu_intervals *intervals = mmu_intervals_of(sub);

	guard(spinlock)(&intervals->lock);
	return intervals->seq;
}

/**
 * mmu_interval_read_within() - begin to read within an invalidation of one's own
 * @sub: the subscription
 * @range: the invalidation, which the calling task has started
 * @since: from mmu_interval_latest(), before mmu_interval_read_begin()
 * @seq: receives the sequence for mmu_interval_read_retry()
 *
 * For a task that invalidates a range of the subscription and reads entries
 * there before it ends the invalidation: this takes the place of
 * mmu_interval_read_begin(), which would wait for the task's own invalidation.
 *
 *	this task			another invalidation
 *
 *	start: callbacks set the
 *	sequence
 *	lock: is another in flight
 *	that overlaps? no; seq = sub's
 *	unlock
 *					lock: in flight, new sequence
 *					unlock
 *	read and change entries
 *					callback: sub's seq = new sequence
 *					change entries
 *	end
 *	driver's lock:
 *	sub's seq differs: retry
 *
 * If the other one is in flight at the check already, its callback may have
 * been called before those of this task's, and would then leave no trace in the
 * sequence. So what this task reads cannot be used, and it must not wait: the
 * other one might be waiting likewise.
 *
 * Context: Process context, between mmu_notifier_invalidate_range_start() and
 * its end.
 *
 * Return: 0 if what the task has read since @since was returned is valid until
 * the sequence changes; 1 if only what it reads from now on is; -EAGAIN if
 * neither is.
 */
int mmu_interval_read_within(struct mmu_interval_notifier *sub,
			     const struct mmu_notifier_range *range,
			     unsigned long since, unsigned long *seq)
{
	struct mmu_intervals *intervals = mmu_intervals_of(sub);
	const struct interval_tree_node *node = &sub->interval_tree;
	unsigned int slot = mmu_notifier_range_slot(range);

	guard(spinlock)(&intervals->lock);
	*seq = READ_ONCE(sub->invalidate_seq);
	if (slot >= MMU_SLOTS || intervals->inflight.untracked ||
	    mmu_inflight_overlaps(&intervals->inflight, node->start,
				  node->last) & ~BIT(slot))
		return -EAGAIN;
	/* Has no sequence been used but the one of @range? */
	return mmu_seq_next(&since) != intervals->seq;
}

/* Stored instead of a task after a report about this subscription */
#define REPORTED	((struct task_struct *)1)

/**
 * mmu_interval_note_stale() - detect drivers that retry with a stale sequence
 * @interval_sub: the subscription
 * @seq: the sequence
 * @caller: the caller to report
 *
 * Called when a task passes a stale sequence, which may happen once. If the
 * task passes the same one again, it has not called mmu_interval_read_begin()
 * in between, and may loop forever. That is reported once for each
 * subscription.
 *
 * Context: Any. Racing tasks may overwrite each other's record; then there is
 * no report.
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
	pr_warn("%pS retried with a stale sequence number instead of a new one from mmu_interval_read_begin()\n",
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
 * @interval_sub: the subscription; must stay valid until it is removed
 * @mm: the address space
 * @start: first address
 * @length: length in bytes; the range need not be mapped
 * @ops: the callbacks
 *
 * The callbacks may be called before this returns. The subscription has a
 * reference to the mm_struct until it is removed.
 *
 * Context: Process context, may sleep, but does not wait for invalidations.
 * mmap_lock may be held. May be called from a callback of another subscription
 * of this address space. The caller has a reference to the address space, from
 * mmget(); in a callback, which may run during the teardown, from
 * mmget_not_zero().
 *
 * Return: 0, -EOVERFLOW if the range is empty or wraps, -EINVAL if the address
 * space is being torn down, or -ENOMEM. @interval_sub is unchanged after an
 * error.
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
	subscriptions = mmu_notifier_track(mm);
	if (!subscriptions)
		return -ENOMEM;

	/* Point of no return: @interval_sub is written only from here on. */
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
	 * Use a new sequence: the subscription may have been removed and
	 * inserted again, and a reader that began before that must see a
	 * change. Such readers do not take this lock.
	 */
	WRITE_ONCE(interval_sub->invalidate_seq, mmu_seq_next(&intervals->seq));
	mmu_interval_tree_insert(&interval_sub->interval_tree,
				 &intervals->tree);
	return 0;
}
EXPORT_SYMBOL_GPL(mmu_interval_notifier_insert);

/**
 * mmu_interval_notifier_insert_locked() - the same with mmap_lock held
 * @interval_sub: the subscription; must stay valid until it is removed
 * @mm: the address space
 * @start: first address
 * @length: length in bytes
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
 * struct mmu_interval_resize - a resize in progress
 * @sub: the subscription
 * @wait: the invalidations that it waits for
 * @start: the new first address
 * @last: the new last address
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
	mmu_interval_tree_remove(node, &intervals->tree);
	/* hmm_range_fault() reads both without the lock. */
	WRITE_ONCE(node->start, resize->start);
	WRITE_ONCE(node->last, resize->last);
	mmu_interval_tree_insert(node, &intervals->tree);
	WRITE_ONCE(sub->invalidate_seq, mmu_seq_next(&intervals->seq));
	return true;
}

/**
 * mmu_interval_notifier_resize() - move a subscription to another range
 * @interval_sub: the subscription
 * @start: the new first address
 * @length: the new length in bytes
 *
 * Waits for the invalidations that are in flight now and overlap the old range,
 * and for those in batches, whose range is not known. Later ones may call the
 * subscription during the resize, for the old range or the new one, and may
 * call it twice. All readers must retry.
 *
 * After the resize, callbacks are called only for the new range. So before it
 * shrinks or moves a subscription, a driver must make the device stop using the
 * rest of the old range, and must not map anything outside of the new range
 * from then on, both under the lock that it holds for
 * mmu_interval_read_retry(). The driver must keep bounds of its own under that
 * lock for its callbacks, as those of the subscription may change while a
 * callback runs.
 *
 * Context: Process context, may sleep. The caller must hold no lock that
 * callbacks take. Must not be called from a callback of this subscription, or
 * while another task resizes or removes it.
 *
 * Return: 0, -EOVERFLOW as mmu_interval_notifier_insert(), or -EINTR after a
 * fatal signal; the range is unchanged after an error.
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

/*
 * Take the subscription out of the tree. Returns false if a callback of it is
 * running, or a second pass is pending.
 */
static __always_inline bool
mmu_intervals_remove(struct mmu_intervals *intervals,
		     struct mmu_interval_notifier *sub,
		     mmu_interval_release_fn release)
{
	struct rb_node *node = &sub->interval_tree.rb;

	guard(spinlock)(&intervals->lock);
	sub->state.removed = true;
	if (unlikely(!hlist_empty(&intervals->visits)))
		mmu_intervals_detach(intervals, sub);
	mmu_interval_tree_remove(&sub->interval_tree, &intervals->tree);
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
 * mmu_interval_notifier_remove() - remove a subscription
 * @interval_sub: the subscription
 *
 * Waits for running callbacks of this subscription, and for its pending second
 * passes. No callback is running when this returns, and none will be called.
 *
 * Context: Process context, may sleep. The caller must hold no lock that the
 * callbacks of this subscription take; if it has two passes, no lock that any
 * callback of the address space takes. May be called from a callback of another
 * subscription if this one has a single pass, and its callbacks do not wait for
 * the calling one. Must not be called from a callback of this subscription;
 * mmu_interval_notifier_remove_async() may be called from any callback.
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
 * mmu_interval_notifier_remove_async() - remove a subscription without waiting
 * @interval_sub: the subscription
 * @release: called to free the subscription when nothing can reach it any more;
 *	must not sleep
 *
 * If no callback is running, @release is called before this returns, otherwise
 * after the last callback. The module that contains @release must call
 * mmu_notifier_synchronize() in its exit function, after @release was called
 * for all subscriptions.
 *
 * Context: Process context. Does not sleep. May be called from callbacks of the
 * subscription.
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
