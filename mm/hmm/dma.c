// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * DMA addresses for mirrored pages.
 *
 * The address of an entry is one of the following, the same for all of a map:
 *
 *	IOVA	 the map has IOVA space of its own: base + index * entry size
 *	listed	 the DMA layer requires that each address is unmapped later, so
 *		 it is stored in dma_list
 *	derived	 addresses follow from physical ones, and nothing is stored
 *
 * Peer-to-peer pages may bypass all three and be accessed by their bus address.
 */
#include <linux/dma-mapping.h>
#include <linux/export.h>
#include <linux/hmm-dma.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>

#include "dma_slots.h"
#include "pfn.h"

/* An entry covers all slots of its map, byte by byte. */
struct maple_tree hmm_dma_slots = MTREE_INIT(hmm_dma_slots, MT_FLAGS_USE_RCU);

static int hmm_dma_slots_add(struct hmm_dma_map *map, size_t nr_entries)
{
	unsigned long first = (unsigned long)map->pfn_list;
	unsigned long last = first + nr_entries * sizeof(*map->pfn_list) - 1;

	return mtree_store_range(&hmm_dma_slots, first, last, map->pfn_list,
				 GFP_KERNEL);
}

static void hmm_dma_slots_remove(struct hmm_dma_map *map)
{
	mtree_erase(&hmm_dma_slots, (unsigned long)map->pfn_list);
}

/*
 * The process and the device use a mirrored page at the same time: the DMA sync
 * functions are not called, and pages must not be bounced through swiotlb. This
 * is the closest check that the DMA layer offers.
 */
static bool hmm_dma_is_direct(struct device *dev)
{
#ifdef CONFIG_DMA_NEED_SYNC
	if (!dev_dma_skip_sync(dev))
		return false;
#endif
	return !dma_addressing_limited(dev);
}

/* A list may be large, and its allocation may fail: do not warn. */
static void *hmm_dma_list_alloc(size_t nr_entries, size_t entry_size)
{
	return kvcalloc(nr_entries, entry_size, GFP_KERNEL | __GFP_NOWARN);
}

/**
 * hmm_dma_map_alloc() - prepare a map from slots to DMA addresses
 * @dev: device that will do the DMA
 * @map: map to set up; its state must be zeroed
 * @nr_entries: how many entries, of @dma_entry_size bytes each
 * @dma_entry_size: bytes that one entry maps
 *
 * Context: Process context, may sleep.
 *
 * Return: 0, -EOPNOTSUPP if the device cannot reach all memory without bounce
 * buffers, or -ENOMEM.
 */
int hmm_dma_map_alloc(struct device *dev, struct hmm_dma_map *map,
		      size_t nr_entries, size_t dma_entry_size)
{
	WARN_ON_ONCE(nr_entries * PAGE_SIZE < dma_entry_size);

	if (!hmm_dma_is_direct(dev))
		return -EOPNOTSUPP;

	map->dma_entry_size = dma_entry_size;
	map->pfn_list = hmm_dma_list_alloc(nr_entries, sizeof(*map->pfn_list));
	if (!map->pfn_list)
		return -ENOMEM;
	if (hmm_dma_slots_add(map, nr_entries))
		goto free_pfns;

	if (dma_iova_try_alloc(dev, &map->state, 0, nr_entries * PAGE_SIZE))
		return 0;
	if (!dma_need_unmap(dev))
		return 0;

	map->dma_list = hmm_dma_list_alloc(nr_entries, sizeof(*map->dma_list));
	if (map->dma_list)
		return 0;

	hmm_dma_slots_remove(map);
free_pfns:
	kvfree(map->pfn_list);
	map->pfn_list = NULL;
	return -ENOMEM;
}
EXPORT_SYMBOL_GPL(hmm_dma_map_alloc);

/**
 * hmm_dma_map_free() - free what hmm_dma_map_alloc() allocated
 * @dev: the device of the map
 * @map: the map; no entry is mapped
 *
 * Context: Process context, may sleep.
 */
void hmm_dma_map_free(struct device *dev, struct hmm_dma_map *map)
{
	if (dma_use_iova(&map->state))
		dma_iova_free(dev, &map->state);
	hmm_dma_slots_remove(map);
	kvfree(map->pfn_list);
	kvfree(map->dma_list);
}
EXPORT_SYMBOL_GPL(hmm_dma_map_free);

static dma_addr_t hmm_dma_link_iova(struct device *dev, struct hmm_dma_map *map,
				    phys_addr_t phys, size_t offset,
				    unsigned long attrs)
{
	struct dma_iova_state *state = &map->state;
	size_t size = map->dma_entry_size;

	if (dma_iova_link(dev, state, phys, offset, size, DMA_BIDIRECTIONAL,
			  attrs))
		return DMA_MAPPING_ERROR;
	if (dma_iova_sync(dev, state, offset, size)) {
		dma_iova_unlink(dev, state, offset, size, DMA_BIDIRECTIONAL,
				attrs);
		return DMA_MAPPING_ERROR;
	}
	return state->addr + offset;
}

