// SPDX-License-Identifier: GPL-2.0
/*
 * The device at work: it reads and writes a mirrored process through its own
 * page table, faulting in what that lacks, and looks at the CPU's without
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

#define BOUNCE_PAGES	64UL
/* Faulted in at once at most; also bounds how far the table runs ahead of the data. */
#define FAULT_PAGES	16384UL

/**
 * struct bounce - data on its way between table and caller
 * @data: the buffer
 * @pages: its size
 */
struct bounce {
	void		*data;
	unsigned long	pages;
};

static unsigned long pages_left(const struct thmm_call *call)
{
	return (call->end - call->start) >> PAGE_SHIFT;
}

static int bounce_init(struct bounce *bounce, const struct thmm_call *call)
{
	bounce->pages = min(BOUNCE_PAGES, pages_left(call));
	bounce->data = kvmalloc(bounce->pages << PAGE_SHIFT, GFP_KERNEL);
	return bounce->data ? 0 : -ENOMEM;
}

/* Copy from the table what the buffer takes; returns the pages before a gap. */
static unsigned long bounce_fill(struct bounce *bounce, struct thmm_call *call)
{
	unsigned long i, npages = min(bounce->pages, pages_left(call));
	struct thmm_mirror *mirror = call->mirror;

	mutex_lock(&mirror->lock);
	for (i = 0; i < npages; i++) {
		struct page *page = thmm_table_get(mirror, (call->start >> PAGE_SHIFT) + i, NULL);

		if (!page)
			break;
		memcpy_from_page(bounce->data + (i << PAGE_SHIFT), page, 0, PAGE_SIZE);
	}
	mutex_unlock(&mirror->lock);
	return i;
}

/*
 * The CPU's entry can be writable and clean: reclaim would take the page for
 * unchanged and drop it. The mirror's lock keeps the entry, and with it the
 * page in its file, as the page table's lock would.
 */
static void page_write(struct thmm_file *file, struct page *page, const void *data)
{
	memcpy_to_page(page, 0, data, PAGE_SIZE);
	thmm_mark_dirty(file, page);
}

/* The way back; a page that the device may only read, or lock, is a gap. */
static unsigned long bounce_drain(struct bounce *bounce, struct thmm_call *call,
				  unsigned long npages)
{
	struct thmm_mirror *mirror = call->mirror;
	unsigned long i;

	mutex_lock(&mirror->lock);
	for (i = 0; i < npages; i++) {
		enum thmm_access access;
		struct page *page = thmm_table_get(mirror, (call->start >> PAGE_SHIFT) + i,
						   &access);

		if (!page || access != THMM_WRITE)
			break;
		page_write(call->file, page, bounce->data + (i << PAGE_SHIFT));
	}
	mutex_unlock(&mirror->lock);
	return i;
}

/* @npages of the call are done. */
static void call_advance(struct thmm_call *call, unsigned long npages)
{
	call->start += npages << PAGE_SHIFT;
	if (call->ptr)
		call->ptr += npages << PAGE_SHIFT;
	call->cpages += npages;
}

/*
 * How much to fault in: half of it from where nothing came of the last time.
 * When memory is short, reclaim takes the first pages while the last ones are
 * faulted in.
 */
static unsigned long fault_pages(struct thmm_call *call)
{
	unsigned long npages = call->faulted_pages ?: FAULT_PAGES;

	if (call->faulted_pages && call->faulted_at == call->start)
		npages = max(npages / 2, 1UL);
	call->faulted_at = call->start;
	call->faulted_pages = min(npages, pages_left(call));
	return call->faulted_pages;
}

static int call_fault(struct thmm_call *call, bool write, bool unlocked)
{
	unsigned long npages = fault_pages(call);
	int ret;

	ret = thmm_mirror_fault(call, call->start, call->start + (npages << PAGE_SHIFT), write,
				unlocked);
	if (ret)
		return ret;
	call->faults++;
	thmm_count(call->mirror->device, THMM_DEVICE_FAULTS, 1);
	return 0;
}

