// SPDX-License-Identifier: GPL-2.0
/*
 * Migrations that stay between two steps until a command lets them continue.
 */
#include <linux/jiffies.h>
#include <linux/wait.h>

#include "hmm_probe_move.h"

#define AWAIT_TIMEOUT		(10 * HZ)
#define STUBBORN_TIMEOUT	(30 * HZ)

struct probe_stay probe_fault_stay = {
	.wq = __WAIT_QUEUE_HEAD_INITIALIZER(probe_fault_stay.wq),
};

void probe_stay(struct probe_stay *stay, bool stubborn)
{
	WRITE_ONCE(stay->stays, true);
	wake_up_all(&stay->wq);
	if (stubborn)
		wait_event_timeout(stay->wq, !READ_ONCE(stay->stays),
				   STUBBORN_TIMEOUT);
	else
		wait_event_killable(stay->wq, !READ_ONCE(stay->stays));
	WRITE_ONCE(stay->stays, false);
}

/* Until there is one that stays */
int probe_stay_await(struct probe_stay *stay)
{
	long left = wait_event_killable_timeout(stay->wq,
						READ_ONCE(stay->stays),
						AWAIT_TIMEOUT);

	return left > 0 ? 0 : left ?: -ETIMEDOUT;
}

int probe_stay_end(struct probe_stay *stay)
{
	if (!READ_ONCE(stay->stays))
		return -ENOENT;
	WRITE_ONCE(stay->stays, false);
	wake_up_all(&stay->wq);
	return 0;
}
