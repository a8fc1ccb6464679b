// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state machine of interval subscriptions: each function by itself, and all
 * of them as random threads use them, see mmu_interval_sim.h.
 */
#include <kunit/test.h>
#include <linux/module.h>

#include "mmu_interval_sim.h"

#define NR_SEEDS	500
#define NR_SEEDS_AT_MOST	4000	/* for rare failures */
#define NR_TURNS	4000

static void sequences_are_odd_and_increase(struct kunit *test)
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

/* With 32 bits they wrap. */
static void sequences_stay_odd_when_they_wrap(struct kunit *test)
{
	unsigned long seq = ~0UL;

	KUNIT_EXPECT_EQ(test, mmu_seq_next(&seq), 1UL);
}

/* Nothing is in flight; invalidations with slots @used overlap nothing. */
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

/* Would a reader of this range have to wait? */
static bool must_wait_for(struct mmu_inflight *inflight, unsigned long first,
			  unsigned long last)
{
	struct mmu_inflight_wait wait;

	mmu_inflight_wait_enter(&wait, inflight, first, last);
	return !mmu_inflight_wait_over(&wait, inflight);
}

static void nothing_waits_with_nothing_in_flight(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(0);

	KUNIT_EXPECT_TRUE(test, mmu_inflight_none(inflight));
	KUNIT_EXPECT_FALSE(test, must_wait_for(inflight, 0, ~0UL));
}

static void invalidations_overlap_where_they_touch(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(0);
	unsigned int slot = mmu_inflight_start(inflight, 10, 20);

	KUNIT_EXPECT_FALSE(test, mmu_inflight_none(inflight));
	KUNIT_EXPECT_FALSE(test, must_wait_for(inflight, 0, 9));
	KUNIT_EXPECT_TRUE(test, must_wait_for(inflight, 0, 10));
	KUNIT_EXPECT_TRUE(test, must_wait_for(inflight, 15, 15));
	KUNIT_EXPECT_TRUE(test, must_wait_for(inflight, 0, ~0UL));
	KUNIT_EXPECT_TRUE(test, must_wait_for(inflight, 20, 30));
	KUNIT_EXPECT_FALSE(test, must_wait_for(inflight, 21, ~0UL));
	mmu_inflight_end(inflight, slot);
	KUNIT_EXPECT_FALSE(test, must_wait_for(inflight, 0, ~0UL));
}

static void invalidations_reach_both_ends(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(0);

	mmu_inflight_start(inflight, 0, ~0UL);
	KUNIT_EXPECT_TRUE(test, must_wait_for(inflight, 0, 0));
	KUNIT_EXPECT_TRUE(test, must_wait_for(inflight, ~0UL, ~0UL));
}

static void invalidations_end_in_any_order(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(0);
	unsigned int slot[3], i;

	for (i = 0; i < 3; i++)
		slot[i] = mmu_inflight_start(inflight, i * 10, i * 10 + 5);
	mmu_inflight_end(inflight, slot[1]);
	KUNIT_EXPECT_TRUE(test, must_wait_for(inflight, 5, 5));
	KUNIT_EXPECT_FALSE(test, must_wait_for(inflight, 6, 19));
	KUNIT_EXPECT_TRUE(test, must_wait_for(inflight, 20, 20));
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
	/* It gets the slot that is free again. */
	KUNIT_EXPECT_EQ(test, mmu_inflight_start(inflight, 0, 5), slot);
	KUNIT_EXPECT_TRUE(test, mmu_inflight_wait_over(&wait, inflight));
}

static void invalidations_without_a_slot_overlap_everything(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(~0UL);
	unsigned int slot;

	KUNIT_EXPECT_FALSE(test, must_wait_for(inflight, 0, 9));
	slot = mmu_inflight_start(inflight, 10, 20);
	KUNIT_EXPECT_TRUE(test, slot >= MMU_SLOTS);
	KUNIT_EXPECT_TRUE(test, must_wait_for(inflight, 0, 9));
	mmu_inflight_end(inflight, slot);
	KUNIT_EXPECT_FALSE(test, must_wait_for(inflight, 0, 9));
	KUNIT_EXPECT_EQ(test, inflight->untracked, 0U);
}

/* An invalidation without a slot is always in flight, and waits end. */
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
	KUNIT_EXPECT_FALSE(test, must_wait_for(inflight, 0, 9));
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

/* All in a batch have the number from the start of the batch. */
static void a_subscription_waits_for_late_joins_of_a_batch(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(~0UL);
	struct mmu_inflight_wait wait;
	unsigned int old, joins, young;

	old = mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_EQ(test, mmu_inflight_register(inflight, &wait), 1U);
	mmu_inflight_end(inflight, old);
	/* The batch is empty, and was not closed. */
	joins = mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_EQ(test, mmu_inflight_registered(inflight, joins), 0U);
	KUNIT_EXPECT_FALSE(test, mmu_inflight_wait_over(&wait, inflight));
	young = mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_EQ(test, mmu_inflight_registered(inflight, young), 1U);
	KUNIT_EXPECT_EQ(test, mmu_inflight_registered(inflight, joins), 0U);
	mmu_inflight_end(inflight, joins);
	/* The invalidations in the reserved slots never end. */
	wait.slots = 0;
	KUNIT_EXPECT_TRUE(test, mmu_inflight_wait_over(&wait, inflight));
}

