// SPDX-License-Identifier: GPL-2.0
/*
 * Memory goes away while something holds its pages: a migration between two
 * steps, an eviction, a CPU fault in migrate_to_ram(), or a device that makes
 * them exclusive. Whatever holds them finds them unmapped when it goes on, and
 * they must be freed once, unlocked.
 *
 * The memory belongs to a child, which zaps it, exits, calls exec() or is
 * reaped, by process_mrelease() or by the OOM killer.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"
#include "lib/group.h"
#include "lib/move.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open		434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd		438
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease	448
#endif

#define SEED		0x3000UL
#define OTHER		0x700000UL
#define SMALL_PAGES	16
#define GROUP_LIMIT	"8M"
#define GORGE_BYTES	(64UL << 20)
#define REAP_SECONDS	60
#define WHOLE		(HMM_MOVE_COMPOUND | HMM_MOVE_FOLIOS)
#define TO_DEVICE	(HMM_MOVE_TO_DEVICE | HMM_MOVE_HINT | WHOLE)

/* What holds the pages: a move with these flags, or a fault */
struct way {
	__u64 flags;
	bool coherent;
	bool fault;
	bool huge;
	bool split;	/* its destinations are small pages */
	bool shared;	/* the parent has the memory, too, and keeps its data */
};

enum holder {
	BY_CHILD,	/* with the mmap_lock of the memory's only owner */
	BY_NOBODY,	/* without any mmap_lock */
	BY_PARENT,	/* with the mmap_lock of a process that shares it */
};

struct zapped {
	const struct way *way;
	enum holder holder;
	size_t npages;
	int fd;
	int probe;
	__u64 freed_locked;	/* coherent folios, before */
	struct child child;
	int pidfd;
	int child_fd;		/* the child's file of the device */
	char *map;		/* in the child; in the parent if shared */
	struct held held;
	struct worker toucher;
	size_t left;		/* pages of folios that are mapped after it all */
	struct group group;	/* for the OOM killer */
};

static bool is_ours(void)
{
	int fd = dmirror_open(0);
	bool ours = fd >= 0 && device_is_ours(fd);

	if (fd >= 0)
		close(fd);
	return ours;
}

/* The memory */

static bool is_shared(const struct zapped *zapped)
{
	return zapped->holder == BY_PARENT || zapped->way->shared;
}

static bool begins_on_device(const struct way *way)
{
	if (way->flags & HMM_MOVE_EXCLUSIVE)
		return way->coherent;
	return !(way->flags & HMM_MOVE_TO_DEVICE);
}

static __u64 coherent_flag(const struct way *way)
{
	return way->coherent ? HMM_MOVE_COHERENT : 0;
}

static char *zapped_map(const struct way *way, size_t npages, int probe, int fd)
{
	char *map = way->huge ? map_thp(probe, HUGE_BYTES) :
				map_anon_small(npages * PAGE_BYTES);

	if (!map)
		return NULL;
	pattern_fill(map, npages, SEED);
	if (begins_on_device(way) &&
	    move_pages_to(fd, map, npages, TO_DEVICE | coherent_flag(way),
			  HUGE_ORDER).moved != npages)
		fatal("not all has moved to the device");
	return map;
}

static struct hmm_move zapped_move(const struct way *way, size_t npages,
				   __u64 addr)
{
	return (struct hmm_move) {
		.addr = addr,
		.npages = npages,
		.flags = way->flags | (way->flags & HMM_MOVE_EXCLUSIVE ? 0 :
				       coherent_flag(way)),
		.order = way->split ? 0 : HUGE_ORDER,
	};
}

static void touch(void *page)
{
	read_pages(page, 1);
}

/* In the child */

static struct {
	int fd;
	int probe;
	struct held held;
	struct held lingers;
	struct worker toucher;
	char *room;
} here;

static long work_open(char *addr, size_t npages, __u64 unused)
{
	here.probe = probe_open();
	here.fd = move_open();
	return here.fd;
}

static long work_map(char *addr, size_t npages, __u64 way)
{
	return (long)zapped_map((struct way *)(uintptr_t)way, npages,
				here.probe, here.fd);
}

