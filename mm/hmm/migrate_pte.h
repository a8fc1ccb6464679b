/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs of PTEs. What a single PTE means, and what it becomes when its page
 * moves, is in pgtable_leaf.h.
 */
#ifndef _MM_HMM_MIGRATE_PTE_H
#define _MM_HMM_MIGRATE_PTE_H

#include <linux/mm.h>
#include <linux/pgtable_leafops.h>

#include "../internal.h"

/* Outside of the swap cache, anonymous folios have only the bit. */
static __always_inline void migrate_mark_dirty(struct folio *folio)
{
	if (!folio_test_anon(folio) || folio_test_swapcache(folio))
		folio_mark_dirty(folio);
	else if (!folio_test_dirty(folio))
		folio_set_dirty(folio);
}

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

/*
 * Most entries come in runs that differ only in the page, which is the next one
 * each time. Only the first entry of a run has to be decoded.
 */

/* The same entry for the next page; @pte is not present. */
static inline pte_t migrate_softleaf_next(pte_t pte)
{
#ifdef CONFIG_X86_64
	/* The offset is stored inverted, and nothing is between its bits. */
	pte_t next = __pte(pte_val(pte) - BIT(SWP_OFFSET_FIRST_BIT));

	VM_WARN_ON_ONCE(!pte_same(next, pte_next_swp_offset(pte)));
	return next;
#else
	return pte_next_swp_offset(pte);
#endif
}

/* How many entries from @ptep on, which holds @pte, differ only in the page? */
static inline unsigned int migrate_softleaf_run(pte_t *ptep, pte_t pte,
						unsigned int max)
{
	unsigned int nr;

	for (nr = 1; nr < max; nr++) {
		pte = migrate_softleaf_next(pte);
		if (!pte_same(ptep_get(ptep + nr), pte))
			break;
	}
	return nr;
}

/* Set a run that begins with @pte; what it replaces is not present. */
static inline void migrate_set_run(struct mm_struct *mm, unsigned long addr,
				   pte_t *ptep, pte_t pte, unsigned int nr)
{
	unsigned int i;

	if (pte_present(pte)) {
		set_ptes(mm, addr, ptep, pte, nr);
		return;
	}
	for (i = 0; i < nr; i++) {
		set_pte_at(mm, addr + i * PAGE_SIZE, ptep + i, pte);
		pte = migrate_softleaf_next(pte);
	}
}

#endif /* _MM_HMM_MIGRATE_PTE_H */
