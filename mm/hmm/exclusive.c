// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Start of device-exclusive access: entries that map anonymous pages writable
 * become exclusive entries, which the CPU cannot use. exclusive_restore.c ends
 * it.
 *
 * Invariant: an entry is made exclusive, or restored, with the page's folio
 * locked. Only zapping it, which drops the page, needs no folio lock. So pages
 * stay exclusive until the caller has programmed its device and unlocks the
 * folios:
 *
 *	make exclusive				CPU access
 *
 *	lock the folio
 *	invalidate all other users
 *	entry: exclusive, flush			fault
 *	return					lock the folio: sleep
 *	program the device			  :
 *	unlock the folio			  : locked
 *						invalidate all users
 *						entry: present
 *
 * Both sides make progress: the device accesses the page at least once, and the
 * CPU cannot be starved at the folio lock.
 *
 * Folio locks have no order. Only the first folio is waited for, with no other
 * locked; the rest are trylocked.
 *
 * An entry that is already exclusive is not changed. The single invalidation of
 * each call reaches the entry's previous owner, as it reaches all notifiers but
 * the caller's.
 */
#include <linux/device_exclusive.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>
#include <asm/tlbflush.h>

#include "../internal.h"
#include "exclusive_array.h"
#include "exclusive_pmd.h"
#include "exclusive_pte.h"
#include "softleaf.h"

#include <trace/events/device_exclusive.h>

/* How often to retry when the first page changes after it was faulted in */
#define EXCLUSIVE_ATTEMPTS	16

/**
 * struct exclusive_call - one call, which holds mmap_lock
 * @mm: the address space
 * @start: first address
 * @end: end of the range, exclusive
 * @pages: the pages made exclusive so far
 * @vma: the VMA of the first page
 * @owner: the notifier owner that ignores the invalidation
 * @first: the folio of the first page, locked, until that page is in @pages
 * @nr: number of pages in @pages
 * @unmapped: start of what must be flushed in this page table
 * @unmapped_end: its end, exclusive; 0 if there is nothing to flush
 */
struct exclusive_call {
	struct mm_struct *mm;
	unsigned long start;
	unsigned long end;
	struct page **pages;
	struct vm_area_struct *vma;
	void *owner;
	struct folio *first;
	unsigned long nr;
	unsigned long unmapped;
	unsigned long unmapped_end;
};

/* Which pages can be made exclusive */

/* Private and writable: every writable page in it is anonymous. */
static bool exclusive_vma_is_suitable(const struct vm_area_struct *vma)
{
	const vm_flags_t unsuitable = VM_SHARED | VM_SHADOW_STACK | VM_HUGETLB |
				      VM_IO | VM_PFNMAP;

	return vma->vm_flags & VM_WRITE && !(vma->vm_flags & unsuitable);
}

/* The page of @pte if it can be made exclusive without a fault, or NULL */
static struct page *exclusive_candidate_page(struct vm_area_struct *vma,
					     unsigned long addr, pte_t pte)
{
	struct page *page;

	if (pte_present(pte)) {
		if (!pte_write(pte))
			return NULL;
		page = IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL) &&
		       !pte_special(pte) ? pfn_to_page(pte_pfn(pte)) :
					   vm_normal_page(vma, addr, pte);
		return page && PageAnon(page) ? page : NULL;
	}
	page = exclusive_pte_page(pte);
	if (page && pte_write(exclusive_pte_end(vma, page, pte)))
		return page;
	return NULL;
}

/* Is a write fault unnecessary? */
static bool exclusive_pte_ready(struct vm_area_struct *vma, unsigned long addr,
				pte_t pte)
{
	return (pte_present(pte) && pte_write(pte)) ||
	       exclusive_candidate_page(vma, addr, pte);
}

/* Faulting in, before anything is locked */

/*
 * The end of the run of PTEs from @ptep on that are all ready, as below, or all
 * not ready. @ready receives which.
 */
