// SPDX-License-Identifier: GPL-2.0
/*
 * Races for exclusive access: every device and CPU makes progress, and fork() waits
 * instead of failing.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"
#include "lib/exclusive.h"

#define SEED		1UL
#define ADDITIONS	500
#define LEAST_TAKES	20
#define MOST_TAKES	100000

/*
 * All parties add to one word, without pauses, until each has added to it often
 * enough and each device has lost its page to the others often enough. A device
 * may not need more than MOST_TAKES attempts.
 */
struct party {
	int fd;		/* a device; -1 is the CPU */
	char *page;
	__u64 done;
	__u64 takes;
	int *waiting;	/* parties that do not have enough yet */
	const char *wrong;
	pthread_t thread;
};

static bool has_enough(struct party *me)
{
	return me->done >= ADDITIONS &&
	       (me->fd < 0 || me->takes >= LEAST_TAKES);
}

static void ask_device_to_add(struct party *me)
{
	struct hmm_dmirror_atomic add = {
		.value = 1,
		.rounds = 1,
		.stride = PAGE_BYTES,
		.take = 1,
		.tries = 100,
	};
	struct answer answer = device_ask(me->fd, HMM_DMIRROR_ATOMIC_ADD,
					  me->page, &add, 1);

	me->done += answer.cpages;
	me->takes += answer.faults;
	if (answer.rc && answer.rc != -EBUSY)
		me->wrong = strerror(-answer.rc);
	else if (me->takes > MOST_TAKES)
		me->wrong = "no progress";
}

static void *take_part(void *arg)
{
	struct party *me = arg;
	bool satisfied = false;

	while (__atomic_load_n(me->waiting, __ATOMIC_SEQ_CST) > 0 &&
	       !me->wrong) {
		if (me->fd >= 0) {
			ask_device_to_add(me);
		} else {
			__atomic_fetch_add((__u64 *)me->page, 1,
					   __ATOMIC_SEQ_CST);
			me->done++;
		}
		if (!satisfied && has_enough(me)) {
			satisfied = true;
			__atomic_fetch_sub(me->waiting, 1, __ATOMIC_SEQ_CST);
		}
	}
	/* A failed attempt must not block the others. */
	if (!satisfied)
		__atomic_store_n(me->waiting, 0, __ATOMIC_SEQ_CST);
	return NULL;
}

static void contend(struct __test_metadata *_metadata, struct party *parties,
		    unsigned int n, char *page)
{
	int waiting = n;
	unsigned int i;
	__u64 sum = 0;

	for (i = 0; i < n; i++) {
		parties[i].page = page;
		parties[i].waiting = &waiting;
		ASSERT_EQ(0, pthread_create(&parties[i].thread, NULL,
					    take_part, &parties[i]));
	}
	for (i = 0; i < n; i++) {
		pthread_join(parties[i].thread, NULL);
		TH_LOG("%s: %llu additions, %llu takes",
		       parties[i].fd < 0 ? "CPU" : "device", parties[i].done,
		       parties[i].takes);
		EXPECT_EQ(NULL, parties[i].wrong) {
			TH_LOG("%s", parties[i].wrong);
		}
		EXPECT_TRUE(has_enough(&parties[i]));
		sum += parties[i].done;
	}
	EXPECT_EQ(sum, *(__u64 *)page);
}

FIXTURE(exclusive_race)
{
	int fd;
	int other;
	char *map;
};

FIXTURE_VARIANT(exclusive_race)
{
	const char *folios;
};

FIXTURE_VARIANT_ADD(exclusive_race, small)
{
	.folios = NULL,
};

FIXTURE_VARIANT_ADD(exclusive_race, large)
{
	.folios = "64kB",
};

FIXTURE_VARIANT_ADD(exclusive_race, huge)
{
	.folios = "2048kB",
};

FIXTURE_SETUP(exclusive_race)
{
	self->fd = dmirror_open(0);
	self->other = dmirror_open(1);
	if (self->fd < 0 || self->other < 0)
		SKIP(return, "no dummy devices");
	if (!device_is_ours(self->fd))
		SKIP(return, "the stock dummy driver cannot add");
	if (variant->folios) {
		self->map = map_folios(variant->folios, HUGE_BYTES, SEED);
		if (!self->map)
			SKIP(return, "no folios of this size");
	} else {
		self->map = map_anon_small(HUGE_BYTES);
		pattern_fill(self->map, HUGE_PAGES, SEED);
	}
	*(__u64 *)self->map = 0;
}

