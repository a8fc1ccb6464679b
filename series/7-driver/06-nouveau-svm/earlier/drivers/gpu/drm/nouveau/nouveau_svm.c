// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Shared virtual memory: address spaces that a GPU shares with processes, and
 * which of its channels use them.
 */
#include <linux/sched/mm.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>

#include <nvif/ifc00d.h>

#include "nouveau_drv.h"
#include "nouveau_svm_priv.h"

/* A channel, by the instance that its faults name */
struct nouveau_svm_inst {
	struct list_head head;
	struct nouveau_svmm *svmm;
	u64 inst;
};

static struct nouveau_svm_inst *nouveau_svm_inst(struct nouveau_svm *svm,
						 u64 inst)
{
	struct nouveau_svm_inst *entry;

	lockdep_assert_held(&svm->mutex);
	list_for_each_entry(entry, &svm->insts, head) {
		if (entry->inst == inst)
			return entry;
	}
	return NULL;
}

/* The address space of an instance, or %NULL */
struct nouveau_svmm *nouveau_svm_find(struct nouveau_svm *svm, u64 inst)
{
	struct nouveau_svm_inst *entry = nouveau_svm_inst(svm, inst);

	return entry ? entry->svmm : NULL;
}

/* A channel begins to use the address space, if its file has one. */
int nouveau_svmm_join(struct nouveau_svmm *svmm, u64 inst)
{
	struct nouveau_svm_inst *entry;

	if (!svmm)
		return 0;
	entry = kmalloc_obj(*entry);
	if (!entry)
		return -ENOMEM;
	entry->svmm = svmm;
	entry->inst = inst;
	guard(mutex)(&svmm->svm->mutex);
	list_add(&entry->head, &svmm->svm->insts);
	return 0;
}

void nouveau_svmm_part(struct nouveau_svmm *svmm, u64 inst)
{
	struct nouveau_svm_inst *entry;

	if (!svmm)
		return;
	guard(mutex)(&svmm->svm->mutex);
	entry = nouveau_svm_inst(svmm->svm, inst);
	if (entry) {
		list_del(&entry->head);
		kfree(entry);
	}
}

static void nouveau_svm_free(struct kref *ref)
{
	kfree(container_of(ref, struct nouveau_svm, ref));
}

static void nouveau_svmm_free(struct kref *ref)
{
	struct nouveau_svmm *svmm = container_of(ref, struct nouveau_svmm, ref);

	nouveau_svm_blocks_free(svmm);
	mmdrop(svmm->mm);
	kref_put(&svmm->svm->ref, nouveau_svm_free);
	kvfree(svmm->op);
	kvfree(svmm);
}

void nouveau_svmm_put(struct nouveau_svmm *svmm)
{
	kref_put(&svmm->ref, nouveau_svmm_free);
}

static struct nouveau_svmm *
nouveau_svmm_new(struct nouveau_svm *svm, struct nvif_vmm *vmm,
		 const struct drm_nouveau_svm_init *args)
{
	struct nouveau_svmm *svmm = kvzalloc_obj(*svmm);

	if (!svmm)
		return NULL;
	svmm->op = nouveau_svm_op_alloc(svmm);
	if (!svmm->op) {
		kvfree(svmm);
		return NULL;
	}
	kref_init(&svmm->ref);
	kref_get(&svm->ref);
	svmm->svm = svm;
	svmm->vmm = vmm;
	svmm->mm = current->mm;
	mmgrab(svmm->mm);
	svmm->unmanaged_start = args->unmanaged_addr;
	svmm->unmanaged_end = args->unmanaged_addr + args->unmanaged_size;
	mutex_init(&svmm->mutex);
	xa_init(&svmm->blocks);
	INIT_LIST_HEAD(&svmm->unmapped);
	INIT_WORK(&svmm->work, nouveau_svm_faults_work);
	return svmm;
}

static void nouveau_svmm_add(struct nouveau_svmm *svmm)
{
	struct nouveau_svm *svm = svmm->svm;

	guard(mutex)(&svm->mutex);
	svmm->suspended = svm->stopped;
	list_add(&svmm->head, &svm->svmms);
}

