// SPDX-License-Identifier: GPL-2.0
/*
 * Huge pages that a dummy device has exclusive access to by one PMD entry: the
 * mapping stays huge where it can, every reader of the entry understands it, and
 * the data survives.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"
#include "lib/exclusive.h"

#define N	HUGE_PAGES
#define BYTES	HUGE_BYTES
#define HALF	(HUGE_PAGES / 2)
#define SEED		1UL
#define OTHER		0x1000UL
#define ROUNDS		5
#define WORDS		8
#define SETTLE_TRIES	2000
#define SETTLE_US	5000

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
static int make_exclusive(int fd, char *addr, size_t npages, __u64 seed)
{
	char *data = buffer_of(npages * PAGE_BYTES);
	struct answer answer = device_ask(fd, HMM_DMIRROR_EXCLUSIVE, addr, data,
					  npages);

	if (!answer.rc && !pattern_is(data, npages, seed))
		answer.rc = -EIO;
	free(data);
	return answer.rc;
}

static bool is_exclusive(int fd, char *addr)
{
	return device_ask(fd, HMM_DMIRROR_CHECK_EXCLUSIVE, addr, NULL, 1).rc ==
	       -EPERM;
}

/* How many pages of a range does the device have for itself? */
static size_t exclusive_pages(int fd, char *addr, size_t npages)
{
	size_t i, count = 0;

	for (i = 0; i < npages; i++)
		count += is_exclusive(fd, addr + i * PAGE_BYTES);
	return count;
}

#define must_be_huge(addr)	EXPECT_EQ((long)(BYTES / 1024), huge_kib(addr))
#define must_not_be_huge(addr)	EXPECT_EQ(0, huge_kib(addr))

/* All of it, and it is huge before and after. */
#define make_huge_exclusive()					\
do {								\
	must_be_huge(self->map);				\
	ASSERT_EQ(0, make_exclusive(self->fd, self->map, N, 1));	\
	must_be_huge(self->map);				\
} while (0)

/* As a whole */

