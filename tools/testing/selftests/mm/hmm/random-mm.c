// SPDX-License-Identifier: GPL-2.0
/*
 * Random operations of mm and of devices on 4 MiB of memory, one after the other,
 * checked against a model: what each page contains, and which pages must be
 * reported as written to, by userfaultfd or by soft-dirty bits. The devices mark
 * nothing as dirty.
 *
 * Every choice follows from the seed. What fails prints the seed and the last
 * operations. Reclaim, khugepaged and KSM run beside it, so a failure may need
 * more than one attempt.
 *
 *	HMM_SEED	first seed; the others count up from it
 *	HMM_ROUNDS	seeds for each kind of marks (4, or 1 with HMM_QUICK set)
 *	HMM_QUICK	1 is for a short run, 2 for a short run on a slow kernel
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
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"
#include "lib/random_mm.h"

#define TIMEOUT		1800
#define PAGE_WORDS	(PAGE_BYTES / sizeof(__u64))
#define SPARE_BYTES	(RANDOM_BYTES + HUGE_BYTES)
#define LOG_LINES	40
#define VERIFY_EVERY	40
/* Of what a child writes: no page of the parent has such a pattern. */
#define CHILD_TAG	_BITULL(60)

/**
 * struct page - what the model knows of a page
 * @tag: it has the pattern of this seed, or zeroes if 0,
 * @added: with this added to each word
 * @lazy: freed lazily: it may have become zeroes
 * @touched: it must be reported as written to, or with RWP as accessed
 */
struct page {
	__u64 tag;
	__u64 added;
	bool lazy;
	bool touched;
};

/**
 * struct run - the memory, its model, and what operations need
 * @map: the memory, RANDOM_PAGES
 * @spare: address space that pages are moved to for a while
 * @pages: the model of @map
 * @next_tag: no page has its pattern, or a later one, yet
 * @data: a buffer of RANDOM_BYTES
 * @locked: mlock2() is in effect
 * @depth: 1 while an operation runs others
 * @child: has inherited the memory and, as its copy of this, the model
 * @log: the last operations, in lines
 */
struct run {
	struct devices devices;
	struct pressure pressure;
	__u64 *data;
	int mem;

	/* one round */
	__u64 seed;
	struct rng rng;
	struct marks marks;
	char *map;
	char *spare;
	struct page pages[RANDOM_PAGES];
	__u64 next_tag;
	bool locked;
	unsigned int depth;
	struct child child;
	bool has_child;
	bool failed;
	unsigned long count;
	char log[LOG_LINES][120];
	unsigned long lines;
};

/* The log */

static void __printf(2, 3) note(struct run *run, const char *format, ...)
{
	char *line = run->log[(run->lines - 1) % LOG_LINES];
	size_t used = strlen(line);
	va_list args;

	va_start(args, format);
	vsnprintf(line + used, sizeof(run->log[0]) - used, format, args);
	va_end(args);
}

static void note_operation(struct run *run, const char *name,
			   struct page_range range)
{
	run->log[run->lines++ % LOG_LINES][0] = '\0';
	note(run, "%4lu: %*s%s %zu+%zu", run->count, 2 * run->depth, "", name,
	     range.first, range.npages);
}

static void __printf(2, 3) fail(struct run *run, const char *format, ...)
{
	unsigned long line = run->lines > LOG_LINES ? run->lines - LOG_LINES : 0;
	va_list args;

	if (run->failed)
		return;
	run->failed = true;
	printf("# seed %llu (HMM_SEED=%llu HMM_ROUNDS=1 repeats it), operation %lu: ",
	       run->seed, run->seed, run->count);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	for (; line < run->lines; line++)
		printf("#   %s\n", run->log[line % LOG_LINES]);
	fflush(stdout);
}

/* The model */

static char *page_at(struct run *run, size_t i)
{
	return run->map + i * PAGE_BYTES;
}

