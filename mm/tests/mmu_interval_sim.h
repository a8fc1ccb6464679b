/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Simulated threads that use interval subscriptions, to find out whether the
 * state machine in mm/mmu_interval_state.h keeps what it promises.
 *
 * Threads take turns, one step at a time, as a random number says. A step is
 * what mm/mmu_interval.c does while it holds the lock of the intervals, or one
 * look at what others change, or one thing that a driver does, or that happens to
 * one page. Whatever the order:
 *
 *   - a device holds no other version of a page than the page table does, and
 *     nothing of a page that is about to change;
 *   - no callback begins on a removed subscription, nor touches one that was let
 *     go;
 *   - a removed subscription is let go once none of its callbacks runs, and only
 *     then, and those who wait for that are woken;
 *   - sequences are odd, and each is higher than those before;
 *   - no callback gives a reader the sequence again that it began with;
 *   - a reader or a resize waits for no invalidation that does not overlap, nor
 *     for one that started later, and goes on once the others have ended.
 *
 * Most slots for invalidations are used up beforehand, so that some of those in
 * flight have none. The tree is not part of this. An invalidation goes from
 * subscription to subscription in the tree's order: by first address, then by age.
 *
 * A simulation that cannot fail proves nothing. Each enum sim_mutation breaks
 * one rule, here and not in what is tested.
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
#define SIM_AT_ONCE		2	/* subscriptions that are chosen at once */
#define SIM_SECOND_PASSES	(4 * SIM_SUBS)	/* a resize has callbacks come twice */
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
	SIM_READER_TAKES_NEWEST_SEQ,
	SIM_SEQ_IS_USED_TWICE,
	SIM_NEXT_IS_LET_GO,
	SIM_REMOVAL_DOES_NOT_WAIT,
	SIM_INSERT_TAKES_THE_LAST_SEQ,
	SIM_RESIZE_DOES_NOT_WAIT,
	SIM_RESIZE_KEEPS_SEQ,
	SIM_RESIZE_DOES_NOT_RESTART,
	SIM_RESTART_KEEPS_SEQ,
	SIM_CALL_DOES_NOT_LOOK_ANEW,
	SIM_REMOVAL_IS_NOT_WOKEN,
	SIM_SECOND_PASS_IS_NOT_COUNTED,
	SIM_RESIZE_TRIMS_LATE,
	SIM_RESIZE_TRIMS_ONCE,
};

/**
 * struct sim_sub - a subscription and the driver that has it
 * @sub: what is tested; its pages are addresses
 * @id: of this life of the slot
 * @age: orders subscriptions with the same first address
 * @admit_first: the driver lets its device have pages from here
 * @admit_last: to here
 * @device: version of each page that the device has; 0 for none
 * @running: callbacks and second passes to come, as the model counts them
 * @users: readers, who keep it from being removed
 * @alive: false: the memory is freed
 * @in: in the tree
 * @removed: as the model has it
 * @async: freed by the last one that calls it
 * @changing: somebody removes or resizes it
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
	SIM_NEXT, SIM_GO_ON, SIM_LOOK, SIM_CALL, SIM_SET_SEQ, SIM_TAKE,
	SIM_RETURN, SIM_END_CALLS,
	SIM_SECOND, SIM_SECOND_TAKE, SIM_SECOND_END, SIM_CHANGE, SIM_END,
	/* readers */
	SIM_ENTER, SIM_BEGIN, SIM_READ, SIM_LOCK, SIM_CHECK, SIM_COMMIT,
	/* those who insert, remove and resize */
	SIM_WAIT_IDLE, SIM_TRIM, SIM_ENTER_RESIZE, SIM_RESIZE,
};

struct sim_call {
	struct sim_sub *sub;
	unsigned long id;
};

/**
 * struct sim_wait - a wait, and what it may be for according to the model
 * @wait: what is tested
 * @seq: of the subscription, at entry
 * @ids: of the invalidations in flight that overlapped at entry; 0 for none
 */
struct sim_wait {
	struct mmu_inflight_wait wait;
	unsigned long seq;
	unsigned long ids[SIM_INVALIDATORS];
};

