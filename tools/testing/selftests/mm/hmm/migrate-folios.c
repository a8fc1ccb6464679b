// SPDX-License-Identifier: GPL-2.0
/*
 * Migrations that the dummy driver does not do: folios that are larger than the
 * holes that they fill, and folios that are locked or referenced elsewhere.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/move.h"

#define LOCK_ROUNDS	500
#define SEED		0x1000UL
#define ORDER		4
#define PAGES		16UL	/* of this order */
#define WHOLE		(HMM_MOVE_COMPOUND | HMM_MOVE_FOLIOS)

/* Large folios for small holes, and eviction in steps */

FIXTURE(migrate_folios)
{
	int probe;
	int fd;
	char *map;	/* a huge page's worth, not touched */
};

/* 7.3 splits large folios, and waits for their locks to do so. */
static bool keeps_folios_whole(int fd)
{
	struct hmm_move none = { .npages = 1, .flags = HMM_MOVE_JOIN };

	return !move_try(fd, &none) || errno != EOPNOTSUPP;
}

FIXTURE_SETUP(migrate_folios)
{
	self->probe = probe_open();
	self->fd = move_open();
	if (self->probe < 0 || self->fd < 0)
		SKIP(return, "no /dev/hmm_probe_move");
	if (!keeps_folios_whole(self->fd))
		SKIP(return, "7.3 can do nothing of this");
	move_serve(self->fd, HUGE_PAGES, WHOLE, 0);
	self->map = map_anon(HUGE_BYTES);
}

FIXTURE_TEARDOWN(migrate_folios)
{
	munmap(self->map, HUGE_BYTES);
	EXPECT_TRUE(move_in_use_is(self->fd, 0));
	EXPECT_EQ(0, move_served(self->fd).freed_locked);
	close(self->fd);
	close(self->probe);
}

static struct hmm_move fill_holes(int fd, char *map, size_t npages,
				  unsigned int order)
{
	return move_pages_to(fd, map, npages,
			     HMM_MOVE_TO_DEVICE | HMM_MOVE_JOIN, order);
}

#define on_device(at, n)						\
	pages_on_device(self->probe, self->map + (at) * PAGE_BYTES, n)

/* The first pages of a folio that was freed are in use again, as a smaller one. */
TEST_F(migrate_folios, free_pages_are_in_no_folio)
{
	struct hmm_move move = fill_holes(self->fd, self->map, PAGES, ORDER);
	__u64 first = pfn_at(self->probe, self->map);

	ASSERT_EQ(PAGES, move.whole);
	ASSERT_EQ(0, madvise(self->map, HUGE_BYTES, MADV_DONTNEED));
	ASSERT_TRUE(move_in_use_is(self->fd, 0));
	ASSERT_EQ(4, fill_holes(self->fd, self->map, 4, 2).whole);
	ASSERT_EQ(first, pfn_at(self->probe, self->map));
	move = move_pages_to(self->fd, (void *)(first + 4), PAGES - 4,
			     HMM_MOVE_BY_PFN, 0);
	EXPECT_EQ(0, move.rc);
	EXPECT_EQ(0, move.offered);
	EXPECT_EQ(4, on_device(0, PAGES));
	/* It was not split either. */
	EXPECT_EQ(4, move_to_system(self->fd, self->map, 4).whole);
}

TEST_F(migrate_folios, fill_small_holes)
{
	struct hmm_move move = fill_holes(self->fd, self->map, 4 * PAGES,
					  ORDER);

	EXPECT_EQ(4 * PAGES, move.holes);
	EXPECT_EQ(4 * PAGES, move.moved);
	EXPECT_EQ(4 * PAGES, move.whole);
	EXPECT_EQ(4 * PAGES, on_device(0, HUGE_PAGES));
	EXPECT_EQ(4 * PAGES, move_served(self->fd).in_use);
	EXPECT_TRUE(is_zero(self->map, 4 * PAGES));
	/* The faults brought them back whole. */
	EXPECT_EQ(1, move_served(self->fd).faults);
	pattern_fill(self->map, 4 * PAGES, SEED);
	EXPECT_EQ(4 * PAGES, move_to_device(self->fd, self->map,
					    4 * PAGES).whole);
	EXPECT_TRUE(pattern_is(self->map, 4 * PAGES, SEED));
}

