// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * BIND of all kinds of memory, beside faults, and after the device is gone
 */
#include "nouveau_svm_kunit.h"
#include "nouveau_svm.h"
#include "nouveau_svm_priv.h"

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>

#define RW	(PROT_READ | PROT_WRITE)
#define NR	16UL

static unsigned long bind_mmap(struct svm_test *t, struct file *file,
			       unsigned long addr, unsigned long npages,
			       unsigned long prot, unsigned long flags)
{
	unsigned long size = npages * PAGE_SIZE;

	KUNIT_ASSERT_EQ(t->test, addr, vm_mmap(file, addr, size, prot,
					       flags | MAP_FIXED, 0));
	return addr;
}

#define ROUNDS	60

/* Each page gets a word of the GPU, again and again. */
static void bind_gpu_writes(struct svm_thread *thread)
{
	u32 *last = (u32 *)thread->addr, value;
	struct svm_test *t = thread->t;
	unsigned long addr;
	u32 i, page;

	for (i = 1; i <= 10 * ROUNDS; i++) {
		page = i * 37 % 1024;
		addr = t->area + page * PAGE_SIZE + 64;
		last[page] = i;
		thread->result += fake_write(t->gpu, SVM_INST, addr, i) != 0;
		thread->result += fake_read(t->gpu, SVM_INST, addr, &value) ||
				  value != i;
	}
}

/* No write of the GPU is lost, wherever a page is when it comes. */
static void bind_beside_faults(struct kunit *test, bool huge)
{
	struct svm_test *t = svm_of(test);
	struct svm_thread thread = {};
	u32 i, value, failed = 0, *last;
	unsigned long addr;

	svm_map(t, 2 * SVM_LARGE, RW, huge);
	svm_fill(t, t->area, t->size);
	last = kunit_kcalloc(test, 1024, sizeof(*last), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, last);
	thread.addr = (unsigned long)last;
	svm_thread_start(t, &thread, bind_gpu_writes);
	for (i = 0; i < ROUNDS; i++) {
		failed += svm_bind(t, t->area, t->size) != 0;
		cond_resched();
		addr = t->area + i * 7 % 1024 * PAGE_SIZE;
		failed += svm_cpu_read(addr, &value) ||
			  value != svm_pattern(addr);
	}
	svm_thread_join(&thread);
	KUNIT_EXPECT_EQ(test, 0, failed);
	KUNIT_EXPECT_EQ(test, 0, thread.result);
	svm_compare(t);
	for (i = 0; i < 1024; i++) {
		addr = t->area + i * PAGE_SIZE;
		failed += svm_cpu_read(addr + 64, &value) || value != last[i];
	}
	KUNIT_EXPECT_EQ(test, 0, failed);
	svm_expect_filled(t, t->area, t->size);
	svm_compare(t);
}

static void bind_of_small_pages_beside_faults(struct kunit *test)
{
	bind_beside_faults(test, false);
}

static void bind_of_huge_pages_beside_faults(struct kunit *test)
{
	bind_beside_faults(test, true);
}

/*
 * Private memory moves; shared memory, a file, what must not be accessed, and
 * nothing at all are no errors, and stay what they are.
 */
