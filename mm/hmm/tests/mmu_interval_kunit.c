// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state machine of interval subscriptions: each function on its own, and
 * all of them as random threads use them, see mmu_interval_sim.h.
 */
#include <kunit/test.h>
#include <linux/module.h>

#include "mmu_interval_sim.h"

#define NR_SEEDS	500
#define NR_SEEDS_AT_MOST	4000	/* to meet what is rare */
#define NR_TURNS	4000

static void sequences_are_odd_and_rise(struct kunit *test)
{
	unsigned long seq = MMU_FIRST_SEQ, last = seq;
	unsigned int i;

	KUNIT_EXPECT_TRUE(test, seq & 1);
	for (i = 0; i < 100; i++) {
		unsigned long next = mmu_seq_next(&seq);

		KUNIT_EXPECT_EQ(test, next, seq);
		KUNIT_EXPECT_TRUE(test, next & 1);
		KUNIT_EXPECT_LT(test, last, next);
		last = next;
	}
}

/* Of 32 bits there is an end. Odd they stay. */
static void sequences_stay_odd_when_they_wrap(struct kunit *test)
{
	unsigned long seq = ~0UL;

	KUNIT_EXPECT_EQ(test, mmu_seq_next(&seq), 1UL);
}

static void nothing_in_flight_overlaps_nothing(struct kunit *test)
{
	struct list_head flights;

	INIT_LIST_HEAD(&flights);
	KUNIT_EXPECT_FALSE(test, mmu_flights_overlap(&flights, 0, ~0UL));
}

static void flights_overlap_where_they_touch(struct kunit *test)
{
	struct mmu_flight flight;
	struct list_head flights;

	INIT_LIST_HEAD(&flights);
	mmu_flight_begin(&flights, &flight, 1, 10, 20);
	KUNIT_EXPECT_FALSE(test, mmu_flights_overlap(&flights, 0, 9));
	KUNIT_EXPECT_TRUE(test, mmu_flights_overlap(&flights, 0, 10));
	KUNIT_EXPECT_TRUE(test, mmu_flights_overlap(&flights, 15, 15));
	KUNIT_EXPECT_TRUE(test, mmu_flights_overlap(&flights, 0, ~0UL));
	KUNIT_EXPECT_TRUE(test, mmu_flights_overlap(&flights, 20, 30));
	KUNIT_EXPECT_FALSE(test, mmu_flights_overlap(&flights, 21, ~0UL));
	mmu_flight_end(&flight);
	KUNIT_EXPECT_FALSE(test, mmu_flights_overlap(&flights, 0, ~0UL));
}

static void flights_reach_both_ends(struct kunit *test)
{
	struct mmu_flight flight;
	struct list_head flights;

	INIT_LIST_HEAD(&flights);
	mmu_flight_begin(&flights, &flight, 1, 0, ~0UL);
	KUNIT_EXPECT_TRUE(test, mmu_flights_overlap(&flights, 0, 0));
	KUNIT_EXPECT_TRUE(test, mmu_flights_overlap(&flights, ~0UL, ~0UL));
	mmu_flight_end(&flight);
}

static void flights_end_in_any_order(struct kunit *test)
{
	struct mmu_flight flight[3];
	struct list_head flights;
	unsigned int i;

	INIT_LIST_HEAD(&flights);
	for (i = 0; i < 3; i++)
		mmu_flight_begin(&flights, &flight[i], i + 1, i * 10,
				 i * 10 + 5);
	KUNIT_EXPECT_FALSE(test, mmu_flights_up_to(&flights, 0));
	KUNIT_EXPECT_TRUE(test, mmu_flights_up_to(&flights, 1));
	mmu_flight_end(&flight[1]);
	KUNIT_EXPECT_TRUE(test, mmu_flights_overlap(&flights, 5, 5));
	KUNIT_EXPECT_FALSE(test, mmu_flights_overlap(&flights, 6, 19));
	KUNIT_EXPECT_TRUE(test, mmu_flights_overlap(&flights, 20, 20));
	mmu_flight_end(&flight[0]);
	KUNIT_EXPECT_FALSE(test, mmu_flights_up_to(&flights, 2));
	KUNIT_EXPECT_TRUE(test, mmu_flights_up_to(&flights, 3));
	mmu_flight_end(&flight[2]);
	KUNIT_EXPECT_FALSE(test, mmu_flights_up_to(&flights, ~0UL));
	KUNIT_EXPECT_TRUE(test, list_empty(&flights));
}

