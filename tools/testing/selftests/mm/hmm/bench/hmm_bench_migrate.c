// SPDX-License-Identifier: GPL-2.0
/*
 * Migration to device memory and back, and exclusive access by the device, of
 * 2 MiB each time.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "hmm_bench.h"

#define ROUNDS		8	/* on fresh memory, of which the quickest counts */
#define EMPTY_TOUCHES	64

/* Memory */

/* How often the kernel has done something to folios of this kind */
static int count_of(enum kind kind, const char *what, unsigned long *count)
{
	unsigned long kb = PAGE_BYTES / 1024 << order_of(kind);
	char path[128];
	FILE *file;
	int found;

	*count = 0;
	if (!order_of(kind))
		return 0;
	snprintf(path, sizeof(path), THP_FOLDER "/hugepages-%lukB/stats/%s", kb,
		 what);
	file = fopen(path, "r");
	found = file ? fscanf(file, "%lu", count) : 0;
	if (file)
		fclose(file);
	return found == 1 ? 0 : failed("cannot read %s", path);
}

char *map_folios(enum kind kind)
{
	static const char event[] = "anon_fault_alloc";
	unsigned long before, after, wanted = 0;
	char *at;

	if (order_of(kind))
		wanted = HUGE_PAGES >> order_of(kind);
	if (count_of(kind, event, &before))
		return NULL;
	at = map_present(kind, HUGE_BYTES);
	if (!at || count_of(kind, event, &after))
		return NULL;
	if (after - before == wanted)
		return at;
	failed("%lu folios were allocated, not %lu", after - before, wanted);
	return NULL;
}

/* The CPU's accesses */

static uint64_t touch(char *page)
{
	uint64_t begin = ticks();

	asm volatile("" : : "r" (*page));
	return ticks() - begin;
}

static uint64_t ticks_without_fault(void)
{
	uint64_t quickest = UINT64_MAX;
	char present = 1;
	int i;

	for (i = 0; i < EMPTY_TOUCHES; i++) {
		uint64_t spent = touch(&present);

		if (spent < quickest)
			quickest = spent;
	}
	return quickest;
}

/* What is known of each page: the least it has taken in any round */
static uint64_t quickest_touch[HUGE_PAGES];

static void forget_touches(void)
{
	memset(quickest_touch, 0xff, sizeof(quickest_touch));
}

static void touch_all(char *at)
{
	unsigned long i;

	for (i = 0; i < HUGE_PAGES; i++) {
		uint64_t spent = touch(at + i * PAGE_BYTES);

		if (spent < quickest_touch[i])
			quickest_touch[i] = spent;
	}
}

static double mean_of_touches(void)
{
	double sum = 0;
	unsigned long i;

	for (i = 0; i < HUGE_PAGES; i++)
		sum += quickest_touch[i];
	return sum / HUGE_PAGES - ticks_without_fault();
}

