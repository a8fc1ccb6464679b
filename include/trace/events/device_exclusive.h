/* SPDX-License-Identifier: GPL-2.0-or-later */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM device_exclusive

#if !defined(_TRACE_DEVICE_EXCLUSIVE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_DEVICE_EXCLUSIVE_H

#include <linux/tracepoint.h>

struct mm_struct;

/*
 * Pages that become exclusive to a device, and the end of that.
 *
 * Common fields:
 *   mm		the address space; the same in all events of it
 *   start, end	addresses, page aligned; end is exclusive
 */

/*
 * device_exclusive_make_range() has ended, also within make_device_exclusive()
 * and device_exclusive_commit().
 *   owner	the driver
 *   ret	the number of pages that are exclusive, or a negative errno
 *
 * Context: process context, with mmap_lock. The folios of the pages are locked.
 */
TRACE_EVENT(device_exclusive_make,

	TP_PROTO(struct mm_struct *mm, unsigned long start, unsigned long end,
		 void *owner, long ret),

	TP_ARGS(mm, start, end, owner, ret),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(void *, owner)
		__field(long, ret)
	),

	TP_fast_assign(
		__entry->mm = mm;
		__entry->start = start;
		__entry->end = end;
		__entry->owner = owner;
		__entry->ret = ret;
	),

	TP_printk("mm=%p start=%#lx end=%#lx owner=%p ret=%ld", __entry->mm,
		__entry->start, __entry->end, __entry->owner, __entry->ret)
);

/*
 * CPUs can access pages again: after a CPU access, or for fork() or
 * UFFDIO_MOVE. Zapped entries have no such event.
 *   pfn	the first page; the others follow it
 *
 * Context: the page table lock.
 */
TRACE_EVENT(device_exclusive_restore,

	TP_PROTO(struct mm_struct *mm, unsigned long start, unsigned long end,
		 unsigned long pfn),

	TP_ARGS(mm, start, end, pfn),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned long, pfn)
	),

	TP_fast_assign(
		__entry->mm = mm;
		__entry->start = start;
		__entry->end = end;
		__entry->pfn = pfn;
	),

	TP_printk("mm=%p start=%#lx end=%#lx pfn=%#lx", __entry->mm,
		__entry->start, __entry->end, __entry->pfn)
);

#endif /* _TRACE_DEVICE_EXCLUSIVE_H */

#include <trace/define_trace.h>
