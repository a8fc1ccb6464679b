// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Faults of the GPU: what they map, and which of them are cancelled. */
#include "nouveau_svm_kunit.h"
#include "nouveau_svm.h"

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/moduleparam.h>
#include <linux/sizes.h>
#include <nvif/if000c.h>

#define RW	(PROT_READ | PROT_WRITE)

static void gpu_reads_what_the_cpu_wrote(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, 4 * PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area, &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area), value);
	svm_compare(t);
}

static void cpu_reads_what_the_gpu_wrote(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	KUNIT_ASSERT_EQ(test, 0, fake_write(t->gpu, SVM_INST, t->area, 77));
	svm_compare(t);
	KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(t->area, &value));
	KUNIT_EXPECT_EQ(test, 77, value);
}

/* A read maps the zero page, which must not be written. */
static void gpu_writes_after_it_read_untouched_memory(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	bool huge;
	u32 value;

	for (huge = false; ; huge = true) {
		svm_map(t, SVM_LARGE, RW, huge);
		KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area,
						   &value));
		KUNIT_EXPECT_EQ(test, 0, value);
		svm_compare(t);
		KUNIT_ASSERT_EQ(test, 0, fake_write(t->gpu, SVM_INST, t->area,
						    5));
		svm_compare(t);
		KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(t->area, &value));
		KUNIT_EXPECT_EQ(test, 5, value);
		if (huge)
			break;
		mm_flags_clear(MMF_DISABLE_THP_COMPLETELY, current->mm);
	}
}

static void cpu_and_gpu_write_a_huge_page_in_turns(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long addr;
	u32 value;

	svm_map(t, SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_TRUE(test, fake_cpu_entry(t->mm, t->area).huge);
	for (addr = t->area; addr < t->area + t->size; addr += 64 << 10) {
		KUNIT_ASSERT_EQ(test, 0, fake_write(t->gpu, SVM_INST,
						    addr + 8, 1));
		KUNIT_ASSERT_EQ(test, 0, svm_cpu_write(addr + 12, 2));
		KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST,
						   addr + 12, &value));
		KUNIT_EXPECT_EQ(test, 2, value);
		KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(addr + 8, &value));
		KUNIT_EXPECT_EQ(test, 1, value);
	}
	svm_compare(t);
	svm_expect_filled(t, t->area, t->size);
}

static void huge_page_is_mapped_by_one_entry(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST,
					   t->area + 99 * PAGE_SIZE, &value));
	KUNIT_EXPECT_EQ(test, 1, fake_live_large(t->vmm));
	KUNIT_EXPECT_EQ(test, 1, fake_live_entries(t->vmm));
	svm_compare(t);
}

static void gpu_is_unmapped_by_munmap_of_a_part(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area, &value));
	vm_munmap(t->area + 16 * PAGE_SIZE, 3 * PAGE_SIZE);
	svm_compare(t);
	KUNIT_EXPECT_EQ(test, -EFAULT, fake_read(t->gpu, SVM_INST, t->area +
						 17 * PAGE_SIZE, &value));
	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area +
					   20 * PAGE_SIZE, &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area + 20 * PAGE_SIZE), value);
	svm_compare(t);
}

static void gpu_is_unmapped_by_munmap(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, 4 * PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area, &value));
	KUNIT_ASSERT_NE(test, 0, svm_phys(t, t->area));
	vm_munmap(t->area, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, svm_phys(t, t->area));
	KUNIT_EXPECT_EQ(test, -EFAULT, fake_read(t->gpu, SVM_INST, t->area,
						 &value));
}

/* Asked to clear a part of a 2 MiB entry, nvkm clears nothing. */
static void gpu_is_unmapped_where_a_huge_page_is_cut(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area, &value));
	svm_zap(t, t->area + 16 * PAGE_SIZE, 3 * PAGE_SIZE);
	svm_compare(t);
	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area +
					   17 * PAGE_SIZE, &value));
	KUNIT_EXPECT_EQ(test, 0, value);
	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area +
					   20 * PAGE_SIZE, &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area + 20 * PAGE_SIZE), value);
	svm_compare(t);
}

