// SPDX-License-Identifier: GPL-2.0
/*
 * Devices with coherent memory: CPU accesses do not fault, processes and devices
 * access the page in place, and the memory can run out.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mm/gup_test.h>

#include "kselftest_harness.h"
#include "lib/device.h"

#define N		64UL
#define SEED		0x1000UL
#define OTHER		0x200000UL
#define BYTES		(N * PAGE_BYTES)
#define PARAMETERS	"/sys/module/test_hmm/parameters/"

FIXTURE(hmm_coherent)
{
	int fd;
	char *map;	/* N small pages with a pattern, on the device */
	struct hmm_dmirror_counters before;
	unsigned char place;
};

FIXTURE_VARIANT(hmm_coherent)
{
	unsigned int device;
};

FIXTURE_VARIANT_ADD(hmm_coherent, first)
{
	.device = 2,
};

FIXTURE_VARIANT_ADD(hmm_coherent, second)
{
	.device = 3,
};

FIXTURE_SETUP(hmm_coherent)
{
	const char *reason;

	self->fd = device_open(variant->device, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	self->before = device_counters(self->fd);
	self->place = own_place(variant->device);
	self->map = map_anon_small(BYTES);
	pattern_fill(self->map, N, SEED);
	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
}

FIXTURE_TEARDOWN(hmm_coherent)
{
	munmap(self->map, BYTES);
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
	EXPECT_EQ(self->before.cpu_faults, device_counters(self->fd).cpu_faults);
	close(self->fd);
}

#define EXPECT_ON_DEVICE(n)							\
	EXPECT_EQ(n, device_count(self->fd, self->map, N, self->place))

TEST_F(hmm_coherent, cpu_reads_and_writes_in_place)
{
	__u64 pfn = pagemap_pfn(self->map);

	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	pattern_fill(self->map, N, OTHER);
	EXPECT_TRUE(pattern_is(self->map, N, OTHER));
	EXPECT_ON_DEVICE(N);
	EXPECT_NE(0, pfn);
	EXPECT_EQ(pfn, pagemap_pfn(self->map));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, OTHER));
	EXPECT_EQ(0, device_writes(self->fd, self->map, N, SEED));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_ON_DEVICE(N);
}

/*
 * mprotect() leaves the pages on the device; CPU and device keep to the new
 * protection.
 */
TEST_F(hmm_coherent, protection_changes)
{
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_NONE));
	EXPECT_EQ(self->before.in_use + N, device_counters(self->fd).in_use);
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_NE(0, device_writes(self->fd, self->map, 1, OTHER));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ | PROT_WRITE));
	pattern_fill(self->map, N, OTHER);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, OTHER));
	EXPECT_ON_DEVICE(N);
}

/* Nor does reclaim free them. */
TEST_F(hmm_coherent, pageout_leaves_them)
{
	if (madvise(self->map, BYTES, MADV_PAGEOUT))
		SKIP(return, "MADV_PAGEOUT: %s", strerror(errno));
	EXPECT_ON_DEVICE(N);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* The kernel reaches the pages as a debugger would. */
TEST_F(hmm_coherent, read_and_written_through_proc)
{
	static __u64 data[BYTES / sizeof(__u64)];
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	ASSERT_LE(0, fd);
	EXPECT_EQ(BYTES, pread(fd, data, BYTES, (uintptr_t)self->map));
	EXPECT_TRUE(pattern_is(data, N, SEED));
	pattern_fill(data, N, OTHER);
	EXPECT_EQ(BYTES, pwrite(fd, data, BYTES, (uintptr_t)self->map));
	close(fd);
	EXPECT_ON_DEVICE(N);
	EXPECT_TRUE(pattern_is(self->map, N, OTHER));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, OTHER));
}

/*
 * A page that a transfer references does not migrate until the transfer ends.
 */
