// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Migration to VRAM and back: destinations, CPU faults and eviction */
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/migrate.h>
#include <linux/sched/signal.h>

#include "nouveau_dmem_chunk.h"
#include "nouveau_drv.h"

/* A batch of an eviction: what the largest folio has */
#define NOUVEAU_DMEM_EVICT	(PMD_SIZE >> PAGE_SHIFT)
/* Passes that may evict nothing; the last pause after one is 2^9 ms. */
#define NOUVEAU_DMEM_IDLE	10

static bool nouveau_dmem_is_to_vram(const struct migrate_vma *migrate)
{
	return migrate->flags & MIGRATE_VMA_SELECT_SYSTEM;
}

/* Only anonymous memory can go to VRAM. A hole may become such. */
static bool nouveau_dmem_may_move(const struct migrate_vma *migrate,
				  unsigned long src)
{
	struct page *page = migrate_pfn_to_page(src);
	struct folio *folio;

	if (!(src & MIGRATE_PFN_MIGRATE))
		return false;
	if (!nouveau_dmem_is_to_vram(migrate))
		return page;
	if (!page)
		return true;
	folio = page_folio(page);
	return folio_test_anon(folio) && !folio_test_ksm(folio);
}

/* Of the pages that an entry stands for */
static unsigned int nouveau_dmem_order(unsigned long src)
{
	struct page *page = migrate_pfn_to_page(src);

	if (!(src & MIGRATE_PFN_COMPOUND))
		return 0;
	return page ? folio_order(page_folio(page)) : PMD_ORDER;
}

/* Are huge pages not switched off where a hole may become one? */
static bool nouveau_dmem_is_huge_allowed(const struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_NOHUGEPAGE ||
	    mm_flags_test(MMF_DISABLE_THP_COMPLETELY, vma->vm_mm))
		return false;
	return vma->vm_flags & VM_HUGEPAGE ||
	       !mm_flags_test(MMF_DISABLE_THP_EXCEPT_ADVISED, vma->vm_mm);
}

/*
 * A CPU fault waits for its page. Without a VMA, a huge page cannot be split,
 * so one is worth waiting for.
 */
static gfp_t nouveau_dmem_gfp(const struct migrate_vma *migrate,
			      unsigned int order)
{
	if (!migrate->vma)
		return GFP_HIGHUSER_MOVABLE | __GFP_RETRY_MAYFAIL |
		       __GFP_NOWARN;
	if (order)
		return GFP_HIGHUSER_MOVABLE | __GFP_NORETRY | __GFP_NOWARN;
	if (migrate->fault_page)
		return GFP_HIGHUSER_MOVABLE;
	return GFP_HIGHUSER_MOVABLE | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
}

/* A destination for entry @i, locked, as an entry of &migrate_vma.dst, or 0 */
static unsigned long nouveau_dmem_new_dst(struct nouveau_drm *drm,
					  const struct migrate_vma *migrate,
					  unsigned long i, unsigned int order)
{
	gfp_t gfp = nouveau_dmem_gfp(migrate, order);
	struct folio *folio;

	if (nouveau_dmem_is_to_vram(migrate))
		folio = nouveau_dmem_alloc(drm, order);
	else if (migrate->vma)
		folio = vma_alloc_folio(gfp, order, migrate->vma,
					migrate->start + i * PAGE_SIZE);
	else
		folio = folio_alloc(gfp, order);
	if (!folio)
		return 0;
	if (!nouveau_dmem_is_to_vram(migrate))
		folio_lock(folio);
	return migrate_pfn(folio_pfn(folio)) |
	       (order ? MIGRATE_PFN_COMPOUND : 0);
}

static void nouveau_dmem_discard(unsigned long *dst, unsigned long npages)
{
	for (unsigned long i = 0; i < npages; i++) {
		struct page *page = migrate_pfn_to_page(dst[i]);

		dst[i] = 0;
		if (!page)
			continue;
		unlock_page(page);
		put_page(page);
	}
}

