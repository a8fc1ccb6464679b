// SPDX-License-Identifier: GPL-2.0
/*
 * One test for each defect that the HMM of Linux 7.3 has in range faulting;
 * expected-base names the tests that fail on an unchanged 7.3.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <lib/test_hmm_uapi.h>

#include "kselftest_harness.h"
#include "lib/common.h"

#define N	16
#define MTHP_PAGES	16		/* 64 KiB */
#define WINDOW_PAGES	16
#define MTHP_SETTING	"/sys/kernel/mm/transparent_hugepage/" \
			"hugepages-64kB/enabled"
#define THP_SETTING	"/sys/kernel/mm/transparent_hugepage/" \
			"hugepages-2048kB/enabled"

#define STATE	(HMM_PROBE_VALID | HMM_PROBE_WRITE | HMM_PROBE_ERROR)
#define READABLE	HMM_PROBE_VALID
#define WRITABLE	(HMM_PROBE_VALID | HMM_PROBE_WRITE)

FIXTURE(range_regression)
{
	int fd;
	__u64 slots[2 * HUGE_PAGES];
};

FIXTURE_VARIANT(range_regression)
{
	__u64 flags;
};

FIXTURE_VARIANT_ADD(range_regression, locked)
{
	.flags = 0,
};

FIXTURE_VARIANT_ADD(range_regression, unlocked)
{
	.flags = HMM_PROBE_UNLOCKED,
};

FIXTURE_SETUP(range_regression)
{
	self->fd = probe_open();
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_probe");
}

FIXTURE_TEARDOWN(range_regression)
{
	release_hugetlb();
	close(self->fd);
}

/*
 * A write request on a read-only entry of the caller's own device memory
 *
 * The page is shared copy-on-write with a forked process, or was protected and
 * is writable again. A result of 0 must mean WRITE, and a write must not reach
 * the other process.
 */

struct device_memory {
	int mirror;
	char *map;
	size_t npages;
};

static bool device_small(struct device_memory *dev)
{
	dev->mirror = dmirror_open(0);
	dev->npages = N;
	dev->map = map_anon_small(N * PAGE_BYTES);
	write_pages(dev->map, N, 1);
	return dev->mirror >= 0 &&
	       !dmirror_to_device(dev->mirror, dev->map, N);
}

static bool device_huge(struct device_memory *dev, int fd)
{
	__u64 slot;

	dev->mirror = dmirror_open(0);
	dev->npages = HUGE_PAGES;
	dev->map = map_thp(fd, HUGE_BYTES);
	if (dev->mirror < 0 || !dev->map ||
	    dmirror_to_device(dev->mirror, dev->map, HUGE_PAGES))
		return false;
	probe_look(fd, dev->map, 1, &slot, HMM_PROBE_ADOPT_OWNER);
	return slot & HMM_PROBE_VALID && slot_order(slot) == HUGE_ORDER;
}

static size_t read_only_pages(int fd, struct device_memory *dev)
{
	__u64 slots[HUGE_PAGES];

	probe_look(fd, dev->map, dev->npages, slots, HMM_PROBE_ADOPT_OWNER);
	return first_other(slots, dev->npages, STATE, READABLE);
}

static void write_request_must_be_met(struct __test_metadata *_metadata, int fd,
				      struct device_memory *dev, __u64 flags)
{
	__u64 slots[HUGE_PAGES];

	flags |= HMM_PROBE_ADOPT_OWNER;
	ASSERT_EQ(dev->npages, read_only_pages(fd, dev));
	ASSERT_EQ(0, probe_fault_all(fd, dev->map, dev->npages, slots,
				     REQ_WRITE, flags));
	EXPECT_EQ(dev->npages, first_other(slots, dev->npages, STATE,
					   WRITABLE));
	EXPECT_TRUE(probe_agrees(fd, dev->map, dev->npages,
				 HMM_PROBE_ADOPT_OWNER));
}

static void writes_must_stay_private(struct __test_metadata *_metadata,
				     struct device_memory *dev,
				     struct keeper *child)
{
	char *last = dev->map + (dev->npages - 1) * PAGE_BYTES;

	write_pages(dev->map, dev->npages, 2);
	EXPECT_EQ(1, keeper_peek(child, dev->map));
	EXPECT_EQ(1, keeper_peek(child, last));
	EXPECT_EQ(2, *last);
}

