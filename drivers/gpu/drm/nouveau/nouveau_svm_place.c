// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Memory that belongs in VRAM: what a BIND has named */
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include <drm/drm_drv.h>

#include "nouveau_dmem.h"
#include "nouveau_drv.h"
#include "nouveau_svm_priv.h"

struct nouveau_svm_migrate {
	struct hmm_migrate hmm;
	struct nouveau_svm_op *op;
};

static struct nouveau_svm_op *nouveau_svm_migrate_op(struct hmm_migrate *hmm)
{
	return container_of(hmm, struct nouveau_svm_migrate, hmm)->op;
}

/*
 * Not for an address space that is closed: it would keep the VRAM. And no more
 * than is pinned already: pinning more may wait for buffer objects that a job
 * uses, and that job may wait for this fault.
 */
static int nouveau_svm_place_reserve(struct hmm_migrate *hmm,
				     unsigned long npages)
{
	struct nouveau_svmm *svmm = nouveau_svm_migrate_op(hmm)->svmm;

	if (!READ_ONCE(svmm->vmm))
		return -ESRCH;
	return nouveau_dmem_has(svmm->svm->drm, npages) ? 0 : -ENOSPC;
}

static int nouveau_svm_place_map(struct hmm_migrate *hmm,
				 struct hmm_range *part)
{
	return nouveau_svm_program(nouveau_svm_migrate_op(hmm), part);
}

static const struct hmm_migrate_ops nouveau_svm_place_ops = {
	.reserve = nouveau_svm_place_reserve,
	.map = nouveau_svm_place_map,
};

/* The part of the block that is in the VMA of the first page that is wanted */
static bool nouveau_svm_place_span(const struct nouveau_svm_op *op,
				   struct nouveau_svm_span *span)
{
	unsigned long addr = nouveau_svm_block_base(op->block);
	struct mm_struct *mm = op->svmm->mm;
	struct vm_area_struct *vma;

	for (unsigned int i = 0; i < NOUVEAU_SVM_BLOCK_PAGES; i++) {
		if (op->want[i] != NOUVEAU_SVM_NONE)
			break;
		addr += PAGE_SIZE;
	}
	mmap_read_lock(mm);
	vma = vma_lookup(mm, addr);
	if (vma) {
		span->start = max(vma->vm_start, op->block->span.start);
		span->end = min(vma->vm_end, op->block->span.end);
	}
	mmap_read_unlock(mm);
	return vma;
}

/**
 * nouveau_svm_place() - serve a fault where memory belongs in VRAM
 * @op: what is being served
 *
 * Moves to VRAM, and maps, all of the block that is in the same VMA. A BIND of a
 * part of a block lets all of it belong in VRAM.
 *
 * Context: Process context, may sleep; the mm is alive.
 *
 * Return: 0 if the pages of the VMA are mapped, wherever they are; or a negative
 * errno, after which nouveau_svm_mirror() may still serve the fault.
 */
int nouveau_svm_place(struct nouveau_svm_op *op)
{
	struct nouveau_drm *drm = op->svmm->svm->drm;
	struct nouveau_svm_migrate migrate = {
		.hmm = {
			.range = {
				.notifier = &op->block->notifier,
				.hmm_pfns = op->pfns,
				.default_flags = HMM_PFN_REQ_FAULT,
				.pfn_flags_mask = HMM_PFN_REQ_WRITE,
				.dev_private_owner = nouveau_dmem_owner(drm),
			},
			.flags = MIGRATE_VMA_SELECT_FOLIOS,
			.src = op->src,
			.dst = op->dst,
			.mutex = &op->svmm->mutex,
			.alloc = nouveau_dmem_alloc,
			.copy = nouveau_dmem_copy,
			.arg = drm,
		},
		.op = op,
	};
	struct nouveau_svm_span span;
	int ret;

	if (!nouveau_svm_place_span(op, &span))
		return -EFAULT;
	ret = nouveau_svm_block_cover(op->block, &op->block->span);
	if (ret)
		return ret;
	migrate.hmm.range.start = span.start;
	migrate.hmm.range.end = span.end;
	for (unsigned long i = 0; i < (span.end - span.start) >> PAGE_SHIFT; i++)
		op->pfns[i] = nouveau_svm_request(op->want[i +
						  nouveau_svm_index(span.start)]);
	return hmm_range_migrate(&migrate.hmm, &nouveau_svm_place_ops,
				 HMM_RANGE_DEFAULT_JIFFIES);
}