static int device_of(struct run *run)
{
	return run->devices.fds[rng_below(&run->rng, run->devices.count)];
}

static void page_contains(struct page *page, __u64 tag)
{
	*page = (struct page) { .tag = tag, .touched = true };
}

/* Zeroes that no mark is about */
static void page_is_gone(struct page *page)
{
	*page = (struct page) { .tag = 0 };
}

static bool content_is(const struct page *page, const __u64 *data)
{
	static __u64 copy[PAGE_WORDS];
	size_t i;

	if (page->added) {
		for (i = 0; i < PAGE_WORDS; i++)
			copy[i] = data[i] - page->added;
		data = copy;
	}
	return page->tag ? pattern_is(data, 1, page->tag) : is_zero(data, 1);
}

/* @data is what a reader has found in page @i. */
static void check_page(struct run *run, size_t i, const void *data,
		       const char *reader)
{
	struct page *page = &run->pages[i];

	if (page->lazy && same_bytes(data, PAGE_BYTES, 0) == PAGE_BYTES) {
		page->tag = 0;
		page->added = 0;
		page->lazy = false;
	} else if (!content_is(page, data)) {
		fail(run, "%s: wrong data in page %zu", reader, i);
	}
	if (run->marks.kind == MARKS_UFFD_RWP)
		page->touched = true;
}

static void verify(struct run *run, struct page_range range, const char *reader)
{
	size_t i, end = range.first + range.npages;

	for (i = range.first; i < end && !run->failed; i++)
		check_page(run, i, page_at(run, i), reader);
}

static const struct page_range everything = { 0, RANDOM_PAGES };

/* In @data are patterns from next_tag on, @done pages of which are written. */
static void were_written(struct run *run, struct page_range range, size_t done)
{
	size_t i;

	for (i = 0; i < done; i++)
		page_contains(&run->pages[range.first + i], run->next_tag + i);
	run->next_tag += range.npages;
}

/* Reads and writes. An operation gets a random range and adds to its log line. */

static void cpu_writes(struct run *run, struct page_range range)
{
	size_t step = rng_below(&run->rng, 3) ? 1 : 1 + rng_below(&run->rng, 7);
	size_t i;

	note(run, " step %zu", step);
	for (i = range.first; i < range.first + range.npages; i += step) {
		pattern_fill(page_at(run, i), 1, run->next_tag);
		page_contains(&run->pages[i], run->next_tag++);
	}
}

static void cpu_reads(struct run *run, struct page_range range)
{
	verify(run, range, "the CPU");
}

static void device_writes_pages(struct run *run, struct page_range range)
{
	struct answer answer;

	pattern_fill(run->data, range.npages, run->next_tag);
	answer = device_ask(device_of(run), HMM_DMIRROR_WRITE,
			    page_at(run, range.first), run->data, range.npages);
	note(run, ": %d, %llu", answer.rc, answer.cpages);
	were_written(run, range, answer.cpages);
}

static void device_reads_pages(struct run *run, struct page_range range)
{
	struct answer answer;
	size_t i;

	answer = device_ask(device_of(run), HMM_DMIRROR_READ,
			    page_at(run, range.first), run->data, range.npages);
	note(run, ": %d, %llu", answer.rc, answer.cpages);
	for (i = 0; i < answer.cpages; i++)
		check_page(run, range.first + i, run->data + i * PAGE_WORDS,
			   "the device");
}

/* The page may have become zeroes before the device added to it. */
static void device_has_added(struct run *run, size_t i)
{
	struct page *page = &run->pages[i];

	if (page->lazy && *(__u64 *)page_at(run, i) == 1) {
		page->tag = 0;
		page->added = 0;
	}
	page->added++;
	page->lazy = false;
	page->touched = true;
}

