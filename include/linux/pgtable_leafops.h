/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From PTEs and PMDs to struct pgtable_leaf and back. How one kind of entry
 * becomes another is in pgtable_leaf.h.
 */
#ifndef _LINUX_PGTABLE_LEAFOPS_H
#define _LINUX_PGTABLE_LEAFOPS_H

#include <linux/leafops.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/pgtable_leaf.h>
#include <linux/swapops.h>
#include <linux/userfaultfd_k.h>

static inline struct pgtable_leaf_rules
pgtable_leaf_rules(const struct vm_area_struct *vma)
{
	return (struct pgtable_leaf_rules) {
		.may_write = vma->vm_flags & VM_WRITE,
		.soft_dirty = pgtable_supports_soft_dirty() &&
			      !(vma->vm_flags & VM_SOFTDIRTY),
	};
}

/* The part of an entry that is encoded alike in PTEs and PMDs; not present */
static __always_inline struct pgtable_leaf
pgtable_leaf_of_softleaf(softleaf_t entry)
{
	struct pgtable_leaf leaf = { .pfn = softleaf_to_pfn(entry) };
	enum softleaf_type type = softleaf_type(entry);

	switch (type) {
	case SOFTLEAF_DEVICE_PRIVATE_READ:
	case SOFTLEAF_DEVICE_PRIVATE_WRITE:
		leaf.kind = PGTABLE_LEAF_PRIVATE;
		leaf.writable = type == SOFTLEAF_DEVICE_PRIVATE_WRITE;
		leaf.exclusive = leaf.writable;
		break;
	case SOFTLEAF_DEVICE_EXCLUSIVE:
		leaf.kind = PGTABLE_LEAF_EXCLUSIVE;
		leaf.writable = true;
		leaf.exclusive = true;
		break;
	default:
		leaf.kind = PGTABLE_LEAF_MIGRATION;
		leaf.writable = type == SOFTLEAF_MIGRATION_WRITE;
		leaf.exclusive = type != SOFTLEAF_MIGRATION_READ;
		leaf.young = softleaf_is_migration_young(entry);
		leaf.dirty = softleaf_is_migration_dirty(entry);
	}
	return leaf;
}

static __always_inline softleaf_t
pgtable_leaf_to_migration(struct pgtable_leaf leaf)
{
	softleaf_t entry;

	if (leaf.writable)
		entry = make_writable_migration_entry(leaf.pfn);
	else if (leaf.exclusive)
		entry = make_readable_exclusive_migration_entry(leaf.pfn);
	else
		entry = make_readable_migration_entry(leaf.pfn);
	if (leaf.young)
		entry = make_migration_entry_young(entry);
	if (leaf.dirty)
		entry = make_migration_entry_dirty(entry);
	return entry;
}

static __always_inline softleaf_t
pgtable_leaf_to_softleaf(struct pgtable_leaf leaf)
{
	switch (leaf.kind) {
	case PGTABLE_LEAF_PRIVATE:
		return leaf.writable ?
		       make_writable_device_private_entry(leaf.pfn) :
		       make_readable_device_private_entry(leaf.pfn);
	case PGTABLE_LEAF_EXCLUSIVE:
		return make_device_exclusive_entry(leaf.pfn);
	default:
		return pgtable_leaf_to_migration(leaf);
	}
}

/* PTEs */

/* @pte maps a page, or is of a kind of enum pgtable_leaf_kind. */
static __always_inline struct pgtable_leaf pgtable_leaf_of_pte(pte_t pte)
{
	struct pgtable_leaf leaf;

	if (pte_present(pte))
		return (struct pgtable_leaf) {
			.pfn = pte_pfn(pte),
			.kind = PGTABLE_LEAF_PRESENT,
			.writable = pte_write(pte),
			.exclusive = pte_write(pte),
			.young = pte_young(pte),
			.dirty = pte_dirty(pte),
			.soft_dirty = pte_soft_dirty(pte),
			.uffd = pte_uffd(pte),
		};
	leaf = pgtable_leaf_of_softleaf(softleaf_from_pte(pte));
	leaf.soft_dirty = pte_swp_soft_dirty(pte);
	leaf.uffd = pte_swp_uffd(pte);
	return leaf;
}

static __always_inline pte_t
pgtable_leaf_to_present_pte(struct pgtable_leaf leaf,
			    struct vm_area_struct *vma)
{
	pte_t pte = pfn_pte(leaf.pfn, READ_ONCE(vma->vm_page_prot));

