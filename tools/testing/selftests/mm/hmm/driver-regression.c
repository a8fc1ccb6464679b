// SPDX-License-Identifier: GPL-2.0
/*
 * Defects of 7.3's dummy driver, one test for each. The tests of other programs
 * need commands which that driver lacks; these run with both drivers.
 *
 * That driver does not check whether its allocations succeed, and reads through
 * the addresses of pages that have no memory. A process that hits such a defect
 * dies in the kernel, with its locks held. So each test runs in a process of
 * its own, which is abandoned after a time limit, and leaves dangerous commands
 * to a child that alone has the file and shares none of the memory: when the
 * child dies, the file is closed, and its locks go with it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "lib/device.h"

#define N		16UL
#define BYTES		(N * PAGE_BYTES)
#define SEED		0x1000UL
#define OTHER		0x200000UL
#define PRIVATE		0
#define COHERENT	3
#define APART_SECONDS	12

/* What became of a piece of work; its exit status where it has one */
enum outcome {
	RIGHT,
	WRONG,
	NOT_POSSIBLE,
	DIED,
	HANGS,
};

static const char * const outcome_names[] = {
	[RIGHT] = "right",
	[WRONG] = "wrong",
	[NOT_POSSIBLE] = "not possible here",
	[DIED] = "the kernel killed it",
	[HANGS] = "it hangs in the kernel",
};

typedef enum outcome (*job_t)(void);

static enum outcome wait_for(pid_t pid)
{
	int status = wait_for_child(pid, APART_SECONDS);

	if (status >= 0)
		return WIFEXITED(status) ? (enum outcome)WEXITSTATUS(status) : DIED;
	kill(pid, SIGKILL);
	return HANGS;
}

static enum outcome run_apart(job_t job)
{
	enum outcome outcome;
	pid_t pid = fork_off();

	if (!pid) {
		outcome = job();
		fflush(stdout);
		_exit(outcome);
	}
	outcome = wait_for(pid);
	if (outcome != RIGHT)
		printf("# %s\n", outcome_names[outcome]);
	return outcome;
}

FIXTURE(driver_regression)
{
};

FIXTURE_VARIANT(driver_regression)
{
	job_t job;
};

FIXTURE_SETUP(driver_regression)
{
}

FIXTURE_TEARDOWN(driver_regression)
{
}

TEST_F_TIMEOUT(driver_regression, works, 2 * APART_SECONDS)
{
	enum outcome outcome = run_apart(variant->job);

	if (outcome == NOT_POSSIBLE)
		SKIP(return, "no such device, or no huge pages");
	EXPECT_EQ(RIGHT, outcome);
}

static enum outcome right_if(bool right)
{
	return right ? RIGHT : WRONG;
}

/* The stock driver takes no null pointer for "no data". */
static int take(int fd, void *map, size_t npages)
{
	static char data[HUGE_BYTES];

	return device_ask(fd, HMM_DMIRROR_MIGRATE_TO_DEV, map, data, npages).rc;
}

/* Small pages that fork() does not copy */
static char *small_pages(void)
{
	char *map = map_anon_small(BYTES);

	if (madvise(map, BYTES, MADV_DONTFORK))
		fatal("MADV_DONTFORK: %s", strerror(errno));
	pattern_fill(map, N, SEED);
	return map;
}

typedef bool (*question_t)(int fd, char *map);

/*
 * A child runs a command on our memory, through a file that only it has open.
 */
static enum outcome ask_apart(int fd, question_t question, char *map)
{
	enum outcome outcome;
	int go[2];
	pid_t pid;
	char byte;

	if (pipe(go))
		fatal("pipe: %s", strerror(errno));
	pid = fork_off();
	if (!pid) {
		close(go[1]);
		outcome = read(go[0], &byte, 1) ? WRONG : right_if(question(fd, map));
		fflush(stdout);
		_exit(outcome);
	}
	close(fd);
	close(go[0]);
	close(go[1]);
	return wait_for(pid);
}

static bool reads_right(int fd, char *map)
{
	return device_reads(fd, map, N, SEED);
}

static bool writes(int fd, char *map)
{
	return !device_writes(fd, map, N, OTHER);
}

/*
 * An invalidation empties the device's page table. To fill it again, the driver
 * reads the device's own pages, whose addresses have no memory behind them.
 */
static enum outcome do_read_after_invalidation(void)
{
	int fd = dmirror_open(PRIVATE);
	char *map = small_pages();
	enum outcome outcome;

	if (fd < 0)
		return NOT_POSSIBLE;
	if (take(fd, map, N) || mprotect(map, BYTES, PROT_READ))
		return WRONG;
	outcome = ask_apart(fd, reads_right, map);
	return outcome == RIGHT ? right_if(pattern_is(map, N, SEED)) : outcome;
}

FIXTURE_VARIANT_ADD(driver_regression, read_after_invalidation)
{
	.job = do_read_after_invalidation,
};

/* The page table of a second file of the same device begins empty. */
static enum outcome ask_second_file(question_t question, __u64 seed_then)
{
	int fd = dmirror_open(PRIVATE), second = dmirror_open(PRIVATE);
	char *map = small_pages();
	enum outcome outcome;

	if (fd < 0 || second < 0)
		return NOT_POSSIBLE;
	if (take(fd, map, N))
		return WRONG;
	outcome = ask_apart(second, question, map);
	return outcome == RIGHT ? right_if(pattern_is(map, N, seed_then)) : outcome;
}

static enum outcome do_second_file_reads(void)
{
	return ask_second_file(reads_right, SEED);
}

FIXTURE_VARIANT_ADD(driver_regression, second_file_reads)
{
	.job = do_second_file_reads,
};

