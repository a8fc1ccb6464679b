// SPDX-License-Identifier: GPL-2.0
/*
 * Large folios of coherent memory: however they are split, the data is right,
 * all device pages are freed, and none of them ends up on a list that reclaim
 * scans.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mm/gup_test.h>

#include "kselftest_harness.h"
#include "lib/move.h"

#define SEED		0x1000UL
#define OTHER		0x200000UL
#define HALF		(HUGE_PAGES / 2)
#define HALF_BYTES	(HUGE_BYTES / 2)
#define HUGE		"2048kB"
#define WHOLE		(HMM_MOVE_COMPOUND | HMM_MOVE_FOLIOS)
#define TO_COHERENT	(HMM_MOVE_COHERENT | HMM_MOVE_TO_DEVICE | \
			 HMM_MOVE_HINT | WHOLE)
#define FROM_COHERENT	(HMM_MOVE_COHERENT | WHOLE)

FIXTURE(coherent_large)
{
	int probe;
	int fd;
	char *map;		/* a huge page with a pattern, on the device */
	long deferred;		/* huge pages queued to be split, so far */
	long partly_mapped;	/* and those that wait for it */
};

FIXTURE_SETUP(coherent_large)
{
	self->probe = probe_open();
	self->fd = move_open();
	if (self->probe < 0 || self->fd < 0)
		SKIP(return, "no /dev/hmm_probe_move");
	if (move_coherent_in_use(self->fd) < 0)
		SKIP(return, "no memory is reserved for the probe");
	ASSERT_TRUE(move_coherent_in_use_is(self->fd, 0));
	self->map = map_thp(self->probe, HUGE_BYTES);
	if (!self->map)
		SKIP(return, "no huge page");
	pattern_fill(self->map, HUGE_PAGES, SEED);
	self->deferred = folio_stat(HUGE, "split_deferred");
	self->partly_mapped = folio_stat(HUGE, "nr_anon_partially_mapped");
	ASSERT_EQ(HUGE_PAGES, move_pages_to(self->fd, self->map, HUGE_PAGES,
					    TO_COHERENT, HUGE_ORDER).whole);
	ASSERT_EQ(HUGE_PAGES, move_coherent_in_use(self->fd));
}

FIXTURE_TEARDOWN(coherent_large)
{
	EXPECT_EQ(self->deferred, folio_stat(HUGE, "split_deferred"));
	munmap(self->map, HUGE_BYTES);
	EXPECT_TRUE(move_coherent_in_use_is(self->fd, 0));
	EXPECT_EQ(self->partly_mapped,
		  folio_stat(HUGE, "nr_anon_partially_mapped"));
	close(self->fd);
	close(self->probe);
}

/* Run all shrinkers, including the one that splits deferred folios. */
static void reclaim_slabs(void)
{
	vm_order("drop_caches", "2");
}

/* Of the range, into folios of @order */
static bool split_pages(void *addr, size_t bytes, unsigned int order)
{
	int fd = open("/sys/kernel/debug/split_huge_pages", O_WRONLY);
	bool done;

	if (fd < 0)
		return false;
	done = dprintf(fd, "%d,0x%lx,0x%lx,%u", getpid(), (long)addr,
		       (long)addr + bytes, order) > 0;
	close(fd);
	return done;
}

static struct hmm_move bring_back(int fd, void *addr, size_t npages,
				  unsigned int order)
{
	return move_pages_to(fd, addr, npages, FROM_COHERENT, order);
}

TEST_F(coherent_large, migrates_back_unsplit)
{
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, SEED));
	EXPECT_EQ(HUGE_PAGES, bring_back(self->fd, self->map, HUGE_PAGES,
					 HUGE_ORDER).whole);
	EXPECT_TRUE(move_coherent_in_use_is(self->fd, 0));
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, SEED));
}

