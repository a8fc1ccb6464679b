// SPDX-License-Identifier: GPL-2.0
/*
 * A window held open: the CPU that next writes a PMD stands still directly
 * after that write, whatever code it was in. Or the one that reads or writes a
 * PUD, a PMD or a PTE, in a task of the probe's own.
 */
#include <linux/delay.h>
#include <linux/hw_breakpoint.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pgtable.h>
#include <linux/uaccess.h>

#include "hmm_probe.h"

#define MOST_MS		200
#define AWAIT_MS	(10 * MSEC_PER_SEC)

static DEFINE_MUTEX(stall_lock);

/* In the debug exception, interrupts off, most likely under a PMD's lock */
static void stand_still(struct perf_event *event, struct perf_sample_data *data,
			struct pt_regs *regs)
{
	struct probe_stall *stall = event->overflow_handler_context;

	if (stall->task && stall->task != current)
		return;
	if (atomic_dec_if_positive(&stall->left) >= 0)
		return;
	if (!atomic_cmpxchg(&stall->begun, 0, 1))
		mdelay(stall->ms);
}

/* The entry at a level, or NULL if there is no table for it; mmap lock held */
static const void *entry_at(struct mm_struct *mm, unsigned long addr, u64 level)
{
	pgd_t *pgdp = pgd_offset(mm, addr);
	p4d_t *p4dp;
	pud_t *pudp;
	pmd_t *pmdp;

	if (pgd_none(*pgdp))
		return NULL;
	p4dp = p4d_offset(pgdp, addr);
	if (p4d_none(*p4dp))
		return NULL;
	pudp = pud_offset(p4dp, addr);
	if (level == HMM_PROBE_AT_PUD)
		return pudp;
	if (!pud_present(*pudp) || pud_leaf(*pudp))
		return NULL;
	pmdp = pmd_offset(pudp, addr);
	if (level == HMM_PROBE_AT_PMD)
		return pmdp;
	if (pmd_none(*pmdp) || pmd_leaf(*pmdp))
		return NULL;
	return pte_offset_kernel(pmdp, addr);
}

static int watch(struct probe_stall *stall, const void *entry,
		 unsigned int bp_type)
{
	struct perf_event * __percpu *events;
	struct perf_event_attr attr;

	hw_breakpoint_init(&attr);
	attr.bp_addr = (unsigned long)entry;
	attr.bp_len = HW_BREAKPOINT_LEN_8;
	attr.bp_type = bp_type;
	events = register_wide_hw_breakpoint(&attr, stand_still, stall);
	if (!events)
		return -EOPNOTSUPP;
	if (IS_ERR_PCPU(events))
		return PTR_ERR_PCPU(events);
	stall->events = events;
	return 0;
}

/*
 * Watch the entry of an address of the caller. The page table stays while the
 * caller leaves its mapping alone. mirror->stall says what is to happen.
 */
int probe_stall_at(struct probe_mirror *mirror, unsigned long addr, u64 level,
		   unsigned int bp_type)
{
	struct probe_stall *stall = &mirror->stall;
	struct mm_struct *mm = current->mm;
	const void *entry;
	int rc;

	if (mm != mirror->notifier.mm)
		return -EINVAL;
	rc = mmap_read_lock_killable(mm);
	if (rc)
		return rc;
	entry = entry_at(mm, addr, level);
	mmap_read_unlock(mm);
	if (!entry)
		return -ENOENT;

	guard(mutex)(&stall_lock);
	if (stall->events)
		return -EBUSY;
	return watch(stall, entry, bp_type);
}

int probe_stall(struct probe_mirror *mirror, const void __user *arg)
{
	struct hmm_probe_stall from;

	if (copy_from_user(&from, arg, sizeof(from)))
		return -EFAULT;
	if (from.ms > MOST_MS)
		return -EINVAL;
	mirror->stall.ms = from.ms;
	return probe_stall_at(mirror, from.addr, HMM_PROBE_AT_PMD,
			      HW_BREAKPOINT_W);
}

/* Polls: the exception handler cannot wake a task. */
int probe_await_stall(struct probe_mirror *mirror)
{
	unsigned int ms;

	for (ms = 0; ms < AWAIT_MS; ms++) {
		if (atomic_read(&mirror->stall.begun))
			return 0;
		if (msleep_interruptible(1))
			return -EINTR;
	}
	return -ETIMEDOUT;
}

void probe_stall_end(struct probe_mirror *mirror)
{
	if (mirror->stall.events)
		unregister_wide_hw_breakpoint(mirror->stall.events);
	mirror->stall = (struct probe_stall){};
}
