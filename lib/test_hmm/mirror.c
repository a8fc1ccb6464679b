// SPDX-License-Identifier: GPL-2.0
/*
 * A mirror: the device's page table for one mm, and what keeps it true.
 *
 * Invariant: with the mirror's lock held, each entry of the table is a page
 * that the CPU's page table maps at that address (or, for THMM_ATOMIC, has
 * set aside for us), with at least the entry's access. Entries hold no
 * reference: an invalidation takes them out before the page can go, or takes
 * write access from them if that is all the CPU loses.
 *
 * Entries come in one way only: read the CPU's page table under a sequence
 * number, take the lock, find the number still good, store. Migration is no
 * exception: it maps nothing itself, the result is read back like any other
 * change. So no event needs to be ignored, and other files' mirrors of the
 * same process stay right without knowing about each other.
 */
#include <linux/hmm.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "test_hmm.h"

/* What is left of an entry when the CPU loses write access, and nothing else */
static void *without_write(void *entry)
{
	if (xa_is_zero(entry) || xa_pointer_tag(entry) == THMM_ATOMIC)
		return NULL;
	return xa_tag_pointer(xa_untag_pointer(entry), THMM_READ);
}

/* Take the entries of pages @first to @last out of the table, or to write from them. */
static void mirror_revoke(struct thmm_mirror *mirror, unsigned long first, unsigned long last,
			  bool write_only, bool may_sleep)
{
	XA_STATE(xas, &mirror->table, first);
	unsigned int seen = 0;
	void *entry;

	lockdep_assert_held(&mirror->lock);

	xas_lock(&xas);
	xas_for_each(&xas, entry, last) {
		xas_store(&xas, write_only ? without_write(entry) : NULL);
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

static bool mirror_invalidate(struct mmu_interval_notifier *notifier,
			      const struct mmu_notifier_range *range, unsigned long seq)
{
	struct thmm_mirror *mirror = container_of(notifier, struct thmm_mirror, notifier);
	bool may_sleep = mmu_notifier_range_blockable(range);

	/* Our own request for exclusive access; exclusive.c stores its outcome. */
	if (range->event == MMU_NOTIFY_EXCLUSIVE && range->owner == mirror)
		return true;

	if (may_sleep)
		mutex_lock(&mirror->lock);
	else if (!mutex_trylock(&mirror->lock))
		return false;

	mmu_interval_set_seq(notifier, seq);
	mirror_revoke(mirror, range->start >> PAGE_SHIFT, (range->end - 1) >> PAGE_SHIFT,
		      mmu_notifier_range_update_to_read_only(range), may_sleep);
	mutex_unlock(&mirror->lock);

	thmm_count(mirror->device, THMM_INVALIDATIONS, 1);
	return true;
}

static const struct mmu_interval_notifier_ops mirror_ops = {
	.invalidate = mirror_invalidate,
};

/**
 * thmm_mirror_create() - begin to mirror a process
 * @device: for this device
 * @mm: which the caller keeps from exiting
 *
 * Return: the mirror, with one reference, or an error pointer.
 */
struct thmm_mirror *thmm_mirror_create(struct thmm_device *device, struct mm_struct *mm)
{
	struct thmm_mirror *mirror;
	int ret;

	mirror = kzalloc_obj(*mirror);
	if (!mirror)
		return ERR_PTR(-ENOMEM);
	kref_init(&mirror->ref);
	mirror->device = device;
	mutex_init(&mirror->lock);
	xa_init_flags(&mirror->table, XA_FLAGS_ACCOUNT);

	ret = mmu_interval_notifier_insert(&mirror->notifier, mm, 0, ULONG_MAX & PAGE_MASK,
					   &mirror_ops);
	if (ret) {
		kfree(mirror);
		return ERR_PTR(ret);
	}
	return mirror;
}

/**
 * thmm_mirror_get() - what a file mirrors now
 * @file: the file; it may be attached to another process at the same time
 *
 * Return: the mirror, with a reference for the caller.
 */
struct thmm_mirror *thmm_mirror_get(struct thmm_file *file)
{
	struct thmm_mirror *mirror;

	spin_lock(&file->device->files_lock);
	mirror = file->mirror;
	kref_get(&mirror->ref);
	spin_unlock(&file->device->files_lock);
	return mirror;
}

static void mirror_destroy(struct kref *ref)
{
	struct thmm_mirror *mirror = container_of(ref, struct thmm_mirror, ref);

	mmu_interval_notifier_remove(&mirror->notifier);
	xa_destroy(&mirror->table);
	kfree(mirror);
}

/**
 * thmm_mirror_put() - drop a reference
 * @mirror: which ends with the last one; may sleep then
 */
void thmm_mirror_put(struct thmm_mirror *mirror)
{
	kref_put(&mirror->ref, mirror_destroy);
}

/**
 * thmm_table_set() - let the device use a page
 * @mirror: the mirror; the caller holds its lock
 * @index: page index in the mirrored mm
 * @page: backing page
 * @access: what for
 *
 * Return: 0, or -ENOMEM, which the caller may cure by mirror_reserve().
 */
int thmm_table_set(struct thmm_mirror *mirror, unsigned long index, struct page *page,
		   enum thmm_access access)
{
	lockdep_assert_held(&mirror->lock);

	return xa_err(xa_store(&mirror->table, index, xa_tag_pointer(page, access),
			       GFP_NOWAIT | __GFP_NOWARN));
}

/**
 * thmm_table_get() - look a page up as the device does
 * @mirror: the mirror; the caller holds its lock for as long as it uses the page
 * @index: page index in the mirrored mm
 * @access: receives what the device may do with it; can be NULL
 *
 * Return: the backing page, or NULL.
 */
struct page *thmm_table_get(struct thmm_mirror *mirror, unsigned long index,
			    enum thmm_access *access)
{
	void *entry;

	lockdep_assert_held(&mirror->lock);

	entry = xa_load(&mirror->table, index);
	if (entry && access)
		*access = xa_pointer_tag(entry);
	return xa_untag_pointer(entry);
}

/* Have memory for the table's entries of a range, before the lock is taken. */
static int mirror_reserve(struct thmm_mirror *mirror, const struct hmm_range *range)
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

/* hmm_range_fault() once, under the mmap lock */
static int walk_locked(struct hmm_range *range)
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
static int visit_if_current(struct thmm_call *call, struct hmm_range *range,
			    thmm_visit_t visit, void *arg)
{
	struct thmm_mirror *mirror = call->mirror;
	bool fails = thmm_fails(call->file, HMM_DMIRROR_FAIL_LOCK);
	int ret;

	mutex_lock(&mirror->lock);
	if (mmu_interval_read_retry(range->notifier, range->notifier_seq) || fails)
		ret = -EAGAIN;
	else
		ret = visit(mirror, range, arg);
	mutex_unlock(&mirror->lock);

	if (ret == -EAGAIN)
		thmm_count(mirror->device, THMM_COLLISIONS, 1);
	return ret;
}

/**
 * thmm_mirror_walk() - read the CPU's page table and act on it while it is true
 * @call: the command; it keeps the mm from exiting
 * @range: which pages and what to ask for; no longer than a step
 * @unlocked: let fault handlers drop the mmap lock, and wait without limit
 * @visit: called with the mirror's lock held and @range current; returns an
 *	   errno, but never -EAGAIN, and is called again after -ENOMEM
 * @arg: for @visit
 *
 * Return: what @visit returned, or an errno of hmm_range_fault(); -EBUSY when
 * the range did not stand still for a second, -EINTR for a dying caller.
 */
int thmm_mirror_walk(struct thmm_call *call, struct hmm_range *range, bool unlocked,
		     thmm_visit_t visit, void *arg)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(HMM_RANGE_DEFAULT_TIMEOUT);
	bool reserved = false;
	int ret;

	range->notifier = &call->mirror->notifier;
	range->dev_private_owner = call->mirror->device;
	if (thmm_fails(call->file, HMM_DMIRROR_FAIL_TABLE))
		return -ENOMEM;

	do {
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();

		ret = unlocked ? hmm_range_fault_unlocked_timeout(range, 0) : walk_locked(range);
		if (!ret)
			ret = visit_if_current(call, range, visit, arg);
		if (ret == -ENOMEM && !reserved) {
			reserved = true;
			ret = mirror_reserve(call->mirror, range) ?: -EAGAIN;
		}
		if (ret != -EAGAIN && ret != -EBUSY)
			return ret;
	} while (unlocked || time_before(jiffies, deadline));

	return -EBUSY;
}

/**
 * thmm_table_map() - let the device use pages of a range
 * @mirror: the mirror; the caller holds its lock
 * @range: current; its entries say what the device may do with each page
 * @pick: returns the page to use for an entry, NULL to pass over it, or an
 *	  error pointer to end here
 *
 * Return: 0, or an errno; -ENOMEM as for thmm_table_set().
 */
int thmm_table_map(struct thmm_mirror *mirror, const struct hmm_range *range, thmm_pick_t pick)
{
	XA_STATE(xas, &mirror->table, range->start >> PAGE_SHIFT);
	unsigned long addr, nr, entry, i;
	int ret = 0;

	lockdep_assert_held(&mirror->lock);

	xas_lock(&xas);
	for_each_hmm_run(range, addr, nr, entry) {
		enum thmm_access access = entry & HMM_PFN_WRITE ? THMM_WRITE : THMM_READ;

		for (i = 0; i < nr && !ret; i++) {
			struct page *page = pick(mirror, range, entry + i);

			xas_next(&xas);
			if (IS_ERR(page)) {
				ret = PTR_ERR(page);
			} else if (page) {
				xas_store(&xas, xa_tag_pointer(thmm_backing(page), access));
				ret = xas_error(&xas);
			}
		}
		if (ret)
			break;
	}
	xas_unlock(&xas);
	return ret;
}

/* 7.3's walk may leave a request unmet and return 0. */
static struct page *pick_requested(struct thmm_mirror *mirror, const struct hmm_range *range,
				   unsigned long entry)
{
	struct page *page;

	if (!(entry & HMM_PFN_VALID))
		return ERR_PTR(-EFAULT);
	if (range->default_flags & HMM_PFN_REQ_WRITE && !(entry & HMM_PFN_WRITE))
		return ERR_PTR(-EFAULT);
	page = hmm_pfn_to_page(entry);
	return thmm_backing(page) ? page : ERR_PTR(-EFAULT);
}

/* A visit: put all pages of the range into the table. */
static int visit_map(struct thmm_mirror *mirror, const struct hmm_range *range, void *arg)
{
	return thmm_table_map(mirror, range, pick_requested);
}

/**
 * thmm_mirror_fault() - make the device able to use a range
 * @call: the command; it keeps the mm from exiting
 * @start: first address
 * @end: end of the range, exclusive
 * @write: writable
 * @unlocked: as for thmm_mirror_walk()
 *
 * Return: 0, or an errno; pages before the one that failed may be in the table.
 */
int thmm_mirror_fault(struct thmm_call *call, unsigned long start, unsigned long end,
		      bool write, bool unlocked)
{
	struct hmm_range range = {
		.default_flags = HMM_RANGE_SPARSE | HMM_PFN_REQ_FAULT |
				 (write ? HMM_PFN_REQ_WRITE : 0),
	};
	unsigned long addr;
	int ret = 0;

	range.hmm_pfns = kmalloc_array(THMM_STEP_PAGES, sizeof(*range.hmm_pfns), GFP_KERNEL);
	if (!range.hmm_pfns)
		return -ENOMEM;

	for (addr = start; addr < end && !ret; addr = range.end) {
		range.start = addr;
		range.end = thmm_step_end(addr, end);
		ret = thmm_mirror_walk(call, &range, unlocked, visit_map, NULL);
	}

	kfree(range.hmm_pfns);
	return ret;
}
