// SPDX-License-Identifier: GPL-2.0
/*
 * A device fault on 2 MiB that belongs in the device's memory: afterwards they
 * are there, and the device has the answers for all of them. Where there is no
 * hmm_range_migrate(), a sequence of other calls does the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/swap.h>
#include <unistd.h>

#include "hmm_bench.h"

#define ROUNDS		8	/* on fresh memory, of which the quickest counts */

#define ZRAM		"/sys/block/zram0"
#define ZRAM_DEVICE	"/dev/zram0"
#define SWAP_BYTES	(64 * MIB)
#define SWAPPED_OUT	_BITULL(62)	/* in /proc/self/pagemap */
#define SWAP_TRIES	100

/* Swap */

static int write_swap_header(void)
{
	static const char signature[] = "SWAPSPACE2";
	uint32_t version = 1, last_page = SWAP_BYTES / PAGE_BYTES - 1;
	char page[PAGE_BYTES] = { 0 };
	int file = open(ZRAM_DEVICE, O_WRONLY | O_CLOEXEC);
	bool wrote;

	memcpy(page + 1024, &version, sizeof(version));
	memcpy(page + 1028, &last_page, sizeof(last_page));
	memcpy(page + sizeof(page) - strlen(signature), signature,
	       strlen(signature));
	wrote = file >= 0 && write(file, page, sizeof(page)) == sizeof(page);
	if (file >= 0)
		close(file);
	return wrote ? 0 : failed("%s: %s", ZRAM_DEVICE, strerror(errno));
}

static int begin_swap(void)
{
	char text[32];
	int rc;

	snprintf(text, sizeof(text), "%lu", SWAP_BYTES);
	rc = put(ZRAM "/disksize", text) ?: write_swap_header();
	if (!rc && swapon(ZRAM_DEVICE, 0))
		rc = failed("swapon: %s", strerror(errno));
	return rc;
}

static int end_swap(void)
{
	if (swapoff(ZRAM_DEVICE))
		return failed("swapoff: %s", strerror(errno));
	return put(ZRAM "/reset", "1");
}

static bool is_swapped_out(char *page)
{
	int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (pread(file, &entry, sizeof(entry),
		  (uintptr_t)page / PAGE_BYTES * sizeof(entry)) !=
	    sizeof(entry))
		entry = 0;
	close(file);
	return entry & SWAPPED_OUT;
}

/* Pages wait on each processor's list before reclaim can find them. */
static int swap_out(char *page)
{
	int i;

	for (i = 0; i < SWAP_TRIES; i++) {
		if (madvise(page, PAGE_BYTES, MADV_PAGEOUT))
			return failed("MADV_PAGEOUT: %s", strerror(errno));
		if (is_swapped_out(page))
			return 0;
		put("/proc/sys/vm/drop_caches", "1");
		usleep(1000);
	}
	return failed("a page is not swapped out");
}

/* What the memory is before the fault */

/* How folios of the row's kind go as a whole */
static unsigned int folio_flags(const struct row *row)
{
	return order_of(row->kind) ? HMM_BENCH_COMPOUND | HMM_BENCH_FOLIOS : 0;
}

static int migrate(char *at, unsigned long npages, unsigned int flags)
{
	struct hmm_bench_call args = {
		.op = HMM_BENCH_MIGRATE_TO_DEVICE,
		.addr = (uintptr_t)at,
		.npages = npages,
		.repeat = 1,
		.flags = flags,
	};
	int rc = call(&args);

	if (!rc && args.valid != npages)
		rc = failed("%llu pages were migrated", args.valid);
	return rc;
}

static char *never_touched(const struct row *row)
{
	return map(row->kind, HUGE_BYTES);
}

static char *present(const struct row *row)
{
	return map_folios(row->kind);
}

static char *on_device(const struct row *row)
{
	char *at = map_folios(row->kind);

	return at && !migrate(at, HUGE_PAGES, folio_flags(row)) ? at : NULL;
}

