// SPDX-License-Identifier: GPL-2.0
/*
 * Range faulting, the basics: what a snapshot says of each kind of mapping,
 * what a request does to it, and which requests are refused.
 *
 * Every test runs through hmm_range_fault() and through the unlocked form.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <lib/test_hmm_uapi.h>

#include "kselftest_harness.h"
#include "lib/common.h"

/* Pages in the small mappings of this file. */
#define N	16

#define FOLIOS_64K	"/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled"
#define FOLIOS_2M	"/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled"

/* Bits that say what a page is; the pfn and the order are left out. */
#define STATE	(HMM_PROBE_VALID | HMM_PROBE_WRITE | HMM_PROBE_ERROR)

#define READABLE	HMM_PROBE_VALID
#define WRITABLE	(HMM_PROBE_VALID | HMM_PROBE_WRITE)

FIXTURE(hmm_range)
{
	int fd;
	__u64 slots[2 * HUGE_PAGES];
};

FIXTURE_VARIANT(hmm_range)
{
	__u64 flags;
};

FIXTURE_VARIANT_ADD(hmm_range, locked)
{
	.flags = 0,
};

FIXTURE_VARIANT_ADD(hmm_range, unlocked)
{
	.flags = HMM_PROBE_UNLOCKED,
};

FIXTURE_SETUP(hmm_range)
{
	self->fd = probe_open();
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_probe");
}

FIXTURE_TEARDOWN(hmm_range)
{
	release_hugetlb();
	close(self->fd);
}

#define snapshot(addr, n) \
	ASSERT_EQ(0, probe_snapshot(self->fd, addr, n, self->slots, \
				    variant->flags))

static void slots_are(struct __test_metadata *_metadata, const __u64 *slots,
		      size_t n, __u64 mask, __u64 value)
{
	size_t bad = first_other(slots, n, mask, value);

	ASSERT_EQ(n, bad) {
		TH_LOG("page %zu: %#llx, not %#llx", bad, slots[bad], value);
	}
}

/* All of the first @n slots are in @state. */
#define expect_state(n, state)						\
	slots_are(_metadata, self->slots, n, STATE, state)

/* What is not VALID says nothing else: no pfn and no order. */
#define expect_bare(n, value)						\
	slots_are(_metadata, self->slots, n, ~0ULL, value)

/* One mapping: the same order and consecutive pages. */
#define expect_huge()							\
	ASSERT_EQ(HUGE_PAGES, first_not_following(self->slots, HUGE_PAGES, \
						  HUGE_ORDER))

#define expect_oracle(addr, n, flags) \
	EXPECT_TRUE(probe_agrees(self->fd, addr, n, flags))

/* Snapshots */

TEST_F(hmm_range, snapshot_untouched)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	snapshot(map, N);
	expect_bare(N, 0);
	ASSERT_EQ(0, probe_populated(self->fd, map, N));
	expect_oracle(map, N, 0);
}

TEST_F(hmm_range, snapshot_no_vma)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	munmap(map, N * PAGE_BYTES);
	snapshot(map, N);
	expect_bare(N, HMM_PROBE_ERROR);
	expect_oracle(map, N, 0);
}

TEST_F(hmm_range, snapshot_without_read_permission)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	write_pages(map, N, 1);
	ASSERT_EQ(0, mprotect(map, N * PAGE_BYTES, PROT_NONE));
	snapshot(map, N);
	expect_bare(N, HMM_PROBE_ERROR);

	ASSERT_EQ(0, mprotect(map, N * PAGE_BYTES, PROT_WRITE));
	snapshot(map, N);
	expect_bare(N, HMM_PROBE_ERROR);
	expect_oracle(map, N, 0);
}

TEST_F(hmm_range, snapshot_written)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	write_pages(map, N, 1);
	snapshot(map, N);
	expect_state(N, WRITABLE);
	EXPECT_EQ(pagemap_pfn(map), slot_pfn(self->slots[0]));
	EXPECT_EQ(pagemap_pfn(map + (N - 1) * PAGE_BYTES),
		  slot_pfn(self->slots[N - 1]));
	expect_oracle(map, N, 0);
}

TEST_F(hmm_range, snapshot_every_other_page)
{
	char *map = map_anon_small(N * PAGE_BYTES);
	int i;

	for (i = 0; i < N; i += 2)
		write_pages(map + i * PAGE_BYTES, 1, 1);
	snapshot(map, N);
	for (i = 0; i < N; i++) {
		__u64 state = i % 2 ? 0 : WRITABLE;

		EXPECT_EQ(state, self->slots[i] & STATE);
	}
	expect_oracle(map, N, 0);
}

TEST_F(hmm_range, snapshot_write_protected)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	write_pages(map, N, 1);
	ASSERT_EQ(0, mprotect(map, N * PAGE_BYTES, PROT_READ));
	snapshot(map, N);
	expect_state(N, READABLE);
	expect_oracle(map, N, 0);
}

TEST_F(hmm_range, snapshot_zero_page)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	read_pages(map, N);
	snapshot(map, N);
	expect_state(N, READABLE);
	expect_bare(N, self->slots[0]);
	expect_oracle(map, N, 0);
}

TEST_F(hmm_range, snapshot_huge_zero_page)
{
	char *map = map_anon(HUGE_BYTES);

	ASSERT_EQ(0, madvise(map, HUGE_BYTES, MADV_HUGEPAGE));
	read_pages(map, 1);
	snapshot(map, HUGE_PAGES);
	if (slot_order(self->slots[0]) != HUGE_ORDER)
		SKIP(return, "no huge zero page here");
	expect_state(HUGE_PAGES, READABLE);
	expect_oracle(map, HUGE_PAGES, 0);
}

TEST_F(hmm_range, snapshot_thp)
{
	char *map = map_thp(self->fd, HUGE_BYTES);

	if (!map)
		SKIP(return, "no huge page");
	snapshot(map, HUGE_PAGES);
	expect_state(HUGE_PAGES, WRITABLE);
	expect_huge();
	expect_oracle(map, HUGE_PAGES, 0);
}

TEST_F(hmm_range, snapshot_inside_thp)
{
	char *map = map_thp(self->fd, HUGE_BYTES);
	char *page = map + 77 * PAGE_BYTES;

	if (!map)
		SKIP(return, "no huge page");
	snapshot(page, N);
	expect_state(N, WRITABLE);
	ASSERT_EQ(pagemap_pfn(page), slot_pfn(self->slots[0]));
	expect_oracle(page, N, 0);
}

TEST_F(hmm_range, snapshot_split_thp)
{
	char *map = map_thp(self->fd, HUGE_BYTES);
	char *page = map + 8 * PAGE_BYTES;

	if (!map)
		SKIP(return, "no huge page");
	ASSERT_EQ(0, mprotect(page, N * PAGE_BYTES, PROT_READ));
	snapshot(page, 2 * N);
	expect_state(N, READABLE);
	EXPECT_EQ(WRITABLE, self->slots[N] & STATE);
	expect_oracle(map, HUGE_PAGES, 0);
}

