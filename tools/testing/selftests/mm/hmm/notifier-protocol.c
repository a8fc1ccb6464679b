// SPDX-License-Identifier: GPL-2.0
/*
 * MMU notifiers: which callbacks are called when, and what waits for what.
 *
 * No test measures time. A call that must wait has not returned after a while, and
 * returns once the event that it waits for is over. A call that must not wait
 * returns before that.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/common.h"
#include "lib/notify.h"

#define N		16
#define HALF		(N / 2)

/*
 * An invalidation that must not sleep, and that a callback refuses
 *
 * The process is dying, and kept from it: process_mrelease() takes its memory.
 */

FIXTURE(hmm_refusal)
{
	int reader;
	int removed;
	int counted;
	int refuser;
	int stay;
	pid_t pid;
};

FIXTURE_VARIANT(hmm_refusal)
{
	__u64 kind;
};

FIXTURE_VARIANT_ADD(hmm_refusal, list)
{
	.kind = HMM_NOTIFY_LIST_START,
};

FIXTURE_VARIANT_ADD(hmm_refusal, interval)
{
	.kind = HMM_NOTIFY_INTERVAL,
};

static void __noreturn die_slowly(struct _test_data_hmm_refusal *self,
				  __u64 kind)
{
	subscribe(self->reader, HMM_NOTIFY_INTERVAL, NULL, ALL_BYTES);
	subscribe(self->removed, HMM_NOTIFY_TWO_PASS, NULL, ALL_BYTES);
	subscribe(self->counted, HMM_NOTIFY_LIST, NULL, ALL_BYTES);
	/* Intervals are called in the order of their addresses. */
	subscribe(self->refuser, kind, (char *)PAGE_BYTES,
		  ALL_BYTES - PAGE_BYTES);
	sub_ioctl(self->stay, HMM_NOTIFY_STAY, NULL);
	_exit(0);
}

FIXTURE_SETUP(hmm_refusal)
{
	self->reader = sub_open();
	self->removed = sub_open();
	self->counted = sub_open();
	self->refuser = sub_open();
	self->stay = sub_open();
	if (self->stay < 0)
		SKIP(return, "no /dev/hmm_probe_notify");
	plan(self->refuser, HMM_NOTIFY_HOLD_NOT, HMM_NOTIFY_REFUSE);
	self->pid = fork_off();
	if (!self->pid)
		die_slowly(self, variant->kind);
	sub_ioctl(self->stay, HMM_NOTIFY_AWAIT_HOLD, NULL);
}

FIXTURE_TEARDOWN(hmm_refusal)
{
	close(self->reader);
	close(self->removed);
	close(self->counted);
	close(self->refuser);
	close(self->stay);
}

#define begun_is_ended(fd) do {						\
	struct hmm_notify_state state = sub_state(fd);			\
									\
	EXPECT_EQ(state.starts, state.ends);				\
	EXPECT_EQ(0, state.running);					\
} while (0)

/* What must not sleep is the reaping, and it says so. */
#define was_reaped(fd) do {						\
	__u64 i, reapings = 0;						\
									\
	for (i = 0; i < sub_state(fd).records; i++) {			\
		struct hmm_notify_record record = sub_record(fd, i);	\
									\
		if (record.blockable)					\
			continue;					\
		reapings++;						\
		EXPECT_EQ(EVENT_CLEAR, record.event);			\
		EXPECT_NE(HMM_NOTIFY_YES, record.read_only);		\
	}								\
	EXPECT_LT(0, reapings);						\
} while (0)

TEST_F_TIMEOUT(hmm_refusal, leaves_nothing_behind, 90)
{
	int pidfd = syscall(__NR_pidfd_open, self->pid, 0);

	ASSERT_LE(0, pidfd);
	ASSERT_EQ(0, kill(self->pid, SIGKILL));
	EXPECT_EQ(-1, syscall(__NR_process_mrelease, pidfd, 0));
	EXPECT_EQ(EAGAIN, errno);
	close(pidfd);
	EXPECT_LT(0, sub_state(self->refuser).refusals);
	EXPECT_LT(0, sub_state(self->reader).starts);
	was_reaped(self->reader);

	EXPECT_EQ(0, sub_try(self->reader, HMM_NOTIFY_READ, SOON_MS));
	EXPECT_EQ(0, sub_try(self->removed, HMM_NOTIFY_REMOVE, SOON_MS));
	begun_is_ended(self->removed);
	begun_is_ended(self->counted);

	sub_ioctl(self->stay, HMM_NOTIFY_LET_GO, NULL);
	EXPECT_NE(-1, wait_for_child(self->pid, SOON_MS / 1000));
}

