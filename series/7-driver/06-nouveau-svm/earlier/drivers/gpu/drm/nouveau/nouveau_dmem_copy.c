// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Copies between VRAM and system memory, by the copy engine */
#include <linux/dma-mapping.h>
#include <linux/migrate.h>

#include <nvif/push906f.h>
#include <nvhw/class/cla0b5.h>

#include "nouveau_dmem_chunk.h"
#include "nouveau_chan.h"
#include "nouveau_drv.h"
#include "nouveau_fence.h"

#define NOUVEAU_DMEM_BATCH	32	/* runs for which one fence is waited */
#define NOUVEAU_DMEM_PUSH	16	/* words that a run needs at most */

/* A physical address, as the copy engine takes it */
struct nouveau_dmem_place {
	bool vram;
	u64 addr;
};

/* A run of pages in flight; @dma is that of its pages of system memory. */
struct nouveau_dmem_flight {
	struct page *host;
	dma_addr_t dma;
	size_t size;
	enum dma_data_direction dir;
};

/* The arguments of a nouveau_dmem_copy_fn */
struct nouveau_dmem_pages {
	const unsigned long *src;
	const unsigned long *dst;
	unsigned long npages;
};

struct nouveau_dmem_batch {
	struct nouveau_dmem *dmem;
	unsigned int nr;
	struct nouveau_dmem_flight flights[NOUVEAU_DMEM_BATCH];
};

static void nouveau_dmem_push_source(struct nvif_push *push,
				     struct nouveau_dmem_place from)
{
	if (from.vram)
		PUSH_IMMD(push, NVA0B5, SET_SRC_PHYS_MODE,
			  NVDEF(NVA0B5, SET_SRC_PHYS_MODE, TARGET, LOCAL_FB));
	else
		PUSH_IMMD(push, NVA0B5, SET_SRC_PHYS_MODE,
			  NVDEF(NVA0B5, SET_SRC_PHYS_MODE, TARGET,
				COHERENT_SYSMEM));
	PUSH_MTHD(push, NVA0B5,
		  OFFSET_IN_UPPER, NVVAL(NVA0B5, OFFSET_IN_UPPER, UPPER,
					 upper_32_bits(from.addr)),
		  OFFSET_IN_LOWER, lower_32_bits(from.addr));
}

static void nouveau_dmem_push_target(struct nvif_push *push,
				     struct nouveau_dmem_place to)
{
	if (to.vram)
		PUSH_IMMD(push, NVA0B5, SET_DST_PHYS_MODE,
			  NVDEF(NVA0B5, SET_DST_PHYS_MODE, TARGET, LOCAL_FB));
	else
		PUSH_IMMD(push, NVA0B5, SET_DST_PHYS_MODE,
			  NVDEF(NVA0B5, SET_DST_PHYS_MODE, TARGET,
				COHERENT_SYSMEM));
	PUSH_MTHD(push, NVA0B5,
		  OFFSET_OUT_UPPER, NVVAL(NVA0B5, OFFSET_OUT_UPPER, UPPER,
					  upper_32_bits(to.addr)),
		  OFFSET_OUT_LOWER, lower_32_bits(to.addr));
}

#define NOUVEAU_DMEM_LAUNCH						\
	(NVDEF(NVA0B5, LAUNCH_DMA, DATA_TRANSFER_TYPE, NON_PIPELINED) |	\
	 NVDEF(NVA0B5, LAUNCH_DMA, FLUSH_ENABLE, TRUE) |		\
	 NVDEF(NVA0B5, LAUNCH_DMA, SEMAPHORE_TYPE, NONE) |		\
	 NVDEF(NVA0B5, LAUNCH_DMA, INTERRUPT_TYPE, NONE) |		\
	 NVDEF(NVA0B5, LAUNCH_DMA, SRC_MEMORY_LAYOUT, PITCH) |		\
	 NVDEF(NVA0B5, LAUNCH_DMA, DST_MEMORY_LAYOUT, PITCH) |		\
	 NVDEF(NVA0B5, LAUNCH_DMA, DST_TYPE, PHYSICAL) |		\
	 NVDEF(NVA0B5, LAUNCH_DMA, BYPASS_L2, USE_PTE_SETTING))

