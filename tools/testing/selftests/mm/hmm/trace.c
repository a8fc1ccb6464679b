// SPDX-License-Identifier: GPL-2.0
/*
 * The trace events: each test does one thing and finds the lines that describe
 * it, with the right fields and as many as expected.
 *
 * The events go to a tracing instance of the test's own, and are those of its
 * tasks only.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/access.h"
#include "lib/exclusive.h"
#include "lib/move.h"
#include "lib/notify.h"
#include "lib/place.h"
#include "hmm_probe/hmm_probe_odp_uapi.h"
#include "small_driver/small_driver_uapi.h"

#define N		4UL
#define BYTES		(N * PAGE_BYTES)
#define SEED		0x1000UL
#define TRACING		"/sys/kernel/tracing"
#define AMPLE_MS	10000

static const char * const systems[] = {
	"mmu_notifier", "hmm", "migrate_device", "device_exclusive",
};

#define SYSTEMS	(sizeof(systems) / sizeof(*systems))

FIXTURE(hmm_trace)
{
	char instance[64];
	char *map;	/* N small pages, not touched */
};

static bool put(const char *instance, const char *name, const char *text)
{
	char path[192];
	size_t length = strlen(text);
	bool done;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", instance, name);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return false;
	done = write(fd, text, length) == (ssize_t)length;
	close(fd);
	return done;
}

static bool tracing_is_mounted(void)
{
	if (!access(TRACING "/instances", F_OK))
		return true;
	return !mount("tracefs", TRACING, "tracefs", 0, NULL) &&
	       !access(TRACING "/instances", F_OK);
}

/* Trace all events of this task and of its later threads. */
static bool start_tracing(const char *instance)
{
	char text[64];
	size_t i;

	snprintf(text, sizeof(text), "%d", getpid());
	if (!put(instance, "set_event_pid", text) ||
	    !put(instance, "options/event-fork", "1"))
		return false;
	for (i = 0; i < SYSTEMS; i++) {
		snprintf(text, sizeof(text), "events/%s/enable", systems[i]);
		if (!put(instance, text, "1"))
			return false;
	}
	return true;
}

FIXTURE_SETUP(hmm_trace)
{
	self->instance[0] = '\0';
	if (!tracing_is_mounted())
		SKIP(return, "no tracefs");
	snprintf(self->instance, sizeof(self->instance),
		 TRACING "/instances/hmm-%d", getpid());
	if (mkdir(self->instance, 0755)) {
		self->instance[0] = '\0';
		SKIP(return, "no tracing instance: %s", strerror(errno));
	}
	self->map = map_anon_small(BYTES);
	if (!start_tracing(self->instance))
		SKIP(return, "no such events");
}

FIXTURE_TEARDOWN(hmm_trace)
{
	if (self->instance[0])
		EXPECT_EQ(0, rmdir(self->instance));
}

static void trace_on(const char *instance, bool on)
{
	if (!put(instance, "tracing_on", on ? "1" : "0"))
		fatal("cannot switch tracing: %s", strerror(errno));
}

/* Forget what was traced so far. */
static void forget(const char *instance)
{
	if (!put(instance, "trace", ""))
		fatal("cannot clear the trace: %s", strerror(errno));
	trace_on(instance, true);
}

static FILE *open_trace(const char *instance)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/trace", instance);
	file = fopen(path, "re");
	if (!file)
		fatal("cannot read the trace: %s", strerror(errno));
	return file;
}

static void show(const char *instance)
{
	FILE *file = open_trace(instance);
	char line[512];

	while (fgets(line, sizeof(line), file))
		if (line[0] != '#')
			printf("#  %s", line);
	fclose(file);
}

/*
 * How many lines match the pattern, "EVENT: FIELDS"; the last one of them goes
 * to @found. Ends tracing: to read the lines takes memory, and this process
 * has its own copies of pages only as it writes to them.
 */
static size_t count_lines(const char *instance, const char *pattern,
			  char *found, size_t size)
{
	char line[512], whole[512];
	size_t n = 0;
	FILE *file;

	trace_on(instance, false);
	file = open_trace(instance);
	snprintf(whole, sizeof(whole), "*: %s\n", pattern);
	while (fgets(line, sizeof(line), file)) {
		if (line[0] == '#' || fnmatch(whole, line, 0))
			continue;
		snprintf(found, size, "%s", line);
		n++;
	}
	fclose(file);
	return n;
}

