// SPDX-License-Identifier: GPL-2.0
/*
 * What an entry says of its page, beyond where that is, outlives what happens to
 * the entry: that it has been written to.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"
#include "lib/move.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE		0x08
#endif

PLACED_FIXTURE(soft_dirty);

/* The CPU writes, and the pages go to where they belong. */
static void write_to(struct __test_metadata *_metadata, struct placed *placed)
{
	char *map = placed->map;
	size_t n = placed->npages;

	clear_softdirty();
	if (!placed->on_device && is_soft_dirty(map))
		SKIP(return, "no soft-dirty bits");
	pattern_fill(map, n, 2);
	if (placed->on_device)
		device_take(placed->fd, map, n);
	ASSERT_EQ(n, placed_count(placed, map, n));
	ASSERT_EQ(n, dirty_pages(map, n));
}

TEST_F(soft_dirty, soft_dirty_survives_fork)
{
	pid_t child;

	write_to(_metadata, &self->placed);
	child = fork_off();
	if (!child)
		_exit(dirty_pages(self->map, self->npages) != self->npages);
	EXPECT_EQ(0, wait_for_child(child, 10));
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 2));
}

TEST_F(soft_dirty, soft_dirty_survives_mprotect)
{
	write_to(_metadata, &self->placed);
	ASSERT_EQ(0, mprotect(self->map, self->bytes, PROT_READ));
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
	ASSERT_EQ(0, mprotect(self->map, self->bytes, PROT_READ | PROT_WRITE));
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 2));
}

TEST_F(soft_dirty, soft_dirty_survives_mremap)
{
	char *to = map_anon(self->bytes);

	write_to(_metadata, &self->placed);
	ASSERT_EQ(to, mremap(self->map, self->bytes, self->bytes,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(self->npages, dirty_entries(to, self->npages));
	EXPECT_TRUE(pattern_is(to, self->npages, 2));
}

/* There and back again */
TEST_F(soft_dirty, soft_dirty_survives_migration)
{
	write_to(_metadata, &self->placed);
	device_take(self->fd, self->map, self->npages);
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
	device_give_back(self->fd, self->map, self->npages);
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 2));
}

/* Cleared, it is set by the next write, wherever the page was meanwhile. */
TEST_F(soft_dirty, writes_show_after_clearing)
{
	write_to(_metadata, &self->placed);
	clear_softdirty();
	EXPECT_EQ(0, dirty_pages(self->map, self->npages));
	pattern_fill(self->map, self->npages, 3);
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
}

TEST_F(soft_dirty, writes_show_after_clearing_and_migration)
{
	write_to(_metadata, &self->placed);
	clear_softdirty();
	device_take(self->fd, self->map, self->npages);
	device_give_back(self->fd, self->map, self->npages);
	EXPECT_EQ(0, dirty_pages(self->map, self->npages));
	pattern_fill(self->map, self->npages, 3);
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
}

/* A device's writes show as the CPU's do. */

static void must_show(struct __test_metadata *_metadata, struct placed *placed)
{
	ASSERT_EQ(0, device_writes_parts(placed->fd, placed->map,
					 placed->npages, 4));
	EXPECT_EQ(placed->npages, dirty_entries(placed->map, placed->npages));
	EXPECT_TRUE(pattern_is(placed->map, placed->npages, 4));
	EXPECT_EQ(placed->npages, dirty_pages(placed->map, placed->npages));
}

TEST_F(soft_dirty, device_writes_show_after_clearing)
{
	write_to(_metadata, &self->placed);
	ASSERT_EQ(0, device_writes_parts(self->fd, self->map, self->npages, 3));
	clear_softdirty();
	EXPECT_EQ(0, dirty_pages(self->map, self->npages));
	must_show(_metadata, &self->placed);
}

TEST_F(soft_dirty, device_writes_show_after_clearing_and_migration)
{
	write_to(_metadata, &self->placed);
	clear_softdirty();
	device_take(self->fd, self->map, self->npages);
	EXPECT_EQ(0, dirty_pages(self->map, self->npages));
	must_show(_metadata, &self->placed);
}

/*
 * The CPU has no write access to exclusive pages, but the device's writes show.
 */
TEST_F(soft_dirty, exclusive_writes_show_after_clearing)
{
	write_to(_metadata, &self->placed);
	if (self->placed.device)
		SKIP(return, "not of coherent memory");
	clear_softdirty();
	if (device_ask(self->fd, HMM_DMIRROR_EXCLUSIVE, self->map, NULL,
		       self->npages).rc)
		SKIP(return, "the stock dummy driver needs a buffer");
	must_show(_metadata, &self->placed);
	clear_softdirty();
	EXPECT_EQ(0, dirty_pages(self->map, self->npages));
	must_show(_metadata, &self->placed);
}

