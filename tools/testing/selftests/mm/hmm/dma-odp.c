// SPDX-License-Identifier: GPL-2.0
/*
 * Mirrored memory that a PCI device accesses by DMA, through an IOMMU, while the
 * process goes on using it: what is mapped is what the page table has, and each
 * byte is where it should be. The device pages on demand, page by page as RDMA
 * drivers do, or with the calls for a range.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/common.h"
#include "lib/device.h"
#include "hmm_probe/hmm_probe_odp_uapi.h"

#define N		HUGE_PAGES
#define SMALL_STEP	2048	/* what the device moves at once */

/* What is watched. A reader of that file takes its time: once for all tests. */
static struct hmm_odp_symbols symbols;

static bool has_iommu(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/class/iommu/%s", name);
	return !access(path, F_OK);
}

/* What has the IOMMU of this machine forget */
static const char *sync_function(void)
{
	if (has_iommu("dmar0"))
		return "qi_submit_sync";
	if (has_iommu("ivhd0"))
		return "amd_iommu_domain_flush_pages";
	return "viommu_iotlb_sync";
}

/* Does the IOMMU keep each page, and not each mapping as it was made? */
static bool keeps_pages(void)
{
	return has_iommu("dmar0") || has_iommu("ivhd0");
}

static __u64 *watched(const char *name, const char *sync)
{
	if (!strcmp(name, "iommu_map_nosync"))
		return &symbols.link;
	if (!strcmp(name, "dma_iova_sync"))
		return &symbols.map_sync;
	return strcmp(name, sync) ? NULL : &symbols.sync;
}

static void __attribute__((constructor)) find_symbols(void)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	const char *sync = sync_function();
	unsigned long long address;
	char line[512], name[256];

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%llx %*c %255s", &address, name) == 2 &&
		    watched(name, sync))
			*watched(name, sync) = address;
	}
	if (file)
		fclose(file);
}

FIXTURE(hmm_odp)
{
	int fd;
	char *map;
	bool syncs_maps;
};

FIXTURE_VARIANT(hmm_odp)
{
	__u64 flags;
};

FIXTURE_VARIANT_ADD(hmm_odp, by_page)
{
	.flags = 0,
};

FIXTURE_VARIANT_ADD(hmm_odp, by_range)
{
	.flags = HMM_ODP_RANGE,
};

FIXTURE_VARIANT_ADD(hmm_odp, by_range_sparse)
{
	.flags = HMM_ODP_RANGE | HMM_ODP_SPARSE,
};

FIXTURE_VARIANT_ADD(hmm_odp, by_range_whole)
{
	.flags = HMM_ODP_RANGE | HMM_ODP_WHOLE,
};

/* A region over N pages of @map; -1 where there is no such device */
static int odp_open(char *map, __u64 flags)
{
	struct hmm_odp_state state;
	struct hmm_odp_region region = {
		.addr = (uintptr_t)map,
		.npages = N,
		.flags = flags,
	};
	int fd = probe_device("hmm_probe_odp");

	if (fd < 0)
		return -1;
	/* EINVAL: the kernel has no kprobes, and so no breakpoints of its own. */
	if (ioctl(fd, HMM_ODP_SYMBOLS, &symbols)) {
		if (errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSPC)
			fatal("cannot watch functions: %s", strerror(errno));
		goto missing;
	}
	/* Only a map with an IOMMU has a state. */
	if (ioctl(fd, HMM_ODP_REGISTER, &region) ||
	    ioctl(fd, HMM_ODP_STATE, &state)) {
		if (errno != EOPNOTSUPP)
			fatal("no region: %s", strerror(errno));
		goto missing;
	}
	return fd;

missing:
	close(fd);
	return -1;
}

static struct hmm_odp_map odp_map(int fd, char *map, size_t npages, __u64 flags,
				  __u64 fail)
{
	struct hmm_odp_map args = {
		.addr = (uintptr_t)map,
		.npages = npages,
		.flags = flags,
		.fail = fail,
	};

	if (ioctl(fd, HMM_ODP_MAP, &args))
		fatal("cannot ask for a mapping: %s", strerror(errno));
	return args;
}

