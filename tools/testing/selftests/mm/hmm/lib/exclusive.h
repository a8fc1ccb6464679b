/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shared by tests of exclusive access: exclusive pages, reclaim and KSM
 */
#ifndef _HMM_EXCLUSIVE_H
#define _HMM_EXCLUSIVE_H

#include <stdbool.h>
#include <stddef.h>

#include "folios.h"

/* Makes pages exclusive to the device: 0 or a negative errno. */
int device_seize(int fd, void *addr, size_t npages);
/* Of how many pages has it got exclusive access? */
size_t device_seized(int fd, char *addr, size_t npages);

/*
 * Reclaims memory of any process and files of tmpfs, which the programs under
 * test may be: swap space of RECLAIM_SWAP_BYTES is enough for all of it.
 */
struct reclaimer {
	char mount[32];
	int file;
};

#define RECLAIM_SWAP_BYTES	(256UL << 20)

bool reclaimer_start(struct reclaimer *reclaimer);
/* As much as possible; less than @bytes is no error. */
void reclaimer_run(struct reclaimer *reclaimer, size_t bytes);
void reclaimer_stop(struct reclaimer *reclaimer);

/* ksmd at work */
struct ksm {
	struct setting run;
	struct setting scan;
	struct setting nap;
	struct setting smart;
};

bool fast_ksm_start(struct ksm *ksm);
void fast_ksm_stop(struct ksm *ksm);
/* Pages that merging saves at the moment */
long ksm_sharing(void);
/* ksmd goes through all memory @times times; false if that takes too long. */
bool ksm_scans(long times);

#endif /* _HMM_EXCLUSIVE_H */
