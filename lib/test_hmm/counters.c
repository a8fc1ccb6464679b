// SPDX-License-Identifier: GPL-2.0
/*
 * What each device has done: for HMM_DMIRROR_COUNTERS, and to be read in
 * debugfs as test_hmm/hmm_dmirrorN/counters.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "test_hmm.h"

/**
 * dmirror_counters_read() - HMM_DMIRROR_COUNTERS
 * @device: the device
 * @out: receives its counters
 */
void dmirror_counters_read(struct dmirror_device *device, struct hmm_dmirror_counters *out)
{
	const atomic64_t *counters = device->counters;

	*out = (struct hmm_dmirror_counters) {
		.migrated_in	= atomic64_read(&counters[DMIRROR_MIGRATED_IN]),
		.migrated_out	= atomic64_read(&counters[DMIRROR_MIGRATED_OUT]),
		.faulted_out	= atomic64_read(&counters[DMIRROR_FAULTED_OUT]),
		.evicted	= atomic64_read(&counters[DMIRROR_EVICTED]),
		.cpu_faults	= atomic64_read(&counters[DMIRROR_CPU_FAULTS]),
		.device_faults	= atomic64_read(&counters[DMIRROR_DEVICE_FAULTS]),
		.invalidations	= atomic64_read(&counters[DMIRROR_INVALIDATIONS]),
		.collisions	= atomic64_read(&counters[DMIRROR_COLLISIONS]),
		.allocated	= atomic64_read(&counters[DMIRROR_ALLOCATED]),
		.freed		= atomic64_read(&counters[DMIRROR_FREED]),
		.alloc_failures	= atomic64_read(&counters[DMIRROR_ALLOC_FAILURES]),
		.fallbacks	= atomic64_read(&counters[DMIRROR_FALLBACKS]),
		.splits		= atomic64_read(&counters[DMIRROR_SPLITS]),
	};
	spin_lock_irq(&device->lock);
	out->in_use = device->in_use;
	out->capacity = device->capacity;
	spin_unlock_irq(&device->lock);
}

static int dmirror_counters_show(struct seq_file *seq, void *unused)
{
	struct hmm_dmirror_counters c;

	dmirror_counters_read(seq->private, &c);
	seq_printf(seq, "migrated_in %llu\n", c.migrated_in);
	seq_printf(seq, "migrated_out %llu\n", c.migrated_out);
	seq_printf(seq, "faulted_out %llu\n", c.faulted_out);
	seq_printf(seq, "evicted %llu\n", c.evicted);
	seq_printf(seq, "cpu_faults %llu\n", c.cpu_faults);
	seq_printf(seq, "device_faults %llu\n", c.device_faults);
	seq_printf(seq, "invalidations %llu\n", c.invalidations);
	seq_printf(seq, "collisions %llu\n", c.collisions);
	seq_printf(seq, "allocated %llu\n", c.allocated);
	seq_printf(seq, "freed %llu\n", c.freed);
	seq_printf(seq, "in_use %llu\n", c.in_use);
	seq_printf(seq, "capacity %llu\n", c.capacity);
	seq_printf(seq, "alloc_failures %llu\n", c.alloc_failures);
	seq_printf(seq, "fallbacks %llu\n", c.fallbacks);
	seq_printf(seq, "splits %llu\n", c.splits);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(dmirror_counters);

/**
 * dmirror_counters_create() - make a device's counters readable in debugfs
 * @device: the device
 * @parent: the module's directory
 */
void dmirror_counters_create(struct dmirror_device *device, struct dentry *parent)
{
	device->debugfs = debugfs_create_dir(dev_name(&device->dev), parent);
	debugfs_create_file("counters", 0444, device->debugfs, device, &dmirror_counters_fops);
}
