// SPDX-License-Identifier: GPL-2.0
/*
 * Device pages and folios: allocation, split and free.
 *
 * A private folio's data is in its backing: as many contiguous pages of
 * system memory, part of one folio there, found from zone_device_data of the
 * device folio's head. Each device page holds one reference to that folio, so
 * that splitting the device folio leaves the backing alone and freeing the
 * parts eventually frees the whole.
 */
#include <linux/gfp.h>
#include <linux/migrate.h>
#include <linux/mm.h>

#include "test_hmm.h"

static struct dmirror_chunk *dmirror_page_chunk(const struct page *page)
{
	return container_of(page_pgmap(page), struct dmirror_chunk, pagemap);
}

/**
 * dmirror_page_device() - which of our devices a page belongs to
 * @page: any page
 *
 * Return: the device, or NULL.
 */
struct dmirror_device *dmirror_page_device(const struct page *page)
{
	if (!is_device_private_page(page) && !is_device_coherent_page(page))
		return NULL;
	if (page_pgmap(page)->ops != &dmirror_pagemap_ops)
		return NULL;
	return dmirror_page_chunk(page)->device;
}

/**
 * dmirror_backing() - the page that holds a page's data
 * @page: any page that cannot be freed or split meanwhile
 *
 * Return: a page that the CPU can map, or NULL when there is none.
 */
struct page *dmirror_backing(struct page *page)
{
	struct folio *folio = page_folio(page);
	struct page *backing;

	if (!is_device_private_page(page))
		return page;
	if (!dmirror_page_device(page))
		return NULL;
	backing = folio->page.zone_device_data;
	return backing ? backing + folio_page_idx(folio, page) : NULL;
}

/* Memory for @order device pages, each of which holds a reference to it */
static struct page *dmirror_backing_alloc(unsigned int order)
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

static void dmirror_backing_free(struct page *backing, unsigned int nr)
{
	if (backing)
		folio_put_refs(page_folio(backing), nr);
}

/* Allocate device memory of some order, from a new chunk if necessary. */
static bool dmirror_devmem_find(struct dmirror_device *device, unsigned int order,
				unsigned long *pfn)
{
	bool taken;

	if (dmirror_chunk_alloc(device, order, pfn))
		return true;

	mutex_lock(&device->chunk_lock);
	taken = dmirror_chunk_alloc(device, order, pfn);
	if (!taken && !dmirror_chunk_add(device))
		taken = dmirror_chunk_alloc(device, order, pfn);
	mutex_unlock(&device->chunk_lock);
	return taken;
}

/**
 * dmirror_devmem_alloc() - a new device folio
 * @device: of this device
 * @order: no larger than the device takes
 *
 * Context: Process context, may sleep. Takes the device's chunk_lock.
 *
 * Return: the folio, locked, with one reference and undefined contents, or
 * NULL.
 */
struct folio *dmirror_devmem_alloc(struct dmirror_device *device, unsigned int order)
{
	struct page *backing = NULL;
	struct folio *folio;
	unsigned long pfn;

	if (!device->coherent) {
		backing = dmirror_backing_alloc(order);
		if (!backing)
			return NULL;
	}
	if (!dmirror_devmem_find(device, order, &pfn)) {
		dmirror_backing_free(backing, 1 << order);
		return NULL;
	}

	folio = migrate_device_folio(page_pgmap(pfn_to_page(pfn)), pfn, order);
	folio->page.zone_device_data = backing;
	dmirror_count(device, DMIRROR_ALLOCATED, 1 << order);
	return folio;
}

/*
 * Undo what makes pages one large folio. zone_device_page_init() does this only
 * for the pages that it initialises, and a free page must not look like part of
 * a folio when the device's memory is scanned.
 */
static void dmirror_folio_dissolve(struct folio *folio, struct dev_pagemap *pagemap)
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

/* The last reference was dropped; interrupts may be off. */
static void dmirror_folio_free(struct folio *folio)
{
	struct dmirror_chunk *chunk = dmirror_page_chunk(&folio->page);
	struct dmirror_device *device = chunk->device;
	unsigned int nr = folio_nr_pages(folio);

	if (!device->coherent)
		dmirror_backing_free(folio->page.zone_device_data, nr);
	folio->page.zone_device_data = NULL;
	if (nr > 1)
		dmirror_folio_dissolve(folio, &chunk->pagemap);

	dmirror_count(device, DMIRROR_FREED, nr);
	/* Last: after this, another task may allocate the pages. */
	dmirror_chunk_free(chunk, folio_pfn(folio), nr);
}

/* @tail was cut off @head; @tail is NULL when @head itself has its new size. */
static void dmirror_folio_split(struct folio *head, struct folio *tail)
{
	struct page *backing = head->page.zone_device_data;

	if (!tail)
		return;
	tail->pgmap = head->pgmap;
	/* Coherent pages are their own backing. */
	if (backing)
		backing += folio_pfn(tail) - folio_pfn(head);
	tail->page.zone_device_data = backing;
	dmirror_count(dmirror_page_chunk(&head->page)->device, DMIRROR_SPLITS, 1);
}

const struct dev_pagemap_ops dmirror_pagemap_ops = {
	.folio_free	= dmirror_folio_free,
	.folio_split	= dmirror_folio_split,
	.migrate_to_ram	= dmirror_cpu_fault,
};
