// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * migrate_device_*(): migrate pages of device memory by page frame number,
 * wherever they are mapped. See migrate.h for the stages. Without a VMA there
 * is no collect; the functions of this file lock the folios.
 */
#include <linux/export.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../internal.h"
#include "migrate.h"

#include <trace/events/migrate_device.h>

static struct migrate_vma migrate_device_init(unsigned long *src,
					      unsigned long *dst,
					      unsigned long npages)
{
	return (struct migrate_vma) {
		.src = src,
		.dst = dst,
		.npages = npages,
	};
}

/* By page frame, locking folios is what collect does otherwise. */
static void migrate_device_refuse(unsigned long pfn, unsigned long npages,
				  enum migrate_refusal why)
{
	trace_migrate_refuse(0, pfn, npages, MIGRATE_COLLECT, why);
}

/* The folio of a page in use, referenced, or NULL */
static struct folio *migrate_device_get_folio(unsigned long pfn)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));

	return folio_try_get(folio) ? folio : NULL;
}

/* Fails if the folio was split, freed or reused before it was referenced. */
static bool migrate_device_trylock(struct folio *folio, unsigned long pfn)
{
	if (!folio_trylock(folio))
		return false;
	if (page_folio(pfn_to_page(pfn)) == folio &&
	    migrate_folio_has_pfn(folio, pfn))
		return true;
	folio_unlock(folio);
	return false;
}

static void migrate_device_put_folio(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

/* The folio of a page in use, locked and referenced, or NULL */
static struct folio *migrate_device_lock_folio(unsigned long pfn)
{
	struct folio *folio = migrate_device_get_folio(pfn);

	if (folio && !migrate_device_trylock(folio, pfn)) {
		folio_put(folio);
		folio = NULL;
	}
	return folio;
}

static unsigned long migrate_device_entry(struct folio *folio)
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
	 * If ours is the last reference by now, the folio is no longer locked:
	 * the holder of the lock had a reference. In that case, keep ours and
	 * lock the folio; migrate_device_unmap() will free it.
	 */
	while (!folio_trylock(folio)) {
		if (!atomic_add_unless(&folio->_refcount, -1, 1))
			continue;
		migrate_device_refuse(pfn, 1, MIGRATE_LOCKED);
		return 0;
	}
	return migrate_device_entry(folio);
}
EXPORT_SYMBOL(migrate_device_pfn_lock);

/* See migrate_has_anon_vma(). False if the folio is not mapped. */
static bool migrate_device_get_anon_vma(const struct migrate_vma *migrate,
					struct folio *folio)
{
	if (migrate_has_anon_vma(migrate, folio))
		return folio_get_anon_vma(folio);
	return folio_mapped(folio);
}

/*
 * Skip folios that are not mapped. They are about to be freed, and may have
 * lost their memory cgroup charge already, to the destination of a migration.
 */
