/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The dummy HMM driver, from the outside in:
 *
 *	main.c		module, character devices, command dispatch
 *	attach.c	mirror a process named by a pidfd
 *	access.c	the device reads, writes and snapshots a mirrored process
 *	exclusive.c	exclusive access of the device
 *	atomic.c	the device adds to words of exclusive pages
 *	mirror.c	a mirror: the device's page table and what keeps it coherent
 *	migrate.c	migration to the device and back, CPU faults
 *	place.c		device faults that move memory to the device
 *	evict.c		eviction of the device
 *	devmem.c	device pages and folios: allocation, split and free
 *	chunk.c		where device memory comes from
 *	failpoint.c	steps that a test makes fail
 *	hold.c		steps at which a test makes commands stand still
 *	counters.c	what was done, for COUNTERS and debugfs
 *
 * Vocabulary. A *file* is an open device file, a *mirror* (struct dmirror) the
 * tie between one device and one mm, a *table* the mirror's xarray: the device's
 * page table. The *backing* of a device page is the page that holds its data: a
 * page of system memory for private device pages, the page itself for coherent
 * ones. Tables hold backing pages only, so that every page in a table can be
 * mapped. A *block* is PMD-sized and PMD-aligned device memory.
 *
 * Locks, outermost first:
 *
 *	mmap_lock			of the mirrored mm, read
 *	folio locks			of pages under migration
 *	dmirror_device.chunk_lock	the set of chunks
 *	dmirror.lock			table and sequence; nothing below it may
 *					wait for memory, because reclaim
 *					invalidates under it
 *	dmirror_device.lock		free memory; with interrupts off, because
 *					the last reference to a page may be
 *					dropped in an interrupt
 *	dmirror_device.files_lock	open files and their mirrors
 *
 * Eviction is the exception: it holds chunk_lock and locks folios of the device
 * under it. This cannot deadlock, because it only trylocks them.
 *
 * Where to extend it: sparse output of a walk in dmirror_table_map();
 * invalidations that only remove write access in dmirror_revoke(); folio orders
 * between a page and a PMD in the *_max_order parameters; the rest handles any
 * order.
 *
 * A device page in use pins its chunk (by the chunk's count) and, if it is the
 * device's first one, the module: it cannot be unloaded while pages are mapped
 * that eviction failed to migrate.
 */
#ifndef _TEST_HMM_H
#define _TEST_HMM_H

#include <linux/atomic.h>
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/kref.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "../test_hmm_uapi.h"

/* Pages of one step on a range: a page table's worth. */
#define DMIRROR_STEP_PAGES		PTRS_PER_PTE

enum dmirror_counter {
	DMIRROR_MIGRATED_IN,
	DMIRROR_MIGRATED_OUT,
	DMIRROR_FAULTED_OUT,
	DMIRROR_EVICTED,
	DMIRROR_CPU_FAULTS,
	DMIRROR_DEVICE_FAULTS,
	DMIRROR_INVALIDATIONS,
	DMIRROR_COLLISIONS,
	DMIRROR_ALLOCATED,
	DMIRROR_FREED,
	DMIRROR_ALLOC_FAILURES,
	DMIRROR_FALLBACKS,
	DMIRROR_SPLITS,
	DMIRROR_COUNTERS
};

/**
 * struct dmirror_device - one dummy device
 * @cdev: its character device
 * @dev: its place in the device model; owns this structure
 * @debugfs: its directory in debugfs
 * @coherent: the CPU can address its memory; constant
 * @max_order: largest folio it takes; constant
 * @spm: physical memory of a coherent device; constant
 * @chunk_size: bytes of memory it grows by; constant
 * @chunk_lock: serialises growing, shrinking and evicting
 * @chunks: all its memory; additions and removals under @chunk_lock and @lock
 * @lock: see the list of locks
 * @free_blocks: blocks with no page in use; @lock
 * @partial_blocks: blocks with some pages in use and some free; @lock
 * @in_use: pages in use; written under @lock
 * @capacity: pages in @chunks; @lock
 * @files_lock: see the list of locks
 * @files: open files; @files_lock
 * @counters: what was done
 */
struct dmirror_device {
	struct cdev		cdev;
	struct device		dev;
	struct dentry		*debugfs;
	bool			coherent;
	unsigned int		max_order;
	struct range		spm;
	unsigned long		chunk_size;

	struct mutex		chunk_lock;	/* which chunks there are */
	struct list_head	chunks;

	spinlock_t		lock;		/* which pages are free */
	struct list_head	free_blocks;
	struct list_head	partial_blocks;
	unsigned long		in_use;
	unsigned long		capacity;

	spinlock_t		files_lock;	/* which files are open */
	struct list_head	files;

	atomic64_t		counters[DMIRROR_COUNTERS];
};

/**
 * struct dmirror_block - allocation state of one block
 * @node: in the device's list of free or partial blocks; on neither when full
 * @chunk: where it belongs; constant
 * @in_use: pages in use; written under the device's lock
 */
struct dmirror_block {
	struct list_head	node;
	struct dmirror_chunk	*chunk;
	unsigned int		in_use;
};

/**
 * struct dmirror_chunk - a contiguous piece of device memory
 * @pagemap: its struct pages
 * @device: its device; constant
 * @node: in the device's list of chunks
 * @region: the address space it claims, for private memory; constant
 * @first_pfn: of its first page; constant
 * @nr_blocks: its length; constant
 * @in_use: pages in use; the device's lock
 * @used: one bit per page, set while the page is in use; the device's lock
 * @blocks: its blocks
 */
struct dmirror_chunk {
	struct dev_pagemap	pagemap;
	struct dmirror_device	*device;
	struct list_head	node;
	struct resource		*region;
	unsigned long		first_pfn;
	unsigned long		nr_blocks;
	unsigned long		in_use;
	unsigned long		*used;
	struct dmirror_block	blocks[] __counted_by(nr_blocks);
};

/**
 * struct dmirror - one mm as one device sees it
 * @ref: held by the file and by each running command
 * @device: constant
 * @notifier: covers the whole mm; the sequence number is written under @lock
 * @lock: see the list of locks
 * @table: page index -> backing page, tagged with an enum dmirror_access; @lock
 */
struct dmirror {
	struct kref			ref;
	struct dmirror_device		*device;
	struct mmu_interval_notifier	notifier;
	struct mutex			lock;	/* table and sequence */
	struct xarray			table;
};

/* What the device may do with a page of its table; tags of xarray entries. */
enum dmirror_access {
	DMIRROR_READ	= 0,
	DMIRROR_ATOMIC	= 1,
	DMIRROR_WRITE	= 3,
};

/**
 * struct dmirror_file - an open device file
 * @device: constant
 * @node: in the device's list of files; its files_lock
 * @mirror: what it mirrors; the device's files_lock
 * @flags: HMM_DMIRROR_FLAG_*; atomic bit operations
 * @fail: steps until each fault point fires, 0 for never
 * @hold_steps: HMM_DMIRROR_HOLD_*: where commands stand still
 * @held: one does
 * @hold_wq: for changes of @held
 */
struct dmirror_file {
	struct dmirror_device	*device;
	struct list_head	node;
	struct dmirror	*mirror;
	unsigned long		flags;
	atomic64_t		fail[HMM_DMIRROR_FAIL_POINTS];
	u64			hold_steps;
	bool			held;
	wait_queue_head_t	hold_wq;
};

/**
 * struct dmirror_call - one command on a range, while it runs
 * @file: the file that the command is for
 * @mirror: a reference to the mirror of that file when the command started
 * @start: first address
 * @end: end of the range, exclusive
 * @ptr: the caller's buffer
 * @cpages: number of pages processed, returned to the caller
 * @faults: number of device faults, returned to the caller
 * @faulted_at: the first address of the last fault
 * @faulted_pages: its number of pages; 0 before the first fault
 */
struct dmirror_call {
	struct dmirror_file	*file;
	struct dmirror	*mirror;
	unsigned long		start;
	unsigned long		end;
	u64			ptr;
	u64			cpages;
	u64			faults;
	unsigned long		faulted_at;
	unsigned long		faulted_pages;
};

/**
 * struct dmirror_batch - pages under migration
 * @device: the device
 * @file: the file whose fault points apply, or NULL
 * @vma: where the pages are mapped, or NULL at eviction
 * @start: address of the first page, if @vma
 * @src: from the core: what to migrate
 * @dst: to the core: where to
 * @npages: entries in both
 * @faulting: a CPU fault waits for one of the pages
 * @failed: an allocation or a copy failed, so that pages stay
 * @copy_failed: a copy failed
 */
struct dmirror_batch {
	struct dmirror_device	*device;
	struct dmirror_file	*file;
	struct vm_area_struct	*vma;
	unsigned long		start;
	unsigned long		*src;
	unsigned long		*dst;
	unsigned long		npages;
	bool			faulting;
	bool			failed;
	bool			copy_failed;
};

/* mirror.c */
struct hmm_range;

typedef int (*dmirror_visit_t)(struct dmirror *mirror,
			       const struct hmm_range *range, void *arg);
typedef struct page *(*dmirror_pick_t)(struct dmirror *mirror,
				       const struct hmm_range *range, unsigned long entry);

struct dmirror *dmirror_create(struct dmirror_device *device, struct mm_struct *mm);
struct dmirror *dmirror_get(struct dmirror_file *file);
void dmirror_put(struct dmirror *mirror);
int dmirror_walk(struct dmirror_call *call, struct hmm_range *range, bool unlocked,
		 dmirror_visit_t visit, void *arg);
int dmirror_fault(struct dmirror_call *call, unsigned long start, unsigned long end,
		  bool write, bool unlocked);
int dmirror_reserve(struct dmirror *mirror, const struct hmm_range *range);
int dmirror_map_valid(struct dmirror *mirror, const struct hmm_range *range);
int dmirror_table_map(struct dmirror *mirror, const struct hmm_range *range, dmirror_pick_t pick);
int dmirror_table_set(struct dmirror *mirror, unsigned long index, struct page *page,
		      enum dmirror_access access);
struct page *dmirror_table_get(struct dmirror *mirror, unsigned long index,
			       enum dmirror_access *access);

/* access.c */
int dmirror_read(struct dmirror_call *call);
int dmirror_read_unlocked(struct dmirror_call *call);
int dmirror_write(struct dmirror_call *call);
int dmirror_read_device(struct dmirror_call *call);
int dmirror_read_table(struct dmirror_call *call);
int dmirror_snapshot(struct dmirror_call *call);
unsigned char dmirror_describe(struct dmirror_device *device, unsigned long entry);

/* exclusive.c */
int dmirror_make_exclusive(struct dmirror_call *call);
int dmirror_exclusive(struct dmirror_call *call);
int dmirror_check_exclusive(struct dmirror_call *call);

/* atomic.c */
int dmirror_atomic_add(struct dmirror_call *call);

/* devmem.c */
extern const struct dev_pagemap_ops dmirror_pagemap_ops;

struct folio *dmirror_devmem_alloc(struct dmirror_device *device, unsigned int order);
struct page *dmirror_backing(struct page *page);
struct dmirror_device *dmirror_page_device(const struct page *page);

/* chunk.c */
int dmirror_chunk_add(struct dmirror_device *device);
bool dmirror_chunk_alloc(struct dmirror_device *device, unsigned int order, unsigned long *pfn);
void dmirror_chunk_free(struct dmirror_chunk *chunk, unsigned long pfn, unsigned int nr);
unsigned long dmirror_chunk_remove_idle(struct dmirror_device *device);

/* migrate.c */
int dmirror_migrate_to_device(struct dmirror_call *call);
int dmirror_migrate_to_system(struct dmirror_call *call);
void dmirror_batch_supply_device(struct dmirror_batch *batch);
vm_fault_t dmirror_cpu_fault(struct vm_fault *vmf);
unsigned long dmirror_evict_chunk(struct dmirror_file *file, struct dmirror_chunk *chunk,
				  unsigned long deadline);

/* place.c */
int dmirror_place(struct dmirror_call *call);

/* evict.c */
unsigned long dmirror_evict(struct dmirror_device *device, struct dmirror_file *file,
			    unsigned long *evicted);
int dmirror_release(struct dmirror_device *device, struct dmirror_file *file);

/* attach.c */
int dmirror_attach(struct dmirror_file *file, const struct hmm_dmirror_attach *args);

/* failpoint.c */
bool dmirror_fails(struct dmirror_file *file, unsigned int point);
bool dmirror_fails_alloc(struct dmirror_file *file, unsigned int point, unsigned int order);
bool dmirror_mm_fails(struct dmirror_device *device, struct mm_struct *mm, unsigned int point,
		      unsigned int order);
int dmirror_failpoint_set(struct dmirror_file *file, struct hmm_dmirror_failpoint *args);
void dmirror_mark_dirty(struct dmirror_file *file, struct page *page);
int dmirror_flags_set(struct dmirror_file *file, u64 flags);

/* hold.c */
void dmirror_hold_init(struct dmirror_file *file);
void dmirror_hold(struct dmirror_file *file, u64 step);
int dmirror_hold_set(struct dmirror_file *file, u64 steps);
int dmirror_hold_await(struct dmirror_file *file);
int dmirror_hold_end(struct dmirror_file *file);

/* counters.c */
void dmirror_counters_read(struct dmirror_device *device, struct hmm_dmirror_counters *out);
void dmirror_counters_create(struct dmirror_device *device, struct dentry *parent);

static inline void dmirror_count(struct dmirror_device *device, enum dmirror_counter counter,
				 unsigned long by)
{
	atomic64_add(by, &device->counters[counter]);
}

/* The end of the step that begins at @addr: steps are aligned, so that no large folio straddles. */
static inline unsigned long dmirror_step_end(unsigned long addr, unsigned long end)
{
	unsigned long size = DMIRROR_STEP_PAGES << PAGE_SHIFT;

	return addr + min(end - addr, size - (addr & (size - 1)));
}

#endif /* _TEST_HMM_H */
