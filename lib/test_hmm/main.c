// SPDX-License-Identifier: GPL-2.0
/*
 * The module, its devices and the dispatch of commands.
 */
#define pr_fmt(fmt)	"test_hmm: " fmt

#include <linux/cdev.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "test_hmm.h"

#define PRIVATE_DEVICES		2
#define COHERENT_DEVICES	2
#define DEVICES			(PRIVATE_DEVICES + COHERENT_DEVICES)

static unsigned long spm_addr[COHERENT_DEVICES];
static unsigned long spm_size[COHERENT_DEVICES] = { SZ_256M, SZ_256M };

module_param_named(spm_addr_dev0, spm_addr[0], ulong, 0444);
MODULE_PARM_DESC(spm_addr_dev0,
		 "Physical address of reserved memory for hmm_dmirror2; 0 for no coherent devices");
module_param_named(spm_addr_dev1, spm_addr[1], ulong, 0444);
MODULE_PARM_DESC(spm_addr_dev1, "The same for hmm_dmirror3; give both or none");
module_param_named(spm_size_dev0, spm_size[0], ulong, 0444);
MODULE_PARM_DESC(spm_size_dev0, "Bytes at spm_addr_dev0, all of which are used (default 256 MiB)");
module_param_named(spm_size_dev1, spm_size[1], ulong, 0444);
MODULE_PARM_DESC(spm_size_dev1, "Bytes at spm_addr_dev1 (default 256 MiB)");

static unsigned long spm_chunk_size = SZ_32M;
module_param(spm_chunk_size, ulong, 0444);
MODULE_PARM_DESC(spm_chunk_size, "Bytes by which a coherent device grows (default 32 MiB)");

static unsigned long private_chunk_size = SZ_256M;
module_param(private_chunk_size, ulong, 0444);
MODULE_PARM_DESC(private_chunk_size, "Bytes by which a private device grows (default 256 MiB)");

static unsigned int private_max_order = UINT_MAX;
module_param(private_max_order, uint, 0444);
MODULE_PARM_DESC(private_max_order,
		 "Largest folio order in private memory (default: that of a PMD)");

static unsigned int spm_max_order = UINT_MAX;
module_param(spm_max_order, uint, 0444);
MODULE_PARM_DESC(spm_max_order, "Largest folio order in coherent memory (default: that of a PMD)");

static struct dmirror_device *dmirror_devices[DEVICES];
static struct dentry *dmirror_debugfs;
static dev_t dmirror_first_dev;

static const struct dmirror_command {
	unsigned int	number;
	int		(*run)(struct dmirror_call *call);
} range_commands[] = {
	{ HMM_DMIRROR_READ,		dmirror_read },
	{ HMM_DMIRROR_WRITE,		dmirror_write },
	{ HMM_DMIRROR_MIGRATE_TO_DEV,	dmirror_migrate_to_device },
	{ HMM_DMIRROR_MIGRATE_TO_SYS,	dmirror_migrate_to_system },
	{ HMM_DMIRROR_SNAPSHOT,		dmirror_snapshot },
	{ HMM_DMIRROR_EXCLUSIVE,	dmirror_exclusive },
	{ HMM_DMIRROR_CHECK_EXCLUSIVE,	dmirror_check_exclusive },
	{ HMM_DMIRROR_READ_UNLOCKED,	dmirror_read_unlocked },
	{ HMM_DMIRROR_ATOMIC_ADD,	dmirror_atomic_add },
	{ HMM_DMIRROR_PLACE,		dmirror_place },
};

/* The range of a command; the command handles the fields after it. */
static int dmirror_call_init(struct dmirror_call *call, const struct hmm_dmirror_cmd *cmd)
{
	u64 size;

	if (!PAGE_ALIGNED(cmd->addr) || !cmd->npages)
		return -EINVAL;
	if (check_mul_overflow(cmd->npages, (u64)PAGE_SIZE, &size) ||
	    cmd->addr > ULONG_MAX || size > ULONG_MAX - cmd->addr)
		return -EINVAL;
	call->start = cmd->addr;
	call->end = cmd->addr + size;
	call->ptr = cmd->ptr;
	return 0;
}

