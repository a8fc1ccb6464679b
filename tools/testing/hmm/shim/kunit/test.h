/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a KUnit suite as a program that prints TAP, so that the files in
 * mm/hmm/tests are built a second time without a kernel. Holds what those files
 * use of KUnit and no more.
 */
#ifndef _HMM_SHIM_KUNIT_TEST_H
#define _HMM_SHIM_KUNIT_TEST_H

#include <stdbool.h>
#include <stdio.h>

struct kunit {
	bool failed;
};

struct kunit_case {
	void (*run)(struct kunit *test);
	const char *name;
};

struct kunit_suite {
	const char *name;
	struct kunit_case *test_cases;
};

#define KUNIT_CASE(function)	{ .run = (function), .name = #function }

/* One comparison: notes a failure and says what was compared. */
#define KUNIT_COMPARE(test, left, op, right, note)			\
do {									\
	long long left_ = (long long)(left);				\
	long long right_ = (long long)(right);				\
									\
	if (!(left_ op right_)) {					\
		(test)->failed = true;					\
		printf("# %s:%d: %s %s %s is not so: %llx, %llx %s\n",	\
		       __FILE__, __LINE__, #left, #op, #right, left_,	\
		       right_, note);					\
	}								\
} while (0)

#define KUNIT_EXPECT_EQ(test, left, right) \
	KUNIT_COMPARE(test, left, ==, right, "")
#define KUNIT_EXPECT_EQ_MSG(test, left, right, fmt, ...) \
	KUNIT_COMPARE(test, left, ==, right, fmt)
#define KUNIT_EXPECT_LT(test, left, right) \
	KUNIT_COMPARE(test, left, <, right, "")
#define KUNIT_EXPECT_TRUE(test, condition) \
	KUNIT_COMPARE(test, !!(condition), ==, true, "")
#define KUNIT_EXPECT_FALSE(test, condition) \
	KUNIT_COMPARE(test, !!(condition), ==, false, "")

#define kunit_info(test, fmt, ...) \
	((void)(test), printf("# " fmt "\n", ##__VA_ARGS__))

static int kunit_run(const struct kunit_suite *suite)
{
	const struct kunit_case *test_case;
	int nr = 0, failed = 0;

	for (test_case = suite->test_cases; test_case->run; test_case++)
		nr++;
	printf("TAP version 13\n1..%d\n", nr);

	nr = 0;
	for (test_case = suite->test_cases; test_case->run; test_case++) {
		struct kunit test = { .failed = false };

		test_case->run(&test);
		printf("%sok %d %s.%s\n", test.failed ? "not " : "", ++nr,
		       suite->name, test_case->name);
		failed += test.failed;
	}
	return failed ? 1 : 0;
}

extern const struct kunit_suite *const kunit_only_suite;

int main(void)
{
	return kunit_run(kunit_only_suite);
}

#define kunit_test_suite(suite) \
	const struct kunit_suite *const kunit_only_suite = &(suite)

#endif /* _HMM_SHIM_KUNIT_TEST_H */
