// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Mirroring: from the CPU's page table to entries of the GPU's */
#include <linux/device_exclusive.h>
#include <linux/memremap.h>

#include "nouveau_dmem.h"
#include "nouveau_drv.h"
#include "nouveau_svm_priv.h"

struct nouveau_svm_op *nouveau_svm_op_alloc(struct nouveau_svmm *svmm)
{
	struct nouveau_svm_op *op;

	op = kvzalloc(struct_size(op, pfnmap.map.phys, NOUVEAU_SVM_BLOCK_PAGES),
		      GFP_KERNEL);
	if (op)
		op->svmm = svmm;
	return op;
}

/* May entries be written? Context: &nouveau_svmm.mutex is held. */
static int nouveau_svm_may_map(const struct nouveau_svmm *svmm)
{
	lockdep_assert_held(&svmm->mutex);
	if (!svmm->vmm)
		return -ESRCH;
	return svmm->suspended ? -EBUSY : 0;
}

/*
 * How far the GPU may use a page. VRAM is out of the CPU's reach, so atomics
 * need nothing special there. A page of system memory is dirty once the GPU can
 * write to it, so only pages for which this is likely to happen become
 * writable; for atomics it must be made exclusive first.
 */
static enum nouveau_svm_access
nouveau_svm_page_access(const struct nouveau_svm_op *op, unsigned long pfn,
			bool vram)
{
	if (!(pfn & HMM_PFN_WRITE))
		return NOUVEAU_SVM_READ;
	if (vram)
		return NOUVEAU_SVM_ATOMIC;
	return op->write ? NOUVEAU_SVM_WRITE : NOUVEAU_SVM_READ;
}

/*
 * The entry for a page, or NONE if what the GPU has must stay as it is. Returns
 * -EIO if the page is in VRAM that is lost.
 */
static int nouveau_svm_new_entry(const struct nouveau_svm_op *op,
				 unsigned int index, unsigned long pfn,
				 u64 *entry)
{
	enum nouveau_svm_access access;
	struct page *page;
	u64 addr;
	bool vram;

	*entry = NVIF_VMM_PFNMAP_V0_NONE;
	if (!(pfn & HMM_PFN_VALID))
		return 0;
	page = hmm_pfn_to_page(pfn);
	vram = is_device_private_page(page);
	if (vram && nouveau_dmem_page_is_lost(page))
		return -EIO;
	access = nouveau_svm_page_access(op, pfn, vram);
	if (nouveau_svm_satisfied(op->block->have[index], access))
		return 0;
	if (!vram && access >= NOUVEAU_SVM_WRITE)
		set_page_dirty(page);
	addr = vram ? nouveau_dmem_page_addr(page) : page_to_phys(page);
	*entry = nouveau_svm_entry(addr, vram, access);
	return 0;
}

/*
 * Write the new entries of @range, each run of neighbours by one call. That a
 * page is lost is an error only if something wants it.
 */
static int nouveau_svm_program_pages(struct nouveau_svm_op *op,
				     const struct hmm_range *range)
{
	unsigned int first = nouveau_svm_index(range->start);
	unsigned int npages = (range->end - range->start) >> PAGE_SHIFT;
	u64 *entries = op->pfnmap.map.phys;
	unsigned int nr = 0;
	int ret = 0, error;

	for (unsigned int i = 0; i <= npages; i++) {
		u64 entry = NVIF_VMM_PFNMAP_V0_NONE;

		if (i < npages &&
		    nouveau_svm_new_entry(op, first + i, range->hmm_pfns[i],
					  &entry) &&
		    op->want[first + i] != NOUVEAU_SVM_NONE)
			ret = -EIO;
		if (entry) {
			entries[nr++] = entry;
			continue;
		}
		if (!nr)
			continue;
		error = nouveau_svm_block_map(op, first + i - nr, nr,
					      NOUVEAU_SVM_PAGE_SHIFT);
		ret = ret ?: error;
		nr = 0;
	}
	return ret;
}

