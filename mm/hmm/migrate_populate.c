// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Populate: a folio that the driver supplies becomes new anonymous memory,
 * where nothing or the shared zero page is mapped.
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

/* May the VMA get memory without a fault? The page table lock is held. */
static bool migrate_populate_allowed(struct vm_area_struct *vma)
{
	/* Without a fault, userfaultfd cannot handle missing pages. */
	return !check_stable_address_space(vma->vm_mm) &&
	       !userfaultfd_missing(vma);
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
		if (!pte_present(pte) || !is_zero_pfn(pte_pfn(pte)) ||
		    pte_uffd(pte))
			return false;
		*zeroes = true;
	}
	return true;
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
		for (i = 0; i < nr; i++) {
			pte_t pte = ptep_get_and_clear(mm, addr + i * PAGE_SIZE,
						       ptep + i);

			if (pte_present(pte))
				ksm_might_unmap_zero_page(mm, pte);
		}
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
	struct vm_area_struct *vma = migrate->vma;
	spinlock_t *ptl;	/* of the PTEs */
	bool done;
	pte_t *ptep;

	if (!migrate_populate_fits(folio, addr))
		return false;
	if (is_huge_zero_pmd(pmdp_get_lockless(pmd)))
		split_huge_pmd(vma, pmd, addr);
	if (pte_alloc(vma->vm_mm, pmd))
		return false;
	ptep = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
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
	struct vm_area_struct *vma = migrate->vma;
	pmd_t *pmd;

	if (folio_is_zone_device(folio) && !folio_is_device_private(folio) &&
	    !folio_is_device_coherent(folio))
		return false;
	if (folio_test_pmd_mappable(folio) && !migrate_may_fill_huge(vma))
		return false;
	/* Allocating an anon_vma needs mmap_lock. */
	if (!vma->anon_vma && migrate->flags & MIGRATE_VMA_UNDER_VMA_LOCK)
		return false;
	pmd = migrate_populate_alloc_pmd(vma->vm_mm, addr);
	if (!pmd || anon_vma_prepare(vma) ||
	    mem_cgroup_charge(folio, vma->vm_mm, GFP_KERNEL))
		return false;

	/* Orders the folio's contents before its entries. */
	__folio_mark_uptodate(folio);
	return folio_test_pmd_mappable(folio) ?
		migrate_populate_pmd(migrate, addr, pmd, folio) :
		migrate_populate_ptes(migrate, addr, pmd, folio);
}
