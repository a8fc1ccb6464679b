/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pages that a call has made exclusive, in the order of their addresses.
 * Each folio is locked once, for the first of its pages in the array. The array
 * shows which page that is, as long as the pages are in the order of the folio.
 *
 *	pages:	A2 A3 A4 B0 A6 A7 C0 ..
 *		^  -----    -----
 *		|  stretch: consecutive pages
 *		A is locked for this page; a search back from A6 finds it
 *
 * Pure: compares page pointers and does not dereference them. KUnit builds it,
 * too.
 */
#ifndef _MM_HMM_EXCLUSIVE_ARRAY_H
#define _MM_HMM_EXCLUSIVE_ARRAY_H

#include <linux/mm.h>

/*
 * @page, number @idx of its folio, is at @i of the array, or is about to be. Is
 * a page of the same folio before it? A page that is out of order is not found.
 */
static inline bool exclusive_folio_seen(struct page *const *pages,
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
