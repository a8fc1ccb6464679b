// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Each allocation and each call to the GPU fails once; the device lacks what
 * the driver needs, or is lost; and what else seldom happens.
 */
#include "nouveau_svm_kunit.h"
#include "nouveau_dmem_chunk.h"
#include "nouveau_dmem.h"
#include "nouveau_svm.h"
#include "nouveau_svm_priv.h"

#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/slab.h>
#include <nvif/cl0080.h>
#include <nvif/class.h>
#include <nvif/event.h>
#include <uapi/drm/nouveau_drm.h>

#define RW	(PROT_READ | PROT_WRITE)
/* More than anything here allocates or calls */
#define ENDLESS	2000

/* Have the n-th allocation of this task fail; 0: none. Returns what is left. */
static unsigned int svm_fail_allocation(unsigned int nth)
{
	unsigned int left = 0;

#ifdef CONFIG_FAILSLAB
	left = current->fail_nth;
	current->fail_nth = nth;
#endif
	return left;
}

static void svm_need_failures(struct kunit *test)
{
	bool failed;
	void *memory;

	svm_fail_allocation(1);
	memory = kmalloc(16, GFP_KERNEL);
	svm_fail_allocation(0);
	failed = !memory;
	kfree(memory);
	if (!failed)
		kunit_skip(test, "needs CONFIG_FAILSLAB, ignore-gfp-wait N");
}

/*
 * All that a file does, from a device that is found to memory in VRAM. What
 * fails leaves the rest undone: 0, or the error of the last step. No allocation
 * fails while struct pages are added: the kernel itself warns about that.
 */
static int svm_set_up(struct svm_test *t, struct svm_file *file)
{
	struct drm_nouveau_svm_init args = {
		.unmanaged_addr = SVM_UNMANAGED,
		.unmanaged_size = SVM_UNMANAGED_SIZE,
	};
	unsigned int nth;
	int ret;

	nouveau_svm_init(t->drm);
	nouveau_dmem_init(t->drm);
	if (!t->drm->svm || !t->drm->dmem)
		return -ENODEV;
	svm_use_fake_bos(t);
	svm_suspend(t);
	svm_resume(t);
	nth = svm_fail_allocation(0);
	ret = nouveau_dmem_reserve(t->drm, t->size >> PAGE_SHIFT);
	svm_fail_allocation(nth);
	if (ret)
		return ret;
	file->file.driver_priv = file->cli;
	ret = nouveau_svmm_init(t->drm->dev, &args, &file->file);
	if (ret)
		return ret;
	ret = nouveau_svmm_join(file->cli->svm.svmm, file->inst);
	if (ret)
		return ret;
	return svm_bind_in(t, file, t->area, t->size);
}

static void svm_take_down(struct svm_test *t, struct svm_file *file)
{
	svm_close(t, file);
	nouveau_dmem_fini(t->drm);
	nouveau_svm_fini(t->drm);
}

/*
 * Have the first thing fail, then the second, until nothing does. Each time,
 * nothing may be left behind, and the memory must be as it was.
 */
static void svm_fail_each(struct svm_test *t,
			  void (*arm)(struct svm_test *t, unsigned int nth),
			  bool (*has_failed)(struct svm_test *t))
{
	struct svm_file file = { .inst = SVM_INST };
	unsigned int nth, left;
	bool failed = true;
	int ret = 0;

	file.cli = fake_cli_new(t->gpu);
	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	svm_close(t, &t->file);
	svm_device_fini(t);
	for (nth = 1; failed && nth < ENDLESS; nth++) {
		arm(t, nth);
		ret = svm_set_up(t, &file);
		failed = has_failed(t);
		if (!failed)
			KUNIT_EXPECT_EQ(t->test, t->size >> PAGE_SHIFT,
					svm_in_vram(t, t->area, t->size));
		svm_take_down(t, &file);
		left = t->gpu->nr_objects;
		KUNIT_EXPECT_EQ_MSG(t->test, 0, left, "objects: %u", nth);
		KUNIT_EXPECT_EQ_MSG(t->test, 0,
				    svm_in_vram(t, t->area, t->size),
				    "pages in VRAM: %u", nth);
	}
	KUNIT_EXPECT_EQ(t->test, 0, ret);
	KUNIT_EXPECT_FALSE(t->test, failed);
	/* One for each object at least: fewer would mean that nothing failed */
	KUNIT_EXPECT_GT(t->test, nth, 5);
	svm_expect_filled(t, t->area, t->size);
	kunit_info(t->test, "%u of them failed, each once\n", nth - 2);
}

static void svm_arm_call(struct svm_test *t, unsigned int nth)
{
	atomic_set(&t->gpu->calls_left, nth);
}

