/* SPDX-License-Identifier: GPL-2.0-or-later */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hmm

#if !defined(_TRACE_HMM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_HMM_H

#include <linux/tracepoint.h>

/*
 * enum migrate_refusal: exported, so that user space can resolve the names in
 * the format file
 */
TRACE_DEFINE_ENUM(MIGRATE_NOT_SELECTED);
TRACE_DEFINE_ENUM(MIGRATE_NOT_OWNED);
TRACE_DEFINE_ENUM(MIGRATE_NOT_MOVABLE);
TRACE_DEFINE_ENUM(MIGRATE_NOT_FOR_DEVICES);
TRACE_DEFINE_ENUM(MIGRATE_LOCKED);
TRACE_DEFINE_ENUM(MIGRATE_PINNED);
TRACE_DEFINE_ENUM(MIGRATE_UNSPLIT);

/* migrate_vma_setup() skips what is at @addr. */
TRACE_EVENT(hmm_migrate_refuse,

	TP_PROTO(unsigned long addr, unsigned int why),

	TP_ARGS(addr, why),

	TP_STRUCT__entry(
		__field(unsigned long, addr)
		__field(unsigned int, why)
	),

	TP_fast_assign(
		__entry->addr = addr;
		__entry->why = why;
	),

	TP_printk("addr=%#lx why=%s", __entry->addr,
		__print_symbolic(__entry->why,
			{ MIGRATE_NOT_SELECTED,		"not selected" },
			{ MIGRATE_NOT_OWNED,		"another device's" },
			{ MIGRATE_NOT_MOVABLE,		"not movable" },
			{ MIGRATE_NOT_FOR_DEVICES,	"page cache" },
			{ MIGRATE_LOCKED,		"locked" },
			{ MIGRATE_PINNED,		"pinned" },
			{ MIGRATE_UNSPLIT,		"cannot be split" }))
);

#endif /* _TRACE_HMM_H */

#include <trace/define_trace.h>
