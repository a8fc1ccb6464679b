// SPDX-License-Identifier: GPL-2.0
// Linux 4.14 to 5.5
// error: incomplete type 'struct hmm_mirror'
#include <linux/hmm.h>

unsigned long probe = sizeof(struct hmm_mirror);
