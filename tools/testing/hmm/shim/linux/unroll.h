/* SPDX-License-Identifier: GPL-2.0 */
/* Loops are unrolled in the kernel only. */
#define unrolled_count(n)
#define unrolled_full
