// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hmm_range_fault() and hmm_range_fault_unlocked_timeout(): walk, fault, walk
 * again, under the locks and within the time that the caller allows.
 *
 * How one call goes:
 *
 *	           +--------------------------------------------+
 *	           v                                            |
 *	begin -> walk -- page missing --> fault -- done --------+
 *	  ^        |                        |                   |
 *	  |        |                        +-- lock dropped: --+  (unlocked form)
 *	  |        |                            acquire it
 *	  |        +-- done --> 0
 *	  +-- an invalidation collided (the unlocked form; the other returns -EBUSY)
 *
 * After the fault handler has dropped mmap_lock, the walk continues and does
 * not begin again, because nothing that was recorded depends on that lock: it
 * is valid as long as the sequence has not changed, and the next check finds
 * out if it has. The worst case:
 *
 *	hmm_range_fault_unlocked_timeout()	munmap()
 *
 *	seq = read_begin()
 *	mmap_read_lock()
 *	record page 0
 *	fault page 1: lock dropped
 *						mmap_write_lock()
 *						invalidate: new sequence
 *						page 0 is unmapped
 *						mmap_write_unlock()
 *	mmap_read_lock()
 *	check_retry(seq): collided, begin
 *	again with a new sequence
 *
 * If the check comes just before the invalidation, the driver's own
 * mmu_interval_read_retry() detects it, as it must in any case.
 *
 * The lock is mmap_lock, or in the unlocked form that of the VMA, if one holds
 * the rest of the range, so that it does not wait for changes of other parts of
 * the address space. Like mmap_lock, it keeps the VMA and the page tables above
 * the PTEs: the VMA must be write-locked before either is removed.
 */
#include <linux/export.h>
#include <linux/hmm.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/oom.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "fault.h"
#include "request.h"
#include "walk.h"

#include <trace/events/hmm.h>

/*
 * Refuse only what cannot be handled. The caller must ensure that the range is
 * within the notifier's interval: the sequence covers nothing else.
 */
static bool hmm_range_is_valid(const struct hmm_range *range)
{
	return range->notifier && range->hmm_pfns && range->start < range->end;
}

/*
 * Drivers may pass a range that is not page aligned. Slot n then stands for
 * the page that holds byte @start + n * PAGE_SIZE. False if such a range would
 * extend beyond the last address.
 */
static bool hmm_range_align(struct hmm_range *aligned,
			    const struct hmm_range *range)
{
	unsigned long size = PAGE_ALIGN(range->end - range->start);

	*aligned = *range;
	aligned->start = PAGE_ALIGN_DOWN(range->start);
	aligned->end = aligned->start + size;
	return aligned->start < aligned->end;
}

static bool hmm_range_is_aligned(const struct hmm_range *range)
{
	return PAGE_ALIGNED(range->start | range->end);
}

/**
 * hmm_outcome_errno() - what a call returns
 * @outcome: how its last step ended
 *
 * Return: 0 or a negative errno.
 */
int hmm_outcome_errno(enum hmm_outcome outcome)
{
	switch (outcome) {
	case HMM_DONE:
		return 0;
	case HMM_COLLIDED:
		return -EBUSY;
	case HMM_NO_ACCESS:
		return -EFAULT;
	case HMM_READ_ONLY:
		return -EPERM;
	case HMM_NO_MEMORY:
		return -ENOMEM;
	case HMM_KILLED:
		return -EINTR;
	case HMM_FAULT_NEEDED:
	case HMM_MOVABLE:
	case HMM_FAULTED:
	case HMM_UNLOCKED:
		break;
	}
	/* These are intermediate, and end no call. */
	WARN_ON_ONCE(1);
	return -EINVAL;
}

/*
 * Walk and fault until the range is done, or neither can continue. With
 * HMM_UNLOCKED the lock was dropped; whatever the outcome, the walk can
 * continue from where it stopped as long as the sequence has not changed.
 */
