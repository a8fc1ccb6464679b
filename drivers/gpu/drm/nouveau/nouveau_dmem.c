// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Device memory: which pages of it are in use, and its life */
#include <linux/migrate_device.h>
#include <linux/pm_runtime.h>

#include <nvif/class.h>

#include "nouveau_dmem_chunk.h"
#include "nouveau_bo.h"
#include "nouveau_chan.h"
#include "nouveau_drv.h"
#include "nouveau_fence.h"
#include "nouveau_svm.h"

/* How long suspending may wait for a page that is pinned or locked */
#define NOUVEAU_DMEM_SUSPEND_TIMEOUT	msecs_to_jiffies(1000)

/* What &migrate_vma.pgmap_owner and &hmm_range.dev_private_owner must be */
void *nouveau_dmem_owner(const struct nouveau_drm *drm)
{
	return drm->dev;
}

u64 nouveau_dmem_page_addr(const struct page *page)
{
	const struct nouveau_dmem_chunk *chunk = nouveau_dmem_chunk_of(page);

	return chunk->bo->offset + PFN_PHYS(page_to_pfn(page)) -
	       chunk->pagemap.range.start;
}

/*
 * Is the page in VRAM that is not pinned? Others may use it now. This changes
 * only while no copy begins and nothing may be mapped.
 */
bool nouveau_dmem_page_is_lost(const struct page *page)
{
	return !READ_ONCE(nouveau_dmem_chunk_of(page)->pinned);
}

static bool nouveau_dmem_find(struct nouveau_dmem_chunk *chunk,
			      unsigned long npages, unsigned long *first)
{
	unsigned long from = chunk->hint;

	if (!chunk->pinned || chunk->free < npages)
		return false;
	for (;;) {
		*first = bitmap_find_next_zero_area(chunk->used,
						    NOUVEAU_DMEM_CHUNK_PAGES,
						    from, npages, npages - 1);
		if (*first < NOUVEAU_DMEM_CHUNK_PAGES)
			return true;
		if (!from)
			return false;
		from = 0;
	}
}

/*
 * A device that holds pages of processes stays awake: a CPU fault on one of
 * them could not wait until the device has resumed, as mmap_lock is held.
 */
static void nouveau_dmem_use(struct nouveau_dmem *dmem,
			     struct nouveau_dmem_chunk *chunk,
			     unsigned long first, unsigned long npages)
{
	bitmap_set(chunk->used, first, npages);
	chunk->hint = first + npages;
	chunk->free -= npages;
	dmem->free -= npages;
	if (!dmem->used)
		pm_runtime_get_noresume(dmem->drm->dev->dev);
	dmem->used += npages;
}

void nouveau_dmem_folio_free(struct folio *folio)
{
	struct nouveau_dmem_chunk *chunk = nouveau_dmem_chunk_of(&folio->page);
	struct nouveau_dmem *dmem = chunk->drm->dmem;
	unsigned long npages = folio_nr_pages(folio);
	unsigned long first = folio_pfn(folio) -
			      PHYS_PFN(chunk->pagemap.range.start);
	struct device *dev = dmem->drm->dev->dev;
	bool last;

	spin_lock(&dmem->lock);
	bitmap_clear(chunk->used, first, npages);
	chunk->free += npages;
	if (chunk->pinned)
		dmem->free += npages;
	dmem->used -= npages;
	last = !dmem->used;
	spin_unlock(&dmem->lock);
	if (last)
		pm_runtime_put_autosuspend(dev);
}

/**
 * nouveau_dmem_alloc() - allocate a folio of VRAM, a migrate_alloc_fn
 * @arg: the &struct nouveau_drm
 * @order: the order of the folio
 *
 * Only what nouveau_dmem_reserve() has pinned before: folios are locked here,
 * and a new chunk may have to evict buffer objects.
 *
 * Context: Any that can take a spinlock.
 *
 * Return: the folio, locked, or NULL.
 */
struct folio *nouveau_dmem_alloc(void *arg, unsigned int order)
{
	struct nouveau_dmem *dmem = ((struct nouveau_drm *)arg)->dmem;
	struct nouveau_dmem_chunk *chunk;
	unsigned long first;

