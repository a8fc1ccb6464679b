// SPDX-License-Identifier: GPL-2.0
/*
 * Random commands, good and bad, to the dummy HMM devices, while the memory
 * that they are about changes under them.
 *
 * A worker process does the damage: threads that issue commands, one that
 * maps, unmaps, protects, moves, touches and forks, and children of it that
 * are mirrored, scribble and get killed. The program itself only waits, and
 * then looks: has the worker come through, has the kernel reported nothing,
 * has all device memory come back?
 *
 * Environment:
 *	HMM_FUZZ_CALLS	commands to issue; default 1000000, or 20000 when
 *			HMM_QUICK is set
 *	HMM_FUZZ_SEED	repeat the choices (not the timing) of another run
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../../../../lib/test_hmm_uapi.h"
#include "lib/common.h"

#define DEVICES		4
#define FILES		8
#define CALLERS		3
#define CHILDREN	3
#define ARENA_BYTES	(4 * HUGE_BYTES)
#define BUFFER_BYTES	(2 * HUGE_BYTES)
#define MOST_PAGES	1024
#define CHANGES_AHEAD	32
#define CALLS_A_CHANGE	3

/* Bits of /proc/sys/kernel/tainted: there was an oops, or a warning. */
#define TAINT_DIE	0x80UL
#define TAINT_WARN	0x200UL

/* What the worker reports to the program, in memory that they share */
struct tally {
	unsigned long calls;
	unsigned long succeeded;
	unsigned long changes;
	unsigned long touches;
};

static struct tally *tally;
static unsigned long wanted_calls;
static __u64 seed;

static char *arena;			/* what commands are about */
static char *buffers[CALLERS];		/* one for each thread that commands */
static int files[FILES];		/* open devices, -1 for none */
static pid_t children[CHILDREN];	/* the changer's, 0 for none */
static int pidfds[CHILDREN];		/* theirs, dead ones' as well; -1 for none */
static int no_device;			/* an open file that is neither device nor pidfd */
static bool stop;			/* atomic */

static __thread __u64 state;
static __thread sigjmp_buf fault_jump;
static __thread sig_atomic_t fault_expected;	/* atomic */

static __u64 next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1dULL;
}

static unsigned long below(unsigned long limit)
{
	return (next_random() >> 16) % limit;
}

static bool one_in(unsigned long n)
{
	return !below(n);
}

static void seed_random(__u64 which)
{
	state = (seed + which + 1) * 0x9e3779b97f4a7c15ULL;
	if (!state)
		state = 1;
	next_random();
}

/* The arena's pages are not always there to be touched. */
static void on_fault(int number)
{
	if (__atomic_load_n(&fault_expected, __ATOMIC_RELAXED))
		siglongjmp(fault_jump, 1);
	signal(number, SIG_DFL);
	raise(number);
}

static void touch(char *at, bool write)
{
	if (!sigsetjmp(fault_jump, 1)) {
		__atomic_store_n(&fault_expected, 1, __ATOMIC_SEQ_CST);
		if (write)
			__atomic_store_n(at, 1, __ATOMIC_SEQ_CST);
		else
			__atomic_load_n(at, __ATOMIC_SEQ_CST);
	}
	__atomic_store_n(&fault_expected, 0, __ATOMIC_SEQ_CST);
}

static char *some_page(void)
{
	return arena + below(ARENA_BYTES / PAGE_BYTES) * PAGE_BYTES;
}

/* A range of the arena: mostly short, now and then a huge page, or more */
static char *some_range(size_t *bytes)
{
	char *at = some_page();

	*bytes = (1 + below(8)) * PAGE_BYTES;
	if (one_in(128)) {
		*bytes = (1 + below(MOST_PAGES)) * PAGE_BYTES;
	} else if (one_in(64)) {
		at = arena + below(ARENA_BYTES / HUGE_BYTES) * HUGE_BYTES;
		*bytes = HUGE_BYTES;
	}
	if (*bytes > (size_t)(arena + ARENA_BYTES - at))
		*bytes = arena + ARENA_BYTES - at;
	return at;
}

/* 7.3's driver, which does not survive this, counts nothing. */
static bool device_is_there(unsigned int number)
{
	struct hmm_dmirror_counters counters;
	int fd = dmirror_open(number);
	bool there = fd >= 0 && !ioctl(fd, HMM_DMIRROR_COUNTERS, &counters);

	if (fd >= 0)
		close(fd);
	return there;
}

