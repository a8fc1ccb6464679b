// SPDX-License-Identifier: GPL-2.0
/*
 * madvise() of memory that a device knows, in system memory and on the device:
 * what it answers, where the data is afterwards, and which data.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"

PLACED_FIXTURE(madvise);

/* Advice that changes neither the data nor its place */
#define must_change_nothing(advice)					\
do {									\
	EXPECT_EQ(0, madvise(self->map, self->bytes, advice));		\
	EXPECT_TRUE(placed_in_use(&self->placed, self->npages));	\
	must_be_there(self->map, self->npages, 1);			\
} while (0)

/* The memory is as new, and the device's pages are free. */
static void is_new(struct __test_metadata *_metadata, struct placed *placed)
{
	EXPECT_TRUE(device_in_use_is(placed->fd, 0));
	EXPECT_TRUE(device_reads_zero(placed->fd, placed->map,
				      placed->npages));
	ASSERT_EQ(0, device_writes_parts(placed->fd, placed->map,
					 placed->npages, 2));
	EXPECT_TRUE(pattern_is(placed->map, placed->npages, 2));
}

TEST_F(madvise, dontneed)
{
	ASSERT_EQ(0, madvise(self->map, self->bytes, MADV_DONTNEED));
	is_new(_metadata, &self->placed);
}

TEST_F(madvise, dontneed_of_a_part)
{
	size_t part = self->npages / 4;

	ASSERT_EQ(0, madvise(self->map + part * PAGE_BYTES, part * PAGE_BYTES,
			     MADV_DONTNEED));
	EXPECT_TRUE(device_reads_zero(self->fd, self->map + part * PAGE_BYTES,
				      part));
	EXPECT_TRUE(device_reads(self->fd, self->map, part, 1));
	EXPECT_TRUE(device_reads(self->fd, self->map + 2 * part * PAGE_BYTES,
				 2 * part, 1 + 2 * part));
	EXPECT_TRUE(pattern_is(self->map, part, 1));
	EXPECT_TRUE(is_zero(self->map + part * PAGE_BYTES, part));
	EXPECT_TRUE(pattern_is(self->map + 2 * part * PAGE_BYTES, 2 * part,
			       1 + 2 * part));
	ASSERT_EQ(0, munmap(self->map, self->bytes));
	EXPECT_TRUE(device_in_use_is(self->fd, 0));
}

/* Each page is as it was or as new, until it is written to. */
TEST_F(madvise, free)
{
	char *data = map_anon_small(self->bytes);
	size_t page;

	ASSERT_EQ(0, madvise(self->map, self->bytes, MADV_FREE));
	ASSERT_EQ(0, device_read(self->fd, self->map, self->npages, data));
	for (page = 0; page < self->npages; page++) {
		char *at = data + page * PAGE_BYTES;

		EXPECT_TRUE(same_bytes(at, PAGE_BYTES, 0) == PAGE_BYTES ||
			    pattern_is(at, 1, 1 + page));
	}
	ASSERT_EQ(0, device_writes(self->fd, self->map, self->npages, 2));
	EXPECT_EQ(0, madvise(self->map, self->bytes, MADV_PAGEOUT));
	EXPECT_TRUE(device_reads(self->fd, self->map, self->npages, 2));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 2));
}

TEST_F(madvise, cold)
{
	must_change_nothing(MADV_COLD);
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
}

TEST_F(madvise, willneed)
{
	must_change_nothing(MADV_WILLNEED);
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
}

/* Reclaim skips device memory. */
TEST_F(madvise, pageout)
{
	struct swap swap;

	if (!swap_start(&swap, 8 * HUGE_BYTES))
		SKIP(return, "no zram");
	EXPECT_EQ(0, madvise(self->map, self->bytes, MADV_PAGEOUT));
	EXPECT_TRUE(placed_in_use(&self->placed, self->npages));
	if (self->placed.on_device)
		must_be_there(self->map, self->npages, 1);
	EXPECT_TRUE(device_reads(self->fd, self->map, self->npages, 1));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
	EXPECT_EQ(0, munmap(self->map, self->bytes));
	swap_stop(&swap);
}

/* To populate is to touch: private device memory comes back. */
static void populate(struct __test_metadata *_metadata, struct placed *placed,
		     int advice)
{
	bool comes_back = placed->on_device && placed->device < 2;

	ASSERT_EQ(0, madvise(placed->map, placed->bytes, advice));
	EXPECT_TRUE(placed_in_use(placed, comes_back ? 0 : placed->npages));
	EXPECT_EQ(comes_back ? 0 : placed->npages,
		  placed_count(placed, placed->map, placed->npages));
	EXPECT_TRUE(device_reads(placed->fd, placed->map, placed->npages, 1));
	EXPECT_TRUE(pattern_is(placed->map, placed->npages, 1));
}

