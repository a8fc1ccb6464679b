/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the flags of a VMA allow a device: no more than get_user_pages() allows
 * a driver.
 *
 * Pure, see pfn.h.
 */
#ifndef _MM_HMM_ACCESS_H
#define _MM_HMM_ACCESS_H

#include <linux/mm.h>

/*
 * Write access is never considered where read access is missing: no
 * architecture that has HMM maps memory write-only.
 */
static inline bool hmm_flags_allow_reading(vm_flags_t flags)
{
	return (flags & VM_READ) && !(flags & (VM_IO | VM_PFNMAP));
}

/*
 * A shadow stack has VM_WRITE, but only calls and returns may write to it. A
 * device that could would undo what it is for.
 */
static inline bool hmm_flags_allow_writing(vm_flags_t flags)
{
	return (flags & VM_WRITE) && !(flags & VM_SHADOW_STACK);
}

/*
 * May a device write through an entry of which the CPU says that it can? A
 * writable entry implies VM_WRITE. On x86, each dirty entry of a shadow stack
 * counts as writable, and that depends on a bit by which runs of PTEs are not
 * told apart: so the VMA decides, for all of them.
 */
static inline bool hmm_entry_is_writable(bool writable, vm_flags_t flags)
{
	return writable && !(flags & VM_SHADOW_STACK);
}

#endif /* _MM_HMM_ACCESS_H */