	pte = leaf.young ? pte_mkyoung(pte) : pte_mkold(pte);
	/* On some architectures this sets the soft-dirty bit. */
	if (leaf.dirty)
		pte = pte_mkdirty(pte);
	pte = leaf.soft_dirty ? pte_mksoft_dirty(pte) :
				pte_clear_soft_dirty(pte);
	if (leaf.writable)
		pte = pte_mkwrite(pte, vma);
	if (leaf.uffd) {
		pte = pte_mkuffd(pte);
		if (userfaultfd_rwp(vma))
			pte = pte_modify(pte, PAGE_NONE);
	}
	return pte;
}

static __always_inline pte_t pgtable_leaf_to_pte(struct pgtable_leaf leaf,
						 struct vm_area_struct *vma)
{
	pte_t pte;

	if (leaf.kind == PGTABLE_LEAF_PRESENT)
		return pgtable_leaf_to_present_pte(leaf, vma);
	pte = softleaf_to_pte(pgtable_leaf_to_softleaf(leaf));
	if (leaf.soft_dirty)
		pte = pte_swp_mksoft_dirty(pte);
	if (leaf.uffd)
		pte = pte_swp_mkuffd(pte);
	return pte;
}

/* Is @pte, which is not present, of a kind of enum pgtable_leaf_kind? */
static inline bool pte_is_pgtable_leaf(pte_t pte)
{
	softleaf_t entry = softleaf_from_pte(pte);

	return softleaf_is_migration(entry) ||
	       softleaf_is_device_private(entry) ||
	       softleaf_is_device_exclusive(entry);
}

/* PMDs */

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
static inline struct pgtable_leaf pgtable_leaf_of_pmd(pmd_t pmd)
{
	struct pgtable_leaf leaf;

	if (pmd_present(pmd))
		return (struct pgtable_leaf) {
			.pfn = pmd_pfn(pmd),
			.kind = PGTABLE_LEAF_PRESENT,
			.writable = pmd_write(pmd),
			.exclusive = pmd_write(pmd),
			.young = pmd_young(pmd),
			.dirty = pmd_dirty(pmd),
			.soft_dirty = pmd_soft_dirty(pmd),
			.uffd = pmd_uffd(pmd),
		};
	leaf = pgtable_leaf_of_softleaf(softleaf_from_pmd(pmd));
	leaf.soft_dirty = pmd_swp_soft_dirty(pmd);
	leaf.uffd = pmd_swp_uffd(pmd);
	return leaf;
}

static inline pmd_t pgtable_leaf_to_present_pmd(struct pgtable_leaf leaf,
						struct vm_area_struct *vma)
{
	pmd_t pmd = pmd_mkhuge(pfn_pmd(leaf.pfn,
				       READ_ONCE(vma->vm_page_prot)));

	pmd = leaf.young ? pmd_mkyoung(pmd) : pmd_mkold(pmd);
	/* On some architectures this sets the soft-dirty bit. */
	if (leaf.dirty)
		pmd = pmd_mkdirty(pmd);
	pmd = leaf.soft_dirty ? pmd_mksoft_dirty(pmd) :
				pmd_clear_soft_dirty(pmd);
	if (leaf.writable)
		pmd = pmd_mkwrite(pmd, vma);
	if (leaf.uffd) {
		pmd = pmd_mkuffd(pmd);
		if (userfaultfd_rwp(vma))
			pmd = pmd_modify(pmd, PAGE_NONE);
	}
	return pmd;
}

static inline pmd_t pgtable_leaf_to_pmd(struct pgtable_leaf leaf,
					struct vm_area_struct *vma)
{
	pmd_t pmd;

	if (leaf.kind == PGTABLE_LEAF_PRESENT)
		return pgtable_leaf_to_present_pmd(leaf, vma);
	pmd = softleaf_to_pmd(pgtable_leaf_to_softleaf(leaf));
	if (leaf.soft_dirty)
		pmd = pmd_swp_mksoft_dirty(pmd);
	if (leaf.uffd)
		pmd = pmd_swp_mkuffd(pmd);
	return pmd;
}
#endif /* CONFIG_TRANSPARENT_HUGEPAGE */

#endif /* _LINUX_PGTABLE_LEAFOPS_H */
