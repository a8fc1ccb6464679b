// SPDX-License-Identifier: GPL-2.0 OR MIT
/* VRAM that could not be pinned again, and what is beside it */
#include "nouveau_svm_kunit.h"
#include "nouveau_dmem.h"
#include "nouveau_dmem_chunk.h"

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>

#define RW	(PROT_READ | PROT_WRITE)
#define NR	16
#define SIZE	(NR * PAGE_SIZE)

static struct nouveau_dmem_bo_ops lost_bo_ops;
static const struct nouveau_dmem_bo_ops *lost_bo_real;
static const struct nouveau_bo *lost_bo;

/* Fails for one buffer object, or for all. */
static int lost_bo_pin(struct nouveau_bo *bo)
{
	if (!lost_bo || bo == lost_bo)
		return -ENOSPC;
	return lost_bo_real->pin(bo);
}

/* Pages that cannot be copied when the device is suspended stay in VRAM. */
static void lost_suspend(struct svm_test *t)
{
	t->gpu->copies_left = 0;
	svm_suspend(t);
	fake_resurrect(t->gpu);
}

/* Resume, and fail to pin @bo, or all if that is NULL. */
static void lost_resume(struct svm_test *t, const struct nouveau_bo *bo)
{
	struct nouveau_dmem *dmem = t->drm->dmem;

	lost_bo = bo;
	lost_bo_real = dmem->bo;
	lost_bo_ops = *lost_bo_real;
	lost_bo_ops.pin = lost_bo_pin;
	dmem->bo = &lost_bo_ops;
	svm_resume(t);
	dmem->bo = lost_bo_real;
}

static void lost_move(struct svm_test *t, unsigned long addr,
		      unsigned long size)
{
	svm_fill(t, addr, size);
	KUNIT_ASSERT_EQ(t->test, 0, svm_bind(t, addr, size));
	KUNIT_ASSERT_EQ(t->test, size >> PAGE_SHIFT,
			svm_in_vram(t, addr, size));
}

/* Small pages at the start of the area are lost. */
static void lost_begin(struct svm_test *t)
{
	svm_map(t, SVM_LARGE, RW, false);
	lost_move(t, t->area, SIZE);
	lost_suspend(t);
	lost_resume(t, NULL);
}

/* A chunk beside the first; pages are allocated there from now on. */
static struct nouveau_dmem_chunk *lost_second_chunk(struct svm_test *t)
{
	struct nouveau_dmem *dmem = t->drm->dmem;

	KUNIT_ASSERT_EQ(t->test, 0,
			nouveau_dmem_reserve(t->drm, NOUVEAU_DMEM_CHUNK_PAGES));
	spin_lock(&dmem->lock);
	list_rotate_left(&dmem->chunks);
	spin_unlock(&dmem->lock);
	KUNIT_ASSERT_FALSE(t->test, list_is_singular(&dmem->chunks));
	return list_first_entry(&dmem->chunks, struct nouveau_dmem_chunk, head);
}

/* They are in the same 2 MiB, and so in one migration. */
static void pages_beside_lost_vram_leave_a_closed_file(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	lost_begin(t);
	lost_move(t, t->area + SIZE, SIZE);
	svm_close(t, &t->file);
	KUNIT_EXPECT_EQ(test, NR, svm_in_vram(t, t->area, SIZE));
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area + SIZE, SIZE));
	svm_expect_filled(t, t->area + SIZE, SIZE);
}

/* The range of a CPU fault is all of the folio, one page of which is gone. */
static void cpu_reads_a_folio_with_lost_vram_inside(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct nouveau_dmem_chunk *chunk;
	unsigned long hole;
	u32 value;

	svm_map(t, SVM_LARGE, RW, true);
	lost_move(t, t->area, t->size);
	hole = t->area + SIZE;
	svm_zap(t, hole, PAGE_SIZE);
	chunk = lost_second_chunk(t);
	lost_move(t, hole, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, t->size >> PAGE_SHIFT,
			svm_in_vram(t, t->area, t->size));
	lost_suspend(t);
	lost_resume(t, chunk->bo);
	svm_expect_filled(t, t->area, SIZE);
	KUNIT_EXPECT_EQ(test, -EFAULT, svm_cpu_read(hole, &value));
	svm_expect_filled(t, hole + PAGE_SIZE, t->size - SIZE - PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 1, svm_in_vram(t, t->area, t->size));
}

/* Its buffer objects are not pinned then. */
static void device_is_removed_while_it_is_suspended(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_map(t, SVM_LARGE, RW, false);
	lost_move(t, t->area, SIZE);
	svm_suspend(t);
	svm_device_fini(t);
	KUNIT_EXPECT_TRUE(test, list_empty(&t->gpu->bos));
	KUNIT_EXPECT_EQ(test, 0, t->gpu->violations[FAKE_BAD_PIN]);
	svm_expect_filled(t, t->area, SIZE);
}

static unsigned long lost_count_free(struct nouveau_dmem *dmem)
{
	struct nouveau_dmem_chunk *chunk;
	unsigned long free = 0;

	guard(spinlock)(&dmem->lock);
	list_for_each_entry(chunk, &dmem->chunks, head)
		free += chunk->free;
	return free;
}

