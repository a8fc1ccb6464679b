// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hmm_range_migrate(): fault and migrate in one walk.
 *
 * The range is handled in parts. A part is in one VMA, and usually that is all
 * of the range. How one part goes:
 *
 *	begin: sequence, lock
 *	  |
 *	  v      page missing, and no hole
 *	look ------------------------------> fault --> look
 *	  |   |
 *	  |   `-- nothing may move ----------------------------------> map
 *	  v
 *	collect, within an invalidation of our own
 *	  |   `-- page missing: the part ends here
 *	  v
 *	unmap, copy, install: as for migrate_vma_*()  --> map --> finalize
 *
 * Looking is the walk of hmm_range_fault(), which records answers and stops at
 * the first page that may move. Collecting continues from there, and records
 * answers, too. So each page table is read once.
 *
 * A fault is not possible while folios are locked, so all pages of a page table
 * are looked at before any is collected. If one must be faulted in, the part
 * ends before this page table. Then this page, and all others of the range
 * which need that, are faulted in before the next part begins. Holes are not:
 * the device's memory fills them. If the process has pages in swap, those of the
 * range are faulted in before anything is collected, so that there is one round.
 *
 * Collecting invalidates the pages that may move, and the driver's callback
 * makes the device stop using them. Its sequence is valid for the answers, so
 * that the driver need not walk again; see mmu_interval_read_within(). The
 * driver's map() is called while the folios that have moved are locked and
 * their entries are migration entries: no CPU can use these pages before the
 * device can.
 *
 *	this call			madvise(MADV_DONTNEED)
 *
 *	start: sequence 1
 *	collect
 *	end
 *	copy
 *					start: sequence 2
 *					zap migration entries
 *					end
 *	driver's lock
 *	sequence is not 1: retry
 *	unlock
 *	finalize: no entry is left,
 *	the copy is freed
 *
 * A race that is lost costs another attempt, in which the pages that have moved
 * already are recorded as they are. CPU faults and other devices may take them
 * back meanwhile. So after HMM_MIGRATE_TRIES lost races, the next attempt is
 * made with mmap_lock and the VMA's lock held for writing: no CPU fault, no other
 * call of this kind, and no madvise() can take a page back before it is mapped.
 * Reclaim and others that come by rmap still can, and cost one attempt each.
 *
 * Not every race that is lost has a winner. A page that other processes map is
 * invalidated once more when it is unmapped there, after the sequence was taken.
 * If it moves, the next attempt finds it on the device. If it cannot, it would
 * never be mapped: so after an attempt that has lost and moved nothing, pages
 * stay where they are.
 */
#include <linux/export.h>
#include <linux/hmm-migrate.h>
#include <linux/hugetlb.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/oom.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "deadline.h"
#include "dma_slots.h"
#include "fault.h"
#include "migrate.h"
#include "migrate_answer.h"
#include "request.h"
#include "walk.h"

#include <trace/events/hmm.h>
#define CREATE_TRACE_POINTS
#include <trace/events/hmm_migrate.h>

/* How many races a part may lose before it excludes its competitors */
#define HMM_MIGRATE_TRIES	4

/*
 * How an attempt ends, besides with 0 or an errno. Another attempt is necessary:
 *
 * HMM_MIGRATE_LOST: a race was lost.
 * HMM_MIGRATE_FAULT: pages were faulted in, or must be, which are not holes, or
 *	cannot be filled, or CPUs have filled them. Usually this happens once, but
 *	competitors can cause it again.
 * HMM_MIGRATE_AGAIN: the lock was dropped for what takes time.
 */
#define HMM_MIGRATE_LOST	1
#define HMM_MIGRATE_FAULT	2
#define HMM_MIGRATE_AGAIN	3

enum hmm_migrate_lock {
	HMM_MIGRATE_UNLOCKED,
	HMM_MIGRATE_VMA_LOCK,
	HMM_MIGRATE_MMAP_READ,
	HMM_MIGRATE_MMAP_WRITE,
};

/**
 * struct hmm_migrator - the state of one call
 * @hmm: the caller's structure
 * @ops: the driver's callbacks
 * @part: the part of the range that is being handled
 * @walk: the walk that looks at it
 * @migrate: the pages of it that are collected
 * @faulter: how its faults are made
 * @packed: the requests of the slots; %NULL if requests in slots are ignored
 * @next: first address that is not done
 * @vma: the VMA of the part, or %NULL
 * @held: the lock that keeps it
 * @latest: the latest sequence before the part began
 * @timeout: in jiffies; %MAX_SCHEDULE_TIMEOUT for no limit
 * @deadline: when that time is over
 * @rounds: number of attempts so far, for the tracepoints
 * @lost: races that this part has lost, or may have
 * @collected: this attempt has begun to migrate
 * @stay: pages of this part that have not moved yet are to stay
 * @needs_mmap_lock: the next step failed under the VMA's lock
 * @needs_fault: the next step is a fault that may have to drop the lock
 * @faults_only: this attempt is for that fault
 * @needs_reserve: the next step is to call the driver's reserve()
 * @reserved: that was done
 * @swapped_in: pages of this part that were swapped out were faulted in
 * @fill: holes of this part are filled, in this attempt
 * @no_fill: a hole could not be filled
 */
