// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.h"

#define SETTLE_TRIES	2000
#define SETTLE_US	5000

/* Commands */

int device_open(unsigned int number, const char **reason)
{
	struct hmm_dmirror_counters counters;
	int fd = dmirror_open(number);

	if (fd < 0) {
		*reason = "this device is not there";
		return -1;
	}
	if (ioctl(fd, HMM_DMIRROR_COUNTERS, &counters)) {
		*reason = "the stock dummy driver has no counters";
		close(fd);
		return -1;
	}
	return fd;
}

struct answer device_ask(int fd, unsigned long request, void *addr, void *data, size_t npages)
{
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)addr,
		.ptr = (uintptr_t)data,
		.npages = npages,
	};
	struct answer answer;

	answer.rc = ioctl(fd, request, &cmd) ? -errno : 0;
	answer.cpages = cmd.cpages;
	answer.faults = cmd.faults;
	return answer;
}

struct answer device_take(int fd, void *addr, size_t npages)
{
	return device_ask(fd, HMM_DMIRROR_MIGRATE_TO_DEV, addr, NULL, npages);
}

struct answer device_give_back(int fd, void *addr, size_t npages)
{
	return device_ask(fd, HMM_DMIRROR_MIGRATE_TO_SYS, addr, NULL, npages);
}

struct hmm_dmirror_evict device_evict(int fd)
{
	struct hmm_dmirror_evict result;

	if (ioctl(fd, HMM_DMIRROR_EVICT, &result))
		fatal("HMM_DMIRROR_EVICT: %s", strerror(errno));
	return result;
}

/* The stock driver wants a range, whatever it is. */
int device_release(int fd)
{
	return device_ask(fd, HMM_DMIRROR_RELEASE, NULL, NULL, 1).rc;
}

int device_flags(int fd, __u64 flags)
{
	return device_ask(fd, HMM_DMIRROR_FLAGS, NULL, NULL, flags).rc;
}

__u64 device_fail(int fd, unsigned int point, __u64 nth)
{
	struct hmm_dmirror_failpoint args = {
		.point = point,
		.nth = nth,
	};

	if (ioctl(fd, HMM_DMIRROR_FAILPOINT, &args))
		fatal("HMM_DMIRROR_FAILPOINT: %s", strerror(errno));
	return args.nth;
}

int device_attach(int fd, int pidfd)
{
	struct hmm_dmirror_attach args = { .pidfd = pidfd };

	return ioctl(fd, HMM_DMIRROR_ATTACH, &args) ? -errno : 0;
}

struct hmm_dmirror_counters device_counters(int fd)
{
	struct hmm_dmirror_counters counters;

	if (ioctl(fd, HMM_DMIRROR_COUNTERS, &counters))
		fatal("HMM_DMIRROR_COUNTERS: %s", strerror(errno));
	return counters;
}

/* All counters have the same type. */
struct hmm_dmirror_counters device_since(int fd, const struct hmm_dmirror_counters *then)
{
	struct hmm_dmirror_counters counters = device_counters(fd);
	const __u64 *old = (const __u64 *)then;
	__u64 *new = (__u64 *)&counters;
	size_t i;

	for (i = 0; i < sizeof(counters) / sizeof(*new); i++)
		new[i] -= old[i];
	return counters;
}

bool device_in_use_is(int fd, __u64 pages)
{
	struct hmm_dmirror_counters counters = device_counters(fd);
	int tries;

	for (tries = 0; counters.in_use != pages && tries < SETTLE_TRIES; tries++) {
		usleep(SETTLE_US);
		counters = device_counters(fd);
	}
	if (counters.in_use == pages)
		return true;
	printf("# %llu device pages in use, not %llu\n", counters.in_use, pages);
	return false;
}

void *buffer_of(size_t bytes)
{
	void *buffer = malloc(bytes);

	if (!buffer)
		fatal("no memory");
	/*
	 * If the driver writes nothing, this is neither our data nor a page's
	 * place.
	 */
	memset(buffer, 0x72, bytes);
	return buffer;
}

bool device_reads(int fd, void *addr, size_t npages, __u64 seed)
{
	void *data = buffer_of(npages * PAGE_BYTES);
	struct answer answer;
	bool right;

	answer = device_ask(fd, HMM_DMIRROR_READ, addr, data, npages);
	right = !answer.rc && answer.cpages == npages && pattern_is(data, npages, seed);
	if (answer.rc)
		printf("# the device reads: %s\n", strerror(-answer.rc));
	free(data);
	return right;
}

