/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a PTE that maps a page to the entry that stands for it while a device has
 * it for itself, and back again. Both count as a mapping of the page: its
 * mapcount and its reference stay.
 */
#ifndef _MM_HMM_EXCLUSIVE_PTE_H
#define _MM_HMM_EXCLUSIVE_PTE_H

#include <linux/leafops.h>
#include <linux/mm.h>
#include <linux/swapops.h>
#include <linux/userfaultfd_k.h>

#include "migrate_pte.h"

/* What takes the place of @pte, which maps page @pfn writable */
static inline pte_t exclusive_pte_begin(pte_t pte, unsigned long pfn)
{
	pte_t taken = softleaf_to_pte(make_device_exclusive_entry(pfn));

	if (pte_soft_dirty(pte))
		taken = pte_swp_mksoft_dirty(taken);
	if (pte_uffd(pte))
		taken = pte_swp_mkuffd(taken);
	return taken;
}

/* The page that a device has for itself where @pte is, or NULL */
static inline struct page *exclusive_pte_page(pte_t pte)
{
	softleaf_t entry;

	if (pte_present(pte) || pte_none(pte))
		return NULL;
	entry = softleaf_from_pte(pte);
	return softleaf_is_device_exclusive(entry) ? softleaf_to_page(entry) :
						     NULL;
}

/* May @pte, which maps @page anew in a private mapping, be writable? */
static inline bool exclusive_pte_may_write(struct vm_area_struct *vma,
					   const struct page *page, pte_t pte)
{
	return vma->vm_flags & VM_WRITE && !pte_protnone(pte) &&
	       !userfaultfd_pte_wp(vma, pte) &&
	       !pte_needs_soft_dirty_wp(vma, pte) && PageAnonExclusive(page);
}

/*
 * What maps @page where @taken has stood for it. The mapping may have lost
 * write access meanwhile, and who tracks writes may have begun to: what the VMA
 * and the marks say now holds.
 */
static inline pte_t exclusive_pte_end(struct vm_area_struct *vma,
				      struct page *page, pte_t taken)
{
	pte_t pte = mk_pte(page, READ_ONCE(vma->vm_page_prot));
	bool marked = pte_swp_uffd(taken);

	pte = pte_mkold(pte);
	if (marked)
		pte = pte_mkuffd(pte);
	if (marked && userfaultfd_rwp(vma))
		pte = pte_modify(pte, PAGE_NONE);
	if (pte_swp_soft_dirty(taken))
		pte = pte_mksoft_dirty(pte);
	if (!exclusive_pte_may_write(vma, page, pte))
		return pte;
	if (folio_test_dirty(page_folio(page)))
		pte = pte_mkdirty(pte);
	return pte_mkwrite(pte, vma);
}

/*
 * How many entries from @ptep on, of at most @max, differ from the first one,
 * @taken, in nothing but the page, and are restored alike? All are of the folio
 * of @page.
 */
static inline unsigned int exclusive_pte_run(pte_t *ptep, pte_t taken,
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
		taken = migrate_softleaf_next(taken);
		if (!pte_same(ptep_get(ptep + nr), taken) ||
		    PageAnonExclusive(page + nr) != exclusive)
			break;
	}
	return nr;
}

#endif /* _MM_HMM_EXCLUSIVE_PTE_H */
