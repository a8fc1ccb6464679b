// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/hmm_probe_move: files, arguments and their bounds.
 */
#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/log2.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hmm_probe_move.h"

#define WRONG_FLAGS	(HMM_MOVE_UNMARKED | HMM_MOVE_OVERSIZED)
#define BY_PFN_FLAGS	(HMM_MOVE_BY_PFN | HMM_MOVE_EVICT | \
			 HMM_MOVE_NOWHERE | HMM_MOVE_IN_STEPS | WRONG_FLAGS | \
			 HMM_MOVE_COHERENT | HMM_MOVE_CUT_OFF | \
			 PROBE_STAY_FLAGS)
#define BY_ADDRESS_FLAGS (HMM_MOVE_TO_DEVICE | HMM_MOVE_COMPOUND | \
			 HMM_MOVE_FOLIOS | HMM_MOVE_HINT | HMM_MOVE_JOIN | \
			 HMM_MOVE_NOWHERE | HMM_MOVE_KEEP | WRONG_FLAGS | \
			 HMM_MOVE_COHERENT | HMM_MOVE_WITHIN | \
			 HMM_MOVE_GIVE_UP | PROBE_STAY_FLAGS)
#define EXCLUSIVE_FLAGS	(HMM_MOVE_EXCLUSIVE | HMM_MOVE_STAY_MOVED | \
			 HMM_MOVE_STUBBORN)
#define SERVE_FLAGS	(HMM_MOVE_COMPOUND | HMM_MOVE_FOLIOS | PROBE_STAY_FLAGS)

static DEFINE_MUTEX(hold_lock);		/* what files hold */

static bool is_zero(const u64 *reserved, size_t n)
{
	return !memchr_inv(reserved, 0, n * sizeof(*reserved));
}

static int check_pfns(const struct hmm_move *move)
{
	if (move->flags & HMM_MOVE_IN_STEPS && !SELECT_FOLIOS)
		return -EOPNOTSUPP;
	if (move->flags & ~BY_PFN_FLAGS ||
	    !(move->flags & HMM_MOVE_COHERENT ?
	      probe_coherent_has(move->addr, move->npages) :
	      probe_memory_has(move->addr, move->npages)))
		return -EINVAL;
	return 0;
}

static int check_addresses(const struct hmm_move *move)
{
	u64 known = move->flags & HMM_MOVE_EXCLUSIVE ? EXCLUSIVE_FLAGS :
						       BY_ADDRESS_FLAGS;
	u64 end;

	if (move->flags & HMM_MOVE_JOIN && !SELECT_FOLIOS)
		return -EOPNOTSUPP;
	if (move->flags & ~known || !PAGE_ALIGNED(move->addr) ||
	    check_add_overflow(move->addr, move->npages << PAGE_SHIFT, &end))
		return -EINVAL;
	return 0;
}

static int check_move(const struct hmm_move *move)
{
	u64 most = move->flags & HMM_MOVE_EVICT ? HMM_MOVE_DEVICE_PAGES :
						  HMM_MOVE_MAX_PAGES;

	if (!is_zero(move->reserved, ARRAY_SIZE(move->reserved)) ||
	    !move->npages || move->npages > most ||
	    move->order > HPAGE_PMD_ORDER || move->timeout_ms > UINT_MAX)
		return -EINVAL;
	return move->flags & HMM_MOVE_BY_PFN ? check_pfns(move) :
					       check_addresses(move);
}

static int move_run(struct probe_mover *mover, struct hmm_move __user *arg)
{
	struct hmm_move move;
	int rc;

	if (copy_from_user(&move, arg, sizeof(move)))
		return -EFAULT;
	rc = check_move(&move);
	if (rc)
		return rc;
	/* A move is of the address space whose flushes are counted. */
	if (current->mm != mover->flush_counter.mm &&
	    !(move.flags & HMM_MOVE_EXCLUSIVE))
		return -ESRCH;
	move.offered = 0;
	move.holes = 0;
	move.moved = 0;
	move.whole = 0;
	move.flushes = 0;
	move.supplies = 0;
	move.locked = 0;
	move.referenced = 0;
	move.unsupplied = 0;
	move.stray = 0;
	move.undefined = 0;
	rc = move.flags & HMM_MOVE_EXCLUSIVE ? probe_exclusive(mover, &move) :
					       probe_migrate(mover, &move);
	if (rc)
		return rc;
	return copy_to_user(arg, &move, sizeof(move)) ? -EFAULT : 0;
}

static int move_served(struct probe_mover *mover, struct hmm_serve __user *arg)
{
	struct probe_memory_state state = probe_memory_look();
	struct hmm_serve serve = {
		.faults = probe_served(),
		.freed_locked = state.freed_locked,
		.in_use = state.in_use,
		.backed = probe_memory_backed(),
		.first_pfn = PHYS_PFN(probe_pagemap.range.start),
		.flushes = atomic64_read(&mover->flushes),
	};

	return copy_to_user(arg, &serve, sizeof(serve)) ? -EFAULT : 0;
}

static int move_coherent(struct hmm_coherent __user *arg)
{
	struct probe_memory_state state;
	struct hmm_coherent coherent;
	int rc;

	if (copy_from_user(&coherent, arg, sizeof(coherent)))
		return -EFAULT;
	rc = probe_coherent_map(coherent.start);
	if (rc)
		return rc;
	state = probe_coherent_look();
	coherent.in_use = state.in_use;
	coherent.freed_locked = state.freed_locked;
	return copy_to_user(arg, &coherent, sizeof(coherent)) ? -EFAULT : 0;
}