/*
 * Huge pages and small ones beside each other: of the three blocks, the one in
 * the middle is cut. Whatever is mapped first, entries of 4 KiB and 2 MiB never
 * touch, which the fake GPU sees, and all of it is read.
 */
static void entries_of_both_sizes_do_not_touch(struct kunit *test)
{
	static const unsigned int orders[][3] = {
		{ 0, 1, 2 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 },
	};
	struct svm_test *t = svm_of(test);
	unsigned int i, j, round;
	u32 value;

	svm_map(t, 3 * SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	svm_zap(t, t->area + SVM_LARGE + 16 * PAGE_SIZE, PAGE_SIZE);
	svm_fill(t, t->area, t->size);
	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		for (round = 0; round < 2; round++) {
			for (j = 0; j < 3; j++) {
				unsigned long addr = t->area + SVM_LARGE *
						     orders[i][j];

				KUNIT_ASSERT_EQ(test, 0,
						fake_read(t->gpu, SVM_INST,
							  addr, &value));
				KUNIT_EXPECT_EQ(test, svm_pattern(addr), value);
				addr += SVM_LARGE - PAGE_SIZE;
				KUNIT_ASSERT_EQ(test, 0,
						fake_read(t->gpu, SVM_INST,
							  addr, &value));
				KUNIT_EXPECT_EQ(test, svm_pattern(addr), value);
				svm_compare(t);
			}
		}
		svm_suspend(t);
		svm_resume(t);
	}
}

static void access_outside_of_mappings_is_cancelled(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	KUNIT_EXPECT_EQ(test, -EFAULT, fake_read(t->gpu, SVM_INST, t->area +
						 t->size + SVM_LARGE, &value));
	KUNIT_EXPECT_EQ(test, -EFAULT, fake_write(t->gpu, SVM_INST, t->area +
						  t->size + SVM_LARGE, 1));
	KUNIT_EXPECT_EQ(test, 0, fake_live_entries(t->vmm));
}

static void write_to_a_readonly_mapping_is_cancelled(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, PROT_READ, false);
	KUNIT_EXPECT_EQ(test, -EFAULT, fake_write(t->gpu, SVM_INST, t->area,
						  1));
	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area, &value));
	svm_compare(t);
}

/* Both are in one batch; only the write has to fail. */
static void failing_write_does_not_cancel_a_read(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access[] = {
		{ .inst = SVM_INST, .kind = FAKE_READ },
		{ .inst = SVM_INST, .kind = FAKE_WRITE, .value = 1 },
		{ .inst = SVM_INST, .kind = FAKE_READ },
	};
	int i;

	svm_map(t, SVM_LARGE, PROT_READ, false);
	for (i = 0; i < ARRAY_SIZE(access); i++)
		access[i].addr = t->area;
	fake_run(t->gpu, access, ARRAY_SIZE(access));
	KUNIT_EXPECT_EQ(test, 0, access[0].result);
	KUNIT_EXPECT_EQ(test, -EFAULT, access[1].result);
	KUNIT_EXPECT_EQ(test, 0, access[2].result);
}

/* Memory of the CPU there is hidden from the GPU: nvkm maps nothing. */
static void access_to_the_unmanaged_range_is_cancelled(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long addr;
	u32 value;

	addr = vm_mmap(NULL, SVM_UNMANAGED - SVM_LARGE, 2 * SVM_LARGE, RW,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0);
	KUNIT_ASSERT_EQ(test, addr, SVM_UNMANAGED - SVM_LARGE);
	svm_fill(t, addr, 2 * SVM_LARGE);
	KUNIT_EXPECT_EQ(test, -EFAULT, fake_read(t->gpu, SVM_INST,
						 SVM_UNMANAGED, &value));
	KUNIT_EXPECT_EQ(test, -EFAULT, fake_write(t->gpu, SVM_INST,
						  SVM_UNMANAGED + 64, 1));
	KUNIT_EXPECT_EQ(test, 0, fake_live_entries(t->vmm));
	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, SVM_UNMANAGED -
					   PAGE_SIZE, &value));
	svm_compare(t);
}

