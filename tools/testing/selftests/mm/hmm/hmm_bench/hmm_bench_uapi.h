/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/hmm_bench: runs one operation of the HMM API on the caller's memory and
 * tells how many cycles it took. In a QEMU that counts instructions (-icount
 * shift=0) a cycle is an instruction. It also holds subscriptions, for what is
 * to be measured in their presence.
 *
 * An ioctl fails when the operation did, or when this kernel's HMM lacks it
 * (EOPNOTSUPP).
 */
#ifndef _HMM_BENCH_UAPI_H
#define _HMM_BENCH_UAPI_H

#include <linux/const.h>
#include <linux/ioctl.h>
#include <linux/types.h>

#define HMM_BENCH_MAX_PAGES	_BITULL(18)
#define HMM_BENCH_MAX_REPEAT	4096
#define HMM_BENCH_LOOPS		1000000	/* of two instructions each */
#define HMM_BENCH_MAX_HELD	_BITULL(17)
#define HMM_BENCH_MAX_STRIDE	_BITULL(20)
#define HMM_BENCH_MAX_SLEEP_US	1000000
#define HMM_BENCH_MAX_RELAY_MS	60000

enum hmm_bench_op {
	HMM_BENCH_LOOP,			/* a known number of instructions */
	HMM_BENCH_RANGE_FAULT,		/* hmm_range_fault(), mmap_lock held */
	HMM_BENCH_RANGE_FAULT_UNLOCKED,	/* the form that takes mmap_lock */
	HMM_BENCH_POPULATE,		/* handle_mm_fault() and nothing else */
	HMM_BENCH_LOOK_UP,		/* finding and locking a PTE */
	HMM_BENCH_READ,			/* mmu_interval_read_begin(), _retry() */
	HMM_BENCH_INSERT,		/* mmu_interval_notifier_insert() */
	HMM_BENCH_INSERT_REMOVE,	/* ... and mmu_interval_notifier_remove() */
	HMM_BENCH_CALLBACKS,		/* one for each page, and nothing else */
	HMM_BENCH_MIGRATE_TO_DEVICE,	/* all that is in system memory */
	HMM_BENCH_MIGRATE_TO_SYSTEM,	/* all that is in device memory */
	HMM_BENCH_EXCLUSIVE,		/* make_device_exclusive() of each page */
	HMM_BENCH_EXCLUSIVE_RANGE,	/* of all at once, if there is a way */
	HMM_BENCH_DMA_MAP,		/* what is present, for DMA */
	HMM_BENCH_DMA_UNMAP,		/* ... and no longer */
	HMM_BENCH_PLACE,		/* a device fault, with placement */
	HMM_BENCH_FAULT_COLLECT,	/* likewise, by calls that 7.3 has */
	HMM_BENCH_COLLECT_FAULT,	/* likewise, in the other order */
	HMM_BENCH_MIRROR,		/* hmm_range_fault() until it is valid */
	HMM_BENCH_OPS,
};

/* struct hmm_bench_call.flags: what is asked for, of every page */
#define HMM_BENCH_REQ_FAULT	_BITUL(0)
#define HMM_BENCH_REQ_WRITE	_BITUL(1)
#define HMM_BENCH_SPARSE	_BITUL(2)
/* ... of a migration. Where folios cannot go as a whole, they are split. */
#define HMM_BENCH_COMPOUND	_BITUL(3)	/* folios mapped by a PMD */
#define HMM_BENCH_FOLIOS	_BITUL(4)	/* of any order */
/* ... and of a migration, or of exclusive access */
#define HMM_BENCH_FLUSHES	_BITUL(5)	/* count them; slows it down */
/* ... and of a range fault: the order of folios that PTEs map */
#define HMM_BENCH_ORDERS	_BITUL(6)
/* ... and of a DMA map: never unmapped in parts */
#define HMM_BENCH_WHOLE		_BITUL(7)
/* ... or of one page, and only what the DMA layer does for it */
#define HMM_BENCH_LAYER		_BITUL(8)
/* ... and of HMM_BENCH_PLACE: count enum hmm_bench_event; slows it down */
#define HMM_BENCH_EVENTS	_BITUL(9)
/* ... what it is where there is no such call: HMM_BENCH_FAULT_COLLECT */
#define HMM_BENCH_FAULT_FIRST	_BITUL(10)

