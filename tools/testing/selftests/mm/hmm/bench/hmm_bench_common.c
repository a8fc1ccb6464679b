// SPDX-License-Identifier: GPL-2.0
/* What all measurements of hmm-bench need: memory, and calls of the module */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hmm_bench.h"

#define PAGE_CALLS	64	/* of which the quickest counts */
#define PLACE		0x10000000000UL	/* of the memory that rows map */

int device = -1;
uint64_t seed = 1;
char why[128];

int failed(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why, sizeof(why), format, arguments);
	va_end(arguments);
	return -EIO;
}

unsigned long below(unsigned long limit)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % limit;
}

double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

/* A tick is an instruction, as get_cycles() has it in the kernel. */
uint64_t ticks(void)
{
#ifdef __x86_64__
	uint32_t low, high;

	/* Memory is touched before the clock is read. */
	asm volatile("rdtsc" : "=a" (low), "=d" (high) : : "memory");
	return (uint64_t)high << 32 | low;
#else
	return 0;
#endif
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(double *values, unsigned int count)
{
	qsort(values, count, sizeof(*values), compare);
	return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

/* Memory */

/* What stands behind a mapping */
struct memory {
	unsigned int order;	/* of its folios */
	int flags;		/* for mmap() */
	unsigned int fault_kb;	/* of what a fault allocates, if large */
	bool apart;		/* no neighbours are contiguous */
};

static const struct memory memories[] = {
	[PAGES_4K]	= { 0, PRIVATE },
	[PAGES_APART]	= { 0, PRIVATE, .apart = true },
	[FOLIOS_64K]	= { 4, PRIVATE, 64 },
	[FOLIOS_512K]	= { 7, PRIVATE, 512 },
	[SHMEM_4K]	= { 0, SHARED },
	[THP]		= { 9, PRIVATE, 2048 },
	[HUGETLB]	= { 9, PRIVATE | MAP_HUGETLB },
	[HOLE]		= { 0, PRIVATE },
};

unsigned int order_of(enum kind kind)
{
	return memories[kind].order;
}

int put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	bool wrote = file && fputs(text, file) >= 0;

	if (file && fclose(file))
		wrote = false;
	return wrote ? 0 : failed("cannot write %s to %s", text, path);
}

static int choose_folios(const struct memory *memory)
{
	static const unsigned int sizes[] = { 64, 512, 2048 };
	unsigned int i;
	int rc = 0;

	for (i = 0; !rc && i < sizeof(sizes) / sizeof(*sizes); i++) {
		char path[128];

		snprintf(path, sizeof(path),
			 THP_FOLDER "/hugepages-%ukB/enabled", sizes[i]);
		rc = put(path, sizes[i] == memory->fault_kb ? "always" :
							      "never");
	}
	return rc;
}

char *map(enum kind kind, unsigned long size)
{
	const struct memory *memory = &memories[kind];
	char *place = (char *)PLACE + below(512) * HUGE_BYTES;
	char *at;

	if (choose_folios(memory))
		return NULL;
	at = mmap(place, size, PROT_READ | PROT_WRITE,
		  memory->flags | MAP_FIXED_NOREPLACE, -1, 0);
	if (at == MAP_FAILED) {
		failed("mmap: %s", strerror(errno));
		return NULL;
	}
	return at;
}

char *map_present(enum kind kind, unsigned long size)
{
	unsigned long step = memories[kind].apart ? 2 * PAGE_BYTES : PAGE_BYTES;
	char *at = map(kind, size);
	unsigned long first, i;

	for (first = 0; at && first < step; first += PAGE_BYTES)
		for (i = first; i < size; i += step)
			at[i] = 1;
	return at;
}

/* Neighbours that differ in protection are not merged. */
int split_mapping(char *at, unsigned long count, int protection)
{
	unsigned long i;

	for (i = 1; i < count; i += 2)
		if (mprotect(at + i * PAGE_BYTES, PAGE_BYTES, protection))
			return failed("mprotect: %s", strerror(errno));
	return 0;
}

int add_mappings(unsigned long count)
{
	char *at;

	if (!count)
		return 0;
	at = mmap(NULL, count * PAGE_BYTES, PROT_READ, PRIVATE, -1, 0);
	if (at == MAP_FAILED)
		return failed("mmap: %s", strerror(errno));
	return split_mapping(at, count, PROT_NONE);
}

/* Calls of the kernel on a page */

static int no_call(char *page)
{
	return 0;
}

static int time_quickest(const struct page_call *call, char *page,
			 uint64_t *quickest)
{
	int i;

	*quickest = UINT64_MAX;
	for (i = 0; i < PAGE_CALLS; i++) {
		uint64_t spent;
		int rc = call->prepare(page);

		if (rc)
			return rc;
		spent = ticks();
		rc = call->run(page);
		spent = ticks() - spent;
		if (rc)
			return failed("a call on a page: %s", strerror(errno));
		if (spent < *quickest)
			*quickest = spent;
	}
	return 0;
}

int time_page_call(const struct page_call *call, char *page, double *value)
{
	static const struct page_call nothing = { no_call, no_call };
	uint64_t overhead, quickest;
	int rc = time_quickest(&nothing, page, &overhead) ?:
		 time_quickest(call, page, &quickest);

	if (!rc)
		*value = quickest - overhead;
	return rc;
}

/* Calls of the module */

int open_device(int *file)
{
	*file = open("/dev/hmm_bench", O_RDWR | O_CLOEXEC);
	return *file < 0 ? failed("/dev/hmm_bench: %s", strerror(errno)) : 0;
}

int call(struct hmm_bench_call *args)
{
	if (!args->step)
		args->step = 1;
	if (!ioctl(device, HMM_BENCH_CALL, args))
		return 0;
	if (errno == EOPNOTSUPP)
		return -EOPNOTSUPP;
	return failed("operation %u: %s", args->op, strerror(errno));
}

int command(unsigned long number)
{
	return ioctl(device, number) ? failed("ioctl: %s", strerror(errno)) : 0;
}

int hold(int file, const struct hmm_bench_hold *args)
{
	if (!ioctl(file, HMM_BENCH_HOLD, args))
		return 0;
	return failed("%u subscriptions: %s", args->count, strerror(errno));
}

/* A process of its own */

struct answer {
	int rc;
	double value;
	char why[sizeof(why)];
};

/* What the parent's file holds is the parent's. */
static void answer(int (*measure)(const struct row *row, double *value),
		   const struct row *row, struct answer *to)
{
	close(device);
	to->rc = open_device(&device) ?: measure(row, &to->value);
	memcpy(to->why, why, sizeof(why));
}

static int wait_for_answer(pid_t child, const struct answer *from,
			   double *value)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		return failed("waitpid: %s", strerror(errno));
	if (status)
		return failed("the process ended with status %#x", status);
	*value = from->value;
	memcpy(why, from->why, sizeof(why));
	return from->rc;
}

int measure_apart(int (*measure)(const struct row *row, double *value),
		  const struct row *row, double *value)
{
	struct answer *shared = mmap(NULL, sizeof(*shared),
				     PROT_READ | PROT_WRITE, SHARED, -1, 0);
	pid_t child;
	int rc;

	if (shared == MAP_FAILED)
		return failed("mmap: %s", strerror(errno));
	child = fork();
	if (!child) {
		answer(measure, row, shared);
		_exit(0);
	}
	rc = child < 0 ? failed("fork: %s", strerror(errno)) :
			 wait_for_answer(child, shared, value);
	munmap(shared, sizeof(*shared));
	return rc;
}
