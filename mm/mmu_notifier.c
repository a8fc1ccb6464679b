// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MMU notifiers: subscriptions to a whole address space, their lifetime, and
 * how an invalidation reaches all subscriptions. Subscriptions to ranges are in
 * mmu_interval.c.
 *
 * Lifetime. Callbacks run under SRCU (mmu_notifier_calls). After a subscription
 * is removed from the list, it is freed, or its owner may free it, once no
 * callback can be running. The head of the list lives as long as the mm_struct.
 *
 * In flight. An invalidation is in flight from its start to its end. It may
 * have started too early to see a new subscription. Until it ends, the
 * subscriber must not read the page table. So the subscriber waits for the
 * invalidations of its own address space, and of no other. There are two ways
 * to find them.
 *
 * Without subscriptions, invalidations are only counted, in per-CPU counters:
 * begun where an invalidation starts, ended where it ends. The first subscriber
 * makes the subscription visible, switches later invalidations to another
 * counter, makes all CPUs execute a full barrier, and compares the sums:
 *
 *	invalidation				subscriber
 *
 *	begun++
 *						make the subscription visible
 *						switch to another counter
 *						barrier on every CPU
 *	look for subscriptions
 *	change entries
 *	ended++
 *	look for subscriptions: wake
 *						wait until the sum of ended
 *						  equals the sum of begun
 *
 * If the barrier of the invalidation's CPU comes before it looks for
 * subscriptions, it sees the subscription. If the barrier comes after, the sum
 * sees begun++. So the invalidation needs no barrier of its own. The same holds
 * at its end: it sees the subscriber and wakes it, or the subscriber sees
 * ended++ before it sleeps. Taking mmap_lock would not replace this, because
 * invalidations also run under VMA locks and rmap locks.
 *
 * The sums are not snapshots. The sum of ended is taken first: if it includes
 * the end of an invalidation, the sum of begun includes its start. If the sums
 * are equal, all invalidations that were seen to start have ended, and these
 * include all that missed the subscription. Later invalidations do not disturb
 * this, however many there are, because they use another counter. Only
 * a task that was interrupted between reading which counter to use and begun++
 * still uses the old one. It notices the switch, and undoes its begun++ by
 * ended++.
 *
 * After that there are two modes. If the first subscription is to the whole
 * address space, and nothing was seen in flight, invalidations are counted as
 * before (MMU_COUNT_LISTED), without a lock. Otherwise, and after any further
 * subscription, each invalidation has a slot, under a lock of the address
 * space: it is tracked (MMU_COUNT_TRACKED). The address space stays in that
 * mode. The switch to it works like the first one: switch counters, execute a
 * barrier on every CPU, and wait for the counted invalidations to end.
 *
 * A start without an end, which is a bug elsewhere, makes subscribers to that
 * address space wait forever. It does not affect other address spaces, and no
 * list points to the stack of another task. Lockdep reports the function that
 * started it: see __mmu_notifier_lockdep_start().
 *
 * If an invalidation is in flight when a subscription is added to the list, it
 * calls neither the start nor the end callback of that subscription.
 * Subscriptions are numbered, and an invalidation calls those up to a number:
 * see &mmu_inflight.registered.
 *
 * If a subscriber finds an invalidation in flight, it waits until there is
 * none, and the one that ends last adds the subscription to the list. Until
 * then, the wait is killable and nothing has to be undone. Later it is not: a
 * callback may be running, and may wait for a lock that the subscriber holds.
 * If invalidations never cease, the subscriber adds the subscription after a
 * while, and then waits for those that do not call it.
 *
 * The litmus tests are MMU-inflight-*.litmus in
 * tools/memory-model/litmus-tests/hmm.
 */
#define pr_fmt(fmt)	"mmu_notifier: " fmt

#include <linux/context_tracking_state.h>
#include <linux/export.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/srcu.h>

#include "mmu_notifier_internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/mmu_notifier.h>

DEFINE_SRCU(mmu_notifier_calls);

#ifdef CONFIG_LOCKDEP
/* Waiting for an invalidation, or for memory that an invalidation frees */
struct lockdep_map __mmu_notifier_invalidate_range_start_map = {
	.name = "mmu_notifier_invalidate_range_start"
};

struct lockdep_map __mmu_notifier_inflight_map = {
	.name = "mmu_notifier_invalidation_in_flight"
};
#endif

#define for_each_subscription(subscription, subscriptions)		\
	hlist_for_each_entry_srcu(subscription, &(subscriptions)->list,	\
				  hlist,				\
				  srcu_read_lock_held(&mmu_notifier_calls))

/* In flight */

static struct mmu_invalidation_count __percpu *
mmu_notifier_count(struct mm_struct *mm, enum mmu_count which)
{
	return &mmu_notifier_counts(mm)->of[which];
}

/*
 * Switch later invalidations to another counter. The subscriptions must be
 * visible already.
 */
void mmu_notifier_count_as(struct mm_struct *mm, enum mmu_count which)
{
	/* Pairs with the acquire in mmu_notifier_start(). */
	smp_store_release(&mm->notifier_count, mmu_notifier_count(mm, which));
}