TEST_F(range_regression, write_request_after_fork_is_met_pte)
{
	struct device_memory dev;
	struct keeper child;

	if (!device_small(&dev))
		SKIP(return, "no device memory");
	keeper_start(&child);
	write_request_must_be_met(_metadata, self->fd, &dev, variant->flags);
	writes_must_stay_private(_metadata, &dev, &child);
	keeper_stop(&child);
	close(dev.mirror);
}

TEST_F(range_regression, write_request_after_mprotect_is_met_pte)
{
	struct device_memory dev;

	if (!device_small(&dev))
		SKIP(return, "no device memory");
	ASSERT_EQ(0, mprotect(dev.map, N * PAGE_BYTES, PROT_READ));
	ASSERT_EQ(0, mprotect(dev.map, N * PAGE_BYTES,
			      PROT_READ | PROT_WRITE));
	write_request_must_be_met(_metadata, self->fd, &dev, variant->flags);
	EXPECT_EQ(1, dev.map[0]);
	close(dev.mirror);
}

TEST_F(range_regression, write_request_to_read_only_mapping_fails_pte)
{
	struct device_memory dev;

	if (!device_small(&dev))
		SKIP(return, "no device memory");
	ASSERT_EQ(0, mprotect(dev.map, N * PAGE_BYTES, PROT_READ));
	EXPECT_EQ(-EPERM, probe_fault_all(self->fd, dev.map, N, self->slots,
					  REQ_WRITE, variant->flags |
					  HMM_PROBE_ADOPT_OWNER));
	close(dev.mirror);
}

TEST_F(range_regression, write_request_after_fork_is_met_pmd)
{
	struct device_memory dev;
	struct keeper child;

	if (!device_huge(&dev, self->fd))
		SKIP(return, "no huge device page");
	keeper_start(&child);
	write_request_must_be_met(_metadata, self->fd, &dev, variant->flags);
	writes_must_stay_private(_metadata, &dev, &child);
	keeper_stop(&child);
	close(dev.mirror);
}

TEST_F(range_regression, write_request_after_mprotect_is_met_pmd)
{
	struct device_memory dev;

	if (!device_huge(&dev, self->fd))
		SKIP(return, "no huge device page");
	ASSERT_EQ(0, mprotect(dev.map, HUGE_BYTES, PROT_READ));
	ASSERT_EQ(0, mprotect(dev.map, HUGE_BYTES, PROT_READ | PROT_WRITE));
	write_request_must_be_met(_metadata, self->fd, &dev, variant->flags);
	EXPECT_EQ(1, dev.map[0]);
	close(dev.mirror);
}

TEST_F(range_regression, write_request_to_read_only_mapping_fails_pmd)
{
	struct device_memory dev;

	if (!device_huge(&dev, self->fd))
		SKIP(return, "no huge device page");
	ASSERT_EQ(0, mprotect(dev.map, HUGE_BYTES, PROT_READ));
	EXPECT_EQ(-EPERM, probe_fault_all(self->fd, dev.map, HUGE_PAGES,
					  self->slots, REQ_WRITE,
					  variant->flags |
					  HMM_PROBE_ADOPT_OWNER));
	close(dev.mirror);
}

/* Exactly the requested pages are faulted, and none is overlooked */

TEST_F(range_regression, only_requested_pte_is_faulted)
{
	char *map = map_anon_small(HUGE_BYTES);

	fill_slots(self->slots, HUGE_PAGES, 0);
	self->slots[0] = REQ_WRITE;
	ASSERT_EQ(0, probe_fault_each(self->fd, map, HUGE_PAGES, self->slots,
				      variant->flags));
	EXPECT_EQ(WRITABLE, self->slots[0] & STATE);
	EXPECT_EQ(1, count_slots(self->slots, HUGE_PAGES, HMM_PROBE_VALID));
	EXPECT_EQ(1, probe_populated(self->fd, map, HUGE_PAGES));
}

TEST_F(range_regression, only_scattered_ptes_are_faulted)
{
	char *map = map_anon_small(HUGE_BYTES);
	size_t i;

	fill_slots(self->slots, HUGE_PAGES, 0);
	for (i = 3; i < HUGE_PAGES; i += 10)
		self->slots[i] = i % 20 == 3 ? REQ_READ : REQ_WRITE;
	ASSERT_EQ(0, probe_fault_each(self->fd, map, HUGE_PAGES, self->slots,
				      variant->flags));
	for (i = 0; i < HUGE_PAGES; i++) {
		__u64 state = 0;

		if (i % 10 == 3)
			state = i % 20 == 3 ? READABLE : WRITABLE;
		ASSERT_EQ(state, self->slots[i] & STATE);
	}
	EXPECT_EQ((HUGE_PAGES + 6) / 10,
		  probe_populated(self->fd, map, HUGE_PAGES));
}

