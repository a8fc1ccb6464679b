/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pages that a call has made exclusive, in the order of their addresses.
 * Each folio is locked once, for the first of its pages. The array shows which
 * one that is, as long as the pages have the same order as in the folio.
 *
 *	pages:	A2 A3 A4 B0 A6 A7 C0 ..
 *		^  -----    -----
 *		|  stretch: consecutive pages
 *		A is locked here, which looking back from A6 finds
 *
 * Pure: compares page pointers and does not dereference them. KUnit builds it,
 * too.
 */
#ifndef _MM_HMM_EXCLUSIVE_ARRAY_H
#define _MM_HMM_EXCLUSIVE_ARRAY_H

#include <linux/mm.h>

/*
 * @page, number @idx of its folio, is at @i, or is about to be. Is a page
 * before it of the same folio? A page that is out of order is not found.
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

/*
 * The length of the stretch that ends at @i, with page number @idx of a folio
 */
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