/* An invalidation ends, or switches to another counter. */
static void
mmu_notifier_count_end(struct mmu_invalidation_count __percpu *count)
{
	/* A CPU that sees ended++ sees begun++, and the changed page table. */
	smp_wmb();
	this_cpu_inc(count->ended);
}

/* Wake tasks that wait for counted invalidations. */
static void mmu_notifier_wake(struct mmu_notifier_subscriptions *subscriptions)
{
	/* Includes a full barrier after ended++. */
	if (wq_has_sleeper(&subscriptions->intervals.wq))
		wake_up_all(&subscriptions->intervals.wq);
}

void __mmu_notifier_wake(struct mm_struct *mm)
{
	mmu_notifier_wake(READ_ONCE(mm->notifier_subscriptions));
}

static void mmu_notifier_barrier(void *unused)
{
	/* Orders everything before the interrupt with everything after. */
	smp_mb();
}

/* Might the CPU run a task between begun++ and its look for subscriptions? */
static bool mmu_notifier_cpu_runs(int cpu, void *unused)
{
#ifdef CONFIG_CONTEXT_TRACKING_IDLE
	return ct_rcu_watching_cpu_acquire(cpu) & CT_RCU_WATCHING;
#else
	return true;
#endif
}

/**
 * mmu_notifier_fence() - make every CPU execute a full barrier
 *
 * Uses an interrupt, which does not wait for any task. CPUs that are idle, or
 * isolated and in user space, are not interrupted: they execute full barriers
 * when they enter and leave that state, on which RCU relies as well. Offline
 * CPUs are not interrupted either: they execute a barrier before they run a
 * task.
 *
 * Context: Process context, interrupts enabled.
 */
void mmu_notifier_fence(void)
{
	/* After its barrier, a CPU sees what the caller did before, */
	smp_mb();
	on_each_cpu_cond(mmu_notifier_cpu_runs, mmu_notifier_barrier, NULL,
			 true);
	/* and the caller sees what the CPU did before its barrier. */
	smp_mb();
}

/**
 * mmu_notifier_none_counted() - have all counted invalidations ended?
 * @mm: the address space
 * @which: the counter
 *
 * Reliable only for a counter that is no longer in use: mmu_notifier_fence()
 * was called after mmu_notifier_count_as(), or no task of the address space
 * runs. A task that read which counter to use before the switch may still
 * increment begun, and then undoes that by incrementing ended.
 *
 * Context: Any.
 *
 * Return: true if all have ended. Their changes to the page table are then
 * visible.
 */
bool mmu_notifier_none_counted(struct mm_struct *mm, enum mmu_count which)
{
	struct mmu_invalidation_count __percpu *count =
		mmu_notifier_count(mm, which);
	unsigned int begun = 0, ended = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		ended += READ_ONCE(per_cpu_ptr(count, cpu)->ended);
	/* Pairs with the barrier before each ended++. */
	smp_rmb();
	for_each_possible_cpu(cpu)
		begun += READ_ONCE(per_cpu_ptr(count, cpu)->begun);
	return begun == ended;
}

/* For debug kernels: the address space has no users any more. */
void __mmu_notifier_check_ended(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subscriptions =
		mm->notifier_subscriptions;
	bool ended = mmu_notifier_none_counted(mm, MMU_COUNT_UNSEEN) &&
		     mmu_notifier_none_counted(mm, MMU_COUNT_LISTED);

	if (subscriptions) {
		const struct mmu_inflight *inflight =
			&subscriptions->intervals.inflight;

		ended &= !inflight->used && !inflight->open && !inflight->closed;
	}
	if (!ended)
		pr_warn("an invalidation was started and never ended; lockdep can report which function started it\n");
}

/* Is the subscription's number at most @registered, or no longer needed? */
static bool mmu_notifier_concerned(const struct mmu_notifier *subscription,
				   unsigned int registered)
{
	unsigned int since = READ_ONCE(subscription->since);

	return !since || (int)(registered - since) >= 0;
}

/**
 * mmu_notifier_range_update_to_read_only() - is only write access lost?
 * @range: the argument of a callback
 *
 * If so, the device may continue to read the pages that it has mapped, but must
 * stop writing to them. The callback must still make readers retry, as they may
 * have seen writable entries.
 *
 * Context: Any.
 *
 * Return: true if all pages of the range stay mapped and readable.
 */
bool
mmu_notifier_range_update_to_read_only(const struct mmu_notifier_range *range)
{
	switch (range->event) {
	case MMU_NOTIFY_PROTECTION_PAGE:
	case MMU_NOTIFY_SOFT_DIRTY:
		return true;
	case MMU_NOTIFY_PROTECTION_VMA:
		return range->flags & MMU_NOTIFIER_RANGE_WRITE_LOST;
	default:
		return false;
	}
}
EXPORT_SYMBOL_GPL(mmu_notifier_range_update_to_read_only);

