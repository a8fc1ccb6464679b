// SPDX-License-Identifier: GPL-2.0
/*
 * A DMA map of the job's range, for a device behind an IOMMU: QEMU's edu, which
 * moves nothing here. By range where this kernel's HMM can, else page by page,
 * as each kernel's drivers do.
 */
#include <linux/dma-mapping.h>
#include <linux/hmm-dma.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>

#include "hmm_bench.h"

#define EDU_VENDOR	0x1234
#define EDU_DEVICE	0x11e8

static int fill_slots(struct bench_job *job)
{
	struct hmm_range range = job->range;
	int rc;

	range.hmm_pfns = job->dma.pfn_list;
	range.notifier_seq = mmu_interval_read_begin(&job->notifier);
	rc = mmap_read_lock_killable(job->mm);
	if (rc)
		return rc;
	rc = hmm_range_fault(&range);
	mmap_read_unlock(job->mm);
	return rc;
}

int bench_dma_arm(struct bench_job *job)
{
	struct pci_dev *pdev = pci_get_device(EDU_VENDOR, EDU_DEVICE, NULL);
	int rc;

	if (!pdev)
		return -ENODEV;
	job->dev = &pdev->dev;
	job->dma = (struct hmm_dma_map){};
	rc = dma_set_mask_and_coherent(job->dev, DMA_BIT_MASK(64));
	rc = rc ?: hmm_dma_map_alloc(job->dev, &job->dma, job->call.npages,
				     PAGE_SIZE);
	if (rc)
		goto put;
	rc = dma_use_iova(&job->dma.state) ? fill_slots(job) : -EOPNOTSUPP;
	if (!rc)
		return 0;
	hmm_dma_map_free(job->dev, &job->dma);
put:
	put_device(job->dev);
	return rc;
}

/* What the DMA layer takes for one page */
static int link_page(struct bench_job *job)
{
	struct dma_iova_state *state = &job->dma.state;
	phys_addr_t phys = hmm_pfn_to_phys(job->dma.pfn_list[0]);
	int rc;

	rc = dma_iova_link(job->dev, state, phys, 0, PAGE_SIZE,
			   DMA_BIDIRECTIONAL, DMA_ATTR_REQUIRE_COHERENT);
	return rc ?: dma_iova_sync(job->dev, state, 0, PAGE_SIZE);
}

static int unlink_page(struct bench_job *job)
{
	dma_iova_unlink(job->dev, &job->dma.state, 0, PAGE_SIZE,
			DMA_BIDIRECTIONAL, DMA_ATTR_REQUIRE_COHERENT);
	return 0;
}

#ifdef HMM_DMA_WHOLE
static int map_range(struct bench_job *job)
{
	unsigned int flags = job->call.flags & HMM_BENCH_WHOLE ?
			     HMM_DMA_WHOLE : 0;
	struct pci_p2pdma_map_state state = {};

	return hmm_dma_map_range(job->dev, &job->dma, 0, job->call.npages,
				 flags, &state);
}

static int unmap_range(struct bench_job *job)
{
	return hmm_dma_unmap_range(job->dev, &job->dma, 0, job->call.npages,
				   NULL, NULL) == job->call.npages ? 0 : -EIO;
}
#else
static int map_range(struct bench_job *job)
{
	struct pci_p2pdma_map_state state = {};
	size_t i;

	if (job->call.flags & HMM_BENCH_WHOLE)
		return -EOPNOTSUPP;
	for (i = 0; i < job->call.npages; i++)
		if (hmm_dma_map_pfn(job->dev, &job->dma, i, &state) ==
		    DMA_MAPPING_ERROR)
			return -EIO;
	return 0;
}

static int unmap_range(struct bench_job *job)
{
	size_t i;

	for (i = 0; i < job->call.npages; i++)
		if (!hmm_dma_unmap_pfn(job->dev, &job->dma, i))
			return -EIO;
	return 0;
}
#endif

int bench_dma_map(struct bench_job *job)
{
	if (job->call.flags & HMM_BENCH_LAYER)
		return link_page(job);
	return map_range(job);
}

int bench_dma_unmap(struct bench_job *job)
{
	if (job->call.flags & HMM_BENCH_LAYER)
		return unlink_page(job);
	return unmap_range(job);
}

void bench_dma_undo(struct bench_job *job)
{
	if (bench_dma_unmap(job))
		pr_err("hmm_bench: not all was mapped\n");
}

int bench_dma_arm_mapped(struct bench_job *job)
{
	int rc = bench_dma_arm(job);

	if (rc)
		return rc;
	rc = bench_dma_map(job);
	if (rc)
		bench_dma_disarm(job);
	return rc;
}

void bench_dma_disarm(struct bench_job *job)
{
	hmm_dma_map_free(job->dev, &job->dma);
	put_device(job->dev);
}
