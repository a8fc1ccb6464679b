// SPDX-License-Identifier: GPL-2.0
/*
 * The device's table follows what the CPU does to the memory, what
 * the device writes is not lost, and both can work at the same time.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"

#define N	16
#define BYTES	(N * PAGE_BYTES)

FIXTURE(mirror_coherence)
{
	int fd;
	char *map;
};

FIXTURE_SETUP(mirror_coherence)
{
	self->fd = dmirror_open(0);
	if (self->fd < 0)
		SKIP(return, "no dummy device");
	self->map = map_anon_small(BYTES);
}

FIXTURE_TEARDOWN(mirror_coherence)
{
	close(self->fd);
}

TEST_F(mirror_coherence, dontneed)
{
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 1));
	ASSERT_EQ(0, madvise(self->map, BYTES, MADV_DONTNEED));
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, N));
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 2));
	EXPECT_TRUE(pattern_is(self->map, N, 2));
}

/* The device first knows the zero page, then the page that a write made. */
TEST_F(mirror_coherence, write_replaces_the_zero_page)
{
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, N));
	pattern_fill(self->map, N, 1);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
}

TEST_F(mirror_coherence, device_write_replaces_the_zero_page)
{
	char *other = map_anon_small(BYTES);

	EXPECT_TRUE(device_reads_zero(self->fd, self->map, N));
	EXPECT_TRUE(device_reads_zero(self->fd, other, N));
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 1));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	EXPECT_EQ(BYTES, same_bytes(other, BYTES, 0));
}

static bool child_sees(struct keeper *child, const char *map, const char *data)
{
	size_t page;

	for (page = 0; page < N; page++)
		if (keeper_peek(child, (char *)map + page * PAGE_BYTES) !=
		    data[page * PAGE_BYTES])
			return false;
	return true;
}

TEST_F(mirror_coherence, copy_on_write_by_the_cpu)
{
	struct keeper child;
	char old[BYTES];

	pattern_fill(self->map, N, 1);
	pattern_fill(old, N, 1);
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 1));
	keeper_start(&child);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	pattern_fill(self->map, N, 2);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 2));
	EXPECT_TRUE(child_sees(&child, self->map, old));
	keeper_stop(&child);
}

TEST_F(mirror_coherence, copy_on_write_by_the_device)
{
	struct keeper child;
	char old[BYTES];

	pattern_fill(old, N, 1);
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 1));
	keeper_start(&child);
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 2));
	EXPECT_TRUE(pattern_is(self->map, N, 2));
	EXPECT_TRUE(child_sees(&child, self->map, old));
	keeper_stop(&child);
}

/* A private mapping has the page of the file until the first write. */
TEST_F(mirror_coherence, private_copy_of_a_file)
{
	int fd = memory_file(BYTES);
	char *file = map_at(map_anon_small(BYTES), BYTES,
			    PROT_READ | PROT_WRITE, MAP_SHARED, fd);

	map_at(self->map, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	pattern_fill(file, N, 1);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 2));
	EXPECT_TRUE(pattern_is(self->map, N, 2));
	EXPECT_TRUE(pattern_is(file, N, 1));
	EXPECT_TRUE(device_reads(self->fd, file, N, 1));
	close(fd);
}

/*
 * Where the CPU loses write access and nothing else, the device may go on
 * reading what it has.
 */

/* How often the device has to fault for it; -1 if it reads something else. */
static int faults_to_read(int fd, char *map, __u64 seed)
{
	char data[BYTES] = { 0 };
	struct answer answer = device_ask(fd, HMM_DMIRROR_READ, map, data, N);

	return !answer.rc && pattern_is(data, N, seed) ? (int)answer.faults : -1;
}

TEST_F(mirror_coherence, reads_survive_fork)
{
	struct keeper child;
	char old[BYTES];

	pattern_fill(old, N, 1);
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 1));
	keeper_start(&child);
	EXPECT_EQ(0, faults_to_read(self->fd, self->map, 1));
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 2));
	EXPECT_EQ(0, faults_to_read(self->fd, self->map, 2));
	EXPECT_TRUE(child_sees(&child, self->map, old));
	keeper_stop(&child);
}

