// SPDX-License-Identifier: GPL-2.0
/*
 * Migration of large folios: whole, in part, split on the device, and as small
 * pages if no large one can be allocated. Whatever the order, the data stays
 * correct and all device memory is freed in the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/device.h"

#define SEED		0x1000UL
#define OTHER		0x200000UL
#define THP		"/sys/kernel/mm/transparent_hugepage/hugepages-"
#define LOCAL		HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL

FIXTURE(migrate_large)
{
	int fd;
	char *map;	/* two huge pages with a pattern */
	struct hmm_dmirror_counters before;
};

FIXTURE_SETUP(migrate_large)
{
	const char *reason;

	self->fd = device_open(0, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	self->map = device_map_thp(self->fd, 2 * HUGE_BYTES);
	if (!self->map)
		SKIP(return, "no huge pages");
	pattern_fill(self->map, 2 * HUGE_PAGES, SEED);
	self->before = device_counters(self->fd);
}

FIXTURE_TEARDOWN(migrate_large)
{
	munmap(self->map, 2 * HUGE_BYTES);
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
	close(self->fd);
}

/* All pages are at a place, mapped by huge entries or not. */
static bool all_are(int fd, char *map, size_t npages, unsigned char place, bool huge)
{
	static unsigned char bytes[2 * HUGE_PAGES];
	size_t i;

	device_look(fd, map, npages, bytes);
	for (i = 0; i < npages; i++) {
		bool is_huge = bytes[i] & HMM_DMIRROR_PROT_PMD;

		if ((bytes[i] & PLACE_MASK) != place || is_huge != huge) {
			printf("# page %zu: %#x\n", i, bytes[i]);
			return false;
		}
	}
	return true;
}

#define EXPECT_ALL(map, npages, place, huge)					\
	EXPECT_TRUE(all_are(self->fd, map, npages, place, huge))

#define counted()	device_since(self->fd, &self->before)

static void move_as_one(struct __test_metadata *_metadata,
			struct _test_data_migrate_large *self)
{
	struct answer answer = device_take(self->fd, self->map, 2 * HUGE_PAGES);

	EXPECT_EQ(0, answer.rc);
	EXPECT_EQ(2 * HUGE_PAGES, answer.cpages);
	EXPECT_ALL(self->map, 2 * HUGE_PAGES, LOCAL, true);
	EXPECT_EQ(2 * HUGE_PAGES, counted().in_use);
	EXPECT_EQ(2 * HUGE_PAGES, counted().migrated_in);
	EXPECT_TRUE(device_reads(self->fd, self->map, 2 * HUGE_PAGES, SEED));

	answer = device_give_back(self->fd, self->map, 2 * HUGE_PAGES);
	EXPECT_EQ(0, answer.rc);
	EXPECT_EQ(2 * HUGE_PAGES, answer.cpages);
	EXPECT_EQ(0, counted().in_use);
	EXPECT_EQ(0, counted().splits);
	if (!counted().fallbacks)
		EXPECT_ALL(self->map, 2 * HUGE_PAGES, HMM_DMIRROR_PROT_NONE, true);
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
}

TEST_F(migrate_large, moves_as_one)
{
	move_as_one(_metadata, self);
}

/* The kernel notes the access: a page that is accessed more than once is active. */
static bool make_active(char *map, size_t bytes)
{
	void *data = buffer_of(bytes);
	int file = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	bool read = true;
	unsigned int i;

	for (i = 0; i < 4; i++)
		read &= pread(file, data, bytes, (uintptr_t)map) == bytes;
	close(file);
	free(data);
	return read;
}

/*
 * Large folios must not inherit flags of the small pages that were in their
 * place on the device: the active flag, in the second page, would mean that
 * memory is poisoned.
 */
TEST_F(migrate_large, moves_as_one_where_active_pages_were)
{
	char *small = map_anon_small(4 * HUGE_BYTES);

	pattern_fill(small, 4 * HUGE_PAGES, OTHER);
	ASSERT_TRUE(make_active(small, 4 * HUGE_BYTES));
	EXPECT_EQ(0, device_take(self->fd, small, 4 * HUGE_PAGES).rc);
	ASSERT_EQ(0, munmap(small, 4 * HUGE_BYTES));
	EXPECT_TRUE(device_in_use_is(self->fd, 0));
	self->before = device_counters(self->fd);
	move_as_one(_metadata, self);
}

/* One CPU fault brings the whole page. */
TEST_F(migrate_large, migrates_back_as_one)
{
	char *middle = self->map + HUGE_BYTES / 2;

	ASSERT_EQ(0, device_take(self->fd, self->map, 2 * HUGE_PAGES).rc);
	EXPECT_TRUE(pattern_is(middle, 1, SEED + HUGE_PAGES / 2));
	if (!counted().fallbacks) {
		EXPECT_EQ(1, counted().cpu_faults);
		EXPECT_EQ(HUGE_PAGES, counted().faulted_out);
		EXPECT_ALL(self->map, HUGE_PAGES, HMM_DMIRROR_PROT_NONE, true);
	}
	EXPECT_ALL(self->map + HUGE_BYTES, HUGE_PAGES, LOCAL, true);
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
	EXPECT_EQ(0, counted().in_use);
	EXPECT_EQ(0, counted().splits);
}

TEST_F(migrate_large, device_writes)
{
	ASSERT_EQ(0, device_take(self->fd, self->map, 2 * HUGE_PAGES).rc);
	EXPECT_EQ(0, device_writes(self->fd, self->map + 10 * PAGE_BYTES, HUGE_PAGES, OTHER));
	EXPECT_ALL(self->map, 2 * HUGE_PAGES, LOCAL, true);
	EXPECT_TRUE(pattern_is(self->map, 10, SEED));
	EXPECT_TRUE(pattern_is(self->map + 10 * PAGE_BYTES, HUGE_PAGES, OTHER));
	EXPECT_TRUE(pattern_is(self->map + HUGE_BYTES + 10 * PAGE_BYTES, HUGE_PAGES - 10,
			       SEED + HUGE_PAGES + 10));
}

TEST_F(migrate_large, large_hole)
{
	ASSERT_EQ(0, madvise(self->map, 2 * HUGE_BYTES, MADV_DONTNEED));
	ASSERT_EQ(0, device_take(self->fd, self->map, 2 * HUGE_PAGES).rc);
	EXPECT_ALL(self->map, 2 * HUGE_PAGES, LOCAL, true);
	EXPECT_EQ(0, device_writes(self->fd, self->map, 2, SEED));
	EXPECT_TRUE(pattern_is(self->map, 2, SEED));
	EXPECT_TRUE(is_zero(self->map + 2 * PAGE_BYTES, 2 * HUGE_PAGES - 2));
}

TEST_F(migrate_large, huge_zero_page)
{
	ASSERT_EQ(0, madvise(self->map, 2 * HUGE_BYTES, MADV_DONTNEED));
	read_pages(self->map, 2 * HUGE_PAGES);
	ASSERT_EQ(0, device_take(self->fd, self->map, 2 * HUGE_PAGES).rc);
	EXPECT_EQ(2 * HUGE_PAGES, device_count(self->fd, self->map, 2 * HUGE_PAGES, LOCAL));
	EXPECT_EQ(0, device_writes(self->fd, self->map, 2, SEED));
	EXPECT_TRUE(pattern_is(self->map, 2, SEED));
	EXPECT_TRUE(is_zero(self->map + 2 * PAGE_BYTES, 2 * HUGE_PAGES - 2));
}

/* Part of a hole, of which the rest stays one */
TEST_F(migrate_large, part_of_a_hole)
{
	ASSERT_EQ(0, madvise(self->map, HUGE_BYTES, MADV_DONTNEED));
	ASSERT_EQ(0, device_take(self->fd, self->map + 7 * PAGE_BYTES, 9).rc);
	EXPECT_EQ(9, device_count(self->fd, self->map, HUGE_PAGES, LOCAL));
	EXPECT_EQ(9, counted().in_use);
	EXPECT_TRUE(is_zero(self->map, HUGE_PAGES));
	EXPECT_TRUE(pattern_is(self->map + HUGE_BYTES, HUGE_PAGES, SEED + HUGE_PAGES));
}

/* From the middle of one huge page to the middle of the next */
TEST_F(migrate_large, parts_of_two_pages)
{
	char *middle = self->map + HUGE_BYTES / 2;

	ASSERT_EQ(0, device_take(self->fd, middle, HUGE_PAGES).rc);
	EXPECT_EQ(HUGE_PAGES, device_count(self->fd, middle, HUGE_PAGES, LOCAL));
	EXPECT_EQ(HUGE_PAGES, counted().in_use);
	EXPECT_TRUE(device_reads(self->fd, self->map, 2 * HUGE_PAGES, SEED));
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
}

/* A part of what is one page on the device comes back, the rest stays there. */
TEST_F(migrate_large, part_migrates_back)
{
	char *part = self->map + 100 * PAGE_BYTES;

	ASSERT_EQ(0, device_take(self->fd, self->map, 2 * HUGE_PAGES).rc);
	EXPECT_EQ(10, device_give_back(self->fd, part, 10).cpages);
	EXPECT_EQ(0, device_count(self->fd, part, 10, LOCAL));
	EXPECT_EQ(HUGE_PAGES - 10, device_count(self->fd, self->map, HUGE_PAGES, LOCAL));
	EXPECT_LT(0, counted().splits);
	EXPECT_ALL(self->map + HUGE_BYTES, HUGE_PAGES, LOCAL, true);
	EXPECT_TRUE(device_reads(self->fd, self->map, 2 * HUGE_PAGES, SEED));
	EXPECT_TRUE(pattern_is(part - PAGE_BYTES, 12, SEED + 99));
	EXPECT_EQ(0, device_take(self->fd, self->map, HUGE_PAGES).rc);
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
}

/* This migration uses small pages instead; the next one does not. */
TEST_F(migrate_large, no_large_page_on_the_device)
{
	struct answer answer;

	ASSERT_EQ(0, device_flags(self->fd, HMM_DMIRROR_FLAG_FAIL_ALLOC));
	answer = device_take(self->fd, self->map, HUGE_PAGES);
	EXPECT_EQ(0, answer.rc);
	EXPECT_EQ(HUGE_PAGES, answer.cpages);
	EXPECT_EQ(1, counted().fallbacks);
	EXPECT_ALL(self->map, HUGE_PAGES, LOCAL, false);
	EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, SEED));

	EXPECT_EQ(0, device_take(self->fd, self->map + HUGE_BYTES, HUGE_PAGES).rc);
	EXPECT_ALL(self->map + HUGE_BYTES, HUGE_PAGES, LOCAL, true);
	EXPECT_EQ(1, counted().fallbacks);
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
}

