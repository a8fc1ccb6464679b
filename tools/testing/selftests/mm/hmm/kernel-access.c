// SPDX-License-Identifier: GPL-2.0
/*
 * io_uring's registered buffers, core dumps, uprobes, process_vm_readv() and
 * _writev(), and zswap, over memory that a device has: each reads what the
 * device wrote, and the device reads what each wrote.
 *
 * Most tests need the wide configuration. Runs on the stock driver as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/elf.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>

#include "kselftest_harness.h"
#include "lib/owned.h"

#define OTHER		0x1000UL
#define THIRD		0x2000UL
#define SWAP_BYTES	(64UL << 20)
#define DUMP_SECONDS	20

OWNED_FIXTURE(kernel_access);

/* Another process */

static bool copy_remote(pid_t pid, char *addr, void *data, size_t bytes,
			bool write)
{
	struct iovec local = { data, bytes }, remote = { addr, bytes };
	ssize_t n = write ? process_vm_writev(pid, &local, 1, &remote, 1, 0) :
			    process_vm_readv(pid, &local, 1, &remote, 1, 0);

	return n == (ssize_t)bytes;
}

static long work_read_parent(char *addr, size_t npages, __u64 seed)
{
	char *data = buffer_of(npages * PAGE_BYTES);
	long right = copy_remote(getppid(), addr, data, npages * PAGE_BYTES,
				 false) &&
		     pattern_is(data, npages, seed);

	free(data);
	return right;
}

static long work_write_parent(char *addr, size_t npages, __u64 seed)
{
	char *data = buffer_of(npages * PAGE_BYTES);
	long right;

	pattern_fill(data, npages, seed);
	right = copy_remote(getppid(), addr, data, npages * PAGE_BYTES, true);
	free(data);
	return right;
}

/* Forked first: fork() would end exclusive access. */
static bool start_reader(struct __test_metadata *_metadata,
			 struct owned *owned, struct child *child)
{
	char here, byte = 0;

	if (!copy_remote(getpid(), &byte, &here, 1, false))
		SKIP(return false, "no process_vm_readv()");
	child_start(child);
	/* The parent's pages must not be shared with the child. */
	child_do(child, work_unmap, owned->map, owned->npages, 0);
	pattern_fill(owned->map, owned->npages, 1);
	EXPECT_TRUE(owned_take(owned));
	return true;
}

TEST_F(kernel_access, another_process_reads)
{
	struct child child;

	if (!start_reader(_metadata, &self->owned, &child))
		return;
	EXPECT_TRUE(child_do(&child, work_read_parent, self->map,
			     self->npages, 1));
	EXPECT_OWNED_DATA(1);
	child_stop(&child);
}

TEST_F(kernel_access, another_process_writes)
{
	struct child child;

	if (!start_reader(_metadata, &self->owned, &child))
		return;
	EXPECT_TRUE(child_do(&child, work_write_parent, self->map,
			     self->npages, OTHER));
	EXPECT_OWNED_DATA(OTHER);
	ASSERT_TRUE(owned_take(&self->owned));
	EXPECT_TRUE(child_do(&child, work_read_parent, self->map,
			     self->npages, OTHER));
	child_stop(&child);
}

TEST_F(kernel_access, another_process_reads_and_writes_parts)
{
	size_t half = self->npages / 2;
	char *second = self->map + half * PAGE_BYTES;
	struct child child;

	if (!start_reader(_metadata, &self->owned, &child))
		return;
	EXPECT_TRUE(child_do(&child, work_write_parent, second, half,
			     OTHER));
	EXPECT_TRUE(child_do(&child, work_read_parent, self->map, half,
			     1));
	EXPECT_TRUE(device_reads(self->fd, self->map, half, 1));
	EXPECT_TRUE(device_reads(self->fd, second, half, OTHER));
	EXPECT_TRUE(pattern_is(second, half, OTHER));
	child_stop(&child);
}

/* Registered buffers */

