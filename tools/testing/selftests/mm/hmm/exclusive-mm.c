// SPDX-License-Identifier: GPL-2.0
/*
 * mm operations on pages that are exclusive to a device: each has its usual result,
 * the data is right, exclusive access ends, and soft-dirty and write-protection
 * bits of the entry survive. For plain cases of single pages see exclusive.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"
#include "lib/exclusive.h"

#define SEED		1UL
#define OTHER		0x1000UL
#define SMALL_PAGES	16
#define WP_ASYNC	(UFFD_FEATURE_PAGEFAULT_FLAG_WP |		\
			 UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC)

FIXTURE(exclusive_mm)
{
	int fd;
	char *map;
	size_t npages;
	size_t bytes;
	size_t quarter;		/* in pages */
	char *second;		/* quarter */
	struct child child;
	struct swap swap;
	struct reclaimer reclaimer;
	struct ksm ksm;
	struct uffd uffd;
};

FIXTURE_VARIANT(exclusive_mm)
{
	const char *folios;
	size_t npages;
};

FIXTURE_VARIANT_ADD(exclusive_mm, small)
{
	.npages = SMALL_PAGES,
};

/* Mapped page by page, four of them */
FIXTURE_VARIANT_ADD(exclusive_mm, large)
{
	.folios = "64kB",
	.npages = 64,
};

FIXTURE_VARIANT_ADD(exclusive_mm, huge)
{
	.folios = "2048kB",
	.npages = HUGE_PAGES,
};

FIXTURE_SETUP(exclusive_mm)
{
	self->fd = dmirror_open(0);
	if (self->fd < 0)
		SKIP(return, "no dummy devices");
	self->npages = variant->npages;
	self->bytes = variant->npages * PAGE_BYTES;
	self->quarter = variant->npages / 4;
	if (variant->folios) {
		self->map = map_folios(variant->folios, HUGE_BYTES, SEED);
		if (!self->map)
			SKIP(return, "no folios of this size");
	} else {
		self->map = map_anon_small(HUGE_BYTES);
		pattern_fill(self->map, HUGE_PAGES, SEED);
	}
	self->second = self->map + self->quarter * PAGE_BYTES;
	ASSERT_EQ(0, device_seize(self->fd, self->map, self->npages));
	ASSERT_EQ(self->npages, device_seized(self->fd, self->map, self->npages));
}

FIXTURE_TEARDOWN(exclusive_mm)
{
	close(self->fd);
}

#define EXPECT_LET_GO(addr, npages)					\
	EXPECT_EQ(0, device_seized(self->fd, addr, npages))

#define EXPECT_DATA(addr, npages, seed)					\
do {									\
	EXPECT_TRUE(device_reads(self->fd, addr, npages, seed));	\
	EXPECT_TRUE(pattern_is(addr, npages, seed));			\
} while (0)

/* All of it is mapped, and can be made exclusive and written to again. */
#define EXPECT_USABLE(addr, npages, seed)				\
do {									\
	EXPECT_DATA(addr, npages, seed);				\
	EXPECT_EQ(0, device_seize(self->fd, addr, npages));		\
	EXPECT_TRUE(pattern_is(addr, npages, seed));			\
	pattern_fill(addr, npages, OTHER);				\
	EXPECT_DATA(addr, npages, OTHER);				\
} while (0)

/* What is left when the second quarter is gone */
#define EXPECT_OTHER_QUARTERS()						\
do {									\
	size_t behind = 2 * self->quarter;				\
									\
	EXPECT_DATA(self->map, self->quarter, SEED);			\
	EXPECT_DATA(self->map + behind * PAGE_BYTES, behind,		\
		    SEED + behind);					\
} while (0)

/* Zapping */

TEST_F(exclusive_mm, dontneed)
{
	ASSERT_EQ(0, madvise(self->map, self->bytes, MADV_DONTNEED));
	EXPECT_LET_GO(self->map, self->npages);
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, self->npages));
	EXPECT_TRUE(is_zero(self->map, self->npages));
}

TEST_F(exclusive_mm, dontneed_of_a_part)
{
	ASSERT_EQ(0, madvise(self->second, self->bytes / 4, MADV_DONTNEED));
	EXPECT_LET_GO(self->second, self->quarter);
	EXPECT_TRUE(device_reads_zero(self->fd, self->second, self->quarter));
	EXPECT_TRUE(is_zero(self->second, self->quarter));
	EXPECT_OTHER_QUARTERS();
}