/* Move a part of a block to VRAM, as far as it goes, and map what is there. */
static int nouveau_svm_bind_block(struct nouveau_svm_op *op)
{
	struct nouveau_drm *drm = op->svmm->svm->drm;
	struct migrate_range range = {
		.mm = op->svmm->mm,
		.start = op->window.start,
		.end = op->window.end,
		.pgmap_owner = nouveau_dmem_owner(drm),
		.alloc = nouveau_dmem_alloc,
		.copy = nouveau_dmem_copy,
		.arg = drm,
	};
	int ret;

	scoped_guard(mutex, &op->svmm->mutex)
		op->block->vram = true;
	ret = nouveau_dmem_reserve(drm, (range.end - range.start) >> PAGE_SHIFT);
	if (!ret)
		ret = migrate_range_to_device(&range);
	return ret ?: nouveau_svm_mirror(op);
}

/*
 * The next part of [@start, @end) that has memory, of one VMA and one block;
 * false if there is none.
 */
static bool nouveau_svm_bind_next(const struct nouveau_svmm *svmm, u64 start,
				  u64 end, struct nouveau_svm_span *part)
{
	struct vm_area_struct *vma;

	mmap_read_lock(svmm->mm);
	vma = find_vma_intersection(svmm->mm, start, end);
	if (vma) {
		part->start = max_t(u64, start, vma->vm_start);
		part->end = min3(end, (u64)vma->vm_end,
				 ALIGN(part->start + 1, NOUVEAU_SVM_BLOCK_SIZE));
	}
	mmap_read_unlock(svmm->mm);
	return vma;
}

/*
 * Shorten @part to what is managed, or to what is not, which it leaves alone.
 * Pages that cannot move are no error: they work where they are.
 */
static int nouveau_svm_bind_part(struct nouveau_svm_op *op,
				 struct nouveau_svm_span *part)
{
	struct nouveau_svmm *svmm = op->svmm;
	struct nouveau_svm_span span;

	if (!nouveau_svm_managed(part->start, svmm->unmanaged_start,
				 svmm->unmanaged_end, svmm->mm->task_size,
				 &span)) {
		if (part->start < svmm->unmanaged_end)
			part->end = min(part->end,
					PAGE_ALIGN(svmm->unmanaged_end));
		return 0;
	}
	part->end = min(part->end, span.end);
	op->window = *part;
	op->block = nouveau_svm_block_get(svmm, &span, part);
	if (IS_ERR(op->block))
		return PTR_ERR(op->block);
	nouveau_svm_bind_block(op);
	nouveau_svm_block_put(op->block);
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/**
 * nouveau_svm_bind() - let memory be in VRAM, now and after CPU faults
 * @svmm: the address space, which is that of the caller
 * @start: first address
 * @end: end, exclusive
 *
 * Return: 0, whatever has moved; -ENODEV if the device is gone; -ENOMEM; or
 * -EINTR after a fatal signal.
 */
int nouveau_svm_bind(struct nouveau_svmm *svmm, u64 start, u64 end)
{
	struct nouveau_svm_op *op = nouveau_svm_op_alloc(svmm);
	struct drm_device *dev = svmm->svm->dev;
	struct nouveau_svm_span part;
	int ret = op ? 0 : -ENOMEM, idx;

	while (!ret && nouveau_svm_bind_next(svmm, start, end, &part)) {
		if (!drm_dev_enter(dev, &idx)) {
			ret = -ENODEV;
			break;
		}
		ret = nouveau_svm_bind_part(op, &part);
		drm_dev_exit(idx);
		start = part.end;
		cond_resched();
	}
	nouveau_svm_blocks_prune(svmm);
	kvfree(op);
	return ret;
}

static void nouveau_svm_evict_block(struct nouveau_svm_block *block)
{
	struct nouveau_svmm *svmm = block->svmm;
	struct nouveau_drm *drm = svmm->svm->drm;
	struct migrate_range range = {
		.mm = svmm->mm,
		.start = block->span.start,
		.end = block->span.end,
		.pgmap_owner = nouveau_dmem_owner(drm),
		.copy = nouveau_dmem_copy_rest,
		.arg = drm,
	};
	int idx;

	/* A device that is gone has taken its memory with it. */
	if (!data_race(block->vram) || !drm_dev_enter(svmm->svm->dev, &idx))
		return;
	migrate_range_to_system(&range);
	drm_dev_exit(idx);
}

/**
 * nouveau_svm_evict() - give back the VRAM of an address space that is closed
 * @svmm: the address space
 *
 * Pages that are also mapped by other processes, after fork(), stay where they
 * are until these access or unmap them.
 */
void nouveau_svm_evict(struct nouveau_svmm *svmm)
{
	struct nouveau_svm_block *block;
	unsigned long index = 0;

	if (!mmget_not_zero(svmm->mm))
		return;
	while ((block = nouveau_svm_block_next(svmm, &index))) {
		nouveau_svm_evict_block(block);
		nouveau_svm_block_put(block);
	}
	mmput(svmm->mm);
}