int device_writes(int fd, void *addr, size_t npages, __u64 seed)
{
	void *data = buffer_of(npages * PAGE_BYTES);
	struct answer answer;

	pattern_fill(data, npages, seed);
	answer = device_ask(fd, HMM_DMIRROR_WRITE, addr, data, npages);
	free(data);
	return answer.rc;
}

void device_look(int fd, void *addr, size_t npages, unsigned char *bytes)
{
	struct answer answer = device_ask(fd, HMM_DMIRROR_SNAPSHOT, addr, bytes, npages);

	if (answer.rc)
		fatal("HMM_DMIRROR_SNAPSHOT: %s", strerror(-answer.rc));
}

size_t device_count_bytes(int fd, void *addr, size_t npages, unsigned char mask,
			  unsigned char value)
{
	unsigned char *bytes = buffer_of(npages);
	size_t i, count = 0;

	device_look(fd, addr, npages, bytes);
	for (i = 0; i < npages; i++)
		count += (bytes[i] & mask) == value;
	free(bytes);
	return count;
}

size_t device_count(int fd, void *addr, size_t npages, unsigned char place)
{
	return device_count_bytes(fd, addr, npages, PLACE_MASK, place);
}

unsigned char own_place(unsigned int device)
{
	return device < 2 ? HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL :
			    HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL;
}

unsigned char foreign_place(unsigned int device)
{
	return device < 2 ? HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE :
			    HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE;
}

char *device_map_thp(int fd, size_t bytes)
{
	char *map = map_anon(bytes);
	unsigned char byte;
	size_t at;

	madvise(map, bytes, MADV_HUGEPAGE);
	for (at = 0; at < bytes; at += HUGE_BYTES) {
		write_pages(map + at, 1, 1);
		device_look(fd, map + at, 1, &byte);
		if (!(byte & HMM_DMIRROR_PROT_PMD)) {
			munmap(map, bytes);
			return NULL;
		}
	}
	return map;
}

/* Data */

static __u64 pattern_word(__u64 number, size_t word)
{
	__u64 value = (number + 1) * 0x9e3779b97f4a7c15ULL;

	value ^= (word + 1) * 0xc2b2ae3d27d4eb4fULL;
	return value ^ value >> 29;
}

#define PAGE_WORDS	(PAGE_BYTES / sizeof(__u64))

void pattern_fill(void *addr, size_t npages, __u64 seed)
{
	__u64 *words = addr;
	size_t i;

	for (i = 0; i < npages * PAGE_WORDS; i++)
		words[i] = pattern_word(seed + i / PAGE_WORDS, i % PAGE_WORDS);
}

/* Each word is all of its bytes. */
bool pattern_is(const void *addr, size_t npages, __u64 seed)
{
	const __u64 *words = addr;
	size_t i;

	for (i = 0; i < npages * PAGE_WORDS; i++) {
		__u64 expected = pattern_word(seed + i / PAGE_WORDS, i % PAGE_WORDS);

		if (words[i] != expected) {
			printf("# page %zu, byte %zu: %#llx, not %#llx\n", i / PAGE_WORDS,
			       i % PAGE_WORDS * sizeof(__u64), words[i], expected);
			return false;
		}
	}
	return true;
}

bool is_zero(const void *addr, size_t npages)
{
	const __u64 *words = addr;
	size_t i;

	for (i = 0; i < npages * PAGE_WORDS; i++) {
		if (words[i]) {
			printf("# page %zu, byte %zu: %#llx, not 0\n", i / PAGE_WORDS,
			       i % PAGE_WORDS * sizeof(__u64), words[i]);
			return false;
		}
	}
	return true;
}

/* References: a pipe holds the page itself until it is read. */

void pin_page(struct pinned *pinned, void *addr)
{
	struct iovec vector = { addr, PAGE_BYTES };

	if (pipe2(pinned->pipe, O_CLOEXEC) ||
	    vmsplice(pinned->pipe[1], &vector, 1, 0) != (ssize_t)PAGE_BYTES)
		fatal("vmsplice: %s", strerror(errno));
}

bool unpin_page(struct pinned *pinned, __u64 seed)
{
	static __u64 data[PAGE_WORDS];
	size_t done = 0;
	ssize_t n;

	while (done < sizeof(data)) {
		n = read(pinned->pipe[0], (char *)data + done, sizeof(data) - done);
		if (n <= 0)
			fatal("pipe: %s", strerror(errno));
		done += n;
	}
	close(pinned->pipe[0]);
	close(pinned->pipe[1]);
	return pattern_is(data, 1, seed);
}

