/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As much of it as the pure parts of HMM use. */
#ifndef _HMM_SHIM_LINUX_ATOMIC_H
#define _HMM_SHIM_LINUX_ATOMIC_H

#include <linux/types.h>

#define try_cmpxchg(ptr, old, new)					\
	__atomic_compare_exchange_n(ptr, old, new, false,		\
				    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)

#define xchg(ptr, value)						\
	__atomic_exchange_n(ptr, value, __ATOMIC_SEQ_CST)
/* As in the kernel: the users say what they pair with. */
#define smp_load_acquire(ptr)	__atomic_load_n(ptr, __ATOMIC_ACQUIRE)
/* As in the kernel */
#define smp_store_release(ptr, value)					\
	__atomic_store_n(ptr, value, __ATOMIC_RELEASE)

static inline int atomic_read(const atomic_t *v)
{
	return READ_ONCE(v->counter);
}

static inline void atomic_inc(atomic_t *v)
{
	__atomic_fetch_add(&v->counter, 1, __ATOMIC_RELAXED);
}

static inline void atomic_dec(atomic_t *v)
{
	__atomic_fetch_sub(&v->counter, 1, __ATOMIC_RELAXED);
}

#endif /* _HMM_SHIM_LINUX_ATOMIC_H */
