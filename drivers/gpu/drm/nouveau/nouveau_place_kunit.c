// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Faults of the GPU move memory to VRAM where a BIND has put it before. In a
 * file of its own, as the driver does so only with hmm_range_migrate().
 */
#include "nouveau_svm_kunit.h"
#include "nouveau_dmem.h"
#include "nouveau_svm.h"
#include "nouveau_svm_priv.h"

#include <linux/mman.h>

#define RW	(PROT_READ | PROT_WRITE)

/* Memory that belongs in VRAM, but has come back for accesses of the CPU */
static void svm_bring_back(struct svm_test *t, bool huge)
{
	svm_map(t, SVM_LARGE, RW, huge);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_EQ(t->test, 0, svm_bind(t, t->area, t->size));
	KUNIT_ASSERT_EQ(t->test, SVM_LARGE >> PAGE_SHIFT,
			svm_in_vram(t, t->area, t->size));
	svm_expect_filled(t, t->area, t->size);
	KUNIT_ASSERT_EQ(t->test, 0, svm_in_vram(t, t->area, t->size));
	t->gpu->nr_log = 0;
}

static void fault_moves_to_vram_what_belongs_there(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	bool huge;
	u32 value;

	for (huge = true; ; huge = false) {
		svm_bring_back(t, huge);
		KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area,
						   &value));
		KUNIT_EXPECT_EQ(test, svm_pattern(t->area), value);
		KUNIT_EXPECT_EQ(test, SVM_LARGE >> PAGE_SHIFT,
				svm_in_vram(t, t->area, t->size));
		svm_compare(t);
		svm_expect_filled(t, t->area, t->size);
		if (!huge)
			break;
	}
}

static void fault_leaves_other_memory_where_it_is(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	u32 value;

	svm_map(t, 2 * SVM_LARGE, RW, false);
	svm_fill(t, t->area, t->size);
	KUNIT_ASSERT_EQ(test, 0, svm_bind(t, t->area, SVM_LARGE));
	KUNIT_ASSERT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area +
					   SVM_LARGE, &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area + SVM_LARGE), value);
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area + SVM_LARGE,
					     SVM_LARGE));
	svm_compare(t);
}

/* The copy of a page to VRAM waits in the middle of a fault. */
struct svm_held_copy {
	struct completion reached;
	struct completion go_on;
	bool done;
};

static void svm_copy_waits(struct fake_gpu *gpu, bool to_vram)
{
	struct svm_held_copy *hold = gpu->private;

	if (hold->done || !to_vram)
		return;
	hold->done = true;
	complete(&hold->reached);
	wait_for_completion(&hold->go_on);
}

/* Returns in the middle of a fault that moves pages to VRAM again. */
static bool svm_begin_fault(struct svm_test *t, struct svm_held_copy *hold)
{
	struct fake_access access = { .inst = SVM_INST, .kind = FAKE_READ };

	svm_bring_back(t, false);
	init_completion(&hold->reached);
	init_completion(&hold->go_on);
	t->gpu->private = hold;
	t->gpu->before_copy = svm_copy_waits;
	access.addr = t->area;
	fake_report(t->gpu, &access, true);
	return svm_comes(t, &hold->reached);
}

static void svm_end_fault(struct svm_test *t, struct svm_held_copy *hold)
{
	complete(&hold->go_on);
	flush_workqueue(t->drm->svm->queue);
	t->gpu->before_copy = NULL;
}

static void suspend_during_a_fault_maps_nothing(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_held_copy hold = {};
	u32 value;

	if (svm_begin_fault(t, &hold))
		nouveau_svm_suspend(t->drm);
	svm_end_fault(t, &hold);
	KUNIT_EXPECT_EQ(test, 0, fake_live_entries(t->vmm));
	KUNIT_EXPECT_EQ(test, 0, fake_log_count(t->gpu, 0, FAKE_REPLAY));
	KUNIT_EXPECT_EQ(test, 0, fake_log_count(t->gpu, 0, FAKE_CANCEL));
	nouveau_dmem_suspend(t->drm);
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, t->size));
	svm_resume(t);
	KUNIT_EXPECT_EQ(test, 1, fake_log_count(t->gpu, 0, FAKE_REPLAY));
	KUNIT_EXPECT_EQ(test, 0, fake_read(t->gpu, SVM_INST, t->area, &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(t->area), value);
	svm_compare(t);
}

/*
 * What closing has not found in VRAM yet goes back when the fault ends. The
 * instance is not the file's any more: it may have a new channel.
 */
static void file_is_closed_during_a_fault(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_held_copy hold = {};

	if (svm_begin_fault(t, &hold))
		svm_close(t, &t->file);
	svm_end_fault(t, &hold);
	KUNIT_EXPECT_EQ(test, 0, fake_log_count(t->gpu, 0, FAKE_PFNMAP));
	KUNIT_EXPECT_EQ(test, 0, fake_log_count(t->gpu, 0, FAKE_CANCEL));
	KUNIT_EXPECT_EQ(test, 0, svm_in_vram(t, t->area, t->size));
	svm_expect_filled(t, t->area, t->size);
}

static struct kunit_case nouveau_svm_place_cases[] = {
	KUNIT_CASE(fault_moves_to_vram_what_belongs_there),
	KUNIT_CASE(fault_leaves_other_memory_where_it_is),
	KUNIT_CASE(suspend_during_a_fault_maps_nothing),
	KUNIT_CASE(file_is_closed_during_a_fault),
	{}
};

static struct kunit_suite nouveau_svm_place_suite = {
	.name = "nouveau_svm_place",
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_place_cases,
};

kunit_test_suite(nouveau_svm_place_suite);
