/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Simulated threads that use interval subscriptions, to test the invariants of
 * the state machine in mm/mmu_interval_state.h.
 *
 * In each turn, one thread, chosen at random, executes one step. A step is what
 * mm/mmu_interval.c does in one critical section of the intervals' lock, or one
 * lockless read, or one operation of a driver, or a change of one page.
 * Whatever the order:
 *
 *   - a device has no other version of a page than the page table, and no page
 *     that is about to change;
 *   - no callback begins on a removed subscription, or accesses a freed one;
 *   - a removed subscription is freed when none of its callbacks is running,
 *     and not earlier, and waiters for that are woken;
 *   - sequences are odd and increase;
 *   - no callback sets the sequence with which a reader began before;
 *   - a reader or a resize waits for no invalidation that does not overlap, or
 *     that started later, and continues when the others have ended.
 *
 * Most slots for invalidations are in use from the start, so that some of those
 * in flight have none. The tree is not simulated. An invalidation visits
 * subscriptions in the order of the tree: by first address, then by age.
 *
 * A simulation that cannot fail proves nothing. Each enum sim_mutation breaks
 * one rule, in the simulation and not in the code under test.
 */
#ifndef _MM_TESTS_MMU_INTERVAL_SIM_H
#define _MM_TESTS_MMU_INTERVAL_SIM_H

#include <linux/mm.h>
#include <linux/string.h>

#include "../mmu_interval_state.h"
#include "../hmm/tests/random.h"

#define SIM_PAGES		8
#define SIM_SUBS		5
#define SIM_INVALIDATORS	3
#define SIM_READERS		3
#define SIM_CHANGERS		2
#define SIM_THREADS		(SIM_INVALIDATORS + SIM_READERS + SIM_CHANGERS)
#define SIM_AT_ONCE		2	/* subscriptions that are picked at once */
#define SIM_SECOND_PASSES	(4 * SIM_SUBS)	/* resizes repeat callbacks */
#define SIM_TRACE		16

enum sim_mutation {
	SIM_INTACT,
	SIM_READER_DOES_NOT_WAIT,
	SIM_READER_DOES_NOT_CHECK,
	SIM_READER_WAITS_FOR_ALL,
	SIM_CALLBACK_SETS_NO_SEQ,
	SIM_CALLBACK_ON_REMOVED,
	SIM_INVALIDATION_STARTS_LATE,
	SIM_INVALIDATION_ENDS_EARLY,
	SIM_READER_WAITS_FOR_LATER,
	SIM_READER_IGNORES_BATCHES,
	SIM_READER_USES_NEWEST_SEQ,
	SIM_SEQ_IS_USED_TWICE,
	SIM_NEXT_NOT_ADVANCED,
	SIM_REMOVAL_DOES_NOT_WAIT,
	SIM_INSERT_USES_LAST_SEQ,
	SIM_RESIZE_DOES_NOT_WAIT,
	SIM_RESIZE_KEEPS_SEQ,
	SIM_RESIZE_DOES_NOT_RESTART,
	SIM_RESTART_KEEPS_SEQ,
	SIM_CALL_DOES_NOT_READ_AGAIN,
	SIM_REMOVAL_IS_NOT_WOKEN,
	SIM_SECOND_PASS_IS_NOT_COUNTED,
	SIM_RESIZE_TRIMS_LATE,
	SIM_RESIZE_TRIMS_ONCE,
};

/**
 * struct sim_sub - a subscription and its driver
 * @sub: under test; page numbers are used as addresses
 * @id: unique, differs each time this struct is used again
 * @age: orders subscriptions with the same first address
 * @admit_first: first page that the driver maps for its device
 * @admit_last: last page that the driver maps for its device
 * @device: version of each page that the device has mapped; 0 for none
 * @running: number of callbacks and of second passes to come, in the model
 * @users: number of readers, which prevent a removal
 * @alive: false if the memory is freed
 * @in: in the tree
 * @removed: in the model
 * @async: freed after its last callback
 * @changing: a thread is removing or resizing it
 * @locked: the driver's lock
 */
struct sim_sub {
	struct mmu_interval_notifier sub;
	unsigned long id;
	unsigned long age;
	unsigned long admit_first;
	unsigned long admit_last;
	unsigned int device[SIM_PAGES];
	unsigned int running;
	unsigned int users;
	bool alive;
	bool in;
	bool removed;
	bool async;
	bool changing;
	bool locked;
};

