// SPDX-License-Identifier: GPL-2.0
/*
 * Contention on demand: a thread holds the mmap lock for writing until another
 * one says that it has seen enough.
 */
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>

#include "hmm_probe.h"

#define MOST_MS	(60 * MSEC_PER_SEC)

/* 0 or, after this time, -ETIMEDOUT; a negative errno when interrupted */
static int await(struct completion *completion, unsigned long ms)
{
	long left = wait_for_completion_killable_timeout(completion,
							 msecs_to_jiffies(ms));

	return left > 0 ? 0 : left ?: -ETIMEDOUT;
}

int probe_hold(struct probe_mirror *mirror, const u64 __user *arg)
{
	struct mm_struct *mm = current->mm;
	u64 ms;
	int rc;

	if (get_user(ms, arg))
		return -EFAULT;
	if (ms > MOST_MS || mm != mirror->notifier.mm)
		return -EINVAL;
	rc = mmap_write_lock_killable(mm);
	if (rc)
		return rc;
	complete(&mirror->held);
	rc = await(&mirror->let_go, ms);
	mmap_write_unlock(mm);
	return rc;
}

int probe_await_hold(struct probe_mirror *mirror)
{
	return await(&mirror->held, MOST_MS);
}

int probe_let_go(struct probe_mirror *mirror)
{
	complete(&mirror->let_go);
	return 0;
}
