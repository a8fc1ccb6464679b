// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A process with an open file of the fake GPU: see nouveau_svm_kunit.h.
 *
 * Defects of 7.3's driver that one can see from outside, and the case that
 * shows each:
 *
 * GPU maps a page that moved	mappings_of_moved_small_pages_are_gone
 *				mapping_of_a_moved_huge_page_is_gone
 *				no_pfnmap_is_refused
 * GPU may write during a copy	gpu_is_unmapped_before_the_copy
 *				gpu_write_during_the_copy_is_not_lost
 * page mapped, did not move	page_that_cannot_be_replaced_stays_usable:
 *				on 7.3's driver with mend_shift=1, as it maps
 *				nothing that it moves otherwise
 * pages outlive the file	cpu_reads_vram_after_the_file_was_closed
 *				nothing_is_left_in_vram_by_a_closed_file
 * BIND of another process	bind_from_another_process_is_refused
 * channel without its mutex	copies_hold_the_mutex_of_the_channel
 * fences not checked		pages_stay_if_*, data_stays_in_vram_if_*
 * VRAM moves in suspend	*_pages_in_vram_survive_suspend
 *				host_mappings_are_gone_in_suspend
 * eviction			device_is_removed_*
 * CPU's order as page size	page_of_1_gib_is_mapped
 * endless replay, unmanaged	access_to_the_unmanaged_range_is_cancelled
 * long wait cancels		fault_that_waits_long_is_not_cancelled
 * atomics leave VRAM		atomics_on_vram_stay_in_vram
 * late valid bit		entry_that_becomes_valid_later_is_served
 * weakest fault first		one_round_serves_a_read_and_a_write
 * prefetch swallows faults	one_round_serves_a_prefetch_and_a_read
 * all faults turn atomic	atomic_and_read_of_two_pages_in_one_batch
 * one page of 2 MiB watched	huge_page_is_cut_while_the_gpu_faults
 * part of 2 MiB cleared	gpu_is_unmapped_where_a_huge_page_is_cut
 * VMM leaks			vmm_does_not_leak_if_init_is_interrupted
 * drm->dmem leaks		device_frees_what_it_allocated
 * pages never used		all_of_vram_is_used
 * no small pages instead	huge_page_moves_in_pieces
 * wrong unmanaged bound	nothing_is_cleared_in_the_unmanaged_range
 * DMA address leaks		late_duplicate_does_not_leak_a_dma_address
 * dead process is mapped	gpu_is_unmapped_when_the_process_ends
 *
 * And those that one cannot see:
 *
 * Answers read before they are written, or after a failure: this driver decides
 * by what it has recorded itself (&nouveau_svm_block.have), and reads no answer
 * of a call that has failed.
 *
 * One entry too many of the fault buffer is freed: 7.3 allocates each entry when
 * it is first used, and the GPU never fills the buffer. Here all of them are one
 * allocation.
 */
#include "nouveau_svm_kunit.h"
#include "nouveau_dmem.h"
#include "nouveau_svm.h"
#ifndef NOUVEAU_SVM_STOCK
#include "nouveau_dmem_chunk.h"
#endif

#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>

#include <nvif/if000c.h>
#include <uapi/drm/nouveau_drm.h>

static bool svm_watch_ignores(struct svm_test *t,
			      const struct mmu_notifier_range *range)
{
	/* The driver moves the page: copies tell whether it was mapped. */
	if (range->event == MMU_NOTIFY_MIGRATE)
		return range->owner == t->drm->dev;
	/* With an owner, the GPU gets the page; without one, it loses it. */
	return range->event == MMU_NOTIFY_EXCLUSIVE && range->owner;
}

static bool svm_only_write_is_lost(const struct mmu_notifier_range *range)
{
	return range->event == MMU_NOTIFY_PROTECTION_VMA ||
	       range->event == MMU_NOTIFY_PROTECTION_PAGE ||
	       range->event == MMU_NOTIFY_SOFT_DIRTY;
}

