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
 * TAKEN and KEPT: the page's folio is locked and referenced, and its page table
 * entries are migration entries, which finalize replaces. A KEPT page does not
 * migrate. Setup returns no KEPT entries: it restores their pages itself.
 *
 * An entry with MIGRATE_PFN_COMPOUND stands for a whole folio, or for a hole of
 * the size of a PMD. The other entries of that folio or hole are OUT. When it
 * is split, they get the state of the first.
 *
 * Pure: no page table, no folio. KUnit and tools/testing/hmm build it, too.
 */
#ifndef _MM_HMM_MIGRATE_ENTRY_H
#define _MM_HMM_MIGRATE_ENTRY_H

#include <linux/migrate_device.h>

/*
 * Flags in src that are set only during a call; drivers never see them.
 *
 * MIGRATE_PFN_OFF_LRU, in unmap: the folio was isolated from the LRU.
 *
 * MIGRATE_PFN_HERE: the range has all mappings of the folio, at the addresses
 * of the entry. Collect has made them migration entries, or finalize has made
 * these mappings again. No rmap walk is needed.
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

/* Is this transition valid? No change always is. */
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
		       /* a new folio of a split */
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
