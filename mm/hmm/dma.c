// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * DMA addresses for mirrored pages, one at a time or for a range.
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
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>

#include "dma_flags.h"
#include "dma_slots.h"
#include "pfn.h"

#include <trace/events/hmm.h>

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

/* How a device accesses a page; 0 if it cannot */
static unsigned long hmm_dma_flags_of(struct device *dev, struct page *page,
				      struct pci_p2pdma_map_state *p2pdma_state)
{
	switch (pci_p2pdma_state(p2pdma_state, dev, page)) {
	case PCI_P2PDMA_MAP_NONE:
		return HMM_DMA_LINKED;
	case PCI_P2PDMA_MAP_THRU_HOST_BRIDGE:
		return HMM_DMA_LINKED_P2P;
	case PCI_P2PDMA_MAP_BUS_ADDR:
		return HMM_DMA_BUS_KNOWN;
	default:
		return 0;
	}
}

/* By the driver's flags of an entry */
static unsigned long hmm_dma_attrs(unsigned long flags)
{
	return DMA_ATTR_REQUIRE_COHERENT |
	       (flags & HMM_PFN_P2PDMA ? DMA_ATTR_MMIO : 0);
}

static int hmm_dma_link_iova(struct device *dev, struct hmm_dma_map *map,
			     phys_addr_t phys, size_t idx, unsigned long attrs,
			     dma_addr_t *addr)
{
	struct dma_iova_state *state = &map->state;
	size_t size = map->dma_entry_size, offset = idx * size;
	int ret;

	ret = dma_iova_link(dev, state, phys, offset, size, DMA_BIDIRECTIONAL,
			    attrs);
	if (ret)
		return ret;
	ret = dma_iova_sync(dev, state, offset, size);
	if (ret)
		dma_iova_unlink(dev, state, offset, size, DMA_BIDIRECTIONAL,
				attrs);
	else
		*addr = state->addr + offset;
	return ret;
}

static int hmm_dma_map_phys(struct device *dev, struct hmm_dma_map *map,
			    phys_addr_t phys, size_t idx, unsigned long attrs,
			    dma_addr_t *addr)
{
	if (WARN_ON_ONCE(dma_need_unmap(dev) && !map->dma_list))
		return -EIO;

	*addr = dma_map_phys(dev, phys, map->dma_entry_size, DMA_BIDIRECTIONAL,
			     attrs);
	if (dma_mapping_error(dev, *addr))
		return -EIO;
	if (map->dma_list)
		map->dma_list[idx] = *addr;
	return 0;
}

/* Map one entry, whose slot has the value @pfn. */
static int hmm_dma_map_entry(struct device *dev, struct hmm_dma_map *map,
			     size_t idx, unsigned long pfn,
			     struct pci_p2pdma_map_state *p2pdma_state,
			     dma_addr_t *addr)
{
	struct page *page = hmm_pfn_to_page(pfn);
	phys_addr_t phys = hmm_pfn_to_phys(pfn);
	unsigned long flags;
	int ret = 0;

	flags = hmm_dma_flags_of(dev, page, p2pdma_state);
	if (!flags)
		return -EREMOTEIO;
	if (flags == HMM_DMA_BUS_KNOWN)
		*addr = pci_p2pdma_bus_addr_map(p2pdma_state->mem, phys);
	else if (dma_use_iova(&map->state))
		ret = hmm_dma_link_iova(dev, map, phys, idx,
					hmm_dma_attrs(flags), addr);
	else
		ret = hmm_dma_map_phys(dev, map, phys, idx,
				       hmm_dma_attrs(flags), addr);

	if (!ret)
		hmm_slot_change(&map->pfn_list[idx], HMM_PFN_STICKY,
				hmm_dma_flags_mapped(flags));
	return ret;
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
	unsigned long pfn = READ_ONCE(map->pfn_list[idx]);
	dma_addr_t addr;

	/* Bus addresses and derived ones are computed again below. */
	if ((pfn & HMM_PFN_STICKY & ~HMM_PFN_P2PDMA) == HMM_PFN_DMA_MAPPED) {
		if (dma_use_iova(&map->state))
			return map->state.addr + idx * map->dma_entry_size;
		if (map->dma_list)
			return map->dma_list[idx];
	}

	if (hmm_dma_map_entry(dev, map, idx, pfn, p2pdma_state, &addr))
		return DMA_MAPPING_ERROR;
	return addr;
}
EXPORT_SYMBOL_GPL(hmm_dma_map_pfn);

