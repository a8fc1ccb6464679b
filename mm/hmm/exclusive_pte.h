/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Convert a PTE to a device-exclusive entry of the same page, and back. Either
 * counts as a mapping: the mapcount and the reference count do not change.
 */
#ifndef _MM_HMM_EXCLUSIVE_PTE_H
#define _MM_HMM_EXCLUSIVE_PTE_H

#include <linux/mm.h>
#include <linux/pgtable_leafops.h>

#include "softleaf.h"

/* The exclusive entry for @pte, which maps a page writable */
static inline pte_t exclusive_pte_begin(struct vm_area_struct *vma, pte_t pte)
{
	struct pgtable_leaf leaf = pgtable_leaf_of_pte(pte);

	return pgtable_leaf_to_pte(pgtable_leaf_begin_exclusive(leaf), vma);
}

/* The page of an exclusive entry, or NULL if @pte is something else */
static inline struct page *exclusive_pte_page(pte_t pte)
{
	softleaf_t entry;

	if (pte_present(pte) || pte_none(pte))
		return NULL;
	entry = softleaf_from_pte(pte);
	return softleaf_is_device_exclusive(entry) ? softleaf_to_page(entry) :
						     NULL;
}

/* The PTE that maps @page again, in place of the exclusive entry @old */
static inline pte_t exclusive_pte_end(struct vm_area_struct *vma,
				      struct page *page, pte_t old)
{
	struct pgtable_leaf leaf = pgtable_leaf_of_pte(old);

	leaf = pgtable_leaf_end_exclusive(leaf, PageAnonExclusive(page),
					  folio_test_dirty(page_folio(page)),
					  pgtable_leaf_rules(vma));
	return pgtable_leaf_to_pte(leaf, vma);
}

/*
 * How many exclusive entries from @ptep on, of at most @max, differ from the
 * first one, @old, only in the page, and are restored in the same way? All are
 * of the folio of @page, the first one's page.
 */
static inline unsigned int exclusive_pte_run(pte_t *ptep, pte_t old,
					     struct page *page,
					     unsigned int max)
{
	struct folio *folio = page_folio(page);
	bool exclusive;
	unsigned int nr;

	if (max == 1 || !folio_test_large(folio))
		return 1;
	exclusive = PageAnonExclusive(page);
	max = min_t(unsigned long, max, folio_nr_pages(folio) -
					folio_page_idx(folio, page));
	for (nr = 1; nr < max; nr++) {
		old = hmm_softleaf_next(old);
		if (!pte_same(ptep_get(ptep + nr), old) ||
		    PageAnonExclusive(page + nr) != exclusive)
			break;
	}
	return nr;
}

#endif /* _MM_HMM_EXCLUSIVE_PTE_H */
