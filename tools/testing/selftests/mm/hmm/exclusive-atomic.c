// SPDX-License-Identifier: GPL-2.0
/*
 * CPUs and a device add to the same words, and no addition is lost, whatever
 * else happens to the memory.
 *
 * The CPUs add atomically. The device reads a word and writes it some time
 * later, so that all that keeps the CPUs from adding in between is that the
 * device has the page for itself.
 *
 * Each kind of memory gets a minute in all; a few seconds with HMM_QUICK=1, and
 * as little as shows anything with HMM_QUICK=2.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"
#include "lib/exclusive.h"

#define WORDS		8
#define CPUS		2
#define DEVICES		2
#define OFFSET		1000UL	/* of the word in its page */
#define SEED		1UL

/*
 * How long each test lasts, and what it must have seen by then, at least; on a
 * slow kernel that is divided.
 */
#define QUICK_MS	300
#define LONG_MS		(60000 / 9)
#define LEAST_BY_CPU	200
#define LEAST_BY_DEVICE	40
#define LEAST_TAKES	20
#define LEAST_EVENTS	3
#define SLOW_PART	4
#define LIMIT_SECONDS	180	/* a kernel with checkers, beside another VM */
#define TIMEOUT		(2 * LIMIT_SECONDS)

#define GAP_US		20
#define IDLE_US		10000

/**
 * struct count - words that are added to
 * @map: all of the memory, with a pattern except for the words
 * @npages: its length
 * @stride: from one word to the next
 * @take: how many pages the device takes together
 * @saved: data of the pattern that the words replace
 * @by_cpu: what each CPU thread has added to each word
 * @by_device: what each device has
 * @part: divisor of the minimum counts that a run must reach
 * @takes: how often the devices had to take pages
 * @fd: the devices
 * @shared: the devices use pages without exclusive access
 * @idle: all additions but one in each @phase add 0: pages stay equal
 * @phase: a number that @disturb changes then
 * @behind: workers that have not added in this phase yet
 * @may_fault: the memory is not always writable
 * @disturb: called repeatedly, to disturb the additions; NULL for nothing
 * @events: how often it has happened
 * @arg: for @disturb
 * @stop: the end
 * @wrong: what should not have happened
 */
struct count {
	char *map;
	size_t npages;
	size_t stride;
	size_t take;
	__u64 saved[WORDS];
	__u64 by_cpu[CPUS][WORDS];
	__u64 by_device[DEVICES][WORDS];
	unsigned int part;
	__u64 takes;
	int fd[DEVICES];
	bool shared;
	bool idle;
	unsigned long phase;
	unsigned int behind;
	bool may_fault;
	void (*disturb)(struct count *count);
	unsigned long events;
	void *arg;
	bool stop;
	const char *wrong;
};

static __u64 *word_of(const struct count *count, unsigned int k)
{
	return (__u64 *)(count->map + OFFSET + k * count->stride);
}

static bool is_over(struct count *count)
{
	return __atomic_load_n(&count->stop, __ATOMIC_RELAXED);
}

/* The adders */

struct worker {
	struct count *count;
	unsigned int number;
	unsigned long phase;	/* the last one that it has added in */
	pthread_t thread;
};

/* What to add: 0 or 1 */
static __u64 summand(struct worker *me)
{
	return !me->count->idle ||
	       me->phase != __atomic_load_n(&me->count->phase,
					    __ATOMIC_SEQ_CST);
}

/* It is done. */
static void added(struct worker *me, __u64 value)
{
	if (!me->count->idle || !value)
		return;
	me->phase++;
	__atomic_fetch_sub(&me->count->behind, 1, __ATOMIC_SEQ_CST);
}

static void *work_of_cpu(void *arg)
{
	struct worker *me = arg;
	struct count *count = me->count;
	unsigned int k;

	while (!is_over(count)) {
		__u64 value = summand(me);

		for (k = 0; k < WORDS; k++) {
			__atomic_fetch_add(word_of(count, k), value,
					   __ATOMIC_SEQ_CST);
			__atomic_fetch_add(&count->by_cpu[me->number][k],
					   value, __ATOMIC_RELAXED);
		}
		added(me, value);
	}
	return NULL;
}

