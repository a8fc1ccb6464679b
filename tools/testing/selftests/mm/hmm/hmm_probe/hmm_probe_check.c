// SPDX-License-Identifier: GPL-2.0
/*
 * A call judged by the oracle.
 *
 * Contract of a snapshot: each slot holds what the oracle sees, and the sticky
 * flags that the caller left in it.
 *
 * Contract of a call with requests: it returns 0 if and only if all requests
 * can be met. After 0, each requested page is VALID, and WRITE if that was
 * requested; each slot holds what the oracle sees now; and a page without a
 * request was neither mapped nor made writable, unless one mapping covers it
 * and a requested page: a folio, or the window around a file page that one
 * fault maps. The slot of such a page may still say that nothing is there:
 * it may have been written before the fault, and a page that appears where
 * none was is not notified.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "hmm_probe.h"

/* Pages to each side of a file page that one read fault may map with it. */
#define FAULT_AROUND_PAGES	(SZ_64K >> PAGE_SHIFT)

/* Looks that must agree before a snapshot between them is judged. */
#define MAX_UNSTABLE_LOOKS	100

/**
 * struct judge - the two looks at a range and the verdict
 * @job: the call
 * @check: where the verdict goes
 * @owner: dev_private_owner of the call
 * @before: the oracle before the call
 * @after: and after it
 * @impossible: a requested page can only give -EFAULT
 * @forbidden: a page is requested for write that can only give -EPERM
 * @doubtful: a requested page may give -EFAULT: what its driver maps may turn
 *	out to be nothing for us
 */
struct judge {
	struct probe_job *job;
	struct hmm_probe_check *check;
	void *owner;
	struct oracle_page *before;
	struct oracle_page *after;
	bool impossible;
	bool forbidden;
	bool doubtful;
};

static struct mm_struct *job_mm(struct probe_job *job)
{
	return job->mirror->notifier.mm;
}

static bool verdict(struct judge *judge, enum hmm_probe_mismatch mismatch,
		    unsigned long i, u64 expected, u64 got)
{
	struct hmm_probe_check *check = judge->check;

	check->mismatch = mismatch;
	check->index = i;
	check->expected = expected;
	check->got = got;
	check->kind_before = judge->before[i].kind;
	check->kind_after = judge->after[i].kind;
	return mismatch == HMM_PROBE_MATCH;
}

/* The slot is right if it has the value, and the order that was asked for. */
static bool slot_is_right(struct judge *judge, unsigned long i)
{
	struct probe_job *job = judge->job;
	struct oracle_page *page = &judge->after[i];
	unsigned long got = job->slots[i] & ~HMM_PROBE_STICKY;
	unsigned long addr = job->addr + (i << PAGE_SHIFT);
	unsigned long order;

	if (!(job->flags & HMM_PROBE_WANT_ORDER) && got == page->value)
		return true;
	if (!(job->flags & (HMM_PROBE_WANT_ORDER | HMM_PROBE_SPARSE)))
		return false;
	order = oracle_whole_order(job_mm(job), addr, page, job->addr,
				   job->npages);
	return got == (page->value | order << HMM_PFN_ORDER_SHIFT);
}

static bool same_state(struct judge *judge)
{
	unsigned long i;

	for (i = 0; i < judge->job->npages; i++)
		if (judge->before[i].value != judge->after[i].value)
			return false;
	return true;
}

static bool wants_fault(struct probe_job *job, unsigned long i)
{
	unsigned long request = job->requests[i] & job->range.pfn_flags_mask;

	return (request | job->range.default_flags) & HMM_PFN_REQ_FAULT;
}

static bool wants_write(struct probe_job *job, unsigned long i)
{
	unsigned long request = job->requests[i] & job->range.pfn_flags_mask;

	return wants_fault(job, i) &&
	       (request | job->range.default_flags) & HMM_PFN_REQ_WRITE;
}

/* Absent when the call began, and not requested: 0 was right at the time. */
static bool slot_may_lag(struct judge *judge, unsigned long i)
{
	struct probe_job *job = judge->job;

	return !wants_fault(job, i) && !judge->before[i].value &&
	       !(job->slots[i] & ~HMM_PROBE_STICKY);
}

