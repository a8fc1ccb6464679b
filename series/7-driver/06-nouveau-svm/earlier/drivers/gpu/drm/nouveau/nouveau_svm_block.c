// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Blocks: 2 MiB of an address space, with a notifier and a record of what the
 * GPU has mapped. They stay until the memory is unmapped, so that a fault costs
 * no insertion into the notifiers.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "nouveau_svm_priv.h"

static bool nouveau_svm_block_is_empty(const struct nouveau_svm_block *block)
{
	return !memchr_inv(block->have, NOUVEAU_SVM_NONE, sizeof(block->have));
}

/*
 * Unmap pages, as few as the GPU can: asked to clear a part of an entry of
 * 2 MiB, nvkm clears nothing.
 */
static void nouveau_svm_block_clear(struct nouveau_svm_block *block,
				    unsigned int first, unsigned int nr)
{
	if (block->huge) {
		first = 0;
		nr = NOUVEAU_SVM_BLOCK_PAGES;
	}
	if (!memchr_inv(block->have + first, NOUVEAU_SVM_NONE, nr))
		return;
	nouveau_svm_gpu_clear(block->svmm, nouveau_svm_block_base(block) +
			      first * PAGE_SIZE, nr * PAGE_SIZE);
	memset(block->have + first, NOUVEAU_SVM_NONE, nr);
	block->huge = false;
}

/* Unmap what is writable in a range; the rest may be read on. */
static void nouveau_svm_block_clear_writable(struct nouveau_svm_block *block,
					     unsigned int first,
					     unsigned int nr)
{
	unsigned int end = first + nr, from;

	while (first < end) {
		from = first;
		while (first < end && block->have[first] >= NOUVEAU_SVM_WRITE)
			first++;
		if (first > from)
			nouveau_svm_block_clear(block, from, first - from);
		else
			first++;
	}
}

/* Do CPU mappings only lose write access? */
static bool nouveau_svm_stays_readable(const struct mmu_notifier_range *range)
{
	switch (range->event) {
	case MMU_NOTIFY_PROTECTION_PAGE:
	case MMU_NOTIFY_SOFT_DIRTY:
		return true;
	default:
		return false;
	}
}

static void nouveau_svm_block_lose(struct nouveau_svm_block *block,
				   const struct mmu_notifier_range *range)
{
	unsigned long base = nouveau_svm_block_base(block);
	unsigned long start = max(range->start, block->span.start);
	unsigned long end = min(range->end, block->span.end);
	unsigned int first = (start - base) >> PAGE_SHIFT;
	unsigned int nr = (PAGE_ALIGN(end) - (start & PAGE_MASK)) >> PAGE_SHIFT;

	if (start >= end)
		return;
	if (nouveau_svm_stays_readable(range))
		nouveau_svm_block_clear_writable(block, first, nr);
	else
		nouveau_svm_block_clear(block, first, nr);
	/* A block that is being freed is in a list, and must stay in it. */
	if (range->event == MMU_NOTIFY_UNMAP && list_empty(&block->unmapped) &&
	    nouveau_svm_block_is_empty(block))
		list_add_tail(&block->unmapped, &block->svmm->unmapped);
}

/* Changing the GPU's page table sleeps. */
static bool nouveau_svm_invalidate_atomic(struct nouveau_svm_block *block,
					  unsigned long seq)
{
	struct nouveau_svmm *svmm = block->svmm;
	bool empty;

	if (!mutex_trylock(&svmm->mutex))
		return false;
	empty = nouveau_svm_block_is_empty(block);
	if (empty)
		mmu_interval_set_seq(&block->notifier, seq);
	mutex_unlock(&svmm->mutex);
	return empty;
}

/*
 * Own migrations are heeded as any others: they unmap the GPU before pages are
 * copied. An exclusive access of the address space itself is not, as its page
 * is about to be mapped.
 */
static bool nouveau_svm_invalidate(struct mmu_interval_notifier *notifier,
				   const struct mmu_notifier_range *range,
				   unsigned long seq)
{
	struct nouveau_svm_block *block =
		container_of(notifier, struct nouveau_svm_block, notifier);
	struct nouveau_svmm *svmm = block->svmm;

	if (range->event == MMU_NOTIFY_EXCLUSIVE && range->owner == svmm)
		return true;
	if (!mmu_notifier_range_blockable(range))
		return nouveau_svm_invalidate_atomic(block, seq);
	guard(mutex)(&svmm->mutex);
	mmu_interval_set_seq(notifier, seq);
	nouveau_svm_block_lose(block, range);
	return true;
}