/*
 * An IOMMU may drop what it has cached for all that lies between two entries
 * which share a sync. Across a longer gap, they do not share one.
 */
#define HMM_DMA_GAP_PAGES	256

/**
 * struct hmm_dma_unlinked - entries that the device may access until a sync
 * @gather: what has to be synced
 * @end: index after the last one
 */
struct hmm_dma_unlinked {
	struct iommu_iotlb_gather gather;
	size_t end;
};

static void hmm_dma_unlink_begin(struct hmm_dma_unlinked *unlinked)
{
	iommu_iotlb_gather_init(&unlinked->gather);
	unlinked->end = 0;
}

static void hmm_dma_unlink_sync(struct device *dev, struct hmm_dma_map *map,
				struct hmm_dma_unlinked *unlinked)
{
	if (dma_use_iova(&map->state))
		dma_iova_unlink_sync(dev, &unlinked->gather);
}

/*
 * Unlink @nr entries with the flags of @slot, which are no bus addresses.
 * Addresses that are derived need no unmap.
 */
static void hmm_dma_unlink(struct device *dev, struct hmm_dma_map *map,
			   size_t idx, size_t nr, unsigned long slot,
			   struct hmm_dma_unlinked *unlinked)
{
	unsigned long attrs = hmm_dma_attrs(slot);
	size_t size = map->dma_entry_size;

	if (dma_use_iova(&map->state)) {
		if (unlinked->end && (idx - unlinked->end) * size >
				     HMM_DMA_GAP_PAGES * PAGE_SIZE)
			hmm_dma_unlink_sync(dev, map, unlinked);
		dma_iova_unlink_nosync(dev, &map->state, idx * size, nr * size,
				       DMA_BIDIRECTIONAL, attrs,
				       &unlinked->gather);
		unlinked->end = idx + nr;
		return;
	}
	if (!map->dma_list)
		return;
	for (; nr; nr--, idx++)
		dma_unmap_phys(dev, map->dma_list[idx], size, DMA_BIDIRECTIONAL,
			       attrs);
}

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
	struct hmm_dma_unlinked unlinked;

	/*
	 * Do not check whether the page is valid: a walk that found nothing may
	 * have recorded that after the page of another walk was mapped.
	 */
	if (!(pfn & HMM_PFN_DMA_MAPPED))
		return false;

	if (hmm_dma_is_linked(pfn)) {
		hmm_dma_unlink_begin(&unlinked);
		hmm_dma_unlink(dev, map, idx, 1, pfn, &unlinked);
		hmm_dma_unlink_sync(dev, map, &unlinked);
	}
	hmm_slot_change(slot, HMM_PFN_STICKY, 0);
	return true;
}
EXPORT_SYMBOL_GPL(hmm_dma_unmap_pfn);

/**
 * struct hmm_dma_run - neighbouring entries that are contiguous in physical
 *	memory and accessed in the same way
 * @idx: index of the first one
 * @nr: how many
 * @phys: physical address of the first one
 * @flags: how they are marked when they are linked, or when their bus address
 *	is known
 */
struct hmm_dma_run {
	size_t idx;
	size_t nr;
	phys_addr_t phys;
	unsigned long flags;
};

/*
 * Find the first run in [@idx, @end) of entries that have a page and are not
 * mapped. Its length is 0 if there is none.
 */