/**
 * struct sim_thread - one that invalidates, reads or changes subscriptions
 * @phase: what it does next
 * @slow: a step is taken in one of so many turns
 * @first: of the pages that it is about
 * @last: of the pages that it is about
 * @at: the page that is next
 * @seq: of the invalidation, or from the reader's begin
 * @sub: whom a reader, or who changes, deals with
 * @versions: what a reader has read
 * @slot: of the invalidation
 * @inflight: its number if it has started and not ended, as the model has it
 * @visiting: it is on its way through the tree
 * @restart: it must begin with the tree again
 * @restarts: how often; once for each resize that has waited since before it
 * @wait: of a reader, or a resize
 * @woken: a removal looks whether it must wait on
 * @may_block: it may sleep: no callback fails
 * @failed: one has
 * @calls: what is tested: those that were chosen
 * @pos: the one among them, or of @second, that is next
 * @next_call: the one that it goes on to
 * @current_call: the one that is being called
 * @next: where it goes on after them
 * @nr_second: callbacks that wait for the second pass
 * @second: those for the second pass
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
 * struct sim - an address space, its subscribers and all who work on it
 * @mutation: the rule that is broken
 * @rnd: decides everything
 * @inflight: what is tested
 * @reserved: slots that are used up beforehand
 * @started: invalidations that ever were
 * @seq: what is tested
 * @last_seq: the model's
 * @ids: subscriptions that ever were
 * @ages: times that one was put into the tree
 * @versions: the page table
 * @subs: the subscriptions
 * @threads: invalidators, then readers, then changers
 * @closing: nobody begins anything new
 * @wrong: what was found to be wrong, %NULL for nothing
 * @nr_steps: steps so far
 * @trace: the last of them
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

static inline void sim_wrong(struct sim *sim, const char *what)
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

/* Some pages, @most at most */
static inline void sim_some_pages(struct sim *sim, unsigned long most,
				  unsigned long *first, unsigned long *last)
{
	*first = test_random_below(&sim->rnd, SIM_PAGES);
	*last = *first + test_random_below(&sim->rnd, most);
	if (*last >= SIM_PAGES)
		*last = SIM_PAGES - 1;
}

/* A new sequence, as the model sees it */
static inline unsigned long sim_next_seq(struct sim *sim)
{
	unsigned long seq = mmu_seq_next(&sim->seq);

	if (sim->mutation == SIM_SEQ_IS_USED_TWICE && sim_one_in(sim, 2)) {
		sim->seq -= 2;
		return sim->seq;
	}
	if (!(seq & 1) || seq <= sim->last_seq)
		sim_wrong(sim, "a sequence is even, or no higher than the last");
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

/* Is one in flight that was at entry, and overlaps? */
static inline bool sim_has_reason(const struct sim *sim,
				  const struct sim_wait *wait)
{
	unsigned int i;

	for (i = 0; i < SIM_INVALIDATORS; i++)
		if (wait->ids[i] && wait->ids[i] == sim->threads[i].inflight)
			return true;
	return false;
}

/* Is one in flight that has no slot? It overlaps everything, for all one knows. */
static inline bool sim_is_untracked(const struct sim *sim)
{
	unsigned int i;

	for (i = 0; i < SIM_INVALIDATORS; i++)
		if (sim->threads[i].inflight &&
		    sim->threads[i].slot >= MMU_SLOTS)
			return true;
	return false;
}

/* Must a reader, or a resize, wait on? */
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
		sim_wrong(sim, "one waits, and those that it is for have ended");
	return waits;
}

static inline bool sim_lock(struct sim_sub *s)
{
	if (s->locked)
		return false;
	s->locked = true;
	return true;
}

static inline void sim_take(struct sim_sub *s, unsigned long first,
			    unsigned long last)
{
	for (; first <= last; first++)
		s->device[first] = 0;
}

/* Invalidators */

static inline bool sim_is_there(struct sim *sim, const struct sim_call *call)
{
	if (call->sub->alive && call->sub->id == call->id)
		return true;
	sim_wrong(sim, "a subscription is gone while somebody is using it");
	return false;
}

/* Is @a in front of @b in the tree? */
static inline bool sim_before(const struct sim_sub *a, const struct sim_sub *b)
{
	if (a->sub.interval_tree.start != b->sub.interval_tree.start)
		return a->sub.interval_tree.start < b->sub.interval_tree.start;
	return a->age < b->age;
}

/* The first of the subscriptions that overlap and are behind @prev in order */
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

/* Choose what is called next, from @s on. */
static inline void sim_choose(struct sim *sim, struct sim_thread *t,
			      struct sim_sub *s)
{
	unsigned int nr = 0;

