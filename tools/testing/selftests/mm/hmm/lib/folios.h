/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Anonymous memory in folios of one size, and what the kernel counts of them.
 */
#ifndef _HMM_FOLIOS_H
#define _HMM_FOLIOS_H

#include "device.h"

/* Of the folios of a size, such as "64kB" */
long folio_stat(const char *size, const char *what);
/*
 * Memory with a pattern, in folios of the size, which the page table maps page by
 * page unless they are huge; in pages for "4kB". NULL when the kernel does not
 * give such folios.
 */
char *map_folios(const char *size, size_t bytes, __u64 seed);

/*
 * Splits the folios that the process maps in a range to folios of @order, through
 * debugfs; false where there is no such file.
 */
bool split_folios(char *start, size_t bytes, unsigned int order);

#endif /* _HMM_FOLIOS_H */