TEST_F(migrate_large, no_large_page_for_a_hole)
{
	ASSERT_EQ(0, madvise(self->map, HUGE_BYTES, MADV_DONTNEED));
	ASSERT_EQ(0, device_flags(self->fd, HMM_DMIRROR_FLAG_FAIL_ALLOC));
	EXPECT_EQ(0, device_take(self->fd, self->map, HUGE_PAGES).rc);
	EXPECT_EQ(1, counted().fallbacks);
	EXPECT_ALL(self->map, HUGE_PAGES, LOCAL, false);
	EXPECT_TRUE(is_zero(self->map, HUGE_PAGES));
	EXPECT_TRUE(pattern_is(self->map + HUGE_BYTES, HUGE_PAGES, SEED + HUGE_PAGES));
}

TEST_F(migrate_large, no_large_page_in_the_system)
{
	struct answer answer;

	ASSERT_EQ(0, device_take(self->fd, self->map, HUGE_PAGES).rc);
	ASSERT_EQ(0, device_flags(self->fd, HMM_DMIRROR_FLAG_FAIL_ALLOC));
	answer = device_give_back(self->fd, self->map, HUGE_PAGES);
	EXPECT_EQ(0, answer.rc);
	EXPECT_EQ(HUGE_PAGES, answer.cpages);
	EXPECT_EQ(0, device_count(self->fd, self->map, HUGE_PAGES, LOCAL));
	EXPECT_ALL(self->map, HUGE_PAGES, HMM_DMIRROR_PROT_NONE, false);
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
}

