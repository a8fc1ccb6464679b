// SPDX-License-Identifier: GPL-2.0
/*
 * Huge pages that a dummy device takes for itself as a whole: they stay huge
 * where they can, and with their data come through everything.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "hmm_access.h"
#include "hmm_exclusive.h"

#define N	HUGE_PAGES
#define BYTES	HUGE_BYTES
#define HALF	(HUGE_PAGES / 2)

FIXTURE(exclusive_huge)
{
	int fd;
	int other;
	char *map;
};

FIXTURE_SETUP(exclusive_huge)
{
	self->fd = dmirror_open(0);
	self->other = dmirror_open(1);
	if (self->fd < 0 || self->other < 0)
		SKIP(return, "no dummy devices");
	if (!device_is_ours(self->fd))
		SKIP(return, "the stock kernel takes page by page");
	self->map = map_pattern_thp(self->fd, BYTES, 1);
	if (!self->map)
		SKIP(return, "no huge page");
}

FIXTURE_TEARDOWN(exclusive_huge)
{
	close(self->fd);
	close(self->other);
}

/* Commands */

/* 0, or the errno of the command; -EIO for wrong data */
static int take(int fd, char *addr, size_t npages, __u64 seed)
{
	char *data = buffer_of(npages * PAGE_BYTES);
	struct answer answer = device_ask(fd, HMM_DMIRROR_EXCLUSIVE, addr, data,
					  npages);

	if (!answer.rc && !pattern_is(data, npages, seed))
		answer.rc = -EIO;
	free(data);
	return answer.rc;
}

static bool has(int fd, char *addr)
{
	return device_ask(fd, HMM_DMIRROR_CHECK_EXCLUSIVE, addr, NULL, 1).rc ==
	       -EPERM;
}

/* How many pages of a range does the device have for itself? */
static size_t taken(int fd, char *addr, size_t npages)
{
	size_t i, count = 0;

	for (i = 0; i < npages; i++)
		count += has(fd, addr + i * PAGE_BYTES);
	return count;
}

#define must_be_huge(addr)	EXPECT_EQ((long)(BYTES / 1024), huge_kib(addr))
#define must_not_be_huge(addr)	EXPECT_EQ(0, huge_kib(addr))

/* All of it, and it is huge before and after. */
#define take_whole()						\
do {								\
	must_be_huge(self->map);				\
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));		\
	must_be_huge(self->map);				\
} while (0)

/* As a whole */

