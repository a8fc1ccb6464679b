// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/hmm_torture, for hmm-torture: the MMU notifiers of the process
 * that opens it are tortured in the manner of rcutorture. The threads of the
 * process do the work, by one ioctl for each operation, so that it can be
 * killed in the middle of all of it.
 *
 * What is looked for:
 *   - a mirror that differs from the page table;
 *   - a callback of a subscription that is gone, or of one that the invalidation
 *     does not overlap;
 *   - a subscription that goes while its callbacks run, or goes twice, or does
 *     not go;
 *   - an end of an invalidation without its start, or a subscription to the
 *     whole address space that is not notified of changes.
 * That operations get on is for the program to see, by the counts.
 */
#include <linux/fs.h>
#include <linux/jhash.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hmm_torture.h"

/* For a release to be called; hmm-torture waits a bit longer for the end. */
#define LONG_ENOUGH	(10 * HZ)

static atomic64_t counts[HMM_TORTURE_COUNTS];
static const char *first_failure;

/* For notifiers that are known to be broken: they may not leave time to report. */
static bool panic_on_failure;
module_param(panic_on_failure, bool, 0444);
MODULE_PARM_DESC(panic_on_failure, "Panic when a check fails");

/* Keep the first one: those after it may be its consequences. */
void torture_fail(const char *what)
{
	if (cmpxchg(&first_failure, NULL, what))
		return;
	if (panic_on_failure)
		panic("hmm_torture: %s", what);
	pr_err("hmm_torture: %s\n", what);
}

void torture_count(enum hmm_torture_count what)
{
	atomic64_inc(&counts[what]);
}

u32 torture_dice(struct torture *torture, u32 sides)
{
	return jhash_1word(atomic_inc_return(&torture->dice), torture->seed) %
	       sides;
}

static void torture_init(struct torture *torture,
			 const struct hmm_torture_arena *arena)
{
	unsigned int i;

	torture->start = arena->start;
	torture->seed = arena->seed;
	torture->quiet = arena->flags & HMM_TORTURE_QUIET;
	torture->crowd = arena->flags & HMM_TORTURE_CROWD;
	for (i = 0; i < TORTURE_SLOTS; i++)
		init_rwsem(&torture->slots[i].sem);
	init_waitqueue_head(&torture->idle);
	spin_lock_init(&torture->dead_lock);
	INIT_LIST_HEAD(&torture->dead);
	INIT_LIST_HEAD(&torture->dead_listers);
	spin_lock_init(&torture->inflight_lock);
	INIT_LIST_HEAD(&torture->inflight);
	INIT_LIST_HEAD(&torture->refused);
}

static int set_up(struct file *file, unsigned long arg)
{
	struct hmm_torture_arena arena;
	struct torture *torture;
	int ret;

	if (copy_from_user(&arena, (void __user *)arg, sizeof(arena)))
		return -EFAULT;
	if (!PAGE_ALIGNED(arena.start))
		return -EINVAL;
	torture = kzalloc_obj(*torture);
	if (!torture)
		return -ENOMEM;

	torture_init(torture, &arena);
	torture->real = current->mm;
	ret = torture_feed(torture);
	if (ret)
		goto free;
	ret = torture_gather(torture);
	if (ret)
		goto starve;
	ret = -EBUSY;
	if (cmpxchg(&file->private_data, NULL, torture))
		goto disperse;
	/* Only compared from now on; the reference prevents address reuse. */
	mmgrab(torture->real);
	return 0;

disperse:
	torture_disperse(torture);
starve:
	torture_starve(torture);
free:
	kfree(torture);
	return ret;
}

/* All subscriptions go, one way or another. False if not. */
static bool remove_all(struct torture *torture)
{
	unsigned int i;

	/* Invalidations may go on, and their callbacks use slots too. */
	WRITE_ONCE(torture->ending, true);
	for (i = 0; i < TORTURE_SLOTS; i++) {
		struct torture_slot *slot = &torture->slots[i];
		struct torture_sub *sub;

		down_write(&slot->sem);
		sub = slot->sub;
		slot->sub = NULL;
		up_write(&slot->sem);
		if (sub && torture_dice(torture, 2))
			torture_remove(sub);
		else if (sub)
			torture_remove_async(sub);
	}
	if (!wait_event_timeout(torture->idle, !atomic_read(&torture->subs),
				LONG_ENOUGH))
		return false;
	/* Wait until the task that buried the last one has dropped the lock. */
	spin_lock(&torture->dead_lock);
	spin_unlock(&torture->dead_lock);
	return true;
}

/* misc_open() leaves the device here. */
static int torture_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL;
	return 0;
}

static int torture_release(struct inode *inode, struct file *file)
{
	struct torture *torture = file->private_data;

	if (!torture)
		return 0;
	if (!remove_all(torture)) {
		/* Whoever still knows them may do so: nothing is freed. */
		torture_fail("a removed subscription was never released");
		return 0;
	}
	torture_disperse(torture);
	torture_starve(torture);
	torture_free_dead(torture);
	torture_free_dead_listers(torture);
	mmdrop(torture->real);
	kfree(torture);
	return 0;
}

static int tell_state(unsigned long arg)
{
	const char *failure = READ_ONCE(first_failure);
	struct hmm_torture_state state = {
		.copy = TORTURE_COPY,
	};
	unsigned int i;

	for (i = 0; i < HMM_TORTURE_COUNTS; i++)
		state.counts[i] = atomic64_read(&counts[i]);
	if (failure)
		strscpy(state.failure, failure);
	return copy_to_user((void __user *)arg, &state, sizeof(state)) ?
		-EFAULT : 0;
}

static long torture_ioctl(struct file *file, unsigned int command,
			  unsigned long arg)
{
	struct torture *torture = READ_ONCE(file->private_data);

	switch (command) {
	case HMM_TORTURE_SET_UP:
		return set_up(file, arg);
	case HMM_TORTURE_STATE:
		return tell_state(arg);
	case HMM_TORTURE_DO:
		/* Children have the file too, and an address space of their own. */
		if (!torture || torture->real != current->mm)
			return -EINVAL;
		return torture_do(torture, arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations torture_fops = {
	.owner = THIS_MODULE,
	.open = torture_open,
	.release = torture_release,
	.unlocked_ioctl = torture_ioctl,
};

static struct miscdevice torture_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_torture",
	.fops = &torture_fops,
};

static int __init torture_module_init(void)
{
	return misc_register(&torture_device);
}

static void __exit torture_module_exit(void)
{
	misc_deregister(&torture_device);
	/* A release function that was called may not have returned. */
	mmu_notifier_synchronize();
}

module_init(torture_module_init);
module_exit(torture_module_exit);
MODULE_DESCRIPTION("Torture of the MMU notifiers");
MODULE_LICENSE("GPL");
