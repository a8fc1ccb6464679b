// SPDX-License-Identifier: GPL-2.0
/*
 * The kinds of memory that the program matrix uses devices on.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../../../../lib/test_hmm_uapi.h"

#include "matrix.h"

static size_t area_bytes(struct area *area)
{
	return area->npages * PAGE_BYTES;
}

static char *page_at(struct area *area, size_t page)
{
	return area->map + page * PAGE_BYTES;
}

/* Plain memory */

static void malloc_make(struct area *area)
{
	size_t bytes = area_bytes(area);

	/* Out of the heap, not from a mapping of its own */
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	area->block = malloc(bytes + PAGE_BYTES);
	if (!area->block)
		fatal("no memory");
	area->map = (char *)(((uintptr_t)area->block + PAGE_BYTES - 1) & -PAGE_BYTES);
}

static void malloc_drop(struct area *area)
{
	free(area->block);
}

static void small_make(struct area *area)
{
	area->map = map_anon_small(area_bytes(area));
}

static void huge_make(struct area *area)
{
	area->map = map_anon(area_bytes(area));
	madvise(area->map, area_bytes(area), MADV_HUGEPAGE);
}

static void hugetlb_make(struct area *area)
{
	area->map = map_hugetlb(area_bytes(area));
	if (!area->map)
		fatal("no huge pages");
}

static void mlock_make(struct area *area)
{
	small_make(area);
	if (mlock(area->map, area_bytes(area)))
		fatal("mlock: %s", strerror(errno));
}

static void map_drop(struct area *area)
{
	munmap(area->map, area_bytes(area));
}

const struct memory memory_malloc = {
	.make = malloc_make,
	.drop = malloc_drop,
};

const struct memory memory_mmap = {
	.make = small_make,
	.drop = map_drop,
};

const struct memory memory_huge = {
	.large = true,
	.make = huge_make,
	.drop = map_drop,
};

const struct memory memory_hugetlb = {
	.large = true,
	.hugetlb = true,
	.moving = STAYS,
	.make = hugetlb_make,
	.drop = map_drop,
};

const struct memory memory_mlock = {
	.make = mlock_make,
	.drop = map_drop,
};

/* Files */

static int open_file(const char *template, size_t bytes)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "%s", template);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -1;
	unlink(path);
	if (ftruncate(fd, bytes))
		fatal("%s: %s", path, strerror(errno));
	return fd;
}

static void file_make(struct area *area, int flags)
{
	/* The file system of the working directory, or tmpfs */
	area->fd = flags == MAP_SHARED ? open_file("hmm-XXXXXX", area_bytes(area)) : -1;
	if (area->fd < 0)
		area->fd = open_file("/tmp/hmm-XXXXXX", area_bytes(area));
	if (area->fd < 0)
		fatal("/tmp: %s", strerror(errno));
	area->map = mmap(NULL, area_bytes(area), PROT_READ | PROT_WRITE, flags, area->fd, 0);
	if (area->map == MAP_FAILED)
		fatal("mmap of a file: %s", strerror(errno));
}

static void file_private_make(struct area *area)
{
	file_make(area, MAP_PRIVATE);
}

static void file_shared_make(struct area *area)
{
	file_make(area, MAP_SHARED);
}

/* What the device first reads is page cache. */
static void file_fill(struct area *area, unsigned int pattern)
{
	size_t i;

	for (i = 0; i < area->npages; i++) {
		if (pwrite(area->fd, pattern_page(pattern, i), PAGE_BYTES, i * PAGE_BYTES) !=
		    PAGE_BYTES)
			fatal("pwrite: %s", strerror(errno));
		area->expect[i] = pattern;
	}
	area->on_file = pattern;
}

static void file_read(struct area *area, size_t page, char *data)
{
	if (pread(area->fd, data, PAGE_BYTES, page * PAGE_BYTES) != PAGE_BYTES)
		fatal("pread: %s", strerror(errno));
}

/* Nothing written to a private mapping may reach the file. */
static void file_private_check(struct area *area)
{
	char data[PAGE_BYTES];
	size_t i;

	for (i = 0; i < area->npages; i++) {
		file_read(area, i, data);
		if (memcmp(data, pattern_page(area->on_file, i), PAGE_BYTES))
			complain("page %zu of the file has changed", i);
	}
}

