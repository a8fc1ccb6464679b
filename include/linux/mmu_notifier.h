/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MMU notifiers: those who keep a copy of a process's page table, or of parts of
 * it, are told before it changes.
 *
 * Two kinds of subscriptions: to a whole address space (struct mmu_notifier,
 * here) and to a range of it (struct mmu_interval_notifier, mmu_interval.h).
 */
#ifndef _LINUX_MMU_NOTIFIER_H
#define _LINUX_MMU_NOTIFIER_H

#include <linux/bits.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/mm_types.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_interval.h>
#include <linux/mmu_notifier_types.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>

struct mmu_notifier_subscriptions;
struct mmu_notifier;
struct mmu_notifier_range;

/**
 * enum mmu_notifier_event - why a range is invalidated
 * @MMU_NOTIFY_UNMAP: the mapping goes away, or moves elsewhere (munmap, mremap)
 * @MMU_NOTIFY_CLEAR: entries are cleared while the mapping stays: memory is given
 *	back, written to disk, copied, joined or split
 * @MMU_NOTIFY_PROTECTION_VMA: the protection of the range changes as a whole
 * @MMU_NOTIFY_PROTECTION_PAGE: pages of the range are write-protected, one here
 *	and one there: by fork, before file pages are written back, before KSM
 *	compares pages
 * @MMU_NOTIFY_SOFT_DIRTY: pages are write-protected to learn of the next write
 * @MMU_NOTIFY_RELEASE: the address space is at its end
 * @MMU_NOTIFY_MIGRATE: pages are collected for migration by migrate_vma_setup();
 *	the owner is the one of the caller, who need not take it as news
 * @MMU_NOTIFY_EXCLUSIVE: an entry becomes a device's own; the owner is what was
 *	given to make_device_exclusive()
 */
enum mmu_notifier_event {
	MMU_NOTIFY_UNMAP = 0,
	MMU_NOTIFY_CLEAR,
	MMU_NOTIFY_PROTECTION_VMA,
	MMU_NOTIFY_PROTECTION_PAGE,
	MMU_NOTIFY_SOFT_DIRTY,
	MMU_NOTIFY_RELEASE,
	MMU_NOTIFY_MIGRATE,
	MMU_NOTIFY_EXCLUSIVE,
};

/* The callbacks may sleep; the core sets and clears it. */
#define MMU_NOTIFIER_RANGE_BLOCKABLE	BIT(0)
/* With MMU_NOTIFY_PROTECTION_VMA: write access is all that is lost. */
#define MMU_NOTIFIER_RANGE_WRITE_LOST	BIT(1)
/* Private, from start to end: subscriptions know of it, and its slot */
#define MMU_NOTIFIER_RANGE_SEEN		BIT(2)
#define MMU_NOTIFIER_RANGE_SLOT		GENMASK(15, 8)

/**
 * struct mmu_notifier_ops - how a subscription to an address space is told
 * @release: The address space ends, or mmu_notifier_unregister() was called:
 *	nothing of it may be used once this returns, for its pages are freed
 *	next. Other callbacks can run at the same time. Without @release, nothing
 *	may be in use any more when the last thread of the process has gone.
 * @clear_flush_young: Test and clear the accessed bits of the range, so that the
 *	next access sets them again for sure.
 * @clear_young: The same, but the device's TLB need not be flushed for it.
 * @test_young: Tell whether the page was accessed; change nothing.
 * @invalidate_range_start: From here to @invalidate_range_end nothing of the
 *	range may be used nor learnt. If mmu_notifier_range_blockable() says
 *	no and sleeping cannot be avoided, return -EAGAIN, and 0 in all other
 *	cases. A subscription whose start can fail must not have an
 *	@invalidate_range_end: it would be called without a start.
 * @invalidate_range_end: The page table has changed, the pages may be gone.
 *	Called for each start of which this was told, unless it has gone.
 * @arch_invalidate_secondary_tlbs: For a device that walks the CPU's own page
 *	table: called wherever the CPU's TLB is flushed, with page table locks
 *	held. Excludes the two before.
 * @alloc_notifier: Make a subscription, for mmu_notifier_get().
 * @free_notifier: Free it, when the last mmu_notifier_put() is long enough ago
 *	that no callback can be running. Called from where it cannot sleep.
 *
 * @invalidate_range_start and @invalidate_range_end are called with mmap_lock, a
 * VMA's lock or the locks of the reverse mapping held. Invalidations overlap in
 * time, of the same range too.
 */
