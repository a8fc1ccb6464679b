/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef _HMM_SHIM_LINUX_SIZES_H
#define _HMM_SHIM_LINUX_SIZES_H

#define SZ_64K			0x00010000
#define SZ_2M			0x00200000

#endif /* _HMM_SHIM_LINUX_SIZES_H */
