/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A GPU for tests of SVM: the driver above it is real, and so is the mm.
 *
 * What the driver tells nvkm (PFNMAP, PFNCLR, REPLAY, CANCEL) changes a model
 * of the GPU's page tables. Copies are pushed to a channel whose methods are
 * executed, against VRAM that is ordinary memory. An access of the GPU is
 * translated by the model; if it is not mapped, an entry goes into the fault
 * buffer, and the access is repeated when the driver replays.
 *
 * What hardware or nvkm would suffer from is counted as a violation, and does
 * not happen: a page that the process no longer has is not touched.
 *
 *   nouveau_svm_fake.c		device, ioctls, log, violations
 *   nouveau_svm_fake_mmu.c	page tables
 *   nouveau_svm_fake_access.c	accesses and the fault buffer
 *   nouveau_svm_fake_copy.c	VRAM, buffer objects, channel and fences
 *
 * Locks: fake_gpu.lock (page tables, fault buffer, log) is taken in
 * invalidate_range_start(), as the mutex of nvkm's VMM is. fake_gpu.vram_lock
 * nests in it.
 */
#ifndef __NOUVEAU_SVM_FAKE_H__
#define __NOUVEAU_SVM_FAKE_H__
#include "nouveau_drv.h"
#include "nouveau_chan.h"

#include <linux/wait.h>
#include <linux/xarray.h>

struct kunit;
struct nouveau_bo;

/* What the driver did, in order. addr is virtual, but physical for a copy. */
enum fake_op {
	FAKE_PFNMAP,
	FAKE_PFNCLR,
	FAKE_COPY_TO_VRAM,
	FAKE_COPY_TO_HOST,
	FAKE_CLEAR,
	FAKE_REPLAY,
	FAKE_CANCEL,
};

struct fake_event {
	enum fake_op op;
	u8 shift;		/* PFNMAP */
	bool valid;		/* PFNMAP: at least one entry was made */
	bool before_mapped;	/* PFNCLR: there was an entry to clear */
	u64 addr;
	u64 size;
	u64 vram;		/* copy: the address in VRAM */
	u8 client;		/* CANCEL */
};

enum fake_violation {
	FAKE_OVERWRITE,		/* a live entry of a host page: its DMA leaks */
	FAKE_MIXED,		/* 4 KiB entries below 2 MiB, or over them */
	FAKE_PARTIAL_CLEAR,	/* PFNCLR of a part of 2 MiB does nothing */
	FAKE_BAD_PFNMAP,	/* refused by nvkm */
	FAKE_UNLOCKED_CHANNEL,
	FAKE_COPY_MAPPED,	/* the GPU could access the page meanwhile */
	FAKE_STALE,		/* an entry outlived an invalidation */
	FAKE_FOREIGN,		/* an access to a page the process has not */
	FAKE_WILD_VRAM,		/* outside of all buffer objects */
	FAKE_WILD_HOST,		/* a copy of an address that is no page */
	FAKE_BAD_PIN,		/* pinned twice, or unpinned while it is not */
	FAKE_VIOLATIONS
};

struct fake_pte {
	u64 phys;		/* as PFNMAP has it: address, VRAM, A, W, V */
	u64 stamp;		/* when it was made */
	bool torn;		/* PFNCLR of a part: nvkm lost track of it */
};

struct fake_vmm {
	struct list_head head;
	u64 handle;
	struct mm_struct *mm;	/* of the process that made it */
	u64 unmanaged_start;
	u64 unmanaged_end;
	struct xarray small;	/* 4 KiB: address >> 12 -> fake_pte */
	struct xarray large;	/* 2 MiB: address >> 21 -> fake_pte */
	u64 inst;
	u64 inst2;		/* of a second channel, or 0 */
};

enum fake_fence_mode {
	FAKE_FENCE_GOOD,
	FAKE_FENCE_HANGS,	/* its copies are not executed */
	FAKE_FENCE_KILLED,	/* the channel dies with an error */
	FAKE_FENCE_NOT_EMITTED,
};

/* The driver holds locks that it also takes below reclaim, by the notifiers. */
#define FAKE_GFP	GFP_ATOMIC

#define FAKE_LOG		8192
#define FAKE_ENTRIES		512
#define FAKE_GET		0x2a00
#define FAKE_PUT		0x2a04

struct fake_gpu {
	struct kunit *test;
	struct nouveau_drm *drm;
	struct mutex lock;	/* page tables, fault buffer, log */

	/* Fault buffer */
	u32 *regs;
	u32 *faults;
	struct nvif_event *notify;
	bool allowed;
	atomic_t calls_left;	/* until a call fails; 0: none does */
	u64 replays;
	wait_queue_head_t answered;
	struct fake_access *pending;
	unsigned int nr_pending;
	bool hung;		/* a fault got no answer: none is waited for */

	/* Page tables */
	struct list_head vmms;
	u64 stamp;
	struct xarray rmap_small;	/* physical page -> writable, mapped */
	struct xarray rmap_large;
	int nr_objects;

	/* VRAM */
	spinlock_t vram_lock;		/* bos */
	struct xarray vram;		/* address >> 12 -> page */
	struct list_head bos;
	u64 vram_next;
	u64 vram_left;
	u64 vram_first_bo;

	/* Channel */
	struct nouveau_channel *chan;
	u32 *push;
	u32 done;
	u32 mthd[0x800 / 4];
	enum fake_fence_mode fence_mode;
	struct delayed_work kill;
	long copies_left;		/* until one fails; < 0: none does */

