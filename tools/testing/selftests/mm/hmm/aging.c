// SPDX-License-Identifier: GPL-2.0
/*
 * Idle page tracking, multi-gen LRU, DAMON, NUMA balancing and explicit moves
 * between nodes, over memory that a device has. None of them may move or damage
 * device memory; the same test on system memory shows that they did their work.
 *
 * Most tests need the wide configuration. Runs on the stock driver as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/mempolicy.h>
#include <mm/gup_test.h>

#include "kselftest_harness.h"
#include "lib/group.h"
#include "lib/move.h"
#include "lib/owned.h"

#define OTHER		0x1000UL
#define SWAP_BYTES	(128UL << 20)
#define WAIT_TRIES	1000
#define WAIT_US		10000

OWNED_FIXTURE(aging);

static bool in_system_memory(struct owned *owned)
{
	return owned->kind == OWNED_SYSTEM;
}

/* Device and CPU read the data, and the device can have the pages again. */
#define EXPECT_USABLE()							\
do {									\
	EXPECT_OWNED_DATA(1);						\
	EXPECT_TRUE(owned_take(&self->owned));				\
	pattern_fill(self->map, self->npages, OTHER);			\
	EXPECT_OWNED_DATA(OTHER);					\
} while (0)

/*
 * A huge page that is exclusive as a whole stays so if it is only examined: its
 * entry is not split, and the device is not notified. The stock kernel makes it
 * exclusive page by page.
 */
struct whole {
	long splits;
	__u64 told;
};

static bool is_whole(struct owned *owned)
{
	return owned->kind == OWNED_EXCLUSIVE && owned->huge &&
	       device_is_ours(owned->fd);
}

static struct whole whole_now(struct owned *owned)
{
	struct whole now = {};

	if (is_whole(owned)) {
		now.splits = vm_event("thp_split_pmd");
		now.told = device_invalidations(owned->fd);
	}
	return now;
}

#define EXPECT_HUGE()							\
	EXPECT_EQ((long)(HUGE_BYTES / 1024), huge_kib(self->map))

#define EXPECT_STILL_WHOLE(before)					\
do {									\
	struct whole was = before, now = whole_now(&self->owned);	\
									\
	EXPECT_EQ(was.splits, now.splits);				\
	EXPECT_EQ(was.told, now.told);					\
	if (is_whole(&self->owned))					\
		EXPECT_HUGE();						\
	EXPECT_STILL_OWNED();						\
} while (0)

/* Idle page tracking */

#define IDLE_BITMAP	"/sys/kernel/mm/page_idle/bitmap"
#define IDLE_BITS	(8 * sizeof(__u64))

/* -1 if there is no idle page tracking, else 0 or an errno */
static int idle_access(__u64 pfn, __u64 *bits, bool set)
{
	int file = open(IDLE_BITMAP, O_RDWR | O_CLOEXEC);
	off_t at = pfn / IDLE_BITS * sizeof(*bits);
	ssize_t n;

	if (file < 0)
		return -1;
	n = set ? pwrite(file, bits, sizeof(*bits), at) :
		  pread(file, bits, sizeof(*bits), at);
	close(file);
	return n < 0 ? errno : 0;
}

static bool idle_set(__u64 pfn)
{
	__u64 bits = 1ULL << pfn % IDLE_BITS;

	return !idle_access(pfn, &bits, true);
}

static bool is_idle(__u64 pfn)
{
	__u64 bits = 0;

	if (idle_access(pfn, &bits, false))
		return false;
	return bits >> pfn % IDLE_BITS & 1;
}

/* A cached translation would keep the CPU from setting the accessed bit. */
static void flush_tlb(char *map, size_t bytes)
{
	if (mprotect(map, bytes, PROT_READ) ||
	    mprotect(map, bytes, PROT_READ | PROT_WRITE))
		fatal("mprotect: %s", strerror(errno));
}

