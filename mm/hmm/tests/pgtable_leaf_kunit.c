// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which properties of an entry survive: each state of each kind through each
 * change, compared with a table, and then along the way of a page to a device
 * and back. In the kernel also that an encoded entry is decoded to the same.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/pgtable_leaf.h>

#define PFN	0x12345UL

#define PRESENT		BIT(PGTABLE_LEAF_PRESENT)
#define MIGRATION	BIT(PGTABLE_LEAF_MIGRATION)
#define PRIVATE		BIT(PGTABLE_LEAF_PRIVATE)
#define EXCLUSIVE	BIT(PGTABLE_LEAF_EXCLUSIVE)

#define STATES		BIT(6 + 2)	/* all flags of all kinds */
#define RULES		4

static struct pgtable_leaf state(unsigned int number)
{
	return (struct pgtable_leaf) {
		.pfn = PFN,
		.writable = number & BIT(0),
		.exclusive = number & BIT(1),
		.young = number & BIT(2),
		.dirty = number & BIT(3),
		.soft_dirty = number & BIT(4),
		.uffd = number & BIT(5),
		.kind = number >> 6,
	};
}

static struct pgtable_leaf_rules rules_of(unsigned int number)
{
	return (struct pgtable_leaf_rules) {
		.may_write = number & BIT(0),
		.soft_dirty = number & BIT(1),
	};
}

/* Can there be such an entry? */
static bool is_sound(struct pgtable_leaf leaf, struct pgtable_leaf_rules rules)
{
	if (leaf.kind == PGTABLE_LEAF_EXCLUSIVE)
		return leaf.writable && leaf.exclusive && !leaf.young &&
		       !leaf.dirty;
	if (leaf.kind == PGTABLE_LEAF_PRIVATE && (leaf.young || leaf.dirty))
		return false;
	if (!leaf.writable)
		return true;
	/* Cleared soft-dirty bits take effect at the end of the migration. */
	if (leaf.kind == PGTABLE_LEAF_MIGRATION)
		return leaf.exclusive && rules.may_write && !leaf.uffd;
	return leaf.exclusive && rules.may_write && !leaf.uffd &&
	       (leaf.soft_dirty || !rules.soft_dirty);
}

/* What a change does to a mark */
enum fate { KEPT, SET, GONE };

static bool fate_of(bool mark, enum fate fate)
{
	return fate == KEPT ? mark : fate == SET;
}

typedef struct pgtable_leaf (*change_t)(struct pgtable_leaf leaf,
					struct pgtable_leaf_rules rules);

static struct pgtable_leaf begins_to_move(struct pgtable_leaf leaf,
					  struct pgtable_leaf_rules rules)
{
	return pgtable_leaf_begin_migration(leaf);
}

static struct pgtable_leaf arrives(struct pgtable_leaf leaf,
				   struct pgtable_leaf_rules rules)
{
	return pgtable_leaf_end_migration(leaf, PGTABLE_LEAF_PRESENT, PFN + 1,
					  true, rules);
}

/* The folio must have been marked young and dirty before. */
static struct pgtable_leaf arrives_on_the_device(struct pgtable_leaf leaf,
						 struct pgtable_leaf_rules rules)
{
	leaf = pgtable_leaf_end_migration(leaf, PGTABLE_LEAF_PRIVATE, PFN + 1,
					  true, rules);
	leaf.young = false;
	leaf.dirty = false;
	return leaf;
}

static struct pgtable_leaf becomes_exclusive(struct pgtable_leaf leaf,
					     struct pgtable_leaf_rules rules)
{
	leaf = pgtable_leaf_begin_exclusive(leaf);
	leaf.young = false;
	leaf.dirty = false;
	return leaf;
}

static struct pgtable_leaf is_restored(struct pgtable_leaf leaf,
				       struct pgtable_leaf_rules rules)
{
	return pgtable_leaf_end_exclusive(leaf, true, true, rules);
}

static struct pgtable_leaf is_protected(struct pgtable_leaf leaf,
					struct pgtable_leaf_rules rules)
{
	return pgtable_leaf_wrprotect(leaf);
}