static void nothing_is_cleared_in_the_unmanaged_range(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long addr = SVM_UNMANAGED - SVM_LARGE;
	u32 value;

	KUNIT_ASSERT_EQ(test, addr,
			vm_mmap(NULL, addr, SVM_UNMANAGED_SIZE + 2 * SVM_LARGE,
				RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				0));
	svm_fill(t, addr, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, addr, &value));
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, SVM_UNMANAGED +
					   SVM_UNMANAGED_SIZE, &value));
	vm_munmap(addr, SVM_UNMANAGED_SIZE + 2 * SVM_LARGE);
	KUNIT_EXPECT_EQ(test, -1,
			fake_log_find(t->gpu, 0, FAKE_PFNCLR, SVM_UNMANAGED,
				      SVM_UNMANAGED_SIZE));
	KUNIT_EXPECT_EQ(test, 0, fake_live_entries(t->vmm));
}

static void fault_of_a_channel_without_svm_is_cancelled(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	KUNIT_EXPECT_EQ(test, -EFAULT, fake_read(t->gpu, SVM_INST + 0x1000,
						 t->area, &value));
	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area, &value));
}

/*
 * The strongest fault of a page has to be handled, and the others with it:
 * otherwise each costs another replay.
 */
static void one_round_serves_a_read_and_a_write(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access[] = {
		{ .inst = SVM_INST, .kind = FAKE_READ },
		{ .inst = SVM_INST, .kind = FAKE_WRITE, .value = 3 },
	};

	svm_map(t, SVM_LARGE, RW, false);
	access[0].addr = t->area;
	access[1].addr = t->area;
	fake_run(t->gpu, access, 2);
	KUNIT_EXPECT_EQ(test, 0, access[0].result);
	KUNIT_EXPECT_EQ(test, 0, access[1].result);
	KUNIT_EXPECT_EQ(test, 1, access[1].rounds);
	svm_compare(t);
}

static void one_round_serves_a_prefetch_and_a_read(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access[] = {
		{ .inst = SVM_INST, .kind = FAKE_PREFETCH },
		{ .inst = SVM_INST, .kind = FAKE_READ },
	};

	svm_map(t, SVM_LARGE, RW, false);
	access[0].addr = t->area;
	access[1].addr = t->area;
	fake_run(t->gpu, access, 2);
	KUNIT_EXPECT_EQ(test, 0, access[1].result);
	KUNIT_EXPECT_EQ(test, 1, access[1].rounds);
}

/* A prefetch is not an access: memory that it does not find is no error. */
static void prefetch_outside_of_mappings_is_not_cancelled(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access = {
		.inst = SVM_INST, .kind = FAKE_PREFETCH,
	};

	svm_map(t, SVM_LARGE, RW, false);
	access.addr = t->area + t->size + SVM_LARGE;
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(access.addr, PAGE_SIZE));
	fake_run(t->gpu, &access, 1);
	KUNIT_EXPECT_FALSE(test, access.cancelled);
	KUNIT_EXPECT_NE(test, -ETIME, access.result);
}

static void prefetch_of_nothing_is_not_cancelled(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access = {
		.inst = SVM_INST, .kind = FAKE_PREFETCH,
	};

	svm_map(t, SVM_LARGE, RW, false);
	access.addr = t->area;
	fake_run(t->gpu, &access, 1);
	KUNIT_EXPECT_FALSE(test, access.cancelled);
	KUNIT_EXPECT_NE(test, -ETIME, access.result);
}

/* Between two good pages there is a bad one, in one batch and one block. */
static void bad_page_does_not_decide_for_others(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access[] = {
		{ .inst = SVM_INST, .kind = FAKE_READ },
		{ .inst = SVM_INST, .kind = FAKE_READ },
		{ .inst = SVM_INST, .kind = FAKE_READ },
	};
	int i;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, 3 * PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(t->area + PAGE_SIZE, PAGE_SIZE));
	for (i = 0; i < ARRAY_SIZE(access); i++)
		access[i].addr = t->area + i * PAGE_SIZE;
	fake_run(t->gpu, access, ARRAY_SIZE(access));
	KUNIT_EXPECT_EQ(test, 0, access[0].result);
	KUNIT_EXPECT_EQ(test, -EFAULT, access[1].result);
	KUNIT_EXPECT_EQ(test, 1, access[1].rounds);
	KUNIT_EXPECT_EQ(test, 0, access[2].result);
	svm_compare(t);
}

