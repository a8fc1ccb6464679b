// SPDX-License-Identifier: GPL-2.0
/*
 * Migration of page cache from system memory to system memory: the file system
 * is notified of all writes, and its private data of a folio migrates along, or
 * the folio stays. All processes that mapped the folio have it mapped again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/device.h"
#include "lib/move.h"

#define N	16UL
#define BYTES	(N * PAGE_BYTES)
#define SEED	0x1000UL
#define OTHER	0x200000UL

FIXTURE(migrate_files)
{
	int probe;
	int fd;
	int file;
	char *map;	/* N pages of it, shared, with a pattern */
};

FIXTURE_VARIANT(migrate_files)
{
	bool shmem;
	__u64 flags;	/* of the probe's file system */
	bool moves;	/* pages that were not written to can be moved */
	bool moves_dirty;
};

FIXTURE_VARIANT_ADD(migrate_files, plain)
{
	.moves = true,
	.moves_dirty = true,
};

FIXTURE_VARIANT_ADD(migrate_files, records)
{
	.flags = HMM_FILE_RECORDS,
	.moves = true,
	.moves_dirty = true,
};

/*
 * Without a migrate_folio operation, a folio migrates only if it is clean and
 * has no private data.
 */
FIXTURE_VARIANT_ADD(migrate_files, plain_unmoved)
{
	.flags = HMM_FILE_UNMOVED,
	.moves = true,
};

FIXTURE_VARIANT_ADD(migrate_files, records_unmoved)
{
	.flags = HMM_FILE_RECORDS | HMM_FILE_UNMOVED,
};

FIXTURE_VARIANT_ADD(migrate_files, shmem)
{
	.shmem = true,
	.moves = true,
	.moves_dirty = true,
};

static char *map_file(int file)
{
	char *map = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file,
			 0);

	if (map == MAP_FAILED)
		fatal("mmap: %s", strerror(errno));
	return map;
}

FIXTURE_SETUP(migrate_files)
{
	self->probe = probe_open();
	self->fd = move_open();
	if (self->probe < 0 || self->fd < 0)
		SKIP(return, "no /dev/hmm_probe_move");
	self->file = variant->shmem ? memory_file(BYTES) :
				      move_file(self->fd, N, variant->flags);
	ASSERT_LE(0, self->file);
	self->map = map_file(self->file);
}

FIXTURE_TEARDOWN(migrate_files)
{
	munmap(self->map, BYTES);
	close(self->file);
	close(self->fd);
	close(self->probe);
}

#define RECORDS		(variant->flags & HMM_FILE_RECORDS ? N : 0)

#define EXPECT_RECORDS_IN_PLACE()					\
do {									\
	struct hmm_file_state state;					\
									\
	if (!variant->shmem) {						\
		state = move_file_state(self->file);			\
		EXPECT_EQ(RECORDS, state.records);			\
		EXPECT_EQ(RECORDS, state.attached);			\
	}								\
} while (0)

static size_t move_within(int fd, void *addr)
{
	return move_pages_to(fd, addr, N, HMM_MOVE_WITHIN, 0).moved;
}

/* How many of the pages are others than before */
static size_t others(int probe, char *map, const __u64 *pfns)
{
	size_t i, count = 0;

	for (i = 0; i < N; i++)
		count += pfn_at(probe, map + i * PAGE_BYTES) != pfns[i];
	return count;
}

static void move_and_check(struct __test_metadata *_metadata, int probe, int fd,
			   char *map, size_t expected)
{
	__u64 pfns[N];
	size_t i;

	for (i = 0; i < N; i++)
		pfns[i] = pfn_at(probe, map + i * PAGE_BYTES);
	EXPECT_EQ(expected, move_within(fd, map));
	EXPECT_EQ(expected, others(probe, map, pfns));
}

TEST_F(migrate_files, clean_pages)
{
	read_pages(self->map, N);
	move_and_check(_metadata, self->probe, self->fd, self->map,
		       variant->moves ? N : 0);
	EXPECT_TRUE(is_zero(self->map, N));
	EXPECT_RECORDS_IN_PLACE();
}

TEST_F(migrate_files, dirty_pages)
{
	pattern_fill(self->map, N, SEED);
	move_and_check(_metadata, self->probe, self->fd, self->map,
		       variant->moves_dirty ? N : 0);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_RECORDS_IN_PLACE();
	/* And once more, through a new mapping */
	munmap(self->map, BYTES);
	self->map = map_file(self->file);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	pattern_fill(self->map, N, OTHER);
	move_and_check(_metadata, self->probe, self->fd, self->map,
		       variant->moves_dirty ? N : 0);
	EXPECT_TRUE(pattern_is(self->map, N, OTHER));
	EXPECT_RECORDS_IN_PLACE();
}