	for (; s && nr < SIM_AT_ONCE; s = sim_next_sub(sim, t, s)) {
		if (!s->in)
			sim_wrong(sim, "an invalidation goes on with what is out");
		t->calls.subs[nr++] = &s->sub;
	}
	t->calls.nr = nr;
	t->calls.wanted = false;
	t->next = s;
	t->pos = 0;
	t->visiting = true;
	t->phase = SIM_NEXT;
}

/* What mm/mmu_interval.c goes by to tell whether a callback runs */
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

/* A callback has ended that somebody may be waiting for. */
static inline void sim_called(struct sim *sim)
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

/* The last callback has returned: on to the next. */
static inline void sim_go_on(struct sim *sim, struct sim_thread *t)
{
	if (t->current_call.sub && sim_is_there(sim, &t->current_call))
		t->current_call.sub->running--;
	t->current_call.sub = NULL;
	mmu_calls_advance(&t->calls, t->next_call);
	t->phase = SIM_LOOK;
}

static inline void sim_look(struct sim *sim, struct sim_thread *t)
{
	bool end = t->pos == t->calls.nr;
	struct sim_sub *s;

	if (mmu_calls_wanted(&t->calls)) {
		sim_called(sim);
		if (!end && sim->mutation != SIM_CALL_DOES_NOT_LOOK_ANEW)
			t->next_call = t->calls.subs[t->pos];
	}
	t->phase = end ? SIM_END_CALLS : SIM_NEXT;
	t->pos++;
	if (!t->next_call)
		return;
	s = container_of(t->next_call, struct sim_sub, sub);
	if (s->removed)
		sim_wrong(sim, "a callback begins on a removed subscription");
	t->current_call = (struct sim_call){ .sub = s, .id = s->id };
	s->running++;
	t->phase = SIM_CALL;
}

static inline void sim_start(struct sim *sim, struct sim_thread *t)
{
	struct sim_sub *s;

	sim_some_pages(sim, 3, &t->first, &t->last);
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
	sim_choose(sim, t, s);
}

static inline void sim_call(struct sim *sim, struct sim_thread *t)
{
	struct sim_call *call = &t->current_call;

	if (!sim_is_there(sim, call))
		return;
	if (!t->may_block && sim_one_in(sim, 4)) {
		t->failed = true;
		t->pos = t->calls.nr;
		t->phase = SIM_NEXT;
	} else if (sim_lock(call->sub)) {
		t->phase = SIM_SET_SEQ;
	}
}

/* A callback has set a sequence, which no reader may have from before. */
static inline void sim_check_readers(struct sim *sim, const struct sim_sub *s,
				     const struct sim_thread *by)
{
	unsigned int i;

	for (i = SIM_INVALIDATORS; i < SIM_INVALIDATORS + SIM_READERS; i++) {
		const struct sim_thread *t = &sim->threads[i];

		if (t->sub == s && t->phase >= SIM_READ &&
		    t->first <= by->last && by->first <= t->last &&
		    t->seq == s->sub.invalidate_seq)
			sim_wrong(sim, "a sequence has come back to a reader");
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
	t->phase = SIM_TAKE;
}

/* Take it out of the tree. False if somebody is calling it still. */
static inline bool sim_take_out(struct sim *sim, struct sim_sub *s, bool async)
{
	unsigned int i;

	for (i = 0; i < SIM_INVALIDATORS; i++) {
		struct sim_thread *t = &sim->threads[i];

		if (!t->visiting)
			continue;
		if (t->next == s && sim->mutation != SIM_NEXT_IS_LET_GO)
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
	    sim_take_out(sim, s, true))
		sim_wrong(sim, "a callback runs, and nobody knows");
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
		sim_choose(sim, t, next);
		return;
	}
	t->visiting = false;
	t->pos = 0;
	t->phase = SIM_SECOND;
}

