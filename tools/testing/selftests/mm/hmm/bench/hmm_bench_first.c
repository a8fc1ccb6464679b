// SPDX-License-Identifier: GPL-2.0
/*
 * The first subscription of a process, by the clock: what it has to wait for,
 * how long it holds mmap_lock, and which events it causes.
 *
 * Each repetition is a process of its own. It does its thing idle, or beside
 * others that have nothing to do with it but are in the middle of an
 * invalidation all the time:
 *   - a fork that memory.high throttles, in a cgroup of its own;
 *   - mprotect() of a large mapping by a task with policy SCHED_IDLE, while
 *     all processors are busy.
 *
 * This configuration has no KVM. To create a VM is, as far as notifiers are
 * concerned, to register: that row stands for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hmm_bench.h"

#define PAGE_PLACE	((char *)0x30000000000)	/* of what is subscribed to */
#define REPETITIONS	31
#define EVENT_REPETITIONS 101
#define CUT_OFF		3.0	/* seconds after which a wait is cut off */
#define MAX_CUT		2	/* waits that were; then the row is done */
#define PREPARATION	20.0	/* seconds that others may take for theirs */
#define LEAD_US		500000	/* from their beginning to ours */

/* A first subscription */

static int insert(void)
{
	const struct hmm_bench_hold page = {
		.addr = (uintptr_t)PAGE_PLACE,
		.npages = 1,
		.count = 1,
	};

	return hold(device, &page);
}

static int read_page(void)
{
	return command(HMM_BENCH_READ_PAGE);
}

static int insert_and_read(void)
{
	return insert() ?: read_page();
}

static int register_whole(void)
{
	return command(HMM_BENCH_REGISTER);
}

/* An address space without subscriptions, a file of its own, and a page */
static int prepare(void)
{
	close(device);
	if (mmap(PAGE_PLACE, PAGE_BYTES, PROT_READ | PROT_WRITE,
		 PRIVATE | MAP_FIXED_NOREPLACE, -1, 0) != PAGE_PLACE)
		return failed("mmap: %s", strerror(errno));
	*PAGE_PLACE = 1;
	return open_device(&device);
}

/* Others */

/* What they and this process know of each other */
struct shared {
	int ready;	/* of @others: their memory is */
	int go;
	int over;	/* they are not what they should be any more */
	int done;	/* of the repetition */
	int rc;
	double value;
	char why[sizeof(why)];
};

static struct shared *shared;

static int get(int *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void set(int *flag)
{
	__atomic_store_n(flag, 1, __ATOMIC_RELEASE);
}

#define MAX_OTHERS	8

static pid_t others[MAX_OTHERS];
static unsigned int nr_others;

static int begin_other(void (*live)(void))
{
	pid_t parent = getpid(), child;

	if (nr_others == MAX_OTHERS)
		return failed("too many others");
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			live();
		_exit(1);
	}
	if (child < 0)
		return failed("fork: %s", strerror(errno));
	others[nr_others++] = child;
	return 0;
}

static void end_others(void)
{
	unsigned int i;

	for (i = 0; i < nr_others; i++)
		kill(others[i], SIGKILL);
	for (; nr_others; nr_others--)
		waitpid(others[nr_others - 1], NULL, 0);
}

static int wait_for_others(void)
{
	double until = now() + PREPARATION;

	while (!get(&shared->ready)) {
		if (now() > until)
			return failed("others do not get ready");
		usleep(10000);
	}
	return 0;
}

/* A throttled fork */

#define CGROUPS		"/sys/fs/cgroup"
#define CGROUP		CGROUPS "/hmm_bench"
#define SPARSE_BYTES	(16UL << 30)	/* a page table for each 2 MiB */

static int join(const char *procs)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", getpid());
	return put(procs, text);
}

static void fork_throttled(void)
{
	char *at = mmap(NULL, SPARSE_BYTES, PROT_READ | PROT_WRITE,
			PRIVATE | MAP_NORESERVE, -1, 0);
	unsigned long i;
	pid_t child;

	if (at == MAP_FAILED || join(CGROUP "/cgroup.procs") ||
	    madvise(at, SPARSE_BYTES, MADV_NOHUGEPAGE))
		_exit(1);
	for (i = 0; i < SPARSE_BYTES; i += HUGE_BYTES)
		(void)__atomic_load_n(&at[i], __ATOMIC_RELAXED);
	at[PAGE_BYTES] = 1;	/* for fork to copy this mapping */
	set(&shared->ready);
	while (!get(&shared->go))
		usleep(1000);
	child = fork();
	set(&shared->over);
	if (!child)
		_exit(0);
	pause();
}