enum sim_phase {
	SIM_IDLE,
	/* invalidators */
	SIM_NEXT, SIM_ADVANCE, SIM_RECHECK, SIM_CALL, SIM_SET_SEQ, SIM_DROP,
	SIM_RETURN, SIM_END_CALLS,
	SIM_SECOND, SIM_SECOND_DROP, SIM_SECOND_END, SIM_CHANGE, SIM_END,
	/* readers */
	SIM_ENTER, SIM_BEGIN, SIM_READ, SIM_LOCK, SIM_CHECK, SIM_COMMIT,
	/* changers: insert, remove and resize */
	SIM_WAIT_IDLE, SIM_TRIM, SIM_ENTER_RESIZE, SIM_RESIZE,
};

struct sim_call {
	struct sim_sub *sub;
	unsigned long id;
};

/**
 * struct sim_wait - a wait, and what the model allows it to wait for
 * @wait: under test
 * @seq: of the subscription, at entry
 * @ids: of the invalidations in flight that overlapped at entry; 0 for none
 */
struct sim_wait {
	struct mmu_inflight_wait wait;
	unsigned long seq;
	unsigned long ids[SIM_INVALIDATORS];
};

/**
 * struct sim_thread - a thread that invalidates, reads or changes subscriptions
 * @phase: its next step
 * @slow: it executes a step in one of so many turns
 * @first: its first page
 * @last: its last page
 * @at: the next page
 * @seq: of the invalidation, or from the start of a read
 * @sub: the subscription that is read or changed
 * @versions: the pages that were read
 * @slot: of the invalidation
 * @inflight: the number of the invalidation while it is in flight, in the model
 * @visiting: the invalidation is walking the tree
 * @restart: it must walk the tree again
 * @restarts: how often; once for each resize that began to wait before it
 * @wait: of a reader, or a resize
 * @woken: a removal must check whether its wait is over
 * @may_block: the invalidation may sleep: no callback fails
 * @failed: a callback has failed
 * @calls: under test: the picked subscriptions
 * @pos: the next one in @calls, or in @second
 * @next_call: the one that is called next
 * @current_call: the one that is being called
 * @next: the subscription after those in @calls
 * @nr_second: number of callbacks with a second pass to come
 * @second: the second passes
 */
struct sim_thread {
	enum sim_phase phase;
	unsigned int slow;
	unsigned long first;
	unsigned long last;
	unsigned long at;
	unsigned long seq;
	struct sim_sub *sub;
	unsigned int versions[SIM_PAGES];
	unsigned int slot;
	unsigned long inflight;
	bool visiting;
	bool restart;
	unsigned int restarts;
	struct sim_wait wait;
	bool woken;
	bool may_block;
	bool failed;
	struct mmu_calls calls;
	unsigned int pos;
	struct mmu_interval_notifier *next_call;
	struct sim_call current_call;
	struct sim_sub *next;
	unsigned int nr_second;
	struct sim_call second[SIM_SECOND_PASSES];
};

struct sim_step {
	unsigned int thread;
	enum sim_phase phase;
};

/**
 * struct sim - an address space, its subscriptions and the threads
 * @mutation: the rule that is broken
 * @rnd: source of all decisions
 * @inflight: under test
 * @reserved: slots that are in use from the start
 * @started: number of invalidations that have started
 * @seq: under test
 * @last_seq: the same in the model
 * @ids: number of subscriptions so far
 * @ages: number of insertions into the tree so far
 * @versions: the page table
 * @subs: the subscriptions
 * @threads: invalidators, then readers, then changers
 * @closing: threads finish, and begin nothing new
 * @wrong: the first error that was found, or %NULL
 * @nr_steps: steps so far
 * @trace: the last steps
 */
struct sim {
	enum sim_mutation mutation;
	struct test_random rnd;
	struct mmu_inflight inflight;
	unsigned long reserved;
	unsigned long started;
	unsigned long seq;
	unsigned long last_seq;
	unsigned long ids;
	unsigned long ages;
	unsigned int versions[SIM_PAGES];
	struct sim_sub subs[SIM_SUBS];
	struct sim_thread threads[SIM_THREADS];
	bool closing;
	const char *wrong;
	unsigned int nr_steps;
	struct sim_step trace[SIM_TRACE];
};

static inline void sim_fail(struct sim *sim, const char *what)
{
	if (!sim->wrong)
		sim->wrong = what;
}

static inline bool sim_one_in(struct sim *sim, unsigned int nr)
{
	return !test_random_below(&sim->rnd, nr);
}

