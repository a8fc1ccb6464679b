// SPDX-License-Identifier: GPL-2.0
/*
 * Migration to a device and back: which pages move, which stay, and that
 * data is right wherever they are. Each test ends with the device's memory
 * used as it was before.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"

#define N	64UL
#define SEED	0x1000UL
#define OTHER	0x200000UL
#define BYTES	(N * PAGE_BYTES)

FIXTURE(hmm_migrate)
{
	int fd;
	char *map;	/* N small pages, not touched */
	struct hmm_dmirror_counters before;
	unsigned char place;
};

FIXTURE_VARIANT(hmm_migrate)
{
	unsigned int device;
	bool coherent;
};

FIXTURE_VARIANT_ADD(hmm_migrate, private)
{
	.device = 0,
	.coherent = false,
};

FIXTURE_VARIANT_ADD(hmm_migrate, coherent)
{
	.device = 2,
	.coherent = true,
};

FIXTURE_SETUP(hmm_migrate)
{
	const char *reason;

	self->fd = device_open(variant->device, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	self->map = map_anon_small(BYTES);
	self->place = own_place(variant->device);
	self->before = device_counters(self->fd);
}

FIXTURE_TEARDOWN(hmm_migrate)
{
	munmap(self->map, BYTES);
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
	close(self->fd);
}

/* Pages @first to @first + @n of the map are on the device, and no others. */
#define EXPECT_ON_DEVICE(first, n)						\
	EXPECT_TRUE(on_device(self->fd, self->map, first, n, self->place))

static bool on_device(int fd, char *map, size_t first, size_t n, unsigned char place)
{
	size_t all = device_count(fd, map, N, place);
	size_t here = n ? device_count(fd, map + first * PAGE_BYTES, n, place) : 0;

	if (all == n && here == n)
		return true;
	printf("# %zu pages on the device, %zu where %zu are expected\n", all, here, n);
	return false;
}

#define EXPECT_TAKEN(map, npages)						\
	EXPECT_TRUE(takes_all(self->fd, map, npages))

static bool takes_all(int fd, char *map, size_t npages)
{
	struct answer answer = device_take(fd, map, npages);

	if (!answer.rc && answer.cpages == npages)
		return true;
	printf("# %llu of %zu pages moved: %s\n", answer.cpages, npages, strerror(-answer.rc));
	return false;
}

/* Copies by the kernel, in which a bad address is an error and not a signal */

static bool copied(ssize_t n)
{
	if (n < 0 && errno != EFAULT)
		fatal("copy: %s", strerror(errno));
	return n > 0;
}

static bool can_load(const void *addr)
{
	int ends[2];
	bool can;

	if (pipe2(ends, O_CLOEXEC))
		fatal("pipe: %s", strerror(errno));
	can = copied(write(ends[1], addr, 1));
	close(ends[0]);
	close(ends[1]);
	return can;
}

static bool can_store(void *addr)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	bool can = copied(read(fd, addr, 1));

	close(fd);
	return can;
}

TEST_F(hmm_migrate, there_and_back_by_command)
{
	static __u64 data[BYTES / sizeof(__u64)];
	struct hmm_dmirror_counters now;
	struct answer answer;

	pattern_fill(self->map, N, SEED);
	answer = device_ask(self->fd, HMM_DMIRROR_MIGRATE_TO_DEV, self->map, data, N);
	EXPECT_EQ(0, answer.rc);
	EXPECT_EQ(N, answer.cpages);
	EXPECT_TRUE(pattern_is(data, N, SEED));
	EXPECT_ON_DEVICE(0, N);
	now = device_counters(self->fd);
	EXPECT_EQ(N, now.migrated_in - self->before.migrated_in);
	EXPECT_EQ(N, now.in_use - self->before.in_use);

	answer = device_give_back(self->fd, self->map, N);
	EXPECT_EQ(0, answer.rc);
	EXPECT_EQ(N, answer.cpages);
	EXPECT_ON_DEVICE(0, 0);
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	now = device_counters(self->fd);
	EXPECT_EQ(N, now.migrated_out - self->before.migrated_out);
	EXPECT_EQ(now.cpu_faults, self->before.cpu_faults);
}

