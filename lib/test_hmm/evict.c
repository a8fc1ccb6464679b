// SPDX-License-Identifier: GPL-2.0
/*
 * Emptying a device.
 *
 * One pass over its memory moves what can be had at that moment; pages that
 * others hold locked are there for the next pass. It ends, for good or ill,
 * when nothing is left, when passes in a row have moved nothing, or at a
 * deadline in case others fill the device as fast as we empty it.
 */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "test_hmm.h"

#define IDLE_PASSES	10
#define PASS_PAUSE_MS	5
#define DEADLINE_MS	10000

static unsigned long chunk_evict(struct thmm_chunk *chunk, struct thmm_file *file,
				 unsigned long *src, unsigned long *dst)
{
	unsigned long i, moved = 0;

	for (i = 0; i < chunk->nr_blocks; i++) {
		/* Unlocked: whoever comes too late for this pass is in the next. */
		if (!READ_ONCE(chunk->blocks[i].in_use))
			continue;
		moved += thmm_evict_pfns(file, chunk, chunk->first_pfn + i * HPAGE_PMD_NR,
					 src, dst);
		cond_resched();
	}
	return moved;
}

/* One pass; the device's chunks are kept from going meanwhile. */
static unsigned long device_evict(struct thmm_device *device, struct thmm_file *file,
				  unsigned long *src, unsigned long *dst)
{
	struct thmm_chunk *chunk;
	unsigned long moved = 0;

	mutex_lock(&device->chunk_lock);
	list_for_each_entry(chunk, &device->chunks, node)
		moved += chunk_evict(chunk, file, src, dst);
	mutex_unlock(&device->chunk_lock);
	return moved;
}

/**
 * thmm_evict() - bring a device's pages back to system memory
 * @device: which
 * @file: whose fault points apply, or NULL
 * @evicted: receives the number of pages that moved; can be NULL
 *
 * Return: the number of pages that are still in use.
 */
unsigned long thmm_evict(struct thmm_device *device, struct thmm_file *file,
			 unsigned long *evicted)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(DEADLINE_MS);
	unsigned long moved, total = 0;
	unsigned int idle = 0;
	unsigned long *src;

	src = kvmalloc_array(2 * HPAGE_PMD_NR, sizeof(*src), GFP_KERNEL);
	while (src && READ_ONCE(device->in_use)) {
		moved = device_evict(device, file, src, src + HPAGE_PMD_NR);
		total += moved;
		idle = moved ? 0 : idle + 1;
		if (idle == IDLE_PASSES || time_after(jiffies, deadline) ||
		    fatal_signal_pending(current))
			break;
		if (!moved)
			msleep(PASS_PAUSE_MS);
	}
	kvfree(src);

	if (evicted)
		*evicted = total;
	return READ_ONCE(device->in_use);
}

/**
 * thmm_release() - empty a device and give up its memory
 * @device: which
 * @file: whose fault points apply, or NULL
 *
 * Return: 0, or -EBUSY when chunks with pages in use had to stay.
 */
int thmm_release(struct thmm_device *device, struct thmm_file *file)
{
	unsigned long stayed;

	thmm_evict(device, file, NULL);
	mutex_lock(&device->chunk_lock);
	stayed = thmm_chunk_remove_idle(device);
	mutex_unlock(&device->chunk_lock);
	return stayed ? -EBUSY : 0;
}
