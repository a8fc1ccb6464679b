// SPDX-License-Identifier: GPL-2.0
/*
 * Private memory of the probe's own. The data of a page is found by its place, so
 * that it does not matter what folio it is in: the memory consists of blocks of
 * the size of the largest folio, each of which has an array once it was used.
 *
 * There is nothing of all this before the device is opened for the first time.
 */
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/ioport.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/numa.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "hmm_probe_move.h"

#define NR_PAGES	HMM_MOVE_DEVICE_PAGES

static DEFINE_MUTEX(blocks_lock);	/* the following, as far as they grow */
static void *blocks[NR_PAGES / HPAGE_PMD_NR];
static bool is_mapped;

/* All of what follows; in front of @lowest no page is free. */
static DEFINE_SPINLOCK(memory_lock);
static DECLARE_BITMAP(used, NR_PAGES);
static unsigned long lowest;
static struct probe_memory_state state;

/* The second is the watched task's. */
static const struct task_struct *watched;
static u64 freed_by_watched;

static unsigned long first_pfn(void)
{
	return PHYS_PFN(probe_pagemap.range.start);
}

static void *data_of(const struct page *page)
{
	unsigned long at = page_to_pfn(page) - first_pfn();

	return blocks[at / HPAGE_PMD_NR] + at % HPAGE_PMD_NR * PAGE_SIZE;
}

/* Each page in use needs the module; they hold it together. */
static void count_in_use(long pages)
{
	u64 before = state.in_use;

	lockdep_assert_held(&memory_lock);
	state.in_use += pages;
	if (!before)
		__module_get(THIS_MODULE);
	else if (!state.in_use)
		module_put(THIS_MODULE);
}

/* Of free pages, locked */
struct folio *probe_memory_folio(struct dev_pagemap *pagemap, unsigned long pfn,
				 unsigned int order)
{
#ifdef MIGRATE_VMA_SELECT_FOLIOS
	return migrate_device_folio(pagemap, pfn, order);
#else
	struct folio *folio = pfn_folio(pfn);

	zone_device_folio_init(folio, pagemap, order);
	return folio;
#endif
}

/*
 * On 7.3, a free page must not look like part of a folio when memory is scanned.
 * Otherwise it may: migrate_device_folio() and migrate_device_range() cope.
 */
void probe_memory_dissolve(struct folio *folio, struct dev_pagemap *pagemap)
{
	unsigned long i, nr = folio_nr_pages(folio);

	if (SELECT_FOLIOS)
		return;
	folio_reset_order(folio);
	ClearPageHead(&folio->page);
	for (i = 1; i < nr; i++) {
		struct page *page = folio_page(folio, i);

		clear_compound_head(page);
		set_page_private(page, 0);
		((struct folio *)page)->pgmap = pagemap;
	}
}

static void memory_free(struct folio *folio)
{
	unsigned long at = folio_pfn(folio) - first_pfn();
	unsigned long flags, nr = folio_nr_pages(folio);
	bool locked = folio_test_locked(folio);

	if (nr > 1)
		probe_memory_dissolve(folio, &probe_pagemap);
	spin_lock_irqsave(&memory_lock, flags);
	bitmap_clear(used, at, nr);
	lowest = min(lowest, at);
	count_in_use(-(long)nr);
	state.freed_locked += locked;
	if (READ_ONCE(watched) == current)
		freed_by_watched++;
	spin_unlock_irqrestore(&memory_lock, flags);
}

static const struct dev_pagemap_ops memory_ops = {
	.folio_free = memory_free,
	.migrate_to_ram = probe_serve,
};

struct dev_pagemap probe_pagemap = {
	.type = MEMORY_DEVICE_PRIVATE,
	.nr_range = 1,
	.ops = &memory_ops,
	.owner = &probe_pagemap,
};

/* Returns the first of them, or NR_PAGES. */
static unsigned long take_pages(unsigned long nr)
{
	unsigned long at;

	guard(spinlock_irqsave)(&memory_lock);
	at = bitmap_find_next_zero_area(used, NR_PAGES, lowest, nr, nr - 1);
	if (at >= NR_PAGES)
		return NR_PAGES;
	bitmap_set(used, at, nr);
	count_in_use(nr);
	if (nr == 1)
		lowest = at + 1;
	return at;
}

