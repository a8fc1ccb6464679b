// SPDX-License-Identifier: GPL-2.0
/*
 * Eviction of a device, chunk by chunk, by migrate_device_evict(). It stops at a
 * deadline, in case other tasks fill the device as fast as this empties it.
 */
#include <linux/jiffies.h>
#include <linux/mm.h>

#include "test_hmm.h"

#define DEADLINE_MS	10000

/**
 * dmirror_evict() - migrate a device's pages to system memory
 * @device: the device
 * @file: the file whose fault points apply, or NULL
 * @evicted: receives the number of pages that moved; can be NULL
 *
 * The device does not grow during this.
 *
 * Context: Process context, may sleep. Takes the device's chunk_lock.
 *
 * Return: the number of pages that are still in use.
 */
unsigned long dmirror_evict(struct dmirror_device *device, struct dmirror_file *file,
			    unsigned long *evicted)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(DEADLINE_MS);
	struct dmirror_chunk *chunk;
	unsigned long moved = 0;

	mutex_lock(&device->chunk_lock);
	list_for_each_entry(chunk, &device->chunks, node)
		moved += dmirror_evict_chunk(file, chunk, deadline);
	mutex_unlock(&device->chunk_lock);

	if (evicted)
		*evicted = moved;
	return READ_ONCE(device->in_use);
}

/**
 * dmirror_release() - evict all pages of a device and free its memory
 * @device: the device
 * @file: the file whose fault points apply, or NULL
 *
 * Context: Process context, may sleep. Takes the device's chunk_lock.
 *
 * Return: 0, or -EBUSY if chunks with pages in use could not be freed.
 */
int dmirror_release(struct dmirror_device *device, struct dmirror_file *file)
{
	unsigned long stayed;

	dmirror_evict(device, file, NULL);
	mutex_lock(&device->chunk_lock);
	stayed = dmirror_chunk_remove_idle(device);
	mutex_unlock(&device->chunk_lock);
	return stayed ? -EBUSY : 0;
}
