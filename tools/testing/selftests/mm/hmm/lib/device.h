/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of device memory share: commands and their answers, counters,
 * data that is checked byte by byte, and processes that work on demand.
 *
 * A helper that must not fail ends the test with a message.
 */
#ifndef _HMM_DEVICE_H
#define _HMM_DEVICE_H

/* Ours, whatever kernel the other headers are from */
#include "../../../../../../lib/test_hmm_uapi.h"
#include "common.h"

/* The part of a snapshot's byte that says where a page is. */
#define PLACE_MASK	0x70

/* Commands */

struct answer {
	int rc;		/* 0 or a negative errno */
	__u64 cpages;
	__u64 faults;
};

/* The stock driver has no counters: without them, -1 and the reason to skip. */
int device_open(unsigned int number, const char **reason);
struct answer device_ask(int fd, unsigned long request, void *addr,
			 void *data, size_t npages);
/* Without the data; the stock driver needs a buffer. */
struct answer device_take(int fd, void *addr, size_t npages);
struct answer device_give_back(int fd, void *addr, size_t npages);
struct hmm_dmirror_evict device_evict(int fd);
int device_release(int fd);
int device_flags(int fd, __u64 flags);
/* Returns what was left of the point's count as it was set before. */
__u64 device_fail(int fd, unsigned int point, __u64 nth);
int device_attach(int fd, int pidfd);
struct hmm_dmirror_counters device_counters(int fd);
/* What the device has counted since then */
struct hmm_dmirror_counters device_since(int fd, const struct hmm_dmirror_counters *then);
/* Pages in use become @pages soon: frees may be on their way. */
bool device_in_use_is(int fd, __u64 pages);

/* Memory for an answer, to be freed; holds nothing that a test looks for. */
void *buffer_of(size_t bytes);
/* The device reads @npages and finds the pattern; or writes it. */
bool device_reads(int fd, void *addr, size_t npages, __u64 seed);
int device_writes(int fd, void *addr, size_t npages, __u64 seed);

void device_look(int fd, void *addr, size_t npages, unsigned char *bytes);
/* Pages whose byte in a snapshot, under the mask, has this value */
size_t device_count_bytes(int fd, void *addr, size_t npages, unsigned char mask,
			  unsigned char value);
/* How many pages a snapshot shows at a place */
size_t device_count(int fd, void *addr, size_t npages, unsigned char place);
unsigned char own_place(unsigned int device);
unsigned char foreign_place(unsigned int device);

/* Huge pages, not written to; NULL if the kernel gives small ones. */
char *device_map_thp(int fd, size_t bytes);

/*
 * Data. Each page has its own, numbered from @seed on: the data of a range's
 * page n is that of a range which begins at seed + n.
 */
void pattern_fill(void *addr, size_t npages, __u64 seed);
bool pattern_is(const void *addr, size_t npages, __u64 seed);
bool is_zero(const void *addr, size_t npages);

/* References of pages, as those of a running transfer */

struct pinned {
	int pipe[2];
};

void pin_page(struct pinned *pinned, void *addr);
/* What the transfer delivers is the pattern. */
bool unpin_page(struct pinned *pinned, __u64 seed);

/* Forked processes that work on demand */

typedef long (*work_t)(char *addr, size_t npages, __u64 number);

struct child {
	pid_t pid;
	int orders;
	int answers;
};

void child_start(struct child *child);
/* Does not wait for the answer. */
void child_tell(struct child *child, work_t work, void *addr, size_t npages,
		__u64 number);
long child_do(struct child *child, work_t work, void *addr, size_t npages,
	      __u64 number);
void child_stop(struct child *child);
void child_kill(struct child *child);
long work_check(char *addr, size_t npages, __u64 seed);
long work_fill(char *addr, size_t npages, __u64 seed);
/* Opens device @number and moves the pages there; the answer's rc. */
long work_take(char *addr, size_t npages, __u64 number);
long work_unmap(char *addr, size_t npages, __u64 unused);

/* Threads that count in the first word of each page */

#define ADDERS	2

struct adders {
	char *map;
	size_t npages;
	unsigned long rounds;
	unsigned int running;
	pthread_t threads[ADDERS];
};

void adders_start(struct adders *adders, char *map, size_t npages,
		  unsigned long rounds);
bool adders_run(struct adders *adders);
/* Ends them; false, with a message, when a count is not exact. */
bool adders_finish(struct adders *adders);

#endif /* _HMM_DEVICE_H */
