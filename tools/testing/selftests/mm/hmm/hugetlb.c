// SPDX-License-Identifier: GPL-2.0
/*
 * hugetlb memory under a dummy device's mirror: it is read and written like
 * any other, stays where it is, and goes when its file does.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"

#define PAGES		(2 * HUGE_PAGES)
#define BYTES		(2 * HUGE_BYTES)
/* Two for the mapping, two for copies of them */
#define POOL		4
#define FREE_PAGES	"/sys/kernel/mm/hugepages/hugepages-2048kB/" \
			"free_hugepages"

FIXTURE(hugetlb)
{
	int fd;
	int file;
	char *map;
};

FIXTURE_VARIANT(hugetlb)
{
	bool shared;
};

FIXTURE_VARIANT_ADD(hugetlb, private)
{
	.shared = false,
};

FIXTURE_VARIANT_ADD(hugetlb, shared)
{
	.shared = true,
};

static long free_pages(void)
{
	long pages = read_number(FREE_PAGES);

	if (pages < 0)
		fatal("no number in " FREE_PAGES);
	return pages;
}

FIXTURE_SETUP(hugetlb)
{
	const char *reason;

	self->file = -1;
	self->fd = device_open(0, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	if (!reserve_hugetlb(POOL))
		SKIP(return, "no hugetlb pages");
	if (variant->shared) {
		self->file = hugetlb_file(BYTES);
		if (self->file < 0)
			SKIP(return, "no files of hugetlb pages");
		self->map = map_at(map_anon(BYTES), BYTES,
				   PROT_READ | PROT_WRITE, MAP_SHARED,
				   self->file);
	} else {
		self->map = map_hugetlb(BYTES);
		if (!self->map)
			SKIP(return, "no hugetlb mapping");
	}
}

/* The mirror keeps no page: all of them are in the pool again. */
FIXTURE_TEARDOWN(hugetlb)
{
	if (self->map)
		munmap(self->map, BYTES);
	if (self->file >= 0)
		close(self->file);
	if (self->map)
		EXPECT_EQ(POOL, free_pages());
	release_hugetlb();
	close(self->fd);
}

TEST_F(hugetlb, device_reads_what_the_cpu_wrote)
{
	pattern_fill(self->map, PAGES, 1);
	EXPECT_TRUE(device_reads(self->fd, self->map, PAGES, 1));
	EXPECT_EQ(0, device_faults(self->fd, self->map, PAGES));
	pattern_fill(self->map, PAGES, 2);
	EXPECT_TRUE(device_reads(self->fd, self->map, PAGES, 2));
}

TEST_F(hugetlb, cpu_reads_what_the_device_wrote)
{
	ASSERT_EQ(0, device_writes(self->fd, self->map, PAGES, 1));
	EXPECT_TRUE(pattern_is(self->map, PAGES, 1));
	ASSERT_EQ(0, device_writes(self->fd, self->map, PAGES, 2));
	EXPECT_TRUE(pattern_is(self->map, PAGES, 2));
}

TEST_F(hugetlb, untouched_memory)
{
	EXPECT_EQ(PAGES, device_count_bytes(self->fd, self->map, PAGES, 0xff,
					    HMM_DMIRROR_PROT_NONE));
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, PAGES));
	EXPECT_TRUE(is_zero(self->map, PAGES));
}

TEST_F(hugetlb, read_unlocked)
{
	char *data = map_anon(BYTES);
	struct answer answer;

	pattern_fill(self->map, PAGES, 3);
	answer = device_ask(self->fd, HMM_DMIRROR_READ_UNLOCKED, self->map,
			    data, PAGES);
	EXPECT_EQ(0, answer.rc);
	EXPECT_EQ(PAGES, answer.cpages);
	EXPECT_TRUE(pattern_is(data, PAGES, 3));
}

