// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Populate: a folio that the driver supplies becomes new anonymous memory,
 * where nothing or the shared zero page is mapped.
 *
 * Small folios fill the holes of a page table under one lock. A CPU fault may
 * have filled a hole meanwhile, so each PTE is looked at again.
 */
#include <linux/ksm.h>
#include <linux/memcontrol.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/pgalloc.h>
#include <linux/pgtable_leafops.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/userfaultfd_k.h>
#include <asm/tlbflush.h>

#include "../internal.h"
#include "migrate.h"
#include "migrate_mapped.h"

/* May the VMA get memory without a fault? The page table lock is held. */
static bool migrate_populate_allowed(struct vm_area_struct *vma)
{
	/* Without a fault, userfaultfd cannot handle missing pages. */
	return !check_stable_address_space(vma->vm_mm) &&
	       !userfaultfd_missing(vma);
}

/*
 * Is it the shared zero page, which counts as a hole unless userfaultfd has
 * marked it?
 */
static bool migrate_populate_is_zero(pte_t pte)
{
	return pte_present(pte) && is_zero_pfn(pte_pfn(pte)) && !pte_uffd(pte);
}

/*
 * Prepare the folio to be mapped by @mappings entries. It is dirty in
 * device-private memory, whose entries do not show that the device has written
 * to it.
 */
static void migrate_populate_make_anon(struct folio *folio,
				       struct vm_area_struct *vma,
				       unsigned long addr,
				       unsigned int mappings)
{
	add_mm_counter(vma->vm_mm, MM_ANONPAGES, folio_nr_pages(folio));
	folio_add_new_anon_rmap(folio, vma, addr, RMAP_EXCLUSIVE);
	if (!folio_is_zone_device(folio))
		folio_add_lru_vma(folio, vma);
	if (folio_is_device_private(folio))
		folio_set_dirty(folio);
	folio_ref_add(folio, mappings);
}

static struct pgtable_leaf
migrate_populate_leaf(const struct vm_area_struct *vma,
		      const struct folio *folio, unsigned long pfn)
{
	return pgtable_leaf_new(folio_is_device_private(folio) ?
					PGTABLE_LEAF_PRIVATE :
					PGTABLE_LEAF_PRESENT,
				pfn, pgtable_leaf_rules(vma));
}

/* PMDs */

#ifdef CONFIG_ARCH_HAS_PMD_SOFTLEAVES
/* The PMD's lock is held. False if the PMD is in use. */
static bool migrate_populate_map_pmd(const struct migrate_vma *migrate,
				     unsigned long addr, pmd_t *pmd,
				     struct folio *folio, pgtable_t table)
{
	struct vm_area_struct *vma = migrate->vma;
	struct mm_struct *mm = vma->vm_mm;
	pmd_t value = pmdp_get(pmd);
	struct pgtable_leaf leaf;

	lockdep_assert_held(pmd_lockptr(mm, pmd));
	if (!migrate_populate_allowed(vma))
		return false;
	if (is_huge_zero_pmd(value) && !pmd_uffd(value) &&
	    migrate_invalidates_holes(migrate)) {
		/* A page table was deposited with the huge zero page. */
		flush_cache_range(vma, addr, addr + HPAGE_PMD_SIZE);
		pmdp_invalidate(vma, addr, pmd);
		pte_free(mm, table);
	} else if (pmd_none(value)) {
		pgtable_trans_huge_deposit(mm, pmd, table);
		mm_inc_nr_ptes(mm);
	} else {
		return false;
	}
	/* Point of no return: the folio belongs to the VMA now. */
	migrate_populate_make_anon(folio, vma, addr, 1);
	leaf = migrate_populate_leaf(vma, folio, folio_pfn(folio));
	set_pmd_at(mm, addr, pmd, pgtable_leaf_to_pmd(leaf, vma));
	update_mmu_cache_pmd(vma, addr, pmd);
	return true;
}

static bool migrate_populate_pmd(const struct migrate_vma *migrate,
				 unsigned long addr, pmd_t *pmd,
				 struct folio *folio)
{
	struct vm_area_struct *vma = migrate->vma;
	pgtable_t table;
	spinlock_t *ptl;	/* of the PMD */
	bool done;

