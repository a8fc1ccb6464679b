// SPDX-License-Identifier: GPL-2.0
/*
 * The device: files, arguments and their bounds. Everything from user space is
 * checked here; the layers below trust it.
 */
#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/jiffies.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hmm_probe.h"
#include "hmm_probe_move.h"

static_assert(sizeof(unsigned long) == sizeof(u64));
static_assert(HMM_PROBE_VALID == HMM_PFN_VALID);
static_assert(HMM_PROBE_WRITE == HMM_PFN_WRITE);
static_assert(HMM_PROBE_ERROR == HMM_PFN_ERROR);
static_assert(HMM_PROBE_DMA_MAPPED == HMM_PFN_DMA_MAPPED);
static_assert(HMM_PROBE_P2PDMA == HMM_PFN_P2PDMA);
static_assert(HMM_PROBE_P2PDMA_BUS == HMM_PFN_P2PDMA_BUS);
static_assert(HMM_PROBE_ORDER_SHIFT == HMM_PFN_ORDER_SHIFT);
static_assert(HMM_PROBE_PFN_MASK == (unsigned long)~HMM_PFN_FLAGS);
static_assert(HMM_PROBE_REQ_FAULT == HMM_PFN_REQ_FAULT);
static_assert(HMM_PROBE_REQ_WRITE == HMM_PFN_REQ_WRITE);

#define FAULT_FLAGS	(HMM_PROBE_UNLOCKED | HMM_PROBE_ONCE | \
			 HMM_PROBE_ADOPT_OWNER | HMM_PROBE_RAW_RANGE | \
			 HMM_PROBE_NULL_ARRAY | HMM_PROBE_WANT_ORDER | \
			 HMM_PROBE_SPARSE)
#define CHECK_FLAGS	(HMM_PROBE_ADOPT_OWNER | HMM_PROBE_WANT_ORDER | \
			 HMM_PROBE_SPARSE)
#define CHECK_FAULT_FLAGS (CHECK_FLAGS | HMM_PROBE_UNLOCKED)
#define ORACLE_FLAGS	HMM_PROBE_ADOPT_OWNER

/* 7.3 does not know them: there the calls that ask for them fail. */
#ifndef HMM_RANGE_SPARSE
#define HMM_RANGE_SPARSE	0
#endif
#ifndef HMM_RANGE_PTE_ORDERS
#define HMM_RANGE_PTE_ORDERS	0
#endif

/* The notifier */

static bool probe_invalidate(struct mmu_interval_notifier *notifier,
			     const struct mmu_notifier_range *range,
			     unsigned long cur_seq)
{
	struct probe_mirror *mirror =
		container_of(notifier, struct probe_mirror, notifier);

	/* A spinlock, so a caller that may not sleep is served as well. */
	spin_lock(&mirror->seq_lock);
	mmu_interval_set_seq(notifier, cur_seq);
	spin_unlock(&mirror->seq_lock);
	atomic64_inc(&mirror->invalidations);
	return true;
}

static const struct mmu_interval_notifier_ops probe_notifier_ops = {
	.invalidate = probe_invalidate,
};

static int mirror_subscribe(struct probe_mirror *mirror, struct mm_struct *mm,
			    unsigned long start, unsigned long length)
{
	int rc = mmu_interval_notifier_insert(&mirror->notifier, mm, start,
					      length, &probe_notifier_ops);

	if (rc)
		return rc;
	mirror->subscribed = true;
	mirror->start = start;
	mirror->length = length;
	return 0;
}

static void mirror_unsubscribe(struct probe_mirror *mirror)
{
	if (mirror->subscribed)
		mmu_interval_notifier_remove(&mirror->notifier);
	mirror->subscribed = false;
}

/* Arguments */

static bool reserved_is_zero(const u64 *reserved, size_t n)
{
	return !memchr_inv(reserved, 0, n * sizeof(*reserved));
}

static int check_range(u64 addr, u64 npages)
{
	u64 end;

	if (!npages || npages > HMM_PROBE_MAX_PAGES)
		return -EINVAL;
	if (!PAGE_ALIGNED(addr) ||
	    check_add_overflow(addr, npages << PAGE_SHIFT, &end))
		return -EINVAL;
	return 0;
}

/* No page of a raw range that an implementation may reach lacks a slot. */
static int check_raw_range(const struct hmm_probe_call *call)
{
	u64 end = call->addr + (call->npages << PAGE_SHIFT);

	if (!(call->flags & HMM_PROBE_RAW_RANGE))
		return call->raw_start || call->raw_end ? -EINVAL : 0;
	if (call->raw_start < call->addr || call->raw_start > end)
		return -EINVAL;
	/* An unaligned start may make a walker reach one page further. */
	if (call->raw_end > end - PAGE_SIZE)
		return -EINVAL;
	return 0;
}

