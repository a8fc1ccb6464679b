// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Emptying device memory: what a driver needs when it is unbound from a device,
 * or short of its memory.
 *
 * A pass moves what can be had at that moment. Who is locked or referenced just
 * then may be had in the next one, so there are several, with pauses that grow
 * while nothing moves. CPU faults on the way are help: they bring pages back as
 * well. Against others who fill the memory as fast as it is emptied there is the
 * deadline.
 *
 * The bound. The longest that it takes is the time given, and what one batch
 * takes, which is MIGRATE_EVICT_BATCH pages. It is over sooner, after
 * IDLE_PASSES pauses that add up to about a second, when nothing can be moved.
 *
 * In passes: nobody who faults goes on before his page is back, so that of what T
 * tasks fault back, a pass leaves no more than a folio for each. Those are all
 * that there is for later passes, each of which moves one, or is one of at most
 * IDLE_PASSES + 1 in a row that do not. If nothing arrives, and nobody else has
 * hold of a page, it is over after (T + 1) * (IDLE_PASSES + 1) passes, and the
 * range is empty.
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

#define MIGRATE_EVICT_BATCH	HPAGE_PMD_NR
#define IDLE_PASSES		10	/* the last pause is 2^9 ms */

static bool is_in_use(unsigned long pfn)
{
	return folio_ref_count(pfn_folio(pfn));
}

static unsigned long pages_in_use(unsigned long pfn, unsigned long npages)
{
	unsigned long in_use = 0;

	while (npages--)
		in_use += is_in_use(pfn++);
	return in_use;
}

/* Pages of the batch that have moved; asked before they are let go */
static unsigned long pages_moved(const unsigned long *src, unsigned long npages)
{
	unsigned long i, moved = 0;

	for (i = 0; i < npages; i++)
		if (migrate_state_of(src[i]) == MIGRATE_TAKEN)
			moved += migrate_entry_pages(src[i]);
	return moved;
}

static void evict_batch(struct migrate_evict *evict, unsigned long pfn,
			unsigned long npages, unsigned long *src)
{
	unsigned long *dst = src + MIGRATE_EVICT_BATCH;

	memset(dst, 0, npages * sizeof(*dst));
	migrate_device_range(src, pfn, npages);
	evict->supply(evict, src, dst, npages);
	migrate_device_pages(src, dst, npages);
	evict->moved += pages_moved(src, npages);
	migrate_device_finalize(src, dst, npages);
}

static bool is_over(const struct migrate_evict *evict, unsigned long deadline)
{
	return fatal_signal_pending(current) ||
	       (evict->timeout != MAX_SCHEDULE_TIMEOUT &&
		time_after_eq(jiffies, deadline));
}

/* Returns how many pages were in use when they were come by. */
static unsigned long evict_pass(struct migrate_evict *evict,
				unsigned long deadline, unsigned long *src)
{
	unsigned long pfn = evict->start, end = pfn + evict->npages, npages;
	unsigned long in_use, total = 0;

	for (; pfn < end; pfn += npages) {
		/* Batches begin where the largest folios do. */
		npages = min(ALIGN(pfn + 1, MIGRATE_EVICT_BATCH), end) - pfn;
		in_use = pages_in_use(pfn, npages);
		total += in_use;
		if (in_use && !is_over(evict, deadline))
			evict_batch(evict, pfn, npages, src);
		cond_resched();
	}
	return total;
}

static enum migrate_holdout why_held(unsigned long pfn)
{
	struct folio *folio = pfn_folio(pfn);

	if (folio_test_locked(folio))
		return MIGRATE_HELD_LOCKED;
	if (folio_ref_count(folio) != folio_expected_ref_count(folio))
		return MIGRATE_HELD_REFERENCED;
	return MIGRATE_HELD_NO_DESTINATION;
}

/* The answers are as good as those of any look at what nobody holds still. */
static void report(struct migrate_evict *evict)
{
	unsigned long pfn, end = evict->start + evict->npages;

	evict->remaining = pages_in_use(evict->start, evict->npages);
	if (!evict->remaining || !evict->holds_out)
		return;
	for (pfn = evict->start; pfn < end; pfn++)
		if (is_in_use(pfn))
			evict->holds_out(evict, pfn, why_held(pfn));
}

/**
 * migrate_device_evict() - bring all pages of a range of device memory back
 * @evict: the range, how to do it, and how long
 *
 * Large folios go as a whole, those that are only partly in the range are split.
 *
 * It goes over the range again and again: as long as pages move, and eleven times
 * more, with pauses of about a second in all. Tasks whose CPU faults bring pages
 * back at the same time do no harm: T of them make it at most 11 * (T + 1) times.
 * Only those who fill the range meanwhile can make it go on until
 * &migrate_evict.timeout has passed.
 *
 * Context: Process context, may sleep. Nothing is held that &migrate_evict.supply,
 * callbacks of MMU notifiers, or the driver's folio_free() take. The range stays
 * in place.
 *
 * Return: 0 if the range is empty; -EBUSY if pages hold out, and then
 * &migrate_evict.holds_out has been told which and why; -EINTR if the calling task
 * is being killed; -ENOMEM.
 */
int migrate_device_evict(struct migrate_evict *evict)
{
	unsigned long deadline = jiffies + evict->timeout;
	unsigned long *src, before;
	unsigned int idle = 0;

	evict->moved = 0;
	src = kvmalloc_array(2 * MIGRATE_EVICT_BATCH, sizeof(*src), GFP_KERNEL);
	if (!src)
		return -ENOMEM;
	for (;;) {
		before = evict->moved;
		if (!evict_pass(evict, deadline, src) || is_over(evict, deadline))
			break;
		if (evict->moved != before) {
			idle = 0;
			continue;
		}
		if (idle == IDLE_PASSES)
			break;
		msleep_interruptible(1U << idle++);
	}
	kvfree(src);
	report(evict);
	if (!evict->remaining)
		return 0;
	return fatal_signal_pending(current) ? -EINTR : -EBUSY;
}
EXPORT_SYMBOL_GPL(migrate_device_evict);
