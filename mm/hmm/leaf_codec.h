/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encode an entry and decode it again, see leaf_codec.c. */
#ifndef _MM_HMM_LEAF_CODEC_H
#define _MM_HMM_LEAF_CODEC_H

#include <linux/pgtable_leaf.h>

struct vm_area_struct;

struct pgtable_leaf pgtable_leaf_by_pte(struct pgtable_leaf leaf,
					struct vm_area_struct *vma);
struct pgtable_leaf pgtable_leaf_by_pmd(struct pgtable_leaf leaf,
					struct vm_area_struct *vma);
/* Do migration entries have young and dirty bits? */
bool pgtable_leaf_migration_has_ad(void);

#endif /* _MM_HMM_LEAF_CODEC_H */
