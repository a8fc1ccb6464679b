// SPDX-License-Identifier: GPL-2.0
/*
 * Times single operations of the public HMM API, for hmm-bench.
 *
 * An operation is one entry of bench_ops. Only its run() is timed; what it
 * needs beforehand is done by arm(). The quickest of several runs is the one
 * that no interrupt disturbed. Apart from that, an open file holds the
 * subscriptions of HMM_BENCH_HOLD until it drops them or is closed.
 */
#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/interval_tree.h>
#include <linux/jiffies.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/timex.h>
#include <linux/uaccess.h>

#include "hmm_bench.h"

/**
 * struct bench_op - one operation
 * @subscribes: the job's notifier is the operation's own affair
 * @arm: optional, before each run; what it takes is kept when it fails
 * @run: what is timed
 * @undo: optional, after each run that succeeded; may also look at its result
 * @disarm: optional, after each run that was armed
 * @inspect: optional, after the last run
 */
struct bench_op {
	bool subscribes;
	int (*arm)(struct bench_job *job);
	int (*run)(struct bench_job *job);
	void (*undo)(struct bench_job *job);
	void (*disarm)(struct bench_job *job);
	void (*inspect)(struct bench_job *job);
};

/* The job's notifier */

static bool bench_invalidate(struct mmu_interval_notifier *notifier,
			     const struct mmu_notifier_range *range,
			     unsigned long cur_seq)
{
	mmu_interval_set_seq(notifier, cur_seq);
	return true;
}

static const struct mmu_interval_notifier_ops bench_notifier_ops = {
	.invalidate = bench_invalidate,
};

static int job_subscribe(struct bench_job *job)
{
	return mmu_interval_notifier_insert(&job->notifier, job->mm,
					    job->range.start,
					    job->range.end - job->range.start,
					    &bench_notifier_ops);
}

static void job_unsubscribe(struct bench_job *job)
{
	mmu_interval_notifier_remove(&job->notifier);
}

/* Subscriptions that are held, and those of HMM_BENCH_CALLBACKS */

static bool held_invalidate(struct mmu_interval_notifier *notifier,
			    const struct mmu_notifier_range *range,
			    unsigned long cur_seq)
{
	struct bench_holder *holder =
		container_of(notifier, struct bench_sub, notifier)->holder;

	spin_lock(&holder->seq_lock);
	mmu_interval_set_seq(notifier, cur_seq);
	spin_unlock(&holder->seq_lock);
	return true;
}

static const struct mmu_interval_notifier_ops held_ops = {
	.invalidate = held_invalidate,
};

/* Operations */

static int run_nothing(struct bench_job *job)
{
	return 0;
}

/* The same anywhere: shows that cycles are instructions. */
static int run_loop(struct bench_job *job)
{
#ifdef CONFIG_X86
	unsigned long n = HMM_BENCH_LOOPS;

	asm volatile("1: dec %0\n\tjnz 1b" : "+r" (n) : : "cc");
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}

static int arm_mmap_lock(struct bench_job *job)
{
	return mmap_read_lock_killable(job->mm);
}

static void disarm_mmap_lock(struct bench_job *job)
{
	mmap_read_unlock(job->mm);
}

static int arm_range_fault(struct bench_job *job)
{
	job->range.notifier_seq = mmu_interval_read_begin(&job->notifier);
	return arm_mmap_lock(job);
}

static int run_range_fault(struct bench_job *job)
{
	return hmm_range_fault(&job->range);
}

static int run_range_fault_unlocked(struct bench_job *job)
{
	return hmm_range_fault_unlocked_timeout(&job->range, 0);
}

/* What remains of a faulting call when HMM itself costs nothing. */
static int run_populate(struct bench_job *job)
{
	struct vm_area_struct *vma = vma_lookup(job->mm, job->range.start);
	unsigned long step = (unsigned long)job->call.step << PAGE_SHIFT;
	unsigned long addr;

	if (!vma || vma->vm_end < job->range.end)
		return -EFAULT;
	for (addr = job->range.start; addr < job->range.end; addr += step)
		if (handle_mm_fault(vma, addr,
				    FAULT_FLAG_REMOTE | FAULT_FLAG_WRITE,
				    NULL) & (VM_FAULT_ERROR | VM_FAULT_RETRY |
					     VM_FAULT_COMPLETED))
			return -EFAULT;
	return 0;
}

/*
 * What remains of a call for one page when HMM itself costs nothing: the VMA
 * and the PTE have to be found, and read under the lock. The caller's memory
 * stays as it is, so that no entry on the way is looked at twice.
 */
