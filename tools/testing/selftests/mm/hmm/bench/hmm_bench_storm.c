// SPDX-License-Identifier: GPL-2.0
/*
 * A storm: threads invalidate a range all the time, and its callbacks are slow.
 * Measures how long operations wait that have nothing to do with that range.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "hmm_bench.h"

#define MAX_THREADS	4
#define LEAD_MS		200	/* from the beginning to what is measured */
#define UNRELATED	0x20000000000UL
#define PAUSE_US	1000	/* between two reads */

struct storm {
	unsigned int threads;
	unsigned int sleep_us;	/* of each callback */
	unsigned int ms;	/* how long it goes on */
	bool relay;		/* one callback sleeps at any time */
};

static const struct storm relay = { 2, 1000, 2000, true };
static const struct storm overlap = { 4, 10000, 5000, false };

struct thread {
	pthread_t id;
	char *page;
	double end;
	unsigned long rounds;	/* atomic */
};

/* There is nothing to be given back; it is an invalidation all the same. */
static void *invalidate(void *of)
{
	struct thread *thread = of;

	while (now() < thread->end) {
		madvise(thread->page, PAGE_BYTES, MADV_DONTNEED);
		__atomic_add_fetch(&thread->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static int hold_range(const struct storm *storm, char *at)
{
	const struct hmm_bench_hold range = {
		.addr = (uintptr_t)at,
		.npages = storm->threads,
		.count = 1,
		.sleep_us = storm->sleep_us,
		.relay_ms = storm->relay ? LEAD_MS + storm->ms : 0,
	};
	int file;

	/* Not the file that holds the unrelated one */
	return open_device(&file) ?: hold(file, &range);
}

static int wait_for_storm(const struct thread *threads, unsigned int nr)
{
	unsigned int i;

	usleep(LEAD_MS * 1000);
	for (i = 0; i < nr; i++)
		if (!__atomic_load_n(&threads[i].rounds, __ATOMIC_RELAXED))
			return failed("thread %u has not come far", i);
	return 0;
}

/* Threads that were started have to be joined, whatever this returns. */
static int start(const struct storm *storm, char *at, struct thread *threads,
		 unsigned int *started)
{
	double end = now() + (LEAD_MS + storm->ms) / 1e3;

	for (*started = 0; *started < storm->threads; ++*started) {
		struct thread *thread = &threads[*started];

		thread->page = at + *started * PAGE_BYTES;
		thread->end = end;
		if (pthread_create(&thread->id, NULL, invalidate, thread))
			return failed("no thread");
	}
	return wait_for_storm(threads, *started);
}

static int in_storm(const struct storm *storm, int (*act)(double *seconds),
		    double *seconds)
{
	struct thread threads[MAX_THREADS] = { };
	char *at = map(PAGES_4K, storm->threads * PAGE_BYTES);
	unsigned int started;
	int rc;

	if (!at)
		return -EIO;
	rc = hold_range(storm, at);
	if (rc)
		return rc;
	rc = start(storm, at, threads, &started) ?: act(seconds);
	while (started--)
		pthread_join(threads[started].id, NULL);
	return rc;
}

/* The unrelated subscription */

/* Its range has memory, so that it can be invalidated too. */
static int map_unrelated(void)
{
	char *at = mmap((char *)UNRELATED, PAGE_BYTES, PROT_READ | PROT_WRITE,
			PRIVATE | MAP_FIXED_NOREPLACE, -1, 0);

	return at == MAP_FAILED ? failed("mmap: %s", strerror(errno)) : 0;
}

/* The invalidation and its callback have ended when this returns. */
static int tell_unrelated(void)
{
	if (madvise((char *)UNRELATED, PAGE_BYTES, MADV_DONTNEED))
		return failed("madvise: %s", strerror(errno));
	return 0;
}

static int hold_unrelated(void)
{
	const struct hmm_bench_hold unrelated = {
		.addr = UNRELATED,
		.npages = 1,
		.count = 1,
	};

	return hold(device, &unrelated);
}

/* A reader has reason to begin after its subscription was notified. */
static int time_read(double *seconds)
{
	int rc = tell_unrelated();
	double begin = now();

	rc = rc ?: command(HMM_BENCH_READ_HELD);
	*seconds = now() - begin;
	return rc;
}

static int time_remove(double *seconds)
{
	double begin = now();
	int rc = command(HMM_BENCH_DROP);

	*seconds = now() - begin;
	return rc;
}

static int time_insert(double *seconds)
{
	double begin = now();
	int rc = hold_unrelated() ?: command(HMM_BENCH_READ_HELD);

	*seconds = now() - begin;
	return rc;
}

static int time_reads(double *mean, double *most)
{
	double end = now() + overlap.ms / 1e3, sum = 0, one = 0;
	unsigned int reads = 0;
	int rc = 0;

	*most = 0;
	for (; !rc && now() < end; reads++) {
		rc = time_read(&one);
		sum += one;
		if (one > *most)
			*most = one;
		usleep(PAUSE_US);
	}
	*mean = sum / reads;
	return rc;
}

static int time_mean_read(double *seconds)
{
	double most;

	return time_reads(seconds, &most);
}

static int time_longest_read(double *seconds)
{
	double mean;

	return time_reads(&mean, seconds);
}

/* The rows */

struct trial {
	const struct storm *storm;
	bool subscribed;	/* beforehand */
	int (*act)(double *seconds);
};

static int measure_in_storm(const struct row *row, double *value)
{
	const struct trial *trial = row->trial;
	int rc = map_unrelated();

	if (!rc && trial->subscribed)
		rc = hold_unrelated();
	return rc ?: in_storm(trial->storm, trial->act, value);
}

static const struct trial reader = { &relay, true, time_read };
static const struct trial remover = { &relay, true, time_remove };
static const struct trial inserter = { &relay, false, time_insert };
static const struct trial readers_mean = { &overlap, true, time_mean_read };
static const struct trial readers_most = { &overlap, true, time_longest_read };

const struct row storm_rows[] = {
	{ "storm-read", "a storm of 2 seconds: read_begin",
	  AT_MOST, 0.05, measure_in_storm, .trial = &reader },
	{ "storm-remove", " remove",
	  AT_MOST, 0.05, measure_in_storm, .trial = &remover },
	{ "storm-insert", " insert and the first read_begin",
	  AT_MOST, 0.05, measure_in_storm, .trial = &inserter },
	{ "overlap-mean", "four threads, callbacks of 10 ms: read_begin, mean",
	  AT_MOST, 0.01, measure_in_storm, .trial = &readers_mean },
	{ "overlap-most", " the longest",
	  AT_MOST, 0.05, measure_in_storm, .trial = &readers_most },
	{ }
};
