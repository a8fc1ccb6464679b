/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decision: given the request for a page and what the CPU has, record the
 * answer, fault, or refuse.
 *
 * Pure, see pfn.h.
 */
#ifndef _MM_HMM_POLICY_H
#define _MM_HMM_POLICY_H

#include "pfn.h"
#include "request.h"

/**
 * enum hmm_verdict - what to do with a page, weakest first
 * @HMM_RECORD: the request, if there is one, is met: write the answer
 * @HMM_READ_FAULT: the page must become readable first
 * @HMM_WRITE_FAULT: the page must become writable first
 * @HMM_REFUSE: no fault can give the access that is requested
 */
enum hmm_verdict {
	HMM_RECORD,
	HMM_READ_FAULT,
	HMM_WRITE_FAULT,
	HMM_REFUSE,
};

/* The verdict on a page: @slot holds its request, @answer what the CPU has. */
static inline enum hmm_verdict hmm_decide(const struct hmm_request *request,
					  unsigned long slot,
					  unsigned long answer)
{
	unsigned long asked = hmm_request_for(request, slot);

	if (!asked)
		return HMM_RECORD;
	if (answer & HMM_PFN_ERROR)
		return HMM_REFUSE;
	if ((asked & HMM_PFN_REQ_WRITE) && !(answer & HMM_PFN_WRITE))
		return HMM_WRITE_FAULT;
	if (!(answer & HMM_PFN_VALID))
		return HMM_READ_FAULT;
	return HMM_RECORD;
}

/*
 * Split a run of @nr > 0 slots that all have the flags of @answer: returns how
 * many of them, from the first on, have the same verdict, and that verdict in
 * @verdict.
 */
static inline unsigned long hmm_decide_run(const struct hmm_request *request,
					   const unsigned long *slots,
					   unsigned long nr,
					   unsigned long answer,
					   enum hmm_verdict *verdict)
{
	unsigned long i;

	*verdict = hmm_decide(request, slots[0], answer);
	if (hmm_request_is_uniform(request))
		return nr;

	for (i = 1; i < nr; i++)
		if (hmm_decide(request, slots[i], answer) != *verdict)
			break;
	return i;
}

/*
 * Decide for @nr > 0 pages that are mapped by one entry, which a fault changes
 * as a whole: returns the strongest verdict among them, and in @at the first
 * page that has it.
 */
static inline enum hmm_verdict
hmm_decide_whole(const struct hmm_request *request, const unsigned long *slots,
		 unsigned long nr, unsigned long answer, unsigned long *at)
{
	enum hmm_verdict strongest = hmm_decide(request, slots[0], answer);
	unsigned long i;

	*at = 0;
	if (hmm_request_is_uniform(request))
		return strongest;

	for (i = 1; i < nr; i++) {
		enum hmm_verdict verdict = hmm_decide(request, slots[i], answer);

		if (verdict > strongest) {
			strongest = verdict;
			*at = i;
		}
	}
	return strongest;
}

#endif /* _MM_HMM_POLICY_H */