/* Faults of both are served in the round in which they come. */
static void two_channels_share_an_address_space(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct nouveau_svmm *svmm = t->file.cli->svm.svmm;
	struct fake_access access[] = {
		{ .inst = SVM_INST, .kind = FAKE_READ },
		{ .inst = SVM_INST + 0x2000, .kind = FAKE_READ },
	};
	int i;

	t->vmm->inst2 = access[1].inst;
	KUNIT_ASSERT_EQ(test, 0, nouveau_svmm_join(svmm, access[1].inst));
	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	for (i = 0; i < ARRAY_SIZE(access); i++)
		access[i].addr = t->area + 64 * i * PAGE_SIZE;
	fake_run(t->gpu, access, ARRAY_SIZE(access));
	for (i = 0; i < ARRAY_SIZE(access); i++) {
		KUNIT_EXPECT_EQ(test, 0, access[i].result);
		KUNIT_EXPECT_EQ(test, 1, access[i].rounds);
	}
	nouveau_svmm_part(svmm, access[1].inst);
	access[1] = (struct fake_access) {
		.inst = SVM_INST + 0x2000, .addr = t->area + 32 * PAGE_SIZE,
	};
	fake_run(t->gpu, &access[1], 1);
	KUNIT_EXPECT_EQ(test, -EFAULT, access[1].result);
	svm_compare(t);
}

#define COMINGS		200

/* Two mappings in one block come and go, each by itself. */
static void svm_come_and_go(struct svm_thread *thread)
{
	unsigned long addr = thread->addr, mapped;
	int i;

	for (i = 0; i < COMINGS && !thread->result; i++) {
		if (vm_munmap(addr, 8 * PAGE_SIZE) ||
		    vm_munmap(addr + 64 * PAGE_SIZE, 8 * PAGE_SIZE))
			thread->result = -EINVAL;
		cond_resched();
		mapped = vm_mmap(NULL, addr, 8 * PAGE_SIZE, RW, MAP_PRIVATE |
				 MAP_ANONYMOUS | MAP_FIXED, 0);
		if (mapped == addr)
			mapped = vm_mmap(NULL, addr + 64 * PAGE_SIZE,
					 8 * PAGE_SIZE, RW, MAP_PRIVATE |
					 MAP_ANONYMOUS | MAP_FIXED, 0);
		if (IS_ERR_VALUE(mapped))
			thread->result = -ENOMEM;
	}
}

/*
 * Blocks without memory are freed while munmap() calls them. Accesses may be
 * cancelled; with KASAN, memory that is used after it was freed is seen.
 */
static void mappings_come_and_go_while_the_gpu_faults(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_thread thread = {};
	unsigned int i;
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(t->area, t->size));
	thread.addr = t->area;
	svm_thread_start(t, &thread, svm_come_and_go);
	for (i = 0; i < COMINGS; i++) {
		fake_read(t->gpu, SVM_INST, t->area + i % 8 * PAGE_SIZE,
			  &value);
		fake_read(t->gpu, SVM_INST, t->area + (64 + i % 8) * PAGE_SIZE,
			  &value);
		if (i % 16 == 0)
			svm_bind(t, t->area, 8 * PAGE_SIZE);
	}
	svm_thread_join(&thread);
	KUNIT_EXPECT_EQ(test, 0, thread.result);
	svm_compare(t);
}

static void atomic_and_read_of_two_pages_in_one_batch(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access[] = {
		{ .inst = SVM_INST, .kind = FAKE_ATOMIC, .value = 4 },
		{ .inst = SVM_INST, .kind = FAKE_READ },
	};
	unsigned long ro;
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, PAGE_SIZE);
	ro = vm_mmap(NULL, t->area + PAGE_SIZE, PAGE_SIZE, PROT_READ,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0);
	KUNIT_ASSERT_EQ(test, ro, t->area + PAGE_SIZE);
	access[0].addr = t->area;
	access[1].addr = ro;
	fake_run(t->gpu, access, 2);
	KUNIT_EXPECT_EQ(test, 0, access[0].result);
	KUNIT_EXPECT_EQ(test, 0, access[1].result);
	svm_compare(t);
	KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(t->area, &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area) + 4, value);
}

