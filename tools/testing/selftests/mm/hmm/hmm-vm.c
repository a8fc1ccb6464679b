// SPDX-License-Identifier: GPL-2.0
/*
 * How long it takes to create a virtual machine: KVM subscribes to the whole
 * address space for it. Each VM is the first one of a process of its own, with
 * and without other processes in the middle of an invalidation all the time.
 *
 * The times are printed, not judged: a slow machine breaks nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REPETITIONS	31
#define OTHERS		4
#define OTHERS_BYTES	(16UL << 20)
#define SETTLE_US	200000

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double now_us(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

/* The time it takes, or -errno */
static double create_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;
	double begun = now_us(), took;

	if (kvm < 0)
		return -errno;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	took = vm < 0 ? -errno : now_us() - begun;
	close(vm);
	close(kvm);
	return took;
}

/* In a process that has no subscription yet */
static double create_first_vm(void)
{
	double took;
	int ends[2];
	pid_t pid;

	if (pipe(ends))
		return -errno;
	pid = fork();
	if (!pid) {
		took = create_vm();
		_exit(write(ends[1], &took, sizeof(took)) != sizeof(took));
	}
	/* A child that dies leaves an end of file. */
	close(ends[1]);
	if (pid < 0)
		took = -errno;
	else if (read(ends[0], &took, sizeof(took)) != sizeof(took))
		took = -EIO;
	close(ends[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return took;
}

/* Fork, protect, unprotect and drop, over and over */
static void invalidate_for_ever(void)
{
	char *map = mmap(NULL, OTHERS_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (map == MAP_FAILED)
		_exit(1);
	for (;;) {
		memset(map, 1, OTHERS_BYTES);
		if (!fork())
			_exit(0);
		wait(NULL);
		mprotect(map, OTHERS_BYTES, PROT_READ);
		mprotect(map, OTHERS_BYTES, PROT_READ | PROT_WRITE);
		madvise(map, OTHERS_BYTES / 2, MADV_DONTNEED);
	}
}

static int measure(unsigned int number, const char *name)
{
	double took[REPETITIONS];
	int i;

	for (i = 0; i < REPETITIONS; i++) {
		took[i] = create_first_vm();
		if (took[i] < 0) {
			printf("# %s\nnot ok %u vm.%s\n",
			       strerror(-(int)took[i]), number, name);
			return 1;
		}
	}
	qsort(took, REPETITIONS, sizeof(*took), compare);
	printf("# figure: %s: median %.0f us, longest %.0f us\nok %u vm.%s\n",
	       name, took[REPETITIONS / 2], took[REPETITIONS - 1], number, name);
	return 0;
}

int main(void)
{
	pid_t others[OTHERS];
	int i, failed;

	setbuf(stdout, NULL);
	printf("TAP version 13\n1..2\n");
	failed = measure(1, "created_alone");
	for (i = 0; i < OTHERS; i++) {
		others[i] = fork();
		if (!others[i])
			invalidate_for_ever();
	}
	usleep(SETTLE_US);
	failed += measure(2, "created_beside_invalidations");
	for (i = 0; i < OTHERS; i++) {
		if (others[i] < 0)
			continue;
		kill(others[i], SIGKILL);
		waitpid(others[i], NULL, 0);
	}
	return failed;
}
