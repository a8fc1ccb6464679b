// SPDX-License-Identifier: GPL-2.0
/*
 * The memory cgroup that is charged for memory of a dummy device: that of the
 * process does, wherever the pages are, once; and when they go, nothing of
 * the cgroup is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"
#include "lib/group.h"

#define STOCK_PAGES	64	/* charged in advance, on each processor */
#define TABLE_PAGES	64	/* page tables, ours and the device's */
#define SETTLE_TRIES	1000
#define SETTLE_US	10000

#define FILL_SEED	1
#define PLACE_MS	2000

static long group_pages(struct group *group)
{
	char text[32];

	if (!group_read(group->path, "memory.current", text, sizeof(text)))
		fatal("memory.current: %s", strerror(errno));
	return atol(text) / PAGE_BYTES;
}

/* Anonymous memory that is mapped, wherever it is */
static long group_mapped(struct group *group)
{
	char text[8192];

	if (!group_read(group->path, "memory.stat", text, sizeof(text)) ||
	    strncmp(text, "anon ", 5))
		fatal("memory.stat: %s", strerror(errno));
	return atol(text + 5) / PAGE_BYTES;
}

static long group_dying(struct group *group)
{
	static const char name[] = "nr_dying_descendants ";
	char text[4096];
	char *line;

	if (!group_read(group->mount, "cgroup.stat", text, sizeof(text)))
		fatal("cgroup.stat: %s", strerror(errno));
	line = strstr(text, name);
	if (!line)
		fatal("cgroup.stat does not tell about dying cgroups");
	return atol(line + sizeof(name) - 1);
}

FIXTURE(memcg)
{
	struct group group;
	struct child child;
	struct swap swap;
	long dying;
	long slack;
	size_t npages;
	long start;
	char *map;
	int fd;
};

FIXTURE_VARIANT(memcg)
{
	unsigned int device;
};

FIXTURE_VARIANT_ADD(memcg, private)
{
	.device = 0,
};

FIXTURE_VARIANT_ADD(memcg, coherent)
{
	.device = 2,
};

/* What the child does: one device, opened once */

static int child_fd = -1;

static long work_open(char *unused, size_t none, __u64 number)
{
	child_fd = dmirror_open(number);
	return child_fd >= 0;
}

static long work_close(char *unused, size_t none, __u64 number)
{
	return close(child_fd);
}

static long work_mirror(char *addr, size_t npages, __u64 seed)
{
	return device_reads(child_fd, addr, npages, seed);
}

static long work_device_writes(char *addr, size_t npages, __u64 seed)
{
	return device_writes(child_fd, addr, npages, seed);
}

static long work_to_device(char *addr, size_t npages, __u64 unused)
{
	return device_take(child_fd, addr, npages).rc;
}

static long work_to_system(char *addr, size_t npages, __u64 unused)
{
	return device_give_back(child_fd, addr, npages).rc;
}

static long work_place(char *addr, size_t npages, __u64 ms)
{
	struct hmm_dmirror_place place = {
		.flags = HMM_DMIRROR_PLACE_WRITE,
		.timeout = ms,
	};

	return device_ask(child_fd, HMM_DMIRROR_PLACE, addr, &place, npages).rc;
}

static long work_count_swapped(char *addr, size_t npages, __u64 unused)
{
	return swapped_pages(addr, npages);
}

static long work_drop(char *addr, size_t npages, __u64 unused)
{
	return madvise(addr, npages * PAGE_BYTES, MADV_DONTNEED);
}

static long work_populate(char *addr, size_t npages, __u64 unused)
{
	return madvise(addr, npages * PAGE_BYTES, MADV_POPULATE_READ);
}

/* Every second page, from the first or from the second on */

static long work_fill_half(char *addr, size_t npages, __u64 first)
{
	size_t i;

	for (i = first; i < npages; i += 2)
		pattern_fill(addr + i * PAGE_BYTES, 1, FILL_SEED + i);
	return 0;
}