static enum hmm_outcome hmm_range_advance(struct hmm_walk *w,
					  struct hmm_faulter *faulter)
{
	struct hmm_range *range = w->range;
	enum hmm_outcome outcome;

	do {
		if (mmu_interval_check_retry(range->notifier,
					     range->notifier_seq))
			return HMM_COLLIDED;
		outcome = hmm_walk_continue(w);
		if (outcome == HMM_FAULT_NEEDED)
			outcome = hmm_fault_span(faulter, &w->span);
	} while (outcome == HMM_FAULTED);

	return outcome;
}

static noinline int hmm_range_traced_end(const struct hmm_range *range,
					 const struct hmm_faulter *faulter,
					 enum hmm_outcome outcome)
{
	int ret = hmm_outcome_errno(outcome);

	trace_hmm_range_end(range, ret, outcome == HMM_COLLIDED,
			    faulter->faults, faulter->unlocks);
	return ret;
}

/* Not inline: the copy would need stack space for aligned ranges, too. */
static noinline int hmm_range_fault_unaligned(const struct hmm_range *range)
{
	struct hmm_range aligned;

	if (!hmm_range_align(&aligned, range))
		return -EINVAL;
	return hmm_range_fault(&aligned);
}

/**
 * hmm_range_fault() - mirror a range of the CPU page table, faulting as asked
 * @range: what to mirror; its notifier_seq must come from
 *	mmu_interval_read_begin()
 *
 * Fills the slots of @range with what the CPU page table holds. Pages that are
 * requested, by &hmm_range.default_flags or their own slots, are faulted in
 * first if they are missing or not writable; no other pages are.
 *
 * Nothing is pinned. The answers may be used only under the lock that the
 * notifier's invalidate callback takes, after mmu_interval_read_retry() has
 * returned false under it. After an error the slots hold answers up to some
 * page and requests from there on, and must be set up again.
 *
 * New code should prefer hmm_range_fault_unlocked_timeout(), which also serves
 * VMAs whose fault handlers have to drop mmap_lock.
 *
 * Context: Process context, may sleep. The caller holds mmap_lock of the
 * notifier's mm, for reading at least, and it stays held throughout. The
 * caller keeps the mm alive.
 *
 * Return: 0 if every request is met, or
 *
 * * -EINVAL: @range is empty, or has no notifier or no slots. Nothing was
 *   touched.
 * * -EBUSY: an invalidation collided; begin again with
 *   mmu_interval_read_begin().
 * * -EPERM: write access was requested in a VMA that does not allow it.
 * * -EFAULT: a requested page cannot be accessed: there is no VMA, or one
 *   without read permission or without struct pages, or the memory is poisoned
 *   or guarded, or the fault failed.
 * * -ENOMEM: a fault failed for lack of memory.
 * * -EINTR: the calling task is being killed.
 */
int hmm_range_fault(struct hmm_range *range)
{
	struct hmm_faulter faulter = { .tried = HMM_NOT_TRIED };
	struct hmm_walk w __uninitialized;
	enum hmm_outcome outcome;

	if (!hmm_range_is_valid(range))
		return -EINVAL;
	if (unlikely(!hmm_range_is_aligned(range)))
		return hmm_range_fault_unaligned(range);
	mmap_assert_locked(range->notifier->mm);

	trace_hmm_range_begin(range, false);
	hmm_walk_init(&w, range);
	outcome = hmm_range_advance(&w, &faulter);
	if (unlikely(outcome == HMM_COLLIDED)) {
		trace_hmm_collide(range, w.next);
		mmu_interval_note_stale(range->notifier, range->notifier_seq,
					(void *)_RET_IP_);
	}
	if (trace_hmm_range_end_enabled())
		return hmm_range_traced_end(range, &faulter, outcome);
	return hmm_outcome_errno(outcome);
}
EXPORT_SYMBOL(hmm_range_fault);

