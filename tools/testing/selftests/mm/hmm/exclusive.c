// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that are exclusive to a dummy device, and every operation that ends that:
 * the data is always right.
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
#include "lib/exclusive.h"

#define N	16
#define BYTES	(N * PAGE_BYTES)

FIXTURE(exclusive)
{
	int fd;
	int other;
	char *map;
};

FIXTURE_SETUP(exclusive)
{
	self->fd = dmirror_open(0);
	self->other = dmirror_open(1);
	if (self->fd < 0 || self->other < 0)
		SKIP(return, "no dummy devices");
	self->map = map_anon_small(BYTES);
	pattern_fill(self->map, N, 1);
}

FIXTURE_TEARDOWN(exclusive)
{
	close(self->fd);
	close(self->other);
}

/* 0, or the errno of either command; -EIO for wrong data */
static int take(int fd, void *addr, size_t npages, __u64 seed)
{
	char *data = calloc(npages, PAGE_BYTES);
	struct answer answer;

	if (!data)
		fatal("no memory");
	answer = device_ask(fd, HMM_DMIRROR_EXCLUSIVE, addr, data, npages);
	if (!answer.rc && (answer.cpages != npages ||
			   !pattern_is(data, npages, seed)))
		answer.rc = -EIO;
	free(data);
	return answer.rc;
}

TEST_F(exclusive, until_the_cpu_reads)
{
	if (!device_is_ours(self->fd))
		SKIP(return, "the stock driver lets go of a page too many");
	EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	EXPECT_EQ(N, device_seized(self->fd, self->map, N));
	EXPECT_EQ(-EPERM, device_ask(self->fd, HMM_DMIRROR_CHECK_EXCLUSIVE,
				     self->map, NULL, N).rc);
	read_pages(self->map + 3 * PAGE_BYTES, 1);
	EXPECT_EQ(0, device_seized(self->fd, self->map + 3 * PAGE_BYTES, 1));
	EXPECT_EQ(N - 1, device_seized(self->fd, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	EXPECT_EQ(0, device_ask(self->fd, HMM_DMIRROR_CHECK_EXCLUSIVE,
				self->map, NULL, N).rc);
}

TEST_F(exclusive, until_the_cpu_writes)
{
	if (!device_is_ours(self->fd))
		SKIP(return, "the stock driver lets go of a page too many");
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	pattern_fill(self->map + 5 * PAGE_BYTES, 1, 100);
	EXPECT_EQ(0, device_seized(self->fd, self->map + 5 * PAGE_BYTES, 1));
	EXPECT_EQ(N - 1, device_seized(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map + 5 * PAGE_BYTES, 1, 100));
	EXPECT_TRUE(pattern_is(self->map, 5, 1));
	EXPECT_TRUE(pattern_is(self->map + 6 * PAGE_BYTES, N - 6, 7));
}

TEST_F(exclusive, device_reads_exclusive_page)
{
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	EXPECT_EQ(0, device_faults(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	EXPECT_EQ(N, device_seized(self->fd, self->map, N));
}

/* A write needs an ordinary entry. */
TEST_F(exclusive, device_writes_exclusive_page)
{
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 2));
	EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 2));
}

TEST_F(exclusive, again_and_again)
{
	int round;

	for (round = 1; round < 20; round++) {
		ASSERT_EQ(0, take(self->fd, self->map, N, round));
		ASSERT_EQ(0, take(self->fd, self->map, N, round));
		EXPECT_EQ(N, device_seized(self->fd, self->map, N));
		pattern_fill(self->map, N, round + 1);
		EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	}
}

TEST_F(exclusive, many_pages)
{
	size_t npages = HUGE_PAGES + 77;
	char *map = map_anon_small(2 * HUGE_BYTES) + 5 * PAGE_BYTES;

	pattern_fill(map, npages, 9);
	ASSERT_EQ(0, take(self->fd, map, npages, 9));
	EXPECT_EQ(npages, device_seized(self->fd, map, npages));
	EXPECT_TRUE(pattern_is(map, npages, 9));
	EXPECT_EQ(0, device_seized(self->fd, map, npages));
}