static inline bool sim_overlaps(unsigned long first, unsigned long last,
				const struct sim_sub *s)
{
	return s->sub.interval_tree.start <= last &&
	       first <= s->sub.interval_tree.last;
}

/* A random range of at most @most pages */
static inline void sim_random_pages(struct sim *sim, unsigned long most,
				    unsigned long *first, unsigned long *last)
{
	*first = test_random_below(&sim->rnd, SIM_PAGES);
	*last = *first + test_random_below(&sim->rnd, most);
	if (*last >= SIM_PAGES)
		*last = SIM_PAGES - 1;
}

/* A new sequence, checked by the model */
static inline unsigned long sim_next_seq(struct sim *sim)
{
	unsigned long seq = mmu_seq_next(&sim->seq);

	if (sim->mutation == SIM_SEQ_IS_USED_TWICE && sim_one_in(sim, 2)) {
		sim->seq -= 2;
		return sim->seq;
	}
	if (!(seq & 1) || seq <= sim->last_seq)
		sim_fail(sim, "a sequence is even, or does not increase");
	sim->last_seq = seq;
	return seq;
}

static inline void sim_wait_enter(struct sim *sim, struct sim_wait *wait,
				  const struct sim_sub *s)
{
	unsigned int i;

	wait->seq = s->sub.invalidate_seq;
	mmu_inflight_wait_enter(&wait->wait, &sim->inflight,
				s->sub.interval_tree.start,
				s->sub.interval_tree.last);
	for (i = 0; i < SIM_INVALIDATORS; i++) {
		const struct sim_thread *t = &sim->threads[i];

		wait->ids[i] = t->inflight &&
			       sim_overlaps(t->first, t->last, s) ?
			       t->inflight : 0;
	}
}

/* Is an overlapping invalidation in flight that was at entry? */
static inline bool sim_has_reason(const struct sim *sim,
				  const struct sim_wait *wait)
{
	unsigned int i;

	for (i = 0; i < SIM_INVALIDATORS; i++)
		if (wait->ids[i] && wait->ids[i] == sim->threads[i].inflight)
			return true;
	return false;
}

/* Is an invalidation without a slot in flight? It may overlap anything. */
static inline bool sim_is_untracked(const struct sim *sim)
{
	unsigned int i;

	for (i = 0; i < SIM_INVALIDATORS; i++)
		if (sim->threads[i].inflight &&
		    sim->threads[i].slot >= MMU_SLOTS)
			return true;
	return false;
}

/* Must a reader, or a resize, continue to wait? */
static inline bool sim_waits(struct sim *sim, struct sim_wait *wait,
			     const struct sim_sub *s)
{
	bool waits;

	if (sim->mutation == SIM_READER_IGNORES_BATCHES)
		wait->wait.batches = false;
	waits = !mmu_inflight_wait_over(&wait->wait, &sim->inflight);
	if (sim->mutation == SIM_READER_WAITS_FOR_ALL)
		waits = sim->inflight.used & ~sim->reserved;
	if (sim->mutation == SIM_READER_WAITS_FOR_LATER && !waits) {
		sim_wait_enter(sim, wait, s);
		waits = wait->wait.slots;
		memset(wait->ids, 0, sizeof(wait->ids));
	}
	if (waits && !sim_has_reason(sim, wait) &&
	    !(wait->wait.batches && sim_is_untracked(sim)))
		sim_fail(sim, "a wait for invalidations that have ended");
	return waits;
}

static inline bool sim_lock(struct sim_sub *s)
{
	if (s->locked)
		return false;
	s->locked = true;
	return true;
}

static inline void sim_drop_pages(struct sim_sub *s, unsigned long first,
				  unsigned long last)
{
	for (; first <= last; first++)
		s->device[first] = 0;
}

/* Invalidators */

static inline bool sim_is_valid(struct sim *sim, const struct sim_call *call)
{
	if (call->sub->alive && call->sub->id == call->id)
		return true;
	sim_fail(sim, "a subscription is freed while it is in use");
	return false;
}

/* Is @a before @b in the tree? */
static inline bool sim_before(const struct sim_sub *a, const struct sim_sub *b)
{
	if (a->sub.interval_tree.start != b->sub.interval_tree.start)
		return a->sub.interval_tree.start < b->sub.interval_tree.start;
	return a->age < b->age;
}

