// SPDX-License-Identifier: GPL-2.0
/*
 * Device memory of the module's own: page frames without memory, as nothing is
 * copied. There is a pool for each order of folio. A folio may be split
 * while it is in use; its place is free when all parts are.
 */
#include <linux/err.h>
#include <linux/ioport.h>
#include <linux/lockdep.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/numa.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>

#include "hmm_bench.h"

#define POOL_PAGES	(SZ_16M >> PAGE_SHIFT)

/**
 * struct bench_pool - the folios of one order
 * @order: this
 * @nr_free: how many places are free
 * @free: which
 * @used: how many pages of each place are in use
 */
struct bench_pool {
	unsigned int order;
	unsigned int nr_free;
	unsigned short free[POOL_PAGES];
	unsigned short used[POOL_PAGES];
};

static struct bench_pool pools[] = {
	{ .order = 0 }, { .order = 4 }, { .order = 7 }, { .order = 9 },
};

/* All of what follows: what is free, and how many pages are not */
static DEFINE_SPINLOCK(pools_lock);
static unsigned long pages_in_use;

/* Each page in use needs the module; they hold it together. */
static void count_in_use(long pages)
{
	unsigned long before = pages_in_use;

	lockdep_assert_held(&pools_lock);
	pages_in_use += pages;
	if (!before)
		__module_get(THIS_MODULE);
	else if (!pages_in_use)
		module_put(THIS_MODULE);
}

static void pool_free(struct folio *folio)
{
	unsigned long page = folio_pfn(folio) -
			     PHYS_PFN(bench_pagemap.range.start);
	struct bench_pool *pool = &pools[page / POOL_PAGES];
	unsigned int place = page % POOL_PAGES >> pool->order;
	unsigned int nr = folio_nr_pages(folio);

	spin_lock(&pools_lock);
	pool->used[place] -= nr;
	if (!pool->used[place])
		pool->free[pool->nr_free++] = place;
	count_in_use(-(long)nr);
	spin_unlock(&pools_lock);
}

static const struct dev_pagemap_ops bench_pagemap_ops = {
	.folio_free = pool_free,
	.migrate_to_ram = bench_migrate_to_ram,
};

struct dev_pagemap bench_pagemap = {
	.type = MEMORY_DEVICE_PRIVATE,
	.nr_range = 1,
	.ops = &bench_pagemap_ops,
	.owner = &bench_pagemap,
	.flags = BENCH_PGMAP_FLAGS,
};

static struct bench_pool *pool_of(unsigned int order)
{
	struct bench_pool *pool;

	for (pool = pools; pool < pools + ARRAY_SIZE(pools); pool++)
		if (pool->order == order)
			return pool;
	return NULL;
}

/* Returns the number of a page of the device, negative if there is none. */
static long pool_alloc(struct bench_pool *pool)
{
	unsigned int place;

	guard(spinlock)(&pools_lock);
	if (!pool->nr_free)
		return -ENOMEM;
	place = pool->free[--pool->nr_free];
	pool->used[place] = 1U << pool->order;
	count_in_use(1L << pool->order);
	return (pool - pools) * POOL_PAGES + (place << pool->order);
}

/* A folio, locked, or NULL */
struct folio *bench_device_alloc(unsigned int order)
{
	struct bench_pool *pool = pool_of(order);
	long page = pool ? pool_alloc(pool) : -EINVAL;
	struct folio *folio;

	if (page < 0)
		return NULL;
	folio = pfn_folio(PHYS_PFN(bench_pagemap.range.start) + page);
	zone_device_folio_init(folio, &bench_pagemap, order);
	return folio;
}

static void fill(struct bench_pool *pool)
{
	unsigned int place;

	for (place = 0; place < POOL_PAGES >> pool->order; place++)
		pool->free[pool->nr_free++] = place;
}

int bench_device_init(void)
{
	struct resource *frames;
	unsigned int i;
	void *mapped;

	frames = request_free_mem_region(&iomem_resource,
					 ARRAY_SIZE(pools) * SZ_16M,
					 "hmm_bench");
	if (IS_ERR(frames))
		return PTR_ERR(frames);
	bench_pagemap.range.start = frames->start;
	bench_pagemap.range.end = frames->end;
	mapped = memremap_pages(&bench_pagemap, NUMA_NO_NODE);
	if (IS_ERR(mapped)) {
		release_mem_region(frames->start, resource_size(frames));
		return PTR_ERR(mapped);
	}
	for (i = 0; i < ARRAY_SIZE(pools); i++)
		fill(&pools[i]);
	return 0;
}

void bench_device_exit(void)
{
	const struct range *range = &bench_pagemap.range;

	memunmap_pages(&bench_pagemap);
	release_mem_region(range->start, range_len(range));
}
