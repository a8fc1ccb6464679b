// SPDX-License-Identifier: GPL-2.0
/* hmm_range_fault(): what is present, what is not, and beside a writer */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "hmm_bench.h"

#define TOUCHED_BYTES	(128 * MIB)
#define COUNTED_BYTES	(32 * MIB)	/* where only faults are counted */
#define SNAPSHOTS	5		/* of which the quickest counts */
#define TOUCHES		3
#define SHORT_CALLS	256
#define STORM_SECONDS	5
#define STORM_CALLS	64		/* between two looks at the clock */

#define SNAPSHOT	0
#define WRITE_FAULT	(HMM_BENCH_REQ_FAULT | HMM_BENCH_REQ_WRITE)

/* A snapshot tells what the memory is; a row on other memory is worth nothing. */
static int check_memory(char *at, unsigned long size, enum kind kind)
{
	struct hmm_bench_call args = {
		.op = HMM_BENCH_RANGE_FAULT,
		.addr = (uintptr_t)at,
		.npages = size / PAGE_BYTES,
		.repeat = 1,
	};
	uint64_t wanted = kind == HOLE ? 0 : args.npages;
	int rc = call(&args);

	if (rc)
		return rc;
	if (args.valid != wanted || args.writable != wanted)
		return failed("%llu pages valid, %llu writable, not %llu",
			      args.valid, args.writable,
			      (unsigned long long)wanted);
	if (wanted && args.folio_order != order_of(kind))
		return failed("folios of order %u, not %u", args.folio_order,
			      order_of(kind));
	return 0;
}

static int call_on(char *at, unsigned long size, const struct row *row,
		   struct hmm_bench_call *args)
{
	args->op = row->op;
	args->addr = (uintptr_t)at;
	args->npages = size / PAGE_BYTES;
	args->flags = row->flags;
	args->step = 1U << order_of(row->kind);
	return call(args);
}

static int call_on_present(const struct row *row, unsigned long size,
			   struct hmm_bench_call *args)
{
	char *at = row->kind == HOLE ? map(HOLE, size) :
				       map_present(row->kind, size);
	int rc;

	if (!at)
		return -EIO;
	rc = check_memory(at, size, row->kind);
	if (!rc)
		rc = call_on(at, size, row, args);
	munmap(at, size);
	return rc;
}

static int call_on_untouched(const struct row *row, unsigned long size,
			     struct hmm_bench_call *args)
{
	char *at = map(row->kind, size);
	int rc;

	if (!at)
		return -EIO;
	args->repeat = 1;
	rc = call_on(at, size, row, args);
	if (!rc)
		rc = check_memory(at, size, row->kind);
	munmap(at, size);
	return rc;
}

/* Measurements */

static int measure_present(const struct row *row, double *value)
{
	struct hmm_bench_call args = { .repeat = SNAPSHOTS };
	int rc = call_on_present(row, PRESENT_BYTES, &args);

	*value = (double)args.cycles * PAGE_BYTES / PRESENT_BYTES;
	return rc;
}

static int measure_order(const struct row *row, double *value)
{
	struct hmm_bench_call args = { .repeat = 1 };
	int rc = call_on_present(row, HUGE_BYTES, &args);

	*value = args.order;
	return rc;
}

static int measure_one_page(const struct row *row, double *value)
{
	struct hmm_bench_call args = { .repeat = SHORT_CALLS };
	char *at = map_present(row->kind, HUGE_BYTES);
	int rc;

	if (!at)
		return -EIO;
	rc = call_on(at + HUGE_BYTES / 2, PAGE_BYTES, row, &args);
	munmap(at, HUGE_BYTES);
	*value = args.cycles;
	return rc;
}

static int measure_untouched(const struct row *row, double *value)
{
	uint64_t best = 0;
	int i, rc = 0;

	for (i = 0; !rc && i < TOUCHES; i++) {
		struct hmm_bench_call args = { };

		rc = call_on_untouched(row, TOUCHED_BYTES, &args);
		if (!i || args.cycles < best)
			best = args.cycles;
	}
	*value = (double)best * PAGE_BYTES / TOUCHED_BYTES;
	return rc;
}

