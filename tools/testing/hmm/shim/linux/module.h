/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef _HMM_SHIM_LINUX_MODULE_H
#define _HMM_SHIM_LINUX_MODULE_H

#include <assert.h>

/* Of no meaning to a program, but they must stand for a declaration. */
#define MODULE_DESCRIPTION(text)	static_assert(sizeof(text) > 1, "")
#define MODULE_LICENSE(text)		static_assert(sizeof(text) > 1, "")

#endif /* _HMM_SHIM_LINUX_MODULE_H */
