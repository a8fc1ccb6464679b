/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What tests of the mirror side share beyond device.h: plain accesses by
 * the device, and what it takes to look at what came of them.
 */
#ifndef _HMM_ACCESS_H
#define _HMM_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "device.h"

#ifndef MADV_COLD
#define MADV_COLD		20
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif

/* What a page may be used for, in a snapshot's byte */
#define ACCESS_MASK	(HMM_DMIRROR_PROT_READ | HMM_DMIRROR_PROT_WRITE)

/* For tests that need what only our driver has or does right */
bool device_is_ours(int fd);
/* 0 or a negative errno */
int device_read(int fd, void *addr, size_t npages, void *data);
int device_write(int fd, void *addr, size_t npages, void *data);

/* How often the device has to fault to read a range; or a negative errno. */
int device_faults(int fd, void *addr, size_t npages);
/* The device reads nothing but zeroes. */
bool device_reads_zero(int fd, void *addr, size_t npages);
/*
 * device_writes() a few pages at a time: a command has a second, and each page
 * that was read before it was written to takes an invalidation.
 */
int device_writes_parts(int fd, char *addr, size_t npages, __u64 seed);
/* Invalidations that have reached the device's mirrors */
__u64 device_invalidations(int fd);
/* Bytes from the start of @data that have this value */
size_t same_bytes(const void *data, size_t bytes, unsigned char value);

/* Huge pages that hold the pattern; NULL when the kernel gives small ones. */
char *map_pattern_thp(int fd, size_t bytes, __u64 seed);

/* Memory that a device knows, and that may lie on it */
struct placed {
	unsigned int device;
	bool on_device;
	bool huge;
	int fd;
	size_t npages;
	size_t bytes;
	char *map;
};

/*
 * Set up according to the first three members, with the pattern of seed 1.
 * False, and the reason to skip, where the environment lacks something.
 */
bool placed_start(struct placed *placed, const char **reason);
/* Pages of a range that lie where all of @placed lay at the start */
size_t placed_count(struct placed *placed, char *addr, size_t npages);
/* @npages of the device's pages are in use, if it is about device memory. */
bool placed_in_use(struct placed *placed, size_t npages);
/*
 * The device reads the pattern from @seed on, and before and after that the
 * pages lie where all of @placed lay at the start.
 */
bool placed_reads(struct placed *placed, char *addr, size_t npages,
		  __u64 seed);

/*
 * A kselftest_harness.h fixture of such memory, with a variant for each kind:
 * self->placed, and at hand those of its members that tests use most.
 */
#define PLACED_FIXTURE(name)						\
FIXTURE(name)								\
{									\
	struct placed placed;						\
	int fd;								\
	char *map;							\
	size_t npages;							\
	size_t bytes;							\
};									\
									\
FIXTURE_VARIANT(name)							\
{									\
	struct placed kind;						\
};									\
									\
FIXTURE_VARIANT_ADD(name, system_small)					\
{									\
	.kind = { .on_device = false },					\
};									\
									\
FIXTURE_VARIANT_ADD(name, system_huge)					\
{									\
	.kind = { .huge = true },					\
};									\
									\
FIXTURE_VARIANT_ADD(name, private_small)				\
{									\
	.kind = { .on_device = true },					\
};									\
									\
FIXTURE_VARIANT_ADD(name, private_huge)					\
{									\
	.kind = { .on_device = true, .huge = true },			\
};									\
									\
FIXTURE_VARIANT_ADD(name, coherent_small)				\
{									\
	.kind = { .on_device = true, .device = 2 },			\
};									\
									\
FIXTURE_SETUP(name)							\
{									\
	const char *reason;						\
									\
	self->placed = variant->kind;					\
	if (!placed_start(&self->placed, &reason))			\
		SKIP(return, "%s", reason);				\
	self->fd = self->placed.fd;					\
	self->map = self->placed.map;					\
	self->npages = self->placed.npages;				\
	self->bytes = self->placed.bytes;				\
}									\
									\
FIXTURE_TEARDOWN(name)							\
{									\
	close(self->fd);						\
}									\
									\
struct _test_data_##name	/* to be ended by a semicolon */

/* In a test of such a fixture: placed_reads() of its memory */
#define must_be_there(addr, npages, seed)				\
	EXPECT_TRUE(placed_reads(&self->placed, addr, npages, seed))

#endif /* _HMM_ACCESS_H */
