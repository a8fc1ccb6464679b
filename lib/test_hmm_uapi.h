/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What a program may ask of the dummy HMM devices, /dev/hmm_dmirror0 to 3.
 *
 * Each open file stands for a device context that mirrors one process: the
 * one that opened it, or the one named by HMM_DMIRROR_ATTACH. Minors 0 and 1
 * have private memory, which the CPU cannot address; minors 2 and 3, which
 * exist when the module was given memory for them, have coherent memory.
 *
 * Commands 0x00 to 0x09 are those of Linux 7.3, bit for bit.
 */
#ifndef _LIB_TEST_HMM_UAPI_H
#define _LIB_TEST_HMM_UAPI_H

#include <linux/types.h>
#include <linux/ioctl.h>

/**
 * struct hmm_dmirror_cmd - a command on a range of the mirrored process
 * @addr: (in) first address of the range, a multiple of the page size
 * @ptr: (in) buffer in the calling process, see each command
 * @npages: (in) length of the range in pages; the flags for HMM_DMIRROR_FLAGS
 * @cpages: (out) pages done, from the start of the range, also on an error
 * @faults: (out) how often the device had to fault memory in
 */
struct hmm_dmirror_cmd {
	__u64		addr;
	__u64		ptr;
	__u64		npages;
	__u64		cpages;
	__u64		faults;
};

/* The device reads the range; @ptr receives the data. */
#define HMM_DMIRROR_READ		_IOWR('H', 0x00, struct hmm_dmirror_cmd)
/* The device writes the data at @ptr to the range. */
#define HMM_DMIRROR_WRITE		_IOWR('H', 0x01, struct hmm_dmirror_cmd)
/*
 * Move anonymous memory to the device. @ptr receives the data as the device
 * sees it, up to the first page that is not in its memory (-ENOENT); a @ptr
 * of 0 asks for no data.
 */
#define HMM_DMIRROR_MIGRATE_TO_DEV	_IOWR('H', 0x02, struct hmm_dmirror_cmd)
/* Move the device's pages back; @cpages is the number of pages moved. */
#define HMM_DMIRROR_MIGRATE_TO_SYS	_IOWR('H', 0x03, struct hmm_dmirror_cmd)
/* Look without faulting; @ptr receives a byte of HMM_DMIRROR_PROT_* a page. */
#define HMM_DMIRROR_SNAPSHOT		_IOWR('H', 0x04, struct hmm_dmirror_cmd)
/* Make the range the device's alone; @ptr as for HMM_DMIRROR_MIGRATE_TO_DEV. */
#define HMM_DMIRROR_EXCLUSIVE		_IOWR('H', 0x05, struct hmm_dmirror_cmd)
/* -EPERM when the device still has exclusive access to a page of the range. */
#define HMM_DMIRROR_CHECK_EXCLUSIVE	_IOWR('H', 0x06, struct hmm_dmirror_cmd)
/* Evict and give up the device's memory; -EBUSY when pages could not leave. */
#define HMM_DMIRROR_RELEASE		_IOWR('H', 0x07, struct hmm_dmirror_cmd)
/* Set this file's HMM_DMIRROR_FLAG_*; 0 clears them. */
#define HMM_DMIRROR_FLAGS		_IOWR('H', 0x08, struct hmm_dmirror_cmd)
/* HMM_DMIRROR_READ without the mmap lock, so that userfaultfd can serve it. */
#define HMM_DMIRROR_READ_UNLOCKED	_IOWR('H', 0x09, struct hmm_dmirror_cmd)

/* The next large folio wanted for a migration, on either side, is not there. */
#define HMM_DMIRROR_FLAG_FAIL_ALLOC	0x1ULL
/* What the device writes is not marked dirty, as by a careless driver. */
#define HMM_DMIRROR_FLAG_NEVER_DIRTY	0x2ULL

/*
 * Bytes of a snapshot: where the page is, or'ed with what may be done to it.
 * PROT_NONE says that nothing is mapped for this device, PROT_ERROR that
 * nothing can be. PMD and PUD say that an entry of that size maps the page.
 * LOCAL is the memory of the device that was asked, REMOTE another device's.
 */
enum {
	HMM_DMIRROR_PROT_ERROR			= 0xFF,
	HMM_DMIRROR_PROT_NONE			= 0x00,
	HMM_DMIRROR_PROT_READ			= 0x01,
	HMM_DMIRROR_PROT_WRITE			= 0x02,
	HMM_DMIRROR_PROT_PMD			= 0x04,
	HMM_DMIRROR_PROT_PUD			= 0x08,
	HMM_DMIRROR_PROT_ZERO			= 0x10,
	HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL	= 0x20,
	HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE	= 0x30,
	HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL	= 0x40,
	HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE	= 0x50,
};