static unsigned long exclusive_ready_ptes(struct vm_area_struct *vma,
					  pte_t *ptep, unsigned long addr,
					  unsigned long end, bool *ready)
{
	*ready = exclusive_pte_ready(vma, addr, ptep_get(ptep));
	do {
		ptep++;
		addr += PAGE_SIZE;
	} while (addr < end &&
		 exclusive_pte_ready(vma, addr, ptep_get(ptep)) == *ready);
	return addr;
}

/*
 * The end of the run of entries from @addr on, below one PMD, that are all
 * ready (need no fault) or all not ready. @ready receives which.
 */
static unsigned long exclusive_ready_until(struct vm_area_struct *vma,
					   unsigned long addr,
					   unsigned long end, bool *ready)
{
	unsigned long next = pmd_addr_end(addr, end);
	pmd_t *pmd = mm_find_pmd(vma->vm_mm, addr);
	spinlock_t *ptl;	/* of the PMD, or of the PTEs */
	pte_t *ptep;

	*ready = false;
	if (!pmd)
		return next;
	ptl = pmd_trans_huge_lock(pmd, vma);
	if (ptl) {
		*ready = exclusive_pmd_ready(vma, addr, pmdp_get(pmd));
		spin_unlock(ptl);
		return next;
	}
	ptep = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	if (!ptep)
		return next;
	next = exclusive_ready_ptes(vma, ptep, addr, next, ready);
	pte_unmap_unlock(ptep, ptl);
	return next;
}

/*
 * Pages that cannot be faulted in are skipped, except for the first. Returns 0,
 * or an errno if the call must fail.
 */
static long exclusive_fault_in(const struct exclusive_call *c,
			       unsigned long addr, unsigned long end)
{
	long nr;

	for (; addr < end; addr += nr << PAGE_SHIFT) {
		nr = get_user_pages_remote(c->mm, addr,
					   (end - addr) >> PAGE_SHIFT,
					   FOLL_WRITE, NULL, NULL);
		if (nr > 0)
			continue;
		if (addr == c->start || fatal_signal_pending(current))
			return nr ?: -EFAULT;
		nr = 1;
	}
	return 0;
}

/* A write fault on the first page gives the most precise errno. */
static long exclusive_unsuitable_errno(const struct exclusive_call *c)
{
	long ret = exclusive_fault_in(c, c->start, c->start + PAGE_SIZE);

	return ret ?: -EOPNOTSUPP;
}

/* Few ranges have several VMAs: look up the next one only in those. */
static struct vm_area_struct *
exclusive_next_vma(const struct exclusive_call *c,
		   const struct vm_area_struct *vma)
{
	if (vma->vm_end >= c->end)
		return NULL;
	return find_vma_intersection(c->mm, vma->vm_end, c->end);
}

static long exclusive_make_ready(const struct exclusive_call *c)
{
	unsigned long addr, next, end;
	struct vm_area_struct *vma;
	bool ready;
	long ret;

	for (vma = c->vma; vma; vma = exclusive_next_vma(c, vma)) {
		if (!exclusive_vma_is_suitable(vma))
			continue;
		end = min(c->end, vma->vm_end);
		for (addr = max(c->start, vma->vm_start); addr < end;
		     addr = next) {
			next = exclusive_ready_until(vma, addr, end, &ready);
			ret = ready ? 0 : exclusive_fault_in(c, addr, next);
			if (ret)
				return ret;
			cond_resched();
		}
	}
	return 0;
}

/* The first folio */

/*
 * The folio of the first page, with a reference, or NULL if the page is no
 * longer ready
 */
