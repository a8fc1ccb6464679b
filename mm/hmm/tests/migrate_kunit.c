// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The life of an entry, and what is collected, against tables that say the same
 * in other words.
 */
#include <kunit/test.h>
#include <linux/migrate_device.h>

#include "../migrate_entry.h"
#include "../migrate_policy.h"

#define PFN	0x12345UL

/* An entry in each state, in the order of enum migrate_state */
static unsigned long example_of(unsigned int state)
{
	static const unsigned long flags[] = {
		[MIGRATE_OUT]	= 0,
		[MIGRATE_HOLE]	= MIGRATE_PFN_MIGRATE,
		[MIGRATE_TAKEN]	= MIGRATE_PFN_MIGRATE | MIGRATE_PFN_WRITE,
		[MIGRATE_KEPT]	= MIGRATE_PFN_WRITE,
	};

	if (state < MIGRATE_TAKEN)
		return flags[state];
	return migrate_pfn(PFN) | flags[state];
}

static void states_are_told_apart(struct kunit *test)
{
	unsigned int state;

	for (state = MIGRATE_OUT; state <= MIGRATE_KEPT; state++)
		KUNIT_EXPECT_EQ(test, migrate_state_of(example_of(state)),
				state);
}

/* A row for each stage and state: the states that may follow */
#define OUT	BIT(MIGRATE_OUT)
#define HOLE	BIT(MIGRATE_HOLE)
#define TAKEN	BIT(MIGRATE_TAKEN)
#define KEPT	BIT(MIGRATE_KEPT)

static const unsigned long successors[3][4] = {
	[MIGRATE_COLLECT] = { OUT | HOLE | TAKEN | KEPT, HOLE, TAKEN, KEPT },
	[MIGRATE_UNMAP] = { OUT | TAKEN, HOLE, TAKEN | KEPT, KEPT | OUT },
	[MIGRATE_INSTALL] = { OUT | HOLE | TAKEN, HOLE | OUT, TAKEN | KEPT,
			      KEPT },
};

static void only_the_drawn_ways_are_open(struct kunit *test)
{
	unsigned int stage, from, to;

	for (stage = 0; stage < ARRAY_SIZE(successors); stage++)
		for (from = MIGRATE_OUT; from <= MIGRATE_KEPT; from++)
			for (to = MIGRATE_OUT; to <= MIGRATE_KEPT; to++)
				KUNIT_EXPECT_EQ(test,
						migrate_may_become(stage, from,
								   to),
						!!(successors[stage][from] &
						   BIT(to)));
}

static void what_cannot_move_is_kept(struct kunit *test)
{
	unsigned long entry = example_of(MIGRATE_TAKEN) | MIGRATE_PFN_HERE |
			      MIGRATE_PFN_OFF_LRU | MIGRATE_PFN_COMPOUND;

	KUNIT_EXPECT_EQ(test, migrate_entry_kept(entry),
			entry & ~MIGRATE_PFN_MIGRATE);
	KUNIT_EXPECT_EQ(test, migrate_state_of(migrate_entry_kept(entry)),
			MIGRATE_KEPT);
	/* Of a hole nothing is left that somebody might take for something. */
	entry = example_of(MIGRATE_HOLE) | MIGRATE_PFN_COMPOUND;
	KUNIT_EXPECT_EQ(test, migrate_entry_kept(entry), 0UL);
}

static void parts_inherit_all_flags_but_one(struct kunit *test)
{
	unsigned long flags = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE |
			      MIGRATE_PFN_OFF_LRU | MIGRATE_PFN_WRITE |
			      MIGRATE_PFN_HERE;
	unsigned long entry = PFN << MIGRATE_PFN_SHIFT | flags |
			      MIGRATE_PFN_COMPOUND;

	KUNIT_EXPECT_EQ(test, migrate_entry_flags(entry), flags);
}

static void private_bits_are_nobody_elses(struct kunit *test)
{
	unsigned long known = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE |
			      MIGRATE_PFN_WRITE | MIGRATE_PFN_COMPOUND;

	KUNIT_EXPECT_EQ(test, known & MIGRATE_PFN_HERE, 0UL);
	KUNIT_EXPECT_EQ(test, known & MIGRATE_PFN_OFF_LRU, 0UL);
	KUNIT_EXPECT_LT(test, (MIGRATE_PFN_HERE | MIGRATE_PFN_OFF_LRU) >>
			      MIGRATE_PFN_SHIFT, 1UL);
}