static char *swapped_out(const struct row *row)
{
	char *at = map_folios(row->kind);
	unsigned long i;

	for (i = 0; at && i < HUGE_PAGES; i++)
		if (swap_out(at + i * PAGE_BYTES))
			return NULL;
	return at;
}

/* In turn: present, never touched, on the device, swapped out */
static int mix(char *at, bool swap)
{
	unsigned long i;
	int rc = 0;

	for (i = 0; i < HUGE_PAGES; i++)
		if (i % 4 != 1)
			at[i * PAGE_BYTES] = 1;
	for (i = 0; !rc && i < HUGE_PAGES; i++) {
		if (i % 4 == 2)
			rc = migrate(at + i * PAGE_BYTES, 1, 0);
		if (i % 4 == 3 && swap)
			rc = swap_out(at + i * PAGE_BYTES);
	}
	return rc;
}

static char *mixed(const struct row *row)
{
	char *at = map(row->kind, HUGE_BYTES);

	return at && !mix(at, false) ? at : NULL;
}

static char *mixed_with_swap(const struct row *row)
{
	char *at = map(row->kind, HUGE_BYTES);

	return at && !mix(at, true) ? at : NULL;
}

/**
 * struct place_trial - what the memory of a row is
 * @prepare: makes it so
 * @swap: this needs swap space
 * @fault_first: without hmm_range_migrate(), it must be faulted in first
 */
struct place_trial {
	char *(*prepare)(const struct row *row);
	bool swap;
	bool fault_first;
};

/* Measurements */

static unsigned int flags_of(const struct row *row)
{
	const struct place_trial *trial = row->trial;
	unsigned int flags = folio_flags(row);

	if (row->op == HMM_BENCH_MIRROR ||
	    row->op == HMM_BENCH_MIGRATE_TO_DEVICE)
		return flags;
	if (trial->fault_first)
		flags |= HMM_BENCH_FAULT_FIRST;
	return flags | HMM_BENCH_REQ_FAULT | HMM_BENCH_REQ_WRITE;
}

static int fault(const struct row *row, struct hmm_bench_call *args)
{
	const struct place_trial *trial = row->trial;
	char *at = trial->prepare(row);
	int rc;

	if (!at)
		return -EIO;
	args->op = row->op;
	args->addr = (uintptr_t)at;
	args->npages = HUGE_PAGES;
	args->repeat = 1;
	args->flags |= flags_of(row);
	rc = call(args);
	munmap(at, HUGE_BYTES);
	if (!rc && args->valid != HUGE_PAGES)
		rc = failed("%llu pages are on the device", args->valid);
	return rc;
}

/* In a process of its own: what fails is not cleaned up. */
static int with_swap(int (*measure)(const struct row *row, double *value),
		     const struct row *row, double *value)
{
	const struct place_trial *trial = row->trial;
	int rc;

	if (!trial->swap)
		return measure(row, value);
	rc = begin_swap();
	if (rc)
		return rc;
	rc = measure(row, value);
	return end_swap() ?: rc;
}

static int quickest_fault(const struct row *row, double *value)
{
	uint64_t quickest = UINT64_MAX;
	int i, rc = 0;

	for (i = 0; !rc && i < ROUNDS; i++) {
		struct hmm_bench_call args = { };

		rc = fault(row, &args);
		if (args.cycles < quickest)
			quickest = args.cycles;
	}
	*value = (double)quickest / HUGE_PAGES;
	return rc;
}

static int measure_place(const struct row *row, double *value)
{
	return with_swap(quickest_fault, row, value);
}

/* The row counts events from 1; 0 stands for CPU page faults. */
static int count_events(const struct row *row, double *value)
{
	struct hmm_bench_call args = { .flags = HMM_BENCH_EVENTS };
	int rc = fault(row, &args);

	*value = row->count ? args.events[row->count - 1] : args.faults;
	if (row->count == 1 + HMM_BENCH_WALKED)
		*value /= HUGE_PAGES;
	return rc;
}

