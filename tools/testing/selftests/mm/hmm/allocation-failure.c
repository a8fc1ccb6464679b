// SPDX-License-Identifier: GPL-2.0
/*
 * Range faults and exclusive access when memory runs out: each scenario is run
 * with its first allocation failing, then with its second, and so on until it
 * completes without a failure. A call that fails must return -ENOMEM and leave
 * memory as it was, and the same call must succeed when it is repeated.
 *
 * Needs a kernel with fault injection (CONFIG=debug); skips on others.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/common.h"
#include "lib/exclusive.h"
#include "lib/inject.h"

#define N		16
#define MAX_NTH		2000	/* more allocations than any scenario makes */

FIXTURE(hmm_failure)
{
	int fd;
	char *map;
	__u64 slots[HUGE_PAGES];
};

FIXTURE_VARIANT(hmm_failure)
{
	__u64 flags;
};

FIXTURE_VARIANT_ADD(hmm_failure, locked)
{
	.flags = 0,
};

FIXTURE_VARIANT_ADD(hmm_failure, unlocked)
{
	.flags = HMM_PROBE_UNLOCKED,
};

FIXTURE_SETUP(hmm_failure)
{
	self->fd = probe_open();
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_probe");
	if (!injection_start())
		SKIP(return, "no fault injection in this kernel");
}

FIXTURE_TEARDOWN(hmm_failure)
{
	injection_stop();
	close(self->fd);
}

/**
 * struct scenario - memory and the requests for it
 * @prepare: maps it; NULL when the kernel cannot give it
 * @npages: how much
 * @each: each slot has its own request, to write for every other page
 * @is_intact: whether the memory still holds what @prepare put there
 * @clean: undoes @prepare
 */
struct scenario {
	char *(*prepare)(void);
	size_t npages;
	bool each;
	bool (*is_intact)(const char *map);
	void (*clean)(char *map);
};

/* The call's rc, or the errno with which the probe itself ran out of memory. */
static int call_once(int fd, char *map, const struct scenario *scenario,
		     __u64 *slots, __u64 flags)
{
	struct hmm_probe_call call = {
		.addr = (uintptr_t)map,
		.npages = scenario->npages,
		.slots = (uintptr_t)slots,
		.default_flags = scenario->each ? 0 : REQ_WRITE,
		.pfn_flags_mask = scenario->each ? MASK_SLOTS : MASK_NONE,
		.flags = flags,
	};
	size_t i;

	for (i = 0; i < scenario->npages; i++)
		slots[i] = i % 2 ? 0 : REQ_WRITE;
	if (ioctl(fd, HMM_PROBE_FAULT, &call))
		return -errno;
	return call.rc;
}

static bool is_met(const struct scenario *scenario, const __u64 *slots)
{
	size_t i;

	for (i = 0; i < scenario->npages; i += scenario->each ? 2 : 1)
		if (!(slots[i] & HMM_PROBE_WRITE))
			return false;
	return true;
}

#define sweep(scenario)							\
	run_sweep(_metadata, self->fd, scenario, self->slots, variant->flags)

static void run_sweep(struct __test_metadata *_metadata, int fd,
		      const struct scenario *scenario, __u64 *slots,
		      __u64 flags)
{
	int nth, failures = 0;
	bool failed = true;

	for (nth = 1; failed && nth < MAX_NTH; nth++) {
		char *map = scenario->prepare();
		int rc;

		if (!map)
			SKIP(return, "no such memory here");
		fail_nth(nth);
		rc = call_once(fd, map, scenario, slots, flags);
		failed = has_failed();
		fail_nth(0);

		ASSERT_TRUE(!rc || (failed && rc == -ENOMEM)) {
			TH_LOG("allocation %d failing: %d", nth, rc);
		}
		failures += !!rc;
		ASSERT_TRUE(scenario->is_intact(map));
		ASSERT_TRUE(probe_agrees(fd, map, scenario->npages, 0));
		if (rc)
			ASSERT_EQ(0, call_once(fd, map, scenario, slots, flags));
		ASSERT_TRUE(is_met(scenario, slots));
		ASSERT_TRUE(scenario->is_intact(map));
		scenario->clean(map);
	}
	TH_LOG("%d allocations, %d of which made the call fail", nth - 2,
	       failures);
	EXPECT_FALSE(failed);
	EXPECT_LT(0, failures);
}

static bool holds(const char *map, size_t npages, char value)
{
	size_t i;

	for (i = 0; i < npages; i++)
		if (map[i * PAGE_BYTES] != value)
			return false;
	return true;
}

static char *prepare_small(void)
{
	return map_anon_small(HUGE_BYTES);
}

static bool untouched(const char *map)
{
	(void)map;
	return true;
}

static void unmap(char *map)
{
	munmap(map, HUGE_BYTES);
}

TEST_F(hmm_failure, small_pages)
{
	static const struct scenario scenario = {
		.prepare = prepare_small,
		.npages = N,
		.is_intact = untouched,
		.clean = unmap,
	};

	sweep(&scenario);
}

TEST_F(hmm_failure, requests_in_slots)
{
	static const struct scenario scenario = {
		.prepare = prepare_small,
		.npages = N,
		.each = true,
		.is_intact = untouched,
		.clean = unmap,
	};

	sweep(&scenario);
}

static char *prepare_huge(void)
{
	char *map = map_anon(HUGE_BYTES);

	return madvise(map, HUGE_BYTES, MADV_HUGEPAGE) ? NULL : map;
}