	if (!thp_vma_suitable_order(vma, addr, HPAGE_PMD_ORDER))
		return false;
	table = pte_alloc_one(vma->vm_mm);
	if (!table)
		return false;
	ptl = pmd_lock(vma->vm_mm, pmd);
	done = migrate_populate_map_pmd(migrate, addr, pmd, folio, table);
	spin_unlock(ptl);
	if (!done) {
		pte_free(vma->vm_mm, table);
		return false;
	}
	count_vm_event(THP_FAULT_ALLOC);
	count_mthp_stat(HPAGE_PMD_ORDER, MTHP_STAT_ANON_FAULT_ALLOC);
	count_memcg_event_mm(vma->vm_mm, THP_FAULT_ALLOC);
	return true;
}
#else
static bool migrate_populate_pmd(const struct migrate_vma *migrate,
				 unsigned long addr, pmd_t *pmd,
				 struct folio *folio)
{
	return false;
}
#endif

/* PTEs */

/* Are all PTEs empty, or of the zero page and not marked by userfaultfd? */
static bool migrate_populate_are_free(pte_t *ptep, unsigned int nr,
				      bool *zeroes)
{
	*zeroes = false;
	for (; nr--; ptep++) {
		pte_t pte = ptep_get(ptep);

		if (pte_none(pte))
			continue;
		if (!migrate_populate_is_zero(pte))
			return false;
		*zeroes = true;
	}
	return true;
}

/* The caller flushes the TLB. */
static void migrate_populate_clear_zero(struct mm_struct *mm,
					unsigned long addr, pte_t *ptep)
{
	pte_t pte = ptep_get_and_clear(mm, addr, ptep);

	if (pte_present(pte))
		ksm_might_unmap_zero_page(mm, pte);
}

/* The PTEs' lock is held. False if a PTE is in use. */
static bool migrate_populate_map_ptes(const struct migrate_vma *migrate,
				      unsigned long addr, pte_t *ptep,
				      struct folio *folio, unsigned int nr)
{
	struct vm_area_struct *vma = migrate->vma;
	unsigned long end = addr + nr * PAGE_SIZE;
	struct mm_struct *mm = vma->vm_mm;
	unsigned int i;
	bool zeroes;

	if (!migrate_populate_allowed(vma) ||
	    !migrate_populate_are_free(ptep, nr, &zeroes) ||
	    (zeroes && !migrate_invalidates_holes(migrate)))
		return false;
	/* Point of no return, as for a PMD */
	migrate_populate_make_anon(folio, vma, addr, nr);
	if (zeroes) {
		flush_cache_range(vma, addr, end);
		for (i = 0; i < nr; i++)
			migrate_populate_clear_zero(mm, addr + i * PAGE_SIZE,
						    ptep + i);
		flush_tlb_range(vma, addr, end);
	}
	for (i = 0; i < nr; i++) {
		struct pgtable_leaf leaf;

		leaf = migrate_populate_leaf(vma, folio, folio_pfn(folio) + i);
		set_pte_at(mm, addr + i * PAGE_SIZE, ptep + i,
			   pgtable_leaf_to_pte(leaf, vma));
	}
	update_mmu_cache_range(NULL, vma, addr, ptep, nr);
	return true;
}

/* The PTE at @addr, locked, or NULL. The page table is allocated if need be. */
static pte_t *migrate_populate_lock(struct vm_area_struct *vma,
				    unsigned long addr, pmd_t *pmd,
				    spinlock_t **ptl)
{
	if (is_huge_zero_pmd(pmdp_get_lockless(pmd)))
		split_huge_pmd(vma, pmd, addr);
	if (pte_alloc(vma->vm_mm, pmd))
		return NULL;
	return pte_offset_map_lock(vma->vm_mm, pmd, addr, ptl);
}

/* Can one page table map all of the folio? */
static bool migrate_populate_fits(struct folio *folio, unsigned long addr)
{
	return !folio_test_pmd_mappable(folio) &&
	       addr + folio_size(folio) <=
	       ALIGN_DOWN(addr, PMD_SIZE) + PMD_SIZE;
}

