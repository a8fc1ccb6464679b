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

/* Nothing in flight, but that slots may be used by what overlaps nothing */
static struct mmu_inflight *fresh_inflight(unsigned long used)
{
	static struct mmu_inflight inflight;	/* too large for a stack */
	unsigned int i;

	memset(&inflight, 0, sizeof(inflight));
	inflight.used = used;
	for (i = 0; i < MMU_SLOTS; i++)
		inflight.slots[i].first = ~0UL;
	return &inflight;
}

/* Is one waited for that overlaps? Returns at once whether the wait is over. */
static bool is_waited_for(struct mmu_inflight *inflight, unsigned long first,
			  unsigned long last)
{
	struct mmu_inflight_wait wait;

	mmu_inflight_wait_enter(&wait, inflight, first, last);
	return !mmu_inflight_wait_over(&wait, inflight);
}

static void nothing_in_flight_is_not_waited_for(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(0);

	KUNIT_EXPECT_TRUE(test, mmu_inflight_none(inflight));
	KUNIT_EXPECT_FALSE(test, is_waited_for(inflight, 0, ~0UL));
}

static void invalidations_overlap_where_they_touch(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(0);
	unsigned int slot = mmu_inflight_start(inflight, 10, 20);

	KUNIT_EXPECT_FALSE(test, mmu_inflight_none(inflight));
	KUNIT_EXPECT_FALSE(test, is_waited_for(inflight, 0, 9));
	KUNIT_EXPECT_TRUE(test, is_waited_for(inflight, 0, 10));
	KUNIT_EXPECT_TRUE(test, is_waited_for(inflight, 15, 15));
	KUNIT_EXPECT_TRUE(test, is_waited_for(inflight, 0, ~0UL));
	KUNIT_EXPECT_TRUE(test, is_waited_for(inflight, 20, 30));
	KUNIT_EXPECT_FALSE(test, is_waited_for(inflight, 21, ~0UL));
	mmu_inflight_end(inflight, slot);
	KUNIT_EXPECT_FALSE(test, is_waited_for(inflight, 0, ~0UL));
}

static void invalidations_reach_both_ends(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(0);

	mmu_inflight_start(inflight, 0, ~0UL);
	KUNIT_EXPECT_TRUE(test, is_waited_for(inflight, 0, 0));
	KUNIT_EXPECT_TRUE(test, is_waited_for(inflight, ~0UL, ~0UL));
}

static void invalidations_end_in_any_order(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(0);
	unsigned int slot[3], i;

	for (i = 0; i < 3; i++)
		slot[i] = mmu_inflight_start(inflight, i * 10, i * 10 + 5);
	mmu_inflight_end(inflight, slot[1]);
	KUNIT_EXPECT_TRUE(test, is_waited_for(inflight, 5, 5));
	KUNIT_EXPECT_FALSE(test, is_waited_for(inflight, 6, 19));
	KUNIT_EXPECT_TRUE(test, is_waited_for(inflight, 20, 20));
	mmu_inflight_end(inflight, slot[0]);
	mmu_inflight_end(inflight, slot[2]);
	KUNIT_EXPECT_TRUE(test, mmu_inflight_none(inflight));
}

static void later_invalidations_do_not_prolong_a_wait(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(0);
	struct mmu_inflight_wait wait;
	unsigned int slot = mmu_inflight_start(inflight, 0, 5);

	mmu_inflight_wait_enter(&wait, inflight, 0, 9);
	mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_FALSE(test, mmu_inflight_wait_over(&wait, inflight));
	mmu_inflight_end(inflight, slot);
	/* It is given the slot that is free again. */
	KUNIT_EXPECT_EQ(test, mmu_inflight_start(inflight, 0, 5), slot);
	KUNIT_EXPECT_TRUE(test, mmu_inflight_wait_over(&wait, inflight));
}

