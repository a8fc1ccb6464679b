/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/hmm_probe_inval, inside:
 *
 *	hmm_probe_inval.c	files, and the invalidations made for them
 *	hmm_probe_odd.c		single calls with odd arguments
 */
#ifndef _HMM_PROBE_INVAL_H
#define _HMM_PROBE_INVAL_H

#include <linux/mmu_notifier.h>

#include "hmm_probe_inval_uapi.h"

/**
 * struct probe_odd - the subscriptions of single calls
 * @intervals: of insert calls
 * @lists: of register calls
 *
 * Allocated with the file, so that the only allocations of a call are the API's
 * own: a test has them fail.
 */
struct probe_odd {
	struct mmu_interval_notifier intervals[HMM_ODD_TIMES_AT_MOST];
	struct mmu_notifier lists[HMM_ODD_TIMES_AT_MOST];
};

int probe_odd_call(struct probe_odd *odd, struct hmm_odd *call);

#endif /* _HMM_PROBE_INVAL_H */