TEST_F(mirror_coherence, reads_survive_mprotect)
{
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 1));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ));
	EXPECT_EQ(0, faults_to_read(self->fd, self->map, 1));
	EXPECT_NE(0, device_writes(self->fd, self->map, N, 2));
	EXPECT_EQ(0, faults_to_read(self->fd, self->map, 1));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 2));
	EXPECT_TRUE(pattern_is(self->map, N, 2));
}

TEST_F(mirror_coherence, reads_do_not_survive_prot_none)
{
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 1));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_NONE));
	EXPECT_EQ(-1, faults_to_read(self->fd, self->map, 1));
}

TEST_F(mirror_coherence, reads_survive_soft_dirty)
{
	int refs = open("/proc/self/clear_refs", O_WRONLY);

	ASSERT_GE(refs, 0);
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 1));
	ASSERT_EQ(1, write(refs, "4", 1));
	EXPECT_EQ(0, faults_to_read(self->fd, self->map, 1));
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 2));
	EXPECT_TRUE(pattern_is(self->map, N, 2));
	close(refs);
}

TEST_F(mirror_coherence, reads_survive_fork_of_hugetlb)
{
	struct keeper child;
	char *map = reserve_hugetlb(4) ? map_hugetlb(HUGE_BYTES) : NULL;
	char old;

	if (!map)
		SKIP(return, "no hugetlb pages");
	ASSERT_EQ(0, device_writes(self->fd, map, N, 1));
	old = *map;
	keeper_start(&child);
	EXPECT_EQ(0, faults_to_read(self->fd, map, 1));
	ASSERT_EQ(0, device_writes(self->fd, map, N, 2));
	EXPECT_EQ(0, faults_to_read(self->fd, map, 2));
	EXPECT_EQ(old, keeper_peek(&child, map));
	keeper_stop(&child);
	munmap(map, HUGE_BYTES);
	release_hugetlb();
}

/* What has reached the disk, read past the page cache */
static bool disk_holds(const struct swap *disk, __u64 seed)
{
	char *data = map_anon_small(BYTES);
	int fd = open(disk->device, O_RDONLY | O_DIRECT | O_CLOEXEC);
	bool holds = read(fd, data, BYTES) == BYTES &&
		     pattern_is(data, N, seed);

	close(fd);
	munmap(data, BYTES);
	return holds;
}

/* Written back a second time, the pages must be known to be dirty again. */
TEST_F(mirror_coherence, reads_survive_writeback)
{
	struct swap disk;
	int file;

	if (!disk_start(&disk, HUGE_BYTES))
		SKIP(return, "no zram");
	file = open(disk.device, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, file);
	map_at(self->map, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file);
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 1));
	ASSERT_EQ(0, msync(self->map, BYTES, MS_SYNC));
	EXPECT_TRUE(disk_holds(&disk, 1));
	EXPECT_EQ(0, faults_to_read(self->fd, self->map, 1));
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 2));
	EXPECT_EQ(0, faults_to_read(self->fd, self->map, 2));
	ASSERT_EQ(0, msync(self->map, BYTES, MS_SYNC));
	EXPECT_TRUE(disk_holds(&disk, 2));
	munmap(self->map, BYTES);
	close(file);
	disk_stop(&disk);
}

/*
 * What the device wrote must survive reclaim, although the CPU's page table
 * entry may be writable and clean.
 */

static void write_then_swap_out(struct __test_metadata *_metadata, int fd,
				char *map, size_t writable)
{
	EXPECT_EQ(writable, device_count_bytes(fd, map, N, ACCESS_MASK,
					       HMM_DMIRROR_PROT_WRITE));
	ASSERT_EQ(0, device_writes(fd, map, N, 2));
	ASSERT_TRUE(swap_out(map, N));
	EXPECT_TRUE(pattern_is(map, N, 2));
	EXPECT_TRUE(device_reads(fd, map, N, 2));
}