static int run_look_up(struct bench_job *job)
{
	unsigned long addr = job->range.start;
	struct vm_area_struct *vma = vma_lookup(job->mm, addr);
	spinlock_t *ptl;	/* the PTE's */
	pmd_t *pmdp;
	pte_t pte;

	if (!vma)
		return -EFAULT;
	pmdp = pmd_offset(pud_offset(p4d_offset(pgd_offset(job->mm, addr),
						addr), addr), addr);
	if (!pmd_present(pmdp_get(pmdp)) || pmd_leaf(pmdp_get(pmdp)))
		return -EFAULT;
	ptl = pte_lockptr(job->mm, pmdp);
	spin_lock(ptl);
	pte = ptep_get(pte_offset_kernel(pmdp, addr));
	job->range.hmm_pfns[0] = pte_pfn(pte);
	spin_unlock(ptl);
	return pte_present(pte) ? 0 : -EFAULT;
}

static int run_read(struct bench_job *job)
{
	unsigned long seq = mmu_interval_read_begin(&job->notifier);

	return mmu_interval_read_retry(&job->notifier, seq) ? -EAGAIN : 0;
}

static int run_insert_remove(struct bench_job *job)
{
	int rc = job_subscribe(job);

	if (!rc)
		job_unsubscribe(job);
	return rc;
}

static int arm_callbacks(struct bench_job *job)
{
	unsigned long i;

	spin_lock_init(&job->holder.seq_lock);
	job->tree = RB_ROOT_CACHED;
	job->holder.subs = kvcalloc(job->call.npages,
				    sizeof(*job->holder.subs), GFP_KERNEL);
	if (!job->holder.subs)
		return -ENOMEM;
	for (i = 0; i < job->call.npages; i++) {
		struct bench_sub *sub = &job->holder.subs[i];

		sub->holder = &job->holder;
		sub->notifier.ops = &held_ops;
		sub->notifier.interval_tree.start = job->range.start;
		sub->notifier.interval_tree.last = job->range.end - 1;
		interval_tree_insert(&sub->notifier.interval_tree, &job->tree);
	}
	return 0;
}

static void disarm_callbacks(struct bench_job *job)
{
	kvfree(job->holder.subs);
}

/*
 * What remains of many callbacks when their dispatch costs nothing: each has to
 * be found. Here nothing changes the tree meanwhile.
 */
static int run_callbacks(struct bench_job *job)
{
	unsigned long start = job->range.start, last = job->range.end - 1;
	struct interval_tree_node *node;

	for (node = interval_tree_iter_first(&job->tree, start, last); node;
	     node = interval_tree_iter_next(node, start, last)) {
		struct mmu_interval_notifier *notifier =
			container_of(node, struct mmu_interval_notifier,
				     interval_tree);

		notifier->ops->invalidate(notifier, NULL, 1);
	}
	return 0;
}

/* The caller leaves its memory alone meanwhile: the answers still hold. */
static void inspect_slots(struct bench_job *job)
{
	struct hmm_bench_call *call = &job->call;
	unsigned long i;

	call->valid = 0;
	call->writable = 0;
	call->order = UINT_MAX;
	call->folio_order = UINT_MAX;
	for (i = 0; i < call->npages; i++) {
		unsigned long slot = job->range.hmm_pfns[i];
		struct folio *folio;

		if (!(slot & HMM_PFN_VALID))
			continue;
		folio = page_folio(hmm_pfn_to_page(slot));
		call->valid++;
		call->writable += !!(slot & HMM_PFN_WRITE);
		call->order = min(call->order, hmm_pfn_to_map_order(slot));
		call->folio_order = min(call->folio_order, folio_order(folio));
	}
}

static const struct bench_op nothing = { .run = run_nothing };