static void file_shared_check(struct area *area)
{
	char data[PAGE_BYTES];
	size_t i;

	for (i = 0; i < area->npages; i++) {
		file_read(area, i, data);
		page_is_right(area, i, data, "file");
	}
}

static void file_drop(struct area *area)
{
	map_drop(area);
	close(area->fd);
}

static void shared_anon_make(struct area *area)
{
	area->map = mmap(NULL, area_bytes(area), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (area->map == MAP_FAILED)
		fatal("mmap of shared memory: %s", strerror(errno));
}

static char *memfd_map(struct area *area)
{
	char *map = mmap(NULL, area_bytes(area), PROT_READ | PROT_WRITE, MAP_SHARED, area->fd, 0);

	if (map == MAP_FAILED)
		fatal("mmap of a memfd: %s", strerror(errno));
	return map;
}

/* Mapped twice: the devices use one mapping, the CPU fills the other one. */
static void memfd_make(struct area *area)
{
	area->fd = memory_file(area_bytes(area));
	area->map = memfd_map(area);
	area->other = memfd_map(area);
}

static void memfd_fill(struct area *area, unsigned int pattern)
{
	size_t i;

	for (i = 0; i < area->npages; i++) {
		memcpy(area->other + i * PAGE_BYTES, pattern_page(pattern, i), PAGE_BYTES);
		area->expect[i] = pattern;
	}
}

static void memfd_check(struct area *area)
{
	size_t i;

	for (i = 0; i < area->npages; i++)
		page_is_right(area, i, area->other + i * PAGE_BYTES, "other mapping");
}

static void memfd_drop(struct area *area)
{
	munmap(area->other, area_bytes(area));
	file_drop(area);
}

const struct memory memory_file_private = {
	.make = file_private_make,
	.fill = file_fill,
	.check = file_private_check,
	.drop = file_drop,
};

const struct memory memory_file_shared = {
	.moving = STAYS,
	.make = file_shared_make,
	.fill = file_fill,
	.check = file_shared_check,
	.drop = file_drop,
};

const struct memory memory_shared_anon = {
	.moving = STAYS,
	.make = shared_anon_make,
	.drop = map_drop,
};

const struct memory memory_memfd = {
	.moving = STAYS,
	.make = memfd_make,
	.fill = memfd_fill,
	.check = memfd_check,
	.drop = memfd_drop,
};

/* A child that uses its copy of the memory meanwhile */

static bool stopped(struct area *area)
{
	return __atomic_load_n(area->stop, __ATOMIC_ACQUIRE);
}

static void fork_read_make(struct area *area)
{
	small_make(area);
	area->stop = map_at(map_anon_small(PAGE_BYTES), PAGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1);
}

/* Writes odd pages, and goes on seeing those, and the even ones as they were. */
static __noreturn void child_reads(struct area *area)
{
	bool right = true;
	size_t i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 1; i < area->npages; i += 2)
		cpu_write(area, i, pattern_new(area) + 1000);
	do {
		for (i = 0; i < area->npages; i++)
			right &= page_is_right(area, i, page_at(area, i), "child");
		sched_yield();
	} while (right && !stopped(area));
	fflush(stdout);
	_exit(!right);
}

static void fork_read_begin(struct area *area)
{
	__atomic_store_n(area->stop, 0, __ATOMIC_RELEASE);
	area->child = fork_off();
	if (!area->child)
		child_reads(area);
}

static void fork_read_end(struct area *area, enum step step)
{
	int status;

	__atomic_store_n(area->stop, 1, __ATOMIC_RELEASE);
	if (waitpid(area->child, &status, 0) != area->child || status)
		complain("the forked process did not see its own memory (%#x)", status);
}

static void fork_read_drop(struct area *area)
{
	munmap(area->stop, PAGE_BYTES);
	map_drop(area);
}

const struct memory memory_fork_read = {
	.moving = MAY_MOVE,
	.make = fork_read_make,
	.begin = fork_read_begin,
	.end = fork_read_end,
	.drop = fork_read_drop,
};

/* Memory that goes elsewhere between the steps */