/*
 * The storm. Two threads invalidate the same pages, each time until the
 * other one has begun: there is always an invalidation in flight.
 */

#define STORM_THREADS	2

struct storm {
	pthread_t threads[STORM_THREADS];
	pthread_barrier_t barrier;
	char *page;
	bool over;	/* atomic */
};

static void *storm_run(void *arg)
{
	struct storm *storm = arg;

	pthread_barrier_wait(&storm->barrier);
	while (!__atomic_load_n(&storm->over, __ATOMIC_ACQUIRE))
		drop(storm->page, 1);
	return NULL;
}

FIXTURE(hmm_storm)
{
	int storming;
	int other;
	int late;
	char *map;
	struct storm storm;
};

/* True if the storm still goes on: what the test did, it did in the storm. */
static bool storm_goes_on(int fd)
{
	__u64 pairs = sub_state(fd).pairs;
	unsigned int tries;

	for (tries = 0; tries < SOON_MS; tries++) {
		if (sub_state(fd).pairs > pairs + STORM_THREADS)
			return true;
		usleep(1000);
	}
	return false;
}

FIXTURE_SETUP(hmm_storm)
{
	struct storm *storm = &self->storm;
	unsigned int i;

	self->storming = sub_open();
	self->other = sub_open();
	self->late = sub_open();
	if (self->late < 0)
		SKIP(return, "no /dev/hmm_probe_notify");
	self->map = map_anon_small(N * PAGE_BYTES);
	write_pages(self->map, N, 1);
	subscribe(self->storming, HMM_NOTIFY_INTERVAL, self->map, PAGE_BYTES);
	subscribe(self->other, HMM_NOTIFY_INTERVAL, self->map + HALF * PAGE_BYTES,
		  PAGE_BYTES);
	plan(self->storming, HMM_NOTIFY_HOLD_NOT, HMM_NOTIFY_PAIR);

	storm->page = self->map;
	pthread_barrier_init(&storm->barrier, NULL, STORM_THREADS);
	for (i = 0; i < STORM_THREADS; i++)
		if (pthread_create(&storm->threads[i], NULL, storm_run, storm))
			fatal("no thread");
	ASSERT_TRUE(storm_goes_on(self->storming));
}

FIXTURE_TEARDOWN(hmm_storm)
{
	unsigned int i;

	__atomic_store_n(&self->storm.over, true, __ATOMIC_RELEASE);
	plan(self->storming, HMM_NOTIFY_HOLD_NOT, 0);
	for (i = 0; i < STORM_THREADS; i++)
		pthread_join(self->storm.threads[i], NULL);
	close(self->storming);
	close(self->other);
	close(self->late);
	munmap(self->map, N * PAGE_BYTES);
}

TEST_F(hmm_storm, read_begin_elsewhere)
{
	/* Invalidate it once: that could be a reason for a reader to wait. */
	drop(self->map + HALF * PAGE_BYTES, 1);
	EXPECT_EQ(1, sub_state(self->other).starts);
	EXPECT_EQ(0, sub_try(self->other, HMM_NOTIFY_READ, SOON_MS));
	EXPECT_TRUE(storm_goes_on(self->storming));
}

TEST_F(hmm_storm, remove_elsewhere)
{
	EXPECT_EQ(0, sub_try(self->other, HMM_NOTIFY_REMOVE, SOON_MS));
	EXPECT_TRUE(storm_goes_on(self->storming));
}

TEST_F(hmm_storm, insert_and_first_read_begin)
{
	char *page = self->map + (N - 1) * PAGE_BYTES;

	EXPECT_EQ(0, sub_place(self->late, HMM_NOTIFY_SUBSCRIBE,
			       HMM_NOTIFY_INTERVAL, page, PAGE_BYTES, SOON_MS));
	EXPECT_EQ(0, sub_try(self->late, HMM_NOTIFY_READ, SOON_MS));
	EXPECT_TRUE(storm_goes_on(self->storming));
}

/* A reader waits for what was in flight when it came, and that ends. */
TEST_F(hmm_storm, read_begin_inside)
{
	EXPECT_EQ(0, sub_try(self->storming, HMM_NOTIFY_READ, SOON_MS));
	EXPECT_TRUE(storm_goes_on(self->storming));
}