static int hmm_dma_next_run(struct device *dev, const struct hmm_dma_map *map,
			    size_t idx, size_t end,
			    struct pci_p2pdma_map_state *p2pdma_state,
			    struct hmm_dma_run *run)
{
	run->nr = 0;
	for (; idx < end; idx++) {
		/* Read once: a walk may change the answer. */
		unsigned long slot = READ_ONCE(map->pfn_list[idx]), flags;
		phys_addr_t phys = hmm_pfn_to_phys(slot);

		if (!hmm_dma_is_unmapped(slot)) {
			if (run->nr)
				break;
			continue;
		}

		flags = hmm_dma_flags_of(dev, hmm_pfn_to_page(slot),
					 p2pdma_state);
		if (!run->nr) {
			if (!flags)
				return -EREMOTEIO;
			run->idx = idx;
			run->phys = phys;
			run->flags = flags;
		} else if (flags != run->flags ||
			   phys != run->phys + run->nr * map->dma_entry_size) {
			break;
		}
		run->nr++;
	}
	return 0;
}

static void hmm_dma_mark(struct hmm_dma_map *map, size_t idx, size_t nr,
			 unsigned long flags)
{
	for (; nr; nr--, idx++)
		hmm_slot_change(&map->pfn_list[idx], HMM_PFN_STICKY, flags);
}

/*
 * What dma_iova_link() links by one call has to be unlinked by one, too.
 * dma_iova_link_pages() has no such limit, but knows pages only: larger entries
 * are linked one by one.
 */
static int hmm_dma_link_run(struct device *dev, struct hmm_dma_map *map,
			    const struct hmm_dma_run *run, bool whole)
{
	size_t size = map->dma_entry_size, step = run->nr, i;
	unsigned long attrs = hmm_dma_attrs(run->flags);
	int ret;

	if (!whole && size != PAGE_SIZE)
		step = 1;
	for (i = 0; i < run->nr; i += step) {
		phys_addr_t phys = run->phys + i * size;
		size_t offset = (run->idx + i) * size;

		if (whole || step == 1)
			ret = dma_iova_link(dev, &map->state, phys, offset,
					    step * size, DMA_BIDIRECTIONAL,
					    attrs);
		else
			ret = dma_iova_link_pages(dev, &map->state, phys,
						  offset, step * size,
						  DMA_BIDIRECTIONAL, attrs);
		if (ret)
			return ret;
		hmm_dma_mark(map, run->idx + i, step, run->flags);
	}
	return 0;
}

/* Without an IOVA space: page by page, and nothing for derived addresses */
static int hmm_dma_list_run(struct device *dev, struct hmm_dma_map *map,
			    const struct hmm_dma_run *run)
{
	unsigned long attrs = hmm_dma_attrs(run->flags);
	dma_addr_t addr;
	size_t i;
	int ret;

	if (!map->dma_list) {
		hmm_dma_mark(map, run->idx, run->nr, run->flags);
		return 0;
	}
	for (i = 0; i < run->nr; i++) {
		phys_addr_t phys = run->phys + i * map->dma_entry_size;

		ret = hmm_dma_map_phys(dev, map, phys, run->idx + i, attrs,
				       &addr);
		if (ret)
			return ret;
		hmm_dma_mark(map, run->idx + i, 1, run->flags);
	}
	return 0;
}

static int hmm_dma_map_run(struct device *dev, struct hmm_dma_map *map,
			   const struct hmm_dma_run *run, unsigned int flags)
{
	if (run->flags == HMM_DMA_BUS_KNOWN) {
		hmm_dma_mark(map, run->idx, run->nr, run->flags);
		return 0;
	}
	if (!dma_use_iova(&map->state))
		return hmm_dma_list_run(dev, map, run);
	return hmm_dma_link_run(dev, map, run, flags & HMM_DMA_WHOLE);
}

/* The call has succeeded: pending entries become mapped. */
static void hmm_dma_commit(struct hmm_dma_map *map, size_t idx, size_t end)
{
	for (; idx < end; idx++) {
		unsigned long slot = READ_ONCE(map->pfn_list[idx]);

		if (hmm_dma_is_pending(slot))
			hmm_dma_mark(map, idx, 1, hmm_dma_flags_mapped(slot));
	}
}

