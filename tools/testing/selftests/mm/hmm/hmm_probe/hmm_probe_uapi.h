/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/hmm_probe: one file mirrors the address space of the process that
 * opened it, through the public HMM API only, so that one module measures any
 * implementation of that API.
 *
 * An ioctl fails only when it could not do the measurement; what the API under
 * test answered is a field (rc), negative errno included.
 */
#ifndef _HMM_PROBE_UAPI_H
#define _HMM_PROBE_UAPI_H

#include <linux/const.h>
#include <linux/ioctl.h>
#include <linux/types.h>

/* A slot holds a raw hmm_pfns[] value; the module asserts these encodings. */
#define HMM_PROBE_VALID		_BITULL(63)
#define HMM_PROBE_WRITE		_BITULL(62)
#define HMM_PROBE_ERROR		_BITULL(61)
#define HMM_PROBE_DMA_MAPPED	_BITULL(60)
#define HMM_PROBE_P2PDMA	_BITULL(59)
#define HMM_PROBE_P2PDMA_BUS	_BITULL(58)
#define HMM_PROBE_ORDER_SHIFT	53
#define HMM_PROBE_ORDER_MASK	0x1fULL
#define HMM_PROBE_PFN_MASK	(_BITULL(HMM_PROBE_ORDER_SHIFT) - 1)
#define HMM_PROBE_REQ_FAULT	HMM_PROBE_VALID
#define HMM_PROBE_REQ_WRITE	HMM_PROBE_WRITE
/* The bits that a caller keeps in a slot and that no call may clear. */
#define HMM_PROBE_STICKY	(HMM_PROBE_DMA_MAPPED | HMM_PROBE_P2PDMA | \
				 HMM_PROBE_P2PDMA_BUS)

/* Pages in one call; an array of slots stays below 2 MiB. */
#define HMM_PROBE_MAX_PAGES	_BITULL(18)

/* struct hmm_probe_call.flags */

/* hmm_range_fault_unlocked_timeout() instead of hmm_range_fault(). */
#define HMM_PROBE_UNLOCKED	_BITULL(0)
/* The result of a single call: no retry after -EBUSY, no sequence check. */
#define HMM_PROBE_ONCE		_BITULL(1)
/* Own the device-private pages of the first owner that the range meets. */
#define HMM_PROBE_ADOPT_OWNER	_BITULL(2)
/* Pass raw_start and raw_end as they are; the slots belong to addr, npages. */
#define HMM_PROBE_RAW_RANGE	_BITULL(3)
/* Pass a NULL array; the slots come back as they were. */
#define HMM_PROBE_NULL_ARRAY	_BITULL(4)
/*
 * Ask for the order of folios that PTEs map. The checks then want it of each
 * that lies in the range as a whole; in sparse output it may be there, too.
 */
#define HMM_PROBE_WANT_ORDER	_BITULL(5)
/* Ask for sparse output. FAULT gives it as it is, the checks spread it first. */
#define HMM_PROBE_SPARSE	_BITULL(6)

/**
 * struct hmm_probe_call - one measured call of the API
 * @addr: first address, page aligned
 * @npages: number of pages and of slots
 * @slots: user pointer to npages u64: requests in, results out
 * @default_flags: as in struct hmm_range
 * @pfn_flags_mask: as in struct hmm_range
 * @flags: HMM_PROBE_*
 * @timeout_ms: limit of all -EBUSY retries; 0: none for the unlocked form, the
 *	default of hmm.h for the locked one
 * @raw_start: range->start for HMM_PROBE_RAW_RANGE, otherwise 0
 * @raw_end: range->end for HMM_PROBE_RAW_RANGE, otherwise 0
 * @rc: (out) what the API returned
 * @faults: (out) handle_mm_fault() calls that this thread completed meanwhile
 * @collisions: (out) calls repeated because the range was invalidated
 * @invalidations: (out) callbacks that the notifier got meanwhile
 * @reserved: must be zero
 */
