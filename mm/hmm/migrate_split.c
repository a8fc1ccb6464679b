// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Split: an unmapped folio is split into smaller ones, which continue to
 * migrate. That costs much less than to split a folio that is mapped.
 */
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/rmap.h>
#include <linux/swapops.h>

#include "../internal.h"
#include "migrate.h"

/*
 * Split a PMD migration entry into PTEs. rmap calls this once for each mapping
 * of the folio.
 */
static bool migrate_split_pmd(struct folio *folio, struct vm_area_struct *vma,
			      unsigned long addr, void *arg)
{
	DEFINE_FOLIO_VMA_WALK(pvmw, folio, vma, addr,
			      PVMW_SYNC | PVMW_MIGRATION);

	if (!page_vma_mapped_walk(&pvmw))
		return true;
	if (!pvmw.pte)
		split_huge_pmd_locked(vma, pvmw.address & HPAGE_PMD_MASK,
				      pvmw.pmd, false);
	page_vma_mapped_walk_done(&pvmw);
	return true;
}

/* In all address spaces: no page table entry may be larger than its folio. */
static void migrate_split_pmds(struct folio *folio)
{
	struct rmap_walk_control rwc = { .rmap_one = migrate_split_pmd };

	if (folio_test_pmd_mappable(folio))
		rmap_walk(folio, &rwc);
}

static int migrate_split_unmapped(struct folio *folio, unsigned int order)
{
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	return folio_split_unmapped(folio, order);
#else
	return -EINVAL;
#endif
}

/**
 * migrate_split_folio() - split a folio that is being migrated
 * @migrate: the migration
 * @i: the folio's entry
 * @order: the order of the new folios
 * @stage: the stage that calls this
 *
 * Each new folio is locked, referenced, and has its own entry, with the flags
 * of the old one.
 *
 * Context: Process context, may sleep.
 *
 * Return: 0, or a negative errno if the folio cannot be split.
 */
int migrate_split_folio(struct migrate_vma *migrate, unsigned long i,
			unsigned int order, enum migrate_stage stage)
{
	unsigned long flags = migrate_entry_flags(migrate->src[i]);
	struct folio *folio = migrate_folio_of(migrate->src[i]);
	unsigned long pfn = folio_pfn(folio), nr = folio_nr_pages(folio), at;
	bool held;
	int ret;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	/* By page frame, src may have no entries for the other pages. */
	if (nr > migrate->npages - i)
		return -EINVAL;
	/* There are no anonymous folios of two pages. */
	if (!folio_test_anon(folio) || order == 1 ||
	    (order && folio_test_swapcache(folio)))
		return -EINVAL;
	migrate_split_pmds(folio);
	ret = migrate_split_unmapped(folio, order);
	if (ret)
		return ret;

	held = migrate_has_anon_vma(migrate, folio);
	if (order)
		flags |= MIGRATE_PFN_COMPOUND;
	migrate->src[i] = migrate_pfn(pfn) | flags;
	for (at = 1UL << order; at < nr; at += 1UL << order) {
		migrate_set(migrate, i + at, stage,
			    migrate_pfn(pfn + at) | flags);
		if (held)
			get_anon_vma(folio_anon_vma(folio));
	}
	return 0;
}
