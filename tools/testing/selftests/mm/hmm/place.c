// SPDX-License-Identifier: GPL-2.0
/*
 * A device fault with placement: hmm_range_migrate() moves what can move to the
 * device, and answers for the rest as hmm_range_fault() does.
 *
 * After each call the device may use every page of the range: the tests check
 * where each page is, why a page has not moved, and the data on both sides.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"
#include "lib/folios.h"
#include "lib/place.h"

#define N	64UL
#define BYTES	(N * PAGE_BYTES)
#define SEED	0x1000UL
#define OTHER	0x200000UL
#define MOST	PLACE_PAGES
#define RACERS	8

#define WRITE	HMM_DMIRROR_PLACE_WRITE

FIXTURE(hmm_place)
{
	int fd;
	int other;
	char *map;	/* N small pages, not touched */
	struct hmm_dmirror_counters before;
	struct placed_range *got;
};

FIXTURE_VARIANT(hmm_place)
{
	unsigned int flags;
};

FIXTURE_VARIANT_ADD(hmm_place, at_once)
{
	.flags = 0,
};

FIXTURE_VARIANT_ADD(hmm_place, copied_by_another_task)
{
	.flags = HMM_DMIRROR_PLACE_ASYNC,
};

FIXTURE_VARIANT_ADD(hmm_place, page_by_page)
{
	.flags = HMM_DMIRROR_PLACE_PAGES,
};

