// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * migrate_vma_*(): migrate a range of an address space. See migrate.h for the
 * stages.
 */
#include <linux/export.h>
#include <linux/hugetlb.h>
#include <linux/lockdep.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/secretmem.h>
#include <linux/string.h>

#include "migrate.h"

/* Can pages of @vma, which may be %NULL, migrate at all? */
bool migrate_vma_is_migratable(struct vm_area_struct *vma)
{
	/* The kernel does not map secret memory, and cannot copy it. */
	return vma && !is_vm_hugetlb_page(vma) &&
	       !(vma->vm_flags & VM_SPECIAL) && !vma_is_dax(vma) &&
	       !vma_is_secretmem(vma);
}

/*
 * Does the caller hold the lock that its flags say? A driver that declares
 * PGMAP_FAULT_VMA_LOCK must pass on that it was called under the VMA lock. Only
 * lockdep knows whether mmap_lock is held by the caller, or by another task.
 */
static bool migrate_vma_is_locked(const struct migrate_vma *args)
{
	struct rw_semaphore *lock = &args->vma->vm_mm->mmap_lock;

	if (args->flags & MIGRATE_VMA_UNDER_VMA_LOCK)
		return true;
#ifdef CONFIG_LOCKDEP
	return lockdep_is_held(lock);
#else
	return rwsem_is_locked(lock);
#endif
}

static int migrate_vma_check(const struct migrate_vma *args)
{
	if (!migrate_vma_is_migratable(args->vma) || !args->src || !args->dst)
		return -EINVAL;
	if (args->flags & MIGRATE_VMA_PRIVATE)
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
	if (WARN_ON_ONCE(!migrate_vma_is_locked(args)))
		return -EINVAL;
	return 0;
}

/**
 * migrate_vma_setup() - begin to migrate a range of an address space
 * @args: what to migrate: &migrate_vma.vma, ->start and ->end within it, what
 *	->flags and ->pgmap_owner select, and ->src and ->dst with room for an
 *	entry for each page
 *
 * Returns an entry in ->src for each page of the range:
 *
 * - %MIGRATE_PFN_VALID and %MIGRATE_PFN_MIGRATE: the page, as of
 *   migrate_pfn_to_page(), can be copied. It is locked, mapped nowhere, and
 *   does not change. %MIGRATE_PFN_WRITE is set if the mapping was writable.
 *   With %MIGRATE_PFN_COMPOUND, it is the first page of a large folio that
 *   migrates as a whole, and the entries of its other pages are 0.
 * - %MIGRATE_PFN_MIGRATE alone: a hole, which the driver may fill with a page;
 *   with %MIGRATE_PFN_COMPOUND, with a folio of the size of a PMD. Holes are
 *   found whatever ->flags select: a driver that migrates to system memory
 *   should leave them, and has nothing to copy to them. migrate_fill() can.
 * - 0: the page is not selected, or cannot be migrated now.
 *
 * For each page that it wants to migrate, the driver then allocates a
 * destination, locks it, copies the page, and stores migrate_pfn() of the
 * destination in ->dst; for a large destination, with %MIGRATE_PFN_COMPOUND and
 * in the entry of its first page only. A page whose entry of ->dst stays 0 does
 * not migrate. If a destination is smaller than its source, the source is
 * split. The driver must call migrate_vma_pages() and migrate_vma_finalize()
 * after that, even if it migrates nothing.
 *
 * Context: Process context, may sleep. mmap_lock is held at least for reading
 * until migrate_vma_finalize() has returned; or, in a CPU fault under the VMA
 * lock, that lock, with %MIGRATE_VMA_UNDER_VMA_LOCK in ->flags.
 *
 * Return: 0, with the number of entries that can be migrated in ->cpages, or
 * -EINVAL for a range or a mapping that cannot be migrated, for flags that
 * exclude each other, or for a ->fault_page that is not a locked page of
 * device-private memory; also, with a warning, if neither mmap_lock is held nor
 * %MIGRATE_VMA_UNDER_VMA_LOCK set. migrate_vma_init_fault() sets it.
 */
int migrate_vma_setup(struct migrate_vma *args)
{
	size_t size;
	int ret;

	args->start &= PAGE_MASK;
	args->end &= PAGE_MASK;
	ret = migrate_vma_check(args);
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
 * migrate_vma_pages() - replace sources by destinations
 * @migrate: from migrate_vma_setup(), with ->dst filled in
 *
 * If %MIGRATE_PFN_MIGRATE is still set in an entry of ->src after this, the
 * page has migrated to its destination, or the hole is filled. All folios are
 * still locked: now is the time to update the device's page table.
 *
 * Context: Process context, may sleep, under the lock of migrate_vma_setup().
 */
void migrate_vma_pages(struct migrate_vma *migrate)
{
	migrate_install(migrate);
}
EXPORT_SYMBOL(migrate_vma_pages);

/**
 * migrate_vma_finalize() - map the pages again, migrated or not
 * @migrate: from migrate_vma_pages()
 *
 * CPUs use the destinations after this, or the sources of pages that have not
 * migrated. Unlocks all folios, and drops the references that
 * migrate_vma_setup() took and those of the driver to its destinations.
 *
 * Context: Process context, may sleep, under the lock of migrate_vma_setup().
 */
void migrate_vma_finalize(struct migrate_vma *migrate)
{
	migrate_finalize(migrate);
}
EXPORT_SYMBOL(migrate_vma_finalize);
