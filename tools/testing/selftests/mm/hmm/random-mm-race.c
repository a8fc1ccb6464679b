// SPDX-License-Identifier: GPL-2.0
/*
 * The CPU and devices add to the same words, devices write other pages, devices
 * take pages and lose them, and mm operations run, all at once. No addition may be
 * lost, nor a page that a device wrote; and what changes between two looks at
 * userfaultfd's or soft-dirty marks must be reported. The devices mark nothing as
 * dirty.
 *
 * The choices of each thread follow from the seed; their order does not.
 *
 *	HMM_SEED	first seed; the others count up from it
 *	HMM_ROUNDS	seeds for each kind of marks (3, or 1 with HMM_QUICK set)
 *	HMM_QUICK	1 is for a short run, 2 for a short run on a slow kernel
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"
#include "lib/random_mm.h"

#define TIMEOUT		1800
#define PAGE_WORDS	(PAGE_BYTES / sizeof(__u64))
#define SPARE_BYTES	(RANDOM_BYTES + HUGE_BYTES)
#define SHIFT_BYTES	(5 * PAGE_BYTES)
#define MOST_REPORTS	4
/* Each thread does at least so much before a round ends. */
#define LEAST_DONE	10

/*
 * The CPU and devices add to the first word of a page, and the CPU writes to the
 * second one. In pages that devices write as a whole all words are the same.
 */
enum { SUM_WORD, OTHER_WORD };

enum { BY_CPU, BY_DEVICES, ADDING };

enum { CPU_ADDS, DEVICE_ADDS, DEVICE_WRITES, DEVICE_TAKES, WORKERS };

static const char * const worker_names[WORKERS] = {
	"additions by the CPU", "by a device", "pages written", "taken",
};

struct worker;

/**
 * struct race - a round
 * @map: the memory, RANDOM_PAGES
 * @spare: address space that pages are moved to for a while
 * @counts: what was added to each page, or the last tag written to all of it
 * @stop: atomic; the workers end
 * @data: a buffer of RANDOM_BYTES
 * @seen: the first word of each page after the last look at the marks
 */
struct race {
	struct devices devices;
	struct pressure pressure;
	void *data;
	int mem;

	__u64 seed;
	struct rng rng;
	struct marks marks;
	char *map;
	char *spare;
	__u64 counts[RANDOM_PAGES][ADDING];
	__u64 seen[RANDOM_PAGES];
	bool has_seen;
	bool stop;
	unsigned long operations;
	unsigned long looks;
	unsigned long failures;
};

struct worker {
	struct race *race;
	struct rng rng;
	void (*step)(struct worker *worker);
	unsigned long done;	/* atomic */
	pthread_t thread;
};

static char *page_at(struct race *race, size_t i)
{
	return race->map + i * PAGE_BYTES;
}

/* Devices write every eighth page as a whole; no other page. */
static bool is_written_whole(size_t i)
{
	return i % 8 == 7;
}

static int device_of(struct race *race, struct rng *rng)
{
	return race->devices.fds[rng_below(rng, race->devices.count)];
}