TEST_F(hmm_storm, timed_read_begin_inside)
{
	struct hmm_notify_call call = {
		.op = HMM_NOTIFY_READ_TIMEOUT,
		.ms = SOON_MS,
	};

	if (!knows_new_calls(self->other))
		SKIP(return, "no read_begin with a timeout");
	EXPECT_EQ(0, sub_call(self->storming, HMM_NOTIFY_CALL, &call));
	EXPECT_TRUE(storm_goes_on(self->storming));
}

TEST_F(hmm_storm, resize_inside)
{
	if (!knows_new_calls(self->other))
		SKIP(return, "no resize");
	EXPECT_EQ(0, resize(self->storming, self->map, 1, SOON_MS));
	EXPECT_TRUE(storm_goes_on(self->storming));
}

/* One address space, and some subscriptions that the tests make */

FIXTURE(hmm_notifier)
{
	int a;
	int b;
	int c;
	char *map;
	char *half;
	struct dropper dropper;
};

FIXTURE_SETUP(hmm_notifier)
{
	self->a = sub_open();
	self->b = sub_open();
	self->c = sub_open();
	if (self->c < 0)
		SKIP(return, "no /dev/hmm_probe_notify");
	self->map = map_anon_small(N * PAGE_BYTES);
	self->half = self->map + HALF * PAGE_BYTES;
	write_pages(self->map, N, 1);
}

FIXTURE_TEARDOWN(hmm_notifier)
{
	close(self->a);
	close(self->b);
	close(self->c);
	munmap(self->map, N * PAGE_BYTES);
}

#define interval(fd, start, npages)					\
	subscribe(fd, HMM_NOTIFY_INTERVAL, start, (npages) * PAGE_BYTES)
#define two_pass(fd, start, npages)					\
	subscribe(fd, HMM_NOTIFY_TWO_PASS, start, (npages) * PAGE_BYTES)
#define list(fd, start, npages)						\
	subscribe(fd, HMM_NOTIFY_LIST, start, (npages) * PAGE_BYTES)