/* An exclusive page stays idle, and exclusive, until the CPU reads it. */
TEST_F(aging, idle_until_the_cpu_reads)
{
	__u64 pfn = self->owned.pfn;
	struct whole before;

	if (access(IDLE_BITMAP, F_OK))
		SKIP(return, "no idle page tracking");
	if (self->owned.kind == OWNED_PRIVATE)
		SKIP(return, "no such page frame");
	/* Idle tracking knows LRU folios only: drain the per-CPU batches. */
	vm_order("drop_caches", "1");
	if (in_system_memory(&self->owned)) {
		pfn = pagemap_pfn(self->map);
		flush_tlb(self->map, self->bytes);
	}
	before = whole_now(&self->owned);
	if (!idle_set(pfn) && self->owned.kind == OWNED_COHERENT)
		SKIP(return, "the bitmap ends where system memory does");
	ASSERT_TRUE(idle_set(pfn));
	EXPECT_STILL_WHOLE(before);
	EXPECT_EQ(self->owned.kind != OWNED_COHERENT, is_idle(pfn));
	EXPECT_STILL_WHOLE(before);
	if (self->owned.kind == OWNED_EXCLUSIVE) {
		EXPECT_TRUE(device_reads(self->fd, self->map, self->npages, 1));
		EXPECT_TRUE(is_idle(pfn));
		EXPECT_STILL_OWNED();
	}
	if (in_system_memory(&self->owned))
		flush_tlb(self->map, self->bytes);
	EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
	EXPECT_FALSE(is_idle(pfn));
	EXPECT_USABLE();
}

/* Including the page frames of coherent device memory */
/* Slow where each page is looked at by checkers */
TEST_F_TIMEOUT(aging, idle_marks_of_all_memory, 180)
{
	struct whole before = whole_now(&self->owned);
	__u64 bits = ~0ULL;
	__u64 pfn;

	if (access(IDLE_BITMAP, F_OK))
		SKIP(return, "no idle page tracking");
	for (pfn = 0; !idle_access(pfn, &bits, true); pfn += IDLE_BITS)
		bits = ~0ULL;
	/* The bitmap ends where memory does. */
	EXPECT_LT(HUGE_PAGES, pfn);
	EXPECT_STILL_WHOLE(before);
	EXPECT_USABLE();
}

/* The generations of the LRU */

#define LRU_GEN		"/sys/kernel/debug/lru_gen"
#define LRU_ENABLED	"/sys/kernel/mm/lru_gen/enabled"

/*
 * For each node of a cgroup ("/" is the root): start a new generation (+), or
 * evict the anonymous memory of all but the two youngest generations (-).
 */
static bool lru_gen_order(const char *path, char what)
{
	unsigned long long id = 0, seq, newest = 0;
	const char *form = what == '+' ? "%c %llu %d %llu max 1\n" :
					 "%c %llu %d %llu max 1000000\n";
	char line[256], word[256], orders[512] = "";
	FILE *list = fopen(LRU_GEN, "r");
	int node = -1, file, length = 0;
	bool ours = false, more, right;

	if (!list)
		return false;
	do {
		more = fgets(line, sizeof(line), list);
		if (more && sscanf(line, " %llu", &seq) == 1) {
			newest = seq;
			continue;
		}
		/* A node ends where another line begins. */
		if (ours && node >= 0)
			length += snprintf(orders + length,
					   sizeof(orders) - length, form,
					   what, id, node,
					   newest - (what == '-' ? 2 : 0));
		if (sscanf(line, " node %d", &node) == 1)
			continue;
		node = -1;
		if (sscanf(line, "memcg %llu %255s", &seq, word) == 2) {
			ours = !strcmp(word, path);
			id = ours ? seq : id;
		}
	} while (more);
	fclose(list);
	file = open(LRU_GEN, O_WRONLY | O_CLOEXEC);
	right = length && write(file, orders, length) == length;
	if (!right)
		printf("# lru_gen: %s: %s", strerror(errno), orders);
	close(file);
	return right;
}

static bool lru_gen_age(const char *path)
{
	int i;

	for (i = 0; i < 3; i++)
		if (!lru_gen_order(path, '+'))
			return false;
	return true;
}

TEST_F(aging, older_generations)
{
	if (access(LRU_GEN, F_OK))
		SKIP(return, "no generations in the LRU");
	vm_order("drop_caches", "1");
	ASSERT_TRUE(lru_gen_age("/"));
	EXPECT_STILL_OWNED();
	EXPECT_USABLE();
	ASSERT_TRUE(lru_gen_age("/"));
	EXPECT_OWNED_DATA(OTHER);
}

