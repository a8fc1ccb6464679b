// SPDX-License-Identifier: GPL-2.0
/*
 * What a process and the rest of the system notice of a first subscription:
 * registering and reading as drivers do, how long mmap_lock is held meanwhile,
 * and grace periods.
 */
#include <linux/cleanup.h>
#include <linux/hmm.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "hmm_bench.h"

#define READ_TRIES	1000
#define WATCH_LIMIT	(20 * HZ)

/* A subscription to the whole address space, as KVM's when a VM is created */

static int whole_start(struct mmu_notifier *whole,
		       const struct mmu_notifier_range *range)
{
	return 0;
}

static void whole_end(struct mmu_notifier *whole,
		      const struct mmu_notifier_range *range)
{
}

static const struct mmu_notifier_ops whole_ops = {
	.invalidate_range_start = whole_start,
	.invalidate_range_end = whole_end,
};

int bench_register(struct bench_holder *holder)
{
	int rc;

	guard(mutex)(&holder->lock);
	if (holder->registered)
		return -EBUSY;
	holder->whole.ops = &whole_ops;
	rc = mmu_notifier_register(&holder->whole, current->mm);
	holder->registered = !rc;
	return rc;
}

/* The file is closed; nothing else uses it. */
void bench_unregister(struct bench_holder *holder)
{
	if (holder->registered)
		mmu_notifier_unregister(&holder->whole, holder->whole.mm);
}

/* Reading */

static int read_once(struct bench_holder *holder, struct hmm_range *range)
{
	int rc;

	range->notifier_seq = mmu_interval_read_begin(range->notifier);
	rc = mmap_read_lock_killable(current->mm);
	if (rc)
		return rc;
	rc = hmm_range_fault(range);
	mmap_read_unlock(current->mm);
	if (rc)
		return rc;
	guard(spinlock)(&holder->seq_lock);
	return mmu_interval_read_retry(range->notifier, range->notifier_seq) ?
		-EBUSY : 0;
}

int bench_read_page(struct bench_holder *holder)
{
	unsigned long pfn = 0;
	struct hmm_range range = {
		.hmm_pfns = &pfn,
		.default_flags = HMM_PFN_REQ_FAULT,
	};
	unsigned int tries;
	int rc = -EBUSY;

	guard(mutex)(&holder->lock);
	if (!holder->count)
		return -ENOENT;
	range.notifier = &holder->subs[0].notifier;
	range.start = range.notifier->interval_tree.start;
	range.end = range.start + PAGE_SIZE;
	for (tries = 0; rc == -EBUSY && tries < READ_TRIES; tries++)
		rc = read_once(holder, &range);
	return rc;
}

/* mmap_lock */

static bool is_watched(struct bench_holder *holder, unsigned long end)
{
	return !READ_ONCE(holder->stop) && time_before(jiffies, end) &&
	       !signal_pending(current);
}

/*
 * Look at the lock without taking it, which would get in the way of those who
 * do. What is held from one look to the next counts.
 */
int bench_watch(struct bench_holder *holder, void __user *uarg)
{
	unsigned long end = jiffies + WATCH_LIMIT;
	struct hmm_bench_watch watch = { };
	bool was_held = false;
	u64 before = 0;

	WRITE_ONCE(holder->stop, false);
	while (is_watched(holder, end)) {
		bool held = rwsem_is_locked(&current->mm->mmap_lock);
		u64 now = ktime_get_ns();

		if (held && was_held)
			watch.held_ns += now - before;
		was_held = held;
		before = now;
		cond_resched();
	}
	return copy_to_user(uarg, &watch, sizeof(watch)) ? -EFAULT : 0;
}

int bench_stop(struct bench_holder *holder)
{
	WRITE_ONCE(holder->stop, true);
	return 0;
}

/* Grace periods */

int bench_periods(void __user *uarg)
{
	struct hmm_bench_periods periods;
	struct rcu_gp_seq seq;

	/* Cookies, of which each period that begins makes the next multiple of 4. */
	get_state_synchronize_rcu_full(&seq);
	periods.normal = seq.norm / 4;
	periods.expedited = seq.exp / 4;
	return copy_to_user(uarg, &periods, sizeof(periods)) ? -EFAULT : 0;
}
