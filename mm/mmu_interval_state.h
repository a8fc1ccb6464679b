/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state machine of interval subscriptions: which invalidations are in flight,
 * which sequence each has, what a reader must wait for, and when a removed
 * subscription is out of reach.
 *
 * Pure: no locks and no tree, so that the same file is built by the kernel, by
 * KUnit and by tools/testing/hmm. The kernel calls all of it under the lock of
 * the intervals.
 *
 * Vocabulary:
 *   - an invalidation is in flight from its start to its end;
 *   - it has a slot, or, if all slots are used, it is counted in a batch;
 *   - a wait names the invalidations that were in flight when it was entered and
 *     overlap. Later ones do not prolong it, save those that join a batch before
 *     it can be closed.
 *
 * Invariants:
 *   - sequences of invalidations are odd, go up, and are never used twice;
 *   - an invalidation that can reach a subscription is in flight from before
 *     its first callback until after its page table entries have changed;
 *   - a reader that begins while a later invalidation is in flight that overlaps
 *     has the sequence from before it: that one has changed it, or will;
 *   - a subscription leaves the tree when it is removed and no callback runs.
 */
#ifndef _MM_MMU_INTERVAL_STATE_H
#define _MM_MMU_INTERVAL_STATE_H

#include <linux/bitops.h>
#include <linux/mmu_interval.h>

#define MMU_FIRST_SEQ	1UL
#define MMU_SLOTS	BITS_PER_LONG

/* In place of a slot: the invalidation is in an even or an odd batch. */
#define MMU_SLOT_EVEN	MMU_SLOTS
#define MMU_SLOT_ODD	(MMU_SLOTS + 1)

/**
 * struct mmu_inflight_slot - an invalidation in flight
 * @number: counts invalidations; the higher one started later
 * @first: first address
 * @last: last address
 * @registered: &mmu_inflight.registered at its start
 */
struct mmu_inflight_slot {
	unsigned long number;
	unsigned long first;
	unsigned long last;
	unsigned int registered;
};

/**
 * struct mmu_inflight - the invalidations in flight of an address space
 * @used: which slots are
 * @untracked: how many there may be without a slot: those in batches, and one
 *	that stands for all that started before there were slots
 * @number: of the latest invalidation with a slot
 * @batch: the batch that is open; goes up
 * @open: invalidations in @batch
 * @closed: invalidations left in the batch before it
 * @registered: how many subscriptions to the whole address space there ever
 *	were. An invalidation calls those that were there at its start.
 * @batch_registered: the same at the start of all in a batch, even and odd
 * @slots: valid where @used says so
 */
struct mmu_inflight {
	unsigned long used;
	unsigned int untracked;
	unsigned int open;
	unsigned int closed;
	unsigned int batch;
	unsigned int registered;
	unsigned int batch_registered[2];
	unsigned long number;
	struct mmu_inflight_slot slots[MMU_SLOTS];
};

/**
 * struct mmu_inflight_wait - a wait for invalidations
 * @slots: where they are
 * @number: of the latest of them; a slot with a higher one was used again
 * @batch: the last batch with some of them
 * @batches: whether there is one
 */
struct mmu_inflight_wait {
	unsigned long slots;
	unsigned long number;
	unsigned int batch;
	bool batches;
};

/* The sequence of the next invalidation, or of another reason to read again */
static inline unsigned long mmu_seq_next(unsigned long *seq)
{
	*seq += 2;
	return *seq;
}

/* Is nothing in flight, for sure? */
static inline bool mmu_inflight_none(const struct mmu_inflight *inflight)
{
	return !(inflight->used | inflight->untracked);
}

/* An invalidation starts. Returns its slot, or what stands in place of one. */
static inline unsigned int mmu_inflight_start(struct mmu_inflight *inflight,
					      unsigned long first,
					      unsigned long last)
{
	struct mmu_inflight_slot *slot;
	unsigned int nr;

	if (unlikely(!~inflight->used)) {
		nr = inflight->batch & 1;
		inflight->batch_registered[nr] = inflight->registered;
		inflight->untracked++;
		inflight->open++;
		return MMU_SLOT_EVEN + nr;
	}
	nr = ffz(inflight->used);
	inflight->used |= 1UL << nr;
	slot = &inflight->slots[nr];
	slot->number = ++inflight->number;
	slot->first = first;
	slot->last = last;
	slot->registered = inflight->registered;
	return nr;
}

