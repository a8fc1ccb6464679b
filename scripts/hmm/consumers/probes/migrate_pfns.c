// SPDX-License-Identifier: GPL-2.0
#include <linux/migrate.h>
#include "probe.h"

HAS_VALUE(MIGRATE_PFN_VALID, 1UL << 0);
HAS_VALUE(MIGRATE_PFN_MIGRATE, 1UL << 1);
HAS_VALUE(MIGRATE_PFN_WRITE, 1UL << 3);
HAS_VALUE(MIGRATE_PFN_COMPOUND, 1UL << 4);
HAS_VALUE(MIGRATE_PFN_SHIFT, 6);

/* What configure scripts look for by the preprocessor */
#if !defined(MIGRATE_PFN_VALID) || !defined(MIGRATE_PFN_MIGRATE) || \
	!defined(MIGRATE_PFN_WRITE) || !defined(MIGRATE_PFN_COMPOUND) || \
	!defined(MIGRATE_PFN_SHIFT)
#error a flag is not a macro
#endif

HAS_CALL(migrate_pfn, unsigned long (unsigned long));
HAS_CALL(migrate_pfn_to_page, struct page *(unsigned long));
