// SPDX-License-Identifier: GPL-2.0
/*
 * Device memory and fork: parent and child share the pages where they are,
 * each sees its own writes only, and the pages are freed with the last of
 * them. Pages can move while they are shared.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/device.h"

#define SEED		0x1000UL
#define OTHER		0x200000UL
#define CHILDREN	6

FIXTURE(hmm_fork)
{
	int fd;
	size_t npages;
	size_t bytes;
	char *map;	/* with a pattern */
	struct child child;
	struct hmm_dmirror_counters before;
	unsigned char place;
};

FIXTURE_VARIANT(hmm_fork)
{
	unsigned int device;
	size_t npages;
};

FIXTURE_VARIANT_ADD(hmm_fork, private)
{
	.device = 0,
	.npages = 32,
};

FIXTURE_VARIANT_ADD(hmm_fork, private_huge)
{
	.device = 0,
	.npages = HUGE_PAGES,
};

FIXTURE_VARIANT_ADD(hmm_fork, coherent)
{
	.device = 2,
	.npages = 32,
};

FIXTURE_SETUP(hmm_fork)
{
	const char *reason;

	self->fd = device_open(variant->device, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	self->npages = variant->npages;
	self->bytes = variant->npages * PAGE_BYTES;
	self->map = variant->npages == HUGE_PAGES ? device_map_thp(self->fd, self->bytes) :
						    map_anon_small(self->bytes);
	if (!self->map)
		SKIP(return, "no huge page");
	pattern_fill(self->map, self->npages, SEED);
	self->place = own_place(variant->device);
	self->before = device_counters(self->fd);
}

FIXTURE_TEARDOWN(hmm_fork)
{
	if (self->child.pid)
		child_stop(&self->child);
	munmap(self->map, self->bytes);
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
	close(self->fd);
}

#define TAKE()									\
	ASSERT_EQ(0, device_take(self->fd, self->map, self->npages).rc)

#define EXPECT_ON_DEVICE(n)							\
	EXPECT_EQ(n, device_count(self->fd, self->map, self->npages, self->place))

#define EXPECT_OWN(seed)							\
	EXPECT_TRUE(pattern_is(self->map, self->npages, seed))

#define EXPECT_CHILD(seed)							\
	EXPECT_TRUE(child_do(&self->child, work_check, self->map, self->npages, seed))

TEST_F(hmm_fork, both_see_the_data)
{
	TAKE();
	child_start(&self->child);
	EXPECT_ON_DEVICE(self->npages);
	EXPECT_EQ(self->npages, device_since(self->fd, &self->before).in_use);
	EXPECT_TRUE(device_reads(self->fd, self->map, self->npages, SEED));
	EXPECT_CHILD(SEED);
	EXPECT_OWN(SEED);
}

TEST_F(hmm_fork, parent_reads_first)
{
	TAKE();
	child_start(&self->child);
	EXPECT_OWN(SEED);
	EXPECT_CHILD(SEED);
}

TEST_F(hmm_fork, parent_writes)
{
	TAKE();
	child_start(&self->child);
	pattern_fill(self->map, self->npages / 2, OTHER);
	EXPECT_CHILD(SEED);
	EXPECT_TRUE(pattern_is(self->map, self->npages / 2, OTHER));
	EXPECT_TRUE(pattern_is(self->map + self->bytes / 2, self->npages / 2,
			       SEED + self->npages / 2));
}

TEST_F(hmm_fork, child_writes)
{
	TAKE();
	child_start(&self->child);
	child_do(&self->child, work_fill, self->map, self->npages, OTHER);
	EXPECT_OWN(SEED);
	EXPECT_CHILD(OTHER);
	EXPECT_TRUE(device_reads(self->fd, self->map, self->npages, SEED));
}

/* The device writes as the parent, so the child must not see it. */
TEST_F(hmm_fork, device_writes)
{
	TAKE();
	child_start(&self->child);
	EXPECT_EQ(0, device_writes(self->fd, self->map, self->npages / 2, OTHER));
	EXPECT_CHILD(SEED);
	EXPECT_TRUE(device_reads(self->fd, self->map, self->npages / 2, OTHER));
	EXPECT_TRUE(pattern_is(self->map, self->npages / 2, OTHER));
	EXPECT_TRUE(pattern_is(self->map + self->bytes / 2, self->npages / 2,
			       SEED + self->npages / 2));
}

/* Pages that are already shared migrate for both processes. */
TEST_F(hmm_fork, migrated_while_shared)
{
	child_start(&self->child);
	TAKE();
	EXPECT_ON_DEVICE(self->npages);
	EXPECT_EQ(self->npages, device_since(self->fd, &self->before).in_use);
	EXPECT_CHILD(SEED);
	EXPECT_TRUE(device_reads(self->fd, self->map, self->npages, SEED));
	pattern_fill(self->map, self->npages, OTHER);
	EXPECT_CHILD(SEED);
	EXPECT_OWN(OTHER);
}

/* If no large page can be allocated, a shared one is split first. */
TEST_F(hmm_fork, no_large_page_on_the_device)
{
	if (variant->npages != HUGE_PAGES)
		SKIP(return, "large pages only");
	child_start(&self->child);
	ASSERT_EQ(0, device_flags(self->fd, HMM_DMIRROR_FLAG_FAIL_ALLOC));
	TAKE();
	EXPECT_ON_DEVICE(self->npages);
	EXPECT_CHILD(SEED);
	pattern_fill(self->map, self->npages, OTHER);
	EXPECT_CHILD(SEED);
	EXPECT_OWN(OTHER);
}

TEST_F(hmm_fork, migrated_back_while_shared)
{
	TAKE();
	child_start(&self->child);
	EXPECT_EQ(self->npages, device_give_back(self->fd, self->map, self->npages).cpages);
	EXPECT_ON_DEVICE(0);
	EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
	pattern_fill(self->map, self->npages, OTHER);
	EXPECT_CHILD(SEED);
	EXPECT_OWN(OTHER);
}

/* The child's device migrates pages that it shares with the parent. */
TEST_F(hmm_fork, child_migrates)
{
	child_start(&self->child);
	EXPECT_EQ(0, child_do(&self->child, work_take, self->map, self->npages, variant->device));
	EXPECT_ON_DEVICE(self->npages);
	EXPECT_OWN(SEED);
	EXPECT_CHILD(SEED);
	child_do(&self->child, work_fill, self->map, self->npages, OTHER);
	EXPECT_OWN(SEED);
	EXPECT_CHILD(OTHER);
}

/* Each has a copy that went to the device by itself. */
TEST_F(hmm_fork, both_migrate_their_copies)
{
	child_start(&self->child);
	child_do(&self->child, work_fill, self->map, self->npages, OTHER);
	TAKE();
	EXPECT_EQ(0, child_do(&self->child, work_take, self->map, self->npages, variant->device));
	EXPECT_EQ(2 * self->npages, device_since(self->fd, &self->before).in_use);
	EXPECT_EQ(0, device_writes(self->fd, self->map, 2, SEED));
	EXPECT_CHILD(OTHER);
	EXPECT_OWN(SEED);
}

TEST_F(hmm_fork, child_exits)
{
	TAKE();
	child_start(&self->child);
	child_stop(&self->child);
	self->child.pid = 0;
	EXPECT_ON_DEVICE(self->npages);
	EXPECT_EQ(0, device_writes(self->fd, self->map, self->npages, OTHER));
	EXPECT_OWN(OTHER);
}

TEST_F(hmm_fork, parent_unmaps)
{
	TAKE();
	child_start(&self->child);
	ASSERT_EQ(0, munmap(self->map, self->bytes));
	EXPECT_EQ(self->npages, device_counters(self->fd).in_use - self->before.in_use);
	EXPECT_CHILD(SEED);
	if (variant->device < 2)
		EXPECT_TRUE(device_in_use_is(self->fd, self->before.in_use));
}

TEST_F(hmm_fork, child_unmaps_a_part)
{
	TAKE();
	child_start(&self->child);
	EXPECT_EQ(0, child_do(&self->child, work_unmap, self->map, 10, 0));
	EXPECT_TRUE(device_reads(self->fd, self->map, self->npages, SEED));
	EXPECT_OWN(SEED);
	EXPECT_TRUE(child_do(&self->child, work_check, self->map + 10 * PAGE_BYTES,
			     self->npages - 10, SEED + 10));
}

TEST_F(hmm_fork, many_children)
{
	struct child children[CHILDREN];
	int i;

	TAKE();
	for (i = 0; i < CHILDREN; i++)
		child_start(&children[i]);
	EXPECT_EQ(self->npages, device_since(self->fd, &self->before).in_use);
	for (i = 0; i < CHILDREN; i += 2)
		child_do(&children[i], work_fill, self->map, self->npages, OTHER * (i + 1));
	EXPECT_TRUE(device_reads(self->fd, self->map, self->npages, SEED));
	for (i = 0; i < CHILDREN; i++) {
		EXPECT_TRUE(child_do(&children[i], work_check, self->map, self->npages,
				     i % 2 ? SEED : OTHER * (i + 1)));
		child_stop(&children[i]);
	}
	EXPECT_OWN(SEED);
}

/* A child of a child has the pages that its own parent changed. */
static long work_fork(char *addr, size_t npages, __u64 seed)
{
	struct child child;
	long right;

	pattern_fill(addr, npages / 2, seed);
	child_start(&child);
	pattern_fill(addr, npages / 2, seed + 1);
	right = child_do(&child, work_check, addr, npages / 2, seed);
	child_stop(&child);
	return right && pattern_is(addr, npages / 2, seed + 1);
}

TEST_F(hmm_fork, grandchild)
{
	TAKE();
	child_start(&self->child);
	EXPECT_TRUE(child_do(&self->child, work_fork, self->map, self->npages, OTHER));
	EXPECT_OWN(SEED);
}

/* vfork() copies nothing: the child writes to the parent's memory. */
TEST_F(hmm_fork, vfork)
{
	char first = self->map[0];
	int status = 0;
	pid_t pid;

	self->map[0] = ~first;
	TAKE();
	pid = vfork();
	if (!pid) {
		__atomic_store_n(self->map, first, __ATOMIC_RELAXED);
		_exit(42);
	}
	ASSERT_LT(0, pid);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(42, WEXITSTATUS(status));
	EXPECT_TRUE(device_reads(self->fd, self->map, self->npages, SEED));
	EXPECT_OWN(SEED);
}

TEST_F(hmm_fork, not_for_children)
{
	ASSERT_EQ(0, madvise(self->map, self->bytes, MADV_DONTFORK));
	TAKE();
	child_start(&self->child);
	EXPECT_ON_DEVICE(self->npages);
	EXPECT_EQ(0, device_writes(self->fd, self->map, self->npages, OTHER));
	EXPECT_ON_DEVICE(self->npages);
	EXPECT_OWN(OTHER);
}

/* The child begins with zeros where the parent has device memory. */
static long work_is_zero(char *addr, size_t npages, __u64 unused)
{
	return is_zero(addr, npages);
}

TEST_F(hmm_fork, wiped_for_children)
{
	ASSERT_EQ(0, madvise(self->map, self->bytes, MADV_WIPEONFORK));
	TAKE();
	child_start(&self->child);
	EXPECT_TRUE(child_do(&self->child, work_is_zero, self->map, self->npages, 0));
	EXPECT_ON_DEVICE(self->npages);
	EXPECT_OWN(SEED);
}

/* Threads write while children come and go: no data gets mixed up. */
TEST_F(hmm_fork, while_threads_write)
{
	struct adders adders;
	unsigned long rounds = 0;

	adders_start(&adders, self->map, 8, 100);
	while (adders_run(&adders) || rounds < 2) {
		struct child child;

		device_take(self->fd, self->map, 8);
		child_start(&child);
		device_take(self->fd, self->map, 8);
		EXPECT_TRUE(child_do(&child, work_check, self->map + 8 * PAGE_BYTES,
				     8, SEED + 8));
		child_stop(&child);
		rounds++;
	}
	EXPECT_TRUE(adders_finish(&adders));
	EXPECT_TRUE(pattern_is(self->map + 8 * PAGE_BYTES, self->npages - 8, SEED + 8));
}

TEST_HARNESS_MAIN
