// SPDX-License-Identifier: GPL-2.0
/*
 * Mlocked memory and devices: which pages count as mlocked, and that no page
 * stays where it is because a processor has put off the end of its mlock.
 *
 * Runs on the stock driver as well.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/exclusive.h"

#define N	8UL	/* fewer pages than a processor puts off */
#define SEED	0x1000UL
#define OTHER	0x200000UL
#define BYTES	(N * PAGE_BYTES)
#define SWAP_BYTES	(32UL << 20)

static unsigned int device;	/* the number of the test's */

FIXTURE(hmm_mlock)
{
	char *map;	/* N small pages with a pattern, mlocked */
	struct swap swap;
	long before;
};

FIXTURE_VARIANT(hmm_mlock)
{
	unsigned int device;
};

FIXTURE_VARIANT_ADD(hmm_mlock, private)
{
	.device = 0,
};

FIXTURE_VARIANT_ADD(hmm_mlock, coherent)
{
	.device = 2,
};

/* Of all processes; no other one has any. */
static long mlocked_pages(void)
{
	/* All processors do what they have put off, and tell what they counted. */
	vm_order("drop_caches", "1");
	vm_order("stat_refresh", "1");
	return vm_event("nr_mlock");
}

#define EXPECT_MLOCKED(n)						\
	EXPECT_EQ(self->before + (long)(n), mlocked_pages())

FIXTURE_SETUP(hmm_mlock)
{
	int fd = dmirror_open(variant->device);

	if (fd < 0)
		SKIP(return, "no /dev/hmm_dmirror%u", variant->device);
	close(fd);
	device = variant->device;
	self->swap.disk = -1;
	self->before = mlocked_pages();
	self->map = map_anon_small(BYTES);
	pattern_fill(self->map, N, SEED);
	if (mlock(self->map, BYTES))
		SKIP(return, "mlock: %s", strerror(errno));
}

FIXTURE_TEARDOWN(hmm_mlock)
{
	munmap(self->map, BYTES);
	swap_stop(&self->swap);
	EXPECT_MLOCKED(0);
}

/*
 * Migrates the pages through a file of the calling process; returns how many
 * are on the device then. The file stays open: closing it would migrate them
 * back.
 */
static long work_move(char *map, size_t npages, __u64 request)
{
	int fd = dmirror_open(device);

	if (fd < 0)
		return -errno;
	dmirror_command(fd, request, map, npages);
	return device_count(fd, map, npages, own_place(device));
}

/* What is not on the LRU is not kept from reclaim: it does not count. */
TEST_F(hmm_mlock, counted_unless_device_private)
{
	EXPECT_MLOCKED(N);
	ASSERT_EQ(N, work_move(self->map, N, HMM_DMIRROR_MIGRATE_TO_DEV));
	EXPECT_MLOCKED(0);
	ASSERT_EQ(0, work_move(self->map, N, HMM_DMIRROR_MIGRATE_TO_SYS));
	EXPECT_MLOCKED(N);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_F(hmm_mlock, munlocked_in_device_memory)
{
	ASSERT_EQ(N, work_move(self->map, N, HMM_DMIRROR_MIGRATE_TO_DEV));
	ASSERT_EQ(0, munlock(self->map, BYTES));
	EXPECT_MLOCKED(0);
	munmap(self->map, BYTES / 2);
	EXPECT_MLOCKED(0);
	ASSERT_EQ(0, work_move(self->map + BYTES / 2, N / 2, HMM_DMIRROR_MIGRATE_TO_SYS));
	EXPECT_MLOCKED(0);
	EXPECT_TRUE(pattern_is(self->map + BYTES / 2, N / 2, SEED + N / 2));
}

/*
 * The parent, whose memory is mlocked, writes to pages that its child shares,
 * and gets copies. The child is left with pages that the processor has yet to
 * munlock, and does not wait for that.
 */
static long moved_after_copies(char *map, __u64 request)
{
	char *other = map_anon_small(PAGE_BYTES);
	struct child child;
	long there;

	run_on(0);
	child_start(&child);
	run_on(1);
	/* The processor does what it has put off so far. */
	if (mlock(other, PAGE_BYTES))
		fatal("mlock: %s", strerror(errno));
	pattern_fill(map, N, OTHER);
	there = child_do(&child, work_move, map, N, request);
	if (!child_do(&child, work_check, map, N, SEED))
		there = -EIO;
	child_stop(&child);
	munmap(other, PAGE_BYTES);
	return there;
}

TEST_F(hmm_mlock, migrates_after_munlock_on_another_cpu)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two processors");
	EXPECT_EQ(N, moved_after_copies(self->map, HMM_DMIRROR_MIGRATE_TO_DEV));
	EXPECT_TRUE(pattern_is(self->map, N, OTHER));
}

TEST_F(hmm_mlock, migrates_back_after_munlock_on_another_cpu)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two processors");
	ASSERT_EQ(N, work_move(self->map, N, HMM_DMIRROR_MIGRATE_TO_DEV));
	EXPECT_EQ(0, moved_after_copies(self->map, HMM_DMIRROR_MIGRATE_TO_SYS));
	EXPECT_TRUE(pattern_is(self->map, N, OTHER));
}

