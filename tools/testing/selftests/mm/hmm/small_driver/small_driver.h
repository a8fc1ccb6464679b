/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small driver of a device with private memory:
 *
 *	small_main.c		character device and commands
 *	small_hmm.c		all that concerns HMM
 *	small_hardware.c	stands for the hardware: its page table, which pages
 *				of its memory are in use, how they are copied
 */
#ifndef _SMALL_DRIVER_H
#define _SMALL_DRIVER_H

#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/xarray.h>

#include "small_driver_uapi.h"

struct dev_pagemap;
struct page;

/**
 * struct small_mirror - a process as the device sees it
 * @notifier: its sequence is written under @lock
 * @lock: taken in invalidations: nothing under it may wait for memory
 * @table: the device's page table: page index to struct page, tagged with
 *	SMALL_WRITABLE; @lock
 * @start: the device may use addresses from here on; @lock
 * @end: to here, exclusive; @lock
 */
struct small_mirror {
	struct mmu_interval_notifier notifier;
	struct mutex lock;	/* table and bounds */
	struct xarray table;
	unsigned long start;
	unsigned long end;
};

/* small_hmm.c */
extern struct dev_pagemap small_pgmap;	/* also the owner of the memory */

struct small_mirror *small_mirror_create(struct mm_struct *mm);
void small_mirror_destroy(struct small_mirror *mirror);
int small_resize(struct small_mirror *mirror, unsigned long start,
		 unsigned long length);
int small_fault(struct small_mirror *mirror, unsigned long addr,
		unsigned long end, bool write, struct small_call *call);
int small_add(struct small_mirror *mirror, unsigned long addr,
	      unsigned long end, unsigned long timeout);
int small_migrate(struct small_mirror *mirror, unsigned long addr,
		  unsigned long end, bool to_device, struct small_call *call);
int small_evict(struct small_call *call);
int small_memory_create(void);
void small_memory_destroy(void);

/* small_hardware.c */
#define SMALL_PAGES	4096UL

int small_hardware_start(unsigned long first_pfn);
void small_hardware_stop(void);
bool small_hardware_reserve(unsigned int order, unsigned long *pfn);
void small_hardware_release(unsigned long pfn, unsigned long npages);
unsigned long small_hardware_in_use(void);
/* How many pages were cleared, ever */
unsigned long small_hardware_cleared(void);
/* Copy between any pages; clear them if @from is NULL. */
void small_hardware_copy(struct page *to, struct page *from, unsigned long nr);
void small_hardware_read(struct page *page, void *data);
void small_hardware_write(struct page *page, const void *data);
void small_hardware_add(struct page **pages, unsigned long nr);

int small_table_set(struct small_mirror *mirror, unsigned long addr,
		    struct page *page, unsigned long nr, bool writable);
struct page *small_table_get(struct small_mirror *mirror, unsigned long addr,
			     bool write);
void small_table_clear(struct small_mirror *mirror, unsigned long start,
		       unsigned long end);

#endif /* _SMALL_DRIVER_H */