/* One write request must not copy the shared pages behind it. */
TEST_F(range_regression, other_ptes_are_not_write_faulted)
{
	char *map = map_anon_small(HUGE_BYTES);
	struct keeper child;

	write_pages(map, HUGE_PAGES, 1);
	keeper_start(&child);
	fill_slots(self->slots, HUGE_PAGES, REQ_READ);
	self->slots[0] = REQ_WRITE;
	ASSERT_EQ(0, probe_fault_each(self->fd, map, HUGE_PAGES, self->slots,
				      variant->flags));
	EXPECT_EQ(WRITABLE, self->slots[0] & STATE);
	EXPECT_EQ(HUGE_PAGES - 1, first_other(self->slots + 1, HUGE_PAGES - 1,
					      STATE, READABLE));
	keeper_stop(&child);
}

/* The hole has no page table at all: it is reported in one piece. */
TEST_F(range_regression, only_requested_page_of_a_hole_is_faulted)
{
	char *map = map_anon_small(2 * HUGE_BYTES);
	size_t at = HUGE_PAGES + 5;

	fill_slots(self->slots, 2 * HUGE_PAGES, 0);
	self->slots[at] = REQ_READ;
	ASSERT_EQ(0, probe_fault_each(self->fd, map, 2 * HUGE_PAGES,
				      self->slots, variant->flags));
	EXPECT_EQ(READABLE, self->slots[at] & STATE);
	EXPECT_EQ(1, probe_populated(self->fd, map, 2 * HUGE_PAGES));
}

/* Unrequested pages without permission are no reason to refuse the rest. */
TEST_F(range_regression, read_only_neighbour_is_no_error)
{
	char *map = map_anon_small(HUGE_BYTES);

	ASSERT_EQ(0, mprotect(map + PAGE_BYTES, PAGE_BYTES, PROT_READ));
	fill_slots(self->slots, HUGE_PAGES, 0);
	self->slots[0] = REQ_WRITE;
	self->slots[1] = REQ_READ;
	self->slots[2] = REQ_WRITE;
	ASSERT_EQ(0, probe_fault_each(self->fd, map, HUGE_PAGES, self->slots,
				      variant->flags));
	EXPECT_EQ(WRITABLE, self->slots[0] & STATE);
	EXPECT_EQ(READABLE, self->slots[1] & STATE);
	EXPECT_EQ(WRITABLE, self->slots[2] & STATE);
	EXPECT_EQ(3, probe_populated(self->fd, map, HUGE_PAGES));
}

TEST_F(range_regression, hugetlb_read_request_on_later_page_is_met)
{
	char *map = reserve_hugetlb(1) ? map_hugetlb(HUGE_BYTES) : NULL;

	if (!map)
		SKIP(return, "no hugetlb page");
	fill_slots(self->slots, HUGE_PAGES, 0);
	self->slots[77] = REQ_READ;
	ASSERT_EQ(0, probe_fault_each(self->fd, map, HUGE_PAGES, self->slots,
				      variant->flags));
	EXPECT_TRUE(self->slots[77] & HMM_PROBE_VALID);
	EXPECT_TRUE(probe_agrees(self->fd, map, HUGE_PAGES, 0));
}

TEST_F(range_regression, hugetlb_write_request_on_later_page_is_met)
{
	char *map = reserve_hugetlb(1) ? map_hugetlb(HUGE_BYTES) : NULL;

	if (!map)
		SKIP(return, "no hugetlb page");
	write_pages(map, 1, 1);
	ASSERT_EQ(0, mprotect(map, HUGE_BYTES, PROT_READ));
	ASSERT_EQ(0, mprotect(map, HUGE_BYTES, PROT_READ | PROT_WRITE));
	fill_slots(self->slots, HUGE_PAGES, 0);
	self->slots[0] = REQ_READ;
	self->slots[77] = REQ_WRITE;
	ASSERT_EQ(0, probe_fault_each(self->fd, map, HUGE_PAGES, self->slots,
				      variant->flags));
	EXPECT_EQ(WRITABLE, self->slots[77] & STATE);
}

