// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The walk through one table of PTEs.
 *
 * PTEs are taken in runs: the first one is decoded, the policy decides on it,
 * and for as long as those behind it are of the same kind and have the same
 * request, all there is left to do is to copy page frame numbers.
 *
 * A large folio whose pages are all mapped here, aligned and by PTEs of one
 * kind, is a *block*: its slots carry its order. The part of a block that lies
 * in the range is recorded at once, so that all slots under one order agree.
 */
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/page-flags.h>

#include "decode.h"
#include "policy.h"
#include "pte_run.h"
#include "walk.h"

/*
 * Requests of single slots can end a run anywhere, and those behind are looked
 * at again for the next one: do not look far.
 */
#define HMM_RUN_WITH_REQUESTS	16UL

/**
 * struct hmm_run - PTEs of one kind on their way into slots
 * @w: the walk
 * @vma: the VMA
 * @ptep: the PTE of @addr
 * @addr: the first page
 * @nr: pages that can be recorded, if their PTEs are of the kind
 * @kind: what the PTEs have in common
 * @answer: the answer for all of them, but for the page frame number
 */
struct hmm_run {
	struct hmm_walk *w;
	struct vm_area_struct *vma;
	pte_t *ptep;
	unsigned long addr;
	unsigned long nr;
	struct hmm_pte_kind kind;
	unsigned long answer;
};

/*
 * The order of the block that page @pfn, number @at of the run, is the first
 * one of in the range; 0 if there is none. The folio cannot be split: that
 * would take the page table lock.
 */
static unsigned int hmm_run_block_order(const struct hmm_run *run,
					unsigned long at, unsigned long pfn)
{
	unsigned int order = folio_order(page_folio(pfn_to_page(pfn)));
	const struct hmm_range *range = run->w->range;
	unsigned long addr = run->addr + (at << PAGE_SHIFT);
	unsigned long start, end, before;

	/* A table holds no more. */
	order = min_t(unsigned int, order, PMD_ORDER);
	start = ALIGN_DOWN(addr, PAGE_SIZE << order);
	end = start + (PAGE_SIZE << order);
	before = hmm_pages(start, addr);

	if (start < run->vma->vm_start || end > run->vma->vm_end)
		return 0;
	/* All that the range has of it must be recorded now. */
	if (addr != max(start, range->start) ||
	    hmm_pages(addr, min(end, range->end)) > run->nr - at)
		return 0;
	if (!IS_ALIGNED(pfn - before, 1UL << order))
		return 0;
	if (!hmm_ptes_are_block(run->ptep + at - before, 1UL << order,
				run->kind, pfn - before))
		return 0;
	return order;
}

/* Record page @pfn, number @at of the run, or its block. Returns how many. */
static unsigned long hmm_run_record_block(const struct hmm_run *run,
					  unsigned long at, unsigned long pfn)
{
	unsigned long addr = run->addr + (at << PAGE_SHIFT), end;
	struct hmm_leaf leaf = { .answer = run->answer | pfn, .step = 1 };
	unsigned int order = hmm_run_block_order(run, at, pfn);

	end = min(ALIGN(addr + 1, PAGE_SIZE << order), run->w->range->end);
	leaf.answer |= (unsigned long)order << HMM_PFN_ORDER_SHIFT;
	hmm_walk_record(run->w, addr, end, leaf);
	return hmm_pages(addr, end);
}

/*
 * Record pages from number @at, which has an even address, on. Stops in front
 * of a PTE of another kind and in front of what may be a block: the head of a
 * large folio, with a page behind it. Returns how many were recorded.
 */
static unsigned long hmm_run_record_pairs(const struct hmm_run *run,
					  unsigned long at)
{
	unsigned long *slots = hmm_slots_at(run->w, run->addr) + at;
	const struct hmm_pte_kind kind = run->kind;
	const unsigned long answer = run->answer;
	unsigned long nr = run->nr - at, i;
	pte_t *ptep = run->ptep + at;

	unrolled_count(2)
	for (i = 0; i + 1 < nr; i += 2) {
		unsigned long first, second;

		if (!hmm_pte_is_kind(ptep_get(ptep + i), kind, &first) ||
		    !hmm_pte_is_kind(ptep_get(ptep + i + 1), kind, &second))
			break;
		if (second == first + 1 && PageHead(pfn_to_page(first)))
			break;
		hmm_slot_set(slots + i, answer | first);
		hmm_slot_set(slots + i + 1, answer | second);
	}
	return i;
}

