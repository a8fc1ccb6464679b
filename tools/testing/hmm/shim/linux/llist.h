/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef _HMM_SHIM_LINUX_LLIST_H
#define _HMM_SHIM_LINUX_LLIST_H

struct llist_node {
	struct llist_node *next;
};

#endif /* _HMM_SHIM_LINUX_LLIST_H */