struct mmu_notifier_ops {
	void (*release)(struct mmu_notifier *subscription,
			struct mm_struct *mm);
	bool (*clear_flush_young)(struct mmu_notifier *subscription,
				  struct mm_struct *mm,
				  unsigned long start,
				  unsigned long end);
	bool (*clear_young)(struct mmu_notifier *subscription,
			    struct mm_struct *mm,
			    unsigned long start,
			    unsigned long end);
	bool (*test_young)(struct mmu_notifier *subscription,
			   struct mm_struct *mm,
			   unsigned long address);
	int (*invalidate_range_start)(struct mmu_notifier *subscription,
				      const struct mmu_notifier_range *range);
	void (*invalidate_range_end)(struct mmu_notifier *subscription,
				     const struct mmu_notifier_range *range);
	void (*arch_invalidate_secondary_tlbs)(struct mmu_notifier *subscription,
					       struct mm_struct *mm,
					       unsigned long start,
					       unsigned long end);
	struct mmu_notifier *(*alloc_notifier)(struct mm_struct *mm);
	void (*free_notifier)(struct mmu_notifier *subscription);
};

/**
 * struct mmu_notifier - a subscription to an address space
 * @hlist: among those of the address space; under SRCU
 * @ops: set by whoever registers it
 * @mm: the address space
 * @rcu: to free it
 * @users: mmu_notifier_get() calls without their mmu_notifier_put()
 * @since: its number among those ever registered, as long as an invalidation may
 *	be in flight that started before it was added; then 0
 */
struct mmu_notifier {
	struct hlist_node hlist;
	const struct mmu_notifier_ops *ops;
	struct mm_struct *mm;
	struct rcu_head rcu;
	unsigned int users;
	unsigned int since;
};

#ifdef CONFIG_MMU_NOTIFIER

#ifdef CONFIG_LOCKDEP
extern struct lockdep_map __mmu_notifier_invalidate_range_start_map;
#endif

/**
 * struct mmu_notifier_range - an invalidation
 * @mm: the address space
 * @start: first address
 * @end: the last address + 1
 * @flags: MMU_NOTIFIER_RANGE_*
 * @event: why
 * @owner: with MMU_NOTIFY_MIGRATE, MMU_NOTIFY_EXCLUSIVE and where pages come
 *	back from a device: whose doing it is; otherwise %NULL
 *
 * To be set up by mmu_notifier_range_init() or mmu_notifier_range_init_owner().
 * Stays where it is, and belongs to one task, from the start to the end.
 */
struct mmu_notifier_range {
	struct mm_struct *mm;
	unsigned long start;
	unsigned long end;
	unsigned int flags;
	enum mmu_notifier_event event;
	void *owner;
};

static inline int mm_has_notifiers(struct mm_struct *mm)
{
	/* Never unset; whoever finds it set reads it anew. */
	return unlikely(data_race(mm->notifier_subscriptions));
}

struct mmu_notifier *mmu_notifier_get_locked(const struct mmu_notifier_ops *ops,
					     struct mm_struct *mm);
static inline struct mmu_notifier *
mmu_notifier_get(const struct mmu_notifier_ops *ops, struct mm_struct *mm)
{
	struct mmu_notifier *subscription;

	mmap_write_lock(mm);
	subscription = mmu_notifier_get_locked(ops, mm);
	mmap_write_unlock(mm);
	return subscription;
}

void mmu_notifier_put(struct mmu_notifier *subscription);
void mmu_notifier_synchronize(void);

int mmu_notifier_register(struct mmu_notifier *subscription,
			  struct mm_struct *mm);
int __mmu_notifier_register(struct mmu_notifier *subscription,
			    struct mm_struct *mm);
void mmu_notifier_unregister(struct mmu_notifier *subscription,
			     struct mm_struct *mm);

void __mmu_notifier_subscriptions_destroy(struct mm_struct *mm);
void __mmu_notifier_release(struct mm_struct *mm);
bool __mmu_notifier_clear_flush_young(struct mm_struct *mm,
				      unsigned long start, unsigned long end);
bool __mmu_notifier_clear_young(struct mm_struct *mm,
				unsigned long start, unsigned long end);
bool __mmu_notifier_test_young(struct mm_struct *mm, unsigned long address);
int
__mmu_notifier_invalidate_range_start(struct mmu_notifier_range *range,
				      struct mmu_invalidation_count __percpu *count);
void __mmu_notifier_invalidate_range_end(struct mmu_notifier_range *range);
void __mmu_notifier_wake(struct mm_struct *mm);
void __mmu_notifier_check_ended(struct mm_struct *mm);
void __mmu_notifier_arch_invalidate_secondary_tlbs(struct mm_struct *mm,
						   unsigned long start,
						   unsigned long end);
bool
mmu_notifier_range_update_to_read_only(const struct mmu_notifier_range *range);

static inline bool
mmu_notifier_range_blockable(const struct mmu_notifier_range *range)
{
	return range->flags & MMU_NOTIFIER_RANGE_BLOCKABLE;
}

static inline void mmu_notifier_release(struct mm_struct *mm)
{
	if (mm_has_notifiers(mm))
		__mmu_notifier_release(mm);
}