/* Kinds of device memory; 0 is no kind. */
enum {
	HMM_DMIRROR_MEMORY_DEVICE_PRIVATE = 1,
	HMM_DMIRROR_MEMORY_DEVICE_COHERENT,
};

/*
 * What Linux 7.3 does not have.
 */

/**
 * struct hmm_dmirror_attach - the process that this file is to mirror
 * @pidfd: (in) a file descriptor from pidfd_open(2) or clone(2)
 * @flags: (in) 0
 *
 * Needs CAP_SYS_PTRACE or CAP_SYS_ADMIN; a process may always name itself.
 * Errors: -EBADF for no open file; -EINVAL for a file that is no pidfd, for a
 * kernel thread and for unknown flags; -ESRCH for a process that has exited;
 * -EPERM. On an error the file mirrors what it did before.
 *
 * Every command on a range answers -ESRCH once the mirrored process is gone.
 */
struct hmm_dmirror_attach {
	__s32		pidfd;
	__u32		flags;
};

/**
 * struct hmm_dmirror_counters - what the device has done since it was created
 * @migrated_in: (out) pages moved to the device
 * @migrated_out: (out) pages moved back by HMM_DMIRROR_MIGRATE_TO_SYS
 * @faulted_out: (out) pages moved back by CPU faults
 * @evicted: (out) pages moved back to free the device's memory
 * @cpu_faults: (out) CPU faults on the device's pages
 * @device_faults: (out) ranges that the device had to fault in
 * @invalidations: (out) invalidations that reached a mirror
 * @collisions: (out) page table reads thrown away because of one
 * @allocated: (out) device pages handed out
 * @freed: (out) device pages that came back
 * @in_use: (out) device pages in use now
 * @capacity: (out) device pages that exist now
 * @alloc_failures: (out) migrations that found no memory on the other side
 * @fallbacks: (out) large folios that had to move as small pages
 * @splits: (out) small folios cut off large ones on the device
 * @reserved: (out) 0
 */
struct hmm_dmirror_counters {
	__u64		migrated_in;
	__u64		migrated_out;
	__u64		faulted_out;
	__u64		evicted;
	__u64		cpu_faults;
	__u64		device_faults;
	__u64		invalidations;
	__u64		collisions;
	__u64		allocated;
	__u64		freed;
	__u64		in_use;
	__u64		capacity;
	__u64		alloc_failures;
	__u64		fallbacks;
	__u64		splits;
	__u64		reserved[5];
};

/**
 * struct hmm_dmirror_evict - the outcome of an eviction
 * @evicted: (out) pages that went back to system memory
 * @remaining: (out) pages that are still in use on the device
 */
struct hmm_dmirror_evict {
	__u64		evicted;
	__u64		remaining;
};

/* Steps that can be made to fail; CPU faults of the mirrored process count. */
enum {
	/* a device page or folio: the device's memory is full */
	HMM_DMIRROR_FAIL_DEVICE_ALLOC,
	/* a page or folio of system memory to move back to */
	HMM_DMIRROR_FAIL_SYSTEM_ALLOC,
	/* the copy of a page or folio; on a CPU fault the process gets SIGBUS */
	HMM_DMIRROR_FAIL_COPY,
	/* what was read from the page table is found outdated under the lock */
	HMM_DMIRROR_FAIL_LOCK,
	/* memory for the device's page table */
	HMM_DMIRROR_FAIL_TABLE,
	/* what makes room in the device's memory before pages are touched */
	HMM_DMIRROR_FAIL_RESERVE,
	HMM_DMIRROR_FAIL_POINTS
};

/**
 * struct hmm_dmirror_failpoint - make a step fail, once
 * @point: (in) HMM_DMIRROR_FAIL_*
 * @flags: (in) 0
 * @nth: (in) fail the nth such step from now on; 0 disarms. (out) how many
 *	steps the point, as it was set before, still had to go: 0 after it fired
 */
struct hmm_dmirror_failpoint {
	__u32		point;
	__u32		flags;
	__u64		nth;
};

/**
 * struct hmm_dmirror_atomic - additions to words of 64 bits
 * @value: (in) what is added to each word
 * @rounds: (in) how often each word is added to
 * @offset: (in) of the first word in the range, in bytes, a multiple of 8
 * @stride: (in) from one word to the next, in bytes, a multiple of 8
 * @take: (in) how many pages are made the device's together when it lacks one:
 *	the range is divided into such parts from its start
 * @tries: (in) how often at most they are, in all; then the command ends
 * @gap: (in) microseconds between reading a word and writing it, at most 1000
 * @flags: (in) HMM_DMIRROR_ATOMIC_*
 */
