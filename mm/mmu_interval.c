// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Interval subscriptions: collision-retry between those who mirror a range of
 * an address space and those who change it.
 *
 * All of it rests on one lock for each address space, held for short, never
 * while a callback runs. Under it are the tree of subscriptions and the list of
 * invalidations in flight. mmu_interval_state.h has the rules.
 *
 * Reading. A reader begins when nothing overlapping is in flight, and ends under
 * the driver's lock:
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
 * It does not matter how far an unrelated invalidation is: nobody waits for it.
 *
 * Inserting takes effect at once. Invalidations in flight may not call a new
 * subscription, and need not: its readers wait for those that overlap.
 *
 * Removing. A callback runs without the lock, and the invalidation goes on in
 * the tree from where it was. So the subscription stays in the tree until its
 * callbacks have ended:
 *
 *	invalidation				mmu_interval_notifier_remove()
 *
 *	lock: callbacks++, unlock
 *	callback ...				lock: removed, unlock
 *	  :					wait
 *	lock: find the next one
 *	      callbacks-- is 0 and removed:
 *	      out of the tree
 *	unlock, wake				lock: is out, unlock
 *						return, it may be freed
 *
 * The first subscription of an address space finds invalidations in flight that
 * are on no list. mmu_notifier.c says how they are waited for; here the readers
 * do it, so that inserting is quick.
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
	INIT_LIST_HEAD(&intervals->flights);
	intervals->seq = MMU_FIRST_SEQ;
	init_waitqueue_head(&intervals->wq);
}

static struct mmu_intervals *
intervals_of(const struct mmu_interval_notifier *sub)
{
	return &sub->mm->notifier_subscriptions->intervals;
}

/* Invalidations */

/**
 * struct mmu_visit - an invalidation on its way through the tree
 * @intervals: the tree's
 * @range: the invalidation
 * @seq: its sequence
 * @second: what first passes have left for the second pass
 * @ended: a subscription has come to its end: see after_calls()
 * @gone: subscriptions to be released once the lock is dropped
 */
struct mmu_visit {
	struct mmu_intervals *intervals;
	struct mmu_notifier_range *range;
	unsigned long seq;
	struct llist_head second;
	bool ended;
	struct hlist_head gone;
};

static struct mmu_interval_notifier *sub_of(struct interval_tree_node *node)
{
	return container_of(node, struct mmu_interval_notifier, interval_tree);
}

static struct interval_tree_node *
next_overlap(const struct mmu_visit *visit, struct interval_tree_node *node)
{
	return interval_tree_iter_next(node, visit->range->flight.first,
				       visit->range->flight.last);
}

/* Begin the callback of @node, or of the first behind it. The lock is held. */
static struct mmu_interval_notifier *begin_call(struct mmu_visit *visit,
						struct interval_tree_node *node)
{
	for (; node; node = next_overlap(visit, node))
		if (mmu_callback_begin(&sub_of(node)->state))
			return sub_of(node);
	return NULL;
}

static noinline void take_out(struct mmu_visit *visit,
			      struct mmu_interval_notifier *sub)
{
	interval_tree_remove(&sub->interval_tree, &visit->intervals->tree);
	/* Who waits for this may free it as soon as the lock is dropped. */
	RB_CLEAR_NODE(&sub->interval_tree.rb);
	if (sub->release)
		hlist_add_head(&sub->deferred_item, &visit->gone);
	visit->ended = true;
}

/* A callback has ended, and its second pass. The lock is held. */
static inline void end_call(struct mmu_visit *visit,
			    struct mmu_interval_notifier *sub)
{
	if (unlikely(mmu_callback_end(&sub->state)))
		take_out(visit, sub);
}