static void removal_without_callbacks_is_at_once(struct kunit *test)
{
	struct mmu_interval_state state = {};

	KUNIT_EXPECT_TRUE(test, mmu_callback_begin(&state));
	KUNIT_EXPECT_FALSE(test, mmu_callback_end(&state));
	KUNIT_EXPECT_TRUE(test, mmu_state_remove(&state));
	KUNIT_EXPECT_FALSE(test, mmu_callback_begin(&state));
	KUNIT_EXPECT_EQ(test, state.callbacks, 0U);
}

static void the_last_callback_completes_a_removal(struct kunit *test)
{
	struct mmu_interval_state state = {};

	KUNIT_EXPECT_TRUE(test, mmu_callback_begin(&state));
	KUNIT_EXPECT_TRUE(test, mmu_callback_begin(&state));
	KUNIT_EXPECT_FALSE(test, mmu_state_remove(&state));
	KUNIT_EXPECT_FALSE(test, mmu_callback_begin(&state));
	KUNIT_EXPECT_FALSE(test, mmu_callback_end(&state));
	KUNIT_EXPECT_FALSE(test, mmu_callback_begin(&state));
	KUNIT_EXPECT_TRUE(test, mmu_callback_end(&state));
}

/* The oracle */

static const char *const phase_names[] = {
	[SIM_IDLE] = "takes up something",
	[SIM_CALL] = "begins a callback",
	[SIM_SET_SEQ] = "sets the sequence",
	[SIM_TAKE] = "takes from the device",
	[SIM_RETURN] = "ends a callback",
	[SIM_END_CALLS] = "goes to the next subscription",
	[SIM_SECOND] = "begins the next second pass, if any",
	[SIM_SECOND_TAKE] = "takes from the device in a second pass",
	[SIM_SECOND_END] = "ends a second pass",
	[SIM_CHANGE] = "changes the last entry",
	[SIM_LAND] = "ends",
	[SIM_BEGIN] = "has begun to read",
	[SIM_READ] = "reads the last entry",
	[SIM_LOCK] = "takes the driver's lock",
	[SIM_CHECK] = "checks for a collision",
	[SIM_COMMIT] = "programs the device",
	[SIM_WAIT_OUT] = "has removed a subscription",
	[SIM_TRIM] = "trims the device",
	[SIM_RESIZE] = "has resized a subscription",
};

static struct sim sim;	/* too large for a stack */

static const char *role_of(unsigned int thread)
{
	if (thread < SIM_INVALIDATORS)
		return "invalidation";
	return thread < SIM_INVALIDATORS + SIM_READERS ? "reader" : "changer";
}

static void tell(struct kunit *test, unsigned int seed)
{
	unsigned int i = sim.nr_steps > SIM_TRACE ? sim.nr_steps - SIM_TRACE : 0;

	kunit_info(test, "seed %u, step %u: %s", seed, sim.nr_steps, sim.wrong);
	for (; i < sim.nr_steps; i++) {
		const struct sim_step *step = &sim.trace[i % SIM_TRACE];

		kunit_info(test, "  %s %u %s", role_of(step->thread),
			   step->thread, phase_names[step->phase]);
	}
}

static void oracle_finds_nothing(struct kunit *test)
{
	unsigned int seed;

	for (seed = 1; seed <= NR_SEEDS; seed++) {
		bool right = sim_run(&sim, SIM_INTACT, seed, NR_TURNS);

		KUNIT_EXPECT_TRUE(test, right);
		if (!right) {
			tell(test, seed);
			return;
		}
	}
}

