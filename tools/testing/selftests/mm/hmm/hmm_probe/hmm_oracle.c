// SPDX-License-Identifier: GPL-2.0
/*
 * The oracle: what hmm_range_fault() must report for one page when nothing is
 * requested. It is slow on purpose. Each page starts again at the VMA and at
 * the top of the page table, nothing is remembered between pages, and each
 * kind of entry is one line of the table in the code.
 *
 * The answers, the same for PTE, PMD, PUD and hugetlb entries:
 *
 *	no VMA, VM_IO, VM_PFNMAP, no VM_READ		ERROR
 *	none						0
 *	present						VALID, pfn, order
 *	... and writable				+ WRITE
 *	... and the shared zero page			VALID, pfn, order
 *	... and special, with no struct page for us	ERROR
 *	present without access (NUMA, userfaultfd)	0
 *	swap, migration, device-exclusive		0
 *	device-private of the caller			VALID, pfn, order
 *	... and writable				+ WRITE
 *	device-private of another owner			0
 *	userfaultfd write-protect marker		0
 *	any other marker, hwpoison, unknown		ERROR
 *
 * The order is that of the entry: 0 for a PTE, whatever folio it maps part of.
 *
 * Callers hold the mmap lock, for the VMAs. Entries are read without their
 * lock, as the walker under test does; a caller that needs a stable answer
 * looks twice.
 *
 * Limit: hugetlb entries are found for PMD and PUD sizes only, and a huge zero
 * page in a VM_MIXEDMAP VMA (DAX) counts as special: the module cannot see
 * which folio is the huge zero page.
 */
#include <linux/hugetlb.h>
#include <linux/leafops.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/rcupdate.h>

#include "hmm_probe.h"

static unsigned long valid_value(unsigned long pfn, unsigned int order,
				 bool write)
{
	unsigned long value = pfn | HMM_PFN_VALID;

	value |= (unsigned long)order << HMM_PFN_ORDER_SHIFT;
	if (write)
		value |= HMM_PFN_WRITE;
	return value;
}

static void set_page(struct oracle_page *page, enum hmm_probe_kind kind,
		     unsigned long value)
{
	page->kind = kind;
	page->value = value;
}

/* A special entry maps a page for us only when that is a zero page. */
static bool special_is_zero_page(struct vm_area_struct *vma, unsigned long pfn)
{
	return is_zero_pfn(pfn) || !(vma->vm_flags & (VM_PFNMAP | VM_MIXEDMAP));
}

/* @offset: pages from the start of what the entry maps to the page. */
static void judge_softleaf(softleaf_t entry, unsigned long offset,
			   unsigned int order, void *owner,
			   struct oracle_page *page)
{
	bool write;

	switch (softleaf_type(entry)) {
	case SOFTLEAF_SWAP:
		set_page(page, HMM_PROBE_KIND_SWAP, 0);
		return;
	case SOFTLEAF_MIGRATION_READ:
	case SOFTLEAF_MIGRATION_READ_EXCLUSIVE:
	case SOFTLEAF_MIGRATION_WRITE:
		set_page(page, HMM_PROBE_KIND_MIGRATION, 0);
		return;
	case SOFTLEAF_DEVICE_EXCLUSIVE:
		set_page(page, HMM_PROBE_KIND_EXCLUSIVE, 0);
		return;
	case SOFTLEAF_DEVICE_PRIVATE_READ:
	case SOFTLEAF_DEVICE_PRIVATE_WRITE:
		set_page(page, HMM_PROBE_KIND_PRIVATE, 0);
		page->owner = page_pgmap(softleaf_to_page(entry))->owner;
		if (page->owner != owner)
			return;
		write = softleaf_is_device_private_write(entry);
		page->value = valid_value(softleaf_to_pfn(entry) + offset,
					  order, write);
		return;
	case SOFTLEAF_MARKER:
		if (softleaf_is_uffd_wp_marker(entry))
			set_page(page, HMM_PROBE_KIND_MARKER_WP, 0);
		else
			set_page(page, HMM_PROBE_KIND_BAD, HMM_PFN_ERROR);
		return;
	default:
		set_page(page, HMM_PROBE_KIND_BAD, HMM_PFN_ERROR);
	}
}

static void judge_pte(struct vm_area_struct *vma, pte_t pte, void *owner,
		      struct oracle_page *page)
{
	unsigned long pfn;