static struct folio *exclusive_first_folio(struct vm_area_struct *vma,
					   pmd_t *pmd, unsigned long addr)
{
	spinlock_t *ptl = pmd_trans_huge_lock(pmd, vma);
	struct folio *folio = NULL;
	struct page *page;
	pte_t *ptep, pte;
	pmd_t value;

	if (ptl) {
		value = pmdp_get(pmd);
		if (exclusive_pmd_ready(vma, addr, value)) {
			folio = exclusive_pmd_folio(value);
			folio_get(folio);
		}
		spin_unlock(ptl);
		return folio;
	}
	ptep = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	if (!ptep)
		return NULL;
	pte = ptep_get(ptep);
	page = exclusive_candidate_page(vma, addr, pte);
	if (page) {
		folio = page_folio(page);
		folio_get(folio);
	} else if (exclusive_pte_ready(vma, addr, pte)) {
		folio = ERR_PTR(-EOPNOTSUPP);
	}
	pte_unmap_unlock(ptep, ptl);
	return folio;
}

static struct folio *exclusive_find_first(const struct exclusive_call *c)
{
	pmd_t *pmd = mm_find_pmd(c->mm, c->start);

	return pmd ? exclusive_first_folio(c->vma, pmd, c->start) : NULL;
}

/*
 * Lock the folio of the first page. c->first stays NULL if the page changed
 * after it was faulted in. For a single page, read the page table first, and
 * fault only if necessary.
 */
static long exclusive_lock_first(struct exclusive_call *c)
{
	bool single = c->end - c->start == PAGE_SIZE;
	struct folio *folio = NULL;
	long ret = 0;

	if (single)
		folio = exclusive_find_first(c);
	if (!folio) {
		ret = single ? exclusive_fault_in(c, c->start, c->end) :
			       exclusive_make_ready(c);
		if (ret)
			return ret;
		folio = exclusive_find_first(c);
	}
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	if (folio && folio_lock_killable(folio)) {
		folio_put(folio);
		return -EINTR;
	}
	c->first = folio;
	return 0;
}

static void exclusive_unlock_first(struct exclusive_call *c)
{
	if (!c->first)
		return;
	folio_unlock(c->first);
	folio_put(c->first);
	c->first = NULL;
}

/* Replacing entries */

/*
 * Trylock the folio and take a reference, once for all of its pages that the
 * call makes exclusive. True if the call holds the lock.
 */
static bool exclusive_lock_folio(struct exclusive_call *c, struct folio *folio,
				 const struct page *page, unsigned long i)
{
	if (!i) {
		if (folio != c->first)
			return false;
		c->first = NULL;
		return true;
	}
	if (!folio_trylock(folio))
		return exclusive_folio_seen(c->pages, i, page,
					    folio_page_idx(folio, page));
	folio_get(folio);
	return true;
}

static void exclusive_record(struct exclusive_call *c, unsigned long addr,
			     struct page *page, unsigned int nr)
{
	struct page **pages = c->pages + ((addr - c->start) >> PAGE_SHIFT);
	unsigned int i;

	for (i = 0; i < nr; i++)
		pages[i] = page + i;
	c->nr += nr;
}

static void exclusive_flush_later(struct exclusive_call *c, unsigned long addr,
				  unsigned int nr)
{
	if (!c->unmapped_end)
		c->unmapped = addr;
	c->unmapped_end = addr + nr * PAGE_SIZE;
}

/*
 * Make the @nr PTEs exclusive that map @page and the pages after it. Until they
 * are flushed, CPUs may still write to the pages, but no such write is lost: a
 * CPU that writes through a clean entry reads the PTE again.
 */
static void exclusive_replace_ptes(struct vm_area_struct *vma, pte_t *ptep,
				   unsigned long addr, struct page *page,
				   unsigned int nr)
{
	pte_t pte, next = __pte(0), entry = __pte(0);

	VM_WARN_ON_ONCE_PAGE(!PageLocked(page), page);
	flush_cache_range(vma, addr, addr + nr * PAGE_SIZE);
	for (; nr; nr--, ptep++, addr += PAGE_SIZE) {
		pte = ptep_get_and_clear(vma->vm_mm, addr, ptep);
		if (!pte_same(pte, next))
			entry = exclusive_pte_begin(vma, pte);
		set_pte_at(vma->vm_mm, addr, ptep, entry);
		next = pte_next_pfn(pte);
		entry = hmm_softleaf_next(entry);
	}
	/*
	 * The device may write to the folio, whether or not its driver marks it
	 * dirty later. If the folio stayed clean, reclaim could drop it after
	 * its entry is restored, as unmodified or lazily freed.
	 */
	hmm_folio_mark_dirty(page_folio(page));
}

