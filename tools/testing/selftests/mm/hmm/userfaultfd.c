// SPDX-License-Identifier: GPL-2.0
/*
 * userfaultfd under a dummy device's mirror: only HMM_DMIRROR_READ_UNLOCKED
 * can wait for a handler; the other accesses fail and change nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"
#include "lib/exclusive.h"
#include "lib/folios.h"

#define N	16
#define BYTES	(N * PAGE_BYTES)

FIXTURE(uffd)
{
	int fd;
	char *map;
	struct uffd uffd;
};

FIXTURE_SETUP(uffd)
{
	const char *reason;

	self->uffd.fd = -1;
	self->fd = device_open(0, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	self->map = map_anon_small(BYTES);
}

FIXTURE_TEARDOWN(uffd)
{
	close(self->fd);
}

static struct answer read_unlocked(int fd, char *map, size_t npages, char *data)
{
	return device_ask(fd, HMM_DMIRROR_READ_UNLOCKED, map, data, npages);
}

static bool watch(struct uffd *uffd, __u64 features, char *map, __u64 mode)
{
	return !uffd_open(uffd, features) &&
	       !uffd_watch(uffd, map, BYTES, mode);
}

/* Missing pages */

struct served {
	char *map;
	size_t pages;		/* atomic */
};

/* The byte that a page is filled with: none is 0. */
static char value_of(char *map, char *page)
{
	return 1 + (page - map) / PAGE_BYTES;
}

static void serve_missing(struct uffd *uffd, char *page, bool write)
{
	struct served *served = uffd->arg;

	__atomic_fetch_add(&served->pages, 1, __ATOMIC_SEQ_CST);
	uffd_fill(uffd, page, value_of(served->map, page));
}

static void all_served(struct __test_metadata *_metadata, char *map,
		       const char *data)
{
	size_t i;

	for (i = 0; i < N; i++)
		EXPECT_EQ(PAGE_BYTES,
			  same_bytes(data + i * PAGE_BYTES, PAGE_BYTES,
				     value_of(map, map + i * PAGE_BYTES)));
}

TEST_F(uffd, missing_pages_are_served)
{
	struct served served = { .map = self->map };
	struct answer answer;
	char data[BYTES];

	if (!watch(&self->uffd, 0, self->map, UFFDIO_REGISTER_MODE_MISSING))
		SKIP(return, "no userfaultfd");
	self->uffd.on_fault = serve_missing;
	self->uffd.arg = &served;
	uffd_start(&self->uffd);
	answer = read_unlocked(self->fd, self->map, N, data);
	EXPECT_EQ(0, answer.rc);
	EXPECT_EQ(N, answer.cpages);
	EXPECT_EQ(N, served.pages);
	all_served(_metadata, self->map, data);
	/* The locked form finds them, too, without another event. */
	EXPECT_EQ(0, device_faults(self->fd, self->map, N));
	EXPECT_EQ(0, device_writes(self->fd, self->map, N, 7));
	EXPECT_EQ(N, served.pages);
	uffd_stop(&self->uffd);
	EXPECT_TRUE(pattern_is(self->map, N, 7));
}

/* No handler runs at all: a command that waited would hang. */
TEST_F(uffd, missing_pages_fail_the_locked_commands)
{
	struct answer answer;
	char data[BYTES];
	struct pollfd poll_fd;

	if (!watch(&self->uffd, 0, self->map, UFFDIO_REGISTER_MODE_MISSING))
		SKIP(return, "no userfaultfd");
	uffd_fill(&self->uffd, self->map, 1);
	uffd_fill(&self->uffd, self->map + PAGE_BYTES, 1);
	ASSERT_EQ(0, device_read(self->fd, self->map, 2, data));
	memset(data, 0x44, BYTES);
	answer = device_ask(self->fd, HMM_DMIRROR_READ, self->map, data, N);
	EXPECT_EQ(-EFAULT, answer.rc);
	EXPECT_EQ(2, answer.cpages);
	EXPECT_EQ(2 * PAGE_BYTES, same_bytes(data, BYTES, 1));
	EXPECT_EQ(-EFAULT, device_writes(self->fd, self->map + 2 * PAGE_BYTES,
					 N - 2, 7));
	EXPECT_EQ(-EFAULT, device_ask(self->fd, HMM_DMIRROR_EXCLUSIVE,
				      self->map + 2 * PAGE_BYTES, data,
				      1).rc);
	EXPECT_EQ(N - 2, device_count_bytes(self->fd, self->map, N, 0xff,
					    HMM_DMIRROR_PROT_NONE));
	poll_fd = (struct pollfd){ .fd = self->uffd.fd, .events = POLLIN };
	EXPECT_EQ(0, poll(&poll_fd, 1, 0));
	close(self->uffd.fd);
	EXPECT_EQ(2 * PAGE_BYTES, same_bytes(self->map, BYTES, 1));
}

/* A handler that changes the address space needs the lock for itself. */
static void serve_after_mmap(struct uffd *uffd, char *page, bool write)
{
	char *map = map_anon_small(HUGE_BYTES);

	write_pages(map, HUGE_PAGES, 1);
	munmap(map, HUGE_BYTES);
	serve_missing(uffd, page, write);
}