/* A line of the transfer is a page. */
static void nouveau_dmem_push_copy(struct nvif_push *push,
				   struct nouveau_dmem_place to,
				   struct nouveau_dmem_place from,
				   unsigned long npages)
{
	nouveau_dmem_push_source(push, from);
	nouveau_dmem_push_target(push, to);
	PUSH_MTHD(push, NVA0B5,
		  PITCH_IN, PAGE_SIZE,
		  PITCH_OUT, PAGE_SIZE,
		  LINE_LENGTH_IN, PAGE_SIZE,
		  LINE_COUNT, npages);
	PUSH_MTHD(push, NVA0B5, LAUNCH_DMA, NOUVEAU_DMEM_LAUNCH |
		  NVDEF(NVA0B5, LAUNCH_DMA, SRC_TYPE, PHYSICAL) |
		  NVDEF(NVA0B5, LAUNCH_DMA, MULTI_LINE_ENABLE, TRUE) |
		  NVDEF(NVA0B5, LAUNCH_DMA, REMAP_ENABLE, FALSE));
}

/* Two components of four bytes, each from a constant */
#define NOUVEAU_DMEM_ZEROES						\
	(NVDEF(NVA0B5, SET_REMAP_COMPONENTS, NUM_DST_COMPONENTS, TWO) |	\
	 NVDEF(NVA0B5, SET_REMAP_COMPONENTS, COMPONENT_SIZE, FOUR) |	\
	 NVDEF(NVA0B5, SET_REMAP_COMPONENTS, DST_X, CONST_A) |		\
	 NVDEF(NVA0B5, SET_REMAP_COMPONENTS, DST_Y, CONST_B))

/* Without a source: the remapping unit supplies zeroes, eight bytes at a time. */
static void nouveau_dmem_push_clear(struct nvif_push *push,
				    struct nouveau_dmem_place to,
				    unsigned long npages)
{
	PUSH_MTHD(push, NVA0B5,
		  SET_REMAP_CONST_A, 0,
		  SET_REMAP_CONST_B, 0,
		  SET_REMAP_COMPONENTS, NOUVEAU_DMEM_ZEROES);
	nouveau_dmem_push_target(push, to);
	PUSH_MTHD(push, NVA0B5, LINE_LENGTH_IN, npages * (PAGE_SIZE / 8));
	PUSH_MTHD(push, NVA0B5, LAUNCH_DMA, NOUVEAU_DMEM_LAUNCH |
		  NVDEF(NVA0B5, LAUNCH_DMA, MULTI_LINE_ENABLE, FALSE) |
		  NVDEF(NVA0B5, LAUNCH_DMA, REMAP_ENABLE, TRUE));
}

/* Map the pages of system memory of a run for DMA. */
static int nouveau_dmem_dma_map(struct nouveau_dmem_batch *batch,
				struct nouveau_dmem_flight *flight,
				struct page *host, unsigned long npages,
				enum dma_data_direction dir)
{
	struct device *dev = batch->dmem->drm->dev->dev;

	flight->size = npages * PAGE_SIZE;
	flight->dir = dir;
	flight->dma = dma_map_page(dev, host, 0, flight->size, dir);
	if (dma_mapping_error(dev, flight->dma))
		return -EIO;
	flight->host = host;
	return 0;
}

static void nouveau_dmem_dma_unmap(struct nouveau_dmem_batch *batch,
				   const struct nouveau_dmem_flight *flight)
{
	if (flight->host)
		dma_unmap_page(batch->dmem->drm->dev->dev, flight->dma,
			       flight->size, flight->dir);
}

