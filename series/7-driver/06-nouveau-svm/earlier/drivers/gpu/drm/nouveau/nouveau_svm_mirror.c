// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Mirroring: from the CPU's page table to entries of the GPU's */
#include <linux/jiffies.h>
#include <linux/memremap.h>
#include <linux/rmap.h>

#include "nouveau_dmem.h"
#include "nouveau_drv.h"
#include "nouveau_svm_priv.h"

/* How long invalidations may go on. The GPU then faults again. */
#define NOUVEAU_SVM_TIMEOUT	msecs_to_jiffies(HMM_RANGE_DEFAULT_TIMEOUT)

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

/*
 * Program the GPU with answers of HMM, whose sequence is valid. Only what is new
 * is written. Pages that want an atomic, but are in system memory, are left to
 * nouveau_svm_make_exclusive().
 */
static int nouveau_svm_program(struct nouveau_svm_op *op,
			       const struct hmm_range *range)
{
	int ret = nouveau_svm_may_map(op->svmm);

	if (ret)
		return ret;
	return nouveau_svm_is_huge(op, range) ?
	       nouveau_svm_program_huge(op, range) :
	       nouveau_svm_program_pages(op, range);
}

static void nouveau_svm_request_pages(const struct nouveau_svm_op *op,
				      struct hmm_range *range)
{
	unsigned int first = nouveau_svm_index(range->start);
	unsigned int npages = (range->end - range->start) >> PAGE_SHIFT;

	for (unsigned int i = 0; i < npages; i++)
		range->hmm_pfns[i] = nouveau_svm_request(op->want[first + i]);
}

/* Is there a page that had to be writable, and is not? */
static bool nouveau_svm_lacks_write(const struct nouveau_svm_op *op,
				    const struct hmm_range *range)
{
	unsigned int first = nouveau_svm_index(range->start);
	unsigned int npages = (range->end - range->start) >> PAGE_SHIFT;

	for (unsigned int i = 0; i < npages; i++) {
		if (op->want[first + i] >= NOUVEAU_SVM_WRITE &&
		    !(range->hmm_pfns[i] & HMM_PFN_WRITE))
			return true;
	}
	return false;
}

/*
 * One attempt to have what is wanted in @range. When HMM retries, what it found
 * before counts as requested, so that an error may be due to a page that nothing
 * wants: it is only final if the sequence has not changed.
 */
static int nouveau_svm_fault_in_once(const struct nouveau_svm_op *op,
				     struct hmm_range *range)
{
	unsigned long seq = mmu_interval_read_begin(range->notifier);
	int ret;

	nouveau_svm_request_pages(op, range);
	ret = hmm_range_fault_unlocked_timeout(range, NOUVEAU_SVM_TIMEOUT);
	if (ret && ret != -EINTR && range->notifier_seq != seq)
		return -EBUSY;
	return ret;
}

/*
 * Pages of VRAM are not faulted on, not even if they must become writable, as
 * after fork(): HMM reports them as they are. Without an owner, it has them moved
 * to system memory, and copied there if they are shared.
 */
static int nouveau_svm_fault_in(const struct nouveau_svm_op *op,
				struct hmm_range *range)
{
	int ret;

	range->dev_private_owner = nouveau_dmem_owner(op->svmm->svm->drm);
	ret = nouveau_svm_fault_in_once(op, range);
	if (ret || !nouveau_svm_lacks_write(op, range))
		return ret;
	range->dev_private_owner = NULL;
	return nouveau_svm_fault_in_once(op, range);
}

/* Returns -EAGAIN if an invalidation has collided. */
static int nouveau_svm_mirror_once(struct nouveau_svm_op *op,
				   struct hmm_range *range)
{
	int ret = nouveau_svm_fault_in(op, range);

	if (ret)
		return ret == -EBUSY ? -EAGAIN : ret;
	guard(mutex)(&op->svmm->mutex);
	if (mmu_interval_read_retry(range->notifier, range->notifier_seq))
		return -EAGAIN;
	return nouveau_svm_program(op, range);
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
	unsigned long deadline = jiffies + NOUVEAU_SVM_TIMEOUT;
	struct hmm_range range = {
		.notifier = &op->block->notifier,
		.start = op->window.start,
		.end = op->window.end,
		.hmm_pfns = op->pfns,
		.pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
	};
	int ret;

	do {
		ret = nouveau_svm_mirror_once(op, &range);
	} while (ret == -EAGAIN && time_before(jiffies, deadline));
	return ret == -EAGAIN ? -EBUSY : ret;
}

/* The page is exclusive as long as its folio is locked. */
static int nouveau_svm_program_exclusive(struct nouveau_svm_op *op,
					 const struct hmm_range *range,
					 struct page *page)
{
	int ret;

	guard(mutex)(&op->svmm->mutex);
	if (mmu_interval_read_retry(range->notifier, range->notifier_seq))
		return -EAGAIN;
	ret = nouveau_svm_may_map(op->svmm);
	if (ret)
		return ret;
	op->pfnmap.map.phys[0] = nouveau_svm_entry(page_to_phys(page), false,
						   NOUVEAU_SVM_ATOMIC);
	return nouveau_svm_block_map(op, nouveau_svm_index(range->start), 1,
				     NOUVEAU_SVM_PAGE_SHIFT);
}

/*
 * HMM faults the page in first: what make_device_exclusive() has to do for that,
 * such as ending the exclusive access of an earlier attempt, would change the
 * sequence each time.
 */
static int nouveau_svm_make_page_exclusive_once(struct nouveau_svm_op *op,
						struct hmm_range *range)
{
	struct mm_struct *mm = op->svmm->mm;
	struct folio *folio;
	struct page *page;
	int ret;

	ret = nouveau_svm_fault_in(op, range);
	if (ret)
		return ret == -EBUSY ? -EAGAIN : ret;
	mmap_read_lock(mm);
	page = make_device_exclusive(mm, range->start, op->svmm, &folio);
	mmap_read_unlock(mm);
	if (IS_ERR(page))
		return PTR_ERR(page);
	ret = nouveau_svm_program_exclusive(op, range, page);
	folio_unlock(folio);
	folio_put(folio);
	return ret;
}

static int nouveau_svm_make_page_exclusive(struct nouveau_svm_op *op,
					   unsigned long addr)
{
	unsigned long deadline = jiffies + NOUVEAU_SVM_TIMEOUT;
	struct hmm_range range = {
		.notifier = &op->block->notifier,
		.start = addr,
		.end = addr + PAGE_SIZE,
		.hmm_pfns = op->pfns,
		.pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
	};
	int ret;

	do {
		ret = nouveau_svm_make_page_exclusive_once(op, &range);
	} while (ret == -EAGAIN && time_before(jiffies, deadline));
	return ret == -EAGAIN ? -EBUSY : ret;
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
	DECLARE_BITMAP(lacks, NOUVEAU_SVM_BLOCK_PAGES) = {};
	unsigned long base = nouveau_svm_block_base(op->block);
	unsigned int i;
	int ret = 0;

	scoped_guard(mutex, &op->svmm->mutex) {
		for (i = 0; i < NOUVEAU_SVM_BLOCK_PAGES; i++)
			__assign_bit(i, lacks, nouveau_svm_lacks_atomic(op, i));
	}
	for_each_set_bit(i, lacks, NOUVEAU_SVM_BLOCK_PAGES) {
		ret = nouveau_svm_make_page_exclusive(op, base + i * PAGE_SIZE);
		if (ret)
			break;
	}
	return ret;
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
