// SPDX-License-Identifier: GPL-2.0
/*
 * Every way to use the dummy devices on every kind of memory.
 *
 * A cell of the matrix fills some memory, has devices read and write it, moves
 * it to them and back where it can move, and looks at every byte after each
 * step, from both sides. In the end all device memory must be free again.
 *
 * A test is named after its cell: matrix.MEMORY_DEVICE.USE.
 *
 *	HMM_SEED	where the random choices start (printed by what fails)
 *	HMM_QUICK	1 takes fewer pages, 2 still fewer
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../../../lib/test_hmm_uapi.h"

#include "kselftest_harness.h"
#include "lib/device.h"
#include "lib/matrix.h"

#define PAGES		66		/* more than the driver copies at once */
#define QUICK_PAGES	12
#define SLOW_PAGES	5
#define TOUCHED_PAGES	16		/* each is fought for */
#define THREADS		4
#define PROCESSES	3
#define ROUNDS		2		/* of use_many */
#define STRIDE		7
#define HUGETLB_PAGES	(2 * PROCESSES)
#define SWAP_BYTES	(32UL << 20)
#define NOISE_BYTES	_BITUL(17)	/* patterns are cut from here */
#define TRIES		20
#define TIMEOUT		300

static const char * const step_names[] = { "read", "write", "to device", "to system" };

static unsigned int complaints;		/* atomic */
static unsigned int devices_there;
static char *noise;
static __thread __u64 random_state;

static __u64 mix(__u64 z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

void random_start(__u64 which)
{
	random_state = mix(from_environment("HMM_SEED", 1) << 16 ^ which);
}

size_t random_below(size_t limit)
{
	random_state += 0x9e3779b97f4a7c15ULL;
	return mix(random_state) % limit;
}

void complain(const char *format, ...)
{
	char line[160];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	/* A wrong page seldom comes alone: the first few are enough. */
	if (__atomic_fetch_add(&complaints, 1, __ATOMIC_RELAXED) < 8)
		printf("# %s (HMM_SEED=%lu)\n", line, from_environment("HMM_SEED", 1));
}

/* Patterns */

static void make_noise(void)
{
	__u64 *word;

	noise = malloc(NOISE_BYTES + PAGE_BYTES);
	if (!noise)
		fatal("no memory");
	for (word = (__u64 *)noise; (char *)word < noise + NOISE_BYTES + PAGE_BYTES; word++)
		*word = mix(0x9e3779b97f4a7c15ULL * (word - (__u64 *)noise + 1));
}

const char *pattern_page(unsigned int pattern, size_t page)
{
	static const char zeros[PAGE_BYTES];

	if (!pattern)
		return zeros;
	return noise + mix((__u64)pattern << 32 | page) % NOISE_BYTES;
}

unsigned int pattern_new(struct area *area)
{
	return __atomic_add_fetch(&area->patterns, 1, __ATOMIC_RELAXED);
}

/* All of a page but @edge bytes at either end */
static bool page_compare(struct area *area, size_t page, const char *data, const char *who,
			 size_t edge)
{
	const char *right = pattern_page(area->expect[page], page);
	size_t i;

	if (!memcmp(data + edge, right + edge, PAGE_BYTES - 2 * edge))
		return true;
	for (i = edge; data[i] == right[i] && i < PAGE_BYTES - 1; i++)
		;
	complain("%s: page %zu, byte %zu is %#x, must be %#x", who, page, i,
		 (unsigned char)data[i], (unsigned char)right[i]);
	return false;
}

bool page_is_right(struct area *area, size_t page, const char *data, const char *who)
{
	return page_compare(area, page, data, who, 0);
}

void cpu_write(struct area *area, size_t page, unsigned int pattern)
{
	memcpy(area->map + page * PAGE_BYTES, pattern_page(pattern, page), PAGE_BYTES);
	area->expect[page] = pattern;
}

void cpu_check(struct area *area)
{
	size_t i;

	for (i = 0; i < area->npages; i++)
		page_is_right(area, i, area->map + i * PAGE_BYTES, "CPU");
	if (area->memory->check)
		area->memory->check(area);
}

static void cpu_fill(struct area *area)
{
	unsigned int pattern = pattern_new(area);
	size_t i;

	if (area->memory->fill) {
		area->memory->fill(area, pattern);
		return;
	}
	for (i = 0; i < area->npages; i++)
		cpu_write(area, i, pattern);
}

/* The device's commands */

int device_command(int device, unsigned long request, void *addr, size_t npages, void *data)
{
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)addr,
		.ptr = (uintptr_t)data,
		.npages = npages,
	};
	unsigned int tries = TRIES;
	int rc;

	/* -EBUSY: others changed the memory for as long as the driver tried. */
	do {
		rc = ioctl(device, request, &cmd) ? -errno : 0;
	} while (rc == -EINTR || (rc == -EBUSY && --tries));
	return rc;
}

