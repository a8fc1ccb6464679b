// SPDX-License-Identifier: GPL-2.0
/*
 * Migration when something fails: each kind of migration to the device and back
 * is run with its first step failing, then with its second, and so on until it
 * completes without a failure. Whatever fails, data is intact, no migration
 * entry is left, and the device's counters agree with the page table.
 *
 * A step is an allocation by the kernel, which needs fault injection
 * (CONFIG=debug), or something that the dummy device can make fail. For locks
 * and references see migrate-folios.
 *
 *	HMM_QUICK	1 leaves out most steps of many
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/inject.h"
#include "lib/move.h"

#define SEED		0x1000UL
#define MOST_STEPS	5000
#define ALL_UP_TO	24	/* the first ones also in short form */
#define STRIDE		61
#define TIMEOUT		600

FIXTURE(migrate_failure)
{
	int probe;
	int fd;
	__u64 in_use;
	bool injection;
};

FIXTURE_VARIANT(migrate_failure)
{
	const char *size;
	size_t npages;
};

FIXTURE_VARIANT_ADD(migrate_failure, 4k) { .size = "4kB", .npages = 8 };
FIXTURE_VARIANT_ADD(migrate_failure, 16k) { .size = "16kB", .npages = 8 };
FIXTURE_VARIANT_ADD(migrate_failure, 64k) { .size = "64kB", .npages = 32 };
FIXTURE_VARIANT_ADD(migrate_failure, 1m) { .size = "1024kB", .npages = 256 };
FIXTURE_VARIANT_ADD(migrate_failure, 2m) { .size = "2048kB", .npages = 512 };