/* The parts of a migration */
enum hmm_bench_phase {
	HMM_BENCH_SETUP,	/* migrate_vma_setup() */
	HMM_BENCH_ALLOC,	/* the driver's */
	HMM_BENCH_PAGES,	/* migrate_vma_pages() */
	HMM_BENCH_FINALIZE,	/* migrate_vma_finalize() */
	HMM_BENCH_PHASES,
};

/* What happens during a device fault */
enum hmm_bench_event {
	HMM_BENCH_WALKED,	/* pages that walks have passed, each time */
	HMM_BENCH_ROUNDS,	/* calls of the driver's invalidate() */
	HMM_BENCH_ALLOCATED,	/* pages of system memory, for user space */
	HMM_BENCH_ZEROED,	/* bytes of them that the CPU has zeroed */
	HMM_BENCH_NR_EVENTS,
};

/**
 * struct hmm_bench_call - one operation
 * @addr: first address, page aligned
 * @npages: number of pages
 * @op: enum hmm_bench_op
 * @repeat: how often to do it
 * @flags: HMM_BENCH_*
 * @step: pages from one fault of HMM_BENCH_POPULATE to the next
 * @cycles: (out) of the quickest
 * @faults: (out) handle_mm_fault() calls of the last one
 * @valid: (out) pages that the last one reported valid, or migrated, or for
 *	HMM_BENCH_PLACE and its likes, valid and in device memory
 * @writable: (out) ... and writable
 * @order: (out) the least order reported for a valid page
 * @folio_order: (out) the order of the smallest folio behind a valid page
 * @phases: (out) cycles of each enum hmm_bench_phase of the last migration
 * @flushes: (out) TLB flushes of the last one, with HMM_BENCH_FLUSHES
 * @events: (out) each enum hmm_bench_event of the last one, with
 *	HMM_BENCH_EVENTS
 */
struct hmm_bench_call {
	__u64 addr;
	__u64 npages;
	__u32 op;
	__u32 repeat;
	__u32 flags;
	__u32 step;
	__u64 cycles;
	__u64 faults;
	__u64 valid;
	__u64 writable;
	__u32 order;
	__u32 folio_order;
	__u64 phases[HMM_BENCH_PHASES];
	__u64 flushes;
	__u64 events[HMM_BENCH_NR_EVENTS];
};

/**
 * struct hmm_bench_hold - interval subscriptions that stay
 * @addr: first address of the first one, page aligned
 * @npages: number of pages of each
 * @stride: pages from the beginning of one to that of the next; may be 0
 * @count: how many
 * @sleep_us: how long each callback sleeps; 0: it does not
 * @relay_ms: if not 0: for so long, from now on, a callback returns only while
 *	another one sleeps, so that from the first one on there is always one
 * @unused: 0
 */
struct hmm_bench_hold {
	__u64 addr;
	__u64 npages;
	__u64 stride;
	__u32 count;
	__u32 sleep_us;
	__u32 relay_ms;
	__u32 unused;
};

/**
 * struct hmm_bench_watch - for how long mmap_lock was held
 * @held_ns: (out) all in all, by readers or writers
 */
struct hmm_bench_watch {
	__u64 held_ns;
};

/**
 * struct hmm_bench_periods - RCU grace periods that have begun since boot
 * @normal: (out) by their number, which may wrap around
 * @expedited: (out) likewise
 */
struct hmm_bench_periods {
	__u64 normal;
	__u64 expedited;
};

#define HMM_BENCH_CALL		_IOWR('h', 0xa0, struct hmm_bench_call)
/* Subscribe to the caller's memory; each open file can do it once at a time. */
#define HMM_BENCH_HOLD		_IOW('h', 0xa1, struct hmm_bench_hold)
/* Remove what the file holds; so does closing it. */
#define HMM_BENCH_DROP		_IO('h', 0xa2)
/* mmu_interval_read_begin() of the first one that the file holds */
#define HMM_BENCH_READ_HELD	_IO('h', 0xa3)
/* Read the first page of the first one that the file holds, as a driver does. */
#define HMM_BENCH_READ_PAGE	_IO('h', 0xa4)
/* mmu_notifier_register(), with callbacks for start and end; until the close */
#define HMM_BENCH_REGISTER	_IO('h', 0xa5)
/* Watch mmap_lock of the caller's memory, until HMM_BENCH_STOP or a signal. */
#define HMM_BENCH_WATCH		_IOR('h', 0xa6, struct hmm_bench_watch)
#define HMM_BENCH_STOP		_IO('h', 0xa7)
#define HMM_BENCH_PERIODS	_IOR('h', 0xa8, struct hmm_bench_periods)

#endif /* _HMM_BENCH_UAPI_H */
