// SPDX-License-Identifier: GPL-2.0
/*
 * Accesses of the device: it reads and writes a mirrored process through its own
 * page table, faults in what that lacks, and reads the CPU's page table without
 * changing it.
 *
 * Data passes through a bounce buffer of bounded size, because the mirror's
 * lock cannot be held while the caller's buffer may fault.
 */
#include <linux/highmem.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "test_hmm.h"

#define BUFFER_PAGES	64UL
/* The most to fault in at once; also limits how far the table is ahead of the data. */
#define FAULT_PAGES	16384UL

/**
 * struct dmirror_buffer - data on its way between table and caller
 * @data: the buffer
 * @pages: its size
 */
struct dmirror_buffer {
	void		*data;
	unsigned long	pages;
};

static unsigned long dmirror_pages_left(const struct dmirror_call *call)
{
	return (call->end - call->start) >> PAGE_SHIFT;
}

static int dmirror_buffer_init(struct dmirror_buffer *buffer, const struct dmirror_call *call)
{
	buffer->pages = min(BUFFER_PAGES, dmirror_pages_left(call));
	buffer->data = kvmalloc(buffer->pages << PAGE_SHIFT, GFP_KERNEL);
	return buffer->data ? 0 : -ENOMEM;
}

/* Copy from the table what fits the buffer; returns the number of pages before a gap. */
static unsigned long dmirror_buffer_fill(struct dmirror_buffer *buffer, struct dmirror_call *call)
{
	unsigned long i, npages = min(buffer->pages, dmirror_pages_left(call));
	struct dmirror *mirror = call->mirror;

	mutex_lock(&mirror->lock);
	for (i = 0; i < npages; i++) {
		struct page *page = dmirror_table_get(mirror, (call->start >> PAGE_SHIFT) + i,
						      NULL);

		if (!page)
			break;
		memcpy_from_page(buffer->data + (i << PAGE_SHIFT), page, 0, PAGE_SIZE);
	}
	mutex_unlock(&mirror->lock);
	return i;
}

/*
 * The CPU's entry can be writable and clean: without the dirty flag, reclaim
 * would drop the page. The mirror's lock keeps the entry, and with it the page
 * in its file, as the page table lock would.
 */
static void dmirror_page_write(struct dmirror_file *file, struct page *page, const void *data)
{
	memcpy_to_page(page, 0, data, PAGE_SIZE);
	dmirror_mark_dirty(file, page);
}

/* Copy to the table; a page that the device may not write to is a gap. */
static unsigned long dmirror_buffer_drain(struct dmirror_buffer *buffer, struct dmirror_call *call,
					  unsigned long npages)
{
	struct dmirror *mirror = call->mirror;
	unsigned long i;

	mutex_lock(&mirror->lock);
	for (i = 0; i < npages; i++) {
		enum dmirror_access access;
		struct page *page = dmirror_table_get(mirror, (call->start >> PAGE_SHIFT) + i,
						      &access);

		if (!page || access != DMIRROR_WRITE)
			break;
		dmirror_page_write(call->file, page, buffer->data + (i << PAGE_SHIFT));
	}
	mutex_unlock(&mirror->lock);
	return i;
}

/* @npages of the call are done. */
static void dmirror_call_advance(struct dmirror_call *call, unsigned long npages)
{
	call->start += npages << PAGE_SHIFT;
	if (call->ptr)
		call->ptr += npages << PAGE_SHIFT;
	call->cpages += npages;
}

/*
 * How many pages to fault in: half as many if the last attempt started at the
 * same page, and failed. When memory is short, pages are reclaimed while others
 * are faulted in.
 */
static unsigned long dmirror_fault_pages(struct dmirror_call *call)
{
	unsigned long npages = call->faulted_pages ?: FAULT_PAGES;

	if (call->faulted_pages && call->faulted_at == call->start)
		npages = max(npages / 2, 1UL);
	call->faulted_at = call->start;
	call->faulted_pages = min(npages, dmirror_pages_left(call));
	return call->faulted_pages;
}

static int dmirror_call_fault(struct dmirror_call *call, bool write, bool unlocked)
{
	unsigned long npages = dmirror_fault_pages(call);
	int ret;

	ret = dmirror_fault(call, call->start, call->start + (npages << PAGE_SHIFT), write,
			    unlocked);
	if (ret)
		return ret;
	call->faults++;
	dmirror_count(call->mirror->device, DMIRROR_DEVICE_FAULTS, 1);
	return 0;
}

