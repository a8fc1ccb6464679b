// SPDX-License-Identifier: GPL-2.0
/*
 * An address space that never had a subscription: what the notifiers cost where
 * they have nothing to do. (MADV_DONTNEED is beside the other subscriptions.)
 */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hmm_bench.h"

#define FORKS		101
#define SETTLE_US	100000	/* what one process leaves behind is freed */

/* One page with a mapping of its own, which is like none of its neighbours */

static char *map_single(void)
{
	char *at = mmap(NULL, 3 * PAGE_BYTES, PROT_NONE, PRIVATE, -1, 0);

	if (at == MAP_FAILED) {
		failed("mmap: %s", strerror(errno));
		return NULL;
	}
	return at + PAGE_BYTES;
}

static int map_and_touch(char *page)
{
	if (mmap(page, PAGE_BYTES, PROT_READ | PROT_WRITE, PRIVATE | MAP_FIXED,
		 -1, 0) != page)
		return failed("mmap: %s", strerror(errno));
	*page = 1;
	return 0;
}

static int unmap(char *page)
{
	return munmap(page, PAGE_BYTES);
}

static int protect(char *page)
{
	return mprotect(page, PAGE_BYTES, PROT_READ);
}

static const struct page_call unmap_call = { map_and_touch, unmap };
static const struct page_call protect_call = { map_and_touch, protect };

static int measure_page_call(const struct row *row, double *value)
{
	char *page = map_single();

	return page ? time_page_call(row->trial, page, value) : -EIO;
}

/* Processes */

static int map_singles(unsigned long count)
{
	char *at;

	if (!count)
		return 0;
	at = map_present(PAGES_4K, count * PAGE_BYTES);
	return at ? split_mapping(at, count, PROT_READ) : -EIO;
}

static int time_fork(double *value)
{
	uint64_t spent = ticks();
	pid_t child = fork();

	if (!child)
		_exit(0);
	if (child < 0 || waitpid(child, NULL, 0) != child)
		return failed("fork: %s", strerror(errno));
	*value = ticks() - spent;
	return 0;
}

static int measure_fork(const struct row *row, double *value)
{
	int rc = unmap_taken_memory() ?: map_singles(row->count), i;
	double spent[FORKS];

	for (i = 0; !rc && i < FORKS; i++) {
		rc = time_fork(&spent[i]);
		usleep(SETTLE_US);
	}
	if (!rc)
		*value = median(spent, FORKS);
	return rc;
}

/* The rows */

const struct row unsubscribed_rows[] = {
	{ "munmap", "munmap of a page",
	  BASE_PLUS, 6, measure_page_call, .trial = &unmap_call },
	{ "mprotect", "mprotect of a page",
	  BASE_PLUS, 6, measure_page_call, .trial = &protect_call },
	{ "fork", "fork and exit of a small process",
	  BASE_TIMES, 1.005, measure_fork, .count = 0 },
	{ "fork-200", " 200 mappings more",
	  BASE_TIMES, 1.005, measure_fork, .count = 200 },
	{ }
};