/* Holes that were looked at */
TEST_F(migrate_folios, fill_pages_of_zeroes)
{
	struct hmm_move move;

	madvise(self->map, HUGE_BYTES, MADV_NOHUGEPAGE);
	read_pages(self->map, 2 * PAGES);
	move = fill_holes(self->fd, self->map, 4 * PAGES, ORDER);
	EXPECT_EQ(4 * PAGES, move.whole);
	EXPECT_LE(1, move.flushes);
	EXPECT_EQ(4 * PAGES, on_device(0, HUGE_PAGES));
	EXPECT_TRUE(is_zero(self->map, 4 * PAGES));
}

/*
 * One of the pages is not a hole: the folio for its part is returned, no other.
 */
TEST_F(migrate_folios, not_all_are_holes)
{
	char *there = self->map + (PAGES + 5) * PAGE_BYTES;
	struct hmm_move move;

	madvise(self->map, HUGE_BYTES, MADV_NOHUGEPAGE);
	pattern_fill(there, 1, SEED);
	move = fill_holes(self->fd, self->map, 4 * PAGES, ORDER);
	EXPECT_EQ(3 * PAGES, move.moved);
	EXPECT_EQ(3 * PAGES, move.whole);
	EXPECT_EQ(0, on_device(PAGES, PAGES));
	EXPECT_EQ(3 * PAGES, on_device(0, 4 * PAGES));
	EXPECT_TRUE(move_in_use_is(self->fd, 3 * PAGES));
	EXPECT_TRUE(pattern_is(there, 1, SEED));
	EXPECT_TRUE(is_zero(self->map, PAGES + 5));
	EXPECT_TRUE(is_zero(there + PAGE_BYTES, 2 * PAGES));
}

/* A folio may begin anywhere, but ends with the page table. */
TEST_F(migrate_folios, unaligned_destinations)
{
	char *late;

	EXPECT_EQ(PAGES, fill_holes(self->fd, self->map + 3 * PAGE_BYTES,
				    PAGES, ORDER).whole);
	EXPECT_EQ(PAGES, on_device(3, PAGES));
	EXPECT_EQ(PAGES, on_device(0, HUGE_PAGES));
	EXPECT_TRUE(is_zero(self->map, 2 * PAGES));

	/* Two page tables' worth of one mapping */
	munmap(self->map, HUGE_BYTES);
	self->map = map_anon(2 * HUGE_BYTES);
	late = self->map + (HUGE_PAGES - PAGES / 2) * PAGE_BYTES;
	EXPECT_EQ(0, fill_holes(self->fd, late, PAGES, ORDER).moved);
	EXPECT_TRUE(move_in_use_is(self->fd, 0));
	EXPECT_TRUE(is_zero(late, PAGES));
	munmap(self->map + HUGE_BYTES, HUGE_BYTES);
}

/* A huge page, for which there must be no page table yet */
TEST_F(migrate_folios, huge_page)
{
	struct hmm_move move = fill_holes(self->fd, self->map, HUGE_PAGES,
					  HUGE_ORDER);
	__u64 slot;

	EXPECT_EQ(HUGE_PAGES, move.holes);
	EXPECT_EQ(HUGE_PAGES, move.whole);
	probe_look(self->probe, self->map, 1, &slot, HMM_PROBE_ADOPT_OWNER);
	EXPECT_EQ(HUGE_ORDER, slot_order(slot));
	EXPECT_TRUE(is_zero(self->map, HUGE_PAGES));
}

TEST_F(migrate_folios, huge_page_over_a_page_table)
{
	madvise(self->map, HUGE_BYTES, MADV_NOHUGEPAGE);
	write_pages(self->map, 1, 1);
	ASSERT_EQ(0, madvise(self->map, PAGE_BYTES, MADV_DONTNEED));
	EXPECT_EQ(0, fill_holes(self->fd, self->map, HUGE_PAGES,
				HUGE_ORDER).moved);
	EXPECT_EQ(0, on_device(0, HUGE_PAGES));
	EXPECT_TRUE(move_in_use_is(self->fd, 0));
	EXPECT_TRUE(is_zero(self->map, HUGE_PAGES));
}

/*
 * A source that has migrated but is not freed yet, because of a passing
 * reference, must not migrate again: it has no data, and is charged to no
 * memory cgroup. A kernel that offers it adds its replacement to the LRU
 * without a memory cgroup.
 */