static int nouveau_svmm_create(struct nouveau_cli *cli,
			       const struct drm_nouveau_svm_init *args)
{
	struct gp100_vmm_v0 replay = { .fault_replay = true };
	struct nouveau_svm *svm = cli->drm->svm;
	struct nouveau_svmm *svmm;
	int ret;

	if (!svm)
		return -ENOSYS;
	guard(mutex)(&cli->mutex);
	if (cli->svm.cli)
		return -EBUSY;
	svmm = nouveau_svmm_new(svm, &cli->svm.vmm, args);
	if (!svmm)
		return -ENOMEM;
	ret = nvif_vmm_ctor(&cli->mmu, "svmVmm", cli->vmm.vmm.object.oclass,
			    MANAGED, args->unmanaged_addr, args->unmanaged_size,
			    &replay, sizeof(replay), &cli->svm.vmm);
	if (ret) {
		nouveau_svmm_put(svmm);
		return ret;
	}
	nouveau_svmm_add(svmm);
	cli->svm.svmm = svmm;
	cli->svm.cli = cli;
	return 0;
}

/* The ioctl: from here on, channels of the file share the caller's memory. */
int nouveau_svmm_init(struct drm_device *dev, void *data, struct drm_file *file)
{
	int ret, idx;

	if (!drm_dev_enter(dev, &idx))
		return -ENODEV;
	ret = nouveau_svmm_create(nouveau_cli(file), data);
	drm_dev_exit(idx);
	return ret;
}

/* Only what the ABI has so far: MIGRATE to GPU_VRAM, without a stride */
static int nouveau_svmm_bind_check(const struct drm_nouveau_svm_bind *args)
{
	u64 command = args->header >> NOUVEAU_SVM_BIND_COMMAND_SHIFT &
		      NOUVEAU_SVM_BIND_COMMAND_MASK;
	u64 target = args->header >> NOUVEAU_SVM_BIND_TARGET_SHIFT &
		     NOUVEAU_SVM_BIND_TARGET_MASK;

	if (args->header & ~NOUVEAU_SVM_BIND_VALID_MASK ||
	    args->reserved0 || args->reserved1 || args->stride)
		return -EINVAL;
	if (command != NOUVEAU_SVM_BIND_COMMAND__MIGRATE ||
	    target != NOUVEAU_SVM_BIND_TARGET__GPU_VRAM)
		return -EINVAL;
	return args->va_start < args->va_end ? 0 : -EINVAL;
}

/* The address space of a file, with a reference, if the caller may name it */
static struct nouveau_svmm *nouveau_svmm_get(struct nouveau_cli *cli)
{
	struct nouveau_svmm *svmm;

	guard(mutex)(&cli->mutex);
	svmm = cli->svm.svmm;
	if (!svmm)
		return ERR_PTR(-EINVAL);
	/* A file descriptor may be passed on; memory is not. */
	if (svmm->mm != current->mm)
		return ERR_PTR(-EPERM);
	kref_get(&svmm->ref);
	return svmm;
}

int nouveau_svmm_bind(struct drm_device *dev, void *data, struct drm_file *file)
{
	struct drm_nouveau_svm_bind *args = data;
	struct nouveau_svmm *svmm;
	int ret, idx;

	args->va_start = ALIGN_DOWN(args->va_start, PAGE_SIZE);
	args->va_end = ALIGN(args->va_end, PAGE_SIZE);
	ret = nouveau_svmm_bind_check(args);
	if (ret)
		return ret;
	if (!drm_dev_enter(dev, &idx))
		return -ENODEV;
	svmm = nouveau_svmm_get(nouveau_cli(file));
	drm_dev_exit(idx);
	if (IS_ERR(svmm))
		return PTR_ERR(svmm);
	args->result = 0;
	ret = nouveau_svm_bind(svmm, args->va_start, args->va_end);
	nouveau_svmm_put(svmm);
	return ret;
}

/*
 * The file is closed. Faults that are being served may last, as user space may
 * handle them; they keep the address space, but cannot map any more.
 */
