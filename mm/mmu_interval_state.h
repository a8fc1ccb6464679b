/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state machine of interval subscriptions: which invalidations are in flight,
 * which sequence each has, what a reader must wait for, and when a removed
 * subscription is out of reach.
 *
 * Pure: no locks and no tree, so that the same file is built by the kernel, by
 * KUnit and by tools/testing/hmm. The kernel calls it under the lock of the
 * intervals, where nothing else is said.
 *
 * Vocabulary:
 *   - an invalidation is in flight from its start to its end;
 *   - it has a slot, or, if all slots are used, it is counted in a batch;
 *   - a wait names the invalidations that were in flight when it was entered and
 *     overlap. Later ones do not prolong it, save those that join a batch before
 *     it can be closed.
 *
 * Invariants:
 *   - sequences of invalidations are odd and go up; none is used twice until they
 *     wrap;
 *   - an invalidation that can reach a subscription is in flight from before
 *     its first callback until after its page table entries have changed;
 *   - a reader that begins while a later invalidation is in flight that overlaps
 *     has the sequence from before it: that one has changed it, or will;
 *   - a subscription that is removed is let go when nobody calls it nor is about
 *     to, and no second pass of it is to come.
 */
#ifndef _MM_MMU_INTERVAL_STATE_H
#define _MM_MMU_INTERVAL_STATE_H

#include <linux/atomic.h>
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
 * @registered: number of the latest subscription to the whole address space. An
 *	invalidation calls those up to the latest at its start or, in a batch,
 *	at the beginning of the batch.
 * @batch_registered: what that was then, even and odd
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
 * The number of the last subscription that the invalidation with @slot calls. It
 * is in flight; no lock is needed.
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
	/* Its members read it without the lock. There is none yet. */
	inflight->batch_registered[inflight->batch & 1] = inflight->registered;
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
 * A subscription to the whole address space is added. Returns its number. @wait is
 * for what does not call it: all that is in flight, and what joins a batch that
 * began before; nothing else, as that may be waiting for the subscriber.
 */
static inline unsigned int mmu_inflight_register(struct mmu_inflight *inflight,
						 struct mmu_inflight_wait *wait)
{
	/* 0 is not a number. */
	if (!++inflight->registered)
		inflight->registered++;
	/* A batch that nobody is in begins anew, if it may. */
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

/*
 * How many subscriptions an invalidation calls before it takes the lock again.
 * The torture module has fewer, to come by the lock more often.
 */
#ifndef MMU_CALLS
#define MMU_CALLS	32
#endif

/**
 * struct mmu_calls - the subscriptions that an invalidation calls next, without
 *	the lock
 * @at: the one that it is calling, or may be about to; nobody else may follow
 *	this pointer
 * @wanted: a removal has changed @subs, and may be waiting for @at to change
 * @nr: how many there are
 * @subs: in order; changed to %NULL by their removal, under the lock
 */
struct mmu_calls {
	struct mmu_interval_notifier *at;
	bool wanted;
	unsigned int nr;
	struct mmu_interval_notifier *subs[MMU_CALLS];
};

/*
 * The last call has returned. @sub, which was read from @subs, is next; %NULL for
 * none, or if it was crossed out. If @wanted is set then, @sub must be read anew.
 * Without the lock.
 */
static __always_inline void mmu_calls_go_on(struct mmu_calls *calls,
					    struct mmu_interval_notifier *sub)
{
	/*
	 * With full barriers. What the last callback did is visible to whoever
	 * finds that @at has changed. And either a removal finds @at here, or
	 * @wanted is found to be set, and that it has crossed @sub out.
	 */
	(void)xchg(&calls->at, sub);
}

/* To be looked at after mmu_calls_go_on(), without the lock */
static inline bool mmu_calls_wanted(const struct mmu_calls *calls)
{
	/* Compared in memory: no READ_ONCE(). It does not change back meanwhile. */
	return unlikely(data_race(calls->wanted));
}

/*
 * @sub is being removed: do not call it any more. The lock is held. A full barrier
 * must follow before mmu_calls_at().
 */
static inline void mmu_calls_cross_out(struct mmu_calls *calls,
				       const struct mmu_interval_notifier *sub)
{
	unsigned int i;

	for (i = 0; i < calls->nr; i++) {
		if (calls->subs[i] != sub)
			continue;
		WRITE_ONCE(calls->wanted, true);
		/* Whoever reads %NULL finds @wanted set. */
		smp_store_release(&calls->subs[i], NULL);
	}
}

/* Is @sub being called, for all that is known? If not, what that did is visible. */
static inline bool mmu_calls_at(const struct mmu_calls *calls,
				const struct mmu_interval_notifier *sub)
{
	/* Pairs with the barriers in mmu_calls_go_on(). */
	return smp_load_acquire(&calls->at) == sub;
}

#endif /* _MM_MMU_INTERVAL_STATE_H */
