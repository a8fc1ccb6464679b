// SPDX-License-Identifier: GPL-2.0-or-later
/* Slots: how answers are encoded and written. */
#include <kunit/test.h>
#include <linux/hmm.h>
#include <linux/kthread.h>
#include <linux/module.h>

#include "../pfn.h"
#include "../request.h"

#define NR_SLOTS	16

static void mapped_reads_back(struct kunit *test)
{
	unsigned int order;

	for (order = 0; order < 32; order++) {
		struct hmm_leaf leaf = hmm_leaf_mapped(0x1234, order & 1, order);

		KUNIT_EXPECT_EQ(test, hmm_pfn_to_map_order(leaf.answer), order);
		KUNIT_EXPECT_EQ(test, leaf.answer & ~HMM_PFN_FLAGS, 0x1234UL);
		KUNIT_EXPECT_TRUE(test, leaf.answer & HMM_PFN_VALID);
		KUNIT_EXPECT_EQ(test, !!(leaf.answer & HMM_PFN_WRITE),
				order & 1);
		KUNIT_EXPECT_FALSE(test, leaf.answer & HMM_PFN_ERROR);
		KUNIT_EXPECT_FALSE(test, leaf.answer & HMM_PFN_STICKY);
	}
}

static void absent_and_error_hold_no_page(struct kunit *test)
{
	struct hmm_leaf absent = hmm_leaf_absent(), error = hmm_leaf_error();

	KUNIT_EXPECT_EQ(test, absent.answer, 0UL);
	KUNIT_EXPECT_EQ(test, absent.step, 0UL);
	KUNIT_EXPECT_EQ(test, error.answer, (unsigned long)HMM_PFN_ERROR);
	KUNIT_EXPECT_EQ(test, error.step, 0UL);
}

static void flags_do_not_overlap(struct kunit *test)
{
	unsigned long order_bits = 0x1FUL << HMM_PFN_ORDER_SHIFT;
	unsigned long flags = HMM_PFN_VALID | HMM_PFN_WRITE | HMM_PFN_ERROR;

	KUNIT_EXPECT_FALSE(test, flags & HMM_PFN_STICKY);
	KUNIT_EXPECT_FALSE(test, (flags | HMM_PFN_STICKY) & order_bits);
	KUNIT_EXPECT_EQ(test, flags | HMM_PFN_STICKY | order_bits,
			(unsigned long)HMM_PFN_FLAGS);
}

static void record_counts_pages_up(struct kunit *test)
{
	unsigned long slots[NR_SLOTS] = {};
	unsigned int i;

	hmm_slots_record(slots, NR_SLOTS, hmm_leaf_mapped(100, true, 9));
	for (i = 0; i < NR_SLOTS; i++) {
		KUNIT_EXPECT_EQ(test, slots[i] & ~HMM_PFN_FLAGS, 100UL + i);
		KUNIT_EXPECT_EQ(test, hmm_pfn_to_map_order(slots[i]), 9U);
	}
}

static void record_keeps_the_drivers_flags_only(struct kunit *test)
{
	static const unsigned long kept[] = {
		0, HMM_PFN_DMA_MAPPED, HMM_PFN_P2PDMA,
		HMM_PFN_P2PDMA_BUS | HMM_PFN_DMA_MAPPED,
	};
	struct hmm_leaf leaves[] = {
		hmm_leaf_absent(), hmm_leaf_error(), hmm_leaf_mapped(7, false, 0),
	};
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(kept); i++) {
		for (j = 0; j < ARRAY_SIZE(leaves); j++) {
			unsigned long slot = ~HMM_PFN_STICKY | kept[i];

			hmm_slots_record(&slot, 1, leaves[j]);
			KUNIT_EXPECT_EQ(test, slot, kept[i] | leaves[j].answer);
		}
	}
}

/* Many slots are recorded at a time, and each of them may be the one. */
static void record_keeps_flags_among_many(struct kunit *test)
{
	static const struct hmm_leaf leaves[] = {
		{ .answer = 0, .step = 0 },
		{ .answer = HMM_PFN_VALID | 512, .step = 1 },
	};
	unsigned long slots[NR_SLOTS], i, j, k;

	for (j = 0; j < ARRAY_SIZE(leaves); j++) {
		for (i = 0; i < NR_SLOTS; i++) {
			for (k = 0; k < NR_SLOTS; k++)
				slots[k] = k == i ? HMM_PFN_STICKY : 0;
			hmm_slots_record(slots, NR_SLOTS, leaves[j]);
			for (k = 0; k < NR_SLOTS; k++)
				KUNIT_EXPECT_EQ(test, slots[k],
						(k == i ? HMM_PFN_STICKY : 0) +
						leaves[j].answer +
						k * leaves[j].step);
		}
	}
}