static int move_serve(struct probe_mover *mover, struct hmm_serve __user *arg)
{
	struct hmm_serve serve;
	int rc;

	if (copy_from_user(&serve, arg, sizeof(serve)))
		return -EFAULT;
	if (!is_zero(serve.reserved, ARRAY_SIZE(serve.reserved)) ||
	    serve.flags & ~SERVE_FLAGS || !is_power_of_2(serve.pages) ||
	    serve.pages > HPAGE_PMD_NR)
		return -EINVAL;
	rc = move_served(mover, arg);
	if (!rc)
		probe_serve_so(&serve);
	return rc;
}

static int move_lock(struct hmm_lock __user *arg)
{
	struct hmm_lock lock;
	int rc;

	if (copy_from_user(&lock, arg, sizeof(lock)))
		return -EFAULT;
	if (!probe_memory_has(lock.pfn, 1))
		return -EINVAL;
	rc = probe_lock(&lock);
	if (rc)
		return rc;
	return copy_to_user(arg, &lock, sizeof(lock)) ? -EFAULT : 0;
}

/* Folios held */

static int move_hold(struct probe_mover *mover, const void __user *arg)
{
	struct hmm_hold hold;
	struct folio *folio;

	if (copy_from_user(&hold, arg, sizeof(hold)))
		return -EFAULT;
	if (!is_zero(hold.reserved, ARRAY_SIZE(hold.reserved)) ||
	    !pfn_valid(hold.pfn))
		return -EINVAL;
	guard(mutex)(&hold_lock);
	if (mover->held)
		return -EBUSY;
	folio = page_folio(pfn_to_page(hold.pfn));
	if (!folio_try_get(folio))
		return -ENOENT;
	if (hold.lock && !folio_trylock(folio)) {
		folio_put(folio);
		return -EAGAIN;
	}
	mover->held = folio;
	mover->locked = hold.lock;
	return 0;
}

void probe_move_keep(struct probe_mover *mover, struct folio *folio)
{
	guard(mutex)(&hold_lock);
	if (mover->held)
		return;
	folio_get(folio);
	mover->held = folio;
	mover->locked = false;
}

int probe_move_let_go(struct probe_mover *mover)
{
	guard(mutex)(&hold_lock);
	if (!mover->held)
		return -ENOENT;
	if (mover->locked)
		folio_unlock(mover->held);
	folio_put(mover->held);
	mover->held = NULL;
	return 0;
}

static long move_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct probe_mover *mover = file->private_data;
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case HMM_MOVE_RUN:
		return move_run(mover, uarg);
	case HMM_MOVE_SERVE:
		return move_serve(mover, uarg);
	case HMM_MOVE_SERVED:
		return move_served(mover, uarg);
	case HMM_MOVE_HOLD:
		return move_hold(mover, uarg);
	case HMM_MOVE_LET_GO:
		return probe_move_let_go(mover);
	case HMM_MOVE_AWAIT_STAY:
		return probe_stay_await(&mover->stay);
	case HMM_MOVE_GO_ON:
		return probe_stay_end(&mover->stay);
	case HMM_MOVE_AWAIT_FAULT:
		return probe_stay_await(&probe_fault_stay);
	case HMM_MOVE_FAULT_GO_ON:
		return probe_stay_end(&probe_fault_stay);
	case HMM_MOVE_COHERENT_AT:
		return move_coherent(uarg);
	case HMM_MOVE_LOCK:
		return move_lock(uarg);
	case HMM_MOVE_FILE:
		return probe_file_open(uarg);
	default:
		return -ENOTTY;
	}
}

/*
 * The only subscription of the address space that is called for TLB flushes. A
 * deferred flush is reported at once, as one of the whole address space.
 */
static void count_flush(struct mmu_notifier *counter, struct mm_struct *mm,
			unsigned long start, unsigned long end)
{
	struct probe_mover *mover = container_of(counter, struct probe_mover,
						 flush_counter);

	if (end != ULONG_MAX)
		atomic64_inc(&mover->flushes);
}

static const struct mmu_notifier_ops flush_counter_ops = {
	.arch_invalidate_secondary_tlbs = count_flush,
};

static int move_open(struct inode *inode, struct file *file)
{
	struct probe_mover *mover;
	int rc = probe_memory_init();

	if (rc)
		return rc;
	mover = kzalloc_obj(*mover);
	if (!mover)
		return -ENOMEM;
	init_waitqueue_head(&mover->stay.wq);
	mover->flush_counter.ops = &flush_counter_ops;
	rc = mmu_notifier_register(&mover->flush_counter, current->mm);
	if (rc) {
		kfree(mover);
		return rc;
	}
	file->private_data = mover;
	return 0;
}

static int move_release(struct inode *inode, struct file *file)
{
	struct probe_mover *mover = file->private_data;

	probe_move_let_go(mover);
	mmu_notifier_unregister(&mover->flush_counter, mover->flush_counter.mm);
	kfree(mover);
	return 0;
}

static const struct file_operations move_fops = {
	.owner = THIS_MODULE,
	.open = move_open,
	.release = move_release,
	.unlocked_ioctl = move_ioctl,
};

static struct miscdevice move_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_probe_move",
	.fops = &move_fops,
	.mode = 0600,
};

int probe_move_init(void)
{
	return misc_register(&move_device);
}

void probe_move_exit(void)
{
	misc_deregister(&move_device);
	probe_coherent_exit();
	probe_memory_exit();
}
