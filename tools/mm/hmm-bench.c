// SPDX-License-Identifier: GPL-2.0
/*
 * What HMM costs: the rows of a table, each measured by the module hmm_bench.
 *
 * usage: hmm-bench [-s SEED] [-w] [PATTERN...]	measure the rows whose names match
 *        hmm-bench -l				list the rows and their goals
 *
 * It is meant for a QEMU that counts instructions (-icount shift=0), and checks
 * that it is in one. The rows of -w are the others: they measure by the clock.
 * SEED changes which memory is taken beforehand, and so what is left for the
 * rows. Each row gives a line: "row", its name and its value, separated by
 * tabs. In place of the value, "-" says that this kernel's HMM lacks what is
 * measured, and "failed: REASON" speaks for itself.
 *
 * To add a row, write its measure function or take one that is there, and give
 * it an entry in rows[]. An operation that the module does not have yet is one
 * entry of its bench_ops[].
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "hmm_bench/hmm_bench_uapi.h"

#define MIB		0x100000UL
#define PAGE_BYTES	4096UL
#define HUGE_BYTES	(2 * MIB)
#define HUGE_PAGES	(HUGE_BYTES / PAGE_BYTES)

#define PRESENT_BYTES	(512 * MIB)
#define TOUCHED_BYTES	(128 * MIB)
#define COUNTED_BYTES	(32 * MIB)	/* where only faults are counted */
#define SNAPSHOTS	5		/* of which the quickest counts */
#define TOUCHES		3
#define SHORT_CALLS	256
#define STORM_SECONDS	5
#define STORM_CALLS	64		/* between two looks at the clock */

#define PLACE		0x10000000000UL	/* of the memory that rows map */
#define SEED_PAGES	8192		/* at most, taken beforehand */

#define THP_FOLDER	"/sys/kernel/mm/transparent_hugepage"
#define NR_HUGEPAGES	"/proc/sys/vm/nr_hugepages"
#define SNAPSHOT	0
#define WRITE_FAULT	(HMM_BENCH_REQ_FAULT | HMM_BENCH_REQ_WRITE)

/* What stands behind a mapping */
struct memory {
	unsigned int order;	/* of its folios */
	int flags;		/* for mmap() */
	const char *folios_64k;	/* settings of transparent_hugepage */
	const char *folios_2m;
};

enum kind { PAGES_4K, FOLIOS_64K, SHMEM_4K, THP, HUGETLB, HOLE };

#define PRIVATE		(MAP_PRIVATE | MAP_ANONYMOUS)
#define SHARED		(MAP_SHARED | MAP_ANONYMOUS)

static const struct memory memories[] = {
	[PAGES_4K]	= { 0, PRIVATE, "never", "never" },
	[FOLIOS_64K]	= { 4, PRIVATE, "always", "never" },
	[SHMEM_4K]	= { 0, SHARED, "never", "never" },
	[THP]		= { 9, PRIVATE, "never", "always" },
	[HUGETLB]	= { 9, PRIVATE | MAP_HUGETLB, "never", "never" },
	[HOLE]		= { 0, PRIVATE, "never", "never" },
};

enum sense {
	NO_GOAL,
	AT_MOST,
	AT_LEAST,
};

struct row {
	const char *name;
	const char *label;	/* after a blank: belongs to the row above */
	enum sense sense;
	double goal;
	int (*measure)(const struct row *row, double *value);
	enum kind kind;
	unsigned int flags;	/* HMM_BENCH_* */
	enum hmm_bench_op op;
};

struct section {
	const char *title;
	bool by_clock;
	const struct row *rows;	/* up to one without a name */
};

static int device = -1;
static uint64_t seed = 1;
static char why[128];	/* the last failure */

static int failed(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why, sizeof(why), format, arguments);
	va_end(arguments);
	return -EIO;
}

static unsigned long below(unsigned long limit)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % limit;
}

/* Memory */

static int put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	bool wrote = file && fputs(text, file) >= 0;

	if (file && fclose(file))
		wrote = false;
	return wrote ? 0 : failed("cannot write %s to %s", text, path);
}

