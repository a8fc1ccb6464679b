// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Ours, whatever kernel the other headers are from */
#include "../../../../../../lib/test_hmm_uapi.h"

#include "hugepage_settings.h"
#include "vm_util.h"

#include "common.h"
#include "pagemap.h"

#define HUGETLB_POOL	"/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define GIGANTIC_POOL	"/sys/kernel/mm/hugepages/hugepages-1048576kB/"
#define GIGANTIC_MAP	(30 << 26)	/* MAP_HUGE_1GB */
#define MAP_2_MIB	(21 << 26)
#define ZRAM_CONTROL	"/sys/class/zram-control/"

void fatal(const char *format, ...)
{
	va_list args;

	printf("# cannot go on: ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

/* The probe */

int probe_module_file(void)
{
	static const char * const places[] = {
		"hmm_probe", ".", "..",
	};
	const char *given = getenv("HMM_PROBE_KO");
	char self[4096], path[sizeof(self) + 32];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *folder;
	int file = -1;
	size_t i;

	if (given)
		return open(given, O_RDONLY | O_CLOEXEC);
	if (n < 0)
		return -1;
	self[n] = '\0';
	folder = dirname(self);
	for (i = 0; file < 0 && i < sizeof(places) / sizeof(*places); i++) {
		snprintf(path, sizeof(path), "%s/%s/hmm_probe.ko", folder,
			 places[i]);
		file = open(path, O_RDONLY | O_CLOEXEC);
	}
	return file;
}

/* kselftest's runner starts each program alone: the first one loads it. */
static void probe_load(void)
{
	int file = probe_module_file();

	if (file < 0)
		return;
	syscall(SYS_finit_module, file, "", 0);
	close(file);
}

int probe_device(const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	probe_load();
	return open(path, O_RDWR | O_CLOEXEC);
}

int probe_open(void)
{
	return probe_device("hmm_probe");
}

bool probe_knows_sparse(int fd)
{
	struct hmm_probe_call call = { .npages = 1, .flags = HMM_PROBE_SPARSE };

	return !ioctl(fd, HMM_PROBE_FAULT, &call) || errno != EOPNOTSUPP;
}

int probe_call(int fd, void *addr, size_t npages, __u64 *slots,
	       struct hmm_probe_call *call)
{
	call->addr = (uintptr_t)addr;
	call->npages = npages;
	call->slots = (uintptr_t)slots;
	if (ioctl(fd, HMM_PROBE_FAULT, call))
		fatal("HMM_PROBE_FAULT: %s", strerror(errno));
	return call->rc;
}

int probe_fault_all(int fd, void *addr, size_t npages, __u64 *slots,
		    __u64 request, __u64 flags)
{
	struct hmm_probe_call call = {
		.default_flags = request,
		.flags = flags,
	};

	fill_slots(slots, npages, 0);
	return probe_call(fd, addr, npages, slots, &call);
}

int probe_fault_each(int fd, void *addr, size_t npages, __u64 *slots,
		     __u64 flags)
{
	struct hmm_probe_call call = {
		.pfn_flags_mask = MASK_SLOTS,
		.flags = flags,
	};

	return probe_call(fd, addr, npages, slots, &call);
}

int probe_snapshot(int fd, void *addr, size_t npages, __u64 *slots,
		   __u64 flags)
{
	return probe_fault_all(fd, addr, npages, slots, 0, flags);
}

void probe_look(int fd, void *addr, size_t npages, __u64 *slots,
		__u64 flags)
{
	struct hmm_probe_oracle look = {
		.addr = (uintptr_t)addr,
		.npages = npages,
		.slots = (uintptr_t)slots,
		.flags = flags,
	};

	if (ioctl(fd, HMM_PROBE_ORACLE, &look))
		fatal("HMM_PROBE_ORACLE: %s", strerror(errno));
}

bool probe_agrees(int fd, void *addr, size_t npages, __u64 flags)
{
	__u64 *slots = calloc(npages, sizeof(*slots));
	struct hmm_probe_check check = {
		.call = {
			.addr = (uintptr_t)addr,
			.npages = npages,
			.slots = (uintptr_t)slots,
			.flags = flags,
		},
	};

	if (!slots)
		fatal("no memory");
	if (ioctl(fd, HMM_PROBE_CHECK, &check))
		fatal("HMM_PROBE_CHECK: %s", strerror(errno));
	free(slots);
	if (check.mismatch == HMM_PROBE_MATCH)
		return true;
	printf("# page %llu: %s, oracle %#llx (%s), hmm %#llx\n",
	       check.index, probe_mismatch_name(check.mismatch),
	       check.expected, probe_kind_name(check.kind_after), check.got);
	return false;
}

void probe_interval(int fd, void *start, size_t bytes)
{
	struct hmm_probe_interval interval = {
		.start = (uintptr_t)start,
		.length = bytes,
	};

	if (ioctl(fd, HMM_PROBE_INTERVAL, &interval))
		fatal("HMM_PROBE_INTERVAL: %s", strerror(errno));
}

size_t probe_populated(int fd, void *addr, size_t npages)
{
	__u64 *slots = calloc(npages, sizeof(*slots));
	size_t n;

	if (!slots)
		fatal("no memory");
	probe_look(fd, addr, npages, slots, 0);
	n = count_slots(slots, npages, HMM_PROBE_VALID);
	free(slots);
	return n;
}

const char *probe_mismatch_name(__u64 mismatch)
{
	static const char * const names[] = {
		[HMM_PROBE_MATCH] = "match",
		[HMM_PROBE_MISMATCH_VALUE] = "another value",
		[HMM_PROBE_MISMATCH_UNMET] = "request unmet",
		[HMM_PROBE_MISMATCH_POPULATED] = "unrequested page mapped",
		[HMM_PROBE_MISMATCH_UPGRADED] = "unrequested page made writable",
		[HMM_PROBE_MISMATCH_STICKY] = "sticky flags changed",
		[HMM_PROBE_MISMATCH_RC] = "another result",
	};

	return mismatch < sizeof(names) / sizeof(*names) ? names[mismatch] :
							   "?";
}

const char *probe_kind_name(__u64 kind)
{
	static const char * const names[] = {
		[HMM_PROBE_KIND_UNFIT] = "no usable VMA",
		[HMM_PROBE_KIND_NONE] = "none",
		[HMM_PROBE_KIND_PRESENT] = "present",
		[HMM_PROBE_KIND_PROTNONE] = "protnone",
		[HMM_PROBE_KIND_SPECIAL] = "special",
		[HMM_PROBE_KIND_SWAP] = "swap",
		[HMM_PROBE_KIND_MIGRATION] = "migration",
		[HMM_PROBE_KIND_PRIVATE] = "device-private",
		[HMM_PROBE_KIND_EXCLUSIVE] = "device-exclusive",
		[HMM_PROBE_KIND_MARKER_WP] = "uffd-wp marker",
		[HMM_PROBE_KIND_BAD] = "bad or other marker",
	};

	return kind < sizeof(names) / sizeof(*names) ? names[kind] : "?";
}

unsigned int slot_order(__u64 slot)
{
	return (slot >> HMM_PROBE_ORDER_SHIFT) & HMM_PROBE_ORDER_MASK;
}

__u64 slot_pfn(__u64 slot)
{
	return slot & HMM_PROBE_PFN_MASK;
}

size_t count_slots(const __u64 *slots, size_t n, __u64 bits)
{
	size_t count = 0;

	while (n--)
		count += (slots[n] & bits) == bits;
	return count;
}

size_t first_other(const __u64 *slots, size_t n, __u64 mask,
		   __u64 value)
{
	size_t i;

	for (i = 0; i < n; i++)
		if ((slots[i] & mask) != value)
			break;
	return i;
}

size_t first_not_following(const __u64 *slots, size_t n, unsigned int order)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (slot_order(slots[i]) != order ||
		    slot_pfn(slots[i]) != slot_pfn(slots[0]) + i)
			break;
	return i;
}

void fill_slots(__u64 *slots, size_t n, __u64 value)
{
	while (n--)
		slots[n] = value;
}

static int pagemap_open(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fatal("/proc/self/pagemap: %s", strerror(errno));
	return fd;
}

static void pagemap_entries(void *addr, __u64 *entries, size_t n)
{
	int fd = pagemap_open();
	ssize_t size = n * sizeof(*entries);
	off_t at = (uintptr_t)addr / PAGE_BYTES * sizeof(*entries);

	if (pread(fd, entries, size, at) != size)
		fatal("/proc/self/pagemap: %s", strerror(errno));
	close(fd);
}

/* How many of the pages have an entry with one of these bits? */
static size_t pagemap_count(char *addr, size_t npages, __u64 bits)
{
	__u64 entries[HUGE_PAGES];
	size_t i, n, count = 0;

	for (; npages; npages -= n, addr += n * PAGE_BYTES) {
		n = npages < HUGE_PAGES ? npages : HUGE_PAGES;
		pagemap_entries(addr, entries, n);
		for (i = 0; i < n; i++)
			count += !!(entries[i] & bits);
	}
	return count;
}

__u64 pagemap_pfn(void *addr)
{
	int fd = pagemap_open();
	unsigned long pfn = pagemap_get_pfn(fd, addr);

	close(fd);
	return pfn == -1UL ? 0 : pfn;
}

size_t swapped_pages(char *addr, size_t npages)
{
	return pagemap_count(addr, npages, PM_SWAP);
}

size_t present_pages(char *addr, size_t npages)
{
	return pagemap_count(addr, npages, PM_PRESENT);
}

long huge_kib(const void *addr)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	bool here = false;
	char line[512];
	long kib = -1;

	while (smaps && kib < 0 && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (uintptr_t)addr &&
			       (uintptr_t)addr < end;
		else if (here)
			sscanf(line, "AnonHugePages: %ld kB", &kib);
	}
	if (smaps)
		fclose(smaps);
	return kib;
}

