// SPDX-License-Identifier: GPL-2.0
/*
 * First subscriptions of an address space, and readers, beside invalidations in
 * flight: which are waited for, and which must not be.
 *
 * Nothing here measures time. An invalidation is held in flight by the probe, or
 * by what really holds it, until the test ends it. A call that must wait has not
 * returned after a while, and returns once the invalidation ends. A call that
 * must not wait returns while the invalidation is still in flight.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/common.h"
#include "lib/group.h"
#include "lib/notify.h"
#include "hmm_probe/hmm_probe_inval_uapi.h"

#define N		16
#define HALF		(N / 2)
#define BYTES		(N * PAGE_BYTES)
#define NO_KIND		(~0ULL)
#define STACK_BYTES	(16 * PAGE_BYTES)

/* Of each kind, more than an implementation may have slots for */
#define MANY		100

/* Invalidations in flight that begin together and end together */
struct invals {
	struct hmm_inval inval;
	pthread_t threads[MANY];
	unsigned int n;
	int fd;
	pthread_mutex_t gate;
	bool closed;	/* the gate */
};

/* What the probe needs to make them: a reader of that file takes its time. */
static struct hmm_inval_symbols symbols;

static void __attribute__((constructor)) find_symbols(void)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	unsigned long long address;
	char line[512], name[256];

	while (file && fgets(line, sizeof(line), file)) {
		/* Not the probe's own, which call these */
		if (strchr(line, '[') || !strstr(line, " __mmu_notifier_") ||
		    sscanf(line, "%llx %*c %255s", &address, name) != 2)
			continue;
		if (!strcmp(name, "__mmu_notifier_invalidate_range_start"))
			symbols.start = address;
		else if (!strcmp(name, "__mmu_notifier_invalidate_range_end"))
			symbols.end = address;
		else if (!strcmp(name, "__mmu_notifier_wake"))
			symbols.wake = address;
	}
	if (file)
		fclose(file);
}

static bool invals_open(struct invals *invals)
{
	memset(invals, 0, sizeof(*invals));
	pthread_mutex_init(&invals->gate, NULL);
	invals->fd = probe_device("hmm_probe_inval");
	return invals->fd >= 0 &&
	       !ioctl(invals->fd, HMM_INVAL_SYMBOLS, &symbols);
}

static void invals_ioctl(struct invals *invals, unsigned long request,
			 void *arg)
{
	if (ioctl(invals->fd, request, arg))
		fatal("ioctl %#lx: %s", request, strerror(errno));
}

static __u64 invals_count(struct invals *invals)
{
	__u64 count;

	invals_ioctl(invals, HMM_INVAL_COUNT, &count);
	return count;
}

static void invals_await(struct invals *invals, __u64 count)
{
	invals_ioctl(invals, HMM_INVAL_AWAIT, &count);
}

/* Of the calling task, until they end */
static void inval_make(struct invals *invals, char *start, size_t npages,
		       __u64 flags)
{
	struct hmm_inval inval = {
		.start = (uintptr_t)start,
		.end = (uintptr_t)start + npages * PAGE_BYTES,
		.flags = flags,
	};

	invals_ioctl(invals, HMM_INVAL_MAKE, &inval);
}

static void *invals_run(void *arg)
{
	struct invals *invals = arg;

	pthread_mutex_lock(&invals->gate);
	pthread_mutex_unlock(&invals->gate);
	invals_ioctl(invals, HMM_INVAL_MAKE, &invals->inval);
	return NULL;
}

/* Threads cannot be made while the mmap lock is held: make them before. */
static void invals_prepare(struct invals *invals, unsigned int n,
			   char *start, size_t npages, __u64 flags)
{
	invals->inval = (struct hmm_inval) {
		.start = (uintptr_t)start,
		.end = (uintptr_t)start + npages * PAGE_BYTES,
		.flags = flags,
	};
	pthread_mutex_lock(&invals->gate);
	invals->closed = true;
	for (invals->n = 0; invals->n < n; invals->n++)
		if (pthread_create(&invals->threads[invals->n], NULL,
				   invals_run, invals))
			fatal("no thread");
}

static void invals_go(struct invals *invals)
{
	if (invals->closed)
		pthread_mutex_unlock(&invals->gate);
	invals->closed = false;
}

static void invals_begin(struct invals *invals)
{
	invals_go(invals);
	invals_await(invals, invals->n);
}

static void invals_end(struct invals *invals)
{
	unsigned int i;

	invals_ioctl(invals, HMM_INVAL_END, NULL);
	invals_go(invals);
	for (i = 0; i < invals->n; i++)
		pthread_join(invals->threads[i], NULL);
	invals->n = 0;
}

static void invals_close(struct invals *invals)
{
	if (invals->fd < 0)
		return;
	invals_end(invals);
	close(invals->fd);
}

/* Subscriptions to the pages at @map */

#define interval(fd, map)	subscribe(fd, HMM_NOTIFY_INTERVAL, map, BYTES)
#define list(fd, map)		subscribe(fd, HMM_NOTIFY_LIST, map, BYTES)
#define try_place(fd, kind, map, ms)					\
	sub_place(fd, HMM_NOTIFY_SUBSCRIBE, kind, map, BYTES, ms)

static bool waits_on(int fd)
{
	struct hmm_notify_call call = { .patience_ms = A_WHILE_MS };

	return ioctl(fd, HMM_NOTIFY_AWAIT, &call) && errno == ETIMEDOUT;
}

/* It is on the list by then, though the call may not have returned. */
static bool wait_until_told(int fd, char *map)
{
	unsigned int tries;

	for (tries = 0; tries < SOON_MS; tries++) {
		drop(map, 1);
		if (sub_state(fd).starts)
			return true;
		usleep(1000);
	}
	return false;
}

