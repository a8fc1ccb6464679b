// SPDX-License-Identifier: GPL-2.0
/*
 * A small driver that leaves everything to the helpers of the core: its device
 * sees the right data, whatever happens to the memory, and the traps that its
 * author did not have to know of are none. Skips without small_driver.ko.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/device.h"
#include "lib/notify.h"
#include "small_driver/small_driver_uapi.h"

#define N		64UL
#define SEED		0x1000UL
#define OTHER		0x200000UL
#define LONG_MS		2000
#define QUICK_MS	400
#define AMPLE_MS	10000
#define SHORT_MS	200
#define KILL_SECONDS	10	/* less than an invalidation is held */
#define TIMEOUT		120
#define NO_HUGE_PAGE	"no huge pages"
#define MAX_ORDER	"/sys/module/small_driver/parameters/max_order"

static struct small_call last;	/* the answer to the last command */

static int small_ask_within(int fd, unsigned long command, void *addr,
			    size_t npages, void *buffer, unsigned int ms)
{
	struct small_call call = {
		.addr = (uintptr_t)addr,
		.npages = npages,
		.buffer = (uintptr_t)buffer,
		.timeout_ms = ms,
	};
	int rc = ioctl(fd, command, &call) ? -errno : 0;

	last = call;
	return rc;
}

static int small_ask(int fd, unsigned long command, void *addr, size_t npages,
		     void *buffer)
{
	return small_ask_within(fd, command, addr, npages, buffer, AMPLE_MS);
}

static bool small_reads(int fd, void *addr, size_t npages, __u64 seed)
{
	void *data = buffer_of(npages * PAGE_BYTES);
	int rc = small_ask(fd, SMALL_READ, addr, npages, data);
	bool right = !rc && pattern_is(data, npages, seed);

	if (rc)
		printf("# the device cannot read: %d\n", rc);
	free(data);
	return right;
}

static int small_writes(int fd, void *addr, size_t npages, __u64 seed)
{
	void *data = buffer_of(npages * PAGE_BYTES);
	int rc;

	pattern_fill(data, npages, seed);
	rc = small_ask(fd, SMALL_WRITE, addr, npages, data);
	free(data);
	return rc;
}

static bool on_device(int fd, void *addr)
{
	return !small_ask(fd, SMALL_LOOK, addr, 1, NULL) && last.on_device;
}

static size_t in_use(int fd)
{
	small_ask(fd, SMALL_LOOK, (void *)PAGE_BYTES, 1, NULL);
	return last.in_use;
}

/* Frees may be on their way. */
static bool in_use_is(int fd, size_t npages)
{
	unsigned int tries;

	for (tries = 0; tries < 1000; tries++) {
		if (in_use(fd) == npages)
			return true;
		usleep(1000);
	}
	printf("# %zu pages are in use\n", in_use(fd));
	return false;
}

static unsigned long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000UL + now.tv_nsec / 1000000;
}

static unsigned long run_ms(void)
{
	return how_brief() == LONG_RUN ? LONG_MS : QUICK_MS;
}

FIXTURE(small_driver)
{
	int fd;
	char *map;	/* N small pages with a pattern */
	char *huge;	/* a huge page with a pattern, and room for another */
};

FIXTURE_SETUP(small_driver)
{
	self->fd = open("/dev/small_driver", O_RDWR | O_CLOEXEC);
	if (self->fd < 0)
		SKIP(return, "needs small_driver.ko");
	self->map = map_anon_small(N * PAGE_BYTES);
	pattern_fill(self->map, N, SEED);
	self->huge = map_anon(2 * HUGE_BYTES);
	madvise(self->huge, 2 * HUGE_BYTES, MADV_HUGEPAGE);
	pattern_fill(self->huge, HUGE_PAGES, OTHER);
}

FIXTURE_TEARDOWN(small_driver)
{
	munmap(self->map, N * PAGE_BYTES);
	munmap(self->huge, 2 * HUGE_BYTES);
	EXPECT_TRUE(in_use_is(self->fd, 0));
	close(self->fd);
}

#define ASK(command, addr, npages)					\
	small_ask(self->fd, command, addr, npages, NULL)
#define ASK_BRIEFLY(command, addr, npages)				\
	small_ask_within(self->fd, command, addr, npages, NULL, SHORT_MS)

TEST_F(small_driver, device_reads_and_writes)
{
	EXPECT_TRUE(small_reads(self->fd, self->map, N, SEED));
	EXPECT_EQ(0, small_writes(self->fd, self->map, N, OTHER));
	EXPECT_TRUE(pattern_is(self->map, N, OTHER));
	EXPECT_TRUE(small_reads(self->fd, self->map, N, OTHER));
	EXPECT_EQ(-EFAULT, small_writes(self->fd, (void *)PAGE_BYTES, 1, 1));
}