static char *move_away(struct area *area, int flags)
{
	char *from = area->map;
	char *to = area->memory->large ? map_anon(area_bytes(area)) :
					 map_anon_small(area_bytes(area));

	area->map = mremap(from, area_bytes(area), area_bytes(area),
			   MREMAP_MAYMOVE | MREMAP_FIXED | flags, to);
	if (area->map != to)
		fatal("mremap: %s", strerror(errno));
	return from;
}

static void mremap_change(struct area *area, enum step next)
{
	char data[PAGE_BYTES];
	char *from = move_away(area, 0);

	if (!device_command(area->device, HMM_DMIRROR_READ, from, 1, data))
		complain("the device still reads where memory was before");
}

/* The old mapping stays, and is empty. */
static void dontunmap_change(struct area *area, enum step next)
{
	char *from = move_away(area, MREMAP_DONTUNMAP);
	char *data = malloc(area_bytes(area));
	size_t i;
	int rc;

	if (!data)
		fatal("no memory");
	rc = device_command(area->device, HMM_DMIRROR_READ, from, area->npages, data);
	if (rc)
		complain("the device cannot read the emptied mapping: %d", rc);
	for (i = 0; i < area_bytes(area) && !rc; i++) {
		if (data[i]) {
			complain("the device sees byte %zu of memory that moved", i);
			break;
		}
	}
	free(data);
	munmap(from, area_bytes(area));
}

const struct memory memory_mremap = {
	.make = small_make,
	.change = mremap_change,
	.drop = map_drop,
};

const struct memory memory_mremap_huge = {
	.large = true,
	.make = huge_make,
	.change = mremap_change,
	.drop = map_drop,
};

const struct memory memory_dontunmap = {
	.make = small_make,
	.change = dontunmap_change,
	.drop = map_drop,
};

/* Memory that only what writes finds writable */

static void expect_no_write(struct area *area)
{
	size_t page = random_below(area->npages);
	char data[PAGE_BYTES] = { 0 };

	if (!device_command(area->device, HMM_DMIRROR_WRITE, page_at(area, page), 1, data))
		complain("the device writes page %zu of a read-only mapping", page);
}

static int protection_for(enum step next)
{
	return next == WRITE || next == FINISH ? PROT_READ | PROT_WRITE : PROT_READ;
}

static void ro_protect_change(struct area *area, enum step next)
{
	if (mprotect(area->map, area_bytes(area), protection_for(next)))
		fatal("mprotect: %s", strerror(errno));
	if (protection_for(next) == PROT_READ)
		expect_no_write(area);
}

static void ro_remap_change(struct area *area, enum step next)
{
	map_at(area->map, area_bytes(area), protection_for(next), MAP_SHARED, area->fd);
	if (protection_for(next) == PROT_READ)
		expect_no_write(area);
}

const struct memory memory_ro_protect = {
	.make = small_make,
	.change = ro_protect_change,
	.drop = map_drop,
};

const struct memory memory_ro_remap = {
	.moving = STAYS,
	.make = memfd_make,
	.fill = memfd_fill,
	.change = ro_remap_change,
	.check = memfd_check,
	.drop = memfd_drop,
};

/*
 * Threads of the process touch the pages that the device works on: one their
 * first bytes, the other one the last ones. The device writes whole pages, so
 * either may win then; but no byte may be lost while it only reads, or while
 * pages move.
 */

static void *touch_pages(void *arg)
{
	struct toucher *toucher = arg;
	struct area *area = toucher->area;
	unsigned char value = toucher->value;
	size_t i;

	do {
		value++;
		for (i = 0; i < area->npages; i++)
			__atomic_store_n(page_at(area, i) + toucher->offset, value,
					 __ATOMIC_RELAXED);
		__atomic_fetch_add(&toucher->rounds, 1, __ATOMIC_RELEASE);
		sched_yield();
	} while (!stopped(area));
	toucher->value = value;
	return NULL;
}

static void race_make(struct area *area)
{
	unsigned int i;

	small_make(area);
	area->stop = calloc(1, sizeof(*area->stop));
	if (!area->stop)
		fatal("no memory");
	for (i = 0; i < TOUCHERS; i++) {
		area->touchers[i].area = area;
		area->touchers[i].offset = i ? PAGE_BYTES - 1 : 0;
	}
}

