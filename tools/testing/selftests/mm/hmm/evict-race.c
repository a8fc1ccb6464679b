// SPDX-License-Identifier: GPL-2.0
/*
 * A full device is emptied while threads fault its pages back, as fast as they
 * can: the eviction ends, with an empty device or with a report, and it ends
 * within the number of rounds that migrate_device_evict() promises. Rounds are
 * counted, and not seconds.
 *
 *	HMM_QUICK	1 takes 64 MiB, and not 1 GiB; 2 takes 16 MiB
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/move.h"

#define SEED		0x1000UL
#define THREADS		8
#define STEP		4096UL	/* pages in one call */
#define BATCH		512UL	/* pages in one round of an eviction */
#define WHOLE		(HMM_MOVE_COMPOUND | HMM_MOVE_FOLIOS)
#define TIMEOUT		600
#define MOST_ROUNDS	50

/*
 * From the kernel-doc of migrate_device_evict(): unless pages arrive, one that
 * a pass leaves behind was in use by a task at that time.
 */
#define IDLE_PASSES	11
#define MOST_PASSES	((THREADS + 1) * IDLE_PASSES)

FIXTURE(evict_race)
{
	int fd;
	char *map;	/* with a pattern */
	size_t npages;
};

FIXTURE_VARIANT(evict_race)
{
	const char *size;
	size_t pages;
	unsigned int rounds;
};

FIXTURE_VARIANT_ADD(evict_race, 4k)
{
	.size = "4kB",
	.pages = 1,
	.rounds = 1,
};

FIXTURE_VARIANT_ADD(evict_race, 64k)
{
	.size = "64kB",
	.pages = 16,
	.rounds = 2,
};

FIXTURE_VARIANT_ADD(evict_race, 2m)
{
	.size = "2048kB",
	.pages = 512,
	.rounds = 8,
};

/*
 * Is there memory for twice the range, and a bit more? What the device has
 * allocated counts as free: it is kept and reused.
 */
static bool has_memory(int fd, size_t bytes)
{
	size_t backed = move_served(fd).backed * PAGE_BYTES;
	struct sysinfo info;

	sysinfo(&info);
	return info.freeram + backed > 2 * bytes + bytes / 8;
}

static void move_all(int fd, char *map, size_t npages)
{
	size_t at;

	for (at = 0; at < npages; at += STEP)
		move_to_device(fd, map + at * PAGE_BYTES, STEP);
}

FIXTURE_SETUP(evict_race)
{
	static const size_t sizes[] = { 1UL << 30, 1UL << 26, 1UL << 24 };
	size_t bytes = sizes[how_brief()];

	self->fd = move_open();
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_probe_move");
	if (!has_memory(self->fd, bytes))
		SKIP(return, "needs memory for all of it, twice");
	self->npages = bytes / PAGE_BYTES;
	self->map = map_folios(variant->size, bytes, 1);
	if (!self->map)
		SKIP(return, "no folios of this size");
	move_serve(self->fd, variant->pages, WHOLE, 0);
	pattern_fill(self->map, self->npages, SEED);
}

FIXTURE_TEARDOWN(evict_race)
{
	munmap(self->map, self->npages * PAGE_BYTES);
	EXPECT_TRUE(move_in_use_is(self->fd, 0));
	EXPECT_EQ(0, move_served(self->fd).freed_locked);
	close(self->fd);
}

/* Threads that touch all of the pages, each in an order of its own */

struct toucher {
	struct worker worker;
	char *map;
	size_t npages;
	size_t stride;	/* odd: all pages are met */
	const int *phase;
	bool again;	/* moves some to the device on its way */
	int fd;
};

enum phase { WAIT, TOUCH, STOP };

static int phase_is(const int *phase)
{
	return __atomic_load_n(phase, __ATOMIC_SEQ_CST);
}

static void touch_all(void *arg)
{
	struct toucher *toucher = arg;
	size_t i, at = toucher->stride % toucher->npages;

	while (phase_is(toucher->phase) == WAIT)
		sched_yield();
	for (i = 0; phase_is(toucher->phase) != STOP; i++) {
		char *page = toucher->map + at * PAGE_BYTES;

		read_pages(page, 1);
		if (toucher->again && i % 16 == 0)
			move_to_device(toucher->fd, page, 1);
		at = (at + toucher->stride) % toucher->npages;
	}
}

/* Migrate everything to the device, then start the threads. */
static void touchers_start(struct toucher *touchers, int fd, char *map,
			   size_t npages, bool again, int *phase)
{
	unsigned int i;

	move_all(fd, map, npages);
	*phase = WAIT;
	for (i = 0; i < THREADS; i++) {
		touchers[i] = (struct toucher) {
			.map = map,
			.npages = npages,
			.stride = 2 * (i * 1237 + 513) + 1,
			.phase = phase,
			.again = again,
			.fd = fd,
		};
		worker_start(&touchers[i].worker, touch_all, &touchers[i]);
	}
	__atomic_store_n(phase, TOUCH, __ATOMIC_SEQ_CST);
}

static void touchers_stop(struct toucher *touchers, int *phase)
{
	unsigned int i;

	__atomic_store_n(phase, STOP, __ATOMIC_SEQ_CST);
	for (i = 0; i < THREADS; i++)
		worker_join(&touchers[i].worker);
}

static struct hmm_move eviction(int fd, __u64 timeout_ms)
{
	return (struct hmm_move) {
		.addr = move_served(fd).first_pfn,
		.npages = HMM_MOVE_DEVICE_PAGES,
		.flags = HMM_MOVE_BY_PFN | HMM_MOVE_EVICT,
		.order = HUGE_ORDER,
		.timeout_ms = timeout_ms,
	};
}

