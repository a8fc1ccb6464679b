/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/hmm_probe_move: a device with private memory, which migrates pages by
 * command, also in ways that no good driver would. It uses the public API only,
 * so that one module shows what any implementation of it does.
 *
 * An ioctl fails only when it could not do what was asked; what the API under
 * test answered is a field (rc), negative errno included.
 *
 * There is one device for all: its memory, and how it serves CPU faults.
 */
#ifndef _HMM_PROBE_MOVE_UAPI_H
#define _HMM_PROBE_MOVE_UAPI_H

#include <linux/const.h>
#include <linux/ioctl.h>
#include <linux/types.h>

/* Its memory, a GiB and what is lost to odd sizes, and pages in one call */
#define HMM_MOVE_DEVICE_PAGES	(_BITULL(18) + _BITULL(13))
#define HMM_MOVE_MAX_PAGES	_BITULL(12)

/* What is selected: the device's pages, or all system memory */
#define HMM_MOVE_TO_DEVICE	_BITULL(0)
/* addr is the page frame number of the first page, which is the device's. */
#define HMM_MOVE_BY_PFN		_BITULL(1)
/* Migrate huge pages unsplit. */
#define HMM_MOVE_COMPOUND	_BITULL(2)
/* And all other large folios, where the API knows this. */
#define HMM_MOVE_FOLIOS		_BITULL(3)
/* With TO_DEVICE or WITHIN, set MIGRATE_VMA_TO_DEVICE, where the API has it. */
#define HMM_MOVE_HINT		_BITULL(4)
/* Folios of this order also for smaller holes, where the API knows this */
#define HMM_MOVE_JOIN		_BITULL(5)
/* All of migrate_device_evict(), where the API has it; with BY_PFN */
#define HMM_MOVE_EVICT		_BITULL(6)
/* No destination: all is put back. */
#define HMM_MOVE_NOWHERE	_BITULL(7)
/* Hold a reference to the first page that was moved until HMM_MOVE_LET_GO. */
#define HMM_MOVE_KEEP		_BITULL(8)
/*
 * With BY_PFN: lock the pages, let go what is held, and then unmap them, where the
 * API has it
 */
#define HMM_MOVE_IN_STEPS	_BITULL(9)
/*
 * Stay between two steps until HMM_MOVE_GO_ON: when the pages are unmapped, and
 * when they have moved and are not yet mapped again. A kill ends it as well.
 * With EVICT only the first round stays, when its pages are unmapped.
 */
#define HMM_MOVE_STAY_UNMAPPED	_BITULL(10)
#define HMM_MOVE_STAY_MOVED	_BITULL(11)
/* Do not mark large destinations as such. */
#define HMM_MOVE_UNMARKED	_BITULL(12)
/* Destinations of @order also for smaller pages */
#define HMM_MOVE_OVERSIZED	_BITULL(13)
/* To or from the device's coherent memory, after HMM_MOVE_COHERENT_AT */
#define HMM_MOVE_COHERENT	_BITULL(14)
/* From system memory to system memory */
#define HMM_MOVE_WITHIN		_BITULL(15)
/*
 * Nothing moves: the pages become exclusive to the device. With STAY_MOVED their
 * folios stay locked, without mmap_lock. Any process may ask for this; the
 * address space is the one that opened the file.
 */
#define HMM_MOVE_EXCLUSIVE	_BITULL(16)
/* A kill does not end the stay. Half a minute does. */
#define HMM_MOVE_STUBBORN	_BITULL(17)
/*
 * With IN_STEPS: there is one entry, also for a large folio, and its destination is
 * small.
 */
#define HMM_MOVE_CUT_OFF	_BITULL(18)
/* Give up between migrate_vma_setup() and migrate_vma_pages(): finalize at once. */
#define HMM_MOVE_GIVE_UP	_BITULL(19)

/**
 * struct hmm_move - a migration
 * @addr: first address, page aligned, of the calling process
 * @npages: how many pages
 * @flags: HMM_MOVE_*
 * @order: of the largest destination
 * @timeout_ms: of HMM_MOVE_EVICT; 0 for none
 * @rc: (out) what migrate_vma_setup() returned; or migrate_device_evict()
 * @offered: (out) pages that could be migrated after the setup
 * @holes: (out) entries without a page
 * @moved: (out) pages that have moved, holes that were filled included
 * @whole: (out) how many of them in large folios
 * @flushes: (out) TLB flushes of the file's address space, see struct hmm_serve
 * @supplies: (out) rounds: how often HMM_MOVE_EVICT asked for destinations
 * @locked: (out) pages that did not move because they are locked
 * @referenced: (out) ... because they are referenced; or pages of folios that
 *	others than the device still have, at the end of exclusive access
 * @unsupplied: (out) ... because there was no destination
 * @stray: (out) entries that are not 0 although they have no page
 * @undefined: (out) entries with bits that the API does not define, and what was
 *	written after the last one
 * @reserved: must be zero
 */
