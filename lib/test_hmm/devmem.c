// SPDX-License-Identifier: GPL-2.0
/*
 * Device pages and folios, from their birth to their death.
 *
 * A private folio's data is in its backing: as many contiguous pages of
 * system memory, part of one folio there, found from zone_device_data of the
 * device folio's head. Each device page holds one reference to that folio, so
 * that splitting the device folio leaves the backing alone and freeing the
 * parts frees the whole in the end.
 */
#include <linux/gfp.h>
#include <linux/mm.h>

#include "test_hmm.h"

static struct thmm_chunk *page_chunk(const struct page *page)
{
	return container_of(page_pgmap(page), struct thmm_chunk, pagemap);
}

/**
 * thmm_page_device() - which of our devices a page belongs to
 * @page: any page
 *
 * Return: the device, or NULL.
 */
struct thmm_device *thmm_page_device(const struct page *page)
{
	if (!is_device_private_page(page) && !is_device_coherent_page(page))
		return NULL;
	if (page_pgmap(page)->ops != &thmm_pagemap_ops)
		return NULL;
	return page_chunk(page)->device;
}

/**
 * thmm_backing() - the page that holds a page's data
 * @page: any page that cannot be freed or split meanwhile
 *
 * Return: a page that the CPU can map, or NULL when there is none.
 */
struct page *thmm_backing(struct page *page)
{
	struct folio *folio = page_folio(page);
	struct page *backing;

	if (!is_device_private_page(page))
		return page;
	if (!thmm_page_device(page))
		return NULL;
	backing = folio->page.zone_device_data;
	return backing ? backing + folio_page_idx(folio, page) : NULL;
}

/* Memory for @order device pages, each of which holds a reference to it */
static struct page *backing_alloc(unsigned int order)
{
	gfp_t gfp = GFP_HIGHUSER | __GFP_NOWARN;
	struct folio *folio;

	gfp |= order ? __GFP_NORETRY : __GFP_RETRY_MAYFAIL;
	folio = folio_alloc(gfp, order);
	if (!folio)
		return NULL;
	folio_ref_add(folio, (1 << order) - 1);
	return folio_page(folio, 0);
}

static void backing_free(struct page *backing, unsigned int nr)
{
	if (backing)
		folio_put_refs(page_folio(backing), nr);
}

/* Free device memory of some order, from a new chunk if need be */
static bool devmem_take(struct thmm_device *device, unsigned int order, unsigned long *pfn)
{
	bool taken;

	if (thmm_chunk_take(device, order, pfn))
		return true;

	mutex_lock(&device->chunk_lock);
	taken = thmm_chunk_take(device, order, pfn);
	if (!taken && !thmm_chunk_add(device))
		taken = thmm_chunk_take(device, order, pfn);
	mutex_unlock(&device->chunk_lock);
	return taken;
}

/**
 * thmm_devmem_alloc() - a new device folio
 * @device: of this device
 * @order: no larger than the device takes
 *
 * Return: the folio, locked, with one reference and undefined content, or NULL.
 */
struct folio *thmm_devmem_alloc(struct thmm_device *device, unsigned int order)
{
	struct page *page, *backing = NULL;
	unsigned long pfn;

	if (!device->coherent) {
		backing = backing_alloc(order);
		if (!backing)
			return NULL;
	}
	if (!devmem_take(device, order, &pfn)) {
		backing_free(backing, 1 << order);
		return NULL;
	}

	page = pfn_to_page(pfn);
	zone_device_page_init(page, page_pgmap(page), order);
	if (order)
		folio_set_large_rmappable(page_folio(page));
	page->zone_device_data = backing;
	thmm_count(device, THMM_ALLOCATED, 1 << order);
	return page_folio(page);
}

/*
 * Undo what makes pages one large folio. zone_device_page_init() does this only
 * for the pages that it initialises, and a free page must not look like part of
 * a folio when the device's memory is scanned.
 */
static void folio_dissolve(struct folio *folio, struct dev_pagemap *pagemap)
{
	unsigned long i, nr = folio_nr_pages(folio);

	folio_reset_order(folio);
	ClearPageHead(&folio->page);
	for (i = 1; i < nr; i++) {
		struct page *tail = folio_page(folio, i);

		clear_compound_head(tail);
		set_page_private(tail, 0);
		((struct folio *)tail)->pgmap = pagemap;
	}
}

/* The last reference is gone; interrupts may be off. */
static void devmem_folio_free(struct folio *folio)
{
	struct thmm_chunk *chunk = page_chunk(&folio->page);
	struct thmm_device *device = chunk->device;
	unsigned int nr = folio_nr_pages(folio);

	if (!device->coherent)
		backing_free(folio->page.zone_device_data, nr);
	folio->page.zone_device_data = NULL;
	if (nr > 1)
		folio_dissolve(folio, &chunk->pagemap);

	thmm_count(device, THMM_FREED, nr);
	/* The chunk, and with it the device, may go from here on. */
	thmm_chunk_give(chunk, folio_pfn(folio), nr);
}

/* @tail was cut off @head; @tail is NULL when @head itself has its new size. */
static void devmem_folio_split(struct folio *head, struct folio *tail)
{
	struct page *backing = head->page.zone_device_data;

	if (!tail)
		return;
	tail->pgmap = head->pgmap;
	/* Coherent pages are their own backing. */
	if (backing)
		backing += folio_pfn(tail) - folio_pfn(head);
	tail->page.zone_device_data = backing;
	thmm_count(page_chunk(&head->page)->device, THMM_SPLITS, 1);
}

const struct dev_pagemap_ops thmm_pagemap_ops = {
	.folio_free	= devmem_folio_free,
	.folio_split	= devmem_folio_split,
	.migrate_to_ram	= thmm_cpu_fault,
};
