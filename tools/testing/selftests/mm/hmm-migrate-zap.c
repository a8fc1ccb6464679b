// SPDX-License-Identifier: GPL-2.0
/*
 * Memory goes away while it migrates: the migration is stopped between two steps,
 * and meanwhile its entries are zapped. What it finds then is not mapped any
 * more, and must be freed once.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "hmm_move.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open		434
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease	448
#endif

#define SEED		0x3000UL
#define WHOLE		(HMM_MOVE_COMPOUND | HMM_MOVE_FOLIOS)
#define TO_DEVICE	(HMM_MOVE_TO_DEVICE | HMM_MOVE_HINT | WHOLE)

FIXTURE(zap)
{
	int probe;
	int fd;
	struct held held;
};

FIXTURE_VARIANT(zap)
{
	__u64 flags;
	bool huge;
	bool split;	/* its destinations are small pages */
};

FIXTURE_VARIANT_ADD(zap, to_device_ptes_unmapped)
{
	.flags = TO_DEVICE | HMM_MOVE_STAY_UNMAPPED,
};

FIXTURE_VARIANT_ADD(zap, to_device_ptes_moved)
{
	.flags = TO_DEVICE | HMM_MOVE_STAY_MOVED,
};

FIXTURE_VARIANT_ADD(zap, to_device_pmd_unmapped)
{
	.flags = TO_DEVICE | HMM_MOVE_STAY_UNMAPPED,
	.huge = true,
};

FIXTURE_VARIANT_ADD(zap, to_device_pmd_moved)
{
	.flags = TO_DEVICE | HMM_MOVE_STAY_MOVED,
	.huge = true,
};

FIXTURE_VARIANT_ADD(zap, to_system_ptes_unmapped)
{
	.flags = WHOLE | HMM_MOVE_STAY_UNMAPPED,
};

FIXTURE_VARIANT_ADD(zap, to_system_ptes_moved)
{
	.flags = WHOLE | HMM_MOVE_STAY_MOVED,
};

FIXTURE_VARIANT_ADD(zap, to_system_pmd_unmapped)
{
	.flags = WHOLE | HMM_MOVE_STAY_UNMAPPED,
	.huge = true,
};

FIXTURE_VARIANT_ADD(zap, to_system_pmd_moved)
{
	.flags = WHOLE | HMM_MOVE_STAY_MOVED,
	.huge = true,
};

FIXTURE_VARIANT_ADD(zap, evict_ptes_unmapped)
{
	.flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_UNMAPPED,
};

FIXTURE_VARIANT_ADD(zap, evict_ptes_moved)
{
	.flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED,
};

FIXTURE_VARIANT_ADD(zap, evict_pmd_unmapped)
{
	.flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_UNMAPPED,
	.huge = true,
};

FIXTURE_VARIANT_ADD(zap, evict_pmd_moved)
{
	.flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED,
	.huge = true,
};

/* Each of the small pages has to find its mapping, or that there is none. */
FIXTURE_VARIANT_ADD(zap, evict_split_unmapped)
{
	.flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_UNMAPPED,
	.huge = true,
	.split = true,
};

FIXTURE_VARIANT_ADD(zap, evict_split_moved)
{
	.flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED,
	.huge = true,
	.split = true,
};

FIXTURE_SETUP(zap)
{
	self->probe = probe_open();
	self->fd = move_open();
	if (self->probe < 0 || self->fd < 0)
		SKIP(return, "no /dev/hmm_probe_move");
	move_serve(self->fd, HUGE_PAGES, WHOLE, 0);
	ASSERT_TRUE(move_in_use_is(self->fd, 0));
}

FIXTURE_TEARDOWN(zap)
{
	EXPECT_TRUE(move_in_use_is(self->fd, 0));
	EXPECT_EQ(0, move_served(self->fd).freed_locked);
	close(self->fd);
	close(self->probe);
}

static size_t zap_pages(const struct _fixture_variant_zap *variant)
{
	return variant->huge ? HUGE_PAGES : 1;
}

/* With a pattern, where the migration begins; NULL without huge pages */
static char *zap_map(int probe, int fd, const struct _fixture_variant_zap *variant)
{
	size_t npages = zap_pages(variant);
	char *map = variant->huge ? map_thp(probe, HUGE_BYTES) :
				    map_anon_small(HUGE_BYTES);

	if (!map)
		return NULL;
	pattern_fill(map, npages, SEED);
	if (variant->flags & HMM_MOVE_TO_DEVICE)
		return map;
	if (move_to_device(fd, map, npages).moved != npages)
		fatal("nothing has moved to the device");
	return map;
}

