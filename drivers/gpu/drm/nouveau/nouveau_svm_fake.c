// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The fake GPU of nouveau_svm_fake.h: its device, and what the driver calls. */
#include "nouveau_svm_fake.h"
#include "nouveau_svm.h"

#include <core/device.h>
#include <nvif/class.h>
#include <nvif/clb069.h>
#include <nvif/driver.h>
#include <nvif/event.h>
#include <nvif/if000c.h>
#include <nvif/ifc00d.h>
#include <nvif/ioctl.h>

#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/dma-mapping.h>

void fake_violation(struct fake_gpu *gpu, enum fake_violation kind,
		    const char *fmt, ...)
{
	va_list args;

	if (gpu->violations[kind]++)
		return;
	va_start(args, fmt);
	vscnprintf(gpu->first_violation[kind],
		   sizeof(gpu->first_violation[kind]), fmt, args);
	va_end(args);
}

/* The next event of the log; what does not fit is overwritten. */
struct fake_event *fake_log(struct fake_gpu *gpu, enum fake_op op)
{
	struct fake_event *event;

	lockdep_assert_held(&gpu->lock);
	if (gpu->nr_log == FAKE_LOG)
		gpu->nr_log--;
	event = &gpu->log[gpu->nr_log++];
	*event = (struct fake_event) { .op = op };
	return event;
}

/* The first such event that overlaps the range, or -1; any, if size is 0 */
int fake_log_find(struct fake_gpu *gpu, unsigned int from, enum fake_op op,
		  u64 addr, u64 size)
{
	unsigned int i;

	for (i = from; i < gpu->nr_log; i++) {
		struct fake_event *event = &gpu->log[i];

		if (event->op != op)
			continue;
		if (!size || (event->addr < addr + size &&
			      addr < event->addr + event->size))
			return i;
	}
	return -1;
}

unsigned int fake_log_count(struct fake_gpu *gpu, unsigned int from,
			    enum fake_op op)
{
	unsigned int i, count = 0;

	for (i = from; i < gpu->nr_log; i++)
		count += gpu->log[i].op == op;
	return count;
}

static int fake_ioctl_sclass(struct nvif_ioctl_sclass_v0 *args)
{
	if (args->count) {
		args->oclass[0].oclass = MAXWELL_FAULT_BUFFER_A;
		args->oclass[0].minver = 0;
		args->oclass[0].maxver = 0;
	}
	args->count = 1;
	return 0;
}

static int fake_new_vmm(struct fake_gpu *gpu, u64 handle,
			struct nvif_vmm_v0 *args)
{
	struct fake_vmm *vmm = fake_vmm_new(gpu, handle);

	if (!vmm)
		return -ENOMEM;
	/* nvkm maps pfns everywhere but in the range that it manages. */
	vmm->unmanaged_start = args->addr;
	vmm->unmanaged_end = args->addr + args->size;
	args->page_nr = 2;
	args->addr = 0;
	args->size = 1ULL << 49;
	return 0;
}

static int fake_new_fault_buffer(struct nvif_clb069_v0 *args)
{
	args->entries = FAKE_ENTRIES;
	args->get = FAKE_GET;
	args->put = FAKE_PUT;
	return 0;
}

static int fake_ioctl_new(struct fake_gpu *gpu, struct nvif_ioctl_new_v0 *args)
{
	int ret;

	switch (args->oclass) {
	case MAXWELL_FAULT_BUFFER_A:
		ret = fake_new_fault_buffer((void *)args->data);
		break;
	case NVIF_CLASS_EVENT:
		gpu->notify = (struct nvif_event *)(uintptr_t)args->object;
		ret = 0;
		break;
	case NVIF_CLASS_VMM_GP100:
		ret = fake_new_vmm(gpu, args->object, (void *)args->data);
		break;
	default:
		return -EINVAL;
	}
	if (!ret)
		gpu->nr_objects++;
	return ret;
}

static int fake_ioctl_del(struct fake_gpu *gpu, u64 handle)
{
	struct fake_vmm *vmm = fake_vmm_find(gpu, handle);

	if (vmm)
		fake_vmm_del(gpu, vmm);
	if (handle == (uintptr_t)gpu->notify) {
		fake_allow(gpu, false);
		gpu->notify = NULL;
	}
	gpu->nr_objects--;
	return 0;
}

static int fake_mthd_page(struct nvif_vmm_page_v0 *args)
{
	args->shift = args->index ? PAGE_SHIFT : 21;
	args->vram = 1;
	args->host = 1;
	return 0;
}

