/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Heterogeneous memory management: read the CPU page table of a process into
 * an array that a device driver turns into device page table entries.
 *
 * The protocol around these calls, with examples, is in
 * Documentation/mm/hmm.rst.
 */
#ifndef LINUX_HMM_H
#define LINUX_HMM_H

#include <linux/mm.h>

struct mmu_interval_notifier;
struct mutex;

/**
 * enum hmm_pfn_flags - the flag bits of one slot of &hmm_range.hmm_pfns
 *
 * A slot holds one page: flags and the order of the mapping in its top bits,
 * the page frame number below them. It is read as a request when a call
 * begins, and holds the answer after the call has returned 0. An answer of zero
 * means that nothing is mapped for the device, and that a request for a fault
 * may change that.
 *
 * @HMM_PFN_VALID: (out) the device may read the page whose number is in the
 *	slot. It is device memory only if the range named its owner.
 * @HMM_PFN_WRITE: (out) the device may write it too. Never without
 *	@HMM_PFN_VALID, and never for a shadow stack.
 * @HMM_PFN_ERROR: (out) no fault can give access to this address: there is
 *	no VMA, or one without read permission or without struct pages, or the
 *	memory is secret, poisoned or guarded.
 * @HMM_PFN_DMA_MAPPED: (sticky) the page is mapped for DMA. This flag and the
 *	next two belong to the driver; a call does not change them. In slots of
 *	a struct hmm_dma_map they may change during a call.
 * @HMM_PFN_P2PDMA: (sticky) mapped for peer-to-peer DMA through the host
 *	bridge.
 * @HMM_PFN_P2PDMA_BUS: (sticky) mapped for peer-to-peer DMA by bus address.
 * @HMM_PFN_ORDER_SHIFT: (out) where the five bits of the order begin, see
 *	hmm_pfn_to_map_order().
 * @HMM_PFN_REQ_FAULT: (in) the page must come back @HMM_PFN_VALID, or the call
 *	fails.
 * @HMM_PFN_REQ_WRITE: (in) the page must come back @HMM_PFN_WRITE, or the call
 *	fails. Without @HMM_PFN_REQ_FAULT it has no effect.
 * @HMM_PFN_FLAGS: every bit of a slot that is not part of the page frame
 *	number.
 */
enum hmm_pfn_flags {
	HMM_PFN_VALID = 1UL << (BITS_PER_LONG - 1),
	HMM_PFN_WRITE = 1UL << (BITS_PER_LONG - 2),
	HMM_PFN_ERROR = 1UL << (BITS_PER_LONG - 3),
	HMM_PFN_DMA_MAPPED = 1UL << (BITS_PER_LONG - 4),
	HMM_PFN_P2PDMA = 1UL << (BITS_PER_LONG - 5),
	HMM_PFN_P2PDMA_BUS = 1UL << (BITS_PER_LONG - 6),

	HMM_PFN_ORDER_SHIFT = (BITS_PER_LONG - 11),

	HMM_PFN_REQ_FAULT = HMM_PFN_VALID,
	HMM_PFN_REQ_WRITE = HMM_PFN_WRITE,

	HMM_PFN_FLAGS = ~((1UL << HMM_PFN_ORDER_SHIFT) - 1),
};

/*
 * HMM_RANGE_SPARSE - set in &hmm_range.default_flags, next to requests, to have
 * large mappings recorded in one slot each
 *
 * A mapping with an order is then recorded only in the slot of its first page
 * in the range; the slots after it, up to the end of the mapping or of the
 * range, have no meaning. for_each_hmm_run() reads such a range, and any other.
 * In a struct hmm_dma_map all slots are recorded nevertheless, since several
 * faults may write to them at a time. Implies %HMM_RANGE_PTE_ORDERS.
 */
#define HMM_RANGE_SPARSE	BIT(0)

/*
 * HMM_RANGE_PTE_ORDERS - set in &hmm_range.default_flags, next to requests, to
 * get the order of large folios that the CPU maps by PTEs
 *
 * The order of a folio is reported if all of it is in the range, naturally
 * aligned, and all its PTEs are alike. Without this flag the order of a page
 * that a PTE maps is 0.
 */
#define HMM_RANGE_PTE_ORDERS	BIT(1)

/**
 * hmm_pfn_to_pfn() - the page frame number of a slot
 * @hmm_pfn: an answer with %HMM_PFN_VALID set
 *
 * Context: As for hmm_pfn_to_page().
 *
 * Return: the page frame number.
 */
static inline unsigned long hmm_pfn_to_pfn(unsigned long hmm_pfn)
{
	return hmm_pfn & ~HMM_PFN_FLAGS;
}

/**
 * hmm_pfn_to_page() - the struct page of a slot
 * @hmm_pfn: an answer with %HMM_PFN_VALID set
 *
 * Context: Nothing pins the page. Call this under the lock that the driver's
 * invalidate callback takes, after mmu_interval_read_retry() returned false
 * under that same lock.
 *
 * Return: the page.
 */
static inline struct page *hmm_pfn_to_page(unsigned long hmm_pfn)
{
	return pfn_to_page(hmm_pfn_to_pfn(hmm_pfn));
}

/**
 * hmm_pfn_to_phys() - the physical address of a slot
 * @hmm_pfn: an answer with %HMM_PFN_VALID set
 *
 * Context: As for hmm_pfn_to_page().
 *
 * Return: the address of the page's first byte.
 */
static inline phys_addr_t hmm_pfn_to_phys(unsigned long hmm_pfn)
{
	return __pfn_to_phys(hmm_pfn_to_pfn(hmm_pfn));
}