static enum outcome do_second_file_writes(void)
{
	return ask_second_file(writes, OTHER);
}

FIXTURE_VARIANT_ADD(driver_regression, second_file_writes)
{
	.job = do_second_file_writes,
};

/* The data of a page within a huge page is within the huge page's memory. */
static bool reads_inside(int fd, char *map)
{
	return device_reads(fd, map + 100 * PAGE_BYTES, N, SEED + 100);
}

static enum outcome do_read_inside_a_huge_page(void)
{
	int fd = dmirror_open(PRIVATE);
	char *map = fd < 0 ? NULL : device_map_thp(fd, HUGE_BYTES);
	enum outcome outcome;

	if (!map || madvise(map, HUGE_BYTES, MADV_DONTFORK))
		return NOT_POSSIBLE;
	pattern_fill(map, HUGE_PAGES, SEED);
	if (take(fd, map, HUGE_PAGES) || mprotect(map, HUGE_BYTES, PROT_READ))
		return WRONG;
	outcome = ask_apart(fd, reads_inside, map);
	return outcome == RIGHT ? right_if(pattern_is(map, HUGE_PAGES, SEED)) : outcome;
}

FIXTURE_VARIANT_ADD(driver_regression, read_inside_a_huge_page)
{
	.job = do_read_inside_a_huge_page,
};

/*
 * If no large page can be allocated, small ones must be used instead. After a
 * release, the first large page turns all coherent memory into large ones, so
 * that no small ones remain.
 */
static enum outcome do_small_pages_run_out(void)
{
	int fd = dmirror_open(COHERENT);
	char *map = fd < 0 ? NULL : device_map_thp(fd, 2 * HUGE_BYTES);
	int ret;

	if (!map)
		return NOT_POSSIBLE;
	pattern_fill(map, 2 * HUGE_PAGES, SEED);
	if (device_release(fd) || take(fd, map, HUGE_PAGES) ||
	    device_flags(fd, HMM_DMIRROR_FLAG_FAIL_ALLOC))
		return WRONG;
	ret = take(fd, map + HUGE_BYTES, HUGE_PAGES);
	return right_if((!ret || ret == -ENOENT) && pattern_is(map, 2 * HUGE_PAGES, SEED));
}

FIXTURE_VARIANT_ADD(driver_regression, small_pages_run_out)
{
	.job = do_small_pages_run_out,
};

/* A migration through one file must reach the mirrors of the others. */
static enum outcome do_second_file_sees_migration(void)
{
	int fd = dmirror_open(PRIVATE), second = dmirror_open(PRIVATE);
	char *map = small_pages();

	if (fd < 0 || second < 0)
		return NOT_POSSIBLE;
	if (!device_reads(second, map, N, SEED) || take(fd, map, N) ||
	    device_writes(fd, map, N, OTHER))
		return WRONG;
	return right_if(device_reads(second, map, N, OTHER) && pattern_is(map, N, OTHER));
}

FIXTURE_VARIANT_ADD(driver_regression, second_file_sees_migration)
{
	.job = do_second_file_sees_migration,
};

static enum outcome do_second_file_sees_return(void)
{
	int fd = dmirror_open(PRIVATE), second = dmirror_open(PRIVATE);
	char *map = small_pages();

	if (fd < 0 || second < 0)
		return NOT_POSSIBLE;
	if (take(second, map, N) ||
	    device_ask(fd, HMM_DMIRROR_MIGRATE_TO_SYS, map, NULL, N).rc)
		return WRONG;
	pattern_fill(map, N, OTHER);
	return right_if(device_reads(second, map, N, OTHER));
}

FIXTURE_VARIANT_ADD(driver_regression, second_file_sees_return)
{
	.job = do_second_file_sees_return,
};

/* Device memory stays as long as any file of the device is open. */
static enum outcome do_closing_one_file_of_two(void)
{
	int fd = dmirror_open(PRIVATE), second = dmirror_open(PRIVATE);
	char *map = small_pages();
	size_t stayed;

	if (fd < 0 || second < 0)
		return NOT_POSSIBLE;
	if (take(fd, map, N))
		return WRONG;
	close(second);
	stayed = device_count(fd, map, N, own_place(PRIVATE));
	if (stayed != N)
		printf("# %zu pages are still on the device\n", stayed);
	return right_if(stayed == N && pattern_is(map, N, SEED));
}

FIXTURE_VARIANT_ADD(driver_regression, closing_one_file_of_two)
{
	.job = do_closing_one_file_of_two,
};

/* A number of pages that overflows to 4096 when it is converted to bytes */
static enum outcome do_range_longer_than_all_memory(void)
{
	int fd = dmirror_open(PRIVATE);
	char *map = small_pages();
	static char data[PAGE_BYTES];
	struct answer answer;

	if (fd < 0)
		return NOT_POSSIBLE;
	answer = device_ask(fd, HMM_DMIRROR_READ, map, data, (1UL << 52) + 1);
	return right_if(answer.rc == -EINVAL);
}

FIXTURE_VARIANT_ADD(driver_regression, range_longer_than_all_memory)
{
	.job = do_range_longer_than_all_memory,
};

/* With both drivers: the device does what it is for. */
static enum outcome do_there_and_back(void)
{
	int fd = dmirror_open(PRIVATE);
	char *map = small_pages();

	if (fd < 0)
		return NOT_POSSIBLE;
	if (take(fd, map, N) || device_count(fd, map, N, own_place(PRIVATE)) != N ||
	    !pattern_is(map, N, SEED))
		return WRONG;
	return right_if(!device_count(fd, map, N, own_place(PRIVATE)));
}

FIXTURE_VARIANT_ADD(driver_regression, there_and_back)
{
	.job = do_there_and_back,
};

TEST_HARNESS_MAIN
