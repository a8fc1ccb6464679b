// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What must not happen between two steps of the driver, in an order that each
 * test enforces; and what the GPU keeps when the CPU only loses write access.
 */
#include "nouveau_svm_kunit.h"
#include "nouveau_svm.h"
#ifndef NOUVEAU_SVM_STOCK
#include "nouveau_svm_priv.h"
#endif

#include <linux/delay.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/shmem_fs.h>
#include <nvif/if000c.h>

#define RW	(PROT_READ | PROT_WRITE)
/* Accesses that are so far apart are served by themselves. */
#define APART	(64UL << 10)

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

/* While a fault waits, nothing may be asserted. */
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

	svm_comes(thread->t, &hold->reached);
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
	/* What the CPU's entry knows goes to the folio, which the file keeps. */
	get_file(file);
	vm_munmap(t->area, PAGE_SIZE);
	after = folio_test_dirty(folio);
	fput(file);
	folio_put(folio);
	KUNIT_EXPECT_EQ(test, 0, value);
	KUNIT_EXPECT_FALSE(test, before);
	KUNIT_EXPECT_TRUE(test, after);
}

/* Writeback of a page begins: the CPU loses write access to it. */
static void svm_clean(struct svm_test *t, struct file *file, pgoff_t index)
{
	struct folio *folio = filemap_lock_folio(file->f_mapping, index);
	int cleaned;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(t->test, folio);
	cleaned = folio_mkclean(folio);
	folio_unlock(folio);
	folio_put(folio);
	KUNIT_EXPECT_EQ(t->test, 1, cleaned);
}

/* One page that the GPU may write, and one apart from it that it may read */
static struct file *svm_map_one_of_each(struct svm_test *t)
{
	unsigned long readable;
	struct file *file;
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	readable = t->area + APART;
	file = svm_map_shared(t, t->area, 2 * APART);
	KUNIT_ASSERT_EQ(t->test, 0, svm_cpu_write(t->area, 1));
	KUNIT_ASSERT_EQ(t->test, 0, svm_cpu_write(readable, 1));
	KUNIT_ASSERT_EQ(t->test, 0, fake_read(t->gpu, SVM_INST, readable,
					      &value));
	KUNIT_ASSERT_EQ(t->test, 0, fake_write(t->gpu, SVM_INST, t->area, 2));
	KUNIT_ASSERT_TRUE(t->test, svm_phys(t, t->area) &
				   NVIF_VMM_PFNMAP_V0_W);
	return file;
}

static void gpu_cannot_write_a_page_that_is_cleaned(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct file *file = svm_map_one_of_each(t);
	u64 readable __maybe_unused = svm_phys(t, t->area + APART);
	u32 value;

	svm_clean(t, file, 0);
	svm_clean(t, file, APART >> PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, 0, svm_phys(t, t->area) & NVIF_VMM_PFNMAP_V0_W);
	svm_compare(t);
#ifndef NOUVEAU_SVM_STOCK
	KUNIT_ASSERT_FALSE(test, readable & NVIF_VMM_PFNMAP_V0_W);
	KUNIT_EXPECT_EQ(test, readable, svm_phys(t, t->area + APART));
#endif
	KUNIT_ASSERT_EQ(test, 0, fake_write(t->gpu, SVM_INST, t->area, 3));
	KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(t->area, &value));
	KUNIT_EXPECT_EQ(test, 3, value);
	svm_compare(t);
}

#ifndef NOUVEAU_SVM_STOCK

static struct nouveau_svm_block *svm_block(struct svm_test *t)
{
	struct nouveau_svmm *svmm = t->file.cli->svm.svmm;
	struct nouveau_svm_block *block = xa_load(&svmm->blocks,
						  PHYS_PFN(t->area));

	KUNIT_ASSERT_NOT_NULL(t->test, block);
	return block;
}

/* Call the driver alone, with an event that no function for modules causes. */
static bool svm_notify(struct svm_test *t, enum mmu_notifier_event event,
		       unsigned int flags, unsigned long size,
		       unsigned long seq)
{
	struct nouveau_svm_block *block = svm_block(t);
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, event, flags, t->mm, t->area,
				t->area + size);
	return block->notifier.ops->invalidate(&block->notifier, &range, seq);
}

/*
 * Each reason to change entries of the CPU takes the GPU's writable ones away.
 * The others stay if the CPU can read on.
 */