/* Dispatch */

static noinline int
mmu_notifier_traced_start(struct mmu_notifier *subscription,
			  const struct mmu_notifier_range *range)
{
	const struct mmu_notifier_ops *ops = subscription->ops;
	u64 begin = ktime_get_ns();
	int ret = ops->invalidate_range_start(subscription, range);

	trace_mmu_invalidate_call(range, 0, ULONG_MAX,
				  ops->invalidate_range_start, 0, ret,
				  ktime_get_ns() - begin);
	return ret;
}

static noinline void
mmu_notifier_traced_end(struct mmu_notifier *subscription,
			const struct mmu_notifier_range *range)
{
	const struct mmu_notifier_ops *ops = subscription->ops;
	u64 begin = ktime_get_ns();

	ops->invalidate_range_end(subscription, range);
	trace_mmu_invalidate_call(range, 0, ULONG_MAX,
				  ops->invalidate_range_end, 0, false,
				  ktime_get_ns() - begin);
}

static int mmu_notifier_call_start(struct mmu_notifier *subscription,
				   const struct mmu_notifier_range *range)
{
	bool blockable = mmu_notifier_range_blockable(range);
	int ret;

	if (!blockable)
		non_block_start();
	if (trace_mmu_invalidate_call_enabled())
		ret = mmu_notifier_traced_start(subscription, range);
	else
		ret = subscription->ops->invalidate_range_start(subscription,
								range);
	if (!blockable)
		non_block_end();
	/*
	 * A start that can fail must not have an end: see struct
	 * mmu_notifier_ops.
	 */
	WARN_ON(ret && (blockable || ret != -EAGAIN ||
			subscription->ops->invalidate_range_end));
	return ret;
}

static void mmu_notifier_call_end(struct mmu_notifier *subscription,
				  const struct mmu_notifier_range *range)
{
	bool blockable = mmu_notifier_range_blockable(range);

	if (!blockable)
		non_block_start();
	if (trace_mmu_invalidate_call_enabled())
		mmu_notifier_traced_end(subscription, range);
	else
		subscription->ops->invalidate_range_end(subscription, range);
	if (!blockable)
		non_block_end();
}

static noinline void
mmu_notifier_list_end(struct mmu_notifier_subscriptions *subscriptions,
		      struct mmu_notifier_range *range, unsigned int registered)
{
	struct mmu_notifier *subscription;
	int id = srcu_read_lock(&mmu_notifier_calls);

	for_each_subscription(subscription, subscriptions)
		if (mmu_notifier_concerned(subscription, registered) &&
		    subscription->ops->invalidate_range_end)
			mmu_notifier_call_end(subscription, range);
	srcu_read_unlock(&mmu_notifier_calls, id);
	/* A task that sees the end may change what the callbacks have read. */
	smp_mb__after_srcu_read_unlock();
}

/* End an invalidation without a slot, after the callbacks. */
static void
mmu_notifier_counted_end(struct mmu_notifier_subscriptions *subscriptions,
			 struct mmu_notifier_range *range)
{
	trace_mmu_invalidate_end(range);
	mmu_notifier_range_put_slot(range);
	mmu_notifier_count_end(mmu_notifier_count(range->mm, MMU_COUNT_LISTED));
	/*
	 * As at the start: if a task waits for this invalidation, it is seen
	 * here.
	 */
	barrier();
	if (unlikely(READ_ONCE(subscriptions->intervals.tracked)))
		mmu_notifier_wake(subscriptions);
}

/*
 * A callback would have to sleep. The start callbacks of all subscriptions were
 * called, so call all end callbacks.
 */
static noinline int mmu_notifier_refused(struct mmu_notifier_range *range,
					 unsigned int registered)
{
	struct mmu_notifier_subscriptions *subscriptions =
		range->mm->notifier_subscriptions;

	mmu_notifier_list_end(subscriptions, range, registered);
	if (mmu_notifier_range_slot(range) == MMU_SLOT_COUNTED)
		mmu_notifier_counted_end(subscriptions, range);
	else
		mmu_intervals_end(&subscriptions->intervals, range);
	return -EAGAIN;
}

static noinline int
mmu_notifier_list_start(struct mmu_notifier_subscriptions *subscriptions,
			struct mmu_notifier_range *range,
			unsigned int registered)
{
	struct mmu_notifier *subscription;
	int id = srcu_read_lock(&mmu_notifier_calls);
	bool refused = false;

	for_each_subscription(subscription, subscriptions)
		if (mmu_notifier_concerned(subscription, registered) &&
		    subscription->ops->invalidate_range_start &&
		    unlikely(mmu_notifier_call_start(subscription, range)))
			refused = true;
	srcu_read_unlock(&mmu_notifier_calls, id);

	if (unlikely(refused) && !mmu_notifier_range_blockable(range))
		return mmu_notifier_refused(range, registered);
	return 0;
}

/* Call the only subscription there was at the start. */
static noinline int
mmu_notifier_start_traced(struct mmu_notifier_subscriptions *subscriptions,
			  struct mmu_notifier_range *range)
{
	trace_mmu_invalidate_start(range);
	return mmu_notifier_list_start(subscriptions, range, 1);
}