/* The migration of what is at @addr, or has this pfn. Returns when it stays. */
static void zap_start(struct _test_data_zap *self,
		      const struct _fixture_variant_zap *variant, __u64 addr)
{
	self->held.fd = self->fd;
	self->held.move = (struct hmm_move) {
		.addr = addr,
		.npages = zap_pages(variant),
		.flags = variant->flags,
		.order = variant->split ? 0 : HUGE_ORDER,
	};
	held_start(&self->held);
}

static void zap_start_own(struct _test_data_zap *self,
			  const struct _fixture_variant_zap *variant, char *map)
{
	zap_start(self, variant,
		  variant->flags & HMM_MOVE_BY_PFN ? pfn_at(self->probe, map) :
						     (uintptr_t)map);
}

TEST_F(zap, dontneed)
{
	size_t npages = zap_pages(variant);
	char *map = zap_map(self->probe, self->fd, variant);

	if (!map)
		SKIP(return, "no huge page");
	zap_start_own(self, variant, map);
	EXPECT_EQ(0, madvise(map, npages * PAGE_BYTES, MADV_DONTNEED));
	held_finish(&self->held);

	EXPECT_EQ(npages, self->held.move.offered);
	EXPECT_TRUE(is_zero(map, npages));
	pattern_fill(map, npages, SEED + 1);
	EXPECT_TRUE(pattern_is(map, npages, SEED + 1));
	munmap(map, HUGE_BYTES);
}

/* Half of a huge page's entry goes; the other half keeps its data. */
TEST_F(zap, dontneed_half)
{
	size_t half = HUGE_PAGES / 2;
	char *map;

	if (!variant->huge)
		SKIP(return, "of huge pages");
	map = zap_map(self->probe, self->fd, variant);
	if (!map)
		SKIP(return, "no huge page");
	zap_start_own(self, variant, map);
	EXPECT_EQ(0, madvise(map, half * PAGE_BYTES, MADV_DONTNEED));
	held_finish(&self->held);

	EXPECT_TRUE(is_zero(map, half));
	EXPECT_TRUE(pattern_is(map + half * PAGE_BYTES, half, SEED + half));
	munmap(map, HUGE_BYTES);
}

/* By address, mmap_lock is held meanwhile. */

TEST_F(zap, munmap)
{
	char *map;

	if (!(variant->flags & HMM_MOVE_BY_PFN))
		SKIP(return, "of evictions");
	map = zap_map(self->probe, self->fd, variant);
	if (!map)
		SKIP(return, "no huge page");
	zap_start_own(self, variant, map);
	EXPECT_EQ(0, munmap(map, HUGE_BYTES));
	held_finish(&self->held);
	EXPECT_EQ(zap_pages(variant), self->held.move.offered);
}

/* Another process has memory on the device. Returns its pfn, or 0. */
static long work_zap_map(char *addr, size_t npages, __u64 variant)
{
	int probe = probe_open();
	char *map = zap_map(probe, move_open(),
			    (const struct _fixture_variant_zap *)(uintptr_t)variant);

	return map ? pfn_at(probe, map) : 0;
}

static bool zap_start_childs(struct _test_data_zap *self,
			     const struct _fixture_variant_zap *variant,
			     struct child *child)
{
	long pfn;

	child_start(child);
	pfn = child_do(child, work_zap_map, NULL, 0, (uintptr_t)variant);
	if (pfn)
		zap_start(self, variant, pfn);
	else
		child_stop(child);
	return pfn;
}

/* What the process had is freed by then: for KASAN, its anon_vma (D14). */
static void wait_for_rcu(void)
{
	int i;

	for (i = 0; i < 2; i++)
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0);
	usleep(100000);
}

TEST_F(zap, exit)
{
	struct child child;

	if (!(variant->flags & HMM_MOVE_BY_PFN))
		SKIP(return, "of evictions");
	if (!zap_start_childs(self, variant, &child))
		SKIP(return, "no huge page");
	child_stop(&child);
	wait_for_rcu();
	held_finish(&self->held);
	EXPECT_EQ(zap_pages(variant), self->held.move.offered);
}

/* As the OOM reaper does, before the process exits */
TEST_F(zap, mrelease)
{
	struct child child;
	int pidfd;

	if (!(variant->flags & HMM_MOVE_BY_PFN))
		SKIP(return, "of evictions");
	if (!zap_start_childs(self, variant, &child))
		SKIP(return, "no huge page");
	pidfd = syscall(SYS_pidfd_open, child.pid, 0);
	ASSERT_LE(0, pidfd);
	ASSERT_EQ(0, kill(child.pid, SIGKILL));
	/* If it has exited by now, that is what exit tests. */
	if (syscall(SYS_process_mrelease, pidfd, 0))
		EXPECT_EQ(ESRCH, errno);
	child_kill(&child);
	close(pidfd);
	held_finish(&self->held);
	EXPECT_EQ(zap_pages(variant), self->held.move.offered);
}

TEST_HARNESS_MAIN
