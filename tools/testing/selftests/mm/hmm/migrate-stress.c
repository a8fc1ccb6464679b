// SPDX-License-Identifier: GPL-2.0
/*
 * Folios of each size migrate to a device and back without pause, while other mm
 * operations run on them. The data is checked byte by byte.
 *
 *	HMM_QUICK	1 leaves out some of the sizes, and most of the rounds
 *	HMM_ROUNDS	how many rounds (3, or 1 in short form)
 *
 * Break it anywhere in mm/hmm/migrate*.c where an entry is made or replaced.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/group.h"
#include "lib/move.h"

#define N		HUGE_PAGES
#define BYTES		HUGE_BYTES
#define TIMEOUT		600
#define ADDED		4	/* by each thread to each page */

/**
 * struct turmoil - a round
 * @fd: the device
 * @map: N pages, of folios of one size, with the pattern of @seed
 * @spare: address space for as many
 * @seed: differs in each round
 * @mover: moves what is at @map and at @spare
 * @stop: until this is set
 * @trips: how often it has done so
 */
struct turmoil {
	int fd;
	char *map;
	char *spare;
	__u64 seed;
	struct worker mover;
	int stop;
	unsigned long trips;
};

/* Pages that are not there cannot be moved, which is fine. */
static void move_about(void *arg)
{
	struct turmoil *turmoil = arg;

	do {
		device_take(turmoil->fd, turmoil->map, N);
		if (turmoil->spare)
			device_take(turmoil->fd, turmoil->spare, N);
		if (turmoil->trips % 4 == 3)
			device_evict(turmoil->fd);
		else
			device_give_back(turmoil->fd, turmoil->map, N);
		__atomic_fetch_add(&turmoil->trips, 1, __ATOMIC_SEQ_CST);
	} while (!__atomic_load_n(&turmoil->stop, __ATOMIC_SEQ_CST));
}

static bool is_quick(void)
{
	return how_brief();
}

/* The mover has been everywhere since this was called; in short form, nearly. */
static void let_move(struct turmoil *turmoil)
{
	unsigned long *trips = &turmoil->trips, until = is_quick() ? 1 : 2;

	until += __atomic_load_n(trips, __ATOMIC_SEQ_CST);

	while (__atomic_load_n(trips, __ATOMIC_SEQ_CST) < until)
		sched_yield();
}

static bool is_right(struct turmoil *turmoil, size_t first, size_t npages)
{
	return pattern_is(turmoil->map + first * PAGE_BYTES, npages,
			  turmoil->seed + first);
}

static void fill(struct turmoil *turmoil, size_t first, size_t npages)
{
	pattern_fill(turmoil->map + first * PAGE_BYTES, npages,
		     turmoil->seed + first);
}

typedef bool (*disturb_t)(struct turmoil *turmoil);

static bool run_round(struct turmoil *turmoil, const char *size,
		      disturb_t disturb)
{
	bool right;

	turmoil->map = map_folios(size, BYTES, 1);
	if (!turmoil->map)
		fatal("no folios of %s any more", size);
	fill(turmoil, 0, N);
	turmoil->stop = 0;
	worker_start(&turmoil->mover, move_about, turmoil);
	let_move(turmoil);
	right = disturb(turmoil);
	__atomic_store_n(&turmoil->stop, 1, __ATOMIC_SEQ_CST);
	worker_join(&turmoil->mover);
	right &= is_right(turmoil, 0, N);
	munmap(turmoil->map, BYTES);
	return right;
}

static bool run_rounds(struct turmoil *turmoil, const char *size,
		       disturb_t disturb)
{
	unsigned long round, rounds;

	rounds = from_environment("HMM_ROUNDS", is_quick() ? 1 : 3);
	for (round = 1; round <= rounds; round++) {
		turmoil->seed = round * 0x100000;
		if (!run_round(turmoil, size, disturb)) {
			printf("# in round %lu\n", round);
			return false;
		}
	}
	return true;
}

FIXTURE(migrate_stress)
{
	struct turmoil turmoil;
	struct hmm_dmirror_counters before;
	struct swap swap;
	struct group group;
};

FIXTURE_VARIANT(migrate_stress)
{
	const char *size;
	unsigned int device;
	bool slow;
};

FIXTURE_VARIANT_ADD(migrate_stress, 4k) { .size = "4kB", .slow = true };
FIXTURE_VARIANT_ADD(migrate_stress, 16k) { .size = "16kB", .slow = true };
FIXTURE_VARIANT_ADD(migrate_stress, 64k) { .size = "64kB" };
FIXTURE_VARIANT_ADD(migrate_stress, 1m) { .size = "1024kB", .slow = true };
FIXTURE_VARIANT_ADD(migrate_stress, 2m) { .size = "2048kB" };
FIXTURE_VARIANT_ADD(migrate_stress, coherent)
{
	.size = "64kB",
	.device = 2,
	.slow = true,
};