/* What is due when callbacks have ended, and the lock is not held any more */
static noinline void after_calls(struct mmu_visit *visit)
{
	struct mmu_interval_notifier *sub;
	struct hlist_node *next;

	visit->ended = false;
	wake_up_all(&visit->intervals->wq);
	hlist_for_each_entry_safe(sub, next, &visit->gone, deferred_item) {
		struct mm_struct *mm = sub->mm;

		sub->release(sub);
		mmdrop_sched(mm);
	}
	INIT_HLIST_HEAD(&visit->gone);
}

static void visit_unlock(struct mmu_visit *visit)
{
	spin_unlock(&visit->intervals->lock);
	if (unlikely(visit->ended))
		after_calls(visit);
}

/* The first of two passes, or the only one. False if it would have to sleep. */
static bool call_first_pass(struct mmu_visit *visit,
			    struct mmu_interval_notifier *sub, bool *second)
{
	struct mmu_interval_notifier_finish *finish = NULL;

	*second = false;
	if (!sub->ops->invalidate_start)
		return sub->ops->invalidate(sub, visit->range, visit->seq);

	if (!sub->ops->invalidate_start(sub, visit->range, visit->seq, &finish))
		return false;
	if (finish) {
		finish->notifier = sub;
		__llist_add(&finish->link, &visit->second);
		*second = true;
	}
	return true;
}

/*
 * Call all subscriptions from @node on. The lock is held, but not while they
 * run, and one is called at a time: a callback may remove any other. False if
 * one would have had to sleep, and must not.
 */
static bool call_first_passes(struct mmu_visit *visit,
			      struct interval_tree_node *node)
{
	struct mmu_interval_notifier *sub = begin_call(visit, node), *next;
	bool done = true, second;

	for (; sub; sub = next) {
		visit_unlock(visit);
		done = call_first_pass(visit, sub, &second) ||
		       WARN_ON(mmu_notifier_range_blockable(visit->range));
		spin_lock(&visit->intervals->lock);
		/* Before this one ends: its callback keeps it in the tree. */
		next = NULL;
		if (done)
			next = begin_call(visit,
					  next_overlap(visit, &sub->interval_tree));
		if (!second)
			end_call(visit, sub);
	}
	return done;
}

/* In the order of the first passes, so that the oldest is waited for first */
static void call_second_passes(struct mmu_visit *visit)
{
	struct mmu_interval_notifier_finish *finish, *next;
	struct llist_node *first =
		llist_reverse_order(__llist_del_all(&visit->second));

	llist_for_each_entry_safe(finish, next, first, link) {
		struct mmu_interval_notifier *sub = finish->notifier;

		sub->ops->invalidate_finish(finish);
		spin_lock(&visit->intervals->lock);
		end_call(visit, sub);
		visit_unlock(visit);
	}
}

/*
 * Call all subscriptions from @node on that overlap. The lock is held, and is
 * dropped. Not inlined: most invalidations meet no subscription.
 */
static noinline int call_all(struct mmu_intervals *intervals,
			     struct mmu_notifier_range *range,
			     struct interval_tree_node *node)
{
	struct mmu_visit visit __uninitialized;
	bool done;

	visit.intervals = intervals;
	visit.range = range;
	visit.seq = mmu_seq_next(&intervals->seq);
	visit.ended = false;
	init_llist_head(&visit.second);
	INIT_HLIST_HEAD(&visit.gone);

	done = call_first_passes(&visit, node);
	visit_unlock(&visit);
	call_second_passes(&visit);
	if (done)
		return 0;
	mmu_intervals_end(intervals, range);
	return -EAGAIN;
}

static bool no_flight_up_to(struct mmu_intervals *intervals,
			    unsigned long number)
{
	guard(spinlock)(&intervals->lock);
	return !mmu_flights_up_to(&intervals->flights, number);
}

/**
 * mmu_intervals_wait_for_flights() - wait for all invalidations on the list
 * @intervals: the address space's
 *
 * Waits for those that are there by now, not for later ones.
 *
 * Context: Process context, may sleep.
 */
