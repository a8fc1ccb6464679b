// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm_util.h"

#include "pagemap.h"
#include "random_mm.h"

#define KSM_NAP		"/sys/kernel/mm/ksm/sleep_millisecs"
#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged/"
#define WP_ASYNC	(UFFD_FEATURE_PAGEFAULT_FLAG_WP |		\
			 UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC)

/* Choices */

void rng_seed(struct rng *rng, __u64 seed)
{
	seed = (seed + 1) * 0x9e3779b97f4a7c15ULL;
	seed = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9ULL;
	rng->state = (seed ^ seed >> 27) | 1;
}

/* xorshift64*: the upper bits are the better ones. */
unsigned long rng_below(struct rng *rng, unsigned long limit)
{
	rng->state ^= rng->state << 13;
	rng->state ^= rng->state >> 7;
	rng->state ^= rng->state << 17;
	return (rng->state * 0x2545f4914f6cdd1dULL >> 16) % limit;
}

bool rng_one_in(struct rng *rng, unsigned long n)
{
	return !rng_below(rng, n);
}

unsigned int rng_order(struct rng *rng)
{
	return rng_one_in(rng, 2) ? 0 : 2 + rng_below(rng, 7);
}

static struct page_range any_range(struct rng *rng)
{
	struct page_range range = { 0, RANDOM_PAGES };

	switch (rng_below(rng, 6)) {
	case 0:
		break;
	case 1:
		range.first = rng_below(rng, RANDOM_PAGES / HUGE_PAGES) * HUGE_PAGES;
		range.npages = HUGE_PAGES;
		break;
	case 2:
		range.npages = 16UL << rng_below(rng, 4);
		range.first = rng_below(rng, RANDOM_PAGES / range.npages) * range.npages;
		break;
	case 3:
		range.first = rng_below(rng, RANDOM_PAGES);
		range.npages = 1;
		break;
	default:
		range.first = rng_below(rng, RANDOM_PAGES);
		range.npages = 1 + rng_below(rng, 80);
		break;
	}
	return range;
}

struct page_range rng_range(struct rng *rng, size_t most)
{
	struct page_range range = any_range(rng);

	if (range.npages > most) {
		range.first += rng_below(rng, range.npages - most + 1);
		range.npages = most;
	}
	if (range.first >= RANDOM_PAGES)
		range.first = RANDOM_PAGES - 1;
	if (range.npages > RANDOM_PAGES - range.first)
		range.npages = RANDOM_PAGES - range.first;
	return range;
}

char *random_folios(struct rng *rng, const char **size)
{
	static const char * const sizes[] = { "2048kB", "64kB", "16kB", "4kB" };
	char *map;

	*size = sizes[rng_below(rng, ARRAY_SIZE(sizes))];
	map = map_folios(*size, RANDOM_BYTES, 1);
	if (map)
		return map;
	*size = "4kB";
	return map_folios(*size, RANDOM_BYTES, 1);
}

/* Devices */

bool devices_open(struct devices *devices, const char **reason)
{
	unsigned int i;

	devices->count = 0;
	for (i = 0; i < ARRAY_SIZE(devices->fds); i++) {
		int fd = device_open(i, reason);

		if (fd < 0)
			break;
		device_flags(fd, HMM_DMIRROR_FLAG_NEVER_DIRTY);
		devices->fds[devices->count++] = fd;
	}
	return devices->count;
}

void devices_close(struct devices *devices)
{
	while (devices->count)
		close(devices->fds[--devices->count]);
}

bool devices_are_empty(struct devices *devices)
{
	bool empty = true;
	unsigned int i;

	for (i = 0; i < devices->count; i++)
		empty &= device_in_use_is(devices->fds[i], 0);
	return empty;
}

/* device_seize() allocates a buffer, which the stock driver needs. */
struct answer device_seize_only(int fd, void *addr, size_t npages)
{
	return device_ask(fd, HMM_DMIRROR_EXCLUSIVE, addr, NULL, npages);
}

struct answer device_take_failing(int fd, void *addr, size_t npages)
{
	struct answer answer;

	device_flags(fd, HMM_DMIRROR_FLAG_NEVER_DIRTY | HMM_DMIRROR_FLAG_FAIL_ALLOC);
	answer = device_take(fd, addr, npages);
	device_flags(fd, HMM_DMIRROR_FLAG_NEVER_DIRTY);
	return answer;
}

/* Marks */

static bool marks_watch(struct marks *marks, __u64 features, __u64 mode)
{
	if (uffd_open(&marks->uffd, features)) {
		marks->uffd.fd = -1;
		return false;
	}
	return !uffd_watch(&marks->uffd, marks->map, RANDOM_BYTES, mode);
}

bool marks_start(struct marks *marks, enum marks_kind kind, char *map)
{
	marks->kind = kind;
	marks->map = map;
	marks->uffd.fd = -1;
	marks->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (marks->pagemap < 0)
		return false;
	switch (kind) {
	case MARKS_UFFD_WP:
		return marks_watch(marks, WP_ASYNC, UFFDIO_REGISTER_MODE_WP);
	case MARKS_UFFD_RWP:
		return marks_watch(marks, UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC,
				   UFFDIO_REGISTER_MODE_RWP);
	case MARKS_SOFT_DIRTY:
		return softdirty_supported();
	default:
		return true;
	}
}

void marks_stop(struct marks *marks)
{
	if (marks->uffd.fd >= 0)
		close(marks->uffd.fd);
	if (marks->pagemap >= 0)
		close(marks->pagemap);
}