/* Sparse output as it would be otherwise: a slot with an order speaks for more. */
static void spread(struct probe_job *job)
{
	unsigned long i, at, nr;

	for (i = 0; i < job->npages; i += nr) {
		unsigned long slot = job->slots[i];
		unsigned long size = 1UL << hmm_pfn_to_map_order(slot);

		/* Its block ends where an address is a multiple of its size. */
		nr = size - ((job->addr >> PAGE_SHIFT) + i) % size;
		nr = min(nr, job->npages - i);
		for (at = i + 1; at < i + nr; at++)
			job->slots[at] = (job->requests[at] & HMM_PROBE_STICKY) |
					 ((slot & ~HMM_PROBE_STICKY) + at - i);
	}
}

static bool values_match(struct judge *judge)
{
	struct probe_job *job = judge->job;
	unsigned long i;

	for (i = 0; i < job->npages; i++) {
		u64 kept = job->slots[i] & HMM_PROBE_STICKY;
		u64 given = job->requests[i] & HMM_PROBE_STICKY;

		if (!slot_is_right(judge, i) && !slot_may_lag(judge, i))
			return verdict(judge, HMM_PROBE_MISMATCH_VALUE, i,
				       judge->after[i].value, job->slots[i]);
		if (kept != given)
			return verdict(judge, HMM_PROBE_MISMATCH_STICKY, i,
				       given, kept);
	}
	return true;
}

/* Which errors do the requests call for, by the state before the call? */
static void predict(struct judge *judge)
{
	struct probe_job *job = judge->job;
	unsigned long i;

	judge->impossible = false;
	judge->forbidden = false;
	judge->doubtful = false;
	for (i = 0; i < job->npages; i++) {
		struct oracle_page *page = &judge->before[i];

		if (!wants_fault(job, i))
			continue;
		if (page->value & HMM_PFN_ERROR)
			judge->impossible = true;
		if (page->kind == HMM_PROBE_KIND_NONE && page->mixed)
			judge->doubtful = true;
		if (wants_write(job, i) && !page->may_write &&
		    page->kind != HMM_PROBE_KIND_UNFIT)
			judge->forbidden = true;
	}
}

static bool rc_is_predicted(struct judge *judge)
{
	int rc = judge->job->rc;

	if (rc == -EFAULT && judge->doubtful)
		return true;
	if (!judge->impossible && !judge->forbidden)
		return !rc;
	return (rc == -EFAULT && judge->impossible) ||
	       (rc == -EPERM && judge->forbidden);
}

static int predicted_rc(struct judge *judge)
{
	if (judge->impossible)
		return -EFAULT;
	return judge->forbidden ? -EPERM : 0;
}

static bool requests_met(struct judge *judge)
{
	struct probe_job *job = judge->job;
	unsigned long i;

	for (i = 0; i < job->npages; i++) {
		unsigned long want = 0;

		if (wants_fault(job, i))
			want |= HMM_PFN_VALID;
		if (wants_write(job, i))
			want |= HMM_PFN_WRITE;
		if ((job->slots[i] & want) != want)
			return verdict(judge, HMM_PROBE_MISMATCH_UNMET, i,
				       want, job->slots[i]);
	}
	return true;
}

/*
 * One mapping may have covered page @i and the requested page @j: the folio of
 * @i as it lies now reaches @j, or the window around @j in a file, which takes
 * in large folios as a whole. That @j has another folio by now means nothing,
 * a write fault may have copied it after the mapping was made.
 */
static bool mapped_with(struct judge *judge, unsigned long i, unsigned long j)
{
	struct page *page = hmm_pfn_to_page(judge->after[i].value);
	struct folio *folio = page_folio(page);
	unsigned long place = folio_page_idx(folio, page);
	unsigned long around = judge->after[i].file ? FAULT_AROUND_PAGES - 1 : 0;

	return i <= j + place + around &&
	       j + place < i + folio_nr_pages(folio) + around;
}

static bool explained(struct judge *judge, unsigned long i,
		      bool (*wants)(struct probe_job *job, unsigned long i))
{
	unsigned long j;

	for (j = 0; j < judge->job->npages; j++)
		if (wants(judge->job, j) && mapped_with(judge, i, j))
			return true;
	return false;
}

/*
 * Where the kernel itself decides what comes along, a page says nothing: the
 * driver behind a device page brings back as much as it likes, and a
 * migration ends when it ends.
 */
static bool says_nothing(const struct oracle_page *before)
{
	return before->kind == HMM_PROBE_KIND_PRIVATE ||
	       before->kind == HMM_PROBE_KIND_MIGRATION;
}

