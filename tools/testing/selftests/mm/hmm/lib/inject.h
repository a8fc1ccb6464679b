/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The calling thread's n-th allocation fails, where the kernel has fault
 * injection (CONFIG=debug).
 */
#ifndef _HMM_INJECT_H
#define _HMM_INJECT_H

#include <stdbool.h>

/* False where there is no such thing */
bool injection_start(void);
void injection_stop(void);
/* The @nth from now on; 0: none */
void fail_nth(int nth);
/* Has the failure that fail_nth() ordered happened? */
bool has_failed(void);

#endif /* _HMM_INJECT_H */
