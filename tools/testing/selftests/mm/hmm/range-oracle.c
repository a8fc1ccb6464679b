// SPDX-License-Identifier: GPL-2.0
/*
 * Random layouts against the oracle, a naive walker in the probe module.
 *
 * A layout is a few MiB of random mappings with random contents, some of it on
 * a device. Then, a few times over, a random part of it is checked: a snapshot
 * against the oracle, a call with random requests against its contract, and a
 * snapshot again.
 *
 * Every layout follows from its seed. A mismatch prints the seed, how to run
 * that layout alone, the layout, the page and both values.
 *
 *	HMM_LAYOUTS	layouts for each form of the call (2000, 200 with
 *			HMM_QUICK=1, 20 with HMM_QUICK=2)
 *	HMM_SEED	first seed; the others count up from it
 *	HMM_VERBOSE	print every layout
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <lib/test_hmm_uapi.h>

#include "kselftest_harness.h"
#include "lib/common.h"

#define ARENA_PAGES	(4 * HUGE_PAGES)
#define ARENA_BYTES	(ARENA_PAGES * PAGE_BYTES)
#define HUGETLB_PAGES	8
#define SWAP_BYTES	(8 * ARENA_BYTES)
#define ROUNDS		4		/* checks of one layout */
#define TIMEOUT		3000		/* seconds for one form of the call */

#define SHMEM_64K	"/sys/kernel/mm/transparent_hugepage/" \
			"hugepages-64kB/shmem_enabled"
#define ANON_64K	"/sys/kernel/mm/transparent_hugepage/" \
			"hugepages-64kB/enabled"
/* khugepaged fills holes on its own: no call could be blamed for that. */
#define COLLAPSE	"/sys/kernel/mm/transparent_hugepage/" \
			"khugepaged/max_ptes_none"

/* Random numbers that are the same everywhere */

struct rng {
	__u64 state;
};

