// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The walk: from page table entries to recorded slots.
 *
 * Each entry is decoded into a leaf (what the CPU has), the policy decides on
 * the leaf and the request, and the slots are recorded or the walk stops. It
 * never faults, sleeps on a page or drops a lock: where access is missing it
 * sets the span that must be faulted in, and unwinds. It can continue from
 * where it stopped.
 *
 * Invariants:
 *   - slots before hmm_walk.next hold answers, slots from it on hold requests;
 *   - an entry that maps more than one page (PUD, PMD, hugetlb) is recorded
 *     whole or not at all, so that all slots under one order agree;
 *   - every page table level gives the same answer for the same kind of entry.
 *
 * Locking: mmap_lock is held, or the lock of the VMA that the rest of the range
 * lies in. An entry is decoded under its page table lock, and a table is found
 * to be missing under the lock that it would be added under. The answers are
 * stable only as far as the caller's notifier sequence says so.
 *
 *	what the entry is			answer
 *	present and accessible			VALID, WRITE as the entry, pfn
 *	shared zero page			VALID, pfn
 *	device private, own			VALID, WRITE as the entry, pfn
 *	none, swap, migration, protnone,	0
 *	  device private of another owner
 *	  or marked by userfaultfd in a VMA
 *	  with userfaultfd_rwp(),
 *	  device exclusive, uffd-wp marker
 *	poisoned, guard or poison marker,	ERROR
 *	  special mapping, no VMA, VM_IO,
 *	  VM_PFNMAP, no VM_READ, secret
 *	  memory
 *
 * No WRITE in the VMA of a shadow stack, see access.h.
 */
#include <linux/hmm.h>
#include <linux/huge_mm.h>
#include <linux/hugetlb.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pagewalk.h>
#include <linux/pgtable.h>
#include <linux/secretmem.h>

#include "access.h"
#include "decode.h"
#include "policy.h"
#include "pte_run.h"
#include "walk.h"

/* Record pages [start, end), and continue after them. */
static int hmm_walk_advance(struct hmm_walk *w, unsigned long start,
			    unsigned long end, struct hmm_leaf leaf)
{
	hmm_walk_record(w, start, end, leaf);
	w->next = end;
	return 0;
}

/*
 * Pages [start, end) lie under one entry, which a single fault changes as a
 * whole.
 */
static int hmm_walk_whole(struct hmm_walk *w, struct vm_area_struct *vma,
			  unsigned long start, unsigned long end,
			  struct hmm_leaf leaf)
{
	enum hmm_verdict verdict;
	unsigned long at;

	verdict = hmm_decide_whole(&w->request, hmm_walk_slots(w, start),
				   hmm_pages(start, end), leaf.answer, &at);
	if (verdict == HMM_RECORD)
		return hmm_walk_advance(w, start, end, leaf);

	start += at << PAGE_SHIFT;
	return hmm_walk_stop(w, vma, start, start + PAGE_SIZE, verdict);
}

/* Do not hold a page table lock for longer than it takes for so many slots. */
#define HMM_SLOTS_UNDER_LOCK	(16UL << PMD_ORDER)

/*
 * Pages [start, end) of a VMA have no page table entries at all. A fault may
 * map a single page, or a huge page that also covers pages without a request.
 * So pages under the same PMD as a fault are recorded only after the fault.
 */
static int hmm_walk_record_unmapped(struct hmm_walk *w,
				    struct vm_area_struct *vma,
				    unsigned long start, unsigned long end)
{
	struct hmm_leaf absent = hmm_leaf_absent();
	unsigned long *slots = hmm_walk_slots(w, start);
	unsigned long nr = hmm_pages(start, end), idle = 0, run;
	unsigned long fault, reach;
	enum hmm_verdict verdict;

	run = hmm_decide_run(&w->request, slots, nr, absent.answer, &verdict);
	if (verdict == HMM_RECORD) {
		if (run == nr)
			return hmm_walk_advance(w, start, end, absent);
		idle = run;
		run = hmm_decide_run(&w->request, slots + idle, nr - idle,
				     absent.answer, &verdict);
	}

	fault = start + (idle << PAGE_SHIFT);
	reach = max(start, ALIGN_DOWN(fault, PMD_SIZE));
	hmm_walk_advance(w, start, reach, absent);
	return hmm_walk_stop(w, vma, fault, fault + (run << PAGE_SHIFT),
			     verdict);
}