TEST_F(exclusive_huge, until_the_cpu_reads)
{
	make_huge_exclusive();
	EXPECT_EQ(N, exclusive_pages(self->fd, self->map, N));
	read_pages(self->map + 77 * PAGE_BYTES, 1);
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	must_be_huge(self->map);
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

TEST_F(exclusive_huge, until_the_cpu_writes)
{
	make_huge_exclusive();
	pattern_fill(self->map + HALF * PAGE_BYTES, 1, 1000);
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	must_be_huge(self->map);
	EXPECT_TRUE(pattern_is(self->map, HALF, 1));
	EXPECT_TRUE(device_reads(self->fd, self->map + HALF * PAGE_BYTES, 1,
				 1000));
}

TEST_F(exclusive_huge, again_and_again)
{
	int round;

	for (round = 0; round < 10; round++) {
		make_huge_exclusive();
		ASSERT_EQ(0, make_exclusive(self->fd, self->map, N, 1));
		EXPECT_TRUE(is_exclusive(self->fd, self->map));
		EXPECT_TRUE(pattern_is(self->map, N, 1));
		EXPECT_FALSE(is_exclusive(self->fd, self->map));
	}
	must_be_huge(self->map);
}

/* It is huge already, and the device keeps it. */
TEST_F(exclusive_huge, collapse)
{
	make_huge_exclusive();
	EXPECT_EQ(0, madvise(self->map, BYTES, MADV_COLLAPSE)) {
		TH_LOG("%s", strerror(errno));
	}
	EXPECT_EQ(N, exclusive_pages(self->fd, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	must_be_huge(self->map);
}

TEST_F(exclusive_huge, another_device)
{
	make_huge_exclusive();
	ASSERT_EQ(0, make_exclusive(self->other, self->map, N, 1));
	must_be_huge(self->map);
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	EXPECT_EQ(N, exclusive_pages(self->other, self->map, N));
	ASSERT_EQ(0, make_exclusive(self->fd, self->map, HALF, 1));
	EXPECT_EQ(HALF, exclusive_pages(self->fd, self->map, N));
	EXPECT_EQ(HALF, exclusive_pages(self->other, self->map, N));
	must_not_be_huge(self->map);
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

TEST_F(exclusive_huge, some_of_its_pages)
{
	char *part = self->map + 100 * PAGE_BYTES;

	ASSERT_EQ(0, make_exclusive(self->fd, part, 16, 101));
	EXPECT_EQ(16, exclusive_pages(self->fd, self->map, N));
	must_not_be_huge(self->map);
	ASSERT_EQ(0, make_exclusive(self->fd, self->map, N, 1));
	EXPECT_EQ(N, exclusive_pages(self->fd, self->map, N));
	/* The folio was not split, and is restored as a whole. */
	read_pages(self->map, 1);
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

TEST_F(exclusive_huge, several)
{
	char *map = map_pattern_thp(self->fd, 3 * BYTES, 7);
	char *part = map + HALF * PAGE_BYTES;

	if (!map)
		SKIP(return, "no huge pages");
	ASSERT_EQ(0, make_exclusive(self->fd, part, 2 * N, 7 + HALF));
	EXPECT_EQ(2 * N, exclusive_pages(self->fd, map, 3 * N));
	/* The huge page in the middle stays a PMD. */
	EXPECT_EQ((long)(BYTES / 1024), huge_kib(map));
	EXPECT_TRUE(pattern_is(map, 3 * N, 7));
	EXPECT_EQ(0, exclusive_pages(self->fd, map, 3 * N));
}

/* What the process does with its address space meanwhile */

TEST_F(exclusive_huge, fork)
{
	struct child child;

	make_huge_exclusive();
	child_start(&child);
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	must_be_huge(self->map);
	EXPECT_TRUE(child_do(&child, work_check, self->map, N, 1));
	pattern_fill(self->map, N, 2);
	EXPECT_TRUE(child_do(&child, work_check, self->map, N, 1));
	child_do(&child, work_fill, self->map, N, 3);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 2));
	child_stop(&child);
}

/* Pages in the middle of the huge one are replaced by copies. */
TEST_F(exclusive_huge, partly_copied)
{
	struct child child;

	make_huge_exclusive();
	child_start(&child);
	pattern_fill(self->map + 3 * PAGE_BYTES, 1, 4);
	pattern_fill(self->map + 99 * PAGE_BYTES, 16, 100);
	child_stop(&child);
	ASSERT_EQ(0, make_exclusive(self->fd, self->map, N, 1));
	EXPECT_EQ(N, exclusive_pages(self->fd, self->map, N));
	ASSERT_EQ(0, make_exclusive(self->fd, self->map, N, 1));
	pattern_fill(self->map, N, 2);
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 2));
}

TEST_F(exclusive_huge, mprotect)
{
	make_huge_exclusive();
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ));
	must_be_huge(self->map);
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	EXPECT_EQ(-EPERM, device_writes(self->fd, self->map, N, 2));
	EXPECT_EQ(-EFAULT, make_exclusive(self->fd, self->map, N, 1));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ | PROT_WRITE));
	make_huge_exclusive();
	ASSERT_EQ(0, mprotect(self->map, HALF * PAGE_BYTES, PROT_READ));
	must_not_be_huge(self->map);
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	pattern_fill(self->map + HALF * PAGE_BYTES, HALF, 2);
}

TEST_F(exclusive_huge, mremap)
{
	char *to = map_anon(BYTES);

	make_huge_exclusive();
	ASSERT_EQ(to, mremap(self->map, BYTES, BYTES,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	must_be_huge(to);
	EXPECT_EQ(0, exclusive_pages(self->fd, to, N));
	EXPECT_TRUE(device_reads(self->fd, to, N, 1));
	ASSERT_EQ(0, make_exclusive(self->fd, to, N, 1));
	ASSERT_EQ(self->map, mremap(to, BYTES / 2, BYTES / 2,
				    MREMAP_MAYMOVE | MREMAP_FIXED, self->map));
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, HALF));
	EXPECT_TRUE(pattern_is(self->map, HALF, 1));
	EXPECT_TRUE(pattern_is(to + HALF * PAGE_BYTES, HALF, 1 + HALF));
}