/* Children */

struct order {
	work_t work;
	char *addr;
	size_t npages;
	__u64 number;
};

static __noreturn void child_serve(int orders, int answers)
{
	struct order order;
	long answer;

	while (read(orders, &order, sizeof(order)) == sizeof(order) && order.work) {
		answer = order.work(order.addr, order.npages, order.number);
		fflush(stdout);
		if (write(answers, &answer, sizeof(answer)) != sizeof(answer))
			break;
	}
	_exit(0);
}

void child_start(struct child *child)
{
	int orders[2], answers[2];
	pid_t parent = getpid();

	if (pipe2(orders, O_CLOEXEC) || pipe2(answers, O_CLOEXEC))
		fatal("pipe: %s", strerror(errno));
	child->pid = fork_off();
	if (!child->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		close(orders[1]);
		close(answers[0]);
		child_serve(orders[0], answers[1]);
	}
	close(orders[0]);
	close(answers[1]);
	child->orders = orders[1];
	child->answers = answers[0];
}

void child_tell(struct child *child, work_t work, void *addr, size_t npages, __u64 number)
{
	struct order order = { work, addr, npages, number };

	if (write(child->orders, &order, sizeof(order)) != sizeof(order))
		fatal("a child is gone");
}

long child_do(struct child *child, work_t work, void *addr, size_t npages, __u64 number)
{
	long answer;

	child_tell(child, work, addr, npages, number);
	if (read(child->answers, &answer, sizeof(answer)) != sizeof(answer))
		fatal("a child is gone");
	return answer;
}

static void child_reap(struct child *child)
{
	close(child->orders);
	close(child->answers);
	waitpid(child->pid, NULL, 0);
}

/* Its pipe may be open in later children too: say so in words. */
void child_stop(struct child *child)
{
	child_tell(child, NULL, NULL, 0, 0);
	child_reap(child);
}

void child_kill(struct child *child)
{
	kill(child->pid, SIGKILL);
	child_reap(child);
}

long work_check(char *addr, size_t npages, __u64 seed)
{
	return pattern_is(addr, npages, seed);
}

long work_fill(char *addr, size_t npages, __u64 seed)
{
	pattern_fill(addr, npages, seed);
	return 0;
}

/* The file stays open, so that the pages stay on the device. */
long work_take(char *addr, size_t npages, __u64 number)
{
	int fd = dmirror_open(number);

	return fd < 0 ? -ENODEV : device_take(fd, addr, npages).rc;
}

long work_unmap(char *addr, size_t npages, __u64 unused)
{
	return munmap(addr, npages * PAGE_BYTES);
}

/* Adders */

static void *add(void *arg)
{
	struct adders *adders = arg;
	unsigned long round;
	size_t i;

	for (round = 0; round < adders->rounds; round++)
		for (i = 0; i < adders->npages; i++)
			__atomic_fetch_add((__u64 *)(adders->map + i * PAGE_BYTES), 1,
					   __ATOMIC_SEQ_CST);
	__atomic_fetch_sub(&adders->running, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

void adders_start(struct adders *adders, char *map, size_t npages, unsigned long rounds)
{
	unsigned int i;

	adders->map = map;
	adders->npages = npages;
	adders->rounds = rounds;
	adders->running = ADDERS;
	for (i = 0; i < npages; i++)
		*(__u64 *)(map + i * PAGE_BYTES) = 0;
	for (i = 0; i < ADDERS; i++)
		if (pthread_create(&adders->threads[i], NULL, add, adders))
			fatal("no thread");
}

bool adders_run(struct adders *adders)
{
	return __atomic_load_n(&adders->running, __ATOMIC_SEQ_CST);
}

bool adders_finish(struct adders *adders)
{
	size_t i;

	for (i = 0; i < ADDERS; i++)
		pthread_join(adders->threads[i], NULL);
	for (i = 0; i < adders->npages; i++) {
		__u64 sum = *(__u64 *)(adders->map + i * PAGE_BYTES);

		if (sum != ADDERS * adders->rounds) {
			printf("# page %zu: counted to %llu, not %lu\n", i, sum,
			       ADDERS * adders->rounds);
			return false;
		}
	}
	return true;
}
