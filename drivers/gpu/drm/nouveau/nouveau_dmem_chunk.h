/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * VRAM comes in chunks: a pinned buffer object, and a dev_pagemap that gives
 * its pages struct pages.
 */
#ifndef __NOUVEAU_DMEM_CHUNK_H__
#define __NOUVEAU_DMEM_CHUNK_H__

#include <linux/bitmap.h>
#include <linux/memremap.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>

#include "nouveau_dmem.h"

struct nouveau_bo;
struct nouveau_channel;
struct nouveau_fence;

#define NOUVEAU_DMEM_CHUNK_SIZE		SZ_256M
#define NOUVEAU_DMEM_CHUNK_PAGES	(NOUVEAU_DMEM_CHUNK_SIZE >> PAGE_SHIFT)

/**
 * struct nouveau_dmem_chunk - a part of VRAM
 * @head: in &nouveau_dmem.chunks
 * @drm: the device
 * @bo: the buffer object
 * @pagemap: its struct pages
 * @free: number of pages that are not in use
 * @hint: where to look for free pages first
 * @pinned: @bo is pinned. It is not while the device is suspended; if it cannot
 *	be pinned when the device resumes, the next resume tries again. Until
 *	then, nothing is allocated from the chunk, and its pages are lost.
 *	Changes under &nouveau_dmem.mutex and &nouveau_dmem.lock.
 * @used: which pages are in use
 */
struct nouveau_dmem_chunk {
	struct list_head head;
	struct nouveau_drm *drm;
	struct nouveau_bo *bo;
	struct dev_pagemap pagemap;
	unsigned long free;
	unsigned long hint;
	bool pinned;
	DECLARE_BITMAP(used, NOUVEAU_DMEM_CHUNK_PAGES);
};

/**
 * struct nouveau_dmem_bo_ops - what chunks need of buffer objects
 * @new: allocate one of @size bytes, pinned in VRAM
 * @del: unpin and free it
 * @pin: pin it in VRAM again, at any offset
 * @unpin: unpin it, so that TTM may move it
 *
 * KUnit tests have others, as buffer objects need hardware.
 */
struct nouveau_dmem_bo_ops {
	int (*new)(struct nouveau_drm *drm, u64 size, struct nouveau_bo **bo);
	void (*del)(struct nouveau_bo **bo);
	int (*pin)(struct nouveau_bo *bo);
	void (*unpin)(struct nouveau_bo *bo);
};

/**
 * struct nouveau_dmem - all device memory of a GPU
 * @drm: the device
 * @bo: how chunks get buffer objects
 * @chan: the channel of the copy engine, which TTM also uses; under its
 *	client's mutex
 * @mutex: serialises suspending and resuming; adding a chunk does not take it
 * @lock: protects all that follows
 * @chunks: what has been pinned so far; only grows
 * @free: number of free pages in chunks that are pinned
 * @used: number of pages in use
 * @closed: no more pages are handed out
 * @growing: a chunk is being pinned, which may take long
 * @asleep: the copy engine must not be used; with the next one, under the mutex
 *	of @chan's client
 * @stuck: the last copy that was not complete in time, or %NULL
 */
struct nouveau_dmem {
	struct nouveau_drm *drm;
	const struct nouveau_dmem_bo_ops *bo;
	struct nouveau_channel *chan;
	struct mutex mutex;	/* see above */
	spinlock_t lock;	/* see above */
	struct list_head chunks;
	unsigned long free;
	unsigned long used;
	bool closed;
	bool growing;
	bool asleep;
	struct nouveau_fence *stuck;
};

static inline struct nouveau_dmem_chunk *
nouveau_dmem_chunk_of(const struct page *page)
{
	return container_of(page_pgmap(page), struct nouveau_dmem_chunk,
			    pagemap);
}

/* nouveau_dmem_chunk.c */
struct nouveau_dmem_chunk *nouveau_dmem_chunk_new(struct nouveau_dmem *dmem);
void nouveau_dmem_chunk_del(struct nouveau_dmem *dmem,
			    struct nouveau_dmem_chunk *chunk);
extern const struct nouveau_dmem_bo_ops nouveau_dmem_bo_ops;

/* nouveau_dmem_migrate.c */
extern const struct dev_pagemap_ops nouveau_dmem_pagemap_ops;
int nouveau_dmem_chunk_evict(struct nouveau_dmem_chunk *chunk,
			     unsigned long timeout);
void nouveau_dmem_chunk_abandon(struct nouveau_dmem_chunk *chunk);
void nouveau_dmem_folio_free(struct folio *folio);

#endif
