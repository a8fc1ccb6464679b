// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * New folios of device memory.
 *
 * When a large folio of device memory is freed, its pages keep what made them
 * one: the core cannot clear that, as the driver reads it in
 * &dev_pagemap_ops.folio_free, after which the pages can be in use again. So a
 * free page may still point at the head of a folio that is gone: page_folio()
 * and pfn_folio() do not find what can be initialised there.
 */
#include <linux/align.h>
#include <linux/export.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>

/**
 * migrate_device_folio() - make free pages of device memory a folio
 * @pgmap: the device memory
 * @pfn: page frame number of the first page, aligned to the order
 * @order: 0 for a single page
 *
 * Whatever folios the pages were in before; nothing is required of the driver
 * when it frees them. The contents are undefined.
 *
 * Context: Any. The caller has reserved the pages: all of them are free, and no
 * other task initialises them. @pgmap is not being removed.
 *
 * Return: the folio, locked and with one reference, as a &migrate_alloc_fn
 * returns it and &migrate_vma.dst needs it. To give it back unused, unlock it
 * and call folio_put(), which calls &dev_pagemap_ops.folio_free.
 */
struct folio *migrate_device_folio(struct dev_pagemap *pgmap,
				   unsigned long pfn, unsigned int order)
{
	/* Not pfn_folio(), see above */
	struct folio *folio = (struct folio *)pfn_to_page(pfn);

	VM_WARN_ON_ONCE(!IS_ALIGNED(pfn, 1UL << order));
	zone_device_folio_init(folio, pgmap, order);
	return folio;
}
EXPORT_SYMBOL_GPL(migrate_device_folio);
