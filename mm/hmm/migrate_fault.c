// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A CPU fault on device-private memory, for &dev_pagemap_ops.migrate_to_ram.
 */
#include <linux/export.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "migrate.h"

/* Entries that need no allocation */
#define MIGRATE_FAULT_SMALL	16

/**
 * migrate_vma_init_fault() - set up a migration from a CPU fault
 * @migrate: receives everything but ->src and ->dst
 * @vmf: the fault, as &dev_pagemap_ops.migrate_to_ram is called with it
 *
 * The range is that of the page's folio, as if all of it were mapped around the
 * fault in order, as far as it is in the VMA. What of it is not mapped so is
 * handled by migrate_vma_setup(), which splits the folio. Other folios of the
 * same device that are mapped in the range migrate as well.
 *
 * Drivers may declare %PGMAP_FAULT_VMA_LOCK.
 *
 * Context: As &dev_pagemap_ops.migrate_to_ram.
 */
void migrate_vma_init_fault(struct migrate_vma *migrate,
			    const struct vm_fault *vmf)
{
	struct folio *folio = page_folio(vmf->page);
	unsigned long before = folio_page_idx(folio, vmf->page) << PAGE_SHIFT;
	unsigned long after = folio_size(folio) - before;
	unsigned long addr = ALIGN_DOWN(vmf->address, PAGE_SIZE);
	struct vm_area_struct *vma = vmf->vma;

	/* For a PTE, the page is that of the fault; for a PMD, the first. */
	if (!vmf->pte)
		addr = ALIGN_DOWN(addr, PMD_SIZE);
	*migrate = (struct migrate_vma){
		.vma = vma,
		.start = addr - min(before, addr - vma->vm_start),
		.end = addr + min(after, vma->vm_end - addr),
		.pgmap_owner = page_pgmap(vmf->page)->owner,
		.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE |
			 MIGRATE_VMA_SELECT_FOLIOS,
		.fault_page = vmf->page,
	};
	if (vmf->flags & FAULT_FLAG_VMA_LOCK)
		migrate->flags |= MIGRATE_VMA_UNDER_VMA_LOCK;
}
EXPORT_SYMBOL_GPL(migrate_vma_init_fault);

/* Does the page at this entry have a destination? */
static bool migrate_fault_has_dst(const struct migrate_vma *migrate,
				  unsigned long i)
{
	struct migrate_run run;

	for_each_migrate_run(run, migrate->src, migrate->dst, migrate->npages)
		if (i - run.index < run.nr)
			return true;
	return false;
}

/* Between setup and pages. Returns the result of the fault. */
static vm_fault_t migrate_fault_copy(struct migrate_vma *migrate,
				     unsigned long i, migrate_copy_fn copy,
				     void *arg)
{
	int ret;

	if (migrate_fill(migrate, false, NULL, NULL) &&
	    !migrate_fault_has_dst(migrate, i)) {
		migrate_discard(migrate->dst, migrate->npages);
		return VM_FAULT_OOM;
	}
	ret = copy(arg, migrate->src, migrate->dst, migrate->npages);
	if (!ret)
		return 0;
	migrate_discard(migrate->dst, migrate->npages);
	return vmf_error(ret);
}

static vm_fault_t migrate_fault_run(struct migrate_vma *migrate,
				    unsigned long addr, migrate_copy_fn copy,
				    void *arg)
{
	vm_fault_t ret = 0;

	if (migrate_vma_setup(migrate))
		return VM_FAULT_SIGBUS;
	if (migrate->cpages)
		ret = migrate_fault_copy(migrate, migrate_index(migrate, addr),
					 copy, arg);
	migrate_vma_pages(migrate);
	migrate_vma_finalize(migrate);
	return ret;
}

/**
 * migrate_device_fault() - migrate what the CPU has faulted on
 * @vmf: the fault
 * @copy: copies to system memory, which this allocates
 * @arg: for @copy
 *
 * All that &dev_pagemap_ops.migrate_to_ram must do. The folio of the page
 * migrates as a whole if memory for that can be allocated, in smaller parts
 * otherwise. Holes around it are not filled.
 *
 * Context: As &dev_pagemap_ops.migrate_to_ram, also under the VMA lock, with
 * %PGMAP_FAULT_VMA_LOCK.
 *
 * Return: 0 to repeat the access, which faults again if the page could not be
 * migrated now; VM_FAULT_OOM; or what @copy's error stands for, as of
 * vmf_error().
 */
vm_fault_t migrate_device_fault(struct vm_fault *vmf, migrate_copy_fn copy,
				void *arg)
{
	unsigned long small[2 * MIGRATE_FAULT_SMALL];
	unsigned long *entries = small, nr;
	struct migrate_vma migrate;
	vm_fault_t ret;

	migrate_vma_init_fault(&migrate, vmf);
	nr = migrate_index(&migrate, migrate.end);
	if (nr > MIGRATE_FAULT_SMALL) {
		entries = kvmalloc_array(2 * nr, sizeof(*entries), GFP_KERNEL);
		if (!entries)
			return VM_FAULT_OOM;
	}
	migrate.src = entries;
	migrate.dst = entries + nr;
	ret = migrate_fault_run(&migrate, vmf->address, copy, arg);
	if (entries != small)
		kvfree(entries);
	return ret;
}
EXPORT_SYMBOL_GPL(migrate_device_fault);
