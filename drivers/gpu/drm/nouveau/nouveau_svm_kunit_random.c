// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Random accesses of the GPU and of the CPU, moves to VRAM, and changes of the
 * mappings, against a plain copy of the memory.
 */
#include "nouveau_svm_kunit.h"

#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/moduleparam.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#define RW	(PROT_READ | PROT_WRITE)
#define BATCH	8

static unsigned int random_mib = 8;
module_param(random_mib, uint, 0644);
MODULE_PARM_DESC(random_mib, "MiB of memory for the random test of SVM");

static unsigned int random_steps = 1500;
module_param(random_steps, uint, 0644);
MODULE_PARM_DESC(random_steps, "Steps of the random test of SVM");

static unsigned int random_seed = 1;
module_param(random_seed, uint, 0644);
MODULE_PARM_DESC(random_seed, "Seed of the random test of SVM");

struct svm_random {
	struct svm_test *t;
	u32 *shadow;
	unsigned long pages;
	u32 state;
	unsigned int step;
	unsigned int bad;
	char first[64];
};

static u32 svm_random(struct svm_random *r, u32 limit)
{
	/* xorshift32 */
	r->state ^= r->state << 13;
	r->state ^= r->state >> 17;
	r->state ^= r->state << 5;
	return r->state % limit;
}

static void svm_random_bad(struct svm_random *r, const char *what,
			   unsigned long word)
{
	if (!r->bad++)
		scnprintf(r->first, sizeof(r->first), "%s, step %u, word %lx",
			  what, r->step, word);
}

static unsigned long svm_random_word(struct svm_random *r)
{
	return svm_random(r, r->pages) * (PAGE_SIZE / 4) +
	       svm_random(r, PAGE_SIZE / 4);
}

static unsigned long svm_word_addr(struct svm_random *r, unsigned long word)
{
	return r->t->area + word * 4;
}

/* The words of a batch differ modulo its size: their order does not matter. */
static void svm_random_gpu(struct svm_random *r)
{
	struct fake_access access[BATCH] = {};
	unsigned int i, nr = 1 + svm_random(r, BATCH);
	unsigned long word[BATCH];
	u32 given[BATCH];

	for (i = 0; i < nr; i++) {
		word[i] = round_down(svm_random_word(r), BATCH) + i;
		access[i].inst = SVM_INST;
		access[i].addr = svm_word_addr(r, word[i]);
		access[i].kind = svm_random(r, 3);
		access[i].entries = 1 + svm_random(r, 2);
		access[i].late = !svm_random(r, 16);
		given[i] = svm_random(r, U32_MAX);
		access[i].value = given[i];
	}
	fake_run(r->t->gpu, access, nr);
	for (i = 0; i < nr; i++) {
		if (access[i].result)
			svm_random_bad(r, "GPU access failed", word[i]);
		if (access[i].kind != FAKE_WRITE &&
		    access[i].value != r->shadow[word[i]])
			svm_random_bad(r, "GPU read wrong", word[i]);
		if (access[i].kind == FAKE_WRITE)
			r->shadow[word[i]] = given[i];
		if (access[i].kind == FAKE_ATOMIC)
			r->shadow[word[i]] += given[i];
	}
}

static void svm_random_cpu(struct svm_random *r)
{
	unsigned long word = svm_random_word(r);
	u32 value = 0;

	if (svm_random(r, 2)) {
		value = svm_random(r, U32_MAX);
		if (svm_cpu_write(svm_word_addr(r, word), value))
			svm_random_bad(r, "CPU write failed", word);
		r->shadow[word] = value;
	} else if (svm_cpu_read(svm_word_addr(r, word), &value) ||
		   value != r->shadow[word]) {
		svm_random_bad(r, "CPU read wrong", word);
	}
}