	spin_lock(&dmem->lock);
	list_for_each_entry(chunk, &dmem->chunks, head) {
		if (dmem->closed)
			break;
		if (!nouveau_dmem_find(chunk, 1UL << order, &first))
			continue;
		nouveau_dmem_use(dmem, chunk, first, 1UL << order);
		spin_unlock(&dmem->lock);
		first += PHYS_PFN(chunk->pagemap.range.start);
		return migrate_device_folio(&chunk->pagemap, first, order);
	}
	spin_unlock(&dmem->lock);
	return NULL;
}

/* Is VRAM for @npages pages pinned and free? It may not be any more at once. */
bool nouveau_dmem_has(struct nouveau_drm *drm, unsigned long npages)
{
	struct nouveau_dmem *dmem = drm->dmem;

	if (!dmem)
		return false;
	guard(spinlock)(&dmem->lock);
	return !dmem->closed && dmem->free >= npages;
}

/* Announce that a chunk will be added, if another task does not do so. */
static int nouveau_dmem_begin_growing(struct nouveau_dmem *dmem)
{
	guard(spinlock)(&dmem->lock);
	if (dmem->closed)
		return -ENODEV;
	if (dmem->growing)
		return -EBUSY;
	dmem->growing = true;
	return 0;
}

static int nouveau_dmem_end_growing(struct nouveau_dmem *dmem,
				    struct nouveau_dmem_chunk *chunk)
{
	guard(spinlock)(&dmem->lock);
	dmem->growing = false;
	if (IS_ERR(chunk))
		return PTR_ERR(chunk);
	if (dmem->closed)
		return -ENODEV;
	list_add_tail(&chunk->head, &dmem->chunks);
	dmem->free += chunk->free;
	return 0;
}

/**
 * nouveau_dmem_reserve() - have free VRAM before pages are collected
 * @drm: the device
 * @npages: for how many pages
 *
 * Other tasks may be faster in allocating them.
 *
 * Context: Process context, may sleep, as long as jobs use the buffer objects
 * that must make room; no folio lock and no mmap_lock is held.
 *
 * Return: 0; -ENODEV if the device has no VRAM for processes, is suspended or
 * goes away; -EBUSY if another task is pinning more; or an error of pinning.
 */
int nouveau_dmem_reserve(struct nouveau_drm *drm, unsigned long npages)
{
	struct nouveau_dmem *dmem = drm->dmem;
	struct nouveau_dmem_chunk *chunk;
	int ret;

	if (!dmem)
		return -ENODEV;
	if (nouveau_dmem_has(drm, npages))
		return 0;
	ret = nouveau_dmem_begin_growing(dmem);
	if (ret)
		return ret;
	chunk = nouveau_dmem_chunk_new(dmem);
	ret = nouveau_dmem_end_growing(dmem, chunk);
	if (ret && !IS_ERR(chunk))
		nouveau_dmem_chunk_del(dmem, chunk);
	return ret;
}

static void nouveau_dmem_close(struct nouveau_dmem *dmem, bool closed)
{
	guard(spinlock)(&dmem->lock);
	dmem->closed = closed;
}

/* Once this has returned for a device that goes to sleep, no copy begins. */
static void nouveau_dmem_set_asleep(struct nouveau_dmem *dmem, bool asleep)
{
	struct mutex *mutex = &dmem->chan->cli->mutex;

	mutex_lock_nested(mutex, SINGLE_DEPTH_NESTING);
	dmem->asleep = asleep;
	mutex_unlock(mutex);
}

static void nouveau_dmem_chunk_unpin(struct nouveau_dmem *dmem,
				     struct nouveau_dmem_chunk *chunk)
{
	scoped_guard(spinlock, &dmem->lock) {
		WRITE_ONCE(chunk->pinned, false);
		dmem->free -= chunk->free;
	}
	dmem->bo->unpin(chunk->bo);
}

