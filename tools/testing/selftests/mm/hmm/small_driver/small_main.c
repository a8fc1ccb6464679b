// SPDX-License-Identifier: GPL-2.0
/*
 * The character device: a file mirrors the process that has opened it.
 */
#include <linux/device_exclusive.h>
#include <linux/fs.h>
#include <linux/hmm-migrate.h>
#include <linux/memremap.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "small_driver.h"

#define SMALL_TRIES	100	/* faults until an access succeeds */

/* The device reads a page into @data, or writes it. */
static int small_access(struct small_mirror *mirror, unsigned long addr,
			void *data, bool write)
{
	unsigned int tries;
	struct page *page;
	int ret = -EBUSY;

	for (tries = 0; tries < SMALL_TRIES; tries++) {
		mutex_lock(&mirror->lock);
		page = small_table_get(mirror, addr, write);
		if (page && write)
			small_hardware_write(page, data);
		else if (page)
			small_hardware_read(page, data);
		mutex_unlock(&mirror->lock);
		if (page)
			return 0;
		ret = small_fault(mirror, addr, addr + PAGE_SIZE, write, NULL);
		if (ret)
			break;
		ret = -EBUSY;
	}
	return ret;
}

/* The device accesses the process, page after page. */
static int small_transfer(struct small_mirror *mirror, struct small_call *call,
			  bool write)
{
	void *data = kmalloc(PAGE_SIZE, GFP_KERNEL);
	unsigned long i;
	int ret = data ? 0 : -ENOMEM;

	for (i = 0; i < call->npages && !ret; i++) {
		void __user *user = u64_to_user_ptr(call->buffer + i * PAGE_SIZE);

		if (write && copy_from_user(data, user, PAGE_SIZE))
			ret = -EFAULT;
		if (!ret)
			ret = small_access(mirror, call->addr + i * PAGE_SIZE,
					   data, write);
		if (!ret && !write && copy_to_user(user, data, PAGE_SIZE))
			ret = -EFAULT;
	}
	kfree(data);
	return ret;
}

/* For tests: where is the page at the address, and how is it mapped? */
static int small_look(struct small_mirror *mirror, struct small_call *call)
{
	unsigned long pfn = 0;
	struct hmm_range range = {
		.notifier = &mirror->notifier,
		.start = call->addr,
		.end = call->addr + PAGE_SIZE,
		.hmm_pfns = &pfn,
		.default_flags = HMM_RANGE_PTE_ORDERS,
		.dev_private_owner = &small_pgmap,
	};
	int ret;

	ret = hmm_range_fault_unlocked_timeout(&range,
					       HMM_RANGE_DEFAULT_JIFFIES);
	if (ret)
		return ret;
	call->on_device = pfn & HMM_PFN_VALID &&
			  is_device_private_page(hmm_pfn_to_page(pfn));
	call->order = hmm_pfn_to_map_order(pfn);
	return 0;
}

/* For tests: what the device can do without a fault */
static int small_table(struct small_mirror *mirror, struct small_call *call,
		       unsigned long end)
{
	unsigned long addr;

	call->ready = 0;
	guard(mutex)(&mirror->lock);
	for (addr = call->addr; addr < end; addr += PAGE_SIZE) {
		struct page *page = small_table_get(mirror, addr, true);

		if (page && is_device_private_page(page))
			call->ready++;
	}
	return 0;
}

/* For tests: a device that cannot be programmed, as if changes never ended */
static int small_stall_program(struct hmm_commit *commit)
{
	return -EAGAIN;
}

static int small_stall(struct small_mirror *mirror, struct small_call *call)
{
	unsigned long pfn = 0;
	struct hmm_range range = {
		.notifier = &mirror->notifier,
		.start = call->addr,
		.end = call->addr + PAGE_SIZE,
		.hmm_pfns = &pfn,
		.default_flags = HMM_PFN_REQ_FAULT,
		.dev_private_owner = &small_pgmap,
	};
	struct hmm_commit commit = {
		.range = &range,
		.timeout = msecs_to_jiffies(call->timeout_ms),
		.mutex = &mirror->lock,
		.program = small_stall_program,
	};

	return hmm_range_commit(&commit);
}

