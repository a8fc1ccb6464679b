// SPDX-License-Identifier: GPL-2.0 OR MIT
/* What fails below device memory: DMA mappings, pinning, the copy engine */
#include "nouveau_svm_kunit.h"
#include "nouveau_dmem.h"
#include "nouveau_dmem_chunk.h"

#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/swiotlb.h>

#define RW	(PROT_READ | PROT_WRITE)
#define NR	16

static void fail_map(struct svm_test *t, bool huge)
{
	svm_map(t, SVM_LARGE, RW, huge);
	t->size = huge ? SVM_LARGE : NR * PAGE_SIZE;
	svm_fill(t, t->area, t->size);
}

static void fail_move(struct svm_test *t)
{
	KUNIT_ASSERT_EQ(t->test, 0, svm_bind(t, t->area, t->size));
	KUNIT_ASSERT_EQ(t->test, t->size >> PAGE_SHIFT,
			svm_in_vram(t, t->area, t->size));
}

static void fail_expect_zeroes(struct svm_test *t)
{
	unsigned long addr, bad = 0;
	u32 first, last;

	for (addr = t->area; addr < t->area + t->size; addr += PAGE_SIZE)
		bad += svm_cpu_read(addr, &first) || first ||
		       svm_cpu_read(addr + 4092, &last) || last;
	KUNIT_EXPECT_EQ(t->test, 0, bad);
}

/* DMA mappings */

static void fail_need_dma(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_SWIOTLB))
		kunit_skip(test, "needs CONFIG_SWIOTLB");
}

/* A pool of bounce buffers without a buffer, which the device must use */
static void fail_dma(struct svm_test *t, bool fail)
{
#ifdef CONFIG_SWIOTLB
	static struct io_tlb_mem none = { .force_bounce = true };
	static struct io_tlb_mem *old;
	struct device *dev = t->drm->dev->dev;

	if (fail) {
		old = dev->dma_io_tlb_mem;
		dev->dma_io_tlb_mem = &none;
	} else {
		dev->dma_io_tlb_mem = old;
	}
#endif
}

static void pages_stay_if_they_cannot_be_mapped_for_dma(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	bool huge;

	fail_need_dma(test);
	for (huge = true; ; huge = false) {
		fail_map(t, huge);
		fail_dma(t, true);
		KUNIT_EXPECT_EQ(test, 0, svm_bind(t, t->area, t->size));
		fail_dma(t, false);
		svm_compare(t);
		KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, t->size));
		KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, t->area, t->size));
		svm_expect_filled(t, t->area, t->size);
		fail_move(t);
		svm_expect_filled(t, t->area, t->size);
		if (!huge)
			break;
	}
}

static void data_stays_in_vram_if_there_is_no_dma_mapping(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	bool huge;
	u32 value;

	fail_need_dma(test);
	for (huge = true; ; huge = false) {
		fail_map(t, huge);
		fail_move(t);
		fail_dma(t, true);
		KUNIT_EXPECT_EQ(test, -EFAULT, svm_cpu_read(t->area, &value));
		fail_dma(t, false);
		svm_compare(t);
		KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, t->area, t->size));
		svm_expect_filled(t, t->area, t->size);
		if (!huge)
			break;
	}
}

static int (*fail_push_wait)(struct nvif_push *push, u32 size);
static struct svm_test *fail_push_test;
static unsigned int fail_push_left;

static int fail_dma_later(struct nvif_push *push, u32 size)
{
	if (!fail_push_left--)
		fail_dma(fail_push_test, true);
	return fail_push_wait(push, size);
}

/* The engine uses the pages of copies that were begun before one failed. */
static void copies_that_were_begun_are_waited_for(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct nvif_push *push = &t->gpu->chan->chan.push;
	unsigned int from;

	fail_need_dma(test);
	fail_map(t, false);
	fail_push_wait = push->wait;
	fail_push_test = t;
	fail_push_left = NR / 2;
	from = t->gpu->nr_log;
	push->wait = fail_dma_later;
	KUNIT_EXPECT_EQ(test, 0, svm_bind(t, t->area, t->size));
	push->wait = fail_push_wait;
	fail_dma(t, false);
	KUNIT_EXPECT_EQ(test, NR / 2,
			fake_log_count(t->gpu, from, FAKE_COPY_TO_VRAM));
	svm_compare(t);
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, t->size));
	svm_expect_filled(t, t->area, t->size);
	fail_move(t);
	svm_expect_filled(t, t->area, t->size);
}