/* The call has failed: pending entries are as they were. */
static void hmm_dma_undo(struct device *dev, struct hmm_dma_map *map,
			 size_t idx, size_t end)
{
	struct hmm_dma_unlinked unlinked;
	size_t nr;

	hmm_dma_unlink_begin(&unlinked);
	for (; idx < end; idx += nr) {
		unsigned long slot = READ_ONCE(map->pfn_list[idx]);

		nr = hmm_dma_flags_run(&map->pfn_list[idx], end - idx);
		if (!hmm_dma_is_pending(slot))
			continue;
		if (hmm_dma_is_linked(slot))
			hmm_dma_unlink(dev, map, idx, nr, slot, &unlinked);
		hmm_dma_mark(map, idx, nr, 0);
	}
	hmm_dma_unlink_sync(dev, map, &unlinked);
}

/* Map all runs, and sync once. */
static int hmm_dma_map_runs(struct device *dev, struct hmm_dma_map *map,
			    size_t idx, size_t end, unsigned int flags,
			    struct pci_p2pdma_map_state *p2pdma_state)
{
	size_t size = map->dma_entry_size, from = 0, to = 0;
	struct hmm_dma_run run;
	int ret;

	for (;;) {
		ret = hmm_dma_next_run(dev, map, idx, end, p2pdma_state, &run);
		if (ret)
			return ret;
		if (!run.nr)
			break;
		ret = hmm_dma_map_run(dev, map, &run, flags);
		if (ret)
			return ret;
		idx = run.idx + run.nr;
		if (run.flags == HMM_DMA_BUS_KNOWN)
			continue;
		if (!to)
			from = run.idx;
		to = idx;
	}
	if (!to || !dma_use_iova(&map->state))
		return 0;
	return dma_iova_sync(dev, &map->state, from * size, (to - from) * size);
}

/* Map all runs, or none. */
static int hmm_dma_map_all(struct device *dev, struct hmm_dma_map *map,
			   size_t idx, size_t nr, unsigned int flags,
			   struct pci_p2pdma_map_state *p2pdma_state)
{
	size_t end = idx + nr;
	dma_addr_t addr;
	int ret;

	/* The most frequent case by far: nothing to join, nothing to undo */
	if (nr == 1 && dma_use_iova(&map->state)) {
		unsigned long pfn = READ_ONCE(map->pfn_list[idx]);

		if (!hmm_dma_is_unmapped(pfn))
			return 0;
		return hmm_dma_map_entry(dev, map, idx, pfn, p2pdma_state,
					 &addr);
	}

	ret = hmm_dma_map_runs(dev, map, idx, end, flags, p2pdma_state);
	if (ret)
		hmm_dma_undo(dev, map, idx, end);
	else
		hmm_dma_commit(map, idx, end);
	return ret;
}

static noinline int
hmm_dma_map_traced(struct device *dev, struct hmm_dma_map *map, size_t idx,
		   size_t nr, unsigned int flags,
		   struct pci_p2pdma_map_state *p2pdma_state)
{
	size_t i, unmapped = 0, segments = 0;
	phys_addr_t next = 0;
	int ret;

	for (i = 0; i < nr; i++) {
		unsigned long slot = READ_ONCE(map->pfn_list[idx + i]);
		phys_addr_t phys = hmm_pfn_to_phys(slot);

		if (!hmm_dma_is_unmapped(slot)) {
			next = 0;
			continue;
		}
		unmapped++;
		segments += phys != next;
		next = phys + map->dma_entry_size;
	}
	ret = hmm_dma_map_all(dev, map, idx, nr, flags, p2pdma_state);
	trace_hmm_dma_map(dev, idx, nr, unmapped, segments, ret);
	return ret;
}