/*
 * Destinations for entry @i: a folio as large, or else pages for all that it
 * stands for, to which migrate_vma_pages() splits the source.
 */
static bool nouveau_dmem_fill_entry(struct nouveau_drm *drm,
				    struct migrate_vma *migrate,
				    unsigned long i, unsigned int order)
{
	unsigned long *dst = migrate->dst + i;

	if (migrate->src[i] & MIGRATE_PFN_VALID ||
	    (order && nouveau_dmem_is_huge_allowed(migrate->vma))) {
		dst[0] = nouveau_dmem_new_dst(drm, migrate, i, order);
		if (dst[0] || !order || !migrate->vma)
			return dst[0];
	}
	for (unsigned long done = 0; done < 1UL << order; done++) {
		dst[done] = nouveau_dmem_new_dst(drm, migrate, i + done, 0);
		if (!dst[done]) {
			nouveau_dmem_discard(dst, done);
			return false;
		}
	}
	return true;
}

/* Is there a destination for all that may move? */
static bool nouveau_dmem_fill(struct nouveau_drm *drm,
			      struct migrate_vma *migrate)
{
	unsigned int order;
	bool all = true;

	for (unsigned long i = 0; i < migrate->npages; i += 1UL << order) {
		order = nouveau_dmem_order(migrate->src[i]);
		if (nouveau_dmem_may_move(migrate, migrate->src[i]) &&
		    !nouveau_dmem_fill_entry(drm, migrate, i, order))
			all = false;
	}
	return all;
}

/* Copy what is not lost. Pages that are lost stay where they are. */
static int nouveau_dmem_copy_rest(void *arg, const unsigned long *src,
				  unsigned long *dst, unsigned long npages)
{
	struct nouveau_dmem_run run = {};

	/* All pages of a source are in one chunk: all or none are discarded. */
	while (nouveau_dmem_run_next(&run, src, dst, npages)) {
		if (nouveau_dmem_page_is_lost(run.from))
			nouveau_dmem_discard(dst + run.next - run.nr, run.nr);
	}
	return nouveau_dmem_copy(arg, src, dst, npages);
}

/* Between setup and pages. After an error there are no destinations. */
static int nouveau_dmem_supply(struct nouveau_drm *drm,
			       struct migrate_vma *migrate,
			       nouveau_dmem_copy_fn copy)
{
	int ret = 0;

	if (!nouveau_dmem_fill(drm, migrate) && migrate->fault_page)
		ret = -ENOMEM;
	if (!ret)
		ret = copy(drm, migrate->src, migrate->dst, migrate->npages);
	if (ret)
		nouveau_dmem_discard(migrate->dst, migrate->npages);
	return ret;
}

/**
 * nouveau_dmem_migrate() - migrate a part of a VMA to VRAM, or from it
 * @drm: the device
 * @migrate: as for migrate_vma_setup(), within 2 MiB
 *
 * GPU page tables need no care here: collecting the pages calls the interval
 * notifiers, which unmap them.
 *
 * Context: Process context, may sleep; mmap_lock is held.
 *
 * Return: 0, whatever has moved; -EINVAL if it is no memory that can migrate;
 * -ENOMEM for a CPU fault without memory; or an error of nouveau_dmem_copy(),
 * after which all is where it was.
 */
int nouveau_dmem_migrate(struct nouveau_drm *drm, struct migrate_vma *migrate)
{
	nouveau_dmem_copy_fn copy = nouveau_dmem_copy;
	int ret = migrate_vma_setup(migrate);

	if (ret)
		return ret;
	/* But a CPU fault on a page that is lost has to fail. */
	if (!nouveau_dmem_is_to_vram(migrate) && !migrate->fault_page)
		copy = nouveau_dmem_copy_rest;
	if (migrate->cpages)
		ret = nouveau_dmem_supply(drm, migrate, copy);
	migrate_vma_pages(migrate);
	migrate_vma_finalize(migrate);
	return ret;
}

