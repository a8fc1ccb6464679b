// SPDX-License-Identifier: GPL-2.0
/*
 * A mirror: the device's page table for one mm, and what keeps it coherent.
 *
 * Invariant: with the mirror's lock held, each entry of the table is a page
 * that the CPU's page table maps at that address (or, for DMIRROR_ATOMIC, to
 * which the device has exclusive access), with at least the entry's access.
 * Entries hold no reference: an invalidation removes them before the page can be
 * freed, or removes write access if the CPU loses nothing else.
 *
 * Entries are stored in one way only: read the CPU's page table under a
 * sequence number, lock the mirror, check the number, store. Migration is no
 * exception: it maps nothing itself, and its result is read like any other
 * change. So no event needs to be ignored, and the mirrors that several files
 * have of one process are independent.
 */
#include <linux/hmm.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "test_hmm.h"

/* What an entry becomes if the CPU loses write access and nothing else */
static void *dmirror_entry_wrprotect(void *entry)
{
	if (xa_is_zero(entry) || xa_pointer_tag(entry) == DMIRROR_ATOMIC)
		return NULL;
	return xa_tag_pointer(xa_untag_pointer(entry), DMIRROR_READ);
}

/* Remove the entries of pages @first to @last, or only write access from them. */
static void dmirror_revoke(struct dmirror *mirror, unsigned long first, unsigned long last,
			   bool write_only, bool may_sleep)
{
	XA_STATE(xas, &mirror->table, first);
	unsigned int seen = 0;
	void *entry;

	lockdep_assert_held(&mirror->lock);

	xas_lock(&xas);
	xas_for_each(&xas, entry, last) {
		xas_store(&xas, write_only ? dmirror_entry_wrprotect(entry) : NULL);
		if (++seen % XA_CHECK_SCHED)
			continue;
		xas_pause(&xas);
		xas_unlock(&xas);
		if (may_sleep)
			cond_resched();
		xas_lock(&xas);
	}
	xas_unlock(&xas);
}

static bool dmirror_invalidate(struct mmu_interval_notifier *notifier,
			       const struct mmu_notifier_range *range, unsigned long seq)
{
	struct dmirror *mirror = container_of(notifier, struct dmirror, notifier);
	bool may_sleep = mmu_notifier_range_blockable(range);

	/* Our own request for exclusive access; exclusive.c stores its outcome. */
	if (range->event == MMU_NOTIFY_EXCLUSIVE && range->owner == mirror)
		return true;

	if (may_sleep)
		mutex_lock(&mirror->lock);
	else if (!mutex_trylock(&mirror->lock))
		return false;

	mmu_interval_set_seq(notifier, seq);
	dmirror_revoke(mirror, range->start >> PAGE_SHIFT, (range->end - 1) >> PAGE_SHIFT,
		       mmu_notifier_range_update_to_read_only(range), may_sleep);
	mutex_unlock(&mirror->lock);

	dmirror_count(mirror->device, DMIRROR_INVALIDATIONS, 1);
	return true;
}

static const struct mmu_interval_notifier_ops dmirror_ops = {
	.invalidate = dmirror_invalidate,
};

/**
 * dmirror_create() - begin to mirror a process
 * @device: for this device
 * @mm: the address space, to which the caller has a reference
 *
 * Return: the mirror, with one reference, or an error pointer.
 */
struct dmirror *dmirror_create(struct dmirror_device *device, struct mm_struct *mm)
{
	struct dmirror *mirror;
	int ret;

	mirror = kzalloc_obj(*mirror);
	if (!mirror)
		return ERR_PTR(-ENOMEM);
	kref_init(&mirror->ref);
	mirror->device = device;
	mutex_init(&mirror->lock);
	xa_init_flags(&mirror->table, XA_FLAGS_ACCOUNT);

	ret = mmu_interval_notifier_insert(&mirror->notifier, mm, 0, ULONG_MAX & PAGE_MASK,
					   &dmirror_ops);
	if (ret) {
		kfree(mirror);
		return ERR_PTR(ret);
	}
	return mirror;
}

/**
 * dmirror_get() - what a file mirrors now
 * @file: the file; it may be attached to another process at the same time
 *
 * Context: Does not sleep. Takes the device's files_lock.
 *
 * Return: the mirror, with a reference for the caller.
 */
struct dmirror *dmirror_get(struct dmirror_file *file)
{
	struct dmirror *mirror;

	spin_lock(&file->device->files_lock);
	mirror = file->mirror;
	kref_get(&mirror->ref);
	spin_unlock(&file->device->files_lock);
	return mirror;
}

static void dmirror_destroy(struct kref *ref)
{
	struct dmirror *mirror = container_of(ref, struct dmirror, ref);

	mmu_interval_notifier_remove(&mirror->notifier);
	xa_destroy(&mirror->table);
	kfree(mirror);
}