/* The number of the last subscription that the invalidation calls */
static unsigned int
mmu_notifier_registered(struct mmu_notifier_subscriptions *subscriptions,
			const struct mmu_notifier_range *range)
{
	return mmu_inflight_registered(&subscriptions->intervals.inflight,
				       mmu_notifier_range_slot(range));
}

static noinline int
mmu_notifier_start_tracked(struct mmu_notifier_subscriptions *subscriptions,
			   struct mmu_notifier_range *range)
{
	int ret = mmu_intervals_start(&subscriptions->intervals, range);

	if (ret || hlist_empty(&subscriptions->list))
		return ret;
	return mmu_notifier_list_start(subscriptions, range,
				       mmu_notifier_registered(subscriptions,
							       range));
}

/*
 * The invalidation was counted in a counter that is no longer in use: undo
 * that, and use the current one.
 */
static noinline int
mmu_notifier_restart(struct mmu_notifier_range *range,
		     struct mmu_invalidation_count __percpu *count)
{
	struct mm_struct *mm = range->mm;

	mmu_notifier_count_end(count);
	/* A waiter may have seen begun++ in its sum. */
	mmu_notifier_wake(mm->notifier_subscriptions);
	count = READ_ONCE(mm->notifier_count);
	this_cpu_inc(count->begun);
	barrier();
	return __mmu_notifier_invalidate_range_start(range, count);
}

/* All calls are tail calls, so that the common cases save no registers. */
int
__mmu_notifier_invalidate_range_start(struct mmu_notifier_range *range,
				      struct mmu_invalidation_count __percpu *count)
{
	struct mm_struct *mm = range->mm;
	struct mmu_notifier_subscriptions *subscriptions =
		mm->notifier_subscriptions;

	/* Checked after begun++: see the top of this file. */
	if (unlikely(READ_ONCE(mm->notifier_count) != count))
		return mmu_notifier_restart(range, count);
	if (count == mmu_notifier_count(mm, MMU_COUNT_LISTED)) {
		mmu_notifier_range_set_slot(range, MMU_SLOT_COUNTED);
		if (unlikely(hlist_empty(&subscriptions->list)))
			return 0;
		if (trace_mmu_invalidate_start_enabled())
			return mmu_notifier_start_traced(subscriptions, range);
		/* Further subscribers wait for this invalidation. */
		return mmu_notifier_list_start(subscriptions, range, 1);
	}
	/*
	 * The counter is not switched yet: the subscriber waits for this one.
	 */
	if (unlikely(count == mmu_notifier_count(mm, MMU_COUNT_UNSEEN)))
		return 0;
	return mmu_notifier_start_tracked(subscriptions, range);
}

static noinline void
mmu_notifier_end_tracked(struct mmu_notifier_subscriptions *subscriptions,
			 struct mmu_notifier_range *range)
{
	if (!hlist_empty(&subscriptions->list))
		mmu_notifier_list_end(subscriptions, range,
				      mmu_notifier_registered(subscriptions,
							      range));
	mmu_intervals_end(&subscriptions->intervals, range);
}

void __mmu_notifier_invalidate_range_end(struct mmu_notifier_range *range)
{
	struct mmu_notifier_subscriptions *subscriptions =
		range->mm->notifier_subscriptions;

	lock_map_acquire(&__mmu_notifier_invalidate_range_start_map);
	if (mmu_notifier_range_slot(range) == MMU_SLOT_COUNTED) {
		if (likely(!hlist_empty(&subscriptions->list)))
			mmu_notifier_list_end(subscriptions, range, 1);
		mmu_notifier_counted_end(subscriptions, range);
	} else {
		mmu_notifier_end_tracked(subscriptions, range);
	}
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
}

/* Interval subscriptions do not have the callbacks that follow. */
static bool mmu_notifier_has_list(const struct mm_struct *mm)
{
	return !hlist_empty(&mm->notifier_subscriptions->list);
}

void __mmu_notifier_arch_invalidate_secondary_tlbs(struct mm_struct *mm,
						   unsigned long start,
						   unsigned long end)
{
	struct mmu_notifier *subscription;
	int id;

	if (!mmu_notifier_has_list(mm))
		return;
	id = srcu_read_lock(&mmu_notifier_calls);
	for_each_subscription(subscription, mm->notifier_subscriptions) {
		const struct mmu_notifier_ops *ops = subscription->ops;

		if (ops->arch_invalidate_secondary_tlbs)
			ops->arch_invalidate_secondary_tlbs(subscription, mm,
							    start, end);
	}
	srcu_read_unlock(&mmu_notifier_calls, id);
}

