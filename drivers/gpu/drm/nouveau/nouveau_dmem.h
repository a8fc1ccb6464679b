/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Device memory (VRAM) that holds pages of processes */
#ifndef __NOUVEAU_DMEM_H__
#define __NOUVEAU_DMEM_H__

#include <linux/types.h>

struct folio;
struct nouveau_drm;
struct page;

#if IS_ENABLED(CONFIG_DRM_NOUVEAU_SVM)

void nouveau_dmem_init(struct nouveau_drm *drm);
void nouveau_dmem_fini(struct nouveau_drm *drm);
void nouveau_dmem_suspend(struct nouveau_drm *drm);
void nouveau_dmem_resume(struct nouveau_drm *drm);

void *nouveau_dmem_owner(const struct nouveau_drm *drm);
bool nouveau_dmem_has(struct nouveau_drm *drm, unsigned long npages);
int nouveau_dmem_reserve(struct nouveau_drm *drm, unsigned long npages);
struct folio *nouveau_dmem_alloc(void *arg, unsigned int order);
int nouveau_dmem_copy(void *arg, const unsigned long *src, unsigned long *dst,
		      unsigned long npages);
int nouveau_dmem_copy_rest(void *arg, const unsigned long *src,
			   unsigned long *dst, unsigned long npages);
u64 nouveau_dmem_page_addr(const struct page *page);
bool nouveau_dmem_page_is_lost(const struct page *page);

#else

static inline void nouveau_dmem_init(struct nouveau_drm *drm) {}
static inline void nouveau_dmem_fini(struct nouveau_drm *drm) {}
static inline void nouveau_dmem_suspend(struct nouveau_drm *drm) {}
static inline void nouveau_dmem_resume(struct nouveau_drm *drm) {}

#endif
#endif