static void subscribe_as(int fd, __u64 kind, char *map)
{
	if (kind == NO_KIND)
		return;
	subscribe(fd, kind, map, BYTES);
	if (kind == HMM_NOTIFY_INTERVAL)
		settle(fd);
}

/* Processes */

static void kill_child(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	wait_for_child(pid, SOON_MS / 1000);
}

/* @state as in /proc/PID/stat */
static bool process_is(pid_t pid, char state)
{
	char path[32], line[256], *end = NULL;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
	if (fd >= 0)
		close(fd);
	if (n > 0) {
		line[n] = '\0';
		end = strrchr(line, ')');
	}
	return end && end[1] == ' ' && end[2] == state;
}

static bool wait_until_process_is(pid_t pid, char state)
{
	unsigned int tries;

	for (tries = 0; tries < SOON_MS; tries++) {
		if (process_is(pid, state))
			return true;
		usleep(1000);
	}
	return false;
}

/* The child stops for its parent to look on. */
static void stop_for_parent(void)
{
	raise(SIGSTOP);
}

static bool wait_until_stopped(pid_t pid)
{
	return wait_until_process_is(pid, 'T');
}

static bool wait_for_rc(int fd, int rc)
{
	unsigned int tries;

	for (tries = 0; tries < SOON_MS; tries++) {
		if (sub_state(fd).last_rc == rc)
			return true;
		usleep(1000);
	}
	return false;
}

/* None of it has to do with other processes. */

#define others_go_on(fd1, fd2, map) do {				\
	EXPECT_EQ(0, try_place(fd1, HMM_NOTIFY_INTERVAL, map, SOON_MS));\
	EXPECT_EQ(0, sub_try(fd1, HMM_NOTIFY_READ, SOON_MS));		\
	EXPECT_EQ(0, try_place(fd2, HMM_NOTIFY_LIST, map, SOON_MS));	\
} while (0)

FIXTURE(hmm_other_process)
{
	struct invals invals;
	int theirs;
	int a;
	char *map;
	pid_t pid;
};

FIXTURE_VARIANT(hmm_other_process)
{
	__u64 kind;
};

FIXTURE_VARIANT_ADD(hmm_other_process, without_subscription)
{
	.kind = NO_KIND,
};

FIXTURE_VARIANT_ADD(hmm_other_process, with_list)
{
	.kind = HMM_NOTIFY_LIST,
};

FIXTURE_VARIANT_ADD(hmm_other_process, with_interval)
{
	.kind = HMM_NOTIFY_INTERVAL,
};

FIXTURE_SETUP(hmm_other_process)
{
	self->theirs = sub_open();
	self->a = sub_open();
	if (!invals_open(&self->invals) || self->a < 0)
		SKIP(return, "no hmm_probe");
	self->map = map_anon_small(BYTES);
	write_pages(self->map, N, 1);
	self->pid = fork_off();
	if (!self->pid) {
		subscribe_as(self->theirs, variant->kind, self->map);
		inval_make(&self->invals, self->map, N, HMM_INVAL_MMAP_LOCK);
		_exit(0);
	}
	invals_await(&self->invals, 1);
}

FIXTURE_TEARDOWN(hmm_other_process)
{
	EXPECT_EQ(1, invals_count(&self->invals));
	invals_close(&self->invals);
	EXPECT_EQ(0, wait_for_child(self->pid, SOON_MS / 1000));
	close(self->theirs);
	close(self->a);
	munmap(self->map, BYTES);
}

TEST_F(hmm_other_process, first_read_does_not_wait)
{
	EXPECT_EQ(0, try_place(self->a, HMM_NOTIFY_INTERVAL, self->map,
			       SOON_MS));
	EXPECT_EQ(0, sub_try(self->a, HMM_NOTIFY_READ, SOON_MS));
}

TEST_F(hmm_other_process, first_register_does_not_wait)
{
	EXPECT_EQ(0, try_place(self->a, HMM_NOTIFY_LIST, self->map, SOON_MS));
}

TEST_F(hmm_other_process, first_register_with_mmap_lock_does_not_wait)
{
	EXPECT_EQ(0, try_place(self->a, HMM_NOTIFY_LIST_LOCKED, self->map,
			       SOON_MS));
}

TEST_F(hmm_other_process, first_get_does_not_wait)
{
	EXPECT_EQ(0, try_place(self->a, HMM_NOTIFY_SHARED, self->map, SOON_MS));
}

/* The same with what holds invalidations in flight for long without a probe */

struct shared_page {
	int ready;
	int go;
	int forked;
};

FIXTURE(hmm_long_invalidation)
{
	struct shared_page *page;
	struct group group;
	int a;
	int b;
	char *map;
	pid_t pid;
	pid_t *hogs;
	long n;
};

FIXTURE_SETUP(hmm_long_invalidation)
{
	self->a = sub_open();
	self->b = sub_open();
	if (self->b < 0)
		SKIP(return, "no /dev/hmm_probe_notify");
	self->map = map_anon_small(BYTES);
	write_pages(self->map, N, 1);
	self->page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->page);
	memset(self->page, 0, PAGE_BYTES);
}

FIXTURE_TEARDOWN(hmm_long_invalidation)
{
	long i;

	for (i = 0; i < self->n; i++)
		kill_child(self->hogs[i]);
	free(self->hogs);
	if (self->group.made)
		group_write(self->group.path, "memory.high", "max");
	kill_child(self->pid);
	group_remove(&self->group);
	group_unmount(&self->group);
	close(self->a);
	close(self->b);
}

static bool wait_for_word(int *word)
{
	unsigned int tries;

	for (tries = 0; tries < 12 * SOON_MS; tries++) {
		if (__atomic_load_n(word, __ATOMIC_ACQUIRE))
			return true;
		usleep(1000);
	}
	return false;
}

