// SPDX-License-Identifier: GPL-2.0
/*
 * Show what a device sees of the memory of the process that it mirrors.
 *
 * The process maps memory of several kinds and then changes it in the usual
 * ways. After each step the dummy device /dev/hmm_dmirror0 (module test_hmm)
 * takes a snapshot of the page tables, which is printed in runs of equal pages
 * and compared with what must be there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lib/test_hmm_uapi.h>

#define PAGE_BYTES	4096UL
#define HUGE_BYTES	(2UL << 20)
#define HUGE_PAGES	(HUGE_BYTES / PAGE_BYTES)
#define MAX_PAGES	(2 * HUGE_PAGES)

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

/* Short names for what the device can see of a page. */
enum {
	ABSENT		= HMM_DMIRROR_PROT_NONE,
	NO_ACCESS	= HMM_DMIRROR_PROT_ERROR,
	READABLE	= HMM_DMIRROR_PROT_READ,
	WRITABLE	= HMM_DMIRROR_PROT_WRITE,
	ZERO_PAGE	= HMM_DMIRROR_PROT_ZERO | READABLE,
	ON_DEVICE	= HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL | WRITABLE,
	HUGE		= HMM_DMIRROR_PROT_PMD,
};

struct region {
	char *start;
	unsigned long pages;
};

struct run {
	unsigned long first;
	unsigned long last;
	uint8_t state;
};

static int device;
static int steps, failures;
static bool step_failed;

static void die(const char *what)
{
	fprintf(stderr, "FAILED: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* Steps: a title, what is seen, PASS or FAIL. */

static void begin(const char *title)
{
	printf("\n%2d  %s\n", ++steps, title);
	step_failed = false;
}

static void end(void)
{
	failures += step_failed;
	printf("    %s\n", step_failed ? "FAIL" : "PASS");
	fflush(stdout);
}

static void check(bool good, const char *format, ...)
{
	va_list arguments;

	printf("      %s", good ? "" : "WRONG: ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	step_failed |= !good;
}

/* The process's side. */

static char *page(const struct region *region, unsigned long number)
{
	return region->start + number * PAGE_BYTES;
}

static void write_pages(const struct region *region, unsigned long first,
			unsigned long last, uint64_t value)
{
	for (unsigned long i = first; i <= last; i++)
		__atomic_store_n((uint64_t *)page(region, i), value + i,
				 __ATOMIC_RELAXED);
}

static uint64_t read_page(const struct region *region, unsigned long number)
{
	return __atomic_load_n((uint64_t *)page(region, number),
			       __ATOMIC_RELAXED);
}

static bool pages_hold(const struct region *region, unsigned long first,
		       unsigned long last, uint64_t value)
{
	for (unsigned long i = first; i <= last; i++)
		if (read_page(region, i) != value + i)
			return false;
	return true;
}

static struct region map(unsigned long pages, int protection, int flags, int fd)
{
	struct region region = { .pages = pages };

	region.start = mmap(NULL, pages * PAGE_BYTES, protection, flags, fd, 0);
	if (region.start == MAP_FAILED)
		die("mmap");
	return region;
}

static struct region map_small_pages(unsigned long pages)
{
	struct region region = map(pages, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (madvise(region.start, pages * PAGE_BYTES, MADV_NOHUGEPAGE))
		die("madvise(MADV_NOHUGEPAGE)");
	return region;
}

/* Room for two huge pages, at an address where one can begin. */
static struct region map_huge_pages(void)
{
	struct region room = map(3 * HUGE_PAGES, PROT_NONE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1);
	uintptr_t start = (uintptr_t)room.start;
	struct region region = { .pages = 2 * HUGE_PAGES };

	start = (start + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
	region.start = mmap((void *)start, 2 * HUGE_BYTES,
			    PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (region.start == MAP_FAILED)
		die("mmap");
	if (madvise(region.start, 2 * HUGE_BYTES, MADV_HUGEPAGE))
		die("madvise(MADV_HUGEPAGE)");
	return region;
}

static struct region map_file(unsigned long pages)
{
	char name[] = "/tmp/hmm-demo-XXXXXX";
	int fd = mkstemp(name);
	struct region region;

	if (fd < 0)
		die("mkstemp");
	unlink(name);
	for (unsigned long i = 0; i < pages; i++) {
		uint64_t value = i;

		if (pwrite(fd, &value, sizeof(value), i * PAGE_BYTES) < 0)
			die("pwrite");
	}
	if (ftruncate(fd, pages * PAGE_BYTES))
		die("ftruncate");
	region = map(pages, PROT_READ, MAP_PRIVATE, fd);
	close(fd);
	return region;
}

/* The lines of /proc/self/maps which lie in the region. */
static void show_maps(const struct region *region)
{
	unsigned long from = (unsigned long)region->start;
	unsigned long to = from + region->pages * PAGE_BYTES;
	const char *label = "the process maps ";
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], rights[8];
	unsigned long start, end;

	if (!maps)
		die("/proc/self/maps");
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) != 3 ||
		    start >= to || end <= from)
			continue;
		start = start > from ? start : from;
		end = end < to ? end : to;
		printf("      %-17s %12lx-%lx %s, %lu KiB\n", label,
		       start, end, rights, (end - start) >> 10);
		label = "";
	}
	fclose(maps);
}

/* The device's side. */

static int command(unsigned long request, const struct region *region,
		   unsigned long first, unsigned long pages, void *buffer)
{
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)page(region, first),
		.ptr = (uintptr_t)buffer,
		.npages = pages,
	};

	while (ioctl(device, request, &cmd))
		if (errno != EINTR)
			return -errno;
	return cmd.cpages;
}