FIXTURE_SETUP(hmm_place)
{
	const char *reason;

	self->fd = device_open(0, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	self->other = device_open(1, &reason);
	if (self->other < 0)
		SKIP(return, "%s", reason);
	if (!knows_placement(self->fd))
		SKIP(return, "the device does not place memory");
	self->map = map_anon_small(BYTES);
	self->got = calloc(1, sizeof(*self->got));
	ASSERT_NE(NULL, self->got);
	self->before = device_counters(self->fd);
}

FIXTURE_TEARDOWN(hmm_place)
{
	munmap(self->map, BYTES);
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
	free(self->got);
	close(self->other);
	close(self->fd);
}

/*
 * The call has moved all pages in one attempt, the device may access them, its
 * table has the data, and its answers are those of a snapshot.
 */
#define EXPECT_ALL_PLACED(map, npages, seed)					\
	do {									\
		struct placed_range *got = self->got;				\
		unsigned char *look = buffer_of(npages);			\
										\
		EXPECT_EQ(0, got->answer.rc);					\
		EXPECT_EQ(npages, got->answer.cpages);				\
		EXPECT_EQ(npages, on_device(got, npages, ACCESS_MASK));		\
		EXPECT_EQ(0, device_faults(self->fd, map, npages));		\
		EXPECT_TRUE(device_reads(self->fd, map, npages, seed));		\
		device_look(self->fd, map, npages, look);			\
		EXPECT_EQ(0, memcmp(look, got->prot, npages));			\
		free(look);							\
	} while (0)

TEST_F(hmm_place, present)
{
	pattern_fill(self->map, N, SEED);
	place(self->fd, self->map, N, variant->flags | WRITE, self->got);
	EXPECT_ALL_PLACED(self->map, N, SEED);
	EXPECT_EQ(N, self->got->place.moved);
	EXPECT_EQ(0, self->got->place.retries);
	EXPECT_EQ(1, self->got->place.copies);
	EXPECT_EQ(1, self->got->place.unreserved);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_F(hmm_place, absent)
{
	place(self->fd, self->map, N, variant->flags | WRITE, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(N, on_device(self->got, N, HMM_DMIRROR_PROT_WRITE));
	EXPECT_EQ(N, self->got->place.moved);
	EXPECT_EQ(0, self->got->place.retries);
	EXPECT_EQ(0, device_faults(self->fd, self->map, N));
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, N));
	EXPECT_EQ(0, device_writes(self->fd, self->map, N, SEED));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* What only reads have touched is the zero page, which counts as a hole. */
TEST_F(hmm_place, zero_page)
{
	read_pages(self->map, N);
	place(self->fd, self->map, N, variant->flags, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(N, on_device(self->got, N, ACCESS_MASK));
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, N));
	EXPECT_EQ(0, device_writes(self->fd, self->map, N, SEED));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_F(hmm_place, swapped_out)
{
	struct swap swap;

	if (!swap_start(&swap, 4 * BYTES))
		SKIP(return, "no swap");
	pattern_fill(self->map, N, SEED);
	if (swap_out(self->map, N)) {
		place(self->fd, self->map, N, variant->flags | WRITE, self->got);
		EXPECT_ALL_PLACED(self->map, N, SEED);
		EXPECT_EQ(N, self->got->place.moved);
		EXPECT_EQ(1, self->got->place.copies);
		EXPECT_TRUE(pattern_is(self->map, N, SEED));
	}
	swap_stop(&swap);
}

/* Present, swapped out, absent, on the device and on another, page by page */
TEST_F(hmm_place, mixed)
{
	struct swap swap;
	size_t i;

	if (!swap_start(&swap, 4 * BYTES))
		SKIP(return, "no swap");
	pattern_fill(self->map, N, SEED);
	for (i = 0; i < N; i++) {
		char *page = self->map + i * PAGE_BYTES;

		switch (i % 5) {
		case 1:
			swap_out(page, 1);
			break;
		case 2:
			device_take(self->fd, page, 1);
			break;
		case 3:
			device_take(self->other, page, 1);
			break;
		case 4:
			madvise(page, PAGE_BYTES, MADV_DONTNEED);
			break;
		}
	}
	place(self->fd, self->map, N, variant->flags | WRITE, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(N, on_device(self->got, N, HMM_DMIRROR_PROT_WRITE));
	EXPECT_EQ(1, self->got->place.copies);
	for (i = 0; i < N; i++) {
		char *page = self->map + i * PAGE_BYTES;

		EXPECT_TRUE(i % 5 == 4 ? device_reads_zero(self->fd, page, 1) :
			    device_reads(self->fd, page, 1, SEED + i));
	}
	swap_stop(&swap);
}

/* Pages are swapped in before any is taken from the device: one round. */
TEST_F(hmm_place, swapped_out_in_between)
{
	struct swap swap;
	__u64 before;
	char *more;
	size_t i;

	if (!swap_start(&swap, 2 * HUGE_BYTES))
		SKIP(return, "no swap");
	/* How many pages are swapped out is known roughly. */
	more = map_anon_small(HUGE_BYTES);
	pattern_fill(more, HUGE_PAGES, SEED);
	swap_out(more, HUGE_PAGES);
	pattern_fill(self->map, N, SEED);
	ASSERT_TRUE(device_reads(self->fd, self->map, N, SEED));
	for (i = 1; i < N; i += 2)
		swap_out(self->map + i * PAGE_BYTES, 1);
	before = device_invalidations(self->fd);
	place(self->fd, self->map, N, variant->flags | WRITE, self->got);
	EXPECT_EQ(before + 1, device_invalidations(self->fd));
	EXPECT_ALL_PLACED(self->map, N, SEED);
	EXPECT_EQ(N, self->got->place.moved);
	munmap(more, HUGE_BYTES);
	swap_stop(&swap);
}

/* What is there already is answered for, and not touched. */
TEST_F(hmm_place, on_the_device_already)
{
	__u64 before;

	pattern_fill(self->map, N, SEED);
	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
	before = device_invalidations(self->fd);
	place(self->fd, self->map, N, variant->flags | WRITE, self->got);
	EXPECT_EQ(before, device_invalidations(self->fd));
	EXPECT_ALL_PLACED(self->map, N, SEED);
	EXPECT_EQ(0, self->got->place.moved);
	EXPECT_EQ(0, self->got->place.reserved);
	EXPECT_EQ(0, self->got->place.copies);
}

TEST_F(hmm_place, shared_after_fork)
{
	struct keeper keeper;
	size_t i;

	for (i = 0; i < N; i++)
		self->map[i * PAGE_BYTES] = i + 1;
	keeper_start(&keeper);
	place(self->fd, self->map, N, variant->flags, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(N, on_device(self->got, N, HMM_DMIRROR_PROT_READ));
	EXPECT_EQ(0, on_device(self->got, N, HMM_DMIRROR_PROT_WRITE));
	place(self->fd, self->map, N, variant->flags | WRITE, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(N, on_device(self->got, N, HMM_DMIRROR_PROT_WRITE));
	for (i = 0; i < N; i++)
		self->map[i * PAGE_BYTES] = 99;
	for (i = 0; i < N; i++)
		EXPECT_EQ((int)(i + 1), keeper_peek(&keeper, self->map + i * PAGE_BYTES));
	keeper_stop(&keeper);
}

TEST_F(hmm_place, read_only)
{
	pattern_fill(self->map, N, SEED);
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ));
	EXPECT_EQ(-EPERM, place(self->fd, self->map, N, variant->flags | WRITE,
				self->got));
	EXPECT_EQ(0, self->got->place.moved);
	place(self->fd, self->map, N, variant->flags, self->got);
	EXPECT_ALL_PLACED(self->map, N, SEED);
	EXPECT_EQ(0, on_device(self->got, N, HMM_DMIRROR_PROT_WRITE));
}

TEST_F(hmm_place, no_access)
{
	pattern_fill(self->map, N, SEED);
	ASSERT_EQ(0, mprotect(self->map + BYTES / 2, PAGE_BYTES, PROT_NONE));
	EXPECT_EQ(-EFAULT, place(self->fd, self->map, N, variant->flags, self->got));
	EXPECT_EQ(N / 2, self->got->answer.cpages);
	ASSERT_EQ(0, mprotect(self->map + BYTES / 2, PAGE_BYTES, PROT_READ | PROT_WRITE));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	ASSERT_EQ(0, munmap(self->map + BYTES / 2, PAGE_BYTES));
	EXPECT_EQ(-EFAULT, place(self->fd, self->map, N, variant->flags, self->got));
	EXPECT_EQ(N / 2, self->got->answer.cpages);
	EXPECT_TRUE(pattern_is(self->map, N / 2, SEED));
}

TEST_F(hmm_place, large_folios)
{
	char *map = map_folios("64kB", HUGE_BYTES, SEED);
	struct hmm_dmirror_counters before = device_counters(self->fd);

	if (!map)
		SKIP(return, "no folios of 64 KiB");
	place(self->fd, map, HUGE_PAGES, variant->flags | WRITE, self->got);
	EXPECT_ALL_PLACED(map, HUGE_PAGES, SEED);
	EXPECT_EQ(1, self->got->place.copies);
	EXPECT_EQ(HUGE_PAGES, self->got->place.moved);
	EXPECT_EQ(HUGE_PAGES, device_since(self->fd, &before).allocated);
	EXPECT_TRUE(pattern_is(map, HUGE_PAGES, SEED));
	munmap(map, HUGE_BYTES);
}

TEST_F(hmm_place, huge_pages)
{
	bool whole = !(variant->flags & HMM_DMIRROR_PLACE_PAGES);
	char *map = map_pattern_thp(self->fd, 2 * HUGE_BYTES, SEED);

	if (!map)
		SKIP(return, "no huge pages");
	place(self->fd, map, MOST, variant->flags | WRITE, self->got);
	EXPECT_ALL_PLACED(map, MOST, SEED);
	EXPECT_EQ(whole, !!(self->got->prot[0] & HMM_DMIRROR_PROT_PMD));
	EXPECT_EQ(MOST, self->got->place.moved);
	EXPECT_TRUE(pattern_is(map, MOST, SEED));
	munmap(map, 2 * HUGE_BYTES);
}

TEST_F(hmm_place, part_of_a_huge_page)
{
	char *map = map_pattern_thp(self->fd, HUGE_BYTES, SEED);

	if (!map)
		SKIP(return, "no huge pages");
	place(self->fd, map + 16 * PAGE_BYTES, N, variant->flags | WRITE, self->got);
	EXPECT_ALL_PLACED(map + 16 * PAGE_BYTES, N, SEED + 16);
	EXPECT_TRUE(pattern_is(map, HUGE_PAGES, SEED));
	munmap(map, HUGE_BYTES);
}

TEST_F(hmm_place, huge_hole)
{
	bool whole = !(variant->flags & HMM_DMIRROR_PLACE_PAGES);
	char *map = device_map_thp(self->fd, HUGE_BYTES);

	if (!map)
		SKIP(return, "no huge pages");
	ASSERT_EQ(0, madvise(map, HUGE_BYTES, MADV_DONTNEED));
	place(self->fd, map, HUGE_PAGES, variant->flags | WRITE, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(HUGE_PAGES, on_device(self->got, HUGE_PAGES, HMM_DMIRROR_PROT_WRITE));
	EXPECT_EQ(whole, !!(self->got->prot[0] & HMM_DMIRROR_PROT_PMD));
	EXPECT_TRUE(device_reads_zero(self->fd, map, HUGE_PAGES));
	munmap(map, HUGE_BYTES);
}

/* A file between anonymous memory: each page is answered for, and has a reason. */
TEST_F(hmm_place, file_between)
{
	int file = memory_file(16 * PAGE_BYTES);
	char *middle = self->map + 16 * PAGE_BYTES;

	pattern_fill(self->map, N, SEED);
	map_at(middle, 16 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file);
	pattern_fill(middle, 8, OTHER);
	place(self->fd, self->map, N, variant->flags | WRITE, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(N, self->got->answer.cpages);
	EXPECT_EQ(N - 16, on_device(self->got, N, HMM_DMIRROR_PROT_WRITE));
	EXPECT_EQ(N - 16, self->got->place.moved);
	EXPECT_EQ(0, device_faults(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, 16, SEED));
	EXPECT_TRUE(device_reads(self->fd, middle, 8, OTHER));
	EXPECT_TRUE(device_reads(self->fd, middle + 16 * PAGE_BYTES, N - 32, SEED + 32));
	close(file);
}

/* Pages of the file and pages of one's own, in one mapping */
TEST_F(hmm_place, private_file)
{
	int file = memory_file(BYTES);
	size_t i;

	map_at(self->map, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file);
	pattern_fill(self->map, N, SEED);
	map_at(self->map, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file);
	for (i = 0; i < N; i += 2)
		pattern_fill(self->map + i * PAGE_BYTES, 1, OTHER + i);
	place(self->fd, self->map, N, variant->flags, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(N / 2, on_device(self->got, N, ACCESS_MASK));
	EXPECT_EQ(N / 2, because(self->got, N, HMM_DMIRROR_WHY_NOT_FOR_DEVICES));
	EXPECT_EQ(0, device_faults(self->fd, self->map, N));
	for (i = 0; i < N; i++)
		EXPECT_TRUE(device_reads(self->fd, self->map + i * PAGE_BYTES, 1,
					 (i % 2 ? SEED : OTHER) + i));
	/* To be written to, all become anonymous, and move. */
	place(self->fd, self->map, N, variant->flags | WRITE, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(N, on_device(self->got, N, HMM_DMIRROR_PROT_WRITE));
	close(file);
}

TEST_F(hmm_place, pinned)
{
	struct pinned pinned;

	pattern_fill(self->map, N, SEED);
	pin_page(&pinned, self->map + 3 * PAGE_BYTES);
	place(self->fd, self->map, N, variant->flags | WRITE, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(N - 1, on_device(self->got, N, HMM_DMIRROR_PROT_WRITE));
	EXPECT_EQ(HMM_DMIRROR_WHY_PINNED, self->got->why[3]);
	EXPECT_EQ(HMM_DMIRROR_PROT_WRITE, self->got->prot[3]);
	EXPECT_EQ(1, self->got->place.copies);
	EXPECT_EQ(0, device_faults(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, SEED));
	EXPECT_TRUE(unpin_page(&pinned, SEED + 3));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* All pages of a folio stay, with a reason. */
TEST_F(hmm_place, pinned_huge_page)
{
	char *map = map_pattern_thp(self->fd, HUGE_BYTES, SEED);
	struct pinned pinned;

	if (!map)
		SKIP(return, "no huge pages");
	pin_page(&pinned, map);
	place(self->fd, map, HUGE_PAGES, variant->flags | WRITE, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(HUGE_PAGES, self->got->answer.cpages);
	EXPECT_EQ(0, self->got->place.moved);
	EXPECT_EQ(HUGE_PAGES, because(self->got, HUGE_PAGES, HMM_DMIRROR_WHY_PINNED));
	EXPECT_EQ(0, device_faults(self->fd, map, HUGE_PAGES));
	EXPECT_TRUE(device_reads(self->fd, map, HUGE_PAGES, SEED));
	EXPECT_TRUE(unpin_page(&pinned, SEED));
	munmap(map, HUGE_BYTES);
}

/*
 * Pages that other processes map are invalidated once more when they are unmapped
 * there. If they cannot move either, they must be mapped where they are.
 */
TEST_F(hmm_place, shared_and_pinned)
{
	struct keeper keeper;
	struct pinned pinned;

	pattern_fill(self->map, N, SEED);
	pin_page(&pinned, self->map + 3 * PAGE_BYTES);
	keeper_start(&keeper);
	place(self->fd, self->map, N, variant->flags, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_GE(4, self->got->place.retries);
	EXPECT_LE(N - 1, on_device(self->got, N, ACCESS_MASK));
	EXPECT_EQ(0, device_faults(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, SEED));
	EXPECT_TRUE(unpin_page(&pinned, SEED + 3));
	keeper_stop(&keeper);
}

TEST_F(hmm_place, shared_without_destination)
{
	struct keeper keeper;

	pattern_fill(self->map, N, SEED);
	keeper_start(&keeper);
	device_fail(self->fd, HMM_DMIRROR_FAIL_DEVICE_ALLOC, 1);
	place(self->fd, self->map + PAGE_BYTES, 1, variant->flags, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_GE(4, self->got->place.retries);
	EXPECT_TRUE(device_reads(self->fd, self->map + PAGE_BYTES, 1, SEED + 1));
	keeper_stop(&keeper);
}

/* The zero page in the mapping of a file is no hole. */
TEST_F(hmm_place, zero_page_of_a_file)
{
	struct uffdio_zeropage zeroes = {
		.range = { .start = (uintptr_t)self->map, .len = BYTES },
	};
	int file = memory_file(BYTES);
	struct uffd uffd = { .on_fault = NULL };

	map_at(self->map, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file);
	if (uffd_open(&uffd, 0) ||
	    uffd_watch(&uffd, self->map, BYTES, UFFDIO_REGISTER_MODE_MISSING) ||
	    ioctl(uffd.fd, UFFDIO_ZEROPAGE, &zeroes))
		SKIP(return, "no userfaultfd");
	EXPECT_EQ(0, place(self->fd, self->map, N, variant->flags, self->got));
	EXPECT_EQ(N, self->got->answer.cpages);
	EXPECT_EQ(0, self->got->place.moved);
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, N));
	close(uffd.fd);
	close(file);
}

TEST_F(hmm_place, huge_page_not_requested)
{
	char *map = map_pattern_thp(self->fd, 2 * HUGE_BYTES, SEED);
	size_t i;

	if (!map)
		SKIP(return, "no huge pages");
	memset(self->got, 0, sizeof(*self->got));
	self->got->place.flags = variant->flags | WRITE;
	self->got->place.skip = (uintptr_t)self->got->skip;
	for (i = HUGE_PAGES; i < MOST; i++)
		self->got->skip[i] = 1;
	EXPECT_EQ(0, place_with(self->fd, map, MOST, self->got));
	EXPECT_EQ(HUGE_PAGES, self->got->place.moved);
	EXPECT_EQ(HUGE_PAGES, on_device(self->got, MOST, HMM_DMIRROR_PROT_WRITE));
	EXPECT_EQ(HMM_DMIRROR_PROT_WRITE | HMM_DMIRROR_PROT_PMD, self->got->prot[HUGE_PAGES]);
	EXPECT_TRUE(device_reads(self->fd, map, MOST, SEED));
	munmap(map, 2 * HUGE_BYTES);
}

/* What is not requested is not faulted in, with or without a page table. */
TEST_F(hmm_place, requested_at_the_end)
{
	char *map = map_anon(2 * HUGE_BYTES);
	size_t i;

	memset(self->got, 0, sizeof(*self->got));
	self->got->place.flags = variant->flags | WRITE;
	self->got->place.skip = (uintptr_t)self->got->skip;
	for (i = 0; i < MOST; i++)
		self->got->skip[i] = i % HUGE_PAGES != 5;
	EXPECT_EQ(0, place_with(self->fd, map, MOST, self->got));
	EXPECT_EQ(2, self->got->place.moved);
	EXPECT_EQ(2, on_device(self->got, MOST, HMM_DMIRROR_PROT_WRITE));
	EXPECT_EQ(0, present_pages(map, MOST));
	munmap(map, 2 * HUGE_BYTES);
}

TEST_F(hmm_place, not_requested)
{
	size_t i;

	pattern_fill(self->map, N / 2, SEED);
	memset(self->got, 0, sizeof(*self->got));
	self->got->place.flags = variant->flags | WRITE;
	self->got->place.skip = (uintptr_t)self->got->skip;
	for (i = 0; i < N; i += 2)
		self->got->skip[i] = 1;
	place_with(self->fd, self->map, N, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(N / 2, self->got->place.moved);
	for (i = 0; i < N; i++) {
		unsigned char place = self->got->prot[i] & PLACE_MASK;

		EXPECT_EQ(i % 2 ? own_place(0) : 0, place);
		EXPECT_EQ(i % 2 || i < N / 2, !!(self->got->prot[i] & ACCESS_MASK));
	}
	EXPECT_TRUE(device_reads(self->fd, self->map, N / 2, SEED));
}

/* Failures */

TEST_F(hmm_place, device_full)
{
	pattern_fill(self->map, N / 2, SEED);
	device_fail(self->fd, HMM_DMIRROR_FAIL_RESERVE, 1);
	EXPECT_EQ(-ENOSPC, place(self->fd, self->map, N, variant->flags | WRITE,
				 self->got));
	EXPECT_EQ(0, self->got->place.moved);
	EXPECT_EQ(0, self->got->place.unreserved);
	EXPECT_EQ(N / 2, present_pages(self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N / 2, SEED));
}

TEST_F(hmm_place, copy_fails)
{
	pattern_fill(self->map, N / 2, SEED);
	device_fail(self->fd, HMM_DMIRROR_FAIL_COPY, 7);
	EXPECT_EQ(-EIO, place(self->fd, self->map, N, variant->flags | WRITE,
			      self->got));
	EXPECT_EQ(0, self->got->place.moved);
	EXPECT_EQ(1, self->got->place.unreserved);
	EXPECT_EQ(N / 2, present_pages(self->map, N));
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
	EXPECT_TRUE(pattern_is(self->map, N / 2, SEED));
}

/* What has moved stays moved, and is there for the next device fault. */
TEST_F(hmm_place, map_fails)
{
	pattern_fill(self->map, N, SEED);
	device_fail(self->fd, HMM_DMIRROR_FAIL_TABLE, 1);
	EXPECT_EQ(-ENOMEM, place(self->fd, self->map, N, variant->flags | WRITE,
				 self->got));
	EXPECT_EQ(0, self->got->answer.cpages);
	EXPECT_EQ(1, self->got->place.unreserved);
	EXPECT_EQ(N, device_count(self->fd, self->map, N, own_place(0)));
	place(self->fd, self->map, N, variant->flags | WRITE, self->got);
	EXPECT_EQ(0, self->got->place.moved);
	EXPECT_ALL_PLACED(self->map, N, SEED);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_F(hmm_place, one_allocation_fails)
{
	pattern_fill(self->map, N, SEED);
	device_fail(self->fd, HMM_DMIRROR_FAIL_DEVICE_ALLOC, 3);
	place(self->fd, self->map, N, variant->flags | WRITE, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(N - 1, self->got->place.moved);
	EXPECT_EQ(HMM_DMIRROR_WHY_NO_DESTINATION, self->got->why[2]);
	EXPECT_EQ(HMM_DMIRROR_PROT_WRITE, self->got->prot[2]);
	EXPECT_EQ(0, device_faults(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, SEED));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* A hole that the device cannot fill is filled by a fault. */
TEST_F(hmm_place, one_allocation_for_a_hole_fails)
{
	device_fail(self->fd, HMM_DMIRROR_FAIL_DEVICE_ALLOC, 3);
	place(self->fd, self->map, N, variant->flags | WRITE, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(N, self->got->answer.cpages);
	EXPECT_EQ(0, device_faults(self->fd, self->map, N));
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, N));
}

TEST_F(hmm_place, bad_arguments)
{
	memset(self->got, 0, sizeof(*self->got));
	EXPECT_EQ(-EFAULT, device_ask(self->fd, HMM_DMIRROR_PLACE, self->map, NULL, N).rc);
	EXPECT_EQ(-EINVAL, place(self->fd, self->map, N, 0x80, self->got));
	EXPECT_EQ(-EINVAL, place(self->fd, self->map, 1UL << 40, 0, self->got));
	EXPECT_EQ(0, present_pages(self->map, N));
}

/* userfaultfd */

static void fill_missing(struct uffd *uffd, char *page, bool write)
{
	uffd_fill(uffd, page, 7);
}

TEST_F(hmm_place, userfaultfd_missing)
{
	struct uffd uffd = { .on_fault = fill_missing };
	size_t i;

	if (uffd_open(&uffd, 0) ||
	    uffd_watch(&uffd, self->map, BYTES, UFFDIO_REGISTER_MODE_MISSING))
		SKIP(return, "no userfaultfd");
	uffd_start(&uffd);
	place(self->fd, self->map, N, variant->flags | WRITE, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(N, on_device(self->got, N, HMM_DMIRROR_PROT_WRITE));
	uffd_stop(&uffd);
	for (i = 0; i < N; i++)
		EXPECT_EQ(7, self->map[i * PAGE_BYTES]);
}

static void unprotect(struct uffd *uffd, char *page, bool write)
{
	(*(size_t *)uffd->arg)++;
	uffd_protect(uffd, UFFDIO_WRITEPROTECT, page, PAGE_BYTES, 0);
}

TEST_F(hmm_place, userfaultfd_write_protect)
{
	size_t faults = 0;
	struct uffd uffd = { .on_fault = unprotect, .arg = &faults };

	pattern_fill(self->map, N, SEED);
	if (uffd_open(&uffd, UFFD_FEATURE_PAGEFAULT_FLAG_WP) ||
	    uffd_watch(&uffd, self->map, BYTES, UFFDIO_REGISTER_MODE_WP) ||
	    uffd_protect(&uffd, UFFDIO_WRITEPROTECT, self->map, BYTES,
			 UFFDIO_WRITEPROTECT_MODE_WP))
		SKIP(return, "no userfaultfd");
	uffd_start(&uffd);
	place(self->fd, self->map, N, variant->flags, self->got);
	EXPECT_ALL_PLACED(self->map, N, SEED);
	EXPECT_EQ(0, on_device(self->got, N, HMM_DMIRROR_PROT_WRITE));
	EXPECT_EQ(0, faults);
	EXPECT_TRUE(uffd_is_protected(self->map));
	place(self->fd, self->map, N, variant->flags | WRITE, self->got);
	EXPECT_ALL_PLACED(self->map, N, SEED);
	EXPECT_EQ(N, on_device(self->got, N, HMM_DMIRROR_PROT_WRITE));
	EXPECT_EQ(N, faults);
	uffd_stop(&uffd);
}

/* May the first page of a huge page, and the rest of it, be written to? */
static bool writable_are(const struct placed_range *got, bool first, bool rest)
{
	size_t i;

	for (i = 0; i < HUGE_PAGES; i++)
		if (!(got->prot[i] & HMM_DMIRROR_PROT_WRITE) == (i ? rest : first))
			return false;
	return true;
}

/*
 * PTEs map a huge page, and userfaultfd has marked some of its pages, either the
 * first or all others. The answers tell them apart.
 */
static void expect_marks_heeded(struct __test_metadata *_metadata,
				struct _test_data_hmm_place *self,
				unsigned int flags, bool first)
{
	size_t faults = 0, from = first ? 0 : 1, nr = first ? 1 : HUGE_PAGES - 1;
	struct uffd uffd = { .on_fault = unprotect, .arg = &faults };
	char *map = map_pattern_thp(self->fd, HUGE_BYTES, SEED);

	if (!map)
		SKIP(return, "no huge page");
	if (uffd_open(&uffd, UFFD_FEATURE_PAGEFAULT_FLAG_WP) ||
	    uffd_watch(&uffd, map, HUGE_BYTES, UFFDIO_REGISTER_MODE_WP) ||
	    uffd_protect(&uffd, UFFDIO_WRITEPROTECT, map + from * PAGE_BYTES,
			 nr * PAGE_BYTES, UFFDIO_WRITEPROTECT_MODE_WP))
		SKIP(return, "no userfaultfd");
	uffd_start(&uffd);
	place(self->fd, map, HUGE_PAGES, flags, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(HUGE_PAGES, self->got->place.moved);
	EXPECT_TRUE(writable_are(self->got, !first, first));
	EXPECT_EQ(0, faults);
	uffd_stop(&uffd);
	munmap(map, HUGE_BYTES);
}

TEST_F(hmm_place, userfaultfd_write_protect_in_a_huge_page)
{
	expect_marks_heeded(_metadata, self, variant->flags, false);
}

TEST_F(hmm_place, userfaultfd_write_protect_before_a_huge_page)
{
	expect_marks_heeded(_metadata, self, variant->flags, true);
}

/* Holes that are not requested, where userfaultfd handles missing pages */
TEST_F(hmm_place, holes_that_are_not_requested)
{
	struct uffd uffd = { .on_fault = fill_missing };
	struct pinned pinned;
	size_t i;

	pattern_fill(self->map, N / 2, SEED);
	if (uffd_open(&uffd, 0) ||
	    uffd_watch(&uffd, self->map, BYTES, UFFDIO_REGISTER_MODE_MISSING))
		SKIP(return, "no userfaultfd");
	uffd_start(&uffd);
	/* A page that stays */
	pin_page(&pinned, self->map + 3 * PAGE_BYTES);
	memset(self->got, 0, sizeof(*self->got));
	self->got->place.flags = variant->flags | WRITE;
	self->got->place.skip = (uintptr_t)self->got->skip;
	for (i = N / 2; i < N; i++)
		self->got->skip[i] = 1;
	place_with(self->fd, self->map, N, self->got);
	EXPECT_EQ(0, self->got->answer.rc);
	EXPECT_EQ(N / 2 - 1, self->got->place.moved);
	for (i = N / 2; i < N; i++)
		EXPECT_EQ(HMM_DMIRROR_WHY_NOT_SELECTED, self->got->why[i]);
	unpin_page(&pinned, SEED + 3);
	uffd_stop(&uffd);
}

/* Races */

struct racer {
	pthread_t thread;
	char *map;
	unsigned int flags;
	unsigned int device;
	unsigned long failures;
	__u64 most_retries;
	bool *stop;	/* atomic */
};

static bool is_stopped(const struct racer *racer)
{
	return __atomic_load_n(racer->stop, __ATOMIC_RELAXED);
}

static void *keep_placing(void *arg)
{
	struct placed_range *got = calloc(1, sizeof(*got));
	struct racer *racer = arg;
	static const unsigned int rounds[] = { 200, 50, 10 };
	const char *reason;
	int fd = device_open(racer->device, &reason);
	unsigned int i;

	for (i = 0; i < rounds[how_brief()]; i++) {
		if (place(fd, racer->map, N, racer->flags, got))
			racer->failures++;
		if (got->place.retries > racer->most_retries)
			racer->most_retries = got->place.retries;
	}
	close(fd);
	free(got);
	return NULL;
}

/* What takes pages back until it is stopped */
static void *pull_back(void *arg)
{
	struct racer *racer = arg;
	const char *reason;
	int fd = device_open(racer->device, &reason);

	while (!is_stopped(racer))
		device_take(fd, racer->map, N);
	close(fd);
	return NULL;
}

/* One page: each attempt must fault it in again before it can move. */
static void *pull_one_back(void *arg)
{
	struct racer *racer = arg;
	const char *reason;
	int fd = device_open(racer->device, &reason);

	while (!is_stopped(racer))
		device_take(fd, racer->map + 5 * PAGE_BYTES, 1);
	close(fd);
	return NULL;
}

static void *touch(void *arg)
{
	struct racer *racer = arg;

	while (!is_stopped(racer))
		read_pages(racer->map, N);
	return NULL;
}

static void *drop(void *arg)
{
	struct racer *racer = arg;

	while (!is_stopped(racer))
		madvise(racer->map + (rand() % N) * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED);
	return NULL;
}

/*
 * Each call must end well. Four races may be lost to each competitor's changes
 * before it is excluded; then only those that come by rmap remain, and there
 * are none here but the migrations that were under way.
 */
static void race(struct __test_metadata *_metadata, char *map, unsigned int flags,
		 void *(*competitor)(void *), unsigned int device)
{
	struct racer racers[RACERS + 1] = {};
	bool stop = false;
	size_t i;

	for (i = 0; i <= RACERS; i++)
		racers[i] = (struct racer){
			.map = map,
			.flags = flags,
			.device = i == RACERS ? device : 0,
			.stop = &stop,
		};
	ASSERT_EQ(0, pthread_create(&racers[RACERS].thread, NULL, competitor, &racers[RACERS]));
	for (i = 0; i < RACERS; i++)
		ASSERT_EQ(0, pthread_create(&racers[i].thread, NULL, keep_placing, &racers[i]));
	for (i = 0; i < RACERS; i++) {
		pthread_join(racers[i].thread, NULL);
		EXPECT_EQ(0, racers[i].failures);
		EXPECT_GE(8, racers[i].most_retries) {
			TH_LOG("%llu races lost by one call", racers[i].most_retries);
		}
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(racers[RACERS].thread, NULL);
}

TEST_F_TIMEOUT(hmm_place, against_another_device, 300)
{
	pattern_fill(self->map, N, SEED);
	race(_metadata, self->map, variant->flags | WRITE, pull_back, 1);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_F_TIMEOUT(hmm_place, against_another_device_for_one_page, 300)
{
	pattern_fill(self->map, N, SEED);
	race(_metadata, self->map, variant->flags | WRITE, pull_one_back, 1);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_F_TIMEOUT(hmm_place, against_cpu_faults, 300)
{
	pattern_fill(self->map, N, SEED);
	race(_metadata, self->map, variant->flags | WRITE, touch, 0);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_F_TIMEOUT(hmm_place, against_zapping, 300)
{
	race(_metadata, self->map, variant->flags | WRITE, drop, 0);
	EXPECT_TRUE(is_zero(self->map, N));
}

TEST_HARNESS_MAIN
