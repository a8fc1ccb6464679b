// SPDX-License-Identifier: GPL-2.0-or-later
/* The flags of a DMA map's entries, while they are mapped by range and after. */
#include <kunit/test.h>
#include <linux/hmm.h>

#include "../dma_flags.h"

#define NR_SLOTS	16

static const unsigned long pending[] = {
	HMM_DMA_LINKED, HMM_DMA_LINKED_P2P, HMM_DMA_BUS_KNOWN,
};

/* What hmm_dma_map_pfn() of 7.3 sets */
static const unsigned long mapped[] = {
	HMM_PFN_DMA_MAPPED,
	HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA,
	HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA_BUS,
};

static void states_are_told_apart(struct kunit *test)
{
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(pending); i++) {
		KUNIT_EXPECT_TRUE(test, hmm_dma_is_pending(pending[i]));
		for (j = 0; j < ARRAY_SIZE(pending); j++) {
			KUNIT_EXPECT_EQ(test, pending[i] == pending[j], i == j);
			KUNIT_EXPECT_FALSE(test, pending[i] == mapped[j]);
		}
		KUNIT_EXPECT_FALSE(test, hmm_dma_is_pending(mapped[i]));
	}
	KUNIT_EXPECT_FALSE(test, hmm_dma_is_pending(0));
	KUNIT_EXPECT_FALSE(test, hmm_dma_is_pending(HMM_PFN_VALID | 77));
	KUNIT_EXPECT_FALSE(test, hmm_dma_is_pending(HMM_PFN_ERROR));
}

static void pending_becomes_mapped(struct kunit *test)
{
	const unsigned long answer = HMM_PFN_VALID | HMM_PFN_WRITE | 77;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pending); i++) {
		KUNIT_EXPECT_EQ(test, hmm_dma_flags_mapped(pending[i]),
				mapped[i]);
		KUNIT_EXPECT_EQ(test, hmm_dma_flags_mapped(answer | pending[i]),
				mapped[i]);
		KUNIT_EXPECT_EQ(test, hmm_dma_is_linked(pending[i]),
				hmm_dma_is_linked(mapped[i]));
	}
}

/* Bus addresses are the device's own business. */
static void bus_addresses_are_not_linked(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, hmm_dma_is_linked(HMM_DMA_LINKED));
	KUNIT_EXPECT_TRUE(test, hmm_dma_is_linked(HMM_DMA_LINKED_P2P));
	KUNIT_EXPECT_FALSE(test, hmm_dma_is_linked(HMM_DMA_BUS_KNOWN));
	KUNIT_EXPECT_FALSE(test, hmm_dma_is_linked(HMM_PFN_VALID | 77));
}

static void only_new_pages_are_to_be_mapped(struct kunit *test)
{
	unsigned int i;

	KUNIT_EXPECT_TRUE(test, hmm_dma_is_unmapped(HMM_PFN_VALID | 77));
	KUNIT_EXPECT_FALSE(test, hmm_dma_is_unmapped(0));
	KUNIT_EXPECT_FALSE(test, hmm_dma_is_unmapped(HMM_PFN_ERROR));
	for (i = 0; i < ARRAY_SIZE(mapped); i++) {
		unsigned long slot = HMM_PFN_VALID | 77;

		KUNIT_EXPECT_FALSE(test, hmm_dma_is_unmapped(slot | mapped[i]));
		KUNIT_EXPECT_FALSE(test, hmm_dma_is_unmapped(slot | pending[i]));
	}
}

/* Entries are compared by their flags, whatever a walk makes of the answers. */
static void run_ends_where_flags_differ(struct kunit *test)
{
	unsigned long slots[NR_SLOTS];
	unsigned int end, i;

	for (end = 1; end <= NR_SLOTS; end++) {
		for (i = 0; i < NR_SLOTS; i++) {
			slots[i] = i % 3 ? HMM_PFN_VALID | i : 0;
			slots[i] |= i < end ? mapped[1] : mapped[0];
		}
		KUNIT_EXPECT_EQ(test, hmm_dma_flags_run(slots, NR_SLOTS),
				(size_t)end);
		KUNIT_EXPECT_EQ(test, hmm_dma_flags_run(slots, 1), (size_t)1);
	}
}

static struct kunit_case dma_cases[] = {
	KUNIT_CASE(states_are_told_apart),
	KUNIT_CASE(pending_becomes_mapped),
	KUNIT_CASE(bus_addresses_are_not_linked),
	KUNIT_CASE(only_new_pages_are_to_be_mapped),
	KUNIT_CASE(run_ends_where_flags_differ),
	{}
};

static struct kunit_suite dma_suite = {
	.name = "hmm_dma",
	.test_cases = dma_cases,
};

kunit_test_suite(dma_suite);
