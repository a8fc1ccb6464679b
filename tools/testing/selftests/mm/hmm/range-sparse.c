// SPDX-License-Identifier: GPL-2.0
/*
 * Sparse output, and the order of large folios that small entries map: where
 * blocks begin and end. One entry has its order also where it reaches beyond the
 * range; PTEs have one only where it is asked for, and only inside the range.
 */
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/common.h"

#define N		(2 * HUGE_PAGES)
#define BYTES		(N * PAGE_BYTES)
#define FOLIO_ORDER	4
#define FOLIO_PAGES	_BITUL(FOLIO_ORDER)
/* What a slot holds that was not recorded: a sticky flag and a mark */
#define UNTOUCHED	(HMM_PROBE_P2PDMA | 0xabc)

#define THP_SETTING	"/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled"
#define MTHP_SETTING	"/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled"

struct lab {
	int fd;
	struct setting thp;
	struct setting mthp;
	__u64 slots[N];
};

FIXTURE(hmm_sparse)
{
	struct lab lab;
};

FIXTURE_VARIANT(hmm_sparse)
{
	__u64 flags;
};

FIXTURE_VARIANT_ADD(hmm_sparse, locked)
{
	.flags = 0,
};

FIXTURE_VARIANT_ADD(hmm_sparse, unlocked)
{
	.flags = HMM_PROBE_UNLOCKED,
};

FIXTURE_SETUP(hmm_sparse)
{
	self->lab.fd = probe_open();
	if (self->lab.fd < 0)
		SKIP(return, "no /dev/hmm_probe");
	if (!probe_knows_sparse(self->lab.fd))
		SKIP(return, "this kernel knows no sparse output");
}

FIXTURE_TEARDOWN(hmm_sparse)
{
	setting_restore(&self->lab.mthp);
	setting_restore(&self->lab.thp);
	release_hugetlb();
	close(self->lab.fd);
}

/* The slots keep what is not recorded. */
static int look(struct lab *lab, char *map, size_t n, __u64 flags)
{
	struct hmm_probe_call call = { .flags = flags | HMM_PROBE_SPARSE };

	return probe_call(lab->fd, map, n, lab->slots, &call);
}

/* A mapping of folios of 64 KiB, all written; NULL if there are none */
static char *map_folios(struct lab *lab, size_t bytes)
{
	char *map;

	if (!lab->mthp.path[0] && !setting_change(&lab->mthp, MTHP_SETTING, "always"))
		return NULL;
	if (!lab->thp.path[0] && !setting_change(&lab->thp, THP_SETTING, "never"))
		return NULL;
	map = map_anon(bytes);
	write_pages(map, bytes / PAGE_BYTES, 1);
	look(lab, map, FOLIO_PAGES, 0);
	return slot_order(lab->slots[0]) == FOLIO_ORDER ? map : NULL;
}

/* The order that a page must have: PTEs that map a part of a folio have none. */
static unsigned int order_in(char *map, size_t n, size_t i, unsigned int order)
{
	size_t block = 1UL << order, first = (uintptr_t)map / PAGE_BYTES;
	size_t start = (first + i) / block * block;

	if (order == HUGE_ORDER)	/* one entry */
		return order;
	return start >= first && start + block <= first + n ? order : 0;
}

/*
 * A sparse snapshot of @n pages must record, of @slots that were untouched,
 * those with a block's first page only. @order is that of all blocks.
 */
static void expect_blocks(struct __test_metadata *_metadata,
			  struct lab *lab, char *map, size_t n,
			  unsigned int order, __u64 flags)
{
	size_t i;
	__u64 first = 0;

	fill_slots(lab->slots, n, UNTOUCHED);
	ASSERT_EQ(0, look(lab, map, n, flags));
	for (i = 0; i < n; i++) {
		size_t page = (uintptr_t)map / PAGE_BYTES + i;
		unsigned int has = order_in(map, n, i, order);

		if (i && page % (1UL << has)) {
			ASSERT_EQ(UNTOUCHED, lab->slots[i]);
			continue;
		}
		first = lab->slots[i];
		ASSERT_EQ(has, slot_order(first));
		ASSERT_TRUE(first & HMM_PROBE_WRITE);
		ASSERT_TRUE(first & HMM_PROBE_P2PDMA);
		ASSERT_EQ(pagemap_pfn(map + i * PAGE_BYTES), slot_pfn(first));
	}
	EXPECT_TRUE(probe_agrees(lab->fd, map, n, HMM_PROBE_SPARSE | HMM_PROBE_WANT_ORDER));
	EXPECT_TRUE(probe_agrees(lab->fd, map, n, HMM_PROBE_SPARSE));
	EXPECT_TRUE(probe_agrees(lab->fd, map, n, HMM_PROBE_WANT_ORDER));
	EXPECT_TRUE(probe_agrees(lab->fd, map, n, 0));
}

