// SPDX-License-Identifier: GPL-2.0
/*
 * Run a program while the dummy HMM devices migrate and access its memory.
 *
 * The program does not notice. It runs in a control group of its own, and
 * threads of this one pick processes from there, let a device mirror each for
 * a while, and move random ranges of it to the device and back, read them,
 * make them exclusive, and empty devices. None of this may change what the
 * program computes, so its output must be that of an undisturbed run.
 *
 * usage: hmm-chaos -g CGROUP -o OUTPUT [-s SEED] PROGRAM [ARGUMENT...]
 *
 * CGROUP is an existing, empty directory of a cgroup2 file system. The program's
 * output and errors go to OUTPUT. Lines that begin with "#" tell what is going
 * on, the last one "pages N" how many pages went to devices. The exit status is
 * the program's, or 125 when it could not be run or mirrored.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../../../../lib/test_hmm_uapi.h"

#define PAGE_BYTES	4096UL
#define DEVICES		4
#define AGENTS		2	/* threads that disturb */
#define VISIT_COMMANDS	64	/* on one process, before another one is picked */
#define MOST_PAGES	1024	/* of a command */
#define MOST_EXCLUSIVE	16
#define MAX_PROCESSES	64
#define MAX_RANGES	512
#define PROGRESS_SECONDS 5
#define NOT_RUN		125

/* Commands, and how many of them were given and succeeded */
enum action {
	TO_DEVICE, PLACE, TO_SYSTEM, SNAPSHOT, READ, READ_UNLOCKED, EXCLUSIVE, EVICT, ACTIONS
};

static const struct {
	const char *name;
	unsigned int percent;
	unsigned int most_pages;
	unsigned long request;
} actions[ACTIONS] = {
	[TO_DEVICE]	= { "to device", 29, MOST_PAGES, HMM_DMIRROR_MIGRATE_TO_DEV },
	[PLACE]		= { "fault to device", 20, MOST_PAGES, HMM_DMIRROR_PLACE },
	[TO_SYSTEM]	= { "to system", 10, MOST_PAGES, HMM_DMIRROR_MIGRATE_TO_SYS },
	[SNAPSHOT]	= { "snapshot", 10, MOST_PAGES, HMM_DMIRROR_SNAPSHOT },
	[READ]		= { "read", 10, MOST_PAGES, HMM_DMIRROR_READ },
	[READ_UNLOCKED]	= { "read unlocked", 10, MOST_PAGES, HMM_DMIRROR_READ_UNLOCKED },
	[EXCLUSIVE]	= { "exclusive", 10, MOST_EXCLUSIVE, HMM_DMIRROR_EXCLUSIVE },
	[EVICT]		= { "evict", 1, 0, HMM_DMIRROR_EVICT },
};

/* Memory of a process */
struct range {
	unsigned long start;
	unsigned long pages;
};

/* A thread that disturbs the program, with its own file of each device */
struct agent {
	pthread_t thread;
	uint64_t state;		/* of its random numbers */
	int devices[DEVICES];	/* open files, -1 where there is no device */
	unsigned char *buffer;
	struct range ranges[MAX_RANGES];
	unsigned int nr_ranges;
	unsigned long visits;
	unsigned long given[ACTIONS];
	unsigned long done[ACTIONS];
};

static const char *cgroup, *output;
static uint64_t seed;
static bool finished;	/* atomic */

static void die(const char *what)
{
	fprintf(stderr, "hmm-chaos: %s: %s\n", what, strerror(errno));
	exit(NOT_RUN);
}

static bool is_finished(void)
{
	return __atomic_load_n(&finished, __ATOMIC_RELAXED);
}

static unsigned long below(struct agent *agent, unsigned long limit)
{
	agent->state ^= agent->state << 13;
	agent->state ^= agent->state >> 7;
	agent->state ^= agent->state << 17;
	return (agent->state >> 11) % limit;
}

static FILE *cgroup_open(const char *name, const char *mode)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", cgroup, name);
	return fopen(path, mode);
}

/* One of the program's processes; 0 when there is none */
static pid_t pick_process(struct agent *agent)
{
	pid_t pids[MAX_PROCESSES];
	unsigned int n = 0;
	FILE *file = cgroup_open("cgroup.procs", "r");

	if (!file)
		return 0;
	while (n < MAX_PROCESSES && fscanf(file, "%d", &pids[n]) == 1)
		n++;
	fclose(file);
	return n ? pids[below(agent, n)] : 0;
}

