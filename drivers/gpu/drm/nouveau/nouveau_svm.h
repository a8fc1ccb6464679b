/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Shared virtual memory: what the rest of the driver calls */
#ifndef __NOUVEAU_SVM_H__
#define __NOUVEAU_SVM_H__

#include <linux/errno.h>
#include <linux/types.h>

struct drm_device;
struct drm_file;
struct nouveau_drm;
struct nouveau_svmm;

#if IS_ENABLED(CONFIG_DRM_NOUVEAU_SVM)

void nouveau_svm_init(struct nouveau_drm *drm);
void nouveau_svm_fini(struct nouveau_drm *drm);
void nouveau_svm_stop(struct nouveau_drm *drm);
void nouveau_svm_suspend(struct nouveau_drm *drm);
void nouveau_svm_resume(struct nouveau_drm *drm);

int nouveau_svmm_init(struct drm_device *dev, void *data,
		      struct drm_file *file);
int nouveau_svmm_bind(struct drm_device *dev, void *data,
		      struct drm_file *file);
int nouveau_svmm_join(struct nouveau_svmm *svmm, u64 inst);
void nouveau_svmm_part(struct nouveau_svmm *svmm, u64 inst);
void nouveau_svmm_fini(struct nouveau_svmm **svmm);

#else

static inline void nouveau_svm_init(struct nouveau_drm *drm) {}
static inline void nouveau_svm_fini(struct nouveau_drm *drm) {}
static inline void nouveau_svm_suspend(struct nouveau_drm *drm) {}
static inline void nouveau_svm_resume(struct nouveau_drm *drm) {}

static inline int nouveau_svmm_init(struct drm_device *dev, void *data,
				    struct drm_file *file)
{
	return -ENOSYS;
}

static inline int nouveau_svmm_bind(struct drm_device *dev, void *data,
				    struct drm_file *file)
{
	return -ENOSYS;
}

static inline int nouveau_svmm_join(struct nouveau_svmm *svmm, u64 inst)
{
	return 0;
}

static inline void nouveau_svmm_part(struct nouveau_svmm *svmm, u64 inst) {}
static inline void nouveau_svmm_fini(struct nouveau_svmm **svmm) {}

#endif
#endif