static bool enter_group(struct group *group)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	return group_make(group) &&
	       group_write(group->path, "cgroup.procs", pid);
}

static void leave_group(struct group *group)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	group_write(group->mount, "cgroup.procs", pid);
	group_remove(group);
	group_unmount(group);
}

/*
 * Pages that are evicted with the old generations; -1 if that is not possible
 */
static long evict_old(struct owned *owned, const char *path)
{
	long gone = 0;
	int tries;

	for (tries = 0; tries < 10 && gone < (long)owned->npages; tries++) {
		vm_order("drop_caches", "1");
		if (!lru_gen_age(path) || !lru_gen_order(path, '-'))
			return -1;
		gone = owned->npages - owned_count(owned);
	}
	return gone;
}

/*
 * Start again with the caller in a new cgroup, since memory stays charged to the
 * cgroup in which it was allocated. False without memory cgroups.
 */
static bool restart_in_group(struct __test_metadata *_metadata,
			     struct _test_data_aging *self, struct group *group)
{
	struct owned *owned = &self->owned;
	const char *reason;
	bool there;

	EXPECT_TRUE(owned_end(owned));
	owned->fd = -1;
	if (!enter_group(group)) {
		leave_group(group);
		return false;
	}
	there = owned_start(owned, &reason);
	if (!there)
		leave_group(group);
	ASSERT_TRUE(there);
	self->fd = owned->fd;
	self->map = owned->map;
	return true;
}

/* Exclusive pages are evicted like any page, device memory is not. */
TEST_F(aging, eviction_of_old_generations)
{
	struct owned *owned = &self->owned;
	struct group group = {};
	bool goes;
	long gone;

	if (access(LRU_GEN, F_OK))
		SKIP(return, "no generations in the LRU");
	if (!swap_start(&self->swap, SWAP_BYTES))
		SKIP(return, "no zram to swap to");
	if (!restart_in_group(_metadata, self, &group))
		SKIP(return, "no memory cgroup");
	gone = evict_old(owned, group.path + strlen(group.mount));
	leave_group(&group);
	goes = owned->kind == OWNED_SYSTEM || owned->kind == OWNED_EXCLUSIVE;
	EXPECT_EQ(goes ? (long)self->npages : 0, gone);
	EXPECT_USABLE();
}

/*
 * The pages are referenced: reclaim scans them and asks whether they have been
 * accessed, but cannot evict them. False if it does not scan.
 */
static bool scan_pinned(struct owned *owned, struct group *group)
{
	long scanned = vm_event("pgscan_anon");
	int tries;

	for (tries = 0; tries < 20; tries++) {
		vm_order("drop_caches", "1");
		/* Not enough memory is available. */
		group_write(group->path, "memory.reclaim", "4M swappiness=max");
		if (vm_event("pgscan_anon") >= scanned + (long)owned->npages)
			return true;
	}
	return false;
}

static void expect_only_scanned(struct __test_metadata *_metadata,
				struct _test_data_aging *self, struct group *group)
{
	struct pinned pinned;
	long splits;

	pin_page(&pinned, self->map);
	EXPECT_TRUE(owned_take(&self->owned));
	splits = vm_event("thp_split_pmd");
	EXPECT_TRUE(scan_pinned(&self->owned, group));
	EXPECT_EQ(splits, vm_event("thp_split_pmd"));
	EXPECT_STILL_OWNED();
	EXPECT_HUGE();
	EXPECT_TRUE(unpin_page(&pinned, 1));
}

static void scan_in_group(struct __test_metadata *_metadata,
			  struct _test_data_aging *self)
{
	struct owned *owned = &self->owned;
	struct group group = {};

	if (!in_system_memory(owned) && !is_whole(owned))
		SKIP(return, "not exclusive as a whole");
	if (!owned->huge)
		SKIP(return, "more pages than one would have to be pinned");
	if (!swap_start(&self->swap, SWAP_BYTES))
		SKIP(return, "no zram to swap to");
	if (!restart_in_group(_metadata, self, &group))
		SKIP(return, "no memory cgroup");
	expect_only_scanned(_metadata, self, &group);
	leave_group(&group);
	EXPECT_USABLE();
}

TEST_F(aging, scan_of_pinned_memory)
{
	scan_in_group(_metadata, self);
}