static void invalidations_without_a_slot_overlap_everything(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(~0UL);
	unsigned int slot;

	KUNIT_EXPECT_FALSE(test, is_waited_for(inflight, 0, 9));
	slot = mmu_inflight_start(inflight, 10, 20);
	KUNIT_EXPECT_TRUE(test, slot >= MMU_SLOTS);
	KUNIT_EXPECT_TRUE(test, is_waited_for(inflight, 0, 9));
	mmu_inflight_end(inflight, slot);
	KUNIT_EXPECT_FALSE(test, is_waited_for(inflight, 0, 9));
	KUNIT_EXPECT_EQ(test, inflight->untracked, 0U);
}

/* There always is one without a slot, and no wait lasts for ever. */
static void a_wait_for_a_batch_ends_in_a_storm(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(~0UL);
	struct mmu_inflight_wait wait[2];
	unsigned int old, slot;

	old = mmu_inflight_start(inflight, 0, 0);
	mmu_inflight_wait_enter(&wait[0], inflight, 0, 9);
	KUNIT_EXPECT_FALSE(test, mmu_inflight_wait_over(&wait[0], inflight));
	/* The batch is closed: this one is in the next. */
	slot = mmu_inflight_start(inflight, 0, 0);
	mmu_inflight_wait_enter(&wait[1], inflight, 0, 9);
	KUNIT_EXPECT_FALSE(test, mmu_inflight_wait_over(&wait[1], inflight));
	mmu_inflight_end(inflight, old);
	KUNIT_EXPECT_TRUE(test, mmu_inflight_wait_over(&wait[0], inflight));
	KUNIT_EXPECT_FALSE(test, mmu_inflight_wait_over(&wait[1], inflight));
	old = slot;
	slot = mmu_inflight_start(inflight, 0, 0);
	mmu_inflight_end(inflight, old);
	KUNIT_EXPECT_TRUE(test, mmu_inflight_wait_over(&wait[1], inflight));
	mmu_inflight_end(inflight, slot);
	KUNIT_EXPECT_EQ(test, inflight->untracked, 0U);
	KUNIT_EXPECT_FALSE(test, is_waited_for(inflight, 0, 9));
}

static void an_invalidation_calls_older_subscriptions(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(0);
	struct mmu_inflight_wait wait;
	unsigned int old, young;

	KUNIT_EXPECT_EQ(test, mmu_inflight_register(inflight, &wait), 1U);
	old = mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_EQ(test, mmu_inflight_register(inflight, &wait), 2U);
	young = mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_EQ(test, mmu_inflight_registered(inflight, old), 1U);
	KUNIT_EXPECT_EQ(test, mmu_inflight_registered(inflight, young), 2U);
	inflight->registered = ~0U;
	KUNIT_EXPECT_EQ(test, mmu_inflight_register(inflight, &wait), 1U);
}

/* Those in a batch have one number for all, from when the batch began. */
static void a_subscription_waits_for_who_joins_a_batch(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(~0UL);
	struct mmu_inflight_wait wait;
	unsigned int old, joins, young;

	old = mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_EQ(test, mmu_inflight_register(inflight, &wait), 1U);
	mmu_inflight_end(inflight, old);
	/* Nobody is in the batch, and nobody has closed it. */
	joins = mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_EQ(test, mmu_inflight_registered(inflight, joins), 0U);
	KUNIT_EXPECT_FALSE(test, mmu_inflight_wait_over(&wait, inflight));
	young = mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_EQ(test, mmu_inflight_registered(inflight, young), 1U);
	KUNIT_EXPECT_EQ(test, mmu_inflight_registered(inflight, joins), 0U);
	mmu_inflight_end(inflight, joins);
	/* Those that were used up beforehand never end. */
	wait.slots = 0;
	KUNIT_EXPECT_TRUE(test, mmu_inflight_wait_over(&wait, inflight));
}

