/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system's header of this name, and the kernel's own types. */
#ifndef _HMM_SHIM_LINUX_TYPES_H
#define _HMM_SHIM_LINUX_TYPES_H

#include_next <linux/types.h>
#include <stdbool.h>
#include <stdint.h>

#define u8			__u8
#define u16			__u16
#define u32			__u32
#define u64			__u64
#define U64_MAX			UINT64_MAX

/* For sparse only */
#define __force

#define __must_check		__attribute__((__warn_unused_result__))
#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, value)	__atomic_store_n(&(x), value, __ATOMIC_RELAXED)

struct hmm_shim_atomic {
	int counter;
};

#define atomic_t		struct hmm_shim_atomic

/* As in the kernel: the users say why. */
#define data_race(expression)	(expression)

struct list_head {
	struct list_head *next, *prev;
};

struct hlist_node {
	struct hlist_node *next, **pprev;
};

#endif /* _HMM_SHIM_LINUX_TYPES_H */
