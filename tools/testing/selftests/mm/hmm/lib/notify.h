/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Subscriptions to MMU notifications, through /dev/hmm_probe_notify, and threads
 * whose invalidations stay in a callback.
 */
#ifndef _HMM_NOTIFY_H
#define _HMM_NOTIFY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "common.h"
#include "../hmm_probe/hmm_probe_notify_uapi.h"

/* enum mmu_notifier_event */
enum {
	EVENT_UNMAP,
	EVENT_CLEAR,
	EVENT_PROTECTION_VMA,
	EVENT_PROTECTION_PAGE,
	EVENT_SOFT_DIRTY,
	EVENT_RELEASE,
	EVENT_MIGRATE,
	EVENT_EXCLUSIVE,
};

/* A set of one or more of them */
#define SET(event)	_BITULL(EVENT_##event)

#define SOON_MS		5000	/* what does not wait is back by then */
#define A_WHILE_MS	100
#define ALL_BYTES	(-PAGE_BYTES)

int sub_open(void);
void sub_ioctl(int fd, unsigned long request, void *arg);
struct hmm_notify_state sub_state(int fd);
struct hmm_notify_record sub_record(int fd, __u64 index);

/* Calls return what the API returned, or -ETIMEDOUT: it is not back yet. */

int sub_call(int fd, unsigned long request, struct hmm_notify_call *call);
int sub_do(int fd, __u64 op, __u64 *seq);
int sub_try(int fd, __u64 op, unsigned int patience_ms);
int sub_await(int fd, __u64 *seq);
bool sub_is_waiting(int fd);
int sub_place(int fd, __u64 op, __u64 kind, char *start, size_t bytes,
	      unsigned int patience_ms);
void subscribe(int fd, __u64 kind, char *start, size_t bytes);
int resize(int fd, char *start, size_t npages, unsigned int patience_ms);
void plan(int fd, __u64 hold, __u64 flags);
/* The next callback of @fd makes a call for @other. */
void plan_act(int fd, int other, struct hmm_notify_call act);
/* The subscription is an interval. */
bool knows_new_calls(int fd);
/* The first reader of an address space may have to wait for more than later ones. */
void settle(int fd);

/* Invalidates pages of the caller. */
void drop(char *page, size_t npages);

/* A thread whose invalidation of a page stays in a callback */
struct dropper {
	pthread_t thread;
	char *page;
	int fd;
};

void dropper_start(struct dropper *dropper, char *page, int fd, __u64 hold);
void dropper_end(struct dropper *dropper);

#endif /* _HMM_NOTIFY_H */