TEST_F(hmm_sparse, huge_pages)
{
	char *map = map_thp(self->lab.fd, BYTES);

	if (!map)
		SKIP(return, "no huge pages");
	expect_blocks(_metadata, &self->lab, map, N, HUGE_ORDER, variant->flags);
	/* beginning and ending inside of one, of two, at the seam */
	expect_blocks(_metadata, &self->lab, map + PAGE_BYTES, 1, HUGE_ORDER, variant->flags);
	expect_blocks(_metadata, &self->lab, map + 100 * PAGE_BYTES, N - 150, HUGE_ORDER,
		      variant->flags);
	expect_blocks(_metadata, &self->lab, map + (HUGE_PAGES - 1) * PAGE_BYTES, 2, HUGE_ORDER,
		      variant->flags);
	expect_blocks(_metadata, &self->lab, map + 7 * PAGE_BYTES, HUGE_PAGES - 7, HUGE_ORDER,
		      variant->flags);
}

TEST_F(hmm_sparse, hugetlb_pages)
{
	char *map;

	if (!reserve_hugetlb(2))
		SKIP(return, "no huge pages to reserve");
	map = map_hugetlb(BYTES);
	if (!map)
		SKIP(return, "no huge pages");
	write_pages(map, N, 1);
	expect_blocks(_metadata, &self->lab, map, N, HUGE_ORDER, variant->flags);
	expect_blocks(_metadata, &self->lab, map + 100 * PAGE_BYTES, N - 150, HUGE_ORDER,
		      variant->flags);
}

TEST_F(hmm_sparse, folios_of_64k)
{
	char *map = map_folios(&self->lab, BYTES);
	size_t at;

	if (!map)
		SKIP(return, "no folios of 64 KiB");
	expect_blocks(_metadata, &self->lab, map, N, FOLIO_ORDER, variant->flags);
	for (at = 1; at <= FOLIO_PAGES; at++) {
		expect_blocks(_metadata, &self->lab, map + at * PAGE_BYTES, 1, FOLIO_ORDER,
			      variant->flags);
		expect_blocks(_metadata, &self->lab, map + at * PAGE_BYTES, 3 * FOLIO_PAGES,
			      FOLIO_ORDER, variant->flags);
		expect_blocks(_metadata, &self->lab, map + (HUGE_PAGES - at) * PAGE_BYTES, 2 * at,
			      FOLIO_ORDER, variant->flags);
	}
}

TEST_F(hmm_sparse, small_pages)
{
	char *map = map_anon_small(BYTES);

	write_pages(map, N, 1);
	expect_blocks(_metadata, &self->lab, map, N, 0, variant->flags);
}

/* Pages of a folio that are no block: the folio is not whole, or not alike. */
TEST_F(hmm_sparse, folios_with_gaps)
{
	char *map = map_folios(&self->lab, BYTES);
	size_t i;

	if (!map)
		SKIP(return, "no folios of 64 KiB");
	ASSERT_EQ(0, madvise(map + 3 * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED));
	ASSERT_EQ(0, mprotect(map + (FOLIO_PAGES + 5) * PAGE_BYTES, PAGE_BYTES, PROT_READ));
	ASSERT_EQ(0, munmap(map + (3 * FOLIO_PAGES - 1) * PAGE_BYTES, PAGE_BYTES));
	fill_slots(self->lab.slots, N, UNTOUCHED);
	ASSERT_EQ(0, look(&self->lab, map, N, variant->flags));
	for (i = 0; i < 3 * FOLIO_PAGES; i++)
		EXPECT_EQ(0, slot_order(self->lab.slots[i]));
	EXPECT_EQ(0, self->lab.slots[3] & HMM_PROBE_VALID);
	EXPECT_EQ(0, self->lab.slots[FOLIO_PAGES + 5] & HMM_PROBE_WRITE);
	EXPECT_TRUE(self->lab.slots[3 * FOLIO_PAGES - 1] & HMM_PROBE_ERROR);
	EXPECT_EQ(FOLIO_ORDER, slot_order(self->lab.slots[3 * FOLIO_PAGES]));
	EXPECT_TRUE(probe_agrees(self->lab.fd, map, N, HMM_PROBE_SPARSE));
}

/* A folio whose pages lie at odd addresses is no aligned block. */
TEST_F(hmm_sparse, folios_moved_by_a_page)
{
	char *map = map_folios(&self->lab, BYTES);
	char *to = map_anon(BYTES);
	size_t i;

	if (!map)
		SKIP(return, "no folios of 64 KiB");
	ASSERT_EQ(to + PAGE_BYTES, mremap(map, FOLIO_PAGES * PAGE_BYTES, FOLIO_PAGES * PAGE_BYTES,
					  MREMAP_MAYMOVE | MREMAP_FIXED, to + PAGE_BYTES));
	ASSERT_EQ(0, look(&self->lab, to, 2 * FOLIO_PAGES, variant->flags));
	for (i = 1; i <= FOLIO_PAGES; i++) {
		EXPECT_TRUE(self->lab.slots[i] & HMM_PROBE_VALID);
		EXPECT_EQ(0, slot_order(self->lab.slots[i]));
	}
	EXPECT_TRUE(probe_agrees(self->lab.fd, to, 2 * FOLIO_PAGES, HMM_PROBE_SPARSE));
}