/* For tests: a device that refuses */
struct small_busy {
	struct device_exclusive_commit commit;
	unsigned long asked;
};

static int small_busy_program(struct device_exclusive_commit *commit,
			      unsigned long addr, struct page **pages,
			      unsigned long npages)
{
	container_of(commit, struct small_busy, commit)->asked++;
	return -EBUSY;
}

static int small_busy(struct small_mirror *mirror, struct small_call *call)
{
	struct small_busy busy = {
		.commit = {
			.notifier = &mirror->notifier,
			.start = call->addr,
			.end = call->addr + PAGE_SIZE,
			.owner = mirror,
			.timeout = msecs_to_jiffies(call->timeout_ms),
			.mutex = &mirror->lock,
			.program = small_busy_program,
		},
	};
	int ret = device_exclusive_commit(&busy.commit);

	call->moved = busy.asked;
	return ret;
}

/* For tests: callbacks of placements that are refused */
static void small_no_lock(struct hmm_migrate *place)
{
}

static int small_no_copy(struct hmm_migrate *place, struct migrate_vma *part)
{
	return -EIO;
}

static int small_no_map(struct hmm_migrate *place, struct hmm_range *part)
{
	return -EIO;
}

static struct folio *small_no_folio(void *arg, unsigned int order)
{
	return NULL;
}

static int small_no_transfer(void *arg, const unsigned long *src,
			     unsigned long *dst, unsigned long npages)
{
	return -EIO;
}

/* Bit n of @parts: has the placement the nth of its callbacks, or its mutex? */
static int small_place_with(struct small_mirror *mirror,
			    struct small_call *call, unsigned long parts)
{
	unsigned long pfn, src, dst;
	struct hmm_migrate place = {
		.range = {
			.notifier = &mirror->notifier,
			.start = call->addr,
			.end = call->addr + PAGE_SIZE,
			.hmm_pfns = &pfn,
			.default_flags = HMM_PFN_REQ_FAULT,
			.dev_private_owner = &small_pgmap,
		},
		.src = &src,
		.dst = &dst,
		.mutex = parts & BIT(0) ? &mirror->lock : NULL,
		.alloc = parts & BIT(3) ? small_no_folio : NULL,
		.copy = parts & BIT(4) ? small_no_transfer : NULL,
	};
	const struct hmm_migrate_ops ops = {
		.lock = parts & BIT(1) ? small_no_lock : NULL,
		.unlock = parts & BIT(2) ? small_no_lock : NULL,
		.copy = parts & BIT(5) ? small_no_copy : NULL,
		.map = parts & BIT(6) ? small_no_map : NULL,
	};

	return hmm_range_migrate(&place, &ops, HMM_RANGE_DEFAULT_JIFFIES);
}

/* For tests: what becomes of placements with callbacks too few or too many */
static int small_misplace(struct small_mirror *mirror, struct small_call *call)
{
	unsigned long parts;

	call->moved = 0;
	call->failed = 0;
	for (parts = 0; parts < BIT(7); parts++) {
		int ret = small_place_with(mirror, call, parts);

		if (ret == -EIO)
			call->moved++;
		else if (ret == -EINVAL)
			call->failed++;
	}
	return 0;
}

/* For tests: the VMA stays, as the caller has no other thread. */
static int small_unlocked(struct small_mirror *mirror, struct small_call *call)
{
	struct mm_struct *mm = mirror->notifier.mm;
	unsigned long src = 0, dst = 0;
	struct migrate_vma migrate = {
		.start = call->addr,
		.end = call->addr + PAGE_SIZE,
		.src = &src,
		.dst = &dst,
		.flags = MIGRATE_VMA_SELECT_SYSTEM,
	};
	int ret;

	mmap_read_lock(mm);
	migrate.vma = vma_lookup(mm, call->addr);
	mmap_read_unlock(mm);
	ret = migrate_vma_setup(&migrate);
	if (ret)
		return ret;
	migrate_vma_pages(&migrate);
	migrate_vma_finalize(&migrate);
	return 0;
}

