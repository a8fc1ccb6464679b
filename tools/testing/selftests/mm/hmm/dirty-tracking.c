// SPDX-License-Identifier: GPL-2.0
/*
 * Snapshots of memory that a device writes to: a checkpoint clears the soft-dirty
 * bits, or protects memory with userfaultfd, and relies on seeing every later
 * write, whatever the memory was then and wherever it has been since. Reclaim
 * relies on it, too.
 *
 * This must not depend on the driver. Only the commands that 7.3's test_hmm has
 * are used; it marks nothing as dirty, and maps on its device what the migration
 * has allowed it.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"
#include "lib/exclusive.h"

#define SMALL_PAGES	32

/* What the memory is when the snapshot begins */
enum kind {
	HOLES,
	ZEROES,		/* read, never written to */
	SYSTEM,
	DEVICE,
};

FIXTURE(dirty_tracking)
{
	int fd;
	char *map;
	size_t npages;
	struct uffd uffd;
	size_t told;		/* atomic */
};

FIXTURE_VARIANT(dirty_tracking)
{
	unsigned int device;
	bool huge;
	enum kind kind;
};

FIXTURE_VARIANT_ADD(dirty_tracking, private_holes)
{
	.kind = HOLES,
};

FIXTURE_VARIANT_ADD(dirty_tracking, private_zeroes)
{
	.kind = ZEROES,
};

FIXTURE_VARIANT_ADD(dirty_tracking, private_pages)
{
	.kind = SYSTEM,
};

FIXTURE_VARIANT_ADD(dirty_tracking, private_device_pages)
{
	.kind = DEVICE,
};

FIXTURE_VARIANT_ADD(dirty_tracking, private_huge_holes)
{
	.huge = true,
	.kind = HOLES,
};

FIXTURE_VARIANT_ADD(dirty_tracking, private_huge_zeroes)
{
	.huge = true,
	.kind = ZEROES,
};

FIXTURE_VARIANT_ADD(dirty_tracking, private_huge_pages)
{
	.huge = true,
	.kind = SYSTEM,
};

FIXTURE_VARIANT_ADD(dirty_tracking, private_huge_device_pages)
{
	.huge = true,
	.kind = DEVICE,
};

FIXTURE_VARIANT_ADD(dirty_tracking, coherent_holes)
{
	.device = 2,
	.kind = HOLES,
};

FIXTURE_VARIANT_ADD(dirty_tracking, coherent_zeroes)
{
	.device = 2,
	.kind = ZEROES,
};

FIXTURE_VARIANT_ADD(dirty_tracking, coherent_pages)
{
	.device = 2,
	.kind = SYSTEM,
};

FIXTURE_VARIANT_ADD(dirty_tracking, coherent_device_pages)
{
	.device = 2,
	.kind = DEVICE,
};

FIXTURE_VARIANT_ADD(dirty_tracking, coherent_huge_holes)
{
	.device = 2,
	.huge = true,
	.kind = HOLES,
};

FIXTURE_VARIANT_ADD(dirty_tracking, coherent_huge_zeroes)
{
	.device = 2,
	.huge = true,
	.kind = ZEROES,
};

FIXTURE_VARIANT_ADD(dirty_tracking, coherent_huge_pages)
{
	.device = 2,
	.huge = true,
	.kind = SYSTEM,
};

FIXTURE_VARIANT_ADD(dirty_tracking, coherent_huge_device_pages)
{
	.device = 2,
	.huge = true,
	.kind = DEVICE,
};

FIXTURE_SETUP(dirty_tracking)
{
	size_t n = variant->huge ? HUGE_PAGES : SMALL_PAGES;

	self->uffd.fd = -1;
	self->npages = n;
	self->fd = dmirror_open(variant->device);
	if (self->fd < 0)
		SKIP(return, "no dummy device");
	self->map = variant->huge ? device_map_thp(self->fd, HUGE_BYTES) :
				    map_anon_small(n * PAGE_BYTES);
	if (!self->map)
		SKIP(return, "no huge page");
	ASSERT_EQ(0, madvise(self->map, n * PAGE_BYTES, MADV_DONTNEED));
	if (variant->kind == ZEROES)
		read_pages(self->map, n);
	if (variant->kind == SYSTEM || variant->kind == DEVICE)
		pattern_fill(self->map, n, 1);
	if (variant->kind == DEVICE)
		dmirror_to_device(self->fd, self->map, n);
}

FIXTURE_TEARDOWN(dirty_tracking)
{
	if (self->uffd.fd >= 0)
		close(self->uffd.fd);
	if (self->map)
		munmap(self->map, self->npages * PAGE_BYTES);
	close(self->fd);
}