static void bind_of_several_mappings(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long at[8], moved = 0;
	struct file *file;
	u32 value;
	int i;

	svm_map(t, 2 * SVM_LARGE, RW, false);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		at[i] = t->area + i * 2 * NR * PAGE_SIZE;
	file = shmem_file_setup("svm", NR * PAGE_SIZE, EMPTY_VMA_FLAGS);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	bind_mmap(t, NULL, at[1], NR, RW, MAP_SHARED | MAP_ANONYMOUS);
	bind_mmap(t, file, at[2], NR, RW, MAP_SHARED);
	bind_mmap(t, file, at[3], NR, RW, MAP_PRIVATE);
	bind_mmap(t, NULL, at[4], NR, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
	bind_mmap(t, NULL, at[5], NR, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
	fput(file);
	vm_munmap(at[6], NR * PAGE_SIZE);
	svm_fill(t, at[0], NR * PAGE_SIZE);
	svm_fill(t, at[1], NR * PAGE_SIZE);
	svm_fill(t, at[2], NR * PAGE_SIZE);
	/* A copy of the file's first half, which is anonymous then */
	svm_fill(t, at[3], NR / 2 * PAGE_SIZE);
	svm_fill(t, at[7], NR * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, svm_bind(t, t->area, t->size));
	svm_compare(t);
	KUNIT_EXPECT_EQ(test, NR, svm_in_vram(t, at[0], NR * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, at[1], NR * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, at[2], NR * PAGE_SIZE));
	moved = svm_in_vram(t, at[3], NR * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, NR / 2, moved);
	KUNIT_EXPECT_EQ(test, NR, svm_in_vram(t, at[7], NR * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, at[0], NR * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, at[1], NR * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, at[2], NR * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, at[3], NR / 2 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, at[7], NR * PAGE_SIZE));
	for (i = NR / 2; i < NR; i++) {
		unsigned long shared = at[2] + i * PAGE_SIZE;

		KUNIT_EXPECT_EQ(test, 0,
				fake_read(t->gpu, SVM_INST,
					  at[3] + i * PAGE_SIZE, &value));
		KUNIT_EXPECT_EQ(test, svm_pattern(shared), value);
	}
	KUNIT_EXPECT_EQ(test, -EFAULT,
			fake_read(t->gpu, SVM_INST, at[4], &value));
	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, at[5], &value));
	KUNIT_EXPECT_EQ(test, 0, value);
	KUNIT_EXPECT_EQ(test, -EFAULT,
			fake_write(t->gpu, SVM_INST, at[5], 1));
	KUNIT_EXPECT_EQ(test, -EFAULT,
			fake_read(t->gpu, SVM_INST, at[6], &value));
	/* Shared memory stays shared, and a private copy private. */
	KUNIT_EXPECT_EQ(test, 0, fake_write(t->gpu, SVM_INST, at[2] + 64, 5));
	KUNIT_EXPECT_EQ(test, 0, fake_write(t->gpu, SVM_INST, at[3] + 64, 6));
	KUNIT_EXPECT_EQ(test, 0, svm_cpu_read(at[2] + 64, &value));
	KUNIT_EXPECT_EQ(test, 5, value);
	KUNIT_EXPECT_EQ(test, 0, svm_cpu_read(at[3] + 64, &value));
	KUNIT_EXPECT_EQ(test, 6, value);
	svm_compare(t);
}

/* Signals */

static void bind_signal(int signal, bool pending)
{
	/* A task keeps its own. */
	struct sighand_struct *sighand =
		rcu_dereference_protected(current->sighand, true);

	spin_lock_irq(&sighand->siglock);
	if (pending)
		sigaddset(&current->pending.signal, signal);
	else
		sigdelset(&current->pending.signal, signal);
	spin_unlock_irq(&sighand->siglock);
	if (pending)
		set_tsk_thread_flag(current, TIF_SIGPENDING);
	else
		clear_tsk_thread_flag(current, TIF_SIGPENDING);
}

static void bind_kill(struct fake_gpu *gpu, bool to_vram)
{
	bind_signal(SIGKILL, true);
}

static void bind_is_ended_by_a_fatal_signal(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long moved;
	int ret;

	svm_map(t, 4 * SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	t->gpu->after_copy = bind_kill;
	ret = svm_bind(t, t->area, t->size);
	t->gpu->after_copy = NULL;
	bind_signal(SIGKILL, false);
	KUNIT_EXPECT_EQ(test, -EINTR, ret);
	moved = svm_in_vram(t, t->area, t->size);
	KUNIT_EXPECT_LE(test, moved, 512);
	svm_compare(t);
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, t->area, 1024 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, svm_bind(t, t->area, t->size));
	KUNIT_EXPECT_EQ(test, 2048, svm_in_vram(t, t->area, t->size));
	svm_expect_filled(t, t->area, t->size);
}

