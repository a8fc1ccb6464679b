/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the tests of SVM share: a process with an open file of the fake GPU. */
#ifndef __NOUVEAU_SVM_KUNIT_H__
#define __NOUVEAU_SVM_KUNIT_H__
#include "nouveau_svm_fake.h"

#include <kunit/test.h>
#include <linux/mmu_notifier.h>

#define SVM_LARGE		(2UL << 20)
/* What nvkm manages itself: nothing is mapped there by a fault. */
#define SVM_UNMANAGED		0x100000000UL
#define SVM_UNMANAGED_SIZE	(64UL << 20)
#define SVM_INST		0x1234000UL
/* A driver that works needs much less for one step. */
#define SVM_LIMIT		(60 * HZ)

struct drm_nouveau_svm_bind;

struct svm_invalidation {
	struct task_struct *task;
	unsigned long start;
	unsigned long end;
	u64 stamp;
};

/* Looks for entries of the GPU that outlive an invalidation */
struct svm_watch {
	struct mmu_notifier notifier;
	struct svm_test *t;
	spinlock_t lock;	/* open, nr_open */
	struct svm_invalidation open[32];
	unsigned int nr_open;
	/*
	 * Invalidations of this task take so long, or until this is complete;
	 * it says when one began.
	 */
	struct task_struct *slow;
	unsigned int delay_ms;
	struct completion *until;
	struct completion began;
};

struct svm_file {
	struct nouveau_cli *cli;
	struct drm_file file;
	struct fake_vmm *vmm;
	u64 inst;
};

struct svm_test {
	struct kunit *test;
	struct fake_gpu *gpu;
	struct nouveau_drm *drm;
	struct svm_file file;
	struct fake_vmm *vmm;
	struct mm_struct *mm;
	struct svm_watch watch;
	bool watching;
	bool finished;		/* the device is gone */
	unsigned long area;
	unsigned long size;
};

/* Another thread of the process */
struct svm_thread {
	struct svm_test *t;
	struct task_struct *task;
	void (*run)(struct svm_thread *thread);
	struct completion ended;
	unsigned long addr;
	int result;
};

void svm_thread_start(struct svm_test *t, struct svm_thread *thread,
		      void (*run)(struct svm_thread *thread));
void svm_thread_join(struct svm_thread *thread);

bool svm_comes(struct svm_test *t, struct completion *what);

int svm_suite_init(struct kunit *test);
void svm_suite_exit(struct kunit *test);

int svm_open(struct svm_test *t, struct svm_file *file, u64 inst);
void svm_close(struct svm_test *t, struct svm_file *file);
void svm_device_fini(struct svm_test *t);
void svm_use_fake_bos(struct svm_test *t);
void svm_suspend(struct svm_test *t);
void svm_resume(struct svm_test *t);

void svm_map(struct svm_test *t, unsigned long size, unsigned long prot,
	     bool huge);
void svm_zap(struct svm_test *t, unsigned long addr, unsigned long size);
int svm_cpu_read(unsigned long addr, u32 *value);
int svm_cpu_write(unsigned long addr, u32 value);
void svm_fill(struct svm_test *t, unsigned long addr, unsigned long size);
void svm_expect_filled(struct svm_test *t, unsigned long addr,
		       unsigned long size);
unsigned long svm_gpu_bad(struct svm_test *t, unsigned long addr,
			  unsigned long size);
u32 svm_pattern(unsigned long addr);
int svm_bind_args(struct svm_test *t, struct svm_file *file,
		  struct drm_nouveau_svm_bind *args);
int svm_bind_in(struct svm_test *t, struct svm_file *file, unsigned long addr,
		unsigned long size);
int svm_bind(struct svm_test *t, unsigned long addr, unsigned long size);
unsigned long svm_in_vram(struct svm_test *t, unsigned long addr,
			  unsigned long size);
void svm_compare(struct svm_test *t);
u64 svm_phys(struct svm_test *t, unsigned long addr);

#define svm_of(test)	((struct svm_test *)(test)->priv)

#endif
