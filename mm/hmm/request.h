/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The requests of a caller of hmm_range_fault(), page by page.
 *
 * Requests and answers share the slots, and REQ_FAULT is the same bit as VALID.
 * So code that may have to begin again after it recorded answers must store the
 * requests elsewhere, or it would read answers of the first attempt as requests
 * in the second.
 *
 * Pure, see pfn.h.
 */
#ifndef _MM_HMM_REQUEST_H
#define _MM_HMM_REQUEST_H

#include <linux/hmm.h>

#include "pfn.h"

#define HMM_PFN_REQ_BITS	(HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE)

/**
 * struct hmm_request - which request bits count in a range
 * @everywhere: bits that are requested for every page
 * @from_slots: bits that each page's slot may add
 */
struct hmm_request {
	unsigned long everywhere;
	unsigned long from_slots;
};

static inline struct hmm_request hmm_request_of(const struct hmm_range *range)
{
	return (struct hmm_request){
		.everywhere = range->default_flags & HMM_PFN_REQ_BITS,
		.from_slots = range->pfn_flags_mask & HMM_PFN_REQ_BITS,
	};
}

/* Does every page of the range have the same request? */
static inline bool hmm_request_is_uniform(const struct hmm_request *request)
{
	/*
	 * A WRITE bit alone requests nothing, and adding bits that are
	 * requested everywhere changes nothing.
	 */
	return !(request->from_slots & ~request->everywhere) ||
	       !((request->from_slots | request->everywhere) & HMM_PFN_REQ_FAULT);
}

/* The request for the page of @slot: FAULT, FAULT and WRITE, or 0 */
static inline unsigned long hmm_request_for(const struct hmm_request *request,
					    unsigned long slot)
{
	unsigned long bits = request->everywhere | (slot & request->from_slots);

	return bits & HMM_PFN_REQ_FAULT ? bits : 0;
}

/* Bytes that hmm_requests_pack() needs for @nr slots: four slots a byte. */
static inline unsigned long hmm_requests_packed_size(unsigned long nr)
{
	return (nr + 3) / 4;
}

/* Store the request bits of @nr slots in @packed, which need not be cleared. */
static inline void hmm_requests_pack(unsigned char *packed,
				     const unsigned long *slots,
				     unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		unsigned int shift = i % 4 * 2;
		unsigned char bits = 0;

		if (slots[i] & HMM_PFN_REQ_FAULT)
			bits |= 1;
		if (slots[i] & HMM_PFN_REQ_WRITE)
			bits |= 2;
		if (!shift)
			packed[i / 4] = 0;
		packed[i / 4] |= bits << shift;
	}
}

/*
 * Restore the requests that hmm_requests_pack() stored, in the slots from
 * number @i to number @end. The slots may be those of a DMA map, whose driver
 * changes its own flags.
 */
static inline void hmm_requests_unpack(unsigned long *slots,
				       const unsigned char *packed,
				       unsigned long i, unsigned long end)
{
	for (; i < end; i++) {
		unsigned char bits = packed[i / 4] >> (i % 4 * 2);
		unsigned long request = 0;

		if (bits & 1)
			request |= HMM_PFN_REQ_FAULT;
		if (bits & 2)
			request |= HMM_PFN_REQ_WRITE;
		hmm_slot_change(&slots[i], HMM_PFN_REQ_BITS, request);
	}
}

#endif /* _MM_HMM_REQUEST_H */