/* Pinning of VRAM */

static int fail_bo_pin(struct nouveau_bo *bo)
{
	return -ENOSPC;
}

static struct nouveau_dmem_bo_ops fail_bo_ops;
static const struct nouveau_dmem_bo_ops *fail_bo_real;

static void fail_bo_begin(struct svm_test *t)
{
	fail_bo_real = t->drm->dmem->bo;
	fail_bo_ops = *fail_bo_real;
	t->drm->dmem->bo = &fail_bo_ops;
}

static void fail_bo_end(struct svm_test *t)
{
	t->drm->dmem->bo = fail_bo_real;
}

/* Pages that cannot be copied when the device is suspended stay in VRAM. */
static void fail_lose(struct svm_test *t, bool huge)
{
	fail_map(t, huge);
	fail_move(t);
	t->gpu->copies_left = 0;
	svm_suspend(t);
	fake_resurrect(t->gpu);
	fail_bo_begin(t);
	fail_bo_ops.pin = fail_bo_pin;
	svm_resume(t);
	fail_bo_end(t);
}

/* Another buffer object may be where the lost one was. */
static void vram_that_is_lost_is_not_accessed(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	bool huge;
	u32 value;

	for (huge = true; ; huge = false) {
		fail_lose(t, huge);
		KUNIT_EXPECT_EQ(test, -EFAULT, svm_cpu_read(t->area, &value));
		KUNIT_EXPECT_EQ(test, -EFAULT, fake_read(t->gpu, SVM_INST,
							 t->area, &value));
		KUNIT_EXPECT_EQ(test, -EFAULT, fake_write(t->gpu, SVM_INST,
							  t->area, 1));
		KUNIT_EXPECT_EQ(test, 0, svm_bind(t, t->area, t->size));
		KUNIT_EXPECT_EQ(test, -EFAULT,
				fake_atomic(t->gpu, SVM_INST, t->area, 1,
					    &value));
		KUNIT_EXPECT_EQ(test, 0, svm_phys(t, t->area));
		if (!huge)
			break;
	}
}

/* Good pages in lost memory: one that was dropped and written to again */
static void fail_expect_good(struct svm_test *t, unsigned long addr)
{
	u32 value;

	svm_zap(t, addr, PAGE_SIZE);
	svm_fill(t, addr, PAGE_SIZE);
	KUNIT_EXPECT_EQ(t->test, 0, fake_read(t->gpu, SVM_INST, addr, &value));
	KUNIT_EXPECT_EQ(t->test, svm_pattern(addr), value);
}

/* Only what wants a lost page fails, not what is looked at with it. */
static void page_beside_lost_vram_is_served(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access[] = {
		{ .inst = SVM_INST, .kind = FAKE_READ },
		{ .inst = SVM_INST, .kind = FAKE_READ },
	};
	unsigned long lost;

	fail_lose(t, false);
	lost = t->area;
	svm_fill(t, lost + t->size, PAGE_SIZE);
	access[0].addr = lost;
	access[1].addr = lost + t->size;
	fake_run(t->gpu, access, ARRAY_SIZE(access));
	KUNIT_EXPECT_EQ(test, -EFAULT, access[0].result);
	KUNIT_EXPECT_EQ(test, 0, access[1].result);
	KUNIT_EXPECT_EQ(test, svm_pattern(access[1].addr), access[1].value);
	fail_expect_good(t, lost + 5 * PAGE_SIZE);
	/* With free VRAM, a fault moves what belongs there. */
	fail_map(t, false);
	fail_move(t);
	fail_expect_good(t, lost + 7 * PAGE_SIZE);
}

static void fail_expect_counted(struct svm_test *t, unsigned long used)
{
	struct nouveau_dmem *dmem = t->drm->dmem;
	struct nouveau_dmem_chunk *chunk;
	unsigned long free = 0;

	spin_lock(&dmem->lock);
	list_for_each_entry(chunk, &dmem->chunks, head) {
		if (chunk->pinned)
			free += chunk->free;
	}
	spin_unlock(&dmem->lock);
	KUNIT_EXPECT_EQ(t->test, free, dmem->free);
	KUNIT_EXPECT_EQ(t->test, used, dmem->used);
}

