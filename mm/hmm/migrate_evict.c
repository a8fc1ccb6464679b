// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Eviction of a range of device memory, for drivers that are unbound from a
 * device or short of its memory.
 *
 * Each pass over the range evicts the pages that can be migrated at that time.
 * Pages that are locked or referenced may be free in the next pass, so there
 * are several passes, with growing pauses while nothing moves. Concurrent CPU
 * faults help: they migrate pages back, too. The timeout is for tasks that
 * allocate device memory as fast as it is evicted.
 *
 * Bound in time: the timeout, plus the time for one batch of
 * MIGRATE_EVICT_BATCH pages. If nothing can be migrated, it ends sooner, after
 * MIGRATE_EVICT_IDLE_PASSES pauses of about a second in all.
 *
 * Bound in passes: a task that faults does not continue before its page is
 * back. So of the pages that T tasks fault back, a pass leaves at most one
 * folio for each task. Each later pass evicts one of these, or is one of at
 * most MIGRATE_EVICT_IDLE_PASSES + 1 consecutive passes that evict nothing. If
 * no task allocates device memory, or locks or pins its pages, the range is
 * empty after (T + 1) * (MIGRATE_EVICT_IDLE_PASSES + 1) passes.
 */
#include <linux/delay.h>
#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "migrate.h"

#include <trace/events/migrate_device.h>

#define MIGRATE_EVICT_BATCH		HPAGE_PMD_NR
#define MIGRATE_EVICT_IDLE_PASSES	10	/* the last pause is 2^9 ms */

/* The page may still point at the head of a folio that was freed. */
static bool migrate_evict_in_use(unsigned long pfn)
{
	const struct folio *folio = pfn_folio(pfn);

	return folio_ref_count(folio) && migrate_folio_has_pfn(folio, pfn);
}

static unsigned long migrate_evict_count_in_use(unsigned long pfn,
						unsigned long npages)
{
	unsigned long in_use = 0;

	while (npages--)
		in_use += migrate_evict_in_use(pfn++);
	return in_use;
}

/* Pages of the batch that have migrated; valid until they are finalized */
static unsigned long migrate_evict_count_moved(const unsigned long *src,
					       unsigned long npages)
{
	unsigned long i, moved = 0;

	for (i = 0; i < npages; i++)
		if (migrate_state_of(src[i]) == MIGRATE_ENTRY_LOCKED)
			moved += migrate_entry_pages(src[i]);
	return moved;
}

static void migrate_evict_supply(struct migrate_evict *evict,
				 unsigned long *src, unsigned long *dst,
				 unsigned long npages)
{
	struct migrate_vma migrate = {
		.src = src,
		.dst = dst,
		.npages = npages,
	};

	if (evict->supply) {
		evict->supply(evict, src, dst, npages);
		return;
	}
	migrate_fill(&migrate, false, NULL, NULL);
	if (evict->copy(evict->arg, src, dst, npages))
		migrate_discard(dst, npages);
}

static void migrate_evict_batch(struct migrate_evict *evict, unsigned long pfn,
				unsigned long npages, unsigned long *src)
{
	unsigned long *dst = src + MIGRATE_EVICT_BATCH;

	memset(dst, 0, npages * sizeof(*dst));
	migrate_device_range(src, pfn, npages);
	migrate_evict_supply(evict, src, dst, npages);
	migrate_device_pages(src, dst, npages);
	evict->moved += migrate_evict_count_moved(src, npages);
	migrate_device_finalize(src, dst, npages);
}

static bool migrate_evict_is_over(const struct migrate_evict *evict,
				  unsigned long deadline)
{
	return fatal_signal_pending(current) ||
	       (evict->timeout != MAX_SCHEDULE_TIMEOUT &&
		time_after_eq(jiffies, deadline));
}

/* Returns how many pages were in use when the pass reached them. */
static unsigned long migrate_evict_pass(struct migrate_evict *evict,
					unsigned long deadline,
					unsigned long *src)
{
	unsigned long pfn = evict->start, end = pfn + evict->npages, npages;
	unsigned long in_use, total = 0;

	for (; pfn < end; pfn += npages) {
		/* Batches are aligned as the largest folios are. */
		npages = min(ALIGN(pfn + 1, MIGRATE_EVICT_BATCH), end) - pfn;
		in_use = migrate_evict_count_in_use(pfn, npages);
		total += in_use;
		if (in_use && !migrate_evict_is_over(evict, deadline))
			migrate_evict_batch(evict, pfn, npages, src);
		cond_resched();
	}
	return total;
}

static enum migrate_holdout migrate_evict_why(unsigned long pfn)
{
	struct folio *folio = pfn_folio(pfn);

	if (folio_test_locked(folio))
		return MIGRATE_HELD_LOCKED;
	if (folio_ref_count(folio) != folio_expected_ref_count(folio))
		return MIGRATE_HELD_REFERENCED;
	return MIGRATE_HELD_NO_DESTINATION;
}

/* No lock is held: the callback's information may be out of date. */
static void migrate_evict_report(struct migrate_evict *evict)
{
	unsigned long pfn, end = evict->start + evict->npages;

	evict->remaining =
		migrate_evict_count_in_use(evict->start, evict->npages);
	if (!evict->remaining || !evict->holds_out)
		return;
	for (pfn = evict->start; pfn < end; pfn++)
		if (migrate_evict_in_use(pfn))
			evict->holds_out(evict, pfn, migrate_evict_why(pfn));
}

/**
 * migrate_device_evict() - migrate all pages of a range out of device memory
 * @evict: the range, the driver's callbacks, and the timeout
 *
 * Large folios migrate as a whole; those that are only partly in the range are
 * split.
 *
 * Makes passes over the range as long as pages migrate, and eleven more, with
 * pauses of about a second in all. With concurrent CPU faults of T tasks, there
 * are at most 11 * (T + 1) passes. Only tasks that allocate from the range
 * meanwhile can make it continue until &migrate_evict.timeout has passed.
 *
 * Context: Process context, may sleep. The caller holds no lock that
 * &migrate_evict.supply or ->copy, MMU notifier callbacks, or the driver's
 * folio_free() take. The range must not be removed meanwhile.
 *
 * Return: 0 if the range is empty; -EBUSY if pages remain, after calling
 * &migrate_evict.holds_out for each of them; -EINTR after a fatal signal;
 * -ENOMEM.
 */
int migrate_device_evict(struct migrate_evict *evict)
{
	unsigned long deadline = jiffies + evict->timeout;
	unsigned long *src, before;
	unsigned int idle = 0, passes = 0;
	int ret = 0;

	evict->moved = 0;
	src = kvmalloc_array(2 * MIGRATE_EVICT_BATCH, sizeof(*src), GFP_KERNEL);
	if (!src)
		return -ENOMEM;
	for (;;) {
		before = evict->moved;
		passes++;
		if (!migrate_evict_pass(evict, deadline, src) ||
		    migrate_evict_is_over(evict, deadline))
			break;
		if (evict->moved != before) {
			idle = 0;
			continue;
		}
		if (idle == MIGRATE_EVICT_IDLE_PASSES)
			break;
		msleep_interruptible(1U << idle++);
	}
	kvfree(src);
	migrate_evict_report(evict);
	if (evict->remaining)
		ret = fatal_signal_pending(current) ? -EINTR : -EBUSY;
	trace_migrate_evict(evict, passes, ret);
	return ret;
}
EXPORT_SYMBOL_GPL(migrate_device_evict);