/*
 * Intel's IOMMU need not be synced after mapping, unless it is a virtual one.
 * Asked of a region that exists for this only.
 */
static bool syncs_new_mappings(void)
{
	char *map = map_anon_small(N * PAGE_BYTES);
	int fd = odp_open(map, 0);
	bool does = fd >= 0 && odp_map(fd, map, 1, HMM_ODP_WRITE, 0).syncs;

	close(fd);
	munmap(map, N * PAGE_BYTES);
	return does;
}

FIXTURE_SETUP(hmm_odp)
{
	self->syncs_maps = syncs_new_mappings();
	self->map = map_anon_small(N * PAGE_BYTES);
	self->fd = odp_open(self->map, variant->flags);
	if (self->fd < 0)
		SKIP(return, "no device behind an IOMMU, or no such calls");
}

FIXTURE_TEARDOWN(hmm_odp)
{
	if (self->fd >= 0)
		close(self->fd);
	munmap(self->map, N * PAGE_BYTES);
}

static struct hmm_odp_state odp_state(int fd)
{
	struct hmm_odp_state state;

	if (ioctl(fd, HMM_ODP_STATE, &state))
		fatal("no state: %s", strerror(errno));
	return state;
}

static int odp_copy(int fd, char *from, char *to, size_t bytes)
{
	struct hmm_odp_copy copy = {
		.from = (uintptr_t)from,
		.to = (uintptr_t)to,
		.bytes = bytes,
	};

	return ioctl(fd, HMM_ODP_COPY, &copy) ? -errno : 0;
}

/* How many entries are mapped, if all is right with them */
static long odp_mapped(int fd)
{
	struct hmm_odp_state state = odp_state(fd);

	if (state.wrong || state.stale || state.pending) {
		ksft_print_msg("%llu mapped: %llu wrong, %llu stale, %llu pending\n",
			       state.mapped, state.wrong, state.stale,
			       state.pending);
		return -1;
	}
	return state.mapped;
}

static void drop_pages(char *map, size_t npages)
{
	if (madvise(map, npages * PAGE_BYTES, MADV_DONTNEED))
		fatal("MADV_DONTNEED: %s", strerror(errno));
}

static void fill_with(char *bytes, size_t n, unsigned int seed)
{
	size_t i;

	for (i = 0; i < n; i++)
		bytes[i] = (i * 31 + seed * 17 + i / 251) & 0xff;
}

TEST_F(hmm_odp, device_copies_what_is_in_memory)
{
	char *from = self->map + 3 * PAGE_BYTES - 700;
	char *to = self->map + 9 * PAGE_BYTES + 5;
	static char expected[5000];

	fill_with(from, sizeof(expected), 1);
	memcpy(expected, from, sizeof(expected));
	ASSERT_EQ(0, odp_copy(self->fd, from, to, sizeof(expected)));
	EXPECT_EQ(0, memcmp(to, expected, sizeof(expected)));
	EXPECT_EQ(0, memcmp(from, expected, sizeof(expected)));
	EXPECT_EQ(5, odp_mapped(self->fd));
}

/*
 * A mapping, and an invalidation of it: how often is the IOMMU synced? @spare
 * times more for a table of an earlier mapping, which a large one replaces.
 */
static void map_and_drop(struct __test_metadata *_metadata, int fd, char *map,
			 size_t map_syncs, size_t spare, size_t syncs)
{
	struct hmm_odp_state before, after;
	struct hmm_odp_map args;

	write_pages(map, N, 1);
	args = odp_map(fd, map, N, HMM_ODP_WRITE, 0);
	ASSERT_EQ(0, args.rc);
	EXPECT_EQ(N, args.mapped);
	EXPECT_LE(map_syncs, args.syncs);
	EXPECT_GE(map_syncs + spare, args.syncs);
	EXPECT_EQ(N, odp_mapped(fd));

	before = odp_state(fd);
	drop_pages(map, N);
	after = odp_state(fd);
	EXPECT_EQ(syncs, after.syncs - before.syncs);
	EXPECT_EQ(N, after.unmapped - before.unmapped);
	EXPECT_EQ(N, after.dirtied - before.dirtied);
	EXPECT_EQ(0, odp_mapped(fd));
}