void mmu_intervals_wait_for_flights(struct mmu_intervals *intervals)
{
	unsigned long number;

	spin_lock(&intervals->lock);
	number = intervals->flown;
	spin_unlock(&intervals->lock);
	wait_event(intervals->wq, no_flight_up_to(intervals, number));
}

/**
 * mmu_intervals_start() - an invalidation begins
 * @intervals: the address space's
 * @range: the invalidation
 *
 * Context: Process context; may sleep if mmu_notifier_range_blockable().
 *
 * Return: 0, or -EAGAIN if it must not sleep and would have to: then it has not
 * begun. If it is on the list, or was, it is no reader of SRCU any more.
 */
int mmu_intervals_start(struct mmu_intervals *intervals,
			struct mmu_notifier_range *range)
{
	struct interval_tree_node *node;

	if (!READ_ONCE(intervals->used)) {
		range->flight.number = 0;
		return 0;
	}

	spin_lock(&intervals->lock);
	mmu_flight_begin(&intervals->flights, &range->flight,
			 ++intervals->flown, range->start, range->end - 1);
	/* On the list is as good as in SRCU, and nobody else has to wait. */
	mmu_notifier_land(range);
	node = interval_tree_iter_first(&intervals->tree, range->flight.first,
					range->flight.last);
	if (unlikely(node))
		return call_all(intervals, range, node);
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

	/* It began before there were interval subscriptions. */
	if (!range->flight.number)
		return;

	spin_lock(&intervals->lock);
	mmu_flight_end(&range->flight);
	/*
	 * Who waits is on the queue before it looks at the flights, under the
	 * lock: either it is seen here, or it does not find this one.
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
 * Tells all subscriptions. It is for their owners to remove them.
 *
 * Context: Process context, may sleep.
 */
void mmu_intervals_release(struct mmu_intervals *intervals,
			   struct mm_struct *mm)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, MMU_NOTIFY_RELEASE,
				MMU_NOTIFIER_RANGE_BLOCKABLE, mm, 0, ULONG_MAX);
	if (!intervals->used)
		return;
	mmu_notifier_take_off(&range);
	mmu_intervals_start(intervals, &range);
	mmu_intervals_end(intervals, &range);
}

/* Readers */

/* The usual case: nothing at all is in flight */
static __always_inline bool read_begins_at_once(struct mmu_interval_notifier *sub,
						unsigned long *seq)
{
	struct mmu_intervals *intervals = intervals_of(sub);
	bool begins;

	spin_lock(&intervals->lock);
	begins = intervals->settled && list_empty(&intervals->flights);
	*seq = READ_ONCE(sub->invalidate_seq);
	spin_unlock(&intervals->lock);
	return begins;
}

static bool read_begins(struct mmu_interval_notifier *sub, unsigned long *seq)
{
	struct mmu_intervals *intervals = intervals_of(sub);

	guard(spinlock)(&intervals->lock);
	*seq = READ_ONCE(sub->invalidate_seq);
	return intervals->settled &&
	       !mmu_flights_overlap(&intervals->flights,
				    sub->interval_tree.start,
				    sub->interval_tree.last);
}

/* For lockdep: to wait for an invalidation is as bad as to make one. */
static void might_wait_for_invalidation(void)
{
	might_sleep();
	lock_map_acquire(&__mmu_notifier_invalidate_range_start_map);
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
}

/**
 * mmu_interval_read_begin() - begin to read what a subscription covers
 * @interval_sub: the subscription
 *
 * Waits for invalidations in flight that overlap the subscription, for no
 * others, and for as long as it takes; mmu_interval_read_begin_timeout() and
 * mmu_interval_read_begin_killable() do not. The first reader of an address
 * space may also wait for those that began before its first subscription.
 *
 * Context: Process context, may sleep. Nothing is held that callbacks take.
 *
 * Return: the sequence number for mmu_interval_read_retry().
 */