TEST_F(hmm_range, snapshot_hugetlb)
{
	char *map = reserve_hugetlb(1) ? map_hugetlb(HUGE_BYTES) : NULL;

	if (!map)
		SKIP(return, "no hugetlb page");
	write_pages(map, 1, 1);
	snapshot(map, HUGE_PAGES);
	expect_state(HUGE_PAGES, WRITABLE);
	expect_huge();
	expect_oracle(map, HUGE_PAGES, 0);
	expect_oracle(map + 77 * PAGE_BYTES, N, 0);
}

TEST_F(hmm_range, snapshot_gigantic_page)
{
	char *map = map_gigantic();
	char *page = map + 12345 * PAGE_BYTES;

	if (!map)
		SKIP(return, "no page of 1 GiB");
	write_pages(page, 1, 1);
	snapshot(page, N);
	expect_state(N, WRITABLE);
	EXPECT_EQ(GIGANTIC_ORDER, slot_order(self->slots[0]));
	EXPECT_EQ(pagemap_pfn(page), slot_pfn(self->slots[0]));
	expect_oracle(page, N, 0);
	munmap(map, GIGANTIC_BYTES);
}

TEST_F(hmm_range, snapshot_swapped_out)
{
	char *map = map_anon_small(N * PAGE_BYTES);
	struct swap swap;

	write_pages(map, N, 5);
	if (!swap_start(&swap, 1UL << 24))
		SKIP(return, "no swap space");
	ASSERT_TRUE(swap_out(map, N));
	snapshot(map, N);
	expect_bare(N, 0);
	expect_oracle(map, N, 0);

	ASSERT_EQ(0, probe_fault_all(self->fd, map, N, self->slots, REQ_WRITE,
				     variant->flags));
	expect_state(N, WRITABLE);
	EXPECT_EQ(5, map[(N - 1) * PAGE_BYTES]);
	swap_stop(&swap);
}

static void ignore_signal(int signal)
{
	(void)signal;
}

/* Costs one page of memory for good. */
TEST_F(hmm_range, snapshot_hwpoison)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	signal(SIGBUS, ignore_signal);
	write_pages(map, N, 1);
	if (madvise(map, PAGE_BYTES, MADV_HWPOISON))
		SKIP(return, "no memory failure injection");
	snapshot(map, N);
	EXPECT_EQ(HMM_PROBE_ERROR, self->slots[0]);
	EXPECT_EQ(WRITABLE, self->slots[1] & STATE);
	expect_oracle(map, N, 0);
	EXPECT_EQ(-EFAULT, probe_fault_all(self->fd, map, N, self->slots,
					   REQ_READ, variant->flags));
}

TEST_F(hmm_range, snapshot_shared_memory)
{
	char *map = map_at(map_anon(HUGE_BYTES), N * PAGE_BYTES,
			   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			   -1);

	write_pages(map, N / 2, 1);
	snapshot(map, N);
	expect_state(N / 2, WRITABLE);
	EXPECT_EQ(0, self->slots[N - 1]);
	expect_oracle(map, N, 0);
}

TEST_F(hmm_range, snapshot_private_file)
{
	int file = memory_file(N * PAGE_BYTES);
	char *map = map_at(map_anon(HUGE_BYTES), N * PAGE_BYTES,
			   PROT_READ | PROT_WRITE, MAP_PRIVATE, file);

	read_pages(map, N);
	write_pages(map, 1, 1);
	snapshot(map, N);
	EXPECT_EQ(WRITABLE, self->slots[0] & STATE);
	EXPECT_EQ(READABLE, self->slots[1] & STATE);
	expect_oracle(map, N, 0);
	close(file);
}

TEST_F(hmm_range, snapshot_copy_on_write)
{
	char *map = map_anon_small(N * PAGE_BYTES);
	struct keeper child;

	write_pages(map, N, 1);
	keeper_start(&child);
	snapshot(map, N);
	expect_state(N, READABLE);
	expect_oracle(map, N, 0);
	keeper_stop(&child);
}

TEST_F(hmm_range, snapshot_guard_region)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	write_pages(map, N, 1);
	if (madvise(map + PAGE_BYTES, PAGE_BYTES, MADV_GUARD_INSTALL))
		SKIP(return, "no guard regions");
	snapshot(map, N);
	EXPECT_EQ(WRITABLE, self->slots[0] & STATE);
	EXPECT_EQ(HMM_PROBE_ERROR, self->slots[1]);
	EXPECT_EQ(WRITABLE, self->slots[2] & STATE);
	expect_oracle(map, N, 0);
}