struct ring {
	int fd;
	struct io_uring_params params;
	char *rings;
	struct io_uring_sqe *sqes;
};

static bool ring_start(struct ring *ring)
{
	struct io_uring_params *params = &ring->params;

	memset(ring, 0, sizeof(*ring));
	ring->fd = syscall(SYS_io_uring_setup, 4, params);
	if (ring->fd < 0)
		return false;
	if (!(params->features & IORING_FEAT_SINGLE_MMAP))
		fatal("io_uring: two mappings");
	ring->rings = mmap(NULL, params->cq_off.cqes +
			   params->cq_entries * sizeof(struct io_uring_cqe),
			   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			   ring->fd, IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, params->sq_entries * sizeof(*ring->sqes),
			  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			  ring->fd, IORING_OFF_SQES);
	if (ring->rings == MAP_FAILED || ring->sqes == MAP_FAILED)
		fatal("io_uring: %s", strerror(errno));
	return true;
}

static int ring_register(struct ring *ring, char *map, size_t bytes)
{
	struct iovec buffer = { map, bytes };

	return syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS,
		       &buffer, 1) ? -errno : 0;
}

static unsigned int *ring_word(struct ring *ring, unsigned int offset)
{
	return (unsigned int *)(ring->rings + offset);
}

/* From the file to the buffer, or the other way; the result of it */
static int ring_transfer(struct ring *ring, int op, int file, char *map,
			 size_t bytes)
{
	struct io_sqring_offsets *sq = &ring->params.sq_off;
	struct io_cqring_offsets *cq = &ring->params.cq_off;
	unsigned int tail = *ring_word(ring, sq->tail);
	unsigned int slot = tail & *ring_word(ring, sq->ring_mask);
	struct io_uring_cqe *cqes = (void *)(ring->rings + cq->cqes);
	unsigned int head;
	int rc;

	ring->sqes[slot] = (struct io_uring_sqe) {
		.opcode = op,
		.fd = file,
		.addr = (uintptr_t)map,
		.len = bytes,
	};
	ring_word(ring, sq->array)[slot] = slot;
	__atomic_store_n(ring_word(ring, sq->tail), tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS,
		    NULL, 0) != 1)
		fatal("io_uring_enter: %s", strerror(errno));
	head = *ring_word(ring, cq->head);
	rc = cqes[head & *ring_word(ring, cq->ring_mask)].res;
	__atomic_store_n(ring_word(ring, cq->head), head + 1, __ATOMIC_RELEASE);
	return rc;
}

static bool file_is(int file, size_t npages, __u64 seed)
{
	void *data = buffer_of(npages * PAGE_BYTES);
	bool right = pread(file, data, npages * PAGE_BYTES, 0) ==
		     (ssize_t)(npages * PAGE_BYTES) &&
		     pattern_is(data, npages, seed);

	free(data);
	return right;
}

static void file_fill(int file, size_t npages, __u64 seed)
{
	void *data = buffer_of(npages * PAGE_BYTES);

	pattern_fill(data, npages, seed);
	if (pwrite(file, data, npages * PAGE_BYTES, 0) !=
	    (ssize_t)(npages * PAGE_BYTES))
		fatal("file: %s", strerror(errno));
	free(data);
}

static bool register_owned(struct __test_metadata *_metadata,
			   struct owned *owned, struct ring *ring, int *file)
{
	if (!ring_start(ring))
		SKIP(return false, "no io_uring");
	*file = memory_file(owned->bytes);
	EXPECT_EQ(0, ring_register(ring, owned->map, owned->bytes));
	/* A long-term pin moves pages out of device memory. */
	EXPECT_EQ(owned->kind == OWNED_SYSTEM ? owned->npages : 0,
		  owned_count(owned));
	return true;
}