/* An invalidation that calls the subscription may wait for the subscriber. */
static void a_subscription_does_not_wait_for_its_callers(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(~0UL);
	struct mmu_inflight_wait wait, reader;
	unsigned int closed, joins, young;

	/* An empty batch is replaced by a new one. */
	KUNIT_EXPECT_EQ(test, mmu_inflight_register(inflight, &wait), 1U);
	KUNIT_EXPECT_FALSE(test, wait.batches);
	closed = mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_EQ(test, mmu_inflight_registered(inflight, closed), 1U);
	/* It is not while the batch before has not ended. */
	mmu_inflight_wait_enter(&reader, inflight, 0, 5);
	KUNIT_EXPECT_FALSE(test, mmu_inflight_wait_over(&reader, inflight));
	KUNIT_EXPECT_EQ(test, mmu_inflight_register(inflight, &wait), 2U);
	joins = mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_EQ(test, mmu_inflight_registered(inflight, joins), 1U);
	mmu_inflight_end(inflight, closed);
	/* The invalidations in the reserved slots never end. */
	wait.slots = 0;
	KUNIT_EXPECT_FALSE(test, mmu_inflight_wait_over(&wait, inflight));
	young = mmu_inflight_start(inflight, 0, 5);
	KUNIT_EXPECT_EQ(test, mmu_inflight_registered(inflight, young), 2U);
	mmu_inflight_end(inflight, joins);
	KUNIT_EXPECT_TRUE(test, mmu_inflight_wait_over(&wait, inflight));
}

