// SPDX-License-Identifier: GPL-2.0 OR MIT
/* What fails below faults: nvkm's page tables, and exclusive access to pages */
#include "nouveau_svm_kunit.h"

#include <linux/mm.h>
#include <linux/mman.h>

#include <nvif/driver.h>
#include <nvif/if000c.h>
#include <nvif/ioctl.h>

#define RW	(PROT_READ | PROT_WRITE)
#define NR	16

static void nvkm_map(struct svm_test *t, bool huge)
{
	svm_map(t, SVM_LARGE, RW, huge);
	t->size = huge ? SVM_LARGE : NR * PAGE_SIZE;
	svm_fill(t, t->area, t->size);
}

static struct {
	const struct nvif_driver *real;
	struct nvif_driver driver;
	int error;		/* 0: it refuses one entry */
	unsigned int left;	/* how often */
	u64 addr;		/* of the entry */
	bool atomic;		/* only entries that allow atomics */
} nvkm_fail;

static bool nvkm_pfnmap_is_meant(const struct nvif_vmm_pfnmap_v0 *map)
{
	if (nvkm_fail.atomic && !(map->phys[0] & NVIF_VMM_PFNMAP_V0_A))
		return false;
	if (!nvkm_fail.left || nvkm_fail.addr < map->addr ||
	    nvkm_fail.addr >= map->addr + map->size)
		return false;
	nvkm_fail.left--;
	return true;
}

static int nvkm_ioctl(void *priv, void *data, u32 size, void **hack)
{
	struct nvif_ioctl_v0 *ioctl = data;
	struct nvif_ioctl_mthd_v0 *mthd = (void *)ioctl->data;
	struct nvif_vmm_pfnmap_v0 *map = (void *)mthd->data;

	if (ioctl->type != NVIF_IOCTL_V0_MTHD ||
	    mthd->method != NVIF_VMM_V0_PFNMAP || !nvkm_pfnmap_is_meant(map))
		return nvkm_fail.real->ioctl(priv, data, size, hack);
	if (nvkm_fail.error)
		return nvkm_fail.error;
	map->phys[(nvkm_fail.addr - map->addr) >> map->page] =
		NVIF_VMM_PFNMAP_V0_NONE;
	return nvkm_fail.real->ioctl(priv, data, size, hack);
}

/* Until the end of the test, nvkm fails so often to map at @addr. */
static void nvkm_pfnmap(struct svm_test *t, u64 addr, int error,
			unsigned int times, bool atomic)
{
	struct nvif_client *client = &t->file.cli->base;

	if (client->driver != &nvkm_fail.driver)
		nvkm_fail.real = client->driver;
	nvkm_fail.driver = *nvkm_fail.real;
	nvkm_fail.driver.ioctl = nvkm_ioctl;
	nvkm_fail.error = error;
	nvkm_fail.left = times;
	nvkm_fail.addr = addr;
	nvkm_fail.atomic = atomic;
	client->driver = &nvkm_fail.driver;
}

static void access_that_nvkm_cannot_map_is_cancelled(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	bool huge;
	u32 value;

	for (huge = true; ; huge = false) {
		nvkm_map(t, huge);
		nvkm_pfnmap(t, t->area, -ENOMEM, 1, false);
		KUNIT_EXPECT_EQ(test, -EFAULT, fake_read(t->gpu, SVM_INST,
							 t->area, &value));
		KUNIT_EXPECT_EQ(test, 0, nvkm_fail.left);
		KUNIT_EXPECT_EQ(test, 0, fake_live_entries(t->vmm));
		KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, t->area, t->size));
		svm_compare(t);
		vm_munmap(t->area, SVM_LARGE);
		KUNIT_EXPECT_EQ(test, 0, fake_live_entries(t->vmm));
		if (!huge)
			break;
	}
}