static __printf(3, 4) bool has_lines(const char *instance, size_t n,
				     const char *format, ...)
{
	char pattern[384], line[512];
	va_list args;
	size_t count;

	va_start(args, format);
	vsnprintf(pattern, sizeof(pattern), format, args);
	va_end(args);
	count = count_lines(instance, pattern, line, sizeof(line));
	if (count == n)
		return true;
	printf("# %zu lines, not %zu: %s\n", count, n, pattern);
	show(instance);
	return false;
}

/* The fields that most events begin with */
#define RANGE	"mm=* start=%#lx end=%#lx "

#define EXPECT_LINES(n, ...)						\
	EXPECT_TRUE(has_lines(self->instance, n, __VA_ARGS__))

/* The value of a field of the only line that matches */
static unsigned long long field_of(const char *instance, const char *pattern,
				   const char *field)
{
	unsigned long long value = 0;
	char line[512], name[64];
	const char *at;

	if (count_lines(instance, pattern, line, sizeof(line)) != 1)
		fatal("not one line: %s", pattern);
	snprintf(name, sizeof(name), " %s=", field);
	at = strstr(line, name);
	if (!at || sscanf(at + strlen(name), "%lli", &value) != 1)
		fatal("no %s: %s", field, line);
	return value;
}

/* Formats */

static bool text_of(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t n;

	if (!file)
		return false;
	n = fread(text, 1, size - 1, file);
	text[n] = '\0';
	fclose(file);
	return n;
}

/* Does the format of any event of the system have this text? */
static bool in_formats(const char *system, const char *wanted)
{
	static char text[16384];
	char pattern[128];
	bool found = false;
	glob_t paths;
	size_t i;

	snprintf(pattern, sizeof(pattern), TRACING "/events/%s/*/format",
		 system);
	if (glob(pattern, 0, NULL, &paths))
		fatal("no events of %s", system);
	for (i = 0; i < paths.gl_pathc && !found; i++) {
		if (!text_of(paths.gl_pathv[i], text, sizeof(text)))
			fatal("cannot read %s", paths.gl_pathv[i]);
		found = strstr(text, wanted);
		if (found)
			printf("# %s: %s\n", paths.gl_pathv[i], wanted);
	}
	globfree(&paths);
	return found;
}

/* Tools do not know the kernel's enumerators, but numbers and their names. */
TEST_F(hmm_trace, formats_name_values)
{
	static const char * const enumerators[] = {
		"{ MMU_", "{ HMM_", "{ MIGRATE_",
	};
	size_t i, j;

	for (i = 0; i < SYSTEMS; i++)
		for (j = 0; j < 3; j++)
			EXPECT_FALSE(in_formats(systems[i], enumerators[j]));
	EXPECT_TRUE(in_formats("mmu_notifier", "{ 0, \"unmap\" }"));
	EXPECT_TRUE(in_formats("mmu_notifier", "{ 7, \"exclusive\" }"));
	EXPECT_TRUE(in_formats("migrate_device", "{ 2, \"install\" }"));
	EXPECT_TRUE(in_formats("migrate_device", "\"no_destination\" }"));
	EXPECT_TRUE(in_formats("hmm", "\"faulted\" }"));
}

/* Ranges */

TEST_F(hmm_trace, range_with_a_missing_page)
{
	uintptr_t start = (uintptr_t)self->map;
	int fd = probe_open();
	__u64 slots[3];

	if (fd < 0)
		SKIP(return, "no probe");
	write_pages(self->map, 1, 1);
	write_pages(self->map + 2 * PAGE_BYTES, 1, 1);
	forget(self->instance);
	ASSERT_EQ(0, probe_fault_all(fd, self->map, 3, slots, REQ_WRITE, 0));
	EXPECT_LINES(1, "hmm_range_begin: " RANGE
		     "fault=1 write=1 slots=0 sparse=0 unlocked=0", start, start + 3 * PAGE_BYTES);
	EXPECT_LINES(1, "hmm_fault: addr=%#lx write=1 flags=* outcome=faulted",
		     start + PAGE_BYTES);
	EXPECT_LINES(1, "hmm_fault: *");
	EXPECT_LINES(1, "hmm_range_end: " RANGE
		     "ret=0 collisions=0 faults=1 unlocks=0", start, start + 3 * PAGE_BYTES);
	EXPECT_LINES(0, "hmm_collide: *");
	forget(self->instance);
	ASSERT_EQ(0, probe_snapshot(fd, self->map, 3, slots,
				    HMM_PROBE_UNLOCKED));
	EXPECT_LINES(1, "hmm_range_begin: *fault=0 *unlocked=1");
	EXPECT_LINES(1, "hmm_range_end: *ret=0 collisions=0 faults=0 unlocks=0");
	EXPECT_LINES(0, "hmm_fault: *");
	close(fd);
}

