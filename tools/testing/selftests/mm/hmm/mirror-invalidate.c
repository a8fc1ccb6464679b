// SPDX-License-Identifier: GPL-2.0
/*
 * Invalidations of a mirror: each change of a mapping removes the device's entries,
 * so that it faults and sees the new page, or removes write access if only that
 * changes. After changes elsewhere the device continues without a fault.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"

#define N		16
#define KSM		"/sys/kernel/mm/ksm/"

FIXTURE(invalidate)
{
	int fd;
	char *map;
	size_t bytes;
	__u64 before;
};

FIXTURE_VARIANT(invalidate)
{
	size_t npages;
	bool shared;
};

FIXTURE_VARIANT_ADD(invalidate, small)
{
	.npages = N,
};

FIXTURE_VARIANT_ADD(invalidate, huge)
{
	.npages = HUGE_PAGES,
};

FIXTURE_VARIANT_ADD(invalidate, shared)
{
	.npages = N,
	.shared = true,
};

/* The device knows the whole range, writable, and has written to it. */
FIXTURE_SETUP(invalidate)
{
	const char *reason;

	self->fd = device_open(0, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	self->bytes = variant->npages * PAGE_BYTES;
	if (variant->npages == N)
		self->map = map_anon_small(self->bytes);
	else
		self->map = device_map_thp(self->fd, self->bytes);
	if (!self->map)
		SKIP(return, "no huge page");
	if (variant->shared)
		map_at(self->map, self->bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1);
	ASSERT_EQ(0, device_writes(self->fd, self->map, variant->npages, 1));
	ASSERT_EQ(0, device_faults(self->fd, self->map, variant->npages));
	self->before = device_invalidations(self->fd);
}

FIXTURE_TEARDOWN(invalidate)
{
	close(self->fd);
}

/* The device lost its entries of the range ... */
static void is_lost(struct __test_metadata *_metadata,
		    struct _test_data_invalidate *self, size_t npages)
{
	EXPECT_LT(self->before, device_invalidations(self->fd));
	EXPECT_LE(1, device_faults(self->fd, self->map, npages));
}

/* ... and now finds the pattern. */
static void finds(struct __test_metadata *_metadata,
		  struct _test_data_invalidate *self, size_t npages, __u64 seed)
{
	is_lost(_metadata, self, npages);
	EXPECT_TRUE(device_reads(self->fd, self->map, npages, seed));
}

#define must_find(npages, seed)	finds(_metadata, self, npages, seed)

/* ... and now finds memory that was never touched. */
static void finds_zero(struct __test_metadata *_metadata,
		       struct _test_data_invalidate *self, size_t npages)
{
	is_lost(_metadata, self, npages);
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, npages));
}

#define must_find_zero(npages)	finds_zero(_metadata, self, npages)

/* The device must not write any more, but was left what it needs to read. */
static void only_reads(struct __test_metadata *_metadata,
		       struct _test_data_invalidate *self, size_t npages,
		       __u64 seed)
{
	EXPECT_LT(self->before, device_invalidations(self->fd));
	EXPECT_EQ(0, device_faults(self->fd, self->map, npages));
	EXPECT_TRUE(device_reads(self->fd, self->map, npages, seed));
}

#define must_only_read(npages, seed)					\
	only_reads(_metadata, self, npages, seed)

#define must_still_know(addr, npages)					\
	EXPECT_EQ(0, device_faults(self->fd, addr, npages))

/* Operations that remove entries */

TEST_F(invalidate, munmap)
{
	ASSERT_EQ(0, munmap(self->map, self->bytes));
	EXPECT_LT(self->before, device_invalidations(self->fd));
	EXPECT_EQ(-EFAULT, device_faults(self->fd, self->map, 1));
	map_at(self->map, self->bytes, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, variant->npages));
}

/* The other half is not concerned. */
TEST_F(invalidate, munmap_of_a_half)
{
	size_t half = variant->npages / 2;

	if (variant->npages != N)
		SKIP(return, "a huge page is one mapping");
	ASSERT_EQ(0, munmap(self->map, half * PAGE_BYTES));
	EXPECT_LT(self->before, device_invalidations(self->fd));
	EXPECT_EQ(-EFAULT, device_faults(self->fd, self->map, half));
	must_still_know(self->map + half * PAGE_BYTES, half);
}

