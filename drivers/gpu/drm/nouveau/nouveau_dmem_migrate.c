// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The way back from VRAM: CPU faults and eviction */
#include <linux/highmem.h>
#include <linux/migrate_device.h>

#include "nouveau_dmem_chunk.h"
#include "nouveau_drv.h"

/**
 * nouveau_dmem_copy_rest() - copy what is not lost, a migrate_copy_fn
 * @arg: the &struct nouveau_drm
 * @src: sources in VRAM
 * @dst: destinations
 * @npages: number of entries of both
 *
 * Pages of VRAM that is lost stay where they are, and are no error.
 *
 * Context: Process context, may sleep.
 *
 * Return: as nouveau_dmem_copy().
 */
int nouveau_dmem_copy_rest(void *arg, const unsigned long *src,
			   unsigned long *dst, unsigned long npages)
{
	struct migrate_run run;

	/* All pages of a source are in one chunk: all or none are discarded. */
	for_each_migrate_run(run, src, dst, npages) {
		if (nouveau_dmem_page_is_lost(run.from))
			migrate_discard(dst + run.index, run.nr);
	}
	return nouveau_dmem_copy(arg, src, dst, npages);
}

/*
 * GPU page tables need no care here: collecting the pages has called the
 * interval notifiers, which have unmapped them. Pages of other folios that are
 * mapped in the same range move, too, and some of them may be lost.
 */
static vm_fault_t nouveau_dmem_migrate_to_ram(struct vm_fault *vmf)
{
	if (nouveau_dmem_page_is_lost(vmf->page))
		return VM_FAULT_SIGBUS;
	return migrate_device_fault(vmf, nouveau_dmem_copy_rest,
				    nouveau_dmem_chunk_of(vmf->page)->drm);
}

const struct dev_pagemap_ops nouveau_dmem_pagemap_ops = {
	.folio_free = nouveau_dmem_folio_free,
	.migrate_to_ram = nouveau_dmem_migrate_to_ram,
};

/* What is read from a GPU that does not answer: nothing */
static int nouveau_dmem_copy_zeroes(void *arg, const unsigned long *src,
				    unsigned long *dst, unsigned long npages)
{
	struct migrate_run run;

	for_each_migrate_run(run, src, dst, npages) {
		for (unsigned long i = 0; i < run.nr; i++)
			clear_highpage(run.to + i);
	}
	return 0;
}

struct nouveau_dmem_evict {
	struct migrate_evict evict;
	struct nouveau_drm *drm;
	bool failed;
};

static int nouveau_dmem_evict_copy(void *arg, const unsigned long *src,
				   unsigned long *dst, unsigned long npages)
{
	struct nouveau_dmem_evict *evict = arg;
	int ret = nouveau_dmem_copy(evict->drm, src, dst, npages);

	evict->failed |= ret;
	return ret;
}

/**
 * nouveau_dmem_chunk_evict() - bring all pages of a chunk to system memory
 * @chunk: the chunk, from which nothing is allocated meanwhile
 * @timeout: in jiffies; with %MAX_SCHEDULE_TIMEOUT, this ends when no page is
 *	left, or one could not be copied
 *
 * Return: 0 if no page is left in the chunk, or a negative errno.
 */
int nouveau_dmem_chunk_evict(struct nouveau_dmem_chunk *chunk,
			     unsigned long timeout)
{
	struct nouveau_dmem_evict evict = {
		.evict = {
			.start = PHYS_PFN(chunk->pagemap.range.start),
			.npages = NOUVEAU_DMEM_CHUNK_PAGES,
			.timeout = timeout,
			.copy = nouveau_dmem_evict_copy,
			.arg = &evict,
		},
		.drm = chunk->drm,
	};
	int ret;

	/* Nothing is allocated any more, so it does not become less. */
	if (data_race(chunk->free) == NOUVEAU_DMEM_CHUNK_PAGES)
		return 0;
	do {
		ret = migrate_device_evict(&evict.evict);
	} while (ret == -EBUSY && timeout == MAX_SCHEDULE_TIMEOUT &&
		 !evict.failed);
	return ret;
}

/*
 * The device goes away and pages could not be copied. Their processes must not
 * keep them; what was in them is lost, and better zeroes than what was in the
 * system's pages before.
 */
void nouveau_dmem_chunk_abandon(struct nouveau_dmem_chunk *chunk)
{
	struct migrate_evict evict = {
		.start = PHYS_PFN(chunk->pagemap.range.start),
		.npages = NOUVEAU_DMEM_CHUNK_PAGES,
		.timeout = MAX_SCHEDULE_TIMEOUT,
		.copy = nouveau_dmem_copy_zeroes,
	};

	migrate_device_evict(&evict);
	if (evict.moved)
		NV_ERROR(chunk->drm, "dmem: the contents of %lu pages are lost\n",
			 evict.moved);
}
