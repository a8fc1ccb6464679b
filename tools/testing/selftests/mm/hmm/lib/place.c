// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "place.h"

bool knows_placement(int fd)
{
	struct answer answer = device_ask(fd, HMM_DMIRROR_PLACE, NULL, NULL, 1);

	return answer.rc == -EFAULT;
}

int place_with(int fd, void *map, size_t npages, struct placed_range *got)
{
	got->place.prot = (uintptr_t)got->prot;
	got->place.why = (uintptr_t)got->why;
	got->answer = device_ask(fd, HMM_DMIRROR_PLACE, map, &got->place, npages);
	return got->answer.rc;
}

int place(int fd, void *map, size_t npages, unsigned int flags,
	  struct placed_range *got)
{
	memset(got, 0, sizeof(*got));
	got->place.flags = flags;
	return place_with(fd, map, npages, got);
}

size_t on_device(const struct placed_range *got, size_t npages,
		 unsigned char access)
{
	size_t i, n = 0;

	for (i = 0; i < npages; i++)
		n += (got->prot[i] & PLACE_MASK) == own_place(0) &&
		     got->prot[i] & access;
	return n;
}

size_t because(const struct placed_range *got, size_t npages,
	       unsigned char why)
{
	size_t i, n = 0;

	for (i = 0; i < npages; i++)
		n += got->why[i] == why;
	return n;
}
