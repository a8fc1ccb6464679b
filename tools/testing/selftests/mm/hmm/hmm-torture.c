// SPDX-License-Identifier: GPL-2.0
/*
 * Torture of the MMU notifiers, by /dev/hmm_torture.
 *
 * Processes live for a few seconds each, one after another. Some threads of one
 * change an arena of its memory all the time, others subscribe to it, mirror it
 * and check the mirrors; then it is killed in the middle of all of it. Some are
 * quiet: their subscriptions stay, so that nothing but the end of an
 * invalidation wakes a reader. Some have a crowd of threads whose invalidations
 * take long. Beside them, others live for a moment: hmm_torture_short.c.
 *
 * This process watches: an error that the module has found, an operation that
 * does not get on, or a process that does not end is a failure. It touches
 * nothing that could make it wait as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hmm_torture.h"

#define PARKING		((char *)0x300000000)	/* each changer has a part */
#define LIFE_SECONDS	3
#define INTERVAL	15
#define CROWD		((char *)0x400000000)	/* each of the crowd has a page */
#define CROWD_SIZE	80	/* more than have slots in the core */

#ifndef SYS_process_mrelease
#define SYS_process_mrelease	448
#endif

size_t page_size;
int device;
unsigned int seed = 1;
unsigned int changer_rest = 12000;
bool copy;

/* Counters, by enum hmm_torture_count: the name, and when it must increase */
static const struct {
	const char *name;
	enum { NEVER, ALWAYS, IN_COPY, IN_ALL } must;
} counted[HMM_TORTURE_COUNTS] = {
	[HMM_TORTURE_READS] = { "reads", ALWAYS },
	[HMM_TORTURE_RETRIES] = { "retries", ALWAYS },
	[HMM_TORTURE_CHECKS] = { "checks", ALWAYS },
	[HMM_TORTURE_INSERTS] = { "inserts", ALWAYS },
	[HMM_TORTURE_REMOVES] = { "removes", ALWAYS },
	[HMM_TORTURE_ASYNCS] = { "asyncs", ALWAYS },
	[HMM_TORTURE_FROM_CALLBACKS] = { "from-callbacks", ALWAYS },
	[HMM_TORTURE_CALLBACK_REMOVES] = { "callback-removes", IN_ALL },
	[HMM_TORTURE_CALLBACK_INSERTS] = { "callback-inserts", IN_ALL },
	[HMM_TORTURE_RELEASES] = { "releases", ALWAYS },
	[HMM_TORTURE_RESIZES] = { "resizes", ALWAYS },
	[HMM_TORTURE_LISTS] = { "lists", ALWAYS },
	[HMM_TORTURE_LIST_READS] = { "list-reads", ALWAYS },
	[HMM_TORTURE_LIST_CHECKS] = { "list-checks", ALWAYS },
	[HMM_TORTURE_LISTS_KILLED] = { "lists-killed", NEVER },
	[HMM_TORTURE_CALLBACKS] = { "callbacks", ALWAYS },
	[HMM_TORTURE_SECOND_PASSES] = { "second-passes", ALWAYS },
	[HMM_TORTURE_EXITS] = { "exits", ALWAYS },
	[HMM_TORTURE_NOOPS] = { "noops", IN_COPY },
	[HMM_TORTURE_NONBLOCKING] = { "nonblocking", IN_ALL },
	[HMM_TORTURE_REFUSALS] = { "refusals", NEVER },
	[HMM_TORTURE_UNBALANCED_STARTS] = { "unbalanced", NEVER },
};

/* In the process under torture */

struct worker {
	enum hmm_torture_op op;
	unsigned int number;
	unsigned int pause;	/* microseconds at most */
	bool also_quiet;
};

#define CHANGERS	3

static const struct worker workers[] = {
	{ HMM_TORTURE_READ, 4, 500, true },
	{ HMM_TORTURE_CHECK, 2, 500, true },
	{ HMM_TORTURE_INSERT, 2, 1000, true },
	{ HMM_TORTURE_REMOVE, 1, 4000, false },
	{ HMM_TORTURE_REMOVE_ASYNC, 1, 4000, false },
	{ HMM_TORTURE_RESIZE, 1, 4000, true },
	{ HMM_TORTURE_LIST, 1, 50000, true },
	{ HMM_TORTURE_NOOP, 2, 8000, true },
};

unsigned int below(unsigned int *state, unsigned int limit)
{
	return rand_r(state) % limit;
}

void rest(unsigned int *state, unsigned int microseconds)
{
	usleep(below(state, microseconds));
}