/* One answer for each state, whatever level the entry is on */

static void nothing_said(struct __test_metadata *_metadata, int fd, char *map,
			 size_t npages, __u64 flags)
{
	__u64 slots[HUGE_PAGES];
	size_t bad;

	ASSERT_EQ(0, probe_snapshot(fd, map, npages, slots, flags));
	bad = first_other(slots, npages, ~0ULL, 0);
	EXPECT_EQ(npages, bad) {
		TH_LOG("page %zu: %#llx", bad, slots[bad]);
	}
	EXPECT_TRUE(probe_agrees(fd, map, npages, 0));
}

#define must_say_nothing(map, npages)					\
	nothing_said(_metadata, self->fd, map, npages, variant->flags)

#define must_agree(map, npages, flags)					\
	EXPECT_TRUE(probe_agrees(self->fd, map, npages, flags))

TEST_F(range_regression, snapshot_of_hugetlb_hole)
{
	char *map = reserve_hugetlb(1) ? map_hugetlb(HUGE_BYTES) : NULL;

	if (!map)
		SKIP(return, "no hugetlb page");
	must_say_nothing(map, HUGE_PAGES);
	write_pages(map, 1, 1);
	ASSERT_EQ(0, madvise(map, HUGE_BYTES, MADV_DONTNEED));
	must_say_nothing(map, HUGE_PAGES);
}

/* Userfaultfd takes the access away from pages that stay mapped. */
static bool take_access_away(struct uffd *uffd, char *map, size_t bytes)
{
	if (uffd_open(uffd, UFFD_FEATURE_RWP))
		return false;
	if (uffd_watch(uffd, map, bytes, UFFDIO_REGISTER_MODE_RWP))
		return false;
	return !uffd_protect(uffd, UFFDIO_RWPROTECT, map, bytes,
			     UFFDIO_RWPROTECT_MODE_RWP);
}

TEST_F(range_regression, snapshot_of_protnone_pte)
{
	char *map = map_anon_small(N * PAGE_BYTES);
	struct uffd uffd;

	write_pages(map, N, 1);
	if (!take_access_away(&uffd, map, N * PAGE_BYTES))
		SKIP(return, "no userfaultfd access tracking");
	must_say_nothing(map, N);
	close(uffd.fd);
}

TEST_F(range_regression, snapshot_of_protnone_pmd)
{
	char *map = map_thp(self->fd, HUGE_BYTES);
	struct uffd uffd;

	if (!map || !take_access_away(&uffd, map, HUGE_BYTES))
		SKIP(return, "no huge page or no userfaultfd access tracking");
	must_say_nothing(map, HUGE_PAGES);
	close(uffd.fd);
}

TEST_F(range_regression, snapshot_of_protnone_hugetlb)
{
	char *map = reserve_hugetlb(1) ? map_hugetlb(HUGE_BYTES) : NULL;
	struct uffd uffd;

	if (!map)
		SKIP(return, "no hugetlb page");
	write_pages(map, 1, 1);
	if (!take_access_away(&uffd, map, HUGE_BYTES))
		SKIP(return, "no userfaultfd access tracking");
	must_say_nothing(map, HUGE_PAGES);
	close(uffd.fd);
}

TEST_F(range_regression, snapshot_of_other_owners_device_pmd)
{
	struct device_memory dev;

	if (!device_huge(&dev, self->fd))
		SKIP(return, "no huge device page");
	must_say_nothing(dev.map, HUGE_PAGES);
	close(dev.mirror);
}

TEST_F(range_regression, snapshot_of_special_pmd)
{
	char *map = map_anon(HUGE_BYTES);

	map = mmap(map, HUGE_BYTES, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED, self->fd,
		   (off_t)HMM_PROBE_MAP_HUGE << HMM_PROBE_MAP_SHIFT);
	ASSERT_NE(MAP_FAILED, map);
	read_pages(map, 1);
	ASSERT_EQ(0, probe_snapshot(self->fd, map, HUGE_PAGES, self->slots,
				    variant->flags));
	EXPECT_EQ(HUGE_PAGES, first_other(self->slots, HUGE_PAGES, ~0ULL,
					  HMM_PROBE_ERROR));
	must_agree(map, HUGE_PAGES, 0);
	EXPECT_EQ(-EFAULT, probe_fault_all(self->fd, map, HUGE_PAGES,
					   self->slots, REQ_READ,
					   variant->flags));
}