TEST_F(kernel_access, buffer_contains_device_writes)
{
	struct ring ring;

	if (!register_owned(_metadata, &self->owned, &ring, &self->file))
		return;
	EXPECT_EQ((int)self->bytes,
		  ring_transfer(&ring, IORING_OP_WRITE_FIXED, self->file,
				self->map, self->bytes));
	EXPECT_TRUE(file_is(self->file, self->npages, 1));
	EXPECT_OWNED_DATA(1);
	close(ring.fd);
}

TEST_F(kernel_access, device_reads_what_io_wrote)
{
	struct ring ring;

	if (!register_owned(_metadata, &self->owned, &ring, &self->file))
		return;
	file_fill(self->file, self->npages, OTHER);
	EXPECT_EQ((int)self->bytes,
		  ring_transfer(&ring, IORING_OP_READ_FIXED, self->file,
				self->map, self->bytes));
	EXPECT_OWNED_DATA(OTHER);
	close(ring.fd);
}

/* Pinned pages do not migrate, and all sides see one copy of the data. */
TEST_F(kernel_access, buffer_stays_while_registered)
{
	struct owned *owned = &self->owned;
	struct ring ring;
	int tries;

	if (!register_owned(_metadata, owned, &ring, &self->file))
		return;
	if (owned->kind == OWNED_PRIVATE || owned->kind == OWNED_COHERENT) {
		EXPECT_FALSE(owned_take(owned));
		EXPECT_EQ(0, owned_count(owned));
	} else {
		owned_take(owned);
	}
	EXPECT_EQ(0, device_writes_parts(self->fd, self->map, self->npages,
					 OTHER));
	EXPECT_EQ((int)self->bytes,
		  ring_transfer(&ring, IORING_OP_WRITE_FIXED, self->file,
				self->map, self->bytes));
	EXPECT_TRUE(file_is(self->file, self->npages, OTHER));
	owned_take(owned);
	file_fill(self->file, self->npages, THIRD);
	EXPECT_EQ((int)self->bytes,
		  ring_transfer(&ring, IORING_OP_READ_FIXED, self->file,
				self->map, self->bytes));
	EXPECT_OWNED_DATA(THIRD);
	EXPECT_EQ(0, syscall(SYS_io_uring_register, ring.fd,
			     IORING_UNREGISTER_BUFFERS, NULL, 0));
	close(ring.fd);
	/* The pins are dropped asynchronously. */
	for (tries = 0; tries < 200 && !owned_take(owned); tries++)
		usleep(10000);
	EXPECT_STILL_OWNED();
	EXPECT_OWNED_DATA(THIRD);
}

/* Core dumps */

#define CORE_FILE	"/tmp/hmm-core"

/* Does the dump hold the pattern at @map? */
static bool dump_holds(const char *map, size_t npages, __u64 seed)
{
	int file = open(CORE_FILE, O_RDONLY | O_CLOEXEC);
	size_t bytes = npages * PAGE_BYTES;
	uintptr_t start = (uintptr_t)map;
	void *data = buffer_of(bytes);
	bool right = false;
	struct elf64_hdr head;
	struct elf64_phdr part;
	size_t i;

	if (file < 0 || read(file, &head, sizeof(head)) != sizeof(head) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG)) {
		printf("# no core dump\n");
		goto out;
	}
	for (i = 0; i < head.e_phnum; i++) {
		off_t at = head.e_phoff + i * sizeof(part);

		if (pread(file, &part, sizeof(part), at) != sizeof(part))
			break;
		if (part.p_type != PT_LOAD || part.p_vaddr > start ||
		    start + bytes > part.p_vaddr + part.p_filesz)
			continue;
		at = part.p_offset + start - part.p_vaddr;
		right = pread(file, data, bytes, at) == (ssize_t)bytes &&
			pattern_is(data, npages, seed);
		goto out;
	}
	printf("# the dump has no such range\n");
out:
	if (file >= 0)
		close(file);
	free(data);
	return right;
}

