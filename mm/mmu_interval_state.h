/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state machine of interval subscriptions: which sequence an invalidation
 * has, whom a reader waits for, and when a removed subscription is out of reach.
 *
 * Pure: no locks and no tree, so that the same file is built by the kernel, by
 * KUnit and by tools/testing/hmm. The kernel calls all of it under the lock of
 * the intervals.
 *
 * Invariants:
 *   - sequences of invalidations are odd, go up, and are never used twice;
 *   - an invalidation that can reach a subscription is in flight from before
 *     its first callback until after its page table entries have changed;
 *   - who reads has found no overlapping invalidation in flight;
 *   - a subscription leaves the tree when it is removed and no callback runs.
 */
#ifndef _MM_MMU_INTERVAL_STATE_H
#define _MM_MMU_INTERVAL_STATE_H

#include <linux/list.h>
#include <linux/mmu_interval.h>

#define MMU_FIRST_SEQ	1UL

/* The sequence of the next invalidation, or of another reason to read again */
static inline unsigned long mmu_seq_next(unsigned long *seq)
{
	*seq += 2;
	return *seq;
}

/* The newest flight comes first. */
static inline void mmu_flight_begin(struct list_head *flights,
				    struct mmu_flight *flight,
				    unsigned long number,
				    unsigned long first, unsigned long last)
{
	flight->number = number;
	flight->first = first;
	flight->last = last;
	list_add(&flight->link, flights);
}

/* Nobody looks at the flight any more. */
static inline void mmu_flight_end(struct mmu_flight *flight)
{
	__list_del_entry(&flight->link);
}

/* Is an invalidation in flight that overlaps? */
static inline bool mmu_flights_overlap(const struct list_head *flights,
				       unsigned long first, unsigned long last)
{
	const struct mmu_flight *flight;

	list_for_each_entry(flight, flights, link)
		if (flight->first <= last && first <= flight->last)
			return true;
	return false;
}

/* Is a flight left that is as old as @number, or older? */
static inline bool mmu_flights_up_to(const struct list_head *flights,
				     unsigned long number)
{
	return !list_empty(flights) &&
	       list_last_entry(flights, struct mmu_flight, link)->number <= number;
}

/* May a callback begin? Then it has. */
static inline bool mmu_callback_begin(struct mmu_interval_state *state)
{
	if (state->removed)
		return false;
	state->callbacks++;
	return true;
}

/* A callback has ended. True if it was the last one of a removed subscription. */
static inline bool mmu_callback_end(struct mmu_interval_state *state)
{
	return !--state->callbacks && state->removed;
}

/* No more callbacks. True if none is running, otherwise the last one will say so. */
static inline bool mmu_state_remove(struct mmu_interval_state *state)
{
	state->removed = true;
	return !state->callbacks;
}

#endif /* _MM_MMU_INTERVAL_STATE_H */
