// SPDX-License-Identifier: GPL-2.0
/*
 * The callbacks of /dev/hmm_probe_notify: they record their arguments, and then
 * do what is planned, if they may sleep.
 */
#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/slab.h>

#include "hmm_probe_notify.h"

/* A missing release must not hang the machine. */
#define STAY_AT_MOST	(20 * HZ)

/* What a first pass leaves to the second one */
struct probe_finish {
	struct mmu_interval_notifier_finish finish;
	bool blockable;
};

static struct probe_sub *sub_of(struct mmu_interval_notifier *interval)
{
	return container_of(interval, struct probe_sub, interval);
}

static struct probe_sub *sub_of_list(struct mmu_notifier *list)
{
	return container_of(list, struct probe_sub, list);
}

void probe_sub_stay(struct probe_sub *sub)
{
	complete(&sub->held);
	wait_for_completion_timeout(&sub->let_go, STAY_AT_MOST);
}

/* Plans */

static bool hold_is_planned(struct probe_sub *sub, u64 where)
{
	guard(spinlock)(&sub->lock);
	if (sub->plan.hold != where)
		return false;
	sub->plan.hold = HMM_NOTIFY_HOLD_NOT;
	return true;
}

static bool pair_is_planned(struct probe_sub *sub)
{
	return READ_ONCE(sub->plan.flags) & HMM_NOTIFY_PAIR;
}

static void wait_for_another(struct probe_sub *sub)
{
	u64 mine;

	scoped_guard(spinlock, &sub->lock)
		mine = ++sub->state.pairs;
	wake_up_all(&sub->wq);
	wait_event_timeout(sub->wq,
			   READ_ONCE(sub->state.pairs) != mine ||
			   !pair_is_planned(sub), STAY_AT_MOST);
}

static void act_as_planned(struct probe_sub *sub, struct mm_struct *mm)
{
	struct hmm_notify_call act;
	struct probe_sub *other;
	int rc;

	scoped_guard(spinlock, &sub->lock) {
		other = sub->other;
		act = sub->plan.act;
		sub->other = NULL;
	}
	if (!other)
		return;
	rc = probe_sub_call(other, &act, mm);
	scoped_guard(spinlock, &sub->lock) {
		sub->state.acts++;
		sub->state.act_rc = rc ?: act.rc;
	}
	probe_sub_put(other);
}

/* Records of callbacks */

static u64 read_only_answer(const struct mmu_notifier_range *range)
{
#ifdef _LINUX_MMU_INTERVAL_H
	return mmu_notifier_range_update_to_read_only(range) ? HMM_NOTIFY_YES :
							       HMM_NOTIFY_NO;
#else
	return HMM_NOTIFY_UNKNOWN;	/* 7.3 declares it and has none */
#endif
}

static void note(struct probe_sub *sub, const struct mmu_notifier_range *range)
{
	u64 index = sub->state.records;

	lockdep_assert_held(&sub->lock);
	if (index == HMM_NOTIFY_RECORDS)
		return;
	sub->records[index] = (struct hmm_notify_record) {
		.index = index,
		.start = range->start,
		.end = range->end,
		.event = range->event,
		.blockable = mmu_notifier_range_blockable(range),
		.owned = !!range->owner,
		.read_only = read_only_answer(range),
	};
	sub->state.records++;
}

/* The lock is held; @seq is 0 for lists. */
static bool begins(struct probe_sub *sub, const struct mmu_notifier_range *range,
		   unsigned long seq)
{
	if (!mmu_notifier_range_blockable(range) &&
	    sub->plan.flags & HMM_NOTIFY_REFUSE) {
		sub->state.refusals++;
		return false;
	}
	if (seq)
		mmu_interval_set_seq(&sub->interval, seq);
	note(sub, range);
	sub->state.starts++;
	sub->state.running++;
	return true;
}

/* False: it would have to sleep, and must not. */
static bool callback_start(struct probe_sub *sub,
			   const struct mmu_notifier_range *range,
			   unsigned long seq)
{
	scoped_guard(spinlock, &sub->lock) {
		if (!begins(sub, range, seq))
			return false;
	}
	if (mmu_notifier_range_blockable(range)) {
		if (hold_is_planned(sub, HMM_NOTIFY_HOLD_START))
			probe_sub_stay(sub);
		if (pair_is_planned(sub))
			wait_for_another(sub);
		act_as_planned(sub, range->mm);
	}
	scoped_guard(spinlock, &sub->lock)
		sub->state.running--;
	return true;
}