TEST_F(uffd, handler_may_take_the_mmap_lock)
{
	struct served served = { .map = self->map };
	char data[BYTES];

	if (!watch(&self->uffd, 0, self->map, UFFDIO_REGISTER_MODE_MISSING))
		SKIP(return, "no userfaultfd");
	self->uffd.on_fault = serve_after_mmap;
	self->uffd.arg = &served;
	uffd_start(&self->uffd);
	EXPECT_EQ(0, read_unlocked(self->fd, self->map, N, data).rc);
	EXPECT_EQ(N, served.pages);
	uffd_stop(&self->uffd);
	all_served(_metadata, self->map, data);
}

/* The handler gives up: from then on this is ordinary memory. */
static void serve_by_leaving(struct uffd *uffd, char *page, bool write)
{
	struct served *served = uffd->arg;
	struct uffdio_range range = { (uintptr_t)served->map, BYTES };

	if (ioctl(uffd->fd, UFFDIO_UNREGISTER, &range))
		fatal("UFFDIO_UNREGISTER: %s", strerror(errno));
}

TEST_F(uffd, handler_unregisters)
{
	struct served served = { .map = self->map };
	char data[BYTES];

	if (!watch(&self->uffd, 0, self->map, UFFDIO_REGISTER_MODE_MISSING))
		SKIP(return, "no userfaultfd");
	self->uffd.on_fault = serve_by_leaving;
	self->uffd.arg = &served;
	uffd_start(&self->uffd);
	memset(data, 1, BYTES);
	EXPECT_EQ(0, read_unlocked(self->fd, self->map, N, data).rc);
	EXPECT_TRUE(is_zero(data, N));
	uffd_stop(&self->uffd);
}

/* The memory is unmapped while the device waits for it; the wait must end. */
static void serve_by_unmapping(struct uffd *uffd, char *page, bool write)
{
	struct served *served = uffd->arg;
	struct uffdio_range range = { (uintptr_t)served->map, BYTES };

	munmap(served->map, BYTES);
	if (ioctl(uffd->fd, UFFDIO_WAKE, &range))
		fatal("UFFDIO_WAKE: %s", strerror(errno));
}

TEST_F(uffd, unmapped_during_the_fault)
{
	struct served served = { .map = self->map };
	char data[BYTES];

	if (!watch(&self->uffd, 0, self->map, UFFDIO_REGISTER_MODE_MISSING))
		SKIP(return, "no userfaultfd");
	self->uffd.on_fault = serve_by_unmapping;
	self->uffd.arg = &served;
	uffd_start(&self->uffd);
	EXPECT_EQ(-EFAULT, read_unlocked(self->fd, self->map, N, data).rc);
	uffd_stop(&self->uffd);
}

/*
 * A child whose device waits for a handler that never answers. It says by
 * @pipe that the fault has arrived.
 */
static int told;

static void serve_never(struct uffd *uffd, char *page, bool is_write)
{
	if (write(told, "", 1) != 1)
		_exit(2);
	pause();
}

static __noreturn void wait_for_ever(char *map)
{
	struct uffd uffd = { .on_fault = NULL };
	int fd = dmirror_open(0);
	char data[BYTES];

	if (fd < 0 || !watch(&uffd, 0, map, UFFDIO_REGISTER_MODE_MISSING))
		_exit(3);
	uffd.on_fault = serve_never;
	uffd_start(&uffd);
	read_unlocked(fd, map, N, data);
	_exit(4);
}

TEST_F(uffd, kill_while_the_handler_is_silent)
{
	struct answer answer;
	char byte, data[BYTES];
	int ends[2], status;
	pid_t pid;

	ASSERT_EQ(0, pipe(ends));
	told = ends[1];
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(ends[0]);
		wait_for_ever(self->map);
	}
	close(ends[1]);
	if (read(ends[0], &byte, 1) != 1) {
		wait_for_child(pid, 30);
		SKIP(return, "no userfaultfd");
	}
	ASSERT_EQ(0, kill(pid, SIGKILL));
	status = wait_for_child(pid, 30);
	ASSERT_NE(-1, status);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGKILL, WTERMSIG(status));
	answer = read_unlocked(self->fd, self->map, N, data);
	EXPECT_EQ(0, answer.rc);
	EXPECT_TRUE(is_zero(data, N));
	close(ends[0]);
}

/* Write protection */