/**
 * dmirror_put() - drop a reference
 * @mirror: the mirror; dropping the last reference frees it
 *
 * Context: Process context, may sleep. The caller does not hold the mirror's
 * lock.
 */
void dmirror_put(struct dmirror *mirror)
{
	kref_put(&mirror->ref, dmirror_destroy);
}

/**
 * dmirror_table_set() - let the device use a page
 * @mirror: the mirror; the caller holds its lock
 * @index: page index in the mirrored mm
 * @page: backing page
 * @access: what the device may do with it
 *
 * Return: 0, or -ENOMEM; dmirror_reserve() avoids that.
 */
int dmirror_table_set(struct dmirror *mirror, unsigned long index, struct page *page,
		      enum dmirror_access access)
{
	lockdep_assert_held(&mirror->lock);

	return xa_err(xa_store(&mirror->table, index, xa_tag_pointer(page, access),
			       GFP_NOWAIT | __GFP_NOWARN));
}

/**
 * dmirror_table_get() - look up a page as the device does
 * @mirror: the mirror; the caller holds its lock for as long as it uses the page
 * @index: page index in the mirrored mm
 * @access: receives what the device may do with it; can be NULL
 *
 * Return: the backing page, or NULL.
 */
struct page *dmirror_table_get(struct dmirror *mirror, unsigned long index,
			       enum dmirror_access *access)
{
	void *entry;

	lockdep_assert_held(&mirror->lock);

	entry = xa_load(&mirror->table, index);
	if (entry && access)
		*access = xa_pointer_tag(entry);
	return xa_untag_pointer(entry);
}

/**
 * dmirror_reserve() - allocate memory for the table's entries of a range
 * @mirror: the mirror, whose lock is not held
 * @range: the range
 *
 * Context: Process context, may sleep.
 *
 * Return: 0, or -ENOMEM.
 */
int dmirror_reserve(struct dmirror *mirror, const struct hmm_range *range)
{
	unsigned long addr;
	int ret;

	for (addr = range->start; addr < range->end; addr += PAGE_SIZE) {
		ret = xa_reserve(&mirror->table, addr >> PAGE_SHIFT, GFP_KERNEL);
		if (ret)
			return ret;
	}
	return 0;
}

/* hmm_range_fault() once, under mmap_lock */
static int dmirror_walk_locked(struct hmm_range *range)
{
	struct mm_struct *mm = range->notifier->mm;
	int ret;

	range->notifier_seq = mmu_interval_read_begin(range->notifier);
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	ret = hmm_range_fault(range);
	mmap_read_unlock(mm);
	return ret;
}

/* Visit what was read, unless it is outdated: -EAGAIN. */
static int dmirror_visit_if_current(struct dmirror_call *call, struct hmm_range *range,
				    dmirror_visit_t visit, void *arg)
{
	struct dmirror *mirror = call->mirror;
	bool fails = dmirror_fails(call->file, HMM_DMIRROR_FAIL_LOCK);
	int ret;

	mutex_lock(&mirror->lock);
	if (mmu_interval_read_retry(range->notifier, range->notifier_seq) || fails)
		ret = -EAGAIN;
	else
		ret = visit(mirror, range, arg);
	mutex_unlock(&mirror->lock);

	if (ret == -EAGAIN)
		dmirror_count(mirror->device, DMIRROR_COLLISIONS, 1);
	return ret;
}

/**
 * dmirror_walk() - read the CPU's page table, and use it while it is valid
 * @call: the command; it has a reference to the address space
 * @range: the pages and the requests; no longer than a step
 * @unlocked: let fault handlers drop mmap_lock, and wait without limit
 * @visit: called with the mirror's lock held and @range current; returns an
 *	   errno, but never -EAGAIN, and is called again after -ENOMEM
 * @arg: for @visit
 *
 * Context: Process context, may sleep. Takes mmap_lock and the mirror's lock.
 *
 * Return: what @visit returned, or an errno of hmm_range_fault(); -EBUSY if
 * invalidations collided for a second, -EINTR after a fatal signal.
 */
int dmirror_walk(struct dmirror_call *call, struct hmm_range *range, bool unlocked,
		 dmirror_visit_t visit, void *arg)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(HMM_RANGE_DEFAULT_TIMEOUT);
	bool reserved = false;
	int ret;

	range->notifier = &call->mirror->notifier;
	range->dev_private_owner = call->mirror->device;
	if (dmirror_fails(call->file, HMM_DMIRROR_FAIL_TABLE))
		return -ENOMEM;

	do {
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();

		ret = unlocked ? hmm_range_fault_unlocked_timeout(range, 0) :
				 dmirror_walk_locked(range);
		if (!ret)
			ret = dmirror_visit_if_current(call, range, visit, arg);
		if (ret == -ENOMEM && !reserved) {
			reserved = true;
			ret = dmirror_reserve(call->mirror, range) ?: -EAGAIN;
		}
		if (ret != -EAGAIN && ret != -EBUSY)
			return ret;
	} while (unlocked || time_before(jiffies, deadline));

	return -EBUSY;
}