static void give_pages(unsigned long at, unsigned long nr)
{
	guard(spinlock_irqsave)(&memory_lock);
	bitmap_clear(used, at, nr);
	lowest = min(lowest, at);
	count_in_use(-(long)nr);
}

static bool has_block(unsigned long at)
{
	void **block = &blocks[at / HPAGE_PMD_NR];

	guard(mutex)(&blocks_lock);
	if (!*block)
		*block = kvmalloc(HPAGE_PMD_SIZE, GFP_KERNEL | __GFP_NOWARN);
	return *block;
}

/* A folio from as far in front as there is one, locked; or NULL */
struct folio *probe_memory_alloc(unsigned int order)
{
	unsigned long nr = 1UL << order, at = take_pages(nr);

	if (at == NR_PAGES)
		return NULL;
	if (!has_block(at)) {
		give_pages(at, nr);
		return NULL;
	}
	return probe_memory_folio(&probe_pagemap, first_pfn() + at, order);
}

static void copy_page_data(struct page *to, struct page *from)
{
	bool to_device = is_device_private_page(to);
	bool from_device = is_device_private_page(from);
	void *target = to_device ? data_of(to) : kmap_local_page(to);
	void *source = from_device ? data_of(from) : kmap_local_page(from);

	memcpy(target, source, PAGE_SIZE);
	if (!from_device)
		kunmap_local(source);
	if (!to_device)
		kunmap_local(target);
}

/* From consecutive pages; zeroes if there are none */
void probe_memory_copy(struct folio *to, struct page *from)
{
	unsigned long i, nr = folio_nr_pages(to);

	if (!from && folio_is_device_private(to))
		memset(data_of(&to->page), 0, nr * PAGE_SIZE);
	else if (!from)
		folio_zero_range(to, 0, folio_size(to));
	else
		for (i = 0; i < nr; i++)
			copy_page_data(folio_page(to, i), from + i);
}

bool probe_memory_has(u64 pfn, u64 npages)
{
	return pfn >= first_pfn() && npages <= NR_PAGES &&
	       pfn - first_pfn() <= NR_PAGES - npages;
}

u64 probe_memory_backed(void)
{
	unsigned long i;
	u64 nr = 0;

	guard(mutex)(&blocks_lock);
	for (i = 0; i < ARRAY_SIZE(blocks); i++)
		nr += blocks[i] ? HPAGE_PMD_NR : 0;
	return nr;
}

struct probe_memory_state probe_memory_look(void)
{
	guard(spinlock_irqsave)(&memory_lock);
	return state;
}

/* Count what the current task frees from now on. One task does so at a time. */
void probe_memory_watch(void)
{
	freed_by_watched = 0;
	WRITE_ONCE(watched, current);
}

u64 probe_memory_unwatch(void)
{
	WRITE_ONCE(watched, NULL);
	return freed_by_watched;
}

void probe_memory_forgive(void)
{
	guard(spinlock_irqsave)(&memory_lock);
	state.freed_locked = 0;
}

static int memory_map(void)
{
	struct resource *frames;
	void *mapped;

	frames = request_free_mem_region(&iomem_resource, NR_PAGES * PAGE_SIZE,
					 "hmm_probe");
	if (IS_ERR(frames))
		return PTR_ERR(frames);
	probe_pagemap.range.start = frames->start;
	probe_pagemap.range.end = frames->end;
	mapped = memremap_pages(&probe_pagemap, NUMA_NO_NODE);
	if (!IS_ERR(mapped))
		return 0;
	release_mem_region(frames->start, resource_size(frames));
	return PTR_ERR(mapped);
}

/* Before the first use */
int probe_memory_init(void)
{
	int rc = 0;

	guard(mutex)(&blocks_lock);
	if (!is_mapped)
		rc = memory_map();
	is_mapped = !rc;
	return rc;
}

void probe_memory_exit(void)
{
	const struct range *range = &probe_pagemap.range;
	unsigned long i;

	if (!is_mapped)
		return;
	memunmap_pages(&probe_pagemap);
	release_mem_region(range->start, range_len(range));
	for (i = 0; i < ARRAY_SIZE(blocks); i++)
		kvfree(blocks[i]);
}
