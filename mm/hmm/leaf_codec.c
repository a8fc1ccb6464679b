// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Encodes and decodes entries for pgtable_leaf_kunit.c. Always built in: KUnit
 * may be a module, and the functions that this needs are not exported.
 */
#include <kunit/visibility.h>
#include <linux/export.h>
#include <linux/pgtable_leafops.h>

#include "leaf_codec.h"

struct pgtable_leaf pgtable_leaf_by_pte(struct pgtable_leaf leaf,
					struct vm_area_struct *vma)
{
	return pgtable_leaf_of_pte(pgtable_leaf_to_pte(leaf, vma));
}
EXPORT_SYMBOL_IF_KUNIT(pgtable_leaf_by_pte);

struct pgtable_leaf pgtable_leaf_by_pmd(struct pgtable_leaf leaf,
					struct vm_area_struct *vma)
{
#ifdef CONFIG_ARCH_HAS_PMD_SOFTLEAVES
	leaf = pgtable_leaf_of_pmd(pgtable_leaf_to_pmd(leaf, vma));
#endif
	return leaf;
}
EXPORT_SYMBOL_IF_KUNIT(pgtable_leaf_by_pmd);

bool pgtable_leaf_migration_has_ad(void)
{
	return migration_entry_supports_ad();
}
EXPORT_SYMBOL_IF_KUNIT(pgtable_leaf_migration_has_ad);