struct hmm_dmirror_atomic {
	__u64		value;
	__u64		rounds;
	__u64		offset;
	__u64		stride;
	__u64		take;
	__u64		tries;
	__u32		gap;
	__u32		flags;
};

/* On pages that the CPU can write to as well: what must not work */
#define HMM_DMIRROR_ATOMIC_SHARED	0x1U

/**
 * struct hmm_dmirror_place - a device fault with placement
 * @flags: (in) HMM_DMIRROR_PLACE_*
 * @timeout: (in) milliseconds to retry after invalidations; 0 for no limit
 * @skip: (in) a byte for each page: 1 if the page is not requested; or 0
 * @prot: (in) receives a byte of HMM_DMIRROR_PROT_* for each page; or 0
 * @why: (in) receives a byte of HMM_DMIRROR_WHY_* for each page: why it has not
 *	moved; or 0
 * @moved: (out) pages that have moved
 * @retries: (out) races with invalidations that were lost
 * @reserved: (out) pages for which room was made
 * @unreserved: (out) how often that was undone
 * @copies: (out) parts of the range that were copied
 */
struct hmm_dmirror_place {
	__u32		flags;
	__u32		timeout;
	__u64		skip;
	__u64		prot;
	__u64		why;
	__u64		moved;
	__u64		retries;
	__u64		reserved;
	__u64		unreserved;
	__u64		copies;
};

/* Why a page has not moved to the device */
enum {
	/* it has, or was there already */
	HMM_DMIRROR_WHY_NOT_REFUSED,
	/* not requested */
	HMM_DMIRROR_WHY_NOT_SELECTED,
	/* another device's memory */
	HMM_DMIRROR_WHY_NOT_OWNED,
	/* special, or poisoned */
	HMM_DMIRROR_WHY_NOT_MOVABLE,
	/* a page of a file, or merged by KSM */
	HMM_DMIRROR_WHY_NOT_FOR_DEVICES,
	/* locked by another task */
	HMM_DMIRROR_WHY_LOCKED,
	/* referenced by others */
	HMM_DMIRROR_WHY_PINNED,
	/* large, and cannot be split */
	HMM_DMIRROR_WHY_UNSPLIT,
	/* the device has no memory left */
	HMM_DMIRROR_WHY_NO_DESTINATION,
};

/* The pages must become writable. */
#define HMM_DMIRROR_PLACE_WRITE		0x1U
/* Split large folios. */
#define HMM_DMIRROR_PLACE_PAGES		0x2U
/* Copy by another task. */
#define HMM_DMIRROR_PLACE_ASYNC		0x4U
#define HMM_DMIRROR_PLACE_FLAGS		0x7U

#define HMM_DMIRROR_ATTACH	_IOW('H', 0x0a, struct hmm_dmirror_attach)
#define HMM_DMIRROR_COUNTERS	_IOR('H', 0x0b, struct hmm_dmirror_counters)
#define HMM_DMIRROR_EVICT	_IOR('H', 0x0c, struct hmm_dmirror_evict)
#define HMM_DMIRROR_FAILPOINT	_IOWR('H', 0x0d, struct hmm_dmirror_failpoint)
/*
 * Add to words of the range, one after the other, while the device has their pages for itself.
 * @ptr is a struct hmm_dmirror_atomic; @cpages receives the number of additions made, also on
 * an error, @faults how often pages had to be made the device's. -EBUSY when that is too often.
 */
#define HMM_DMIRROR_ATOMIC_ADD	_IOWR('H', 0x0e, struct hmm_dmirror_cmd)
/*
 * Fault the range in for the device, as HMM_DMIRROR_READ and WRITE do, and move what can move to
 * its memory. @ptr is a struct hmm_dmirror_place; @cpages receives the number of pages that the
 * device may use, also on an error.
 */
#define HMM_DMIRROR_PLACE	_IOWR('H', 0x0f, struct hmm_dmirror_cmd)

/* HMM_DMIRROR_PLACE is to copy: the pages are mapped nowhere, holes are still holes. */
#define HMM_DMIRROR_HOLD_COPY	0x1ULL
/* It is to program the device, and then to find out whether anything has changed meanwhile. */
#define HMM_DMIRROR_HOLD_LOCK	0x2ULL

/* From now on, commands of this file stand still at these steps, HMM_DMIRROR_HOLD_* or 0. */
#define HMM_DMIRROR_HOLD	_IOW('H', 0x10, __u64)
/* Wait until one does, ten seconds at most */
#define HMM_DMIRROR_AWAIT_HOLD	_IO('H', 0x11)
/* It continues. It does so by itself after half a minute, and when it is killed. */
#define HMM_DMIRROR_GO_ON	_IO('H', 0x12)

#endif /* _LIB_TEST_HMM_UAPI_H */