static int fake_mthd_vmm(struct fake_gpu *gpu, struct fake_vmm *vmm,
			 u8 method, void *argv, u32 argc)
{
	struct nvif_vmm_pfnmap_v0 *pfnmap = argv;
	struct nvif_vmm_pfnclr_v0 *pfnclr = argv;
	int ret;

	switch (method) {
	case NVIF_VMM_V0_PAGE:
		return fake_mthd_page(argv);
	case NVIF_VMM_V0_PFNMAP:
		if (gpu->before_pfnmap)
			gpu->before_pfnmap(gpu, pfnmap->addr);
		mutex_lock(&gpu->lock);
		ret = fake_pfnmap(gpu, vmm, argv, argc);
		mutex_unlock(&gpu->lock);
		return ret;
	case NVIF_VMM_V0_PFNCLR:
		mutex_lock(&gpu->lock);
		ret = fake_pfnclr(gpu, vmm, pfnclr->addr, pfnclr->size);
		mutex_unlock(&gpu->lock);
		return ret;
	}
	return -EINVAL;
}

/* Methods of the event and of the kernel's own VMM */
static int fake_mthd_other(struct fake_gpu *gpu, u64 handle, u8 method,
			   void *argv)
{
	struct gp100_vmm_fault_cancel_v0 *cancel = argv;

	if (handle == (uintptr_t)gpu->notify) {
		fake_allow(gpu, method == NVIF_EVENT_V0_ALLOW);
		return 0;
	}
	if (handle != (uintptr_t)&gpu->drm->client.vmm.vmm.object)
		return -ENOENT;
	switch (method) {
	case GP100_VMM_VN_FAULT_REPLAY:
		fake_replay(gpu);
		return 0;
	case GP100_VMM_VN_FAULT_CANCEL:
		fake_cancel(gpu, cancel->inst, cancel->gpc, cancel->client);
		return 0;
	}
	return -EINVAL;
}

static int fake_ioctl_mthd(struct fake_gpu *gpu, u64 handle,
			   struct nvif_ioctl_mthd_v0 *args, u32 argc)
{
	struct fake_vmm *vmm = fake_vmm_find(gpu, handle);

	if (vmm)
		return fake_mthd_vmm(gpu, vmm, args->method, args->data, argc);
	return fake_mthd_other(gpu, handle, args->method, args->data);
}

static int fake_ioctl_map(struct fake_gpu *gpu, struct nvif_ioctl_map_v0 *args)
{
	args->type = NVIF_IOCTL_MAP_V0_VA;
	args->handle = (uintptr_t)gpu->faults;
	args->length = FAKE_ENTRIES * 32;
	return 0;
}

/* Is this the call that fails? What takes things down never does. */
static bool fake_fails(struct fake_gpu *gpu, u8 type)
{
	return type != NVIF_IOCTL_V0_DEL && type != NVIF_IOCTL_V0_UNMAP &&
	       atomic_read(&gpu->calls_left) &&
	       atomic_dec_and_test(&gpu->calls_left);
}

static int fake_ioctl(void *priv, void *data, u32 size, void **hack)
{
	struct fake_gpu *gpu = priv;
	struct nvif_ioctl_v0 *args = data;
	void *argv = args->data;

	if (fake_fails(gpu, args->type))
		return -EIO;
	switch (args->type) {
	case NVIF_IOCTL_V0_SCLASS:
		return fake_ioctl_sclass(argv);
	case NVIF_IOCTL_V0_NEW:
		return fake_ioctl_new(gpu, argv);
	case NVIF_IOCTL_V0_DEL:
		return fake_ioctl_del(gpu, args->object);
	case NVIF_IOCTL_V0_MTHD:
		return fake_ioctl_mthd(gpu, args->object, argv, size -
				       sizeof(*args) -
				       sizeof(struct nvif_ioctl_mthd_v0));
	case NVIF_IOCTL_V0_MAP:
		return fake_ioctl_map(gpu, argv);
	case NVIF_IOCTL_V0_UNMAP:
		return 0;
	}
	return -EINVAL;
}

static const struct nvif_driver fake_driver = {
	.name = "fake",
	.ioctl = fake_ioctl,
};

static __printf(2, 3)
void fake_debugf(struct nvif_object *object, const char *fmt, ...)
{
}

static __printf(2, 3)
void fake_errorf(struct nvif_object *object, const char *fmt, ...)
{
	struct va_format vaf = { .fmt = fmt };
	va_list args;

	va_start(args, fmt);
	vaf.va = &args;
	pr_info("fake GPU: %pV", &vaf);
	va_end(args);
}