static void set_word(int *word)
{
	__atomic_store_n(word, 1, __ATOMIC_RELEASE);
}

/* Pages of zeroes, mapped: many page tables and no memory besides */
static char *map_zeroes(size_t bytes, size_t step)
{
	char *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t at;

	if (map == MAP_FAILED)
		fatal("mmap: %s", strerror(errno));
	madvise(map, bytes, MADV_NOHUGEPAGE);
	for (at = 0; at < bytes; at += step)
		read_pages(map + at, 1);
	return map;
}

#define FORKED_BYTES	(8 * GIGANTIC_BYTES)

/* The page tables of the forked process go beyond memory.high. */
static void __noreturn fork_slowly(struct _test_data_hmm_long_invalidation *self)
{
	struct shared_page *page = self->page;
	char pid[16];
	char *map;

	snprintf(pid, sizeof(pid), "%d", getpid());
	if (!group_write(self->group.path, "cgroup.procs", pid))
		fatal("cgroup.procs: %s", strerror(errno));
	map = map_zeroes(FORKED_BYTES, HUGE_BYTES);
	/* Without an anon_vma fork() does not look at the mapping. */
	write_pages(map, 1, 1);
	set_word(&page->ready);
	wait_for_word(&page->go);
	if (!fork())
		_exit(0);
	set_word(&page->forked);
	_exit(0);
}

/* A kernel with checkers takes its time to map what the fork copies. */
TEST_F_TIMEOUT(hmm_long_invalidation, fork_beyond_memory_high, 120)
{
	if (!group_make(&self->group))
		SKIP(return, "no memory cgroup");
	self->pid = fork_off();
	if (!self->pid)
		fork_slowly(self);
	ASSERT_TRUE(wait_for_word(&self->page->ready));
	ASSERT_TRUE(group_write(self->group.path, "memory.high", "1M"));
	set_word(&self->page->go);
	if (!wait_until_process_is(self->pid, 'D'))
		SKIP(return, "fork() is not throttled");
	others_go_on(self->a, self->b, self->map);
	EXPECT_EQ(0, self->page->forked);
}

#define PROTECTED_BYTES	(2 * GIGANTIC_BYTES)

static void __noreturn mprotect_idly(struct shared_page *page)
{
	char *map = map_zeroes(PROTECTED_BYTES, PAGE_BYTES);
	struct sched_param param = {};

	if (sched_setscheduler(0, SCHED_IDLE, &param))
		fatal("SCHED_IDLE: %s", strerror(errno));
	set_word(&page->ready);
	for (;;) {
		mprotect(map, PROTECTED_BYTES, PROT_NONE);
		mprotect(map, PROTECTED_BYTES, PROT_READ);
	}
}

static void __noreturn hog(void)
{
	for (;;)
		asm volatile("" ::: "memory");
}

TEST_F_TIMEOUT(hmm_long_invalidation, idle_mprotect_beside_busy_processors, 120)
{
	long n = 2 * sysconf(_SC_NPROCESSORS_ONLN);

	if (how_brief())
		SKIP(return, "takes long");
	self->pid = fork_off();
	if (!self->pid)
		mprotect_idly(self->page);
	ASSERT_TRUE(wait_for_word(&self->page->ready));
	self->hogs = calloc(n, sizeof(*self->hogs));
	for (; self->n < n; self->n++) {
		self->hogs[self->n] = fork_off();
		if (!self->hogs[self->n])
			hog();
	}
	sleep(1);
	others_go_on(self->a, self->b, self->map);
}

/* Those of the address space itself, from before the subscription */

FIXTURE(hmm_own_process)
{
	struct invals invals;
	int before;
	int a;
	char *map;
};

FIXTURE_VARIANT(hmm_own_process)
{
	__u64 kind;
};

FIXTURE_VARIANT_ADD(hmm_own_process, first)
{
	.kind = NO_KIND,
};

FIXTURE_VARIANT_ADD(hmm_own_process, after_list)
{
	.kind = HMM_NOTIFY_LIST,
};

FIXTURE_VARIANT_ADD(hmm_own_process, after_interval)
{
	.kind = HMM_NOTIFY_INTERVAL,
};

FIXTURE_SETUP(hmm_own_process)
{
	self->before = sub_open();
	self->a = sub_open();
	if (!invals_open(&self->invals) || self->a < 0)
		SKIP(return, "no hmm_probe");
	self->map = map_anon_small(BYTES);
	write_pages(self->map, N, 1);
	invals_prepare(&self->invals, 1, self->map, N, HMM_INVAL_MMAP_LOCK);
	subscribe_as(self->before, variant->kind, self->map);
	invals_begin(&self->invals);
}

FIXTURE_TEARDOWN(hmm_own_process)
{
	invals_close(&self->invals);
	close(self->before);
	close(self->a);
	munmap(self->map, BYTES);
}

/* On 7.3 it is the insert that waits, for the mmap lock. */
TEST_F(hmm_own_process, reader_waits)
{
	int rc = try_place(self->a, HMM_NOTIFY_INTERVAL, self->map, A_WHILE_MS);
	__u64 seq = 0;

	if (!rc)
		EXPECT_EQ(-ETIMEDOUT, sub_try(self->a, HMM_NOTIFY_READ,
					      A_WHILE_MS));
	EXPECT_EQ(1, invals_count(&self->invals));
	invals_end(&self->invals);
	ASSERT_EQ(0, sub_await(self->a, &seq));
	if (rc) {
		EXPECT_EQ(-ETIMEDOUT, rc);
		ASSERT_EQ(0, sub_do(self->a, HMM_NOTIFY_READ, &seq));
	}
	EXPECT_EQ(0, sub_do(self->a, HMM_NOTIFY_RETRY, &seq));
	EXPECT_EQ(0, sub_state(self->a).starts);
	drop(self->map, 1);
	EXPECT_EQ(1, sub_do(self->a, HMM_NOTIFY_RETRY, &seq));
}