bool is_soft_dirty(void *addr)
{
	return dirty_pages(addr, 1);
}

size_t dirty_pages(char *addr, size_t npages)
{
	return pagemap_count(addr, npages, PM_SOFT_DIRTY);
}

/* How many entries, from the first one on that is so, are of the category? */
static size_t scan_entries(char *addr, size_t npages, __u64 flags,
			   __u64 category)
{
	struct page_region region = {};
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.flags = flags,
		.start = (uintptr_t)addr,
		.end = (uintptr_t)addr + npages * PAGE_BYTES,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = category,
		.return_mask = category,
	};
	int fd = pagemap_open();

	if (ioctl(fd, PAGEMAP_SCAN, &scan) < 0)
		fatal("PAGEMAP_SCAN: %s", strerror(errno));
	close(fd);
	return (region.end - region.start) / PAGE_BYTES;
}

size_t dirty_entries(char *addr, size_t npages)
{
	return scan_entries(addr, npages, 0, PAGE_IS_SOFT_DIRTY);
}

size_t written_protect(char *addr, size_t npages)
{
	return scan_entries(addr, npages,
			    PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
			    PAGE_IS_WRITTEN);
}

/* Settings */

unsigned long from_environment(const char *name, unsigned long standard)
{
	const char *value = getenv(name);

	return value && *value ? strtoul(value, NULL, 0) : standard;
}

