// SPDX-License-Identifier: GPL-2.0
/*
 * A driver that maps and unmaps the pages of a struct hmm_dma_map, as one fault
 * or invalidation does, while another fault has hmm_range_fault() write to the
 * same slots. It owns HMM_PFN_DMA_MAPPED: what it sets or clears must stay so.
 */
#include <linux/dma-mapping.h>
#include <linux/hmm-dma.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/pci-p2pdma.h>
#include <linux/platform_device.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "hmm_probe.h"

#define MOST_MS		(60 * MSEC_PER_SEC)
#define MOST_PAGES	512

static struct platform_device *dma_device;

/**
 * struct dma_driver - the thread that maps and unmaps
 * @map: whose pages
 * @nr: how many
 * @by_range: all with one call
 * @turns: how often it did so with all of them
 * @mapped: entries that were mapped by range, all in all
 * @lost: flags that differ from what it wrote
 */
struct dma_driver {
	struct hmm_dma_map map;
	size_t nr;
	bool by_range;
	u64 turns;
	u64 mapped;
	u64 lost;
};

static void expect_flag(struct dma_driver *driver, unsigned long flag)
{
	size_t i;

	for (i = 0; i < driver->nr; i++)
		driver->lost += (READ_ONCE(driver->map.pfn_list[i]) &
				 HMM_PFN_DMA_MAPPED) != flag;
}

struct device *probe_dma_device(void)
{
	return &dma_device->dev;
}

static void map_and_unmap_pages(struct dma_driver *driver)
{
	struct pci_p2pdma_map_state state = {};
	struct device *dev = &dma_device->dev;
	size_t i;

	for (i = 0; i < driver->nr; i++)
		hmm_dma_map_pfn(dev, &driver->map, i, &state);
	expect_flag(driver, HMM_PFN_DMA_MAPPED);
	for (i = 0; i < driver->nr; i++)
		hmm_dma_unmap_pfn(dev, &driver->map, i);
}

#ifdef HMM_DMA_WHOLE
#define KNOWS_RANGES	true

/* The slots are empty until a walk has written to them again. */
static void map_and_unmap_range(struct dma_driver *driver)
{
	struct pci_p2pdma_map_state state = {};
	struct device *dev = &dma_device->dev;
	size_t i, mapped = 0;

	if (hmm_dma_map_range(dev, &driver->map, 0, driver->nr, 0, &state))
		driver->lost++;
	for (i = 0; i < driver->nr; i++)
		mapped += !!(READ_ONCE(driver->map.pfn_list[i]) &
			     HMM_PFN_DMA_MAPPED);
	if (hmm_dma_unmap_range(dev, &driver->map, 0, driver->nr, NULL, NULL) !=
	    mapped)
		driver->lost++;
	driver->mapped += mapped;
}
#else
#define KNOWS_RANGES	false

static void map_and_unmap_range(struct dma_driver *driver)
{
}
#endif

static int map_and_unmap(void *arg)
{
	struct dma_driver *driver = arg;

	while (!kthread_should_stop()) {
		if (driver->by_range)
			map_and_unmap_range(driver);
		else
			map_and_unmap_pages(driver);
		expect_flag(driver, 0);
		driver->turns++;
		cond_resched();
	}
	return 0;
}

int probe_fault_once(struct probe_mirror *mirror, struct hmm_range *range)
{
	struct mm_struct *mm = mirror->notifier.mm;
	int rc;

	range->notifier_seq = mmu_interval_read_begin(&mirror->notifier);
	rc = mmap_read_lock_killable(mm);
	if (rc)
		return rc;
	rc = hmm_range_fault(range);
	mmap_read_unlock(mm);
	return rc;
}

static int fault_beside(struct probe_mirror *mirror, struct dma_driver *driver,
			const struct hmm_probe_dma *dma)
{
	unsigned long end = jiffies + msecs_to_jiffies(dma->ms);
	struct hmm_range range = {
		.notifier = &mirror->notifier,
		.start = dma->addr,
		.end = dma->addr + (dma->npages << PAGE_SHIFT),
		.hmm_pfns = driver->map.pfn_list,
		.default_flags = HMM_PFN_REQ_FAULT,
	};
	struct task_struct *thread;
	int rc = probe_fault_once(mirror, &range);

	if (rc)
		return rc;
	thread = kthread_run(map_and_unmap, driver, "hmm_probe_dma");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	while (!rc && time_before(jiffies, end)) {
		rc = probe_fault_once(mirror, &range);
		if (fatal_signal_pending(current))
			rc = -EINTR;
		cond_resched();
	}
	kthread_stop(thread);
	return rc;
}

int probe_dma(struct probe_mirror *mirror, void __user *arg)
{
	struct device *dev = &dma_device->dev;
	struct dma_driver driver = {};
	struct hmm_probe_dma dma;
	int rc;

	if (copy_from_user(&dma, arg, sizeof(dma)))
		return -EFAULT;
	if (!PAGE_ALIGNED(dma.addr) || !dma.npages ||
	    dma.npages > MOST_PAGES || dma.ms > MOST_MS ||
	    current->mm != mirror->notifier.mm)
		return -EINVAL;

	if (dma.by_range && !KNOWS_RANGES)
		return -EOPNOTSUPP;
	driver.by_range = dma.by_range;
	driver.nr = dma.npages;
	rc = hmm_dma_map_alloc(dev, &driver.map, driver.nr, PAGE_SIZE);
	if (rc)
		return rc;
	rc = fault_beside(mirror, &driver, &dma);
	hmm_dma_map_free(dev, &driver.map);
	if (rc)
		return rc;
	dma.turns = driver.turns;
	dma.mapped = driver.mapped;
	dma.lost = driver.lost;
	return copy_to_user(arg, &dma, sizeof(dma)) ? -EFAULT : 0;
}

int probe_dma_init(void)
{
	int rc;

	dma_device = platform_device_register_simple("hmm_probe_dma", -1, NULL,
						     0);
	if (IS_ERR(dma_device))
		return PTR_ERR(dma_device);
	rc = dma_set_mask_and_coherent(&dma_device->dev, DMA_BIT_MASK(64));
	if (rc)
		probe_dma_exit();
	return rc;
}

void probe_dma_exit(void)
{
	platform_device_unregister(dma_device);
}