static bool migrate_populate_ptes(const struct migrate_vma *migrate,
				  unsigned long addr, pmd_t *pmd,
				  struct folio *folio)
{
	spinlock_t *ptl;	/* of the PTEs */
	bool done;
	pte_t *ptep;

	if (!migrate_populate_fits(folio, addr))
		return false;
	ptep = migrate_populate_lock(migrate->vma, addr, pmd, &ptl);
	if (!ptep)
		return false;
	done = migrate_populate_map_ptes(migrate, addr, ptep, folio,
					 folio_nr_pages(folio));
	pte_unmap_unlock(ptep, ptl);
	return done;
}

static pmd_t *migrate_populate_alloc_pmd(struct mm_struct *mm,
					 unsigned long addr)
{
	p4d_t *p4d = p4d_alloc(mm, pgd_offset(mm, addr), addr);
	pud_t *pud = p4d ? pud_alloc(mm, p4d, addr) : NULL;

	return pud ? pmd_alloc(mm, pud, addr) : NULL;
}

/* What folios at @addr need to be mapped: the PMD, or NULL */
static pmd_t *migrate_populate_prepare(const struct migrate_vma *migrate,
				       unsigned long addr)
{
	struct vm_area_struct *vma = migrate->vma;
	pmd_t *pmd;

	/* Allocating an anon_vma needs mmap_lock. */
	if (!vma->anon_vma && migrate->flags & MIGRATE_VMA_UNDER_VMA_LOCK)
		return NULL;
	pmd = migrate_populate_alloc_pmd(vma->vm_mm, addr);
	return pmd && !anon_vma_prepare(vma) ? pmd : NULL;
}

static bool migrate_populate_prepare_folio(const struct migrate_vma *migrate,
					   struct folio *folio)
{
	if (!folio_is_zone_device(folio)) {
		if (migrate->flags & MIGRATE_VMA_TO_DEVICE)
			return false;
	} else if (!folio_is_device_private(folio) &&
		   !folio_is_device_coherent(folio)) {
		return false;
	}
	if (mem_cgroup_charge(folio, migrate->vma->vm_mm, GFP_KERNEL))
		return false;
	/* Orders the folio's contents before its entries. */
	__folio_mark_uptodate(folio);
	return true;
}

/**
 * migrate_populate() - fill a hole
 * @migrate: the migration
 * @i: the entry of the hole
 * @folio: the driver's folio, locked, with its contents in place
 *
 * Context: Process context, may sleep. mmap_lock is held, or the VMA's lock.
 *
 * Return: true if the folio is mapped now; false if memory is short, if the
 * hole is no longer one, or if the folio is as large as a PMD and the VMA must
 * not have huge pages, as after MADV_NOHUGEPAGE.
 */
bool migrate_populate(struct migrate_vma *migrate, unsigned long i,
		      struct folio *folio)
{
	unsigned long addr = migrate->start + (i << PAGE_SHIFT);
	pmd_t *pmd;

	if (folio_test_pmd_mappable(folio) &&
	    !migrate_may_fill_huge(migrate->vma))
		return false;
	pmd = migrate_populate_prepare(migrate, addr);
	if (!pmd || !migrate_populate_prepare_folio(migrate, folio))
		return false;
	return folio_test_pmd_mappable(folio) ?
		migrate_populate_pmd(migrate, addr, pmd, folio) :
		migrate_populate_ptes(migrate, addr, pmd, folio);
}

/* Small folios */

static void migrate_populate_cancel(struct migrate_vma *migrate,
				    unsigned long i, unsigned long nr)
{
	for (; nr--; i++)
		if (migrate_state_of(migrate->src[i]) == MIGRATE_ENTRY_HOLE)
			migrate_cancel_hole(migrate, i);
}

/*
 * Cancel the holes whose PTEs are in use, and empty the others. The PTEs' lock
 * is held.
 */
