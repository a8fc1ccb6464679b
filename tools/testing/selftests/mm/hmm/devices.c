// SPDX-License-Identifier: GPL-2.0
/*
 * Several devices on one process, several files on one device, and files that
 * mirror another process than the one which opened them.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/device.h"

#define N		32UL
#define SEED		0x1000UL
#define OTHER		0x200000UL
#define BYTES		(N * PAGE_BYTES)
#define PAUSE_VARIABLE	"HMM_DEVICES_PAUSE"
#define NOBODY		65534

/* Two devices */

struct side {
	int fd;
	unsigned char place;
	struct hmm_dmirror_counters before;
};

FIXTURE(hmm_two_devices)
{
	struct side side[2];
	char *map;	/* N small pages with a pattern */
};

FIXTURE_VARIANT(hmm_two_devices)
{
	unsigned int device[2];
	bool in_place;	/* the second can use the first one's memory */
};

FIXTURE_VARIANT_ADD(hmm_two_devices, private_private)
{
	.device = { 0, 1 },
	.in_place = false,
};

FIXTURE_VARIANT_ADD(hmm_two_devices, coherent_coherent)
{
	.device = { 2, 3 },
	.in_place = true,
};

FIXTURE_VARIANT_ADD(hmm_two_devices, private_coherent)
{
	.device = { 0, 2 },
	.in_place = false,
};

FIXTURE_VARIANT_ADD(hmm_two_devices, coherent_private)
{
	.device = { 2, 0 },
	.in_place = true,
};

FIXTURE_SETUP(hmm_two_devices)
{
	const char *reason;
	int i;

	for (i = 0; i < 2; i++) {
		self->side[i].fd = device_open(variant->device[i], &reason);
		if (self->side[i].fd < 0)
			SKIP(return, "%s", reason);
		self->side[i].place = own_place(variant->device[i]);
		self->side[i].before = device_counters(self->side[i].fd);
	}
	self->map = map_anon_small(BYTES);
	pattern_fill(self->map, N, SEED);
}

FIXTURE_TEARDOWN(hmm_two_devices)
{
	int i;

	munmap(self->map, BYTES);
	for (i = 0; i < 2; i++) {
		EXPECT_TRUE(device_in_use_is(self->side[i].fd, self->side[i].before.in_use));
		close(self->side[i].fd);
	}
}

static struct hmm_dmirror_counters since(const struct side *side)
{
	return device_since(side->fd, &side->before);
}

static size_t on_device(const struct side *side, char *map)
{
	return device_count(side->fd, map, N, side->place);
}

