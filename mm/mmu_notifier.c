// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MMU notifiers: subscriptions to a whole address space, their lifetime, and
 * how an invalidation reaches all who have subscribed. Subscriptions to ranges
 * are in mmu_interval.c.
 *
 * Lifetime. Callbacks run under SRCU (mmu_notifier_calls): a subscription that
 * has left the list is freed, or handed back to its owner, when no callback can
 * be running any more. The list's head lives as long as the mm_struct.
 *
 * Flights. An invalidation is in flight from its start to its end. Who
 * subscribes must not learn anything from the page table while an invalidation
 * is in flight that will never tell him. There is no lock against it: all
 * invalidations are readers of SRCU (mmu_notifier_flights), whether they find
 * subscribers or not, and who subscribes waits for those that may have missed
 * him:
 *
 *	invalidation				subscriber
 *
 *	srcu_read_lock(flights)
 *	look for subscriptions
 *						make the subscription visible
 *						synchronize_srcu(flights) ...
 *	change entries, free pages		  :
 *	srcu_read_unlock(flights)		  :
 *						... is over: read entries
 *
 * An invalidation that begins so late that the grace period does not wait for
 * it finds the subscription. It costs the reader two increments of a counter of
 * its own CPU, and does not depend on how many mappings there are. The
 * mmap_lock, which the subscriber holds, would not be enough: the locks of a VMA
 * and of the reverse mapping protect invalidations too.
 *
 * SRCU does not tell one address space from another, and a device's callback can
 * take its time. So where there are interval subscriptions, whose callbacks do,
 * an invalidation goes to the list of its own address space and is no reader any
 * more; who subscribes waits for the grace period, and then for that list. What
 * remains in SRCU are invalidations that call no driver, and those of address
 * spaces that have subscriptions of this file only, whose callbacks are short.
 * tools/memory-model/litmus-tests/hmm/ has this as MMU-subscribe-*.litmus.
 *
 * In such a flight the subscription appears between start and end. It is told
 * of neither: subscriptions have numbers that go up, and the range remembers the
 * last one that its start took into account.
 */
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/srcu.h>

#include "mmu_subscriptions.h"

DEFINE_SRCU_FAST(mmu_notifier_flights);
DEFINE_STATIC_SRCU(mmu_notifier_calls);

#ifdef CONFIG_LOCKDEP
/* Waiting for an invalidation, or for memory that only one can free */
struct lockdep_map __mmu_notifier_invalidate_range_start_map = {
	.name = "mmu_notifier_invalidate_range_start"
};
#endif

#define for_each_subscription(subscription, subscriptions)		\
	hlist_for_each_entry_srcu(subscription, &(subscriptions)->list,	\
				  hlist,				\
				  srcu_read_lock_held(&mmu_notifier_calls))

/* Was it there when the invalidation began? */
static bool concerns(const struct mmu_notifier *subscription,
		     const struct mmu_notifier_range *range)
{
	return subscription->since <= range->registered;
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

static int call_start(struct mmu_notifier *subscription,
		      const struct mmu_notifier_range *range)
{
	bool blockable = mmu_notifier_range_blockable(range);
	int ret;

	if (!blockable)
		non_block_start();
	ret = subscription->ops->invalidate_range_start(subscription, range);
	if (!blockable)
		non_block_end();
	/* Who can fail has no end: nobody could tell it that there was no start. */
	WARN_ON(ret && (blockable || ret != -EAGAIN ||
			subscription->ops->invalidate_range_end));
	return ret;
}

static void call_end(struct mmu_notifier *subscription,
		     const struct mmu_notifier_range *range)
{
	bool blockable = mmu_notifier_range_blockable(range);

	if (!blockable)
		non_block_start();
	subscription->ops->invalidate_range_end(subscription, range);
	if (!blockable)
		non_block_end();
}

static noinline void list_end(struct mmu_notifier_range *range)
{
	struct mmu_notifier *subscription;
	int id = srcu_read_lock(&mmu_notifier_calls);

	for_each_subscription(subscription, range->subscriptions)
		if (concerns(subscription, range) &&
		    subscription->ops->invalidate_range_end)
			call_end(subscription, range);
	srcu_read_unlock(&mmu_notifier_calls, id);
}

static noinline int list_start(struct mmu_notifier_range *range)
{
	struct mmu_notifier *subscription;
	int id = srcu_read_lock(&mmu_notifier_calls);
	int ret = 0;

	for_each_subscription(subscription, range->subscriptions)
		if (concerns(subscription, range) &&
		    subscription->ops->invalidate_range_start)
			ret = call_start(subscription, range) ?: ret;
	srcu_read_unlock(&mmu_notifier_calls, id);

	/* All were called, and all that have an end have begun. */
	if (ret && !mmu_notifier_range_blockable(range))
		list_end(range);
	return mmu_notifier_range_blockable(range) ? 0 : ret;
}

/* Is it a reader of SRCU still? */
static void land(struct mmu_notifier_range *range)
{
	if (!range->flight.number)
		mmu_notifier_land(range);
}

int __mmu_notifier_invalidate_range_start(struct mmu_notifier_range *range)
{
	struct mmu_notifier_subscriptions *subscriptions =
		range->subscriptions;
	int ret;

	/* Pairs with the release in __mmu_notifier_register(). */
	range->registered = smp_load_acquire(&subscriptions->registered);

	ret = mmu_intervals_start(&subscriptions->intervals, range);
	if (ret || hlist_empty(&subscriptions->list))
		return ret;
	ret = list_start(range);
	if (ret) {
		mmu_intervals_end(&subscriptions->intervals, range);
		land(range);
	}
	return ret;
}

void __mmu_notifier_invalidate_range_end(struct mmu_notifier_range *range)
{
	struct mmu_notifier_subscriptions *subscriptions =
		range->subscriptions;

	lock_map_acquire(&__mmu_notifier_invalidate_range_start_map);
	mmu_intervals_end(&subscriptions->intervals, range);
	if (!hlist_empty(&subscriptions->list))
		list_end(range);
	land(range);
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
}

/* Interval subscriptions have none of what follows: spare them the way there. */
static bool has_list(const struct mm_struct *mm)
{
	return !hlist_empty(&mm->notifier_subscriptions->list);
}

static void call_tlbs(struct mmu_notifier *subscription, struct mm_struct *mm,
		      unsigned long start, unsigned long end)
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

	if (!has_list(mm))
		return;
	id = srcu_read_lock(&mmu_notifier_calls);
	for_each_subscription(subscription, mm->notifier_subscriptions)
		if (subscription->ops->arch_invalidate_secondary_tlbs)
			call_tlbs(subscription, mm, start, end);
	srcu_read_unlock(&mmu_notifier_calls, id);
}

