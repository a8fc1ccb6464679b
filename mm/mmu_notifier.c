// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MMU notifiers: subscriptions to a whole address space, their lifetime, and
 * how an invalidation reaches all subscriptions. Subscriptions to ranges are in
 * mmu_interval.c.
 *
 * Lifetime. Callbacks run under SRCU (mmu_notifier_calls): a subscription that
 * has left the list is freed, or handed back to its owner, once no callback can
 * be running. The list's head lives as long as the mm_struct.
 *
 * In flight. An invalidation is in flight from its start to its end. A
 * subscriber must not learn anything from the page table while an invalidation
 * is in flight that does not know the subscription, so it waits for those of its
 * own address space, and of no other. They are found in two ways.
 *
 * Without subscriptions an invalidation is only counted, by the CPU on which it
 * starts and by the one on which it ends. The first subscriber makes the
 * subscription visible, has later invalidations counted elsewhere, has all CPUs
 * pass a full barrier, and adds up:
 *
 *	invalidation				subscriber
 *
 *	begun++
 *						make the subscription visible
 *						switch to another count
 *						barrier on every CPU
 *	look for subscriptions
 *	change entries
 *	ended++
 *	look for subscriptions: wake
 *						wait until the sum of ended
 *						  equals the sum of begun
 *
 * The barrier comes before the look, and the invalidation sees the subscription;
 * or it comes after, and then begun++ is visible to the sum. So the invalidation
 * needs no barrier itself. At the end it is the same: either the subscriber is
 * seen and woken, or it sees ended++ before it goes to sleep. The mmap_lock would
 * be no substitute: invalidations are protected by the lock of a VMA and by those
 * of the reverse mapping too.
 *
 * The sum over CPUs is not taken at one moment. That of ended is taken first: an
 * invalidation whose end is seen there is also seen to have begun. If the sums
 * are equal, all that were seen to begin have ended, among them all that missed
 * the subscription. Later invalidations do not disturb this, however many there
 * are: they are counted elsewhere. Only a task that has read which count to use,
 * and was interrupted before begun++, still begins by the old one. It finds that
 * another is in use, and takes its count back by ended++.
 *
 * From then on there are two ways. If the first subscription is to the whole
 * address space and nothing was seen in flight, invalidations are counted as before
 * (MMU_COUNT_LISTED), without a lock. Otherwise, and as soon as there is another
 * subscription or one to a range, each has a slot, under a lock of the address
 * space: it is tracked (MMU_COUNT_TRACKED), and all are from then on. The way there
 * is the same as from none: switch, barrier on every CPU, wait for those that are
 * counted.
 *
 * A start without an end, which is a bug elsewhere, makes subscribers to the same
 * address space wait for ever. Nothing here points to a range of another task, so
 * that other address spaces go on. Lockdep names the function that has started
 * it: see __mmu_notifier_lockdep_start().
 *
 * An invalidation in flight when a subscription is added to the list calls
 * neither its start nor its end: subscriptions have numbers that go up, and an
 * invalidation calls those up to a number: see &mmu_inflight.registered.
 *
 * A subscriber that finds something in flight waits until nothing is, and has the
 * subscription added by the invalidation that ends last. Up to then it may be
 * killed, and nothing has to be undone. Once the subscription is on the list it may
 * not: a callback could be running, perhaps waiting for a lock that the subscriber
 * holds. If there always is something in flight, it gives up after a while: it
 * adds the subscription, and then waits for what does not call it.
 *
 * tools/memory-model/litmus-tests/hmm/ has this as MMU-inflight-*.litmus.
 */
#include <linux/context_tracking_state.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/srcu.h>

#include "mmu_subscriptions.h"

DEFINE_SRCU(mmu_notifier_calls);

#ifdef CONFIG_LOCKDEP
/* Waiting for an invalidation, or for memory that only one can free */
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

/* Count invalidations as this from now on. The subscriptions are visible. */
void mmu_notifier_count_as(struct mm_struct *mm, enum mmu_count which)
{
	/* Pairs with the acquire in mmu_notifier_start(). */
	smp_store_release(&mm->notifier_count, mmu_notifier_count(mm, which));
}