/* Orders side by side: huge, small, a hole, large */
TEST_F(hmm_sparse, mixed_orders)
{
	char *map = map_thp(self->lab.fd, BYTES), *folios;
	size_t i;

	if (!map)
		SKIP(return, "no huge pages");
	folios = map_folios(&self->lab, HUGE_BYTES);
	if (!folios)
		SKIP(return, "no folios of 64 KiB");
	ASSERT_EQ(0, madvise(map + HUGE_BYTES, PAGE_BYTES, MADV_DONTNEED));
	ASSERT_EQ(map + HUGE_BYTES + HUGE_BYTES / 2,
		  mremap(folios, HUGE_BYTES / 2, HUGE_BYTES / 2, MREMAP_MAYMOVE | MREMAP_FIXED,
			 map + HUGE_BYTES + HUGE_BYTES / 2));
	fill_slots(self->lab.slots, N, UNTOUCHED);
	ASSERT_EQ(0, look(&self->lab, map, N, variant->flags));
	EXPECT_EQ(HUGE_ORDER, slot_order(self->lab.slots[0]));
	EXPECT_EQ(HUGE_PAGES - 1,
		  first_other(self->lab.slots + 1, HUGE_PAGES - 1, ~0ULL, UNTOUCHED));
	EXPECT_EQ(0, self->lab.slots[HUGE_PAGES] & HMM_PROBE_VALID);
	EXPECT_EQ(0, slot_order(self->lab.slots[HUGE_PAGES + 1]));
	for (i = HUGE_PAGES + HUGE_PAGES / 2; i < N; i += FOLIO_PAGES)
		EXPECT_EQ(FOLIO_ORDER, slot_order(self->lab.slots[i]));
	EXPECT_TRUE(probe_agrees(self->lab.fd, map, N, HMM_PROBE_SPARSE));
}

/* Faults on the way: what is recorded before one stays as good. */
TEST_F(hmm_sparse, faults_of_every_page)
{
	char *map = map_anon(BYTES);

	fill_slots(self->lab.slots, N, UNTOUCHED & HMM_PROBE_STICKY);
	ASSERT_EQ(0, probe_fault_all(self->lab.fd, map, N, self->lab.slots, REQ_WRITE,
				     variant->flags | HMM_PROBE_SPARSE));
	EXPECT_TRUE(self->lab.slots[0] & HMM_PROBE_WRITE);
	EXPECT_TRUE(probe_agrees(self->lab.fd, map, N, HMM_PROBE_SPARSE));
	if (slot_order(self->lab.slots[0]) == HUGE_ORDER)
		EXPECT_EQ(0, self->lab.slots[1] & HMM_PROBE_VALID);
}

/* Requests of single pages in a folio: the answers agree with dense ones. */
TEST_F(hmm_sparse, requests_in_slots)
{
	struct hmm_probe_check check = {};
	size_t step, i;
	char *map;

	for (step = 1; step < 40; step += 3) {
		map = map_folios(&self->lab, HUGE_BYTES);
		if (!map)
			SKIP(return, "no folios of 64 KiB");
		ASSERT_EQ(0, mprotect(map, HUGE_BYTES, PROT_READ));
		ASSERT_EQ(0, mprotect(map, HUGE_BYTES, PROT_READ | PROT_WRITE));
		fill_slots(self->lab.slots, HUGE_PAGES, 0);
		for (i = 0; i < HUGE_PAGES; i += step)
			self->lab.slots[i] = i % 2 ? REQ_READ : REQ_WRITE;
		check = (struct hmm_probe_check) {
			.call = {
				.addr = (uintptr_t)map,
				.npages = HUGE_PAGES,
				.slots = (uintptr_t)self->lab.slots,
				.pfn_flags_mask = MASK_SLOTS,
				.flags = variant->flags | HMM_PROBE_SPARSE,
			},
		};
		ASSERT_EQ(0, ioctl(self->lab.fd, HMM_PROBE_CHECK_FAULT, &check));
		EXPECT_EQ(HMM_PROBE_MATCH, check.mismatch) {
			TH_LOG("step %zu, page %llu: %s", step, check.index,
			       probe_mismatch_name(check.mismatch));
		}
		munmap(map, HUGE_BYTES);
	}
}

TEST_HARNESS_MAIN
