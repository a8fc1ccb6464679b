// SPDX-License-Identifier: GPL-2.0
/*
 * Where device memory comes from: chunks, and which of their pages are free.
 *
 * A device grows by one chunk when it has nothing that fits: a private device
 * by address space that nothing else uses, a coherent one by the next piece of
 * the physical memory it was given, until that is used up. A chunk consists of
 * blocks, and a folio never crosses a block's border.
 *
 * Invariants, under the device's lock:
 *  - a block is on free_blocks if none of its pages is in use, on neither list
 *    if all are, and on partial_blocks else;
 *  - each in_use counts the bits set in its part of the chunk's bitmap;
 *  - a device with pages in use holds a reference to the module.
 */
#include <linux/bitmap.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "test_hmm.h"

static unsigned long block_first_bit(const struct thmm_block *block)
{
	return (block - block->chunk->blocks) * HPAGE_PMD_NR;
}

/* Put a block on the list it belongs to. */
static void block_sort(struct thmm_block *block)
{
	struct thmm_device *device = block->chunk->device;

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

/* Record that @by pages of a block were taken or, if negative, given back. */
static void block_account(struct thmm_block *block, int by)
{
	struct thmm_device *device = block->chunk->device;
	bool was_idle = !device->in_use;

	block->in_use += by;
	block->chunk->in_use += by;
	/* thmm_evict() reads it without the lock. */
	WRITE_ONCE(device->in_use, device->in_use + by);
	block_sort(block);

	if (was_idle)
		__module_get(THIS_MODULE);
	else if (!device->in_use)
		module_put(THIS_MODULE);
}

static bool block_take(struct thmm_block *block, unsigned int order, unsigned long *pfn)
{
	unsigned long first = block_first_bit(block), end = first + HPAGE_PMD_NR;
	struct thmm_chunk *chunk = block->chunk;
	unsigned int nr = 1 << order;
	unsigned long bit;

	if (order)
		bit = bitmap_find_next_zero_area(chunk->used, end, first, nr, nr - 1);
	else
		bit = find_next_zero_bit(chunk->used, end, first);
	if (bit + nr > end)
		return false;

	bitmap_set(chunk->used, bit, nr);
	block_account(block, nr);
	*pfn = chunk->first_pfn + bit;
	return true;
}

/**
 * thmm_chunk_take() - take free device memory
 * @device: from its chunks
 * @order: of the contiguous, aligned pages wanted
 * @pfn: receives the first page
 *
 * Return: whether there was any.
 */
bool thmm_chunk_take(struct thmm_device *device, unsigned int order, unsigned long *pfn)
{
	struct thmm_block *block;
	bool taken = false;

	spin_lock_irq(&device->lock);
	if (order < HPAGE_PMD_ORDER) {
		list_for_each_entry(block, &device->partial_blocks, node) {
			taken = block_take(block, order, pfn);
			if (taken)
				break;
		}
	}
	if (!taken) {
		block = list_first_entry_or_null(&device->free_blocks, struct thmm_block, node);
		taken = block && block_take(block, order, pfn);
	}
	spin_unlock_irq(&device->lock);
	return taken;
}

/**
 * thmm_chunk_give() - give device memory back
 * @chunk: to this chunk; it may be gone when the function returns, unless the
 *	   caller holds a reference to its pagemap
 * @pfn: first page
 * @nr: number of pages, within one block
 */
void thmm_chunk_give(struct thmm_chunk *chunk, unsigned long pfn, unsigned int nr)
{
	struct thmm_device *device = chunk->device;
	unsigned long bit = pfn - chunk->first_pfn;
	unsigned long flags;

	spin_lock_irqsave(&device->lock, flags);
	bitmap_clear(chunk->used, bit, nr);
	block_account(&chunk->blocks[bit / HPAGE_PMD_NR], -(int)nr);
	spin_unlock_irqrestore(&device->lock, flags);
}

/* Claim physical address space for a chunk. */
static int claim_private(struct thmm_device *device, struct thmm_chunk *chunk)
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

static bool spm_is_free(struct thmm_device *device, u64 start)
{
	struct thmm_chunk *chunk;

	list_for_each_entry(chunk, &device->chunks, node)
		if (chunk->pagemap.range.start == start)
			return false;
	return true;
}

static int claim_coherent(struct thmm_device *device, struct thmm_chunk *chunk)
{
	u64 start = device->spm.start;

	while (start + device->chunk_size - 1 <= device->spm.end && !spm_is_free(device, start))
		start += device->chunk_size;
	if (start + device->chunk_size - 1 > device->spm.end)
		return -ENOMEM;

	chunk->pagemap.type = MEMORY_DEVICE_COHERENT;
	chunk->pagemap.range.start = start;
	chunk->pagemap.range.end = start + device->chunk_size - 1;
	return 0;
}

static void chunk_unclaim(struct thmm_chunk *chunk)
{
	if (chunk->region)
		release_mem_region(chunk->region->start, resource_size(chunk->region));
}

static void chunk_destroy(struct thmm_chunk *chunk)
{
	chunk_unclaim(chunk);
	bitmap_free(chunk->used);
	kvfree(chunk);
}

/* A chunk with its struct pages, which no list knows yet */
static struct thmm_chunk *chunk_create(struct thmm_device *device)
{
	unsigned long npages = device->chunk_size >> PAGE_SHIFT;
	struct thmm_chunk *chunk;
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
	ret = device->coherent ? claim_coherent(device, chunk) : claim_private(device, chunk);
	if (ret)
		goto free;

	chunk->pagemap.nr_range = 1;
	chunk->pagemap.ops = &thmm_pagemap_ops;
	chunk->pagemap.owner = device;
	chunk->pagemap.flags = PGMAP_FAULT_VMA_LOCK;
	chunk->first_pfn = PHYS_PFN(chunk->pagemap.range.start);
	mapped = memremap_pages(&chunk->pagemap, numa_node_id());
	if (!IS_ERR(mapped))
		return chunk;
	ret = PTR_ERR(mapped);
free:
	chunk_destroy(chunk);
	return ERR_PTR(ret);
}

/**
 * thmm_chunk_add() - add a chunk to a device
 * @device: the device; the caller holds its chunk_lock
 *
 * Return: 0 or an errno, as -ENOMEM when a coherent device has no more memory.
 */
int thmm_chunk_add(struct thmm_device *device)
{
	struct thmm_chunk *chunk;
	unsigned long i;

	lockdep_assert_held(&device->chunk_lock);

	chunk = chunk_create(device);
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
static bool chunk_retire(struct thmm_chunk *chunk)
{
	struct thmm_device *device = chunk->device;
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
 * thmm_chunk_remove_idle() - free the chunks without pages in use
 * @device: the device; the caller holds its chunk_lock
 *
 * Return: the number of chunks that had to stay.
 */
unsigned long thmm_chunk_remove_idle(struct thmm_device *device)
{
	struct thmm_chunk *chunk, *next;
	unsigned long stayed = 0;

	lockdep_assert_held(&device->chunk_lock);

	list_for_each_entry_safe(chunk, next, &device->chunks, node) {
		if (!chunk_retire(chunk)) {
			stayed++;
			continue;
		}
		/* Waits for those on their way out of devmem_folio_free(). */
		memunmap_pages(&chunk->pagemap);
		chunk_destroy(chunk);
	}
	return stayed;
}