TEST_F(exclusive_huge, munmap)
{
	make_huge_exclusive();
	ASSERT_EQ(0, munmap(self->map, HALF * PAGE_BYTES));
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, HALF));
	EXPECT_TRUE(pattern_is(self->map + HALF * PAGE_BYTES, HALF, 1 + HALF));
	ASSERT_EQ(0, make_exclusive(self->fd,
				    self->map + HALF * PAGE_BYTES, HALF,
				    1 + HALF));
	EXPECT_EQ(HALF, exclusive_pages(self->fd, self->map + HALF * PAGE_BYTES,
					HALF));
}

TEST_F(exclusive_huge, dontneed)
{
	make_huge_exclusive();
	ASSERT_EQ(0, madvise(self->map, BYTES, MADV_DONTNEED));
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	EXPECT_TRUE(is_zero(self->map, N));
	pattern_fill(self->map, N, 1);
	make_huge_exclusive();
	ASSERT_EQ(0, madvise(self->map, PAGE_BYTES, MADV_DONTNEED));
	EXPECT_TRUE(is_zero(self->map, 1));
	EXPECT_TRUE(pattern_is(self->map + PAGE_BYTES, N - 1, 2));
}

/* Advice that is for pages which are there is passed over, without harm. */
TEST_F(exclusive_huge, advice)
{
	unsigned char resident[N];
	size_t i;

	make_huge_exclusive();
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
	make_huge_exclusive();
	collapse_pages(self->map, BYTES);
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	must_be_huge(self->map);
}

TEST_F(exclusive_huge, soft_dirty)
{
	clear_softdirty();
	if (is_soft_dirty(self->map))
		SKIP(return, "no soft-dirty bits");
	/* For the device a page is written to. */
	ASSERT_EQ(0, make_exclusive(self->fd, self->map, N, 1));
	EXPECT_TRUE(is_soft_dirty(self->map));
	clear_softdirty();
	EXPECT_FALSE(is_soft_dirty(self->map));
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	read_pages(self->map, N);
	EXPECT_FALSE(is_soft_dirty(self->map));
	pattern_fill(self->map, N, 1);
	EXPECT_TRUE(is_soft_dirty(self->map));
	ASSERT_EQ(0, make_exclusive(self->fd, self->map, N, 1));
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
	make_huge_exclusive();
	/* This splits the folios on the LRU only: drain the batches before. */
	vm_order("drop_caches", "1");
	EXPECT_EQ(1, write(file, "1", 1));
	close(file);
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	must_not_be_huge(self->map);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	ASSERT_EQ(0, make_exclusive(self->fd, self->map, N, 1));
	EXPECT_EQ(N, exclusive_pages(self->fd, self->map, N));
	pattern_fill(self->map, N, 2);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 2));
}

