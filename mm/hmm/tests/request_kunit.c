// SPDX-License-Identifier: GPL-2.0-or-later
/* Requests: which bits count for a page, and keeping them for a new attempt. */
#include <kunit/test.h>
#include <linux/hmm.h>
#include <linux/module.h>

#include "../pfn.h"
#include "../request.h"
#include "random.h"

#define NR_SLOTS	61	/* no multiple of four */

static const unsigned long request_bits[] = {
	0, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE,
	HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
};

static struct hmm_request request(unsigned long flags, unsigned long mask)
{
	struct hmm_range range = {
		.default_flags = flags,
		.pfn_flags_mask = mask,
	};

	return hmm_request_of(&range);
}

static void defaults_hold_for_every_page(struct kunit *test)
{
	struct hmm_request r = request(HMM_PFN_REQ_FAULT, 0);

	KUNIT_EXPECT_EQ(test, hmm_request_for(&r, 0),
			(unsigned long)HMM_PFN_REQ_FAULT);
	KUNIT_EXPECT_EQ(test, hmm_request_for(&r, HMM_PFN_REQ_WRITE),
			(unsigned long)HMM_PFN_REQ_FAULT);
}

static void slots_count_through_the_mask(struct kunit *test)
{
	struct hmm_request r = request(0, HMM_PFN_REQ_FAULT);
	unsigned long both = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;

	KUNIT_EXPECT_EQ(test, hmm_request_for(&r, both),
			(unsigned long)HMM_PFN_REQ_FAULT);
	KUNIT_EXPECT_EQ(test, hmm_request_for(&r, 0), 0UL);

	r = request(HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE);
	KUNIT_EXPECT_EQ(test, hmm_request_for(&r, HMM_PFN_REQ_WRITE), both);
	KUNIT_EXPECT_EQ(test, hmm_request_for(&r, 0),
			(unsigned long)HMM_PFN_REQ_FAULT);
}

static void write_alone_asks_for_nothing(struct kunit *test)
{
	struct hmm_request r = request(0, ~0UL);

	KUNIT_EXPECT_EQ(test, hmm_request_for(&r, HMM_PFN_REQ_WRITE), 0UL);
}

static void other_flags_are_no_request(struct kunit *test)
{
	struct hmm_request r = request(~HMM_PFN_REQ_BITS, ~0UL);

	KUNIT_EXPECT_EQ(test, hmm_request_for(&r, ~HMM_PFN_REQ_BITS), 0UL);
}

/* Uniform must mean just that: the slots make no difference. */
static void uniform_means_slots_do_not_matter(struct kunit *test)
{
	unsigned int flags, mask, slot;

	for (flags = 0; flags < 4; flags++) {
		for (mask = 0; mask < 4; mask++) {
			struct hmm_request r = request(request_bits[flags],
						       request_bits[mask]);
			bool same = true;

			for (slot = 1; slot < 4; slot++)
				if (hmm_request_for(&r, request_bits[slot]) !=
				    hmm_request_for(&r, 0))
					same = false;
			KUNIT_EXPECT_EQ_MSG(test, hmm_request_is_uniform(&r),
					    same, "flags %u mask %u", flags,
					    mask);
		}
	}
}

static void packed_requests_come_back(struct kunit *test)
{
	unsigned char packed[(NR_SLOTS + 3) / 4 + 1];
	unsigned long slots[NR_SLOTS], asked[NR_SLOTS];
	struct test_random rnd = { .state = 20261120 };
	unsigned int nr, i;

	for (nr = 1; nr <= NR_SLOTS; nr++) {
		unsigned long size = hmm_requests_packed_size(nr);

		for (i = 0; i < sizeof(packed); i++)
			packed[i] = 0xa5;
		for (i = 0; i < nr; i++) {
			slots[i] = request_bits[test_random_below(&rnd, 4)];
			asked[i] = slots[i];
		}
		hmm_requests_pack(packed, slots, nr);
		KUNIT_EXPECT_EQ(test, packed[size], 0xa5);

		hmm_slots_record(slots, nr, hmm_leaf_mapped(i, i & 1, 0));
		hmm_requests_unpack(slots, packed, 0, nr);
		for (i = 0; i < nr; i++)
			KUNIT_EXPECT_EQ(test, slots[i] & HMM_PFN_REQ_BITS,
					asked[i]);
	}
}

static void unpacking_keeps_the_drivers_flags(struct kunit *test)
{
	unsigned long slot = HMM_PFN_DMA_MAPPED | HMM_PFN_REQ_FAULT;
	unsigned char packed;

	hmm_requests_pack(&packed, &slot, 1);
	hmm_slots_record(&slot, 1, hmm_leaf_error());
	hmm_requests_unpack(&slot, &packed, 0, 1);
	KUNIT_EXPECT_EQ(test, slot & HMM_PFN_STICKY,
			(unsigned long)HMM_PFN_DMA_MAPPED);
}

static struct kunit_case request_cases[] = {
	KUNIT_CASE(defaults_hold_for_every_page),
	KUNIT_CASE(slots_count_through_the_mask),
	KUNIT_CASE(write_alone_asks_for_nothing),
	KUNIT_CASE(other_flags_are_no_request),
	KUNIT_CASE(uniform_means_slots_do_not_matter),
	KUNIT_CASE(packed_requests_come_back),
	KUNIT_CASE(unpacking_keeps_the_drivers_flags),
	{}
};

static struct kunit_suite request_suite = {
	.name = "hmm_request",
	.test_cases = request_cases,
};

kunit_test_suite(request_suite);
