// SPDX-License-Identifier: GPL-2.0
/*
 * One call of the API as a driver makes it: read_begin, the call, then
 * read_retry under the driver's lock, all of it again after a collision. A
 * repeated call gets the requests anew: the array holds results by then.
 */
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/string.h>

#include "hmm_probe.h"

enum probe_outcome {
	PROBE_DONE,
	PROBE_COLLIDED,
};

/* mm_account_fault() counts every completed handle_mm_fault() in one of two. */
static u64 faults_of_current(void)
{
	return current->min_flt + current->maj_flt;
}

static bool collided(struct probe_job *job)
{
	struct probe_mirror *mirror = job->mirror;
	bool retry;

	spin_lock(&mirror->seq_lock);
	retry = mmu_interval_read_retry(&mirror->notifier,
					job->range.notifier_seq);
	spin_unlock(&mirror->seq_lock);
	return retry;
}

static enum probe_outcome call_locked(struct probe_job *job)
{
	struct mm_struct *mm = job->mirror->notifier.mm;
	u64 before;

	job->range.notifier_seq =
		mmu_interval_read_begin(&job->mirror->notifier);
	job->rc = mmap_read_lock_killable(mm);
	if (job->rc)
		return PROBE_DONE;

	before = faults_of_current();
	job->rc = hmm_range_fault(&job->range);
	job->faults += faults_of_current() - before;
	if (!job->rc && job->settle)
		job->settle(job);
	mmap_read_unlock(mm);

	return job->rc == -EBUSY ? PROBE_COLLIDED : PROBE_DONE;
}

/* The unlocked form repeats by itself: its -EBUSY means out of time. */
static enum probe_outcome call_unlocked(struct probe_job *job)
{
	struct mm_struct *mm = job->mirror->notifier.mm;
	u64 before = faults_of_current();

	job->rc = hmm_range_fault_unlocked_timeout(&job->range, job->timeout);
	job->faults += faults_of_current() - before;
	if (job->rc || !job->settle)
		return PROBE_DONE;

	job->rc = mmap_read_lock_killable(mm);
	if (job->rc)
		return PROBE_DONE;
	job->settle(job);
	mmap_read_unlock(mm);
	return PROBE_DONE;
}

static enum probe_outcome call_once(struct probe_job *job)
{
	enum probe_outcome outcome;

	memcpy(job->slots, job->requests, job->npages * sizeof(*job->slots));
	if (job->flags & HMM_PROBE_UNLOCKED)
		outcome = call_unlocked(job);
	else
		outcome = call_locked(job);

	if (job->flags & HMM_PROBE_ONCE)
		return PROBE_DONE;
	if (!job->rc && collided(job))
		return PROBE_COLLIDED;
	return outcome;
}

void probe_job_run(struct probe_job *job)
{
	struct probe_mirror *mirror = job->mirror;
	s64 before = atomic64_read(&mirror->invalidations);
	unsigned long deadline = jiffies + job->timeout;

	while (call_once(job) == PROBE_COLLIDED) {
		job->collisions++;
		job->rc = -EBUSY;
		if (job->timeout && time_after(jiffies, deadline))
			break;
		if (fatal_signal_pending(current)) {
			job->rc = -EINTR;
			break;
		}
		cond_resched();
	}
	job->invalidations = atomic64_read(&mirror->invalidations) - before;
}
