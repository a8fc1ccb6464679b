// SPDX-License-Identifier: GPL-2.0
/*
 * The unlocked form and the mmap lock: a range in one VMA does not wait for a
 * writer that changes other parts of the address space, and a range that needs the
 * mmap lock gets it in the end.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/common.h"

#define N		64
#define HOLD_MS		3000	/* what fails waits so long */
#define A_WHILE_US	50000

/* A thread that holds the mmap lock for writing */
struct holder {
	pthread_t thread;
	int fd;
	int rc;
};

static void *holder_run(void *arg)
{
	struct holder *holder = arg;
	__u64 ms = HOLD_MS;

	holder->rc = ioctl(holder->fd, HMM_PROBE_HOLD, &ms) ? -errno : 0;
	return NULL;
}

/* From here on, no memory may be mapped until holder_end(). */
static void holder_begin(struct holder *holder, int fd)
{
	holder->fd = fd;
	if (pthread_create(&holder->thread, NULL, holder_run, holder) ||
	    ioctl(fd, HMM_PROBE_AWAIT_HOLD))
		fatal("cannot hold the mmap lock");
}

static int holder_end(struct holder *holder)
{
	if (ioctl(holder->fd, HMM_PROBE_LET_GO))
		fatal("cannot let go of the mmap lock");
	pthread_join(holder->thread, NULL);
	return holder->rc;
}

/* A thread that mirrors a range for writing, on request */
struct caller {
	pthread_t thread;
	int fd;
	char *map;
	__u64 *slots;
	int rc;
	bool go;	/* atomic */
	bool done;	/* atomic */
};

static void *caller_run(void *arg)
{
	struct caller *caller = arg;

	while (!__atomic_load_n(&caller->go, __ATOMIC_ACQUIRE))
		usleep(1000);
	caller->rc = probe_fault_all(caller->fd, caller->map, N, caller->slots,
				     REQ_WRITE, HMM_PROBE_UNLOCKED);
	__atomic_store_n(&caller->done, true, __ATOMIC_RELEASE);
	return NULL;
}

FIXTURE(hmm_lock)
{
	int fd;
	char *map;
	struct holder holder;
	__u64 slots[N];
};

FIXTURE_SETUP(hmm_lock)
{
	self->fd = probe_open();
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_probe");
	self->map = map_anon_small(N * PAGE_BYTES);
}

FIXTURE_TEARDOWN(hmm_lock)
{
	munmap(self->map, N * PAGE_BYTES);
	close(self->fd);
}

TEST_F(hmm_lock, snapshot_of_one_vma_does_not_wait)
{
	int rc;

	write_pages(self->map, N, 1);
	holder_begin(&self->holder, self->fd);
	rc = probe_snapshot(self->fd, self->map, N, self->slots, HMM_PROBE_UNLOCKED);
	EXPECT_EQ(0, holder_end(&self->holder));
	EXPECT_EQ(0, rc);
	EXPECT_EQ(N, count_slots(self->slots, N, HMM_PROBE_WRITE));
	EXPECT_TRUE(probe_agrees(self->fd, self->map, N, 0));
}

TEST_F(hmm_lock, faults_in_one_vma_do_not_wait)
{
	int rc;

	/* The very first fault needs the mmap lock. */
	write_pages(self->map, 1, 1);
	holder_begin(&self->holder, self->fd);
	rc = probe_fault_all(self->fd, self->map, N, self->slots, REQ_WRITE,
			     HMM_PROBE_UNLOCKED);
	EXPECT_EQ(0, holder_end(&self->holder));
	EXPECT_EQ(0, rc);
	EXPECT_EQ(N, count_slots(self->slots, N, HMM_PROBE_WRITE));
	EXPECT_TRUE(probe_agrees(self->fd, self->map, N, 0));
}

/* The caller waits for the lock, and then gets what it asks for. */
static void waits_and_succeeds(struct __test_metadata *_metadata, int fd,
			       char *map, __u64 *slots)
{
	struct caller caller = { .fd = fd, .map = map, .slots = slots };
	struct holder holder;

	ASSERT_EQ(0, pthread_create(&caller.thread, NULL, caller_run, &caller));
	holder_begin(&holder, fd);
	__atomic_store_n(&caller.go, true, __ATOMIC_RELEASE);
	usleep(A_WHILE_US);
	EXPECT_FALSE(__atomic_load_n(&caller.done, __ATOMIC_ACQUIRE));
	EXPECT_EQ(0, holder_end(&holder));
	pthread_join(caller.thread, NULL);
	EXPECT_EQ(0, caller.rc);
	EXPECT_EQ(N, count_slots(slots, N, HMM_PROBE_WRITE));
	EXPECT_TRUE(probe_agrees(fd, map, N, 0));
}

/* The first private page of a VMA is such a case. */
TEST_F(hmm_lock, what_needs_the_lock_waits)
{
	int file = memory_file(N * PAGE_BYTES);
	char *map = mmap(self->map, N * PAGE_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_FIXED, file, 0);

	ASSERT_EQ(self->map, map);
	close(file);
	waits_and_succeeds(_metadata, self->fd, self->map, self->slots);
}

TEST_F(hmm_lock, range_of_two_vmas_waits)
{
	write_pages(self->map, N, 1);
	ASSERT_EQ(0, madvise(self->map, N / 2 * PAGE_BYTES, MADV_DONTFORK));
	waits_and_succeeds(_metadata, self->fd, self->map, self->slots);
}

/* Without a VMA it takes the mmap lock to be sure. */
TEST_F(hmm_lock, no_vma)
{
	ASSERT_EQ(0, munmap(self->map + N / 2 * PAGE_BYTES, N / 2 * PAGE_BYTES));
	EXPECT_EQ(-EFAULT, probe_fault_all(self->fd, self->map, N, self->slots,
					   REQ_READ, HMM_PROBE_UNLOCKED));
	EXPECT_EQ(-EFAULT, probe_fault_all(self->fd, self->map + N / 2 * PAGE_BYTES,
					   N / 2, self->slots, REQ_READ,
					   HMM_PROBE_UNLOCKED));
}

TEST_HARNESS_MAIN