FIXTURE(reclaim)
{
	int fd;
	struct swap swap;
};

FIXTURE_SETUP(reclaim)
{
	self->swap.disk = -1;
	self->fd = dmirror_open(0);
	if (self->fd < 0)
		SKIP(return, "no dummy device");
	if (!device_is_ours(self->fd))
		SKIP(return, "the stock driver does not mark pages dirty");
	if (!swap_start(&self->swap, 4 * HUGE_BYTES))
		SKIP(return, "no zram");
}

FIXTURE_TEARDOWN(reclaim)
{
	swap_stop(&self->swap);
	close(self->fd);
}

TEST_F(reclaim, shared_memory_that_was_only_read)
{
	char *map = map_at(map_anon_small(BYTES), BYTES,
			   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			   -1);

	read_pages(map, N);
	write_then_swap_out(_metadata, self->fd, map, N);
	ASSERT_EQ(0, munmap(map, BYTES));
}

TEST_F(reclaim, private_memory_read_from_swap)
{
	char *map = map_anon_small(BYTES);

	pattern_fill(map, N, 1);
	ASSERT_TRUE(swap_out(map, N));
	EXPECT_TRUE(pattern_is(map, N, 1));
	ASSERT_EQ(0, device_writes(self->fd, map, N, 2));
	ASSERT_TRUE(swap_out(map, N));
	EXPECT_TRUE(pattern_is(map, N, 2));
	ASSERT_EQ(0, munmap(map, BYTES));
}

TEST_F(reclaim, memory_that_may_be_freed)
{
	char *map = map_anon_small(BYTES);

	pattern_fill(map, N, 1);
	ASSERT_EQ(0, madvise(map, BYTES, MADV_FREE));
	write_then_swap_out(_metadata, self->fd, map, N);
	ASSERT_EQ(0, munmap(map, BYTES));
}

/* What is swapped out comes in and goes on to the device. */
TEST_F(reclaim, swapped_out_memory_migrates)
{
	char *map = map_anon_small(BYTES);

	pattern_fill(map, N, 1);
	ASSERT_TRUE(swap_out(map, N));
	EXPECT_EQ(0, device_take(self->fd, map, N).rc);
	EXPECT_TRUE(device_in_use_is(self->fd, N));
	EXPECT_TRUE(device_reads(self->fd, map, N, 1));
	EXPECT_TRUE(pattern_is(map, N, 1));
	ASSERT_EQ(0, munmap(map, BYTES));
}

/* A swap entry that a child shares cannot be freed, and its page stays. */
TEST_F(reclaim, shared_swapped_out_memory_migrates_when_all_have_it)
{
	char *map = map_anon_small(BYTES);
	struct child child;

	pattern_fill(map, N, 1);
	ASSERT_TRUE(swap_out(map, N));
	child_start(&child);
	EXPECT_EQ(-ENOENT, device_take(self->fd, map, N).rc);
	EXPECT_TRUE(device_in_use_is(self->fd, 0));
	EXPECT_EQ(1, child_do(&child, work_check, map, N, 1));
	EXPECT_EQ(0, device_take(self->fd, map, N).rc);
	EXPECT_TRUE(device_in_use_is(self->fd, N));
	EXPECT_EQ(1, child_do(&child, work_check, map, N, 1));
	child_do(&child, work_fill, map, N, 2);
	EXPECT_TRUE(pattern_is(map, N, 1));
	child_stop(&child);
	ASSERT_EQ(0, munmap(map, BYTES));
}

/* CPU and device at the same time */

#define ROUNDS		200
#define BOTH_PAGES	32

struct both {
	int fd;
	char *map;
	bool stop;		/* atomic */
	size_t wrong;		/* atomic */
};

