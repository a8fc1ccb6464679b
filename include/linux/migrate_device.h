/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Migration between system memory and device memory, for the drivers of devices
 * that have memory of their own.
 *
 *	migrate_vma_setup(&migrate)
 *	allocate destinations, copy
 *	migrate_vma_pages(&migrate)
 *	change the device's page table
 *	migrate_vma_finalize(&migrate)
 *
 * migrate_device_range() and its kind begin with page frame numbers instead of
 * addresses.
 */
#ifndef _LINUX_MIGRATE_DEVICE_H
#define _LINUX_MIGRATE_DEVICE_H

#include <linux/mm.h>

struct vm_area_struct;

/* Entries of &migrate_vma.src and ->dst. The bits left are not for drivers. */
#define MIGRATE_PFN_VALID	BIT(0)	/* there is a page frame number */
#define MIGRATE_PFN_MIGRATE	BIT(1)	/* src: is to be migrated, or is */
#define MIGRATE_PFN_WRITE	BIT(3)	/* src: was mapped writable */
#define MIGRATE_PFN_COMPOUND	BIT(4)	/* stands for a whole large folio */
#define MIGRATE_PFN_SHIFT	6

/**
 * migrate_pfn_to_page() - the page of an entry
 * @mpfn: the entry
 *
 * Return: the page, or NULL if there is none.
 */
static inline struct page *migrate_pfn_to_page(unsigned long mpfn)
{
	return mpfn & MIGRATE_PFN_VALID ?
		pfn_to_page(mpfn >> MIGRATE_PFN_SHIFT) : NULL;
}

/**
 * migrate_pfn() - an entry for a page
 * @pfn: its page frame number
 *
 * Return: the entry, with nothing but %MIGRATE_PFN_VALID.
 */
static inline unsigned long migrate_pfn(unsigned long pfn)
{
	return MIGRATE_PFN_VALID | pfn << MIGRATE_PFN_SHIFT;
}

/**
 * enum migrate_vma_direction - &migrate_vma.flags
 * @MIGRATE_VMA_SELECT_SYSTEM: system memory, and what is not mapped yet
 * @MIGRATE_VMA_SELECT_DEVICE_PRIVATE: private memory of &migrate_vma.pgmap_owner
 * @MIGRATE_VMA_SELECT_DEVICE_COHERENT: coherent memory of the same
 * @MIGRATE_VMA_SELECT_COMPOUND: huge pages go as a whole; without it, and where
 *	the range has only a part of one, they are split
 * @MIGRATE_VMA_SELECT_FOLIOS: so do large folios of any order, however they are
 *	mapped
 * @MIGRATE_VMA_TO_DEVICE: the destination is device memory: leave out what can
 *	never go there
 * @MIGRATE_VMA_UNDER_VMA_LOCK: a CPU fault's VMA lock is held, and not mmap_lock
 * @MIGRATE_VMA_SWAP_IN: bring in what is swapped out, which is a part of system
 *	memory then; excludes %MIGRATE_VMA_UNDER_VMA_LOCK
 */
enum migrate_vma_direction {
	MIGRATE_VMA_SELECT_SYSTEM		= BIT(0),
	MIGRATE_VMA_SELECT_DEVICE_PRIVATE	= BIT(1),
	MIGRATE_VMA_SELECT_DEVICE_COHERENT	= BIT(2),
	MIGRATE_VMA_SELECT_COMPOUND		= BIT(3),
	MIGRATE_VMA_SELECT_FOLIOS		= BIT(4),
	MIGRATE_VMA_TO_DEVICE			= BIT(5),
	MIGRATE_VMA_UNDER_VMA_LOCK		= BIT(6),
	MIGRATE_VMA_SWAP_IN			= BIT(7),
};

/* For drivers that are to be built with other kernels too */
#define MIGRATE_VMA_SELECT_FOLIOS MIGRATE_VMA_SELECT_FOLIOS

/**
 * struct migrate_vma - a migration
 * @vma: where
 * @dst: an entry for each page: where to, from the driver
 * @src: an entry for each page: what, for the driver, who leaves it alone
 * @cpages: how many entries are to be migrated
 * @npages: how many entries there are
 * @start: first address
 * @end: first address behind
 * @pgmap_owner: &dev_pagemap.owner of the device memory that may be selected;
 *	callbacks of MMU notifiers find it in &mmu_notifier_range.owner
 * @flags: enum migrate_vma_direction
 * @fault_page: &vm_fault.page if this is done in &dev_pagemap_ops.migrate_to_ram,
 *	else NULL
 */
struct migrate_vma {
	struct vm_area_struct *vma;
	unsigned long *dst;
	unsigned long *src;
	unsigned long cpages;
	unsigned long npages;
	unsigned long start;
	unsigned long end;
	void *pgmap_owner;
	unsigned long flags;
	struct page *fault_page;
};

int migrate_vma_setup(struct migrate_vma *args);
void migrate_vma_pages(struct migrate_vma *migrate);
void migrate_vma_finalize(struct migrate_vma *migrate);

int migrate_device_range(unsigned long *src_pfns, unsigned long start,
			 unsigned long npages);
int migrate_device_pfns(unsigned long *src_pfns, unsigned long npages);
unsigned long migrate_device_pfn_lock(unsigned long pfn);
unsigned long migrate_device_unmap(unsigned long *src_pfns,
				   unsigned long npages,
				   struct page *fault_page);
void migrate_device_pages(unsigned long *src_pfns, unsigned long *dst_pfns,
			  unsigned long npages);
void migrate_device_finalize(unsigned long *src_pfns, unsigned long *dst_pfns,
			     unsigned long npages);

/**
 * enum migrate_holdout - why a page could not be evicted
 * @MIGRATE_HELD_LOCKED: somebody has its folio locked
 * @MIGRATE_HELD_REFERENCED: somebody has a reference to its folio
 * @MIGRATE_HELD_NO_DESTINATION: the driver has supplied none, or it came too late
 *	to be tried
 */
enum migrate_holdout {
	MIGRATE_HELD_LOCKED,
	MIGRATE_HELD_REFERENCED,
	MIGRATE_HELD_NO_DESTINATION,
};

/**
 * struct migrate_evict - a range of device memory that is to be emptied
 * @start: page frame number of the first page
 * @npages: how many
 * @timeout: jiffies after which it is given up; %MAX_SCHEDULE_TIMEOUT for never
 * @supply: for all of @npages entries of @src that are to be migrated, allocate
 *	and lock destinations, copy, and store them in @dst; both as between
 *	migrate_vma_setup() and migrate_vma_pages()
 * @holds_out: optional: told of each page that is still in use in the end
 * @moved: (out) how many pages have moved
 * @remaining: (out) how many are still in use
 *
 * Best a part of a structure with what the callbacks need to know.
 */
struct migrate_evict {
	unsigned long start;
	unsigned long npages;
	unsigned long timeout;
	void (*supply)(struct migrate_evict *evict, unsigned long *src,
		       unsigned long *dst, unsigned long npages);
	void (*holds_out)(struct migrate_evict *evict, unsigned long pfn,
			  enum migrate_holdout why);
	unsigned long moved;
	unsigned long remaining;
};

int migrate_device_evict(struct migrate_evict *evict);

#endif /* _LINUX_MIGRATE_DEVICE_H */
