// SPDX-License-Identifier: GPL-2.0
#include <linux/hmm.h>
#include "probe.h"

HAS_CALL(hmm_pfn_to_page, struct page *(unsigned long));
HAS_CALL(hmm_pfn_to_phys, phys_addr_t (unsigned long));
HAS_CALL(hmm_pfn_to_map_order, unsigned int (unsigned long));

#define TOP_BIT(nr) (1UL << (BITS_PER_LONG - (nr)))

HAS_VALUE(HMM_PFN_VALID, TOP_BIT(1));
HAS_VALUE(HMM_PFN_WRITE, TOP_BIT(2));
HAS_VALUE(HMM_PFN_ERROR, TOP_BIT(3));
HAS_VALUE(HMM_PFN_DMA_MAPPED, TOP_BIT(4));
HAS_VALUE(HMM_PFN_P2PDMA, TOP_BIT(5));
HAS_VALUE(HMM_PFN_P2PDMA_BUS, TOP_BIT(6));
HAS_VALUE(HMM_PFN_ORDER_SHIFT, BITS_PER_LONG - 11);
HAS_VALUE(HMM_PFN_REQ_FAULT, HMM_PFN_VALID);
HAS_VALUE(HMM_PFN_REQ_WRITE, HMM_PFN_WRITE);
HAS_VALUE((unsigned long)HMM_PFN_FLAGS, ~(TOP_BIT(11) - 1));

enum hmm_pfn_flags probe_is_an_enum;
