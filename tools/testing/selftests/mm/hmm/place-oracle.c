// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_range_migrate() against an oracle: on the same random layout, built twice,
 * one call must have the result of a device fault that is followed by a
 * migration to the device. Each page must be in the same place with the same
 * access and the same data, and both must succeed, or fail with the same error.
 *
 * Every layout follows from its seed, which a mismatch prints.
 *
 *	HMM_LAYOUTS	layouts (1000, 100 with HMM_QUICK=1, 20 with HMM_QUICK=2)
 *	HMM_SEED	first seed; the others count up from it
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"

#define PAGES		(2 * HUGE_PAGES)
#define BYTES		(PAGES * PAGE_BYTES)
#define MOST_AREA	160
#define TIMEOUT		1800

enum area_kind {
	AREA_UNTOUCHED,
	AREA_WRITTEN,
	AREA_READ,
	AREA_WITH_HOLES,
	AREA_SWAPPED_OUT,
	AREA_ON_DEVICE,
	AREA_ON_OTHER_DEVICE,
	AREA_SHARED_FILE,
	AREA_PRIVATE_FILE,
	AREA_READ_ONLY,
	AREA_NO_ACCESS,
	AREA_UNMAPPED,
	AREA_KINDS,
};

struct rng {
	__u64 state;
};

static size_t below(struct rng *rng, size_t n)
{
	__u64 z = rng->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) % n;
}

static bool one_in(struct rng *rng, size_t n)
{
	return !below(rng, n);
}

/* One of two address ranges with the same layout */
struct side {
	int fd;
	int other;
	char *map;
	struct answer answer;
	unsigned char look[PAGES];
};

FIXTURE(hmm_place_oracle)
{
	struct side call;	/* where one call does it */
	struct side steps;	/* where a fault and a migration do */
	struct swap swap;
};

static bool side_open(struct side *side)
{
	const char *reason;

	side->fd = device_open(0, &reason);
	side->other = device_open(1, &reason);
	side->map = map_anon(BYTES);
	return side->fd >= 0 && side->other >= 0 &&
	       device_ask(side->fd, HMM_DMIRROR_PLACE, NULL, NULL, 1).rc == -EFAULT;
}

static void side_close(struct side *side)
{
	munmap(side->map, BYTES);
	close(side->other);
	close(side->fd);
}

FIXTURE_SETUP(hmm_place_oracle)
{
	self->swap.disk = -1;
	if (!side_open(&self->call) || !side_open(&self->steps))
		SKIP(return, "no device that places memory");
	if (!swap_start(&self->swap, 8 * BYTES))
		SKIP(return, "no swap");
}

FIXTURE_TEARDOWN(hmm_place_oracle)
{
	side_close(&self->steps);
	side_close(&self->call);
	swap_stop(&self->swap);
}

static void map_file(char *start, size_t npages, int flags)
{
	int file = memory_file(npages * PAGE_BYTES);

	map_at(start, npages * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file);
	pattern_fill(start, npages / 2 + 1, npages);
	map_at(start, npages * PAGE_BYTES, PROT_READ | PROT_WRITE, flags | MAP_FIXED, file);
	close(file);
}

/* Some pages of an area */
static void for_some(struct rng *rng, char *start, size_t npages,
		     void (*change)(struct side *side, char *page), struct side *side)
{
	size_t i;

	for (i = 0; i < npages; i++)
		if (one_in(rng, 3))
			change(side, start + i * PAGE_BYTES);
}

static void drop(struct side *side, char *page)
{
	madvise(page, PAGE_BYTES, MADV_DONTNEED);
}

static void page_out(struct side *side, char *page)
{
	madvise(page, PAGE_BYTES, MADV_PAGEOUT);
}

static void write_one(struct side *side, char *page)
{
	pattern_fill(page, 1, 77);
}

static void take(struct side *side, char *page)
{
	device_take(side->fd, page, 1);
}

static void take_other(struct side *side, char *page)
{
	device_take(side->other, page, 1);
}

static void build_area(struct side *side, struct rng *rng, char *start,
		       size_t npages, enum area_kind kind)
{
	size_t bytes = npages * PAGE_BYTES;

	switch (kind) {
	case AREA_READ:
		read_pages(start, npages);
		return;
	case AREA_SHARED_FILE:
		map_file(start, npages, MAP_SHARED);
		return;
	case AREA_PRIVATE_FILE:
		map_file(start, npages, MAP_PRIVATE);
		for_some(rng, start, npages, write_one, side);
		return;
	case AREA_UNTOUCHED:
		return;
	default:
		pattern_fill(start, npages, npages);
	}
	switch (kind) {
	case AREA_WITH_HOLES:
		for_some(rng, start, npages, drop, side);
		break;
	case AREA_SWAPPED_OUT:
		for_some(rng, start, npages, page_out, side);
		break;
	case AREA_ON_DEVICE:
		for_some(rng, start, npages, take, side);
		break;
	case AREA_ON_OTHER_DEVICE:
		for_some(rng, start, npages, take_other, side);
		break;
	case AREA_READ_ONLY:
		mprotect(start, bytes, PROT_READ);
		break;
	case AREA_NO_ACCESS:
		mprotect(start, bytes, PROT_NONE);
		break;
	case AREA_UNMAPPED:
		munmap(start, bytes);
		break;
	default:
		break;
	}
}

