/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of the module hmm_bench share: jobs, and the functions of
 * operations that are not in hmm_bench_main.c.
 */
#ifndef _HMM_BENCH_H
#define _HMM_BENCH_H

#include <linux/atomic.h>
#include <linux/hmm-dma.h>
#include <linux/hmm.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>

#include "hmm_bench_uapi.h"

/**
 * struct bench_holder - subscriptions that an open file holds
 * @lock: one ioctl at a time inserts, removes and uses them
 * @subs: the subscriptions, under @lock
 * @count: how many of them are inserted, under @lock
 * @seq_lock: what a driver would have for mmu_interval_read_retry()
 * @sleep_us: how long a callback sleeps; set before there are any
 * @relay_end: until then callbacks wait for one another, in jiffies; likewise
 * @sleeping: how many callbacks sleep
 * @whole: a subscription to the whole address space
 * @registered: whether @whole is; under @lock
 * @stop: ends a HMM_BENCH_WATCH
 */
struct bench_holder {
	struct mutex lock;	/* of the file's ioctls */
	struct bench_sub *subs;
	unsigned int count;
	spinlock_t seq_lock;	/* of the callbacks */
	unsigned int sleep_us;
	unsigned long relay_end;
	atomic_t sleeping;
	struct mmu_notifier whole;
	bool registered;
	bool stop;
};

/**
 * struct bench_sub - one of them
 * @notifier: the subscription
 * @holder: its owner
 */
struct bench_sub {
	struct mmu_interval_notifier notifier;
	struct bench_holder *holder;
};

/**
 * struct bench_job - one call of the device
 * @notifier: subscribed to the job's range
 * @range: as it goes to the API
 * @mm: the caller's own
 * @call: arguments and results
 * @tree: of subscriptions that only the job knows
 * @holder: they share it
 * @migrate: as it goes to the API
 * @pages: exclusive to the device
 * @flush_counter: is called for TLB flushes
 * @flushes: how many there were
 * @dev: that does DMA
 * @dma: its map, zeroed before each run
 * @rounds: how often the range was invalidated, under the holder's seq_lock
 * @mapped: what the driver has read from the answers
 */
struct bench_job {
	struct mmu_interval_notifier notifier;
	struct hmm_range range;
	struct mm_struct *mm;
	struct hmm_bench_call call;
	struct rb_root_cached tree;
	struct bench_holder holder;
	struct migrate_vma migrate;
	struct page **pages;
	struct mmu_notifier flush_counter;
	atomic64_t flushes;
	struct device *dev;
	struct hmm_dma_map dma;
	u64 rounds;
	unsigned long mapped;
};

/* Device memory */
extern struct dev_pagemap bench_pagemap;

int bench_device_init(void);
void bench_device_exit(void);
struct folio *bench_device_alloc(unsigned int order);

/* What a driver has to say to be called without mmap_lock, where it can be */
#ifdef PGMAP_FAULT_VMA_LOCK
#define BENCH_PGMAP_FLAGS	PGMAP_FAULT_VMA_LOCK
#define UNDER_VMA_LOCK		MIGRATE_VMA_UNDER_VMA_LOCK
#else
#define BENCH_PGMAP_FLAGS	0
#define UNDER_VMA_LOCK		0
#endif

/* What a migration may select, and destinations for what it has collected */
#define BENCH_HOLES	true

void bench_choose_memory(struct migrate_vma *migrate,
			 const struct hmm_bench_call *call);
void bench_supply(struct migrate_vma *migrate,
		  struct folio *(*alloc)(unsigned int order), bool holes);
vm_fault_t bench_migrate_to_ram(struct vm_fault *vmf);

/* Ioctls of first subscriptions */
int bench_register(struct bench_holder *holder);
void bench_unregister(struct bench_holder *holder);
int bench_read_page(struct bench_holder *holder);
int bench_watch(struct bench_holder *holder, void __user *uarg);
int bench_stop(struct bench_holder *holder);
int bench_periods(void __user *uarg);

/* Operations */
int bench_migrate_arm(struct bench_job *job);
int bench_migrate_to_device(struct bench_job *job);
int bench_migrate_to_system(struct bench_job *job);
void bench_migrate_count(struct bench_job *job);
void bench_migrate_disarm(struct bench_job *job);
int bench_exclusive_arm(struct bench_job *job);
int bench_make_exclusive(struct bench_job *job);
int bench_make_exclusive_range(struct bench_job *job);
void bench_exclusive_disarm(struct bench_job *job);
int bench_dma_arm(struct bench_job *job);
int bench_dma_arm_mapped(struct bench_job *job);
int bench_dma_map(struct bench_job *job);
int bench_dma_unmap(struct bench_job *job);
void bench_dma_undo(struct bench_job *job);
void bench_dma_disarm(struct bench_job *job);
int bench_place_arm(struct bench_job *job);
int bench_place(struct bench_job *job);
int bench_fault_collect(struct bench_job *job);
int bench_collect_fault(struct bench_job *job);
int bench_mirror(struct bench_job *job);
void bench_place_inspect(struct bench_job *job);
void bench_place_disarm(struct bench_job *job);

/* Events of the calling task, one job at a time */
int bench_events_begin(void);
void bench_events_end(u64 *counts);

#endif /* _HMM_BENCH_H */
