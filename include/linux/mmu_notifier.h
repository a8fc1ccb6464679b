/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MMU notifiers: users that keep a copy of a process's page table, or of a part
 * of it, are notified before it changes.
 *
 * A subscription is to a whole address space (struct mmu_notifier, here) or to
 * a range of it (struct mmu_interval_notifier, mmu_interval.h).
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
 * @MMU_NOTIFY_UNMAP: the mapping is removed or moved (munmap, mremap)
 * @MMU_NOTIFY_CLEAR: entries are cleared while the VMA stays, as by reclaim,
 *	MADV_DONTNEED, copy-on-write, or to collapse or split a huge page
 * @MMU_NOTIFY_PROTECTION_VMA: the protection of the whole range changes
 * @MMU_NOTIFY_PROTECTION_PAGE: single pages of the range are write-protected:
 *	by fork, before file pages are written back, before KSM compares pages
 * @MMU_NOTIFY_SOFT_DIRTY: pages are write-protected to detect the next write
 * @MMU_NOTIFY_RELEASE: the address space is torn down
 * @MMU_NOTIFY_MIGRATE: migrate_vma_setup() collects pages; the owner is
 *	&migrate_vma.pgmap_owner. A driver must heed its own migrations like any
 *	other event: a fault of its device may have walked the page table before
 *	migrate_vma_setup(), and must not pass mmu_interval_read_retry() after
 *	it with pages that have migrated.
 * @MMU_NOTIFY_EXCLUSIVE: entries become device-exclusive; the owner is that of
 *	make_device_exclusive()
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

/* The callbacks may sleep. The core sets and clears it. */
#define MMU_NOTIFIER_RANGE_BLOCKABLE	BIT(0)
/* With MMU_NOTIFY_PROTECTION_VMA: only write access is lost. */
#define MMU_NOTIFIER_RANGE_WRITE_LOST	BIT(1)
/*
 * Private, from start to end: whether there were subscriptions at the start,
 * and the slot
 */
#define MMU_NOTIFIER_RANGE_SEEN		BIT(2)
#define MMU_NOTIFIER_RANGE_SLOT		GENMASK(15, 8)

/**
 * struct mmu_notifier_ops - the callbacks of a subscription to an address space
 * @release: The address space is torn down, or mmu_notifier_unregister() was
 *	called. The device must not use any of its pages after this returns, as
 *	they are freed next. Other callbacks may run concurrently. Without
 *	@release, the device must have stopped by the time that the last thread
 *	of the process exits.
 * @clear_flush_young: Test and clear the accessed bits of the range, so that
 *	the next access sets them again. Like the next two callbacks, it may be
 *	called under a page table lock, and must not sleep.
 * @clear_young: The same, but the device's TLB need not be flushed.
 * @test_young: Test whether the page was accessed, without changing anything.
 * @invalidate_range_start: From here to @invalidate_range_end, the device must
 *	neither use the range nor read its page table entries. If
 *	mmu_notifier_range_blockable() is false and sleeping cannot be avoided,
 *	return -EAGAIN; return 0 in all other cases. A subscription whose start
 *	can fail must not have an @invalidate_range_end callback: the end would
 *	run without its start.
 * @invalidate_range_end: The page table has changed, and the pages may be
 *	freed. Called once for each call of @invalidate_range_start, unless the
 *	subscription is removed in between.
 * @arch_invalidate_secondary_tlbs: For a device that walks the CPU's page
 *	table: called wherever the CPU's TLB is flushed. Page table locks may be
 *	held, but need not be; must not sleep. Excludes @invalidate_range_start
 *	and @invalidate_range_end.
 * @alloc_notifier: Allocate a subscription, for mmu_notifier_get().
 * @free_notifier: Free the subscription, after the last mmu_notifier_put(),
 *	when no callback can be running any more. Must not sleep.
 *
 * mmap_lock, a VMA lock, or rmap locks are held when @invalidate_range_start and
 * @invalidate_range_end are called. Invalidations run concurrently, even of the
 * same range.
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
 * @hlist: in the list of the address space; read under SRCU, changed under the
 *	lock of its subscriptions
 * @ops: the callbacks, set by the user
 * @mm: the address space
 * @rcu: defers mmu_notifier_ops.free_notifier
 * @users: number of references, from mmu_notifier_get(); under the same lock
 * @since: the number of this registration, until all invalidations that started
 *	before it have ended; then 0. Read without the lock.
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
 * @owner: identifies the driver with MMU_NOTIFY_MIGRATE and
 *	MMU_NOTIFY_EXCLUSIVE, and for pages that migrate back from a device;
 *	otherwise %NULL
 *
 * Set up by mmu_notifier_range_init() or mmu_notifier_range_init_owner(). From
 * the start to the end, it must stay at the same address, and only the task
 * that started the invalidation may use it.
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
	/* Never cleared. Callers that find it set read it again. */
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
/* The counters use padding in per-CPU memory that each mm has anyway. */
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
 * Held from start to end: lockdep reports a task that returns to user space
 * with an invalidation in flight, and where that invalidation started. It is
 * not ordered against other locks.
 */
extern struct lockdep_map __mmu_notifier_inflight_map;
#endif

#define __mmu_notifier_lockdep_start() \
	lock_acquire(&__mmu_notifier_inflight_map, 0, 1, 2, 0, NULL, _THIS_IP_)
#define __mmu_notifier_lockdep_end() \
	lock_release(&__mmu_notifier_inflight_map, _THIS_IP_)

/*
 * Count the invalidation, then look for subscriptions. A subscriber does the
 * reverse: it publishes its subscription, then reads the counters. See
 * mm/mmu_notifier.c.
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
	/*
	 * Pairs with the release in mmu_notifier_count_as(): a CPU that reads
	 * the new counter also sees that there are subscriptions.
	 */
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
 * mmu_notifier_invalidate_range_start() - call before page table entries change
 * @range: the range and the reason
 *
 * Context: Process context, may sleep. The caller holds a lock that keeps the
 * VMA stable, and calls mmu_notifier_invalidate_range_end() in the same task.
 */
static __always_inline void
mmu_notifier_invalidate_range_start(struct mmu_notifier_range *range)
{
	might_sleep();
	mmu_notifier_start(range, MMU_NOTIFIER_RANGE_BLOCKABLE);
}

/**
 * mmu_notifier_invalidate_range_start_nonblock() - the same without sleeping
 * @range: the range and the reason
 *
 * For the OOM reaper.
 *
 * Context: Process context. Does not sleep; otherwise as
 * mmu_notifier_invalidate_range_start().
 *
 * Return: 0, or -EAGAIN if a callback would have to sleep. In that case no
 * entry may be changed, and the end must not be called.
 */
static __always_inline int __must_check
mmu_notifier_invalidate_range_start_nonblock(struct mmu_notifier_range *range)
{
	return mmu_notifier_start(range, 0);
}

/**
 * mmu_notifier_invalidate_range_end() - call after page table entries changed
 * @range: as passed to the start
 *
 * Context: Process context, in the task that called the start. May sleep if the
 * start could.
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
	 * A subscriber that sees the end also sees the changed page table.
	 * Reads are not ordered: a page that is being copied may still be read
	 * when the subscriber's device writes to it.
	 */
	smp_wmb();
	this_cpu_inc(mmu_notifier_counts(mm)->of[MMU_COUNT_UNSEEN].ended);
	/* A new subscriber may be waiting for this end. */
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
