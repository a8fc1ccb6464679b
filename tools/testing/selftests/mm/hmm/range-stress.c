// SPDX-License-Identifier: GPL-2.0
/*
 * Range faulting while the address space changes under it, in processes that
 * are killed at random points. Every result of 0 must have met its requests;
 * every process must go when it is killed; the module must be free afterwards.
 *
 *	HMM_ROUNDS	processes for each test (40, or 10 with HMM_QUICK=1)
 *	HMM_SEED	where the random choices start
 *	HMM_PROBE_KO	the module's file, to load it again after the last test
 *			has unloaded it (default: hmm_probe.ko near the test)
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/common.h"

#define ARENA_PAGES	(4 * HUGE_PAGES)
#define ARENA_BYTES	(ARENA_PAGES * PAGE_BYTES)
#define MAX_RANGE	600		/* pages of a call */
#define MAX_CHANGE	60		/* pages changed at a time */
#define REAP_SECONDS	20
#define TIMEOUT		300
#define LONGER_MS	50		/* from one killed process to the next */
#define MORE_ROUNDS	30		/* while no call has got through */

static unsigned long rounds(void)
{
	return from_environment("HMM_ROUNDS", how_brief() ? 10 : 40);
}

static void sleep_ms(unsigned int ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&time, NULL);
}

/* What the killed processes did, in memory that they share with the test. */
struct tally {
	unsigned long calls;
	unsigned long met;	/* gave 0 for a request */
	unsigned long busy;
};

static struct tally *tally;