/* Pages with unexpected references cannot move. */
static long work_hold_half(char *addr, size_t npages, __u64 first)
{
	size_t i;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) ||
	    fcntl(ends[1], F_SETPIPE_SZ, npages * PAGE_BYTES) < 0)
		return -errno;
	for (i = first; i < npages; i += 2) {
		struct iovec page = { addr + i * PAGE_BYTES, PAGE_BYTES };

		if (vmsplice(ends[1], &page, 1, SPLICE_F_NONBLOCK) < 0)
			return -errno;
	}
	return 0;
}

/* A huge page, or some small ones, that the device has for itself */
static char *child_huge;

static long work_exclude(char *unused, size_t npages, __u64 seed)
{
	char *data = buffer_of(npages * PAGE_BYTES);
	long rc;

	child_huge = map_pattern_thp(child_fd, npages * PAGE_BYTES, seed);
	if (!child_huge)
		child_huge = map_anon(npages * PAGE_BYTES);
	pattern_fill(child_huge, npages, seed);
	rc = device_ask(child_fd, HMM_DMIRROR_EXCLUSIVE, child_huge, data,
			npages).rc;
	free(data);
	return rc;
}

static long work_check_huge(char *unused, size_t npages, __u64 seed)
{
	return device_reads(child_fd, child_huge, npages, seed) &&
	       pattern_is(child_huge, npages, seed) &&
	       !munmap(child_huge, npages * PAGE_BYTES);
}

/* A child in a new cgroup, which has opened the device and nothing else */
FIXTURE_SETUP(memcg)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	const char *reason;
	char pid[16];

	self->swap.disk = -1;
	self->fd = device_open(variant->device, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	if (!group_make(&self->group))
		SKIP(return, "no memory cgroups");
	self->slack = cpus * STOCK_PAGES + TABLE_PAGES;
	self->npages = 4 * self->slack;
	self->map = map_anon_small(2 * self->npages * PAGE_BYTES);
	self->dying = group_dying(&self->group);

	/* The child's buffers must not stay on its heap. */
	mallopt(M_MMAP_THRESHOLD, 16 * PAGE_BYTES);
	child_start(&self->child);
	snprintf(pid, sizeof(pid), "%d", self->child.pid);
	ASSERT_TRUE(group_write(self->group.path, "cgroup.procs", pid));
	ASSERT_TRUE(child_do(&self->child, work_open, NULL, 0,
			     variant->device));
	self->start = group_pages(&self->group);
}

/* The cgroup goes: no page anywhere refers to it any more. */
static bool all_gone(struct group *group, long dying)
{
	int tries;

	for (tries = 0; tries < SETTLE_TRIES; tries++) {
		if (group_remove(group) && group_dying(group) <= dying)
			return true;
		/* Pages wait on each processor's lists; this empties them. */
		group_write("/proc/sys/vm", "drop_caches", "5");
		usleep(SETTLE_US);
	}
	return false;
}

FIXTURE_TEARDOWN(memcg)
{
	if (self->child.pid)
		child_kill(&self->child);
	if (self->map)
		EXPECT_TRUE(device_in_use_is(self->fd, 0));
	/* Pages in the swap cache stay charged until reclaim or swapoff. */
	swap_stop(&self->swap);
	if (self->group.made)
		EXPECT_TRUE(all_gone(&self->group, self->dying));
	group_unmount(&self->group);
	close(self->fd);
}

/* The cgroup is charged @pages more than at the start, about. */
static bool charged(struct _test_data_memcg *self, long pages)
{
	long now = 0;
	int tries;

	for (tries = 0; tries < SETTLE_TRIES; tries++) {
		now = group_pages(&self->group) - self->start;
		if (labs(now - pages) <= self->slack)
			return true;
		usleep(SETTLE_US);
	}
	printf("# memory.current: %ld pages more, not about %ld\n", now, pages);
	return false;
}

#define child_does(work, number)					\
	child_do(&self->child, work, self->map, self->npages, number)