FIXTURE_SETUP(migrate_stress)
{
	const char *reason;
	char *map;

	self->swap.disk = -1;
	if (variant->slow && is_quick())
		SKIP(return, "left to the long form");
	self->turmoil.fd = device_open(variant->device, &reason);
	if (self->turmoil.fd < 0)
		SKIP(return, "%s", reason);
	map = map_folios(variant->size, BYTES, 1);
	if (!map)
		SKIP(return, "no folios of this size");
	munmap(map, BYTES);
	self->before = device_counters(self->turmoil.fd);
}

FIXTURE_TEARDOWN(migrate_stress)
{
	EXPECT_TRUE(device_in_use_is(self->turmoil.fd, self->before.in_use));
	swap_stop(&self->swap);
	close(self->turmoil.fd);
}

#define EXPECT_SURVIVES(disturb)					\
	EXPECT_TRUE(run_rounds(&self->turmoil, variant->size, disturb))

/* The child keeps its data, wherever the page is and whatever is written. */
static bool fork_off_and_write(struct turmoil *turmoil)
{
	struct turmoil old = *turmoil;
	struct child child;
	bool right;

	child_start(&child);
	turmoil->seed += 0x10000;
	fill(turmoil, 0, N / 2);
	let_move(turmoil);
	right = child_do(&child, work_check, turmoil->map, N, old.seed);
	right &= is_right(turmoil, 0, N / 2) && is_right(&old, N / 2, N / 2);
	child_do(&child, work_fill, turmoil->map, N / 4, 1);
	fill(turmoil, N / 2, N / 2);
	right &= child_do(&child, work_check, turmoil->map, N / 4, 1);
	child_stop(&child);
	return right;
}

TEST_F_TIMEOUT(migrate_stress, fork, TIMEOUT)
{
	EXPECT_SURVIVES(fork_off_and_write);
}

/* The first word of each page counts, the others stay. */
static bool count_up(struct turmoil *turmoil)
{
	static __u64 page[PAGE_BYTES / sizeof(__u64)];
	struct adders adders;
	bool right;
	size_t i;

	adders_start(&adders, turmoil->map, N, ADDED);
	right = adders_finish(&adders);
	for (i = 0; i < N; i++) {
		pattern_fill(page, 1, turmoil->seed + i);
		*(__u64 *)(turmoil->map + i * PAGE_BYTES) = page[0];
	}
	return right;
}

TEST_F_TIMEOUT(migrate_stress, faults, TIMEOUT)
{
	EXPECT_SURVIVES(count_up);
}

struct part {
	size_t first;
	size_t npages;
};

static const struct part parts[] = {
	{ 5, 7 }, { N / 2, N / 2 }, { 64, 16 }, { 100, 200 }, { 0, N },
};

static size_t nr_parts(void)
{
	return is_quick() ? 2 : ARRAY_SIZE(parts);
}