/* Break it by passes that leave out what was locked, and end with it. */
TEST_F_TIMEOUT(evict_race, ends_empty, TIMEOUT)
{
	size_t n = self->npages, moved = 0, supplies = 0;
	struct toucher touchers[THREADS];
	unsigned int round;
	int phase, rc;

	/* Repeat until the threads have left some pages for the eviction. */
	for (round = 0; round < variant->rounds ||
	     (!moved && round < MOST_ROUNDS); round++) {
		struct hmm_move move = eviction(self->fd, 0);

		touchers_start(touchers, self->fd, self->map, n, false, &phase);
		rc = move_try(self->fd, &move);
		touchers_stop(touchers, &phase);
		if (rc)
			SKIP(return, "7.3 has no eviction that goes on");
		EXPECT_EQ(0, move.rc);
		EXPECT_EQ(0, move.locked + move.referenced + move.unsupplied);
		EXPECT_GE(n, move.moved);
		EXPECT_GE(MOST_PASSES * (n / BATCH + 1), move.supplies);
		EXPECT_TRUE(move_in_use_is(self->fd, 0));
		ASSERT_TRUE(pattern_is(self->map, n, SEED));
		moved += move.moved;
		supplies += move.supplies;
	}
	EXPECT_LT(0, moved);
	TH_LOG("figure: %s: of %zu pages %zu evicted, in %zu rounds of %zu",
	       variant->size, round * n, moved, supplies, round * n / BATCH);
}

/* Others fill it as fast as it is emptied: then it ends in time, and says so. */
TEST_F_TIMEOUT(evict_race, ends_in_time, TIMEOUT)
{
	struct hmm_move move = eviction(self->fd, 200);
	struct toucher touchers[THREADS];
	int phase, rc;
	__u64 held;

	touchers_start(touchers, self->fd, self->map, self->npages, true,
		       &phase);
	rc = move_try(self->fd, &move);
	touchers_stop(touchers, &phase);
	if (rc)
		SKIP(return, "7.3 has no eviction that goes on");
	held = move.locked + move.referenced + move.unsupplied;
	EXPECT_TRUE(move.rc == -EBUSY || (!move.rc && !held));
	move = eviction(self->fd, 0);
	ASSERT_EQ(0, move_try(self->fd, &move));
	EXPECT_EQ(0, move.rc);
	EXPECT_TRUE(move_in_use_is(self->fd, 0));
	EXPECT_TRUE(pattern_is(self->map, self->npages, SEED));
}

/*
 * An eviction that does not end, since one page is held, and others come back
 * again and again: a fatal signal ends it.
 */

#define FEW	64

static __noreturn void evict_for_ever(void)
{
	int fd = move_open();
	struct hmm_move move = eviction(fd, 0);

	_exit(move_try(fd, &move) ? 1 : 0);
}

/*
 * Migrate the pages to the device again: true once some have left it again,
 * false if the eviction has ended.
 */
static bool refill(int fd, char *map, pid_t evictor, int *status)
{
	unsigned int polls;

	move_to_device(fd, map, FEW);
	for (polls = 0; polls < 10000; polls++) {
		if (waitpid(evictor, status, WNOHANG) == evictor)
			return false;
		if (move_served(fd).in_use < FEW)
			return true;
		sched_yield();
	}
	return true;
}

TEST_F_TIMEOUT(evict_race, ends_when_killed, TIMEOUT)
{
	int holder = move_open(), status = 0;
	unsigned int rounds;
	pid_t evictor;

	if (variant->pages > 1)
		SKIP(return, "the same with all sizes");
	move_to_device(self->fd, self->map, FEW);
	hold_page(holder, move_served(self->fd).first_pfn, false);
	evictor = fork_off();
	if (!evictor)
		evict_for_ever();
	for (rounds = 0; rounds < 1000; rounds++) {
		if (rounds == 5)
			kill(evictor, SIGKILL);
		if (!refill(self->fd, self->map, evictor, &status))
			break;
	}
	let_go(holder);
	close(holder);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
		SKIP(return, "7.3 has no eviction that goes on");
	EXPECT_LE(5, rounds);
	EXPECT_GT(1000, rounds);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_TRUE(pattern_is(self->map, FEW, SEED));
}

/*
 * As a driver of 7.3 has to do it: by range, again and again. It ends only
 * because the threads do; nothing reports which pages did not migrate.
 */
TEST_F_TIMEOUT(evict_race, by_range, TIMEOUT)
{
	__u64 first = move_served(self->fd).first_pfn;
	struct toucher touchers[THREADS];
	unsigned int passes = 0;
	int phase;

	touchers_start(touchers, self->fd, self->map, self->npages, false,
		       &phase);
	while (move_served(self->fd).in_use && passes++ < MOST_PASSES) {
		__u64 pfn;

		for (pfn = first; pfn < first + self->npages; pfn += STEP)
			move_pages_to(self->fd, (void *)pfn, STEP,
				      HMM_MOVE_BY_PFN, HUGE_ORDER);
	}
	touchers_stop(touchers, &phase);
	TH_LOG("figure: %s: by range in %u passes", variant->size, passes);
	EXPECT_TRUE(move_in_use_is(self->fd, 0));
	EXPECT_TRUE(pattern_is(self->map, self->npages, SEED));
}

TEST_HARNESS_MAIN