/* TTM has kept the contents, be it for longer than one suspension. */
static void nouveau_dmem_chunk_pin(struct nouveau_dmem *dmem,
				   struct nouveau_dmem_chunk *chunk)
{
	int ret = dmem->bo->pin(chunk->bo);

	if (ret) {
		NV_ERROR(dmem->drm, "dmem: cannot pin VRAM again: %d\n", ret);
		return;
	}
	guard(spinlock)(&dmem->lock);
	WRITE_ONCE(chunk->pinned, true);
	dmem->free += chunk->free;
}

/*
 * User space is frozen, unless the system goes down, or no page is in use.
 * Pages go to system memory as far as they can; buffer objects with the rest are
 * moved by TTM, which knows nothing of pages, and comes back with them at another
 * offset.
 */
void nouveau_dmem_suspend(struct nouveau_drm *drm)
{
	struct nouveau_dmem *dmem = drm->dmem;
	struct nouveau_dmem_chunk *chunk;

	if (!dmem)
		return;
	nouveau_dmem_close(dmem, true);
	guard(mutex)(&dmem->mutex);
	/* Twice, if the rest of the driver could not be suspended */
	if (dmem->asleep)
		return;
	list_for_each_entry(chunk, &dmem->chunks, head) {
		if (chunk->pinned)
			nouveau_dmem_chunk_evict(chunk,
						 NOUVEAU_DMEM_SUSPEND_TIMEOUT);
	}
	nouveau_dmem_set_asleep(dmem, true);
	list_for_each_entry(chunk, &dmem->chunks, head) {
		if (chunk->pinned)
			nouveau_dmem_chunk_unpin(dmem, chunk);
	}
}

void nouveau_dmem_resume(struct nouveau_drm *drm)
{
	struct nouveau_dmem *dmem = drm->dmem;
	struct nouveau_dmem_chunk *chunk;

	if (!dmem)
		return;
	guard(mutex)(&dmem->mutex);
	list_for_each_entry(chunk, &dmem->chunks, head) {
		if (!chunk->pinned)
			nouveau_dmem_chunk_pin(dmem, chunk);
	}
	nouveau_dmem_set_asleep(dmem, false);
	nouveau_dmem_close(dmem, false);
}

static bool nouveau_dmem_can_copy(const struct nouveau_drm *drm)
{
	switch (drm->ttm.copy.oclass) {
	case PASCAL_DMA_COPY_A:
	case PASCAL_DMA_COPY_B:
	case VOLTA_DMA_COPY_A:
	case TURING_DMA_COPY_A:
		return drm->ttm.chan;
	default:
		return false;
	}
}

void nouveau_dmem_init(struct nouveau_drm *drm)
{
	struct nouveau_dmem *dmem;

	if (drm->client.device.info.family < NV_DEVICE_INFO_V0_PASCAL ||
	    !nouveau_dmem_can_copy(drm))
		return;
	dmem = kzalloc_obj(*dmem);
	if (!dmem)
		return;
	dmem->drm = drm;
	dmem->bo = &nouveau_dmem_bo_ops;
	dmem->chan = drm->ttm.chan;
	mutex_init(&dmem->mutex);
	spin_lock_init(&dmem->lock);
	INIT_LIST_HEAD(&dmem->chunks);
	drm->dmem = dmem;
}

/*
 * Comes before nouveau_svm_fini(), so faults of the GPU must be stopped here:
 * they allocate, and copy.
 */
void nouveau_dmem_fini(struct nouveau_drm *drm)
{
	struct nouveau_dmem *dmem = drm->dmem;
	struct nouveau_dmem_chunk *chunk, *next;

	if (!dmem)
		return;
	nouveau_svm_stop(drm);
	nouveau_dmem_close(dmem, true);
	list_for_each_entry_safe(chunk, next, &dmem->chunks, head) {
		if (nouveau_dmem_chunk_evict(chunk, MAX_SCHEDULE_TIMEOUT))
			nouveau_dmem_chunk_abandon(chunk);
		nouveau_dmem_chunk_del(dmem, chunk);
	}
	drm->dmem = NULL;
	nouveau_fence_unref(&dmem->stuck);
	kfree(dmem);
}