TEST_F(hmm_failure, huge_page)
{
	static const struct scenario scenario = {
		.prepare = prepare_huge,
		.npages = HUGE_PAGES,
		.is_intact = untouched,
		.clean = unmap,
	};

	sweep(&scenario);
}

static char *prepare_shared(void)
{
	return map_at(map_anon(HUGE_BYTES), HUGE_BYTES, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1);
}

TEST_F(hmm_failure, shared_memory)
{
	static const struct scenario scenario = {
		.prepare = prepare_shared,
		.npages = N,
		.is_intact = untouched,
		.clean = unmap,
	};

	sweep(&scenario);
}

static struct keeper child;

static char *prepare_copy_on_write(void)
{
	char *map = map_anon_small(HUGE_BYTES);

	write_pages(map, N, 5);
	keeper_start(&child);
	return map;
}

static bool both_hold(const char *map)
{
	return holds(map, N, 5) && keeper_peek(&child, (void *)map) == 5;
}

static void end_sharing(char *map)
{
	keeper_stop(&child);
	unmap(map);
}

TEST_F(hmm_failure, copy_on_write)
{
	static const struct scenario scenario = {
		.prepare = prepare_copy_on_write,
		.npages = N,
		.is_intact = both_hold,
		.clean = end_sharing,
	};

	sweep(&scenario);
}

/*
 * The same for exclusive access. Some pages may be exclusive after a failure, but
 * no entry is left without an owner.
 */

FIXTURE(exclusive_failure)
{
	int fd;
};

FIXTURE_SETUP(exclusive_failure)
{
	self->fd = dmirror_open(0);
	if (self->fd < 0)
		SKIP(return, "no dummy devices");
	if (!injection_start())
		SKIP(return, "no fault injection in this kernel");
}

FIXTURE_TEARDOWN(exclusive_failure)
{
	injection_stop();
	close(self->fd);
}

static int seize_failing(int fd, char *map, size_t npages, int nth, bool *failed)
{
	void *data = buffer_of(npages * PAGE_BYTES);
	int rc;

	fail_nth(nth);
	rc = device_ask(fd, HMM_DMIRROR_EXCLUSIVE, map, data, npages).rc;
	*failed = has_failed();
	fail_nth(0);
	free(data);
	return rc;
}

static size_t set_aside(char *map, size_t npages)
{
	return npages - present_pages(map, npages);
}

#define sweep_exclusive(prepare, is_intact, clean, npages)		\
	run_exclusive_sweep(_metadata, self->fd, prepare, is_intact, clean, npages)

static void run_exclusive_sweep(struct __test_metadata *_metadata, int fd,
				char *(*prepare)(void),
				bool (*is_intact)(const char *map),
				void (*clean)(char *map), size_t npages)
{
	int nth, failures = 0;
	bool failed = true;

	for (nth = 1; failed && nth < MAX_NTH; nth++) {
		char *map = prepare();
		int rc;

		if (!map)
			SKIP(return, "no such memory here");
		rc = seize_failing(fd, map, npages, nth, &failed);
		ASSERT_TRUE(!rc || (failed && rc == -ENOMEM)) {
			TH_LOG("allocation %d failing: %d", nth, rc);
		}
		failures += !!rc;
		ASSERT_EQ(device_seized(fd, map, npages), set_aside(map, npages));
		ASSERT_TRUE(is_intact(map));
		ASSERT_EQ(0, device_seized(fd, map, npages));
		ASSERT_EQ(0, set_aside(map, npages));
		ASSERT_EQ(0, device_seize(fd, map, npages));
		ASSERT_EQ(npages, device_seized(fd, map, npages));
		ASSERT_TRUE(is_intact(map));
		clean(map);
	}
	TH_LOG("%d allocations, %d of which made the call fail", nth - 2,
	       failures);
	EXPECT_FALSE(failed);
	EXPECT_LT(0, failures);
}

#define PATTERN		5

static char *prepare_small_pattern(void)
{
	char *map = map_anon_small(HUGE_BYTES);

	pattern_fill(map, N, PATTERN);
	return map;
}

static bool small_pattern_is(const char *map)
{
	return pattern_is(map, N, PATTERN);
}

TEST_F(exclusive_failure, small_pages)
{
	sweep_exclusive(prepare_small_pattern, small_pattern_is, unmap, N);
}

static char *prepare_huge_pattern(void)
{
	return map_folios("2048kB", HUGE_BYTES, PATTERN);
}

static bool huge_pattern_is(const char *map)
{
	return pattern_is(map, HUGE_PAGES, PATTERN);
}

TEST_F_TIMEOUT(exclusive_failure, huge_page, 300)
{
	sweep_exclusive(prepare_huge_pattern, huge_pattern_is, unmap, HUGE_PAGES);
}

/* khugepaged would make a huge page of it again, which takes the pages back. */
static char *prepare_part_of_huge_pattern(void)
{
	char *map = prepare_huge_pattern();

	if (map)
		madvise(map, HUGE_BYTES, MADV_NOHUGEPAGE);
	return map;
}

TEST_F(exclusive_failure, part_of_a_huge_page)
{
	sweep_exclusive(prepare_part_of_huge_pattern, small_pattern_is, unmap, N);
}

TEST_F(exclusive_failure, copy_on_write)
{
	sweep_exclusive(prepare_copy_on_write, both_hold, end_sharing, N);
}

TEST_HARNESS_MAIN