static const struct nvif_parent_func fake_parent = {
	.debugf = fake_debugf,
	.errorf = fake_errorf,
};

static void fake_object_init(struct nouveau_cli *cli,
			     struct nvif_object *object, const char *name)
{
	object->client = &cli->base;
	object->parent = &cli->drm->parent;
	object->name = name;
}

static void fake_cli_init(struct fake_gpu *gpu, struct nouveau_cli *cli)
{
	cli->drm = gpu->drm;
	cli->base.driver = &fake_driver;
	cli->base.object.priv = gpu;
	fake_object_init(cli, &cli->base.object, "client");
	fake_object_init(cli, &cli->device.object, "device");
	fake_object_init(cli, &cli->mmu.object, "mmu");
	fake_object_init(cli, &cli->vmm.vmm.object, "vmm");
	cli->device.object.map.ptr = (void __force __iomem *)gpu->regs;
	cli->device.info.family = NV_DEVICE_INFO_V0_PASCAL;
	cli->vmm.vmm.object.oclass = NVIF_CLASS_VMM_GP100;
	cli->vmm.cli = cli;
	mutex_init(&cli->mutex);
	mutex_init(&cli->lock);
	INIT_LIST_HEAD(&cli->head);
	INIT_LIST_HEAD(&cli->objects);
	INIT_LIST_HEAD(&cli->worker);
	strscpy(cli->name, "fake");
}

/* An open file: what nouveau_drm_open() makes */
struct nouveau_cli *fake_cli_new(struct fake_gpu *gpu)
{
	struct nouveau_cli *cli;

	cli = kunit_kzalloc(gpu->test, sizeof(*cli), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(gpu->test, cli);
	fake_cli_init(gpu, cli);
	return cli;
}

static void *fake_zalloc(struct kunit *test, size_t size)
{
	void *memory = kunit_kzalloc(test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, memory);
	return memory;
}

static struct nouveau_drm *fake_drm_new(struct kunit *test)
{
	struct nouveau_drm *drm = fake_zalloc(test, sizeof(*drm));
	struct device *dev = kunit_device_register(test, "gpu");

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	KUNIT_ASSERT_EQ(test, 0,
			dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)));
	drm->dev = fake_zalloc(test, sizeof(*drm->dev));
	drm->dev->dev = dev;
	drm->dev->dev_private = drm;
	drm->nvkm = fake_zalloc(test, sizeof(*drm->nvkm));
	drm->nvkm->dev = dev;
	drm->runl = fake_zalloc(test, sizeof(*drm->runl));
	drm->runl_nr = 1;
	drm->fence = fake_zalloc(test, sizeof(struct nouveau_fence_priv));
	nvif_parent_ctor(&fake_parent, &drm->parent);
	mutex_init(&drm->client_mutex);
	mutex_init(&drm->clients_lock);
	INIT_LIST_HEAD(&drm->clients);
	return drm;
}

struct fake_gpu *fake_gpu_new(struct kunit *test)
{
	struct fake_gpu *gpu = fake_zalloc(test, sizeof(*gpu));

	gpu->test = test;
	gpu->regs = fake_zalloc(test, 4 * PAGE_SIZE);
	gpu->faults = fake_zalloc(test, FAKE_ENTRIES * 32);
	gpu->log = fake_zalloc(test, FAKE_LOG * sizeof(*gpu->log));
	gpu->drm = fake_drm_new(test);
	mutex_init(&gpu->lock);
	spin_lock_init(&gpu->vram_lock);
	init_waitqueue_head(&gpu->answered);
	INIT_LIST_HEAD(&gpu->vmms);
	INIT_LIST_HEAD(&gpu->bos);
	xa_init(&gpu->rmap_small);
	xa_init(&gpu->rmap_large);
	xa_init(&gpu->vram);
	gpu->vram_next = 16UL << 20;
	gpu->vram_left = 8ULL << 30;
	gpu->copies_left = -1;
	fake_cli_init(gpu, &gpu->drm->client);
	KUNIT_ASSERT_EQ(test, 0, fake_chan_init(gpu));
	return gpu;
}

void fake_gpu_del(struct fake_gpu *gpu)
{
	struct fake_vmm *vmm, *next;

	list_for_each_entry_safe(vmm, next, &gpu->vmms, head)
		fake_vmm_del(gpu, vmm);
	fake_chan_fini(gpu);
	fake_vram_fini(gpu);
	xa_destroy(&gpu->rmap_small);
	xa_destroy(&gpu->rmap_large);
}