/* How many pages are in the memory of the device that looks? */
static size_t pages_on_device(int device, void *addr, size_t npages, char *bytes)
{
	size_t i, count = 0;
	int rc = device_command(device, HMM_DMIRROR_SNAPSHOT, addr, npages, bytes);

	if (rc)
		complain("snapshot: %d", rc);
	for (i = 0; i < npages && !rc; i++) {
		int place = bytes[i] & PLACE_MASK;

		count += place == HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL ||
			 place == HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL;
	}
	return count;
}

/* Pages with a temporary reference do not move: try again later. */
static bool again(unsigned int *tries)
{
	if (!--*tries)
		return false;
	usleep(1000);
	return true;
}

/* Even if the command moves only a part, the data it returns must be right. */
static void move_to_device(int device, void *addr, size_t npages, char *data, enum moving moving)
{
	unsigned int tries = moving == MOVES ? TRIES : 1;
	size_t there;
	int rc;

	do {
		rc = device_command(device, HMM_DMIRROR_MIGRATE_TO_DEV, addr, npages, data);
	} while (rc && again(&tries));
	there = pages_on_device(device, addr, npages, data);
	if (moving == STAYS && there)
		complain("%zu pages are on the device, but must not", there);
	if (moving == MOVES && (rc || there != npages))
		complain("%zu of %zu pages are on the device: %d", there, npages, rc);
}

static void move_to_system(int device, void *addr, size_t npages, char *data, enum moving moving)
{
	unsigned int tries = moving == MOVES ? TRIES : 1;
	size_t there;
	int rc;

	do {
		rc = device_command(device, HMM_DMIRROR_MIGRATE_TO_SYS, addr, npages, data);
		there = pages_on_device(device, addr, npages, data);
	} while (!rc && there && again(&tries));
	if (moving == MOVES && (rc || there))
		complain("%zu of %zu pages are still on the device: %d", there, npages, rc);
}

static void device_read(struct area *area, int device, size_t first, size_t npages, char *data)
{
	size_t edge = area->memory->touched ? 1 : 0;
	size_t i;
	int rc = device_command(device, HMM_DMIRROR_READ, area->map + first * PAGE_BYTES, npages,
				data);

	if (rc)
		complain("device read of page %zu and %zu more: %d", first, npages - 1, rc);
	for (i = 0; i < npages && !rc; i++)
		page_compare(area, first + i, data + i * PAGE_BYTES, "device", edge);
}

static void device_write(struct area *area, int device, size_t first, size_t npages, char *data)
{
	unsigned int pattern = pattern_new(area);
	size_t i;
	int rc;

	for (i = 0; i < npages; i++)
		memcpy(data + i * PAGE_BYTES, pattern_page(pattern, first + i), PAGE_BYTES);
	rc = device_command(device, HMM_DMIRROR_WRITE, area->map + first * PAGE_BYTES, npages,
			    data);
	if (rc)
		complain("device write of page %zu and %zu more: %d", first, npages - 1, rc);
	for (i = 0; i < npages && !rc; i++)
		area->expect[first + i] = pattern;
}