/* The split fails before it looks for any entry. */
TEST_F(exclusive_huge, split_while_referenced)
{
	int file = open("/sys/kernel/debug/split_huge_pages",
			O_WRONLY | O_CLOEXEC);
	struct pinned pinned;

	if (file < 0)
		SKIP(return, "no split_huge_pages in debugfs");
	pin_page(&pinned, self->map);
	make_huge_exclusive();
	vm_order("drop_caches", "1");
	EXPECT_EQ(1, write(file, "1", 1));
	close(file);
	EXPECT_EQ(N, exclusive_pages(self->fd, self->map, N));
	must_be_huge(self->map);
	EXPECT_TRUE(unpin_page(&pinned, 1));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

TEST_F(exclusive_huge, reclaim)
{
	struct reclaimer reclaimer;
	struct swap swap;
	int tries;

	if (!swap_start(&swap, RECLAIM_SWAP_BYTES))
		SKIP(return, "no zram");
	if (!reclaimer_start(&reclaimer)) {
		swap_stop(&swap);
		SKIP(return, "no memory.reclaim");
	}
	make_huge_exclusive();
	for (tries = 0; tries < 50; tries++) {
		if (swapped_pages(self->map, N) == N &&
		    !exclusive_pages(self->fd, self->map, N))
			break;
		reclaimer_run(&reclaimer, 4 * BYTES);
	}
	reclaimer_stop(&reclaimer);
	EXPECT_GT(50, tries);
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	ASSERT_EQ(0, make_exclusive(self->fd, self->map, N, 1));
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
	make_huge_exclusive();
	vm_order("drop_caches", "1");
	EXPECT_LT(0, dprintf(file, "%#llx", pfn * PAGE_BYTES));
	close(file);
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	EXPECT_NE(pfn, pagemap_pfn(self->map + 7 * PAGE_BYTES));
	ASSERT_EQ(0, make_exclusive(self->fd, self->map, N, 1));
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
	make_huge_exclusive();
	ASSERT_EQ(0, uffd_protect(&uffd, UFFDIO_WRITEPROTECT, self->map, BYTES,
				  UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	EXPECT_EQ(-EFAULT, make_exclusive(self->fd, self->map, N, 1));
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	ASSERT_EQ(0, uffd_protect(&uffd, UFFDIO_WRITEPROTECT, self->map, BYTES,
				  0));
	EXPECT_EQ(0, make_exclusive(self->fd, self->map, N, 1));
	EXPECT_EQ(N, exclusive_pages(self->fd, self->map, N));
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
	make_huge_exclusive();
	ASSERT_EQ(0, ioctl(uffd.fd, UFFDIO_MOVE, &move));
	EXPECT_EQ((__s64)BYTES, move.move);
	EXPECT_EQ(0, exclusive_pages(self->fd, self->map, N));
	EXPECT_TRUE(pattern_is(to, N, 1));
	EXPECT_TRUE(device_reads(self->fd, to, N, 1));
	close(uffd.fd);
}

/*
 * Exclusive from the start, and no operation below may split the huge page
 */

struct splits {
	long pages;
	long entries;
	long deferred;
};

static struct splits splits_now(void)
{
	return (struct splits) {
		.pages = vm_event("thp_split_page"),
		.entries = vm_event("thp_split_pmd"),
		.deferred = vm_event("thp_deferred_split_page"),
	};
}

FIXTURE(exclusive_pmd)
{
	int fd;
	int other;
	char *map;
	struct splits before;
	struct child child;
};

FIXTURE_SETUP(exclusive_pmd)
{
	self->fd = dmirror_open(0);
	self->other = dmirror_open(1);
	if (self->fd < 0 || self->other < 0)
		SKIP(return, "no dummy devices");
	self->map = map_pattern_thp(self->fd, HUGE_BYTES, SEED);
	if (!self->map)
		SKIP(return, "no huge page");
	self->before = splits_now();
	ASSERT_EQ(0, device_seize(self->fd, self->map, HUGE_PAGES));
	ASSERT_EQ(HUGE_PAGES, device_seized(self->fd, self->map, HUGE_PAGES));
}

FIXTURE_TEARDOWN(exclusive_pmd)
{
	close(self->fd);
	close(self->other);
}

#define EXPECT_NO_SPLITS()						\
do {									\
	struct splits now = splits_now();				\
									\
	EXPECT_EQ(self->before.pages, now.pages);			\
	EXPECT_EQ(self->before.entries, now.entries);			\
	EXPECT_EQ(self->before.deferred, now.deferred);			\
} while (0)

#define EXPECT_LET_GO(fd)						\
	EXPECT_EQ(0, device_seized(fd, self->map, HUGE_PAGES))

#define EXPECT_HAS_ALL(fd)						\
	EXPECT_EQ(HUGE_PAGES, device_seized(fd, self->map, HUGE_PAGES))

#define EXPECT_DATA(seed)						\
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, seed))

/* Without splits */

TEST_F(exclusive_pmd, restored_by_a_read)
{
	EXPECT_DATA(SEED);
	EXPECT_LET_GO(self->fd);
	EXPECT_NO_SPLITS();
}

/* A write to any of its pages brings all of it back. */
TEST_F(exclusive_pmd, restored_by_a_write)
{
	size_t i, page;

	for (i = 0; i < ROUNDS; i++) {
		page = (i * 131) % HUGE_PAGES;
		pattern_fill(self->map + page * PAGE_BYTES, 1, SEED + page);
		EXPECT_NO_SPLITS();
		ASSERT_EQ(0, device_seize(self->fd, self->map, HUGE_PAGES));
	}
	EXPECT_DATA(SEED);
	EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, SEED));
}