TEST_F(hmm_coherent, referenced_stays)
{
	struct pinned pinned;
	struct answer answer;

	pin_page(&pinned, self->map + 5 * PAGE_BYTES);
	EXPECT_ON_DEVICE(N);
	answer = device_give_back(self->fd, self->map, N);
	EXPECT_EQ(N - 1, answer.cpages);
	EXPECT_ON_DEVICE(1);
	EXPECT_EQ(1, device_count(self->fd, self->map + 5 * PAGE_BYTES, 1, self->place));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_TRUE(unpin_page(&pinned, SEED + 5));
	EXPECT_EQ(1, device_give_back(self->fd, self->map, N).cpages);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* It keeps the page, though its owner unmaps it. */
TEST_F(hmm_coherent, referenced_outlives_the_mapping)
{
	struct pinned pinned;

	pin_page(&pinned, self->map + 5 * PAGE_BYTES);
	munmap(self->map, BYTES);
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use + 1));
	EXPECT_TRUE(unpin_page(&pinned, SEED + 5));
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
}

/*
 * The munlock must not wait in a processor's batch, which would keep the page.
 */
TEST_F(hmm_coherent, mlocked_is_freed_at_once)
{
	if (mlock(self->map, BYTES))
		SKIP(return, "mlock: %s", strerror(errno));
	munmap(self->map, BYTES);
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
}

/* The driver could not evict a page with a long-term pin, so it is migrated. */
TEST_F(hmm_coherent, long_term_pin_moves_it)
{
	struct pin_longterm_test pin = {
		.addr = (uintptr_t)self->map,
		.size = BYTES / 2,
	};
	int fd = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		SKIP(return, "no gup_test in debugfs");
	ASSERT_EQ(0, ioctl(fd, PIN_LONGTERM_TEST_START, &pin));
	EXPECT_ON_DEVICE(N / 2);
	EXPECT_EQ(0, device_count(self->fd, self->map, N / 2, self->place));
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use + N / 2));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_EQ(-ENOENT, device_take(self->fd, self->map, N).rc);
	EXPECT_EQ(0, ioctl(fd, PIN_LONGTERM_TEST_STOP));
	close(fd);
	EXPECT_EQ(0, device_take(self->fd, self->map, N).rc);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* The other devices see where it is, and use it there. */
TEST_F(hmm_coherent, others_use_it_in_place)
{
	unsigned int other;

	for (other = 0; other < 4; other++) {
		int fd = other == variant->device ? -1 : dmirror_open(other);

		if (fd < 0)
			continue;
		EXPECT_EQ(N, device_count(fd, self->map, N, foreign_place(variant->device)));
		EXPECT_TRUE(device_reads(fd, self->map, N, SEED));
		EXPECT_EQ(0, device_writes(fd, self->map, N, OTHER + other));
		EXPECT_TRUE(pattern_is(self->map, N, OTHER + other));
		pattern_fill(self->map, N, SEED);
		EXPECT_TRUE(device_reads(fd, self->map, N, SEED));
		EXPECT_ON_DEVICE(N);
		close(fd);
	}
}

/* Threads need not stop while pages migrate: no count is lost. */
TEST_F(hmm_coherent, while_threads_write)
{
	struct adders adders;
	unsigned long rounds = 0;

	adders_start(&adders, self->map, 16, 2000);
	while (adders_run(&adders) || !rounds) {
		EXPECT_EQ(0, device_give_back(self->fd, self->map, 16).rc);
		device_take(self->fd, self->map, 16);
		rounds++;
	}
	EXPECT_TRUE(adders_finish(&adders));
}

/* Both devices at once, all of their memory */

FIXTURE(hmm_coherent_all)
{
	int fd[2];
	size_t npages[2];	/* reserved */
	size_t bytes[2];	/* mapped: more */
	__u64 *map[2];
};

FIXTURE_SETUP(hmm_coherent_all)
{
	static const char * const sizes[] = {
		PARAMETERS "spm_size_dev0", PARAMETERS "spm_size_dev1",
	};
	const char *reason;
	long size;
	int i;

	for (i = 0; i < 2; i++) {
		self->fd[i] = device_open(2 + i, &reason);
		if (self->fd[i] < 0)
			SKIP(return, "%s", reason);
		size = read_number(sizes[i]);
		if (size < (long)PAGE_BYTES)
			SKIP(return, "the sizes of the devices cannot be read");
		self->npages[i] = size / PAGE_BYTES;
		if (device_counters(self->fd[i]).in_use)
			SKIP(return, "another program uses the devices");
		self->bytes[i] = self->npages[i] * PAGE_BYTES + HUGE_BYTES;
		self->map[i] = map_anon_small(self->bytes[i]);
	}
}

