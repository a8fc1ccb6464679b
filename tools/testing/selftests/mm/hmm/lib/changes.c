// SPDX-License-Identifier: GPL-2.0
/* What notifier-events looks at; see changes.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "access.h"
#include "changes.h"
#include "pagemap.h"

#define N	16
#define BYTES	(N * PAGE_BYTES)
#define KSM	"/sys/kernel/mm/ksm/"

/* What place_end() undoes */
static struct swap disk = { .disk = -1 }, swap = { .disk = -1 };
static struct setting ksm_run, ksm_scan, ksm_nap;
static struct uffd uffd = { .fd = -1 };
static struct keeper keeper;
static int device = -1;

/* Memory */

static bool is_huge(char *map)
{
	int fd = probe_open();
	__u64 slot;

	probe_look(fd, map, 1, &slot, 0);
	close(fd);
	return slot_order(slot) == HUGE_ORDER;
}

static bool small(struct place *place, size_t bytes)
{
	place->bytes = bytes;
	place->map = map_anon_small(bytes);
	write_pages(place->map, bytes / PAGE_BYTES, 1);
	return true;
}

bool memory_small(struct place *place)
{
	return small(place, BYTES);
}

bool memory_one(struct place *place)
{
	return small(place, PAGE_BYTES);
}

bool memory_many(struct place *place)
{
	return small(place, HUGE_BYTES);
}

static void map_huge(struct place *place)
{
	place->bytes = HUGE_BYTES;
	place->map = map_anon(HUGE_BYTES);
	madvise(place->map, HUGE_BYTES, MADV_HUGEPAGE);
}

bool memory_huge(struct place *place)
{
	map_huge(place);
	write_pages(place->map, HUGE_PAGES, 1);
	return is_huge(place->map);
}

bool memory_huge_zero(struct place *place)
{
	map_huge(place);
	read_pages(place->map, 1);
	return is_huge(place->map);
}

/* The file is there already. */
static void map_file(struct place *place, size_t bytes)
{
	place->bytes = bytes;
	place->map = map_at(map_anon(bytes), bytes, PROT_READ | PROT_WRITE,
			    MAP_SHARED, place->file);
	madvise(place->map, bytes, MADV_NOHUGEPAGE);
	write_pages(place->map, bytes / PAGE_BYTES, 1);
}

static bool shared(struct place *place, size_t bytes)
{
	place->file = memory_file(bytes);
	map_file(place, bytes);
	return true;
}

bool memory_shared(struct place *place)
{
	return shared(place, BYTES);
}

bool memory_shared_many(struct place *place)
{
	return shared(place, HUGE_BYTES);
}

bool memory_shared_huge(struct place *place)
{
	shared(place, HUGE_BYTES);
	if (change_collapse(place))
		return false;
	madvise(place->map, HUGE_BYTES, MADV_NOHUGEPAGE);
	madvise(place->map, HUGE_BYTES, MADV_DONTNEED);
	read_pages(place->map, HUGE_PAGES);
	return true;
}

/* Unlike a file in memory, it is written back. */
bool memory_disk(struct place *place)
{
	if (!disk_start(&disk, HUGE_BYTES))
		return false;
	place->file = open(disk.device, O_RDWR | O_CLOEXEC);
	if (place->file < 0)
		return false;
	map_file(place, BYTES);
	return true;
}

bool memory_hugetlb(struct place *place)
{
	place->bytes = HUGE_BYTES;
	place->map = reserve_hugetlb(4) ? map_hugetlb(HUGE_BYTES) : NULL;
	if (!place->map)
		return false;
	write_pages(place->map, 1, 1);
	return true;
}

bool memory_hugetlb_file(struct place *place)
{
	place->file = reserve_hugetlb(4) ? hugetlb_file(HUGE_BYTES) : -1;
	if (place->file < 0)
		return false;
	place->bytes = HUGE_BYTES;
	place->map = map_at(map_anon(HUGE_BYTES), HUGE_BYTES,
			    PROT_READ | PROT_WRITE, MAP_SHARED, place->file);
	write_pages(place->map, 1, 1);
	return true;
}