static void __printf(2, 3) fail(struct race *race, const char *format, ...)
{
	va_list args;

	if (race->failures++ >= MOST_REPORTS)
		return;
	printf("# seed %llu (HMM_SEED=%llu HMM_ROUNDS=1 tries it again), after %lu operations: ",
	       race->seed, race->seed, race->operations);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

/* Workers: a step is repeated until the end of the round. */

/* The page may be inaccessible, or moved, for a while: then nothing is added. */
static __thread sigjmp_buf fault_jump;
static __thread sig_atomic_t fault_expected;

static void cpu_faults(int number)
{
	if (fault_expected)
		siglongjmp(fault_jump, 1);
	signal(number, SIG_DFL);
}

static void cpu_adds(struct worker *worker)
{
	size_t i = rng_below(&worker->rng, RANDOM_PAGES);
	struct race *race = worker->race;

	if (is_written_whole(i))
		return;
	if (sigsetjmp(fault_jump, 1)) {
		fault_expected = 0;
		usleep(50);
		return;
	}
	fault_expected = 1;
	__atomic_fetch_add((__u64 *)page_at(race, i) + SUM_WORD, 1, __ATOMIC_SEQ_CST);
	fault_expected = 0;
	race->counts[i][BY_CPU]++;
	worker->done++;
}

static void device_adds(struct worker *worker)
{
	struct rng *rng = &worker->rng;
	size_t first = rng_below(rng, RANDOM_PAGES / 8) * 8;
	struct hmm_dmirror_atomic add = {
		.value = 1,
		.rounds = 1,
		.offset = SUM_WORD * sizeof(__u64),
		.stride = PAGE_BYTES,
		.take = rng_one_in(rng, 8) ? HUGE_PAGES : 1 + rng_below(rng, 16),
		.tries = 200,
		.gap = rng_below(rng, 4),
	};
	struct race *race = worker->race;
	struct answer answer;
	size_t i;

	answer = device_ask(device_of(race, rng), HMM_DMIRROR_ATOMIC_ADD,
			    page_at(race, first), &add, 1 + rng_below(rng, 7));
	for (i = 0; i < answer.cpages; i++)
		race->counts[first + i][BY_DEVICES]++;
	worker->done += answer.cpages;
}

/* Tags grow. A write that fails may have been made nevertheless. */
static void device_writes_page(struct worker *worker)
{
	size_t word, i = rng_below(&worker->rng, RANDOM_PAGES / 8) * 8 + 7;
	__u64 page[PAGE_WORDS], tag = worker->done + 1;
	struct race *race = worker->race;

	for (word = 0; word < PAGE_WORDS; word++)
		page[word] = tag;
	worker->done++;
	if (!device_write(device_of(race, &worker->rng), page_at(race, i), 1, page))
		race->counts[i][BY_DEVICES] = tag;
	usleep(rng_below(&worker->rng, 300));
}

static void device_takes(struct worker *worker)
{
	struct page_range range = rng_range(&worker->rng, RANDOM_PAGES);
	int fd = device_of(worker->race, &worker->rng);
	char *start = page_at(worker->race, range.first);

	switch (rng_below(&worker->rng, 8)) {
	case 0:
		device_give_back(fd, start, range.npages);
		break;
	case 1:
		if (rng_one_in(&worker->rng, 4))
			device_evict(fd);
		break;
	case 2:
		device_seize_only(fd, start, range.npages);
		break;
	case 3:
		device_take_failing(fd, start, range.npages);
		break;
	default:
		device_take(fd, start, range.npages);
	}
	worker->done++;
}

static void *work(void *arg)
{
	struct worker *worker = arg;

	while (!__atomic_load_n(&worker->race->stop, __ATOMIC_SEQ_CST))
		worker->step(worker);
	return NULL;
}

static void workers_start(struct worker *workers, struct race *race)
{
	static void (*const steps[WORKERS])(struct worker *worker) = {
		[CPU_ADDS] = cpu_adds,
		[DEVICE_ADDS] = device_adds,
		[DEVICE_WRITES] = device_writes_page,
		[DEVICE_TAKES] = device_takes,
	};
	unsigned int i;

	for (i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker) { .race = race, .step = steps[i] };
		rng_seed(&workers[i].rng, race->seed * 16 + 1 + i);
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			fatal("no thread");
	}
}

static bool workers_have_done(struct worker *workers, unsigned long least)
{
	unsigned int i;

	for (i = 0; i < WORKERS; i++)
		if (__atomic_load_n(&workers[i].done, __ATOMIC_RELAXED) < least)
			return false;
	return true;
}

/* mm operations, each on a random range */

static void advise(struct race *race, struct page_range range, int advice)
{
	madvise(page_at(race, range.first), range.npages * PAGE_BYTES, advice);
}

static void cold(struct race *race, struct page_range range)
{
	advise(race, range, MADV_COLD);
}

static void page_out(struct race *race, struct page_range range)
{
	advise(race, range, MADV_PAGEOUT);
}

static void collapse(struct race *race, struct page_range range)
{
	advise(race, range, MADV_COLLAPSE);
}

static void mergeable(struct race *race, struct page_range range)
{
	advise(race, range, rng_one_in(&race->rng, 3) ? MADV_UNMERGEABLE : MADV_MERGEABLE);
}

/* Each leaves the system with a page less. */
static void soft_offline(struct race *race, struct page_range range)
{
	range.npages = 1;
	if (rng_one_in(&race->rng, 10))
		advise(race, range, MADV_SOFT_OFFLINE);
}

static void split(struct race *race, struct page_range range)
{
	split_folios(page_at(race, range.first), range.npages * PAGE_BYTES,
		     rng_order(&race->rng));
}

static void compact(struct race *race, struct page_range range)
{
	vm_order("compact_memory", "1");
}

static void reclaim(struct race *race, struct page_range range)
{
	pressure_reclaim(&race->pressure);
}

/* What the child writes must not show here. */
static void fork_and_write(struct race *race, struct page_range range)
{
	pid_t pid = fork_off();

	if (!pid) {
		write_pages(page_at(race, range.first), range.npages, 7);
		_exit(0);
	}
	if (rng_one_in(&race->rng, 2))
		usleep(2000);
	waitpid(pid, NULL, 0);
}