/* It would get the end of what it has not seen the start of. */
TEST_F(hmm_own_process, register_waits)
{
	EXPECT_EQ(-ETIMEDOUT, try_place(self->a, HMM_NOTIFY_LIST, self->map,
					A_WHILE_MS));
	EXPECT_EQ(1, invals_count(&self->invals));
	invals_end(&self->invals);
	ASSERT_EQ(0, sub_await(self->a, NULL));
	EXPECT_EQ(0, sub_state(self->a).starts);
	EXPECT_EQ(0, sub_state(self->a).ends);
	drop(self->map, 1);
	EXPECT_EQ(1, sub_state(self->a).starts);
	EXPECT_EQ(1, sub_state(self->a).ends);
}

/*
 * Those of the address space itself that start later. Each thread has a page of
 * its own, elsewhere: there is no moment without one, and none that overlaps.
 */

#define BUSY_THREADS	8

struct busy {
	pthread_t threads[BUSY_THREADS];
	char *map;
	unsigned int next;	/* atomic */
	bool over;		/* atomic */
};

static void *busy_run(void *arg)
{
	struct busy *busy = arg;
	unsigned int i = __atomic_fetch_add(&busy->next, 1, __ATOMIC_RELAXED);

	while (!__atomic_load_n(&busy->over, __ATOMIC_ACQUIRE)) {
		write_pages(busy->map + i * PAGE_BYTES, 1, 1);
		drop(busy->map + i * PAGE_BYTES, 1);
	}
	return NULL;
}

FIXTURE(hmm_never_idle)
{
	struct busy busy;
	int a;
	char *map;
};

FIXTURE_SETUP(hmm_never_idle)
{
	unsigned int i;

	self->a = sub_open();
	if (self->a < 0)
		SKIP(return, "no /dev/hmm_probe_notify");
	self->map = map_anon_small(BYTES);
	self->busy.map = map_anon_small(BUSY_THREADS * PAGE_BYTES);
	write_pages(self->map, N, 1);
	for (i = 0; i < BUSY_THREADS; i++)
		if (pthread_create(&self->busy.threads[i], NULL, busy_run,
				   &self->busy))
			fatal("no thread");
	while (__atomic_load_n(&self->busy.next, __ATOMIC_RELAXED) < i)
		usleep(1000);
}

FIXTURE_TEARDOWN(hmm_never_idle)
{
	unsigned int i;

	__atomic_store_n(&self->busy.over, true, __ATOMIC_RELEASE);
	for (i = 0; i < BUSY_THREADS; i++)
		pthread_join(self->busy.threads[i], NULL);
	close(self->a);
	munmap(self->map, BYTES);
	munmap(self->busy.map, BUSY_THREADS * PAGE_BYTES);
}

TEST_F(hmm_never_idle, first_read_returns)
{
	EXPECT_EQ(0, try_place(self->a, HMM_NOTIFY_INTERVAL, self->map,
			       SOON_MS));
	EXPECT_EQ(0, sub_try(self->a, HMM_NOTIFY_READ, SOON_MS));
}

TEST_F(hmm_never_idle, first_register_returns)
{
	EXPECT_EQ(0, try_place(self->a, HMM_NOTIFY_LIST, self->map, SOON_MS));
}

TEST_F(hmm_never_idle, first_register_with_mmap_lock_returns)
{
	EXPECT_EQ(0, try_place(self->a, HMM_NOTIFY_LIST_LOCKED, self->map,
			       SOON_MS));
}

/* The invalidation is made by another process with the same address space. */

struct partner {
	struct invals *invals;
	char *map;
	int *gate;	/* a pipe, to be read from first; or NULL */
};

static int partner_run(void *arg)
{
	struct partner *partner = arg;
	char byte;

	if (partner->gate) {
		/* Ours, or the end of the test would not be the end of the pipe. */
		close(partner->gate[1]);
		if (read(partner->gate[0], &byte, 1) != 1)
			_exit(0);
	}
	inval_make(partner->invals, partner->map, N, HMM_INVAL_MMAP_LOCK);
	_exit(0);
}

FIXTURE(hmm_killed)
{
	struct invals invals;
	struct invals second;
	int gate[2];
	int before;
	int elsewhere;
	int a;
	char *map;
	char *stack;
	pid_t pid;
};

FIXTURE_VARIANT(hmm_killed)
{
	__u64 kind;
};

FIXTURE_VARIANT_ADD(hmm_killed, first)
{
	.kind = NO_KIND,
};

FIXTURE_VARIANT_ADD(hmm_killed, after_list)
{
	.kind = HMM_NOTIFY_LIST,
};

FIXTURE_VARIANT_ADD(hmm_killed, after_interval)
{
	.kind = HMM_NOTIFY_INTERVAL,
};

FIXTURE_SETUP(hmm_killed)
{
	self->before = sub_open();
	self->elsewhere = sub_open();
	self->a = sub_open();
	self->second.fd = -1;
	if (!invals_open(&self->invals) || !invals_open(&self->second) ||
	    self->a < 0)
		SKIP(return, "no hmm_probe");
	ASSERT_EQ(0, pipe(self->gate));
	self->map = map_anon_small(BYTES);
	self->stack = map_anon_small(2 * STACK_BYTES);
	write_pages(self->map, N, 1);
	write_pages(self->stack, 2 * STACK_BYTES / PAGE_BYTES, 1);
}

FIXTURE_TEARDOWN(hmm_killed)
{
	invals_close(&self->invals);
	invals_close(&self->second);
	kill_child(self->pid);
	close(self->gate[0]);
	close(self->gate[1]);
	close(self->before);
	close(self->elsewhere);
	close(self->a);
	munmap(self->map, BYTES);
	munmap(self->stack, 2 * STACK_BYTES);
}

