// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What migrate_vma_setup() does not begin with. In the kernel only: the call is
 * the real one.
 */
#include <kunit/test.h>
#include <linux/errno.h>
#include <linux/migrate_device.h>
#include <linux/mm.h>

#define FIRST	0x100000UL
#define BEHIND	0x200000UL

/* No page table is looked at: the mapping has none. */
static void what_makes_no_sense_is_refused(struct kunit *test)
{
	static struct vm_area_struct plain, special;
	unsigned long src = 1, dst = 1;
	const struct migrate_vma bad[] = {
		{ .vma = NULL, .dst = &dst, .src = &src,
		  .start = FIRST, .end = BEHIND },
		{ .vma = &special, .dst = &dst, .src = &src,
		  .start = FIRST, .end = BEHIND },
		{ .vma = &plain, .dst = NULL, .src = &src,
		  .start = FIRST, .end = BEHIND },
		{ .vma = &plain, .dst = &dst, .src = NULL,
		  .start = FIRST, .end = BEHIND },
		{ .vma = &plain, .dst = &dst, .src = &src,
		  .start = FIRST, .end = FIRST },
		{ .vma = &plain, .dst = &dst, .src = &src,
		  .start = BEHIND, .end = FIRST },
		{ .vma = &plain, .dst = &dst, .src = &src,
		  .start = FIRST - PAGE_SIZE, .end = BEHIND },
		{ .vma = &plain, .dst = &dst, .src = &src,
		  .start = FIRST, .end = BEHIND + PAGE_SIZE },
		{ .vma = &plain, .dst = &dst, .src = &src,
		  .start = FIRST, .end = BEHIND,
		  .flags = MIGRATE_VMA_SWAP_IN |
			   MIGRATE_VMA_UNDER_VMA_LOCK },
	};
	unsigned int i;

	if (!IS_ENABLED(CONFIG_DEVICE_MIGRATION))
		kunit_skip(test, "no device memory");
	plain.vm_start = FIRST;
	plain.vm_end = BEHIND;
	special.vm_start = FIRST;
	special.vm_end = BEHIND;
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
	KUNIT_CASE(what_makes_no_sense_is_refused),
	{}
};

static struct kunit_suite setup_suite = {
	.name = "hmm_migrate_setup",
	.test_cases = setup_cases,
};

kunit_test_suite(setup_suite);