TEST_F(hmm_range, snapshot_poison_marker)
{
	char *map = map_anon_small(N * PAGE_BYTES);
	struct uffd uffd;

	if (uffd_open(&uffd, UFFD_FEATURE_POISON))
		SKIP(return, "no userfaultfd poison");
	ASSERT_EQ(0, uffd_watch(&uffd, map, N * PAGE_BYTES,
				UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_EQ(0, uffd_poison(&uffd, map, PAGE_BYTES));
	snapshot(map, N);
	EXPECT_EQ(HMM_PROBE_ERROR, self->slots[0]);
	EXPECT_EQ(0, self->slots[1]);
	expect_oracle(map, N, 0);
	close(uffd.fd);
}

TEST_F(hmm_range, snapshot_write_protect_marker)
{
	char *map = map_at(map_anon(HUGE_BYTES), N * PAGE_BYTES,
			   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			   -1);
	struct uffd uffd;

	if (uffd_open(&uffd, UFFD_FEATURE_WP_HUGETLBFS_SHMEM))
		SKIP(return, "no userfaultfd write-protection of shmem");
	ASSERT_EQ(0, uffd_watch(&uffd, map, N * PAGE_BYTES,
				UFFDIO_REGISTER_MODE_WP));
	ASSERT_EQ(0, uffd_protect(&uffd, UFFDIO_WRITEPROTECT, map,
				  N * PAGE_BYTES,
				  UFFDIO_WRITEPROTECT_MODE_WP));
	snapshot(map, N);
	expect_bare(N, 0);
	expect_oracle(map, N, 0);
	close(uffd.fd);
}

TEST_F(hmm_range, snapshot_special_mapping)
{
	char *map = map_at(map_anon(HUGE_BYTES), N * PAGE_BYTES,
			   PROT_READ | PROT_WRITE, MAP_SHARED, self->fd);

	read_pages(map, N / 2);
	snapshot(map, N);
	expect_bare(N / 2, HMM_PROBE_ERROR);
	EXPECT_EQ(0, self->slots[N / 2]);
	expect_oracle(map, N, 0);
}

TEST_F(hmm_range, snapshot_pfn_mapping)
{
	char *map = mmap(NULL, N * PAGE_BYTES, PROT_READ | PROT_WRITE,
			 MAP_SHARED, self->fd,
			 (off_t)HMM_PROBE_MAP_PFNMAP << HMM_PROBE_MAP_SHIFT);

	ASSERT_NE(MAP_FAILED, map);
	read_pages(map, N);
	snapshot(map, N);
	expect_bare(N, HMM_PROBE_ERROR);
	expect_oracle(map, N, 0);
}

TEST_F(hmm_range, snapshot_device_private)
{
	int mirror = dmirror_open(0);
	char *map = map_anon_small(N * PAGE_BYTES);

	if (mirror < 0)
		SKIP(return, "no /dev/hmm_dmirror0");
	write_pages(map, N, 1);
	ASSERT_EQ(0, dmirror_to_device(mirror, map, N / 2));

	snapshot(map, N);
	expect_bare(N / 2, 0);
	EXPECT_EQ(WRITABLE, self->slots[N / 2] & STATE);
	expect_oracle(map, N, 0);

	ASSERT_EQ(0, probe_snapshot(self->fd, map, N, self->slots,
				    variant->flags | HMM_PROBE_ADOPT_OWNER));
	expect_state(N, WRITABLE);
	expect_oracle(map, N, HMM_PROBE_ADOPT_OWNER);
	close(mirror);
}

TEST_F(hmm_range, snapshot_device_private_of_two_owners)
{
	int mirror[] = { dmirror_open(0), dmirror_open(1) };
	char *map = map_anon_small(N * PAGE_BYTES);

	if (mirror[0] < 0 || mirror[1] < 0)
		SKIP(return, "no /dev/hmm_dmirror0, /dev/hmm_dmirror1");
	write_pages(map, N, 1);
	ASSERT_EQ(0, dmirror_to_device(mirror[0], map, 1));
	ASSERT_EQ(0, dmirror_to_device(mirror[1], map + PAGE_BYTES, 1));
	ASSERT_EQ(0, probe_snapshot(self->fd, map, N, self->slots,
				    variant->flags | HMM_PROBE_ADOPT_OWNER));
	EXPECT_EQ(WRITABLE, self->slots[0] & STATE);
	EXPECT_EQ(0, self->slots[1]);
	expect_oracle(map, N, HMM_PROBE_ADOPT_OWNER);
	close(mirror[0]);
	close(mirror[1]);
}

TEST_F(hmm_range, snapshot_device_exclusive)
{
	int mirror = dmirror_open(0);
	char *map = map_anon_small(N * PAGE_BYTES);

	if (mirror < 0)
		SKIP(return, "no /dev/hmm_dmirror0");
	write_pages(map, N, 1);
	ASSERT_EQ(0, dmirror_command(mirror, HMM_DMIRROR_EXCLUSIVE, map, 1));
	snapshot(map, N);
	EXPECT_EQ(0, self->slots[0]);
	EXPECT_EQ(WRITABLE, self->slots[1] & STATE);
	expect_oracle(map, N, 0);
	close(mirror);
}

TEST_F(hmm_range, snapshot_device_coherent)
{
	int mirror = dmirror_open(2);
	char *map = map_anon_small(N * PAGE_BYTES);

	write_pages(map, N, 1);
	if (mirror < 0 || dmirror_to_device(mirror, map, 1))
		SKIP(return, "no coherent device memory");
	snapshot(map, N);
	expect_state(N, WRITABLE);
	EXPECT_EQ(pagemap_pfn(map), slot_pfn(self->slots[0]));
	expect_oracle(map, N, 0);
	close(mirror);
}

TEST_F(hmm_range, snapshot_many_mappings)
{
	char *map = map_anon(4 * HUGE_BYTES);
	char *page = map + HUGE_BYTES;

	ASSERT_EQ(0, madvise(map, HUGE_BYTES, MADV_NOHUGEPAGE));
	write_pages(map, HUGE_PAGES / 2, 1);
	munmap(page, N * PAGE_BYTES);
	write_pages(page + N * PAGE_BYTES, N, 1);
	ASSERT_EQ(0, mprotect(page + N * PAGE_BYTES, PAGE_BYTES, PROT_READ));

	snapshot(page - N * PAGE_BYTES, 3 * N);
	EXPECT_EQ(0, self->slots[0]);
	EXPECT_EQ(HMM_PROBE_ERROR, self->slots[N]);
	EXPECT_EQ(READABLE, self->slots[2 * N] & STATE);
	EXPECT_EQ(WRITABLE, self->slots[3 * N - 1] & STATE);
	expect_oracle(map, 4 * HUGE_PAGES, 0);
}

/* Requests */

TEST_F(hmm_range, read_request_for_all)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	ASSERT_EQ(0, probe_fault_all(self->fd, map, N, self->slots, REQ_READ,
				     variant->flags));
	expect_state(N, READABLE);
	EXPECT_EQ(N, probe_populated(self->fd, map, N));
	expect_oracle(map, N, 0);
}

TEST_F(hmm_range, write_request_for_all)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	ASSERT_EQ(0, probe_fault_all(self->fd, map, N, self->slots, REQ_WRITE,
				     variant->flags));
	expect_state(N, WRITABLE);
	EXPECT_EQ(pagemap_pfn(map), slot_pfn(self->slots[0]));
	expect_oracle(map, N, 0);
}

TEST_F(hmm_range, write_request_replaces_zero_page)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	read_pages(map, N);
	ASSERT_EQ(0, probe_fault_all(self->fd, map, N, self->slots, REQ_WRITE,
				     variant->flags));
	expect_state(N, WRITABLE);
	EXPECT_NE(self->slots[0], self->slots[1]);
}

TEST_F(hmm_range, write_request_copies)
{
	char *map = map_anon_small(N * PAGE_BYTES);
	struct keeper child;

	write_pages(map, N, 1);
	keeper_start(&child);
	ASSERT_EQ(0, probe_fault_all(self->fd, map, N, self->slots, REQ_WRITE,
				     variant->flags));
	expect_state(N, WRITABLE);
	write_pages(map, N, 2);
	EXPECT_EQ(1, keeper_peek(&child, map));
	keeper_stop(&child);
}

TEST_F(hmm_range, read_request_leaves_copy_on_write)
{
	char *map = map_anon_small(N * PAGE_BYTES);
	struct keeper child;

	write_pages(map, N, 1);
	keeper_start(&child);
	ASSERT_EQ(0, probe_fault_all(self->fd, map, N, self->slots, REQ_READ,
				     variant->flags));
	expect_state(N, READABLE);
	keeper_stop(&child);
}