TEST_F(madvise, populate_read)
{
	populate(_metadata, &self->placed, MADV_POPULATE_READ);
}

TEST_F(madvise, populate_write)
{
	populate(_metadata, &self->placed, MADV_POPULATE_WRITE);
}

TEST_F(madvise, advice_for_the_future)
{
	must_change_nothing(MADV_NOHUGEPAGE);
	must_change_nothing(MADV_HUGEPAGE);
	must_change_nothing(MADV_SEQUENTIAL);
	must_change_nothing(MADV_NORMAL);
	must_change_nothing(MADV_DONTDUMP);
	must_change_nothing(MADV_DODUMP);
	must_change_nothing(MADV_MERGEABLE);
	must_change_nothing(MADV_UNMERGEABLE);
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
}

/* Memory that a child does not get stays where it is. */

static long work_is_mapped(char *addr, size_t npages, __u64 unused)
{
	return !madvise(addr, npages * PAGE_BYTES, MADV_NORMAL);
}

static long work_is_zero(char *addr, size_t npages, __u64 unused)
{
	return is_zero(addr, npages);
}

TEST_F(madvise, dontfork)
{
	struct child child;

	ASSERT_EQ(0, madvise(self->map, self->bytes, MADV_DONTFORK));
	child_start(&child);
	EXPECT_FALSE(child_do(&child, work_is_mapped, self->map, self->npages,
			      0));
	child_stop(&child);
	EXPECT_TRUE(placed_in_use(&self->placed, self->npages));
	must_be_there(self->map, self->npages, 1);
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
}

TEST_F(madvise, wipeonfork)
{
	struct child child;

	ASSERT_EQ(0, madvise(self->map, self->bytes, MADV_WIPEONFORK));
	child_start(&child);
	EXPECT_TRUE(child_do(&child, work_is_zero, self->map, self->npages,
			     0));
	child_do(&child, work_fill, self->map, self->npages, 5);
	EXPECT_TRUE(placed_in_use(&self->placed, self->npages));
	must_be_there(self->map, self->npages, 1);
	EXPECT_TRUE(child_do(&child, work_check, self->map, self->npages, 5));
	child_stop(&child);
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
}

TEST_F(madvise, guard)
{
	if (madvise(self->map, self->bytes, MADV_GUARD_INSTALL))
		SKIP(return, "no guard regions");
	EXPECT_TRUE(device_in_use_is(self->fd, 0));
	EXPECT_EQ(-EFAULT, device_faults(self->fd, self->map, 1));
	EXPECT_EQ(-EFAULT, device_writes(self->fd, self->map, self->npages,
					 2));
	EXPECT_EQ(self->npages,
		  device_count_bytes(self->fd, self->map, self->npages, 0xff,
				     HMM_DMIRROR_PROT_ERROR));
	ASSERT_EQ(0, madvise(self->map, self->bytes, MADV_GUARD_REMOVE));
	is_new(_metadata, &self->placed);
}

TEST_F(madvise, guard_in_the_middle)
{
	size_t half = self->npages / 2;
	char *middle = self->map + half * PAGE_BYTES;

	if (madvise(middle, PAGE_BYTES, MADV_GUARD_INSTALL))
		SKIP(return, "no guard regions");
	EXPECT_EQ(-EFAULT, device_faults(self->fd, middle, 1));
	EXPECT_TRUE(device_reads(self->fd, self->map, half, 1));
	EXPECT_TRUE(device_reads(self->fd, middle + PAGE_BYTES, half - 1,
				 2 + half));
	EXPECT_TRUE(pattern_is(self->map, half, 1));
	EXPECT_TRUE(pattern_is(middle + PAGE_BYTES, half - 1, 2 + half));
}

/* Pages that fail (MADV_HWPOISON), or are about to (MADV_SOFT_OFFLINE) */

#define BAD_PAGE	3

static void ignore_signal(int number)
{
}

/* The kernel tells the process that maps a bad page by SIGBUS. */
static int spoil(char *page, int advice)
{
	signal(SIGBUS, ignore_signal);
	return madvise(page, PAGE_BYTES, advice) ? -errno : 0;
}

