// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which folios a call for exclusive access has locked, compared with a set of
 * them.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "../exclusive_array.h"
#include "random.h"

#define PAGES	64
#define ROUNDS	2000

/*
 * Three kinds of folios, of 64, 16, and 1 pages, each with its own pages. Each
 * place has the page of one of them, as after copy-on-write, or none.
 */
static const unsigned int sizes[] = { 64, 16, 1 };

#define KINDS	ARRAY_SIZE(sizes)
#define NONE	KINDS

struct places {
	struct page *pages[PAGES];
	unsigned int kind[PAGES];
};

/* Pages are compared, and not dereferenced. */
static struct page *test_page(unsigned int kind, unsigned long i)
{
	return (struct page *)(0x1000000UL * (kind + 1)) + i;
}

static unsigned long test_idx(const struct places *places, unsigned long i)
{
	return i % sizes[places->kind[i]];
}

static unsigned int test_folio(const struct places *places, unsigned long i)
{
	unsigned int kind = places->kind[i];

	return kind * PAGES + i / sizes[kind];
}

/* Consecutive places are often of one kind. */
static void shuffle(struct places *places, struct test_random *rnd)
{
	unsigned int kind = NONE;
	unsigned long i;

	for (i = 0; i < PAGES; i++) {
		if (!test_random_below(rnd, 5))
			kind = test_random_below(rnd, KINDS + 1);
		places->kind[i] = kind;
		places->pages[i] = kind == NONE ? NULL : test_page(kind, i);
	}
}

static void folios_are_seen_once(struct kunit *test)
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
			found = exclusive_folio_seen(places.pages, i,
						     places.pages[i],
						     test_idx(&places, i));
			before = &met[test_folio(&places, i)];
			KUNIT_EXPECT_EQ(test, found, *before);
			*before = true;
		}
	}
}

/* Put the stretch that ends before @end. Returns its length. */
static unsigned long put_stretch(struct kunit *test,
				 const struct places *places, unsigned long end,
				 bool *held)
{
	unsigned long last = end - 1, first, nr;

	nr = exclusive_stretch(places->pages, last, test_idx(places, last));
	KUNIT_EXPECT_LT(test, nr, end + 1);
	first = end - nr;
	KUNIT_EXPECT_EQ(test, test_folio(places, first),
			test_folio(places, last));
	if (!exclusive_folio_seen(places->pages, first, places->pages[first],
				  test_idx(places, first))) {
		KUNIT_EXPECT_TRUE(test, held[test_folio(places, last)]);
		held[test_folio(places, last)] = false;
	}
	return nr;
}

static void each_folio_is_put_once(struct kunit *test)
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
				held[test_folio(&places, i)] = true;
		for (i = PAGES; i;)
			i -= places.kind[i - 1] == NONE ? 1 :
			     put_stretch(test, &places, i, held);
		for (i = 0; i < KINDS * PAGES; i++)
			KUNIT_EXPECT_FALSE(test, held[i]);
	}
}

static struct kunit_case exclusive_cases[] = {
	KUNIT_CASE(folios_are_seen_once),
	KUNIT_CASE(each_folio_is_put_once),
	{}
};

static struct kunit_suite exclusive_suite = {
	.name = "hmm_exclusive",
	.test_cases = exclusive_cases,
};

kunit_test_suite(exclusive_suite);
