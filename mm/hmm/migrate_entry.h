/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The states of an entry of migrate_vma.src, which drivers read and pass on.
 *
 *	             collect       unmap           install
 *	SKIPPED --+-> HOLE ------------------------> HOLE: populated
 *	          |                              `-> SKIPPED: not populated
 *	          `-> LOCKED ----------------------> LOCKED: migrated
 *	                      `                  `-> RESTORED: not migrated
 *	                       v
 *	                       RESTORED --> SKIPPED
 *
 * LOCKED and RESTORED: the page's folio is locked and referenced, and its page
 * table entries are migration entries, which finalize replaces. A RESTORED page
 * does not migrate: its page table entries are restored. Setup returns no
 * RESTORED entries, because unmap restores their pages itself.
 *
 * An entry with MIGRATE_PFN_COMPOUND stands for a whole folio, or for a hole of
 * the size of a PMD. The other entries of that folio or hole are SKIPPED. When
 * it is split, they get the state of the first.
 *
 * Pure: no page table, no folio. KUnit and tools/testing/hmm build it, too.
 */
#ifndef _MM_HMM_MIGRATE_ENTRY_H
#define _MM_HMM_MIGRATE_ENTRY_H

#include <linux/migrate_device.h>
#include <linux/types.h>

/*
 * Marks: flags in src that are set only during a call, so that drivers never
 * see them.
 *
 * MIGRATE_MARK_ISOLATED, in unmap: the folio was isolated from the LRU.
 *
 * MIGRATE_MARK_SOLE: the sole mappings of the folio are in the range, at the
 * addresses of the entry. Collect has made all of them migration entries, or
 * finalize has set all of them again. No rmap walk is needed.
 */
typedef unsigned long __bitwise migrate_mark_t;

#define MIGRATE_MARK_ISOLATED	((__force migrate_mark_t)BIT(2))
#define MIGRATE_MARK_SOLE	((__force migrate_mark_t)BIT(5))

static inline bool migrate_entry_has(unsigned long entry, migrate_mark_t mark)
{
	return entry & (__force unsigned long)mark;
}

static inline unsigned long migrate_entry_mark(unsigned long entry,
					       migrate_mark_t mark)
{
	return entry | (__force unsigned long)mark;
}

static inline unsigned long migrate_entry_unmark(unsigned long entry,
						 migrate_mark_t marks)
{
	return entry & ~(__force unsigned long)marks;
}

enum migrate_state {
	MIGRATE_ENTRY_SKIPPED,
	MIGRATE_ENTRY_HOLE,
	MIGRATE_ENTRY_LOCKED,
	MIGRATE_ENTRY_RESTORED,
};

enum migrate_stage {
	MIGRATE_COLLECT,
	MIGRATE_UNMAP,
	MIGRATE_INSTALL,
};

static inline enum migrate_state migrate_state_of(unsigned long entry)
{
	bool valid = entry & MIGRATE_PFN_VALID;
	bool migrates = entry & MIGRATE_PFN_MIGRATE;

	if (valid)
		return migrates ? MIGRATE_ENTRY_LOCKED : MIGRATE_ENTRY_RESTORED;
	return migrates ? MIGRATE_ENTRY_HOLE : MIGRATE_ENTRY_SKIPPED;
}

/* Is this transition valid? Staying in a state always is. */
static inline bool migrate_may_become(enum migrate_stage stage,
				      enum migrate_state from,
				      enum migrate_state to)
{
	if (from == to)
		return true;
	switch (stage) {
	case MIGRATE_COLLECT:
		return from == MIGRATE_ENTRY_SKIPPED;
	case MIGRATE_UNMAP:
		return (from == MIGRATE_ENTRY_LOCKED &&
			to == MIGRATE_ENTRY_RESTORED) ||
		       (from == MIGRATE_ENTRY_RESTORED &&
			to == MIGRATE_ENTRY_SKIPPED) ||
		       /* a new folio of a split */
		       (from == MIGRATE_ENTRY_SKIPPED &&
			to == MIGRATE_ENTRY_LOCKED);
	case MIGRATE_INSTALL:
		return (from == MIGRATE_ENTRY_LOCKED &&
			to == MIGRATE_ENTRY_RESTORED) ||
		       (from == MIGRATE_ENTRY_HOLE &&
			to == MIGRATE_ENTRY_SKIPPED) ||
		       (from == MIGRATE_ENTRY_SKIPPED &&
			to != MIGRATE_ENTRY_RESTORED);
	}
	return false;
}

/*
 * The entry of a page that cannot migrate, which becomes RESTORED, or of a hole
 * that is not filled, which becomes SKIPPED
 */
static inline unsigned long migrate_entry_cancel(unsigned long entry)
{
	return entry & MIGRATE_PFN_VALID ? entry & ~MIGRATE_PFN_MIGRATE : 0;
}

/* The flags of each part when the folio or the hole of @entry is split */
static inline unsigned long migrate_entry_flags(unsigned long entry)
{
	return entry & ((1UL << MIGRATE_PFN_SHIFT) - 1) & ~MIGRATE_PFN_COMPOUND;
}

#endif /* _MM_HMM_MIGRATE_ENTRY_H */