/* With active and inactive lists in place of the generations */
TEST_F(aging, scan_of_pinned_memory_on_two_lists)
{
	if (!access(LRU_ENABLED, F_OK) &&
	    !setting_change(&self->settings[0], LRU_ENABLED, "0"))
		SKIP(return, "generations cannot be switched off");
	scan_in_group(_metadata, self);
}

/* DAMON */

#define KDAMONDS	"/sys/kernel/mm/damon/admin/kdamonds/"
#define CONTEXT		KDAMONDS "0/contexts/0/"
#define TARGET		CONTEXT "targets/0/"
#define SCHEME		CONTEXT "schemes/0/"
#define PATTERN		SCHEME "access_pattern/"
#define DAMON_ROUNDS	20

static void damon_write(const char *path, __u64 number)
{
	FILE *file = fopen(path, "w");

	if (!file || fprintf(file, "%llu", number) < 0 || fclose(file))
		fatal("%s: %s", path, strerror(errno));
}

static bool damon_say(const char *path, const char *word)
{
	int file = open(path, O_WRONLY | O_CLOEXEC);
	bool right;

	if (file < 0)
		return false;
	right = write(file, word, strlen(word)) == (ssize_t)strlen(word);
	close(file);
	return right;
}

/*
 * Applies a scheme to [@start, @end) every 20 ms, whatever the access pattern,
 * until it has covered the range @rounds times. False if DAMON cannot do this.
 */
static bool damon_run(const char *operations, const char *action, int node,
		      __u64 start, __u64 end, long rounds)
{
	bool seen = false;
	int tries;

	if (access(KDAMONDS, F_OK))
		return false;
	damon_write(KDAMONDS "nr_kdamonds", 1);
	damon_write(KDAMONDS "0/contexts/nr_contexts", 1);
	if (!damon_say(CONTEXT "operations", operations))
		return false;
	damon_write(CONTEXT "monitoring_attrs/intervals/sample_us", 2000);
	damon_write(CONTEXT "monitoring_attrs/intervals/aggr_us", 20000);
	damon_write(CONTEXT "monitoring_attrs/intervals/update_us", 100000);
	damon_write(CONTEXT "targets/nr_targets", 1);
	if (strcmp(operations, "paddr"))
		damon_write(TARGET "pid_target", getpid());
	damon_write(TARGET "regions/nr_regions", 1);
	damon_write(TARGET "regions/0/start", start);
	damon_write(TARGET "regions/0/end", end);
	damon_write(CONTEXT "schemes/nr_schemes", 1);
	if (!damon_say(SCHEME "action", action))
		return false;
	if (node >= 0)
		damon_write(SCHEME "target_nid", node);
	damon_write(PATTERN "sz/max", ~0ULL >> 1);
	damon_write(PATTERN "nr_accesses/max", 1000);
	damon_write(PATTERN "age/max", 1000000);
	if (!damon_say(KDAMONDS "0/state", "on"))
		return false;
	for (tries = 0; tries < WAIT_TRIES && !seen; tries++) {
		usleep(WAIT_US);
		/* Fails while kdamond has not yet handled the last command. */
		if (!damon_say(KDAMONDS "0/state", "update_schemes_stats"))
			continue;
		seen = read_number(SCHEME "stats/sz_tried") >=
		       rounds * (long)(end - start);
	}
	damon_say(KDAMONDS "0/state", "off");
	damon_write(KDAMONDS "nr_kdamonds", 0);
	return seen;
}

/* Monitoring alone */
TEST_F(aging, damon_watches_addresses)
{
	__u64 start = (uintptr_t)self->map;

	if (access(KDAMONDS, F_OK))
		SKIP(return, "no DAMON");
	ASSERT_TRUE(damon_run("fvaddr", "stat", -1, start, start + self->bytes,
			      DAMON_ROUNDS));
	EXPECT_STILL_OWNED();
	EXPECT_USABLE();
}