FIXTURE_TEARDOWN(hmm_coherent_all)
{
	int i;

	for (i = 0; i < 2; i++) {
		munmap(self->map[i], self->bytes[i]);
		EXPECT_TRUE(device_in_use_is(self->fd[i], 0));
		close(self->fd[i]);
	}
}

#define PAGE_WORDS	(PAGE_BYTES / sizeof(__u64))

/* First and last word of each page tell whose it is. */
static void mark(__u64 *map, size_t npages, __u64 number)
{
	size_t i;

	for (i = 0; i < npages; i++) {
		map[i * PAGE_WORDS] = number + i;
		map[(i + 1) * PAGE_WORDS - 1] = ~(number + i);
	}
}

static bool is_marked(const __u64 *map, size_t npages, __u64 number)
{
	size_t i;

	for (i = 0; i < npages; i++)
		if (map[i * PAGE_WORDS] != number + i ||
		    map[(i + 1) * PAGE_WORDS - 1] != ~(number + i)) {
			printf("# page %zu: %#llx\n", i, map[i * PAGE_WORDS]);
			return false;
		}
	return true;
}

/* All of the reserved memory can be allocated, no more, and no page twice. */
TEST_F_TIMEOUT(hmm_coherent_all, whole_memory, 240)
{
	struct hmm_dmirror_counters now;
	struct answer answer;
	int i;

	for (i = 0; i < 2; i++) {
		answer = device_take(self->fd[i], self->map[i], self->npages[i] + HUGE_PAGES);
		EXPECT_EQ(-ENOENT, answer.rc);
		EXPECT_EQ(self->npages[i], answer.cpages);
		now = device_counters(self->fd[i]);
		EXPECT_EQ(self->npages[i], now.capacity);
		EXPECT_EQ(self->npages[i], now.in_use);
		mark(self->map[i], self->npages[i], (i + 1ULL) << 32);
	}
	for (i = 0; i < 2; i++)
		EXPECT_TRUE(is_marked(self->map[i], self->npages[i], (i + 1ULL) << 32));
}

/* A full device reuses freed pages, and none of their old data is left. */
TEST_F_TIMEOUT(hmm_coherent_all, full_device_is_used_again, 240)
{
	size_t rest = self->npages[0];
	char *more = (char *)self->map[0] + rest * PAGE_BYTES;

	EXPECT_EQ(0, device_take(self->fd[0], self->map[0], rest).rc);
	pattern_fill(more, N, SEED);
	EXPECT_EQ(-ENOENT, device_take(self->fd[0], more, N).rc);
	EXPECT_TRUE(pattern_is(more, N, SEED));
	EXPECT_LT(0, device_counters(self->fd[0]).alloc_failures);

	/* Free a whole huge page: memory of the device may be fragmented. */
	mark(self->map[0], HUGE_PAGES, SEED);
	ASSERT_EQ(0, munmap(self->map[0], HUGE_BYTES));
	EXPECT_TRUE(device_in_use_is(self->fd[0], rest - HUGE_PAGES));
	EXPECT_EQ(0, device_take(self->fd[0], more, HUGE_PAGES).rc);
	EXPECT_TRUE(device_reads(self->fd[0], more, N, SEED));
	EXPECT_TRUE(is_zero(more + BYTES, HUGE_PAGES - N));
	EXPECT_EQ(rest, device_counters(self->fd[0]).in_use);

	map_at(self->map[0], BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	ASSERT_EQ(0, munmap(more, HUGE_BYTES));
	EXPECT_EQ(0, device_take(self->fd[0], self->map[0], N).rc);
	EXPECT_TRUE(is_zero(self->map[0], N));
}

TEST_HARNESS_MAIN
