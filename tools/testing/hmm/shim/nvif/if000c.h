/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bits of nouveau's PFNMAP. The suite has their values as numbers, so that
 * KUnit compares these with the kernel's.
 */
#ifndef _HMM_SHIM_NVIF_IF000C_H
#define _HMM_SHIM_NVIF_IF000C_H

#define NVIF_VMM_PFNMAP_V0_ADDR		0xfffffffffffff000ULL
#define NVIF_VMM_PFNMAP_V0_VRAM		0x10ULL
#define NVIF_VMM_PFNMAP_V0_A		0x4ULL
#define NVIF_VMM_PFNMAP_V0_W		0x2ULL
#define NVIF_VMM_PFNMAP_V0_V		0x1ULL
#define NVIF_VMM_PFNMAP_V0_NONE		0x0ULL

#endif /* _HMM_SHIM_NVIF_IF000C_H */
