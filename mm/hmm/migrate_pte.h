/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PTEs of pages that migrate. What a single PTE means, and what it becomes when
 * its page moves, is in pgtable_leaf.h.
 */
#ifndef _MM_HMM_MIGRATE_PTE_H
#define _MM_HMM_MIGRATE_PTE_H

#include <linux/mm.h>
#include <linux/pgtable_leafops.h>

#include "softleaf.h"

/* May the page be written to? @pte maps it, or is of device-private memory. */
static inline bool migrate_pte_writable(pte_t pte)
{
	if (pte_present(pte))
		return pte_write(pte);
	return softleaf_is_device_private_write(softleaf_from_pte(pte));
}

/* The PTE for @page of @folio, in place of the migration entry @leaf */
static __always_inline pte_t migrate_pte_end(struct vm_area_struct *vma,
					     struct pgtable_leaf leaf,
					     const struct folio *folio,
					     const struct page *page)
{
	enum pgtable_leaf_kind kind = folio_is_device_private(folio) ?
				      PGTABLE_LEAF_PRIVATE :
				      PGTABLE_LEAF_PRESENT;

	leaf = pgtable_leaf_end_migration(leaf, kind, page_to_pfn(page),
					  folio_test_dirty(folio),
					  pgtable_leaf_rules(vma));
	return pgtable_leaf_to_pte(leaf, vma);
}

/* Set a run that begins with @pte; the PTEs it replaces are not present. */
static inline void migrate_pte_set_run(struct mm_struct *mm, unsigned long addr,
				       pte_t *ptep, pte_t pte, unsigned int nr)
{
	unsigned int i;

	if (pte_present(pte)) {
		set_ptes(mm, addr, ptep, pte, nr);
		return;
	}
	for (i = 0; i < nr; i++) {
		set_pte_at(mm, addr + i * PAGE_SIZE, ptep + i, pte);
		pte = hmm_softleaf_next(pte);
	}
}

#endif /* _MM_HMM_MIGRATE_PTE_H */
