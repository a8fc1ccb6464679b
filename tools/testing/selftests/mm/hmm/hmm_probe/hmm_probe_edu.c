// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU's edu device, which moves bytes by DMA, and breakpoints in the kernel at
 * what its mappings cause: they count, and let calls fail.
 */
#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/hw_breakpoint.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/uaccess.h>

#include "hmm_probe_edu.h"
#include "hmm_probe_odp_uapi.h"

#define EDU_VENDOR	0x1234
#define EDU_DEVICE	0x11e8

/* Registers of edu, and where the device has its own memory */
#define EDU_DMA_FROM	0x80
#define EDU_DMA_TO	0x88
#define EDU_DMA_BYTES	0x90
#define EDU_DMA_COMMAND	0x98
#define EDU_START	BIT(0)
#define EDU_TO_RAM	BIT(1)
#define EDU_BUFFER	0x40000

/* edu waits for 100 ms before it moves anything. */
#define EDU_MOST_MS	5000

struct probe_edu probe_edu = {
	.lock = __MUTEX_INITIALIZER(probe_edu.lock),
	.watch_lock = __MUTEX_INITIALIZER(probe_edu.watch_lock),
};

/* What happens below the DMA layer */

static void sync_is_called(struct perf_event *event,
			   struct perf_sample_data *data, struct pt_regs *regs)
{
	atomic64_inc(&probe_edu.syncs);
}

/* In place of a function that is called, with its return address */
static noinline int call_fails(void)
{
	return -ENOMEM;
}

static void link_is_called(struct perf_event *event,
			   struct perf_sample_data *data, struct pt_regs *regs)
{
	if (current != probe_edu.mapper)
		return;
	if (++probe_edu.links == probe_edu.fail)
		instruction_pointer_set(regs, (unsigned long)call_fails);
}

static void map_sync_is_called(struct perf_event *event,
			       struct perf_sample_data *data,
			       struct pt_regs *regs)
{
	if (current == probe_edu.mapper && probe_edu.fail_sync)
		instruction_pointer_set(regs, (unsigned long)call_fails);
}

static int watch(struct perf_event * __percpu **watch, u64 addr,
		 perf_overflow_handler_t handler)
{
	struct perf_event * __percpu *events;
	struct perf_event_attr attr;

	if (!addr)
		return 0;
	hw_breakpoint_init(&attr);
	attr.bp_addr = addr;
	attr.bp_len = sizeof(long);
	attr.bp_type = HW_BREAKPOINT_X;
	events = register_wide_hw_breakpoint(&attr, handler, NULL);
	if (!events)
		return -EOPNOTSUPP;
	if (IS_ERR_PCPU(events))
		return PTR_ERR_PCPU(events);
	*watch = events;
	return 0;
}

void probe_edu_unwatch(const void *watcher)
{
	size_t i;

	guard(mutex)(&probe_edu.watch_lock);
	if (probe_edu.watcher != watcher)
		return;
	for (i = 0; i < ARRAY_SIZE(probe_edu.watches); i++) {
		if (probe_edu.watches[i])
			unregister_wide_hw_breakpoint(probe_edu.watches[i]);
		probe_edu.watches[i] = NULL;
	}
	probe_edu.watcher = NULL;
}

int probe_edu_watch(const void *watcher, const void __user *arg)
{
	struct hmm_odp_symbols symbols;
	int rc;

	if (copy_from_user(&symbols, arg, sizeof(symbols)))
		return -EFAULT;
	guard(mutex)(&probe_edu.watch_lock);
	if (probe_edu.watcher)
		return -EBUSY;
	probe_edu.watcher = watcher;
	rc = watch(&probe_edu.watches[0], symbols.sync, sync_is_called);
	rc = rc ?: watch(&probe_edu.watches[1], symbols.link, link_is_called);
	return rc ?: watch(&probe_edu.watches[2], symbols.map_sync,
			   map_sync_is_called);
}

int probe_edu_move(size_t buffer, dma_addr_t addr, size_t bytes, bool to_ram)
{
	u64 own = EDU_BUFFER + buffer;
	unsigned int ms;

	guard(mutex)(&probe_edu.lock);
	writeq(to_ram ? own : addr, probe_edu.regs + EDU_DMA_FROM);
	writeq(to_ram ? addr : own, probe_edu.regs + EDU_DMA_TO);
	writeq(bytes, probe_edu.regs + EDU_DMA_BYTES);
	writeq(EDU_START | (to_ram ? EDU_TO_RAM : 0),
	       probe_edu.regs + EDU_DMA_COMMAND);
	for (ms = 0; ms < EDU_MOST_MS; ms++) {
		if (!(readq(probe_edu.regs + EDU_DMA_COMMAND) & EDU_START))
			return 0;
		fsleep(USEC_PER_MSEC);
	}
	return -ETIMEDOUT;
}

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	void __iomem *regs;
	int rc;

	if (probe_edu.pdev)
		return -EBUSY;
	rc = pcim_enable_device(pdev);
	if (rc)
		return rc;
	rc = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (rc)
		return rc;
	regs = pcim_iomap_region(pdev, 0, "hmm_probe");
	if (IS_ERR(regs))
		return PTR_ERR(regs);
	pci_set_master(pdev);
	probe_edu.regs = regs;
	probe_edu.pdev = pdev;
	return 0;
}

static void edu_remove(struct pci_dev *pdev)
{
	probe_edu.pdev = NULL;
}

static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE(EDU_VENDOR, EDU_DEVICE) },
	{}
};

/* Open files hold the module, and so the device. */
static struct pci_driver edu_driver = {
	.name = "hmm_probe",
	.id_table = edu_ids,
	.probe = edu_probe,
	.remove = edu_remove,
	.driver.suppress_bind_attrs = true,
};

int probe_edu_register(void)
{
	return pci_register_driver(&edu_driver);
}

void probe_edu_unregister(void)
{
	pci_unregister_driver(&edu_driver);
}