/* The same, for pages that have just moved to VRAM */
static void pages_in_vram_that_nvkm_cannot_map_are_right(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	bool huge;

	for (huge = true; ; huge = false) {
		nvkm_map(t, huge);
		nvkm_pfnmap(t, t->area, -ENOMEM, 1, false);
		KUNIT_EXPECT_EQ(test, 0, svm_bind(t, t->area, t->size));
		KUNIT_EXPECT_EQ(test, 0, nvkm_fail.left);
		svm_compare(t);
		KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, t->area, t->size));
		svm_expect_filled(t, t->area, t->size);
		svm_compare(t);
		if (!huge)
			break;
	}
}

static void entry_that_nvkm_refuses_is_cancelled_alone(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access[] = {
		{ .inst = SVM_INST, .kind = FAKE_READ },
		{ .inst = SVM_INST, .kind = FAKE_READ },
		{ .inst = SVM_INST, .kind = FAKE_READ },
	};
	int i;

	nvkm_map(t, false);
	for (i = 0; i < ARRAY_SIZE(access); i++)
		access[i].addr = t->area + i * PAGE_SIZE;
	nvkm_pfnmap(t, access[1].addr, 0, UINT_MAX, false);
	fake_run(t->gpu, access, ARRAY_SIZE(access));
	KUNIT_EXPECT_EQ(test, 0, access[0].result);
	KUNIT_EXPECT_EQ(test, -EFAULT, access[1].result);
	KUNIT_EXPECT_EQ(test, 0, access[2].result);
	KUNIT_EXPECT_EQ(test, 0, svm_phys(t, access[1].addr));
	nvkm_pfnmap(t, 0, 0, 0, false);
	KUNIT_EXPECT_EQ(test, 0, svm_gpu_bad(t, t->area, t->size));
	svm_compare(t);
}

/* Exclusive access */

static unsigned int nvkm_atomic(struct svm_test *t, int error, int *result,
				unsigned int times)
{
	struct fake_access access = {
		.inst = SVM_INST, .kind = FAKE_ATOMIC, .value = 4,
	};
	u32 value;

	nvkm_map(t, false);
	access.addr = t->area;
	nvkm_pfnmap(t, t->area, error, times, true);
	fake_run(t->gpu, &access, 1);
	KUNIT_EXPECT_EQ(t->test, 0, nvkm_fail.left);
	svm_compare(t);
	*result = access.result;
	KUNIT_EXPECT_EQ(t->test, 0, svm_cpu_read(t->area, &value));
	KUNIT_EXPECT_EQ(t->test, svm_pattern(t->area) + (*result ? 0 : 4),
			value);
	return access.rounds;
}

/* -EAGAIN is tried again at once, -EBUSY by the GPU. */
static void atomic_is_repeated_after_a_transient_error(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	int result;

	KUNIT_EXPECT_EQ(test, 1, nvkm_atomic(t, -EAGAIN, &result, 5));
	KUNIT_EXPECT_EQ(test, 0, result);
	KUNIT_EXPECT_EQ(test, 6, nvkm_atomic(t, -EBUSY, &result, 5));
	KUNIT_EXPECT_EQ(test, 0, result);
}

static void atomic_is_cancelled_after_a_permanent_error(struct kunit *test)
{
	int result;

	KUNIT_EXPECT_EQ(test, 1, nvkm_atomic(svm_of(test), -EIO, &result, 1));
	KUNIT_EXPECT_EQ(test, -EFAULT, result);
}

