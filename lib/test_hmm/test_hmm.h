/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The dummy HMM driver, from the outside in:
 *
 *	main.c		module, character devices, command dispatch
 *	attach.c	mirror a process named by a pidfd
 *	access.c	the device reads, writes and looks at a mirrored process
 *	exclusive.c	the device takes pages for itself
 *	atomic.c	the device adds to words of such pages
 *	mirror.c	a mirror: the device's page table and what keeps it true
 *	migrate.c	pages to the device and back, CPU faults
 *	evict.c		empty the device
 *	devmem.c	device pages and folios, from their birth to their death
 *	chunk.c		where device memory comes from
 *	failpoint.c	steps that a test makes fail
 *	counters.c	what was done, for COUNTERS and debugfs
 *
 * Vocabulary. A *file* is an open device file, a *mirror* the tie between one
 * device and one mm, a *table* the mirror's xarray: the device's page table.
 * The *backing* of a device page is the page that holds its data: a page of
 * system memory for private device pages, the page itself for coherent ones.
 * Tables hold backing pages only, so that every page in a table can be mapped.
 * A *block* is PMD-sized and PMD-aligned device memory.
 *
 * Locks, outermost first:
 *
 *	mmap_lock		of the mirrored mm, read
 *	folio locks		of pages under migration
 *	thmm_device.chunk_lock	the set of chunks
 *	thmm_mirror.lock	table and sequence; nothing below it may wait for
 *				memory, because reclaim invalidates under it
 *	thmm_device.lock	free memory; with interrupts off, because the last
 *				reference to a page may go in an interrupt
 *	thmm_device.files_lock	open files and their mirrors
 *
 * Where to extend it: sparse output of a walk in thmm_table_map(); invalidations
 * that only take write access away in mirror_revoke(); folio orders between a
 * page and a PMD in the *_max_order parameters; the rest handles any order.
 *
 * A device page in use holds its chunk (by the chunk's count) and, as the
 * device's first one, the module: it cannot be unloaded while pages that
 * eviction failed to bring back are mapped somewhere.
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
#include <linux/xarray.h>

#include "../test_hmm_uapi.h"

/* Pages of one step on a range: a page table's worth. */
#define THMM_STEP_PAGES		PTRS_PER_PTE

enum thmm_counter {
	THMM_MIGRATED_IN,
	THMM_MIGRATED_OUT,
	THMM_FAULTED_OUT,
	THMM_EVICTED,
	THMM_CPU_FAULTS,
	THMM_DEVICE_FAULTS,
	THMM_INVALIDATIONS,
	THMM_COLLISIONS,
	THMM_ALLOCATED,
	THMM_FREED,
	THMM_ALLOC_FAILURES,
	THMM_FALLBACKS,
	THMM_SPLITS,
	THMM_COUNTERS
};

/**
 * struct thmm_device - one dummy device
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
 * @partial_blocks: blocks with pages of both kinds; @lock
 * @in_use: pages in use; written under @lock
 * @capacity: pages in @chunks; @lock
 * @files_lock: see the list of locks
 * @files: open files; @files_lock
 * @counters: what was done
 */
struct thmm_device {
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

	atomic64_t		counters[THMM_COUNTERS];
};

/**
 * struct thmm_block - allocation state of one block
 * @node: in the device's list of free or partial blocks; on neither when full
 * @chunk: where it belongs; constant
 * @in_use: pages in use; written under the device's lock
 */
struct thmm_block {
	struct list_head	node;
	struct thmm_chunk	*chunk;
	unsigned int		in_use;
};

/**
 * struct thmm_chunk - a contiguous piece of device memory
 * @pagemap: its struct pages
 * @device: its device; constant
 * @node: in the device's list of chunks
 * @region: the address space it claims, for private memory; constant
 * @first_pfn: of its first page; constant
 * @nr_blocks: its length; constant
 * @in_use: pages in use; the device's lock
 * @used: a bit a page, set while it is in use; the device's lock
 * @blocks: its blocks
 */
struct thmm_chunk {
	struct dev_pagemap	pagemap;
	struct thmm_device	*device;
	struct list_head	node;
	struct resource		*region;
	unsigned long		first_pfn;
	unsigned long		nr_blocks;
	unsigned long		in_use;
	unsigned long		*used;
	struct thmm_block	blocks[] __counted_by(nr_blocks);
};

/**
 * struct thmm_mirror - one mm as one device sees it
 * @ref: held by the file and by each running command
 * @device: constant
 * @notifier: covers the whole mm; the sequence number is written under @lock
 * @lock: see the list of locks
 * @table: page index -> backing page, tagged with an enum thmm_access; @lock
 */
struct thmm_mirror {
	struct kref			ref;
	struct thmm_device		*device;
	struct mmu_interval_notifier	notifier;
	struct mutex			lock;	/* table and sequence */
	struct xarray			table;
};

/* What the device may do with a page of its table; tags of xarray entries. */
enum thmm_access {
	THMM_READ	= 0,
	THMM_ATOMIC	= 1,
	THMM_WRITE	= 3,
};

/**
 * struct thmm_file - an open device file
 * @device: constant
 * @node: in the device's list of files; its files_lock
 * @mirror: what it mirrors; the device's files_lock
 * @flags: HMM_DMIRROR_FLAG_*; atomic bit operations
 * @fail: steps until each fault point fires, 0 for never
 */
struct thmm_file {
	struct thmm_device	*device;
	struct list_head	node;
	struct thmm_mirror	*mirror;
	unsigned long		flags;
	atomic64_t		fail[HMM_DMIRROR_FAIL_POINTS];
};

/**
 * struct thmm_call - one command on a range, while it runs
 * @file: the file that the command is for
 * @mirror: a reference to the mirror of that file when the command started
 * @start: first address
 * @end: end of the range, exclusive
 * @ptr: the caller's buffer
 * @cpages: for the caller
 * @faults: for the caller
 * @faulted_at: where the last fault was made
 * @faulted_pages: how much it was about, 0 before the first one
 */
struct thmm_call {
	struct thmm_file	*file;
	struct thmm_mirror	*mirror;
	unsigned long		start;
	unsigned long		end;
	u64			ptr;
	u64			cpages;
	u64			faults;
	unsigned long		faulted_at;
	unsigned long		faulted_pages;
};

/* mirror.c */
struct hmm_range;

typedef int (*thmm_visit_t)(struct thmm_mirror *mirror,
			    const struct hmm_range *range, void *arg);
typedef struct page *(*thmm_pick_t)(struct thmm_mirror *mirror,
				    const struct hmm_range *range, unsigned long entry);

struct thmm_mirror *thmm_mirror_create(struct thmm_device *device, struct mm_struct *mm);
struct thmm_mirror *thmm_mirror_get(struct thmm_file *file);
void thmm_mirror_put(struct thmm_mirror *mirror);
int thmm_mirror_walk(struct thmm_call *call, struct hmm_range *range, bool unlocked,
		     thmm_visit_t visit, void *arg);
int thmm_mirror_fault(struct thmm_call *call, unsigned long start, unsigned long end,
		      bool write, bool unlocked);
int thmm_table_map(struct thmm_mirror *mirror, const struct hmm_range *range, thmm_pick_t pick);
int thmm_table_set(struct thmm_mirror *mirror, unsigned long index, struct page *page,
		   enum thmm_access access);
struct page *thmm_table_get(struct thmm_mirror *mirror, unsigned long index,
			    enum thmm_access *access);

/* access.c */
int thmm_read(struct thmm_call *call);
int thmm_read_unlocked(struct thmm_call *call);
int thmm_write(struct thmm_call *call);
int thmm_read_device(struct thmm_call *call);
int thmm_read_table(struct thmm_call *call);
int thmm_snapshot(struct thmm_call *call);

/* exclusive.c */
int thmm_take_exclusive(struct thmm_call *call);
int thmm_exclusive(struct thmm_call *call);
int thmm_check_exclusive(struct thmm_call *call);

/* atomic.c */
int thmm_atomic_add(struct thmm_call *call);

/* devmem.c */
extern const struct dev_pagemap_ops thmm_pagemap_ops;

struct folio *thmm_devmem_alloc(struct thmm_device *device, unsigned int order);
struct page *thmm_backing(struct page *page);
struct thmm_device *thmm_page_device(const struct page *page);

/* chunk.c */
int thmm_chunk_add(struct thmm_device *device);
bool thmm_chunk_take(struct thmm_device *device, unsigned int order, unsigned long *pfn);
void thmm_chunk_give(struct thmm_chunk *chunk, unsigned long pfn, unsigned int nr);
unsigned long thmm_chunk_remove_idle(struct thmm_device *device);

/* migrate.c */
int thmm_migrate_to_device(struct thmm_call *call);
int thmm_migrate_to_system(struct thmm_call *call);
vm_fault_t thmm_cpu_fault(struct vm_fault *vmf);
unsigned long thmm_evict_chunk(struct thmm_file *file, struct thmm_chunk *chunk,
			       unsigned long deadline);

/* evict.c */
unsigned long thmm_evict(struct thmm_device *device, struct thmm_file *file,
			 unsigned long *evicted);
int thmm_release(struct thmm_device *device, struct thmm_file *file);

/* attach.c */
int thmm_attach(struct thmm_file *file, const struct hmm_dmirror_attach *args);

/* failpoint.c */
bool thmm_fails(struct thmm_file *file, unsigned int point);
bool thmm_fails_alloc(struct thmm_file *file, unsigned int point, unsigned int order);
bool thmm_mm_fails(struct thmm_device *device, struct mm_struct *mm, unsigned int point,
		   unsigned int order);
int thmm_failpoint_set(struct thmm_file *file, struct hmm_dmirror_failpoint *args);
void thmm_mark_dirty(struct thmm_file *file, struct page *page);
int thmm_flags_set(struct thmm_file *file, u64 flags);

/* counters.c */
void thmm_counters_read(struct thmm_device *device, struct hmm_dmirror_counters *out);
void thmm_counters_show(struct thmm_device *device, struct dentry *parent);

static inline void thmm_count(struct thmm_device *device, enum thmm_counter counter,
			      unsigned long by)
{
	atomic64_add(by, &device->counters[counter]);
}

/* The end of the step that begins at @addr: steps are aligned, so that no large folio straddles. */
static inline unsigned long thmm_step_end(unsigned long addr, unsigned long end)
{
	unsigned long size = THMM_STEP_PAGES << PAGE_SHIFT;

	return addr + min(end - addr, size - (addr & (size - 1)));
}

#endif /* _TEST_HMM_H */