/* The first overlapping subscription after @prev */
static inline struct sim_sub *sim_next_sub(struct sim *sim,
					   const struct sim_thread *t,
					   const struct sim_sub *prev)
{
	struct sim_sub *best = NULL;
	unsigned int i;

	for (i = 0; i < SIM_SUBS; i++) {
		struct sim_sub *s = &sim->subs[i];

		if (!s->in || !sim_overlaps(t->first, t->last, s))
			continue;
		if (prev && !sim_before(prev, s))
			continue;
		if (!best || sim_before(s, best))
			best = s;
	}
	return best;
}

/* Pick the subscriptions to call next, from @s on. */
static inline void sim_pick_subs(struct sim *sim, struct sim_thread *t,
				 struct sim_sub *s)
{
	unsigned int nr = 0;

	for (; s && nr < SIM_AT_ONCE; s = sim_next_sub(sim, t, s)) {
		if (!s->in)
			sim_fail(sim, "an invalidation calls what has left the tree");
		t->calls.subs[nr++] = &s->sub;
	}
	t->calls.nr = nr;
	t->calls.wanted = false;
	t->next = s;
	t->pos = 0;
	t->visiting = true;
	t->phase = SIM_NEXT;
}

/* As mmu_interval_runs(): is a callback running? */
static inline bool sim_runs(const struct sim *sim, const struct sim_sub *s)
{
	unsigned int i;

	for (i = 0; i < SIM_INVALIDATORS; i++) {
		const struct sim_thread *t = &sim->threads[i];

		if (t->visiting && mmu_calls_at(&t->calls, &s->sub))
			return true;
	}
	return atomic_read(&s->sub.state.second_passes);
}

/* A callback has ended for which a removal may wait. */
static inline void sim_called_back(struct sim *sim)
{
	unsigned int i;

	for (i = 0; i < SIM_SUBS; i++) {
		struct sim_sub *s = &sim->subs[i];

		if (s->alive && s->removed && s->async && !sim_runs(sim, s))
			s->alive = false;
	}
	for (i = 0; i < SIM_THREADS; i++)
		sim->threads[i].woken = true;
}

/* The last callback has returned: advance to the next. */
static inline void sim_advance(struct sim *sim, struct sim_thread *t)
{
	if (t->current_call.sub && sim_is_valid(sim, &t->current_call))
		t->current_call.sub->running--;
	t->current_call.sub = NULL;
	mmu_calls_advance(&t->calls, t->next_call);
	t->phase = SIM_RECHECK;
}

static inline void sim_recheck(struct sim *sim, struct sim_thread *t)
{
	bool end = t->pos == t->calls.nr;
	struct sim_sub *s;

	if (mmu_calls_wanted(&t->calls)) {
		sim_called_back(sim);
		if (!end && sim->mutation != SIM_CALL_DOES_NOT_READ_AGAIN)
			t->next_call = t->calls.subs[t->pos];
	}
	t->phase = end ? SIM_END_CALLS : SIM_NEXT;
	t->pos++;
	if (!t->next_call)
		return;
	s = container_of(t->next_call, struct sim_sub, sub);
	if (s->removed)
		sim_fail(sim, "a callback begins on a removed subscription");
	t->current_call = (struct sim_call){ .sub = s, .id = s->id };
	s->running++;
	t->phase = SIM_CALL;
}

static inline void sim_start(struct sim *sim, struct sim_thread *t)
{
	struct sim_sub *s;

	sim_random_pages(sim, 3, &t->first, &t->last);
	t->may_block = !sim_one_in(sim, 4);
	t->failed = false;
	t->inflight = ++sim->started;
	t->restart = false;
	t->restarts = 0;
	t->nr_second = 0;
	t->current_call.sub = NULL;
	t->slot = 0;
	if (sim->mutation != SIM_INVALIDATION_STARTS_LATE)
		t->slot = mmu_inflight_start(&sim->inflight, t->first, t->last);
	t->at = t->first;
	t->pos = 0;
	t->phase = SIM_SECOND;
	s = sim_next_sub(sim, t, NULL);
	if (!s)
		return;
	t->seq = sim_next_seq(sim);
	sim_pick_subs(sim, t, s);
}

static inline void sim_call(struct sim *sim, struct sim_thread *t)
{
	struct sim_call *call = &t->current_call;

	if (!sim_is_valid(sim, call))
		return;
	if (!t->may_block && sim_one_in(sim, 4)) {
		t->failed = true;
		t->pos = t->calls.nr;
		t->phase = SIM_NEXT;
	} else if (sim_lock(call->sub)) {
		t->phase = SIM_SET_SEQ;
	}
}

