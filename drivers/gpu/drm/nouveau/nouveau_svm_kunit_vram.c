// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Memory that moves to VRAM and back. */
#include "nouveau_svm_kunit.h"

#include <linux/mm.h>
#include <linux/mman.h>
#include <nvif/if000c.h>

#define RW	(PROT_READ | PROT_WRITE)
#define NR	16

static void svm_move(struct svm_test *t, unsigned long addr,
		     unsigned long size)
{
	KUNIT_ASSERT_EQ(t->test, 0, svm_bind(t, addr, size));
	svm_compare(t);
	KUNIT_ASSERT_EQ(t->test, size >> PAGE_SHIFT,
			svm_in_vram(t, addr, size));
}

static void svm_gpu_expect_filled(struct svm_test *t, unsigned long addr,
				  unsigned long size)
{
	unsigned long end = addr + size, bad = 0;
	u32 value;

	for (; addr < end; addr += PAGE_SIZE)
		bad += fake_read(t->gpu, SVM_INST, addr, &value) ||
		       value != svm_pattern(addr);
	KUNIT_EXPECT_EQ_MSG(t->test, bad, 0UL, "pages that the GPU misreads");
}

static void small_pages_move_to_vram_and_back(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, NR * PAGE_SIZE);
	svm_move(t, t->area, NR * PAGE_SIZE);
	svm_expect_filled(t, t->area, NR * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, NR * PAGE_SIZE));
	svm_compare(t);
}

static void huge_pages_move_to_vram_and_back(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_map(t, 2 * SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	svm_move(t, t->area, t->size);
	KUNIT_EXPECT_TRUE(test, fake_cpu_entry(t->mm, t->area).huge);
	svm_expect_filled(t, t->area, t->size);
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, t->size));
	svm_compare(t);
}

static void gpu_uses_vram_without_moving_it(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	bool huge;
	u32 value;

	for (huge = true; ; huge = false) {
		svm_map(t, SVM_LARGE, RW, huge);
		svm_fill(t, t->area, t->size);
		svm_move(t, t->area, t->size);
		svm_gpu_expect_filled(t, t->area, t->size);
		KUNIT_EXPECT_EQ(test, 0, fake_write(t->gpu, SVM_INST, t->area,
						    99));
		svm_compare(t);
		KUNIT_EXPECT_EQ(test, 512, svm_in_vram(t, t->area, t->size));
		KUNIT_EXPECT_EQ(test, 0, svm_cpu_read(t->area, &value));
		KUNIT_EXPECT_EQ(test, 99, value);
		svm_expect_filled(t, t->area + PAGE_SIZE,
				  t->size - PAGE_SIZE);
		if (!huge)
			break;
	}
}

static void atomics_on_vram_stay_in_vram(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 old, value;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, NR * PAGE_SIZE);
	svm_move(t, t->area, NR * PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, fake_atomic(t->gpu, SVM_INST, t->area, 1,
					     &old));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area), old);
	KUNIT_EXPECT_EQ(test, NR, svm_in_vram(t, t->area, NR * PAGE_SIZE));
	svm_compare(t);
	KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(t->area, &value));
	KUNIT_EXPECT_EQ(test, old + 1, value);
}

/* The CPU's page was freed; an entry that maps it would be a hole. */
static void mappings_of_moved_small_pages_are_gone(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, NR * PAGE_SIZE);
	svm_gpu_expect_filled(t, t->area, NR * PAGE_SIZE);
	svm_move(t, t->area, NR * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, t->gpu->violations[FAKE_STALE]);
	svm_gpu_expect_filled(t, t->area, NR * PAGE_SIZE);
}