TEST_F(hmm_trace, range_that_cannot_be_accessed)
{
	int fd = probe_open();
	__u64 slot;

	if (fd < 0)
		SKIP(return, "no probe");
	ASSERT_EQ(0, mprotect(self->map, PAGE_BYTES, PROT_READ));
	forget(self->instance);
	EXPECT_EQ(-EPERM, probe_fault_all(fd, self->map, 1, &slot, REQ_WRITE,
					  0));
	EXPECT_LINES(1, "hmm_range_end: *ret=-1 collisions=0 faults=0 unlocks=0");
	EXPECT_LINES(0, "hmm_fault: *");
	close(fd);
}

/* The sequence in both events is the same, so that the culprit is known. */
TEST_F(hmm_trace, collision)
{
	struct hmm_notify_call look = {
		.op = HMM_NOTIFY_SNAPSHOT,
		.start = (uintptr_t)self->map,
	};
	uintptr_t start = look.start;
	int fd = sub_open();

	if (fd < 0)
		SKIP(return, "no probe");
	subscribe(fd, HMM_NOTIFY_INTERVAL, self->map, BYTES);
	ASSERT_EQ(0, sub_do(fd, HMM_NOTIFY_READ, &look.seq));
	write_pages(self->map, 1, 1);
	forget(self->instance);
	drop(self->map, 1);
	EXPECT_EQ(-EBUSY, sub_call(fd, HMM_NOTIFY_CALL, &look));
	EXPECT_LINES(1, "hmm_collide: " RANGE "next=%#lx seq=%llu now=*",
		     start, start + PAGE_BYTES, start, look.seq);
	EXPECT_LINES(1, "hmm_range_end: *ret=-16 collisions=1 faults=0 unlocks=0");
	EXPECT_LINES(1, "mmu_invalidate_call: *");
	EXPECT_EQ(field_of(self->instance, "mmu_invalidate_call: *", "seq"),
		  field_of(self->instance, "hmm_collide: *", "now"));
	close(fd);
}

