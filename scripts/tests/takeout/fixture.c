// SPDX-License-Identifier: GPL-2.0
/* A file for scripts/tests/takeout.py: every shape that a function can have. */
#include <linux/kernel.h>

static int callee(int value);

/*
 * The comment of plain(): it mentions callee() { and a brace } too.
 */
static int plain(int value)
{
	if (value) {
		return callee('{');
	}
	return 0;
}
EXPORT_SYMBOL_GPL(plain);

/* Says nothing about what follows. */

/**
 * split_head - its type stands on a line of its own
 * @first: one
 * @second: two
 */
static inline struct page *
split_head(struct page *first,
	   struct page *second)
	__releases(&first->lock)
{
	char *text = "}\n}";

	return text ? first : second;
}

static inline int one_line(void) { return 1; }
int table[] = { 1, 2 };

#define LONG(x)		\
	callee(x)
static int below_a_macro(void)
{
	return LONG(1);
}

#ifdef CONFIG_TWICE
static int twice(void)
{
	return 1;
}
#else
static int twice(void)
{
	return 2;
}
#endif

static int callee(int value)
{
	return plain(value) + one_line();
}
