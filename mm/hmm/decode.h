/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoding: from page table entries to struct hmm_leaf.
 *
 * Each function gets an entry and the first address of interest below it. All
 * levels of the page table give the same answer for the same kind of entry;
 * walk.c lists the kinds. @owner is the &dev_pagemap.owner whose device-private
 * pages count as present.
 *
 * An entry is decoded under its page table lock, which keeps the struct page of
 * a device-private entry valid while its owner is read.
 */
#ifndef _MM_HMM_DECODE_H
#define _MM_HMM_DECODE_H

#include <linux/huge_mm.h>
#include <linux/hugetlb.h>
#include <linux/leafops.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/userfaultfd_k.h>

#include "access.h"
#include "pfn.h"

/*
 * Not inlined: entries that are not present are rare. @uffd: the entry is marked
 * by userfaultfd. In a VMA with userfaultfd_rwp(), a marked page must be
 * reported absent, so that the access faults.
 */
static noinline struct hmm_leaf
hmm_decode_softleaf(const void *owner, struct vm_area_struct *vma,
		    softleaf_t entry, bool uffd, unsigned long offset,
		    unsigned int order)
{
	bool writable;

	switch (softleaf_type(entry)) {
	case SOFTLEAF_DEVICE_PRIVATE_READ:
	case SOFTLEAF_DEVICE_PRIVATE_WRITE:
		if (page_pgmap(softleaf_to_page(entry))->owner != owner)
			return hmm_leaf_absent();
		if (uffd && userfaultfd_rwp(vma))
			return hmm_leaf_absent();
		writable = softleaf_is_device_private_write(entry);
		writable = hmm_entry_is_writable(writable, vma->vm_flags);
		return hmm_leaf_mapped(softleaf_to_pfn(entry) + offset, writable,
				       order);
	case SOFTLEAF_HWPOISON:
		return hmm_leaf_error();
	case SOFTLEAF_MARKER:
		if (softleaf_is_poison_marker(entry) ||
		    softleaf_is_guard_marker(entry))
			return hmm_leaf_error();
		return hmm_leaf_absent();
	default:
		return hmm_leaf_absent();
	}
}

/*
 * Does a present PTE map a struct page? Where the architecture marks special
 * entries, all others do, and only special ones are looked up.
 */
static inline bool hmm_pte_has_page(struct vm_area_struct *vma,
				    unsigned long addr, pte_t pte)
{
	if (IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL) && !pte_special(pte))
		return true;
	return vm_normal_page(vma, addr, pte) || is_zero_pfn(pte_pfn(pte));
}

static inline struct hmm_leaf hmm_decode_pte(const void *owner,
					     struct vm_area_struct *vma,
					     unsigned long addr, pte_t pte)
{
	if (pte_none(pte))
		return hmm_leaf_absent();
	if (!pte_present(pte))
		return hmm_decode_softleaf(owner, vma, softleaf_from_pte(pte),
					   pte_swp_uffd(pte), 0, 0);
	if (pte_protnone(pte))
		return hmm_leaf_absent();
	if (!hmm_pte_has_page(vma, addr, pte))
		return hmm_leaf_error();
	return hmm_leaf_mapped(pte_pfn(pte),
			       hmm_entry_is_writable(pte_write(pte),
						     vma->vm_flags), 0);
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
static inline bool hmm_pmd_has_page(struct vm_area_struct *vma,
				    unsigned long addr, pmd_t pmd)
{
	if (IS_ENABLED(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP) && !pmd_special(pmd))
		return true;
	return vm_normal_page_pmd(vma, addr, pmd) || is_huge_zero_pmd(pmd);
}

static inline struct hmm_leaf hmm_decode_pmd(const void *owner,
					     struct vm_area_struct *vma,
					     unsigned long addr, pmd_t pmd)
{
	unsigned long offset = (addr & ~PMD_MASK) >> PAGE_SHIFT;
	unsigned int order = PMD_SHIFT - PAGE_SHIFT;

	if (!pmd_present(pmd))
		return hmm_decode_softleaf(owner, vma, softleaf_from_pmd(pmd),
					   pmd_swp_uffd(pmd), offset, order);
	if (pmd_protnone(pmd))
		return hmm_leaf_absent();
	if (!hmm_pmd_has_page(vma, addr, pmd))
		return hmm_leaf_error();
	return hmm_leaf_mapped(pmd_pfn(pmd) + offset,
			       hmm_entry_is_writable(pmd_write(pmd),
						     vma->vm_flags), order);
}
#else
static inline struct hmm_leaf hmm_decode_pmd(const void *owner,
					     struct vm_area_struct *vma,
					     unsigned long addr, pmd_t pmd)
{
	return hmm_leaf_error();
}
#endif

#if defined(CONFIG_TRANSPARENT_HUGEPAGE) && \
	defined(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD)
static inline struct hmm_leaf hmm_decode_pud(struct vm_area_struct *vma,
					     unsigned long addr, pud_t pud)
{
	unsigned long offset = (addr & ~PUD_MASK) >> PAGE_SHIFT;

	if (!vm_normal_page_pud(vma, addr, pud))
		return hmm_leaf_error();
	return hmm_leaf_mapped(pud_pfn(pud) + offset,
			       hmm_entry_is_writable(pud_write(pud),
						     vma->vm_flags),
			       PUD_SHIFT - PAGE_SHIFT);
}
#endif

#ifdef CONFIG_HUGETLB_PAGE
static inline struct hmm_leaf
hmm_decode_hugetlb(const void *owner, struct vm_area_struct *vma,
		   unsigned long addr, pte_t pte)
{
	struct hstate *h = hstate_vma(vma);
	unsigned long offset = (addr & ~huge_page_mask(h)) >> PAGE_SHIFT;
	unsigned int order = huge_page_order(h);

	if (!pte_present(pte))
		return hmm_decode_softleaf(owner, vma, softleaf_from_pte(pte),
					   pte_swp_uffd(pte), offset, order);
	if (pte_protnone(pte))
		return hmm_leaf_absent();
	return hmm_leaf_mapped(pte_pfn(pte) + offset,
			       hmm_entry_is_writable(huge_pte_write(pte),
						     vma->vm_flags), order);
}
#endif

#endif /* _MM_HMM_DECODE_H */
