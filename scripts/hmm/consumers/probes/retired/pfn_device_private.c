// SPDX-License-Identifier: GPL-2.0
// Linux 4.14 to 5.7: an index of the driver's own array of flags
// error: 'HMM_PFN_DEVICE_PRIVATE' undeclared
#include <linux/hmm.h>

int probe = HMM_PFN_DEVICE_PRIVATE;