static const struct mmu_interval_notifier_ops nouveau_svm_notifier_ops = {
	.invalidate = nouveau_svm_invalidate,
};

/* The block that @addr is in, or %NULL. Context: the mutex is held. */
static struct nouveau_svm_block *
nouveau_svm_block_at(struct nouveau_svmm *svmm, unsigned long addr)
{
	struct nouveau_svm_span span;

	if (!nouveau_svm_managed(addr, svmm->unmanaged_start,
				 svmm->unmanaged_end, svmm->mm->task_size,
				 &span))
		return NULL;
	return xa_load(&svmm->blocks, PHYS_PFN(span.start));
}

/*
 * nvkm keeps one record for neighbours that are mapped, with one size of
 * entries: 4 KiB and 2 MiB must never touch, or it would take one for the other
 * when they are cleared. The block @before @block, or after it, if it touches and
 * has entries of 2 MiB (@huge) or of 4 KiB; otherwise %NULL.
 */
static struct nouveau_svm_block *
nouveau_svm_block_touching(struct nouveau_svm_block *block, bool before,
			   bool huge)
{
	unsigned long base = nouveau_svm_block_base(block), addr;
	struct nouveau_svm_block *other;

	if (before && !base)
		return NULL;
	addr = before ? base - PAGE_SIZE : base + NOUVEAU_SVM_BLOCK_SIZE;
	other = nouveau_svm_block_at(block->svmm, addr);
	if (!other || other->huge != huge ||
	    other->have[nouveau_svm_index(addr)] == NOUVEAU_SVM_NONE)
		return NULL;
	return other;
}

/* May an entry of 2 MiB be written? Context: the mutex is held. */
bool nouveau_svm_block_may_be_huge(struct nouveau_svm_block *block)
{
	return !nouveau_svm_block_touching(block, true, false) &&
	       !nouveau_svm_block_touching(block, false, false);
}

/* Make room for entries of 4 KiB: the GPU maps the neighbour again, by them. */
static void nouveau_svm_block_part(struct nouveau_svm_block *block, bool before)
{
	struct nouveau_svm_block *other =
		nouveau_svm_block_touching(block, before, true);

	if (other)
		nouveau_svm_block_clear(other, 0, NOUVEAU_SVM_BLOCK_PAGES);
}

/**
 * nouveau_svm_block_map() - write entries for pages of the block of @op
 * @op: with the entries in its @pfnmap
 * @first: the first page, counted from the start of the 2 MiB
 * @nr: number of pages
 * @shift: page shift of the entries; 21 only for all pages, and if
 *	nouveau_svm_block_may_be_huge()
 *
 * Return: 0; -EIO if the GPU's page table refuses an entry; or another negative
 * errno.
 */
int nouveau_svm_block_map(struct nouveau_svm_op *op, unsigned int first,
			  unsigned int nr, unsigned int shift)
{
	struct nouveau_svm_block *block = op->block;
	const u64 *phys = op->pfnmap.map.phys;
	bool huge = shift == NOUVEAU_SVM_BLOCK_SHIFT;
	int ret;

	nouveau_svm_block_clear(block, first, nr);
	if (!huge && !first)
		nouveau_svm_block_part(block, true);
	if (!huge && first + nr == NOUVEAU_SVM_BLOCK_PAGES)
		nouveau_svm_block_part(block, false);
	ret = nouveau_svm_gpu_map(op->svmm, &op->pfnmap,
				  nouveau_svm_block_base(block) +
				  first * PAGE_SIZE, huge ? 1 : nr, shift);
	if (ret)
		return ret;
	block->huge = huge;
	for (unsigned int i = 0; i < nr; i++) {
		enum nouveau_svm_access access =
			nouveau_svm_entry_access(phys[huge ? 0 : i]);

		block->have[first + i] = access;
		if (access == NOUVEAU_SVM_NONE)
			ret = -EIO;
	}
	return ret;
}

static struct nouveau_svm_block *
nouveau_svm_block_new(struct nouveau_svmm *svmm,
		      const struct nouveau_svm_span *span)
{
	struct nouveau_svm_block *block = kzalloc_obj(*block,
						      GFP_KERNEL_ACCOUNT);
	int ret;

	if (!block)
		return ERR_PTR(-ENOMEM);
	block->svmm = svmm;
	block->span = *span;
	block->users = 1;
	INIT_LIST_HEAD(&block->unmapped);
	ret = mmu_interval_notifier_insert(&block->notifier, svmm->mm,
					   span->start,
					   span->end - span->start,
					   &nouveau_svm_notifier_ops);
	if (!ret)
		return block;
	kfree(block);
	return ERR_PTR(ret);
}

