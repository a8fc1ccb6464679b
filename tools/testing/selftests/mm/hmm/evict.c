// SPDX-License-Identifier: GPL-2.0
/*
 * Emptying a device: by command, by giving up its memory, and by closing it.
 * All processes that mapped the pages find the data in system memory.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/device.h"

#define N		64UL
#define SEED		0x1000UL
#define OTHER		0x200000UL
#define BYTES		(N * PAGE_BYTES)
#define CHILDREN	4
#define TIMEOUT		120	/* of a test that empties all of the device often */

FIXTURE(hmm_evict)
{
	int fd;
	char *map;	/* N small pages with a pattern */
	struct hmm_dmirror_counters before;
	unsigned char place;
};

FIXTURE_VARIANT(hmm_evict)
{
	unsigned int device;
	bool coherent;
};

FIXTURE_VARIANT_ADD(hmm_evict, private)
{
	.device = 0,
	.coherent = false,
};

FIXTURE_VARIANT_ADD(hmm_evict, coherent)
{
	.device = 2,
	.coherent = true,
};

FIXTURE_SETUP(hmm_evict)
{
	const char *reason;

	self->fd = device_open(variant->device, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	self->before = device_counters(self->fd);
	if (self->before.in_use)
		SKIP(return, "another program uses the device");
	self->place = own_place(variant->device);
	self->map = map_anon_small(BYTES);
	pattern_fill(self->map, N, SEED);
}

FIXTURE_TEARDOWN(hmm_evict)
{
	munmap(self->map, BYTES);
	EXPECT_TRUE(device_in_use_is(self->fd, 0));
	close(self->fd);
}

#define EXPECT_ON_DEVICE(n)							\
	EXPECT_EQ(n, device_count(self->fd, self->map, N, self->place))

#define EXPECT_EVICTS(npages, rest)						\
	EXPECT_TRUE(evicts(self->fd, npages, rest))

static bool evicts(int fd, __u64 npages, __u64 rest)
{
	struct hmm_dmirror_evict result = device_evict(fd);

	if (result.evicted == npages && result.remaining == rest)
		return true;
	printf("# %llu pages evicted, not %llu; %llu remain, not %llu\n", result.evicted, npages,
	       result.remaining, rest);
	return false;
}

TEST_F(hmm_evict, restores_all_pages)
{
	struct hmm_dmirror_counters now;

	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
	EXPECT_ON_DEVICE(N);
	EXPECT_EVICTS(N, 0);
	EXPECT_ON_DEVICE(0);
	now = device_counters(self->fd);
	EXPECT_EQ(0, now.in_use);
	EXPECT_EQ(N, now.evicted - self->before.evicted);
	EXPECT_EQ(now.cpu_faults, self->before.cpu_faults);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, SEED));
}

TEST_F(hmm_evict, empty_device)
{
	EXPECT_EVICTS(0, 0);
	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
	EXPECT_EVICTS(N, 0);
	EXPECT_EVICTS(0, 0);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_F(hmm_evict, release_gives_the_memory_up)
{
	struct hmm_dmirror_counters now;

	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
	EXPECT_EQ(0, device_release(self->fd));
	EXPECT_ON_DEVICE(0);
	now = device_counters(self->fd);
	EXPECT_EQ(0, now.capacity);
	EXPECT_EQ(0, now.in_use);
	EXPECT_EQ(N, now.evicted - self->before.evicted);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_EQ(0, device_release(self->fd));

	EXPECT_EQ(0, device_take(self->fd, self->map, N).rc);
	EXPECT_ON_DEVICE(N);
	EXPECT_LE(N, device_counters(self->fd).capacity);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, SEED));
	EXPECT_EVICTS(N, 0);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* Pages that are inaccessible now are evicted all the same. */
TEST_F(hmm_evict, inaccessible_pages)
{
	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
	ASSERT_EQ(0, mprotect(self->map, BYTES / 2, PROT_NONE));
	ASSERT_EQ(0, mprotect(self->map + BYTES / 2, BYTES / 2, PROT_READ));
	EXPECT_EVICTS(N, 0);
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* What the device wrote last is what comes back. */
TEST_F(hmm_evict, device_writes)
{
	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
	EXPECT_EQ(0, device_writes(self->fd, self->map, N, OTHER));
	EXPECT_EVICTS(N, 0);
	EXPECT_TRUE(pattern_is(self->map, N, OTHER));
	pattern_fill(self->map, N, SEED);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, SEED));
}