/* More than one page table, from the middle of one on */
TEST_F(hmm_migrate, long_range)
{
	size_t npages = 2 * HUGE_PAGES + 100;
	char *map = map_anon_small(3 * HUGE_BYTES);
	char *start = map + 77 * PAGE_BYTES;
	struct answer answer;

	pattern_fill(start, npages, SEED);
	EXPECT_TAKEN(start, npages);
	EXPECT_EQ(npages, device_count(self->fd, map, 3 * HUGE_PAGES, self->place));
	EXPECT_TRUE(device_reads(self->fd, start, npages, SEED));
	answer = device_give_back(self->fd, start, npages);
	EXPECT_EQ(0, answer.rc);
	EXPECT_EQ(npages, answer.cpages);
	EXPECT_TRUE(pattern_is(start, npages, SEED));
	munmap(map, 3 * HUGE_BYTES);
}

/* Private memory comes back page by page as the CPU reads, coherent stays. */
TEST_F(hmm_migrate, cpu_reads)
{
	unsigned long back = variant->coherent ? 0 : N;
	struct hmm_dmirror_counters now;

	pattern_fill(self->map, N, SEED);
	EXPECT_TAKEN(self->map, N);
	EXPECT_TRUE(pattern_is(self->map, N / 2, SEED));
	EXPECT_ON_DEVICE(back / 2, N - back / 2);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_ON_DEVICE(back, N - back);
	now = device_counters(self->fd);
	EXPECT_EQ(back, now.cpu_faults - self->before.cpu_faults);
	EXPECT_EQ(back, now.faulted_out - self->before.faulted_out);
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use + N - back));
}

/* A page that the CPU writes a byte of keeps all others. */
TEST_F(hmm_migrate, cpu_writes_after_return)
{
	size_t i;

	pattern_fill(self->map, N, SEED);
	EXPECT_TAKEN(self->map, N);
	for (i = 0; i < N; i++)
		self->map[i * PAGE_BYTES + i] ^= 0xff;
	EXPECT_ON_DEVICE(0, variant->coherent ? N : 0);
	for (i = 0; i < N; i++)
		self->map[i * PAGE_BYTES + i] ^= 0xff;
	EXPECT_TRUE(pattern_is(self->map, N, SEED));

	EXPECT_EQ(0, device_give_back(self->fd, self->map, N).rc);
	pattern_fill(self->map, N, OTHER);
	EXPECT_TAKEN(self->map, N);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, OTHER));
	EXPECT_EQ(0, device_give_back(self->fd, self->map, N).rc);
	EXPECT_TRUE(pattern_is(self->map, N, OTHER));
}

TEST_F(hmm_migrate, device_writes)
{
	pattern_fill(self->map, N, SEED);
	EXPECT_TAKEN(self->map, N);
	EXPECT_EQ(0, device_writes(self->fd, self->map + PAGE_BYTES, N - 2, OTHER));
	EXPECT_ON_DEVICE(0, N);
	EXPECT_TRUE(pattern_is(self->map, 1, SEED));
	EXPECT_EQ(0, device_give_back(self->fd, self->map + PAGE_BYTES, N / 2).rc);
	EXPECT_TRUE(pattern_is(self->map + PAGE_BYTES, N - 2, OTHER));
	EXPECT_TRUE(pattern_is(self->map + (N - 1) * PAGE_BYTES, 1, SEED + N - 1));
}

