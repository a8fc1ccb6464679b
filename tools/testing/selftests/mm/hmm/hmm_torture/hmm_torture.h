/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Torture of the MMU notifiers: what the parts of the module share.
 *
 * Vocabulary:
 *   arena	HMM_TORTURE_PAGES pages of the process, which it changes all the
 *		time
 *   mirror	what a subscription's device would have: the PFNs of pages that
 *		may be written to. While its lock is held, the page table must
 *		map just these PFNs.
 *   slot	the place of a subscription. Readers and resizers hold it for
 *		reading, inserters and removers for writing.
 *   copy	a second, possibly broken build of the notifiers inside of this
 *		module: see hmm_torture_feed.c
 */
#ifndef _HMM_TORTURE_H
#define _HMM_TORTURE_H

#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "hmm_torture_uapi.h"

/* So many that an invalidation meets several, and has to find its way on. */
#define TORTURE_SLOTS	24

struct torture_sub;

struct torture_slot {
	struct rw_semaphore sem;
	struct torture_sub *sub;
};

/**
 * struct torture_range - an invalidation in the copy
 * @link: in &torture.inflight, or in &torture.refused for good
 * @of: the real one
 * @range: the copy's
 */
struct torture_range {
	struct list_head link;
	const struct mmu_notifier_range *of;
	struct mmu_notifier_range range;
};

/**
 * struct torture - one process under torture
 * @real: its address space
 * @mm: the address space as the notifiers under torture know it
 * @start: where the arena begins
 * @seed: of @dice
 * @quiet: nothing is removed
 * @crowd: what is invalidated outside of the arena takes long
 * @ending: nothing is inserted any more; set before the slots are emptied
 * @dice: how many random numbers were drawn
 * @slots: where subscriptions are
 * @subs: how many have not been buried yet
 * @idle: woken when there are none
 * @dead_lock: of @dead, @nr_dead and @dead_listers
 * @dead: removed subscriptions, kept for a while to detect calls of them
 * @nr_dead: how many
 * @dead_listers: subscriptions to the whole address space that are gone, or
 *	that could not be registered
 * @sleeper: subscribed with @crowd, and sleeps
 * @gate: tells the copy of starts
 * @tail: tells the copy of ends
 * @inflight_lock: of @inflight and @refused
 * @inflight: invalidations that the copy has accepted the start of
 * @refused: what it has refused; kept, in case it has not let go
 */
struct torture {
	struct mm_struct *real;
	struct mm_struct *mm;
	unsigned long start;
	u32 seed;
	bool quiet;
	bool crowd;
	bool ending;
	atomic_t dice;
	struct torture_slot slots[TORTURE_SLOTS];
	atomic_t subs;
	wait_queue_head_t idle;
	spinlock_t dead_lock;	/* of the next three */
	struct list_head dead;
	unsigned int nr_dead;
	struct list_head dead_listers;
	struct mmu_notifier sleeper;
	struct mmu_notifier gate;
	struct mmu_notifier tail;
	spinlock_t inflight_lock;	/* of the next two */
	struct list_head inflight;
	struct list_head refused;
};

/**
 * struct torture_sub - a subscription and its mirror
 * @magic: whether it is alive
 * @notifier: the subscription
 * @torture: whose
 * @slot: where it was inserted
 * @two_pass: which callbacks it has
 * @moved: it was resized, or is being: callbacks may come for the old range
 * @running: callbacks that have begun and not ended, second passes included
 * @released: how often release was called
 * @resizing: held during a resize
 * @lock: the driver's lock, of all that follows
 * @first: first page that may be mirrored
 * @last: last one
 * @pfns: the mirror; 0 for pages that are not in it
 * @dead_link: in &torture.dead
 */
struct torture_sub {
	unsigned long magic;
	struct mmu_interval_notifier notifier;
	struct torture *torture;
	struct torture_slot *slot;
	bool two_pass;
	bool moved;
	atomic_t running;
	atomic_t released;
	struct mutex resizing;	/* one at a time */
	struct mutex lock;	/* the driver's, of all that follows */
	unsigned int first;
	unsigned int last;
	unsigned long pfns[HMM_TORTURE_PAGES];
	struct list_head dead_link;
};

/* hmm_torture_main.c */
void torture_fail(const char *what);
void torture_count(enum hmm_torture_count what);
u32 torture_dice(struct torture *torture, u32 sides);

/* hmm_torture_sub.c */
int torture_insert(struct torture *torture, struct torture_slot *slot,
		   gfp_t gfp);
void torture_remove(struct torture_sub *sub);
void torture_remove_async(struct torture_sub *sub);
void torture_drop(struct torture_sub *sub, unsigned int first,
		  unsigned int last);
void torture_free_dead(struct torture *torture);

/* hmm_torture_ops.c */
int torture_do(struct torture *torture, enum hmm_torture_op op);
unsigned long torture_pfn_by_gup(unsigned long address);
unsigned long torture_pfn_now(unsigned long address);

/* hmm_torture_list.c */
int torture_list(struct torture *torture);
void torture_free_dead_listers(struct torture *torture);
int torture_gather(struct torture *torture);
void torture_disperse(struct torture *torture);

#ifdef HMM_TORTURE_COPY
#define TORTURE_COPY	1

/* hmm_torture_copy.c */
struct mm_struct *torture_copy_mm(void);
void torture_copy_mm_free(struct mm_struct *mm);
int torture_copy_begin(struct torture *torture, struct torture_range *copied,
		       bool blockable);
void torture_copy_end(struct torture *torture, struct torture_range *copied);
void torture_copy_exit(struct mm_struct *mm);
int torture_noop(struct torture *torture);
int torture_long(struct torture *torture);
int torture_unbalanced(struct torture *torture);

/* hmm_torture_feed.c */
int torture_feed(struct torture *torture);
void torture_starve(struct torture *torture);

#else
#define TORTURE_COPY	0

static inline int torture_noop(struct torture *torture)
{
	return -EOPNOTSUPP;
}

static inline int torture_long(struct torture *torture)
{
	return -EOPNOTSUPP;
}

static inline int torture_unbalanced(struct torture *torture)
{
	return -EOPNOTSUPP;
}

static inline int torture_feed(struct torture *torture)
{
	torture->mm = torture->real;
	return 0;
}

static inline void torture_starve(struct torture *torture)
{
}

#endif /* HMM_TORTURE_COPY */

#endif /* _HMM_TORTURE_H */
