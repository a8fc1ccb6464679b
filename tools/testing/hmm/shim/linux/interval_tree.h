/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a node says. There is no tree here. */
#ifndef _HMM_SHIM_LINUX_INTERVAL_TREE_H
#define _HMM_SHIM_LINUX_INTERVAL_TREE_H

struct interval_tree_node {
	unsigned long start;
	unsigned long last;
};

#endif /* _HMM_SHIM_LINUX_INTERVAL_TREE_H */