static void device_writes(const struct region *region, unsigned long first,
			  unsigned long pages, uint64_t value)
{
	char *buffer = calloc(pages, PAGE_BYTES);
	int done;

	if (!buffer)
		die("calloc");
	for (unsigned long i = 0; i < pages; i++)
		*(uint64_t *)(buffer + i * PAGE_BYTES) = value + first + i;
	done = command(HMM_DMIRROR_WRITE, region, first, pages, buffer);
	if (pages == 1)
		check(done == 1, "the device writes to page %lu", first);
	else
		check(done == (int)pages, "the device writes to pages %lu-%lu",
		      first, first + pages - 1);
	free(buffer);
}

static bool device_reads(const struct region *region, unsigned long number,
			 uint64_t value)
{
	static uint64_t buffer[PAGE_BYTES / sizeof(uint64_t)];

	return command(HMM_DMIRROR_READ, region, number, 1, buffer) == 1 &&
	       buffer[0] == value;
}

static const char *describe(uint8_t state)
{
	static char text[128];
	bool in_device = (state & 0xf0) == HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL;

	if (state == NO_ACCESS)
		return "no access: nothing is mapped here";
	if (state == ABSENT)
		return "nothing yet: no page before the first access";
	snprintf(text, sizeof(text), "%s%s%s%s",
		 state & WRITABLE ? "writable" : "read-only",
		 state & HUGE ? ", in 2 MiB mappings" : "",
		 (state & 0xf0) == HMM_DMIRROR_PROT_ZERO ?
			", the page of zeroes that everybody shares" : "",
		 in_device ? ", in the device's own memory" : "");
	return text;
}

static void show_run(unsigned long first, unsigned long last, uint8_t state)
{
	const char *label = first ? "" : "the device sees";

	if (first == last)
		printf("      %-17s page  %9lu  %s\n", label, first,
		       describe(state));
	else
		printf("      %-17s pages %4lu-%-4lu  %s\n", label, first, last,
		       describe(state));
}

static void show_runs(const uint8_t *seen, unsigned long pages)
{
	unsigned long first = 0;

	for (unsigned long i = 1; i <= pages; i++) {
		if (i < pages && seen[i] == seen[first])
			continue;
		show_run(first, i - 1, seen[first]);
		first = i;
	}
}

/* Take a snapshot, print it, and compare it with the expected runs. */
static void device_sees(const struct region *region, const struct run *runs,
			size_t count)
{
	static uint8_t seen[MAX_PAGES];
	int done;

	memset(seen, 0xee, sizeof(seen));
	done = command(HMM_DMIRROR_SNAPSHOT, region, 0, region->pages, seen);
	if (done != (int)region->pages) {
		check(false, "the snapshot ended with %d", done);
		return;
	}
	show_runs(seen, region->pages);
	for (size_t i = 0; i < count; i++)
		for (unsigned long j = runs[i].first; j <= runs[i].last; j++)
			if (seen[j] != runs[i].state) {
				check(false, "page %lu must be: %s", j,
				      describe(runs[i].state));
				break;
			}
}

