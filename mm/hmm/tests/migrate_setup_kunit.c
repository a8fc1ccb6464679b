// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Arguments that migrate_vma_setup() and hmm_range_migrate() refuse. In the
 * kernel only, as this calls the functions themselves.
 */
#include <kunit/test.h>
#include <linux/errno.h>
#include <linux/hmm-migrate.h>
#include <linux/jiffies.h>
#include <linux/migrate_device.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>

#include "../migrate.h"

#define START	0x100000UL
#define END	0x200000UL

/* The VMA has no page table: none may be read. */
static void invalid_arguments_are_refused(struct kunit *test)
{
	static struct vm_area_struct plain, special;
	static unsigned long src = 1, dst = 1;
	static const struct migrate_vma bad[] = {
		{ .vma = NULL, .dst = &dst, .src = &src,
		  .start = START, .end = END },
		{ .vma = &special, .dst = &dst, .src = &src,
		  .start = START, .end = END },
		{ .vma = &plain, .dst = NULL, .src = &src,
		  .start = START, .end = END },
		{ .vma = &plain, .dst = &dst, .src = NULL,
		  .start = START, .end = END },
		{ .vma = &plain, .dst = &dst, .src = &src,
		  .start = START, .end = START },
		{ .vma = &plain, .dst = &dst, .src = &src,
		  .start = END, .end = START },
		{ .vma = &plain, .dst = &dst, .src = &src,
		  .start = START - PAGE_SIZE, .end = END },
		{ .vma = &plain, .dst = &dst, .src = &src,
		  .start = START, .end = END + PAGE_SIZE },
		{ .vma = &plain, .dst = &dst, .src = &src,
		  .start = START, .end = END,
		  .flags = MIGRATE_VMA_SWAP_IN |
			   MIGRATE_VMA_UNDER_VMA_LOCK },
		/* No warning about the lock: this comes first. */
		{ .vma = &plain, .dst = &dst, .src = &src,
		  .start = START, .end = END, .flags = MIGRATE_VMA_ANSWERS },
		{ .vma = &plain, .dst = &dst, .src = &src,
		  .start = START, .end = END, .flags = MIGRATE_VMA_ZEROES },
	};
	unsigned int i;

	if (!IS_ENABLED(CONFIG_DEVICE_MIGRATION))
		kunit_skip(test, "no device memory");
	plain.vm_start = START;
	plain.vm_end = END;
	special.vm_start = START;
	special.vm_end = END;
	vm_flags_init(&special, VM_IO);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct migrate_vma args = bad[i];

		KUNIT_EXPECT_EQ_MSG(test, migrate_vma_setup(&args), -EINVAL,
				    "row %u", i);
	}
	KUNIT_EXPECT_EQ(test, src, 1);
	KUNIT_EXPECT_EQ(test, dst, 1);
}

static int no_reserve(struct hmm_migrate *hmm, unsigned long npages)
{
	return -EIO;
}

static int no_copy(struct hmm_migrate *hmm, struct migrate_vma *part)
{
	return -EIO;
}

static void no_lock(struct hmm_migrate *hmm)
{
}

static int no_map(struct hmm_migrate *hmm, struct hmm_range *part)
{
	return -EIO;
}

/* Good arguments, each time with one that is bad */
static void invalid_placement_is_refused(struct kunit *test)
{
	static struct mmu_interval_notifier notifier;
	static int owner;
	unsigned long pfn = 1, src = 1, dst = 1;
	const struct hmm_migrate good = {
		.range = {
			.notifier = &notifier,
			.start = START,
			.end = START + PAGE_SIZE,
			.hmm_pfns = &pfn,
			.default_flags = HMM_PFN_REQ_FAULT,
			.dev_private_owner = &owner,
		},
		.src = &src,
		.dst = &dst,
	};
	const struct hmm_migrate_ops good_ops = {
		.reserve = no_reserve,
		.copy = no_copy,
		.lock = no_lock,
		.unlock = no_lock,
		.map = no_map,
	};
	struct hmm_migrate_ops ops;
	struct hmm_migrate hmm;

#define EXPECT_REFUSED(member, value)					\
	do {								\
		hmm = good;						\
		ops = good_ops;						\
		member = value;						\
		KUNIT_EXPECT_EQ_MSG(test,				\
				    hmm_range_migrate(&hmm, &ops, HZ),	\
				    -EINVAL, #member " = " #value);	\
	} while (0)

	if (!IS_ENABLED(CONFIG_DEVICE_MIGRATION))
		kunit_skip(test, "no device memory");
	EXPECT_REFUSED(hmm.range.notifier, NULL);
	EXPECT_REFUSED(hmm.range.start, START + 1);
	EXPECT_REFUSED(hmm.range.end, START + PAGE_SIZE + 1);
	EXPECT_REFUSED(hmm.range.end, START);
	EXPECT_REFUSED(hmm.range.end, START - PAGE_SIZE);
	EXPECT_REFUSED(hmm.range.hmm_pfns, NULL);
	EXPECT_REFUSED(hmm.range.dev_private_owner, NULL);
	EXPECT_REFUSED(hmm.range.default_flags, HMM_RANGE_SPARSE);
	EXPECT_REFUSED(hmm.range.default_flags, HMM_RANGE_PTE_ORDERS);
	EXPECT_REFUSED(hmm.src, NULL);
	EXPECT_REFUSED(hmm.dst, NULL);
	EXPECT_REFUSED(hmm.flags, MIGRATE_VMA_SELECT_SYSTEM);
	EXPECT_REFUSED(hmm.flags, MIGRATE_VMA_ANSWERS);
	EXPECT_REFUSED(ops.copy, NULL);
	EXPECT_REFUSED(ops.lock, NULL);
	EXPECT_REFUSED(ops.unlock, NULL);
	EXPECT_REFUSED(ops.map, NULL);
	KUNIT_EXPECT_EQ(test, pfn, 1);
	KUNIT_EXPECT_EQ(test, src, 1);
	KUNIT_EXPECT_EQ(test, dst, 1);
#undef EXPECT_REFUSED
}

static struct kunit_case setup_cases[] = {
	KUNIT_CASE(invalid_arguments_are_refused),
	KUNIT_CASE(invalid_placement_is_refused),
	{}
};

static struct kunit_suite setup_suite = {
	.name = "hmm_migrate_setup",
	.test_cases = setup_cases,
};

kunit_test_suite(setup_suite);
