/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The probe's own device (hmm_probe/hmm_probe_move_uapi.h) for tests.
 */
#ifndef _HMM_MOVE_H
#define _HMM_MOVE_H

#include <pthread.h>

#include "folios.h"
#include "../hmm_probe/hmm_probe_move_uapi.h"

/* -1 where there is no such device */
int move_open(void);
/* -1 where the API cannot do it at all */
int move_try(int fd, struct hmm_move *move);
struct hmm_move move_pages_to(int fd, void *addr, size_t npages, __u64 flags,
			      unsigned int order);
/* Whole folios wherever the API can, small ones in place of small ones */
struct hmm_move move_to_device(int fd, void *addr, size_t npages);
struct hmm_move move_to_system(int fd, void *addr, size_t npages);
void move_serve(int fd, size_t pages, __u64 flags, __u64 limit);
struct hmm_serve move_served(int fd);
/* Device pages in use become as many soon. */
bool move_in_use_is(int fd, __u64 pages);

/* The coherent device; false if no memory is reserved for it */
bool move_coherent_look(int fd, struct hmm_coherent *coherent);
/* Its pages in use, or -1 */
long move_coherent_in_use(int fd);
bool move_coherent_in_use_is(int fd, long pages);
/* A file of the probe's file system */
int move_file(int fd, size_t npages, __u64 flags);
struct hmm_file_state move_file_state(int file);

void hold_page(int fd, __u64 pfn, bool lock);
void let_go(int fd);
/* Of a page that is mapped or on the probe's device; 0 if there is none */
__u64 pfn_at(int probe, void *addr);
/* How many pages of the range are on the probe's device */
size_t pages_on_device(int probe, void *addr, size_t npages);

/* Work for a thread of its own */
struct worker {
	pthread_t thread;
	void (*work)(void *arg);
	void *arg;
	int tid;
	int done;
};

void worker_start(struct worker *worker, void (*work)(void *arg), void *arg);
/*
 * Waits until it is done, sleeps for good, or has made @most faults since the
 * start of it; true if it sleeps.
 */
bool worker_is_stuck(struct worker *worker, long most);
void worker_join(struct worker *worker);

/* A migration that stays between two steps, HMM_MOVE_STAY_*, until released */
struct held {
	int fd;
	struct hmm_move move;
	struct worker worker;
};

/* Returns when it stays. */
void held_start(struct held *held);
void held_finish(struct held *held);

#endif /* _HMM_MOVE_H */