#define hold(page, fd, where)						\
	dropper_start(&self->dropper, page, fd, HMM_NOTIFY_HOLD_##where)
#define let_go()							\
	dropper_end(&self->dropper)

/* Readers */

TEST_F(hmm_notifier, reader_collides)
{
	__u64 seq = 0;

	interval(self->a, self->map, HALF);
	ASSERT_EQ(0, sub_do(self->a, HMM_NOTIFY_READ, &seq));
	EXPECT_EQ(0, sub_do(self->a, HMM_NOTIFY_RETRY, &seq));
	drop(self->half, 1);
	EXPECT_EQ(0, sub_do(self->a, HMM_NOTIFY_RETRY, &seq));
	drop(self->map, 1);
	EXPECT_EQ(1, sub_do(self->a, HMM_NOTIFY_RETRY, &seq));
	ASSERT_EQ(0, sub_do(self->a, HMM_NOTIFY_READ, &seq));
	EXPECT_EQ(0, sub_do(self->a, HMM_NOTIFY_RETRY, &seq));
}

TEST_F(hmm_notifier, reader_waits_for_the_callback)
{
	__u64 seq;

	interval(self->a, self->map, N);
	hold(self->map, self->a, START);
	EXPECT_EQ(-ETIMEDOUT, sub_try(self->a, HMM_NOTIFY_READ, A_WHILE_MS));
	let_go();
	EXPECT_EQ(0, sub_await(self->a, &seq));
	EXPECT_EQ(0, sub_do(self->a, HMM_NOTIFY_RETRY, &seq));
}

/* Lists come after intervals: the callback is over, the invalidation is not. */
TEST_F(hmm_notifier, reader_waits_for_the_end)
{
	__u64 seq;

	interval(self->a, self->map, N);
	list(self->b, self->map, N);
	hold(self->map, self->b, START);
	EXPECT_EQ(1, sub_state(self->a).starts);
	EXPECT_EQ(0, sub_state(self->a).running);
	EXPECT_EQ(-ETIMEDOUT, sub_try(self->a, HMM_NOTIFY_READ, A_WHILE_MS));
	let_go();
	EXPECT_EQ(0, sub_await(self->a, &seq));
	EXPECT_EQ(0, sub_do(self->a, HMM_NOTIFY_RETRY, &seq));
}

/* The reader waits, or read_retry() makes it start again later. */
TEST_F(hmm_notifier, reader_sees_a_later_collision)
{
	struct hmm_notify_call call = {
		.op = HMM_NOTIFY_READ,
		.patience_ms = A_WHILE_MS,
	};
	__u64 seq;
	int rc;

	interval(self->a, self->map, N);
	interval(self->b, self->half, HALF);
	hold(self->half, self->a, START);
	EXPECT_EQ(0, sub_state(self->b).starts);
	rc = sub_call(self->b, HMM_NOTIFY_CALL, &call);
	let_go();
	seq = call.seq;
	if (rc == -ETIMEDOUT)
		ASSERT_EQ(0, sub_await(self->b, &seq));
	EXPECT_EQ(!rc, sub_do(self->b, HMM_NOTIFY_RETRY, &seq));
}

TEST_F(hmm_notifier, reader_elsewhere_does_not_wait)
{
	interval(self->a, self->map, HALF);
	interval(self->b, self->half, HALF);
	settle(self->b);
	hold(self->map, self->a, START);
	EXPECT_EQ(0, sub_try(self->b, HMM_NOTIFY_READ, SOON_MS));
	EXPECT_EQ(1, sub_state(self->a).running);
	let_go();
}

TEST_F(hmm_notifier, reader_with_a_timeout)
{
	struct hmm_notify_call call = {
		.op = HMM_NOTIFY_READ_TIMEOUT,
		.ms = A_WHILE_MS,
		.patience_ms = SOON_MS,
	};

	interval(self->a, self->map, N);
	if (!knows_new_calls(self->a))
		SKIP(return, "no read_begin with a timeout");
	settle(self->a);
	hold(self->map, self->a, START);
	/*
	 * This is the timeout of read_begin, not the test's patience: after the
	 * latter the call would still be running.
	 */
	EXPECT_EQ(-ETIMEDOUT, sub_call(self->a, HMM_NOTIFY_CALL, &call));
	EXPECT_FALSE(sub_is_waiting(self->a));
	EXPECT_EQ(1, sub_state(self->a).running);
	let_go();
	EXPECT_EQ(0, sub_call(self->a, HMM_NOTIFY_CALL, &call));
	EXPECT_EQ(0, sub_do(self->a, HMM_NOTIFY_RETRY, &call.seq));
}

static void __noreturn read_until_killed(struct _test_data_hmm_notifier *self)
{
	interval(self->a, self->map, N);
	hold(self->map, self->a, START);
	sub_do(self->a, HMM_NOTIFY_READ_KILLABLE, NULL);
	_exit(1);
}

static bool wait_for_rc(int fd, int rc)
{
	unsigned int tries;

	for (tries = 0; tries < SOON_MS; tries++) {
		if (sub_state(fd).last_rc == rc)
			return true;
		usleep(1000);
	}
	return false;
}

TEST_F(hmm_notifier, reader_is_killed)
{
	pid_t pid;

	interval(self->b, self->map, N);
	if (!knows_new_calls(self->b))
		SKIP(return, "no killable read_begin");
	pid = fork_off();
	if (!pid)
		read_until_killed(self);
	while (!sub_state(self->a).running || !sub_is_waiting(self->a))
		usleep(1000);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	EXPECT_TRUE(wait_for_rc(self->a, -EINTR));
	EXPECT_EQ(1, sub_state(self->a).running);
	sub_ioctl(self->a, HMM_NOTIFY_LET_GO, NULL);
	EXPECT_NE(-1, wait_for_child(pid, SOON_MS / 1000));
}

/* Resizing */

TEST_F(hmm_notifier, resize_changes_which_invalidations_call)
{
	interval(self->a, self->map, HALF);
	if (!knows_new_calls(self->a))
		SKIP(return, "no resize");
	drop(self->half, 1);
	EXPECT_EQ(0, sub_state(self->a).starts);
	ASSERT_EQ(0, resize(self->a, self->map, N, 0));
	drop(self->half, 1);
	EXPECT_EQ(1, sub_state(self->a).starts);
	drop(self->map, 1);
	EXPECT_EQ(2, sub_state(self->a).starts);
	ASSERT_EQ(0, resize(self->a, self->half, HALF, 0));
	drop(self->map, HALF);
	EXPECT_EQ(2, sub_state(self->a).starts);
	drop(self->map, HALF + 1);
	EXPECT_EQ(3, sub_state(self->a).starts);
}

TEST_F(hmm_notifier, resize_makes_readers_begin_again)
{
	__u64 seq;

	interval(self->a, self->map, HALF);
	if (!knows_new_calls(self->a))
		SKIP(return, "no resize");
	seq = 0;
	ASSERT_EQ(0, sub_do(self->a, HMM_NOTIFY_READ, &seq));
	ASSERT_EQ(0, resize(self->a, self->map, N, 0));
	EXPECT_EQ(1, sub_do(self->a, HMM_NOTIFY_RETRY, &seq));
	ASSERT_EQ(0, sub_do(self->a, HMM_NOTIFY_READ, &seq));
	EXPECT_EQ(0, sub_do(self->a, HMM_NOTIFY_RETRY, &seq));
}

TEST_F(hmm_notifier, resize_refuses_bad_ranges)
{
	interval(self->a, self->map, HALF);
	if (!knows_new_calls(self->a))
		SKIP(return, "no resize");
	EXPECT_EQ(-EOVERFLOW, resize(self->a, self->map, 0, 0));
	EXPECT_EQ(-EOVERFLOW, resize(self->a, (char *)ALL_BYTES, 2, 0));
	drop(self->map, 1);
	EXPECT_EQ(1, sub_state(self->a).starts);
}

TEST_F(hmm_notifier, resize_waits_for_what_overlaps)
{
	interval(self->a, self->map, HALF);
	interval(self->b, self->map, 1);
	if (!knows_new_calls(self->a))
		SKIP(return, "no resize");
	hold(self->map, self->b, START);
	EXPECT_EQ(-ETIMEDOUT, resize(self->a, self->half, HALF, A_WHILE_MS));
	let_go();
	EXPECT_EQ(0, sub_await(self->a, NULL));
	drop(self->half, 1);
	/* Of the first invalidation, and of this one */
	EXPECT_EQ(2, sub_state(self->a).starts);
}

TEST_F(hmm_notifier, resize_does_not_wait_for_others)
{
	interval(self->a, self->half, 1);
	interval(self->b, self->map, 1);
	if (!knows_new_calls(self->a))
		SKIP(return, "no resize");
	hold(self->map, self->b, START);
	EXPECT_EQ(0, resize(self->a, self->half, HALF, SOON_MS));
	EXPECT_EQ(1, sub_state(self->b).running);
	let_go();
}

/* Removing and inserting */

TEST_F(hmm_notifier, remove_waits_for_its_callback)
{
	interval(self->a, self->map, N);
	hold(self->map, self->a, START);
	EXPECT_EQ(-ETIMEDOUT, sub_try(self->a, HMM_NOTIFY_REMOVE, A_WHILE_MS));
	let_go();
	EXPECT_EQ(0, sub_await(self->a, NULL));
	EXPECT_EQ(0, sub_state(self->a).running);
	drop(self->map, 1);
	EXPECT_EQ(1, sub_state(self->a).starts);
}

#define was_released_once(fd) do {					\
	struct hmm_notify_state state = sub_state(fd);			\
									\
	EXPECT_EQ(1, state.releases);					\
	EXPECT_EQ(0, state.running_at_release);				\
} while (0)