TEST_F(exclusive_huge, until_the_cpu_reads)
{
	take_whole();
	EXPECT_EQ(N, taken(self->fd, self->map, N));
	read_pages(self->map + 77 * PAGE_BYTES, 1);
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	must_be_huge(self->map);
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

TEST_F(exclusive_huge, until_the_cpu_writes)
{
	take_whole();
	pattern_fill(self->map + HALF * PAGE_BYTES, 1, 1000);
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	must_be_huge(self->map);
	EXPECT_TRUE(pattern_is(self->map, HALF, 1));
	EXPECT_TRUE(device_reads(self->fd, self->map + HALF * PAGE_BYTES, 1,
				 1000));
}

TEST_F(exclusive_huge, again_and_again)
{
	int round;

	for (round = 0; round < 10; round++) {
		take_whole();
		ASSERT_EQ(0, take(self->fd, self->map, N, 1));
		EXPECT_TRUE(has(self->fd, self->map));
		EXPECT_TRUE(pattern_is(self->map, N, 1));
		EXPECT_FALSE(has(self->fd, self->map));
	}
	must_be_huge(self->map);
}

/* It is huge already, and the device keeps it. */
TEST_F(exclusive_huge, collapse)
{
	take_whole();
	EXPECT_EQ(0, madvise(self->map, BYTES, MADV_COLLAPSE)) {
		TH_LOG("%s", strerror(errno));
	}
	EXPECT_EQ(N, taken(self->fd, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	must_be_huge(self->map);
}

TEST_F(exclusive_huge, another_device)
{
	take_whole();
	ASSERT_EQ(0, take(self->other, self->map, N, 1));
	must_be_huge(self->map);
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	EXPECT_EQ(N, taken(self->other, self->map, N));
	ASSERT_EQ(0, take(self->fd, self->map, HALF, 1));
	EXPECT_EQ(HALF, taken(self->fd, self->map, N));
	EXPECT_EQ(HALF, taken(self->other, self->map, N));
	must_not_be_huge(self->map);
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

TEST_F(exclusive_huge, some_of_its_pages)
{
	char *part = self->map + 100 * PAGE_BYTES;

	ASSERT_EQ(0, take(self->fd, part, 16, 101));
	EXPECT_EQ(16, taken(self->fd, self->map, N));
	must_not_be_huge(self->map);
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	EXPECT_EQ(N, taken(self->fd, self->map, N));
	/* The folio is whole, and comes back so. */
	read_pages(self->map, 1);
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

TEST_F(exclusive_huge, several)
{
	char *map = map_pattern_thp(self->fd, 3 * BYTES, 7);
	char *part = map + HALF * PAGE_BYTES;

	if (!map)
		SKIP(return, "no huge pages");
	ASSERT_EQ(0, take(self->fd, part, 2 * N, 7 + HALF));
	EXPECT_EQ(2 * N, taken(self->fd, map, 3 * N));
	/* That in the middle is taken as a whole. */
	EXPECT_EQ((long)(BYTES / 1024), huge_kib(map));
	EXPECT_TRUE(pattern_is(map, 3 * N, 7));
	EXPECT_EQ(0, taken(self->fd, map, 3 * N));
}

/* What the process does with its address space meanwhile */

TEST_F(exclusive_huge, fork)
{
	struct child child;

	take_whole();
	child_start(&child);
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	must_be_huge(self->map);
	EXPECT_TRUE(child_do(&child, work_check, self->map, N, 1));
	pattern_fill(self->map, N, 2);
	EXPECT_TRUE(child_do(&child, work_check, self->map, N, 1));
	child_do(&child, work_fill, self->map, N, 3);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 2));
	child_stop(&child);
}

/* Pages of the huge one have become others, in the middle of it. */
TEST_F(exclusive_huge, partly_copied)
{
	struct child child;

	take_whole();
	child_start(&child);
	pattern_fill(self->map + 3 * PAGE_BYTES, 1, 4);
	pattern_fill(self->map + 99 * PAGE_BYTES, 16, 100);
	child_stop(&child);
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	EXPECT_EQ(N, taken(self->fd, self->map, N));
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	pattern_fill(self->map, N, 2);
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 2));
}

TEST_F(exclusive_huge, mprotect)
{
	take_whole();
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ));
	must_be_huge(self->map);
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	EXPECT_EQ(-EPERM, device_writes(self->fd, self->map, N, 2));
	EXPECT_EQ(-EFAULT, take(self->fd, self->map, N, 1));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ | PROT_WRITE));
	take_whole();
	ASSERT_EQ(0, mprotect(self->map, HALF * PAGE_BYTES, PROT_READ));
	must_not_be_huge(self->map);
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	pattern_fill(self->map + HALF * PAGE_BYTES, HALF, 2);
}

