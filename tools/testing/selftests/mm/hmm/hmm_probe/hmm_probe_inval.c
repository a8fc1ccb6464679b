// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/hmm_probe_inval: invalidations that stay in flight until a command ends them.
 *
 * The kernel does not export what begins and ends an invalidation where there
 * are subscriptions. The test finds it in /proc/kallsyms, and functions of the
 * same name call it here.
 */
#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "hmm_probe.h"
#include "hmm_probe_inval.h"

/* A test that dies must not stop the machine. */
#define AT_MOST	(30 * HZ)

/**
 * struct probe_group - an open file
 * @in_flight: invalidations that have begun and not ended
 * @begun: waits for more of them
 * @over: they must end
 * @end: waits for that
 * @odd_lock: of @odd
 * @odd: for single calls
 */
struct probe_group {
	atomic_t in_flight;
	wait_queue_head_t begun;
	bool over;
	wait_queue_head_t end;
	struct mutex odd_lock;	/* see above */
	struct probe_odd odd;
};

/* What is not exported; set before any invalidation is made */

static void (*kernel_end)(struct mmu_notifier_range *range);
#ifdef _LINUX_MMU_INTERVAL_H
static int (*kernel_start)(struct mmu_notifier_range *range,
			   struct mmu_invalidation_count __percpu *count);
static void (*kernel_wake)(struct mm_struct *mm);

int
__mmu_notifier_invalidate_range_start(struct mmu_notifier_range *range,
				      struct mmu_invalidation_count __percpu *count)
{
	return kernel_start(range, count);
}
#else
static int (*kernel_start)(struct mmu_notifier_range *range);

int __mmu_notifier_invalidate_range_start(struct mmu_notifier_range *range)
{
	return kernel_start(range);
}
#endif

void __mmu_notifier_invalidate_range_end(struct mmu_notifier_range *range)
{
	kernel_end(range);
}

#ifdef _LINUX_MMU_INTERVAL_H
void __mmu_notifier_wake(struct mm_struct *mm)
{
	kernel_wake(mm);
}
#endif

#ifdef CONFIG_LOCKDEP
struct lockdep_map __mmu_notifier_invalidate_range_start_map = {
	.name = "hmm_probe_inval_start"
};

#ifdef _LINUX_MMU_INTERVAL_H
struct lockdep_map __mmu_notifier_inflight_map = {
	.name = "hmm_probe_inval"
};
#endif
#endif

static int inval_symbols(const void __user *arg)
{
	struct hmm_inval_symbols symbols;

	if (copy_from_user(&symbols, arg, sizeof(symbols)))
		return -EFAULT;
	/* CFI: indirect calls need functions whose address is taken. */
	if (cpu_feature_enabled(X86_FEATURE_IBT))
		return -EOPNOTSUPP;
	if (!symbols.start || !symbols.end)
		return -EINVAL;
#ifdef _LINUX_MMU_INTERVAL_H
	if (!symbols.wake)
		return -EINVAL;
	kernel_wake = (void *)symbols.wake;
#endif
	kernel_end = (void *)symbols.end;
	kernel_start = (void *)symbols.start;
	return 0;
}

/* Invalidations */

static int stay_in_flight(struct probe_group *group)
{
	long left;

	atomic_inc(&group->in_flight);
	wake_up_all(&group->begun);
	left = wait_event_killable_timeout(group->end, READ_ONCE(group->over),
					   AT_MOST);
	atomic_dec(&group->in_flight);
	if (left > 0)
		return 0;
	return left ? -EINTR : -ETIMEDOUT;
}

static int make_invalidation(struct probe_group *group,
			     const struct hmm_inval *inval)
{
	struct mmu_notifier_range range;
	int rc;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, current->mm,
				inval->start, inval->end);
	mmu_notifier_invalidate_range_start(&range);
	if (inval->flags & HMM_INVAL_UNBALANCED)
		return 0;
	rc = stay_in_flight(group);
	mmu_notifier_invalidate_range_end(&range);
	return rc;
}

static int inval_make(struct probe_group *group, const void __user *arg)
{
	struct hmm_inval inval;
	int rc;

	if (copy_from_user(&inval, arg, sizeof(inval)))
		return -EFAULT;
	if (inval.flags & ~(HMM_INVAL_MMAP_LOCK | HMM_INVAL_UNBALANCED) ||
	    inval.start >= inval.end || !kernel_start)
		return -EINVAL;
	if (!(inval.flags & HMM_INVAL_MMAP_LOCK))
		return make_invalidation(group, &inval);
	rc = mmap_read_lock_killable(current->mm);
	if (rc)
		return rc;
	rc = make_invalidation(group, &inval);
	mmap_read_unlock(current->mm);
	return rc;
}