TEST_F(hmm_range, requests_page_by_page)
{
	char *map = map_anon_small((N + 1) * PAGE_BYTES);

	/* There is a page table: range-regression has a hole without one. */
	write_pages(map + N * PAGE_BYTES, 1, 1);
	fill_slots(self->slots, N, 0);
	self->slots[N - 2] = REQ_READ;
	self->slots[N - 1] = REQ_WRITE;
	ASSERT_EQ(0, probe_fault_each(self->fd, map, N, self->slots,
				      variant->flags));
	expect_bare(N - 2, 0);
	EXPECT_EQ(READABLE, self->slots[N - 2] & STATE);
	EXPECT_EQ(WRITABLE, self->slots[N - 1] & STATE);
	EXPECT_EQ(2, probe_populated(self->fd, map, N));
}

TEST_F(hmm_range, default_request_is_added)
{
	struct hmm_probe_call call = {
		.default_flags = REQ_READ,
		.pfn_flags_mask = HMM_PROBE_REQ_WRITE,
		.flags = variant->flags,
	};
	char *map = map_anon_small(N * PAGE_BYTES);

	fill_slots(self->slots, N, REQ_WRITE);
	ASSERT_EQ(0, probe_call(self->fd, map, N, self->slots, &call));
	expect_state(N, WRITABLE);
}

TEST_F(hmm_range, mask_hides_requests)
{
	struct hmm_probe_call call = { .flags = variant->flags };
	char *map = map_anon_small(N * PAGE_BYTES);

	fill_slots(self->slots, N, REQ_WRITE);
	ASSERT_EQ(0, probe_call(self->fd, map, N, self->slots, &call));
	expect_bare(N, 0);
	EXPECT_EQ(0, probe_populated(self->fd, map, N));
}

TEST_F(hmm_range, write_alone_in_a_slot_requests_nothing)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	fill_slots(self->slots, N, HMM_PROBE_REQ_WRITE);
	ASSERT_EQ(0, probe_fault_each(self->fd, map, N, self->slots,
				      variant->flags));
	expect_bare(N, 0);
	EXPECT_EQ(0, probe_populated(self->fd, map, N));
}

TEST_F(hmm_range, requests_on_shared_memory)
{
	char *map = map_at(map_anon(HUGE_BYTES), N * PAGE_BYTES,
			   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			   -1);

	ASSERT_EQ(0, probe_fault_all(self->fd, map, N, self->slots, REQ_WRITE,
				     variant->flags));
	expect_state(N, WRITABLE);
	expect_oracle(map, N, 0);
}

TEST_F(hmm_range, requests_on_a_private_file)
{
	int file = memory_file(N * PAGE_BYTES);
	char *map = map_at(map_anon(HUGE_BYTES), N * PAGE_BYTES,
			   PROT_READ | PROT_WRITE, MAP_PRIVATE, file);
	char byte = 0;

	ASSERT_EQ(0, probe_fault_all(self->fd, map, N, self->slots, REQ_READ,
				     variant->flags));
	expect_state(N, READABLE);
	ASSERT_EQ(0, probe_fault_all(self->fd, map, N, self->slots, REQ_WRITE,
				     variant->flags));
	expect_state(N, WRITABLE);
	write_pages(map, N, 1);
	ASSERT_EQ(1, pread(file, &byte, 1, 0));
	EXPECT_EQ(0, byte);
	expect_oracle(map, N, 0);
	close(file);
}

TEST_F(hmm_range, requests_on_hugetlb)
{
	char *map = reserve_hugetlb(1) ? map_hugetlb(HUGE_BYTES) : NULL;

	if (!map)
		SKIP(return, "no hugetlb page");
	ASSERT_EQ(0, probe_fault_all(self->fd, map, HUGE_PAGES, self->slots,
				     REQ_WRITE, variant->flags));
	expect_state(HUGE_PAGES, WRITABLE);
	expect_oracle(map, HUGE_PAGES, 0);
}

TEST_F(hmm_range, requests_on_device_exclusive)
{
	int mirror = dmirror_open(0);
	char *map = map_anon_small(N * PAGE_BYTES);

	if (mirror < 0)
		SKIP(return, "no /dev/hmm_dmirror0");
	write_pages(map, N, 7);
	ASSERT_EQ(0, dmirror_command(mirror, HMM_DMIRROR_EXCLUSIVE, map, 2));
	ASSERT_EQ(0, probe_fault_all(self->fd, map, N, self->slots, REQ_WRITE,
				     variant->flags));
	expect_state(N, WRITABLE);
	EXPECT_EQ(7, map[0]);
	close(mirror);
}

TEST_F(hmm_range, request_brings_back_foreign_device_pages)
{
	int mirror = dmirror_open(0);
	char *map = map_anon_small(N * PAGE_BYTES);

	if (mirror < 0)
		SKIP(return, "no /dev/hmm_dmirror0");
	write_pages(map, N, 7);
	ASSERT_EQ(0, dmirror_to_device(mirror, map, N));
	ASSERT_EQ(0, probe_fault_all(self->fd, map, N, self->slots, REQ_READ,
				     variant->flags));
	ASSERT_EQ(N, count_slots(self->slots, N, HMM_PROBE_VALID));
	EXPECT_EQ(pagemap_pfn(map), slot_pfn(self->slots[0]));
	EXPECT_EQ(7, map[0]);
	close(mirror);
}

TEST_F(hmm_range, request_leaves_own_device_pages)
{
	int mirror = dmirror_open(0);
	char *map = map_anon_small(N * PAGE_BYTES);
	__u64 before[N];

	if (mirror < 0)
		SKIP(return, "no /dev/hmm_dmirror0");
	write_pages(map, N, 7);
	ASSERT_EQ(0, dmirror_to_device(mirror, map, N));
	ASSERT_EQ(0, probe_snapshot(self->fd, map, N, before,
				    variant->flags | HMM_PROBE_ADOPT_OWNER));
	ASSERT_EQ(0, probe_fault_all(self->fd, map, N, self->slots, REQ_WRITE,
				     variant->flags | HMM_PROBE_ADOPT_OWNER));
	EXPECT_EQ(0, memcmp(before, self->slots, sizeof(before)));
	close(mirror);
}

/* Flags that belong to the caller */

TEST_F(hmm_range, sticky_flags_survive)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	write_pages(map, N / 2, 1);
	munmap(map + (N - 2) * PAGE_BYTES, 2 * PAGE_BYTES);
	fill_slots(self->slots, N, HMM_PROBE_STICKY);
	self->slots[0] = HMM_PROBE_DMA_MAPPED;
	self->slots[1] = HMM_PROBE_P2PDMA;
	self->slots[2] = HMM_PROBE_P2PDMA_BUS;
	self->slots[3] = 0;
	self->slots[N / 2] |= REQ_WRITE;
	ASSERT_EQ(0, probe_fault_each(self->fd, map, N, self->slots,
				      variant->flags));
	EXPECT_EQ(HMM_PROBE_DMA_MAPPED, self->slots[0] & HMM_PROBE_STICKY);
	EXPECT_EQ(HMM_PROBE_P2PDMA, self->slots[1] & HMM_PROBE_STICKY);
	EXPECT_EQ(HMM_PROBE_P2PDMA_BUS, self->slots[2] & HMM_PROBE_STICKY);
	EXPECT_EQ(0, self->slots[3] & HMM_PROBE_STICKY);
	EXPECT_EQ(N - 4, first_other(self->slots + 4, N - 4, HMM_PROBE_STICKY,
				     HMM_PROBE_STICKY));
	EXPECT_EQ(HMM_PROBE_ERROR | HMM_PROBE_STICKY, self->slots[N - 1]);
}

