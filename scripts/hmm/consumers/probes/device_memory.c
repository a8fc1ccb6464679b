// SPDX-License-Identifier: GPL-2.0
#include <linux/memremap.h>
#include "probe.h"

HAS_CALL(zone_device_page_init,
	 void (struct page *, struct dev_pagemap *, unsigned int));
HAS_CALL(zone_device_folio_init,
	 void (struct folio *, struct dev_pagemap *, unsigned int));
HAS_CALL(memremap_pages, void *(struct dev_pagemap *, int));
HAS_CALL(memunmap_pages, void (struct dev_pagemap *));
HAS_CALL(devm_memremap_pages, void *(struct device *, struct dev_pagemap *));
HAS_CALL(is_device_private_page, bool (const struct page *));
HAS_CALL(is_device_coherent_page, bool (const struct page *));
HAS_CALL(folio_is_device_private, bool (const struct folio *));
HAS_CALL(folio_is_device_coherent, bool (const struct folio *));
HAS_CALL(folio_zone_device_data, void *(const struct folio *));
HAS_CALL(folio_set_zone_device_data, void (struct folio *, void *));

HAS_FIELD(struct dev_pagemap_ops, folio_free, void (*)(struct folio *));
HAS_FIELD(struct dev_pagemap_ops, folio_split,
	  void (*)(struct folio *, struct folio *));
HAS_FIELD(struct dev_pagemap_ops, migrate_to_ram,
	  vm_fault_t (*)(struct vm_fault *));

HAS_FIELD(struct dev_pagemap, type, enum memory_type);
HAS_FIELD(struct dev_pagemap, ops, const struct dev_pagemap_ops *);
HAS_FIELD(struct dev_pagemap, owner, void *);
HAS_FIELD(struct dev_pagemap, nr_range, int);
HAS_FIELD(struct dev_pagemap, range, struct range);

HAS_VALUE(MEMORY_DEVICE_PRIVATE, 1);
HAS_VALUE(MEMORY_DEVICE_COHERENT, 2);