/* How many PTEs, of at most @max, are of consecutive pages of the folio? */
static unsigned int exclusive_run(struct folio *folio, struct page *page,
				  pte_t *ptep, pte_t pte, unsigned int max)
{
	if (max == 1 || !folio_test_large(folio))
		return 1;
	if (pte_present(pte))
		return folio_pte_batch_flags(folio, NULL, ptep, &pte, max,
					     FPB_RESPECT_WRITE);
	return exclusive_pte_run(ptep, pte, page, max);
}

/* Returns the number of PTEs processed. */
static unsigned int exclusive_make_run(struct exclusive_call *c,
				       struct vm_area_struct *vma, pte_t *ptep,
				       unsigned long addr, unsigned int max)
{
	pte_t pte = ptep_get(ptep);
	struct page *page = exclusive_candidate_page(vma, addr, pte);
	struct folio *folio;
	unsigned int nr;

	if (!page)
		return 1;
	folio = page_folio(page);
	nr = exclusive_run(folio, page, ptep, pte, max);
	if (!exclusive_lock_folio(c, folio, page,
				  (addr - c->start) >> PAGE_SHIFT))
		return nr;
	if (pte_present(pte)) {
		exclusive_replace_ptes(vma, ptep, addr, page, nr);
		exclusive_flush_later(c, addr, nr);
	}
	exclusive_record(c, addr, page, nr);
	return nr;
}

/*
 * Flush once for all PTEs, before the lock is dropped. Restoring them later
 * needs no flush.
 */
static void exclusive_make_ptes(struct exclusive_call *c,
				struct vm_area_struct *vma, pmd_t *pmd,
				unsigned long addr, unsigned long end)
{
	spinlock_t *ptl;	/* of the PTEs */
	pte_t *first, *ptep;
	unsigned int nr;

	first = pte_offset_map_lock(c->mm, pmd, addr, &ptl);
	if (!first)
		return;
	c->unmapped_end = 0;
	lazy_mmu_mode_enable();
	for (ptep = first; addr < end; ptep += nr, addr += nr * PAGE_SIZE) {
		nr = exclusive_make_run(c, vma, ptep, addr,
					(end - addr) >> PAGE_SHIFT);
		if (!c->nr)
			break;
	}
	lazy_mmu_mode_disable();
	if (c->unmapped_end)
		flush_tlb_range(vma, c->unmapped, c->unmapped_end);
	pte_unmap_unlock(first, ptl);
}

/* Make the huge page exclusive as a whole. The page table lock is held. */
static void exclusive_make_huge(struct exclusive_call *c,
				struct vm_area_struct *vma, pmd_t *pmd,
				unsigned long addr)
{
	pmd_t value = pmdp_get(pmd);
	struct folio *folio = exclusive_pmd_folio(value);
	struct page *page = folio_page(folio, 0);

	if (!exclusive_lock_folio(c, folio, page,
				  (addr - c->start) >> PAGE_SHIFT))
		return;
	if (pmd_present(value)) {
		exclusive_pmd_begin(vma, addr, pmd);
		hmm_folio_mark_dirty(folio);
	}
	exclusive_record(c, addr, page, HPAGE_PMD_NR);
}

/*
 * Returns false if there is a page table. If only a part of a huge page is
 * asked for, its PMD is split, and the folio stays whole.
 */
