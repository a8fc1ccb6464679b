/* SPDX-License-Identifier: GPL-2.0-or-later */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM migrate_device

#if !defined(_TRACE_MIGRATE_DEVICE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_MIGRATE_DEVICE_H

#include <linux/migrate_device.h>
#include <linux/mm.h>
#include <linux/tracepoint.h>

/*
 * Migration to device memory and back: the stages, what they refuse and why,
 * CPU faults on device memory, and eviction.
 *
 * Common fields:
 *   mm		the address space; the same in all events of it
 *   start, end	addresses, page aligned; end is exclusive
 *   pfn	a page frame number
 *   npages	a number of pages
 *
 * All events of a migration are of the task that migrates.
 */

/* enum migrate_refusal */
TRACE_DEFINE_ENUM(MIGRATE_NOT_SELECTED);
TRACE_DEFINE_ENUM(MIGRATE_NOT_OWNED);
TRACE_DEFINE_ENUM(MIGRATE_NOT_MOVABLE);
TRACE_DEFINE_ENUM(MIGRATE_NOT_FOR_DEVICES);
TRACE_DEFINE_ENUM(MIGRATE_LOCKED);
TRACE_DEFINE_ENUM(MIGRATE_PINNED);
TRACE_DEFINE_ENUM(MIGRATE_UNSPLIT);
TRACE_DEFINE_ENUM(MIGRATE_NO_DESTINATION);

/* enum migrate_stage */
TRACE_DEFINE_ENUM(MIGRATE_COLLECT);
TRACE_DEFINE_ENUM(MIGRATE_UNMAP);
TRACE_DEFINE_ENUM(MIGRATE_INSTALL);

/*
 * A stage has ended.
 *   mm, start, end	the range, 0 if the migration is by page frame
 *   pfn		the first page, if it has not been refused, else 0
 *   npages		of the range
 *   entries		those that still migrate. A large folio has one entry,
 *			as has a hole that will be filled by one.
 *
 * Context: process context, with mmap_lock or the lock of the VMA, unless the
 * migration is by page frame. The folios of the entries are locked, except
 * after finalize.
 */
DECLARE_EVENT_CLASS(migrate_stage,

	TP_PROTO(const struct migrate_vma *migrate, unsigned long entries),

	TP_ARGS(migrate, entries),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned long, pfn)
		__field(unsigned long, npages)
		__field(unsigned long, entries)
	),

	TP_fast_assign(
		__entry->mm = migrate->vma ? migrate->vma->vm_mm : NULL;
		__entry->start = migrate->start;
		__entry->end = migrate->end;
		__entry->pfn = migrate->src[0] & MIGRATE_PFN_VALID ?
			       migrate->src[0] >> MIGRATE_PFN_SHIFT : 0;
		__entry->npages = migrate->npages;
		__entry->entries = entries;
	),

	TP_printk("mm=%p start=%#lx end=%#lx pfn=%#lx npages=%lu entries=%lu",
		__entry->mm, __entry->start, __entry->end, __entry->pfn,
		__entry->npages, __entry->entries)
);

/* Page table entries were replaced by migration entries. */
DEFINE_EVENT(migrate_stage, migrate_collect,
	TP_PROTO(const struct migrate_vma *migrate, unsigned long entries),
	TP_ARGS(migrate, entries));

/* No CPU uses the pages any more: migrate_vma_setup() returns. */
DEFINE_EVENT(migrate_stage, migrate_unmap,
	TP_PROTO(const struct migrate_vma *migrate, unsigned long entries),
	TP_ARGS(migrate, entries));

/* Destinations have replaced sources: the end of migrate_vma_pages() */
DEFINE_EVENT(migrate_stage, migrate_install,
	TP_PROTO(const struct migrate_vma *migrate, unsigned long entries),
	TP_ARGS(migrate, entries));

/* The pages are mapped again: the end of migrate_vma_finalize() */
DEFINE_EVENT(migrate_stage, migrate_finalize,
	TP_PROTO(const struct migrate_vma *migrate, unsigned long entries),
	TP_ARGS(migrate, entries));

/*
 * Pages do not migrate.
 *   addr	the first address, 0 if the migration is by page frame
 *   pfn	the first page, 0 if it is not known or for a hole
 *   stage	which has found out
 *   why	enum migrate_refusal
 *
 * Context: process context, in the first stage with the page table lock.
 */