	/* What happened */
	struct fake_event *log;
	unsigned int nr_log;
	unsigned int violations[FAKE_VIOLATIONS];
	char first_violation[FAKE_VIOLATIONS][96];

	/* Called in the middle of things; each may be NULL */
	void (*before_copy)(struct fake_gpu *gpu, bool to_vram);
	void (*after_copy)(struct fake_gpu *gpu, bool to_vram);
	void (*before_pfnmap)(struct fake_gpu *gpu, u64 addr);
	void *private;
};

struct fake_access {
	u64 inst;
	u64 addr;
	enum fake_kind {
		FAKE_READ,
		FAKE_WRITE,
		FAKE_ATOMIC,	/* adds value to a u32, returns the old one */
		FAKE_PREFETCH,
	} kind;
	u32 value;
	unsigned int entries;	/* in the fault buffer; 0 stands for 1 */
	bool invalid_first;	/* the entry becomes valid after the event */
	bool late;		/* faults once more, although it is mapped */

	int result;		/* 0, -EFAULT: cancelled, -ELOOP, -ETIME */
	bool done;
	bool cancelled;
	unsigned int rounds;
	u8 client;
	u8 gpc;
};

/* nouveau_svm_fake.c */
struct fake_gpu *fake_gpu_new(struct kunit *test);
void fake_gpu_del(struct fake_gpu *gpu);
struct nouveau_cli *fake_cli_new(struct fake_gpu *gpu);
__printf(3, 4)
void fake_violation(struct fake_gpu *gpu, enum fake_violation kind,
		    const char *fmt, ...);
struct fake_event *fake_log(struct fake_gpu *gpu, enum fake_op op);
int fake_log_find(struct fake_gpu *gpu, unsigned int from, enum fake_op op,
		  u64 addr, u64 size);
unsigned int fake_log_count(struct fake_gpu *gpu, unsigned int from,
			    enum fake_op op);

static inline struct fake_gpu *fake_gpu(struct nouveau_drm *drm)
{
	return drm->client.base.object.priv;
}

/* nouveau_svm_fake_mmu.c */
struct fake_vmm *fake_vmm_new(struct fake_gpu *gpu, u64 handle);
void fake_vmm_del(struct fake_gpu *gpu, struct fake_vmm *vmm);
struct fake_vmm *fake_vmm_find(struct fake_gpu *gpu, u64 handle);
struct fake_vmm *fake_vmm_of_inst(struct fake_gpu *gpu, u64 inst);
int fake_pfnmap(struct fake_gpu *gpu, struct fake_vmm *vmm, void *argv,
		u32 argc);
int fake_pfnclr(struct fake_gpu *gpu, struct fake_vmm *vmm, u64 addr,
		u64 size);
u64 fake_translate(struct fake_vmm *vmm, u64 addr, u64 *stamp);
unsigned long fake_live_entries(struct fake_vmm *vmm);
unsigned long fake_live_large(struct fake_vmm *vmm);
unsigned int fake_stale(struct fake_vmm *vmm, u64 start, u64 end, u64 stamp,
			bool only_writable);
void fake_compare(struct fake_gpu *gpu);
bool fake_phys_is_mapped(struct fake_gpu *gpu, u64 phys, bool vram,
			 bool write);

/* nouveau_svm_fake_access.c */
void fake_run(struct fake_gpu *gpu, struct fake_access *access,
	      unsigned int nr);
int fake_read(struct fake_gpu *gpu, u64 inst, u64 addr, u32 *value);
int fake_write(struct fake_gpu *gpu, u64 inst, u64 addr, u32 value);
int fake_atomic(struct fake_gpu *gpu, u64 inst, u64 addr, u32 add, u32 *old);
int fake_touch(struct fake_gpu *gpu, struct fake_access *access);
void fake_report(struct fake_gpu *gpu, struct fake_access *access, bool raise);
void fake_cancel(struct fake_gpu *gpu, u64 inst, u8 gpc, u8 client);
bool fake_wait_taken(struct fake_gpu *gpu);
void fake_replay(struct fake_gpu *gpu);
void fake_allow(struct fake_gpu *gpu, bool allow);

/* nouveau_svm_fake_copy.c */
int fake_chan_init(struct fake_gpu *gpu);
void fake_chan_fini(struct fake_gpu *gpu);
void fake_vram_fini(struct fake_gpu *gpu);
struct page *fake_vram_page(struct fake_gpu *gpu, u64 addr);
void fake_resurrect(struct fake_gpu *gpu);
void fake_go_on(struct fake_gpu *gpu);
int fake_bo_new(struct nouveau_drm *drm, u64 size, struct nouveau_bo **pbo);
void fake_bo_del(struct nouveau_bo **pbo);
int fake_bo_pin(struct nouveau_bo *bo);
void fake_bo_unpin(struct nouveau_bo *bo);

/* What the CPU's page table has at an address */
struct fake_cpu_entry {
	enum {
		FAKE_CPU_NONE,
		FAKE_CPU_PRESENT,
		FAKE_CPU_PRIVATE,
		FAKE_CPU_EXCLUSIVE,
		FAKE_CPU_MIGRATION,
		FAKE_CPU_OTHER,
	} kind;
	unsigned long pfn;
	bool write;
	bool huge;
};

struct fake_cpu_entry fake_cpu_entry(struct mm_struct *mm, unsigned long addr);
bool fake_entry_is_right(struct fake_vmm *vmm, u64 addr, u64 phys, bool write);

#endif
