/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_probe, inside. Layers, each using only those below it:
 *
 *	hmm_probe_main.c	the device, arguments and their bounds
 *	hmm_probe_check.c	a call judged by the oracle
 *	hmm_probe_call.c	one call of the API, with the driver's retry loop
 *	hmm_oracle.c		the page tables, one page at a time
 *
 * hmm_probe_map.c, the device's special mappings, hmm_probe_hold.c, which holds
 * the mmap lock, hmm_probe_stall.c, which holds a CPU, and hmm_probe_dma.c, a
 * driver that maps for DMA, stand alone; hmm_probe_stale.c uses the last two.
 * So do the second device, for subscriptions (hmm_probe_notify.h), the third
 * one, for migration (hmm_probe_move.h), the fourth one, for invalidations in
 * flight (hmm_probe_inval.h), and the fifth one, for real DMA
 * (hmm_probe_odp.c).
 */
#ifndef _HMM_PROBE_H
#define _HMM_PROBE_H

#include <linux/completion.h>
#include <linux/hmm.h>
#include <linux/mmu_notifier.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>

#include "hmm_probe_uapi.h"

struct file;
struct perf_event;
struct vm_area_struct;

struct task_struct;

/**
 * struct probe_stall - a CPU that stands still after an access to an entry
 * @events: the breakpoint of each CPU, until the file is closed
 * @ms: for how long
 * @task: only accesses by this task count; %NULL for all
 * @left: accesses that are let pass
 * @begun: a CPU stands still, or did so
 */
struct probe_stall {
	struct perf_event * __percpu *events;
	unsigned int ms;
	struct task_struct *task;
	atomic_t left;
	atomic_t begun;
};

struct probe_stale;

/**
 * struct probe_mirror - the mirror of an open file
 * @notifier: subscribed from open() to release(), save within set_interval
 * @interval_lock: taken for write to replace @notifier, for read to use it
 * @seq_lock: orders sequence updates with read_retry
 * @subscribed: @notifier is in place; under @interval_lock
 * @start: first address of the interval; under @interval_lock
 * @length: bytes of the interval; under @interval_lock
 * @invalidations: callbacks so far
 * @held: the mmap lock is held, or waited for
 * @let_go: and may stop to
 * @stall: see hmm_probe_stall.c
 * @stale: see hmm_probe_stale.c
 */
struct probe_mirror {
	struct mmu_interval_notifier notifier;
	struct rw_semaphore interval_lock;
	/* innermost; held in the callback */
	spinlock_t seq_lock;
	bool subscribed;
	unsigned long start;
	unsigned long length;
	atomic64_t invalidations;
	struct completion held;
	struct completion let_go;
	struct probe_stall stall;
	struct probe_stale *stale;
};

/**
 * struct oracle_page - one page in the oracle's eyes
 * @value: what a snapshot must report
 * @kind: what the entry is
 * @file: the VMA maps a file
 * @mixed: the VMA is VM_MIXEDMAP: its driver may map special pages
 * @may_write: the VMA has VM_WRITE
 * @owner: the owner of the device-private page, if it is one
 */
struct oracle_page {
	unsigned long value;
	enum hmm_probe_kind kind;
	bool file;
	bool mixed;
	bool may_write;
	void *owner;
};

/* The mmap lock is held; @owner is hmm_range.dev_private_owner. */
void oracle_look(struct mm_struct *mm, unsigned long addr, void *owner,
		 struct oracle_page *page);
void oracle_look_range(struct mm_struct *mm, unsigned long addr,
		       unsigned long npages, void *owner,
		       struct oracle_page *pages);
unsigned int oracle_whole_order(struct mm_struct *mm, unsigned long addr,
				const struct oracle_page *page,
				unsigned long start, unsigned long npages);
void *oracle_first_owner(struct mm_struct *mm, unsigned long addr,
			 unsigned long npages);

/**
 * struct probe_job - one measured call and its outcome
 * @mirror: whose address space; its interval_lock is held for read
 * @range: as it goes to the API
 * @addr: first address that the slots stand for
 * @npages: number of slots
 * @slots: the array given to the API
 * @requests: its contents before the call; a repeated call starts from these
 * @flags: HMM_PROBE_*
 * @timeout: jiffies, 0 for none
 * @settle: called with the mmap lock held after a call that gave 0; its result
 *	counts only when the sequence is still good afterwards
 * @private: for @settle
 * @rc: the result
 * @faults: see struct hmm_probe_call
 * @collisions: likewise
 * @invalidations: likewise
 */
struct probe_job {
	struct probe_mirror *mirror;
	struct hmm_range range;
	unsigned long addr;
	unsigned long npages;
	unsigned long *slots;
	unsigned long *requests;
	u64 flags;
	unsigned long timeout;
	void (*settle)(struct probe_job *job);
	void *private;

	int rc;
	u64 faults;
	u64 collisions;
	u64 invalidations;
};

void probe_job_run(struct probe_job *job);

/* 0 with the verdict in @check, or an errno: the check could not be done. */
int probe_check_snapshot(struct probe_job *job, struct hmm_probe_check *check);
int probe_check_fault(struct probe_job *job, struct hmm_probe_check *check);

int probe_mmap(struct file *file, struct vm_area_struct *vma);
void probe_map_exit(void);

int probe_hold(struct probe_mirror *mirror, const u64 __user *arg);
int probe_await_hold(struct probe_mirror *mirror);
int probe_let_go(struct probe_mirror *mirror);

int probe_stall(struct probe_mirror *mirror, const void __user *arg);
int probe_await_stall(struct probe_mirror *mirror);
int probe_stall_at(struct probe_mirror *mirror, unsigned long addr, u64 level,
		   unsigned int bp_type);
void probe_stall_end(struct probe_mirror *mirror);

int probe_stale_begin(struct probe_mirror *mirror, void __user *arg);
int probe_stale_end(struct probe_mirror *mirror, void __user *arg);
void probe_stale_free(struct probe_mirror *mirror);

int probe_dma(struct probe_mirror *mirror, void __user *arg);
int probe_fault_once(struct probe_mirror *mirror, struct hmm_range *range);
struct device *probe_dma_device(void);
int probe_dma_init(void);
void probe_dma_exit(void);

int probe_notify_init(void);
void probe_notify_exit(void);

int probe_inval_init(void);
void probe_inval_exit(void);

int probe_odp_init(void);
void probe_odp_exit(void);

#endif /* _HMM_PROBE_H */