TEST_F(hmm_notifier, remove_async_when_idle)
{
	interval(self->a, self->map, N);
	if (!knows_new_calls(self->a))
		SKIP(return, "no remove_async");
	ASSERT_EQ(0, sub_do(self->a, HMM_NOTIFY_REMOVE_ASYNC, NULL));
	was_released_once(self->a);
	drop(self->map, 1);
	EXPECT_EQ(0, sub_state(self->a).starts);
}

TEST_F(hmm_notifier, remove_async_in_its_callback)
{
	interval(self->a, self->map, N);
	if (!knows_new_calls(self->a))
		SKIP(return, "no remove_async");
	plan_act(self->a, self->a, (struct hmm_notify_call) {
			.op = HMM_NOTIFY_REMOVE_ASYNC,
		 });
	drop(self->map, 1);
	EXPECT_EQ(1, sub_state(self->a).acts);
	EXPECT_EQ(0, sub_state(self->a).act_rc);
	was_released_once(self->a);
	drop(self->map, 1);
	EXPECT_EQ(1, sub_state(self->a).starts);
}

TEST_F(hmm_notifier, remove_async_while_a_callback_runs)
{
	interval(self->a, self->map, N);
	if (!knows_new_calls(self->a))
		SKIP(return, "no remove_async");
	hold(self->map, self->a, START);
	EXPECT_EQ(0, sub_try(self->a, HMM_NOTIFY_REMOVE_ASYNC, SOON_MS));
	EXPECT_EQ(0, sub_state(self->a).releases);
	drop(self->half, 1);
	EXPECT_EQ(1, sub_state(self->a).starts);
	let_go();
	was_released_once(self->a);
}

