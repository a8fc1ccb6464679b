/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DMA addresses for the pages of a mirrored range, as hmm_range_fault() reports
 * them: one at a time, or for a range.
 */
#ifndef LINUX_HMM_DMA_H
#define LINUX_HMM_DMA_H

#include <linux/dma-mapping.h>

struct dma_iova_state;
struct pci_p2pdma_map_state;

/**
 * struct hmm_dma_map - slots of a range and the DMA addresses that go with them
 *
 * HMM takes no lock. A driver serialises the calls for one index, usually by
 * the lock that its invalidate callback takes.
 *
 * @state: IOVA space for all entries; unused if the device has no IOMMU that
 *	offers it
 * @pfn_list: one slot per entry, in the format of &hmm_range.hmm_pfns
 * @dma_list: one address per entry; only if addresses are neither derived from
 *	@state nor stateless
 * @dma_entry_size: bytes that one entry maps
 */
struct hmm_dma_map {
	struct dma_iova_state state;
	unsigned long *pfn_list;
	dma_addr_t *dma_list;
	size_t dma_entry_size;
};

int hmm_dma_map_alloc(struct device *dev, struct hmm_dma_map *map,
		      size_t nr_entries, size_t dma_entry_size);
void hmm_dma_map_free(struct device *dev, struct hmm_dma_map *map);
dma_addr_t hmm_dma_map_pfn(struct device *dev, struct hmm_dma_map *map,
			   size_t idx,
			   struct pci_p2pdma_map_state *p2pdma_state);
bool hmm_dma_unmap_pfn(struct device *dev, struct hmm_dma_map *map, size_t idx);

/*
 * HMM_DMA_WHOLE - what this call maps is never unmapped in parts
 *
 * Contiguous pages are then mapped together, by larger pages of the IOMMU where
 * it has them. An IOMMU cannot unmap a part of what was mapped in this way, so
 * the driver must not pass a part to hmm_dma_unmap_range(), nor a single entry
 * to hmm_dma_unmap_pfn(): an invalidation of a part ends the device's access to
 * all of it. Without this flag, any part may be unmapped.
 */
#define HMM_DMA_WHOLE		BIT(0)

typedef void (*hmm_dma_unmapped_t)(size_t idx, unsigned long hmm_pfn,
				   void *arg);

int hmm_dma_map_range(struct device *dev, struct hmm_dma_map *map, size_t idx,
		      size_t nr, unsigned int flags,
		      struct pci_p2pdma_map_state *p2pdma_state);
size_t hmm_dma_unmap_range(struct device *dev, struct hmm_dma_map *map,
			   size_t idx, size_t nr, hmm_dma_unmapped_t unmapped,
			   void *arg);

#endif /* LINUX_HMM_DMA_H */