TEST_F(small_driver, pages_migrate_and_come_back)
{
	EXPECT_EQ(0, ASK(SMALL_TO_DEVICE, self->map, N));
	EXPECT_EQ(N, last.moved);
	EXPECT_EQ(0, last.failed);
	EXPECT_TRUE(on_device(self->fd, self->map));
	EXPECT_TRUE(small_reads(self->fd, self->map, N, SEED));
	EXPECT_EQ(0, small_writes(self->fd, self->map, N, OTHER));
	EXPECT_EQ(N, in_use(self->fd));
	EXPECT_TRUE(pattern_is(self->map, N, OTHER));
	EXPECT_TRUE(in_use_is(self->fd, 0));

	EXPECT_EQ(0, ASK(SMALL_PLACE, self->map, N));
	EXPECT_EQ(N, last.moved);
	EXPECT_EQ(0, ASK(SMALL_TO_SYSTEM, self->map, N));
	EXPECT_EQ(N, last.moved);
	EXPECT_TRUE(in_use_is(self->fd, 0));
	EXPECT_TRUE(pattern_is(self->map, N, OTHER));
}

/* Device faults with placement */

/*
 * Puts pages, of which @moved are not on the device, there and into its table.
 * The device's memory fills @holes of them, without other memory before it.
 */
static bool places(int fd, void *addr, size_t npages, size_t moved, size_t holes)
{
	__u64 cleared;
	int rc;

	small_ask(fd, SMALL_TABLE, addr, npages, NULL);
	cleared = last.cleared;
	rc = small_ask(fd, SMALL_PLACE, addr, npages, NULL);
	cleared = last.cleared - cleared;
	if (rc || last.moved != moved || cleared != holes) {
		printf("# placed: %d, %llu pages have moved, %llu cleared\n", rc,
		       last.moved, cleared);
		return false;
	}
	small_ask(fd, SMALL_TABLE, addr, npages, NULL);
	if (last.ready != npages)
		printf("# the device may write %llu pages\n", last.ready);
	return last.ready == npages && last.in_use >= npages;
}

TEST_F(small_driver, placement_of_present_pages)
{
	EXPECT_TRUE(places(self->fd, self->map, N, N, 0));
	EXPECT_TRUE(small_reads(self->fd, self->map, N, SEED));
	EXPECT_EQ(0, small_writes(self->fd, self->map, N, OTHER));
	EXPECT_TRUE(pattern_is(self->map, N, OTHER));
	EXPECT_EQ(0, ASK(SMALL_TABLE, self->map, N));
	EXPECT_EQ(0, last.ready);
}

TEST_F(small_driver, placement_of_holes)
{
	madvise(self->map, N * PAGE_BYTES, MADV_DONTNEED);
	EXPECT_TRUE(places(self->fd, self->map, N, N, N));
	EXPECT_EQ(0, small_writes(self->fd, self->map, 1, OTHER));
	EXPECT_TRUE(pattern_is(self->map, 1, OTHER));
	EXPECT_TRUE(is_zero(self->map + PAGE_BYTES, N - 1));
}

