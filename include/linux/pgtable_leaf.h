/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The meaning of a page table entry, independent of its format, and how it
 * changes when an entry of one kind replaces one of another kind.
 *
 *	   migrate		   migrate
 *	PRESENT <--> MIGRATION <--> PRIVATE
 *	   ^
 *	   |  exclusive access
 *	   `---> EXCLUSIVE
 *
 * Accesses of a device have the effects of CPU accesses, whether or not its
 * driver reports them:
 *
 * - A device may write if the entry is PRIVATE and writable, or EXCLUSIVE. A
 *   PRESENT or PRIVATE entry is writable only if no write through it has to be
 *   detected, by userfaultfd or because its soft-dirty bit was cleared. For a
 *   MIGRATION entry, this is decided when the migration ends. An EXCLUSIVE
 *   entry may be marked by userfaultfd, or have its soft-dirty bit cleared: then
 *   an invalidation makes the device stop using it.
 * - Pages that a device may have written to are dirty. PRIVATE and EXCLUSIVE
 *   entries have no dirty bit and no young bit, so the folio must be marked
 *   dirty before such an entry is made.
 * - soft_dirty and uffd are never lost. Only clearing soft-dirty bits and
 *   userfaultfd clear them.
 *
 * Pure: no page table, no folio. KUnit and tools/testing/hmm build it, too.
 */
#ifndef _LINUX_PGTABLE_LEAF_H
#define _LINUX_PGTABLE_LEAF_H

#include <linux/types.h>

enum pgtable_leaf_kind {
	PGTABLE_LEAF_PRESENT,
	PGTABLE_LEAF_MIGRATION,
	PGTABLE_LEAF_PRIVATE,
	PGTABLE_LEAF_EXCLUSIVE,
};

/**
 * struct pgtable_leaf - an entry, decoded
 * @pfn: the page frame
 * @kind: the form of the entry
 * @writable: may be written to; always set in an EXCLUSIVE entry
 * @exclusive: the page is not shared. Of entries that are not writable, only
 *	MIGRATION entries have this; for others, see PageAnonExclusive().
 * @young: accessed; only in PRESENT and MIGRATION entries
 * @dirty: written; only in PRESENT and MIGRATION entries
 * @soft_dirty: written since the bits were cleared
 * @uffd: marked by userfaultfd, against writes or any access
 */
struct pgtable_leaf {
	unsigned long pfn;
	enum pgtable_leaf_kind kind;
	bool writable;
	bool exclusive;
	bool young;
	bool dirty;
	bool soft_dirty;
	bool uffd;
};

/**
 * struct pgtable_leaf_rules - the rules of a VMA for all its entries
 * @may_write: the VMA has VM_WRITE
 * @soft_dirty: soft-dirty bits have been cleared
 */
struct pgtable_leaf_rules {
	bool may_write;
	bool soft_dirty;
};

/* May writes go undetected, as far as the marks of @leaf are concerned? */
static inline bool pgtable_leaf_marks_allow_writing(struct pgtable_leaf leaf,
						    struct pgtable_leaf_rules rules)
{
	return !leaf.uffd && (leaf.soft_dirty || !rules.soft_dirty);
}

/* The page begins to migrate. */
static inline struct pgtable_leaf
pgtable_leaf_begin_migration(struct pgtable_leaf leaf)
{
	if (leaf.kind == PGTABLE_LEAF_PRIVATE && leaf.writable)
		leaf.dirty = true;
	leaf.exclusive |= leaf.writable;
	leaf.kind = PGTABLE_LEAF_MIGRATION;
	return leaf;
}

/*
 * The page has migrated, or not; @pfn is its page frame now, @kind PRESENT or
 * PRIVATE. An entry that was marked meanwhile is not writable any more. A folio
 * that was cleaned meanwhile has no dirty entries.
 */
static inline struct pgtable_leaf
pgtable_leaf_end_migration(struct pgtable_leaf leaf,
			   enum pgtable_leaf_kind kind, unsigned long pfn,
			   bool folio_dirty, struct pgtable_leaf_rules rules)
{
	leaf.pfn = pfn;
	leaf.kind = kind;
	leaf.writable &= pgtable_leaf_marks_allow_writing(leaf, rules);
	leaf.dirty &= folio_dirty;
	return leaf;
}

/*
 * A device gets exclusive access to the page, which was PRESENT and writable.
 */
static inline struct pgtable_leaf
pgtable_leaf_begin_exclusive(struct pgtable_leaf leaf)
{
	leaf.kind = PGTABLE_LEAF_EXCLUSIVE;
	leaf.soft_dirty = true;
	return leaf;
}

/*
 * The entry is restored to a PRESENT one. Meanwhile, write access may have been
 * removed, and marks may require that writes are detected.
 */
static inline struct pgtable_leaf
pgtable_leaf_end_exclusive(struct pgtable_leaf leaf, bool page_exclusive,
			   bool folio_dirty, struct pgtable_leaf_rules rules)
{
	leaf.kind = PGTABLE_LEAF_PRESENT;
	leaf.writable = rules.may_write && page_exclusive &&
			pgtable_leaf_marks_allow_writing(leaf, rules);
	leaf.young = false;
	leaf.dirty = leaf.writable && folio_dirty;
	return leaf;
}

/* The entry of a new page, which counts as changed. */
static inline struct pgtable_leaf
pgtable_leaf_new(enum pgtable_leaf_kind kind, unsigned long pfn,
		 struct pgtable_leaf_rules rules)
{
	return (struct pgtable_leaf) {
		.pfn = pfn,
		.kind = kind,
		.writable = rules.may_write,
		.exclusive = true,
		.young = true,
		.dirty = rules.may_write,
		.soft_dirty = true,
	};
}

/* Write access is removed: mprotect(), and both sides of fork(). */
static inline struct pgtable_leaf
pgtable_leaf_wrprotect(struct pgtable_leaf leaf)
{
	leaf.writable = false;
	return leaf;
}

static inline struct pgtable_leaf
pgtable_leaf_clear_soft_dirty(struct pgtable_leaf leaf)
{
	leaf.soft_dirty = false;
	return pgtable_leaf_wrprotect(leaf);
}

static inline struct pgtable_leaf
pgtable_leaf_mark_uffd(struct pgtable_leaf leaf)
{
	leaf.uffd = true;
	return pgtable_leaf_wrprotect(leaf);
}

/*
 * UFFDIO_MOVE moves the page, which is not shared, to another address in a
 * writable VMA. @uffd: userfaultfd must see accesses there.
 */
static inline struct pgtable_leaf
pgtable_leaf_rehome(struct pgtable_leaf leaf, bool uffd)
{
	leaf.soft_dirty = true;
	leaf.uffd = uffd;
	leaf.exclusive = true;
	leaf.writable = !uffd;
	return leaf;
}

#endif /* _LINUX_PGTABLE_LEAF_H */