/* Another subscription's callback removes @self->b. */
static void removes_b(struct __test_metadata *_metadata,
		      struct _test_data_hmm_notifier *self, size_t npages)
{
	plan_act(self->a, self->b, (struct hmm_notify_call) {
			.op = HMM_NOTIFY_REMOVE,
			.patience_ms = SOON_MS,
		 });
	drop(self->map, npages);
	EXPECT_EQ(1, sub_state(self->a).acts);
	EXPECT_EQ(0, sub_state(self->a).act_rc);
}

TEST_F(hmm_notifier, remove_in_a_callback_elsewhere)
{
	interval(self->a, self->map, 1);
	interval(self->b, self->half, 1);
	removes_b(_metadata, self, 1);
	drop(self->half, 1);
	EXPECT_EQ(0, sub_state(self->b).starts);
}

/* The invalidation that is in flight would call it next, and must not. */
TEST_F(hmm_notifier, remove_of_the_next_to_be_called)
{
	interval(self->a, self->map, 2);
	interval(self->b, self->map + PAGE_BYTES, 1);
	removes_b(_metadata, self, 2);
	EXPECT_EQ(0, sub_state(self->b).starts);
}

TEST_F(hmm_notifier, remove_of_one_just_called)
{
	interval(self->b, self->map, 1);
	interval(self->a, self->map + PAGE_BYTES, 1);
	removes_b(_metadata, self, 2);
	EXPECT_EQ(1, sub_state(self->b).starts);
}

TEST_F(hmm_notifier, insert_in_a_callback)
{
	interval(self->a, self->map, 1);
	plan_act(self->a, self->b, (struct hmm_notify_call) {
			.op = HMM_NOTIFY_SUBSCRIBE,
			.kind = HMM_NOTIFY_INTERVAL,
			.start = (uintptr_t)self->half,
			.length = PAGE_BYTES,
		 });
	drop(self->map, 1);
	EXPECT_EQ(1, sub_state(self->a).acts);
	ASSERT_EQ(0, sub_state(self->a).act_rc);
	EXPECT_EQ(0, sub_state(self->b).starts);
	drop(self->half, 1);
	EXPECT_EQ(1, sub_state(self->b).starts);
	EXPECT_EQ(0, sub_try(self->b, HMM_NOTIFY_READ, SOON_MS));
}

/* Two passes */

TEST_F(hmm_notifier, second_pass_once_for_each_first)
{
	unsigned int i;

	two_pass(self->a, self->map, N);
	for (i = 0; i < 3; i++)
		drop(self->map + i * PAGE_BYTES, 1);
	EXPECT_EQ(3, sub_state(self->a).starts);
	EXPECT_EQ(3, sub_state(self->a).ends);
}

TEST_F(hmm_notifier, second_passes_come_after_all_first)
{
	two_pass(self->a, self->map, N);
	two_pass(self->b, self->map, N);
	interval(self->c, self->map, N);
	hold(self->map, self->a, END);
	EXPECT_EQ(1, sub_state(self->b).starts);
	EXPECT_EQ(1, sub_state(self->c).starts);
	EXPECT_EQ(0, sub_state(self->a).ends);
	let_go();
	EXPECT_EQ(1, sub_state(self->a).ends);
	EXPECT_EQ(1, sub_state(self->b).ends);
}

TEST_F(hmm_notifier, remove_waits_for_the_second_pass)
{
	two_pass(self->a, self->map, N);
	hold(self->map, self->a, END);
	EXPECT_EQ(-ETIMEDOUT, sub_try(self->a, HMM_NOTIFY_REMOVE, A_WHILE_MS));
	let_go();
	EXPECT_EQ(0, sub_await(self->a, NULL));
	EXPECT_EQ(1, sub_state(self->a).ends);
	EXPECT_EQ(0, sub_state(self->a).running);
}

/* Lists */

TEST_F(hmm_notifier, list_is_called)
{
	list(self->a, self->map, N);
	drop(self->map, N);
	EXPECT_EQ(1, sub_state(self->a).starts);
	EXPECT_EQ(1, sub_state(self->a).ends);
	EXPECT_EQ(0, sub_state(self->a).releases);
	ASSERT_EQ(0, sub_do(self->a, HMM_NOTIFY_REMOVE, NULL));
	EXPECT_EQ(1, sub_state(self->a).releases);
	drop(self->map, N);
	EXPECT_EQ(1, sub_state(self->a).starts);
}