static int measure_faults(const struct row *row, double *value)
{
	struct hmm_bench_call args = { };
	int rc = call_on_untouched(row, COUNTED_BYTES, &args);

	*value = (double)args.faults * HUGE_BYTES / COUNTED_BYTES;
	return rc;
}

/* A thread that acquires mmap_lock for write all the time */

static bool finished;	/* atomic */
static double mappings;	/* of the writer; its own until it has ended */

static void *writer(void *unused)
{
	mappings = 0;
	while (!__atomic_load_n(&finished, __ATOMIC_RELAXED)) {
		void *at = mmap(NULL, PAGE_BYTES, PROT_READ, PRIVATE, -1, 0);

		if (at != MAP_FAILED)
			munmap(at, PAGE_BYTES);
		mappings++;
	}
	return unused;
}

static int call_for_seconds(const struct row *row, char *at, double *pages,
			    double *seconds)
{
	double begin = now();
	int rc = 0;

	*pages = 0;
	*seconds = 0;
	while (!rc && *seconds < STORM_SECONDS) {
		struct hmm_bench_call args = { .repeat = STORM_CALLS };

		rc = call_on(at, HUGE_BYTES, row, &args);
		*pages += STORM_CALLS * HUGE_PAGES;
		*seconds = now() - begin;
	}
	return rc;
}