static void a_reader_does_not_get_a_later_sequence(struct kunit *test)
{
	struct mmu_inflight *inflight = fresh_inflight(0);
	unsigned int slot;

	/* The invalidations of the wait have called the subscription. */
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

/* Two picked subscriptions */
static struct mmu_calls two_calls(void)
{
	return (struct mmu_calls){ .nr = 2, .subs = { &called[0], &called[1] } };
}

static bool advances_to(struct mmu_calls *calls, unsigned int nr)
{
	struct mmu_interval_notifier *sub = READ_ONCE(calls->subs[nr]);

	mmu_calls_advance(calls, sub);
	return sub == &called[nr];
}

static void calls_come_in_order(struct kunit *test)
{
	struct mmu_calls calls = two_calls();

	KUNIT_EXPECT_FALSE(test, mmu_calls_at(&calls, &called[0]));
	KUNIT_EXPECT_TRUE(test, advances_to(&calls, 0));
	KUNIT_EXPECT_TRUE(test, mmu_calls_at(&calls, &called[0]));
	KUNIT_EXPECT_FALSE(test, mmu_calls_at(&calls, &called[1]));
	KUNIT_EXPECT_TRUE(test, advances_to(&calls, 1));
	KUNIT_EXPECT_FALSE(test, mmu_calls_at(&calls, &called[0]));
	KUNIT_EXPECT_TRUE(test, mmu_calls_at(&calls, &called[1]));
	mmu_calls_advance(&calls, NULL);
	KUNIT_EXPECT_FALSE(test, mmu_calls_at(&calls, &called[1]));
	KUNIT_EXPECT_FALSE(test, calls.wanted);
}

static void cleared_subscriptions_are_not_called(struct kunit *test)
{
	struct mmu_calls calls = two_calls();

	KUNIT_EXPECT_TRUE(test, advances_to(&calls, 0));
	mmu_calls_clear(&calls, &called[1]);
	KUNIT_EXPECT_FALSE(test, advances_to(&calls, 1));
	KUNIT_EXPECT_TRUE(test, calls.wanted);
	KUNIT_EXPECT_FALSE(test, mmu_calls_at(&calls, &called[1]));
}

static void a_removal_finds_a_running_call(struct kunit *test)
{
	struct mmu_calls calls = two_calls();

	KUNIT_EXPECT_TRUE(test, advances_to(&calls, 0));
	mmu_calls_clear(&calls, &called[0]);
	KUNIT_EXPECT_TRUE(test, mmu_calls_at(&calls, &called[0]));
	KUNIT_EXPECT_TRUE(test, advances_to(&calls, 1));
	/* It waits, and is woken. */
	KUNIT_EXPECT_TRUE(test, calls.wanted);
	KUNIT_EXPECT_FALSE(test, mmu_calls_at(&calls, &called[0]));
}

/* The oracle */

static const char *const phase_names[] = {
	[SIM_IDLE] = "is idle",
	[SIM_NEXT] = "reads which subscription is next",
	[SIM_ADVANCE] = "advances to it",
	[SIM_RECHECK] = "checks whether it was removed",
	[SIM_CALL] = "begins a callback",
	[SIM_SET_SEQ] = "sets the sequence",
	[SIM_DROP] = "unmaps pages from the device",
	[SIM_RETURN] = "ends a callback",
	[SIM_END_CALLS] = "has called all that it picked",
	[SIM_SECOND] = "begins the next second pass, if any",
	[SIM_SECOND_DROP] = "unmaps pages in a second pass",
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

static const char *role_name(unsigned int thread)
{
	if (thread < SIM_INVALIDATORS)
		return "invalidation";
	return thread < SIM_INVALIDATORS + SIM_READERS ? "reader" : "changer";
}

static void report_failure(struct kunit *test, unsigned int seed)
{
	unsigned int i = sim.nr_steps > SIM_TRACE ? sim.nr_steps - SIM_TRACE : 0;

	kunit_info(test, "seed %u, step %u: %s", seed, sim.nr_steps, sim.wrong);
	for (; i < sim.nr_steps; i++) {
		const struct sim_step *step = &sim.trace[i % SIM_TRACE];

		kunit_info(test, "  %s %u %s", role_name(step->thread),
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
			report_failure(test, seed);
			return;
		}
	}
}

/* A broken rule must be found; the first seeds find most of them. */
static void expect_failure(struct kunit *test, enum sim_mutation mutation)
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
	expect_failure(test, mutation);					\
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
NOTICES(a_reader_that_uses_the_newest_seq, SIM_READER_USES_NEWEST_SEQ)
NOTICES(a_seq_that_is_used_twice, SIM_SEQ_IS_USED_TWICE)
NOTICES(a_next_one_that_is_not_advanced, SIM_NEXT_NOT_ADVANCED)
NOTICES(a_removal_that_does_not_wait, SIM_REMOVAL_DOES_NOT_WAIT)
NOTICES(an_insert_that_uses_the_last_seq, SIM_INSERT_USES_LAST_SEQ)
NOTICES(a_resize_that_does_not_wait, SIM_RESIZE_DOES_NOT_WAIT)
NOTICES(a_resize_that_keeps_the_seq, SIM_RESIZE_KEEPS_SEQ)
NOTICES(a_resize_that_does_not_restart, SIM_RESIZE_DOES_NOT_RESTART)
NOTICES(a_restart_that_keeps_the_seq, SIM_RESTART_KEEPS_SEQ)
NOTICES(a_call_of_a_cleared_subscription, SIM_CALL_DOES_NOT_READ_AGAIN)
NOTICES(a_removal_that_is_not_woken, SIM_REMOVAL_IS_NOT_WOKEN)
NOTICES(a_second_pass_that_is_not_counted, SIM_SECOND_PASS_IS_NOT_COUNTED)
NOTICES(a_resize_that_trims_late, SIM_RESIZE_TRIMS_LATE)
NOTICES(a_resize_that_trims_but_admits, SIM_RESIZE_TRIMS_ONCE)

static struct kunit_case mmu_interval_cases[] = {
	KUNIT_CASE(sequences_are_odd_and_increase),
	KUNIT_CASE(sequences_stay_odd_when_they_wrap),
	KUNIT_CASE(nothing_waits_with_nothing_in_flight),
	KUNIT_CASE(invalidations_overlap_where_they_touch),
	KUNIT_CASE(invalidations_reach_both_ends),
	KUNIT_CASE(invalidations_end_in_any_order),
	KUNIT_CASE(later_invalidations_do_not_prolong_a_wait),
	KUNIT_CASE(invalidations_without_a_slot_overlap_everything),
	KUNIT_CASE(a_wait_for_a_batch_ends_in_a_storm),
	KUNIT_CASE(an_invalidation_calls_older_subscriptions),
	KUNIT_CASE(a_subscription_waits_for_late_joins_of_a_batch),
	KUNIT_CASE(a_subscription_does_not_wait_for_its_callers),
	KUNIT_CASE(a_reader_does_not_get_a_later_sequence),
	KUNIT_CASE(calls_come_in_order),
	KUNIT_CASE(cleared_subscriptions_are_not_called),
	KUNIT_CASE(a_removal_finds_a_running_call),
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
	KUNIT_CASE(oracle_notices_a_reader_that_uses_the_newest_seq),
	KUNIT_CASE(oracle_notices_a_seq_that_is_used_twice),
	KUNIT_CASE(oracle_notices_a_next_one_that_is_not_advanced),
	KUNIT_CASE(oracle_notices_a_removal_that_does_not_wait),
	KUNIT_CASE(oracle_notices_an_insert_that_uses_the_last_seq),
	KUNIT_CASE(oracle_notices_a_resize_that_does_not_wait),
	KUNIT_CASE(oracle_notices_a_resize_that_keeps_the_seq),
	KUNIT_CASE(oracle_notices_a_resize_that_does_not_restart),
	KUNIT_CASE(oracle_notices_a_restart_that_keeps_the_seq),
	KUNIT_CASE(oracle_notices_a_call_of_a_cleared_subscription),
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