enum brevity how_brief(void)
{
	unsigned long wanted = from_environment("HMM_QUICK", LONG_RUN);

	return wanted > SHORTEST_RUN ? SHORTEST_RUN : wanted;
}

static ssize_t read_line(const char *path, char *line, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, size - 1);

	if (fd >= 0)
		close(fd);
	line[n > 0 ? n : 0] = '\0';
	return n;
}

static bool write_line(const char *path, const char *line)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, line, strlen(line));

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)strlen(line);
}

long read_number(const char *path)
{
	FILE *file = fopen(path, "r");
	long number = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%ld", &number) != 1)
		number = -1;
	fclose(file);
	return number;
}

long vm_event(const char *name)
{
	FILE *file = fopen("/proc/vmstat", "re");
	long value = -1, number;
	char word[64];

	if (!file)
		fatal("/proc/vmstat: %s", strerror(errno));
	while (value < 0 && fscanf(file, "%63s %ld", word, &number) == 2)
		if (!strcmp(word, name))
			value = number;
	fclose(file);
	return value;
}

void vm_order(const char *name, const char *word)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/vm/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, word, strlen(word)) < 0)
		fatal("%s: %s", path, strerror(errno));
	close(fd);
}

/* A choice reads as "always [madvise] never"; what counts is in brackets. */
static void keep_choice(char *line)
{
	char *start = strchr(line, '[');
	char *end = strchr(line, ']');

	if (start && end) {
		*end = '\0';
		memmove(line, start + 1, strlen(start + 1) + 1);
	}
}