static const struct bench_op bench_ops[HMM_BENCH_OPS] = {
	[HMM_BENCH_LOOP] = { .run = run_loop },
	[HMM_BENCH_RANGE_FAULT] = {
		.arm = arm_range_fault,
		.run = run_range_fault,
		.disarm = disarm_mmap_lock,
		.inspect = inspect_slots,
	},
	[HMM_BENCH_RANGE_FAULT_UNLOCKED] = {
		.run = run_range_fault_unlocked,
		.inspect = inspect_slots,
	},
	[HMM_BENCH_POPULATE] = {
		.arm = arm_mmap_lock,
		.run = run_populate,
		.disarm = disarm_mmap_lock,
	},
	[HMM_BENCH_LOOK_UP] = {
		.arm = arm_mmap_lock,
		.run = run_look_up,
		.disarm = disarm_mmap_lock,
	},
	[HMM_BENCH_READ] = { .run = run_read },
	[HMM_BENCH_INSERT] = {
		.subscribes = true,
		.run = job_subscribe,
		.undo = job_unsubscribe,
	},
	[HMM_BENCH_INSERT_REMOVE] = {
		.subscribes = true,
		.run = run_insert_remove,
	},
	[HMM_BENCH_CALLBACKS] = {
		.arm = arm_callbacks,
		.run = run_callbacks,
		.disarm = disarm_callbacks,
	},
	[HMM_BENCH_MIGRATE_TO_DEVICE] = {
		.subscribes = true,
		.arm = bench_migrate_arm,
		.run = bench_migrate_to_device,
		.undo = bench_migrate_count,
		.disarm = bench_migrate_disarm,
	},
	[HMM_BENCH_MIGRATE_TO_SYSTEM] = {
		.subscribes = true,
		.arm = bench_migrate_arm,
		.run = bench_migrate_to_system,
		.undo = bench_migrate_count,
		.disarm = bench_migrate_disarm,
	},
	[HMM_BENCH_EXCLUSIVE] = {
		.subscribes = true,
		.arm = bench_exclusive_arm,
		.run = bench_make_exclusive,
		.disarm = bench_exclusive_disarm,
	},
	[HMM_BENCH_EXCLUSIVE_RANGE] = {
		.subscribes = true,
		.arm = bench_exclusive_arm,
		.run = bench_make_exclusive_range,
		.disarm = bench_exclusive_disarm,
	},
	[HMM_BENCH_DMA_MAP] = {
		.arm = bench_dma_arm,
		.run = bench_dma_map,
		.undo = bench_dma_undo,
		.disarm = bench_dma_disarm,
	},
	[HMM_BENCH_DMA_UNMAP] = {
		.arm = bench_dma_arm_mapped,
		.run = bench_dma_unmap,
		.disarm = bench_dma_disarm,
	},
	[HMM_BENCH_PLACE] = {
		.subscribes = true,
		.arm = bench_place_arm,
		.run = bench_place,
		.disarm = bench_place_disarm,
		.inspect = bench_place_inspect,
	},
	[HMM_BENCH_FAULT_COLLECT] = {
		.subscribes = true,
		.arm = bench_place_arm,
		.run = bench_fault_collect,
		.disarm = bench_place_disarm,
		.inspect = bench_place_inspect,
	},
	[HMM_BENCH_COLLECT_FAULT] = {
		.subscribes = true,
		.arm = bench_place_arm,
		.run = bench_collect_fault,
		.disarm = bench_place_disarm,
		.inspect = bench_place_inspect,
	},
	[HMM_BENCH_MIRROR] = {
		.subscribes = true,
		.arm = bench_place_arm,
		.run = bench_mirror,
		.disarm = bench_place_disarm,
		.inspect = bench_place_inspect,
	},
};

/* Timing */

/* mm_account_fault() counts every completed handle_mm_fault() in one of two. */
static u64 faults_of_current(void)
{
	return current->min_flt + current->maj_flt;
}

static int time_once(const struct bench_op *op, struct bench_job *job,
		     u64 *cycles)
{
	u64 faults;
	int rc = op->arm ? op->arm(job) : 0;

	if (rc)
		return rc;
	faults = faults_of_current();
	*cycles = get_cycles();
	rc = op->run(job);
	*cycles = get_cycles() - *cycles;
	job->call.faults = faults_of_current() - faults;
	if (!rc && op->undo)
		op->undo(job);
	if (op->disarm)
		op->disarm(job);
	return rc;
}

static int time_quickest(const struct bench_op *op, struct bench_job *job,
			 unsigned int repeat, u64 *quickest)
{
	*quickest = U64_MAX;
	while (repeat--) {
		u64 cycles;
		int rc = time_once(op, job, &cycles);

		if (rc)
			return rc;
		if (fatal_signal_pending(current))
			return -EINTR;
		*quickest = min(*quickest, cycles);
		cond_resched();
	}
	return 0;
}

static int job_time(struct bench_job *job, const struct bench_op *op)
{
	u64 overhead, cycles;
	int rc = time_quickest(&nothing, job, 16, &overhead);

	if (!rc)
		rc = time_quickest(op, job, job->call.repeat, &cycles);
	if (rc)
		return rc;
	job->call.cycles = cycles - min(cycles, overhead);
	if (op->inspect)
		op->inspect(job);
	return 0;
}

/* Jobs */

