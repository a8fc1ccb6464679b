// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "folios.h"

#define THP	"/sys/kernel/mm/transparent_hugepage/hugepages-"
#define HUGE	THP "2048kB/enabled"

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
