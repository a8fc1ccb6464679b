// SPDX-License-Identifier: GPL-2.0
/*
 * What an entry says of its page, beyond where that is, outlives what happens to
 * the entry: that it has been written to.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "hmm_access.h"

PLACED_FIXTURE(marks);

/* The CPU writes, and the pages go to where they belong. */
static void write_to(struct __test_metadata *_metadata, struct placed *placed)
{
	char *map = placed->map;
	size_t n = placed->npages;

	soft_dirty_clear();
	if (!placed->on_device && is_soft_dirty(map))
		SKIP(return, "no soft-dirty bits");
	pattern_fill(map, n, 2);
	if (placed->on_device)
		device_take(placed->fd, map, n);
	ASSERT_EQ(n, placed_count(placed, map, n));
	ASSERT_EQ(n, dirty_pages(map, n));
}

TEST_F(marks, soft_dirty_survives_fork)
{
	pid_t child;

	write_to(_metadata, &self->placed);
	child = fork_off();
	if (!child)
		_exit(dirty_pages(self->map, self->npages) != self->npages);
	EXPECT_EQ(0, wait_for_child(child, 10));
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 2));
}

TEST_F(marks, soft_dirty_survives_mprotect)
{
	write_to(_metadata, &self->placed);
	ASSERT_EQ(0, mprotect(self->map, self->bytes, PROT_READ));
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
	ASSERT_EQ(0, mprotect(self->map, self->bytes, PROT_READ | PROT_WRITE));
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 2));
}

TEST_F(marks, soft_dirty_survives_mremap)
{
	char *to = map_anon(self->bytes);

	write_to(_metadata, &self->placed);
	ASSERT_EQ(to, mremap(self->map, self->bytes, self->bytes,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(self->npages, dirty_entries(to, self->npages));
	EXPECT_TRUE(pattern_is(to, self->npages, 2));
}

/* There and back again */
TEST_F(marks, soft_dirty_survives_migration)
{
	write_to(_metadata, &self->placed);
	device_take(self->fd, self->map, self->npages);
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
	device_give_back(self->fd, self->map, self->npages);
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 2));
}

/* Cleared, it is set by the next write, wherever the page was meanwhile. */
TEST_F(marks, writes_show_after_clearing)
{
	write_to(_metadata, &self->placed);
	soft_dirty_clear();
	EXPECT_EQ(0, dirty_pages(self->map, self->npages));
	pattern_fill(self->map, self->npages, 3);
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
}

TEST_F(marks, writes_show_after_clearing_and_migration)
{
	write_to(_metadata, &self->placed);
	soft_dirty_clear();
	device_take(self->fd, self->map, self->npages);
	device_give_back(self->fd, self->map, self->npages);
	EXPECT_EQ(0, dirty_pages(self->map, self->npages));
	pattern_fill(self->map, self->npages, 3);
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
}

TEST_HARNESS_MAIN