TEST_F(hmm_odp, small_pages_are_synced_together)
{
	size_t syncs = variant->flags & HMM_ODP_RANGE ? 1 : N;

	map_and_drop(_metadata, self->fd, self->map,
		     self->syncs_maps ? syncs : 0, 0, syncs);
}

/* From here on the region is one huge page, mapped as such. */
static bool make_huge(char *map)
{
	if (madvise(map, HUGE_BYTES, MADV_HUGEPAGE))
		fatal("MADV_HUGEPAGE: %s", strerror(errno));
	write_pages(map, 1, 1);
	return huge_kib(map) >= (long)HUGE_BYTES / 1024;
}

TEST_F(hmm_odp, huge_page_is_synced_once)
{
	size_t syncs = variant->flags & HMM_ODP_RANGE ? 1 : N;

	if (!make_huge(self->map))
		SKIP(return, "no huge page");
	map_and_drop(_metadata, self->fd, self->map,
		     self->syncs_maps ? syncs : 0,
		     variant->flags & HMM_ODP_WHOLE ? 1 : 0, syncs);
}

/* One call links it, if the IOMMU can unmap parts of it later, or need not. */
TEST_F(hmm_odp, huge_page_is_linked_at_once)
{
	bool at_once = variant->flags & HMM_ODP_WHOLE ||
		       (variant->flags & HMM_ODP_RANGE && keeps_pages());
	struct hmm_odp_map args;

	if (!make_huge(self->map))
		SKIP(return, "no huge page");
	args = odp_map(self->fd, self->map, N, HMM_ODP_WRITE, 0);
	ASSERT_EQ(0, args.rc);
	EXPECT_EQ(at_once ? 1 : N, args.links);
	EXPECT_EQ(N, odp_mapped(self->fd));
}

/*
 * The process takes back some pages; the device keeps the others, although all
 * lie side by side. By then they are mapped by PTEs: otherwise the split of the
 * huge page would invalidate all of it.
 */
TEST_F(hmm_odp, part_of_a_folio_is_unmapped)
{
	if (!make_huge(self->map))
		SKIP(return, "no huge page");
	mprotect(self->map, PAGE_BYTES, PROT_READ);
	mprotect(self->map, PAGE_BYTES, PROT_READ | PROT_WRITE);
	ASSERT_EQ(0, huge_kib(self->map));
	ASSERT_EQ(0, odp_map(self->fd, self->map, N, HMM_ODP_WRITE, 0).rc);
	drop_pages(self->map + 100 * PAGE_BYTES, 3);
	EXPECT_EQ(variant->flags & HMM_ODP_WHOLE ? 0 : N - 3,
		  odp_mapped(self->fd));
	ASSERT_EQ(0, odp_map(self->fd, self->map, N, HMM_ODP_WRITE, 0).rc);
	EXPECT_EQ(N, odp_mapped(self->fd));
}

/* What is absent is not mapped, and one sync is enough for what is around it. */
TEST_F(hmm_odp, holes)
{
	struct hmm_odp_state before, after;
	struct hmm_odp_map args;
	size_t i, present = 0;

	for (i = 0; i < N; i++) {
		if (i % 7 == 3 || (i > 200 && i < 300))
			continue;
		self->map[i * PAGE_BYTES] = i;
		present++;
	}
	args = odp_map(self->fd, self->map, N, HMM_ODP_PRESENT, 0);
	ASSERT_EQ(0, args.rc);
	if (self->syncs_maps)
		EXPECT_EQ(variant->flags & HMM_ODP_RANGE ? 1 : present,
			  args.syncs);
	EXPECT_EQ(present, odp_mapped(self->fd));
	before = odp_state(self->fd);
	drop_pages(self->map, N);
	after = odp_state(self->fd);
	EXPECT_EQ(0, odp_mapped(self->fd));
	EXPECT_EQ(present, after.unmapped - before.unmapped);
	EXPECT_LE(1, after.syncs - before.syncs);
	EXPECT_GE(present, after.syncs - before.syncs);
	/* AMD's IOMMU syncs at each gap, if it is a virtual one. */
	if (!has_iommu("ivhd0"))
		EXPECT_EQ(variant->flags & HMM_ODP_RANGE ? 1 : present,
			  after.syncs - before.syncs);
}