#define DEVICE_SEES(region, ...) do {					\
	const struct run runs[] = { __VA_ARGS__ };			\
									\
	device_sees(region, runs, ARRAY_SIZE(runs));			\
} while (0)

/* What is mapped */

static struct region show_small_pages(void)
{
	struct region region = map_small_pages(256);

	begin("Ordinary memory: 128 pages written, 32 only read, 96 untouched");
	write_pages(&region, 0, 127, 1000);
	for (unsigned long i = 128; i < 160; i++)
		(void)read_page(&region, i);
	show_maps(&region);
	DEVICE_SEES(&region, { 0, 127, WRITABLE }, { 128, 159, ZERO_PAGE },
		    { 160, 255, ABSENT });
	end();
	return region;
}

static struct region show_huge_pages(void)
{
	struct region region = map_huge_pages();

	begin("Memory in 2 MiB pages: the first one written to");
	write_pages(&region, 0, HUGE_PAGES - 1, 2000);
	show_maps(&region);
	DEVICE_SEES(&region, { 0, HUGE_PAGES - 1, WRITABLE | HUGE },
		    { HUGE_PAGES, 2 * HUGE_PAGES - 1, ABSENT });
	end();
	return region;
}

static void show_file(void)
{
	struct region region = map_file(16);

	begin("A file, mapped for reading only");
	show_maps(&region);
	check(pages_hold(&region, 0, 15, 0), "the process reads the file");
	DEVICE_SEES(&region, { 0, 15, READABLE });
	check(device_reads(&region, 5, 5), "the device reads the same");
	end();
	munmap(region.start, region.pages * PAGE_BYTES);
}

static void show_shared_memory(void)
{
	struct region region = map(16, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1);

	begin("Shared memory, written to");
	write_pages(&region, 0, 15, 3000);
	show_maps(&region);
	DEVICE_SEES(&region, { 0, 15, WRITABLE });
	end();
	munmap(region.start, region.pages * PAGE_BYTES);
}

/* What changes */

static void device_write_is_read_back(const struct region *region)
{
	begin("The device writes where no page was: the kernel provides them");
	device_writes(region, 160, 32, 4000);
	check(pages_hold(region, 160, 191, 4000),
	      "the process reads what the device wrote");
	DEVICE_SEES(region, { 0, 127, WRITABLE }, { 128, 159, ZERO_PAGE },
		    { 160, 191, WRITABLE }, { 192, 255, ABSENT });
	end();
}

static void process_write_is_seen(const struct region *region)
{
	bool before = device_reads(region, 7, 1007);

	begin("The process writes to a page which the device has read");
	check(before, "the device reads page 7: %d", 1007);
	write_pages(region, 7, 7, 5000);
	check(device_reads(region, 7, 5007),
	      "the process writes %d, and the device reads that", 5007);
	write_pages(region, 128, 131, 5000);
	printf("      and it writes pages 128-131, all zeroes until now\n");
	DEVICE_SEES(region, { 0, 131, WRITABLE }, { 132, 159, ZERO_PAGE },
		    { 160, 191, WRITABLE }, { 192, 255, ABSENT });
	end();
}

static void unmap_a_part(const struct region *region)
{
	begin("munmap of pages 64-95");
	if (munmap(page(region, 64), 32 * PAGE_BYTES))
		die("munmap");
	show_maps(region);
	DEVICE_SEES(region, { 0, 63, WRITABLE }, { 64, 95, NO_ACCESS },
		    { 96, 131, WRITABLE }, { 132, 159, ZERO_PAGE },
		    { 160, 191, WRITABLE }, { 192, 255, ABSENT });
	check(!device_reads(region, 70, 1070),
	      "the device's read of page 70 is refused");
	end();
}

static void protect_a_part(const struct region *region)
{
	uint64_t buffer[PAGE_BYTES / sizeof(uint64_t)] = { 1 };
	int done;

	begin("mprotect of pages 0-31: from now on read-only");
	if (mprotect(region->start, 32 * PAGE_BYTES, PROT_READ))
		die("mprotect");
	show_maps(region);
	DEVICE_SEES(region, { 0, 31, READABLE }, { 32, 63, WRITABLE },
		    { 64, 95, NO_ACCESS }, { 96, 131, WRITABLE });
	done = command(HMM_DMIRROR_WRITE, region, 3, 1, buffer);
	check(done == -EPERM, "the device's write to page 3: %s",
	      done < 0 ? strerror(-done) : "done");
	check(read_page(region, 3) == 1003, "page 3 still holds its value");
	end();
	if (mprotect(region->start, 32 * PAGE_BYTES, PROT_READ | PROT_WRITE))
		die("mprotect");
}