/* How many subscriptions there were when the invalidation with @slot started */
static inline unsigned int
mmu_inflight_registered(const struct mmu_inflight *inflight, unsigned int slot)
{
	return slot < MMU_SLOTS ? inflight->slots[slot].registered :
				  inflight->batch_registered[slot & 1];
}

/* The invalidation that has @slot ends. */
static inline void mmu_inflight_end(struct mmu_inflight *inflight,
				    unsigned int slot)
{
	if (likely(slot < MMU_SLOTS)) {
		inflight->used &= ~(1UL << slot);
		return;
	}
	inflight->untracked--;
	if ((inflight->batch & 1) == slot - MMU_SLOT_EVEN)
		inflight->open--;
	else
		inflight->closed--;
}

/* The slots of the invalidations that overlap */
static inline unsigned long
mmu_inflight_overlaps(const struct mmu_inflight *inflight, unsigned long first,
		      unsigned long last)
{
	unsigned long used = inflight->used;
	unsigned long slots = 0;

	for (; used; used &= used - 1) {
		unsigned int nr = __ffs(used);
		const struct mmu_inflight_slot *slot = &inflight->slots[nr];

		if (slot->first <= last && first <= slot->last)
			slots |= 1UL << nr;
	}
	return slots;
}

/* Wait for what is in flight now, as far as it overlaps. */
static inline void mmu_inflight_wait_enter(struct mmu_inflight_wait *wait,
					   const struct mmu_inflight *inflight,
					   unsigned long first,
					   unsigned long last)
{
	wait->slots = mmu_inflight_overlaps(inflight, first, last);
	wait->number = inflight->number;
	wait->batches = inflight->open || inflight->closed;
	/* The open batch; if that is empty the one before, which is closed. */
	wait->batch = inflight->open ? inflight->batch : inflight->batch - 1;
}

/*
 * What a reader may go by after it has waited: @seq, the sequence that the
 * subscription has now, if nothing that overlaps is in flight. If there is, it
 * started later. It may have called back already, and may be about to change
 * entries: @seq may be its own, and will not change again. The sequence
 * @at_entry is stale then, as it must be; or it will be, if it has yet to call.
 */
static inline unsigned long mmu_seq_after_wait(const struct mmu_inflight *inflight,
					       unsigned long first,
					       unsigned long last,
					       unsigned long seq,
					       unsigned long at_entry)
{
	if (inflight->untracked || mmu_inflight_overlaps(inflight, first, last))
		return at_entry;
	return seq;
}

/* Later invalidations join the next batch. False if the one before is not over. */
static inline bool mmu_inflight_close_batch(struct mmu_inflight *inflight)
{
	if (inflight->closed)
		return false;
	inflight->closed = inflight->open;
	inflight->open = 0;
	inflight->batch++;
	return true;
}

/*
 * Have the batches ended that the wait is for? An open batch never would, if
 * there always are later ones to join it: close it as soon as possible.
 */
static inline bool mmu_inflight_batches_over(struct mmu_inflight *inflight,
					     unsigned int batch)
{
	if (inflight->batch == batch && !mmu_inflight_close_batch(inflight))
		return false;
	return inflight->batch != batch + 1 || !inflight->closed;
}

/*
 * A subscription to the whole address space is added: the number that it is
 * given, or 0 if it must wait, since those in the open batch must not call it
 * and cannot be told from later ones yet.
 */
static inline unsigned int mmu_inflight_register(struct mmu_inflight *inflight)
{
	if (inflight->open && !mmu_inflight_close_batch(inflight))
		return 0;
	/* 0 is not a number. */
	if (!++inflight->registered)
		inflight->registered++;
	return inflight->registered;
}

/* Have all ended that the wait is for? */
static inline bool mmu_inflight_wait_over(struct mmu_inflight_wait *wait,
					  struct mmu_inflight *inflight)
{
	unsigned long left = wait->slots & inflight->used;

	for (; left; left &= left - 1) {
		unsigned int nr = __ffs(left);

		if ((long)(inflight->slots[nr].number - wait->number) > 0)
			wait->slots &= ~(1UL << nr);
	}
	wait->slots &= inflight->used;
	if (wait->batches)
		wait->batches = !mmu_inflight_batches_over(inflight,
							   wait->batch);
	return !wait->slots && !wait->batches;
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