TEST_F(migrate_folios, already_migrated_pages_stay)
{
	struct hmm_move move;
	__u64 pfn;

	madvise(self->map, HUGE_BYTES, MADV_NOHUGEPAGE);
	pattern_fill(self->map, 1, SEED);
	ASSERT_EQ(1, move_to_device(self->fd, self->map, 1).moved);
	pfn = pfn_at(self->probe, self->map);
	ASSERT_EQ(1, move_pages_to(self->fd, self->map, 1, HMM_MOVE_KEEP,
				   0).moved);
	ASSERT_EQ(1, move_served(self->fd).in_use);
	move = move_pages_to(self->fd, (void *)pfn, 1,
			     HMM_MOVE_BY_PFN | HMM_MOVE_IN_STEPS |
			     HMM_MOVE_NOWHERE, 0);
	EXPECT_EQ(0, move.offered);
	EXPECT_TRUE(move_in_use_is(self->fd, 0));
	EXPECT_TRUE(pattern_is(self->map, 1, SEED));
}

/* In steps, as under a lock of the driver's */
TEST_F(migrate_folios, locked_first_and_unmapped_later)
{
	struct hmm_move move;
	__u64 pfn;

	pattern_fill(self->map, HUGE_PAGES, SEED);
	ASSERT_EQ(HUGE_PAGES,
		  move_to_device(self->fd, self->map, HUGE_PAGES).moved);
	pfn = pfn_at(self->probe, self->map);
	move = move_pages_to(self->fd, (void *)pfn, HUGE_PAGES,
			     HMM_MOVE_BY_PFN | HMM_MOVE_IN_STEPS, HUGE_ORDER);
	EXPECT_EQ(HUGE_PAGES, move.moved);
	EXPECT_EQ(HUGE_PAGES, move.whole);
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, SEED));
}

/* The array ends where a large folio begins: it can move as a whole only. */
TEST_F(migrate_folios, a_folio_with_a_single_entry_is_not_split)
{
	struct hmm_move move;
	__u64 pfn;

	pattern_fill(self->map, HUGE_PAGES, SEED);
	ASSERT_EQ(HUGE_PAGES,
		  move_to_device(self->fd, self->map, HUGE_PAGES).moved);
	pfn = pfn_at(self->probe, self->map);
	move = move_pages_to(self->fd, (void *)pfn, 1,
			     HMM_MOVE_BY_PFN | HMM_MOVE_IN_STEPS |
			     HMM_MOVE_CUT_OFF, 0);
	EXPECT_EQ(HUGE_PAGES, move.offered);
	EXPECT_EQ(0, move.moved);
	EXPECT_EQ(HUGE_PAGES, on_device(0, HUGE_PAGES));
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, SEED));
}

/*
 * The call that locks a page never drops the last reference to it: its caller may
 * hold the lock that the device's folio_free() takes. Here the lock's holder drops
 * the other one at any time.
 */

struct lock_loop {
	int fd;
	__u64 pfn;	/* 0 ends it */
	__u64 locked;
	__u64 freed;
};

static void lock_page_often(void *arg)
{
	struct lock_loop *loop = arg;
	struct hmm_lock lock = { .calls = 1000 };

	while ((lock.pfn = __atomic_load_n(&loop->pfn, __ATOMIC_SEQ_CST))) {
		if (ioctl(loop->fd, HMM_MOVE_LOCK, &lock))
			fatal("HMM_MOVE_LOCK");
		loop->locked += lock.locked;
		loop->freed += lock.freed;
	}
}

TEST_F(migrate_folios, locking_a_page_does_not_free_it)
{
	struct lock_loop loop = { .fd = self->fd };
	int holder = move_open(), i;
	struct worker worker;

	madvise(self->map, HUGE_BYTES, MADV_NOHUGEPAGE);
	for (i = 0; i < LOCK_ROUNDS; i++) {
		struct hmm_hold hold = { .lock = true };

		write_pages(self->map, 1, 1);
		ASSERT_EQ(1, move_to_device(self->fd, self->map, 1).moved);
		hold.pfn = pfn_at(self->probe, self->map);
		__atomic_store_n(&loop.pfn, hold.pfn, __ATOMIC_SEQ_CST);
		if (!i)
			worker_start(&worker, lock_page_often, &loop);
		while (ioctl(holder, HMM_MOVE_HOLD, &hold))
			ASSERT_EQ(EAGAIN, errno);
		ASSERT_EQ(0, madvise(self->map, PAGE_BYTES, MADV_DONTNEED));
		usleep(100);
		let_go(holder);
	}
	__atomic_store_n(&loop.pfn, 0, __ATOMIC_SEQ_CST);
	worker_join(&worker);
	close(holder);
	EXPECT_LT(0, loop.locked);
	EXPECT_EQ(0, loop.freed);
}