/* One sync for pages far apart would drop what is cached for all in between. */
TEST_F(hmm_odp, pages_far_apart_are_synced_by_themselves)
{
	struct hmm_odp_state before, after;

	write_pages(self->map, 1, 1);
	write_pages(self->map + (N - 1) * PAGE_BYTES, 1, 1);
	ASSERT_EQ(0, odp_map(self->fd, self->map, N, HMM_ODP_PRESENT, 0).rc);
	EXPECT_EQ(2, odp_mapped(self->fd));
	before = odp_state(self->fd);
	drop_pages(self->map, N);
	after = odp_state(self->fd);
	EXPECT_EQ(2, after.syncs - before.syncs);
	EXPECT_EQ(0, odp_mapped(self->fd));
}

/* What only may be read is not marked dirty. */
TEST_F(hmm_odp, read_only_pages_stay_clean)
{
	struct hmm_odp_state state;

	read_pages(self->map, N);
	ASSERT_EQ(0, odp_map(self->fd, self->map, N, 0, 0).rc);
	EXPECT_EQ(N, odp_mapped(self->fd));
	drop_pages(self->map, N);
	state = odp_state(self->fd);
	EXPECT_EQ(N, state.unmapped);
	EXPECT_EQ(0, state.dirtied);
}

/* What is mapped already is neither linked nor unlinked. */
TEST_F(hmm_odp, some_are_mapped_already)
{
	struct hmm_odp_map args;

	ASSERT_EQ(0, odp_map(self->fd, self->map + 10 * PAGE_BYTES, 20,
			     HMM_ODP_WRITE, 0).rc);
	EXPECT_EQ(20, odp_mapped(self->fd));
	args = odp_map(self->fd, self->map, N, HMM_ODP_WRITE, 0);
	ASSERT_EQ(0, args.rc);
	EXPECT_LE(args.links, N - 20);
	EXPECT_EQ(N, odp_mapped(self->fd));
	EXPECT_EQ(0, odp_state(self->fd).unmapped);

	args = odp_map(self->fd, self->map, N, HMM_ODP_WRITE, 0);
	ASSERT_EQ(0, args.rc);
	EXPECT_EQ(0, args.links);
	EXPECT_EQ(0, args.syncs);
	EXPECT_EQ(N, odp_mapped(self->fd));
}

#define MAPPED_BEFORE	8
#define FAILING_PAGES	40

/* Neighbours do not get neighbouring pages, which would be linked together. */
static void scatter(char *map, size_t npages)
{
	size_t i;

	for (i = 0; i < npages; i += 2)
		write_pages(map + i * PAGE_BYTES, 1, 1);
	for (i = 1; i < npages; i += 2)
		write_pages(map + i * PAGE_BYTES, 1, 1);
}

/* A range is mapped or not. What was mapped before stays so. */
TEST_F(hmm_odp, failure_undoes_the_call_only)
{
	char *map = self->map, *before = map + 16 * PAGE_BYTES;
	bool range = variant->flags & HMM_ODP_RANGE;
	unsigned int fail, failed = 0;

	for (fail = 1; fail <= FAILING_PAGES - MAPPED_BEFORE; fail++) {
		struct hmm_odp_map args;

		drop_pages(map, N);
		scatter(map, FAILING_PAGES);
		ASSERT_EQ(0, odp_map(self->fd, before, MAPPED_BEFORE,
				     HMM_ODP_WRITE, 0).rc);
		args = odp_map(self->fd, map, FAILING_PAGES, HMM_ODP_WRITE,
			       fail);
		/* Pages that are linked together need fewer calls. */
		if (args.links < fail) {
			EXPECT_EQ(0, args.rc);
			break;
		}
		failed++;
		EXPECT_EQ(range ? -ENOMEM : -EFAULT, args.rc);
		EXPECT_EQ(fail, args.links);
		EXPECT_EQ(range ? MAPPED_BEFORE : MAPPED_BEFORE + fail - 1,
			  odp_mapped(self->fd));
		ASSERT_EQ(0, odp_map(self->fd, map, FAILING_PAGES,
				     HMM_ODP_WRITE, 0).rc);
		EXPECT_EQ(FAILING_PAGES, odp_mapped(self->fd));
	}
	/* A few neighbours may be contiguous all the same. */
	EXPECT_LT((FAILING_PAGES - MAPPED_BEFORE) / 2, failed);
}