static bool svm_call_has_failed(struct svm_test *t)
{
	return !atomic_xchg(&t->gpu->calls_left, 0);
}

/* But PFNCLR, which nvkm does without fail: nothing is unmapped here. */
static void each_call_to_the_gpu_fails_once(struct kunit *test)
{
	svm_fail_each(svm_of(test), svm_arm_call, svm_call_has_failed);
}

static void svm_arm_allocation(struct svm_test *t, unsigned int nth)
{
	svm_fail_allocation(nth);
}

static bool svm_allocation_has_failed(struct svm_test *t)
{
	return !svm_fail_allocation(0);
}

static void each_allocation_fails_once(struct kunit *test)
{
	svm_need_failures(test);
	svm_fail_each(svm_of(test), svm_arm_allocation,
		      svm_allocation_has_failed);
}

/* The first allocation after that of VRAM is for a range of addresses. */
static int svm_bo_new_and_no_more(struct nouveau_drm *drm, u64 size,
				  struct nouveau_bo **bo)
{
	int ret = fake_bo_new(drm, size, bo);

	svm_fail_allocation(1);
	return ret;
}

static void vram_without_addresses_is_given_back(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct nouveau_dmem_bo_ops ops = *t->drm->dmem->bo;

	svm_need_failures(test);
	ops.new = svm_bo_new_and_no_more;
	t->drm->dmem->bo = &ops;
	KUNIT_EXPECT_EQ(test, -ENOMEM, nouveau_dmem_reserve(t->drm, 1));
	KUNIT_EXPECT_EQ(test, 0, svm_fail_allocation(0));
	KUNIT_EXPECT_TRUE(test, list_empty(&t->gpu->bos));
	svm_use_fake_bos(t);
	KUNIT_EXPECT_EQ(test, 0, nouveau_dmem_reserve(t->drm, 1));
}

static void svm_init_device(struct svm_test *t)
{
	nouveau_svm_init(t->drm);
	nouveau_dmem_init(t->drm);
}

static void devices_without_svm_are_left_alone(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct nouveau_drm *drm = t->drm;
	struct nvif_device *device = &drm->client.device;
	struct nouveau_channel *chan = drm->ttm.chan;
	s32 copy = drm->ttm.copy.oclass;

	svm_close(t, &t->file);
	svm_device_fini(t);

	device->info.family = NV_DEVICE_INFO_V0_VOLTA;
	svm_init_device(t);
	KUNIT_EXPECT_NULL(test, drm->svm);
	nouveau_dmem_fini(drm);

	device->info.family = NV_DEVICE_INFO_V0_MAXWELL;
	svm_init_device(t);
	KUNIT_EXPECT_NULL(test, drm->dmem);
	nouveau_svm_fini(drm);

	device->info.family = NV_DEVICE_INFO_V0_PASCAL;
	drm->ttm.copy.oclass = MAXWELL_DMA_COPY_A;
	svm_init_device(t);
	KUNIT_EXPECT_NULL(test, drm->dmem);
	nouveau_svm_fini(drm);

	drm->ttm.copy.oclass = copy;
	drm->ttm.chan = NULL;
	svm_init_device(t);
	KUNIT_EXPECT_NULL(test, drm->dmem);
	nouveau_svm_fini(drm);
	drm->ttm.chan = chan;
}

/* What the rest of the driver calls, of a device or a file that has no SVM */
static void calls_without_svm_do_nothing(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct nouveau_svmm *svmm = NULL;
	struct nouveau_drm *drm = t->drm;

	svm_close(t, &t->file);
	svm_device_fini(t);
	svm_suspend(t);
	svm_resume(t);
	nouveau_dmem_fini(drm);
	nouveau_svm_fini(drm);
	nouveau_svmm_fini(&svmm);
	nouveau_svmm_part(NULL, SVM_INST);
	KUNIT_EXPECT_EQ(test, 0, nouveau_svmm_join(NULL, SVM_INST));
	KUNIT_EXPECT_FALSE(test, nouveau_dmem_has(drm, 1));
	KUNIT_EXPECT_EQ(test, -ENODEV, nouveau_dmem_reserve(drm, 1));
}

/* A file is closed while it has channels: nouveau deletes them later. */
static void file_is_closed_before_its_channels(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct nouveau_svmm *svmm = t->file.cli->svm.svmm;

	KUNIT_EXPECT_EQ(test, 0, nouveau_svmm_join(svmm, SVM_INST + 0x1000));
	t->vmm = NULL;
	t->file.vmm = NULL;
	nouveau_vmm_fini(&t->file.cli->svm);
	KUNIT_EXPECT_TRUE(test, list_empty(&t->drm->svm->insts));
}