/* Record the run for as long as it is one. Returns how many pages that is. */
static unsigned long hmm_run_record(const struct hmm_run *run)
{
	unsigned long first_page = run->addr >> PAGE_SHIFT, at = 0, pfn;

	while (at < run->nr &&
	       hmm_pte_is_kind(ptep_get(run->ptep + at), run->kind, &pfn)) {
		at += hmm_run_record_block(run, at, pfn);
		if (!((first_page + at) & 1))
			at += hmm_run_record_pairs(run, at);
	}
	return at;
}

/* How many of @nr PTEs, from the first on, are none */
static unsigned long hmm_ptes_none(pte_t *ptep, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++)
		if (!pte_none(ptep_get(ptep + i)))
			break;
	return i;
}

/*
 * Record PTEs from @addr on that are as good as the first one, @pte, with
 * answer @leaf. Returns how many, from 1 to @nr.
 */
static unsigned long hmm_ptes_record(struct hmm_walk *w,
				     struct vm_area_struct *vma, pte_t *ptep,
				     pte_t pte, struct hmm_leaf leaf,
				     unsigned long addr, unsigned long nr)
{
	if (hmm_pte_has_kind(pte)) {
		struct hmm_run run = {
			.w = w,
			.vma = vma,
			.ptep = ptep,
			.addr = addr,
			.nr = nr,
			.kind = hmm_pte_kind_of(pte),
			.answer = leaf.answer & HMM_PFN_FLAGS,
		};

		return hmm_run_record(&run);
	}
	nr = pte_none(pte) ? hmm_ptes_none(ptep, nr) : 1;
	hmm_walk_record(w, addr, addr + (nr << PAGE_SHIFT), leaf);
	return nr;
}

/* How far, from @addr on, pages get the same @verdict: what to fault in */
static unsigned long hmm_ptes_span_end(const struct hmm_walk *w,
				       struct vm_area_struct *vma, pte_t *ptep,
				       unsigned long addr, unsigned long end,
				       enum hmm_verdict verdict)
{
	unsigned long *slot = hmm_slots_at(w, addr);

	for (; addr < end; addr += PAGE_SIZE, ptep++, slot++) {
		struct hmm_leaf leaf = hmm_decode_pte(w, vma, addr,
						      ptep_get(ptep));

		if (hmm_decide(&w->request, *slot, leaf.answer) != verdict)
			break;
	}
	return addr;
}

/**
 * hmm_walk_ptes() - record the pages under a table of PTEs
 * @w: the walk
 * @vma: the VMA
 * @ptep: the PTE of @start
 * @start: first address
 * @end: first address behind, under the same table
 *
 * Context: The page table lock is held.
 *
 * Return: 0, or what hmm_walk_stop() returned for the first page that needs a
 * fault or is refused.
 */
int hmm_walk_ptes(struct hmm_walk *w, struct vm_area_struct *vma, pte_t *ptep,
		  unsigned long start, unsigned long end)
{
	bool uniform = hmm_request_is_uniform(&w->request);
	unsigned long addr, nr;

	for (addr = start; addr < end; addr += nr << PAGE_SHIFT, ptep += nr) {
		pte_t pte = ptep_get(ptep);
		struct hmm_leaf leaf = hmm_decode_pte(w, vma, addr, pte);
		enum hmm_verdict verdict;

		nr = hmm_pages(addr, end);
		if (!uniform)
			nr = min(nr, HMM_RUN_WITH_REQUESTS);
		nr = hmm_decide_run(&w->request, hmm_slots_at(w, addr), nr,
				    leaf.answer, &verdict);
		if (verdict != HMM_RECORD) {
			w->next = addr;
			end = hmm_ptes_span_end(w, vma, ptep, addr, end, verdict);
			return hmm_walk_stop(w, vma, addr, end, verdict);
		}
		nr = hmm_ptes_record(w, vma, ptep, pte, leaf, addr, nr);
	}
	w->next = end;
	return 0;
}
