// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The walk through one table of PTEs.
 *
 * PTEs are handled in runs: the first one is decoded, and the policy decides on
 * it. As long as the next ones are of the same kind and have the same request,
 * only page frame numbers are copied.
 *
 * A caller that asks for orders gets them: a large folio whose pages are all
 * mapped here, aligned, by PTEs of one kind and inside the range is a *block*,
 * recorded at once with its order. For all other callers a PTE has order 0,
 * whatever folio it maps a part of, and no struct page is looked at.
 */
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/page-flags.h>

#include "access.h"
#include "decode.h"
#include "policy.h"
#include "pte_run.h"
#include "walk.h"

/*
 * Requests of single slots can end a run anywhere, and the PTEs after it are
 * read again for the next run: limit its length.
 */
#define HMM_RUN_WITH_REQUESTS	16UL

/*
 * The return value of callbacks that ends the page walk. Positive, so that it
 * is no errno; hmm_walk.outcome says why the walk ended.
 */
#define HMM_WALK_STOP	1

/**
 * hmm_walk_stop() - end the walk before pages that lack access
 * @w: the walk
 * @vma: their VMA
 * @start: first address
 * @end: end of the pages, exclusive
 * @verdict: the access that they lack
 *
 * Return: the value that ends a page walk.
 */
int hmm_walk_stop(struct hmm_walk *w, struct vm_area_struct *vma,
		  unsigned long start, unsigned long end,
		  enum hmm_verdict verdict)
{
	if (verdict == HMM_REFUSE) {
		w->outcome = HMM_NO_ACCESS;
		return HMM_WALK_STOP;
	}
	w->outcome = HMM_FAULT_NEEDED;
	w->span = (struct hmm_span){
		.vma = vma,
		.start = start,
		.end = end,
		.write = verdict == HMM_WRITE_FAULT,
	};
	return HMM_WALK_STOP;
}

/**
 * hmm_walk_stop_movable() - end the walk before a page that may move
 * @w: the walk, with &hmm_walk.moving set
 * @addr: the page, which is present and to be recorded next
 * @page: as by vm_normal_page(), or %NULL; the shared zero page may move
 *
 * Return: the value that ends a page walk, or 0 if the page stays.
 */
int hmm_walk_stop_movable(struct hmm_walk *w, unsigned long addr,
			  struct page *page)
{
	struct folio *folio = page ? page_folio(page) : NULL;

	if (!hmm_request_for(&w->request, *hmm_walk_slots(w, addr)))
		return 0;
	if (folio && (!folio_test_anon(folio) || folio_test_ksm(folio) ||
		      folio_is_zone_device(folio)))
		return 0;
	w->next = addr;
	w->outcome = HMM_MOVABLE;
	return HMM_WALK_STOP;
}

/**
 * struct hmm_walk_run - PTEs of one kind that are being recorded
 * @w: the walk
 * @ptep: the PTE of @addr
 * @addr: the first page
 * @nr: pages that can be recorded, if their PTEs are of the kind
 * @kind: what the PTEs have in common
 * @answer: the answer for all of them, but for the page frame number
 */
struct hmm_walk_run {
	struct hmm_walk *w;
	pte_t *ptep;
	unsigned long addr;
	unsigned long nr;
	struct hmm_pte_kind kind;
	unsigned long answer;
};

/*
 * The loops over the pages of a run are separate functions that are not
 * inlined, so that each has all registers.
 */

static noinline bool hmm_walk_run_is_block(const struct hmm_walk_run *run,
					   pte_t *ptep, unsigned long nr,
					   unsigned long pfn)
{
	return hmm_ptes_are_block(ptep, nr, run->kind, pfn);
}

static noinline void hmm_walk_run_record(const struct hmm_walk *w,
					 unsigned long *slots, unsigned long nr,
					 unsigned long answer)
{
	hmm_walk_record_step(w, slots, nr, answer);
}

/*
 * Record blocks of 2^@order pages from number @at on, for as long as there are
 * some that lie in the run as a whole. Returns how many pages that is.
 */