TEST_F(migrate_large, no_large_page_for_a_cpu_fault)
{
	ASSERT_EQ(0, device_take(self->fd, self->map, HUGE_PAGES).rc);
	ASSERT_EQ(0, device_flags(self->fd, HMM_DMIRROR_FLAG_FAIL_ALLOC));
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, SEED));
	EXPECT_ALL(self->map, HUGE_PAGES, HMM_DMIRROR_PROT_NONE, false);
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
}

/* Every small page of the fallback fails in turn: then all of it stays. */
TEST_F(migrate_large, fallback_fails)
{
	static const __u64 steps[] = { 2, 3, HUGE_PAGES / 2, HUGE_PAGES, HUGE_PAGES + 1 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		struct answer answer;

		/* The large page counts as a step unless the flag is why there is none. */
		device_fail(self->fd, HMM_DMIRROR_FAIL_DEVICE_ALLOC, steps[i] - 1);
		ASSERT_EQ(0, device_flags(self->fd, HMM_DMIRROR_FLAG_FAIL_ALLOC));
		answer = device_take(self->fd, self->map, HUGE_PAGES);
		EXPECT_EQ(0, device_fail(self->fd, HMM_DMIRROR_FAIL_DEVICE_ALLOC, 0));
		EXPECT_EQ(-ENOENT, answer.rc);
		EXPECT_EQ(0, answer.cpages);
		EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
		ASSERT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
	}
	EXPECT_EQ(0, counted().fallbacks);
	EXPECT_EQ(ARRAY_SIZE(steps), counted().alloc_failures);
	EXPECT_EQ(0, device_take(self->fd, self->map, HUGE_PAGES).rc);
	EXPECT_ALL(self->map, HUGE_PAGES, LOCAL, true);
}