/* A callback has set a sequence, which no reader may have got before. */
static inline void sim_check_readers(struct sim *sim, const struct sim_sub *s,
				     const struct sim_thread *by)
{
	unsigned int i;

	for (i = SIM_INVALIDATORS; i < SIM_INVALIDATORS + SIM_READERS; i++) {
		const struct sim_thread *t = &sim->threads[i];

		if (t->sub == s && t->phase >= SIM_READ &&
		    t->first <= by->last && by->first <= t->last &&
		    t->seq == s->sub.invalidate_seq)
			sim_fail(sim, "a callback sets a reader's sequence");
	}
}

static inline void sim_set_seq(struct sim *sim, struct sim_thread *t)
{
	struct sim_sub *s = t->current_call.sub;

	if (sim->mutation != SIM_CALLBACK_SETS_NO_SEQ) {
		mmu_interval_set_seq(&s->sub, t->seq);
		sim_check_readers(sim, s, t);
	}
	if (t->nr_second < SIM_SECOND_PASSES && sim_one_in(sim, 3)) {
		t->second[t->nr_second++] = t->current_call;
		if (sim->mutation != SIM_SECOND_PASS_IS_NOT_COUNTED)
			atomic_inc(&s->sub.state.second_passes);
		s->running++;
		s->locked = false;
		t->phase = SIM_NEXT;
		return;
	}
	t->phase = SIM_DROP;
}

/* Remove it from the tree. False if a callback is running. */
static inline bool sim_unlink(struct sim *sim, struct sim_sub *s, bool async)
{
	unsigned int i;

	for (i = 0; i < SIM_INVALIDATORS; i++) {
		struct sim_thread *t = &sim->threads[i];

		if (!t->visiting)
			continue;
		if (t->next == s && sim->mutation != SIM_NEXT_NOT_ADVANCED)
			t->next = sim_next_sub(sim, t, s);
		if (sim->mutation != SIM_CALLBACK_ON_REMOVED)
			mmu_calls_clear(&t->calls, &s->sub);
		if (sim->mutation == SIM_REMOVAL_IS_NOT_WOKEN)
			t->calls.wanted = false;
	}
	s->sub.state.removed = true;
	s->changing = true;
	s->async = async;
	s->removed = true;
	s->in = false;
	return !sim_runs(sim, s);
}

/* The end of a callback, which may remove its own subscription. */
static inline void sim_return(struct sim *sim, struct sim_thread *t)
{
	struct sim_sub *s = t->current_call.sub;

	s->locked = false;
	if (!s->users && !s->changing && sim_one_in(sim, 8) &&
	    sim_unlink(sim, s, true))
		sim_fail(sim, "a running callback is not seen");
	t->phase = SIM_NEXT;
}

static inline void sim_end_calls(struct sim *sim, struct sim_thread *t)
{
	struct sim_sub *next = t->next;

	if (t->restart && sim->mutation != SIM_RESIZE_DOES_NOT_RESTART) {
		if (sim->mutation != SIM_RESTART_KEEPS_SEQ)
			t->seq = sim_next_seq(sim);
		next = sim_next_sub(sim, t, NULL);
	}
	t->restart = false;
	if (next && !t->failed) {
		sim_pick_subs(sim, t, next);
		return;
	}
	t->visiting = false;
	t->pos = 0;
	t->phase = SIM_SECOND;
}

static inline void sim_second(struct sim *sim, struct sim_thread *t)
{
	if (t->pos < t->nr_second) {
		if (sim_is_valid(sim, &t->second[t->pos]) &&
		    sim_lock(t->second[t->pos].sub))
			t->phase = SIM_SECOND_DROP;
		return;
	}
	if (sim->mutation == SIM_INVALIDATION_STARTS_LATE)
		t->slot = mmu_inflight_start(&sim->inflight, t->first, t->last);
	if (sim->mutation == SIM_INVALIDATION_ENDS_EARLY)
		mmu_inflight_end(&sim->inflight, t->slot);
	t->phase = t->failed ? SIM_END : SIM_CHANGE;
}

static inline void sim_second_end(struct sim *sim, struct sim_sub *s)
{
	if (sim->mutation != SIM_SECOND_PASS_IS_NOT_COUNTED)
		atomic_dec(&s->sub.state.second_passes);
	s->running--;
	if (s->sub.state.removed)
		sim_called_back(sim);
}