TEST_F(hmm_notifier, unregister_waits_for_its_callback)
{
	list(self->a, self->map, N);
	hold(self->map, self->a, START);
	EXPECT_EQ(-ETIMEDOUT, sub_try(self->a, HMM_NOTIFY_REMOVE, A_WHILE_MS));
	let_go();
	EXPECT_EQ(0, sub_await(self->a, NULL));
	EXPECT_EQ(0, sub_state(self->a).running);
}

/* Its end callback must not run without its start callback. */
TEST_F(hmm_notifier, register_waits_for_what_it_missed)
{
	interval(self->a, self->map, N);
	hold(self->map, self->a, START);
	EXPECT_EQ(-ETIMEDOUT, sub_place(self->b, HMM_NOTIFY_SUBSCRIBE,
					HMM_NOTIFY_LIST, self->map,
					N * PAGE_BYTES, A_WHILE_MS));
	let_go();
	EXPECT_EQ(0, sub_await(self->b, NULL));
	EXPECT_EQ(0, sub_state(self->b).starts);
	EXPECT_EQ(0, sub_state(self->b).ends);
	drop(self->map, 1);
	EXPECT_EQ(1, sub_state(self->b).starts);
	EXPECT_EQ(1, sub_state(self->b).ends);
}

/* The first interval finds an invalidation that began without any. */
TEST_F(hmm_notifier, first_interval_waits_for_what_it_missed)
{
	__u64 seq;
	int rc;

	list(self->a, self->map, N);
	hold(self->map, self->a, START);
	rc = sub_place(self->b, HMM_NOTIFY_SUBSCRIBE, HMM_NOTIFY_INTERVAL,
		       self->map, N * PAGE_BYTES, A_WHILE_MS);
	if (!rc) {
		EXPECT_EQ(-ETIMEDOUT, sub_try(self->b, HMM_NOTIFY_READ,
					      A_WHILE_MS));
	}
	let_go();
	EXPECT_EQ(0, sub_await(self->b, &seq));
	if (rc) {
		EXPECT_EQ(-ETIMEDOUT, rc);
		ASSERT_EQ(0, sub_do(self->b, HMM_NOTIFY_READ, &seq));
	}
	EXPECT_EQ(0, sub_do(self->b, HMM_NOTIFY_RETRY, &seq));
	EXPECT_EQ(0, sub_state(self->b).starts);
}

/* Not even the first subscriptions have anything to do with other processes. */

static void __noreturn hold_in_child(struct _test_data_hmm_notifier *self)
{
	interval(self->a, self->map, N);
	hold(self->map, self->a, START);
	pthread_join(self->dropper.thread, NULL);
	_exit(0);
}

TEST_F(hmm_notifier, other_processes_are_not_waited_for)
{
	pid_t pid = fork_off();

	if (!pid)
		hold_in_child(self);
	while (!sub_state(self->a).running)
		usleep(1000);
	interval(self->b, self->map, N);
	EXPECT_EQ(0, sub_try(self->b, HMM_NOTIFY_READ, SOON_MS));
	EXPECT_EQ(0, sub_place(self->c, HMM_NOTIFY_SUBSCRIBE, HMM_NOTIFY_LIST,
			       self->map, N * PAGE_BYTES, SOON_MS));
	EXPECT_EQ(1, sub_state(self->a).running);
	sub_ioctl(self->a, HMM_NOTIFY_LET_GO, NULL);
	EXPECT_NE(-1, wait_for_child(pid, SOON_MS / 1000));
}

static bool wait_for_live(int fd, __u64 live)
{
	unsigned int tries;

	for (tries = 0; tries < SOON_MS; tries++) {
		if (sub_state(fd).live == live)
			return true;
		usleep(1000);
	}
	return false;
}