struct hmm_probe_call {
	__u64 addr;
	__u64 npages;
	__u64 slots;
	__u64 default_flags;
	__u64 pfn_flags_mask;
	__u64 flags;
	__u64 timeout_ms;
	__u64 raw_start;
	__u64 raw_end;
	__s64 rc;
	__u64 faults;
	__u64 collisions;
	__u64 invalidations;
	__u64 reserved[3];
};

/* What the oracle found in the page tables. */
enum hmm_probe_kind {
	HMM_PROBE_KIND_UNFIT,		/* no VMA, or one that HMM refuses */
	HMM_PROBE_KIND_NONE,
	HMM_PROBE_KIND_PRESENT,
	HMM_PROBE_KIND_PROTNONE,
	HMM_PROBE_KIND_SPECIAL,
	HMM_PROBE_KIND_SWAP,
	HMM_PROBE_KIND_MIGRATION,
	HMM_PROBE_KIND_PRIVATE,
	HMM_PROBE_KIND_EXCLUSIVE,
	HMM_PROBE_KIND_MARKER_WP,
	HMM_PROBE_KIND_BAD,		/* poison, guard, hwpoison, unknown */
};

/* Why a check failed. */
enum hmm_probe_mismatch {
	HMM_PROBE_MATCH,
	HMM_PROBE_MISMATCH_VALUE,	/* the slot differs from the oracle */
	HMM_PROBE_MISMATCH_UNMET,	/* rc 0, but a request was not met */
	HMM_PROBE_MISMATCH_POPULATED,	/* a page is mapped without a request */
	HMM_PROBE_MISMATCH_UPGRADED,	/* ... or became writable */
	HMM_PROBE_MISMATCH_STICKY,	/* a sticky flag was lost or invented */
	HMM_PROBE_MISMATCH_RC,		/* not the result the requests call for */
};

/**
 * struct hmm_probe_check - a call judged by the oracle
 * @call: the call; slots are requests for CHECK_FAULT and only sticky flags
 *	for CHECK
 * @mismatch: (out) enum hmm_probe_mismatch
 * @index: (out) page of the first mismatch
 * @expected: (out) what the oracle wants there; for MISMATCH_RC an errno
 * @got: (out) what the API gave
 * @kind_before: (out) enum hmm_probe_kind of that page before the call
 * @kind_after: (out) and after it
 * @reserved: must be zero
 */
struct hmm_probe_check {
	struct hmm_probe_call call;
	__u64 mismatch;
	__u64 index;
	__u64 expected;
	__u64 got;
	__u64 kind_before;
	__u64 kind_after;
	__u64 reserved[2];
};

/**
 * struct hmm_probe_oracle - the state of a range in the oracle's eyes
 * @addr: first address, page aligned
 * @npages: number of pages
 * @slots: user pointer to npages u64: what a snapshot must report
 * @kinds: user pointer to npages u64 (enum hmm_probe_kind), or 0
 * @flags: HMM_PROBE_ADOPT_OWNER or 0
 * @reserved: must be zero
 */
struct hmm_probe_oracle {
	__u64 addr;
	__u64 npages;
	__u64 slots;
	__u64 kinds;
	__u64 flags;
	__u64 reserved[3];
};

/**
 * struct hmm_probe_interval - what the file's notifier covers
 * @start: first address, page aligned
 * @length: bytes, page aligned; 0 (with start 0) is the whole address space,
 *	as after open()
 * @reserved: must be zero
 */
struct hmm_probe_interval {
	__u64 start;
	__u64 length;
	__u64 reserved[2];
};

/**
 * struct hmm_probe_dma - a driver maps for DMA while a range is faulted
 * @addr: first address, page aligned; memory that is there and stays
 * @npages: number of pages, up to 512
 * @ms: for how long
 * @by_range: with one call for all pages
 * @turns: (out) how often all pages were mapped and unmapped meanwhile
 * @mapped: (out) entries that were mapped by range then, all in all
 * @lost: (out) HMM_PFN_DMA_MAPPED that vanished, or came back
 */
