/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests share: the probe, the dummy devices, userfaultfd,
 * a forked process that keeps shared pages shared, and memory of each kind.
 *
 * A helper that cannot do its work because of the environment returns -1 (the
 * test skips); one that must not fail ends the test with a message.
 */
#ifndef _HMM_COMMON_H
#define _HMM_COMMON_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <linux/const.h>
#include <linux/userfaultfd.h>

#include "kselftest.h"
#include "../hmm_probe/hmm_probe_uapi.h"

#define PAGE_BYTES	4096UL
#define HUGE_BYTES	_BITUL(21)
#define HUGE_PAGES	(HUGE_BYTES / PAGE_BYTES)
#define HUGE_ORDER	9
#define GIGANTIC_BYTES	_BITUL(30)
#define GIGANTIC_ORDER	18

/* The two request masks that drivers use: the slots count, or they do not. */
#define MASK_SLOTS	(~0ULL)
#define MASK_NONE	0ULL

#define REQ_READ	HMM_PROBE_REQ_FAULT
#define REQ_WRITE	(HMM_PROBE_REQ_FAULT | HMM_PROBE_REQ_WRITE)

/* Interfaces that the C library's headers may be too old for. */
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED	24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef MADV_HWPOISON
#define MADV_HWPOISON		100
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
#endif
#ifndef MFD_HUGETLB
#define MFD_HUGETLB		4U
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED _BITULL(13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC	_BITULL(15)
#endif
#ifndef UFFDIO_MOVE
#define UFFD_FEATURE_MOVE	_BITULL(16)
#define UFFDIO_MOVE		_IOWR(UFFDIO, 0x05, struct uffdio_move)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES _BITULL(1)

struct uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
	__u64 mode;
	__s64 move;
};
#endif
#ifndef UFFDIO_POISON
#define UFFD_FEATURE_POISON	_BITULL(14)
#define UFFDIO_POISON		_IOWR(UFFDIO, 0x08, struct uffdio_poison)

struct uffdio_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated;
};
#endif
#ifndef UFFDIO_RWPROTECT
#define UFFD_FEATURE_RWP	_BITULL(17)
#define UFFDIO_REGISTER_MODE_RWP _BITULL(3)
#define UFFDIO_RWPROTECT	_IOWR(UFFDIO, 0x09, struct uffdio_rwprotect)
#define UFFDIO_RWPROTECT_MODE_RWP _BITULL(0)

struct uffdio_rwprotect {
	struct uffdio_range range;
	__u64 mode;
};
#endif
#ifndef UFFD_FEATURE_RWP_ASYNC
#define UFFD_FEATURE_RWP_ASYNC	_BITULL(18)
#endif

void __noreturn __printf(1, 2) fatal(const char *format, ...);

/* The probe */

int probe_open(void);
/* A device of the probe module; its file is NAME below /dev. */
int probe_device(const char *name);
/* The module's file, or -1 where there is none near the program */
int probe_module_file(void);
bool probe_knows_sparse(int fd);
/* Fills in the fixed fields of @call, runs it and returns the API's rc. */
int probe_call(int fd, void *addr, size_t npages, __u64 *slots,
	       struct hmm_probe_call *call);
/* Every page wants @request; default_flags carries it. */
int probe_fault_all(int fd, void *addr, size_t npages, __u64 *slots,
		    __u64 request, __u64 flags);
/* Each slot carries its page's request. */
int probe_fault_each(int fd, void *addr, size_t npages, __u64 *slots,
		     __u64 flags);
int probe_snapshot(int fd, void *addr, size_t npages, __u64 *slots,
		   __u64 flags);
void probe_look(int fd, void *addr, size_t npages, __u64 *slots,
		__u64 flags);
/* True if a snapshot is what the oracle sees; otherwise says where not. */
bool probe_agrees(int fd, void *addr, size_t npages, __u64 flags);
void probe_interval(int fd, void *start, size_t bytes);
/* How many pages the page tables map at the moment. */
size_t probe_populated(int fd, void *addr, size_t npages);
const char *probe_mismatch_name(__u64 mismatch);
const char *probe_kind_name(__u64 kind);

unsigned int slot_order(__u64 slot);
__u64 slot_pfn(__u64 slot);
size_t count_slots(const __u64 *slots, size_t n, __u64 bits);
/* Index of the first slot with (slot & mask) != value, or @n. */
size_t first_other(const __u64 *slots, size_t n, __u64 mask,
		   __u64 value);
/* Index of the first slot that breaks a run of pages of @order, or @n. */
size_t first_not_following(const __u64 *slots, size_t n,
			   unsigned int order);