static int check_call(const struct hmm_probe_call *call, u64 flags)
{
	int rc;

	if (!reserved_is_zero(call->reserved, ARRAY_SIZE(call->reserved)))
		return -EINVAL;
	if (call->flags & ~flags)
		return -EINVAL;
	if (call->timeout_ms > UINT_MAX)
		return -EINVAL;
	if (call->flags & HMM_PROBE_SPARSE && !HMM_RANGE_SPARSE)
		return -EOPNOTSUPP;
	if (call->flags & HMM_PROBE_WANT_ORDER && !HMM_RANGE_PTE_ORDERS)
		return -EOPNOTSUPP;
	rc = check_range(call->addr, call->npages);
	if (rc)
		return rc;
	return check_raw_range(call);
}

/* Jobs */

static unsigned long job_timeout(const struct hmm_probe_call *call)
{
	if (!call->timeout_ms && !(call->flags & HMM_PROBE_UNLOCKED))
		return msecs_to_jiffies(HMM_RANGE_DEFAULT_TIMEOUT);
	return msecs_to_jiffies(call->timeout_ms);
}

static int adopt_owner(struct mm_struct *mm, u64 addr, u64 npages,
		       void **owner)
{
	int rc = mmap_read_lock_killable(mm);

	if (rc)
		return rc;
	*owner = oracle_first_owner(mm, addr, npages);
	mmap_read_unlock(mm);
	return 0;
}

static void job_exit(struct probe_job *job)
{
	kvfree(job->slots);
	kvfree(job->requests);
}

static int job_init(struct probe_job *job, struct probe_mirror *mirror,
		    const struct hmm_probe_call *call)
{
	size_t size = call->npages * sizeof(*job->slots);

	*job = (struct probe_job) {
		.mirror = mirror,
		.addr = call->addr,
		.npages = call->npages,
		.flags = call->flags,
		.timeout = job_timeout(call),
		.requests = vmemdup_user(u64_to_user_ptr(call->slots), size),
	};
	if (IS_ERR(job->requests))
		return PTR_ERR(job->requests);
	job->slots = kvmemdup(job->requests, size, GFP_KERNEL);
	if (!job->slots) {
		kvfree(job->requests);
		return -ENOMEM;
	}
	job->range = (struct hmm_range) {
		.notifier = &mirror->notifier,
		.start = call->addr,
		.end = call->addr + (call->npages << PAGE_SHIFT),
		.hmm_pfns = job->slots,
		.default_flags = call->default_flags,
		.pfn_flags_mask = call->pfn_flags_mask,
	};
	if (call->flags & HMM_PROBE_RAW_RANGE) {
		job->range.start = call->raw_start;
		job->range.end = call->raw_end;
	}
	if (call->flags & HMM_PROBE_SPARSE)
		job->range.default_flags |= HMM_RANGE_SPARSE;
	if (call->flags & HMM_PROBE_WANT_ORDER)
		job->range.default_flags |= HMM_RANGE_PTE_ORDERS;
	if (call->flags & HMM_PROBE_NULL_ARRAY)
		job->range.hmm_pfns = NULL;
	return 0;
}

static int job_finish(struct probe_job *job, struct hmm_probe_call *call)
{
	call->rc = job->rc;
	call->faults = job->faults;
	call->collisions = job->collisions;
	call->invalidations = job->invalidations;
	if (copy_to_user(u64_to_user_ptr(call->slots), job->slots,
			 job->npages * sizeof(*job->slots)))
		return -EFAULT;
	return 0;
}

/* Runs @work with everything that it may rely on held or allocated. */
static int with_job(struct probe_mirror *mirror, struct hmm_probe_call *call,
		    int (*work)(struct probe_job *job, void *arg), void *arg)
{
	struct mm_struct *mm = mirror->notifier.mm;
	struct probe_job job;
	int rc;

	rc = job_init(&job, mirror, call);
	if (rc)
		return rc;
	if (!mmget_not_zero(mm)) {
		rc = -ESRCH;
		goto out;
	}
	if (call->flags & HMM_PROBE_ADOPT_OWNER)
		rc = adopt_owner(mm, call->addr, call->npages,
				 &job.range.dev_private_owner);
	if (!rc)
		rc = work(&job, arg);
	mmput(mm);
	if (!rc)
		rc = job_finish(&job, call);
out:
	job_exit(&job);
	return rc;
}

static int work_fault(struct probe_job *job, void *arg)
{
	probe_job_run(job);
	return 0;
}

static int work_check(struct probe_job *job, void *arg)
{
	return probe_check_snapshot(job, arg);
}