TEST_F(exclusive_pmd, exclusive_twice)
{
	ASSERT_EQ(0, device_seize(self->fd, self->map, HUGE_PAGES));
	EXPECT_HAS_ALL(self->fd);
	EXPECT_DATA(SEED);
	EXPECT_NO_SPLITS();
}

TEST_F(exclusive_pmd, exclusive_for_another_device)
{
	ASSERT_EQ(0, device_seize(self->other, self->map, HUGE_PAGES));
	EXPECT_LET_GO(self->fd);
	EXPECT_HAS_ALL(self->other);
	EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, SEED));
	EXPECT_LET_GO(self->other);
	EXPECT_DATA(SEED);
	EXPECT_NO_SPLITS();
}

TEST_F(exclusive_pmd, device_adds)
{
	struct hmm_dmirror_atomic add = {
		.value = 3,
		.rounds = ROUNDS,
		.stride = HUGE_BYTES / WORDS,
		.take = HUGE_PAGES,
		.tries = 10,
	};
	struct answer answer;
	__u64 saved[WORDS];
	size_t k;

	if (!device_is_ours(self->fd))
		SKIP(return, "the stock dummy driver cannot add");
	for (k = 0; k < WORDS; k++) {
		__u64 *word = (__u64 *)(self->map + k * add.stride);

		saved[k] = *word;
		*word = k;
	}
	answer = device_ask(self->fd, HMM_DMIRROR_ATOMIC_ADD, self->map, &add,
			    HUGE_PAGES);
	EXPECT_EQ(0, answer.rc);
	EXPECT_EQ(WORDS * ROUNDS, answer.cpages);
	EXPECT_EQ(1, answer.faults);
	for (k = 0; k < WORDS; k++) {
		__u64 *word = (__u64 *)(self->map + k * add.stride);

		EXPECT_EQ(k + ROUNDS * add.value, *word);
		*word = saved[k];
	}
	EXPECT_DATA(SEED);
	EXPECT_NO_SPLITS();
}

TEST_F(exclusive_pmd, mprotect)
{
	ASSERT_EQ(0, mprotect(self->map, HUGE_BYTES, PROT_READ));
	EXPECT_LET_GO(self->fd);
	EXPECT_GT(0, device_seize(self->fd, self->map, HUGE_PAGES));
	EXPECT_DATA(SEED);
	ASSERT_EQ(0, mprotect(self->map, HUGE_BYTES, PROT_READ | PROT_WRITE));
	pattern_fill(self->map, HUGE_PAGES, OTHER);
	EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, OTHER));
	EXPECT_NO_SPLITS();
}