/* Callbacks may add the block to a list until the notifier is removed. */
static void nouveau_svm_block_free(struct nouveau_svm_block *block)
{
	mmu_interval_notifier_remove(&block->notifier);
	scoped_guard(mutex, &block->svmm->mutex)
		list_del(&block->unmapped);
	kfree(block);
}

static struct nouveau_svm_block *
nouveau_svm_block_find(struct nouveau_svmm *svmm, unsigned long index)
{
	struct nouveau_svm_block *block;

	guard(mutex)(&svmm->mutex);
	block = xa_load(&svmm->blocks, index);
	if (block) {
		block->users++;
		list_del_init(&block->unmapped);
	}
	return block;
}

/**
 * nouveau_svm_block_get() - find or make a block
 * @svmm: the address space
 * @span: from nouveau_svm_managed(), which has one result for each address
 *
 * Return: the block, for nouveau_svm_block_put(), or an ERR_PTR().
 */
struct nouveau_svm_block *
nouveau_svm_block_get(struct nouveau_svmm *svmm,
		      const struct nouveau_svm_span *span)
{
	unsigned long index = PHYS_PFN(span->start);
	struct nouveau_svm_block *block, *new = NULL;
	void *old;

	while (!(block = nouveau_svm_block_find(svmm, index))) {
		if (!new)
			new = nouveau_svm_block_new(svmm, span);
		if (IS_ERR(new))
			return new;
		old = xa_cmpxchg(&svmm->blocks, index, NULL, new, GFP_KERNEL);
		if (!old)
			return new;
		if (xa_is_err(old)) {
			block = ERR_PTR(xa_err(old));
			break;
		}
	}
	if (new)
		nouveau_svm_block_free(new);
	return block;
}

/* The first block from @index on, for nouveau_svm_block_put(), or %NULL */
struct nouveau_svm_block *nouveau_svm_block_next(struct nouveau_svmm *svmm,
						 unsigned long *index)
{
	struct nouveau_svm_block *block;

	guard(mutex)(&svmm->mutex);
	block = xa_find(&svmm->blocks, index, ULONG_MAX, XA_PRESENT);
	if (block)
		block->users++;
	++*index;
	return block;
}

void nouveau_svm_block_put(struct nouveau_svm_block *block)
{
	guard(mutex)(&block->svmm->mutex);
	block->users--;
}

/* Unmap all that the GPU has. Context: &nouveau_svmm.mutex is held. */
void nouveau_svm_blocks_clear(struct nouveau_svmm *svmm)
{
	struct nouveau_svm_block *block;
	unsigned long index;

	xa_for_each(&svmm->blocks, index, block)
		nouveau_svm_block_clear(block, 0, NOUVEAU_SVM_BLOCK_PAGES);
}

static bool nouveau_svm_block_is_gone(struct nouveau_svm_block *block)
{
	return nouveau_svm_block_is_empty(block) &&
	       !find_vma_intersection(block->svmm->mm, block->span.start,
				      block->span.end);
}

/* Free blocks without memory. Context: the mm is alive. */
void nouveau_svm_blocks_prune(struct nouveau_svmm *svmm)
{
	struct nouveau_svm_block *block, *next;
	LIST_HEAD(gone);

	if (list_empty_careful(&svmm->unmapped))
		return;
	mmap_read_lock(svmm->mm);
	mutex_lock(&svmm->mutex);
	list_for_each_entry_safe(block, next, &svmm->unmapped, unmapped) {
		if (block->users)
			continue;
		if (nouveau_svm_block_is_gone(block)) {
			xa_erase(&svmm->blocks, PHYS_PFN(block->span.start));
			list_move(&block->unmapped, &gone);
		} else {
			list_del_init(&block->unmapped);
		}
	}
	mutex_unlock(&svmm->mutex);
	mmap_read_unlock(svmm->mm);

	list_for_each_entry_safe(block, next, &gone, unmapped)
		nouveau_svm_block_free(block);
}

void nouveau_svm_blocks_free(struct nouveau_svmm *svmm)
{
	struct nouveau_svm_block *block;
	unsigned long index;

	xa_for_each(&svmm->blocks, index, block)
		nouveau_svm_block_free(block);
	xa_destroy(&svmm->blocks);
}