static int work_check_fault(struct probe_job *job, void *arg)
{
	return probe_check_fault(job, arg);
}

/* ioctls */

static int probe_fault(struct probe_mirror *mirror, void __user *arg)
{
	struct hmm_probe_call call;
	int rc;

	if (copy_from_user(&call, arg, sizeof(call)))
		return -EFAULT;
	rc = check_call(&call, FAULT_FLAGS);
	if (rc)
		return rc;
	rc = with_job(mirror, &call, work_fault, NULL);
	if (rc)
		return rc;
	return copy_to_user(arg, &call, sizeof(call)) ? -EFAULT : 0;
}

static int probe_check(struct probe_mirror *mirror, void __user *arg,
		       u64 flags, int (*work)(struct probe_job *, void *))
{
	struct hmm_probe_check check;
	int rc;

	if (copy_from_user(&check, arg, sizeof(check)))
		return -EFAULT;
	if (!reserved_is_zero(check.reserved, ARRAY_SIZE(check.reserved)))
		return -EINVAL;
	rc = check_call(&check.call, flags);
	if (rc)
		return rc;
	rc = with_job(mirror, &check.call, work, &check);
	if (rc)
		return rc;
	return copy_to_user(arg, &check, sizeof(check)) ? -EFAULT : 0;
}

/* A snapshot has no requests: the slots of @arg hold sticky flags only. */
static int probe_check_without_requests(struct probe_mirror *mirror,
					struct hmm_probe_check __user *arg)
{
	u64 request[2];

	if (copy_from_user(request, &arg->call.default_flags, sizeof(request)))
		return -EFAULT;
	if (request[0] || request[1])
		return -EINVAL;
	return probe_check(mirror, arg, CHECK_FLAGS, work_check);
}

static int copy_pages_to_user(const struct hmm_probe_oracle *look,
			      const struct oracle_page *pages)
{
	u64 __user *slots = u64_to_user_ptr(look->slots);
	u64 __user *kinds = u64_to_user_ptr(look->kinds);
	u64 i;

	for (i = 0; i < look->npages; i++) {
		if (put_user(pages[i].value, slots + i))
			return -EFAULT;
		if (kinds && put_user((u64)pages[i].kind, kinds + i))
			return -EFAULT;
	}
	return 0;
}

static int look_around(struct mm_struct *mm,
		       const struct hmm_probe_oracle *look,
		       struct oracle_page *pages)
{
	void *owner = NULL;
	int rc;

	if (!mmget_not_zero(mm))
		return -ESRCH;
	rc = mmap_read_lock_killable(mm);
	if (!rc) {
		if (look->flags & HMM_PROBE_ADOPT_OWNER)
			owner = oracle_first_owner(mm, look->addr,
						   look->npages);
		oracle_look_range(mm, look->addr, look->npages, owner, pages);
		mmap_read_unlock(mm);
	}
	mmput(mm);
	return rc;
}