bool __mmu_notifier_clear_flush_young(struct mm_struct *mm,
				      unsigned long start, unsigned long end)
{
	struct mmu_notifier *subscription;
	bool young = false;
	int id;

	if (!mmu_notifier_has_list(mm))
		return false;
	id = srcu_read_lock(&mmu_notifier_calls);
	for_each_subscription(subscription, mm->notifier_subscriptions)
		if (subscription->ops->clear_flush_young)
			young |= subscription->ops->clear_flush_young(subscription,
								      mm, start,
								      end);
	srcu_read_unlock(&mmu_notifier_calls, id);
	return young;
}

bool __mmu_notifier_clear_young(struct mm_struct *mm,
				unsigned long start, unsigned long end)
{
	struct mmu_notifier *subscription;
	bool young = false;
	int id;

	if (!mmu_notifier_has_list(mm))
		return false;
	id = srcu_read_lock(&mmu_notifier_calls);
	for_each_subscription(subscription, mm->notifier_subscriptions)
		if (subscription->ops->clear_young)
			young |= subscription->ops->clear_young(subscription,
								mm, start, end);
	srcu_read_unlock(&mmu_notifier_calls, id);
	return young;
}

bool __mmu_notifier_test_young(struct mm_struct *mm, unsigned long address)
{
	struct mmu_notifier *subscription;
	bool young = false;
	int id;

	if (!mmu_notifier_has_list(mm))
		return false;
	id = srcu_read_lock(&mmu_notifier_calls);
	for_each_subscription(subscription, mm->notifier_subscriptions) {
		if (subscription->ops->test_young)
			young = subscription->ops->test_young(subscription, mm,
							      address);
		if (young)
			break;
	}
	srcu_read_unlock(&mmu_notifier_calls, id);
	return young;
}

/* Teardown of an address space */

/*
 * Callbacks may call mmu_notifier_put(), which removes entries from the list
 * during the walk.
 */
static void
mmu_notifier_list_release(struct mmu_notifier_subscriptions *subscriptions,
			  struct mm_struct *mm)
{
	struct mmu_notifier *subscription;
	struct hlist_node *next;
	int id = srcu_read_lock(&mmu_notifier_calls);

	for_each_subscription(subscription, subscriptions)
		if (subscription->ops->release)
			subscription->ops->release(subscription, mm);

	/* This tells mmu_notifier_unregister() that release was called. */
	spin_lock(&subscriptions->intervals.lock);
	hlist_for_each_entry_safe(subscription, next, &subscriptions->list,
				  hlist)
		hlist_del_init_rcu(&subscription->hlist);
	spin_unlock(&subscriptions->intervals.lock);
	srcu_read_unlock(&mmu_notifier_calls, id);

	/*
	 * Wait for release calls of mmu_notifier_unregister(): pages are freed
	 * next.
	 */
	synchronize_srcu(&mmu_notifier_calls);
}

void __mmu_notifier_release(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subscriptions =
		mm->notifier_subscriptions;

	mmu_intervals_release(&subscriptions->intervals, mm);
	if (!hlist_empty(&subscriptions->list))
		mmu_notifier_list_release(subscriptions, mm);
}

void __mmu_notifier_subscriptions_destroy(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subscriptions =
		mm->notifier_subscriptions;

	/* Each subscription has a reference to the mm. */
	WARN_ON(!hlist_empty(&subscriptions->list));
	WARN_ON(!RB_EMPTY_ROOT(&subscriptions->intervals.tree.rb_root));
	mm->notifier_subscriptions = LIST_POISON1;
	kfree(subscriptions);
}

/* Subscribing */

static struct mmu_notifier_subscriptions *mmu_notifier_alloc_head(void)
{
	struct mmu_notifier_subscriptions *subscriptions =
		kzalloc_obj(*subscriptions);

	if (!subscriptions)
		return NULL;
	INIT_HLIST_HEAD(&subscriptions->list);
	mmu_intervals_init(&subscriptions->intervals);
	return subscriptions;
}

/*
 * Publish @made, or free it if @mm has subscriptions already. Returns those of
 * @mm.
 */
static struct mmu_notifier_subscriptions *
mmu_notifier_publish(struct mm_struct *mm,
		     struct mmu_notifier_subscriptions *made)
{
	struct mmu_notifier_subscriptions *other;

	/* Lockless readers follow the pointer. */
	other = cmpxchg(&mm->notifier_subscriptions, NULL, made);
	if (!other)
		return made;
	if (!hlist_empty(&made->list))
		hlist_del_init(made->list.first);
	kfree(made);
	return other;
}

/* The slow path of mmu_notifier_track() */
struct mmu_notifier_subscriptions *
__mmu_notifier_track(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subscriptions =
		READ_ONCE(mm->notifier_subscriptions);

	if (!subscriptions) {
		subscriptions = mmu_notifier_alloc_head();
		if (!subscriptions)
			return NULL;
		subscriptions = mmu_notifier_publish(mm, subscriptions);
	}
	mmu_intervals_track(&subscriptions->intervals, mm);
	return subscriptions;
}

/*
 * Add @subscription to the list. @wait receives the invalidations that do not
 * call it. The lock is held, or the list is not published yet.
 */