TEST_F(hmm_migrate, migrated_twice)
{
	pattern_fill(self->map, N, SEED);
	EXPECT_TAKEN(self->map, N / 2);
	EXPECT_TAKEN(self->map, N);
	EXPECT_EQ(self->before.in_use + N, device_counters(self->fd).in_use);
	EXPECT_EQ(N, device_give_back(self->fd, self->map, N).cpages);
	EXPECT_EQ(0, device_give_back(self->fd, self->map, N).cpages);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_F(hmm_migrate, holes_become_zeros)
{
	EXPECT_TAKEN(self->map, N);
	EXPECT_ON_DEVICE(0, N);
	EXPECT_EQ(0, device_writes(self->fd, self->map, 2, SEED));
	EXPECT_TRUE(pattern_is(self->map, 2, SEED));
	EXPECT_TRUE(is_zero(self->map + 2 * PAGE_BYTES, N - 2));
}

TEST_F(hmm_migrate, zero_pages_become_zeros)
{
	read_pages(self->map, N);
	ASSERT_EQ(N, device_count(self->fd, self->map, N, HMM_DMIRROR_PROT_ZERO));
	EXPECT_TAKEN(self->map, N);
	EXPECT_ON_DEVICE(0, N);
	EXPECT_EQ(0, device_writes(self->fd, self->map, 2, SEED));
	EXPECT_TRUE(pattern_is(self->map, 2, SEED));
	EXPECT_TRUE(is_zero(self->map + 2 * PAGE_BYTES, N - 2));
}

/* Written, read and untouched pages in turn */
TEST_F(hmm_migrate, partly_mapped)
{
	size_t i;

	for (i = 0; i < N; i++) {
		if (i % 3 == 0)
			pattern_fill(self->map + i * PAGE_BYTES, 1, SEED + i);
		else if (i % 3 == 1)
			read_pages(self->map + i * PAGE_BYTES, 1);
	}
	EXPECT_TAKEN(self->map, N);
	EXPECT_ON_DEVICE(0, N);
	EXPECT_EQ(0, device_give_back(self->fd, self->map, N).rc);
	for (i = 0; i < N; i++) {
		char *page = self->map + i * PAGE_BYTES;

		EXPECT_TRUE(i % 3 ? is_zero(page, 1) : pattern_is(page, 1, SEED + i));
	}
}

/* Three mappings, the middle one read-only */
TEST_F(hmm_migrate, several_vmas)
{
	char *middle = self->map + 20 * PAGE_BYTES;

	pattern_fill(self->map, N, SEED);
	ASSERT_EQ(0, mprotect(middle, 20 * PAGE_BYTES, PROT_READ));
	EXPECT_TAKEN(self->map, N);
	EXPECT_ON_DEVICE(0, N);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, SEED));
	EXPECT_FALSE(can_store(middle));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_EQ(0, device_give_back(self->fd, self->map, N).rc);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_FALSE(can_store(middle));
	EXPECT_TRUE(can_store(middle - 1));
}

TEST_F(hmm_migrate, read_only_mapping)
{
	pattern_fill(self->map, N / 2, SEED);
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ));
	EXPECT_TAKEN(self->map, N);
	EXPECT_NE(0, device_writes(self->fd, self->map, 1, OTHER));
	EXPECT_FALSE(can_store(self->map));
	EXPECT_FALSE(can_store(self->map + BYTES - 1));
	EXPECT_TRUE(pattern_is(self->map, N / 2, SEED));
	EXPECT_TRUE(is_zero(self->map + BYTES / 2, N / 2));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ | PROT_WRITE));
	pattern_fill(self->map, N, OTHER);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, OTHER));
}

/* The kernel has no mapping of it: a driver that copied it would crash. */
TEST_F(hmm_migrate, secret_memory_is_refused)
{
	int file = secret_file(BYTES);

	if (file < 0)
		SKIP(return, "no secret memory");
	if (!device_is_ours(self->fd))
		SKIP(return, "this kernel hands it out");
	map_at(self->map, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file);
	pattern_fill(self->map, N, SEED);
	EXPECT_EQ(-EINVAL, device_take(self->fd, self->map, N).rc);
	EXPECT_EQ(-EFAULT, device_read(self->fd, self->map, 1, buffer_of(PAGE_BYTES)));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	close(file);
}

TEST_F(hmm_migrate, unmapped_and_inaccessible)
{
	char *hole = self->map + 10 * PAGE_BYTES;
	struct answer answer;

	pattern_fill(self->map, N, SEED);
	ASSERT_EQ(0, munmap(hole, PAGE_BYTES));
	EXPECT_EQ(-EINVAL, device_take(self->fd, hole, 1).rc);
	answer = device_take(self->fd, self->map, N);
	EXPECT_EQ(-EINVAL, answer.rc);
	EXPECT_EQ(10, answer.cpages);
	answer = device_give_back(self->fd, self->map, N);
	EXPECT_EQ(-EINVAL, answer.rc);
	EXPECT_EQ(10, answer.cpages);
	EXPECT_TRUE(pattern_is(self->map, 10, SEED));
	EXPECT_EQ(-EINVAL, device_give_back(self->fd, hole, 1).rc);

	ASSERT_EQ(0, mprotect(hole + PAGE_BYTES, 10 * PAGE_BYTES, PROT_NONE));
	EXPECT_EQ(-EINVAL, device_take(self->fd, hole + PAGE_BYTES, 10).rc);
	ASSERT_EQ(0, mprotect(hole + PAGE_BYTES, 10 * PAGE_BYTES, PROT_READ));
	EXPECT_TRUE(pattern_is(hole + PAGE_BYTES, N - 11, SEED + 11));
}