static inline void sim_second(struct sim *sim, struct sim_thread *t)
{
	if (t->pos < t->nr_second) {
		if (sim_is_there(sim, &t->second[t->pos]) &&
		    sim_lock(t->second[t->pos].sub))
			t->phase = SIM_SECOND_TAKE;
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
		sim_called(sim);
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
		t->phase = SIM_GO_ON;
		break;
	case SIM_GO_ON:
		sim_go_on(sim, t);
		break;
	case SIM_LOOK:
		sim_look(sim, t);
		break;
	case SIM_CALL:
		sim_call(sim, t);
		break;
	case SIM_SET_SEQ:
		sim_set_seq(sim, t);
		break;
	case SIM_TAKE:
		sim_take(t->current_call.sub, t->first, t->last);
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
	case SIM_SECOND_TAKE:
		sim_take(t->second[t->pos].sub, t->first, t->last);
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

/* A subscription that nobody removes or, with @whole, deals with at all */
static inline struct sim_sub *sim_pick(struct sim *sim, bool whole)
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
	if (sim->mutation == SIM_READER_TAKES_NEWEST_SEQ)
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
		t->sub = sim->closing ? NULL : sim_pick(sim, false);
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

/* Those who insert, remove and resize */

static inline void sim_insert(struct sim *sim)
{
	struct sim_sub *s = &sim->subs[test_random_below(&sim->rnd, SIM_SUBS)];
	bool old_seq = sim->mutation == SIM_INSERT_TAKES_THE_LAST_SEQ;
	unsigned long last_seq = sim->last_seq;

	if (s->alive)
		return;
	*s = (struct sim_sub){
		.id = ++sim->ids,
		.age = ++sim->ages,
		.alive = true,
		.in = true,
	};
	sim_some_pages(sim, 5, &s->admit_first, &s->admit_last);
	s->sub.interval_tree.start = s->admit_first;
	s->sub.interval_tree.last = s->admit_last;
	s->sub.invalidate_seq = old_seq ? sim->seq : sim_next_seq(sim);
	/* A reader may have left with it before a removal. */
	if (s->sub.invalidate_seq <= last_seq)
		sim_wrong(sim, "a new subscription has an old sequence");
}

static inline void sim_remove(struct sim *sim, struct sim_thread *t, bool async)
{
	struct sim_sub *s = t->sub;

	if (sim_take_out(sim, s, async) ||
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
	t->sub = sim_pick(sim, true);
	if (!t->sub)
		return;
	if (what < 5) {
		if (!t->sub->users)
			sim_remove(sim, t, what == 4);
		return;
	}
	t->sub->changing = true;
	sim_some_pages(sim, 5, &t->first, &t->last);
	t->phase = sim->mutation == SIM_RESIZE_TRIMS_LATE ? SIM_ENTER_RESIZE :
							    SIM_TRIM;
}

/*
 * What the device must not have once the subscription is resized is taken from
 * it, and not let in any more, before: the new range is all that is looked
 * after from then on.
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

/* Invalidations on their way through the tree must not miss what moves there. */
static inline void sim_restart(struct sim *sim, const struct sim_sub *s)
{
	unsigned int i;

	for (i = 0; i < SIM_INVALIDATORS; i++) {
		struct sim_thread *t = &sim->threads[i];

		if (!t->visiting || !sim_overlaps(t->first, t->last, s))
			continue;
		t->restart = true;
		if (++t->restarts > SIM_CHANGERS)
			sim_wrong(sim, "resizes do not let an invalidation finish");
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

/* The whole */

static inline void sim_check(struct sim *sim)
{
	unsigned int i, page;

	for (i = 0; i < SIM_SUBS; i++) {
		const struct sim_sub *s = &sim->subs[i];

		if (!s->alive)
			continue;
		if (s->running && !sim_runs(sim, s))
			sim_wrong(sim, "a callback runs, and nobody knows");
		if (s->removed)
			continue;
		for (page = 0; page < SIM_PAGES; page++)
			if (s->device[page] &&
			    s->device[page] != sim->versions[page])
				sim_wrong(sim, "a device has a page that has changed");
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

/* Liveness: all can finish what they have begun. */
static inline void sim_close(struct sim *sim)
{
	unsigned int i;

	sim->closing = true;
	for (i = 0; i < 1000 && !sim->wrong && !sim_all_idle(sim); i++)
		sim_step(sim, i % SIM_THREADS);
	if (!sim_all_idle(sim))
		sim_wrong(sim, "threads wait for ever");
	for (i = 0; i < SIM_SUBS; i++)
		if (sim->subs[i].alive && sim->subs[i].removed)
			sim_wrong(sim, "a removed subscription is kept for ever");
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
	/* Two slots are left, or three. */
	sim->reserved = ~0UL << (2 + seed % 2);
	sim->inflight.used = sim->reserved;
	for (nr = 0; nr < MMU_SLOTS; nr++)
		sim->inflight.slots[nr].first = ~0UL;
	for (nr = 0; nr < SIM_PAGES; nr++)
		sim->versions[nr] = 1;

	for (turn = 0; turn < nr_turns && !sim->wrong; turn++) {
		/* Now and then, others become the slow ones. */
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