/**
 * dmirror_table_map() - let the device use pages of a range
 * @mirror: the mirror; the caller holds its lock
 * @range: current; its entries say what the device may do with each page
 * @pick: returns the page to use for an entry, NULL to pass over it, or an
 *	  error pointer to end here
 *
 * Return: 0, or an errno; -ENOMEM as for dmirror_table_set().
 */
int dmirror_table_map(struct dmirror *mirror, const struct hmm_range *range, dmirror_pick_t pick)
{
	XA_STATE(xas, &mirror->table, range->start >> PAGE_SHIFT);
	unsigned long addr, nr, entry, i;
	int ret = 0;

	lockdep_assert_held(&mirror->lock);

	xas_lock(&xas);
	for_each_hmm_run(range, addr, nr, entry) {
		enum dmirror_access access = entry & HMM_PFN_WRITE ? DMIRROR_WRITE : DMIRROR_READ;

		for (i = 0; i < nr && !ret; i++) {
			struct page *page = pick(mirror, range, entry + i);

			xas_next(&xas);
			if (IS_ERR(page)) {
				ret = PTR_ERR(page);
			} else if (page) {
				xas_store(&xas, xa_tag_pointer(dmirror_backing(page), access));
				ret = xas_error(&xas);
			}
		}
		if (ret)
			break;
	}
	xas_unlock(&xas);
	return ret;
}

/* The walk of 7.3 may return 0 although a request is not met. */
static struct page *dmirror_pick_requested(struct dmirror *mirror, const struct hmm_range *range,
					   unsigned long entry)
{
	struct page *page;

	if (!(entry & HMM_PFN_VALID))
		return ERR_PTR(-EFAULT);
	if (range->default_flags & HMM_PFN_REQ_WRITE && !(entry & HMM_PFN_WRITE))
		return ERR_PTR(-EFAULT);
	page = hmm_pfn_to_page(entry);
	return dmirror_backing(page) ? page : ERR_PTR(-EFAULT);
}

/* A visit: put all pages of the range into the table. */
static int dmirror_visit_map(struct dmirror *mirror, const struct hmm_range *range, void *arg)
{
	return dmirror_table_map(mirror, range, dmirror_pick_requested);
}

/* The walk has met all requests: other pages may have any answer. */
static struct page *dmirror_pick_mapped(struct dmirror *mirror, const struct hmm_range *range,
					unsigned long entry)
{
	struct page *page = entry & HMM_PFN_VALID ? hmm_pfn_to_page(entry) : NULL;

	return page && dmirror_backing(page) ? page : NULL;
}

/**
 * dmirror_map_valid() - let the device use the pages of a range that are mapped
 * @mirror: the mirror; the caller holds its lock
 * @range: current
 *
 * Return: 0, or -ENOMEM as for dmirror_table_set().
 */
int dmirror_map_valid(struct dmirror *mirror, const struct hmm_range *range)
{
	return dmirror_table_map(mirror, range, dmirror_pick_mapped);
}

/**
 * dmirror_fault() - fault in a range for the device
 * @call: the command; it has a reference to the address space
 * @start: first address
 * @end: end of the range, exclusive
 * @write: request write access, too
 * @unlocked: as for dmirror_walk()
 *
 * Context: As for dmirror_walk().
 *
 * Return: 0, or an errno; pages before the one that failed may be in the table.
 */
int dmirror_fault(struct dmirror_call *call, unsigned long start, unsigned long end,
		  bool write, bool unlocked)
{
	struct hmm_range range = {
		.default_flags = HMM_RANGE_SPARSE | HMM_PFN_REQ_FAULT |
				 (write ? HMM_PFN_REQ_WRITE : 0),
	};
	unsigned long addr;
	int ret = 0;

	range.hmm_pfns = kmalloc_array(DMIRROR_STEP_PAGES, sizeof(*range.hmm_pfns), GFP_KERNEL);
	if (!range.hmm_pfns)
		return -ENOMEM;

	for (addr = start; addr < end && !ret; addr = range.end) {
		range.start = addr;
		range.end = dmirror_step_end(addr, end);
		ret = dmirror_walk(call, &range, unlocked, dmirror_visit_map, NULL);
	}

	kfree(range.hmm_pfns);
	return ret;
}