static long work_pfn(char *addr, size_t npages, __u64 unused)
{
	return pfn_at(here.probe, addr);
}

static long work_hold(char *addr, size_t npages, __u64 number)
{
	const struct way *way = (struct way *)(uintptr_t)number;

	here.held.fd = here.fd;
	here.held.move = zapped_move(way, npages, (uintptr_t)addr);
	here.held.move.flags |= HMM_MOVE_STUBBORN;
	held_start(&here.held);
	return 0;
}

/* Returns how many pages have been offered. */
static long work_join(char *addr, size_t npages, __u64 unused)
{
	worker_join(&here.held.worker);
	return here.held.move.offered;
}

static long work_touch(char *addr, size_t npages, __u64 unused)
{
	worker_start(&here.toucher, touch, addr);
	return 0;
}

static long work_join_touch(char *addr, size_t npages, __u64 unused)
{
	worker_join(&here.toucher);
	return npages;
}

/* A thread that no kill ends keeps the address space. Returns its file. */
static long work_linger(char *addr, size_t npages, __u64 unused)
{
	char *page = map_anon_small(PAGE_BYTES);

	pattern_fill(page, 1, SEED);
	here.lingers.fd = move_open();
	here.lingers.move = (struct hmm_move) {
		.addr = (uintptr_t)page,
		.npages = 1,
		.flags = TO_DEVICE | HMM_MOVE_STAY_UNMAPPED | HMM_MOVE_STUBBORN,
	};
	held_start(&here.lingers);
	return here.lingers.fd;
}

/* For more memory than the cgroup has; while pages are held, nothing is mapped. */
static long work_make_room(char *addr, size_t npages, __u64 unused)
{
	here.room = map_anon_small(GORGE_BYTES);
	return 0;
}

/* Does not return. */
static long work_gorge(char *addr, size_t npages, __u64 unused)
{
	pattern_fill(here.room, GORGE_BYTES / PAGE_BYTES, SEED);
	return 0;
}

static long work_dontneed(char *addr, size_t npages, __u64 unused)
{
	return madvise(addr, npages * PAGE_BYTES, MADV_DONTNEED) ? -errno : 0;
}

static long work_is_zero(char *addr, size_t npages, __u64 unused)
{
	return is_zero(addr, npages);
}

static long work_exec(char *addr, size_t npages, __u64 unused)
{
	execlp("true", "true", NULL);
	return -errno;
}

/* In the parent */

static long child_answer(struct zapped *zapped, work_t work)
{
	return child_do(&zapped->child, work, zapped->map, zapped->npages,
			(uintptr_t)zapped->way);
}

static int child_file(struct zapped *zapped, work_t work)
{
	int file = child_answer(zapped, work);
	int fd = syscall(SYS_pidfd_getfd, zapped->pidfd, file, 0);

	if (fd < 0)
		fatal("pidfd_getfd: %s", strerror(errno));
	return fd;
}

static void zapped_fork(struct zapped *zapped)
{
	child_start(&zapped->child);
	zapped->pidfd = syscall(SYS_pidfd_open, zapped->child.pid, 0);
	if (zapped->pidfd < 0)
		fatal("pidfd_open: %s", strerror(errno));
	zapped->child_fd = child_file(zapped, work_open);
}

static void zapped_unfork(struct zapped *zapped)
{
	if (zapped->child.pid)
		child_stop(&zapped->child);
	if (zapped->pidfd >= 0)
		close(zapped->pidfd);
	if (zapped->child_fd >= 0)
		close(zapped->child_fd);
}

/* The child has ended; returns its status. */
static int zapped_wait(struct zapped *zapped)
{
	int status = wait_for_child(zapped->child.pid, 10);

	close(zapped->child.orders);
	close(zapped->child.answers);
	zapped->child.pid = 0;
	return status;
}

