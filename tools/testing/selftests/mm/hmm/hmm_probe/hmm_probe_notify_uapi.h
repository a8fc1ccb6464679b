/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/hmm_probe_notify: an open file is one subscription to MMU notifications,
 * made, ended and queried by command, whose callbacks do what is planned.
 *
 * A call that may wait for ever on some kernel is given patience: a worker makes
 * it, and the ioctl fails with ETIMEDOUT when it has not come back by then. It
 * goes on; HMM_NOTIFY_AWAIT asks again.
 */
#ifndef _HMM_PROBE_NOTIFY_UAPI_H
#define _HMM_PROBE_NOTIFY_UAPI_H

#include <linux/const.h>
#include <linux/ioctl.h>
#include <linux/types.h>

enum hmm_notify_kind {
	HMM_NOTIFY_INTERVAL,
	HMM_NOTIFY_TWO_PASS,	/* an interval, with a second pass */
	HMM_NOTIFY_LIST,	/* the whole address space: start and end */
	HMM_NOTIFY_LIST_START,	/* without the end, so it may refuse */
	HMM_NOTIFY_SHARED,	/* one for all files: mmu_notifier_get() */
	HMM_NOTIFY_LIST_LOCKED,	/* with the mmap lock held for writing */
	HMM_NOTIFY_INTERVAL_READ_LOCKED, /* with it held for reading */
};

enum hmm_notify_op {
	HMM_NOTIFY_SUBSCRIBE,
	HMM_NOTIFY_REMOVE,
	HMM_NOTIFY_REMOVE_ASYNC,
	HMM_NOTIFY_RESIZE,
	HMM_NOTIFY_READ,
	HMM_NOTIFY_READ_KILLABLE,
	HMM_NOTIFY_READ_TIMEOUT,
	HMM_NOTIFY_RETRY,	/* rc is 1 or 0 */
	HMM_NOTIFY_SNAPSHOT,	/* hmm_range_fault() for the page at start */
};

/**
 * struct hmm_notify_call - one call of the notifiers' API
 * @op: enum hmm_notify_op
 * @kind: enum hmm_notify_kind, to subscribe; the address space is the caller's
 * @start: to subscribe, to resize, for the snapshot
 * @length: to subscribe, to resize. Lists look at what is in this range only.
 * @ms: for READ_TIMEOUT
 * @patience_ms: 0: the caller makes the call and waits as long as it takes
 * @seq: (in, out) of read_begin and read_retry
 * @rc: (out) what the API returned; -EOPNOTSUPP if this kernel has no such call
 */
struct hmm_notify_call {
	__u64 op;
	__u64 kind;
	__u64 start;
	__u64 length;
	__u64 ms;
	__u64 patience_ms;
	__u64 seq;
	__s64 rc;
};

/* struct hmm_notify_plan.hold */
#define HMM_NOTIFY_HOLD_NOT	0
#define HMM_NOTIFY_HOLD_START	1
#define HMM_NOTIFY_HOLD_END	2	/* in the second pass; in a list's end */

/* struct hmm_notify_plan.flags */

/* Return -EAGAIN where sleeping is forbidden. */
#define HMM_NOTIFY_REFUSE	_BITULL(0)
/* A callback returns only when another one has begun. */
#define HMM_NOTIFY_PAIR		_BITULL(1)

/**
 * struct hmm_notify_plan - what the callbacks do
 * @hold: where the next one that may sleep stays until a command releases it
 * @flags: HMM_NOTIFY_REFUSE, HMM_NOTIFY_PAIR
 * @other: file whose subscription the next one acts on, or -1
 * @act: the call that it makes
 */
struct hmm_notify_plan {
	__u64 hold;
	__u64 flags;
	__s64 other;
	struct hmm_notify_call act;
};

/**
 * struct hmm_notify_state - what has happened to a subscription
 * @starts: callbacks, first passes
 * @ends: second passes, ends of lists
 * @refusals: callbacks that returned -EAGAIN
 * @pairs: callbacks that began to wait for another one
 * @running: callbacks at this moment
 * @releases: releases: of REMOVE_ASYNC, of the address space
 * @running_at_release: callbacks when the last one of these came
 * @records: how many records there are
 * @acts: calls that callbacks have made
 * @act_rc: the last one's result
 * @last_rc: result of the last call
 * @id: of the subscription of a shared file; never reused
 * @live: shared ones that are not yet freed, of all address spaces
 */
struct hmm_notify_state {
	__u64 starts;
	__u64 ends;
	__u64 refusals;
	__u64 pairs;
	__u64 running;
	__u64 releases;
	__u64 running_at_release;
	__u64 records;
	__u64 acts;
	__s64 act_rc;
	__s64 last_rc;
	__u64 id;
	__u64 live;
};

/* struct hmm_notify_record.read_only */
#define HMM_NOTIFY_NO		0
#define HMM_NOTIFY_YES		1
#define HMM_NOTIFY_UNKNOWN	2	/* this kernel does not say */

/* Later invalidations are counted, not recorded. */
#define HMM_NOTIFY_RECORDS	1024

/**
 * struct hmm_notify_record - an invalidation as a callback saw it
 * @index: (in) which
 * @start: first address
 * @end: exclusive
 * @event: enum mmu_notifier_event
 * @blockable: may sleep
 * @owned: has an owner
 * @read_only: mmu_notifier_range_update_to_read_only()
 */
struct hmm_notify_record {
	__u64 index;
	__u64 start;
	__u64 end;
	__u64 event;
	__u64 blockable;
	__u64 owned;
	__u64 read_only;
};

#define HMM_NOTIFY_CALL		_IOWR('h', 0x90, struct hmm_notify_call)
/* Wait for a call that was given too little patience; fills in the rest. */
#define HMM_NOTIFY_AWAIT	_IOWR('h', 0x91, struct hmm_notify_call)
#define HMM_NOTIFY_PLAN		_IOW('h', 0x92, struct hmm_notify_plan)
#define HMM_NOTIFY_STATE	_IOR('h', 0x93, struct hmm_notify_state)
#define HMM_NOTIFY_RECORD	_IOWR('h', 0x94, struct hmm_notify_record)
/* Wait until a callback stays, and let it go. */
#define HMM_NOTIFY_AWAIT_HOLD	_IO('h', 0x95)
#define HMM_NOTIFY_LET_GO	_IO('h', 0x96)
/* Stay in the kernel until released, whatever signals come. */
#define HMM_NOTIFY_STAY		_IO('h', 0x97)

#endif /* _HMM_PROBE_NOTIFY_UAPI_H */
