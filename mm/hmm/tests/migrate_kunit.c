// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The states of an entry, and which pages are selected, compared with tables.
 */
#include <kunit/test.h>
#include <linux/migrate_device.h>

#include "../migrate_entry.h"
#include "../migrate_policy.h"

#define PFN	0x12345UL
#define MARKS	(MIGRATE_MARK_ISOLATED | MIGRATE_MARK_SOLE)
#define STATES	(MIGRATE_ENTRY_RESTORED + 1)

/* An entry in each state, in the order of enum migrate_state */
static unsigned long example_of(unsigned int state)
{
	static const unsigned long flags[] = {
		[MIGRATE_ENTRY_SKIPPED]	 = 0,
		[MIGRATE_ENTRY_HOLE]	 = MIGRATE_PFN_MIGRATE,
		[MIGRATE_ENTRY_LOCKED]	 = MIGRATE_PFN_MIGRATE |
					   MIGRATE_PFN_WRITE,
		[MIGRATE_ENTRY_RESTORED] = MIGRATE_PFN_WRITE,
	};

	if (state < MIGRATE_ENTRY_LOCKED)
		return flags[state];
	return migrate_pfn(PFN) | flags[state];
}

static void states_are_decoded(struct kunit *test)
{
	unsigned int state;

	for (state = 0; state < STATES; state++)
		KUNIT_EXPECT_EQ(test, migrate_state_of(example_of(state)),
				state);
}

/* A row for each stage and state: the states that may follow */
#define SKIPPED		BIT(MIGRATE_ENTRY_SKIPPED)
#define HOLE		BIT(MIGRATE_ENTRY_HOLE)
#define LOCKED		BIT(MIGRATE_ENTRY_LOCKED)
#define RESTORED	BIT(MIGRATE_ENTRY_RESTORED)

static const unsigned long successors[3][STATES] = {
	[MIGRATE_COLLECT] = { SKIPPED | HOLE | LOCKED | RESTORED, HOLE, LOCKED,
			      RESTORED },
	[MIGRATE_UNMAP] = { SKIPPED | LOCKED, HOLE, LOCKED | RESTORED,
			    RESTORED | SKIPPED },
	[MIGRATE_INSTALL] = { SKIPPED | HOLE | LOCKED, HOLE | SKIPPED,
			      LOCKED | RESTORED, RESTORED },
};

static void only_drawn_transitions_are_valid(struct kunit *test)
{
	unsigned int stage, from, to;

	for (stage = 0; stage < ARRAY_SIZE(successors); stage++)
		for (from = 0; from < STATES; from++)
			for (to = 0; to < STATES; to++)
				KUNIT_EXPECT_EQ(test,
						migrate_may_become(stage, from,
								   to),
						!!(successors[stage][from] &
						   BIT(to)));
}

static void pages_that_cannot_migrate_are_restored(struct kunit *test)
{
	unsigned long entry = example_of(MIGRATE_ENTRY_LOCKED) |
			      MIGRATE_PFN_COMPOUND;

	entry = migrate_entry_mark(entry, MIGRATE_MARK_SOLE);
	entry = migrate_entry_mark(entry, MIGRATE_MARK_ISOLATED);

	KUNIT_EXPECT_EQ(test, migrate_entry_cancel(entry),
			entry & ~MIGRATE_PFN_MIGRATE);
	KUNIT_EXPECT_EQ(test, migrate_state_of(migrate_entry_cancel(entry)),
			MIGRATE_ENTRY_RESTORED);
	/* Nothing of a hole remains. */
	entry = example_of(MIGRATE_ENTRY_HOLE) | MIGRATE_PFN_COMPOUND;
	KUNIT_EXPECT_EQ(test, migrate_entry_cancel(entry), 0UL);
}

static void parts_inherit_all_flags_but_compound(struct kunit *test)
{
	unsigned long flags = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE |
			      MIGRATE_PFN_WRITE |
			      (__force unsigned long)MARKS;
	unsigned long entry = PFN << MIGRATE_PFN_SHIFT | flags |
			      MIGRATE_PFN_COMPOUND;

	KUNIT_EXPECT_EQ(test, migrate_entry_flags(entry), flags);
}

static void marks_are_not_flags_for_drivers(struct kunit *test)
{
	unsigned long known = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE |
			      MIGRATE_PFN_WRITE | MIGRATE_PFN_COMPOUND;

	KUNIT_EXPECT_FALSE(test, migrate_entry_has(known, MARKS));
	KUNIT_EXPECT_EQ(test, migrate_entry_unmark(~0UL, MARKS) | known,
			migrate_entry_unmark(~0UL, MARKS));
	KUNIT_EXPECT_LT(test, (__force unsigned long)MARKS >> MIGRATE_PFN_SHIFT,
			1UL);
}

/* Selection */

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

static void other_memory_is_never_selected(struct kunit *test)
{
	struct migrate_facts facts = {
		.memory = MIGRATE_OTHER_MEMORY,
		.owned = true,
		.anon = true,
	};

	KUNIT_EXPECT_EQ(test, migrate_refuses(~0UL, &facts),
			MIGRATE_NOT_MOVABLE);
}

static void device_memory_needs_the_owner(struct kunit *test)
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

static void page_cache_is_refused_for_devices(struct kunit *test)
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

static void lost_pages_are_not_movable(struct kunit *test)
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
	KUNIT_CASE(states_are_decoded),
	KUNIT_CASE(only_drawn_transitions_are_valid),
	KUNIT_CASE(pages_that_cannot_migrate_are_restored),
	KUNIT_CASE(parts_inherit_all_flags_but_compound),
	KUNIT_CASE(marks_are_not_flags_for_drivers),
	KUNIT_CASE(each_kind_is_selected_by_its_flag),
	KUNIT_CASE(other_memory_is_never_selected),
	KUNIT_CASE(device_memory_needs_the_owner),
	KUNIT_CASE(page_cache_is_refused_for_devices),
	KUNIT_CASE(lost_pages_are_not_movable),
	{}
};

static struct kunit_suite migrate_suite = {
	.name = "hmm_migrate",
	.test_cases = migrate_cases,
};

kunit_test_suite(migrate_suite);