static void zapped_setup(struct __test_metadata *_metadata,
			 struct zapped *zapped, const struct way *way,
			 enum holder holder)
{
	const bool for_ours = way->flags & HMM_MOVE_EVICT ||
			      (way->flags & HMM_MOVE_EXCLUSIVE && way->huge);
	struct hmm_coherent coherent;

	*zapped = (struct zapped) {
		.way = way,
		.holder = holder,
		.npages = way->huge ? HUGE_PAGES : SMALL_PAGES,
		.fd = move_open(),
		.probe = probe_open(),
		.pidfd = -1,
		.child_fd = -1,
	};
	if (zapped->probe < 0 || zapped->fd < 0)
		SKIP(return, "no /dev/hmm_probe_move");
	if (!move_coherent_look(zapped->fd, &coherent) && way->coherent)
		SKIP(return, "no memory is reserved for the probe");
	if (for_ours && !is_ours())
		SKIP(return, "7.3 has no such call");
	zapped->freed_locked = coherent.freed_locked;
	move_serve(zapped->fd, HUGE_PAGES, WHOLE, 0);
	ASSERT_TRUE(move_in_use_is(zapped->fd, 0));
	if (way->coherent)
		ASSERT_TRUE(move_coherent_in_use_is(zapped->fd, 0));
	if (is_shared(zapped))
		zapped->map = zapped_map(way, zapped->npages, zapped->probe,
					 zapped->fd);
	if (is_shared(zapped) && !zapped->map)
		SKIP(return, "no huge page");
	zapped_fork(zapped);
	if (!is_shared(zapped))
		zapped->map = (char *)child_answer(zapped, work_map);
	if (!zapped->map)
		SKIP(zapped_unfork(zapped), "no huge page");
}

static void zapped_teardown(struct __test_metadata *_metadata,
			    struct zapped *zapped)
{
	struct hmm_coherent coherent = {};

	if (is_shared(zapped)) {
		EXPECT_TRUE(pattern_is(zapped->map, zapped->npages, SEED));
		munmap(zapped->map, zapped->npages * PAGE_BYTES);
	}
	zapped_unfork(zapped);
	EXPECT_TRUE(move_in_use_is(zapped->fd, 0));
	EXPECT_EQ(0, move_served(zapped->fd).freed_locked);
	if (zapped->way->coherent) {
		EXPECT_TRUE(move_coherent_in_use_is(zapped->fd, 0));
		move_coherent_look(zapped->fd, &coherent);
		EXPECT_EQ(zapped->freed_locked, coherent.freed_locked);
	}
	EXPECT_TRUE(group_remove(&zapped->group));
	group_unmount(&zapped->group);
	close(zapped->fd);
	close(zapped->probe);
}

/* The next fault stays, wherever it is. */
static void zapped_hold_fault(struct zapped *zapped)
{
	move_serve(zapped->fd, HUGE_PAGES,
		   WHOLE | HMM_MOVE_STUBBORN | zapped->way->flags, 0);
	if (zapped->holder == BY_CHILD)
		child_answer(zapped, work_touch);
	else
		worker_start(&zapped->toucher, touch, zapped->map);
	if (ioctl(zapped->fd, HMM_MOVE_AWAIT_FAULT))
		fatal("the fault does not stay: %s", strerror(errno));
}

/* Returns when the pages are held. */
static void zapped_hold(struct zapped *zapped)
{
	const struct way *way = zapped->way;
	__u64 addr = (uintptr_t)zapped->map;

	if (way->fault) {
		zapped_hold_fault(zapped);
		return;
	}
	if (zapped->holder == BY_CHILD) {
		child_answer(zapped, work_hold);
		return;
	}
	if (way->flags & HMM_MOVE_BY_PFN)
		addr = child_answer(zapped, work_pfn);
	zapped->held.fd = way->flags & HMM_MOVE_EXCLUSIVE ? zapped->child_fd :
							    zapped->fd;
	zapped->held.move = zapped_move(way, zapped->npages, addr);
	held_start(&zapped->held);
}