static void bind_is_not_ended_by_another_signal(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	int ret;

	svm_map(t, 2 * SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	/* On 7.3, a signal interrupts the first notifier of a process. */
	KUNIT_ASSERT_EQ(test, 0, svm_gpu_bad(t, t->area, PAGE_SIZE));
	bind_signal(SIGUSR1, true);
	ret = svm_bind(t, t->area, t->size);
	bind_signal(SIGUSR1, false);
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_EQ(test, 1024, svm_in_vram(t, t->area, t->size));
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, t->area, 16 * PAGE_SIZE));
	svm_expect_filled(t, t->area, t->size);
}

/* drm_dev_unplug(): the device is gone, and its end comes later. */

static void bind_unplug(struct fake_gpu *gpu, bool to_vram)
{
	gpu->drm->dev->unplugged = true;
}

static void unplugged_device_is_not_used(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_file other = {};

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area, NR * PAGE_SIZE));
	t->drm->dev->unplugged = true;
	KUNIT_EXPECT_EQ(test, -ENODEV, svm_bind(t, t->area, t->size));
	KUNIT_EXPECT_EQ(test, NR, svm_in_vram(t, t->area, t->size));
	KUNIT_EXPECT_EQ(test, -ENODEV, svm_open(t, &other, SVM_INST + 0x1000));
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, t->area, 2 * NR * PAGE_SIZE));
	svm_compare(t);
	svm_device_fini(t);
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, t->size));
	KUNIT_EXPECT_EQ(test, 0, fake_live_entries(t->vmm));
	KUNIT_EXPECT_EQ(test, -ENODEV, svm_bind(t, t->area, t->size));
	svm_expect_filled(t, t->area, t->size);
	svm_close(t, &t->file);
	svm_expect_filled(t, t->area, t->size);
}

/* Closing the file leaves VRAM to the end of the device. */
static void file_is_closed_after_the_device_was_unplugged(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned int from;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area, t->size));
	t->drm->dev->unplugged = true;
	from = t->gpu->nr_log;
	svm_close(t, &t->file);
	KUNIT_EXPECT_EQ(test, 0,
			fake_log_count(t->gpu, from, FAKE_COPY_TO_HOST));
	KUNIT_EXPECT_EQ(test, 512, svm_in_vram(t, t->area, t->size));
	svm_device_fini(t);
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, t->size));
	svm_expect_filled(t, t->area, t->size);
}

static void device_is_unplugged_in_the_middle_of_a_bind(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_map(t, 4 * SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	t->gpu->after_copy = bind_unplug;
	KUNIT_EXPECT_EQ(test, -ENODEV, svm_bind(t, t->area, t->size));
	t->gpu->after_copy = NULL;
	KUNIT_EXPECT_EQ(test, 512, svm_in_vram(t, t->area, t->size));
	svm_compare(t);
	svm_device_fini(t);
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, t->size));
	svm_expect_filled(t, t->area, t->size);
}

static struct kunit_case nouveau_svm_bind_cases[] = {
	KUNIT_CASE_SLOW(bind_of_small_pages_beside_faults),
	KUNIT_CASE_SLOW(bind_of_huge_pages_beside_faults),
	KUNIT_CASE(bind_of_several_mappings),
	KUNIT_CASE(bind_is_ended_by_a_fatal_signal),
	KUNIT_CASE(bind_is_not_ended_by_another_signal),
	KUNIT_CASE(unplugged_device_is_not_used),
	KUNIT_CASE(file_is_closed_after_the_device_was_unplugged),
	KUNIT_CASE(device_is_unplugged_in_the_middle_of_a_bind),
	{}
};

static struct kunit_suite nouveau_svm_bind_suite = {
	.name = "nouveau_svm_bind",
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_bind_cases,
};

kunit_test_suite(nouveau_svm_bind_suite);