/* Run a command on a range, with a reference that keeps the address space. */
static int dmirror_run_on_range(struct dmirror_file *file, int (*run)(struct dmirror_call *call),
				struct hmm_dmirror_cmd *cmd)
{
	struct dmirror_call call = { .file = file };
	struct mm_struct *mm;
	int ret;

	ret = dmirror_call_init(&call, cmd);
	if (ret)
		return ret;
	call.mirror = dmirror_get(file);
	mm = call.mirror->notifier.mm;
	ret = -ESRCH;
	if (mmget_not_zero(mm)) {
		ret = run(&call);
		mmput(mm);
	}
	dmirror_put(call.mirror);
	cmd->cpages = call.cpages;
	cmd->faults = call.faults;
	return ret;
}

/* The commands that 7.3 has, and those of their form */
static int dmirror_ioctl_command(struct dmirror_file *file, unsigned int number, void __user *arg)
{
	struct hmm_dmirror_cmd cmd;
	unsigned int i;
	int ret = -EINVAL;

	if (copy_from_user(&cmd, arg, sizeof(cmd)))
		return -EFAULT;
	cmd.cpages = 0;
	cmd.faults = 0;

	if (number == HMM_DMIRROR_RELEASE)
		ret = dmirror_release(file->device, file);
	else if (number == HMM_DMIRROR_FLAGS)
		ret = dmirror_flags_set(file, cmd.npages);
	else
		for (i = 0; i < ARRAY_SIZE(range_commands); i++)
			if (range_commands[i].number == number)
				ret = dmirror_run_on_range(file, range_commands[i].run, &cmd);

	if (copy_to_user(arg, &cmd, sizeof(cmd)))
		return -EFAULT;
	return ret;
}

static int dmirror_ioctl_attach(struct dmirror_file *file, void __user *arg)
{
	struct hmm_dmirror_attach args;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	return dmirror_attach(file, &args);
}

static int dmirror_ioctl_counters(struct dmirror_file *file, void __user *arg)
{
	struct hmm_dmirror_counters counters;

	dmirror_counters_read(file->device, &counters);
	return copy_to_user(arg, &counters, sizeof(counters)) ? -EFAULT : 0;
}

static int dmirror_ioctl_evict(struct dmirror_file *file, void __user *arg)
{
	struct hmm_dmirror_evict result;
	unsigned long evicted;

	result.remaining = dmirror_evict(file->device, file, &evicted);
	result.evicted = evicted;
	return copy_to_user(arg, &result, sizeof(result)) ? -EFAULT : 0;
}

static int dmirror_ioctl_failpoint(struct dmirror_file *file, void __user *arg)
{
	struct hmm_dmirror_failpoint args;
	int ret;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	ret = dmirror_failpoint_set(file, &args);
	if (!ret && copy_to_user(arg, &args, sizeof(args)))
		ret = -EFAULT;
	return ret;
}

static int dmirror_ioctl_hold(struct dmirror_file *file, void __user *arg)
{
	u64 steps;

	if (copy_from_user(&steps, arg, sizeof(steps)))
		return -EFAULT;
	return dmirror_hold_set(file, steps);
}

static long dmirror_ioctl(struct file *filp, unsigned int number, unsigned long arg)
{
	struct dmirror_file *file = filp->private_data;
	void __user *uarg = (void __user *)arg;

	switch (number) {
	case HMM_DMIRROR_ATTACH:
		return dmirror_ioctl_attach(file, uarg);
	case HMM_DMIRROR_COUNTERS:
		return dmirror_ioctl_counters(file, uarg);
	case HMM_DMIRROR_EVICT:
		return dmirror_ioctl_evict(file, uarg);
	case HMM_DMIRROR_FAILPOINT:
		return dmirror_ioctl_failpoint(file, uarg);
	case HMM_DMIRROR_HOLD:
		return dmirror_ioctl_hold(file, uarg);
	case HMM_DMIRROR_AWAIT_HOLD:
		return dmirror_hold_await(file);
	case HMM_DMIRROR_GO_ON:
		return dmirror_hold_end(file);
	default:
		return dmirror_ioctl_command(file, number, uarg);
	}
}

