/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Repeatable random numbers for tests that run in the kernel and in userland. */
#ifndef _MM_HMM_TESTS_RANDOM_H
#define _MM_HMM_TESTS_RANDOM_H

struct test_random {
	unsigned int state;	/* never 0 */
};

/* Marsaglia's 32 bit xorshift. */
static inline unsigned int test_random(struct test_random *rnd)
{
	rnd->state ^= rnd->state << 13;
	rnd->state ^= rnd->state >> 17;
	rnd->state ^= rnd->state << 5;
	return rnd->state;
}

static inline unsigned int test_random_below(struct test_random *rnd,
					     unsigned int limit)
{
	return test_random(rnd) % limit;
}

#endif /* _MM_HMM_TESTS_RANDOM_H */