/* The driver reads the fault buffer once more. */
static void svm_look_for_faults(struct svm_test *t)
{
	t->gpu->notify->func(t->gpu->notify, NULL, 0);
	flush_delayed_work(&t->drm->svm->buffer.work);
}

/* All registers of a GPU that has fallen off its bus read as ones. */
static void registers_of_a_lost_gpu_name_no_faults(struct kunit *test)
{
	static const u32 registers[] = { FAKE_GET / 4, FAKE_PUT / 4 };
	struct svm_test *t = svm_of(test);
	u32 *regs = t->gpu->regs, was;
	int i;

	for (i = 0; i < ARRAY_SIZE(registers); i++) {
		was = regs[registers[i]];
		regs[registers[i]] = ~0;
		svm_look_for_faults(t);
		KUNIT_EXPECT_EQ(test, ~0, regs[registers[i]]);
		KUNIT_EXPECT_EQ(test, 0, fake_log_count(t->gpu, 0, FAKE_REPLAY));
		KUNIT_EXPECT_EQ(test, 0, fake_log_count(t->gpu, 0, FAKE_CANCEL));
		/* Suspending forgets what the buffer holds. */
		svm_suspend(t);
		if (registers[i] == FAKE_PUT / 4)
			KUNIT_EXPECT_NE(test, ~0, regs[FAKE_GET / 4]);
		regs[registers[i]] = was;
		svm_resume(t);
		t->gpu->nr_log = 0;
	}
}

/*
 * The first fault, of an address without memory, waits for mmap_lock. A second
 * one comes meanwhile, and is dropped: without a replay its access would never
 * be repeated, as the first one is cancelled.
 */
static void fault_that_comes_during_another_is_repeated(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access = { .inst = SVM_INST, .kind = FAKE_READ };
	bool taken;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	mmap_write_lock(t->mm);
	access.addr = t->area + t->size;
	fake_report(t->gpu, &access, true);
	taken = fake_wait_taken(t->gpu);
	access.addr = t->area;
	fake_report(t->gpu, &access, true);
	taken &= fake_wait_taken(t->gpu);
	mmap_write_unlock(t->mm);
	KUNIT_EXPECT_TRUE(test, taken);
	flush_delayed_work(&t->drm->svm->buffer.work);
	flush_workqueue(t->drm->svm->queue);
	KUNIT_EXPECT_EQ(test, 1, fake_log_count(t->gpu, 0, FAKE_CANCEL));
	KUNIT_EXPECT_EQ(test, 1, fake_log_count(t->gpu, 0, FAKE_REPLAY));
	KUNIT_EXPECT_EQ(test, 0, svm_phys(t, t->area));
}

/* A fault of the GPU, and all that the driver does with it */
static void svm_serve(struct svm_test *t, unsigned long addr)
{
	struct fake_access access = {
		.inst = SVM_INST, .kind = FAKE_READ, .addr = addr,
	};

	fake_report(t->gpu, &access, true);
	flush_delayed_work(&t->drm->svm->buffer.work);
	flush_workqueue(t->drm->svm->queue);
}

static void faults_are_served_after_calls_to_the_gpu_failed(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	/* PFNMAP: the access is cancelled. */
	svm_arm_call(t, 1);
	svm_serve(t, t->area);
	KUNIT_EXPECT_TRUE(test, svm_call_has_failed(t));
	KUNIT_EXPECT_EQ(test, 0, svm_phys(t, t->area));
	KUNIT_EXPECT_EQ(test, 1, fake_log_count(t->gpu, 0, FAKE_CANCEL));
	/* REPLAY, after PFNMAP */
	svm_arm_call(t, 2);
	svm_serve(t, t->area);
	KUNIT_EXPECT_TRUE(test, svm_call_has_failed(t));
	KUNIT_EXPECT_NE(test, 0, svm_phys(t, t->area));
	KUNIT_EXPECT_EQ(test, 0, fake_log_count(t->gpu, 0, FAKE_REPLAY));
	/* CANCEL */
	svm_arm_call(t, 1);
	svm_serve(t, t->area + t->size);
	KUNIT_EXPECT_TRUE(test, svm_call_has_failed(t));
	KUNIT_EXPECT_EQ(test, 1, fake_log_count(t->gpu, 0, FAKE_CANCEL));

	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area +
					   SVM_LARGE - PAGE_SIZE, &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area + SVM_LARGE - PAGE_SIZE),
			value);
	svm_compare(t);
}