static inline void sim_end(struct sim *sim, struct sim_thread *t)
{
	if (sim->mutation != SIM_INVALIDATION_ENDS_EARLY)
		mmu_inflight_end(&sim->inflight, t->slot);
	t->inflight = 0;
	t->phase = SIM_IDLE;
}

static inline void sim_invalidate(struct sim *sim, struct sim_thread *t)
{
	switch (t->phase) {
	case SIM_IDLE:
		if (!sim->closing)
			sim_start(sim, t);
		break;
	case SIM_NEXT:
		t->next_call = t->pos < t->calls.nr ?
			       READ_ONCE(t->calls.subs[t->pos]) : NULL;
		t->phase = SIM_ADVANCE;
		break;
	case SIM_ADVANCE:
		sim_advance(sim, t);
		break;
	case SIM_RECHECK:
		sim_recheck(sim, t);
		break;
	case SIM_CALL:
		sim_call(sim, t);
		break;
	case SIM_SET_SEQ:
		sim_set_seq(sim, t);
		break;
	case SIM_DROP:
		sim_drop_pages(t->current_call.sub, t->first, t->last);
		t->phase = SIM_RETURN;
		break;
	case SIM_RETURN:
		sim_return(sim, t);
		break;
	case SIM_END_CALLS:
		sim_end_calls(sim, t);
		break;
	case SIM_SECOND:
		sim_second(sim, t);
		break;
	case SIM_SECOND_DROP:
		sim_drop_pages(t->second[t->pos].sub, t->first, t->last);
		t->second[t->pos].sub->locked = false;
		t->phase = SIM_SECOND_END;
		break;
	case SIM_SECOND_END:
		sim_second_end(sim, t->second[t->pos++].sub);
		t->phase = SIM_SECOND;
		break;
	case SIM_CHANGE:
		sim->versions[t->at]++;
		if (t->at++ == t->last)
			t->phase = SIM_END;
		break;
	default:
		sim_end(sim, t);
		break;
	}
}

/* Readers */

/* A subscription that is not being removed or, with @whole, changed at all */
static inline struct sim_sub *sim_random_sub(struct sim *sim, bool whole)
{
	struct sim_sub *s = &sim->subs[test_random_below(&sim->rnd, SIM_SUBS)];

	if (!s->alive || s->removed)
		return NULL;
	return whole && s->changing ? NULL : s;
}

static inline void sim_read_begin(struct sim *sim, struct sim_thread *t)
{
	const struct mmu_interval_notifier *sub = &t->sub->sub;

	if (sim->mutation != SIM_READER_DOES_NOT_WAIT &&
	    sim_waits(sim, &t->wait, t->sub))
		return;
	t->seq = mmu_seq_after_wait(&sim->inflight, sub->interval_tree.start,
				    sub->interval_tree.last,
				    sub->invalidate_seq, t->wait.seq);
	if (sim->mutation == SIM_READER_USES_NEWEST_SEQ)
		t->seq = sub->invalidate_seq;
	t->first = t->sub->sub.interval_tree.start;
	t->last = t->sub->sub.interval_tree.last;
	t->at = t->first;
	t->phase = SIM_READ;
}

static inline void sim_commit(struct sim_thread *t)
{
	struct sim_sub *s = t->sub;
	unsigned long page;

	for (page = t->first; page <= t->last; page++)
		if (page >= s->admit_first && page <= s->admit_last)
			s->device[page] = t->versions[page];
	s->locked = false;
	s->users--;
	t->phase = SIM_IDLE;
}

static inline void sim_read(struct sim *sim, struct sim_thread *t)
{
	switch (t->phase) {
	case SIM_IDLE:
		t->sub = sim->closing ? NULL : sim_random_sub(sim, false);
		if (!t->sub)
			break;
		t->sub->users++;
		t->phase = SIM_ENTER;
		break;
	case SIM_ENTER:
		sim_wait_enter(sim, &t->wait, t->sub);
		t->phase = SIM_BEGIN;
		break;
	case SIM_BEGIN:
		sim_read_begin(sim, t);
		break;
	case SIM_READ:
		t->versions[t->at] = sim->versions[t->at];
		if (t->at++ == t->last)
			t->phase = SIM_LOCK;
		break;
	case SIM_LOCK:
		if (sim_lock(t->sub))
			t->phase = SIM_CHECK;
		break;
	case SIM_CHECK:
		t->phase = SIM_COMMIT;
		if (sim->mutation != SIM_READER_DOES_NOT_CHECK &&
		    mmu_interval_read_retry(&t->sub->sub, t->seq)) {
			t->sub->locked = false;
			t->phase = SIM_ENTER;
		}
		break;
	default:
		sim_commit(t);
		break;
	}
}

