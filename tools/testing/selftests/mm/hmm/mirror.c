// SPDX-License-Identifier: GPL-2.0
/*
 * A dummy device reads and writes a process through its mirror: every kind of
 * memory, every refusal, and a table that follows what the CPU does.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"

#define N	16
#define BYTES	(N * PAGE_BYTES)

/* Kinds of memory */

static char *map_private(void)
{
	return map_anon_small(BYTES);
}

static char *map_shared(void)
{
	return map_at(map_anon_small(BYTES), BYTES, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1);
}

static char *map_file(int fd, int flags)
{
	char *map = map_at(map_anon_small(BYTES), BYTES,
			   PROT_READ | PROT_WRITE, flags, fd);

	close(fd);
	return map;
}

static char *map_memfd(void)
{
	return map_file(memory_file(BYTES), MAP_SHARED);
}

/* A file without a name in @folder; NULL where none can be made */
static char *map_file_in(const char *folder, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/hmm-mirror-XXXXXX", folder);
	fd = mkstemp(path);
	if (fd < 0)
		return NULL;
	unlink(path);
	if (ftruncate(fd, BYTES))
		fatal("ftruncate: %s", strerror(errno));
	return map_file(fd, flags);
}

static char *map_tmpfs(void)
{
	return map_file_in("/dev/shm", MAP_SHARED);
}

static char *map_rootfs(void)
{
	return map_file_in("/root", MAP_SHARED);
}

static char *map_file_private(void)
{
	return map_file_in("/root", MAP_PRIVATE);
}

/* The ordinary pages that the device's own mmap() gives */
static char *map_device(void)
{
	return map_file(dmirror_open(0), MAP_SHARED);
}

FIXTURE(mirror_kinds)
{
	int fd;
	char *map;
};

FIXTURE_VARIANT(mirror_kinds)
{
	char *(*map)(void);
};

FIXTURE_VARIANT_ADD(mirror_kinds, private)
{
	.map = map_private,
};

FIXTURE_VARIANT_ADD(mirror_kinds, shared)
{
	.map = map_shared,
};

FIXTURE_VARIANT_ADD(mirror_kinds, memfd)
{
	.map = map_memfd,
};

FIXTURE_VARIANT_ADD(mirror_kinds, tmpfs)
{
	.map = map_tmpfs,
};

FIXTURE_VARIANT_ADD(mirror_kinds, rootfs)
{
	.map = map_rootfs,
};

FIXTURE_VARIANT_ADD(mirror_kinds, file_private)
{
	.map = map_file_private,
};

FIXTURE_VARIANT_ADD(mirror_kinds, device)
{
	.map = map_device,
};

FIXTURE_SETUP(mirror_kinds)
{
	self->fd = dmirror_open(0);
	if (self->fd < 0)
		SKIP(return, "no dummy device");
	self->map = variant->map();
	if (!self->map)
		SKIP(return, "no place for a file");
}

FIXTURE_TEARDOWN(mirror_kinds)
{
	close(self->fd);
}

TEST_F(mirror_kinds, device_reads_what_the_cpu_wrote)
{
	pattern_fill(self->map, N, 1);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	pattern_fill(self->map, N, 2);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 2));
}

TEST_F(mirror_kinds, cpu_reads_what_the_device_wrote)
{
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 1));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 2));
	EXPECT_TRUE(pattern_is(self->map, N, 2));
}

TEST_F(mirror_kinds, device_reads_untouched_memory_as_zero)
{
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, N));
	EXPECT_EQ(BYTES, same_bytes(self->map, BYTES, 0));
}

TEST_F(mirror_kinds, read_unlocked)
{
	struct answer done;
	char data[BYTES];

	pattern_fill(self->map, N, 3);
	done = device_ask(self->fd, HMM_DMIRROR_READ_UNLOCKED, self->map,
			  data, N);
	ASSERT_EQ(0, done.rc);
	EXPECT_EQ(N, done.cpages);
	EXPECT_EQ(1, done.faults);
	EXPECT_TRUE(pattern_is(data, N, 3));
}

/* The second read finds everything in the device's table. */
TEST_F(mirror_kinds, mirrored_memory_needs_no_fault)
{
	struct answer done;
	char data[BYTES];

	pattern_fill(self->map, N, 4);
	done = device_ask(self->fd, HMM_DMIRROR_READ, self->map,
			  data, N);
	ASSERT_EQ(0, done.rc);
	EXPECT_EQ(N, done.cpages);
	EXPECT_EQ(1, done.faults);
	done = device_ask(self->fd, HMM_DMIRROR_READ, self->map,
			  data, N);
	ASSERT_EQ(0, done.rc);
	EXPECT_EQ(N, done.cpages);
	EXPECT_EQ(0, done.faults);
	EXPECT_TRUE(pattern_is(data, N, 4));
}