bool setting_change(struct setting *setting, const char *path,
		    const char *value)
{
	snprintf(setting->path, sizeof(setting->path), "%s", path);
	if (read_line(path, setting->old, sizeof(setting->old)) <= 0) {
		setting->path[0] = '\0';
		return false;
	}
	keep_choice(setting->old);
	return write_line(path, value);
}

void setting_restore(struct setting *setting)
{
	if (setting->path[0])
		write_line(setting->path, setting->old);
	setting->path[0] = '\0';
}

/*
 * What invalidates at any time, and takes from devices what a test has just given
 * them, is off except where it is tested: scans of NUMA balancing; and kswapd,
 * which reclaims lazily freed pages, however much is free, once an allocation
 * had to use a page block of another migrate type.
 */
static struct setting balancing, boosting;
static pid_t quietened_by;

static void __attribute__((constructor)) background_stop(void)
{
	quietened_by = getpid();
	setting_change(&balancing, NUMA_BALANCING, "0");
	setting_change(&boosting, WATERMARK_BOOST, "0");
}

static void __attribute__((destructor)) background_restore(void)
{
	if (getpid() != quietened_by)
		return;
	setting_restore(&boosting);
	setting_restore(&balancing);
}

/* Memory */

void *map_at(void *addr, size_t bytes, int prot, int flags, int fd)
{
	void *map = mmap(addr, bytes, prot, flags | MAP_FIXED, fd, 0);

	if (map == MAP_FAILED)
		fatal("mmap of %zu bytes: %s", bytes, strerror(errno));
	return map;
}

