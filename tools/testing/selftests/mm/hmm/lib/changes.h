/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory of each kind, and the changes that must invalidate a device's entries: for
 * notifier-events, which checks the reported events.
 */
#ifndef _HMM_CHANGES_H
#define _HMM_CHANGES_H

#include <stdbool.h>
#include <stddef.h>

/* Where it happens; zeroed before it is set up */
struct place {
	char *map;
	size_t bytes;
	int file;	/* that it maps, if any */
};

/* False where there is no such memory */
typedef bool (*memory_t)(struct place *place);

bool memory_small(struct place *place);
bool memory_one(struct place *place);		/* page */
bool memory_many(struct place *place);		/* as many as make a huge page */
bool memory_huge(struct place *place);
bool memory_huge_zero(struct place *place);
bool memory_shared(struct place *place);
bool memory_shared_many(struct place *place);
bool memory_shared_huge(struct place *place);	/* mapped by small entries */
bool memory_disk(struct place *place);
bool memory_hugetlb(struct place *place);
bool memory_hugetlb_file(struct place *place);
bool memory_hugetlb_wide(struct place *place);	/* a whole page table of it */
bool memory_pud(struct place *place);		/* a driver's */

/* 0, or this kernel has no such change */
typedef int (*change_t)(struct place *place);

int change_nothing(struct place *place);
/* The mapping */
int change_munmap(struct place *place);
int change_munmap_half(struct place *place);
int change_mremap(struct place *place);
int change_mremap_dontunmap(struct place *place);
int change_mprotect_none(struct place *place);
int change_mprotect_read(struct place *place);
int change_mprotect_read_half(struct place *place);
int change_mprotect_write(struct place *place);
/* Advice */
int change_dontneed(struct place *place);
int change_free(struct place *place);
int change_cold(struct place *place);
int change_lock(struct place *place);
int change_guard(struct place *place);
int change_unguard(struct place *place);
int change_collapse(struct place *place);
int change_merge(struct place *place);
int change_pageout(struct place *place);
int change_soft_offline(struct place *place);
int change_poison(struct place *place);
/* Files */
int change_truncate(struct place *place);
int change_punch(struct place *place);
int change_write_back(struct place *place);
/* Other processes, and the CPU's accesses */
int change_fork(struct place *place);
int change_share(struct place *place);
int change_write(struct place *place);
int change_share_table(struct place *place);	/* the page table of hugetlb */
/* By files in /proc and /sys */
int change_soft_dirty(struct place *place);
int change_scan(struct place *place);
int change_split(struct place *place);
/* userfaultfd */
int change_uffd_watch(struct place *place);
int change_uffd_watch_async(struct place *place);
int change_collapse_and_uffd_watch(struct place *place);
int change_uffd_watch_reads(struct place *place);
int change_uffd_protect(struct place *place);
int change_uffd_watch_and_protect(struct place *place);
int change_uffd_resolve(struct place *place);
int change_uffd_take_access(struct place *place);
int change_uffd_move(struct place *place);
/* A dummy device */
int change_to_device(struct place *place);
int change_untouched_to_device(struct place *place);
int change_evict(struct place *place);
int change_exclusive(struct place *place);

/* Undoes everything that was set up or changed. */
void place_end(struct place *place);

#endif /* _HMM_CHANGES_H */
