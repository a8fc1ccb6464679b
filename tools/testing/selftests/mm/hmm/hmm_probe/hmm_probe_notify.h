/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/hmm_probe_notify, inside:
 *
 *	hmm_probe_notify.c	files, and the calls made for them
 *	hmm_probe_callbacks.c	the callbacks
 *
 * The two call each other: a call ends in callbacks, and a callback makes the
 * call that was planned.
 */
#ifndef _HMM_PROBE_NOTIFY_H
#define _HMM_PROBE_NOTIFY_H

#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/mmu_notifier.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "hmm_probe_notify_uapi.h"

/**
 * struct probe_shared - the subscription that all shared files of an mm use
 * @list: the subscription
 * @id: its number
 * @starts: its callbacks
 */
struct probe_shared {
	struct mmu_notifier list;
	u64 id;
	atomic64_t starts;
};

/**
 * struct probe_sub - the subscription of an open file
 * @ref: of the file, of its call, of plans that name it, of REMOVE_ASYNC
 * @interval: as an interval
 * @list: or as a list
 * @shared: or as a shared one
 * @kind: which of them; set before it is subscribed, fixed as long as it is
 * @subscribed: whether it is any; belongs to the call that is being made
 * @first: lists look at this range only; as @kind
 * @last: its last address
 * @lock: of the following, and of read_retry
 * @state: counters
 * @records: the first invalidations
 * @plan: what callbacks do
 * @other: the subscription that the planned call acts on, until it is made
 * @wq: callbacks that wait for another one
 * @held: a callback stays
 * @let_go: and may go
 * @busy: bit 0: a call is being made, or its result was not fetched
 * @work: makes it
 * @call: the call
 * @mm: its address space, if it needs one
 * @done: it has come back
 */
struct probe_sub {
	struct kref ref;
	struct mmu_interval_notifier interval;
	struct mmu_notifier list;
	struct probe_shared *shared;
	enum hmm_notify_kind kind;
	bool subscribed;
	unsigned long first;
	unsigned long last;

	/* innermost; held in callbacks */
	spinlock_t lock;
	struct hmm_notify_state state;
	struct hmm_notify_record records[HMM_NOTIFY_RECORDS];
	struct hmm_notify_plan plan;
	struct probe_sub *other;
	wait_queue_head_t wq;
	struct completion held;
	struct completion let_go;

	unsigned long busy;
	struct work_struct work;
	struct hmm_notify_call call;
	struct mm_struct *mm;
	struct completion done;
};

extern const struct mmu_interval_notifier_ops probe_one_pass_ops;
extern const struct mmu_interval_notifier_ops probe_two_pass_ops;
extern const struct mmu_notifier_ops probe_list_ops;
extern const struct mmu_notifier_ops probe_list_start_ops;
extern const struct mmu_notifier_ops probe_shared_ops;

u64 probe_shared_live(void);
/* For mmu_interval_notifier_remove_async() */
void probe_sub_gone(struct mmu_interval_notifier *interval);
void probe_sub_stay(struct probe_sub *sub);

/*
 * Make a call, for @mm if it subscribes. 0: its result is in @call. -ETIMEDOUT:
 * it goes on. -EBUSY: there is one already.
 */
int probe_sub_call(struct probe_sub *sub, struct hmm_notify_call *call,
		   struct mm_struct *mm);
void probe_sub_put(struct probe_sub *sub);

#endif /* _HMM_PROBE_NOTIFY_H */
