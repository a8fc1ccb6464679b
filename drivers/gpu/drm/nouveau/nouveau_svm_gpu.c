// SPDX-License-Identifier: GPL-2.0 OR MIT
/* What is asked of the GPU */
#include <linux/sched/mm.h>

#include <nvif/ifc00d.h>
#include <nvif/object.h>

#include "nouveau_drv.h"
#include "nouveau_svm_priv.h"

/**
 * nouveau_svm_gpu_map() - write entries of the GPU's page table
 * @svmm: the address space, whose ->vmm is not %NULL
 * @pfnmap: with the entries
 * @addr: where the first one maps
 * @nr: number of entries
 * @shift: their page shift, 12 or 21
 *
 * No entry may be live there: nvkm would forget the address for DMA that is in
 * it. Where nvkm refuses an entry, it makes it invalid.
 *
 * nvkm allocates page tables, and must not reclaim for that, as reclaim calls
 * the invalidate callback, which takes the lock that is held here.
 *
 * Context: &nouveau_svmm.mutex is held.
 *
 * Return: 0 or a negative errno.
 */
int nouveau_svm_gpu_map(struct nouveau_svmm *svmm,
			struct nouveau_svm_pfnmap *pfnmap, u64 addr,
			unsigned int nr, unsigned int shift)
{
	unsigned int noreclaim;
	int ret;

	lockdep_assert_held(&svmm->mutex);
	pfnmap->ioctl.version = 0;
	pfnmap->ioctl.type = NVIF_IOCTL_V0_MTHD;
	pfnmap->mthd.version = 0;
	pfnmap->mthd.method = NVIF_VMM_V0_PFNMAP;
	pfnmap->map.version = 0;
	pfnmap->map.page = shift;
	pfnmap->map.addr = addr;
	pfnmap->map.size = (u64)nr << shift;

	noreclaim = memalloc_noreclaim_save();
	ret = nvif_object_ioctl(&svmm->vmm->object, pfnmap,
				struct_size(pfnmap, map.phys, nr), NULL);
	memalloc_noreclaim_restore(noreclaim);
	return ret;
}

/* Make the GPU stop using [@addr, @addr + @size). Context: as above. */
void nouveau_svm_gpu_clear(struct nouveau_svmm *svmm, u64 addr, u64 size)
{
	struct nvif_vmm_pfnclr_v0 args = { .addr = addr, .size = size };
	unsigned int noreclaim = memalloc_noreclaim_save();
	int ret;

	lockdep_assert_held(&svmm->mutex);
	ret = nvif_object_mthd(&svmm->vmm->object, NVIF_VMM_V0_PFNCLR, &args,
			       sizeof(args));
	memalloc_noreclaim_restore(noreclaim);
	if (ret)
		NV_ERROR(svmm->svm->drm,
			 "svm: cannot unmap %016llx+%llx: %d\n", addr, size,
			 ret);
}

/* Have the GPU repeat all accesses that have faulted. */
void nouveau_svm_gpu_replay(struct nouveau_svm *svm)
{
	struct nouveau_drm *drm = svm->drm;
	int ret;

	lockdep_assert_held(&svm->mutex);
	ret = nvif_object_mthd(&drm->client.vmm.vmm.object,
			       GP100_VMM_VN_FAULT_REPLAY,
			       &(struct gp100_vmm_fault_replay_vn){},
			       sizeof(struct gp100_vmm_fault_replay_vn));
	if (ret)
		NV_ERROR(drm, "svm: cannot replay faults: %d\n", ret);
}

/* Fail an access; recovery of the engine then kills its channel. */
void nouveau_svm_gpu_cancel(struct nouveau_svm *svm,
			    const struct nouveau_svm_fault *fault)
{
	struct nouveau_drm *drm = svm->drm;
	struct gp100_vmm_fault_cancel_v0 args = {
		.hub = fault->hub,
		.gpc = fault->gpc,
		.client = fault->client,
		.inst = fault->inst,
	};
	int ret;

	lockdep_assert_held(&svm->mutex);
	ret = nvif_object_mthd(&drm->client.vmm.vmm.object,
			       GP100_VMM_VN_FAULT_CANCEL, &args, sizeof(args));
	if (ret)
		NV_ERROR(drm, "svm: cannot cancel the fault at %016llx: %d\n",
			 fault->addr, ret);
}