/* One entry for 2 MiB, from the answer for the first page of @range */
static int nouveau_svm_program_huge(struct nouveau_svm_op *op,
				    const struct hmm_range *range)
{
	u64 entry;
	int ret = nouveau_svm_new_entry(op, nouveau_svm_index(range->start),
					range->hmm_pfns[0], &entry);

	if (ret || !entry)
		return ret;
	op->pfnmap.map.phys[0] = entry -
				 nouveau_svm_index(range->start) * PAGE_SIZE;
	return nouveau_svm_block_map(op, 0, NOUVEAU_SVM_BLOCK_PAGES,
				     NOUVEAU_SVM_BLOCK_SHIFT);
}

static bool nouveau_svm_is_huge(const struct nouveau_svm_op *op,
				const struct hmm_range *range)
{
	unsigned long pfn = range->hmm_pfns[0];

	return pfn & HMM_PFN_VALID && nouveau_svm_block_may_be_huge(op->block) &&
	       nouveau_svm_shift(range->start, hmm_pfn_to_phys(pfn),
				 hmm_pfn_to_map_order(pfn), &op->block->span) ==
	       NOUVEAU_SVM_BLOCK_SHIFT;
}

/**
 * nouveau_svm_program() - program the GPU with answers of HMM
 * @op: what is being served
 * @range: the answers, whose sequence is valid
 *
 * Only what is new is written. Pages that want an atomic, but are in system
 * memory, are left to nouveau_svm_make_exclusive().
 *
 * Context: &nouveau_svmm.mutex is held.
 *
 * Return: 0 or a negative errno.
 */
int nouveau_svm_program(struct nouveau_svm_op *op,
			const struct hmm_range *range)
{
	struct nouveau_svm_block *block = op->block;
	int ret = nouveau_svm_may_map(op->svmm);

	if (ret)
		return ret;
	if (!nouveau_svm_is_huge(op, range))
		return nouveau_svm_program_pages(op, range);
	if (nouveau_svm_covers(&block->bounds, &block->span))
		return nouveau_svm_program_huge(op, range);
	op->widen = true;
	return 0;
}

struct nouveau_svm_commit {
	struct hmm_commit commit;
	struct nouveau_svm_op *op;
};

static int nouveau_svm_commit_program(struct hmm_commit *commit)
{
	return nouveau_svm_program(container_of(commit,
						struct nouveau_svm_commit,
						commit)->op, commit->range);
}

static int nouveau_svm_mirror_window(struct nouveau_svm_op *op)
{
	struct nouveau_svm_block *block = op->block;
	struct hmm_range range = {
		.notifier = &block->notifier,
		.start = op->window.start,
		.end = op->window.end,
		.hmm_pfns = op->pfns,
		.pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
		.dev_private_owner = nouveau_dmem_owner(op->svmm->svm->drm),
	};
	struct nouveau_svm_commit commit = {
		.commit = {
			.range = &range,
			.timeout = HMM_RANGE_DEFAULT_JIFFIES,
			.mutex = &op->svmm->mutex,
			.program = nouveau_svm_commit_program,
		},
		.op = op,
	};
	unsigned int first = nouveau_svm_index(range.start);
	unsigned int npages = (range.end - range.start) >> PAGE_SHIFT;

	for (unsigned int i = 0; i < npages; i++)
		op->pfns[i] = nouveau_svm_request(op->want[first + i]);
	return hmm_range_commit(&commit.commit);
}

/**
 * nouveau_svm_mirror() - map what the CPU maps in the window of @op
 * @op: what is being served
 *
 * Faults in what is wanted, and maps also what else is present.
 *
 * Context: Process context, may sleep; the mm is alive.
 *
 * Return: 0, or a negative errno: -EBUSY if invalidations went on, or while the
 * device is suspended.
 */
