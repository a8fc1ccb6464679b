// SPDX-License-Identifier: GPL-2.0
/*
 * Interval subscriptions: what they cost their drivers, and the tasks that
 * change the memory.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "hmm_bench.h"

#define OTHERS		0x20000000000UL	/* where other subscriptions are */
#define FAR		(1024 * MIB)
#define POSITIONS	256UL		/* in the tree of the others */
#define INSERTIONS	16		/* at each, of which the quickest counts */
#define READS		256
#define PROCESSES	5		/* each subscribes for the first time */
#define SETTLE_US	100000	/* several grace periods */
#define CALLBACK_ROUNDS	64

/* A page lies between one subscription and the next. */
static int hold_others(unsigned long count)
{
	const struct hmm_bench_hold others = {
		.addr = OTHERS,
		.npages = 1,
		.stride = 2,
		.count = count,
	};

	return hold(device, &others);
}

/* In the gap after the one of this number */
static int insert_behind(unsigned long number, double *value)
{
	struct hmm_bench_call args = {
		.op = HMM_BENCH_INSERT_REMOVE,
		.addr = OTHERS + (2 * number + 1) * PAGE_BYTES,
		.npages = 1,
		.repeat = INSERTIONS,
	};
	int rc = call(&args);

	*value = args.cycles;
	return rc;
}

/* How far down the tree a place is differs; this is the mean of many. */
static int measure_insert(const struct row *row, double *value)
{
	double sum = 0, one = 0;
	unsigned long i;
	int rc = hold_others(row->count);

	for (i = 0; !rc && i < POSITIONS; i++) {
		rc = insert_behind(i * row->count / POSITIONS, &one);
		sum += one;
	}
	*value = sum / POSITIONS;
	return rc;
}

/* The one that reads is the only one there is. */
static int measure_read(const struct row *row, double *value)
{
	struct hmm_bench_call args = {
		.op = row->op,
		.addr = OTHERS,
		.npages = 1,
		.repeat = READS,
	};
	int rc = call(&args);

	*value = args.cycles;
	return rc;
}

/* The first subscription */

static int subscribe_first(const struct row *row, double *value)
{
	struct hmm_bench_call args = {
		.op = HMM_BENCH_INSERT,
		.addr = OTHERS,
		.npages = 1,
		.repeat = 1,
	};
	int rc = add_mappings(row->count) ?: call(&args);

	*value = args.cycles;
	return rc;
}

/* What one insertion leaves to be done later must not disturb the next. */
static int measure_first(const struct row *row, double *value)
{
	double one = 0;
	int i, rc = 0;

	for (i = 0; !rc && i < PROCESSES; i++) {
		rc = measure_apart(subscribe_first, row, &one);
		if (!i || one < *value)
			*value = one;
		usleep(SETTLE_US);
	}
	return rc;
}

/* A page is given back, with subscriptions here or there */

static int touch(char *page)
{
	*page = 1;
	return 0;
}

static int give_back(char *page)
{
	return madvise(page, PAGE_BYTES, MADV_DONTNEED);
}

static int time_madvise(char *page, double *value)
{
	static const struct page_call call = { touch, give_back };

	return time_page_call(&call, page, value);
}

/* The neighbours keep the page table. */
static char *map_page(void)
{
	char *at = map_present(PAGES_4K, HUGE_BYTES);

	return at ? at + HUGE_BYTES / 2 : NULL;
}

static int measure_madvise(const struct row *row, double *value)
{
	char *page = map_page();
	struct hmm_bench_hold overlapping = {
		.addr = (uintptr_t)page,
		.npages = 1,
		.count = row->count,
	};
	int rc;

	if (!page)
		return -EIO;
	rc = row->count ? hold(device, &overlapping) : 0;
	return rc ?: time_madvise(page, value);
}

/* One on each side, so that the tree has to be searched */
static int measure_madvise_elsewhere(const struct row *row, double *value)
{
	char *page = map_page();
	struct hmm_bench_hold elsewhere = {
		.addr = (uintptr_t)page - FAR,
		.npages = 1,
		.stride = 2 * FAR / PAGE_BYTES,
		.count = row->count,
	};

	if (!page)
		return -EIO;
	return hold(device, &elsewhere) ?: time_madvise(page, value);
}

/* No interval: all of the address space */
static int measure_madvise_whole(const struct row *row, double *value)
{
	char *page = map_page();

	if (!page)
		return -EIO;
	return command(HMM_BENCH_REGISTER) ?: time_madvise(page, value);
}

/* One on each side has the tree searched. What is left are callbacks. */
static int measure_madvise_floor(const struct row *row, double *value)
{
	const struct row elsewhere = { .count = 2 };
	struct hmm_bench_call callbacks = {
		.op = HMM_BENCH_CALLBACKS,
		.addr = OTHERS,
		.npages = row->count,
		.repeat = CALLBACK_ROUNDS,
	};
	int rc = measure_madvise_elsewhere(&elsewhere, value);

	rc = rc ?: call(&callbacks);
	*value += callbacks.cycles;
	return rc;
}

/* The rows */

const struct row interval_rows[] = {
	{ "insert-1", "insert and remove, 1 other",
	  AT_MOST, 253, measure_insert, .count = 1 },
	{ "insert-1k", " 1,000 others",
	  AT_MOST, 361, measure_insert, .count = 1000 },
	{ "insert-100k", " 100,000 others",
	  AT_MOST, 428, measure_insert, .count = 100000 },
	{ "read-idle", "read_begin and read_retry, idle",
	  AT_MOST, 46, measure_read, .op = HMM_BENCH_READ },
	{ }
};

const struct row first_rows[] = {
	{ "first", "few mappings",
	  AT_MOST, 10092, measure_first, .count = 0 },
	{ "first-60k", "60,000 mappings more",
	  AT_MOST, 10092, measure_first, .count = 60000 },
	{ }
};

const struct row madvise_rows[] = {
	{ "madvise", "never a subscription",
	  BASE_PLUS, 6, measure_madvise, .count = 0 },
	{ "madvise-whole", "one to the whole address space, start and end",
	  BASE_TIMES, 1, measure_madvise_whole },
	{ "madvise-elsewhere", "two elsewhere",
	  BASE_TIMES, 1, measure_madvise_elsewhere, .count = 2 },
	{ "madvise-1", "one overlaps",
	  BASE_TIMES, 1, measure_madvise, .count = 1 },
	{ "madvise-64", "64 overlap",
	  BASE_TIMES, 1, measure_madvise, .count = 64 },
	{ "madvise-64-floor",
	  "  their callbacks alone, in a tree that does not change",
	  NO_GOAL, 0, measure_madvise_floor, .count = 64 },
	{ }
};
