// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/hmm_probe_notify: subscriptions that user space controls.
 */
#include <linux/cleanup.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/jiffies.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hmm_probe.h"
#include "hmm_probe_notify.h"

#define PATIENCE_AT_MOST	(60 * MSEC_PER_SEC)
#define CLOSE_MS		(5 * MSEC_PER_SEC)

static struct workqueue_struct *notify_workers;

/* Calls */

static bool is_interval(const struct probe_sub *sub)
{
	return sub->kind == HMM_NOTIFY_INTERVAL ||
	       sub->kind == HMM_NOTIFY_TWO_PASS ||
	       sub->kind == HMM_NOTIFY_INTERVAL_READ_LOCKED;
}

static int subscribe_shared(struct probe_sub *sub, struct mm_struct *mm)
{
	struct mmu_notifier *list = mmu_notifier_get(&probe_shared_ops, mm);

	if (IS_ERR(list))
		return PTR_ERR(list);
	sub->shared = container_of(list, struct probe_shared, list);
	scoped_guard(spinlock, &sub->lock)
		sub->state.id = sub->shared->id;
	return 0;
}

static int subscribe_locked(struct probe_sub *sub, struct mm_struct *mm)
{
	int rc = mmap_write_lock_killable(mm);

	if (rc)
		return rc;
	sub->list.ops = &probe_list_ops;
	rc = __mmu_notifier_register(&sub->list, mm);
	mmap_write_unlock(mm);
	return rc;
}

static int subscribe_read_locked(struct probe_sub *sub,
				 const struct hmm_notify_call *call,
				 struct mm_struct *mm)
{
	int rc = mmap_read_lock_killable(mm);

	if (rc)
		return rc;
	rc = mmu_interval_notifier_insert(&sub->interval, mm, call->start,
					  call->length, &probe_one_pass_ops);
	mmap_read_unlock(mm);
	return rc;
}

static int subscribe_as(struct probe_sub *sub,
			const struct hmm_notify_call *call,
			struct mm_struct *mm)
{
	switch (sub->kind) {
	case HMM_NOTIFY_INTERVAL:
		return mmu_interval_notifier_insert(&sub->interval, mm,
						    call->start, call->length,
						    &probe_one_pass_ops);
	case HMM_NOTIFY_TWO_PASS:
		return mmu_interval_notifier_insert(&sub->interval, mm,
						    call->start, call->length,
						    &probe_two_pass_ops);
	case HMM_NOTIFY_LIST:
		sub->list.ops = &probe_list_ops;
		return mmu_notifier_register(&sub->list, mm);
	case HMM_NOTIFY_LIST_START:
		sub->list.ops = &probe_list_start_ops;
		return mmu_notifier_register(&sub->list, mm);
	case HMM_NOTIFY_SHARED:
		return subscribe_shared(sub, mm);
	case HMM_NOTIFY_LIST_LOCKED:
		return subscribe_locked(sub, mm);
	case HMM_NOTIFY_INTERVAL_READ_LOCKED:
		return subscribe_read_locked(sub, call, mm);
	}
	return -EINVAL;
}

static int sub_subscribe(struct probe_sub *sub,
			 const struct hmm_notify_call *call,
			 struct mm_struct *mm)
{
	int rc;

	/* Callbacks may come before this has returned. */
	sub->kind = call->kind;
	sub->first = call->start;
	sub->last = call->start + call->length - 1;
	rc = subscribe_as(sub, call, mm);
	sub->subscribed = !rc;
	return rc;
}

static int sub_remove(struct probe_sub *sub)
{
	if (is_interval(sub))
		mmu_interval_notifier_remove(&sub->interval);
	else if (sub->kind == HMM_NOTIFY_SHARED)
		mmu_notifier_put(&sub->shared->list);
	else
		mmu_notifier_unregister(&sub->list, sub->list.mm);
	sub->subscribed = false;
	return 0;
}