static void *work(void *argument)
{
	const struct worker *worker = argument;
	unsigned int state = seed + worker->op;

	for (;;) {
		/* The module reports errors; they are checked elsewhere. */
		ioctl(device, HMM_TORTURE_DO, worker->op);
		rest(&state, worker->pause);
	}
	return NULL;
}

void map_anew(char *address, size_t size)
{
	mmap(address, size, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void move_and_return(char *address, size_t size, char *parking)
{
	if (mremap(address, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
		   parking) == MAP_FAILED)
		return;
	if (mremap(parking, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
		   address) == MAP_FAILED)
		munmap(parking, size);
}

static void fork_once(void)
{
	pid_t child = fork();

	if (!child)
		_exit(0);
	if (child > 0)
		waitpid(child, NULL, 0);
}

void *change(void *argument)
{
	unsigned int number = (uintptr_t)argument;
	unsigned int state = seed * CHANGERS + number;

	for (;;) {
		unsigned int first = below(&state, HMM_TORTURE_PAGES);
		unsigned int pages = 1 + below(&state, HMM_TORTURE_PAGES - first);
		char *address = ARENA + first * page_size;
		size_t size = pages * page_size;

		switch (below(&state, 8)) {
		case 0:
			munmap(address, size);
			sched_yield();
			map_anew(address, size);
			break;
		case 1:
			mprotect(address, size, PROT_READ);
			sched_yield();
			mprotect(address, size, PROT_READ | PROT_WRITE);
			break;
		case 2:
			move_and_return(address, size, PARKING +
					number * HMM_TORTURE_PAGES * page_size);
			break;
		case 3:
			if (!below(&state, 8))
				fork_once();
			break;
		case 4:
			/*
			 * The whole arena, so that it does not become many
			 * small mappings
			 */
			if (!below(&state, 16))
				map_anew(ARENA, HMM_TORTURE_PAGES * page_size);
			break;
		default:
			madvise(address, size, MADV_DONTNEED);
			break;
		}
		rest(&state, changer_rest);
	}
	return NULL;
}

void begin_thread(void *(*function)(void *), void *argument)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, function, argument))
		_exit(1);
}

/* Nothing is given back; it is an invalidation, and takes long all the same. */
static void *crowd(void *number)
{
	char *page = CROWD + (uintptr_t)number * page_size;

	for (;;)
		madvise(page, page_size, MADV_DONTNEED);
	return NULL;
}

static void begin_crowd(void)
{
	uintptr_t i;

	map_anew(CROWD, CROWD_SIZE * page_size);
	for (i = 0; i < CROWD_SIZE; i++)
		begin_thread(crowd, (void *)i);
}

static void live(unsigned int flags)
{
	struct hmm_torture_arena arena = {
		.start = (uintptr_t)ARENA,
		.seed = seed,
		.flags = flags,
	};
	bool quiet = flags & HMM_TORTURE_QUIET;
	uintptr_t changer;
	unsigned int i, j;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	device = open(DEVICE, O_RDWR | O_CLOEXEC);
	map_anew(ARENA, HMM_TORTURE_PAGES * page_size);
	/* The first subscription is to meet invalidations that are under way. */
	for (changer = 0; changer < CHANGERS; changer++)
		begin_thread(change, (void *)changer);
	if (device < 0 || ioctl(device, HMM_TORTURE_SET_UP, &arena))
		_exit(1);

	for (i = 0; i < ARRAY_SIZE(workers); i++) {
		if ((quiet && !workers[i].also_quiet) ||
		    (!copy && workers[i].op == HMM_TORTURE_NOOP))
			continue;
		for (j = 0; j < workers[i].number; j++)
			begin_thread(work, (void *)&workers[i]);
	}
	/* Last: with a crowd, to create a thread takes long. */
	if (flags & HMM_TORTURE_CROWD)
		begin_crowd();
	for (;;)
		pause();
}

/* In the process that watches */

double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static noreturn void failed(const char *what, const char *which)
{
	printf("hmm-torture: FAILURE: %s%s\n", what, which);
	fflush(stdout);
	_exit(1);
}