static void mapping_of_a_moved_huge_page_is_gone(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_map(t, SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	svm_gpu_expect_filled(t, t->area, t->size);
	svm_move(t, t->area, t->size);
	KUNIT_EXPECT_EQ(test, 0, t->gpu->violations[FAKE_STALE]);
	svm_gpu_expect_filled(t, t->area, t->size);
}

static void gpu_is_unmapped_before_the_copy(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned int from;
	int clear, copy;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, fake_write(t->gpu, SVM_INST, t->area + 8, 1));
	from = t->gpu->nr_log;
	svm_move(t, t->area, PAGE_SIZE);
	clear = fake_log_find(t->gpu, from, FAKE_PFNCLR, t->area, PAGE_SIZE);
	copy = fake_log_find(t->gpu, from, FAKE_COPY_TO_VRAM, 0, 0);
	KUNIT_ASSERT_GE(test, copy, 0);
	KUNIT_ASSERT_GE(test, clear, 0);
	KUNIT_EXPECT_LT(test, clear, copy);
}

static void svm_write_during_copy(struct fake_gpu *gpu, bool to_vram)
{
	struct svm_test *t = gpu->private;
	struct fake_access access = {
		.inst = SVM_INST,
		.addr = t->area + 64,
		.kind = FAKE_WRITE,
		.value = 0x600d,
	};

	/* Not mapped: the GPU waits for its fault to be handled. */
	if (!fake_touch(gpu, &access))
		t->size = 0;
}

/* A write that the GPU does after the copy would be gone with the old page. */
static void gpu_write_during_the_copy_is_not_lost(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, fake_write(t->gpu, SVM_INST, t->area + 64,
					    1));
	t->gpu->private = t;
	t->gpu->after_copy = svm_write_during_copy;
	svm_move(t, t->area, PAGE_SIZE);
	t->gpu->after_copy = NULL;
	KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(t->area + 64, &value));
	KUNIT_EXPECT_EQ(test, t->size ? 1 : 0x600d, value);

	/* And on the way back, with the GPU mapping VRAM */
	t->size = SVM_LARGE;
	svm_move(t, t->area, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, fake_write(t->gpu, SVM_INST, t->area + 64,
					    2));
	t->gpu->after_copy = svm_write_during_copy;
	KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(t->area + 64, &value));
	t->gpu->after_copy = NULL;
	KUNIT_EXPECT_EQ(test, t->size ? 2 : 0x600d, value);
}

static struct page *svm_taken;

static void svm_take_page(struct fake_gpu *gpu, bool to_vram)
{
	u64 addr = gpu->log[gpu->nr_log - 1].addr;

	if (!svm_taken) {
		svm_taken = pfn_to_page(addr >> PAGE_SHIFT);
		get_page(svm_taken);
	}
}

/* A page with an extra reference when it is replaced stays where it is. */
static void page_that_cannot_be_replaced_stays_usable(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, NR * PAGE_SIZE);
	svm_taken = NULL;
	t->gpu->after_copy = svm_take_page;
	KUNIT_EXPECT_EQ(test, 0, svm_bind(t, t->area, NR * PAGE_SIZE));
	t->gpu->after_copy = NULL;
	KUNIT_ASSERT_NOT_NULL(test, svm_taken);
	svm_compare(t);
	KUNIT_EXPECT_EQ(test, NR - 1, svm_in_vram(t, t->area,
						  NR * PAGE_SIZE));
	svm_gpu_expect_filled(t, t->area, NR * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, fake_write(t->gpu, SVM_INST, t->area + 8, 3));
	KUNIT_EXPECT_EQ(test, 0, svm_cpu_read(t->area + 8, &value));
	KUNIT_EXPECT_EQ(test, 3, value);
	svm_expect_filled(t, t->area, NR * PAGE_SIZE);
	put_page(svm_taken);
}

static void copies_hold_the_mutex_of_the_channel(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, PAGE_SIZE);
	svm_move(t, t->area, 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, t->gpu->violations[FAKE_UNLOCKED_CHANNEL]);
	svm_expect_filled(t, t->area, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, t->gpu->violations[FAKE_UNLOCKED_CHANNEL]);
}

