/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state machine of interval subscriptions: which invalidations are in
 * flight, the sequence of each, which of them a reader must wait for, and when
 * it is safe to free a removed subscription.
 *
 * Pure: no locks and no tree. The kernel, KUnit and tools/testing/hmm build the
 * same file. The kernel calls these functions under the lock of the intervals,
 * unless they say otherwise.
 *
 * Vocabulary:
 *   - an invalidation is in flight from its start to its end;
 *   - it has a slot, or, if all slots are in use, it is counted in a batch;
 *   - a wait is for the overlapping invalidations that are in flight when it is
 *     entered. Later ones do not prolong it, except those that join a batch
 *     before it can be closed.
 *
 * Invariants:
 *   - sequences of invalidations are odd and increase; none is used twice
 *     before they wrap;
 *   - an invalidation that can reach a subscription is in flight from before
 *     its first callback until after its page table entries have changed;
 *   - a reader that begins while a later overlapping invalidation is in flight
 *     returns the sequence from before it: that invalidation has changed the
 *     sequence, or will;
 *   - a removed subscription is freed only when no callback of it is running
 *     or about to run, and no second pass of it is pending.
 */
#ifndef _MM_MMU_INTERVAL_STATE_H
#define _MM_MMU_INTERVAL_STATE_H

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/mmu_interval.h>

#define MMU_FIRST_SEQ	1UL
#define MMU_SLOTS	BITS_PER_LONG

/* Instead of a slot: the invalidation is in an even or an odd batch. */
#define MMU_SLOT_EVEN	MMU_SLOTS
#define MMU_SLOT_ODD	(MMU_SLOTS + 1)

/**
 * struct mmu_inflight_slot - an invalidation in flight
 * @number: the number of the invalidation; higher ones started later
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
 * @used: bitmap of the slots in use
 * @untracked: upper bound of those without a slot: those in batches, and one
 *	that stands for all that started before slots were used
 * @number: the number of the latest invalidation with a slot
 * @batch: the number of the open batch; increases
 * @open: number of invalidations in @batch
 * @closed: number of invalidations left in the batch before it
 * @registered: the number of the latest subscription to the whole address
 *	space. An invalidation calls those up to the latest at its start or, in
 *	a batch, at the start of the batch.
 * @batch_registered: that number at the start of the even and the odd batch
 * @slots: valid if set in @used
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
 * @slots: bitmap of their slots
 * @number: the number of the latest of them; a slot with a higher one was
 *	reused
 * @batch: the last batch that has some of them
 * @batches: whether @batch is valid
 */
struct mmu_inflight_wait {
	unsigned long slots;
	unsigned long number;
	unsigned int batch;
	bool batches;
};

/* A new sequence, for an invalidation or because readers must retry */
static inline unsigned long mmu_seq_next(unsigned long *seq)
{
	*seq += 2;
	return *seq;
}

/* Is it certain that nothing is in flight? */
static inline bool mmu_inflight_none(const struct mmu_inflight *inflight)
{
	return !(inflight->used | inflight->untracked);
}