static struct pgtable_leaf is_cleared(struct pgtable_leaf leaf,
				      struct pgtable_leaf_rules rules)
{
	return pgtable_leaf_clear_soft_dirty(leaf);
}

static struct pgtable_leaf is_cleared_on_its_way(struct pgtable_leaf leaf,
						 struct pgtable_leaf_rules rules)
{
	leaf.soft_dirty = false;
	return leaf;
}

static struct pgtable_leaf is_marked(struct pgtable_leaf leaf,
				     struct pgtable_leaf_rules rules)
{
	return pgtable_leaf_mark_uffd(leaf);
}

static const struct change {
	change_t change;
	unsigned int from;	/* kinds */
	enum pgtable_leaf_kind to;
	enum fate soft_dirty;
	enum fate uffd;
	bool takes_writable;	/* applies to writable entries only */
	bool protects;		/* removes write access */
} changes[] = {
	{ begins_to_move, PRESENT | PRIVATE, PGTABLE_LEAF_MIGRATION,
	  KEPT, KEPT, false, false },
	{ arrives, MIGRATION, PGTABLE_LEAF_PRESENT, KEPT, KEPT, false, false },
	{ arrives_on_the_device, MIGRATION, PGTABLE_LEAF_PRIVATE,
	  KEPT, KEPT, false, false },
	{ becomes_exclusive, PRESENT, PGTABLE_LEAF_EXCLUSIVE,
	  SET, KEPT, true, false },
	{ is_restored, EXCLUSIVE, PGTABLE_LEAF_PRESENT,
	  KEPT, KEPT, false, false },
	{ is_protected, PRESENT, PGTABLE_LEAF_PRESENT, KEPT, KEPT, false, true },
	{ is_protected, PRIVATE, PGTABLE_LEAF_PRIVATE, KEPT, KEPT, false, true },
	{ is_protected, MIGRATION, PGTABLE_LEAF_MIGRATION,
	  KEPT, KEPT, false, true },
	{ is_cleared, PRESENT, PGTABLE_LEAF_PRESENT, GONE, KEPT, false, true },
	{ is_cleared, PRIVATE, PGTABLE_LEAF_PRIVATE, GONE, KEPT, false, true },
	{ is_marked, PRESENT, PGTABLE_LEAF_PRESENT, KEPT, SET, false, true },
	{ is_marked, PRIVATE, PGTABLE_LEAF_PRIVATE, KEPT, SET, false, true },
	{ is_marked, MIGRATION, PGTABLE_LEAF_MIGRATION,
	  KEPT, SET, false, true },
};

static void check_change(struct kunit *test, const struct change *row,
			 struct pgtable_leaf from,
			 struct pgtable_leaf_rules rules)
{
	struct pgtable_leaf to = row->change(from, rules);
	bool exclusive = from.kind == PGTABLE_LEAF_EXCLUSIVE;
	bool keeps = !row->protects && (!exclusive || rules.may_write) &&
		     (to.kind == PGTABLE_LEAF_MIGRATION ||
		      pgtable_leaf_marks_allow_writing(to, rules));

	KUNIT_EXPECT_EQ(test, to.kind, row->to);
	KUNIT_EXPECT_TRUE(test, is_sound(to, rules));
	KUNIT_EXPECT_EQ(test, to.soft_dirty,
			fate_of(from.soft_dirty, row->soft_dirty));
	KUNIT_EXPECT_EQ(test, to.uffd, fate_of(from.uffd, row->uffd));
	KUNIT_EXPECT_EQ(test, to.writable, from.writable && keeps);
	KUNIT_EXPECT_EQ(test, to.exclusive, from.exclusive);
	if (to.kind == PGTABLE_LEAF_MIGRATION)
		KUNIT_EXPECT_EQ(test, to.dirty, from.dirty ||
				(from.kind == PGTABLE_LEAF_PRIVATE &&
				 from.writable));
}

