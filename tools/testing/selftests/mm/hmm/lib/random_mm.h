/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What random-mm and random-mm-race share: choices that a seed repeats, the
 * devices, the marks by which the kernel reports writes, and reclaim and KSM
 * at work beside a test.
 */
#ifndef _HMM_RANDOM_MM_H
#define _HMM_RANDOM_MM_H

#include <stdbool.h>
#include <stddef.h>

#include "exclusive.h"

#ifndef PAGE_IS_ACCESSED
#define PAGE_IS_ACCESSED	_BITULL(9)
#endif

/* The memory of both tests: two huge pages */
#define RANDOM_PAGES	(2 * HUGE_PAGES)
#define RANDOM_BYTES	(2 * HUGE_BYTES)

/* Choices */

struct rng {
	__u64 state;
};

void rng_seed(struct rng *rng, __u64 seed);
unsigned long rng_below(struct rng *rng, unsigned long limit);
bool rng_one_in(struct rng *rng, unsigned long n);
/* An order that anonymous folios can have; 0 in every second case */
unsigned int rng_order(struct rng *rng);

struct page_range {
	size_t first;
	size_t npages;
};

/*
 * All of the memory, a huge page, an aligned block, or a few pages anywhere;
 * never more than @most pages.
 */
struct page_range rng_range(struct rng *rng, size_t most);

/*
 * RANDOM_PAGES with the pattern of seed 1, in folios of a size chosen by @rng
 * if the kernel gives them; @size says which.
 */
char *random_folios(struct rng *rng, const char **size);

/* Devices: all that are there, private ones first */

struct devices {
	int fds[4];
	unsigned int count;
};

/*
 * They mark nothing as dirty, which the kernel must not depend on. False, and
 * the reason to skip, where there is none.
 */
bool devices_open(struct devices *devices, const char **reason);
void devices_close(struct devices *devices);
/* No device has pages in use. */
bool devices_are_empty(struct devices *devices);
/* Makes pages exclusive; for threads beside which no memory may be mapped */
struct answer device_seize_only(int fd, void *addr, size_t npages);
/* As device_take(), but the next large folio cannot be allocated. */
struct answer device_take_failing(int fd, void *addr, size_t npages);

/* Marks: how the kernel reports what was written or, with RWP, accessed */

enum marks_kind {
	MARKS_NONE,
	MARKS_UFFD_WP,		/* asynchronous, read by PAGEMAP_SCAN */
	MARKS_SOFT_DIRTY,
	MARKS_UFFD_RWP,		/* asynchronous; any access counts */
	MARKS_KINDS
};

struct marks {
	enum marks_kind kind;
	char *map;		/* RANDOM_PAGES */
	int pagemap;
	struct uffd uffd;
};

/* False, and the reason to skip, where the kernel does not have them */
bool marks_supported(enum marks_kind kind, const char **reason);
bool marks_start(struct marks *marks, enum marks_kind kind, char *map);
void marks_stop(struct marks *marks);
/* Sets @reported, indexed from the start of the memory, for pages of @range. */
void marks_look(struct marks *marks, struct page_range range, bool *reported);
/* From now on new accesses are reported. 0 or a negative errno */
int marks_clear(struct marks *marks, struct page_range range);
/* Both; in one step, if the kernel has it */
int marks_look_and_clear(struct marks *marks, struct page_range range,
			 bool *reported);

/* Reclaim, khugepaged and KSM: what of them is there */

struct pressure {
	struct swap swap;
	struct reclaimer reclaimer;
	bool reclaims;
	struct ksm ksm;
	struct setting ksm_nap;
	struct setting khugepaged[2];
};

void pressure_start(struct pressure *pressure);
void pressure_reclaim(struct pressure *pressure);
void pressure_stop(struct pressure *pressure);

#endif /* _HMM_RANDOM_MM_H */
