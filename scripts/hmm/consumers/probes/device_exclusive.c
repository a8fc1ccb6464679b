// SPDX-License-Identifier: GPL-2.0
#include <linux/rmap.h>
#include "probe.h"

HAS_CALL(make_device_exclusive,
	 struct page *(struct mm_struct *, unsigned long, void *,
		       struct folio **));