static int dmirror_open(struct inode *inode, struct file *filp)
{
	struct dmirror_device *device = container_of(inode->i_cdev, struct dmirror_device, cdev);
	struct dmirror_file *file;

	if (!current->mm)
		return -EINVAL;
	file = kzalloc_obj(*file);
	if (!file)
		return -ENOMEM;
	file->device = device;
	dmirror_hold_init(file);
	file->mirror = dmirror_create(device, current->mm);
	if (IS_ERR(file->mirror)) {
		int ret = PTR_ERR(file->mirror);

		kfree(file);
		return ret;
	}

	spin_lock(&device->files_lock);
	list_add_tail(&file->node, &device->files);
	spin_unlock(&device->files_lock);
	filp->private_data = file;
	return 0;
}

/* The last close of a device evicts its pages. Its chunks stay. */
static int dmirror_close(struct inode *inode, struct file *filp)
{
	struct dmirror_file *file = filp->private_data;
	struct dmirror_device *device = file->device;
	unsigned long remaining;
	bool last;

	spin_lock(&device->files_lock);
	list_del(&file->node);
	last = list_empty(&device->files);
	spin_unlock(&device->files_lock);
	dmirror_put(file->mirror);
	kfree(file);

	if (last) {
		remaining = dmirror_evict(device, NULL, NULL);
		if (remaining)
			dev_info(&device->dev, "%lu pages could not be evicted\n", remaining);
	}
	return 0;
}

/* A mapping of ordinary pages, as drivers map their buffers */
static int dmirror_mmap(struct file *filp, struct vm_area_struct *vma)
{
	unsigned long addr;
	int ret = 0;

	for (addr = vma->vm_start; addr < vma->vm_end && !ret; addr += PAGE_SIZE) {
		struct page *page;

		if (fatal_signal_pending(current))
			return -EINTR;
		page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!page)
			return -ENOMEM;
		ret = vm_insert_page(vma, addr, page);
		put_page(page);
		cond_resched();
	}
	return ret;
}

static const struct file_operations dmirror_fops = {
	.owner		= THIS_MODULE,
	.open		= dmirror_open,
	.release	= dmirror_close,
	.unlocked_ioctl	= dmirror_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.mmap		= dmirror_mmap,
};

static void dmirror_device_free(struct device *dev)
{
	kfree(container_of(dev, struct dmirror_device, dev));
}

/* Allocates and initialises the structure only. */
static struct dmirror_device *dmirror_device_alloc(unsigned int minor)
{
	struct dmirror_device *device = kzalloc_obj(*device);

	if (!device)
		return NULL;
	mutex_init(&device->chunk_lock);
	INIT_LIST_HEAD(&device->chunks);
	spin_lock_init(&device->lock);
	INIT_LIST_HEAD(&device->free_blocks);
	INIT_LIST_HEAD(&device->partial_blocks);
	spin_lock_init(&device->files_lock);
	INIT_LIST_HEAD(&device->files);

	if (minor < PRIVATE_DEVICES) {
		device->chunk_size = private_chunk_size;
		device->max_order = min(private_max_order, HPAGE_PMD_ORDER);
	} else {
		unsigned int which = minor - PRIVATE_DEVICES;

		device->coherent = true;
		device->spm.start = spm_addr[which];
		device->spm.end = spm_addr[which] + spm_size[which] - 1;
		device->chunk_size = spm_chunk_size;
		device->max_order = min(spm_max_order, HPAGE_PMD_ORDER);
	}

	device_initialize(&device->dev);
	device->dev.devt = MKDEV(MAJOR(dmirror_first_dev), minor);
	device->dev.release = dmirror_device_free;
	return device;
}

/*
 * Create the device with its first chunk, so that wrong parameters are found
 * early.
 */