static char *reserve_aligned(size_t bytes)
{
	char *map = mmap(NULL, bytes + HUGE_BYTES, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t gap;

	if (map == MAP_FAILED)
		fatal("address space: %s", strerror(errno));
	gap = -(uintptr_t)map % HUGE_BYTES;
	if (gap)
		munmap(map, gap);
	munmap(map + gap + bytes, HUGE_BYTES - gap);
	return map + gap;
}

void *map_anon(size_t bytes)
{
	return map_at(reserve_aligned(bytes), bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

void *map_anon_small(size_t bytes)
{
	void *map = map_anon(bytes);

	if (madvise(map, bytes, MADV_NOHUGEPAGE))
		fatal("MADV_NOHUGEPAGE: %s", strerror(errno));
	return map;
}

void *map_thp(int fd, size_t bytes)
{
	char *map = map_anon(bytes);
	__u64 slot;
	size_t at;

	madvise(map, bytes, MADV_HUGEPAGE);
	for (at = 0; at < bytes; at += HUGE_BYTES) {
		memset(map + at, 1, HUGE_BYTES);
		probe_look(fd, map + at, 1, &slot, 0);
		if (slot_order(slot) != HUGE_ORDER)
			return NULL;
	}
	return map;
}

/* A pool of hugetlb pages, and how many it had before */
struct pool {
	const char *path;
	unsigned long bytes;
	unsigned long old;
	bool changed;
};

static struct pool hugetlb_pool = {
	.path = HUGETLB_POOL,
	.bytes = HUGE_BYTES,
};

static struct pool gigantic_pool = {
	.path = GIGANTIC_POOL,
	.bytes = GIGANTIC_BYTES,
};

static bool pool_set(struct pool *pool, size_t pages)
{
	if (access(pool->path, F_OK))
		return false;
	pool->old = hugetlb_nr_pages(pool->bytes);
	pool->changed = true;
	hugetlb_set_nr_pages(pool->bytes, pages);
	return hugetlb_free_pages(pool->bytes) >= pages;
}

static void pool_restore(struct pool *pool)
{
	if (pool->changed)
		hugetlb_set_nr_pages(pool->bytes, pool->old);
	pool->changed = false;
}

bool reserve_hugetlb(size_t pages)
{
	return pool_set(&hugetlb_pool, pages);
}

void release_hugetlb(void)
{
	pool_restore(&gigantic_pool);
	pool_restore(&hugetlb_pool);
}

void *map_gigantic(void)
{
	void *map;

	if (!pool_set(&gigantic_pool, 1))
		return NULL;
	map = mmap(NULL, GIGANTIC_BYTES, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | GIGANTIC_MAP,
		   -1, 0);
	return map == MAP_FAILED ? NULL : map;
}

void *map_hugetlb(size_t bytes)
{
	char *map = reserve_aligned(bytes);

	if (mmap(map, bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED,
		 -1, 0) == MAP_FAILED)
		return NULL;
	return map;
}

int memory_file(size_t bytes)
{
	int fd = memfd_create("hmm", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, bytes))
		fatal("memfd: %s", strerror(errno));
	return fd;
}

int secret_file(size_t bytes)
{
	int file = syscall(SYS_memfd_secret, O_CLOEXEC);

	if (file >= 0 && ftruncate(file, bytes))
		fatal("secret file: %s", strerror(errno));
	return file;
}

int hugetlb_file(size_t bytes)
{
	int fd = memfd_create("hmm", MFD_CLOEXEC | MFD_HUGETLB | MAP_2_MIB);

	if (fd >= 0 && ftruncate(fd, bytes)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

int collapse_pages(void *addr, size_t bytes)
{
	unsigned int tries = 100;

	/* Pages in other processors' batches are in the way for a while. */
	while (madvise(addr, bytes, MADV_COLLAPSE)) {
		if (errno != EAGAIN || !--tries)
			return -errno;
		usleep(10000);
	}
	return 0;
}

void write_pages(void *addr, size_t npages, char value)
{
	char *page = addr;

	for (; npages--; page += PAGE_BYTES)
		__atomic_store_n(page, value, __ATOMIC_RELAXED);
}

void read_pages(void *addr, size_t npages)
{
	char *page = addr;

	for (; npages--; page += PAGE_BYTES)
		__atomic_load_n(page, __ATOMIC_RELAXED);
}

/* Swap */

static void write_swap_header(const char *device, size_t bytes)
{
	static const char signature[] = "SWAPSPACE2";
	char page[PAGE_BYTES] = { 0 };
	__u32 version = 1, last_page = bytes / PAGE_BYTES - 1;
	int fd = open(device, O_WRONLY | O_CLOEXEC);

	memcpy(page + 1024, &version, sizeof(version));
	memcpy(page + 1028, &last_page, sizeof(last_page));
	memcpy(page + sizeof(page) - strlen(signature), signature,
	       strlen(signature));
	if (fd < 0 || write(fd, page, sizeof(page)) != sizeof(page))
		fatal("%s: %s", device, strerror(errno));
	close(fd);
}

bool disk_start(struct swap *swap, size_t bytes)
{
	char line[32], path[64];

	swap->disk = -1;
	if (read_line(ZRAM_CONTROL "hot_add", line, sizeof(line)) <= 0)
		return false;
	swap->disk = atoi(line);
	snprintf(swap->device, sizeof(swap->device), "/dev/zram%d",
		 swap->disk);
	snprintf(path, sizeof(path), "/sys/block/zram%d/disksize", swap->disk);
	snprintf(line, sizeof(line), "%zu", bytes);
	if (!write_line(path, line))
		fatal("%s: %s", path, strerror(errno));
	return true;
}

void disk_stop(struct swap *swap)
{
	char line[16];

	if (swap->disk < 0)
		return;
	snprintf(line, sizeof(line), "%d", swap->disk);
	if (!write_line(ZRAM_CONTROL "hot_remove", line))
		fatal("%s: %s", swap->device, strerror(errno));
	swap->disk = -1;
}

bool swap_start(struct swap *swap, size_t bytes)
{
	if (!disk_start(swap, bytes))
		return false;
	write_swap_header(swap->device, bytes);
	if (swapon(swap->device, 0))
		fatal("swapon: %s", strerror(errno));
	return true;
}

/* Pages wait on each processor's list before reclaim can find them. */
bool swap_out(void *map, size_t npages)
{
	int tries;

	for (tries = 0; tries < 100; tries++) {
		write_line("/proc/sys/vm/drop_caches", "1");
		if (madvise(map, npages * PAGE_BYTES, MADV_PAGEOUT))
			return false;
		if (!present_pages(map, npages))
			return true;
		usleep(10000);
	}
	return false;
}

void swap_stop(struct swap *swap)
{
	if (swap->disk >= 0 && swapoff(swap->device))
		fatal("swapoff: %s", strerror(errno));
	disk_stop(swap);
}

/* The dummy devices */

static void dmirror_load(void)
{
	if (system("modprobe -q test_hmm 2>/dev/null"))
		printf("# no module test_hmm\n");
}

int dmirror_open(unsigned int device)
{
	struct hmm_dmirror_cmd never_dirty = {
		.npages = HMM_DMIRROR_FLAG_NEVER_DIRTY,
	};
	char path[32];
	int fd;

	if (access("/dev/hmm_dmirror0", F_OK))
		dmirror_load();
	snprintf(path, sizeof(path), "/dev/hmm_dmirror%u", device);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && from_environment("HMM_NEVER_DIRTY", 0) &&
	    ioctl(fd, HMM_DMIRROR_FLAGS, &never_dirty))
		fatal("HMM_DMIRROR_FLAGS: %s", strerror(errno));
	return fd;
}

int dmirror_command(int fd, unsigned long request, void *addr, size_t npages)
{
	char *data = malloc(npages * PAGE_BYTES);
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)addr,
		.ptr = (uintptr_t)data,
		.npages = npages,
	};
	int rc;

	if (!data)
		fatal("no memory");
	do {
		rc = ioctl(fd, request, &cmd) ? -errno : 0;
	} while (rc == -EINTR);
	free(data);
	return rc;
}

int dmirror_to_device(int fd, void *addr, size_t npages)
{
	return dmirror_command(fd, HMM_DMIRROR_MIGRATE_TO_DEV, addr, npages);
}

/* Processes */

void run_on(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fatal("sched_setaffinity: %s", strerror(errno));
}

pid_t fork_off(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		fatal("fork: %s", strerror(errno));
	return pid;
}

int wait_for_child(pid_t pid, unsigned int seconds)
{
	unsigned int tries;
	int status;

	for (tries = 0; tries < 100 * seconds; tries++) {
		pid_t done = waitpid(pid, &status, WNOHANG);

		if (done == pid)
			return status;
		if (done < 0)
			fatal("waitpid: %s", strerror(errno));
		usleep(10000);
	}
	return -1;
}

/* The keeper */

static void keep(int ask, int answer)
{
	char *addr;
	char byte;

	while (read(ask, &addr, sizeof(addr)) == sizeof(addr)) {
		byte = __atomic_load_n(addr, __ATOMIC_RELAXED);
		if (write(answer, &byte, 1) != 1)
			break;
	}
	_exit(0);
}

void keeper_start(struct keeper *keeper)
{
	int ask[2], answer[2];

	if (pipe2(ask, O_CLOEXEC) || pipe2(answer, O_CLOEXEC))
		fatal("pipe: %s", strerror(errno));
	keeper->pid = fork_off();
	if (!keeper->pid) {
		close(ask[1]);
		close(answer[0]);
		keep(ask[0], answer[1]);
	}
	close(ask[0]);
	close(answer[1]);
	keeper->ask = ask[1];
	keeper->answer = answer[0];
}

int keeper_peek(struct keeper *keeper, void *addr)
{
	char byte;

	if (write(keeper->ask, &addr, sizeof(addr)) != sizeof(addr) ||
	    read(keeper->answer, &byte, 1) != 1)
		fatal("the forked process is gone");
	return byte;
}

void keeper_stop(struct keeper *keeper)
{
	close(keeper->ask);
	close(keeper->answer);
	waitpid(keeper->pid, NULL, 0);
}

/* userfaultfd */

int uffd_open(struct uffd *uffd, __u64 features)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = features,
	};

	uffd->fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (uffd->fd < 0)
		return -1;
	if (ioctl(uffd->fd, UFFDIO_API, &api)) {
		close(uffd->fd);
		return -1;
	}
	return 0;
}