/*
 * Take the lock under which pages [start, end) would get their first page
 * table. Returns NULL if they have got one.
 */
static spinlock_t *hmm_walk_lock_unmapped(struct vm_area_struct *vma,
					  unsigned long start,
					  unsigned long end)
{
	struct mm_struct *mm = vma->vm_mm;
	spinlock_t *ptl = &mm->page_table_lock;
	pud_t leaf = __pud(0);
	pmd_t *pmdp;

	pmdp = hmm_walk_pmd_at(vma, start, &leaf);
	if (pmdp) {
		ptl = pmd_lock(mm, pmdp);
		if (pmd_none(pmdp_get(pmdp)) && pmd_addr_end(start, end) == end)
			return ptl;
		goto changed;
	}

	spin_lock(ptl);
	if (!hmm_walk_pmd_at(vma, start, &leaf) && pud_none(leaf))
		return ptl;
changed:
	spin_unlock(ptl);
	return NULL;
}

/*
 * Drivers for RDMA have several faults write to the same slots at a time.
 * Without a lock, a walk that has been preempted would replace the answer of a
 * newer one, which is in use:
 *
 *	hmm_range_fault()		another fault of the same page
 *
 *	read PMD: none
 *					hmm_range_fault(): fault, write slot
 *					lock
 *					read_retry(): false
 *	write slot: nothing is mapped
 *					use slot
 *
 * -EAGAIN if page tables have appeared.
 */
static int hmm_walk_unmapped(struct hmm_walk *w, struct vm_area_struct *vma,
			     unsigned long start, unsigned long end)
{
	unsigned long next;
	spinlock_t *ptl;	/* of the entry that is missing */
	int ret = 0;

	for (; start < end && !ret; start = next) {
		next = min(pud_addr_end(start, end),
			   start + (HMM_SLOTS_UNDER_LOCK << PAGE_SHIFT));
		ptl = hmm_walk_lock_unmapped(vma, start, next);
		if (!ptl)
			return -EAGAIN;
		ret = hmm_walk_record_unmapped(w, vma, start, next);
		spin_unlock(ptl);
	}
	return ret;
}

/* The same for pages of one huge page of hugetlb */
static int hmm_walk_unmapped_hugetlb(struct hmm_walk *w,
				     struct vm_area_struct *vma,
				     unsigned long start, unsigned long end)
{
	unsigned long size = huge_page_size(hstate_vma(vma));
	spinlock_t *ptl = &vma->vm_mm->page_table_lock;
	int ret = -EAGAIN;

	/* Contiguous PTEs are in a table that a PMD points to. */
	if (size < PMD_SIZE) {
		ptl = hmm_walk_lock_unmapped(vma, start, end);
		if (!ptl)
			return -EAGAIN;
	} else {
		spin_lock(ptl);
	}
	if (!hugetlb_walk(vma, ALIGN_DOWN(start, size), size))
		ret = hmm_walk_whole(w, vma, start, end, hmm_leaf_absent());
	spin_unlock(ptl);
	return ret;
}

/*
 * Record the huge pages after the one that was just recorded, as long as they
 * are whole, of its kind, and have its request. The lock of the PMD table is
 * held. Not inline: few ranges have two huge pages.
 */
static noinline void hmm_walk_huge_run(struct hmm_walk *w, pmd_t *pmdp,
				       pmd_t pmd, struct hmm_leaf leaf,
				       unsigned long end)
{
	const struct hmm_pte_kind kind = hmm_pmd_kind_of(pmd);
	const unsigned long size = 1UL << PMD_ORDER, nr = w->sparse ? 1 : size;
	unsigned long *slots = hmm_walk_slots(w, w->next);
	unsigned long addr = w->next, answer, pfn;

	lockdep_assert_held(pmd_lockptr(w->range->notifier->mm, pmdp));

	if (!pmd_present(pmd) || pmd_special(pmd) ||
	    !(leaf.answer & HMM_PFN_VALID) ||
	    !hmm_request_is_uniform(&w->request))
		return;
	answer = leaf.answer & HMM_PFN_FLAGS;
	if (!w->sparse)
		end = min(end, addr + (HMM_SLOTS_UNDER_LOCK << PAGE_SHIFT));

	for (; addr < end && end - addr >= PMD_SIZE; addr += PMD_SIZE) {
		if (!hmm_pmd_is_kind(pmdp_get(++pmdp), kind, &pfn))
			break;
		hmm_walk_record_step(w, slots, nr, answer | pfn);
		slots += size;
	}
	w->next = addr;
}