/* A device does not migrate another one's pages; via system memory it does. */
TEST_F(hmm_two_devices, from_one_to_the_other)
{
	struct answer answer;

	ASSERT_EQ(0, device_take(self->side[0].fd, self->map, N).rc);
	answer = device_take(self->side[1].fd, self->map, N);
	EXPECT_EQ(-ENOENT, answer.rc);
	EXPECT_EQ(0, answer.cpages);
	EXPECT_EQ(0, device_give_back(self->side[1].fd, self->map, N).cpages);
	EXPECT_EQ(N, on_device(&self->side[0], self->map));
	EXPECT_EQ(0, on_device(&self->side[1], self->map));

	EXPECT_EQ(N, device_give_back(self->side[0].fd, self->map, N).cpages);
	EXPECT_EQ(0, device_take(self->side[1].fd, self->map, N).rc);
	EXPECT_EQ(0, on_device(&self->side[0], self->map));
	EXPECT_EQ(N, on_device(&self->side[1], self->map));
	EXPECT_TRUE(device_reads(self->side[1].fd, self->map, N, SEED));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_F(hmm_two_devices, count_for_themselves)
{
	ASSERT_EQ(0, device_take(self->side[0].fd, self->map, N).rc);
	EXPECT_EQ(N, since(&self->side[0]).migrated_in);
	EXPECT_EQ(N, since(&self->side[0]).allocated);
	EXPECT_EQ(0, since(&self->side[1]).migrated_in);
	EXPECT_EQ(0, since(&self->side[1]).allocated);
	EXPECT_EQ(0, since(&self->side[1]).in_use);
	EXPECT_EQ(0, device_evict(self->side[1].fd).evicted);
	EXPECT_EQ(N, on_device(&self->side[0], self->map));
	EXPECT_EQ(N, device_give_back(self->side[0].fd, self->map, N).cpages);
	EXPECT_EQ(N, since(&self->side[0]).migrated_out);
	EXPECT_EQ(N, since(&self->side[0]).freed);
	EXPECT_EQ(0, since(&self->side[1]).migrated_out);
	EXPECT_EQ(0, since(&self->side[1]).freed);
}

/* Half of the range on each */
TEST_F(hmm_two_devices, at_the_same_time)
{
	char *half = self->map + BYTES / 2;

	ASSERT_EQ(0, device_take(self->side[0].fd, self->map, N / 2).rc);
	ASSERT_EQ(0, device_take(self->side[1].fd, half, N / 2).rc);
	EXPECT_EQ(N / 2, on_device(&self->side[0], self->map));
	EXPECT_EQ(N / 2, on_device(&self->side[1], self->map));
	EXPECT_EQ(N / 2, device_give_back(self->side[0].fd, self->map, N).cpages);
	EXPECT_EQ(N / 2, on_device(&self->side[1], self->map));
	EXPECT_TRUE(pattern_is(self->map, N / 2, SEED));
	EXPECT_EQ(0, device_take(self->side[0].fd, self->map, N / 2).rc);
	EXPECT_EQ(N / 2, device_evict(self->side[1].fd).evicted);
	EXPECT_EQ(N / 2, on_device(&self->side[0], self->map));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* Private memory has to come back for another device; coherent does not. */
TEST_F(hmm_two_devices, one_reads_the_other)
{
	ASSERT_EQ(0, device_take(self->side[0].fd, self->map, N).rc);
	EXPECT_TRUE(device_reads(self->side[1].fd, self->map, N, SEED));
	EXPECT_EQ(variant->in_place ? N : 0, on_device(&self->side[0], self->map));
	EXPECT_EQ(variant->in_place ? 0 : N, since(&self->side[0]).faulted_out);
	EXPECT_EQ(0, since(&self->side[1]).faulted_out);
	EXPECT_TRUE(device_reads(self->side[0].fd, self->map, N, SEED));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

TEST_F(hmm_two_devices, one_writes_to_the_other)
{
	ASSERT_EQ(0, device_take(self->side[0].fd, self->map, N).rc);
	EXPECT_EQ(0, device_writes(self->side[1].fd, self->map, N / 2, OTHER));
	EXPECT_EQ(variant->in_place ? N : N / 2, on_device(&self->side[0], self->map));
	EXPECT_TRUE(device_reads(self->side[0].fd, self->map, N / 2, OTHER));
	EXPECT_TRUE(pattern_is(self->map, N / 2, OTHER));
	EXPECT_TRUE(pattern_is(self->map + BYTES / 2, N / 2, SEED + N / 2));
}

/* A snapshot migrates nothing; it shows what the device could use in place. */
TEST_F(hmm_two_devices, one_looks_at_the_other)
{
	unsigned char bytes[N];
	size_t i;

	ASSERT_EQ(0, device_take(self->side[0].fd, self->map, N).rc);
	device_look(self->side[1].fd, self->map, N, bytes);
	for (i = 0; i < N; i++)
		EXPECT_EQ(variant->in_place ? HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE |
					      HMM_DMIRROR_PROT_WRITE : HMM_DMIRROR_PROT_NONE,
			  bytes[i]);
	EXPECT_EQ(N, on_device(&self->side[0], self->map));
	EXPECT_EQ(0, since(&self->side[0]).cpu_faults);
}

/* In turn, many times: the page tables of both devices stay correct. */
TEST_F(hmm_two_devices, alternate_migrations)
{
	__u64 turn;

	for (turn = 0; turn < 20; turn++) {
		int mine = turn % 2, other = !mine;

		EXPECT_EQ(0, device_take(self->side[mine].fd, self->map, N).rc);
		EXPECT_TRUE(device_reads(self->side[mine].fd, self->map, N, SEED + turn));
		EXPECT_EQ(0, device_writes(self->side[mine].fd, self->map, N, SEED + turn + 1));
		EXPECT_TRUE(device_reads(self->side[other].fd, self->map, N, SEED + turn + 1));
		EXPECT_EQ(0, device_give_back(self->side[mine].fd, self->map, N).rc);
		EXPECT_TRUE(device_reads(self->side[other].fd, self->map, N, SEED + turn + 1));
	}
	EXPECT_TRUE(pattern_is(self->map, N, SEED + 20));
}

/* Two files of one device */

FIXTURE(hmm_two_files)
{
	int fd[2];
	unsigned char place;
	__u64 in_use;
	char *map;	/* N small pages with a pattern */
};

FIXTURE_VARIANT(hmm_two_files)
{
	unsigned int device;
};

FIXTURE_VARIANT_ADD(hmm_two_files, private)
{
	.device = 0,
};

FIXTURE_VARIANT_ADD(hmm_two_files, coherent)
{
	.device = 2,
};

FIXTURE_SETUP(hmm_two_files)
{
	const char *reason;

	self->fd[0] = device_open(variant->device, &reason);
	if (self->fd[0] < 0)
		SKIP(return, "%s", reason);
	self->fd[1] = dmirror_open(variant->device);
	ASSERT_LE(0, self->fd[1]);
	self->place = own_place(variant->device);
	self->in_use = device_counters(self->fd[0]).in_use;
	self->map = map_anon_small(BYTES);
	pattern_fill(self->map, N, SEED);
}

FIXTURE_TEARDOWN(hmm_two_files)
{
	munmap(self->map, BYTES);
	EXPECT_TRUE(device_in_use_is(self->fd[0], self->in_use));
	close(self->fd[0]);
	close(self->fd[1]);
}

TEST_F(hmm_two_files, see_the_same)
{
	struct hmm_dmirror_counters before = device_counters(self->fd[1]);

	EXPECT_TRUE(device_reads(self->fd[1], self->map, N, SEED));
	ASSERT_EQ(0, device_take(self->fd[0], self->map, N).rc);
	EXPECT_EQ(N, device_count(self->fd[1], self->map, N, self->place));
	EXPECT_TRUE(device_reads(self->fd[1], self->map, N, SEED));
	EXPECT_EQ(0, device_writes(self->fd[1], self->map, N, OTHER));
	EXPECT_TRUE(device_reads(self->fd[0], self->map, N, OTHER));
	EXPECT_EQ(N, device_count(self->fd[0], self->map, N, self->place));
	EXPECT_EQ(0, device_since(self->fd[1], &before).cpu_faults);

	EXPECT_EQ(0, device_take(self->fd[1], self->map, N).rc);
	EXPECT_EQ(N, device_give_back(self->fd[1], self->map, N).cpages);
	EXPECT_EQ(0, device_count(self->fd[0], self->map, N, self->place));
	pattern_fill(self->map, N, SEED);
	EXPECT_TRUE(device_reads(self->fd[0], self->map, N, SEED));
	EXPECT_TRUE(device_reads(self->fd[1], self->map, N, SEED));
}

/* A failure that is injected through one file does not affect the other. */
TEST_F(hmm_two_files, fail_for_themselves)
{
	device_fail(self->fd[0], HMM_DMIRROR_FAIL_DEVICE_ALLOC, 1);
	EXPECT_EQ(0, device_take(self->fd[1], self->map, N).rc);
	EXPECT_EQ(N, device_give_back(self->fd[1], self->map, N).cpages);
	EXPECT_EQ(-ENOENT, device_take(self->fd[0], self->map, N).rc);
	EXPECT_EQ(0, device_fail(self->fd[0], HMM_DMIRROR_FAIL_DEVICE_ALLOC, 0));
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
}

/* Another process */

FIXTURE(hmm_attach)
{
	int fd;
	int pidfd;
	unsigned char place;
	__u64 in_use;
	struct child child;	/* has its own pattern at @map */
	char *map;		/* N small pages with a pattern */
};

FIXTURE_VARIANT(hmm_attach)
{
	unsigned int device;
};

FIXTURE_VARIANT_ADD(hmm_attach, private)
{
	.device = 0,
};

FIXTURE_VARIANT_ADD(hmm_attach, coherent)
{
	.device = 2,
};

FIXTURE_SETUP(hmm_attach)
{
	const char *reason;

	self->fd = device_open(variant->device, &reason);
	if (self->fd < 0)
		SKIP(return, "%s", reason);
	self->place = own_place(variant->device);
	self->in_use = device_counters(self->fd).in_use;
	self->map = map_anon_small(BYTES);
	pattern_fill(self->map, N, SEED);
	child_start(&self->child);
	child_do(&self->child, work_fill, self->map, N, OTHER);
	self->pidfd = syscall(SYS_pidfd_open, self->child.pid, 0);
	ASSERT_LE(0, self->pidfd);
	ASSERT_EQ(0, device_attach(self->fd, self->pidfd));
}

FIXTURE_TEARDOWN(hmm_attach)
{
	if (self->child.pid)
		child_stop(&self->child);
	close(self->pidfd);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	munmap(self->map, BYTES);
	EXPECT_TRUE(device_in_use_is(self->fd, self->in_use));
	close(self->fd);
}

TEST_F(hmm_attach, reads_and_writes)
{
	EXPECT_TRUE(device_reads(self->fd, self->map, N, OTHER));
	EXPECT_EQ(0, device_writes(self->fd, self->map, N, OTHER + 1));
	EXPECT_TRUE(child_do(&self->child, work_check, self->map, N, OTHER + 1));
	child_do(&self->child, work_fill, self->map, N, OTHER + 2);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, OTHER + 2));
	ASSERT_EQ(0, device_attach(self->fd, syscall(SYS_pidfd_open, getpid(), 0)));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, SEED));
}