static int begin_throttled(void)
{
	int rc;

	if (mount("none", CGROUPS, "cgroup2", 0, NULL) && errno != EBUSY)
		return failed("cgroup2: %s", strerror(errno));
	if (mkdir(CGROUP, 0755) && errno != EEXIST)
		return failed("%s: %s", CGROUP, strerror(errno));
	rc = put(CGROUPS "/cgroup.subtree_control", "+memory") ?:
	     put(CGROUP "/memory.high", "max") ?:
	     begin_other(fork_throttled) ?: wait_for_others();
	if (rc)
		return rc;
	rc = put(CGROUP "/memory.high", "1M");
	set(&shared->go);
	return rc;
}

static void end_throttled(void)
{
	put(CGROUP "/memory.high", "max");
	end_others();
}

/* Mprotect with policy SCHED_IDLE */

#define IDLE_BYTES	(256 * MIB)

static void mprotect_idle(void)
{
	static const struct sched_param zero;
	char *at = mmap(NULL, IDLE_BYTES, PROT_READ, PRIVATE | MAP_NORESERVE,
			-1, 0);
	unsigned long i;

	if (at == MAP_FAILED || madvise(at, IDLE_BYTES, MADV_NOHUGEPAGE))
		_exit(1);
	for (i = 0; i < IDLE_BYTES; i += PAGE_BYTES)
		(void)__atomic_load_n(&at[i], __ATOMIC_RELAXED);
	if (sched_setscheduler(0, SCHED_IDLE, &zero))
		_exit(1);
	set(&shared->ready);
	while (!mprotect(at, IDLE_BYTES, PROT_NONE) &&
	       !mprotect(at, IDLE_BYTES, PROT_READ))
		;
	set(&shared->over);
}

static void keep_busy(void)
{
	for (;;)
		;
}

static int begin_idle_policy(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	int rc = begin_other(mprotect_idle) ?: wait_for_others();

	for (; !rc && processors; processors--)
		rc = begin_other(keep_busy);
	return rc;
}

struct company {
	int (*begin)(void);
	void (*end)(void);
};

static int begin_company(const struct company *company)
{
	int rc;

	memset(shared, 0, sizeof(*shared));
	if (!company)
		return 0;
	rc = company->begin();
	if (rc)
		company->end();
	else
		usleep(LEAD_US);
	return rc;
}

static void end_company(const struct company *company)
{
	if (company)
		company->end();
}

/* Repetitions */

struct trial {
	int (*before)(void);	/* optional, part of the preparation */
	int (*act)(void);
	const struct company *company;
};

static int time_act(const struct trial *trial, double *value)
{
	double begin;
	int rc = prepare();

	if (!rc && trial->before)
		rc = trial->before();
	begin = now();
	rc = rc ?: trial->act();
	*value = (now() - begin) * 1e6;
	return rc;
}

static pid_t begin_repetition(const struct trial *trial)
{
	pid_t child;

	shared->done = 0;
	child = fork();
	if (child)
		return child;
	shared->rc = time_act(trial, &shared->value);
	memcpy(shared->why, why, sizeof(why));
	set(&shared->done);
	_exit(0);
}

/* It is waited for until its time is up. */
static bool is_cut_off(void)
{
	double until = now() + CUT_OFF;

	while (!get(&shared->done)) {
		if (now() > until)
			return true;
		usleep(1000);
	}
	return false;
}

/*
 * The wait that is measured may be unkillable: only the end of the other
 * processes is sure to end it. They are started again if they have ended, for
 * whatever reason.
 */