static void callback_end(struct probe_sub *sub, bool blockable)
{
	scoped_guard(spinlock, &sub->lock)
		sub->state.running++;
	if (blockable && hold_is_planned(sub, HMM_NOTIFY_HOLD_END))
		probe_sub_stay(sub);
	scoped_guard(spinlock, &sub->lock) {
		sub->state.ends++;
		sub->state.running--;
	}
}

static void callback_release(struct probe_sub *sub)
{
	guard(spinlock)(&sub->lock);
	sub->state.releases++;
	sub->state.running_at_release = sub->state.running;
}

/* Intervals */

static bool one_pass(struct mmu_interval_notifier *interval,
		     const struct mmu_notifier_range *range,
		     unsigned long cur_seq)
{
	return callback_start(sub_of(interval), range, cur_seq);
}

const struct mmu_interval_notifier_ops probe_one_pass_ops = {
	.invalidate = one_pass,
};

static bool first_pass(struct mmu_interval_notifier *interval,
		       const struct mmu_notifier_range *range,
		       unsigned long cur_seq,
		       struct mmu_interval_notifier_finish **finish)
{
	struct probe_finish *left;

	if (!callback_start(sub_of(interval), range, cur_seq))
		return false;
	left = kzalloc_obj(*left, GFP_NOWAIT);
	if (!left) {
		callback_end(sub_of(interval), false);
		return true;
	}
	left->blockable = mmu_notifier_range_blockable(range);
	*finish = &left->finish;
	return true;
}

static void second_pass(struct mmu_interval_notifier_finish *finish)
{
	struct probe_finish *left =
		container_of(finish, struct probe_finish, finish);

	callback_end(sub_of(finish->notifier), left->blockable);
	kfree(left);
}

const struct mmu_interval_notifier_ops probe_two_pass_ops = {
	.invalidate_start = first_pass,
	.invalidate_finish = second_pass,
};

void probe_sub_gone(struct mmu_interval_notifier *interval)
{
	callback_release(sub_of(interval));
	probe_sub_put(sub_of(interval));
}

/* Lists */

static bool overlaps(const struct probe_sub *sub,
		     const struct mmu_notifier_range *range)
{
	return range->start <= sub->last && range->end > sub->first;
}

static int list_start(struct mmu_notifier *list,
		      const struct mmu_notifier_range *range)
{
	struct probe_sub *sub = sub_of_list(list);

	return !overlaps(sub, range) || callback_start(sub, range, 0) ? 0 : -EAGAIN;
}

static void list_end(struct mmu_notifier *list,
		     const struct mmu_notifier_range *range)
{
	struct probe_sub *sub = sub_of_list(list);

	if (overlaps(sub, range))
		callback_end(sub, mmu_notifier_range_blockable(range));
}

static void list_release(struct mmu_notifier *list, struct mm_struct *mm)
{
	callback_release(sub_of_list(list));
}

const struct mmu_notifier_ops probe_list_ops = {
	.invalidate_range_start = list_start,
	.invalidate_range_end = list_end,
	.release = list_release,
};

const struct mmu_notifier_ops probe_list_start_ops = {
	.invalidate_range_start = list_start,
	.release = list_release,
};

/* The shared one */

static atomic64_t shared_made, shared_live;

u64 probe_shared_live(void)
{
	return atomic64_read(&shared_live);
}

static struct mmu_notifier *shared_alloc(struct mm_struct *mm)
{
	struct probe_shared *shared = kzalloc_obj(*shared);

	if (!shared)
		return ERR_PTR(-ENOMEM);
	shared->id = atomic64_inc_return(&shared_made);
	atomic64_inc(&shared_live);
	return &shared->list;
}

static void shared_free(struct mmu_notifier *list)
{
	kfree(container_of(list, struct probe_shared, list));
	atomic64_dec(&shared_live);
}

static int shared_start(struct mmu_notifier *list,
			const struct mmu_notifier_range *range)
{
	atomic64_inc(&container_of(list, struct probe_shared, list)->starts);
	return 0;
}

const struct mmu_notifier_ops probe_shared_ops = {
	.invalidate_range_start = shared_start,
	.alloc_notifier = shared_alloc,
	.free_notifier = shared_free,
};
