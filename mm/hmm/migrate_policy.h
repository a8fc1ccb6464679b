/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decision: has the caller of a migration selected a page, and can the page
 * ever migrate to the caller's destination?
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
 * struct migrate_facts - the properties of a page that decide
 * @memory: the kind of memory
 * @owned: the device memory has the owner of the caller
 * @anon: the page is anonymous, and not merged by KSM
 * @lost: the page was truncated, or has a memory error
 */
struct migrate_facts {
	enum migrate_memory memory;
	bool owned;
	bool anon;
	bool lost;
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