static int probe_oracle(struct probe_mirror *mirror, void __user *arg)
{
	struct hmm_probe_oracle look;
	struct oracle_page *pages;
	int rc;

	if (copy_from_user(&look, arg, sizeof(look)))
		return -EFAULT;
	if (!reserved_is_zero(look.reserved, ARRAY_SIZE(look.reserved)) ||
	    look.flags & ~ORACLE_FLAGS)
		return -EINVAL;
	rc = check_range(look.addr, look.npages);
	if (rc)
		return rc;

	pages = kvcalloc(look.npages, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	rc = look_around(mirror->notifier.mm, &look, pages);
	if (!rc)
		rc = copy_pages_to_user(&look, pages);
	kvfree(pages);
	return rc;
}

static int probe_set_interval(struct probe_mirror *mirror, void __user *arg)
{
	struct hmm_probe_interval interval;
	struct mm_struct *mm = mirror->notifier.mm;
	u64 end;
	int rc;

	if (copy_from_user(&interval, arg, sizeof(interval)))
		return -EFAULT;
	if (!reserved_is_zero(interval.reserved,
			      ARRAY_SIZE(interval.reserved)) ||
	    !PAGE_ALIGNED(interval.start) || !PAGE_ALIGNED(interval.length) ||
	    (interval.start && !interval.length) ||
	    check_add_overflow(interval.start, interval.length, &end))
		return -EINVAL;
	if (!interval.length)
		interval.length = ULONG_MAX & PAGE_MASK;

	/* The notifier's own reference goes with it; subscribing needs one. */
	if (!mmget_not_zero(mm))
		return -ESRCH;
	mirror_unsubscribe(mirror);
	rc = mirror_subscribe(mirror, mm, interval.start, interval.length);
	if (rc)		/* never leave the file without a notifier */
		WARN_ON(mirror_subscribe(mirror, mm, mirror->start,
					 mirror->length));
	mmput(mm);
	return rc;
}

static long probe_use_mirror(struct probe_mirror *mirror, unsigned int cmd,
			     void __user *arg)
{
	int rc = -ENOTTY;

	if (down_read_killable(&mirror->interval_lock))
		return -EINTR;
	if (!mirror->subscribed)
		rc = -ESRCH;
	else if (cmd == HMM_PROBE_FAULT)
		rc = probe_fault(mirror, arg);
	else if (cmd == HMM_PROBE_ORACLE)
		rc = probe_oracle(mirror, arg);
	else if (cmd == HMM_PROBE_CHECK)
		rc = probe_check_without_requests(mirror, arg);
	else if (cmd == HMM_PROBE_CHECK_FAULT)
		rc = probe_check(mirror, arg, CHECK_FAULT_FLAGS,
				 work_check_fault);
	else if (cmd == HMM_PROBE_HOLD)
		rc = probe_hold(mirror, arg);
	else if (cmd == HMM_PROBE_AWAIT_HOLD)
		rc = probe_await_hold(mirror);
	else if (cmd == HMM_PROBE_LET_GO)
		rc = probe_let_go(mirror);
	else if (cmd == HMM_PROBE_DMA)
		rc = probe_dma(mirror, arg);
	else if (cmd == HMM_PROBE_STALL)
		rc = probe_stall(mirror, arg);
	else if (cmd == HMM_PROBE_AWAIT_STALL)
		rc = probe_await_stall(mirror);
	else if (cmd == HMM_PROBE_STALE_BEGIN)
		rc = probe_stale_begin(mirror, arg);
	else if (cmd == HMM_PROBE_STALE_END)
		rc = probe_stale_end(mirror, arg);
	up_read(&mirror->interval_lock);
	return rc;
}

static long probe_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct probe_mirror *mirror = file->private_data;
	void __user *uarg = (void __user *)arg;
	long rc;

	if (cmd != HMM_PROBE_INTERVAL)
		return probe_use_mirror(mirror, cmd, uarg);

	if (down_write_killable(&mirror->interval_lock))
		return -EINTR;
	rc = mirror->subscribed ? probe_set_interval(mirror, uarg) : -ESRCH;
	up_write(&mirror->interval_lock);
	return rc;
}

static int probe_open(struct inode *inode, struct file *file)
{
	struct probe_mirror *mirror;
	int rc;

	mirror = kzalloc_obj(*mirror);
	if (!mirror)
		return -ENOMEM;
	init_rwsem(&mirror->interval_lock);
	spin_lock_init(&mirror->seq_lock);
	init_completion(&mirror->held);
	init_completion(&mirror->let_go);
	rc = mirror_subscribe(mirror, current->mm, 0, ULONG_MAX & PAGE_MASK);
	if (rc) {
		kfree(mirror);
		return rc;
	}
	file->private_data = mirror;
	return 0;
}

static int probe_release(struct inode *inode, struct file *file)
{
	struct probe_mirror *mirror = file->private_data;

	probe_stale_free(mirror);
	probe_stall_end(mirror);
	mirror_unsubscribe(mirror);
	kfree(mirror);
	return 0;
}

static const struct file_operations probe_fops = {
	.owner = THIS_MODULE,
	.open = probe_open,
	.release = probe_release,
	.unlocked_ioctl = probe_ioctl,
	.mmap = probe_mmap,
};

static struct miscdevice probe_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_probe",
	.fops = &probe_fops,
	.mode = 0600,
};

static int __init probe_init(void)
{
	int rc = probe_dma_init();

	if (rc)
		return rc;
	rc = probe_notify_init();
	if (rc)
		goto no_notify;
	rc = probe_move_init();
	if (rc)
		goto no_move;
	rc = probe_inval_init();
	if (rc)
		goto no_inval;
	rc = probe_odp_init();
	if (rc)
		goto no_odp;
	rc = misc_register(&probe_device);
	if (!rc)
		return 0;
	probe_odp_exit();
no_odp:
	probe_inval_exit();
no_inval:
	probe_move_exit();
no_move:
	probe_notify_exit();
no_notify:
	probe_dma_exit();
	return rc;
}

static void __exit probe_exit(void)
{
	misc_deregister(&probe_device);
	probe_odp_exit();
	probe_inval_exit();
	probe_move_exit();
	probe_notify_exit();
	probe_dma_exit();
	probe_map_exit();
}

module_init(probe_init);
module_exit(probe_exit);
MODULE_DESCRIPTION("The public HMM API behind ioctls, for tests");
MODULE_LICENSE("GPL");
