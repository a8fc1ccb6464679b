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

/**
 * enum hmm_pfn_flags - the flag bits of one slot of &hmm_range.hmm_pfns
 *
 * A slot holds one page: flags and the order of the mapping in its top bits,
 * the page frame number below them. It is read as a request when a call
 * begins, and holds the answer once the call has returned 0. An answer of
 * zero says that nothing is mapped for the device, and that asking for a fault
 * may change that.
 *
 * @HMM_PFN_VALID: (out) the device may read the page whose number is in the
 *	slot. It is device memory only if the range named its owner.
 * @HMM_PFN_WRITE: (out) the device may write it too. Never without
 *	@HMM_PFN_VALID.
 * @HMM_PFN_ERROR: (out) no fault can give access to this address: there is
 *	no VMA, or one without read permission or without struct pages, or the
 *	memory is poisoned or guarded.
 * @HMM_PFN_DMA_MAPPED: (kept) the page is mapped for DMA. This flag and the
 *	next two belong to the driver and are carried over from the request.
 * @HMM_PFN_P2PDMA: (kept) mapped for peer-to-peer DMA through the host bridge.
 * @HMM_PFN_P2PDMA_BUS: (kept) mapped for peer-to-peer DMA by bus address.
 * @HMM_PFN_ORDER_SHIFT: (out) where the five bits of the order begin, see
 *	hmm_pfn_to_map_order().
 * @HMM_PFN_REQ_FAULT: (in) the page must come back @HMM_PFN_VALID, or the call
 *	fails.
 * @HMM_PFN_REQ_WRITE: (in) the page must come back @HMM_PFN_WRITE, or the call
 *	fails. Only heeded together with @HMM_PFN_REQ_FAULT.
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

/**
 * hmm_pfn_to_page() - the struct page that a slot names
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
	return pfn_to_page(hmm_pfn & ~HMM_PFN_FLAGS);
}

/**
 * hmm_pfn_to_phys() - the physical address that a slot names
 * @hmm_pfn: an answer with %HMM_PFN_VALID set
 *
 * Context: As for hmm_pfn_to_page().
 *
 * Return: the address of the page's first byte.
 */
static inline phys_addr_t hmm_pfn_to_phys(unsigned long hmm_pfn)
{
	return __pfn_to_phys(hmm_pfn & ~HMM_PFN_FLAGS);
}

/**
 * hmm_pfn_to_map_order() - how large the CPU's mapping of a page is
 * @hmm_pfn: an answer with %HMM_PFN_VALID set
 *
 * An order of n says that the CPU maps the naturally aligned block of 2^n
 * pages around this address with one entry, and so that all its pages carry
 * the same permissions and lie next to each other in physical memory. The block
 * may begin before the range or end behind it; slots exist only for the part
 * inside.
 *
 * Context: As for hmm_pfn_to_page().
 *
 * Return: the order, in powers of two pages; 0 for a single page.
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
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned
 * @hmm_pfns: one slot a page, see &enum hmm_pfn_flags
 * @default_flags: requests that hold for every page of the range
 * @pfn_flags_mask: which request bits of the slots themselves are heeded; with
 *	0 the slots need no initialisation by the caller beyond the flags that
 *	are kept
 * @dev_private_owner: &dev_pagemap.owner whose device private pages are
 *	reported as they are; those of others are asked back to system memory.
 *	%NULL when the driver has no such memory.
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

int hmm_range_fault(struct hmm_range *range);
int hmm_range_fault_unlocked_timeout(struct hmm_range *range,
				     unsigned long timeout);

/*
 * HMM_RANGE_DEFAULT_TIMEOUT - milliseconds that a driver without a better
 * idea should go on retrying against invalidations before it gives up.
 */
#define HMM_RANGE_DEFAULT_TIMEOUT 1000

#endif /* LINUX_HMM_H */
