// SPDX-License-Identifier: GPL-2.0
/*
 * What drivers make of the order in a slot: the device mappings that umem_odp,
 * drm_gpusvm and nouveau would set up must show the device the pages of the page
 * table, and no address that they get no invalidation for.
 *
 * A driver maps more than it asked for only where one entry does, too.
 */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/common.h"
#include "lib/folios.h"

#define FOLIO_PAGES	16UL
#define PAGES		(2 * HUGE_PAGES)
#define PAGE_BITS	12
#define FOLIO_BITS	16
#define HUGE_BITS	21

/* Pages of a mapping, by their indices, and what one walk says of some of them */
struct view {
	int fd;
	char *map;
	__u64 flags;
	size_t first;		/* page of the window */
	size_t n;
	__u64 slots[PAGES];	/* of the window */
	__u64 pfns[PAGES];	/* of the mapping, by the page table; 0: none */
};

/* What a driver would enter in its page table */
struct mapping {
	size_t page;
	size_t n;
	__u64 pfn;
};

FIXTURE(hmm_range_drivers)
{
	struct view view;
};

FIXTURE_VARIANT(hmm_range_drivers)
{
	__u64 flags;
};

FIXTURE_VARIANT_ADD(hmm_range_drivers, locked)
{
	.flags = 0,
};

FIXTURE_VARIANT_ADD(hmm_range_drivers, unlocked)
{
	.flags = HMM_PROBE_UNLOCKED,
};

FIXTURE_VARIANT_ADD(hmm_range_drivers, pte_orders)
{
	.flags = HMM_PROBE_WANT_ORDER,
};

FIXTURE_SETUP(hmm_range_drivers)
{
	self->view.fd = probe_open();
	self->view.flags = variant->flags;
	if (self->view.fd < 0)
		SKIP(return, "no /dev/hmm_probe");
	if (variant->flags & HMM_PROBE_WANT_ORDER &&
	    !probe_knows_sparse(self->view.fd))
		SKIP(return, "this kernel reports no orders of PTEs");
}

FIXTURE_TEARDOWN(hmm_range_drivers)
{
	close(self->view.fd);
}

/* umem_odp: pages of one size, each by its first slot, or none if it is smaller. */
static struct mapping odp_maps(const struct view *view, size_t i,
			       unsigned int bits)
{
	__u64 slot = view->slots[i];
	struct mapping mapping = { view->first + i, 0, slot_pfn(slot) };

	if (slot_order(slot) + PAGE_BITS >= bits)
		mapping.n = 1UL << (bits - PAGE_BITS);
	return mapping;
}

/* drm_gpusvm: to the end of the entry or of the window, as a power of two */
static struct mapping gpusvm_maps(const struct view *view, size_t i)
{
	__u64 slot = view->slots[i], pfn = slot_pfn(slot);
	size_t size = 1UL << slot_order(slot);
	size_t left = size - pfn % size;
	struct mapping mapping = { view->first + i, 1, pfn };

	if (left > view->n - i)
		left = view->n - i;
	while (2 * mapping.n <= left)
		mapping.n *= 2;
	return mapping;
}

/* nouveau: all of the entry around the address */
static struct mapping nouveau_maps(const struct view *view, size_t i)
{
	size_t size = 1UL << slot_order(view->slots[i]);
	uintptr_t address = (uintptr_t)view->map / PAGE_BYTES + view->first + i;
	size_t before = address % size;

	return (struct mapping){ view->first + i - before, size,
				 slot_pfn(view->slots[i]) - before };
}

/* Each page is where the CPU has it. */
static bool maps_right(const struct view *view, struct mapping mapping)
{
	size_t i;

	if (mapping.page >= PAGES || mapping.n > PAGES - mapping.page)
		return false;
	for (i = 0; i < mapping.n; i++)
		if (view->pfns[mapping.page + i] != mapping.pfn + i)
			return false;
	return true;
}

static bool in_window(const struct view *view, struct mapping mapping)
{
	return mapping.page >= view->first &&
	       mapping.page + mapping.n <= view->first + view->n;
}

static void expect_good(struct __test_metadata *_metadata,
			const struct view *view, const char *driver,
			struct mapping mapping, bool inside)
{
	EXPECT_TRUE(maps_right(view, mapping) &&
		    (!inside || in_window(view, mapping))) {
		TH_LOG("%s: %zu pages from %zu on; the window: %zu from %zu on",
		       driver, mapping.n, mapping.page, view->n, view->first);
	}
}

static size_t check_odp(struct __test_metadata *_metadata, struct view *view,
			unsigned int bits)
{
	size_t i, step = 1UL << (bits - PAGE_BITS), largest = 0;

	/* The driver widens each window to whole pages of the device. */
	if (view->first % step || view->n % step)
		return 0;
	for (i = 0; i < view->n; i += step) {
		struct mapping mapping = odp_maps(view, i, bits);

		if (!(view->slots[i] & HMM_PROBE_VALID) || !mapping.n)
			continue;
		expect_good(_metadata, view, "umem_odp", mapping, true);
		largest = mapping.n;
	}
	return largest;
}

static size_t check_gpusvm(struct __test_metadata *_metadata, struct view *view)
{
	size_t i = 0, largest = 0;

	while (i < view->n) {
		struct mapping mapping = gpusvm_maps(view, i);

		if (!(view->slots[i] & HMM_PROBE_VALID)) {
			i++;
			continue;
		}
		expect_good(_metadata, view, "drm_gpusvm", mapping, true);
		if (mapping.n > largest)
			largest = mapping.n;
		i += mapping.n;
	}
	return largest;
}