/* As hmm_walk_whole(); also ends the walk before a huge page that may move. */
static int hmm_walk_whole_pmd(struct hmm_walk *w, struct vm_area_struct *vma,
			      unsigned long start, unsigned long end, pmd_t pmd,
			      struct hmm_leaf leaf)
{
	unsigned long at;
	int ret;

	if (unlikely(w->moving) && pmd_present(pmd) &&
	    hmm_decide_whole(&w->request, hmm_walk_slots(w, start),
			     hmm_pages(start, end), leaf.answer, &at) ==
	    HMM_RECORD) {
		ret = hmm_walk_stop_movable(w, start,
					    vm_normal_page_pmd(vma, start, pmd));
		if (ret)
			return ret;
	}
	return hmm_walk_whole(w, vma, start, end, leaf);
}

/*
 * Record the pages from @start on under one PMD entry, and under further
 * entries of the same table before @end as long as they are alike. -EAGAIN if
 * the entry has changed.
 */
static int hmm_walk_some_pmds(struct hmm_walk *w, struct vm_area_struct *vma,
			      pmd_t *pmdp, unsigned long start,
			      unsigned long end)
{
	spinlock_t *ptl = pmd_trans_huge_lock(pmdp, vma);
	unsigned long next = pmd_addr_end(start, end);
	struct hmm_leaf leaf;
	pte_t *ptep;
	pmd_t pmd;
	int ret;

	if (ptl) {
		pmd = pmdp_get(pmdp);
		leaf = hmm_decode_pmd(w->range->dev_private_owner, vma, start,
				      pmd);
		ret = hmm_walk_whole_pmd(w, vma, start, next, pmd, leaf);
		if (!ret && next < end && !w->moving)
			hmm_walk_huge_run(w, pmdp, pmd, leaf, end);
		spin_unlock(ptl);
		return ret;
	}

	ptep = pte_offset_map_lock(vma->vm_mm, pmdp, start, &ptl);
	if (ptep) {
		ret = hmm_walk_ptes(w, vma, ptep, start, next);
		pte_unmap_unlock(ptep, ptl);
		return ret;
	}

	if (pmd_none(pmdp_get_lockless(pmdp)))
		return hmm_walk_unmapped(w, vma, start, next);
	return -EAGAIN;
}

/* Pages [start, end) under one table of PMDs */
static int hmm_walk_pmds(struct hmm_walk *w, struct vm_area_struct *vma,
			 pmd_t *pmdp, unsigned long start, unsigned long end)
{
	int ret;

	for (;;) {
		ret = hmm_walk_some_pmds(w, vma, pmdp, start, end);
		if (ret == -EAGAIN)
			continue;
		if (ret || w->next == end)
			return ret;
		pmdp += (w->next >> PMD_SHIFT) - (start >> PMD_SHIFT);
		start = w->next;
	}
}

/*
 * The callbacks of the page walk.
 */

static int hmm_walk_hole(unsigned long start, unsigned long end, int depth,
			 struct mm_walk *walk)
{
	struct vm_area_struct *vma = walk->vma;
	struct hmm_walk *w = walk->private;

	if (!vma)
		return hmm_walk_whole(w, NULL, start, end, hmm_leaf_error());
	/* The walk passes one huge page at a time, even without an entry. */
	if (is_vm_hugetlb_page(vma))
		return hmm_walk_unmapped_hugetlb(w, vma, start, end);
	return hmm_walk_unmapped(w, vma, start, end);
}

static int hmm_walk_pmd(pmd_t *pmdp, unsigned long start, unsigned long end,
			struct mm_walk *walk)
{
	int ret = hmm_walk_some_pmds(walk->private, walk->vma, pmdp, start, end);

	if (ret != -EAGAIN)
		return ret;
	walk->action = ACTION_AGAIN;
	return 0;
}