int uffd_watch(struct uffd *uffd, void *addr, size_t bytes, __u64 mode)
{
	struct uffdio_register range = {
		.range = { (uintptr_t)addr, bytes },
		.mode = mode,
	};

	return ioctl(uffd->fd, UFFDIO_REGISTER, &range);
}

/* UFFDIO_WRITEPROTECT and UFFDIO_RWPROTECT take the same argument. */
int uffd_protect(struct uffd *uffd, unsigned long request, void *addr,
		 size_t bytes, __u64 mode)
{
	struct uffdio_writeprotect protect = {
		.range = { (uintptr_t)addr, bytes },
		.mode = mode,
	};

	return ioctl(uffd->fd, request, &protect);
}

bool uffd_is_protected(char *page)
{
	int fd = pagemap_open();
	bool protected = pagemap_get_entry(fd, page) & PM_UFFD_WP;

	close(fd);
	return protected;
}

int uffd_poison(struct uffd *uffd, void *addr, size_t bytes)
{
	struct uffdio_poison poison = {
		.range = { (uintptr_t)addr, bytes },
	};

	return ioctl(uffd->fd, UFFDIO_POISON, &poison);
}

static void *uffd_serve(void *arg)
{
	struct uffd *uffd = arg;
	struct pollfd fds[] = {
		{ .fd = uffd->fd, .events = POLLIN },
		{ .fd = uffd->stop[0], .events = POLLIN },
	};
	struct uffd_msg msg;

	while (poll(fds, 2, -1) > 0 && !fds[1].revents) {
		uintptr_t page;

		if (read(uffd->fd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		if (msg.event != UFFD_EVENT_PAGEFAULT)
			continue;
		page = msg.arg.pagefault.address & -PAGE_BYTES;
		uffd->on_fault(uffd, (char *)page,
			       msg.arg.pagefault.flags &
			       UFFD_PAGEFAULT_FLAG_WRITE);
	}
	return NULL;
}

void uffd_start(struct uffd *uffd)
{
	if (pipe2(uffd->stop, O_CLOEXEC) ||
	    pthread_create(&uffd->thread, NULL, uffd_serve, uffd))
		fatal("userfaultfd thread: %s", strerror(errno));
}

void uffd_fill(struct uffd *uffd, char *page, char value)
{
	static char data[PAGE_BYTES];
	struct uffdio_copy copy = {
		.dst = (uintptr_t)page,
		.src = (uintptr_t)data,
		.len = PAGE_BYTES,
	};

	memset(data, value, sizeof(data));
	if (ioctl(uffd->fd, UFFDIO_COPY, &copy) && errno != EEXIST)
		fatal("UFFDIO_COPY: %s", strerror(errno));
}

void uffd_stop(struct uffd *uffd)
{
	if (write(uffd->stop[1], "", 1) != 1)
		fatal("userfaultfd thread: %s", strerror(errno));
	pthread_join(uffd->thread, NULL);
	close(uffd->stop[0]);
	close(uffd->stop[1]);
	close(uffd->fd);
}