TEST_F(hmm_range, sticky_flags_survive_on_huge_pages)
{
	char *map = map_thp(self->fd, HUGE_BYTES);

	if (!map)
		SKIP(return, "no huge page");
	fill_slots(self->slots, HUGE_PAGES, HMM_PROBE_STICKY | REQ_WRITE);
	ASSERT_EQ(0, probe_fault_each(self->fd, map, HUGE_PAGES, self->slots,
				      variant->flags));
	EXPECT_EQ(HUGE_PAGES, count_slots(self->slots, HUGE_PAGES,
					  HMM_PROBE_STICKY | WRITABLE));
}

/*
 * Orders, by default: that of the entry. Drivers map the reported order
 * around a page, and get no invalidation outside the interval that they gave.
 */

#define expect_order(addr, n, order) do {				\
	size_t at;							\
									\
	ASSERT_EQ(0, probe_snapshot(self->fd, addr, n, self->slots,	\
				    variant->flags));			\
	for (at = 0; at < (n); at++) {					\
		ASSERT_TRUE(self->slots[at] & HMM_PROBE_VALID);		\
		ASSERT_EQ(order, slot_order(self->slots[at]));		\
	}								\
} while (0)

TEST_F(hmm_range, order_of_a_huge_page_mapped_by_ptes)
{
	char *map = map_thp(self->fd, HUGE_BYTES);

	if (!map)
		SKIP(return, "no huge page");
	ASSERT_EQ(0, mprotect(map, PAGE_BYTES, PROT_READ));
	ASSERT_EQ(0, mprotect(map, PAGE_BYTES, PROT_READ | PROT_WRITE));
	write_pages(map, HUGE_PAGES, 1);
	expect_order(map, HUGE_PAGES, 0);
	expect_order(map + 5 * PAGE_BYTES, 1, 0);
}

TEST_F(hmm_range, order_of_a_folio_of_64k)
{
	struct setting folios = {}, thp = {};
	char *map;

	if (!setting_change(&folios, FOLIOS_64K, "always") ||
	    !setting_change(&thp, FOLIOS_2M, "never"))
		SKIP(return, "no folios of 64 KiB");
	map = map_anon(HUGE_BYTES);
	write_pages(map, HUGE_PAGES, 1);
	setting_restore(&thp);
	setting_restore(&folios);
	expect_order(map, HUGE_PAGES, 0);
	expect_order(map, 16, 0);
	expect_order(map + 5 * PAGE_BYTES, 1, 0);
}

/* One entry: its order, though it reaches beyond the range. */
TEST_F(hmm_range, order_of_an_entry_that_is_larger_than_the_range)
{
	char *map = map_thp(self->fd, HUGE_BYTES);

	if (!map)
		SKIP(return, "no huge page");
	expect_order(map, HUGE_PAGES, HUGE_ORDER);
	expect_order(map + 5 * PAGE_BYTES, 1, HUGE_ORDER);
	expect_order(map + 5 * PAGE_BYTES, 100, HUGE_ORDER);
	if (!reserve_hugetlb(1))
		return;
	map = map_hugetlb(HUGE_BYTES);
	write_pages(map, 1, 1);
	expect_order(map + 5 * PAGE_BYTES, 1, HUGE_ORDER);
	munmap(map, HUGE_BYTES);
}

/* Refused requests */

#define expect_refusal(error, addr, n, request)				\
	EXPECT_EQ(error, probe_fault_all(self->fd, addr, n, self->slots, \
					 request, variant->flags))

TEST_F(hmm_range, write_to_read_only_mapping)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	ASSERT_EQ(0, mprotect(map, N * PAGE_BYTES, PROT_READ));
	expect_refusal(-EPERM, map, N, REQ_WRITE);
	EXPECT_EQ(0, probe_populated(self->fd, map, N));

	read_pages(map, N);
	expect_refusal(-EPERM, map, N, REQ_WRITE);
	expect_refusal(0, map, N, REQ_READ);
}

TEST_F(hmm_range, request_without_vma)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	munmap(map + PAGE_BYTES, PAGE_BYTES);
	expect_refusal(-EFAULT, map, N, REQ_READ);
	expect_refusal(-EFAULT, map, N, REQ_WRITE);
}

TEST_F(hmm_range, request_without_read_permission)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	write_pages(map, N, 1);
	ASSERT_EQ(0, mprotect(map, N * PAGE_BYTES, PROT_NONE));
	expect_refusal(-EFAULT, map, N, REQ_READ);
	expect_refusal(-EFAULT, map, N, REQ_WRITE);
	ASSERT_EQ(0, mprotect(map, N * PAGE_BYTES, PROT_WRITE));
	expect_refusal(-EFAULT, map, N, REQ_WRITE);
}

TEST_F(hmm_range, request_on_guard_region)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	if (madvise(map, PAGE_BYTES, MADV_GUARD_INSTALL))
		SKIP(return, "no guard regions");
	expect_refusal(-EFAULT, map, N, REQ_READ);
	expect_refusal(0, map + PAGE_BYTES, N - 1, REQ_READ);
}

TEST_F(hmm_range, request_on_special_mapping)
{
	char *map = map_at(map_anon(HUGE_BYTES), N * PAGE_BYTES,
			   PROT_READ | PROT_WRITE, MAP_SHARED, self->fd);

	expect_refusal(-EFAULT, map, N, REQ_READ);
	write_pages(map, N, 0);
	expect_refusal(-EFAULT, map, N, REQ_READ);
	expect_refusal(-EFAULT, map, N, REQ_WRITE);
}

/* get_user_pages() does not hand it out either: it is for this process alone. */
TEST_F(hmm_range, secret_memory_is_refused)
{
	int file = secret_file(N * PAGE_BYTES);
	char *map;

	if (file < 0)
		SKIP(return, "no secret memory");
	map = map_at(map_anon(HUGE_BYTES), N * PAGE_BYTES,
		     PROT_READ | PROT_WRITE, MAP_SHARED, file);
	expect_refusal(-EFAULT, map, N, REQ_READ);
	expect_refusal(-EFAULT, map, N, REQ_WRITE);
	write_pages(map, N, 1);
	expect_refusal(-EFAULT, map, N, REQ_READ);
	ASSERT_EQ(0, probe_snapshot(self->fd, map, N, self->slots,
				    variant->flags));
	EXPECT_EQ(N, first_other(self->slots, N, ~0ULL, HMM_PROBE_ERROR));
	close(file);
}