static int sub_retry(struct probe_sub *sub, u64 seq)
{
	guard(spinlock)(&sub->lock);
	return mmu_interval_read_retry(&sub->interval, seq);
}

/* Whatever the sequence is: the API is to judge it. */
static int sub_snapshot(struct probe_sub *sub,
			const struct hmm_notify_call *call,
			struct mm_struct *mm)
{
	unsigned long slot = 0;
	struct hmm_range range = {
		.notifier = &sub->interval,
		.notifier_seq = call->seq,
		.start = call->start & PAGE_MASK,
		.end = (call->start & PAGE_MASK) + PAGE_SIZE,
		.hmm_pfns = &slot,
	};
	int rc;

	if (mm != sub->interval.mm)
		return -EINVAL;
	mmap_read_lock(mm);
	rc = hmm_range_fault(&range);
	mmap_read_unlock(mm);
	return rc;
}

#ifdef _LINUX_MMU_INTERVAL_H
static int sub_remove_async(struct probe_sub *sub)
{
	sub->subscribed = false;
	kref_get(&sub->ref);
	mmu_interval_notifier_remove_async(&sub->interval, probe_sub_gone);
	return 0;
}

static int sub_new_call(struct probe_sub *sub, struct hmm_notify_call *call)
{
	unsigned long seq = 0;
	int rc;

	switch (call->op) {
	case HMM_NOTIFY_REMOVE_ASYNC:
		return sub_remove_async(sub);
	case HMM_NOTIFY_RESIZE:
		return mmu_interval_notifier_resize(&sub->interval, call->start,
						    call->length);
	case HMM_NOTIFY_READ_KILLABLE:
		rc = mmu_interval_read_begin_killable(&sub->interval, &seq);
		break;
	case HMM_NOTIFY_READ_TIMEOUT:
		rc = mmu_interval_read_begin_timeout(&sub->interval,
						     msecs_to_jiffies(call->ms),
						     &seq);
		break;
	default:
		return -EINVAL;
	}
	call->seq = seq;
	return rc;
}
#else
static int sub_new_call(struct probe_sub *sub, struct hmm_notify_call *call)
{
	return -EOPNOTSUPP;
}
#endif

static int sub_interval_call(struct probe_sub *sub,
			     struct hmm_notify_call *call, struct mm_struct *mm)
{
	switch (call->op) {
	case HMM_NOTIFY_READ:
		call->seq = mmu_interval_read_begin(&sub->interval);
		return 0;
	case HMM_NOTIFY_RETRY:
		return sub_retry(sub, call->seq);
	case HMM_NOTIFY_SNAPSHOT:
		return sub_snapshot(sub, call, mm);
	default:
		return sub_new_call(sub, call);
	}
}

static int sub_dispatch(struct probe_sub *sub, struct hmm_notify_call *call,
			struct mm_struct *mm)
{
	if (call->op == HMM_NOTIFY_SUBSCRIBE)
		return sub->subscribed ? -EEXIST : sub_subscribe(sub, call, mm);
	if (!sub->subscribed)
		return -ENOENT;
	if (call->op == HMM_NOTIFY_REMOVE)
		return sub_remove(sub);
	return is_interval(sub) ? sub_interval_call(sub, call, mm) : -EINVAL;
}

static void sub_make_call(struct probe_sub *sub, struct hmm_notify_call *call,
			  struct mm_struct *mm)
{
	call->rc = sub_dispatch(sub, call, mm);
	scoped_guard(spinlock, &sub->lock)
		sub->state.last_rc = call->rc;
}

/* The worker */

static void sub_work(struct work_struct *work)
{
	struct probe_sub *sub = container_of(work, struct probe_sub, work);

	sub_make_call(sub, &sub->call, sub->mm);
	if (sub->mm)
		mmput(sub->mm);
	sub->mm = NULL;
	complete(&sub->done);
	probe_sub_put(sub);
}

