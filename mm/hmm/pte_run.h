/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PTEs of one kind: they map pages with the same access and differ in nothing
 * else that a device can see. Only PTEs that are present, accessible and not
 * special have a kind.
 *
 * The walk spends its time here. Where a PTE is a page frame number amid flags
 * that can be compared in one go, this is done; other architectures ask for
 * each property.
 */
#ifndef _MM_HMM_PTE_RUN_H
#define _MM_HMM_PTE_RUN_H

#include <linux/mm.h>
#include <linux/pgtable.h>

/* Does @pte have a kind? Without marks for special PTEs, it is not known. */
static inline bool hmm_pte_has_kind(pte_t pte)
{
	return IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL) && pte_present(pte) &&
	       !pte_protnone(pte) && !pte_special(pte);
}

#ifdef CONFIG_X86_64

/**
 * struct hmm_pte_kind - what PTEs of one kind have in common
 * @flags: all flags of one of them
 */
struct hmm_pte_kind {
	pteval_t flags;
};

/*
 * These say nothing about access, and are all below the frame number. That
 * pte_write() goes by _PAGE_DIRTY in the VMA of a shadow stack does not matter:
 * no device may write there, see hmm_entry_is_writable().
 */
#define HMM_PTE_NO_KIND	(_PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_SOFT_DIRTY | \
			 _PAGE_UFFD)

static inline struct hmm_pte_kind hmm_pte_kind_of(pte_t pte)
{
	return (struct hmm_pte_kind){ .flags = pte_flags(pte) };
}

/* Is @pte of the kind? Then @pfn is what it maps. */
static inline bool hmm_pte_is_kind(pte_t pte, struct hmm_pte_kind kind,
				   unsigned long *pfn)
{
	pteval_t differs = pte_val(pte) ^ kind.flags;

	/* Flags that differ and do not matter are below the number. */
	*pfn = differs >> PAGE_SHIFT;
	return !(differs & ~(PTE_PFN_MASK | HMM_PTE_NO_KIND));
}

/* How the PTE at @ptep differs from the kind; above the flags that is its pfn. */
static __always_inline pteval_t hmm_pte_differs(pte_t *ptep,
						struct hmm_pte_kind kind,
						unsigned long *pfn)
{
	pteval_t differs = pte_val(ptep_get(ptep)) ^ kind.flags;

	*pfn = differs >> PAGE_SHIFT;
	return differs;
}

/* Are these four of the kind? Then @pfns is what they map. One branch for all. */
static __always_inline bool hmm_ptes_are_kind(pte_t *ptep,
					      struct hmm_pte_kind kind,
					      unsigned long *pfns)
{
	pteval_t differs = hmm_pte_differs(ptep, kind, &pfns[0]) |
			   hmm_pte_differs(ptep + 1, kind, &pfns[1]) |
			   hmm_pte_differs(ptep + 2, kind, &pfns[2]) |
			   hmm_pte_differs(ptep + 3, kind, &pfns[3]);

	return !(differs & ~(PTE_PFN_MASK | HMM_PTE_NO_KIND));
}

#define HMM_PTES_AT_ONCE	16UL

/*
 * Do the @nr PTEs from @ptep on map @pfn, @pfn + 1, …, all of the kind? Nearly
 * all do: look at all rather than branch at each. Under their lock only
 * hardware writes to them, to bits that make no kind: they may be read as
 * the compiler likes.
 */
static inline bool hmm_ptes_are_block(pte_t *ptep, unsigned long nr,
				      struct hmm_pte_kind kind,
				      unsigned long pfn)
{
	pteval_t expected = kind.flags | (pfn << PAGE_SHIFT);
	pteval_t differs = 0;
	unsigned long i;

	for (; nr % HMM_PTES_AT_ONCE; nr--, ptep++, expected += PAGE_SIZE)
		differs |= pte_val(ptep_get(ptep)) ^ expected;

	for (; nr; nr -= HMM_PTES_AT_ONCE) {
		unrolled_full
		for (i = 0; i < HMM_PTES_AT_ONCE; i++)
			/* With hardware, which changes what does not count */
			differs |= data_race(pte_val(ptep[i])) ^
				   (expected + i * PAGE_SIZE);
		ptep += HMM_PTES_AT_ONCE;
		expected += HMM_PTES_AT_ONCE * PAGE_SIZE;
	}
	return !(differs & ~(HMM_PTE_NO_KIND | _PAGE_SAVED_DIRTY));
}

/* The same for PMDs that map a huge page */

static inline struct hmm_pte_kind hmm_pmd_kind_of(pmd_t pmd)
{
	return (struct hmm_pte_kind){ .flags = pmd_flags(pmd) };
}

static inline bool hmm_pmd_is_kind(pmd_t pmd, struct hmm_pte_kind kind,
				   unsigned long *pfn)
{
	pmdval_t differs = pmd_val(pmd) ^ kind.flags;

	*pfn = differs >> PAGE_SHIFT;
	return !(differs & ~(PHYSICAL_PMD_PAGE_MASK | HMM_PTE_NO_KIND));
}

#else /* !CONFIG_X86_64 */

struct hmm_pte_kind {
	bool writable;
};

static inline struct hmm_pte_kind hmm_pte_kind_of(pte_t pte)
{
	return (struct hmm_pte_kind){ .writable = pte_write(pte) };
}

static inline bool hmm_pte_is_kind(pte_t pte, struct hmm_pte_kind kind,
				   unsigned long *pfn)
{
	if (!hmm_pte_has_kind(pte) || !!pte_write(pte) != kind.writable)
		return false;
	*pfn = pte_pfn(pte);
	return true;
}

static inline bool hmm_ptes_are_block(pte_t *ptep, unsigned long nr,
				      struct hmm_pte_kind kind,
				      unsigned long pfn)
{
	unsigned long i, at;

	for (i = 0; i < nr; i++)
		if (!hmm_pte_is_kind(ptep_get(ptep + i), kind, &at) ||
		    at != pfn + i)
			return false;
	return true;
}

static inline bool hmm_ptes_are_kind(pte_t *ptep, struct hmm_pte_kind kind,
				     unsigned long *pfns)
{
	unsigned long i;

	for (i = 0; i < 4; i++)
		if (!hmm_pte_is_kind(ptep_get(ptep + i), kind, &pfns[i]))
			return false;
	return true;
}

/* PMDs are few: to look at each on its own is good enough. */
static inline struct hmm_pte_kind hmm_pmd_kind_of(pmd_t pmd)
{
	return (struct hmm_pte_kind){};
}

static inline bool hmm_pmd_is_kind(pmd_t pmd, struct hmm_pte_kind kind,
				   unsigned long *pfn)
{
	return false;
}

#endif /* !CONFIG_X86_64 */

#endif /* _MM_HMM_PTE_RUN_H */