/* An invalidation ends, or is counted otherwise. */
static void
mmu_notifier_count_end(struct mmu_invalidation_count __percpu *count)
{
	/* The sum that has ended++ has begun++, and what was changed is visible. */
	smp_wmb();
	this_cpu_inc(count->ended);
}

/* Wake those who wait for invalidations that are counted. */
static void mmu_notifier_wake(struct mmu_notifier_subscriptions *subscriptions)
{
	/* Includes a barrier between ended++ and the look at the queue. */
	if (wq_has_sleeper(&subscriptions->intervals.wq))
		wake_up_all(&subscriptions->intervals.wq);
}

void __mmu_notifier_wake(struct mm_struct *mm)
{
	mmu_notifier_wake(READ_ONCE(mm->notifier_subscriptions));
}

static void mmu_notifier_barrier(void *unused)
{
	/* Between what this CPU has done and what it does next. */
	smp_mb();
}

/* Might the CPU run a task that began an invalidation without a look? */
static bool mmu_notifier_cpu_runs(int cpu, void *unused)
{
#ifdef CONFIG_CONTEXT_TRACKING_IDLE
	return ct_rcu_watching_cpu_acquire(cpu) & CT_RCU_WATCHING;
#else
	return true;
#endif
}

/**
 * mmu_notifier_fence() - make every CPU pass a full barrier
 *
 * An interrupt is enough, and does not wait for what any task does. CPUs that are
 * idle, or isolated and in user space, pass full barriers on their way there and
 * back, which RCU relies on, too: they are not disturbed. Nor are those that are
 * offline: they pass a barrier before they run a task.
 *
 * Context: Process context, interrupts enabled.
 */
void mmu_notifier_fence(void)
{
	/* What the caller has made visible is so to a CPU after its barrier, */
	smp_mb();
	on_each_cpu_cond(mmu_notifier_cpu_runs, mmu_notifier_barrier, NULL,
			 true);
	/* and what a CPU did before its barrier is visible to the caller. */
	smp_mb();
}

/**
 * mmu_notifier_none_counted() - have the invalidations ended that are counted?
 * @mm: the address space
 * @which: counted as what
 *
 * For sure only of a count that is not in use any more: mmu_notifier_fence() was
 * called after mmu_notifier_count_as(), or nothing of the address space runs. A
 * task that was about to begin by then begins once more by this count, and takes it
 * back.
 *
 * Context: Any.
 *
 * Return: true if all have ended. What they changed is visible then.
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

/* For debug kernels: nothing of this address space runs any more. */
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
		pr_warn("mmu_notifier: an invalidation was started and never ended; lockdep can tell by which function\n");
}

/* Was this one there when @registered were? */
static bool mmu_notifier_concerned(const struct mmu_notifier *subscription,
				   unsigned int registered)
{
	unsigned int since = READ_ONCE(subscription->since);

	return !since || (int)(registered - since) >= 0;
}

/**
 * mmu_notifier_range_update_to_read_only() - is write access all that is lost?
 * @range: an invalidation, as a callback is given it
 *
 * Then a device may go on reading what it has mapped, if it stops writing. The
 * callback still has to make readers begin again: they may have learnt that
 * the range can be written to.
 *
 * Context: Any.
 *
 * Return: true if every page of the range stays where it is and may be read.
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

static int mmu_notifier_call_start(struct mmu_notifier *subscription,
				   const struct mmu_notifier_range *range)
{
	bool blockable = mmu_notifier_range_blockable(range);
	int ret;

	if (!blockable)
		non_block_start();
	ret = subscription->ops->invalidate_range_start(subscription, range);
	if (!blockable)
		non_block_end();
	/* If it can fail it must not have an end, which would come without a start. */
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
	/* Whoever finds that it has ended may change what this has read of them. */
	smp_mb__after_srcu_read_unlock();
}

