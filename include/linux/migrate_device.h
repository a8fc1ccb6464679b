/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Migration between system memory and device memory, for drivers of devices
 * with their own memory.
 *
 *	migrate_vma_setup(&migrate)
 *	allocate destinations, copy
 *	migrate_vma_pages(&migrate)
 *	change the device's page table
 *	migrate_vma_finalize(&migrate)
 *
 * migrate_device_range() and similar functions start from page frame numbers
 * instead of addresses.
 *
 * Most drivers need none of these. A driver that has a &migrate_alloc_fn and a
 * &migrate_copy_fn can leave the rest to
 *
 *	migrate_range_to_device(), migrate_range_to_system()
 *	migrate_device_fault(), in &dev_pagemap_ops.migrate_to_ram
 *	migrate_device_evict()
 *	hmm_range_migrate(), for a device fault: see linux/hmm-migrate.h
 *
 * with migrate_device_folio() in its &migrate_alloc_fn and
 * for_each_migrate_run() in its &migrate_copy_fn.
 */
#ifndef _LINUX_MIGRATE_DEVICE_H
#define _LINUX_MIGRATE_DEVICE_H

#include <linux/mm.h>

struct dev_pagemap;
struct vm_area_struct;
struct vm_fault;

/* Entries of &migrate_vma.src and ->dst. Other bits are not for drivers. */
#define MIGRATE_PFN_VALID	BIT(0)	/* has a page frame number */
#define MIGRATE_PFN_MIGRATE	BIT(1)	/* src: can be, or has been, migrated */
#define MIGRATE_PFN_WRITE	BIT(3)	/* src: was mapped writable */
#define MIGRATE_PFN_COMPOUND	BIT(4)	/* stands for a whole large folio */
#define MIGRATE_PFN_SHIFT	6

/**
 * enum migrate_refusal - why a page is not migrated
 * @MIGRATE_NOT_REFUSED: it is, or it was not tried
 * @MIGRATE_NOT_SELECTED: it is a kind of memory that is not selected
 * @MIGRATE_NOT_OWNED: it is memory of another device
 * @MIGRATE_NOT_MOVABLE: it is swapped out, special, truncated, or poisoned
 * @MIGRATE_NOT_FOR_DEVICES: it is in the page cache, or merged by KSM
 * @MIGRATE_LOCKED: its folio is locked by another task
 * @MIGRATE_PINNED: its folio has unexpected references
 * @MIGRATE_UNSPLIT: its folio is large, and cannot be split
 * @MIGRATE_NO_DESTINATION: the driver supplied no destination, or one that
 *	could not replace the page
 *
 * The tracepoint migrate_refuse has names for these.
 */
enum migrate_refusal {
	MIGRATE_NOT_REFUSED,
	MIGRATE_NOT_SELECTED,
	MIGRATE_NOT_OWNED,
	MIGRATE_NOT_MOVABLE,
	MIGRATE_NOT_FOR_DEVICES,
	MIGRATE_LOCKED,
	MIGRATE_PINNED,
	MIGRATE_UNSPLIT,
	MIGRATE_NO_DESTINATION,
};

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
 * Return: the entry, with no flag but %MIGRATE_PFN_VALID.
 */
static inline unsigned long migrate_pfn(unsigned long pfn)
{
	return MIGRATE_PFN_VALID | pfn << MIGRATE_PFN_SHIFT;
}

/**
 * enum migrate_vma_direction - &migrate_vma.flags
 * @MIGRATE_VMA_SELECT_SYSTEM: select system memory and the shared zero page
 * @MIGRATE_VMA_SELECT_DEVICE_PRIVATE: select private memory of
 *	&migrate_vma.pgmap_owner
 * @MIGRATE_VMA_SELECT_DEVICE_COHERENT: select its coherent memory
 * @MIGRATE_VMA_SELECT_COMPOUND: migrate huge pages as a whole; without this, or
 *	if the range has only a part of a huge page, it is split
 * @MIGRATE_VMA_SELECT_FOLIOS: migrate large folios of any order as a whole,
 *	however they are mapped
 * @MIGRATE_VMA_TO_DEVICE: all destinations are device memory: skip pages that
 *	can never migrate there, and accept no other destination
 * @MIGRATE_VMA_UNDER_VMA_LOCK: the caller handles a CPU fault, with the VMA
 *	lock held instead of mmap_lock
 * @MIGRATE_VMA_SWAP_IN: swap pages in first; excludes
 *	%MIGRATE_VMA_UNDER_VMA_LOCK
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

/* For drivers that are also built for other kernels */
#define MIGRATE_VMA_SELECT_FOLIOS MIGRATE_VMA_SELECT_FOLIOS