/* This splits a huge page, sooner or later. */
TEST_F(exclusive_mm, munmap_of_a_part)
{
	char data[PAGE_BYTES];

	ASSERT_EQ(0, munmap(self->second, self->bytes / 4));
	EXPECT_LET_GO(self->second, self->quarter);
	EXPECT_EQ(-EFAULT, device_read(self->fd, self->second, 1, data));
	EXPECT_OTHER_QUARTERS();
}

/* Protection */

TEST_F(exclusive_mm, mprotect_there_and_back)
{
	char *data = buffer_of(self->bytes);

	ASSERT_EQ(0, mprotect(self->map, self->bytes, PROT_READ));
	EXPECT_LET_GO(self->map, self->npages);
	EXPECT_GT(0, device_seize(self->fd, self->map, self->npages));
	EXPECT_GT(0, device_write(self->fd, self->map, self->npages, data));
	EXPECT_DATA(self->map, self->npages, SEED);
	ASSERT_EQ(0, mprotect(self->map, self->bytes, PROT_READ | PROT_WRITE));
	EXPECT_USABLE(self->map, self->npages, SEED);
	free(data);
}

/* It is not touched while it is inaccessible. */
TEST_F(exclusive_mm, mprotect_to_none_and_back)
{
	ASSERT_EQ(0, mprotect(self->map, self->bytes, PROT_NONE));
	EXPECT_LET_GO(self->map, self->npages);
	EXPECT_GT(0, device_seize(self->fd, self->map, self->npages));
	ASSERT_EQ(0, mprotect(self->map, self->bytes, PROT_READ | PROT_WRITE));
	EXPECT_USABLE(self->map, self->npages, SEED);
}

TEST_F(exclusive_mm, mprotect_of_a_part)
{
	ASSERT_EQ(0, mprotect(self->second, self->bytes / 4, PROT_READ));
	EXPECT_LET_GO(self->second, self->quarter);
	EXPECT_GT(0, device_seize(self->fd, self->second, self->quarter));
	EXPECT_DATA(self->map, self->npages, SEED);
	EXPECT_USABLE(self->map, self->quarter, SEED);
	EXPECT_DATA(self->second, self->npages - self->quarter,
		    SEED + self->quarter);
}