int nouveau_svm_mirror(struct nouveau_svm_op *op)
{
	int ret = nouveau_svm_block_cover(op->block, &op->window);

	if (ret)
		return ret;
	op->widen = false;
	ret = nouveau_svm_mirror_window(op);
	if (ret || !op->widen)
		return ret;
	return nouveau_svm_block_cover(op->block, &op->block->span) ?:
	       nouveau_svm_mirror_window(op);
}

struct nouveau_svm_exclusive {
	struct device_exclusive_commit commit;
	struct nouveau_svm_op *op;
};

static int nouveau_svm_exclusive_program(struct device_exclusive_commit *commit,
					 unsigned long addr,
					 struct page **pages,
					 unsigned long npages)
{
	struct nouveau_svm_op *op =
		container_of(commit, struct nouveau_svm_exclusive, commit)->op;
	int ret = nouveau_svm_may_map(op->svmm);

	if (ret)
		return ret;
	for (unsigned long i = 0; i < npages; i++)
		op->pfnmap.map.phys[i] =
			nouveau_svm_entry(page_to_phys(pages[i]), false,
					  NOUVEAU_SVM_ATOMIC);
	return nouveau_svm_block_map(op, nouveau_svm_index(addr), npages,
				     NOUVEAU_SVM_PAGE_SHIFT);
}

static int nouveau_svm_make_range_exclusive(struct nouveau_svm_op *op,
					    unsigned long start,
					    unsigned long end)
{
	struct nouveau_svm_exclusive exclusive = {
		.commit = {
			.notifier = &op->block->notifier,
			.start = start,
			.end = end,
			.owner = op->svmm,
			.timeout = HMM_RANGE_DEFAULT_JIFFIES,
			.mutex = &op->svmm->mutex,
			.program = nouveau_svm_exclusive_program,
		},
		.op = op,
	};

	return start == end ? 0 : device_exclusive_commit(&exclusive.commit);
}

/* Must the page be made exclusive? Not one in VRAM, which has all access. */
static bool nouveau_svm_lacks_atomic(const struct nouveau_svm_op *op,
				     unsigned int index)
{
	return op->want[index] == NOUVEAU_SVM_ATOMIC &&
	       !nouveau_svm_satisfied(op->block->have[index],
				      NOUVEAU_SVM_ATOMIC);
}

/**
 * nouveau_svm_make_exclusive() - map pages for atomics
 * @op: what is being served, after nouveau_svm_mirror()
 *
 * The CPU must not access a page in system memory while the GPU uses atomics on
 * it, as they do not exclude each other.
 *
 * Context: as for nouveau_svm_mirror().
 *
 * Return: 0 or a negative errno.
 */
int nouveau_svm_make_exclusive(struct nouveau_svm_op *op)
{
	unsigned long start = op->window.start, addr;
	DECLARE_BITMAP(lacks, NOUVEAU_SVM_BLOCK_PAGES) = {};
	int ret = 0;

	scoped_guard(mutex, &op->svmm->mutex) {
		for (unsigned int i = 0; i < NOUVEAU_SVM_BLOCK_PAGES; i++)
			__assign_bit(i, lacks, nouveau_svm_lacks_atomic(op, i));
	}
	for (addr = start; addr < op->window.end && !ret; addr += PAGE_SIZE) {
		if (test_bit(nouveau_svm_index(addr), lacks))
			continue;
		ret = nouveau_svm_make_range_exclusive(op, start, addr);
		start = addr + PAGE_SIZE;
	}
	return ret ?: nouveau_svm_make_range_exclusive(op, start, addr);
}

/* Does the GPU have all that is wanted already? */
bool nouveau_svm_is_served(struct nouveau_svm_op *op)
{
	const struct nouveau_svm_block *block = op->block;

	guard(mutex)(&op->svmm->mutex);
	for (unsigned int i = 0; i < NOUVEAU_SVM_BLOCK_PAGES; i++) {
		if (!nouveau_svm_satisfied(block->have[i], op->want[i]))
			return false;
	}
	return true;
}