static bool nothing_else_mapped(struct judge *judge)
{
	struct probe_job *job = judge->job;
	unsigned long i;

	for (i = 0; i < job->npages; i++) {
		unsigned long before = judge->before[i].value;
		unsigned long after = judge->after[i].value;

		if (says_nothing(&judge->before[i]))
			continue;
		if (!wants_fault(job, i) && !(before & HMM_PFN_VALID) &&
		    after & HMM_PFN_VALID && !explained(judge, i, wants_fault))
			return verdict(judge, HMM_PROBE_MISMATCH_POPULATED, i,
				       before, after);
		if (!wants_write(job, i) && before & HMM_PFN_VALID &&
		    !(before & HMM_PFN_WRITE) && after & HMM_PFN_WRITE &&
		    !explained(judge, i, wants_write))
			return verdict(judge, HMM_PROBE_MISMATCH_UPGRADED, i,
				       before, after);
	}
	return true;
}

/* Under the mmap lock, after a call that gave 0. */
static void settle_fault(struct probe_job *job)
{
	struct judge *judge = job->private;

	oracle_look_range(job_mm(job), job->addr, job->npages, judge->owner,
			  judge->after);
	if (job->flags & HMM_PROBE_SPARSE)
		spread(job);
	verdict(judge, HMM_PROBE_MATCH, 0, 0, 0);
	if (!requests_met(judge) || !values_match(judge))
		return;
	nothing_else_mapped(judge);
}

static int judge_init(struct judge *judge, struct probe_job *job,
		      struct hmm_probe_check *check)
{
	judge->job = job;
	judge->check = check;
	judge->owner = job->range.dev_private_owner;
	judge->before = kvcalloc(job->npages, sizeof(*judge->before),
				 GFP_KERNEL);
	judge->after = kvcalloc(job->npages, sizeof(*judge->after),
				GFP_KERNEL);
	if (judge->before && judge->after)
		return 0;
	kvfree(judge->before);
	kvfree(judge->after);
	return -ENOMEM;
}

static void judge_exit(struct judge *judge)
{
	kvfree(judge->before);
	kvfree(judge->after);
}

int probe_check_fault(struct probe_job *job, struct hmm_probe_check *check)
{
	struct mm_struct *mm = job_mm(job);
	struct judge judge;
	int rc = judge_init(&judge, job, check);

	if (rc)
		return rc;
	rc = mmap_read_lock_killable(mm);
	if (rc)
		goto out;
	oracle_look_range(mm, job->addr, job->npages, judge.owner,
			  judge.before);
	mmap_read_unlock(mm);

	predict(&judge);
	job->settle = settle_fault;
	job->private = &judge;
	probe_job_run(job);
	if (!rc_is_predicted(&judge))
		verdict(&judge, HMM_PROBE_MISMATCH_RC, 0,
			predicted_rc(&judge), job->rc);
	else if (job->rc)
		verdict(&judge, HMM_PROBE_MATCH, 0, 0, 0);
out:
	judge_exit(&judge);
	return rc;
}

/*
 * The state can change under the mmap lock: reclaim, migration, another
 * thread's fault. A snapshot is judged when two looks around it agree.
 */
static int snapshot_between_looks(struct judge *judge)
{
	struct probe_job *job = judge->job;
	struct mm_struct *mm = job_mm(job);

	job->range.notifier_seq =
		mmu_interval_read_begin(&job->mirror->notifier);
	guard(mmap_read_lock)(mm);

	oracle_look_range(mm, job->addr, job->npages, judge->owner,
			  judge->before);
	memcpy(job->slots, job->requests, job->npages * sizeof(*job->slots));
	job->rc = hmm_range_fault(&job->range);
	oracle_look_range(mm, job->addr, job->npages, judge->owner,
			  judge->after);
	if (job->rc == -EBUSY || !same_state(judge))
		return -EAGAIN;

	if (job->flags & HMM_PROBE_SPARSE)
		spread(job);
	verdict(judge, HMM_PROBE_MATCH, 0, 0, 0);
	if (job->rc)
		verdict(judge, HMM_PROBE_MISMATCH_RC, 0, 0, job->rc);
	else
		values_match(judge);
	return 0;
}

int probe_check_snapshot(struct probe_job *job, struct hmm_probe_check *check)
{
	struct judge judge;
	int rc = judge_init(&judge, job, check);
	int tries = 0;
	bool again;

	if (rc)
		return rc;
	do {
		rc = snapshot_between_looks(&judge);
		/* Orders are not in the looks: a folio may just be split. */
		again = rc == -EAGAIN ||
			check->mismatch == HMM_PROBE_MISMATCH_VALUE;
		job->collisions += again;
	} while (again && ++tries < MAX_UNSTABLE_LOOKS);
	judge_exit(&judge);
	return rc;
}
