// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Arguments that migrate_vma_setup() refuses. In the kernel only, as this calls
 * the function itself.
 */
#include <kunit/test.h>
#include <linux/errno.h>
#include <linux/migrate_device.h>
#include <linux/mm.h>

#define START	0x100000UL
#define END	0x200000UL

/* The VMA has no page table: none may be read. */
static void invalid_arguments_are_refused(struct kunit *test)
{
	static struct vm_area_struct plain, special;
	unsigned long src = 1, dst = 1;
	const struct migrate_vma bad[] = {
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

static struct kunit_case setup_cases[] = {
	KUNIT_CASE(invalid_arguments_are_refused),
	{}
};

static struct kunit_suite setup_suite = {
	.name = "hmm_migrate_setup",
	.test_cases = setup_cases,
};

kunit_test_suite(setup_suite);