TRACE_EVENT(migrate_refuse,

	TP_PROTO(unsigned long addr, unsigned long pfn, unsigned long npages,
		 unsigned int stage, unsigned int why),

	TP_ARGS(addr, pfn, npages, stage, why),

	TP_STRUCT__entry(
		__field(unsigned long, addr)
		__field(unsigned long, pfn)
		__field(unsigned long, npages)
		__field(enum migrate_stage, stage)
		__field(enum migrate_refusal, why)
	),

	TP_fast_assign(
		__entry->addr = addr;
		__entry->pfn = pfn;
		__entry->npages = npages;
		__entry->stage = stage;
		__entry->why = why;
	),

	TP_printk("addr=%#lx pfn=%#lx npages=%lu stage=%s why=%s",
		__entry->addr, __entry->pfn, __entry->npages,
		__print_symbolic(__entry->stage,
			{ MIGRATE_COLLECT,		"collect" },
			{ MIGRATE_UNMAP,		"unmap" },
			{ MIGRATE_INSTALL,		"install" }),
		__print_symbolic(__entry->why,
			{ MIGRATE_NOT_SELECTED,		"not_selected" },
			{ MIGRATE_NOT_OWNED,		"not_owned" },
			{ MIGRATE_NOT_MOVABLE,		"not_movable" },
			{ MIGRATE_NOT_FOR_DEVICES,	"not_for_devices" },
			{ MIGRATE_LOCKED,		"locked" },
			{ MIGRATE_PINNED,		"pinned" },
			{ MIGRATE_UNSPLIT,		"unsplit" },
			{ MIGRATE_NO_DESTINATION,	"no_destination" }))
);

/*
 * A CPU has accessed device-private memory, and the driver has migrated it, or
 * not.
 *   addr	of the access
 *   pfn	of the page
 *   order	of its folio before
 *   flags	VM_FAULT_*, what the driver returned; 0 to repeat the access
 *   ns		how long that took, in nanoseconds
 *
 * Context: process context, with mmap_lock or the lock of the VMA, unless the
 * driver has returned VM_FAULT_RETRY.
 */
TRACE_EVENT(device_private_fault,

	TP_PROTO(struct mm_struct *mm, unsigned long addr, unsigned long pfn,
		 unsigned int order, unsigned int flags, u64 ns),

	TP_ARGS(mm, addr, pfn, order, flags, ns),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, addr)
		__field(unsigned long, pfn)
		__field(unsigned int, order)
		__field(unsigned int, flags)
		__field(u64, ns)
	),

	TP_fast_assign(
		__entry->mm = mm;
		__entry->addr = addr;
		__entry->pfn = pfn;
		__entry->order = order;
		__entry->flags = flags;
		__entry->ns = ns;
	),

	TP_printk("mm=%p addr=%#lx pfn=%#lx order=%u flags=%#x ns=%llu",
		__entry->mm, __entry->addr, __entry->pfn, __entry->order,
		__entry->flags, __entry->ns)
);

/*
 * migrate_device_evict() has ended.
 *   pfn, npages	the range
 *   passes		how often it has gone over the range
 *   moved		pages that have migrated
 *   remaining		pages that are still in use
 *   ret		0 or a negative errno
 *
 * Context: process context.
 */
TRACE_EVENT(migrate_evict,

	TP_PROTO(const struct migrate_evict *evict, unsigned int passes,
		 int ret),

	TP_ARGS(evict, passes, ret),

	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(unsigned long, npages)
		__field(unsigned int, passes)
		__field(unsigned long, moved)
		__field(unsigned long, remaining)
		__field(int, ret)
	),

	TP_fast_assign(
		__entry->pfn = evict->start;
		__entry->npages = evict->npages;
		__entry->passes = passes;
		__entry->moved = evict->moved;
		__entry->remaining = evict->remaining;
		__entry->ret = ret;
	),

	TP_printk("pfn=%#lx npages=%lu passes=%u moved=%lu remaining=%lu ret=%d",
		__entry->pfn, __entry->npages, __entry->passes, __entry->moved,
		__entry->remaining, __entry->ret)
);

#endif /* _TRACE_MIGRATE_DEVICE_H */

#include <trace/define_trace.h>