/* One command; it may end early and says how far it came. */
static void add_by_device(struct count *count, unsigned int number,
			  __u64 value, unsigned int gap)
{
	struct hmm_dmirror_atomic add = {
		.value = value,
		.rounds = count->idle ? 1 : 4,
		.offset = OFFSET,
		.stride = count->stride,
		.take = count->take,
		.tries = 50,
		.gap = gap,
		.flags = count->shared ? HMM_DMIRROR_ATOMIC_SHARED : 0,
	};
	struct answer answer;
	unsigned int k;

	answer = device_ask(count->fd[number], HMM_DMIRROR_ATOMIC_ADD,
			    count->map, &add, count->npages);
	for (k = 0; k < WORDS; k++) {
		__u64 times = answer.cpages / WORDS +
			      (k < answer.cpages % WORDS);

		__atomic_fetch_add(&count->by_device[number][k],
				   times * add.value, __ATOMIC_RELAXED);
	}
	__atomic_fetch_add(&count->takes, answer.faults, __ATOMIC_RELAXED);
	if (count->may_fault && (answer.rc == -EFAULT || answer.rc == -EPERM))
		return;
	if (answer.rc && answer.rc != -EBUSY)
		count->wrong = strerror(-answer.rc);
}

static void *work_of_device(void *arg)
{
	struct worker *me = arg;
	unsigned long turn;

	for (turn = 0; !is_over(me->count); turn++) {
		__u64 value = summand(me);

		add_by_device(me->count, me->number, value,
			      turn % 2 ? GAP_US : 0);
		added(me, value);
		/* KSM must find the pages mapped from time to time. */
		if (me->count->idle)
			usleep(IDLE_US);
	}
	return NULL;
}

static void *work_of_nature(void *arg)
{
	struct worker *me = arg;

	while (!is_over(me->count))
		me->count->disturb(me->count);
	return NULL;
}

/* Sums */

static __u64 total(__u64 sums[][WORDS], unsigned int n)
{
	__u64 all = 0;
	unsigned int i, k;

	for (i = 0; i < n; i++)
		for (k = 0; k < WORDS; k++)
			all += __atomic_load_n(&sums[i][k], __ATOMIC_RELAXED);
	return all;
}

static __u64 expected(struct count *count, unsigned int k)
{
	__u64 sum = 0;
	unsigned int i;

	for (i = 0; i < CPUS; i++)
		sum += count->by_cpu[i][k];
	for (i = 0; i < DEVICES; i++)
		sum += count->by_device[i][k];
	return sum;
}

/* Additions that are missing, or too many */
static __u64 lost(struct count *count)
{
	__u64 missing = 0;
	unsigned int k;

	for (k = 0; k < WORDS; k++) {
		__u64 is = *word_of(count, k), should = expected(count, k);

		missing += is < should ? should - is : is - should;
	}
	return missing;
}

static void words_clear(struct count *count)
{
	unsigned int k;

	for (k = 0; k < WORDS; k++) {
		count->saved[k] = *word_of(count, k);
		*word_of(count, k) = 0;
	}
}

/* Restore the words; true if all other data is unchanged. */
static bool words_restore(struct count *count)
{
	unsigned int k;

	for (k = 0; k < WORDS; k++)
		*word_of(count, k) = count->saved[k];
	return pattern_is(count->map, count->npages, SEED);
}

/* A run */

static unsigned long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool has_seen_enough(struct count *count)
{
	unsigned long events = __atomic_load_n(&count->events, __ATOMIC_RELAXED);
	__u64 takes = __atomic_load_n(&count->takes, __ATOMIC_RELAXED);
	unsigned int part = count->part;

	return total(count->by_cpu, CPUS) >=
			(count->idle ? 1 : LEAST_BY_CPU / part) &&
	       total(count->by_device, DEVICES) >=
			(count->idle ? 1 : LEAST_BY_DEVICE / part) &&
	       (takes >= LEAST_TAKES / part || count->shared) &&
	       (events >= (LEAST_EVENTS + part - 1) / part || !count->disturb);
}

/* Until the time is over, or as long as it takes to see enough */
static void wait_for_the_end(struct count *count, unsigned long ms)
{
	unsigned long start = milliseconds(), now = start;

	while (now - start < ms || !has_seen_enough(count)) {
		if (now - start > LIMIT_SECONDS * 1000) {
			count->wrong = "too few additions, takes or events";
			return;
		}
		usleep(1000);
		now = milliseconds();
	}
}

static void start(struct worker *worker, struct count *count,
		  unsigned int number, void *(*work)(void *arg))
{
	worker->count = count;
	worker->number = number;
	worker->phase = 0;
	if (pthread_create(&worker->thread, NULL, work, worker))
		fatal("no thread");
}

static void run(struct count *count, unsigned long ms)
{
	struct worker workers[CPUS + 2];
	unsigned int i, n = 0;

	for (i = 0; i < CPUS; i++)
		start(&workers[n++], count, i, work_of_cpu);
	start(&workers[n++], count, 0, work_of_device);
	if (count->disturb)
		start(&workers[n++], count, 1, work_of_nature);
	wait_for_the_end(count, ms);
	__atomic_store_n(&count->stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < n; i++)
		pthread_join(workers[i].thread, NULL);
}