TEST_F(hmm_range, request_on_pfn_mapping)
{
	char *map = mmap(NULL, N * PAGE_BYTES, PROT_READ | PROT_WRITE,
			 MAP_SHARED, self->fd,
			 (off_t)HMM_PROBE_MAP_PFNMAP << HMM_PROBE_MAP_SHIFT);

	ASSERT_NE(MAP_FAILED, map);
	expect_refusal(-EFAULT, map, N, REQ_READ);
}

TEST_F(hmm_range, request_after_the_end_of_a_file)
{
	int file = memory_file(PAGE_BYTES);
	char *map = map_at(map_anon(HUGE_BYTES), N * PAGE_BYTES,
			   PROT_READ | PROT_WRITE, MAP_SHARED, file);

	expect_refusal(0, map, 1, REQ_READ);
	expect_refusal(-EFAULT, map, N, REQ_READ);
	close(file);
}

TEST_F(hmm_range, error_pages_without_request)
{
	char *map = map_anon_small(N * PAGE_BYTES);

	munmap(map, PAGE_BYTES);
	if (madvise(map + PAGE_BYTES, PAGE_BYTES, MADV_GUARD_INSTALL))
		SKIP(return, "no guard regions");
	fill_slots(self->slots, N, 0);
	self->slots[N - 1] = REQ_WRITE;
	ASSERT_EQ(0, probe_fault_each(self->fd, map, N, self->slots,
				      variant->flags));
	EXPECT_EQ(HMM_PROBE_ERROR, self->slots[0]);
	EXPECT_EQ(HMM_PROBE_ERROR, self->slots[1]);
	EXPECT_EQ(WRITABLE, self->slots[N - 1] & STATE);
}

/*
 * Odd ranges. What 7.3 serves is served the same way, because drivers may rely
 * on it; what it cannot serve gives -EINVAL, and the slots keep the pattern they
 * had.
 */

#define PATTERN	0x5a5a5a5a5aULL

FIXTURE(hmm_bad_range)
{
	int fd;
	char *map;
	__u64 slots[N];
};

FIXTURE_VARIANT(hmm_bad_range)
{
	__u64 flags;
};

FIXTURE_VARIANT_ADD(hmm_bad_range, locked)
{
	.flags = HMM_PROBE_ONCE,
};

FIXTURE_VARIANT_ADD(hmm_bad_range, unlocked)
{
	.flags = HMM_PROBE_ONCE | HMM_PROBE_UNLOCKED,
};

FIXTURE_SETUP(hmm_bad_range)
{
	self->fd = probe_open();
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_probe");
	self->map = map_anon_small(N * PAGE_BYTES);
	write_pages(self->map, N, 1);
	fill_slots(self->slots, N, PATTERN);
}

FIXTURE_TEARDOWN(hmm_bad_range)
{
	close(self->fd);
}

/* Start and end in bytes from the mapping. */
#define raw_range(from, to) ({						\
	struct hmm_probe_call call = {					\
		.pfn_flags_mask = MASK_NONE,				\
		.flags = variant->flags | HMM_PROBE_RAW_RANGE,		\
		.raw_start = (uintptr_t)self->map + (from),		\
		.raw_end = (uintptr_t)self->map + (to),			\
	};								\
									\
	probe_call(self->fd, self->map, N, self->slots, &call);		\
})

#define expect_untouched()						\
	EXPECT_EQ(N, first_other(self->slots, N, ~0ULL, PATTERN))

TEST_F(hmm_bad_range, good_range_is_accepted)
{
	EXPECT_EQ(0, raw_range(PAGE_BYTES, 4 * PAGE_BYTES));
	EXPECT_EQ(3, count_slots(self->slots, N, HMM_PROBE_VALID));
}

/* The first @n slots name the pages from @from on, the others are untouched. */
#define expect_pages(from, n) do {						\
	size_t i;								\
										\
	for (i = 0; i < (n); i++)						\
		EXPECT_EQ(pagemap_pfn(self->map + ((from) + i) * PAGE_BYTES) |	\
			  WRITABLE, self->slots[i]);				\
	EXPECT_EQ(N - (n), first_other(self->slots + (n), N - (n), ~0ULL,	\
				       PATTERN));				\
} while (0)

/* Slot n is for the page that holds byte n * PAGE_SIZE of the range. */
TEST_F(hmm_bad_range, unaligned_start)
{
	EXPECT_EQ(0, raw_range(PAGE_BYTES + 8, 5 * PAGE_BYTES));
	expect_pages(1, 4);
}

TEST_F(hmm_bad_range, unaligned_end)
{
	EXPECT_EQ(0, raw_range(0, 4 * PAGE_BYTES + 8));
	expect_pages(0, 5);
}

TEST_F(hmm_bad_range, unaligned_both)
{
	EXPECT_EQ(0, raw_range(8, 4 * PAGE_BYTES + 8));
	expect_pages(0, 4);
	fill_slots(self->slots, N, PATTERN);
	EXPECT_EQ(0, raw_range(8, 4 * PAGE_BYTES + 16));
	expect_pages(0, 5);
	fill_slots(self->slots, N, PATTERN);
	EXPECT_EQ(0, raw_range(8, 16));
	expect_pages(0, 1);
}

TEST_F(hmm_bad_range, empty)
{
	EXPECT_EQ(-EINVAL, raw_range(PAGE_BYTES, PAGE_BYTES));
	expect_untouched();
}

TEST_F(hmm_bad_range, start_after_end)
{
	EXPECT_EQ(-EINVAL, raw_range(4 * PAGE_BYTES, PAGE_BYTES));
	expect_untouched();
}

/* The sequence says nothing about what is outside: that is up to the caller. */
TEST_F(hmm_bad_range, ends_after_the_notifier)
{
	probe_interval(self->fd, self->map, 4 * PAGE_BYTES);
	EXPECT_EQ(0, raw_range(0, 5 * PAGE_BYTES));
	expect_pages(0, 5);
}

TEST_F(hmm_bad_range, begins_before_the_notifier)
{
	probe_interval(self->fd, self->map + 4 * PAGE_BYTES, 4 * PAGE_BYTES);
	EXPECT_EQ(0, raw_range(3 * PAGE_BYTES, 5 * PAGE_BYTES));
	expect_pages(3, 2);
}

TEST_F(hmm_bad_range, lies_outside_the_notifier)
{
	probe_interval(self->fd, self->map, 4 * PAGE_BYTES);
	EXPECT_EQ(0, raw_range(4 * PAGE_BYTES, 6 * PAGE_BYTES));
	expect_pages(4, 2);
}