/* By reverse mapping */
TEST_F(aging, damon_watches_page_frames)
{
	__u64 start = self->owned.pfn * PAGE_BYTES;
	struct whole before;

	if (access(KDAMONDS, F_OK))
		SKIP(return, "no DAMON");
	if (!self->owned.huge && self->owned.kind != OWNED_COHERENT)
		SKIP(return, "its page frames may lie anywhere");
	if (self->owned.kind == OWNED_PRIVATE)
		SKIP(return, "no such page frame");
	vm_order("drop_caches", "1");
	before = whole_now(&self->owned);
	ASSERT_TRUE(damon_run("paddr", "stat", -1, start, start + self->bytes,
			      DAMON_ROUNDS));
	EXPECT_STILL_WHOLE(before);
	EXPECT_USABLE();
}

static void expect_paged_out(struct __test_metadata *_metadata,
			     struct owned *owned)
{
	size_t n = owned_count(owned);

	switch (owned->kind) {
	case OWNED_SYSTEM:
		EXPECT_EQ(0, n);
		break;
	case OWNED_EXCLUSIVE:
		/* Page table walks skip exclusive entries, rmap does not. */
		break;
	default:
		EXPECT_EQ(owned->npages, n);
	}
}

TEST_F(aging, damon_pages_out_addresses)
{
	__u64 start = (uintptr_t)self->map;

	if (access(KDAMONDS, F_OK))
		SKIP(return, "no DAMON");
	if (!swap_start(&self->swap, SWAP_BYTES))
		SKIP(return, "no zram to swap to");
	vm_order("drop_caches", "1");
	ASSERT_TRUE(damon_run("fvaddr", "pageout", -1, start,
			      start + self->bytes, DAMON_ROUNDS));
	expect_paged_out(_metadata, &self->owned);
	EXPECT_USABLE();
}

TEST_F(aging, damon_pages_out_page_frames)
{
	__u64 start = self->owned.pfn * PAGE_BYTES;
	struct owned *owned = &self->owned;

	if (access(KDAMONDS, F_OK))
		SKIP(return, "no DAMON");
	if (!owned->huge && owned->kind != OWNED_COHERENT)
		SKIP(return, "its page frames may lie anywhere");
	if (owned->kind == OWNED_PRIVATE)
		SKIP(return, "no such page frame");
	if (!swap_start(&self->swap, SWAP_BYTES))
		SKIP(return, "no zram to swap to");
	vm_order("drop_caches", "1");
	ASSERT_TRUE(damon_run("paddr", "pageout", -1, start,
			      start + self->bytes, DAMON_ROUNDS));
	expect_paged_out(_metadata, owned);
	EXPECT_USABLE();
}

/* Nodes */

#define NODE_1		"/sys/devices/system/node/node1"

static void bind_to(char *map, size_t bytes, int node, unsigned int flags)
{
	unsigned long nodes = 1UL << node;

	if (syscall(SYS_mbind, map, bytes, MPOL_BIND, &nodes, 8 * sizeof(nodes),
		    flags))
		fatal("mbind: %s", strerror(errno));
}

/* Pages for which move_pages() reports this node or negative errno */
static size_t count_status(char *map, size_t npages, int value)
{
	size_t i, count = 0;

	for (i = 0; i < npages; i++) {
		void *page = map + i * PAGE_BYTES;
		int status = value - 1;

		if (syscall(SYS_move_pages, 0, 1, &page, NULL, &status, 0))
			fatal("move_pages: %s", strerror(errno));
		count += status == value;
	}
	return count;
}

/* Pages that move_pages() reports as moved to the node */
static size_t move_each(char *map, size_t npages, int node)
{
	size_t i, count = 0;

	for (i = 0; i < npages; i++) {
		void *page = map + i * PAGE_BYTES;
		int status = -1;

		syscall(SYS_move_pages, 0, 1, &page, &node, &status,
			MPOL_MF_MOVE);
		count += status == node;
	}
	return count;
}

#define EXPECT_NODE(node)						\
	EXPECT_EQ(self->npages, count_status(self->map, self->npages, node))

/* System memory is on the node; the device still has the rest. */
#define EXPECT_NODE_OR_OWNED(node)					\
	EXPECT_EQ(self->npages, in_system_memory(&self->owned) ?	\
		  count_status(self->map, self->npages, node) :		\
		  owned_count(&self->owned))

/* Neither device memory nor an exclusive page has a node to report. */
#define EXPECT_NO_NODE()						\
	EXPECT_EQ(self->npages, count_status(self->map, self->npages, -ENOENT))

