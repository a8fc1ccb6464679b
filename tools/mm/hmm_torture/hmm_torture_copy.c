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
#include <linux/slab.h>

#include "hmm_torture.h"

struct mm_struct *torture_copy_mm(void)
{
	struct mm_struct *mm = kzalloc_obj(*mm);

	if (!mm)
		return NULL;
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

	/* The grace period of the first subscription may not be over. */
	srcu_barrier(&mmu_notifier_flights);
	/* A reference is dropped after release() was called, by whoever did. */
	for (tries = 0; atomic_read(&mm->mm_count) != 1 && tries < 100; tries++)
		msleep(20);
	if (atomic_read(&mm->mm_count) != 1) {
		torture_fail("references to the address space are left");
		return;
	}
	mmu_notifier_subscriptions_destroy(mm);
	kfree(mm);
}

int torture_copy_begin(struct torture_flight *flight, bool blockable)
{
	if (!blockable)
		return mmu_notifier_invalidate_range_start_nonblock(&flight->range);
	mmu_notifier_invalidate_range_start(&flight->range);
	return 0;
}

void torture_copy_end(struct torture_flight *flight)
{
	mmu_notifier_invalidate_range_end(&flight->range);
}

void torture_copy_exit(struct mm_struct *mm)
{
	mmu_notifier_release(mm);
}

/*
 * An invalidation that nothing real stands behind, for what real ones do too
 * seldom: not being allowed to sleep, and taking long.
 */
int torture_sham(struct torture *torture)
{
	struct torture_flight *flight = kzalloc_obj(*flight);
	unsigned int first = torture_dice(torture, HMM_TORTURE_PAGES);
	unsigned int pages = 1 + torture_dice(torture,
					      HMM_TORTURE_PAGES - first);
	unsigned long start = torture->start + first * PAGE_SIZE;

	if (!flight)
		return -ENOMEM;
	mmu_notifier_range_init(&flight->range, MMU_NOTIFY_CLEAR, 0,
				torture->mm, start, start + pages * PAGE_SIZE);
	torture_count(HMM_TORTURE_SHAMS);
	if (torture_copy_begin(flight, torture_dice(torture, 2))) {
		/* Kept: a flight that was refused may be on the list still. */
		spin_lock(&torture->flights_lock);
		list_add(&flight->link, &torture->refused);
		spin_unlock(&torture->flights_lock);
		return 0;
	}
	if (!torture_dice(torture, 4))
		usleep_range(100, 1000);
	torture_copy_end(flight);
	kfree(flight);
	return 0;
}