/*
 * A huge page that the page table has as such moves as a whole. With pages as
 * destinations, it cannot be split yet, as the fault holds a reference. But it
 * is mapped by pages after that, and the access faults again on one of them,
 * where migrate_vma_setup() splits the folio.
 */
static vm_fault_t nouveau_dmem_migrate_to_ram(struct vm_fault *vmf)
{
	struct nouveau_drm *drm = nouveau_dmem_chunk_of(vmf->page)->drm;
	unsigned long size = vmf->pte ? PAGE_SIZE : PMD_SIZE;
	unsigned long nr = size >> PAGE_SHIFT, small[2];
	struct migrate_vma migrate = {
		.vma = vmf->vma,
		.start = ALIGN_DOWN(vmf->address, size),
		.end = ALIGN_DOWN(vmf->address, size) + size,
		.src = small,
		.pgmap_owner = nouveau_dmem_owner(drm),
		.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE |
			 MIGRATE_VMA_SELECT_COMPOUND,
		.fault_page = vmf->page,
	};
	int ret;

	if (nr > 1)
		migrate.src = kvmalloc_array(2 * nr, sizeof(*migrate.src),
					     GFP_KERNEL);
	if (!migrate.src)
		return VM_FAULT_OOM;
	migrate.dst = migrate.src + nr;
	ret = nouveau_dmem_migrate(drm, &migrate);
	if (nr > 1)
		kvfree(migrate.src);
	return ret ? vmf_error(ret) : 0;
}

const struct dev_pagemap_ops nouveau_dmem_pagemap_ops = {
	.folio_free = nouveau_dmem_folio_free,
	.migrate_to_ram = nouveau_dmem_migrate_to_ram,
};

/* What is read from a GPU that does not answer: nothing */
static int nouveau_dmem_copy_zeroes(void *arg, const unsigned long *src,
				    unsigned long *dst, unsigned long npages)
{
	struct nouveau_dmem_run run = {};

	while (nouveau_dmem_run_next(&run, src, dst, npages)) {
		for (unsigned long i = 0; i < run.nr; i++)
			clear_highpage(run.to + i);
	}
	return 0;
}

/* Pages that have moved, between migrate_device_pages() and finalize */
static unsigned long nouveau_dmem_count_moved(const struct migrate_vma *migrate)
{
	unsigned long moved = 0;

	for (unsigned long i = 0; i < migrate->npages; i++) {
		if (migrate->src[i] & MIGRATE_PFN_MIGRATE)
			moved += 1UL << nouveau_dmem_order(migrate->src[i]);
	}
	return moved;
}

/*
 * Evict what @migrate has page frame numbers of. Those of pages in use, and not
 * a range with free ones: a free page can still look like the head of a huge
 * page that is no more, and the pages after it would be passed over.
 */
static unsigned long nouveau_dmem_evict_batch(struct nouveau_drm *drm,
					      struct migrate_vma *migrate,
					      nouveau_dmem_copy_fn copy,
					      bool *failed)
{
	unsigned long moved;

	memset(migrate->dst, 0, migrate->npages * sizeof(*migrate->dst));
	migrate_device_pfns(migrate->src, migrate->npages);
	*failed |= nouveau_dmem_supply(drm, migrate, copy);
	migrate_device_pages(migrate->src, migrate->dst, migrate->npages);
	moved = nouveau_dmem_count_moved(migrate);
	migrate_device_finalize(migrate->src, migrate->dst, migrate->npages);
	return moved;
}