static __u64 odd_number(void)
{
	static const __u64 odd[] = {
		0, 1, 4095, 4096, ~0ULL, ~0ULL << 12, 1ULL << 63, 1ULL << 52, (1ULL << 52) - 1,
		1ULL << 47, 0xffff800000000000ULL, 0x7fffffffffffULL, 1ULL << 32, 1ULL << 40,
	};

	return one_in(4) ? next_random() : odd[below(sizeof(odd) / sizeof(*odd))];
}

/* A file to command: nearly always a device, when any is open */
static int some_file(void)
{
	if (one_in(200))
		return -1;
	return __atomic_load_n(&files[below(FILES)], __ATOMIC_RELAXED);
}

static void replace_file(void)
{
	unsigned int slot = below(FILES);
	int new = one_in(4) ? -1 : dmirror_open(below(DEVICES));
	int old = __atomic_exchange_n(&files[slot], new, __ATOMIC_RELAXED);

	if (old >= 0)
		close(old);
}

static int command_on_range(int fd, char *buffer)
{
	static const unsigned int numbers[] = {
		HMM_DMIRROR_READ, HMM_DMIRROR_WRITE, HMM_DMIRROR_MIGRATE_TO_DEV,
		HMM_DMIRROR_MIGRATE_TO_DEV, HMM_DMIRROR_MIGRATE_TO_SYS, HMM_DMIRROR_SNAPSHOT,
		HMM_DMIRROR_EXCLUSIVE, HMM_DMIRROR_CHECK_EXCLUSIVE, HMM_DMIRROR_READ_UNLOCKED,
	};
	struct hmm_dmirror_cmd cmd = { .ptr = (uintptr_t)buffer };
	size_t bytes;

	cmd.addr = (uintptr_t)some_range(&bytes);
	cmd.npages = bytes / PAGE_BYTES;
	if (one_in(20))
		cmd.addr = odd_number();
	if (one_in(40)) {
		cmd.npages = odd_number();
		cmd.ptr += BUFFER_BYTES - PAGE_BYTES;
	}
	if (one_in(20))
		cmd.ptr = odd_number();
	else if (one_in(20))
		cmd.ptr = (uintptr_t)some_page();
	return ioctl(fd, numbers[below(sizeof(numbers) / sizeof(*numbers))], &cmd);
}

static int command_place(int fd, char *buffer)
{
	struct hmm_dmirror_place place = {
		.flags = below(HMM_DMIRROR_PLACE_FLAGS + 1),
		.timeout = below(1000),
		.skip = one_in(3) ? (uintptr_t)buffer : 0,
		.prot = one_in(3) ? (uintptr_t)buffer : 0,
		.why = one_in(3) ? (uintptr_t)buffer : 0,
	};
	struct hmm_dmirror_cmd cmd = { .ptr = (uintptr_t)&place };
	size_t bytes;

	cmd.addr = (uintptr_t)some_range(&bytes);
	cmd.npages = bytes / PAGE_BYTES;
	if (one_in(40))
		place.skip = odd_number();
	if (one_in(40))
		place.prot = (uintptr_t)some_page();
	if (one_in(40))
		place.flags = odd_number();
	return ioctl(fd, HMM_DMIRROR_PLACE, &cmd);
}

static int command_flags(int fd)
{
	struct hmm_dmirror_cmd cmd = { .npages = below(2) };

	if (one_in(10))
		cmd.npages = odd_number();
	return ioctl(fd, HMM_DMIRROR_FLAGS, &cmd);
}

static int command_attach(int fd)
{
	struct hmm_dmirror_attach args = { .flags = one_in(20) };
	int own = -1, ret;

	switch (below(8)) {
	case 0:
		args.pidfd = (int)odd_number();
		break;
	case 1:
		args.pidfd = no_device;
		break;
	case 2:
		own = syscall(SYS_pidfd_open, 2, 0);
		args.pidfd = own;
		break;
	case 3:
	case 4:
		own = syscall(SYS_pidfd_open, getpid(), 0);
		args.pidfd = own;
		break;
	default:
		args.pidfd = __atomic_load_n(&pidfds[below(CHILDREN)], __ATOMIC_RELAXED);
	}
	ret = ioctl(fd, HMM_DMIRROR_ATTACH, &args);
	if (own >= 0)
		close(own);
	return ret;
}

