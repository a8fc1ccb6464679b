/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a page table entry to a migration entry, and back again, to the same
 * page or to another. What the entry said about the page goes both ways.
 */
#ifndef _MM_HMM_MIGRATE_PTE_H
#define _MM_HMM_MIGRATE_PTE_H

#include <linux/leafops.h>
#include <linux/mm.h>
#include <linux/swapops.h>
#include <linux/userfaultfd_k.h>

#include "../internal.h"

/* May the page be written to? @pte maps it, or is of device-private memory. */
static inline bool migrate_pte_writable(pte_t pte)
{
	if (pte_present(pte))
		return pte_write(pte);
	return softleaf_is_device_private_write(softleaf_from_pte(pte));
}

static inline softleaf_t migrate_entry_for(const struct page *page,
					   bool writable, bool exclusive)
{
	unsigned long pfn = page_to_pfn(page);

	if (writable)
		return make_writable_migration_entry(pfn);
	if (exclusive)
		return make_readable_exclusive_migration_entry(pfn);
	return make_readable_migration_entry(pfn);
}

/* What takes the place of @pte, of @page, while it is being migrated */
static inline pte_t migrate_pte_begin(pte_t pte, const struct page *page,
				      bool writable, bool exclusive)
{
	softleaf_t entry = migrate_entry_for(page, writable, exclusive);
	bool soft_dirty, uffd;
	pte_t moving;

	if (pte_present(pte)) {
		soft_dirty = pte_soft_dirty(pte);
		uffd = pte_uffd(pte);
		if (pte_young(pte))
			entry = make_migration_entry_young(entry);
		if (pte_dirty(pte))
			entry = make_migration_entry_dirty(entry);
	} else {
		soft_dirty = pte_swp_soft_dirty(pte);
		uffd = pte_swp_uffd(pte);
	}
	moving = softleaf_to_pte(entry);
	if (soft_dirty)
		moving = pte_swp_mksoft_dirty(moving);
	if (uffd)
		moving = pte_swp_mkuffd(moving);
	return moving;
}

static inline pte_t migrate_pte_private(pte_t moving, const struct page *page,
					bool writable)
{
	unsigned long pfn = page_to_pfn(page);
	pte_t pte;

	if (writable)
		pte = softleaf_to_pte(make_writable_device_private_entry(pfn));
	else
		pte = softleaf_to_pte(make_readable_device_private_entry(pfn));
	if (pte_swp_soft_dirty(moving))
		pte = pte_swp_mksoft_dirty(pte);
	if (pte_swp_uffd(moving))
		pte = pte_swp_mkuffd(pte);
	return pte;
}

/*
 * What the migration entry @moving, decoded in @entry, becomes when @page is to
 * be mapped instead
 */
static inline pte_t migrate_pte_end(struct vm_area_struct *vma, pte_t moving,
				    softleaf_t entry, struct page *page)
{
	struct folio *folio = page_folio(page);
	pte_t pte;

	if (folio_is_device_private(folio))
		return migrate_pte_private(moving, page,
					   softleaf_is_migration_write(entry));

	pte = mk_pte(page, READ_ONCE(vma->vm_page_prot));
	if (!softleaf_is_migration_young(entry))
		pte = pte_mkold(pte);
	if (softleaf_is_migration_dirty(entry) && folio_test_dirty(folio))
		pte = pte_mkdirty(pte);
	pte = pte_swp_soft_dirty(moving) ? pte_mksoft_dirty(pte) :
					   pte_clear_soft_dirty(pte);
	/* Whose bit was cleared has to fault, so that it is set again. */
	if (softleaf_is_migration_write(entry) &&
	    !pte_needs_soft_dirty_wp(vma, pte))
		pte = pte_mkwrite(pte, vma);
	else if (pte_swp_uffd(moving))
		pte = pte_mkuffd(pte);
	if (pte_swp_uffd(moving) && userfaultfd_rwp(vma))
		pte = pte_modify(pte, PAGE_NONE);
	return pte;
}

/*
 * Runs of entries that are the same but for the page, which is the next one each
 * time, are the rule. None of them has to be taken apart but the first.
 */

/* The same for the next page; @pte is not present. */
static inline pte_t migrate_softleaf_next(pte_t pte)
{
#ifdef CONFIG_X86_64
	/* The offset is stored inverted, and nothing is between its bits. */
	pte_t next = __pte(pte_val(pte) - BIT(SWP_OFFSET_FIRST_BIT));

	VM_WARN_ON_ONCE(!pte_same(next, pte_next_swp_offset(pte)));
	return next;
#else
	return pte_next_swp_offset(pte);
#endif
}

/* How many entries from @ptep on, where @pte is, differ in nothing but the page? */
static inline unsigned int migrate_softleaf_run(pte_t *ptep, pte_t pte,
						unsigned int max)
{
	unsigned int nr;

	for (nr = 1; nr < max; nr++) {
		pte = migrate_softleaf_next(pte);
		if (!pte_same(ptep_get(ptep + nr), pte))
			break;
	}
	return nr;
}

/* Such entries, the first of which is @pte, instead of none or of migration ones */
static inline void migrate_set_run(struct mm_struct *mm, unsigned long addr,
				   pte_t *ptep, pte_t pte, unsigned int nr)
{
	unsigned int i;

	if (pte_present(pte)) {
		set_ptes(mm, addr, ptep, pte, nr);
		return;
	}
	for (i = 0; i < nr; i++) {
		set_pte_at(mm, addr + i * PAGE_SIZE, ptep + i, pte);
		pte = migrate_softleaf_next(pte);
	}
}

#endif /* _MM_HMM_MIGRATE_PTE_H */