void device_step(struct area *area, int device, enum step step, size_t first, size_t npages,
		 enum moving moving)
{
	char *data = malloc(npages * PAGE_BYTES);
	void *addr = area->map + first * PAGE_BYTES;

	if (!data)
		fatal("no memory");
	memset(data, 0x5a, npages * PAGE_BYTES);
	switch (step) {
	case READ:
		device_read(area, device, first, npages, data);
		break;
	case WRITE:
		device_write(area, device, first, npages, data);
		break;
	case TO_DEVICE:
		move_to_device(device, addr, npages, data, moving);
		break;
	case TO_SYSTEM:
		move_to_system(device, addr, npages, data, moving);
		break;
	case FINISH:
		break;
	}
	free(data);
}

/* How the devices are used */

static void step_once(struct area *area, enum step step)
{
	device_step(area, area->device, step, area->first, area->used, area->memory->moving);
}

/* Cut the area at random, and again. */
static void step_many(struct area *area, enum step step)
{
	unsigned int round;
	size_t at, n;

	for (round = 0; round < ROUNDS; round++) {
		for (at = 0; at < area->used; at += n) {
			n = 1 + random_below(area->used / 2);
			if (n > area->used - at)
				n = area->used - at;
			device_step(area, area->device, step, area->first + at, n,
				    area->memory->moving);
		}
	}
}

static void step_stride(struct area *area, enum step step)
{
	size_t at;

	for (at = 1; at < area->used; at += STRIDE)
		device_step(area, area->device, step, area->first + at, 1, area->memory->moving);
}

/*
 * Open files of their own for the threads and devices that use an area at once.
 * They stay open from step to step, so that what they mirror gets outdated.
 */
static int files[THREADS];
static unsigned int nr_files;

static void files_close(void)
{
	while (nr_files)
		close(files[--nr_files]);
}

/* One of the threads that use the area at once */
struct user {
	struct area *area;
	int device;
	enum step step;
	size_t first;
	size_t npages;
	pthread_t thread;
};

static void *user_run(void *arg)
{
	struct user *user = arg;
	struct area *area = user->area;
	enum moving moving = area->memory->moving;

	/*
	 * Threads that move parts of one huge page stand in each other's way,
	 * and no device takes what another one has.
	 */
	if (moving == MOVES && (area->memory->large ||
				(area->shared && area->memory->prefetched)))
		moving = MAY_MOVE;
	device_step(area, user->device, user->step, user->first, user->npages, moving);
	return NULL;
}

/* Each file its part of the area, or all of it */
static void step_in_parallel(struct area *area, enum step step, bool all)
{
	struct user users[THREADS];
	unsigned int i;

	for (i = 0; i < nr_files; i++) {
		size_t first = area->used * i / nr_files;
		size_t end = area->used * (i + 1) / nr_files;

		users[i] = (struct user) {
			.area = area,
			.device = files[i],
			.step = step,
			.first = area->first + (all ? 0 : first),
			.npages = all ? area->used : end - first,
		};
		if (pthread_create(&users[i].thread, NULL, user_run, &users[i]))
			fatal("no thread");
	}
	for (i = 0; i < nr_files; i++)
		pthread_join(users[i].thread, NULL);
}

static void step_threads(struct area *area, enum step step)
{
	step_in_parallel(area, step, false);
}

/* What one device wrote, all must see. */
static void step_shared_vm(struct area *area, enum step step)
{
	step_in_parallel(area, step, step == READ);
	if (step == WRITE && !area->memory->large)
		step_in_parallel(area, READ, true);
}

/* A cell */

typedef void (*use_t)(struct area *area, enum step step);

static void run_step(struct area *area, use_t use, enum step step)
{
	const struct memory *memory = area->memory;
	unsigned int before = complaints;

	if (memory->change)
		memory->change(area, step);
	if (memory->begin)
		memory->begin(area);
	use(area, step);
	if (memory->end)
		memory->end(area, step);
	if (complaints != before)
		complain("... in step '%s'", step_names[step]);
}