/* Whatever holds the pages goes on. */
static void zapped_go_on(struct zapped *zapped)
{
	const bool fault = zapped->way->fault;

	if (zapped->holder == BY_CHILD || fault) {
		if (ioctl(fault ? zapped->fd : zapped->child_fd,
			  fault ? HMM_MOVE_FAULT_GO_ON : HMM_MOVE_GO_ON))
			fatal("it does not stay any more");
	} else {
		held_finish(&zapped->held);
	}
	if (zapped->holder == BY_PARENT && fault)
		worker_join(&zapped->toucher);
}

/* And ends. All pages must have been held, and the move must be possible. */
static void zapped_finish(struct __test_metadata *_metadata,
			  struct zapped *zapped)
{
	const bool fault = zapped->way->fault;

	/* Some may wait to be put on the LRU, with references. */
	if (zapped->way->flags & HMM_MOVE_EXCLUSIVE)
		vm_order("drop_caches", "1");
	zapped_go_on(zapped);
	if (zapped->holder == BY_CHILD) {
		EXPECT_EQ((long)zapped->npages,
			  child_answer(zapped, fault ? work_join_touch :
						       work_join));
	} else if (!fault) {
		EXPECT_EQ(0, zapped->held.move.rc);
		EXPECT_EQ(zapped->npages, zapped->held.move.offered);
	}
	if (zapped->way->flags & HMM_MOVE_EXCLUSIVE)
		EXPECT_EQ(zapped->left, zapped->held.move.referenced);
}

/* What the process had is freed by then: for KASAN, its anon_vma. */
static void wait_for_rcu(void)
{
	int i;

	for (i = 0; i < 2; i++)
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0);
	usleep(100000);
}

static void zap_dontneed(struct __test_metadata *_metadata,
			 struct zapped *zapped)
{
	struct child *child = &zapped->child;
	size_t npages = zapped->npages;
	char *map = zapped->map;

	zapped_hold(zapped);
	EXPECT_EQ(0, child_answer(zapped, work_dontneed));
	zapped_finish(_metadata, zapped);
	EXPECT_TRUE(child_answer(zapped, work_is_zero));
	child_do(child, work_fill, map, npages, OTHER);
	EXPECT_TRUE(child_do(child, work_check, map, npages, OTHER));
}

/* The other half keeps its data. */
static void zap_dontneed_half(struct __test_metadata *_metadata,
			      struct zapped *zapped)
{
	struct child *child = &zapped->child;
	size_t half = zapped->npages / 2;
	char *map = zapped->map;

	if (zapped->way->coherent && zapped->way->huge && !is_ours())
		SKIP(return, "a defect of 7.3: see coherent-large");
	zapped_hold(zapped);
	EXPECT_EQ(0, child_do(child, work_dontneed, map, half, 0));
	zapped->left = zapped->way->huge ? zapped->npages : half;
	zapped_finish(_metadata, zapped);
	EXPECT_TRUE(child_do(child, work_is_zero, map, half, 0));
	EXPECT_TRUE(child_do(child, work_check, map + half * PAGE_BYTES, half,
			     SEED + half));
}

static void zap_munmap(struct __test_metadata *_metadata,
		       struct zapped *zapped)
{
	zapped_hold(zapped);
	EXPECT_EQ(0, child_answer(zapped, work_unmap));
	zapped_finish(_metadata, zapped);
}

static void zap_exit(struct __test_metadata *_metadata, struct zapped *zapped)
{
	zapped_hold(zapped);
	child_tell(&zapped->child, NULL, NULL, 0, 0);
	EXPECT_EQ(0, zapped_wait(zapped));
	wait_for_rcu();
	zapped_finish(_metadata, zapped);
}

/* The old address space is gone when the new program has begun. */
static void zap_exec(struct __test_metadata *_metadata, struct zapped *zapped)
{
	zapped_hold(zapped);
	child_tell(&zapped->child, work_exec, NULL, 0, 0);
	EXPECT_EQ(0, zapped_wait(zapped));
	wait_for_rcu();
	zapped_finish(_metadata, zapped);
}

/* The child is killed and reaped while a thread still has the address space. */
static void zap_reaped(struct __test_metadata *_metadata,
		       struct zapped *zapped,
		       void (*reap)(struct __test_metadata *_metadata,
				    struct zapped *zapped))
{
	int lingers = -1;