static int choose_folios(const struct memory *memory)
{
	int rc = put(THP_FOLDER "/hugepages-64kB/enabled", memory->folios_64k);

	return rc ?: put(THP_FOLDER "/hugepages-2048kB/enabled",
			 memory->folios_2m);
}

static char *map(enum kind kind, unsigned long size)
{
	const struct memory *memory = &memories[kind];
	char *place = (char *)PLACE + below(512) * HUGE_BYTES;
	char *at;

	if (choose_folios(memory))
		return NULL;
	at = mmap(place, size, PROT_READ | PROT_WRITE,
		  memory->flags | MAP_FIXED_NOREPLACE, -1, 0);
	if (at == MAP_FAILED) {
		failed("mmap: %s", strerror(errno));
		return NULL;
	}
	return at;
}

static char *map_present(enum kind kind, unsigned long size)
{
	char *at = map(kind, size);
	unsigned long i;

	for (i = 0; at && i < size; i += PAGE_BYTES)
		at[i] = 1;
	return at;
}

static int set_up(void)
{
	unsigned long pages = PRESENT_BYTES / HUGE_BYTES;
	char text[32];
	int rc;

	snprintf(text, sizeof(text), "%lu", pages);
	rc = put(NR_HUGEPAGES, text);
	/* khugepaged is to stay away from all of it */
	return rc ?: put(THP_FOLDER "/khugepaged/scan_sleep_millisecs",
			 "4000000");
}

/* Take some memory and give half of it back, here and there. */
static int take_memory_beforehand(void)
{
	unsigned long pages = 1 + below(SEED_PAGES), i;
	char *taken = mmap(NULL, pages * PAGE_BYTES, PROT_READ | PROT_WRITE,
			   PRIVATE, -1, 0);

	if (taken == MAP_FAILED)
		return failed("mmap: %s", strerror(errno));
	for (i = 0; i < pages; i++)
		taken[i * PAGE_BYTES] = 1;
	for (i = 0; i < pages; i++)
		if (below(2))
			madvise(taken + i * PAGE_BYTES, PAGE_BYTES,
				MADV_DONTNEED);
	return 0;
}

/* Calls of the module */

static int call(struct hmm_bench_call *args)
{
	if (!args->step)
		args->step = 1;
	if (!ioctl(device, HMM_BENCH_CALL, args))
		return 0;
	if (errno == EOPNOTSUPP)
		return -EOPNOTSUPP;
	return failed("operation %u: %s", args->op, strerror(errno));
}

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
	if (wanted && args.folio_order != memories[kind].order)
		return failed("folios of order %u, not %u", args.folio_order,
			      memories[kind].order);
	return 0;
}