static void device_adds(struct run *run, struct page_range range)
{
	struct hmm_dmirror_atomic add = {
		.value = 1,
		.rounds = 1,
		.stride = sizeof(__u64),
		.take = 1 + rng_below(&run->rng, 64),
		.tries = 1000,
	};
	struct answer answer;
	size_t i;

	answer = device_ask(device_of(run), HMM_DMIRROR_ATOMIC_ADD,
			    page_at(run, range.first), &add, range.npages);
	note(run, ": %d, %llu", answer.rc, answer.cpages);
	/* Where it stopped, a page has been added to in part. */
	if (answer.rc) {
		cpu_writes(run, range);
		return;
	}
	for (i = range.first; i < range.first + range.npages; i++)
		device_has_added(run, i);
}

static void process_vm_reads(struct run *run, struct page_range range)
{
	struct iovec local = { run->data, range.npages * PAGE_BYTES };
	struct iovec remote = { page_at(run, range.first), local.iov_len };
	ssize_t i, n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

	note(run, ": %zd", n < 0 ? -errno : n);
	for (i = 0; i < n / (ssize_t)PAGE_BYTES; i++)
		check_page(run, range.first + i, run->data + i * PAGE_WORDS,
			   "process_vm_readv");
}

static void process_vm_writes(struct run *run, struct page_range range)
{
	struct iovec local = { run->data, range.npages * PAGE_BYTES };
	struct iovec remote = { page_at(run, range.first), local.iov_len };
	ssize_t n;

	pattern_fill(run->data, range.npages, run->next_tag);
	n = process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
	note(run, ": %zd", n < 0 ? -errno : n);
	were_written(run, range, n > 0 ? n / PAGE_BYTES : 0);
}

static void proc_mem_writes(struct run *run, struct page_range range)
{
	off_t at = (uintptr_t)page_at(run, range.first);
	ssize_t n;

	pattern_fill(run->data, range.npages, run->next_tag);
	n = pwrite(run->mem, run->data, range.npages * PAGE_BYTES, at);
	note(run, ": %zd", n);
	were_written(run, range, n > 0 ? n / PAGE_BYTES : 0);
}

/* Devices take pages, and lose them */

static void ask_device(struct run *run, struct page_range range,
		       struct answer (*command)(int fd, void *addr, size_t npages))
{
	note(run, ": %d", command(device_of(run), page_at(run, range.first),
				  range.npages).rc);
}

static void take(struct run *run, struct page_range range)
{
	ask_device(run, range, device_take);
}

static void take_small_pages(struct run *run, struct page_range range)
{
	ask_device(run, range, device_take_failing);
}

static void seize(struct run *run, struct page_range range)
{
	ask_device(run, range, device_seize_only);
}

static void give_back(struct run *run, struct page_range range)
{
	ask_device(run, range, device_give_back);
}

static void evict(struct run *run, struct page_range range)
{
	note(run, ": %llu", device_evict(device_of(run)).evicted);
}

/* Advice */

static int advise(struct run *run, struct page_range range, int advice)
{
	int rc = madvise(page_at(run, range.first), range.npages * PAGE_BYTES,
			 advice) ? -errno : 0;

	note(run, ": %d", rc);
	return rc;
}

static void dontneed(struct run *run, struct page_range range)
{
	size_t i;

	if (advise(run, range, run->locked ? MADV_DONTNEED_LOCKED : MADV_DONTNEED))
		return;
	for (i = 0; i < range.npages; i++)
		page_is_gone(&run->pages[range.first + i]);
}

/*
 * Not with RWP: it does not report an access to a page that has been freed since.
 */
static void free_lazily(struct run *run, struct page_range range)
{
	size_t i;

	if (advise(run, range, MADV_FREE))
		fatal("MADV_FREE: %s", strerror(errno));
	for (i = range.first; i < range.first + range.npages; i++) {
		run->pages[i].lazy = true;
		run->pages[i].touched = false;
	}
}

static void cold(struct run *run, struct page_range range)
{
	advise(run, range, MADV_COLD);
}

static void page_out(struct run *run, struct page_range range)
{
	advise(run, range, MADV_PAGEOUT);
}

