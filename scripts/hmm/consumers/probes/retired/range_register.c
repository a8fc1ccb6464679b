// SPDX-License-Identifier: GPL-2.0
// Linux 5.2 to 5.5
// error: implicit declaration of function 'hmm_range_register'
#include <linux/hmm.h>

static int __used probe(struct hmm_range *range, void *mirror)
{
	return hmm_range_register(range, mirror);
}
