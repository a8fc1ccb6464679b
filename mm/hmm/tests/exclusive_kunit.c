// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which folios a call for exclusive access has locked, against a set of them.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "../exclusive_array.h"
#include "random.h"

#define PAGES	64
#define ROUNDS	2000

/*
 * Three kinds of folios, of 64, 16, and 1 pages, each with pages of its own. At
 * a place there is the page of one of them, as after copy-on-write, or none.
 */
static const unsigned int sizes[] = { 64, 16, 1 };

#define KINDS	ARRAY_SIZE(sizes)
#define NONE	KINDS

struct places {
	struct page *pages[PAGES];
	unsigned int kind[PAGES];
};

/* Never looked at, only told apart */
static struct page *page_at(unsigned int kind, unsigned long i)
{
	return (struct page *)(0x1000000UL * (kind + 1)) + i;
}

static unsigned long idx_at(const struct places *places, unsigned long i)
{
	return i % sizes[places->kind[i]];
}

static unsigned int folio_at(const struct places *places, unsigned long i)
{
	unsigned int kind = places->kind[i];

	return kind * PAGES + i / sizes[kind];
}

/* Places of one kind are apt to be together. */
static void shuffle(struct places *places, struct test_random *rnd)
{
	unsigned int kind = NONE;
	unsigned long i;

	for (i = 0; i < PAGES; i++) {
		if (!test_random_below(rnd, 5))
			kind = test_random_below(rnd, KINDS + 1);
		places->kind[i] = kind;
		places->pages[i] = kind == NONE ? NULL : page_at(kind, i);
	}
}

static void folios_are_met_once(struct kunit *test)
{
	bool met[KINDS * PAGES];
	struct test_random rnd = { .state = 7 };
	struct places places;
	unsigned long round, i;
	bool found, *before;

	for (round = 0; round < ROUNDS; round++) {
		shuffle(&places, &rnd);
		memset(met, 0, sizeof(met));
		for (i = 0; i < PAGES; i++) {
			if (places.kind[i] == NONE)
				continue;
			found = exclusive_met_before(places.pages, i,
						     places.pages[i],
						     idx_at(&places, i));
			before = &met[folio_at(&places, i)];
			KUNIT_EXPECT_EQ(test, found, *before);
			*before = true;
		}
	}
}

/* Let go of the stretch that ends before @end. Returns how long it is. */
static unsigned long let_go(struct kunit *test, const struct places *places,
			    unsigned long end, bool *held)
{
	unsigned long last = end - 1, first, nr;

	nr = exclusive_stretch(places->pages, last, idx_at(places, last));
	KUNIT_EXPECT_LT(test, nr, end + 1);
	first = end - nr;
	KUNIT_EXPECT_EQ(test, folio_at(places, first), folio_at(places, last));
	if (!exclusive_met_before(places->pages, first, places->pages[first],
				  idx_at(places, first))) {
		KUNIT_EXPECT_TRUE(test, held[folio_at(places, last)]);
		held[folio_at(places, last)] = false;
	}
	return nr;
}

static void each_folio_is_let_go_once(struct kunit *test)
{
	struct test_random rnd = { .state = 7 };
	bool held[KINDS * PAGES];
	struct places places;
	unsigned long round, i;

	for (round = 0; round < ROUNDS; round++) {
		shuffle(&places, &rnd);
		memset(held, 0, sizeof(held));
		for (i = 0; i < PAGES; i++)
			if (places.kind[i] != NONE)
				held[folio_at(&places, i)] = true;
		for (i = PAGES; i;)
			i -= places.kind[i - 1] == NONE ? 1 :
			     let_go(test, &places, i, held);
		for (i = 0; i < KINDS * PAGES; i++)
			KUNIT_EXPECT_FALSE(test, held[i]);
	}
}

static struct kunit_case exclusive_cases[] = {
	KUNIT_CASE(folios_are_met_once),
	KUNIT_CASE(each_folio_is_let_go_once),
	{}
};

static struct kunit_suite exclusive_suite = {
	.name = "hmm_exclusive",
	.test_cases = exclusive_cases,
};

kunit_test_suite(exclusive_suite);