static void race_begin(struct area *area)
{
	unsigned int i;

	*area->stop = 0;
	for (i = 0; i < TOUCHERS; i++) {
		area->touchers[i].rounds = 0;
		if (pthread_create(&area->touchers[i].thread, NULL, touch_pages,
				   &area->touchers[i]))
			fatal("no thread");
	}
	for (i = 0; i < TOUCHERS; i++)
		while (!__atomic_load_n(&area->touchers[i].rounds, __ATOMIC_ACQUIRE))
			sched_yield();
}

/* Compare what was touched last, and give the page its pattern again. */
static void untouch(struct area *area, struct toucher *toucher, size_t page, bool written)
{
	char *byte = page_at(area, page) + toucher->offset;

	if (!written && *(unsigned char *)byte != toucher->value)
		complain("page %zu: the CPU wrote %u, but %u is there", page, toucher->value,
			 *(unsigned char *)byte);
	*byte = pattern_page(area->expect[page], page)[toucher->offset];
}

static void race_end(struct area *area, enum step step)
{
	size_t i, page;

	__atomic_store_n(area->stop, 1, __ATOMIC_RELEASE);
	for (i = 0; i < TOUCHERS; i++) {
		pthread_join(area->touchers[i].thread, NULL);
		for (page = 0; page < area->npages; page++)
			untouch(area, &area->touchers[i], page, step == WRITE);
	}
}

static void race_drop(struct area *area)
{
	free(area->stop);
	map_drop(area);
}

const struct memory memory_race = {
	.moving = MAY_MOVE,
	.touched = true,
	.make = race_make,
	.begin = race_begin,
	.end = race_end,
	.drop = race_drop,
};

/* Memory that is on the device before it is used */

static void prefetch_change(struct area *area, enum step next)
{
	if (next == READ || next == WRITE)
		device_step(area, area->device, TO_DEVICE, 0, area->npages,
			    area->shared ? MAY_MOVE : MOVES);
}

const struct memory memory_prefetch = {
	.prefetched = true,
	.make = small_make,
	.change = prefetch_change,
	.drop = map_drop,
};

const struct memory memory_prefetch_huge = {
	.large = true,
	.prefetched = true,
	.make = huge_make,
	.change = prefetch_change,
	.drop = map_drop,
};

/* Advice between the steps */

static void dontneed_change(struct area *area, enum step next)
{
	size_t i;

	for (i = 0; i < area->npages; i++) {
		if (random_below(3))
			continue;
		if (madvise(page_at(area, i), PAGE_BYTES, MADV_DONTNEED))
			fatal("MADV_DONTNEED: %s", strerror(errno));
		area->expect[i] = 0;
	}
}

/* Swapped pages do not move to devices: have them back before that. */
static void pageout_change(struct area *area, enum step next)
{
	if (next == TO_DEVICE)
		read_pages(area->map, area->npages);
	else if (madvise(area->map, area_bytes(area), MADV_PAGEOUT))
		fatal("MADV_PAGEOUT: %s", strerror(errno));
}

/* Small pages at first; a huge page only by request */
static void collapse_make(struct area *area)
{
	area->map = map_anon_small(area_bytes(area));
}

static void collapse_change(struct area *area, enum step next)
{
	size_t page = random_below(area->npages);
	size_t bytes = area_bytes(area);

	if (next != READ && next != WRITE)
		return;
	/* What was huge falls apart: a page of it is replaced. */
	madvise(area->map, bytes, MADV_NOHUGEPAGE);
	madvise(page_at(area, page), PAGE_BYTES, MADV_DONTNEED);
	cpu_write(area, page, area->expect[page]);
	madvise(area->map, bytes, MADV_HUGEPAGE);
	/* Nothing says that it must work, least of all with pages on a device. */
	collapse_pages(area->map, bytes);
}

const struct memory memory_dontneed = {
	.make = small_make,
	.change = dontneed_change,
	.drop = map_drop,
};

const struct memory memory_pageout = {
	.swaps = true,
	.make = small_make,
	.change = pageout_change,
	.drop = map_drop,
};

const struct memory memory_collapse = {
	.large = true,
	.make = collapse_make,
	.change = collapse_change,
	.drop = map_drop,
};
