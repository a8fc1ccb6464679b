// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For KUnit: entries encoded and decoded again, with what is not exported to
 * modules, such as the one that the tests are.
 */
#include <kunit/visibility.h>
#include <linux/export.h>
#include <linux/pgtable_leafops.h>

#include "leaf_kunit.h"

struct pgtable_leaf leaf_by_pte(struct pgtable_leaf leaf,
				struct vm_area_struct *vma)
{
	return pgtable_leaf_of_pte(pgtable_leaf_to_pte(leaf, vma));
}
EXPORT_SYMBOL_IF_KUNIT(leaf_by_pte);

struct pgtable_leaf leaf_by_pmd(struct pgtable_leaf leaf,
				struct vm_area_struct *vma)
{
#ifdef CONFIG_ARCH_HAS_PMD_SOFTLEAVES
	leaf = pgtable_leaf_of_pmd(pgtable_leaf_to_pmd(leaf, vma));
#endif
	return leaf;
}
EXPORT_SYMBOL_IF_KUNIT(leaf_by_pmd);

bool migration_leaf_has_ad(void)
{
	return migration_entry_supports_ad();
}
EXPORT_SYMBOL_IF_KUNIT(migration_leaf_has_ad);