TEST_F(exclusive, part_of_a_huge_page)
{
	char *map = map_pattern_thp(self->fd, HUGE_BYTES, 50);
	char *part = map + 100 * PAGE_BYTES;

	if (!device_is_ours(self->fd))
		SKIP(return, "the stock driver lets go of a page too many");
	if (!map)
		SKIP(return, "no huge page");
	ASSERT_EQ(0, take(self->fd, part, N, 150));
	EXPECT_EQ(N, device_seized(self->fd, part, N));
	EXPECT_EQ(N, device_seized(self->fd, map, HUGE_PAGES));
	EXPECT_TRUE(pattern_is(map, HUGE_PAGES, 50));
	EXPECT_EQ(0, device_seized(self->fd, map, HUGE_PAGES));
	ASSERT_EQ(0, take(self->fd, map, HUGE_PAGES, 50));
	EXPECT_EQ(HUGE_PAGES, device_seized(self->fd, map, HUGE_PAGES));
	pattern_fill(map, HUGE_PAGES, 51);
	EXPECT_TRUE(device_reads(self->fd, map, HUGE_PAGES, 51));
}

/* Memory that cannot be made exclusive */

TEST_F(exclusive, read_only_memory)
{
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ));
	EXPECT_EQ(-EFAULT, take(self->fd, self->map, N, 1));
	EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_NONE));
	EXPECT_EQ(-EFAULT, take(self->fd, self->map, N, 1));
	EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ | PROT_WRITE));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	EXPECT_EQ(0, take(self->fd, self->map, N, 1));
}

TEST_F(exclusive, shared_memory)
{
	map_at(self->map, BYTES, PROT_READ | PROT_WRITE,
	       MAP_SHARED | MAP_ANONYMOUS, -1);
	pattern_fill(self->map, N, 3);
	EXPECT_EQ(-EOPNOTSUPP, take(self->fd, self->map, N, 3));
	EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 3));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 3));
}

TEST_F(exclusive, hole)
{
	ASSERT_EQ(0, munmap(self->map + 4 * PAGE_BYTES, PAGE_BYTES));
	EXPECT_EQ(-EFAULT, take(self->fd, self->map, N, 1));
	EXPECT_EQ(0, device_seized(self->fd, self->map + 4 * PAGE_BYTES, N - 4));
	EXPECT_TRUE(pattern_is(self->map, 4, 1));
	EXPECT_TRUE(pattern_is(self->map + 5 * PAGE_BYTES, N - 5, 6));
}

/* A private mapping's page becomes the process's own; the file stays. */
TEST_F(exclusive, private_mapping_of_a_file)
{
	int fd = memory_file(BYTES);
	char *file = map_at(map_anon_small(BYTES), BYTES,
			    PROT_READ | PROT_WRITE, MAP_SHARED, fd);

	map_at(self->map, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	pattern_fill(file, N, 4);
	ASSERT_EQ(0, take(self->fd, self->map, N, 4));
	EXPECT_EQ(N, device_seized(self->fd, self->map, N));
	pattern_fill(self->map, N, 5);
	EXPECT_TRUE(pattern_is(file, N, 4));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 5));
	close(fd);
}

TEST_F(exclusive, untouched_memory)
{
	char data[BYTES];

	ASSERT_EQ(0, madvise(self->map, BYTES, MADV_DONTNEED));
	memset(data, 1, BYTES);
	ASSERT_EQ(0, device_ask(self->fd, HMM_DMIRROR_EXCLUSIVE, self->map,
				data, N).rc);
	EXPECT_TRUE(is_zero(data, N));
	EXPECT_EQ(N, device_seized(self->fd, self->map, N));
	EXPECT_TRUE(is_zero(self->map, N));
}

/* What the process does with its address space meanwhile */