	zapped_hold(zapped);
	if (zapped->holder != BY_CHILD)
		lingers = child_file(zapped, work_linger);
	reap(_metadata, zapped);
	if (zapped->holder == BY_CHILD) {
		zapped_go_on(zapped);
	} else {
		zapped_finish(_metadata, zapped);
		EXPECT_EQ(0, ioctl(lingers, HMM_MOVE_GO_ON));
		close(lingers);
	}
	EXPECT_EQ(SIGKILL, zapped_wait(zapped));
}

static void reap_by_call(struct __test_metadata *_metadata,
			 struct zapped *zapped)
{
	ASSERT_EQ(0, kill(zapped->child.pid, SIGKILL));
	EXPECT_EQ(0, syscall(SYS_process_mrelease, zapped->pidfd, 0));
}

static void zap_mrelease(struct __test_metadata *_metadata,
			 struct zapped *zapped)
{
	zap_reaped(_metadata, zapped, reap_by_call);
}

/* Waits until the kernel's log, from where @log is, says that it has reaped @pid. */
static bool is_reaped(int log, pid_t pid)
{
	time_t end = time(NULL) + REAP_SECONDS;
	char line[1024], wanted[64];
	ssize_t n;

	snprintf(wanted, sizeof(wanted), "oom_reaper: reaped process %d ", pid);
	do {
		n = read(log, line, sizeof(line) - 1);
		line[n > 0 ? n : 0] = '\0';
		if (strstr(line, wanted))
			return true;
		if (n < 0)
			usleep(10000);
	} while (time(NULL) < end);
	return false;
}

static void reap_by_killer(struct __test_metadata *_metadata,
			   struct zapped *zapped)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	const char *group = zapped->group.path;
	char pid[16];

	ASSERT_LE(0, log);
	ASSERT_LE(0, lseek(log, 0, SEEK_END));
	snprintf(pid, sizeof(pid), "%d", zapped->child.pid);
	EXPECT_TRUE(group_write(group, "memory.max", GROUP_LIMIT));
	EXPECT_TRUE(group_write(group, "memory.swap.max", "0"));
	EXPECT_TRUE(group_write(group, "cgroup.procs", pid));
	child_tell(&zapped->child, work_gorge, NULL, 0, 0);
	EXPECT_TRUE(is_reaped(log, zapped->child.pid));
	close(log);
}

static void zap_oom(struct __test_metadata *_metadata, struct zapped *zapped)
{
	if (!group_make(&zapped->group))
		SKIP(return, "no memory cgroups");
	child_answer(zapped, work_make_room);
	zap_reaped(_metadata, zapped, reap_by_killer);
}

/* Moves by address, and CPU faults: what needs mmap_lock */
#define LOCKED_FIXTURE(name, by)					\
FIXTURE(name)								\
{									\
	struct zapped zapped;						\
};									\
									\
FIXTURE_VARIANT(name)							\
{									\
	struct way way;							\
};									\
									\
FIXTURE_SETUP(name)							\
{									\
	zapped_setup(_metadata, &self->zapped, &variant->way, by);	\
}									\
									\
FIXTURE_TEARDOWN(name)							\
{									\
	zapped_teardown(_metadata, &self->zapped);			\
}									\
									\
FIXTURE_VARIANT_ADD(name, to_device_ptes_unmapped)			\
{									\
	.way = { .flags = TO_DEVICE | HMM_MOVE_STAY_UNMAPPED },		\
};									\
									\
FIXTURE_VARIANT_ADD(name, to_device_ptes_moved)				\
{									\
	.way = { .flags = TO_DEVICE | HMM_MOVE_STAY_MOVED },		\
};									\
									\
FIXTURE_VARIANT_ADD(name, to_device_pmd_unmapped)			\
{									\
	.way = { .flags = TO_DEVICE | HMM_MOVE_STAY_UNMAPPED,		\
		 .huge = true },					\
};									\
									\