static __u64 *counter(struct both *both, size_t page)
{
	return (__u64 *)(both->map + page * PAGE_BYTES);
}

/* The CPU's pages are the even ones. */
static void *cpu_counts(void *arg)
{
	struct both *both = arg;
	size_t page, round;

	for (round = 0; round < 50 * ROUNDS; round++)
		for (page = 0; page < BOTH_PAGES; page += 2)
			__atomic_fetch_add(counter(both, page), 1,
					   __ATOMIC_SEQ_CST);
	return NULL;
}

/* The driver gives up when a range does not stand still for a second. */
static int insist(struct both *both, unsigned long request, void *addr,
		  size_t npages, void *data)
{
	int rc;

	do {
		rc = device_ask(both->fd, request, addr, data, npages).rc;
	} while (rc == -EBUSY);
	return rc;
}

/* The device adds one to each of the odd pages, a page at a time. */
static void *device_counts(void *arg)
{
	struct both *both = arg;
	__u64 data[PAGE_BYTES / sizeof(__u64)];
	size_t page, round;

	for (round = 0; round < ROUNDS; round++)
		for (page = 1; page < BOTH_PAGES; page += 2) {
			if (insist(both, HMM_DMIRROR_READ,
				   counter(both, page), 1, data))
				return "read";
			data[0]++;
			if (insist(both, HMM_DMIRROR_WRITE,
				   counter(both, page), 1, data))
				return "write";
		}
	return NULL;
}

/* What the device reads of a page that only grows never shrinks. */
static void *device_watches(void *arg)
{
	static __u64 data[BOTH_PAGES * PAGE_BYTES / sizeof(__u64)];
	struct both *both = arg;
	__u64 last[BOTH_PAGES] = { 0 };
	size_t page;

	while (!__atomic_load_n(&both->stop, __ATOMIC_RELAXED)) {
		if (insist(both, HMM_DMIRROR_READ, both->map, BOTH_PAGES,
			   data))
			return "watch";
		for (page = 0; page < BOTH_PAGES; page++) {
			__u64 now = data[page * PAGE_BYTES / sizeof(__u64)];

			if (now < last[page])
				return "backwards";
			last[page] = now;
		}
	}
	return NULL;
}

/* Meanwhile, pages are unmapped and mapped. */
static void *mapping_changes(void *arg)
{
	struct both *both = arg;
	size_t bytes = BOTH_PAGES * PAGE_BYTES;

	while (!__atomic_load_n(&both->stop, __ATOMIC_RELAXED)) {
		if (madvise(both->map, bytes, MADV_NOHUGEPAGE) ||
		    madvise(both->map, bytes, MADV_PAGEOUT) ||
		    madvise(both->map, bytes, MADV_POPULATE_READ))
			return "madvise";
	}
	return NULL;
}

TEST_F(mirror_coherence, cpu_and_device_at_the_same_time)
{
	struct both both = {
		.fd = self->fd,
		.map = map_at(map_anon(HUGE_BYTES), HUGE_BYTES,
			      PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1),
	};
	pthread_t threads[4];
	void *(*work[])(void *) = {
		cpu_counts, device_counts, device_watches, mapping_changes,
	};
	size_t i, page;
	void *result;

	if (!device_is_ours(self->fd))
		SKIP(return, "the stock driver does not mark pages dirty");
	for (i = 0; i < ARRAY_SIZE(work); i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, work[i], &both));
	for (i = 0; i < ARRAY_SIZE(work); i++) {
		if (i == 2)
			__atomic_store_n(&both.stop, true, __ATOMIC_RELAXED);
		ASSERT_EQ(0, pthread_join(threads[i], &result));
		EXPECT_EQ(NULL, result) {
			TH_LOG("thread %zu: %s", i, (char *)result);
		}
	}
	for (page = 0; page < BOTH_PAGES; page++)
		EXPECT_EQ(page % 2 ? ROUNDS : 50 * ROUNDS,
			  *counter(&both, page));
}

TEST_HARNESS_MAIN