struct hmm_probe_dma {
	__u64 addr;
	__u64 npages;
	__u64 ms;
	__u64 by_range;
	__u64 turns;
	__u64 mapped;
	__u64 lost;
};

/**
 * struct hmm_probe_stall - hold a CPU once it has written a PMD
 * @addr: an address that the PMD is about
 * @ms: for how long, up to 200
 */
struct hmm_probe_stall {
	__u64 addr;
	__u64 ms;
};

#define HMM_PROBE_AT_PTE	0
#define HMM_PROBE_AT_PMD	1
#define HMM_PROBE_AT_PUD	2

/**
 * struct hmm_probe_stale - hold a walk while the pages that it looks at change
 * @addr: a page
 * @ms: for how long, up to 200
 * @nth: at which access to the entry, from 1 on
 * @level: hold the walk at an entry of HMM_PROBE_AT_*
 * @stalled: (out) the walk stands still; 0: it has ended before
 * @slot: (out) what a fault of the page has given meanwhile
 * @later: (out) the same slot once the walk has ended
 *
 * Both write to the one slot of a DMA map.
 */
struct hmm_probe_stale {
	__u64 addr;
	__u64 ms;
	__u64 nth;
	__u64 level;
	__u64 stalled;
	__u64 slot;
	__u64 later;
};

#define HMM_PROBE_FAULT		_IOWR('h', 0x80, struct hmm_probe_call)
#define HMM_PROBE_ORACLE	_IOWR('h', 0x81, struct hmm_probe_oracle)
/* A snapshot compared with the oracle under one hold of the mmap lock. */
#define HMM_PROBE_CHECK		_IOWR('h', 0x82, struct hmm_probe_check)
/* A call with requests; then the contract of a successful call is verified. */
#define HMM_PROBE_CHECK_FAULT	_IOWR('h', 0x83, struct hmm_probe_check)
#define HMM_PROBE_INTERVAL	_IOWR('h', 0x84, struct hmm_probe_interval)
/* Hold the mmap lock for writing until the release, or fail after that many ms. */
#define HMM_PROBE_HOLD		_IOW('h', 0x85, __u64)
/* Wait until it is held. */
#define HMM_PROBE_AWAIT_HOLD	_IO('h', 0x86)
#define HMM_PROBE_LET_GO	_IO('h', 0x87)
#define HMM_PROBE_DMA		_IOWR('h', 0x88, struct hmm_probe_dma)
/* Once for each file; -EOPNOTSUPP or -ENOSPC: no breakpoint to do it with. */
#define HMM_PROBE_STALL		_IOW('h', 0x89, struct hmm_probe_stall)
/* Wait until a CPU stands still, or did so. */
#define HMM_PROBE_AWAIT_STALL	_IO('h', 0x8a)
/* The walk is of another task; returns once it stands still, or has ended. */
#define HMM_PROBE_STALE_BEGIN	_IOWR('h', 0x8b, struct hmm_probe_stale)
/* The fault, and the end of the walk */
#define HMM_PROBE_STALE_END	_IOWR('h', 0x8c, struct hmm_probe_stale)

/*
 * mmap() of the device: memory of which HMM must not hand out pages. The file
 * offset in units of 1 GiB chooses the kind; all pages of it are one page.
 */
#define HMM_PROBE_MAP_SHIFT	30
#define HMM_PROBE_MAP_MIXED	0	/* special PTEs in a VM_MIXEDMAP VMA */
#define HMM_PROBE_MAP_PFNMAP	1	/* a VM_PFNMAP VMA */
#define HMM_PROBE_MAP_HUGE	2	/* special PMDs in a VM_MIXEDMAP VMA; a
					 * PUD where one fits, not to be
					 * touched
					 */

#endif /* _HMM_PROBE_UAPI_H */