static __u64 rng_next(struct rng *rng)
{
	__u64 z = rng->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static size_t below(struct rng *rng, size_t n)
{
	return rng_next(rng) % n;
}

static bool one_in(struct rng *rng, size_t n)
{
	return !below(rng, n);
}

/* The layout */

enum area_kind {
	AREA_HOLE,
	AREA_ANON,
	AREA_SMALL,
	AREA_HUGE,
	AREA_SHARED,
	AREA_FILE_SHARED,
	AREA_FILE_PRIVATE,
	AREA_FILE_READ_ONLY,
	AREA_HUGETLB,
	AREA_NO_ACCESS,
	AREA_MIXED,
	AREA_PFNMAP,
	AREA_SPECIAL_HUGE,
	AREA_KINDS,
};

static const char * const area_names[] = {
	[AREA_HOLE] = "hole",
	[AREA_ANON] = "anonymous",
	[AREA_SMALL] = "anonymous, small pages",
	[AREA_HUGE] = "anonymous, huge pages",
	[AREA_SHARED] = "shared anonymous",
	[AREA_FILE_SHARED] = "shared file",
	[AREA_FILE_PRIVATE] = "private file",
	[AREA_FILE_READ_ONLY] = "read-only file",
	[AREA_HUGETLB] = "hugetlb",
	[AREA_NO_ACCESS] = "no access",
	[AREA_MIXED] = "special pages",
	[AREA_PFNMAP] = "pfn mapping",
	[AREA_SPECIAL_HUGE] = "special huge pages",
};

struct lab {
	int fd;
	int mirror[2];
	bool hugetlb;
	struct swap swap;
	__u64 form;		/* HMM_PROBE_UNLOCKED or 0 */
	bool knows_sparse;	/* and, if asked, the order of large folios */
	char *arena;
	__u64 *slots;
	struct setting settings[3];

	/* one layout */
	struct rng rng;
	__u64 seed;
	int prot[ARENA_PAGES];
	struct keeper keeper;
	bool forked;
	char log[16384];
	size_t log_used;
};

static void __printf(2, 3) note(struct lab *lab, const char *format, ...)
{
	size_t room = sizeof(lab->log) - lab->log_used;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(lab->log + lab->log_used, room, format, args);
	va_end(args);
	if (n > 0 && (size_t)n < room)
		lab->log_used += n;
}

static char *page_at(struct lab *lab, size_t page)
{
	return lab->arena + page * PAGE_BYTES;
}

static void set_prot(struct lab *lab, size_t at, size_t n, int prot)
{
	while (n--)
		lab->prot[at++] = prot;
}

static void map_area(struct lab *lab, size_t at, size_t n, int prot, int flags,
		     int fd, off_t offset)
{
	void *map = mmap(page_at(lab, at), n * PAGE_BYTES, prot,
			 flags | MAP_FIXED, fd, offset);

	if (map == MAP_FAILED)
		fatal("mmap: %s", strerror(errno));
	set_prot(lab, at, n, prot);
}

static void map_file(struct lab *lab, size_t at, size_t n, int prot, int flags)
{
	int file = memory_file(n * PAGE_BYTES);

	/* Some pages are in the page cache before they are mapped. */
	if (pwrite(file, "x", 1, below(&lab->rng, n) * PAGE_BYTES) != 1)
		fatal("write to a file: %s", strerror(errno));
	map_area(lab, at, n, prot, flags, file, 0);
	close(file);
}

static void map_special(struct lab *lab, size_t at, size_t n, int which)
{
	map_area(lab, at, n, PROT_READ | PROT_WRITE, MAP_SHARED, lab->fd,
		 (off_t)which << HMM_PROBE_MAP_SHIFT);
}

static void make_area(struct lab *lab, size_t at, size_t n,
		      enum area_kind kind)
{
	int rw = PROT_READ | PROT_WRITE;
	int anon = MAP_PRIVATE | MAP_ANONYMOUS;
	char *map = page_at(lab, at);

	note(lab, "#   [%zu, %zu) %s\n", at, at + n, area_names[kind]);
	switch (kind) {
	case AREA_HOLE:
		munmap(map, n * PAGE_BYTES);
		set_prot(lab, at, n, PROT_NONE);
		break;
	case AREA_ANON:
		map_area(lab, at, n, rw, anon, -1, 0);
		break;
	case AREA_SMALL:
		map_area(lab, at, n, rw, anon, -1, 0);
		madvise(map, n * PAGE_BYTES, MADV_NOHUGEPAGE);
		break;
	case AREA_HUGE:
		map_area(lab, at, n, rw, anon, -1, 0);
		madvise(map, n * PAGE_BYTES, MADV_HUGEPAGE);
		break;
	case AREA_SHARED:
		map_area(lab, at, n, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		break;
	case AREA_FILE_SHARED:
		map_file(lab, at, n, rw, MAP_SHARED);
		break;
	case AREA_FILE_PRIVATE:
		map_file(lab, at, n, rw, MAP_PRIVATE);
		break;
	case AREA_FILE_READ_ONLY:
		map_file(lab, at, n, PROT_READ, MAP_PRIVATE);
		break;
	case AREA_HUGETLB:
		map_area(lab, at, n, rw, anon | MAP_HUGETLB, -1, 0);
		break;
	case AREA_NO_ACCESS:
		map_area(lab, at, n, PROT_NONE, anon, -1, 0);
		break;
	case AREA_MIXED:
		map_special(lab, at, n, HMM_PROBE_MAP_MIXED);
		break;
	case AREA_PFNMAP:
		map_special(lab, at, n, HMM_PROBE_MAP_PFNMAP);
		break;
	default:
		map_special(lab, at, n, HMM_PROBE_MAP_HUGE);
		break;
	}
}

static bool needs_huge_alignment(enum area_kind kind)
{
	return kind == AREA_HUGETLB || kind == AREA_SPECIAL_HUGE;
}

/* Ordinary memory more often than the rest. */
static enum area_kind random_kind(struct lab *lab)
{
	static const enum area_kind often[] = {
		AREA_ANON, AREA_SMALL, AREA_HUGE, AREA_SHARED,
		AREA_FILE_SHARED, AREA_FILE_PRIVATE, AREA_HUGETLB,
	};

	if (!one_in(&lab->rng, 4))
		return often[below(&lab->rng,
				   sizeof(often) / sizeof(*often))];
	return below(&lab->rng, AREA_KINDS);
}

static size_t random_length(struct lab *lab, size_t at)
{
	static const size_t up_to[] = { 4, 40, 300, 700 };
	size_t to_boundary = HUGE_PAGES - at % HUGE_PAGES;
	size_t n = 1 + below(&lab->rng, up_to[below(&lab->rng, 4)]);

	/* Often up to a huge page boundary, so that huge pages fit after it. */
	if (one_in(&lab->rng, 3))
		n = to_boundary;
	return n < ARENA_PAGES - at ? n : ARENA_PAGES - at;
}

static void make_areas(struct lab *lab)
{
	size_t at = 0;

	map_area(lab, 0, ARENA_PAGES, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	while (at < ARENA_PAGES) {
		enum area_kind kind = random_kind(lab);
		size_t n = random_length(lab, at);

		if (kind == AREA_HUGETLB && !lab->hugetlb)
			kind = AREA_HUGE;
		if (needs_huge_alignment(kind) && at % HUGE_PAGES)
			kind = AREA_SMALL;
		if (needs_huge_alignment(kind) ||
		    (kind == AREA_HUGE && !(at % HUGE_PAGES)))
			n = HUGE_PAGES;
		make_area(lab, at, n, kind);
		at += n;
	}
}

/* Contents */

enum deed {
	DEED_READ,
	DEED_WRITE,
	DEED_DROP,
	DEED_PROTECT,
	DEED_UNPROTECT,
	DEED_GUARD,
	DEED_TO_DEVICE,
	DEED_EXCLUSIVE,
	DEED_PAGE_OUT,
	DEEDS,
};

static const char * const deed_names[] = {
	[DEED_READ] = "read",
	[DEED_WRITE] = "write",
	[DEED_DROP] = "MADV_DONTNEED",
	[DEED_PROTECT] = "PROT_READ",
	[DEED_UNPROTECT] = "PROT_READ|PROT_WRITE",
	[DEED_GUARD] = "MADV_GUARD_INSTALL",
	[DEED_TO_DEVICE] = "to device",
	[DEED_EXCLUSIVE] = "device-exclusive",
	[DEED_PAGE_OUT] = "MADV_PAGEOUT",
};

/* Pages of [at, at + n) before the first with another protection. */
static size_t same_prot(struct lab *lab, size_t at, size_t n)
{
	size_t i;

	for (i = 1; i < n && lab->prot[at + i] == lab->prot[at]; i++)
		;
	return i;
}

/* What cannot be touched gives an errno here, not a signal. */
static void touch(struct lab *lab, size_t at, size_t n, bool write)
{
	int advice = write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;

	madvise(page_at(lab, at), n * PAGE_BYTES, advice);
}

static void to_device(struct lab *lab, size_t at, size_t n)
{
	int mirror = lab->mirror[one_in(&lab->rng, 4)];

	if (mirror >= 0)
		dmirror_to_device(mirror, page_at(lab, at), n);
}

static void exclusive(struct lab *lab, size_t at, size_t n)
{
	if (lab->mirror[0] >= 0)
		dmirror_command(lab->mirror[0], HMM_DMIRROR_EXCLUSIVE,
				page_at(lab, at), n < 4 ? n : 4);
}

/* What a mapping does not allow fails, and leaves it as it was. */
static void do_deed(struct lab *lab, size_t at, size_t n, enum deed deed)
{
	char *map = page_at(lab, at);
	int rw = PROT_READ | PROT_WRITE;

	note(lab, "#   [%zu, %zu) %s\n", at, at + n, deed_names[deed]);
	switch (deed) {
	case DEED_READ:
	case DEED_WRITE:
		touch(lab, at, n, deed == DEED_WRITE);
		break;
	case DEED_DROP:
		madvise(map, n * PAGE_BYTES, MADV_DONTNEED);
		break;
	case DEED_PROTECT:
		n = same_prot(lab, at, n);
		if (lab->prot[at] == rw &&
		    !mprotect(map, n * PAGE_BYTES, PROT_READ))
			set_prot(lab, at, n, PROT_READ);
		break;
	case DEED_UNPROTECT:
		n = same_prot(lab, at, n);
		if (lab->prot[at] == PROT_READ &&
		    !mprotect(map, n * PAGE_BYTES, rw))
			set_prot(lab, at, n, rw);
		break;
	case DEED_GUARD:
		madvise(map, (n < 8 ? n : 8) * PAGE_BYTES, MADV_GUARD_INSTALL);
		break;
	case DEED_TO_DEVICE:
		to_device(lab, at, n);
		break;
	case DEED_EXCLUSIVE:
		exclusive(lab, at, n);
		break;
	default:
		madvise(map, n * PAGE_BYTES, MADV_PAGEOUT);
		break;
	}
}

static enum deed random_deed(struct lab *lab)
{
	if (one_in(&lab->rng, 2))
		return one_in(&lab->rng, 3) ? DEED_READ : DEED_WRITE;
	return below(&lab->rng, DEEDS);
}

static void fill_areas(struct lab *lab)
{
	size_t deeds = 10 + below(&lab->rng, 30);

	while (deeds--) {
		size_t at = below(&lab->rng, ARENA_PAGES);
		size_t n = 1 + below(&lab->rng, one_in(&lab->rng, 3) ?
						HUGE_PAGES : 40);

		if (one_in(&lab->rng, 4)) {
			at -= at % HUGE_PAGES;
			n = HUGE_PAGES;
		}
		if (n > ARENA_PAGES - at)
			n = ARENA_PAGES - at;
		do_deed(lab, at, n, random_deed(lab));
	}
}

static void layout_make(struct lab *lab, __u64 seed)
{
	lab->rng.state = seed;
	lab->seed = seed;
	lab->log_used = 0;
	lab->log[0] = '\0';
	make_areas(lab);
	fill_areas(lab);
	lab->forked = one_in(&lab->rng, 4);
	if (lab->forked) {
		note(lab, "#   fork\n");
		keeper_start(&lab->keeper);
	}
}

static void layout_drop(struct lab *lab)
{
	if (lab->forked)
		keeper_stop(&lab->keeper);
	munmap(lab->arena, ARENA_BYTES);
}

/* Requests */

static __u64 random_request(struct lab *lab)
{
	static const __u64 requests[] = { 0, 0, REQ_READ, REQ_WRITE };

	return requests[below(&lab->rng, 4)];
}

/* Sensible requests: none that can only fail. */
static void soften_requests(struct lab *lab, size_t at, size_t n)
{
	__u64 *state = calloc(n, sizeof(*state));
	size_t i;

	if (!state)
		fatal("no memory");
	probe_look(lab->fd, page_at(lab, at), n, state, 0);
	for (i = 0; i < n; i++) {
		if (state[i] & HMM_PROBE_ERROR)
			lab->slots[i] = 0;
		if (!(lab->prot[at + i] & PROT_WRITE))
			lab->slots[i] &= ~HMM_PROBE_REQ_WRITE;
	}
	free(state);
}

static const char *make_requests(struct lab *lab, size_t at, size_t n,
				 struct hmm_probe_call *call)
{
	__u64 one = random_request(lab);
	size_t every = 1 + below(&lab->rng, 30);
	bool soften = !one_in(&lab->rng, 5);
	const char *name;
	size_t i;

	call->pfn_flags_mask = MASK_SLOTS;
	fill_slots(lab->slots, n, 0);
	switch (below(&lab->rng, 4)) {
	case 0:
		name = "one request for all, in default_flags";
		call->default_flags = one;
		call->pfn_flags_mask = MASK_NONE;
		return name;
	case 1:
		name = "one request for all, in the slots";
		fill_slots(lab->slots, n, one);
		break;
	case 2:
		name = "a random request for each page";
		for (i = 0; i < n; i++)
			lab->slots[i] = random_request(lab);
		break;
	default:
		name = "few requests";
		for (i = below(&lab->rng, every); i < n;
		     i += 1 + below(&lab->rng, 2 * every))
			lab->slots[i] = random_request(lab);
		break;
	}
	if (soften)
		soften_requests(lab, at, n);
	return name;
}

static void sprinkle_sticky_flags(struct lab *lab, size_t n)
{
	size_t i;

	if (one_in(&lab->rng, 2))
		return;
	for (i = 0; i < n; i++)
		lab->slots[i] |= rng_next(&lab->rng) & HMM_PROBE_STICKY;
}

/* Checks */

static void report(struct lab *lab, const struct hmm_probe_check *check,
		   size_t at, const char *what)
{
	printf("# seed %llu (HMM_SEED=%llu HMM_LAYOUTS=1 runs it alone): %s\n",
	       lab->seed, lab->seed,
	       what);
	printf("# range [%zu, %llu): %s\n", at, at + check->call.npages,
	       probe_mismatch_name(check->mismatch));
	if (check->mismatch == HMM_PROBE_MISMATCH_RC)
		printf("#   expected %lld, got %lld\n",
		       (__s64)check->expected, (__s64)check->got);
	else
		printf("#   page %llu: expected %#llx, got %#llx; was %s, is %s\n",
		       at + check->index, check->expected, check->got,
		       probe_kind_name(check->kind_before),
		       probe_kind_name(check->kind_after));
	printf("# layout:\n%s", lab->log);
	fflush(stdout);
}

static bool run_check(struct lab *lab, unsigned long request, size_t at,
		      size_t n, struct hmm_probe_check *check,
		      const char *what)
{
	check->call.addr = (uintptr_t)page_at(lab, at);
	check->call.npages = n;
	check->call.slots = (uintptr_t)lab->slots;
	if (ioctl(lab->fd, request, check)) {
		/* Only a layout that does not stand still gives EAGAIN. */
		printf("# seed %llu: %s: %s\n", lab->seed,
		       what, strerror(errno));
		return false;
	}
	if (check->mismatch == HMM_PROBE_MATCH)
		return true;
	report(lab, check, at, what);
	return false;
}

static __u64 random_owner(struct lab *lab)
{
	return one_in(&lab->rng, 3) ? 0 : HMM_PROBE_ADOPT_OWNER;
}

static __u64 random_output(struct lab *lab)
{
	return lab->knows_sparse && one_in(&lab->rng, 2) ? HMM_PROBE_SPARSE : 0;
}

/* Whether orders are asked for; the rest must be as 7.3 has it. */
static __u64 random_orders(struct lab *lab)
{
	return lab->knows_sparse && one_in(&lab->rng, 2) ? HMM_PROBE_WANT_ORDER : 0;
}

static bool check_snapshot(struct lab *lab, size_t at, size_t n)
{
	struct hmm_probe_check check = {
		.call.flags = random_owner(lab) | random_output(lab) |
			      random_orders(lab),
	};

	fill_slots(lab->slots, n, 0);
	sprinkle_sticky_flags(lab, n);
	return run_check(lab, HMM_PROBE_CHECK, at, n, &check, "snapshot");
}

static bool check_requests(struct lab *lab, size_t at, size_t n)
{
	struct hmm_probe_check check = {
		.call.flags = random_owner(lab) | random_output(lab) | lab->form,
		.call.timeout_ms = 10000,
	};
	const char *name = make_requests(lab, at, n, &check.call);

	sprinkle_sticky_flags(lab, n);
	note(lab, "#   [%zu, %zu) %s\n", at, at + n, name);
	return run_check(lab, HMM_PROBE_CHECK_FAULT, at, n, &check, name);
}

static bool check_layout(struct lab *lab)
{
	int round;

	for (round = 0; round < ROUNDS; round++) {
		size_t at = below(&lab->rng, ARENA_PAGES);
		size_t n = 1 + below(&lab->rng, one_in(&lab->rng, 2) ?
						ARENA_PAGES : HUGE_PAGES);

		if (n > ARENA_PAGES - at)
			n = ARENA_PAGES - at;
		if (!check_snapshot(lab, at, n) ||
		    !check_requests(lab, at, n))
			return false;
	}
	return check_snapshot(lab, 0, ARENA_PAGES);
}

/* The test */

static unsigned long number_of_layouts(void)
{
	static const unsigned long layouts[] = { 2000, 200, 20 };

	return from_environment("HMM_LAYOUTS", layouts[how_brief()]);
}

static void lab_open(struct lab *lab)
{
	lab->mirror[0] = dmirror_open(0);
	lab->mirror[1] = dmirror_open(1);
	lab->hugetlb = reserve_hugetlb(HUGETLB_PAGES);
	swap_start(&lab->swap, SWAP_BYTES);
	lab->slots = calloc(ARENA_PAGES, sizeof(*lab->slots));
	lab->arena = map_anon(ARENA_BYTES);
	if (!lab->slots)
		fatal("no memory");
	setting_change(&lab->settings[0], ANON_64K, "madvise");
	setting_change(&lab->settings[1], SHMEM_64K, "always");
	setting_change(&lab->settings[2], COLLAPSE, "0");
}

static void lab_close(struct lab *lab)
{
	release_hugetlb();
	setting_restore(&lab->settings[2]);
	setting_restore(&lab->settings[1]);
	setting_restore(&lab->settings[0]);
	free(lab->slots);
	munmap(lab->arena, ARENA_BYTES);
	swap_stop(&lab->swap);
	close(lab->mirror[0]);
	close(lab->mirror[1]);
}

/* Returns the number of layouts that passed before the first mismatch. */
static unsigned long run_layouts(struct lab *lab, __u64 seed,
				 unsigned long layouts)
{
	unsigned long i;
	bool good = true;

	printf("# seeds %llu to %llu, %s device memory, %s hugetlb, %s swap\n",
	       seed,
	       (seed + layouts - 1),
	       lab->mirror[0] < 0 ? "no" : "with",
	       lab->hugetlb ? "with" : "no",
	       lab->swap.disk < 0 ? "no" : "with");
	for (i = 0; good && i < layouts; i++) {
		layout_make(lab, seed + i);
		good = check_layout(lab);
		if (good && getenv("HMM_VERBOSE"))
			printf("# seed %llu: good\n%s",
			       lab->seed, lab->log);
		layout_drop(lab);
		if (i % 100 == 99) {
			printf("# %lu layouts\n", i + 1);
			fflush(stdout);
		}
	}
	return good ? i : i - 1;
}

FIXTURE(hmm_oracle)
{
	struct lab lab;
};

FIXTURE_VARIANT(hmm_oracle)
{
	__u64 form;
};

FIXTURE_VARIANT_ADD(hmm_oracle, locked)
{
	.form = 0,
};

FIXTURE_VARIANT_ADD(hmm_oracle, unlocked)
{
	.form = HMM_PROBE_UNLOCKED,
};

FIXTURE_SETUP(hmm_oracle)
{
	self->lab.fd = probe_open();
	self->lab.form = variant->form;
	if (self->lab.fd < 0)
		SKIP(return, "no /dev/hmm_probe");
	self->lab.knows_sparse = probe_knows_sparse(self->lab.fd);
	lab_open(&self->lab);
}

FIXTURE_TEARDOWN(hmm_oracle)
{
	if (self->lab.fd < 0)
		return;
	lab_close(&self->lab);
	close(self->lab.fd);
}

TEST_F_TIMEOUT(hmm_oracle, random_layouts, TIMEOUT)
{
	unsigned long layouts = number_of_layouts();
	__u64 seed = from_environment("HMM_SEED", 1);

	EXPECT_EQ(layouts, run_layouts(&self->lab, seed, layouts));
}

TEST_HARNESS_MAIN