/*
 * Folios of each size that are held: whatever is locked or referenced stays, with
 * its data and mapped as before, and everything else goes.
 */

FIXTURE(busy_folios)
{
	int probe;
	int fd;
	int holder;
	char *map;	/* two huge pages' worth, with a pattern */
};

FIXTURE_VARIANT(busy_folios)
{
	const char *size;
	size_t npages;	/* of a folio */
	bool lock;
};

FIXTURE_VARIANT_ADD(busy_folios, 4k_locked)
{
	.size = "4kB",
	.npages = 1,
	.lock = true,
};

FIXTURE_VARIANT_ADD(busy_folios, 4k_referenced)
{
	.size = "4kB",
	.npages = 1,
	.lock = false,
};

FIXTURE_VARIANT_ADD(busy_folios, 16k_locked)
{
	.size = "16kB",
	.npages = 4,
	.lock = true,
};

FIXTURE_VARIANT_ADD(busy_folios, 16k_referenced)
{
	.size = "16kB",
	.npages = 4,
	.lock = false,
};

FIXTURE_VARIANT_ADD(busy_folios, 64k_locked)
{
	.size = "64kB",
	.npages = 16,
	.lock = true,
};

FIXTURE_VARIANT_ADD(busy_folios, 64k_referenced)
{
	.size = "64kB",
	.npages = 16,
	.lock = false,
};

FIXTURE_VARIANT_ADD(busy_folios, 1m_locked)
{
	.size = "1024kB",
	.npages = 256,
	.lock = true,
};

FIXTURE_VARIANT_ADD(busy_folios, 1m_referenced)
{
	.size = "1024kB",
	.npages = 256,
	.lock = false,
};

FIXTURE_VARIANT_ADD(busy_folios, 2m_locked)
{
	.size = "2048kB",
	.npages = 512,
	.lock = true,
};

FIXTURE_VARIANT_ADD(busy_folios, 2m_referenced)
{
	.size = "2048kB",
	.npages = 512,
	.lock = false,
};

FIXTURE_SETUP(busy_folios)
{
	self->probe = probe_open();
	self->fd = move_open();
	self->holder = move_open();
	if (self->probe < 0 || self->fd < 0)
		SKIP(return, "no /dev/hmm_probe_move");
	if (variant->npages > 1 && !keeps_folios_whole(self->fd))
		SKIP(return, "7.3 splits what it cannot take");
	move_serve(self->fd, HUGE_PAGES, WHOLE, 0);
	self->map = map_folios(variant->size, 2 * HUGE_BYTES, 1);
	if (!self->map)
		SKIP(return, "no folios of this size");
	pattern_fill(self->map, 2 * HUGE_PAGES, SEED);
}

FIXTURE_TEARDOWN(busy_folios)
{
	munmap(self->map, 2 * HUGE_BYTES);
	EXPECT_TRUE(move_in_use_is(self->fd, 0));
	EXPECT_EQ(0, move_served(self->fd).freed_locked);
	close(self->holder);
	close(self->fd);
	close(self->probe);
}

#define N	(2 * HUGE_PAGES)

/* Of the folios, the first ones, some in the middle, and the last one */
static size_t next_held(size_t folio, size_t folios)
{
	if (folio < 4)
		return folio + 1;
	return folio < folios - 1 ? folios - 1 : folios;
}

