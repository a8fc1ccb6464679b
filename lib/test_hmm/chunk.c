// SPDX-License-Identifier: GPL-2.0
/*
 * Where device memory comes from: chunks, and which of their pages are free.
 *
 * A device grows by one chunk when it has no suitable memory: a private device
 * by address space that nothing else uses, a coherent one by the next piece of
 * the physical memory that is reserved for it, until all is used. A chunk
 * consists of blocks, and a folio never crosses a block's border.
 *
 * Invariants, under the device's lock:
 *  - a block is on free_blocks if none of its pages is in use, on neither list
 *    if all are, and on partial_blocks otherwise;
 *  - each in_use counts the bits set in its part of the chunk's bitmap;
 *  - a device with pages in use holds a reference to the module.
 */
#include <linux/bitmap.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "test_hmm.h"

static unsigned long dmirror_block_first_bit(const struct dmirror_block *block)
{
	return (block - block->chunk->blocks) * HPAGE_PMD_NR;
}

/* Put a block on the list it belongs to. */
static void dmirror_block_sort(struct dmirror_block *block)
{
	struct dmirror_device *device = block->chunk->device;

	lockdep_assert_held(&device->lock);

	if (!block->in_use)
		list_move(&block->node, &device->free_blocks);
	else if (block->in_use == HPAGE_PMD_NR)
		list_del_init(&block->node);
	else if (list_empty(&block->node))
		list_add(&block->node, &device->partial_blocks);
	else
		list_move(&block->node, &device->partial_blocks);
}

/* Record that @by pages of a block were allocated or, if negative, freed. */
static void dmirror_block_account(struct dmirror_block *block, int by)
{
	struct dmirror_device *device = block->chunk->device;
	bool was_idle = !device->in_use;

	block->in_use += by;
	block->chunk->in_use += by;
	/* dmirror_evict() reads it without the lock. */
	WRITE_ONCE(device->in_use, device->in_use + by);
	dmirror_block_sort(block);

	if (was_idle)
		__module_get(THIS_MODULE);
	else if (!device->in_use)
		module_put(THIS_MODULE);
}

static bool dmirror_block_alloc(struct dmirror_block *block, unsigned int order, unsigned long *pfn)
{
	unsigned long first = dmirror_block_first_bit(block), end = first + HPAGE_PMD_NR;
	struct dmirror_chunk *chunk = block->chunk;
	unsigned int nr = 1 << order;
	unsigned long bit;

	if (order)
		bit = bitmap_find_next_zero_area(chunk->used, end, first, nr, nr - 1);
	else
		bit = find_next_zero_bit(chunk->used, end, first);
	if (bit + nr > end)
		return false;

	bitmap_set(chunk->used, bit, nr);
	dmirror_block_account(block, nr);
	*pfn = chunk->first_pfn + bit;
	return true;
}

/**
 * dmirror_chunk_alloc() - allocate device memory
 * @device: from its chunks
 * @order: of the contiguous, aligned pages
 * @pfn: receives the first page
 *
 * Context: Interrupts enabled. Takes the device's lock.
 *
 * Return: true, or false if no chunk has enough free memory.
 */
bool dmirror_chunk_alloc(struct dmirror_device *device, unsigned int order, unsigned long *pfn)
{
	struct dmirror_block *block;
	bool taken = false;

	spin_lock_irq(&device->lock);
	if (order < HPAGE_PMD_ORDER) {
		list_for_each_entry(block, &device->partial_blocks, node) {
			taken = dmirror_block_alloc(block, order, pfn);
			if (taken)
				break;
		}
	}
	if (!taken) {
		block = list_first_entry_or_null(&device->free_blocks, struct dmirror_block, node);
		taken = block && dmirror_block_alloc(block, order, pfn);
	}
	spin_unlock_irq(&device->lock);
	return taken;
}

/**
 * dmirror_chunk_free() - free device memory
 * @chunk: its chunk, which may be freed when the function returns, unless the
 *	   caller holds a reference to its pagemap
 * @pfn: first page
 * @nr: number of pages, within one block
 *
 * Context: Any. Takes the device's lock.
 */
void dmirror_chunk_free(struct dmirror_chunk *chunk, unsigned long pfn, unsigned int nr)
{
	struct dmirror_device *device = chunk->device;
	unsigned long bit = pfn - chunk->first_pfn;
	unsigned long flags;

	spin_lock_irqsave(&device->lock, flags);
	bitmap_clear(chunk->used, bit, nr);
	dmirror_block_account(&chunk->blocks[bit / HPAGE_PMD_NR], -(int)nr);
	spin_unlock_irqrestore(&device->lock, flags);
}

/* Claim physical address space for a chunk. */
static int dmirror_claim_private(struct dmirror_device *device, struct dmirror_chunk *chunk)
{
	struct resource *region;

	region = request_free_mem_region(&iomem_resource, device->chunk_size, "hmm_dmirror");
	if (IS_ERR(region))
		return PTR_ERR(region);
	chunk->region = region;
	chunk->pagemap.type = MEMORY_DEVICE_PRIVATE;
	chunk->pagemap.range.start = region->start;
	chunk->pagemap.range.end = region->start + device->chunk_size - 1;
	return 0;
}