static void protect(struct race *race, struct page_range range)
{
	char *start = page_at(race, range.first);
	size_t bytes = range.npages * PAGE_BYTES;

	mprotect(start, bytes, rng_one_in(&race->rng, 2) ? PROT_READ : PROT_NONE);
	usleep(rng_below(&race->rng, 500));
	if (mprotect(start, bytes, PROT_READ | PROT_WRITE))
		fatal("mprotect: %s", strerror(errno));
}

static void lock(struct race *race, struct page_range range)
{
	mlock2(page_at(race, range.first), range.npages * PAGE_BYTES, MLOCK_ONFAULT);
	usleep(rng_below(&race->rng, 500));
	munlock(race->map, RANDOM_BYTES);
}

/* The hole must stay one: meanwhile no thread may map anything. */
static void remap(struct race *race, struct page_range range)
{
	char *to = race->spare + (rng_one_in(&race->rng, 2) ? 0 : SHIFT_BYTES);
	char *from = page_at(race, range.first);
	size_t bytes = range.npages * PAGE_BYTES;
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

	if (mremap(from, bytes, bytes, flags, to) != to)
		return;
	usleep(rng_below(&race->rng, 300));
	if (mremap(to, bytes, bytes, flags, from) != from)
		fatal("mremap back: %s", strerror(errno));
	map_at(to, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void write_other_word(struct race *race, struct page_range range)
{
	char *word = page_at(race, range.first) + OTHER_WORD * sizeof(__u64);
	struct iovec local = { race->data, sizeof(__u64) };
	struct iovec remote = { word, sizeof(__u64) };

	if (!is_written_whole(range.first))
		process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
}

/**
 * struct operation - what may happen to a range of the memory
 * @weight: how often it is chosen, relative to the others
 * @unmarked: only without marks: userfaultfd would lose its registration, and KSM
 *	of 7.3 loses soft-dirty bits when it merges pages
 */
struct operation {
	void (*run)(struct race *race, struct page_range range);
	unsigned int weight;
	bool unmarked;
};

static const struct operation operations[] = {
	{ page_out, 2 },
	{ cold, 1 },
	{ collapse, 1 },
	{ split, 1 },
	{ compact, 1 },
	{ fork_and_write, 2 },
	{ protect, 2 },
	{ lock, 1 },
	{ reclaim, 1 },
	{ soft_offline, 1 },
	{ write_other_word, 1 },
	{ mergeable, 1, true },
	{ remap, 1, true },
};

static void run_operation(struct race *race)
{
	struct page_range range = rng_range(&race->rng, RANDOM_PAGES);
	unsigned long chosen, weights = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(operations); i++)
		weights += operations[i].weight;
	chosen = rng_below(&race->rng, weights);
	for (i = 0; chosen >= operations[i].weight; i++)
		chosen -= operations[i].weight;
	race->operations++;
	if (!operations[i].unmarked || race->marks.kind == MARKS_NONE)
		operations[i].run(race, range);
}

/* Marks */

/* This works while the memory is inaccessible, too. */
static void read_sums(struct race *race, __u64 *sums)
{
	const __u64 *words = race->data;
	size_t i;

	if (pread(race->mem, race->data, RANDOM_BYTES, (uintptr_t)race->map) !=
	    (ssize_t)RANDOM_BYTES)
		fatal("/proc/self/mem: %s", strerror(errno));
	for (i = 0; i < RANDOM_PAGES; i++, words += PAGE_WORDS)
		sums[i] = words[SUM_WORD];
}

/* What is not as it was after the last look was written to since. */
static void check_marks(struct race *race)
{
	static __u64 sums[RANDOM_PAGES];
	static const struct page_range everything = { 0, RANDOM_PAGES };
	static bool reported[RANDOM_PAGES];
	size_t i;

	if (race->marks.kind == MARKS_NONE)
		return;
	read_sums(race, sums);
	if (marks_look_and_clear(&race->marks, everything, reported))
		fatal("clearing marks: %s", strerror(errno));
	for (i = 0; race->has_seen && i < RANDOM_PAGES; i++)
		if (sums[i] != race->seen[i] && !reported[i])
			fail(race, "page %zu has %llu, had %llu, and is not reported", i,
			     sums[i], race->seen[i]);
	read_sums(race, race->seen);
	race->has_seen = true;
	race->looks++;
}

/* Rounds */

/* All of it is from one write: the last one that succeeded, or a later one. */
static void check_written_page(struct race *race, size_t i)
{
	const __u64 *words = (__u64 *)page_at(race, i);
	__u64 least = race->counts[i][BY_DEVICES];
	size_t word;

	if (words[0] < least)
		fail(race, "page %zu has %llu, and %llu was written", i, words[0], least);
	for (word = 1; word < PAGE_WORDS; word++)
		if (words[word] != words[0])
			fail(race, "page %zu has %llu and %llu", i, words[0], words[word]);
}

static void check_sum(struct race *race, size_t i)
{
	__u64 sum = ((__u64 *)page_at(race, i))[SUM_WORD];
	const __u64 *counts = race->counts[i];

	if (sum != counts[BY_CPU] + counts[BY_DEVICES])
		fail(race, "page %zu has %llu, but %llu and %llu were added", i, sum,
		     counts[BY_CPU], counts[BY_DEVICES]);
}

/* When the workers have ended */
static void check_memory(struct race *race)
{
	size_t i;

	check_marks(race);
	for (i = 0; i < RANDOM_PAGES; i++) {
		if (is_written_whole(i))
			check_written_page(race, i);
		else
			check_sum(race, i);
	}
}

static void round_start(struct race *race, __u64 seed, enum marks_kind kind)
{
	const char *size;

	race->seed = seed;
	rng_seed(&race->rng, seed * 16);
	race->stop = false;
	race->has_seen = false;
	memset(race->counts, 0, sizeof(race->counts));
	race->map = random_folios(&race->rng, &size);
	memset(race->map, 0, RANDOM_BYTES);
	race->spare = map_anon(SPARE_BYTES);
	mprotect(race->spare, SPARE_BYTES, PROT_NONE);
	if (!marks_start(&race->marks, kind, race->map))
		fatal("no marks: %s", strerror(errno));
}

static void round_stop(struct race *race)
{
	munmap(race->map, RANDOM_BYTES);
	munmap(race->spare, SPARE_BYTES);
	marks_stop(&race->marks);
	if (!devices_are_empty(&race->devices))
		fail(race, "pages of a device are still in use");
}

/* @count operations, and more until each worker has done something */
static void run_round(struct race *race, __u64 seed, enum marks_kind kind,
		      unsigned long count, unsigned long *done)
{
	struct worker workers[WORKERS];
	unsigned long i;

	round_start(race, seed, kind);
	workers_start(workers, race);
	for (i = 0; i < count || !workers_have_done(workers, LEAST_DONE); i++) {
		run_operation(race);
		if (rng_one_in(&race->rng, 3))
			check_marks(race);
		usleep(rng_below(&race->rng, 1000));
	}
	__atomic_store_n(&race->stop, true, __ATOMIC_SEQ_CST);
	for (i = 0; i < WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		done[i] += workers[i].done;
	}
	check_memory(race);
	round_stop(race);
}

FIXTURE(random_mm_race)
{
	struct race race;
};

FIXTURE_VARIANT(random_mm_race)
{
	enum marks_kind kind;
};

FIXTURE_VARIANT_ADD(random_mm_race, no_marks) { .kind = MARKS_NONE };
FIXTURE_VARIANT_ADD(random_mm_race, uffd_wp) { .kind = MARKS_UFFD_WP };
FIXTURE_VARIANT_ADD(random_mm_race, soft_dirty) { .kind = MARKS_SOFT_DIRTY };

FIXTURE_SETUP(random_mm_race)
{
	struct sigaction action = { .sa_handler = cpu_faults };
	const char *reason;

	if (!devices_open(&self->race.devices, &reason) ||
	    !marks_supported(variant->kind, &reason))
		SKIP(return, "%s", reason);
	self->race.mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->race.mem);
	self->race.data = buffer_of(RANDOM_BYTES);
	ASSERT_EQ(0, sigaction(SIGSEGV, &action, NULL));
	pressure_start(&self->race.pressure);
}

FIXTURE_TEARDOWN(random_mm_race)
{
	pressure_stop(&self->race.pressure);
	free(self->race.data);
	close(self->race.mem);
	devices_close(&self->race.devices);
}

TEST_F_TIMEOUT(random_mm_race, counting, TIMEOUT)
{
	static const unsigned long rounds[] = { 3, 1, 1 };
	static const unsigned long operations_each[] = { 60, 12, 3 };
	unsigned long i, n = from_environment("HMM_ROUNDS", rounds[how_brief()]);
	__u64 seed = from_environment("HMM_SEED", 1);
	unsigned long done[WORKERS] = {};

	for (i = 0; i < n && !self->race.failures; i++)
		run_round(&self->race, seed + i, variant->kind,
			  operations_each[how_brief()], done);
	EXPECT_EQ(0, self->race.failures);
	TH_LOG("seeds %llu to %llu, %lu operations, %lu looks at marks", seed, seed + i - 1,
	       self->race.operations, self->race.looks);
	for (i = 0; i < WORKERS; i++)
		TH_LOG("%lu %s", done[i], worker_names[i]);
}

TEST_HARNESS_MAIN
