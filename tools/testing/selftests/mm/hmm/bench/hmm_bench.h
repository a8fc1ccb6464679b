/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of hmm-bench share: rows, memory to measure on, and calls of
 * the module.
 *
 * Functions return 0, or a negative errno after failed() has noted why;
 * -EOPNOTSUPP says that this kernel's HMM lacks what is measured.
 */
#ifndef _HMM_BENCH_H
#define _HMM_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#include "../hmm_bench/hmm_bench_uapi.h"

#define MIB		0x100000UL
#define PAGE_BYTES	4096UL
#define HUGE_BYTES	(2 * MIB)
#define HUGE_PAGES	(HUGE_BYTES / PAGE_BYTES)

#define PRESENT_BYTES	(512 * MIB)	/* of hugetlb, no row maps more */

#define PRIVATE		(MAP_PRIVATE | MAP_ANONYMOUS)
#define SHARED		(MAP_SHARED | MAP_ANONYMOUS)

#define THP_FOLDER	"/sys/kernel/mm/transparent_hugepage"

enum kind {
	PAGES_4K,
	PAGES_APART,
	FOLIOS_64K,
	FOLIOS_512K,
	SHMEM_4K,
	THP,
	HUGETLB,
	HOLE,
};

/* How the goal limits the figure of our kernel */
enum sense {
	NO_GOAL,
	AT_MOST,
	AT_LEAST,
	BASE_PLUS,	/* at most so much more than the stock kernel's */
	BASE_TIMES,	/* at most so many times as much */
	AS_ALONE,	/* at most so many times that of our row NAME-alone */
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
	unsigned long count;	/* of what the label says */
	const void *trial;	/* known to the measure function */
};

/* The rows of a section, up to one without a name */
extern const struct row present_rows[];
extern const struct row short_rows[];
extern const struct row untouched_rows[];
extern const struct row writer_rows[];
extern const struct row interval_rows[];
extern const struct row first_rows[];
extern const struct row madvise_rows[];
extern const struct row unsubscribed_rows[];
extern const struct row migrate_rows[];
extern const struct row place_rows[];
extern const struct row exclusive_rows[];
extern const struct row dma_rows[];
extern const struct row storm_rows[];
extern const struct row first_clock_rows[];
extern const struct row first_lock_rows[];
extern const struct row first_event_rows[];

/* For a child process that must be small; its parent keeps the memory. */
int unmap_taken_memory(void);

/* Common */
extern uint64_t seed;
extern char why[128];	/* the last failure */

int failed(const char *format, ...);
unsigned long below(unsigned long limit);	/* at random */
double now(void);
uint64_t ticks(void);
double median(double *values, unsigned int count);	/* sorts them */
int put(const char *path, const char *text);

/* Memory of a kind, behind mappings of its own */
unsigned int order_of(enum kind kind);		/* of its folios */
char *map(enum kind kind, unsigned long size);
char *map_present(enum kind kind, unsigned long size);

/* 2 MiB, and what was allocated is what the kind says. */
char *map_folios(enum kind kind);

/* Mappings of one page each: of present memory, and of nothing anywhere */
int split_mapping(char *at, unsigned long count, int protection);
int add_mappings(unsigned long count);

/* What is done to a page again and again; only one part is timed. */
struct page_call {
	int (*prepare)(char *page);
	int (*run)(char *page);
};

int time_page_call(const struct page_call *call, char *page, double *value);

/* The module; each file holds subscriptions of its own. */
extern int device;
int open_device(int *file);
int call(struct hmm_bench_call *args);
int command(unsigned long number);
int hold(int file, const struct hmm_bench_hold *args);

/*
 * Measure in a process that exits afterwards, so that nothing needs cleanup.
 * Its address space has never had a subscription.
 */
int measure_apart(int (*measure)(const struct row *row, double *value),
		  const struct row *row, double *value);

#endif /* _HMM_BENCH_H */
