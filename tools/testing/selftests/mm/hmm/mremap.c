// SPDX-License-Identifier: GPL-2.0
/*
 * mremap() of memory that a device knows, in system memory and on the device:
 * the data follows, the old place is empty for the device too, and pages on
 * the device stay there.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"

PLACED_FIXTURE(remap);

/* Nothing is mapped here any more. */
#define must_be_a_hole(addr)						\
	EXPECT_EQ(-EFAULT, device_faults(self->fd, addr, 1))

/* In the end: back to the CPU, nothing left on the device */
static void comes_back(struct __test_metadata *_metadata,
		       struct placed *placed, char *addr, size_t npages,
		       __u64 seed)
{
	EXPECT_TRUE(pattern_is(addr, npages, seed));
	ASSERT_EQ(0, munmap(addr, npages * PAGE_BYTES));
	EXPECT_TRUE(device_in_use_is(placed->fd, 0));
}

static char *move(char *from, size_t bytes, char *to)
{
	char *at = mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
			  to);

	if (at != to)
		fatal("mremap: %s", strerror(errno));
	return at;
}

TEST_F(remap, move)
{
	char *to = map_anon(self->bytes);

	move(self->map, self->bytes, to);
	must_be_a_hole(self->map);
	EXPECT_TRUE(placed_in_use(&self->placed, self->npages));
	must_be_there(to, self->npages, 1);
	EXPECT_TRUE(placed_in_use(&self->placed, self->npages));
	comes_back(_metadata, &self->placed, to, self->npages, 1);
}

TEST_F(remap, move_there_and_back)
{
	char *to = map_anon(self->bytes);
	int round;

	for (round = 0; round < 5; round++) {
		move(self->map, self->bytes, to);
		must_be_there(to, self->npages, 1);
		move(to, self->bytes, self->map);
		must_be_there(self->map, self->npages, 1);
		must_be_a_hole(to);
	}
	EXPECT_TRUE(placed_in_use(&self->placed, self->npages));
	comes_back(_metadata, &self->placed, self->map, self->npages, 1);
}

/* To a place where no huge entry can map it */
TEST_F(remap, move_to_an_unaligned_address)
{
	char *to = map_anon(self->bytes + HUGE_BYTES) + 3 * PAGE_BYTES;

	move(self->map, self->bytes, to);
	must_be_a_hole(self->map);
	must_be_there(to, self->npages, 1);
	EXPECT_TRUE(placed_in_use(&self->placed, self->npages));
	comes_back(_metadata, &self->placed, to, self->npages, 1);
}

TEST_F(remap, move_a_part)
{
	size_t part = self->npages / 4, behind = 2 * part;
	char *from = self->map + part * PAGE_BYTES;
	char *to = map_anon(self->bytes);

	move(from, part * PAGE_BYTES, to);
	must_be_a_hole(from);
	must_be_there(self->map, part, 1);
	must_be_there(to, part, 1 + part);
	must_be_there(self->map + behind * PAGE_BYTES, behind, 1 + behind);
	EXPECT_TRUE(placed_in_use(&self->placed, self->npages));
	EXPECT_TRUE(pattern_is(self->map, part, 1));
	EXPECT_TRUE(pattern_is(to, part, 1 + part));
	ASSERT_EQ(0, munmap(self->map, part * PAGE_BYTES));
	ASSERT_EQ(0, munmap(to, part * PAGE_BYTES));
	comes_back(_metadata, &self->placed, self->map + behind * PAGE_BYTES,
		   behind, 1 + behind);
}

/* The destination is known to the device, and perhaps on it, as well. */
TEST_F(remap, move_over_known_memory)
{
	struct placed *placed = &self->placed;
	char *to = map_anon(self->bytes);

	pattern_fill(to, self->npages, 1000);
	if (placed->on_device)
		ASSERT_EQ(0, device_take(self->fd, to, self->npages).rc);
	EXPECT_TRUE(device_reads(self->fd, to, self->npages, 1000));
	EXPECT_TRUE(placed_in_use(placed, 2 * self->npages));
	move(self->map, self->bytes, to);
	EXPECT_TRUE(placed_in_use(placed, self->npages));
	must_be_there(to, self->npages, 1);
	comes_back(_metadata, placed, to, self->npages, 1);
}

TEST_F(remap, grow)
{
	char *to = mremap(self->map, self->bytes, 2 * self->bytes,
			  MREMAP_MAYMOVE);

	ASSERT_NE(MAP_FAILED, to);
	must_be_there(to, self->npages, 1);
	EXPECT_TRUE(placed_in_use(&self->placed, self->npages));
	EXPECT_TRUE(device_reads_zero(self->fd, to + self->bytes,
				      self->npages));
	ASSERT_EQ(0, device_writes_parts(self->fd, to, 2 * self->npages, 2));
	comes_back(_metadata, &self->placed, to, 2 * self->npages, 2);
}

TEST_F(remap, shrink)
{
	size_t half = self->npages / 2;

	ASSERT_EQ(self->map, mremap(self->map, self->bytes, self->bytes / 2,
				    0));
	must_be_a_hole(self->map + self->bytes / 2);
	must_be_there(self->map, half, 1);
	comes_back(_metadata, &self->placed, self->map, half, 1);
}

/* The old place stays mapped, with nothing in it. */
TEST_F(remap, dontunmap)
{
	char *to = mremap(self->map, self->bytes, self->bytes,
			  MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);

	if (to == MAP_FAILED)
		SKIP(return, "no MREMAP_DONTUNMAP");
	must_be_there(to, self->npages, 1);
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, self->npages));
	EXPECT_TRUE(placed_in_use(&self->placed, self->npages));
	ASSERT_EQ(0, device_writes_parts(self->fd, self->map, self->npages,
					 2));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 2));
	comes_back(_metadata, &self->placed, to, self->npages, 1);
}

/* After mremap(), pages can be migrated back, and to the device again. */
TEST_F(remap, migrate_after_the_move)
{
	struct placed *placed = &self->placed;
	char *to = map_anon(self->bytes);

	move(self->map, self->bytes, to);
	EXPECT_EQ(0, device_give_back(self->fd, to, self->npages).rc);
	EXPECT_TRUE(device_in_use_is(self->fd, 0));
	EXPECT_TRUE(pattern_is(to, self->npages, 1));
	EXPECT_EQ(0, device_take(self->fd, to, self->npages).rc);
	EXPECT_EQ(self->npages, device_count(self->fd, to, self->npages,
					     own_place(placed->device)));
	EXPECT_TRUE(device_reads(self->fd, to, self->npages, 1));
	comes_back(_metadata, placed, to, self->npages, 1);
}

/* mremap() of nothing makes a second mapping of shared memory. */
TEST(second_mapping_of_shared_memory)
{
	const char *reason;
	int fd = device_open(0, &reason);
	size_t bytes = 16 * PAGE_BYTES;
	char *map, *twin;

	if (fd < 0)
		SKIP(return, "%s", reason);
	map = map_at(map_anon_small(bytes), bytes, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1);
	ASSERT_EQ(0, device_writes(fd, map, 16, 1));
	twin = mremap(map, 0, bytes, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, twin);
	EXPECT_TRUE(device_reads(fd, twin, 16, 1));
	ASSERT_EQ(0, device_writes(fd, twin, 16, 2));
	EXPECT_TRUE(device_reads(fd, map, 16, 2));
	EXPECT_TRUE(pattern_is(map, 16, 2));
	ASSERT_EQ(0, munmap(map, bytes));
	EXPECT_TRUE(device_reads(fd, twin, 16, 2));
	close(fd);
}

TEST_HARNESS_MAIN
