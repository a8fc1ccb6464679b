/* SPDX-License-Identifier: GPL-2.0-or-later */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM mmu_notifier

#if !defined(_TRACE_MMU_NOTIFIER_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_MMU_NOTIFIER_H

#include <linux/mmu_notifier.h>
#include <linux/tracepoint.h>

/*
 * Invalidations of address spaces that have subscriptions, and readers that
 * wait for them.
 *
 * Common fields:
 *   mm		the address space; the same in all events of it
 *   start, end	addresses, end is exclusive
 *   event	enum mmu_notifier_event
 *   ns		a duration in nanoseconds
 *
 * All events are of the task that invalidates or waits. Its start, calls and
 * end of an invalidation follow each other; a task can have more than one
 * invalidation in flight, of ranges that differ.
 */

TRACE_DEFINE_ENUM(MMU_NOTIFY_UNMAP);
TRACE_DEFINE_ENUM(MMU_NOTIFY_CLEAR);
TRACE_DEFINE_ENUM(MMU_NOTIFY_PROTECTION_VMA);
TRACE_DEFINE_ENUM(MMU_NOTIFY_PROTECTION_PAGE);
TRACE_DEFINE_ENUM(MMU_NOTIFY_SOFT_DIRTY);
TRACE_DEFINE_ENUM(MMU_NOTIFY_RELEASE);
TRACE_DEFINE_ENUM(MMU_NOTIFY_MIGRATE);
TRACE_DEFINE_ENUM(MMU_NOTIFY_EXCLUSIVE);

#define show_mmu_notifier_event(event)					\
	__print_symbolic(event,						\
		{ MMU_NOTIFY_UNMAP,		"unmap" },		\
		{ MMU_NOTIFY_CLEAR,		"clear" },		\
		{ MMU_NOTIFY_PROTECTION_VMA,	"protection_vma" },	\
		{ MMU_NOTIFY_PROTECTION_PAGE,	"protection_page" },	\
		{ MMU_NOTIFY_SOFT_DIRTY,	"soft_dirty" },		\
		{ MMU_NOTIFY_RELEASE,		"release" },		\
		{ MMU_NOTIFY_MIGRATE,		"migrate" },		\
		{ MMU_NOTIFY_EXCLUSIVE,		"exclusive" })

/*
 * An invalidation starts: before the first callback.
 *   blockable	its callbacks may sleep
 *   owner	the driver that caused it, see struct mmu_notifier_range
 *
 * Context: process context, with a lock that keeps the VMA, or rmap locks.
 */
TRACE_EVENT(mmu_invalidate_start,

	TP_PROTO(const struct mmu_notifier_range *range),

	TP_ARGS(range),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(enum mmu_notifier_event, event)
		__field(bool, blockable)
		__field(void *, owner)
	),

	TP_fast_assign(
		__entry->mm = range->mm;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->event = range->event;
		__entry->blockable = mmu_notifier_range_blockable(range);
		__entry->owner = range->owner;
	),

	TP_printk("mm=%p start=%#lx end=%#lx event=%s blockable=%d owner=%p",
		__entry->mm, __entry->start, __entry->end,
		show_mmu_notifier_event(__entry->event), __entry->blockable,
		__entry->owner)
);

/*
 * A callback of a subscription has returned.
 *   start, end	the range of the subscription; the whole address space, 0 to
 *		the largest address, for a struct mmu_notifier
 *   function	the callback: start, end, or a pass
 *   seq	the sequence that it got, 0 for a struct mmu_notifier. A walk
 *		that retries because of it has the same in hmm_collide.
 *   refused	it would have had to sleep
 *   ns		how long it ran
 *
 * Context: as mmu_invalidate_start, between that and mmu_invalidate_end.
 */
