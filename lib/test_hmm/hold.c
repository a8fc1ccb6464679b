// SPDX-License-Identifier: GPL-2.0
/*
 * Steps at which a command stands still until a test lets it go on, so that the
 * test can do in between what otherwise only a race does.
 */
#include <linux/jiffies.h>
#include <linux/wait.h>

#include "test_hmm.h"

#define DMIRROR_HELD_AT_MOST	(30 * HZ)
#define DMIRROR_AWAIT_AT_MOST	(10 * HZ)

void dmirror_hold_init(struct dmirror_file *file)
{
	init_waitqueue_head(&file->hold_wq);
}

/**
 * dmirror_hold() - stand still at a step, if a test wants that
 * @file: the file of the command
 * @step: HMM_DMIRROR_HOLD_*
 *
 * Context: May sleep. Returns after half a minute at the latest: folios may be
 * locked.
 */
void dmirror_hold(struct dmirror_file *file, u64 step)
{
	if (!(READ_ONCE(file->hold_steps) & step))
		return;
	WRITE_ONCE(file->held, true);
	wake_up_all(&file->hold_wq);
	wait_event_killable_timeout(file->hold_wq, !READ_ONCE(file->held), DMIRROR_HELD_AT_MOST);
	WRITE_ONCE(file->held, false);
}

/**
 * dmirror_hold_set() - HMM_DMIRROR_HOLD
 * @file: of the command
 * @steps: HMM_DMIRROR_HOLD_*
 *
 * Return: 0 or an errno.
 */
int dmirror_hold_set(struct dmirror_file *file, u64 steps)
{
	if (steps & ~(HMM_DMIRROR_HOLD_COPY | HMM_DMIRROR_HOLD_LOCK))
		return -EINVAL;
	WRITE_ONCE(file->hold_steps, steps);
	return 0;
}

/**
 * dmirror_hold_await() - HMM_DMIRROR_AWAIT_HOLD
 * @file: of the command
 *
 * Return: 0 when a command stands still, or an errno.
 */
int dmirror_hold_await(struct dmirror_file *file)
{
	long left = wait_event_killable_timeout(file->hold_wq, READ_ONCE(file->held),
						DMIRROR_AWAIT_AT_MOST);

	return left > 0 ? 0 : left ?: -ETIMEDOUT;
}

/**
 * dmirror_hold_end() - HMM_DMIRROR_GO_ON
 * @file: of the command
 *
 * Return: 0, or -ENOENT if no command stands still.
 */
int dmirror_hold_end(struct dmirror_file *file)
{
	if (!READ_ONCE(file->held))
		return -ENOENT;
	WRITE_ONCE(file->held, false);
	wake_up_all(&file->hold_wq);
	return 0;
}