TEST_F(uffd, write_protection)
{
	if (!watch(&self->uffd, UFFD_FEATURE_PAGEFAULT_FLAG_WP, self->map,
		   UFFDIO_REGISTER_MODE_WP))
		SKIP(return, "no write protection by userfaultfd");
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 1));
	ASSERT_EQ(0, uffd_protect(&self->uffd, UFFDIO_WRITEPROTECT, self->map,
				  BYTES, UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_EQ(N, device_count_bytes(self->fd, self->map, N, 0xff,
					HMM_DMIRROR_PROT_READ));
	EXPECT_EQ(-EFAULT, device_writes(self->fd, self->map, N, 2));
	EXPECT_EQ(-EFAULT, device_ask(self->fd, HMM_DMIRROR_EXCLUSIVE,
				      self->map, NULL, 1).rc);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	ASSERT_EQ(0, uffd_protect(&self->uffd, UFFDIO_WRITEPROTECT, self->map,
				  BYTES / 2, 0));
	EXPECT_EQ(0, device_writes(self->fd, self->map, N / 2, 3));
	EXPECT_EQ(-EFAULT, device_writes(self->fd, self->map + BYTES / 2,
					 N / 2, 3));
	EXPECT_TRUE(pattern_is(self->map, N / 2, 3));
	EXPECT_TRUE(pattern_is(self->map + BYTES / 2, N / 2, 1 + N / 2));
	close(self->uffd.fd);
	EXPECT_EQ(0, device_writes(self->fd, self->map, N, 4));
	EXPECT_TRUE(pattern_is(self->map, N, 4));
}

/* Without events, but the pages that the device wrote to are recorded. */
TEST_F(uffd, writes_are_tracked)
{
	size_t i;

	if (!watch(&self->uffd, UFFD_FEATURE_PAGEFAULT_FLAG_WP |
		   UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC,
		   self->map, UFFDIO_REGISTER_MODE_WP))
		SKIP(return, "no asynchronous write protection");
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 1));
	ASSERT_EQ(0, uffd_protect(&self->uffd, UFFDIO_WRITEPROTECT, self->map,
				  BYTES, UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_EQ(0, device_faults(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, 1));
	for (i = 0; i < N; i++)
		EXPECT_TRUE(uffd_is_protected(self->map + i * PAGE_BYTES));
	EXPECT_EQ(0, device_writes(self->fd, self->map + 4 * PAGE_BYTES, 4,
				   100));
	for (i = 0; i < N; i++)
		EXPECT_EQ(i < 4 || i >= 8,
			  uffd_is_protected(self->map + i * PAGE_BYTES));
	EXPECT_TRUE(pattern_is(self->map, 4, 1));
	EXPECT_TRUE(pattern_is(self->map + 4 * PAGE_BYTES, 4, 100));
	close(self->uffd.fd);
}

/* Minor faults: the file has the page, the mapping has not. */

static void serve_minor(struct uffd *uffd, char *page, bool write)
{
	struct served *served = uffd->arg;
	struct uffdio_continue args = {
		.range = { (uintptr_t)page, PAGE_BYTES },
	};

	__atomic_fetch_add(&served->pages, 1, __ATOMIC_SEQ_CST);
	if (ioctl(uffd->fd, UFFDIO_CONTINUE, &args) && errno != EEXIST)
		fatal("UFFDIO_CONTINUE: %s", strerror(errno));
}

TEST_F(uffd, minor_faults)
{
	struct served served = { .map = self->map };
	int file = memory_file(BYTES);
	char *twin = map_at(map_anon_small(BYTES), BYTES,
			    PROT_READ | PROT_WRITE, MAP_SHARED, file);
	char data[BYTES];

	map_at(self->map, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file);
	pattern_fill(twin, N, 1);
	if (!watch(&self->uffd, UFFD_FEATURE_MINOR_SHMEM, self->map,
		   UFFDIO_REGISTER_MODE_MINOR))
		SKIP(return, "no minor faults for userfaultfd");
	EXPECT_EQ(-EFAULT, device_read(self->fd, self->map, N, data));
	EXPECT_EQ(-EFAULT, device_writes(self->fd, self->map, N, 2));
	self->uffd.on_fault = serve_minor;
	self->uffd.arg = &served;
	uffd_start(&self->uffd);
	EXPECT_EQ(0, read_unlocked(self->fd, self->map, N, data).rc);
	EXPECT_EQ(N, served.pages);
	EXPECT_TRUE(pattern_is(data, N, 1));
	EXPECT_EQ(0, device_writes(self->fd, self->map, N, 2));
	EXPECT_TRUE(pattern_is(twin, N, 2));
	uffd_stop(&self->uffd);
	close(file);
}

/* Moving pages */

struct moved {
	int rc;
	size_t npages;
};

static struct moved move_bytes(struct uffd *uffd, char *to, char *from,
			       size_t bytes)
{
	struct uffdio_move move = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)from,
		.len = bytes,
	};
	struct moved moved = { .rc = 0 };

	if (ioctl(uffd->fd, UFFDIO_MOVE, &move))
		moved.rc = -errno;
	if (move.move > 0)
		moved.npages = move.move / PAGE_BYTES;
	return moved;
}

static struct moved move_pages(struct uffd *uffd, char *to, char *from)
{
	return move_bytes(uffd, to, from, BYTES);
}