/* HMM_PFN_REQ_WRITE alone asks for nothing: drivers take snapshots with it. */
TEST_F(hmm_bad_range, write_requested_without_fault)
{
	struct hmm_probe_call call = {
		.default_flags = HMM_PROBE_REQ_WRITE,
		.flags = variant->flags,
	};
	int i;

	ASSERT_EQ(0, madvise(self->map, PAGE_BYTES, MADV_DONTNEED));
	for (i = 0; i < 2; i++) {
		fill_slots(self->slots, N, HMM_PROBE_REQ_WRITE);
		EXPECT_EQ(0, probe_call(self->fd, self->map, N, self->slots,
					&call));
		EXPECT_EQ(0, self->slots[0]);
		EXPECT_EQ(0, call.faults);
		EXPECT_EQ(N - 1, count_slots(self->slots, N, WRITABLE));
		/* ... in the slots as well */
		call.default_flags = 0;
		call.pfn_flags_mask = MASK_SLOTS;
	}
}

TEST_F(hmm_bad_range, no_array)
{
	struct hmm_probe_call call = {
		.flags = variant->flags | HMM_PROBE_NULL_ARRAY,
	};

	/* 7.3 would write through NULL, with locks held. */
	ASSERT_TRUE(probe_knows_sparse(self->fd));
	EXPECT_EQ(-EINVAL, probe_call(self->fd, self->map, N, self->slots,
				      &call));
	expect_untouched();
}

/* The unlocked form */

FIXTURE(hmm_unlocked)
{
	int fd;
	__u64 slots[HUGE_PAGES];
};

FIXTURE_SETUP(hmm_unlocked)
{
	self->fd = probe_open();
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_probe");
}

FIXTURE_TEARDOWN(hmm_unlocked)
{
	close(self->fd);
}

static void fill_missing(struct uffd *uffd, char *page, bool write)
{
	(void)write;
	uffd_fill(uffd, page, 42);
}

TEST_F(hmm_unlocked, waits_for_userfaultfd)
{
	char *map = map_anon_small(N * PAGE_BYTES);
	struct uffd uffd = { .on_fault = fill_missing };

	if (uffd_open(&uffd, 0))
		SKIP(return, "no userfaultfd");
	ASSERT_EQ(0, uffd_watch(&uffd, map, N * PAGE_BYTES,
				UFFDIO_REGISTER_MODE_MISSING));
	uffd_start(&uffd);
	EXPECT_EQ(0, probe_fault_all(self->fd, map, N, self->slots, REQ_WRITE,
				     HMM_PROBE_UNLOCKED));
	expect_state(N, WRITABLE);
	EXPECT_EQ(42, map[(N - 1) * PAGE_BYTES]);
	expect_oracle(map, N, 0);
	uffd_stop(&uffd);
}

TEST_F(hmm_unlocked, timeout_leaves_a_quiet_range_alone)
{
	struct hmm_probe_call call = {
		.default_flags = REQ_WRITE,
		.flags = HMM_PROBE_UNLOCKED,
		.timeout_ms = 10000,
	};
	char *map = map_anon_small(HUGE_BYTES);

	fill_slots(self->slots, HUGE_PAGES, 0);
	EXPECT_EQ(0, probe_call(self->fd, map, HUGE_PAGES, self->slots, &call));
	expect_state(HUGE_PAGES, WRITABLE);
	EXPECT_EQ(0, call.collisions);
}

struct storm {
	char *map;
	bool stop;
};

