// SPDX-License-Identifier: GPL-2.0
#include <linux/migrate.h>
#include "probe.h"

HAS_CALL(migrate_device_range,
	 int (unsigned long *, unsigned long, unsigned long));
HAS_CALL(migrate_device_pfns, int (unsigned long *, unsigned long));
HAS_CALL(migrate_device_pages,
	 void (unsigned long *, unsigned long *, unsigned long));
HAS_CALL(migrate_device_finalize,
	 void (unsigned long *, unsigned long *, unsigned long));
