// SPDX-License-Identifier: GPL-2.0
// Linux 4.14 to 5.16
// error: 'MIGRATE_PFN_LOCKED' undeclared
#include <linux/migrate.h>

unsigned long probe = MIGRATE_PFN_LOCKED;
