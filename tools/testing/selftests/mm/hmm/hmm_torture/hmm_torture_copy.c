// SPDX-License-Identifier: GPL-2.0
/*
 * What the copy of the notifiers needs: a stand-in for the address space, whose
 * only use is to have subscriptions, and invalidations of it. Built with the
 * copy's names.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/sched/mm.h>
#include <linux/percpu.h>
#include <linux/slab.h>

#include "hmm_torture.h"

/* One in so many ends looks as if its count came late, and by how much */
#define LATE	2
#define LATE_US	500

#define LONG_MS	200

static int alloc_counts(struct mm_struct *mm)
{
#ifdef CONFIG_SCHED_MM_CID
	mm->mm_cid.pcpu = alloc_percpu(struct mm_cid_pcpu);
	if (!mm->mm_cid.pcpu)
		return -ENOMEM;
#endif
	return mmu_notifier_alloc_counts(mm);
}

static void free_counts(struct mm_struct *mm)
{
	mmu_notifier_free_counts(mm);
#ifdef CONFIG_SCHED_MM_CID
	free_percpu(mm->mm_cid.pcpu);
#endif
}

struct mm_struct *torture_copy_mm(void)
{
	struct mm_struct *mm = kzalloc_obj(*mm);

	if (!mm)
		return NULL;
	if (alloc_counts(mm)) {
		kfree(mm);
		return NULL;
	}
	atomic_set(&mm->mm_users, 1);
	atomic_set(&mm->mm_count, 1);
	init_rwsem(&mm->mmap_lock);
	mm_lock_seqcount_init(mm);
	mmu_notifier_subscriptions_init(mm);
	return mm;
}

void torture_copy_mm_free(struct mm_struct *mm)
{
	unsigned int tries;

	/* A reference is dropped after release() was called, by whoever did. */
	for (tries = 0; atomic_read(&mm->mm_count) != 1 && tries < 100; tries++)
		msleep(20);
	if (atomic_read(&mm->mm_count) != 1) {
		torture_fail("references to the address space are left");
		return;
	}
	/* Not mmu_notifier_subscriptions_destroy(): starts may have no end. */
	if (mm_has_notifiers(mm))
		__mmu_notifier_subscriptions_destroy(mm);
	free_counts(mm);
	kfree(mm);
}

/* What follows the count at the start */
static int begin_counted(struct mmu_notifier_range *range,
			 unsigned int blockable,
			 struct mmu_invalidation_count __percpu *count)
{
	range->flags = (range->flags & ~MMU_NOTIFIER_RANGE_BLOCKABLE) |
		       blockable;
	return __mmu_notifier_invalidate_range_start(range, count);
}

/*
 * A CPU may execute the look for subscriptions before others see the count that
 * precedes it, which stays in its store buffer. That is too short to be met in a
 * minute, so this does both in the other order, at leisure. Interrupts come
 * before or after, as they find the buffer empty.
 */
static int begin_late(struct mmu_notifier_range *range, unsigned int blockable)
{
	struct mmu_invalidation_count __percpu *count;
	struct mm_struct *mm = range->mm;
	unsigned long flags;
	bool seen;

	local_irq_save(flags);
	/* Pairs with the release in mmu_notifier_count_as(). */
	count = smp_load_acquire(&mm->notifier_count);
	seen = mm_has_notifiers(mm);
	if (!seen)
		udelay(LATE_US);
	this_cpu_inc(count->begun);
	local_irq_restore(flags);
	return seen ? begin_counted(range, blockable, count) : 0;
}

/* The task may be interrupted after it has looked by what to count. */
static int begin_interrupted(struct mmu_notifier_range *range)
{
	struct mmu_invalidation_count __percpu *count;
	struct mm_struct *mm = range->mm;

	/* Pairs with the release in mmu_notifier_count_as(). */
	count = smp_load_acquire(&mm->notifier_count);
	usleep_range(LATE_US / 2, 2 * LATE_US);
	this_cpu_inc(count->begun);
	barrier();
	if (!mm_has_notifiers(mm))
		return 0;
	return begin_counted(range, MMU_NOTIFIER_RANGE_BLOCKABLE, count);
}