static size_t on_device(struct _test_data_dirty_tracking *self,
			const struct _fixture_variant_dirty_tracking *variant)
{
	return device_count(self->fd, self->map, self->npages,
			    own_place(variant->device));
}

/*
 * 7.3's driver oopses when it writes to private memory with which it has filled
 * holes: it faults the pages in, and then takes their frames for memory.
 */
static bool oopses(struct _test_data_dirty_tracking *self,
		   const struct _fixture_variant_dirty_tracking *variant)
{
	return !variant->device &&
	       (variant->kind == HOLES || variant->kind == ZEROES) &&
	       !device_is_ours(self->fd);
}

/* Soft-dirty bits */

static void clear(struct __test_metadata *_metadata,
		  struct _test_data_dirty_tracking *self)
{
	clear_softdirty();
	ASSERT_EQ(0, dirty_entries(self->map, self->npages));
}

static void to_device(struct _test_data_dirty_tracking *self)
{
	dmirror_to_device(self->fd, self->map, self->npages);
}

/* At once, and still when the CPU has read what was written */
static void device_write_shows(struct __test_metadata *_metadata,
			       struct _test_data_dirty_tracking *self)
{
	ASSERT_EQ(0, device_writes(self->fd, self->map, self->npages, 7));
	EXPECT_EQ(self->npages, dirty_entries(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 7));
	EXPECT_EQ(self->npages, dirty_entries(self->map, self->npages));
}

static void cpu_write_shows(struct __test_metadata *_metadata,
			    struct _test_data_dirty_tracking *self)
{
	pattern_fill(self->map, self->npages, 8);
	EXPECT_EQ(self->npages, dirty_entries(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 8));
}

TEST_F(dirty_tracking, device_writes_are_soft_dirty)
{
	clear(_metadata, self);
	device_write_shows(_metadata, self);
}

TEST_F(dirty_tracking, device_writes_are_soft_dirty_after_migration)
{
	clear(_metadata, self);
	to_device(self);
	ASSERT_EQ(self->npages, on_device(self, variant));
	if (oopses(self, variant))
		SKIP(return, "the stock dummy driver oopses");
	device_write_shows(_metadata, self);
}

TEST_F(dirty_tracking, cpu_writes_are_soft_dirty)
{
	clear(_metadata, self);
	cpu_write_shows(_metadata, self);
}

TEST_F(dirty_tracking, cpu_writes_are_soft_dirty_after_migration)
{
	clear(_metadata, self);
	to_device(self);
	ASSERT_EQ(self->npages, on_device(self, variant));
	cpu_write_shows(_metadata, self);
}