/* An invalidation starts. Returns its slot, or its batch instead of one. */
static inline unsigned int mmu_inflight_start(struct mmu_inflight *inflight,
					      unsigned long first,
					      unsigned long last)
{
	struct mmu_inflight_slot *slot;
	unsigned int nr;

	if (unlikely(!~inflight->used)) {
		nr = inflight->batch & 1;
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

/*
 * The number of the last subscription that the invalidation with @slot calls.
 * Needs no lock, as the invalidation is in flight.
 */
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

/* Wait for the overlapping invalidations that are in flight now. */
static inline void mmu_inflight_wait_enter(struct mmu_inflight_wait *wait,
					   const struct mmu_inflight *inflight,
					   unsigned long first,
					   unsigned long last)
{
	wait->slots = mmu_inflight_overlaps(inflight, first, last);
	wait->number = inflight->number;
	wait->batches = inflight->open || inflight->closed;
	/* The open batch or, if that is empty, the closed one before it. */
	wait->batch = inflight->open ? inflight->batch : inflight->batch - 1;
}

/*
 * The sequence for a reader after its wait. If no overlapping invalidation is
 * in flight, it is @seq, the current one of the subscription. Otherwise, an
 * invalidation has started after the wait began. It may have called the
 * subscription already and be about to change entries; @seq is then its own
 * sequence, and would not change again. So the reader gets @at_entry, the
 * sequence from before its wait: that is stale already, or becomes stale when
 * the invalidation calls the subscription.
 */
static inline unsigned long
mmu_seq_after_wait(const struct mmu_inflight *inflight, unsigned long first,
		   unsigned long last, unsigned long seq,
		   unsigned long at_entry)
{
	if (inflight->untracked || mmu_inflight_overlaps(inflight, first, last))
		return at_entry;
	return seq;
}

/* Open the next batch. Returns false if the previous one is not over. */
static inline bool mmu_inflight_close_batch(struct mmu_inflight *inflight)
{
	if (inflight->closed)
		return false;
	inflight->closed = inflight->open;
	inflight->open = 0;
	inflight->batch++;
	/*
	 * Invalidations of a batch read this without the lock. The new batch
	 * has none yet.
	 */
	inflight->batch_registered[inflight->batch & 1] = inflight->registered;
	return true;
}

/*
 * Are all batches up to @batch over? An open batch might never end, as later
 * invalidations join it: close it as soon as possible.
 */
static inline bool mmu_inflight_batches_over(struct mmu_inflight *inflight,
					     unsigned int batch)
{
	if (inflight->batch == batch && !mmu_inflight_close_batch(inflight))
		return false;
	return inflight->batch != batch + 1 || !inflight->closed;
}

/*
 * Add a subscription to the whole address space. Returns its number. @wait
 * receives the invalidations that do not call it: those in flight, and those
 * that join a batch that was opened before; no others, as these may wait for
 * the subscriber.
 */
static inline unsigned int mmu_inflight_register(struct mmu_inflight *inflight,
						 struct mmu_inflight_wait *wait)
{
	/* 0 is not a number. */
	if (!++inflight->registered)
		inflight->registered++;
	/* Open a new batch, if this one is empty and that is possible. */
	if (!inflight->open)
		mmu_inflight_close_batch(inflight);
	mmu_inflight_wait_enter(wait, inflight, 0, ~0UL);
	if (inflight->batch_registered[inflight->batch & 1] !=
	    inflight->registered) {
		wait->batches = true;
		wait->batch = inflight->batch;
	}
	return inflight->registered;
}

/* Have all invalidations ended that the wait is for? */
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

/*
 * How many subscriptions an invalidation calls before it takes the lock again.
 * The torture module uses fewer, to take the lock more often.
 */
#ifndef MMU_CALLS
#define MMU_CALLS	32
#endif

/**
 * struct mmu_calls - the subscriptions that an invalidation calls without the
 * lock
 * @at: the one that it is calling, or about to call; others must not
 *	dereference this pointer
 * @wanted: a removal has changed @subs, and may be waiting for @at to change
 * @nr: number of entries in @subs
 * @subs: the subscriptions, in order; a removal sets them to %NULL under the
 *	lock
 */
struct mmu_calls {
	struct mmu_interval_notifier *at;
	bool wanted;
	unsigned int nr;
	struct mmu_interval_notifier *subs[MMU_CALLS];
};

/*
 * The last call has returned, and @sub, which was read from @subs, is next.
 * %NULL if there is none, or it was removed. If @wanted is set after this, @sub
 * must be read again. Called without the lock.
 */
static __always_inline void mmu_calls_advance(struct mmu_calls *calls,
					      struct mmu_interval_notifier *sub)
{
	/*
	 * xchg() has full barriers. A task that sees that @at has changed also
	 * sees what the last callback did. And either a removal sees @at, or
	 * the caller sees @wanted set and @sub cleared.
	 */
	(void)xchg(&calls->at, sub);
}

/* Called after mmu_calls_advance(), without the lock */
static inline bool mmu_calls_wanted(const struct mmu_calls *calls)
{
	/*
	 * No READ_ONCE(): only this task clears it, under the lock, so a plain
	 * read is safe, and lets the compiler test it in memory.
	 */
	return unlikely(data_race(calls->wanted));
}

/*
 * @sub is being removed: it must not be called any more. The lock is held. A
 * full barrier must follow before mmu_calls_at().
 */
static inline void mmu_calls_clear(struct mmu_calls *calls,
				   const struct mmu_interval_notifier *sub)
{
	unsigned int i;

	for (i = 0; i < calls->nr; i++) {
		if (calls->subs[i] != sub)
			continue;
		WRITE_ONCE(calls->wanted, true);
		/* An invalidation that reads %NULL sees @wanted set. */
		smp_store_release(&calls->subs[i], NULL);
	}
}

/* Might a callback of @sub be running? If not, its effects are visible. */
static inline bool mmu_calls_at(const struct mmu_calls *calls,
				const struct mmu_interval_notifier *sub)
{
	/* Pairs with the barriers in mmu_calls_advance(). */
	return smp_load_acquire(&calls->at) == sub;
}

#endif /* _MM_MMU_INTERVAL_STATE_H */
