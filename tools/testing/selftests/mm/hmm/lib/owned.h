/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that a device has: private, coherent or exclusive, and system memory
 * for comparison. What happens to system memory in a test shows that the test
 * can fail.
 *
 * Runs on the stock driver as well.
 */
#ifndef _HMM_OWNED_H
#define _HMM_OWNED_H

#include <stdbool.h>
#include <stddef.h>

#include "access.h"
#include "exclusive.h"

enum {
	OWNED_SYSTEM,		/* mirrored, and in system memory */
	OWNED_PRIVATE,
	OWNED_COHERENT,
	OWNED_EXCLUSIVE,
};

struct owned {
	unsigned int kind;
	bool huge;
	int fd;
	size_t npages;
	size_t bytes;
	char *map;
	/* The lowest; of OWNED_PRIVATE from before the migration */
	__u64 pfn;
};

/*
 * Set up according to the first two members, with the pattern of seed 1, which
 * the device wrote. False, and the reason to skip, where the environment lacks
 * something.
 */
bool owned_start(struct owned *owned, const char **reason);
/* The device gets the pages, also in a child that has inherited the memory. */
bool owned_take(struct owned *owned);
/* How many pages the device still has; OWNED_SYSTEM: how many are present */
size_t owned_count(struct owned *owned);
/* Unmaps it; false if pages of the device's memory stay in use. */
bool owned_end(struct owned *owned);

#define OWNED_SETTINGS	4

/* A kselftest_harness.h fixture of such memory, with a variant for each kind */
#define OWNED_FIXTURE(name)						\
FIXTURE(name)								\
{									\
	struct owned owned;						\
	int fd;								\
	char *map;							\
	size_t npages;							\
	size_t bytes;							\
	/* What a test starts or changes is put right after it. */	\
	struct swap swap;						\
	struct setting settings[OWNED_SETTINGS];			\
	int file;							\
};									\
									\
FIXTURE_VARIANT(name)							\
{									\
	struct owned owned;						\
};									\
									\
FIXTURE_VARIANT_ADD(name, system_small)					\
{									\
	.owned = { .kind = OWNED_SYSTEM },				\
};									\
									\
FIXTURE_VARIANT_ADD(name, system_huge)					\
{									\
	.owned = { .kind = OWNED_SYSTEM, .huge = true },		\
};									\
									\
FIXTURE_VARIANT_ADD(name, private_small)				\
{									\
	.owned = { .kind = OWNED_PRIVATE },				\
};									\
									\
FIXTURE_VARIANT_ADD(name, private_huge)					\
{									\
	.owned = { .kind = OWNED_PRIVATE, .huge = true },		\
};									\
									\
FIXTURE_VARIANT_ADD(name, coherent_small)				\
{									\
	.owned = { .kind = OWNED_COHERENT },				\
};									\
									\
FIXTURE_VARIANT_ADD(name, exclusive_small)				\
{									\
	.owned = { .kind = OWNED_EXCLUSIVE },				\
};									\
									\
FIXTURE_VARIANT_ADD(name, exclusive_huge)				\
{									\
	.owned = { .kind = OWNED_EXCLUSIVE, .huge = true },		\
};									\
									\
FIXTURE_SETUP(name)							\
{									\
	const char *reason;						\
									\
	self->swap.disk = -1;						\
	self->file = -1;						\
	self->owned = variant->owned;					\
	if (!owned_start(&self->owned, &reason))			\
		SKIP(return, "%s", reason);				\
	self->fd = self->owned.fd;					\
	self->map = self->owned.map;					\
	self->npages = self->owned.npages;				\
	self->bytes = self->owned.bytes;				\
}									\
									\
FIXTURE_TEARDOWN(name)							\
{									\
	size_t i;							\
									\
	if (self->file >= 0)						\
		close(self->file);					\
	EXPECT_TRUE(owned_end(&self->owned));				\
	swap_stop(&self->swap);						\
	for (i = 0; i < OWNED_SETTINGS; i++)				\
		setting_restore(&self->settings[i]);			\
}									\
									\
struct _test_data_##name	/* to be ended by a semicolon */

#define EXPECT_STILL_OWNED()						\
	EXPECT_EQ(self->npages, owned_count(&self->owned))

#define EXPECT_OWNED_DATA(seed)						\
do {									\
	__u64 number = seed;						\
									\
	EXPECT_TRUE(device_reads(self->fd, self->map, self->npages,	\
				 number));				\
	EXPECT_TRUE(pattern_is(self->map, self->npages, number));	\
} while (0)

#endif /* _HMM_OWNED_H */