/* The folio is dirty from the first time on; the file system may have cleaned up. */
TEST_F(migrate_files, each_write_is_reported)
{
	__u64 dirtied;

	if (variant->shmem)
		SKIP(return, "shmem is not notified");
	pattern_fill(self->map, N, SEED);
	munmap(self->map, BYTES);
	self->map = map_file(self->file);
	/* Mapped for writing without notice, as there is no page_mkwrite() */
	read_pages(self->map, N);
	pattern_fill(self->map, N, OTHER);
	dirtied = move_file_state(self->file).dirtied;
	EXPECT_LE(N, dirtied);
	move_pages_to(self->fd, self->map, N, HMM_MOVE_WITHIN | HMM_MOVE_NOWHERE,
		      0);
	EXPECT_EQ(dirtied + N, move_file_state(self->file).dirtied);
	EXPECT_TRUE(pattern_is(self->map, N, OTHER));
}

TEST_F(migrate_files, no_page_migrates_to_the_device)
{
	pattern_fill(self->map, N, SEED);
	EXPECT_EQ(0, move_pages_to(self->fd, self->map, N, HMM_MOVE_TO_DEVICE,
				   0).moved);
	EXPECT_TRUE(move_in_use_is(self->fd, 0));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	EXPECT_RECORDS_IN_PLACE();
}

/*
 * Shared memory that two processes map, writable both: each has its mappings back,
 * and they are counted as a file's, whether the pages move or stay.
 */

#define MANY		4096UL

static long work_touch(char *addr, size_t npages, __u64 seed)
{
	return pattern_is(addr, npages, seed);
}

FIXTURE(shared)
{
	int fd;
	char *map;
	size_t npages;
	struct child child;
};

FIXTURE_VARIANT(shared)
{
	bool huge;
	__u64 flags;
};

FIXTURE_VARIANT_ADD(shared, small_moves)
{
	.flags = HMM_MOVE_WITHIN,
};

FIXTURE_VARIANT_ADD(shared, small_stays)
{
	.flags = HMM_MOVE_WITHIN | HMM_MOVE_NOWHERE,
};

/* As drivers migrate that do not set MIGRATE_VMA_TO_DEVICE */
FIXTURE_VARIANT_ADD(shared, small_to_the_device)
{
	.flags = HMM_MOVE_TO_DEVICE,
};

FIXTURE_VARIANT_ADD(shared, huge_stays)
{
	.huge = true,
	.flags = HMM_MOVE_WITHIN | HMM_MOVE_NOWHERE | HMM_MOVE_COMPOUND,
};

FIXTURE_SETUP(shared)
{
	self->fd = move_open();
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_probe_move");
	self->npages = variant->huge ? HUGE_PAGES : MANY;
	self->map = mmap(NULL, 2 * HUGE_BYTES + MANY * PAGE_BYTES,
			 PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			 0);
	ASSERT_NE(MAP_FAILED, self->map);
	if (variant->huge) {
		uintptr_t at = (uintptr_t)self->map + HUGE_BYTES - 1;

		self->map = (char *)(at & ~(HUGE_BYTES - 1));
		madvise(self->map, HUGE_BYTES, MADV_HUGEPAGE);
	}
	pattern_fill(self->map, self->npages, SEED);
	child_start(&self->child);
	ASSERT_TRUE(child_do(&self->child, work_touch, self->map, self->npages,
			     SEED));
}

FIXTURE_TEARDOWN(shared)
{
	child_stop(&self->child);
	close(self->fd);
}

TEST_F(shared, both_processes_keep_their_mappings)
{
	long anon = vm_event("nr_anon_pages"), mapped = vm_event("nr_mapped");
	long slack = self->npages / 2 + 300;	/* per-CPU counts not yet added */
	size_t i;

	for (i = 0; i < 4; i++)
		move_pages_to(self->fd, self->map, self->npages, variant->flags,
			      0);
	EXPECT_TRUE(child_do(&self->child, work_touch, self->map, self->npages,
			     SEED));
	EXPECT_TRUE(pattern_is(self->map, self->npages, SEED));
	EXPECT_GT(slack, labs(vm_event("nr_anon_pages") - anon));
	EXPECT_GT(slack, labs(vm_event("nr_mapped") - mapped));
	pattern_fill(self->map, self->npages, OTHER);
	EXPECT_TRUE(child_do(&self->child, work_touch, self->map, self->npages,
			     OTHER));
}

TEST_HARNESS_MAIN
