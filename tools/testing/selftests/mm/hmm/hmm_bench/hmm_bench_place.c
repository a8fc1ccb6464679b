// SPDX-License-Identifier: GPL-2.0
/*
 * What a driver does after a fault of its device on memory that belongs in the
 * device's own: the pages move there, and the device gets all of them. By
 * hmm_range_migrate(), and by the sequences of calls that do the same where
 * there is no such call. As for any migration here, nothing is copied; the
 * device's page table is a sum of the answers.
 */
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/sched.h>
#include <linux/slab.h>
#ifdef HAVE_RANGE_MIGRATE
#include <linux/hmm-migrate.h>
#endif

#include "hmm_bench.h"

/* The driver's lock, and what it does under it */

static bool place_invalidate(struct mmu_interval_notifier *notifier,
			     const struct mmu_notifier_range *range,
			     unsigned long cur_seq)
{
	struct bench_job *job = container_of(notifier, struct bench_job,
					     notifier);

	spin_lock(&job->holder.seq_lock);
	mmu_interval_set_seq(notifier, cur_seq);
	job->rounds++;
	spin_unlock(&job->holder.seq_lock);
	return true;
}

static const struct mmu_interval_notifier_ops place_notifier_ops = {
	.invalidate = place_invalidate,
};

static void read_answers(struct bench_job *job, const struct hmm_range *range)
{
	unsigned long nr = (range->end - range->start) >> PAGE_SHIFT, i;

	for (i = 0; i < nr; i++)
		if (range->hmm_pfns[i] & HMM_PFN_VALID)
			job->mapped += range->hmm_pfns[i];
}

/* Before and after */

int bench_place_arm(struct bench_job *job)
{
	bool events = job->call.flags & HMM_BENCH_EVENTS;
	struct migrate_vma *migrate = &job->migrate;
	unsigned long nr = job->call.npages;
	int rc;

	spin_lock_init(&job->holder.seq_lock);
	job->rounds = 0;
	job->mapped = 0;
	migrate->src = kvcalloc(2 * nr, sizeof(*migrate->src), GFP_KERNEL);
	if (!migrate->src)
		return -ENOMEM;
	migrate->dst = migrate->src + nr;
	bench_choose_memory(migrate, &job->call);
	rc = mmu_interval_notifier_insert(&job->notifier, job->mm,
					  job->range.start, nr << PAGE_SHIFT,
					  &place_notifier_ops);
	if (!rc && events) {
		rc = bench_events_begin();
		if (rc)
			mmu_interval_notifier_remove(&job->notifier);
	}
	if (rc)
		kvfree(migrate->src);
	return rc;
}

void bench_place_disarm(struct bench_job *job)
{
	if (job->call.flags & HMM_BENCH_EVENTS)
		bench_events_end(job->call.events);
	job->call.events[HMM_BENCH_ROUNDS] = job->rounds;
	mmu_interval_notifier_remove(&job->notifier);
	kvfree(job->migrate.src);
}

/* The caller leaves its memory alone meanwhile: the answers still hold. */
void bench_place_inspect(struct bench_job *job)
{
	struct hmm_bench_call *call = &job->call;
	unsigned long i;

	call->valid = 0;
	call->folio_order = UINT_MAX;
	for (i = 0; i < call->npages; i++) {
		unsigned long slot = job->range.hmm_pfns[i];
		struct folio *folio;

		if (!(slot & HMM_PFN_VALID))
			continue;
		folio = page_folio(hmm_pfn_to_page(slot));
		if (!folio_is_device_private(folio))
			continue;
		call->valid++;
		call->folio_order = min(call->folio_order, folio_order(folio));
	}
}

/* The calls that 7.3 has */

static int fault_once(struct bench_job *job, bool map)
{
	struct hmm_range *range = &job->range;
	int rc;

	range->notifier_seq = mmu_interval_read_begin(&job->notifier);
	mmap_read_lock(job->mm);
	rc = hmm_range_fault(range);
	mmap_read_unlock(job->mm);
	if (rc)
		return rc;

	spin_lock(&job->holder.seq_lock);
	if (mmu_interval_read_retry(&job->notifier, range->notifier_seq))
		rc = -EBUSY;
	else if (map)
		read_answers(job, range);
	spin_unlock(&job->holder.seq_lock);
	return rc;
}

static int fault(struct bench_job *job, bool map)
{
	int rc;

	do {
		rc = fault_once(job, map);
	} while (rc == -EBUSY && !fatal_signal_pending(current));
	return rc;
}

static int collect_locked(struct bench_job *job)
{
	struct migrate_vma *migrate = &job->migrate;
	int rc;

	migrate->start = job->range.start;
	migrate->end = job->range.end;
	migrate->vma = vma_lookup(job->mm, migrate->start);
	if (!migrate->vma || migrate->vma->vm_end < migrate->end)
		return -EFAULT;
	rc = migrate_vma_setup(migrate);
	if (rc)
		return rc;
	bench_supply(migrate, bench_device_alloc, BENCH_HOLES);
	migrate_vma_pages(migrate);
	migrate_vma_finalize(migrate);
	return 0;
}

static int collect(struct bench_job *job)
{
	int rc;

	mmap_read_lock(job->mm);
	rc = collect_locked(job);
	mmap_read_unlock(job->mm);
	return rc;
}

int bench_mirror(struct bench_job *job)
{
	return fault(job, true);
}

int bench_collect_fault(struct bench_job *job)
{
	return collect(job) ?: fault(job, true);
}

int bench_fault_collect(struct bench_job *job)
{
	return fault(job, false) ?: collect(job) ?: fault(job, true);
}

/* hmm_range_migrate() */

#ifdef HAVE_RANGE_MIGRATE
struct place {
	struct hmm_migrate hmm;
	struct bench_job *job;
};

static struct bench_job *job_of(struct hmm_migrate *hmm)
{
	return container_of(hmm, struct place, hmm)->job;
}

/* There is always enough. */
static int place_reserve(struct hmm_migrate *hmm, unsigned long npages)
{
	return 0;
}

static int place_copy(struct hmm_migrate *hmm, struct migrate_vma *part)
{
	bench_supply(part, bench_device_alloc, BENCH_HOLES);
	return 0;
}

static void place_lock(struct hmm_migrate *hmm)
{
	spin_lock(&job_of(hmm)->holder.seq_lock);
}

static void place_unlock(struct hmm_migrate *hmm)
{
	spin_unlock(&job_of(hmm)->holder.seq_lock);
}

static int place_map(struct hmm_migrate *hmm, struct hmm_range *part)
{
	read_answers(job_of(hmm), part);
	return 0;
}

static const struct hmm_migrate_ops place_ops = {
	.reserve = place_reserve,
	.copy = place_copy,
	.lock = place_lock,
	.unlock = place_unlock,
	.map = place_map,
};

int bench_place(struct bench_job *job)
{
	struct place place = {
		.hmm = {
			.range = job->range,
			.flags = job->migrate.flags &
				 ~MIGRATE_VMA_SELECT_SYSTEM,
			.src = job->migrate.src,
			.dst = job->migrate.dst,
		},
		.job = job,
	};

	return hmm_range_migrate(&place.hmm, &place_ops, MAX_SCHEDULE_TIMEOUT);
}
#else
int bench_place(struct bench_job *job)
{
	return job->call.flags & HMM_BENCH_FAULT_FIRST ?
		bench_fault_collect(job) : bench_collect_fault(job);
}
#endif