/* TTM has kept the contents. */
static void lost_vram_comes_back_if_it_can_be_pinned(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct nouveau_dmem *dmem = t->drm->dmem;
	u32 value;

	lost_begin(t);
	KUNIT_EXPECT_EQ(test, -EFAULT, svm_cpu_read(t->area, &value));
	KUNIT_EXPECT_EQ(test, 0, dmem->free);
	svm_suspend(t);
	svm_resume(t);
	KUNIT_EXPECT_EQ(test, NOUVEAU_DMEM_CHUNK_PAGES - NR, dmem->free);
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, t->area, SIZE));
	KUNIT_EXPECT_EQ(test, NR, svm_in_vram(t, t->area, SIZE));
	svm_compare(t);
	svm_expect_filled(t, t->area, SIZE);
	/* What is free in it is used again. */
	lost_move(t, t->area, SIZE);
	KUNIT_EXPECT_TRUE(test, list_is_singular(&t->gpu->bos));
	svm_expect_filled(t, t->area, SIZE);
	KUNIT_EXPECT_EQ(test, dmem->free, lost_count_free(dmem));
}

static void lost_vram_that_is_freed_counts_once(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct nouveau_dmem *dmem = t->drm->dmem;

	lost_begin(t);
	svm_zap(t, t->area, SIZE / 2);
	lost_suspend(t);
	svm_zap(t, t->area + SIZE / 2, SIZE / 4);
	lost_resume(t, NULL);
	KUNIT_EXPECT_EQ(test, 0, dmem->free);
	svm_suspend(t);
	svm_resume(t);
	KUNIT_EXPECT_EQ(test, NOUVEAU_DMEM_CHUNK_PAGES - NR / 4, dmem->free);
	KUNIT_EXPECT_EQ(test, dmem->free, lost_count_free(dmem));
	svm_expect_filled(t, t->area + 3 * SIZE / 4, SIZE / 4);
}

static int (*lost_push_wait)(struct nvif_push *push, u32 size);
static unsigned int lost_pushed;

static int lost_count_push(struct nvif_push *push, u32 size)
{
	lost_pushed++;
	return lost_push_wait(push, size);
}

/* Each of its passes, with pauses between them, would be in vain. */
static void lost_vram_is_not_evicted(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct nvif_push *push = &t->gpu->chan->chan.push;

	lost_begin(t);
	lost_pushed = 0;
	lost_push_wait = push->wait;
	push->wait = lost_count_push;
	svm_suspend(t);
	push->wait = lost_push_wait;
	KUNIT_EXPECT_EQ(test, 0, lost_pushed);
	svm_resume(t);
	svm_expect_filled(t, t->area, SIZE);
}

/* Memory whose first fault ends when the test says so, and fails then */
static struct completion lost_fault_began;
static struct completion lost_fault_ends;
static struct page *lost_fault_page;

static vm_fault_t lost_fault(struct vm_fault *vmf)
{
	if (completion_done(&lost_fault_ends)) {
		get_page(lost_fault_page);
		vmf->page = lost_fault_page;
		return 0;
	}
	complete(&lost_fault_began);
	wait_for_completion(&lost_fault_ends);
	return VM_FAULT_SIGBUS;
}

static void lost_put_page(void *page)
{
	put_page(page);
}

static const struct vm_operations_struct lost_vm_ops = {
	.fault = lost_fault,
};

static int lost_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &lost_vm_ops;
	return 0;
}

static const struct file_operations lost_fops = {
	.owner = THIS_MODULE,
	.mmap = lost_mmap,
};

static void lost_gpu_read(struct svm_thread *thread)
{
	u32 value;

	thread->result = fake_read(thread->t->gpu, SVM_INST, thread->addr,
				   &value);
}

/*
 * As for a page in VRAM, which cannot be copied while the device is suspended.
 * The service of the fault ends when it has resumed.
 */
static void fault_that_fails_in_suspend_is_repeated(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_thread thread = {};
	struct file *file;

	init_completion(&lost_fault_began);
	init_completion(&lost_fault_ends);
	lost_fault_page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(test, lost_fault_page);
	kunit_add_action(test, lost_put_page, lost_fault_page);
	file = anon_inode_getfile("[svm-lost]", &lost_fops, NULL, O_RDWR);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	thread.addr = vm_mmap(file, 0, PAGE_SIZE, PROT_READ, MAP_SHARED, 0);
	fput(file);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(thread.addr));
	svm_thread_start(t, &thread, lost_gpu_read);
	wait_for_completion(&lost_fault_began);
	svm_suspend(t);
	svm_resume(t);
	complete_all(&lost_fault_ends);
	svm_thread_join(&thread);
	KUNIT_EXPECT_EQ(test, 0, thread.result);
	svm_compare(t);
}

static struct kunit_case nouveau_svm_lost_cases[] = {
	KUNIT_CASE_SLOW(pages_beside_lost_vram_leave_a_closed_file),
	KUNIT_CASE_SLOW(cpu_reads_a_folio_with_lost_vram_inside),
	KUNIT_CASE(device_is_removed_while_it_is_suspended),
	KUNIT_CASE_SLOW(lost_vram_comes_back_if_it_can_be_pinned),
	KUNIT_CASE_SLOW(lost_vram_that_is_freed_counts_once),
	KUNIT_CASE_SLOW(lost_vram_is_not_evicted),
	KUNIT_CASE(fault_that_fails_in_suspend_is_repeated),
	{}
};

static struct kunit_suite nouveau_svm_lost_suite = {
	.name = "nouveau_svm_lost",
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_lost_cases,
};

kunit_test_suite(nouveau_svm_lost_suite);