TEST_F(hugetlb, snapshot)
{
	pattern_fill(self->map, PAGES, 1);
	EXPECT_EQ(PAGES, device_count_bytes(self->fd, self->map, PAGES, 0xff,
					    HMM_DMIRROR_PROT_PMD |
					    HMM_DMIRROR_PROT_WRITE));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ));
	EXPECT_EQ(PAGES, device_count_bytes(self->fd, self->map, PAGES, 0xff,
					    HMM_DMIRROR_PROT_PMD |
					    HMM_DMIRROR_PROT_READ));
	/* Also of a range that begins and ends within huge pages */
	EXPECT_EQ(HUGE_PAGES,
		  device_count_bytes(self->fd, self->map + 77 * PAGE_BYTES,
				     HUGE_PAGES, 0xff, HMM_DMIRROR_PROT_PMD |
				     HMM_DMIRROR_PROT_READ));
}

/* A range within huge pages leaves the rest of them alone. */
TEST_F(hugetlb, write_to_the_middle)
{
	size_t first = HUGE_PAGES - 33, n = 66;
	char *middle = self->map + first * PAGE_BYTES;

	pattern_fill(self->map, PAGES, 1);
	ASSERT_EQ(0, device_writes(self->fd, middle, n, 5000));
	EXPECT_TRUE(pattern_is(self->map, first, 1));
	EXPECT_TRUE(pattern_is(middle, n, 5000));
	EXPECT_TRUE(pattern_is(middle + n * PAGE_BYTES, PAGES - first - n,
			       1 + first + n));
	EXPECT_TRUE(device_reads(self->fd, middle, n, 5000));
}

TEST_F(hugetlb, mprotect)
{
	char *data = map_anon(BYTES);

	ASSERT_EQ(0, device_writes(self->fd, self->map, PAGES, 1));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ));
	pattern_fill(data, PAGES, 2);
	EXPECT_EQ(-EPERM, device_write(self->fd, self->map, PAGES, data));
	EXPECT_TRUE(device_reads(self->fd, self->map, PAGES, 1));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_NONE));
	EXPECT_EQ(-EFAULT, device_faults(self->fd, self->map, PAGES));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ | PROT_WRITE));
	EXPECT_TRUE(device_reads(self->fd, self->map, PAGES, 1));
	ASSERT_EQ(0, device_writes(self->fd, self->map, PAGES, 2));
	EXPECT_TRUE(pattern_is(self->map, PAGES, 2));
}

TEST_F(hugetlb, does_not_migrate)
{
	struct answer answer;

	pattern_fill(self->map, PAGES, 1);
	answer = device_take(self->fd, self->map, PAGES);
	EXPECT_EQ(-EINVAL, answer.rc);
	EXPECT_EQ(0, answer.cpages);
	EXPECT_TRUE(device_in_use_is(self->fd, 0));
	EXPECT_TRUE(pattern_is(self->map, PAGES, 1));
	EXPECT_TRUE(device_reads(self->fd, self->map, PAGES, 1));
}

TEST_F(hugetlb, is_not_exclusive)
{
	pattern_fill(self->map, PAGES, 1);
	EXPECT_EQ(-EOPNOTSUPP, device_ask(self->fd, HMM_DMIRROR_EXCLUSIVE,
					  self->map, NULL, 1).rc);
	EXPECT_EQ(0, device_ask(self->fd, HMM_DMIRROR_CHECK_EXCLUSIVE,
				self->map, NULL, PAGES).rc);
	EXPECT_TRUE(pattern_is(self->map, PAGES, 1));
}

/* The device's writes after a fork reach the child in shared memory only. */
TEST_F(hugetlb, fork)
{
	struct child child;

	ASSERT_EQ(0, device_writes(self->fd, self->map, PAGES, 1));
	child_start(&child);
	ASSERT_EQ(0, device_writes(self->fd, self->map, PAGES, 2));
	EXPECT_TRUE(pattern_is(self->map, PAGES, 2));
	EXPECT_TRUE(child_do(&child, work_check, self->map, PAGES,
			     variant->shared ? 2 : 1));
	child_stop(&child);
}