/* The readable mappings of a process, but for those that the kernel made */
static void read_ranges(struct agent *agent, pid_t pid)
{
	char path[32], line[512], access[8], name[8];
	unsigned long start, end;
	FILE *file;

	agent->nr_ranges = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "r");
	if (!file)
		return;
	while (agent->nr_ranges < MAX_RANGES && fgets(line, sizeof(line), file)) {
		name[0] = '\0';
		if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %7s", &start, &end, access,
			   name) < 3 || access[0] != 'r' || !strncmp(name, "[v", 2))
			continue;
		agent->ranges[agent->nr_ranges++] = (struct range) {
			start, (end - start) / PAGE_BYTES,
		};
	}
	fclose(file);
}

static enum action pick_action(struct agent *agent)
{
	unsigned long roll = below(agent, 100);
	enum action action = 0;

	while (roll >= actions[action].percent)
		roll -= actions[action++].percent;
	return action;
}

/* A part of one of the mappings, cut at the size of a large page now and then */
static struct range pick_range(struct agent *agent, unsigned long most)
{
	struct range range = agent->ranges[below(agent, agent->nr_ranges)];
	unsigned long first = below(agent, range.pages);

	range.start += first * PAGE_BYTES;
	range.pages -= first;
	if (!below(agent, 4) && first >= range.start / PAGE_BYTES % 512) {
		range.pages += range.start / PAGE_BYTES % 512;
		range.start &= ~(512 * PAGE_BYTES - 1);
	}
	if (range.pages > most)
		range.pages = most;
	range.pages = 1 + below(agent, range.pages);
	return range;
}

static int command(struct agent *agent, int device, enum action action)
{
	struct hmm_dmirror_cmd cmd = {};
	struct hmm_dmirror_place place = {};
	struct hmm_dmirror_evict evict;
	struct range range;

	if (action == EVICT)
		return ioctl(device, HMM_DMIRROR_EVICT, &evict);

	range = pick_range(agent, actions[action].most_pages);
	cmd.addr = range.start;
	cmd.npages = range.pages;
	/*
	 * These need no buffer: the program's own output shows any loss of
	 * data.
	 */
	if (action != TO_DEVICE && action != EXCLUSIVE)
		cmd.ptr = (uintptr_t)agent->buffer;
	if (action == PLACE) {
		place.flags = below(agent, HMM_DMIRROR_PLACE_FLAGS + 1);
		cmd.ptr = (uintptr_t)&place;
	}
	return ioctl(device, actions[action].request, &cmd);
}

/*
 * Fail the next allocation of a large folio: the migration must use small ones.
 */
static void fail_next_large(int device)
{
	struct hmm_dmirror_cmd cmd = { .npages = HMM_DMIRROR_FLAG_FAIL_ALLOC };

	ioctl(device, HMM_DMIRROR_FLAGS, &cmd);
}

/* Disturb a process until it is gone, or for a number of commands. */
static void visit(struct agent *agent, int device)
{
	unsigned int i;

	agent->visits++;
	for (i = 0; i < VISIT_COMMANDS && !is_finished(); i++) {
		enum action action = pick_action(agent);
		int ret;

		if (!below(agent, 32))
			fail_next_large(device);
		ret = command(agent, device, action);
		agent->given[action]++;
		agent->done[action] += !ret;
		if (ret && errno == ESRCH)
			break;
	}
}

static bool attach(int device, pid_t pid)
{
	struct hmm_dmirror_attach attach = { .pidfd = syscall(SYS_pidfd_open, pid, 0) };
	int ret;

	if (attach.pidfd < 0)
		return false;
	ret = ioctl(device, HMM_DMIRROR_ATTACH, &attach);
	close(attach.pidfd);
	return !ret;
}

static void *agent_run(void *arg)
{
	struct agent *agent = arg;

	while (!is_finished()) {
		int device = agent->devices[below(agent, DEVICES)];
		pid_t pid = pick_process(agent);

		if (device < 0 || !pid || !attach(device, pid)) {
			usleep(1000);
			continue;
		}
		/* After a process has exec'ed, these are another program's: harmless. */
		read_ranges(agent, pid);
		if (agent->nr_ranges)
			visit(agent, device);
	}
	return NULL;
}