static bool exclusive_make_pmd(struct exclusive_call *c,
			       struct vm_area_struct *vma, pmd_t *pmd,
			       unsigned long addr, unsigned long end)
{
	spinlock_t *ptl = pmd_trans_huge_lock(pmd, vma);
	bool whole = thp_migration_supported() && end - addr == HPAGE_PMD_SIZE;
	bool ready;

	if (!ptl)
		return false;
	ready = exclusive_pmd_ready(vma, addr, pmdp_get(pmd));
	if (ready && whole)
		exclusive_make_huge(c, vma, pmd, addr);
	else if (ready)
		split_huge_pmd_locked(vma, addr & HPAGE_PMD_MASK, pmd, false);
	spin_unlock(ptl);
	return whole || !ready;
}

/* The part of the range that is below one PMD */
static void exclusive_make_pmd_range(struct exclusive_call *c,
				     struct vm_area_struct *vma,
				     unsigned long addr, unsigned long end)
{
	pmd_t *pmd = mm_find_pmd(c->mm, addr);

	if (pmd && !exclusive_make_pmd(c, vma, pmd, addr, end))
		exclusive_make_ptes(c, vma, pmd, addr, end);
}

static void exclusive_make_all(struct exclusive_call *c)
{
	unsigned long addr, next, end;
	struct vm_area_struct *vma;

	for (vma = c->vma; vma; vma = exclusive_next_vma(c, vma)) {
		if (!exclusive_vma_is_suitable(vma))
			continue;
		end = min(c->end, vma->vm_end);
		for (addr = max(c->start, vma->vm_start); addr < end;
		     addr = next) {
			next = pmd_addr_end(addr, end);
			exclusive_make_pmd_range(c, vma, addr, next);
			if (!c->nr)
				return;
			cond_resched();
		}
	}
}

/* Make all pages exclusive that can be, if the first one can. */
static long exclusive_try(struct exclusive_call *c)
{
	struct mmu_notifier_range range;
	long ret;

	if (!c->vma || !exclusive_vma_is_suitable(c->vma))
		return exclusive_unsuitable_errno(c);
	ret = exclusive_lock_first(c);
	if (ret || !c->first)
		return ret;

	mmu_notifier_range_init_owner(&range, MMU_NOTIFY_EXCLUSIVE, 0, c->mm,
				      c->start, c->end, c->owner);
	mmu_notifier_invalidate_range_start(&range);
	exclusive_make_all(c);
	mmu_notifier_invalidate_range_end(&range);
	exclusive_unlock_first(c);
	return 0;
}

/* Try again while the first page changes; returns the number of pages. */
static long exclusive_make(struct exclusive_call *c)
{
	unsigned int attempts;
	long ret;

	for (attempts = 0; attempts < EXCLUSIVE_ATTEMPTS; attempts++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		ret = exclusive_try(c);
		if (ret || c->nr)
			return ret ?: c->nr;
		cond_resched();
	}
	return -EBUSY;
}

/* Interface */

/**
 * device_exclusive_make_range() - give a device exclusive access to pages
 * @mm: the address space
 * @start: address of the first page
 * @end: end of the range, exclusive
 * @pages: receives an entry for each page of the range: the page, if the CPU
 *	   can no longer access it, or NULL
 * @owner: of the event MMU_NOTIFY_EXCLUSIVE, which the caller's own notifier
 *	   must ignore if it has this owner
 *
 * Faults the pages in for writing first. The folio of each page in @pages is
 * locked and referenced, once per folio. Until it is unlocked, no CPU fault can
 * restore the entry. The page may still be unmapped, after an invalidation.
 *
 * The caller programs its device under a lock of its own, as after
 * hmm_range_fault(), and passes @pages to device_exclusive_put_range(). It must
 * do so before it calls this again, or waits for anything that may need one of
 * the folios: this waits for the lock of the first page's folio, and trylocks
 * the others.
 *
 * A CPU access restores the page, and with it the other exclusive pages of its
 * folio, after an invalidation with MMU_NOTIFY_CLEAR.
 *
 * Only pages in private writable mappings other than hugetlb can be made
 * exclusive, and only if they are anonymous after a write fault. Users with a
 * reference, as from pin_user_pages(), can still access the page. The pages are
 * marked dirty; drivers need not do that.
 *
 * Context: Process context, may sleep. mmap_lock is held, and not dropped.
 *
 * Return: the number of pages made exclusive, always including the first, or a
 * negative errno: -EFAULT if the first page is not writable, -EOPNOTSUPP if it
 * is not of a kind that can be made exclusive, -EINTR after a fatal signal,
 * -EBUSY if the page changed sixteen times after the fault, or another errno of
 * a fault.
 */