/*
 * The child swaps the pages in, and the parent, in whose mapping they are
 * mlocked, maps them: the mlock waits in this processor's batch. Another
 * processor, which has only the munlock in its batch, must not release the
 * pages before.
 */
TEST_F(hmm_mlock, migrates_after_mlock_on_another_cpu)
{
	struct child child;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two processors");
	if (!swap_start(&self->swap, SWAP_BYTES))
		SKIP(return, "no zram to swap to");
	ASSERT_EQ(0, munlock(self->map, BYTES));
	ASSERT_TRUE(swap_out(self->map, N));
	ASSERT_EQ(0, mlock2(self->map, BYTES, MLOCK_ONFAULT));
	child_start(&child);
	ASSERT_TRUE(child_do(&child, work_check, self->map, N, SEED));
	/* To the LRU, from where they are mlocked */
	mlocked_pages();
	run_on(1);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	run_on(0);
	EXPECT_EQ(N, work_move(self->map, N, HMM_DMIRROR_MIGRATE_TO_DEV));
	EXPECT_TRUE(child_do(&child, work_check, self->map, N, SEED));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	child_stop(&child);
}

/*
 * Exclusive pages are mapped and on the LRU: they count as mlocked, and
 * munlock() finds them, whether PTEs or a PMD map them.
 */
FIXTURE(mlock_exclusive)
{
	int fd;
	char *map;
	struct swap swap;
	long before;
};

FIXTURE_VARIANT(mlock_exclusive)
{
	bool huge;
	size_t exclusive;	/* pages, from the first on */
};

FIXTURE_VARIANT_ADD(mlock_exclusive, small)
{
	.huge = false,
	.exclusive = HUGE_PAGES,
};

FIXTURE_VARIANT_ADD(mlock_exclusive, huge)
{
	.huge = true,
	.exclusive = HUGE_PAGES,
};

/* PTEs of one folio: some exclusive, the others present */
FIXTURE_VARIANT_ADD(mlock_exclusive, half_of_a_huge_page)
{
	.huge = true,
	.exclusive = HUGE_PAGES / 2,
};

FIXTURE_SETUP(mlock_exclusive)
{
	int probe = probe_open();

	self->swap.disk = -1;
	self->map = NULL;
	self->before = mlocked_pages();
	self->fd = dmirror_open(0);
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_dmirror0");
	if (variant->huge && probe < 0)
		SKIP(return, "no hmm_probe");
	self->map = variant->huge ? map_thp(probe, HUGE_BYTES) :
				    map_anon_small(HUGE_BYTES);
	if (!self->map)
		SKIP(return, "no huge page");
	pattern_fill(self->map, HUGE_PAGES, SEED);
	ASSERT_EQ(0, mlock(self->map, HUGE_BYTES));
	ASSERT_EQ(0, device_seize(self->fd, self->map, variant->exclusive));
}

FIXTURE_TEARDOWN(mlock_exclusive)
{
	if (self->map)
		munmap(self->map, HUGE_BYTES);
	swap_stop(&self->swap);
	EXPECT_MLOCKED(0);
}

TEST_F(mlock_exclusive, munlocked)
{
	EXPECT_MLOCKED(HUGE_PAGES);
	ASSERT_EQ(0, munlock(self->map, HUGE_BYTES));
	EXPECT_MLOCKED(0);
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, SEED));
	EXPECT_MLOCKED(0);
}

TEST_F(mlock_exclusive, munlocked_in_part)
{
	ASSERT_EQ(0, munlock(self->map, HUGE_BYTES / 2));
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, SEED));
	ASSERT_EQ(0, munlock(self->map, HUGE_BYTES));
	EXPECT_MLOCKED(0);
}

#define RECLAIM_TRIES	50

TEST_F(mlock_exclusive, munlocked_and_reclaimed)
{
	struct reclaimer reclaimer;
	int tries;

	if (!swap_start(&self->swap, RECLAIM_SWAP_BYTES))
		SKIP(return, "no zram to swap to");
	if (!reclaimer_start(&reclaimer))
		SKIP(return, "no memory.reclaim");
	ASSERT_EQ(0, munlock(self->map, HUGE_BYTES));
	for (tries = 0; tries < RECLAIM_TRIES; tries++) {
		/* For pagemap, exclusive pages are swapped as well. */
		if (swapped_pages(self->map, HUGE_PAGES) == HUGE_PAGES &&
		    !device_seized(self->fd, self->map, HUGE_PAGES))
			break;
		reclaimer_run(&reclaimer, 4 * HUGE_BYTES);
	}
	reclaimer_stop(&reclaimer);
	EXPECT_EQ(HUGE_PAGES, swapped_pages(self->map, HUGE_PAGES));
	EXPECT_EQ(0, device_seized(self->fd, self->map, HUGE_PAGES));
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, SEED));
}

TEST_HARNESS_MAIN
