/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Shared virtual memory: what its own files share.
 *
 * Locks, outermost first:
 *
 *   nouveau_svm.mutex		instances, address spaces, whether the GPU runs
 *   nouveau_dmem.mutex		suspending and resuming of VRAM
 *   mmap_lock, folio locks
 *   nouveau_svmm.mutex		taken by the invalidate callback
 *   nvkm's lock of the GPU's page table
 *
 * No memory may be reclaimed under nouveau_svmm.mutex, as reclaim invalidates.
 */
#ifndef __NOUVEAU_SVM_PRIV_H__
#define __NOUVEAU_SVM_PRIV_H__

#include <linux/hmm.h>
#include <linux/kref.h>
#include <linux/mmu_notifier.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <nvif/event.h>
#include <nvif/if000c.h>
#include <nvif/ioctl.h>
#include <nvif/vmm.h>

#include "nouveau_svm.h"
#include "nouveau_svm_decide.h"

#define NOUVEAU_SVM_BLOCK_PAGES	(NOUVEAU_SVM_BLOCK_SIZE >> PAGE_SHIFT)
/* Faults of an address space that are served at once. The GPU repeats others. */
#define NOUVEAU_SVM_BATCH	256

/**
 * struct nouveau_svm_buffer - the GPU's buffer of replayable faults
 * @object: the buffer, mapped
 * @notify: the GPU has written to it
 * @work: reads it
 * @faults: room for all that it holds
 * @entries: how many that is
 * @getaddr: register of the device: the next entry that the driver reads
 * @putaddr: register of the device: the next entry that the GPU writes
 */
struct nouveau_svm_buffer {
	struct nvif_object object;
	struct nvif_event notify;
	struct delayed_work work;
	struct nouveau_svm_fault *faults;
	u32 entries;
	u32 getaddr;
	u32 putaddr;
};

/**
 * struct nouveau_svm - shared virtual memory of a GPU
 * @ref: references, of the device and of each address space
 * @drm: the device; valid unless @stopped, in drm_dev_enter(), and for work on
 *	@queue, which nouveau_svm_stop() waits for
 * @dev: likewise
 * @queue: runs faults, each address space by itself, as user space can make the
 *	faults of one take for ever
 * @mutex: protects all that follows
 * @insts: channels and their address spaces
 * @svmms: all address spaces
 * @stopped: the GPU is suspended or goes away, and must not be touched
 * @buffer: its faults
 */
struct nouveau_svm {
	struct kref ref;
	struct nouveau_drm *drm;
	struct drm_device *dev;
	struct workqueue_struct *queue;
	struct mutex mutex;	/* see above */
	struct list_head insts;
	struct list_head svmms;
	bool stopped;
	struct nouveau_svm_buffer buffer;
};

/**
 * struct nouveau_svmm - an address space that is shared with the GPU
 * @ref: references: of the file, of faults in flight
 * @svm: the GPU's; never %NULL
 * @head: in &nouveau_svm.svmms
 * @mm: the address space, not kept alive
 * @unmanaged_start: first address that mirrors nothing
 * @unmanaged_end: end of that, exclusive
 * @mutex: taken by the invalidate callback; protects what follows, up to
 *	@unmapped, and the members of blocks that say so
 * @vmm: the GPU's page table; %NULL once the file is closed
 * @suspended: nothing may be mapped
 * @blocks: all blocks, by their first page
 * @unmapped: blocks in which nothing is mapped any more
 * @work: serves @faults
 * @nr: number of faults; with the next four, under &nouveau_svm.mutex
 * @busy: @work is queued or runs, and @nr and @faults belong to it
 * @missed: faults came while others were being served
 * @was_stopped: the GPU was stopped while faults were being served
 * @faults: sorted
 * @op: for @work
 */
struct nouveau_svmm {
	struct kref ref;
	struct nouveau_svm *svm;
	struct list_head head;
	struct mm_struct *mm;
	u64 unmanaged_start;
	u64 unmanaged_end;

	struct mutex mutex;	/* see above */
	struct nvif_vmm *vmm;
	bool suspended;
	struct xarray blocks;
	struct list_head unmapped;

	struct work_struct work;
	unsigned int nr;
	bool busy;
	bool missed;
	bool was_stopped;
	struct nouveau_svm_fault faults[NOUVEAU_SVM_BATCH];
	struct nouveau_svm_op *op;
};

/**
 * struct nouveau_svm_block - the managed part of 2 MiB of an address space
 * @notifier: of that part
 * @svmm: the address space
 * @span: the part
 * @users: number of tasks that use the block, which therefore stays. This and
 *	all that follows is protected by &nouveau_svmm.mutex.
 * @unmapped: in &nouveau_svmm.unmapped, or empty
 * @vram: a BIND has named pages of it, which may be in VRAM
 * @huge: the GPU's entry is one of 2 MiB
 * @have: for each page of the 2 MiB, what the GPU may do with it, as enum
 *	nouveau_svm_access
 */