/* Shared memory cannot become exclusive, but it can be read and written. */
static void only_an_atomic_on_shared_memory_is_cancelled(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct fake_access access[] = {
		{ .inst = SVM_INST, .kind = FAKE_ATOMIC, .value = 1 },
		{ .inst = SVM_INST, .kind = FAKE_ATOMIC, .value = 1 },
		{ .inst = SVM_INST, .kind = FAKE_READ },
		{ .inst = SVM_INST, .kind = FAKE_WRITE, .value = 7 },
		{ .inst = SVM_INST, .kind = FAKE_ATOMIC, .value = 1 },
	};
	unsigned long shared;
	u32 value;

	nvkm_map(t, false);
	shared = vm_mmap(NULL, t->area + PAGE_SIZE, PAGE_SIZE, RW, MAP_SHARED |
			 MAP_ANONYMOUS | MAP_FIXED, 0);
	KUNIT_ASSERT_EQ(test, t->area + PAGE_SIZE, shared);
	svm_fill(t, shared, PAGE_SIZE);
	access[0].addr = t->area;
	access[1].addr = shared;
	access[2].addr = shared;
	access[3].addr = shared + 64;
	access[4].addr = shared + PAGE_SIZE;
	fake_run(t->gpu, access, ARRAY_SIZE(access));
	KUNIT_EXPECT_EQ(test, 0, access[0].result);
	KUNIT_EXPECT_EQ(test, -EFAULT, access[1].result);
	KUNIT_EXPECT_EQ(test, 0, access[2].result);
	KUNIT_EXPECT_EQ(test, svm_pattern(shared), access[2].value);
	KUNIT_EXPECT_EQ(test, 0, access[3].result);
	KUNIT_EXPECT_EQ(test, 0, access[4].result);
	svm_compare(t);
	KUNIT_EXPECT_EQ(test, 0, svm_cpu_read(shared, &value));
	KUNIT_EXPECT_EQ(test, svm_pattern(shared), value);
	KUNIT_EXPECT_EQ(test, 0, svm_cpu_read(shared + 64, &value));
	KUNIT_EXPECT_EQ(test, 7, value);
}

#define ATOMICS	200

static void nvkm_contend(struct svm_thread *thread)
{
	u32 i, value;

	for (i = 0; i < ATOMICS; i++) {
		thread->result += svm_cpu_write(thread->addr, i) != 0;
		cond_resched();
		thread->result += svm_cpu_read(thread->addr, &value) != 0;
		thread->result += value != i;
	}
}

/* The GPU gives up when it has lost many rounds. That is no error. */
static int nvkm_atomic_at_last(struct svm_test *t, u32 *old)
{
	int ret;

	do {
		ret = fake_atomic(t->gpu, SVM_INST, t->area, 1, old);
	} while (ret == -ELOOP);
	return ret;
}

/* The CPU takes the page away again and again: no reason to cancel. */
static void atomics_while_the_cpu_uses_the_page(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_thread thread = {};
	u32 i, old, failed = 0;

	nvkm_map(t, false);
	KUNIT_ASSERT_EQ(test, 0, svm_cpu_write(t->area, 0));
	thread.addr = t->area + 128;
	svm_thread_start(t, &thread, nvkm_contend);
	for (i = 0; i < ATOMICS; i++) {
		failed += nvkm_atomic_at_last(t, &old) != 0;
		failed += old != i;
	}
	svm_thread_join(&thread);
	KUNIT_EXPECT_EQ(test, 0, failed);
	KUNIT_EXPECT_EQ(test, 0, thread.result);
	svm_compare(t);
	KUNIT_EXPECT_EQ(test, 0, svm_cpu_read(t->area, &old));
	KUNIT_EXPECT_EQ(test, ATOMICS, old);
}

static struct kunit_case nouveau_svm_nvkm_cases[] = {
	KUNIT_CASE(access_that_nvkm_cannot_map_is_cancelled),
	KUNIT_CASE(pages_in_vram_that_nvkm_cannot_map_are_right),
	KUNIT_CASE(entry_that_nvkm_refuses_is_cancelled_alone),
	KUNIT_CASE(atomic_is_repeated_after_a_transient_error),
	KUNIT_CASE(atomic_is_cancelled_after_a_permanent_error),
	KUNIT_CASE(only_an_atomic_on_shared_memory_is_cancelled),
	KUNIT_CASE(atomics_while_the_cpu_uses_the_page),
	{}
};

static struct kunit_suite nouveau_svm_nvkm_suite = {
	.name = "nouveau_svm_nvkm",
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_nvkm_cases,
};

kunit_test_suite(nouveau_svm_nvkm_suite);