/**
 * hmm_pfn_to_map_order() - how large the CPU's mapping of a page is
 * @hmm_pfn: an answer with %HMM_PFN_VALID set
 *
 * With an order of n, the CPU maps the naturally aligned block of 2^n pages
 * that contains this address with one entry (PMD, PUD or hugetlb): all its
 * pages have the same permissions and are contiguous in physical memory. The
 * block may begin before the range or end after it; slots exist only for the
 * part inside, and the notifier's interval need not cover the rest.
 *
 * With %HMM_RANGE_PTE_ORDERS it may also be a large folio that is mapped by
 * PTEs that are alike; such a block is inside the range.
 *
 * Context: As for hmm_pfn_to_page().
 *
 * Return: n, for a block of 2^n pages; 0 for a single page.
 */
static inline unsigned int hmm_pfn_to_map_order(unsigned long hmm_pfn)
{
	return (hmm_pfn >> HMM_PFN_ORDER_SHIFT) & 0x1F;
}

/**
 * struct hmm_range - what to mirror, and under which protection
 *
 * The structure belongs to the caller and needs no lock; HMM writes
 * @hmm_pfns, and @notifier_seq where a function says so.
 *
 * @notifier: subscription whose interval holds all of [@start, @end)
 * @notifier_seq: what mmu_interval_read_begin() returned for @notifier
 * @start: first address; usually page aligned
 * @end: end of the range, exclusive; usually page aligned
 * @hmm_pfns: one slot per page, see &enum hmm_pfn_flags; slot n is for the page
 *	that holds byte @start + n * PAGE_SIZE
 * @default_flags: requests that apply to every page of the range, and
 *	%HMM_RANGE_SPARSE or %HMM_RANGE_PTE_ORDERS
 * @pfn_flags_mask: which request bits of the slots themselves have an effect;
 *	with 0, only the sticky flags of the slots must be initialised
 * @dev_private_owner: &dev_pagemap.owner whose device-private pages are
 *	reported as present; requested pages of other owners are migrated back
 *	to system memory by a fault. %NULL if the driver has no such memory.
 */
struct hmm_range {
	struct mmu_interval_notifier *notifier;
	unsigned long		notifier_seq;
	unsigned long		start;
	unsigned long		end;
	unsigned long		*hmm_pfns;
	unsigned long		default_flags;
	unsigned long		pfn_flags_mask;
	void			*dev_private_owner;
};

/**
 * hmm_range_run() - read a slot and find the next one
 * @range: a range that a call has filled
 * @addr: the address of a slot that was recorded: the range's start, or the
 *	end of the run before
 * @hmm_pfn: receives the answer for the page at @addr
 *
 * Context: As for hmm_pfn_to_page().
 *
 * Return: the number of pages for which the answer is valid. With
 * %HMM_PFN_VALID, these are contiguous in physical memory.
 */
static inline unsigned long hmm_range_run(const struct hmm_range *range,
					  unsigned long addr,
					  unsigned long *hmm_pfn)
{
	unsigned long end;

	*hmm_pfn = range->hmm_pfns[(addr - range->start) >> PAGE_SHIFT];
	end = ALIGN(addr + 1, PAGE_SIZE << hmm_pfn_to_map_order(*hmm_pfn));
	return (min(end, range->end) - addr) >> PAGE_SHIFT;
}

/**
 * for_each_hmm_run() - go through the answers of a range, sparse or not
 * @range: the range
 * @addr: loop variable, the address of the first page of a run
 * @nr: loop variable, the number of pages in the run
 * @hmm_pfn: loop variable, the answer for the first page; the answer for page
 *	n of a valid run is @hmm_pfn + n
 *
 * Only recorded slots have the driver's own flags.
 */
#define for_each_hmm_run(range, addr, nr, hmm_pfn)			\
	for (addr = (range)->start;					\
	     addr < (range)->end &&					\
	     (nr = hmm_range_run(range, addr, &(hmm_pfn)));		\
	     addr += nr << PAGE_SHIFT)

int hmm_range_fault(struct hmm_range *range);
int hmm_range_fault_unlocked_timeout(struct hmm_range *range,
				     unsigned long timeout);

/*
 * HMM_RANGE_DEFAULT_TIMEOUT - milliseconds for which a driver should retry
 * after invalidations, if it has no better value
 *
 * HMM_RANGE_DEFAULT_JIFFIES - the same in jiffies, as timeouts are passed
 */
#define HMM_RANGE_DEFAULT_TIMEOUT 1000
#define HMM_RANGE_DEFAULT_JIFFIES msecs_to_jiffies(HMM_RANGE_DEFAULT_TIMEOUT)

/**
 * struct hmm_commit - fault in a range and program the device with it
 * @range: the range
 * @timeout: in jiffies, for all attempts together, such as
 *	%HMM_RANGE_DEFAULT_JIFFIES; %MAX_SCHEDULE_TIMEOUT for no limit
 * @mutex: the lock that the notifier's invalidate callback takes
 * @lock: if @mutex is %NULL: acquires that lock, of another type
 * @unlock: if @mutex is %NULL: releases it
 * @program: called under the lock, with the answers in @range current: programs
 *	the device. May return -EAGAIN to begin again, within the timeout.
 *
 * Usually embedded in a structure with what the callbacks need.
 */
struct hmm_commit {
	struct hmm_range *range;
	unsigned long timeout;
	struct mutex *mutex;	/* the driver's */
	void (*lock)(struct hmm_commit *commit);
	void (*unlock)(struct hmm_commit *commit);
	int (*program)(struct hmm_commit *commit);
};

int hmm_range_commit(struct hmm_commit *commit);

#endif /* LINUX_HMM_H */
