// SPDX-License-Identifier: GPL-2.0
/*
 * A walk of a driver's own task that stands still after it has looked at an
 * entry, while another fault of the same page writes to the same slot of a DMA
 * map, and uses it.
 */
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/hmm-dma.h>
#include <linux/hw_breakpoint.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hmm_probe.h"

#define MOST_MS		200
#define MOST_ACCESSES	1000

/**
 * struct probe_stale - between the two commands
 * @mirror: whose address space
 * @map: with one slot
 * @addr: the page
 * @thread: that walks
 * @done: the walk has ended
 */
struct probe_stale {
	struct probe_mirror *mirror;
	struct hmm_dma_map map;
	unsigned long addr;
	struct task_struct *thread;
	bool done;
};

static struct hmm_range range_of(struct probe_stale *stale, u64 request)
{
	return (struct hmm_range){
		.notifier = &stale->mirror->notifier,
		.start = stale->addr,
		.end = stale->addr + PAGE_SIZE,
		.hmm_pfns = stale->map.pfn_list,
		.default_flags = request,
	};
}

/* Without the address space, so that no TLB flush waits for this CPU */
static int walk_once(void *arg)
{
	struct probe_stale *stale = arg;
	struct hmm_range range = range_of(stale, 0);

	probe_fault_once(stale->mirror, &range);
	WRITE_ONCE(stale->done, true);
	while (!kthread_should_stop())
		msleep_interruptible(1);
	return 0;
}

static int stale_start(struct probe_mirror *mirror, struct probe_stale *stale)
{
	unsigned int here = raw_smp_processor_id();
	unsigned int other = cpumask_any_but(cpu_online_mask, here);

	if (other >= nr_cpu_ids)
		return -EOPNOTSUPP;
	stale->thread = kthread_create(walk_once, stale, "hmm_probe_stale");
	if (IS_ERR(stale->thread))
		return PTR_ERR(stale->thread);
	kthread_bind(stale->thread, other);
	mirror->stall.task = stale->thread;
	return 0;
}

int probe_stale_begin(struct probe_mirror *mirror, void __user *arg)
{
	struct hmm_probe_stale args;
	struct probe_stale *stale;
	int rc;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	if (!PAGE_ALIGNED(args.addr) || args.ms > MOST_MS || !args.nth ||
	    args.nth > MOST_ACCESSES || args.level > HMM_PROBE_AT_PUD)
		return -EINVAL;
	if (mirror->stale)
		return -EBUSY;
	stale = kzalloc_obj(*stale);
	if (!stale)
		return -ENOMEM;
	stale->mirror = mirror;
	stale->addr = args.addr;
	rc = hmm_dma_map_alloc(probe_dma_device(), &stale->map, 1, PAGE_SIZE);
	if (rc)
		goto no_map;
	rc = stale_start(mirror, stale);
	if (rc)
		goto no_thread;
	mirror->stale = stale;

	mirror->stall.ms = args.ms;
	atomic_set(&mirror->stall.left, args.nth - 1);
	rc = probe_stall_at(mirror, args.addr, args.level, HW_BREAKPOINT_RW);
	if (rc) {
		probe_stale_free(mirror);
		return rc;
	}
	wake_up_process(stale->thread);
	while (!READ_ONCE(stale->done) && !atomic_read(&mirror->stall.begun))
		cpu_relax();
	args.stalled = atomic_read(&mirror->stall.begun);
	return copy_to_user(arg, &args, sizeof(args)) ? -EFAULT : 0;

no_thread:
	hmm_dma_map_free(probe_dma_device(), &stale->map);
no_map:
	kfree(stale);
	return rc;
}

/* The retry loop of a driver; nothing changes afterwards. */
static int fault_again(struct probe_stale *stale, u64 *slot)
{
	struct probe_mirror *mirror = stale->mirror;
	struct hmm_range range = range_of(stale, HMM_PFN_REQ_FAULT);
	bool retry;
	int rc;

	do {
		rc = probe_fault_once(mirror, &range);
		if (rc && rc != -EBUSY)
			return rc;
		spin_lock(&mirror->seq_lock);
		retry = mmu_interval_read_retry(&mirror->notifier,
						range.notifier_seq);
		*slot = READ_ONCE(*stale->map.pfn_list);
		spin_unlock(&mirror->seq_lock);
	} while (rc || retry);
	return 0;
}

int probe_stale_end(struct probe_mirror *mirror, void __user *arg)
{
	struct probe_stale *stale = mirror->stale;
	struct hmm_probe_stale args;
	int rc;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	if (!stale)
		return -EINVAL;
	rc = fault_again(stale, &args.slot);
	while (!READ_ONCE(stale->done))
		fsleep(USEC_PER_MSEC);
	args.later = *stale->map.pfn_list;
	probe_stale_free(mirror);
	if (rc)
		return rc;
	return copy_to_user(arg, &args, sizeof(args)) ? -EFAULT : 0;
}

/* Waits for the walk. */
void probe_stale_free(struct probe_mirror *mirror)
{
	struct probe_stale *stale = mirror->stale;

	if (!stale)
		return;
	kthread_stop(stale->thread);
	probe_stall_end(mirror);
	hmm_dma_map_free(probe_dma_device(), &stale->map);
	kfree(stale);
	mirror->stale = NULL;
}