TEST_F(hmm_notifier, get_shares_until_the_last_put)
{
	struct hmm_notify_state first;

	/* Those of earlier tests are freed late. */
	ASSERT_TRUE(wait_for_live(self->a, 0));
	subscribe(self->a, HMM_NOTIFY_SHARED, NULL, ALL_BYTES);
	subscribe(self->b, HMM_NOTIFY_SHARED, NULL, ALL_BYTES);
	first = sub_state(self->a);
	EXPECT_EQ(first.id, sub_state(self->b).id);
	EXPECT_EQ(1, first.live);

	ASSERT_EQ(0, sub_do(self->a, HMM_NOTIFY_REMOVE, NULL));
	drop(self->map, 1);
	EXPECT_LT(first.starts, sub_state(self->b).starts);
	EXPECT_EQ(1, sub_state(self->b).live);

	ASSERT_EQ(0, sub_do(self->b, HMM_NOTIFY_REMOVE, NULL));
	subscribe(self->c, HMM_NOTIFY_SHARED, NULL, ALL_BYTES);
	EXPECT_NE(first.id, sub_state(self->c).id);
	EXPECT_TRUE(wait_for_live(self->c, 1));
	ASSERT_EQ(0, sub_do(self->c, HMM_NOTIFY_REMOVE, NULL));
	EXPECT_TRUE(wait_for_live(self->c, 0));
}

/* The end of the address space, which is that of a forked process */

static void live_and_die(struct _test_data_hmm_notifier *self)
{
	pid_t pid = fork_off();

	if (!pid) {
		interval(self->a, self->map, N);
		list(self->b, self->map, N);
		_exit(0);
	}
	if (wait_for_child(pid, SOON_MS / 1000))
		fatal("the child fails");
}

TEST_F(hmm_notifier, exit_releases_a_list_once)
{
	live_and_die(self);
	EXPECT_EQ(1, sub_state(self->b).releases);
	ASSERT_EQ(0, sub_do(self->b, HMM_NOTIFY_REMOVE, NULL));
	EXPECT_EQ(1, sub_state(self->b).releases);
	begun_is_ended(self->b);
}

/* The release is reported first, then the unmapping. */
TEST_F(hmm_notifier, exit_calls_an_interval)
{
	unsigned int i, releases = 0;
	__u64 told = 0;

	live_and_die(self);
	for (i = 0; i < sub_state(self->a).records; i++) {
		struct hmm_notify_record record = sub_record(self->a, i);

		told |= _BITULL(record.event);
		releases += record.event == EVENT_RELEASE;
		EXPECT_EQ(1, record.blockable);
		EXPECT_NE(HMM_NOTIFY_YES, record.read_only);
	}
	EXPECT_EQ(SET(RELEASE) | SET(UNMAP), told);
	EXPECT_EQ(1, releases);
	EXPECT_EQ(0, sub_try(self->a, HMM_NOTIFY_READ, SOON_MS));
	EXPECT_EQ(0, sub_try(self->a, HMM_NOTIFY_REMOVE, SOON_MS));
}

/* A stale sequence number */

static int snapshot(int fd, char *page, __u64 seq)
{
	struct hmm_notify_call call = {
		.op = HMM_NOTIFY_SNAPSHOT,
		.start = (uintptr_t)page,
		.seq = seq,
	};

	return sub_call(fd, HMM_NOTIFY_CALL, &call);
}

/* New lines of the kernel's log that blame the module */
static unsigned int stale_reports(int kmsg)
{
	unsigned int count = 0;
	char line[2048];
	ssize_t n;

	for (;;) {
		n = read(kmsg, line, sizeof(line) - 1);
		if (n < 0 && errno == EPIPE)	/* some were overwritten */
			continue;
		if (n <= 0)
			return count;
		line[n] = '\0';
		count += strstr(line, "stale sequence number") &&
			 strstr(line, "[hmm_probe]");
	}
}

TEST_F(hmm_notifier, stale_sequence_is_reported_once)
{
	int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	__u64 seq = 0;

	interval(self->a, self->map, N);
	if (!knows_new_calls(self->a))
		SKIP(return, "no reports");
	ASSERT_LE(0, kmsg);
	ASSERT_LE(0, lseek(kmsg, 0, SEEK_END));
	ASSERT_EQ(0, sub_do(self->a, HMM_NOTIFY_READ, &seq));
	EXPECT_EQ(0, snapshot(self->a, self->map, seq));
	drop(self->map, 1);
	EXPECT_EQ(-EBUSY, snapshot(self->a, self->map, seq));
	EXPECT_EQ(0, stale_reports(kmsg));
	EXPECT_EQ(-EBUSY, snapshot(self->a, self->map, seq));
	EXPECT_EQ(1, stale_reports(kmsg));
	EXPECT_EQ(-EBUSY, snapshot(self->a, self->map, seq));
	EXPECT_EQ(0, stale_reports(kmsg));
	ASSERT_EQ(0, sub_do(self->a, HMM_NOTIFY_READ, &seq));
	EXPECT_EQ(0, snapshot(self->a, self->map, seq));
	close(kmsg);
}

TEST_HARNESS_MAIN