/* Room for a mapping whose page table is its own */
static char *gigantic_room(void)
{
	char *map = mmap(NULL, 2 * GIGANTIC_BYTES, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		fatal("address space: %s", strerror(errno));
	return map + -(uintptr_t)map % GIGANTIC_BYTES;
}

bool memory_hugetlb_wide(struct place *place)
{
	place->file = reserve_hugetlb(1) ? hugetlb_file(GIGANTIC_BYTES) : -1;
	if (place->file < 0)
		return false;
	place->bytes = GIGANTIC_BYTES;
	place->map = map_at(gigantic_room(), GIGANTIC_BYTES,
			    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			    place->file);
	write_pages(place->map, 1, 1);
	return true;
}

/* The CPU must not touch it. */
bool memory_pud(struct place *place)
{
	int fd = probe_open();
	__u64 slot;

	place->bytes = GIGANTIC_BYTES;
	place->map = mmap(gigantic_room(), GIGANTIC_BYTES, PROT_READ,
			  MAP_SHARED | MAP_FIXED, fd,
			  (off_t)HMM_PROBE_MAP_HUGE << HMM_PROBE_MAP_SHIFT);
	if (place->map == MAP_FAILED)
		return false;
	probe_fault_all(fd, place->map, 1, &slot, REQ_READ, 0);
	close(fd);
	return true;
}

/* The mapping */

int change_nothing(struct place *place)
{
	return 0;
}

int change_munmap(struct place *place)
{
	return munmap(place->map, place->bytes);
}

int change_munmap_half(struct place *place)
{
	return munmap(place->map, place->bytes / 2);
}

static int move(struct place *place, int flags)
{
	char *target = map_anon(place->bytes);

	return mremap(place->map, place->bytes, place->bytes,
		      MREMAP_MAYMOVE | MREMAP_FIXED | flags,
		      target) == target ? 0 : -1;
}

int change_mremap(struct place *place)
{
	return move(place, 0);
}

int change_mremap_dontunmap(struct place *place)
{
	return move(place, MREMAP_DONTUNMAP);
}

int change_mprotect_none(struct place *place)
{
	return mprotect(place->map, place->bytes, PROT_NONE);
}

int change_mprotect_read(struct place *place)
{
	return mprotect(place->map, place->bytes, PROT_READ);
}

int change_mprotect_read_half(struct place *place)
{
	return mprotect(place->map, place->bytes / 2, PROT_READ);
}

int change_mprotect_write(struct place *place)
{
	return mprotect(place->map, place->bytes, PROT_READ | PROT_WRITE);
}

/* Advice */

static int advise(struct place *place, int advice)
{
	return madvise(place->map, place->bytes, advice);
}

int change_dontneed(struct place *place)
{
	return advise(place, MADV_DONTNEED);
}

int change_free(struct place *place)
{
	return advise(place, MADV_FREE);
}

int change_cold(struct place *place)
{
	return advise(place, MADV_COLD);
}

int change_lock(struct place *place)
{
	return mlock(place->map, place->bytes) ||
	       munlock(place->map, place->bytes);
}

int change_guard(struct place *place)
{
	return advise(place, MADV_GUARD_INSTALL);
}

int change_unguard(struct place *place)
{
	return advise(place, MADV_GUARD_REMOVE);
}

int change_collapse(struct place *place)
{
	return advise(place, MADV_HUGEPAGE) ||
	       collapse_pages(place->map, place->bytes);
}

/* Its pages are all alike: KSM makes one of them. */
int change_merge(struct place *place)
{
	long pages = place->bytes / PAGE_BYTES;
	int tries;

	if (!setting_change(&ksm_run, KSM "run", "1"))
		return -1;
	setting_change(&ksm_scan, KSM "pages_to_scan", "1000");
	setting_change(&ksm_nap, KSM "sleep_millisecs", "1");
	if (advise(place, MADV_MERGEABLE))
		return -1;
	for (tries = 0; tries < 2000; tries++) {
		if (read_number("/proc/self/ksm_merging_pages") >= pages)
			return 0;
		usleep(10000);
	}
	fatal("KSM does not merge");
}

int change_pageout(struct place *place)
{
	return !swap_start(&swap, 4 * HUGE_BYTES) ||
	       !swap_out(place->map, place->bytes / PAGE_BYTES);
}

static void ignore_signal(int number)
{
}

/* Processes that map a poisoned page get SIGBUS. */
static int spoil(struct place *place, int advice)
{
	signal(SIGBUS, ignore_signal);
	return madvise(place->map, PAGE_BYTES, advice);
}

int change_soft_offline(struct place *place)
{
	return spoil(place, MADV_SOFT_OFFLINE);
}

int change_poison(struct place *place)
{
	return spoil(place, MADV_HWPOISON);
}

/* Files */

int change_truncate(struct place *place)
{
	return ftruncate(place->file, 0);
}

int change_punch(struct place *place)
{
	return fallocate(place->file, FALLOC_FL_PUNCH_HOLE |
			 FALLOC_FL_KEEP_SIZE, 0, place->bytes);
}

int change_write_back(struct place *place)
{
	return msync(place->map, place->bytes, MS_SYNC);
}

/* Other processes, and the CPU's accesses */

int change_fork(struct place *place)
{
	keeper_start(&keeper);
	keeper_stop(&keeper);
	keeper.pid = 0;
	return 0;
}

int change_share(struct place *place)
{
	keeper_start(&keeper);
	return 0;
}

/* One write reaches all of what is huge. */
/* The other process maps the page with the table that is here. */
int change_share_table(struct place *place)
{
	keeper_start(&keeper);
	return keeper_peek(&keeper, place->map) == 1 ? 0 : -1;
}

int change_write(struct place *place)
{
	write_pages(place->map, place->bytes == BYTES ? N : 1, 2);
	return 0;
}

/* By files in /proc and /sys */

int change_soft_dirty(struct place *place)
{
	clear_softdirty();
	return 0;
}

int change_scan(struct place *place)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)place->map,
		.end = (uintptr_t)place->map + place->bytes,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int rc = ioctl(fd, PAGEMAP_SCAN, &arg);

	close(fd);
	return rc < 0;
}

