/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/hmm_torture: subscribes to an arena of the caller's memory, and does one
 * small thing with the subscriptions in each ioctl.
 */
#ifndef _HMM_TORTURE_UAPI_H
#define _HMM_TORTURE_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define HMM_TORTURE_PAGES	64

/* What there is to do */
enum hmm_torture_op {
	HMM_TORTURE_READ,	/* mirror a page */
	HMM_TORTURE_CHECK,	/* compare a mirror with the page table */
	HMM_TORTURE_INSERT,	/* subscribe */
	HMM_TORTURE_INSERT_READ,	/* and mirror some pages at once */
	HMM_TORTURE_REMOVE,
	HMM_TORTURE_REMOVE_ASYNC,
	HMM_TORTURE_RESIZE,
	HMM_TORTURE_LIST,	/* subscribe to the whole address space */
	HMM_TORTURE_NOOP,	/* an invalidation that changes nothing; copies only */
	HMM_TORTURE_LONG,	/* one that takes long; copies only */
	HMM_TORTURE_UNBALANCED,	/* one that never ends; copies only */
	HMM_TORTURE_OPS,
};

/* What is counted */
enum hmm_torture_count {
	HMM_TORTURE_READS,
	HMM_TORTURE_RETRIES,
	HMM_TORTURE_CHECKS,
	HMM_TORTURE_INSERTS,
	HMM_TORTURE_REMOVES,
	HMM_TORTURE_ASYNCS,
	HMM_TORTURE_FROM_CALLBACKS,
	HMM_TORTURE_CALLBACK_REMOVES,
	HMM_TORTURE_CALLBACK_INSERTS,
	HMM_TORTURE_RELEASES,
	HMM_TORTURE_RESIZES,
	HMM_TORTURE_LISTS,
	HMM_TORTURE_LIST_READS,
	HMM_TORTURE_LIST_CHECKS,
	HMM_TORTURE_LISTS_KILLED,
	HMM_TORTURE_CALLBACKS,
	HMM_TORTURE_SECOND_PASSES,
	HMM_TORTURE_EXITS,
	HMM_TORTURE_NOOPS,
	HMM_TORTURE_NONBLOCKING,
	HMM_TORTURE_REFUSALS,
	HMM_TORTURE_UNBALANCED_STARTS,
	HMM_TORTURE_COUNTS,
};

/* Subscriptions stay, so that only ends of invalidations wake readers. */
#define HMM_TORTURE_QUIET	0x1
/* Invalidations outside of the arena take long: many are in flight at once. */
#define HMM_TORTURE_CROWD	0x2

/**
 * struct hmm_torture_arena - what to subscribe to
 * @start: first address
 * @seed: for all that the module does at random
 * @flags: HMM_TORTURE_QUIET, HMM_TORTURE_CROWD
 */
struct hmm_torture_arena {
	__u64 start;
	__u32 seed;
	__u32 flags;
};

/**
 * struct hmm_torture_state - how it goes, over all files of the device
 * @counts: by enum hmm_torture_count
 * @copy: the module tortures a copy of the notifiers
 * @failure: the first error that was found, or nothing
 */
struct hmm_torture_state {
	__u64 counts[HMM_TORTURE_COUNTS];
	__u32 copy;
	char failure[76];
};

#define HMM_TORTURE_SET_UP	_IOW('H', 0x90, struct hmm_torture_arena)
#define HMM_TORTURE_DO		_IO('H', 0x91)
#define HMM_TORTURE_STATE	_IOR('H', 0x92, struct hmm_torture_state)

#endif /* _HMM_TORTURE_UAPI_H */
