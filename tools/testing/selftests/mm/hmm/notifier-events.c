// SPDX-License-Identifier: GPL-2.0
/*
 * What MMU notifiers report of each change of a mapping: the event, its owner,
 * the range, and whether a device may go on reading.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/changes.h"
#include "lib/common.h"
#include "lib/notify.h"

/*
 * The events that report each change, and after which of them reading
 * may go on
 */

FIXTURE(hmm_event)
{
	struct place place;
	int fd;
	__u64 before;	/* the first page, for a device */
};

FIXTURE_VARIANT(hmm_event)
{
	memory_t memory;
	change_t prepare;
	change_t change;
	__u64 told;
	__u64 readable;
};

#define TOLD(kind, before, what, events, reads) {			\
	.memory = memory_##kind,					\
	.prepare = change_##before,					\
	.change = change_##what,					\
	.told = events,							\
	.readable = reads,						\
}

/* The mapping */

FIXTURE_VARIANT_ADD(hmm_event, munmap)
	TOLD(small, nothing, munmap,
	     SET(UNMAP), 0);

FIXTURE_VARIANT_ADD(hmm_event, munmap_half_huge)
	TOLD(huge, nothing, munmap_half,
	     SET(CLEAR) | SET(UNMAP), 0);

FIXTURE_VARIANT_ADD(hmm_event, munmap_half_pud)
	TOLD(pud, nothing, munmap_half,
	     SET(CLEAR) | SET(UNMAP), 0);

FIXTURE_VARIANT_ADD(hmm_event, munmap_hugetlb)
	TOLD(hugetlb, nothing, munmap,
	     SET(UNMAP), 0);

FIXTURE_VARIANT_ADD(hmm_event, mremap)
	TOLD(small, nothing, mremap,
	     SET(UNMAP), 0);

FIXTURE_VARIANT_ADD(hmm_event, mremap_huge)
	TOLD(huge, nothing, mremap,
	     SET(UNMAP), 0);

FIXTURE_VARIANT_ADD(hmm_event, mremap_dontunmap)
	TOLD(small, nothing, mremap_dontunmap,
	     SET(UNMAP), 0);

FIXTURE_VARIANT_ADD(hmm_event, mremap_hugetlb)
	TOLD(hugetlb, nothing, mremap,
	     SET(CLEAR) | SET(UNMAP), 0);

FIXTURE_VARIANT_ADD(hmm_event, mprotect_none)
	TOLD(small, nothing, mprotect_none,
	     SET(PROTECTION_VMA), 0);

FIXTURE_VARIANT_ADD(hmm_event, mprotect_none_hugetlb)
	TOLD(hugetlb, nothing, mprotect_none,
	     SET(PROTECTION_VMA), 0);

FIXTURE_VARIANT_ADD(hmm_event, mprotect_read)
	TOLD(small, nothing, mprotect_read,
	     SET(PROTECTION_VMA), SET(PROTECTION_VMA));

FIXTURE_VARIANT_ADD(hmm_event, mprotect_read_huge)
	TOLD(huge, nothing, mprotect_read,
	     SET(PROTECTION_VMA), SET(PROTECTION_VMA));

FIXTURE_VARIANT_ADD(hmm_event, mprotect_read_half_huge)
	TOLD(huge, nothing, mprotect_read_half,
	     SET(CLEAR) | SET(PROTECTION_VMA), SET(PROTECTION_VMA));

FIXTURE_VARIANT_ADD(hmm_event, mprotect_read_shared)
	TOLD(shared, nothing, mprotect_read,
	     SET(PROTECTION_VMA), SET(PROTECTION_VMA));

FIXTURE_VARIANT_ADD(hmm_event, mprotect_read_hugetlb)
	TOLD(hugetlb, nothing, mprotect_read,
	     SET(PROTECTION_VMA), SET(PROTECTION_VMA));

FIXTURE_VARIANT_ADD(hmm_event, mprotect_read_half_shared_huge)
	TOLD(shared_many, collapse, mprotect_read_half,
	     SET(CLEAR) | SET(PROTECTION_VMA), SET(PROTECTION_VMA));

FIXTURE_VARIANT_ADD(hmm_event, mprotect_read_hugetlb_file)
	TOLD(hugetlb_file, nothing, mprotect_read,
	     SET(PROTECTION_VMA), SET(PROTECTION_VMA));