static void gpu_reads_on_if_only_write_access_is_lost(struct kunit *test)
{
	static const struct {
		enum mmu_notifier_event event;
		unsigned int flags;
		bool reads;
	} reasons[] = {
		{ MMU_NOTIFY_PROTECTION_PAGE, 0, true },
		{ MMU_NOTIFY_SOFT_DIRTY, 0, true },
		{ MMU_NOTIFY_PROTECTION_VMA, 0, false },
#ifdef MMU_NOTIFIER_RANGE_WRITE_LOST
		{ MMU_NOTIFY_PROTECTION_VMA, MMU_NOTIFIER_RANGE_WRITE_LOST,
		  true },
		{ MMU_NOTIFY_CLEAR, MMU_NOTIFIER_RANGE_WRITE_LOST, false },
#endif
		{ MMU_NOTIFY_UNMAP, 0, false },
		{ MMU_NOTIFY_CLEAR, 0, false },
		{ MMU_NOTIFY_MIGRATE, 0, false },
		{ MMU_NOTIFY_EXCLUSIVE, 0, false },
	};
	struct svm_test *t = svm_of(test);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(reasons); i++) {
		svm_map_one_of_each(t);
		svm_notify(t, reasons[i].event, reasons[i].flags |
			   MMU_NOTIFIER_RANGE_BLOCKABLE, t->size,
			   svm_block(t)->notifier.invalidate_seq);
		KUNIT_EXPECT_EQ_MSG(test, 0, svm_phys(t, t->area),
				    "event %u", reasons[i].event);
		KUNIT_EXPECT_EQ_MSG(test, reasons[i].reads,
				    svm_phys(t, t->area + APART) != 0,
				    "event %u", reasons[i].event);
		svm_compare(t);
	}
}

/* An entry of 2 MiB goes as a whole, also in VRAM. */
static void huge_entry_goes_with_write_access_to_a_part(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_map(t, SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area, t->size));
	KUNIT_ASSERT_EQ(test, 0, svm_gpu_bad(t, t->area, PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, 1, fake_live_large(t->vmm));
	svm_notify(t, MMU_NOTIFY_PROTECTION_PAGE, MMU_NOTIFIER_RANGE_BLOCKABLE,
		   PAGE_SIZE, svm_block(t)->notifier.invalidate_seq);
	KUNIT_EXPECT_EQ(test, 0, fake_live_entries(t->vmm));
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, t->area, 4 * APART));
	KUNIT_EXPECT_EQ(test, 512, svm_in_vram(t, t->area, t->size));
	svm_compare(t);
}

struct svm_holder {
	struct svm_thread thread;
	struct completion locked;
	struct completion tried;
};

/* Not for ever: the callback might wait for it. */
static void svm_hold_mutex(struct svm_thread *thread)
{
	struct svm_holder *holder = container_of(thread, struct svm_holder,
						 thread);
	struct nouveau_svmm *svmm = thread->t->file.cli->svm.svmm;

	mutex_lock(&svmm->mutex);
	complete(&holder->locked);
	wait_for_completion_timeout(&holder->tried, 10 * HZ);
	mutex_unlock(&svmm->mutex);
}

/* The callback, when it must not sleep, as for the OOM reaper */
static void callback_that_must_not_sleep_clears_nothing(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_holder holder = {};
	struct mmu_interval_notifier *notifier;
	unsigned long seq;
	bool done;
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area, &value));
	notifier = &svm_block(t)->notifier;
	seq = notifier->invalidate_seq;
	KUNIT_EXPECT_FALSE(test, svm_notify(t, MMU_NOTIFY_CLEAR, 0, t->size,
					    seq + 2));
	KUNIT_EXPECT_EQ(test, seq, notifier->invalidate_seq);
	KUNIT_EXPECT_NE(test, 0, svm_phys(t, t->area));

	/* The GPU has nothing: but what a walk is reading becomes stale. */
	svm_zap(t, t->area, t->size);
	seq = notifier->invalidate_seq;
	KUNIT_EXPECT_TRUE(test, svm_notify(t, MMU_NOTIFY_CLEAR, 0, t->size,
					   seq + 2));
	KUNIT_EXPECT_EQ(test, seq + 2, notifier->invalidate_seq);
	WRITE_ONCE(notifier->invalidate_seq, seq);

	/* Not even that can be done while another task has the mutex. */
	init_completion(&holder.locked);
	init_completion(&holder.tried);
	svm_thread_start(t, &holder.thread, svm_hold_mutex);
	svm_comes(t, &holder.locked);
	done = svm_notify(t, MMU_NOTIFY_CLEAR, 0, t->size, seq + 2);
	complete(&holder.tried);
	svm_thread_join(&holder.thread);
	KUNIT_EXPECT_FALSE(test, done);
	KUNIT_EXPECT_EQ(test, seq, notifier->invalidate_seq);
}

