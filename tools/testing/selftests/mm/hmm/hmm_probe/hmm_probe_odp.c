// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/hmm_probe_odp: a driver with the structure of RDMA's on-demand paging, for
 * QEMU's edu device. What it mirrors is accessed by real DMA, through an IOMMU
 * where the machine has one.
 *
 * A lock per region does what umem_mutex does: pages are faulted in without it,
 * mapped under it once mmu_interval_read_retry() has returned false, and
 * unmapped under it by the invalidate callback. DMA happens under it too, since
 * the device has no command to stop.
 */
#include <linux/cleanup.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/hmm-dma.h>
#include <linux/hmm.h>
#include <linux/iommu.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hmm_probe.h"
#include "hmm_probe_edu.h"
#include "hmm_probe_odp_uapi.h"

#define STICKY		(HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA | \
			 HMM_PFN_P2PDMA_BUS)

/**
 * struct odp - a region
 * @notifier: its subscription
 * @lock: of @map and of the counters
 * @map: its slots and addresses
 * @start: its first address
 * @nr: its pages; 0 until it is registered
 * @flags: HMM_ODP_*
 * @unmapped: see struct hmm_odp_state
 * @dirtied: likewise
 */
struct odp {
	struct mmu_interval_notifier notifier;
	struct mutex lock;	/* see above */
	struct hmm_dma_map map;
	unsigned long start;
	size_t nr;
	u64 flags;
	u64 unmapped;
	u64 dirtied;
};

/* Mapping and unmapping; the region's lock is held */

static size_t odp_index(const struct odp *odp, unsigned long addr)
{
	return (addr - odp->start) >> PAGE_SHIFT;
}

static void odp_page_unmapped(size_t idx, unsigned long slot, void *arg)
{
	struct odp *odp = arg;

	odp->unmapped++;
	if (!(slot & HMM_PFN_WRITE))
		return;
	odp->dirtied++;
	set_page_dirty(compound_head(hmm_pfn_to_page(slot)));
}

static void odp_unmap_pages(struct odp *odp, size_t idx, size_t nr)
{
	struct device *dev = &probe_edu.pdev->dev;

	for (; nr; nr--, idx++) {
		unsigned long slot = READ_ONCE(odp->map.pfn_list[idx]);

		if (hmm_dma_unmap_pfn(dev, &odp->map, idx))
			odp_page_unmapped(idx, slot, odp);
	}
}

static int odp_map_pages(struct odp *odp, size_t idx, size_t nr,
			 struct pci_p2pdma_map_state *state)
{
	struct device *dev = &probe_edu.pdev->dev;

	for (; nr; nr--, idx++) {
		if (!(READ_ONCE(odp->map.pfn_list[idx]) & HMM_PFN_VALID))
			continue;
		if (hmm_dma_map_pfn(dev, &odp->map, idx, state) ==
		    DMA_MAPPING_ERROR)
			return -EFAULT;
	}
	return 0;
}

#ifdef HMM_DMA_WHOLE
#define KNOWN_FLAGS	(HMM_ODP_RANGE | HMM_ODP_SPARSE | HMM_ODP_WHOLE)

static void odp_unmap(struct odp *odp, size_t idx, size_t nr)
{
	if (odp->flags & HMM_ODP_WHOLE) {
		idx = 0;
		nr = odp->nr;
	}
	if (odp->flags & HMM_ODP_RANGE)
		hmm_dma_unmap_range(&probe_edu.pdev->dev, &odp->map, idx, nr,
				    odp_page_unmapped, odp);
	else
		odp_unmap_pages(odp, idx, nr);
}

static int odp_map(struct odp *odp, size_t idx, size_t nr,
		   struct pci_p2pdma_map_state *state)
{
	unsigned int flags = 0;

	if (!(odp->flags & HMM_ODP_RANGE))
		return odp_map_pages(odp, idx, nr, state);
	if (odp->flags & HMM_ODP_WHOLE)
		flags |= HMM_DMA_WHOLE;
	return hmm_dma_map_range(&probe_edu.pdev->dev, &odp->map, idx, nr, flags,
				 state);
}

static unsigned long odp_range_flags(const struct odp *odp)
{
	return odp->flags & HMM_ODP_SPARSE ? HMM_RANGE_SPARSE : 0;
}
#else
#define KNOWN_FLAGS	0

