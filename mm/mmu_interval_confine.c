// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Resizing of an interval subscription, with the device confined to what the
 * subscription has all the time:
 *
 *	old range	[------------------)
 *	new range		 [--------------------)
 *
 *	confine to		 [---------)		before the resize
 *	confine to		 [--------------------)	after it
 */
#include <linux/export.h>
#include <linux/minmax.h>
#include <linux/mmu_interval.h>
#include <linux/mmu_notifier.h>
#include <linux/overflow.h>

/* The end, exclusive, of a range up to @last, less the last byte of all */
static unsigned long mmu_interval_end(unsigned long last)
{
	return min(last, ULONG_MAX - 1) + 1;
}

/**
 * mmu_interval_notifier_confine() - resize a subscription and confine the device
 * @interval_sub: the subscription
 * @start: the new first address
 * @length: the new length in bytes
 * @confine: lets the device use a range and no more; called twice
 *
 * mmu_interval_notifier_resize(), with what the driver must do around it. Before
 * the resize, the device is confined to what the old and the new range have in
 * common, as invalidations of the rest may not call the subscription any more.
 * After it, the device may use all of the new range, or of the old one if the
 * resize has failed.
 *
 * The driver checks the bounds that @confine has stored when it programs the
 * device, after mmu_interval_read_retry(), under the same lock. The end that it
 * gets is exclusive, and %ULONG_MAX for a range to the last byte.
 *
 * Context: As for mmu_interval_notifier_resize().
 *
 * Return: as mmu_interval_notifier_resize(); the range, and what the device may
 * use, is unchanged after an error.
 */
int mmu_interval_notifier_confine(struct mmu_interval_notifier *interval_sub,
				  unsigned long start, unsigned long length,
				  mmu_interval_confine_fn confine)
{
	unsigned long old_start = interval_sub->interval_tree.start;
	unsigned long old_end =
		mmu_interval_end(interval_sub->interval_tree.last);
	unsigned long both_start, both_end, last, end;
	int ret;

	if (!length || check_add_overflow(start, length - 1, &last))
		return -EOVERFLOW;
	end = mmu_interval_end(last);
	both_start = max(start, old_start);
	both_end = max(both_start, min(end, old_end));
	confine(interval_sub, both_start, both_end);

	ret = mmu_interval_notifier_resize(interval_sub, start, length);
	if (ret)
		confine(interval_sub, old_start, old_end);
	else
		confine(interval_sub, start, end);
	return ret;
}
EXPORT_SYMBOL_GPL(mmu_interval_notifier_confine);