static __noreturn void take_and_abort(struct owned *owned)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	owned->fd = dmirror_open(owned->kind == OWNED_COHERENT ? 2 : 0);
	if (owned->fd < 0 || !owned_take(owned) ||
	    setrlimit(RLIMIT_CORE, &limit))
		_exit(1);
	signal(SIGABRT, SIG_DFL);
	abort();
}

TEST_F(kernel_access, core_dump_contains_device_writes)
{
	pid_t child;
	int status;

	if (!setting_change(&self->settings[0], "/proc/sys/kernel/core_pattern",
			    CORE_FILE))
		SKIP(return, "no core dumps");
	setting_change(&self->settings[1], "/proc/sys/kernel/core_uses_pid",
		       "0");
	unlink(CORE_FILE);
	child = fork_off();
	if (!child)
		take_and_abort(&self->owned);
	status = wait_for_child(child, DUMP_SECONDS);
	ASSERT_NE(-1, status);
	ASSERT_TRUE(WIFSIGNALED(status) && WCOREDUMP(status));
	EXPECT_TRUE(dump_holds(self->map, self->npages, 1));
	unlink(CORE_FILE);
	EXPECT_OWNED_DATA(1);
}

/* zswap, and its writeback to the swap device */

#define ZSWAP		"/sys/module/zswap/parameters/"
#define ZSWAP_STATS	"/sys/kernel/debug/zswap/"

/* Neither device memory nor exclusive pages can be swapped out by madvise(). */
static void bring_back(struct owned *owned)
{
	if (owned->kind == OWNED_PRIVATE || owned->kind == OWNED_COHERENT)
		dmirror_command(owned->fd, HMM_DMIRROR_MIGRATE_TO_SYS,
				owned->map, owned->npages);
	read_pages(owned->map, owned->npages);
}

static bool swap_out_and_write_back(struct __test_metadata *_metadata,
				    char *map, size_t npages,
				    struct setting *percent)
{
	long stored = read_number(ZSWAP_STATS "stored_pages");
	long written = vm_event("zswpwb");
	char *other;
	int tries;

	if (!swap_out(map, npages))
		return false;
	EXPECT_LE(stored + (long)npages,
		  read_number(ZSWAP_STATS "stored_pages"));
	/* With the pool full, the next store starts writeback. */
	setting_change(percent, ZSWAP "max_pool_percent", "0");
	for (tries = 0; tries < 100; tries++) {
		other = map_anon_small(PAGE_BYTES);
		pattern_fill(other, 1, THIRD);
		swap_out(other, 1);
		munmap(other, PAGE_BYTES);
		if (vm_event("zswpwb") >= written + (long)npages)
			break;
		usleep(20000);
	}
	setting_restore(percent);
	EXPECT_LE(written + (long)npages, vm_event("zswpwb"));
	return true;
}

TEST_F(kernel_access, pages_from_zswap_and_its_disk)
{
	if (!setting_change(&self->settings[0], ZSWAP "enabled", "Y"))
		SKIP(return, "no zswap");
	if (!swap_start(&self->swap, SWAP_BYTES))
		SKIP(return, "no zram to swap to");
	bring_back(&self->owned);
	ASSERT_TRUE(swap_out_and_write_back(_metadata, self->map, self->npages,
					    &self->settings[1]));
	ASSERT_TRUE(device_reads(self->fd, self->map, self->npages, 1));
	EXPECT_TRUE(owned_take(&self->owned));
	EXPECT_TRUE(device_reads(self->fd, self->map, self->npages, 1));
	EXPECT_OWNED_DATA(1);
}

TEST_F(kernel_access, pages_from_zswap)
{
	if (!setting_change(&self->settings[0], ZSWAP "enabled", "Y"))
		SKIP(return, "no zswap");
	if (!swap_start(&self->swap, SWAP_BYTES))
		SKIP(return, "no zram to swap to");
	bring_back(&self->owned);
	EXPECT_EQ(0, device_writes_parts(self->fd, self->map, self->npages,
					 OTHER));
	ASSERT_TRUE(swap_out(self->map, self->npages));
	EXPECT_LE((long)self->npages,
		  read_number(ZSWAP_STATS "stored_pages"));
	ASSERT_EQ(0, device_writes_parts(self->fd, self->map, self->npages / 2,
					 THIRD));
	EXPECT_TRUE(pattern_is(self->map, self->npages / 2, THIRD));
	EXPECT_TRUE(pattern_is(self->map + self->bytes / 2, self->npages / 2,
			       OTHER + self->npages / 2));
}