/* Pages that are linked together: none of them stays linked after a failure. */
TEST_F(hmm_odp, failure_within_a_huge_page_undoes_all)
{
	bool range = variant->flags & HMM_ODP_RANGE;
	struct hmm_odp_map args;
	size_t fail;

	if (!make_huge(self->map))
		SKIP(return, "no huge page");
	fail = variant->flags & HMM_ODP_WHOLE || (range && keeps_pages()) ?
	       1 : N / 2;
	args = odp_map(self->fd, self->map, N, HMM_ODP_WRITE, fail);
	EXPECT_EQ(range ? -ENOMEM : -EFAULT, args.rc);
	EXPECT_EQ(fail, args.links);
	EXPECT_EQ(range ? 0 : fail - 1, odp_mapped(self->fd));
	ASSERT_EQ(0, odp_map(self->fd, self->map, N, HMM_ODP_WRITE, 0).rc);
	EXPECT_EQ(N, odp_mapped(self->fd));
}

/* A single page, which most faults are about */
TEST_F(hmm_odp, one_page_is_mapped_or_not)
{
	struct hmm_odp_map args = {
		.addr = (uintptr_t)self->map,
		.npages = 1,
		.flags = HMM_ODP_WRITE,
		.fail_sync = 1,
	};
	int failed = variant->flags & HMM_ODP_RANGE ? -ENOMEM : -EFAULT;

	EXPECT_EQ(failed, odp_map(self->fd, self->map, 1, HMM_ODP_WRITE, 1).rc);
	EXPECT_EQ(0, odp_mapped(self->fd));
	ASSERT_EQ(0, ioctl(self->fd, HMM_ODP_MAP, &args));
	EXPECT_EQ(failed, args.rc);
	EXPECT_EQ(0, odp_mapped(self->fd));
	EXPECT_EQ(0, odp_map(self->fd, self->map, 1, HMM_ODP_WRITE, 0).rc);
	EXPECT_EQ(1, odp_mapped(self->fd));
	drop_pages(self->map, 1);
	EXPECT_EQ(0, odp_mapped(self->fd));
}

/* The IOMMU may not take what has been linked. */
TEST_F(hmm_odp, failed_sync_undoes_the_call_only)
{
	struct hmm_odp_map args = {
		.addr = (uintptr_t)self->map,
		.npages = FAILING_PAGES,
		.flags = HMM_ODP_WRITE,
		.fail_sync = 1,
	};

	ASSERT_EQ(0, odp_map(self->fd, self->map, MAPPED_BEFORE, HMM_ODP_WRITE,
			     0).rc);
	ASSERT_EQ(0, ioctl(self->fd, HMM_ODP_MAP, &args));
	EXPECT_EQ(variant->flags & HMM_ODP_RANGE ? -ENOMEM : -EFAULT, args.rc);
	EXPECT_LT(0, args.links);
	EXPECT_EQ(MAPPED_BEFORE, odp_mapped(self->fd));
	EXPECT_EQ(0, odp_map(self->fd, self->map, FAILING_PAGES, HMM_ODP_WRITE,
			     0).rc);
	EXPECT_EQ(FAILING_PAGES, odp_mapped(self->fd));
}

/* A thread that keeps all of the region mapped */
struct mapper {
	pthread_t thread;
	int fd;
	char *map;
	bool stop;	/* atomic */
	int rc;
	unsigned long turns;
	unsigned long wrong;
};