static void partner_start(struct partner *partner, char *stack)
{
	if (clone(partner_run, stack + STACK_BYTES, CLONE_VM, partner) < 0)
		fatal("clone: %s", strerror(errno));
}

/* The second one waits at the gate. */
static void __noreturn
register_beside_partners(struct _test_data_hmm_killed *self, __u64 kind)
{
	struct partner first = {
		.invals = &self->invals,
		.map = self->map,
	};
	struct partner second = {
		.invals = &self->second,
		.map = self->map,
		.gate = self->gate,
	};

	subscribe_as(self->before, kind, self->map);
	partner_start(&first, self->stack);
	partner_start(&second, self->stack + STACK_BYTES);
	invals_await(&self->invals, 1);
	try_place(self->a, HMM_NOTIFY_LIST, self->map, 0);
	_exit(1);
}

static void start_waiting_register(struct __test_metadata *_metadata,
				   struct _test_data_hmm_killed *self,
				   __u64 kind)
{
	self->pid = fork_off();
	if (!self->pid)
		register_beside_partners(self, kind);
	invals_await(&self->invals, 1);
	ASSERT_TRUE(wait_until_process_is(self->pid, 'D'));
}

static void kill_register(struct __test_metadata *_metadata,
			  struct _test_data_hmm_killed *self,
			  struct invals *in_flight)
{
	ASSERT_EQ(0, kill(self->pid, SIGKILL));
	EXPECT_TRUE(wait_for_rc(self->a, -EINTR));
	EXPECT_EQ(SIGKILL, wait_for_child(self->pid, SOON_MS / 1000));
	EXPECT_EQ(1, invals_count(in_flight));
	self->pid = 0;
}

TEST_F(hmm_killed, waiting_register)
{
	start_waiting_register(_metadata, self, variant->kind);
	kill_register(_metadata, self, &self->invals);
}

/*
 * Some invalidation is always in flight: the call waits for the second one,
 * too.
 */
TEST_F(hmm_killed, waiting_for_a_later_one)
{
	start_waiting_register(_metadata, self, variant->kind);
	ASSERT_EQ(1, write(self->gate[1], "", 1));
	invals_await(&self->second, 1);
	invals_ioctl(&self->invals, HMM_INVAL_END, NULL);
	usleep(A_WHILE_MS * 1000);
	ASSERT_TRUE(process_is(self->pid, 'D'));
	kill_register(_metadata, self, &self->second);
}

/* The callback may be waiting for a lock that is held across the register. */
TEST_F(hmm_killed, beside_a_callback_of_another_process)
{
	pid_t other;

	plan(self->elsewhere, HMM_NOTIFY_HOLD_START, 0);
	other = fork_off();
	if (!other) {
		list(self->elsewhere, self->map);
		drop(self->map, 1);
		_exit(0);
	}
	sub_ioctl(self->elsewhere, HMM_NOTIFY_AWAIT_HOLD, NULL);
	start_waiting_register(_metadata, self, variant->kind);
	kill_register(_metadata, self, &self->invals);
	sub_ioctl(self->elsewhere, HMM_NOTIFY_LET_GO, NULL);
	EXPECT_EQ(0, wait_for_child(other, SOON_MS / 1000));
}

/*
 * Invalidations follow one another, as those of fork() do, one for each mapping. A
 * subscription comes between two of them, and waits for the first one only.
 */

FIXTURE(hmm_consecutive)
{
	struct invals invals[2];
	int reader;
	int a;
	char *map;
};

FIXTURE_SETUP(hmm_consecutive)
{
	self->invals[1].fd = -1;
	self->reader = sub_open();
	self->a = sub_open();
	if (!invals_open(&self->invals[0]) ||
	    !invals_open(&self->invals[1]) || self->a < 0)
		SKIP(return, "no hmm_probe");
	self->map = map_anon_small(BYTES);
	write_pages(self->map, N, 1);
	/* So that each has a place */
	interval(self->reader, self->map);
	settle(self->reader);
}

FIXTURE_TEARDOWN(hmm_consecutive)
{
	invals_close(&self->invals[0]);
	invals_close(&self->invals[1]);
	close(self->reader);
	close(self->a);
	munmap(self->map, BYTES);
}

static void *one_after_another(void *arg)
{
	struct _test_data_hmm_consecutive *self = arg;

	inval_make(&self->invals[0], self->map, N, 0);
	inval_make(&self->invals[1], self->map, N, 0);
	return NULL;
}

TEST_F(hmm_consecutive, register_in_between)
{
	pthread_t thread;
	bool waited;

	ASSERT_EQ(0, pthread_create(&thread, NULL, one_after_another, self));
	invals_await(&self->invals[0], 1);
	waited = try_place(self->a, HMM_NOTIFY_LIST, self->map, A_WHILE_MS);
	invals_ioctl(&self->invals[0], HMM_INVAL_END, NULL);
	invals_await(&self->invals[1], 1);
	if (waited) {
		EXPECT_EQ(0, sub_await(self->a, NULL));
		EXPECT_EQ(1, sub_state(self->a).starts);
	}
	invals_ioctl(&self->invals[1], HMM_INVAL_END, NULL);
	pthread_join(thread, NULL);
	if (!waited)
		SKIP(return, "does not wait for anything");
	EXPECT_EQ(1, sub_state(self->a).ends);
}

/*
 * Callbacks may run as soon as a subscription is in place, and may wait for the
 * task that subscribes. That must not deadlock, as long as nothing older waits
 * for the callback. Here a callback returns only after the call.
 */

FIXTURE(hmm_callback_needs_caller)
{
	struct invals first;
	struct invals second;
	struct invals meanwhile;
	struct invals later;
	int reader;
	int a;
	char *map;
};

FIXTURE_VARIANT(hmm_callback_needs_caller)
{
	__u64 kind;
};