static inline bool mmu_notifier_clear_flush_young(struct mm_struct *mm,
						  unsigned long start,
						  unsigned long end)
{
	return mm_has_notifiers(mm) &&
	       __mmu_notifier_clear_flush_young(mm, start, end);
}

static inline bool mmu_notifier_clear_young(struct mm_struct *mm,
					    unsigned long start,
					    unsigned long end)
{
	return mm_has_notifiers(mm) &&
	       __mmu_notifier_clear_young(mm, start, end);
}

static inline bool mmu_notifier_test_young(struct mm_struct *mm,
					   unsigned long address)
{
	return mm_has_notifiers(mm) && __mmu_notifier_test_young(mm, address);
}

#ifdef CONFIG_SCHED_MM_CID
/* In the padding of memory that the mm has anyway */
static inline struct mmu_invalidation_counts __percpu *
mmu_notifier_counts(struct mm_struct *mm)
{
	return &mm->mm_cid.pcpu->invalidations;
}

static inline void mmu_notifier_free_counts(struct mm_struct *mm)
{ }
#else
static inline struct mmu_invalidation_counts __percpu *
mmu_notifier_counts(struct mm_struct *mm)
{
	return mm->notifier_counts;
}

static inline void mmu_notifier_free_counts(struct mm_struct *mm)
{
	free_percpu(mm->notifier_counts);
}
#endif

static inline int mmu_notifier_alloc_counts(struct mm_struct *mm)
{
#ifndef CONFIG_SCHED_MM_CID
	mm->notifier_counts = alloc_percpu(struct mmu_invalidation_counts);
	if (!mm->notifier_counts)
		return -ENOMEM;
#endif
	mm->notifier_count = &mmu_notifier_counts(mm)->of[MMU_COUNT_UNSEEN];
	return 0;
}

#ifdef CONFIG_LOCKDEP
/*
 * Held from start to end, so that lockdep names the function that started an
 * invalidation and returns to user space without ending it. No order is checked:
 * what may be locked meanwhile is not decided here.
 */
extern struct lockdep_map __mmu_notifier_inflight_map;
#endif

#define __mmu_notifier_lockdep_start() \
	lock_acquire(&__mmu_notifier_inflight_map, 0, 1, 2, 0, NULL, _THIS_IP_)
#define __mmu_notifier_lockdep_end() \
	lock_release(&__mmu_notifier_inflight_map, _THIS_IP_)

/*
 * Count the invalidation first, and look for subscriptions then: a subscriber
 * does it the other way round, see mm/mmu_notifier.c.
 *
 * @blockable: MMU_NOTIFIER_RANGE_BLOCKABLE, or 0
 */
static __always_inline int
mmu_notifier_start(struct mmu_notifier_range *range, unsigned int blockable)
{
	struct mmu_invalidation_count __percpu *count;
	struct mm_struct *mm = range->mm;
	int ret = 0;

	lock_map_acquire(&__mmu_notifier_invalidate_range_start_map);
	/* Another count is used only once there are subscriptions to be seen. */
	count = smp_load_acquire(&mm->notifier_count);
	this_cpu_inc(count->begun);
	barrier();
	if (mm_has_notifiers(mm)) {
		range->flags = (range->flags & ~MMU_NOTIFIER_RANGE_BLOCKABLE) |
			       blockable;
		ret = __mmu_notifier_invalidate_range_start(range, count);
	}
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
	if (!ret)
		__mmu_notifier_lockdep_start();
	return ret;
}

/**
 * mmu_notifier_invalidate_range_start() - before page table entries change
 * @range: which, and why
 *
 * Context: Process context, may sleep. The caller holds what keeps the VMA, and
 * pairs it with mmu_notifier_invalidate_range_end() in the same task.
 */
static __always_inline void
mmu_notifier_invalidate_range_start(struct mmu_notifier_range *range)
{
	might_sleep();
	mmu_notifier_start(range, MMU_NOTIFIER_RANGE_BLOCKABLE);
}

/**
 * mmu_notifier_invalidate_range_start_nonblock() - the same, without sleeping
 * @range: which, and why
 *
 * For the OOM reaper.
 *
 * Return: 0, or -EAGAIN if a subscriber would have to sleep: then nothing has
 * begun, no entry may change and the end must not be called.
 */
static __always_inline int __must_check
mmu_notifier_invalidate_range_start_nonblock(struct mmu_notifier_range *range)
{
	return mmu_notifier_start(range, 0);
}

/**
 * mmu_notifier_invalidate_range_end() - after page table entries have changed
 * @range: as given to the start
 */