static void vram_is_pinned_instead_of_what_is_lost(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long lost;

	fail_lose(t, false);
	lost = t->area;
	fail_expect_counted(t, NR);
	KUNIT_EXPECT_EQ(test, 0, t->drm->dmem->free);
	fail_map(t, false);
	fail_move(t);
	fail_expect_counted(t, 2 * NR);
	vm_munmap(lost, NR * PAGE_SIZE);
	fail_expect_counted(t, NR);
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, t->area, t->size));
	svm_suspend(t);
	svm_resume(t);
	fail_expect_counted(t, 0);
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, t->area, t->size));
	svm_expect_filled(t, t->area, t->size);
}

static void device_is_removed_with_lost_vram(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	fail_lose(t, false);
	svm_close(t, &t->file);
	svm_device_fini(t);
	fail_expect_zeroes(t);
	KUNIT_EXPECT_TRUE(test, list_empty(&t->gpu->bos));
}

static int fail_bo_new_suspends(struct nouveau_drm *drm, u64 size,
				struct nouveau_bo **bo)
{
	struct svm_test *t = fake_gpu(drm)->private;

	svm_suspend(t);
	return fail_bo_real->new(drm, size, bo);
}

/* What is pinned for a device that sleeps would never be unpinned. */
static void vram_that_is_pinned_too_late_is_given_back(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	fail_map(t, false);
	t->gpu->private = t;
	fail_bo_begin(t);
	fail_bo_ops.new = fail_bo_new_suspends;
	KUNIT_EXPECT_EQ(test, 0, svm_bind(t, t->area, t->size));
	fail_bo_end(t);
	KUNIT_EXPECT_TRUE(test, list_empty(&t->gpu->bos));
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, t->size));
	svm_resume(t);
	fail_expect_counted(t, 0);
	fail_move(t);
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, t->area, t->size));
	svm_expect_filled(t, t->area, t->size);
}

static int fail_bo_new_again(struct nouveau_drm *drm, u64 size,
			     struct nouveau_bo **bo)
{
	struct svm_test *t = fake_gpu(drm)->private;

	fail_bo_end(t);
	KUNIT_EXPECT_EQ(t->test, -EBUSY, nouveau_dmem_reserve(drm, 1));
	return fail_bo_real->new(drm, size, bo);
}

static void one_task_at_a_time_pins_vram(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	fail_map(t, false);
	t->gpu->private = t;
	fail_bo_begin(t);
	fail_bo_ops.new = fail_bo_new_again;
	fail_move(t);
	KUNIT_EXPECT_TRUE(test, list_is_singular(&t->gpu->bos));
	fail_expect_counted(t, NR);
	svm_expect_filled(t, t->area, t->size);
}

/* The copy engine */

/* What was in the pages of the system before is not shown. */
static void fail_abandon(struct svm_test *t, enum fake_fence_mode mode,
			 long copies, bool huge)
{
	fail_map(t, huge);
	fail_move(t);
	svm_close(t, &t->file);
	KUNIT_EXPECT_EQ(t->test, 0, svm_in_vram(t, t->area, t->size));
	KUNIT_ASSERT_EQ(t->test, 0, svm_open(t, &t->file, SVM_INST));
	t->vmm = t->file.vmm;
	fail_move(t);
	t->gpu->fence_mode = mode;
	t->gpu->copies_left = copies;
	svm_close(t, &t->file);
	KUNIT_EXPECT_EQ(t->test, t->size >> PAGE_SHIFT,
			svm_in_vram(t, t->area, t->size));
	svm_device_fini(t);
	KUNIT_EXPECT_EQ(t->test, 0, svm_in_vram(t, t->area, t->size));
	KUNIT_EXPECT_TRUE(t->test, list_empty(&t->gpu->bos));
	fail_expect_zeroes(t);
}

static void small_pages_are_abandoned(struct kunit *test)
{
	fail_abandon(svm_of(test), FAKE_FENCE_GOOD, 0, false);
}

static void huge_pages_are_abandoned(struct kunit *test)
{
	fail_abandon(svm_of(test), FAKE_FENCE_GOOD, 0, true);
}

static void pages_are_abandoned_if_the_channel_dies(struct kunit *test)
{
	fail_abandon(svm_of(test), FAKE_FENCE_KILLED, -1, false);
}