static void mmu_notifier_add(struct mmu_notifier_subscriptions *subscriptions,
			     struct mmu_notifier *subscription,
			     struct mmu_inflight_wait *wait)
{
	struct mmu_inflight *inflight = &subscriptions->intervals.inflight;

	subscription->since = mmu_inflight_register(inflight, wait);
	hlist_add_head_rcu(&subscription->hlist, &subscriptions->list);
}

/**
 * mmu_notifier_add_pending() - add pending subscriptions to the list
 * @intervals: of the address space, locked
 *
 * Does nothing while an invalidation is in flight.
 *
 * Called by waiters, and by the task whose invalidation has ended: the next one
 * may start before a waiter runs.
 *
 * Context: The lock of @intervals is held.
 */
void mmu_notifier_add_pending(struct mmu_intervals *intervals)
{
	struct mmu_notifier_subscriptions *subscriptions =
		container_of(intervals, struct mmu_notifier_subscriptions,
			     intervals);
	struct mmu_notifier *subscription;
	struct mmu_inflight_wait none;
	struct hlist_node *next;

	lockdep_assert_held(&intervals->lock);

	if (!mmu_inflight_none(&intervals->inflight))
		return;
	hlist_for_each_entry_safe(subscription, next, &intervals->pending,
				  hlist) {
		hlist_del(&subscription->hlist);
		mmu_notifier_add(subscriptions, subscription, &none);
	}
}

static void mmu_notifier_del(struct mmu_notifier_subscriptions *subscriptions,
			     struct mmu_notifier *subscription)
{
	guard(spinlock)(&subscriptions->intervals.lock);
	/* Does nothing if it was removed already. */
	hlist_del_init_rcu(&subscription->hlist);
}

static bool mmu_notifier_none_unseen(struct mmu_intervals *intervals, void *mm)
{
	return mmu_notifier_none_counted(mm, MMU_COUNT_UNSEEN);
}

/*
 * Wait after the list was published with the first subscription on it already.
 */
static void mmu_notifier_wait_first(struct mmu_intervals *intervals,
				    struct mm_struct *mm)
{
	scoped_guard(spinlock, &intervals->lock)
		if (!intervals->tracked)
			mmu_notifier_count_as(mm, MMU_COUNT_LISTED);
	mmu_notifier_fence();
	mmu_intervals_wait_until(intervals, mmu_notifier_none_unseen, mm, NULL);
}

/**
 * struct mmu_notifier_entry - a subscription that will be added
 * @subscription: the pending subscription
 * @wait: the invalidations that it waits for
 */
struct mmu_notifier_entry {
	struct mmu_notifier *subscription;
	struct mmu_inflight_wait wait;
};

/* Has the subscription been added, or is its wait over? */
static bool mmu_notifier_entry_over(struct mmu_intervals *intervals, void *arg)
{
	struct mmu_notifier_entry *entry = arg;

	guard(spinlock)(&intervals->lock);
	mmu_notifier_add_pending(intervals);
	return entry->subscription->since ||
	       mmu_inflight_wait_over(&entry->wait, &intervals->inflight);
}

/*
 * After this many rounds, add a subscription even if invalidations are in
 * flight.
 */
#define MMU_ENTRY_ROUNDS	2

/*
 * Wait until @entry has been added, or all rounds are over. A round ends when
 * all invalidations have ended that were in flight when it began. The wait is
 * killable, because the subscription is not visible yet.
 */
static int mmu_notifier_wait_before(struct mmu_intervals *intervals,
				    struct mmu_notifier_entry *entry)
{
	long left = MAX_SCHEDULE_TIMEOUT;
	unsigned int round;
	int ret = 0;

	for (round = 0; round < MMU_ENTRY_ROUNDS && !ret; round++) {
		scoped_guard(spinlock, &intervals->lock) {
			if (entry->subscription->since)
				return 0;
			mmu_inflight_wait_enter(&entry->wait,
						&intervals->inflight, 0, ~0UL);
		}
		ret = mmu_intervals_wait_until(intervals,
					       mmu_notifier_entry_over, entry,
					       &left);
	}
	return ret;
}

/* Add @subscription when invalidations are tracked. */
static int
mmu_notifier_add_tracked(struct mmu_notifier_subscriptions *subscriptions,
			 struct mmu_notifier *subscription,
			 struct mm_struct *mm)
{
	struct mmu_intervals *intervals = &subscriptions->intervals;
	struct mmu_notifier_entry entry = { .subscription = subscription };
	long left = MAX_SCHEDULE_TIMEOUT;
	int ret = mmu_intervals_settle(intervals, mm, &left);

	if (ret)
		return ret;
	subscription->since = 0;
	scoped_guard(spinlock, &intervals->lock)
		hlist_add_head(&subscription->hlist, &intervals->pending);
	ret = mmu_notifier_wait_before(intervals, &entry);
	scoped_guard(spinlock, &intervals->lock) {
		if (subscription->since)
			return 0;
		hlist_del_init(&subscription->hlist);
		if (ret)
			return ret;
		mmu_notifier_add(subscriptions, subscription, &entry.wait);
	}
	mmu_intervals_wait_until(intervals, mmu_intervals_wait_over,
				 &entry.wait, NULL);
	return 0;
}

