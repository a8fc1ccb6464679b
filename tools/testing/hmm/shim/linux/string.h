/* SPDX-License-Identifier: GPL-2.0-or-later */
/* There is a linux/string.h among the system's, with nothing in it. */
#include <string.h>