TEST_F(uffd, move_mirrored_pages)
{
	char *to = map_anon_small(BYTES);
	struct moved moved;

	if (!watch(&self->uffd, UFFD_FEATURE_MOVE, to,
		   UFFDIO_REGISTER_MODE_MISSING))
		SKIP(return, "no UFFDIO_MOVE");
	ASSERT_EQ(0, device_writes(self->fd, self->map, N, 1));
	moved = move_pages(&self->uffd, to, self->map);
	EXPECT_EQ(0, moved.rc);
	EXPECT_EQ(N, moved.npages);
	EXPECT_TRUE(device_reads_zero(self->fd, self->map, N));
	EXPECT_TRUE(device_reads(self->fd, to, N, 1));
	EXPECT_TRUE(pattern_is(to, N, 1));
	ASSERT_EQ(0, device_writes(self->fd, to, N, 2));
	EXPECT_TRUE(pattern_is(to, N, 2));
	EXPECT_TRUE(is_zero(self->map, N));
	close(self->uffd.fd);
}

/*
 * Pages of the device are moved as what is swapped out is, without being
 * brought back; a huge one as a whole, or page by page where it does not fit.
 */
FIXTURE(uffd_move)
{
	int fd;
	char *from, *to;
	struct uffd uffd;
};

FIXTURE_VARIANT(uffd_move)
{
	size_t npages;
	size_t offset;
};

FIXTURE_VARIANT_ADD(uffd_move, small)
{
	.npages = N,
};

FIXTURE_VARIANT_ADD(uffd_move, huge)
{
	.npages = HUGE_PAGES,
};

FIXTURE_VARIANT_ADD(uffd_move, huge_to_small)
{
	.npages = HUGE_PAGES,
	.offset = PAGE_BYTES,
};

/* Memory with a pattern, and where to move it; or the reason why there is none */
static const char *move_setup(int *fd, char **from, char **to, struct uffd *uffd,
			      size_t npages, size_t offset)
{
	size_t bytes = npages * PAGE_BYTES;

	uffd->fd = -1;
	*fd = dmirror_open(0);
	if (*fd < 0)
		return "no dummy device";
	*from = npages == HUGE_PAGES ? device_map_thp(*fd, bytes) :
				       map_anon_small(bytes);
	if (!*from)
		return "no huge pages";
	*to = map_anon_small(2 * HUGE_BYTES);
	if (uffd_open(uffd, UFFD_FEATURE_MOVE) ||
	    uffd_watch(uffd, *to, 2 * HUGE_BYTES, UFFDIO_REGISTER_MODE_MISSING))
		return "no UFFDIO_MOVE";
	*to += offset;
	pattern_fill(*from, npages, 1);
	return NULL;
}

FIXTURE_SETUP(uffd_move)
{
	size_t bytes = variant->npages * PAGE_BYTES;
	const char *reason;
	void *data;

	reason = move_setup(&self->fd, &self->from, &self->to, &self->uffd,
			    variant->npages, variant->offset);
	if (reason)
		SKIP(return, "%s", reason);
	data = buffer_of(bytes);
	EXPECT_EQ(0, device_ask(self->fd, HMM_DMIRROR_MIGRATE_TO_DEV,
				self->from, data, variant->npages).rc);
	free(data);
}

FIXTURE_TEARDOWN(uffd_move)
{
	if (self->uffd.fd >= 0)
		close(self->uffd.fd);
	close(self->fd);
}

static size_t on_device(int fd, char *map, size_t npages)
{
	return device_count(fd, map, npages, own_place(0));
}

TEST_F(uffd_move, moves_device_memory)
{
	size_t n = variant->npages;
	struct moved moved;

	ASSERT_EQ(n, on_device(self->fd, self->from, n));
	moved = move_bytes(&self->uffd, self->to, self->from, n * PAGE_BYTES);
	/* An access to what has not moved waits for a page. */
	ASSERT_EQ(0, moved.rc);
	ASSERT_EQ(n, moved.npages);
	EXPECT_EQ(n, on_device(self->fd, self->to, n));
	/* The stock driver oopses on private pages that it has to fault in. */
	if (device_is_ours(self->fd))
		EXPECT_TRUE(device_reads(self->fd, self->to, n, 1));
	EXPECT_EQ(n, on_device(self->fd, self->to, n));
	EXPECT_TRUE(is_zero(self->from, n));
	EXPECT_TRUE(pattern_is(self->to, n, 1));
	EXPECT_EQ(0, on_device(self->fd, self->to, n));
	pattern_fill(self->to, n, 2);
	EXPECT_TRUE(device_reads(self->fd, self->to, n, 2));
}

/* What a child shares is not exclusive: it stays, as a page that is present. */
TEST_F(uffd_move, refuses_shared_device_memory)
{
	size_t n = variant->npages;
	struct moved moved;
	struct child child;

	child_start(&child);
	moved = move_bytes(&self->uffd, self->to, self->from, n * PAGE_BYTES);
	EXPECT_EQ(-EBUSY, moved.rc);
	EXPECT_EQ(0, moved.npages);
	EXPECT_EQ(n, on_device(self->fd, self->from, n));
	EXPECT_EQ(1, child_do(&child, work_check, self->from, n, 1));
	child_stop(&child);
	EXPECT_TRUE(pattern_is(self->from, n, 1));
}

/*
 * Pages that the device has for itself move like any others, whether a PMD or PTEs
 * say so. The device loses them: it has to ask again, at the new place.
 */