TEST_F(mirror_kinds, snapshot_after_a_write)
{
	pattern_fill(self->map, N, 5);
	EXPECT_EQ(N, device_count_bytes(self->fd, self->map, N, 0xff,
					HMM_DMIRROR_PROT_WRITE));
}

TEST_F(mirror_kinds, read_only_memory_is_not_written)
{
	struct answer done;
	char data[BYTES];

	pattern_fill(self->map, N, 6);
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ));
	memset(data, 0xee, BYTES);
	done = device_ask(self->fd, HMM_DMIRROR_WRITE, self->map,
			  data, N);
	EXPECT_EQ(-EPERM, done.rc);
	EXPECT_EQ(0, done.cpages);
	EXPECT_TRUE(pattern_is(self->map, N, 6));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 6));
	EXPECT_EQ(0, device_count_bytes(self->fd, self->map, N,
					HMM_DMIRROR_PROT_WRITE,
				  HMM_DMIRROR_PROT_WRITE));
}

TEST_F(mirror_kinds, mprotect_removes_and_restores_access)
{
	char data[BYTES];

	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 7));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_NONE));
	EXPECT_EQ(-EFAULT, device_read(self->fd, self->map, N, data));
	EXPECT_EQ(-EFAULT, device_write(self->fd, self->map, N, data));
	EXPECT_EQ(N, device_count_bytes(self->fd, self->map, N, 0xff,
					HMM_DMIRROR_PROT_ERROR));
	ASSERT_EQ(0, mprotect(self->map, BYTES, PROT_READ | PROT_WRITE));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 7));
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 8));
	EXPECT_TRUE(pattern_is(self->map, N, 8));
}

TEST_F(mirror_kinds, munmap_and_new_memory_at_the_same_place)
{
	char data[BYTES];

	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 9));
	ASSERT_EQ(0, munmap(self->map, BYTES));
	EXPECT_EQ(-EFAULT, device_read(self->fd, self->map, N, data));
	EXPECT_EQ(-EFAULT, device_write(self->fd, self->map, N, data));
	map_at(self->map, BYTES, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, N));
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 10));
	EXPECT_TRUE(pattern_is(self->map, N, 10));
}

FIXTURE(mirror)
{
	int fd;
	char *map;
};

FIXTURE_SETUP(mirror)
{
	self->fd = dmirror_open(0);
	if (self->fd < 0)
		SKIP(return, "no dummy device");
	self->map = map_anon_small(BYTES);
}

FIXTURE_TEARDOWN(mirror)
{
	close(self->fd);
}

/* What a snapshot says */

TEST_F(mirror, snapshot_does_not_fault)
{
	EXPECT_EQ(N, device_count_bytes(self->fd, self->map, N, 0xff,
					HMM_DMIRROR_PROT_NONE));
	self->map[3 * PAGE_BYTES] = 1;
	EXPECT_EQ(N - 1, device_count_bytes(self->fd, self->map, N, 0xff,
					    HMM_DMIRROR_PROT_NONE));
	EXPECT_EQ(1, device_count_bytes(self->fd, self->map + 3 * PAGE_BYTES, 1,
					0xff, HMM_DMIRROR_PROT_WRITE));
}

TEST_F(mirror, snapshot_of_the_zero_page)
{
	read_pages(self->map, N);
	EXPECT_EQ(N, device_count_bytes(self->fd, self->map, N, 0xff,
					HMM_DMIRROR_PROT_ZERO |
				  HMM_DMIRROR_PROT_READ));
	self->map[0] = 1;
	EXPECT_EQ(N - 1, device_count_bytes(self->fd, self->map, N, 0xff,
					    HMM_DMIRROR_PROT_ZERO |
				      HMM_DMIRROR_PROT_READ));
}