FIXTURE_VARIANT_ADD(hmm_callback_needs_caller, register_)
{
	.kind = HMM_NOTIFY_LIST,
};

FIXTURE_VARIANT_ADD(hmm_callback_needs_caller, register_with_mmap_lock)
{
	.kind = HMM_NOTIFY_LIST_LOCKED,
};

FIXTURE_SETUP(hmm_callback_needs_caller)
{
	self->second.fd = -1;
	self->meanwhile.fd = -1;
	self->later.fd = -1;
	self->reader = sub_open();
	self->a = sub_open();
	if (!invals_open(&self->first) || !invals_open(&self->second) ||
	    !invals_open(&self->meanwhile) ||
	    !invals_open(&self->later) || self->a < 0)
		SKIP(return, "no hmm_probe");
	self->map = map_anon_small(BYTES);
	write_pages(self->map, N, 1);
	invals_prepare(&self->first, 1, self->map, N, 0);
	invals_prepare(&self->second, 1, self->map, N, 0);
	invals_prepare(&self->meanwhile, 1, self->map, N, 0);
	invals_prepare(&self->later, 1, self->map, N, 0);
	interval(self->reader, self->map);
	settle(self->reader);
}

FIXTURE_TEARDOWN(hmm_callback_needs_caller)
{
	invals_close(&self->first);
	invals_close(&self->second);
	invals_close(&self->meanwhile);
	sub_ioctl(self->a, HMM_NOTIFY_LET_GO, NULL);
	invals_close(&self->later);
	close(self->reader);
	close(self->a);
	munmap(self->map, BYTES);
}

TEST_F(hmm_callback_needs_caller, does_not_wait_for_its_own_callback)
{
	invals_begin(&self->first);
	plan(self->a, HMM_NOTIFY_HOLD_START, 0);
	if (!try_place(self->a, variant->kind, self->map, A_WHILE_MS))
		SKIP(return, "does not wait for anything");
	/* The thread may need the mmap lock to exit. */
	invals_begin(&self->second);
	invals_ioctl(&self->first, HMM_INVAL_END, NULL);
	EXPECT_TRUE(waits_on(self->a));
	invals_begin(&self->meanwhile);
	invals_ioctl(&self->second, HMM_INVAL_END, NULL);
	/* By then it is on the list: there was no moment without any. */
	EXPECT_TRUE(waits_on(self->a));
	invals_go(&self->later);
	sub_ioctl(self->a, HMM_NOTIFY_AWAIT_HOLD, NULL);
	invals_ioctl(&self->meanwhile, HMM_INVAL_END, NULL);
	EXPECT_EQ(0, sub_await(self->a, NULL));
	EXPECT_EQ(1, sub_state(self->a).running);
}

/*
 * Invalidations for which there is no place are counted together. Two are in one
 * count here, from before and after a subscription was added: neither may call it.
 */

enum joined {
	ZEROTH,
	FIRST,
	PLACES,
	BEFORE,
	PLACE,
	AFTER,
	JOINED
};

FIXTURE(hmm_overlapping)
{
	struct invals invals[JOINED];
	int reader;
	int a;
	char *map;
};

FIXTURE_SETUP(hmm_overlapping)
{
	bool opened = true;
	unsigned int i;

	self->reader = sub_open();
	self->a = sub_open();
	for (i = 0; i < JOINED; i++)
		opened &= invals_open(&self->invals[i]);
	if (!opened || self->a < 0)
		SKIP(return, "no hmm_probe");
	self->map = map_anon_small(BYTES);
	write_pages(self->map, N, 1);
	for (i = 0; i < JOINED; i++)
		invals_prepare(&self->invals[i], i == PLACES ? MANY : 1,
			       self->map, N, 0);
	interval(self->reader, self->map);
	settle(self->reader);
}

FIXTURE_TEARDOWN(hmm_overlapping)
{
	unsigned int i;

	for (i = 0; i < JOINED; i++)
		invals_close(&self->invals[i]);
	close(self->reader);
	close(self->a);
	munmap(self->map, BYTES);
}

TEST_F(hmm_overlapping, register_in_between)
{
	__u64 told;

	invals_begin(&self->invals[ZEROTH]);
	if (!try_place(self->a, HMM_NOTIFY_LIST, self->map, A_WHILE_MS))
		SKIP(return, "does not wait for anything");
	invals_begin(&self->invals[FIRST]);
	invals_end(&self->invals[ZEROTH]);
	EXPECT_TRUE(waits_on(self->a));
	invals_begin(&self->invals[PLACES]);
	/* Others do not keep this waiting, and so are counted apart. */
	EXPECT_EQ(-ETIMEDOUT, sub_try(self->reader, HMM_NOTIFY_READ, A_WHILE_MS));
	invals_begin(&self->invals[BEFORE]);
	invals_end(&self->invals[FIRST]);
	ASSERT_TRUE(wait_until_told(self->a, self->map));
	told = sub_state(self->a).starts;

	/* The place of the first, which is free again */
	invals_begin(&self->invals[PLACE]);
	EXPECT_EQ(told + 1, sub_state(self->a).starts);
	invals_begin(&self->invals[AFTER]);
	EXPECT_EQ(told + 1, sub_state(self->a).starts);
	invals_end(&self->invals[BEFORE]);
	invals_end(&self->invals[AFTER]);
	EXPECT_EQ(told, sub_state(self->a).ends);
	EXPECT_TRUE(waits_on(self->a));
	invals_end(&self->invals[PLACES]);
	EXPECT_EQ(0, sub_await(self->a, NULL));
	EXPECT_EQ(0, sub_await(self->reader, NULL));
	invals_end(&self->invals[PLACE]);
	EXPECT_EQ(told + 1, sub_state(self->a).ends);
}

/* Readers, of invalidations that all overlap what they read */