FIXTURE_VARIANT_ADD(name, to_device_pmd_moved)				\
{									\
	.way = { .flags = TO_DEVICE | HMM_MOVE_STAY_MOVED,		\
		 .huge = true },					\
};									\
									\
FIXTURE_VARIANT_ADD(name, to_system_ptes_unmapped)			\
{									\
	.way = { .flags = WHOLE | HMM_MOVE_STAY_UNMAPPED },		\
};									\
									\
FIXTURE_VARIANT_ADD(name, to_system_ptes_moved)				\
{									\
	.way = { .flags = WHOLE | HMM_MOVE_STAY_MOVED },		\
};									\
									\
FIXTURE_VARIANT_ADD(name, to_system_pmd_unmapped)			\
{									\
	.way = { .flags = WHOLE | HMM_MOVE_STAY_UNMAPPED,		\
		 .huge = true },					\
};									\
									\
FIXTURE_VARIANT_ADD(name, to_system_pmd_moved)				\
{									\
	.way = { .flags = WHOLE | HMM_MOVE_STAY_MOVED, .huge = true },	\
};									\
									\
FIXTURE_VARIANT_ADD(name, fault_ptes_unmapped)				\
{									\
	.way = { .flags = HMM_MOVE_STAY_UNMAPPED, .fault = true },	\
};									\
									\
FIXTURE_VARIANT_ADD(name, fault_ptes_moved)				\
{									\
	.way = { .flags = HMM_MOVE_STAY_MOVED, .fault = true },		\
};									\
									\
FIXTURE_VARIANT_ADD(name, fault_pmd_unmapped)				\
{									\
	.way = { .flags = HMM_MOVE_STAY_UNMAPPED, .huge = true,		\
		 .fault = true },					\
};									\
									\
FIXTURE_VARIANT_ADD(name, fault_pmd_moved)				\
{									\
	.way = { .flags = HMM_MOVE_STAY_MOVED, .huge = true,		\
		 .fault = true },					\
};									\
									\
FIXTURE_VARIANT_ADD(name, coherent_to_device_ptes_unmapped)		\
{									\
	.way = { .flags = TO_DEVICE | HMM_MOVE_STAY_UNMAPPED,		\
		 .coherent = true },					\
};									\
									\
FIXTURE_VARIANT_ADD(name, coherent_to_device_ptes_moved)		\
{									\
	.way = { .flags = TO_DEVICE | HMM_MOVE_STAY_MOVED,		\
		 .coherent = true },					\
};									\
									\
FIXTURE_VARIANT_ADD(name, coherent_to_device_pmd_unmapped)		\
{									\
	.way = { .flags = TO_DEVICE | HMM_MOVE_STAY_UNMAPPED,		\
		 .huge = true, .coherent = true },			\
};									\
									\
FIXTURE_VARIANT_ADD(name, coherent_to_device_pmd_moved)			\
{									\
	.way = { .flags = TO_DEVICE | HMM_MOVE_STAY_MOVED,		\
		 .huge = true, .coherent = true },			\
};									\
									\
FIXTURE_VARIANT_ADD(name, coherent_to_system_ptes_unmapped)		\
{									\
	.way = { .flags = WHOLE | HMM_MOVE_STAY_UNMAPPED,		\
		 .coherent = true },					\
};									\
									\
FIXTURE_VARIANT_ADD(name, coherent_to_system_ptes_moved)		\
{									\
	.way = { .flags = WHOLE | HMM_MOVE_STAY_MOVED,			\
		 .coherent = true },					\
};									\
									\
FIXTURE_VARIANT_ADD(name, coherent_to_system_pmd_unmapped)		\
{									\
	.way = { .flags = WHOLE | HMM_MOVE_STAY_UNMAPPED,		\
		 .huge = true, .coherent = true },			\
};									\
									\
FIXTURE_VARIANT_ADD(name, coherent_to_system_pmd_moved)			\
{									\
	.way = { .flags = WHOLE | HMM_MOVE_STAY_MOVED, .huge = true,	\
		 .coherent = true },					\
};									\
									\