FIXTURE_TEARDOWN(exclusive_race)
{
	close(self->fd);
	close(self->other);
}

TEST_F(exclusive_race, two_devices)
{
	struct party parties[] = {
		{ .fd = self->fd }, { .fd = self->other },
	};

	contend(_metadata, parties, ARRAY_SIZE(parties), self->map);
}

/* Files of one device compete for exclusive access as devices do. */
TEST_F(exclusive_race, two_files_of_a_device)
{
	struct party parties[] = {
		{ .fd = self->fd }, { .fd = dmirror_open(0) },
	};

	ASSERT_LE(0, parties[1].fd);
	contend(_metadata, parties, ARRAY_SIZE(parties), self->map);
	close(parties[1].fd);
}

TEST_F(exclusive_race, device_and_cpu)
{
	struct party parties[] = {
		{ .fd = self->fd }, { .fd = -1 },
	};

	contend(_metadata, parties, ARRAY_SIZE(parties), self->map);
}

TEST_F(exclusive_race, two_devices_and_two_cpus)
{
	struct party parties[] = {
		{ .fd = self->fd }, { .fd = -1 },
		{ .fd = self->other }, { .fd = -1 },
	};

	contend(_metadata, parties, ARRAY_SIZE(parties), self->map);
}

/*
 * fork() while an exclusive folio is locked: two VMAs map the folio, and fork()
 * copies the entries of the lower one while a thread restores those of the
 * upper one, page by page. That locks the folio each time.
 */

#define FORKS		40
#define LOWER_PAGES	(HUGE_PAGES / 2)
#define UPPER_PAGES	(HUGE_PAGES - LOWER_PAGES)

struct toucher {
	char *upper;
	size_t npages;
	bool go;
	bool right;
	pthread_t thread;
};

static void *touch(void *arg)
{
	struct toucher *toucher = arg;

	while (!__atomic_load_n(&toucher->go, __ATOMIC_ACQUIRE))
		;
	read_pages(toucher->upper, toucher->npages);
	return NULL;
}

FIXTURE(exclusive_fork)
{
	int fd;
};

FIXTURE_SETUP(exclusive_fork)
{
	self->fd = dmirror_open(0);
	if (self->fd < 0)
		SKIP(return, "no dummy devices");
}

FIXTURE_TEARDOWN(exclusive_fork)
{
	close(self->fd);
}

/* 0, the errno of fork(), or -EIO when the child sees wrong data */
static int fork_under_touch(char *map, struct toucher *toucher)
{
	int status, rc = 0;
	pid_t pid;

	fflush(stdout);
	toucher->go = false;
	if (pthread_create(&toucher->thread, NULL, touch, toucher))
		fatal("no thread");
	__atomic_store_n(&toucher->go, true, __ATOMIC_RELEASE);
	pid = fork();
	if (!pid)
		_exit(!pattern_is(map, HUGE_PAGES, SEED));
	if (pid < 0)
		rc = -errno;
	else if (waitpid(pid, &status, 0) != pid || status)
		rc = -EIO;
	pthread_join(toucher->thread, NULL);
	return rc;
}

TEST_F_TIMEOUT(exclusive_fork, never_fails, 120)
{
	struct toucher toucher = { .npages = UPPER_PAGES };
	int i, rc = 0;

	for (i = 0; i < FORKS && !rc; i++) {
		char *map = map_folios("2048kB", HUGE_BYTES, SEED);

		if (!map)
			SKIP(return, "no huge page");
		toucher.upper = map + LOWER_PAGES * PAGE_BYTES;
		/* This splits the VMA, and has no other effect here. */
		ASSERT_EQ(0, madvise(toucher.upper, UPPER_PAGES * PAGE_BYTES,
				     MADV_SEQUENTIAL));
		ASSERT_EQ(0, device_seize(self->fd, map, HUGE_PAGES));
		rc = fork_under_touch(map, &toucher);
		EXPECT_TRUE(pattern_is(map, HUGE_PAGES, SEED));
		munmap(map, HUGE_BYTES);
	}
	EXPECT_EQ(0, rc) {
		TH_LOG("fork %d: %s", i, strerror(-rc));
	}
}

TEST_HARNESS_MAIN