static void no_pfnmap_is_refused(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	bool huge;

	for (huge = true; ; huge = false) {
		svm_map(t, SVM_LARGE, RW, huge);
		svm_fill(t, t->area, t->size);
		svm_gpu_expect_filled(t, t->area, NR * PAGE_SIZE);
		svm_move(t, t->area, t->size);
		KUNIT_EXPECT_EQ(test, 0, t->gpu->violations[FAKE_BAD_PFNMAP]);
		if (!huge)
			break;
	}
}

/* Nothing moved; afterwards it does. */
static void svm_expect_stayed(struct svm_test *t, unsigned long size)
{
	fake_resurrect(t->gpu);
	svm_compare(t);
	KUNIT_EXPECT_EQ(t->test, 0, svm_in_vram(t, t->area, size));
	svm_expect_filled(t, t->area, size);
	svm_move(t, t->area, size);
	svm_gpu_expect_filled(t, t->area, size);
	svm_expect_filled(t, t->area, size);
}

static void svm_fail_to_vram(struct svm_test *t, enum fake_fence_mode mode,
			     long copies)
{
	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, NR * PAGE_SIZE);
	t->gpu->fence_mode = mode;
	t->gpu->copies_left = copies;
	svm_bind(t, t->area, NR * PAGE_SIZE);
	svm_expect_stayed(t, NR * PAGE_SIZE);
}

static void pages_stay_if_copies_to_vram_fail(struct kunit *test)
{
	svm_fail_to_vram(svm_of(test), FAKE_FENCE_GOOD, 0);
}

static void pages_stay_if_the_fence_is_not_emitted(struct kunit *test)
{
	svm_fail_to_vram(svm_of(test), FAKE_FENCE_NOT_EMITTED, -1);
}

static void pages_stay_if_the_channel_dies(struct kunit *test)
{
	svm_fail_to_vram(svm_of(test), FAKE_FENCE_KILLED, -1);
}

static void pages_stay_if_the_copy_hangs(struct kunit *test)
{
	svm_fail_to_vram(svm_of(test), FAKE_FENCE_HANGS, -1);
}

/* Some copies of a batch fail: each page is right, wherever it is. */
static void contents_survive_if_a_later_copy_fails(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, NR * PAGE_SIZE);
	t->gpu->copies_left = NR / 2;
	svm_bind(t, t->area, NR * PAGE_SIZE);
	fake_resurrect(t->gpu);
	svm_compare(t);
	svm_gpu_expect_filled(t, t->area, NR * PAGE_SIZE);
	svm_expect_filled(t, t->area, NR * PAGE_SIZE);
}

/* The CPU gets SIGBUS, and its data when the channel works again. */
static void svm_fail_to_host(struct svm_test *t, enum fake_fence_mode mode,
			     long copies, bool huge)
{
	unsigned long size = huge ? SVM_LARGE : NR * PAGE_SIZE;
	u32 value;

	svm_map(t, SVM_LARGE, RW, huge);
	svm_fill(t, t->area, size);
	svm_move(t, t->area, size);
	t->gpu->fence_mode = mode;
	t->gpu->copies_left = copies;
	KUNIT_EXPECT_EQ(t->test, -EFAULT, svm_cpu_read(t->area, &value));
	fake_resurrect(t->gpu);
	svm_compare(t);
	svm_gpu_expect_filled(t, t->area, size);
	svm_expect_filled(t, t->area, size);
}

static void data_stays_in_vram_if_the_copy_back_fails(struct kunit *test)
{
	svm_fail_to_host(svm_of(test), FAKE_FENCE_GOOD, 0, false);
}

static void huge_data_stays_in_vram_if_the_copy_back_fails(struct kunit *test)
{
	svm_fail_to_host(svm_of(test), FAKE_FENCE_GOOD, 0, true);
}

static void data_stays_in_vram_if_the_fence_is_not_emitted(struct kunit *test)
{
	svm_fail_to_host(svm_of(test), FAKE_FENCE_NOT_EMITTED, -1, false);
}

static void data_stays_in_vram_if_the_channel_dies(struct kunit *test)
{
	svm_fail_to_host(svm_of(test), FAKE_FENCE_KILLED, -1, false);
}