TEST_F(hmm_evict, huge_pages)
{
	char *map = device_map_thp(self->fd, 2 * HUGE_BYTES);

	if (!map)
		SKIP(return, "no huge pages");
	pattern_fill(map, 2 * HUGE_PAGES, SEED);
	ASSERT_EQ(0, device_take(self->fd, map, 2 * HUGE_PAGES).rc);
	EXPECT_EVICTS(2 * HUGE_PAGES, 0);
	EXPECT_EQ(0, device_count(self->fd, map, 2 * HUGE_PAGES, self->place));
	EXPECT_TRUE(pattern_is(map, 2 * HUGE_PAGES, SEED));
	munmap(map, 2 * HUGE_BYTES);
}

/*
 * The threads see no page twice and lose none, evicted or faulted back. A page
 * that one of them keeps locked for long may stay for the moment.
 */
TEST_F(hmm_evict, while_threads_fault)
{
	struct adders adders;
	unsigned long rounds = 0;

	adders_start(&adders, self->map, 16, variant->coherent ? 2000 : 60);
	while (adders_run(&adders) || !rounds) {
		device_take(self->fd, self->map, 16);
		EXPECT_GE(16, device_evict(self->fd).remaining);
		rounds++;
	}
	EXPECT_TRUE(adders_finish(&adders));
	EXPECT_EQ(0, device_evict(self->fd).remaining);
}

TEST_F(hmm_evict, released_while_threads_fault)
{
	struct adders adders;
	unsigned long rounds = 0;

	adders_start(&adders, self->map, 16, variant->coherent ? 500 : 20);
	while (adders_run(&adders) || !rounds) {
		int ret;

		device_take(self->fd, self->map, 16);
		ret = device_release(self->fd);
		EXPECT_TRUE(!ret || ret == -EBUSY);
		rounds++;
	}
	EXPECT_TRUE(adders_finish(&adders));
	EXPECT_EQ(0, device_release(self->fd));
}