/* uprobes */

#define UPROBE_TYPE	"/sys/bus/event_source/devices/uprobe/type"
#define BREAKPOINT	0xcc
#define PROGRAM		"/tmp/hmm-uprobe"
#define FUNCTION	64	/* offset in the first page: nop, ret */

FIXTURE(uprobes)
{
	int fd;
	int file;
	char *map;
	unsigned char page[PAGE_BYTES];	/* the data without a breakpoint */
};

FIXTURE_SETUP(uprobes)
{
	static const unsigned char function[] = { 0x90, 0xc3 };

	self->fd = dmirror_open(0);
	if (self->fd < 0)
		SKIP(return, "no dummy devices");
	if (access(UPROBE_TYPE, F_OK))
		SKIP(return, "no uprobes");
	pattern_fill(self->page, 1, 1);
	memcpy(self->page + FUNCTION, function, sizeof(function));
	self->file = open(PROGRAM, O_RDWR | O_CREAT | O_TRUNC, 0700);
	ASSERT_LE(0, self->file);
	ASSERT_EQ((ssize_t)PAGE_BYTES,
		  write(self->file, self->page, PAGE_BYTES));
	self->map = map_at(map_anon_small(PAGE_BYTES), PAGE_BYTES,
			   PROT_READ | PROT_EXEC, MAP_PRIVATE, self->file);
}

FIXTURE_TEARDOWN(uprobes)
{
	munmap(self->map, PAGE_BYTES);
	if (self->file > 0)
		close(self->file);
	unlink(PROGRAM);
	close(self->fd);
}

static int probe_function(void)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = read_number(UPROBE_TYPE),
		.config1 = (uintptr_t)PROGRAM,
		.config2 = FUNCTION,
	};
	int event = syscall(SYS_perf_event_open, &attr, getpid(), -1, -1,
			    PERF_FLAG_FD_CLOEXEC);

	if (event < 0)
		fatal("uprobe: %s", strerror(errno));
	return event;
}

static __u64 times_called(int event)
{
	__u64 count;

	if (read(event, &count, sizeof(count)) != sizeof(count))
		fatal("uprobe: %s", strerror(errno));
	return count;
}

static void call_it(char *map)
{
	((void (*)(void))(map + FUNCTION))();
}

/* The device reads the page, with @byte where the probe is. */
static bool device_sees(int fd, char *map, const unsigned char *page,
			unsigned char byte)
{
	unsigned char data[PAGE_BYTES], expected[PAGE_BYTES];

	memcpy(expected, page, PAGE_BYTES);
	expected[FUNCTION] = byte;
	if (device_read(fd, map, 1, data))
		return false;
	if (data[FUNCTION] != byte)
		printf("# the device reads %#x, not %#x\n", data[FUNCTION],
		       byte);
	return !memcmp(data, expected, PAGE_BYTES);
}

static void probe_and_remove(struct __test_metadata *_metadata, int fd,
			     char *map, const unsigned char *page)
{
	int event = probe_function();

	EXPECT_TRUE(device_sees(fd, map, page, BREAKPOINT));
	call_it(map);
	call_it(map);
	EXPECT_EQ(2, times_called(event));
	EXPECT_TRUE(device_sees(fd, map, page, BREAKPOINT));
	close(event);
	EXPECT_TRUE(device_sees(fd, map, page, page[FUNCTION]));
	EXPECT_EQ(0, memcmp(map, page, PAGE_BYTES));
	call_it(map);
}