FIXTURE_SETUP(migrate_failure)
{
	const char *reason;
	char *map;

	self->probe = probe_open();
	if (self->probe < 0)
		SKIP(return, "no /dev/hmm_probe");
	self->fd = device_open(0, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	map = map_folios(variant->size, variant->npages * PAGE_BYTES, 1);
	if (!map)
		SKIP(return, "no folios of this size");
	munmap(map, variant->npages * PAGE_BYTES);
	self->in_use = device_counters(self->fd).in_use;
	self->injection = injection_start();
}

FIXTURE_TEARDOWN(migrate_failure)
{
	if (self->injection)
		injection_stop();
	EXPECT_TRUE(device_in_use_is(self->fd, self->in_use));
	close(self->fd);
	close(self->probe);
}

/**
 * struct path - a kind of migration
 * @back: from the device to system memory
 * @go: migrates; returns 0 or a negative errno
 */
struct path {
	bool back;
	int (*go)(int fd, char *map, size_t npages);
};

static int go_to_device(int fd, char *map, size_t npages)
{
	return device_take(fd, map, npages).rc;
}

static int go_to_system(int fd, char *map, size_t npages)
{
	return device_give_back(fd, map, npages).rc;
}

/* CPU faults, which fail with an error and not with a signal */
static int go_by_faults(int fd, char *map, size_t npages)
{
	return madvise(map, npages * PAGE_BYTES, MADV_POPULATE_READ) ?
		-errno : 0;
}

/* The same by plain reads, which must not be ended by a signal */
static int go_by_touch(int fd, char *map, size_t npages)
{
	read_pages(map, npages);
	return 0;
}

static int go_by_eviction(int fd, char *map, size_t npages)
{
	struct hmm_dmirror_evict result;

	return ioctl(fd, HMM_DMIRROR_EVICT, &result) ? -errno : 0;
}

static const struct path to_device = { .go = go_to_device };
static const struct path to_system = { .back = true, .go = go_to_system };
static const struct path by_faults = { .back = true, .go = go_by_faults };
static const struct path by_touch = { .back = true, .go = go_by_touch };
static const struct path by_eviction = { .back = true, .go = go_by_eviction };

/**
 * struct failure - makes the nth step fail
 * @arm: makes the nth step from now on fail
 * @disarm: ends that; true if the step has failed
 * @arg: for both
 */
struct failure {
	void (*arm)(int fd, unsigned int arg, int nth);
	bool (*disarm)(int fd, unsigned int arg);
	unsigned int arg;
};

static void arm_allocation(int fd, unsigned int unused, int nth)
{
	fail_nth(nth);
}

static bool disarm_allocation(int fd, unsigned int unused)
{
	bool failed = has_failed();

	fail_nth(0);
	return failed;
}

static void arm_point(int fd, unsigned int point, int nth)
{
	device_fail(fd, point, nth);
}

static bool disarm_point(int fd, unsigned int point)
{
	return !device_fail(fd, point, 0);
}

/* The same where there are no large folios, so that there are many steps */
static void arm_point_of_small(int fd, unsigned int point, int nth)
{
	device_fail(fd, point, nth);
	device_flags(fd, HMM_DMIRROR_FLAG_FAIL_ALLOC);
}

static bool disarm_point_of_small(int fd, unsigned int point)
{
	device_flags(fd, 0);
	return !device_fail(fd, point, 0);
}

/* Count the pages on the device, and the migration entries. */
static void look_at(int probe, char *map, size_t npages, size_t *on_device,
		    size_t *between)
{
	static __u64 slots[HUGE_PAGES], kinds[HUGE_PAGES];
	struct hmm_probe_oracle look = {
		.addr = (uintptr_t)map,
		.npages = npages,
		.slots = (uintptr_t)slots,
		.kinds = (uintptr_t)kinds,
	};
	size_t i;

	if (ioctl(probe, HMM_PROBE_ORACLE, &look))
		fatal("HMM_PROBE_ORACLE: %s", strerror(errno));
	*on_device = 0;
	*between = 0;
	for (i = 0; i < npages; i++) {
		*on_device += kinds[i] == HMM_PROBE_KIND_PRIVATE;
		*between += kinds[i] == HMM_PROBE_KIND_MIGRATION;
	}
}

static bool is_allowed(int rc)
{
	return !rc || rc == -ENOMEM || rc == -ENOENT || rc == -EIO ||
	       rc == -EFAULT || rc == -EBUSY;
}

/* What must be so after any of them */
static bool all_is_well(struct _test_data_migrate_failure *self, char *map,
			size_t npages)
{
	size_t on_device, between;

	look_at(self->probe, map, npages, &on_device, &between);
	if (between)
		printf("# %zu pages left between the places\n", between);
	return !between &&
	       device_in_use_is(self->fd, self->in_use + on_device) &&
	       pattern_is(map, npages, SEED);
}

static bool run_step(struct _test_data_migrate_failure *self,
		     const struct path *path, const struct failure *failure,
		     char *map, size_t npages, int nth, bool *failed)
{
	int rc;

	pattern_fill(map, npages, SEED);
	if (path->back && device_take(self->fd, map, npages).rc) {
		printf("# the pages do not go to the device\n");
		return false;
	}
	failure->arm(self->fd, failure->arg, nth);
	rc = path->go(self->fd, map, npages);
	*failed = failure->disarm(self->fd, failure->arg);
	if (!is_allowed(rc) || (!*failed && rc)) {
		printf("# %s\n", strerror(-rc));
		return false;
	}
	return all_is_well(self, map, npages);
}

static int next_step(int nth)
{
	return how_brief() && nth >= ALL_UP_TO ? nth + STRIDE : nth + 1;
}

#define SWEEP(path, failure)						\
	run_sweep(_metadata, self, variant->size, variant->npages, path, failure)

static void run_sweep(struct __test_metadata *_metadata,
		      struct _test_data_migrate_failure *self,
		      const char *size, size_t npages, const struct path *path,
		      const struct failure *failure)
{
	int nth, failures = 0;
	bool failed = true;

	for (nth = 1; failed && nth < MOST_STEPS; nth = next_step(nth)) {
		char *map = map_folios(size, npages * PAGE_BYTES, 1);

		ASSERT_NE(NULL, map);
		ASSERT_TRUE(run_step(self, path, failure, map, npages, nth,
				     &failed)) {
			TH_LOG("step %d failing", nth);
		}
		failures += failed;
		munmap(map, npages * PAGE_BYTES);
		ASSERT_TRUE(device_in_use_is(self->fd, self->in_use));
	}
	TH_LOG("%d steps failed", failures);
	EXPECT_FALSE(failed);
	EXPECT_LT(0, failures);
}

/* Allocations */

static const struct failure allocations = {
	.arm = arm_allocation,
	.disarm = disarm_allocation,
};

#define SWEEP_ALLOCATIONS(path)						\
	sweep_allocations(_metadata, self, variant->size, variant->npages, path)

static void sweep_allocations(struct __test_metadata *_metadata,
			      struct _test_data_migrate_failure *self,
			      const char *size, size_t npages,
			      const struct path *path)
{
	if (!self->injection)
		SKIP(return, "no fault injection in this kernel");
	run_sweep(_metadata, self, size, npages, path, &allocations);
}

TEST_F_TIMEOUT(migrate_failure, allocations_to_device, TIMEOUT)
{
	SWEEP_ALLOCATIONS(&to_device);
}

TEST_F_TIMEOUT(migrate_failure, allocations_to_system, TIMEOUT)
{
	SWEEP_ALLOCATIONS(&to_system);
}

TEST_F_TIMEOUT(migrate_failure, allocations_of_faults, TIMEOUT)
{
	SWEEP_ALLOCATIONS(&by_faults);
}

TEST_F_TIMEOUT(migrate_failure, allocations_of_touches, TIMEOUT)
{
	SWEEP_ALLOCATIONS(&by_touch);
}

TEST_F_TIMEOUT(migrate_failure, allocations_of_eviction, TIMEOUT)
{
	SWEEP_ALLOCATIONS(&by_eviction);
}

/* What the device can make fail */

#define POINT(which) ((const struct failure) {				\
	.arm = arm_point,						\
	.disarm = disarm_point,						\
	.arg = HMM_DMIRROR_FAIL_##which,				\
})