/* Who calls the subscription may wait for the subscriber. */
static void a_subscription_waits_for_nobody_who_calls_it(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(~0UL);
	struct mmu_inflight_wait wait, reader;
	unsigned int closed, joins, young;

	/* An empty batch begins anew. */
	KUNIT_EXPECT_EQ(test, mmu_inflight_register(inflight, &wait), 1U);
	KUNIT_EXPECT_FALSE(test, wait.batches);
	closed = mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_EQ(test, mmu_inflight_registered(inflight, closed), 1U);
	/* It cannot, while the one before is not over. */
	mmu_inflight_wait_enter(&reader, inflight, 0, 5);
	KUNIT_EXPECT_FALSE(test, mmu_inflight_wait_over(&reader, inflight));
	KUNIT_EXPECT_EQ(test, mmu_inflight_register(inflight, &wait), 2U);
	joins = mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_EQ(test, mmu_inflight_registered(inflight, joins), 1U);
	mmu_inflight_end(inflight, closed);
	/* Those that were used up beforehand never end. */
	wait.slots = 0;
	KUNIT_EXPECT_FALSE(test, mmu_inflight_wait_over(&wait, inflight));
	young = mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_EQ(test, mmu_inflight_registered(inflight, young), 2U);
	mmu_inflight_end(inflight, joins);
	KUNIT_EXPECT_TRUE(test, mmu_inflight_wait_over(&wait, inflight));
}

static void a_later_sequence_is_not_given_to_a_reader(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(0);
	unsigned int slot;

	/* Those that were waited for have called back meanwhile. */
	KUNIT_EXPECT_EQ(test, mmu_seq_after_wait(inflight, 0, 9, 7, 5), 7UL);
	/* A later one may have. */
	slot = mmu_inflight_start(inflight, 9, 20);
	KUNIT_EXPECT_EQ(test, mmu_seq_after_wait(inflight, 0, 9, 7, 5), 5UL);
	KUNIT_EXPECT_EQ(test, mmu_seq_after_wait(inflight, 0, 8, 7, 5), 7UL);
	mmu_inflight_end(inflight, slot);
	/* One without a slot overlaps. */
	inflight = fresh_inflight(~0UL);
	mmu_inflight_start(inflight, 20, 20);
	KUNIT_EXPECT_EQ(test, mmu_seq_after_wait(inflight, 0, 8, 7, 5), 5UL);
}

static struct mmu_interval_notifier called[2];

/* Two subscriptions that were chosen */
static struct mmu_calls two_calls(void)
{
	return (struct mmu_calls){ .nr = 2, .subs = { &called[0], &called[1] } };
}

static bool goes_on_to(struct mmu_calls *calls, unsigned int nr)
{
	struct mmu_interval_notifier *sub = READ_ONCE(calls->subs[nr]);

	mmu_calls_advance(calls, sub);
	return sub == &called[nr];
}

static void calls_come_in_order(struct kunit *test)
{
	struct mmu_calls calls = two_calls();

	KUNIT_EXPECT_FALSE(test, mmu_calls_at(&calls, &called[0]));
	KUNIT_EXPECT_TRUE(test, goes_on_to(&calls, 0));
	KUNIT_EXPECT_TRUE(test, mmu_calls_at(&calls, &called[0]));
	KUNIT_EXPECT_FALSE(test, mmu_calls_at(&calls, &called[1]));
	KUNIT_EXPECT_TRUE(test, goes_on_to(&calls, 1));
	KUNIT_EXPECT_FALSE(test, mmu_calls_at(&calls, &called[0]));
	KUNIT_EXPECT_TRUE(test, mmu_calls_at(&calls, &called[1]));
	mmu_calls_advance(&calls, NULL);
	KUNIT_EXPECT_FALSE(test, mmu_calls_at(&calls, &called[1]));
	KUNIT_EXPECT_FALSE(test, calls.wanted);
}

