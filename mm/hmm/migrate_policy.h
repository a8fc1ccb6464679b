/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decision: is a page what the caller of a migration has selected, and can
 * it ever get where the caller wants it?
 *
 * Pure, see migrate_entry.h.
 */
#ifndef _MM_HMM_MIGRATE_POLICY_H
#define _MM_HMM_MIGRATE_POLICY_H

#include <linux/migrate_device.h>
#include <linux/types.h>

enum migrate_memory {
	MIGRATE_SYSTEM_MEMORY,
	MIGRATE_PRIVATE_MEMORY,
	MIGRATE_COHERENT_MEMORY,
	MIGRATE_OTHER_MEMORY,
};

/**
 * struct migrate_facts - what counts about a page
 * @memory: what it is a page of
 * @owned: the device memory is the caller's
 * @anon: it belongs to no file, and not to KSM
 * @lost: it has just been truncated, or its memory is broken
 */
struct migrate_facts {
	enum migrate_memory memory;
	bool owned;
	bool anon;
	bool lost;
};

/* Why an address is left out. The order is that of the tracepoint's names. */
enum migrate_refusal {
	MIGRATE_NOT_REFUSED,
	MIGRATE_NOT_SELECTED,	/* a kind of memory that is not asked for */
	MIGRATE_NOT_OWNED,	/* another device's */
	MIGRATE_NOT_MOVABLE,	/* swapped out, special, truncated, poisoned */
	MIGRATE_NOT_FOR_DEVICES,	/* page cache, or merged by KSM */
	MIGRATE_LOCKED,		/* by somebody else */
	MIGRATE_PINNED,		/* references that nobody accounts for */
	MIGRATE_UNSPLIT,	/* a large folio that cannot be split */
};

static inline enum migrate_refusal
migrate_refuses(unsigned long flags, const struct migrate_facts *facts)
{
	unsigned long wanted;

	switch (facts->memory) {
	case MIGRATE_SYSTEM_MEMORY:
		wanted = MIGRATE_VMA_SELECT_SYSTEM;
		break;
	case MIGRATE_PRIVATE_MEMORY:
		wanted = MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
		break;
	case MIGRATE_COHERENT_MEMORY:
		wanted = MIGRATE_VMA_SELECT_DEVICE_COHERENT;
		break;
	default:
		return MIGRATE_NOT_MOVABLE;
	}
	if (!(flags & wanted))
		return MIGRATE_NOT_SELECTED;
	if (facts->memory != MIGRATE_SYSTEM_MEMORY && !facts->owned)
		return MIGRATE_NOT_OWNED;
	if (facts->lost)
		return MIGRATE_NOT_MOVABLE;
	if (!facts->anon && flags & MIGRATE_VMA_TO_DEVICE)
		return MIGRATE_NOT_FOR_DEVICES;
	return MIGRATE_NOT_REFUSED;
}

#endif /* _MM_HMM_MIGRATE_POLICY_H */
