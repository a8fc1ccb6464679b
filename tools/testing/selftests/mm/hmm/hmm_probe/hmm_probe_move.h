/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/hmm_probe_move, inside:
 *
 *	hmm_probe_move.c	files, arguments and their bounds; what files hold
 *	hmm_probe_migrate.c	migrations and CPU faults
 *	hmm_probe_exclusive.c	exclusive access
 *	hmm_probe_stay.c	migrations that stay between two steps
 *	hmm_probe_memory.c	the device's memory
 *	hmm_probe_coherent.c	... that the CPU can address
 *	hmm_probe_file.c	files whose pages are moved
 */
#ifndef _HMM_PROBE_MOVE_H
#define _HMM_PROBE_MOVE_H

#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mmu_notifier.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "hmm_probe_move_uapi.h"

/* What 7.3 does not know does nothing there. */
#ifdef MIGRATE_VMA_SELECT_FOLIOS
#define SELECT_FOLIOS	MIGRATE_VMA_SELECT_FOLIOS
#define TO_DEVICE	MIGRATE_VMA_TO_DEVICE
#else
#define SELECT_FOLIOS	0
#define TO_DEVICE	0
#endif

#define PROBE_STAY_FLAGS (HMM_MOVE_STAY_UNMAPPED | HMM_MOVE_STAY_MOVED | \
			 HMM_MOVE_STUBBORN)

/**
 * struct probe_stay - where one migration at a time stays
 * @wq: for it, and for those that wait until it does
 * @stays: it does
 */
struct probe_stay {
	struct wait_queue_head wq;
	bool stays;
};

/**
 * struct probe_mover - an open file
 * @flush_counter: subscribed from open() to release()
 * @flushes: how often the address space was flushed
 * @held: a folio, referenced
 * @locked: and locked
 * @stay: where its migration stays
 */
struct probe_mover {
	struct mmu_notifier flush_counter;
	atomic64_t flushes;
	struct folio *held;
	bool locked;
	struct probe_stay stay;
};

/**
 * struct probe_memory_state - all of it under the memory's lock
 * @in_use: pages in use
 * @freed_locked: folios that were locked when they were freed
 */
struct probe_memory_state {
	u64 in_use;
	u64 freed_locked;
};

/* memory */
extern struct dev_pagemap probe_pagemap;

int probe_memory_init(void);
void probe_memory_exit(void);
struct folio *probe_memory_alloc(unsigned int order);
void probe_memory_copy(struct folio *to, struct page *from);
bool probe_memory_has(u64 pfn, u64 npages);
u64 probe_memory_backed(void);
struct probe_memory_state probe_memory_look(void);
void probe_memory_forgive(void);
void probe_memory_watch(void);
u64 probe_memory_unwatch(void);

struct folio *probe_memory_folio(struct dev_pagemap *pagemap, unsigned long pfn,
				 unsigned int order);
void probe_memory_dissolve(struct folio *folio, struct dev_pagemap *pagemap);

/* coherent */
int probe_coherent_map(u64 start);
void probe_coherent_exit(void);
struct folio *probe_coherent_alloc(unsigned int order);
bool probe_coherent_has(u64 pfn, u64 npages);
struct probe_memory_state probe_coherent_look(void);

/* file */
int probe_file_open(const struct hmm_file __user *arg);

/* exclusive */
int probe_exclusive(struct probe_mover *mover, struct hmm_move *move);

/* stay */
extern struct probe_stay probe_fault_stay;

void probe_stay(struct probe_stay *stay, bool stubborn);
int probe_stay_await(struct probe_stay *stay);
int probe_stay_end(struct probe_stay *stay);

/* migrate */
int probe_migrate(struct probe_mover *mover, struct hmm_move *move);
int probe_lock(struct hmm_lock *lock);
vm_fault_t probe_serve(struct vm_fault *vmf);
void probe_serve_so(const struct hmm_serve *serve);
u64 probe_served(void);

/* move */
int probe_move_let_go(struct probe_mover *mover);
void probe_move_keep(struct probe_mover *mover, struct folio *folio);
int probe_move_init(void);
void probe_move_exit(void);

#endif /* _HMM_PROBE_MOVE_H */