static int svm_watch_start(struct mmu_notifier *notifier,
			   const struct mmu_notifier_range *range)
{
	struct svm_watch *watch = container_of(notifier, struct svm_watch,
					       notifier);

	spin_lock(&watch->lock);
	if (watch->nr_open < ARRAY_SIZE(watch->open))
		watch->open[watch->nr_open++] = (struct svm_invalidation) {
			.task = current,
			.start = range->start,
			.end = range->end,
			.stamp = READ_ONCE(watch->t->gpu->stamp),
		};
	spin_unlock(&watch->lock);
	if (READ_ONCE(watch->slow) == current) {
		complete(&watch->began);
		if (watch->until)
			wait_for_completion(watch->until);
		else
			msleep(watch->delay_ms);
	}
	return 0;
}

/* The stamp of the invalidation that ends; false if it was not noted */
static bool svm_watch_close(struct svm_watch *watch,
			    const struct mmu_notifier_range *range, u64 *stamp)
{
	bool found = false;
	int i;

	spin_lock(&watch->lock);
	for (i = watch->nr_open - 1; i >= 0 && !found; i--) {
		struct svm_invalidation *open = &watch->open[i];

		if (open->task != current || open->start != range->start ||
		    open->end != range->end)
			continue;
		*stamp = open->stamp;
		*open = watch->open[--watch->nr_open];
		found = true;
	}
	spin_unlock(&watch->lock);
	return found;
}

static void svm_watch_end(struct mmu_notifier *notifier,
			  const struct mmu_notifier_range *range)
{
	struct svm_watch *watch = container_of(notifier, struct svm_watch,
					       notifier);
	struct svm_test *t = watch->t;
	struct fake_vmm *vmm;
	unsigned int stale;
	u64 stamp;

	if (!svm_watch_close(watch, range, &stamp) ||
	    svm_watch_ignores(t, range))
		return;
	mutex_lock(&t->gpu->lock);
	list_for_each_entry(vmm, &t->gpu->vmms, head) {
		if (vmm->mm != range->mm)
			continue;
		stale = fake_stale(vmm, range->start, range->end, stamp,
				   svm_only_write_is_lost(range));
		if (stale)
			fake_violation(t->gpu, FAKE_STALE,
				       "%u after event %u of %lx-%lx", stale,
				       range->event, range->start, range->end);
	}
	mutex_unlock(&t->gpu->lock);
}

static const struct mmu_notifier_ops svm_watch_ops = {
	.invalidate_range_start = svm_watch_start,
	.invalidate_range_end = svm_watch_end,
};

static void svm_watch_begin(struct svm_test *t)
{
	spin_lock_init(&t->watch.lock);
	init_completion(&t->watch.began);
	t->watch.t = t;
	t->watch.notifier.ops = &svm_watch_ops;
	KUNIT_ASSERT_EQ(t->test, 0,
			mmu_notifier_register(&t->watch.notifier, t->mm));
	t->watching = true;
}

static int svm_thread_main(void *data)
{
	struct svm_thread *thread = data;

	/* The stubs of the test hold here, too. */
	current->kunit_test = thread->t->test;
	kthread_use_mm(thread->t->mm);
	thread->run(thread);
	kthread_unuse_mm(thread->t->mm);
	current->kunit_test = NULL;
	complete(&thread->ended);
	return 0;
}

/* No assertion, as other threads may use the test already. */
void svm_thread_start(struct svm_test *t, struct svm_thread *thread,
		      void (*run)(struct svm_thread *thread))
{
	struct task_struct *task;

	thread->t = t;
	thread->run = run;
	init_completion(&thread->ended);
	task = kthread_create(svm_thread_main, thread, "svm-test");
	KUNIT_EXPECT_NOT_ERR_OR_NULL(t->test, task);
	if (IS_ERR_OR_NULL(task))
		return;
	thread->task = get_task_struct(task);
	wake_up_process(task);
}

/*
 * Nothing may be asserted between start and join: the thread uses the test.
 * While it is in svm_bind(), it is no kthread that could be stopped.
 */
void svm_thread_join(struct svm_thread *thread)
{
	if (!thread->task)
		return;
	wait_for_completion(&thread->ended);
	kthread_stop_put(thread->task);
}