/* Changers: insert, remove and resize */

static inline void sim_insert(struct sim *sim)
{
	struct sim_sub *s = &sim->subs[test_random_below(&sim->rnd, SIM_SUBS)];
	bool old_seq = sim->mutation == SIM_INSERT_USES_LAST_SEQ;
	unsigned long last_seq = sim->last_seq;

	if (s->alive)
		return;
	*s = (struct sim_sub){
		.id = ++sim->ids,
		.age = ++sim->ages,
		.alive = true,
		.in = true,
	};
	sim_random_pages(sim, 5, &s->admit_first, &s->admit_last);
	s->sub.interval_tree.start = s->admit_first;
	s->sub.interval_tree.last = s->admit_last;
	s->sub.invalidate_seq = old_seq ? sim->seq : sim_next_seq(sim);
	/* A reader from before a removal may have it. */
	if (s->sub.invalidate_seq <= last_seq)
		sim_fail(sim, "a new subscription has an old sequence");
}

static inline void sim_remove(struct sim *sim, struct sim_thread *t, bool async)
{
	struct sim_sub *s = t->sub;

	if (sim_unlink(sim, s, async) ||
	    sim->mutation == SIM_REMOVAL_DOES_NOT_WAIT) {
		s->alive = false;
	} else if (!async) {
		t->woken = true;
		t->phase = SIM_WAIT_IDLE;
	}
}

static inline void sim_change(struct sim *sim, struct sim_thread *t)
{
	unsigned int what = test_random_below(&sim->rnd, 8);

	if (what < 3) {
		sim_insert(sim);
		return;
	}
	t->sub = sim_random_sub(sim, true);
	if (!t->sub)
		return;
	if (what < 5) {
		if (!t->sub->users)
			sim_remove(sim, t, what == 4);
		return;
	}
	t->sub->changing = true;
	sim_random_pages(sim, 5, &t->first, &t->last);
	t->phase = sim->mutation == SIM_RESIZE_TRIMS_LATE ? SIM_ENTER_RESIZE :
							    SIM_TRIM;
}

/*
 * Before a resize, the driver unmaps what is outside of the new range, and maps
 * nothing outside of it any more: there will be callbacks for the new range
 * only.
 */
static inline void sim_trim(struct sim *sim, struct sim_thread *t)
{
	bool late = sim->mutation == SIM_RESIZE_TRIMS_LATE;
	struct sim_sub *s = t->sub;
	unsigned long page;

	if (!sim_lock(s))
		return;
	for (page = 0; page < SIM_PAGES; page++)
		if (page < t->first || page > t->last)
			s->device[page] = 0;
	if (sim->mutation != SIM_RESIZE_TRIMS_ONCE) {
		s->admit_first = t->first;
		s->admit_last = t->last;
	}
	s->locked = false;
	s->changing = !late;
	t->phase = late ? SIM_IDLE : SIM_ENTER_RESIZE;
}

/* Invalidations that are walking the tree must not miss what moves. */
static inline void sim_restart(struct sim *sim, const struct sim_sub *s)
{
	unsigned int i;

	for (i = 0; i < SIM_INVALIDATORS; i++) {
		struct sim_thread *t = &sim->threads[i];

		if (!t->visiting || !sim_overlaps(t->first, t->last, s))
			continue;
		t->restart = true;
		if (++t->restarts > SIM_CHANGERS)
			sim_fail(sim, "resizes restart an invalidation forever");
	}
}

static inline void sim_resize(struct sim *sim, struct sim_thread *t)
{
	struct sim_sub *s = t->sub;

	if (sim->mutation != SIM_RESIZE_DOES_NOT_WAIT &&
	    sim_waits(sim, &t->wait, s))
		return;
	sim_restart(sim, s);
	s->sub.interval_tree.start = t->first;
	s->sub.interval_tree.last = t->last;
	s->age = ++sim->ages;
	if (sim->mutation != SIM_RESIZE_KEEPS_SEQ)
		s->sub.invalidate_seq = sim_next_seq(sim);
	if (sim->mutation == SIM_RESIZE_TRIMS_LATE) {
		t->phase = SIM_TRIM;
		return;
	}
	s->admit_first = t->first;
	s->admit_last = t->last;
	s->changing = false;
	t->phase = SIM_IDLE;
}