static void migrate_device_skip_unmapped(struct migrate_vma *migrate)
{
	unsigned long i, nr;

	for (i = 0; i < migrate->npages; i += nr) {
		struct folio *folio = migrate_folio_of(migrate->src[i]);

		nr = migrate_entry_pages(migrate->src[i]);
		if (!folio || migrate_device_get_anon_vma(migrate, folio))
			continue;
		migrate->src[i] = 0;
		migrate_put_folio(migrate, folio);
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
	struct migrate_vma migrate =
		migrate_device_init(src_pfns, NULL, npages);

	migrate.fault_page = fault_page;
	migrate_device_skip_unmapped(&migrate);
	return migrate_unmap(&migrate);
}
EXPORT_SYMBOL(migrate_device_unmap);

/* Do the first of the @left entries list all pages of the folio, in order? */
static bool migrate_device_is_all_listed(const struct folio *folio,
					 const unsigned long *pfns,
					 unsigned long left)
{
	unsigned long i, nr = folio_nr_pages(folio);

	if (nr > left)
		return false;
	for (i = 0; i < nr; i++)
		if (pfns[i] != folio_pfn(folio) + i)
			return false;
	return true;
}

/*
 * How many of the @left entries, from the first on, are consecutive pages of
 * the folio?
 */
static unsigned long migrate_device_count_listed(const struct folio *folio,
						 const unsigned long *pfns,
						 unsigned long left)
{
	unsigned long nr;

	for (nr = 1; nr < left; nr++)
		if (pfns[nr] != pfns[0] + nr ||
		    page_folio(pfn_to_page(pfns[nr])) != folio)
			break;
	return nr;
}

/*
 * Skip all pages of a folio that cannot be locked. If only the first one were
 * skipped, and the lock were free when the next page is tried, the folio would
 * be split, because not all of it is listed any more.
 */
static unsigned long migrate_device_skip(const struct folio *folio,
					 unsigned long *pfns,
					 unsigned long left,
					 enum migrate_refusal why)
{
	unsigned long nr = 1;

	if (folio) {
		nr = migrate_device_count_listed(folio, pfns, left);
		migrate_device_refuse(pfns[0], nr, why);
	}
	memset(pfns, 0, nr * sizeof(*pfns));
	return nr;
}

/* The folio is locked and referenced, and all of its pages are listed. */
static unsigned long migrate_device_list_whole(struct folio *folio,
					       unsigned long *pfns)
{
	unsigned long nr = folio_nr_pages(folio);

	pfns[0] = migrate_device_entry(folio);
	memset(pfns + 1, 0, (nr - 1) * sizeof(*pfns));
	return nr;
}

/*
 * The folio is locked and referenced, and only some of its pages are listed:
 * split it. Other tasks may lock the parts before this locks the first one
 * again.
 */
static unsigned long migrate_device_list_part(struct folio *folio,
					      unsigned long *pfns,
					      unsigned long left)
{
	unsigned long nr;

	if (split_folio(folio)) {
		nr = migrate_device_skip(folio, pfns, left, MIGRATE_UNSPLIT);
		migrate_device_put_folio(folio);
		return nr;
	}
	migrate_device_put_folio(folio);
	folio = migrate_device_lock_folio(pfns[0]);
	if (folio && migrate_device_is_all_listed(folio, pfns, left))
		return migrate_device_list_whole(folio, pfns);
	if (folio)
		migrate_device_put_folio(folio);
	migrate_device_refuse(pfns[0], 1, MIGRATE_LOCKED);
	pfns[0] = 0;
	return 1;
}

/*
 * Replace the page frame numbers of the first folio by its entry. Returns the
 * number of entries processed.
 */
static unsigned long migrate_device_list_folio(unsigned long *pfns,
					       unsigned long left)
{
	struct folio *folio = migrate_device_get_folio(pfns[0]);
	unsigned long nr;

	if (folio && migrate_device_trylock(folio, pfns[0]))
		return migrate_device_is_all_listed(folio, pfns, left) ?
			migrate_device_list_whole(folio, pfns) :
			migrate_device_list_part(folio, pfns, left);
	nr = migrate_device_skip(folio, pfns, left, MIGRATE_LOCKED);
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
		i += migrate_device_list_folio(src_pfns + i, npages - i);
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
	struct migrate_vma migrate =
		migrate_device_init(src_pfns, dst_pfns, npages);

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
	struct migrate_vma migrate =
		migrate_device_init(src_pfns, dst_pfns, npages);

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
	struct migrate_vma migrate = migrate_device_init(&src, &dst, 1);
	struct folio *to;
	int ret = -EBUSY;

	folio_lock(folio);
	/* GUP retries, and finds the page that is mapped instead. */
	if (!migrate_device_get_anon_vma(&migrate, folio)) {
		migrate_device_put_folio(folio);
		return 0;
	}
	src = migrate_device_entry(folio);
	if (!migrate_unmap(&migrate))
		return -EBUSY;

	to = folio_alloc(GFP_USER | __GFP_NOWARN, folio_order(folio));
	if (to) {
		folio_lock(to);
		dst = migrate_device_entry(to) & ~MIGRATE_PFN_MIGRATE;
	}
	migrate_install(&migrate);
	if (migrate_state_of(src) == MIGRATE_ENTRY_LOCKED) {
		folio_copy(to, folio);
		ret = 0;
	}
	migrate_finalize(&migrate);
	return ret;
}