/* Granting a permission again does not change the data. */
TEST_F(exclusive_mm, mprotect_without_a_change)
{
	ASSERT_EQ(0, mprotect(self->map, self->bytes, PROT_READ));
	ASSERT_EQ(0, mprotect(self->map, self->bytes, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, device_seize(self->fd, self->map, self->npages));
	ASSERT_EQ(0, mprotect(self->map, self->bytes, PROT_READ | PROT_WRITE));
	EXPECT_USABLE(self->map, self->npages, SEED);
}

/* Moving */

static void move(char *from, size_t bytes, char *to)
{
	if (mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		fatal("mremap: %s", strerror(errno));
}

TEST_F(exclusive_mm, mremap)
{
	char *to = map_anon_small(2 * HUGE_BYTES);

	move(self->map, self->bytes, to);
	EXPECT_LET_GO(self->map, self->npages);
	EXPECT_USABLE(to, self->npages, SEED);
}

/* To where no huge entry can map it */
TEST_F(exclusive_mm, mremap_to_an_unaligned_address)
{
	char *to = map_anon_small(2 * HUGE_BYTES) + 3 * PAGE_BYTES;

	move(self->map, self->bytes, to);
	EXPECT_LET_GO(self->map, self->npages);
	EXPECT_USABLE(to, self->npages, SEED);
}

TEST_F(exclusive_mm, mremap_of_a_part)
{
	char *to = map_anon_small(2 * HUGE_BYTES);

	move(self->second, self->bytes / 4, to);
	EXPECT_LET_GO(self->second, self->quarter);
	EXPECT_USABLE(to, self->quarter, SEED + self->quarter);
	EXPECT_OTHER_QUARTERS();
}

/* Folios that are split */

/* The CPU faults in the first page, through which the folio can be found. */
TEST_F(exclusive_mm, split)
{
	long before = vm_event("thp_split_page");

	if (strcmp(variant->folios ?: "", "2048kB"))
		SKIP(return, "huge pages only");
	read_pages(self->map, 1);
	if (!split_folios(self->map, self->bytes, 0))
		SKIP(return, "pages cannot be split on demand");
	EXPECT_LT(before, vm_event("thp_split_page"));
	EXPECT_LET_GO(self->map, self->npages);
	EXPECT_USABLE(self->map, self->npages, SEED);
}

/* Pages that are swapped out or migrated */

#define RECLAIM_TRIES	50

TEST_F(exclusive_mm, reclaim)
{
	long before = vm_event("pswpout");
	int tries;

	if (!reclaimer_start(&self->reclaimer))
		SKIP(return, "no memory cgroups");
	if (!swap_start(&self->swap, RECLAIM_SWAP_BYTES)) {
		reclaimer_stop(&self->reclaimer);
		SKIP(return, "no zram");
	}
	for (tries = 0; tries < RECLAIM_TRIES &&
	     device_seized(self->fd, self->map, self->npages); tries++)
		reclaimer_run(&self->reclaimer, 8 * HUGE_BYTES);
	TH_LOG("%d times, %ld pages went", tries, vm_event("pswpout") - before);
	EXPECT_LET_GO(self->map, self->npages);
	EXPECT_LE(before + (long)self->npages, vm_event("pswpout"));
	EXPECT_USABLE(self->map, self->npages, SEED);
	munmap(self->map, HUGE_BYTES);
	swap_stop(&self->swap);
	reclaimer_stop(&self->reclaimer);
}

/*
 * What was freed lazily is in use again once the device has written to it,
 * though its driver marks nothing.
 */
TEST_F(exclusive_mm, written_after_madv_free)
{
	struct hmm_dmirror_atomic add = {
		.value = 1,
		.rounds = 1,
		.stride = PAGE_BYTES,
		.take = self->npages,
		.tries = 1,
	};
	struct hmm_dmirror_counters counters;
	size_t i, lost = 0;
	__u64 *words;

	if (ioctl(self->fd, HMM_DMIRROR_COUNTERS, &counters))
		SKIP(return, "the stock dummy driver adds nothing");
	ASSERT_EQ(0, device_flags(self->fd, HMM_DMIRROR_FLAG_NEVER_DIRTY));
	words = buffer_of(self->npages * sizeof(*words));
	EXPECT_TRUE(pattern_is(self->map, self->npages, SEED));
	for (i = 0; i < self->npages; i++)
		words[i] = *(__u64 *)(self->map + i * PAGE_BYTES);
	ASSERT_EQ(0, madvise(self->map, self->bytes, MADV_FREE));
	EXPECT_EQ(self->npages,
		  device_ask(self->fd, HMM_DMIRROR_ATOMIC_ADD, self->map, &add,
			     self->npages).cpages);

	read_pages(self->map, self->npages);
	ASSERT_EQ(0, madvise(self->map, self->bytes, MADV_PAGEOUT));
	for (i = 0; i < self->npages; i++)
		lost += *(__u64 *)(self->map + i * PAGE_BYTES) != words[i] + 1;
	EXPECT_EQ(0, lost);
	free(words);
}

/* Either the pages stay, or the device loses them. */
TEST_F(exclusive_mm, migration_to_the_device)
{
	size_t i;

	device_take(self->fd, self->map, self->npages);
	for (i = 0; i < self->npages; i++) {
		char *page = self->map + i * PAGE_BYTES;

		if (device_count(self->fd, page, 1, own_place(0)))
			EXPECT_LET_GO(page, 1);
	}
	EXPECT_DATA(self->map, self->npages, SEED);
	device_take(self->fd, self->map, self->npages);
	EXPECT_USABLE(self->map, self->npages, SEED);
}

/* Pages with holes between them, so that compaction has work */
#define SCATTERED	(2 * HUGE_PAGES)

TEST_F(exclusive_mm, compaction)
{
	char *map = map_anon_small(2 * HUGE_BYTES);
	long before = vm_event("pgmigrate_success");
	size_t i;

	if (variant->folios)
		SKIP(return, "small pages only");
	pattern_fill(map, SCATTERED, SEED);
	for (i = 0; i < SCATTERED; i += 2) {
		char *page = map + i * PAGE_BYTES;

		madvise(page + PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED);
		ASSERT_EQ(0, device_seize(self->fd, page, 1));
	}
	vm_order("compact_memory", "1");
	TH_LOG("%ld pages moved, the device still has %zu of %lu",
	       vm_event("pgmigrate_success") - before,
	       device_seized(self->fd, map, SCATTERED), SCATTERED / 2);
	for (i = 0; i < SCATTERED; i += 2) {
		char *page = map + i * PAGE_BYTES;

		ASSERT_TRUE(device_reads(self->fd, page, 1, SEED + i));
		ASSERT_TRUE(pattern_is(page, 1, SEED + i));
		EXPECT_LET_GO(page, 1);
	}
}

/*
 * Exclusive access to device memory migrates it back first, as a CPU access
 * does.
 */
TEST_F(exclusive_mm, after_migration_to_the_device)
{
	pattern_fill(self->map, self->npages, OTHER);
	device_take(self->fd, self->map, self->npages);
	EXPECT_EQ(self->npages, device_count(self->fd, self->map, self->npages,
					     own_place(0)));
	ASSERT_EQ(0, device_seize(self->fd, self->map, self->npages));
	EXPECT_EQ(self->npages, device_seized(self->fd, self->map, self->npages));
	EXPECT_EQ(0, device_count(self->fd, self->map, self->npages,
				  own_place(0)));
	EXPECT_USABLE(self->map, self->npages, OTHER);
}

/* Equal pages become one only when no device can write to them any more. */
TEST_F(exclusive_mm, ksm)
{
	char *twin = map_anon_small(HUGE_BYTES);

	if (!fast_ksm_start(&self->ksm))
		SKIP(return, "no KSM");
	pattern_fill(twin, self->npages, SEED);
	ASSERT_EQ(0, madvise(self->map, self->bytes, MADV_MERGEABLE));
	ASSERT_EQ(0, madvise(twin, self->bytes, MADV_MERGEABLE));
	EXPECT_TRUE(ksm_scans(5));
	/* The device can still write to pages that are exclusive to it. */
	EXPECT_EQ(0, device_writes(self->fd, self->map, self->npages, OTHER));
	EXPECT_TRUE(pattern_is(twin, self->npages, SEED));
	EXPECT_DATA(self->map, self->npages, OTHER);
	EXPECT_EQ(0, madvise(self->map, self->bytes, MADV_UNMERGEABLE));
	EXPECT_EQ(0, madvise(twin, self->bytes, MADV_UNMERGEABLE));
	fast_ksm_stop(&self->ksm);
	EXPECT_TRUE(pattern_is(self->map, self->npages, OTHER));
	EXPECT_TRUE(pattern_is(twin, self->npages, SEED));
}

/* Fork, and copies on write */

TEST_F(exclusive_mm, fork_then_write_by_the_parent)
{
	child_start(&self->child);
	EXPECT_LET_GO(self->map, self->npages);
	pattern_fill(self->map, self->npages, OTHER);
	EXPECT_TRUE(child_do(&self->child, work_check, self->map, self->npages,
			     SEED));
	EXPECT_DATA(self->map, self->npages, OTHER);
	child_stop(&self->child);
}

TEST_F(exclusive_mm, fork_then_write_by_the_child)
{
	child_start(&self->child);
	child_do(&self->child, work_fill, self->map, self->npages, OTHER);
	EXPECT_TRUE(child_do(&self->child, work_check, self->map, self->npages,
			     OTHER));
	EXPECT_USABLE(self->map, self->npages, SEED);
	child_stop(&self->child);
}

TEST_F(exclusive_mm, fork_then_exclusive_again)
{
	child_start(&self->child);
	ASSERT_EQ(0, device_seize(self->fd, self->map, self->npages));
	EXPECT_EQ(self->npages, device_seized(self->fd, self->map, self->npages));
	child_do(&self->child, work_fill, self->map, self->npages, OTHER);
	EXPECT_EQ(self->npages, device_seized(self->fd, self->map, self->npages));
	EXPECT_DATA(self->map, self->npages, SEED);
	pattern_fill(self->map, self->npages, 3 * OTHER);
	EXPECT_TRUE(child_do(&self->child, work_check, self->map, self->npages,
			     OTHER));
	child_stop(&self->child);
}

/* Soft-dirty bits */

TEST_F(exclusive_mm, soft_dirty_stays)
{
	clear_softdirty();
	if (is_soft_dirty(self->map))
		SKIP(return, "no soft-dirty bits");
	pattern_fill(self->map, self->npages, OTHER);
	ASSERT_EQ(0, device_seize(self->fd, self->map, self->npages));
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, OTHER));
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
}

