/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QEMU's edu device. There is one in the machine at most.
 */
#ifndef _HMM_PROBE_EDU_H
#define _HMM_PROBE_EDU_H

#include <linux/atomic.h>
#include <linux/mutex.h>
#include <linux/types.h>

struct pci_dev;
struct perf_event;
struct task_struct;

/* QEMU 7.2 takes 4096 bytes for too many. */
#define PROBE_EDU_AT_ONCE	2048UL

/**
 * struct probe_edu - the device
 * @pdev: %NULL if there is none
 * @regs: its registers
 * @lock: held while it moves data
 * @syncs: calls of the function that syncs the IOMMU
 * @links: calls of iommu_map_nosync() by @mapper
 * @mapper: the task whose calls count, and may fail
 * @fail: which of them does, 0 for none
 * @fail_sync: dma_iova_sync() fails, too
 * @watch_lock: of the next two, and of @mapper
 * @watcher: the region whose file has the breakpoints, or %NULL
 * @watches: breakpoints at the functions of struct hmm_odp_symbols
 */
struct probe_edu {
	struct pci_dev *pdev;
	void __iomem *regs;
	struct mutex lock;	/* see above */
	atomic64_t syncs;
	u64 links;
	struct task_struct *mapper;
	u64 fail;
	bool fail_sync;
	struct mutex watch_lock;	/* see above */
	const void *watcher;
	struct perf_event * __percpu *watches[3];
};

extern struct probe_edu probe_edu;

int probe_edu_register(void);
void probe_edu_unregister(void);

/* @arg: struct hmm_odp_symbols */
int probe_edu_watch(const void *watcher, const void __user *arg);
void probe_edu_unwatch(const void *watcher);

/*
 * Move bytes between @buffer, an offset into the device's own memory, and a DMA
 * address.
 */
int probe_edu_move(size_t buffer, dma_addr_t addr, size_t bytes, bool to_ram);

#endif /* _HMM_PROBE_EDU_H */
