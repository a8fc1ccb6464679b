// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "move.h"

#define POLL_US		1000
#define POLLS		20000
#define ASLEEP_POLLS	100	/* so often, and it sleeps for good */

int move_open(void)
{
	return probe_device("hmm_probe_move");
}

int move_try(int fd, struct hmm_move *move)
{
	int ret = ioctl(fd, HMM_MOVE_RUN, move);

	if (!ret && move->undefined)
		fatal("%llu entries have what the API does not define",
		      (unsigned long long)move->undefined);
	return ret;
}

struct hmm_move move_pages_to(int fd, void *addr, size_t npages, __u64 flags,
			      unsigned int order)
{
	struct hmm_move move = {
		.addr = (uintptr_t)addr,
		.npages = npages,
		.flags = flags,
		.order = order,
	};

	if (move_try(fd, &move))
		fatal("HMM_MOVE_RUN: %s", strerror(errno));
	return move;
}

struct hmm_move move_to_device(int fd, void *addr, size_t npages)
{
	return move_pages_to(fd, addr, npages,
			     HMM_MOVE_TO_DEVICE | HMM_MOVE_COMPOUND |
			     HMM_MOVE_FOLIOS | HMM_MOVE_HINT, HUGE_ORDER);
}

struct hmm_move move_to_system(int fd, void *addr, size_t npages)
{
	return move_pages_to(fd, addr, npages,
			     HMM_MOVE_COMPOUND | HMM_MOVE_FOLIOS, HUGE_ORDER);
}

void move_serve(int fd, size_t pages, __u64 flags, __u64 limit)
{
	struct hmm_serve serve = {
		.pages = pages,
		.flags = flags,
		.limit = limit,
	};

	if (ioctl(fd, HMM_MOVE_SERVE, &serve))
		fatal("HMM_MOVE_SERVE: %s", strerror(errno));
}

struct hmm_serve move_served(int fd)
{
	struct hmm_serve serve;

	if (ioctl(fd, HMM_MOVE_SERVED, &serve))
		fatal("HMM_MOVE_SERVED: %s", strerror(errno));
	return serve;
}

bool move_in_use_is(int fd, __u64 pages)
{
	int polls;

	for (polls = 0; polls < POLLS; polls++) {
		if (move_served(fd).in_use == pages)
			return true;
		usleep(POLL_US);
	}
	printf("# %llu pages in use, not %llu\n", move_served(fd).in_use,
	       pages);
	return false;
}

/* The kernel leaves it alone by a memmap= of its own. */
static __u64 coherent_start(void)
{
	static const char name[] = "hmm_probe.coherent=";
	char line[4096];
	FILE *file = fopen("/proc/cmdline", "r");
	char *found = NULL;

	if (file && fgets(line, sizeof(line), file))
		found = strstr(line, name);
	if (file)
		fclose(file);
	return found ? strtoull(found + strlen(name), NULL, 0) : 0;
}

bool move_coherent_look(int fd, struct hmm_coherent *coherent)
{
	*coherent = (struct hmm_coherent) { .start = coherent_start() };
	if (!coherent->start)
		return false;
	if (ioctl(fd, HMM_MOVE_COHERENT_AT, coherent))
		fatal("HMM_MOVE_COHERENT_AT: %s", strerror(errno));
	return true;
}

long move_coherent_in_use(int fd)
{
	struct hmm_coherent coherent;

	return move_coherent_look(fd, &coherent) ? (long)coherent.in_use : -1;
}

bool move_coherent_in_use_is(int fd, long pages)
{
	int polls;

	for (polls = 0; polls < POLLS / 10; polls++) {
		if (move_coherent_in_use(fd) == pages)
			return true;
		usleep(POLL_US);
	}
	printf("# %ld coherent pages in use, not %ld\n",
	       move_coherent_in_use(fd), pages);
	return false;
}

int move_file(int fd, size_t npages, __u64 flags)
{
	struct hmm_file args = { .npages = npages, .flags = flags };
	int file = ioctl(fd, HMM_MOVE_FILE, &args);

	if (file < 0)
		fatal("HMM_MOVE_FILE: %s", strerror(errno));
	return file;
}