bool marks_supported(enum marks_kind kind, const char **reason)
{
	static const char * const reasons[MARKS_KINDS] = {
		[MARKS_NONE] = "no /proc/self/pagemap",
		[MARKS_UFFD_WP] = "no asynchronous write protection",
		[MARKS_SOFT_DIRTY] = "no soft-dirty bits",
		[MARKS_UFFD_RWP] = "no asynchronous protection against any access",
	};
	char *map = map_anon_small(RANDOM_BYTES);
	struct marks marks;
	bool supported;

	supported = marks_start(&marks, kind, map);
	marks_stop(&marks);
	munmap(map, RANDOM_BYTES);
	*reason = reasons[kind];
	return supported;
}

static void scan_pages(struct marks *marks, struct page_range range,
		       __u64 category, __u64 flags, bool *reported)
{
	static struct page_region regions[RANDOM_PAGES];
	uintptr_t map = (uintptr_t)marks->map, addr;
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.flags = flags,
		.start = map + range.first * PAGE_BYTES,
		.end = map + (range.first + range.npages) * PAGE_BYTES,
		.vec = (uintptr_t)regions,
		.vec_len = RANDOM_PAGES,
		.category_mask = category,
		.return_mask = category,
	};
	int i, n = ioctl(marks->pagemap, PAGEMAP_SCAN, &scan);

	if (n < 0)
		fatal("PAGEMAP_SCAN: %s", strerror(errno));
	for (i = 0; i < n; i++)
		for (addr = regions[i].start; addr < regions[i].end; addr += PAGE_BYTES)
			reported[(addr - map) / PAGE_BYTES] = true;
}

/* The bit of /proc/PID/pagemap includes that of the VMA, which counts too. */
static void look_at_soft_dirty(struct marks *marks, struct page_range range,
			       bool *reported)
{
	static __u64 entries[RANDOM_PAGES];
	ssize_t size = range.npages * sizeof(*entries);
	off_t at = ((uintptr_t)marks->map / PAGE_BYTES + range.first) * sizeof(*entries);
	size_t i;

	if (pread(marks->pagemap, entries, size, at) != size)
		fatal("/proc/self/pagemap: %s", strerror(errno));
	for (i = 0; i < range.npages; i++)
		reported[range.first + i] = entries[i] & PM_SOFT_DIRTY;
}

void marks_look(struct marks *marks, struct page_range range, bool *reported)
{
	memset(reported + range.first, 0, range.npages * sizeof(*reported));
	switch (marks->kind) {
	case MARKS_UFFD_WP:
		scan_pages(marks, range, PAGE_IS_WRITTEN, PM_SCAN_CHECK_WPASYNC, reported);
		break;
	case MARKS_UFFD_RWP:
		scan_pages(marks, range, PAGE_IS_ACCESSED, 0, reported);
		break;
	case MARKS_SOFT_DIRTY:
		look_at_soft_dirty(marks, range, reported);
		break;
	default:
		break;
	}
}

int marks_clear(struct marks *marks, struct page_range range)
{
	char *start = marks->map + range.first * PAGE_BYTES;
	size_t bytes = range.npages * PAGE_BYTES;
	int rc = 0;

	if (marks->kind == MARKS_UFFD_WP)
		rc = uffd_protect(&marks->uffd, UFFDIO_WRITEPROTECT, start, bytes,
				  UFFDIO_WRITEPROTECT_MODE_WP);
	else if (marks->kind == MARKS_UFFD_RWP)
		rc = uffd_protect(&marks->uffd, UFFDIO_RWPROTECT, start, bytes,
				  UFFDIO_RWPROTECT_MODE_RWP);
	else if (marks->kind == MARKS_SOFT_DIRTY)
		clear_softdirty();
	return rc ? -errno : 0;
}

int marks_look_and_clear(struct marks *marks, struct page_range range,
			 bool *reported)
{
	if (marks->kind != MARKS_UFFD_WP) {
		marks_look(marks, range, reported);
		return marks_clear(marks, range);
	}
	memset(reported + range.first, 0, range.npages * sizeof(*reported));
	scan_pages(marks, range, PAGE_IS_WRITTEN,
		   PM_SCAN_CHECK_WPASYNC | PM_SCAN_WP_MATCHING, reported);
	return 0;
}

/* Pressure */

void pressure_start(struct pressure *pressure)
{
	pressure->reclaims = swap_start(&pressure->swap, RECLAIM_SWAP_BYTES) &&
			     reclaimer_start(&pressure->reclaimer);
	/* Without pauses it stops devices for seconds: what it scans it unmaps. */
	fast_ksm_start(&pressure->ksm);
	setting_change(&pressure->ksm_nap, KSM_NAP, "100");
	setting_change(&pressure->khugepaged[0], KHUGEPAGED "scan_sleep_millisecs", "10");
	setting_change(&pressure->khugepaged[1], KHUGEPAGED "alloc_sleep_millisecs", "10");
}

void pressure_reclaim(struct pressure *pressure)
{
	if (pressure->reclaims)
		reclaimer_run(&pressure->reclaimer, HUGE_BYTES);
}

void pressure_stop(struct pressure *pressure)
{
	setting_restore(&pressure->khugepaged[1]);
	setting_restore(&pressure->khugepaged[0]);
	setting_restore(&pressure->ksm_nap);
	fast_ksm_stop(&pressure->ksm);
	if (pressure->reclaims)
		reclaimer_stop(&pressure->reclaimer);
	swap_stop(&pressure->swap);
}