/* A page table that is shared is unmapped, and so is all that it maps. */
FIXTURE_VARIANT_ADD(hmm_event, mprotect_read_hugetlb_wide)
	TOLD(hugetlb_wide, nothing, mprotect_read,
	     SET(PROTECTION_VMA), 0);

FIXTURE_VARIANT_ADD(hmm_event, mprotect_read_hugetlb_shared_table)
	TOLD(hugetlb_wide, share_table, mprotect_read,
	     SET(PROTECTION_VMA), 0);

FIXTURE_VARIANT_ADD(hmm_event, mprotect_read_half_hugetlb_shared_table)
	TOLD(hugetlb_wide, share_table, mprotect_read_half,
	     SET(CLEAR) | SET(PROTECTION_VMA), SET(PROTECTION_VMA));

FIXTURE_VARIANT_ADD(hmm_event, mprotect_none_hugetlb_shared_table)
	TOLD(hugetlb_wide, share_table, mprotect_none,
	     SET(PROTECTION_VMA), 0);

FIXTURE_VARIANT_ADD(hmm_event, mprotect_write)
	TOLD(small, mprotect_read, mprotect_write,
	     SET(PROTECTION_VMA), 0);

FIXTURE_VARIANT_ADD(hmm_event, mprotect_write_hugetlb)
	TOLD(hugetlb, mprotect_read, mprotect_write,
	     SET(PROTECTION_VMA), 0);

FIXTURE_VARIANT_ADD(hmm_event, mprotect_none_to_read)
	TOLD(small, mprotect_none, mprotect_read,
	     SET(PROTECTION_VMA), SET(PROTECTION_VMA));

/* Advice */

FIXTURE_VARIANT_ADD(hmm_event, dontneed)
	TOLD(small, nothing, dontneed,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, dontneed_hugetlb)
	TOLD(hugetlb, nothing, dontneed,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, free)
	TOLD(small, nothing, free,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, cold)
	TOLD(small, nothing, cold,
	     0, 0);

FIXTURE_VARIANT_ADD(hmm_event, lock)
	TOLD(small, nothing, lock,
	     0, 0);

FIXTURE_VARIANT_ADD(hmm_event, guard)
	TOLD(small, nothing, guard,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, unguard)
	TOLD(small, guard, unguard,
	     0, 0);

FIXTURE_VARIANT_ADD(hmm_event, collapse)
	TOLD(many, nothing, collapse,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, collapse_shared)
	TOLD(shared_many, nothing, collapse,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, collapse_shared_huge)
	TOLD(shared_huge, nothing, collapse,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, merge)
	TOLD(small, nothing, merge,
	     SET(PROTECTION_PAGE) | SET(CLEAR), SET(PROTECTION_PAGE));

FIXTURE_VARIANT_ADD(hmm_event, pageout)
	TOLD(small, nothing, pageout,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, pageout_shared)
	TOLD(shared, nothing, pageout,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, soft_offline)
	TOLD(one, nothing, soft_offline,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, poison)
	TOLD(one, nothing, poison,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, poison_hugetlb)
	TOLD(hugetlb, nothing, poison,
	     SET(CLEAR), 0);

/* Files */

FIXTURE_VARIANT_ADD(hmm_event, truncate)
	TOLD(shared, nothing, truncate,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, truncate_hugetlb)
	TOLD(hugetlb_file, nothing, truncate,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, punch)
	TOLD(shared, nothing, punch,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, punch_hugetlb)
	TOLD(hugetlb_file, nothing, punch,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, write_back)
	TOLD(disk, nothing, write_back,
	     SET(PROTECTION_PAGE), SET(PROTECTION_PAGE));

/* Other processes, and the CPU's accesses */

FIXTURE_VARIANT_ADD(hmm_event, fork)
	TOLD(small, nothing, fork,
	     SET(PROTECTION_PAGE), SET(PROTECTION_PAGE));

FIXTURE_VARIANT_ADD(hmm_event, fork_huge)
	TOLD(huge, nothing, fork,
	     SET(PROTECTION_PAGE), SET(PROTECTION_PAGE));

FIXTURE_VARIANT_ADD(hmm_event, fork_hugetlb)
	TOLD(hugetlb, nothing, fork,
	     SET(PROTECTION_PAGE), SET(PROTECTION_PAGE));

FIXTURE_VARIANT_ADD(hmm_event, fork_shared)
	TOLD(shared, nothing, fork,
	     0, 0);

FIXTURE_VARIANT_ADD(hmm_event, fork_hugetlb_shared_table)
	TOLD(hugetlb_wide, share_table, fork,
	     0, 0);