unsigned long
mmu_interval_read_begin(struct mmu_interval_notifier *interval_sub)
{
	unsigned long seq;

	might_wait_for_invalidation();
	if (!read_begins_at_once(interval_sub, &seq))
		wait_event(intervals_of(interval_sub)->wq,
			   read_begins(interval_sub, &seq));
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
	long left;

	might_wait_for_invalidation();
	if (read_begins_at_once(interval_sub, seq))
		return 0;
	left = wait_event_killable_timeout(intervals_of(interval_sub)->wq,
					   read_begins(interval_sub, seq),
					   min_t(unsigned long, timeout,
						 MAX_SCHEDULE_TIMEOUT));
	if (left > 0)
		return 0;
	return left ? -EINTR : -ETIMEDOUT;
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

/* From here on, all invalidations in flight are on the list. */
static void intervals_settled(struct rcu_head *rcu)
{
	struct mmu_intervals *intervals =
		container_of(rcu, struct mmu_intervals, rcu);

	spin_lock(&intervals->lock);
	intervals->settled = true;
	spin_unlock(&intervals->lock);
	wake_up_all(&intervals->wq);
	mmdrop_sched(intervals->mm);
}

/* The intervals of @mm, in use. mmap_lock is held for writing. */
static struct mmu_intervals *intervals_use(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subscriptions =
		mmu_subscriptions_of(mm);
	struct mmu_intervals *intervals;

	if (!subscriptions)
		return NULL;
	intervals = &subscriptions->intervals;
	if (intervals->used)
		return intervals;

	mmgrab(mm);
	intervals->mm = mm;
	/* Pairs with the acquire in intervals_in_use(), and with the flights' SRCU. */
	smp_store_release(&intervals->used, true);
	call_srcu(&mmu_notifier_flights, &intervals->rcu, intervals_settled);
	return intervals;
}

/* The intervals of @mm if they are in use; no lock is needed. */
static struct mmu_intervals *intervals_in_use(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subscriptions =
		READ_ONCE(mm->notifier_subscriptions);

	/* Pairs with the release in intervals_use(). */
	if (!subscriptions || !smp_load_acquire(&subscriptions->intervals.used))
		return NULL;
	return &subscriptions->intervals;
}

static int last_of(unsigned long start, unsigned long length,
		   unsigned long *last)
{
	if (!length || check_add_overflow(start, length - 1, last))
		return -EOVERFLOW;
	return 0;
}

static void intervals_insert(struct mmu_intervals *intervals,
			     struct mmu_interval_notifier *sub)
{
	sub->state = (struct mmu_interval_state){};
	sub->release = NULL;
	sub->stale_task = NULL;

	spin_lock(&intervals->lock);
	/*
	 * One of its own: a reader from before it was removed and inserted
	 * again must not find the sequence that it left with. It looks without
	 * this lock.
	 */
	WRITE_ONCE(sub->invalidate_seq, mmu_seq_next(&intervals->seq));
	interval_tree_insert(&sub->interval_tree, &intervals->tree);
	spin_unlock(&intervals->lock);
}

static int check_insert(struct mmu_interval_notifier *sub, struct mm_struct *mm,
			unsigned long start, unsigned long length,
			const struct mmu_interval_notifier_ops *ops)
{
	WARN_ON_ONCE(ops->invalidate_start && !ops->invalidate_finish);
	if (WARN_ON(atomic_read(&mm->mm_users) <= 0))
		return -EINVAL;

	sub->mm = mm;
	sub->ops = ops;
	sub->interval_tree.start = start;
	return last_of(start, length, &sub->interval_tree.last);
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
 * Context: Process context, may sleep. Not under mmap_lock, except in a callback
 * of another subscription of this address space. The caller keeps the address
 * space alive (mmget()); for a callback, which may be told of its end, that
 * means mmget_not_zero().
 *
 * Return: 0, -EOVERFLOW for a range that is empty or goes beyond the last
 * address, -EINVAL for an address space that is at its end, or -ENOMEM.
 */
int mmu_interval_notifier_insert(struct mmu_interval_notifier *interval_sub,
				 struct mm_struct *mm, unsigned long start,
				 unsigned long length,
				 const struct mmu_interval_notifier_ops *ops)
{
	struct mmu_intervals *intervals;
	int ret;

	ret = check_insert(interval_sub, mm, start, length, ops);
	if (ret)
		return ret;

	intervals = intervals_in_use(mm);
	if (!intervals) {
		mmap_write_lock(mm);
		intervals = intervals_use(mm);
		mmap_write_unlock(mm);
	}
	if (!intervals)
		return -ENOMEM;

	mmgrab(mm);
	intervals_insert(intervals, interval_sub);
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
	struct mmu_intervals *intervals;
	int ret;

	mmap_assert_write_locked(mm);
	ret = check_insert(interval_sub, mm, start, length, ops);
	if (ret)
		return ret;
	intervals = intervals_use(mm);
	if (!intervals)
		return -ENOMEM;

	mmgrab(mm);
	intervals_insert(intervals, interval_sub);
	return 0;
}
EXPORT_SYMBOL_GPL(mmu_interval_notifier_insert_locked);

static bool resized(struct mmu_interval_notifier *sub, unsigned long start,
		    unsigned long last)
{
	struct mmu_intervals *intervals = intervals_of(sub);
	struct interval_tree_node *node = &sub->interval_tree;

	guard(spinlock)(&intervals->lock);
	if (mmu_flights_overlap(&intervals->flights, node->start, node->last))
		return false;
	interval_tree_remove(node, &intervals->tree);
	/* hmm_range_fault() reads them without the lock. */
	WRITE_ONCE(node->start, start);
	WRITE_ONCE(node->last, last);
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
 * Takes effect between two invalidations: each one is told that overlaps the
 * range of its time. Those in flight that overlap the old range are waited for.
 * All readers have to begin again.
 *
 * What the device has outside of the new range is no longer looked after. So
 * before it shrinks or moves a subscription, a driver takes this away and from
 * then on admits nothing outside of the new range, both under the lock of
 * mmu_interval_read_retry().
 *
 * Context: Process context, may sleep. Nothing is held that callbacks take; not
 * from a callback of this subscription.
 *
 * Return: 0, -EOVERFLOW as mmu_interval_notifier_insert(), or -EINTR if the
 * calling task is being killed; then nothing has changed.
 */
int mmu_interval_notifier_resize(struct mmu_interval_notifier *interval_sub,
				 unsigned long start, unsigned long length)
{
	unsigned long last;
	int ret = last_of(start, length, &last);

	if (ret)
		return ret;
	might_wait_for_invalidation();
	ret = wait_event_killable(intervals_of(interval_sub)->wq,
				  resized(interval_sub, start, last));
	return ret ? -EINTR : 0;
}
EXPORT_SYMBOL_GPL(mmu_interval_notifier_resize);

/* True if it is out of the tree now, false if the last callback takes it out. */
static bool intervals_remove(struct mmu_intervals *intervals,
			     struct mmu_interval_notifier *sub,
			     mmu_interval_release_fn release)
{
	guard(spinlock)(&intervals->lock);
	if (WARN_ON(sub->state.removed))
		return false;
	sub->release = release;
	if (!mmu_state_remove(&sub->state))
		return false;
	interval_tree_remove(&sub->interval_tree, &intervals->tree);
	return true;
}

static bool is_out(struct mmu_intervals *intervals,
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
	struct mmu_intervals *intervals = intervals_of(interval_sub);
	struct mm_struct *mm = interval_sub->mm;

	might_sleep();
	if (!intervals_remove(intervals, interval_sub, NULL))
		wait_event(intervals->wq, is_out(intervals, interval_sub));
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
	struct mm_struct *mm = interval_sub->mm;

	if (!intervals_remove(intervals_of(interval_sub), interval_sub, release))
		return;
	release(interval_sub);
	mmdrop_sched(mm);
}
EXPORT_SYMBOL_GPL(mmu_interval_notifier_remove_async);