/* All that is left is what was not unmapped. */
static bool unmap_part(struct turmoil *turmoil, const struct part *part)
{
	size_t behind = part->first + part->npages;
	char *at = turmoil->map + part->first * PAGE_BYTES;

	map_at(at, part->npages * PAGE_BYTES, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	let_move(turmoil);
	if (!is_zero(at, part->npages) ||
	    !is_right(turmoil, 0, part->first) ||
	    !is_right(turmoil, behind, N - behind))
		return false;
	fill(turmoil, part->first, part->npages);
	return true;
}

static bool unmap_parts(struct turmoil *turmoil)
{
	size_t i;

	for (i = 0; i < nr_parts(); i++)
		if (!unmap_part(turmoil, &parts[i]))
			return false;
	return true;
}

TEST_F_TIMEOUT(migrate_stress, munmap, TIMEOUT)
{
	EXPECT_SURVIVES(unmap_parts);
}

static void move_part(char *from, char *to, const struct part *part)
{
	size_t bytes = part->npages * PAGE_BYTES;
	size_t first = part->first * PAGE_BYTES;

	if (mremap(from + first, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
		   to + first) == MAP_FAILED)
		fatal("mremap: %s", strerror(errno));
}

static bool move_parts(struct turmoil *turmoil)
{
	bool right = true;
	size_t i;

	for (i = 0; i < nr_parts() && right; i++) {
		const struct part *part = &parts[i];
		size_t behind = part->first + part->npages;

		move_part(turmoil->map, turmoil->spare, part);
		let_move(turmoil);
		right = pattern_is(turmoil->spare + part->first * PAGE_BYTES,
				   part->npages, turmoil->seed + part->first) &&
			is_right(turmoil, 0, part->first) &&
			is_right(turmoil, behind, N - behind);
		move_part(turmoil->spare, turmoil->map, part);
		/* Keep the address range: nothing else may be mapped there. */
		map_at(turmoil->spare, BYTES, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	}
	return right;
}

TEST_F_TIMEOUT(migrate_stress, mremap, TIMEOUT)
{
	self->turmoil.spare = map_anon(BYTES);
	EXPECT_SURVIVES(move_parts);
	munmap(self->turmoil.spare, BYTES);
}

static bool protect_parts(struct turmoil *turmoil)
{
	static const int protections[] = { PROT_READ, PROT_NONE };
	size_t i;

	for (i = 0; i < 2 * nr_parts(); i++) {
		const struct part *part = &parts[i / 2];
		char *at = turmoil->map + part->first * PAGE_BYTES;
		size_t bytes = part->npages * PAGE_BYTES;

		if (mprotect(at, bytes, protections[i % 2]))
			fatal("mprotect: %s", strerror(errno));
		let_move(turmoil);
		if (mprotect(at, bytes, PROT_READ | PROT_WRITE))
			fatal("mprotect: %s", strerror(errno));
		if (!is_right(turmoil, 0, N))
			return false;
		pattern_fill(at, part->npages, i);
		if (!pattern_is(at, part->npages, i))
			return false;
		fill(turmoil, part->first, part->npages);
	}
	return true;
}

TEST_F_TIMEOUT(migrate_stress, mprotect, TIMEOUT)
{
	EXPECT_SURVIVES(protect_parts);
}

static bool page_out(struct turmoil *turmoil)
{
	int i;

	for (i = 0; i < (is_quick() ? 1 : 4); i++) {
		if (madvise(turmoil->map, BYTES, MADV_PAGEOUT))
			fatal("MADV_PAGEOUT: %s", strerror(errno));
		let_move(turmoil);
		if (!is_right(turmoil, 0, N))
			return false;
		fill(turmoil, 0, N);
	}
	return true;
}

TEST_F_TIMEOUT(migrate_stress, reclaim, TIMEOUT)
{
	if (!swap_start(&self->swap, 8 * BYTES))
		SKIP(return, "no zram");
	EXPECT_SURVIVES(page_out);
}

static bool compact(struct turmoil *turmoil)
{
	int i;

	for (i = 0; i < (is_quick() ? 1 : 2); i++) {
		group_write("/proc/sys/vm", "compact_memory", "1");
		let_move(turmoil);
		if (!is_right(turmoil, 0, N))
			return false;
	}
	return true;
}

TEST_F_TIMEOUT(migrate_stress, compaction, TIMEOUT)
{
	if (access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "no compaction");
	EXPECT_SURVIVES(compact);
}

/* Twice what the process may have in memory */
#define HOG_BYTES	(4 * BYTES)

static bool press(struct turmoil *turmoil)
{
	char *hog = map_anon_small(HOG_BYTES);
	bool right;

	pattern_fill(hog, HOG_BYTES / PAGE_BYTES, 1);
	let_move(turmoil);
	right = is_right(turmoil, 0, N) &&
		pattern_is(hog, HOG_BYTES / PAGE_BYTES, 1);
	munmap(hog, HOG_BYTES);
	return right;
}

/* All that this process gets from now on: the folios twice, and a bit */
static bool limit_memory(struct group *group)
{
	char pid[16], limit[32];

	if (!group_make(group))
		return false;
	snprintf(pid, sizeof(pid), "%d", getpid());
	snprintf(limit, sizeof(limit), "%lu", 2 * BYTES + (4UL << 20));
	return group_write(group->path, "memory.max", limit) &&
	       group_write(group->path, "cgroup.procs", pid);
}

TEST_F_TIMEOUT(migrate_stress, pressure, TIMEOUT)
{
	if (!swap_start(&self->swap, 4 * HOG_BYTES))
		SKIP(return, "no zram");
	if (!limit_memory(&self->group))
		SKIP(return, "no memory cgroups");
	EXPECT_SURVIVES(press);
	EXPECT_TRUE(group_write(self->group.mount, "cgroup.procs", "0"));
	group_remove(&self->group);
	group_unmount(&self->group);
}

TEST_HARNESS_MAIN