static void migrate_populate_check_small(struct migrate_vma *migrate,
					 unsigned long i, pte_t *ptep,
					 unsigned long nr)
{
	unsigned long addr = migrate->start + (i << PAGE_SHIFT);
	unsigned long first = addr, end = addr + (nr << PAGE_SHIFT);
	struct vm_area_struct *vma = migrate->vma;
	bool zeroes = false;

	for (; addr < end; i++, ptep++, addr += PAGE_SIZE) {
		pte_t pte = ptep_get(ptep);

		if (pte_none(pte) ||
		    migrate_state_of(migrate->src[i]) != MIGRATE_ENTRY_HOLE)
			continue;
		if (!migrate_populate_is_zero(pte) ||
		    !migrate_invalidates_holes(migrate)) {
			migrate_cancel_hole(migrate, i);
			continue;
		}
		/* Point of no return: the PTE will be filled. */
		flush_cache_page(vma, addr, pte_pfn(pte));
		migrate_populate_clear_zero(vma->vm_mm, addr, ptep);
		zeroes = true;
	}
	if (zeroes)
		flush_tlb_range(vma, first, end);
}

static void migrate_populate_map_small(struct migrate_vma *migrate,
				       unsigned long i, pte_t *ptep,
				       unsigned long nr)
{
	unsigned long addr = migrate->start + (i << PAGE_SHIFT), filled = 0;
	struct migrate_mapped mapped = { .nr = 0 };
	struct vm_area_struct *vma = migrate->vma;

	for (; nr--; i++, ptep++, addr += PAGE_SIZE) {
		struct pgtable_leaf leaf;
		struct folio *folio;
		pte_t pte;

		if (migrate_state_of(migrate->src[i]) != MIGRATE_ENTRY_HOLE)
			continue;
		folio = migrate_folio_of(migrate->dst[i]);
		__folio_add_new_small_anon_rmap(folio, vma, addr);
		migrate_mapped_add(&mapped, folio, 1);
		if (folio_is_device_private(folio))
			folio_set_dirty(folio);
		else if (!folio_is_zone_device(folio))
			folio_add_lru_vma(folio, vma);
		folio_get(folio);
		leaf = migrate_populate_leaf(vma, folio, folio_pfn(folio));
		pte = pgtable_leaf_to_pte(leaf, vma);
		set_pte_at(vma->vm_mm, addr, ptep, pte);
		if (pte_present(pte))
			update_mmu_cache(vma, addr, ptep);
		filled++;
	}
	migrate_mapped_end(&mapped);
	add_mm_counter(vma->vm_mm, MM_ANONPAGES, filled);
}

/**
 * migrate_populate_small() - fill holes of a page table with small folios
 * @migrate: the migration
 * @i: the first entry
 * @nr: number of entries, of pages in the same page table. The destination of
 *	each hole among them is a small folio, as for migrate_populate().
 *
 * Cancels the entries of holes that cannot be filled, because memory is short,
 * or because they are no longer holes.
 *
 * Context: as for migrate_populate().
 */
void migrate_populate_small(struct migrate_vma *migrate, unsigned long i,
			    unsigned long nr)
{
	unsigned long addr = migrate->start + (i << PAGE_SHIFT), at;
	pmd_t *pmd = migrate_populate_prepare(migrate, addr);
	pte_t *ptep = NULL;
	spinlock_t *ptl;	/* of the PTEs */

	for (at = i; pmd && at < i + nr; at++)
		if (migrate_state_of(migrate->src[at]) == MIGRATE_ENTRY_HOLE &&
		    !migrate_populate_prepare_folio(migrate,
					migrate_folio_of(migrate->dst[at])))
			migrate_cancel_hole(migrate, at);
	if (pmd)
		ptep = migrate_populate_lock(migrate->vma, addr, pmd, &ptl);
	if (!ptep) {
		migrate_populate_cancel(migrate, i, nr);
		return;
	}
	if (migrate_populate_allowed(migrate->vma)) {
		migrate_populate_check_small(migrate, i, ptep, nr);
		migrate_populate_map_small(migrate, i, ptep, nr);
	} else {
		migrate_populate_cancel(migrate, i, nr);
	}
	pte_unmap_unlock(ptep, ptl);
}
