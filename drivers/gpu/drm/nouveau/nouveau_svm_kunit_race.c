// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What must not happen between two steps of the driver, in an order that each
 * test enforces.
 */
#include "nouveau_svm_kunit.h"
#include "nouveau_svm.h"

#include <linux/file.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>

#define RW	(PROT_READ | PROT_WRITE)

/* Shared memory: nothing but mappings and the GPU makes it dirty. */
static struct file *svm_map_shared(struct svm_test *t, unsigned long addr,
				   unsigned long size)
{
	struct file *file = shmem_file_setup("svm", size, EMPTY_VMA_FLAGS);
	unsigned long mapped;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(t->test, file);
	mapped = vm_mmap(file, addr, size, RW, MAP_SHARED | MAP_FIXED, 0);
	/* The mapping has a reference. */
	fput(file);
	KUNIT_ASSERT_EQ(t->test, addr, mapped);
	return file;
}

/**
 * struct svm_hold - a page of shared memory, the first fault on which waits
 * @shared: what handles the fault after that
 * @reached: a fault waits
 * @released: faults wait no longer
 * @result: their result, if it is not 0
 */
struct svm_hold {
	const struct vm_operations_struct *shared;
	struct completion reached;
	struct completion released;
	vm_fault_t result;
};

static vm_fault_t svm_hold_fault(struct vm_fault *vmf)
{
	struct svm_hold *hold = vmf->vma->vm_private_data;

	complete(&hold->reached);
	wait_for_completion(&hold->released);
	return hold->result ?: hold->shared->fault(vmf);
}

static const struct vm_operations_struct svm_hold_ops = {
	.fault = svm_hold_fault,
};

/* After a fault has begun to wait, nothing may be asserted until it is released. */
static struct svm_hold *svm_map_held(struct svm_test *t, unsigned long addr)
{
	struct svm_hold *hold = kunit_kzalloc(t->test, sizeof(*hold),
					      GFP_KERNEL);
	struct vm_area_struct *vma;

	KUNIT_ASSERT_NOT_NULL(t->test, hold);
	init_completion(&hold->reached);
	init_completion(&hold->released);
	svm_map_shared(t, addr, PAGE_SIZE);
	mmap_write_lock(t->mm);
	vma = vma_lookup(t->mm, addr);
	if (vma) {
		hold->shared = vma->vm_ops;
		vma->vm_private_data = hold;
		vma->vm_ops = &svm_hold_ops;
	}
	mmap_write_unlock(t->mm);
	KUNIT_ASSERT_NOT_NULL(t->test, vma);
	return hold;
}

struct svm_replace {
	struct svm_thread thread;
	struct svm_hold *hold;
};

/* Replaces the page before the one that is held. */
static void svm_replace_page(struct svm_thread *thread)
{
	struct svm_hold *hold =
		container_of(thread, struct svm_replace, thread)->hold;

	wait_for_completion(&hold->reached);
	svm_zap(thread->t, thread->addr, PAGE_SIZE);
	thread->result = svm_cpu_write(thread->addr, 2);
	complete_all(&hold->released);
}

/*
 * A walk of HMM has read the entry of a page, and waits for the next one when
 * the first is replaced. What it has read is stale then, whether the GPU had
 * the page or not.
 */
static void svm_replace_during_walk(struct svm_test *t, bool mapped,
				    enum fake_kind kind)
{
	struct fake_access access = { .inst = SVM_INST, .kind = kind };
	struct svm_replace replace = {};
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	KUNIT_ASSERT_EQ(t->test, 0, svm_cpu_write(t->area, 1));
	if (mapped)
		KUNIT_ASSERT_EQ(t->test, 0, fake_read(t->gpu, SVM_INST,
						      t->area, &value));
	replace.hold = svm_map_held(t, t->area + PAGE_SIZE);
	replace.thread.addr = t->area;
	access.addr = t->area + PAGE_SIZE;
	svm_thread_start(t, &replace.thread, svm_replace_page);
	fake_run(t->gpu, &access, 1);
	svm_thread_join(&replace.thread);
	KUNIT_EXPECT_EQ(t->test, 0, access.result);
	KUNIT_EXPECT_EQ(t->test, 0, replace.thread.result);
	svm_compare(t);
	KUNIT_ASSERT_EQ(t->test, 0, fake_read(t->gpu, SVM_INST, t->area,
					      &value));
	KUNIT_EXPECT_EQ(t->test, 2, value);
}

static void page_is_replaced_while_the_next_faults(struct kunit *test)
{
	svm_replace_during_walk(svm_of(test), false, FAKE_READ);
}

static void mapped_page_is_replaced_while_the_next_faults(struct kunit *test)
{
	svm_replace_during_walk(svm_of(test), true, FAKE_WRITE);
}

/*
 * The CPU has read a page, and so mapped it writable, but clean. When the GPU
 * writes to it, no fault of the CPU makes it dirty.
 */
static void page_that_only_the_gpu_wrote_is_dirty(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct file *file;
	struct folio *folio;
	bool before, after;
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	file = svm_map_shared(t, t->area, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(t->area, &value));
	KUNIT_ASSERT_TRUE(test, fake_cpu_entry(t->mm, t->area).write);
	folio = filemap_get_folio(file->f_mapping, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, folio);
	before = folio_test_dirty(folio);
	value = fake_write(t->gpu, SVM_INST, t->area, 77);
	vm_munmap(t->area, PAGE_SIZE);
	after = folio_test_dirty(folio);
	folio_put(folio);
	KUNIT_EXPECT_EQ(test, 0, value);
	KUNIT_EXPECT_FALSE(test, before);
	KUNIT_EXPECT_TRUE(test, after);
}

static struct kunit_case nouveau_svm_race_cases[] = {
	KUNIT_CASE(page_is_replaced_while_the_next_faults),
	KUNIT_CASE(mapped_page_is_replaced_while_the_next_faults),
	KUNIT_CASE(page_that_only_the_gpu_wrote_is_dirty),
	{}
};

static struct kunit_suite nouveau_svm_race_suite = {
	.name = "nouveau_svm_race",
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_race_cases,
};

kunit_test_suite(nouveau_svm_race_suite);