static void odp_unmap(struct odp *odp, size_t idx, size_t nr)
{
	odp_unmap_pages(odp, idx, nr);
}

static int odp_map(struct odp *odp, size_t idx, size_t nr,
		   struct pci_p2pdma_map_state *state)
{
	return odp_map_pages(odp, idx, nr, state);
}

static unsigned long odp_range_flags(const struct odp *odp)
{
	return 0;
}
#endif

static bool odp_invalidate(struct mmu_interval_notifier *notifier,
			   const struct mmu_notifier_range *range,
			   unsigned long seq)
{
	struct odp *odp = container_of(notifier, struct odp, notifier);
	unsigned long end = odp->start + (odp->nr << PAGE_SHIFT);
	size_t first = odp_index(odp, max(range->start, odp->start));
	size_t last = odp_index(odp, min(range->end, end) - 1);

	if (mmu_notifier_range_blockable(range))
		mutex_lock(&odp->lock);
	else if (!mutex_trylock(&odp->lock))
		return false;
	mmu_interval_set_seq(notifier, seq);
	odp_unmap(odp, first, last - first + 1);
	mutex_unlock(&odp->lock);
	return true;
}

static const struct mmu_interval_notifier_ops odp_ops = {
	.invalidate = odp_invalidate,
};

static size_t odp_count_mapped(const struct odp *odp, size_t idx, size_t nr)
{
	size_t mapped = 0;

	for (; nr; nr--, idx++)
		mapped += !!(READ_ONCE(odp->map.pfn_list[idx]) &
			     HMM_PFN_DMA_MAPPED);
	return mapped;
}

/* Fault pages in, and return with the region's lock held if that gave 0. */
static int odp_fault_and_lock(struct odp *odp, unsigned long addr,
			      size_t npages, u64 flags)
{
	struct hmm_range range = {
		.notifier = &odp->notifier,
		.start = addr,
		.end = addr + (npages << PAGE_SHIFT),
		.hmm_pfns = odp->map.pfn_list + odp_index(odp, addr),
		.default_flags = odp_range_flags(odp),
	};
	int rc;

	if (!(flags & HMM_ODP_PRESENT))
		range.default_flags |= HMM_PFN_REQ_FAULT;
	if (flags & HMM_ODP_WRITE)
		range.default_flags |= HMM_PFN_REQ_WRITE;

	for (;;) {
		rc = hmm_range_fault_unlocked_timeout(&range, 0);
		if (rc)
			return rc;
		mutex_lock(&odp->lock);
		if (!mmu_interval_read_retry(&odp->notifier,
					     range.notifier_seq))
			return 0;
		mutex_unlock(&odp->lock);
	}
}

/* The same, and map them. */
static int odp_prepare(struct odp *odp, unsigned long addr, size_t npages,
		       u64 flags, struct pci_p2pdma_map_state *state)
{
	struct mm_struct *mm = odp->notifier.mm;
	int rc;

	if (!mmget_not_zero(mm))
		return -ESRCH;
	rc = odp_fault_and_lock(odp, addr, npages, flags);
	mmput_async(mm);
	if (rc)
		return rc;
	rc = odp_map(odp, odp_index(odp, addr), npages, state);
	if (rc)
		mutex_unlock(&odp->lock);
	return rc;
}

/* DMA */

/* Move bytes of one page to the device or back. */
static int odp_move(struct odp *odp, unsigned long addr, size_t bytes,
		    size_t buffer, bool to_ram)
{
	struct pci_p2pdma_map_state state = {};
	unsigned long page = addr & PAGE_MASK;
	dma_addr_t dma;
	int rc;

	rc = odp_prepare(odp, page, 1, to_ram ? HMM_ODP_WRITE : 0, &state);
	if (rc)
		return rc;
	dma = hmm_dma_map_pfn(&probe_edu.pdev->dev, &odp->map, odp_index(odp, page),
			      &state);
	if (dma == DMA_MAPPING_ERROR)
		rc = -EFAULT;
	else
		rc = probe_edu_move(buffer, dma + offset_in_page(addr), bytes,
				    to_ram);
	mutex_unlock(&odp->lock);
	return rc;
}