static void record_stays_inside(struct kunit *test)
{
	unsigned long slots[NR_SLOTS];
	unsigned int nr, i;

	for (nr = 0; nr <= NR_SLOTS - 2; nr++) {
		for (i = 0; i < NR_SLOTS; i++)
			slots[i] = 0x5555;
		hmm_slots_record(slots + 1, nr, hmm_leaf_error());
		KUNIT_EXPECT_EQ(test, slots[0], 0x5555UL);
		KUNIT_EXPECT_EQ(test, slots[nr + 1], 0x5555UL);
		for (i = 1; i <= nr; i++)
			KUNIT_EXPECT_EQ(test, slots[i],
					(unsigned long)HMM_PFN_ERROR);
	}
}

static void record_four_takes_any_pages(struct kunit *test)
{
	static const unsigned long pfns[4] = { 9, 3, 3, 700 };
	unsigned long slots[4], kept, i;

	for (kept = 0; kept <= 4; kept++) {
		for (i = 0; i < 4; i++)
			slots[i] = i == kept ? HMM_PFN_P2PDMA | 77 : 77;
		hmm_slots_record_four(slots, HMM_PFN_VALID, pfns);
		for (i = 0; i < 4; i++)
			KUNIT_EXPECT_EQ(test, slots[i], pfns[i] | HMM_PFN_VALID |
					(i == kept ? HMM_PFN_P2PDMA : 0UL));
	}
}

/* What a driver does in the slots of a DMA map while answers are recorded */

struct driver {
	unsigned long slots[NR_SLOTS];
	unsigned long lost;
	unsigned long turns;
};

/* All slots are changed before any is looked at: what gets lost, stays so. */
static void driver_changes_all(struct driver *driver, unsigned long clear,
			       unsigned long set)
{
	unsigned long i;

	for (i = 0; i < NR_SLOTS; i++)
		hmm_slot_change(&driver->slots[i], clear, set);
	for (i = 0; i < NR_SLOTS; i++)
		driver->lost += (READ_ONCE(driver->slots[i]) &
				 HMM_PFN_DMA_MAPPED) != set;
}

static int driver_maps_and_unmaps(void *data)
{
	struct driver *driver = data;

	while (!kthread_should_stop()) {
		driver_changes_all(driver, 0, HMM_PFN_DMA_MAPPED);
		driver_changes_all(driver, HMM_PFN_DMA_MAPPED, 0);
		WRITE_ONCE(driver->turns, driver->turns + 1);
		cond_resched();
	}
	return 0;
}

#define DRIVER_TURNS	200000

static void flags_changed_meanwhile_are_kept(struct kunit *test)
{
	struct driver driver = {};
	struct hmm_leaf leaf = hmm_leaf_mapped(100, true, 0);
	unsigned char requests[NR_SLOTS / 4] = {};
	struct task_struct *thread;
	unsigned long wrong = 0, i;

	thread = kthread_run(driver_maps_and_unmaps, &driver, "hmm_pfn_kunit");
	KUNIT_EXPECT_FALSE(test, IS_ERR(thread));
	if (IS_ERR(thread))
		return;
	while (READ_ONCE(driver.turns) < DRIVER_TURNS) {
		/* As a call that begins again does */
		hmm_requests_unpack(driver.slots, requests, 0, NR_SLOTS);
		hmm_slots_record_shared(driver.slots, NR_SLOTS, leaf);
		for (i = 0; i < NR_SLOTS; i++)
			wrong += (READ_ONCE(driver.slots[i]) & ~HMM_PFN_STICKY) !=
				 leaf.answer + i;
		cond_resched();
	}
	kthread_stop(thread);
	KUNIT_EXPECT_EQ(test, driver.lost, 0UL);
	KUNIT_EXPECT_EQ(test, wrong, 0UL);
}

static struct kunit_case pfn_cases[] = {
	KUNIT_CASE(mapped_reads_back),
	KUNIT_CASE(absent_and_error_hold_no_page),
	KUNIT_CASE(flags_do_not_overlap),
	KUNIT_CASE(record_counts_pages_up),
	KUNIT_CASE(record_keeps_the_drivers_flags_only),
	KUNIT_CASE(record_keeps_flags_among_many),
	KUNIT_CASE(record_stays_inside),
	KUNIT_CASE(record_four_takes_any_pages),
	KUNIT_CASE(flags_changed_meanwhile_are_kept),
	{}
};

static struct kunit_suite pfn_suite = {
	.name = "hmm_pfn",
	.test_cases = pfn_cases,
};

kunit_test_suite(pfn_suite);

MODULE_DESCRIPTION("KUnit tests for the pure parts of HMM");
MODULE_LICENSE("GPL");
