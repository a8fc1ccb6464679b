// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Memory that moves to VRAM, as a BIND asks for, and back */
#include <linux/migrate.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include <drm/drm_drv.h>

#include "nouveau_dmem.h"
#include "nouveau_drv.h"
#include "nouveau_svm_priv.h"

/*
 * Move the window of @op to VRAM, or from it, as @flags select. mmap_lock is held
 * for all of it, so a window is at most a block.
 */
static int nouveau_svm_move(struct nouveau_svm_op *op, unsigned long flags)
{
	struct nouveau_drm *drm = op->svmm->svm->drm;
	struct migrate_vma migrate = {
		.src = op->src,
		.dst = op->dst,
		.pgmap_owner = nouveau_dmem_owner(drm),
		.flags = flags | MIGRATE_VMA_SELECT_COMPOUND,
	};
	VMA_ITERATOR(vmi, op->svmm->mm, op->window.start);
	int ret = 0, error;

	if (mmap_read_lock_killable(op->svmm->mm))
		return -EINTR;
	for_each_vma_range(vmi, migrate.vma, op->window.end) {
		if (!vma_is_accessible(migrate.vma))
			continue;
		migrate.start = max(migrate.vma->vm_start, op->window.start);
		migrate.end = min(migrate.vma->vm_end, op->window.end);
		error = nouveau_dmem_migrate(drm, &migrate);
		ret = ret ?: error;
	}
	mmap_read_unlock(op->svmm->mm);
	return ret;
}

/* Move a part of a block to VRAM, as far as it goes, and map what is there. */
static int nouveau_svm_bind_block(struct nouveau_svm_op *op)
{
	struct nouveau_drm *drm = op->svmm->svm->drm;
	int ret;

	scoped_guard(mutex, &op->svmm->mutex)
		op->block->vram = true;
	ret = nouveau_dmem_reserve(drm, (op->window.end - op->window.start) >>
				   PAGE_SHIFT);
	if (!ret)
		ret = nouveau_svm_move(op, MIGRATE_VMA_SELECT_SYSTEM);
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
	op->block = nouveau_svm_block_get(svmm, &span);
	if (IS_ERR(op->block))
		return PTR_ERR(op->block);
	nouveau_svm_bind_block(op);
	nouveau_svm_block_put(op->block);
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/**
 * nouveau_svm_bind() - move memory to VRAM
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

static void nouveau_svm_evict_block(struct nouveau_svm_op *op)
{
	struct nouveau_svm_block *block = op->block;
	int idx;

	/* A device that is gone has taken its memory with it. */
	if (!data_race(block->vram) || !drm_dev_enter(op->svmm->svm->dev, &idx))
		return;
	op->window = block->span;
	nouveau_svm_move(op, MIGRATE_VMA_SELECT_DEVICE_PRIVATE);
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
	struct nouveau_svm_op *op = nouveau_svm_op_alloc(svmm);
	unsigned long index = 0;

	if (!op)
		return;
	if (mmget_not_zero(svmm->mm)) {
		while ((op->block = nouveau_svm_block_next(svmm, &index))) {
			nouveau_svm_evict_block(op);
			nouveau_svm_block_put(op->block);
		}
		mmput(svmm->mm);
	}
	kvfree(op);
}