TEST_F(exclusive_pmd, mremap)
{
	char *to = map_anon(HUGE_BYTES);

	ASSERT_EQ(to, mremap(self->map, HUGE_BYTES, HUGE_BYTES,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_LET_GO(self->fd);
	self->map = to;
	EXPECT_TRUE(device_reads(self->fd, to, HUGE_PAGES, SEED));
	EXPECT_DATA(SEED);
	ASSERT_EQ(0, device_seize(self->fd, to, HUGE_PAGES));
	EXPECT_DATA(SEED);
	EXPECT_NO_SPLITS();
}

TEST_F(exclusive_pmd, fork)
{
	child_start(&self->child);
	EXPECT_LET_GO(self->fd);
	EXPECT_TRUE(child_do(&self->child, work_check, self->map, HUGE_PAGES,
			     SEED));
	EXPECT_DATA(SEED);
	EXPECT_NO_SPLITS();
	child_stop(&self->child);
}

/* Readers of the page table */

static long rss_of(char *addr)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	unsigned long start, end;
	bool there = false;
	char line[512];
	long rss = -1;

	if (!file)
		fatal("/proc/self/smaps: %s", strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			there = start <= (uintptr_t)addr &&
				(uintptr_t)addr < end;
		else if (there && sscanf(line, "Rss: %ld", &rss) == 1)
			break;
	}
	fclose(file);
	return rss;
}

/* The device goes on. */
TEST_F(exclusive_pmd, read_through_proc_and_mincore)
{
	unsigned char core[HUGE_PAGES];
	size_t i;

	EXPECT_EQ((long)HUGE_BYTES / 1024, rss_of(self->map));
	for (i = 0; i < HUGE_PAGES; i++)
		EXPECT_EQ(0, pagemap_pfn(self->map + i * PAGE_BYTES));
	EXPECT_EQ(0, mincore(self->map, HUGE_BYTES, core));
	EXPECT_EQ(HUGE_PAGES, same_bytes(core, sizeof(core), core[0]));
	EXPECT_EQ(0, device_count_bytes(self->fd, self->map, HUGE_PAGES, 0xff,
					HMM_DMIRROR_PROT_ERROR));
	EXPECT_HAS_ALL(self->fd);
	EXPECT_DATA(SEED);
	EXPECT_EQ((long)HUGE_BYTES / 1024, rss_of(self->map));
}

/* Another process reads and writes through the kernel. */

static int parents_memory(void)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", getppid());
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fatal("%s: %s", path, strerror(errno));
	return fd;
}

static long work_peek(char *addr, size_t npages, __u64 seed)
{
	size_t bytes = npages * PAGE_BYTES;
	char *data = buffer_of(bytes);
	int fd = parents_memory();
	bool right;

	right = pread(fd, data, bytes, (uintptr_t)addr) == (ssize_t)bytes &&
		pattern_is(data, npages, seed);
	close(fd);
	free(data);
	return right;
}

static long work_poke(char *addr, size_t npages, __u64 seed)
{
	size_t bytes = npages * PAGE_BYTES;
	char *data = buffer_of(bytes);
	int fd = parents_memory();
	bool done;

	pattern_fill(data, npages, seed);
	done = pwrite(fd, data, bytes, (uintptr_t)addr) == (ssize_t)bytes;
	close(fd);
	free(data);
	return done;
}

TEST_F(exclusive_pmd, accessed_by_another_process)
{
	child_start(&self->child);
	ASSERT_EQ(0, device_seize(self->fd, self->map, HUGE_PAGES));
	EXPECT_TRUE(child_do(&self->child, work_peek, self->map, HUGE_PAGES,
			     SEED));
	ASSERT_EQ(0, device_seize(self->fd, self->map, HUGE_PAGES));
	EXPECT_TRUE(child_do(&self->child, work_poke, self->map, HUGE_PAGES,
			     OTHER));
	EXPECT_LET_GO(self->fd);
	EXPECT_DATA(OTHER);
	child_stop(&self->child);
}

/* Advice */

static const int advices[] = {
	MADV_NORMAL, MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ,
	MADV_POPULATE_WRITE, MADV_COLLAPSE, MADV_NOHUGEPAGE, MADV_HUGEPAGE,
};