TEST_F(hmm_attach, migrates)
{
	struct answer answer = device_take(self->fd, self->map, N);

	EXPECT_EQ(0, answer.rc);
	EXPECT_EQ(N, answer.cpages);
	EXPECT_EQ(N, device_count(self->fd, self->map, N, self->place));
	EXPECT_EQ(self->in_use + N, device_counters(self->fd).in_use);
	EXPECT_TRUE(device_reads(self->fd, self->map, N, OTHER));
	EXPECT_TRUE(child_do(&self->child, work_check, self->map, N / 2, OTHER));
	EXPECT_EQ(0, device_writes(self->fd, self->map, N, OTHER + 1));
	EXPECT_EQ(0, device_give_back(self->fd, self->map, N).rc);
	EXPECT_EQ(0, device_count(self->fd, self->map, N, self->place));
	EXPECT_TRUE(child_do(&self->child, work_check, self->map, N, OTHER + 1));
}

static const unsigned long range_commands[] = {
	HMM_DMIRROR_READ, HMM_DMIRROR_WRITE, HMM_DMIRROR_MIGRATE_TO_DEV,
	HMM_DMIRROR_MIGRATE_TO_SYS, HMM_DMIRROR_SNAPSHOT, HMM_DMIRROR_EXCLUSIVE,
	HMM_DMIRROR_CHECK_EXCLUSIVE, HMM_DMIRROR_READ_UNLOCKED, HMM_DMIRROR_PLACE,
};