static void count(unsigned long *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* The process that is going to be killed */

struct arena {
	int fd;
	char *map;
	unsigned int seed;
};

struct worker {
	struct arena *arena;
	unsigned int seed;
	__u64 flags;
};

static size_t below(struct worker *worker, size_t n)
{
	return rand_r(&worker->seed) % n;
}

static char *random_range(struct worker *worker, size_t *npages, size_t max)
{
	size_t at = below(worker, ARENA_PAGES);

	*npages = 1 + below(worker, max);
	if (*npages > ARENA_PAGES - at)
		*npages = ARENA_PAGES - at;
	return worker->arena->map + at * PAGE_BYTES;
}

static void remap(char *map, size_t bytes)
{
	munmap(map, bytes);
	mmap(map, bytes, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void *change_mappings(void *arg)
{
	struct worker *worker = arg;

	for (;;) {
		size_t npages;
		char *map = random_range(worker, &npages, MAX_CHANGE);
		size_t bytes = npages * PAGE_BYTES;

		switch (below(worker, 10)) {
		case 0:
			remap(map, bytes);
			break;
		case 1:
			mprotect(map, bytes, PROT_NONE);
			break;
		case 2:
			mprotect(map, bytes, PROT_READ);
			break;
		case 3:
			madvise(map, bytes, MADV_HUGEPAGE);
			break;
		case 4:
		case 5:
			madvise(map, bytes, MADV_DONTNEED);
			break;
		default:
			/* Most of the arena can be used most of the time. */
			mprotect(worker->arena->map, ARENA_BYTES,
				 PROT_READ | PROT_WRITE);
			break;
		}
	}
	return NULL;
}

static void *fork_processes(void *arg)
{
	struct worker *worker = arg;

	for (;;) {
		pid_t pid = fork();

		if (!pid) {
			sleep_ms(below(worker, 5));
			_exit(0);
		}
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
	return NULL;
}

static bool rc_is_possible(int rc)
{
	static const int possible[] = {
		0, -EBUSY, -EFAULT, -EPERM, -EINTR, -ENOMEM,
	};
	size_t i;

	for (i = 0; i < sizeof(possible) / sizeof(*possible); i++)
		if (rc == possible[i])
			return true;
	return false;
}

static void *fault_ranges(void *arg)
{
	static const __u64 requests[] = { 0, REQ_READ, REQ_WRITE };
	struct worker *worker = arg;
	__u64 *slots = calloc(MAX_RANGE, sizeof(*slots));

	if (!slots)
		fatal("no memory");
	for (;;) {
		__u64 request = requests[below(worker, 3)];
		struct hmm_probe_call call = {
			.default_flags = request,
			.flags = worker->flags,
			.timeout_ms = 1 + below(worker, 50),
		};
		size_t npages;
		char *map = random_range(worker, &npages, MAX_RANGE);
		int rc;

		fill_slots(slots, npages, 0);
		rc = probe_call(worker->arena->fd, map, npages, slots, &call);
		if (!rc_is_possible(rc))
			fatal("rc %d", rc);
		if (!rc && count_slots(slots, npages, request) != npages)
			fatal("rc 0 with a request unmet");
		count(&tally->calls);
		if (!rc && request)
			count(&tally->met);
		if (rc == -EBUSY)
			count(&tally->busy);
	}
	return NULL;
}

static void *move_interval(void *arg)
{
	struct worker *worker = arg;

	for (;;) {
		probe_interval(worker->arena->fd, NULL, 0);
		sleep_ms(below(worker, 10));
	}
	return NULL;
}

static void start(struct worker *worker, void *(*work)(void *),
		  struct arena *arena, __u64 flags)
{
	pthread_t thread;

	worker->arena = arena;
	worker->seed = arena->seed++;
	worker->flags = flags;
	if (pthread_create(&thread, NULL, work, worker))
		fatal("pthread_create: %s", strerror(errno));
}

static void live_dangerously(unsigned int seed)
{
	struct arena arena = { .fd = probe_open(), .seed = seed };
	struct worker workers[6];

	if (arena.fd < 0)
		fatal("/dev/hmm_probe: %s", strerror(errno));
	arena.map = map_anon(ARENA_BYTES);
	start(&workers[0], change_mappings, &arena, 0);
	start(&workers[1], change_mappings, &arena, 0);
	start(&workers[2], fork_processes, &arena, 0);
	start(&workers[3], fault_ranges, &arena, 0);
	start(&workers[4], fault_ranges, &arena, HMM_PROBE_UNLOCKED);
	start(&workers[5], move_interval, &arena, 0);
	for (;;)
		pause();
}

/* A page that userfaultfd never fills. */
static void sleep_in_userfaultfd(unsigned int seed)
{
	struct uffd uffd;
	char *map = map_anon_small(PAGE_BYTES);
	int fd = probe_open();
	__u64 slot;

	(void)seed;
	if (uffd_open(&uffd, 0) ||
	    uffd_watch(&uffd, map, PAGE_BYTES,
		       UFFDIO_REGISTER_MODE_MISSING))
		_exit(4);
	probe_fault_all(fd, map, 1, &slot, REQ_READ, HMM_PROBE_UNLOCKED);
	fatal("the call returned, but the missing page was never filled");
}

/* The parent */

/*
 * Lets the process live for @ms or some more.
 * 0: killed; 1: did something wrong; 4: cannot run here; -1: stuck.
 */
static int kill_one(void (*live)(unsigned int seed), unsigned int seed, int ms)
{
	unsigned int random = seed;
	pid_t pid = fork_off();
	int status;

	if (!pid) {
		live(seed);
		_exit(1);
	}
	sleep_ms(ms + rand_r(&random) % 400);
	kill(pid, SIGKILL);
	status = wait_for_child(pid, REAP_SECONDS);
	if (status < 0)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

/* Users of the module: open files, and what a killed process left behind. */
static long module_users(void)
{
	return read_number("/sys/module/hmm_probe/refcnt");
}

/* Forked-off processes of a killed one need a moment to go. */
static bool module_becomes_free(void)
{
	int tries;

	for (tries = 0; tries < 500 && module_users(); tries++)
		sleep_ms(10);
	return !module_users();
}

FIXTURE(hmm_stress)
{
	unsigned int seed;
};

FIXTURE_SETUP(hmm_stress)
{
	int fd = probe_open();

	if (fd < 0)
		SKIP(return, "no /dev/hmm_probe");
	close(fd);
	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, tally);
	self->seed = from_environment("HMM_SEED", 1);
	printf("# seed %u\n", self->seed);
}

FIXTURE_TEARDOWN(hmm_stress)
{
}

TEST_F_TIMEOUT(hmm_stress, killed_while_everything_changes, TIMEOUT)
{
	unsigned long i;
	int rc = 0;

	/* On a slow kernel it takes some time before a call gets through. */
	for (i = 0; !rc && i < rounds() + (tally->met ? 0 : MORE_ROUNDS); i++)
		rc = kill_one(live_dangerously, self->seed + i * 100,
			      20 + i * LONGER_MS);
	ASSERT_EQ(0, rc);
	EXPECT_TRUE(module_becomes_free());
	printf("# %lu calls, %lu met their requests, %lu collided to the end\n",
	       tally->calls, tally->met, tally->busy);
	EXPECT_NE(0, tally->met);
}

TEST_F_TIMEOUT(hmm_stress, killed_while_asleep_in_userfaultfd, TIMEOUT)
{
	int rc = kill_one(sleep_in_userfaultfd, self->seed, 20);

	if (rc == 4)
		SKIP(return, "no userfaultfd");
	EXPECT_EQ(0, rc);
	EXPECT_TRUE(module_becomes_free());
}

/* The mirror outlives its process when another one holds the file. */
TEST_F(hmm_stress, mirror_outlives_its_process)
{
	int sockets[2];
	char *map = map_anon_small(PAGE_BYTES);
	__u64 slot = 0;
	struct hmm_probe_call call = {
		.addr = (uintptr_t)map,
		.npages = 1,
		.slots = (uintptr_t)&slot,
	};
	pid_t owner, child;
	char byte;

	ASSERT_EQ(0, pipe(sockets));
	fflush(stdout);
	owner = fork();
	ASSERT_LE(0, owner);
	if (!owner) {
		int fd = probe_open();

		child = fork();
		if (child)
			_exit(fd < 0 || child < 0);
		/* Reparented: wait until the owner of the mirror is gone. */
		while (kill(getppid(), 0) == 0 && getppid() != 1)
			sleep_ms(1);
		sleep_ms(100);
		byte = ioctl(fd, HMM_PROBE_FAULT, &call) ? errno : 0;
		if (write(sockets[1], &byte, 1) != 1)
			_exit(1);
		_exit(0);
	}
	close(sockets[1]);
	waitpid(owner, NULL, 0);
	ASSERT_EQ(1, read(sockets[0], &byte, 1));
	EXPECT_EQ(ESRCH, byte);
	close(sockets[0]);
	EXPECT_TRUE(module_becomes_free());
}

TEST_F(hmm_stress, module_unloads)
{
	int file = probe_module_file();

	if (file < 0)
		SKIP(return, "no module file to load it again from");
	ASSERT_TRUE(module_becomes_free());
	ASSERT_EQ(0, syscall(__NR_delete_module, "hmm_probe", O_NONBLOCK));
	ASSERT_EQ(0, syscall(__NR_finit_module, file, "", 0));
	close(file);
}

TEST_HARNESS_MAIN
