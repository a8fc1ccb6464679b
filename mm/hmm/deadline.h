/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The deadline of calls that retry after invalidations */
#ifndef _MM_HMM_DEADLINE_H
#define _MM_HMM_DEADLINE_H

#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/sched.h>

/*
 * Jiffies until @deadline, 0 if it has passed. A call whose @timeout is
 * MAX_SCHEDULE_TIMEOUT has no deadline.
 */
static inline unsigned long hmm_deadline_left(unsigned long timeout,
					      unsigned long deadline)
{
	if (timeout >= MAX_SCHEDULE_TIMEOUT)
		return MAX_SCHEDULE_TIMEOUT;
	return max((long)(deadline - jiffies), 0L);
}

#endif /* _MM_HMM_DEADLINE_H */