TEST_F(name, dontneed)							\
{									\
	zap_dontneed(_metadata, &self->zapped);				\
}									\
									\
TEST_F(name, dontneed_half)						\
{									\
	zap_dontneed_half(_metadata, &self->zapped);			\
}									\
									\
TEST_F(name, mrelease)							\
{									\
	zap_mrelease(_metadata, &self->zapped);				\
}									\
									\
struct _test_data_##name	/* to be ended by a semicolon */

/* By the process that the memory belongs to, which cannot exit meanwhile. */
LOCKED_FIXTURE(zap_locked, BY_CHILD);

/* By another process that shares it, and keeps its data */
LOCKED_FIXTURE(zap_shared, BY_PARENT);

TEST_F(zap_shared, munmap)
{
	zap_munmap(_metadata, &self->zapped);
}

TEST_F(zap_shared, exit)
{
	zap_exit(_metadata, &self->zapped);
}

TEST_F(zap_shared, exec)
{
	zap_exec(_metadata, &self->zapped);
}

/* Evictions, by pfn, and exclusive access do not need mmap_lock. */

FIXTURE(zap_unlocked)
{
	struct zapped zapped;
};

FIXTURE_VARIANT(zap_unlocked)
{
	struct way way;
};

FIXTURE_SETUP(zap_unlocked)
{
	zapped_setup(_metadata, &self->zapped, &variant->way, BY_NOBODY);
}

FIXTURE_TEARDOWN(zap_unlocked)
{
	zapped_teardown(_metadata, &self->zapped);
}

FIXTURE_VARIANT_ADD(zap_unlocked, evict_ptes_unmapped)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_UNMAPPED },
};

FIXTURE_VARIANT_ADD(zap_unlocked, evict_ptes_moved)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED },
};

FIXTURE_VARIANT_ADD(zap_unlocked, evict_pmd_unmapped)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_UNMAPPED,
		 .huge = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, evict_pmd_moved)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED,
		 .huge = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, evict_split_unmapped)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_UNMAPPED,
		 .huge = true, .split = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, evict_split_moved)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED,
		 .huge = true, .split = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, coherent_evict_ptes_unmapped)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_UNMAPPED,
		 .coherent = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, coherent_evict_ptes_moved)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED,
		 .coherent = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, coherent_evict_pmd_unmapped)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_UNMAPPED,
		 .huge = true, .coherent = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, coherent_evict_pmd_moved)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED,
		 .huge = true, .coherent = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, coherent_evict_split_unmapped)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_UNMAPPED,
		 .huge = true, .split = true, .coherent = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, coherent_evict_split_moved)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED,
		 .huge = true, .split = true, .coherent = true },
};

/* Of memory that the parent shares */
FIXTURE_VARIANT_ADD(zap_unlocked, shared_evict_ptes_unmapped)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_UNMAPPED,
		 .shared = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, shared_evict_ptes_moved)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED,
		 .shared = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, shared_evict_pmd_unmapped)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_UNMAPPED,
		 .huge = true, .shared = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, shared_evict_pmd_moved)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED,
		 .huge = true, .shared = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, shared_evict_split_unmapped)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_UNMAPPED,
		 .huge = true, .split = true, .shared = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, shared_evict_split_moved)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED,
		 .huge = true, .split = true, .shared = true },
};

/* migrate_device_evict() */
#define EVICT_ALL	(HMM_MOVE_BY_PFN | HMM_MOVE_EVICT | \
			 HMM_MOVE_STAY_UNMAPPED)

FIXTURE_VARIANT_ADD(zap_unlocked, evict_all_ptes)
{
	.way = { .flags = EVICT_ALL },
};