FIXTURE(hmm_reader)
{
	struct invals first;
	struct invals later;
	int a;
	char *map;
};

FIXTURE_VARIANT(hmm_reader)
{
	unsigned int n;
};

FIXTURE_VARIANT_ADD(hmm_reader, one_each)
{
	.n = 1,
};

FIXTURE_VARIANT_ADD(hmm_reader, many_each)
{
	.n = MANY,
};

FIXTURE_SETUP(hmm_reader)
{
	self->later.fd = -1;
	self->a = sub_open();
	if (!invals_open(&self->first) || !invals_open(&self->later) ||
	    self->a < 0)
		SKIP(return, "no hmm_probe");
	self->map = map_anon_small(BYTES);
	write_pages(self->map, N, 1);
	invals_prepare(&self->first, variant->n, self->map, N, 0);
	invals_prepare(&self->later, variant->n, self->map, N, 0);
	interval(self->a, self->map);
	settle(self->a);
	invals_begin(&self->first);
}

FIXTURE_TEARDOWN(hmm_reader)
{
	invals_close(&self->first);
	invals_close(&self->later);
	close(self->a);
	munmap(self->map, BYTES);
}

#define reads_anew(fd) do {						\
	__u64 _seq = 0;							\
									\
	EXPECT_EQ(0, sub_do(fd, HMM_NOTIFY_READ, &_seq));		\
	EXPECT_EQ(0, sub_do(fd, HMM_NOTIFY_RETRY, &_seq));		\
} while (0)

TEST_F(hmm_reader, does_not_wait_for_later_ones)
{
	__u64 seq = 0;

	EXPECT_EQ(-ETIMEDOUT, sub_try(self->a, HMM_NOTIFY_READ, A_WHILE_MS));
	invals_begin(&self->later);
	invals_end(&self->first);
	ASSERT_EQ(0, sub_await(self->a, &seq));
	EXPECT_EQ(variant->n, invals_count(&self->later));
	/* The later ones have called back. */
	EXPECT_EQ(1, sub_do(self->a, HMM_NOTIFY_RETRY, &seq));
	invals_end(&self->later);
	reads_anew(self->a);
}

TEST_F(hmm_reader, waits_for_all_from_before)
{
	__u64 seq = 0;

	invals_begin(&self->later);
	EXPECT_EQ(-ETIMEDOUT, sub_try(self->a, HMM_NOTIFY_READ, A_WHILE_MS));
	invals_end(&self->first);
	EXPECT_TRUE(waits_on(self->a));
	invals_end(&self->later);
	ASSERT_EQ(0, sub_await(self->a, &seq));
	EXPECT_EQ(0, sub_do(self->a, HMM_NOTIFY_RETRY, &seq));
}

/* Later ones that end first must not be taken for the earlier ones. */
TEST_F(hmm_reader, later_ones_do_not_end_its_wait_early)
{
	EXPECT_EQ(-ETIMEDOUT, sub_try(self->a, HMM_NOTIFY_READ, A_WHILE_MS));
	invals_begin(&self->later);
	invals_end(&self->later);
	EXPECT_TRUE(waits_on(self->a));
	invals_end(&self->first);
	ASSERT_EQ(0, sub_await(self->a, NULL));
	reads_anew(self->a);
}

TEST_F(hmm_reader, resize_does_not_wait_for_later_ones)
{
	invals_end(&self->first);
	if (!knows_new_calls(self->a))
		SKIP(return, "no resize");
	close(self->first.fd);
	ASSERT_TRUE(invals_open(&self->first));
	invals_prepare(&self->first, variant->n, self->map, N, 0);
	invals_begin(&self->first);
	EXPECT_EQ(-ETIMEDOUT, resize(self->a, self->map, HALF, A_WHILE_MS));
	invals_begin(&self->later);
	invals_end(&self->first);
	EXPECT_EQ(0, sub_await(self->a, NULL));
	EXPECT_EQ(variant->n, invals_count(&self->later));
	invals_end(&self->later);
	reads_anew(self->a);
}

/*
 * mprotect() of a mapping at address 0: change_pud_range() of 7.3 takes the
 * start of the range for "not begun" and makes starts without ends.
 */

FIXTURE(hmm_page_zero)
{
	struct setting min_addr;
	int a;
	int b;
	char *map;
	pid_t pid;
};

FIXTURE_SETUP(hmm_page_zero)
{
	self->a = sub_open();
	self->b = sub_open();
	if (self->b < 0)
		SKIP(return, "no /dev/hmm_probe_notify");
	if (!setting_change(&self->min_addr, "/proc/sys/vm/mmap_min_addr", "0"))
		SKIP(return, "no mapping at address 0");
	self->map = map_anon_small(BYTES);
	write_pages(self->map, N, 1);
}

FIXTURE_TEARDOWN(hmm_page_zero)
{
	kill_child(self->pid);
	setting_restore(&self->min_addr);
	close(self->a);
	close(self->b);
	munmap(self->map, BYTES);
}

static void change_page_zero(void)
{
	static const int protections[] = {
		PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE, PROT_READ,
	};
	char *zero = map_at(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1);
	size_t i;

	write_pages(zero, 1, 1);
	for (i = 0; i < ARRAY_SIZE(protections); i++)
		if (mprotect(zero, PAGE_BYTES, protections[i]))
			fatal("mprotect: %s", strerror(errno));
	munmap(zero, PAGE_BYTES);
}

static void change_more(char *map)
{
	unsigned int i;

	for (i = 0; i < 50; i++) {
		drop(map, N);
		write_pages(map, N, 1);
	}
}

TEST_F(hmm_page_zero, other_processes_go_on)
{
	self->pid = fork_off();
	if (!self->pid) {
		change_page_zero();
		stop_for_parent();
		_exit(0);
	}
	ASSERT_TRUE(wait_until_stopped(self->pid));
	others_go_on(self->a, self->b, self->map);
}