FIXTURE(atomic)
{
	struct count count;
	struct swap swap;
	struct reclaimer reclaimer;
	struct ksm ksm;
	char *twin;
	unsigned long ms;
};

FIXTURE_VARIANT(atomic)
{
	const char *folios;	/* their size, if they are large */
	size_t npages;
	size_t stride;		/* in pages */
	size_t take;
};

FIXTURE_VARIANT_ADD(atomic, small)
{
	.npages = WORDS,
	.stride = 1,
	.take = 1,
};

FIXTURE_VARIANT_ADD(atomic, small_together)
{
	.npages = WORDS,
	.stride = 1,
	.take = WORDS,
};

/* Mapped page by page */
FIXTURE_VARIANT_ADD(atomic, large)
{
	.folios = "64kB",
	.npages = 16,
	.stride = 2,
	.take = 16,
};

FIXTURE_VARIANT_ADD(atomic, huge)
{
	.folios = "2048kB",
	.npages = HUGE_PAGES,
	.stride = HUGE_PAGES / WORDS,
	.take = HUGE_PAGES,
};

FIXTURE_VARIANT_ADD(atomic, huge_by_page)
{
	.folios = "2048kB",
	.npages = HUGE_PAGES,
	.stride = HUGE_PAGES / WORDS,
	.take = 1,
};

FIXTURE_SETUP(atomic)
{
	struct count *count = &self->count;
	const char *reason;
	unsigned int i;

	for (i = 0; i < DEVICES; i++) {
		count->fd[i] = device_open(i, &reason);
		if (count->fd[i] < 0)
			SKIP(return, "%s", reason);
	}
	self->swap.disk = -1;
	self->ms = how_brief() ? QUICK_MS : LONG_MS;
	count->part = how_brief() == SHORTEST_RUN ? SLOW_PART : 1;
	count->npages = variant->npages;
	count->stride = variant->stride * PAGE_BYTES;
	count->take = variant->take;
	if (variant->folios) {
		count->map = map_folios(variant->folios, HUGE_BYTES, SEED);
		if (!count->map)
			SKIP(return, "no folios of this size");
	} else {
		count->map = map_anon_small(HUGE_BYTES);
		pattern_fill(count->map, HUGE_PAGES, SEED);
	}
	words_clear(count);
}

FIXTURE_TEARDOWN(atomic)
{
	unsigned int i;

	for (i = 0; i < DEVICES; i++)
		close(self->count.fd[i]);
}

static void must_be_exact(struct __test_metadata *_metadata,
			  struct count *count, unsigned long ms)
{
	run(count, ms);
	TH_LOG("%llu by CPUs, %llu by devices, %llu takes, %lu events",
	       total(count->by_cpu, CPUS), total(count->by_device, DEVICES),
	       count->takes, count->events);
	EXPECT_EQ(NULL, count->wrong) {
		TH_LOG("%s", count->wrong);
	}
	EXPECT_EQ(0, lost(count));
	EXPECT_TRUE(words_restore(count));
}

#define sums_are_exact()						\
	must_be_exact(_metadata, &self->count, self->ms)

/* The other tests can fail: without exclusive access additions do get lost. */
TEST_F_TIMEOUT(atomic, control, TIMEOUT)
{
	struct count *count = &self->count;
	unsigned int tries;

	count->shared = true;
	for (tries = 0; tries < 50 && !lost(count); tries++) {
		count->stop = false;
		run(count, 50);
	}
	EXPECT_EQ(NULL, count->wrong);
	EXPECT_NE(0, lost(count));
	EXPECT_TRUE(words_restore(count));
}

TEST_F_TIMEOUT(atomic, undisturbed, TIMEOUT)
{
	sums_are_exact();
}

static void disturb_by_device(struct count *count)
{
	add_by_device(count, 1, 1, count->events % 2 ? 0 : GAP_US);
	count->events++;
}

TEST_F_TIMEOUT(atomic, two_devices, TIMEOUT)
{
	self->count.disturb = disturb_by_device;
	sums_are_exact();
}

/* The child's memory must not change. */
static __noreturn void child_looks(struct count *count)
{
	static __u64 seen[WORDS];
	unsigned int k;

	for (k = 0; k < WORDS; k++) {
		seen[k] = __atomic_load_n(word_of(count, k), __ATOMIC_RELAXED);
		sched_yield();
	}
	for (k = 0; k < WORDS; k++)
		if (__atomic_load_n(word_of(count, k), __ATOMIC_RELAXED) !=
		    seen[k])
			_exit(1);
	_exit(words_restore(count) ? 0 : 2);
}

static void disturb_by_fork(struct count *count)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		child_looks(count);
	if (pid < 0)
		count->wrong = "fork() failed";
	else if (waitpid(pid, &status, 0) != pid || status)
		count->wrong = "a child saw wrong data";
	count->events++;
}