static int mmu_notifier_add_and_wait(struct mmu_notifier *subscription,
				     struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subscriptions, *made;
	struct mmu_inflight_wait none;
	int ret;

	mmu_notifier_might_wait();
	if (!mm_has_notifiers(mm)) {
		made = mmu_notifier_alloc_head();
		if (!made)
			return -ENOMEM;
		/*
		 * Only a hint: an invalidation may have started since, and is
		 * waited for below.
		 */
		if (mmu_notifier_none_counted(mm, MMU_COUNT_UNSEEN))
			mmu_notifier_add(made, subscription, &none);
		subscriptions = mmu_notifier_publish(mm, made);
		if (subscriptions == made && !hlist_empty(&made->list)) {
			mmu_notifier_wait_first(&made->intervals, mm);
			goto out;
		}
	}

	subscriptions = mmu_notifier_track(mm);
	if (!subscriptions)
		return -ENOMEM;
	ret = mmu_notifier_add_tracked(subscriptions, subscription, mm);
	if (ret)
		return ret;
	/*
	 * This callback may be called with no lock held after an entry is
	 * cleared, even after the end of the invalidation. The fence ensures
	 * that its caller sees this subscription, or that the device sees the
	 * cleared entry.
	 */
	if (subscription->ops->arch_invalidate_secondary_tlbs)
		mmu_notifier_fence();
out:
	/* All invalidations in flight call it. */
	WRITE_ONCE(subscription->since, 0);
	return 0;
}

/**
 * __mmu_notifier_register() - mmu_notifier_register() with mmap_lock held
 * @subscription: the subscription, with its ops set, or %NULL
 * @mm: the address space
 *
 * Context: Process context, may sleep. The caller holds mmap_lock for writing.
 *
 * Return: as mmu_notifier_register().
 */
int __mmu_notifier_register(struct mmu_notifier *subscription,
			    struct mm_struct *mm)
{
	mmap_assert_write_locked(mm);
	return mmu_notifier_register(subscription, mm);
}
EXPORT_SYMBOL_GPL(__mmu_notifier_register);

/**
 * mmu_notifier_register() - subscribe to an address space
 * @subscription: the subscription, with its ops set; must stay valid until
 *	mmu_notifier_unregister() has returned. With %NULL, this prepares the
 *	address space for interval subscriptions and adds nothing.
 * @mm: the address space
 *
 * After this returns, callbacks are called for each change of the page table;
 * they may be called before. The subscription has a reference to the mm_struct;
 * mmget_not_zero() tells whether its address space still exists.
 *
 * Context: Process context, may sleep. Waits until no invalidation of this
 * address space is in flight; that wait is killable. If there is always one in
 * flight, it adds the subscription nevertheless, and then waits for those that
 * do not call it; that wait is not killable, since callbacks may be running.
 * Invalidations of other address spaces do not prolong it.
 * The caller must hold no lock that these invalidations or the callbacks take:
 * an invalidation may wait for another one that calls a callback. mmap_lock may
 * be held, but need not be. The caller has a reference to the
 * address space, from mmget().
 *
 * Return: 0, -ENOMEM, -EINTR after a fatal signal, or -EINVAL if the callbacks
 * exclude each other or the address space is being torn down. After an error,
 * no callback was called, and the caller may free @subscription.
 */
int mmu_notifier_register(struct mmu_notifier *subscription,
			  struct mm_struct *mm)
{
	const struct mmu_notifier_ops *ops;
	struct mm_struct *old_mm;
	unsigned int old_users;
	int ret;

	if (WARN_ON_ONCE(atomic_read(&mm->mm_users) <= 0))
		return -EINVAL;
	if (!subscription)
		return mmu_notifier_track(mm) ? 0 : -ENOMEM;

	ops = subscription->ops;
	if (WARN_ON_ONCE(ops->arch_invalidate_secondary_tlbs &&
			 (ops->invalidate_range_start ||
			  ops->invalidate_range_end)))
		return -EINVAL;

	old_mm = subscription->mm;
	old_users = subscription->users;
	/* Callbacks may use them before this returns. */
	mmgrab(mm);
	subscription->mm = mm;
	subscription->users = 1;
	ret = mmu_notifier_add_and_wait(subscription, mm);
	if (!ret)
		return 0;
	subscription->mm = old_mm;
	subscription->users = old_users;
	mmdrop(mm);
	return ret;
}
EXPORT_SYMBOL_GPL(mmu_notifier_register);

/**
 * mmu_notifier_unregister() - remove a subscription
 * @subscription: from mmu_notifier_register()
 * @mm: its address space
 *
 * Calls &mmu_notifier_ops.release, unless the teardown of the address space has
 * done so. No callback is running when this returns, and none will be called.
 *
 * Context: Process context, may sleep. Must not be called from a callback.
 */