/* Where there was nothing */

FIXTURE(soft_dirty_new)
{
	int fd;
	char *map;
	size_t npages;
};

FIXTURE_VARIANT(soft_dirty_new)
{
	unsigned int device;
	bool huge;
	bool zeroes;
};

FIXTURE_VARIANT_ADD(soft_dirty_new, private_holes)
{
	.huge = false,
};

FIXTURE_VARIANT_ADD(soft_dirty_new, private_zeroes)
{
	.zeroes = true,
};

FIXTURE_VARIANT_ADD(soft_dirty_new, private_huge_hole)
{
	.huge = true,
};

FIXTURE_VARIANT_ADD(soft_dirty_new, private_huge_zeroes)
{
	.huge = true,
	.zeroes = true,
};

FIXTURE_VARIANT_ADD(soft_dirty_new, coherent_holes)
{
	.device = 2,
};

FIXTURE_VARIANT_ADD(soft_dirty_new, coherent_zeroes)
{
	.device = 2,
	.zeroes = true,
};

FIXTURE_SETUP(soft_dirty_new)
{
	self->fd = dmirror_open(variant->device);
	if (self->fd < 0)
		SKIP(return, "no dummy device");
	if (!device_is_ours(self->fd))
		SKIP(return, "the stock dummy driver oopses");
	self->npages = variant->huge ? HUGE_PAGES : 16;
	self->map = variant->huge ? device_map_thp(self->fd, HUGE_BYTES) :
				    map_anon_small(16 * PAGE_BYTES);
	if (!self->map)
		SKIP(return, "no huge page");
}

FIXTURE_TEARDOWN(soft_dirty_new)
{
	close(self->fd);
}

TEST_F(soft_dirty_new, device_writes_show)
{
	ASSERT_EQ(0, madvise(self->map, self->npages * PAGE_BYTES,
			     MADV_DONTNEED));
	if (variant->zeroes)
		read_pages(self->map, self->npages);
	clear_softdirty();
	ASSERT_EQ(0, dirty_pages(self->map, self->npages));
	dmirror_to_device(self->fd, self->map, self->npages);
	ASSERT_EQ(self->npages,
		  device_count(self->fd, self->map, self->npages,
			       own_place(variant->device)));
	ASSERT_EQ(0, device_writes(self->fd, self->map, self->npages, 4));
	EXPECT_EQ(self->npages, dirty_entries(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 4));
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
}

/* Lazily freed */

/* More than any test before may have had on the stock driver's device at once */
#define USED_BEFORE		(32 * HUGE_PAGES)

/*
 * The stock kernel leaves PG_swapbacked set in pages of the device, and the page
 * used last is the first to be used again: take those away that may have it.
 */
static char *take_used_pages(int fd)
{
	char *map = map_anon_small(USED_BEFORE * PAGE_BYTES);

	pattern_fill(map, USED_BEFORE, 3);
	dmirror_to_device(fd, map, USED_BEFORE);
	return map;
}

FIXTURE(lazily_freed)
{
	int fd;
	char *map;
	char *used;
	size_t npages;
	struct swap swap;
	bool swaps;
};

FIXTURE_VARIANT(lazily_freed)
{
	unsigned int device;
	bool huge;
	bool evict;
	bool read;
};

FIXTURE_VARIANT_ADD(lazily_freed, small_migrated_back)
{
	.huge = false,
};

FIXTURE_VARIANT_ADD(lazily_freed, small_evicted)
{
	.evict = true,
};

FIXTURE_VARIANT_ADD(lazily_freed, small_read)
{
	.read = true,
};

FIXTURE_VARIANT_ADD(lazily_freed, coherent_migrated_back)
{
	.device = 2,
};

FIXTURE_VARIANT_ADD(lazily_freed, huge_migrated_back)
{
	.huge = true,
};

FIXTURE_VARIANT_ADD(lazily_freed, huge_evicted)
{
	.huge = true,
	.evict = true,
};

FIXTURE_VARIANT_ADD(lazily_freed, huge_read)
{
	.huge = true,
	.read = true,
};

FIXTURE_SETUP(lazily_freed)
{
	self->fd = dmirror_open(variant->device);
	if (self->fd < 0)
		SKIP(return, "no dummy device");
	if (variant->huge && !device_is_ours(self->fd))
		SKIP(return, "the stock dummy driver oopses");
	if (variant->evict && !device_is_ours(self->fd))
		SKIP(return, "the stock dummy driver evicts nothing");
	self->npages = variant->huge ? HUGE_PAGES : 16;
	self->map = variant->huge ? map_pattern_thp(self->fd, HUGE_BYTES, 1) :
				    map_anon_small(16 * PAGE_BYTES);
	if (!self->map)
		SKIP(return, "no huge page");
	self->swaps = swap_start(&self->swap, HUGE_BYTES * 16);
	if (!self->swaps)
		SKIP(return, "no swap");
	if (!device_is_ours(self->fd))
		self->used = take_used_pages(self->fd);
}