void fill_slots(__u64 *slots, size_t n, __u64 value);
/* The pfn in /proc/self/pagemap, 0 if nothing is present. */
__u64 pagemap_pfn(void *addr);
size_t present_pages(char *addr, size_t npages);
/* Of device memory, too */
size_t swapped_pages(char *addr, size_t npages);
/* KiB of the mapping at @addr that huge entries are about, or -1 */
long huge_kib(const void *addr);
/* Has the page been written to since clear_softdirty()? */
bool is_soft_dirty(void *addr);
size_t dirty_pages(char *addr, size_t npages);
/* What the entries themselves say: all of a new VMA counts as dirty else. */
size_t dirty_entries(char *addr, size_t npages);
/*
 * How many pages are written to since this was asked last? Userfaultfd protects
 * the range, asynchronously.
 */
size_t written_protect(char *addr, size_t npages);
/* In vm_util.c: forgets all writes of the process so far. */
void clear_softdirty(void);

/* Memory. Everything is aligned to a huge page. */

void *map_at(void *addr, size_t bytes, int prot, int flags, int fd);
void *map_anon(size_t bytes);
void *map_anon_small(size_t bytes);
/* One or more huge pages, written to; NULL if the kernel gives small ones. */
void *map_thp(int fd, size_t bytes);
/* Needs reserve_hugetlb(); NULL if the pool has too few pages. */
void *map_hugetlb(size_t bytes);
/* One page of 1 GiB, never touched as a whole; NULL if there is none. */
void *map_gigantic(void);
bool reserve_hugetlb(size_t pages);
/* Gives the pool back; for every fixture's teardown. */
void release_hugetlb(void);
int memory_file(size_t bytes);
/* Memory that the kernel does not map for itself; -1 where there is none */
int secret_file(size_t bytes);
/* A file of hugetlb pages of 2 MiB; -1 where there are none */
int hugetlb_file(size_t bytes);
/* MADV_COLLAPSE: 0 or a negative errno; not -EAGAIN, which passes. */
int collapse_pages(void *addr, size_t bytes);
void write_pages(void *addr, size_t npages, char value);
void read_pages(void *addr, size_t npages);

/* A number in the environment; @standard where there is none */
unsigned long from_environment(const char *name, unsigned long standard);

/* HMM_QUICK: 1 is for a short run, 2 for a short run on a slow kernel. */
enum brevity { LONG_RUN, SHORT_RUN, SHORTEST_RUN };

enum brevity how_brief(void);

/* The number in a file below /sys or /proc, -1 if there is none */
long read_number(const char *path);

/* A line of /proc/vmstat; -1 if there is none of this name */
long vm_event(const char *name);

/* Writes to a file in /proc/sys/vm that starts something. */
void vm_order(const char *name, const char *word);

/* A file of one line below /sys or /proc, put back by setting_restore(). */
struct setting {
	char path[128];
	char old[64];
};

bool setting_change(struct setting *setting, const char *path,
		    const char *value);
void setting_restore(struct setting *setting);

#define NUMA_BALANCING	"/proc/sys/kernel/numa_balancing"
#define WATERMARK_BOOST	"/proc/sys/vm/watermark_boost_factor"

/* A compressed RAM disk, and swap space on one */
struct swap {
	int disk;	/* number, or -1 */
	char device[32];
};

bool disk_start(struct swap *swap, size_t bytes);
void disk_stop(struct swap *swap);
bool swap_start(struct swap *swap, size_t bytes);
bool swap_out(void *map, size_t npages);
void swap_stop(struct swap *swap);

/*
 * The dummy devices of test_hmm: 0 and 1 private, 2 and 3 coherent. With
 * HMM_NEVER_DIRTY=1 in the environment they mark nothing that they write to as
 * dirty, like 7.3's own.
 */

int dmirror_open(unsigned int device);
int dmirror_command(int fd, unsigned long request, void *addr, size_t npages);
int dmirror_to_device(int fd, void *addr, size_t npages);

/* The caller and what it forks run on this processor alone. */
void run_on(int processor);

/* fork() that neither fails nor prints anything twice */
pid_t fork_off(void);
/* The status of a child that ends in this time, or -1 */
int wait_for_child(pid_t pid, unsigned int seconds);

/* A process that has forked off and reads bytes of its memory on demand. */
struct keeper {
	pid_t pid;
	int ask;
	int answer;
};

void keeper_start(struct keeper *keeper);
int keeper_peek(struct keeper *keeper, void *addr);
void keeper_stop(struct keeper *keeper);

/* userfaultfd, and a thread that answers its page faults. */
struct uffd {
	int fd;
	int stop[2];
	pthread_t thread;
	void (*on_fault)(struct uffd *uffd, char *page, bool write);
	void *arg;
};

int uffd_open(struct uffd *uffd, __u64 features);
int uffd_watch(struct uffd *uffd, void *addr, size_t bytes, __u64 mode);
int uffd_protect(struct uffd *uffd, unsigned long request, void *addr,
		 size_t bytes, __u64 mode);
/* Is the page write-protected? */
bool uffd_is_protected(char *page);
int uffd_poison(struct uffd *uffd, void *addr, size_t bytes);
void uffd_start(struct uffd *uffd);
void uffd_fill(struct uffd *uffd, char *page, char value);
void uffd_stop(struct uffd *uffd);

#endif /* _HMM_COMMON_H */
