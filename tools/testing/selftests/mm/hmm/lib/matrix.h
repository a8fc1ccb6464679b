/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The two sides of the program matrix: how the devices are used (matrix.c) and
 * what memory they are used on (matrix_memory.c).
 *
 * An *area* is the memory of one cell. Its pages hold *patterns*: numbered,
 * page-sized, seemingly random contents that differ from page to page. Pattern
 * 0 is all zeros. The area remembers which pattern each page must hold, so
 * that every byte can be checked at any time, by CPU and device.
 */
#ifndef _HMM_MATRIX_H
#define _HMM_MATRIX_H

#include "common.h"

#define DEVICES		4
#define TOUCHERS	2

/* What a device does with a range, or FINISH: nothing more. */
enum step { READ, WRITE, TO_DEVICE, TO_SYSTEM, FINISH };

/* Does memory move to the device? Perhaps it does while others use it too. */
enum moving { MOVES, MAY_MOVE, STAYS };

struct area;

/*
 * A kind of memory. The operations run in the process that owns the area, when
 * no device is at work; all but make are optional.
 */
struct memory {
	bool large;		/* consists of huge pages */
	bool swaps;		/* wants swap space */
	bool hugetlb;		/* wants reserved huge pages */
	bool touched;		/* others write first and last bytes of pages */
	bool prefetched;	/* is on the main device before it is used */
	enum moving moving;
	void (*make)(struct area *area);
	/* Instead of the CPU writing through the mapping */
	void (*fill)(struct area *area, unsigned int pattern);
	/* Before each step of the devices */
	void (*change)(struct area *area, enum step next);
	/* Around each step */
	void (*begin)(struct area *area);
	void (*end)(struct area *area, enum step step);
	/* Whatever else must be true */
	void (*check)(struct area *area);
	void (*drop)(struct area *area);
};

extern const struct memory memory_malloc, memory_mmap, memory_file_private,
	memory_file_shared, memory_shared_anon, memory_memfd, memory_huge,
	memory_hugetlb, memory_mlock, memory_fork_read, memory_mremap,
	memory_mremap_huge, memory_dontunmap, memory_ro_protect,
	memory_ro_remap, memory_race, memory_prefetch, memory_prefetch_huge,
	memory_dontneed, memory_pageout, memory_collapse;

/* A CPU thread that writes one byte of each page, see memory_race. */
struct toucher {
	struct area *area;
	size_t offset;
	unsigned char value;	/* last written to all pages */
	unsigned int rounds;	/* atomic */
	pthread_t thread;
};

struct area {
	const struct memory *memory;
	int device;		/* open file of the cell's main device */
	char *map;
	size_t npages;
	size_t first;		/* where devices work ... */
	size_t used;		/* ... and on how many pages */
	bool shared;		/* by several devices, each of which may have it */
	unsigned int *expect;	/* the pattern of each page */
	unsigned int patterns;	/* numbers used; atomic */

	/* Belongs to the kind of memory */
	void *block;
	char *other;		/* a second mapping */
	int fd;
	unsigned int on_file;	/* pattern that the file keeps */
	pid_t child;
	unsigned int *stop;	/* atomic; shared with the child */
	struct toucher touchers[TOUCHERS];
};

/* Random numbers; each thread has its own sequence. */
void random_start(__u64 which);
size_t random_below(size_t limit);

/* A failed check: the cell goes on, and fails. */
void __printf(1, 2) complain(const char *format, ...);

const char *pattern_page(unsigned int pattern, size_t page);
unsigned int pattern_new(struct area *area);
/* Is @data what page @page of the area must hold? Complains otherwise. */
bool page_is_right(struct area *area, size_t page, const char *data,
		   const char *who);
void cpu_write(struct area *area, size_t page, unsigned int pattern);
void cpu_check(struct area *area);

/* One command on pages of the area, its outcome checked. */
void device_step(struct area *area, int device, enum step step, size_t first,
		 size_t npages, enum moving moving);
/* The command alone: 0 or a negative errno. */
int device_command(int device, unsigned long request, void *addr,
		   size_t npages, void *data);

#endif /* _HMM_MATRIX_H */