static int command_failpoint(int fd)
{
	struct hmm_dmirror_failpoint args = {
		.point = below(HMM_DMIRROR_FAIL_POINTS + 1),
		.flags = one_in(50),
		.nth = one_in(20) ? odd_number() : below(100),
	};

	return ioctl(fd, HMM_DMIRROR_FAILPOINT, &args);
}

static int command_of_any_number(int fd)
{
	struct hmm_dmirror_cmd cmd = { .addr = odd_number(), .npages = odd_number() };
	unsigned int number = _IOC(below(4), 'H', below(20), below(200));
	void *arg = one_in(2) ? (void *)(uintptr_t)odd_number() : &cmd;

	/* Flags can be set by accident. */
	if (number == HMM_DMIRROR_FLAGS)
		return 0;
	return ioctl(fd, number, arg);
}

static int command(char *buffer)
{
	int fd = some_file();
	struct hmm_dmirror_counters counters;
	struct hmm_dmirror_evict evict;
	struct hmm_dmirror_cmd release = {};

	switch (below(2000)) {
	case 0:
		return ioctl(fd, HMM_DMIRROR_RELEASE, &release);
	case 1 ... 4:
		return ioctl(fd, HMM_DMIRROR_EVICT, &evict);
	case 5 ... 39:
		return command_attach(fd);
	case 40 ... 99:
		return command_failpoint(fd);
	case 100 ... 149:
		return command_flags(fd);
	case 150 ... 299:
		return command_of_any_number(fd);
	case 300 ... 309:
		return ioctl(fd, HMM_DMIRROR_COUNTERS, &counters);
	case 310 ... 314:
		replace_file();
		return 0;
	case 315 ... 599:
		return command_place(fd, buffer);
	default:
		return command_on_range(fd, buffer);
	}
}

static void *caller(void *number)
{
	char *buffer = buffers[(uintptr_t)number];

	seed_random((uintptr_t)number);
	while (__atomic_fetch_add(&tally->calls, 1, __ATOMIC_RELAXED) < wanted_calls) {
		if (!command(buffer))
			__atomic_fetch_add(&tally->succeeded, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void touch_some(unsigned long times)
{
	while (times--) {
		touch(some_page() + below(PAGE_BYTES), below(2));
		__atomic_fetch_add(&tally->touches, 1, __ATOMIC_RELAXED);
	}
}

/* A mirrored process of its own; it has what the worker had mapped. */
static __noreturn void child(__u64 which)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	seed_random(which);
	alarm(60);
	for (;;) {
		touch_some(16);
		usleep(1000);
		if (one_in(500))
			_exit(0);
	}
}

/* Kill a child or await its end, or start a new one. */
static void replace_child(__u64 which)
{
	unsigned int slot = below(CHILDREN);
	int old;

	if (children[slot]) {
		if (one_in(2))
			kill(children[slot], SIGKILL);
		else if (waitpid(children[slot], NULL, WNOHANG) <= 0)
			return;
		while (waitpid(children[slot], NULL, 0) < 0 && errno == EINTR)
			;
		children[slot] = 0;
		return;
	}
	children[slot] = fork();
	if (!children[slot])
		child(which);
	if (children[slot] < 0) {
		children[slot] = 0;
		return;
	}
	old = __atomic_exchange_n(&pidfds[slot], (int)syscall(SYS_pidfd_open, children[slot], 0),
				  __ATOMIC_RELAXED);
	if (old >= 0)
		close(old);
}

static void map_something(void)
{
	static const int access[] = {
		PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
		PROT_READ, PROT_NONE,
	};
	int flags = MAP_FIXED | MAP_ANONYMOUS | (one_in(6) ? MAP_SHARED : MAP_PRIVATE);
	size_t bytes;
	char *at = some_range(&bytes);

	mmap(at, bytes, access[below(sizeof(access) / sizeof(*access))], flags, -1, 0);
}

/* A device's own mapping: ordinary pages in a special VMA */
static void map_device(void)
{
	size_t bytes;
	char *at = some_range(&bytes);

	mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE, some_file(), 0);
}

static void advise(void)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLLAPSE,
		MADV_PAGEOUT, MADV_MERGEABLE, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
	};
	size_t bytes;
	char *at = some_range(&bytes);

	madvise(at, bytes, advice[below(sizeof(advice) / sizeof(*advice))]);
}

