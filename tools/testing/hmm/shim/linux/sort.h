/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef _HMM_SHIM_LINUX_SORT_H
#define _HMM_SHIM_LINUX_SORT_H

#define cmp_int(l, r)		(((l) > (r)) - ((l) < (r)))

#endif /* _HMM_SHIM_LINUX_SORT_H */