TEST_F(exclusive, fork_then_write_by_the_parent)
{
	struct child child;

	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	child_start(&child);
	EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	EXPECT_TRUE(child_do(&child, work_check, self->map, N, 1));
	pattern_fill(self->map, N, 2);
	EXPECT_TRUE(child_do(&child, work_check, self->map, N, 1));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 2));
	child_stop(&child);
}

TEST_F(exclusive, fork_then_write_by_the_child)
{
	struct child child;

	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	child_start(&child);
	child_do(&child, work_fill, self->map, N, 2);
	EXPECT_TRUE(child_do(&child, work_check, self->map, N, 2));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	child_stop(&child);
}

/* Of pages shared with a child, the device gets copies of its own. */
TEST_F(exclusive, after_fork)
{
	struct child child;

	child_start(&child);
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	EXPECT_EQ(N, device_seized(self->fd, self->map, N));
	child_do(&child, work_fill, self->map, N, 2);
	EXPECT_EQ(N, device_seized(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	pattern_fill(self->map, N, 3);
	EXPECT_TRUE(child_do(&child, work_check, self->map, N, 2));
	child_stop(&child);
}

TEST_F(exclusive, mprotect)
{
	char data[BYTES];

	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ));
	EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	pattern_fill(data, N, 2);
	EXPECT_EQ(-EPERM, device_write(self->fd, self->map, N, data));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
}

TEST_F(exclusive, mremap)
{
	char *to = map_anon_small(BYTES);
	char data[BYTES];

	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	ASSERT_EQ(to, mremap(self->map, BYTES, BYTES,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	EXPECT_EQ(-EFAULT, device_read(self->fd, self->map, N, data));
	EXPECT_TRUE(device_reads(self->fd, to, N, 1));
	EXPECT_TRUE(pattern_is(to, N, 1));
	EXPECT_EQ(0, take(self->fd, to, N, 1));
	EXPECT_EQ(N, device_seized(self->fd, to, N));
}

TEST_F(exclusive, munmap)
{
	char data[BYTES];

	if (!device_is_ours(self->fd))
		SKIP(return, "the stock driver lets go of a page too many");
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	ASSERT_EQ(0, munmap(self->map, BYTES / 2));
	EXPECT_EQ(0, device_seized(self->fd, self->map, N / 2));
	EXPECT_EQ(N / 2, device_seized(self->fd, self->map + BYTES / 2, N / 2));
	EXPECT_EQ(-EFAULT, device_read(self->fd, self->map, 1, data));
	EXPECT_TRUE(pattern_is(self->map + BYTES / 2, N / 2, 1 + N / 2));
}

TEST_F(exclusive, dontneed)
{
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	ASSERT_EQ(0, madvise(self->map, BYTES, MADV_DONTNEED));
	EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, N));
	EXPECT_TRUE(is_zero(self->map, N));
}

TEST_F(exclusive, pageout)
{
	struct swap swap;
	size_t i;

	if (!swap_start(&swap, 4 * HUGE_BYTES))
		SKIP(return, "no zram");
	for (i = 0; i < 10; i++) {
		EXPECT_EQ(0, take(self->fd, self->map, N, 1));
		EXPECT_EQ(0, madvise(self->map, BYTES, MADV_PAGEOUT));
		EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	}
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	/* And from swap to the device */
	EXPECT_TRUE(swap_out(self->map, N));
	EXPECT_EQ(0, take(self->fd, self->map, N, 1));
	EXPECT_EQ(N, device_seized(self->fd, self->map, N));
	EXPECT_EQ(0, munmap(self->map, BYTES));
	swap_stop(&swap);
}

TEST_F(exclusive, device_is_closed)
{
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	close(self->fd);
	self->fd = dmirror_open(0);
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	pattern_fill(self->map, N, 2);
	EXPECT_EQ(0, take(self->fd, self->map, N, 2));
}

/* Two devices */