/* Where the pages of a run are */
static int nouveau_dmem_place(struct nouveau_dmem_batch *batch,
			      struct page *page, unsigned long npages,
			      enum dma_data_direction dir,
			      struct nouveau_dmem_flight *flight,
			      struct nouveau_dmem_place *place)
{
	int ret;

	place->vram = is_device_private_page(page);
	if (place->vram) {
		if (nouveau_dmem_page_is_lost(page))
			return -EIO;
		place->addr = nouveau_dmem_page_addr(page);
		return 0;
	}
	ret = nouveau_dmem_dma_map(batch, flight, page, npages, dir);
	place->addr = flight->dma;
	return ret;
}

static int nouveau_dmem_push_run(struct nouveau_dmem_batch *batch,
				 const struct nouveau_dmem_run *run)
{
	struct nvif_push *push = &batch->dmem->chan->chan.push;
	struct nouveau_dmem_flight *flight = &batch->flights[batch->nr];
	struct nouveau_dmem_place to, from;
	int ret;

	*flight = (struct nouveau_dmem_flight){};
	ret = PUSH_WAIT(push, NOUVEAU_DMEM_PUSH);
	if (ret)
		return ret;
	ret = nouveau_dmem_place(batch, run->to, run->nr, DMA_FROM_DEVICE,
				 flight, &to);
	if (!ret && run->from)
		ret = nouveau_dmem_place(batch, run->from, run->nr,
					 DMA_TO_DEVICE, flight, &from);
	if (ret) {
		nouveau_dmem_dma_unmap(batch, flight);
		return ret;
	}
	if (run->from)
		nouveau_dmem_push_copy(push, to, from, run->nr);
	else
		nouveau_dmem_push_clear(push, to, run->nr);
	batch->nr++;
	return 0;
}

/*
 * Copies are made in their order. Behind one that hangs, each would be waited
 * for in vain.
 */
static int nouveau_dmem_may_copy(struct nouveau_dmem *dmem)
{
	if (dmem->asleep)
		return -EBUSY;
	if (atomic_read(&dmem->chan->killed))
		return -ENODEV;
	if (!dmem->stuck)
		return 0;
	if (!nouveau_fence_done(dmem->stuck))
		return -EIO;
	nouveau_fence_unref(&dmem->stuck);
	return 0;
}

/* Keep a fence that was not signalled in time, and no other one. */
static void nouveau_dmem_set_stuck(struct nouveau_dmem *dmem,
				   struct nouveau_fence **fence)
{
	struct mutex *mutex = &dmem->chan->cli->mutex;

	mutex_lock_nested(mutex, SINGLE_DEPTH_NESTING);
	if (!dmem->stuck)
		swap(dmem->stuck, *fence);
	mutex_unlock(mutex);
}

/*
 * Begin to copy as many runs as one batch holds, from @run on. What could be
 * pushed is waited for also after an error, as the engine uses the pages.
 */
static int nouveau_dmem_push_batch(struct nouveau_dmem_batch *batch,
				   const struct nouveau_dmem_pages *pages,
				   struct nouveau_dmem_run *run, bool *more)
{
	int ret;

	batch->nr = 0;
	ret = nouveau_dmem_may_copy(batch->dmem);
	if (ret)
		return ret;
	while (*more && batch->nr < NOUVEAU_DMEM_BATCH) {
		ret = nouveau_dmem_push_run(batch, run);
		if (ret)
			break;
		*more = nouveau_dmem_run_next(run, pages->src, pages->dst,
					      pages->npages);
	}
	return ret;
}

/* Has the engine finished, and how? *@done is false if it may still copy. */
static int nouveau_dmem_wait(struct nouveau_fence *fence, bool *done)
{
	int ret = nouveau_fence_wait(fence, true, false);

	*done = dma_fence_is_signaled(&fence->base);
	if (*done)
		ret = min(dma_fence_get_status(&fence->base), 0);
	return ret;
}

/*
 * An engine that hangs may go on at any time. Pages of system memory that it
 * would write to must never be used for anything else: they are lost.
 */