/* Subscriptions are through with it, and it has no slot. */
static void
mmu_notifier_counted_end(struct mmu_notifier_subscriptions *subscriptions,
			 struct mmu_notifier_range *range)
{
	mmu_range_end(range);
	mmu_notifier_count_end(mmu_notifier_count(range->mm, MMU_COUNT_LISTED));
	/* Waited for since? Then this is seen, as at the look for subscriptions. */
	barrier();
	if (unlikely(READ_ONCE(subscriptions->intervals.tracked)))
		mmu_notifier_wake(subscriptions);
}

/* A callback would have had to sleep. All were called: those with an end get it. */
static noinline int mmu_notifier_refused(struct mmu_notifier_range *range,
					 unsigned int registered)
{
	struct mmu_notifier_subscriptions *subscriptions =
		range->mm->notifier_subscriptions;

	mmu_notifier_list_end(subscriptions, range, registered);
	if (mmu_range_slot(range) == MMU_SLOT_COUNTED)
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

/* The number of the last subscription that it calls */
static unsigned int
mmu_notifier_registered(struct mmu_notifier_subscriptions *subscriptions,
			const struct mmu_notifier_range *range)
{
	return mmu_inflight_registered(&subscriptions->intervals.inflight,
				       mmu_range_slot(range));
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
 * The count by which the invalidation has begun is not in use any more: take it
 * back and begin by the one that is.
 */
static noinline int
mmu_notifier_start_anew(struct mmu_notifier_range *range,
			struct mmu_invalidation_count __percpu *count)
{
	struct mm_struct *mm = range->mm;

	mmu_notifier_count_end(count);
	/* A sum may have seen it. */
	mmu_notifier_wake(mm->notifier_subscriptions);
	count = READ_ONCE(mm->notifier_count);
	this_cpu_inc(count->begun);
	barrier();
	return __mmu_notifier_invalidate_range_start(range, count);
}

/* Tail calls: the usual ways save no registers. */
int
__mmu_notifier_invalidate_range_start(struct mmu_notifier_range *range,
				      struct mmu_invalidation_count __percpu *count)
{
	struct mm_struct *mm = range->mm;
	struct mmu_notifier_subscriptions *subscriptions =
		mm->notifier_subscriptions;

	/* Counted first, then looked whether it is in use: as in the drawing. */
	if (unlikely(READ_ONCE(mm->notifier_count) != count))
		return mmu_notifier_start_anew(range, count);
	if (count == mmu_notifier_count(mm, MMU_COUNT_LISTED)) {
		mmu_range_start(range, MMU_SLOT_COUNTED);
		if (unlikely(hlist_empty(&subscriptions->list)))
			return 0;
		/* If there are more, they wait for this invalidation. */
		return mmu_notifier_list_start(subscriptions, range, 1);
	}
	/* Visible, and not in use yet: the subscriber waits for this one. */
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
	if (mmu_range_slot(range) == MMU_SLOT_COUNTED) {
		if (likely(!hlist_empty(&subscriptions->list)))
			mmu_notifier_list_end(subscriptions, range, 1);
		mmu_notifier_counted_end(subscriptions, range);
	} else {
		mmu_notifier_end_tracked(subscriptions, range);
	}
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
}

/* Interval subscriptions have none of the following callbacks. */
static bool mmu_notifier_has_list(const struct mm_struct *mm)
{
	return !hlist_empty(&mm->notifier_subscriptions->list);
}

static void mmu_notifier_call_tlbs(struct mmu_notifier *subscription,
				   struct mm_struct *mm, unsigned long start,
				   unsigned long end)
{
	const struct mmu_notifier_ops *ops = subscription->ops;

	ops->arch_invalidate_secondary_tlbs(subscription, mm, start, end);
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
	for_each_subscription(subscription, mm->notifier_subscriptions)
		if (subscription->ops->arch_invalidate_secondary_tlbs)
			mmu_notifier_call_tlbs(subscription, mm, start, end);
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

/* The end of an address space */

/* Callbacks may call mmu_notifier_put(), and leave the list while we are on it. */
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

	/* mmu_notifier_unregister() sees by this that release was called. */
	spin_lock(&subscriptions->intervals.lock);
	hlist_for_each_entry_safe(subscription, next, &subscriptions->list,
				  hlist)
		hlist_del_init_rcu(&subscription->hlist);
	spin_unlock(&subscriptions->intervals.lock);
	srcu_read_unlock(&mmu_notifier_calls, id);

	/* A release that mmu_notifier_unregister() calls must end before pages go. */
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

static struct mmu_notifier_subscriptions *mmu_subscriptions_alloc(void)
{
	struct mmu_notifier_subscriptions *subscriptions =
		kzalloc_obj(*subscriptions);

	if (!subscriptions)
		return NULL;
	INIT_HLIST_HEAD(&subscriptions->list);
	mmu_intervals_init(&subscriptions->intervals);
	return subscriptions;
}

/* Make @made the subscriptions of @mm, unless it has some. Returns what it has. */
static struct mmu_notifier_subscriptions *
mmu_subscriptions_publish(struct mm_struct *mm,
			  struct mmu_notifier_subscriptions *made)
{
	struct mmu_notifier_subscriptions *other;

	/* Others look without a lock, and follow the pointer. */
	other = cmpxchg(&mm->notifier_subscriptions, NULL, made);
	if (!other)
		return made;
	if (!hlist_empty(&made->list))
		hlist_del_init(made->list.first);
	kfree(made);
	return other;
}

/* As mmu_subscriptions_tracked(), if it is not clear that they are. */
struct mmu_notifier_subscriptions *
mmu_subscriptions_track(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subscriptions =
		READ_ONCE(mm->notifier_subscriptions);

	if (!subscriptions) {
		subscriptions = mmu_subscriptions_alloc();
		if (!subscriptions)
			return NULL;
		subscriptions = mmu_subscriptions_publish(mm, subscriptions);
	}
	mmu_intervals_track(&subscriptions->intervals, mm);
	return subscriptions;
}

/*
 * Put @subscription on the list. @wait is for those that do not call it. The lock
 * is held, or nobody else sees the list.
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
 * mmu_notifier_admit() - add the subscriptions that are pending, if nothing is in
 *	flight
 * @intervals: the address space's, locked
 *
 * By the task whose invalidation has ended: the next one may follow before a
 * waiter runs.
 */
void mmu_notifier_admit(struct mmu_intervals *intervals)
{
	struct mmu_notifier_subscriptions *subscriptions =
		container_of(intervals, struct mmu_notifier_subscriptions,
			     intervals);
	struct mmu_notifier *subscription;
	struct mmu_inflight_wait none;
	struct hlist_node *next;

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
	/* Nothing is done if it has left the list already. */
	hlist_del_init_rcu(&subscription->hlist);
}

static bool mmu_notifier_none_unseen(struct mmu_intervals *intervals, void *mm)
{
	return mmu_notifier_none_counted(mm, MMU_COUNT_UNSEEN);
}

/* The first subscription has been on the list since the list was visible. */
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
 * struct mmu_notifier_entry - a subscription that is to be added
 * @subscription: pending
 * @wait: for what was in flight
 */
struct mmu_notifier_entry {
	struct mmu_notifier *subscription;
	struct mmu_inflight_wait wait;
};

/* Has it been added, or has all ended that it waits for? */
static bool mmu_notifier_entry_over(struct mmu_intervals *intervals, void *arg)
{
	struct mmu_notifier_entry *entry = arg;

	guard(spinlock)(&intervals->lock);
	mmu_notifier_admit(intervals);
	return entry->subscription->since ||
	       mmu_inflight_wait_over(&entry->wait, &intervals->inflight);
}

/* So many rounds, and a subscription is added although something is in flight. */
#define MMU_ENTRY_ROUNDS	2

/*
 * Wait until @entry has been added, or has waited in vain. A round ends when all
 * has ended that was in flight when it began. This can be killed, as nobody has
 * seen the subscription yet.
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

/* Add @subscription, where invalidations are tracked. */
static int mmu_notifier_enter(struct mmu_notifier_subscriptions *subscriptions,
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
		made = mmu_subscriptions_alloc();
		if (!made)
			return -ENOMEM;
		/* A look, no more: if something has just begun, it is waited for. */
		if (mmu_notifier_none_counted(mm, MMU_COUNT_UNSEEN))
			mmu_notifier_add(made, subscription, &none);
		subscriptions = mmu_subscriptions_publish(mm, made);
		if (subscriptions == made && !hlist_empty(&made->list)) {
			mmu_notifier_wait_first(&made->intervals, mm);
			goto out;
		}
	}

	subscriptions = mmu_subscriptions_tracked(mm);
	if (!subscriptions)
		return -ENOMEM;
	ret = mmu_notifier_enter(subscriptions, subscription, mm);
	if (ret)
		return ret;
	/*
	 * Who clears an entry looks at the list next, without a lock, and after
	 * the end, too: either it finds this one, or the device finds the entry
	 * cleared.
	 */
	if (subscription->ops->arch_invalidate_secondary_tlbs)
		mmu_notifier_fence();
out:
	/* All invalidations in flight know of it. */
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
 * @subscription: the subscription, with its ops set; the caller's until
 *	mmu_notifier_unregister() has returned. %NULL gets the address space ready
 *	for interval subscriptions and adds nothing.
 * @mm: the address space
 *
 * After this has returned, the subscription is told of each change in the page
 * table; callbacks may come before. The mm_struct stays until the subscription
 * goes; mmget_not_zero() tells whether the address space still does.
 *
 * Context: Process context, may sleep. Waits until no invalidation of this address
 * space is in flight, which a fatal signal ends. If there always is one, it waits
 * for some of them after callbacks have begun, and a signal does not end this. What
 * they wait for must not be held, nor what callbacks take: one invalidation may wait
 * for another that calls back. No lock is needed, mmap_lock may be held. The caller
 * keeps the address space alive (mmget()).
 *
 * Return: 0, -ENOMEM, -EINTR if the calling task is being killed, or -EINVAL for
 * callbacks that exclude each other or an address space that is at its end. After
 * an error no callback was called, and @subscription is not in use.
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
		return mmu_subscriptions_tracked(mm) ? 0 : -ENOMEM;

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
 * mmu_notifier_unregister() - end a subscription
 * @subscription: from mmu_notifier_register()
 * @mm: its address space
 *
 * Calls &mmu_notifier_ops.release, unless the end of the address space has.
 * When this returns no callback is running, and none will.
 *
 * Context: Process context, may sleep. Not from a callback.
 */
void mmu_notifier_unregister(struct mmu_notifier *subscription,
			     struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subscriptions =
		mm->notifier_subscriptions;

	if (!hlist_unhashed_lockless(&subscription->hlist)) {
		/* Under SRCU: the end of the address space must wait for it. */
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

/* One more user for the subscription with these ops; %NULL if there is none. */
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
 * mmu_notifier_get_locked() - the subscription that an address space has with
 *	certain callbacks, made if need be
 * @ops: the callbacks
 * @mm: the address space
 *
 * To be given back by mmu_notifier_put().
 *
 * Context: Process context, may sleep. The caller holds mmap_lock for writing.
 *
 * Return: the subscription, what &mmu_notifier_ops.alloc_notifier returned as an
 * error, or an ERR_PTR() of what __mmu_notifier_register() returned or of
 * -EOVERFLOW.
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
 * mmu_notifier_put() - give a subscription back
 * @subscription: from mmu_notifier_get()
 *
 * The last one ends the subscription, without a call of
 * &mmu_notifier_ops.release: nothing may be in use by then. It is freed some
 * time later; a module has to wait for that by mmu_notifier_synchronize()
 * before it goes.
 *
 * Context: Process context; need not be able to sleep. Also from
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
 * mmu_notifier_synchronize() - wait until subscriptions that were put are freed,
 *	and release functions that were called have returned
 *
 * For the exit of a module that uses mmu_notifier_put(), which has put all its
 * subscriptions by then, or mmu_interval_notifier_remove_async(), of which all
 * release functions have been called.
 *
 * Context: Process context, may sleep.
 */
void mmu_notifier_synchronize(void)
{
	/* Also for mmu_interval_notifier_remove_async(): see mmu_intervals_called() */
	synchronize_srcu(&mmu_notifier_calls);
	srcu_barrier(&mmu_notifier_calls);
}
EXPORT_SYMBOL_GPL(mmu_notifier_synchronize);