TEST_F(mirror, snapshot_of_a_huge_page)
{
	char *map = map_pattern_thp(self->fd, 2 * HUGE_BYTES, 1);

	if (!map)
		SKIP(return, "no huge page");
	EXPECT_EQ(2 * HUGE_PAGES,
		  device_count_bytes(self->fd, map, 2 * HUGE_PAGES, 0xff,
				     HMM_DMIRROR_PROT_PMD | HMM_DMIRROR_PROT_WRITE));
	EXPECT_TRUE(device_reads(self->fd, map, 2 * HUGE_PAGES, 1));
	/* One page of it goes: the entry is split, the data stays. */
	ASSERT_EQ(0, madvise(map + PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED));
	EXPECT_EQ(HUGE_PAGES,
		  device_count_bytes(self->fd, map, 2 * HUGE_PAGES,
				     HMM_DMIRROR_PROT_PMD, HMM_DMIRROR_PROT_PMD));
	EXPECT_EQ(1, device_count_bytes(self->fd, map, HUGE_PAGES, 0xff,
					HMM_DMIRROR_PROT_NONE));
	EXPECT_TRUE(device_reads_zero(self->fd, map + PAGE_BYTES, 1));
}

TEST_F(mirror, snapshot_of_holes)
{
	unsigned char bytes[N];

	pattern_fill(self->map, N, 1);
	ASSERT_EQ(0, munmap(self->map + 4 * PAGE_BYTES, 4 * PAGE_BYTES));
	memset(bytes, 0x77, sizeof(bytes));
	device_look(self->fd, self->map, N, bytes);
	EXPECT_EQ(4, same_bytes(bytes, N, HMM_DMIRROR_PROT_WRITE));
	EXPECT_EQ(4, same_bytes(bytes + 4, N - 4, HMM_DMIRROR_PROT_ERROR));
	EXPECT_EQ(8, same_bytes(bytes + 8, N - 8, HMM_DMIRROR_PROT_WRITE));
}

/* Ranges over more than one mapping */

TEST_F(mirror, range_over_several_mappings)
{
	char *middle = self->map + 4 * PAGE_BYTES;
	char *file = self->map + 8 * PAGE_BYTES;
	int fd = memory_file(4 * PAGE_BYTES);

	map_at(file, 4 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	pattern_fill(self->map, N, 1);
	ASSERT_EQ(0, mprotect(middle, 2 * PAGE_BYTES, PROT_READ));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	ASSERT_EQ(0, mprotect(middle, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 2));
	EXPECT_TRUE(pattern_is(self->map, N, 2));
	close(fd);
}

TEST_F(mirror, read_stops_at_a_hole)
{
	struct answer done;
	char data[BYTES];

	if (!device_is_ours(self->fd))
		SKIP(return, "the stock driver does not count what it did");
	pattern_fill(self->map, N, 1);
	ASSERT_EQ(0, device_read(self->fd, self->map, 6, data));
	ASSERT_EQ(0, munmap(self->map + 6 * PAGE_BYTES, 2 * PAGE_BYTES));
	memset(data, 0x11, BYTES);
	done = device_ask(self->fd, HMM_DMIRROR_READ, self->map,
			  data, N);
	EXPECT_EQ(-EFAULT, done.rc);
	EXPECT_EQ(6, done.cpages);
	EXPECT_TRUE(pattern_is(data, 6, 1));
	EXPECT_EQ(10 * PAGE_BYTES,
		  same_bytes(data + 6 * PAGE_BYTES, 10 * PAGE_BYTES, 0x11));
}

TEST_F(mirror, write_stops_at_read_only_memory)
{
	char *wall = self->map + 6 * PAGE_BYTES;
	struct answer done;
	char data[BYTES];

	if (!device_is_ours(self->fd))
		SKIP(return, "the stock driver does not count what it did");
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 1));
	ASSERT_EQ(0, mprotect(wall, PAGE_BYTES, PROT_READ));
	pattern_fill(data, N, 2);
	done = device_ask(self->fd, HMM_DMIRROR_WRITE, self->map,
			  data, N);
	EXPECT_EQ(-EPERM, done.rc);
	EXPECT_EQ(6, done.cpages);
	EXPECT_TRUE(pattern_is(self->map, 6, 2));
	pattern_fill(data, N, 1);
	EXPECT_EQ(0, memcmp(wall, data + 6 * PAGE_BYTES, 10 * PAGE_BYTES));
}

/* More than the driver's bounce buffer and its step hold */
TEST_F(mirror, long_unaligned_range)
{
	size_t npages = 2 * HUGE_PAGES + 77;
	char *map = map_anon_small(3 * HUGE_BYTES) + 33 * PAGE_BYTES;

	ASSERT_EQ(0, device_writes(self->fd, map, npages, 1));
	EXPECT_TRUE(pattern_is(map, npages, 1));
	EXPECT_EQ(PAGE_BYTES, same_bytes(map - PAGE_BYTES, PAGE_BYTES, 0));
	EXPECT_EQ(PAGE_BYTES, same_bytes(map + npages * PAGE_BYTES, PAGE_BYTES,
					 0));
	pattern_fill(map, npages, 2);
	EXPECT_TRUE(device_reads(self->fd, map, npages, 2));
}