static void nouveau_dmem_end_batch(struct nouveau_dmem_batch *batch, bool done)
{
	for (unsigned int i = 0; i < batch->nr; i++) {
		struct nouveau_dmem_flight *flight = &batch->flights[i];

		if (done)
			nouveau_dmem_dma_unmap(batch, flight);
		else if (flight->host && flight->dir == DMA_FROM_DEVICE)
			folio_get(page_folio(flight->host));
	}
	if (!done)
		NV_ERROR(batch->dmem->drm, "dmem: the copy engine hangs\n");
}

static int nouveau_dmem_copy_batch(struct nouveau_dmem_batch *batch,
				   const struct nouveau_dmem_pages *pages,
				   struct nouveau_dmem_run *run, bool *more)
{
	struct nouveau_channel *chan = batch->dmem->chan;
	struct nouveau_fence *fence;
	int ret, error;
	bool done = true;

	ret = nouveau_fence_create(&fence, chan);
	if (ret)
		return ret;
	/*
	 * TTM copies on this channel, too. The mutex is of the class of all
	 * clients', and mmap_lock is held.
	 */
	mutex_lock_nested(&chan->cli->mutex, SINGLE_DEPTH_NESTING);
	ret = nouveau_dmem_push_batch(batch, pages, run, more);
	if (!batch->nr) {
		mutex_unlock(&chan->cli->mutex);
		kfree(fence);
		return ret;
	}
	error = nouveau_fence_emit(fence);
	mutex_unlock(&chan->cli->mutex);
	if (error) {
		done = false;
	} else {
		error = nouveau_dmem_wait(fence, &done);
		if (!done)
			nouveau_dmem_set_stuck(batch->dmem, &fence);
	}
	nouveau_fence_unref(&fence);
	nouveau_dmem_end_batch(batch, done);
	return ret ?: error;
}

/**
 * nouveau_dmem_run_next() - find the next pages to copy
 * @run: the last run
 * @src: sources, as between migrate_vma_setup() and migrate_vma_pages()
 * @dst: their destinations
 * @npages: number of entries of both
 *
 * A run is a whole destination, be it a large folio or a page. A large source
 * has all of its pages in its first entry, but may have a page in each entry as
 * a destination.
 *
 * Return: true if there is a run.
 */
bool nouveau_dmem_run_next(struct nouveau_dmem_run *run,
			   const unsigned long *src, const unsigned long *dst,
			   unsigned long npages)
{
	for (unsigned long i = run->next; i < npages; i++) {
		struct page *from;

		if (src[i] & MIGRATE_PFN_MIGRATE)
			run->source = i;
		run->to = migrate_pfn_to_page(dst[i]);
		if (!run->to)
			continue;
		from = migrate_pfn_to_page(src[run->source]);
		run->from = from ? from + (i - run->source) : NULL;
		run->nr = folio_nr_pages(page_folio(run->to));
		run->next = i + run->nr;
		return true;
	}
	return false;
}

/**
 * nouveau_dmem_copy() - copy pages, a nouveau_dmem_copy_fn
 * @arg: the &struct nouveau_drm
 * @src: sources
 * @dst: destinations, some of them device memory
 * @npages: number of entries of both
 *
 * Context: Process context, may sleep.
 *
 * Return: 0 when all is copied; -EBUSY while the device is suspended; -EIO; or
 * an error of the channel.
 */
int nouveau_dmem_copy(void *arg, const unsigned long *src, unsigned long *dst,
		      unsigned long npages)
{
	const struct nouveau_dmem_pages pages = { src, dst, npages };
	struct nouveau_dmem_batch batch = {
		.dmem = ((struct nouveau_drm *)arg)->dmem,
	};
	struct nouveau_dmem_run run = {};
	bool more = nouveau_dmem_run_next(&run, src, dst, npages);
	int ret = 0;

	while (more && !ret)
		ret = nouveau_dmem_copy_batch(&batch, &pages, &run, &more);
	return ret;
}
