// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Files, processes and the device come and go while memory is shared. */
#include "nouveau_svm_kunit.h"
#include "nouveau_svm.h"

#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <nvif/if000c.h>
#include <uapi/drm/nouveau_drm.h>

#define RW	(PROT_READ | PROT_WRITE)
#define NR	16

static void svm_move_all(struct svm_test *t, bool huge)
{
	svm_map(t, SVM_LARGE, RW, huge);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_EQ(t->test, 0, svm_bind(t, t->area, t->size));
	KUNIT_ASSERT_EQ(t->test, 512, svm_in_vram(t, t->area, t->size));
}

/* Switch to a new mm, as another process that was passed the file has it. */
static struct mm_struct *svm_enter_other_mm(struct svm_test *t)
{
	struct mm_struct *mm;

	kthread_unuse_mm(t->mm);
	KUNIT_ASSERT_EQ(t->test, 0, kunit_attach_mm());
	mm = current->mm;
	return mm;
}

/* The other process ends. */
static void svm_leave_other_mm(struct svm_test *t, struct mm_struct *mm)
{
	kthread_unuse_mm(mm);
	mmput(mm);
	kthread_use_mm(t->mm);
}

static void bind_from_another_process_is_refused(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long addr, moved = 0, i;
	struct mm_struct *mm;
	int ret;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, NR * PAGE_SIZE);
	mm = svm_enter_other_mm(t);
	addr = vm_mmap(NULL, t->area, NR * PAGE_SIZE, RW, MAP_PRIVATE |
		       MAP_ANONYMOUS | MAP_FIXED, 0);
	for (i = 0; i < NR; i++)
		svm_cpu_write(t->area + i * PAGE_SIZE, i);
	ret = svm_bind(t, t->area, NR * PAGE_SIZE);
	for (i = 0; i < NR; i++)
		moved += fake_cpu_entry(mm, t->area + i * PAGE_SIZE).kind ==
			 FAKE_CPU_PRIVATE;
	svm_leave_other_mm(t, mm);
	KUNIT_ASSERT_EQ(test, addr, t->area);
	KUNIT_EXPECT_EQ(test, -EPERM, ret);
	KUNIT_EXPECT_EQ(test, 0, moved);
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, NR * PAGE_SIZE));
	svm_compare(t);
	svm_expect_filled(t, t->area, NR * PAGE_SIZE);
}

static void bind_checks_its_arguments(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	const struct drm_nouveau_svm_bind good = {
		.header = (u64)NOUVEAU_SVM_BIND_TARGET__GPU_VRAM <<
			  NOUVEAU_SVM_BIND_TARGET_SHIFT,
	};
	struct drm_nouveau_svm_bind args;

#define EXPECT_REFUSED(change) do {					\
		args = good;						\
		args.va_start = t->area;				\
		args.va_end = t->area + PAGE_SIZE;			\
		change;							\
		KUNIT_EXPECT_EQ(test, -EINVAL, svm_bind_args(t, &t->file, &args));\
	} while (0)
	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, PAGE_SIZE);
	EXPECT_REFUSED(args.reserved0 = 1);
	EXPECT_REFUSED(args.reserved1 = 1);
	EXPECT_REFUSED(args.stride = 1);
	EXPECT_REFUSED(args.header |= BIT_ULL(48));
	EXPECT_REFUSED(args.header |= 1);
	EXPECT_REFUSED(args.header = 0);
	EXPECT_REFUSED(args.va_end = args.va_start);
	EXPECT_REFUSED(args.va_end = args.va_start - PAGE_SIZE);
#undef EXPECT_REFUSED
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, PAGE_SIZE));
}

static void bind_without_svm_is_refused(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_map(t, SVM_LARGE, RW, false);
	svm_close(t, &t->file);
	KUNIT_EXPECT_EQ(test, -EINVAL, svm_bind(t, t->area, PAGE_SIZE));
}

