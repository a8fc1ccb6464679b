/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fault and migrate in one walk: what a device needs after a fault on memory
 * that belongs in its own memory.
 */
#ifndef LINUX_HMM_MIGRATE_H
#define LINUX_HMM_MIGRATE_H

#include <linux/hmm.h>
#include <linux/migrate_device.h>

struct hmm_migrate;
struct mutex;

/**
 * struct hmm_migrate_ops - the driver's part of hmm_range_migrate()
 *
 * @map is required. @lock and @unlock are, if &hmm_migrate.mutex is %NULL, and
 * @copy is, if &hmm_migrate.alloc is %NULL; otherwise they must be %NULL.
 *
 * @reserve: Make sure that destinations for @npages pages can be allocated,
 *	which may evict other memory. Called at most once in a call, before any
 *	page is unmapped, when there is a page that may move. @npages is the
 *	number of pages from that one to the end of the range. Returns 0 or a
 *	negative errno, which ends the call. May sleep and allocate memory: no
 *	lock is held.
 * @unreserve: The call is over, and @reserve had returned 0.
 * @copy: For each entry of &migrate_vma.src in @part that can be migrated,
 *	allocate and lock a destination, begin to copy, and store the
 *	destination in ->dst, as between migrate_vma_setup() and
 *	migrate_vma_pages(). Pages without a destination stay where they are.
 *	If this returns a negative errno, so do all pages of the part; the
 *	destinations are put, and the call ends with this errno. May sleep, but
 *	folios are locked, and mmap_lock or the VMA's lock is held: it must not
 *	fault, evict, or wait for another migration.
 * @wait: Wait until the copies that @copy has begun are complete, or return a
 *	negative errno with the same effect as one of @copy. May sleep, as @copy.
 *	This comes before anything is mapped, since a copy that fails later
 *	could not be undone.
 * @lock: Take the lock that the notifier's invalidate callback takes.
 * @unlock: Drop it.
 * @map: Program the device from the answers of @part, whose sequence has been
 *	checked under the driver's lock, which is held. A negative errno ends the
 *	call; what has moved stays moved. The folios that have moved are locked.
 */
struct hmm_migrate_ops {
	int (*reserve)(struct hmm_migrate *hmm, unsigned long npages);
	void (*unreserve)(struct hmm_migrate *hmm);
	int (*copy)(struct hmm_migrate *hmm, struct migrate_vma *part);
	int (*wait)(struct hmm_migrate *hmm, struct migrate_vma *part);
	void (*lock)(struct hmm_migrate *hmm);
	void (*unlock)(struct hmm_migrate *hmm);
	int (*map)(struct hmm_migrate *hmm, struct hmm_range *part);
};

/**
 * struct hmm_migrate - a range to mirror, and to move to the device
 *
 * Usually embedded in a structure with what the callbacks need.
 *
 * @range: as for hmm_range_fault(), page aligned. Its ->dev_private_owner is
 *	also the owner of the destinations. ->notifier_seq is not for the caller.
 * @flags: %MIGRATE_VMA_SELECT_COMPOUND or %MIGRATE_VMA_SELECT_FOLIOS, if large
 *	folios may move as a whole
 * @src: one entry for each page of the range; need not be initialised. After
 *	the call, see hmm_migrate_why().
 * @dst: likewise; of no meaning after the call
 * @mutex: the lock that the notifier's invalidate callback takes; %NULL if it is
 *	of another type, for &hmm_migrate_ops.lock
 * @alloc: allocates a folio of device memory; %NULL if &hmm_migrate_ops.copy
 *	allocates all
 * @copy: copies to what @alloc has returned; %NULL without it
 * @arg: for @alloc and @copy
 * @moved: (out) number of pages that were moved, or that fill holes, in all
 *	attempts
 * @retries: (out) how often a part of the range was begun again because an
 *	invalidation had collided, be it one of the migration itself
 */
struct hmm_migrate {
	struct hmm_range range;
	unsigned long flags;
	unsigned long *src;
	unsigned long *dst;
	struct mutex *mutex;	/* the driver's */
	migrate_alloc_fn alloc;
	migrate_copy_fn copy;
	void *arg;
	unsigned long moved;
	unsigned int retries;
};

/**
 * hmm_migrate_why() - why a page was not migrated
 * @src: its entry of &hmm_migrate.src after hmm_range_migrate()
 *
 * Return: the reason of the last attempt; %MIGRATE_NOT_SELECTED if the page was
 * not requested. %MIGRATE_NOT_REFUSED if it has moved, or was not tried: pages
 * before the first one that may move, and all others if there is none.
 */
static inline enum migrate_refusal hmm_migrate_why(unsigned long src)
{
	if (src & (MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE))
		return MIGRATE_NOT_REFUSED;
	return (enum migrate_refusal)(src >> MIGRATE_PFN_SHIFT);
}

int hmm_range_migrate(struct hmm_migrate *hmm,
		      const struct hmm_migrate_ops *ops, unsigned long timeout);

#endif /* LINUX_HMM_MIGRATE_H */