static void marks_survive_each_change(struct kunit *test)
{
	unsigned int i, number, rule;

	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		for (number = 0; number < STATES * RULES; number++) {
			struct pgtable_leaf from = state(number % STATES);

			rule = number / STATES;
			if (!(changes[i].from & BIT(from.kind)) ||
			    !is_sound(from, rules_of(rule)) ||
			    (changes[i].takes_writable && !from.writable))
				continue;
			check_change(test, changes + i, from, rules_of(rule));
		}
	}
}

/*
 * To the device and back, with an event before one of the steps after which
 * writes must be detected. Pages that the device may have written to are dirty.
 */
static const change_t round_trip[] = {
	begins_to_move, arrives_on_the_device, begins_to_move, arrives,
};

static struct pgtable_leaf travel(struct pgtable_leaf leaf,
				  struct pgtable_leaf_rules rules,
				  change_t event, unsigned int before)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(round_trip); i++) {
		if (event && i == before)
			leaf = event == is_cleared &&
			       leaf.kind == PGTABLE_LEAF_MIGRATION ?
			       is_cleared_on_its_way(leaf, rules) :
			       event(leaf, rules);
		leaf = round_trip[i](leaf, rules);
	}
	return leaf;
}

static void round_trips_change_nothing(struct kunit *test)
{
	unsigned int number, rule;

	for (number = 0; number < STATES * RULES; number++) {
		struct pgtable_leaf from = state(number % STATES), to;

		rule = number / STATES;
		if (from.kind != PGTABLE_LEAF_PRESENT ||
		    !is_sound(from, rules_of(rule)))
			continue;
		to = travel(from, rules_of(rule), NULL, 0);
		KUNIT_EXPECT_EQ(test, to.writable, from.writable);
		KUNIT_EXPECT_EQ(test, to.exclusive, from.exclusive);
		KUNIT_EXPECT_EQ(test, to.soft_dirty, from.soft_dirty);
		KUNIT_EXPECT_EQ(test, to.uffd, from.uffd);
		/* The device may have written to it. */
		KUNIT_EXPECT_EQ(test, to.dirty, from.writable);
	}
}

static void writes_are_detected_after_events(struct kunit *test)
{
	const struct pgtable_leaf_rules rules = rules_of(RULES - 1);
	const struct pgtable_leaf from = {
		.pfn = PFN,
		.kind = PGTABLE_LEAF_PRESENT,
		.writable = true,
		.exclusive = true,
		.soft_dirty = true,
	};
	unsigned int before;

	for (before = 0; before < ARRAY_SIZE(round_trip); before++) {
		struct pgtable_leaf to = travel(from, rules, is_cleared, before);

		KUNIT_EXPECT_FALSE(test, to.writable);
		KUNIT_EXPECT_FALSE(test, to.soft_dirty);
		to = travel(from, rules, is_marked, before);
		KUNIT_EXPECT_FALSE(test, to.writable);
		KUNIT_EXPECT_TRUE(test, to.uffd);
	}
}

/* After mprotect() or fork(), a restored entry is not writable. */
static void restored_entries_obey_protection(struct kunit *test)
{
	struct pgtable_leaf old = becomes_exclusive(state(0x3f & ~BIT(5)),
						rules_of(1));

	KUNIT_EXPECT_TRUE(test, pgtable_leaf_end_exclusive(old, true, true,
							   rules_of(1)).writable);
	KUNIT_EXPECT_FALSE(test, pgtable_leaf_end_exclusive(old, true, true,
							    rules_of(0)).writable);
	KUNIT_EXPECT_FALSE(test, pgtable_leaf_end_exclusive(old, false, true,
							    rules_of(1)).writable);
	old.soft_dirty = false;
	KUNIT_EXPECT_FALSE(test, pgtable_leaf_end_exclusive(old, true, true,
							    rules_of(3)).writable);
}

