/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/hmm_probe_inval: an open file is a group of invalidations in flight,
 * which tasks make of their own address space and which end together. Nothing
 * changes in the page table. Single calls of the notifiers' API with odd
 * arguments need the file, too, but not the group.
 */
#ifndef _HMM_PROBE_INVAL_UAPI_H
#define _HMM_PROBE_INVAL_UAPI_H

#include <linux/const.h>
#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct hmm_inval_symbols - where the kernel has what it does not export
 * @start: __mmu_notifier_invalidate_range_start()
 * @end: __mmu_notifier_invalidate_range_end()
 * @wake: __mmu_notifier_wake(), 0 on 7.3
 */
struct hmm_inval_symbols {
	__u64 start;
	__u64 end;
	__u64 wake;
};

/* struct hmm_inval.flags */

/* Hold the mmap lock for reading from before the start until after the end. */
#define HMM_INVAL_MMAP_LOCK	_BITULL(0)
/* Return without an end, as a caller with a bug may. */
#define HMM_INVAL_UNBALANCED	_BITULL(1)

/**
 * struct hmm_inval - an invalidation
 * @start: first address
 * @end: last address + 1
 * @flags: HMM_INVAL_*
 */
struct hmm_inval {
	__u64 start;
	__u64 end;
	__u64 flags;
};

enum hmm_odd_call {
	HMM_ODD_INSERT,			/* mmu_interval_notifier_insert() */
	HMM_ODD_INSERT_LOCKED,		/* ..._insert_locked() */
	HMM_ODD_REGISTER,		/* mmu_notifier_register() */
	HMM_ODD_REGISTER_LOCKED,	/* __mmu_notifier_register() */
	HMM_ODD_REGISTER_NULL,		/* the same two without a subscription */
	HMM_ODD_REGISTER_NULL_LOCKED,
};

/* struct hmm_odd.lock: how the mmap lock is held across the call */
#define HMM_ODD_UNLOCKED	0
#define HMM_ODD_READ_LOCKED	1
#define HMM_ODD_WRITE_LOCKED	2

/**
 * struct hmm_odd - a single call for the caller's address space
 * @call: enum hmm_odd_call; what it subscribes is removed again
 * @lock: HMM_ODD_*LOCKED
 * @start: of an interval
 * @length: of an interval
 * @times: so many subscriptions, one after the other, of the same range. The
 *	first call that fails ends it; 0 is 1.
 * @rc: (out) what the API returned
 * @has_mm: (out) after a call that failed: does the subscription name an mm?
 * @is_changed: (out) and is any other byte of it not what it was?
 */
struct hmm_odd {
	__u64 call;
	__u64 lock;
	__u64 start;
	__u64 length;
	__u64 times;
	__s64 rc;
	__u64 has_mm;
	__u64 is_changed;
};

#define HMM_ODD_TIMES_AT_MOST	4

/**
 * struct hmm_sizes - of what others allocate
 * @range: struct mmu_notifier_range, on the stack of each invalidation
 * @interval: struct mmu_interval_notifier
 * @list: struct mmu_notifier
 */
struct hmm_sizes {
	__u64 range;
	__u64 interval;
	__u64 list;
};

#define HMM_INVAL_NAME_BYTES	64

/**
 * struct hmm_inval_starter - the task that lockdep would name if the end were missing
 * @name: the function that has started the invalidation; empty for none
 * @held_after: does lockdep consider it in flight after its end?
 */
struct hmm_inval_starter {
	char name[HMM_INVAL_NAME_BYTES];
	__u64 held_after;
};

/* Make an invalidation and return when it has ended; a fatal signal ends it. */
#define HMM_INVAL_MAKE		_IOW('h', 0xb0, struct hmm_inval)
/* Wait until so many are in flight; fails with ETIMEDOUT. */
#define HMM_INVAL_AWAIT	_IOW('h', 0xb1, __u64)
/* How many are in flight? */
#define HMM_INVAL_COUNT	_IOR('h', 0xb2, __u64)
/* End all, those to come included. */
#define HMM_INVAL_END		_IO('h', 0xb3)
#define HMM_INVAL_ODD		_IOWR('h', 0xb4, struct hmm_odd)
#define HMM_INVAL_SIZES	_IOR('h', 0xb5, struct hmm_sizes)
/* Before the first HMM_INVAL_MAKE, by any file; fails with EOPNOTSUPP. */
#define HMM_INVAL_SYMBOLS	_IOW('h', 0xb6, struct hmm_inval_symbols)
/* Start an invalidation and end it; fails with EOPNOTSUPP without lockdep. */
#define HMM_INVAL_STARTER	_IOR('h', 0xb7, struct hmm_inval_starter)

#endif /* _HMM_PROBE_INVAL_UAPI_H */