/* Once cleared, the bit is set by the next write, of CPU or device. */
TEST_F(exclusive_mm, soft_dirty_is_cleared)
{
	clear_softdirty();
	if (is_soft_dirty(self->map))
		SKIP(return, "no soft-dirty bits");
	EXPECT_LET_GO(self->map, self->npages);
	EXPECT_EQ(0, dirty_pages(self->map, self->npages));
	EXPECT_DATA(self->map, self->npages, SEED);
	ASSERT_EQ(0, device_seize(self->fd, self->second, self->quarter));
	EXPECT_EQ(self->quarter, device_seized(self->fd, self->second,
					       self->quarter));
	EXPECT_EQ(self->quarter, dirty_pages(self->second, self->quarter));
	EXPECT_TRUE(pattern_is(self->second, self->quarter,
			       SEED + self->quarter));
	EXPECT_EQ(self->quarter, dirty_pages(self->second, self->quarter));
	clear_softdirty();
	pattern_fill(self->second, self->quarter, OTHER);
	EXPECT_EQ(self->quarter, dirty_pages(self->second, self->quarter));
}

/* To read is not to write. */
TEST_F(exclusive_mm, soft_dirty_is_not_set_by_reading)
{
	clear_softdirty();
	if (is_soft_dirty(self->map))
		SKIP(return, "no soft-dirty bits");
	EXPECT_TRUE(pattern_is(self->map, self->npages, SEED));
	EXPECT_EQ(0, dirty_pages(self->map, self->npages));
}