static int read_range(struct thmm_call *call, bool unlocked)
{
	struct bounce bounce;
	unsigned long npages;
	int ret;

	ret = bounce_init(&bounce, call);
	while (!ret && call->start < call->end) {
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		npages = bounce_fill(&bounce, call);
		if (!npages)
			ret = call_fault(call, false, unlocked);
		else if (copy_to_user(u64_to_user_ptr(call->ptr), bounce.data,
				      npages << PAGE_SHIFT))
			ret = -EFAULT;
		else
			call_advance(call, npages);
		cond_resched();
	}
	kvfree(bounce.data);
	return ret;
}

/**
 * thmm_read() - HMM_DMIRROR_READ
 * @call: the command
 *
 * Return: 0 or an errno.
 */
int thmm_read(struct thmm_call *call)
{
	return read_range(call, false);
}

/**
 * thmm_read_unlocked() - HMM_DMIRROR_READ_UNLOCKED
 * @call: the command
 *
 * Return: 0 or an errno.
 */
int thmm_read_unlocked(struct thmm_call *call)
{
	return read_range(call, true);
}

/* Write one buffer's worth, however often it takes until all pages are there. */
static int write_pages(struct bounce *bounce, struct thmm_call *call, unsigned long npages)
{
	unsigned long done = 0;

	while (done < npages) {
		unsigned long now;
		int ret;

		if (fatal_signal_pending(current))
			return -EINTR;
		now = bounce_drain(bounce, call, npages - done);
		done += now;
		call_advance(call, now);
		if (done == npages)
			break;
		if (now)
			memmove(bounce->data, bounce->data + (now << PAGE_SHIFT),
				(npages - done) << PAGE_SHIFT);
		ret = call_fault(call, true, false);
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

/**
 * thmm_write() - HMM_DMIRROR_WRITE
 * @call: the command
 *
 * Return: 0 or an errno.
 */
int thmm_write(struct thmm_call *call)
{
	struct bounce bounce;
	int ret;

	ret = bounce_init(&bounce, call);
	while (!ret && call->start < call->end) {
		unsigned long npages = min(bounce.pages, pages_left(call));

		if (copy_from_user(bounce.data, u64_to_user_ptr(call->ptr), npages << PAGE_SHIFT))
			ret = -EFAULT;
		else
			ret = write_pages(&bounce, call, npages);
	}
	kvfree(bounce.data);
	return ret;
}

/**
 * thmm_read_table() - hand out what the table has, faulting nothing
 * @call: the command; a buffer of 0 is not written to
 *
 * Return: 0, -ENOENT at the first page that the table lacks, or another errno.
 */
int thmm_read_table(struct thmm_call *call)
{
	struct bounce bounce;
	unsigned long npages;
	int ret;

	ret = bounce_init(&bounce, call);
	while (!ret && call->start < call->end) {
		npages = bounce_fill(&bounce, call);
		if (!npages)
			ret = -ENOENT;
		else if (fatal_signal_pending(current))
			ret = -EINTR;
		else if (call->ptr && copy_to_user(u64_to_user_ptr(call->ptr), bounce.data,
						   npages << PAGE_SHIFT))
			ret = -EFAULT;
		else
			call_advance(call, npages);
		cond_resched();
	}
	kvfree(bounce.data);
	return ret;
}

static struct page *pick_own_memory(struct thmm_mirror *mirror, const struct hmm_range *range,
				    unsigned long entry)
{
	struct page *page = entry & HMM_PFN_VALID ? hmm_pfn_to_page(entry) : NULL;

	return page && thmm_page_device(page) == mirror->device ? page : NULL;
}

/* A visit: put the pages that are in this device's memory into the table. */
static int visit_map_device(struct thmm_mirror *mirror, const struct hmm_range *range, void *arg)
{
	return thmm_table_map(mirror, range, pick_own_memory);
}

/* Walk a range step by step without faulting. */
static int look(struct thmm_call *call, thmm_visit_t visit, void *arg,
		int (*done)(struct thmm_call *call, unsigned long npages, void *arg))
{
	struct hmm_range range = {};
	unsigned long addr;
	int ret = 0;

	range.hmm_pfns = kmalloc_array(THMM_STEP_PAGES, sizeof(*range.hmm_pfns), GFP_KERNEL);
	if (!range.hmm_pfns)
		return -ENOMEM;

	for (addr = call->start; addr < call->end && !ret; addr = range.end) {
		range.start = addr;
		range.end = thmm_step_end(addr, call->end);
		ret = thmm_mirror_walk(call, &range, false, visit, arg);
		if (!ret && done)
			ret = done(call, (range.end - addr) >> PAGE_SHIFT, arg);
	}

	kfree(range.hmm_pfns);
	return ret;
}

/**
 * thmm_read_device() - hand out the part of a range that is in device memory
 * @call: the command; a buffer of 0 is not written to
 *
 * Return: 0, -ENOENT at the first page that is elsewhere, or another errno.
 */
int thmm_read_device(struct thmm_call *call)
{
	return look(call, visit_map_device, NULL, NULL) ?: thmm_read_table(call);
}

/* Where a page is, in the terms of a snapshot */
static unsigned char place_of(struct thmm_device *device, struct page *page)
{
	struct thmm_device *owner = thmm_page_device(page);

	if (!owner)
		return is_zero_pfn(page_to_pfn(page)) ? HMM_DMIRROR_PROT_ZERO :
							HMM_DMIRROR_PROT_NONE;
	if (owner->coherent)
		return owner == device ? HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL :
					 HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE;
	return owner == device ? HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL :
				 HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE;
}

static unsigned char describe(struct thmm_device *device, unsigned long entry)
{
	unsigned int shift = hmm_pfn_to_map_order(entry) + PAGE_SHIFT;
	unsigned char byte;

	if (entry & HMM_PFN_ERROR)
		return HMM_DMIRROR_PROT_ERROR;
	if (!(entry & HMM_PFN_VALID))
		return HMM_DMIRROR_PROT_NONE;

	byte = place_of(device, hmm_pfn_to_page(entry));
	byte |= entry & HMM_PFN_WRITE ? HMM_DMIRROR_PROT_WRITE : HMM_DMIRROR_PROT_READ;
	if (shift == PMD_SHIFT)
		byte |= HMM_DMIRROR_PROT_PMD;
	else if (shift == PUD_SHIFT)
		byte |= HMM_DMIRROR_PROT_PUD;
	return byte;
}

/* A visit: describe each page of the range. */
static int visit_describe(struct thmm_mirror *mirror, const struct hmm_range *range, void *arg)
{
	unsigned long i, npages = (range->end - range->start) >> PAGE_SHIFT;
	unsigned char *bytes = arg;

	for (i = 0; i < npages; i++)
		bytes[i] = describe(mirror->device, range->hmm_pfns[i]);
	return 0;
}

static int snapshot_step_done(struct thmm_call *call, unsigned long npages, void *bytes)
{
	if (copy_to_user(u64_to_user_ptr(call->ptr), bytes, npages))
		return -EFAULT;
	call->ptr += npages;
	call->cpages += npages;
	return 0;
}

/**
 * thmm_snapshot() - HMM_DMIRROR_SNAPSHOT
 * @call: the command
 *
 * Return: 0 or an errno.
 */
int thmm_snapshot(struct thmm_call *call)
{
	unsigned char *bytes;
	int ret;

	bytes = kmalloc(THMM_STEP_PAGES, GFP_KERNEL);
	if (!bytes)
		return -ENOMEM;
	ret = look(call, visit_describe, bytes, snapshot_step_done);
	kfree(bytes);
	return ret;
}