/* Split while it is on the device */

TEST_F(migrate_large, part_is_protected)
{
	char *part = self->map + 50 * PAGE_BYTES;

	ASSERT_EQ(0, device_take(self->fd, self->map, HUGE_PAGES).rc);
	ASSERT_EQ(0, mprotect(part, 50 * PAGE_BYTES, PROT_READ));
	EXPECT_ALL(self->map, HUGE_PAGES, LOCAL, false);
	EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, SEED));
	EXPECT_NE(0, device_writes(self->fd, part, 1, OTHER));
	EXPECT_EQ(0, device_writes(self->fd, self->map, 50, OTHER));
	EXPECT_TRUE(pattern_is(self->map, 50, OTHER));
	EXPECT_TRUE(pattern_is(part, 2 * HUGE_PAGES - 50, SEED + 50));
}

TEST_F(migrate_large, part_is_unmapped)
{
	size_t kept = HUGE_PAGES - 100;

	ASSERT_EQ(0, device_take(self->fd, self->map, HUGE_PAGES).rc);
	ASSERT_EQ(0, munmap(self->map, 50 * PAGE_BYTES));
	ASSERT_EQ(0, munmap(self->map + (kept + 50) * PAGE_BYTES, 50 * PAGE_BYTES));
	EXPECT_EQ(kept, device_count(self->fd, self->map + 50 * PAGE_BYTES, kept, LOCAL));
	EXPECT_TRUE(device_reads(self->fd, self->map + 50 * PAGE_BYTES, kept, SEED + 50));
	EXPECT_EQ(0, device_give_back(self->fd, self->map + 50 * PAGE_BYTES, kept / 2).rc);
	EXPECT_TRUE(pattern_is(self->map + 50 * PAGE_BYTES, kept, SEED + 50));
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
}

