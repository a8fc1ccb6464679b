// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Faults that user space handles, as with userfaultfd: that may take for ever.
 * Here it ends when the test says so.
 */
#include "nouveau_svm_kunit.h"
#include "nouveau_svm.h"
#include "nouveau_svm_priv.h"

#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>

#define RW	(PROT_READ | PROT_WRITE)
#define LIMIT	60	/* seconds, for what would last for ever */

struct stall {
	struct completion began;
	struct completion go;
	struct page *page;
	unsigned long addr;
};

static vm_fault_t stall_fault(struct vm_fault *vmf)
{
	struct stall *stall = vmf->vma->vm_file->private_data;

	complete_all(&stall->began);
	wait_for_completion(&stall->go);
	get_page(stall->page);
	vmf->page = stall->page;
	return 0;
}

static const struct vm_operations_struct stall_vm_ops = {
	.fault = stall_fault,
};

static int stall_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &stall_vm_ops;
	return 0;
}

static const struct file_operations stall_fops = {
	.owner = THIS_MODULE,
	.mmap = stall_mmap,
};

static void stall_put_page(void *page)
{
	put_page(page);
}

/* A page of memory whose fault waits until the test lets it go */
static struct stall *stall_new(struct svm_test *t)
{
	struct stall *stall = kunit_kzalloc(t->test, sizeof(*stall),
					    GFP_KERNEL);
	struct file *file;

	KUNIT_ASSERT_NOT_NULL(t->test, stall);
	init_completion(&stall->began);
	init_completion(&stall->go);
	stall->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(t->test, stall->page);
	kunit_add_action(t->test, stall_put_page, stall->page);
	*(u32 *)page_address(stall->page) = 0x900d;
	file = anon_inode_getfile("[svm-wait]", &stall_fops, stall, O_RDWR);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(t->test, file);
	stall->addr = vm_mmap(file, 0, PAGE_SIZE, RW, MAP_SHARED, 0);
	fput(file);
	KUNIT_ASSERT_FALSE(t->test, IS_ERR_VALUE(stall->addr));
	return stall;
}

/* Accesses of the GPU, or what ends them, beside the test */
struct stall_beside {
	struct svm_thread thread;
	struct fake_access access[2];
	unsigned int nr;
	bool done;
};

static void stall_done(struct svm_thread *thread)
{
	WRITE_ONCE(container_of(thread, struct stall_beside, thread)->done,
		   true);
}

static void stall_run(struct svm_thread *thread)
{
	struct stall_beside *beside = container_of(thread, struct stall_beside,
						   thread);

	fake_run(thread->t->gpu, beside->access, beside->nr);
}

static void stall_suspend(struct svm_thread *thread)
{
	svm_suspend(thread->t);
	stall_done(thread);
}

static void stall_close(struct svm_thread *thread)
{
	svm_close(thread->t, &thread->t->file);
	stall_done(thread);
}

static void stall_remove(struct svm_thread *thread)
{
	svm_device_fini(thread->t);
}

/* What a driver that works does soon; false if it does not do it at all */
static bool stall_comes(const bool *what)
{
	unsigned long end = jiffies + LIMIT * HZ;

	while (!READ_ONCE(*what) && time_before(jiffies, end))
		msleep(20);
	return READ_ONCE(*what);
}

static void stall_begin(struct svm_test *t, struct stall *stall,
			struct stall_beside *beside, u64 inst)
{
	beside->access[0] = (struct fake_access) {
		.inst = inst, .addr = stall->addr, .kind = FAKE_READ,
	};
	beside->nr = max(beside->nr, 1);
	svm_thread_start(t, &beside->thread, stall_run);
	svm_comes(t, &stall->began);
}

/* Faults of two files come at once, and one of them waits. */
static void stall_one_of_two(struct svm_test *t, u64 inst, u64 other)
{
	struct stall *stall = stall_new(t);
	struct stall_beside gpu = { .nr = 2 };
	bool served;

	gpu.access[1] = (struct fake_access) {
		.inst = other, .addr = t->area, .kind = FAKE_READ,
	};
	stall_begin(t, stall, &gpu, inst);
	served = stall_comes(&gpu.access[1].done);
	complete_all(&stall->go);
	svm_thread_join(&gpu.thread);
	KUNIT_EXPECT_TRUE(t->test, served);
	KUNIT_EXPECT_EQ(t->test, 0, gpu.access[0].result);
	KUNIT_EXPECT_EQ(t->test, 0x900d, gpu.access[0].value);
	KUNIT_EXPECT_EQ(t->test, 0, gpu.access[1].result);
	KUNIT_EXPECT_EQ(t->test, svm_pattern(t->area), gpu.access[1].value);
	svm_compare(t);
}

/* Whichever file the driver serves first */
static void other_files_are_served_while_user_space_handles(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_file other = {};

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, svm_open(t, &other, SVM_INST + 0x1000));
	stall_one_of_two(t, SVM_INST, other.inst);
	stall_one_of_two(t, other.inst, SVM_INST);
	svm_close(t, &other);
}

