// SPDX-License-Identifier: GPL-2.0
#include <linux/hmm-dma.h>
#include "probe.h"

HAS_CALL(hmm_dma_map_alloc,
	 int (struct device *, struct hmm_dma_map *, size_t, size_t));
HAS_CALL(hmm_dma_map_free, void (struct device *, struct hmm_dma_map *));
HAS_CALL(hmm_dma_map_pfn,
	 dma_addr_t (struct device *, struct hmm_dma_map *, size_t,
		     struct pci_p2pdma_map_state *));
HAS_CALL(hmm_dma_unmap_pfn,
	 bool (struct device *, struct hmm_dma_map *, size_t));

HAS_FIELD(struct hmm_dma_map, state, struct dma_iova_state);
HAS_FIELD(struct hmm_dma_map, pfn_list, unsigned long *);
HAS_FIELD(struct hmm_dma_map, dma_list, dma_addr_t *);
HAS_FIELD(struct hmm_dma_map, dma_entry_size, size_t);
