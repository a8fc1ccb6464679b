/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/hmm_probe_odp: memory regions of a PCI device that faults on demand, and
 * maps for DMA what it faults in, as an RDMA device does. An open file is one
 * region of the process that opened it. The device is QEMU's edu.
 */
#ifndef _HMM_PROBE_ODP_UAPI_H
#define _HMM_PROBE_ODP_UAPI_H

#include <linux/const.h>
#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct hmm_odp_symbols - where the kernel has what is watched
 * @sync: the function that has the IOMMU drop what it has cached
 * @link: iommu_map_nosync(), which links pages
 * @map_sync: dma_iova_sync()
 *
 * They are watched until the file is closed.
 */
struct hmm_odp_symbols {
	__u64 sync;
	__u64 link;
	__u64 map_sync;
};

/* struct hmm_odp_region.flags */

/* Use the calls for a range. */
#define HMM_ODP_RANGE		_BITULL(0)
/* Ask for HMM_RANGE_SPARSE. */
#define HMM_ODP_SPARSE		_BITULL(1)
/* HMM_DMA_WHOLE; an invalidation of any part unmaps all of it. */
#define HMM_ODP_WHOLE		_BITULL(2)

/**
 * struct hmm_odp_region - what the device may access from now on
 * @addr: first address
 * @npages: how many pages, at most HMM_ODP_MAX_PAGES
 * @flags: HMM_ODP_*
 */
struct hmm_odp_region {
	__u64 addr;
	__u64 npages;
	__u64 flags;
};

#define HMM_ODP_MAX_PAGES	_BITULL(18)

/* struct hmm_odp_map.flags */

#define HMM_ODP_WRITE		_BITULL(0)
/* Map what is present, and fault nothing in. */
#define HMM_ODP_PRESENT		_BITULL(1)

/**
 * struct hmm_odp_map - map some pages, as a prefetch does
 * @addr: first address
 * @npages: how many pages
 * @flags: HMM_ODP_WRITE, HMM_ODP_PRESENT
 * @fail: let the call of dma_iova_link() with this number fail, from 1 on;
 *	0 for none
 * @fail_sync: let dma_iova_sync() fail
 * @rc: (out) what the first call that failed returned, or 0
 * @links: (out) calls of dma_iova_link()
 * @syncs: (out) calls of the function that syncs
 * @mapped: (out) how many of the pages are mapped then
 */
struct hmm_odp_map {
	__u64 addr;
	__u64 npages;
	__u64 flags;
	__u64 fail;
	__u64 fail_sync;
	__s64 rc;
	__u64 links;
	__u64 syncs;
	__u64 mapped;
};

/**
 * struct hmm_odp_copy - have the device copy bytes
 * @from: address of the first byte, in this region
 * @to: where the first byte goes, in this region
 * @bytes: how many
 */
struct hmm_odp_copy {
	__u64 from;
	__u64 to;
	__u64 bytes;
};

/**
 * struct hmm_odp_state - of a region
 * @mapped: entries that are mapped, by their slots
 * @wrong: entries for which the IOMMU has something else than their slot says
 * @stale: mapped entries for which the page table has something else
 * @pending: entries with flags that no entry has outside of a call
 * @unmapped: entries that invalidations unmapped, so far
 * @dirtied: entries that were writable then, so far
 * @syncs: calls of the function that syncs, while it is watched
 */
struct hmm_odp_state {
	__u64 mapped;
	__u64 wrong;
	__u64 stale;
	__u64 pending;
	__u64 unmapped;
	__u64 dirtied;
	__u64 syncs;
};

#define HMM_ODP_SYMBOLS		_IOW('O', 0, struct hmm_odp_symbols)
#define HMM_ODP_REGISTER	_IOW('O', 1, struct hmm_odp_region)
#define HMM_ODP_MAP		_IOWR('O', 2, struct hmm_odp_map)
#define HMM_ODP_COPY		_IOW('O', 3, struct hmm_odp_copy)
#define HMM_ODP_STATE		_IOR('O', 4, struct hmm_odp_state)

#endif /* _HMM_PROBE_ODP_UAPI_H */
