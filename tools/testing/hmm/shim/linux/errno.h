/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system's header of this name, and the kernel's own error numbers. */
#ifndef _HMM_SHIM_LINUX_ERRNO_H
#define _HMM_SHIM_LINUX_ERRNO_H

#include_next <linux/errno.h>

#define ERESTARTSYS		512
#define ERESTARTNOINTR		513
#define ERESTARTNOHAND		514
#define ERESTART_RESTARTBLOCK	516

#endif /* _HMM_SHIM_LINUX_ERRNO_H */