struct hmm_file_state move_file_state(int file)
{
	struct hmm_file_state state;

	if (ioctl(file, HMM_FILE_STATE, &state))
		fatal("HMM_FILE_STATE: %s", strerror(errno));
	return state;
}

void hold_page(int fd, __u64 pfn, bool lock)
{
	struct hmm_hold hold = { .pfn = pfn, .lock = lock };
	int polls;

	for (polls = 0; ioctl(fd, HMM_MOVE_HOLD, &hold); polls++) {
		if (errno != EAGAIN || polls == POLLS)
			fatal("HMM_MOVE_HOLD: %s", strerror(errno));
		usleep(POLL_US);
	}
}

void let_go(int fd)
{
	if (ioctl(fd, HMM_MOVE_LET_GO))
		fatal("HMM_MOVE_LET_GO: %s", strerror(errno));
}

__u64 pfn_at(int probe, void *addr)
{
	__u64 slot;

	probe_look(probe, addr, 1, &slot, HMM_PROBE_ADOPT_OWNER);
	return slot & HMM_PROBE_VALID ? slot_pfn(slot) : 0;
}

/* As an owner of another device sees it, they are not there. */
size_t pages_on_device(int probe, void *addr, size_t npages)
{
	__u64 *all = buffer_of(2 * npages * sizeof(*all));
	__u64 *mapped = all + npages;
	size_t count;

	probe_look(probe, addr, npages, all, HMM_PROBE_ADOPT_OWNER);
	probe_look(probe, addr, npages, mapped, 0);
	count = count_slots(all, npages, HMM_PROBE_VALID) -
		count_slots(mapped, npages, HMM_PROBE_VALID);
	free(all);
	return count;
}

/* Workers */

static void *worker_run(void *arg)
{
	struct worker *worker = arg;

	__atomic_store_n(&worker->tid, syscall(SYS_gettid), __ATOMIC_SEQ_CST);
	worker->work(worker->arg);
	__atomic_store_n(&worker->done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

void worker_start(struct worker *worker, void (*work)(void *arg), void *arg)
{
	worker->work = work;
	worker->arg = arg;
	worker->tid = 0;
	worker->done = 0;
	if (pthread_create(&worker->thread, NULL, worker_run, worker))
		fatal("no thread");
	while (!__atomic_load_n(&worker->tid, __ATOMIC_SEQ_CST))
		sched_yield();
}

/* State and minor faults: fields 3 and 10 */
static bool worker_stat(struct worker *worker, char *state, long *faults)
{
	char path[64];
	FILE *file;
	int n;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", worker->tid);
	file = fopen(path, "r");
	if (!file)
		return false;
	n = fscanf(file, "%*d (%*[^)]) %c %*d %*d %*d %*d %*d %*u %ld", state,
		   faults);
	fclose(file);
	return n == 2;
}

bool worker_is_stuck(struct worker *worker, long most)
{
	unsigned int polls, asleep = 0;
	long faults = 0;
	char state;

	for (polls = 0; polls < POLLS && asleep < ASLEEP_POLLS; polls++) {
		if (__atomic_load_n(&worker->done, __ATOMIC_SEQ_CST))
			return false;
		if (worker_stat(worker, &state, &faults) && state != 'R')
			asleep++;
		else
			asleep = 0;
		if (faults > most)
			return false;
		usleep(POLL_US);
	}
	return asleep == ASLEEP_POLLS;
}

void worker_join(struct worker *worker)
{
	pthread_join(worker->thread, NULL);
}

static void held_run(void *arg)
{
	struct held *held = arg;

	if (move_try(held->fd, &held->move))
		fatal("HMM_MOVE_RUN: %s", strerror(errno));
}

void held_start(struct held *held)
{
	worker_start(&held->worker, held_run, held);
	if (ioctl(held->fd, HMM_MOVE_AWAIT_STAY))
		fatal("the migration does not stay: %s", strerror(errno));
}

void held_finish(struct held *held)
{
	if (ioctl(held->fd, HMM_MOVE_GO_ON))
		fatal("HMM_MOVE_GO_ON: %s", strerror(errno));
	worker_join(&held->worker);
}