/* Address space for a PUD, aligned so that a huge PUD can map it. */
static char *map_special_pud(int fd)
{
	char *map = mmap(NULL, 2 * GIGANTIC_BYTES, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		fatal("address space: %s", strerror(errno));
	map += -(uintptr_t)map % GIGANTIC_BYTES;
	return mmap(map, GIGANTIC_BYTES, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
		    (off_t)HMM_PROBE_MAP_HUGE << HMM_PROBE_MAP_SHIFT);
}

TEST_F(range_regression, snapshot_of_special_pud)
{
	char *map = map_special_pud(self->fd);
	char *at = map + HUGE_BYTES + 5 * PAGE_BYTES;

	ASSERT_NE(MAP_FAILED, map);
	/* The request makes the mapping: no CPU may touch what is behind it. */
	EXPECT_EQ(-EFAULT, probe_fault_all(self->fd, at, HUGE_PAGES,
					   self->slots, REQ_READ,
					   variant->flags));
	ASSERT_EQ(0, probe_snapshot(self->fd, at, HUGE_PAGES, self->slots,
				    variant->flags));
	EXPECT_EQ(HUGE_PAGES, first_other(self->slots, HUGE_PAGES, ~0ULL,
					  HMM_PROBE_ERROR));
	must_agree(at, HUGE_PAGES, 0);
	ASSERT_EQ(0, munmap(map, GIGANTIC_BYTES));
}

/* The pfn is the page's own, also in the middle of a device folio */

TEST_F(range_regression, range_inside_device_pmd)
{
	struct device_memory dev;
	__u64 whole[HUGE_PAGES];
	size_t at = 77;

	if (!device_huge(&dev, self->fd))
		SKIP(return, "no huge device page");
	ASSERT_EQ(0, probe_snapshot(self->fd, dev.map, HUGE_PAGES, whole,
				    variant->flags | HMM_PROBE_ADOPT_OWNER));
	ASSERT_EQ(0, probe_snapshot(self->fd, dev.map + at * PAGE_BYTES, N,
				    self->slots,
				    variant->flags | HMM_PROBE_ADOPT_OWNER));
	EXPECT_EQ(slot_pfn(whole[0]) + at, slot_pfn(self->slots[0]));
	EXPECT_EQ(0, memcmp(whole + at, self->slots, N * sizeof(*whole)));
	must_agree(dev.map + at * PAGE_BYTES, N, HMM_PROBE_ADOPT_OWNER);
	close(dev.mirror);
}

/* One handle_mm_fault() for each mapping made */

static __u64 count_faults(int fd, char *map, __u64 *slots, __u64 request,
			  __u64 flags)
{
	struct hmm_probe_call call = {
		.default_flags = request,
		.flags = flags,
	};

	fill_slots(slots, HUGE_PAGES, 0);
	if (probe_call(fd, map, HUGE_PAGES, slots, &call) ||
	    count_slots(slots, HUGE_PAGES, request) != HUGE_PAGES)
		fatal("the range was not faulted in: %lld", call.rc);
	return call.faults;
}

/* The runner shows lines with "figure:" beside its verdict. */
#define faults_for(map, request, memory) ({				\
	__u64 calls_ = count_faults(self->fd, map, self->slots, request,	\
				    variant->flags);			\
									\
	TH_LOG("figure: %llu handle_mm_fault() calls per 2 MiB of %s, %s", \
	       calls_, memory, variant->flags ? "unlocked" : "locked");	\
	calls_;								\
})

TEST_F(range_regression, faults_per_2m_of_small_pages)
{
	char *map = map_anon_small(HUGE_BYTES);

	EXPECT_EQ(HUGE_PAGES, faults_for(map, REQ_WRITE, "4 KiB pages"));
}

TEST_F(range_regression, one_fault_per_huge_page)
{
	char *map = map_anon(HUGE_BYTES);
	__u64 faults;

	ASSERT_EQ(0, madvise(map, HUGE_BYTES, MADV_HUGEPAGE));
	faults = faults_for(map, REQ_WRITE, "a THP");
	if (slot_order(self->slots[0]) != HUGE_ORDER)
		SKIP(return, "no huge page");
	EXPECT_EQ(1, faults);
}

TEST_F(range_regression, one_fault_per_hugetlb_page)
{
	char *map = reserve_hugetlb(1) ? map_hugetlb(HUGE_BYTES) : NULL;

	if (!map)
		SKIP(return, "no hugetlb page");
	EXPECT_EQ(1, faults_for(map, REQ_WRITE, "a hugetlb page"));
}