static int repeat(const struct trial *trial, double *value, bool *cut_off)
{
	pid_t child = begin_repetition(trial);
	bool others_over;
	int rc = 0;

	if (child < 0)
		return failed("fork: %s", strerror(errno));
	*cut_off = is_cut_off();
	others_over = get(&shared->over);
	if (*cut_off || others_over)
		end_company(trial->company);
	waitpid(child, NULL, 0);
	*value = shared->value;
	if (*cut_off) {
		*value = CUT_OFF * 1e6;
	} else if (shared->rc) {
		memcpy(why, shared->why, sizeof(why));
		rc = shared->rc;
	}
	if (*cut_off || others_over)
		rc = rc ?: begin_company(trial->company);
	return rc;
}

static int share(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, SHARED,
		      -1, 0);
	return shared == MAP_FAILED ? failed("mmap: %s", strerror(errno)) : 0;
}

static int measure_first(const struct row *row, double *value)
{
	const struct trial *trial = row->trial;
	double values[REPETITIONS];
	unsigned int i, cut = 0;
	int rc = share() ?: begin_company(trial->company);

	if (rc)
		return rc;
	for (i = 0; !rc && i < REPETITIONS && cut < MAX_CUT; i++) {
		bool cut_off = false;

		rc = repeat(trial, &values[i], &cut_off);
		cut += cut_off;
	}
	end_company(trial->company);
	*value = cut < MAX_CUT ? median(values, i) : CUT_OFF * 1e6;
	return rc;
}

/* mmap_lock */

struct watcher {
	pthread_t thread;
	int file;
	int begun;
	int rc;
	struct hmm_bench_watch watch;
};

static void *watch(void *argument)
{
	struct watcher *watcher = argument;

	set(&watcher->begun);
	watcher->rc = ioctl(watcher->file, HMM_BENCH_WATCH, &watcher->watch);
	return NULL;
}

static int act_watched(int (*act)(void), double *value)
{
	struct watcher watcher = { };
	int rc = prepare() ?: open_device(&watcher.file);

	if (rc)
		return rc;
	if (pthread_create(&watcher.thread, NULL, watch, &watcher))
		return failed("no thread");
	while (!get(&watcher.begun))
		;
	usleep(5000);
	rc = act();
	usleep(1000);
	ioctl(watcher.file, HMM_BENCH_STOP);
	pthread_join(watcher.thread, NULL);
	if (watcher.rc)
		return failed("the lock could not be watched");
	*value = watcher.watch.held_ns / 1e3;
	return rc;
}

static int measure_watched(const struct row *row, double *value)
{
	const struct trial *trial = row->trial;

	return act_watched(trial->act, value);
}

static int measure_held(const struct row *row, double *value)
{
	double values[REPETITIONS];
	int rc = add_mappings(row->count), i;

	for (i = 0; !rc && i < REPETITIONS; i++)
		rc = measure_apart(measure_watched, row, &values[i]);
	if (!rc)
		*value = median(values, REPETITIONS);
	return rc;
}

/* Events */

/* Function calls by other processors, all over the system */
static int count_calls(double *calls)
{
	FILE *file = fopen("/proc/interrupts", "r");
	char line[256], *at;
	int rc = failed("no CAL in /proc/interrupts");

	while (file && fgets(line, sizeof(line), file)) {
		at = strstr(line, "CAL:");
		if (!at)
			continue;
		*calls = 0;
		for (at += 4; *at; ) {
			char *end;
			unsigned long one = strtoul(at, &end, 10);

			if (end == at)
				break;
			*calls += one;
			at = end;
		}
		rc = 0;
	}
	if (file)
		fclose(file);
	return rc;
}

static int count_periods(double *count)
{
	struct hmm_bench_periods periods;

	if (ioctl(device, HMM_BENCH_PERIODS, &periods))
		return failed("grace periods: %s", strerror(errno));
	*count = (double)periods.normal + (double)periods.expedited;
	return 0;
}

/*
 * Grace periods of SRCU are not among the counted ones, but a task that waits
 * for one sleeps.
 */
static int count_sleeps(double *count)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	*count = usage.ru_nvcsw;
	return 0;
}

struct event_trial {
	int (*act)(void);
	int (*count)(double *count);
};

static int measure_event_once(const struct row *row, double *value)
{
	const struct event_trial *trial = row->trial;
	double before, after;
	int rc = prepare() ?: trial->count(&before) ?: trial->act() ?:
		 trial->count(&after);

	*value = after - before;
	return rc;
}

