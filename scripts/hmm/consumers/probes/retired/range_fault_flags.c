// SPDX-License-Identifier: GPL-2.0
// Linux 5.2 to 5.6
// error: too many arguments to function 'hmm_range_fault'
#include <linux/hmm.h>

static long __used probe(struct hmm_range *range)
{
	return hmm_range_fault(range, 0);
}
