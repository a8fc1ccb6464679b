// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fill: destinations for the pages that can migrate, and what must be copied to
 * them.
 *
 * If there is no folio of the order of a source, several smaller ones take its
 * place, and install splits the source. It does so in the order of the entries,
 * each time into equal parts: so the destinations of a source never become
 * larger again. A source gets destinations for all of its pages, or none.
 */
#include <linux/export.h>
#include <linux/gfp.h>
#include <linux/log2.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>

#include "migrate.h"

/**
 * struct migrate_filler - one call
 * @migrate: the migration
 * @alloc: the driver's, or %NULL for system memory
 * @arg: for @alloc
 */
struct migrate_filler {
	struct migrate_vma *migrate;
	migrate_alloc_fn alloc;
	void *arg;
};

/* A CPU fault waits, and fails if its small page cannot be allocated. */
static gfp_t migrate_fill_gfp(const struct migrate_vma *migrate,
			      unsigned int order)
{
	if (order)
		return GFP_HIGHUSER_MOVABLE | __GFP_NORETRY | __GFP_NOWARN;
	if (migrate->fault_page)
		return GFP_HIGHUSER_MOVABLE;
	return GFP_HIGHUSER_MOVABLE | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
}

static struct folio *migrate_fill_system(const struct migrate_vma *migrate,
					 unsigned long i, unsigned int order)
{
	gfp_t gfp = migrate_fill_gfp(migrate, order);
	struct folio *folio;

	if (migrate->vma)
		folio = vma_alloc_folio(gfp, order, migrate->vma,
					migrate->start + (i << PAGE_SHIFT));
	else
		folio = folio_alloc(gfp, order);
	if (folio)
		folio_lock(folio);
	return folio;
}

static struct folio *migrate_fill_alloc(const struct migrate_filler *f,
					unsigned long i, unsigned int order)
{
	struct folio *folio = f->alloc ? f->alloc(f->arg, order) :
				migrate_fill_system(f->migrate, i, order);

	VM_WARN_ON_ONCE_FOLIO(folio && folio_order(folio) != order, folio);
	VM_WARN_ON_ONCE_FOLIO(folio && !folio_test_locked(folio), folio);
	return folio;
}

/* The largest folio that a hole may become, of at most this order */
static unsigned int migrate_fill_hole_order(const struct migrate_filler *f,
					    unsigned int max)
{
	struct vm_area_struct *vma = f->migrate->vma;
	unsigned long orders = 0;

	if (max)
		orders = thp_vma_allowable_orders(vma, vma->vm_flags,
						  TVA_PAGEFAULT,
						  BIT(max + 1) - 1);
	return orders ? ilog2(orders) : 0;
}

/*
 * The next smaller order that the source can be split into: no anonymous folio
 * has two pages, and those in the swap cache and the page cache are only split
 * into pages. Of system memory, only orders that are cheap to get are tried.
 */
static unsigned int migrate_fill_next_order(const struct migrate_filler *f,
					    struct folio *from,
					    unsigned int order)
{
	if (!from)
		return migrate_fill_hole_order(f, order - 1);
	if (!folio_test_anon(from) || folio_test_swapcache(from))
		return 0;
	if (!f->alloc && order > PAGE_ALLOC_COSTLY_ORDER)
		return PAGE_ALLOC_COSTLY_ORDER;
	return order > 2 ? order - 1 : 0;
}

/* Destinations for the @nr pages of entry @i; all or none */
static bool migrate_fill_entry(const struct migrate_filler *f, unsigned long i,
			       unsigned long nr)
{
	unsigned long *dst = f->migrate->dst + i, done = 0;
	struct folio *from = migrate_folio_of(f->migrate->src[i]);
	unsigned int order;

	order = from ? ilog2(nr) : migrate_fill_hole_order(f, ilog2(nr));
	while (done < nr) {
		struct folio *to = migrate_fill_alloc(f, i + done, order);

		if (to) {
			dst[done] = migrate_pfn(folio_pfn(to));
			if (order)
				dst[done] |= MIGRATE_PFN_COMPOUND;
			done += 1UL << order;
		} else if (order) {
			order = migrate_fill_next_order(f, from, order);
		} else {
			migrate_discard(dst, done);
			return false;
		}
	}
	return true;
}