static void collapse(struct run *run, struct page_range range)
{
	advise(run, range, MADV_COLLAPSE);
}

static void populate_to_read(struct run *run, struct page_range range)
{
	size_t i;

	if (advise(run, range, MADV_POPULATE_READ) || run->marks.kind != MARKS_UFFD_RWP)
		return;
	for (i = 0; i < range.npages; i++)
		run->pages[range.first + i].touched = true;
}

/* A page that is writable is not written to: it may still be freed lazily. */
static void populate_to_write(struct run *run, struct page_range range)
{
	size_t i;

	if (advise(run, range, MADV_POPULATE_WRITE))
		return;
	for (i = range.first; i < range.first + range.npages; i++)
		if (!run->pages[i].lazy)
			run->pages[i].touched = true;
}

/*
 * Not with soft-dirty bits or RWP: when it merges pages, KSM of 7.3 does not carry
 * over these marks.
 */
static void mergeable(struct run *run, struct page_range range)
{
	advise(run, range, rng_one_in(&run->rng, 2) ? MADV_MERGEABLE : MADV_UNMERGEABLE);
}

/* Each leaves the system with a page less. The page is accessed first. */
static void soft_offline(struct run *run, struct page_range range)
{
	if (!rng_one_in(&run->rng, 8))
		return;
	advise(run, range, MADV_SOFT_OFFLINE);
	if (run->marks.kind == MARKS_UFFD_RWP)
		run->pages[range.first].touched = true;
}

/* Devices take what they can of a range with guarded pages. */
static void guard(struct run *run, struct page_range range)
{
	int fd = device_of(run);
	size_t i;

	if (advise(run, range, MADV_GUARD_INSTALL))
		return;
	if (rng_one_in(&run->rng, 2)) {
		device_take(fd, run->map, RANDOM_PAGES);
		device_seize_only(fd, run->map, RANDOM_PAGES);
		note(run, ", take and seize all");
	}
	for (i = range.first; i < range.first + range.npages; i++)
		page_is_gone(&run->pages[i]);
	advise(run, range, MADV_GUARD_REMOVE);
}

/* The system */

static void split(struct run *run, struct page_range range)
{
	unsigned int order = rng_order(&run->rng);

	note(run, " to order %u: %d", order,
	     split_folios(page_at(run, range.first), range.npages * PAGE_BYTES, order));
}

static void reclaim(struct run *run, struct page_range range)
{
	pressure_reclaim(&run->pressure);
}

static void compact(struct run *run, struct page_range range)
{
	vm_order("compact_memory", "1");
}

static void drop_caches(struct run *run, struct page_range range)
{
	vm_order("drop_caches", "3");
}

/* Locking, protection, references: other operations run meanwhile. */

static void lock_or_unlock(struct run *run, struct page_range range)
{
	if (run->locked) {
		munlock(run->map, RANDOM_BYTES);
		run->locked = false;
	} else if (rng_one_in(&run->rng, 3)) {
		run->locked = !mlock2(run->map, RANDOM_BYTES, MLOCK_ONFAULT);
	}
	note(run, ": %s", run->locked ? "locked" : "not locked");
}

static void run_operation(struct run *run, unsigned int wanted);

/* For operations: what they need, and what allows them */
enum {
	NEEDS_NO_ACCESS = 1,	/* neither CPU nor device reads or writes */
	ANY_TIME = 2,		/* also within another operation */
};

static void protect(struct run *run, struct page_range range)
{
	int access = rng_one_in(&run->rng, 3) ? PROT_NONE : PROT_READ;
	char *start = page_at(run, range.first);
	size_t n, bytes = range.npages * PAGE_BYTES;

	note(run, " to %d: %d", access, mprotect(start, bytes, access));
	run->depth++;
	for (n = rng_below(&run->rng, 4); n; n--)
		run_operation(run, NEEDS_NO_ACCESS);
	run->depth--;
	if (mprotect(start, bytes, PROT_READ | PROT_WRITE))
		fatal("mprotect: %s", strerror(errno));
}