static int call_on(char *at, unsigned long size, const struct row *row,
		   struct hmm_bench_call *args)
{
	args->op = row->op;
	args->addr = (uintptr_t)at;
	args->npages = size / PAGE_BYTES;
	args->flags = row->flags;
	args->step = 1U << memories[row->kind].order;
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

/* Somebody who takes mmap_lock for write all the time */

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

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
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

#define LOCKED		HMM_BENCH_RANGE_FAULT
#define UNLOCKED	HMM_BENCH_RANGE_FAULT_UNLOCKED
#define POPULATE	HMM_BENCH_POPULATE
#define LOOK_UP		HMM_BENCH_LOOK_UP

static const struct row present_rows[] = {
	{ "present-4k", "anonymous, 4K PTEs",
	  AT_MOST, 18, measure_present, PAGES_4K, SNAPSHOT, LOCKED },
	{ "present-64k", "64 KiB folios",
	  AT_MOST, 12, measure_present, FOLIOS_64K, SNAPSHOT, LOCKED },
	{ "present-64k-order", " order reported",
	  AT_LEAST, 4, measure_order, FOLIOS_64K, SNAPSHOT, LOCKED },
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

static const struct row short_rows[] = {
	{ "one-page", "mmap_lock already held",
	  AT_MOST, 500, measure_one_page, PAGES_4K, SNAPSHOT, LOCKED },
	{ "one-page-floor", " finding and locking the PTE alone",
	  NO_GOAL, 0, measure_one_page, PAGES_4K, 0, LOOK_UP },
	{ "one-page-unlocked", "unlocked form",
	  NO_GOAL, 0, measure_one_page, PAGES_4K, SNAPSHOT, UNLOCKED },
	{ }
};

static const struct row untouched_rows[] = {
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

static const struct row writer_rows[] = {
	{ "beside-writer", "unlocked form, 2 MiB of 4K pages",
	  NO_GOAL, 0, measure_beside_writer, PAGES_4K, SNAPSHOT, UNLOCKED },
	{ "writer", " mappings of that thread, per second",
	  NO_GOAL, 0, measure_writer, PAGES_4K, SNAPSHOT, UNLOCKED },
	{ }
};

static const struct section sections[] = {	/* up to one without rows */
	{ "everything present, 512 MiB (instructions per page)", false,
	  present_rows },
	{ "a call for one page (instructions)", false, short_rows },
	{ "never touched, fault and write asked for (instructions per page)",
	  false, untouched_rows },
	{ "while a thread maps and unmaps (pages per second, by the clock)",
	  true, writer_rows },
	{ }
};

static void list(void)
{
	static const char * const senses[] = { "none", "most", "least" };
	const struct section *section;
	const struct row *row;

	for (section = sections; section->rows; section++)
		for (row = section->rows; row->name; row++)
			printf("%s\t%s\t%s\t%s\t%s\t%g\n", row->name,
			       section->by_clock ? "clock" : "count",
			       section->title, row->label, senses[row->sense],
			       row->goal);
}

static bool wanted(const char *name, char **patterns)
{
	if (!*patterns)
		return true;
	for (; *patterns; patterns++)
		if (!fnmatch(*patterns, name, 0))
			return true;
	return false;
}

static int show(const struct row *row)
{
	double value = 0;
	int rc = row->measure(row, &value);

	if (!rc)
		printf("row\t%s\t%.6g\n", row->name, value);
	else if (rc == -EOPNOTSUPP)
		printf("row\t%s\t-\n", row->name);
	else
		printf("row\t%s\tfailed: %s\n", row->name, why);
	fflush(stdout);
	return rc && rc != -EOPNOTSUPP;
}

static int show_all(bool by_clock, char **patterns)
{
	const struct section *section;
	const struct row *row;
	int failures = 0;

	for (section = sections; section->rows; section++) {
		if (section->by_clock != by_clock)
			continue;
		for (row = section->rows; row->name; row++)
			if (wanted(row->name, patterns))
				failures += show(row);
	}
	return failures;
}

/* One instruction more or less is how the count is read; more is a clock. */
static int check_counting(void)
{
	struct hmm_bench_call args = {
		.op = HMM_BENCH_LOOP, .repeat = 8, .npages = 1,
	};
	long long off;
	int rc = call(&args);

	if (rc)
		return rc;
	off = (long long)args.cycles - 2 * HMM_BENCH_LOOPS;
	printf("# %d instructions were counted as %llu\n", 2 * HMM_BENCH_LOOPS,
	       args.cycles);
	return off >= -8 && off <= 8 ? 0 :
		failed("instructions are not counted: QEMU needs -icount");
}

int main(int argc, char **argv)
{
	bool by_clock = false;
	int option, rc;

	while ((option = getopt(argc, argv, "ls:w")) != -1) {
		switch (option) {
		case 'l':
			list();
			return 0;
		case 's':
			seed = strtoull(optarg, NULL, 0) * 0x9e3779b97f4a7c15;
			break;
		case 'w':
			by_clock = true;
			break;
		default:
			return 2;
		}
	}

	device = open("/dev/hmm_bench", O_RDWR | O_CLOEXEC);
	rc = device < 0 ? failed("/dev/hmm_bench: %s", strerror(errno)) :
			  set_up();
	if (!rc && !by_clock)
		rc = check_counting();
	if (!rc)
		rc = take_memory_beforehand();
	if (rc) {
		printf("hmm-bench: %s\n", why);
		return 1;
	}
	return show_all(by_clock, argv + optind) ? 1 : 0;
}
