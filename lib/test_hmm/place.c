// SPDX-License-Identifier: GPL-2.0
/*
 * A device fault with placement: the pages move to the device's memory if they
 * can, and the device uses all of them when the command returns.
 */
#include <linux/hmm-migrate.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "test_hmm.h"

/* The arrays of a command are not to fill the memory. */
#define DMIRROR_PLACE_MAX_PAGES	BIT(20)

/**
 * struct dmirror_place - one command
 * @hmm: what the core works on
 * @call: the command
 * @args: its arguments and results
 * @batch: the part whose pages are copied
 * @work: copies it, if that is asynchronous
 */
struct dmirror_place {
	struct hmm_migrate		hmm;
	struct dmirror_call		*call;
	struct hmm_dmirror_place	args;
	struct dmirror_batch		batch;
	struct work_struct		work;
};

static struct dmirror_place *dmirror_place_of_hmm(struct hmm_migrate *hmm)
{
	return container_of(hmm, struct dmirror_place, hmm);
}

static int dmirror_place_reserve(struct hmm_migrate *hmm, unsigned long npages)
{
	struct dmirror_place *place = dmirror_place_of_hmm(hmm);

	if (dmirror_fails(place->call->file, HMM_DMIRROR_FAIL_RESERVE))
		return -ENOSPC;
	place->args.reserved = npages;
	return 0;
}

static void dmirror_place_unreserve(struct hmm_migrate *hmm)
{
	dmirror_place_of_hmm(hmm)->args.unreserved++;
}

static void dmirror_place_work(struct work_struct *work)
{
	struct dmirror_place *place = container_of(work, struct dmirror_place, work);

	dmirror_batch_supply_device(&place->batch);
}

static int dmirror_place_copied(const struct dmirror_place *place)
{
	return place->batch.copy_failed ? -EIO : 0;
}

static int dmirror_place_copy(struct hmm_migrate *hmm, struct migrate_vma *part)
{
	struct dmirror_place *place = dmirror_place_of_hmm(hmm);

	place->args.copies++;
	dmirror_hold(place->call->file, HMM_DMIRROR_HOLD_COPY);
	place->batch = (struct dmirror_batch){
		.device = place->call->mirror->device,
		.file = place->call->file,
		.vma = part->vma,
		.start = part->start,
		.src = part->src,
		.dst = part->dst,
		.npages = part->npages,
	};
	if (place->args.flags & HMM_DMIRROR_PLACE_ASYNC) {
		queue_work(system_unbound_wq, &place->work);
		return 0;
	}
	dmirror_batch_supply_device(&place->batch);
	return dmirror_place_copied(place);
}

static int dmirror_place_wait(struct hmm_migrate *hmm, struct migrate_vma *part)
{
	struct dmirror_place *place = dmirror_place_of_hmm(hmm);

	flush_work(&place->work);
	return dmirror_place_copied(place);
}

static void dmirror_place_lock(struct hmm_migrate *hmm)
{
	struct dmirror_call *call = dmirror_place_of_hmm(hmm)->call;

	dmirror_hold(call->file, HMM_DMIRROR_HOLD_LOCK);
	mutex_lock(&call->mirror->lock);
}

static void dmirror_place_unlock(struct hmm_migrate *hmm)
{
	mutex_unlock(&dmirror_place_of_hmm(hmm)->call->mirror->lock);
}

static int dmirror_place_map(struct hmm_migrate *hmm, struct hmm_range *part)
{
	struct dmirror_place *place = dmirror_place_of_hmm(hmm);

	if (dmirror_fails(place->call->file, HMM_DMIRROR_FAIL_TABLE))
		return -ENOMEM;
	place->call->cpages += (part->end - part->start) >> PAGE_SHIFT;
	return dmirror_map_valid(place->call->mirror, part);
}

static const struct hmm_migrate_ops dmirror_place_ops = {
	.reserve	= dmirror_place_reserve,
	.unreserve	= dmirror_place_unreserve,
	.copy		= dmirror_place_copy,
	.wait		= dmirror_place_wait,
	.lock		= dmirror_place_lock,
	.unlock		= dmirror_place_unlock,
	.map		= dmirror_place_map,
};