static int dmirror_device_create(unsigned int minor)
{
	struct dmirror_device *device = dmirror_device_alloc(minor);
	int ret;

	if (!device)
		return -ENOMEM;
	ret = dev_set_name(&device->dev, "hmm_dmirror%u", minor);
	if (ret)
		goto put;

	mutex_lock(&device->chunk_lock);
	ret = dmirror_chunk_add(device);
	mutex_unlock(&device->chunk_lock);
	if (ret) {
		pr_err("no memory for hmm_dmirror%u: %d\n", minor, ret);
		goto put;
	}

	cdev_init(&device->cdev, &dmirror_fops);
	device->cdev.owner = THIS_MODULE;
	ret = cdev_device_add(&device->cdev, &device->dev);
	if (ret)
		goto release;
	dmirror_counters_create(device, dmirror_debugfs);
	dmirror_devices[minor] = device;
	return 0;
release:
	dmirror_release(device, NULL);
put:
	put_device(&device->dev);
	return ret;
}

/* No file is open and no page is in use: each would pin the module. */
static void dmirror_device_destroy(unsigned int minor)
{
	struct dmirror_device *device = dmirror_devices[minor];

	if (!device)
		return;
	dmirror_devices[minor] = NULL;
	debugfs_remove_recursive(device->debugfs);
	cdev_device_del(&device->cdev, &device->dev);
	WARN_ON(dmirror_release(device, NULL));
	put_device(&device->dev);
}

static bool dmirror_chunk_size_valid(unsigned long size)
{
	return size && IS_ALIGNED(size, HPAGE_PMD_SIZE) &&
	       IS_ALIGNED(size, memremap_compat_align());
}

static bool dmirror_spm_valid(unsigned int which)
{
	unsigned long addr = spm_addr[which], size = spm_size[which];

	return dmirror_chunk_size_valid(addr) && size >= spm_chunk_size &&
	       size - 1 <= ULONG_MAX - addr &&
	       region_intersects(addr, size, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) ==
		       REGION_DISJOINT;
}

static bool dmirror_parameters_valid(unsigned int nr_devices)
{
	unsigned long low = min(spm_addr[0], spm_addr[1]);
	unsigned long high = max(spm_addr[0], spm_addr[1]);

	if (!dmirror_chunk_size_valid(private_chunk_size) ||
	    !dmirror_chunk_size_valid(spm_chunk_size))
		return false;
	if (nr_devices == PRIVATE_DEVICES)
		return true;
	return dmirror_spm_valid(0) && dmirror_spm_valid(1) &&
	       high - low >= (low == spm_addr[0] ? spm_size[0] : spm_size[1]);
}

static int __init dmirror_init(void)
{
	unsigned int nr_devices = spm_addr[0] && spm_addr[1] ? DEVICES : PRIVATE_DEVICES;
	unsigned int minor;
	int ret;

	if (!dmirror_parameters_valid(nr_devices)) {
		pr_err("sizes and addresses must be aligned; ranges must not overlap each other or system memory\n");
		return -EINVAL;
	}
	ret = alloc_chrdev_region(&dmirror_first_dev, 0, DEVICES, "HMM_DMIRROR");
	if (ret)
		return ret;
	dmirror_debugfs = debugfs_create_dir("test_hmm", NULL);

	for (minor = 0; minor < nr_devices; minor++) {
		ret = dmirror_device_create(minor);
		if (ret)
			goto destroy;
	}
	return 0;

destroy:
	while (minor--)
		dmirror_device_destroy(minor);
	debugfs_remove_recursive(dmirror_debugfs);
	unregister_chrdev_region(dmirror_first_dev, DEVICES);
	return ret;
}
module_init(dmirror_init);

static void __exit dmirror_exit(void)
{
	unsigned int minor;

	for (minor = 0; minor < DEVICES; minor++)
		dmirror_device_destroy(minor);
	debugfs_remove_recursive(dmirror_debugfs);
	unregister_chrdev_region(dmirror_first_dev, DEVICES);
}
module_exit(dmirror_exit);

MODULE_DESCRIPTION("Dummy devices to test heterogeneous memory management");
MODULE_LICENSE("GPL");
