// SPDX-License-Identifier: GPL-2.0
/*
 * The device adds to words of memory, as an atomic operation of a real one
 * does: it reads, and some time later it writes. Only its exclusive access to
 * the page prevents changes of the word in between.
 */
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "test_hmm.h"

#define MOST_GAP_US	1000

/* Whether @args can be done within the pages of @call */
static bool dmirror_atomic_valid(const struct dmirror_call *call,
				 const struct hmm_dmirror_atomic *args)
{
	u64 size = call->end - call->start;

	return !(args->flags & ~HMM_DMIRROR_ATOMIC_SHARED) &&
	       args->gap <= MOST_GAP_US &&
	       IS_ALIGNED(args->offset, sizeof(u64)) && args->offset < size &&
	       args->stride && IS_ALIGNED(args->stride, sizeof(u64)) &&
	       args->take && args->take <= size >> PAGE_SHIFT;
}

/*
 * The mirror's lock keeps the page in the table. If the page is exclusive,
 * neither CPUs nor other devices access it, and plain accesses let KCSAN report
 * those that do. If it is shared, concurrent writes are expected.
 */
static void dmirror_word_add(struct page *page, unsigned long offset, bool shared,
			     const struct hmm_dmirror_atomic *args)
{
	u64 *word = kmap_local_page(page) + offset;
	u64 value = shared ? READ_ONCE(*word) : *word;

	/* The compiler must not merge the accesses. */
	barrier();
	if (args->gap)
		udelay(args->gap);
	value += args->value;
	if (shared)
		WRITE_ONCE(*word, value);
	else
		*word = value;
	kunmap_local(word);
}

/* False if the device does not have the access that it needs. */
static bool dmirror_try_add(struct dmirror_call *call, unsigned long addr,
			    const struct hmm_dmirror_atomic *args)
{
	bool shared = args->flags & HMM_DMIRROR_ATOMIC_SHARED;
	struct dmirror *mirror = call->mirror;
	enum dmirror_access access;
	struct page *page;
	bool usable;

	mutex_lock(&mirror->lock);
	page = dmirror_table_get(mirror, addr >> PAGE_SHIFT, &access);
	usable = page && access == (shared ? DMIRROR_WRITE : DMIRROR_ATOMIC);
	if (usable) {
		dmirror_word_add(page, offset_in_page(addr), shared, args);
		dmirror_mark_dirty(call->file, page);
	}
	mutex_unlock(&mirror->lock);
	return usable;
}

/* Make the page usable, and its part of the range. */
static int dmirror_make_usable(struct dmirror_call *call, unsigned long addr,
			       const struct hmm_dmirror_atomic *args)
{
	unsigned long size = args->take << PAGE_SHIFT;
	struct dmirror_call part = { .file = call->file, .mirror = call->mirror };
	int ret;

	part.start = call->start + rounddown(addr - call->start, size);
	part.end = part.start + min(size, call->end - part.start);
	if (args->flags & HMM_DMIRROR_ATOMIC_SHARED)
		return dmirror_fault(&part, part.start, part.end, true, false);

	ret = dmirror_make_exclusive(&part);
	/* Cannot be made exclusive now */
	return ret == -EBUSY ? 0 : ret;
}

static int dmirror_add_word(struct dmirror_call *call, unsigned long addr,
			    struct hmm_dmirror_atomic *args)
{
	int ret;

	for (;;) {
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		if (dmirror_try_add(call, addr, args))
			break;
		if (!args->tries--)
			return -EBUSY;
		call->faults++;
		ret = dmirror_make_usable(call, addr, args);
		if (ret)
			return ret;
	}
	call->cpages++;
	return 0;
}

/**
 * dmirror_atomic_add() - HMM_DMIRROR_ATOMIC_ADD
 * @call: the command
 *
 * Return: 0 or an errno.
 */
int dmirror_atomic_add(struct dmirror_call *call)
{
	struct hmm_dmirror_atomic args;
	unsigned long addr;
	int ret = 0;

	if (copy_from_user(&args, u64_to_user_ptr(call->ptr), sizeof(args)))
		return -EFAULT;
	if (!dmirror_atomic_valid(call, &args))
		return -EINVAL;

	for (; args.rounds && !ret; args.rounds--) {
		addr = call->start + args.offset;
		while (!ret) {
			ret = dmirror_add_word(call, addr, &args);
			if (args.stride >= call->end - addr)
				break;
			addr += args.stride;
		}
	}
	return ret;
}