/* An error that says nothing about the notifiers is not a failure of theirs. */
noreturn void give_up(const char *what)
{
	printf("hmm-torture: ERROR: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

static struct hmm_torture_state look(void)
{
	struct hmm_torture_state state;
	const char *failure;

	if (ioctl(device, HMM_TORTURE_STATE, &state))
		give_up("state");
	if (state.failure[0])
		failed(state.failure, "");
	count_short_lived(&failure);
	if (failure)
		failed(failure, "");
	return state;
}

static bool is_copy(void)
{
	struct hmm_torture_state state;

	if (ioctl(device, HMM_TORTURE_STATE, &state))
		give_up("state");
	return state.copy;
}

static void show(const struct hmm_torture_state *state, double seconds)
{
	const char *failure;
	unsigned int i;

	printf("hmm-torture: %.0f s short-lived %llu", seconds,
	       count_short_lived(&failure));
	for (i = 0; i < HMM_TORTURE_COUNTS; i++)
		printf(" %s %llu", counted[i].name,
		       (unsigned long long)state->counts[i]);
	printf("\n");
	fflush(stdout);
}

/* Every kind of operation has to get on between two looks. */
static void check_progress(const struct hmm_torture_state *before,
			   const struct hmm_torture_state *after)
{
	unsigned int i;

	for (i = 0; i < HMM_TORTURE_COUNTS; i++) {
		bool must = counted[i].must == ALWAYS ||
			    (counted[i].must == IN_COPY && copy);

		if (must && before->counts[i] == after->counts[i])
			failed("stalled: ", counted[i].name);
	}
}

/* What a run as a whole must have met. */
static void check_all(const struct hmm_torture_state *state)
{
	const char *failure;
	unsigned int i;

	for (i = 0; i < HMM_TORTURE_COUNTS; i++)
		if (counted[i].must != NEVER && !state->counts[i] &&
		    (counted[i].must != IN_COPY || copy))
			failed("never happened: ", counted[i].name);
	if (!count_short_lived(&failure))
		failed("never happened: ", "short-lived");
}

/*
 * A killed process exits while it has subscriptions. process_mrelease() reaps
 * its memory before it has exited, without sleeping. Not with the copy, which
 * might miss the end of an invalidation that outlasts the process.
 */
static void kill_process(pid_t process)
{
	int pidfd = syscall(SYS_pidfd_open, process, 0);
	int tries;

	kill(process, SIGKILL);
	for (tries = 0; pidfd >= 0 && !copy && tries < 20; tries++)
		if (!syscall(SYS_process_mrelease, pidfd, 0) || errno != EAGAIN)
			break;
	if (pidfd >= 0)
		close(pidfd);
}

static void end_process(pid_t process)
{
	double until = now() + END_SECONDS;

	kill_process(process);
	while (waitpid(process, NULL, WNOHANG) != process) {
		look();
		if (now() > until)
			failed("stalled: a process does not end", "");
		usleep(10000);
	}
}

/* One process, from fork() to its end */
static void one_life(unsigned int flags, double until)
{
	double end = now() + LIFE_SECONDS;
	pid_t process = fork();
	int status;

	if (process < 0)
		give_up("fork");
	if (!process)
		live(flags);
	if (end > until)
		end = until;
	while (now() < end) {
		usleep(100000);
		look();
		if (waitpid(process, &status, WNOHANG) == process)
			failed("a process has ended by itself", "");
	}
	end_process(process);
}

static void run(unsigned int seconds)
{
	static const unsigned int lives[] = {
		0, HMM_TORTURE_QUIET, 0, HMM_TORTURE_CROWD | HMM_TORTURE_QUIET,
	};
	double begun = now(), shown = begun, until = begun + seconds;
	struct hmm_torture_state before, after;
	unsigned int life = 0;

	copy = is_copy();
	begin_short_lived();
	before = look();
	while (now() < until) {
		one_life(lives[life++ % ARRAY_SIZE(lives)], until);
		seed = seed * 1103515245 + 12345;
		if (now() - shown < INTERVAL)
			continue;
		shown = now();
		after = look();
		show(&after, shown - begun);
		check_progress(&before, &after);
		before = after;
	}
	after = look();
	show(&after, now() - begun);
	check_all(&after);
	end_short_lived();
	printf("hmm-torture: SUCCESS: %llu checks of mirrors, %llu callbacks\n",
	       (unsigned long long)after.counts[HMM_TORTURE_CHECKS],
	       (unsigned long long)after.counts[HMM_TORTURE_CALLBACKS]);
}

int main(int argc, char **argv)
{
	unsigned int seconds = 60;
	int option;

	while ((option = getopt(argc, argv, "s:t:")) != -1) {
		switch (option) {
		case 's':
			seed = strtoul(optarg, NULL, 0);
			break;
		case 't':
			seconds = strtoul(optarg, NULL, 0);
			break;
		default:
			fprintf(stderr, "usage: hmm-torture [-s SEED] [-t SECONDS]\n");
			return 2;
		}
	}
	page_size = sysconf(_SC_PAGESIZE);
	device = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0)
		give_up(DEVICE);
	run(seconds);
	return 0;
}