/* Interruptible: tests tell the two kinds of sleep apart. */
static int inval_await(struct probe_group *group, const u64 __user *arg)
{
	long left;
	u64 n;

	if (get_user(n, arg))
		return -EFAULT;
	left = wait_event_interruptible_timeout(group->begun,
						atomic_read(&group->in_flight) >= n,
						AT_MOST);
	if (left > 0)
		return 0;
	return left ? -EINTR : -ETIMEDOUT;
}

/* The file */

static int inval_odd(struct probe_group *group, void __user *arg)
{
	struct hmm_odd call;
	int rc;

	if (copy_from_user(&call, arg, sizeof(call)))
		return -EFAULT;
	scoped_guard(mutex, &group->odd_lock)
		rc = probe_odd_call(&group->odd, &call);
	if (rc)
		return rc;
	return copy_to_user(arg, &call, sizeof(call)) ? -EFAULT : 0;
}

static int inval_sizes(void __user *arg)
{
	const struct hmm_sizes sizes = {
		.range = sizeof(struct mmu_notifier_range),
		.interval = sizeof(struct mmu_interval_notifier),
		.list = sizeof(struct mmu_notifier),
	};

	return copy_to_user(arg, &sizes, sizeof(sizes)) ? -EFAULT : 0;
}

#if defined(CONFIG_LOCKDEP) && defined(_LINUX_MMU_INTERVAL_H)
/* What lockdep reports of a lock that is held on the way to user space */
static const struct held_lock *inval_held(void)
{
	int i;

	for (i = 0; i < current->lockdep_depth; i++)
		if (current->held_locks[i].instance ==
		    &__mmu_notifier_inflight_map)
			return &current->held_locks[i];
	return NULL;
}

static noinline int inval_starter(void __user *arg)
{
	struct hmm_inval_starter starter = {};
	struct mmu_notifier_range range;
	const struct held_lock *held;

	if (!kernel_start)
		return -EINVAL;
	if (!debug_locks)
		return -EOPNOTSUPP;
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, current->mm, 0,
				PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	held = inval_held();
	if (held)
		snprintf(starter.name, sizeof(starter.name), "%ps",
			 (void *)held->acquire_ip);
	mmu_notifier_invalidate_range_end(&range);
	starter.held_after = inval_held() ? 1 : 0;
	return copy_to_user(arg, &starter, sizeof(starter)) ? -EFAULT : 0;
}
#else
static int inval_starter(void __user *arg)
{
	return -EOPNOTSUPP;
}
#endif

static long inval_ioctl(struct file *file, unsigned int cmd,
			unsigned long arg)
{
	struct probe_group *group = file->private_data;
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case HMM_INVAL_MAKE:
		return inval_make(group, uarg);
	case HMM_INVAL_AWAIT:
		return inval_await(group, uarg);
	case HMM_INVAL_COUNT:
		return put_user((u64)atomic_read(&group->in_flight),
				(u64 __user *)uarg);
	case HMM_INVAL_END:
		WRITE_ONCE(group->over, true);
		wake_up_all(&group->end);
		return 0;
	case HMM_INVAL_ODD:
		return inval_odd(group, uarg);
	case HMM_INVAL_SIZES:
		return inval_sizes(uarg);
	case HMM_INVAL_SYMBOLS:
		return inval_symbols(uarg);
	case HMM_INVAL_STARTER:
		return inval_starter(uarg);
	default:
		return -ENOTTY;
	}
}

static int inval_open(struct inode *inode, struct file *file)
{
	struct probe_group *group = kzalloc_obj(*group);

	if (!group)
		return -ENOMEM;
	init_waitqueue_head(&group->begun);
	init_waitqueue_head(&group->end);
	mutex_init(&group->odd_lock);
	file->private_data = group;
	return 0;
}

static int inval_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static const struct file_operations inval_fops = {
	.owner = THIS_MODULE,
	.open = inval_open,
	.release = inval_release,
	.unlocked_ioctl = inval_ioctl,
};

static struct miscdevice inval_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_probe_inval",
	.fops = &inval_fops,
	.mode = 0600,
};

int probe_inval_init(void)
{
	return misc_register(&inval_device);
}

void probe_inval_exit(void)
{
	misc_deregister(&inval_device);
}