static void data_stays_in_vram_if_the_copy_back_hangs(struct kunit *test)
{
	svm_fail_to_host(svm_of(test), FAKE_FENCE_HANGS, -1, false);
}

static void vram_is_full(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	bool huge;

	t->gpu->vram_left = 0;
	for (huge = true; ; huge = false) {
		svm_map(t, SVM_LARGE, RW, huge);
		svm_fill(t, t->area, t->size);
		svm_bind(t, t->area, t->size);
		svm_compare(t);
		KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, t->size));
		svm_gpu_expect_filled(t, t->area, t->size);
		svm_expect_filled(t, t->area, t->size);
		if (!huge)
			break;
	}
}

/* VRAM is left, but no 2 MiB of it in one piece. */
static void huge_page_moves_in_pieces(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long small, i, n;

	/*
	 * One page in each 2 MiB of the first buffer object keeps it from
	 * being free in one piece: fill all of it, and free the others.
	 */
	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, PAGE_SIZE);
	svm_move(t, t->area, PAGE_SIZE);
	t->gpu->vram_left = 0;
	n = t->gpu->vram_first_bo >> PAGE_SHIFT;
	small = t->area;
	if (n > 512) {
		svm_map(t, (n - 512) << PAGE_SHIFT, RW, false);
		small = t->area;
		svm_fill(t, small, t->size);
		svm_bind(t, small, t->size);
		for (i = 0; i < t->size; i += SVM_LARGE)
			vm_munmap(small + i + PAGE_SIZE,
				  SVM_LARGE - PAGE_SIZE);
	}
	mm_flags_clear(MMF_DISABLE_THP_COMPLETELY, current->mm);
	svm_map(t, SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_TRUE(test, fake_cpu_entry(t->mm, t->area).huge);
	svm_bind(t, t->area, t->size);
	svm_compare(t);
	KUNIT_EXPECT_GE(test, svm_in_vram(t, t->area, t->size), 256);
	svm_gpu_expect_filled(t, t->area, t->size);
	svm_expect_filled(t, t->area, t->size);
}

/* Each page of a buffer object is used before there is another one. */
static void all_of_vram_is_used(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long pages;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, PAGE_SIZE);
	svm_move(t, t->area, PAGE_SIZE);
	t->gpu->vram_left = 0;
	pages = t->gpu->vram_first_bo >> PAGE_SHIFT;
	vm_munmap(t->area, t->size);
	svm_map(t, ALIGN((pages + 512) << PAGE_SHIFT, SVM_LARGE), RW, false);
	svm_fill(t, t->area, t->size);
	svm_bind(t, t->area, t->size);
	KUNIT_EXPECT_EQ(test, pages, svm_in_vram(t, t->area, t->size));
	svm_expect_filled(t, t->area, t->size);
}

static void untouched_memory_becomes_zeroes_in_vram(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long addr, bad = 0;
	bool huge;
	u32 value;

	for (huge = true; ; huge = false) {
		svm_map(t, SVM_LARGE, RW, huge);
		svm_move(t, t->area, t->size);
		for (addr = t->area + 4092; addr < t->area + t->size;
		     addr += PAGE_SIZE)
			bad += fake_read(t->gpu, SVM_INST, addr, &value) ||
			       value;
		KUNIT_EXPECT_EQ(test, 512, svm_in_vram(t, t->area, t->size));
		for (addr = t->area + 4092; addr < t->area + t->size;
		     addr += PAGE_SIZE)
			bad += svm_cpu_read(addr, &value) || value;
		KUNIT_EXPECT_EQ(test, 0, bad);
		svm_compare(t);
		if (!huge)
			break;
	}
}

static void cpu_touches_a_tail_page_of_a_huge_page_in_vram(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	svm_move(t, t->area, t->size);
	KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(t->area + 300 * PAGE_SIZE,
					      &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area + 300 * PAGE_SIZE), value);
	svm_compare(t);
	svm_expect_filled(t, t->area, t->size);
}