static __always_inline void
mmu_notifier_invalidate_range_end(struct mmu_notifier_range *range)
{
	struct mm_struct *mm = range->mm;

	if (mmu_notifier_range_blockable(range))
		might_sleep();

	__mmu_notifier_lockdep_end();
	if (unlikely(range->flags & MMU_NOTIFIER_RANGE_SEEN)) {
		__mmu_notifier_invalidate_range_end(range);
		return;
	}
	/*
	 * A subscriber that sees that it has ended sees what it has changed.
	 * What it has only read, it may still read: a page that it copies, say,
	 * to which the subscriber's device writes by then.
	 */
	smp_wmb();
	this_cpu_inc(mmu_notifier_counts(mm)->of[MMU_COUNT_UNSEEN].ended);
	/* There may be a subscriber by now that waits for it. */
	barrier();
	if (mm_has_notifiers(mm))
		__mmu_notifier_wake(mm);
}

static inline void
mmu_notifier_arch_invalidate_secondary_tlbs(struct mm_struct *mm,
					    unsigned long start,
					    unsigned long end)
{
	if (mm_has_notifiers(mm))
		__mmu_notifier_arch_invalidate_secondary_tlbs(mm, start, end);
}

static inline void mmu_notifier_subscriptions_init(struct mm_struct *mm)
{
	mm->notifier_subscriptions = NULL;
}

static inline void mmu_notifier_subscriptions_destroy(struct mm_struct *mm)
{
	if (IS_ENABLED(CONFIG_DEBUG_VM))
		__mmu_notifier_check_ended(mm);
	if (mm_has_notifiers(mm))
		__mmu_notifier_subscriptions_destroy(mm);
}

static inline void
mmu_notifier_range_init_owner(struct mmu_notifier_range *range,
			      enum mmu_notifier_event event,
			      unsigned int flags, struct mm_struct *mm,
			      unsigned long start, unsigned long end,
			      void *owner)
{
	range->mm = mm;
	range->start = start;
	range->end = end;
	range->flags = flags;
	range->event = event;
	range->owner = owner;
}

static inline void mmu_notifier_range_init(struct mmu_notifier_range *range,
					   enum mmu_notifier_event event,
					   unsigned int flags,
					   struct mm_struct *mm,
					   unsigned long start,
					   unsigned long end)
{
	mmu_notifier_range_init_owner(range, event, flags, mm, start, end,
				      NULL);
}

#else /* CONFIG_MMU_NOTIFIER */

struct mmu_notifier_range {
	unsigned long start;
	unsigned long end;
};

static inline void
mmu_notifier_range_init(struct mmu_notifier_range *range,
			enum mmu_notifier_event event, unsigned int flags,
			struct mm_struct *mm, unsigned long start,
			unsigned long end)
{
	range->start = start;
	range->end = end;
}

static inline void
mmu_notifier_range_init_owner(struct mmu_notifier_range *range,
			      enum mmu_notifier_event event,
			      unsigned int flags, struct mm_struct *mm,
			      unsigned long start, unsigned long end,
			      void *owner)
{
	mmu_notifier_range_init(range, event, flags, mm, start, end);
}

static inline bool
mmu_notifier_range_blockable(const struct mmu_notifier_range *range)
{ return true; }

static inline int mm_has_notifiers(struct mm_struct *mm)
{ return 0; }

static inline void mmu_notifier_release(struct mm_struct *mm)
{ }

static inline bool mmu_notifier_clear_flush_young(struct mm_struct *mm,
						  unsigned long start,
						  unsigned long end)
{ return false; }

static inline bool mmu_notifier_clear_young(struct mm_struct *mm,
					    unsigned long start,
					    unsigned long end)
{ return false; }

static inline bool mmu_notifier_test_young(struct mm_struct *mm,
					   unsigned long address)
{ return false; }

static inline void
mmu_notifier_invalidate_range_start(struct mmu_notifier_range *range)
{ }

static inline int
mmu_notifier_invalidate_range_start_nonblock(struct mmu_notifier_range *range)
{ return 0; }

static inline void
mmu_notifier_invalidate_range_end(struct mmu_notifier_range *range)
{ }

static inline void
mmu_notifier_arch_invalidate_secondary_tlbs(struct mm_struct *mm,
					    unsigned long start,
					    unsigned long end)
{ }

static inline void mmu_notifier_subscriptions_init(struct mm_struct *mm)
{ }

static inline void mmu_notifier_subscriptions_destroy(struct mm_struct *mm)
{ }

static inline int mmu_notifier_alloc_counts(struct mm_struct *mm)
{ return 0; }

static inline void mmu_notifier_free_counts(struct mm_struct *mm)
{ }

static inline bool
mmu_notifier_range_update_to_read_only(const struct mmu_notifier_range *range)
{ return false; }

static inline void mmu_notifier_synchronize(void)
{ }

#endif /* CONFIG_MMU_NOTIFIER */

#endif /* _LINUX_MMU_NOTIFIER_H */