/* Bad arguments */

static const unsigned long commands[] = {
	HMM_DMIRROR_READ,
	HMM_DMIRROR_WRITE,
	HMM_DMIRROR_MIGRATE_TO_DEV,
	HMM_DMIRROR_MIGRATE_TO_SYS,
	HMM_DMIRROR_SNAPSHOT,
	HMM_DMIRROR_EXCLUSIVE,
	HMM_DMIRROR_CHECK_EXCLUSIVE,
	HMM_DMIRROR_READ_UNLOCKED,
	HMM_DMIRROR_PLACE,
};

/* What every command answers to a range that is none */
static void range_is_refused(struct __test_metadata *_metadata, int fd,
			     __u64 addr, __u64 npages, void *data)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		struct answer done = device_ask(fd, commands[i],
						(void *)(uintptr_t)addr, data,
						npages);

		EXPECT_EQ(-EINVAL, done.rc) {
			TH_LOG("command %zu", i);
		}
		EXPECT_EQ(0, done.cpages);
	}
}

TEST_F(mirror, ranges_that_are_none)
{
	uintptr_t at = (uintptr_t)self->map;
	char data[BYTES];

	pattern_fill(self->map, N, 1);
	memset(data, 0x22, BYTES);
	range_is_refused(_metadata, self->fd, at + 1, 1, data);
	range_is_refused(_metadata, self->fd, at + PAGE_BYTES - 1, 1, data);
	range_is_refused(_metadata, self->fd, at, 0, data);
	range_is_refused(_metadata, self->fd, at, ~0ULL, data);
	range_is_refused(_metadata, self->fd, at, 1ULL << 52, data);
	range_is_refused(_metadata, self->fd, at, 1ULL << 63, data);
	range_is_refused(_metadata, self->fd, -PAGE_BYTES, 2, data);
	EXPECT_EQ(BYTES, same_bytes(data, BYTES, 0x22));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

/* Addresses that no process has */
TEST_F(mirror, kernel_addresses)
{
	static const uintptr_t places[] = {
		0xffff800000000000UL, 0xffffffff81000000UL,
		0x800000000000UL, 0x7fffffff0000UL,
	};
	char data[PAGE_BYTES];
	size_t i;

	memset(data, 0x33, PAGE_BYTES);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		void *addr = (void *)places[i];

		EXPECT_NE(0, device_read(self->fd, addr, 1, data));
		EXPECT_NE(0, device_write(self->fd, addr, 1, data));
		EXPECT_NE(0, device_ask(self->fd, HMM_DMIRROR_EXCLUSIVE,
					addr, data, 1).rc);
		EXPECT_NE(0, device_ask(self->fd, HMM_DMIRROR_READ_UNLOCKED,
					addr, data, 1).rc);
	}
	EXPECT_EQ(PAGE_BYTES, same_bytes(data, PAGE_BYTES, 0x33));
}

TEST_F(mirror, bad_buffers)
{
	char *wall = map_anon_small(BYTES);
	struct answer done;

	pattern_fill(self->map, N, 1);
	ASSERT_EQ(0, munmap(wall + 2 * PAGE_BYTES, PAGE_BYTES));
	EXPECT_EQ(-EFAULT, device_read(self->fd, self->map, N, NULL));
	EXPECT_EQ(-EFAULT, device_read(self->fd, self->map, N, wall));
	EXPECT_EQ(-EFAULT, device_ask(self->fd, HMM_DMIRROR_SNAPSHOT,
				      self->map, NULL, N).rc);
	done = device_ask(self->fd, HMM_DMIRROR_WRITE, self->map,
			  wall, N);
	EXPECT_EQ(-EFAULT, done.rc);
	EXPECT_EQ(0, done.cpages);
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

TEST_F(mirror, bad_structures_commands_and_flags)
{
	struct hmm_dmirror_cmd flags = { .npages = 1ULL << 63 };

	if (!device_is_ours(self->fd))
		SKIP(return, "the stock driver takes any flags");
	pattern_fill(self->map, N, 1);
	EXPECT_EQ(-1, ioctl(self->fd, HMM_DMIRROR_READ, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->fd, HMM_DMIRROR_FLAGS, &flags));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, ioctl(self->fd, _IOWR('H', 0x7f, struct hmm_dmirror_cmd),
			    &flags));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
}

TEST_HARNESS_MAIN