void mmu_notifier_unregister(struct mmu_notifier *subscription,
			     struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subscriptions =
		mm->notifier_subscriptions;

	if (!hlist_unhashed_lockless(&subscription->hlist)) {
		/* The teardown of the address space waits for SRCU. */
		int id = srcu_read_lock(&mmu_notifier_calls);

		if (subscription->ops->release)
			subscription->ops->release(subscription, mm);
		srcu_read_unlock(&mmu_notifier_calls, id);

		mmu_notifier_del(subscriptions, subscription);
	}

	synchronize_srcu(&mmu_notifier_calls);
	mmdrop(mm);
}
EXPORT_SYMBOL_GPL(mmu_notifier_unregister);

/* Take a reference to the subscription with these ops, if there is one. */
static struct mmu_notifier *
mmu_notifier_find(struct mmu_notifier_subscriptions *subscriptions,
		  const struct mmu_notifier_ops *ops)
{
	struct mmu_notifier *subscription;

	guard(spinlock)(&subscriptions->intervals.lock);
	hlist_for_each_entry(subscription, &subscriptions->list, hlist) {
		/* mmu_notifier_register() may not have returned it yet. */
		if (subscription->ops != ops || READ_ONCE(subscription->since))
			continue;
		if (subscription->users == UINT_MAX)
			return ERR_PTR(-EOVERFLOW);
		subscription->users++;
		return subscription;
	}
	return NULL;
}

static struct mmu_notifier *
mmu_notifier_make(const struct mmu_notifier_ops *ops, struct mm_struct *mm)
{
	struct mmu_notifier *made = ops->alloc_notifier(mm);
	int ret;

	if (IS_ERR(made))
		return made;
	made->ops = ops;
	ret = __mmu_notifier_register(made, mm);
	if (!ret)
		return made;
	ops->free_notifier(made);
	return ERR_PTR(ret);
}

/**
 * mmu_notifier_get_locked() - find or allocate a subscription
 * @ops: the callbacks
 * @mm: the address space
 *
 * Takes a reference to the subscription of @mm that has these callbacks. If
 * there is none, allocates and registers one. mmu_notifier_put() drops the
 * reference.
 *
 * Context: Process context, may sleep. The caller holds mmap_lock for writing.
 *
 * Return: the subscription, or an ERR_PTR() of -EOVERFLOW or of an error of
 * &mmu_notifier_ops.alloc_notifier or __mmu_notifier_register().
 */
struct mmu_notifier *mmu_notifier_get_locked(const struct mmu_notifier_ops *ops,
					     struct mm_struct *mm)
{
	struct mmu_notifier *subscription = NULL;

	mmap_assert_write_locked(mm);

	if (mm_has_notifiers(mm))
		subscription = mmu_notifier_find(mm->notifier_subscriptions,
						 ops);
	return subscription ?: mmu_notifier_make(ops, mm);
}
EXPORT_SYMBOL_GPL(mmu_notifier_get_locked);

static void mmu_notifier_free(struct rcu_head *rcu)
{
	struct mmu_notifier *subscription =
		container_of(rcu, struct mmu_notifier, rcu);
	struct mm_struct *mm = subscription->mm;

	subscription->ops->free_notifier(subscription);
	mmdrop(mm);
}

/**
 * mmu_notifier_put() - drop a reference to a subscription
 * @subscription: from mmu_notifier_get()
 *
 * The last reference removes the subscription, without calling
 * &mmu_notifier_ops.release: the device must not use the address space any
 * more. The subscription is freed later; modules must call
 * mmu_notifier_synchronize() before they are unloaded.
 *
 * Context: Process context. Does not sleep. May be called from
 * &mmu_notifier_ops.release.
 */
void mmu_notifier_put(struct mmu_notifier *subscription)
{
	struct mmu_notifier_subscriptions *subscriptions =
		subscription->mm->notifier_subscriptions;
	bool last;

	spin_lock(&subscriptions->intervals.lock);
	last = !WARN_ON(!subscription->users) && !--subscription->users;
	if (last)
		hlist_del_init_rcu(&subscription->hlist);
	spin_unlock(&subscriptions->intervals.lock);
	if (last)
		call_srcu(&mmu_notifier_calls, &subscription->rcu,
			  mmu_notifier_free);
}
EXPORT_SYMBOL_GPL(mmu_notifier_put);

/**
 * mmu_notifier_synchronize() - wait until subscriptions are freed
 *
 * Waits for &mmu_notifier_ops.free_notifier of all subscriptions whose last
 * reference was dropped, and for release functions that
 * mmu_interval_notifier_remove_async() deferred and that are running. For the
 * exit functions of modules.
 *
 * Context: Process context, may sleep.
 */
void mmu_notifier_synchronize(void)
{
	/*
	 * Also for mmu_interval_notifier_remove_async(): see
	 * mmu_intervals_called_back()
	 */
	synchronize_srcu(&mmu_notifier_calls);
	srcu_barrier(&mmu_notifier_calls);
}
EXPORT_SYMBOL_GPL(mmu_notifier_synchronize);
