// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The policy, against what include/linux/hmm.h promises and against a slow
 * model that looks at one page at a time.
 */
#include <kunit/test.h>
#include <linux/hmm.h>
#include <linux/module.h>

#include "../policy.h"
#include "random.h"

#define NR_SLOTS	24
#define NR_ROUNDS	2000

static const unsigned long request_bits[] = {
	0, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE,
	HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
};

static const unsigned long answers[] = {
	0, HMM_PFN_VALID | 5, HMM_PFN_VALID | HMM_PFN_WRITE | 5, HMM_PFN_ERROR,
};

/*
 * What has to happen, read off this table: a row a request, a column what the
 * CPU has (absent, read-only, writable, error).
 */
static const enum hmm_verdict expected[4][4] = {
	/* nothing */	{ HMM_RECORD, HMM_RECORD, HMM_RECORD, HMM_RECORD },
	/* fault */	{ HMM_READ_FAULT, HMM_RECORD, HMM_RECORD, HMM_REFUSE },
	/* write */	{ HMM_RECORD, HMM_RECORD, HMM_RECORD, HMM_RECORD },
	/* both */	{ HMM_WRITE_FAULT, HMM_WRITE_FAULT, HMM_RECORD,
			  HMM_REFUSE },
};

static void one_page_by_the_table(struct kunit *test)
{
	unsigned int asked, has;

	for (asked = 0; asked < 4; asked++) {
		struct hmm_request by_slot = { .from_slots = HMM_PFN_REQ_BITS };
		struct hmm_request by_default = {
			.everywhere = request_bits[asked],
		};

		for (has = 0; has < 4; has++) {
			KUNIT_EXPECT_EQ(test,
					hmm_decide(&by_slot,
						   request_bits[asked],
						   answers[has]),
					expected[asked][has]);
			KUNIT_EXPECT_EQ(test,
					hmm_decide(&by_default, 0,
						   answers[has]),
					expected[asked][has]);
		}
	}
}

/* The rule that all others serve: nothing unmet is ever recorded. */
static void recorded_means_met(struct kunit *test)
{
	unsigned int i;

	/* All defaults, masks, slots and states of the CPU's entry, in base 4. */
	for (i = 0; i < 256; i++) {
		unsigned long flags = request_bits[i % 4];
		unsigned long mask = request_bits[i / 4 % 4];
		unsigned long slot = request_bits[i / 16 % 4];
		unsigned long has = answers[i / 64];
		unsigned long asked = flags | (slot & mask);
		struct hmm_request r = {
			.everywhere = flags,
			.from_slots = mask,
		};

		if (hmm_decide(&r, slot, has) != HMM_RECORD)
			continue;
		if (!(asked & HMM_PFN_REQ_FAULT))
			continue;
		KUNIT_EXPECT_TRUE(test, has & HMM_PFN_VALID);
		if (asked & HMM_PFN_REQ_WRITE)
			KUNIT_EXPECT_TRUE(test, has & HMM_PFN_WRITE);
	}
}

struct random_case {
	struct hmm_request request;
	unsigned long slots[NR_SLOTS];
	unsigned long nr;
	unsigned long answer;
};

static void random_case(struct random_case *c, struct test_random *rnd)
{
	/* Long runs need slots that mostly agree. */
	unsigned int change = 1 + test_random_below(rnd, 8);
	unsigned int i, pick = 0;

	c->request.everywhere = request_bits[test_random_below(rnd, 4)];
	c->request.from_slots = request_bits[test_random_below(rnd, 4)];
	c->answer = answers[test_random_below(rnd, 4)];
	c->nr = 1 + test_random_below(rnd, NR_SLOTS);
	for (i = 0; i < c->nr; i++) {
		if (!test_random_below(rnd, change))
			pick = test_random_below(rnd, 4);
		c->slots[i] = request_bits[pick];
	}
}

static void runs_are_maximal(struct kunit *test)
{
	struct test_random rnd = { .state = 7 };
	unsigned int round;

	for (round = 0; round < NR_ROUNDS; round++) {
		enum hmm_verdict verdict, first;
		struct random_case c;
		unsigned long run, i;

		random_case(&c, &rnd);
		first = hmm_decide(&c.request, c.slots[0], c.answer);
		for (i = 1; i < c.nr; i++)
			if (hmm_decide(&c.request, c.slots[i], c.answer) !=
			    first)
				break;

		run = hmm_decide_run(&c.request, c.slots, c.nr, c.answer,
				     &verdict);
		KUNIT_EXPECT_EQ(test, run, i);
		KUNIT_EXPECT_EQ(test, verdict, first);
	}
}

static void whole_takes_the_strongest(struct kunit *test)
{
	struct test_random rnd = { .state = 11 };
	unsigned int round;

	for (round = 0; round < NR_ROUNDS; round++) {
		enum hmm_verdict strongest = HMM_RECORD, verdict;
		struct random_case c;
		unsigned long at, i;

		random_case(&c, &rnd);
		for (i = 0; i < c.nr; i++) {
			verdict = hmm_decide(&c.request, c.slots[i], c.answer);
			if (verdict > strongest)
				strongest = verdict;
		}

		verdict = hmm_decide_whole(&c.request, c.slots, c.nr, c.answer,
					   &at);
		KUNIT_EXPECT_EQ(test, verdict, strongest);
		KUNIT_EXPECT_LT(test, at, c.nr);
		if (at >= c.nr)
			continue;
		for (i = 0; i < at; i++)
			KUNIT_EXPECT_LT(test,
					hmm_decide(&c.request, c.slots[i],
						   c.answer),
					strongest);
		KUNIT_EXPECT_EQ(test,
				hmm_decide(&c.request, c.slots[at], c.answer),
				strongest);
	}
}

static struct kunit_case policy_cases[] = {
	KUNIT_CASE(one_page_by_the_table),
	KUNIT_CASE(recorded_means_met),
	KUNIT_CASE(runs_are_maximal),
	KUNIT_CASE(whole_takes_the_strongest),
	{}
};

static struct kunit_suite policy_suite = {
	.name = "hmm_policy",
	.test_cases = policy_cases,
};

kunit_test_suite(policy_suite);
