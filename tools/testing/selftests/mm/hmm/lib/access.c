// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "access.h"

#define SMALL_PAGES	16

bool device_is_ours(int fd)
{
	struct hmm_dmirror_counters counters;

	return !ioctl(fd, HMM_DMIRROR_COUNTERS, &counters);
}

int device_read(int fd, void *addr, size_t npages, void *data)
{
	return device_ask(fd, HMM_DMIRROR_READ, addr, data, npages).rc;
}

int device_write(int fd, void *addr, size_t npages, void *data)
{
	return device_ask(fd, HMM_DMIRROR_WRITE, addr, data, npages).rc;
}

int device_faults(int fd, void *addr, size_t npages)
{
	void *data = buffer_of(npages * PAGE_BYTES);
	struct answer answer = device_ask(fd, HMM_DMIRROR_READ, addr, data,
					  npages);

	free(data);
	return answer.rc ? answer.rc : (int)answer.faults;
}

bool device_reads_zero(int fd, void *addr, size_t npages)
{
	void *data = buffer_of(npages * PAGE_BYTES);
	bool zero = !device_read(fd, addr, npages, data) &&
		    is_zero(data, npages);

	free(data);
	return zero;
}

int device_writes_parts(int fd, char *addr, size_t npages, __u64 seed)
{
	size_t at, part;
	int rc = 0;

	for (at = 0; at < npages && !rc; at += part) {
		part = npages - at < SMALL_PAGES ? npages - at : SMALL_PAGES;
		rc = device_writes(fd, addr + at * PAGE_BYTES, part,
				   seed + at);
	}
	return rc;
}

__u64 device_invalidations(int fd)
{
	return device_counters(fd).invalidations;
}

size_t same_bytes(const void *data, size_t bytes, unsigned char value)
{
	const unsigned char *byte = data;
	size_t i;

	for (i = 0; i < bytes; i++)
		if (byte[i] != value)
			break;
	return i;
}

char *map_pattern_thp(int fd, size_t bytes, __u64 seed)
{
	char *map = device_map_thp(fd, bytes);

	if (map)
		pattern_fill(map, bytes / PAGE_BYTES, seed);
	return map;
}

bool placed_start(struct placed *placed, const char **reason)
{
	placed->npages = placed->huge ? HUGE_PAGES : SMALL_PAGES;
	placed->bytes = placed->npages * PAGE_BYTES;
	placed->fd = device_open(placed->device, reason);
	if (placed->fd < 0)
		return false;

	if (placed->huge)
		placed->map = device_map_thp(placed->fd, placed->bytes);
	else
		placed->map = map_anon_small(placed->bytes);
	if (!placed->map) {
		*reason = "no huge page";
		return false;
	}
	pattern_fill(placed->map, placed->npages, 1);
	if (placed->on_device)
		device_take(placed->fd, placed->map, placed->npages);
	*reason = "the device's memory could not be used";
	return placed_count(placed, placed->map, placed->npages) ==
	       placed->npages &&
	       device_reads(placed->fd, placed->map, placed->npages, 1);
}

size_t placed_count(struct placed *placed, char *addr, size_t npages)
{
	return device_count(placed->fd, addr, npages, placed->on_device ?
			    own_place(placed->device) : 0);
}

bool placed_in_use(struct placed *placed, size_t npages)
{
	return device_in_use_is(placed->fd, placed->on_device ? npages : 0);
}

static bool placed_there(struct placed *placed, char *addr, size_t npages)
{
	size_t there = placed_count(placed, addr, npages);

	if (there != npages)
		printf("# %zu of %zu pages are where they were\n", there, npages);
	return there == npages;
}

bool placed_reads(struct placed *placed, char *addr, size_t npages, __u64 seed)
{
	bool before = placed_there(placed, addr, npages);
	bool right = device_reads(placed->fd, addr, npages, seed);

	return placed_there(placed, addr, npages) && before && right;
}