long device_exclusive_make_range(struct mm_struct *mm, unsigned long start,
				 unsigned long end, struct page **pages,
				 void *owner)
{
	struct exclusive_call c = {
		.mm = mm,
		.start = start,
		.end = end,
		.pages = pages,
		.owner = owner,
	};
	long ret;

	mmap_assert_locked(mm);
	if (WARN_ON_ONCE(start >= end || !PAGE_ALIGNED(start | end)))
		return -EINVAL;

	c.vma = vma_lookup(mm, start);
	memset(pages, 0, ((end - start) >> PAGE_SHIFT) * sizeof(*pages));
	ret = exclusive_make(&c);
	trace_device_exclusive_make(c.mm, c.start, c.end, c.owner, ret);
	return ret;
}
EXPORT_SYMBOL_GPL(device_exclusive_make_range);

/* Put the stretch of pages that ends with pages[last]. Returns its length. */
static unsigned long exclusive_put_stretch(struct page **pages,
					   unsigned long last)
{
	struct page *page = pages[last];
	struct folio *folio = page_folio(page);
	unsigned long idx = folio_page_idx(folio, page), nr = 1, i;

	if (idx)
		nr = exclusive_stretch(pages, last, idx);
	for (i = 0; i < nr; i++)
		pages[last - i] = NULL;
	i--;
	if (idx == i || !exclusive_folio_seen(pages, last - i, page - i,
					      idx - i)) {
		folio_unlock(folio);
		folio_put(folio);
	}
	return nr;
}

/**
 * device_exclusive_put_range() - unlock and put the folios of exclusive pages
 * @pages: as device_exclusive_make_range() left them; cleared
 * @npages: number of entries in @pages
 *
 * The device may continue to use the pages until its driver's notifier is
 * called.
 *
 * Context: Process context. mmap_lock need not be held.
 */
void device_exclusive_put_range(struct page **pages, unsigned long npages)
{
	unsigned long end, nr;

	/*
	 * Backwards, since exclusive_stretch() searches back from the last
	 * page.
	 */
	for (end = npages; end; end -= nr)
		nr = pages[end - 1] ? exclusive_put_stretch(pages, end - 1) : 1;
}
EXPORT_SYMBOL_GPL(device_exclusive_put_range);

/**
 * make_device_exclusive() - give a device exclusive access to one page
 * @mm: the address space
 * @addr: address of the page
 * @owner: as for device_exclusive_make_range()
 * @foliop: receives the page's folio, locked and referenced
 *
 * As device_exclusive_make_range() for one page, but retries without limit
 * while the page changes.
 *
 * Context: As for device_exclusive_make_range().
 *
 * Return: the page, or an error pointer.
 */
struct page *make_device_exclusive(struct mm_struct *mm, unsigned long addr,
				   void *owner, struct folio **foliop)
{
	struct page *page;
	long ret;

	addr &= PAGE_MASK;
	do {
		ret = device_exclusive_make_range(mm, addr, addr + PAGE_SIZE,
						  &page, owner);
	} while (ret == -EBUSY);
	if (ret < 0)
		return ERR_PTR(ret);
	*foliop = page_folio(page);
	return page;
}
EXPORT_SYMBOL_GPL(make_device_exclusive);