static noinline unsigned long
hmm_walk_run_blocks(const struct hmm_walk_run *run, unsigned long at,
		    unsigned int order)
{
	const unsigned long nr = 1UL << order;
	const unsigned long recorded = run->w->sparse ? 1 : nr;
	unsigned long *slots = hmm_walk_slots(run->w, run->addr) + at;
	unsigned long begin = at, pfn;
	pte_t *ptep = run->ptep + at;
	unsigned long answer = run->answer |
			       (unsigned long)order << HMM_PFN_ORDER_SHIFT;

	if (((run->addr >> PAGE_SHIFT) + at) & (nr - 1))
		return 0;
	for (; at + nr <= run->nr; at += nr, ptep += nr, slots += nr) {
		if (!hmm_pte_is_kind(ptep_get(ptep), run->kind, &pfn))
			break;
		/* Heads are aligned. The page table lock prevents a split. */
		if (compound_order(pfn_to_page(pfn)) != order ||
		    !hmm_walk_run_is_block(run, ptep, nr, pfn))
			break;
		hmm_walk_run_record(run->w, slots, recorded, answer | pfn);
	}
	return at - begin;
}

/*
 * The folio is larger than a table of PTEs: record page @pfn, number @at of the
 * run, and the rest of the table as a block, if they are one. Returns how many
 * pages that is, or 0.
 */
static noinline unsigned long hmm_walk_run_table(const struct hmm_walk_run *run,
						 unsigned long at,
						 unsigned long pfn)
{
	unsigned long addr = run->addr + (at << PAGE_SHIFT);
	const unsigned long nr = 1UL << PMD_ORDER;
	struct hmm_leaf leaf = hmm_leaf_mapped(pfn, false, PMD_ORDER);

	if (!IS_ALIGNED(addr, PMD_SIZE) || !IS_ALIGNED(pfn, nr) ||
	    run->nr - at < nr ||
	    !hmm_walk_run_is_block(run, run->ptep + at, nr, pfn))
		return 0;
	leaf.answer |= run->answer;
	hmm_walk_record(run->w, addr, addr + PMD_SIZE, leaf);
	return nr;
}

/*
 * Record page @pfn, number @at of the run, or the blocks that begin with it.
 * Returns how many pages that is.
 */
static unsigned long hmm_walk_run_first(const struct hmm_walk_run *run,
					unsigned long at, unsigned long pfn)
{
	unsigned long addr = run->addr + (at << PAGE_SHIFT), nr = 0;
	struct page *page = pfn_to_page(pfn);

	if (PageCompound(page)) {
		unsigned int order = folio_order(page_folio(page));

		nr = order > PMD_ORDER ?
			hmm_walk_run_table(run, at, pfn) :
			hmm_walk_run_blocks(run, at, order);
	}
	if (nr)
		return nr;
	hmm_walk_record_one(run->w, hmm_walk_slots(run->w, addr),
			    run->answer | pfn);
	return 1;
}

/* May these two pages be the first ones of a block? */
static bool hmm_walk_begins_block(unsigned long first, unsigned long second)
{
	return second == first + 1 && PageHead(pfn_to_page(first));
}

/*
 * Record pages four at a time from number @at on, which has an even address.
 * Stops before a PTE of another kind and, if orders are requested, before what
 * may be a block. Returns how many were recorded.
 */
static __always_inline unsigned long
hmm_walk_run_fours(const struct hmm_walk_run *run, unsigned long at,
		   const bool orders)
{
	unsigned long *slots = hmm_walk_slots(run->w, run->addr) + at;
	const struct hmm_pte_kind kind = run->kind;
	const unsigned long answer = run->answer;
	pte_t *ptep = run->ptep + at;
	unsigned long left;

	for (left = run->nr - at; left >= 4; left -= 4, ptep += 4, slots += 4) {
		unsigned long pfns[4] __uninitialized;

		if (!hmm_ptes_are_kind(ptep, kind, pfns))
			break;
		if (orders && (hmm_walk_begins_block(pfns[0], pfns[1]) ||
			       hmm_walk_begins_block(pfns[2], pfns[3])))
			break;
		hmm_slots_record_four(slots, answer, pfns);
	}
	return run->nr - at - left;
}

static noinline unsigned long hmm_walk_run_small(const struct hmm_walk_run *run,
						 unsigned long at)
{
	return hmm_walk_run_fours(run, at, true);
}