FIXTURE_TEARDOWN(lazily_freed)
{
	if (self->used)
		munmap(self->used, USED_BEFORE * PAGE_BYTES);
	if (self->swaps)
		swap_stop(&self->swap);
	close(self->fd);
}

/* On the device it is used again, though its driver marks nothing. */
TEST_F(lazily_freed, device_write_survives_reclaim)
{
	if (device_is_ours(self->fd))
		device_flags(self->fd, HMM_DMIRROR_FLAG_NEVER_DIRTY);
	pattern_fill(self->map, self->npages, 1);
	/*
	 * Drain the batches: pages wait there to be added to the LRU, and to
	 * become lazily freeable.
	 */
	vm_order("drop_caches", "1");
	ASSERT_EQ(0, madvise(self->map, self->npages * PAGE_BYTES, MADV_FREE));
	vm_order("drop_caches", "1");
	dmirror_to_device(self->fd, self->map, self->npages);
	ASSERT_EQ(self->npages,
		  device_count(self->fd, self->map, self->npages,
			       own_place(variant->device)));
	ASSERT_EQ(0, device_writes(self->fd, self->map, self->npages, 2));
	if (variant->evict)
		device_evict(self->fd);
	else if (variant->read)
		read_pages(self->map, self->npages);
	else
		dmirror_command(self->fd, HMM_DMIRROR_MIGRATE_TO_SYS,
				self->map, self->npages);
	ASSERT_TRUE(swap_out(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 2));
}