static void *mapper_run(void *arg)
{
	struct mapper *mapper = arg;
	unsigned int seed = 1;

	while (!__atomic_load_n(&mapper->stop, __ATOMIC_RELAXED)) {
		size_t first = rand_r(&seed) % N;
		size_t npages = 1 + rand_r(&seed) % (N - first);
		struct hmm_odp_map args;

		args = odp_map(mapper->fd, mapper->map + first * PAGE_BYTES,
			       npages, rand_r(&seed) % 2 ? HMM_ODP_WRITE : 0, 0);
		/* The region may be read-only for a moment. */
		if (args.rc && args.rc != -EPERM)
			mapper->rc = args.rc;
		/* All of it was mapped, at the end of the call. */
		if (!args.rc && args.mapped != npages)
			mapper->wrong++;
		if (odp_mapped(mapper->fd) < 0)
			mapper->wrong++;
		mapper->turns++;
	}
	return NULL;
}

/* The parent's pages are copied on their next write. */
static void fork_once(void)
{
	pid_t pid = fork_off();

	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
}

/* The first pages of the map keep their contents. */
#define KEPT_PAGES	16
#define FEW_PAGES	32

/* @device: another one, with memory of its own, or -1 */
static void disturb(char *map, int device, unsigned int *seed)
{
	size_t first = KEPT_PAGES + rand_r(seed) % (N - KEPT_PAGES - FEW_PAGES);
	char *page = map + first * PAGE_BYTES;
	size_t bytes = FEW_PAGES * PAGE_BYTES;

	switch (rand_r(seed) % 7) {
	case 0:
		drop_pages(page, 1 + rand_r(seed) % FEW_PAGES);
		break;
	case 1:
		fork_once();
		break;
	case 2:
		mprotect(page, bytes, PROT_READ);
		mprotect(page, bytes, PROT_READ | PROT_WRITE);
		break;
	case 3:
		madvise(page, bytes, MADV_PAGEOUT);
		break;
	case 4:
		madvise(map, N * PAGE_BYTES, MADV_COLLAPSE);
		break;
	case 5:
		/* Pages that our device faults on come back at once. */
		if (device >= 0)
			device_take(device, page, FEW_PAGES);
		break;
	default:
		write_pages(page, FEW_PAGES, 1);
	}
}

#define SWAP_BYTES	(64UL << 20)
#define ROUNDS		4
#define DISTURBANCES	60

/* What the device copies is right, whatever happens to the pages beside it. */
TEST_F_TIMEOUT(hmm_odp, bytes_are_right_beside_changes, 120)
{
	struct mapper mapper = { .fd = self->fd, .map = self->map };
	char *to = self->map + KEPT_PAGES / 2 * PAGE_BYTES;
	static char expected[SMALL_STEP];
	unsigned int rounds = how_brief() == LONG_RUN ? ROUNDS : 1;
	unsigned int round, i, seed = 7;
	const char *reason;
	struct swap swap;
	int device;

	if (!swap_start(&swap, SWAP_BYTES))
		SKIP(return, "no swap space");
	/* The stock driver's has no counters, and is not used. */
	device = device_open(0, &reason);
	madvise(self->map, HUGE_BYTES, MADV_HUGEPAGE);
	ASSERT_EQ(0, pthread_create(&mapper.thread, NULL, mapper_run, &mapper));
	for (round = 0; round < rounds; round++) {
		char *from = self->map + round * PAGE_BYTES;

		fill_with(from, sizeof(expected), round);
		memcpy(expected, from, sizeof(expected));
		for (i = 0; i < DISTURBANCES; i++)
			disturb(self->map, device, &seed);
		madvise(from, PAGE_BYTES, MADV_PAGEOUT);
		EXPECT_EQ(0, odp_copy(self->fd, from, to, sizeof(expected)));
		EXPECT_EQ(0, memcmp(from, expected, sizeof(expected)));
		EXPECT_EQ(0, memcmp(to, expected, sizeof(expected)));
	}
	__atomic_store_n(&mapper.stop, true, __ATOMIC_RELAXED);
	pthread_join(mapper.thread, NULL);
	EXPECT_EQ(0, mapper.rc);
	EXPECT_EQ(0, mapper.wrong);
	EXPECT_LT(0, mapper.turns);
	if (device >= 0) {
		EXPECT_LT(0, device_counters(device).migrated_in);
		close(device);
	}
	swap_stop(&swap);
}

TEST_HARNESS_MAIN