struct hmm_migrator {
	struct hmm_migrate *hmm;
	const struct hmm_migrate_ops *ops;
	struct hmm_range part;
	struct hmm_walk walk;
	struct migrate_vma migrate;
	struct hmm_faulter faulter;
	unsigned char *packed;
	unsigned long next;
	struct vm_area_struct *vma;
	enum hmm_migrate_lock held;
	unsigned long latest;
	unsigned long timeout;
	unsigned long deadline;
	unsigned int rounds;
	unsigned int lost;
	bool collected;
	bool stay;
	bool needs_mmap_lock;
	bool needs_fault;
	bool faults_only;
	bool needs_reserve;
	bool reserved;
	bool swapped_in;
	bool fill;
	bool no_fill;
};

static struct mm_struct *hmm_migrate_mm(const struct hmm_migrator *m)
{
	return m->hmm->range.notifier->mm;
}

/* The number of the page at @addr in the range */
static unsigned long hmm_migrate_index(const struct hmm_migrator *m,
				       unsigned long addr)
{
	return hmm_pages(m->hmm->range.start, addr);
}

/* Locks */

/* Has the part lost so many races that it excludes its competitors? */
static bool hmm_migrate_is_exclusive(const struct hmm_migrator *m)
{
	return m->lost >= HMM_MIGRATE_TRIES && !m->needs_fault;
}

/* Filling a hole may allocate an anon_vma, which needs mmap_lock. */
static bool hmm_migrate_can_use_vma_lock(const struct vm_area_struct *vma)
{
	return vma->anon_vma || !vma_is_anonymous(vma);
}

static bool hmm_migrate_lock_vma(struct hmm_migrator *m)
{
	struct vm_area_struct *vma;

	vma = lock_vma_under_rcu(hmm_migrate_mm(m), m->next);
	if (!vma)
		return false;
	if (!hmm_migrate_can_use_vma_lock(vma)) {
		vma_end_read(vma);
		return false;
	}
	m->vma = vma;
	m->held = HMM_MIGRATE_VMA_LOCK;
	return true;
}

/* Exclude all that take the lock of the VMA, or mmap_lock. */
static int hmm_migrate_lock_exclusive(struct hmm_migrator *m)
{
	struct mm_struct *mm = hmm_migrate_mm(m);
	int ret = mmap_write_lock_killable(mm);

	if (ret)
		return ret;
	m->vma = vma_lookup(mm, m->next);
	ret = m->vma ? vma_start_write_killable(m->vma) : 0;
	if (ret) {
		mmap_write_unlock(mm);
		return ret;
	}
	m->held = HMM_MIGRATE_MMAP_WRITE;
	return 0;
}

static int hmm_migrate_lock(struct hmm_migrator *m)
{
	struct mm_struct *mm = hmm_migrate_mm(m);
	int ret;

	m->faults_only = m->needs_fault;
	if (hmm_migrate_is_exclusive(m))
		return hmm_migrate_lock_exclusive(m);
	m->needs_fault = false;
	if (!m->needs_mmap_lock && hmm_migrate_lock_vma(m))
		return 0;
	ret = mmap_read_lock_killable(mm);
	if (ret)
		return ret;
	m->needs_mmap_lock = false;
	m->vma = vma_lookup(mm, m->next);
	m->held = HMM_MIGRATE_MMAP_READ;
	return 0;
}

static void hmm_migrate_unlock(struct hmm_migrator *m)
{
	switch (m->held) {
	case HMM_MIGRATE_VMA_LOCK:
		vma_end_read(m->vma);
		break;
	case HMM_MIGRATE_MMAP_READ:
		mmap_read_unlock(hmm_migrate_mm(m));
		break;
	case HMM_MIGRATE_MMAP_WRITE:
		mmap_write_unlock(hmm_migrate_mm(m));
		break;
	case HMM_MIGRATE_UNLOCKED:
		break;
	}
	m->held = HMM_MIGRATE_UNLOCKED;
}

/* Parts */

/* Where the VMA ends, or the gap without a VMA */
static unsigned long hmm_migrate_part_end(const struct hmm_migrator *m)
{
	unsigned long end = m->hmm->range.end;
	const struct vm_area_struct *vma = m->vma;

	if (vma)
		return min(end, vma->vm_end);
	vma = find_vma(hmm_migrate_mm(m), m->next);
	return vma ? min(end, vma->vm_start) : end;
}

/* From @addr on, the slots are to hold requests again. */
static void hmm_migrate_restore_requests(struct hmm_migrator *m,
					 unsigned long addr)
{
	if (m->packed)
		hmm_requests_unpack(m->hmm->range.hmm_pfns, m->packed,
				    hmm_migrate_index(m, addr),
				    hmm_migrate_index(m, m->part.end));
}