/* A range of pages: often few, sometimes aligned to huge pages */
static unsigned long svm_random_range(struct svm_random *r,
				      unsigned long *pages)
{
	unsigned long page = svm_random(r, r->pages);
	unsigned long nr = 1UL << svm_random(r, 11);

	if (svm_random(r, 2)) {
		page = round_down(page, 512);
		nr = round_up(nr, 512);
	}
	*pages = min(nr, r->pages - page);
	return page;
}

static void svm_random_bind(struct svm_random *r)
{
	unsigned long nr, page = svm_random_range(r, &nr);

	if (svm_bind(r->t, r->t->area + page * PAGE_SIZE, nr * PAGE_SIZE))
		svm_random_bad(r, "BIND failed", page * PAGE_SIZE / 4);
}

static void svm_random_remap(struct svm_random *r)
{
	unsigned long nr, page = svm_random_range(r, &nr);
	unsigned long addr = r->t->area + page * PAGE_SIZE;

	if (svm_random(r, 2))
		vm_munmap(addr, nr * PAGE_SIZE);
	if (vm_mmap(NULL, addr, nr * PAGE_SIZE, RW, MAP_PRIVATE |
		    MAP_ANONYMOUS | MAP_FIXED, 0) != addr)
		svm_random_bad(r, "mmap failed", page * PAGE_SIZE / 4);
	memset(r->shadow + page * PAGE_SIZE / 4, 0, nr * PAGE_SIZE);
}

static void svm_random_step(struct svm_random *r)
{
	u32 what = svm_random(r, 100);

	if (what < 45) {
		svm_random_gpu(r);
	} else if (what < 75) {
		svm_random_cpu(r);
	} else if (what < 93) {
		svm_random_bind(r);
	} else if (what < 99) {
		svm_random_remap(r);
	} else {
		svm_suspend(r->t);
		svm_resume(r->t);
	}
}

static void svm_random_verify(struct svm_random *r)
{
	void *page = kunit_kmalloc(r->t->test, PAGE_SIZE, GFP_KERNEL);
	unsigned long i;

	KUNIT_ASSERT_NOT_NULL(r->t->test, page);
	for (i = 0; i < r->pages; i++) {
		if (copy_from_user(page, (void __user *)r->t->area +
				   i * PAGE_SIZE, PAGE_SIZE) ||
		    memcmp(page, r->shadow + i * PAGE_SIZE / 4, PAGE_SIZE))
			svm_random_bad(r, "at the end", i * PAGE_SIZE / 4);
	}
}

static void svm_vfree(void *memory)
{
	vfree(memory);
}

static void random_accesses_and_moves(struct kunit *test)
{
	struct svm_test *t = svm_of(test);
	struct svm_random r = { .t = t, .state = random_seed ?: 1 };

	svm_map(t, (unsigned long)max(random_mib, 2) << 20, RW, true);
	r.pages = t->size >> PAGE_SHIFT;
	r.shadow = vzalloc(t->size);
	KUNIT_ASSERT_NOT_NULL(test, r.shadow);
	kunit_add_action(test, svm_vfree, r.shadow);
	for (r.step = 0; r.step < random_steps && !r.bad; r.step++) {
		t->gpu->nr_log = 0;
		svm_random_step(&r);
		if (r.step % 32 == 0)
			svm_compare(t);
	}
	svm_compare(t);
	svm_random_verify(&r);
	KUNIT_EXPECT_EQ_MSG(test, 0, r.bad, "first: %s", r.first);
	KUNIT_EXPECT_EQ(test, 0, t->gpu->violations[FAKE_UNLOCKED_CHANNEL]);
}

static struct kunit_case nouveau_svm_random_cases[] = {
	KUNIT_CASE_SLOW(random_accesses_and_moves),
	{}
};

static struct kunit_suite nouveau_svm_random_suite = {
	.name = "nouveau_svm_random",
	.init = svm_suite_init,
	.exit = svm_suite_exit,
	.test_cases = nouveau_svm_random_cases,
};

kunit_test_suite(nouveau_svm_random_suite);
