// SPDX-License-Identifier: GPL-2.0
#include <linux/migrate.h>
#include "probe.h"

HAS_CALL(migrate_vma_setup, int (struct migrate_vma *));
HAS_CALL(migrate_vma_pages, void (struct migrate_vma *));
HAS_CALL(migrate_vma_finalize, void (struct migrate_vma *));

HAS_FIELD(struct migrate_vma, vma, struct vm_area_struct *);
HAS_FIELD(struct migrate_vma, dst, unsigned long *);
HAS_FIELD(struct migrate_vma, src, unsigned long *);
HAS_FIELD(struct migrate_vma, cpages, unsigned long);
HAS_FIELD(struct migrate_vma, npages, unsigned long);
HAS_FIELD(struct migrate_vma, start, unsigned long);
HAS_FIELD(struct migrate_vma, end, unsigned long);
HAS_FIELD(struct migrate_vma, pgmap_owner, void *);
HAS_FIELD(struct migrate_vma, flags, unsigned long);
HAS_FIELD(struct migrate_vma, fault_page, struct page *);

HAS_VALUE(MIGRATE_VMA_SELECT_SYSTEM, 1 << 0);
HAS_VALUE(MIGRATE_VMA_SELECT_DEVICE_PRIVATE, 1 << 1);
HAS_VALUE(MIGRATE_VMA_SELECT_DEVICE_COHERENT, 1 << 2);
HAS_VALUE(MIGRATE_VMA_SELECT_COMPOUND, 1 << 3);

enum migrate_vma_direction probe_is_an_enum;
