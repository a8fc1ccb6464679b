/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers of a walk that collects, for hmm_range_migrate(): while a page table
 * is locked, its slots are recorded as hmm_range_fault() would, and then its
 * pages are collected. A page that is not collected, or that is restored later,
 * has its answer already; that of a page that moves is changed to its
 * destination.
 *
 * All entries of a page table are looked at before any is collected: if a page
 * must be faulted in, that is possible only while no folio is locked.
 */
#ifndef _MM_HMM_MIGRATE_ANSWER_H
#define _MM_HMM_MIGRATE_ANSWER_H

#include <linux/mm.h>

#include "access.h"
#include "decode.h"
#include "migrate.h"
#include "policy.h"
#include "pte_run.h"
#include "walk.h"

static inline unsigned long
migrate_answer_asked(const struct migrate_answers *answers,
		     unsigned long i)
{
	const struct hmm_request *request = &answers->walk->request;

	return hmm_request_for(request,
			       answers->requests ? answers->requests[i] : 0);
}

static inline bool
migrate_answer_may_fill(const struct migrate_answers *answers,
			struct vm_area_struct *vma, unsigned long asked)
{
	return answers->fill && (!(asked & HMM_PFN_REQ_WRITE) ||
				 hmm_flags_allow_writing(vma->vm_flags));
}

/* Is the request @asked, which is not 0, met by @answer? */
static inline bool migrate_answer_meets(unsigned long asked,
					unsigned long answer)
{
	const struct hmm_request request = { .everywhere = asked };

	return hmm_decide(&request, 0, answer) == HMM_RECORD;
}

static inline bool migrate_answer_is_hole(pte_t pte)
{
	return pte_none(pte) || (pte_present(pte) && !pte_uffd(pte) &&
				 is_zero_pfn(pte_pfn(pte)));
}

/*
 * Record @answer for PTEs of the kind, of at most @max > 0 pages, the first of
 * which is of it. Returns how many. Not inlined, so that the loop has all
 * registers.
 */
static noinline unsigned long migrate_answer_run(unsigned long *slots,
						 pte_t *ptep, unsigned long max,
						 struct hmm_pte_kind kind,
						 unsigned long answer)
{
	unsigned long nr = 0, pfn;

	for (; max - nr >= 4; nr += 4) {
		unsigned long pfns[4] __uninitialized;

		if (!hmm_ptes_are_kind(ptep + nr, kind, pfns))
			break;
		hmm_slots_record_four(slots + nr, answer, pfns);
	}
	for (; nr < max; nr++) {
		if (!hmm_pte_is_kind(ptep_get(ptep + nr), kind, &pfn))
			break;
		hmm_slot_set(slots + nr, answer | pfn);
	}
	return nr;
}

/*
 * Record the PTEs from @addr on, of entry @i on. Marks pages that are not
 * requested as refused. Returns the first address whose page must be faulted
 * in, or @end.
 */
static noinline unsigned long
migrate_answer_ptes(const struct migrate_answers *answers,
		    struct migrate_vma *migrate, pte_t *ptep,
		    unsigned long addr, unsigned long end)
{
	const void *owner = answers->walk->range->dev_private_owner;
	unsigned long *slot = hmm_walk_slots(answers->walk, addr);
	unsigned long i = migrate_index(migrate, addr);
	struct vm_area_struct *vma = migrate->vma;
	unsigned long nr;

	while (addr < end) {
		unsigned long asked = migrate_answer_asked(answers, i);
		pte_t pte = ptep_get(ptep);
		struct hmm_leaf leaf = hmm_decode_pte(owner, vma, addr, pte);

		if (!asked)
			migrate->src[i] = migrate_refused(MIGRATE_NOT_SELECTED);
		else if (!migrate_answer_meets(asked, leaf.answer) &&
			 !(migrate_answer_is_hole(pte) &&
			   migrate_answer_may_fill(answers, vma, asked)))
			break;
		nr = 1;
		/* All pages have the same request: so has a run. */
		if (asked && !answers->requests && hmm_pte_has_kind(pte))
			nr = migrate_answer_run(slot, ptep,
						hmm_pages(addr, end),
						hmm_pte_kind_of(pte),
						leaf.answer & HMM_PFN_FLAGS);
		else
			hmm_slot_set(slot, leaf.answer);
		addr += nr << PAGE_SHIFT;
		ptep += nr;
		slot += nr;
		i += nr;
	}
	return addr;
}

/*
 * The same for pages without a page table. @pmd is none, or the entry of a huge
 * page. A huge page moves if its first page here is requested.
 */
static inline unsigned long
migrate_answer_pmd(const struct migrate_answers *answers,
		   struct migrate_vma *migrate, pmd_t pmd, unsigned long addr,
		   unsigned long end)
{
	const void *owner = answers->walk->range->dev_private_owner;
	unsigned long i = migrate_index(migrate, addr), at;
	struct vm_area_struct *vma = migrate->vma;
	struct hmm_leaf leaf = hmm_leaf_absent();
	bool hole = pmd_none(pmd);

	if (!hole) {
		leaf = hmm_decode_pmd(owner, vma, addr, pmd);
		hole = is_huge_zero_pmd(pmd) && !pmd_uffd(pmd);
	}
	for (at = addr; at < end; at += PAGE_SIZE, i++) {
		unsigned long asked = migrate_answer_asked(answers, i);

		if (!asked)
			migrate->src[i] = migrate_refused(MIGRATE_NOT_SELECTED);
		else if (!migrate_answer_meets(asked, leaf.answer) &&
			 !(hole && migrate_answer_may_fill(answers, vma, asked)))
			return at;
		/* All pages have the same request. */
		if (!answers->requests)
			break;
	}
	hmm_walk_record(answers->walk, addr, end, leaf);
	return end;
}

#endif /* _MM_HMM_MIGRATE_ANSWER_H */