static void check_nouveau(struct __test_metadata *_metadata, struct view *view)
{
	size_t i;

	for (i = 0; i < view->n; i++) {
		struct mapping mapping = nouveau_maps(view, i);

		if (view->slots[i] & HMM_PROBE_VALID)
			expect_good(_metadata, view, "nouveau", mapping,
				    mapping.n < HUGE_PAGES);
	}
}

/* The largest mapping that a driver sets up for a window */
static size_t check_window(struct __test_metadata *_metadata,
			   struct view *view, size_t first, size_t n)
{
	static const unsigned int sizes[] = { PAGE_BITS, FOLIO_BITS, HUGE_BITS };
	size_t i, largest;

	view->first = first;
	view->n = n;
	EXPECT_EQ(0, probe_snapshot(view->fd, view->map + first * PAGE_BYTES, n,
				    view->slots, view->flags));
	largest = check_gpusvm(_metadata, view);
	check_nouveau(_metadata, view);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t odp = check_odp(_metadata, view, sizes[i]);

		if (odp > largest)
			largest = odp;
	}
	return largest;
}

/* What is mapped where; khugepaged, which may have it otherwise, is kept away. */
static void look_at(struct view *view, char *map)
{
	size_t i;

	view->map = map;
	madvise(map, PAGES * PAGE_BYTES, MADV_NOHUGEPAGE);
	for (i = 0; i < PAGES; i++)
		view->pfns[i] = pagemap_pfn(map + i * PAGE_BYTES);
}

/* Windows that begin at each page of a folio, and end anywhere */
static size_t check_windows(struct __test_metadata *_metadata,
			    struct view *view, char *map)
{
	static const size_t sizes[] = { 1, 15, 16, 17, 33, 64, HUGE_PAGES };
	size_t first, i, largest = 0;

	look_at(view, map);
	for (first = 0; first < FOLIO_PAGES; first++) {
		for (i = 0; i < ARRAY_SIZE(sizes); i++) {
			size_t found = check_window(_metadata, view, first, sizes[i]);

			if (found > largest)
				largest = found;
		}
	}
	return largest;
}

TEST_F(hmm_range_drivers, folios_of_64k)
{
	char *map = map_folios("64kB", PAGES * PAGE_BYTES, 1);
	bool asked = variant->flags & HMM_PROBE_WANT_ORDER;

	if (!map)
		SKIP(return, "no folios of 64 KiB");
	EXPECT_EQ(asked ? FOLIO_PAGES : 1,
		  check_windows(_metadata, &self->view, map));
}

TEST_F(hmm_range_drivers, folios_of_64k_with_holes)
{
	char *map = map_folios("64kB", PAGES * PAGE_BYTES, 1);
	size_t i;

	if (!map)
		SKIP(return, "no folios of 64 KiB");
	for (i = 0; i < FOLIO_PAGES; i++)
		madvise(map + (2 * i * FOLIO_PAGES + i) * PAGE_BYTES, PAGE_BYTES,
			MADV_DONTNEED);
	check_windows(_metadata, &self->view, map);
}

/* At an address that is no multiple of their size: as pages, for all drivers */
TEST_F(hmm_range_drivers, folios_of_64k_moved_by_a_page)
{
	char *folios = map_folios("64kB", PAGES * PAGE_BYTES, 1);
	char *map = map_anon_small((PAGES + 1) * PAGE_BYTES);

	if (!folios)
		SKIP(return, "no folios of 64 KiB");
	ASSERT_EQ(map + PAGE_BYTES,
		  mremap(folios, PAGES * PAGE_BYTES, PAGES * PAGE_BYTES,
			 MREMAP_MAYMOVE | MREMAP_FIXED, map + PAGE_BYTES));
	EXPECT_EQ(1, check_windows(_metadata, &self->view, map));
}

TEST_F(hmm_range_drivers, huge_pages)
{
	static const size_t firsts[] = { 77, 256, HUGE_PAGES - 1, HUGE_PAGES };
	char *map = map_thp(self->view.fd, PAGES * PAGE_BYTES);
	size_t i;

	if (!map)
		SKIP(return, "no huge pages");
	EXPECT_EQ(HUGE_PAGES, check_windows(_metadata, &self->view, map));
	for (i = 0; i < ARRAY_SIZE(firsts); i++) {
		check_window(_metadata, &self->view, firsts[i], 1);
		check_window(_metadata, &self->view, firsts[i], 100);
		check_window(_metadata, &self->view, firsts[i], HUGE_PAGES);
	}
	EXPECT_EQ(HUGE_PAGES, check_window(_metadata, &self->view, 0, PAGES));
}

TEST_F(hmm_range_drivers, huge_page_mapped_by_ptes)
{
	char *map = map_thp(self->view.fd, PAGES * PAGE_BYTES);
	char *part = map + FOLIO_PAGES * PAGE_BYTES;

	if (!map)
		SKIP(return, "no huge pages");
	ASSERT_EQ(0, mprotect(part, PAGE_BYTES, PROT_READ));
	check_windows(_metadata, &self->view, map);
	ASSERT_EQ(0, mprotect(part, PAGE_BYTES, PROT_READ | PROT_WRITE));
	write_pages(part, 1, 1);
	check_windows(_metadata, &self->view, map);
}

TEST_F(hmm_range_drivers, huge_page_moved_by_a_page)
{
	char *huge = map_thp(self->view.fd, HUGE_BYTES);
	char *map = map_anon_small(PAGES * PAGE_BYTES);

	if (!huge)
		SKIP(return, "no huge page");
	ASSERT_EQ(map + PAGE_BYTES,
		  mremap(huge, HUGE_BYTES, HUGE_BYTES,
			 MREMAP_MAYMOVE | MREMAP_FIXED, map + PAGE_BYTES));
	EXPECT_EQ(1, check_windows(_metadata, &self->view, map));
}

TEST_HARNESS_MAIN