/* Wait for what a driver that works does; without it, the test has failed. */
bool svm_comes(struct svm_test *t, struct completion *what)
{
	bool comes = wait_for_completion_timeout(what, SVM_LIMIT);

	KUNIT_EXPECT_TRUE_MSG(t->test, comes, "nothing came");
	return comes;
}

/* Open a file and enable SVM in it, with a channel. */
int svm_open(struct svm_test *t, struct svm_file *file, u64 inst)
{
	struct drm_nouveau_svm_init args = {
		.unmanaged_addr = SVM_UNMANAGED,
		.unmanaged_size = SVM_UNMANAGED_SIZE,
	};
	int ret;

	if (!file->cli)
		file->cli = fake_cli_new(t->gpu);
	file->file.driver_priv = file->cli;
	file->inst = inst;
	ret = nouveau_svmm_init(t->drm->dev, &args, &file->file);
	if (ret)
		return ret;
	file->vmm = fake_vmm_find(t->gpu,
				  (uintptr_t)&file->cli->svm.vmm.object);
	KUNIT_ASSERT_NOT_NULL(t->test, file->vmm);
	file->vmm->inst = inst;
	ret = nouveau_svmm_join(file->cli->svm.svmm, inst);
	KUNIT_ASSERT_EQ(t->test, 0, ret);
	return 0;
}

/* What nouveau_channel_del() and nouveau_cli_fini() do to SVM */
void svm_close(struct svm_test *t, struct svm_file *file)
{
	if (!file->cli || !file->cli->svm.cli)
		return;
	nouveau_svmm_part(file->cli->svm.svmm, file->inst);
	file->vmm = NULL;
	nouveau_vmm_fini(&file->cli->svm);
}

/* In the order of nouveau_drm_device_fini() */
void svm_device_fini(struct svm_test *t)
{
	if (t->finished)
		return;
	t->finished = true;
	nouveau_dmem_fini(t->drm);
	nouveau_svm_fini(t->drm);
}

void svm_suspend(struct svm_test *t)
{
	nouveau_svm_suspend(t->drm);
	nouveau_dmem_suspend(t->drm);
}

void svm_resume(struct svm_test *t)
{
	nouveau_dmem_resume(t->drm);
	nouveau_svm_resume(t->drm);
}

void svm_use_fake_bos(struct svm_test *t)
{
#ifndef NOUVEAU_SVM_STOCK
	static const struct nouveau_dmem_bo_ops fake_bo_ops = {
		.new = fake_bo_new,
		.del = fake_bo_del,
		.pin = fake_bo_pin,
		.unpin = fake_bo_unpin,
	};

	t->drm->dmem->bo = &fake_bo_ops;
#endif
}

int svm_suite_init(struct kunit *test)
{
	struct svm_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->test = test;
	KUNIT_ASSERT_EQ(test, 0, kunit_attach_mm());
	t->mm = current->mm;
	t->gpu = fake_gpu_new(test);
	t->drm = t->gpu->drm;
	nouveau_svm_init(t->drm);
	KUNIT_ASSERT_NOT_NULL(test, t->drm->svm);
	nouveau_dmem_init(t->drm);
	KUNIT_ASSERT_NOT_NULL(test, t->drm->dmem);
	svm_use_fake_bos(t);
	KUNIT_ASSERT_EQ(test, 0, svm_open(t, &t->file, SVM_INST));
	t->vmm = t->file.vmm;
	svm_watch_begin(t);
	return 0;
}

static const char * const svm_violations[FAKE_VIOLATIONS] = {
	[FAKE_OVERWRITE] = "a live entry was overwritten",
	[FAKE_MIXED] = "4 KiB and 2 MiB entries overlap or touch",
	[FAKE_PARTIAL_CLEAR] = "PFNCLR of a part of a 2 MiB entry",
	[FAKE_BAD_PFNMAP] = "nvkm refuses this PFNMAP",
	[FAKE_UNLOCKED_CHANNEL] = "copy channel used without its mutex",
	[FAKE_COPY_MAPPED] = "copied while the GPU could access it",
	[FAKE_STALE] = "the GPU maps what the process has not",
	[FAKE_FOREIGN] = "the GPU accessed what the process has not",
	[FAKE_WILD_VRAM] = "access to VRAM outside of buffer objects",
	[FAKE_WILD_HOST] = "bad copy",
	[FAKE_BAD_PIN] = "pins and unpins do not match",
};