static bool is_64k_folios(const __u64 *slots)
{
	size_t i;

	for (i = 0; i < HUGE_PAGES; i++) {
		size_t in_folio = i % MTHP_PAGES;

		if (slot_pfn(slots[i]) !=
		    slot_pfn(slots[i - in_folio]) + in_folio ||
		    slot_pfn(slots[i]) % MTHP_PAGES != in_folio)
			return false;
	}
	return true;
}

TEST_F(range_regression, one_fault_per_64k_folio)
{
	char *map = map_anon(HUGE_BYTES);
	struct setting small, huge;
	__u64 faults;

	if (!setting_change(&small, MTHP_SETTING, "always"))
		SKIP(return, "no 64 KiB folios");
	ASSERT_TRUE(setting_change(&huge, THP_SETTING, "never"));
	faults = faults_for(map, REQ_WRITE, "64 KiB folios");
	setting_restore(&huge);
	setting_restore(&small);
	if (!is_64k_folios(self->slots))
		SKIP(return, "no 64 KiB folios");
	EXPECT_EQ(HUGE_PAGES / MTHP_PAGES, faults);
}

/* A read fault of a file maps the cached pages around it, 64 KiB in all. */
TEST_F(range_regression, one_fault_per_fault_around_window_of_a_file)
{
	int file = memory_file(HUGE_BYTES);
	char *map = map_at(map_anon(HUGE_BYTES), HUGE_BYTES, PROT_READ,
			   MAP_SHARED, file);
	size_t i;

	for (i = 0; i < HUGE_PAGES; i++)
		if (pwrite(file, "x", 1, i * PAGE_BYTES) != 1)
			fatal("write to a file: %s", strerror(errno));
	EXPECT_EQ(HUGE_PAGES / WINDOW_PAGES,
		  faults_for(map, REQ_READ, "a file (windows of 64 KiB)"));
	close(file);
}

/*
 * What the unlocked form does after it lost the mmap lock
 *
 * Userfaultfd makes it lose the lock at chosen pages; while it sleeps there,
 * the handler changes other pages of the range.
 */

FIXTURE(range_retry)
{
	int fd;
	char *map;
	struct uffd uffd;
	__u64 slots[2 * N];
};

FIXTURE_SETUP(range_retry)
{
	self->fd = probe_open();
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_probe");
	if (uffd_open(&self->uffd, 0))
		SKIP(return, "no userfaultfd");
	self->map = map_anon_small(2 * N * PAGE_BYTES);
	fill_slots(self->slots, 2 * N, 0);
}

FIXTURE_TEARDOWN(range_retry)
{
	close(self->fd);
}

/* Page 0 is ordinary memory; page 1 sleeps until the handler has it filled. */
#define start_with_sleep_on_page_1(handler) do {			\
	self->uffd.on_fault = handler;					\
	ASSERT_EQ(0, uffd_watch(&self->uffd, self->map + PAGE_BYTES,	\
				PAGE_BYTES,				\
				UFFDIO_REGISTER_MODE_MISSING));	\
	write_pages(self->map, 1, 1);					\
	uffd_start(&self->uffd);					\
} while (0)

/* ... and a call asks for both pages in the meantime. */
#define fault_with_sleep_on_page_1(handler, request_0, request_1) do {	\
	start_with_sleep_on_page_1(handler);				\
	self->slots[0] = request_0;					\
	self->slots[1] = request_1;					\
	EXPECT_EQ(0, probe_fault_each(self->fd, self->map, 2,		\
				      self->slots, HMM_PROBE_UNLOCKED)); \
	uffd_stop(&self->uffd);						\
} while (0)

static void drop_page_before(struct uffd *uffd, char *page, bool write)
{
	(void)write;
	if (madvise(page - PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED))
		fatal("MADV_DONTNEED: %s", strerror(errno));
	uffd_fill(uffd, page, 3);
}

static void protect_page_before(struct uffd *uffd, char *page, bool write)
{
	(void)write;
	if (mprotect(page - PAGE_BYTES, PAGE_BYTES, PROT_READ))
		fatal("mprotect: %s", strerror(errno));
	uffd_fill(uffd, page, 3);
}