/* The same for each side with the same seed */
static void build(struct side *side, __u64 seed)
{
	struct rng rng = { seed };
	size_t first, npages;
	bool huge;

	map_at(side->map, BYTES, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	huge = one_in(&rng, 2);
	madvise(side->map, BYTES, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (first = 0; first < PAGES; first += npages) {
		enum area_kind kind = below(&rng, AREA_KINDS);

		npages = 1 + below(&rng, MOST_AREA);
		if (huge && one_in(&rng, 3))
			npages = HUGE_PAGES;
		if (npages > PAGES - first)
			npages = PAGES - first;
		/* These end a call: few are to. */
		if (kind >= AREA_READ_ONLY && !one_in(&rng, 4))
			kind = AREA_WRITTEN;
		build_area(side, &rng, side->map + first * PAGE_BYTES, npages, kind);
	}
}

static void in_one_call(struct side *side, char *start, size_t npages, unsigned int flags)
{
	struct hmm_dmirror_place place = { .flags = flags };

	side->answer = device_ask(side->fd, HMM_DMIRROR_PLACE, start, &place, npages);
}

/*
 * The fault may leave pages where they are on an error; the migration comes in
 * any case, so that only errors of the fault are compared.
 */
static void in_steps(struct side *side, char *start, size_t npages, bool write)
{
	void *data = buffer_of(npages * PAGE_BYTES);

	/* What is written is what was there. */
	side->answer = device_ask(side->fd, HMM_DMIRROR_READ, start, data, npages);
	if (!side->answer.rc && write)
		side->answer = device_ask(side->fd, HMM_DMIRROR_WRITE, start, data, npages);
	if (!side->answer.rc)
		device_take(side->fd, start, npages);
	free(data);
}

static bool same_page(struct side *call, struct side *steps, size_t i, unsigned char mask)
{
	size_t at = i * PAGE_BYTES;

	if ((call->look[i] & mask) != (steps->look[i] & mask)) {
		printf("# page %zu: %#x, and in steps %#x\n", i, call->look[i], steps->look[i]);
		return false;
	}
	if (!(call->look[i] & ACCESS_MASK) || call->look[i] == HMM_DMIRROR_PROT_ERROR)
		return true;
	if (!memcmp(call->map + at, steps->map + at, PAGE_BYTES))
		return true;
	printf("# page %zu: other data\n", i);
	return false;
}

static bool same_result(struct side *call, struct side *steps, size_t first, size_t npages)
{
	/* Steps may have to split what one call keeps whole. */
	unsigned char mask = ~(HMM_DMIRROR_PROT_PMD | HMM_DMIRROR_PROT_PUD);
	size_t i;

	if (call->answer.rc != steps->answer.rc) {
		printf("# %d, and in steps %d\n", call->answer.rc, steps->answer.rc);
		return false;
	}
	if (call->answer.rc)
		return true;
	device_look(call->fd, call->map, PAGES, call->look);
	device_look(steps->fd, steps->map, PAGES, steps->look);
	for (i = first; i < first + npages; i++)
		if (!same_page(call, steps, i, mask))
			return false;
	return true;
}

/* All of the range may be used without another fault. */
static bool needs_no_fault(struct side *side, size_t first, size_t npages)
{
	return side->answer.rc ||
	       !device_faults(side->fd, side->map + first * PAGE_BYTES, npages);
}

static bool check_layout(struct side *call, struct side *steps, __u64 seed)
{
	struct rng rng = { ~seed };
	size_t first = below(&rng, PAGES), npages = 1 + below(&rng, PAGES - first);
	unsigned int flags = below(&rng, HMM_DMIRROR_PLACE_FLAGS + 1);

	build(call, seed);
	build(steps, seed);
	in_one_call(call, call->map + first * PAGE_BYTES, npages, flags);
	in_steps(steps, steps->map + first * PAGE_BYTES, npages,
		 flags & HMM_DMIRROR_PLACE_WRITE);
	return needs_no_fault(call, first, npages) && same_result(call, steps, first, npages);
}

TEST_F_TIMEOUT(hmm_place_oracle, layouts, TIMEOUT)
{
	static const unsigned long layouts[] = { 1000, 100, 20 };
	unsigned long n = from_environment("HMM_LAYOUTS", layouts[how_brief()]);
	unsigned long seed = from_environment("HMM_SEED", 1), i, without_error = 0;

	for (i = 0; i < n; i++) {
		ASSERT_TRUE(check_layout(&self->call, &self->steps, seed + i)) {
			TH_LOG("run it alone by HMM_LAYOUTS=1 HMM_SEED=%lu", seed + i);
		}
		without_error += !self->call.answer.rc;
	}
	TH_LOG("%lu of %lu layouts without an error", without_error, n);
	if (n > 1)
		EXPECT_GT(without_error, n / 4);
}

TEST_HARNESS_MAIN
