// SPDX-License-Identifier: GPL-2.0
/*
 * Feeds the copy of the notifiers with the real invalidations of the process.
 * The only file of the copy that is built with the real names.
 *
 * The copy hears of a start when the real interval subscriptions have, and of an
 * end when the page table has changed: as the real notifiers would have it.
 *
 * This needs two subscriptions: one with an end callback must not refuse a
 * start, and the copy may. The tail is subscribed first and removed last: it
 * knows by the range whether the gate has let the invalidation pass.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/slab.h>

#include "hmm_torture.h"

/* Others are the core's, for its own use. */
#define PUBLIC_FLAGS	(MMU_NOTIFIER_RANGE_BLOCKABLE | \
			 MMU_NOTIFIER_RANGE_WRITE_LOST)

static void keep_range(struct torture *torture, struct torture_range *copied,
		       struct list_head *where)
{
	spin_lock(&torture->inflight_lock);
	list_add(&copied->link, where);
	spin_unlock(&torture->inflight_lock);
}

static struct torture_range *take_range(struct torture *torture,
					const struct mmu_notifier_range *of)
{
	struct torture_range *copied;

	guard(spinlock)(&torture->inflight_lock);
	list_for_each_entry(copied, &torture->inflight, link) {
		if (copied->of != of)
			continue;
		list_del(&copied->link);
		return copied;
	}
	return NULL;
}

/*
 * What changes later is more likely to be in flight when it matters, most of all
 * for the first subscription.
 */
static void gate_sleep(struct torture *torture)
{
	if (!mm_has_notifiers(torture->mm) && torture_dice(torture, 4))
		usleep_range(1000, 1500 + torture_dice(torture, 2000));
	else if (!torture_dice(torture, 4))
		usleep_range(50, 100 + torture_dice(torture, 1000));
}

static int gate_start(struct mmu_notifier *gate,
		      const struct mmu_notifier_range *range)
{
	struct torture *torture = container_of(gate, struct torture, gate);
	struct torture_range *copied;
	int ret;

	copied = kzalloc_obj(*copied, GFP_ATOMIC);
	if (!copied) {
		torture_fail("no memory to tell the copy");
		return 0;
	}
	copied->of = range;
	mmu_notifier_range_init_owner(&copied->range, range->event,
				      range->flags & PUBLIC_FLAGS, torture->mm,
				      range->start, range->end, range->owner);
	ret = torture_copy_begin(torture, copied,
				 mmu_notifier_range_blockable(range));
	if (!ret && mmu_notifier_range_blockable(range))
		gate_sleep(torture);
	keep_range(torture, copied,
		   ret ? &torture->refused : &torture->inflight);
	return ret;
}

static void tail_end(struct mmu_notifier *tail,
		     const struct mmu_notifier_range *range)
{
	struct torture *torture = container_of(tail, struct torture, tail);
	struct torture_range *copied = take_range(torture, range);

	if (!copied)
		return;
	torture_copy_end(torture, copied);
	kfree(copied);
}

static void gate_release(struct mmu_notifier *gate, struct mm_struct *mm)
{
	struct torture *torture = container_of(gate, struct torture, gate);

	torture_copy_exit(torture->mm);
}

static const struct mmu_notifier_ops gate_ops = {
	.invalidate_range_start = gate_start,
	.release = gate_release,
};

static const struct mmu_notifier_ops tail_ops = {
	.invalidate_range_end = tail_end,
};

int torture_feed(struct torture *torture)
{
	int ret = -ENOMEM;

	torture->mm = torture_copy_mm();
	if (!torture->mm)
		return ret;
	torture->gate.ops = &gate_ops;
	torture->tail.ops = &tail_ops;
	ret = mmu_notifier_register(&torture->tail, torture->real);
	if (ret)
		goto free_mm;
	ret = mmu_notifier_register(&torture->gate, torture->real);
	if (ret)
		goto unregister;
	return 0;

unregister:
	mmu_notifier_unregister(&torture->tail, torture->real);
free_mm:
	torture_copy_mm_free(torture->mm);
	return ret;
}

/* All subscriptions have gone. */
void torture_starve(struct torture *torture)
{
	struct torture_range *copied, *next;

	mmu_notifier_unregister(&torture->gate, torture->real);
	mmu_notifier_unregister(&torture->tail, torture->real);
	/* The tail does not hear of ends after the end of the process. */
	list_for_each_entry_safe(copied, next, &torture->inflight, link) {
		torture_copy_end(torture, copied);
		kfree(copied);
	}
	torture_copy_mm_free(torture->mm);
	list_for_each_entry_safe(copied, next, &torture->refused, link)
		kfree(copied);
}