/*
 * 7.3's driver does these with each move to VRAM. For its sake only
 * copies_hold_the_mutex_of_the_channel() and no_pfnmap_is_refused() look, and
 * the other cases show what else there is.
 */
static bool svm_is_everywhere(enum fake_violation kind)
{
#ifdef NOUVEAU_SVM_STOCK
	return kind == FAKE_UNLOCKED_CHANNEL || kind == FAKE_BAD_PFNMAP;
#else
	return false;
#endif
}

static void svm_expect_no_violations(struct svm_test *t)
{
	int i;

	for (i = 0; i < FAKE_VIOLATIONS; i++) {
		if (svm_is_everywhere(i) || !t->gpu->violations[i])
			continue;
		KUNIT_FAIL(t->test, "%s: %u times, first %s",
			   svm_violations[i], t->gpu->violations[i],
			   t->gpu->first_violation[i]);
	}
}

/* Runs in another thread, when the memory of the process is gone */
static void svm_end(struct svm_test *t)
{
	svm_close(t, &t->file);
	svm_device_fini(t);
	if (t->watching)
		mmu_notifier_unregister(&t->watch.notifier, t->mm);
	mmu_notifier_synchronize();
	KUNIT_EXPECT_EQ(t->test, 0, t->gpu->nr_objects);
	svm_expect_no_violations(t);
	fake_gpu_del(t->gpu);
}

/*
 * The thread of the test counts as ended before it has unmapped its memory. A
 * process closes its files after that.
 */
static void svm_wait_for_exit(struct mm_struct *mm)
{
	while (atomic_read(&mm->mm_users) || !mtree_empty(&mm->mm_mt))
		msleep(20);
}

void svm_suite_exit(struct kunit *test)
{
	struct svm_test *t = test->priv;

	if (t && t->mm)
		svm_wait_for_exit(t->mm);
	if (t && t->gpu)
		svm_end(t);
	/*
	 * The thread of the test has exited without kthread_unuse_mm(), so the
	 * reference of kthread_use_mm() is left.
	 */
	if (t && t->mm)
		mmdrop(t->mm);
}