TEST_F_TIMEOUT(atomic, fork, TIMEOUT)
{
	self->count.disturb = disturb_by_fork;
	sums_are_exact();
}

/* A write to memory that is read-only now is tried until it is not. */
static struct count *protected_count;

static void try_again(int number, siginfo_t *info, void *context)
{
	char *at = info->si_addr;

	if (at < protected_count->map ||
	    at >= protected_count->map + HUGE_BYTES)
		signal(number, SIG_DFL);
	else
		sched_yield();
}

static void protect(struct count *count, int protection)
{
	if (mprotect(count->map, count->npages * PAGE_BYTES, protection))
		count->wrong = "mprotect() failed";
}

static void disturb_by_mprotect(struct count *count)
{
	protect(count, count->events % 2 ? PROT_READ : PROT_NONE);
	sched_yield();
	protect(count, PROT_READ | PROT_WRITE);
	count->events++;
	/* Let the others do something. */
	usleep(1000);
}

TEST_F_TIMEOUT(atomic, mprotect, TIMEOUT)
{
	struct sigaction action = {
		.sa_sigaction = try_again,
		.sa_flags = SA_SIGINFO,
	};

	protected_count = &self->count;
	ASSERT_EQ(0, sigaction(SIGSEGV, &action, NULL));
	self->count.may_fault = true;
	self->count.disturb = disturb_by_mprotect;
	sums_are_exact();
}

/* An event is a round that migrated pages. */
static void disturb_by_migration(struct count *count)
{
	struct hmm_dmirror_counters before = device_counters(count->fd[1]);

	device_take(count->fd[1], count->map, count->npages);
	device_give_back(count->fd[1], count->map, count->npages);
	count->events += device_since(count->fd[1], &before).migrated_in > 0;
}

TEST_F_TIMEOUT(atomic, migration, TIMEOUT)
{
	self->count.disturb = disturb_by_migration;
	sums_are_exact();
}

/* MADV_PAGEOUT skips exclusive pages, reclaim does not. */
static void disturb_by_reclaim(struct count *count)
{
	long before = vm_event("pswpout");

	madvise(count->map, count->npages * PAGE_BYTES, MADV_PAGEOUT);
	reclaimer_run(count->arg, 2 * HUGE_BYTES);
	count->events += vm_event("pswpout") > before;
}

TEST_F_TIMEOUT(atomic, reclaim, TIMEOUT)
{
	if (!reclaimer_start(&self->reclaimer))
		SKIP(return, "no memory cgroups");
	if (swap_start(&self->swap, RECLAIM_SWAP_BYTES)) {
		self->count.disturb = disturb_by_reclaim;
		self->count.arg = &self->reclaimer;
		sums_are_exact();
		munmap(self->count.map, HUGE_BYTES);
		swap_stop(&self->swap);
	} else {
		self->swap.disk = -2;
	}
	reclaimer_stop(&self->reclaimer);
	if (self->swap.disk == -2)
		SKIP(return, "no zram");
}

/* Pages of the map and their twins become one until the next addition. */
static void disturb_by_ksm(struct count *count)
{
	long before = vm_event("cow_ksm");

	if (__atomic_load_n(&count->behind, __ATOMIC_SEQ_CST)) {
		sched_yield();
		return;
	}
	memcpy(count->arg, count->map, count->npages * PAGE_BYTES);
	if (!ksm_scans(3))
		count->wrong = "ksmd does not scan";
	count->events += vm_event("cow_ksm") > before;
	__atomic_store_n(&count->behind, CPUS + 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&count->phase, 1, __ATOMIC_SEQ_CST);
}

TEST_F_TIMEOUT(atomic, ksm, TIMEOUT)
{
	struct count *count = &self->count;

	if (self->ms == QUICK_MS)
		SKIP(return, "ksmd takes its time");
	if (!fast_ksm_start(&self->ksm))
		SKIP(return, "no KSM");
	self->twin = map_anon_small(HUGE_BYTES);
	ASSERT_EQ(0, madvise(count->map, HUGE_BYTES, MADV_MERGEABLE));
	ASSERT_EQ(0, madvise(self->twin, HUGE_BYTES, MADV_MERGEABLE));
	count->arg = self->twin;
	count->idle = true;
	count->disturb = disturb_by_ksm;
	sums_are_exact();
	EXPECT_EQ(0, madvise(count->map, HUGE_BYTES, MADV_UNMERGEABLE));
	EXPECT_EQ(0, madvise(self->twin, HUGE_BYTES, MADV_UNMERGEABLE));
	fast_ksm_stop(&self->ksm);
}

TEST_HARNESS_MAIN
