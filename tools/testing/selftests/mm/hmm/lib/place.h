/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Device faults with placement: HMM_DMIRROR_PLACE.
 */
#ifndef _HMM_PLACE_H
#define _HMM_PLACE_H

#include <stdbool.h>
#include <stddef.h>

#include "device.h"

#define PLACE_PAGES	(2 * HUGE_PAGES)	/* in one call */

/* What a call has answered */
struct placed_range {
	struct answer answer;
	struct hmm_dmirror_place place;
	unsigned char prot[PLACE_PAGES];
	unsigned char why[PLACE_PAGES];
	unsigned char skip[PLACE_PAGES];
};

bool knows_placement(int fd);
/* Returns the answer's rc; got->place has the arguments. */
int place_with(int fd, void *map, size_t npages, struct placed_range *got);
int place(int fd, void *map, size_t npages, unsigned int flags,
	  struct placed_range *got);
/* Pages of the answer that are on device 0, and may be accessed so */
size_t on_device(const struct placed_range *got, size_t npages,
		 unsigned char access);
/* Pages with this reason */
size_t because(const struct placed_range *got, size_t npages,
	       unsigned char why);

#endif /* _HMM_PLACE_H */