/* Droppable memory is dropped, never swapped out, wherever it has been. */
TEST(droppable_memory_is_not_swapped)
{
	const size_t n = 16;
	struct swap swap;
	char *map, *other;
	int fd;

	fd = dmirror_open(0);
	if (fd < 0)
		SKIP(return, "no dummy device");
	map = mmap(NULL, n * PAGE_BYTES, PROT_READ | PROT_WRITE,
		   MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		SKIP(return, "no droppable memory");
	if (!swap_start(&swap, HUGE_BYTES * 16))
		SKIP(return, "no swap");
	madvise(map, n * PAGE_BYTES, MADV_NOHUGEPAGE);
	/* The device's pages have been used, for memory that is swapped. */
	other = map_anon_small(n * PAGE_BYTES);
	pattern_fill(other, n, 2);
	dmirror_to_device(fd, other, n);
	munmap(other, n * PAGE_BYTES);
	pattern_fill(map, n, 1);
	dmirror_to_device(fd, map, n);
	EXPECT_EQ(n, device_count(fd, map, n, own_place(0)));
	EXPECT_TRUE(pattern_is(map, n, 1));
	EXPECT_EQ(0, swapped_pages(map, n));
	vm_order("drop_caches", "1");
	EXPECT_EQ(0, madvise(map, n * PAGE_BYTES, MADV_PAGEOUT));
	EXPECT_EQ(0, present_pages(map, n));
	EXPECT_EQ(0, swapped_pages(map, n));
	munmap(map, n * PAGE_BYTES);
	swap_stop(&swap);
	close(fd);
}

/* During the migration, writes begin to be tracked. */

FIXTURE(soft_dirty_migrating)
{
	int probe;
	struct held held;
	char *map;
	size_t npages;
	struct uffd uffd;
};

FIXTURE_VARIANT(soft_dirty_migrating)
{
	__u64 flags;
	bool huge;
};

#define HELD_WHOLE	(HMM_MOVE_COMPOUND | HMM_MOVE_FOLIOS)
#define HELD_TO_DEVICE	(HELD_WHOLE | HMM_MOVE_TO_DEVICE | HMM_MOVE_HINT)

FIXTURE_VARIANT_ADD(soft_dirty_migrating, to_device_ptes)
{
	.flags = HELD_TO_DEVICE | HMM_MOVE_STAY_MOVED,
};

FIXTURE_VARIANT_ADD(soft_dirty_migrating, to_device_pmd)
{
	.flags = HELD_TO_DEVICE | HMM_MOVE_STAY_MOVED,
	.huge = true,
};

FIXTURE_VARIANT_ADD(soft_dirty_migrating, to_system_ptes)
{
	.flags = HELD_WHOLE | HMM_MOVE_STAY_UNMAPPED,
};

FIXTURE_VARIANT_ADD(soft_dirty_migrating, to_system_pmd)
{
	.flags = HELD_WHOLE | HMM_MOVE_STAY_UNMAPPED,
	.huge = true,
};

FIXTURE_VARIANT_ADD(soft_dirty_migrating, evict_ptes)
{
	.flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED,
};

FIXTURE_VARIANT_ADD(soft_dirty_migrating, evict_pmd)
{
	.flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED,
	.huge = true,
};

FIXTURE_SETUP(soft_dirty_migrating)
{
	self->uffd.fd = -1;
	self->probe = probe_open();
	self->held.fd = move_open();
	if (self->probe < 0 || self->held.fd < 0)
		SKIP(return, "no /dev/hmm_probe_move");
	move_serve(self->held.fd, HUGE_PAGES, HELD_WHOLE, 0);
	self->npages = variant->huge ? HUGE_PAGES : 1;
	self->map = variant->huge ? map_thp(self->probe, HUGE_BYTES) :
				    map_anon_small(PAGE_BYTES);
	if (!self->map)
		SKIP(return, "no huge page");
}

FIXTURE_TEARDOWN(soft_dirty_migrating)
{
	if (self->uffd.fd >= 0)
		close(self->uffd.fd);
	munmap(self->map, self->npages * PAGE_BYTES);
	EXPECT_TRUE(move_in_use_is(self->held.fd, 0));
	close(self->held.fd);
	close(self->probe);
}

/* Written to, and then held on its way */
static void hold(struct _test_data_soft_dirty_migrating *self, __u64 flags)
{
	bool by_pfn = flags & HMM_MOVE_BY_PFN;

	pattern_fill(self->map, self->npages, 1);
	if (!(flags & HMM_MOVE_TO_DEVICE) &&
	    move_to_device(self->held.fd, self->map, self->npages).moved !=
	    self->npages)
		fatal("nothing has moved to the device");
	self->held.move = (struct hmm_move) {
		.addr = by_pfn ? pfn_at(self->probe, self->map) :
				 (uintptr_t)self->map,
		.npages = self->npages,
		.flags = flags,
		.order = self->npages > 1 ? HUGE_ORDER : 0,
	};
	held_start(&self->held);
}

TEST_F(soft_dirty_migrating, writes_show_after_pagemap_scan)
{
	if (uffd_open(&self->uffd, UFFD_FEATURE_PAGEFAULT_FLAG_WP |
		      UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC) ||
	    uffd_watch(&self->uffd, self->map, self->npages * PAGE_BYTES,
		       UFFDIO_REGISTER_MODE_WP))
		SKIP(return, "no asynchronous write protection");
	hold(self, variant->flags);
	EXPECT_EQ(self->npages, written_protect(self->map, self->npages));
	held_finish(&self->held);
	EXPECT_EQ(self->npages, self->held.move.moved);
	EXPECT_EQ(0, written_protect(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
	EXPECT_EQ(0, written_protect(self->map, self->npages));
	pattern_fill(self->map, self->npages, 2);
	EXPECT_EQ(self->npages, written_protect(self->map, self->npages));
}

/* By address, mmap_lock is held meanwhile, which clear_refs waits for. */
TEST_F(soft_dirty_migrating, writes_show_after_clear_refs)
{
	if (!(variant->flags & HMM_MOVE_BY_PFN))
		SKIP(return, "of evictions");
	hold(self, variant->flags);
	if (dirty_pages(self->map, self->npages) != self->npages)
		SKIP(held_finish(&self->held); return, "no soft-dirty bits");
	clear_softdirty();
	held_finish(&self->held);
	EXPECT_EQ(self->npages, self->held.move.moved);
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
	EXPECT_EQ(0, dirty_pages(self->map, self->npages));
	pattern_fill(self->map, self->npages, 2);
	EXPECT_EQ(self->npages, dirty_pages(self->map, self->npages));
}

/* A huge page that stays where it is has not been written to (of x86). */
TEST_F(soft_dirty_migrating, what_stays_is_not_soft_dirty)
{
	const __u64 flags = HELD_TO_DEVICE | HMM_MOVE_NOWHERE;

	if (!(variant->flags & HMM_MOVE_TO_DEVICE))
		SKIP(return, "to the device");
	pattern_fill(self->map, self->npages, 1);
	if (dirty_pages(self->map, self->npages) != self->npages)
		SKIP(return, "no soft-dirty bits");
	clear_softdirty();
	EXPECT_EQ(0, move_pages_to(self->held.fd, self->map, self->npages,
				   flags, HUGE_ORDER).moved);
	EXPECT_EQ(0, dirty_pages(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
}

TEST_HARNESS_MAIN
