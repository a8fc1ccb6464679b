// SPDX-License-Identifier: GPL-2.0
/*
 * A device fault with placement while something is in its way: an invalidation
 * that does not end, competitors that win races, a fault that another thread of
 * the process must handle, memory that runs out.
 *
 * Nothing here depends on what is faster. The dummy device stands still between
 * two steps of the call until the test has done what the call must notice.
 *
 * The tests of place_allocations need fault injection (CONFIG=debug).
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"
#include "lib/folios.h"
#include "lib/inject.h"
#include "lib/move.h"
#include "lib/notify.h"
#include "lib/place.h"

#define N		16UL
#define BYTES		(N * PAGE_BYTES)
#define SEED		0x1000UL
#define ONE		5	/* the page that something happens to */
#define TRIES		4	/* races that are lost before competitors must wait */
#define SHORT_MS	200
#define KILL_SECONDS	10	/* less than an invalidation is held */

#define MAX_NTH		3000	/* more allocations than any call makes */

#define WRITE		HMM_DMIRROR_PLACE_WRITE

/* A call in a thread of its own */
struct placing {
	struct worker worker;
	struct placed_range *got;
	int fd;
	char *map;
	size_t npages;
	unsigned int timeout;
};

FIXTURE(place_failure)
{
	int fd;
	int watch;	/* a subscription to @elsewhere */
	char *map;	/* N small pages, not touched */
	char *elsewhere;
	__u64 in_use;
	struct placing placing;
};

FIXTURE_SETUP(place_failure)
{
	const char *reason;

	self->fd = device_open(0, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	if (!knows_placement(self->fd))
		SKIP(return, "the device does not place memory");
	self->watch = sub_open();
	if (self->watch < 0)
		SKIP(return, "no hmm_probe");
	self->map = map_anon_small(BYTES);
	self->elsewhere = map_anon_small(PAGE_BYTES);
	/* Its callbacks come after those of intervals, such as the device's. */
	subscribe(self->watch, HMM_NOTIFY_LIST, self->elsewhere, PAGE_BYTES);
	self->in_use = device_counters(self->fd).in_use;
	self->placing = (struct placing){
		.got = calloc(1, sizeof(*self->placing.got)),
		.fd = self->fd,
		.map = self->map,
		.npages = N,
	};
	ASSERT_NE(NULL, self->placing.got);
}

FIXTURE_TEARDOWN(place_failure)
{
	munmap(self->map, BYTES);
	munmap(self->elsewhere, PAGE_BYTES);
	EXPECT_TRUE(device_in_use_is(self->fd, self->in_use));
	free(self->placing.got);
	close(self->watch);
	close(self->fd);
}

static void placing_run(void *arg)
{
	struct placing *placing = arg;
	struct placed_range *got = placing->got;

	memset(got, 0, sizeof(*got));
	got->place.flags = WRITE;
	got->place.timeout = placing->timeout;
	place_with(placing->fd, placing->map, placing->npages, got);
}

static void hold_at(int fd, __u64 steps)
{
	if (ioctl(fd, HMM_DMIRROR_HOLD, &steps))
		fatal("HMM_DMIRROR_HOLD: %s", strerror(errno));
}

static void await_hold(int fd)
{
	if (ioctl(fd, HMM_DMIRROR_AWAIT_HOLD))
		fatal("HMM_DMIRROR_AWAIT_HOLD: %s", strerror(errno));
}

static void go_on(int fd)
{
	if (ioctl(fd, HMM_DMIRROR_GO_ON))
		fatal("HMM_DMIRROR_GO_ON: %s", strerror(errno));
}

/* Returns when the call stands still. */
static void placing_start(struct placing *placing, __u64 steps)
{
	hold_at(placing->fd, steps);
	worker_start(&placing->worker, placing_run, placing);
	await_hold(placing->fd);
}

/* To where it stands still again */
static void placing_next(struct placing *placing)
{
	go_on(placing->fd);
	await_hold(placing->fd);
}

/* To its end */
static struct placed_range *placing_end(struct placing *placing)
{
	hold_at(placing->fd, 0);
	go_on(placing->fd);
	worker_join(&placing->worker);
	return placing->got;
}

/* The device may write to all pages, and has those of them that @got says. */
#define EXPECT_DONE(got)						\
	do {								\
		EXPECT_EQ(0, (got)->answer.rc);				\
		EXPECT_EQ(N, (got)->answer.cpages);			\
		EXPECT_EQ(N, on_device(got, N, HMM_DMIRROR_PROT_WRITE));	\
		EXPECT_EQ(0, device_faults(self->fd, self->map, N));	\
	} while (0)

static unsigned long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000UL + now.tv_nsec / 1000000;
}

