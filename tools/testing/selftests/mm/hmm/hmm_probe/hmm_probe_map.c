// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings of which HMM must not hand out pages. One page, or one huge page,
 * is mapped at every address; it is not accessed through the mapping.
 */
#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/mutex.h>

#include "hmm_probe.h"

static DEFINE_MUTEX(map_lock);
static struct page *map_pages;	/* PMD_SIZE of them; made by the first fault */

static int map_pfn(unsigned long *pfn)
{
	guard(mutex)(&map_lock);

	if (!map_pages)
		map_pages = alloc_pages(GFP_KERNEL | __GFP_ZERO,
					PMD_SHIFT - PAGE_SHIFT);
	if (!map_pages)
		return -ENOMEM;
	*pfn = page_to_pfn(map_pages);
	return 0;
}

void probe_map_exit(void)
{
	if (map_pages)
		__free_pages(map_pages, PMD_SHIFT - PAGE_SHIFT);
}

static vm_fault_t fault_mixed(struct vm_fault *vmf)
{
	unsigned long pfn;

	if (map_pfn(&pfn))
		return VM_FAULT_OOM;
	return vmf_insert_mixed(vmf->vma, vmf->address & PAGE_MASK, pfn);
}

static vm_fault_t fault_pfnmap(struct vm_fault *vmf)
{
	unsigned long pfn;

	if (map_pfn(&pfn))
		return VM_FAULT_OOM;
	return vmf_insert_pfn(vmf->vma, vmf->address & PAGE_MASK, pfn);
}

static bool vma_covers(struct vm_area_struct *vma, unsigned long addr,
		       unsigned long size)
{
	unsigned long start = ALIGN_DOWN(addr, size);

	return start >= vma->vm_start && start + size <= vma->vm_end;
}

#ifdef CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD
#define PUD_PAGES	(PUD_SIZE >> PAGE_SHIFT)

static bool has_memory(unsigned long start)
{
	unsigned long pfn;

	for (pfn = start; pfn < start + PUD_PAGES; pfn += PAGES_PER_SECTION)
		if (pfn_valid(pfn))
			return true;
	return false;
}

/*
 * A huge PUD for physical addresses that have no memory: the
 * kernel can look at the entry, but an access through it is undefined.
 */
static vm_fault_t fault_pud(struct vm_fault *vmf)
{
	unsigned long pfn = 0;

	if (!vma_covers(vmf->vma, vmf->address, PUD_SIZE))
		return VM_FAULT_FALLBACK;
	while (has_memory(pfn))
		pfn += PUD_PAGES;
	return vmf_insert_pfn_pud(vmf, pfn, vmf->flags & FAULT_FLAG_WRITE);
}
#else
static vm_fault_t fault_pud(struct vm_fault *vmf)
{
	return VM_FAULT_FALLBACK;
}
#endif

static vm_fault_t fault_huge(struct vm_fault *vmf, unsigned int order)
{
	unsigned long pfn;

	if (order == PUD_SHIFT - PAGE_SHIFT)
		return fault_pud(vmf);
	if (order != PMD_SHIFT - PAGE_SHIFT ||
	    !vma_covers(vmf->vma, vmf->address, PMD_SIZE))
		return VM_FAULT_FALLBACK;
	if (map_pfn(&pfn))
		return VM_FAULT_OOM;
	return vmf_insert_pfn_pmd(vmf, pfn, vmf->flags & FAULT_FLAG_WRITE);
}

static const struct vm_operations_struct mixed_ops = {
	.fault = fault_mixed,
};

static const struct vm_operations_struct pfnmap_ops = {
	.fault = fault_pfnmap,
};

static const struct vm_operations_struct huge_ops = {
	.fault = fault_mixed,
	.huge_fault = fault_huge,
};

int probe_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long kind_pages = 1UL << (HMM_PROBE_MAP_SHIFT - PAGE_SHIFT);

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff % kind_pages + vma_pages(vma) > kind_pages)
		return -EINVAL;

	switch (vma->vm_pgoff / kind_pages) {
	case HMM_PROBE_MAP_MIXED:
		vm_flags_set(vma, VM_MIXEDMAP);
		vma->vm_ops = &mixed_ops;
		return 0;
	case HMM_PROBE_MAP_PFNMAP:
		vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND);
		vma->vm_ops = &pfnmap_ops;
		return 0;
	case HMM_PROBE_MAP_HUGE:
		vm_flags_set(vma, VM_MIXEDMAP);
		vma->vm_ops = &huge_ops;
		return 0;
	default:
		return -EINVAL;
	}
}