/* A walk that looks at every address would exceed the test's time limit. */
TEST_F(hmm_migrate, range_of_terabytes)
{
	const __u64 npages = 1UL << 34;
	struct answer answer;

	pattern_fill(self->map, N, SEED);
	ASSERT_EQ(0, munmap(self->map + BYTES / 2, BYTES / 2));
	answer = device_take(self->fd, self->map, npages);
	EXPECT_EQ(-EINVAL, answer.rc);
	EXPECT_EQ(N / 2, answer.cpages);
	answer = device_give_back(self->fd, self->map, npages);
	EXPECT_EQ(-EINVAL, answer.rc);
	EXPECT_EQ(N / 2, answer.cpages);
	EXPECT_TRUE(pattern_is(self->map, N / 2, SEED));
}

TEST_F(hmm_migrate, shared_memory_stays)
{
	char *map = mmap(self->map, BYTES, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	struct answer answer;

	ASSERT_EQ(map, self->map);
	pattern_fill(map, N / 2, SEED);
	answer = device_take(self->fd, map, N);
	EXPECT_EQ(-ENOENT, answer.rc);
	EXPECT_EQ(0, answer.cpages);
	EXPECT_ON_DEVICE(0, 0);
	EXPECT_EQ(self->before.in_use, device_counters(self->fd).in_use);
	EXPECT_TRUE(pattern_is(map, N / 2, SEED));
	EXPECT_TRUE(is_zero(map + BYTES / 2, N / 2));
}

/* Of a private file mapping, the pages that were written to are anonymous. */
TEST_F(hmm_migrate, page_cache_stays)
{
	int file = memory_file(BYTES);
	struct answer answer;
	char *map;

	map = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, map);
	pattern_fill(map, N, SEED);
	munmap(map, BYTES);
	map = mmap(self->map, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0);
	ASSERT_EQ(map, self->map);
	read_pages(map, N / 2);
	answer = device_take(self->fd, map, N);
	EXPECT_EQ(-ENOENT, answer.rc);
	EXPECT_EQ(0, answer.cpages);
	EXPECT_ON_DEVICE(0, 0);

	pattern_fill(map, 3, OTHER);
	answer = device_take(self->fd, map, N);
	EXPECT_EQ(-ENOENT, answer.rc);
	EXPECT_EQ(3, answer.cpages);
	EXPECT_ON_DEVICE(0, 3UL);
	EXPECT_TRUE(pattern_is(map, 3, OTHER));
	EXPECT_TRUE(pattern_is(map + 3 * PAGE_BYTES, N - 3, SEED + 3));
	close(file);
}

TEST_F(hmm_migrate, mlocked_moves)
{
	pattern_fill(self->map, N, SEED);
	if (mlock(self->map, BYTES))
		SKIP(return, "mlock: %s", strerror(errno));
	EXPECT_TAKEN(self->map, N);
	EXPECT_ON_DEVICE(0, N);
	EXPECT_TRUE(pattern_is(self->map, N / 2, SEED));
	EXPECT_EQ(0, device_give_back(self->fd, self->map, N).rc);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_EQ(0, munlock(self->map, BYTES));
}