TEST_F(busy_folios, stay_in_the_system)
{
	size_t folio, nr = variant->npages, folios = N / nr;

	for (folio = 0; folio < folios; folio = next_held(folio, folios)) {
		char *held = self->map + folio * nr * PAGE_BYTES;
		struct hmm_move move;

		hold_page(self->holder, pfn_at(self->probe, held),
			  variant->lock);
		move = move_to_device(self->fd, self->map, N);
		EXPECT_EQ(N - nr, move.moved);
		EXPECT_EQ(0, pages_on_device(self->probe, held, nr));
		EXPECT_EQ(N - nr, pages_on_device(self->probe, self->map, N));
		/* No migration entry is left: these would not be there. */
		EXPECT_EQ(nr, probe_populated(self->probe, held, nr));
		EXPECT_TRUE(pattern_is(held, nr, SEED + folio * nr));
		let_go(self->holder);
		EXPECT_EQ(nr, move_to_device(self->fd, self->map, N).moved);
		EXPECT_EQ(N, move_to_system(self->fd, self->map, N).moved);
		ASSERT_TRUE(pattern_is(self->map, N, SEED));
		EXPECT_TRUE(move_in_use_is(self->fd, 0));
	}
}

TEST_F(busy_folios, stay_on_the_device)
{
	size_t folio, nr = variant->npages, folios = N / nr;

	for (folio = 0; folio < folios; folio = next_held(folio, folios)) {
		char *held = self->map + folio * nr * PAGE_BYTES;
		struct hmm_move move;

		ASSERT_EQ(N, move_to_device(self->fd, self->map, N).moved);
		hold_page(self->holder, pfn_at(self->probe, held),
			  variant->lock);
		move = move_to_system(self->fd, self->map, N);
		EXPECT_EQ(N - nr, move.moved);
		EXPECT_EQ(nr, pages_on_device(self->probe, held, nr));
		EXPECT_EQ(nr, pages_on_device(self->probe, self->map, N));
		let_go(self->holder);
		EXPECT_EQ(nr, move_to_system(self->fd, self->map, N).moved);
		ASSERT_TRUE(pattern_is(self->map, N, SEED));
		EXPECT_TRUE(move_in_use_is(self->fd, 0));
	}
}

/* By page frame: the device is empty, so that the folios lie in order. */
TEST_F(busy_folios, are_not_evicted)
{
	size_t folio, nr = variant->npages, folios = N / nr;

	for (folio = 0; folio < folios; folio = next_held(folio, folios)) {
		char *held = self->map + folio * nr * PAGE_BYTES;
		struct hmm_move move;
		__u64 first;

		ASSERT_EQ(N, move_to_device(self->fd, self->map, N).moved);
		first = pfn_at(self->probe, self->map);
		hold_page(self->holder, pfn_at(self->probe, held),
			  variant->lock);
		move = move_pages_to(self->fd, (void *)first, N,
				     HMM_MOVE_BY_PFN, HUGE_ORDER);
		EXPECT_EQ(N - nr, move.moved);
		EXPECT_EQ(nr, pages_on_device(self->probe, held, nr));
		let_go(self->holder);
		move = move_pages_to(self->fd, (void *)first, N,
				     HMM_MOVE_BY_PFN, HUGE_ORDER);
		EXPECT_EQ(nr, move.moved);
		EXPECT_EQ(nr > 1 ? nr : 0, move.whole);
		ASSERT_TRUE(pattern_is(self->map, N, SEED));
		EXPECT_TRUE(move_in_use_is(self->fd, 0));
	}
}

/* A lock that is held briefly does not cause a split. */

struct blinker {
	int fd;
	__u64 pfn;
	int stop;
};

static void blink(void *arg)
{
	struct blinker *blinker = arg;

	while (!__atomic_load_n(&blinker->stop, __ATOMIC_SEQ_CST)) {
		hold_page(blinker->fd, blinker->pfn, true);
		let_go(blinker->fd);
	}
}

TEST_F(busy_folios, are_not_split)
{
	struct blinker blinker = { .fd = self->holder };
	size_t rounds = how_brief() == SHORTEST_RUN ? 100 : 1000;
	struct worker worker;
	__u64 first;

	if (!variant->lock || variant->npages < HUGE_PAGES / 2)
		SKIP(return, "about the locks of folios that take a while");
	ASSERT_EQ(N, move_to_device(self->fd, self->map, N).moved);
	first = pfn_at(self->probe, self->map);
	blinker.pfn = first;
	worker_start(&worker, blink, &blinker);
	while (rounds--)
		move_pages_to(self->fd, (void *)first, variant->npages,
			      HMM_MOVE_BY_PFN | HMM_MOVE_NOWHERE, 0);
	__atomic_store_n(&blinker.stop, 1, __ATOMIC_SEQ_CST);
	worker_join(&worker);
	EXPECT_EQ(N, move_to_system(self->fd, self->map, N).whole);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_HARNESS_MAIN