static bool dmirror_spm_is_free(struct dmirror_device *device, u64 start)
{
	struct dmirror_chunk *chunk;

	list_for_each_entry(chunk, &device->chunks, node)
		if (chunk->pagemap.range.start == start)
			return false;
	return true;
}

static int dmirror_claim_coherent(struct dmirror_device *device, struct dmirror_chunk *chunk)
{
	u64 start = device->spm.start;

	while (start + device->chunk_size - 1 <= device->spm.end &&
	       !dmirror_spm_is_free(device, start))
		start += device->chunk_size;
	if (start + device->chunk_size - 1 > device->spm.end)
		return -ENOMEM;

	chunk->pagemap.type = MEMORY_DEVICE_COHERENT;
	chunk->pagemap.range.start = start;
	chunk->pagemap.range.end = start + device->chunk_size - 1;
	return 0;
}

static void dmirror_chunk_unclaim(struct dmirror_chunk *chunk)
{
	if (chunk->region)
		release_mem_region(chunk->region->start, resource_size(chunk->region));
}

static void dmirror_chunk_destroy(struct dmirror_chunk *chunk)
{
	dmirror_chunk_unclaim(chunk);
	bitmap_free(chunk->used);
	kvfree(chunk);
}

/* A chunk with its struct pages, on no list yet */
static struct dmirror_chunk *dmirror_chunk_create(struct dmirror_device *device)
{
	unsigned long npages = device->chunk_size >> PAGE_SHIFT;
	struct dmirror_chunk *chunk;
	void *mapped;
	int ret = -ENOMEM;

	chunk = kvzalloc_flex(*chunk, blocks, npages / HPAGE_PMD_NR);
	if (!chunk)
		return ERR_PTR(ret);
	chunk->nr_blocks = npages / HPAGE_PMD_NR;
	chunk->device = device;
	chunk->used = bitmap_zalloc(npages, GFP_KERNEL);
	if (!chunk->used)
		goto free;
	if (device->coherent)
		ret = dmirror_claim_coherent(device, chunk);
	else
		ret = dmirror_claim_private(device, chunk);
	if (ret)
		goto free;

	chunk->pagemap.nr_range = 1;
	chunk->pagemap.ops = &dmirror_pagemap_ops;
	chunk->pagemap.owner = device;
	chunk->pagemap.flags = PGMAP_FAULT_VMA_LOCK;
	chunk->first_pfn = PHYS_PFN(chunk->pagemap.range.start);
	mapped = memremap_pages(&chunk->pagemap, numa_node_id());
	if (!IS_ERR(mapped))
		return chunk;
	ret = PTR_ERR(mapped);
free:
	dmirror_chunk_destroy(chunk);
	return ERR_PTR(ret);
}

/**
 * dmirror_chunk_add() - add a chunk to a device
 * @device: the device; the caller holds its chunk_lock
 *
 * Context: Process context, may sleep.
 *
 * Return: 0 or an errno, such as -ENOMEM if a coherent device has no more
 * memory.
 */
int dmirror_chunk_add(struct dmirror_device *device)
{
	struct dmirror_chunk *chunk;
	unsigned long i;

	lockdep_assert_held(&device->chunk_lock);

	chunk = dmirror_chunk_create(device);
	if (IS_ERR(chunk))
		return PTR_ERR(chunk);

	spin_lock_irq(&device->lock);
	list_add_tail(&chunk->node, &device->chunks);
	device->capacity += chunk->nr_blocks * HPAGE_PMD_NR;
	for (i = 0; i < chunk->nr_blocks; i++) {
		chunk->blocks[i].chunk = chunk;
		list_add_tail(&chunk->blocks[i].node, &device->free_blocks);
	}
	spin_unlock_irq(&device->lock);

	dev_dbg(&device->dev, "new chunk %#llx-%#llx\n", chunk->pagemap.range.start,
		chunk->pagemap.range.end);
	return 0;
}

/* Remove an idle chunk from all lists, so that its pages cannot be found. */
static bool dmirror_chunk_retire(struct dmirror_chunk *chunk)
{
	struct dmirror_device *device = chunk->device;
	unsigned long i;
	bool idle;

	spin_lock_irq(&device->lock);
	idle = !chunk->in_use;
	if (idle) {
		for (i = 0; i < chunk->nr_blocks; i++)
			list_del(&chunk->blocks[i].node);
		list_del(&chunk->node);
		device->capacity -= chunk->nr_blocks * HPAGE_PMD_NR;
	}
	spin_unlock_irq(&device->lock);
	return idle;
}

/**
 * dmirror_chunk_remove_idle() - free the chunks without pages in use
 * @device: the device; the caller holds its chunk_lock
 *
 * Context: Process context, may sleep.
 *
 * Return: the number of chunks that could not be freed.
 */
unsigned long dmirror_chunk_remove_idle(struct dmirror_device *device)
{
	struct dmirror_chunk *chunk, *next;
	unsigned long stayed = 0;

	lockdep_assert_held(&device->chunk_lock);

	list_for_each_entry_safe(chunk, next, &device->chunks, node) {
		if (!dmirror_chunk_retire(chunk)) {
			stayed++;
			continue;
		}
		/* Waits until all callers of dmirror_folio_free() have returned. */
		memunmap_pages(&chunk->pagemap);
		dmirror_chunk_destroy(chunk);
	}
	return stayed;
}
