/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of hmm-torture share */
#ifndef _HMM_TORTURE_PROGRAM_H
#define _HMM_TORTURE_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "hmm_torture/hmm_torture_uapi.h"

#define DEVICE		"/dev/hmm_torture"
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#define ARENA		((char *)0x200000000)
#define END_SECONDS	15	/* what a killed process may take to end */

extern size_t page_size;
extern int device;
extern unsigned int seed;
extern unsigned int changer_rest;	/* microseconds at most */
extern bool copy;

double now(void);
unsigned int below(unsigned int *state, unsigned int limit);	/* at random */
void rest(unsigned int *state, unsigned int microseconds);
noreturn void give_up(const char *what);

/* In a process under torture: threads that change its memory until it ends */
void map_anew(char *address, size_t size);
void begin_thread(void *(*function)(void *), void *argument);
void *change(void *number);

/* Short-lived processes, in hmm_torture_short.c */
void begin_short_lived(void);
void end_short_lived(void);
unsigned long long count_short_lived(const char **failure);

#endif /* _HMM_TORTURE_PROGRAM_H */