static size_t until_page_end(unsigned long addr, size_t bytes)
{
	return min(bytes, PAGE_SIZE - offset_in_page(addr));
}

/* Bytes that may lie in two pages */
static int odp_move_all(struct odp *odp, unsigned long addr, size_t bytes,
			bool to_ram)
{
	size_t done, now;
	int rc;

	for (done = 0; done < bytes; done += now) {
		now = until_page_end(addr + done, bytes - done);
		rc = odp_move(odp, addr + done, now, done, to_ram);
		if (rc)
			return rc;
	}
	return 0;
}

/* Commands */

static bool odp_holds(const struct odp *odp, u64 addr, u64 bytes)
{
	u64 size = (u64)odp->nr << PAGE_SHIFT;

	return addr >= odp->start && bytes <= size &&
	       addr - odp->start <= size - bytes;
}

static int odp_register(struct odp *odp, const void __user *arg)
{
	struct hmm_odp_region region;
	struct device *dev = &probe_edu.pdev->dev;
	int rc;

	if (copy_from_user(&region, arg, sizeof(region)))
		return -EFAULT;
	if (!PAGE_ALIGNED(region.addr) || !region.npages ||
	    region.npages > HMM_ODP_MAX_PAGES)
		return -EINVAL;
	if (region.flags & ~(u64)KNOWN_FLAGS)
		return -EOPNOTSUPP;
	if (odp->nr)
		return -EBUSY;

	rc = hmm_dma_map_alloc(dev, &odp->map, region.npages, PAGE_SIZE);
	if (rc)
		return rc;
	odp->start = region.addr;
	odp->nr = region.npages;
	odp->flags = region.flags;
	rc = mmu_interval_notifier_insert(&odp->notifier, current->mm,
					  odp->start, odp->nr << PAGE_SHIFT,
					  &odp_ops);
	if (rc) {
		hmm_dma_map_free(dev, &odp->map);
		odp->nr = 0;
	}
	return rc;
}

static int odp_prefetch(struct odp *odp, void __user *arg)
{
	struct pci_p2pdma_map_state state = {};
	struct hmm_odp_map map;
	u64 syncs;

	if (copy_from_user(&map, arg, sizeof(map)))
		return -EFAULT;
	if (!PAGE_ALIGNED(map.addr) || !map.npages ||
	    map.npages > HMM_ODP_MAX_PAGES ||
	    !odp_holds(odp, map.addr, map.npages << PAGE_SHIFT))
		return -EINVAL;

	scoped_guard(mutex, &probe_edu.watch_lock) {
		probe_edu.links = 0;
		probe_edu.fail = map.fail;
		probe_edu.fail_sync = map.fail_sync;
		syncs = atomic64_read(&probe_edu.syncs);
		WRITE_ONCE(probe_edu.mapper, current);
		map.rc = odp_prepare(odp, map.addr, map.npages, map.flags,
				     &state);
		WRITE_ONCE(probe_edu.mapper, NULL);
		map.syncs = atomic64_read(&probe_edu.syncs) - syncs;
		map.links = probe_edu.links;
	}
	if (!map.rc) {
		map.mapped = odp_count_mapped(odp, odp_index(odp, map.addr),
					      map.npages);
		mutex_unlock(&odp->lock);
	}
	return copy_to_user(arg, &map, sizeof(map)) ? -EFAULT : 0;
}

static int odp_copy(struct odp *odp, const void __user *arg)
{
	struct hmm_odp_copy copy;
	int rc = 0;

	if (copy_from_user(&copy, arg, sizeof(copy)))
		return -EFAULT;
	if (!odp_holds(odp, copy.from, copy.bytes) ||
	    !odp_holds(odp, copy.to, copy.bytes))
		return -EINVAL;
	while (copy.bytes && !rc) {
		size_t now = min(copy.bytes, PROBE_EDU_AT_ONCE);

		rc = odp_move_all(odp, copy.from, now, false);
		rc = rc ?: odp_move_all(odp, copy.to, now, true);
		copy.from += now;
		copy.to += now;
		copy.bytes -= now;
	}
	return rc;
}

/* What the IOMMU has for an entry, 0 for nothing */
static phys_addr_t odp_iommu_has(const struct odp *odp, size_t idx)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&probe_edu.pdev->dev);

	return iommu_iova_to_phys(domain,
				  odp->map.state.addr + (idx << PAGE_SHIFT));
}