static int check_call(const struct hmm_bench_call *call)
{
	u64 end;

	if (call->op >= HMM_BENCH_OPS ||
	    !call->repeat || call->repeat > HMM_BENCH_MAX_REPEAT ||
	    !call->npages || call->npages > HMM_BENCH_MAX_PAGES ||
	    !call->step || !PAGE_ALIGNED(call->addr) ||
	    check_add_overflow(call->addr, call->npages << PAGE_SHIFT, &end))
		return -EINVAL;
	return 0;
}

static int default_flags(u32 flags, unsigned long *hmm)
{
	*hmm = 0;
	if (flags & HMM_BENCH_REQ_FAULT)
		*hmm |= HMM_PFN_REQ_FAULT;
	if (flags & HMM_BENCH_REQ_WRITE)
		*hmm |= HMM_PFN_REQ_WRITE;
	if (!(flags & (HMM_BENCH_SPARSE | HMM_BENCH_ORDERS)))
		return 0;
#ifdef HMM_RANGE_SPARSE
	if (flags & HMM_BENCH_SPARSE)
		*hmm |= HMM_RANGE_SPARSE;
	if (flags & HMM_BENCH_ORDERS)
		*hmm |= HMM_RANGE_PTE_ORDERS;
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}

static int job_time_subscribed(struct bench_job *job, const struct bench_op *op)
{
	int rc = job_subscribe(job);

	if (rc)
		return rc;
	rc = job_time(job, op);
	job_unsubscribe(job);
	return rc;
}

static int job_run(struct bench_job *job)
{
	const struct hmm_bench_call *call = &job->call;
	const struct bench_op *op = &bench_ops[call->op];
	int rc;

	job->mm = current->mm;
	job->range.notifier = &job->notifier;
	job->range.dev_private_owner = &bench_pagemap;
	job->range.start = call->addr;
	job->range.end = call->addr + (call->npages << PAGE_SHIFT);
	rc = default_flags(call->flags, &job->range.default_flags);
	if (rc)
		return rc;
	job->range.hmm_pfns = kvcalloc(call->npages, sizeof(unsigned long),
				       GFP_KERNEL);
	if (!job->range.hmm_pfns)
		return -ENOMEM;

	rc = op->subscribes ? job_time(job, op) : job_time_subscribed(job, op);
	kvfree(job->range.hmm_pfns);
	return rc;
}

/* Subscriptions that are held */

/* A callback may return if another one stays behind, or the relay is over. */
static bool may_return(struct bench_holder *holder)
{
	if (atomic_add_unless(&holder->sleeping, -1, 1))
		return true;
	if (time_before(jiffies, holder->relay_end))
		return false;
	atomic_dec(&holder->sleeping);
	return true;
}

static bool sleep_and_invalidate(struct mmu_interval_notifier *notifier,
				 const struct mmu_notifier_range *range,
				 unsigned long cur_seq)
{
	struct bench_holder *holder =
		container_of(notifier, struct bench_sub, notifier)->holder;

	if (!mmu_notifier_range_blockable(range))
		return false;
	held_invalidate(notifier, range, cur_seq);
	atomic_inc(&holder->sleeping);
	do {
		fsleep(holder->sleep_us);
	} while (!may_return(holder));
	return true;
}

static const struct mmu_interval_notifier_ops sleeping_ops = {
	.invalidate = sleep_and_invalidate,
};

static void holder_drop(struct bench_holder *holder)
{
	while (holder->count) {
		struct bench_sub *sub = &holder->subs[--holder->count];

		mmu_interval_notifier_remove(&sub->notifier);
		cond_resched();
	}
	kvfree(holder->subs);
	holder->subs = NULL;
}

static int holder_insert(struct bench_holder *holder,
			 const struct hmm_bench_hold *hold)
{
	const struct mmu_interval_notifier_ops *ops =
		hold->sleep_us ? &sleeping_ops : &held_ops;

	while (holder->count < hold->count) {
		struct bench_sub *sub = &holder->subs[holder->count];
		u64 page = hold->stride * holder->count;
		int rc;

		sub->holder = holder;
		rc = mmu_interval_notifier_insert(&sub->notifier, current->mm,
						  hold->addr +
						  (page << PAGE_SHIFT),
						  hold->npages << PAGE_SHIFT,
						  ops);
		if (rc)
			return rc;
		holder->count++;
		cond_resched();
	}
	return 0;
}

