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
 * it an entry in the rows of a hmm_bench_*.c. An operation that the module does
 * not have yet is one entry of its bench_ops[].
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hmm_bench.h"

#define SEED_PAGES	8192		/* at most, taken beforehand */
#define NR_HUGEPAGES	"/proc/sys/vm/nr_hugepages"

struct section {
	const char *title;
	bool by_clock;
	bool apart;		/* see measure_apart() */
	const struct row *rows;	/* up to one without a name */
};

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

static char *taken;
static unsigned long taken_bytes;

/* Take some memory and give half of it back, here and there. */
static int take_memory_beforehand(void)
{
	unsigned long pages = 1 + below(SEED_PAGES), i;

	taken_bytes = pages * PAGE_BYTES;
	taken = mmap(NULL, taken_bytes, PROT_READ | PROT_WRITE, PRIVATE, -1, 0);
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

int unmap_taken_memory(void)
{
	return munmap(taken, taken_bytes) ?
		failed("munmap: %s", strerror(errno)) : 0;
}

static const struct section sections[] = {	/* up to one without rows */
	{ "everything present, 512 MiB (instructions per page)",
	  .rows = present_rows },
	{ "a call for one page (instructions)", .rows = short_rows },
	{ "never touched, fault and write asked for (instructions per page)",
	  .rows = untouched_rows },
	{ "interval subscriptions (instructions)",
	  .apart = true, .rows = interval_rows },
	{ "the first subscription of an address space (instructions)",
	  .apart = true, .rows = first_rows },
	{ "MADV_DONTNEED of a page, by subscriptions (instructions)",
	  .apart = true, .rows = madvise_rows },
	{ "an address space that never had a subscription (instructions)",
	  .apart = true, .rows = unsubscribed_rows },
	{ "migration of 2 MiB, nothing copied (instructions per page)",
	  .apart = true, .rows = migrate_rows },
	{ "a device fault with placement of 2 MiB (instructions per page)",
	  .apart = true, .rows = place_rows },
	{ "exclusive access to 2 MiB (instructions per page)",
	  .apart = true, .rows = exclusive_rows },
	{ "a DMA map behind an IOMMU (instructions per page)",
	  .apart = true, .rows = dma_rows },
	{ "while a thread maps and unmaps (pages per second, by the clock)",
	  .by_clock = true, .rows = writer_rows },
	{ "while another range is being invalidated (seconds, by the clock)",
	  .by_clock = true, .apart = true, .rows = storm_rows },
	{ "a first subscription (microseconds, by the clock; 3 s at most)",
	  .by_clock = true, .apart = true, .rows = first_clock_rows },
	{ "mmap_lock held by one (microseconds, by the clock)",
	  .by_clock = true, .apart = true, .rows = first_lock_rows },
	{ "events of one, 2 processors (medians)",
	  .by_clock = true, .apart = true, .rows = first_event_rows },
	{ }
};

static void list(void)
{
	static const char * const senses[] = {
		[NO_GOAL] = "none",
		[AT_MOST] = "most",
		[AT_LEAST] = "least",
		[BASE_PLUS] = "plus",
		[BASE_TIMES] = "times",
		[AS_ALONE] = "alone",
	};
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

static int show(const struct row *row, bool apart)
{
	double value = 0;
	int rc = apart ? measure_apart(row->measure, row, &value) :
			 row->measure(row, &value);

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
				failures += show(row, section->apart);
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

	rc = open_device(&device) ?: set_up();
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
