/* SPDX-License-Identifier: GPL-2.0-or-later */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hmm

#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE hmm_migrate

#if !defined(_TRACE_HMM_MIGRATE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_HMM_MIGRATE_H

#include <linux/hmm-migrate.h>
#include <linux/mmu_notifier.h>
#include <linux/tracepoint.h>

/*
 * Calls of hmm_range_migrate().
 *
 * Common fields:
 *   mm		the address space; the same in all events of it
 *   start, end	the range; end is exclusive
 *
 * Between the two events of a task are those of its parts: hmm_fault,
 * hmm_collide, and the stages of the migration in the system migrate_device.
 */

/*
 * A call begins.
 *   fault	all pages are requested
 *   write	all are requested to be writable
 *
 * Context: process context, without mmap_lock.
 */
TRACE_EVENT(hmm_migrate_begin,

	TP_PROTO(const struct hmm_migrate *hmm),

	TP_ARGS(hmm),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(bool, fault)
		__field(bool, write)
	),

	TP_fast_assign(
		__entry->mm = hmm->range.notifier->mm;
		__entry->start = hmm->range.start;
		__entry->end = hmm->range.end;
		__entry->fault = hmm->range.default_flags & HMM_PFN_REQ_FAULT;
		__entry->write = hmm->range.default_flags & HMM_PFN_REQ_WRITE;
	),

	TP_printk("mm=%p start=%#lx end=%#lx fault=%d write=%d", __entry->mm,
		__entry->start, __entry->end, __entry->fault, __entry->write)
);

/*
 * A call ends.
 *   rounds	attempts: one for each part of the range, and those that were
 *		repeated after faults, collisions, or to reserve destinations
 *   lost	how many of them an invalidation has made invalid
 *   faults	calls of handle_mm_fault()
 *   moved	pages that have moved to the device, filled holes included
 *   ret	0 or a negative errno
 *
 * Context: as hmm_migrate_begin.
 */
TRACE_EVENT(hmm_migrate_end,

	TP_PROTO(const struct hmm_migrate *hmm, unsigned int rounds,
		 unsigned int faults, int ret),

	TP_ARGS(hmm, rounds, faults, ret),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned int, rounds)
		__field(unsigned long, lost)
		__field(unsigned int, faults)
		__field(unsigned long, moved)
		__field(int, ret)
	),

	TP_fast_assign(
		__entry->mm = hmm->range.notifier->mm;
		__entry->start = hmm->range.start;
		__entry->end = hmm->range.end;
		__entry->rounds = rounds;
		__entry->lost = hmm->retries;
		__entry->faults = faults;
		__entry->moved = hmm->moved;
		__entry->ret = ret;
	),

	TP_printk("mm=%p start=%#lx end=%#lx rounds=%u lost=%lu faults=%u moved=%lu ret=%d",
		__entry->mm, __entry->start, __entry->end, __entry->rounds,
		__entry->lost, __entry->faults, __entry->moved, __entry->ret)
);

#endif /* _TRACE_HMM_MIGRATE_H */

#include <trace/define_trace.h>
