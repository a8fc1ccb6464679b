// SPDX-License-Identifier: GPL-2.0
/*
 * A driver's HMM code: a mirror of a process, device faults, private memory to
 * which pages migrate and from which CPU faults and eviction bring them back,
 * and exclusive access.
 */
#include <linux/device_exclusive.h>
#include <linux/hmm-migrate.h>
#include <linux/ioport.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "small_driver.h"

#define SMALL_STEP	PTRS_PER_PTE	/* pages of a device fault */

static bool small_may_use(const struct small_mirror *mirror,
			  unsigned long start, unsigned long end)
{
	return start >= mirror->start && end <= mirror->end;
}

/* The mirror */

/* The driver's own migrations are heeded like any other event. */
static bool small_invalidate(struct mmu_interval_notifier *notifier,
			     const struct mmu_notifier_range *range,
			     unsigned long seq)
{
	struct small_mirror *mirror =
		container_of(notifier, struct small_mirror, notifier);

	if (range->event == MMU_NOTIFY_EXCLUSIVE && range->owner == mirror)
		return true;
	if (mmu_notifier_range_blockable(range))
		mutex_lock(&mirror->lock);
	else if (!mutex_trylock(&mirror->lock))
		return false;
	mmu_interval_set_seq(notifier, seq);
	small_table_clear(mirror, range->start, range->end);
	mutex_unlock(&mirror->lock);
	return true;
}

static const struct mmu_interval_notifier_ops small_notifier_ops = {
	.invalidate = small_invalidate,
};

struct small_mirror *small_mirror_create(struct mm_struct *mm)
{
	struct small_mirror *mirror = kzalloc_obj(*mirror);
	int ret;

	if (!mirror)
		return ERR_PTR(-ENOMEM);
	mutex_init(&mirror->lock);
	xa_init(&mirror->table);
	mirror->end = ULONG_MAX & PAGE_MASK;
	ret = mmu_interval_notifier_insert(&mirror->notifier, mm, 0,
					   mirror->end, &small_notifier_ops);
	if (!ret)
		return mirror;
	kfree(mirror);
	return ERR_PTR(ret);
}

void small_mirror_destroy(struct small_mirror *mirror)
{
	mmu_interval_notifier_remove(&mirror->notifier);
	xa_destroy(&mirror->table);
	kfree(mirror);
}

static void small_confine(struct mmu_interval_notifier *notifier,
			  unsigned long start, unsigned long end)
{
	struct small_mirror *mirror =
		container_of(notifier, struct small_mirror, notifier);

	guard(mutex)(&mirror->lock);
	mirror->start = start;
	mirror->end = end;
	small_table_clear(mirror, 0, start);
	small_table_clear(mirror, end, ULONG_MAX);
}

int small_resize(struct small_mirror *mirror, unsigned long start,
		 unsigned long length)
{
	return mmu_interval_notifier_confine(&mirror->notifier, start, length,
					     small_confine);
}

/* Exclusive access */

static int small_add_pages(struct device_exclusive_commit *commit,
			   unsigned long addr, struct page **pages,
			   unsigned long npages)
{
	struct small_mirror *mirror =
		container_of(commit->notifier, struct small_mirror, notifier);

	if (!small_may_use(mirror, addr, addr + npages * PAGE_SIZE))
		return -ERANGE;
	small_hardware_add(pages, npages);
	return 0;
}

int small_add(struct small_mirror *mirror, unsigned long addr,
	      unsigned long end, unsigned long timeout)
{
	struct device_exclusive_commit commit = {
		.notifier = &mirror->notifier,
		.start = addr,
		.end = end,
		.owner = mirror,
		.timeout = timeout,
		.mutex = &mirror->lock,
		.program = small_add_pages,
	};

	return device_exclusive_commit(&commit);
}

/* Private memory */

static struct folio *small_alloc(void *arg, unsigned int order)
{
	unsigned long pfn;

	if (!small_hardware_reserve(order, &pfn))
		return NULL;
	return migrate_device_folio(&small_pgmap, pfn, order);
}

static int small_copy(void *arg, const unsigned long *src, unsigned long *dst,
		      unsigned long npages)
{
	struct migrate_run run;

	for_each_migrate_run(run, src, dst, npages)
		small_hardware_copy(run.to, run.from, run.nr);
	return 0;
}

static void small_free(struct folio *folio)
{
	small_hardware_release(folio_pfn(folio), folio_nr_pages(folio));
}

static vm_fault_t small_cpu_fault(struct vm_fault *vmf)
{
	return migrate_device_fault(vmf, small_copy, NULL);
}

/* Device faults */

