// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "owned.h"

#define SMALL_PAGES	16

static unsigned int device_number(struct owned *owned)
{
	return owned->kind == OWNED_COHERENT ? 2 : 0;
}

static __u64 lowest_pfn(struct owned *owned)
{
	__u64 pfn, lowest = pagemap_pfn(owned->map);
	size_t i;

	for (i = 1; i < owned->npages; i++) {
		pfn = pagemap_pfn(owned->map + i * PAGE_BYTES);
		if (pfn < lowest)
			lowest = pfn;
	}
	return lowest;
}

bool owned_take(struct owned *owned)
{
	switch (owned->kind) {
	case OWNED_PRIVATE:
	case OWNED_COHERENT:
		dmirror_to_device(owned->fd, owned->map, owned->npages);
		break;
	case OWNED_EXCLUSIVE:
		device_seize(owned->fd, owned->map, owned->npages);
		break;
	}
	return owned_count(owned) == owned->npages;
}

bool owned_start(struct owned *owned, const char **reason)
{
	owned->npages = owned->huge ? HUGE_PAGES : SMALL_PAGES;
	owned->bytes = owned->npages * PAGE_BYTES;
	*reason = "no such dummy device";
	owned->fd = dmirror_open(device_number(owned));
	if (owned->fd < 0)
		return false;
	*reason = "no huge page";
	owned->map = owned->huge ? device_map_thp(owned->fd, owned->bytes) :
				   map_anon_small(owned->bytes);
	if (!owned->map)
		return false;
	pattern_fill(owned->map, owned->npages, 0);
	owned->pfn = lowest_pfn(owned);
	*reason = "the device cannot have the memory";
	if (!owned_take(owned) ||
	    device_writes_parts(owned->fd, owned->map, owned->npages, 1))
		return false;
	/* A write needs an ordinary entry, and ends exclusive access. */
	if (!owned_take(owned))
		return false;
	if (owned->kind == OWNED_COHERENT)
		owned->pfn = lowest_pfn(owned);
	return true;
}

size_t owned_count(struct owned *owned)
{
	switch (owned->kind) {
	case OWNED_SYSTEM:
		return present_pages(owned->map, owned->npages);
	case OWNED_EXCLUSIVE:
		return device_seized(owned->fd, owned->map, owned->npages);
	default:
		return device_count(owned->fd, owned->map, owned->npages,
				    own_place(device_number(owned)));
	}
}

bool owned_end(struct owned *owned)
{
	bool right = true;

	if (owned->fd < 0)
		return true;
	if (owned->map)
		munmap(owned->map, owned->bytes);
	if (device_is_ours(owned->fd))
		right = device_in_use_is(owned->fd, 0);
	close(owned->fd);
	return right;
}