static void atomic_and_read_of_one_page_in_one_batch(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access[] = {
		{ .inst = SVM_INST, .kind = FAKE_READ },
		{ .inst = SVM_INST, .kind = FAKE_ATOMIC, .value = 4 },
		{ .inst = SVM_INST, .kind = FAKE_WRITE, .value = 9 },
	};
	int i;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, PAGE_SIZE);
	for (i = 0; i < ARRAY_SIZE(access); i++)
		access[i].addr = t->area + i * 16;
	fake_run(t->gpu, access, ARRAY_SIZE(access));
	for (i = 0; i < ARRAY_SIZE(access); i++)
		KUNIT_EXPECT_EQ(test, 0, access[i].result);
	svm_compare(t);
}

static void atomics_and_cpu_writes_alternate(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 i, old, value;

	svm_map(t, SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_EQ(test, 0, svm_cpu_write(t->area, 0));
	for (i = 0; i < 20; i += 2) {
		KUNIT_ASSERT_EQ(test, 0, fake_atomic(t->gpu, SVM_INST, t->area,
						     1, &old));
		KUNIT_EXPECT_EQ(test, i, old);
		svm_compare(t);
		KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(t->area, &value));
		KUNIT_EXPECT_EQ(test, i + 1, value);
		KUNIT_ASSERT_EQ(test, 0, svm_cpu_write(t->area, i + 2));
		svm_compare(t);
	}
}

/* The GPU reports a fault again that was handled in between. */
static void late_duplicate_does_not_leak_a_dma_address(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access = {
		.inst = SVM_INST, .kind = FAKE_READ, .late = true,
	};
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, PAGE_SIZE);
	access.addr = t->area;
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area, &value));
	fake_run(t->gpu, &access, 1);
	KUNIT_EXPECT_EQ(test, 0, access.result);
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area), access.value);
	KUNIT_EXPECT_EQ(test, 0, t->gpu->violations[FAKE_OVERWRITE]);
}

/* The hardware moves PUT before it sets the valid bit of the entry. */
static void entry_that_becomes_valid_later_is_served(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access = {
		.inst = SVM_INST, .kind = FAKE_READ, .invalid_first = true,
	};

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, PAGE_SIZE);
	access.addr = t->area;
	fake_run(t->gpu, &access, 1);
	KUNIT_EXPECT_EQ(test, 0, access.result);
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area), access.value);
}

static void svm_remap_page(struct svm_thread *thread)
{
	struct svm_watch *watch = &thread->t->watch;

	watch->delay_ms = 1500;
	WRITE_ONCE(watch->slow, current);
	if (vm_mmap(NULL, thread->addr, PAGE_SIZE, RW, MAP_PRIVATE |
		    MAP_ANONYMOUS | MAP_FIXED, 0) != thread->addr)
		thread->result = -ENOMEM;
	WRITE_ONCE(watch->slow, NULL);
}

/* An invalidation that takes longer than HMM's timeout is not an error. */
static void fault_that_waits_long_is_not_cancelled(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_thread thread = {};
	u32 value = 1;
	int ret;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, 2 * PAGE_SIZE);
	thread.addr = t->area;
	svm_thread_start(t, &thread, svm_remap_page);
	wait_for_completion(&t->watch.began);
	ret = fake_read(t->gpu, SVM_INST, t->area, &value);
	svm_thread_join(&thread);
	KUNIT_EXPECT_EQ(test, 0, thread.result);
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_EQ(test, 0, value);
	svm_compare(t);
}

static char *hugetlbfs;
module_param(hugetlbfs, charp, 0444);
MODULE_PARM_DESC(hugetlbfs, "Directory where hugetlbfs has pages of 1 GiB");

static struct file *svm_huge_file;