static int small_command(struct small_mirror *mirror, unsigned int command,
			 struct small_call *call, unsigned long end)
{
	switch (command) {
	case SMALL_READ:
		return small_transfer(mirror, call, false);
	case SMALL_WRITE:
		return small_transfer(mirror, call, true);
	case SMALL_TO_DEVICE:
		return small_migrate(mirror, call->addr, end, true, call);
	case SMALL_TO_SYSTEM:
		return small_migrate(mirror, call->addr, end, false, call);
	case SMALL_PLACE:
		call->moved = 0;
		return small_fault(mirror, call->addr, end, true, call);
	case SMALL_EVICT:
		return small_evict(call);
	case SMALL_ADD:
		return small_add(mirror, call->addr, end,
				 msecs_to_jiffies(call->timeout_ms));
	case SMALL_RESIZE:
		return small_resize(mirror, call->addr, end - call->addr);
	case SMALL_LOOK:
		return small_look(mirror, call);
	case SMALL_STALL:
		return small_stall(mirror, call);
	case SMALL_UNLOCKED:
		return small_unlocked(mirror, call);
	case SMALL_MISPLACE:
		return small_misplace(mirror, call);
	case SMALL_BUSY:
		return small_busy(mirror, call);
	case SMALL_TABLE:
		return small_table(mirror, call, end);
	}
	return -ENOTTY;
}

/* Is the range of a command valid? */
static bool small_end(unsigned int command, const struct small_call *call,
		      u64 *end)
{
	u64 length;

	if (command == SMALL_RESIZE && !call->npages) {
		*end = 0;	/* after the last byte of the address space */
		return PAGE_ALIGNED(call->addr);
	}
	return call->npages && PAGE_ALIGNED(call->addr) &&
	       !check_mul_overflow(call->npages, PAGE_SIZE, &length) &&
	       !check_add_overflow(call->addr, length, end) &&
	       *end <= TASK_SIZE_MAX;
}

static long small_ioctl(struct file *file, unsigned int command,
			unsigned long arg)
{
	struct small_mirror *mirror = file->private_data;
	struct small_call __user *user = (void __user *)arg;
	struct mm_struct *mm = mirror->notifier.mm;
	struct small_call call;
	u64 end;
	int ret;

	if (copy_from_user(&call, user, sizeof(call)))
		return -EFAULT;
	if (!small_end(command, &call, &end))
		return -EINVAL;
	if (!mmget_not_zero(mm))
		return -ESRCH;
	ret = small_command(mirror, command, &call, end);
	mmput(mm);
	call.in_use = small_hardware_in_use();
	call.cleared = small_hardware_cleared();
	if (copy_to_user(user, &call, sizeof(call)))
		return -EFAULT;
	return ret;
}

static int small_open(struct inode *inode, struct file *file)
{
	struct small_mirror *mirror = small_mirror_create(current->mm);

	if (IS_ERR(mirror))
		return PTR_ERR(mirror);
	file->private_data = mirror;
	return 0;
}

static int small_release(struct inode *inode, struct file *file)
{
	small_mirror_destroy(file->private_data);
	return 0;
}

static const struct file_operations small_fops = {
	.owner = THIS_MODULE,
	.open = small_open,
	.release = small_release,
	.unlocked_ioctl = small_ioctl,
};

static struct miscdevice small_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "small_driver",
	.fops = &small_fops,
};

static int __init small_init(void)
{
	int ret = small_memory_create();

	if (ret)
		return ret;
	ret = misc_register(&small_misc);
	if (ret)
		small_memory_destroy();
	return ret;
}
module_init(small_init);

static void __exit small_exit(void)
{
	misc_deregister(&small_misc);
	small_memory_destroy();
}
module_exit(small_exit);

MODULE_DESCRIPTION("small driver of a device with private memory");
MODULE_LICENSE("GPL");
