// SPDX-License-Identifier: GPL-2.0
/*
 * Short-lived processes for hmm-torture: each subscribes for the first time,
 * while its own threads change its memory, and is killed soon after.
 *
 * All of it goes on beside two other processes that are in the middle of an
 * invalidation all the time, and that no first subscription may wait for: a
 * fork that memory.high throttles, and mprotect() under SCHED_IDLE.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hmm_torture.h"

#define MANY		((char *)0x500000000)	/* what is forked or protected */
#define PAGE_TABLE_BYTES (512 * page_size)
#define CGROUPS		"/sys/fs/cgroup"
#define CGROUP		CGROUPS "/hmm_torture"
#define CHANGERS	2
#define LISTERS		3
#define SHORT_REST_US	300	/* a changer's pauses */
#define LONG_LEAD_US	20000	/* from a long invalidation to a subscription */

/* What is reported to the process that watches */
static struct {
	unsigned long long count;	/* atomic */
	int subscribed;			/* atomic: the one that lives has */
	char failure[64];
	int failed;			/* atomic */
} *shared;

static pid_t supervisor;

static void set(int *flag, int value)
{
	__atomic_store_n(flag, value, __ATOMIC_RELEASE);
}

static int get(int *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

/* Others */

static bool put(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CLOEXEC);
	bool done = file >= 0 && write(file, text, strlen(text)) > 0;

	if (file >= 0)
		close(file);
	return done;
}

static void join_cgroup(void)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", getpid());
	if (!put(CGROUP "/cgroup.procs", text))
		give_up(CGROUP);
}

static void make_cgroup(void)
{
	if (mount("none", CGROUPS, "cgroup2", 0, NULL) && errno != EBUSY)
		give_up(CGROUPS);
	if (mkdir(CGROUP, 0755) && errno != EEXIST)
		give_up(CGROUP);
	if (!put(CGROUPS "/cgroup.subtree_control", "+memory") ||
	    !put(CGROUP "/memory.high", "1M"))
		give_up("memory.high");
}

/* Page tables without memory behind them, of a mapping that fork copies */
static void map_page_tables(size_t size)
{
	size_t i;

	if (mmap(MANY, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
		 -1, 0) != MANY)
		give_up("mmap");
	madvise(MANY, size, MADV_NOHUGEPAGE);
	for (i = 0; i < size; i += PAGE_TABLE_BYTES)
		(void)__atomic_load_n(&MANY[i], __ATOMIC_RELAXED);
	MANY[page_size] = 1;
}

static void fork_throttled(void)
{
	map_page_tables(4UL << 30);
	join_cgroup();
	for (;;) {
		pid_t child = fork();

		if (!child)
			_exit(0);
		if (child > 0)
			waitpid(child, NULL, 0);
	}
}

static void mprotect_idle(void)
{
	static const struct sched_param zero;
	size_t size = 64 * PAGE_TABLE_BYTES, i;

	map_page_tables(size);
	for (i = 0; i < size; i += page_size)
		(void)__atomic_load_n(&MANY[i], __ATOMIC_RELAXED);
	if (sched_setscheduler(0, SCHED_IDLE, &zero))
		give_up("SCHED_IDLE");
	for (;;) {
		mprotect(MANY, size, PROT_NONE);
		mprotect(MANY, size, PROT_READ | PROT_WRITE);
	}
}

/* In a short-lived process */

static void act(enum hmm_torture_op op)
{
	/* The module reports errors; they are checked elsewhere. */
	ioctl(device, HMM_TORTURE_DO, op);
}

static void *list(void *unused)
{
	for (;;)
		if (!ioctl(device, HMM_TORTURE_DO, HMM_TORTURE_LIST))
			set(&shared->subscribed, 1);
	return NULL;
}

/* There are few slots, all empty at first: a read soon finds a subscription. */
static void *mirror(void *unused)
{
	for (;;) {
		act(HMM_TORTURE_INSERT_READ);
		act(HMM_TORTURE_READ);
		act(HMM_TORTURE_READ);
		act(HMM_TORTURE_CHECK);
		set(&shared->subscribed, 1);
	}
	return NULL;
}

/* An invalidation that takes long, and the first subscription meanwhile */

static void *invalidate_long(void *unused)
{
	usleep(1000);
	act(HMM_TORTURE_LONG);
	return NULL;
}

/* Nothing but the end of that invalidation wakes the reader. */
static void *fill_and_read(void *unused)
{
	int i;

	usleep(LONG_LEAD_US);
	for (i = 0; i < 20; i++)
		act(HMM_TORTURE_INSERT);
	for (i = 0; i < 40; i++)
		act(HMM_TORTURE_READ);
	set(&shared->subscribed, 1);
	return NULL;
}

/* ... or the register, which may be killed while it waits */
static void *list_late(void *unused)
{
	usleep(LONG_LEAD_US);
	return list(NULL);
}

static void *list_and_die(void *unused)
{
	usleep(LONG_LEAD_US);
	set(&shared->subscribed, 1);
	return list(NULL);
}

/* An invalidation that never ends: others go on, and this process ends. */
static void *unbalance(void *unused)
{
	if (seed % 2)
		act(HMM_TORTURE_INSERT);
	act(HMM_TORTURE_UNBALANCED);
	set(&shared->subscribed, 1);
	return NULL;
}