/* Migration is not a write, in either direction. */
TEST_F(dirty_tracking, migration_is_not_soft_dirty)
{
	if (variant->kind == HOLES || variant->kind == ZEROES)
		SKIP(return, "the pages are new");
	clear(_metadata, self);
	to_device(self);
	ASSERT_EQ(self->npages, on_device(self, variant));
	EXPECT_EQ(0, dirty_entries(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
	EXPECT_EQ(0, dirty_entries(self->map, self->npages));
}

/* Write protection */

/* What is protected may go to the device, and pages do. */
static void offer(struct __test_metadata *_metadata,
		  struct _test_data_dirty_tracking *self,
		  const struct _fixture_variant_dirty_tracking *variant)
{
	to_device(self);
	if (variant->kind == SYSTEM || variant->kind == DEVICE)
		ASSERT_EQ(self->npages, on_device(self, variant));
}

static void let_write(struct uffd *uffd, char *page, bool write)
{
	__atomic_fetch_add((size_t *)uffd->arg, 1, __ATOMIC_SEQ_CST);
	uffd_protect(uffd, UFFDIO_WRITEPROTECT, page, PAGE_BYTES, 0);
}

static bool watch(struct _test_data_dirty_tracking *self, __u64 features)
{
	return !uffd_open(&self->uffd,
			  UFFD_FEATURE_PAGEFAULT_FLAG_WP | features) &&
	       !uffd_watch(&self->uffd, self->map, self->npages * PAGE_BYTES,
			   UFFDIO_REGISTER_MODE_WP);
}

/* Protected, offered to the device, perhaps read, and written to here and there */
static void must_be_told(struct __test_metadata *_metadata,
			 struct _test_data_dirty_tracking *self,
			 const struct _fixture_variant_dirty_tracking *variant,
			 bool read_back)
{
	const size_t step = self->npages / SMALL_PAGES;
	size_t i;

	ASSERT_EQ(0, uffd_protect(&self->uffd, UFFDIO_WRITEPROTECT, self->map,
				  self->npages * PAGE_BYTES,
				  UFFDIO_WRITEPROTECT_MODE_WP));
	self->uffd.on_fault = let_write;
	self->uffd.arg = &self->told;
	uffd_start(&self->uffd);
	offer(_metadata, self, variant);
	if (read_back)
		read_pages(self->map, self->npages);
	EXPECT_EQ(0, self->told);
	for (i = 0; i < self->npages; i += step)
		self->map[i * PAGE_BYTES + 5] = 0x77;
	uffd_stop(&self->uffd);
	self->uffd.fd = -1;
	EXPECT_EQ(SMALL_PAGES, self->told);
	for (i = 0; i < self->npages; i += step)
		ASSERT_EQ(0x77, self->map[i * PAGE_BYTES + 5]);
}

TEST_F(dirty_tracking, uffd_wp_writes_are_reported_after_migration)
{
	if (variant->kind == HOLES)
		SKIP(return, "nothing is protected in holes");
	if (!watch(self, 0))
		SKIP(return, "no write protection by userfaultfd");
	must_be_told(_metadata, self, variant, false);
}

TEST_F(dirty_tracking, uffd_wp_writes_are_reported_after_both_ways)
{
	if (variant->kind == HOLES)
		SKIP(return, "nothing is protected in holes");
	if (!watch(self, 0))
		SKIP(return, "no write protection by userfaultfd");
	must_be_told(_metadata, self, variant, true);
}

TEST_F(dirty_tracking, unpopulated_uffd_wp_writes_are_reported_after_migration)
{
	if (!watch(self, UFFD_FEATURE_WP_UNPOPULATED))
		SKIP(return, "no write protection of holes");
	must_be_told(_metadata, self, variant, false);
}

TEST_F(dirty_tracking, unpopulated_uffd_wp_writes_are_reported_after_both_ways)
{
	if (!watch(self, UFFD_FEATURE_WP_UNPOPULATED))
		SKIP(return, "no write protection of holes");
	must_be_told(_metadata, self, variant, true);
}

/* Without events, but the next scan finds the writes. */

static bool watch_async(struct _test_data_dirty_tracking *self)
{
	return watch(self, UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC);
}

TEST_F(dirty_tracking, cpu_writes_are_scanned_after_migration)
{
	if (!watch_async(self))
		SKIP(return, "no asynchronous write protection");
	written_protect(self->map, self->npages);
	offer(_metadata, self, variant);
	EXPECT_EQ(0, written_protect(self->map, self->npages));
	pattern_fill(self->map, self->npages, 2);
	EXPECT_EQ(self->npages, written_protect(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 2));
}

TEST_F(dirty_tracking, device_writes_are_scanned_after_migration)
{
	if (!watch_async(self))
		SKIP(return, "no asynchronous write protection");
	if (oopses(self, variant))
		SKIP(return, "the stock dummy driver oopses");
	written_protect(self->map, self->npages);
	offer(_metadata, self, variant);
	ASSERT_EQ(0, device_writes(self->fd, self->map, self->npages, 3));
	EXPECT_EQ(self->npages, written_protect(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 3));
}

/*
 * The device has no access, wherever the pages are, and gains none by migrating
 * them.
 */
TEST_F(dirty_tracking, device_cannot_access_protected_pages)
{
	size_t bytes = self->npages * PAGE_BYTES;
	char *data;

	if (variant->kind != SYSTEM && variant->kind != DEVICE)
		SKIP(return, "there are no pages");
	if (uffd_open(&self->uffd, UFFD_FEATURE_RWP) ||
	    uffd_watch(&self->uffd, self->map, bytes, UFFDIO_REGISTER_MODE_RWP))
		SKIP(return, "no protection against any access");
	ASSERT_EQ(0, uffd_protect(&self->uffd, UFFDIO_RWPROTECT, self->map,
				  bytes, UFFDIO_RWPROTECT_MODE_RWP));
	data = buffer_of(bytes);
	ASSERT_EQ(-EFAULT, device_read(self->fd, self->map, self->npages,
				       data));
	EXPECT_EQ(-EFAULT, device_writes(self->fd, self->map, self->npages, 9));
	to_device(self);
	ASSERT_EQ(-EFAULT, device_read(self->fd, self->map, self->npages,
				       data));
	EXPECT_EQ(-EFAULT, device_writes(self->fd, self->map, self->npages, 9));
	close(self->uffd.fd);
	self->uffd.fd = -1;
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
	free(data);
}

/* Lazily freed memory: what a device has written to is in use again. */

static void free_lazily(struct __test_metadata *_metadata, char *map, size_t n)
{
	/*
	 * Drain the batches: pages wait there to be added to the LRU, and to
	 * become lazily freeable.
	 */
	vm_order("drop_caches", "1");
	ASSERT_EQ(0, madvise(map, n * PAGE_BYTES, MADV_FREE));
	vm_order("drop_caches", "1");
}

static void what_was_written_is_kept(struct __test_metadata *_metadata,
				     struct _test_data_dirty_tracking *self,
				     bool give_back)
{
	struct swap swap;

	if (!swap_start(&swap, HUGE_BYTES * 16))
		SKIP(return, "no swap");
	free_lazily(_metadata, self->map, self->npages);
	to_device(self);
	ASSERT_EQ(0, device_writes(self->fd, self->map, self->npages, 2));
	if (give_back)
		dmirror_command(self->fd, HMM_DMIRROR_MIGRATE_TO_SYS,
				self->map, self->npages);
	else
		read_pages(self->map, self->npages);
	EXPECT_TRUE(swap_out(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 2));
	swap_stop(&swap);
}

TEST_F(dirty_tracking, written_after_madv_free_and_read_by_the_cpu)
{
	if (variant->kind != SYSTEM)
		SKIP(return, "there are no pages");
	if (variant->device)
		SKIP(return, "the CPU reads coherent memory where it is");
	what_was_written_is_kept(_metadata, self, false);
}

TEST_F(dirty_tracking, written_after_madv_free_and_migrated_back)
{
	if (variant->kind != SYSTEM)
		SKIP(return, "there are no pages");
	what_was_written_is_kept(_metadata, self, true);
}

/* A driver with exclusive access need not mark pages as dirty, either. */
TEST(exclusive_memory_is_not_freed_lazily)
{
	const size_t n = SMALL_PAGES;
	struct swap swap;
	char *map;
	int fd;

	fd = dmirror_open(0);
	if (fd < 0)
		SKIP(return, "no dummy device");
	if (!swap_start(&swap, HUGE_BYTES * 16))
		SKIP(return, "no swap");
	map = map_anon_small(n * PAGE_BYTES);
	pattern_fill(map, n, 1);
	free_lazily(_metadata, map, n);
	ASSERT_EQ(0, device_seize(fd, map, n));
	ASSERT_EQ(n, device_seized(fd, map, n));
	read_pages(map, n);
	ASSERT_EQ(0, device_seized(fd, map, n));
	EXPECT_TRUE(swap_out(map, n));
	EXPECT_TRUE(pattern_is(map, n, 1));
	munmap(map, n * PAGE_BYTES);
	swap_stop(&swap);
	close(fd);
}

/*
 * Merged pages: KSM remembers their frames and reads them, so no device gets them.
 * What it may write to is a copy.
 */

static char *map_to_merge(void)
{
	char *map = map_anon_small(SMALL_PAGES * PAGE_BYTES);

	pattern_fill(map, SMALL_PAGES, 1);
	if (madvise(map, SMALL_PAGES * PAGE_BYTES, MADV_MERGEABLE))
		fatal("MADV_MERGEABLE: %s", strerror(errno));
	return map;
}

TEST(merged_pages_stay_and_are_copied)
{
	const size_t n = SMALL_PAGES;
	char *map, *twin, *third;
	struct ksm ksm;
	int fd;

	fd = dmirror_open(0);
	if (fd < 0)
		SKIP(return, "no dummy device");
	if (!fast_ksm_start(&ksm))
		SKIP(return, "no KSM");
	map = map_to_merge();
	twin = map_to_merge();
	ASSERT_TRUE(ksm_scans(5));
	EXPECT_LE((long)n, ksm_sharing());
	dmirror_to_device(fd, map, n);
	EXPECT_EQ(0, device_count(fd, map, n, own_place(0)));
	/* For this one, ksmd compares it with what it has. */
	third = map_to_merge();
	EXPECT_TRUE(ksm_scans(5));
	ASSERT_EQ(0, device_writes(fd, map, n, 9));
	EXPECT_TRUE(pattern_is(map, n, 9));
	EXPECT_TRUE(pattern_is(twin, n, 1));
	EXPECT_TRUE(pattern_is(third, n, 1));
	munmap(map, n * PAGE_BYTES);
	munmap(twin, n * PAGE_BYTES);
	munmap(third, n * PAGE_BYTES);
	fast_ksm_stop(&ksm);
	close(fd);
}

TEST_HARNESS_MAIN