TEST_F(aging, move_pages_between_nodes)
{
	size_t moved;

	if (access(NODE_1, F_OK))
		SKIP(return, "one node");
	moved = move_each(self->map, self->npages, 1);
	moved += move_each(self->map, self->npages, 0);
	if (in_system_memory(&self->owned)) {
		EXPECT_EQ(2 * self->npages, moved);
		EXPECT_NODE(0);
	} else {
		EXPECT_EQ(0, moved);
		EXPECT_NO_NODE();
		EXPECT_STILL_OWNED();
	}
	EXPECT_USABLE();
}

TEST_F(aging, mbind_between_nodes)
{
	if (access(NODE_1, F_OK))
		SKIP(return, "one node");
	bind_to(self->map, self->bytes, 1, MPOL_MF_MOVE);
	EXPECT_NODE_OR_OWNED(1);
	bind_to(self->map, self->bytes, 0, MPOL_MF_MOVE);
	EXPECT_NODE_OR_OWNED(0);
	EXPECT_USABLE();
}

/* A CPU fault on device memory allocates by the memory policy. */
TEST_F(aging, back_on_the_node_of_the_policy)
{
	int node;

	if (access(NODE_1, F_OK))
		SKIP(return, "one node");
	if (self->owned.kind != OWNED_PRIVATE)
		SKIP(return, "does not come from elsewhere");
	for (node = 1; node >= 0; node--) {
		bind_to(self->map, self->bytes, node, 0);
		EXPECT_STILL_OWNED();
		EXPECT_TRUE(pattern_is(self->map, self->npages, 1));
		EXPECT_NODE(node);
		ASSERT_TRUE(owned_take(&self->owned));
	}
	EXPECT_USABLE();
}

TEST_F(aging, migrate_pages_between_nodes)
{
	unsigned long nodes[] = { 1UL << 0, 1UL << 1 };
	int from;

	if (access(NODE_1, F_OK))
		SKIP(return, "one node");
	for (from = 0; from < 2; from++) {
		if (syscall(SYS_migrate_pages, 0, 8 * sizeof(long),
			    &nodes[from], &nodes[!from]) < 0)
			SKIP(return, "migrate_pages: %s", strerror(errno));
		EXPECT_NODE_OR_OWNED(!from);
	}
	EXPECT_USABLE();
}

TEST_F(aging, damon_migrates_between_nodes)
{
	__u64 start = (uintptr_t)self->map;

	if (access(NODE_1, F_OK))
		SKIP(return, "one node");
	if (access(KDAMONDS, F_OK))
		SKIP(return, "no DAMON");
	if (in_system_memory(&self->owned))
		move_each(self->map, self->npages, 0);
	vm_order("drop_caches", "1");
	ASSERT_TRUE(damon_run("fvaddr", "migrate_cold", 1, start,
			      start + self->bytes, DAMON_ROUNDS));
	EXPECT_NODE_OR_OWNED(1);
	EXPECT_USABLE();
}

/* The node of the page, after the CPU has read it */
static int node_of(char *map)
{
	read_pages(map, 1);
	return !!count_status(map, 1, 1);
}

/* The reason if DAMON cannot migrate it by page frame, or NULL */
static const char *why_no_frames(struct owned *owned)
{
	if (access(NODE_1, F_OK))
		return "one node";
	if (access(KDAMONDS, F_OK))
		return "no DAMON";
	if (owned->kind == OWNED_PRIVATE)
		return "no such page frame";
	return owned->huge ? NULL : "its page frames may lie anywhere";
}

static bool damon_migrates(struct owned *owned, int node)
{
	__u64 start = owned->pfn * PAGE_BYTES;

	vm_order("drop_caches", "1");
	return damon_run("paddr", "migrate_cold", node, start,
			 start + owned->bytes, DAMON_ROUNDS);
}

/*
 * DAMON finds and migrates exclusive pages by page frame, which ends exclusive
 * access.
 */