	if (pte_none(pte)) {
		set_page(page, HMM_PROBE_KIND_NONE, 0);
		return;
	}
	if (!pte_present(pte)) {
		judge_softleaf(softleaf_from_pte(pte), 0, 0, owner, page);
		return;
	}
	if (pte_protnone(pte)) {
		set_page(page, HMM_PROBE_KIND_PROTNONE, 0);
		return;
	}
	pfn = pte_pfn(pte);
	if (pte_special(pte) && !special_is_zero_page(vma, pfn)) {
		set_page(page, HMM_PROBE_KIND_SPECIAL, HMM_PFN_ERROR);
		return;
	}
	set_page(page, HMM_PROBE_KIND_PRESENT,
		 valid_value(pfn, 0, pte_write(pte)));
}

static void judge_huge_pmd(struct vm_area_struct *vma, pmd_t pmd,
			   unsigned long addr, struct oracle_page *page)
{
	unsigned long offset = (addr & ~PMD_MASK) >> PAGE_SHIFT;

	if (pmd_protnone(pmd)) {
		set_page(page, HMM_PROBE_KIND_PROTNONE, 0);
		return;
	}
	if (pmd_special(pmd) && !special_is_zero_page(vma, pmd_pfn(pmd))) {
		set_page(page, HMM_PROBE_KIND_SPECIAL, HMM_PFN_ERROR);
		return;
	}
	set_page(page, HMM_PROBE_KIND_PRESENT,
		 valid_value(pmd_pfn(pmd) + offset, PMD_SHIFT - PAGE_SHIFT,
			     pmd_write(pmd)));
}

static void judge_huge_pud(struct vm_area_struct *vma, pud_t pud,
			   unsigned long addr, struct oracle_page *page)
{
	unsigned long offset = (addr & ~PUD_MASK) >> PAGE_SHIFT;

	if (pud_special(pud) && !special_is_zero_page(vma, pud_pfn(pud))) {
		set_page(page, HMM_PROBE_KIND_SPECIAL, HMM_PFN_ERROR);
		return;
	}
	set_page(page, HMM_PROBE_KIND_PRESENT,
		 valid_value(pud_pfn(pud) + offset, PUD_SHIFT - PAGE_SHIFT,
			     pud_write(pud)));
}

static void judge_hugetlb(struct vm_area_struct *vma, pte_t pte,
			  unsigned long addr, void *owner,
			  struct oracle_page *page)
{
	struct hstate *h = hstate_vma(vma);
	unsigned long offset = (addr & ~huge_page_mask(h)) >> PAGE_SHIFT;

	judge_pte(vma, pte, owner, page);
	if (page->kind != HMM_PROBE_KIND_PRESENT)
		return;
	set_page(page, HMM_PROBE_KIND_PRESENT,
		 valid_value(pte_pfn(pte) + offset, huge_page_order(h),
			     pte_write(pte)));
}

/* The table page may be freed under us: RCU keeps what we read from it. */
static pte_t read_pte(pmd_t table, unsigned long addr)
{
	pte_t *ptep = (pte_t *)pmd_page_vaddr(table) + pte_index(addr);

	return ptep_get(ptep);
}

static void walk_pmd(struct vm_area_struct *vma, pud_t *pudp,
		     unsigned long addr, void *owner, struct oracle_page *page)
{
	unsigned long offset = (addr & ~PMD_MASK) >> PAGE_SHIFT;
	pmd_t pmd = pmdp_get_lockless(pmd_offset(pudp, addr));

	if (is_vm_hugetlb_page(vma))
		judge_hugetlb(vma, __pte(pmd_val(pmd)), addr, owner, page);
	else if (pmd_none(pmd))
		set_page(page, HMM_PROBE_KIND_NONE, 0);
	else if (!pmd_present(pmd))
		judge_softleaf(softleaf_from_pmd(pmd), offset,
			       PMD_SHIFT - PAGE_SHIFT, owner, page);
	else if (pmd_leaf(pmd))
		judge_huge_pmd(vma, pmd, addr, page);
	else
		judge_pte(vma, read_pte(pmd, addr), owner, page);
}

static bool hugetlb_by_pud(struct vm_area_struct *vma)
{
	return is_vm_hugetlb_page(vma) &&
	       huge_page_size(hstate_vma(vma)) == PUD_SIZE;
}

static void walk_pud(struct vm_area_struct *vma, p4d_t *p4dp,
		     unsigned long addr, void *owner, struct oracle_page *page)
{
	pud_t *pudp = pud_offset(p4dp, addr);
	pud_t pud = pudp_get(pudp);

	if (hugetlb_by_pud(vma))
		judge_hugetlb(vma, __pte(pud_val(pud)), addr, owner, page);
	else if (pud_none(pud))
		set_page(page, HMM_PROBE_KIND_NONE, 0);
	else if (!pud_present(pud))
		set_page(page, HMM_PROBE_KIND_BAD, HMM_PFN_ERROR);
	else if (pud_leaf(pud))
		judge_huge_pud(vma, pud, addr, page);
	else
		walk_pmd(vma, pudp, addr, owner, page);
}