TEST_F(migrate_large, part_is_dropped)
{
	char *part = self->map + 50 * PAGE_BYTES;

	ASSERT_EQ(0, device_take(self->fd, self->map, 2 * HUGE_PAGES).rc);
	ASSERT_EQ(0, madvise(part, 50 * PAGE_BYTES, MADV_DONTNEED));
	EXPECT_EQ(HUGE_PAGES - 50, device_count(self->fd, self->map, HUGE_PAGES, LOCAL));
	EXPECT_TRUE(is_zero(part, 50));
	EXPECT_TRUE(pattern_is(self->map, 50, SEED));
	EXPECT_TRUE(device_reads(self->fd, part + 50 * PAGE_BYTES, HUGE_PAGES - 100, SEED + 100));
	ASSERT_EQ(0, device_take(self->fd, self->map, HUGE_PAGES).rc);
	EXPECT_TRUE(pattern_is(self->map, 50, SEED));
	EXPECT_TRUE(is_zero(part, 50));
	EXPECT_TRUE(pattern_is(part + 50 * PAGE_BYTES, 2 * HUGE_PAGES - 100, SEED + 100));
}

/* Pieces of a cut page and whole pages leave the device together. */
TEST_F(migrate_large, pieces_are_evicted)
{
	struct hmm_dmirror_evict result;

	ASSERT_EQ(0, device_take(self->fd, self->map, 2 * HUGE_PAGES).rc);
	ASSERT_EQ(10, device_give_back(self->fd, self->map + 20 * PAGE_BYTES, 10).cpages);
	result = device_evict(self->fd);
	EXPECT_EQ(0, result.remaining);
	EXPECT_EQ(2 * HUGE_PAGES - 10, result.evicted);
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
}

/* The memory of small and of large pages is the same. */
TEST_F(migrate_large, freed_parts_merge_to_a_large_folio)
{
	__u64 capacity;
	int i;

	ASSERT_EQ(0, device_take(self->fd, self->map, 2 * HUGE_PAGES).rc);
	capacity = device_counters(self->fd).capacity;
	for (i = 0; i < 4; i++) {
		device_flags(self->fd, i % 2 ? 0 : HMM_DMIRROR_FLAG_FAIL_ALLOC);
		EXPECT_EQ(0, device_give_back(self->fd, self->map, 2 * HUGE_PAGES).rc);
		EXPECT_EQ(0, counted().in_use);
		EXPECT_EQ(0, device_take(self->fd, self->map, 2 * HUGE_PAGES).rc);
		EXPECT_EQ(2 * HUGE_PAGES, counted().in_use);
	}
	EXPECT_EQ(capacity, device_counters(self->fd).capacity);
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
}

/* Coherent memory: as many small pages */
TEST_F(migrate_large, coherent_device)
{
	const char *reason;
	int fd = device_open(2, &reason);

	if (fd < 0)
		SKIP(return, "%s", reason);
	EXPECT_EQ(0, device_take(fd, self->map, HUGE_PAGES + 20).rc);
	EXPECT_EQ(HUGE_PAGES + 20, device_count(fd, self->map, 2 * HUGE_PAGES,
						HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL));
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
	EXPECT_TRUE(device_reads(fd, self->map, 2 * HUGE_PAGES, SEED));
	EXPECT_EQ(HUGE_PAGES + 20, device_give_back(fd, self->map, 2 * HUGE_PAGES).cpages);
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
	close(fd);
}

/* Orders between a page and a huge page */

/* What the kernel counts of the folios of an order */
static long folios(const char *size, const char *what)
{
	char path[128];

	snprintf(path, sizeof(path), THP "%s/stats/%s", size, what);
	return read_number(path);
}