/* Private memory, aligned to 2 MiB, of huge pages or of small ones */
void svm_map(struct svm_test *t, unsigned long size, unsigned long prot,
	     bool huge)
{
	unsigned long addr;

	if (!huge)
		mm_flags_set(MMF_DISABLE_THP_COMPLETELY, current->mm);
	addr = vm_mmap(NULL, 0, size + 2 * SVM_LARGE, prot,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	KUNIT_ASSERT_FALSE(t->test, IS_ERR_VALUE(addr));
	t->area = ALIGN(addr, SVM_LARGE);
	t->size = size;
	/* No neighbour: what is unmapped or faulted ends with the area. */
	vm_munmap(t->area + size, addr + 2 * SVM_LARGE - t->area);
	if (t->area != addr)
		vm_munmap(addr, t->area - addr);
}

/*
 * What MADV_DONTNEED does. Other than munmap(), it does not split a huge page
 * before it tells that a part of it goes.
 */
void svm_zap(struct svm_test *t, unsigned long addr, unsigned long size)
{
	struct vm_area_struct *vma;

	mmap_read_lock(t->mm);
	vma = find_vma_intersection(t->mm, addr, addr + size);
	if (vma)
		zap_vma_range(vma, addr, size);
	mmap_read_unlock(t->mm);
}

int svm_cpu_read(unsigned long addr, u32 *value)
{
	return copy_from_user(value, (void __user *)addr, sizeof(*value)) ?
		-EFAULT : 0;
}

int svm_cpu_write(unsigned long addr, u32 value)
{
	return copy_to_user((void __user *)addr, &value, sizeof(value)) ?
		-EFAULT : 0;
}

/* Each page has its own contents. */
u32 svm_pattern(unsigned long addr)
{
	return (u32)(addr >> PAGE_SHIFT) * 2654435761u + (addr & ~PAGE_MASK);
}

void svm_fill(struct svm_test *t, unsigned long addr, unsigned long size)
{
	unsigned long end = addr + size;

	for (; addr < end; addr += PAGE_SIZE) {
		KUNIT_ASSERT_EQ(t->test, 0,
				svm_cpu_write(addr, svm_pattern(addr)));
		KUNIT_ASSERT_EQ(t->test, 0,
				svm_cpu_write(addr + 4092,
					      svm_pattern(addr + 4092)));
	}
}

void svm_expect_filled(struct svm_test *t, unsigned long addr,
		       unsigned long size)
{
	unsigned long end = addr + size, bad = 0;
	u32 first, last;

	for (; addr < end; addr += PAGE_SIZE) {
		if (svm_cpu_read(addr, &first) ||
		    svm_cpu_read(addr + 4092, &last) ||
		    first != svm_pattern(addr) ||
		    last != svm_pattern(addr + 4092))
			bad++;
	}
	KUNIT_EXPECT_EQ_MSG(t->test, bad, 0UL, "pages with wrong contents");
}

/* How many pages of the range the GPU cannot read, or reads wrong */
unsigned long svm_gpu_bad(struct svm_test *t, unsigned long addr,
			  unsigned long size)
{
	unsigned long end = addr + size, bad = 0;
	u32 value;

	for (; addr < end; addr += PAGE_SIZE)
		bad += fake_read(t->gpu, SVM_INST, addr, &value) ||
		       value != svm_pattern(addr);
	return bad;
}

/* A system call of a process: get_task_mm() finds no mm of a kthread. */
int svm_bind_args(struct svm_test *t, struct svm_file *file,
		  struct drm_nouveau_svm_bind *args)
{
	int ret;

	current->flags &= ~PF_KTHREAD;
	ret = nouveau_svmm_bind(t->drm->dev, args, &file->file);
	current->flags |= PF_KTHREAD;
	return ret;
}

/* Move a range to VRAM. */
int svm_bind_in(struct svm_test *t, struct svm_file *file, unsigned long addr,
		unsigned long size)
{
	struct drm_nouveau_svm_bind args = {
		.header = (u64)NOUVEAU_SVM_BIND_COMMAND__MIGRATE <<
			  NOUVEAU_SVM_BIND_COMMAND_SHIFT |
			  (u64)NOUVEAU_SVM_BIND_TARGET__GPU_VRAM <<
			  NOUVEAU_SVM_BIND_TARGET_SHIFT,
		.va_start = addr,
		.va_end = addr + size,
	};

	return svm_bind_args(t, file, &args);
}

int svm_bind(struct svm_test *t, unsigned long addr, unsigned long size)
{
	return svm_bind_in(t, &t->file, addr, size);
}

/* How many pages of the range are in VRAM */
unsigned long svm_in_vram(struct svm_test *t, unsigned long addr,
			  unsigned long size)
{
	unsigned long end = addr + size, count = 0;

	for (; addr < end; addr += PAGE_SIZE)
		count += fake_cpu_entry(t->mm, addr).kind == FAKE_CPU_PRIVATE;
	return count;
}

/* The GPU's page table against the CPU's, which nothing may change now */
void svm_compare(struct svm_test *t)
{
	mmap_write_lock(t->mm);
	fake_compare(t->gpu);
	mmap_write_unlock(t->mm);
}

/* The entry of the GPU at an address, as PFNMAP wrote it; 0 if none */
u64 svm_phys(struct svm_test *t, unsigned long addr)
{
	u64 phys;

	mutex_lock(&t->gpu->lock);
	phys = fake_translate(t->vmm, addr, NULL);
	mutex_unlock(&t->gpu->lock);
	return phys;
}

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