FIXTURE_VARIANT_ADD(hmm_event, write)
	TOLD(small, nothing, write,
	     0, 0);

FIXTURE_VARIANT_ADD(hmm_event, copy)
	TOLD(small, share, write,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, copy_huge)
	TOLD(huge, share, write,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, copy_huge_zero)
	TOLD(huge_zero, nothing, write,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, copy_hugetlb)
	TOLD(hugetlb, share, write,
	     SET(CLEAR), 0);

/* By files in /proc and /sys */

FIXTURE_VARIANT_ADD(hmm_event, soft_dirty)
	TOLD(small, nothing, soft_dirty,
	     SET(SOFT_DIRTY), SET(SOFT_DIRTY));

FIXTURE_VARIANT_ADD(hmm_event, scan)
	TOLD(small, uffd_watch_async, scan,
	     SET(PROTECTION_VMA), SET(PROTECTION_VMA));

FIXTURE_VARIANT_ADD(hmm_event, scan_hugetlb)
	TOLD(hugetlb, uffd_watch_async, scan,
	     SET(PROTECTION_VMA), SET(PROTECTION_VMA));

FIXTURE_VARIANT_ADD(hmm_event, soft_dirty_hugetlb_shared_table)
	TOLD(hugetlb_wide, share_table, soft_dirty,
	     SET(SOFT_DIRTY), SET(SOFT_DIRTY));

FIXTURE_VARIANT_ADD(hmm_event, split)
	TOLD(huge, nothing, split,
	     SET(CLEAR), 0);

/* userfaultfd */

FIXTURE_VARIANT_ADD(hmm_event, uffd_protect)
	TOLD(small, uffd_watch, uffd_protect,
	     SET(PROTECTION_VMA), SET(PROTECTION_VMA));

FIXTURE_VARIANT_ADD(hmm_event, uffd_protect_hugetlb)
	TOLD(hugetlb, uffd_watch, uffd_protect,
	     SET(PROTECTION_VMA), SET(PROTECTION_VMA));

FIXTURE_VARIANT_ADD(hmm_event, uffd_protect_shared_huge)
	TOLD(shared_many, collapse_and_uffd_watch, uffd_protect,
	     SET(CLEAR) | SET(PROTECTION_VMA), SET(PROTECTION_VMA));

FIXTURE_VARIANT_ADD(hmm_event, uffd_resolve)
	TOLD(small, uffd_watch_and_protect, uffd_resolve,
	     SET(PROTECTION_VMA), 0);

FIXTURE_VARIANT_ADD(hmm_event, uffd_resolve_hugetlb)
	TOLD(hugetlb, uffd_watch_and_protect, uffd_resolve,
	     SET(PROTECTION_VMA), 0);

FIXTURE_VARIANT_ADD(hmm_event, uffd_remove_access)
	TOLD(small, uffd_watch_reads, uffd_take_access,
	     SET(PROTECTION_VMA), 0);

/* Entries with a marker have no access, whatever else changes. */
FIXTURE_VARIANT_ADD(hmm_event, mprotect_read_watching_reads)
	TOLD(small, uffd_watch_reads, mprotect_read,
	     SET(PROTECTION_VMA), 0);

FIXTURE_VARIANT_ADD(hmm_event, uffd_move)
	TOLD(small, nothing, uffd_move,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, uffd_move_huge)
	TOLD(huge, nothing, uffd_move,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, uffd_unshare)
	TOLD(hugetlb_wide, nothing, uffd_watch,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, uffd_unshare_shared_table)
	TOLD(hugetlb_wide, share_table, uffd_watch,
	     SET(CLEAR), 0);

/* A dummy device */

FIXTURE_VARIANT_ADD(hmm_event, to_device)
	TOLD(small, nothing, to_device,
	     SET(MIGRATE), 0);

FIXTURE_VARIANT_ADD(hmm_event, untouched_to_device)
	TOLD(small, dontneed, to_device,
	     SET(MIGRATE), 0);

FIXTURE_VARIANT_ADD(hmm_event, from_device)
	TOLD(small, to_device, write,
	     SET(MIGRATE), 0);

FIXTURE_VARIANT_ADD(hmm_event, evict)
	TOLD(small, to_device, evict,
	     SET(CLEAR), 0);

FIXTURE_VARIANT_ADD(hmm_event, exclusive)
	TOLD(small, nothing, exclusive,
	     SET(EXCLUSIVE), 0);