static int check_hold(const struct hmm_bench_hold *hold)
{
	u64 pages, end;

	if (!hold->count || hold->count > HMM_BENCH_MAX_HELD ||
	    !hold->npages || hold->npages > HMM_BENCH_MAX_PAGES ||
	    hold->stride > HMM_BENCH_MAX_STRIDE ||
	    hold->sleep_us > HMM_BENCH_MAX_SLEEP_US ||
	    hold->relay_ms > HMM_BENCH_MAX_RELAY_MS ||
	    hold->unused || !PAGE_ALIGNED(hold->addr))
		return -EINVAL;
	/* A relay without sleep would keep the CPU. */
	if (hold->relay_ms && !hold->sleep_us)
		return -EINVAL;
	pages = hold->stride * hold->count + hold->npages;
	if (check_add_overflow(hold->addr, pages << PAGE_SHIFT, &end))
		return -EINVAL;
	return 0;
}

static int bench_hold(struct bench_holder *holder, const void __user *uarg)
{
	struct hmm_bench_hold hold;
	int rc;

	if (copy_from_user(&hold, uarg, sizeof(hold)))
		return -EFAULT;
	rc = check_hold(&hold);
	if (rc)
		return rc;

	guard(mutex)(&holder->lock);
	if (holder->subs)
		return -EBUSY;
	holder->subs = kvcalloc(hold.count, sizeof(*holder->subs), GFP_KERNEL);
	if (!holder->subs)
		return -ENOMEM;
	holder->sleep_us = hold.sleep_us;
	holder->relay_end = jiffies + msecs_to_jiffies(hold.relay_ms);
	rc = holder_insert(holder, &hold);
	if (rc)
		holder_drop(holder);
	return rc;
}

static int bench_drop(struct bench_holder *holder)
{
	guard(mutex)(&holder->lock);
	holder_drop(holder);
	return 0;
}

static int bench_read_held(struct bench_holder *holder)
{
	guard(mutex)(&holder->lock);
	if (!holder->count)
		return -ENOENT;
	mmu_interval_read_begin(&holder->subs[0].notifier);
	return 0;
}

/* The device */

static int bench_call(void __user *uarg)
{
	struct bench_job *job __free(kfree) = kzalloc_obj(*job);
	int rc;

	if (!job)
		return -ENOMEM;
	if (copy_from_user(&job->call, uarg, sizeof(job->call)))
		return -EFAULT;
	rc = check_call(&job->call);
	if (!rc)
		rc = job_run(job);
	if (rc)
		return rc;
	return copy_to_user(uarg, &job->call, sizeof(job->call)) ? -EFAULT : 0;
}

static long bench_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct bench_holder *holder = file->private_data;
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case HMM_BENCH_CALL:
		return bench_call(uarg);
	case HMM_BENCH_HOLD:
		return bench_hold(holder, uarg);
	case HMM_BENCH_DROP:
		return bench_drop(holder);
	case HMM_BENCH_READ_HELD:
		return bench_read_held(holder);
	case HMM_BENCH_READ_PAGE:
		return bench_read_page(holder);
	case HMM_BENCH_REGISTER:
		return bench_register(holder);
	case HMM_BENCH_WATCH:
		return bench_watch(holder, uarg);
	case HMM_BENCH_STOP:
		return bench_stop(holder);
	case HMM_BENCH_PERIODS:
		return bench_periods(uarg);
	default:
		return -ENOTTY;
	}
}

static int bench_open(struct inode *inode, struct file *file)
{
	struct bench_holder *holder = kzalloc_obj(*holder);

	if (!holder)
		return -ENOMEM;
	mutex_init(&holder->lock);
	spin_lock_init(&holder->seq_lock);
	file->private_data = holder;
	return 0;
}

static int bench_release(struct inode *inode, struct file *file)
{
	struct bench_holder *holder = file->private_data;

	bench_drop(holder);
	bench_unregister(holder);
	kfree(holder);
	return 0;
}

static const struct file_operations bench_fops = {
	.owner = THIS_MODULE,
	.open = bench_open,
	.release = bench_release,
	.unlocked_ioctl = bench_ioctl,
};

static struct miscdevice bench_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_bench",
	.fops = &bench_fops,
	.mode = 0600,
};

static int __init bench_init(void)
{
	int rc = bench_device_init();

	if (rc)
		return rc;
	rc = misc_register(&bench_device);
	if (rc)
		bench_device_exit();
	return rc;
}

static void __exit bench_exit(void)
{
	misc_deregister(&bench_device);
	bench_device_exit();
}

module_init(bench_init);
module_exit(bench_exit);
MODULE_DESCRIPTION("Times single operations of the HMM API");
MODULE_LICENSE("GPL");
