// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"
#include "notify.h"

/* Subscriptions */

int sub_open(void)
{
	return probe_device("hmm_probe_notify");
}

void sub_ioctl(int fd, unsigned long request, void *arg)
{
	if (ioctl(fd, request, arg))
		fatal("ioctl %#lx: %s", request, strerror(errno));
}

struct hmm_notify_state sub_state(int fd)
{
	struct hmm_notify_state state;

	sub_ioctl(fd, HMM_NOTIFY_STATE, &state);
	return state;
}

int sub_call(int fd, unsigned long request, struct hmm_notify_call *call)
{
	if (!ioctl(fd, request, call))
		return call->rc;
	if (errno != ETIMEDOUT)
		fatal("call %llu: %s", call->op, strerror(errno));
	return -ETIMEDOUT;
}

int sub_do(int fd, __u64 op, __u64 *seq)
{
	struct hmm_notify_call call = { .op = op, .seq = seq ? *seq : 0 };
	int rc = sub_call(fd, HMM_NOTIFY_CALL, &call);

	if (seq)
		*seq = call.seq;
	return rc;
}

int sub_try(int fd, __u64 op, unsigned int patience_ms)
{
	struct hmm_notify_call call = {
		.op = op,
		.patience_ms = patience_ms,
	};

	return sub_call(fd, HMM_NOTIFY_CALL, &call);
}

int sub_await(int fd, __u64 *seq)
{
	struct hmm_notify_call call = { .patience_ms = SOON_MS };
	int rc = sub_call(fd, HMM_NOTIFY_AWAIT, &call);

	if (seq)
		*seq = call.seq;
	return rc;
}

bool sub_is_waiting(int fd)
{
	struct hmm_notify_call call = { .patience_ms = 1 };

	return ioctl(fd, HMM_NOTIFY_AWAIT, &call) && errno == ETIMEDOUT;
}

int sub_place(int fd, __u64 op, __u64 kind, char *start, size_t bytes,
	      unsigned int patience_ms)
{
	struct hmm_notify_call call = {
		.op = op,
		.kind = kind,
		.start = (uintptr_t)start,
		.length = bytes,
		.patience_ms = patience_ms,
	};

	return sub_call(fd, HMM_NOTIFY_CALL, &call);
}

void subscribe(int fd, __u64 kind, char *start, size_t bytes)
{
	int rc = sub_place(fd, HMM_NOTIFY_SUBSCRIBE, kind, start, bytes, 0);

	if (rc)
		fatal("no subscription: %s", strerror(-rc));
}

int resize(int fd, char *start, size_t npages, unsigned int patience_ms)
{
	return sub_place(fd, HMM_NOTIFY_RESIZE, 0, start, npages * PAGE_BYTES,
			 patience_ms);
}

void plan(int fd, __u64 hold, __u64 flags)
{
	struct hmm_notify_plan planned = {
		.hold = hold,
		.flags = flags,
		.other = -1,
	};

	sub_ioctl(fd, HMM_NOTIFY_PLAN, &planned);
}

void plan_act(int fd, int other, struct hmm_notify_call act)
{
	struct hmm_notify_plan planned = { .other = other, .act = act };

	sub_ioctl(fd, HMM_NOTIFY_PLAN, &planned);
}

bool knows_new_calls(int fd)
{
	return sub_do(fd, HMM_NOTIFY_READ_TIMEOUT, NULL) != -EOPNOTSUPP;
}

void settle(int fd)
{
	if (sub_try(fd, HMM_NOTIFY_READ, SOON_MS))
		fatal("the first read_begin does not come back");
}

struct hmm_notify_record sub_record(int fd, __u64 index)
{
	struct hmm_notify_record record = { .index = index };

	sub_ioctl(fd, HMM_NOTIFY_RECORD, &record);
	return record;
}

/* Invalidations */

void drop(char *page, size_t npages)
{
	if (madvise(page, npages * PAGE_BYTES, MADV_DONTNEED))
		fatal("MADV_DONTNEED: %s", strerror(errno));
}

static void *dropper_run(void *arg)
{
	struct dropper *dropper = arg;

	drop(dropper->page, 1);
	return NULL;
}

void dropper_start(struct dropper *dropper, char *page, int fd, __u64 hold)
{
	dropper->page = page;
	dropper->fd = fd;
	plan(fd, hold, 0);
	if (pthread_create(&dropper->thread, NULL, dropper_run, dropper))
		fatal("no thread");
	sub_ioctl(fd, HMM_NOTIFY_AWAIT_HOLD, NULL);
}

void dropper_end(struct dropper *dropper)
{
	sub_ioctl(dropper->fd, HMM_NOTIFY_LET_GO, NULL);
	pthread_join(dropper->thread, NULL);
}
