// SPDX-License-Identifier: GPL-2.0
// Linux 4.14 to 5.2
// error: implicit declaration of function 'hmm_vma_fault'
#include <linux/hmm.h>

static int __used probe(struct hmm_range *range)
{
	return hmm_vma_fault(range, true);
}