static void svm_zap_slowly(struct svm_thread *thread)
{
	struct svm_watch *watch = &thread->t->watch;

	WRITE_ONCE(watch->slow, current);
	svm_zap(thread->t, thread->addr, PAGE_SIZE);
	WRITE_ONCE(watch->slow, NULL);
}

static void svm_bind_page(struct svm_thread *thread)
{
	thread->result = svm_bind(thread->t, thread->addr, PAGE_SIZE);
}

/* Wait until both threads sleep, and do so for a while. */
static void svm_wait_asleep(const struct svm_thread *threads, unsigned int nr)
{
	unsigned int i, quiet = 0;

	while (quiet < 10) {
		msleep(20);
		quiet++;
		for (i = 0; i < nr; i++) {
			if (threads[i].task && task_is_running(threads[i].task))
				quiet = 0;
		}
	}
}

/*
 * The notifier of a block grows downwards and upwards at once: both wait for an
 * invalidation in flight. In the end it covers what both have mapped.
 */
static void block_grows_to_both_sides_at_once(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_thread zap = {}, bind[2] = {};
	struct completion end;
	unsigned int i;
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	/* Later BINDs do not wait for VRAM. */
	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area + 8 * APART, PAGE_SIZE));
	zap.addr = t->area + 8 * APART;
	bind[0].addr = t->area;
	bind[1].addr = t->area + t->size - PAGE_SIZE;
	init_completion(&end);
	t->watch.until = &end;
	svm_thread_start(t, &zap, svm_zap_slowly);
	svm_comes(t, &t->watch.began);
	svm_thread_start(t, &bind[0], svm_bind_page);
	svm_thread_start(t, &bind[1], svm_bind_page);
	svm_wait_asleep(bind, 2);
	complete(&end);
	svm_thread_join(&zap);
	for (i = 0; i < 2; i++)
		svm_thread_join(&bind[i]);
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, 0, bind[i].result);
		KUNIT_EXPECT_NE(test, 0, svm_phys(t, bind[i].addr));
		svm_zap(t, bind[i].addr, PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, 0, svm_phys(t, bind[i].addr));
	}
	svm_compare(t);
	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area, &value));
}

/*
 * A fault ends with an error after its channel is gone, and after another one,
 * of another file, got the same address for its instance.
 */
static void late_error_cancels_no_access_of_another_channel(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct nouveau_svmm *svmm = t->file.cli->svm.svmm;
	struct fake_access access = { .inst = SVM_INST };
	struct svm_file other = {};
	struct svm_hold *hold;
	int ret;

	svm_map(t, SVM_LARGE, RW, false);
	hold = svm_map_held(t, t->area);
	KUNIT_ASSERT_EQ(test, 0, svm_open(t, &other, SVM_INST + 0x1000));
	access.addr = t->area;

	/* If the channel stays, its access is cancelled. */
	hold->result = VM_FAULT_SIGBUS;
	complete_all(&hold->released);
	fake_run(t->gpu, &access, 1);
	KUNIT_ASSERT_EQ(test, -EFAULT, access.result);
	KUNIT_ASSERT_EQ(test, 1, fake_log_count(t->gpu, 0, FAKE_CANCEL));

	reinit_completion(&hold->reached);
	reinit_completion(&hold->released);
	t->gpu->nr_log = 0;
	fake_report(t->gpu, &access, true);
	svm_comes(t, &hold->reached);
	nouveau_svmm_part(svmm, SVM_INST);
	ret = nouveau_svmm_join(other.cli->svm.svmm, SVM_INST);
	complete_all(&hold->released);
	flush_workqueue(t->drm->svm->queue);
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_EQ(test, 0, fake_log_count(t->gpu, 0, FAKE_CANCEL));
	nouveau_svmm_part(other.cli->svm.svmm, SVM_INST);
	svm_close(t, &other);
}

/*
 * Resuming repeats all accesses, so the entries from before are worth nothing;
 * and one of them would pass for a new one that the GPU has counted, but not
 * written yet.
 */