TEST_F(memcg, mirrored_memory)
{
	child_does(work_fill, FILL_SEED);
	EXPECT_TRUE(charged(self, self->npages));
	EXPECT_TRUE(child_does(work_mirror, FILL_SEED));
	EXPECT_TRUE(charged(self, self->npages));
	EXPECT_EQ(0, child_does(work_device_writes, 2));
	EXPECT_TRUE(child_does(work_check, 2));
	EXPECT_TRUE(charged(self, self->npages));
	EXPECT_EQ(0, child_does(work_unmap, 0));
	EXPECT_TRUE(charged(self, 0));
}

/* What the device faults in is charged to the process, not to the caller. */
TEST_F(memcg, memory_faulted_in_by_the_device)
{
	EXPECT_EQ(0, child_does(work_device_writes, 2));
	EXPECT_TRUE(charged(self, self->npages));
	EXPECT_TRUE(child_does(work_check, 2));
	EXPECT_EQ(0, child_does(work_unmap, 0));
	EXPECT_TRUE(charged(self, 0));
}

TEST_F(memcg, memory_on_the_device)
{
	child_does(work_fill, FILL_SEED);
	EXPECT_EQ(0, child_does(work_to_device, 0));
	EXPECT_TRUE(device_in_use_is(self->fd, self->npages));
	EXPECT_TRUE(charged(self, self->npages));
	EXPECT_TRUE(child_does(work_mirror, FILL_SEED));
	EXPECT_EQ(0, child_does(work_to_system, 0));
	EXPECT_TRUE(device_in_use_is(self->fd, 0));
	EXPECT_TRUE(charged(self, self->npages));
	EXPECT_TRUE(child_does(work_check, FILL_SEED));
	EXPECT_EQ(0, child_does(work_unmap, 0));
	EXPECT_TRUE(charged(self, 0));
}

/* It was never touched: the device's pages are the first. */
TEST_F(memcg, new_memory_on_the_device)
{
	EXPECT_EQ(0, child_does(work_to_device, 0));
	EXPECT_TRUE(device_in_use_is(self->fd, self->npages));
	EXPECT_TRUE(charged(self, self->npages));
	EXPECT_EQ(0, child_does(work_device_writes, 2));
	EXPECT_TRUE(child_does(work_check, 2));
	EXPECT_TRUE(charged(self, self->npages));
	EXPECT_EQ(0, child_does(work_unmap, 0));
	EXPECT_TRUE(charged(self, 0));
}

TEST_F(memcg, unmapped_on_the_device)
{
	int round;

	for (round = 0; round < 2; round++) {
		child_does(work_fill, FILL_SEED);
		EXPECT_EQ(0, child_does(work_to_device, 0));
		EXPECT_EQ(0, child_do(&self->child, work_unmap, self->map,
				      self->npages / 2, 0));
		EXPECT_TRUE(charged(self, self->npages / 2));
		self->map += self->npages / 2 * PAGE_BYTES;
		self->npages -= self->npages / 2;
	}
	EXPECT_EQ(0, child_does(work_unmap, 0));
	EXPECT_TRUE(charged(self, 0));
	EXPECT_TRUE(device_in_use_is(self->fd, 0));
}

/* The last file is closed: the device is emptied, the process goes on. */
TEST_F(memcg, evicted)
{
	child_does(work_fill, FILL_SEED);
	EXPECT_EQ(0, child_does(work_to_device, 0));
	EXPECT_EQ(0, device_evict(self->fd).remaining);
	EXPECT_TRUE(charged(self, self->npages));
	EXPECT_EQ(0, child_does(work_close, 0));
	EXPECT_TRUE(child_does(work_check, FILL_SEED));
	EXPECT_EQ(0, child_does(work_unmap, 0));
	EXPECT_TRUE(charged(self, 0));
}

static bool mapped_is(struct _test_data_memcg *self, long before, long pages)
{
	long now = group_mapped(&self->group) - before;

	if (labs(now - pages) <= self->slack)
		return true;
	printf("# memory.stat: %ld pages more, not about %ld\n", now, pages);
	return false;
}

/*
 * Every second page is charged to another group. The pages of one group
 * migrate, those of the other stay; the statistics of both must be right.
 */
