// SPDX-License-Identifier: GPL-2.0
/*
 * Steps that a test makes fail. Each open file has its own fault points, so that
 * tests do not disturb each other; a CPU fault uses those of the files that
 * mirror the faulting process.
 */
#include <linux/bitops.h>
#include <linux/log2.h>

#include "test_hmm.h"

/**
 * dmirror_fails() - check a fault point before a step
 * @file: the file whose fault points apply
 * @point: HMM_DMIRROR_FAIL_*
 *
 * Return: true if the step must fail.
 */
bool dmirror_fails(struct dmirror_file *file, unsigned int point)
{
	return atomic64_read(&file->fail[point]) &&
	       !atomic64_dec_if_positive(&file->fail[point]);
}

/**
 * dmirror_fails_alloc() - fault point before the allocation of a destination
 * @file: the file whose fault points apply
 * @point: HMM_DMIRROR_FAIL_*_ALLOC
 * @order: the order of the allocation
 *
 * Return: true if the allocation must fail.
 */
bool dmirror_fails_alloc(struct dmirror_file *file, unsigned int point, unsigned int order)
{
	if (order && test_and_clear_bit(ilog2(HMM_DMIRROR_FLAG_FAIL_ALLOC), &file->flags))
		return true;
	return dmirror_fails(file, point);
}

/**
 * dmirror_mm_fails() - fault point before a step for a process
 * @device: the device
 * @mm: the process
 * @point: HMM_DMIRROR_FAIL_*
 * @order: for an allocation as in dmirror_fails_alloc(), otherwise 0
 *
 * Context: Does not sleep. Takes the device's files_lock.
 *
 * Return: true if a file that mirrors the process makes it fail.
 */
bool dmirror_mm_fails(struct dmirror_device *device, struct mm_struct *mm, unsigned int point,
		      unsigned int order)
{
	struct dmirror_file *file;
	bool fails = false;

	spin_lock(&device->files_lock);
	list_for_each_entry(file, &device->files, node) {
		fails = file->mirror->notifier.mm == mm && dmirror_fails_alloc(file, point, order);
		if (fails)
			break;
	}
	spin_unlock(&device->files_lock);
	return fails;
}

/**
 * dmirror_failpoint_set() - HMM_DMIRROR_FAILPOINT
 * @file: of the command
 * @args: its arguments
 *
 * Return: 0 or an errno.
 */
int dmirror_failpoint_set(struct dmirror_file *file, struct hmm_dmirror_failpoint *args)
{
	if (args->point >= HMM_DMIRROR_FAIL_POINTS || args->flags || args->nth > S64_MAX)
		return -EINVAL;
	args->nth = atomic64_xchg(&file->fail[args->point], args->nth);
	return 0;
}

/**
 * dmirror_mark_dirty() - mark a page dirty that the device has written to
 * @file: the file; with HMM_DMIRROR_FLAG_NEVER_DIRTY, nothing is marked
 * @page: the page
 */
void dmirror_mark_dirty(struct dmirror_file *file, struct page *page)
{
	if (!test_bit(ilog2(HMM_DMIRROR_FLAG_NEVER_DIRTY), &file->flags))
		set_page_dirty(page);
}

/**
 * dmirror_flags_set() - HMM_DMIRROR_FLAGS
 * @file: of the command
 * @flags: HMM_DMIRROR_FLAG_*
 *
 * Return: 0 or an errno.
 */
int dmirror_flags_set(struct dmirror_file *file, u64 flags)
{
	if (flags & ~(HMM_DMIRROR_FLAG_FAIL_ALLOC | HMM_DMIRROR_FLAG_NEVER_DIRTY))
		return -EINVAL;
	WRITE_ONCE(file->flags, flags);
	return 0;
}
