// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "inject.h"

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define INJECTION	"/sys/kernel/debug/"

/* Which allocations may fail: all of them, without a message for each. */
static const char * const injection_files[][2] = {
	{ INJECTION "failslab/ignore-gfp-wait", "N" },
	{ INJECTION "failslab/verbose", "0" },
	{ INJECTION "fail_page_alloc/ignore-gfp-wait", "N" },
	{ INJECTION "fail_page_alloc/ignore-gfp-highmem", "N" },
	{ INJECTION "fail_page_alloc/min-order", "0" },
	{ INJECTION "fail_page_alloc/verbose", "0" },
};

static bool write_word(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, word, strlen(word)) > 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Stays open: opening it again could meet the failure that it injects. */
static int fail_nth_file = -1;

bool injection_start(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(injection_files); i++)
		if (!write_word(injection_files[i][0], injection_files[i][1]))
			return false;
	fail_nth_file = open(FAIL_NTH, O_RDWR);
	if (fail_nth_file < 0)
		fatal(FAIL_NTH ": %s", strerror(errno));
	return true;
}

void injection_stop(void)
{
	if (fail_nth_file >= 0)
		close(fail_nth_file);
	fail_nth_file = -1;
}

void fail_nth(int nth)
{
	char word[16];
	int length = snprintf(word, sizeof(word), "%d", nth);

	if (pwrite(fail_nth_file, word, length, 0) != length)
		fatal(FAIL_NTH ": %s", strerror(errno));
}

bool has_failed(void)
{
	char word[16] = "";

	if (pread(fail_nth_file, word, sizeof(word) - 1, 0) < 0)
		fatal(FAIL_NTH ": %s", strerror(errno));
	return !atoi(word);
}