static void new_entries_are_soft_dirty(struct kunit *test)
{
	unsigned int rule;

	for (rule = 0; rule < RULES; rule++) {
		struct pgtable_leaf leaf =
			pgtable_leaf_new(PGTABLE_LEAF_PRESENT, PFN,
					 rules_of(rule));

		KUNIT_EXPECT_TRUE(test, is_sound(leaf, rules_of(rule)));
		KUNIT_EXPECT_TRUE(test, leaf.soft_dirty);
		KUNIT_EXPECT_EQ(test, leaf.writable, rules_of(rule).may_write);
		leaf = pgtable_leaf_rehome(leaf, true);
		KUNIT_EXPECT_TRUE(test, leaf.uffd && !leaf.writable);
		leaf = pgtable_leaf_rehome(leaf, false);
		KUNIT_EXPECT_TRUE(test, leaf.writable && leaf.soft_dirty);
	}
}

#ifdef __KERNEL__
#include <linux/pgtable.h>
#include <linux/userfaultfd_k.h>

#include "../leaf_codec.h"

/* Can the architecture encode all of @leaf? */
static bool has_a_form(struct pgtable_leaf leaf)
{
	if (!is_sound(leaf, rules_of(1)))
		return false;
	if (leaf.soft_dirty && !pgtable_supports_soft_dirty())
		return false;
	if (leaf.uffd && !IS_ENABLED(CONFIG_HAVE_ARCH_USERFAULTFD_WP))
		return false;
	if (leaf.kind == PGTABLE_LEAF_MIGRATION)
		return pgtable_leaf_migration_has_ad() ||
		       !(leaf.young || leaf.dirty);
	/* Of a read-only entry, the page has the exclusive flag. */
	return leaf.writable || !leaf.exclusive;
}

static void expect_same(struct kunit *test, struct pgtable_leaf is,
			struct pgtable_leaf wanted)
{
	KUNIT_EXPECT_EQ(test, is.pfn, wanted.pfn);
	KUNIT_EXPECT_EQ(test, is.kind, wanted.kind);
	KUNIT_EXPECT_EQ(test, is.writable, wanted.writable);
	KUNIT_EXPECT_EQ(test, is.exclusive, wanted.exclusive);
	KUNIT_EXPECT_EQ(test, is.young, wanted.young);
	KUNIT_EXPECT_EQ(test, is.dirty, wanted.dirty);
	KUNIT_EXPECT_EQ(test, is.soft_dirty, wanted.soft_dirty);
	KUNIT_EXPECT_EQ(test, is.uffd, wanted.uffd);
}

static void encoded_entries_are_decoded(struct kunit *test)
{
	struct vm_area_struct *vma;
	unsigned int number;

	vma = kunit_kzalloc(test, sizeof(*vma), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, vma);
	vma->vm_page_prot = PAGE_READONLY;
	vm_flags_init(vma, VM_READ | VM_WRITE);
	for (number = 0; number < STATES; number++) {
		struct pgtable_leaf leaf = state(number);

		if (!IS_ENABLED(CONFIG_DEVICE_PRIVATE) ||
		    !has_a_form(leaf))
			continue;
		expect_same(test, pgtable_leaf_by_pte(leaf, vma), leaf);
		leaf.pfn = ALIGN_DOWN(PFN, PMD_SIZE / PAGE_SIZE);
		expect_same(test, pgtable_leaf_by_pmd(leaf, vma), leaf);
	}
}
#endif /* __KERNEL__ */

static struct kunit_case pgtable_leaf_cases[] = {
	KUNIT_CASE(marks_survive_each_change),
	KUNIT_CASE(round_trips_change_nothing),
	KUNIT_CASE(writes_are_detected_after_events),
	KUNIT_CASE(restored_entries_obey_protection),
	KUNIT_CASE(new_entries_are_soft_dirty),
#ifdef __KERNEL__
	KUNIT_CASE(encoded_entries_are_decoded),
#endif
	{}
};

static struct kunit_suite pgtable_leaf_suite = {
	.name = "hmm_pgtable_leaf",
	.test_cases = pgtable_leaf_cases,
};

kunit_test_suite(pgtable_leaf_suite);

#ifdef __KERNEL__
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
#endif