/* The child waits for a word, then tells whether its memory is unchanged. */
static pid_t fork_watcher(const struct region *small,
			  const struct region *huge, int word[2])
{
	pid_t pid;
	char byte;

	if (pipe(word))
		die("pipe");
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid)
		return pid;
	close(word[1]);
	if (read(word[0], &byte, 1) < 0)
		_exit(2);
	_exit(!pages_hold(small, 0, 1, 1000) || !pages_hold(huge, 0, 1, 2000));
}

static void fork_and_write(const struct region *small,
			   const struct region *huge)
{
	int word[2], status;
	pid_t child;

	begin("fork: parent and child share every page until one of them writes");
	child = fork_watcher(small, huge, word);
	show_maps(huge);
	DEVICE_SEES(huge, { 0, HUGE_PAGES - 1, READABLE | HUGE });
	show_maps(small);
	DEVICE_SEES(small, { 0, 63, READABLE }, { 64, 95, NO_ACCESS },
		    { 96, 131, READABLE }, { 192, 255, ABSENT });
	device_writes(huge, 0, 1, 6000);
	write_pages(small, 0, 0, 6000);
	printf("      and the process to page 0 of the other memory: each makes a copy\n");
	DEVICE_SEES(small, { 0, 0, WRITABLE }, { 1, 63, READABLE },
		    { 64, 95, NO_ACCESS }, { 96, 131, READABLE });
	check(read_page(huge, 0) == 6000 && read_page(small, 0) == 6000,
	      "the process reads both new values");
	close(word[0]);
	if (write(word[1], "", 1) != 1 || waitpid(child, &status, 0) != child)
		die("the child");
	close(word[1]);
	check(status == 0, "the child still reads the old ones");
	end();
}

static void migrate_and_return(void)
{
	static char mirror[64 * PAGE_BYTES];
	struct region region = map_small_pages(64);
	int done;

	begin("Memory moves to the device, and back when the process touches it");
	write_pages(&region, 0, 63, 7000);
	done = command(HMM_DMIRROR_MIGRATE_TO_DEV, &region, 0, 64,
		       mirror);
	check(done == 64, "%d of 64 pages moved to the device", done);
	DEVICE_SEES(&region, { 0, 63, ON_DEVICE });
	check(pages_hold(&region, 10, 19, 7000),
	      "the process reads pages 10-19: unchanged, and back");
	DEVICE_SEES(&region, { 0, 9, ON_DEVICE }, { 10, 19, WRITABLE },
		    { 20, 63, ON_DEVICE });
	check(pages_hold(&region, 0, 63, 7000), "it reads all of them");
	DEVICE_SEES(&region, { 0, 63, WRITABLE });
	end();
	munmap(region.start, region.pages * PAGE_BYTES);
}

static void headline(void)
{
	printf("Heterogeneous memory management: one process's memory, mirrored by a device\n\n"
	       "The device, a dummy inside the kernel (/dev/hmm_dmirror0), uses the process's own\n"
	       "addresses. Whatever the process or the kernel changes, the device must see it too.\n"
	       "\"The device sees\" is a snapshot by hmm_range_fault(): it looks, and changes nothing.\n"
	       "A page is 4 KiB; runs of pages that look alike share a line.\n");
}

int main(void)
{
	struct region small, huge;

	device = open("/dev/hmm_dmirror0", O_RDWR | O_CLOEXEC);
	if (device < 0)
		die("/dev/hmm_dmirror0 (is the module test_hmm loaded?)");
	headline();

	printf("\nWhat is mapped\n");
	small = show_small_pages();
	huge = show_huge_pages();
	show_file();
	show_shared_memory();

	printf("\nWhat changes\n");
	device_write_is_read_back(&small);
	process_write_is_seen(&small);
	unmap_a_part(&small);
	protect_a_part(&small);
	fork_and_write(&small, &huge);
	migrate_and_return();

	if (failures)
		printf("\nFAILED: in %d of %d steps the device did not see what it must\n",
		       failures, steps);
	else
		printf("\nPASSED: in all %d steps the device saw exactly what the process has\n",
		       steps);
	return failures ? 1 : 0;
}