/* While pages leave VRAM, none may come. */
static void svm_try_to_allocate(struct fake_gpu *gpu, bool to_vram)
{
	struct folio *folio = nouveau_dmem_alloc(gpu->drm, 0);
	unsigned int *allocated = gpu->private;

	if (!folio)
		return;
	++*allocated;
	folio_unlock(folio);
	folio_put(folio);
}

static void no_vram_is_allocated_in_suspend(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned int allocated = 0;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area, t->size));
	KUNIT_EXPECT_TRUE(test, nouveau_dmem_has(t->drm, 1));
	t->gpu->private = &allocated;
	t->gpu->before_copy = svm_try_to_allocate;
	svm_suspend(t);
	t->gpu->before_copy = NULL;
	KUNIT_EXPECT_EQ(test, 0, allocated);
	/* Twice, if the rest of the driver could not be suspended */
	nouveau_dmem_suspend(t->drm);
	KUNIT_EXPECT_NULL(test, nouveau_dmem_alloc(t->drm, 0));
	KUNIT_EXPECT_FALSE(test, nouveau_dmem_has(t->drm, 1));
	KUNIT_EXPECT_EQ(test, -ENODEV, nouveau_dmem_reserve(t->drm, 1));
	svm_resume(t);
	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area, t->size));
	KUNIT_EXPECT_EQ(test, SVM_LARGE >> PAGE_SHIFT,
			svm_in_vram(t, t->area, t->size));
	svm_expect_filled(t, t->area, t->size);
}

static void bind_leaves_the_unmanaged_range_alone(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long start = SVM_UNMANAGED - SVM_LARGE;
	unsigned long end = SVM_UNMANAGED + SVM_UNMANAGED_SIZE;
	unsigned long size = SVM_UNMANAGED_SIZE + 2 * SVM_LARGE;

	KUNIT_ASSERT_EQ(test, start,
			vm_mmap(NULL, start, size, RW, MAP_PRIVATE |
				MAP_ANONYMOUS | MAP_FIXED, 0));
	svm_fill(t, SVM_UNMANAGED - PAGE_SIZE, 2 * PAGE_SIZE);
	svm_fill(t, end - PAGE_SIZE, 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, svm_bind(t, start, size));
	KUNIT_EXPECT_EQ(test, 1, svm_in_vram(t, SVM_UNMANAGED - PAGE_SIZE,
					     PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, SVM_UNMANAGED,
					     SVM_UNMANAGED_SIZE));
	KUNIT_EXPECT_EQ(test, 1, svm_in_vram(t, end, PAGE_SIZE));
	svm_compare(t);
	svm_expect_filled(t, SVM_UNMANAGED - PAGE_SIZE, 2 * PAGE_SIZE);
	svm_expect_filled(t, end - PAGE_SIZE, 2 * PAGE_SIZE);
}

/* A block stays until its memory is unmapped, all of it. */
static void blocks_of_unmapped_memory_are_freed(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct xarray *blocks = &t->file.cli->svm.svmm->blocks;
	unsigned long first;
	u32 value;

	svm_map(t, 2 * SVM_LARGE, RW, false);
	first = t->area;
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, first, &value));
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, first + SVM_LARGE,
					   &value));
	vm_munmap(first, PAGE_SIZE);
	vm_munmap(first + SVM_LARGE, SVM_LARGE);
	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, first + PAGE_SIZE,
					   &value));
	KUNIT_EXPECT_NOT_NULL(test, xa_load(blocks, PHYS_PFN(first)));
	KUNIT_EXPECT_NULL(test, xa_load(blocks, PHYS_PFN(first + SVM_LARGE)));
	svm_compare(t);
}

static struct kunit_case nouveau_svm_inject_cases[] = {
	KUNIT_CASE_SLOW(each_call_to_the_gpu_fails_once),
	KUNIT_CASE_SLOW(each_allocation_fails_once),
	KUNIT_CASE(vram_without_addresses_is_given_back),
	KUNIT_CASE(devices_without_svm_are_left_alone),
	KUNIT_CASE(calls_without_svm_do_nothing),
	KUNIT_CASE(file_is_closed_before_its_channels),
	KUNIT_CASE(registers_of_a_lost_gpu_name_no_faults),
	KUNIT_CASE(fault_that_comes_during_another_is_repeated),
	KUNIT_CASE(faults_are_served_after_calls_to_the_gpu_failed),
	KUNIT_CASE(no_vram_is_allocated_in_suspend),
	KUNIT_CASE(bind_leaves_the_unmanaged_range_alone),
	KUNIT_CASE(blocks_of_unmapped_memory_are_freed),
	{}
};

static struct kunit_suite nouveau_svm_inject_suite = {
	.name = "nouveau_svm_inject",
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_inject_cases,
};

kunit_test_suites(&nouveau_svm_inject_suite);