TEST_F(hmm_evict, several_processes)
{
	struct child children[CHILDREN];
	int i;

	for (i = 0; i < CHILDREN; i++) {
		child_start(&children[i]);
		child_do(&children[i], work_fill, self->map, N, OTHER * (i + 2));
		EXPECT_EQ(0, child_do(&children[i], work_take, self->map, N, variant->device));
	}
	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
	EXPECT_EQ((CHILDREN + 1) * N, device_counters(self->fd).in_use);
	EXPECT_EVICTS((CHILDREN + 1) * N, 0);
	for (i = 0; i < CHILDREN; i++) {
		EXPECT_TRUE(child_do(&children[i], work_check, self->map, N, OTHER * (i + 2)));
		child_stop(&children[i]);
	}
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* One page in two processes is one page still. */
TEST_F(hmm_evict, shared_by_fork)
{
	struct child child;

	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
	child_start(&child);
	EXPECT_EVICTS(N, 0);
	EXPECT_ON_DEVICE(0);
	EXPECT_TRUE(child_do(&child, work_check, self->map, N, SEED));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	pattern_fill(self->map, N, OTHER);
	EXPECT_TRUE(child_do(&child, work_check, self->map, N, SEED));
	child_stop(&child);
	EXPECT_TRUE(pattern_is(self->map, N, OTHER));
}

/* The child alone still has what its parent unmapped. */
TEST_F(hmm_evict, left_to_a_child)
{
	struct child child;

	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
	child_start(&child);
	ASSERT_EQ(0, munmap(self->map, BYTES));
	EXPECT_EQ(N, device_counters(self->fd).in_use);
	EXPECT_EVICTS(N, 0);
	EXPECT_TRUE(child_do(&child, work_check, self->map, N, SEED));
	child_stop(&child);
}

TEST_F(hmm_evict, processes_that_are_gone)
{
	struct child children[2];
	int i;

	for (i = 0; i < 2; i++) {
		child_start(&children[i]);
		child_do(&children[i], work_fill, self->map, N, OTHER);
		EXPECT_EQ(0, child_do(&children[i], work_take, self->map, N, variant->device));
	}
	EXPECT_EQ(2 * N, device_counters(self->fd).in_use);
	child_stop(&children[0]);
	EXPECT_TRUE(device_in_use_is(self->fd, N));
	child_kill(&children[1]);
	EXPECT_TRUE(device_in_use_is(self->fd, 0));
	EXPECT_EVICTS(0, 0);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* The last file to be closed empties the device, no other does. */
TEST_F(hmm_evict, closing)
{
	int other = dmirror_open(variant->device);

	ASSERT_LE(0, other);
	ASSERT_EQ(0, device_take(other, self->map, N).rc);
	close(other);
	EXPECT_ON_DEVICE(N);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, SEED));
	close(self->fd);
	self->fd = dmirror_open(variant->device);
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(0, device_counters(self->fd).in_use);
	EXPECT_EQ(N, device_counters(self->fd).evicted - self->before.evicted);
	EXPECT_ON_DEVICE(0);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/*
 * A page that has no destination, or cannot be copied, migrates in a later
 * pass.
 */
TEST_F_TIMEOUT(hmm_evict, steps_fail, TIMEOUT)
{
	static const unsigned int points[] = {
		HMM_DMIRROR_FAIL_SYSTEM_ALLOC, HMM_DMIRROR_FAIL_COPY,
	};
	unsigned long steps = 6;
	__u64 nth;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(points); i++) {
		for (nth = 1; nth <= steps; nth++) {
			pattern_fill(self->map, steps, SEED + nth);
			ASSERT_EQ(0, device_take(self->fd, self->map, steps).rc);
			device_fail(self->fd, points[i], nth);
			EXPECT_EVICTS(steps, 0);
			EXPECT_EQ(0, device_fail(self->fd, points[i], 0));
			EXPECT_TRUE(pattern_is(self->map, steps, SEED + nth));
		}
	}
	EXPECT_EQ(2 * steps, device_counters(self->fd).alloc_failures -
			     self->before.alloc_failures);
}

TEST_F(hmm_evict, release_without_memory)
{
	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
	device_fail(self->fd, HMM_DMIRROR_FAIL_SYSTEM_ALLOC, N / 2);
	EXPECT_EQ(0, device_release(self->fd));
	EXPECT_EQ(0, device_fail(self->fd, HMM_DMIRROR_FAIL_SYSTEM_ALLOC, 0));
	EXPECT_EQ(0, device_counters(self->fd).capacity);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* A page that a transfer holds stays, and the memory around it. */
TEST_F(hmm_evict, referenced_page_stays)
{
	struct hmm_dmirror_counters now;
	struct pinned pinned;

	if (!variant->coherent)
		SKIP(return, "a transfer brings private pages back");
	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
	pin_page(&pinned, self->map + 7 * PAGE_BYTES);
	EXPECT_EVICTS(N - 1, 1);
	EXPECT_ON_DEVICE(1);
	EXPECT_EQ(-EBUSY, device_release(self->fd));
	now = device_counters(self->fd);
	EXPECT_EQ(1, now.in_use);
	EXPECT_LT(0, now.capacity);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));

	EXPECT_EQ(0, device_take(self->fd, self->map, N).rc);
	EXPECT_TRUE(unpin_page(&pinned, SEED + 7));
	EXPECT_EQ(0, device_release(self->fd));
	EXPECT_EQ(0, device_counters(self->fd).capacity);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* A transfer that needs a private page has it migrated back at once. */
TEST_F(hmm_evict, referenced_private_page)
{
	struct pinned pinned;

	if (variant->coherent)
		SKIP(return, "a transfer leaves coherent pages where they are");
	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
	pin_page(&pinned, self->map + 7 * PAGE_BYTES);
	EXPECT_ON_DEVICE(N - 1);
	EXPECT_EVICTS(N - 1, 0);
	EXPECT_TRUE(unpin_page(&pinned, SEED + 7));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_HARNESS_MAIN
