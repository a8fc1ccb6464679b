/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/small_driver: a device that mirrors the process that has opened it.
 */
#ifndef _SMALL_DRIVER_UAPI_H
#define _SMALL_DRIVER_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct small_call - a command
 * @addr: first address, page aligned
 * @npages: number of pages; 0 for SMALL_RESIZE to the end of the address space
 * @buffer: of @npages pages, for SMALL_READ and SMALL_WRITE
 * @timeout_ms: for SMALL_ADD, SMALL_STALL and SMALL_BUSY
 * @moved: (out) number of pages that have migrated; SMALL_PLACE counts holes,
 *	too
 * @filled: (out) number of holes that were filled
 * @failed: (out) number of pages without a destination
 * @on_device: (out) is the first page in device memory?
 * @order: (out) of the CPU's mapping of the first page
 * @in_use: (out) pages of device memory in use
 * @cleared: (out) pages of device memory that were cleared, ever
 * @ready: (out) SMALL_TABLE: pages of its memory that the device may write
 */
struct small_call {
	__u64 addr;
	__u64 npages;
	__u64 buffer;
	__u64 timeout_ms;
	__u64 moved;
	__u64 filled;
	__u64 failed;
	__u64 on_device;
	__u64 order;
	__u64 in_use;
	__u64 cleared;
	__u64 ready;
};

/* The device reads or writes memory of the process. */
#define SMALL_READ	_IOWR('S', 0, struct small_call)
#define SMALL_WRITE	_IOWR('S', 1, struct small_call)
/* Migration by command */
#define SMALL_TO_DEVICE	_IOWR('S', 2, struct small_call)
#define SMALL_TO_SYSTEM	_IOWR('S', 3, struct small_call)
/* A device fault on pages that belong in its memory, for writing */
#define SMALL_PLACE	_IOWR('S', 4, struct small_call)
#define SMALL_EVICT	_IOWR('S', 5, struct small_call)
/* Atomically add 1 to the first word of each page. */
#define SMALL_ADD	_IOWR('S', 6, struct small_call)
/* Mirror this range only. */
#define SMALL_RESIZE	_IOWR('S', 7, struct small_call)
/* Where is a page? */
#define SMALL_LOOK	_IOWR('S', 8, struct small_call)
/* A device fault that has to begin again all the time */
#define SMALL_STALL	_IOWR('S', 9, struct small_call)
/* A migration without any lock; the kernel warns. */
#define SMALL_UNLOCKED	_IOWR('S', 10, struct small_call)
/*
 * Placements with all combinations of callbacks: how many are refused is in
 * @failed, how many reach a callback in @moved.
 */
#define SMALL_MISPLACE	_IOWR('S', 11, struct small_call)
/* What is in the device's page table? */
#define SMALL_TABLE	_IOWR('S', 12, struct small_call)
/* Exclusive access to a page by a device that is busy; moved: how often it was asked */
#define SMALL_BUSY	_IOWR('S', 13, struct small_call)

#endif /* _SMALL_DRIVER_UAPI_H */
