/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As much of the kernel as the pure parts of HMM see, for a userland build. */
#ifndef _HMM_SHIM_LINUX_MM_H
#define _HMM_SHIM_LINUX_MM_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/bitops.h>
#include <linux/const.h>

#include <sys/cdefs.h>		/* __always_inline */

#define noinline
#define BIT(nr)			_BITUL(nr)
#define PAGE_SHIFT		12
#define PAGE_SIZE		_BITUL(PAGE_SHIFT)
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#define ALIGN(x, a)		(((x) + (a) - 1) & ~((a) - 1))
#define ALIGN_DOWN(x, a)	((x) & ~((a) - 1))
#define min(a, b)		((a) < (b) ? (a) : (b))
#define max(a, b)		((a) > (b) ? (a) : (b))

#define phys_addr_t		unsigned long
#define vm_fault_t		unsigned int

/* Distinct bits, as access.h wants them; not those of any architecture */
#define vm_flags_t		unsigned long

#define VM_READ			BIT(0)
#define VM_WRITE		BIT(1)
#define VM_EXEC			BIT(2)
#define VM_SHARED		BIT(3)
#define VM_PFNMAP		BIT(4)
#define VM_IO			BIT(5)
#define VM_SHADOW_STACK		BIT(6)

/* Told apart, and not looked at */
struct page {
	unsigned long words[8];
};

/* Declared for the inline functions of hmm.h; no pure part calls it. */
struct page *pfn_to_page(unsigned long pfn);

#define __pfn_to_phys(pfn)	((phys_addr_t)(pfn) << PAGE_SHIFT)

#endif /* _HMM_SHIM_LINUX_MM_H */