void nouveau_svmm_fini(struct nouveau_svmm **psvmm)
{
	struct nouveau_svmm *svmm = *psvmm;
	struct nouveau_svm_inst *entry, *next;

	if (!svmm)
		return;
	scoped_guard(mutex, &svmm->svm->mutex) {
		list_del(&svmm->head);
		list_for_each_entry_safe(entry, next, &svmm->svm->insts, head) {
			if (entry->svmm == svmm) {
				list_del(&entry->head);
				kfree(entry);
			}
		}
	}
	scoped_guard(mutex, &svmm->mutex) {
		nouveau_svm_blocks_clear(svmm);
		WRITE_ONCE(svmm->vmm, NULL);
	}
	nouveau_svm_evict(svmm);
	nouveau_svmm_put(svmm);
	*psvmm = NULL;
}

static void nouveau_svm_set_stopped(struct nouveau_svm *svm, bool stopped)
{
	struct nouveau_svmm *svmm;

	guard(mutex)(&svm->mutex);
	svm->stopped = stopped;
	list_for_each_entry(svmm, &svm->svmms, head) {
		guard(mutex)(&svmm->mutex);
		svmm->suspended = stopped;
		if (!stopped)
			continue;
		nouveau_svm_blocks_clear(svmm);
		svmm->was_stopped = svmm->busy;
	}
}

/*
 * Faults that are being served are not waited for: user space, which is frozen,
 * may have to handle them. They find that nothing may be mapped.
 */
void nouveau_svm_suspend(struct nouveau_drm *drm)
{
	struct nouveau_svm *svm = drm->svm;

	if (!svm)
		return;
	nouveau_svm_set_stopped(svm, true);
	nouveau_svm_buffer_stop(svm);
}

void nouveau_svm_resume(struct nouveau_drm *drm)
{
	struct nouveau_svm *svm = drm->svm;

	if (!svm)
		return;
	nouveau_svm_set_stopped(svm, false);
	if (nouveau_svm_buffer_start(svm))
		NV_ERROR(drm, "svm: no notice of faults after resuming\n");
	/* The GPU may wait for faults whose service ended meanwhile. */
	guard(mutex)(&svm->mutex);
	nouveau_svm_gpu_replay(svm);
}

/* The device goes away: serve no faults any more. */
void nouveau_svm_stop(struct nouveau_drm *drm)
{
	if (!drm->svm)
		return;
	nouveau_svm_suspend(drm);
	flush_workqueue(drm->svm->queue);
}

void nouveau_svm_fini(struct nouveau_drm *drm)
{
	struct nouveau_svm *svm = drm->svm;

	if (!svm)
		return;
	nouveau_svm_stop(drm);
	nouveau_svm_buffer_fini(svm);
	destroy_workqueue(svm->queue);
	drm->svm = NULL;
	kref_put(&svm->ref, nouveau_svm_free);
}

/*
 * nvkm maps 4 KiB of each page of system memory. From Volta on, faults cannot
 * be recovered from: a channel that is cancelled takes the GPU with it.
 */
static bool nouveau_svm_can(const struct nouveau_drm *drm)
{
	return drm->client.device.info.family <= NV_DEVICE_INFO_V0_PASCAL &&
	       PAGE_SIZE == 1UL << NOUVEAU_SVM_PAGE_SHIFT;
}

void nouveau_svm_init(struct nouveau_drm *drm)
{
	struct nouveau_svm *svm;

	if (!nouveau_svm_can(drm))
		return;
	svm = kzalloc_obj(*svm);
	if (!svm)
		return;
	svm->queue = alloc_workqueue("nouveau_svm", WQ_UNBOUND, WQ_MAX_ACTIVE);
	if (!svm->queue)
		goto free;
	kref_init(&svm->ref);
	svm->drm = drm;
	svm->dev = drm->dev;
	mutex_init(&svm->mutex);
	INIT_LIST_HEAD(&svm->insts);
	INIT_LIST_HEAD(&svm->svmms);
	if (nouveau_svm_buffer_init(svm))
		goto destroy;
	drm->svm = svm;
	return;

destroy:
	destroy_workqueue(svm->queue);
free:
	kfree(svm);
}
