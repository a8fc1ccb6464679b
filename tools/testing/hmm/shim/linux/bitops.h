/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's bit searches, and its hints to the compiler. */
#ifndef _HMM_SHIM_LINUX_BITOPS_H
#define _HMM_SHIM_LINUX_BITOPS_H

#define BITS_PER_LONG		__LONG_WIDTH__
#define likely(condition)	__builtin_expect(!!(condition), 1)
#define unlikely(condition)	__builtin_expect(!!(condition), 0)

static inline unsigned long __ffs(unsigned long word)
{
	return __builtin_ctzl(word);
}

static inline unsigned long ffz(unsigned long word)
{
	return __ffs(~word);
}

#endif /* _HMM_SHIM_LINUX_BITOPS_H */
