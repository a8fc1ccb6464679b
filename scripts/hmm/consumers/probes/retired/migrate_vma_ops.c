// SPDX-License-Identifier: GPL-2.0
// Linux 4.14 to 5.3: with callbacks that allocate and copy
// error: implicit declaration of function 'migrate_vma'
#include <linux/migrate.h>

static int __used probe(void *ops, struct vm_area_struct *vma, unsigned long *pfns)
{
	return migrate_vma(ops, vma, 0, PAGE_SIZE, pfns, pfns, NULL);
}
