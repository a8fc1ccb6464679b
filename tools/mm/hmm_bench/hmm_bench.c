// SPDX-License-Identifier: GPL-2.0
/*
 * Times single operations of the public HMM API, for tools/mm/hmm-bench.
 *
 * An operation is one entry of bench_ops. Only its run() is timed; what it
 * needs beforehand is done by arm(). The quickest of several runs is the one
 * that no interrupt disturbed.
 */
#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/timex.h>
#include <linux/uaccess.h>

#include "hmm_bench_uapi.h"

/**
 * struct bench_job - one call of the device
 * @notifier: subscribed to the job's range
 * @range: as it goes to the API
 * @mm: the caller's own
 * @call: arguments and results
 */
struct bench_job {
	struct mmu_interval_notifier notifier;
	struct hmm_range range;
	struct mm_struct *mm;
	struct hmm_bench_call call;
};

/**
 * struct bench_op - one operation
 * @arm: optional, before each run; what it takes is kept when it fails
 * @run: what is timed
 * @disarm: optional, after each run that was armed
 * @inspect: optional, after the last run
 */
struct bench_op {
	int (*arm)(struct bench_job *job);
	int (*run)(struct bench_job *job);
	void (*disarm)(struct bench_job *job);
	void (*inspect)(struct bench_job *job);
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
	spinlock_t *ptl;
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

static int job_time(struct bench_job *job)
{
	const struct bench_op *op = &bench_ops[job->call.op];
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

/* The notifier */

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
	if (!(flags & HMM_BENCH_SPARSE))
		return 0;
#ifdef HMM_RANGE_SPARSE
	*hmm |= HMM_RANGE_SPARSE;
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}

static int job_run(struct bench_job *job)
{
	const struct hmm_bench_call *call = &job->call;
	unsigned long size = call->npages << PAGE_SHIFT;
	int rc;

	job->mm = current->mm;
	job->range.notifier = &job->notifier;
	job->range.start = call->addr;
	job->range.end = call->addr + size;
	rc = default_flags(call->flags, &job->range.default_flags);
	if (rc)
		return rc;
	job->range.hmm_pfns = kvcalloc(call->npages, sizeof(unsigned long),
				       GFP_KERNEL);
	if (!job->range.hmm_pfns)
		return -ENOMEM;

	rc = mmu_interval_notifier_insert(&job->notifier, job->mm, call->addr,
					  size, &bench_notifier_ops);
	if (!rc) {
		rc = job_time(job);
		mmu_interval_notifier_remove(&job->notifier);
	}
	kvfree(job->range.hmm_pfns);
	return rc;
}

static long bench_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *uarg = (void __user *)arg;
	int rc;

	if (cmd != HMM_BENCH_CALL)
		return -ENOTTY;

	struct bench_job *job __free(kfree) = kzalloc_obj(*job);

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

static const struct file_operations bench_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = bench_ioctl,
};

static struct miscdevice bench_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_bench",
	.fops = &bench_fops,
	.mode = 0600,
};

module_misc_device(bench_device);
MODULE_DESCRIPTION("Times single operations of the HMM API");
MODULE_LICENSE("GPL");
