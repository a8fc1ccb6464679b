/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of an entry of migrate_vma.src, which a driver reads and passes on.
 *
 *	            collect      unmap            install
 *	OUT ----+-> HOLE -----------------------> HOLE: populated
 *	        |                             `-> OUT: not populated
 *	        `-> TAKEN ----------------------> TAKEN: moved
 *	                    `                 `-> KEPT: stays
 *	                     v
 *	                     KEPT --> OUT: restored
 *
 * TAKEN and KEPT: the page's folio is locked and referenced, and entries of
 * page tables are migration entries, which finalize replaces. A KEPT page stays
 * where it is. Setup hands out no KEPT ones: it restores them itself.
 *
 * An entry with MIGRATE_PFN_COMPOUND is about a whole folio, or about a hole of
 * the size of a PMD, and those behind it, up to the end of that, are OUT. Where
 * the folio or the hole is split, they come to life in the state of the first.
 *
 * Pure: no page table, no folio. Also built by KUnit and tools/testing/hmm.
 */
#ifndef _MM_HMM_MIGRATE_ENTRY_H
#define _MM_HMM_MIGRATE_ENTRY_H

#include <linux/migrate_device.h>

/*
 * In src while a call lasts; drivers never see them.
 *
 * MIGRATE_PFN_OFF_LRU, in unmap: the folio was isolated from the LRU.
 *
 * MIGRATE_PFN_HERE: all mappings of the folio are in the range, at the place of
 * the entry. In collect and unmap they have become migration entries, in finalize
 * those have become mappings again. There are no others to look for.
 */
#define MIGRATE_PFN_OFF_LRU	BIT(2)
#define MIGRATE_PFN_HERE	BIT(5)

enum migrate_state {
	MIGRATE_OUT,
	MIGRATE_HOLE,
	MIGRATE_TAKEN,
	MIGRATE_KEPT,
};

enum migrate_stage {
	MIGRATE_COLLECT,
	MIGRATE_UNMAP,
	MIGRATE_INSTALL,
};

static inline enum migrate_state migrate_state_of(unsigned long entry)
{
	bool valid = entry & MIGRATE_PFN_VALID;
	bool moving = entry & MIGRATE_PFN_MIGRATE;

	if (valid)
		return moving ? MIGRATE_TAKEN : MIGRATE_KEPT;
	return moving ? MIGRATE_HOLE : MIGRATE_OUT;
}

/* Is this how entries develop? That nothing changes is always right. */
static inline bool migrate_may_become(enum migrate_stage stage,
				      enum migrate_state from,
				      enum migrate_state to)
{
	if (from == to)
		return true;
	switch (stage) {
	case MIGRATE_COLLECT:
		return from == MIGRATE_OUT;
	case MIGRATE_UNMAP:
		return (from == MIGRATE_TAKEN && to == MIGRATE_KEPT) ||
		       (from == MIGRATE_KEPT && to == MIGRATE_OUT) ||
		       /* behind the first of what is split */
		       (from == MIGRATE_OUT && to == MIGRATE_TAKEN);
	case MIGRATE_INSTALL:
		return (from == MIGRATE_TAKEN && to == MIGRATE_KEPT) ||
		       (from == MIGRATE_HOLE && to == MIGRATE_OUT) ||
		       (from == MIGRATE_OUT && to != MIGRATE_KEPT);
	}
	return false;
}

/* The entry of a page that cannot move, or of a hole that stays one */
static inline unsigned long migrate_entry_kept(unsigned long entry)
{
	return entry & MIGRATE_PFN_VALID ? entry & ~MIGRATE_PFN_MIGRATE : 0;
}

/* The flags that a part inherits when what @entry is about is split */
static inline unsigned long migrate_entry_flags(unsigned long entry)
{
	return entry & ((1UL << MIGRATE_PFN_SHIFT) - 1) & ~MIGRATE_PFN_COMPOUND;
}

#endif /* _MM_HMM_MIGRATE_ENTRY_H */