static void pin(struct run *run, struct page_range range)
{
	struct pinned pinned;

	pin_page(&pinned, page_at(run, range.first));
	verify(run, range, "the pinned page");
	run->depth++;
	run_operation(run, ANY_TIME);
	run_operation(run, ANY_TIME);
	run->depth--;
	close(pinned.pipe[0]);
	close(pinned.pipe[1]);
}

/* Moving there and back. The devices take pages there. */

static void take_spare(struct run *run, struct page_range range, char *to)
{
	int fd = device_of(run);

	if (rng_one_in(&run->rng, 2))
		note(run, ", take: %d", device_take(fd, to, range.npages).rc);
	if (rng_one_in(&run->rng, 2))
		note(run, ", seize: %d", device_seize_only(fd, to, range.npages).rc);
}

static void renew_spare(struct run *run)
{
	map_at(run->spare, SPARE_BYTES, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
}

/* userfaultfd would lose its registration. */
static void remap(struct run *run, struct page_range range)
{
	size_t shift = rng_one_in(&run->rng, 2) ? 0 : 3;
	char *to = run->spare + (range.first + shift) * PAGE_BYTES;
	char *from = page_at(run, range.first);
	size_t bytes = range.npages * PAGE_BYTES;
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

	if (mremap(from, bytes, bytes, flags, to) != to) {
		note(run, ": %s", strerror(errno));
		return;
	}
	take_spare(run, range, to);
	if (mremap(to, bytes, bytes, flags, from) != from)
		fatal("mremap back: %s", strerror(errno));
	renew_spare(run);
}

/* Returns the bytes moved: it ends at what cannot be moved. */
static size_t uffd_move(struct run *run, char *to, char *from, size_t bytes,
			int *rc)
{
	struct uffdio_move move = { .mode = UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES };
	size_t done = 0;
	int tries;

	for (tries = 0; tries < 200 && done < bytes; tries++) {
		move.dst = (uintptr_t)to + done;
		move.src = (uintptr_t)from + done;
		move.len = bytes - done;
		move.move = 0;
		*rc = ioctl(run->marks.uffd.fd, UFFDIO_MOVE, &move) ? -errno : 0;
		if (move.move > 0)
			done += move.move;
		else if (*rc != -EAGAIN)
			break;
	}
	return done;
}

/* What cannot move back is copied: a device may have filled a hole meanwhile. */
static void uffd_move_back(struct run *run, size_t i)
{
	char *from = run->spare + i * PAGE_BYTES;
	int rc;

	if (!uffd_move(run, page_at(run, i), from, PAGE_BYTES, &rc)) {
		memcpy(page_at(run, i), from, PAGE_BYTES);
		note(run, ", %zu copied: %d", i, rc);
	}
}

/* Only asynchronous write protection has registered the memory for it. */
static void uffd_moves(struct run *run, struct page_range range)
{
	char *to = run->spare + range.first * PAGE_BYTES;
	size_t i, done;
	int rc = 0;

	done = uffd_move(run, to, page_at(run, range.first),
			 range.npages * PAGE_BYTES, &rc) / PAGE_BYTES;
	note(run, ": %zu, %d", done, rc);
	take_spare(run, range, to);
	for (i = range.first; i < range.first + done; i++)
		uffd_move_back(run, i);
	for (i = range.first; i < range.first + range.npages; i++)
		run->pages[i].touched = false;
	madvise(run->spare, SPARE_BYTES, MADV_DONTNEED);
}

/* Children: they have the model as it was when they were forked off. */

static void child_opens_devices(struct run *run)
{
	const char *reason;

	devices_close(&run->devices);
	if (!devices_open(&run->devices, &reason))
		fatal("a child's devices: %s", reason);
}

static void child_writes(struct run *run, struct page_range range)
{
	size_t i;

	for (i = range.first; i < range.first + range.npages; i++) {
		__u64 tag = CHILD_TAG + run->next_tag++;

		pattern_fill(page_at(run, i), 1, tag);
		page_contains(&run->pages[i], tag);
	}
}

/* Forks off a child that checks, writes and exits. */
static void fork_and_wait(struct run *run, struct page_range range)
{
	pid_t pid = fork_off();
	int status;

	if (!pid) {
		child_opens_devices(run);
		if (rng_one_in(&run->rng, 2))
			take(run, range);
		verify(run, everything, "the child");
		child_writes(run, range);
		if (rng_one_in(&run->rng, 2))
			seize(run, range);
		verify(run, everything, "the child after its writes");
		_exit(run->failed);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		fail(run, "the child ended with %#x", status);
}

/* The work of a child that lives on; @address is that of its struct run. */
static long child_works(char *start, size_t npages, __u64 address)
{
	struct run *run = (struct run *)(uintptr_t)address;
	struct page_range range = { (start - run->map) / PAGE_BYTES, npages };

	if (!run->has_child) {
		run->has_child = true;
		child_opens_devices(run);
	}
	if (rng_one_in(&run->rng, 2))
		take(run, range);
	else if (rng_one_in(&run->rng, 2))
		seize(run, range);
	if (rng_one_in(&run->rng, 2))
		child_writes(run, range);
	verify(run, everything, "the second process");
	return run->failed;
}

static void child_ends(struct run *run)
{
	if (run->has_child)
		child_stop(&run->child);
	run->has_child = false;
}

static void second_process(struct run *run, struct page_range range)
{
	if (!run->has_child) {
		child_start(&run->child);
		run->has_child = true;
		note(run, ": starts");
		return;
	}
	if (child_do(&run->child, child_works, page_at(run, range.first),
		     range.npages, (uintptr_t)run))
		fail(run, "the second process failed");
	if (rng_one_in(&run->rng, 2)) {
		child_ends(run);
		note(run, ", ends");
	}
}

/* Marks */

static void check_marks(struct run *run, struct page_range range)
{
	static bool reported[RANDOM_PAGES];
	size_t i;
	int rc;

	if (run->marks.kind == MARKS_NONE)
		return;
	/* Soft-dirty bits can be cleared for a whole process only. */
	if (run->marks.kind == MARKS_SOFT_DIRTY)
		range = everything;
	if (rng_one_in(&run->rng, 2)) {
		rc = marks_look_and_clear(&run->marks, range, reported);
	} else {
		marks_look(&run->marks, range, reported);
		rc = rng_one_in(&run->rng, 2) ? marks_clear(&run->marks, range) : -1;
	}
	note(run, ", cleared: %d", rc);
	for (i = range.first; i < range.first + range.npages; i++) {
		if (run->pages[i].touched && !reported[i])
			fail(run, "page %zu is not reported", i);
		if (!rc)
			run->pages[i].touched = false;
	}
}

/* The operations */

/**
 * struct operation - what may happen to a range of the memory
 * @most: pages of the range
 * @weight: how often it is chosen, relative to the others
 * @flags: where it can run besides the outermost level
 * @not_with: kinds of marks, as bits
 * @not_locked: it cannot run while the memory is locked
 */
struct operation {
	const char *name;
	void (*run)(struct run *run, struct page_range range);
	size_t most;
	unsigned int weight;
	unsigned int flags;
	unsigned int not_with;
	bool not_locked;
};

#define WP	_BITUL(MARKS_UFFD_WP)
#define RWP	_BITUL(MARKS_UFFD_RWP)
#define DIRTY	_BITUL(MARKS_SOFT_DIRTY)
#define NONE	_BITUL(MARKS_NONE)
#define ALWAYS	(NEEDS_NO_ACCESS | ANY_TIME)
#define ALL	RANDOM_PAGES

static const struct operation operations[] = {
	{ "the CPU writes", cpu_writes, 200, 2, ANY_TIME },
	{ "the CPU reads", cpu_reads, 64, 1, ANY_TIME },
	{ "a device writes", device_writes_pages, 128, 1, ANY_TIME },
	{ "a device reads", device_reads_pages, ALL, 1, ANY_TIME },
	{ "a device adds", device_adds, 32, 1, ANY_TIME },
	{ "process_vm_readv", process_vm_reads, 32, 1, ANY_TIME },
	{ "process_vm_writev", process_vm_writes, 32, 1, ANY_TIME },
	{ "/proc/self/mem", proc_mem_writes, 1, 1, ANY_TIME },
	{ "take", take, ALL, 3, ALWAYS },
	{ "take, small pages", take_small_pages, ALL, 1, ALWAYS },
	{ "seize", seize, ALL, 4, ALWAYS },
	{ "give back", give_back, ALL, 1, ALWAYS },
	{ "evict", evict, 1, 1, ALWAYS },
	{ "MADV_DONTNEED", dontneed, 300, 1, ANY_TIME },
	{ "MADV_FREE", free_lazily, ALL, 1, ANY_TIME, RWP, true },
	{ "MADV_COLD", cold, ALL, 1, ALWAYS },
	{ "MADV_PAGEOUT", page_out, ALL, 2, ALWAYS },
	{ "MADV_COLLAPSE", collapse, ALL, 1, ALWAYS },
	{ "MADV_POPULATE_READ", populate_to_read, ALL, 1, ALWAYS },
	{ "MADV_POPULATE_WRITE", populate_to_write, ALL, 1, ANY_TIME },
	{ "MADV_MERGEABLE", mergeable, ALL, 1, 0, DIRTY | RWP },
	{ "MADV_SOFT_OFFLINE", soft_offline, 1, 1, 0 },
	{ "guard", guard, 40, 1, 0, 0, true },
	{ "split", split, ALL, 2, ALWAYS },
	{ "reclaim", reclaim, 1, 1, ALWAYS },
	{ "compact", compact, 1, 1, ALWAYS },
	{ "drop caches", drop_caches, 1, 1, 0 },
	{ "mlock", lock_or_unlock, ALL, 1, 0 },
	{ "mprotect", protect, ALL, 2, 0 },
	{ "pin", pin, 1, 1, 0 },
	{ "mremap", remap, ALL, 1, 0, WP | RWP },
	{ "UFFDIO_MOVE", uffd_moves, ALL, 1, 0, NONE | DIRTY | RWP, true },
	{ "fork", fork_and_wait, ALL, 1, ANY_TIME },
	{ "second process", second_process, ALL, 1, 0 },
	{ "marks", check_marks, ALL, 2, ALWAYS },
};

static bool is_allowed(struct run *run, const struct operation *operation,
		       unsigned int wanted)
{
	return (operation->flags & wanted) == wanted &&
	       !(operation->not_with & _BITUL(run->marks.kind)) &&
	       !(operation->not_locked && run->locked);
}

static const struct operation *choose(struct run *run, unsigned int wanted)
{
	unsigned long chosen, weights = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(operations); i++)
		if (is_allowed(run, &operations[i], wanted))
			weights += operations[i].weight;
	chosen = rng_below(&run->rng, weights);
	for (i = 0; ; i++) {
		if (!is_allowed(run, &operations[i], wanted))
			continue;
		if (chosen < operations[i].weight)
			return &operations[i];
		chosen -= operations[i].weight;
	}
}

static void run_operation(struct run *run, unsigned int wanted)
{
	const struct operation *operation = choose(run, wanted);
	struct page_range range = rng_range(&run->rng, operation->most);

	run->count++;
	note_operation(run, operation->name, range);
	operation->run(run, range);
}

/* Rounds */

/* Memory that nothing has been written to, or folios of one size */
static void make_memory(struct run *run)
{
	const char *size = "none";
	size_t i;

	memset(run->pages, 0, sizeof(run->pages));
	if (rng_one_in(&run->rng, 5)) {
		run->map = map_anon(RANDOM_BYTES);
	} else {
		run->map = random_folios(&run->rng, &size);
		for (i = 0; i < RANDOM_PAGES; i++)
			run->pages[i].tag = 1 + i;
	}
	run->next_tag = 1 + RANDOM_PAGES;
	run->spare = map_anon(SPARE_BYTES);
	note_operation(run, "folios of size", everything);
	note(run, ": %s", size);
}

static void round_start(struct run *run, __u64 seed, enum marks_kind kind)
{
	run->seed = seed;
	rng_seed(&run->rng, seed);
	run->locked = false;
	run->depth = 0;
	run->has_child = false;
	run->failed = false;
	run->count = 0;
	run->lines = 0;
	make_memory(run);
	if (!marks_start(&run->marks, kind, run->map))
		fatal("no marks: %s", strerror(errno));
	if (kind == MARKS_UFFD_WP && uffd_watch(&run->marks.uffd, run->spare, SPARE_BYTES,
						UFFDIO_REGISTER_MODE_WP))
		fatal("userfaultfd: %s", strerror(errno));
}

static void round_stop(struct run *run)
{
	child_ends(run);
	munmap(run->map, RANDOM_BYTES);
	munmap(run->spare, SPARE_BYTES);
	marks_stop(&run->marks);
	if (!devices_are_empty(&run->devices))
		fail(run, "pages of a device are still in use");
}

static bool round_passes(struct run *run, __u64 seed, enum marks_kind kind,
			 unsigned long count)
{
	unsigned long i;

	round_start(run, seed, kind);
	for (i = 1; i <= count && !run->failed; i++) {
		run_operation(run, 0);
		if (i % VERIFY_EVERY == 0)
			verify(run, everything, "after a while");
	}
	if (!run->failed)
		check_marks(run, everything);
	verify(run, everything, "at the end");
	round_stop(run);
	return !run->failed;
}

FIXTURE(random_mm)
{
	struct run run;
};

FIXTURE_VARIANT(random_mm)
{
	enum marks_kind kind;
};

FIXTURE_VARIANT_ADD(random_mm, no_marks) { .kind = MARKS_NONE };
FIXTURE_VARIANT_ADD(random_mm, uffd_wp) { .kind = MARKS_UFFD_WP };
FIXTURE_VARIANT_ADD(random_mm, soft_dirty) { .kind = MARKS_SOFT_DIRTY };
FIXTURE_VARIANT_ADD(random_mm, uffd_rwp) { .kind = MARKS_UFFD_RWP };

FIXTURE_SETUP(random_mm)
{
	const char *reason;

	if (!devices_open(&self->run.devices, &reason) ||
	    !marks_supported(variant->kind, &reason))
		SKIP(return, "%s", reason);
	self->run.mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->run.mem);
	self->run.data = buffer_of(RANDOM_BYTES);
	pressure_start(&self->run.pressure);
}

FIXTURE_TEARDOWN(random_mm)
{
	pressure_stop(&self->run.pressure);
	free(self->run.data);
	close(self->run.mem);
	devices_close(&self->run.devices);
}

TEST_F_TIMEOUT(random_mm, operations, TIMEOUT)
{
	static const unsigned long rounds[] = { 4, 1, 1 };
	static const unsigned long operations_each[] = { 250, 60, 10 };
	unsigned long count = operations_each[how_brief()];
	__u64 seed = from_environment("HMM_SEED", 1);
	unsigned long i, n = from_environment("HMM_ROUNDS", rounds[how_brief()]);
	unsigned long done = 0;

	for (i = 0; i < n && !self->run.failed; i++) {
		EXPECT_TRUE(round_passes(&self->run, seed + i, variant->kind, count));
		done += self->run.count;
	}
	TH_LOG("seeds %llu to %llu, %lu operations, %u devices", seed, seed + i - 1,
	       done, self->run.devices.count);
}

TEST_HARNESS_MAIN