static void svm_is_enabled_once_in_a_file(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct drm_nouveau_svm_init args = {
		.unmanaged_addr = SVM_UNMANAGED,
		.unmanaged_size = SVM_UNMANAGED_SIZE,
	};

	KUNIT_EXPECT_EQ(test, -EBUSY, nouveau_svmm_init(t->drm->dev, &args,
							&t->file.file));
	KUNIT_EXPECT_TRUE(test, list_is_singular(&t->gpu->vmms));
}

/*
 * Registering a notifier, as 7.3's driver does here, takes the locks of all
 * mappings, and a signal ends that.
 */
static void vmm_does_not_leak_if_init_is_interrupted(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_file file = {};
	int ret;

	svm_map(t, SVM_LARGE, RW, false);
	set_tsk_thread_flag(current, TIF_SIGPENDING);
	ret = svm_open(t, &file, SVM_INST + 0x1000);
	clear_tsk_thread_flag(current, TIF_SIGPENDING);
	if (!ret)
		svm_close(t, &file);
	else
		KUNIT_EXPECT_EQ(test, -EINTR, ret);
	KUNIT_EXPECT_TRUE(test, list_is_singular(&t->gpu->vmms));
	KUNIT_EXPECT_EQ(test, 0, svm_open(t, &file, SVM_INST + 0x1000));
	svm_close(t, &file);
	KUNIT_EXPECT_TRUE(test, list_is_singular(&t->gpu->vmms));
}

static void cpu_reads_vram_after_the_file_was_closed(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_move_all(t, false);
	svm_close(t, &t->file);
	svm_expect_filled(t, t->area, t->size);
}

static void nothing_is_left_in_vram_by_a_closed_file(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	bool huge;

	for (huge = true; ; huge = false) {
		svm_move_all(t, huge);
		svm_close(t, &t->file);
		KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, t->size));
		svm_expect_filled(t, t->area, t->size);
		if (!huge)
			break;
		KUNIT_ASSERT_EQ(test, 0, svm_open(t, &t->file, SVM_INST));
		t->vmm = t->file.vmm;
	}
}

/* One of two files is closed: the memory that the other moved still works. */
static void other_file_works_after_one_was_closed(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_file other = {};
	u32 value;

	KUNIT_ASSERT_EQ(test, 0, svm_open(t, &other, SVM_INST + 0x1000));
	svm_move_all(t, false);
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, other.inst, t->area,
					   &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area), value);
	svm_compare(t);
	svm_close(t, &other);
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area +
					   PAGE_SIZE, &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area + PAGE_SIZE), value);
	svm_expect_filled(t, t->area, t->size);
	svm_compare(t);
}

/* exit() drops the mm before it closes files. */
static void gpu_is_unmapped_when_the_process_ends(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_file *other = kunit_kzalloc(test, sizeof(*other),
					       GFP_KERNEL);
	unsigned long live, addr, i;
	struct mm_struct *mm;
	int ret = -ENOMEM;
	u32 value = 0;

	KUNIT_ASSERT_NOT_NULL(test, other);
	mm = svm_enter_other_mm(t);
	mmgrab(mm);
	addr = vm_mmap(NULL, 0, NR * PAGE_SIZE, RW,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	if (!IS_ERR_VALUE(addr))
		ret = svm_open(t, other, SVM_INST + 0x1000);
	for (i = 0; i < NR && !ret; i++)
		ret = fake_write(t->gpu, other->inst, addr + i * PAGE_SIZE, i);
	svm_leave_other_mm(t, mm);
	KUNIT_EXPECT_EQ(test, 0, ret);
	if (other->vmm) {
		live = fake_live_entries(other->vmm);
		KUNIT_EXPECT_EQ(test, 0, live);
		KUNIT_EXPECT_EQ(test, -EFAULT,
				fake_read(t->gpu, other->inst, addr, &value));
		svm_close(t, other);
	}
	mmdrop(mm);
}

static void svm_suspend_and_resume(struct svm_test *t, bool huge)
{
	u32 value;

	svm_move_all(t, huge);
	KUNIT_ASSERT_EQ(t->test, 0, fake_read(t->gpu, SVM_INST, t->area,
					      &value));
	svm_suspend(t);
	KUNIT_EXPECT_EQ(t->test, 0, fake_live_entries(t->vmm));
	svm_resume(t);
	svm_compare(t);
	KUNIT_ASSERT_EQ(t->test, 0, fake_read(t->gpu, SVM_INST, t->area,
					      &value));
	KUNIT_EXPECT_EQ(t->test, svm_pattern(t->area), value);
	svm_expect_filled(t, t->area, t->size);
	svm_compare(t);
}

static void huge_pages_in_vram_survive_suspend(struct kunit *test)
{
	svm_suspend_and_resume(svm_of(test), true);
}

static void small_pages_in_vram_survive_suspend(struct kunit *test)
{
	svm_suspend_and_resume(svm_of(test), false);
}

static void host_mappings_are_gone_in_suspend(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area, &value));
	svm_suspend(t);
	KUNIT_EXPECT_EQ(test, 0, fake_live_entries(t->vmm));
	vm_munmap(t->area, PAGE_SIZE);
	svm_resume(t);
	svm_compare(t);
	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area +
					   PAGE_SIZE, &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area + PAGE_SIZE), value);
}