static void agent_init(struct agent *agent, unsigned int number)
{
	unsigned int i, found = 0;
	char path[32];

	agent->state = (seed + number + 1) * 0x9e3779b97f4a7c15ULL | 1;
	agent->buffer = malloc(MOST_PAGES * PAGE_BYTES);
	if (!agent->buffer)
		die("memory");
	for (i = 0; i < DEVICES; i++) {
		snprintf(path, sizeof(path), "/dev/hmm_dmirror%u", i);
		agent->devices[i] = open(path, O_RDWR | O_CLOEXEC);
		found += agent->devices[i] >= 0;
	}
	if (!found)
		die("/dev/hmm_dmirror* (modprobe test_hmm)");
}

static void agent_end(struct agent *agent)
{
	unsigned int i;

	for (i = 0; i < DEVICES; i++)
		if (agent->devices[i] >= 0)
			close(agent->devices[i]);
	free(agent->buffer);
}

/* Pages that all devices together have taken in since the module was loaded */
static unsigned long pages_moved(const struct agent *agent)
{
	struct hmm_dmirror_counters counters;
	unsigned long pages = 0;
	unsigned int i;

	for (i = 0; i < DEVICES; i++)
		if (agent->devices[i] >= 0 &&
		    !ioctl(agent->devices[i], HMM_DMIRROR_COUNTERS, &counters))
			pages += counters.migrated_in;
	return pages;
}

/* In the child: join the control group, and become the program. */
static void become(char **argv)
{
	FILE *procs = cgroup_open("cgroup.procs", "w");
	int fd = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (!procs || fprintf(procs, "0\n") < 0 || fclose(procs))
		die("cgroup.procs");
	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
		die(output);
	close(fd);
	execvp(argv[0], argv);
	die(argv[0]);
}

static int wait_for(pid_t pid, const struct agent *agent, unsigned long before)
{
	time_t said = time(NULL);
	int status;

	while (!waitpid(pid, &status, WNOHANG)) {
		if (time(NULL) - said >= PROGRESS_SECONDS) {
			said = time(NULL);
			printf("# %lu pages so far\n", pages_moved(agent) - before);
			fflush(stdout);
		}
		usleep(20000);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void report(const struct agent *agents, unsigned long pages)
{
	unsigned long visits = 0, given, done;
	unsigned int i, action;

	for (i = 0; i < AGENTS; i++)
		visits += agents[i].visits;
	printf("# %lu visits to processes\n", visits);
	for (action = 0; action < ACTIONS; action++) {
		given = 0;
		done = 0;
		for (i = 0; i < AGENTS; i++) {
			given += agents[i].given[action];
			done += agents[i].done[action];
		}
		printf("# %-14s %7lu, %lu of them as a whole\n", actions[action].name, given,
		       done);
	}
	printf("# pages %lu\n", pages);
}

static int disturb(char **argv)
{
	static struct agent agents[AGENTS];
	unsigned long before, pages;
	unsigned int i;
	int status;
	pid_t pid;

	for (i = 0; i < AGENTS; i++)
		agent_init(&agents[i], i);
	before = pages_moved(&agents[0]);
	fflush(stdout);
	pid = fork();
	if (!pid)
		become(argv);
	if (pid < 0)
		die("fork");

	for (i = 0; i < AGENTS; i++)
		if (pthread_create(&agents[i].thread, NULL, agent_run, &agents[i]))
			die("thread");
	status = wait_for(pid, &agents[0], before);
	__atomic_store_n(&finished, true, __ATOMIC_RELAXED);
	for (i = 0; i < AGENTS; i++)
		pthread_join(agents[i].thread, NULL);

	pages = pages_moved(&agents[0]) - before;
	for (i = 0; i < AGENTS; i++)
		agent_end(&agents[i]);
	report(agents, pages);
	return status;
}

int main(int argc, char **argv)
{
	int option;

	seed = (uint64_t)time(NULL) << 16 ^ getpid();
	/* "+": what follows the program's name is the program's. */
	while ((option = getopt(argc, argv, "+g:o:s:")) != -1) {
		if (option == 'g')
			cgroup = optarg;
		else if (option == 'o')
			output = optarg;
		else if (option == 's')
			seed = strtoull(optarg, NULL, 0);
		else
			return NOT_RUN;
	}
	if (!cgroup || !output || optind == argc) {
		fprintf(stderr, "usage: hmm-chaos -g CGROUP -o OUTPUT [-s SEED] PROGRAM...\n");
		return NOT_RUN;
	}
	printf("# seed %llu\n", (unsigned long long)seed);
	return disturb(argv + optind);
}
