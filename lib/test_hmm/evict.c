// SPDX-License-Identifier: GPL-2.0
/*
 * Emptying a device, chunk by chunk: migrate_device_evict() does it, and gives up
 * at a deadline in case others fill the device as fast as we empty it.
 */
#include <linux/jiffies.h>
#include <linux/mm.h>

#include "test_hmm.h"

#define DEADLINE_MS	10000

/**
 * thmm_evict() - migrate a device's pages to system memory
 * @device: the device
 * @file: the file whose fault points apply, or NULL
 * @evicted: receives the number of pages that moved; can be NULL
 *
 * The device does not grow meanwhile.
 *
 * Return: the number of pages that are still in use.
 */
unsigned long thmm_evict(struct thmm_device *device, struct thmm_file *file,
			 unsigned long *evicted)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(DEADLINE_MS);
	struct thmm_chunk *chunk;
	unsigned long moved = 0;

	mutex_lock(&device->chunk_lock);
	list_for_each_entry(chunk, &device->chunks, node)
		moved += thmm_evict_chunk(file, chunk, deadline);
	mutex_unlock(&device->chunk_lock);

	if (evicted)
		*evicted = moved;
	return READ_ONCE(device->in_use);
}

/**
 * thmm_release() - evict all pages of a device and free its memory
 * @device: the device
 * @file: the file whose fault points apply, or NULL
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