/* Asynchronous write protection: no events, but writes are recorded. */

static size_t protected_pages(char *addr, size_t npages)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t i, count = 0;
	__u64 entry;

	for (i = 0; i < npages; i++) {
		off_t at = ((uintptr_t)addr / PAGE_BYTES + i) * sizeof(entry);

		if (pread(fd, &entry, sizeof(entry), at) != sizeof(entry))
			fatal("/proc/self/pagemap: %s", strerror(errno));
		count += !!(entry & _BITULL(57));
	}
	close(fd);
	return count;
}

/* False where the kernel does not have it */
static bool watch(struct uffd *uffd, char *map, size_t bytes)
{
	if (uffd_open(uffd, WP_ASYNC))
		return false;
	return !uffd_watch(uffd, map, bytes, UFFDIO_REGISTER_MODE_WP);
}

static int write_protect(struct uffd *uffd, char *map, size_t bytes)
{
	return uffd_protect(uffd, UFFDIO_WRITEPROTECT, map, bytes,
			    UFFDIO_WRITEPROTECT_MODE_WP);
}

TEST_F(exclusive_mm, uffd_write_protection)
{
	if (!watch(&self->uffd, self->map, HUGE_BYTES))
		SKIP(return, "no asynchronous write protection");
	ASSERT_EQ(0, device_seize(self->fd, self->map, self->npages));
	ASSERT_EQ(0, write_protect(&self->uffd, self->map, self->bytes));
	EXPECT_LET_GO(self->map, self->npages);
	EXPECT_EQ(self->npages, protected_pages(self->map, self->npages));
	EXPECT_DATA(self->map, self->npages, SEED);
	EXPECT_EQ(self->npages, protected_pages(self->map, self->npages));
	close(self->uffd.fd);
}

/* Exclusive access counts as a write. */
TEST_F(exclusive_mm, uffd_write_protection_is_resolved)
{
	if (!watch(&self->uffd, self->map, HUGE_BYTES))
		SKIP(return, "no asynchronous write protection");
	ASSERT_EQ(0, device_seize(self->fd, self->map, self->npages));
	ASSERT_EQ(0, write_protect(&self->uffd, self->map, self->bytes));
	ASSERT_EQ(0, device_seize(self->fd, self->second, self->quarter));
	EXPECT_EQ(0, protected_pages(self->second, self->quarter));
	EXPECT_TRUE(pattern_is(self->second, self->quarter,
			       SEED + self->quarter));
	EXPECT_EQ(0, protected_pages(self->second, self->quarter));
	EXPECT_TRUE(pattern_is(self->map, self->npages, SEED));
	close(self->uffd.fd);
}

TEST_HARNESS_MAIN