static noinline unsigned long hmm_walk_run_plain(const struct hmm_walk_run *run)
{
	return hmm_walk_run_fours(run, 0, false);
}

/* Record the run for as long as it is one. Returns how many pages that is. */
static unsigned long hmm_walk_run_orders(const struct hmm_walk_run *run)
{
	unsigned long first_page = run->addr >> PAGE_SHIFT, at = 0, pfn;

	while (at < run->nr &&
	       hmm_pte_is_kind(ptep_get(run->ptep + at), run->kind, &pfn)) {
		at += hmm_walk_run_first(run, at, pfn);
		if (run->nr - at >= 4 && !((first_page + at) & 1) &&
		    !run->w->shared)
			at += hmm_walk_run_small(run, at);
	}
	return at;
}

static unsigned long hmm_walk_run_all(const struct hmm_walk_run *run)
{
	unsigned long *slots = hmm_walk_slots(run->w, run->addr);
	unsigned long at = 0, pfn;

	if (run->w->orders)
		return hmm_walk_run_orders(run);

	if (!run->w->shared)
		at = hmm_walk_run_plain(run);
	for (; at < run->nr; at++) {
		if (!hmm_pte_is_kind(ptep_get(run->ptep + at), run->kind, &pfn))
			break;
		hmm_walk_record_one(run->w, slots + at, run->answer | pfn);
	}
	return at;
}

/*
 * Record device-private entries like the first one, @pte, whose answer is
 * @leaf. Those that are of the same struct dev_pagemap and have the same flags
 * get the same answer. Returns how many, from 1 to @nr.
 */
static noinline unsigned long
hmm_walk_record_private(struct hmm_walk *w, pte_t *ptep, pte_t pte,
			struct hmm_leaf leaf, unsigned long addr,
			unsigned long nr)
{
	const unsigned long answer = leaf.answer & HMM_PFN_FLAGS;
	unsigned long *slots = hmm_walk_slots(w, addr), at;
	softleaf_t entry = softleaf_from_pte(pte);
	struct dev_pagemap *pgmap = page_pgmap(softleaf_to_page(entry));
	const enum softleaf_type type = softleaf_type(entry);
	unsigned long first = PHYS_PFN(pgmap->range.start);
	unsigned long last = PHYS_PFN(pgmap->range.end);

	hmm_walk_record_one(w, slots, leaf.answer);
	for (at = 1; at < nr; at++) {
		unsigned long pfn;

		pte = ptep_get(ptep + at);
		if (pte_none(pte) || pte_present(pte) || pte_swp_uffd(pte))
			break;
		entry = softleaf_from_pte(pte);
		if (softleaf_type(entry) != type)
			break;
		pfn = softleaf_to_pfn(entry);
		if (pfn < first || pfn > last)
			break;
		hmm_walk_record_one(w, slots + at, answer | pfn);
	}
	return at;
}

/* How many of @nr PTEs, from the first on, are none */
static unsigned long hmm_walk_count_none(pte_t *ptep, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++)
		if (!pte_none(ptep_get(ptep + i)))
			break;
	return i;
}

/*
 * Record PTEs from @addr on that are like the first one, @pte, whose answer is
 * @leaf. Returns how many, from 1 to @nr.
 */
static unsigned long hmm_walk_record_ptes(struct hmm_walk *w, pte_t *ptep,
					  pte_t pte, struct hmm_leaf leaf,
					  unsigned long addr, unsigned long nr)
{
	if (hmm_pte_has_kind(pte)) {
		struct hmm_walk_run run = {
			.w = w,
			.ptep = ptep,
			.addr = addr,
			.nr = nr,
			.kind = hmm_pte_kind_of(pte),
			.answer = leaf.answer & HMM_PFN_FLAGS,
		};

		return hmm_walk_run_all(&run);
	}
	/* Only a page of the caller's own is valid and not present. */
	if (!pte_present(pte) && leaf.answer & HMM_PFN_VALID)
		return hmm_walk_record_private(w, ptep, pte, leaf, addr, nr);
	nr = pte_none(pte) ? hmm_walk_count_none(ptep, nr) : 1;
	hmm_walk_record(w, addr, addr + (nr << PAGE_SHIFT), leaf);
	return nr;
}