TEST_F(invalidate, mmap_over_it)
{
	map_at(self->map, self->bytes, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	must_find_zero(variant->npages);
}

TEST_F(invalidate, mprotect)
{
	char *data = map_anon_small(self->bytes);

	ASSERT_EQ(0, mprotect(self->map, self->bytes, PROT_READ));
	pattern_fill(data, variant->npages, 2);
	EXPECT_EQ(-EPERM, device_write(self->fd, self->map, variant->npages,
				       data));
	must_only_read(variant->npages, 1);
}

TEST_F(invalidate, mprotect_of_a_half)
{
	size_t half = variant->npages / 2;
	char *second = self->map + half * PAGE_BYTES;
	char *data = map_anon_small(self->bytes);

	if (variant->npages != N)
		SKIP(return, "a huge page is one mapping");
	ASSERT_EQ(0, mprotect(second, half * PAGE_BYTES, PROT_READ));
	must_still_know(self->map, half);
	must_only_read(variant->npages, 1);
	pattern_fill(data, half, 2);
	EXPECT_EQ(0, device_write(self->fd, self->map, half, data));
	EXPECT_EQ(-EPERM, device_write(self->fd, second, half, data));
}

/* Of shared memory this drops the entries, but not the data. */
TEST_F(invalidate, dontneed)
{
	ASSERT_EQ(0, madvise(self->map, self->bytes, MADV_DONTNEED));
	if (variant->shared)
		must_find(variant->npages, 1);
	else
		must_find_zero(variant->npages);
}

/* The data is kept until memory is short; a write cancels the lazy free. */
TEST_F(invalidate, free)
{
	if (variant->shared)
		SKIP(return, "MADV_FREE is for private memory");
	ASSERT_EQ(0, madvise(self->map, self->bytes, MADV_FREE));
	EXPECT_LT(self->before, device_invalidations(self->fd));
	ASSERT_EQ(0, device_writes_parts(self->fd, self->map, variant->npages,
					 2));
	EXPECT_TRUE(pattern_is(self->map, variant->npages, 2));
}

TEST_F(invalidate, pageout)
{
	struct swap swap;

	if (!swap_start(&swap, 8 * HUGE_BYTES))
		SKIP(return, "no zram");
	EXPECT_TRUE(swap_out(self->map, variant->npages));
	must_find(variant->npages, 1);
	EXPECT_TRUE(pattern_is(self->map, variant->npages, 1));
	EXPECT_EQ(0, munmap(self->map, self->bytes));
	swap_stop(&swap);
}

TEST_F(invalidate, mremap)
{
	char *to = map_anon_small(self->bytes);

	ASSERT_EQ(to, mremap(self->map, self->bytes, self->bytes,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_LT(self->before, device_invalidations(self->fd));
	EXPECT_EQ(-EFAULT, device_faults(self->fd, self->map, 1));
	EXPECT_TRUE(device_reads(self->fd, to, variant->npages, 1));
}

/* What the parent's device writes after a fork does not reach the child. */
TEST_F(invalidate, fork)
{
	struct child child;

	child_start(&child);
	if (variant->shared) {
		must_still_know(self->map, variant->npages);
	} else {
		must_only_read(variant->npages, 1);
		EXPECT_EQ(0, device_count_bytes(self->fd, self->map,
						variant->npages,
						HMM_DMIRROR_PROT_WRITE,
						HMM_DMIRROR_PROT_WRITE));
	}
	ASSERT_EQ(0, device_writes_parts(self->fd, self->map, variant->npages,
					 2));
	EXPECT_TRUE(child_do(&child, work_check, self->map, variant->npages,
			     variant->shared ? 2 : 1));
	child_stop(&child);
}

/* The CPU copies a page that the device knows. */
TEST_F(invalidate, copy_on_write)
{
	struct child child;

	if (variant->shared)
		SKIP(return, "shared memory is not copied");
	child_start(&child);
	EXPECT_TRUE(device_reads(self->fd, self->map, variant->npages, 1));
	self->before = device_invalidations(self->fd);
	pattern_fill(self->map, variant->npages, 2);
	must_find(variant->npages, 2);
	EXPECT_TRUE(child_do(&child, work_check, self->map, variant->npages,
			     1));
	child_stop(&child);
}

/* What the device writes after the bits were cleared must set them again. */
TEST_F(invalidate, soft_dirty_bits_are_cleared)
{
	size_t i;

	clear_softdirty();
	if (is_soft_dirty(self->map))
		SKIP(return, "no soft-dirty bits");
	must_only_read(variant->npages, 1);
	EXPECT_FALSE(is_soft_dirty(self->map));
	ASSERT_EQ(0, device_writes_parts(self->fd, self->map, variant->npages,
					 2));
	for (i = 0; i < variant->npages; i++)
		ASSERT_TRUE(is_soft_dirty(self->map + i * PAGE_BYTES));
	EXPECT_TRUE(pattern_is(self->map, variant->npages, 2));
}

static bool ksm_shares(long pages)
{
	int tries;

	for (tries = 0; tries < 2000; tries++) {
		if (read_number(KSM "pages_sharing") >= pages)
			return true;
		usleep(10000);
	}
	return false;
}

/*
 * Equal pages become one, of which the device may go on reading; of the others
 * it may not. A write of the device's must take them apart.
 */
TEST_F(invalidate, ksm)
{
	struct setting run, scan, nap;
	char *twin = map_anon_small(self->bytes);

	if (variant->shared || variant->npages != N)
		SKIP(return, "small private pages only");
	if (!setting_change(&run, KSM "run", "1"))
		SKIP(return, "no KSM");
	setting_change(&scan, KSM "pages_to_scan", "1000");
	setting_change(&nap, KSM "sleep_millisecs", "1");
	pattern_fill(twin, N, 1);
	ASSERT_EQ(0, device_writes(self->fd, twin, N, 1));
	EXPECT_EQ(0, madvise(self->map, self->bytes, MADV_MERGEABLE));
	EXPECT_EQ(0, madvise(twin, self->bytes, MADV_MERGEABLE));
	EXPECT_TRUE(ksm_shares(N));
	EXPECT_LT(self->before, device_invalidations(self->fd));
	EXPECT_LE(1, device_faults(self->fd, self->map, N) +
		     device_faults(self->fd, twin, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	EXPECT_EQ(0, device_writes(self->fd, self->map, N, 2));
	EXPECT_TRUE(pattern_is(self->map, N, 2));
	EXPECT_TRUE(pattern_is(twin, N, 1));
	EXPECT_TRUE(device_reads(self->fd, twin, N, 1));
	EXPECT_EQ(0, madvise(self->map, self->bytes, MADV_UNMERGEABLE));
	EXPECT_EQ(0, madvise(twin, self->bytes, MADV_UNMERGEABLE));
	setting_restore(&nap);
	setting_restore(&scan);
	setting_restore(&run);
	EXPECT_TRUE(pattern_is(self->map, N, 2));
	EXPECT_TRUE(pattern_is(twin, N, 1));
}

/* Small pages become a huge one. */
TEST_F(invalidate, collapse)
{
	int other = self->fd;

	if (variant->npages != N || variant->shared)
		SKIP(return, "nothing to collapse");
	self->map = map_anon_small(HUGE_BYTES);
	ASSERT_EQ(0, device_writes(other, self->map, HUGE_PAGES, 3));
	self->before = device_invalidations(other);
	ASSERT_EQ(0, madvise(self->map, HUGE_BYTES, MADV_HUGEPAGE));
	ASSERT_EQ(0, collapse_pages(self->map, HUGE_BYTES));
	must_find(HUGE_PAGES, 3);
	EXPECT_EQ(HUGE_PAGES, device_count_bytes(other, self->map, HUGE_PAGES,
						 HMM_DMIRROR_PROT_PMD,
						 HMM_DMIRROR_PROT_PMD));
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, 3));
}

/* A page of the device's own memory goes back when the CPU wants it. */
TEST_F(invalidate, cpu_fault_on_device_memory)
{
	if (variant->shared)
		SKIP(return, "shared memory does not migrate");
	ASSERT_EQ(0, device_take(self->fd, self->map, variant->npages).rc);
	must_still_know(self->map, variant->npages);
	self->before = device_invalidations(self->fd);
	pattern_fill(self->map, variant->npages, 2);
	must_find(variant->npages, 2);
	EXPECT_TRUE(device_in_use_is(self->fd, 0));
}

static int attach_to(int fd, pid_t pid)
{
	int pidfd = syscall(__NR_pidfd_open, pid, 0);
	int rc;

	if (pidfd < 0)
		return -errno;
	rc = device_attach(fd, pidfd);
	close(pidfd);
	return rc;
}

static long work_without_thp(char *unused, size_t none, __u64 number)
{
	return prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

TEST_F(invalidate, exit_of_the_process)
{
	struct child child;

	child_start(&child);
	/* Its copy of a huge page is small pages, which khugepaged may collapse. */
	ASSERT_EQ(0, child_do(&child, work_without_thp, NULL, 0, 0));
	child_do(&child, work_fill, self->map, variant->npages, 3);
	ASSERT_EQ(0, attach_to(self->fd, child.pid));
	EXPECT_TRUE(device_reads(self->fd, self->map, variant->npages, 3));
	must_still_know(self->map, variant->npages);
	self->before = device_invalidations(self->fd);
	child_kill(&child);
	EXPECT_LT(self->before, device_invalidations(self->fd));
	EXPECT_EQ(-ESRCH, device_faults(self->fd, self->map, 1));
	EXPECT_TRUE(pattern_is(self->map, variant->npages,
			       variant->shared ? 3 : 1));
}

/* What leaves entries where they are */

TEST_F(invalidate, nothing_by_reading_and_writing)
{
	pattern_fill(self->map, variant->npages, 2);
	must_still_know(self->map, variant->npages);
	EXPECT_TRUE(device_reads(self->fd, self->map, variant->npages, 2));
	EXPECT_EQ(0, device_writes(self->fd, self->map, variant->npages, 3));
	must_still_know(self->map, variant->npages);
	EXPECT_TRUE(pattern_is(self->map, variant->npages, 3));
}

TEST_F(invalidate, nothing_by_advice_that_moves_nothing)
{
	char *map = self->map;

	EXPECT_EQ(0, madvise(map, self->bytes, MADV_NORMAL));
	EXPECT_EQ(0, madvise(map, self->bytes, MADV_RANDOM));
	EXPECT_EQ(0, madvise(map, self->bytes, MADV_COLD));
	EXPECT_EQ(0, madvise(map, self->bytes, MADV_WILLNEED));
	EXPECT_EQ(0, madvise(map, self->bytes, MADV_POPULATE_READ));
	EXPECT_EQ(0, madvise(map, self->bytes, MADV_POPULATE_WRITE));
	EXPECT_EQ(0, madvise(map, self->bytes, MADV_DONTDUMP));
	EXPECT_EQ(0, madvise(map, self->bytes, MADV_DONTFORK));
	EXPECT_EQ(0, madvise(map, self->bytes, MADV_HUGEPAGE));
	EXPECT_EQ(0, mlock(map, self->bytes));
	EXPECT_EQ(0, munlock(map, self->bytes));
	must_still_know(map, variant->npages);
	EXPECT_TRUE(device_reads(self->fd, map, variant->npages, 1));
}

/* Every change of the memory beside it */
static void change_neighbour(struct __test_metadata *_metadata, char *at,
			     size_t bytes)
{
	map_at(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
	       -1);
	write_pages(at, bytes / PAGE_BYTES, 1);
	EXPECT_EQ(0, mprotect(at, bytes, PROT_READ));
	EXPECT_EQ(0, mprotect(at, bytes, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, madvise(at, bytes, MADV_FREE));
	EXPECT_EQ(0, madvise(at, bytes, MADV_DONTNEED));
	write_pages(at, bytes / PAGE_BYTES, 1);
	EXPECT_EQ(at, mremap(at, bytes, bytes / 2, 0));
	EXPECT_EQ(0, munmap(at, bytes / 2));
}

TEST_F(invalidate, nothing_by_changes_next_to_it)
{
	size_t bytes = 4 * PAGE_BYTES;
	char *room = map_anon(self->bytes + 2 * HUGE_BYTES);
	char *to = room + HUGE_BYTES;

	ASSERT_EQ(to, mremap(self->map, self->bytes, self->bytes,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_TRUE(device_reads(self->fd, to, variant->npages, 1));
	change_neighbour(_metadata, to - bytes, bytes);
	must_still_know(to, variant->npages);
	change_neighbour(_metadata, to + self->bytes, bytes);
	must_still_know(to, variant->npages);
	EXPECT_TRUE(device_reads(self->fd, to, variant->npages, 1));
}

static void *do_nothing(void *unused)
{
	return unused;
}

TEST_F(invalidate, nothing_by_threads_and_the_heap)
{
	pthread_t thread;
	char *heap;
	int i;

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, pthread_create(&thread, NULL, do_nothing, NULL));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		heap = malloc(HUGE_BYTES);
		ASSERT_NE(NULL, heap);
		write_pages(heap, HUGE_PAGES, 1);
		free(heap);
	}
	must_still_know(self->map, variant->npages);
}

/* Another mirror of the same process, on another device */
TEST_F(invalidate, nothing_by_another_device)
{
	int other = dmirror_open(1);

	ASSERT_LE(0, other);
	EXPECT_TRUE(device_reads(other, self->map, variant->npages, 1));
	EXPECT_EQ(0, device_writes_parts(other, self->map, variant->npages,
					 2));
	must_still_know(self->map, variant->npages);
	EXPECT_TRUE(device_reads(self->fd, self->map, variant->npages, 2));
	close(other);
	must_still_know(self->map, variant->npages);
}

TEST_HARNESS_MAIN