int change_split(struct place *place)
{
	char line[64];
	int fd = open("/sys/kernel/debug/split_huge_pages",
		      O_WRONLY | O_CLOEXEC);
	int n = snprintf(line, sizeof(line), "%d,%#lx,%#lx", getpid(),
			 (unsigned long)place->map,
			 (unsigned long)place->map + place->bytes);
	int rc = fd < 0 || write(fd, line, n) < 0;

	close(fd);
	return rc;
}

/* userfaultfd */

static int watch(struct place *place, __u64 features, __u64 mode)
{
	return uffd_open(&uffd, features) ||
	       uffd_watch(&uffd, place->map, place->bytes, mode);
}

int change_uffd_watch(struct place *place)
{
	return watch(place, UFFD_FEATURE_PAGEFAULT_FLAG_WP |
		     UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
		     UFFDIO_REGISTER_MODE_WP);
}

int change_collapse_and_uffd_watch(struct place *place)
{
	return change_collapse(place) || change_uffd_watch(place);
}

int change_uffd_watch_async(struct place *place)
{
	return watch(place, UFFD_FEATURE_WP_ASYNC |
		     UFFD_FEATURE_WP_UNPOPULATED |
		     UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
		     UFFDIO_REGISTER_MODE_WP);
}

int change_uffd_watch_reads(struct place *place)
{
	return watch(place, UFFD_FEATURE_RWP, UFFDIO_REGISTER_MODE_RWP);
}

int change_uffd_protect(struct place *place)
{
	return uffd_protect(&uffd, UFFDIO_WRITEPROTECT, place->map,
			    place->bytes, UFFDIO_WRITEPROTECT_MODE_WP);
}

int change_uffd_watch_and_protect(struct place *place)
{
	return change_uffd_watch(place) || change_uffd_protect(place);
}

int change_uffd_resolve(struct place *place)
{
	return uffd_protect(&uffd, UFFDIO_WRITEPROTECT, place->map,
			    place->bytes, 0);
}

int change_uffd_take_access(struct place *place)
{
	return uffd_protect(&uffd, UFFDIO_RWPROTECT, place->map, place->bytes,
			    UFFDIO_RWPROTECT_MODE_RWP);
}

int change_uffd_move(struct place *place)
{
	struct place target = {
		.map = map_anon(place->bytes),
		.bytes = place->bytes,
	};
	struct uffdio_move move = {
		.dst = (uintptr_t)target.map,
		.src = (uintptr_t)place->map,
		.len = place->bytes,
	};

	return watch(&target, UFFD_FEATURE_MOVE, UFFDIO_REGISTER_MODE_MISSING) ||
	       ioctl(uffd.fd, UFFDIO_MOVE, &move);
}

/* A dummy device */

static int command(struct place *place, unsigned long request)
{
	if (device < 0)
		device = dmirror_open(0);
	return device < 0 ? -1 : dmirror_command(device, request, place->map,
						 place->bytes / PAGE_BYTES);
}

int change_to_device(struct place *place)
{
	return command(place, HMM_DMIRROR_MIGRATE_TO_DEV);
}

int change_untouched_to_device(struct place *place)
{
	return change_dontneed(place) || change_to_device(place);
}

int change_evict(struct place *place)
{
	return device_release(device);
}

int change_exclusive(struct place *place)
{
	return command(place, HMM_DMIRROR_EXCLUSIVE);
}

/* The end */

void place_end(struct place *place)
{
	if (place->bytes)
		munmap(place->map, place->bytes);
	if (place->file > 0)
		close(place->file);
	if (keeper.pid)
		keeper_stop(&keeper);
	if (uffd.fd >= 0)
		close(uffd.fd);
	if (device >= 0)
		close(device);
	setting_restore(&ksm_nap);
	setting_restore(&ksm_scan);
	setting_restore(&ksm_run);
	swap_stop(&swap);
	disk_stop(&disk);
	release_hugetlb();
}