TEST_F(exclusive, exclusive_for_another_device)
{
	if (!device_is_ours(self->fd))
		SKIP(return, "the stock driver lets go of a page too many");
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	ASSERT_EQ(0, take(self->other, self->map, N, 1));
	EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	EXPECT_EQ(N, device_seized(self->other, self->map, N));
	ASSERT_EQ(0, take(self->fd, self->map, N / 2, 1));
	EXPECT_EQ(N / 2, device_seized(self->fd, self->map, N));
	EXPECT_EQ(N / 2, device_seized(self->other, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

TEST_F(exclusive, another_device_reads_it)
{
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	EXPECT_TRUE(device_reads(self->other, self->map, N, 1));
	EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	ASSERT_EQ(0, take(self->fd, self->map, N, 1));
	ASSERT_EQ(0, device_writes(self->other, self->map, N, 2));
	EXPECT_EQ(0, device_seized(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 2));
}

/* Failures on demand */

TEST_F(exclusive, outdated_under_the_lock)
{
	struct hmm_dmirror_counters before;

	if (!device_is_ours(self->fd))
		SKIP(return, "the stock driver cannot fail on demand");
	before = device_counters(self->fd);
	device_fail(self->fd, HMM_DMIRROR_FAIL_LOCK, 3);
	EXPECT_EQ(0, take(self->fd, self->map, N, 1));
	EXPECT_EQ(0, device_fail(self->fd, HMM_DMIRROR_FAIL_LOCK, 0));
	EXPECT_LT(before.collisions, device_counters(self->fd).collisions);
	EXPECT_EQ(N, device_seized(self->fd, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

TEST_F(exclusive, no_memory_for_the_table)
{
	if (!device_is_ours(self->fd))
		SKIP(return, "the stock driver cannot fail on demand");
	device_fail(self->fd, HMM_DMIRROR_FAIL_TABLE, 3);
	EXPECT_EQ(-ENOMEM, take(self->fd, self->map, N, 1));
	EXPECT_EQ(0, device_fail(self->fd, HMM_DMIRROR_FAIL_TABLE, 0));
	EXPECT_EQ(2, device_seized(self->fd, self->map, N));
	EXPECT_EQ(2, device_seized(self->fd, self->map, 2));
	EXPECT_EQ(0, take(self->fd, self->map, N, 1));
	EXPECT_EQ(N, device_seized(self->fd, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

/*
 * Two devices and two CPU threads use the same pages: none waits forever,
 * no addition of the CPU's is lost, and what a device gets only grows.
 */

#define CONTENDED	4
#define SUCCESSES	20
#define MOST_TRIES	20000

struct contender {
	int fd;
	char *map;
	const char *wrong;
};

/* -EBUSY and -ENOENT: another contender was faster. */
static void *contend(void *arg)
{
	struct contender *me = arg;
	__u64 data[CONTENDED][PAGE_BYTES / sizeof(__u64)];
	__u64 last[CONTENDED] = { 0 };
	size_t i, tries, successes = 0;

	for (tries = 0; tries < MOST_TRIES && successes < SUCCESSES; tries++) {
		int rc = device_ask(me->fd, HMM_DMIRROR_EXCLUSIVE, me->map,
				    data, CONTENDED).rc;

		if (rc == -EBUSY || rc == -ENOENT)
			continue;
		if (rc) {
			me->wrong = strerror(-rc);
			return NULL;
		}
		successes++;
		for (i = 0; i < CONTENDED; i++) {
			if (data[i][0] < last[i])
				me->wrong = "data went backwards";
			last[i] = data[i][0];
		}
	}
	if (successes < SUCCESSES)
		me->wrong = "no progress";
	return NULL;
}

TEST_F(exclusive, two_devices_and_two_cpus)
{
	struct contender contenders[2] = {
		{ .fd = self->fd, .map = self->map },
		{ .fd = self->other, .map = self->map },
	};
	struct adders adders;
	pthread_t threads[2];
	size_t i;

	adders_start(&adders, self->map, CONTENDED, 20000);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, contend,
					    &contenders[i]));
	for (i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(NULL, contenders[i].wrong) {
			TH_LOG("device %zu: %s", i, contenders[i].wrong);
		}
	}
	EXPECT_TRUE(adders_finish(&adders));
}

TEST_HARNESS_MAIN