/* The real invalidation that takes long: a fork that is throttled */

static void *fork_long(void *unused)
{
	if (!fork())
		_exit(0);
	return NULL;
}

static void *list_beside_fork(void *unused)
{
	map_page_tables(1UL << 30);
	join_cgroup();
	/* A changer may fork first, and keep the thread from being made. */
	set(&shared->subscribed, 1);
	begin_thread(fork_long, NULL);
	usleep(2 * LONG_LEAD_US);
	return list(NULL);
}

struct kind {
	void *(*function)(void *unused);
	unsigned int threads;
	unsigned int life_us;	/* after the first subscription; at most */
	void *(*also)(void *unused);	/* by one thread */
	unsigned int flags;	/* HMM_TORTURE_* */
	bool still;		/* nothing changes the arena */
	bool only_copy;
	bool only_real;
};

static const struct kind kinds[] = {
	{ mirror, 2, 40000 },
	{ list, 1, 40000 },
	{ mirror, 1, 20000 },
	{ list, LISTERS, 60000 },
	{ fill_and_read, 1, 2000, invalidate_long,
	  .still = true, .only_copy = true },
	{ mirror, 2, 20000, .flags = HMM_TORTURE_CROWD },
	{ fill_and_read, 1, 2000, invalidate_long, HMM_TORTURE_CROWD,
	  .still = true, .only_copy = true },
	{ mirror, 2, 40000, list },
	{ list_late, 1, 2000, invalidate_long,
	  .still = true, .only_copy = true },
	{ unbalance, 1, 40000, .only_copy = true },
	{ list_and_die, 1, 100000, invalidate_long, .only_copy = true },
	{ list_beside_fork, 1, 400000, .only_real = true },
};

static void live(const struct kind *kind)
{
	struct hmm_torture_arena arena = {
		.start = (uintptr_t)ARENA,
		.seed = seed,
		.flags = kind->flags,
	};
	unsigned int state = seed, i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	changer_rest = SHORT_REST_US;
	device = open(DEVICE, O_RDWR | O_CLOEXEC);
	map_anew(ARENA, HMM_TORTURE_PAGES * page_size);
	for (i = 0; !kind->still && i < CHANGERS; i++)
		begin_thread(change, (void *)(uintptr_t)i);
	rest(&state, 2000);
	if (device < 0 || ioctl(device, HMM_TORTURE_SET_UP, &arena))
		_exit(1);
	/* The copy has to meet invalidations that began without subscriptions. */
	rest(&state, 3000);
	if (kind->also)
		begin_thread(kind->also, NULL);
	for (i = 0; i < kind->threads; i++)
		begin_thread(kind->function, NULL);
	for (;;)
		pause();
}

/* In the process that begins them */

static noreturn void stalled(const char *what)
{
	strncpy(shared->failure, what, sizeof(shared->failure) - 1);
	set(&shared->failed, 1);
	for (;;)
		pause();
}

static void wait_for_subscription(pid_t process)
{
	double until = now() + END_SECONDS;

	while (!get(&shared->subscribed)) {
		if (now() > until)
			stalled("stalled: a first subscription");
		if (waitpid(process, NULL, WNOHANG) == process)
			stalled("a short-lived process has ended by itself");
		usleep(2000);
	}
}

static void wait_for_end(pid_t process)
{
	double until = now() + END_SECONDS;

	kill(process, SIGKILL);
	while (waitpid(process, NULL, WNOHANG) != process) {
		if (now() > until)
			stalled("stalled: a short-lived process does not end");
		usleep(2000);
	}
}

static void one_short_life(const struct kind *kind, unsigned int *state)
{
	pid_t process;

	set(&shared->subscribed, 0);
	seed = rand_r(state);
	process = fork();
	if (!process)
		live(kind);
	if (process < 0)
		return;
	wait_for_subscription(process);
	rest(state, kind->life_us);
	wait_for_end(process);
	__atomic_add_fetch(&shared->count, 1, __ATOMIC_RELAXED);
}

static void begin_other(void (*function)(void))
{
	pid_t other = fork();

	if (other < 0)
		give_up("fork");
	if (other)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	function();
	_exit(1);
}

static void supervise(void)
{
	unsigned int state = seed, i = 0;

	begin_other(fork_throttled);
	begin_other(mprotect_idle);
	for (;; i = (i + 1) % ARRAY_SIZE(kinds))
		if (!(kinds[i].only_copy && !copy) &&
		    !(kinds[i].only_real && copy))
			one_short_life(&kinds[i], &state);
}

/* In the process that watches */

void begin_short_lived(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		give_up("mmap");
	make_cgroup();
	supervisor = fork();
	if (supervisor < 0)
		give_up("fork");
	if (supervisor)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	supervise();
}

void end_short_lived(void)
{
	put(CGROUP "/memory.high", "max");
	kill(supervisor, SIGKILL);
	waitpid(supervisor, NULL, 0);
}

/* How many there have been; @failure is what went wrong, if anything did. */
unsigned long long count_short_lived(const char **failure)
{
	*failure = get(&shared->failed) ? shared->failure : NULL;
	return __atomic_load_n(&shared->count, __ATOMIC_RELAXED);
}