/* Requests of single pages: none for those that a byte of the caller's excludes */
static int dmirror_place_requests(struct dmirror_place *place, unsigned long npages)
{
	struct hmm_range *range = &place->hmm.range;
	unsigned long request = HMM_PFN_REQ_FAULT, i;
	unsigned char skip;

	if (place->args.flags & HMM_DMIRROR_PLACE_WRITE)
		request |= HMM_PFN_REQ_WRITE;
	if (!place->args.skip) {
		range->default_flags = request;
		return 0;
	}
	range->pfn_flags_mask = request;
	for (i = 0; i < npages; i++) {
		if (get_user(skip, (unsigned char __user *)u64_to_user_ptr(place->args.skip) + i))
			return -EFAULT;
		range->hmm_pfns[i] = skip ? 0 : request;
	}
	return 0;
}

/* What the caller knows as HMM_DMIRROR_WHY_* */
static_assert((int)MIGRATE_NO_DESTINATION == (int)HMM_DMIRROR_WHY_NO_DESTINATION);
static_assert((int)MIGRATE_PINNED == (int)HMM_DMIRROR_WHY_PINNED);

/* What has become of each page, for the caller */
static int dmirror_place_report(const struct dmirror_place *place, unsigned long npages)
{
	struct dmirror_device *device = place->call->mirror->device;
	unsigned char __user *prot = u64_to_user_ptr(place->args.prot);
	unsigned char __user *why = u64_to_user_ptr(place->args.why);
	unsigned long i;

	for (i = 0; i < npages; i++) {
		if (place->args.prot &&
		    put_user(dmirror_describe(device, place->hmm.range.hmm_pfns[i]), prot + i))
			return -EFAULT;
		if (place->args.why &&
		    put_user((unsigned char)hmm_migrate_why(place->hmm.src[i]), why + i))
			return -EFAULT;
	}
	return 0;
}

static int dmirror_place_run(struct dmirror_place *place, unsigned long npages)
{
	unsigned long timeout = MAX_SCHEDULE_TIMEOUT;
	struct hmm_migrate *hmm = &place->hmm;
	int ret;

	hmm->range.notifier = &place->call->mirror->notifier;
	hmm->range.start = place->call->start;
	hmm->range.end = place->call->end;
	hmm->range.dev_private_owner = place->call->mirror->device;
	hmm->flags = place->args.flags & HMM_DMIRROR_PLACE_PAGES ? 0 : MIGRATE_VMA_SELECT_FOLIOS;
	if (place->args.timeout)
		timeout = msecs_to_jiffies(place->args.timeout);
	ret = dmirror_place_requests(place, npages) ?:
	      dmirror_reserve(place->call->mirror, &hmm->range);
	if (ret)
		return ret;
	ret = hmm_range_migrate(hmm, &dmirror_place_ops, timeout);
	place->args.moved = hmm->moved;
	place->args.retries = hmm->retries;
	dmirror_count(place->call->mirror->device, DMIRROR_MIGRATED_IN, hmm->moved);
	place->call->faults++;
	return ret;
}

static int dmirror_place_init(struct dmirror_place *place, struct dmirror_call *call,
			      unsigned long npages)
{
	unsigned long *array;

	if (copy_from_user(&place->args, u64_to_user_ptr(call->ptr), sizeof(place->args)))
		return -EFAULT;
	if (place->args.flags & ~HMM_DMIRROR_PLACE_FLAGS || npages > DMIRROR_PLACE_MAX_PAGES)
		return -EINVAL;
	array = kvcalloc(3 * npages, sizeof(*array), GFP_KERNEL_ACCOUNT);
	if (!array)
		return -ENOMEM;
	place->call = call;
	INIT_WORK(&place->work, dmirror_place_work);
	place->hmm.range.hmm_pfns = array;
	place->hmm.src = array + npages;
	place->hmm.dst = array + 2 * npages;
	return 0;
}

/**
 * dmirror_place() - HMM_DMIRROR_PLACE
 * @call: the command
 *
 * Return: 0, or an errno; cpages is the number of pages that the device was let
 * use, up to the first part of the range that failed.
 */
int dmirror_place(struct dmirror_call *call)
{
	unsigned long npages = (call->end - call->start) >> PAGE_SHIFT;
	struct dmirror_place *place = kzalloc_obj(*place);
	int ret;

	if (!place)
		return -ENOMEM;
	ret = dmirror_place_init(place, call, npages);
	if (!ret) {
		ret = dmirror_place_run(place, npages);
		if (!ret)
			ret = dmirror_place_report(place, npages);
		if (copy_to_user(u64_to_user_ptr(call->ptr), &place->args, sizeof(place->args)))
			ret = -EFAULT;
	}
	kvfree(place->hmm.range.hmm_pfns);
	kfree(place);
	return ret;
}