/* Deadlines */

TEST_F(place_failure, invalidation_in_flight)
{
	struct placed_range *got = self->placing.got;
	struct dropper dropper;
	unsigned long took;

	pattern_fill(self->map, N / 2, SEED);
	dropper_start(&dropper, self->elsewhere, self->watch, HMM_NOTIFY_HOLD_START);
	took = now_ms();
	self->placing.timeout = SHORT_MS;
	placing_run(&self->placing);
	took = now_ms() - took;
	EXPECT_EQ(1, sub_state(self->watch).running);
	dropper_end(&dropper);

	EXPECT_EQ(-EBUSY, got->answer.rc);
	EXPECT_LE(SHORT_MS / 2, took);
	EXPECT_EQ(0, got->answer.cpages);
	EXPECT_EQ(0, got->place.moved);
	EXPECT_EQ(0, got->place.reserved);
	EXPECT_EQ(0, got->place.copies);
	EXPECT_EQ(N / 2, present_pages(self->map, N));
	EXPECT_EQ(self->in_use, device_counters(self->fd).in_use);
	EXPECT_TRUE(pattern_is(self->map, N / 2, SEED));

	EXPECT_EQ(0, place(self->fd, self->map, N, WRITE, got));
	EXPECT_DONE(got);
	EXPECT_TRUE(pattern_is(self->map, N / 2, SEED));
}

static long work_place(char *map, size_t npages, __u64 fd)
{
	static struct placed_range got;

	return place(fd, map, npages, WRITE, &got);
}