/**
 * struct migrate_vma - a migration of a range of an address space
 * @vma: the VMA of the range
 * @dst: the destination of each page, from the driver
 * @src: the source of each page; the driver must not change it
 * @cpages: number of entries that can be migrated
 * @npages: number of entries
 * @start: first address
 * @end: end of the range, exclusive
 * @pgmap_owner: &dev_pagemap.owner of the device memory that can be selected;
 *	MMU notifier callbacks find it in &mmu_notifier_range.owner, but must
 *	not ignore the event for that, see %MMU_NOTIFY_MIGRATE
 * @flags: enum migrate_vma_direction
 * @fault_page: &vm_fault.page in &dev_pagemap_ops.migrate_to_ram, otherwise
 *	NULL
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

/*
 * What a driver does in a migration: allocate destinations, and copy.
 *
 * migrate_alloc_fn - allocate a folio of this order, or return NULL. The folio
 * must be locked and have one reference. Sources are locked and unmapped
 * meanwhile, so the callback may sleep, but must not wait for a folio lock or
 * for mmap_lock, nor for a task that does. migrate_device_evict() only trylocks
 * folios, and may be called.
 *
 * migrate_copy_fn - copy all pages that have a destination, and clear the
 * destinations of holes: see for_each_migrate_run(). Called once for a batch,
 * so that transfers can run in parallel; it returns when all have ended. After
 * a negative errno, no page of the batch migrates. To give up single pages, call
 * migrate_discard() for all destinations of their entry of src.
 */
typedef struct folio *(*migrate_alloc_fn)(void *arg, unsigned int order);
typedef int (*migrate_copy_fn)(void *arg, const unsigned long *src,
			       unsigned long *dst, unsigned long npages);

/**
 * struct migrate_run - pages to copy from one folio to another
 * @from: the first source page, or %NULL for a hole: clear the destination
 * @to: the first destination page
 * @nr: number of pages of both, which are contiguous
 * @index: the entry of the first page in &migrate_vma.src and ->dst
 */
struct migrate_run {
	struct page *from;
	struct page *to;
	unsigned long nr;
	unsigned long index;
	/* private: where the next run is looked for, and the last source */
	unsigned long next;
	unsigned long source;
};

bool migrate_run_next(struct migrate_run *run, const unsigned long *src,
		      const unsigned long *dst, unsigned long npages);

/**
 * for_each_migrate_run() - go through what must be copied
 * @run: loop variable, a struct migrate_run
 * @src: the sources
 * @dst: their destinations
 * @npages: number of entries of both
 *
 * A run is a whole destination folio, or a part of it: a large source may have
 * several smaller destinations.
 */
#define for_each_migrate_run(run, src, dst, npages)			\
	for ((run) = (struct migrate_run){};				\
	     migrate_run_next(&(run), src, dst, npages);)

unsigned long migrate_fill(struct migrate_vma *migrate, bool holes,
			   migrate_alloc_fn alloc, void *arg);
void migrate_discard(unsigned long *dst, unsigned long npages);

void migrate_vma_init_fault(struct migrate_vma *migrate,
			    const struct vm_fault *vmf);
vm_fault_t migrate_device_fault(struct vm_fault *vmf, migrate_copy_fn copy,
				void *arg);
struct folio *migrate_device_folio(struct dev_pagemap *pgmap,
				   unsigned long pfn, unsigned int order);

/**
 * struct migrate_range - migration of any range of an address space
 * @mm: the address space
 * @start: first address
 * @end: end of the range, exclusive
 * @pgmap_owner: as in struct migrate_vma
 * @alloc: allocates device memory; not used if the destination is system memory
 * @copy: copies
 * @arg: for both
 * @moved: (out) number of pages that have migrated
 * @filled: (out) number of pages that were holes before
 * @failed: (out) number of pages that have not migrated because @alloc or @copy
 *	failed
 */
struct migrate_range {
	struct mm_struct *mm;
	unsigned long start;
	unsigned long end;
	void *pgmap_owner;
	migrate_alloc_fn alloc;
	migrate_copy_fn copy;
	void *arg;
	unsigned long moved;
	unsigned long filled;
	unsigned long failed;
};

int migrate_range_to_device(struct migrate_range *range);
int migrate_range_to_system(struct migrate_range *range);

/**
 * enum migrate_holdout - why a page could not be evicted
 * @MIGRATE_HELD_LOCKED: its folio is locked
 * @MIGRATE_HELD_REFERENCED: its folio has an unexpected reference
 * @MIGRATE_HELD_NO_DESTINATION: the driver supplied no destination, or the page
 *	came into use after the last pass
 */
enum migrate_holdout {
	MIGRATE_HELD_LOCKED,
	MIGRATE_HELD_REFERENCED,
	MIGRATE_HELD_NO_DESTINATION,
};

/**
 * struct migrate_evict - eviction of a range of device memory
 * @start: page frame number of the first page
 * @npages: number of pages
 * @timeout: in jiffies; %MAX_SCHEDULE_TIMEOUT for no limit
 * @supply: for each of the @npages entries of @src that can be migrated,
 *	allocate and lock a destination, copy, and store the destination in
 *	@dst, as between migrate_vma_setup() and migrate_vma_pages()
 * @copy: if @supply is %NULL: copies to system memory that the core allocates
 * @arg: for @copy
 * @holds_out: optional: called for each page that is still in use at the end
 * @moved: (out) number of pages that have migrated
 * @remaining: (out) number of pages that are still in use
 *
 * Usually embedded in a structure with what the callbacks need.
 */
struct migrate_evict {
	unsigned long start;
	unsigned long npages;
	unsigned long timeout;
	void (*supply)(struct migrate_evict *evict, unsigned long *src,
		       unsigned long *dst, unsigned long npages);
	migrate_copy_fn copy;
	void *arg;
	void (*holds_out)(struct migrate_evict *evict, unsigned long pfn,
			  enum migrate_holdout why);
	unsigned long moved;
	unsigned long remaining;
};

int migrate_device_evict(struct migrate_evict *evict);

#endif /* _LINUX_MIGRATE_DEVICE_H */
