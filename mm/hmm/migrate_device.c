// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The interface to migrate pages of device memory by page frame number,
 * wherever they are mapped. See migrate.h for the stages; without a VMA there
 * is no collect.
 */
#include <linux/export.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../internal.h"
#include "migrate.h"

static struct migrate_vma without_vma(unsigned long *src, unsigned long *dst,
				      unsigned long npages)
{
	return (struct migrate_vma) {
		.src = src,
		.dst = dst,
		.npages = npages,
	};
}

/* The folio of a page in use, referenced, or NULL */
static struct folio *get_folio(unsigned long pfn)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));

	return folio_try_get(folio) ? folio : NULL;
}

/* Fails if the folio changed before it was referenced: split, freed, reused */
static bool lock_folio(struct folio *folio, unsigned long pfn)
{
	if (!folio_trylock(folio))
		return false;
	if (page_folio(pfn_to_page(pfn)) == folio)
		return true;
	folio_unlock(folio);
	return false;
}

static void drop_folio(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

/* The folio of a page in use, locked and referenced, or NULL */
static struct folio *take_folio(unsigned long pfn)
{
	struct folio *folio = get_folio(pfn);

	if (folio && !lock_folio(folio, pfn)) {
		folio_put(folio);
		folio = NULL;
	}
	return folio;
}

static unsigned long entry_of(struct folio *folio)
{
	unsigned long entry = migrate_pfn(folio_pfn(folio)) |
			      MIGRATE_PFN_MIGRATE;

	return folio_test_large(folio) ? entry | MIGRATE_PFN_COMPOUND : entry;
}

/**
 * migrate_device_pfn_lock() - lock the folio of a page for a migration
 * @pfn: page frame number of a page of device memory
 *
 * Trylocks the folio and takes a reference. The entry is for
 * migrate_device_unmap(), which restores pages that cannot be migrated.
 *
 * Context: Any but interrupts. Does not sleep, and never drops the last
 * reference to a folio, so that the caller may hold a lock that
 * &dev_pagemap_ops.folio_free takes.
 *
 * Return: the entry of the page, or 0 if the page is free, locked, or not the
 * first of its folio. For a large folio, the entry has %MIGRATE_PFN_COMPOUND,
 * and the caller must leave the entries of its other pages 0.
 */
unsigned long migrate_device_pfn_lock(unsigned long pfn)
{
	struct folio *folio = folio_get_nontail_page(pfn_to_page(pfn));

	if (!folio)
		return 0;
	/*
	 * If this is the last reference now, the folio is not locked any more,
	 * as the holder of its lock had a reference. migrate_device_unmap()
	 * will free it.
	 */
	while (!folio_trylock(folio))
		if (atomic_add_unless(&folio->_refcount, -1, 1))
			return 0;
	return entry_of(folio);
}
EXPORT_SYMBOL(migrate_device_pfn_lock);

/* For migrate_has_anon_vma(). False if the folio is not mapped. */
static bool hold_anon_vma(const struct migrate_vma *migrate,
			  struct folio *folio)
{
	if (migrate_has_anon_vma(migrate, folio))
		return folio_get_anon_vma(folio);
	return folio_mapped(folio);
}

/*
 * Skip folios that are not mapped: they are about to be freed. They may have
 * been migrated already, and their memory cgroup charge with them.
 */
static void drop_unmapped(struct migrate_vma *migrate)
{
	unsigned long i, nr;

	for (i = 0; i < migrate->npages; i += nr) {
		struct folio *folio = migrate_folio_of(migrate->src[i]);

		nr = migrate_entry_pages(migrate->src[i]);
		if (!folio || hold_anon_vma(migrate, folio))
			continue;
		migrate->src[i] = 0;
		migrate_let_go(migrate, folio);
	}
}

/**
 * migrate_device_unmap() - unmap pages that were locked for a migration
 * @src_pfns: entries from migrate_device_pfn_lock(), or 0
 * @npages: number of entries
 * @fault_page: the page of a CPU fault, or %NULL; the fault handler holds its
 *	lock and a reference. migrate_device_finalize() does not know of it, and
 *	must not be called for its entry.
 *
 * Pages that cannot be migrated are restored, and their entries set to 0.
 *
 * Context: Process context, may sleep.
 *
 * Return: the number of entries that will be migrated.
 */
unsigned long migrate_device_unmap(unsigned long *src_pfns,
				   unsigned long npages,
				   struct page *fault_page)
{
	struct migrate_vma migrate = without_vma(src_pfns, NULL, npages);

	migrate.fault_page = fault_page;
	drop_unmapped(&migrate);
	return migrate_unmap(&migrate);
}
EXPORT_SYMBOL(migrate_device_unmap);

/* Are the first @nr entries the consecutive pages of one folio? */
static bool is_all_listed(const struct folio *folio,
			  const unsigned long *pfns, unsigned long left)
{
	unsigned long i, nr = folio_nr_pages(folio);

	if (nr > left)
		return false;
	for (i = 0; i < nr; i++)
		if (pfns[i] != folio_pfn(folio) + i)
			return false;
	return true;
}

/* How many of the first entries are consecutive pages of the folio? */
static unsigned long pages_listed(const struct folio *folio,
				  const unsigned long *pfns, unsigned long left)
{
	unsigned long nr;

	for (nr = 1; nr < left; nr++)
		if (pfns[nr] != pfns[0] + nr ||
		    page_folio(pfn_to_page(pfns[nr])) != folio)
			break;
	return nr;
}

/*
 * Skip all pages of a folio that cannot be locked: its lock may be free by the
 * time that the next page is tried, and the rest of the folio would be split in
 * vain.
 */
static unsigned long leave_out(const struct folio *folio, unsigned long *pfns,
			       unsigned long left)
{
	unsigned long nr = folio ? pages_listed(folio, pfns, left) : 1;

	memset(pfns, 0, nr * sizeof(*pfns));
	return nr;
}

/* The folio is locked and referenced, and all of its pages are listed. */
static unsigned long take_whole(struct folio *folio, unsigned long *pfns)
{
	unsigned long nr = folio_nr_pages(folio);

	pfns[0] = entry_of(folio);
	memset(pfns + 1, 0, (nr - 1) * sizeof(*pfns));
	return nr;
}

/*
 * The folio is locked and referenced, and only some of its pages are listed:
 * split it. Others may lock the parts before they are locked again here.
 */
static unsigned long take_part(struct folio *folio, unsigned long *pfns,
			       unsigned long left)
{
	unsigned long nr;

	if (split_folio(folio)) {
		nr = leave_out(folio, pfns, left);
		drop_folio(folio);
		return nr;
	}
	drop_folio(folio);
	folio = take_folio(pfns[0]);
	if (folio && is_all_listed(folio, pfns, left))
		return take_whole(folio, pfns);
	if (folio)
		drop_folio(folio);
	pfns[0] = 0;
	return 1;
}

/*
 * Replace the page frame numbers of the first folio by its entry. Returns how
 * many entries are done.
 */
static unsigned long take_listed(unsigned long *pfns, unsigned long left)
{
	struct folio *folio = get_folio(pfns[0]);
	unsigned long nr;

	if (folio && lock_folio(folio, pfns[0]))
		return is_all_listed(folio, pfns, left) ?
			take_whole(folio, pfns) :
			take_part(folio, pfns, left);
	nr = leave_out(folio, pfns, left);
	if (folio)
		folio_put(folio);
	return nr;
}

/**
 * migrate_device_pfns() - begin to migrate pages of device memory
 * @src_pfns: page frame numbers; replaced by entries as from
 *	migrate_vma_setup()
 * @npages: number of entries
 *
 * A folio whose pages are all listed, in order, migrates as a whole. Other
 * large folios are split. The entries of pages that are free, locked or pinned
 * are 0.
 *
 * Context: Process context, may sleep.
 *
 * Return: 0.
 */
int migrate_device_pfns(unsigned long *src_pfns, unsigned long npages)
{
	unsigned long i = 0;

	while (i < npages)
		i += take_listed(src_pfns + i, npages - i);
	migrate_device_unmap(src_pfns, npages, NULL);
	return 0;
}
EXPORT_SYMBOL(migrate_device_pfns);

/**
 * migrate_device_range() - begin to migrate a range of device memory
 * @src_pfns: receives entries as from migrate_vma_setup()
 * @start: page frame number of the first page
 * @npages: number of pages
 *
 * As migrate_device_pfns() for all pages of the range. Folios that are only
 * partly in the range are split.
 *
 * Context: Process context, may sleep.
 *
 * Return: 0.
 */
int migrate_device_range(unsigned long *src_pfns, unsigned long start,
			 unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		src_pfns[i] = start + i;
	return migrate_device_pfns(src_pfns, npages);
}
EXPORT_SYMBOL(migrate_device_range);

/**
 * migrate_device_pages() - replace sources by destinations
 * @src_pfns: from migrate_device_range() or a similar function
 * @dst_pfns: destinations, as for migrate_vma_pages()
 * @npages: number of entries
 *
 * As migrate_vma_pages().
 *
 * Context: Process context, may sleep.
 */
void migrate_device_pages(unsigned long *src_pfns, unsigned long *dst_pfns,
			  unsigned long npages)
{
	struct migrate_vma migrate = without_vma(src_pfns, dst_pfns, npages);

	migrate_install(&migrate);
}
EXPORT_SYMBOL(migrate_device_pages);

/**
 * migrate_device_finalize() - map the pages again, migrated or not
 * @src_pfns: from migrate_device_pages()
 * @dst_pfns: likewise
 * @npages: number of entries
 *
 * As migrate_vma_finalize().
 *
 * Context: Process context, may sleep.
 */
void migrate_device_finalize(unsigned long *src_pfns, unsigned long *dst_pfns,
			     unsigned long npages)
{
	struct migrate_vma migrate = without_vma(src_pfns, dst_pfns, npages);

	migrate_finalize(&migrate);
}
EXPORT_SYMBOL(migrate_device_finalize);

/**
 * migrate_device_coherent_folio() - migrate a folio to system memory
 * @folio: coherent device memory; the caller's reference is dropped
 *
 * For GUP, before a long-term pin.
 *
 * Context: Process context, may sleep.
 *
 * Return: 0 if the folio has migrated or is not mapped any more, or -EBUSY if
 * it cannot be migrated now.
 */
int migrate_device_coherent_folio(struct folio *folio)
{
	unsigned long src, dst = 0;
	struct migrate_vma migrate = without_vma(&src, &dst, 1);
	struct folio *to;
	int ret = -EBUSY;

	folio_lock(folio);
	/* GUP retries, and finds what is mapped instead. */
	if (!hold_anon_vma(&migrate, folio)) {
		drop_folio(folio);
		return 0;
	}
	src = entry_of(folio);
	if (!migrate_unmap(&migrate))
		return -EBUSY;

	to = folio_alloc(GFP_USER | __GFP_NOWARN, folio_order(folio));
	if (to) {
		folio_lock(to);
		dst = entry_of(to) & ~MIGRATE_PFN_MIGRATE;
	}
	migrate_install(&migrate);
	if (migrate_state_of(src) == MIGRATE_TAKEN) {
		folio_copy(to, folio);
		ret = 0;
	}
	migrate_finalize(&migrate);
	return ret;
}
