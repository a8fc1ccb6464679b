// SPDX-License-Identifier: GPL-2.0
/*
 * The module, its devices and the commands they take.
 */
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
MODULE_PARM_DESC(spm_addr_dev0, "Physical address of reserved memory for hmm_dmirror2; 0 for no coherent devices");
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
MODULE_PARM_DESC(private_max_order, "Largest folio order in private memory (default: that of a PMD)");

static unsigned int spm_max_order = UINT_MAX;
module_param(spm_max_order, uint, 0444);
MODULE_PARM_DESC(spm_max_order, "Largest folio order in coherent memory (default: that of a PMD)");

static struct thmm_device *devices[DEVICES];
static struct dentry *debugfs_root;
static dev_t first_dev;

static const struct command {
	unsigned int	number;
	int		(*run)(struct thmm_call *call);
} range_commands[] = {
	{ HMM_DMIRROR_READ,		thmm_read },
	{ HMM_DMIRROR_WRITE,		thmm_write },
	{ HMM_DMIRROR_MIGRATE_TO_DEV,	thmm_migrate_to_device },
	{ HMM_DMIRROR_MIGRATE_TO_SYS,	thmm_migrate_to_system },
	{ HMM_DMIRROR_SNAPSHOT,		thmm_snapshot },
	{ HMM_DMIRROR_EXCLUSIVE,	thmm_exclusive },
	{ HMM_DMIRROR_CHECK_EXCLUSIVE,	thmm_check_exclusive },
	{ HMM_DMIRROR_READ_UNLOCKED,	thmm_read_unlocked },
	{ HMM_DMIRROR_ATOMIC_ADD,	thmm_atomic_add },
};

/* The range of a command; the command handles the fields after it. */
static int call_init(struct thmm_call *call, const struct hmm_dmirror_cmd *cmd)
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

/* Run a command on a range while its process cannot exit. */
static int run_on_range(struct thmm_file *file, int (*run)(struct thmm_call *call),
			struct hmm_dmirror_cmd *cmd)
{
	struct thmm_call call = { .file = file };
	struct mm_struct *mm;
	int ret;

	ret = call_init(&call, cmd);
	if (ret)
		return ret;
	call.mirror = thmm_mirror_get(file);
	mm = call.mirror->notifier.mm;
	ret = -ESRCH;
	if (mmget_not_zero(mm)) {
		ret = run(&call);
		mmput(mm);
	}
	thmm_mirror_put(call.mirror);
	cmd->cpages = call.cpages;
	cmd->faults = call.faults;
	return ret;
}

/* The commands that 7.3 has, and those of their form */
static int ioctl_command(struct thmm_file *file, unsigned int number, void __user *arg)
{
	struct hmm_dmirror_cmd cmd;
	unsigned int i;
	int ret = -EINVAL;

	if (copy_from_user(&cmd, arg, sizeof(cmd)))
		return -EFAULT;
	cmd.cpages = 0;
	cmd.faults = 0;

	if (number == HMM_DMIRROR_RELEASE)
		ret = thmm_release(file->device, file);
	else if (number == HMM_DMIRROR_FLAGS)
		ret = thmm_flags_set(file, cmd.npages);
	else
		for (i = 0; i < ARRAY_SIZE(range_commands); i++)
			if (range_commands[i].number == number)
				ret = run_on_range(file, range_commands[i].run, &cmd);

	if (copy_to_user(arg, &cmd, sizeof(cmd)))
		return -EFAULT;
	return ret;
}

static int ioctl_attach(struct thmm_file *file, void __user *arg)
{
	struct hmm_dmirror_attach args;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	return thmm_attach(file, &args);
}

static int ioctl_counters(struct thmm_file *file, void __user *arg)
{
	struct hmm_dmirror_counters counters;

	thmm_counters_read(file->device, &counters);
	return copy_to_user(arg, &counters, sizeof(counters)) ? -EFAULT : 0;
}

static int ioctl_evict(struct thmm_file *file, void __user *arg)
{
	struct hmm_dmirror_evict result;
	unsigned long evicted;

	result.remaining = thmm_evict(file->device, file, &evicted);
	result.evicted = evicted;
	return copy_to_user(arg, &result, sizeof(result)) ? -EFAULT : 0;
}

static int ioctl_failpoint(struct thmm_file *file, void __user *arg)
{
	struct hmm_dmirror_failpoint args;
	int ret;

	if (copy_from_user(&args, arg, sizeof(args)))
		return -EFAULT;
	ret = thmm_failpoint_set(file, &args);
	if (!ret && copy_to_user(arg, &args, sizeof(args)))
		ret = -EFAULT;
	return ret;
}

static long thmm_ioctl(struct file *filp, unsigned int number, unsigned long arg)
{
	struct thmm_file *file = filp->private_data;
	void __user *uarg = (void __user *)arg;

	switch (number) {
	case HMM_DMIRROR_ATTACH:
		return ioctl_attach(file, uarg);
	case HMM_DMIRROR_COUNTERS:
		return ioctl_counters(file, uarg);
	case HMM_DMIRROR_EVICT:
		return ioctl_evict(file, uarg);
	case HMM_DMIRROR_FAILPOINT:
		return ioctl_failpoint(file, uarg);
	default:
		return ioctl_command(file, number, uarg);
	}
}