static int measure_place_events(const struct row *row, double *value)
{
	return with_swap(count_events, row, value);
}

/* The rows */

static const struct place_trial from_hole = {
	never_touched, .fault_first = true,
};

static const struct place_trial from_present = { present };

static const struct place_trial from_device = { on_device };

static const struct place_trial from_swap = {
	swapped_out, .swap = true, .fault_first = true,
};

static const struct place_trial from_mixed = { mixed };

static const struct place_trial from_mixed_with_swap = {
	mixed_with_swap, .swap = true, .fault_first = true,
};

#define MEMORY(of, from)	.kind = of, .trial = &from_##from

#define BY(do)		.measure = measure_place, .op = HMM_BENCH_##do
#define COUNT(event)	.measure = measure_place_events, .op = HMM_BENCH_PLACE, \
			.count = 1 + HMM_BENCH_##event
#define COUNT_FAULTS	.measure = measure_place_events, .op = HMM_BENCH_PLACE

#define ALONE		" migrate_vma_*() alone"
#define SNAPSHOT	" a snapshot by hmm_range_fault()"
#define COLLECT_FAULT	" migrate_vma_*(), then hmm_range_fault()"
#define FAULT_COLLECT	" hmm_range_fault() before and after migrate_vma_*()"
#define WALKS		" walks, by the pages that they pass"
#define ROUNDS_OF_IT	" invalidations that reach the driver"
#define FAULTS		" CPU page faults"
#define ALLOCATED	" pages of system memory allocated"
#define ZEROED		" bytes zeroed by the CPU"

/*
 * Of what is swapped out, migrate_vma_*() moves nothing, so that it must be
 * faulted in first.
 */
