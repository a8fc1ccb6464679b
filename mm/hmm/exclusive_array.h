/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pages that a call for exclusive access has taken, in the order of their
 * addresses. A folio is locked once, at the first of its pages; which one that is
 * shows in the array, as long as the pages lie as they lie in the folio.
 *
 *	pages:	A2 A3 A4 B0 A6 A7 C0 ..
 *		^  -----    -----
 *		|  stretch: one after the other
 *		A is locked here, and seen from A6 by looking back
 *
 * Pure: pages are told apart, not looked at. Also built by KUnit.
 */
#ifndef _MM_HMM_EXCLUSIVE_ARRAY_H
#define _MM_HMM_EXCLUSIVE_ARRAY_H

#include <linux/mm.h>

/*
 * @page, number @idx of its folio, is at @i, or is about to be. Is one of those
 * before it of the same folio? Not found is what has been mapped elsewhere.
 */
static inline bool exclusive_met_before(struct page *const *pages,
					unsigned long i,
					const struct page *page,
					unsigned long idx)
{
	unsigned long back, most = min(i, idx);

	for (back = 1; back <= most; back++)
		if (pages[i - back] == page - back)
			return true;
	return false;
}

/* How many pages are in the stretch that ends at @i with number @idx of a folio? */
static inline unsigned long exclusive_stretch(struct page *const *pages,
					      unsigned long i,
					      unsigned long idx)
{
	unsigned long nr, most = min(i, idx) + 1;

	for (nr = 1; nr < most; nr++)
		if (pages[i - nr] != pages[i] - nr)
			break;
	return nr;
}

#endif /* _MM_HMM_EXCLUSIVE_ARRAY_H */