/**
 * migrate_fill() - allocate destinations for all pages that can migrate
 * @migrate: from migrate_vma_setup(); or with src, dst and npages alone, for
 *	entries of migrate_device_range() and similar functions
 * @holes: fill holes, too; false if the destination is system memory, which
 *	would only be wasted
 * @alloc: allocates a folio; %NULL to allocate system memory, by the policy of
 *	the VMA
 * @arg: for @alloc
 *
 * If there is no folio as large as a source, smaller ones are allocated for it,
 * down to pages, so that the core splits it. A hole of the size of a PMD is
 * filled with large folios only where a CPU fault could do that.
 *
 * Context: Process context, may sleep. Between migrate_vma_setup() and
 * migrate_vma_pages(), or the similar functions by page frame number.
 *
 * Return: the number of pages for which @alloc failed. They do not migrate.
 */
unsigned long migrate_fill(struct migrate_vma *migrate, bool holes,
			   migrate_alloc_fn alloc, void *arg)
{
	const struct migrate_filler f = {
		.migrate = migrate,
		.alloc = alloc,
		.arg = arg,
	};
	unsigned long i, nr, failed = 0;

	for (i = 0; i < migrate->npages; i += nr) {
		enum migrate_state state = migrate_state_of(migrate->src[i]);

		nr = migrate_entry_pages(migrate->src[i]);
		if (state != MIGRATE_ENTRY_LOCKED &&
		    (state != MIGRATE_ENTRY_HOLE || !holes))
			continue;
		if (!migrate_fill_entry(&f, i, nr))
			failed += nr;
		cond_resched();
	}
	return failed;
}
EXPORT_SYMBOL_GPL(migrate_fill);

/**
 * migrate_discard() - free destinations that are not used
 * @dst: entries of &migrate_vma.dst; 0 afterwards
 * @npages: number of entries
 *
 * If a source has several destinations, all of them must be discarded.
 *
 * Context: Process context, before migrate_vma_pages().
 */
void migrate_discard(unsigned long *dst, unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages; i++) {
		struct folio *folio = migrate_folio_of(dst[i]);

		dst[i] = 0;
		if (!folio)
			continue;
		folio_unlock(folio);
		folio_put(folio);
	}
}
EXPORT_SYMBOL_GPL(migrate_discard);

/**
 * migrate_run_next() - find the next pages to copy, see for_each_migrate_run()
 * @run: all 0 before the first call
 * @src: the sources
 * @dst: their destinations
 * @npages: number of entries of both
 *
 * Context: As &migrate_copy_fn.
 *
 * Return: true if there is a run.
 */
bool migrate_run_next(struct migrate_run *run, const unsigned long *src,
		      const unsigned long *dst, unsigned long npages)
{
	unsigned long i;

	for (i = run->next; i < npages; i++) {
		struct page *from, *to = migrate_pfn_to_page(dst[i]);
		unsigned long left, nr;

		/* The other entries of a large source are 0. */
		if (src[i] & MIGRATE_PFN_MIGRATE)
			run->source = i;
		if (!to)
			continue;
		from = migrate_pfn_to_page(src[run->source]);
		left = migrate_entry_pages(src[run->source]) -
		       (i - run->source);
		nr = folio_nr_pages(page_folio(to));
		run->from = from ? from + (i - run->source) : NULL;
		run->to = to;
		run->nr = from ? min(nr, left) : nr;
		run->index = i;
		run->next = i + run->nr;
		return true;
	}
	return false;
}
EXPORT_SYMBOL_GPL(migrate_run_next);
