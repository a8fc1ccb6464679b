/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The access that the flags of a VMA allow a device: no more than
 * get_user_pages() allows a driver.
 *
 * Pure, see pfn.h.
 */
#ifndef _MM_HMM_ACCESS_H
#define _MM_HMM_ACCESS_H

#include <linux/mm.h>

/*
 * A device that may not read may not write, either: no architecture with HMM
 * maps memory write-only.
 */
static inline bool hmm_flags_allow_reading(vm_flags_t flags)
{
	return (flags & VM_READ) && !(flags & (VM_IO | VM_PFNMAP));
}

/*
 * A shadow stack has VM_WRITE, but only calls and returns may write to it.
 * Write access of a device would defeat its purpose.
 */
static inline bool hmm_flags_allow_writing(vm_flags_t flags)
{
	return (flags & VM_WRITE) && !(flags & VM_SHADOW_STACK);
}

/*
 * May a device write through an entry that is @writable for CPUs? A writable
 * entry implies VM_WRITE. On x86, pte_write() of a shadow stack's entry depends
 * on its dirty bit, which runs of PTEs ignore. So the VMA decides for all of
 * them.
 */
static inline bool hmm_entry_is_writable(bool writable, vm_flags_t flags)
{
	return writable && !(flags & VM_SHADOW_STACK);
}

#endif /* _MM_HMM_ACCESS_H */
