/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What migration and exclusive access share: runs of PTEs that are not present,
 * and folios that a device may write to.
 *
 * Most entries come in runs: each one is the entry before it for the next page.
 * Only the first entry of a run is decoded.
 */
#ifndef _MM_HMM_SOFTLEAF_H
#define _MM_HMM_SOFTLEAF_H

#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/swapops.h>

#include "../internal.h"

/* An architecture may have a form that needs fewer instructions. */
#ifndef pte_next_softleaf
#define pte_next_softleaf(pte)	pte_next_swp_offset(pte)
#endif

/* The same entry for the next page; @pte is not present. */
static inline pte_t hmm_softleaf_next(pte_t pte)
{
	pte_t next = pte_next_softleaf(pte);

	VM_WARN_ON_ONCE(!pte_same(next, pte_next_swp_offset(pte)));
	return next;
}

/* How many entries from @ptep on, which holds @pte, differ only in the page? */
static inline unsigned int hmm_softleaf_run(pte_t *ptep, pte_t pte,
					    unsigned int max)
{
	unsigned int nr;

	for (nr = 1; nr < max; nr++) {
		pte = hmm_softleaf_next(pte);
		if (!pte_same(ptep_get(ptep + nr), pte))
			break;
	}
	return nr;
}

/*
 * An anonymous folio outside the swap cache has no mapping to notify: setting
 * its dirty flag is enough.
 */
static __always_inline void hmm_folio_mark_dirty(struct folio *folio)
{
	if (!folio_test_anon(folio) || folio_test_swapcache(folio))
		folio_mark_dirty(folio);
	else if (!folio_test_dirty(folio))
		folio_set_dirty(folio);
}

#endif /* _MM_HMM_SOFTLEAF_H */