/* A page that a transfer holds stays, those around it move. */
TEST_F(hmm_migrate, referenced_stays)
{
	struct pinned pinned;
	struct answer answer;

	pattern_fill(self->map, N, SEED);
	pin_page(&pinned, self->map + 3 * PAGE_BYTES);
	answer = device_take(self->fd, self->map, N);
	EXPECT_EQ(-ENOENT, answer.rc);
	EXPECT_EQ(3, answer.cpages);
	EXPECT_EQ(N - 1, device_count(self->fd, self->map, N, self->place));
	EXPECT_EQ(0, device_count(self->fd, self->map + 3 * PAGE_BYTES, 1, self->place));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, SEED));
	EXPECT_TRUE(unpin_page(&pinned, SEED + 3));
	EXPECT_TAKEN(self->map, N);
	EXPECT_EQ(0, device_give_back(self->fd, self->map, N).rc);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* A range within a huge page: the rest of that stays. */
TEST_F(hmm_migrate, inside_a_huge_page)
{
	char *map = device_map_thp(self->fd, HUGE_BYTES);

	if (!map)
		SKIP(return, "no huge page");
	pattern_fill(map, HUGE_PAGES, SEED);
	EXPECT_TAKEN(map + 5 * PAGE_BYTES, 20);
	EXPECT_EQ(20, device_count(self->fd, map, HUGE_PAGES, self->place));
	EXPECT_TRUE(device_reads(self->fd, map, HUGE_PAGES, SEED));
	EXPECT_EQ(20, device_give_back(self->fd, map, HUGE_PAGES).cpages);
	EXPECT_TRUE(pattern_is(map, HUGE_PAGES, SEED));
	munmap(map, HUGE_BYTES);
}

/* Threads count in pages that keep moving: no addition is lost or done twice. */
TEST_F(hmm_migrate, while_threads_fault)
{
	struct adders adders;
	unsigned long rounds = 0;

	adders_start(&adders, self->map, 16, 60);
	while (adders_run(&adders) || !rounds) {
		int taken = device_take(self->fd, self->map, 16).rc;
		int back = rounds % 2 ? device_give_back(self->fd, self->map, 16).rc : 0;

		EXPECT_TRUE(!taken || taken == -ENOENT);
		EXPECT_EQ(0, back);
		rounds++;
	}
	EXPECT_TRUE(adders_finish(&adders));
}

TEST_F(hmm_migrate, munmap_frees)
{
	pattern_fill(self->map, N, SEED);
	EXPECT_TAKEN(self->map, N);
	ASSERT_EQ(0, munmap(self->map, BYTES / 2));
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use + N / 2));
	EXPECT_TRUE(device_reads(self->fd, self->map + BYTES / 2, N / 2, SEED + N / 2));
	EXPECT_TRUE(pattern_is(self->map + BYTES / 2, N / 2, SEED + N / 2));
}

TEST_F(hmm_migrate, dontneed_frees)
{
	pattern_fill(self->map, N, SEED);
	EXPECT_TAKEN(self->map, N);
	ASSERT_EQ(0, madvise(self->map + BYTES / 2, BYTES / 2, MADV_DONTNEED));
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use + N / 2));
	EXPECT_TRUE(pattern_is(self->map, N / 2, SEED));
	EXPECT_TRUE(is_zero(self->map + BYTES / 2, N / 2));
}

TEST_F(hmm_migrate, overmapping_frees)
{
	pattern_fill(self->map, N, SEED);
	EXPECT_TAKEN(self->map, N);
	map_at(self->map, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
	EXPECT_TRUE(is_zero(self->map, N));
}

/* Protection changes move nothing; what the CPU may not read comes back later. */
TEST_F(hmm_migrate, mprotect_keeps)
{
	pattern_fill(self->map, N, SEED);
	EXPECT_TAKEN(self->map, N);
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ));
	EXPECT_ON_DEVICE(0, N);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, SEED));
	EXPECT_NE(0, device_writes(self->fd, self->map, 1, OTHER));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_NONE));
	EXPECT_FALSE(can_load(self->map));
	EXPECT_EQ(self->before.in_use + N, device_counters(self->fd).in_use);
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ | PROT_WRITE));
	EXPECT_ON_DEVICE(0, N);
	EXPECT_EQ(0, device_writes(self->fd, self->map, 1, OTHER));
	EXPECT_TRUE(pattern_is(self->map, 1, OTHER));
	EXPECT_TRUE(pattern_is(self->map + PAGE_BYTES, N - 1, SEED + 1));
}

/* Each step of a command fails in turn, until one gets through. */