TEST_F(aging, damon_migrates_page_frames)
{
	const char *reason = why_no_frames(&self->owned);
	struct whole before;
	int node;

	if (reason)
		SKIP(return, "%s", reason);
	node = node_of(self->map);
	EXPECT_NODE(node);
	ASSERT_TRUE(owned_take(&self->owned));
	before = whole_now(&self->owned);
	ASSERT_TRUE(damon_migrates(&self->owned, !node));
	if (!in_system_memory(&self->owned))
		EXPECT_EQ(0, owned_count(&self->owned));
	if (is_whole(&self->owned)) {
		EXPECT_LT(before.told, device_invalidations(self->fd));
		EXPECT_EQ(before.splits, vm_event("thp_split_pmd"));
		EXPECT_HUGE();
	}
	EXPECT_OWNED_DATA(1);
	EXPECT_NODE(!node);
	EXPECT_USABLE();
}

/* The device is notified, but the entry stays. */
TEST_F(aging, damon_cannot_migrate_pinned_page_frames)
{
	const char *reason = why_no_frames(&self->owned);
	struct pin_longterm_test pin = {
		.addr = (uintptr_t)self->map,
		.size = self->bytes,
	};
	struct whole before;
	int node, gup;

	if (reason)
		SKIP(return, "%s", reason);
	gup = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);
	if (gup < 0)
		SKIP(return, "no gup_test in debugfs");
	node = node_of(self->map);
	ASSERT_EQ(0, ioctl(gup, PIN_LONGTERM_TEST_START, &pin));
	EXPECT_TRUE(owned_take(&self->owned));
	before = whole_now(&self->owned);
	EXPECT_TRUE(damon_migrates(&self->owned, !node));
	if (is_whole(&self->owned)) {
		EXPECT_LT(before.told, device_invalidations(self->fd));
		EXPECT_EQ(before.splits, vm_event("thp_split_pmd"));
		EXPECT_HUGE();
		EXPECT_EQ(0, present_pages(self->map, self->npages));
	}
	EXPECT_EQ(0, ioctl(gup, PIN_LONGTERM_TEST_STOP));
	close(gup);
	EXPECT_OWNED_DATA(1);
	EXPECT_NODE(node);
	EXPECT_USABLE();
}

/* NUMA balancing */

#define BALANCING	"/sys/kernel/debug/sched/numa_balancing/"
#define DELAY		BALANCING "scan_delay_ms"
#define PERIOD_MIN	BALANCING "scan_period_min_ms"
#define PERIOD_MAX	BALANCING "scan_period_max_ms"
#define NUMA_READS	200000

/* The CPU reads memory of another node, which is marked and migrated. */
TEST_F(aging, numa_balancing)
{
	char *own = map_anon_small(HUGE_BYTES);
	long faults, changes;
	int tries;

	if (access(NODE_1, F_OK))
		SKIP(return, "one node");
	if (!setting_change(&self->settings[0], NUMA_BALANCING, "1") ||
	    !setting_change(&self->settings[1], DELAY, "1") ||
	    !setting_change(&self->settings[2], PERIOD_MIN, "20") ||
	    !setting_change(&self->settings[3], PERIOD_MAX, "20"))
		SKIP(return, "no NUMA balancing");
	run_on(0);
	bind_to(own, HUGE_BYTES, 1, 0);
	pattern_fill(own, HUGE_PAGES, OTHER);
	syscall(SYS_mbind, own, HUGE_BYTES, MPOL_DEFAULT, NULL, 0, 0);
	ASSERT_EQ(HUGE_PAGES, count_status(own, HUGE_PAGES, 1));
	changes = vm_event("numa_pte_updates");
	faults = vm_event("numa_hint_faults");
	/* NUMA balancing scans a task at intervals of its run time. */
	for (tries = 0; tries < NUMA_READS; tries++) {
		read_pages(own, HUGE_PAGES);
		if (tries % 100 == 0 && vm_event("numa_hint_faults") > faults &&
		    count_status(own, HUGE_PAGES, 0))
			break;
	}
	EXPECT_LT(changes, vm_event("numa_pte_updates"));
	EXPECT_LT(faults, vm_event("numa_hint_faults"));
	EXPECT_LT(0, count_status(own, HUGE_PAGES, 0));
	/* The scan is an invalidation, which ends exclusive access. */
	if (!in_system_memory(&self->owned) &&
	    self->owned.kind != OWNED_EXCLUSIVE)
		EXPECT_STILL_OWNED();
	/* It takes no write access from device memory. */
	EXPECT_EQ(0, device_writes_parts(self->fd, self->map, self->npages,
					 OTHER));
	EXPECT_TRUE(device_reads(self->fd, self->map, self->npages, OTHER));
	EXPECT_EQ(0, device_writes_parts(self->fd, self->map, self->npages, 1));
	if (self->owned.kind != OWNED_EXCLUSIVE)
		EXPECT_STILL_OWNED();
	EXPECT_TRUE(pattern_is(own, HUGE_PAGES, OTHER));
	/* A scan would take from the device what it is given again. */
	setting_restore(&self->settings[0]);
	EXPECT_USABLE();
	munmap(own, HUGE_BYTES);
}