struct hmm_move {
	__u64 addr;
	__u64 npages;
	__u64 flags;
	__u64 order;
	__u64 timeout_ms;
	__s64 rc;
	__u64 offered;
	__u64 holes;
	__u64 moved;
	__u64 whole;
	__u64 flushes;
	__u64 supplies;
	__u64 locked;
	__u64 referenced;
	__u64 unsupplied;
	__u64 stray;
	__u64 undefined;
	__u64 reserved[2];
};

/**
 * struct hmm_serve - how CPU faults are served from now on
 * @pages: the aligned window around the fault that is migrated, a power of 2
 * @flags: HMM_MOVE_COMPOUND and HMM_MOVE_FOLIOS; with HMM_MOVE_STAY_* the next
 *	fault stays, until HMM_MOVE_FAULT_GO_ON
 * @limit: after that many faults, whole huge pages are brought back whatever
 *	@flags say, so that a loop that makes no progress ends; 0 for never
 * @faults: (out) faults since the last HMM_MOVE_SERVE
 * @freed_locked: (out) folios that were locked when they were freed, since then
 * @in_use: (out) pages in use now
 * @backed: (out) pages that it has memory for, which it does not give back
 * @first_pfn: (out) page frame number of the device's first page
 * @flushes: (out) TLB flushes so far of the address space that opened the file,
 *	without those that were put off, to be done together with others
 * @reserved: must be zero
 */
struct hmm_serve {
	__u64 pages;
	__u64 flags;
	__u64 limit;
	__u64 faults;
	__u64 freed_locked;
	__u64 in_use;
	__u64 backed;
	__u64 first_pfn;
	__u64 flushes;
	__u64 reserved[3];
};

/**
 * struct hmm_hold - the folio of a page is held until HMM_MOVE_LET_GO
 * @pfn: page frame number of a page in use
 * @lock: its lock, and not only a reference
 * @reserved: must be zero
 *
 * A file holds one folio at a time.
 */
struct hmm_hold {
	__u64 pfn;
	__u64 lock;
	__u64 reserved[2];
};

/* Coherent memory, in pages */
#define HMM_MOVE_COHERENT_PAGES	_BITULL(13)

/**
 * struct hmm_coherent - coherent memory
 * @start: physical address, aligned to that of a huge page, of reserved memory
 *	that is the probe's until it is unloaded
 * @in_use: (out) pages in use
 * @freed_locked: (out) folios that were locked when they were freed, so far
 */
struct hmm_coherent {
	__u64 start;
	__u64 in_use;
	__u64 freed_locked;
};

/* Attach a record to each folio. */
#define HMM_FILE_RECORDS	_BITULL(0)
/* The file system does not know how to move its folios. */
#define HMM_FILE_UNMOVED	_BITULL(1)

/**
 * struct hmm_file - a file of the probe's file system, to be mapped
 * @npages: its size
 * @flags: HMM_FILE_*
 */
struct hmm_file {
	__u64 npages;
	__u64 flags;
};

/**
 * struct hmm_file_state - what the file system has seen
 * @dirtied: calls of its dirty_folio()
 * @records: records that there are
 * @attached: those that their folio has
 */
struct hmm_file_state {
	__u64 dirtied;
	__u64 records;
	__u64 attached;
};

/**
 * struct hmm_lock - lock a page for a migration and put it back, again and again
 * @pfn: page frame number, which is the device's
 * @calls: how often
 * @locked: (out) how often it could be locked
 * @freed: (out) how many folios were freed by the call that locks, whose caller
 *	may hold the lock that the device's folio_free() takes
 */
struct hmm_lock {
	__u64 pfn;
	__u64 calls;
	__u64 locked;
	__u64 freed;
};

#define HMM_MOVE_RUN		_IOWR('h', 0xa0, struct hmm_move)
#define HMM_MOVE_SERVE		_IOWR('h', 0xa1, struct hmm_serve)
/* The counters only */
#define HMM_MOVE_SERVED		_IOR('h', 0xa2, struct hmm_serve)
#define HMM_MOVE_HOLD		_IOW('h', 0xa3, struct hmm_hold)
#define HMM_MOVE_LET_GO		_IO('h', 0xa4)
/* Waits until the migration of this file stays, ten seconds at most. */
#define HMM_MOVE_AWAIT_STAY	_IO('h', 0xa5)
#define HMM_MOVE_GO_ON		_IO('h', 0xa6)
#define HMM_MOVE_COHERENT_AT	_IOWR('h', 0xa7, struct hmm_coherent)
/* Where the API has it */
#define HMM_MOVE_LOCK		_IOWR('h', 0xac, struct hmm_lock)
/* Returns a file descriptor */
#define HMM_MOVE_FILE		_IOW('h', 0xa8, struct hmm_file)
/* On that one */
#define HMM_FILE_STATE		_IOR('h', 0xa9, struct hmm_file_state)
/* As HMM_MOVE_AWAIT_STAY and HMM_MOVE_GO_ON, of the CPU fault that stays */
#define HMM_MOVE_AWAIT_FAULT	_IO('h', 0xaa)
#define HMM_MOVE_FAULT_GO_ON	_IO('h', 0xab)

#endif /* _HMM_PROBE_MOVE_UAPI_H */