/* The kernel moves the data to a better page, but not within a device. */
TEST_F(madvise, soft_offline)
{
	bool coherent = self->placed.device >= 2;
	int rc;

	if (self->placed.huge)
		SKIP(return, "one page is enough to lose");
	rc = spoil(self->map + BAD_PAGE * PAGE_BYTES, MADV_SOFT_OFFLINE);
	if (!coherent && rc)
		SKIP(return, "no soft offlining");
	EXPECT_EQ(coherent, !!rc);
	EXPECT_TRUE(device_reads(self->fd, self->map, self->npages, 1));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
}

TEST_F(madvise, hwpoison)
{
	bool coherent = self->placed.device >= 2;
	char *bad = self->map + BAD_PAGE * PAGE_BYTES;
	size_t behind = BAD_PAGE + 1;
	int rc;

	if (self->placed.huge)
		SKIP(return, "one page is enough to lose");
	rc = spoil(bad, MADV_HWPOISON);
	if (!coherent && rc)
		SKIP(return, "no memory failures");
	/* 7.3 looks for a file first: -EBUSY, or an oops if files have DAX. */
	EXPECT_EQ(coherent ? -ENXIO : 0, rc);
	EXPECT_EQ(coherent ? 0 : -EFAULT, device_faults(self->fd, bad, 1));
	EXPECT_EQ(coherent ? 0 : -EFAULT,
		  device_writes(self->fd, bad, 1, 1 + BAD_PAGE));
	EXPECT_TRUE(device_reads(self->fd, self->map, BAD_PAGE, 1));
	EXPECT_TRUE(device_reads(self->fd, self->map + behind * PAGE_BYTES,
				 self->npages - behind, 1 + behind));
	ASSERT_EQ(0, munmap(self->map, self->bytes));
	EXPECT_TRUE(device_in_use_is(self->fd, 0));
}

static int collapse(char *map, size_t bytes)
{
	if (madvise(map, bytes, MADV_HUGEPAGE))
		fatal("MADV_HUGEPAGE: %s", strerror(errno));
	return collapse_pages(map, bytes);
}

/* Fails unless it is a huge page already; the device's pages stay. */
TEST_F(madvise, collapse)
{
	bool is_huge = self->placed.huge && !self->placed.on_device;

	EXPECT_EQ(is_huge ? 0 : -EINVAL, collapse(self->map, self->bytes));
	EXPECT_TRUE(placed_in_use(&self->placed, self->npages));
	must_be_there(self->map, self->npages, 1);
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
}

/* Small pages, some of them on the device: these are in the way, and stay. */

FIXTURE(collapse)
{
	int fd;
	char *map;
};

FIXTURE_VARIANT(collapse)
{
	unsigned int device;
	size_t on_device;
};

FIXTURE_VARIANT_ADD(collapse, some_private)
{
	.device = 0,
	.on_device = 8,
};

FIXTURE_VARIANT_ADD(collapse, all_private)
{
	.device = 0,
	.on_device = HUGE_PAGES,
};

FIXTURE_VARIANT_ADD(collapse, some_coherent)
{
	.device = 2,
	.on_device = 8,
};

FIXTURE_VARIANT_ADD(collapse, all_coherent)
{
	.device = 2,
	.on_device = HUGE_PAGES,
};

FIXTURE_SETUP(collapse)
{
	const char *reason;

	self->fd = device_open(variant->device, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	self->map = map_anon_small(HUGE_BYTES);
	pattern_fill(self->map, HUGE_PAGES, 1);
	device_take(self->fd, self->map, variant->on_device);
	ASSERT_EQ(variant->on_device,
		  device_count(self->fd, self->map, HUGE_PAGES,
			       own_place(variant->device)));
	EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, 1));
}

FIXTURE_TEARDOWN(collapse)
{
	close(self->fd);
}

TEST_F(collapse, around_device_pages)
{
	struct hmm_dmirror_counters before = device_counters(self->fd);

	EXPECT_EQ(-EINVAL, collapse(self->map, HUGE_BYTES));
	EXPECT_EQ(0, device_since(self->fd, &before).cpu_faults);
	EXPECT_TRUE(device_in_use_is(self->fd, variant->on_device));
	EXPECT_EQ(0, device_count_bytes(self->fd, self->map, HUGE_PAGES,
					HMM_DMIRROR_PROT_PMD,
					HMM_DMIRROR_PROT_PMD));
	EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, 1));
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, 1));
	ASSERT_EQ(0, munmap(self->map, HUGE_BYTES));
	EXPECT_TRUE(device_in_use_is(self->fd, 0));
}

TEST_HARNESS_MAIN
