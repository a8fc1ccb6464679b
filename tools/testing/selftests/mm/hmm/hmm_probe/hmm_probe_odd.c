// SPDX-License-Identifier: GPL-2.0
/*
 * Single calls of the notifiers' API, with the arguments and under the locks of
 * drivers outside the tree, and of drivers after a failure.
 */
#include <linux/mm.h>
#include <linux/string.h>

#include "hmm_probe_inval.h"

static bool odd_invalidate(struct mmu_interval_notifier *interval,
			   const struct mmu_notifier_range *range,
			   unsigned long cur_seq)
{
	mmu_interval_set_seq(interval, cur_seq);
	return true;
}

static const struct mmu_interval_notifier_ops odd_interval_ops = {
	.invalidate = odd_invalidate,
};

static void odd_release(struct mmu_notifier *list, struct mm_struct *mm)
{
}

static const struct mmu_notifier_ops odd_list_ops = {
	.release = odd_release,
};

static bool is_insert(const struct hmm_odd *call)
{
	return call->call == HMM_ODD_INSERT ||
	       call->call == HMM_ODD_INSERT_LOCKED;
}

static bool is_register(const struct hmm_odd *call)
{
	return call->call == HMM_ODD_REGISTER ||
	       call->call == HMM_ODD_REGISTER_LOCKED;
}

static int odd_make(struct probe_odd *odd, const struct hmm_odd *call,
		    unsigned int i, struct mm_struct *mm)
{
	struct mmu_interval_notifier *interval = &odd->intervals[i];
	struct mmu_notifier *list = &odd->lists[i];

	list->ops = &odd_list_ops;
	switch (call->call) {
	case HMM_ODD_INSERT:
		return mmu_interval_notifier_insert(interval, mm, call->start,
						    call->length,
						    &odd_interval_ops);
	case HMM_ODD_INSERT_LOCKED:
		return mmu_interval_notifier_insert_locked(interval, mm,
							   call->start,
							   call->length,
							   &odd_interval_ops);
	case HMM_ODD_REGISTER:
		return mmu_notifier_register(list, mm);
	case HMM_ODD_REGISTER_LOCKED:
		return __mmu_notifier_register(list, mm);
	case HMM_ODD_REGISTER_NULL:
		return mmu_notifier_register(NULL, mm);
	default:
		return __mmu_notifier_register(NULL, mm);
	}
}

/* After a call that failed */
static void odd_look(const struct mmu_interval_notifier *interval,
		     struct hmm_odd *call)
{
	struct mmu_interval_notifier rest;

	memcpy(&rest, interval, sizeof(rest));
	call->has_mm = !!rest.mm;
	rest.mm = NULL;
	call->is_changed = !!memchr_inv(&rest, 0, sizeof(rest));
}

static void odd_remove(struct probe_odd *odd, const struct hmm_odd *call,
		       unsigned int i, struct mm_struct *mm)
{
	if (is_insert(call))
		mmu_interval_notifier_remove(&odd->intervals[i]);
	else if (is_register(call))
		mmu_notifier_unregister(&odd->lists[i], mm);
}

static int odd_lock(struct mm_struct *mm, u64 lock)
{
	if (lock == HMM_ODD_READ_LOCKED)
		return mmap_read_lock_killable(mm);
	if (lock == HMM_ODD_WRITE_LOCKED)
		return mmap_write_lock_killable(mm);
	return 0;
}

static void odd_unlock(struct mm_struct *mm, u64 lock)
{
	if (lock == HMM_ODD_READ_LOCKED)
		mmap_read_unlock(mm);
	if (lock == HMM_ODD_WRITE_LOCKED)
		mmap_write_unlock(mm);
}

int probe_odd_call(struct probe_odd *odd, struct hmm_odd *call)
{
	struct mm_struct *mm = current->mm;
	unsigned int made = 0;
	int rc;

	if (call->call > HMM_ODD_REGISTER_NULL_LOCKED ||
	    call->lock > HMM_ODD_WRITE_LOCKED ||
	    call->times > HMM_ODD_TIMES_AT_MOST)
		return -EINVAL;
	memset(odd, 0, sizeof(*odd));
	rc = odd_lock(mm, call->lock);
	if (rc)
		return rc;
	do {
		rc = odd_make(odd, call, made, mm);
	} while (!rc && ++made < call->times);
	odd_unlock(mm, call->lock);

	call->rc = rc;
	call->has_mm = 0;
	call->is_changed = 0;
	if (rc)
		odd_look(&odd->intervals[made], call);
	while (made--)
		odd_remove(odd, call, made, mm);
	return 0;
}