FIXTURE_VARIANT_ADD(zap_unlocked, evict_all_pmd)
{
	.way = { .flags = EVICT_ALL, .huge = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, evict_all_split)
{
	.way = { .flags = EVICT_ALL, .huge = true, .split = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, coherent_evict_all_ptes)
{
	.way = { .flags = EVICT_ALL, .coherent = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, coherent_evict_all_pmd)
{
	.way = { .flags = EVICT_ALL, .huge = true, .coherent = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, coherent_evict_all_split)
{
	.way = { .flags = EVICT_ALL, .huge = true, .split = true,
		 .coherent = true },
};

#define EXCLUSIVE	(HMM_MOVE_EXCLUSIVE | HMM_MOVE_STAY_MOVED)

FIXTURE_VARIANT_ADD(zap_unlocked, exclusive_ptes)
{
	.way = { .flags = EXCLUSIVE },
};

FIXTURE_VARIANT_ADD(zap_unlocked, exclusive_pmd)
{
	.way = { .flags = EXCLUSIVE, .huge = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, coherent_exclusive_ptes)
{
	.way = { .flags = EXCLUSIVE, .coherent = true },
};

FIXTURE_VARIANT_ADD(zap_unlocked, coherent_exclusive_pmd)
{
	.way = { .flags = EXCLUSIVE, .huge = true, .coherent = true },
};

TEST_F(zap_unlocked, dontneed)
{
	zap_dontneed(_metadata, &self->zapped);
}

TEST_F(zap_unlocked, dontneed_half)
{
	zap_dontneed_half(_metadata, &self->zapped);
}

TEST_F(zap_unlocked, munmap)
{
	zap_munmap(_metadata, &self->zapped);
}

TEST_F(zap_unlocked, exit)
{
	zap_exit(_metadata, &self->zapped);
}

TEST_F(zap_unlocked, exec)
{
	zap_exec(_metadata, &self->zapped);
}

TEST_F(zap_unlocked, mrelease)
{
	zap_mrelease(_metadata, &self->zapped);
}

/*
 * The OOM reaper comes two seconds after the kill, and does what
 * process_mrelease() does: some of the ways are enough.
 */
FIXTURE(zap_oom)
{
	struct zapped zapped;
};

FIXTURE_VARIANT(zap_oom)
{
	struct way way;
	enum holder holder;
};

FIXTURE_SETUP(zap_oom)
{
	zapped_setup(_metadata, &self->zapped, &variant->way, variant->holder);
}

FIXTURE_TEARDOWN(zap_oom)
{
	zapped_teardown(_metadata, &self->zapped);
}

FIXTURE_VARIANT_ADD(zap_oom, to_device_ptes)
{
	.way = { .flags = TO_DEVICE | HMM_MOVE_STAY_UNMAPPED },
	.holder = BY_CHILD,
};

FIXTURE_VARIANT_ADD(zap_oom, to_device_pmd)
{
	.way = { .flags = TO_DEVICE | HMM_MOVE_STAY_MOVED, .huge = true },
	.holder = BY_CHILD,
};

FIXTURE_VARIANT_ADD(zap_oom, fault_pmd)
{
	.way = { .flags = HMM_MOVE_STAY_MOVED, .fault = true, .huge = true },
	.holder = BY_CHILD,
};

FIXTURE_VARIANT_ADD(zap_oom, evict_ptes)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_UNMAPPED },
	.holder = BY_NOBODY,
};

FIXTURE_VARIANT_ADD(zap_oom, evict_pmd)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_UNMAPPED,
		 .huge = true },
	.holder = BY_NOBODY,
};

FIXTURE_VARIANT_ADD(zap_oom, coherent_evict_pmd)
{
	.way = { .flags = HMM_MOVE_BY_PFN | HMM_MOVE_STAY_MOVED,
		 .huge = true, .coherent = true },
	.holder = BY_NOBODY,
};

FIXTURE_VARIANT_ADD(zap_oom, exclusive_ptes)
{
	.way = { .flags = EXCLUSIVE },
	.holder = BY_NOBODY,
};

FIXTURE_VARIANT_ADD(zap_oom, exclusive_pmd)
{
	.way = { .flags = EXCLUSIVE, .huge = true },
	.holder = BY_NOBODY,
};

TEST_F_TIMEOUT(zap_oom, killed, 2 * REAP_SECONDS)
{
	zap_oom(_metadata, &self->zapped);
}

TEST_HARNESS_MAIN