static void hmm_migrate_begin_part(struct hmm_migrator *m, unsigned long seq)
{
	unsigned long i = hmm_migrate_index(m, m->next);
	struct hmm_migrate *hmm = m->hmm;

	m->part = hmm->range;
	m->part.notifier_seq = seq;
	m->part.start = m->next;
	m->part.end = hmm_migrate_part_end(m);
	m->part.hmm_pfns += i;
	memset(hmm->src + i, 0, hmm_pages(m->part.start, m->part.end) *
				sizeof(*hmm->src));
	hmm_migrate_restore_requests(m, m->part.start);
	hmm_walk_init(&m->walk, &m->part);
	m->walk.vma = m->held == HMM_MIGRATE_VMA_LOCK ? m->vma : NULL;
	m->walk.moving = !m->stay && migrate_vma_is_migratable(m->vma);
	m->collected = false;
}

/* From @addr to the end of the part */
static void hmm_migrate_init_vma(struct hmm_migrator *m, unsigned long addr)
{
	unsigned long i = hmm_migrate_index(m, addr);
	struct hmm_migrate *hmm = m->hmm;

	m->migrate = (struct migrate_vma){
		.vma = m->vma,
		.src = hmm->src + i,
		.dst = hmm->dst + i,
		.npages = hmm_pages(addr, m->part.end),
		.start = addr,
		.end = m->part.end,
		.pgmap_owner = hmm->range.dev_private_owner,
		.flags = hmm->flags | MIGRATE_VMA_SELECT_SYSTEM |
			 MIGRATE_VMA_TO_DEVICE | MIGRATE_VMA_ANSWERS,
	};
	if (m->held == HMM_MIGRATE_VMA_LOCK)
		m->migrate.flags |= MIGRATE_VMA_UNDER_VMA_LOCK;
}

/*
 * What to record from @migrate.start on. Requests of single pages move from the
 * slots to dst, which is not in use yet.
 */
static struct migrate_answers hmm_migrate_answers(struct hmm_migrator *m)
{
	struct migrate_answers answers = {
		.walk = &m->walk,
		.fill = vma_is_anonymous(m->vma) &&
			!userfaultfd_missing(m->vma) && !m->no_fill,
	};
	unsigned long *slots = hmm_walk_slots(&m->walk, m->migrate.start), i;

	if (!m->packed)
		return answers;
	for (i = 0; i < m->migrate.npages; i++)
		m->migrate.dst[i] = slots[i] & HMM_PFN_REQ_BITS;
	answers.requests = m->migrate.dst;
	return answers;
}

/* Faults */

/*
 * The first page from @addr on, in the same page table and before @end, that
 * must be faulted in, or the end of these pages.
 */
static unsigned long
hmm_migrate_scan_table(struct hmm_migrator *m,
		       const struct migrate_answers *answers,
		       unsigned long addr, unsigned long end)
{
	struct mm_struct *mm = hmm_migrate_mm(m);
	pmd_t *pmdp = mm_find_pmd(mm, addr);
	spinlock_t *ptl;	/* of the PTEs, or of the PMD */
	pmd_t pmd = __pmd(0);
	pte_t *ptep;

	while (pmdp) {
		ptep = pte_offset_map_lock(mm, pmdp, addr, &ptl);
		if (ptep) {
			addr = migrate_answer_ptes(answers, &m->migrate, ptep,
						   addr, end);
			pte_unmap_unlock(ptep, ptl);
			return addr;
		}
		ptl = pmd_lock(mm, pmdp);
		pmd = pmdp_get(pmdp);
		if (!pmd_present(pmd) || pmd_trans_huge(pmd))
			break;
		spin_unlock(ptl);
	}
	addr = migrate_answer_pmd(answers, &m->migrate, pmd, addr, end);
	if (pmdp)
		spin_unlock(ptl);
	return addr;
}

/* Is the page at @addr missing, and no hole that can be filled? */
static bool hmm_migrate_is_missing(struct hmm_migrator *m, unsigned long addr)
{
	struct migrate_answers answers;
	bool missing;

	hmm_migrate_init_vma(m, addr);
	answers = hmm_migrate_answers(m);
	missing = hmm_migrate_scan_table(m, &answers, addr, addr + PAGE_SIZE) ==
		  addr;
	memset(m->migrate.src, 0, sizeof(*m->migrate.src));
	hmm_migrate_restore_requests(m, addr);
	return missing;
}

/*
 * With mmap_lock held for writing, faults cannot drop it, and are not killable.
 * If userfaultfd or a file system may have to handle them, the next attempt
 * makes them under another lock.
 */
static bool hmm_migrate_must_unlock(struct hmm_migrator *m)
{
	m->needs_fault = m->held == HMM_MIGRATE_MMAP_WRITE &&
			 (userfaultfd_armed(m->vma) ||
			  !vma_is_anonymous(m->vma));
	return m->needs_fault;
}

static bool hmm_migrate_asks_to_write(const struct hmm_migrator *m,
				      const struct migrate_answers *answers,
				      unsigned long addr)
{
	return migrate_answer_asked(answers, migrate_index(&m->migrate, addr)) &
	       HMM_PFN_REQ_WRITE;
}

/*
 * Fault in all pages from @addr on that are missing and not holes. HMM_DONE if
 * there are none.
 */
