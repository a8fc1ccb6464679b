/* SPDX-License-Identifier: GPL-2.0-or-later */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hmm

#if !defined(_TRACE_HMM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_HMM_H

#include <linux/device.h>
#include <linux/hmm.h>
#include <linux/mmu_notifier.h>
#include <linux/tracepoint.h>

/*
 * Walks of hmm_range_fault() and its variants, and DMA maps.
 *
 * Common fields:
 *   mm		the address space; the same in all events of it
 *   start, end	the range, page aligned; end is exclusive
 *   ret	0 or a negative errno
 *
 * The events between hmm_range_begin and hmm_range_end of a task belong to that
 * call.
 */

/* enum hmm_outcome, as far as a fault can have it */
TRACE_DEFINE_ENUM(HMM_FAULTED);
TRACE_DEFINE_ENUM(HMM_UNLOCKED);
TRACE_DEFINE_ENUM(HMM_COLLIDED);
TRACE_DEFINE_ENUM(HMM_NO_ACCESS);
TRACE_DEFINE_ENUM(HMM_NO_MEMORY);

/*
 * A call begins.
 *   fault	all pages are requested
 *   write	all are requested to be writable
 *   slots	slots can have requests of their own
 *   sparse	HMM_RANGE_SPARSE
 *   unlocked	hmm_range_fault_unlocked_timeout(), also by hmm_range_commit()
 *
 * Context: process context, with mmap_lock unless unlocked.
 */
TRACE_EVENT(hmm_range_begin,

	TP_PROTO(const struct hmm_range *range, bool unlocked),

	TP_ARGS(range, unlocked),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(bool, fault)
		__field(bool, write)
		__field(bool, slots)
		__field(bool, sparse)
		__field(bool, unlocked)
	),

	TP_fast_assign(
		__entry->mm = range->notifier->mm;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->fault = range->default_flags & HMM_PFN_REQ_FAULT;
		__entry->write = range->default_flags & HMM_PFN_REQ_WRITE;
		__entry->slots = range->pfn_flags_mask &
				 (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
		__entry->sparse = range->default_flags & HMM_RANGE_SPARSE;
		__entry->unlocked = unlocked;
	),

	TP_printk("mm=%p start=%#lx end=%#lx fault=%d write=%d slots=%d sparse=%d unlocked=%d",
		__entry->mm, __entry->start, __entry->end, __entry->fault,
		__entry->write, __entry->slots, __entry->sparse,
		__entry->unlocked)
);

/*
 * A call ends.
 *   collisions	attempts that were lost to an invalidation
 *   faults	calls of handle_mm_fault()
 *   unlocks	how many of them dropped the lock
 *
 * Context: as hmm_range_begin.
 */
TRACE_EVENT(hmm_range_end,

	TP_PROTO(const struct hmm_range *range, int ret,
		 unsigned int collisions, unsigned int faults,
		 unsigned int unlocks),

	TP_ARGS(range, ret, collisions, faults, unlocks),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(int, ret)
		__field(unsigned int, collisions)
		__field(unsigned int, faults)
		__field(unsigned int, unlocks)
	),

	TP_fast_assign(
		__entry->mm = range->notifier->mm;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->ret = ret;
		__entry->collisions = collisions;
		__entry->faults = faults;
		__entry->unlocks = unlocks;
	),

	TP_printk("mm=%p start=%#lx end=%#lx ret=%d collisions=%u faults=%u unlocks=%u",
		__entry->mm, __entry->start, __entry->end, __entry->ret,
		__entry->collisions, __entry->faults, __entry->unlocks)
);

/*
 * What was recorded is not valid any more: an invalidation has collided.
 *   next	the first address that was not recorded yet
 *   seq	the sequence of the walk
 *   now	the sequence of the subscription: that of the mmu_invalidate_call
 *		which has collided, or of a later one
 *
 * Context: process context; locks as the driver has them.
 */
TRACE_EVENT(hmm_collide,

	TP_PROTO(const struct hmm_range *range, unsigned long next),

	TP_ARGS(range, next),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned long, next)
		__field(unsigned long, seq)
		__field(unsigned long, now)
	),

	TP_fast_assign(
		__entry->mm = range->notifier->mm;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->next = next;
		__entry->seq = range->notifier_seq;
		__entry->now = READ_ONCE(range->notifier->invalidate_seq);
	),

	TP_printk("mm=%p start=%#lx end=%#lx next=%#lx seq=%lu now=%lu",
		__entry->mm, __entry->start, __entry->end, __entry->next,
		__entry->seq, __entry->now)
);

