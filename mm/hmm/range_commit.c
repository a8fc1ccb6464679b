// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hmm_range_commit(): the whole protocol around a walk, within one deadline.
 *
 *	begin -> walk, fault -> lock -> current? -- yes --> program -> unlock
 *	  ^                                |                   |
 *	  |                                no: unlock          +-- -EAGAIN --+
 *	  +--------------------------------+------- within the deadline -----+
 *
 * Each walk changes the slots from requests to answers, so the requests of
 * single slots are stored for the next one.
 */
#include <linux/export.h>
#include <linux/hmm.h>
#include <linux/jiffies.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "deadline.h"
#include "request.h"
#include "walk.h"

#include <trace/events/hmm.h>

static bool hmm_commit_is_valid(const struct hmm_commit *commit)
{
	const struct hmm_range *range = commit->range;

	return range->hmm_pfns && range->start < range->end &&
	       commit->program &&
	       (commit->mutex || (commit->lock && commit->unlock));
}

static int hmm_commit_lock(struct hmm_commit *commit)
{
	if (commit->mutex)
		return mutex_lock_killable(commit->mutex);
	commit->lock(commit);
	return 0;
}

static void hmm_commit_unlock(struct hmm_commit *commit)
{
	if (commit->mutex)
		mutex_unlock(commit->mutex);
	else
		commit->unlock(commit);
}

/* Program the device if the answers are current; otherwise -EAGAIN. */
static int hmm_commit_program(struct hmm_commit *commit)
{
	struct hmm_range *range = commit->range;
	int ret = hmm_commit_lock(commit);

	if (ret)
		return ret;
	if (mmu_interval_read_retry(range->notifier, range->notifier_seq)) {
		trace_hmm_collide(range, range->end);
		ret = -EAGAIN;
	} else {
		ret = commit->program(commit);
	}
	hmm_commit_unlock(commit);
	return ret;
}

static int hmm_commit_try(struct hmm_commit *commit, unsigned long deadline)
{
	unsigned long left = hmm_deadline_left(commit->timeout, deadline);
	int ret;

	/* There, 0 is no limit. */
	left = left == MAX_SCHEDULE_TIMEOUT ? 0 : max(left, 1UL);
	ret = hmm_range_fault_unlocked_timeout(commit->range, left);
	return ret ?: hmm_commit_program(commit);
}

/**
 * hmm_range_commit() - fault in a range and program the device with it
 * @commit: the range, the lock and the callback
 *
 * hmm_range_fault_unlocked_timeout(), the driver's lock,
 * mmu_interval_read_retry() and &hmm_commit.program, again until no
 * invalidation collides. &hmm_range.notifier_seq is set by this function.
 *
 * All attempts have one deadline, and there is always one attempt. Neither
 * faults nor @program are interrupted when it passes, and it is checked between
 * attempts: an attempt in which a fault handler drops the lock, as userfaultfd
 * does, may last longer by the time that was left.
 *
 * Context: Process context, may sleep. The caller holds neither mmap_lock nor
 * the lock of @commit, and keeps the mm alive.
 *
 * Return: 0 after @program has returned 0; its error; or an error of
 * hmm_range_fault_unlocked_timeout(): -EBUSY if the deadline has passed, -EINTR
 * after a fatal signal. The lock is not held then. After an error the slots
 * must be set up again.
 */
int hmm_range_commit(struct hmm_commit *commit)
{
	unsigned long deadline = jiffies + commit->timeout;
	struct hmm_range *range = commit->range;
	unsigned int attempts = 0;
	unsigned char *packed;
	int ret;

	if (!hmm_commit_is_valid(commit))
		return -EINVAL;
	ret = hmm_range_pack_requests(range, &packed);
	if (ret)
		return ret;
	for (;;) {
		attempts++;
		ret = hmm_commit_try(commit, deadline);
		if (ret != -EAGAIN)
			break;
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		if (!hmm_deadline_left(commit->timeout, deadline)) {
			ret = -EBUSY;
			break;
		}
		cond_resched();
		if (packed)
			hmm_requests_unpack(range->hmm_pfns, packed, 0,
					    hmm_range_nr_slots(range));
	}
	trace_hmm_commit(range, ret, attempts);
	kvfree(packed);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_range_commit);