/* The core splits it on the way: there are only smaller destinations. */
TEST_F(coherent_large, migrates_back_in_pages)
{
	EXPECT_EQ(HUGE_PAGES, bring_back(self->fd, self->map, HUGE_PAGES,
					 0).moved);
	EXPECT_TRUE(move_coherent_in_use_is(self->fd, 0));
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, SEED));
}

TEST_F(coherent_large, migrates_back_in_64k)
{
	EXPECT_EQ(HUGE_PAGES, bring_back(self->fd, self->map, HUGE_PAGES,
					 4).whole);
	EXPECT_TRUE(move_coherent_in_use_is(self->fd, 0));
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, SEED));
}

/* It is split while it is mapped, and the rest goes on as pages. */
TEST_F(coherent_large, a_part_migrates_back)
{
	EXPECT_EQ(100, bring_back(self->fd, self->map, 100, HUGE_ORDER).moved);
	EXPECT_TRUE(move_coherent_in_use_is(self->fd, HUGE_PAGES - 100));
	reclaim_slabs();
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, SEED));
	EXPECT_EQ(HUGE_PAGES - 100, bring_back(self->fd, self->map, HUGE_PAGES,
					       HUGE_ORDER).moved);
	EXPECT_TRUE(move_coherent_in_use_is(self->fd, 0));
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, SEED));
}

TEST_F(coherent_large, a_part_is_evicted)
{
	void *pfn = (void *)pfn_at(self->probe, self->map);

	EXPECT_EQ(100, move_pages_to(self->fd, pfn, 100,
				     HMM_MOVE_BY_PFN | HMM_MOVE_COHERENT,
				     HUGE_ORDER).moved);
	EXPECT_TRUE(move_coherent_in_use_is(self->fd, HUGE_PAGES - 100));
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, SEED));
}

/* A folio that is mapped in part must not be reclaimed, nor be leaked. */

TEST_F(coherent_large, a_part_is_unmapped)
{
	ASSERT_EQ(0, munmap(self->map + HALF_BYTES, HALF_BYTES));
	reclaim_slabs();
	EXPECT_TRUE(pattern_is(self->map, HALF, SEED));
	EXPECT_EQ(HALF, bring_back(self->fd, self->map, HALF,
				   HUGE_ORDER).moved);
	EXPECT_TRUE(move_coherent_in_use_is(self->fd, 0));
	EXPECT_TRUE(pattern_is(self->map, HALF, SEED));
}

TEST_F(coherent_large, a_part_is_dropped)
{
	ASSERT_EQ(0, madvise(self->map, HALF_BYTES, MADV_DONTNEED));
	reclaim_slabs();
	EXPECT_TRUE(is_zero(self->map, HALF));
	EXPECT_TRUE(pattern_is(self->map + HALF_BYTES, HALF, SEED + HALF));
}

/* The other half of it is freed by the split. */
TEST_F(coherent_large, a_part_is_dropped_and_the_rest_split)
{
	ASSERT_EQ(0, madvise(self->map, HALF_BYTES, MADV_DONTNEED));
	if (!split_pages(self->map, HUGE_BYTES, 0))
		SKIP(return, "no split_huge_pages in debugfs");
	EXPECT_TRUE(move_coherent_in_use_is(self->fd, HALF));
	reclaim_slabs();
	EXPECT_TRUE(pattern_is(self->map + HALF_BYTES, HALF, SEED + HALF));
}