static int worker_start(struct probe_sub *sub,
			const struct hmm_notify_call *call,
			struct mm_struct *mm)
{
	/* Others must not keep the address space: it may come to its end. */
	if (call->op != HMM_NOTIFY_SUBSCRIBE && call->op != HMM_NOTIFY_SNAPSHOT)
		mm = NULL;
	else if (!mmget_not_zero(mm))
		return -ESRCH;
	sub->call = *call;
	sub->mm = mm;
	reinit_completion(&sub->done);
	kref_get(&sub->ref);
	queue_work(notify_workers, &sub->work);
	return 0;
}

/* Fetching the result makes room for the next call. */
static int worker_await(struct probe_sub *sub, struct hmm_notify_call *call)
{
	unsigned long ms = min_t(u64, call->patience_ms, PATIENCE_AT_MOST);
	long left = wait_for_completion_killable_timeout(&sub->done,
							 msecs_to_jiffies(ms));

	if (left <= 0)
		return left ? -EINTR : -ETIMEDOUT;
	*call = sub->call;
	clear_bit_unlock(0, &sub->busy);
	return 0;
}

int probe_sub_call(struct probe_sub *sub, struct hmm_notify_call *call,
		   struct mm_struct *mm)
{
	int rc = 0;

	if (test_and_set_bit_lock(0, &sub->busy))
		return -EBUSY;
	if (call->patience_ms) {
		rc = worker_start(sub, call, mm);
		if (!rc)
			return worker_await(sub, call);
	} else {
		sub_make_call(sub, call, mm);
	}
	clear_bit_unlock(0, &sub->busy);
	return rc;
}

/* Lifetime */

/* May be called by the end of an interval, but then it is not subscribed. */
static void sub_free(struct kref *ref)
{
	struct probe_sub *sub = container_of(ref, struct probe_sub, ref);

	if (sub->subscribed)
		sub_remove(sub);
	kvfree(sub);
	module_put(THIS_MODULE);
}

void probe_sub_put(struct probe_sub *sub)
{
	kref_put(&sub->ref, sub_free);
}

static void sub_plan(struct probe_sub *sub, const struct hmm_notify_plan *plan,
		     struct probe_sub *other)
{
	struct probe_sub *old;

	scoped_guard(spinlock, &sub->lock) {
		old = sub->other;
		sub->other = other;
		sub->plan = *plan;
	}
	wake_up_all(&sub->wq);
	if (old)
		probe_sub_put(old);
}

static int notify_open(struct inode *inode, struct file *file)
{
	struct probe_sub *sub = kvzalloc_obj(*sub);

	if (!sub)
		return -ENOMEM;
	/* A call that never comes back outlives the file. */
	__module_get(THIS_MODULE);
	kref_init(&sub->ref);
	spin_lock_init(&sub->lock);
	init_waitqueue_head(&sub->wq);
	init_completion(&sub->held);
	init_completion(&sub->let_go);
	init_completion(&sub->done);
	INIT_WORK(&sub->work, sub_work);
	file->private_data = sub;
	return 0;
}

/* Does not wait for ever: what hangs is left to its worker. */
static int notify_release(struct inode *inode, struct file *file)
{
	struct probe_sub *sub = file->private_data;
	struct hmm_notify_call call = {
		.op = HMM_NOTIFY_REMOVE,
		.patience_ms = CLOSE_MS,
	};
	struct hmm_notify_call last = call;

	sub_plan(sub, &(struct hmm_notify_plan){}, NULL);
	complete_all(&sub->let_go);
	if (!test_bit(0, &sub->busy) || !worker_await(sub, &last))
		probe_sub_call(sub, &call, NULL);
	probe_sub_put(sub);
	return 0;
}

/* ioctls */

