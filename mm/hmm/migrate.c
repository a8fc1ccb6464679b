// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Migration of a range of an address space: the interface for drivers. See
 * migrate.h for the stages.
 */
#include <linux/export.h>
#include <linux/hugetlb.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/secretmem.h>
#include <linux/string.h>

#include "migrate.h"

static bool is_migratable(struct vm_area_struct *vma)
{
	/* Secret memory is not even mapped for the kernel: nothing can copy it. */
	return vma && !is_vm_hugetlb_page(vma) &&
	       !(vma->vm_flags & VM_SPECIAL) && !vma_is_dax(vma) &&
	       !vma_is_secretmem(vma);
}

static int check_setup(const struct migrate_vma *args)
{
	if (!is_migratable(args->vma) || !args->src || !args->dst)
		return -EINVAL;
	if (args->flags & MIGRATE_VMA_SWAP_IN &&
	    args->flags & MIGRATE_VMA_UNDER_VMA_LOCK)
		return -EINVAL;
	if (args->start >= args->end || args->start < args->vma->vm_start ||
	    args->end > args->vma->vm_end)
		return -EINVAL;
	if (args->fault_page && (!is_device_private_page(args->fault_page) ||
				 !PageLocked(args->fault_page)))
		return -EINVAL;
	return 0;
}

/**
 * migrate_vma_setup() - begin to migrate a range of an address space
 * @args: what to migrate: &migrate_vma.vma, ->start and ->end within it, what to
 *	select by ->flags and ->pgmap_owner, and room for the entries of all of
 *	its pages in ->src and ->dst
 *
 * In return, an entry of ->src says of each page of the range:
 *
 * - %MIGRATE_PFN_VALID and %MIGRATE_PFN_MIGRATE: the page (migrate_pfn_to_page())
 *   may be copied. It is locked, mapped nowhere, and does not change;
 *   %MIGRATE_PFN_WRITE says that the mapping was writable. With
 *   %MIGRATE_PFN_COMPOUND it is the first of a large folio that goes as a whole,
 *   and the entries of the other pages are 0.
 * - %MIGRATE_PFN_MIGRATE: there is nothing, and the driver may supply a page;
 *   with %MIGRATE_PFN_COMPOUND a folio of the size of a PMD.
 * - 0: not selected, or it cannot be had now.
 *
 * For what it wants to migrate, the driver then allocates destinations, locks
 * them, copies, and stores each by migrate_pfn() in ->dst, large ones with
 * %MIGRATE_PFN_COMPOUND in the entry of their first page only. An entry of ->dst
 * that stays 0 leaves its page where it is. Destinations may be smaller than what they are for: then that is split.
 * After that come migrate_vma_pages() and migrate_vma_finalize(), whatever the
 * driver has achieved.
 *
 * Context: Process context, may sleep. mmap_lock is held at least for reading
 * until migrate_vma_finalize() has returned; in a CPU fault under the VMA lock,
 * that lock, with %MIGRATE_VMA_UNDER_VMA_LOCK in ->flags.
 *
 * Return: 0, with the number of entries to be migrated in ->cpages, or -EINVAL
 * for a range or a mapping that cannot be migrated, flags that exclude one
 * another, or a ->fault_page that is not a locked page of device-private memory.
 */
int migrate_vma_setup(struct migrate_vma *args)
{
	size_t size;
	int ret;

	args->start &= PAGE_MASK;
	args->end &= PAGE_MASK;
	ret = check_setup(args);
	if (ret)
		return ret;

	args->npages = (args->end - args->start) >> PAGE_SHIFT;
	args->cpages = 0;
	size = args->npages * sizeof(*args->src);
	memset(args->src, 0, size);
	memset(args->dst, 0, size);

	if (args->flags & MIGRATE_VMA_SWAP_IN)
		migrate_swap_in(args);
	migrate_collect(args);
	args->cpages = migrate_unmap(args);
	return 0;
}
EXPORT_SYMBOL(migrate_vma_setup);

/**
 * migrate_vma_pages() - make the destinations what the sources were
 * @migrate: from migrate_vma_setup(), with ->dst filled in
 *
 * Where %MIGRATE_PFN_MIGRATE still stands in ->src after this, the page has moved
 * to its destination, or the hole is filled. All folios are still locked: this is
 * the time to change the device's page table.
 *
 * Context: Process context, may sleep, under the lock of migrate_vma_setup().
 */
void migrate_vma_pages(struct migrate_vma *migrate)
{
	migrate_install(migrate);
}
EXPORT_SYMBOL(migrate_vma_pages);

/**
 * migrate_vma_finalize() - map what has moved, and what has not
 * @migrate: from migrate_vma_pages()
 *
 * The CPU uses the destinations after this, or the sources where those stay. All
 * folios are unlocked, and the references from migrate_vma_setup() and of the
 * driver to its destinations are dropped.
 *
 * Context: Process context, may sleep, under the lock of migrate_vma_setup().
 */
void migrate_vma_finalize(struct migrate_vma *migrate)
{
	migrate_finalize(migrate);
}
EXPORT_SYMBOL(migrate_vma_finalize);