FIXTURE(uffd_exclusive)
{
	int fd;
	char *from, *to;
	struct uffd uffd;
};

FIXTURE_VARIANT(uffd_exclusive)
{
	size_t npages;
	size_t taken;		/* in one call: a PMD, or PTEs only */
	size_t offset;
};

FIXTURE_VARIANT_ADD(uffd_exclusive, small)
{
	.npages = N,
	.taken = N,
};

FIXTURE_VARIANT_ADD(uffd_exclusive, huge)
{
	.npages = HUGE_PAGES,
	.taken = HUGE_PAGES,
};

FIXTURE_VARIANT_ADD(uffd_exclusive, huge_to_small)
{
	.npages = HUGE_PAGES,
	.taken = HUGE_PAGES,
	.offset = PAGE_BYTES,
};

FIXTURE_VARIANT_ADD(uffd_exclusive, ptes_of_a_huge_page)
{
	.npages = HUGE_PAGES,
	.taken = HUGE_PAGES / 2,
};

FIXTURE_SETUP(uffd_exclusive)
{
	const char *reason;
	size_t at;

	reason = move_setup(&self->fd, &self->from, &self->to, &self->uffd,
			    variant->npages, variant->offset);
	if (reason)
		SKIP(return, "%s", reason);
	for (at = 0; at < variant->npages; at += variant->taken)
		ASSERT_EQ(0, device_seize(self->fd, self->from + at * PAGE_BYTES,
					  variant->taken));
	ASSERT_EQ(variant->npages,
		  device_seized(self->fd, self->from, variant->npages));
}

FIXTURE_TEARDOWN(uffd_exclusive)
{
	if (self->uffd.fd >= 0)
		close(self->uffd.fd);
	close(self->fd);
}

TEST_F(uffd_exclusive, all_of_a_range)
{
	size_t n = variant->npages;
	struct moved moved;

	moved = move_bytes(&self->uffd, self->to, self->from, n * PAGE_BYTES);
	ASSERT_EQ(0, moved.rc);
	ASSERT_EQ(n, moved.npages);
	EXPECT_EQ(0, device_seized(self->fd, self->from, n));
	EXPECT_EQ(0, device_seized(self->fd, self->to, n));
	EXPECT_TRUE(device_reads(self->fd, self->to, n, 1));
	EXPECT_TRUE(device_reads_zero(self->fd, self->from, n));
	EXPECT_TRUE(pattern_is(self->to, n, 1));
	ASSERT_EQ(0, device_seize(self->fd, self->to, n));
	EXPECT_EQ(n, device_seized(self->fd, self->to, n));
	pattern_fill(self->to, n, 2);
	EXPECT_TRUE(device_reads(self->fd, self->to, n, 2));
}

/* The device keeps the others, unless they were one folio with it. */
TEST_F(uffd_exclusive, one_page_in_the_middle)
{
	size_t n = variant->npages, middle = n / 2 - 1;
	char *from = self->from + middle * PAGE_BYTES;
	char *to = self->to + middle * PAGE_BYTES;
	struct moved moved;

	moved = move_bytes(&self->uffd, to, from, PAGE_BYTES);
	ASSERT_EQ(0, moved.rc);
	ASSERT_EQ(1, moved.npages);
	EXPECT_EQ(0, device_seized(self->fd, from, 1));
	/* The stock driver also drops the page after an invalidated range. */
	if (n == N && device_is_ours(self->fd))
		EXPECT_EQ(n - 1, device_seized(self->fd, self->from, n));
	EXPECT_TRUE(pattern_is(to, 1, 1 + middle));
	EXPECT_TRUE(device_reads(self->fd, to, 1, 1 + middle));
	EXPECT_TRUE(device_reads_zero(self->fd, from, 1));
	EXPECT_TRUE(pattern_is(self->from, middle, 1));
	EXPECT_TRUE(pattern_is(from + PAGE_BYTES, n - middle - 1, middle + 2));
	pattern_fill(to, 1, 2);
	EXPECT_TRUE(device_reads(self->fd, to, 1, 2));
}

/* The device has exclusive access to every second page only. */
TEST_F(uffd_exclusive, every_second_page)
{
	size_t i, n = variant->npages;
	struct moved moved;

	for (i = 0; i < n; i += 2)
		pattern_fill(self->from + i * PAGE_BYTES, 1, 1 + i);
	moved = move_bytes(&self->uffd, self->to, self->from, n * PAGE_BYTES);
	ASSERT_EQ(0, moved.rc);
	ASSERT_EQ(n, moved.npages);
	EXPECT_EQ(0, device_seized(self->fd, self->from, n));
	EXPECT_TRUE(pattern_is(self->to, n, 1));
	EXPECT_TRUE(device_reads_zero(self->fd, self->from, n));
}

/* The device makes pages exclusive again and again while they are moved. */
struct taker {
	int fd;
	char *map[2];
	size_t npages;
	int stop;		/* atomic */
	unsigned long taken;	/* atomic */
};