const struct row place_rows[] = {
	{ "place-hole-4k", "never touched, 4K",
	  AT_MOST, 1000, BY(PLACE), MEMORY(PAGES_4K, hole) },
	{ "place-hole-4k-collect-fault", COLLECT_FAULT,
	  NO_GOAL, 0, BY(COLLECT_FAULT), MEMORY(PAGES_4K, hole) },
	{ "place-hole-4k-fault-collect", FAULT_COLLECT,
	  NO_GOAL, 0, BY(FAULT_COLLECT), MEMORY(PAGES_4K, hole) },
	{ "place-hole-4k-walks", WALKS,
	  AT_MOST, 1, COUNT(WALKED), MEMORY(PAGES_4K, hole) },
	{ "place-hole-4k-rounds", ROUNDS_OF_IT,
	  AT_MOST, 1, COUNT(ROUNDS), MEMORY(PAGES_4K, hole) },
	{ "place-hole-4k-faults", FAULTS,
	  AT_MOST, 0, COUNT_FAULTS, MEMORY(PAGES_4K, hole) },
	{ "place-hole-4k-allocated", ALLOCATED,
	  AT_MOST, 0, COUNT(ALLOCATED), MEMORY(PAGES_4K, hole) },
	{ "place-hole-4k-zeroed", ZEROED,
	  AT_MOST, 0, COUNT(ZEROED), MEMORY(PAGES_4K, hole) },

	{ "place-hole-thp", "never touched, 2 MiB as a whole",
	  AT_MOST, 100, BY(PLACE), MEMORY(THP, hole) },
	{ "place-hole-thp-collect-fault", COLLECT_FAULT,
	  NO_GOAL, 0, BY(COLLECT_FAULT), MEMORY(THP, hole) },
	{ "place-hole-thp-fault-collect", FAULT_COLLECT,
	  NO_GOAL, 0, BY(FAULT_COLLECT), MEMORY(THP, hole) },
	{ "place-hole-thp-walks", WALKS,
	  AT_MOST, 1, COUNT(WALKED), MEMORY(THP, hole) },
	{ "place-hole-thp-rounds", ROUNDS_OF_IT,
	  AT_MOST, 1, COUNT(ROUNDS), MEMORY(THP, hole) },
	{ "place-hole-thp-faults", FAULTS,
	  AT_MOST, 0, COUNT_FAULTS, MEMORY(THP, hole) },
	{ "place-hole-thp-allocated", ALLOCATED,
	  AT_MOST, 0, COUNT(ALLOCATED), MEMORY(THP, hole) },
	{ "place-hole-thp-zeroed", ZEROED,
	  AT_MOST, 0, COUNT(ZEROED), MEMORY(THP, hole) },

	{ "place-present-4k", "present, 4K",
	  AS_ALONE, 1, BY(PLACE), MEMORY(PAGES_4K, present) },
	{ "place-present-4k-alone", ALONE,
	  NO_GOAL, 0, BY(MIGRATE_TO_DEVICE), MEMORY(PAGES_4K, present) },
	{ "place-present-4k-collect-fault", COLLECT_FAULT,
	  NO_GOAL, 0, BY(COLLECT_FAULT), MEMORY(PAGES_4K, present) },
	{ "place-present-4k-fault-collect", FAULT_COLLECT,
	  NO_GOAL, 0, BY(FAULT_COLLECT), MEMORY(PAGES_4K, present) },
	{ "place-present-4k-walks", WALKS,
	  AT_MOST, 1, COUNT(WALKED), MEMORY(PAGES_4K, present) },
	{ "place-present-4k-rounds", ROUNDS_OF_IT,
	  AT_MOST, 1, COUNT(ROUNDS), MEMORY(PAGES_4K, present) },
	{ "place-present-4k-faults", FAULTS,
	  AT_MOST, 0, COUNT_FAULTS, MEMORY(PAGES_4K, present) },
	{ "place-present-4k-allocated", ALLOCATED,
	  AT_MOST, 0, COUNT(ALLOCATED), MEMORY(PAGES_4K, present) },
	{ "place-present-4k-zeroed", ZEROED,
	  AT_MOST, 0, COUNT(ZEROED), MEMORY(PAGES_4K, present) },

	{ "place-present-64k", "present, 64 KiB folios",
	  AS_ALONE, 1, BY(PLACE), MEMORY(FOLIOS_64K, present) },
	{ "place-present-64k-alone", ALONE,
	  NO_GOAL, 0, BY(MIGRATE_TO_DEVICE), MEMORY(FOLIOS_64K, present) },
	{ "place-present-64k-collect-fault", COLLECT_FAULT,
	  NO_GOAL, 0, BY(COLLECT_FAULT), MEMORY(FOLIOS_64K, present) },
	{ "place-present-64k-fault-collect", FAULT_COLLECT,
	  NO_GOAL, 0, BY(FAULT_COLLECT), MEMORY(FOLIOS_64K, present) },
	{ "place-present-64k-walks", WALKS,
	  AT_MOST, 1, COUNT(WALKED), MEMORY(FOLIOS_64K, present) },
	{ "place-present-64k-rounds", ROUNDS_OF_IT,
	  AT_MOST, 1, COUNT(ROUNDS), MEMORY(FOLIOS_64K, present) },
	{ "place-present-64k-faults", FAULTS,
	  AT_MOST, 0, COUNT_FAULTS, MEMORY(FOLIOS_64K, present) },
	{ "place-present-64k-allocated", ALLOCATED,
	  AT_MOST, 0, COUNT(ALLOCATED), MEMORY(FOLIOS_64K, present) },
	{ "place-present-64k-zeroed", ZEROED,
	  AT_MOST, 0, COUNT(ZEROED), MEMORY(FOLIOS_64K, present) },

	{ "place-present-thp", "present, THP",
	  AS_ALONE, 1, BY(PLACE), MEMORY(THP, present) },
	{ "place-present-thp-alone", ALONE,
	  NO_GOAL, 0, BY(MIGRATE_TO_DEVICE), MEMORY(THP, present) },
	{ "place-present-thp-collect-fault", COLLECT_FAULT,
	  NO_GOAL, 0, BY(COLLECT_FAULT), MEMORY(THP, present) },
	{ "place-present-thp-fault-collect", FAULT_COLLECT,
	  NO_GOAL, 0, BY(FAULT_COLLECT), MEMORY(THP, present) },
	{ "place-present-thp-walks", WALKS,
	  AT_MOST, 1, COUNT(WALKED), MEMORY(THP, present) },
	{ "place-present-thp-rounds", ROUNDS_OF_IT,
	  AT_MOST, 1, COUNT(ROUNDS), MEMORY(THP, present) },
	{ "place-present-thp-faults", FAULTS,
	  AT_MOST, 0, COUNT_FAULTS, MEMORY(THP, present) },
	{ "place-present-thp-allocated", ALLOCATED,
	  AT_MOST, 0, COUNT(ALLOCATED), MEMORY(THP, present) },
	{ "place-present-thp-zeroed", ZEROED,
	  AT_MOST, 0, COUNT(ZEROED), MEMORY(THP, present) },

	{ "place-device-4k", "on the device already, 4K",
	  AS_ALONE, 1, BY(PLACE), MEMORY(PAGES_4K, device) },
	{ "place-device-4k-alone", SNAPSHOT,
	  NO_GOAL, 0, BY(MIRROR), MEMORY(PAGES_4K, device) },
	{ "place-device-4k-collect-fault", COLLECT_FAULT,
	  NO_GOAL, 0, BY(COLLECT_FAULT), MEMORY(PAGES_4K, device) },
	{ "place-device-4k-fault-collect", FAULT_COLLECT,
	  NO_GOAL, 0, BY(FAULT_COLLECT), MEMORY(PAGES_4K, device) },
	{ "place-device-4k-walks", WALKS,
	  AT_MOST, 1, COUNT(WALKED), MEMORY(PAGES_4K, device) },
	{ "place-device-4k-rounds", ROUNDS_OF_IT,
	  AT_MOST, 0, COUNT(ROUNDS), MEMORY(PAGES_4K, device) },
	{ "place-device-4k-faults", FAULTS,
	  AT_MOST, 0, COUNT_FAULTS, MEMORY(PAGES_4K, device) },
	{ "place-device-4k-allocated", ALLOCATED,
	  AT_MOST, 0, COUNT(ALLOCATED), MEMORY(PAGES_4K, device) },
	{ "place-device-4k-zeroed", ZEROED,
	  AT_MOST, 0, COUNT(ZEROED), MEMORY(PAGES_4K, device) },

	{ "place-device-thp", "on the device already, THP",
	  AS_ALONE, 1, BY(PLACE), MEMORY(THP, device) },
	{ "place-device-thp-alone", SNAPSHOT,
	  NO_GOAL, 0, BY(MIRROR), MEMORY(THP, device) },
	{ "place-device-thp-collect-fault", COLLECT_FAULT,
	  NO_GOAL, 0, BY(COLLECT_FAULT), MEMORY(THP, device) },
	{ "place-device-thp-fault-collect", FAULT_COLLECT,
	  NO_GOAL, 0, BY(FAULT_COLLECT), MEMORY(THP, device) },
	{ "place-device-thp-walks", WALKS,
	  AT_MOST, 1, COUNT(WALKED), MEMORY(THP, device) },
	{ "place-device-thp-rounds", ROUNDS_OF_IT,
	  AT_MOST, 0, COUNT(ROUNDS), MEMORY(THP, device) },
	{ "place-device-thp-faults", FAULTS,
	  AT_MOST, 0, COUNT_FAULTS, MEMORY(THP, device) },
	{ "place-device-thp-allocated", ALLOCATED,
	  AT_MOST, 0, COUNT(ALLOCATED), MEMORY(THP, device) },
	{ "place-device-thp-zeroed", ZEROED,
	  AT_MOST, 0, COUNT(ZEROED), MEMORY(THP, device) },

	{ "place-swap-4k", "swapped out, 4K",
	  BASE_TIMES, 1, BY(PLACE), MEMORY(PAGES_4K, swap) },
	{ "place-swap-4k-fault-collect", FAULT_COLLECT,
	  NO_GOAL, 0, BY(FAULT_COLLECT), MEMORY(PAGES_4K, swap) },
	{ "place-swap-4k-walks", WALKS,
	  AT_MOST, 1, COUNT(WALKED), MEMORY(PAGES_4K, swap) },
	{ "place-swap-4k-rounds", ROUNDS_OF_IT,
	  AT_MOST, 1, COUNT(ROUNDS), MEMORY(PAGES_4K, swap) },
	{ "place-swap-4k-faults", FAULTS,
	  AT_MOST, HUGE_PAGES, COUNT_FAULTS, MEMORY(PAGES_4K, swap) },
	{ "place-swap-4k-allocated", ALLOCATED,
	  AT_MOST, HUGE_PAGES, COUNT(ALLOCATED), MEMORY(PAGES_4K, swap) },
	{ "place-swap-4k-zeroed", ZEROED,
	  AT_MOST, 0, COUNT(ZEROED), MEMORY(PAGES_4K, swap) },

	{ "place-mixed", "present, absent, on the device",
	  BASE_TIMES, 1, BY(PLACE), MEMORY(PAGES_4K, mixed) },
	{ "place-mixed-collect-fault", COLLECT_FAULT,
	  NO_GOAL, 0, BY(COLLECT_FAULT), MEMORY(PAGES_4K, mixed) },
	{ "place-mixed-fault-collect", FAULT_COLLECT,
	  NO_GOAL, 0, BY(FAULT_COLLECT), MEMORY(PAGES_4K, mixed) },
	{ "place-mixed-walks", WALKS,
	  AT_MOST, 1, COUNT(WALKED), MEMORY(PAGES_4K, mixed) },
	{ "place-mixed-rounds", ROUNDS_OF_IT,
	  AT_MOST, 1, COUNT(ROUNDS), MEMORY(PAGES_4K, mixed) },
	{ "place-mixed-faults", FAULTS,
	  AT_MOST, 0, COUNT_FAULTS, MEMORY(PAGES_4K, mixed) },
	{ "place-mixed-allocated", ALLOCATED,
	  AT_MOST, 0, COUNT(ALLOCATED), MEMORY(PAGES_4K, mixed) },
	{ "place-mixed-zeroed", ZEROED,
	  AT_MOST, 0, COUNT(ZEROED), MEMORY(PAGES_4K, mixed) },

	{ "place-mixed-swap", "present, absent, on the device, swapped out",
	  BASE_TIMES, 1, BY(PLACE), MEMORY(PAGES_4K, mixed_with_swap) },
	{ "place-mixed-swap-fault-collect", FAULT_COLLECT,
	  NO_GOAL, 0, BY(FAULT_COLLECT), MEMORY(PAGES_4K, mixed_with_swap) },
	{ "place-mixed-swap-walks", WALKS,
	  AT_MOST, 1, COUNT(WALKED), MEMORY(PAGES_4K, mixed_with_swap) },
	{ "place-mixed-swap-rounds", ROUNDS_OF_IT,
	  AT_MOST, 1, COUNT(ROUNDS), MEMORY(PAGES_4K, mixed_with_swap) },
	{ "place-mixed-swap-faults", FAULTS,
	  AT_MOST, HUGE_PAGES / 4, COUNT_FAULTS,
	  MEMORY(PAGES_4K, mixed_with_swap) },
	{ "place-mixed-swap-allocated", ALLOCATED,
	  AT_MOST, HUGE_PAGES / 4, COUNT(ALLOCATED),
	  MEMORY(PAGES_4K, mixed_with_swap) },
	{ "place-mixed-swap-zeroed", ZEROED,
	  AT_MOST, 0, COUNT(ZEROED), MEMORY(PAGES_4K, mixed_with_swap) },
	{ }
};
