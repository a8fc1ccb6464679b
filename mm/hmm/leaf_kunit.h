/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries encoded and decoded again, see leaf_kunit.c */
#ifndef _MM_HMM_LEAF_KUNIT_H
#define _MM_HMM_LEAF_KUNIT_H

#include <linux/pgtable_leaf.h>

struct vm_area_struct;

struct pgtable_leaf leaf_by_pte(struct pgtable_leaf leaf,
				struct vm_area_struct *vma);
struct pgtable_leaf leaf_by_pmd(struct pgtable_leaf leaf,
				struct vm_area_struct *vma);
/* Do entries of pages that move say young and dirty? */
bool migration_leaf_has_ad(void);

#endif /* _MM_HMM_LEAF_KUNIT_H */