static void faults_from_before_suspend_are_forgotten(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access = { .inst = SVM_INST };
	u32 *regs = t->gpu->regs;
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, regs[FAKE_PUT / 4]);
	/* This would be cancelled. */
	access.addr = t->area + t->size;
	fake_report(t->gpu, &access, false);
	svm_suspend(t);
	KUNIT_EXPECT_EQ(test, 1, regs[FAKE_PUT / 4]);
	KUNIT_EXPECT_EQ(test, 1, regs[FAKE_GET / 4]);
	/* The GPU begins anew, and counts an entry. */
	WRITE_ONCE(regs[FAKE_GET / 4], 0);
	svm_resume(t);
	flush_delayed_work(&t->drm->svm->buffer.work);
	flush_workqueue(t->drm->svm->queue);
	KUNIT_EXPECT_EQ(test, 0, fake_log_count(t->gpu, 0, FAKE_CANCEL));
	KUNIT_EXPECT_EQ(test, 0, regs[FAKE_GET / 4]);
	/* It writes that entry. */
	WRITE_ONCE(regs[FAKE_PUT / 4], 0);
	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area, &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area), value);
	KUNIT_EXPECT_EQ(test, 0, fake_log_count(t->gpu, 0, FAKE_CANCEL));
}

#ifdef CONFIG_PM
static int svm_usage(const struct svm_test *t)
{
	return atomic_read(&t->drm->dev->dev->power.usage_count);
}
#else
static int svm_usage(const struct svm_test *t)
{
	return 0;
}
#endif

/* However pages leave VRAM, the device may sleep after the last one. */
static void device_stays_awake_while_vram_is_in_use(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long size = 2 * PAGE_SIZE;
	int idle = svm_usage(t);
	u32 value;

	if (!IS_ENABLED(CONFIG_PM))
		kunit_skip(test, "no runtime power management");
	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, size);
	KUNIT_ASSERT_EQ(test, 0, fake_write(t->gpu, SVM_INST, t->area + 64, 1));
	KUNIT_EXPECT_EQ(test, idle, svm_usage(t));

	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area, PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area, size));
	KUNIT_EXPECT_EQ(test, idle + 1, svm_usage(t));
	KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(t->area, &value));
	KUNIT_EXPECT_EQ(test, idle + 1, svm_usage(t));
	KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(t->area + PAGE_SIZE, &value));
	KUNIT_EXPECT_EQ(test, idle, svm_usage(t));

	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area, size));
	KUNIT_EXPECT_EQ(test, idle + 1, svm_usage(t));
	svm_suspend(t);
	svm_resume(t);
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, size));
	KUNIT_EXPECT_EQ(test, idle, svm_usage(t));

	t->gpu->copies_left = 0;
	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area, size));
	t->gpu->copies_left = -1;
	KUNIT_EXPECT_EQ(test, idle, svm_usage(t));

	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area, size));
	KUNIT_EXPECT_EQ(test, idle + 1, svm_usage(t));
	svm_zap(t, t->area, size);
	KUNIT_EXPECT_EQ(test, idle, svm_usage(t));

	svm_fill(t, t->area, size);
	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area, size));
	KUNIT_EXPECT_EQ(test, idle + 1, svm_usage(t));
	svm_close(t, &t->file);
	KUNIT_EXPECT_EQ(test, idle, svm_usage(t));
	svm_expect_filled(t, t->area, size);
}

#endif

static struct kunit_case nouveau_svm_race_cases[] = {
	KUNIT_CASE(page_is_replaced_while_the_next_faults),
	KUNIT_CASE(mapped_page_is_replaced_while_the_next_faults),
	KUNIT_CASE(page_that_only_the_gpu_wrote_is_dirty),
	KUNIT_CASE(gpu_cannot_write_a_page_that_is_cleaned),
#ifndef NOUVEAU_SVM_STOCK
	KUNIT_CASE(gpu_reads_on_if_only_write_access_is_lost),
	KUNIT_CASE(huge_entry_goes_with_write_access_to_a_part),
	KUNIT_CASE(callback_that_must_not_sleep_clears_nothing),
	KUNIT_CASE(block_grows_to_both_sides_at_once),
	KUNIT_CASE(late_error_cancels_no_access_of_another_channel),
	KUNIT_CASE(faults_from_before_suspend_are_forgotten),
	KUNIT_CASE(device_stays_awake_while_vram_is_in_use),
#endif
	{}
};

static struct kunit_suite nouveau_svm_race_suite = {
	.name = "nouveau_svm_race",
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_race_cases,
};

kunit_test_suite(nouveau_svm_race_suite);