/*
 * A page was faulted in, or could not be.
 *   addr	the address
 *   write	for write access
 *   flags	VM_FAULT_*, what handle_mm_fault() returned
 *   outcome	enum hmm_outcome: what that means for the call
 *
 * Context: process context. mmap_lock or the lock of the VMA is held, unless
 * the outcome is "unlocked".
 */
TRACE_EVENT(hmm_fault,

	TP_PROTO(unsigned long addr, bool write, unsigned int flags,
		 unsigned int outcome),

	TP_ARGS(addr, write, flags, outcome),

	TP_STRUCT__entry(
		__field(unsigned long, addr)
		__field(bool, write)
		__field(unsigned int, flags)
		__field(enum hmm_outcome, outcome)
	),

	TP_fast_assign(
		__entry->addr = addr;
		__entry->write = write;
		__entry->flags = flags;
		__entry->outcome = outcome;
	),

	TP_printk("addr=%#lx write=%d flags=%#x outcome=%s", __entry->addr,
		__entry->write, __entry->flags,
		__print_symbolic(__entry->outcome,
			{ HMM_FAULTED,		"faulted" },
			{ HMM_UNLOCKED,		"unlocked" },
			{ HMM_COLLIDED,		"collided" },
			{ HMM_NO_ACCESS,	"no_access" },
			{ HMM_NO_MEMORY,	"no_memory" }))
);

/*
 * hmm_range_commit() has ended.
 *   attempts	how often it has called hmm_range_fault_unlocked_timeout()
 *
 * Context: process context.
 */
TRACE_EVENT(hmm_commit,

	TP_PROTO(const struct hmm_range *range, int ret, unsigned int attempts),

	TP_ARGS(range, ret, attempts),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(int, ret)
		__field(unsigned int, attempts)
	),

	TP_fast_assign(
		__entry->mm = range->notifier->mm;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->ret = ret;
		__entry->attempts = attempts;
	),

	TP_printk("mm=%p start=%#lx end=%#lx ret=%d attempts=%u", __entry->mm,
		__entry->start, __entry->end, __entry->ret, __entry->attempts)
);

/*
 * hmm_dma_map_range() has ended.
 *   dev	the device
 *   idx, nr	the entries that it was called for
 *   unmapped	those of them that had a page, and were not mapped yet
 *   segments	in how many physically contiguous segments
 *
 * Context: any, under the driver's lock.
 */
TRACE_EVENT(hmm_dma_map,

	TP_PROTO(const struct device *dev, size_t idx, size_t nr,
		 size_t unmapped, size_t segments, int ret),

	TP_ARGS(dev, idx, nr, unmapped, segments, ret),

	TP_STRUCT__entry(
		__string(dev, dev_name(dev))
		__field(size_t, idx)
		__field(size_t, nr)
		__field(size_t, unmapped)
		__field(size_t, segments)
		__field(int, ret)
	),

	TP_fast_assign(
		__assign_str(dev);
		__entry->idx = idx;
		__entry->nr = nr;
		__entry->unmapped = unmapped;
		__entry->segments = segments;
		__entry->ret = ret;
	),

	TP_printk("dev=%s idx=%zu nr=%zu unmapped=%zu segments=%zu ret=%d",
		__get_str(dev), __entry->idx, __entry->nr, __entry->unmapped,
		__entry->segments, __entry->ret)
);

/*
 * hmm_dma_unmap_range(): the device cannot access the pages any more.
 *   dev	the device
 *   idx, nr	the entries that it was called for
 *   mapped	how many of them were mapped
 *
 * Context: as hmm_dma_map.
 */
TRACE_EVENT(hmm_dma_unmap,

	TP_PROTO(const struct device *dev, size_t idx, size_t nr,
		 size_t mapped),

	TP_ARGS(dev, idx, nr, mapped),

	TP_STRUCT__entry(
		__string(dev, dev_name(dev))
		__field(size_t, idx)
		__field(size_t, nr)
		__field(size_t, mapped)
	),

	TP_fast_assign(
		__assign_str(dev);
		__entry->idx = idx;
		__entry->nr = nr;
		__entry->mapped = mapped;
	),

	TP_printk("dev=%s idx=%zu nr=%zu mapped=%zu", __get_str(dev),
		__entry->idx, __entry->nr, __entry->mapped)
);

#endif /* _TRACE_HMM_H */

#include <trace/define_trace.h>