/* The page frame numbers of private device memory */

FIXTURE(aging_frames)
{
	int probe;
	int fd;
	char *map;
	struct swap swap;
};

#define N	16UL

FIXTURE_SETUP(aging_frames)
{
	self->swap.disk = -1;
	self->probe = probe_open();
	self->fd = move_open();
	if (self->probe < 0 || self->fd < 0)
		SKIP(return, "no /dev/hmm_probe_move");
	self->map = map_anon_small(N * PAGE_BYTES);
	pattern_fill(self->map, N, 1);
	ASSERT_EQ(N, move_to_device(self->fd, self->map, N).moved);
}

FIXTURE_TEARDOWN(aging_frames)
{
	munmap(self->map, N * PAGE_BYTES);
	EXPECT_TRUE(move_in_use_is(self->fd, 0));
	close(self->fd);
	close(self->probe);
	swap_stop(&self->swap);
}

TEST_F(aging_frames, no_idle_marks)
{
	__u64 pfn = pfn_at(self->probe, self->map);

	if (access(IDLE_BITMAP, F_OK))
		SKIP(return, "no idle page tracking");
	ASSERT_NE(0, pfn);
	idle_set(pfn);
	EXPECT_FALSE(is_idle(pfn));
	EXPECT_EQ(N, pages_on_device(self->probe, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

/* Folios change between the kinds of LRU while others isolate them. */

#define TOGGLED_PAGES	1024UL
#define TOGGLED_ROUNDS	20
#define QUICK_ROUNDS	5

static void toggle_generations(void *stop)
{
	struct setting setting;
	int i;

	for (i = 0; !__atomic_load_n((bool *)stop, __ATOMIC_RELAXED); i++) {
		if (!setting_change(&setting, LRU_ENABLED, i % 2 ? "7" : "0"))
			fatal(LRU_ENABLED ": %s", strerror(errno));
		usleep(10000);
	}
}

TEST_F_TIMEOUT(aging_frames, moves_while_generations_come_and_go, 120)
{
	int i, rounds = how_brief() ? QUICK_ROUNDS : TOGGLED_ROUNDS;
	struct setting setting;
	struct worker toggler;
	bool stop = false;
	char *map;

	if (!setting_change(&setting, LRU_ENABLED, "7"))
		SKIP(return, "no generations in the LRU");
	map = map_anon_small(TOGGLED_PAGES * PAGE_BYTES);
	pattern_fill(map, TOGGLED_PAGES, OTHER);
	worker_start(&toggler, toggle_generations, &stop);
	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(TOGGLED_PAGES,
			  move_to_device(self->fd, map, TOGGLED_PAGES).moved);
		EXPECT_TRUE(pattern_is(map, TOGGLED_PAGES, OTHER));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	worker_join(&toggler);
	setting_restore(&setting);
	munmap(map, TOGGLED_PAGES * PAGE_BYTES);
}

TEST_F(aging_frames, damon_does_not_page_them_out)
{
	__u64 start = move_served(self->fd).first_pfn * PAGE_BYTES;

	if (access(KDAMONDS, F_OK))
		SKIP(return, "no DAMON");
	if (!swap_start(&self->swap, SWAP_BYTES))
		SKIP(return, "no zram to swap to");
	ASSERT_TRUE(damon_run("paddr", "pageout", -1, start,
			      start + HMM_MOVE_DEVICE_PAGES * PAGE_BYTES, 2));
	EXPECT_EQ(N, pages_on_device(self->probe, self->map, N));
	EXPECT_TRUE(pattern_is(self->map, N, 1));
}

TEST_HARNESS_MAIN