/* What is selected */

static const unsigned long selections[] = {
	[MIGRATE_SYSTEM_MEMORY]		= MIGRATE_VMA_SELECT_SYSTEM,
	[MIGRATE_PRIVATE_MEMORY]	= MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
	[MIGRATE_COHERENT_MEMORY]	= MIGRATE_VMA_SELECT_DEVICE_COHERENT,
};

static void each_kind_is_selected_by_its_flag(struct kunit *test)
{
	unsigned int memory, by;

	for (memory = 0; memory < ARRAY_SIZE(selections); memory++)
		for (by = 0; by < ARRAY_SIZE(selections); by++) {
			struct migrate_facts facts = {
				.memory = memory,
				.owned = true,
				.anon = true,
			};

			KUNIT_EXPECT_EQ(test,
					migrate_refuses(selections[by], &facts),
					memory == by ? MIGRATE_NOT_REFUSED :
						       MIGRATE_NOT_SELECTED);
		}
}

static void other_memory_never_is(struct kunit *test)
{
	struct migrate_facts facts = {
		.memory = MIGRATE_OTHER_MEMORY,
		.owned = true,
		.anon = true,
	};

	KUNIT_EXPECT_EQ(test, migrate_refuses(~0UL, &facts),
			MIGRATE_NOT_MOVABLE);
}

static void device_memory_is_the_owners(struct kunit *test)
{
	struct migrate_facts facts = {
		.memory = MIGRATE_PRIVATE_MEMORY,
		.anon = true,
	};

	KUNIT_EXPECT_EQ(test, migrate_refuses(~0UL, &facts), MIGRATE_NOT_OWNED);
	facts.memory = MIGRATE_COHERENT_MEMORY;
	KUNIT_EXPECT_EQ(test, migrate_refuses(~0UL, &facts), MIGRATE_NOT_OWNED);
	facts.memory = MIGRATE_SYSTEM_MEMORY;
	KUNIT_EXPECT_EQ(test, migrate_refuses(~0UL, &facts),
			MIGRATE_NOT_REFUSED);
}

static void page_cache_stays_out_of_devices(struct kunit *test)
{
	struct migrate_facts facts = { .memory = MIGRATE_SYSTEM_MEMORY };

	KUNIT_EXPECT_EQ(test,
			migrate_refuses(MIGRATE_VMA_SELECT_SYSTEM, &facts),
			MIGRATE_NOT_REFUSED);
	KUNIT_EXPECT_EQ(test,
			migrate_refuses(MIGRATE_VMA_SELECT_SYSTEM |
					MIGRATE_VMA_TO_DEVICE, &facts),
			MIGRATE_NOT_FOR_DEVICES);
	facts.anon = true;
	KUNIT_EXPECT_EQ(test,
			migrate_refuses(MIGRATE_VMA_SELECT_SYSTEM |
					MIGRATE_VMA_TO_DEVICE, &facts),
			MIGRATE_NOT_REFUSED);
}

static void what_is_lost_stays(struct kunit *test)
{
	struct migrate_facts facts = {
		.memory = MIGRATE_SYSTEM_MEMORY,
		.anon = true,
		.lost = true,
	};

	KUNIT_EXPECT_EQ(test,
			migrate_refuses(MIGRATE_VMA_SELECT_SYSTEM, &facts),
			MIGRATE_NOT_MOVABLE);
}

static struct kunit_case migrate_cases[] = {
	KUNIT_CASE(states_are_told_apart),
	KUNIT_CASE(only_the_drawn_ways_are_open),
	KUNIT_CASE(what_cannot_move_is_kept),
	KUNIT_CASE(parts_inherit_all_flags_but_one),
	KUNIT_CASE(private_bits_are_nobody_elses),
	KUNIT_CASE(each_kind_is_selected_by_its_flag),
	KUNIT_CASE(other_memory_never_is),
	KUNIT_CASE(device_memory_is_the_owners),
	KUNIT_CASE(page_cache_stays_out_of_devices),
	KUNIT_CASE(what_is_lost_stays),
	{}
};

static struct kunit_suite migrate_suite = {
	.name = "hmm_migrate",
	.test_cases = migrate_cases,
};

kunit_test_suite(migrate_suite);