static int small_program(const struct hmm_range *range)
{
	struct small_mirror *mirror =
		container_of(range->notifier, struct small_mirror, notifier);
	unsigned long addr, nr, entry;
	int ret = 0;

	if (!small_may_use(mirror, range->start, range->end))
		return -ERANGE;
	for_each_hmm_run(range, addr, nr, entry)
		ret = ret ?: small_table_set(mirror, addr,
					     hmm_pfn_to_page(entry), nr,
					     entry & HMM_PFN_WRITE);
	return ret;
}

static int small_commit(struct hmm_commit *commit)
{
	return small_program(commit->range);
}

static int small_map(struct hmm_migrate *place, struct hmm_range *part)
{
	return small_program(part);
}

static const struct hmm_migrate_ops small_place_ops = { .map = small_map };

/* With @call, a fault with placement: what the device uses goes to its memory. */
int small_fault(struct small_mirror *mirror, unsigned long addr,
		unsigned long end, bool write, struct small_call *call)
{
	unsigned long *pfns __free(kfree) =
		kmalloc_array(3 * SMALL_STEP, sizeof(*pfns), GFP_KERNEL);
	struct hmm_migrate place = {
		.range = {
			.notifier = &mirror->notifier,
			.hmm_pfns = pfns,
			.default_flags = HMM_PFN_REQ_FAULT |
					 (write ? HMM_PFN_REQ_WRITE : 0) |
					 (call ? 0 : HMM_RANGE_SPARSE),
			.dev_private_owner = &small_pgmap,
		},
		.flags = MIGRATE_VMA_SELECT_FOLIOS,
		.src = pfns + SMALL_STEP,
		.dst = pfns + 2 * SMALL_STEP,
		.mutex = &mirror->lock,
		.alloc = small_alloc,
		.copy = small_copy,
	};
	struct hmm_commit commit = {
		.range = &place.range,
		.timeout = HMM_RANGE_DEFAULT_JIFFIES,
		.mutex = &mirror->lock,
		.program = small_commit,
	};
	int ret = pfns ? 0 : -ENOMEM;

	for (; addr < end && !ret; addr = place.range.end) {
		place.range.start = addr;
		place.range.end = pmd_addr_end(addr, end);
		ret = call ? hmm_range_migrate(&place, &small_place_ops,
					       HMM_RANGE_DEFAULT_JIFFIES) :
			     hmm_range_commit(&commit);
		if (call)
			call->moved += place.moved;
	}
	return ret;
}

/* Migration */

int small_migrate(struct small_mirror *mirror, unsigned long addr,
		  unsigned long end, bool to_device, struct small_call *call)
{
	struct migrate_range range = {
		.mm = mirror->notifier.mm,
		.start = addr,
		.end = end,
		.pgmap_owner = &small_pgmap,
		.alloc = small_alloc,
		.copy = small_copy,
	};
	int ret = to_device ? migrate_range_to_device(&range) :
			      migrate_range_to_system(&range);

	call->moved = range.moved;
	call->filled = range.filled;
	call->failed = range.failed;
	return ret;
}

int small_evict(struct small_call *call)
{
	struct migrate_evict evict = {
		.start = PHYS_PFN(small_pgmap.range.start),
		.npages = SMALL_PAGES,
		.timeout = 10 * HZ,
		.copy = small_copy,
	};
	int ret = migrate_device_evict(&evict);

	call->moved = evict.moved;
	call->failed = evict.remaining;
	return ret;
}

static const struct dev_pagemap_ops small_pgmap_ops = {
	.folio_free = small_free,
	.migrate_to_ram = small_cpu_fault,
};

struct dev_pagemap small_pgmap = {
	.type = MEMORY_DEVICE_PRIVATE,
	.flags = PGMAP_FAULT_VMA_LOCK,
	.nr_range = 1,
	.ops = &small_pgmap_ops,
	.owner = &small_pgmap,
};

int small_memory_create(void)
{
	struct resource *region;
	void *ret;

	region = request_free_mem_region(&iomem_resource,
					 SMALL_PAGES * PAGE_SIZE,
					 "small_driver");
	if (IS_ERR(region))
		return PTR_ERR(region);
	small_pgmap.range.start = region->start;
	small_pgmap.range.end = region->end;
	ret = memremap_pages(&small_pgmap, NUMA_NO_NODE);
	if (!IS_ERR(ret))
		return small_hardware_start(PHYS_PFN(region->start));
	release_mem_region(region->start, resource_size(region));
	return PTR_ERR(ret);
}

/* Waits until no page is in use. */
void small_memory_destroy(void)
{
	struct small_call call;

	small_evict(&call);
	memunmap_pages(&small_pgmap);
	release_mem_region(small_pgmap.range.start,
			   range_len(&small_pgmap.range));
	small_hardware_stop();
}