/* The same the other way round: the CPU copies what the device knows. */
TEST_F(hugetlb, fork_then_write_by_the_cpu)
{
	struct child child;

	ASSERT_EQ(0, device_writes(self->fd, self->map, PAGES, 1));
	child_start(&child);
	EXPECT_TRUE(device_reads(self->fd, self->map, PAGES, 1));
	pattern_fill(self->map, PAGES, 2);
	EXPECT_TRUE(device_reads(self->fd, self->map, PAGES, 2));
	EXPECT_TRUE(child_do(&child, work_check, self->map, PAGES,
			     variant->shared ? 2 : 1));
	child_stop(&child);
}

TEST_F(hugetlb, munmap_of_a_page)
{
	ASSERT_EQ(0, device_writes(self->fd, self->map, PAGES, 1));
	ASSERT_EQ(0, munmap(self->map + HUGE_BYTES, HUGE_BYTES));
	EXPECT_EQ(-EFAULT, device_faults(self->fd, self->map + HUGE_BYTES,
					 1));
	EXPECT_EQ(0, device_faults(self->fd, self->map, HUGE_PAGES));
	EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, 1));
}

/* A file keeps its pages; private memory is empty again. */
TEST_F(hugetlb, dontneed)
{
	ASSERT_EQ(0, device_writes(self->fd, self->map, PAGES, 1));
	ASSERT_EQ(0, madvise(self->map, BYTES, MADV_DONTNEED));
	EXPECT_LE(1, device_faults(self->fd, self->map, PAGES));
	EXPECT_TRUE(variant->shared ?
		    device_reads(self->fd, self->map, PAGES, 1) :
		    device_reads_zero(self->fd, self->map, PAGES));
}

TEST_F(hugetlb, mremap)
{
	char *to = map_anon(BYTES);

	ASSERT_EQ(0, device_writes(self->fd, self->map, PAGES, 1));
	ASSERT_EQ(to, mremap(self->map, BYTES, BYTES,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(-EFAULT, device_faults(self->fd, self->map, 1));
	EXPECT_TRUE(device_reads(self->fd, to, PAGES, 1));
	EXPECT_TRUE(pattern_is(to, PAGES, 1));
	self->map = to;
}

/* More memory is mapped than there is: no page for the last one. */
TEST_F(hugetlb, pool_is_empty)
{
	char *more = map_anon(BYTES + HUGE_BYTES);

	pattern_fill(self->map, PAGES, 1);
	if (mmap(more, BYTES + HUGE_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED |
		 MAP_NORESERVE, -1, 0) != more)
		SKIP(return, "no hugetlb mapping without reservation");
	EXPECT_EQ(0, device_writes(self->fd, more, PAGES, 2));
	EXPECT_EQ(-EFAULT, device_writes(self->fd, more + BYTES, 1, 2));
	EXPECT_EQ(-EFAULT, device_faults(self->fd, more + BYTES, 1));
	EXPECT_TRUE(pattern_is(more, PAGES, 2));
	EXPECT_TRUE(device_reads(self->fd, self->map, PAGES, 1));
	ASSERT_EQ(0, munmap(more, BYTES + HUGE_BYTES));
}

/* The file under a mirror changes */

TEST_F(hugetlb, truncate)
{
	if (!variant->shared)
		SKIP(return, "this memory has no file");
	ASSERT_EQ(0, device_writes(self->fd, self->map, PAGES, 1));
	ASSERT_EQ(0, ftruncate(self->file, HUGE_BYTES));
	EXPECT_EQ(-EFAULT, device_faults(self->fd, self->map + HUGE_BYTES,
					 1));
	EXPECT_EQ(-EFAULT, device_writes(self->fd, self->map + HUGE_BYTES, 1,
					 2));
	EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, 1));
	ASSERT_EQ(0, ftruncate(self->file, BYTES));
	EXPECT_TRUE(device_reads_zero(self->fd, self->map + HUGE_BYTES,
				      HUGE_PAGES));
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, 1));
}