#define SMALL_POINT(which) ((const struct failure) {			\
	.arm = arm_point_of_small,					\
	.disarm = disarm_point_of_small,				\
	.arg = HMM_DMIRROR_FAIL_##which,				\
})

TEST_F_TIMEOUT(migrate_failure, steps_to_device, TIMEOUT)
{
	SWEEP(&to_device, &POINT(DEVICE_ALLOC));
	SWEEP(&to_device, &POINT(COPY));
}

TEST_F_TIMEOUT(migrate_failure, steps_to_system, TIMEOUT)
{
	SWEEP(&to_system, &POINT(SYSTEM_ALLOC));
	SWEEP(&to_system, &POINT(COPY));
}

TEST_F_TIMEOUT(migrate_failure, steps_of_faults, TIMEOUT)
{
	SWEEP(&by_faults, &POINT(SYSTEM_ALLOC));
	SWEEP(&by_faults, &POINT(COPY));
}

TEST_F_TIMEOUT(migrate_failure, steps_of_eviction, TIMEOUT)
{
	SWEEP(&by_eviction, &POINT(SYSTEM_ALLOC));
	SWEEP(&by_eviction, &POINT(COPY));
}

TEST_F_TIMEOUT(migrate_failure, steps_of_small_pages, TIMEOUT)
{
	SWEEP(&to_device, &SMALL_POINT(DEVICE_ALLOC));
	SWEEP(&to_device, &SMALL_POINT(COPY));
	SWEEP(&to_system, &SMALL_POINT(SYSTEM_ALLOC));
	SWEEP(&by_faults, &SMALL_POINT(SYSTEM_ALLOC));
	SWEEP(&by_eviction, &SMALL_POINT(SYSTEM_ALLOC));
}

TEST_HARNESS_MAIN