static inline void sim_subscribe(struct sim *sim, struct sim_thread *t)
{
	switch (t->phase) {
	case SIM_IDLE:
		if (!sim->closing)
			sim_change(sim, t);
		break;
	case SIM_TRIM:
		sim_trim(sim, t);
		break;
	case SIM_ENTER_RESIZE:
		sim_wait_enter(sim, &t->wait, t->sub);
		t->phase = SIM_RESIZE;
		break;
	case SIM_RESIZE:
		sim_resize(sim, t);
		break;
	default:
		if (!t->woken)
			break;
		t->woken = !sim_runs(sim, t->sub);
		if (!t->woken)
			break;
		t->sub->alive = false;
		t->phase = SIM_IDLE;
		break;
	}
}

/* All together */

static inline void sim_check(struct sim *sim)
{
	unsigned int i, page;

	for (i = 0; i < SIM_SUBS; i++) {
		const struct sim_sub *s = &sim->subs[i];

		if (!s->alive)
			continue;
		if (s->running && !sim_runs(sim, s))
			sim_fail(sim, "a running callback is not seen");
		if (s->removed)
			continue;
		for (page = 0; page < SIM_PAGES; page++)
			if (s->device[page] &&
			    s->device[page] != sim->versions[page])
				sim_fail(sim, "a device has a stale page");
	}
}

static inline void sim_step(struct sim *sim, unsigned int nr)
{
	struct sim_step *step = &sim->trace[sim->nr_steps % SIM_TRACE];
	struct sim_thread *t = &sim->threads[nr];
	enum sim_phase before = t->phase;

	if (nr < SIM_INVALIDATORS)
		sim_invalidate(sim, t);
	else if (nr < SIM_INVALIDATORS + SIM_READERS)
		sim_read(sim, t);
	else
		sim_subscribe(sim, t);
	sim_check(sim);

	if (before == t->phase && !sim->wrong)
		return;
	*step = (struct sim_step){ .thread = nr, .phase = before };
	sim->nr_steps++;
}

static inline bool sim_all_idle(const struct sim *sim)
{
	unsigned int i;

	for (i = 0; i < SIM_THREADS; i++)
		if (sim->threads[i].phase != SIM_IDLE)
			return false;
	return true;
}

/* Liveness: all threads can finish. */
static inline void sim_close(struct sim *sim)
{
	unsigned int i;

	sim->closing = true;
	for (i = 0; i < 1000 && !sim->wrong && !sim_all_idle(sim); i++)
		sim_step(sim, i % SIM_THREADS);
	if (!sim_all_idle(sim))
		sim_fail(sim, "threads wait forever");
	for (i = 0; i < SIM_SUBS; i++)
		if (sim->subs[i].alive && sim->subs[i].removed)
			sim_fail(sim, "a removed subscription is never freed");
	sim->closing = false;
}

/* Run with @seed for about @nr_turns turns. False if something was wrong. */
static inline bool sim_run(struct sim *sim, enum sim_mutation mutation,
			   unsigned int seed, unsigned int nr_turns)
{
	unsigned int turn, nr;

	memset(sim, 0, sizeof(*sim));
	sim->mutation = mutation;
	sim->rnd.state = seed * 2654435761U | 1;
	sim->seq = MMU_FIRST_SEQ;
	sim->last_seq = MMU_FIRST_SEQ;
	/* Two or three slots are free. */
	sim->reserved = ~0UL << (2 + seed % 2);
	sim->inflight.used = sim->reserved;
	for (nr = 0; nr < MMU_SLOTS; nr++)
		sim->inflight.slots[nr].first = ~0UL;
	for (nr = 0; nr < SIM_PAGES; nr++)
		sim->versions[nr] = 1;

	for (turn = 0; turn < nr_turns && !sim->wrong; turn++) {
		/* From time to time, other threads are the slow ones. */
		if (!(turn % 64)) {
			for (nr = 0; nr < SIM_THREADS; nr++)
				sim->threads[nr].slow = sim_one_in(sim, 3) ?
							256 : 1;
			if (sim_one_in(sim, 16))
				sim_close(sim);
		}
		nr = test_random_below(&sim->rnd, SIM_THREADS);
		if (sim_one_in(sim, sim->threads[nr].slow))
			sim_step(sim, nr);
	}
	if (!sim->wrong)
		sim_close(sim);
	return !sim->wrong;
}

#endif /* _MM_TESTS_MMU_INTERVAL_SIM_H */