/* Returns how many pages have moved. Even a copy that hangs ends a pass. */
static unsigned long nouveau_dmem_evict_pass(struct nouveau_dmem_chunk *chunk,
					     struct migrate_vma *migrate,
					     nouveau_dmem_copy_fn copy,
					     unsigned long deadline,
					     bool *failed)
{
	unsigned long pfn = PHYS_PFN(chunk->pagemap.range.start), moved = 0;
	unsigned long i = 0, end = 0;

	while (end < NOUVEAU_DMEM_CHUNK_PAGES && time_before(jiffies, deadline)) {
		end += NOUVEAU_DMEM_EVICT;
		migrate->npages = 0;
		for_each_set_bit_from(i, chunk->used, end)
			migrate->src[migrate->npages++] = pfn + i;
		i = end;
		if (migrate->npages)
			moved += nouveau_dmem_evict_batch(chunk->drm, migrate,
							  copy, failed);
		cond_resched();
	}
	return moved;
}

static bool nouveau_dmem_chunk_is_empty(const struct nouveau_dmem_chunk *chunk)
{
	/* Nothing is allocated any more, so it does not become less. */
	return data_race(chunk->free) == NOUVEAU_DMEM_CHUNK_PAGES;
}

/*
 * Pages that are locked or referenced may be free in the next pass. As long as
 * pages move, there is another one, and a few more, with growing pauses.
 */
static int nouveau_dmem_chunk_clear(struct nouveau_dmem_chunk *chunk,
				    nouveau_dmem_copy_fn copy,
				    unsigned long timeout, unsigned long *moved,
				    bool *failed)
{
	unsigned long deadline = jiffies + timeout, pass;
	struct migrate_vma migrate = {};
	unsigned int idle = 0;

	*moved = 0;
	migrate.src = kvmalloc_array(2 * NOUVEAU_DMEM_EVICT,
				     sizeof(*migrate.src), GFP_KERNEL);
	if (!migrate.src)
		return -ENOMEM;
	migrate.dst = migrate.src + NOUVEAU_DMEM_EVICT;
	do {
		pass = nouveau_dmem_evict_pass(chunk, &migrate, copy, deadline,
					       failed);
		*moved += pass;
		if (nouveau_dmem_chunk_is_empty(chunk))
			break;
		if (pass)
			idle = 0;
		else
			msleep(1U << idle++);
	} while (idle < NOUVEAU_DMEM_IDLE && time_before(jiffies, deadline));
	kvfree(migrate.src);
	return nouveau_dmem_chunk_is_empty(chunk) ? 0 : -EBUSY;
}

/**
 * nouveau_dmem_chunk_evict() - bring all pages of a chunk to system memory
 * @chunk: the chunk, from which nothing is allocated meanwhile
 * @timeout: in jiffies; with %MAX_SCHEDULE_TIMEOUT, this ends when no page is
 *	left, or one could not be copied
 *
 * A huge page stays if there is no huge page of system memory.
 *
 * Return: 0 if no page is left in the chunk, or a negative errno.
 */
int nouveau_dmem_chunk_evict(struct nouveau_dmem_chunk *chunk,
			     unsigned long timeout)
{
	unsigned long moved;
	bool failed = false;
	int ret;

	if (nouveau_dmem_chunk_is_empty(chunk))
		return 0;
	do {
		ret = nouveau_dmem_chunk_clear(chunk, nouveau_dmem_copy,
					       timeout, &moved, &failed);
	} while (ret == -EBUSY && timeout == MAX_SCHEDULE_TIMEOUT && !failed &&
		 !fatal_signal_pending(current));
	return ret;
}

/*
 * The device goes away and pages could not be copied. Their processes must not
 * keep them; what was in them is lost, and better zeroes than what was in the
 * system's pages before.
 */
void nouveau_dmem_chunk_abandon(struct nouveau_dmem_chunk *chunk)
{
	unsigned long lost;
	bool failed = false;

	nouveau_dmem_chunk_clear(chunk, nouveau_dmem_copy_zeroes,
				 MAX_SCHEDULE_TIMEOUT, &lost, &failed);
	if (lost)
		NV_ERROR(chunk->drm, "dmem: the contents of %lu pages are lost\n",
			 lost);
}