/* The call is made by another process than the one whose memory it is about. */
TEST_F(place_failure, killed_while_it_waits)
{
	struct dropper dropper;
	struct child child;

	pattern_fill(self->map, N, SEED);
	child_start(&child);
	dropper_start(&dropper, self->elsewhere, self->watch, HMM_NOTIFY_HOLD_START);
	child_tell(&child, work_place, self->map, N, self->fd);
	EXPECT_EQ(-1, wait_for_child(child.pid, 1));
	kill(child.pid, SIGKILL);
	EXPECT_EQ(SIGKILL, wait_for_child(child.pid, KILL_SECONDS));
	EXPECT_EQ(1, sub_state(self->watch).running);
	dropper_end(&dropper);
	EXPECT_EQ(N, present_pages(self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* A race that is lost too late is the last one. What has moved is all there. */
TEST_F(place_failure, race_lost_after_the_deadline)
{
	struct placed_range *got;

	pattern_fill(self->map, N, SEED);
	self->placing.timeout = SHORT_MS;
	placing_start(&self->placing, HMM_DMIRROR_HOLD_LOCK);
	usleep(2 * SHORT_MS * 1000);
	drop(self->elsewhere, 1);
	got = placing_end(&self->placing);
	EXPECT_EQ(-EBUSY, got->answer.rc);
	EXPECT_EQ(0, got->answer.cpages);
	EXPECT_EQ(1, got->place.retries);
	EXPECT_EQ(N, got->place.moved);
	EXPECT_EQ(1, got->place.unreserved);
	EXPECT_EQ(N, device_count(self->fd, self->map, N, own_place(0)));

	EXPECT_EQ(0, place(self->fd, self->map, N, WRITE, got));
	EXPECT_EQ(0, got->place.moved);
	EXPECT_DONE(got);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_F(place_failure, success_after_the_deadline)
{
	struct placed_range *got;

	pattern_fill(self->map, N, SEED);
	self->placing.timeout = SHORT_MS;
	placing_start(&self->placing, HMM_DMIRROR_HOLD_LOCK);
	usleep(2 * SHORT_MS * 1000);
	got = placing_end(&self->placing);
	EXPECT_DONE(got);
	EXPECT_EQ(0, got->place.retries);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* Competitors */

/* Returns when the call stands still once more. */
static void lose_races(struct placing *placing, char *elsewhere, unsigned int n)
{
	placing_start(placing, HMM_DMIRROR_HOLD_LOCK);
	while (n--) {
		drop(elsewhere, 1);
		if (n)
			placing_next(placing);
	}
}

static void map_something(void *arg)
{
	munmap(map_anon_small(PAGE_BYTES), PAGE_BYTES);
}

/* What takes mmap_lock for writing has to wait until the device is programmed. */
TEST_F(place_failure, competitors_wait_in_the_end)
{
	struct placed_range *got;
	struct worker worker;

	pattern_fill(self->map, N, SEED);
	lose_races(&self->placing, self->elsewhere, TRIES);
	worker_start(&worker, map_something, NULL);
	EXPECT_FALSE(worker_is_stuck(&worker, LONG_MAX));
	worker_join(&worker);
	placing_next(&self->placing);
	worker_start(&worker, map_something, NULL);
	EXPECT_TRUE(worker_is_stuck(&worker, LONG_MAX));
	got = placing_end(&self->placing);
	worker_join(&worker);
	EXPECT_DONE(got);
	EXPECT_LE(TRIES, got->place.retries);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* The handler needs mmap_lock, which competitors are to wait for. */
static void map_and_fill(struct uffd *uffd, char *page, bool write)
{
	map_something(NULL);
	uffd_fill(uffd, page, 7);
	(*(unsigned int *)uffd->arg)++;
}

TEST_F(place_failure, userfaultfd_while_competitors_wait)
{
	unsigned int faults = 0;
	struct uffd uffd = { .on_fault = map_and_fill, .arg = &faults };
	char *one = self->map + ONE * PAGE_BYTES;
	struct placed_range *got;

	pattern_fill(self->map, N, SEED);
	if (uffd_open(&uffd, 0) ||
	    uffd_watch(&uffd, self->map, BYTES, UFFDIO_REGISTER_MODE_MISSING))
		SKIP(return, "no userfaultfd");
	uffd_start(&uffd);
	lose_races(&self->placing, self->elsewhere, TRIES);
	drop(one, 1);
	EXPECT_EQ(0, faults);
	got = placing_end(&self->placing);
	EXPECT_DONE(got);
	EXPECT_EQ(1, faults);
	EXPECT_LE(TRIES, got->place.retries);
	uffd_stop(&uffd);
	EXPECT_TRUE(pattern_is(self->map, ONE, SEED));
	EXPECT_EQ(7, *one);
	EXPECT_TRUE(pattern_is(one + PAGE_BYTES, N - ONE - 1, SEED + ONE + 1));
}

/* Holes that the CPU fills before the device's memory can */

static void expect_filled(struct __test_metadata *_metadata,
			  struct _test_data_place_failure *self)
{
	char *one = self->map + ONE * PAGE_BYTES;
	struct placed_range *got;

	placing_start(&self->placing, HMM_DMIRROR_HOLD_COPY);
	pattern_fill(one, 1, SEED);
	got = placing_end(&self->placing);
	EXPECT_DONE(got);
	EXPECT_EQ(N, got->place.moved);
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, ONE));
	EXPECT_TRUE(device_reads(self->fd, one, 1, SEED));
	EXPECT_TRUE(pattern_is(one, 1, SEED));
	EXPECT_TRUE(is_zero(one + PAGE_BYTES, N - ONE - 1));
}

TEST_F(place_failure, cpu_fills_a_hole_of_new_memory)
{
	expect_filled(_metadata, self);
}

TEST_F(place_failure, cpu_fills_a_hole_of_old_memory)
{
	write_pages(self->map, N, 1);
	drop(self->map, N);
	expect_filled(_metadata, self);
}

/* A read maps the zero page. */
TEST_F(place_failure, cpu_reads_a_hole)
{
	struct placed_range *got;

	placing_start(&self->placing, HMM_DMIRROR_HOLD_COPY);
	read_pages(self->map + ONE * PAGE_BYTES, 1);
	got = placing_end(&self->placing);
	EXPECT_DONE(got);
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, N));
	EXPECT_EQ(0, device_writes(self->fd, self->map, N, SEED));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* No page has moved when that is noticed, but what is there then can. */
TEST_F(place_failure, cpu_fills_a_huge_hole)
{
	char *huge = device_map_thp(self->fd, HUGE_BYTES);
	struct placed_range *got;

	if (!huge)
		SKIP(return, "no huge pages");
	drop(huge, HUGE_PAGES);
	self->placing.map = huge;
	self->placing.npages = HUGE_PAGES;
	placing_start(&self->placing, HMM_DMIRROR_HOLD_COPY);
	pattern_fill(huge, HUGE_PAGES, SEED);
	got = placing_end(&self->placing);
	EXPECT_EQ(0, got->answer.rc);
	EXPECT_EQ(HUGE_PAGES, got->answer.cpages);
	EXPECT_EQ(HUGE_PAGES, got->place.moved);
	EXPECT_EQ(0, device_faults(self->fd, huge, HUGE_PAGES));
	EXPECT_TRUE(device_reads(self->fd, huge, HUGE_PAGES, SEED));
	EXPECT_EQ(0, device_writes(self->fd, huge, HUGE_PAGES, SEED + 1));
	EXPECT_TRUE(pattern_is(huge, HUGE_PAGES, SEED + 1));
	munmap(huge, HUGE_BYTES);
}

/*
 * Memory runs out: the first allocation of the call fails, then its second, and so
 * on until all succeed. Each page of the range has the data of its number, or is
 * a hole, wherever it is after that.
 */

FIXTURE(place_allocations)
{
	int fd;
	int other;
	__u64 in_use;
	struct swap swap;
	struct placed_range *got;
};

FIXTURE_VARIANT(place_allocations)
{
	size_t npages;
	bool huge;		/* huge pages */
	bool filled;
	bool swapped;
	bool mixed;		/* pages in turn: filled, swapped, on a device, a hole */
	bool by_page;		/* every second page is requested */
};

FIXTURE_VARIANT_ADD(place_allocations, holes) { .npages = N };
FIXTURE_VARIANT_ADD(place_allocations, huge_hole) { .npages = HUGE_PAGES, .huge = true };
FIXTURE_VARIANT_ADD(place_allocations, pages) { .npages = N, .filled = true };

FIXTURE_VARIANT_ADD(place_allocations, huge_page) {
	.npages = HUGE_PAGES, .huge = true, .filled = true,
};

FIXTURE_VARIANT_ADD(place_allocations, part_of_a_huge_page) {
	.npages = N, .huge = true, .filled = true,
};

FIXTURE_VARIANT_ADD(place_allocations, swapped_out) {
	.npages = N, .filled = true, .swapped = true,
};

FIXTURE_VARIANT_ADD(place_allocations, mixed) { .npages = N, .filled = true, .mixed = true };

FIXTURE_VARIANT_ADD(place_allocations, requests_by_page) {
	.npages = N, .filled = true, .by_page = true,
};

FIXTURE_SETUP(place_allocations)
{
	const char *reason;

	self->swap.disk = -1;
	self->fd = device_open(0, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	self->other = device_open(1, &reason);
	if (self->other < 0)
		SKIP(return, "%s", reason);
	if (!knows_placement(self->fd))
		SKIP(return, "the device does not place memory");
	if (!injection_start())
		SKIP(return, "no fault injection in this kernel");
	if ((variant->swapped || variant->mixed) && !swap_start(&self->swap, 4 * BYTES))
		SKIP(return, "no swap");
	self->in_use = device_counters(self->fd).in_use;
	self->got = calloc(1, sizeof(*self->got));
	ASSERT_NE(NULL, self->got);
}

FIXTURE_TEARDOWN(place_allocations)
{
	injection_stop();
	swap_stop(&self->swap);
	free(self->got);
	close(self->other);
	close(self->fd);
}

static bool is_hole(const struct _fixture_variant_place_allocations *variant, size_t i)
{
	return !variant->filled || (variant->mixed && i % 5 == 4);
}

/* NULL if the kernel gives no huge page */
static char *lay_out(const struct _test_data_place_allocations *self,
		     const struct _fixture_variant_place_allocations *variant)
{
	char *map = variant->huge ? device_map_thp(self->fd, HUGE_BYTES) :
				    map_anon_small(HUGE_BYTES);
	size_t i;

	if (!map)
		return NULL;
	if (variant->filled)
		pattern_fill(map, variant->huge ? HUGE_PAGES : N, SEED);
	else
		drop(map, HUGE_PAGES);
	for (i = 0; variant->mixed && i < N; i++) {
		char *page = map + i * PAGE_BYTES;

		if (i % 5 == 1 && !swap_out(page, 1))
			fatal("page %zu is not swapped out", i);
		if (i % 5 == 2 || i % 5 == 3)
			device_take(i % 5 == 2 ? self->fd : self->other, page, 1);
		if (i % 5 == 4)
			drop(page, 1);
	}
	if (variant->swapped && !swap_out(map, N))
		fatal("not all pages are swapped out");
	return map;
}

/* What the process finds */
static bool is_intact(char *map, const struct _fixture_variant_place_allocations *variant)
{
	size_t i;

	for (i = 0; i < variant->npages; i++) {
		char *page = map + i * PAGE_BYTES;

		if (is_hole(variant, i) ? !is_zero(page, 1) : !pattern_is(page, 1, SEED + i))
			return false;
	}
	return true;
}

static int place_failing(int fd, char *map, int nth, bool *failed, struct placed_range *got,
			 const struct _fixture_variant_place_allocations *variant)
{
	size_t i;
	int rc;

	memset(got, 0, sizeof(*got));
	got->place.flags = WRITE;
	for (i = 0; i < variant->npages; i++)
		got->skip[i] = i % 2;
	if (variant->by_page)
		got->place.skip = (uintptr_t)got->skip;
	fail_nth(nth);
	rc = place_with(fd, map, variant->npages, got);
	*failed = has_failed();
	fail_nth(0);
	return rc;
}

/* Pages that the device may write to, wherever they are */
static size_t usable(const struct placed_range *got, size_t npages)
{
	size_t i, n = 0;

	for (i = 0; i < npages; i++)
		n += !!(got->prot[i] & HMM_DMIRROR_PROT_WRITE);
	return n;
}

TEST_F_TIMEOUT(place_allocations, fail, 300)
{
	int nth, failures = 0;
	size_t asked = variant->npages / (variant->by_page ? 2 : 1);
	bool failed = true, ignored;

	for (nth = 1; failed && nth < MAX_NTH; nth++) {
		char *map = lay_out(self, variant);
		int rc;

		if (!map)
			SKIP(return, "no huge pages");
		rc = place_failing(self->fd, map, nth, &failed, self->got, variant);
		ASSERT_TRUE(!rc || (failed && rc == -ENOMEM)) {
			TH_LOG("allocation %d failing: %d", nth, rc);
		}
		failures += !!rc;
		ASSERT_TRUE(rc || asked <= usable(self->got, variant->npages)) {
			TH_LOG("allocation %d failing: not all are usable", nth);
		}
		/* A look brings pages back: from every second round */
		ASSERT_TRUE(nth % 2 || is_intact(map, variant)) {
			TH_LOG("allocation %d failing: %d", nth, rc);
		}
		ASSERT_EQ(0, place_failing(self->fd, map, 0, &ignored, self->got, variant));
		ASSERT_EQ(asked, on_device(self->got, variant->npages, HMM_DMIRROR_PROT_WRITE)) {
			TH_LOG("after allocation %d failing: %d", nth, rc);
		}
		ASSERT_TRUE(is_intact(map, variant));
		munmap(map, HUGE_BYTES);
		ASSERT_TRUE(device_in_use_is(self->fd, self->in_use));
	}
	TH_LOG("%d allocations, %d of which made the call fail", nth - 2, failures);
	EXPECT_FALSE(failed);
	EXPECT_LT(0, failures);
}

TEST_HARNESS_MAIN
