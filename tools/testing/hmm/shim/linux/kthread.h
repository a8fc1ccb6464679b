/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel threads, as threads: as much as the suites use. */
#ifndef _HMM_SHIM_LINUX_KTHREAD_H
#define _HMM_SHIM_LINUX_KTHREAD_H

#include <pthread.h>
#include <stdlib.h>
#include <linux/types.h>

struct task_struct {
	pthread_t thread;
	int (*run)(void *data);
	void *data;
	bool stop;
	int ret;
};

static __thread struct task_struct *kthread_self;

static inline void *kthread_start(void *arg)
{
	kthread_self = arg;
	kthread_self->ret = kthread_self->run(kthread_self->data);
	return NULL;
}

static inline struct task_struct *kthread_run(int (*run)(void *data),
					      void *data, const char *name)
{
	struct task_struct *task = calloc(1, sizeof(*task));

	task->run = run;
	task->data = data;
	if (pthread_create(&task->thread, NULL, kthread_start, task))
		abort();
	return task;
}

#define IS_ERR(task)			(!(task))

static inline bool kthread_should_stop(void)
{
	return READ_ONCE(kthread_self->stop);
}

static inline int kthread_stop(struct task_struct *task)
{
	int ret;

	WRITE_ONCE(task->stop, true);
	pthread_join(task->thread, NULL);
	ret = task->ret;
	free(task);
	return ret;
}

#define cond_resched()			do { } while (0)

#endif /* _HMM_SHIM_LINUX_KTHREAD_H */