static int notify_call(struct probe_sub *sub, void __user *arg, bool begin)
{
	struct hmm_notify_call call;
	int rc;

	if (copy_from_user(&call, arg, sizeof(call)))
		return -EFAULT;
	if (begin)
		rc = probe_sub_call(sub, &call, current->mm);
	else if (test_bit(0, &sub->busy))
		rc = worker_await(sub, &call);
	else
		rc = -EINVAL;
	if (rc)
		return rc;
	return copy_to_user(arg, &call, sizeof(call)) ? -EFAULT : 0;
}

static int notify_plan(struct probe_sub *sub, const void __user *arg)
{
	struct probe_sub *other = NULL;
	struct hmm_notify_plan plan;

	if (copy_from_user(&plan, arg, sizeof(plan)))
		return -EFAULT;
	if (plan.other >= 0) {
		CLASS(fd, file)(plan.other);

		if (fd_empty(file) ||
		    fd_file(file)->f_op->release != notify_release)
			return -EBADF;
		other = fd_file(file)->private_data;
		kref_get(&other->ref);
	}
	reinit_completion(&sub->held);
	reinit_completion(&sub->let_go);
	sub_plan(sub, &plan, other);
	return 0;
}

static int notify_state(struct probe_sub *sub, void __user *arg)
{
	struct hmm_notify_state state;

	scoped_guard(spinlock, &sub->lock)
		state = sub->state;
	state.live = probe_shared_live();
	if (sub->subscribed && sub->kind == HMM_NOTIFY_SHARED)
		state.starts = atomic64_read(&sub->shared->starts);
	return copy_to_user(arg, &state, sizeof(state)) ? -EFAULT : 0;
}

static int notify_record(struct probe_sub *sub, void __user *arg)
{
	struct hmm_notify_record record;

	if (copy_from_user(&record, arg, sizeof(record)))
		return -EFAULT;
	scoped_guard(spinlock, &sub->lock) {
		if (record.index >= sub->state.records)
			return -ENOENT;
		record = sub->records[record.index];
	}
	return copy_to_user(arg, &record, sizeof(record)) ? -EFAULT : 0;
}

static int notify_await_hold(struct probe_sub *sub)
{
	unsigned long most = msecs_to_jiffies(PATIENCE_AT_MOST);
	long left = wait_for_completion_killable_timeout(&sub->held, most);

	if (left > 0)
		return 0;
	return left ? -EINTR : -ETIMEDOUT;
}

static long notify_ioctl(struct file *file, unsigned int cmd,
			 unsigned long arg)
{
	struct probe_sub *sub = file->private_data;
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case HMM_NOTIFY_CALL:
		return notify_call(sub, uarg, true);
	case HMM_NOTIFY_AWAIT:
		return notify_call(sub, uarg, false);
	case HMM_NOTIFY_PLAN:
		return notify_plan(sub, uarg);
	case HMM_NOTIFY_STATE:
		return notify_state(sub, uarg);
	case HMM_NOTIFY_RECORD:
		return notify_record(sub, uarg);
	case HMM_NOTIFY_AWAIT_HOLD:
		return notify_await_hold(sub);
	case HMM_NOTIFY_LET_GO:
		complete(&sub->let_go);
		return 0;
	case HMM_NOTIFY_STAY:
		probe_sub_stay(sub);
		return 0;
	default:
		return -ENOTTY;
	}
}

static const struct file_operations notify_fops = {
	.owner = THIS_MODULE,
	.open = notify_open,
	.release = notify_release,
	.unlocked_ioctl = notify_ioctl,
};

static struct miscdevice notify_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_probe_notify",
	.fops = &notify_fops,
	.mode = 0600,
};

int probe_notify_init(void)
{
	int rc;

	notify_workers = alloc_workqueue("hmm_probe_notify", WQ_UNBOUND, 0);
	if (!notify_workers)
		return -ENOMEM;
	rc = misc_register(&notify_device);
	if (rc)
		destroy_workqueue(notify_workers);
	return rc;
}

void probe_notify_exit(void)
{
	misc_deregister(&notify_device);
	destroy_workqueue(notify_workers);
	mmu_notifier_synchronize();
}