/* Here current is modprobe: the threads of the tests see no file system. */
static int svm_open_hugetlbfs(struct kunit_suite *suite)
{
	char path[64];

	if (!hugetlbfs)
		return 0;
	scnprintf(path, sizeof(path), "%s/svm", hugetlbfs);
	svm_huge_file = filp_open(path, O_RDWR | O_CREAT, 0600);
	return 0;
}

static void svm_close_hugetlbfs(struct kunit_suite *suite)
{
	if (!IS_ERR_OR_NULL(svm_huge_file))
		fput(svm_huge_file);
	svm_huge_file = NULL;
}

/* The GPU has pages of 4 KiB and 2 MiB only, whatever the CPU has. */
static void page_of_1_gib_is_mapped(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long addr, end;
	u32 value;

	if (!hugetlbfs)
		kunit_skip(test, "no hugetlbfs= was given");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, svm_huge_file);
	addr = vm_mmap(svm_huge_file, 0, SZ_1G, RW, MAP_SHARED, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	end = addr + SZ_1G;
	svm_fill(t, addr + SZ_4M, PAGE_SIZE);
	svm_fill(t, end - PAGE_SIZE, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, addr + SZ_4M,
					   &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(addr + SZ_4M), value);
	KUNIT_EXPECT_EQ(test, 0, fake_write(t->gpu, SVM_INST, end - 64, 6));
	KUNIT_EXPECT_EQ(test, 0, svm_cpu_read(end - 64, &value));
	KUNIT_EXPECT_EQ(test, 6, value);
	svm_compare(t);
	vm_munmap(addr, SZ_1G);
	KUNIT_EXPECT_EQ(test, 0, fake_live_entries(t->vmm));
}

#define STORM	1500

static u32 svm_next_random(u32 *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

/* Many faults at once, more than the buffer has entries, and duplicates */
static void storm_of_faults_is_served(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access *access;
	unsigned int i, bad = 0;
	u32 state = 1;

	access = kunit_kcalloc(test, STORM, sizeof(*access), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, access);
	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	for (i = 0; i < STORM; i++) {
		access[i].inst = SVM_INST;
		access[i].addr = t->area + PAGE_SIZE *
				 (svm_next_random(&state) % 512);
		access[i].kind = svm_next_random(&state) % 3;
		access[i].value = 0; /* of an atomic: changes nothing */
		access[i].entries = 1 + svm_next_random(&state) % 3;
		if (access[i].kind == FAKE_WRITE) {
			access[i].addr += 8 + 4 * (i % 1000);
			access[i].value = ~i;
		}
	}
	fake_run(t->gpu, access, STORM);
	svm_compare(t);
	for (i = 0; i < STORM; i++) {
		u32 value = access[i].value;

		bad += access[i].result != 0;
		if (access[i].kind != FAKE_WRITE)
			bad += value != svm_pattern(access[i].addr);
	}
	KUNIT_EXPECT_EQ(test, 0, bad);
}

/* The same address in two processes is two pages. */
static void two_files_have_their_own_memory(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_file other = {};
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, svm_open(t, &other, SVM_INST + 0x1000));
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, other.inst, t->area,
					   &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area), value);
	KUNIT_EXPECT_EQ(test, 0, fake_live_entries(t->vmm));
	KUNIT_ASSERT_EQ(test, 0, fake_write(t->gpu, SVM_INST, t->area, 3));
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, other.inst, t->area,
					   &value));
	KUNIT_EXPECT_EQ(test, 3, value);
	svm_compare(t);
	svm_close(t, &other);
	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area, &value));
	KUNIT_EXPECT_EQ(test, -EFAULT, fake_read(t->gpu, SVM_INST + 0x1000,
						 t->area, &value));
}

#define RACES	100

static void svm_cut_huge_pages(struct svm_thread *thread)
{
	unsigned long *shared = (unsigned long *)thread->addr;
	unsigned long area;

	while ((area = READ_ONCE(*shared)) != 1) {
		if (!area) {
			cond_resched();
			continue;
		}
		svm_zap(thread->t, area + 500 * PAGE_SIZE, PAGE_SIZE);
		cmpxchg(shared, area, 0);
	}
}

