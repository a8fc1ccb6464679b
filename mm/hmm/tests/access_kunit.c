// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The access that the flags of a VMA allow a device. In kernels without shadow
 * stacks, VM_SHADOW_STACK is 0, and that test does nothing.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/module.h>

#include "../access.h"

static void reading_needs_read_permission_and_pages(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, hmm_flags_allow_reading(VM_READ));
	KUNIT_EXPECT_TRUE(test, hmm_flags_allow_reading(VM_READ | VM_WRITE |
							VM_EXEC | VM_SHARED));
	KUNIT_EXPECT_FALSE(test, hmm_flags_allow_reading(0));
	KUNIT_EXPECT_FALSE(test, hmm_flags_allow_reading(VM_WRITE));
	KUNIT_EXPECT_FALSE(test, hmm_flags_allow_reading(VM_READ | VM_IO));
	KUNIT_EXPECT_FALSE(test, hmm_flags_allow_reading(VM_READ | VM_PFNMAP));
}

static void writing_needs_write_permission(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, hmm_flags_allow_writing(VM_READ | VM_WRITE));
	KUNIT_EXPECT_FALSE(test, hmm_flags_allow_writing(VM_READ));
	KUNIT_EXPECT_FALSE(test, hmm_flags_allow_writing(VM_READ | VM_EXEC));
}

static void writable_entries_are_writable(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, hmm_entry_is_writable(true, VM_READ | VM_WRITE));
	KUNIT_EXPECT_FALSE(test, hmm_entry_is_writable(false,
						       VM_READ | VM_WRITE));
}

/* They have VM_WRITE, and pte_write() is true for their dirty entries. */
static void shadow_stacks_are_read_only(struct kunit *test)
{
	vm_flags_t flags = VM_READ | VM_WRITE | VM_SHADOW_STACK;

	if (!VM_SHADOW_STACK)
		return;
	KUNIT_EXPECT_TRUE(test, hmm_flags_allow_reading(flags));
	KUNIT_EXPECT_FALSE(test, hmm_flags_allow_writing(flags));
	KUNIT_EXPECT_FALSE(test, hmm_entry_is_writable(true, flags));
	KUNIT_EXPECT_FALSE(test, hmm_entry_is_writable(false, flags));
}

static struct kunit_case access_cases[] = {
	KUNIT_CASE(reading_needs_read_permission_and_pages),
	KUNIT_CASE(writing_needs_write_permission),
	KUNIT_CASE(writable_entries_are_writable),
	KUNIT_CASE(shadow_stacks_are_read_only),
	{}
};

static struct kunit_suite access_suite = {
	.name = "hmm_access",
	.test_cases = access_cases,
};

kunit_test_suite(access_suite);