static void pages_are_abandoned_if_the_copy_hangs(struct kunit *test)
{
	fail_abandon(svm_of(test), FAKE_FENCE_HANGS, -1, false);
}

/* Some pages can be copied, and keep their contents; the rest are zeroes. */
static void only_what_cannot_be_copied_is_abandoned(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long addr, kept = 0, bad = 0;
	u32 value;

	svm_map(t, 2 * SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	fail_move(t);
	t->gpu->copies_left = 1;
	svm_device_fini(t);
	for (addr = t->area; addr < t->area + t->size; addr += PAGE_SIZE) {
		bad += svm_cpu_read(addr, &value) != 0;
		kept += value == svm_pattern(addr);
		bad += value && value != svm_pattern(addr);
	}
	KUNIT_EXPECT_EQ(test, 0, bad);
	KUNIT_EXPECT_EQ(test, SVM_LARGE >> PAGE_SHIFT, kept);
}

/* An engine that hangs may go on, when its pages have new owners. */
static void pages_of_a_copy_that_hangs_are_kept(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long addr, size;
	unsigned int from;
	struct page *page;
	u32 value;
	int copy;

	fail_map(t, false);
	fail_move(t);
	addr = t->area;
	size = t->size;
	from = t->gpu->nr_log;
	t->gpu->fence_mode = FAKE_FENCE_HANGS;
	KUNIT_EXPECT_EQ(test, -EFAULT, svm_cpu_read(addr, &value));
	/* No other copy begins after it, in either direction. */
	KUNIT_EXPECT_EQ(test, -EFAULT, svm_cpu_read(addr + PAGE_SIZE, &value));
	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	KUNIT_EXPECT_EQ(test, 0, svm_bind(t, t->area, t->size));
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, t->size));
	fake_go_on(t->gpu);
	KUNIT_EXPECT_EQ(test, 1,
			fake_log_count(t->gpu, from, FAKE_COPY_TO_HOST));
	KUNIT_EXPECT_EQ(test, 0,
			fake_log_count(t->gpu, from, FAKE_COPY_TO_VRAM));
	copy = fake_log_find(t->gpu, from, FAKE_COPY_TO_HOST, 0, 0);
	KUNIT_ASSERT_GE(test, copy, 0);
	page = pfn_to_page(t->gpu->log[copy].addr >> PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, 1, page_ref_count(page));
	KUNIT_EXPECT_FALSE(test, folio_mapped(page_folio(page)));
	svm_expect_filled(t, t->area, t->size);
	/* It works again. */
	svm_expect_filled(t, addr, size);
	fail_move(t);
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, t->area, t->size));
	if (page_ref_count(page) == 1 && !folio_mapped(page_folio(page)))
		put_page(page);
}

static struct kunit_case nouveau_svm_fail_cases[] = {
	KUNIT_CASE(pages_stay_if_they_cannot_be_mapped_for_dma),
	KUNIT_CASE(data_stays_in_vram_if_there_is_no_dma_mapping),
	KUNIT_CASE(copies_that_were_begun_are_waited_for),
	KUNIT_CASE_SLOW(vram_that_is_lost_is_not_accessed),
	KUNIT_CASE_SLOW(page_beside_lost_vram_is_served),
	KUNIT_CASE_SLOW(vram_is_pinned_instead_of_what_is_lost),
	KUNIT_CASE_SLOW(device_is_removed_with_lost_vram),
	KUNIT_CASE(vram_that_is_pinned_too_late_is_given_back),
	KUNIT_CASE(one_task_at_a_time_pins_vram),
	KUNIT_CASE_SLOW(small_pages_are_abandoned),
	KUNIT_CASE_SLOW(huge_pages_are_abandoned),
	KUNIT_CASE_SLOW(pages_are_abandoned_if_the_channel_dies),
	KUNIT_CASE_SLOW(pages_are_abandoned_if_the_copy_hangs),
	KUNIT_CASE_SLOW(only_what_cannot_be_copied_is_abandoned),
	KUNIT_CASE_SLOW(pages_of_a_copy_that_hangs_are_kept),
	{}
};

static struct kunit_suite nouveau_svm_fail_suite = {
	.name = "nouveau_svm_fail",
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_fail_cases,
};

kunit_test_suite(nouveau_svm_fail_suite);