#if defined(CONFIG_TRANSPARENT_HUGEPAGE) && \
	defined(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD)
static int hmm_walk_pud(pud_t *pudp, unsigned long start, unsigned long end,
			struct mm_walk *walk)
{
	struct vm_area_struct *vma = walk->vma;
	struct hmm_walk *w = walk->private;
	spinlock_t *ptl = pud_trans_huge_lock(pudp, vma);
	struct hmm_leaf leaf;
	int ret;

	if (!ptl)
		return 0;

	leaf = hmm_decode_pud(vma, start, pudp_get(pudp));
	ret = hmm_walk_whole(w, vma, start, end, leaf);
	spin_unlock(ptl);
	/* There is no table below, and the mapping must not be split. */
	walk->action = ACTION_CONTINUE;
	return ret;
}
#else
#define hmm_walk_pud	NULL
#endif

#ifdef CONFIG_HUGETLB_PAGE
/*
 * Pages [start, next) under one entry; if that is a PMD, also those under the
 * next entries of the same table, before @end, as long as they are alike.
 */
static int hmm_walk_hugetlb_entry(struct hmm_walk *w,
				  struct vm_area_struct *vma, pte_t *ptep,
				  unsigned long start, unsigned long next,
				  unsigned long end)
{
	struct hstate *h = hstate_vma(vma);
	spinlock_t *ptl = huge_pte_lock(h, vma->vm_mm, ptep);
	pte_t pte = huge_ptep_get(vma->vm_mm, start & huge_page_mask(h), ptep);
	struct hmm_leaf leaf = hmm_decode_hugetlb(w->range->dev_private_owner,
						  vma, start, pte);
	int ret = hmm_walk_whole(w, vma, start, next, leaf);

	if (!ret && next < end && huge_page_size(h) == PMD_SIZE) {
		pmd_t *pmdp = (pmd_t *)ptep;

		hmm_walk_huge_run(w, pmdp, pmdp_get(pmdp), leaf,
				  pud_addr_end(start, end));
	}
	spin_unlock(ptl);
	return ret;
}

static int hmm_walk_hugetlb(pte_t *ptep, unsigned long hmask,
			    unsigned long start, unsigned long end,
			    struct mm_walk *walk)
{
	return hmm_walk_hugetlb_entry(walk->private, walk->vma, ptep, start,
				      end, end);
}

/* The rest of the range, which lies in @vma */
static int hmm_walk_hugetlb_vma(struct hmm_walk *w,
				struct vm_area_struct *vma)
{
	unsigned long size = huge_page_size(hstate_vma(vma));
	unsigned long start, next, end = w->range->end;
	int ret = 0;

	hugetlb_vma_lock_read(vma);
	for (start = w->next; start < end && !ret; start = w->next) {
		pte_t *ptep = hugetlb_walk(vma, ALIGN_DOWN(start, size), size);

		next = min(ALIGN(start + 1, size), end);
		ret = ptep ? hmm_walk_hugetlb_entry(w, vma, ptep, start, next, end) :
			     hmm_walk_unmapped_hugetlb(w, vma, start, next);
	}
	hugetlb_vma_unlock_read(vma);
	return ret;
}
#else
#define hmm_walk_hugetlb	NULL

static int hmm_walk_hugetlb_vma(struct hmm_walk *w,
				struct vm_area_struct *vma)
{
	return 0;
}
#endif

/*
 * VMAs that a device cannot mirror are answered for without reading their page
 * tables. The kernel itself has no access to secret memory; neither has a
 * device.
 */
static bool hmm_walk_can_mirror(struct vm_area_struct *vma)
{
	return hmm_flags_allow_reading(vma->vm_flags) &&
	       (vma_is_anonymous(vma) || !vma_is_secretmem(vma));
}

static int hmm_walk_test(unsigned long start, unsigned long end,
			 struct mm_walk *walk)
{
	struct hmm_walk *w = walk->private;

	if (hmm_walk_can_mirror(walk->vma))
		return 0;

	/* In this callback, 1 skips the VMA, and only an errno ends the walk. */
	if (hmm_walk_whole(w, walk->vma, start, end, hmm_leaf_error()))
		return -EFAULT;
	return 1;
}

