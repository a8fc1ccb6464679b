// SPDX-License-Identifier: GPL-2.0
#include <linux/hmm.h>
#include "probe.h"

HAS_CALL(hmm_range_fault, int (struct hmm_range *));
HAS_CALL(hmm_range_fault_unlocked_timeout,
	 int (struct hmm_range *, unsigned long));
HAS_VALUE(HMM_RANGE_DEFAULT_TIMEOUT, 1000);

HAS_FIELD(struct hmm_range, notifier, struct mmu_interval_notifier *);
HAS_FIELD(struct hmm_range, notifier_seq, unsigned long);
HAS_FIELD(struct hmm_range, start, unsigned long);
HAS_FIELD(struct hmm_range, end, unsigned long);
HAS_FIELD(struct hmm_range, hmm_pfns, unsigned long *);
HAS_FIELD(struct hmm_range, default_flags, unsigned long);
HAS_FIELD(struct hmm_range, pfn_flags_mask, unsigned long);
HAS_FIELD(struct hmm_range, dev_private_owner, void *);

/* What a driver does not name is zero, and asks for nothing. */
static int __used probe_walk(struct mm_struct *mm, unsigned long *pfns,
			     void *owner)
{
	struct hmm_range range = {
		.start = 0,
		.end = PAGE_SIZE,
		.hmm_pfns = pfns,
		.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
		.dev_private_owner = owner,
	};
	int ret;

	mmap_read_lock(mm);
	ret = hmm_range_fault(&range);
	mmap_read_unlock(mm);
	return ret;
}