/* Unmaps what the range fault maps, as fast as it can. */
static void *storm_run(void *arg)
{
	struct storm *storm = arg;
	size_t i = 0;

	while (!__atomic_load_n(&storm->stop, __ATOMIC_RELAXED)) {
		madvise(storm->map + i % HUGE_PAGES * PAGE_BYTES, PAGE_BYTES,
			MADV_DONTNEED);
		i += 7;
	}
	return NULL;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* Either the range was stable for a moment, or the call gives up in time. */
TEST_F(hmm_unlocked, timeout_bounds_the_retries)
{
	struct storm storm = { .map = map_anon_small(HUGE_BYTES) };
	pthread_t thread;
	int i, rc;

	ASSERT_EQ(0, pthread_create(&thread, NULL, storm_run, &storm));
	for (i = 0; i < 10; i++) {
		struct hmm_probe_call call = {
			.default_flags = REQ_WRITE,
			.flags = HMM_PROBE_UNLOCKED | HMM_PROBE_ONCE,
			.timeout_ms = 50,
		};
		double start = seconds();

		fill_slots(self->slots, HUGE_PAGES, 0);
		rc = probe_call(self->fd, storm.map, HUGE_PAGES, self->slots,
				&call);
		EXPECT_TRUE(!rc || rc == -EBUSY) {
			TH_LOG("rc %d", rc);
		}
		EXPECT_LT(seconds() - start, 5.0);
		if (!rc)
			expect_state(HUGE_PAGES, WRITABLE);
	}
	__atomic_store_n(&storm.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

/* A locked call on a range that is invalidated under it must say so. */
TEST_F(hmm_unlocked, locked_form_reports_collisions)
{
	struct storm storm = { .map = map_anon_small(HUGE_BYTES) };
	size_t busy = 0, tries = 0;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, storm_run, &storm));
	while (!busy && tries++ < 2000) {
		int rc = probe_fault_all(self->fd, storm.map, HUGE_PAGES,
					 self->slots, REQ_WRITE,
					 HMM_PROBE_ONCE);

		busy += rc == -EBUSY;
		ASSERT_TRUE(!rc || rc == -EBUSY) {
			TH_LOG("rc %d", rc);
		}
	}
	__atomic_store_n(&storm.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_NE(0, busy);
}

/* Slots that are shared by faults and invalidations of several threads */

FIXTURE(hmm_dma)
{
	int fd;
};

FIXTURE_SETUP(hmm_dma)
{
	self->fd = probe_open();
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_probe");
}

FIXTURE_TEARDOWN(hmm_dma)
{
	close(self->fd);
}

/* The driver maps and unmaps what a fault of another thread goes over. */
static void map_for_dma(struct __test_metadata *_metadata, int fd, char *map,
			size_t n)
{
	struct hmm_probe_dma dma = {
		.addr = (uintptr_t)map,
		.npages = n,
		.ms = 2000,
	};

	ASSERT_EQ(0, ioctl(fd, HMM_PROBE_DMA, &dma));
	EXPECT_LT(0, dma.turns);
	EXPECT_EQ(0, dma.lost);

	dma.by_range = 1;
	if (ioctl(fd, HMM_PROBE_DMA, &dma)) {
		ASSERT_EQ(EOPNOTSUPP, errno);
		return;
	}
	EXPECT_LT(0, dma.mapped);
	EXPECT_EQ(0, dma.lost);
}

TEST_F(hmm_dma, concurrent_dma_flag_changes_survive)
{
	char *map = map_anon_small(HUGE_BYTES);

	write_pages(map, HUGE_PAGES, 1);
	map_for_dma(_metadata, self->fd, map, N);
	map_for_dma(_metadata, self->fd, map, HUGE_PAGES);
}

TEST_F(hmm_dma, concurrent_dma_flag_changes_on_a_huge_page_survive)
{
	char *map = map_thp(self->fd, HUGE_BYTES);

	if (!map)
		SKIP(return, "no huge page");
	map_for_dma(_metadata, self->fd, map, N);
	map_for_dma(_metadata, self->fd, map, HUGE_PAGES);
}

/*
 * A walk that was held up must not replace the answer of a newer one, which a
 * driver has begun to use. Held up at every access to the entry in turn.
 */
static void held_at_each_access(struct __test_metadata *_metadata, int fd,
				char *page, __u64 level,
				void (*prepare)(char *), void (*change)(char *))
{
	struct hmm_probe_stale stale = {
		.addr = (uintptr_t)page,
		.ms = 100,
		.level = level,
		.stalled = 1,
	};

	run_on(0);
	for (stale.nth = 1; stale.stalled; stale.nth++) {
		prepare(page);
		if (ioctl(fd, HMM_PROBE_STALE_BEGIN, &stale)) {
			ASSERT_TRUE(errno == EOPNOTSUPP || errno == ENOSPC);
			SKIP(return, "no breakpoints, or one processor");
		}
		change(page);
		ASSERT_EQ(0, ioctl(fd, HMM_PROBE_STALE_END, &stale));
		EXPECT_TRUE(stale.slot & HMM_PROBE_VALID);
		EXPECT_EQ(stale.slot, stale.later) {
			TH_LOG("access %llu", stale.nth);
		}
	}
	EXPECT_LT(2, stale.nth);
}

static void touch(char *page)
{
	*page = 1;
}

/* A page that is not there yet. The held walk keeps the mmap lock, for reading. */
static char *spare;

static void touch_and_save(char *page)
{
	touch(page);
	madvise(spare, PAGE_BYTES, MADV_DONTNEED);
}

static void replace(char *page)
{
	madvise(page, PAGE_BYTES, MADV_DONTNEED);
	/* May get the page that has just become free */
	touch(spare);
	touch(page);
}

/* The PMD table stays: there is more below it. */
static void empty_pmd(char *page)
{
	munmap(page, HUGE_BYTES);
	map_at(page, HUGE_BYTES, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	madvise(page, HUGE_BYTES, MADV_NOHUGEPAGE);
}

TEST_F(hmm_dma, walk_held_at_a_pte_changes_no_newer_answer)
{
	char *map = map_anon_small(HUGE_BYTES);

	spare = map + PAGE_BYTES;
	held_at_each_access(_metadata, self->fd, map, HMM_PROBE_AT_PTE,
			    touch_and_save, replace);
	munmap(map, HUGE_BYTES);
}

TEST_F(hmm_dma, walk_held_at_an_empty_pmd_changes_no_newer_answer)
{
	char *map = map_anon_small(2 * HUGE_BYTES);

	touch(map + HUGE_BYTES);
	held_at_each_access(_metadata, self->fd, map, HMM_PROBE_AT_PMD,
			    empty_pmd, touch);
	munmap(map, 2 * HUGE_BYTES);
}

/* All that there is below a PUD is the mapping, which loses its tables. */
static int below_pud;

static void empty_pud(char *start)
{
	munmap(start, GIGANTIC_BYTES);
	map_at(start, GIGANTIC_BYTES, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | below_pud, -1);
	madvise(start, GIGANTIC_BYTES, MADV_NOHUGEPAGE);
}

static void held_at_an_empty_pud(struct __test_metadata *_metadata, int fd,
				 int flags)
{
	char *map = mmap(NULL, 2 * GIGANTIC_BYTES, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *start = (char *)(((uintptr_t)map + GIGANTIC_BYTES - 1) &
			       -GIGANTIC_BYTES);

	ASSERT_NE(MAP_FAILED, map);
	below_pud = flags;
	held_at_each_access(_metadata, fd, start, HMM_PROBE_AT_PUD, empty_pud,
			    touch);
	munmap(map, 2 * GIGANTIC_BYTES);
}

TEST_F(hmm_dma, walk_held_at_an_empty_pud_changes_no_newer_answer)
{
	held_at_an_empty_pud(_metadata, self->fd, 0);
}

/* Of hugetlb pages of 2 MiB */
TEST_F(hmm_dma, walk_held_at_hugetlbs_empty_pud_changes_no_newer_answer)
{
	if (!reserve_hugetlb(1))
		SKIP(return, "no huge page");
	held_at_an_empty_pud(_metadata, self->fd, MAP_HUGETLB);
	release_hugetlb();
}

/* The probe itself: what it refuses */

FIXTURE(hmm_probe)
{
	int fd;
	char *map;
	__u64 slot;
};

FIXTURE_SETUP(hmm_probe)
{
	self->fd = probe_open();
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_probe");
	self->map = map_anon_small(PAGE_BYTES);
}

FIXTURE_TEARDOWN(hmm_probe)
{
	close(self->fd);
}

#define expect_bad_call(field, value) do {				\
	struct hmm_probe_call call = {					\
		.addr = (uintptr_t)self->map,				\
		.npages = 1,						\
		.slots = (uintptr_t)&self->slot,			\
	};								\
									\
	ASSERT_EQ(0, ioctl(self->fd, HMM_PROBE_FAULT, &call));		\
	call.field = value;						\
	EXPECT_EQ(-1, ioctl(self->fd, HMM_PROBE_FAULT, &call));		\
	EXPECT_EQ(EINVAL, errno);					\
} while (0)

TEST_F(hmm_probe, refuses_bad_arguments)
{
	expect_bad_call(addr, (uintptr_t)self->map + 1);
	expect_bad_call(addr, -PAGE_BYTES);
	expect_bad_call(npages, 0);
	expect_bad_call(npages, HMM_PROBE_MAX_PAGES + 1);
	expect_bad_call(flags, HMM_PROBE_SPARSE << 1);
	expect_bad_call(raw_start, (uintptr_t)self->map);
	expect_bad_call(reserved[0], 1);
}

TEST_F(hmm_probe, refuses_bad_pointers)
{
	struct hmm_probe_call call = {
		.addr = (uintptr_t)self->map,
		.npages = 1,
		.slots = 8,
	};

	EXPECT_EQ(-1, ioctl(self->fd, HMM_PROBE_FAULT, &call));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->fd, HMM_PROBE_FAULT, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->fd, 0, NULL));
	EXPECT_EQ(ENOTTY, errno);
}

TEST_HARNESS_MAIN