static void walk_top(struct vm_area_struct *vma, unsigned long addr,
		     void *owner, struct oracle_page *page)
{
	pgd_t *pgdp = pgd_offset(vma->vm_mm, addr);
	p4d_t *p4dp;

	set_page(page, HMM_PROBE_KIND_NONE, 0);
	if (pgd_none(*pgdp))
		return;
	p4dp = p4d_offset(pgdp, addr);
	if (p4d_none(*p4dp))
		return;
	walk_pud(vma, p4dp, addr, owner, page);
}

static bool vma_is_fit(struct vm_area_struct *vma)
{
	if (vma->vm_flags & (VM_IO | VM_PFNMAP))
		return false;
	return vma->vm_flags & VM_READ;
}

static struct vm_area_struct *vma_at(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma = find_vma(mm, addr);

	return vma && vma->vm_start <= addr ? vma : NULL;
}

static void look_entry(struct vm_area_struct *vma, unsigned long addr,
		       void *owner, struct oracle_page *page)
{
	memset(page, 0, sizeof(*page));
	if (!vma) {
		set_page(page, HMM_PROBE_KIND_UNFIT, HMM_PFN_ERROR);
		return;
	}
	page->file = vma->vm_file;
	page->mixed = vma->vm_flags & VM_MIXEDMAP;
	page->may_write = vma->vm_flags & VM_WRITE;
	if (!vma_is_fit(vma)) {
		set_page(page, HMM_PROBE_KIND_UNFIT, HMM_PFN_ERROR);
		return;
	}
	rcu_read_lock();
	walk_top(vma, addr, owner, page);
	rcu_read_unlock();
}

void oracle_look(struct mm_struct *mm, unsigned long addr, void *owner,
		 struct oracle_page *page)
{
	mmap_assert_locked(mm);

	look_entry(vma_at(mm, addr), addr, owner, page);
}

/*
 * The order of the folio that a small entry maps, if all of that folio is mapped in
 * place inside of @npages from @start on, naturally aligned, in one VMA and with
 * one protection: what a walker reports that is asked for it. Otherwise 0. Of a
 * folio that is larger than a page table maps, the part in this table counts.
 */
unsigned int oracle_whole_order(struct mm_struct *mm, unsigned long addr,
				const struct oracle_page *page,
				unsigned long start, unsigned long npages)
{
	struct vm_area_struct *vma = vma_at(mm, addr);
	unsigned long end = start + (npages << PAGE_SHIFT);
	unsigned long base, first, size, i;
	struct oracle_page other;
	unsigned int order;

	mmap_assert_locked(mm);

	if (page->kind != HMM_PROBE_KIND_PRESENT || is_vm_hugetlb_page(vma) ||
	    hmm_pfn_to_map_order(page->value))
		return 0;

	order = folio_order(page_folio(hmm_pfn_to_page(page->value)));
	order = min_t(unsigned int, order, PMD_ORDER);
	size = PAGE_SIZE << order;
	first = ALIGN_DOWN(addr, size);
	base = ALIGN_DOWN(page->value, 1UL << order);
	if (first < start || first + size > end ||
	    first < vma->vm_start || first + size > vma->vm_end)
		return 0;
	for (i = 0; i < 1UL << order; i++) {
		look_entry(vma, first + (i << PAGE_SHIFT), NULL, &other);
		if (other.value != base + i)
			return 0;
	}
	return order;
}

void oracle_look_range(struct mm_struct *mm, unsigned long addr,
		       unsigned long npages, void *owner,
		       struct oracle_page *pages)
{
	unsigned long i;

	for (i = 0; i < npages; i++) {
		oracle_look(mm, addr + (i << PAGE_SHIFT), owner, &pages[i]);
		cond_resched();
	}
}

void *oracle_first_owner(struct mm_struct *mm, unsigned long addr,
			 unsigned long npages)
{
	struct oracle_page page;
	unsigned long i;

	mmap_assert_locked(mm);

	for (i = 0; i < npages; i++) {
		look_entry(vma_at(mm, addr + (i << PAGE_SHIFT)),
			   addr + (i << PAGE_SHIFT), NULL, &page);
		if (page.owner)
			return page.owner;
		cond_resched();
	}
	return NULL;
}