static enum hmm_outcome hmm_migrate_fault(struct hmm_migrator *m,
					  unsigned long addr)
{
	enum hmm_outcome outcome = HMM_DONE;
	unsigned long next, end = m->part.end;
	struct migrate_answers answers;

	if (hmm_migrate_must_unlock(m))
		return HMM_COLLIDED;
	/* All of the part may be more than there is memory for. */
	if (m->lost)
		end = pmd_addr_end(addr, end);
	hmm_migrate_init_vma(m, addr);
	answers = hmm_migrate_answers(m);
	for (; addr < end; addr = next) {
		next = pmd_addr_end(addr, end);
		addr = hmm_migrate_scan_table(m, &answers, addr, next);
		if (addr == next)
			continue;
		next = addr + PAGE_SIZE;
		m->walk.span = (struct hmm_span){
			.vma = m->vma,
			.start = addr,
			.end = next,
			.write = hmm_migrate_asks_to_write(m, &answers, addr),
		};
		outcome = hmm_fault_span(&m->faulter, &m->walk.span);
		if (outcome != HMM_FAULTED)
			return outcome;
	}
	memset(m->migrate.src, 0, m->migrate.npages * sizeof(*m->migrate.src));
	hmm_migrate_restore_requests(m, m->walk.next);
	return outcome;
}

static int hmm_migrate_errno(struct hmm_migrator *m, enum hmm_outcome outcome)
{
	switch (outcome) {
	case HMM_UNLOCKED:
		m->needs_mmap_lock = m->held == HMM_MIGRATE_VMA_LOCK;
		m->held = HMM_MIGRATE_UNLOCKED;
		return HMM_MIGRATE_AGAIN;
	case HMM_COLLIDED:
		return HMM_MIGRATE_AGAIN;
	default:
		return hmm_outcome_errno(outcome);
	}
}

/*
 * Some pages of the process are swapped out. If any of this part are, collecting
 * would stop at the first one, and another round would have to follow: fault
 * them in before this one.
 */
static int hmm_migrate_fault_swapped(struct hmm_migrator *m)
{
	enum hmm_outcome outcome;

	if (m->swapped_in || !get_mm_counter(hmm_migrate_mm(m), MM_SWAPENTS))
		return 0;
	outcome = hmm_migrate_fault(m, m->walk.next);
	if (outcome != HMM_DONE && outcome != HMM_FAULTED)
		return hmm_migrate_errno(m, outcome);
	m->swapped_in = true;
	return m->faults_only && outcome == HMM_FAULTED ? HMM_MIGRATE_FAULT : 0;
}

/* Migration */

/* What a callback has returned */
static int hmm_migrate_result(int ret)
{
	return WARN_ON_ONCE(ret > 0) ? -EINVAL : ret;
}

/* What ops->copy() does, for a driver that allocates folio by folio */
static int hmm_migrate_fill(struct hmm_migrator *m)
{
	struct hmm_migrate *hmm = m->hmm;

	migrate_fill(&m->migrate, true, hmm->alloc, hmm->arg);
	return hmm->copy(hmm->arg, m->migrate.src, m->migrate.dst,
			 m->migrate.npages);
}

static int hmm_migrate_copy(struct hmm_migrator *m)
{
	const struct hmm_migrate_ops *ops = m->ops;
	int ret;

	memset(m->migrate.dst, 0, m->migrate.npages * sizeof(*m->migrate.dst));
	if (!m->migrate.cpages)
		return 0;
	ret = m->hmm->alloc ? hmm_migrate_fill(m) :
			      ops->copy(m->hmm, &m->migrate);
	if (!ret && ops->wait)
		ret = ops->wait(m->hmm, &m->migrate);
	return hmm_migrate_result(ret);
}

/* The pages of a large folio, of entry @i, that have no entry of their own */
static void hmm_migrate_refuse_tails(struct hmm_migrator *m, unsigned long i,
				     unsigned long nr)
{
	while (--nr)
		m->migrate.src[++i] = migrate_refused(MIGRATE_NO_DESTINATION);
}