#define HMM_WALK_CALLBACKS			\
	.pud_entry	= hmm_walk_pud,		\
	.pmd_entry	= hmm_walk_pmd,		\
	.pte_hole	= hmm_walk_hole,	\
	.hugetlb_entry	= hmm_walk_hugetlb

static const struct mm_walk_ops hmm_walk_ops = {
	HMM_WALK_CALLBACKS,
	.test_walk	= hmm_walk_test,
	.walk_lock	= PGWALK_RDLOCK,
};

static const struct mm_walk_ops hmm_walk_vma_locked_ops = {
	HMM_WALK_CALLBACKS,
	.walk_lock	= PGWALK_VMA_RDLOCK_VERIFY,
};

/**
 * hmm_walk_pmd_at() - find the PMD entry for an address
 * @vma: the VMA that @addr lies in, not hugetlb
 * @addr: the address
 * @leaf: receives the PUD entry, if that is a leaf
 *
 * Context: mmap_lock is held, or that of @vma; it keeps all of the tables that
 * this visits.
 *
 * Return: the PMD entry, or %NULL if there is no table of them.
 */
pmd_t *hmm_walk_pmd_at(const struct vm_area_struct *vma, unsigned long addr,
		       pud_t *leaf)
{
	pgd_t *pgdp = pgd_offset(vma->vm_mm, addr);
	p4d_t *p4dp, p4d;
	pud_t *pudp, pud;

	if (pgd_none(pgdp_get(pgdp)))
		return NULL;
	p4dp = p4d_offset(pgdp, addr);
	p4d = p4dp_get(p4dp);
	if (p4d_none(p4d))
		return NULL;

	pudp = pud_offset_lockless(p4dp, p4d, addr);
	pud = pudp_get(pudp);
	if (!pud_present(pud))
		return NULL;
	if (!pud_leaf(pud))
		return pmd_offset_lockless(pudp, pud, addr);
	*leaf = pud;
	return NULL;
}

/* The page walker handles pages [start, end) that have no table of PMDs. */
static noinline int hmm_walk_no_pmds(struct hmm_walk *w,
				     struct vm_area_struct *vma,
				     unsigned long start, unsigned long end)
{
	return walk_page_range_vma(vma, start, end,
				   w->vma ? &hmm_walk_vma_locked_ops :
					    &hmm_walk_ops, w);
}

/* The rest of the range, which lies in @vma */
static int hmm_walk_vma(struct hmm_walk *w, struct vm_area_struct *vma)
{
	unsigned long start, next, end = w->range->end;

	if (!hmm_walk_can_mirror(vma))
		return hmm_walk_whole(w, vma, w->next, end, hmm_leaf_error());
	if (is_vm_hugetlb_page(vma))
		return hmm_walk_hugetlb_vma(w, vma);
	for (start = w->next; start < end; start = next) {
		pud_t unused;
		pmd_t *pmdp = hmm_walk_pmd_at(vma, start, &unused);
		int ret;

		next = pud_addr_end(start, end);
		ret = pmdp ? hmm_walk_pmds(w, vma, pmdp, start, next) :
			     hmm_walk_no_pmds(w, vma, start, next);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * hmm_walk_continue() - record slots from the next one on
 * @w: the walk
 *
 * Context: Process context. mmap_lock of the notifier's mm is held, or that of
 * &hmm_walk.vma.
 *
 * Return: HMM_DONE, HMM_FAULT_NEEDED with &hmm_walk.span set, or HMM_NO_ACCESS.
 */
enum hmm_outcome hmm_walk_continue(struct hmm_walk *w)
{
	struct hmm_range *range = w->range;
	struct mm_struct *mm = range->notifier->mm;
	struct vm_area_struct *vma;
	int ret;

	if (!w->vma)
		lockdep_assert_held(&mm->mmap_lock);
	else if (IS_ENABLED(CONFIG_LOCKDEP))
		vma_assert_locked(w->vma);

	vma = w->vma ?: vma_lookup(mm, w->next);
	do {
		w->outcome = HMM_DONE;
		if (vma && range->end <= vma->vm_end)
			ret = hmm_walk_vma(w, vma);
		else
			ret = walk_page_range(mm, w->next, range->end,
					      &hmm_walk_ops, w);
	} while (ret == -EAGAIN);
	/* Otherwise, w->outcome says how the walk ended. */
	return w->outcome;
}
