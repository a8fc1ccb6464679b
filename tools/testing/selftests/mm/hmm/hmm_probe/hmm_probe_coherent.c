// SPDX-License-Identifier: GPL-2.0
/*
 * Coherent memory of the probe's own: physical memory that the kernel leaves alone,
 * and that a test says where to find. It is the device's from then on. The driver
 * has no callback for splits, as those of 7.3 with coherent memory have none.
 */
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/numa.h>
#include <linux/spinlock.h>

#include "hmm_probe_move.h"

#define NR_PAGES	HMM_MOVE_COHERENT_PAGES

static DEFINE_MUTEX(map_lock);		/* is_mapped, until exit */
static bool is_mapped;

static DEFINE_SPINLOCK(coherent_lock);	/* used and state */
static DECLARE_BITMAP(used, NR_PAGES);
static struct probe_memory_state state;

static void coherent_free(struct folio *folio);

static const struct dev_pagemap_ops coherent_ops = {
	.folio_free = coherent_free,
};

static struct dev_pagemap coherent_pagemap = {
	.type = MEMORY_DEVICE_COHERENT,
	.nr_range = 1,
	.ops = &coherent_ops,
	.owner = &probe_pagemap,
};

static unsigned long first_pfn(void)
{
	return PHYS_PFN(coherent_pagemap.range.start);
}

/* Pages in use hold the module together. */
static void count_in_use(long pages)
{
	u64 before = state.in_use;

	lockdep_assert_held(&coherent_lock);
	state.in_use += pages;
	if (!before)
		__module_get(THIS_MODULE);
	else if (!state.in_use)
		module_put(THIS_MODULE);
}

static void coherent_free(struct folio *folio)
{
	unsigned long at = folio_pfn(folio) - first_pfn();
	unsigned long nr = folio_nr_pages(folio);
	bool locked = folio_test_locked(folio);

	if (nr > 1)
		probe_memory_dissolve(folio, &coherent_pagemap);
	guard(spinlock_irqsave)(&coherent_lock);
	bitmap_clear(used, at, nr);
	count_in_use(-(long)nr);
	state.freed_locked += locked;
}

static unsigned long take_pages(unsigned long nr)
{
	unsigned long at;

	guard(spinlock_irqsave)(&coherent_lock);
	at = bitmap_find_next_zero_area(used, NR_PAGES, 0, nr, nr - 1);
	if (at >= NR_PAGES)
		return NR_PAGES;
	bitmap_set(used, at, nr);
	count_in_use(nr);
	return at;
}

/* A locked folio, or NULL */
struct folio *probe_coherent_alloc(unsigned int order)
{
	unsigned long at;

	if (!READ_ONCE(is_mapped))
		return NULL;
	at = take_pages(1UL << order);
	if (at == NR_PAGES)
		return NULL;
	return probe_memory_folio(&coherent_pagemap, first_pfn() + at, order);
}

bool probe_coherent_has(u64 pfn, u64 npages)
{
	return READ_ONCE(is_mapped) && pfn >= first_pfn() &&
	       npages <= NR_PAGES && pfn - first_pfn() <= NR_PAGES - npages;
}

struct probe_memory_state probe_coherent_look(void)
{
	guard(spinlock_irqsave)(&coherent_lock);
	return state;
}

/* From @start on, once and for all */
int probe_coherent_map(u64 start)
{
	void *mapped;

	guard(mutex)(&map_lock);
	if (is_mapped)
		return start == coherent_pagemap.range.start ? 0 : -EBUSY;
	if (!start || !IS_ALIGNED(start, HPAGE_PMD_SIZE))
		return -EINVAL;
	coherent_pagemap.range.start = start;
	coherent_pagemap.range.end = start + NR_PAGES * PAGE_SIZE - 1;
	mapped = memremap_pages(&coherent_pagemap, NUMA_NO_NODE);
	if (IS_ERR(mapped))
		return PTR_ERR(mapped);
	WRITE_ONCE(is_mapped, true);
	return 0;
}

void probe_coherent_exit(void)
{
	if (is_mapped)
		memunmap_pages(&coherent_pagemap);
}