/* How far, from @addr on, pages get the same @verdict: what to fault in */
static unsigned long hmm_walk_span_end(const struct hmm_walk *w,
				       struct vm_area_struct *vma, pte_t *ptep,
				       unsigned long addr, unsigned long end,
				       enum hmm_verdict verdict)
{
	unsigned long *slot = hmm_walk_slots(w, addr);

	/* Nothing is mapped: the usual case, memory that was not used yet. */
	if (hmm_request_is_uniform(&w->request) && pte_none(ptep_get(ptep))) {
		unsigned long nr = hmm_walk_count_none(ptep,
						       hmm_pages(addr, end));

		return addr + (nr << PAGE_SHIFT);
	}
	for (; addr < end; addr += PAGE_SIZE, ptep++, slot++) {
		struct hmm_leaf leaf =
			hmm_decode_pte(w->range->dev_private_owner, vma, addr,
				       ptep_get(ptep));

		if (hmm_decide(&w->request, *slot, leaf.answer) != verdict)
			break;
	}
	return addr;
}

static noinline int hmm_walk_many_ptes(struct hmm_walk *w,
				       struct vm_area_struct *vma, pte_t *ptep,
				       unsigned long start, unsigned long end)
{
	bool uniform = hmm_request_is_uniform(&w->request);
	unsigned long addr, nr;

	for (addr = start; addr < end; addr += nr << PAGE_SHIFT, ptep += nr) {
		pte_t pte = ptep_get(ptep);
		struct hmm_leaf leaf =
			hmm_decode_pte(w->range->dev_private_owner, vma, addr,
				       pte);
		enum hmm_verdict verdict;

		nr = hmm_pages(addr, end);
		if (!uniform)
			nr = min(nr, HMM_RUN_WITH_REQUESTS);
		nr = hmm_decide_run(&w->request, hmm_walk_slots(w, addr), nr,
				    leaf.answer, &verdict);
		if (verdict != HMM_RECORD) {
			w->next = addr;
			end = hmm_walk_span_end(w, vma, ptep, addr, end,
						verdict);
			return hmm_walk_stop(w, vma, addr, end, verdict);
		}
		if (unlikely(w->moving) && pte_present(pte)) {
			int ret = hmm_walk_stop_movable(w, addr,
					vm_normal_page(vma, addr, pte));

			if (ret)
				return ret;
			/* The next page may be of another kind of memory. */
			nr = 1;
		}
		nr = hmm_walk_record_ptes(w, ptep, pte, leaf, addr, nr);
	}
	w->next = end;
	return 0;
}

/*
 * A range of a single page, as after a fault of the device, is recorded without
 * the overhead of a run. False if it is not a simple case.
 */
static bool hmm_walk_one_pte(struct hmm_walk *w, struct vm_area_struct *vma,
			     pte_t *ptep, unsigned long addr)
{
	unsigned long *slot = hmm_walk_slots(w, addr);
	pte_t pte = ptep_get(ptep);
	struct hmm_leaf leaf;

	/* A range of one page holds no block. */
	if (!hmm_pte_has_kind(pte) || w->moving)
		return false;
	leaf = hmm_leaf_mapped(pte_pfn(pte),
			       hmm_entry_is_writable(pte_write(pte),
						     vma->vm_flags), 0);
	if (hmm_decide(&w->request, *slot, leaf.answer) != HMM_RECORD)
		return false;
	hmm_walk_record_one(w, slot, leaf.answer);
	w->next = addr + PAGE_SIZE;
	return true;
}

/**
 * hmm_walk_ptes() - record the pages under a table of PTEs
 * @w: the walk
 * @vma: the VMA
 * @ptep: the PTE of @start
 * @start: first address
 * @end: end of the range, exclusive, in the same table
 *
 * Context: The page table lock is held.
 *
 * Return: 0, or what hmm_walk_stop() returned for the first page that needs a
 * fault or is refused.
 */
int hmm_walk_ptes(struct hmm_walk *w, struct vm_area_struct *vma, pte_t *ptep,
		  unsigned long start, unsigned long end)
{
	if (end - start == PAGE_SIZE && hmm_walk_one_pte(w, vma, ptep, start))
		return 0;
	return hmm_walk_many_ptes(w, vma, ptep, start, end);
}
