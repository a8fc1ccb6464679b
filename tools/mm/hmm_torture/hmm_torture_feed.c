// SPDX-License-Identifier: GPL-2.0
/*
 * Feeds the copy of the notifiers with the real invalidations of the process.
 * The only file of the copy that is built with the real names.
 *
 * The copy hears of a start when the real interval subscriptions have, and of an
 * end when the page table has changed: as the real notifiers would have it.
 *
 * Two subscriptions do it, for who has an end may not refuse a start, and the
 * copy may. The tail comes first and goes last: it knows by the range whether
 * the gate has let the invalidation pass.
 */
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/slab.h>

#include "hmm_torture.h"

static void keep_flight(struct torture *torture, struct torture_flight *flight,
			struct list_head *where)
{
	spin_lock(&torture->flights_lock);
	list_add(&flight->link, where);
	spin_unlock(&torture->flights_lock);
}

static struct torture_flight *take_flight(struct torture *torture,
					  const struct mmu_notifier_range *of)
{
	struct torture_flight *flight;

	guard(spinlock)(&torture->flights_lock);
	list_for_each_entry(flight, &torture->flights, link) {
		if (flight->of != of)
			continue;
		list_del(&flight->link);
		return flight;
	}
	return NULL;
}

static int gate_start(struct mmu_notifier *gate,
		      const struct mmu_notifier_range *range)
{
	struct torture *torture = container_of(gate, struct torture, gate);
	struct torture_flight *flight;
	int ret;

	flight = kzalloc_obj(*flight, GFP_ATOMIC);
	if (!flight) {
		torture_fail("no memory to tell the copy");
		return 0;
	}
	flight->of = range;
	mmu_notifier_range_init_owner(&flight->range, range->event,
				      range->flags, torture->mm, range->start,
				      range->end, range->owner);
	ret = torture_copy_begin(flight, mmu_notifier_range_blockable(range));
	keep_flight(torture, flight,
		    ret ? &torture->refused : &torture->flights);
	return ret;
}

static void tail_end(struct mmu_notifier *tail,
		     const struct mmu_notifier_range *range)
{
	struct torture *torture = container_of(tail, struct torture, tail);
	struct torture_flight *flight = take_flight(torture, range);

	if (!flight)
		return;
	torture_copy_end(flight);
	kfree(flight);
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
	struct torture_flight *flight, *next;

	mmu_notifier_unregister(&torture->gate, torture->real);
	mmu_notifier_unregister(&torture->tail, torture->real);
	/* The tail does not hear of ends after the end of the process. */
	list_for_each_entry_safe(flight, next, &torture->flights, link) {
		torture_copy_end(flight);
		kfree(flight);
	}
	torture_copy_mm_free(torture->mm);
	list_for_each_entry_safe(flight, next, &torture->refused, link)
		kfree(flight);
}