TRACE_EVENT(mmu_invalidate_call,

	TP_PROTO(const struct mmu_notifier_range *range, unsigned long start,
		 unsigned long last, const void *function, unsigned long seq,
		 bool refused, u64 ns),

	TP_ARGS(range, start, last, function, seq, refused, ns),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(enum mmu_notifier_event, event)
		__field(const void *, function)
		__field(unsigned long, seq)
		__field(bool, refused)
		__field(u64, ns)
	),

	TP_fast_assign(
		__entry->mm = range->mm;
		__entry->start = start;
		__entry->end = last == ULONG_MAX ? last : last + 1;
		__entry->event = range->event;
		__entry->function = function;
		__entry->seq = seq;
		__entry->refused = refused;
		__entry->ns = ns;
	),

	TP_printk("mm=%p start=%#lx end=%#lx event=%s function=%ps seq=%lu refused=%d ns=%llu",
		__entry->mm, __entry->start, __entry->end,
		show_mmu_notifier_event(__entry->event), __entry->function,
		__entry->seq, __entry->refused, __entry->ns)
);

/*
 * An invalidation ends: after the last callback, and before readers that wait
 * for it continue. Also after a start that was refused.
 *
 * Context: as mmu_invalidate_start.
 */
TRACE_EVENT(mmu_invalidate_end,

	TP_PROTO(const struct mmu_notifier_range *range),

	TP_ARGS(range),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(enum mmu_notifier_event, event)
	),

	TP_fast_assign(
		__entry->mm = range->mm;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->event = range->event;
	),

	TP_printk("mm=%p start=%#lx end=%#lx event=%s", __entry->mm,
		__entry->start, __entry->end,
		show_mmu_notifier_event(__entry->event))
);

/*
 * mmu_interval_read_begin() or a variant has to wait.
 *   start, end	the range of the subscription
 *   overlaps	how many invalidations it waits for whose range is known
 *   unknown	at most so many others, whose range is not: those from before
 *		the first subscription count as one
 *   from, to	the range of the oldest of the former, else 0: its
 *		mmu_invalidate_start names the task and the event
 *
 * Context: process context, with the spinlock of the subscriptions.
 */
TRACE_EVENT(mmu_interval_wait_begin,

	TP_PROTO(const struct mmu_interval_notifier *sub, unsigned int overlaps,
		 unsigned int unknown, unsigned long from, unsigned long to),

	TP_ARGS(sub, overlaps, unknown, from, to),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned int, overlaps)
		__field(unsigned int, unknown)
		__field(unsigned long, from)
		__field(unsigned long, to)
	),

	TP_fast_assign(
		__entry->mm = sub->mm;
		__entry->start = sub->interval_tree.start;
		__entry->end = sub->interval_tree.last == ULONG_MAX ?
			       ULONG_MAX : sub->interval_tree.last + 1;
		__entry->overlaps = overlaps;
		__entry->unknown = unknown;
		__entry->from = from;
		__entry->to = to;
	),

	TP_printk("mm=%p start=%#lx end=%#lx overlaps=%u unknown=%u from=%#lx to=%#lx",
		__entry->mm, __entry->start, __entry->end, __entry->overlaps,
		__entry->unknown, __entry->from, __entry->to)
);

/*
 * That wait is over.
 *   ret	0, -ETIMEDOUT or -EINTR
 *   ns		how long it was
 *
 * Context: process context.
 */
TRACE_EVENT(mmu_interval_wait_end,

	TP_PROTO(const struct mmu_interval_notifier *sub, int ret, u64 ns),

	TP_ARGS(sub, ret, ns),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(int, ret)
		__field(u64, ns)
	),

	TP_fast_assign(
		__entry->mm = sub->mm;
		__entry->start = READ_ONCE(sub->interval_tree.start);
		__entry->ret = ret;
		__entry->ns = ns;
	),

	TP_printk("mm=%p start=%#lx ret=%d ns=%llu", __entry->mm,
		__entry->start, __entry->ret, __entry->ns)
);

#endif /* _TRACE_MMU_NOTIFIER_H */

#include <trace/define_trace.h>