static void part_of_a_huge_page_in_vram_is_unmapped(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	svm_move(t, t->area, t->size);
	svm_gpu_expect_filled(t, t->area, t->size);
	vm_munmap(t->area + 16 * PAGE_SIZE, 16 * PAGE_SIZE);
	svm_compare(t);
	KUNIT_EXPECT_EQ(test, -EFAULT, fake_read(t->gpu, SVM_INST, t->area +
						 20 * PAGE_SIZE, &value));
	svm_gpu_expect_filled(t, t->area, 16 * PAGE_SIZE);
	svm_gpu_expect_filled(t, t->area + 32 * PAGE_SIZE,
			      t->size - 32 * PAGE_SIZE);
	svm_compare(t);
	KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(t->area + 100 * PAGE_SIZE,
					      &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area + 100 * PAGE_SIZE), value);
	svm_expect_filled(t, t->area, 16 * PAGE_SIZE);
	svm_expect_filled(t, t->area + 32 * PAGE_SIZE,
			  t->size - 32 * PAGE_SIZE);
	svm_compare(t);
}

static void half_of_a_huge_page_moves(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_map(t, SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	svm_gpu_expect_filled(t, t->area, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, svm_bind(t, t->area, t->size / 2));
	svm_compare(t);
	svm_gpu_expect_filled(t, t->area, t->size);
	svm_compare(t);
	svm_expect_filled(t, t->area, t->size);
}

/* Where a range begins decides which page size it is mapped with. */
static void pieces_of_64k_at_every_offset(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	unsigned long offset, size = 16 * PAGE_SIZE;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	svm_gpu_expect_filled(t, t->area, t->size);
	for (offset = 0; offset < 33 * PAGE_SIZE; offset += PAGE_SIZE) {
		svm_move(t, t->area + offset, size);
		svm_gpu_expect_filled(t, t->area + offset, size);
		svm_compare(t);
		svm_expect_filled(t, t->area + offset, size);
	}
	svm_expect_filled(t, t->area, t->size);
}

static void range_with_holes_moves(struct kunit *test)
{
	struct svm_test *t = svm_of(test);

	svm_map(t, 2 * SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	vm_munmap(t->area + 5 * PAGE_SIZE, PAGE_SIZE);
	vm_munmap(t->area + 700 * PAGE_SIZE, 9 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, svm_bind(t, t->area, t->size));
	svm_compare(t);
	KUNIT_EXPECT_GE(test, svm_in_vram(t, t->area, t->size), 1);
	svm_gpu_expect_filled(t, t->area, 5 * PAGE_SIZE);
	svm_gpu_expect_filled(t, t->area + 6 * PAGE_SIZE, 694 * PAGE_SIZE);
	svm_expect_filled(t, t->area, 5 * PAGE_SIZE);
	svm_expect_filled(t, t->area + 6 * PAGE_SIZE, 694 * PAGE_SIZE);
	svm_expect_filled(t, t->area + 709 * PAGE_SIZE, 315 * PAGE_SIZE);
	svm_compare(t);
}

static void memory_in_vram_can_be_moved_again(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	int i;

	svm_map(t, SVM_LARGE, RW, true);
	svm_fill(t, t->area, t->size);
	for (i = 0; i < 3; i++) {
		svm_move(t, t->area, t->size);
		svm_move(t, t->area, t->size);
		svm_gpu_expect_filled(t, t->area, t->size);
		svm_expect_filled(t, t->area, t->size);
	}
}

static void svm_fill_thread(struct svm_thread *thread)
{
	int i;

	for (i = 0; i < 200; i++) {
		unsigned long addr = thread->addr + (i % NR) * PAGE_SIZE;

		if (svm_cpu_write(addr + 128, i))
			thread->result++;
		cond_resched();
	}
}

/* The CPU writes what is just moved, and the GPU reads it. */
static void cpu_writes_while_memory_moves(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_thread thread = {};
	int i, failed = 0;
	u32 value;

	svm_map(t, SVM_LARGE, RW, false);
	svm_fill(t, t->area, NR * PAGE_SIZE);
	thread.addr = t->area;
	svm_thread_start(t, &thread, svm_fill_thread);
	for (i = 0; i < 40; i++) {
		failed += svm_bind(t, t->area, NR * PAGE_SIZE) != 0;
		failed += fake_read(t->gpu, SVM_INST, t->area +
				    (i % NR) * PAGE_SIZE, &value) != 0;
	}
	svm_thread_join(&thread);
	KUNIT_EXPECT_EQ(test, 0, failed);
	KUNIT_EXPECT_EQ(test, 0, thread.result);
	svm_compare(t);
	for (i = 200 - NR; i < 200; i++) {
		KUNIT_ASSERT_EQ(test, 0, svm_cpu_read(t->area + 128 +
				(i % NR) * PAGE_SIZE, &value));
		KUNIT_EXPECT_EQ(test, i, value);
	}
	svm_expect_filled(t, t->area, NR * PAGE_SIZE);
}

static struct kunit_case nouveau_svm_vram_cases[] = {
	KUNIT_CASE(small_pages_move_to_vram_and_back),
	KUNIT_CASE(huge_pages_move_to_vram_and_back),
	KUNIT_CASE(gpu_uses_vram_without_moving_it),
	KUNIT_CASE(atomics_on_vram_stay_in_vram),
	KUNIT_CASE(mappings_of_moved_small_pages_are_gone),
	KUNIT_CASE(mapping_of_a_moved_huge_page_is_gone),
	KUNIT_CASE(gpu_is_unmapped_before_the_copy),
	KUNIT_CASE(gpu_write_during_the_copy_is_not_lost),
	KUNIT_CASE(page_that_cannot_be_replaced_stays_usable),
	KUNIT_CASE(copies_hold_the_mutex_of_the_channel),
	KUNIT_CASE(no_pfnmap_is_refused),
	KUNIT_CASE(pages_stay_if_copies_to_vram_fail),
	KUNIT_CASE(contents_survive_if_a_later_copy_fails),
	KUNIT_CASE(vram_is_full),
	KUNIT_CASE_SLOW(huge_page_moves_in_pieces),
	KUNIT_CASE_SLOW(all_of_vram_is_used),
	KUNIT_CASE(untouched_memory_becomes_zeroes_in_vram),
	KUNIT_CASE(cpu_touches_a_tail_page_of_a_huge_page_in_vram),
	KUNIT_CASE(part_of_a_huge_page_in_vram_is_unmapped),
	KUNIT_CASE(half_of_a_huge_page_moves),
	KUNIT_CASE(pieces_of_64k_at_every_offset),
	KUNIT_CASE(range_with_holes_moves),
	KUNIT_CASE(memory_in_vram_can_be_moved_again),
	KUNIT_CASE(cpu_writes_while_memory_moves),
	{}
};

static struct kunit_suite nouveau_svm_vram_suite = {
	.name = "nouveau_svm_vram",
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_vram_cases,
};

/* 7.3's driver does not survive all of these. */
static struct kunit_case nouveau_svm_error_cases[] = {
	KUNIT_CASE(data_stays_in_vram_if_the_copy_back_fails),
	KUNIT_CASE(huge_data_stays_in_vram_if_the_copy_back_fails),
	KUNIT_CASE(pages_stay_if_the_channel_dies),
	KUNIT_CASE(data_stays_in_vram_if_the_channel_dies),
	KUNIT_CASE_SLOW(pages_stay_if_the_copy_hangs),
	KUNIT_CASE_SLOW(data_stays_in_vram_if_the_copy_back_hangs),
	KUNIT_CASE(pages_stay_if_the_fence_is_not_emitted),
	KUNIT_CASE(data_stays_in_vram_if_the_fence_is_not_emitted),
	{}
};

static struct kunit_suite nouveau_svm_error_suite = {
	.name = "nouveau_svm_error",
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_error_cases,
};

kunit_test_suites(&nouveau_svm_vram_suite, &nouveau_svm_error_suite);