bool __mmu_notifier_clear_flush_young(struct mm_struct *mm,
				      unsigned long start, unsigned long end)
{
	struct mmu_notifier *subscription;
	bool young = false;
	int id;

	if (!has_list(mm))
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

	if (!has_list(mm))
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

	if (!has_list(mm))
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
static void list_release(struct mmu_notifier_subscriptions *subscriptions,
			 struct mm_struct *mm)
{
	struct mmu_notifier *subscription;
	struct hlist_node *next;
	int id = srcu_read_lock(&mmu_notifier_calls);

	for_each_subscription(subscription, subscriptions)
		if (subscription->ops->release)
			subscription->ops->release(subscription, mm);

	/* This is how mmu_notifier_unregister() sees that release was called. */
	spin_lock(&subscriptions->lock);
	hlist_for_each_entry_safe(subscription, next, &subscriptions->list,
				  hlist)
		hlist_del_init_rcu(&subscription->hlist);
	spin_unlock(&subscriptions->lock);
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
		list_release(subscriptions, mm);
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

/**
 * mmu_subscriptions_of() - the subscriptions of an address space, made if need be
 * @mm: the address space
 *
 * Context: Process context, may sleep. The mmap_lock is held for writing.
 *
 * Return: the subscriptions, or %NULL if there is no memory for them.
 */
struct mmu_notifier_subscriptions *
mmu_subscriptions_of(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subscriptions =
		mm->notifier_subscriptions;

	mmap_assert_write_locked(mm);
	if (subscriptions)
		return subscriptions;

	subscriptions = kzalloc_obj(*subscriptions);
	if (!subscriptions)
		return NULL;
	spin_lock_init(&subscriptions->lock);
	INIT_HLIST_HEAD(&subscriptions->list);
	mmu_intervals_init(&subscriptions->intervals);
	/* Others look without a lock, and follow the pointer. */
	smp_store_release(&mm->notifier_subscriptions, subscriptions);
	return subscriptions;
}

static void subscriptions_add(struct mmu_notifier_subscriptions *subscriptions,
			      struct mmu_notifier *subscription)
{
	spin_lock(&subscriptions->lock);
	subscription->since = subscriptions->registered + 1;
	hlist_add_head_rcu(&subscription->hlist, &subscriptions->list);
	/* Who knows of the number finds the subscription. */
	smp_store_release(&subscriptions->registered, subscription->since);
	spin_unlock(&subscriptions->lock);
}

/* mmap_lock is held for writing. */
static int subscribe(struct mmu_notifier *subscription, struct mm_struct *mm)
{
	const struct mmu_notifier_ops *ops = subscription->ops;
	struct mmu_notifier_subscriptions *subscriptions;

	mmap_assert_write_locked(mm);
	if (WARN_ON_ONCE(atomic_read(&mm->mm_users) <= 0))
		return -EINVAL;
	if (WARN_ON_ONCE(ops->arch_invalidate_secondary_tlbs &&
			 (ops->invalidate_range_start ||
			  ops->invalidate_range_end)))
		return -EINVAL;

	subscriptions = mmu_subscriptions_of(mm);
	if (!subscriptions)
		return -ENOMEM;

	mmgrab(mm);
	subscription->mm = mm;
	subscription->users = 1;
	subscriptions_add(subscriptions, subscription);
	return 0;
}

/* Invalidations in flight may have missed a new subscription. */
static void wait_for_flights(struct mm_struct *mm)
{
	/* Those that went to the list meanwhile are on it after this. */
	synchronize_srcu_expedited(&mmu_notifier_flights);
	mmu_intervals_wait_for_flights(&mm->notifier_subscriptions->intervals);
}

/**
 * __mmu_notifier_register() - mmu_notifier_register() with mmap_lock held
 * @subscription: the subscription, with its ops set
 * @mm: the address space
 *
 * Context: Process context, may sleep. The caller holds mmap_lock for writing.
 *
 * Return: as mmu_notifier_register().
 */
int __mmu_notifier_register(struct mmu_notifier *subscription,
			    struct mm_struct *mm)
{
	int ret = subscribe(subscription, mm);

	if (!ret)
		wait_for_flights(mm);
	return ret;
}
EXPORT_SYMBOL_GPL(__mmu_notifier_register);

/**
 * mmu_notifier_register() - subscribe to an address space
 * @subscription: the subscription, with its ops set; the caller's until
 *	mmu_notifier_unregister() has returned
 * @mm: the address space
 *
 * Once this returns, all that changes in the page table is told. The mm_struct
 * stays until the subscription goes; mmget_not_zero() tells whether the address
 * space still does.
 *
 * Context: Process context, may sleep, and waits for invalidations in flight:
 * nothing may be held that they wait for. The caller does not hold mmap_lock,
 * and keeps the address space alive (mmget()).
 *
 * Return: 0, -ENOMEM, or -EINVAL for callbacks that exclude each other or an
 * address space that is at its end.
 */
int mmu_notifier_register(struct mmu_notifier *subscription,
			  struct mm_struct *mm)
{
	int ret;

	mmap_write_lock(mm);
	ret = subscribe(subscription, mm);
	mmap_write_unlock(mm);
	if (!ret)
		wait_for_flights(mm);
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
		/* Under SRCU: list_release() must not go on before this is done. */
		int id = srcu_read_lock(&mmu_notifier_calls);

		if (subscription->ops->release)
			subscription->ops->release(subscription, mm);
		srcu_read_unlock(&mmu_notifier_calls, id);

		spin_lock(&subscriptions->lock);
		/* Nothing is done if list_release() was faster. */
		hlist_del_init_rcu(&subscription->hlist);
		spin_unlock(&subscriptions->lock);
	}

	synchronize_srcu(&mmu_notifier_calls);
	mmdrop(mm);
}
EXPORT_SYMBOL_GPL(mmu_notifier_unregister);

/* One more user for the subscription with these ops; %NULL if there is none. */
static struct mmu_notifier *
subscriptions_get(struct mmu_notifier_subscriptions *subscriptions,
		  const struct mmu_notifier_ops *ops)
{
	struct mmu_notifier *subscription;

	guard(spinlock)(&subscriptions->lock);
	hlist_for_each_entry(subscription, &subscriptions->list, hlist) {
		if (subscription->ops != ops)
			continue;
		if (subscription->users == UINT_MAX)
			return ERR_PTR(-EOVERFLOW);
		subscription->users++;
		return subscription;
	}
	return NULL;
}

static struct mmu_notifier *
subscriptions_make(const struct mmu_notifier_ops *ops, struct mm_struct *mm)
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

	if (mm->notifier_subscriptions)
		subscription = subscriptions_get(mm->notifier_subscriptions,
						 ops);
	return subscription ?: subscriptions_make(ops, mm);
}
EXPORT_SYMBOL_GPL(mmu_notifier_get_locked);

static void subscription_free(struct rcu_head *rcu)
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
 * Context: Any but interrupts; also from &mmu_notifier_ops.release.
 */
void mmu_notifier_put(struct mmu_notifier *subscription)
{
	struct mmu_notifier_subscriptions *subscriptions =
		subscription->mm->notifier_subscriptions;
	bool last;

	spin_lock(&subscriptions->lock);
	last = !WARN_ON(!subscription->users) && !--subscription->users;
	if (last)
		hlist_del_init_rcu(&subscription->hlist);
	spin_unlock(&subscriptions->lock);
	if (last)
		call_srcu(&mmu_notifier_calls, &subscription->rcu,
			  subscription_free);
}
EXPORT_SYMBOL_GPL(mmu_notifier_put);

/**
 * mmu_notifier_synchronize() - wait until subscriptions that were put are freed
 *
 * For the exit of a module that uses mmu_notifier_put(). All its subscriptions
 * have been put by then.
 *
 * Context: Process context, may sleep.
 */
void mmu_notifier_synchronize(void)
{
	srcu_barrier(&mmu_notifier_calls);
}
EXPORT_SYMBOL_GPL(mmu_notifier_synchronize);