/**
 * hmm_range_pack_requests() - store the requests of the slots
 * @range: the range; need not be page aligned
 * @packed: receives them, for hmm_requests_unpack() and kvfree(); %NULL if
 *	requests in slots are ignored
 *
 * Context: Process context, may sleep.
 *
 * Return: 0, or -ENOMEM.
 */
int hmm_range_pack_requests(const struct hmm_range *range,
			    unsigned char **packed)
{
	unsigned long nr = hmm_range_nr_slots(range);
	struct hmm_request request = hmm_request_of(range);

	*packed = NULL;
	if (hmm_request_is_uniform(&request))
		return 0;
	*packed = kvmalloc(hmm_requests_packed_size(nr), GFP_KERNEL);
	if (!*packed)
		return -ENOMEM;
	hmm_requests_pack(*packed, range->hmm_pfns, nr);
	return 0;
}

/**
 * struct hmm_range_try - the state of an unlocked call across its attempts
 * @walk: the current attempt
 * @faulter: how its faults are made
 * @packed: the requests of the slots, for the next attempt; %NULL if requests
 *	in slots are ignored
 * @timeout: jiffies to retry after invalidations; 0 for no limit
 * @deadline: when that time is over
 * @collisions: attempts that were lost to an invalidation
 * @needs_mmap_lock: the next step failed under the VMA's lock
 */
struct hmm_range_try {
	struct hmm_walk walk;
	struct hmm_faulter faulter;
	unsigned char *packed;
	unsigned long timeout;
	unsigned long deadline;
	unsigned int collisions;
	bool needs_mmap_lock;
};

static int hmm_range_try_init(struct hmm_range_try *a, struct hmm_range *range,
			      unsigned long timeout)
{
	*a = (struct hmm_range_try){
		.faulter = { .may_unlock = true },
		.timeout = timeout,
		.deadline = jiffies + timeout,
	};
	return hmm_range_pack_requests(range, &a->packed);
}

/*
 * Get a new sequence number, and discard what was recorded under the old one.
 * Returns a negative errno if that fails.
 */
static int hmm_range_try_begin(struct hmm_range_try *a, struct hmm_range *range)
{
	unsigned long left = MAX_SCHEDULE_TIMEOUT;
	int ret;

	if (a->packed)
		hmm_requests_unpack(range->hmm_pfns, a->packed, 0,
				    hmm_pages(range->start, range->end));
	hmm_walk_init(&a->walk, range);
	a->faulter.tried = HMM_NOT_TRIED;
	if (a->timeout)
		left = max((long)(a->deadline - jiffies), 0L);
	ret = mmu_interval_read_begin_timeout(range->notifier, left,
					      &range->notifier_seq);
	return ret == -ETIMEDOUT ? -EBUSY : ret;
}

/* Advance under the lock of one VMA. False if it cannot be locked. */
static bool hmm_range_try_under_vma(struct hmm_range_try *a,
				    struct mm_struct *mm,
				    enum hmm_outcome *outcome)
{
	struct hmm_walk *w = &a->walk;
	struct vm_area_struct *vma = lock_vma_under_rcu(mm, w->next);

	if (!vma)
		return false;
	if (w->range->end > vma->vm_end) {
		vma_end_read(vma);
		return false;
	}

	w->vma = vma;
	a->faulter.vma_locked = true;
	*outcome = hmm_range_advance(w, &a->faulter);
	a->faulter.vma_locked = false;
	w->vma = NULL;

	if (*outcome == HMM_UNLOCKED)
		a->needs_mmap_lock = true;
	else
		vma_end_read(vma);
	return true;
}

/* Advance under mmap_lock. Returns an errno if that cannot be locked. */
static int hmm_range_try_under_mmap(struct hmm_range_try *a,
				    struct mm_struct *mm,
				    enum hmm_outcome *outcome)
{
	int ret = mmap_read_lock_killable(mm);