/* The CPU writes some of what is on the device, and the device sees it. */
static void write_back(struct area *area)
{
	unsigned int pattern = pattern_new(area);
	size_t i;

	for (i = random_below(3); i < area->npages; i += 3)
		cpu_write(area, i, pattern);
	cpu_check(area);
	device_step(area, area->device, READ, 0, area->npages, MAY_MOVE);
}

static void run_cell(struct area *area, use_t use)
{
	cpu_fill(area);
	run_step(area, use, READ);
	run_step(area, use, WRITE);
	cpu_check(area);
	run_step(area, use, READ);

	run_step(area, use, TO_DEVICE);
	run_step(area, use, READ);
	run_step(area, use, WRITE);
	run_step(area, use, TO_SYSTEM);
	cpu_check(area);

	/* What is on the device changes, and comes back by CPU faults. */
	run_step(area, use, TO_DEVICE);
	if (area->memory->change)
		area->memory->change(area, FINISH);
	write_back(area);
}

static size_t pages_to_use(const struct memory *memory)
{
	if (memory->touched)
		return TOUCHED_PAGES;
	switch (how_brief()) {
	case LONG_RUN:
		return PAGES;
	case SHORT_RUN:
		return QUICK_PAGES;
	default:
		return SLOW_PAGES;
	}
}

/* Only single commands take a huge page as a whole; others work inside it. */
static void area_limit(struct area *area, use_t use)
{
	area->shared = use == step_shared_vm;
	area->used = area->npages;
	if (area->memory->large && use != step_once) {
		area->used = pages_to_use(area->memory);
		area->first = random_below(area->npages - area->used + 1);
	}
}

static void area_make(struct area *area, const struct memory *memory, unsigned int device)
{
	memset(area, 0, sizeof(*area));
	area->memory = memory;
	area->npages = memory->large ? HUGE_PAGES : pages_to_use(memory);
	area->expect = calloc(area->npages, sizeof(*area->expect));
	area->device = dmirror_open(device);
	if (!area->expect || area->device < 0)
		fatal("device %u: %s", device, strerror(errno));
	memory->make(area);
}

static void area_drop(struct area *area)
{
	area->memory->drop(area);
	close(area->device);
	free(area->expect);
}

static void run_in(const struct memory *memory, unsigned int device, use_t use)
{
	struct area area;

	area_make(&area, memory, device);
	area_limit(&area, use);
	run_cell(&area, use);
	area_drop(&area);
}

