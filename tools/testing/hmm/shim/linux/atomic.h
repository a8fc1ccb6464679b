/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As much of it as the pure parts of HMM use. */
#ifndef _HMM_SHIM_LINUX_ATOMIC_H
#define _HMM_SHIM_LINUX_ATOMIC_H

#include <linux/types.h>

#define try_cmpxchg(ptr, old, new)					\
	__atomic_compare_exchange_n(ptr, old, new, false,		\
				    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)

#endif /* _HMM_SHIM_LINUX_ATOMIC_H */