static void *keep_taking(void *arg)
{
	struct taker *taker = arg;
	unsigned long i;

	for (i = 0; !__atomic_load_n(&taker->stop, __ATOMIC_SEQ_CST); i++) {
		char *at = taker->map[i % 2] +
			   i / 2 % taker->npages * PAGE_BYTES;

		if (!device_seize(taker->fd, at, 1))
			__atomic_fetch_add(&taker->taken, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* Retries until all are moved: a folio that is just being split is busy. */
static bool moves_all(struct uffd *uffd, char *to, char *from, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		struct moved moved = move_bytes(uffd, to + done, from + done,
						bytes - done);

		if (moved.rc && moved.rc != -EAGAIN && moved.rc != -EBUSY) {
			printf("# moved %zu bytes, then %s\n", done,
			       strerror(-moved.rc));
			return false;
		}
		done += moved.npages * PAGE_BYTES;
	}
	return true;
}

#define SECONDS_OF_TURNS	2
#define SECONDS_AT_MOST		20

TEST_F(uffd_exclusive, races_with_exclusive_access)
{
	struct taker taker = {
		.fd = self->fd,
		.map = { self->from, self->to },
		.npages = variant->npages,
	};
	size_t bytes = variant->npages * PAGE_BYTES;
	time_t start = time(NULL);
	unsigned long turns = 0;
	unsigned long taken;
	pthread_t thread;
	bool moved;

	ASSERT_EQ(0, uffd_watch(&self->uffd, self->from, bytes,
				UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_taking, &taker));
	do {
		moved = moves_all(&self->uffd, self->to, self->from, bytes) &&
			moves_all(&self->uffd, self->from, self->to, bytes);
		turns += moved;
		/* It has to wait while they are moved. */
		taken = __atomic_load_n(&taker.taken, __ATOMIC_SEQ_CST);
		usleep(taken ? 200 : 20000);
	} while (moved && time(NULL) - start <
		 (taken ? SECONDS_OF_TURNS : SECONDS_AT_MOST));
	__atomic_store_n(&taker.stop, 1, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	TH_LOG("%lu turns, taken %lu times", turns, taker.taken);
	ASSERT_TRUE(moved);
	EXPECT_LT(0, taker.taken);
	/*
	 * Each move notified the device: it has no page if none is mapped. The
	 * stock driver does not check for an invalidation while it maps one.
	 */
	if (device_is_ours(self->fd))
		EXPECT_EQ(0, device_seized(self->fd, self->to,
					   variant->npages));
	EXPECT_TRUE(pattern_is(self->from, variant->npages, 1));
	EXPECT_TRUE(device_reads(self->fd, self->from, variant->npages, 1));
}

/*
 * A huge page at the destination, wherever it is, is not moved over. A kernel
 * that tries again for ever is left behind by killing the child.
 */
enum place { PLACE_PRESENT, PLACE_EXCLUSIVE, PLACE_PRIVATE };

FIXTURE(uffd_onto_huge)
{
};

FIXTURE_VARIANT(uffd_onto_huge)
{
	enum place place;
	size_t npages;	/* to move */
};

FIXTURE_VARIANT_ADD(uffd_onto_huge, present)
{
	.place = PLACE_PRESENT,
	.npages = 1,
};

FIXTURE_VARIANT_ADD(uffd_onto_huge, exclusive)
{
	.place = PLACE_EXCLUSIVE,
	.npages = 1,
};

FIXTURE_VARIANT_ADD(uffd_onto_huge, exclusive_by_huge)
{
	.place = PLACE_EXCLUSIVE,
	.npages = HUGE_PAGES,
};

FIXTURE_VARIANT_ADD(uffd_onto_huge, private)
{
	.place = PLACE_PRIVATE,
	.npages = 1,
};

FIXTURE_SETUP(uffd_onto_huge)
{
}

FIXTURE_TEARDOWN(uffd_onto_huge)
{
}

enum onto { ONTO_REFUSED, ONTO_MOVED, ONTO_OTHER_ERROR, ONTO_CHANGED, ONTO_NO_SETUP };

static enum onto move_onto_huge(enum place place, size_t npages)
{
	int fd = dmirror_open(0), probe = probe_open();
	char *from = map_anon_small(HUGE_BYTES);
	struct uffd uffd;
	struct moved moved;
	char *to;

	if (fd < 0 || probe < 0)
		return ONTO_NO_SETUP;
	to = map_thp(probe, HUGE_BYTES);
	if (!to)
		return ONTO_NO_SETUP;
	pattern_fill(to, HUGE_PAGES, 1);
	pattern_fill(from, HUGE_PAGES, 1000);
	if (place == PLACE_EXCLUSIVE && device_seize(fd, to, HUGE_PAGES))
		return ONTO_NO_SETUP;
	if (place == PLACE_PRIVATE && device_take(fd, to, HUGE_PAGES).rc)
		return ONTO_NO_SETUP;
	if (uffd_open(&uffd, UFFD_FEATURE_MOVE) ||
	    uffd_watch(&uffd, to, HUGE_BYTES, UFFDIO_REGISTER_MODE_MISSING))
		return ONTO_NO_SETUP;
	moved = move_bytes(&uffd, to, from, npages * PAGE_BYTES);
	close(uffd.fd);
	if (!moved.rc)
		return ONTO_MOVED;
	if (moved.rc != -EEXIST)
		return ONTO_OTHER_ERROR;
	return pattern_is(to, HUGE_PAGES, 1) &&
	       pattern_is(from, HUGE_PAGES, 1000) ? ONTO_REFUSED : ONTO_CHANGED;
}

TEST_F(uffd_onto_huge, move_is_refused)
{
	pid_t pid = fork_off();
	int status;

	if (!pid)
		_exit(move_onto_huge(variant->place, variant->npages));
	status = wait_for_child(pid, 8);
	if (status == -1) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	ASSERT_NE(-1, status);
	ASSERT_TRUE(WIFEXITED(status));
	if (WEXITSTATUS(status) == ONTO_NO_SETUP)
		SKIP(return, "no device, huge page or UFFDIO_MOVE");
	EXPECT_EQ(ONTO_REFUSED, WEXITSTATUS(status));
}

/* What userfaultfd marks, and device memory */

FIXTURE(uffd_wp)
{
	int fd;
	char *map;
	size_t npages;
	struct uffd uffd;
};

FIXTURE_VARIANT(uffd_wp)
{
	bool huge;
};

FIXTURE_VARIANT_ADD(uffd_wp, small)
{
	.huge = false,
};

FIXTURE_VARIANT_ADD(uffd_wp, huge)
{
	.huge = true,
};

FIXTURE_SETUP(uffd_wp)
{
	self->uffd.fd = -1;
	self->fd = dmirror_open(0);
	if (self->fd < 0)
		SKIP(return, "no dummy device");
	if (variant->huge && !device_is_ours(self->fd))
		SKIP(return, "the stock dummy driver oopses");
	self->npages = variant->huge ? HUGE_PAGES : N;
	self->map = variant->huge ? device_map_thp(self->fd, HUGE_BYTES) :
				    map_anon_small(BYTES);
	if (!self->map)
		SKIP(return, "no huge page");
}

FIXTURE_TEARDOWN(uffd_wp)
{
	close(self->fd);
}

static bool watch_pages(struct uffd *uffd, __u64 features, char *map,
			size_t npages, __u64 mode)
{
	return !uffd_open(uffd, features) &&
	       !uffd_watch(uffd, map, npages * PAGE_BYTES, mode);
}

/* Without events, but the next scan finds what the device has written to. */
TEST_F(uffd_wp, device_writes_are_tracked_on_the_device)
{
	if (!device_is_ours(self->fd))
		SKIP(return, "the stock dummy driver oopses");
	if (!watch_pages(&self->uffd, UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			 UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC,
			 self->map, self->npages, UFFDIO_REGISTER_MODE_WP))
		SKIP(return, "no asynchronous write protection");
	pattern_fill(self->map, self->npages, 1);
	dmirror_to_device(self->fd, self->map, self->npages);
	ASSERT_EQ(0, device_writes(self->fd, self->map, self->npages, 2));
	ASSERT_EQ(self->npages, on_device(self->fd, self->map, self->npages));

	EXPECT_EQ(self->npages, written_protect(self->map, self->npages));
	EXPECT_EQ(0, written_protect(self->map, self->npages));
	EXPECT_EQ(self->npages, on_device(self->fd, self->map, self->npages));
	EXPECT_EQ(0, device_writes(self->fd, self->map, self->npages, 3));
	EXPECT_EQ(self->npages, written_protect(self->map, self->npages));
	EXPECT_TRUE(pattern_is(self->map, self->npages, 3));
	close(self->uffd.fd);
}

static void let_write(struct uffd *uffd, char *page, bool write)
{
	struct served *served = uffd->arg;

	__atomic_fetch_add(&served->pages, 1, __ATOMIC_SEQ_CST);
	uffd_protect(uffd, UFFDIO_WRITEPROTECT, page, PAGE_BYTES, 0);
}

/* A write-protected zero page does not migrate to the device. */
TEST_F(uffd_wp, writes_to_zero_pages_are_reported)
{
	struct served served = { .map = self->map };
	size_t i;

	if (!watch_pages(&self->uffd, UFFD_FEATURE_PAGEFAULT_FLAG_WP, self->map,
			 self->npages, UFFDIO_REGISTER_MODE_WP))
		SKIP(return, "no write protection by userfaultfd");
	ASSERT_EQ(0, madvise(self->map, self->npages * PAGE_BYTES,
			     MADV_DONTNEED));
	read_pages(self->map, self->npages);
	ASSERT_EQ(0, uffd_protect(&self->uffd, UFFDIO_WRITEPROTECT, self->map,
				  self->npages * PAGE_BYTES,
				  UFFDIO_WRITEPROTECT_MODE_WP));
	dmirror_to_device(self->fd, self->map, self->npages);
	for (i = 0; i < self->npages; i++)
		EXPECT_TRUE(uffd_is_protected(self->map + i * PAGE_BYTES));
	/* Where it has filled the holes, the stock driver oopses. */
	if (device_is_ours(self->fd))
		EXPECT_NE(0, device_writes(self->fd, self->map, self->npages,
					   1));
	EXPECT_TRUE(is_zero(self->map, self->npages));

	self->uffd.on_fault = let_write;
	self->uffd.arg = &served;
	uffd_start(&self->uffd);
	pattern_fill(self->map, self->npages, 2);
	uffd_stop(&self->uffd);
	EXPECT_EQ(self->npages, served.pages);
	EXPECT_TRUE(pattern_is(self->map, self->npages, 2));
}

/* Every access must fault: the device has none, wherever the page is. */

static void must_be_out_of_reach(struct __test_metadata *_metadata, int fd,
				 char *map, size_t npages)
{
	char *data = buffer_of(npages * PAGE_BYTES);

	ASSERT_EQ(-EFAULT, device_read(fd, map, npages, data));
	EXPECT_EQ(-EFAULT, device_writes(fd, map, npages, 9));
	free(data);
}

TEST_F(uffd_wp, no_access_on_the_device)
{
	if (!device_is_ours(self->fd))
		SKIP(return, "the stock dummy driver oopses");
	if (!watch_pages(&self->uffd, UFFD_FEATURE_RWP, self->map, self->npages,
			 UFFDIO_REGISTER_MODE_RWP))
		SKIP(return, "no protection against any access");
	pattern_fill(self->map, self->npages, 1);
	dmirror_to_device(self->fd, self->map, self->npages);
	ASSERT_EQ(self->npages, on_device(self->fd, self->map, self->npages));
	ASSERT_EQ(0, uffd_protect(&self->uffd, UFFDIO_RWPROTECT, self->map,
				  self->npages * PAGE_BYTES,
				  UFFDIO_RWPROTECT_MODE_RWP));
	must_be_out_of_reach(_metadata, self->fd, self->map, self->npages);
	close(self->uffd.fd);
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
	EXPECT_TRUE(device_reads(self->fd, self->map, self->npages, 1));
}

TEST_F(uffd_wp, migration_does_not_grant_access)
{
	if (!watch_pages(&self->uffd, UFFD_FEATURE_RWP, self->map, self->npages,
			 UFFDIO_REGISTER_MODE_RWP))
		SKIP(return, "no protection against any access");
	pattern_fill(self->map, self->npages, 1);
	ASSERT_EQ(0, uffd_protect(&self->uffd, UFFDIO_RWPROTECT, self->map,
				  self->npages * PAGE_BYTES,
				  UFFDIO_RWPROTECT_MODE_RWP));
	dmirror_to_device(self->fd, self->map, self->npages);
	must_be_out_of_reach(_metadata, self->fd, self->map, self->npages);
	close(self->uffd.fd);
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
}

/* Such a page does not migrate to the device, wherever it is in its folio. */

FIXTURE(uffd_rwp)
{
	int fd;
	char *map;
	struct uffd uffd;
};

FIXTURE_VARIANT(uffd_rwp)
{
	const char *size;
};

FIXTURE_VARIANT_ADD(uffd_rwp, 4k) { .size = "4kB" };
FIXTURE_VARIANT_ADD(uffd_rwp, 64k) { .size = "64kB" };
FIXTURE_VARIANT_ADD(uffd_rwp, 2m) { .size = "2048kB" };

FIXTURE_SETUP(uffd_rwp)
{
	self->uffd.fd = -1;
	self->fd = dmirror_open(0);
	if (self->fd < 0)
		SKIP(return, "no /dev/hmm_dmirror0");
	self->map = map_folios(variant->size, HUGE_BYTES, 1);
	if (!self->map)
		SKIP(return, "no such folios");
	if (!watch_pages(&self->uffd, UFFD_FEATURE_RWP, self->map, HUGE_PAGES,
			 UFFDIO_REGISTER_MODE_RWP))
		SKIP(return, "no protection against any access");
}

FIXTURE_TEARDOWN(uffd_rwp)
{
	close(self->fd);
}

static void only_it_stays(struct __test_metadata *_metadata,
			  struct _test_data_uffd_rwp *self, size_t page)
{
	char *protected = self->map + page * PAGE_BYTES;

	ASSERT_EQ(0, uffd_protect(&self->uffd, UFFDIO_RWPROTECT, protected,
				  PAGE_BYTES, UFFDIO_RWPROTECT_MODE_RWP));
	dmirror_to_device(self->fd, self->map, HUGE_PAGES);
	EXPECT_EQ(1, present_pages(self->map, HUGE_PAGES));
	EXPECT_EQ(1, present_pages(protected, 1));
	close(self->uffd.fd);
	EXPECT_TRUE(pattern_is(self->map, HUGE_PAGES, 1));
	munmap(self->map, HUGE_BYTES);
}

TEST_F(uffd_rwp, first_page_does_not_migrate)
{
	only_it_stays(_metadata, self, 0);
}

TEST_F(uffd_rwp, page_in_the_middle_does_not_migrate)
{
	only_it_stays(_metadata, self, 5);
}

TEST_HARNESS_MAIN
