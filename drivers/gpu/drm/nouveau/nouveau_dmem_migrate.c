// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The way back from VRAM: CPU faults and eviction */
#include <linux/highmem.h>
#include <linux/migrate_device.h>

#include "nouveau_dmem_chunk.h"
#include "nouveau_drv.h"

/*
 * GPU page tables need no care here: collecting the pages has called the
 * interval notifiers, which have unmapped them.
 */
static vm_fault_t nouveau_dmem_migrate_to_ram(struct vm_fault *vmf)
{
	return migrate_device_fault(vmf, nouveau_dmem_copy,
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

static int nouveau_dmem_chunk_clear(struct nouveau_dmem_chunk *chunk,
				    migrate_copy_fn copy, unsigned long timeout,
				    unsigned long *moved)
{
	struct migrate_evict evict = {
		.start = PHYS_PFN(chunk->pagemap.range.start),
		.npages = NOUVEAU_DMEM_CHUNK_PAGES,
		.timeout = timeout,
		.copy = copy,
		.arg = chunk->drm,
	};
	int ret = migrate_device_evict(&evict);

	*moved = evict.moved;
	return ret;
}

/**
 * nouveau_dmem_chunk_evict() - bring all pages of a chunk to system memory
 * @chunk: the chunk, from which nothing is allocated meanwhile
 * @timeout: in jiffies
 *
 * Return: 0 if no page is left in the chunk, or a negative errno.
 */
int nouveau_dmem_chunk_evict(struct nouveau_dmem_chunk *chunk,
			     unsigned long timeout)
{
	unsigned long moved;

	/* Nothing is allocated any more, so it does not become less. */
	if (data_race(chunk->free) == NOUVEAU_DMEM_CHUNK_PAGES)
		return 0;
	return nouveau_dmem_chunk_clear(chunk, nouveau_dmem_copy, timeout,
					&moved);
}

/*
 * The device goes away and pages could not be copied. Their processes must not
 * keep them; what was in them is lost, and better zeroes than what was in the
 * system's pages before.
 */
void nouveau_dmem_chunk_abandon(struct nouveau_dmem_chunk *chunk)
{
	unsigned long lost;

	nouveau_dmem_chunk_clear(chunk, nouveau_dmem_copy_zeroes,
				 MAX_SCHEDULE_TIMEOUT, &lost);
	if (lost)
		NV_ERROR(chunk->drm, "dmem: the contents of %lu pages are lost\n",
			 lost);
}