static void device_is_removed_with_small_pages_in_vram(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_move_all(t, false);
	svm_close(t, &t->file);
	svm_device_fini(t);
	svm_expect_filled(t, t->area, t->size);
}

static void device_is_removed_with_huge_pages_in_vram(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_move_all(t, true);
	svm_close(t, &t->file);
	svm_device_fini(t);
	svm_expect_filled(t, t->area, t->size);
}

/* nouveau_drm_device_fini() closes the clients last. */
static void device_is_removed_before_the_file_is_closed(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_move_all(t, false);
	svm_device_fini(t);
	svm_close(t, &t->file);
	svm_expect_filled(t, t->area, t->size);
}

static void device_frees_what_it_allocated(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_close(t, &t->file);
	svm_device_fini(t);
	KUNIT_EXPECT_NULL(test, t->drm->svm);
	KUNIT_EXPECT_NULL(test, t->drm->dmem);
	KUNIT_EXPECT_EQ(test, 0, t->gpu->nr_objects);
	KUNIT_EXPECT_NE(test, 0, svm_open(t, &t->file, SVM_INST));
}

static struct kunit_case nouveau_svm_life_cases[] = {
	KUNIT_CASE(bind_from_another_process_is_refused),
	KUNIT_CASE(bind_checks_its_arguments),
	KUNIT_CASE(bind_without_svm_is_refused),
	KUNIT_CASE(svm_is_enabled_once_in_a_file),
	KUNIT_CASE(vmm_does_not_leak_if_init_is_interrupted),
	KUNIT_CASE(other_file_works_after_one_was_closed),
	KUNIT_CASE(gpu_is_unmapped_when_the_process_ends),
	KUNIT_CASE(huge_pages_in_vram_survive_suspend),
	KUNIT_CASE(small_pages_in_vram_survive_suspend),
	KUNIT_CASE(host_mappings_are_gone_in_suspend),
	KUNIT_CASE(device_frees_what_it_allocated),
	KUNIT_CASE(device_is_removed_with_small_pages_in_vram),
	KUNIT_CASE(device_is_removed_before_the_file_is_closed),
	KUNIT_CASE(device_is_removed_with_huge_pages_in_vram),
	{}
};

static struct kunit_suite nouveau_svm_life_suite = {
	.name = "nouveau_svm_life",
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_life_cases,
};

static struct kunit_case nouveau_svm_close_cases[] = {
	KUNIT_CASE(cpu_reads_vram_after_the_file_was_closed),
	KUNIT_CASE(nothing_is_left_in_vram_by_a_closed_file),
	{}
};

static struct kunit_suite nouveau_svm_close_suite = {
	.name = "nouveau_svm_close",
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_close_cases,
};

kunit_test_suites(&nouveau_svm_life_suite, &nouveau_svm_close_suite);