static void split_in_place(struct __test_metadata *_metadata, int fd, char *map,
			   unsigned int order)
{
	long split = folio_stat(HUGE, "split");

	if (!split_pages(map, HUGE_BYTES, order))
		SKIP(return, "no split_huge_pages in debugfs");
	EXPECT_EQ(split + 1, folio_stat(HUGE, "split"));
	EXPECT_EQ(HUGE_PAGES, move_coherent_in_use(fd));
	reclaim_slabs();
	EXPECT_TRUE(pattern_is(map, HUGE_PAGES, SEED));
	pattern_fill(map, HUGE_PAGES, OTHER);
	/* Each part by itself */
	ASSERT_EQ(0, madvise(map, 16 * PAGE_BYTES, MADV_DONTNEED));
	EXPECT_TRUE(move_coherent_in_use_is(fd, HUGE_PAGES - 16));
	map += 16 * PAGE_BYTES;
	EXPECT_EQ(HUGE_PAGES - 16, bring_back(fd, map, HUGE_PAGES - 16,
					      HUGE_ORDER).moved);
	EXPECT_TRUE(move_coherent_in_use_is(fd, 0));
	EXPECT_TRUE(pattern_is(map, HUGE_PAGES - 16, OTHER + 16));
}

TEST_F(coherent_large, is_split_into_pages)
{
	split_in_place(_metadata, self->fd, self->map, 0);
}

TEST_F(coherent_large, is_split_into_64k)
{
	split_in_place(_metadata, self->fd, self->map, 4);
}

/* A device page full of zeroes is not replaced by the shared zero page. */
TEST_F(coherent_large, zeroes_stay_when_it_is_split)
{
	memset(self->map, 0, HALF_BYTES);
	if (!split_pages(self->map, HUGE_BYTES, 0))
		SKIP(return, "no split_huge_pages in debugfs");
	EXPECT_EQ(HUGE_PAGES, move_coherent_in_use(self->fd));
	EXPECT_TRUE(is_zero(self->map, HALF));
	EXPECT_TRUE(pattern_is(self->map + HALF_BYTES, HALF, SEED + HALF));
}

/* Each writes to its own half of what both have mapped. */
TEST_F(coherent_large, is_shared_and_written_to)
{
	struct child child;

	child_start(&child);
	EXPECT_TRUE(child_do(&child, work_check, self->map, HUGE_PAGES, SEED));
	EXPECT_EQ(0, child_do(&child, work_fill, self->map, HALF, OTHER));
	pattern_fill(self->map + HALF_BYTES, HALF, OTHER + HALF);
	reclaim_slabs();
	EXPECT_TRUE(pattern_is(self->map, HALF, SEED));
	EXPECT_TRUE(child_do(&child, work_check, self->map, HALF, OTHER));
	EXPECT_TRUE(child_do(&child, work_check, self->map + HALF_BYTES, HALF,
			     SEED + HALF));
	child_stop(&child);
	EXPECT_TRUE(pattern_is(self->map + HALF_BYTES, HALF, OTHER + HALF));
}

static void pin_for_long(struct __test_metadata *_metadata, int fd, char *map)
{
	struct pin_longterm_test pin = {
		.addr = (uintptr_t)map,
		.size = HUGE_BYTES,
	};
	int gup = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);

	if (gup < 0)
		SKIP(return, "no gup_test in debugfs");
	ASSERT_EQ(0, ioctl(gup, PIN_LONGTERM_TEST_START, &pin));
	EXPECT_TRUE(move_coherent_in_use_is(fd, 0));
	EXPECT_TRUE(pattern_is(map, HUGE_PAGES, SEED));
	EXPECT_EQ(0, ioctl(gup, PIN_LONGTERM_TEST_STOP));
	close(gup);
}

TEST_F(coherent_large, long_term_pin_moves_it)
{
	pin_for_long(_metadata, self->fd, self->map);
}

/* A page in the middle was replaced by one in system memory. */
TEST_F(coherent_large, long_term_pin_moves_the_remainder)
{
	char *middle = self->map + 5 * PAGE_BYTES;

	ASSERT_EQ(0, madvise(middle, PAGE_BYTES, MADV_DONTNEED));
	pattern_fill(middle, 1, SEED + 5);
	EXPECT_EQ(HUGE_PAGES, move_coherent_in_use(self->fd));
	pin_for_long(_metadata, self->fd, self->map);
}

TEST_HARNESS_MAIN