FIXTURE_VARIANT_ADD(hmm_event, no_longer_exclusive)
	TOLD(small, exclusive, write,
	     SET(CLEAR), 0);

/* What a device may have mapped for the first page */
static __u64 first_page(struct place *place)
{
	int fd = probe_open();
	__u64 slot;

	probe_look(fd, place->map, 1, &slot, 0);
	close(fd);
	return slot & HMM_PROBE_VALID ? slot : 0;
}

FIXTURE_SETUP(hmm_event)
{
	struct place *place = &self->place;

	if (how_brief() &&
	    (variant->change == change_collapse ||
	     variant->change == change_merge || variant->memory == memory_pud))
		SKIP(return, "takes long where the kernel is slow");
	self->fd = sub_open();
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_probe_notify");
	if (!variant->memory(place))
		SKIP(return, "no such memory");
	if (variant->prepare(place))
		SKIP(return, "not with this kernel");
	subscribe(self->fd, HMM_NOTIFY_INTERVAL, place->map, place->bytes);
	self->before = first_page(place);
	if (variant->change(place))
		SKIP(return, "not with this kernel");
}

FIXTURE_TEARDOWN(hmm_event)
{
	close(self->fd);
	place_end(&self->place);
}

TEST_F(hmm_event, reason)
{
	__u64 i, told = 0;

	for (i = 0; i < sub_state(self->fd).records; i++) {
		struct hmm_notify_record record = sub_record(self->fd, i);

		told |= _BITULL(record.event);
		EXPECT_EQ(1, record.blockable);
	}
	EXPECT_EQ(variant->told, told);
}

/* Only what devices do has one. */
TEST_F(hmm_event, owner)
{
	const __u64 owned = SET(MIGRATE) | SET(EXCLUSIVE);
	__u64 i;

	if (!variant->told)
		SKIP(return, "no notification");
	for (i = 0; i < sub_state(self->fd).records; i++) {
		struct hmm_notify_record record = sub_record(self->fd, i);

		EXPECT_EQ(!!(owned & _BITULL(record.event)), record.owned);
	}
}

TEST_F(hmm_event, read_only)
{
	__u64 i, readable = 0, others = 0;

	for (i = 0; i < sub_state(self->fd).records; i++) {
		struct hmm_notify_record record = sub_record(self->fd, i);

		if (record.read_only == HMM_NOTIFY_UNKNOWN)
			SKIP(return, "this kernel does not say");
		if (record.read_only == HMM_NOTIFY_YES)
			readable |= _BITULL(record.event);
		else
			others |= _BITULL(record.event);
	}
	EXPECT_EQ(variant->readable, readable);
	EXPECT_EQ(variant->told & ~variant->readable, others);
}

/* Where a device may go on reading, what it reads is still there. */
TEST_F(hmm_event, readable_page_stays)
{
	__u64 i, after = first_page(&self->place);

	if (!self->before)
		SKIP(return, "the device had nothing");
	for (i = 0; i < sub_state(self->fd).records; i++) {
		struct hmm_notify_record record = sub_record(self->fd, i);

		if (record.read_only != HMM_NOTIFY_YES &&
		    record.start <= (uintptr_t)self->place.map)
			SKIP(return, "the device has to let go");
	}
	EXPECT_EQ(HMM_PROBE_VALID, after & HMM_PROBE_VALID);
	EXPECT_EQ(slot_pfn(self->before), slot_pfn(after));
}

/* The end of the reported range that starts at @addr and has no gap */
static __u64 told_until(int fd, __u64 addr)
{
	__u64 i, n = sub_state(fd).records;

	for (i = 0; i < n; i++) {
		struct hmm_notify_record record = sub_record(fd, i);

		if (record.start <= addr && record.end > addr) {
			addr = record.end;
			i = -1;
		}
	}
	return addr;
}

/* All that changes, and nothing else; soft-dirty bits are those of a process. */
TEST_F(hmm_event, range)
{
	__u64 i, start = (uintptr_t)self->place.map;
	__u64 end = start + self->place.bytes;

	if (!variant->told)
		SKIP(return, "no notification");
	EXPECT_LE(end, told_until(self->fd, start));
	if (variant->told == SET(SOFT_DIRTY))
		return;
	for (i = 0; i < sub_state(self->fd).records; i++) {
		struct hmm_notify_record record = sub_record(self->fd, i);

		EXPECT_LE(start, record.start);
		EXPECT_GE(end, record.end);
	}
}

TEST_HARNESS_MAIN