TEST_F(hugetlb, hole_is_punched)
{
	long before;

	if (!variant->shared)
		SKIP(return, "this memory has no file");
	ASSERT_EQ(0, device_writes(self->fd, self->map, PAGES, 1));
	before = free_pages();
	ASSERT_EQ(0, fallocate(self->file, FALLOC_FL_PUNCH_HOLE |
			       FALLOC_FL_KEEP_SIZE, 0, HUGE_BYTES));
	EXPECT_EQ(before + 1, free_pages());
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, HUGE_PAGES));
	EXPECT_TRUE(device_reads(self->fd, self->map + HUGE_BYTES, HUGE_PAGES,
				 1 + HUGE_PAGES));
	ASSERT_EQ(0, device_writes(self->fd, self->map, HUGE_PAGES, 3));
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, 3));
}

/*
 * A mapping that shares its page table with another process. What changes its
 * protection unmaps the table: the device must not go on with the page,
 * of which this process is no longer notified.
 */

FIXTURE(shared_table)
{
	int fd;
	int file;
	char *map;
	struct keeper keeper;
};

FIXTURE_SETUP(shared_table)
{
	const char *reason;
	char *room;

	self->file = -1;
	self->fd = device_open(0, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	if (!reserve_hugetlb(POOL))
		SKIP(return, "no hugetlb pages");
	self->file = hugetlb_file(GIGANTIC_BYTES);
	if (self->file < 0)
		SKIP(return, "no files of hugetlb pages");
	room = mmap(NULL, 2 * GIGANTIC_BYTES, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, room);
	room += -(uintptr_t)room % GIGANTIC_BYTES;
	self->map = map_at(room, GIGANTIC_BYTES, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_NORESERVE, self->file);
	pattern_fill(self->map, 1, 1);
	keeper_start(&self->keeper);
	ASSERT_LE(0, keeper_peek(&self->keeper, self->map));
	ASSERT_TRUE(device_reads(self->fd, self->map, 1, 1));
}

FIXTURE_TEARDOWN(shared_table)
{
	if (self->keeper.pid)
		keeper_stop(&self->keeper);
	if (self->file >= 0)
		close(self->file);
	release_hugetlb();
	close(self->fd);
}

/* Moves the page of a file that is not mapped any more. */
static bool soft_offline(__u64 pfn)
{
	int fd = open("/sys/devices/system/memory/soft_offline_page",
		      O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && dprintf(fd, "0x%llx", pfn * PAGE_BYTES) > 0;

	close(fd);
	return done;
}

TEST_F(shared_table, device_follows_the_file_after_mprotect)
{
	__u64 pfn = pagemap_pfn(self->map);
	char *other;

	ASSERT_EQ(0, mprotect(self->map, GIGANTIC_BYTES, PROT_READ));
	keeper_stop(&self->keeper);
	self->keeper.pid = 0;
	if (!soft_offline(pfn))
		SKIP(return, "no soft offlining of pages");
	other = mmap(NULL, GIGANTIC_BYTES, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_NORESERVE, self->file, 0);
	ASSERT_NE(MAP_FAILED, other);
	EXPECT_TRUE(pattern_is(other, 1, 1));
	EXPECT_NE(pfn, pagemap_pfn(other));
	pattern_fill(other, 1, 2);
	EXPECT_TRUE(device_reads(self->fd, self->map, 1, 2));
	ASSERT_EQ(0, munmap(other, GIGANTIC_BYTES));
}

TEST_F(shared_table, device_follows_the_file_after_mprotect_of_a_half)
{
	__u64 pfn = pagemap_pfn(self->map);
	char *other;

	ASSERT_EQ(0, mprotect(self->map, GIGANTIC_BYTES / 2, PROT_READ));
	keeper_stop(&self->keeper);
	self->keeper.pid = 0;
	if (!soft_offline(pfn))
		SKIP(return, "no soft offlining of pages");
	other = mmap(NULL, GIGANTIC_BYTES, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_NORESERVE, self->file, 0);
	ASSERT_NE(MAP_FAILED, other);
	pattern_fill(other, 1, 2);
	EXPECT_TRUE(device_reads(self->fd, self->map, 1, 2));
	ASSERT_EQ(0, munmap(other, GIGANTIC_BYTES));
}

TEST_HARNESS_MAIN