static void run_processes(const struct memory *memory, unsigned int device)
{
	pid_t children[PROCESSES];
	unsigned int i;
	int status;

	for (i = 0; i < PROCESSES; i++) {
		children[i] = fork_off();
		if (children[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		random_start(1 + i);
		run_in(memory, device, step_once);
		fflush(stdout);
		_exit(!!complaints);
	}
	for (i = 0; i < PROCESSES; i++) {
		if (waitpid(children[i], &status, 0) != children[i] || status)
			complain("process %u: status %#x", i, status);
	}
}

/* Pages in use on each device, or nothing where the driver does not count them */
static bool count_in_use(__u64 *in_use)
{
	struct hmm_dmirror_counters counters;
	unsigned int i;

	memset(in_use, 0, DEVICES * sizeof(*in_use));
	for (i = 0; i < DEVICES; i++) {
		int device, rc;

		if (!(devices_there & 1U << i))
			continue;
		device = dmirror_open(i);
		rc = ioctl(device, HMM_DMIRROR_COUNTERS, &counters);
		close(device);
		if (rc)
			return false;
		in_use[i] = counters.in_use;
	}
	return true;
}

/* Pages are on their way back for a moment after their process is gone. */
static bool in_use_again(const __u64 *before)
{
	__u64 now[DEVICES];
	unsigned int tries;

	for (tries = 0; tries < 100; tries++) {
		if (!count_in_use(now) || !memcmp(before, now, sizeof(now)))
			return true;
		usleep(20000);
	}
	return false;
}

FIXTURE(matrix) {
	struct swap swap;
	__u64 in_use[DEVICES];
};

FIXTURE_VARIANT(matrix) {
	const struct memory *memory;
	unsigned int device;
};

#define CELL(kind, number) { .memory = &memory_ ## kind, .device = (number) }

FIXTURE_VARIANT_ADD(matrix, malloc_private) CELL(malloc, 0);
FIXTURE_VARIANT_ADD(matrix, malloc_coherent) CELL(malloc, 2);
FIXTURE_VARIANT_ADD(matrix, mmap_private) CELL(mmap, 0);
FIXTURE_VARIANT_ADD(matrix, mmap_coherent) CELL(mmap, 2);
FIXTURE_VARIANT_ADD(matrix, file_private_private) CELL(file_private, 0);
FIXTURE_VARIANT_ADD(matrix, file_private_coherent) CELL(file_private, 2);
FIXTURE_VARIANT_ADD(matrix, file_shared_private) CELL(file_shared, 0);
FIXTURE_VARIANT_ADD(matrix, file_shared_coherent) CELL(file_shared, 2);
FIXTURE_VARIANT_ADD(matrix, shared_anon_private) CELL(shared_anon, 0);
FIXTURE_VARIANT_ADD(matrix, shared_anon_coherent) CELL(shared_anon, 2);
FIXTURE_VARIANT_ADD(matrix, memfd_private) CELL(memfd, 0);
FIXTURE_VARIANT_ADD(matrix, memfd_coherent) CELL(memfd, 2);
FIXTURE_VARIANT_ADD(matrix, huge_private) CELL(huge, 0);
FIXTURE_VARIANT_ADD(matrix, huge_coherent) CELL(huge, 2);
FIXTURE_VARIANT_ADD(matrix, hugetlb_private) CELL(hugetlb, 0);
FIXTURE_VARIANT_ADD(matrix, hugetlb_coherent) CELL(hugetlb, 2);
FIXTURE_VARIANT_ADD(matrix, mlock_private) CELL(mlock, 0);
FIXTURE_VARIANT_ADD(matrix, mlock_coherent) CELL(mlock, 2);
FIXTURE_VARIANT_ADD(matrix, fork_read_private) CELL(fork_read, 0);
FIXTURE_VARIANT_ADD(matrix, fork_read_coherent) CELL(fork_read, 2);
FIXTURE_VARIANT_ADD(matrix, mremap_private) CELL(mremap, 0);
FIXTURE_VARIANT_ADD(matrix, mremap_coherent) CELL(mremap, 2);
FIXTURE_VARIANT_ADD(matrix, mremap_huge_private) CELL(mremap_huge, 0);
FIXTURE_VARIANT_ADD(matrix, mremap_huge_coherent) CELL(mremap_huge, 2);
FIXTURE_VARIANT_ADD(matrix, dontunmap_private) CELL(dontunmap, 0);
FIXTURE_VARIANT_ADD(matrix, dontunmap_coherent) CELL(dontunmap, 2);
FIXTURE_VARIANT_ADD(matrix, ro_protect_private) CELL(ro_protect, 0);
FIXTURE_VARIANT_ADD(matrix, ro_protect_coherent) CELL(ro_protect, 2);
FIXTURE_VARIANT_ADD(matrix, ro_remap_private) CELL(ro_remap, 0);
FIXTURE_VARIANT_ADD(matrix, ro_remap_coherent) CELL(ro_remap, 2);
FIXTURE_VARIANT_ADD(matrix, race_private) CELL(race, 0);
FIXTURE_VARIANT_ADD(matrix, race_coherent) CELL(race, 2);
FIXTURE_VARIANT_ADD(matrix, prefetch_private) CELL(prefetch, 0);
FIXTURE_VARIANT_ADD(matrix, prefetch_coherent) CELL(prefetch, 2);
FIXTURE_VARIANT_ADD(matrix, prefetch_huge_private) CELL(prefetch_huge, 0);
FIXTURE_VARIANT_ADD(matrix, prefetch_huge_coherent) CELL(prefetch_huge, 2);
FIXTURE_VARIANT_ADD(matrix, dontneed_private) CELL(dontneed, 0);
FIXTURE_VARIANT_ADD(matrix, dontneed_coherent) CELL(dontneed, 2);
FIXTURE_VARIANT_ADD(matrix, pageout_private) CELL(pageout, 0);
FIXTURE_VARIANT_ADD(matrix, pageout_coherent) CELL(pageout, 2);
FIXTURE_VARIANT_ADD(matrix, collapse_private) CELL(collapse, 0);
FIXTURE_VARIANT_ADD(matrix, collapse_coherent) CELL(collapse, 2);

static void find_devices(void)
{
	char path[32];
	unsigned int i;

	for (i = 0; i < DEVICES; i++) {
		snprintf(path, sizeof(path), "/dev/hmm_dmirror%u", i);
		if (!access(path, R_OK | W_OK))
			devices_there |= 1U << i;
	}
}

FIXTURE_SETUP(matrix)
{
	const char *reason;
	int fd;

	self->swap.disk = -1;
	fd = device_open(variant->device, &reason);
	find_devices();
	if (fd < 0)
		SKIP(return, "%s", reason);
	close(fd);
	if (variant->memory->hugetlb && !reserve_hugetlb(HUGETLB_PAGES))
		SKIP(return, "no huge pages to reserve");
	if (variant->memory->swaps && !swap_start(&self->swap, SWAP_BYTES))
		SKIP(return, "no zram to swap to");
	make_noise();
	random_start(0);
	count_in_use(self->in_use);
}

FIXTURE_TEARDOWN(matrix)
{
	swap_stop(&self->swap);
	release_hugetlb();
}

TEST_F_TIMEOUT(matrix, once, TIMEOUT)
{
	run_in(variant->memory, variant->device, step_once);
	EXPECT_EQ(0, complaints);
	EXPECT_TRUE(in_use_again(self->in_use));
}

TEST_F_TIMEOUT(matrix, many, TIMEOUT)
{
	run_in(variant->memory, variant->device, step_many);
	EXPECT_EQ(0, complaints);
	EXPECT_TRUE(in_use_again(self->in_use));
}

TEST_F_TIMEOUT(matrix, stride, TIMEOUT)
{
	run_in(variant->memory, variant->device, step_stride);
	EXPECT_EQ(0, complaints);
	EXPECT_TRUE(in_use_again(self->in_use));
}

/* Threads of the process, each with an open file of its own */
TEST_F_TIMEOUT(matrix, threads, TIMEOUT)
{
	for (nr_files = 0; nr_files < THREADS; nr_files++)
		files[nr_files] = dmirror_open(variant->device);
	run_in(variant->memory, variant->device, step_threads);
	files_close();
	EXPECT_EQ(0, complaints);
	EXPECT_TRUE(in_use_again(self->in_use));
}

/* All devices at once */
TEST_F_TIMEOUT(matrix, shared_vm, TIMEOUT)
{
	unsigned int i;

	for (i = 0; i < DEVICES; i++) {
		unsigned int number = (variant->device + i) % DEVICES;

		if (devices_there & 1U << number)
			files[nr_files++] = dmirror_open(number);
	}
	ASSERT_GE(nr_files, 2);
	run_in(variant->memory, variant->device, step_shared_vm);
	files_close();
	EXPECT_EQ(0, complaints);
	EXPECT_TRUE(in_use_again(self->in_use));
}

TEST_F_TIMEOUT(matrix, processes, TIMEOUT)
{
	run_processes(variant->memory, variant->device);
	EXPECT_EQ(0, complaints);
	EXPECT_TRUE(in_use_again(self->in_use));
}

TEST_HARNESS_MAIN