TEST_F(exclusive_huge, mremap)
{
	char *to = map_anon(BYTES);

	take_whole();
	ASSERT_EQ(to, mremap(self->map, BYTES, BYTES,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	must_be_huge(to);
	EXPECT_EQ(0, taken(self->fd, to, N));
	EXPECT_TRUE(device_reads(self->fd, to, N, 1));
	ASSERT_EQ(0, take(self->fd, to, N, 1));
	ASSERT_EQ(self->map, mremap(to, BYTES / 2, BYTES / 2,
				    MREMAP_MAYMOVE | MREMAP_FIXED, self->map));
	EXPECT_EQ(0, taken(self->fd, self->map, HALF));
	EXPECT_TRUE(pattern_is(self->map, HALF, 1));
	EXPECT_TRUE(pattern_is(to + HALF * PAGE_BYTES, HALF, 1 + HALF));
}

TEST_F(exclusive_huge, munmap)
{
	take_whole();
	ASSERT_EQ(0, munmap(self->map, HALF * PAGE_BYTES));
	EXPECT_EQ(0, taken(self->fd, self->map, HALF));
	EXPECT_TRUE(pattern_is(self->map + HALF * PAGE_BYTES, HALF, 1 + HALF));
	ASSERT_EQ(0, take(self->fd, self->map + HALF * PAGE_BYTES, HALF,
			  1 + HALF));
	EXPECT_EQ(HALF, taken(self->fd, self->map + HALF * PAGE_BYTES, HALF));
}

TEST_F(exclusive_huge, dontneed)
{
	take_whole();
	ASSERT_EQ(0, madvise(self->map, BYTES, MADV_DONTNEED));
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	EXPECT_TRUE(is_zero(self->map, N));
	pattern_fill(self->map, N, 1);
	take_whole();
	ASSERT_EQ(0, madvise(self->map, PAGE_BYTES, MADV_DONTNEED));
	EXPECT_TRUE(is_zero(self->map, 1));
	EXPECT_TRUE(pattern_is(self->map + PAGE_BYTES, N - 1, 2));
}

/* Advice that is for pages which are there is passed over, without harm. */
TEST_F(exclusive_huge, advice)
{
	unsigned char resident[N];
	size_t i;

	take_whole();
	EXPECT_EQ(0, madvise(self->map, BYTES, MADV_COLD));
	EXPECT_EQ(0, madvise(self->map, BYTES, MADV_PAGEOUT));
	EXPECT_EQ(0, madvise(self->map, BYTES, MADV_FREE));
	EXPECT_EQ(0, madvise(self->map, BYTES, MADV_WILLNEED));
	EXPECT_EQ(0, mincore(self->map, BYTES, resident));
	for (i = 0; i < N; i++)
		EXPECT_EQ(1, resident[i] & 1);
	EXPECT_EQ(0, mlock(self->map, BYTES));
	EXPECT_EQ(0, munlock(self->map, BYTES));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	take_whole();
	collapse_pages(self->map, BYTES);
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	must_be_huge(self->map);
}

TEST_F(exclusive_huge, soft_dirty)
{
	soft_dirty_clear();
	if (is_soft_dirty(self->map))
		SKIP(return, "no soft-dirty bits");
	/* For the device a page is written to. */
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	EXPECT_TRUE(is_soft_dirty(self->map));
	soft_dirty_clear();
	EXPECT_FALSE(is_soft_dirty(self->map));
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	read_pages(self->map, N);
	EXPECT_FALSE(is_soft_dirty(self->map));
	pattern_fill(self->map, N, 1);
	EXPECT_TRUE(is_soft_dirty(self->map));
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	EXPECT_TRUE(is_soft_dirty(self->map));
	read_pages(self->map, N);
	EXPECT_TRUE(is_soft_dirty(self->map));
}

/* Found by reverse mapping */

TEST_F(exclusive_huge, split)
{
	int file = open("/sys/kernel/debug/split_huge_pages",
			O_WRONLY | O_CLOEXEC);

	if (file < 0)
		SKIP(return, "no split_huge_pages in debugfs");
	take_whole();
	/* Of the LRU's folios, all: those in batches are none of them. */
	vm_order("drop_caches", "1");
	EXPECT_EQ(1, write(file, "1", 1));
	close(file);
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	must_not_be_huge(self->map);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	EXPECT_EQ(N, taken(self->fd, self->map, N));
	pattern_fill(self->map, N, 2);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 2));
}