/* How many range commands say that the process is gone */
static size_t refused(int fd, void *addr)
{
	static char data[PAGE_BYTES];
	size_t i, n = 0;

	for (i = 0; i < ARRAY_SIZE(range_commands); i++)
		n += device_ask(fd, range_commands[i], addr, data, 1).rc == -ESRCH;
	return n;
}

/* The device refuses a zombie, and a process that has been reaped. */
TEST_F(hmm_attach, exits)
{
	siginfo_t info;

	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
	EXPECT_EQ(0, refused(self->fd, self->map));
	kill(self->child.pid, SIGKILL);
	ASSERT_EQ(0, waitid(P_PID, self->child.pid, &info, WEXITED | WNOWAIT));
	EXPECT_EQ(ARRAY_SIZE(range_commands), refused(self->fd, self->map));
	EXPECT_EQ(-ESRCH, device_attach(self->fd, self->pidfd));
	child_kill(&self->child);
	self->child.pid = 0;
	EXPECT_EQ(ARRAY_SIZE(range_commands), refused(self->fd, self->map));
	EXPECT_EQ(-ESRCH, device_attach(self->fd, self->pidfd));
	EXPECT_TRUE(device_in_use_is(self->fd, self->in_use));
}

/* In the program that a child becomes: wait to be killed. */
static __attribute__((constructor)) void pause_if_asked(void)
{
	if (!getenv(PAUSE_VARIABLE))
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static long work_exec(char *addr, size_t npages, __u64 unused)
{
	char * const arguments[] = { "devices", NULL };
	char * const environment[] = { PAUSE_VARIABLE "=1", NULL };

	execve("/proc/self/exe", arguments, environment);
	return -errno;
}

/* Once its pipes are closed, the child is another program. */
static bool becomes_another(struct child *child)
{
	long answer;

	child_tell(child, work_exec, NULL, 0, 0);
	return !read(child->answers, &answer, sizeof(answer));
}

/* exec() has replaced the old memory, but the process is still there. */
TEST_F(hmm_attach, executes_a_program)
{
	ASSERT_EQ(0, device_take(self->fd, self->map, N).rc);
	ASSERT_TRUE(becomes_another(&self->child));
	EXPECT_TRUE(device_in_use_is(self->fd, self->in_use));
	EXPECT_EQ(ARRAY_SIZE(range_commands), refused(self->fd, self->map));
	EXPECT_EQ(0, device_attach(self->fd, self->pidfd));
	EXPECT_EQ(0, refused(self->fd, self->map));
	EXPECT_NE(0, device_ask(self->fd, HMM_DMIRROR_READ, self->map, NULL, 1).rc);
	child_kill(&self->child);
	self->child.pid = 0;
	EXPECT_EQ(ARRAY_SIZE(range_commands), refused(self->fd, self->map));
}

/* A file that fails to attach still mirrors what it did before. */
TEST_F(hmm_attach, bad_pidfds)
{
	struct hmm_dmirror_attach args = { .pidfd = self->pidfd, .flags = 1 };
	int file = open("/dev/null", O_RDWR | O_CLOEXEC);
	int gone, thread = syscall(SYS_pidfd_open, 2, 0);
	struct child child;

	EXPECT_EQ(-EBADF, device_attach(self->fd, -1));
	EXPECT_EQ(-EBADF, device_attach(self->fd, 1000000));
	EXPECT_EQ(-EINVAL, device_attach(self->fd, file));
	EXPECT_EQ(-EINVAL, device_attach(self->fd, self->fd));
	if (thread >= 0)
		EXPECT_EQ(-EINVAL, device_attach(self->fd, thread));
	EXPECT_EQ(-1, ioctl(self->fd, HMM_DMIRROR_ATTACH, &args));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, ioctl(self->fd, HMM_DMIRROR_ATTACH, NULL));
	EXPECT_EQ(EFAULT, errno);

	child_start(&child);
	gone = syscall(SYS_pidfd_open, child.pid, 0);
	child_stop(&child);
	EXPECT_EQ(-ESRCH, device_attach(self->fd, gone));
	EXPECT_TRUE(device_reads(self->fd, self->map, N, OTHER));
	close(gone);
	close(thread);
	close(file);
}

