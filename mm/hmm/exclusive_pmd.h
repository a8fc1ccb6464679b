/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device-exclusive PMDs, as exclusive_pte.h for PTEs. The page table lock is
 * held.
 */
#ifndef _MM_HMM_EXCLUSIVE_PMD_H
#define _MM_HMM_EXCLUSIVE_PMD_H

#include <linux/leafops.h>
#include <linux/mm.h>

/* The folio of @pmd, which is present or exclusive */
static inline struct folio *exclusive_pmd_folio(pmd_t pmd)
{
	if (pmd_present(pmd))
		return pmd_folio(pmd);
	return softleaf_to_folio(softleaf_from_pmd(pmd));
}

#ifdef CONFIG_ARCH_HAS_PMD_SOFTLEAVES
bool exclusive_pmd_ready(struct vm_area_struct *vma, unsigned long addr,
			 pmd_t pmd);
void exclusive_pmd_begin(struct vm_area_struct *vma, unsigned long addr,
			 pmd_t *pmdp);
#else
static inline bool exclusive_pmd_ready(struct vm_area_struct *vma,
				       unsigned long addr, pmd_t pmd)
{
	return pmd_present(pmd) && pmd_write(pmd);
}

static inline void exclusive_pmd_begin(struct vm_area_struct *vma,
				       unsigned long addr, pmd_t *pmdp)
{ }
#endif

#endif /* _MM_HMM_EXCLUSIVE_PMD_H */