/* It fails before any entry is looked for. */
TEST_F(exclusive_huge, split_while_referenced)
{
	int file = open("/sys/kernel/debug/split_huge_pages",
			O_WRONLY | O_CLOEXEC);
	struct pinned pinned;

	if (file < 0)
		SKIP(return, "no split_huge_pages in debugfs");
	pin_page(&pinned, self->map);
	take_whole();
	vm_order("drop_caches", "1");
	EXPECT_EQ(1, write(file, "1", 1));
	close(file);
	EXPECT_EQ(N, taken(self->fd, self->map, N));
	must_be_huge(self->map);
	EXPECT_TRUE(unpin_page(&pinned, 1));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

TEST_F(exclusive_huge, reclaim)
{
	struct reclaimer reclaimer;
	struct swap swap;
	int tries;

	if (!swap_start(&swap, 16 * BYTES))
		SKIP(return, "no zram");
	if (!reclaimer_start(&reclaimer)) {
		swap_stop(&swap);
		SKIP(return, "no memory.reclaim");
	}
	take_whole();
	for (tries = 0; tries < 50; tries++) {
		if (swapped_pages(self->map, N) == N &&
		    !taken(self->fd, self->map, N))
			break;
		reclaimer_run(&reclaimer, 4 * BYTES);
	}
	reclaimer_stop(&reclaimer);
	EXPECT_GT(50, tries);
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	pattern_fill(self->map, N, 2);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 2));
	EXPECT_EQ(0, munmap(self->map, BYTES));
	swap_stop(&swap);
}

/* The kernel splits it, and moves one page out of the way. */
TEST_F(exclusive_huge, soft_offline)
{
	int file = open("/sys/devices/system/memory/soft_offline_page",
			O_WRONLY | O_CLOEXEC);
	__u64 pfn = pagemap_pfn(self->map + 7 * PAGE_BYTES);

	if (file < 0)
		SKIP(return, "no soft_offline_page");
	ASSERT_NE(0, pfn);
	take_whole();
	vm_order("drop_caches", "1");
	EXPECT_LT(0, dprintf(file, "%#llx", pfn * PAGE_BYTES));
	close(file);
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	EXPECT_NE(pfn, pagemap_pfn(self->map + 7 * PAGE_BYTES));
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	pattern_fill(self->map, N, 2);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 2));
}

/* userfaultfd */

/* The fault cannot wait for userfaultfd here: all commands must fail. */
TEST_F(exclusive_huge, protected_by_userfaultfd)
{
	struct uffd uffd;

	if (uffd_open(&uffd, 0) ||
	    uffd_watch(&uffd, self->map, BYTES, UFFDIO_REGISTER_MODE_WP))
		SKIP(return, "no userfaultfd that protects");
	take_whole();
	ASSERT_EQ(0, uffd_protect(&uffd, UFFDIO_WRITEPROTECT, self->map, BYTES,
				  UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	EXPECT_EQ(-EFAULT, take(self->fd, self->map, N, 1));
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	ASSERT_EQ(0, uffd_protect(&uffd, UFFDIO_WRITEPROTECT, self->map, BYTES,
				  0));
	EXPECT_EQ(0, take(self->fd, self->map, N, 1));
	EXPECT_EQ(N, taken(self->fd, self->map, N));
	close(uffd.fd);
	pattern_fill(self->map, N, 2);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 2));
}

TEST_F(exclusive_huge, moved_by_userfaultfd)
{
	char *to = map_anon(BYTES);
	struct uffdio_move move = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)self->map,
		.len = BYTES,
	};
	struct uffd uffd;

	if (uffd_open(&uffd, UFFD_FEATURE_MOVE) ||
	    uffd_watch(&uffd, to, BYTES, UFFDIO_REGISTER_MODE_MISSING))
		SKIP(return, "no UFFDIO_MOVE");
	take_whole();
	ASSERT_EQ(0, ioctl(uffd.fd, UFFDIO_MOVE, &move));
	EXPECT_EQ((__s64)BYTES, move.move);
	EXPECT_EQ(0, taken(self->fd, self->map, N));
	EXPECT_TRUE(pattern_is(to, N, 1));
	EXPECT_TRUE(device_reads(self->fd, to, N, 1));
	close(uffd.fd);
}

TEST_HARNESS_MAIN