/* A broken rule must be noticed, most of them by the first seeds. */
static void notices(struct kunit *test, enum sim_mutation mutation)
{
	bool right = true;
	unsigned int seed;

	for (seed = 1; right && seed <= NR_SEEDS_AT_MOST; seed++)
		right = sim_run(&sim, mutation, seed, NR_TURNS);
	KUNIT_EXPECT_FALSE(test, right);
}

#define NOTICES(name, mutation)						\
static void oracle_notices_##name(struct kunit *test)			\
{									\
	notices(test, mutation);					\
}

NOTICES(a_reader_that_does_not_wait, SIM_READER_DOES_NOT_WAIT)
NOTICES(a_reader_that_does_not_check, SIM_READER_DOES_NOT_CHECK)
NOTICES(a_reader_that_waits_for_all, SIM_READER_WAITS_FOR_ALL)
NOTICES(a_callback_that_sets_no_seq, SIM_CALLBACK_SETS_NO_SEQ)
NOTICES(a_callback_on_a_removed_one, SIM_CALLBACK_ON_REMOVED)
NOTICES(a_flight_that_begins_late, SIM_FLIGHT_BEGINS_LATE)
NOTICES(a_flight_that_ends_early, SIM_FLIGHT_ENDS_EARLY)
NOTICES(a_seq_that_is_used_twice, SIM_SEQ_IS_USED_TWICE)
NOTICES(a_cursor_that_is_let_go, SIM_CURSOR_IS_LET_GO)
NOTICES(a_removal_that_does_not_wait, SIM_REMOVAL_DOES_NOT_WAIT)
NOTICES(an_insert_that_takes_the_last_seq, SIM_INSERT_TAKES_THE_LAST_SEQ)
NOTICES(a_resize_that_does_not_wait, SIM_RESIZE_DOES_NOT_WAIT)
NOTICES(a_resize_that_keeps_the_seq, SIM_RESIZE_KEEPS_SEQ)
NOTICES(a_resize_that_trims_late, SIM_RESIZE_TRIMS_LATE)
NOTICES(a_resize_that_trims_but_admits, SIM_RESIZE_TRIMS_ONCE)

static struct kunit_case mmu_interval_cases[] = {
	KUNIT_CASE(sequences_are_odd_and_rise),
	KUNIT_CASE(sequences_stay_odd_when_they_wrap),
	KUNIT_CASE(nothing_in_flight_overlaps_nothing),
	KUNIT_CASE(flights_overlap_where_they_touch),
	KUNIT_CASE(flights_reach_both_ends),
	KUNIT_CASE(flights_end_in_any_order),
	KUNIT_CASE(removal_without_callbacks_is_at_once),
	KUNIT_CASE(the_last_callback_completes_a_removal),
	KUNIT_CASE(oracle_finds_nothing),
	KUNIT_CASE(oracle_notices_a_reader_that_does_not_wait),
	KUNIT_CASE(oracle_notices_a_reader_that_does_not_check),
	KUNIT_CASE(oracle_notices_a_reader_that_waits_for_all),
	KUNIT_CASE(oracle_notices_a_callback_that_sets_no_seq),
	KUNIT_CASE(oracle_notices_a_callback_on_a_removed_one),
	KUNIT_CASE(oracle_notices_a_flight_that_begins_late),
	KUNIT_CASE(oracle_notices_a_flight_that_ends_early),
	KUNIT_CASE(oracle_notices_a_seq_that_is_used_twice),
	KUNIT_CASE(oracle_notices_a_cursor_that_is_let_go),
	KUNIT_CASE(oracle_notices_a_removal_that_does_not_wait),
	KUNIT_CASE(oracle_notices_an_insert_that_takes_the_last_seq),
	KUNIT_CASE(oracle_notices_a_resize_that_does_not_wait),
	KUNIT_CASE(oracle_notices_a_resize_that_keeps_the_seq),
	KUNIT_CASE(oracle_notices_a_resize_that_trims_late),
	KUNIT_CASE(oracle_notices_a_resize_that_trims_but_admits),
	{}
};

static struct kunit_suite mmu_interval_suite = {
	.name = "mmu_interval",
	.test_cases = mmu_interval_cases,
};

kunit_test_suite(mmu_interval_suite);