static int thmm_open(struct inode *inode, struct file *filp)
{
	struct thmm_device *device = container_of(inode->i_cdev, struct thmm_device, cdev);
	struct thmm_file *file;

	if (!current->mm)
		return -EINVAL;
	file = kzalloc_obj(*file);
	if (!file)
		return -ENOMEM;
	file->device = device;
	file->mirror = thmm_mirror_create(device, current->mm);
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

/* The last close of a device frees its memory. */
static int thmm_close(struct inode *inode, struct file *filp)
{
	struct thmm_file *file = filp->private_data;
	struct thmm_device *device = file->device;
	unsigned long remaining;
	bool last;

	spin_lock(&device->files_lock);
	list_del(&file->node);
	last = list_empty(&device->files);
	spin_unlock(&device->files_lock);
	thmm_mirror_put(file->mirror);
	kfree(file);

	if (last) {
		remaining = thmm_evict(device, NULL, NULL);
		if (remaining)
			dev_info(&device->dev, "%lu pages could not be evicted\n", remaining);
	}
	return 0;
}

/* A mapping of ordinary pages, as drivers map their buffers */
static int thmm_mmap(struct file *filp, struct vm_area_struct *vma)
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

static const struct file_operations thmm_fops = {
	.owner		= THIS_MODULE,
	.open		= thmm_open,
	.release	= thmm_close,
	.unlocked_ioctl	= thmm_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.mmap		= thmm_mmap,
};

static void device_free(struct device *dev)
{
	kfree(container_of(dev, struct thmm_device, dev));
}

/* Nothing but the structure */
static struct thmm_device *device_alloc(unsigned int minor)
{
	struct thmm_device *device = kzalloc_obj(*device);

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
	device->dev.devt = MKDEV(MAJOR(first_dev), minor);
	device->dev.release = device_free;
	return device;
}

/* Minor @minor with its first chunk, so that wrong parameters show at once */
static int device_create_minor(unsigned int minor)
{
	struct thmm_device *device = device_alloc(minor);
	int ret;

	if (!device)
		return -ENOMEM;
	ret = dev_set_name(&device->dev, "hmm_dmirror%u", minor);
	if (ret)
		goto put;

	mutex_lock(&device->chunk_lock);
	ret = thmm_chunk_add(device);
	mutex_unlock(&device->chunk_lock);
	if (ret) {
		pr_err("test_hmm: no memory for hmm_dmirror%u: %d\n", minor, ret);
		goto put;
	}

	cdev_init(&device->cdev, &thmm_fops);
	device->cdev.owner = THIS_MODULE;
	ret = cdev_device_add(&device->cdev, &device->dev);
	if (ret)
		goto release;
	thmm_counters_show(device, debugfs_root);
	devices[minor] = device;
	return 0;
release:
	thmm_release(device, NULL);
put:
	put_device(&device->dev);
	return ret;
}

/* No file is open, and no page in use: each of them would hold the module. */
static void device_destroy_minor(unsigned int minor)
{
	struct thmm_device *device = devices[minor];

	if (!device)
		return;
	devices[minor] = NULL;
	debugfs_remove_recursive(device->debugfs);
	cdev_device_del(&device->cdev, &device->dev);
	WARN_ON(thmm_release(device, NULL));
	put_device(&device->dev);
}

static bool chunk_size_is_good(unsigned long size)
{
	return size && IS_ALIGNED(size, HPAGE_PMD_SIZE) &&
	       IS_ALIGNED(size, memremap_compat_align());
}

static bool spm_is_good(unsigned int which)
{
	unsigned long addr = spm_addr[which], size = spm_size[which];

	return chunk_size_is_good(addr) && size >= spm_chunk_size && size - 1 <= ULONG_MAX - addr &&
	       region_intersects(addr, size, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) ==
		       REGION_DISJOINT;
}

static bool parameters_are_good(unsigned int nr_devices)
{
	unsigned long low = min(spm_addr[0], spm_addr[1]);
	unsigned long high = max(spm_addr[0], spm_addr[1]);

	if (!chunk_size_is_good(private_chunk_size) || !chunk_size_is_good(spm_chunk_size))
		return false;
	if (nr_devices == PRIVATE_DEVICES)
		return true;
	return spm_is_good(0) && spm_is_good(1) &&
	       high - low >= (low == spm_addr[0] ? spm_size[0] : spm_size[1]);
}

static int __init thmm_init(void)
{
	unsigned int nr_devices = spm_addr[0] && spm_addr[1] ? DEVICES : PRIVATE_DEVICES;
	unsigned int minor;
	int ret;

	if (!parameters_are_good(nr_devices)) {
		pr_err("test_hmm: sizes and addresses must be aligned, apart, and no system memory\n");
		return -EINVAL;
	}
	ret = alloc_chrdev_region(&first_dev, 0, DEVICES, "HMM_DMIRROR");
	if (ret)
		return ret;
	debugfs_root = debugfs_create_dir("test_hmm", NULL);

	for (minor = 0; minor < nr_devices; minor++) {
		ret = device_create_minor(minor);
		if (ret)
			goto destroy;
	}
	return 0;

destroy:
	while (minor--)
		device_destroy_minor(minor);
	debugfs_remove_recursive(debugfs_root);
	unregister_chrdev_region(first_dev, DEVICES);
	return ret;
}
module_init(thmm_init);

static void __exit thmm_exit(void)
{
	unsigned int minor;

	for (minor = 0; minor < DEVICES; minor++)
		device_destroy_minor(minor);
	debugfs_remove_recursive(debugfs_root);
	unregister_chrdev_region(first_dev, DEVICES);
}
module_exit(thmm_exit);

MODULE_DESCRIPTION("Dummy devices to test heterogeneous memory management");
MODULE_LICENSE("GPL");
