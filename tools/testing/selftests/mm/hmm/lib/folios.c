// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "folios.h"

#define THP	"/sys/kernel/mm/transparent_hugepage/hugepages-"
#define HUGE	THP "2048kB/enabled"
#define SPLIT	"/sys/kernel/debug/split_huge_pages"

long folio_stat(const char *size, const char *what)
{
	char path[128];

	snprintf(path, sizeof(path), THP "%s/stats/%s", size, what);
	return read_number(path);
}

/* The kernel takes the largest size that is enabled. */
static bool only_size_enabled(const char *size, struct setting *huge,
			      struct setting *own)
{
	char path[128];

	snprintf(path, sizeof(path), THP "%s/enabled", size);
	if (strcmp(path, HUGE) && !setting_change(huge, HUGE, "never"))
		return false;
	return setting_change(own, path, "always");
}

char *map_folios(const char *size, size_t bytes, __u64 seed)
{
	bool pages = !strcmp(size, "4kB");
	char *map = pages ? map_anon_small(bytes) : map_anon(bytes);
	struct setting huge = {}, own = {};
	long given;

	if (pages) {
		pattern_fill(map, bytes / PAGE_BYTES, seed);
		return map;
	}
	given = folio_stat(size, "anon_fault_alloc");
	if (only_size_enabled(size, &huge, &own))
		pattern_fill(map, bytes / PAGE_BYTES, seed);
	setting_restore(&own);
	setting_restore(&huge);
	if (folio_stat(size, "anon_fault_alloc") > given)
		return map;
	munmap(map, bytes);
	return NULL;
}

bool split_folios(char *start, size_t bytes, unsigned int order)
{
	int fd = open(SPLIT, O_WRONLY | O_CLOEXEC);
	char line[80];
	int length;
	bool done;

	if (fd < 0)
		return false;
	length = snprintf(line, sizeof(line), "%d,%#lx,%#lx,%u", getpid(),
			  (uintptr_t)start, (uintptr_t)start + bytes, order);
	done = write(fd, line, length) == length;
	close(fd);
	return done;
}
