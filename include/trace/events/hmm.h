/* SPDX-License-Identifier: GPL-2.0-or-later */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hmm

#if !defined(_TRACE_HMM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_HMM_H

#include <linux/tracepoint.h>

/* The reasons in enum migrate_refusal of mm/hmm/migrate_policy.h */
#define HMM_MIGRATE_REFUSALS						\
	EM(MIGRATE_NOT_SELECTED,	"not selected")			\
	EM(MIGRATE_NOT_OWNED,		"another device's")		\
	EM(MIGRATE_NOT_MOVABLE,		"not movable")			\
	EM(MIGRATE_NOT_FOR_DEVICES,	"page cache")			\
	EM(MIGRATE_LOCKED,		"locked")			\
	EM(MIGRATE_PINNED,		"pinned")			\
	EMe(MIGRATE_UNSPLIT,		"cannot be split")

/* Export their values, which the format file shows by name. */
#undef EM
#undef EMe
#define EM(value, name)		TRACE_DEFINE_ENUM(value);
#define EMe(value, name)	TRACE_DEFINE_ENUM(value);

HMM_MIGRATE_REFUSALS

#undef EM
#undef EMe
#define EM(value, name)		{ value, name },
#define EMe(value, name)	{ value, name }

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
		__print_symbolic(__entry->why, HMM_MIGRATE_REFUSALS))
);

#endif /* _TRACE_HMM_H */

#include <trace/define_trace.h>