TEST_F(small_driver, placement_of_pages_on_the_device)
{
	EXPECT_EQ(0, ASK(SMALL_TO_DEVICE, self->map, N));
	EXPECT_TRUE(places(self->fd, self->map, N, 0, 0));
	EXPECT_TRUE(small_reads(self->fd, self->map, N, SEED));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* In turn: present, never touched, on the device */
TEST_F(small_driver, placement_of_a_mix)
{
	char *hole = map_anon_small(N * PAGE_BYTES);
	size_t i, there = 0, filled = 0;

	for (i = 0; i < N; i++) {
		if (i % 3 == 1)
			filled++;
		else
			pattern_fill(hole + i * PAGE_BYTES, 1, SEED + i);
		if (i % 3 == 2) {
			ASSERT_EQ(0, ASK(SMALL_TO_DEVICE,
					 hole + i * PAGE_BYTES, 1));
			there += last.moved;
		}
	}
	EXPECT_EQ(N / 3, there);
	EXPECT_TRUE(places(self->fd, hole, N, N - there, filled));
	EXPECT_EQ(N, last.in_use);
	for (i = 0; i < N; i++) {
		char *page = hole + i * PAGE_BYTES;

		EXPECT_TRUE(i % 3 == 1 ? is_zero(page, 1) :
					 pattern_is(page, 1, SEED + i));
	}
	munmap(hole, N * PAGE_BYTES);
}

/* A huge page and a hole of that size, as folios of this order at most */
static bool places_as(int fd, char *huge, const char *order)
{
	struct setting setting;
	bool right;

	if (!setting_change(&setting, MAX_ORDER, order))
		return false;
	right = places(fd, huge, 2 * HUGE_PAGES, 2 * HUGE_PAGES,
		       HUGE_PAGES);
	setting_restore(&setting);
	return right && small_reads(fd, huge, HUGE_PAGES, OTHER) &&
	       pattern_is(huge, HUGE_PAGES, OTHER) &&
	       is_zero(huge + HUGE_BYTES, HUGE_PAGES) && in_use_is(fd, 0);
}

TEST_F(small_driver, placement_of_a_huge_page)
{
	static const char * const orders[] = { "0", "1", "2", "4", "8" };
	unsigned int i;

	for (i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		EXPECT_TRUE(places_as(self->fd, self->huge, orders[i]));
		madvise(self->huge, 2 * HUGE_BYTES, MADV_DONTNEED);
		pattern_fill(self->huge, HUGE_PAGES, OTHER);
	}
	EXPECT_TRUE(places(self->fd, self->huge, 2 * HUGE_PAGES,
			   2 * HUGE_PAGES, HUGE_PAGES));
	EXPECT_TRUE(on_device(self->fd, self->huge));
	if (last.order != HUGE_ORDER)
		SKIP(return, NO_HUGE_PAGE);
	EXPECT_TRUE(on_device(self->fd, self->huge + HUGE_BYTES));
	EXPECT_EQ(HUGE_ORDER, last.order);
}

/* What does not fit is used where it is. */
TEST_F(small_driver, placement_on_a_full_device)
{
	size_t npages = 5000;
	char *map = map_anon_small(npages * PAGE_BYTES);

	pattern_fill(map, npages / 2, SEED);
	EXPECT_EQ(0, ASK(SMALL_PLACE, map, npages));
	EXPECT_EQ(4096, last.moved);
	EXPECT_EQ(4096, last.in_use);
	EXPECT_TRUE(small_reads(self->fd, map, npages / 2, SEED));
	EXPECT_TRUE(pattern_is(map, npages / 2, SEED));
	EXPECT_TRUE(is_zero(map + npages / 2 * PAGE_BYTES, npages / 2));
	munmap(map, npages * PAGE_BYTES);
}

/* One lock, and one way to copy: 2 combinations of 3 bits each, with map() */
TEST_F(small_driver, placement_with_callbacks_missing_or_twice)
{
	EXPECT_EQ(0, ASK(SMALL_MISPLACE, self->map, 1));
	EXPECT_EQ(4, last.moved);
	EXPECT_EQ(128 - 4, last.failed);
}

TEST_F(small_driver, range_of_several_mappings)
{
	munmap(self->map + 8 * PAGE_BYTES, 8 * PAGE_BYTES);
	mprotect(self->map + 16 * PAGE_BYTES, 8 * PAGE_BYTES, PROT_NONE);
	mprotect(self->map + 32 * PAGE_BYTES, 8 * PAGE_BYTES, PROT_READ);
	EXPECT_EQ(0, ASK(SMALL_TO_DEVICE, self->map, N));
	EXPECT_EQ(N - 16, last.moved);
	EXPECT_TRUE(small_reads(self->fd, self->map + 24 * PAGE_BYTES, N - 24,
				SEED + 24));
	EXPECT_EQ(0, ASK(SMALL_TO_SYSTEM, self->map, N));
	EXPECT_EQ(N - 16, last.moved);
	EXPECT_TRUE(pattern_is(self->map, 8, SEED));
}

/* A huge page on the device as one folio; false if the kernel gives none. */
static bool take_huge(int fd, char *huge)
{
	int rc = small_ask(fd, SMALL_TO_DEVICE, huge, HUGE_PAGES, NULL);

	if (rc || last.moved != HUGE_PAGES)
		fatal("a huge page stays: %d, %llu pages have moved", rc,
		      last.moved);
	return on_device(fd, huge) && last.order == HUGE_ORDER;
}

TEST_F(small_driver, huge_page_migrates_as_one)
{
	if (!take_huge(self->fd, self->huge))
		SKIP(return, NO_HUGE_PAGE);
	EXPECT_TRUE(small_reads(self->fd, self->huge, HUGE_PAGES, OTHER));
	EXPECT_EQ(0, ASK(SMALL_TO_SYSTEM, self->huge, HUGE_PAGES));
	EXPECT_EQ(HUGE_PAGES, last.moved);
	EXPECT_TRUE(pattern_is(self->huge, HUGE_PAGES, OTHER));
}

/* vmf->page is the first page of the folio, not that of the address. */
TEST_F(small_driver, cpu_fault_in_the_middle_of_a_huge_page)
{
	char *page = self->huge + 300 * PAGE_BYTES;

	if (!take_huge(self->fd, self->huge))
		SKIP(return, NO_HUGE_PAGE);
	EXPECT_TRUE(pattern_is(page, 1, OTHER + 300));
	EXPECT_TRUE(in_use_is(self->fd, 0));
	EXPECT_TRUE(pattern_is(self->huge, HUGE_PAGES, OTHER));
}

TEST_F(small_driver, cpu_fault_on_an_unaligned_folio)
{
	char *area = map_anon(3 * HUGE_BYTES);
	char *to = area + HUGE_BYTES - 5 * PAGE_BYTES;
	size_t at[] = { 300, 2, HUGE_PAGES - 1 };
	unsigned int i;

	for (i = 0; i < sizeof(at) / sizeof(*at); i++) {
		if (!take_huge(self->fd, self->huge))
			SKIP(return, NO_HUGE_PAGE);
		ASSERT_EQ(to, mremap(self->huge, HUGE_BYTES, HUGE_BYTES,
				     MREMAP_MAYMOVE | MREMAP_FIXED, to));
		EXPECT_TRUE(pattern_is(to + at[i] * PAGE_BYTES, 1,
				       OTHER + at[i]));
		EXPECT_TRUE(pattern_is(to, HUGE_PAGES, OTHER));
		EXPECT_TRUE(in_use_is(self->fd, 0));
		munmap(to, HUGE_BYTES);
		map_at(self->huge, HUGE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
		madvise(self->huge, HUGE_BYTES, MADV_HUGEPAGE);
		pattern_fill(self->huge, HUGE_PAGES, OTHER);
	}
	munmap(area, 3 * HUGE_BYTES);
}

TEST_F(small_driver, cpu_fault_on_a_part_of_a_folio)
{
	size_t gone = 100;
	char *rest = self->huge + gone * PAGE_BYTES;

	if (!take_huge(self->fd, self->huge))
		SKIP(return, NO_HUGE_PAGE);
	munmap(self->huge, gone * PAGE_BYTES);
	mprotect(rest + 50 * PAGE_BYTES, PAGE_BYTES, PROT_READ);
	EXPECT_TRUE(pattern_is(rest + 50 * PAGE_BYTES, 1, OTHER + gone + 50));
	EXPECT_TRUE(pattern_is(rest, HUGE_PAGES - gone, OTHER + gone));
}

TEST_F(small_driver, smaller_folios_take_the_place_of_a_huge_page)
{
	static const char * const orders[] = { "0", "1", "2", "4", "8" };
	struct setting setting;
	unsigned int i;

	for (i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		ASSERT_TRUE(setting_change(&setting, MAX_ORDER, orders[i]));
		EXPECT_EQ(0, ASK(SMALL_TO_DEVICE, self->huge, 2 * HUGE_PAGES));
		setting_restore(&setting);
		EXPECT_EQ(HUGE_PAGES, last.moved);
		EXPECT_EQ(HUGE_PAGES, last.filled);
		EXPECT_EQ(0, last.failed);
		EXPECT_TRUE(on_device(self->fd, self->huge));
		EXPECT_NE(HUGE_ORDER, last.order);
		EXPECT_TRUE(small_reads(self->fd, self->huge, HUGE_PAGES,
					OTHER));
		EXPECT_TRUE(pattern_is(self->huge, HUGE_PAGES, OTHER));
		EXPECT_TRUE(is_zero(self->huge + HUGE_BYTES, HUGE_PAGES));
		EXPECT_TRUE(in_use_is(self->fd, 0));
		madvise(self->huge, 2 * HUGE_BYTES, MADV_DONTNEED);
		pattern_fill(self->huge, HUGE_PAGES, OTHER);
	}
}

TEST_F(small_driver, full_device_takes_what_fits)
{
	size_t npages = 5000, i;
	char *map = map_anon_small(npages * PAGE_BYTES);

	pattern_fill(map, npages, SEED);
	EXPECT_EQ(0, ASK(SMALL_TO_DEVICE, map, npages));
	EXPECT_EQ(4096, last.moved);
	EXPECT_EQ(npages - 4096, last.failed);
	EXPECT_TRUE(small_reads(self->fd, map, npages, SEED));
	for (i = 0; i < npages; i += 7)
		EXPECT_TRUE(pattern_is(map + i * PAGE_BYTES, 1, SEED + i));
	EXPECT_TRUE(pattern_is(map, npages, SEED));
	munmap(map, npages * PAGE_BYTES);
}

/* A former tail of a folio that was freed still points at its head. */
TEST_F(small_driver, device_memory_is_used_again_in_other_folios)
{
	if (!take_huge(self->fd, self->huge))
		SKIP(return, NO_HUGE_PAGE);
	munmap(self->huge, HUGE_BYTES);
	EXPECT_TRUE(in_use_is(self->fd, 0));
	EXPECT_EQ(0, ASK(SMALL_TO_DEVICE, self->map, N));
	EXPECT_EQ(N, last.moved);
	EXPECT_TRUE(small_reads(self->fd, self->map, N, SEED));
	/* Leave the one that is where the folio's head was. */
	EXPECT_TRUE(pattern_is(self->map + PAGE_BYTES, N - 1, SEED + 1));
	EXPECT_TRUE(in_use_is(self->fd, 1));
	EXPECT_EQ(0, ASK(SMALL_EVICT, self->map, 1));
	EXPECT_EQ(1, last.moved);
	EXPECT_EQ(0, last.failed);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_F(small_driver, eviction)
{
	EXPECT_EQ(0, ASK(SMALL_TO_DEVICE, self->map, N));
	EXPECT_EQ(0, ASK(SMALL_TO_DEVICE, self->huge, HUGE_PAGES));
	EXPECT_EQ(0, ASK(SMALL_EVICT, self->map, 1));
	EXPECT_EQ(N + HUGE_PAGES, last.moved);
	EXPECT_EQ(0, last.failed);
	EXPECT_TRUE(in_use_is(self->fd, 0));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_TRUE(pattern_is(self->huge, HUGE_PAGES, OTHER));
}

/* Holes */

TEST_F(small_driver, holes_are_filled_on_the_way_to_the_device)
{
	madvise(self->map, N * PAGE_BYTES, MADV_DONTNEED);
	EXPECT_EQ(0, ASK(SMALL_TO_DEVICE, self->map, N));
	EXPECT_EQ(0, last.moved);
	EXPECT_EQ(N, last.filled);
	EXPECT_EQ(0, small_writes(self->fd, self->map, 1, OTHER));
	EXPECT_TRUE(pattern_is(self->map, 1, OTHER));
	EXPECT_TRUE(is_zero(self->map + PAGE_BYTES, N - 1));
}

TEST_F(small_driver, holes_are_not_filled_on_the_way_back)
{
	size_t i;

	EXPECT_EQ(0, ASK(SMALL_TO_DEVICE, self->map, N));
	for (i = 0; i < N; i += 2)
		madvise(self->map + i * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED);
	EXPECT_EQ(0, ASK(SMALL_TO_SYSTEM, self->map, N));
	EXPECT_EQ(N / 2, last.moved);
	EXPECT_EQ(0, last.filled);
	EXPECT_EQ(N / 2, present_pages(self->map, N));
}

TEST_F(small_driver, cpu_fault_fills_no_hole)
{
	size_t hole = HUGE_PAGES / 2;

	if (!take_huge(self->fd, self->huge))
		SKIP(return, NO_HUGE_PAGE);
	madvise(self->huge, hole * PAGE_BYTES, MADV_DONTNEED);
	EXPECT_TRUE(pattern_is(self->huge + hole * PAGE_BYTES, HUGE_PAGES - hole,
			       OTHER + hole));
	EXPECT_EQ(0, present_pages(self->huge, hole));
}

TEST_F(small_driver, hole_becomes_no_huge_page_that_is_unwanted)
{
	char *hole = self->huge + HUGE_BYTES;

	madvise(hole, HUGE_BYTES, MADV_NOHUGEPAGE);
	EXPECT_EQ(0, ASK(SMALL_TO_DEVICE, hole, HUGE_PAGES));
	EXPECT_EQ(HUGE_PAGES, last.filled);
	EXPECT_TRUE(on_device(self->fd, hole));
	EXPECT_EQ(0, last.order);
	EXPECT_TRUE(is_zero(hole, HUGE_PAGES));
	EXPECT_LE(huge_kib(hole), 0);
}

TEST_F(small_driver, hole_becomes_a_huge_page)
{
	char *hole = self->huge + HUGE_BYTES;

	if (!take_huge(self->fd, self->huge))
		SKIP(return, NO_HUGE_PAGE);
	EXPECT_EQ(0, ASK(SMALL_TO_DEVICE, hole, HUGE_PAGES));
	EXPECT_EQ(HUGE_PAGES, last.filled);
	EXPECT_TRUE(on_device(self->fd, hole));
	EXPECT_EQ(HUGE_ORDER, last.order);
}

/* Processes */

TEST_F(small_driver, forked_process_has_its_own_data)
{
	struct child child;

	EXPECT_EQ(0, ASK(SMALL_TO_DEVICE, self->map, N));
	EXPECT_EQ(0, ASK(SMALL_TO_DEVICE, self->huge, HUGE_PAGES));
	child_start(&child);
	EXPECT_EQ(0, small_writes(self->fd, self->map, N, OTHER));
	EXPECT_EQ(0, small_writes(self->fd, self->huge, HUGE_PAGES, SEED));
	EXPECT_EQ(1, child_do(&child, work_check, self->map, N, SEED));
	EXPECT_EQ(1, child_do(&child, work_check, self->huge, HUGE_PAGES,
			      OTHER));
	child_do(&child, work_fill, self->map, N, 1);
	EXPECT_TRUE(small_reads(self->fd, self->map, N, OTHER));
	EXPECT_TRUE(small_reads(self->fd, self->huge, HUGE_PAGES, SEED));
	EXPECT_TRUE(pattern_is(self->map, N, OTHER));
	child_stop(&child);
}

/* Concurrency */

struct mover {
	int fd;
	char *map;
	size_t npages;
	atomic_bool over;
};

static void *move_all_the_time(void *arg)
{
	static const unsigned long commands[] = {
		SMALL_TO_DEVICE, SMALL_PLACE, SMALL_TO_SYSTEM, SMALL_PLACE,
		SMALL_EVICT,
	};
	struct mover *mover = arg;
	unsigned int i;

	for (i = 0; !mover->over; i++)
		small_ask(mover->fd,
			  commands[i % (sizeof(commands) / sizeof(*commands))],
			  mover->map, mover->npages, NULL);
	return NULL;
}

/*
 * A fault of the device that has walked before the driver's own migration must
 * not program the device after it: its writes would be lost.
 */
TEST_F_TIMEOUT(small_driver, device_writes_during_migration, TIMEOUT)
{
	struct mover mover = { self->fd, self->map, N };
	unsigned long end = now_ms() + run_ms();
	pthread_t thread;
	__u64 seed;

	ASSERT_EQ(0, pthread_create(&thread, NULL, move_all_the_time, &mover));
	for (seed = SEED; now_ms() < end; seed += N) {
		int rc = small_writes(self->fd, self->map, N, seed);

		if (rc == -EBUSY)
			continue;
		ASSERT_EQ(0, rc);
		ASSERT_TRUE(seed % (2 * N) ?
			    pattern_is(self->map, N, seed) :
			    small_reads(self->fd, self->map, N, seed));
	}
	mover.over = true;
	pthread_join(thread, NULL);
}

/* CPU faults under the VMA lock, while mmap_lock is held for writing often */
TEST_F_TIMEOUT(small_driver, cpu_faults_during_other_mappings, TIMEOUT)
{
	struct mover mover = { self->fd, self->map, N };
	unsigned long end = now_ms() + run_ms();
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, move_all_the_time, &mover));
	while (now_ms() < end) {
		munmap(map_anon(HUGE_BYTES), HUGE_BYTES);
		ASSERT_TRUE(pattern_is(self->map, N, SEED));
	}
	mover.over = true;
	pthread_join(thread, NULL);
}

/* A driver whose CPU fault is under the VMA lock must say so. */
TEST_F(small_driver, migration_without_a_lock_is_refused)
{
	if (!from_environment("HMM_WARNINGS", 0))
		SKIP(return, "the kernel warns: only with HMM_WARNINGS=1");
	EXPECT_EQ(-EINVAL, ASK(SMALL_UNLOCKED, self->map, 1));
}

static unsigned long word_of(char *map, size_t i)
{
	return __atomic_load_n((unsigned long *)(map + i * PAGE_BYTES),
			       __ATOMIC_SEQ_CST);
}

static void word_set(char *map, size_t i, unsigned long value)
{
	__atomic_store_n((unsigned long *)(map + i * PAGE_BYTES), value,
			 __ATOMIC_SEQ_CST);
}

/* The first word of each page says how often the page was replaced. */
static void *replace_all_the_time(void *arg)
{
	struct mover *mover = arg;
	unsigned long round, i;

	for (round = 1; !mover->over; round++) {
		for (i = 0; i < mover->npages; i++) {
			char *page = mover->map + i * PAGE_BYTES;

			if (!(round % 8))
				madvise(page, PAGE_BYTES, MADV_DONTNEED);
			word_set(page, 0, round);
		}
	}
	return NULL;
}

/* What the device reads is not older than what the CPU has read before. */
TEST_F_TIMEOUT(small_driver, invalidations_during_resizes, TIMEOUT)
{
	struct mover mover = { self->fd, self->map, N };
	unsigned long end = now_ms() + run_ms(), *data, before, i;
	unsigned int round, outside = 0, inside = 0;
	pthread_t thread;
	int rc;

	for (i = 0; i < N; i++)
		word_set(self->map, i, 0);
	data = buffer_of(PAGE_BYTES);
	ASSERT_EQ(0, pthread_create(&thread, NULL, replace_all_the_time,
				    &mover));
	/* However slow the machine is: all three ranges */
	for (round = 0; round < 3 || now_ms() < end; round++) {
		unsigned long first = round % 3 ? round % (N / 2) : 0;
		unsigned long nr = round % 3 ? N / 2 : N;

		ASSERT_EQ(0, ASK(SMALL_RESIZE, self->map + first * PAGE_BYTES,
				 nr));
		for (i = 0; i < N; i++) {
			before = word_of(self->map, i);
			rc = small_ask(self->fd, SMALL_READ,
				       self->map + i * PAGE_BYTES, 1, data);
			if (i < first || i >= first + nr) {
				EXPECT_EQ(-ERANGE, rc);
				outside++;
				continue;
			}
			if (rc == -EBUSY)
				continue;
			ASSERT_EQ(0, rc);
			inside++;
			/* 0: between the madvise() and the write */
			if (*data)
				ASSERT_LE(before, *data);
		}
	}
	mover.over = true;
	pthread_join(thread, NULL);
	EXPECT_LT(0, outside);
	EXPECT_LT(0, inside);
	free(data);
}

TEST_F(small_driver, resize_confines_the_device)
{
	EXPECT_TRUE(small_reads(self->fd, self->map, N, SEED));
	EXPECT_EQ(0, ASK(SMALL_RESIZE, self->map, N / 2));
	EXPECT_TRUE(small_reads(self->fd, self->map, N / 2, SEED));
	EXPECT_EQ(-ERANGE, small_writes(self->fd,
					self->map + N / 2 * PAGE_BYTES, 1, 1));
	EXPECT_EQ(-ERANGE, ASK(SMALL_ADD, self->map + (N / 2 - 1) * PAGE_BYTES,
			       2));
	/* Nothing in common with the range before */
	EXPECT_EQ(0, ASK(SMALL_RESIZE, self->map + N / 2 * PAGE_BYTES, N / 2));
	EXPECT_TRUE(small_reads(self->fd, self->map + N / 2 * PAGE_BYTES, N / 2,
				SEED + N / 2));
	EXPECT_EQ(-ERANGE, small_writes(self->fd, self->map, 1, 1));
	EXPECT_EQ(0, ASK(SMALL_RESIZE, self->map, N));
	madvise(self->map, PAGE_BYTES, MADV_DONTNEED);
	EXPECT_TRUE(small_reads(self->fd, self->map + PAGE_BYTES, N - 1,
				SEED + 1));
}

TEST_F(small_driver, resize_to_the_end_of_the_address_space)
{
	char *page = self->map + PAGE_BYTES;

	EXPECT_EQ(0, ASK(SMALL_RESIZE, page, 0));
	EXPECT_TRUE(small_reads(self->fd, page, N - 1, SEED + 1));
	EXPECT_EQ(-ERANGE, small_writes(self->fd, self->map, 1, 1));
	/* All of it would be one byte too much. Nothing has changed. */
	EXPECT_EQ(-EOVERFLOW, ASK(SMALL_RESIZE, NULL, 0));
	EXPECT_TRUE(small_reads(self->fd, page, N - 1, SEED + 1));
	EXPECT_EQ(-ERANGE, small_writes(self->fd, self->map, 1, 1));
	/* The old range is the one to the end. */
	EXPECT_EQ(0, ASK(SMALL_RESIZE, self->map, N));
	EXPECT_TRUE(small_reads(self->fd, self->map, N, SEED));
}

/* Exclusive access */

static void *add_all_the_time(void *arg)
{
	struct mover *mover = arg;
	unsigned long added = 0, i;

	for (; !mover->over; added++)
		for (i = 0; i < mover->npages; i++)
			__atomic_fetch_add((unsigned long *)(mover->map +
							     i * PAGE_BYTES),
					   1, __ATOMIC_SEQ_CST);
	return (void *)added;
}

TEST_F_TIMEOUT(small_driver, exclusive_additions_are_exact, TIMEOUT)
{
	struct mover mover = { self->fd, self->map, 8 };
	unsigned long end = now_ms() + run_ms(), added = 0, i;
	pthread_t thread;
	void *by_cpu;

	for (i = 0; i < N; i++)
		word_set(self->map, i, 0);
	ASSERT_EQ(0, ASK(SMALL_TO_DEVICE, self->map, N));
	ASSERT_EQ(0, pthread_create(&thread, NULL, add_all_the_time, &mover));
	for (; now_ms() < end; added++)
		ASSERT_EQ(0, ASK(SMALL_ADD, self->map, N));
	mover.over = true;
	pthread_join(thread, &by_cpu);
	EXPECT_LT(0, added);
	for (i = 0; i < N; i++)
		EXPECT_EQ(added + (i < mover.npages ? (unsigned long)by_cpu : 0),
			  word_of(self->map, i));
}

TEST_F(small_driver, exclusive_access_to_a_huge_page)
{
	unsigned long first = word_of(self->huge, 0);
	unsigned long middle = word_of(self->huge, 300);

	EXPECT_EQ(0, ASK(SMALL_ADD, self->huge, HUGE_PAGES));
	EXPECT_EQ(0, ASK(SMALL_ADD, self->huge, HUGE_PAGES));
	EXPECT_EQ(first + 2, word_of(self->huge, 0));
	EXPECT_EQ(middle + 2, word_of(self->huge, 300));
	EXPECT_EQ(-EINVAL, ASK(SMALL_ADD, self->huge, 0));
}

/* Timeouts */

TEST_F(small_driver, all_attempts_have_one_deadline)
{
	unsigned long start = now_ms(), took;

	EXPECT_EQ(-EBUSY, ASK_BRIEFLY(SMALL_STALL, self->map, 1));
	took = now_ms() - start;
	EXPECT_LE(150, took);
	EXPECT_GE(1500, took);
}

/* An invalidation of another page that stays in flight until it is ended */
struct obstacle {
	int watch;
	char *page;
	struct dropper dropper;
};

static bool obstacle_prepare(struct obstacle *obstacle)
{
	obstacle->watch = sub_open();
	if (obstacle->watch < 0)
		return false;
	obstacle->page = map_anon_small(PAGE_BYTES);
	/* Its callbacks come after those of intervals, such as the device's. */
	subscribe(obstacle->watch, HMM_NOTIFY_LIST, obstacle->page, PAGE_BYTES);
	return true;
}

static void obstacle_start(struct obstacle *obstacle)
{
	dropper_start(&obstacle->dropper, obstacle->page, obstacle->watch,
		      HMM_NOTIFY_HOLD_START);
}

/* False if it has ended before */
static bool obstacle_end(struct obstacle *obstacle)
{
	bool stays = sub_state(obstacle->watch).running;

	dropper_end(&obstacle->dropper);
	munmap(obstacle->page, PAGE_BYTES);
	close(obstacle->watch);
	return stays;
}

TEST_F(small_driver, exclusive_access_does_not_wait_beyond_its_deadline)
{
	unsigned long word = word_of(self->map, 0), took;
	struct obstacle obstacle;

	if (!obstacle_prepare(&obstacle))
		SKIP(return, "no hmm_probe");
	obstacle_start(&obstacle);
	took = now_ms();
	EXPECT_EQ(-EBUSY, ASK_BRIEFLY(SMALL_ADD, self->map, N));
	took = now_ms() - took;
	EXPECT_TRUE(obstacle_end(&obstacle));
	EXPECT_LE(SHORT_MS / 2, took);
	EXPECT_EQ(word, word_of(self->map, 0));
	EXPECT_EQ(0, ASK(SMALL_ADD, self->map, N));
	EXPECT_EQ(word + 1, word_of(self->map, 0));
}

/* What the driver refuses is refused, and not tried again. */
TEST_F(small_driver, exclusive_access_by_a_busy_device)
{
	EXPECT_EQ(-EBUSY, ASK_BRIEFLY(SMALL_BUSY, self->map, 1));
	EXPECT_EQ(1, last.moved);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_EQ(0, ASK(SMALL_ADD, self->map, N));
}

static long work_add(char *map, size_t npages, __u64 fd)
{
	return small_ask_within(fd, SMALL_ADD, map, npages, NULL, UINT_MAX / 2);
}

/* The call is made by another process than the one whose memory it is about. */
TEST_F(small_driver, exclusive_access_is_killed_while_it_waits)
{
	unsigned long word = word_of(self->map, 0);
	struct obstacle obstacle;
	struct child child;

	if (!obstacle_prepare(&obstacle))
		SKIP(return, "no hmm_probe");
	child_start(&child);
	obstacle_start(&obstacle);
	child_tell(&child, work_add, self->map, N, self->fd);
	EXPECT_EQ(-1, wait_for_child(child.pid, 1));
	kill(child.pid, SIGKILL);
	EXPECT_EQ(SIGKILL, wait_for_child(child.pid, KILL_SECONDS));
	EXPECT_TRUE(obstacle_end(&obstacle));
	EXPECT_EQ(word, word_of(self->map, 0));
}

TEST_HARNESS_MAIN