FIXTURE(migrate_mthp)
{
	int fd;
	char *map;	/* two huge pages' worth of folios of one order, with a pattern */
	struct hmm_dmirror_counters before;
	long existing;
	long split;
};

FIXTURE_VARIANT(migrate_mthp)
{
	const char *size;
	size_t npages;	/* of a folio */
};

FIXTURE_VARIANT_ADD(migrate_mthp, 16k)
{
	.size = "16kB",
	.npages = 4,
};

FIXTURE_VARIANT_ADD(migrate_mthp, 64k)
{
	.size = "64kB",
	.npages = 16,
};

FIXTURE_VARIANT_ADD(migrate_mthp, 1m)
{
	.size = "1024kB",
	.npages = 256,
};

FIXTURE_SETUP(migrate_mthp)
{
	long given = folios(variant->size, "anon_fault_alloc");
	struct setting huge = {}, large = {};
	const char *reason;
	char path[128];

	self->fd = device_open(0, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	snprintf(path, sizeof(path), THP "%s/enabled", variant->size);
	if (setting_change(&huge, THP "2048kB/enabled", "never") &&
	    setting_change(&large, path, "always")) {
		self->map = map_anon(2 * HUGE_BYTES);
		pattern_fill(self->map, 2 * HUGE_PAGES, SEED);
	}
	setting_restore(&large);
	setting_restore(&huge);
	if (folios(variant->size, "anon_fault_alloc") == given)
		SKIP(return, "no folios of this order");
	self->before = device_counters(self->fd);
	self->existing = folios(variant->size, "nr_anon");
	self->split = folios(variant->size, "split");
}

FIXTURE_TEARDOWN(migrate_mthp)
{
	munmap(self->map, 2 * HUGE_BYTES);
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
	close(self->fd);
}

TEST_F(migrate_mthp, there_and_back)
{
	struct answer answer = device_take(self->fd, self->map, 2 * HUGE_PAGES);

	EXPECT_EQ(0, answer.rc);
	EXPECT_EQ(2 * HUGE_PAGES, answer.cpages);
	EXPECT_TRUE(device_reads(self->fd, self->map, 2 * HUGE_PAGES, SEED));
	EXPECT_EQ(HUGE_PAGES, device_give_back(self->fd, self->map, HUGE_PAGES).cpages);
	EXPECT_EQ(HUGE_PAGES, device_count(self->fd, self->map, 2 * HUGE_PAGES, LOCAL));
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
}

/* All folios have the size that they had, wherever they are now. */
#define EXPECT_WHOLE()								\
do {										\
	EXPECT_EQ(self->existing, folios(variant->size, "nr_anon"));		\
	EXPECT_EQ(self->split, folios(variant->size, "split"));			\
	EXPECT_EQ(0, counted().splits);						\
} while (0)

TEST_F(migrate_mthp, migrate_unsplit)
{
	EXPECT_EQ(0, device_take(self->fd, self->map, 2 * HUGE_PAGES).rc);
	EXPECT_WHOLE();
	EXPECT_EQ(0, device_give_back(self->fd, self->map, 2 * HUGE_PAGES).rc);
	if (!counted().fallbacks)
		EXPECT_WHOLE();
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
}

/* A CPU fault on a page of theirs, not the first, brings all of it. */
TEST_F(migrate_mthp, one_fault_brings_all)
{
	size_t at;

	EXPECT_EQ(0, device_take(self->fd, self->map, 2 * HUGE_PAGES).rc);
	for (at = variant->npages - 1; at < 2 * HUGE_PAGES; at += variant->npages)
		ASSERT_TRUE(pattern_is(self->map + at * PAGE_BYTES, 1, SEED + at));
	EXPECT_EQ(2 * HUGE_PAGES, counted().faulted_out);
	EXPECT_EQ(2 * HUGE_PAGES / variant->npages, counted().cpu_faults);
	if (!counted().fallbacks)
		EXPECT_WHOLE();
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
}

/* With a mapping that the device's process does not have */
TEST_F(migrate_mthp, migrate_unsplit_while_shared)
{
	struct child child;

	child_start(&child);
	EXPECT_EQ(0, device_take(self->fd, self->map, 2 * HUGE_PAGES).rc);
	EXPECT_WHOLE();
	EXPECT_TRUE(child_do(&child, work_check, self->map, HUGE_PAGES, SEED));
	EXPECT_TRUE(device_reads(self->fd, self->map, 2 * HUGE_PAGES, SEED));
	EXPECT_TRUE(child_do(&child, work_check, self->map, 2 * HUGE_PAGES, SEED));
	if (!counted().fallbacks)
		EXPECT_WHOLE();
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
	child_stop(&child);
}

/* One folio of the many is split, in either direction, and the data is right. */
TEST_F(migrate_mthp, no_large_folio)
{
	struct child child;

	child_start(&child);
	ASSERT_EQ(0, device_flags(self->fd, HMM_DMIRROR_FLAG_FAIL_ALLOC));
	EXPECT_EQ(0, device_take(self->fd, self->map, HUGE_PAGES).rc);
	EXPECT_EQ(1, counted().fallbacks);
	ASSERT_EQ(0, device_flags(self->fd, HMM_DMIRROR_FLAG_FAIL_ALLOC));
	EXPECT_EQ(0, device_take(self->fd, self->map + HUGE_BYTES, HUGE_PAGES).rc);
	ASSERT_EQ(0, device_flags(self->fd, HMM_DMIRROR_FLAG_FAIL_ALLOC));
	EXPECT_EQ(HUGE_PAGES, device_give_back(self->fd, self->map, HUGE_PAGES).cpages);
	ASSERT_EQ(0, device_flags(self->fd, HMM_DMIRROR_FLAG_FAIL_ALLOC));
	EXPECT_TRUE(pattern_is(self->map, 2 * HUGE_PAGES, SEED));
	EXPECT_TRUE(child_do(&child, work_check, self->map, 2 * HUGE_PAGES, SEED));
	child_stop(&child);
}

/* A range that begins and ends within folios */
TEST_F(migrate_mthp, parts_of_folios)
{
	char *part = self->map + 3 * PAGE_BYTES;

	EXPECT_EQ(0, device_take(self->fd, part, 301).rc);
	EXPECT_EQ(301, device_count(self->fd, self->map, 2 * HUGE_PAGES, LOCAL));
	EXPECT_TRUE(device_reads(self->fd, self->map, HUGE_PAGES, SEED));
	EXPECT_EQ(0, device_writes(self->fd, part, 150, OTHER));
	EXPECT_TRUE(pattern_is(self->map, 3, SEED));
	EXPECT_TRUE(pattern_is(part, 150, OTHER));
	EXPECT_TRUE(pattern_is(part + 150 * PAGE_BYTES, HUGE_PAGES, SEED + 153));
}

TEST_F(migrate_mthp, cut_up_on_the_device)
{
	EXPECT_EQ(0, device_take(self->fd, self->map, 2 * HUGE_PAGES).rc);
	ASSERT_EQ(0, madvise(self->map + 5 * PAGE_BYTES, 30 * PAGE_BYTES, MADV_DONTNEED));
	ASSERT_EQ(0, mprotect(self->map + 70 * PAGE_BYTES, 30 * PAGE_BYTES, PROT_READ));
	EXPECT_EQ(2 * HUGE_PAGES - 30, device_count(self->fd, self->map, 2 * HUGE_PAGES, LOCAL));
	EXPECT_TRUE(pattern_is(self->map, 5, SEED));
	EXPECT_TRUE(is_zero(self->map + 5 * PAGE_BYTES, 30));
	EXPECT_TRUE(pattern_is(self->map + 35 * PAGE_BYTES, 2 * HUGE_PAGES - 35, SEED + 35));
}

TEST_HARNESS_MAIN