#define STEPS	12UL	/* pages, so that not too many steps fail */

struct failure {
	unsigned int point;
	int rc;		/* of the command in which it happens */
};

#define sweep(failure, to_device)						\
	run_sweep(_metadata, self->fd, self->map, self->before.in_use, failure, to_device)

static void run_sweep(struct __test_metadata *_metadata, int fd, char *map, __u64 in_use,
		      const struct failure *failure, bool to_device)
{
	__u64 nth, left = 0;

	for (nth = 1; !left && nth < 10 * STEPS; nth++) {
		struct answer answer;

		pattern_fill(map, STEPS, SEED + nth);
		if (!to_device)
			ASSERT_EQ(0, device_take(fd, map, STEPS).rc);
		device_fail(fd, failure->point, nth);
		answer = to_device ? device_take(fd, map, STEPS) : device_give_back(fd, map, STEPS);
		left = device_fail(fd, failure->point, 0);

		EXPECT_EQ(left ? 0 : failure->rc, answer.rc) {
			TH_LOG("point %u, step %llu", failure->point, nth);
		}
		if (answer.rc && failure->rc == -ENOENT)
			EXPECT_EQ(nth - 1, answer.cpages);
		ASSERT_TRUE(pattern_is(map, STEPS, SEED + nth));
		EXPECT_EQ(0, device_give_back(fd, map, STEPS).rc);
		EXPECT_TRUE(pattern_is(map, STEPS, SEED + nth));
		ASSERT_TRUE(device_in_use_is(fd, in_use));
	}
	EXPECT_LT(2, nth) {
		TH_LOG("point %u never fired", failure->point);
	}
	EXPECT_NE(0, left);
}

TEST_F(hmm_migrate, steps_to_the_device_fail)
{
	static const struct failure failures[] = {
		{ HMM_DMIRROR_FAIL_DEVICE_ALLOC, -ENOENT },
		{ HMM_DMIRROR_FAIL_COPY, -ENOENT },
		{ HMM_DMIRROR_FAIL_LOCK, 0 },
		{ HMM_DMIRROR_FAIL_TABLE, -ENOMEM },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(failures); i++)
		sweep(&failures[i], true);
}

TEST_F(hmm_migrate, steps_to_the_system_fail)
{
	static const struct failure failures[] = {
		{ HMM_DMIRROR_FAIL_SYSTEM_ALLOC, -ENOMEM },
		{ HMM_DMIRROR_FAIL_COPY, -EIO },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(failures); i++)
		sweep(&failures[i], false);
}

/* The access fails, and the page is there for the next one. */
TEST_F(hmm_migrate, steps_of_a_cpu_fault_fail)
{
	static const unsigned int points[] = {
		HMM_DMIRROR_FAIL_SYSTEM_ALLOC, HMM_DMIRROR_FAIL_COPY,
	};
	size_t i;

	if (variant->coherent)
		SKIP(return, "no CPU faults on coherent memory");
	for (i = 0; i < ARRAY_SIZE(points); i++) {
		pattern_fill(self->map, N, SEED);
		EXPECT_TAKEN(self->map, N);
		device_fail(self->fd, points[i], 2);
		EXPECT_TRUE(can_load(self->map));
		EXPECT_FALSE(can_load(self->map + PAGE_BYTES));
		EXPECT_EQ(0, device_fail(self->fd, points[i], 0));
		EXPECT_ON_DEVICE(1, N - 1);
		EXPECT_TRUE(can_load(self->map + PAGE_BYTES));
		EXPECT_TRUE(pattern_is(self->map, N, SEED));
		EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
	}
}

/* Out of memory is no reason to end the process: the CPU tries again. */
TEST_F(hmm_migrate, cpu_fault_out_of_memory)
{
	if (variant->coherent)
		SKIP(return, "no CPU faults on coherent memory");
	pattern_fill(self->map, N, SEED);
	EXPECT_TAKEN(self->map, N);
	device_fail(self->fd, HMM_DMIRROR_FAIL_SYSTEM_ALLOC, N / 2);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_EQ(0, device_fail(self->fd, HMM_DMIRROR_FAIL_SYSTEM_ALLOC, 0));
}

TEST_HARNESS_MAIN