static void protect(void)
{
	size_t bytes;
	char *at = some_range(&bytes);

	mprotect(at, bytes, one_in(8) ? PROT_NONE :
		 PROT_READ | (one_in(3) ? 0 : PROT_WRITE));
}

static void move(void)
{
	size_t bytes;
	char *from = some_range(&bytes);
	char *to = arena + below((ARENA_BYTES - bytes) / PAGE_BYTES + 1) * PAGE_BYTES;
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (one_in(3) ? MREMAP_DONTUNMAP : 0);

	(void)!mremap(from, bytes, bytes, flags, to);
}

/* Map a whole huge page: random changes would rarely leave one. */
static void map_huge(void)
{
	char *at = arena + below(ARENA_BYTES / HUGE_BYTES) * HUGE_BYTES;

	if (mmap(at, HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS,
		 -1, 0) == at && !one_in(4))
		touch(at, !one_in(4));
}

static void fill(void)
{
	size_t bytes, i;
	char *at = some_range(&bytes);

	for (i = 0; i < bytes; i += PAGE_BYTES)
		touch(at + i, true);
}

static void change(__u64 round)
{
	size_t bytes;
	char *at;

	switch (below(24)) {
	case 0 ... 2:
		map_something();
		break;
	case 3:
		at = some_range(&bytes);
		munmap(at, bytes);
		break;
	case 4:
		map_device();
		break;
	case 5 ... 7:
		advise();
		break;
	case 8 ... 9:
		protect();
		break;
	case 10:
		move();
		break;
	case 11:
		replace_child(1000 + round);
		break;
	case 12 ... 13:
		fill();
		break;
	case 14 ... 16:
		map_huge();
		break;
	default:
		touch_some(32);
	}
}

/*
 * A device that mirrors the whole process has to start again at each change,
 * so let changes get ahead of the calls by a burst, and no further.
 */
static bool changes_are_ahead(void)
{
	unsigned long calls = __atomic_load_n(&tally->calls, __ATOMIC_RELAXED);

	return tally->changes >= calls / CALLS_A_CHANGE + CHANGES_AHEAD;
}

static void wait_for_calls(void)
{
	while (changes_are_ahead() && !__atomic_load_n(&stop, __ATOMIC_RELAXED))
		usleep(100);
}

static void *changer(void *unused)
{
	__u64 round;

	seed_random(CALLERS);
	for (round = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); round++) {
		wait_for_calls();
		change(round);
		tally->changes++;
		sched_yield();
	}
	return NULL;
}

/*
 * Nothing may be mapped in the arena's holes later, so map it all before there
 * are any. The page behind a buffer ends what commands write to it.
 */
static char *map_buffer(void)
{
	char *buffer = mmap(NULL, BUFFER_BYTES + PAGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (buffer == MAP_FAILED || mprotect(buffer + BUFFER_BYTES, PAGE_BYTES, PROT_NONE))
		exit(1);
	return buffer;
}

static void worker_set_up(void)
{
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	unsigned int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);

	/* A huge page of slack on either side, so that the arena is aligned. */
	arena = mmap(NULL, ARENA_BYTES + 2 * HUGE_BYTES, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED)
		exit(1);
	arena = (char *)(((uintptr_t)arena + HUGE_BYTES) & ~(HUGE_BYTES - 1));
	mmap(arena, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS,
	     -1, 0);

	for (i = 0; i < CALLERS; i++)
		buffers[i] = map_buffer();
	no_device = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (i = 0; i < FILES; i++)
		files[i] = dmirror_open(i % DEVICES);
	for (i = 0; i < CHILDREN; i++)
		pidfds[i] = -1;
}

