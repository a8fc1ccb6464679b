// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Chunks of VRAM, and the buffer objects behind them */
#include <linux/ioport.h>

#include "nouveau_dmem_chunk.h"
#include "nouveau_bo.h"
#include "nouveau_drv.h"
#include "nouveau_gem.h"

static int nouveau_dmem_bo_new(struct nouveau_drm *drm, u64 size,
			       struct nouveau_bo **bo)
{
	return nouveau_bo_new_pin(&drm->client, NOUVEAU_GEM_DOMAIN_VRAM, size,
				  bo);
}

static int nouveau_dmem_bo_pin(struct nouveau_bo *bo)
{
	return nouveau_bo_pin(bo, NOUVEAU_GEM_DOMAIN_VRAM, false);
}

static void nouveau_dmem_bo_unpin(struct nouveau_bo *bo)
{
	nouveau_bo_unpin(bo);
}

const struct nouveau_dmem_bo_ops nouveau_dmem_bo_ops = {
	.new = nouveau_dmem_bo_new,
	.del = nouveau_bo_unpin_del,
	.pin = nouveau_dmem_bo_pin,
	.unpin = nouveau_dmem_bo_unpin,
};

static int nouveau_dmem_chunk_map(struct nouveau_dmem_chunk *chunk)
{
	struct dev_pagemap *pagemap = &chunk->pagemap;
	struct resource *res;
	void *ret;

	/* An unused range of physical addresses, for the struct pages only */
	res = request_free_mem_region(&iomem_resource, NOUVEAU_DMEM_CHUNK_SIZE,
				      "nouveau_dmem");
	if (IS_ERR(res))
		return PTR_ERR(res);
	pagemap->type = MEMORY_DEVICE_PRIVATE;
	pagemap->flags = PGMAP_FAULT_VMA_LOCK;
	pagemap->range.start = res->start;
	pagemap->range.end = res->end;
	pagemap->nr_range = 1;
	pagemap->ops = &nouveau_dmem_pagemap_ops;
	pagemap->owner = nouveau_dmem_owner(chunk->drm);
	ret = memremap_pages(pagemap, numa_node_id());
	if (!IS_ERR(ret))
		return 0;
	release_mem_region(res->start, resource_size(res));
	return PTR_ERR(ret);
}

static void nouveau_dmem_chunk_unmap(struct nouveau_dmem_chunk *chunk)
{
	struct dev_pagemap *pagemap = &chunk->pagemap;

	memunmap_pages(pagemap);
	release_mem_region(pagemap->range.start, range_len(&pagemap->range));
}

static int nouveau_dmem_chunk_fill(struct nouveau_dmem *dmem,
				   struct nouveau_dmem_chunk *chunk)
{
	int ret = dmem->bo->new(chunk->drm, NOUVEAU_DMEM_CHUNK_SIZE,
				&chunk->bo);

	if (ret)
		return ret;
	ret = nouveau_dmem_chunk_map(chunk);
	if (ret)
		dmem->bo->del(&chunk->bo);
	return ret;
}

/* Pin more VRAM. That may wait for buffer objects that are in use. */
struct nouveau_dmem_chunk *nouveau_dmem_chunk_new(struct nouveau_dmem *dmem)
{
	struct nouveau_dmem_chunk *chunk = kvzalloc_obj(*chunk);
	int ret;

	if (!chunk)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&chunk->head);
	chunk->drm = dmem->drm;
	chunk->free = NOUVEAU_DMEM_CHUNK_PAGES;
	chunk->pinned = true;
	ret = nouveau_dmem_chunk_fill(dmem, chunk);
	if (!ret)
		return chunk;
	kvfree(chunk);
	return ERR_PTR(ret);
}

/* Waits until no page of the chunk is in use. */
void nouveau_dmem_chunk_del(struct nouveau_dmem *dmem,
			    struct nouveau_dmem_chunk *chunk)
{
	list_del(&chunk->head);
	nouveau_dmem_chunk_unmap(chunk);
	/* Deleting unpins. */
	if (chunk->pinned || !dmem->bo->pin(chunk->bo))
		dmem->bo->del(&chunk->bo);
	kvfree(chunk);
}
