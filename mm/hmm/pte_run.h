/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PTEs of one kind: they map pages with the same access and differ in nothing
 * else that a device can see. Only PTEs that are present, accessible and not
 * special have a kind.
 *
 * The walk spends its time here. An architecture whose entries are a page frame
 * number, shifted by PAGE_SHIFT, amid flags may define PTE_RUN_IGNORES and its
 * relatives: then all flags are compared at once, by pte_flags() and
 * pmd_flags(). For all others each property is read by itself.
 */
#ifndef _MM_HMM_PTE_RUN_H
#define _MM_HMM_PTE_RUN_H

#include <linux/mm.h>
#include <linux/pgtable.h>

/*
 * Does @pte have a kind? Where the architecture does not mark special PTEs, no
 * PTE has one.
 */
static inline bool hmm_pte_has_kind(pte_t pte)
{
	return IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL) && pte_present(pte) &&
	       !pte_protnone(pte) && !pte_special(pte);
}

#ifdef PTE_RUN_IGNORES

/**
 * struct hmm_pte_kind - what PTEs of one kind have in common
 * @flags: all flags of one of them
 */
struct hmm_pte_kind {
	unsigned long flags;
};

static inline struct hmm_pte_kind hmm_pte_kind_of(pte_t pte)
{
	return (struct hmm_pte_kind){ .flags = pte_flags(pte) };
}

/* Is @pte of the kind? Then @pfn is what it maps. */
static inline bool hmm_pte_is_kind(pte_t pte, struct hmm_pte_kind kind,
				   unsigned long *pfn)
{
	unsigned long differs = pte_val(pte) ^ kind.flags;

	/* Flags that differ and do not matter are below the number. */
	*pfn = differs >> PAGE_SHIFT;
	return !(differs & ~(PTE_RUN_PFN_MASK | PTE_RUN_IGNORES_LOW));
}

/* How the PTE at @ptep differs from the kind; @pfn receives what it maps. */
static __always_inline unsigned long hmm_pte_differs(pte_t *ptep,
						     struct hmm_pte_kind kind,
						     unsigned long *pfn)
{
	unsigned long differs = pte_val(ptep_get(ptep)) ^ kind.flags;

	*pfn = differs >> PAGE_SHIFT;
	return differs;
}

/* Are these four of the kind? Then @pfns is what they map. Uses one branch. */
static __always_inline bool hmm_ptes_are_kind(pte_t *ptep,
					      struct hmm_pte_kind kind,
					      unsigned long *pfns)
{
	unsigned long differs = hmm_pte_differs(ptep, kind, &pfns[0]) |
				hmm_pte_differs(ptep + 1, kind, &pfns[1]) |
				hmm_pte_differs(ptep + 2, kind, &pfns[2]) |
				hmm_pte_differs(ptep + 3, kind, &pfns[3]);

	return !(differs & ~(PTE_RUN_PFN_MASK | PTE_RUN_IGNORES_LOW));
}

#define HMM_PTES_AT_ONCE	16UL

/*
 * Do the @nr PTEs from @ptep on map @pfn, @pfn + 1, …, all of the kind? Most
 * do: compare all of them instead of branching at each. Under the page
 * table lock only hardware writes to them, and only to flags that are ignored,
 * so that plain reads are sufficient.
 */
static inline bool hmm_ptes_are_block(pte_t *ptep, unsigned long nr,
				      struct hmm_pte_kind kind,
				      unsigned long pfn)
{
	unsigned long expected = kind.flags | (pfn << PAGE_SHIFT);
	unsigned long differs = 0;
	unsigned long i;

	for (; nr % HMM_PTES_AT_ONCE; nr--, ptep++, expected += PAGE_SIZE)
		differs |= pte_val(ptep_get(ptep)) ^ expected;

	for (; nr; nr -= HMM_PTES_AT_ONCE) {
		unrolled_full
		for (i = 0; i < HMM_PTES_AT_ONCE; i++)
			/* Hardware may write to ignored flags. */
			differs |= data_race(pte_val(ptep[i])) ^
				   (expected + i * PAGE_SIZE);
		ptep += HMM_PTES_AT_ONCE;
		expected += HMM_PTES_AT_ONCE * PAGE_SIZE;
	}
	return !(differs & ~PTE_RUN_IGNORES);
}

/* The same for PMDs that map a huge page */

static inline struct hmm_pte_kind hmm_pmd_kind_of(pmd_t pmd)
{
	return (struct hmm_pte_kind){ .flags = pmd_flags(pmd) };
}

static inline bool hmm_pmd_is_kind(pmd_t pmd, struct hmm_pte_kind kind,
				   unsigned long *pfn)
{
	unsigned long differs = pmd_val(pmd) ^ kind.flags;

	*pfn = differs >> PAGE_SHIFT;
	return !(differs & ~(PMD_RUN_PFN_MASK | PTE_RUN_IGNORES_LOW));
}

#else /* !PTE_RUN_IGNORES */

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

/* PMDs are few. No two are of one kind, so each is decoded by itself. */
static inline struct hmm_pte_kind hmm_pmd_kind_of(pmd_t pmd)
{
	return (struct hmm_pte_kind){};
}

static inline bool hmm_pmd_is_kind(pmd_t pmd, struct hmm_pte_kind kind,
				   unsigned long *pfn)
{
	return false;
}

#endif /* !PTE_RUN_IGNORES */

#endif /* _MM_HMM_PTE_RUN_H */