TEST_F(hmm_page_zero, first_read_after_mprotect)
{
	change_page_zero();
	change_more(self->map);
	others_go_on(self->a, self->b, self->map);
}

TEST_F(hmm_page_zero, read_after_mprotect)
{
	interval(self->a, self->map);
	settle(self->a);
	change_page_zero();
	change_more(self->map);
	EXPECT_EQ(0, sub_try(self->a, HMM_NOTIFY_READ, SOON_MS));
}

TEST_F(hmm_page_zero, starts_have_ends)
{
	subscribe(self->a, HMM_NOTIFY_LIST, NULL, PAGE_BYTES);
	change_page_zero();
	EXPECT_LT(0, sub_state(self->a).starts);
	EXPECT_EQ(sub_state(self->a).starts, sub_state(self->a).ends);
}

/* Any caller with a bug: it harms readers of its address space at worst. */

FIXTURE(hmm_unbalanced)
{
	struct invals invals;
	int theirs;
	int a;
	int b;
	char *map;
	pid_t pid;
};

FIXTURE_VARIANT(hmm_unbalanced)
{
	__u64 kind;
	unsigned int n;
};

FIXTURE_VARIANT_ADD(hmm_unbalanced, without_subscription)
{
	.kind = NO_KIND,
	.n = 1,
};

FIXTURE_VARIANT_ADD(hmm_unbalanced, with_list)
{
	.kind = HMM_NOTIFY_LIST,
	.n = 1,
};

FIXTURE_VARIANT_ADD(hmm_unbalanced, with_interval)
{
	.kind = HMM_NOTIFY_INTERVAL,
	.n = 1,
};

FIXTURE_VARIANT_ADD(hmm_unbalanced, many_with_interval)
{
	.kind = HMM_NOTIFY_INTERVAL,
	.n = MANY,
};

/* Exit codes of the child */
#define CODE_FAILED	1
#define CODE_NO_CALL	2

/* The subscription is an interval: a reader may give up, and then be killed. */
static void __noreturn read_after_it(int fd, char *map)
{
	struct hmm_notify_call call = {
		.op = HMM_NOTIFY_READ_TIMEOUT,
		.ms = A_WHILE_MS,
	};
	int rc = sub_call(fd, HMM_NOTIFY_CALL, &call);

	if (rc == -EOPNOTSUPP)
		_exit(CODE_NO_CALL);
	if (rc && rc != -ETIMEDOUT)
		_exit(CODE_FAILED);
	stop_for_parent();
	sub_do(fd, HMM_NOTIFY_READ_KILLABLE, NULL);
	pause();
	_exit(CODE_FAILED);
}

static void __noreturn begin_only(struct _test_data_hmm_unbalanced *self,
				  __u64 kind, unsigned int n)
{
	subscribe_as(self->theirs, kind, self->map);
	while (n--)
		inval_make(&self->invals, self->map, N, HMM_INVAL_UNBALANCED);
	change_more(self->map);
	stop_for_parent();
	change_more(self->map);
	if (kind == HMM_NOTIFY_INTERVAL)
		read_after_it(self->theirs, self->map);
	_exit(0);
}

FIXTURE_SETUP(hmm_unbalanced)
{
	self->theirs = sub_open();
	self->a = sub_open();
	self->b = sub_open();
	if (!invals_open(&self->invals) || self->b < 0)
		SKIP(return, "no hmm_probe");
	if (!access("/proc/lockdep", F_OK))
		SKIP(return, "lockdep reports it, as it should");
	self->map = map_anon_small(BYTES);
	write_pages(self->map, N, 1);
	self->pid = fork_off();
	if (!self->pid)
		begin_only(self, variant->kind, variant->n);
	ASSERT_TRUE(wait_until_stopped(self->pid));
}

FIXTURE_TEARDOWN(hmm_unbalanced)
{
	kill_child(self->pid);
	invals_close(&self->invals);
	close(self->theirs);
	close(self->a);
	close(self->b);
}

/* Of a start without an end lockdep would say which function made it. */
TEST(hmm_starter_is_named)
{
	struct hmm_inval_starter starter = {};
	struct invals invals;

	if (!invals_open(&invals))
		SKIP(return, "no hmm_probe");
	if (ioctl(invals.fd, HMM_INVAL_STARTER, &starter)) {
		EXPECT_EQ(EOPNOTSUPP, errno);
		close(invals.fd);
		SKIP(return, "no lockdep, or no annotation of invalidations");
	}
	EXPECT_EQ(0, strncmp(starter.name, "inval_starter",
			     strlen("inval_starter")));
	EXPECT_EQ(0, starter.held_after);
	close(invals.fd);
}

TEST_F(hmm_unbalanced, other_processes_go_on)
{
	others_go_on(self->a, self->b, self->map);
}

TEST_F(hmm_unbalanced, process_goes_on_and_ends)
{
	int status;

	kill(self->pid, SIGCONT);
	if (variant->kind != HMM_NOTIFY_INTERVAL) {
		EXPECT_EQ(0, wait_for_child(self->pid, SOON_MS / 1000));
		self->pid = 0;
		return;
	}
	ASSERT_EQ(self->pid, waitpid(self->pid, &status, WUNTRACED));
	if (WIFEXITED(status)) {
		self->pid = 0;
		EXPECT_EQ(CODE_NO_CALL, WEXITSTATUS(status));
		return;
	}
	kill(self->pid, SIGCONT);
	usleep(A_WHILE_MS * 1000);
	ASSERT_EQ(0, kill(self->pid, SIGKILL));
	EXPECT_EQ(SIGKILL, wait_for_child(self->pid, SOON_MS / 1000));
	self->pid = 0;
}

TEST_HARNESS_MAIN