static dma_addr_t hmm_dma_map_phys(struct device *dev, struct hmm_dma_map *map,
				   phys_addr_t phys, size_t idx,
				   unsigned long attrs)
{
	bool listed = dma_need_unmap(dev);
	dma_addr_t addr;

	if (WARN_ON_ONCE(listed && !map->dma_list))
		return DMA_MAPPING_ERROR;

	addr = dma_map_phys(dev, phys, map->dma_entry_size, DMA_BIDIRECTIONAL,
			    attrs);
	if (dma_mapping_error(dev, addr))
		return DMA_MAPPING_ERROR;
	if (listed)
		map->dma_list[idx] = addr;
	return addr;
}

/**
 * hmm_dma_map_pfn() - map the page of one slot for DMA
 * @dev: the device of the map
 * @map: the map
 * @idx: index of the entry; its slot holds an answer with %HMM_PFN_VALID
 * @p2pdma_state: peer-to-peer state, which the caller passes for each page
 *
 * On success %HMM_PFN_DMA_MAPPED is set in the slot, and one of the
 * peer-to-peer flags if the page is mapped for peer-to-peer DMA. For an entry
 * that is already mapped, the same address is returned, so that a driver may
 * add permissions.
 *
 * Context: As for hmm_pfn_to_page(). Does not sleep.
 *
 * Return: the DMA address of the page, or %DMA_MAPPING_ERROR with the entry
 * unmapped.
 */
dma_addr_t hmm_dma_map_pfn(struct device *dev, struct hmm_dma_map *map,
			   size_t idx,
			   struct pci_p2pdma_map_state *p2pdma_state)
{
	unsigned long *slot = &map->pfn_list[idx];
	unsigned long pfn = READ_ONCE(*slot);
	phys_addr_t phys = hmm_pfn_to_phys(pfn);
	size_t offset = idx * map->dma_entry_size;
	unsigned long attrs = DMA_ATTR_REQUIRE_COHERENT;
	dma_addr_t addr;

	/* Bus addresses and derived ones are computed again below. */
	if ((pfn & HMM_PFN_STICKY & ~HMM_PFN_P2PDMA) == HMM_PFN_DMA_MAPPED) {
		if (dma_use_iova(&map->state))
			return map->state.addr + offset;
		if (dma_need_unmap(dev))
			return map->dma_list[idx];
	}

	switch (pci_p2pdma_state(p2pdma_state, dev, hmm_pfn_to_page(pfn))) {
	case PCI_P2PDMA_MAP_NONE:
		break;
	case PCI_P2PDMA_MAP_THRU_HOST_BRIDGE:
		attrs |= DMA_ATTR_MMIO;
		hmm_slot_change_sticky(slot, 0, HMM_PFN_P2PDMA);
		break;
	case PCI_P2PDMA_MAP_BUS_ADDR:
		hmm_slot_change_sticky(slot, 0, HMM_PFN_P2PDMA_BUS |
				       HMM_PFN_DMA_MAPPED);
		return pci_p2pdma_bus_addr_map(p2pdma_state->mem, phys);
	default:
		return DMA_MAPPING_ERROR;
	}

	if (dma_use_iova(&map->state))
		addr = hmm_dma_link_iova(dev, map, phys, offset, attrs);
	else
		addr = hmm_dma_map_phys(dev, map, phys, idx, attrs);

	if (addr == DMA_MAPPING_ERROR)
		hmm_slot_change_sticky(slot, HMM_PFN_P2PDMA, 0);
	else
		hmm_slot_change_sticky(slot, 0, HMM_PFN_DMA_MAPPED);
	return addr;
}
EXPORT_SYMBOL_GPL(hmm_dma_map_pfn);

/**
 * hmm_dma_unmap_pfn() - end the DMA mapping of one slot
 * @dev: the device of the map
 * @map: the map
 * @idx: index of the entry
 *
 * Context: As for hmm_dma_map_pfn().
 *
 * Return: true if the entry was mapped.
 */
bool hmm_dma_unmap_pfn(struct device *dev, struct hmm_dma_map *map, size_t idx)
{
	unsigned long *slot = &map->pfn_list[idx];
	unsigned long pfn = READ_ONCE(*slot);
	size_t size = map->dma_entry_size;
	unsigned long attrs = DMA_ATTR_REQUIRE_COHERENT;

	/*
	 * Do not check whether the page is valid: a walk that found nothing may
	 * have recorded that after the page of another walk was mapped.
	 */
	if (!(pfn & HMM_PFN_DMA_MAPPED))
		return false;

	if (pfn & HMM_PFN_P2PDMA)
		attrs |= DMA_ATTR_MMIO;

	/* Bus addresses were never mapped, and derived ones need no unmap. */
	if (!(pfn & HMM_PFN_P2PDMA_BUS)) {
		if (dma_use_iova(&map->state))
			dma_iova_unlink(dev, &map->state, idx * size, size,
					DMA_BIDIRECTIONAL, attrs);
		else if (dma_need_unmap(dev))
			dma_unmap_phys(dev, map->dma_list[idx], size,
				       DMA_BIDIRECTIONAL, attrs);
	}

	hmm_slot_change_sticky(slot, HMM_PFN_STICKY, 0);
	return true;
}
EXPORT_SYMBOL_GPL(hmm_dma_unmap_pfn);