TEST_F(memcg, mapped_memory_of_two_groups)
{
	long before = group_mapped(&self->group);
	char pid[16];

	ASSERT_GT(self->npages / 2, 2 * self->slack - 1);
	child_does(work_fill_half, 0);
	EXPECT_TRUE(mapped_is(self, before, self->npages / 2));
	snprintf(pid, sizeof(pid), "%d", self->child.pid);
	ASSERT_TRUE(group_write(self->group.mount, "cgroup.procs", pid));
	child_does(work_fill_half, 1);
	ASSERT_EQ(0, child_does(work_hold_half, 0));

	EXPECT_EQ(-ENOENT, child_does(work_to_device, 0));
	EXPECT_TRUE(device_in_use_is(self->fd, self->npages / 2));
	EXPECT_TRUE(mapped_is(self, before, self->npages / 2));
	EXPECT_EQ(0, child_does(work_to_system, 0));
	EXPECT_TRUE(mapped_is(self, before, self->npages / 2));
	EXPECT_TRUE(child_does(work_check, FILL_SEED));
	EXPECT_EQ(0, child_does(work_unmap, 0));
	EXPECT_TRUE(mapped_is(self, before, 0));
}

/* The fixture's teardown checks what is left after the process is killed. */
TEST_F(memcg, killed_with_memory_on_the_device)
{
	child_does(work_fill, FILL_SEED);
	EXPECT_EQ(0, child_does(work_to_device, 0));
	EXPECT_TRUE(device_in_use_is(self->fd, self->npages));
}

/* More memory than the cgroup may have at a time, and swap for the rest */

static bool set_limit_to_half(struct __test_metadata *_metadata,
			      struct _test_data_memcg *self)
{
	char limit[32];

	self->npages *= 2;
	if (!swap_start(&self->swap, 4 * self->npages * PAGE_BYTES))
		return false;
	snprintf(limit, sizeof(limit), "%lu",
		 (self->start + self->npages / 2) * PAGE_BYTES);
	EXPECT_TRUE(group_write(self->group.path, "memory.max", limit));
	return true;
}

static bool limit_to_half(struct __test_metadata *_metadata,
			  struct _test_data_memcg *self)
{
	if (!set_limit_to_half(_metadata, self))
		return false;
	child_does(work_fill, FILL_SEED);
	EXPECT_GE(self->start + self->npages / 2, group_pages(&self->group));
	return true;
}

/* The device's pages cannot go to swap: only a few are taken. */
TEST_F(memcg, migration_under_a_tight_limit)
{
	size_t few;
	long rc;

	if (!limit_to_half(_metadata, self))
		SKIP(return, "no zram");
	few = self->npages / 16;
	EXPECT_EQ(0, child_do(&self->child, work_populate, self->map, few, 0));
	rc = child_do(&self->child, work_to_device, self->map, few, 0);
	EXPECT_TRUE(!rc || rc == -ENOENT);
	EXPECT_TRUE(child_do(&self->child, work_mirror, self->map, few,
			     FILL_SEED));
	EXPECT_EQ(0, child_do(&self->child, work_to_system, self->map, few,
			      0));
	EXPECT_TRUE(child_does(work_check, FILL_SEED));
	EXPECT_GE(self->start + self->npages / 2, group_pages(&self->group));
	EXPECT_EQ(0, child_does(work_unmap, 0));
	EXPECT_TRUE(charged(self, 0));
}

/* What the device has for itself goes to swap as a whole, or as pages. */
TEST_F(memcg, reclaim_of_what_the_device_has)
{
	long before;

	if (variant->device)
		SKIP(return, "the same for each device");
	if (!swap_start(&self->swap, 4 * HUGE_BYTES))
		SKIP(return, "no zram");
	ASSERT_EQ(0, child_do(&self->child, work_exclude, NULL, HUGE_PAGES, 1));
	before = group_pages(&self->group);
	/* It fails if it gets less than it is asked for. */
	group_write(self->group.path, "memory.reclaim", "2M");
	EXPECT_GE(before - (long)HUGE_PAGES / 2, group_pages(&self->group));
	EXPECT_TRUE(child_do(&self->child, work_check_huge, NULL, HUGE_PAGES,
			     1));
	EXPECT_TRUE(charged(self, 0));
}