TEST_F(uprobes, mirrored_page_of_a_file)
{
	EXPECT_TRUE(device_sees(self->fd, self->map, self->page, 0x90));
	probe_and_remove(_metadata, self->fd, self->map, self->page);
	probe_and_remove(_metadata, self->fd, self->map, self->page);
}

/* Have the page copied on write: only anonymous pages migrate. */
static void make_own(char *map, unsigned char *page)
{
	if (mprotect(map, PAGE_BYTES, PROT_READ | PROT_WRITE))
		fatal("mprotect: %s", strerror(errno));
	page[PAGE_BYTES - 1] ^= 1;
	map[PAGE_BYTES - 1] = page[PAGE_BYTES - 1];
}

static void make_program(char *map)
{
	if (mprotect(map, PAGE_BYTES, PROT_READ | PROT_EXEC))
		fatal("mprotect: %s", strerror(errno));
}

TEST_F(uprobes, page_on_the_device)
{
	make_own(self->map, self->page);
	make_program(self->map);
	dmirror_to_device(self->fd, self->map, 1);
	ASSERT_EQ(1, device_count(self->fd, self->map, 1, own_place(0)));
	probe_and_remove(_metadata, self->fd, self->map, self->page);
}

TEST_F(uprobes, page_with_breakpoint_migrates)
{
	int event;

	make_own(self->map, self->page);
	make_program(self->map);
	event = probe_function();
	dmirror_to_device(self->fd, self->map, 1);
	ASSERT_EQ(1, device_count(self->fd, self->map, 1, own_place(0)));
	EXPECT_TRUE(device_sees(self->fd, self->map, self->page, BREAKPOINT));
	call_it(self->map);
	EXPECT_EQ(1, times_called(event));
	dmirror_to_device(self->fd, self->map, 1);
	ASSERT_EQ(1, device_count(self->fd, self->map, 1, own_place(0)));
	/* Removed while it is there */
	close(event);
	EXPECT_TRUE(device_sees(self->fd, self->map, self->page, 0x90));
	EXPECT_EQ(0, memcmp(self->map, self->page, PAGE_BYTES));
	call_it(self->map);
}

/* A writable mapping gets no breakpoint, but may have been read-only before. */
TEST_F(uprobes, breakpoint_in_an_exclusive_page)
{
	int event;

	make_own(self->map, self->page);
	make_program(self->map);
	event = probe_function();
	ASSERT_EQ(0, mprotect(self->map, PAGE_BYTES, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, device_seize(self->fd, self->map, 1));
	ASSERT_EQ(1, device_seized(self->fd, self->map, 1));
	close(event);
	EXPECT_TRUE(device_sees(self->fd, self->map, self->page, 0x90));
	EXPECT_EQ(0, memcmp(self->map, self->page, PAGE_BYTES));
	make_program(self->map);
	call_it(self->map);
}

/* Secret memory: see range and migrate for faults and migration. */
TEST(secret_memory_is_not_migrated)
{
	int file = secret_file(PAGE_BYTES);
	int fd = dmirror_open(0);
	char *map, data[PAGE_BYTES];

	if (file < 0)
		SKIP(return, "no secret memory");
	if (fd < 0)
		SKIP(return, "no dummy devices");
	if (!device_is_ours(fd))
		SKIP(return, "the stock driver oopses");
	map = map_at(map_anon_small(PAGE_BYTES), PAGE_BYTES,
		     PROT_READ | PROT_WRITE, MAP_SHARED, file);
	pattern_fill(map, 1, 1);
	EXPECT_GT(0, device_read(fd, map, 1, data));
	EXPECT_GT(0, device_write(fd, map, 1, data));
	EXPECT_GT(0, device_seize(fd, map, 1));
	EXPECT_EQ(0, device_seized(fd, map, 1));
	EXPECT_TRUE(pattern_is(map, 1, 1));
	close(fd);
	close(file);
}

TEST_HARNESS_MAIN
