// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hmm_range_fault() and its relatives: walk, fault, walk on, under the locks
 * and within the time that the caller allows.
 *
 * How one call goes:
 *
 *	           +--------------------------------------------+
 *	           v                                            |
 *	begin -> walk -- page missing --> fault -- served ------+
 *	  ^        |                        |                   |
 *	  |        |                        +-- lock dropped: --+  (unlocked form)
 *	  |        |                            take it again
 *	  |        +-- done --> 0
 *	  +-- an invalidation collided (the unlocked form; the other returns -EBUSY)
 *
 * Going on after the fault handler has dropped mmap_lock, instead of beginning
 * again, is sound because nothing recorded so far depends on that lock: what
 * the sequence number covers is still true as long as it has not moved, and
 * once it has, the next look at it finds out. The worst case:
 *
 *	hmm_range_fault_unlocked_timeout()	munmap()
 *
 *	seq = read_begin()
 *	mmap_read_lock()
 *	record page 0
 *	fault page 1: lock dropped
 *						mmap_write_lock()
 *						invalidate: sequence moves on
 *						page 0 is unmapped
 *						mmap_write_unlock()
 *	mmap_read_lock()
 *	check_retry(seq): collided, begin
 *	again with a new sequence
 *
 * Had the check come just before the invalidation, the driver's own
 * mmu_interval_read_retry() would catch it, as it must in any case.
 *
 * The lock is mmap_lock, or in the unlocked form that of the VMA, if one holds
 * the rest of the range, so that it does not wait for changes of other parts of
 * the address space. Like mmap_lock, it keeps the VMA and the page tables above
 * the PTEs: removing either needs the VMA write-locked.
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

/*
 * Refuse only what cannot be served. That the range lies within the notifier's
 * interval is up to the caller: outside of it, the sequence says nothing.
 */
static bool hmm_range_is_valid(const struct hmm_range *range)
{
	return range->notifier && range->hmm_pfns && range->start < range->end;
}

/*
 * Drivers may pass a range that is not page aligned. Slot n then stands for
 * the page that holds byte @start + n * PAGE_SIZE. False if that makes no
 * range: it reaches beyond the last address.
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

static int hmm_range_errno(enum hmm_outcome outcome)
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
	case HMM_FAULTED:
	case HMM_UNLOCKED:
		break;
	}
	/* These are steps on the way, never the end of it. */
	WARN_ON_ONCE(1);
	return -EINVAL;
}

/*
 * Walk and fault until the range is done or something stands in the way. With
 * HMM_UNLOCKED the lock is gone; whatever the outcome, the walk can go on from
 * where it is while the sequence has not moved.
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

/* Not inlined: aligned ranges must not pay for the copy. */
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
 * asked for, by &hmm_range.default_flags or their own slots, are faulted in
 * first where they are missing or not writable; no other page is.
 *
 * Nothing is pinned. The answers may be used only under the lock that the
 * notifier's invalidate callback takes, once mmu_interval_read_retry() has
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
 * Return: 0, and every request is met, or
 *
 * * -EINVAL: @range is empty, or has no notifier or no slots. Nothing was
 *   touched.
 * * -EBUSY: an invalidation collided; begin again with
 *   mmu_interval_read_begin().
 * * -EPERM: write access was asked for in a VMA that does not allow it.
 * * -EFAULT: a page that was asked for cannot be accessed: there is no VMA, or
 *   one without read permission or without struct pages, or the memory is
 *   poisoned, guarded, or its handler failed.
 * * -ENOMEM: a fault found no memory.
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

	hmm_walk_init(&w, range);
	outcome = hmm_range_advance(&w, &faulter);
	if (unlikely(outcome == HMM_COLLIDED))
		mmu_interval_note_stale(range->notifier, range->notifier_seq,
					(void *)_RET_IP_);
	return hmm_range_errno(outcome);
}
EXPORT_SYMBOL(hmm_range_fault);

/**
 * struct hmm_range_try - the state of an unlocked call across its attempts
 * @walk: the current attempt
 * @faulter: how its faults are made
 * @packed: the requests of the slots, to begin again with; %NULL where no
 *	slot is heeded
 * @timeout: jiffies that invalidations may take from us; 0 for any number
 * @deadline: when that time is over
 * @needs_mmap_lock: what comes next could not be done under the VMA's lock
 */
struct hmm_range_try {
	struct hmm_walk walk;
	struct hmm_faulter faulter;
	unsigned char *packed;
	unsigned long timeout;
	unsigned long deadline;
	bool needs_mmap_lock;
};

static int hmm_range_try_init(struct hmm_range_try *a, struct hmm_range *range,
			      unsigned long timeout)
{
	struct hmm_request request = hmm_request_of(range);
	unsigned long nr = hmm_pages(range->start, range->end);

	*a = (struct hmm_range_try){
		.faulter = { .may_unlock = true },
		.timeout = timeout,
		.deadline = jiffies + timeout,
	};
	if (hmm_request_is_uniform(&request))
		return 0;

	a->packed = kvmalloc(hmm_requests_packed_size(nr), GFP_KERNEL);
	if (!a->packed)
		return -ENOMEM;
	hmm_requests_pack(a->packed, range->hmm_pfns, nr);
	return 0;
}

/*
 * Take a new sequence number and forget what was recorded under the old one.
 * Returns a negative errno if that fails.
 */
static int hmm_range_try_begin(struct hmm_range_try *a, struct hmm_range *range)
{
	unsigned long left = MAX_SCHEDULE_TIMEOUT;
	int ret;

	if (a->packed)
		hmm_requests_unpack(range->hmm_pfns, a->packed,
				    hmm_pages(range->start, range->end));
	hmm_walk_init(&a->walk, range);
	a->faulter.tried = HMM_NOT_TRIED;
	if (a->timeout)
		left = max((long)(a->deadline - jiffies), 0L);
	ret = mmu_interval_read_begin_timeout(range->notifier, left,
					      &range->notifier_seq);
	return ret == -ETIMEDOUT ? -EBUSY : ret;
}

/* Advance under the lock of one VMA. False if none can be locked. */
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

/* Advance under mmap_lock. Returns an errno only where it cannot be had. */
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

/* Returns an errno only where it cannot be tried. */
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
			return hmm_range_errno(outcome);
		if (ret)
			return ret;

		if (fatal_signal_pending(current))
			return -EINTR;
		ret = hmm_range_try_advance(a, range->notifier->mm, &outcome);
		if (ret)
			return ret;
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
 * @timeout: jiffies to spend on attempts that invalidations undo, or 0 to go on
 *	for as long as it takes
 *
 * Does what hmm_range_fault() does, with these differences: it begins again by
 * itself when an invalidation collides; fault handlers may drop the lock, as
 * userfaultfd and reads from disk do, after which it goes on where it was; the
 * requests in the slots hold for every attempt; and a range that lies in one
 * VMA is mirrored under that VMA's lock if it can be, without waiting for
 * mmap_lock.
 *
 * Time that a fault handler spends with the lock dropped does not count
 * against @timeout, nor does the timeout interrupt a fault.
 *
 * Context: Process context, may sleep. The caller does not hold mmap_lock, and
 * keeps the mm alive.
 *
 * Return: as for hmm_range_fault(); -EBUSY only after @timeout, -EINTR also
 * when a fatal signal ended the wait for an invalidation or for a lock, -ENOMEM
 * also when there was no memory to keep the requests of the slots.
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
	ret = hmm_range_try_run(&attempts, range);
	kvfree(attempts.packed);
	return ret;
}
EXPORT_SYMBOL(hmm_range_fault_unlocked_timeout);