static void what_is_crossed_out_is_not_called(struct kunit *test)
{
	struct mmu_calls calls = two_calls();

	KUNIT_EXPECT_TRUE(test, goes_on_to(&calls, 0));
	mmu_calls_clear(&calls, &called[1]);
	KUNIT_EXPECT_FALSE(test, goes_on_to(&calls, 1));
	KUNIT_EXPECT_TRUE(test, calls.wanted);
	KUNIT_EXPECT_FALSE(test, mmu_calls_at(&calls, &called[1]));
}

static void a_removal_finds_what_is_being_called(struct kunit *test)
{
	struct mmu_calls calls = two_calls();

	KUNIT_EXPECT_TRUE(test, goes_on_to(&calls, 0));
	mmu_calls_clear(&calls, &called[0]);
	KUNIT_EXPECT_TRUE(test, mmu_calls_at(&calls, &called[0]));
	KUNIT_EXPECT_TRUE(test, goes_on_to(&calls, 1));
	/* It waits, and is woken. */
	KUNIT_EXPECT_TRUE(test, calls.wanted);
	KUNIT_EXPECT_FALSE(test, mmu_calls_at(&calls, &called[0]));
}

/* The oracle */

static const char *const phase_names[] = {
	[SIM_IDLE] = "takes up something",
	[SIM_NEXT] = "reads which subscription is next",
	[SIM_GO_ON] = "goes on to it",
	[SIM_LOOK] = "looks whether it was removed",
	[SIM_CALL] = "begins a callback",
	[SIM_SET_SEQ] = "sets the sequence",
	[SIM_TAKE] = "takes from the device",
	[SIM_RETURN] = "ends a callback",
	[SIM_END_CALLS] = "has called all that it chose",
	[SIM_SECOND] = "begins the next second pass, if any",
	[SIM_SECOND_TAKE] = "takes from the device in a second pass",
	[SIM_SECOND_END] = "ends a second pass",
	[SIM_CHANGE] = "changes the last entry",
	[SIM_END] = "ends",
	[SIM_ENTER] = "begins to wait",
	[SIM_BEGIN] = "has begun to read",
	[SIM_READ] = "reads the last entry",
	[SIM_LOCK] = "takes the driver's lock",
	[SIM_CHECK] = "checks for a collision",
	[SIM_COMMIT] = "programs the device",
	[SIM_WAIT_IDLE] = "has removed a subscription",
	[SIM_TRIM] = "trims the device",
	[SIM_ENTER_RESIZE] = "begins to wait for a resize",
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
NOTICES(an_invalidation_that_starts_late, SIM_INVALIDATION_STARTS_LATE)
NOTICES(an_invalidation_that_ends_early, SIM_INVALIDATION_ENDS_EARLY)
NOTICES(a_reader_that_waits_for_later_ones, SIM_READER_WAITS_FOR_LATER)
NOTICES(a_reader_that_ignores_batches, SIM_READER_IGNORES_BATCHES)
NOTICES(a_reader_that_takes_the_newest_seq, SIM_READER_TAKES_NEWEST_SEQ)
NOTICES(a_seq_that_is_used_twice, SIM_SEQ_IS_USED_TWICE)
NOTICES(a_next_one_that_is_let_go, SIM_NEXT_IS_LET_GO)
NOTICES(a_removal_that_does_not_wait, SIM_REMOVAL_DOES_NOT_WAIT)
NOTICES(an_insert_that_takes_the_last_seq, SIM_INSERT_TAKES_THE_LAST_SEQ)
NOTICES(a_resize_that_does_not_wait, SIM_RESIZE_DOES_NOT_WAIT)
NOTICES(a_resize_that_keeps_the_seq, SIM_RESIZE_KEEPS_SEQ)
NOTICES(a_resize_that_does_not_restart, SIM_RESIZE_DOES_NOT_RESTART)
NOTICES(a_restart_that_keeps_the_seq, SIM_RESTART_KEEPS_SEQ)
NOTICES(a_call_of_what_was_crossed_out, SIM_CALL_DOES_NOT_LOOK_ANEW)
NOTICES(a_removal_that_is_not_woken, SIM_REMOVAL_IS_NOT_WOKEN)
NOTICES(a_second_pass_that_is_not_counted, SIM_SECOND_PASS_IS_NOT_COUNTED)
NOTICES(a_resize_that_trims_late, SIM_RESIZE_TRIMS_LATE)
NOTICES(a_resize_that_trims_but_admits, SIM_RESIZE_TRIMS_ONCE)

static struct kunit_case mmu_interval_cases[] = {
	KUNIT_CASE(sequences_are_odd_and_rise),
	KUNIT_CASE(sequences_stay_odd_when_they_wrap),
	KUNIT_CASE(nothing_in_flight_is_not_waited_for),
	KUNIT_CASE(invalidations_overlap_where_they_touch),
	KUNIT_CASE(invalidations_reach_both_ends),
	KUNIT_CASE(invalidations_end_in_any_order),
	KUNIT_CASE(later_invalidations_do_not_prolong_a_wait),
	KUNIT_CASE(invalidations_without_a_slot_overlap_everything),
	KUNIT_CASE(a_wait_for_a_batch_ends_in_a_storm),
	KUNIT_CASE(an_invalidation_calls_older_subscriptions),
	KUNIT_CASE(a_subscription_waits_for_who_joins_a_batch),
	KUNIT_CASE(a_subscription_waits_for_nobody_who_calls_it),
	KUNIT_CASE(a_later_sequence_is_not_given_to_a_reader),
	KUNIT_CASE(calls_come_in_order),
	KUNIT_CASE(what_is_crossed_out_is_not_called),
	KUNIT_CASE(a_removal_finds_what_is_being_called),
	KUNIT_CASE(oracle_finds_nothing),
	KUNIT_CASE(oracle_notices_a_reader_that_does_not_wait),
	KUNIT_CASE(oracle_notices_a_reader_that_does_not_check),
	KUNIT_CASE(oracle_notices_a_reader_that_waits_for_all),
	KUNIT_CASE(oracle_notices_a_callback_that_sets_no_seq),
	KUNIT_CASE(oracle_notices_a_callback_on_a_removed_one),
	KUNIT_CASE(oracle_notices_an_invalidation_that_starts_late),
	KUNIT_CASE(oracle_notices_an_invalidation_that_ends_early),
	KUNIT_CASE(oracle_notices_a_reader_that_waits_for_later_ones),
	KUNIT_CASE(oracle_notices_a_reader_that_ignores_batches),
	KUNIT_CASE(oracle_notices_a_reader_that_takes_the_newest_seq),
	KUNIT_CASE(oracle_notices_a_seq_that_is_used_twice),
	KUNIT_CASE(oracle_notices_a_next_one_that_is_let_go),
	KUNIT_CASE(oracle_notices_a_removal_that_does_not_wait),
	KUNIT_CASE(oracle_notices_an_insert_that_takes_the_last_seq),
	KUNIT_CASE(oracle_notices_a_resize_that_does_not_wait),
	KUNIT_CASE(oracle_notices_a_resize_that_keeps_the_seq),
	KUNIT_CASE(oracle_notices_a_resize_that_does_not_restart),
	KUNIT_CASE(oracle_notices_a_restart_that_keeps_the_seq),
	KUNIT_CASE(oracle_notices_a_call_of_what_was_crossed_out),
	KUNIT_CASE(oracle_notices_a_removal_that_is_not_woken),
	KUNIT_CASE(oracle_notices_a_second_pass_that_is_not_counted),
	KUNIT_CASE(oracle_notices_a_resize_that_trims_late),
	KUNIT_CASE(oracle_notices_a_resize_that_trims_but_admits),
	{}
};

static struct kunit_suite mmu_interval_suite = {
	.name = "mmu_interval",
	.test_cases = mmu_interval_cases,
};

kunit_test_suite(mmu_interval_suite);

MODULE_DESCRIPTION("KUnit tests for interval subscriptions of MMU notifiers");
MODULE_LICENSE("GPL");
