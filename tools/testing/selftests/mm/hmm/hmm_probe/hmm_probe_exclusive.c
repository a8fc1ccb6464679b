// SPDX-License-Identifier: GPL-2.0
/*
 * Exclusive access. A driver drops mmap_lock as soon as the call has returned, and
 * the folio locks after it has programmed the device.
 */
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "hmm_probe_move.h"

#ifdef MIGRATE_VMA_SELECT_FOLIOS
#include <linux/device_exclusive.h>

static long exclusive_begin(struct mm_struct *mm, unsigned long start,
			    unsigned long end, struct page **pages)
{
	return device_exclusive_make_range(mm, start, end, pages,
					   &probe_pagemap);
}

static void exclusive_end(struct page **pages, unsigned long npages)
{
	device_exclusive_put_range(pages, npages);
}
#else
/* Page by page: the range must not have several of the same folio. */
static void exclusive_end(struct page **pages, unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages && pages[i]; i++) {
		folio_unlock(page_folio(pages[i]));
		folio_put(page_folio(pages[i]));
	}
}

static long exclusive_begin(struct mm_struct *mm, unsigned long start,
			    unsigned long end, struct page **pages)
{
	unsigned long addr, i = 0;
	struct folio *folio;
	struct page *page;

	for (addr = start; addr < end; addr += PAGE_SIZE) {
		page = make_device_exclusive(mm, addr, &probe_pagemap, &folio);
		if (IS_ERR(page)) {
			exclusive_end(pages, i);
			return PTR_ERR(page);
		}
		pages[i++] = page;
	}
	return i;
}
#endif

static long exclusive_call(struct mm_struct *mm, const struct hmm_move *move,
			   struct page **pages)
{
	unsigned long end = move->addr + (move->npages << PAGE_SHIFT);
	long nr;

	if (!mmget_not_zero(mm))
		return -ESRCH;
	mmap_read_lock(mm);
	nr = exclusive_begin(mm, move->addr, end, pages);
	mmap_read_unlock(mm);
	/* The process may exit while its pages are locked. */
	mmput(mm);
	return nr;
}

static struct folio *folio_at(struct page **pages, unsigned long i)
{
	struct folio *folio = pages[i] ? page_folio(pages[i]) : NULL;

	return folio && pages[i] == &folio->page ? folio : NULL;
}

/*
 * Let go of the pages, and count those that something else has a reference to.
 * Ours keep the folios until then; they begin in the range.
 */
static int exclusive_finish(struct hmm_move *move, struct page **pages)
{
	struct folio **folios = kvcalloc(move->npages, sizeof(*folios),
					 GFP_KERNEL);
	unsigned long i;

	for (i = 0; folios && i < move->npages; i++) {
		folios[i] = folio_at(pages, i);
		if (folios[i])
			folio_get(folios[i]);
	}
	exclusive_end(pages, move->npages);
	for (i = 0; folios && i < move->npages; i++) {
		if (!folios[i])
			continue;
		if (folio_ref_count(folios[i]) > 1)
			move->referenced += folio_nr_pages(folios[i]);
		folio_put(folios[i]);
	}
	kvfree(folios);
	return folios ? 0 : -ENOMEM;
}

int probe_exclusive(struct probe_mover *mover, struct hmm_move *move)
{
	struct page **pages = kvcalloc(move->npages, sizeof(*pages),
				       GFP_KERNEL);
	int rc = 0;
	long nr;

	if (!pages)
		return -ENOMEM;
	nr = exclusive_call(mover->flush_counter.mm, move, pages);
	if (nr > 0) {
		move->offered = nr;
		if (move->flags & HMM_MOVE_STAY_MOVED)
			probe_stay(&mover->stay,
				   move->flags & HMM_MOVE_STUBBORN);
		rc = exclusive_finish(move, pages);
	}
	move->rc = min(nr, 0L);
	kvfree(pages);
	return rc;
}