TEST_F(range_retry, unrequested_page_stays_unpopulated)
{
	fault_with_sleep_on_page_1(drop_page_before, 0, REQ_READ);
	EXPECT_EQ(0, self->slots[0]);
	EXPECT_TRUE(self->slots[1] & HMM_PROBE_VALID);
	EXPECT_EQ(1, probe_populated(self->fd, self->map, 2));
}

TEST_F(range_retry, read_request_is_not_write_faulted)
{
	fault_with_sleep_on_page_1(drop_page_before, REQ_READ, REQ_READ);
	EXPECT_EQ(READABLE, self->slots[0] & STATE);
}

TEST_F(range_retry, read_request_is_not_refused)
{
	fault_with_sleep_on_page_1(protect_page_before, REQ_READ, REQ_READ);
	EXPECT_EQ(READABLE, self->slots[0] & STATE);
}

TEST_F(range_retry, sticky_flags_survive_retries)
{
	fault_with_sleep_on_page_1(drop_page_before, HMM_PROBE_DMA_MAPPED,
				   HMM_PROBE_P2PDMA | REQ_WRITE);
	EXPECT_EQ(HMM_PROBE_DMA_MAPPED, self->slots[0]);
	EXPECT_EQ(HMM_PROBE_P2PDMA | WRITABLE,
		  self->slots[1] & (STATE | HMM_PROBE_STICKY));
}

/*
 * The first half of the range is untouched and not requested; each page of
 * the second half sleeps. At each sleep the handler touches the next page of
 * the first half, where the call has been already. A call that resumes never
 * sees those pages; one that starts again reports them. To touch an untouched
 * page invalidates nothing, so there is no reason to start again.
 */
static void plant_page(struct uffd *uffd, char *page, bool write)
{
	(void)write;
	write_pages(page - N * PAGE_BYTES, 1, 1);
	uffd_fill(uffd, page, 3);
}

TEST_F(range_retry, resumes_where_it_stopped)
{
	struct hmm_probe_call call = {
		.pfn_flags_mask = MASK_SLOTS,
		.flags = HMM_PROBE_UNLOCKED,
	};
	size_t restarts_seen;

	self->uffd.on_fault = plant_page;
	ASSERT_EQ(0, uffd_watch(&self->uffd, self->map + N * PAGE_BYTES,
				N * PAGE_BYTES,
				UFFDIO_REGISTER_MODE_MISSING));
	/* The page tables exist, so that planting a page makes none. */
	write_pages(self->map, 1, 1);
	ASSERT_EQ(0, madvise(self->map, PAGE_BYTES, MADV_DONTNEED));
	probe_interval(self->fd, self->map, 2 * N * PAGE_BYTES);

	uffd_start(&self->uffd);
	fill_slots(self->slots + N, N, REQ_WRITE);
	ASSERT_EQ(0, probe_call(self->fd, self->map, 2 * N, self->slots,
				&call));
	uffd_stop(&self->uffd);

	ASSERT_EQ(0, call.invalidations);
	EXPECT_EQ(N, first_other(self->slots + N, N, STATE, WRITABLE));
	EXPECT_EQ(N, probe_populated(self->fd, self->map, N));
	restarts_seen = count_slots(self->slots, N, HMM_PROBE_VALID);
	EXPECT_EQ(0, restarts_seen);
}

/*
 * After an invalidation the whole range has to be looked at again: what was
 * recorded before it may be stale. Not a defect of 7.3; it keeps the test
 * above from being passed by a call that never looks back.
 */
static void replace_page_before(struct uffd *uffd, char *page, bool write)
{
	(void)write;
	if (madvise(page - PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED))
		fatal("MADV_DONTNEED: %s", strerror(errno));
	write_pages(page - PAGE_BYTES, 1, 9);
	uffd_fill(uffd, page, 3);
}

TEST_F(range_retry, looks_again_after_an_invalidation)
{
	struct hmm_probe_call call = {
		.default_flags = REQ_WRITE,
		.flags = HMM_PROBE_UNLOCKED | HMM_PROBE_ONCE,
	};

	start_with_sleep_on_page_1(replace_page_before);
	ASSERT_EQ(0, probe_call(self->fd, self->map, 2, self->slots, &call));
	uffd_stop(&self->uffd);
	EXPECT_NE(0, call.invalidations);
	EXPECT_EQ(pagemap_pfn(self->map), slot_pfn(self->slots[0]));
	EXPECT_TRUE(probe_agrees(self->fd, self->map, 2, 0));
}

TEST_HARNESS_MAIN