static long faults_of_self(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/* Calls of the module */

static int act_on(char *at, enum hmm_bench_op op, struct hmm_bench_call *args)
{
	args->op = op;
	args->addr = (uintptr_t)at;
	args->npages = HUGE_PAGES;
	args->repeat = 1;
	return call(args);
}

static int migrate(char *at, enum hmm_bench_op op, struct hmm_bench_call *args)
{
	int rc = act_on(at, op, args);

	if (!rc && args->valid != HUGE_PAGES)
		rc = failed("%llu pages were migrated", args->valid);
	return rc;
}

static int to_device(char *at, unsigned int flags)
{
	struct hmm_bench_call args = { .flags = flags };

	return migrate(at, HMM_BENCH_MIGRATE_TO_DEVICE, &args);
}

static int check_nothing_on_device(char *at)
{
	struct hmm_bench_call args = { };
	int rc = act_on(at, HMM_BENCH_MIGRATE_TO_SYSTEM, &args);

	if (!rc && args.valid)
		rc = failed("%llu pages are still there", args.valid);
	return rc;
}

/* Migration */

/* The row's own migration, of fresh memory */
static int migrate_fresh(const struct row *row, struct hmm_bench_call *args)
{
	char *at = map_folios(row->kind);
	int rc = 0;

	if (!at)
		return -EIO;
	if (row->op == HMM_BENCH_MIGRATE_TO_SYSTEM)
		rc = to_device(at, row->flags);
	args->flags |= row->flags;
	rc = rc ?: migrate(at, row->op, args);
	munmap(at, HUGE_BYTES);
	return rc;
}

/* Of the whole, or of the phase that the row counts from 1 */
static int measure_migration(const struct row *row, double *value)
{
	uint64_t spent, quickest = UINT64_MAX;
	int i, rc = 0;

	for (i = 0; !rc && i < ROUNDS; i++) {
		struct hmm_bench_call args = { };

		rc = migrate_fresh(row, &args);
		spent = row->count ? args.phases[row->count - 1] : args.cycles;
		if (spent < quickest)
			quickest = spent;
	}
	*value = (double)quickest / HUGE_PAGES;
	return rc;
}

static int measure_flushes(const struct row *row, double *value)
{
	struct hmm_bench_call args = { .flags = HMM_BENCH_FLUSHES };
	int rc = migrate_fresh(row, &args);

	*value = args.flushes;
	return rc;
}

static int measure_device_order(const struct row *row, double *value)
{
	struct hmm_bench_call args = { };
	int rc = migrate_fresh(row, &args);

	*value = args.folio_order;
	return rc;
}

static int measure_splits(const struct row *row, double *value)
{
	unsigned long before, after = 0;
	struct hmm_bench_call args = { };
	int rc = count_of(row->kind, "split", &before);

	rc = rc ?: migrate_fresh(row, &args);
	rc = rc ?: count_of(row->kind, "split", &after);
	*value = after - before;
	return rc;
}

static int fault_back(const struct row *row)
{
	char *at = map_folios(row->kind);
	int rc;

	if (!at)
		return -EIO;
	rc = to_device(at, row->flags);
	if (!rc) {
		touch_all(at);
		rc = check_nothing_on_device(at);
	}
	munmap(at, HUGE_BYTES);
	return rc;
}

static int measure_cpu_faults(const struct row *row, double *value)
{
	int i, rc = 0;

	forget_touches();
	for (i = 0; !rc && i < ROUNDS; i++)
		rc = fault_back(row);
	*value = mean_of_touches();
	return rc;
}

/* Exclusive access */

/*
 * As many subscriptions as the row says; faults are the CPU's afterwards. Spent
 * are ticks, or flushes.
 */
static int exclude(const struct row *row, char *at, uint64_t *spent,
		   long *faults)
{
	struct hmm_bench_hold overlapping = {
		.addr = (uintptr_t)at,
		.npages = HUGE_PAGES,
		.count = row->count,
	};
	struct hmm_bench_call args = { .flags = row->flags };
	int rc = row->count ? hold(device, &overlapping) : 0;

	rc = rc ?: act_on(at, row->op, &args);
	if (rc)
		return rc;
	*spent = row->flags & HMM_BENCH_FLUSHES ? args.flushes : args.cycles;
	*faults = faults_of_self();
	touch_all(at);
	*faults = faults_of_self() - *faults;
	return ioctl(device, HMM_BENCH_DROP) ? failed("drop") : 0;
}

/* The quickest of several rounds */
static int exclude_fresh(const struct row *row, uint64_t *quickest,
			 long *faults)
{
	uint64_t spent = 0;
	int i, rc = 0;

	*quickest = UINT64_MAX;
	forget_touches();
	for (i = 0; !rc && i < ROUNDS; i++) {
		char *at = map_folios(row->kind);

		if (!at)
			return -EIO;
		rc = exclude(row, at, &spent, faults);
		munmap(at, HUGE_BYTES);
		if (spent < *quickest)
			*quickest = spent;
	}
	return rc;
}

static int measure_exclusive(const struct row *row, double *value)
{
	uint64_t quickest;
	long faults = 0;
	int rc = exclude_fresh(row, &quickest, &faults);

	*value = (double)quickest / HUGE_PAGES;
	return rc;
}

static int measure_exclusive_flushes(const struct row *row, double *value)
{
	uint64_t fewest;
	long faults = 0;
	int rc = exclude_fresh(row, &fewest, &faults);

	*value = fewest;
	return rc;
}

/* Of all rounds, and with what the CPU does afterwards */
static int measure_exclusive_splits(const struct row *row, double *value)
{
	unsigned long before, after = 0;
	uint64_t quickest;
	long faults = 0;
	int rc = count_of(row->kind, "split", &before);

	rc = rc ?: exclude_fresh(row, &quickest, &faults);
	rc = rc ?: count_of(row->kind, "split", &after);
	*value = after - before;
	return rc;
}

static int measure_restore(const struct row *row, double *value)
{
	uint64_t quickest;
	long faults = 0;
	int rc = exclude_fresh(row, &quickest, &faults);

	*value = mean_of_touches();
	return rc;
}

static int measure_restore_faults(const struct row *row, double *value)
{
	uint64_t quickest;
	long faults = 0;
	int rc = exclude_fresh(row, &quickest, &faults);

	*value = faults;
	return rc;
}

/* The rows */

#define TO_DEVICE	.op = HMM_BENCH_MIGRATE_TO_DEVICE
#define TO_SYSTEM	.op = HMM_BENCH_MIGRATE_TO_SYSTEM
#define PHASE(phase)	.count = 1 + HMM_BENCH_##phase

const struct row migrate_rows[] = {
	{ "to-device-4k", "4K to device",
	  AT_MOST, 1400, measure_migration, PAGES_4K, 0, TO_DEVICE },
	{ "to-device-4k-setup", " migrate_vma_setup()",
	  NO_GOAL, 0, measure_migration, PAGES_4K, 0, TO_DEVICE, PHASE(SETUP) },
	{ "to-device-4k-alloc", " allocation",
	  NO_GOAL, 0, measure_migration, PAGES_4K, 0, TO_DEVICE, PHASE(ALLOC) },
	{ "to-device-4k-pages", " migrate_vma_pages()",
	  NO_GOAL, 0, measure_migration, PAGES_4K, 0, TO_DEVICE, PHASE(PAGES) },
	{ "to-device-4k-finalize", " migrate_vma_finalize()",
	  NO_GOAL, 0, measure_migration, PAGES_4K, 0, TO_DEVICE,
	  PHASE(FINALIZE) },
	{ "to-device-4k-flushes", " TLB flushes",
	  AT_MOST, 1, measure_flushes, PAGES_4K, 0, TO_DEVICE },
	{ "to-system-4k", "4K to system",
	  AT_MOST, 1300, measure_migration, PAGES_4K, 0, TO_SYSTEM },
	{ "to-system-4k-setup", " migrate_vma_setup()",
	  NO_GOAL, 0, measure_migration, PAGES_4K, 0, TO_SYSTEM, PHASE(SETUP) },
	{ "to-system-4k-alloc", " allocation",
	  NO_GOAL, 0, measure_migration, PAGES_4K, 0, TO_SYSTEM, PHASE(ALLOC) },
	{ "to-system-4k-pages", " migrate_vma_pages()",
	  NO_GOAL, 0, measure_migration, PAGES_4K, 0, TO_SYSTEM, PHASE(PAGES) },
	{ "to-system-4k-finalize", " migrate_vma_finalize()",
	  NO_GOAL, 0, measure_migration, PAGES_4K, 0, TO_SYSTEM,
	  PHASE(FINALIZE) },
	{ "cpu-fault-4k", "4K, one CPU fault for each page",
	  AT_MOST, 3500, measure_cpu_faults, PAGES_4K },

	{ "to-device-thp", "THP to device, as a whole",
	  AT_MOST, 93, measure_migration, THP, HMM_BENCH_COMPOUND, TO_DEVICE },
	{ "to-device-thp-alloc", " of which allocation",
	  NO_GOAL, 0, measure_migration, THP, HMM_BENCH_COMPOUND, TO_DEVICE,
	  PHASE(ALLOC) },
	{ "to-device-thp-flushes", " TLB flushes",
	  AT_MOST, 1, measure_flushes, THP, HMM_BENCH_COMPOUND, TO_DEVICE },
	{ "to-system-thp", "THP to system",
	  AT_MOST, 67, measure_migration, THP, HMM_BENCH_COMPOUND, TO_SYSTEM },
	{ "to-system-thp-alloc", " of which allocation",
	  NO_GOAL, 0, measure_migration, THP, HMM_BENCH_COMPOUND, TO_SYSTEM,
	  PHASE(ALLOC) },
	{ "thp-splits", " splits there and back",
	  AT_MOST, 0, measure_splits, THP, HMM_BENCH_COMPOUND, TO_SYSTEM },
	{ "cpu-fault-thp", "THP, one CPU fault for all",
	  AT_MOST, 78, measure_cpu_faults, THP, HMM_BENCH_COMPOUND },

	{ "to-device-64k", "64 KiB folios to device",
	  AT_MOST, 300, measure_migration, FOLIOS_64K, HMM_BENCH_FOLIOS,
	  TO_DEVICE },
	{ "to-device-64k-setup", " migrate_vma_setup()",
	  NO_GOAL, 0, measure_migration, FOLIOS_64K, HMM_BENCH_FOLIOS,
	  TO_DEVICE, PHASE(SETUP) },
	{ "to-device-64k-alloc", " allocation",
	  NO_GOAL, 0, measure_migration, FOLIOS_64K, HMM_BENCH_FOLIOS,
	  TO_DEVICE, PHASE(ALLOC) },
	{ "to-device-64k-pages", " migrate_vma_pages()",
	  NO_GOAL, 0, measure_migration, FOLIOS_64K, HMM_BENCH_FOLIOS,
	  TO_DEVICE, PHASE(PAGES) },
	{ "to-device-64k-finalize", " migrate_vma_finalize()",
	  NO_GOAL, 0, measure_migration, FOLIOS_64K, HMM_BENCH_FOLIOS,
	  TO_DEVICE, PHASE(FINALIZE) },
	{ "to-device-64k-flushes", " TLB flushes",
	  AT_MOST, 1, measure_flushes, FOLIOS_64K, HMM_BENCH_FOLIOS,
	  TO_DEVICE },
	{ "to-device-64k-order", " order on the device",
	  AT_LEAST, 4, measure_device_order, FOLIOS_64K, HMM_BENCH_FOLIOS,
	  TO_DEVICE },
	{ "to-system-64k", "64 KiB folios to system",
	  AT_MOST, 300, measure_migration, FOLIOS_64K, HMM_BENCH_FOLIOS,
	  TO_SYSTEM },
	{ "64k-splits", " splits there and back",
	  AT_MOST, 0, measure_splits, FOLIOS_64K, HMM_BENCH_FOLIOS, TO_SYSTEM },
	{ "cpu-fault-64k", "64 KiB folios by CPU faults",
	  NO_GOAL, 0, measure_cpu_faults, FOLIOS_64K, HMM_BENCH_FOLIOS },

	{ "to-device-512k", "512 KiB folios to device",
	  AT_MOST, 300, measure_migration, FOLIOS_512K, HMM_BENCH_FOLIOS,
	  TO_DEVICE },
	{ "to-device-512k-flushes", " TLB flushes",
	  AT_MOST, 1, measure_flushes, FOLIOS_512K, HMM_BENCH_FOLIOS,
	  TO_DEVICE },
	{ "to-device-512k-order", " order on the device",
	  AT_LEAST, 7, measure_device_order, FOLIOS_512K, HMM_BENCH_FOLIOS,
	  TO_DEVICE },
	{ "to-system-512k", "512 KiB folios to system",
	  AT_MOST, 300, measure_migration, FOLIOS_512K, HMM_BENCH_FOLIOS,
	  TO_SYSTEM },
	{ "512k-splits", " splits there and back",
	  AT_MOST, 0, measure_splits, FOLIOS_512K, HMM_BENCH_FOLIOS,
	  TO_SYSTEM },

	{ "to-device-split", "THP to device, page by page",
	  AT_MOST, 2000, measure_migration, THP, 0, TO_DEVICE },
	{ "to-device-split-setup", " migrate_vma_setup()",
	  NO_GOAL, 0, measure_migration, THP, 0, TO_DEVICE, PHASE(SETUP) },
	{ "to-device-split-alloc", " allocation",
	  NO_GOAL, 0, measure_migration, THP, 0, TO_DEVICE, PHASE(ALLOC) },
	{ "to-device-split-pages", " migrate_vma_pages()",
	  NO_GOAL, 0, measure_migration, THP, 0, TO_DEVICE, PHASE(PAGES) },
	{ "to-device-split-finalize", " migrate_vma_finalize()",
	  NO_GOAL, 0, measure_migration, THP, 0, TO_DEVICE, PHASE(FINALIZE) },
	{ "to-device-split-flushes", " TLB flushes",
	  NO_GOAL, 0, measure_flushes, THP, 0, TO_DEVICE },
	{ }
};

#define BY_PAGE		.op = HMM_BENCH_EXCLUSIVE
#define BY_RANGE	.op = HMM_BENCH_EXCLUSIVE_RANGE

const struct row exclusive_rows[] = {
	{ "exclusive-4k", "4K, page by page",
	  NO_GOAL, 0, measure_exclusive, PAGES_4K, 0, BY_PAGE, .count = 0 },
	{ "exclusive-4k-1", " one subscription",
	  NO_GOAL, 0, measure_exclusive, PAGES_4K, 0, BY_PAGE, .count = 1 },
	{ "exclusive-thp", "THP, page by page",
	  NO_GOAL, 0, measure_exclusive, THP, 0, BY_PAGE, .count = 0 },
	{ "exclusive-thp-1", " one subscription",
	  NO_GOAL, 0, measure_exclusive, THP, 0, BY_PAGE, .count = 1 },

	{ "exclusive-range-4k", "4K, the whole range",
	  AT_MOST, 500, measure_exclusive, PAGES_4K, 0, BY_RANGE, .count = 0 },
	{ "exclusive-range-4k-1", " one subscription",
	  AT_MOST, 500, measure_exclusive, PAGES_4K, 0, BY_RANGE, .count = 1 },
	{ "exclusive-range-4k-flushes", " TLB flushes",
	  AT_MOST, 1, measure_exclusive_flushes, PAGES_4K, HMM_BENCH_FLUSHES,
	  BY_RANGE },
	{ "exclusive-range-64k", "64 KiB folios, the whole range",
	  AT_MOST, 100, measure_exclusive, FOLIOS_64K, 0, BY_RANGE,
	  .count = 0 },
	{ "exclusive-range-64k-1", " one subscription",
	  AT_MOST, 100, measure_exclusive, FOLIOS_64K, 0, BY_RANGE,
	  .count = 1 },
	{ "exclusive-range-64k-flushes", " TLB flushes",
	  AT_MOST, 1, measure_exclusive_flushes, FOLIOS_64K, HMM_BENCH_FLUSHES,
	  BY_RANGE },
	{ "exclusive-range-thp", "THP, the whole range",
	  AT_MOST, 30, measure_exclusive, THP, 0, BY_RANGE, .count = 0 },
	{ "exclusive-range-thp-1", " one subscription",
	  AT_MOST, 30, measure_exclusive, THP, 0, BY_RANGE, .count = 1 },
	{ "exclusive-range-thp-flushes", " TLB flushes",
	  AT_MOST, 1, measure_exclusive_flushes, THP, HMM_BENCH_FLUSHES,
	  BY_RANGE },
	{ "exclusive-range-thp-splits", " splits there and back",
	  AT_MOST, 0, measure_exclusive_splits, THP, 0, BY_RANGE },

	{ "restore-4k", "4K, the CPU takes it back",
	  AT_MOST, 1300, measure_restore, PAGES_4K, 0, BY_RANGE },
	{ "restore-64k", "64 KiB folios, the CPU takes them back",
	  AT_MOST, 200, measure_restore, FOLIOS_64K, 0, BY_RANGE },
	{ "restore-64k-faults", " faults in 2 MiB",
	  AT_MOST, 32, measure_restore_faults, FOLIOS_64K, 0, BY_RANGE },
	{ "restore-thp", "THP, the CPU takes it back",
	  AT_MOST, 30, measure_restore, THP, 0, BY_RANGE },
	{ "restore-thp-faults", " faults in 2 MiB",
	  AT_MOST, 1, measure_restore_faults, THP, 0, BY_RANGE },
	{ }
};
