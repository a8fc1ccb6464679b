// SPDX-License-Identifier: GPL-2.0
/*
 * A huge page that a device has for itself is one huge page all the time, and
 * everybody who meets its entry understands it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "hmm_access.h"
#include "hmm_exclusive.h"

#define SEED		1UL
#define OTHER		0x1000UL
#define ROUNDS		5
#define WORDS		8
#define SETTLE_TRIES	2000
#define SETTLE_US	5000

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

FIXTURE(whole)
{
	int fd;
	int other;
	char *map;
	struct splits before;
	struct child child;
};

FIXTURE_SETUP(whole)
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

FIXTURE_TEARDOWN(whole)
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

TEST_F(whole, restored_by_a_read)
{
	EXPECT_DATA(SEED);
	EXPECT_LET_GO(self->fd);
	EXPECT_NO_SPLITS();
}

/* A write to any of its pages brings all of it back. */
TEST_F(whole, restored_by_a_write)
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

TEST_F(whole, taken_twice)
{
	ASSERT_EQ(0, device_seize(self->fd, self->map, HUGE_PAGES));
	EXPECT_HAS_ALL(self->fd);
	EXPECT_DATA(SEED);
	EXPECT_NO_SPLITS();
}

TEST_F(whole, taken_by_another_device)
{
	ASSERT_EQ(0, device_seize(self->other, self->map, HUGE_PAGES));
	EXPECT_LET_GO(self->fd);
	EXPECT_HAS_ALL(self->other);
	EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, SEED));
	EXPECT_LET_GO(self->other);
	EXPECT_DATA(SEED);
	EXPECT_NO_SPLITS();
}

TEST_F(whole, device_adds)
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

TEST_F(whole, mprotect)
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

TEST_F(whole, mremap)
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

TEST_F(whole, fork)
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
TEST_F(whole, looked_at)
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

TEST_F(whole, accessed_by_another_process)
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

/* Taken or not, the data is not touched. */
TEST_F(whole, advice)
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
TEST_F(whole, advice_for_a_part)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(advices); i++) {
		ASSERT_EQ(0, device_seize(self->fd, self->map, HUGE_PAGES));
		madvise(self->map + 7 * PAGE_BYTES, HUGE_BYTES / 2, advices[i]);
		EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, SEED));
		EXPECT_DATA(SEED);
	}
}

TEST_F(whole, guard_in_the_middle)
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

TEST_F(whole, locked_memory)
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
TEST_F(whole, two_mappings)
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

/* Exit and kill: only the process itself had the page. */
TEST_F(whole, end_of_the_process)
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