/* User space is frozen: it cannot handle anything before resuming. */
static void suspend_does_not_wait_for_user_space(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct stall *stall = stall_new(t);
	struct stall_beside gpu = {}, other = {};
	bool suspended;

	stall_begin(t, stall, &gpu, SVM_INST);
	svm_thread_start(t, &other.thread, stall_suspend);
	suspended = stall_comes(&other.done);
	svm_resume(t);
	complete_all(&stall->go);
	svm_thread_join(&other.thread);
	svm_thread_join(&gpu.thread);
	KUNIT_EXPECT_TRUE(test, suspended);
	KUNIT_EXPECT_EQ(test, 0, gpu.access[0].result);
	KUNIT_EXPECT_EQ(test, 0x900d, gpu.access[0].value);
	svm_compare(t);
}

/* A fault that is handled while the device sleeps maps nothing. */
static void fault_that_ends_in_suspend_is_repeated(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct stall *stall = stall_new(t);
	struct nouveau_svmm *svmm = t->file.cli->svm.svmm;
	struct stall_beside gpu = {};
	unsigned int from;

	stall_begin(t, stall, &gpu, SVM_INST);
	svm_suspend(t);
	from = t->gpu->nr_log;
	complete_all(&stall->go);
	flush_work(&svmm->work);
	KUNIT_EXPECT_EQ(test, from, t->gpu->nr_log);
	svm_resume(t);
	svm_thread_join(&gpu.thread);
	KUNIT_EXPECT_EQ(test, 0, gpu.access[0].result);
	KUNIT_EXPECT_EQ(test, 0x900d, gpu.access[0].value);
	svm_compare(t);
}

/* The channel is killed first, as it is when a process ends. */
static void stall_kill_channel(struct svm_test *t, struct stall_beside *gpu)
{
	fake_cancel(t->gpu, SVM_INST, 0, 0);
	svm_thread_join(&gpu->thread);
	KUNIT_EXPECT_EQ(t->test, -EFAULT, gpu->access[0].result);
}

static void closing_a_file_does_not_wait_for_user_space(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct stall *stall = stall_new(t);
	struct stall_beside gpu = {}, other = {};
	unsigned int from;
	bool closed;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area, t->size));
	stall_begin(t, stall, &gpu, SVM_INST);
	stall_kill_channel(t, &gpu);
	svm_thread_start(t, &other.thread, stall_close);
	closed = stall_comes(&other.done);
	from = t->gpu->nr_log;
	complete_all(&stall->go);
	svm_thread_join(&other.thread);
	KUNIT_EXPECT_TRUE(test, closed);
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, t->size));
	svm_device_fini(t);
	KUNIT_EXPECT_EQ(test, 0, fake_log_count(t->gpu, from, FAKE_PFNMAP));
	svm_expect_filled(t, t->area, t->size);
}

static void device_is_removed_while_user_space_handles(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct stall *stall = stall_new(t);
	struct stall_beside gpu = {}, other = {};
	/* The address space keeps it. */
	struct nouveau_svm *svm = t->drm->svm;
	unsigned int from;
	bool vram;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area, t->size));
	stall_begin(t, stall, &gpu, SVM_INST);
	stall_kill_channel(t, &gpu);
	svm_thread_start(t, &other.thread, stall_remove);
	stall_comes(&svm->stopped);
	/* What the fault may use is not freed meanwhile. */
	msleep(100);
	vram = READ_ONCE(t->drm->dmem);
	from = t->gpu->nr_log;
	complete_all(&stall->go);
	svm_thread_join(&other.thread);
	KUNIT_EXPECT_TRUE(test, vram);
	KUNIT_EXPECT_TRUE(test, t->finished);
	KUNIT_EXPECT_EQ(test, 0, fake_log_count(t->gpu, from, FAKE_PFNMAP));
	KUNIT_EXPECT_EQ(test, 0, fake_log_count(t->gpu, from, FAKE_REPLAY));
	KUNIT_EXPECT_EQ(test, 0, fake_live_entries(t->vmm));
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, t->size));
	svm_expect_filled(t, t->area, t->size);
}

static struct kunit_case nouveau_svm_wait_cases[] = {
	KUNIT_CASE(other_files_are_served_while_user_space_handles),
	KUNIT_CASE(suspend_does_not_wait_for_user_space),
	KUNIT_CASE(fault_that_ends_in_suspend_is_repeated),
	KUNIT_CASE(closing_a_file_does_not_wait_for_user_space),
	KUNIT_CASE(device_is_removed_while_user_space_handles),
	{}
};

static struct kunit_suite nouveau_svm_wait_suite = {
	.name = "nouveau_svm_wait",
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_wait_cases,
};

kunit_test_suite(nouveau_svm_wait_suite);