static int begin_unusually(struct mmu_notifier_range *range, bool blockable,
			   bool late)
{
	int ret;

	lock_map_acquire(&__mmu_notifier_invalidate_range_start_map);
	if (late)
		ret = begin_late(range, blockable ?
					MMU_NOTIFIER_RANGE_BLOCKABLE : 0);
	else
		ret = begin_interrupted(range);
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
	if (!ret)
		__mmu_notifier_lockdep_start();
	return ret;
}

/* The same of the end of one that has seen no subscription */
static void end_late(struct mmu_notifier_range *range)
{
	struct mm_struct *mm = range->mm;
	unsigned long flags;
	bool seen;

	__mmu_notifier_lockdep_end();
	local_irq_save(flags);
	seen = mm_has_notifiers(mm);
	if (!seen)
		udelay(LATE_US);
	/* As in mmu_notifier_invalidate_range_end() */
	smp_wmb();
	this_cpu_inc(mmu_notifier_counts(mm)->of[MMU_COUNT_UNSEEN].ended);
	local_irq_restore(flags);
	if (seen)
		__mmu_notifier_wake(mm);
}

int torture_copy_begin(struct torture *torture, struct torture_range *copied,
		       bool blockable)
{
	struct mmu_notifier_range *range = &copied->range;
	unsigned int dice = torture_dice(torture, 4);

	if (dice == 0 || (dice == 1 && blockable))
		return begin_unusually(range, blockable, dice == 0);
	if (!blockable)
		return mmu_notifier_invalidate_range_start_nonblock(range);
	mmu_notifier_invalidate_range_start(range);
	return 0;
}

void torture_copy_end(struct torture *torture, struct torture_range *copied)
{
	struct mmu_notifier_range *range = &copied->range;

	if (!(range->flags & MMU_NOTIFIER_RANGE_SEEN) &&
	    !torture_dice(torture, LATE))
		end_late(range);
	else
		mmu_notifier_invalidate_range_end(range);
}

void torture_copy_exit(struct mm_struct *mm)
{
	mmu_notifier_release(mm);
}

/*
 * An invalidation of the copy alone, without a real one, for what real ones do
 * too seldom: be forbidden to sleep, and take long.
 */
int torture_noop(struct torture *torture)
{
	struct torture_range *copied = kzalloc_obj(*copied);
	unsigned int first = torture_dice(torture, HMM_TORTURE_PAGES);
	unsigned int pages = 1 + torture_dice(torture,
					      HMM_TORTURE_PAGES - first);
	unsigned long start = torture->start + first * PAGE_SIZE;

	if (!copied)
		return -ENOMEM;
	mmu_notifier_range_init(&copied->range, MMU_NOTIFY_CLEAR, 0,
				torture->mm, start, start + pages * PAGE_SIZE);
	torture_count(HMM_TORTURE_NOOPS);
	if (torture_copy_begin(torture, copied, torture_dice(torture, 2))) {
		/* Kept: an invalidation that was refused may be on the list still. */
		spin_lock(&torture->inflight_lock);
		list_add(&copied->link, &torture->refused);
		spin_unlock(&torture->inflight_lock);
		return 0;
	}
	if (!torture_dice(torture, 4))
		usleep_range(100, 1000);
	torture_copy_end(torture, copied);
	kfree(copied);
	return 0;
}

/* Of the whole arena */
static struct torture_range *begin_range(struct torture *torture)
{
	struct torture_range *copied = kzalloc_obj(*copied);

	if (!copied)
		return NULL;
	mmu_notifier_range_init(&copied->range, MMU_NOTIFY_CLEAR, 0,
				torture->mm, torture->start,
				torture->start + HMM_TORTURE_PAGES * PAGE_SIZE);
	torture_copy_begin(torture, copied, true);
	return copied;
}

int torture_long(struct torture *torture)
{
	struct torture_range *copied = begin_range(torture);

	if (!copied)
		return -ENOMEM;
	msleep(LONG_MS);
	torture_copy_end(torture, copied);
	kfree(copied);
	return 0;
}

/* The memory of the range is used for other things from now on. */
int torture_unbalanced(struct torture *torture)
{
	struct torture_range *copied;

	/* Lockdep names the culprit, and that is a report. */
	if (IS_ENABLED(CONFIG_LOCKDEP))
		return -EOPNOTSUPP;
	copied = begin_range(torture);
	if (!copied)
		return -ENOMEM;
	memset(copied, 0x5a, sizeof(*copied));
	kfree(copied);
	torture_count(HMM_TORTURE_UNBALANCED_STARTS);
	return 0;
}