struct nouveau_svm_block {
	struct mmu_interval_notifier notifier;
	struct nouveau_svmm *svmm;
	struct nouveau_svm_span span;
	unsigned int users;
	struct list_head unmapped;
	bool vram;
	bool huge;
	u8 have[NOUVEAU_SVM_BLOCK_PAGES];
};

/* The arguments of PFNMAP, as nvif_object_ioctl() takes them */
struct nouveau_svm_pfnmap {
	struct nvif_ioctl_v0_hdr ioctl;
	struct nvif_ioctl_mthd_v0_hdr mthd;
	struct nvif_vmm_pfnmap_v0 map;
};

/**
 * struct nouveau_svm_op - what it takes to serve a block, for faults or a BIND
 * @svmm: the address space
 * @block: the block
 * @window: the part of it that is looked at
 * @write: pages that no fault wants may be mapped writable, too
 * @want: for each page of the 2 MiB, what is wanted, as enum nouveau_svm_access
 * @pfns: HMM's slots for @window
 * @src: for migration
 * @dst: for migration
 * @pfnmap: with room for the entries of a block
 */
struct nouveau_svm_op {
	struct nouveau_svmm *svmm;
	struct nouveau_svm_block *block;
	struct nouveau_svm_span window;
	bool write;
	u8 want[NOUVEAU_SVM_BLOCK_PAGES];
	unsigned long pfns[NOUVEAU_SVM_BLOCK_PAGES];
	unsigned long src[NOUVEAU_SVM_BLOCK_PAGES];
	unsigned long dst[NOUVEAU_SVM_BLOCK_PAGES];
	struct nouveau_svm_pfnmap pfnmap;
};

/* Which page of its 2 MiB an address is in */
static inline unsigned int nouveau_svm_index(unsigned long addr)
{
	return (addr >> PAGE_SHIFT) % NOUVEAU_SVM_BLOCK_PAGES;
}

static inline unsigned long
nouveau_svm_block_base(const struct nouveau_svm_block *block)
{
	return ALIGN_DOWN(block->span.start, NOUVEAU_SVM_BLOCK_SIZE);
}

/* nouveau_svm_gpu.c */
int nouveau_svm_gpu_map(struct nouveau_svmm *svmm,
			struct nouveau_svm_pfnmap *pfnmap, u64 addr,
			unsigned int nr, unsigned int shift);
void nouveau_svm_gpu_clear(struct nouveau_svmm *svmm, u64 addr, u64 size);
void nouveau_svm_gpu_replay(struct nouveau_svm *svm);
void nouveau_svm_gpu_cancel(struct nouveau_svm *svm,
			    const struct nouveau_svm_fault *fault);

/* nouveau_svm_block.c */
struct nouveau_svm_block *
nouveau_svm_block_get(struct nouveau_svmm *svmm,
		      const struct nouveau_svm_span *span);
struct nouveau_svm_block *nouveau_svm_block_next(struct nouveau_svmm *svmm,
						 unsigned long *index);
void nouveau_svm_block_put(struct nouveau_svm_block *block);
bool nouveau_svm_block_may_be_huge(struct nouveau_svm_block *block);
int nouveau_svm_block_map(struct nouveau_svm_op *op, unsigned int first,
			  unsigned int nr, unsigned int shift);
void nouveau_svm_blocks_clear(struct nouveau_svmm *svmm);
void nouveau_svm_blocks_prune(struct nouveau_svmm *svmm);
void nouveau_svm_blocks_free(struct nouveau_svmm *svmm);

/* What HMM must do for a page that is wanted like this */
static inline unsigned long nouveau_svm_request(enum nouveau_svm_access want)
{
	if (want < NOUVEAU_SVM_READ)
		return 0;
	return want == NOUVEAU_SVM_READ ? HMM_PFN_REQ_FAULT :
					  HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
}

/* nouveau_svm_mirror.c */
struct nouveau_svm_op *nouveau_svm_op_alloc(struct nouveau_svmm *svmm);
int nouveau_svm_mirror(struct nouveau_svm_op *op);
int nouveau_svm_make_exclusive(struct nouveau_svm_op *op);
bool nouveau_svm_is_served(struct nouveau_svm_op *op);

/* nouveau_svm_fault.c */
void nouveau_svm_faults_work(struct work_struct *work);

/* nouveau_svm_place.c */
int nouveau_svm_bind(struct nouveau_svmm *svmm, u64 start, u64 end);
void nouveau_svm_evict(struct nouveau_svmm *svmm);

/* nouveau_svm_buffer.c */
int nouveau_svm_buffer_init(struct nouveau_svm *svm);
void nouveau_svm_buffer_fini(struct nouveau_svm *svm);
int nouveau_svm_buffer_start(struct nouveau_svm *svm);
void nouveau_svm_buffer_stop(struct nouveau_svm *svm);
struct nouveau_svmm *nouveau_svm_find(struct nouveau_svm *svm, u64 inst);

/* nouveau_svm.c */
void nouveau_svmm_put(struct nouveau_svmm *svmm);

#endif