/* What the page table has for it; the mmap lock is held. */
static bool odp_page_is(struct odp *odp, size_t idx, unsigned long slot)
{
	const u64 what = HMM_PFN_VALID | (unsigned long)~HMM_PFN_FLAGS;
	struct oracle_page page;

	oracle_look(odp->notifier.mm, odp->start + (idx << PAGE_SHIFT), NULL,
		    &page);
	return !((page.value ^ slot) & what) &&
	       (page.value & HMM_PFN_WRITE || !(slot & HMM_PFN_WRITE));
}

/*
 * While an entry is mapped, and the lock that its invalidation needs is held,
 * the page table, the slot and the IOMMU have the same page.
 */
static void odp_look_at_all(struct odp *odp, struct hmm_odp_state *state)
{
	size_t i;

	for (i = 0; i < odp->nr; i++) {
		unsigned long slot = READ_ONCE(odp->map.pfn_list[i]);
		bool mapped = slot & HMM_PFN_DMA_MAPPED;

		state->mapped += mapped;
		state->pending += !mapped && (slot & STICKY);
		state->wrong += odp_iommu_has(odp, i) !=
				(mapped ? hmm_pfn_to_phys(slot) : 0);
		state->stale += mapped && !odp_page_is(odp, i, slot);
	}
}

static int odp_state(struct odp *odp, void __user *arg)
{
	struct mm_struct *mm = odp->notifier.mm;
	struct hmm_odp_state state = {};

	if (!dma_use_iova(&odp->map.state))
		return -EOPNOTSUPP;
	if (!mmget_not_zero(mm))
		return -ESRCH;
	mmap_read_lock(mm);
	scoped_guard(mutex, &odp->lock) {
		odp_look_at_all(odp, &state);
		state.unmapped = odp->unmapped;
		state.dirtied = odp->dirtied;
	}
	mmap_read_unlock(mm);
	mmput(mm);
	state.syncs = atomic64_read(&probe_edu.syncs);
	return copy_to_user(arg, &state, sizeof(state)) ? -EFAULT : 0;
}

static long odp_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct odp *odp = file->private_data;
	void __user *uarg = (void __user *)arg;

	if (cmd == HMM_ODP_SYMBOLS)
		return probe_edu_watch(odp, uarg);
	if (cmd == HMM_ODP_REGISTER)
		return odp_register(odp, uarg);
	if (!odp->nr)
		return -EINVAL;
	switch (cmd) {
	case HMM_ODP_MAP:
		return odp_prefetch(odp, uarg);
	case HMM_ODP_COPY:
		return odp_copy(odp, uarg);
	case HMM_ODP_STATE:
		return odp_state(odp, uarg);
	default:
		return -ENOTTY;
	}
}

static int odp_open(struct inode *inode, struct file *file)
{
	struct odp *odp;

	if (!probe_edu.pdev)
		return -ENODEV;
	odp = kzalloc_obj(*odp);
	if (!odp)
		return -ENOMEM;
	mutex_init(&odp->lock);
	file->private_data = odp;
	return 0;
}

static int odp_release(struct inode *inode, struct file *file)
{
	struct odp *odp = file->private_data;

	probe_edu_unwatch(odp);
	if (odp->nr) {
		mutex_lock(&odp->lock);
		odp_unmap(odp, 0, odp->nr);
		mutex_unlock(&odp->lock);
		mmu_interval_notifier_remove(&odp->notifier);
		hmm_dma_map_free(&probe_edu.pdev->dev, &odp->map);
	}
	kfree(odp);
	return 0;
}

static const struct file_operations odp_fops = {
	.owner = THIS_MODULE,
	.open = odp_open,
	.release = odp_release,
	.unlocked_ioctl = odp_ioctl,
};

static struct miscdevice odp_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_probe_odp",
	.fops = &odp_fops,
	.mode = 0600,
};

int probe_odp_init(void)
{
	int rc = probe_edu_register();

	if (rc)
		return rc;
	rc = misc_register(&odp_device);
	if (rc)
		probe_edu_unregister();
	return rc;
}

void probe_odp_exit(void)
{
	misc_deregister(&odp_device);
	probe_edu_unregister();
}
