// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Migration of a range of an address space, whatever VMAs it has, in chunks: a
 * chunk is below one PMD and in one VMA. mmap_lock is dropped between them.
 */
#include <linux/export.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "migrate.h"

#define MIGRATE_RANGE_CHUNK	PTRS_PER_PTE

/* Count what has migrated, after migrate_vma_pages(). */
static void migrate_range_count(struct migrate_range *range,
				const struct migrate_vma *migrate)
{
	unsigned long i;

	for (i = 0; i < migrate->npages; i++) {
		struct folio *to = migrate_folio_of(migrate->dst[i]);

		if (!to || !(migrate->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		if (migrate->src[i] & MIGRATE_PFN_VALID)
			range->moved += folio_nr_pages(to);
		else
			range->filled += folio_nr_pages(to);
	}
}

static int migrate_range_copy(struct migrate_range *range,
			      struct migrate_vma *migrate)
{
	bool to_device = migrate->flags & MIGRATE_VMA_TO_DEVICE;
	struct migrate_run run;
	int ret;

	range->failed += migrate_fill(migrate, to_device,
				      to_device ? range->alloc : NULL,
				      range->arg);
	ret = range->copy(range->arg, migrate->src, migrate->dst,
			  migrate->npages);
	if (!ret)
		return 0;
	for_each_migrate_run(run, migrate->src, migrate->dst, migrate->npages)
		range->failed += run.nr;
	migrate_discard(migrate->dst, migrate->npages);
	return ret;
}

/* mmap_lock is held. */
static int migrate_range_chunk(struct migrate_range *range,
			       struct migrate_vma *migrate)
{
	int ret = 0;

	/* Not memory that can migrate, such as hugetlb: skipped */
	if (migrate_vma_setup(migrate))
		return 0;
	if (migrate->cpages)
		ret = migrate_range_copy(range, migrate);
	migrate_vma_pages(migrate);
	migrate_range_count(range, migrate);
	migrate_vma_finalize(migrate);
	return ret;
}

/*
 * Migrate what comes first from migrate->end on, and set migrate->end to the end
 * of that, or of the range.
 */
static int migrate_range_next(struct migrate_range *range,
			      struct migrate_vma *migrate)
{
	int ret = 0;

	if (mmap_read_lock_killable(range->mm))
		return -EINTR;
	migrate->vma = find_vma_intersection(range->mm, migrate->end,
					     range->end);
	if (migrate->vma) {
		migrate->start = max(migrate->end, migrate->vma->vm_start);
		migrate->end = pmd_addr_end(migrate->start,
					    min(range->end,
						migrate->vma->vm_end));
		if (vma_is_accessible(migrate->vma))
			ret = migrate_range_chunk(range, migrate);
	} else {
		migrate->end = range->end;
	}
	mmap_read_unlock(range->mm);
	return ret;
}

static int migrate_range_run(struct migrate_range *range, unsigned long flags)
{
	struct migrate_vma migrate = {
		.end = range->start,
		.pgmap_owner = range->pgmap_owner,
		.flags = flags | MIGRATE_VMA_SELECT_FOLIOS,
	};
	int ret = 0;

	range->moved = 0;
	range->filled = 0;
	range->failed = 0;
	if (range->start >= range->end ||
	    !PAGE_ALIGNED(range->start | range->end))
		return -EINVAL;
	migrate.src = kvmalloc_array(2 * MIGRATE_RANGE_CHUNK,
				     sizeof(*migrate.src), GFP_KERNEL);
	if (!migrate.src)
		return -ENOMEM;
	migrate.dst = migrate.src + MIGRATE_RANGE_CHUNK;
	while (migrate.end < range->end && !ret) {
		ret = fatal_signal_pending(current) ?
			-EINTR : migrate_range_next(range, &migrate);
		cond_resched();
	}
	kvfree(migrate.src);
	return ret;
}

/**
 * migrate_range_to_device() - migrate a range to device memory
 * @range: the range and the driver's callbacks
 *
 * System memory in the range migrates to device memory: pages are swapped in
 * first, large folios migrate as a whole if &migrate_range.alloc has a folio as
 * large, and holes are filled. Addresses without a VMA, and memory that cannot
 * migrate or cannot be accessed, are skipped, as are pages that are locked or
 * pinned. The driver finds out where a page is by hmm_range_fault().
 *
 * Context: Process context, may sleep. Takes mmap_lock, again and again; the
 * caller keeps the mm alive.
 *
 * Return: 0; -EINVAL if the range is empty or not page aligned; -EINTR after a
 * fatal signal; -ENOMEM; or the error of &migrate_range.copy. The numbers of
 * pages in @range are valid also after an error.
 */
int migrate_range_to_device(struct migrate_range *range)
{
	return migrate_range_run(range, MIGRATE_VMA_SELECT_SYSTEM |
					MIGRATE_VMA_TO_DEVICE |
					MIGRATE_VMA_SWAP_IN);
}
EXPORT_SYMBOL_GPL(migrate_range_to_device);

/**
 * migrate_range_to_system() - migrate a range to system memory
 * @range: the range and the driver's callbacks
 *
 * As migrate_range_to_device(), for the device memory of
 * &migrate_range.pgmap_owner in the range. Holes are not filled.
 *
 * Context: As migrate_range_to_device().
 *
 * Return: as migrate_range_to_device().
 */
int migrate_range_to_system(struct migrate_range *range)
{
	return migrate_range_run(range, MIGRATE_VMA_SELECT_DEVICE_PRIVATE |
					MIGRATE_VMA_SELECT_DEVICE_COHERENT);
}
EXPORT_SYMBOL_GPL(migrate_range_to_system);