/* The worker: all that may crash or hang runs in this process. */
static __noreturn void worker(void)
{
	pthread_t callers[CALLERS], change_thread;
	unsigned int i;

	worker_set_up();
	for (i = 0; i < CALLERS; i++)
		if (pthread_create(&callers[i], NULL, caller, (void *)(uintptr_t)i))
			exit(1);
	if (pthread_create(&change_thread, NULL, changer, NULL))
		exit(1);

	for (i = 0; i < CALLERS; i++)
		pthread_join(callers[i], NULL);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(change_thread, NULL);
	for (i = 0; i < CHILDREN; i++) {
		if (children[i]) {
			kill(children[i], SIGKILL);
			waitpid(children[i], NULL, 0);
		}
	}
	exit(0);
}

static void wait_for(pid_t pid, int *status)
{
	unsigned long tenth = wanted_calls / 10 + 1, shown = 0;

	while (!waitpid(pid, status, WNOHANG)) {
		unsigned long calls = __atomic_load_n(&tally->calls, __ATOMIC_RELAXED);

		if (calls / tenth > shown) {
			shown = calls / tenth;
			ksft_print_msg("%lu calls, %lu succeeded; %lu changes, %lu touches\n",
				       calls, tally->succeeded, tally->changes, tally->touches);
		}
		usleep(100000);
	}
}

static unsigned long kernel_complaints(void)
{
	return read_number("/proc/sys/kernel/tainted") & (TAINT_DIE | TAINT_WARN);
}

/* Pages may be on their way back for a moment after their process is gone. */
static bool device_is_empty(unsigned int number)
{
	struct hmm_dmirror_counters counters = {};
	int fd = dmirror_open(number);
	unsigned int i;
	int ret = -1;

	for (i = 0; i < 50; i++) {
		ret = ioctl(fd, HMM_DMIRROR_COUNTERS, &counters);
		if (ret || (!counters.in_use && counters.allocated == counters.freed))
			break;
		usleep(100000);
	}
	close(fd);
	ksft_print_msg("device %u: %llu in use, %llu allocated, %llu freed\n", number,
		       counters.in_use, counters.allocated, counters.freed);
	ksft_print_msg("%llu in, %llu out, %llu faulted out, %llu evicted, %llu collisions\n",
		       counters.migrated_in, counters.migrated_out, counters.faulted_out,
		       counters.evicted, counters.collisions);
	return !ret && !counters.in_use && counters.allocated == counters.freed &&
	       counters.allocated;
}

static void read_environment(void)
{
	bool quick = how_brief();

	wanted_calls = from_environment("HMM_FUZZ_CALLS", quick ? 20000 : 1000000);
	seed = from_environment("HMM_FUZZ_SEED", (__u64)time(NULL) << 16 ^ getpid());
	ksft_print_msg("HMM_FUZZ_SEED=%llu HMM_FUZZ_CALLS=%lu\n", (unsigned long long)seed,
		       wanted_calls);
}

int main(void)
{
	unsigned long complaints_before = kernel_complaints();
	unsigned int number, devices_there = 0;
	int status;
	pid_t pid;

	ksft_print_header();
	for (number = 0; number < DEVICES; number++)
		devices_there |= (unsigned int)device_is_there(number) << number;
	if (!devices_there)
		ksft_exit_skip("no /dev/hmm_dmirror* with counters: load our test_hmm\n");
	read_environment();
	ksft_set_plan(3 + DEVICES);

	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (tally == MAP_FAILED)
		ksft_exit_fail_msg("no memory\n");
	fflush(stdout);
	pid = fork();
	if (!pid)
		worker();
	if (pid < 0)
		ksft_exit_fail_msg("cannot fork\n");
	wait_for(pid, &status);

	ksft_test_result(WIFEXITED(status) && !WEXITSTATUS(status), "worker_survives\n");
	ksft_print_msg("%lu calls, %lu succeeded; %lu changes, %lu touches\n", tally->calls,
		       tally->succeeded, tally->changes, tally->touches);
	ksft_test_result(tally->calls >= wanted_calls && tally->changes && tally->touches &&
			 tally->succeeded && tally->succeeded < wanted_calls,
			 "some_calls_succeed_and_some_fail\n");
	for (number = 0; number < DEVICES; number++) {
		if (devices_there & 1U << number)
			ksft_test_result(device_is_empty(number), "device_%u_is_empty\n", number);
		else
			ksft_test_result_skip("device_%u_is_empty: not there\n", number);
	}
	ksft_test_result(kernel_complaints() == complaints_before, "kernel_reports_nothing\n");
	ksft_finished();
}