/*
 * Not all of a command's range fits in memory at the same time. The device
 * handles it in parts, or gives up; it does not retry for ever.
 */
TEST_F_TIMEOUT(memcg, access_under_a_tight_limit, 120)
{
	long rc;

	if (variant->device)
		SKIP(return, "the same for each device");
	if (!limit_to_half(_metadata, self))
		SKIP(return, "no zram");
	rc = child_does(work_device_writes, 2);
	EXPECT_TRUE(!rc || rc == -EBUSY);
	EXPECT_TRUE(rc || child_does(work_check, 2));
	EXPECT_EQ(0, child_does(work_unmap, 0));
	EXPECT_TRUE(charged(self, 0));
}

/* Placement: swapped pages and holes go to the device, others to swap for them. */
TEST_F_TIMEOUT(memcg, placement_under_a_tight_limit, 120)
{
	size_t few;
	char *last;

	if (variant->device)
		SKIP(return, "the same for each device");
	if (!limit_to_half(_metadata, self))
		SKIP(return, "no zram");
	few = self->npages / 16;
	last = self->map + (self->npages - few) * PAGE_BYTES;
	EXPECT_LT(few / 2, child_do(&self->child, work_count_swapped, self->map, few, 0));
	EXPECT_EQ(0, child_do(&self->child, work_place, self->map, few, 0));
	EXPECT_EQ(0, child_do(&self->child, work_drop, last, few, 0));
	/* At the limit again */
	EXPECT_TRUE(child_do(&self->child, work_check, self->map + few * PAGE_BYTES,
			     self->npages - 2 * few, FILL_SEED + few));
	EXPECT_EQ(0, child_do(&self->child, work_place, last, few, 0));
	EXPECT_TRUE(device_in_use_is(self->fd, 2 * few));
	EXPECT_GE(self->start + self->npages / 2, group_pages(&self->group));
	EXPECT_TRUE(child_do(&self->child, work_mirror, self->map, few,
			     FILL_SEED));
	EXPECT_EQ(0, child_do(&self->child, work_device_writes, last, few,
			      FILL_SEED + self->npages - few));
	EXPECT_TRUE(child_does(work_check, FILL_SEED));
	EXPECT_EQ(0, child_does(work_unmap, 0));
	EXPECT_TRUE(charged(self, 0));
}

/*
 * More than the limit. What the device has is not swapped out: the call fails, or
 * the process is killed. While pages are faulted in, others of the range may be
 * swapped out again, until the time is over. After an error the process goes on.
 */
static void place_too_much(struct __test_metadata *_metadata,
			   struct _test_data_memcg *self, __u64 seed)
{
	long rc;

	child_tell(&self->child, work_place, self->map, self->npages, PLACE_MS);
	if (read(self->child.answers, &rc, sizeof(rc)) != sizeof(rc)) {
		TH_LOG("killed");
		return;
	}
	TH_LOG("failed: %ld", rc);
	EXPECT_TRUE(rc == -EBUSY || rc == -ENOMEM);
	EXPECT_TRUE(!seed || child_does(work_check, seed));
	EXPECT_EQ(0, child_does(work_unmap, 0));
	EXPECT_TRUE(charged(self, 0));
}

TEST_F_TIMEOUT(memcg, placement_beyond_the_limit, 120)
{
	if (variant->device)
		SKIP(return, "the same for each device");
	if (!limit_to_half(_metadata, self))
		SKIP(return, "no zram");
	place_too_much(_metadata, self, FILL_SEED);
}

TEST_F_TIMEOUT(memcg, placement_of_holes_beyond_the_limit, 120)
{
	if (variant->device)
		SKIP(return, "the same for each device");
	if (!set_limit_to_half(_metadata, self))
		SKIP(return, "no zram");
	place_too_much(_metadata, self, 0);
}

TEST_HARNESS_MAIN