static int measure_event(const struct row *row, double *value)
{
	double values[EVENT_REPETITIONS];
	int rc = 0, i;

	for (i = 0; !rc && i < EVENT_REPETITIONS; i++)
		rc = measure_apart(measure_event_once, row, &values[i]);
	if (!rc)
		*value = median(values, EVENT_REPETITIONS);
	return rc;
}

/* The rows */

static const struct company throttled = { begin_throttled, end_throttled };
static const struct company idle_policy = { begin_idle_policy, end_others };

static const struct trial read_alone = { NULL, insert_and_read };
static const struct trial read_throttled = { NULL, insert_and_read,
					     &throttled };
static const struct trial read_idle_policy = { NULL, insert_and_read,
					       &idle_policy };
static const struct trial second_alone = { insert, read_page };
static const struct trial second_throttled = { insert, read_page, &throttled };
static const struct trial second_idle_policy = { insert, read_page,
						 &idle_policy };
static const struct trial register_alone = { NULL, register_whole };
static const struct trial register_throttled = { NULL, register_whole,
						 &throttled };
static const struct trial register_idle_policy = { NULL, register_whole,
						   &idle_policy };

const struct row first_clock_rows[] = {
	{ "first-read", "subscribe and read a page",
	  BASE_TIMES, 2, measure_first, .trial = &read_alone },
	{ "first-read-throttled", " beside a fork that memory.high throttles",
	  BASE_TIMES, 2, measure_first, .trial = &read_throttled },
	{ "first-read-idle-policy",
	  " beside mprotect() under SCHED_IDLE, CPUs busy",
	  BASE_TIMES, 2, measure_first, .trial = &read_idle_policy },
	{ "first-read-only", "read a page, subscribed before",
	  BASE_TIMES, 2, measure_first, .trial = &second_alone },
	{ "first-read-only-throttled", " beside the throttled fork",
	  BASE_TIMES, 2, measure_first, .trial = &second_throttled },
	{ "first-read-only-idle-policy", " beside SCHED_IDLE",
	  BASE_TIMES, 2, measure_first, .trial = &second_idle_policy },
	{ "first-register", "register (as KVM does when a VM is created)",
	  BASE_TIMES, 2, measure_first, .trial = &register_alone },
	{ "first-register-throttled", " beside the throttled fork",
	  BASE_TIMES, 2, measure_first, .trial = &register_throttled },
	{ "first-register-idle-policy", " beside SCHED_IDLE",
	  BASE_TIMES, 2, measure_first, .trial = &register_idle_policy },
	{ }
};

/* With few mappings it is less than can be seen from another processor. */
const struct row first_lock_rows[] = {
	{ "first-lock-insert", "insert an interval, 10,000 mappings",
	  BASE_TIMES, 1, measure_held, .count = 10000, .trial = &read_alone },
	{ "first-lock-register", "register, 10,000 mappings",
	  BASE_TIMES, 1, measure_held, .count = 10000,
	  .trial = &register_alone },
	{ }
};

static const struct event_trial read_calls = { insert_and_read, count_calls };
static const struct event_trial read_periods = { insert_and_read,
						 count_periods };
static const struct event_trial read_sleeps = { insert_and_read, count_sleeps };
static const struct event_trial register_calls = { register_whole,
						   count_calls };
static const struct event_trial register_periods = { register_whole,
						     count_periods };
static const struct event_trial register_sleeps = { register_whole,
						    count_sleeps };

const struct row first_event_rows[] = {
	{ "first-read-ipis", "subscribe and read: interrupts of other CPUs",
	  AT_MOST, 1, measure_event, .trial = &read_calls },
	{ "first-read-periods", " RCU grace periods begun",
	  AT_MOST, 0, measure_event, .trial = &read_periods },
	{ "first-read-sleeps", " sleeps, such as for SRCU",
	  AT_MOST, 0, measure_event, .trial = &read_sleeps },
	{ "first-register-ipis", "register: interrupts of other CPUs",
	  AT_MOST, 1, measure_event, .trial = &register_calls },
	{ "first-register-periods", " RCU grace periods begun",
	  AT_MOST, 0, measure_event, .trial = &register_periods },
	{ "first-register-sleeps", " sleeps, such as for SRCU",
	  AT_MOST, 0, measure_event, .trial = &register_sleeps },
	{ }
};