/* Whether the advice is followed or not, the data stays. */
TEST_F(exclusive_pmd, advice)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(advices); i++) {
		ASSERT_EQ(0, device_seize(self->fd, self->map, HUGE_PAGES));
		madvise(self->map, HUGE_BYTES, advices[i]);
		EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, SEED));
		EXPECT_DATA(SEED);
	}
}

/* About a part of it */
TEST_F(exclusive_pmd, advice_for_a_part)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(advices); i++) {
		ASSERT_EQ(0, device_seize(self->fd, self->map, HUGE_PAGES));
		madvise(self->map + 7 * PAGE_BYTES, HUGE_BYTES / 2, advices[i]);
		EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, SEED));
		EXPECT_DATA(SEED);
	}
}

TEST_F(exclusive_pmd, guard_in_the_middle)
{
	char *page = self->map + 100 * PAGE_BYTES;

	if (madvise(page, PAGE_BYTES, MADV_GUARD_INSTALL))
		SKIP(return, "no guards");
	EXPECT_GT(0, device_seize(self->fd, page, 1));
	EXPECT_TRUE(pattern_is(self->map, 100, SEED));
	EXPECT_TRUE(pattern_is(page + PAGE_BYTES, HUGE_PAGES - 101, SEED + 101));
	ASSERT_EQ(0, madvise(page, PAGE_BYTES, MADV_GUARD_REMOVE));
	EXPECT_TRUE(is_zero(page, 1));
	EXPECT_EQ(0, device_seize(self->fd, self->map, HUGE_PAGES));
	EXPECT_TRUE(is_zero(page, 1));
}

TEST_F(exclusive_pmd, locked_memory)
{
	if (mlock(self->map, HUGE_BYTES))
		SKIP(return, "memory cannot be locked");
	EXPECT_DATA(SEED);
	ASSERT_EQ(0, device_seize(self->fd, self->map, HUGE_PAGES));
	ASSERT_EQ(0, munlock(self->map, HUGE_BYTES));
	EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, SEED));
	EXPECT_DATA(SEED);
}

/* A VMA that ends in the middle of it */
TEST_F(exclusive_pmd, two_mappings)
{
	char *upper = self->map + HUGE_BYTES / 2;

	ASSERT_EQ(0, madvise(upper, HUGE_BYTES / 2, MADV_SEQUENTIAL));
	EXPECT_TRUE(pattern_is(upper, HUGE_PAGES / 2, SEED + HUGE_PAGES / 2));
	EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, SEED));
	EXPECT_EQ(0, device_seize(self->fd, self->map, HUGE_PAGES));
	EXPECT_HAS_ALL(self->fd);
	EXPECT_DATA(SEED);
}

/* What is left by a process */

static long huge_pages_are(long expected)
{
	int tries;

	for (tries = 0; tries < SETTLE_TRIES; tries++) {
		if (vm_event("nr_anon_transparent_hugepages") <= expected)
			return true;
		usleep(SETTLE_US);
	}
	return false;
}

static long work_seize_new(char *unused, size_t none, __u64 seed)
{
	int fd = dmirror_open(0);
	char *map = fd < 0 ? NULL : map_pattern_thp(fd, HUGE_BYTES, seed);

	return map && !device_seize(fd, map, HUGE_PAGES);
}

/* Exit and kill: only the process itself mapped the page. */
TEST_F(exclusive_pmd, end_of_the_process)
{
	long before = vm_event("nr_anon_transparent_hugepages");

	child_start(&self->child);
	EXPECT_TRUE(child_do(&self->child, work_seize_new, NULL, 0, OTHER));
	child_stop(&self->child);
	EXPECT_TRUE(huge_pages_are(before));
	child_start(&self->child);
	EXPECT_TRUE(child_do(&self->child, work_seize_new, NULL, 0, OTHER));
	child_kill(&self->child);
	EXPECT_TRUE(huge_pages_are(before));
	EXPECT_DATA(SEED);
}

TEST_HARNESS_MAIN