/*
 * Another page of a huge page is zapped while the GPU faults: the entry for
 * all of it must not be made, or must go.
 */
static void huge_page_is_cut_while_the_gpu_faults(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_thread thread = {};
	unsigned long shared = 0;
	int i, failed = 0;
	u32 value;

	thread.addr = (unsigned long)&shared;
	svm_map(t, SVM_LARGE, RW, true);
	svm_thread_start(t, &thread, svm_cut_huge_pages);
	for (i = 0; i < RACES; i++) {
		failed += vm_mmap(NULL, t->area, t->size, RW, MAP_PRIVATE |
				  MAP_ANONYMOUS | MAP_FIXED, 0) != t->area;
		failed += svm_cpu_write(t->area, i) != 0;
		WRITE_ONCE(shared, t->area);
		failed += fake_read(t->gpu, SVM_INST, t->area, &value) != 0;
		failed += value != i;
		while (READ_ONCE(shared))
			cond_resched();
		svm_compare(t);
	}
	WRITE_ONCE(shared, 1);
	svm_thread_join(&thread);
	KUNIT_EXPECT_EQ(test, 0, failed);
}

static struct kunit_case nouveau_svm_fault_cases[] = {
	KUNIT_CASE(gpu_reads_what_the_cpu_wrote),
	KUNIT_CASE(cpu_reads_what_the_gpu_wrote),
	KUNIT_CASE(gpu_writes_after_it_read_untouched_memory),
	KUNIT_CASE(cpu_and_gpu_write_a_huge_page_in_turns),
	KUNIT_CASE(huge_page_is_mapped_by_one_entry),
	KUNIT_CASE(gpu_is_unmapped_by_munmap),
	KUNIT_CASE(gpu_is_unmapped_by_munmap_of_a_part),
	KUNIT_CASE(gpu_is_unmapped_where_a_huge_page_is_cut),
	KUNIT_CASE(entries_of_both_sizes_do_not_touch),
	KUNIT_CASE(access_outside_of_mappings_is_cancelled),
	KUNIT_CASE(write_to_a_readonly_mapping_is_cancelled),
	KUNIT_CASE(failing_write_does_not_cancel_a_read),
	KUNIT_CASE(access_to_the_unmanaged_range_is_cancelled),
	KUNIT_CASE(nothing_is_cleared_in_the_unmanaged_range),
	KUNIT_CASE(fault_of_a_channel_without_svm_is_cancelled),
	KUNIT_CASE(one_round_serves_a_read_and_a_write),
	KUNIT_CASE(one_round_serves_a_prefetch_and_a_read),
	KUNIT_CASE(prefetch_outside_of_mappings_is_not_cancelled),
	KUNIT_CASE(prefetch_of_nothing_is_not_cancelled),
	KUNIT_CASE(bad_page_does_not_decide_for_others),
	KUNIT_CASE(two_channels_share_an_address_space),
	KUNIT_CASE_SLOW(mappings_come_and_go_while_the_gpu_faults),
	KUNIT_CASE(atomic_and_read_of_two_pages_in_one_batch),
	KUNIT_CASE(atomic_and_read_of_one_page_in_one_batch),
	KUNIT_CASE(atomics_and_cpu_writes_alternate),
	KUNIT_CASE(late_duplicate_does_not_leak_a_dma_address),
	KUNIT_CASE(entry_that_becomes_valid_later_is_served),
	KUNIT_CASE_SLOW(fault_that_waits_long_is_not_cancelled),
	KUNIT_CASE_SLOW(page_of_1_gib_is_mapped),
	KUNIT_CASE(storm_of_faults_is_served),
	KUNIT_CASE(two_files_have_their_own_memory),
	KUNIT_CASE_SLOW(huge_page_is_cut_while_the_gpu_faults),
	{}
};

static struct kunit_suite nouveau_svm_fault_suite = {
	.name = "nouveau_svm_fault",
	.suite_init = svm_open_hugetlbfs,
	.suite_exit = svm_close_hugetlbfs,
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_fault_cases,
};

kunit_test_suite(nouveau_svm_fault_suite);