TEST_F(hmm_trace, commit)
{
	uintptr_t start = (uintptr_t)self->map;
	void *data = buffer_of(PAGE_BYTES);
	struct small_call call = {
		.addr = start,
		.npages = 1,
		.buffer = (uintptr_t)data,
		.timeout_ms = AMPLE_MS,
	};
	int fd = open("/dev/small_driver", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		SKIP(return, "no small driver");
	pattern_fill(self->map, 1, SEED);
	forget(self->instance);
	ASSERT_EQ(0, ioctl(fd, SMALL_READ, &call));
	EXPECT_TRUE(pattern_is(data, 1, SEED));
	EXPECT_LINES(1, "hmm_commit: " RANGE "ret=0 attempts=1",
		     start, start + PAGE_BYTES);
	EXPECT_LINES(1, "hmm_range_end: " RANGE "ret=0 *",
		     start, start + PAGE_BYTES);
	free(data);
	close(fd);
}

/* Pages that the device has mapped already are not mapped again. */
TEST_F(hmm_trace, dma)
{
	struct hmm_odp_region region = {
		.addr = (uintptr_t)self->map,
		.npages = N,
		.flags = HMM_ODP_RANGE,
	};
	struct hmm_odp_map map = {
		.addr = (uintptr_t)self->map + PAGE_BYTES,
		.npages = 2,
		.flags = HMM_ODP_WRITE,
	};
	int fd = probe_device("hmm_probe_odp");

	if (fd < 0 || ioctl(fd, HMM_ODP_REGISTER, &region))
		SKIP(return, "no device that maps for DMA");
	write_pages(self->map, N, 1);
	forget(self->instance);
	ASSERT_EQ(0, ioctl(fd, HMM_ODP_MAP, &map));
	ASSERT_EQ(0, map.rc);
	EXPECT_LINES(1, "hmm_dma_map: *idx=1 nr=2 unmapped=2 segments=[12] ret=0");
	forget(self->instance);
	ASSERT_EQ(0, ioctl(fd, HMM_ODP_MAP, &map));
	ASSERT_EQ(0, map.rc);
	EXPECT_LINES(0, "hmm_dma_map: *unmapped=[1-9]*");
	forget(self->instance);
	drop(self->map + PAGE_BYTES, 1);
	EXPECT_LINES(1, "hmm_dma_unmap: dev=* idx=1 nr=1 mapped=1");
	EXPECT_LINES(1, "hmm_dma_unmap: *");
	close(fd);
}

/* Invalidations */

#define EXPECT_INVALIDATION(event)					\
do {									\
	EXPECT_LINES(1, "mmu_invalidate_start: " RANGE			\
		     "event=%s blockable=1 owner=*",			\
		     page, page + PAGE_BYTES, event);			\
	EXPECT_LINES(1, "mmu_invalidate_end: " RANGE "event=%s",	\
		     page, page + PAGE_BYTES, event);			\
} while (0)

TEST_F(hmm_trace, mprotect_of_a_mirrored_page)
{
	uintptr_t start = (uintptr_t)self->map, page = start + PAGE_BYTES;
	int fd = sub_open();

	if (fd < 0)
		SKIP(return, "no probe");
	write_pages(self->map, N, 1);
	subscribe(fd, HMM_NOTIFY_INTERVAL, self->map, BYTES);
	forget(self->instance);
	ASSERT_EQ(0, mprotect((void *)page, PAGE_BYTES, PROT_READ));
	EXPECT_INVALIDATION("protection_vma");
	EXPECT_LINES(1, "mmu_invalidate_call: " RANGE
		     "event=protection_vma *seq=*[13579] refused=0 *", start, start + BYTES);
	EXPECT_LINES(1, "mmu_invalidate_call: *");
	close(fd);
}

TEST_F(hmm_trace, page_beside_the_mirror)
{
	uintptr_t page = (uintptr_t)self->map + PAGE_BYTES;
	int fd = sub_open();

	if (fd < 0)
		SKIP(return, "no probe");
	write_pages(self->map, N, 1);
	subscribe(fd, HMM_NOTIFY_INTERVAL, self->map, PAGE_BYTES);
	forget(self->instance);
	drop((void *)page, 1);
	EXPECT_INVALIDATION("clear");
	EXPECT_LINES(0, "mmu_invalidate_call: *");
	close(fd);
}

TEST_F(hmm_trace, two_passes)
{
	uintptr_t page = (uintptr_t)self->map;
	int fd = sub_open();

	if (fd < 0)
		SKIP(return, "no probe");
	write_pages(self->map, N, 1);
	subscribe(fd, HMM_NOTIFY_TWO_PASS, self->map, BYTES);
	forget(self->instance);
	drop((void *)page, 1);
	EXPECT_INVALIDATION("clear");
	EXPECT_LINES(2, "mmu_invalidate_call: " RANGE "event=clear *refused=0 *",
		     page, page + BYTES);
	close(fd);
}

TEST_F(hmm_trace, subscription_to_all)
{
	uintptr_t page = (uintptr_t)self->map;
	int fd = sub_open();

	if (fd < 0)
		SKIP(return, "no probe");
	write_pages(self->map, N, 1);
	subscribe(fd, HMM_NOTIFY_LIST, self->map, BYTES);
	/*
	 * Once before it counts: whatever this program writes to for the first
	 * time since fork() is copied, which is an invalidation, too.
	 */
	forget(self->instance);
	drop((void *)page, 1);
	EXPECT_INVALIDATION("clear");

	write_pages(self->map, N, 1);
	forget(self->instance);
	drop((void *)page, 1);
	EXPECT_INVALIDATION("clear");
	/* The start, and the end */
	EXPECT_LINES(2, "mmu_invalidate_call: *start=0x0 end=%#lx *seq=0 *",
		     -1UL);
	EXPECT_LINES(2, "mmu_invalidate_call: *");
	close(fd);
}

TEST_F(hmm_trace, no_subscription)
{
	write_pages(self->map, N, 1);
	forget(self->instance);
	drop(self->map, N);
	EXPECT_LINES(0, "mmu_*");
}

/* The reader's event has the range of the invalidation that it waits for. */
TEST_F(hmm_trace, reader_waits)
{
	uintptr_t start = (uintptr_t)self->map, page = start + PAGE_BYTES;
	struct hmm_notify_call call = {
		.op = HMM_NOTIFY_READ_TIMEOUT,
		.ms = A_WHILE_MS,
	};
	struct dropper dropper;
	int fd = sub_open();

	if (fd < 0)
		SKIP(return, "no probe");
	write_pages(self->map, N, 1);
	subscribe(fd, HMM_NOTIFY_INTERVAL, self->map, BYTES);
	ASSERT_EQ(0, sub_do(fd, HMM_NOTIFY_READ, &call.seq));
	forget(self->instance);
	dropper_start(&dropper, (char *)page, fd, HMM_NOTIFY_HOLD_START);
	EXPECT_EQ(-ETIMEDOUT, sub_call(fd, HMM_NOTIFY_CALL, &call));
	EXPECT_LINES(1, "mmu_interval_wait_begin: " RANGE
		     "overlaps=1 unknown=0 from=%#lx to=%#lx",
		     start, start + BYTES, page, page + PAGE_BYTES);
	EXPECT_LINES(1, "mmu_interval_wait_end: mm=* start=%#lx ret=-110 ns=*",
		     start);
	/* The timeout is in jiffies. */
	EXPECT_LE(A_WHILE_MS * 1000000ULL / 2,
		  field_of(self->instance, "mmu_interval_wait_end: *", "ns"));
	EXPECT_LINES(1, "mmu_invalidate_start: *start=%#lx end=%#lx event=clear *",
		     page, page + PAGE_BYTES);
	EXPECT_LINES(0, "mmu_invalidate_end: *start=%#lx *", page);
	trace_on(self->instance, true);
	dropper_end(&dropper);
	EXPECT_INVALIDATION("clear");
	forget(self->instance);
	ASSERT_EQ(0, sub_do(fd, HMM_NOTIFY_READ, &call.seq));
	EXPECT_LINES(0, "mmu_interval_wait*");
	close(fd);
}

/* Migration */

#define EXPECT_STAGE(stage, entries)					\
	EXPECT_LINES(1, "migrate_" stage ": " RANGE			\
		     "pfn=* npages=%lu entries=%lu", start,		\
		     start + BYTES, N, entries)

TEST_F(hmm_trace, migration_with_a_pinned_page)
{
	uintptr_t start = (uintptr_t)self->map;
	struct pinned pinned;
	int fd = move_open();
	__u64 pfn;

	if (fd < 0)
		SKIP(return, "no probe");
	pattern_fill(self->map, N, SEED);
	pin_page(&pinned, self->map + PAGE_BYTES);
	pfn = pagemap_pfn(self->map + PAGE_BYTES);
	forget(self->instance);
	EXPECT_EQ(N - 1, move_to_device(fd, self->map, N).moved);
	EXPECT_STAGE("collect", N);
	EXPECT_LINES(1, "migrate_refuse: addr=%#lx pfn=%#llx npages=1 %s",
		     start + PAGE_BYTES, pfn, "stage=unmap why=pinned");
	EXPECT_LINES(1, "migrate_refuse: *");
	EXPECT_STAGE("unmap", N - 1);
	EXPECT_STAGE("install", N - 1);
	EXPECT_STAGE("finalize", N - 1);
	EXPECT_TRUE(unpin_page(&pinned, SEED + 1));
	EXPECT_EQ(N - 1, move_to_system(fd, self->map, N).moved);
	close(fd);
}

TEST_F(hmm_trace, migration_of_a_file)
{
	int file = memory_file(BYTES), fd = move_open();
	uintptr_t start = (uintptr_t)self->map;
	size_t i;

	if (fd < 0)
		SKIP(return, "no probe");
	map_at(self->map, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file);
	write_pages(self->map, N, 1);
	forget(self->instance);
	EXPECT_EQ(0, move_to_device(fd, self->map, N).moved);
	EXPECT_STAGE("collect", 0UL);
	for (i = 0; i < N; i++)
		EXPECT_LINES(1, "migrate_refuse: addr=%#lx *npages=1 %s",
			     start + i * PAGE_BYTES,
			     "stage=collect why=not_for_devices");
	close(file);
	close(fd);
}

TEST_F(hmm_trace, migration_without_destinations)
{
	uintptr_t start = (uintptr_t)self->map;
	int fd = move_open();

	if (fd < 0)
		SKIP(return, "no probe");
	pattern_fill(self->map, N, SEED);
	forget(self->instance);
	EXPECT_EQ(0, move_pages_to(fd, self->map, N, HMM_MOVE_TO_DEVICE |
				   HMM_MOVE_NOWHERE, 0).moved);
	EXPECT_STAGE("unmap", N);
	EXPECT_LINES(N, "migrate_refuse: *stage=install why=no_destination");
	EXPECT_STAGE("install", 0UL);
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	close(fd);
}

TEST_F(hmm_trace, cpu_fault_on_device_memory)
{
	uintptr_t page = (uintptr_t)self->map + PAGE_BYTES;
	int fd = move_open();

	if (fd < 0)
		SKIP(return, "no probe");
	/* Another program may have left it at more pages for each fault. */
	move_serve(fd, 1, 0, 0);
	pattern_fill(self->map, N, SEED);
	EXPECT_EQ(N, move_to_device(fd, self->map, N).moved);
	forget(self->instance);
	EXPECT_TRUE(pattern_is((void *)page, 1, SEED + 1));
	EXPECT_LINES(1, "device_private_fault: *addr=%#lx pfn=* order=0 flags=0x0 *",
		     page);
	EXPECT_LINES(1, "device_private_fault: *");
	EXPECT_EQ(N - 1, move_to_system(fd, self->map, N).moved);
	close(fd);
}

TEST_F(hmm_trace, eviction)
{
	const char *reason;
	int fd = device_open(0, &reason);

	if (fd < 0)
		SKIP(return, "%s", reason);
	if (device_counters(fd).in_use)
		SKIP(return, "another program uses the device");
	pattern_fill(self->map, N, SEED);
	ASSERT_EQ(N, device_take(fd, self->map, N).cpages);
	forget(self->instance);
	EXPECT_EQ(N, device_evict(fd).evicted);
	EXPECT_LINES(1, "migrate_evict: *passes=[12] moved=%lu remaining=0 ret=0",
		     N);
	EXPECT_LINES(0, "migrate_evict: *remaining=[1-9]*");
	EXPECT_TRUE(pattern_is(self->map, N, SEED));
	close(fd);
}

TEST_F(hmm_trace, placement)
{
	uintptr_t start = (uintptr_t)self->map;
	struct placed_range *got = buffer_of(sizeof(*got));
	const char *reason;
	int fd = device_open(0, &reason);

	if (fd < 0)
		SKIP(return, "%s", reason);
	if (!knows_placement(fd))
		SKIP(return, "no placement");
	pattern_fill(self->map, N, SEED);
	forget(self->instance);
	ASSERT_EQ(0, place(fd, self->map, N, HMM_DMIRROR_PLACE_WRITE, got));
	EXPECT_LINES(1, "hmm_migrate_begin: " RANGE "fault=1 write=1",
		     start, start + BYTES);
	EXPECT_LINES(1, "hmm_migrate_end: " RANGE
		     "rounds=[12] lost=0 faults=0 moved=%lu ret=0", start, start + BYTES, N);
	EXPECT_STAGE("collect", N);
	EXPECT_STAGE("install", N);
	EXPECT_LINES(0, "migrate_refuse: *");
	munmap(self->map, BYTES);
	free(got);
	close(fd);
}

/* Exclusive access */

TEST_F(hmm_trace, exclusive_until_a_cpu_access)
{
	uintptr_t start = (uintptr_t)self->map, page = start + 2 * PAGE_BYTES;
	int fd = dmirror_open(0);
	__u64 pfn;

	if (fd < 0)
		SKIP(return, "no dummy device");
	if (!device_is_ours(fd))
		SKIP(return, "the stock driver asks for each page");
	pattern_fill(self->map, N, SEED);
	pfn = pagemap_pfn((void *)page);
	forget(self->instance);
	ASSERT_EQ(0, device_seize(fd, self->map, N));
	EXPECT_LINES(1, "device_exclusive_make: " RANGE "owner=* ret=%lu",
		     start, start + BYTES, N);
	EXPECT_LINES(1, "mmu_invalidate_start: *start=%#lx end=%#lx event=exclusive *",
		     start, start + BYTES);
	EXPECT_LINES(0, "device_exclusive_restore: *");
	forget(self->instance);
	EXPECT_TRUE(pattern_is((void *)page, 1, SEED + 2));
	EXPECT_LINES(1, "device_exclusive_restore: " RANGE "pfn=%#llx",
		     page, page + PAGE_BYTES, pfn);
	EXPECT_LINES(1, "device_exclusive_restore: *");
	close(fd);
}

TEST_HARNESS_MAIN