/**
 * hmm_dma_map_range() - map the pages of a range of slots for DMA
 * @dev: the device of the map
 * @map: the map
 * @idx: index of the first entry
 * @nr: how many entries
 * @flags: %HMM_DMA_WHOLE or 0
 * @p2pdma_state: peer-to-peer state, as for hmm_dma_map_pfn()
 *
 * Maps the entries whose slot holds an answer with %HMM_PFN_VALID, except those
 * that are mapped already. The IOMMU is synced once, not once for each page.
 * hmm_dma_map_pfn() returns the address of each entry afterwards; where this is
 * derived from the physical one, it may still fail.
 *
 * If the call fails, it has unmapped what it mapped. What earlier calls mapped
 * stays so.
 *
 * Context: As for hmm_dma_map_pfn(): under the driver's lock, after
 * mmu_interval_read_retry() returned false under it. Does not sleep.
 *
 * Return: 0, -EREMOTEIO if the device cannot access the page of a peer, -EIO if
 * a page could not be mapped without an IOVA space, or what the DMA layer
 * returned, such as -ENOMEM.
 */
int hmm_dma_map_range(struct device *dev, struct hmm_dma_map *map, size_t idx,
		      size_t nr, unsigned int flags,
		      struct pci_p2pdma_map_state *p2pdma_state)
{
	if (trace_hmm_dma_map_enabled())
		return hmm_dma_map_traced(dev, map, idx, nr, flags,
					  p2pdma_state);
	return hmm_dma_map_all(dev, map, idx, nr, flags, p2pdma_state);
}
EXPORT_SYMBOL_GPL(hmm_dma_map_range);

/* Unlink all entries in [@idx, @end) that are mapped; returns how many were. */
static size_t hmm_dma_unlink_mapped(struct device *dev, struct hmm_dma_map *map,
				    size_t idx, size_t end,
				    struct hmm_dma_unlinked *unlinked)
{
	size_t run, total = 0;

	for (; idx < end; idx += run) {
		unsigned long slot = READ_ONCE(map->pfn_list[idx]);

		run = hmm_dma_flags_run(&map->pfn_list[idx], end - idx);
		if (!(slot & HMM_PFN_DMA_MAPPED))
			continue;
		if (hmm_dma_is_linked(slot))
			hmm_dma_unlink(dev, map, idx, run, slot, unlinked);
		total += run;
	}
	return total;
}

/**
 * hmm_dma_unmap_range() - end the DMA mappings of a range of slots
 * @dev: the device of the map
 * @map: the map
 * @idx: index of the first entry
 * @nr: how many entries
 * @unmapped: called for each entry that was mapped, once the IOMMU has let go
 *	of it; may be %NULL
 * @arg: passed to @unmapped
 *
 * The slots become zero, even if a walk of another fault is writing to them at
 * the same time. @unmapped gets the old value of the slot: with %HMM_PFN_WRITE,
 * the device may have written to the page.
 *
 * Entries share one sync of the IOMMU unless a gap between them is large, or
 * the IOMMU's driver cannot sync across gaps (arm-smmu-v3; amd on a virtual
 * IOMMU). Without an IOVA space, each entry is unmapped by itself.
 *
 * Context: As for hmm_dma_map_pfn(). Does not sleep, and allocates nothing
 * itself.
 *
 * Return: how many entries were mapped.
 */
size_t hmm_dma_unmap_range(struct device *dev, struct hmm_dma_map *map,
			   size_t idx, size_t nr, hmm_dma_unmapped_t unmapped,
			   void *arg)
{
	struct hmm_dma_unlinked unlinked;
	size_t end = idx + nr, total;

	hmm_dma_unlink_begin(&unlinked);
	total = hmm_dma_unlink_mapped(dev, map, idx, end, &unlinked);
	hmm_dma_unlink_sync(dev, map, &unlinked);
	trace_hmm_dma_unmap(dev, idx, nr, total);

	for (; idx < end; idx++) {
		unsigned long slot = xchg(&map->pfn_list[idx], 0);

		if (unmapped && (slot & HMM_PFN_DMA_MAPPED))
			unmapped(idx, slot, arg);
	}
	return total;
}
EXPORT_SYMBOL_GPL(hmm_dma_unmap_range);