static int storm(const struct row *row, double *pages, double *seconds)
{
	char *at = map_present(row->kind, HUGE_BYTES);
	pthread_t thread;
	int rc;

	if (!at)
		return -EIO;
	finished = false;
	if (pthread_create(&thread, NULL, writer, NULL)) {
		rc = failed("no thread: %s", strerror(errno));
	} else {
		rc = call_for_seconds(row, at, pages, seconds);
		__atomic_store_n(&finished, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
	}
	munmap(at, HUGE_BYTES);
	return rc;
}

static int measure_beside_writer(const struct row *row, double *value)
{
	double pages = 0, seconds = 1;
	int rc = storm(row, &pages, &seconds);

	*value = pages / seconds;
	return rc;
}

static int measure_writer(const struct row *row, double *value)
{
	double pages = 0, seconds = 1;
	int rc = storm(row, &pages, &seconds);

	*value = mappings / seconds;
	return rc;
}

/* The rows */

#define LOCKED		.op = HMM_BENCH_RANGE_FAULT
#define UNLOCKED	.op = HMM_BENCH_RANGE_FAULT_UNLOCKED
#define POPULATE	.op = HMM_BENCH_POPULATE
#define LOOK_UP		.op = HMM_BENCH_LOOK_UP

const struct row present_rows[] = {
	{ "present-4k", "anonymous, 4K PTEs",
	  AT_MOST, 18, measure_present, PAGES_4K, SNAPSHOT, LOCKED },
	{ "present-64k", "64 KiB folios",
	  AT_MOST, 12, measure_present, FOLIOS_64K, SNAPSHOT, LOCKED },
	{ "present-64k-orders", "64 KiB folios, orders asked for",
	  AT_MOST, 12, measure_present, FOLIOS_64K, HMM_BENCH_ORDERS, LOCKED },
	{ "present-64k-order", " order reported",
	  AT_LEAST, 4, measure_order, FOLIOS_64K, HMM_BENCH_ORDERS, LOCKED },
	{ "present-shmem", "shmem, 4K",
	  AT_MOST, 18, measure_present, SHMEM_4K, SNAPSHOT, LOCKED },
	{ "present-thp", "THP 2 MiB",
	  AT_MOST, 5, measure_present, THP, SNAPSHOT, LOCKED },
	{ "present-thp-sparse", "THP 2 MiB, sparse",
	  AT_MOST, 0.1, measure_present, THP, HMM_BENCH_SPARSE, LOCKED },
	{ "present-hugetlb", "hugetlb 2 MiB",
	  AT_MOST, 5, measure_present, HUGETLB, SNAPSHOT, LOCKED },
	{ "present-hugetlb-sparse", "hugetlb 2 MiB, sparse",
	  AT_MOST, 0.1, measure_present, HUGETLB, HMM_BENCH_SPARSE, LOCKED },
	{ "present-hole", "hole",
	  AT_MOST, 3, measure_present, HOLE, SNAPSHOT, LOCKED },
	{ "present-write-4k", "fault and write asked for, 4K",
	  AT_MOST, 20, measure_present, PAGES_4K, WRITE_FAULT, LOCKED },
	{ "present-write-thp", "fault and write asked for, THP",
	  AT_MOST, 5, measure_present, THP, WRITE_FAULT, LOCKED },
	{ }
};

const struct row short_rows[] = {
	{ "one-page", "mmap_lock already held",
	  AT_MOST, 500, measure_one_page, PAGES_4K, SNAPSHOT, LOCKED },
	{ "one-page-floor", " finding and locking the PTE alone",
	  NO_GOAL, 0, measure_one_page, PAGES_4K, 0, LOOK_UP },
	{ "one-page-unlocked", "unlocked form",
	  NO_GOAL, 0, measure_one_page, PAGES_4K, SNAPSHOT, UNLOCKED },
	{ }
};

const struct row untouched_rows[] = {
	{ "touch-4k", "anonymous, 4K",
	  AT_MOST, 2200, measure_untouched, PAGES_4K, WRITE_FAULT, LOCKED },
	{ "touch-4k-faults", " faults in 2 MiB",
	  AT_MOST, 512, measure_faults, PAGES_4K, WRITE_FAULT, LOCKED },
	{ "touch-4k-floor", " handle_mm_fault() alone",
	  NO_GOAL, 0, measure_untouched, PAGES_4K, 0, POPULATE },
	{ "touch-thp", "THP 2 MiB",
	  AT_MOST, 535, measure_untouched, THP, WRITE_FAULT, LOCKED },
	{ "touch-thp-faults", " faults in 2 MiB",
	  AT_MOST, 1, measure_faults, THP, WRITE_FAULT, LOCKED },
	{ "touch-thp-floor", " handle_mm_fault() alone",
	  NO_GOAL, 0, measure_untouched, THP, 0, POPULATE },
	{ "touch-64k", "64 KiB folios",
	  AT_MOST, 760, measure_untouched, FOLIOS_64K, WRITE_FAULT, LOCKED },
	{ "touch-64k-faults", " faults in 2 MiB",
	  AT_MOST, 32, measure_faults, FOLIOS_64K, WRITE_FAULT, LOCKED },
	{ "touch-64k-floor", " handle_mm_fault() alone",
	  NO_GOAL, 0, measure_untouched, FOLIOS_64K, 0, POPULATE },
	{ "touch-hugetlb", "hugetlb 2 MiB",
	  AT_MOST, 530, measure_untouched, HUGETLB, WRITE_FAULT, LOCKED },
	{ "touch-hugetlb-faults", " faults in 2 MiB",
	  AT_MOST, 1, measure_faults, HUGETLB, WRITE_FAULT, LOCKED },
	{ "touch-hugetlb-floor", " handle_mm_fault() alone",
	  NO_GOAL, 0, measure_untouched, HUGETLB, 0, POPULATE },
	{ "touch-shmem", "shmem, 4K",
	  AT_MOST, 3800, measure_untouched, SHMEM_4K, WRITE_FAULT, LOCKED },
	{ "touch-shmem-faults", " faults in 2 MiB",
	  AT_MOST, 512, measure_faults, SHMEM_4K, WRITE_FAULT, LOCKED },
	{ "touch-shmem-floor", " handle_mm_fault() alone",
	  NO_GOAL, 0, measure_untouched, SHMEM_4K, 0, POPULATE },
	{ }
};

const struct row writer_rows[] = {
	{ "beside-writer", "unlocked form, 2 MiB of 4K pages",
	  NO_GOAL, 0, measure_beside_writer, PAGES_4K, SNAPSHOT, UNLOCKED },
	{ "writer", " mappings of that thread, per second",
	  NO_GOAL, 0, measure_writer, PAGES_4K, SNAPSHOT, UNLOCKED },
	{ }
};
