// SPDX-License-Identifier: GPL-2.0
/*
 * Steps that a test makes fail. Each open file has its own, so that tests do
 * not disturb each other; a CPU fault belongs to the files that mirror the
 * faulting process.
 */
#include <linux/bitops.h>
#include <linux/log2.h>

#include "test_hmm.h"

/**
 * thmm_fails() - a step that may fail is about to be taken
 * @file: for this file
 * @point: HMM_DMIRROR_FAIL_*
 *
 * Return: whether it is to fail.
 */
bool thmm_fails(struct thmm_file *file, unsigned int point)
{
	return atomic64_read(&file->fail[point]) &&
	       !atomic64_dec_if_positive(&file->fail[point]);
}

/**
 * thmm_fails_alloc() - fault point before the allocation of a destination
 * @file: the file whose fault points apply
 * @point: HMM_DMIRROR_FAIL_*_ALLOC
 * @order: the order of the allocation
 *
 * Return: true if the allocation must fail.
 */
bool thmm_fails_alloc(struct thmm_file *file, unsigned int point, unsigned int order)
{
	if (order && test_and_clear_bit(ilog2(HMM_DMIRROR_FLAG_FAIL_ALLOC), &file->flags))
		return true;
	return thmm_fails(file, point);
}

/**
 * thmm_mm_fails() - a step is about to be taken for a process
 * @device: on this device
 * @mm: the process
 * @point: HMM_DMIRROR_FAIL_*
 * @order: for an allocation as in thmm_fails_alloc(), 0 else
 *
 * Return: whether a file that mirrors the process makes it fail.
 */
bool thmm_mm_fails(struct thmm_device *device, struct mm_struct *mm, unsigned int point,
		   unsigned int order)
{
	struct thmm_file *file;
	bool fails = false;

	spin_lock(&device->files_lock);
	list_for_each_entry(file, &device->files, node) {
		fails = file->mirror->notifier.mm == mm && thmm_fails_alloc(file, point, order);
		if (fails)
			break;
	}
	spin_unlock(&device->files_lock);
	return fails;
}

/**
 * thmm_failpoint_set() - HMM_DMIRROR_FAILPOINT
 * @file: of the command
 * @args: its arguments
 *
 * Return: 0 or an errno.
 */
int thmm_failpoint_set(struct thmm_file *file, struct hmm_dmirror_failpoint *args)
{
	if (args->point >= HMM_DMIRROR_FAIL_POINTS || args->flags || args->nth > S64_MAX)
		return -EINVAL;
	args->nth = atomic64_xchg(&file->fail[args->point], args->nth);
	return 0;
}

/**
 * thmm_mark_dirty() - a page was written to, and its driver says so
 * @file: for this file, if it does not want a careless driver
 * @page: the page
 */
void thmm_mark_dirty(struct thmm_file *file, struct page *page)
{
	if (!test_bit(ilog2(HMM_DMIRROR_FLAG_NEVER_DIRTY), &file->flags))
		set_page_dirty(page);
}

/**
 * thmm_flags_set() - HMM_DMIRROR_FLAGS
 * @file: of the command
 * @flags: HMM_DMIRROR_FLAG_*
 *
 * Return: 0 or an errno.
 */
int thmm_flags_set(struct thmm_file *file, u64 flags)
{
	if (flags & ~(HMM_DMIRROR_FLAG_FAIL_ALLOC | HMM_DMIRROR_FLAG_NEVER_DIRTY))
		return -EINVAL;
	WRITE_ONCE(file->flags, flags);
	return 0;
}