/* No page is migrated. */
static void hmm_migrate_cancel(struct hmm_migrator *m)
{
	unsigned long *src = m->migrate.src, i, nr;

	for (i = 0; i < m->migrate.npages; i += nr) {
		nr = migrate_entry_pages(src[i]);
		if (!(src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		hmm_migrate_refuse_tails(m, i, nr);
		if (src[i] & MIGRATE_PFN_VALID)
			migrate_cancel(&m->migrate, i, MIGRATE_INSTALL);
		else
			migrate_cancel_hole(&m->migrate, i);
	}
}

/* @nr pages, of the folio of @to, have taken the place of what was there. */
static __always_inline void hmm_migrate_answer_moved(unsigned long *slots,
						     unsigned long nr,
						     unsigned long to)
{
	unsigned long pfn = to >> MIGRATE_PFN_SHIFT;
	/* Unless a PMD has moved as a whole, PTEs may map the pages now. */
	const unsigned long keep = HMM_PFN_STICKY | HMM_PFN_VALID |
				   HMM_PFN_WRITE;

	if (nr == 1) {
		*slots = (*slots & keep) | pfn;
		return;
	}
	pfn = folio_pfn(migrate_folio_of(to));
	if (hmm_pfn_to_map_order(*slots) == PMD_ORDER &&
	    nr == 1UL << PMD_ORDER) {
		const struct hmm_leaf leaf = {
			.answer = (*slots & HMM_PFN_FLAGS & ~HMM_PFN_STICKY) |
				  pfn,
			.step = 1,
		};

		hmm_slots_record(slots, nr, leaf);
		return;
	}
	/* Not all need be writable, and not all need have been requested. */
	for (; nr; nr--, slots++, pfn++)
		if (*slots & HMM_PFN_VALID)
			*slots = (*slots & keep) | pfn;
}

/* Returns how many pages the folio of @to has, which fills a hole. */
static unsigned long hmm_migrate_answer_filled(unsigned long *slots,
					       unsigned long to, bool writable)
{
	struct folio *folio = migrate_folio_of(to);
	unsigned long pfn = folio_pfn(folio);
	unsigned int order;

	if (!folio_test_large(folio)) {
		hmm_slot_set(slots, hmm_leaf_mapped(pfn, writable, 0).answer);
		return 1;
	}
	order = folio_test_pmd_mappable(folio) ? PMD_ORDER : 0;
	hmm_slots_record(slots, folio_nr_pages(folio),
			 hmm_leaf_mapped(pfn, writable, order));
	return folio_nr_pages(folio);
}

/*
 * Pages that were unmapped are mapped again: if a PMD was split meanwhile, by
 * PTEs.
 */
static void hmm_migrate_answer_unmoved(unsigned long *slots, unsigned long nr)
{
	while (nr--)
		*slots++ &= ~(0x1FUL << HMM_PFN_ORDER_SHIFT);
}

/*
 * Change the answer of entry @i, which stands for @nr pages that have not moved,
 * if necessary. Returns 0, or HMM_MIGRATE_FAULT for a hole that was not filled.
 */
static int hmm_migrate_update_unmoved(struct hmm_migrator *m, unsigned long i,
				      unsigned long nr)
{
	unsigned long *slots = hmm_walk_slots(&m->walk, m->migrate.start);
	unsigned long *src = m->migrate.src;
	enum migrate_refusal why;

	if (migrate_state_of(src[i]) == MIGRATE_ENTRY_RESTORED) {
		hmm_migrate_answer_unmoved(slots + i, nr);
		hmm_migrate_refuse_tails(m, i, nr);
		return 0;
	}
	why = hmm_migrate_why(src[i]);
	if (why == MIGRATE_PINNED)
		hmm_migrate_answer_unmoved(slots + i, 1);
	/* This is the reason of a hole only. */
	if (why != MIGRATE_NO_DESTINATION || !m->fill)
		return 0;
	/*
	 * If there was a destination, it usually is no hole any more; or, if no
	 * competitor can have filled it, memory is short.
	 */
	if (!(m->migrate.dst[i] & MIGRATE_PFN_VALID) ||
	    m->held == HMM_MIGRATE_MMAP_WRITE)
		m->no_fill = true;
	return HMM_MIGRATE_FAULT;
}

/*
 * Change the answers of pages that have moved, and of holes that are filled.
 * Returns 0, or HMM_MIGRATE_FAULT if a hole was not filled. Sets @restored if a
 * page was collected and has not moved.
 */
static int hmm_migrate_update(struct hmm_migrator *m, bool *restored)
{
	const bool writable = hmm_flags_allow_writing(m->vma->vm_flags);
	unsigned long *slots = hmm_walk_slots(&m->walk, m->migrate.start);
	const unsigned long *src = m->migrate.src, *dst = m->migrate.dst;
	unsigned long i, nr, moved = 0;
	int ret = 0;

	for (i = 0; i < m->migrate.npages; i += nr) {
		nr = migrate_entry_pages(src[i]);
		switch (migrate_state_of(src[i])) {
		case MIGRATE_ENTRY_LOCKED:
			hmm_migrate_answer_moved(slots + i, nr, dst[i]);
			moved += nr;
			break;
		case MIGRATE_ENTRY_HOLE:
			nr = hmm_migrate_answer_filled(slots + i, dst[i],
						       writable);
			moved += nr;
			break;
		case MIGRATE_ENTRY_RESTORED:
			*restored = true;
			fallthrough;
		case MIGRATE_ENTRY_SKIPPED:
			ret = hmm_migrate_update_unmoved(m, i, nr) ?: ret;
			break;
		}
	}
	m->hmm->moved += moved;
	return ret;
}

/* For hmm_migrate_why(), after the folios are unlocked */
static void hmm_migrate_set_reasons(struct hmm_migrator *m)
{
	unsigned long *src = m->migrate.src, i;

	for (i = 0; i < m->migrate.npages; i++)
		if (migrate_state_of(src[i]) == MIGRATE_ENTRY_RESTORED)
			src[i] = migrate_refused(MIGRATE_NO_DESTINATION);
}

static int hmm_migrate_lock_driver(struct hmm_migrator *m)
{
	if (m->hmm->mutex)
		return mutex_lock_killable(m->hmm->mutex);
	m->ops->lock(m->hmm);
	return 0;
}

static void hmm_migrate_unlock_driver(struct hmm_migrator *m)
{
	if (m->hmm->mutex)
		mutex_unlock(m->hmm->mutex);
	else
		m->ops->unlock(m->hmm);
}

/* Let the driver use the answers, if they are valid. */
static int hmm_migrate_map(struct hmm_migrator *m)
{
	int ret = hmm_migrate_lock_driver(m);

	if (ret)
		return ret;
	if (mmu_interval_read_retry(m->part.notifier, m->part.notifier_seq))
		ret = HMM_MIGRATE_LOST;
	else
		ret = hmm_migrate_result(m->ops->map(m->hmm, &m->part));
	hmm_migrate_unlock_driver(m);
	return ret;
}

/*
 * Collect the pages from @walk.next on. Returns whether the answers are valid
 * for the sequence of the part: those of this function at least, and if others
 * have been recorded before, those, too.
 */
static bool hmm_migrate_collect(struct hmm_migrator *m)
{
	struct migrate_answers answers;
	struct mmu_notifier_range range;
	int ret;

	hmm_migrate_init_vma(m, m->walk.next);
	answers = hmm_migrate_answers(m);
	m->fill = answers.fill;
	mmu_notifier_range_init_owner(&range, MMU_NOTIFY_MIGRATE, 0,
				      hmm_migrate_mm(m), m->migrate.start,
				      m->migrate.end, m->migrate.pgmap_owner);
	mmu_notifier_invalidate_range_start(&range);
	ret = mmu_interval_read_within(m->part.notifier, &range, m->latest,
				       &m->part.notifier_seq);
	m->part.end = migrate_collect_answering(&m->migrate, &answers);
	mmu_notifier_invalidate_range_end(&range);
	m->migrate.end = m->part.end;
	m->migrate.npages = hmm_pages(m->migrate.start, m->part.end);
	return !ret || (ret > 0 && m->migrate.start == m->part.start);
}

static int hmm_migrate_move(struct hmm_migrator *m)
{
	unsigned long end = m->part.end;
	bool valid, restored = false;
	enum hmm_outcome outcome;
	int ret;

	if (m->ops->reserve && !m->reserved) {
		m->needs_reserve = true;
		return HMM_MIGRATE_AGAIN;
	}
	ret = hmm_migrate_fault_swapped(m);
	if (ret)
		return ret;
	m->collected = true;
	valid = hmm_migrate_collect(m);
	if (!m->migrate.npages) {
		m->part.end = end;
		hmm_migrate_restore_requests(m, m->walk.next);
		outcome = hmm_migrate_fault(m, m->walk.next);
		if (outcome != HMM_DONE && outcome != HMM_FAULTED)
			return hmm_migrate_errno(m, outcome);
		return HMM_MIGRATE_FAULT;
	}
	m->migrate.cpages = migrate_unmap(&m->migrate);
	ret = hmm_migrate_copy(m);
	if (ret) {
		hmm_migrate_cancel(m);
		restored = true;
	} else {
		migrate_install(&m->migrate);
		ret = hmm_migrate_update(m, &restored);
	}
	if (!ret)
		ret = valid ? hmm_migrate_map(m) : HMM_MIGRATE_LOST;
	migrate_finalize(&m->migrate);
	if (restored)
		hmm_migrate_set_reasons(m);
	return ret;
}

static enum hmm_outcome hmm_migrate_fault_span(struct hmm_migrator *m)
{
	if (hmm_migrate_must_unlock(m))
		return HMM_COLLIDED;
	return hmm_fault_span(&m->faulter, &m->walk.span);
}

/* Look at the part, under the lock, which may be dropped. */
static int hmm_migrate_look(struct hmm_migrator *m)
{
	enum hmm_outcome outcome = HMM_COLLIDED;
	bool faulted = false;

	for (;;) {
		/* Faults may cause invalidations themselves. */
		if (mmu_interval_check_retry(m->part.notifier,
					     m->part.notifier_seq))
			return faulted ? HMM_MIGRATE_FAULT :
					 HMM_MIGRATE_LOST;
		outcome = hmm_walk_continue(&m->walk);
		if (outcome == HMM_DONE)
			return hmm_migrate_map(m);
		if (outcome == HMM_MOVABLE)
			return hmm_migrate_move(m);
		if (outcome != HMM_FAULT_NEEDED)
			return hmm_migrate_errno(m, outcome);
		if (m->walk.moving &&
		    !hmm_migrate_is_missing(m, m->walk.span.start))
			return hmm_migrate_move(m);
		outcome = m->walk.moving ?
			hmm_migrate_fault(m, m->walk.span.start) :
			hmm_migrate_fault_span(m);
		if (outcome != HMM_DONE && outcome != HMM_FAULTED)
			return hmm_migrate_errno(m, outcome);
		if (m->faults_only)
			return HMM_MIGRATE_FAULT;
		faulted = true;
	}
}

/* The call */

static int hmm_migrate_reserve(struct hmm_migrator *m)
{
	int ret;

	m->needs_reserve = false;
	ret = m->ops->reserve(m->hmm, hmm_pages(m->walk.next,
						m->hmm->range.end));
	ret = hmm_migrate_result(ret);
	if (ret)
		return ret;
	m->reserved = true;
	return HMM_MIGRATE_AGAIN;
}

/* Jiffies that are left */
static unsigned long hmm_migrate_left(const struct hmm_migrator *m)
{
	return hmm_deadline_left(m->timeout, m->deadline);
}

/* Get a sequence, which waits for the invalidations that are in flight. */
static int hmm_migrate_begin(struct hmm_migrator *m, unsigned long *seq)
{
	struct mmu_interval_notifier *notifier = m->hmm->range.notifier;
	int ret;

	m->latest = mmu_interval_latest(notifier);
	ret = mmu_interval_read_begin_timeout(notifier, hmm_migrate_left(m),
					      seq);
	return ret == -ETIMEDOUT ? -EBUSY : ret;
}

/*
 * Competitors are excluded only when the lock is held, so that sequences from
 * before are of no use. Otherwise, other tasks are not to wait for it meanwhile.
 */
static int hmm_migrate_begin_and_lock(struct hmm_migrator *m,
				      unsigned long *seq)
{
	bool exclusive = hmm_migrate_is_exclusive(m);
	int ret;

	if (!exclusive) {
		ret = hmm_migrate_begin(m, seq);
		return ret ?: hmm_migrate_lock(m);
	}
	ret = hmm_migrate_lock(m);
	if (ret)
		return ret;
	ret = hmm_migrate_begin(m, seq);
	if (ret)
		hmm_migrate_unlock(m);
	return ret;
}

/*
 * Make one attempt at the part that begins at @next. Returns 0 if it is done,
 * HMM_MIGRATE_*, or an errno, which ends the call.
 */
static int hmm_migrate_attempt(struct hmm_migrator *m)
{
	unsigned int tries;
	unsigned long seq;
	int ret;

	if (check_stable_address_space(hmm_migrate_mm(m)))
		return -EFAULT;
	if (fatal_signal_pending(current))
		return -EINTR;
	ret = hmm_migrate_begin_and_lock(m, &seq);
	if (ret)
		return ret;
	m->faulter.vma_locked = m->held == HMM_MIGRATE_VMA_LOCK;
	m->faulter.may_unlock = m->held != HMM_MIGRATE_MMAP_WRITE;
	for (tries = 1; !ret; tries++) {
		hmm_migrate_begin_part(m, seq);
		ret = hmm_migrate_look(m);
		/*
		 * Do not let competitors in after a fault. But if memory is
		 * short, what was faulted in may be reclaimed each time, and
		 * others need mmap_lock, such as a process that exits.
		 */
		if (ret != HMM_MIGRATE_FAULT ||
		    m->held != HMM_MIGRATE_MMAP_WRITE ||
		    tries == HMM_MIGRATE_TRIES || !hmm_migrate_left(m) ||
		    fatal_signal_pending(current))
			break;
		ret = hmm_migrate_begin(m, &seq);
	}
	hmm_migrate_unlock(m);
	return m->needs_reserve ? hmm_migrate_reserve(m) : ret;
}

static void hmm_migrate_next_part(struct hmm_migrator *m)
{
	m->next = m->part.end;
	m->hmm->range.notifier_seq = m->part.notifier_seq;
	m->faulter.tried = HMM_NOT_TRIED;
	m->lost = 0;
	m->stay = false;
	m->swapped_in = false;
	m->no_fill = false;
}

/*
 * A race was lost. Pages that have not moved although they were tried may never
 * move, and to try has invalidated them: if they are mapped by other processes,
 * once more after the sequence was taken. Then they must stay.
 */
static void hmm_migrate_lose(struct hmm_migrator *m, bool moved)
{
	m->hmm->retries++;
	if (m->collected && (!moved || m->lost > HMM_MIGRATE_TRIES))
		m->stay = true;
}

static int hmm_migrate_run(struct hmm_migrator *m)
{
	while (m->next < m->hmm->range.end) {
		unsigned long before = m->hmm->moved;
		int ret = hmm_migrate_attempt(m);

		m->rounds++;
		if (ret < 0)
			return ret;
		if (!ret) {
			hmm_migrate_next_part(m);
			continue;
		}
		if (ret != HMM_MIGRATE_AGAIN)
			m->lost++;
		if (ret == HMM_MIGRATE_LOST) {
			trace_hmm_collide(&m->part, m->walk.next);
			hmm_migrate_lose(m, m->hmm->moved != before);
		}
		if (!hmm_migrate_left(m) &&
		    (ret == HMM_MIGRATE_LOST || m->lost > 1))
			return -EBUSY;
		cond_resched();
	}
	return 0;
}

/* Is there one lock, and one way to get and fill destinations? */
static bool hmm_migrate_is_served(const struct hmm_migrate *hmm,
				  const struct hmm_migrate_ops *ops)
{
	bool mutex = hmm->mutex, alloc = hmm->alloc;

	return ops->map && !ops->lock == mutex && !ops->unlock == mutex &&
	       !!hmm->copy == alloc && !ops->copy == alloc;
}

static bool hmm_migrate_is_valid(const struct hmm_migrate *hmm,
				 const struct hmm_migrate_ops *ops)
{
	const struct hmm_range *range = &hmm->range;

	if (!range->notifier || !range->hmm_pfns || !hmm->src || !hmm->dst ||
	    !PAGE_ALIGNED(range->start | range->end) ||
	    range->start >= range->end)
		return false;
	if (range->default_flags & (HMM_RANGE_SPARSE | HMM_RANGE_PTE_ORDERS) ||
	    hmm_dma_has_slots(range->hmm_pfns))
		return false;
	if (hmm->flags & ~(MIGRATE_VMA_SELECT_COMPOUND |
			   MIGRATE_VMA_SELECT_FOLIOS))
		return false;
	return range->dev_private_owner && hmm_migrate_is_served(hmm, ops);
}

/**
 * hmm_range_migrate() - fault a range in, and migrate it to the device
 * @hmm: the range, and room for the entries of its pages
 * @ops: the driver's callbacks
 * @timeout: jiffies to wait for invalidations and to retry after them;
 *	%MAX_SCHEDULE_TIMEOUT for no limit
 *
 * For a device that has faulted on memory which belongs in its own memory. Each
 * page of the range that is requested, by &hmm_range.default_flags or its own
 * slot, moves to the device's memory if it can: anonymous memory of the system,
 * and holes of anonymous VMAs, without allocating a page of system memory for
 * them. Pages that are swapped out or in another device's memory are faulted in
 * first. Pages that cannot move, because they are of files, pinned, locked, or
 * in the device's memory already, stay where they are, and are recorded as by
 * hmm_range_fault(); hmm_migrate_why() has the reason. Pages that are not
 * requested are only recorded. A large folio moves, as a whole, if its first
 * page in the range is requested.
 *
 * &hmm_migrate_ops.map is called for each part of the range, usually for all of
 * it at once, when its pages have moved. All answers in the slots are then
 * valid, and the sequence has been checked under the driver's lock: the driver
 * programs the device, and need not do anything else. The invalidation of the
 * migration itself reaches the driver before @copy is called, and is handled
 * like any other: the device must have stopped using the pages when the
 * callback returns.
 *
 * Bounds: collisions with invalidations make this repeat a part, at most until
 * @timeout is over. Of competitors that take pages back as fast as they are
 * moved, such as CPU faults and other devices, at most four races are lost,
 * after which they are excluded by mmap_lock until the device is programmed,
 * except while userfaultfd or a file system handles a fault. Time that faults
 * take counts, but no fault is interrupted, except by a fatal signal. Pages that
 * other processes map, the shared zero page, and large folios that must be split
 * cost a second attempt, as they are invalidated once more.
 *
 * Context: Process context, may sleep. The caller does not hold mmap_lock, nor
 * any lock that the callbacks take, and keeps the mm alive by mmget(). The
 * driver's lock nests inside folio locks.
 *
 * Return: 0 if all requests are met and the device is programmed, or a negative
 * errno; the parts for which map() was called are done then, and all other pages
 * are mapped for CPUs as before, or have moved:
 *
 * * -EINVAL: the range is empty or not page aligned, a pointer, the owner or a
 *   callback is missing or there twice, or @hmm has other flags than it may have.
 *   %HMM_RANGE_SPARSE, %HMM_RANGE_PTE_ORDERS and the slots of a struct
 *   hmm_dma_map are not possible.
 * * -EBUSY: @timeout is over.
 * * -EPERM, -EFAULT, -ENOMEM, -EINTR: as for
 *   hmm_range_fault_unlocked_timeout().
 * * What a callback has returned. If that was reserve(), nothing was moved; if
 *   it was copy() or wait(), the pages of the part are mapped as before.
 */
int hmm_range_migrate(struct hmm_migrate *hmm,
		      const struct hmm_migrate_ops *ops, unsigned long timeout)
{
	struct hmm_migrator m = {
		.hmm = hmm,
		.ops = ops,
		.faulter = { .tried = HMM_NOT_TRIED },
		.next = hmm->range.start,
		.timeout = timeout,
	};
	int ret;

	hmm->moved = 0;
	hmm->retries = 0;
	if (!hmm_migrate_is_valid(hmm, ops))
		return -EINVAL;
	m.deadline = jiffies + m.timeout;
	ret = hmm_range_pack_requests(&hmm->range, &m.packed);
	if (ret)
		return ret;
	trace_hmm_migrate_begin(hmm);
	ret = hmm_migrate_run(&m);
	trace_hmm_migrate_end(hmm, m.rounds, m.faulter.faults, ret);
	if (m.reserved && ops->unreserve)
		ops->unreserve(hmm);
	kvfree(m.packed);
	return ret;
}
EXPORT_SYMBOL_GPL(hmm_range_migrate);