static int dmirror_read_range(struct dmirror_call *call, bool unlocked)
{
	struct dmirror_buffer buffer;
	unsigned long npages;
	int ret;

	ret = dmirror_buffer_init(&buffer, call);
	while (!ret && call->start < call->end) {
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		npages = dmirror_buffer_fill(&buffer, call);
		if (!npages)
			ret = dmirror_call_fault(call, false, unlocked);
		else if (copy_to_user(u64_to_user_ptr(call->ptr), buffer.data,
				      npages << PAGE_SHIFT))
			ret = -EFAULT;
		else
			dmirror_call_advance(call, npages);
		cond_resched();
	}
	kvfree(buffer.data);
	return ret;
}

/**
 * dmirror_read() - HMM_DMIRROR_READ
 * @call: the command
 *
 * Return: 0 or an errno.
 */
int dmirror_read(struct dmirror_call *call)
{
	return dmirror_read_range(call, false);
}

/**
 * dmirror_read_unlocked() - HMM_DMIRROR_READ_UNLOCKED
 * @call: the command
 *
 * Return: 0 or an errno.
 */
int dmirror_read_unlocked(struct dmirror_call *call)
{
	return dmirror_read_range(call, true);
}

/* Write the contents of the buffer, with faults until all pages are present. */
static int dmirror_write_pages(struct dmirror_buffer *buffer, struct dmirror_call *call,
			       unsigned long npages)
{
	unsigned long done = 0;

	while (done < npages) {
		unsigned long now;
		int ret;

		if (fatal_signal_pending(current))
			return -EINTR;
		now = dmirror_buffer_drain(buffer, call, npages - done);
		done += now;
		dmirror_call_advance(call, now);
		if (done == npages)
			break;
		if (now)
			memmove(buffer->data, buffer->data + (now << PAGE_SHIFT),
				(npages - done) << PAGE_SHIFT);
		ret = dmirror_call_fault(call, true, false);
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

/**
 * dmirror_write() - HMM_DMIRROR_WRITE
 * @call: the command
 *
 * Return: 0 or an errno.
 */
int dmirror_write(struct dmirror_call *call)
{
	struct dmirror_buffer buffer;
	int ret;

	ret = dmirror_buffer_init(&buffer, call);
	while (!ret && call->start < call->end) {
		unsigned long npages = min(buffer.pages, dmirror_pages_left(call));

		if (copy_from_user(buffer.data, u64_to_user_ptr(call->ptr), npages << PAGE_SHIFT))
			ret = -EFAULT;
		else
			ret = dmirror_write_pages(&buffer, call, npages);
	}
	kvfree(buffer.data);
	return ret;
}

/**
 * dmirror_read_table() - copy what the table has to the caller, without faults
 * @call: the command; a buffer of 0 is not written to
 *
 * Return: 0, -ENOENT at the first page that the table lacks, or another errno.
 */
int dmirror_read_table(struct dmirror_call *call)
{
	struct dmirror_buffer buffer;
	unsigned long npages;
	int ret;

	ret = dmirror_buffer_init(&buffer, call);
	while (!ret && call->start < call->end) {
		npages = dmirror_buffer_fill(&buffer, call);
		if (!npages)
			ret = -ENOENT;
		else if (fatal_signal_pending(current))
			ret = -EINTR;
		else if (call->ptr && copy_to_user(u64_to_user_ptr(call->ptr), buffer.data,
						   npages << PAGE_SHIFT))
			ret = -EFAULT;
		else
			dmirror_call_advance(call, npages);
		cond_resched();
	}
	kvfree(buffer.data);
	return ret;
}

static struct page *dmirror_pick_own(struct dmirror *mirror, const struct hmm_range *range,
				     unsigned long entry)
{
	struct page *page = entry & HMM_PFN_VALID ? hmm_pfn_to_page(entry) : NULL;

	return page && dmirror_page_device(page) == mirror->device ? page : NULL;
}

/* A visit: put the pages that are in this device's memory into the table. */
static int dmirror_visit_map_own(struct dmirror *mirror, const struct hmm_range *range, void *arg)
{
	return dmirror_table_map(mirror, range, dmirror_pick_own);
}

/* Walk a range step by step without faulting. */
static int dmirror_walk_steps(struct dmirror_call *call, dmirror_visit_t visit, void *arg,
			      int (*done)(struct dmirror_call *call, unsigned long npages,
					  void *arg))
{
	struct hmm_range range = {};
	unsigned long addr;
	int ret = 0;

	range.hmm_pfns = kmalloc_array(DMIRROR_STEP_PAGES, sizeof(*range.hmm_pfns), GFP_KERNEL);
	if (!range.hmm_pfns)
		return -ENOMEM;

	for (addr = call->start; addr < call->end && !ret; addr = range.end) {
		range.start = addr;
		range.end = dmirror_step_end(addr, call->end);
		ret = dmirror_walk(call, &range, false, visit, arg);
		if (!ret && done)
			ret = done(call, (range.end - addr) >> PAGE_SHIFT, arg);
	}

	kfree(range.hmm_pfns);
	return ret;
}

/**
 * dmirror_read_device() - copy what is in device memory to the caller
 * @call: the command; a buffer of 0 is not written to
 *
 * Return: 0, -ENOENT at the first page that is not in device memory, or another
 * errno.
 */
int dmirror_read_device(struct dmirror_call *call)
{
	int ret = dmirror_walk_steps(call, dmirror_visit_map_own, NULL, NULL);

	return ret ?: dmirror_read_table(call);
}

/* Where a page is, in the terms of a snapshot */
static unsigned char dmirror_place_of(struct dmirror_device *device, struct page *page)
{
	struct dmirror_device *owner = dmirror_page_device(page);

	if (!owner)
		return is_zero_pfn(page_to_pfn(page)) ? HMM_DMIRROR_PROT_ZERO :
							HMM_DMIRROR_PROT_NONE;
	if (owner->coherent)
		return owner == device ? HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL :
					 HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE;
	return owner == device ? HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL :
				 HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE;
}

/**
 * dmirror_describe() - the byte of a snapshot for a page
 * @device: the device that asks
 * @entry: the answer
 *
 * Return: HMM_DMIRROR_PROT_*.
 */
unsigned char dmirror_describe(struct dmirror_device *device, unsigned long entry)
{
	unsigned int shift = hmm_pfn_to_map_order(entry) + PAGE_SHIFT;
	unsigned char byte;

	if (entry & HMM_PFN_ERROR)
		return HMM_DMIRROR_PROT_ERROR;
	if (!(entry & HMM_PFN_VALID))
		return HMM_DMIRROR_PROT_NONE;

	byte = dmirror_place_of(device, hmm_pfn_to_page(entry));
	byte |= entry & HMM_PFN_WRITE ? HMM_DMIRROR_PROT_WRITE : HMM_DMIRROR_PROT_READ;
	if (shift == PMD_SHIFT)
		byte |= HMM_DMIRROR_PROT_PMD;
	else if (shift == PUD_SHIFT)
		byte |= HMM_DMIRROR_PROT_PUD;
	return byte;
}

/* A visit: describe each page of the range. */
static int dmirror_visit_describe(struct dmirror *mirror, const struct hmm_range *range, void *arg)
{
	unsigned long i, npages = (range->end - range->start) >> PAGE_SHIFT;
	unsigned char *bytes = arg;

	for (i = 0; i < npages; i++)
		bytes[i] = dmirror_describe(mirror->device, range->hmm_pfns[i]);
	return 0;
}

static int dmirror_snapshot_step(struct dmirror_call *call, unsigned long npages, void *bytes)
{
	if (copy_to_user(u64_to_user_ptr(call->ptr), bytes, npages))
		return -EFAULT;
	call->ptr += npages;
	call->cpages += npages;
	return 0;
}

/**
 * dmirror_snapshot() - HMM_DMIRROR_SNAPSHOT
 * @call: the command
 *
 * Return: 0 or an errno.
 */
int dmirror_snapshot(struct dmirror_call *call)
{
	unsigned char *bytes;
	int ret;

	bytes = kmalloc(DMIRROR_STEP_PAGES, GFP_KERNEL);
	if (!bytes)
		return -ENOMEM;
	ret = dmirror_walk_steps(call, dmirror_visit_describe, bytes, dmirror_snapshot_step);
	kfree(bytes);
	return ret;
}