/* Without privileges, a process may name only itself, for any file. */
static long work_attach_as_nobody(char *addr, size_t npages, __u64 fd)
{
	int self = syscall(SYS_pidfd_open, getpid(), 0);
	int parent = syscall(SYS_pidfd_open, getppid(), 0);

	if (setresuid(NOBODY, NOBODY, NOBODY))
		return 0;
	if (device_attach(fd, parent) != -EPERM)
		return 0;
	if (!device_reads(fd, addr, npages, OTHER))
		return 0;
	return !device_attach(fd, self) && device_reads(fd, addr, npages, OTHER);
}

TEST_F(hmm_attach, without_rights)
{
	if (getuid())
		SKIP(return, "needs root, to begin with");
	EXPECT_TRUE(child_do(&self->child, work_attach_as_nobody, self->map, N, self->fd));
}

/* Many mirrors of one process, and many times the same */
TEST_F(hmm_attach, again_and_again)
{
	int own = syscall(SYS_pidfd_open, getpid(), 0);
	int i;

	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, device_attach(self->fd, i % 2 ? self->pidfd : own));
		EXPECT_TRUE(device_reads(self->fd, self->map, 4, i % 2 ? OTHER : SEED));
		if (i % 5 == 0)
			EXPECT_EQ(0, device_take(self->fd, self->map, 4).rc);
	}
	EXPECT_TRUE(device_reads(self->fd, self->map, N, OTHER));
	close(own);
}

TEST_HARNESS_MAIN