	if (ret)
		return ret;
	a->needs_mmap_lock = false;
	*outcome = hmm_range_advance(&a->walk, &a->faulter);
	if (*outcome != HMM_UNLOCKED)
		mmap_read_unlock(mm);
	return 0;
}

/* Returns an errno if an attempt is not possible. */
static int hmm_range_try_advance(struct hmm_range_try *a, struct mm_struct *mm,
				 enum hmm_outcome *outcome)
{
	if (check_stable_address_space(mm))
		return -EFAULT;
	if (a->timeout && time_after(jiffies, a->deadline))
		return -EBUSY;
	if (!a->needs_mmap_lock && hmm_range_try_under_vma(a, mm, outcome))
		return 0;
	return hmm_range_try_under_mmap(a, mm, outcome);
}

static int hmm_range_try_run(struct hmm_range_try *a, struct hmm_range *range)
{
	enum hmm_outcome outcome = HMM_COLLIDED;
	int ret = 0;

	for (;;) {
		if (outcome == HMM_COLLIDED)
			ret = hmm_range_try_begin(a, range);
		else if (outcome == HMM_UNLOCKED)
			/* The timeout is for invalidations, not for faults. */
			a->deadline = jiffies + a->timeout;
		else
			return hmm_outcome_errno(outcome);
		if (ret)
			return ret;

		if (fatal_signal_pending(current))
			return -EINTR;
		ret = hmm_range_try_advance(a, range->notifier->mm, &outcome);
		if (ret)
			return ret;
		if (outcome == HMM_COLLIDED) {
			a->collisions++;
			trace_hmm_collide(range, a->walk.next);
		}
	}
}

static noinline int hmm_range_try_unaligned(struct hmm_range *range,
					    unsigned long timeout)
{
	struct hmm_range aligned;
	int ret;

	if (!hmm_range_align(&aligned, range))
		return -EINVAL;
	ret = hmm_range_fault_unlocked_timeout(&aligned, timeout);
	range->notifier_seq = aligned.notifier_seq;
	return ret;
}

/**
 * hmm_range_fault_unlocked_timeout() - hmm_range_fault() that takes the lock
 * @range: what to mirror; notifier_seq is set by this function
 * @timeout: jiffies to retry after invalidations, or 0 for no limit
 *
 * Does what hmm_range_fault() does, with these differences: it begins again by
 * itself when an invalidation collides; fault handlers may drop the lock, as
 * userfaultfd and reads from disk do, after which it continues where it
 * stopped; the requests in the slots are valid for all attempts; and a range
 * within one VMA is mirrored under that VMA's lock if possible, without waiting
 * for mmap_lock.
 *
 * Time that a fault handler spends with the lock dropped does not count
 * against @timeout, nor does the timeout interrupt a fault.
 *
 * Context: Process context, may sleep. The caller does not hold mmap_lock, and
 * keeps the mm alive.
 *
 * Return: as for hmm_range_fault(); -EBUSY only after @timeout, -EINTR also if
 * a fatal signal ended the wait for an invalidation or for a lock, -ENOMEM also
 * if there was no memory to store the requests of the slots, -EFAULT also if
 * the address space is unstable, as after the OOM reaper has begun.
 */
int hmm_range_fault_unlocked_timeout(struct hmm_range *range,
				     unsigned long timeout)
{
	struct hmm_range_try attempts;
	int ret;

	if (!hmm_range_is_valid(range))
		return -EINVAL;
	if (unlikely(!hmm_range_is_aligned(range)))
		return hmm_range_try_unaligned(range, timeout);

	ret = hmm_range_try_init(&attempts, range, timeout);
	if (ret)
		return ret;
	trace_hmm_range_begin(range, true);
	ret = hmm_range_try_run(&attempts, range);
	trace_hmm_range_end(range, ret, attempts.collisions,
			    attempts.faulter.faults, attempts.faulter.unlocks);
	kvfree(attempts.packed);
	return ret;
}
EXPORT_SYMBOL(hmm_range_fault_unlocked_timeout);
